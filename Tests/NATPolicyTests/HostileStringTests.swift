// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import PolicyYAML
import TestSupport
import Testing

/// Strings of a policy end up in restore files, in comments of rules and on terminals. Whatever is written in any
/// place of a document: it is refused, or what comes out holds only characters that mean nothing to any of those.
struct HostileStringTests {
    private static let places = [
        "{name}", "{description}", "{labelKey}", "{labelValue}", "{instance}", "{priority}", "{family}", "{interface}",
        "{source}", "{except}", "{masqueradeName}", "{forwardName}", "{protocol}", "{destination}", "{port}", "{to}",
        "{client}", "{truth}",
    ]

    private static let template = """
        {"apiVersion": "natfleet/v1", "kind": "NATPolicy",
         "metadata": {"name": {name}, "description": {description}},
         "spec": {"priority": {priority}, "selector": {"matchLabels": {{labelKey}: {labelValue}}, "instances": [{instance}]},
          "forwarding": {"ipv4": {truth}},
          "masquerade": [{"name": {masqueradeName}, "families": [{family}], "interface": {interface},
                          "sources": [{source}], "except": [{except}]}],
          "dnat": [{"name": {forwardName}, "protocol": {protocol}, "destination": {destination}, "port": {port}, "to": {to},
                    "sources": [{client}]}]}}
        """

    private static let sound = [
        "{name}": "web", "{description}": "egress", "{labelKey}": "vpc", "{labelValue}": "prod", "{instance}": "i-1",
        "{family}": "ipv4", "{interface}": "eth0", "{source}": "10.0.0.0/16", "{except}": "10.0.0.0/8",
        "{masqueradeName}": "egress", "{forwardName}": "forward", "{protocol}": "tcp", "{destination}": "self",
        "{port}": "8001", "{to}": "10.0.1.1:80", "{client}": "192.0.2.0/24",
    ]

    private static let seeds = [
        "web", "a b", "a\nb", "a\" -j ACCEPT", "--", "-j", "! -d", "COMMIT", "\n*filter\n:INPUT ACCEPT\nCOMMIT\n",
        "$(reboot)",
        "`reboot`", "; reboot", "a'b", "a\\", "\\\"", "%s%n", "../../etc/passwd", "a\0b", "\u{1b}[2J", "\u{202e}gpj",
        "é", "e\u{301}",
        "日本", "\u{200b}", "\u{feff}", "０", "eth+", "eth0:1", "10.0.0.0/16\n-A", "10.0.1.1:80 -j X", "self\n", "auto ",
        "8001,22",
        "tcp -p udp", "::1%eth0", "0x50", "010.0.0.1", "null", "true", "~", "1e3", "*a", "&a", "!a", "<<", "#", "- a",
        "a: b", "|",
        "\t", " ", "", "\r", "\u{85}", "\u{2028}", "[", "{", "@", "-1", "65536",
    ]

    /// A string of JSON; only quote, backslash and what JSON forbids raw are escaped.
    private static func json(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": out += "\\\(scalar)"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }

    private static func document(_ values: [String: String]) -> String {
        var text = template.replacing("{priority}", with: values["{priority}"].map(json) ?? "100")
        text = text.replacing("{truth}", with: values["{truth}"].map(json) ?? "true")
        for (place, value) in values.sorted(by: { $0.key < $1.key }) where place != "{priority}" && place != "{truth}" {
            text = text.replacing(place, with: json(value))
        }
        return text
    }

    private static func hostile(using random: inout SeededGenerator) -> String {
        let alphabet = Array("abz09.-_/:+@ \"'\\\n\r\t\0;$`|&*!%#,[]{}<>~^é\u{202e}\u{7f}".unicodeScalars)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: return seeds.randomElement(using: &random) ?? ""
        case 1:
            let sound = sound.values.sorted().randomElement(using: &random) ?? ""
            return sound + (seeds.randomElement(using: &random) ?? "")
        case 2:
            var scalars = Array((sound.values.sorted().randomElement(using: &random) ?? "").unicodeScalars)
            let index = Int.random(in: 0...scalars.count, using: &random)
            scalars.insert(alphabet.randomElement(using: &random) ?? "x", at: index)
            return String(String.UnicodeScalarView(scalars))
        default:
            let count = Int.random(in: 0...70, using: &random)
            return String(
                String.UnicodeScalarView((0..<count).map { _ in alphabet.randomElement(using: &random) ?? "x" }))
        }
    }

    /// What a restore file, a shell and a terminal take for plain text.
    private static func isHarmless(_ text: String) -> Bool {
        text.utf8.first != UInt8(ascii: "-")
            && text.unicodeScalars.allSatisfy {
                $0.isASCII && ($0.properties.isAlphabetic || "0123456789._/:@+-".unicodeScalars.contains($0))
            }
    }

    private static func strings(of policy: PolicyDocument) -> [String] {
        let spec = policy.spec
        var strings = [policy.name] + spec.selector.instances
        strings += spec.selector.matchLabels.flatMap { [$0.key, $0.value] }
        strings += spec.masquerade.map(\.name) + spec.dnat.map(\.name)
        for case .named(let interface) in spec.masquerade.map(\.interface) { strings.append(interface) }
        return strings
    }

    @Test
    func theTemplateIsSound() throws {
        let policy = try ExamplePolicyTests.only(Self.document(Self.sound))
        #expect(Self.strings(of: policy).allSatisfy(Self.isHarmless))
        #expect(Self.places.allSatisfy { Self.template.contains($0) })
    }

    @Test(arguments: places)
    func aHostileStringIsRefusedOrHarmless(_ place: String) {
        let seed: UInt64 = 0x6e61_7466
        var random = SeededGenerator(seed: seed &+ UInt64(place.utf8.reduce(0) { $0 &* 31 &+ UInt64($1) }))
        let strings = Self.seeds + (0..<400).map { _ in Self.hostile(using: &random) }
        for hostile in strings {
            var values = Self.sound
            values[place] = hostile
            let readings = readPolicies(name: "fuzz.json", text: Self.document(values))
            let context = "seed \(seed) place \(place) string \(hostile.debugDescription)"
            #expect(readings.policies.isEmpty != readings.diagnostics.isEmpty, "\(context)")
            for policy in readings.documents {
                #expect(Self.strings(of: policy).allSatisfy(Self.isHarmless), "\(context)")
                let text = String(decoding: policy.canonicalJSON(), as: UTF8.self)
                #expect(!text.unicodeScalars.contains { $0.value < 0x20 || $0 == "\u{202e}" }, "\(context)")
            }
            for fault in readings.diagnostics {
                let said = fault.path + fault.message + fault.remedy
                #expect(!said.unicodeScalars.contains { $0.value < 0x20 || $0 == "\u{202e}" }, "\(context)")
                #expect(said.unicodeScalars.count < 1000, "\(context)")
                #expect(fault.line > 0 && fault.column > 0, "\(context)")
            }
        }
    }

    @Test
    func randomBytesAreNeverAccepted() {
        let seed: UInt64 = 7
        var random = SeededGenerator(seed: seed)
        for round in 0..<300 {
            let bytes = (0..<Int.random(in: 0...200, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            let readings = readPolicies(name: "fuzz", text: String(decoding: bytes, as: UTF8.self))
            #expect(readings.policies.isEmpty && !readings.diagnostics.isEmpty, "seed \(seed) round \(round)")
        }
    }

    @Test
    func mutatedPoliciesAreReadOrRefused() {
        let seed: UInt64 = 99
        var random = SeededGenerator(seed: seed)
        for round in 0..<400 {
            var bytes = Array(ExamplePolicyTests.full.utf8)
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[index] = UInt8.random(in: 0x20...0x7e, using: &random)
                case 1: bytes.remove(at: index)
                default: bytes.insert(UInt8.random(in: 0x09...0x7e, using: &random), at: index)
                }
            }
            let readings = readPolicies(name: "fuzz.yaml", text: String(decoding: bytes, as: UTF8.self))
            #expect(readings.policies.isEmpty == !readings.diagnostics.isEmpty, "seed \(seed) round \(round)")
            #expect(readings.diagnostics.allSatisfy { !$0.remedy.isEmpty }, "seed \(seed) round \(round)")
            for policy in readings.documents {
                #expect(Self.strings(of: policy).allSatisfy(Self.isHarmless), "seed \(seed) round \(round)")
            }
        }
    }
}
