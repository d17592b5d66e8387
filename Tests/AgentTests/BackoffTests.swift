// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Testing

@testable import AgentCore

struct BackoffTests {
    @Test func staysWithinFullJitter() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            var backoff = Backoff()
            for failure in 1...10 {
                let wait = backoff.failed(unit: Double.random(in: 0..<1, using: &generator))
                let ceiling = failure >= 6 ? 60 : Double(1 << failure)
                #expect((0..<ceiling).contains(wait))
            }
        }
    }

    @Test func honoursRetryAfter() {
        var backoff = Backoff()
        #expect(backoff.failed(unit: 0, retryAfter: 30) == 30)
        #expect(backoff.failed(unit: 0.5, retryAfter: 1) == 2)
        backoff.succeeded()
        #expect(backoff.failures == 0)
    }
}
