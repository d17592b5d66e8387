// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import TestSupport
import Testing

/// The IPv6 default route, which comes from router advertisements, while forwarding goes on, off and on again.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct AdvertisementSerialTests {
    /// Seconds that a route lives without an advertisement, and that a machine which stopped listening keeps it at most. Each
    /// look comes after that time has passed since the change, so it is worth one after a minute, or half an hour, with the
    /// lifetimes of real routers.
    private static let lifetime = 9

    private static let advertisements = """
        interface br-pub {
            AdvSendAdvert on;
            MinRtrAdvInterval 3;
            MaxRtrAdvInterval 4;
            AdvDefaultLifetime \(lifetime);
            prefix 2001:db8:0:100::/64 { AdvOnLink on; AdvAutonomous off; };
        };

        """

    /// systemd-networkd beside addresses that are there, handling router advertisements itself.
    private static let network = """
        [Match]
        Name=eth0
        [Network]
        KeepConfiguration=yes
        LinkLocalAddressing=ipv6
        IPv6AcceptRA=yes
        [IPv6AcceptRA]
        UseAutonomousPrefix=no

        """

    /// nat-a leaves advertisements to the kernel, nat-b to systemd-networkd. What routes are there at each look was learned
    /// from advertisements that came after the change.
    @Test(.enabled("needs systemd-networkd") { FileManager.default.isExecutableFile(atPath: Self.networkd) })
    func theDefaultRouteOutlivesEnablingDisablingAndEnablingAgain() async throws {
        try await FleetLab.run { lab in
            let router = try await shortenLifetimes(lab)
            let networkd = try await startNetworkd(lab)
            try await lab.use(.nft, on: "nat-a")
            try await lab.use(.legacy, on: "nat-b")
            let watches = ["nat-a", "nat-b"].map { host in (host, try? lab.daemon(host, ["bash", "-c", Self.watch])) }
            let controller = try await lab.startController()
            let agents = [try await lab.startAgent("nat-a"), try await lab.startAgent("nat-b")]
            for isOn in [true, false, true] {
                if isOn {
                    try await lab.apply(Policies.egress)
                } else {
                    #expect(try await lab.natfleet("delete", "policy", "egress").succeeded)
                }
                try await lab.converged("nat-a", "nat-b")
                try await Task.sleep(for: .seconds(Self.lifetime + 5))
                for (host, client) in [("nat-a", "client-a"), ("nat-b", "client-b")] {
                    let route = try await lab.shell(host, "ip -6 route show default")
                    #expect(route.contains("via fe80::1 dev eth0 proto ra"), "\(host) \(isOn): \(route)")
                    let forwarding = try await lab.shell(host, "sysctl -n net.ipv6.conf.all.forwarding")
                    #expect(forwarding == (isOn ? "1\n" : "0\n"), "\(host)")
                    let answer = try await lab.ask(client, "tcp", "2001:db8:ffff::7", 80, seconds: isOn ? 3 : 1)
                    #expect(answer.hasPrefix("internet saw 2001:db8:0:100::") == isOn, "\(host): \(answer)")
                }
            }
            // Nobody fights: one change of the value a switch, and networkd's 0 is left alone.
            for (host, watch) in watches {
                let values = try #require(watch).output.split(separator: "\n").map(String.init)
                #expect(values == (host == "nat-a" ? ["1", "2", "1", "2"] : ["0"]), "\(host)")
            }
            #expect(agents.allSatisfy(\.isRunning) && controller.isRunning)
            #expect(router.isRunning && networkd.isRunning, "\(router.output)\(networkd.output)")
            try await expectThatNobodyFightsAfterABoot(lab, agents[1], networkd)
        }
    }

    /// natfleet-forwarding.service runs before systemd-networkd, which has not written its 0 yet.
    private func expectThatNobodyFightsAfterABoot(
        _ lab: FleetLab, _ agent: Daemon, _ networkd: Daemon
    ) async throws {
        await agent.end()
        await networkd.end()
        try await lab.shell(
            "nat-b",
            """
            for key in net.ipv4.ip_forward net.ipv6.conf.all.forwarding; do sysctl -q -w $key=0; done
            sysctl -q -w net.ipv6.conf.eth0.accept_ra=1
            """)
        let restored = try await lab.exec("nat-b", FleetLab.binaries + "/natfleet-agent", "restore")
        #expect(restored.succeeded, "\(restored.errors)")
        let second = try await startNetworkd(lab)
        let again = try lab.runAgent("nat-b")
        try await eventually(within: 20, "the agent has looked: \(again.output)") {
            again.output.contains("rules are kept over reboots")
        }
        #expect(try await lab.shell("nat-b", "sysctl -n net.ipv6.conf.eth0.accept_ra") == "0\n")
        #expect(!again.output.contains("put back"), "\(again.output)")
        #expect(try await !lab.shell("nat-b", "cat /etc/sysctl.d/90-natfleet.conf").contains("accept_ra"))
        #expect(again.isRunning && second.isRunning)
    }

    private static let networkd = "/lib/systemd/systemd-networkd"

    /// Each new value of accept_ra.
    private static let watch = """
        while :; do
            now=$(</proc/sys/net/ipv6/conf/eth0/accept_ra)
            [[ $now == "$last" ]] || echo "$now"
            last=$now
            sleep 0.02
        done
        """

    private func shortenLifetimes(_ lab: FleetLab) async throws -> Daemon {
        try await lab.exec("router", "bash", "-ec", "cat >/run/radvd.conf", input: Self.advertisements)
        try await lab.shell("router", "kill $(pgrep -x -o radvd); while pgrep -x radvd; do sleep 0.1; done >&2")
        let radvd = try lab.daemon(
            "router", ["radvd", "-n", "-C", "/run/radvd.conf", "-p", "/run/radvd.pid", "-m", "stderr"])
        try await eventually(within: 15, "nat-a has a route with the new lifetime: \(radvd.output)") {
            let route = try await lab.shell("nat-a", "ip -6 route show default")
            return route.firstMatch(of: #/expires ([0-9])sec/#) != nil
        }
        return radvd
    }

    private func startNetworkd(_ lab: FleetLab) async throws -> Daemon {
        try await lab.exec(
            "nat-b", "bash", "-ec",
            """
            mkdir -p /etc/systemd/network /run/systemd/netif
            rm -f /etc/systemd/network/*
            cat >/etc/systemd/network/10-eth0.network
            chown systemd-network: /run/systemd/netif
            """, input: Self.network)
        let networkd = try lab.daemon("nat-b", [Self.networkd])
        try await eventually(within: 15, "networkd has taken over: \(networkd.output)") {
            try await lab.shell("nat-b", "sysctl -n net.ipv6.conf.eth0.accept_ra") == "0\n"
        }
        // What is left of the kernel's own route would go with the first change of forwarding.
        try await lab.shell("nat-b", "ip -6 route del default proto ra ||:")
        try await eventually(within: 15, "networkd has the default route: \(networkd.output)") {
            try await lab.shell("nat-b", "ip -6 route show default").contains("proto ra")
        }
        return networkd
    }
}
