// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Glibc
import NetAddress
import TestSupport
import Testing

struct IPAddressTests {
    /// Text and the form in which it is printed.
    @Test(arguments: [
        ("10.0.1.1", "10.0.1.1"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"), ("::", "::"),
        ("::1", "::1"),
        ("1::", "1::"), ("2001:DB8::1", "2001:db8::1"), ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
        ("2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
        ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("fe80::0:1", "fe80::1"), ("::ffff:10.0.1.1", "::ffff:10.0.1.1"),
        ("::ffff:a00:101", "::ffff:10.0.1.1"), ("::10.0.1.1", "::10.0.1.1"), ("64:ff9b::10.0.1.1", "64:ff9b::a00:101"),
        ("1:2:3:4:5:6:10.0.1.1", "1:2:3:4:5:6:a00:101"), ("::1:0", "::0.1.0.0"), ("ffff::", "ffff::"),
    ])
    func anAddressIsReadAndPrintedAsGlibcDoes(_ text: String, _ printed: String) throws {
        let address = try IPAddress(text)
        #expect(address.description == printed)
        #expect(try IPAddress(printed) == address)
        #expect(address.family == (text.contains(":") ? .ipv6 : .ipv4))
    }

    @Test(arguments: [
        "", " ", "10.0.1", "10.0.1.1.1", "10.0.1.256", "10.0.1.01", "010.0.1.1", "10.0.1.1 ", " 10.0.1.1", "10.0.1.-1",
        "10.0.1.+1",
        "10..1.1", "0x0a.0.1.1", "167772417", "10.0.1.1/32", "１０.0.1.1", ":", ":::", "1:", ":1", "::1::", "1::2::3",
        "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "12345::", "g::",
        "fe80::1%eth0", "[::1]",
        "::10.0.1", "::10.0.1.256", "::10.0.1.1:1", "10.0.1.1::", "1:2:3:4:5:6:7:10.0.1.1", "::+1", "::1\n",
        "::\u{0661}",
        "0000:0000:0000:0000:0000:0000:0000:00000", "1.2.3.4:",
    ])
    func whatIsNoAddressIsRefusedWithARemedy(_ text: String) {
        let error = #expect(throws: AddressError.self) { try IPAddress(text) }
        #expect(error?.remedy.isEmpty == false)
    }

    @Test
    func messagesHoldNothingThatCouldSteerATerminal() {
        let error = #expect(throws: AddressError.self) {
            try IPAddress("\u{1b}[2J\n\u{202e}" + String(repeating: "x", count: 1000))
        }
        let message = error?.message ?? ""
        #expect(message.hasPrefix("'\\u{1b}[2J\\u{a}\\u{202e}xxx"))
        #expect(message.utf8.count < 150)
    }

    @Test(arguments: [
        ("127.0.0.1", "loopback"), ("127.255.255.255", "loopback"), ("128.0.0.0", ""), ("126.255.255.255", ""),
        ("::1", "loopback"),
        ("169.254.0.0", "link-local"), ("169.254.255.255", "link-local"), ("169.253.255.255", ""), ("169.255.0.0", ""),
        ("fe80::", "link-local"), ("febf:ffff::", "link-local"), ("fec0::", ""), ("fe7f::", ""),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"), ("223.255.255.255", ""), ("240.0.0.0", ""), ("ff02::1", "multicast"),
        ("fe00::", ""),
        ("0.0.0.0", "unspecified"), ("::", "unspecified"), ("0.0.0.1", ""), ("::2", ""), ("10.0.0.1", ""),
        ("2001:db8::1", ""),
    ])
    func anAddressKnowsItsKind(_ text: String, _ kind: String) throws {
        let address = try IPAddress(text)
        #expect(address.isLoopback == (kind == "loopback"))
        #expect(address.isLinkLocal == (kind == "link-local"))
        #expect(address.isMulticast == (kind == "multicast"))
        #expect(address.isUnspecified == (kind == "unspecified"))
    }

    @Test(arguments: [
        ("::ffff:10.0.1.1", "10.0.1.1"), ("::ffff:0:0", "0.0.0.0"), ("::10.0.1.1", nil), ("::1:ffff:a00:101", nil),
        ("64:ff9b::a00:101", nil), ("10.0.1.1", nil), ("::fffe:a00:101", nil),
    ])
    func onlyMappedAddressesHoldAnIPv4Address(_ text: String, _ ipv4: String?) throws {
        #expect(try IPAddress(text).mappedIPv4?.description == ipv4)
    }

    @Test
    func addressesAreOrderedByFamilyThenNumber() throws {
        let texts = ["0.0.0.0", "9.0.0.0", "10.0.0.0", "255.255.255.255", "::", "::1", "2001:db8::", "ffff::"]
        let addresses = try texts.map { try IPAddress($0) }
        #expect(addresses.shuffled().sorted() == addresses)
    }

    @Test
    func bracketsAreForIPv6Only() throws {
        #expect(try IPAddress("10.0.1.1").bracketed == "10.0.1.1")
        #expect(try IPAddress("2001:db8::1").bracketed == "[2001:db8::1]")
    }

    // MARK: - Against glibc

    private static func printedByGlibc(_ address: IPAddress) -> String? {
        let width = address.family.bits / 8
        let bytes = (0..<width).map { UInt8(truncatingIfNeeded: address.bits >> UInt128((width - 1 - $0) * 8)) }
        var buffer = [CChar](repeating: 0, count: 64)
        let family = address.family == .ipv4 ? AF_INET : AF_INET6
        guard inet_ntop(family, bytes, &buffer, socklen_t(buffer.count)) != nil else { return nil }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func isReadByGlibc(_ text: String) -> Bool {
        var bytes = [UInt8](repeating: 0, count: 16)
        return inet_pton(text.utf8.contains(UInt8(ascii: ":")) ? AF_INET6 : AF_INET, text, &bytes) == 1
    }

    /// Addresses with many zero groups, where the forms differ.
    @Test
    func randomAddressesAreReadBackAndPrintedAsGlibcDoes() throws {
        let seed: UInt64 = 0xadd7
        var random = SeededGenerator(seed: seed)
        for round in 0..<5000 {
            let family: IPFamily = round % 4 == 0 ? .ipv4 : .ipv6
            var bits: UInt128 = 0
            for _ in 0..<8 {
                let group: UInt16 =
                    [0, 0, 0, 1, 0xffff, UInt16.random(in: 0...0xffff, using: &random)].randomElement(using: &random)
                    ?? 0
                bits = bits << 16 | UInt128(group)
            }
            let address = IPAddress(family: family, bits: bits)
            #expect(address.description == Self.printedByGlibc(address), "seed \(seed) round \(round)")
            #expect(try IPAddress(address.description) == address, "seed \(seed) round \(round)")
        }
    }

    @Test
    func randomTextIsReadOrRefusedAsByGlibc() {
        let seed: UInt64 = 0x7e47
        var random = SeededGenerator(seed: seed)
        let pieces = [
            "0", "1", "255", "256", "01", "ffff", "10000", "a", "g", ":", "::", ":", ".", ".", "1.2.3.4", "fe80", "%",
        ]
        for round in 0..<20_000 {
            let count = Int.random(in: 1...16, using: &random)
            let text = (0..<count).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
            let isRead = (try? IPAddress(text)) != nil
            #expect(isRead == Self.isReadByGlibc(text), "seed \(seed) round \(round) text \(text)")
        }
    }
}
