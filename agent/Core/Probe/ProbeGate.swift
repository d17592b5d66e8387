// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
import NATPolicy
import NetAddress

/// Whether a trial may go on.
package enum ProbeVerdict: Hashable, Sendable {
    case passed
    /// Why not, a sentence each.
    case failed([String])
}

/// Judges a trial by what clients met before it and meet now.
///
/// - Clients must be forwarded and translated, whatever was before.
/// - A target that answered them before must answer them. One that did not need not. Where nobody asked before, it
///   must answer when it answers the instance itself: then it is up, and clients are kept from it.
/// - What is not known counts for nothing.
///
/// - Parameter before: of the policy that ran until now; empty where none did.
package func gate(before: [ProbeFinding], after: [ProbeFinding]) -> ProbeVerdict {
    let faults = after.compactMap { finding in
        finding.fault ?? (mustAnswer(finding, before) ? finding.silence : nil)
    }
    return faults.isEmpty ? .passed : .failed(faults)
}

private func mustAnswer(_ finding: ProbeFinding, _ before: [ProbeFinding]) -> Bool {
    guard let target = finding.target else { return false }
    let known = before.filter { $0.target == target }
    if known.contains(where: \.answered.isYes) { return true }
    if known.contains(where: \.answered.isNo) { return false }
    return finding.answersInstance.isYes
}

/// What an operator has to know of what was found, per family: nothing where all is well.
package func conditions(of findings: [ProbeFinding]) -> [Condition] {
    IPFamily.allCases.flatMap { family in
        let findings = findings.filter { $0.family == family }
        func condition(_ kind: ConditionKind, _ sentences: [String]) -> Condition? {
            sentences.isEmpty ? nil : Condition(kind, sentences.joined(separator: "; "), family: family)
        }
        return [
            condition(.probeFailed, findings.compactMap(\.fault)),
            condition(.targetUnreachable, findings.compactMap(\.silence)),
            condition(.notProbed, findings.compactMap(\.doubt)),
        ].compactMap(\.self)
    }
}
