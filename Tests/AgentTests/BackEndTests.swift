// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import Netfilter
import Testing

@testable import AgentCore
@testable import AgentDataplane

struct BackEndTests {
    @Test(arguments: [
        ("", []),
        // What is left in the kernel after anybody listed a legacy table.
        ("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [5:300]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n", []),
        ("*filter\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n", ["filter FORWARD"]),
        ("*nat\n:MINE - [0:0]\nCOMMIT\n", []),
        (
            "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o eth0 -j MASQUERADE\n-A POSTROUTING -j RETURN\nCOMMIT\n",
            ["nat POSTROUTING"]
        ),
        // Other tables neither translate nor forward.
        (
            "*mangle\n:FORWARD DROP [0:0]\n-A FORWARD -j MARK --set-mark 1\nCOMMIT\n*raw\n-A OUTPUT -j NOTRACK\nCOMMIT\n",
            []
        ),
        ("# Table `nat' is incompatible, use 'nft' tool.\n", ["nat (native nft rules)"]),
        ("# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n", []),
    ])
    func seesWhatTheOtherBackEndHolds(save: String, chains: [String]) {
        #expect(OtherBackEnd.chainsWithRules(save) == chains)
    }

    private func facts(_ backend: HostFacts.Iptables.Backend, _ others: [String]?) -> HostFacts {
        HostFacts(
            interfaces: [], routes: [], iptables: .init(backend: backend, version: "1.8.9", otherRules: others))
    }

    @Test func namesBothBackEnds() throws {
        var rules = Ruleset()
        #expect(facts(.nft, ["IPv4 nat POSTROUTING"]).backEndConflict(with: rules) == nil, "nothing to load")
        rules[.ipv6].filter.chains = [Chain(name: "NATFLEET-FWD", rules: [])]
        #expect(facts(.nft, nil).backEndConflict(with: rules) == nil)
        #expect(facts(.nft, []).backEndConflict(with: rules) == nil)
        #expect(
            facts(.nft, ["IPv4 nat POSTROUTING"]).backEndConflict(with: rules)
                == "iptables here is iptables-nft, but iptables-legacy holds rules too: IPv4 nat POSTROUTING")
        let many = (1...6).map { "IPv4 nat C\($0)" }
        #expect(
            facts(.legacy, many).backEndConflict(with: rules)
                == "iptables here is iptables-legacy, but iptables-nft holds rules too: "
                + "IPv4 nat C1, IPv4 nat C2, IPv4 nat C3, IPv4 nat C4 and 2 more")
    }
}
