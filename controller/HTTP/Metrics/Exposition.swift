// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// Samples of one name, as Prometheus takes them.
struct MetricFamily: Hashable, Sendable {
    enum Kind: String, Sendable {
        case counter
        case gauge
        case histogram
    }

    struct Sample: Hashable, Sendable {
        /// Behind the family's name: `_bucket`, `_sum`, `_count` of a histogram.
        var suffix = ""
        var labels: [Label] = []
        var value: Double
    }

    struct Label: Hashable, Sendable {
        var name: String
        var value: String

        init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    var name: String
    /// One line, a sentence.
    var help: String
    var kind: Kind
    var samples: [Sample]
}

extension MetricFamily {
    /// A family with a single sample and no labels.
    init(_ kind: Kind, _ name: String, _ help: String, _ value: Double) {
        self.init(name: name, help: help, kind: kind, samples: [Sample(value: value)])
    }

    /// A family with one label.
    init(_ kind: Kind, _ name: String, _ help: String, by label: String, _ values: [(String, Double)]) {
        self.init(
            name: name, help: help, kind: kind,
            samples: values.map { Sample(labels: [Label(label, $0.0)], value: $0.1) })
    }

    /// The text format, version 0.0.4.
    var text: String {
        var lines = ["# HELP \(name) \(help)", "# TYPE \(name) \(kind.rawValue)"]
        for sample in samples {
            let labels = sample.labels.map { "\($0.name)=\"\(Self.escaped($0.value))\"" }.joined(separator: ",")
            let braced = labels.isEmpty ? "" : "{\(labels)}"
            lines.append("\(name)\(sample.suffix)\(braced) \(Self.number(sample.value))")
        }
        return lines.map { $0 + "\n" }.joined()
    }

    static func number(_ value: Double) -> String {
        if value == .infinity { return "+Inf" }
        return Int64(exactly: value).map(String.init) ?? "\(value)"
    }

    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { text, character in
            switch character {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.append(character)
            }
        }
    }
}
