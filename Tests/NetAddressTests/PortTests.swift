// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Testing

struct PortTests {
    @Test(arguments: [
        ("1", 1, 1), ("8001", 8001, 8001), ("65535", 65535, 65535), ("8000-8019", 8000, 8019), ("22-22", 22, 22),
        ("1-65535", 1, 65535),
    ])
    func aRangeIsRead(_ text: String, _ first: UInt16, _ last: UInt16) throws {
        let ports = try PortRange(text)
        #expect(ports.first == first)
        #expect(ports.last == last)
        #expect(ports.count == Int(last) - Int(first) + 1)
        #expect(try PortRange(ports.description) == ports)
    }

    @Test(arguments: [
        "", "0", "65536", "99999999999", "-1", "+1", "01", "1-", "-", "1-2-3", "0-1", "1-65536", "8019-8000", "80,443",
        "80:90", " 80",
        "80 ", "0x50", "1e3", "http", "８０", "1--2",
    ])
    func whatIsNoRangeIsRefused(_ text: String) {
        let error = #expect(throws: AddressError.self) { try PortRange(text) }
        #expect(error?.remedy.isEmpty == false)
    }

    @Test(arguments: [
        ("80", "80", true), ("80", "81", false), ("80-90", "90-99", true), ("80-90", "91-99", false),
        ("1-65535", "443", true),
        ("10-20", "5-10", true), ("10-20", "1-9", false),
    ])
    func rangesOverlapWhereTheyShareAPort(_ left: String, _ right: String, _ overlap: Bool) throws {
        #expect(try PortRange(left).overlaps(PortRange(right)) == overlap)
        #expect(try PortRange(right).overlaps(PortRange(left)) == overlap)
    }

    @Test(arguments: [
        ("9000", 20, "9000-9019"), ("9000", 1, "9000"), ("65535", 1, "65535"), ("65516", 20, "65516-65535"),
        ("65517", 20, nil),
        ("1", 65535, "1-65535"), ("2", 65535, nil), ("80", 0, nil), ("80", -1, nil), ("80", Int.max, nil),
    ])
    func aRangeIsWidenedWithinThePortsThereAre(_ first: String, _ count: Int, _ widened: String?) throws {
        #expect(try PortRange(first).widened(to: count)?.description == widened)
    }

    @Test(arguments: [
        ("10.0.1.1:80", "10.0.1.1:80"), ("[2001:DB8::1]:80", "[2001:db8::1]:80"),
        ("10.0.1.1:9000-9019", "10.0.1.1:9000-9019"),
        ("[::1]:1-2", "[::1]:1-2"),
    ])
    func anEndpointIsReadAndPrinted(_ text: String, _ printed: String) throws {
        let endpoint = try Endpoint(text)
        #expect(endpoint.description == printed)
        #expect(try Endpoint(printed) == endpoint)
    }

    @Test(arguments: [
        "", ":", ":80", "10.0.1.1", "10.0.1.1:", "10.0.1.1:0", "10.0.1.1:65536", "2001:db8::1:80", "2001:db8::1",
        "[2001:db8::1]",
        "[2001:db8::1]:", "[2001:db8::1]80", "[10.0.1.1]:80", "[]:80", "[[::1]]:80", "[::1:80", "::1]:80", "host:80",
        "10.0.1.1 :80",
        "10.0.1.1:80:81", "[::1%lo]:80", "[", "]", "[]", "[:", "]:80",
    ])
    func whatIsNoEndpointIsRefused(_ text: String) {
        let error = #expect(throws: AddressError.self) { try Endpoint(text) }
        #expect(error?.remedy.isEmpty == false)
    }
}
