// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress

extension PolicyReader {
    mutating func truth(_ place: Place) -> Bool? {
        if case .scalar(let text, isPlain: true) = place.node.content, let truth = PolicyNode.truth(text) {
            return truth
        }
        refuse(
            "must be true or false, not \(described(place.node))", at: place,
            remedy: "write true or false, without quotes")
        return nil
    }

    /// A truth value that may be left out.
    mutating func truth(_ place: Place?, default: Bool) -> Bool {
        guard let place else { return `default` }
        return truth(place) ?? `default`
    }

    /// Text. What a YAML parser takes for a number or a truth value is refused, since no two of them agree on how to
    /// spell it as text.
    mutating func text(_ place: Place) -> String? {
        guard case .scalar(let text, let isPlain) = place.node.content else {
            refuse("must be text, not \(place.node.kind)", at: place, remedy: "write one value in quotes")
            return nil
        }
        guard !place.node.isNull else {
            refuse("has no value", at: place, remedy: "give it a value, or remove it")
            return nil
        }
        guard !isPlain || place.node.kind == "text" else {
            refuse(
                "must be text, not \(described(place.node))", at: place, remedy: "put it in quotes: \"\(shown(text))\"")
            return nil
        }
        return text
    }

    mutating func integer(_ place: Place, in range: ClosedRange<Int>) -> Int? {
        guard case .scalar(let text, isPlain: true) = place.node.content, PolicyNode.isNumber(text),
            let number = Int(text), range.contains(number)
        else {
            refuse(
                "must be a whole number from \(range.lowerBound) to \(range.upperBound), not \(described(place.node))",
                at: place, remedy: "write a number from \(range.lowerBound) to \(range.upperBound), without quotes")
            return nil
        }
        return number
    }

    /// One of few words.
    mutating func word<Word: RawRepresentable & CaseIterable>(_ place: Place, _: Word.Type = Word.self) -> Word?
    where Word.RawValue == String {
        guard let text = text(place) else { return nil }
        if let word = Word(rawValue: text) { return word }
        let words = Word.allCases.map(\.rawValue).joined(separator: " or ")
        refuse("\(quoted(text)) is not \(words)", at: place, remedy: "write \(words)")
        return nil
    }

    mutating func name(_ place: Place, of what: String) -> String? {
        guard let text = text(place) else { return nil }
        guard NameRule.isName(text) else {
            refuse(
                "\(quoted(text)) is not a valid \(what)", at: place,
                remedy: "use 1 to 63 letters, digits, '.', '_' or '-', the first one a letter or a digit")
            return nil
        }
        return text
    }

    mutating func ports(_ place: Place) -> PortRange? {
        guard case .scalar(let text, _) = place.node.content else {
            refuse(
                "must be a port or a range of ports, not \(place.node.kind)", at: place,
                remedy: "write it like 8001 or \"8000-8019\"")
            return nil
        }
        do {
            return try PortRange(text)
        } catch {
            refuse(error, at: place)
            return nil
        }
    }

    mutating func address(_ place: Place) -> IPAddress? {
        guard let text = text(place) else { return nil }
        do {
            let address = try IPAddress(text)
            return isPlainlyOneFamily(address, place, instead: { "\($0)" }) ? address : nil
        } catch {
            refuse(error, at: place)
            return nil
        }
    }

    mutating func network(_ place: Place) -> CIDR? {
        guard let text = text(place) else { return nil }
        do {
            let network = try CIDR(text)
            let length = max(0, network.prefixLength - 96)
            return isPlainlyOneFamily(network.address, place, instead: { "\($0)/\(length)" }) ? network : nil
        } catch {
            refuse(error, at: place)
            return nil
        }
    }

    mutating func endpoint(_ place: Place) -> Endpoint? {
        if case .sequence = place.node.content {
            refuse("must be text, not a list", at: place, remedy: "put an IPv6 target in quotes: \"[2001:db8::1]:80\"")
            return nil
        }
        guard let text = text(place) else { return nil }
        do {
            let endpoint = try Endpoint(text)
            return isPlainlyOneFamily(endpoint.address, place, instead: { "\"\($0):\(endpoint.ports)\"" })
                ? endpoint : nil
        } catch {
            refuse(error, at: place)
            return nil
        }
    }

    /// An IPv4 address written as IPv6 never occurs in a packet, so a rule with it would match nothing.
    mutating func isPlainlyOneFamily(
        _ address: IPAddress, _ place: Place, instead: (IPAddress) -> String
    ) -> Bool {
        guard let ipv4 = address.mappedIPv4 else { return true }
        refuse("\(address) is an IPv4 address written as IPv6", at: place, remedy: "write \(instead(ipv4))")
        return false
    }
}

/// `text 'abc'`, `the number 70000`, `a list`: what stands there instead.
private func described(_ node: PolicyNode) -> String {
    switch (node.content, node.kind) {
    case (.scalar(let text, _), "text"): "the text \(quoted(text))"
    case (.scalar(let text, _), "a number"), (.scalar(let text, _), "a truth value"): shown(text)
    case (_, let kind): kind
    }
}
