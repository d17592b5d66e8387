// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// Why a policy cannot be true on a host: all faults, never none.
package struct CompileError: Error, Hashable, Sendable, Codable {
    package struct Fault: Hashable, Sendable, Codable {
        /// The layer, `web-egress`.
        package var policy: String
        /// The name of the masquerade or port forward.
        package var entry: String
        /// What is wrong on this host, lower case unless it starts with a name, without a final period.
        package var message: String
        /// What to do about it, an imperative sentence without a final period.
        package var remedy: String
    }

    package var faults: [Fault]
}

extension CompileError: CustomStringConvertible {
    /// The first ones; with thousands of entries one lost route makes thousands of faults.
    package var description: String {
        let most = 10
        let rest = faults.count > most ? ["and \(faults.count - most) more"] : []
        return (faults.prefix(most).map(\.description) + rest).joined(separator: "; ")
    }
}

extension CompileError.Fault: CustomStringConvertible {
    package var description: String { "\(policy)/\(entry): \(message)" }
}
