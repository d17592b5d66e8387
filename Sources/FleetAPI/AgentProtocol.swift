// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
package import NATPolicy

/// Paths of the wire, all under `/v1`.
package enum Endpoints {
    package static let ca = "/v1/ca"
    package static let enroll = "/v1/enroll"
    package static let checkin = "/v1/checkin"
    package static let renew = "/v1/renew"
    package static let apply = "/v1/apply"
    package static let diff = "/v1/diff"
    package static let delete = "/v1/delete"
    package static let policies = "/v1/policies"
    package static let instances = "/v1/instances"
    package static let tokens = "/v1/tokens"
    package static let events = "/v1/events"
    /// The description of all of them, OpenAPI 3.1.
    package static let openAPI = "/openapi.yaml"
}

/// `GET /v1/ca`, open to anyone: the fleet CA's certificates, PEM, the current one first.
package struct CABundle: Codable, Hashable, Sendable {
    package var certificates: [String]

    package init(certificates: [String]) { self.certificates = certificates }
}

/// `POST /v1/enroll`: a certificate signing request and the proof that goes with it.
package struct EnrollRequest: Codable, Hashable, Sendable {
    /// PKCS#10, PEM, P-256.
    package var csr: String
    package var joinToken: String
    /// What the machine calls itself, where no IMDS document says it.
    package var instanceID: String?
    /// Claims of the machine: stored as `agent/KEY`.
    package var labels: [String: String]

    package init(csr: String, joinToken: String, instanceID: String? = nil, labels: [String: String] = [:]) {
        self.csr = csr
        self.joinToken = joinToken
        self.instanceID = instanceID
        self.labels = labels
    }
}

/// `POST /v1/renew`: a new key under the current certificate.
package struct RenewRequest: Codable, Hashable, Sendable {
    package var csr: String

    package init(csr: String) { self.csr = csr }
}

/// What enrolment and renewal answer.
package struct IssuedIdentity: Codable, Hashable, Sendable {
    package var instanceID: String
    /// PEM, the agent's own certificate.
    package var certificate: String
    /// PEM, as in `CABundle`.
    package var ca: [String]

    package init(instanceID: String, certificate: String, ca: [String]) {
        self.instanceID = instanceID
        self.certificate = certificate
        self.ca = ca
    }
}

/// `POST /v1/checkin`: status up.
package struct CheckinRequest: Codable, Hashable, Sendable {
    package var status: InstanceStatus
    /// Set once after each try; a check-in that carries an outcome is never held.
    package var outcome: Outcome?
    /// Hash of the desired state last answered; the answer is held while it is still the one.
    package var answeredHash: String?
    /// `attempt` of the desired state last answered, 0 where it had none: a later one is answered at once. Absent from
    /// agents that don't know attempts; they are told of none.
    package var answeredAttempt: Int?
    /// How long the answer may be held, in seconds; the controller caps it at 50.
    package var wait: Int

    package init(
        status: InstanceStatus, outcome: Outcome? = nil, answeredHash: String? = nil, answeredAttempt: Int? = nil,
        wait: Int
    ) {
        self.status = status
        self.outcome = outcome
        self.answeredHash = answeredHash
        self.answeredAttempt = answeredAttempt
        self.wait = wait
    }
}

/// Desired state down.
package struct CheckinResponse: Codable, Hashable, Sendable {
    /// Absent when it is the one that the request named as `answeredHash` and `answeredAttempt`, or when the layers
    /// conflict.
    package var desired: DesiredState?
    /// Why nothing is offered although something is wanted: the conflict of layers, in words.
    package var hold: String?
    /// Seconds to wait before the next check-in; 0 is usual, the hold paces the rest.
    package var nextAfter: Int

    package init(desired: DesiredState? = nil, hold: String? = nil, nextAfter: Int = 0) {
        self.desired = desired
        self.hold = hold
        self.nextAfter = nextAfter
    }
}

/// An effective policy and the hash of its canonical JSON; the agent checks that they belong together.
package struct DesiredState: Codable, Hashable, Sendable {
    package var hash: String
    package var policy: EffectivePolicy
    /// Grows each time that an operator asks the instance to try again what it refused or took back: milliseconds since
    /// 1970 of the asking, so that it grows also when a backup is put back or the instance enrols anew. nil when nobody
    /// ever asked, and from controllers that don't know it. No part of `hash`.
    package var attempt: Int?

    package init(hash: String, policy: EffectivePolicy, attempt: Int? = nil) {
        self.hash = hash
        self.policy = policy
        self.attempt = attempt
    }

    /// Whether an operator has asked to try this again since `other`, which is the same otherwise.
    package func isAskedAfter(_ other: DesiredState) -> Bool { (attempt ?? 0) > (other.attempt ?? 0) }
}
