// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Foundation
import NATPolicy
import Testing

/// diff, and apply with an expected revision.
struct DiffTests {
    @Test func showsDocumentsAndRules() async throws {
        let fleet = FakeFleet(try exampleFleet())
        let run = try await natfleet("diff -f -", fleet, input: policyText(port: 8003))
        #expect(
            run
                == CommandRun(
                    code: 1,
                    output: """
                        --- policy/web-egress revision 2
                        +++ policy/web-egress revision 3
                        @@ -14,5 +14,5 @@
                           dnat:
                             - name: PortMapping
                               protocol: tcp
                        -      port: 8002
                        +      port: 8003
                               to: "10.0.1.1:80"
                        instance/i-0a, i-0c
                          it never reported its host: its rules are not known
                        instance/i-0b
                        --- IPv4 rules now
                        +++ IPv4 rules then
                        @@ -2,7 +2,7 @@
                         :NATFLEET-FWD - [0:0]
                         -A FORWARD -j NATFLEET-FWD
                         -A NATFLEET-FWD -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment "natfleet:established" -j ACCEPT
                        --A NATFLEET-FWD -d 10.0.1.1/32 -p tcp -m tcp --dport 80 -m conntrack --ctstate DNAT --ctorigdst 10.0.0.10 --ctorigdstport 8002 -m comment --comment "natfleet:web-egress/PortMapping" -j ACCEPT
                        +-A NATFLEET-FWD -d 10.0.1.1/32 -p tcp -m tcp --dport 80 -m conntrack --ctstate DNAT --ctorigdst 10.0.0.10 --ctorigdstport 8003 -m comment --comment "natfleet:web-egress/PortMapping" -j ACCEPT
                         -A NATFLEET-FWD -s 10.0.0.0/16 -o eth0 -m conntrack --ctstate NEW -m comment --comment "natfleet:web-egress/egress" -j ACCEPT
                         -A NATFLEET-FWD -s 10.0.0.0/16 -o eth0 -m conntrack --ctstate INVALID,NEW -m comment --comment "natfleet:guard" -j DROP
                         COMMIT
                        @@ -12,5 +12,5 @@
                         -A POSTROUTING -j NATFLEET-POST
                         -A PREROUTING -j NATFLEET-PRE
                         -A NATFLEET-POST -s 10.0.0.0/16 -o eth0 -m comment --comment "natfleet:web-egress/egress" -j MASQUERADE --random-fully
                        --A NATFLEET-PRE -d 10.0.0.10/32 -p tcp -m tcp --dport 8002 -m comment --comment "natfleet:web-egress/PortMapping" -j DNAT --to-destination 10.0.1.1:80
                        +-A NATFLEET-PRE -d 10.0.0.10/32 -p tcp -m tcp --dport 8003 -m comment --comment "natfleet:web-egress/PortMapping" -j DNAT --to-destination 10.0.1.1:80
                         COMMIT

                        """,
                    errors: "1 policy and 3 instances would change; do it with: natfleet apply -f\n"))
        #expect(fleet.snapshot.current["web-egress"] == 2)
    }

    @Test func saysThatThereIsNone() async throws {
        let run = try await natfleet("diff -f -", FakeFleet(try exampleFleet()), input: policyText(port: 8002))
        #expect(run == CommandRun(code: 0, output: "", errors: "no differences\n"))
    }

    @Test func showsAPolicyThatIsNotThereYet() async throws {
        let text = policyText("new").replacing("vpc: prod", with: "vpc: none")
        let run = try await natfleet("diff -f -", FakeFleet(try exampleFleet()), input: text)
        #expect(run.code == 1)
        #expect(run.output.hasPrefix("--- policy/new, not there\n+++ policy/new revision 1\n@@ -0,0 +1,"))
        #expect(run.output.split(separator: "\n").dropFirst(3).allSatisfy { $0.hasPrefix("+") })
    }

    @Test(arguments: ["json", "yaml"]) func givesTheAPIsOwnValues(_ format: String) async throws {
        let run = try await natfleet(
            "diff -f - -o \(format)", FakeFleet(try exampleFleet()), input: policyText(port: 8003))
        #expect(run.code == 1)
        if format == "json" {
            let answer = try WireJSON.decode(DiffResponse.self, from: Data(run.output.utf8))
            #expect(answer.policies.map(\.newRevision) == [3])
            #expect(answer.instances.map(\.instance).sorted() == ["i-0a", "i-0b", "i-0c"])
        } else {
            #expect(run.output.hasPrefix("effective:\n"))
        }
    }

    @Test func saysWhatAnInstanceWouldRefuse() async throws {
        let text = policyText(port: 8002).replacing("sources: [10.0.0.0/16]", with: "interface: eth7")
        let run = try await natfleet("diff -f -", FakeFleet(try exampleFleet()), input: text)
        #expect(run.output.contains("instance/i-0b\n  it would refuse: this host has no interface eth7, only eth0\n"))
    }

    @Test func colours() async throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(policyText(port: 8003), to: "p.yaml")
        let run = try await natfleet(["diff", "-f", path], FakeFleet(try exampleFleet()), isTerminal: true)
        #expect(run.output.contains("\u{1b}[31m-      port: 8002\u{1b}[0m\n\u{1b}[32m+      port: 8003\u{1b}[0m\n"))
    }

    @Test(arguments: [(2, 0, "policy/web-egress updated (revision 3, 3 instances)\n"), (1, 4, ""), (0, 4, "")])
    func appliesAtTheExpectedRevisionOnly(_ expected: Int, _ code: Int32, _ output: String) async throws {
        let run = try await natfleet(
            "apply -f - --expect-revision \(expected)", FakeFleet(try exampleFleet()), input: policyText(port: 8003))
        #expect(run.code == code)
        #expect(run.output == output)
        let conflict = "error: policy 'web-egress' is at revision 2, not \(expected)\n  fix: look again\n"
        #expect(run.errors == (code == 0 ? "see it arrive with: natfleet get instances\n" : conflict))
    }
}
