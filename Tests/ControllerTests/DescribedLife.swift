// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Foundation
import NATPolicy
import NetAddress
import Synchronization
import Testing

/// What happens in the fleet whose exchanges are held against the API's description.
extension DescribedAPI {
    /// A policy in which nothing is left out.
    static let everyField = """
        apiVersion: natfleet/v1
        kind: NATPolicy
        metadata: {name: rich, description: every field}
        spec:
          priority: 7
          selector: {matchLabels: {vpc: prod}, instances: [i-9]}
          forwarding: {ipv4: true, ipv6: true}
          masquerade:
            - name: a
              families: [ipv4, ipv6]
              interface: eth0
              sources: [10.9.0.0/16, "2001:db8:9::/48"]
              except: [10.8.0.0/16]
              randomFully: false
            - {name: b, sources: any}
          dnat:
            - {name: d, protocol: udp, destination: 192.0.2.7, port: "9000-9009", to: "10.0.1.1:9100", sources: [198.51.100.0/24]}
            - name: e
              protocol: tcp
              port: 22
              to: "[2001:db8::1]:22"
              masquerade: true
              hairpin: true
              allowSSH: true
              drain: true
          guard: false
          conntrack: {max: 65536}
          probes: ["tcp:203.0.113.7:443"]
          rollout: {confirmTimeout: 60s}
        """

    /// Words where the other one has values.
    static let leftToTheHost = """
        apiVersion: natfleet/v1
        kind: NATPolicy
        metadata: {name: auto}
        spec:
          selector: {matchLabels: {vpc: lab}}
          masquerade:
            - {name: a}
          conntrack: {max: auto}
        """

    static func facts() throws -> HostFacts {
        try HostFacts(
            interfaces: [.init(name: "eth0", addresses: [.init(IPAddress("10.0.0.10"), prefixLength: 24)])],
            routes: [.init(destination: .everything(.ipv4), interface: "eth0", gateway: IPAddress("10.0.0.1"))],
            iptables: .init(backend: .nft, version: "1.8.9", otherRules: ["IPv4 nat POSTROUTING"]),
            vpcCIDRs: [CIDR("10.0.0.0/16")],
            publicAddresses: [.init(public: IPAddress("203.0.113.10"), private: IPAddress("10.0.0.10"))],
            controller: [Endpoint("192.0.2.1:8443")])
    }

    /// Its agent is the one that calls from now on.
    func enrol(_ id: String, labels: [String: String]) async throws {
        let (_, token) = try await call("POST /v1/tokens", TokenRequest(instanceID: id, labels: labels))
        let secret = try WireJSON.decode(TokenView.self, from: token).secret ?? ""
        let request = EnrollRequest(
            csr: try AgentKey().csr(), joinToken: secret, instanceID: id, labels: ["role": "nat"])
        let (_, answer) = try await call("POST /v1/enroll", request)
        let identity = try WireJSON.decode(IssuedIdentity.self, from: answer)
        let bytes = try der(identity.certificate)
        certificate.withLock { $0 = bytes }
    }

    /// i-1 hears what is asked, refuses it, is asked to try again, and runs it, with everything to say that a status can hold.
    func checkInAsEver() async throws {
        let (_, first) = try await call("POST /v1/checkin", CheckinRequest(status: .idle, wait: 0))
        let desired = try #require(try WireJSON.decode(CheckinResponse.self, from: first).desired)
        let refused = Outcome(hash: desired.hash, result: .refused, detail: "x", at: Date())
        try await call("POST /v1/checkin", CheckinRequest(status: .idle, outcome: refused, wait: 0))
        try await call("POST /v1/instances/{id}/retry", ["id": "i-1"])
        let again = CheckinRequest(status: .idle, answeredHash: desired.hash, answeredAttempt: 0, wait: 50)
        let (_, retry) = try await call("POST /v1/checkin", again)
        #expect(try WireJSON.decode(CheckinResponse.self, from: retry).desired?.attempt != nil)

        var running = InstanceStatus.running(desired, conditions: [Condition(.ipv6RouteLost, "none", family: .ipv6)])
        running.facts = try Self.facts()
        running.drift = Drift(repairs: 1, lastAt: Date(), lastDifference: "a rule was missing")
        running.persistence = "netfilter-persistent"
        #expect(nothing(in: running).isEmpty, "a field of a status is not tried")
        let outcome = Outcome(hash: desired.hash, result: .applied, detail: "x", at: Date())
        try await call(
            "POST /v1/checkin",
            CheckinRequest(status: running, outcome: outcome, answeredHash: desired.hash, wait: 50))
    }

    /// i-2 comes with the labels of two policies that claim one port.
    func comeIntoAConflict() async throws {
        for name in ["left", "right"] {
            try await call(
                "POST /v1/apply",
                ApplyRequest(files: [policy(name, labels: [name: "yes"], ports: [8001]).file]))
        }
        try await enrol("i-2", labels: ["left": "yes", "right": "yes"])
        let (_, answer) = try await call("POST /v1/checkin", CheckinRequest(status: .idle, wait: 0))
        #expect(try WireJSON.decode(CheckinResponse.self, from: answer).hold != nil)
    }
}

/// The properties of a value that are nil, or an empty list of things, at any depth.
private func nothing(in value: Any, _ path: String = "status") -> [String] {
    let mirror = Mirror(reflecting: value)
    if mirror.displayStyle == .optional || mirror.displayStyle == .collection {
        guard !mirror.children.isEmpty else { return [path] }
    }
    return mirror.children.flatMap { nothing(in: $0.value, "\(path).\($0.label ?? "")") }
}

extension String {
    var file: PolicyFile { PolicyFile(name: "policy.yaml", text: self) }
}
