// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import TestSupport
import Testing

struct CIDRTests {
    @Test(arguments: [
        ("10.0.0.0/16", "10.0.0.0/16"), ("0.0.0.0/0", "0.0.0.0/0"), ("10.0.1.1", "10.0.1.1/32"),
        ("10.0.1.1/32", "10.0.1.1/32"),
        ("2001:DB8::/32", "2001:db8::/32"), ("::/0", "::/0"), ("2001:db8::1", "2001:db8::1/128"),
        ("128.0.0.0/1", "128.0.0.0/1"),
        ("8000::/1", "8000::/1"), ("10.0.1.2/31", "10.0.1.2/31"),
    ])
    func aNetworkIsReadAndPrintedWithItsLength(_ text: String, _ printed: String) throws {
        let network = try CIDR(text)
        #expect(network.description == printed)
        #expect(try CIDR(printed) == network)
    }

    @Test(arguments: [
        ("10.0.0.1/16", "'10.0.0.1/16' has host bits set", "write 10.0.0.0/16 for the network"),
        ("2001:db8::1/64", "'2001:db8::1/64' has host bits set", "write 2001:db8::/64 for the network"),
        ("1.0.0.0/0", "'1.0.0.0/0' has host bits set", "write 0.0.0.0/0 for the network"),
        ("10.0.0.0/33", "'10.0.0.0/33' has no prefix length between 0 and 32", "write it like 10.0.0.0/16"),
        ("::/129", "'::/129' has no prefix length between 0 and 128", "write it like 2001:db8::/64"),
        ("10.0.0.0/", "'10.0.0.0/' has no prefix length between 0 and 32", "write it like 10.0.0.0/16"),
        ("10.0.0.0/08", "'10.0.0.0/08' has no prefix length between 0 and 32", "write it like 10.0.0.0/16"),
        ("10.0.0.0/-1", "'10.0.0.0/-1' has no prefix length between 0 and 32", "write it like 10.0.0.0/16"),
        ("10.0.0.0/8/8", "'10.0.0.0/8/8' has no prefix length between 0 and 32", "write it like 10.0.0.0/16"),
        (
            "10.0.0.0/255.0.0.0", "'10.0.0.0/255.0.0.0' has no prefix length between 0 and 32",
            "write it like 10.0.0.0/16"
        ),
        ("10.0.0/8", "'10.0.0' is not an IP address", "write it like 10.0.1.1 or 2001:db8::1"),
        ("/8", "'' is not an IP address", "write it like 10.0.1.1 or 2001:db8::1"),
        ("vpc", "'vpc' is not an IP address", "write it like 10.0.1.1 or 2001:db8::1"),
        ("2001:db8/32", "'2001:db8' is not an IPv6 address", "write it like 2001:db8::1"),
    ])
    func whatIsNoNetworkIsRefused(_ text: String, _ message: String, _ remedy: String) {
        let error = #expect(throws: AddressError.self) { try CIDR(text) }
        #expect(error?.message == message)
        #expect(error?.remedy == remedy)
    }

    /// Outer network, inner one, whether the first contains the second, whether they overlap.
    @Test(arguments: [
        ("10.0.0.0/8", "10.1.0.0/16", true, true), ("10.1.0.0/16", "10.0.0.0/8", false, true),
        ("10.0.0.0/8", "10.0.0.0/8", true, true),
        ("10.0.0.0/8", "11.0.0.0/8", false, false), ("0.0.0.0/0", "255.255.255.255", true, true),
        ("0.0.0.0/0", "::/0", false, false),
        ("::/0", "ffff::", true, true), ("::/0", "0.0.0.0/0", false, false),
        ("2001:db8::/32", "2001:db8:ffff::/48", true, true),
        ("2001:db8::/32", "2001:db9::/48", false, false), ("10.0.0.0/31", "10.0.0.1", true, true),
        ("10.0.0.0", "10.0.0.1", false, false),
        ("128.0.0.0/1", "127.0.0.0/8", false, false), ("::/96", "0.0.0.0/0", false, false),
    ])
    func containmentAndOverlap(_ left: String, _ right: String, _ contains: Bool, _ overlaps: Bool) throws {
        let (left, right) = (try CIDR(left), try CIDR(right))
        #expect(left.contains(right) == contains)
        #expect(left.overlaps(right) == overlaps)
        #expect(right.overlaps(left) == overlaps)
    }

    @Test
    func aNetworkIsMadeOfAnyAddressInIt() throws {
        #expect(CIDR(try IPAddress("10.0.1.77"), prefixLength: 16).description == "10.0.0.0/16")
        #expect(CIDR(try IPAddress("2001:db8::ffff"), prefixLength: 127).description == "2001:db8::fffe/127")
        #expect(CIDR(try IPAddress("255.255.255.255"), prefixLength: 0) == .everything(.ipv4))
        #expect(CIDR.everything(.ipv6).isEverything)
        #expect(try CIDR("10.0.0.1").isSingleAddress)
    }

    @Test
    func randomNetworksAreReadBackAndHoldTheirAddresses() throws {
        let seed: UInt64 = 0xc1d7
        var random = SeededGenerator(seed: seed)
        for round in 0..<3000 {
            let family: IPFamily = round % 2 == 0 ? .ipv4 : .ipv6
            let bits = UInt128(random.next()) << 64 | UInt128(random.next())
            let address = IPAddress(family: family, bits: bits)
            let length = Int.random(in: 0...family.bits, using: &random)
            let network = CIDR(address, prefixLength: length)
            #expect(try CIDR(network.description) == network, "seed \(seed) round \(round)")
            #expect(network.contains(address), "seed \(seed) round \(round)")
            guard length > 0 else { continue }
            let outside = IPAddress(family: family, bits: address.bits ^ (1 << UInt128(family.bits - length)))
            #expect(!network.contains(outside), "seed \(seed) round \(round)")
        }
    }
}
