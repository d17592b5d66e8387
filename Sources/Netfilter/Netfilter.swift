// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// Rules as data, their text, and the way from one state of the kernel to another. Pure: runs nothing, opens nothing.
///
/// Goals: what is compiled is exactly what `iptables-save` and `ip6tables-save` print back (measured on 1.8.9, nft and
/// legacy), so that reading back is a comparison of lines; foreign rules are never read for meaning, moved or deleted.
///
/// Approach: a policy compiles to a `Ruleset` of typed rules. Everything after that works on `OwnedState`, lines of
/// text by chain, which is what the kernel can tell: the desired one comes from a `FamilyRules`, the actual one from
/// `iptables-save`. `differences` compares two of them and `plan` leads from one to the other.
///
/// Invariant: a chain is ours exactly when its name starts with `ownedChainPrefix`, and a rule outside our chains is
/// ours exactly when its target is such a chain.
package let ownedChainPrefix = "NATFLEET-"

/// The two tables that we write to.
package enum Table: String, CaseIterable, Hashable, Sendable {
    case filter
    case nat
}

/// The kernel's own chains that we enter ours from.
package enum BuiltInChain: String, CaseIterable, Hashable, Sendable {
    case prerouting = "PREROUTING"
    case forward = "FORWARD"
    case output = "OUTPUT"
    case postrouting = "POSTROUTING"
}
