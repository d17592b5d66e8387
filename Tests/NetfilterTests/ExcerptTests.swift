// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Netfilter
import Testing

struct ExcerptTests {
    private let whole = """
        *filter
        :NATFLEET-FWD - [0:0]
        -A FORWARD -j NATFLEET-FWD
        -A NATFLEET-FWD -j ACCEPT
        COMMIT
        *nat
        :NATFLEET-POST - [0:0]
        :NATFLEET-PRE - [0:0]
        :NATFLEET-PRE-tcpa - [0:0]
        :NATFLEET-PRE-tcpa-08 - [0:0]
        :NATFLEET-PRE-tcpa-080 - [0:0]
        :NATFLEET-PRE-tcpa-08000 - [0:0]
        :NATFLEET-PRE-tcpa-08025 - [0:0]
        :NATFLEET-PRE-tcpa-09 - [0:0]
        -A POSTROUTING -j NATFLEET-POST
        -A PREROUTING -j NATFLEET-PRE
        -A NATFLEET-POST -o eth0 -j MASQUERADE
        -A NATFLEET-PRE -d 10.0.0.1/32 -p udp -j DNAT --to-destination 10.0.1.1
        -A NATFLEET-PRE -d 10.0.0.1/32 -p tcp -j NATFLEET-PRE-tcpa
        -A NATFLEET-PRE-tcpa -p tcp -m tcp --dport 8000:8999 -g NATFLEET-PRE-tcpa-08
        -A NATFLEET-PRE-tcpa -p tcp -m tcp --dport 9000:9999 -g NATFLEET-PRE-tcpa-09
        -A NATFLEET-PRE-tcpa-08 -p tcp -m tcp --dport 8000:8099 -g NATFLEET-PRE-tcpa-080
        -A NATFLEET-PRE-tcpa-080 -p tcp -m tcp --dport 8000:8024 -g NATFLEET-PRE-tcpa-08000
        -A NATFLEET-PRE-tcpa-080 -p tcp -m tcp --dport 8025:8049 -g NATFLEET-PRE-tcpa-08025
        -A NATFLEET-PRE-tcpa-08000 -p tcp -m tcp --dport 8000 -j DNAT --to-destination 10.0.1.1
        -A NATFLEET-PRE-tcpa-08025 -p tcp -m tcp --dport 8030 -j DNAT --to-destination 10.0.1.1
        -A NATFLEET-PRE-tcpa-09 -p tcp -m tcp --dport 9000 -j DNAT --to-destination 10.0.1.1
        COMMIT

        """

    @Test func aLeafComesWithTheWayDownToIt() throws {
        let state = try OwnedState(parsing: whole)
        #expect(
            renderRestore(state.excerpt(of: [.nat: ["NATFLEET-PRE-tcpa-08025"], .filter: []])) == """
                *nat
                :NATFLEET-PRE - [0:0]
                :NATFLEET-PRE-tcpa - [0:0]
                :NATFLEET-PRE-tcpa-08 - [0:0]
                :NATFLEET-PRE-tcpa-080 - [0:0]
                :NATFLEET-PRE-tcpa-08025 - [0:0]
                -A PREROUTING -j NATFLEET-PRE
                -A NATFLEET-PRE -d 10.0.0.1/32 -p tcp -j NATFLEET-PRE-tcpa
                -A NATFLEET-PRE-tcpa -p tcp -m tcp --dport 8000:8999 -g NATFLEET-PRE-tcpa-08
                -A NATFLEET-PRE-tcpa-08 -p tcp -m tcp --dport 8000:8099 -g NATFLEET-PRE-tcpa-080
                -A NATFLEET-PRE-tcpa-080 -p tcp -m tcp --dport 8025:8049 -g NATFLEET-PRE-tcpa-08025
                -A NATFLEET-PRE-tcpa-08025 -p tcp -m tcp --dport 8030 -j DNAT --to-destination 10.0.1.1
                COMMIT

                """)
    }

    @Test func aChainInTheMiddleComesWithWhatItLeadsToEmpty() throws {
        let state = try OwnedState(parsing: whole)
        #expect(
            renderRestore(state.excerpt(of: [.nat: ["NATFLEET-PRE-tcpa-080"]])) == """
                *nat
                :NATFLEET-PRE - [0:0]
                :NATFLEET-PRE-tcpa - [0:0]
                :NATFLEET-PRE-tcpa-08 - [0:0]
                :NATFLEET-PRE-tcpa-080 - [0:0]
                :NATFLEET-PRE-tcpa-08000 - [0:0]
                :NATFLEET-PRE-tcpa-08025 - [0:0]
                -A PREROUTING -j NATFLEET-PRE
                -A NATFLEET-PRE -d 10.0.0.1/32 -p tcp -j NATFLEET-PRE-tcpa
                -A NATFLEET-PRE-tcpa -p tcp -m tcp --dport 8000:8999 -g NATFLEET-PRE-tcpa-08
                -A NATFLEET-PRE-tcpa-08 -p tcp -m tcp --dport 8000:8099 -g NATFLEET-PRE-tcpa-080
                -A NATFLEET-PRE-tcpa-080 -p tcp -m tcp --dport 8000:8024 -g NATFLEET-PRE-tcpa-08000
                -A NATFLEET-PRE-tcpa-080 -p tcp -m tcp --dport 8025:8049 -g NATFLEET-PRE-tcpa-08025
                COMMIT

                """)
    }

    @Test func allChainsAreTheWhole() throws {
        let state = try OwnedState(parsing: whole)
        let all = Dictionary(uniqueKeysWithValues: Table.allCases.map { ($0, Set(state[$0].chains.keys)) })
        #expect(state.excerpt(of: all) == state)
        #expect(state.excerpt(of: [:]).isEmpty)
        #expect(state.ruleCount == 12)
    }
}
