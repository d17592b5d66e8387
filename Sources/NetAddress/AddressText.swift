// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

func parseIPv4(_ text: some StringProtocol) -> UInt32? {
    let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var value: UInt32 = 0
    for part in parts {
        guard let number = parseDecimal(part, max: 255) else { return nil }
        value = value << 8 | number
    }
    return value
}

/// Plain decimal digits, no sign, no leading zero.
func parseDecimal(_ text: some Collection<UInt8>, max: UInt32) -> UInt32? {
    guard !text.isEmpty, text.count <= 10, text.count == 1 || text.first != UInt8(ascii: "0") else { return nil }
    var value: UInt64 = 0
    for byte in text {
        guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
        value = value * 10 + UInt64(byte - UInt8(ascii: "0"))
    }
    return value <= UInt64(max) ? UInt32(value) : nil
}

func parseIPv6(_ text: some StringProtocol) -> UInt128? {
    guard text.utf8.count <= 45 else { return nil }
    let fields = text.split(separator: ":", omittingEmptySubsequences: false)
    var groups: [UInt16] = []
    var gap: Int?
    var index = 0
    while index < fields.count {
        let field = fields[index]
        if field.isEmpty {
            let atStart = index == 0
            let atEnd = index == fields.count - 1
            // A leading or trailing empty field is half of a "::" only.
            if atStart {
                guard fields.count > 2, fields[1].isEmpty else { return nil }
            } else if atEnd {
                guard fields[index - 1].isEmpty else { return nil }
            }
            let opensGap = !atStart && !(atEnd && gap != nil)
            if opensGap {
                guard gap == nil else { return nil }
                gap = groups.count
            }
        } else if index == fields.count - 1, field.contains(".") {
            guard let low = parseIPv4(field) else { return nil }
            groups.append(UInt16(low >> 16))
            groups.append(UInt16(low & 0xffff))
        } else {
            guard field.utf8.count <= 4, field.utf8.allSatisfy(isHexDigit), let group = UInt16(field, radix: 16) else {
                return nil
            }
            groups.append(group)
        }
        index += 1
    }
    if let gap {
        guard groups.count < 8 else { return nil }
        groups.insert(contentsOf: repeatElement(0, count: 8 - groups.count), at: gap)
    }
    guard groups.count == 8 else { return nil }
    return groups.reduce(0) { $0 << 16 | UInt128($1) }
}

private func isHexDigit(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
        UInt8(ascii: "A")...UInt8(ascii: "F"):
        true
    default: false
    }
}

func formatIPv4(_ value: UInt32) -> String {
    var text = ""
    for shift in stride(from: UInt32(24), through: 0, by: -8) {
        text += String(value >> shift & 255)
        if shift > 0 { text += "." }
    }
    return text
}

/// RFC 5952, with glibc's exception: an embedded IPv4 address is written as such in ::/96 and ::ffff:0:0/96.
func formatIPv6(_ value: UInt128) -> String {
    let groups = (0..<8).map { UInt16(truncatingIfNeeded: value >> (112 - $0 * 16)) }
    var best = 0..<0
    var start = 0
    while start < 8 {
        var end = start
        while end < 8, groups[end] == 0 { end += 1 }
        if end - start >= 2, end - start > best.count { best = start..<end }
        start = max(end, start + 1)
    }
    let embedsIPv4 = best.lowerBound == 0 && (best.count == 6 || (best.count == 5 && groups[5] == 0xffff))
    func hex(_ slice: ArraySlice<UInt16>) -> String { slice.map { String($0, radix: 16) }.joined(separator: ":") }
    if embedsIPv4 {
        let prefix = best.count == 6 ? "::" : "::ffff:"
        return prefix + formatIPv4(UInt32(truncatingIfNeeded: value))
    }
    guard !best.isEmpty else { return hex(groups[...]) }
    return hex(groups[..<best.lowerBound]) + "::" + hex(groups[best.upperBound...])
}
