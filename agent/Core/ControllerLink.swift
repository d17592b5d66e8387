// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI

/// The agent's way to its controller; the one thing that knows URLs, keys and certificates.
package protocol ControllerLink: Sendable {
    /// Whether a key and a certificate are on disk.
    var isEnrolled: Bool { get async }
    /// Who the controller says that this machine is; empty before it enrolled.
    var instanceID: String { get async }
    /// Whether the certificate is past its half life (DESIGN §8).
    var renewalIsDue: Bool { get async }
    /// What the last requests told; says nothing of the certificate.
    var health: LinkHealth { get async }
    func enrol() async throws(LinkTrouble)
    func renew() async throws(LinkTrouble)
    /// Begins to connect for the check-in that tells the next outcome, which takes no connection from before this call.
    func connectAnew() async
    func checkIn(_ request: CheckinRequest) async throws(LinkTrouble) -> CheckinResponse
}
