// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import NATPolicy

extension Instance {
    /// Milliseconds without a word after which an instance shows offline.
    static let silence: Int64 = 150_000

    /// An instance as rows, memory and the clock tell of it.
    init(
        _ row: InstanceRow, wanted: Wanted, status: StatusRow?, heard: Timestamp?, certificateEnd: Timestamp?,
        now: Timestamp
    ) {
        let lastSeen = [row.lastSeen, heard].compactMap(\.self).max()
        var shown = status?.status
        if let hold = wanted.hold { shown?.conditions.insert(Condition(.layersConflict, hold), at: 0) }
        let layers: [EffectivePolicy.Layer] =
            switch wanted {
            case .run(let desired): desired.policy.layers
            case .conflict(let layers, _): layers
            }
        self.init(
            id: row.id, labels: row.labels, cordoned: row.cordoned, enrolledAt: row.enrolledAt.date,
            lastSeen: lastSeen?.date, health: Self.health(status: shown, wanted: wanted, lastSeen: lastSeen, now: now),
            desiredHash: wanted.hash, desiredLayers: layers, status: shown, lastOutcome: status?.outcome,
            certificateExpires: certificateEnd?.date)
    }

    /// Healthy: it runs what is wanted, read back and saved, and shows nothing critical.
    static func health(status: InstanceStatus?, wanted: Wanted, lastSeen: Timestamp?, now: Timestamp) -> Health {
        guard let lastSeen, let status else { return .unknown }
        if now.milliseconds - lastSeen.milliseconds > silence { return .offline }
        guard case .run(let desired) = wanted, !status.conditions.contains(where: { $0.severity == .critical }) else {
            return .degraded
        }
        let nothing = desired.policy.layers.isEmpty
        let runsIt =
            switch status.phase {
            case .applied: status.runningHash == desired.hash || nothing && status.runningHash == nil
            case .idle: nothing && [nil, desired.hash].contains(status.runningHash)
            case .applying, .refused, .failed, .reverted: false
            }
        return runsIt ? .healthy : .degraded
    }
}
