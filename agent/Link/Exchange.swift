// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import FleetAPI
import FleetModel
import HTTPSClient

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// One request, one answer; every failure of either function in the words of the catalogue.
func exchange(
    _ request: HTTPSClient.Request, through client: HTTPSClient
) async throws(LinkTrouble) -> HTTPSClient.Response {
    do throws(TransportError) {
        return try await client.send(request)
    } catch {
        throw LinkTrouble(
            FleetError(
                error.code == .timedOut ? .timeout : .unreachable, "cannot reach the controller: \(error.message)",
                remedy: error.code == .untrusted
                    ? "name it in NATFLEET_CONTROLLER as 'natfleet serve --advertise NAME' does; NAT stays as it is"
                    : "check NATFLEET_CONTROLLER and that the controller runs; NAT stays as it is meanwhile"))
    }
}

func decode<Content: Decodable>(_ response: HTTPSClient.Response) throws(LinkTrouble) -> Content {
    let retryAfter = response.retryAfter.map(Double.init)
    guard response.status == 200 || response.status == 201 else {
        if let problem = try? WireJSON.decode(Problem.self, from: Data(response.body)) {
            throw LinkTrouble(problem.error, retryAfter: retryAfter)
        }
        throw LinkTrouble(
            FleetError(
                .unavailable, "the controller answered \(response.status) without saying why",
                remedy: "check that NATFLEET_CONTROLLER names a natfleet controller"), retryAfter: retryAfter)
    }
    do {
        return try WireJSON.decode(Content.self, from: Data(response.body))
    } catch {
        throw LinkTrouble(
            FleetError(
                .badRequest, "the controller's answer cannot be understood: \(error)",
                remedy: "run an agent and a controller of the same version"))
    }
}
