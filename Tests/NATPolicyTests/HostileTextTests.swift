// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import PolicyYAML
import Testing

/// Files that mean to hurt: they are refused, soon, and nothing hangs or crashes. The limits of time are generous, since
/// the machine may be busy; what they keep out is minutes.
struct HostileTextTests {
    private static func refusal(of text: String, within limit: Duration = .seconds(20)) throws -> Diagnostic {
        let start = ContinuousClock.now
        let readings = readPolicies(name: "hostile.yaml", text: text)
        let time = ContinuousClock.now - start
        #expect(time < limit)
        #expect(readings.policies.isEmpty)
        #expect(readings.diagnostics.count <= 1000)
        return try #require(readings.diagnostics.first)
    }

    @Test
    func tenMegabytesOfLinesAreRefusedForTheirSizeAtOnce() throws {
        let fault = try Self.refusal(of: String(repeating: "- a: b\n", count: 10_000_000 / 7), within: .seconds(2))
        #expect(fault.message == "the file has 9999997 bytes, more than 4 MiB")
        #expect(fault.remedy == "split it into files of at most 4 MiB")
    }

    @Test(arguments: [
        "- a\n", "-\n", "a\n", "a: 1\n", "\n", "#\n", " ", "\t", "[],", "a", "\"", "'", "&", "*", "- &a *a\n", "---\n",
        "a: 1\n---\n", "? ", "- ", "[", "{", "[{", "{? ", "{a: ", "[a: ", "- ? ", "\\", "é", "\r", "|\n", "a: |\n b\n",
    ])
    func aLotOfAnythingIsRefused(_ piece: String) throws {
        let fault = try Self.refusal(of: String(repeating: piece, count: (1 << 18) / piece.utf8.count))
        #expect(!fault.remedy.isEmpty)
    }

    @Test
    func aMappingOfManyKeysIsRefusedWithABoundedNumberOfFaults() throws {
        let fault = try Self.refusal(of: (0..<100_000).map { "key\($0): 1\n" }.joined())
        #expect(fault.message == "unknown key 'key0'")
    }

    @Test(arguments: [31, 32, 33, 500, 999, 1000, 1001, 5000])
    func nestedBracketsAreRefused(_ depth: Int) throws {
        let pairs = [("[", "]"), ("{", "}"), ("{", "}: 1"), ("{a: ", "}"), ("[{a: ", "}]")]
        for (open, close) in pairs {
            let text = String(repeating: open, count: depth) + String(repeating: close, count: depth)
            #expect(try !Self.refusal(of: text).remedy.isEmpty)
        }
    }

    /// Nine levels of nine aliases each would be 400 million nodes.
    @Test
    func aliasBombsAreRefusedBeforeTheyGrow() throws {
        var text = "a0: &a0 [x]\n"
        for level in 1...9 {
            text += "a\(level): &a\(level) [\(repeatElement("*a\(level - 1)", count: 9).joined(separator: ", "))]\n"
        }
        #expect(try Self.refusal(of: text, within: .seconds(2)).message == "anchors (&) are not allowed in a policy")
    }

    /// These made Yams hang for half a minute with seven levels.
    @Test(arguments: [
        "&a{level} {? *a{below} : x, ? [*a{below}, *a{below}] : x}",
        "&a{level} {*a{below} : *a{below}, [*a{below}]: *a{below}}",
        "\n  ? *a{below}\n  : &a{level} {*a{below} : 1}",
    ])
    func aliasBombsInMappingKeysAreRefusedBeforeTheyGrow(_ shape: String) throws {
        var text = "a0: &a0 {x: y}\n"
        for level in 1...30 {
            let value = shape.replacing("{level}", with: "\(level)").replacing("{below}", with: "\(level - 1)")
            text += "a\(level): \(value)\n"
        }
        let fault = try Self.refusal(of: text, within: .seconds(2))
        #expect(fault.message == "anchors (&) are not allowed in a policy")
        #expect(fault.line == 1)
        #expect(fault.column == 5)
    }

    @Test(arguments: [
        ("a: &x\n  b: c\n", 1, 4), ("a: &x b: c\n", 1, 4), ("a: [b, &x c]\n", 1, 8), ("a: {b: &x c}\n", 1, 8),
        ("&x a: b\n", 1, 1), ("- &x\n- b\n", 1, 3), ("a:\n  &x\n  b: c\n", 2, 3), ("{\"a\":&x b}", 1, 6),
        ("? &x a\n", 1, 3), ("--- &x\na: b\n", 1, 5),
    ])
    func anAnchorIsFoundWhereverItStands(_ text: String, _ line: Int, _ column: Int) throws {
        let fault = try Self.refusal(of: text)
        #expect(fault.message == "anchors (&) are not allowed in a policy")
        #expect([fault.line, fault.column] == [line, column])
    }

    /// The same characters as text are nobody's business.
    @Test(arguments: [
        "description: this & that, *all* of it!", "description: 'this & *that* !'", "description: \"&x *y !z\"",
        "description: a&b*c!d  # &x *y !z", "description: >-\n    &x\n    *y !z", "description: -&x",
    ])
    func indicatorsInsideTextStayWhatTheyAre(_ line: String) throws {
        let text = WrongPolicy.header.replacing("{name: web}", with: "\n  name: web\n  \(line)")
        let readings = readPolicies(name: "test.yaml", text: text)
        #expect(readings.diagnostics.isEmpty, "\(readings.diagnostics)")
        let description = try #require(readings.documents.first?.description)
        #expect(description.contains("&"))
        #expect(!description.unicodeScalars.contains { (0xe000...0xf8ff).contains($0.value) })
    }

    @Test
    func bytesThatAreNoTextAreRefused() throws {
        let bytes: [UInt8] = [0x61, 0x3a, 0x20, 0xff, 0xfe, 0x00, 0xc3, 0x28]
        #expect(try Self.refusal(of: String(decoding: bytes, as: UTF8.self)).message == "this is not UTF-8 text")
    }

    @Test
    func tenThousandForwardsAreReadSoon() throws {
        let forwards = (0..<10_000).map {
            """
                - name: forward-number-\($0)
                  protocol: tcp
                  destination: "2001:db8:0:ffff:ffff:ffff:ffff:\(String(1 + $0 / 5000, radix: 16))"
                  port: \(30_000 + $0 % 5000)
                  to: "[2001:db8:0:2:ffff:ffff:ffff:\(String(1 + $0, radix: 16))]:8080"
                  sources: ["2001:db8:1::/48", "2001:db8:2::/48"]
                  drain: false
                  masquerade: false
                  hairpin: false

            """
        }
        let text = WrongPolicy.header + "  dnat:\n" + forwards.joined()
        let start = ContinuousClock.now
        let readings = readPolicies(name: "big.yaml", text: text)
        let time = ContinuousClock.now - start
        #expect(readings.diagnostics.isEmpty, "\(readings.diagnostics.prefix(3))")
        #expect(readings.documents.first?.spec.dnat.count == 10_000)
        #expect(time < .seconds(30))
    }
}
