// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import FleetAPI
internal import FleetModel
internal import Foundation
internal import NATPolicy
internal import NetAddress

extension PolicyView: Resource {
    static let head = ["NAME", "REVISION", "CURRENT", "HEALTHY", "AGE"]
    static let noneNote = "no policies; store one with: natfleet apply -f FILE"

    static func precedes(_ left: PolicyView, _ right: PolicyView) -> Bool { left.name < right.name }

    func row(_ now: Date) -> [Cell] {
        [
            Cell(name), Cell("\(revision)"), share(instances.count { $0.running == revision }),
            share(instances.count { $0.health == .healthy }), Cell(age(createdAt, now)),
        ]
    }

    static let wideHead = ["PRIORITY", "LABELS", "NAMED", "MASQUERADES", "FORWARDS", "HASH"]

    func wideCells(_ now: Date) -> [Cell] {
        let spec = document.spec
        return [
            Cell("\(spec.priority)"), Cell(labelText(spec.selector.matchLabels)),
            Cell("\(spec.selector.instances.count)"), Cell("\(spec.masquerade.count)"), Cell("\(spec.dnat.count)"),
            Cell(shortHash(hash)),
        ]
    }

    var reference: String { "policy/\(name)" }

    private func share(_ part: Int) -> Cell {
        Cell("\(part)/\(instances.count)", instances.isEmpty ? .plain : part == instances.count ? .good : .warning)
    }

    func description(_ now: Date) -> Description {
        var text = Description()
        let spec = document.spec
        text.field("Name", name)
        if let description = document.description { text.field("Description", description) }
        text.field("Revision", "\(revision)")
        text.field("Hash", hash)
        text.field("Created", moment(createdAt, now))
        text.field("Priority", "\(spec.priority)")
        text.field("Labels", labelText(spec.selector.matchLabels))
        if !spec.selector.instances.isEmpty {
            text.field("Named instances", spec.selector.instances.joined(separator: ","))
        }
        let families = [spec.forwarding.ipv4 ? "ipv4" : nil, spec.forwarding.ipv6 ? "ipv6" : nil].compactMap { $0 }
        text.field("Forwarding", families.isEmpty ? "as it is" : families.joined(separator: ","))
        text.field("Guard", spec.guard == false ? Cell("off", .warning) : "on")
        if let conntrack = spec.conntrack { text.field("Conntrack max", "\(conntrack.max)") }
        text.section("Masquerade", masqueradeTable)
        text.section("Port forwards", forwardTable)
        text.section("Instances", memberTable)
        return text
    }

    private var masqueradeTable: Table {
        let rows = document.spec.masquerade.map { entry in
            [
                Cell(entry.name), Cell(entry.families.map { $0.map(\.rawValue).joined(separator: ",") } ?? "auto"),
                Cell(entry.interface.text), Cell(entry.sources.text),
                Cell(entry.except.isEmpty ? "<none>" : entry.except.map(\.description).joined(separator: ",")),
            ]
        }
        return Table(head: ["NAME", "FAMILIES", "INTERFACE", "SOURCES", "EXCEPT"], rows: rows)
    }

    private var forwardTable: Table {
        let rows = document.spec.dnat.map { entry in
            [
                Cell(entry.name), Cell("\(entry.destination.text) \(entry.protocol.rawValue)/\(entry.port)"),
                Cell("\(entry.to)"),
                Cell(entry.sources.isEmpty ? "any" : entry.sources.map(\.description).joined(separator: ",")),
            ]
        }
        return Table(head: ["NAME", "DESTINATION", "TO", "SOURCES"], rows: rows)
    }

    private var memberTable: Table {
        let rows = instances.sorted { $0.instance < $1.instance }.map { member in
            [
                Cell(member.instance), Cell("\(member.assigned)"),
                Cell(member.running.map(String.init) ?? "<none>", member.running == member.assigned ? .good : .warning),
                member.health.cell,
            ]
        }
        return Table(head: ["ID", "ASSIGNED", "RUNNING", "HEALTH"], rows: rows)
    }
}

extension InterfaceChoice {
    fileprivate var text: String {
        switch self {
        case .auto: "auto"
        case .named(let name): name
        }
    }
}

extension SourceChoice {
    fileprivate var text: String {
        switch self {
        case .vpc: "vpc"
        case .any: "any"
        case .networks(let networks): networks.map(\.description).joined(separator: ",")
        }
    }
}

extension DestinationChoice {
    fileprivate var text: String {
        switch self {
        case .instance: "self"
        case .address(let address): address.description
        }
    }
}
