// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy

/// What tells without a program whether the rules of this network namespace are still those that were read.
package struct RulesMark: Hashable, Sendable {
    /// A number that grows with every change of nftables rules, whoever makes it; nil where nobody counts. Tells nothing of
    /// rules of the legacy back end.
    package var generation: UInt32?
    /// nil where the kernel could not be asked.
    package var legacy: LegacyMark?

    package init(generation: UInt32? = nil, legacy: LegacyMark? = nil) {
        (self.generation, self.legacy) = (generation, legacy)
    }

    /// It tells whether any rule of a back end has changed.
    func covers(_ backEnd: HostFacts.Iptables.Backend) -> Bool {
        backEnd == .nft ? generation != nil : legacy?.contents != nil
    }

    /// No rule of a back end has changed in between, as far as both look.
    func isSame(as other: RulesMark, _ backEnd: HostFacts.Iptables.Backend) -> Bool {
        if backEnd == .nft { return generation != nil && generation == other.generation }
        guard let legacy, let before = other.legacy, legacy.outline == before.outline else { return false }
        guard let contents = legacy.contents, let old = before.contents else { return true }
        return contents == old
    }
}

/// What the kernel's legacy tables amount to; means nothing in another process.
package struct LegacyMark: Hashable, Sendable {
    /// How many rules there are in each table, and where its chains begin.
    package var outline: Int
    /// What they say, all but their counters; nil where nobody looked.
    package var contents: Int?

    package init(outline: Int, contents: Int?) { (self.outline, self.contents) = (outline, contents) }
}
