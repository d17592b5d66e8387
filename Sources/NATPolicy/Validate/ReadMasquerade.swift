// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress

/// The names of a policy's entries and where each was seen first. Masquerades and port forwards share them, since the
/// comment of a rule, `natfleet:<policy>/<name>`, has to say which entry it came from. The rules of the two families
/// stand apart, so that one port forward in each may carry the same name.
struct EntryNames {
    fileprivate var lines: [IPFamily: [String: Int]] = [:]
}

extension PolicyReader {
    /// The name of an entry; nil with a fault noted when it is missing, malformed or taken.
    mutating func entryName(
        _ fields: Fields, families: [IPFamily] = IPFamily.allCases, names: inout EntryNames, example: String
    ) -> String? {
        guard let place = required("name", fields, example: example), let name = name(place, of: "entry name") else {
            return nil
        }
        if let line = families.compactMap({ names.lines[$0]?[name] }).first {
            refuse(
                "the name \(quoted(name)) is taken by the entry of line \(line)", at: place,
                remedy: "give each entry of a policy a name of its own")
            return nil
        }
        for family in families { names.lines[family, default: [:]][name] = place.mark.line }
        return name
    }

    mutating func masquerade(_ place: Place, names: inout EntryNames) -> Masquerade? {
        let known = ["name", "families", "interface", "sources", "except", "randomFully"]
        guard let fields = fields(place, known: known) else { return nil }
        let name = entryName(fields, names: &names, example: "name: egress")
        let families = fields["families"].flatMap { self.families($0) }
        let interface = fields["interface"].flatMap { self.interface($0) } ?? .auto
        let (choice, sources) = fields["sources"].map { masqueradeSources($0) } ?? (.vpc, [])
        let except = fields["except"].flatMap { networks($0) } ?? []
        for network in except where network.value.isEverything {
            refuse(
                "\(network.value) excepts every destination", at: network.place,
                remedy: "list the networks that are reached untranslated, or take the family out of families")
        }
        if let families {
            refuseMixture(families, sources: sources, except: except)
        }
        let isRandom = truth(fields["randomFully"], default: true)
        guard let name else { return nil }
        return Masquerade(
            name: name, families: families?.map(\.value), interface: interface, sources: choice,
            except: except.map(\.value), randomFully: isRandom)
    }

    private mutating func families(_ place: Place) -> [Placed<IPFamily>]? {
        guard let elements = elements(place) else { return nil }
        var families: [Placed<IPFamily>] = []
        for element in elements {
            guard let family = word(element, IPFamily.self) else { continue }
            guard !families.contains(where: { $0.value == family }) else {
                refuse("\(family.rawValue) is listed twice", at: element, remedy: "keep one of them")
                continue
            }
            families.append(Placed(value: family, place: element))
        }
        if elements.isEmpty {
            refuse(
                "names no family", at: place,
                remedy: "write [ipv4, ipv6], or remove the key for what the host can route")
        }
        return families
    }

    private mutating func interface(_ place: Place) -> InterfaceChoice? {
        guard let text = text(place) else { return nil }
        if text == "auto" { return .auto }
        guard NameRule.isInterface(text) else {
            refuse(
                "\(quoted(text)) is not the name of an interface", at: place,
                remedy: "write auto, or a name of up to 15 letters, digits, '.', '_' or '-' such as eth0")
            return nil
        }
        guard text != "lo" else {
            refuse(
                "nothing leaves by the loopback interface", at: place, remedy: "write auto, or the outside interface")
            return nil
        }
        return .named(text)
    }

    private mutating func masqueradeSources(_ place: Place) -> (SourceChoice, [Placed<CIDR>]) {
        if case .scalar("vpc", _) = place.node.content { return (.vpc, []) }
        if case .scalar("any", _) = place.node.content { return (.any, []) }
        let sources = networks(place, words: ["vpc", "any"]) ?? []
        refuseUnusable(sources)
        return (.networks(sources.map(\.value)), sources)
    }

    /// A family that was named needs a source, and what was listed must be of a family that was named.
    private mutating func refuseMixture(
        _ families: [Placed<IPFamily>], sources: [Placed<CIDR>], except: [Placed<CIDR>]
    ) {
        for family in families where !sources.isEmpty && !sources.contains(where: { $0.value.family == family.value }) {
            refuse(
                "sources have no \(family.value.label) network for this family", at: family.place,
                remedy:
                    "add an \(family.value.label) network to sources, or take \(family.value.rawValue) out of families")
        }
        guard !families.isEmpty else { return }
        for network in sources + except where !families.contains(where: { $0.value == network.value.family }) {
            let family = network.value.family
            refuse(
                "\(network.value) is \(family.label), which families leave out", at: network.place,
                remedy: "add \(family.rawValue) to families, or remove the network")
        }
    }
}

// MARK: - Lists of networks

extension PolicyReader {
    /// One network or a list of them; nil with a fault noted when there is none.
    ///
    /// - Parameter words: what could stand instead of the list, and is no member of it.
    mutating func networks(_ place: Place, words: [String] = []) -> [Placed<CIDR>]? {
        if case .scalar(let text, _) = place.node.content {
            if !words.isEmpty, !text.isEmpty, text.utf8.allSatisfy({ $0 >= UInt8(ascii: "A") }) {
                let choices = words.joined(separator: " or ")
                refuse(
                    "\(quoted(text)) is not a network, nor \(choices)", at: place,
                    remedy: "write \(choices), or a network like 10.0.0.0/16")
                return nil
            }
            return network(place).map { [Placed(value: $0, place: place)] }
        }
        guard let elements = elements(place) else { return nil }
        guard !elements.isEmpty else {
            let choices = words.isEmpty ? "" : ", or write \(words.joined(separator: " or "))"
            refuse("is an empty list", at: place, remedy: "list at least one network\(choices), or remove the key")
            return nil
        }
        var networks: [Placed<CIDR>] = []
        for element in elements {
            if case .scalar(let word, _) = element.node.content, words.contains(word) {
                refuse(
                    "\(quoted(word)) can't stand in a list", at: element, remedy: "write \(word) alone, without a list")
            } else if let network = network(element) {
                networks.append(Placed(value: network, place: element))
            }
        }
        return networks
    }

    /// Everybody has to be written as a word, so that nobody gets there by a slip; reserved networks have no clients.
    mutating func refuseUnusable(_ sources: [Placed<CIDR>]) {
        for source in sources {
            if source.value.isEverything {
                refuse("\(source.value) means everybody", at: source.place, remedy: "write sources: any")
            } else if let use = Reserved.use(of: source.value) {
                refuse(
                    "\(source.value) is \(use), which no client has", at: source.place,
                    remedy: "list the networks of the clients")
            }
        }
    }
}
