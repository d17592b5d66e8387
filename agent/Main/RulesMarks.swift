// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentDataplane
import AgentNetlink

extension RulesMarks {
    /// Those of the network namespace that this process is in.
    static let kernel = RulesMarks(
        generation: rulesetGeneration, legacy: { legacyMark($0, contents: $1) })
}
