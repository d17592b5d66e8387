// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import Foundation
import Testing
import Yams

struct TokenTests {
    @Test func printsTheSecretAndNothingElse() async throws {
        let fleet = FakeFleet()
        let run = try await natfleet("token create --instance i-0a --label vpc=prod --label az= --ttl 15m", fleet)
        #expect(
            run
                == CommandRun(
                    code: 0, output: "nfj_secret\n",
                    errors: """
                        token t1: 1 use, ends 2026-01-02T03:19:05Z (in 15m)
                        put it into /etc/natfleet/agent.conf as NATFLEET_JOIN_TOKEN; it is not shown again

                        """))
        let token = try #require(fleet.snapshot.tokens.first)
        #expect(token.instanceID == "i-0a")
        #expect(token.labels == ["vpc": "prod", "az": ""])
    }

    @Test func hasOneUseAndOneHourUnlessToldOtherwise() async throws {
        let fleet = FakeFleet()
        let run = try await natfleet("token create -o json", fleet)
        let token = try WireJSON.decode(TokenView.self, from: Data(run.output.utf8))
        #expect(token.secret == "nfj_secret")
        #expect(token.usesLeft == 1)
        #expect(token.instanceID == nil)
        #expect(token.expiresAt == now.addingTimeInterval(3600))
    }

    @Test(arguments: [("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604_800), ("366d", 31_622_400)])
    func readsTimes(_ text: String, _ seconds: Double) async throws {
        let fleet = FakeFleet()
        #expect(try await natfleet("token create --uses 3 --ttl \(text)", fleet).code == 0)
        #expect(fleet.snapshot.tokens.first?.expiresAt == now.addingTimeInterval(seconds))
        #expect(fleet.snapshot.tokens.first?.usesLeft == 3)
    }

    @Test(arguments: [
        (3599.4, "in 60m"), (3570, "in 60m"), (3569, "in 59m"), (119.6, "in 2m"), (119.4, "in 119s"), (7200, "in 2h"),
        (0, "0s ago"),
        (-59.9, "59s ago"), (-172_800, "2d ago"),
    ])
    func roundsTheFuture(_ left: Double, _ text: String) async throws {
        var state = FakeFleet.State()
        state.tokens = [
            TokenView(
                id: "t1", secret: nil, instanceID: nil, labels: [:], usesLeft: 1, createdAt: now,
                expiresAt: now.addingTimeInterval(left), revoked: false)
        ]
        let run = try await natfleet("token list", FakeFleet(state))
        #expect(run.output.contains("   1           \(text)   "), "\(run.output)")
    }

    @Test(arguments: [
        ("--ttl 0s", "'0s' is not a time up to a year"), ("--ttl 367d", "'367d' is not a time up to a year"),
        ("--ttl 1w", "'1w' is not a time up to a year"), ("--ttl 3600", "'3600' is not a time up to a year"),
        ("--ttl h", "'h' is not a time up to a year"), ("--ttl=-1h", "'-1h' is not a time up to a year"),
        ("--ttl 9999999999999999999d", "is not a time up to a year"),
        ("--label vpc", "'vpc' is not a label: write KEY=VALUE"), ("--label =prod", "'=prod' is not a label"),
        ("--label a=1 --label a=2", "label 'a' is given twice"), ("--uses 0", "--uses is at least 1"),
        ("--vpc-cidr 10.0.0.0/16", "--vpc-cidr is for -o user-data only"),
        ("--vpc-cidr 10.0.0.0/16 -o json", "--vpc-cidr is for -o user-data only"),
        ("-o user-data --vpc-cidr 10.0.0.1/16", "'10.0.0.1/16' has host bits set: write 10.0.0.0/16 for the network"),
        ("-o user-data --vpc-cidr 10.0.0.0", "'10.0.0.0' is not the network of a VPC: write it like 10.0.0.0/16"),
        ("-o user-data --vpc-cidr ::/0", "'::/0' is not the network of a VPC"),
        ("-o user-data --vpc-cidr 10.0.0.0/16,10.1.0.0/16", "'10.0.0.0/16,10.1.0.0/16' has no prefix length"),
    ])
    func refusesWhatIsNoToken(_ options: String, _ message: String) async throws {
        let fleet = FakeFleet()
        let run = try await natfleet("token create \(options)", fleet)
        #expect(run.code == 2)
        #expect(run.errors.contains(message), "\(run.errors)")
        #expect(run.errors.hasSuffix("  fix: run 'natfleet token create --help'\n"))
        #expect(fleet.snapshot.tokens.isEmpty)
    }

    @Test(arguments: [nil, "i-0a"]) func printsUserData(_ instance: String?) async throws {
        let line = "token create -o user-data" + (instance.map { " --instance \($0)" } ?? "")
        let run = try await natfleet(line, FakeFleet())
        // SHA-256 of the three zero bytes that stand for a certificate in these tests.
        let hash = "709e80c88487a2411e1ee4dfb9f22a861492d20c4765150c0c794abd70f8147c"
        let identity = instance.map { "      NATFLEET_INSTANCE_ID=\($0)\n" } ?? ""
        #expect(
            run
                == CommandRun(
                    code: 0,
                    output: """
                        #cloud-config
                        # Configures and starts natfleet-agent on an image where it is installed. Holds a join token: keep it secret.
                        write_files:
                          - path: /etc/natfleet/agent.conf
                            owner: root:root
                            permissions: "0600"
                            content: |
                              NATFLEET_CONTROLLER=https://controller.example:8443
                              NATFLEET_CA_HASH=\(hash)
                              NATFLEET_JOIN_TOKEN=nfj_secret

                        """ + identity + """
                                  # Networks of the VPC, what 'sources: vpc' means:
                                  #NATFLEET_VPC_CIDRS=10.0.0.0/16
                            runcmd:
                              - [systemctl, daemon-reload]
                              - [systemctl, enable, --now, natfleet-forwarding.service, natfleet-agent.service]

                            """,
                    errors: """
                        token t1: 1 use, ends 2026-01-02T04:04:05Z (in 60m)
                        a machine refuses 'sources: vpc', the default, until it knows its VPC: name it with --vpc-cidr
                        give it to machines as user-data; who reads it can enrol until the token ends

                        """))
        let node = try #require(try Yams.compose(yaml: run.output))
        #expect(node["write_files"]?[0]?["permissions"]?.string == "0600")
        let content = try #require(node["write_files"]?[0]?["content"]?.string)
        #expect(content.contains("\nNATFLEET_JOIN_TOKEN=nfj_secret\n"))
        #expect(node["runcmd"]?[1]?.array().compactMap(\.string).first == "systemctl")
    }

    /// The command and the file that docs/recipes/cloud-init.md begins with.
    @Test func printsTheUserDataOfTheRecipe() async throws {
        let page = URL(filePath: #filePath).deletingLastPathComponent().appending(
            path: "../../docs/recipes/cloud-init.md")
        let text = try String(contentsOf: page, encoding: .utf8)
        let line = try #require(text.firstMatch(of: /```sh\nnatfleet (?<line>.*) > user-data.yaml\n```/)).output.line
        let sample = try #require(text.firstMatch(of: /```yaml\n(?<sample>(?s:.*?))```/)).output.sample
        let run = try await natfleet(String(line), FakeFleet())
        #expect(run.code == 0 && !run.errors.contains("refuses"))
        // What each fleet has of its own.
        func common(_ text: some StringProtocol) -> String {
            String(text).replacing(/(?<key>NATFLEET_(CONTROLLER|CA_HASH|JOIN_TOKEN)=).*/) { "\($0.output.key)…" }
        }
        #expect(common(sample) == common(run.output))
        #expect(sample.contains("\n      NATFLEET_VPC_CIDRS=10.0.0.0/16,2001:db8:0:100::/56\n"))
    }

    @Test func makesNoTokenForUserDataWithoutTheCA() async throws {
        let fleet = FakeFleet()
        let folder = try TemporaryFolder()
        let path = try folder.write(clientConfiguration.replacing("AAAA", with: "?"), to: "c.yaml")
        let run = try await natfleet(["token", "create", "-o", "user-data", "--config", path], fleet)
        #expect(run.code == 2)
        #expect(run.output == "")
        #expect(run.errors.hasPrefix("error: ca in the client configuration is not a PEM certificate\n  fix: copy ca"))
        #expect(fleet.snapshot.tokens.isEmpty)
    }

    @Test func revokes() async throws {
        let fleet = FakeFleet(try exampleFleet())
        #expect(
            try await natfleet("token revoke t1 t2", fleet)
                == CommandRun(code: 0, output: "token/t1 revoked\ntoken/t2 revoked\n", errors: ""))
        #expect(fleet.snapshot.tokens.map(\.revoked) == [true, true])
        let shown = try await natfleet("get token t2", fleet)
        #expect(shown.output.contains("   revoked   3"))
        let missing = try await natfleet("token revoke t9", fleet)
        #expect(missing.code == 3)
        #expect(missing.errors == "error: there is no join token 't9'\n  fix: choose another\n")
    }
}
