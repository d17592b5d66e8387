// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI
package import FleetModel

/// The operator API as the verbs use it. All calls throw `FleetError`, or `Failure` when policy files are at fault.
package protocol FleetClient: Sendable {
    func apply(_ request: ApplyRequest) async throws -> ApplyResponse
    func diff(_ request: DiffRequest) async throws -> DiffResponse
    func delete(_ request: DeleteRequest) async throws -> ApplyResponse
    func policies() async throws -> [PolicyView]
    func policy(_ name: String) async throws -> PolicyView
    func revisions(of policy: String) async throws -> [RevisionView]
    func undo(_ policy: String, _ request: UndoRequest) async throws -> PolicyChange
    func instances() async throws -> [Instance]
    func instance(_ id: String) async throws -> Instance
    func label(_ id: String, _ request: LabelRequest) async throws -> LabelResponse
    func setCordoned(_ cordoned: Bool, _ id: String) async throws -> Instance
    func retry(_ id: String) async throws -> Instance
    func forget(_ id: String) async throws -> Instance
    func tokens() async throws -> [TokenView]
    func createToken(_ request: TokenRequest) async throws -> TokenView
    func revokeToken(_ id: String) async throws
    func events(_ filter: EventFilter) async throws -> [Event]
}
