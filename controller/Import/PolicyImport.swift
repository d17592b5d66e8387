// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy
import NetAddress

/// A policy that gives the same NAT as rules made by hand, and what it could not take over. Pure.
///
/// Goal: nothing is lost without a remark. Approach: `SavedTables` reads lines, `Importer` turns those of table nat into
/// entries, in the order of the kernel: port forwards before masquerades. Rules of other tables are not natfleet's to
/// make; they stay in the kernel, and are told apart from what should have been taken over.
package struct PolicyImport: Hashable, Sendable {
    package private(set) var document: PolicyDocument
    /// In the order of files and lines.
    package private(set) var remarks: [ImportRemark]
    /// Rules that the policy stands for.
    package private(set) var taken: Int
    private var masqueradePlaces: [Entry]
    private var forwardPlaces: [Entry]

    struct Entry: Hashable, Sendable {
        var place: ImportRemark.Place
        var rule: String
    }

    /// - Parameter facts: of the host that the rules are from; they tell its own addresses.
    package init(
        _ files: [SavedText], name: String, selector: Selector, facts: HostFacts? = nil
    ) throws(UnknownFamily) {
        var importer = Importer(facts: facts)
        for file in files { importer.add(try SavedTables(file)) }
        importer.run()
        let masquerades = importer.mergedMasquerades()
        let forwards = importer.forwards
        let families = Set(forwards.map(\.entry.family)).union(importer.masquerades.filter { !$0.value.isEmpty }.keys)
        document = PolicyDocument(
            name: name,
            spec: PolicySpec(
                selector: selector,
                forwarding: Forwarding(ipv4: families.contains(.ipv4), ipv6: families.contains(.ipv6)),
                masquerade: masquerades.map(\.entry), dnat: forwards.map(\.entry)))
        masqueradePlaces = masquerades.map { Entry(place: $0.rule.place, rule: $0.rule.text) }
        forwardPlaces = forwards.map { Entry(place: $0.rule.place, rule: $0.rule.text) }
        let order = Dictionary(files.enumerated().map { ($1.name, $0) }) { first, _ in first }
        remarks = importer.remarks.enumerated().sorted { left, right in
            let (a, b) = (left.element.place, right.element.place)
            return (order[a.file] ?? 0, a.line, left.offset) < (order[b.file] ?? 0, b.line, right.offset)
        }.map(\.element)
        taken = importer.taken
    }

    package var isEmpty: Bool { document.spec.masquerade.isEmpty && document.spec.dnat.isEmpty }

    package var isComplete: Bool { !remarks.contains { $0.kind == .leftOver } }

    /// Takes out the entries that a reader of policies refused, by the paths of its diagnostics.
    ///
    /// - Returns: whether there was any.
    package mutating func drop(_ diagnostics: [Diagnostic]) -> Bool {
        var refused: [String: [Int: String]] = [:]
        for diagnostic in diagnostics {
            let parts = diagnostic.path.split(whereSeparator: { ".[]".contains($0) })
            guard parts.count >= 3, let index = Int(parts[2]) else { continue }
            refused[String(parts[1]), default: [:]][index] = diagnostic.message
        }
        let masquerades = remove(refused["masquerade"] ?? [:], masqueradePlaces) { index, policy in
            policy.document.spec.masquerade.remove(at: index)
            policy.masqueradePlaces.remove(at: index)
        }
        let forwards = remove(refused["dnat"] ?? [:], forwardPlaces) { index, policy in
            policy.document.spec.dnat.remove(at: index)
            policy.forwardPlaces.remove(at: index)
        }
        return masquerades || forwards
    }

    private mutating func remove(
        _ faults: [Int: String], _ places: [Entry], _ take: (Int, inout PolicyImport) -> Void
    ) -> Bool {
        let faults = faults.filter { places.indices.contains($0.key) }
        for (index, message) in faults.sorted(by: { $0.key > $1.key }) {
            remarks.append(.left(places[index].rule, "natfleet refuses it: \(message)", at: places[index].place))
            take(index, &self)
            taken -= 1
        }
        return !faults.isEmpty
    }
}
