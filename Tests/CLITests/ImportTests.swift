// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import NATPolicy
import NetAddress
import PolicyImport
import PolicyYAML
import Testing

/// What `import` prints, and what it will not take.
struct ImportTests {
    private func importing(_ files: [String: String], _ options: String = "") async throws -> CommandRun {
        let folder = try TemporaryFolder()
        for (name, text) in files { try folder.write(text, to: name) }
        let words = "import --name web --label vpc=prod \(options.replacing("DIR", with: folder.path))"
        let arguments =
            words.split(separator: " ").map(String.init) + files.keys.sorted().map { "\(folder.path)/\($0)" }
        var run = try await natfleet(arguments, environment: [:])
        run.errors = run.errors.replacing(folder.path + "/", with: "")
        return run
    }

    @Test func takesOverTheSeedsBox() async throws {
        let run = try await importing(["a": ImportTraceTests.seed4, "b": ImportTraceTests.seed6])
        #expect(
            run
                == CommandRun(
                    code: 0,
                    output: """
                        apiVersion: natfleet/v1
                        kind: NATPolicy
                        metadata:
                          name: web
                        spec:
                          selector:
                            matchLabels:
                              vpc: prod
                          forwarding: {ipv4: true, ipv6: true}
                          masquerade:
                            - name: egress
                              families: [ipv4, ipv6]
                              interface: eth0
                              sources: any
                              randomFully: false
                          dnat:
                            - name: PortMapping
                              protocol: tcp
                              destination: "10.0.0.10"
                              port: 8001
                              to: "10.0.1.1:80"
                            - name: PortMapping
                              protocol: tcp
                              destination: "2001:db8:0:1::10"
                              port: 8001
                              to: "[2001:db8:0:2::1]:80"

                        """,
                    errors: """
                        a:5: note: if 10.0.0.10 is the instance's own address, destination: self fits every instance
                        a:6: note: no -s: sources is 'any'; networks of your own are safer
                        b:5: note: if 2001:db8:0:1::10 is the instance's own address, destination: self fits every instance
                        b:6: note: no -s: sources is 'any'; networks of your own are safer
                        6 rules taken over, 0 kept as they are, 0 left over
                        see the rules that it gives with: natfleet render -f FILE --facts FACTS

                        """))
    }

    @Test func keepsPackagedRulesAndListsWhatIsLeftOver() async throws {
        let text = """
            *nat
            -A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080
            -A POSTROUTING -s 10.0.0.0/16 -o eth0 -j MASQUERADE --random-fully
            COMMIT
            *filter
            -A INPUT -j REJECT --reject-with icmp-host-prohibited
            -A FORWARD -s 10.0.3.0/24 -j DROP
            -A FORWARD -j REJECT --reject-with icmp-host-prohibited
            COMMIT

            """
        let run = try await importing(["rules": text])
        #expect(run.code == 1)
        #expect(
            run.output.contains(
                "    - name: egress\n      families: [ipv4]\n      interface: eth0\n      sources: [\"10.0.0.0/16\"]\n")
        )
        #expect(
            run.errors == """
                rules:2: left over: -A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080
                  why: natfleet has no REDIRECT of port forwards
                rules:3: note: private sources that no masquerade covers are dropped rather than sent out as they are; guard: false turns that off
                rules:6: kept: -A INPUT -j REJECT --reject-with icmp-host-prohibited
                  why: natfleet leaves it alone
                rules:7: left over: -A FORWARD -s 10.0.3.0/24 -j DROP
                  why: natfleet accepts what it translates before this rule could refuse it
                rules:8: kept: -A FORWARD -j REJECT --reject-with icmp-host-prohibited
                  why: natfleet accepts what it translates before it
                1 rule taken over, 2 kept as they are, 2 left over
                see the rules that it gives with: natfleet render -f FILE --facts FACTS

                """)
    }

    @Test func knowsTheHostsOwnAddresses() async throws {
        let text = """
            *nat
            -A PREROUTING -i eth0 -d 10.0.0.10/32 -p tcp -m multiport --dports 80,443 -j DNAT --to-destination 10.0.1.1
            -A POSTROUTING -s 10.0.1.0/24 -o eth0 -j SNAT --to-source 10.0.0.10
            -A POSTROUTING -s 10.0.4.0/24 -o eth0 -j SNAT --to-source 10.0.0.11
            COMMIT

            """
        let folder = try TemporaryFolder()
        let path = try folder.write(RenderTests.facts, to: "facts.yaml")
        let run = try await importing(["rules": text], "--facts \(path)")
        #expect(run.code == 1)
        let document = try #require(readPolicies(name: "p", text: run.output).documents.first)
        #expect(document.spec.dnat.map(\.name) == ["tcp-80", "tcp-443"])
        #expect(document.spec.dnat.map(\.destination) == [.instance, .instance])
        #expect(document.spec.dnat.map { "\($0.to)" } == ["10.0.1.1:80", "10.0.1.1:443"])
        #expect(document.spec.masquerade.map(\.sources) == [.networks([try CIDR("10.0.1.0/24")])])
        #expect(run.errors.contains("rules:3: note: SNAT to 10.0.0.10 is taken as a masquerade"))
        #expect(run.errors.contains("  why: 10.0.0.11 is not the first address of eth0\n"))
        #expect(try await importing(["rules": text]).errors.contains("why: --facts would tell whether 10.0.0.10"))
    }

    struct Rule: Sendable, CustomTestStringConvertible {
        var rule: String
        var why: String
        var testDescription: String { rule }
    }

    static let leftOver: [Rule] = [
        Rule(
            rule: "PREROUTING -p tcp -m tcp --dport 1:9 -j DNAT --to-destination 10.0.1.1:80", why: "every port of it"),
        Rule(rule: "PREROUTING -p tcp -j DNAT --to-destination 10.0.1.1:80", why: "natfleet forwards ports, and it"),
        Rule(rule: "PREROUTING -j DNAT --to-destination 10.0.1.1", why: "natfleet forwards ports of tcp and udp only"),
        Rule(
            rule: "PREROUTING -d 10.0.0.0/24 -p tcp --dport 8 -j DNAT --to 10.0.1.1:8", why: "its destination is more"),
        Rule(
            rule: "PREROUTING ! -s 10.0.0.0/24 -p tcp --dport 8 -j DNAT --to 10.0.1.1:8",
            why: "natfleet has no '! -s' here"),
        Rule(
            rule: "PREROUTING -p tcp --dport 8 -m mark --mark 1 -j DNAT --to 10.0.1.1:8",
            why: "natfleet has no '-m mark'"),
        Rule(
            rule: "PREROUTING -p tcp --dport 8 -j DNAT --to 10.0.1.1-10.0.1.9:8",
            why: "natfleet forwards to one address"),
        Rule(rule: "PREROUTING -p tcp --dport 8 -j DNAT --to 169.254.169.254:8", why: "natfleet refuses it: 169.254"),
        Rule(rule: "PREROUTING -p tcp --dport 0 -j DNAT --to 10.0.1.1:8", why: "'0' are no ports"),
        Rule(rule: "PREROUTING -p tcp --dport 8 -j DNAT --to [2001:db8::1]:8", why: "2001:db8::1 is no IPv4 address"),
        Rule(rule: "PREROUTING -j DOCKER", why: "natfleet has no DOCKER of port forwards"),
        Rule(rule: "DOCKER -p tcp --dport 8 -j DNAT --to 10.0.1.1:8", why: "natfleet does not read chain 'DOCKER'"),
        Rule(rule: "OUTPUT -p tcp --dport 8 -j DNAT --to 10.0.1.1:8", why: "natfleet does not read chain 'OUTPUT'"),
        Rule(rule: "POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE", why: "natfleet has no '! -o' here"),
        Rule(rule: "POSTROUTING -d 10.9.0.0/16 -j MASQUERADE", why: "natfleet masquerades by source, not only"),
        Rule(rule: "POSTROUTING -o eth+ -j MASQUERADE", why: "natfleet names one interface"),
        Rule(rule: "POSTROUTING -o eth0 -j MASQUERADE --to-ports 1-9", why: "natfleet has no '--to-ports'"),
        Rule(
            rule: "POSTROUTING -p tcp -o eth0 -j MASQUERADE", why: "natfleet masquerades by source, and for the whole"),
        Rule(
            rule: "POSTROUTING -s 127.0.0.0/8 -o eth0 -j MASQUERADE",
            why: "natfleet refuses it: 127.0.0.0/8 is loopback"),
        Rule(rule: "POSTROUTING -s 10.9.0.0/16 -o lo -j MASQUERADE", why: "natfleet refuses it: nothing leaves by"),
        Rule(rule: "POSTROUTING -j NETMAP --to 10.0.0.0/8", why: "natfleet has no NETMAP of what leaves"),
        Rule(rule: "POSTROUTING -s 10.7.0.0/24 -o eth0 -j MASQUERADE", why: "line 2 lets some of it through"),
    ]

    @Test(arguments: leftOver) func saysWhyItLeavesARule(_ example: Rule) async throws {
        let text = """
            *nat
            -A POSTROUTING -s 10.7.0.0/16 ! -d 10.8.0.0/16 -o eth0 -j MASQUERADE
            -A \(example.rule)
            COMMIT

            """
        let run = try await importing(["rules.v4": text])
        #expect(run.code == 1)
        #expect(
            run.errors.contains("rules.v4:3: left over: -A \(example.rule)\n  why: \(example.why)"), "\(run.errors)")
        #expect(readPolicies(name: "p", text: run.output).diagnostics.isEmpty)
        #expect(readPolicies(name: "p", text: run.output).documents.first?.spec.masquerade.count == 1)
    }

    @Test func puts22AndHiddenClientsIntoThePortForward() async throws {
        let text = """
            *nat
            -A PREROUTING -d 10.0.0.10/32 -p tcp -m tcp --dport 22 -j DNAT --to-destination 10.0.1.1:22
            -A PREROUTING -d 10.0.0.10/32 -p tcp -m tcp --dport 22 -j DNAT --to-destination 10.0.1.2:22
            -A POSTROUTING -d 10.0.1.1/32 -p tcp -m tcp --dport 22 -j MASQUERADE
            COMMIT

            """
        let run = try await importing(["rules": text])
        #expect(run.code == 0)
        let forward = try #require(readPolicies(name: "p", text: run.output).documents.first?.spec.dnat.first)
        #expect(forward.allowSSH && forward.masquerade)
        #expect(run.errors.contains("rules:3: note: it never matches, line 2 takes its ports before; left out\n"))
    }

    @Test func refusesWhatHoldsNoNAT() async throws {
        let filter = "*filter\n-A INPUT -s 10.0.0.0/8 -j ACCEPT\nCOMMIT\n"
        let none = try await importing(["rules.v4": filter])
        #expect(none.code == 2)
        #expect(none.output == "")
        #expect(none.errors.contains("rules.v4:2: kept: "))
        #expect(none.errors.contains("error: there is no NAT in "))
        let unknown = try await importing(["rules": "*nat\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n"])
        #expect(
            unknown
                == CommandRun(
                    code: 2, output: "",
                    errors: """
                        error: nothing in rules tells whether it is IPv4 or IPv6
                          fix: keep its line '# Generated by', or name the file like rules.v4 or rules.v6

                        """))
        let cut = try await importing(["rules.v4": "*nat\n-A POSTROUTING -o eth0 -j MASQUERADE\n"])
        #expect(cut.code == 1)
        #expect(cut.errors.contains("  why: it has no COMMIT: the text is cut off\n"))
    }

    /// Whatever is in a file: an answer, and every policy that comes out is one that a controller takes.
    @Test func survivesAnything() async throws {
        var random = Generator(state: 7)
        let words = [
            "-A", "PREROUTING", "POSTROUTING", "-j", "DNAT", "MASQUERADE", "--to-destination", "--to", "[::1]:1",
            "1.2.3.4",
            "10.0.0.0/8", "!", "-s", "-d", "-p", "tcp", "--dport", "1:2", "99999", "-m", "comment", "--comment", "\"",
            "\\", "a\u{1b}[2J", "é", "*nat", "\n", "\nCOMMIT\n", ":X", "[1:2]", "-o", "eth0", "", "\r", "\u{2028}",
            "SNAT",
            "--dports", "1,,2", "1.2.3.4:5-9/1", "-c", "-g", "#", "# Generated by ip6tables-save", "\0",
        ]
        for _ in 0..<2000 {
            let body = (0..<Int.random(in: 0..<40, using: &random)).compactMap { _ in
                words.randomElement(using: &random)
            }
            let text =
                "*nat\n-A POSTROUTING -s 10.0.0.0/8 -o eth0 -j MASQUERADE\n-A \(body.joined(separator: " "))\nCOMMIT\n"
            var policy = try PolicyImport(
                [SavedText(name: "rules.v4", text: text)], name: "web", selector: Selector(instances: ["i-0a"]))
            for _ in 0..<100 {
                let faults = readPolicies(name: "p", text: policy.document.yaml).diagnostics
                if faults.isEmpty { break }
                let dropped = policy.drop(faults)
                try #require(dropped, "\(text): \(faults)")
            }
            #expect(readPolicies(name: "p", text: policy.document.yaml).diagnostics.isEmpty)
        }
    }

    @Test(.timeLimit(.minutes(1))) func takesTenThousandEqualRules() throws {
        let rule =
            "-A PREROUTING -d 10.0.0.10/32 -p tcp --dport PORT -m comment --comment PortMapping -j DNAT --to 10.0.1.1:80\n"
        let text = "*nat\n" + (1...10_000).map { rule.replacing("PORT", with: "\(30_000 + $0)") }.joined() + "COMMIT\n"
        let policy = try PolicyImport(
            [SavedText(name: "a", text: text)], name: "web", selector: Selector(instances: ["i-0a"]))
        #expect(policy.document.spec.dnat.count == 10_000)
        #expect(Set(policy.document.spec.dnat.map(\.name)).count == 10_000)
    }

    private struct Generator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 31)
        }
    }
}
