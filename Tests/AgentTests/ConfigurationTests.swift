// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import NetAddress
import Testing

@testable import AgentCore

struct ConfigurationTests {
    private static let hash = String(repeating: "ab", count: 32)

    private func read(_ text: String, _ environment: [String: String] = [:]) throws -> Configuration {
        try Configuration(text: text, file: "agent.conf", environment: environment)
    }

    @Test func readsAFile() throws {
        let configuration = try read(
            """
            # the controller
            NATFLEET_CONTROLLER = "https://10.0.0.5:8443/"

            NATFLEET_CA_HASH='SHA256:\(Self.hash.uppercased())'
            NATFLEET_LABELS=vpc=prod, az=a
            NATFLEET_VPC_CIDRS=10.0.0.0/16,2001:db8::/56
            """)
        #expect(configuration.controller == "https://10.0.0.5:8443")
        #expect(configuration.caHash == Self.hash)
        #expect(configuration.labels == ["vpc": "prod", "az": "a"])
        #expect(configuration.vpcCIDRs.map(\.description) == ["10.0.0.0/16", "2001:db8::/56"])
        #expect(configuration.stateDirectory == "/var/lib/natfleet-agent")
        #expect(configuration.joinToken == nil)
    }

    @Test func theEnvironmentWins() throws {
        let text = "NATFLEET_CONTROLLER=https://a:1\nNATFLEET_CA_HASH=\(Self.hash)"
        #expect(try read(text, ["NATFLEET_CONTROLLER": "https://b:2"]).controller == "https://b:2")
    }

    @Test(arguments: [
        ("NATFLEET_CA_HASH=\(hash)", "NATFLEET_CONTROLLER is missing"),
        ("NATFLEET_CONTROLLER=http://a\nNATFLEET_CA_HASH=\(hash)", "NATFLEET_CONTROLLER is 'http://a'"),
        ("NATFLEET_CONTROLLER=https://a\nNATFLEET_CA_HASH=abc", "NATFLEET_CA_HASH is not 64 hexadecimal digits"),
        ("NATFLEET_CONTROLER=https://a", "agent.conf:1: unknown key 'NATFLEET_CONTROLER'"),
        ("hello", "agent.conf:1: no '='"),
        ("NATFLEET_VPC_CIDRS=10.0.0.1/16", "host bits set"),
        ("NATFLEET_LABELS=x", "NATFLEET_LABELS has 'x'"),
        ("NATFLEET_STATE_DIR=here", "write an absolute path"),
    ])
    func namesTheFault(text: String, message: String) throws {
        let error = try #require(throws: FleetError.self) { try read(text) }
        #expect(error.message.contains(message))
        #expect(error.remedy?.contains("agent.conf") == true)
    }
}
