// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import FleetAPI
internal import Foundation

extension Event: Resource {
    static let head = ["AGE", "KIND", "SUBJECT", "ACTOR", "DETAIL"]
    static let noneNote = "no events"

    /// Newest first.
    static func precedes(_ left: Event, _ right: Event) -> Bool { left.id > right.id }

    func row(_ now: Date) -> [Cell] {
        [Cell(age(at, now)), Cell(kind), Cell(subject), Cell(actor), Cell(shownDetail)]
    }

    static let wideHead = ["ID", "AT"]
    static let isLog = true

    func wideCells(_ now: Date) -> [Cell] { [Cell("\(id)"), Cell(at.formatted(.iso8601))] }

    var reference: String { "event/\(id)" }

    func description(_ now: Date) -> Description {
        var text = Description()
        text.field("Event", "\(id)")
        text.field("At", moment(at, now))
        text.field("Kind", kind)
        text.field("Subject", subject)
        text.field("Actor", actor)
        text.field("Detail", shownDetail)
        return text
    }

    private var shownDetail: String { detail.isEmpty ? "<none>" : detail }
}
