// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation
import TestSupport
import Testing

/// The first policy of machines that translate already, by somebody else's rules, and a table that iptables cannot show.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct ClientSerialTests {
    /// One machine each, so that one lab shows all.
    @Test func whoIsTranslatedByOthersIsMindedWhereItIsAClient() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await acceptPolicyBesideContainers(lab) }
                group.addTask { try await refuseMistypedSourceOfAHandMadeBox(lab) }
                group.addTask { try await showTableThatIptablesCannotList(lab) }
                try await group.waitForAll()
            }
            #expect(controller.isRunning)
        }
    }

    private static func egress(_ host: String, _ entry: String) -> String {
        Policies.egress(
            entry: entry, selector: "{instances: [\(host)]}\n  rollout: {confirmTimeout: 15s}"
        ).replacing("{name: egress}\nspec", with: "{name: egress-\(host)}\nspec")
    }

    private static let good = #"sources: [10.0.0.0/16, "2001:db8:0:100::/56"]"#

    private func start(_ host: String, _ lab: FleetLab) async throws -> Daemon {
        let token = try await lab.joinToken("--instance", host)
        try await lab.writeConfiguration(host, token: token)
        return try lab.runAgent(host)
    }

    /// A container behind Docker's own masquerade that talks all the time.
    private static let container = """
        echo 1 >/proc/sys/net/ipv4/ip_forward
        iptables -P FORWARD DROP
        iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
        iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
        ip link add docker0 type bridge
        ip address add 172.17.0.1/16 dev docker0
        ip link set docker0 up
        unshare --net bash -c '
            until ip link set eth0 up 2>/dev/null; do sleep 0.05; done
            ip address add 172.17.0.2/16 dev eth0
            ip route add default via 172.17.0.1
            exec 3<>/dev/tcp/198.51.100.7/80
            while echo beat >&3 && read -r -t 5 line <&3; do echo "$line"; sleep 0.2; done' &
        sleep 0.2
        ip link add inside type veth peer name eth0 netns $!
        ip link set inside master docker0 up
        wait
        """

    private func acceptPolicyBesideContainers(_ lab: FleetLab) async throws {
        let container = try lab.daemon("nat-a", ["bash", "-ec", Self.container])
        try await eventually(within: 15, "the container is answered: \(container.output)") {
            container.output.contains("beat")
        }
        let agent = try await start("nat-a", lab)
        try await lab.apply(Self.egress("nat-a", Self.good))
        try await lab.converged("nat-a")
        #expect(!agent.output.contains("not applied"), "\(agent.output)")
        let beats = container.output.count
        try await eventually(within: 5, "the container goes on: \(container.output)") { container.output.count > beats }
    }

    private func refuseMistypedSourceOfAHandMadeBox(_ lab: FleetLab) async throws {
        try await lab.shell(
            "nat-b",
            """
            echo 1 >/proc/sys/net/ipv4/ip_forward
            iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE
            """)
        let client = try KeptConnection(lab, "client-b", "tcp", "198.51.100.7", 80)
        try await [client].expectOpen()
        let before = try await lab.machine("nat-b")
        let agent = try await start("nat-b", lab)
        try await lab.apply(Self.egress("nat-b", #"sources: [10.1.0.0/16, "2001:db8:0:100::/56"]"#))
        try await eventually(within: 30, "it is taken back: \(agent.output)") {
            let instance = try await lab.instance("nat-b")
            return instance?.lastOutcome?.hash == instance?.desiredHash && instance?.lastOutcome?.result == .reverted
        }
        let reason = try await lab.instance("nat-b")?.lastOutcome?.detail ?? ""
        #expect(reason.contains("who uses this instance now, 10.0.2.10, is not in 10.1.0.0/16"), "\(reason)")
        expectSame(before, try await lab.machine("nat-b"))
        try await lab.apply(Self.egress("nat-b", Self.good))
        try await lab.converged("nat-b")
        try await [client].expectOpen()
    }

    /// Somebody's native nft rule in a table of iptables-nft, as iptables-legacy has none: what natfleet cannot read it does
    /// not touch, NAT goes on.
    private func showTableThatIptablesCannotList(_ lab: FleetLab) async throws {
        try await lab.use(.nft, on: "nat-c")
        let agent = try await start("nat-c", lab)
        try await lab.apply(Self.egress("nat-c", Self.good))
        try await lab.converged("nat-c")
        let client = try KeptConnection(lab, "client-c", "tcp", "198.51.100.7", 80)
        try await lab.shell(
            "nat-c",
            """
            iptables -t nat -A PREROUTING -p 253 -j ACCEPT
            nft add rule ip nat PREROUTING dnat to tcp dport map '{ 9999 : 10.0.3.80 }'
            """)
        #expect(try await lab.shell("nat-c", "iptables-nft-save -t nat").contains("incompatible"))
        let rules = try await lab.shell("nat-c", "nft -s list table ip nat")
        var shown: [Condition] = []
        try await eventually(within: 15, "it shows: \(shown)") {
            shown = try await lab.instance("nat-c")?.status?.conditions ?? []
            return shown.map(\.code) == ["table-unreadable"]
        }
        #expect(shown.first?.message.contains("table nat holds native nft rules") == true, "\(shown)")
        // Nothing else is loaded meanwhile.
        try await lab.apply(Self.egress("nat-c", "randomFully: false, " + Self.good))
        try await eventually(within: 15, "it does not run: \(agent.output)") {
            let instance = try await lab.instance("nat-c")
            return instance?.lastOutcome?.hash == instance?.desiredHash && instance?.lastOutcome?.result == .failed
        }
        #expect(try await lab.shell("nat-c", "nft -s list table ip nat") == rules)
        try await [client].expectOpen()
        for address in ["198.51.100.7", "2001:db8:ffff::7"] {
            #expect(try await lab.ask("client-c", "tcp", address, 80).hasPrefix("internet saw "), "\(address)")
        }
        let handle = "nft -a list chain ip nat PREROUTING | sed -n 's/.*map.*# handle //p'"
        try await lab.shell("nat-c", "nft delete rule ip nat PREROUTING handle $(\(handle))")
        try await lab.converged("nat-c")
        #expect(agent.isRunning)
    }
}
