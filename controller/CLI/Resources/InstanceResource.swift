// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import FleetModel
internal import Foundation
internal import NATPolicy
internal import NetAddress

extension Instance: Resource {
    static let head = ["ID", "HEALTH", "STATE", "POLICIES", "SEEN", "AGE"]
    static let noneNote = "no instances; enrol one with: natfleet token create --instance ID"

    static func precedes(_ left: Instance, _ right: Instance) -> Bool { left.id < right.id }

    func row(_ now: Date) -> [Cell] {
        let layers =
            desiredLayers.isEmpty
            ? "<none>" : desiredLayers.map { "\($0.policy)@\($0.revision)" }.joined(separator: ",")
        return [
            Cell(id), health.cell, stateAndCordon, Cell(layers), Cell(age(lastSeen, now)), Cell(age(enrolledAt, now)),
        ]
    }

    static let wideHead = ["CONDITIONS", "LABELS", "AGENT", "IPTABLES", "ADDRESSES", "CERTIFICATE ENDS"]

    func wideCells(_ now: Date) -> [Cell] {
        let facts = status?.facts
        let addresses = facts?.interfaces.flatMap { $0.addresses.map { "\($0.address)" } } ?? []
        return [
            conditionCell, Cell(labelText(labels)), Cell(status?.agentVersion ?? "<none>"),
            Cell(facts.map { "\($0.iptables.version) \($0.iptables.backend.rawValue)" } ?? "<none>"),
            Cell(addresses.isEmpty ? "<none>" : addresses.joined(separator: ",")),
            Cell(certificateExpires.map { distance($0, now) } ?? "<none>"),
        ]
    }

    /// Codes, worst first.
    private var conditionCell: Cell {
        let conditions = status?.conditions ?? []
        guard let worst = conditions.map(\.severity).max() else { return "<none>" }
        let codes = conditions.map(\.code).reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
        return Cell(codes.joined(separator: ","), worst == .critical ? .bad : .warning)
    }

    var reference: String { "instance/\(id)" }

    /// How what runs stands to what was asked.
    private var state: Cell {
        guard let status else { return Cell("waiting", .warning) }
        guard let desiredHash else { return Cell("conflict", .bad) }
        if desiredLayers.isEmpty, status.layers.isEmpty { return "idle" }
        if status.runningHash == desiredHash { return Cell("current", .good) }
        return failedTry.map { Cell($0.result.rawValue, .bad) } ?? Cell("changing", .warning)
    }

    /// What it should run has not arrived yet, and nothing says that it will not.
    var isChanging: Bool { state.text == "changing" }

    private var stateAndCordon: Cell { cordoned ? Cell("\(state.text),cordoned", state.style) : state }

    func description(_ now: Date) -> Description {
        var text = Description()
        text.field("ID", id)
        text.field("Health", health.cell)
        text.field("State", stateAndCordon)
        text.field("Labels", labelText(labels))
        text.field("Enrolled", moment(enrolledAt, now))
        text.field("Last seen", moment(lastSeen, now))
        text.field("Certificate ends", moment(certificateExpires, now))
        if let status { text.field("Agent", status.agentVersion) }
        text.field("Desired", shortHash(desiredHash))
        text.field("Running", shortHash(status?.runningHash))
        if let lastOutcome {
            text.field("Last outcome", "\(lastOutcome.result.rawValue) \(moment(lastOutcome.at, now))")
            text.field("Outcome detail", lastOutcome.detail.isEmpty ? "<none>" : lastOutcome.detail)
        }
        if let persistence = status?.persistence { text.field("Kept over reboots", "by \(persistence)") }
        if let drift = status?.drift {
            text.field("Put back", "\(drift.repairs) times, last \(moment(drift.lastAt, now)): \(drift.lastDifference)")
        }
        text.section("Policies", layerTable)
        text.list("Conditions", status.map(conditionLines) ?? [])
        text.list("Host", status?.facts.map(hostLines) ?? [])
        return text
    }

    private var layerTable: Table {
        let running = status?.layers ?? []
        let leaving = running.filter { layer in !desiredLayers.contains { $0.policy == layer.policy } }
        let rows = (desiredLayers + leaving).map { layer in
            let wanted = desiredLayers.first { $0.policy == layer.policy }?.revision
            let has = running.first { $0.policy == layer.policy }?.revision
            return [
                Cell(layer.policy), Cell(wanted.map(String.init) ?? "<none>"),
                Cell(has.map(String.init) ?? "<none>", has == wanted ? .good : .warning),
            ]
        }
        return Table(head: ["NAME", "DESIRED", "RUNNING"], rows: rows)
    }

    private func conditionLines(_ status: InstanceStatus) -> [String] {
        status.conditions.flatMap { condition in
            [
                "\(condition.severity.rawValue) \(condition.code): \(condition.message)", "  fix: \(condition.remedy)",
            ]
        }
    }

    private func hostLines(_ facts: HostFacts) -> [String] {
        var lines = ["iptables \(facts.iptables.version) (\(facts.iptables.backend.rawValue))"]
        lines += facts.interfaces.map { interface in
            let addresses = interface.addresses.map { "\($0.address)/\($0.prefixLength)" }
            return ([interface.name] + addresses).joined(separator: " ")
        }
        lines += facts.routes.filter(\.destination.isEverything).map { route in
            "default \(route.destination.family.label) dev \(route.interface)"
                + (route.gateway.map { " via \($0)" } ?? "")
        }
        if !facts.vpcCIDRs.isEmpty { lines.append("vpc " + facts.vpcCIDRs.map(\.description).joined(separator: " ")) }
        return lines
    }
}

extension Instance.Health {
    var cell: Cell {
        switch self {
        case .healthy: Cell(rawValue, .good)
        case .unknown: Cell(rawValue, .warning)
        case .degraded, .offline: Cell(rawValue, .bad)
        }
    }
}
