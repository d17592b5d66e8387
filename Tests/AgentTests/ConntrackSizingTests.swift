// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import FleetAPI
import FleetModel
import NATPolicy
import Testing

/// Connection tracking gets its size, gives it back, and stands in nobody's way where it can't have it.
struct ConntrackSizingTests {
    private let host: FakeHost

    init() throws {
        host = try FakeHost()
        found(7680)
    }

    private func found(_ max: Int?) {
        host.change { machine in
            machine.sysctls[ConntrackSize.maxKey] = max.map { "\($0)" }
            machine.sysctls[ConntrackSize.bucketsKey] = max.map { "\($0)" }
        }
    }

    private func apply(_ max: Conntrack.Max?, memoryKiB: Int? = 1 << 20) throws -> ConntrackSizing.Result {
        var policy = try FakeHost.desired().policy
        policy.conntrack = max.map(Conntrack.init)
        return ConntrackSizing(kernel: host.kernel, files: host.files, memoryKiB: memoryKiB).apply(policy)
    }

    private var table: [String?] { [host.sysctl(ConntrackSize.maxKey), host.sysctl(ConntrackSize.bucketsKey)] }

    @Test(arguments: [nil, .auto, .entries(262_144)] as [Conntrack.Max?])
    func theTableIsSizedOnce(_ max: Conntrack.Max?) throws {
        let size = ConntrackSize(max: 262_144, buckets: 262_144)
        #expect(try apply(max) == .init(size: size))
        #expect(table == ["262144", "262144"])
        // Rounded up to whole pages by the kernel.
        host.change { $0.sysctls[ConntrackSize.bucketsKey] = "262656" }
        _ = host.touched()
        #expect(try apply(max) == .init(size: size))
        #expect(host.touched().isEmpty)
    }

    @Test func autoNeverLowers() throws {
        found(524_288)
        #expect(try apply(.auto) == .init())
        #expect(table == ["524288", "524288"] && host.touched().isEmpty)
        #expect(try apply(.entries(65_536)).size?.max == 65_536)
        #expect(try apply(.auto) == .init(), "the machine's own is more")
        #expect(table == ["524288", "524288"])
    }

    @Test func whatWasFoundGoesBackWithTheLastPolicy() throws {
        _ = try apply(.entries(1 << 20))
        let table = ConntrackSizing(kernel: host.kernel, files: host.files, memoryKiB: 1 << 20)
        #expect(table.apply(.none) == .init())
        #expect(self.table == ["7680", "7680"])
        _ = host.touched()
        #expect(table.apply(.none) == .init() && host.touched().isEmpty)
    }

    /// As in a container, where both files are read-only.
    @Test(
        arguments: [
            (.auto, 7680, true), (.auto, 65_536, false), (nil, 262_144, false), (.entries(300_000), 262_144, true),
            (.entries(65_536), 262_144, false),
        ] as [(Conntrack.Max?, Int, Bool)])
    func aTableThatIsNotOursShowsWhereItIsSmall(_ max: Conntrack.Max?, _ now: Int, _ isShown: Bool) throws {
        found(now)
        host.faults.fail(.setSysctl)
        let result = try apply(max, memoryKiB: 8 << 20)
        #expect(result.size == nil && (result.condition?.code == "conntrack-not-sized") == isShown)
        #expect(table == ["\(now)", "\(now)"])
        host.faults.fail()
        // The machine around it has another size later on.
        found(now + 1024)
        #expect(try apply(.entries(400_000)).size?.max == 400_000)
        #expect(ConntrackSizing(kernel: host.kernel, files: host.files, memoryKiB: nil).apply(.none) == .init())
        #expect(table == ["\(now + 1024)", "\(now + 1024)"], "the failure was not taken for what was found")
    }

    @Test func aKernelWithoutConnectionTrackingIsACondition() throws {
        found(nil)
        #expect(try apply(nil).condition?.message.contains("has no net.netfilter.nf_conntrack_max") == true)
    }

    @Test func nothingIsWrittenThatCouldNotGoBack() throws {
        host.faults.fail(.writeFile)
        #expect(try apply(nil).condition?.code == "conntrack-not-sized")
        #expect(table == ["7680", "7680"])
    }

    @Test func unknownMemoryLeavesTheSizeAlone() throws {
        #expect(try apply(.auto, memoryKiB: nil) == .init())
        #expect(host.touched().isEmpty)
    }

    /// `sysctl --system` by somebody, whose file has another number.
    @Test func aSizeThatSomebodyChangesIsPutBackAndTold() async throws {
        host.change { $0.generation = 1 }
        let agent = host.start(memoryKiB: 1 << 20)
        #expect(await agent.apply(try FakeHost.desired()).status.conditions.isEmpty)
        _ = await agent.reconcile(.everything)
        #expect(table.first == "262144")
        host.change { $0.sysctls[ConntrackSize.maxKey] = "65536" }
        let status = await agent.reconcile(.glance).status
        #expect(table.first == "262144" && status.drift?.repairs == 1)
        #expect(status.drift?.lastDifference == "sysctl net.netfilter.nf_conntrack_max was 65536")
        #expect(status.conditions.map(\.code) == ["drift-repaired"])
        // Not where it cannot be: that has a condition of its own.
        host.change { $0.sysctls[ConntrackSize.maxKey] = "7680" }
        host.faults.fail(.setSysctl)
        let stuck = await agent.reconcile(.glance).status
        #expect(stuck.drift?.repairs == 1 && stuck.conditions.map(\.code) == ["conntrack-not-sized", "drift-repaired"])
    }

    @Test func anotherSizeInAPolicyIsNoDrift() async throws {
        let agent = host.start(memoryKiB: 1 << 20)
        _ = await agent.apply(try FakeHost.desired())
        var policy = try FakeHost.desired().policy
        policy.conntrack = Conntrack(max: .entries(100_000))
        _ = await agent.apply(DesiredState(hash: policy.hash, policy: policy))
        let status = await agent.reconcile(.everything).status
        #expect(table.first == "100000" && status.drift == nil && status.conditions.isEmpty)
    }
}
