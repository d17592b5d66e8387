// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress

extension PolicyReader {
    /// Each is a connection every half minute, and all of them are waited for together in a trial.
    private static let probeLimit = 16

    /// - Returns: nil for none, so that an empty list means what no list means.
    mutating func probes(_ place: Place) -> [ProbeTarget]? {
        guard let elements = elements(place) else { return nil }
        guard elements.count <= Self.probeLimit else {
            refuse(
                "has \(elements.count) entries, more than \(Self.probeLimit)", at: place,
                remedy: "keep those that tell most; natfleet always checks that clients are forwarded and translated")
            return nil
        }
        var targets: [ProbeTarget] = []
        for element in elements {
            guard let target = probeTarget(element) else { continue }
            guard !targets.contains(target) else {
                refuse("\(target) is listed twice", at: element, remedy: "keep one of them")
                continue
            }
            targets.append(target)
        }
        return targets.isEmpty ? nil : targets
    }

    private mutating func probeTarget(_ place: Place) -> ProbeTarget? {
        guard let text = text(place) else { return nil }
        let target: ProbeTarget
        do {
            target = try ProbeTarget(text)
        } catch {
            refuse(error, at: place)
            return nil
        }
        guard isPlainlyOneFamily(target.address, place, instead: { "\"tcp:\($0):\(target.port)\"" }) else { return nil }
        if let use = Reserved.use(of: target.address) {
            refuse(
                "\(target.address) is \(use), which clients don't reach through this instance", at: place,
                remedy: "write a server outside that clients need")
            return nil
        }
        return target
    }
}
