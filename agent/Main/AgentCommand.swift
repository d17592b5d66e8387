// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import AgentDataplane
import AgentLink
import AgentNetlink
import ArgumentParser
import CGlibcCompat
import FleetModel
import Logging

struct AgentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "natfleet-agent",
        abstract: "Keeps this NAT instance doing what its natfleet controller asks.",
        version: NatfleetVersion.current,
        subcommands: [Run.self, Restore.self, Status.self, Doctor.self, UninstallCommand.self])
}

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Enrol, poll the controller, apply and report, until told to stop.",
        discussion: """
            Reads KEY=VALUE lines; each key is also an environment variable, which wins:
              NATFLEET_CONTROLLER    https://HOST:8443
              NATFLEET_CA_HASH       SHA-256 of the fleet CA, as 'natfleet serve' prints it
              NATFLEET_JOIN_TOKEN    from 'natfleet token create'; needed once
              NATFLEET_LABELS        key=value,key=value
              NATFLEET_INSTANCE_ID   what the machine calls itself
              NATFLEET_STATE_DIR     default /var/lib/natfleet-agent
              NATFLEET_VPC_CIDRS     10.0.0.0/16,2001:db8::/56

            Example: natfleet-agent run --config /etc/natfleet/agent.conf
            """)

    @Option(help: "The configuration file.")
    var config = Configuration.defaultFile

    func run() async throws {
        let log = makeLogger()
        let configuration = try exitOnFault(log) { try loadConfiguration(config) }
        let files = try exitOnFault(log) { try DirectoryStateFiles(directory: configuration.stateDirectory) }
        let lock = try exitOnFault(log) { try StateLock(directory: configuration.stateDirectory) }
        defer { lock.release() }
        let link = try exitOnFault(log) { try HTTPSControllerLink(configuration: configuration, files: files) }
        let limit = secondsOfTest("NATFLEET_COMMAND_SECONDS")
        var kernel = LinuxKernel(
            runner: limit.map { CommandRunner(timeout: .seconds($0)) } ?? CommandRunner(),
            vpcCIDRs: configuration.vpcCIDRs, controller: controllerEndpoints(configuration.controller),
            marks: .kernel)
        if let seconds = secondsOfTest("NATFLEET_LOCK_SECONDS") { kernel.lockWait = seconds }
        var machinery = Machinery(
            kernel: kernel, flows: ConntrackTable(), files: files, probe: makeProbe(log),
            persistence: LinuxPersistence(), memoryKiB: memoryKiB(),
            conntrack: conntrackUsage)
        machinery.ownAddresses = { (try? ownAddresses()) ?? [] }
        machinery.trim = { natfleet_trim_memory() }
        machinery.shelve = { files.shelve($0) }
        machinery.told = try? DirectoryStateFiles(directory: Configuration.runDirectory)
        #if DEBUG
            machinery.reach = obeyTest
        #endif
        let news = listen(log)
        machinery.networkNews = { news?.count() }
        machinery.lockNews = { news?.locks() }
        let reconciler = Reconciler(machinery, log: log, clock: secondsSinceBoot)
        await runUntilSignalled {
            await AgentLoop(link: link, reconciler: reconciler, log: log, news: news?.events, clock: secondsSinceBoot)
                .run()
        }
        await reconciler.stop()
        log.notice("stopped; NAT stays as it is")
    }
}

struct Restore: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Put back what was applied last, from disk, without a controller. For boot.",
        discussion: "Example: natfleet-agent restore --config /etc/natfleet/agent.conf")

    @Option(help: "The configuration file.")
    var config = Configuration.defaultFile

    func run() async throws {
        let log = makeLogger()
        let directory = try exitOnFault(log) { try loadStateDirectory(config) }
        let files = try exitOnFault(log) { try DirectoryStateFiles(directory: directory) }
        let kernel = LinuxKernel(vpcCIDRs: [], controller: [], marks: .kernel)
        let machinery = Machinery(kernel: kernel, flows: ConntrackTable(), files: files)
        let reconciler = Reconciler(machinery, log: log, clock: secondsSinceBoot)
        guard await reconciler.restore() else { throw ExitCode(1) }
    }
}
