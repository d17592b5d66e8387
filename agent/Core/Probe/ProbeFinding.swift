// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy
package import NetAddress

/// What a client of this instance meets, as a client made for it met it.
package struct ProbeFinding: Codable, Hashable, Sendable {
    /// Something that is true, false, or not known. The texts say why: lower case, no final period.
    package enum Fact: Codable, Hashable, Sendable {
        case yes
        case no(String)
        /// The probe failed, rather than what it looks at: counts neither against a policy nor in its favour, and should not last.
        case unknown(String)
        /// There is nothing to ask here, and nothing wrong with that.
        case unasked(String)
    }

    package var family: IPFamily
    /// `<policy>/<name>` of the masquerade that the client belongs to.
    package var masquerade: String
    /// nil for the datagram that is always sent, and that nobody answers.
    package var target: ProbeTarget?
    /// The kernel tracks a connection of the client. An entry gets into the table after the last hook a packet passes
    /// (nf_conntrack_confirm), so none is there where anything dropped, rejected or did not route the packet.
    package var forwarded: Fact
    /// Whom the other end sees is the address of the masquerade's interface.
    package var translated: Fact
    /// The target accepted a connection.
    package var answered: Fact
    /// The target accepts connections from the instance itself. Asked only where it didn't answer the client.
    package var answersInstance: Fact

    package init(
        family: IPFamily,
        masquerade: String,
        target: ProbeTarget? = nil,
        forwarded: Fact,
        translated: Fact,
        answered: Fact = .unasked("nobody is asked"),
        answersInstance: Fact = .unasked("nobody is asked")
    ) {
        self.family = family
        self.masquerade = masquerade
        self.target = target
        self.forwarded = forwarded
        self.translated = translated
        self.answered = answered
        self.answersInstance = answersInstance
    }

    /// The same for all facts: `unknown` or `unasked`.
    package init(_ family: IPFamily, _ masquerade: String, _ target: ProbeTarget? = nil, all fact: Fact) {
        self.init(
            family: family, masquerade: masquerade, target: target, forwarded: fact, translated: fact,
            answered: target == nil ? .unasked("nobody is asked") : fact)
    }
}

extension ProbeFinding.Fact {
    package var isYes: Bool { self == .yes }

    package var isNo: Bool { if case .no = self { true } else { false } }

    /// Why it is not true; nil where it is.
    package var reason: String? {
        switch self {
        case .yes: nil
        case .no(let reason), .unknown(let reason), .unasked(let reason): reason
        }
    }
}

extension ProbeFinding {
    /// Which masquerade, and what for: `IPv4, web/egress, to tcp:203.0.113.7:443`.
    private var subject: String {
        "\(family.label), \(masquerade)" + (target.map { ", to \($0)" } ?? "")
    }

    /// The first of the facts that NAT itself has to answer for and that is false, as a sentence; nil where none is.
    package var fault: String? {
        if case .no(let reason) = forwarded { return "\(subject): clients are not forwarded: \(reason)" }
        if case .no(let reason) = translated { return "\(subject): clients are not translated: \(reason)" }
        return nil
    }

    /// That the target does not answer, as a sentence, and whose fault that looks like; nil where it does, or where NAT is
    /// to blame.
    package var silence: String? {
        guard fault == nil, case .no(let reason) = answered else { return nil }
        return switch answersInstance {
        case .yes: "\(subject): does not answer clients, and answers the instance itself: \(reason)"
        case .no: "\(subject): answers neither clients nor the instance itself: \(reason)"
        case .unknown, .unasked: "\(subject): does not answer clients: \(reason)"
        }
    }

    /// Somebody keeps clients of a family from what they should reach: NAT does not serve them, or a target answers
    /// everybody but them.
    package var keepsClientsOut: Bool { fault != nil || silence != nil && answersInstance.isYes }

    /// What could not be found out, as a sentence; nil where all that counts is known.
    package var doubt: String? {
        guard fault == nil, case .unknown(let reason) = forwarded else { return nil }
        return "\(subject): not probed: \(reason)"
    }
}

extension [ProbeFinding] {
    /// With what newer ones say of targets in place of what these say of the same.
    func updated(by newer: [ProbeFinding]) -> [ProbeFinding] {
        let newer = newer.filter { $0.target != nil }
        return filter { finding in !newer.contains { $0.target == finding.target } } + newer
    }
}
