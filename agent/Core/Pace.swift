// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// How much of the machine to look at.
package enum Look: Int, Comparable, Hashable, Sendable {
    /// The generation of the rules, on legacy how many there are, and the sysctls; more only where they moved.
    case glance
    /// What the rules say too.
    case rules
    /// Host facts and saved files too.
    case everything

    package static func < (left: Look, right: Look) -> Bool { left.rawValue < right.rawValue }
}

/// What the last look says of the next ones.
package struct LookResult: Hashable, Sendable {
    /// Nothing but reading the rules with a program tells whether they have changed.
    package var isBlind: Bool
    /// The kernel tells by itself of no change of rules: those of the legacy back end.
    package var isSilent: Bool
    /// The legacy back end has tables beside ours, whose rules come and go without news.
    package var hasOtherTables: Bool
    /// Own rules, both families.
    package var rules: Int
    /// Somebody else keeps changing our rules.
    package var isContended: Bool
    /// Seconds until something that is the case has lasted long enough to be told.
    package var again: Double?

    package init(
        isBlind: Bool = true, isSilent: Bool = false, hasOtherTables: Bool = false, rules: Int = 0,
        isContended: Bool = false, again: Double? = nil
    ) {
        (self.isBlind, self.isSilent, self.hasOtherTables) = (isBlind, isSilent, hasOtherTables)
        (self.rules, self.isContended, self.again) = (rules, isContended, again)
    }
}

/// When to look at the kernel (DESIGN §6, *drift*). Times are seconds of one clock that never goes back.
///
/// On nft a glance every 10 s costs a few reads of files, and news of the kernel are looked into at once; everything is read
/// every 5 min. Of legacy the news is that a program was there: then what the rules say is looked at, as it is every 10 s up to
/// 1,000 rules; and a glance every 5 s.
/// A look takes no more than a twentieth of the time, short ones at least, and rules that somebody else fights over are put
/// back every 30 s.
struct Pace: Hashable, Sendable {
    private static let contendedGap = 30.0

    private var began = -Double.infinity
    private var ended = -Double.infinity
    /// When there was a look at what the rules say.
    private var rules = -Double.infinity
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
        if let gap = rulesGap, now - rules >= period(gap) { return .rules }
        if !result.isBlind, now - began >= period(result.isSilent ? 5 : 10) { return .glance }
        // A glance costs next to nothing, whatever the look before it took.
        if let again = result.again, now - ended >= max(result.isBlind ? gap : 0.2, again) { return .glance }
        return nil
    }

    /// Seconds until something is due, whole ones from 1 to 10.
    func rest(_ now: Double) -> Double {
        for seconds in 1..<10 where due(now + Double(seconds)) != nil { return Double(seconds) }
        return 10
    }

    mutating func begin(_ look: Look, _ now: Double) {
        (began, ended) = (now, now)
        // A glance may be due before that which was asked for may begin.
        if let news, look >= news { self.news = nil }
        if look >= .rules || result.isBlind { rules = now }
        if look == .everything { everything = now }
    }

    /// Seconds between two looks at what the rules say that nobody asked for.
    private var rulesGap: Double? {
        let areMany = result.rules > 1000
        if result.isBlind { return areMany ? 60 : 10 }
        return result.isSilent && (!areMany || result.isContended) ? 10 : nil
    }

    private func period(_ seconds: Double) -> Double { result.isContended ? Self.contendedGap : seconds }

    mutating func end(_ result: LookResult, _ now: Double) { (ended, self.result) = (now, result) }

    /// A change was made: the next look is a whole one.
    mutating func reset() { (everything, news) = (-.infinity, nil) }
}
