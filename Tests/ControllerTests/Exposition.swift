// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation

/// Prometheus' text format, version 0.0.4, read strictly: form, order, conventions of names, sound histograms.
struct Exposition {
    struct Fault: Error, CustomStringConvertible {
        let description: String
    }

    /// Types by name.
    private(set) var families: [String: String] = [:]
    /// Every name with its labels.
    private(set) var series: [String] = []
    private var samples: [(name: String, labels: [(String, String)], value: Double)] = []

    init(_ text: String) throws {
        guard text.hasSuffix("\n") else { throw Fault(description: "no newline at the end") }
        var current: (name: String, type: String)?
        var help: String?
        for line in text.dropLast().split(separator: "\n", omittingEmptySubsequences: false) {
            if let match = line.wholeMatch(of: /# HELP ([a-z][a-z0-9_]*) (\S.*)/) {
                try finish(current)
                (help, current) = (String(match.1), nil)
            } else if let match = line.wholeMatch(of: /# TYPE ([a-z][a-z0-9_]*) (counter|gauge|histogram)/) {
                let (name, type) = (String(match.1), String(match.2))
                guard help == name else { throw Fault(description: "\(name) has no help before its type") }
                guard families.updateValue(type, forKey: name) == nil else {
                    throw Fault(description: "\(name) is there twice")
                }
                try Self.checkName(name, type)
                current = (name, type)
            } else {
                guard let current else { throw Fault(description: "no type before \(line)") }
                try add(String(line), of: current)
            }
        }
        try finish(current)
    }

    private static func checkName(_ name: String, _ type: String) throws {
        let words = name.split(separator: "_").map(String.init)
        guard (words.last == "total") == (type == "counter") else {
            throw Fault(description: "\(name): counters, and only they, end in _total")
        }
        let odd: Set = [
            "ms", "milliseconds", "minutes", "hours", "kb", "mb", "kilobytes", "percent", "counter", "gauge",
        ]
        guard odd.isDisjoint(with: words) else { throw Fault(description: "\(name): no base unit, or a type") }
    }

    private mutating func add(_ line: String, of family: (name: String, type: String)) throws {
        let form = /([a-z][a-z0-9_]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)/
        guard let match = line.wholeMatch(of: form) else { throw Fault(description: "not a sample: \(line)") }
        let name = String(match.1)
        let names =
            family.type == "histogram" ? ["_bucket", "_sum", "_count"].map { family.name + $0 } : [family.name]
        guard names.contains(name) else { throw Fault(description: "\(name) below \(family.name)") }
        guard let value = match.3 == "+Inf" ? .infinity : Double(match.3), family.type == "gauge" || value >= 0 else {
            throw Fault(description: "not a value: \(line)")
        }
        let key = line.prefix(line.count - match.3.count - 1)
        guard !series.contains(String(key)) else { throw Fault(description: "\(key) is there twice") }
        series.append(String(key))
        let labels = (match.2 ?? "").matches(of: /([a-z_]+)="((?:[^"\\]|\\.)*)"/).map { (String($0.1), String($0.2)) }
        samples.append((name, labels, value))
    }

    /// Buckets grow, end with +Inf, and that is the count.
    private func finish(_ family: (name: String, type: String)?) throws {
        guard let (name, type) = family, type == "histogram" else { return }
        let buckets = Dictionary(grouping: samples.filter { $0.name == "\(name)_bucket" }) { sample in
            sample.labels.filter { $0.0 != "le" }.map { "\($0.0)=\($0.1)" }
        }
        let counts = samples.filter { $0.name == "\(name)_count" }
        guard counts.count == buckets.count else { throw Fault(description: "\(name): a count for each histogram") }
        for count in counts {
            let row = buckets[count.labels.map { "\($0.0)=\($0.1)" }] ?? []
            let ends = row.compactMap { sample in sample.labels.first { $0.0 == "le" }?.1 }
            let values = row.map(\.value)
            guard ends.last == "+Inf", values == values.sorted(), values.last == count.value,
                ends.dropLast().compactMap(Double.init) == ends.dropLast().compactMap(Double.init).sorted()
            else { throw Fault(description: "\(name)\(count.labels): unsound") }
        }
    }
}
