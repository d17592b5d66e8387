// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import FleetModel
import Foundation
package import Hummingbird
package import NIOCore

/// What a request carries through the middleware to its handler.
package struct FleetContext: RequestContext {
    package var coreContext: CoreRequestContextStorage
    /// Where the peer certificate comes from.
    package let channel: any Channel
    /// Set by `Gate` only.
    var caller: Caller?

    package init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }

    /// What the path says in the place of `{parameter}`, as the caller meant it.
    ///
    /// - Throws: `FleetError` badRequest where the path is not percent-encoded text.
    func name(_ parameter: String) throws -> String {
        guard let name = try parameters.require(parameter).removingPercentEncoding else {
            throw FleetError(.badRequest, "the path is not percent-encoded UTF-8", remedy: "encode each name in it")
        }
        return name
    }

    /// The operator that `Gate` let through.
    ///
    /// - Throws: `FleetError` unauthorized: a route that forgot to ask for one stays shut.
    var `operator`: OperatorIdentity {
        get throws {
            guard case .operator(let identity) = caller else {
                throw FleetError(.unauthorized, "no operator", remedy: "send an operator's bearer token")
            }
            return identity
        }
    }

    /// The agent that `Gate` let through.
    ///
    /// - Throws: `FleetError` unauthorized.
    var agent: AgentIdentity {
        get throws {
            guard case .agent(let identity) = caller else {
                throw FleetError(.unauthorized, "no agent", remedy: "call with an agent's client certificate")
            }
            return identity
        }
    }
}

enum Caller: Sendable {
    case agent(AgentIdentity)
    case `operator`(OperatorIdentity)
}

/// Who may call a route.
enum Access: Hashable, Sendable {
    case anyone
    case agent
    case `operator`(OperatorRole)
}
