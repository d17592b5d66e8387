// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress

/// What reading one document gave: the policy, or everything that is wrong with it.
package struct PolicyReading: Hashable, Sendable {
    /// nil exactly when there are diagnostics.
    package var document: PolicyDocument?
    /// Where `metadata.name` stands, else where the document begins: the place for faults that concern the policy as a
    /// whole, such as a conflict with another one.
    package var mark: PolicyNode.Mark
    package var diagnostics: [Diagnostic]
}

/// Reads a policy document: types, names, addresses and all rules of docs/policy.md that need no second policy and no host.
///
/// - Parameter file: how the operator named the file; diagnostics repeat it.
package func readPolicy(_ node: PolicyNode, file: String) -> PolicyReading {
    var reader = PolicyReader(file: file)
    let root = Place(node: node, path: "")
    var mark = node.mark
    let document = reader.document(root, nameMark: &mark)
    return PolicyReading(
        document: reader.diagnostics.isEmpty ? document?.normalized() : nil, mark: mark, diagnostics: reader.diagnostics
    )
}

extension PolicyReader {
    fileprivate mutating func document(_ root: Place, nameMark: inout PolicyNode.Mark) -> PolicyDocument? {
        guard let fields = fields(root, known: ["apiVersion", "kind", "metadata", "spec"]) else { return nil }
        constant("apiVersion", PolicyDocument.apiVersion, fields)
        constant("kind", PolicyDocument.kind, fields)

        let metadata = required("metadata", fields, example: "metadata: {name: web-egress}")
            .flatMap { self.fields($0, known: ["name", "description"]) }
        var name: String?
        var description: String?
        if let metadata {
            if let place = required("name", metadata, example: "name: web-egress") {
                nameMark = place.mark
                name = self.name(place, of: "policy name")
            }
            description = metadata["description"].flatMap { self.description($0) }
        }

        let spec = required("spec", fields, example: "spec: {selector: {matchLabels: {vpc: prod}}}")
            .flatMap { self.spec($0) }
        guard let name, let spec else { return nil }
        return PolicyDocument(name: name, description: description, spec: spec)
    }

    private mutating func constant(_ key: String, _ value: String, _ fields: Fields) {
        guard let place = required(key, fields, example: "\(key): \(value)") else { return }
        guard let text = text(place), text != value else { return }
        refuse("\(key) \(quoted(text)) is not known", at: place, remedy: "write \(key): \(value)")
    }

    /// Free text for people. The blank lines that end a YAML block of text are not part of it.
    private mutating func description(_ place: Place) -> String? {
        guard let written = text(place) else { return nil }
        let end = written.unicodeScalars.lastIndex { !$0.properties.isWhitespace }
        let text = end.map { String(written.unicodeScalars[...$0]) } ?? ""
        guard text.unicodeScalars.count <= 1024 else {
            refuse("is longer than 1024 characters", at: place, remedy: "shorten it")
            return nil
        }
        guard shown(text, limit: 1024) == text else {
            refuse(
                "holds a line break or an invisible character", at: place,
                remedy: "write it on one line, or begin a text of several lines with '>-'")
            return nil
        }
        return text.isEmpty ? nil : text
    }

    private mutating func spec(_ place: Place) -> PolicySpec? {
        let known = [
            "priority", "selector", "forwarding", "masquerade", "dnat", "guard", "conntrack", "probes", "rollout",
        ]
        let notYet = ["tests"]
        guard let fields = fields(place, known: known, notYet: notYet) else { return nil }
        let priority = fields["priority"].map { integer($0, in: 0...10_000) ?? 100 } ?? 100
        let selector = required("selector", fields, example: "selector: {matchLabels: {vpc: prod}}")
            .flatMap { self.selector($0) }
        let forwarding = fields["forwarding"].flatMap { self.forwarding($0) } ?? Forwarding()

        var names = EntryNames()
        let masquerade = fields["masquerade"].flatMap { elements($0) }?
            .compactMap { self.masquerade($0, names: &names) }
        let forwards = fields["dnat"].flatMap { elements($0) }?.compactMap { portForward($0, names: &names) } ?? []
        refuseOverlaps(forwards)

        let isGuarded = fields["guard"].flatMap { truth($0) }
        let conntrack = fields["conntrack"].flatMap { self.conntrack($0) }
        let probes = fields["probes"].flatMap { self.probes($0) }
        let rollout = fields["rollout"].flatMap { self.rollout($0) }
        guard let selector else { return nil }
        return PolicySpec(
            priority: priority, selector: selector, forwarding: forwarding, masquerade: masquerade ?? [],
            dnat: forwards.map(\.value.forward), guard: isGuarded, conntrack: conntrack, probes: probes, rollout: rollout)
    }

    private mutating func selector(_ place: Place) -> Selector? {
        guard let fields = fields(place, known: ["matchLabels", "instances"]) else { return nil }
        var selector = Selector()
        if let labels = fields["matchLabels"] { selector.matchLabels = matchLabels(labels) }
        var seen: Set<String> = []
        for element in fields["instances"].flatMap({ elements($0) }) ?? [] {
            guard let id = name(element, of: "instance id") else { continue }
            guard seen.insert(id).inserted else {
                refuse("instance \(id) is listed twice", at: element, remedy: "keep one of them")
                continue
            }
            selector.instances.append(id)
        }
        if !fields.hasRefusedKeys, selectsNothing(fields["matchLabels"]), selectsNothing(fields["instances"]) {
            refuse(
                "selects no instance", at: place,
                remedy: "add matchLabels: {key: value}, or instances: [i-0123456789abcdef0]")
        }
        return selector
    }

    /// Left out or written empty, as opposed to full of faults.
    private func selectsNothing(_ place: Place?) -> Bool {
        switch place?.node.content {
        case .mapping(let pairs): pairs.isEmpty
        case .sequence(let nodes): nodes.isEmpty
        case .scalar: false
        case nil: true
        }
    }

    private mutating func matchLabels(_ place: Place) -> [String: String] {
        guard case .mapping(let pairs) = place.node.content else {
            refuse("must be a mapping, not \(place.node.kind)", at: place, remedy: "write it like {vpc: prod}")
            return [:]
        }
        var labels: [String: String] = [:]
        for pair in pairs {
            let keyPlace = Place(node: pair.key, path: place.path)
            guard let key = text(keyPlace) else { continue }
            let valuePlace = place.child(key, pair.value)
            guard NameRule.isLabelKey(key) else {
                refuse(
                    "\(quoted(key)) is not a valid label", at: place.child(key, pair.key),
                    remedy: "use 1 to 128 letters, digits, '.', '_', '/' or '-', the first one a letter or a digit")
                continue
            }
            guard let value = text(valuePlace) else { continue }
            guard NameRule.isLabelValue(value) else {
                refuse(
                    "\(quoted(value)) is not a valid value of a label", at: valuePlace,
                    remedy: "use 1 to 128 letters, digits or any of '._/:@+-', the first one a letter or a digit")
                continue
            }
            guard labels.updateValue(value, forKey: key) == nil else {
                refuse(
                    "label \(quoted(key)) is written twice", at: place.child(key, pair.key), remedy: "keep one of them")
                continue
            }
        }
        return labels
    }

    private mutating func forwarding(_ place: Place) -> Forwarding? {
        if case .scalar("false", isPlain: true) = place.node.content { return Forwarding() }
        guard let fields = fields(place, known: ["ipv4", "ipv6"]) else { return nil }
        return Forwarding(ipv4: truth(fields["ipv4"], default: false), ipv6: truth(fields["ipv6"], default: false))
    }
}
