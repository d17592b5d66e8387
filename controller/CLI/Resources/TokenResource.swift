// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import FleetAPI
internal import Foundation

extension TokenView: Resource {
    static let head = ["ID", "INSTANCE", "LABELS", "STATE", "USES LEFT", "ENDS", "AGE"]
    static let noneNote = "no join tokens; make one with: natfleet token create"

    static func precedes(_ left: TokenView, _ right: TokenView) -> Bool {
        (left.createdAt, left.id) < (right.createdAt, right.id)
    }

    func row(_ now: Date) -> [Cell] {
        [
            Cell(id), Cell(instanceID ?? "<any>"), Cell(labelText(labels)), state(now), Cell("\(usesLeft)"),
            Cell(distance(expiresAt, now)), Cell(age(createdAt, now)),
        ]
    }

    static let wideHead = ["CREATED", "ENDS AT"]

    func wideCells(_ now: Date) -> [Cell] {
        [Cell(createdAt.formatted(.iso8601)), Cell(expiresAt.formatted(.iso8601))]
    }

    var reference: String { "token/\(id)" }

    private func state(_ now: Date) -> Cell {
        if revoked { return "revoked" }
        if usesLeft <= 0 { return "used" }
        return expiresAt <= now ? "expired" : Cell("active", .good)
    }

    func description(_ now: Date) -> Description {
        var text = Description()
        text.field("ID", id)
        text.field("State", state(now))
        text.field("Instance", instanceID ?? "<any>")
        text.field("Labels", labelText(labels))
        text.field("Uses left", "\(usesLeft)")
        text.field("Created", moment(createdAt, now))
        text.field("Ends", moment(expiresAt, now))
        return text
    }
}
