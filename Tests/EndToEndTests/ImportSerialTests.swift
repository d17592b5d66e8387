// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import TestSupport
import Testing

/// NAT instances made by hand, taken over: whoever looks from outside sees the same.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct ImportSerialTests {
    @Test func packetsOfBoxesMadeByHandAreTranslatedAlikeAfterAnImport() async throws {
        try await FleetLab.run { lab in
            try await lab.swapInterfaces(of: "nat-c")
            for box in HandMadeBox.all { try await lab.use(box.backEnd, on: box.instance) }
            let controller = try await lab.startController()
            let agents = [try await lab.startAgent("nat-a"), try await lab.startAgent("nat-c")]
            for box in HandMadeBox.all {
                try await lab.shell(
                    box.instance, [box.packaged, box.settings, box.untold, box.rules].joined(separator: "\n"))
                let byHand = try await lab.record(box.instance)
                for line in box.shows { #expect(byHand.contains(line), "\(box.testDescription): \(line)") }
                try await takeOver(box, lab)
                expectSame(
                    byHand.joined(separator: "\n"), try await lab.record(box.instance).joined(separator: "\n"),
                    box.testDescription)
                #expect(try await lab.natfleet("delete", "policy", "web").succeeded)
                try await lab.converged(box.instance)
                try await lab.shell(box.instance, "\(box.forwardingOff); iptables -F")
            }
            #expect(agents.allSatisfy(\.isRunning) && controller.isRunning)
        }
    }

    /// Rules to policy to rules: save, import, forget, apply.
    private func takeOver(_ box: HandMadeBox, _ lab: FleetLab) async throws {
        for program in ["iptables", "ip6tables"] {
            let saved = try await lab.shell(box.instance, "\(program)-save")
            try await lab.exec("controller", "bash", "-ec", "cat >/run/\(program).saved", input: saved)
        }
        try await lab.shell(
            box.instance,
            """
            for program in iptables ip6tables; do
                $program -t nat -F
                $program -F FORWARD
            done
            \(box.forwardingOff)
            \(box.untold)
            """)
        let imported = try await lab.natfleet(
            "import", "--name", "web", "--instance", box.instance, "/run/iptables.saved", "/run/ip6tables.saved")
        #expect(imported.succeeded, "\(box.testDescription): \(imported.errors)")
        #expect(imported.errors.contains(" 0 left over\n"))
        try await lab.apply(imported.output)
        try await lab.converged(box.instance)
        #expect(try await lab.leaks(box.instance).hasPrefix("ipv4=0 "), "\(box.testDescription)")
    }
}

extension HandMadeBox {
    fileprivate var forwardingOff: String {
        "echo 0 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv6/conf/all/forwarding"
    }
}

extension FleetLab {
    private struct Question: Hashable, Sendable {
        var host: String
        var kind: String
        var address: String
        var port: Int?

        /// From where, in which family.
        var path: String { "\(host) \(address.contains(":"))" }
        var words: String { ([host, kind, address] + (port.map { ["\($0)"] } ?? [])).joined(separator: " ") }
    }

    /// What hosts inside and outside see of an instance: each question with its answer, then who the servers saw. Source
    /// ports are left out.
    fileprivate func record(_ instance: String) async throws -> [String] {
        let isDouble = instance == "nat-c"
        let (clients, number) = isDouble ? (["client-c"], 13) : (["client-a", "client-x"], 11)
        var questions: [Question] = []
        for address in ["198.51.100.7", "2001:db8:ffff::7"] {
            for host in clients + [instance] {
                questions += [("tcp", 80), ("tcp", 443), ("udp", 53), ("udp", 123), ("ping", nil)].map {
                    Question(host: host, kind: $0.0, address: address, port: $0.1)
                }
            }
        }
        for address in ["203.0.113.\(number)", "2001:db8:0:100::\(number)"] {
            for host in ["outsider", clients[0]] {
                questions += [8001, 80, 9000].map { Question(host: host, kind: "tcp", address: address, port: $0) }
            }
        }
        // From inside the VPC, to the address that the rules name.
        questions.append(Question(host: "controller", kind: "tcp", address: "10.0.0.\(number)", port: 8001))
        questions.append(Question(host: "controller", kind: "tcp", address: "10.0.0.\(number)", port: 80))
        _ = try await runProgram(Self.script, ["seen-reset", name])
        let answers = try await answers(to: questions)
        var seen: [String] = []
        for host in ["internet", "server-a", "server-c"] {
            let lines = try await runProgram(Self.script, ["seen", name, host]).output.split(separator: "\n")
            seen += Set(lines).map { "\(host): \($0)" }
        }
        return answers + seen.sorted()
    }

    /// Lines of `QUESTION: ANSWER`. Servers lose datagrams that come at once: who got no answer though others of the host
    /// and family did asks again.
    private func answers(to questions: [Question]) async throws -> [String] {
        var answers: [Question: String] = [:]
        var open = questions
        for round in 0..<3 {
            try await withThrowingTaskGroup(of: (Question, String).self) { group in
                for one in open {
                    group.addTask {
                        let answer = try await self.ask(
                            one.host, one.kind, one.address, one.port, seconds: round == 0 ? 2 : 1)
                        return (one, answer.replacing(#/ port [0-9]+|: ?icmp_seq=.*/#, with: ""))
                    }
                }
                for try await (question, answer) in group where !answer.isEmpty { answers[question] = answer }
            }
            let served = Set(answers.keys.map(\.path))
            open = questions.filter { answers[$0] == nil && $0.kind != "tcp" && served.contains($0.path) }
        }
        return questions.map { "\($0.words): \(answers[$0] ?? "nothing")" }
    }

    /// Gives a host's two interfaces each other's names, as after a start in which they were found in the other order.
    fileprivate func swapInterfaces(of host: String) async throws {
        try await shell(
            host,
            """
            for name in eth0 eth1; do echo 1 >/proc/sys/net/ipv6/conf/$name/keep_addr_on_down; done
            routes() { ip "$1" route show | grep -v 'proto kernel\\|proto ra' | sed 's/eth0/old/; s/eth1/eth0/; s/old/eth1/'; }
            four=$(routes -4) six=$(routes -6)
            for change in eth0=old eth1=eth0 old=eth1; do
                ip link set "${change%=*}" down
                ip link set "${change%=*}" name "${change#*=}"
            done
            for name in eth0 eth1; do ip link set "$name" up; done
            while read -r route; do [ -z "$route" ] || ip -4 route replace $route; done <<<"$four"
            while read -r route; do [ -z "$route" ] || ip -6 route replace $route; done <<<"$six"
            """)
        try await eventually(within: 10, "\(host) has its IPv6 default route again") {
            try await shell(host, "ip -6 route show default").contains("dev eth1")
        }
    }
}
