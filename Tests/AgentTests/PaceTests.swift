// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Testing

@testable import AgentCore

struct PaceTests {
    /// Something may be told before the next look is due: look then; where a look means to read the rules, not for more
    /// than a twentieth of the time.
    @Test(
        arguments: [
            (false, nil, 10.0), (false, 3, 3.25), (false, 0.1, 0.45), (false, 600, 10), (true, 3, 5.25),
            (true, 6, 6.25),
        ] as [(Bool, Double?, Double)])
    func looksAgainWhenSomethingMayBeTold(isBlind: Bool, again: Double?, due: Double) {
        var pace = Pace()
        pace.begin(.everything, 0)
        pace.end(LookResult(isBlind: isBlind, again: again), 0.25)
        #expect(pace.due(due - 0.05) == nil && pace.due(due) == .glance)
    }
}
