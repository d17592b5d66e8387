// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import FleetAPI
internal import Foundation

extension RevisionView: Resource {
    static let head = ["REVISION", "HASH", "ACTOR", "AGE", "MESSAGE"]
    static let noneNote = "no revisions"

    /// Newest first.
    static func precedes(_ left: RevisionView, _ right: RevisionView) -> Bool { left.revision > right.revision }

    func row(_ now: Date) -> [Cell] {
        [
            Cell("\(revision)"), Cell(shortHash(hash)), Cell(actor), Cell(age(createdAt, now)),
            Cell(message ?? "<none>"),
        ]
    }

    static let wideHead = ["CREATED", "FULL HASH"]
    static let isLog = true

    func wideCells(_ now: Date) -> [Cell] { [Cell(createdAt.formatted(.iso8601)), Cell(hash)] }

    var reference: String { "policy/\(policy)@\(revision)" }

    func description(_ now: Date) -> Description {
        var text = Description()
        text.field("Policy", policy)
        text.field("Revision", "\(revision)")
        text.field("Hash", hash)
        text.field("Actor", actor)
        text.field("Created", moment(createdAt, now))
        text.field("Message", message ?? "<none>")
        return text
    }
}
