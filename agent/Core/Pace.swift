// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// How much of the machine to look at.
package enum Look: Int, Comparable, Hashable, Sendable {
    /// The generation of the rules and the sysctls; more only where they moved.
    case glance
    /// The rules too.
    case rules
    /// Host facts and saved files too.
    case everything

    package static func < (left: Look, right: Look) -> Bool { left.rawValue < right.rawValue }
}

/// What the last look says of the next ones.
package struct LookResult: Hashable, Sendable {
    /// Rules may change without a generation that tells: they have to be read.
    package var isBlind: Bool
    /// The legacy back end has tables, whose rules come and go without news.
    package var hasOtherTables: Bool
    /// Own rules, both families.
    package var rules: Int
    /// Somebody else keeps changing our rules.
    package var isContended: Bool
    /// Seconds until something that is the case has lasted long enough to be told.
    package var again: Double?

    package init(
        isBlind: Bool = true, hasOtherTables: Bool = false, rules: Int = 0, isContended: Bool = false,
        again: Double? = nil
    ) {
        (self.isBlind, self.hasOtherTables, self.rules) = (isBlind, hasOtherTables, rules)
        (self.isContended, self.again) = (isContended, again)
    }
}

/// When to look at the kernel (DESIGN §6, *drift*). Times are seconds of one clock that never goes back.
///
/// On nft a glance every 10 s costs a few reads of files, and news of the kernel are looked into at once; everything is read
/// every 5 min. On legacy, which sends no news, rules are read every 10 s, above 1,000 rules every 60 s. A look takes
/// no more than a twentieth of the time, short ones at least, and rules that somebody else fights over are put back every 30 s.
struct Pace: Hashable, Sendable {
    private static let contendedGap = 30.0

    private var began = -Double.infinity
    private var ended = -Double.infinity
    private var everything = -Double.infinity
    private var news: Look?
    private var result = LookResult()
    /// Seconds between two looks at everything.
    let whole: Double

    init(whole: Double = 300) { self.whole = whole }

    mutating func heard(_ look: Look) { news = max(look, news ?? look) }

    /// What to look at now, if anything.
    func due(_ now: Double) -> Look? {
        // Whatever asks for it: any look may end in a repair.
        if result.isContended, now - began < Self.contendedGap { return nil }
        if now - everything >= (result.hasOtherTables && !result.isBlind ? min(whole, 20) : whole) {
            return .everything
        }
        let gap = min(5, max(0.2, (ended - began) * 20))
        if let news, now - ended >= gap { return news }
        let period =
            result.isContended ? Self.contendedGap : result.isBlind && result.rules > 1000 ? 60.0 : 10
        if now - began >= period { return result.isBlind ? .rules : .glance }
        // A glance costs next to nothing, whatever the look before it took.
        if let again = result.again, now - ended >= max(result.isBlind ? gap : 0.2, again) { return .glance }
        return nil
    }

    mutating func begin(_ look: Look, _ now: Double) {
        (began, ended, news) = (now, now, nil)
        if look == .everything { everything = now }
    }

    mutating func end(_ result: LookResult, _ now: Double) { (ended, self.result) = (now, result) }

    /// A change was made: the next look is a whole one.
    mutating func reset() { (everything, news) = (-.infinity, nil) }
}
