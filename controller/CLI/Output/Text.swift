// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import Foundation

/// Text from elsewhere, safe for a terminal: agents choose some of it, and an escape sequence is a command there.
func printable(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: isControl) else { return text }
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
        result.append(isControl(scalar) ? (scalar == "\n" || scalar == "\t" ? " " : "?") : scalar)
    }
    return String(result)
}

private func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .lineSeparator, .paragraphSeparator: true
    // Direction overrides make a line read as something else.
    case .format: (0x202a...0x202e).contains(scalar.value) || (0x2066...0x2069).contains(scalar.value)
    default: false
    }
}

/// A span of time in its largest useful unit: `45s`, `7m`, `3h`, `12d`; what has begun of the next does not count.
func duration(seconds: Double) -> String {
    let seconds = Int(max(0, min(seconds, 1e12)))
    return switch seconds {
    case ..<120: "\(seconds)s"
    case ..<7200: "\(seconds / 60)m"
    case ..<172_800: "\(seconds / 3600)h"
    default: "\(seconds / 86_400)d"
    }
}

/// How far `date` is from now: `3d ago`, `in 20h`. The future is rounded, so that an hour just granted is `60m` and not
/// `59m`.
func distance(_ date: Date, _ now: Date) -> String {
    let past = now.timeIntervalSince(date)
    guard past < 0 else { return "\(duration(seconds: past)) ago" }
    let left = (-past).rounded()
    return "in \(duration(seconds: left < 120 ? left : left + 30))"
}

func age(_ date: Date?, _ now: Date) -> String {
    date.map { duration(seconds: now.timeIntervalSince($0)) } ?? "never"
}

/// `2026-01-02T03:04:05Z (3d ago)`
func moment(_ date: Date?, _ now: Date) -> String {
    guard let date else { return "never" }
    return "\(date.formatted(.iso8601)) (\(distance(date, now)))"
}

func labelText(_ labels: [String: String]) -> String {
    labels.isEmpty ? "<none>" : labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
}

/// Enough of a hash to tell two apart.
func shortHash(_ hash: String?) -> String { hash.map { String($0.prefix(12)) } ?? "<none>" }

/// `1 instance`, `3 instances`
func count(_ number: Int, _ noun: String) -> String {
    number == 1 ? "1 \(noun)" : "\(number) \(noun.hasSuffix("y") ? noun.dropLast() + "ies" : noun + "s")"
}
