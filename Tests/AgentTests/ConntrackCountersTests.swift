// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import Testing

struct ConntrackCountersTests {
    /// Kernels differ in columns and their order.
    @Test(
        arguments: [
            (
                "6.x",
                """
                entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart
                00000009  00000000 00000000 00000000 00000002 00000000 00000000 00000000 00000000 0000001e 0000001f 00000003 00000000  00000000 00000000 00000000 00000000
                00000009  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000001 00000001 0000000a 00000000  00000000 00000000 00000000 00000000

                """, ConntrackCounters(insertFailed: 31, dropped: 32, droppedEarly: 13)
            ),
            (
                "older, other columns",
                """
                entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart
                00000001  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 ffffffff 00000000 00000000 00000000  00000000 00000000 00000000 00000000
                00000001  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000001 00000000 00000000 00000000  00000000 00000000 00000000 00000000
                """, ConntrackCounters(insertFailed: 0x1_0000_0000)
            ),
            (
                "turned round", "drop early_drop insert_failed\n1 2 3\n",
                .init(insertFailed: 3, dropped: 1, droppedEarly: 2)
            ),
            ("no line", "drop early_drop insert_failed\n", nil),
            ("nothing", "", nil),
            ("a column is missing", "drop insert_failed\n1 2\n", nil),
            ("a number is missing", "drop early_drop insert_failed\n1 2\n", nil),
            ("no number", "drop early_drop insert_failed\n1 2 x\n", nil),
        ] as [(String, String, ConntrackCounters?)])
    func columnsAreFoundByName(what: String, text: String, expected: ConntrackCounters?) {
        #expect(ConntrackCounters(stat: text) == expected, "\(what)")
    }
}
