// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation
import NetAddress
import TestSupport
import Testing

/// The disk of the agent's state is full, or has become read-only, just as a step of a trial writes to it: what ran goes on
/// to run, the instance says which file and why, and goes on by itself once there is room.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct DiskSerialTests {
    /// The first write of a step that meets the fault, and what comes of it.
    private struct Write {
        var step: String
        var file: String
        /// Pages that are left on a full disk.
        var room = 0
        /// The change runs and is confirmed; else the machine is as it was.
        var runs = false
        /// Rules for IPv6 fill more than a page.
        var isWide = false
        /// Somebody's rule makes the trial fail.
        var isBad = false
        /// Nil for what follows from the rest.
        var otherCode: String?

        var code: String { otherCode ?? (runs || isBad ? "not-persisted" : "apply-failed") }
        var result: Outcome.Result { runs ? .applied : isBad ? .reverted : .failed }
        var phase: InstanceStatus.Phase { runs ? .applied : isBad ? .reverted : .failed }
    }

    private static let writes: [DiskFault: [Write]] = [
        .full: [
            Write(step: "arm", file: "trial.json"),
            Write(step: "apply", file: "sysctls.json"),
            Write(step: "persist", file: "rules.v4", runs: true),
            // Rules for IPv6 are new and take the page that is left.
            Write(step: "persist", file: "applied.json", room: 1, runs: true),
            Write(step: "persist", file: "rules.v6", room: 1, runs: true, isWide: true),
            Write(step: "prove", file: "conntrack.json", runs: true, otherCode: "conntrack-not-sized"),
            Write(step: "revert", file: "refusal.json", isBad: true),
        ],
        .readOnly: [
            Write(step: "arm", file: "trial.json"),
            Write(step: "apply", file: "sysctls.json"),
            Write(step: "revert", file: "refusal.json", isWide: true, isBad: true),
            Write(step: "persist", file: "rules.v4", runs: true),
        ],
    ]

    /// One fault, one back end and one family that has to go on an instance, so that one lab shows both of each.
    @Test func eachWriteThatFailsIsToldAndMadeUpFor() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for fault in DiskFault.allCases {
                    let disk = Disk(lab, fault)
                    try await lab.use(fault == .full ? .nft : .legacy, on: disk.host)
                    group.addTask { try await fail(Self.writes[fault] ?? [], on: disk) }
                }
                try await group.waitForAll()
            }
            #expect(controller.isRunning)
        }
    }

    /// The settings for boot are on another disk than the state.
    @Test func settingsThatCannotBeSavedAreTold() async throws {
        let folder = "/etc/sysctl.d"
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-a")
            for (fault, way) in [
                (DiskFault.full, "mount -t tmpfs -o size=4k full \(folder); echo >\(folder)/filler"),
                (.readOnly, "mount --bind \(folder) \(folder); mount -o remount,bind,ro \(folder)"),
            ] {
                try await lab.shell("nat-a", way)
                try await lab.apply(Policies.egress)
                let text = "cannot write \(folder)/90-natfleet.conf.new: \(fault.rawValue)"
                try await eventually(within: 20, "\(fault) shows") {
                    try await lab.natfleet("describe", "instance", "nat-a").output.contains(text)
                }
                let instance = try #require(try await lab.instance("nat-a"))
                #expect(instance.status?.conditions.map(\.code) == ["not-persisted"] && instance.health == .degraded)
                for address in ["198.51.100.7", "2001:db8:ffff::7"] {
                    #expect(try await lab.ask("client-a", "tcp", address, 80).hasPrefix("internet saw "))
                }
                try await lab.shell("nat-a", "umount \(folder); ip address add 127.0.0.9/32 dev lo")
                try await lab.converged("nat-a")
                #expect(try await lab.shell("nat-a", "cat \(folder)/90-natfleet.conf").contains("accept_ra"))
                try await lab.shell("nat-a", "ip address del 127.0.0.9/32 dev lo")
                #expect(try await lab.natfleet("delete", "policy", "egress").succeeded)
                try await lab.converged("nat-a")
            }
            #expect(agent.isRunning && controller.isRunning)
        }
    }

    private static let foreign = "FORWARD -m comment --comment foreign -j DROP"

    private func fail(_ writes: [Write], on disk: Disk) async throws {
        let (lab, host, program) = (disk.lab, disk.host, disk.fault.lasting.program)
        var agent = try await disk.startAgent()
        try await lab.apply(disk.policy(whole: false))
        try await lab.converged(host)
        let base = try await lab.machine(host)
        let traffic = try SteadyTraffic(disk.fault.client, lab, to: disk.fault.lasting.outside)
        for write in writes {
            let what = "\(disk.fault) at \(write.file)"
            try await agent.hold(at: write.step) {
                if write.isBad { try await lab.shell(host, "\(program) -t mangle -A \(Self.foreign)") }
                try await lab.apply(disk.policy(whole: true, isWide: write.isWide))
            } meanwhile: {
                try await disk.breakDown(room: write.room)
                if write.isBad { try await lab.shell(host, "\(program) -t mangle -D \(Self.foreign)") }
            }
            try await expectCondition(disk, agent, write, what)
            try await disk.expectWholeFiles(what)
            if write.runs {
                let added = disk.fault.coming.outside
                #expect(try await lab.ask(disk.fault.client, "tcp", added, 80).hasPrefix("internet saw "))
            } else {
                expectSame(base, try await lab.machine(host), what)
            }

            if write.runs, disk.fault == .readOnly {
                try await expectSameAfterRestart(disk, &agent, base)
            } else {
                let kept = write.isBad ? "refusal.json\n" : ""
                if write.isBad { #expect(try await disk.journals() == "trial.json\n", "\(what)") }
                try await disk.mend()
                if !write.isBad { try await lab.converged(host) }
                try await eventually(within: 20, "\(what) is on disk: \(agent.daemon.output)") {
                    try await disk.journals() == kept
                }
                try await lab.apply(disk.policy(whole: false))
                try await lab.converged(host)
                expectSame(base, try await lab.machine(host), what)
            }
        }
        await traffic.expectAllAnswered(atLeast: 50)
        #expect(try await lab.leaks(host) == "ipv4=0 ipv6=0")
        #expect(agent.daemon.isRunning, "\(agent.daemon.output)")
    }

    private func expectCondition(
        _ disk: Disk, _ agent: HeldAgent, _ write: Write, _ what: String
    ) async throws {
        let (code, result) = (write.code, write.result)
        var last: Instance?
        try await eventually(within: 20, "\(what) shows \(code): \(String(describing: last?.status))") {
            last = try await disk.lab.instance(disk.host)
            return last?.status?.conditions.contains { $0.code == code } == true
                && last?.lastOutcome?.hash == last?.desiredHash && last?.lastOutcome?.result == result
                && last?.status?.phase == write.phase
        }
        let instance = try #require(last)
        #expect(instance.health == .degraded)
        // By now the agent may have tried again, and failed at an earlier file.
        let text = try Regex("cannot (write|remove) \(Disk.folder)/[a-z0-9.]+: \(disk.fault.rawValue)")
        let first = "cannot write \(Disk.folder)/\(write.file).new: \(disk.fault.rawValue)"
        let message = instance.status?.conditions.first { $0.code == code }?.message ?? ""
        #expect(message.contains(text), "\(what): \(message)")
        #expect((agent.daemon.output + message).contains(first), "\(what): \(message), \(agent.daemon.output)")
        let described = try await disk.lab.natfleet("describe", "instance", disk.host).output
        #expect(described.contains(text) && described.contains("fix: "), "\(described)")
        let row = try await disk.lab.natfleet("get", "instances").output.split(separator: "\n")
            .first { $0.hasPrefix(disk.host) }
        #expect(row?.contains("degraded") == true, "\(row ?? "")")
    }

    /// A change that could not be saved is no confirmed one to the next agent, which takes it back although it cannot write
    /// that down, keeps NAT in repair, and writes it down once it can.
    private func expectSameAfterRestart(_ disk: Disk, _ agent: inout HeldAgent, _ base: String) async throws {
        let (lab, host) = (disk.lab, disk.host)
        await agent.daemon.killProgram()
        agent = try disk.runAgent()
        var last: Instance?
        try await eventually(within: 20, "it is taken back: \(String(describing: last?.status)) \(agent.daemon.output)")
        {
            last = try await lab.instance(host)
            return last?.lastOutcome?.result == .reverted && last?.health == .degraded
        }
        expectSame(base, try await lab.machine(host), "after a restart")
        let codes = last?.status?.conditions.map(\.code) ?? []
        #expect(codes.contains("trial-reverted") && codes.contains("not-persisted"), "\(codes)")
        try await lab.shell(host, "\(disk.fault.lasting.program) -F NATFLEET-FWD")
        try await eventually(within: 20, "NAT is kept in repair: \(agent.daemon.output)") {
            try await lab.machine(host) == base
        }
        #expect(try await disk.journals().contains("trial.json"))
        try await disk.mend()
        try await eventually(within: 20, "what became of it is on disk: \(agent.daemon.output)") {
            try await disk.journals() == "refusal.json\n"
        }
    }
}

private enum DiskFault: String, CaseIterable, Sendable {
    case full = "No space left on device"
    case readOnly = "Read-only file system"

    var client: String { self == .full ? "client-a" : "client-b" }
    /// The family that is translated all along, and the one that comes with each change.
    var lasting: IPFamily { self == .full ? .ipv4 : .ipv6 }
    var coming: IPFamily { self == .full ? .ipv6 : .ipv4 }
}

extension IPFamily {
    fileprivate var program: String { self == .ipv4 ? "iptables" : "ip6tables" }
    fileprivate var outside: String { self == .ipv4 ? "198.51.100.7" : "2001:db8:ffff::7" }
    fileprivate var sources: String { self == .ipv4 ? "10.0.0.0/16" : "\"2001:db8:0:100::/56\"" }
}

/// The state folder of an instance, on a disk of its own.
private struct Disk: Sendable {
    static let folder = "/var/lib/natfleet-agent"

    let lab: FleetLab
    let fault: DiskFault
    var host: String { fault == .full ? "nat-a" : "nat-b" }

    init(_ lab: FleetLab, _ fault: DiskFault) { (self.lab, self.fault) = (lab, fault) }

    func startAgent() async throws -> HeldAgent {
        try await lab.shell(host, "mkdir -p \(Self.folder); mount -t tmpfs -o size=512k,mode=700 state \(Self.folder)")
        try await lab.writeConfiguration(host, token: try await lab.joinToken("--instance", host))
        return try runAgent()
    }

    func runAgent() throws -> HeldAgent { try HeldAgent(host, lab) }

    /// One family only, or both, whose sysctls have to be remembered first.
    func policy(whole: Bool, isWide: Bool = false) -> String {
        let (lasting, coming) = (fault.lasting, fault.coming)
        let families = whole ? "[ipv4, ipv6]" : "[\(lasting.rawValue)]"
        let more = isWide ? (0..<64).map { ", \"2001:db8:7:\($0)::/64\"" }.joined() : ""
        let sources = lasting.sources + (whole ? ", \(coming.sources)\(more)" : "")
        let entry = "families: \(families), sources: [\(sources)]"
        return Policies.egress(entry: entry, selector: "{instances: [\(host)]}")
            .replacing("name: egress}\nspec", with: "name: egress-\(host)}\nspec")
            .replacing("\(coming.rawValue): true", with: "\(coming.rawValue): \(whole)")
    }

    func breakDown(room: Int) async throws {
        switch fault {
        case .full:
            try await lab.shell(
                host,
                """
                cd \(Self.folder)
                cat /dev/zero >filler 2>/dev/null ||:
                truncate -s -$((\(room) * 4096)) filler
                """)
        // Over it, since nothing makes a file system read-only that has a file open to write: what the agent opens from
        // now on is the kernel's own EROFS.
        case .readOnly:
            try await lab.shell(
                host, "cd /; mount --bind \(Self.folder) \(Self.folder); mount -o remount,bind,ro \(Self.folder)")
        }
    }

    /// And the kernel says something, so that the test need not wait for the next look by itself.
    func mend() async throws {
        let way = fault == .full ? "rm \(Self.folder)/filler" : "umount -l \(Self.folder)"
        try await lab.shell(host, "\(way); ip address add 127.0.0.9/32 dev lo; ip address del 127.0.0.9/32 dev lo")
    }

    /// No file is half written, and none that was not finished is left.
    func expectWholeFiles(_ what: String) async throws {
        let files = try await lab.shell(
            host, "cd \(Self.folder); for f in *.json*; do echo $f $(tr -d '\\n' <$f); done")
        for line in files.split(separator: "\n") {
            let parts = line.split(separator: " ", maxSplits: 1)
            let value = parts.count == 2 ? try? JSONSerialization.jsonObject(with: Data(parts[1].utf8)) : nil
            #expect(value != nil && !parts[0].hasSuffix(".new"), "\(what): \(line)")
        }
        #expect(files.contains("applied.json"))
    }

    /// Which of the files that tell of a trial are there.
    func journals() async throws -> String {
        try await lab.shell(host, "cd \(Self.folder); ls trial.json refusal.json 2>/dev/null ||:")
    }
}
