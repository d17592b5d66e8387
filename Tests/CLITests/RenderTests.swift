// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import Testing

struct RenderTests {
    static let facts = """
        interfaces:
          - name: eth0
            addresses:
              - {address: 10.0.0.10, prefixLength: 24}
        routes:
          - {destination: 0.0.0.0/0, interface: eth0, gateway: 10.0.0.1}
        vpcCIDRs: [10.0.0.0/16]
        """

    /// Runs `render` with files P (policy) and F (facts) of a folder of its own, without any client configuration.
    private func render(_ options: String = "", policy: String = policyText(), facts: String = Self.facts) async throws
        -> (run: CommandRun, folder: TemporaryFolder)
    {
        let folder = try TemporaryFolder()
        let policyPath = try folder.write(policy, to: "p.yaml")
        let factsPath = try folder.write(facts, to: "f.yaml")
        let arguments =
            ["render", "-f", policyPath, "--facts", factsPath] + options.split(separator: " ").map(String.init)
        return (try await natfleet(arguments, environment: [:]), folder)
    }

    @Test func showsRulesAndSettings() async throws {
        let (run, _) = try await render()
        #expect(run.code == 0)
        #expect(run.output.hasPrefix("# iptables-restore\n*filter\n:NATFLEET-FWD - [0:0]\n"))
        for line in [
            "-A POSTROUTING -j NATFLEET-POST",
            "-A NATFLEET-PRE -d 10.0.0.10/32 -p tcp -m tcp --dport 8001 -m comment --comment "
                + "\"natfleet:web-egress/PortMapping\" -j DNAT --to-destination 10.0.1.1:80",
            "# sysctl, before the rules", "# sysctl, after the rules\nnet.ipv4.ip_forward = 1",
        ] { #expect(run.output.contains(line + "\n"), "\(line)") }
        #expect(!run.output.contains("ip6tables-restore"), "no rules, no heading")
        #expect(run.errors.contains("web-egress/egress: interface auto is eth0 in IPv4\n"))
    }

    @Test func showsOneFamilyForAPipe() async throws {
        let (run, _) = try await render("--family ipv4")
        #expect(run.output.hasPrefix("*filter\n"))
        #expect(run.output.hasSuffix("COMMIT\n"))
        #expect(!run.output.contains("#"))
        #expect(try await render("--family ipv6").run.output == "")
    }

    @Test func givesTheSameToMachines() async throws {
        let (json, _) = try await render("-o json")
        let object = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        #expect(object["ipv4"] as? String == (try await render("--family ipv4").run.output))
        #expect((object["forwarding"] as? [[String: String]]) == [["key": "net.ipv4.ip_forward", "value": "1"]])
        let (yaml, _) = try await render("-o yaml")
        #expect(yaml.output.contains("ipv4: |\n  *filter\n  :NATFLEET-FWD - [0:0]\n"))
    }

    @Test func takesFactsAsJSON() async throws {
        let facts = """
            {"interfaces": [{"name": "eth0", "addresses": [{"address": "10.0.0.10", "prefixLength": 24}]}],
             "routes": [{"destination": "0.0.0.0/0", "interface": "eth0", "gateway": "10.0.0.1"}],
             "iptables": {"backend": "nft", "version": "1.8.9"}, "vpcCIDRs": ["10.0.0.0/16"],
             "publicAddresses": [], "controller": ["192.0.2.1:8443"]}
            """
        #expect(try await render("--family ipv4", facts: facts).run == (try await render("--family ipv4").run))
    }

    struct Fault: Sendable, CustomTestStringConvertible {
        var policy = policyText()
        var facts = RenderTests.facts
        var code: Int32 = 2
        var errors: String

        var testDescription: String { errors }
    }

    static let faults: [Fault] = [
        Fault(
            policy: policyText().replacing("sources: [10.0.0.0/16]", with: "interface: eth7"),
            errors: """
                DIR/p.yaml:4:9: web-egress/egress: this host has no interface eth7, only eth0
                  fix: name one of them, or write interface: auto
                error: 1 fault in policies; nothing was done
                  fix: mend what is listed above, then try again

                """),
        Fault(
            policy: policyText() + "---\n" + policyText("zzz"), code: 4,
            errors: """
                DIR/p.yaml:22:9: zzz/PortMapping: CONFLICT
                error: 1 conflict between policies
                  fix: change one of each pair

                """),
        Fault(
            policy: policyText(port: 70000),
            errors: """
                DIR/p.yaml:16:13: spec.dnat[0].port: '70000' is not a port between 1 and 65535, nor a range of them
                  fix: write it like 8001 or "8000-8019"
                error: 1 fault in policies; nothing was done
                  fix: mend what is listed above, then try again

                """),
        Fault(
            facts: "interfaces: []",
            errors: """
                error: DIR/f.yaml does not hold host facts: routes is missing
                  fix: take status.facts of 'natfleet get instance ID -o json', or see docs/cli.md for what to write

                """),
        Fault(
            facts: facts.replacing("10.0.0.10,", with: "10.0.0.300,"),
            errors: """
                error: DIR/f.yaml does not hold host facts: '10.0.0.300' is not an IP address
                  fix: take status.facts of 'natfleet get instance ID -o json', or see docs/cli.md for what to write

                """),
    ]

    @Test(arguments: faults) func saysWhatCannotBe(_ example: Fault) async throws {
        let (run, folder) = try await render(policy: example.policy, facts: example.facts)
        #expect(run.code == example.code)
        #expect(run.output == "")
        // The words of a conflict are NATPolicy's.
        let errors = run.errors.replacing(folder.path, with: "DIR").replacing(
            #/(zzz/PortMapping: ).*\n  fix: .*\n/#, with: { "\($0.1)CONFLICT\n" })
        #expect(errors == example.errors)
    }

    @Test func saysThatThereAreNoFacts() async throws {
        let run = try await natfleet("render -f - --facts /none", input: policyText())
        #expect(
            run
                == CommandRun(
                    code: 2, output: "", errors: "error: cannot read /none\n  fix: check its name and permissions\n"))
    }
}
