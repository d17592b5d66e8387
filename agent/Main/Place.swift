// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import AgentDataplane
import AgentLink
import AgentNetlink
import AgentProbes
import FleetAPI
import FleetModel
import Glibc
import Logging
import NATPolicy

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// This machine, for commands that look at it: a configuration that cannot be used is one more thing to show.
struct Place {
    let directory: String
    private let configuration: Configuration?
    private let configurationFault: String?

    init(_ file: String) {
        directory = (try? loadStateDirectory(file)) ?? Configuration.defaultStateDirectory
        do {
            configuration = try loadConfiguration(file)
            configurationFault = nil
        } catch {
            configuration = nil
            configurationFault = "\(error)"
        }
    }

    private var kernel: LinuxKernel {
        LinuxKernel(
            vpcCIDRs: configuration?.vpcCIDRs ?? [],
            controller: configuration.map { controllerEndpoints($0.controller) } ?? [],
            marks: .kernel)
    }

    func look(whole: Bool) async -> Inspection {
        let files = DirectoryStateFiles(reading: directory)
        var machinery = Machinery(
            kernel: kernel, flows: ConntrackTable(), files: files, persistence: LinuxPersistence(),
            memoryKiB: memoryKiB())
        machinery.ownAddresses = { (try? ownAddresses()) ?? [] }
        machinery.told = DirectoryStateFiles(reading: Configuration.runDirectory)
        var fault: String?
        var isRunning: Bool?
        do throws(StateFileError) { isRunning = try StateLock.isHeld(directory: directory) } catch {
            fault = error.description
        }
        var found = await Inspector(machinery, routes: routeLines)
            .look(now: Date(), agentRunning: isRunning, whole: whole)
        if let fault { found.stateFaults.insert(fault, at: 0) }
        found.configuration = configuration
        found.configurationFault = configurationFault
        do {
            found.identity = try enrolledIdentity(files)
        } catch {
            found.identityFault = "\(error)"
        }
        return found
    }

    func reach() async -> Inspection.Reach? {
        guard let configuration else { return nil }
        return await reachController(configuration)
    }

    /// What a client made for it meets; nil where an agent asks by itself, or there is nobody to ask for.
    func probe(_ found: Inspection) async -> [ProbeFinding]? {
        guard let compiled = found.compiled, let applied = found.applied, let facts = found.facts, found.trial == nil,
            geteuid() == 0, let lock = try? StateLock(directory: directory)
        else { return nil }
        // An agent that starts now would take the interface away.
        defer { lock.release() }
        let probe = makeProbe(Logger(label: "natfleet-agent") { _ in SwiftLogNoOpLogHandler() })
        let findings = await probe.run(ProbePlan(compiled, of: applied.desired.policy, on: facts))
        await probe.stop()
        return findings
    }
}

func makeProbe(_ log: Logger) -> NamespaceProbe {
    let (runner, flows) = (CommandRunner(), ConntrackTable())
    return NamespaceProbe(
        programs: { (program, arguments, input) async throws(KernelError) in
            try await runner.run(program, arguments, input: input)
        }, links: NetlinkLinks(), flows: flows, chains: { () throws(KernelError) in try nftChains() }, log: log)
}
