// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Foundation
import NATPolicy
import NetAddress
import PolicyYAML

/// A policy as an operator writes it; `port` tells revisions apart.
func policyText(_ name: String = "web-egress", port: Int = 8001) -> String {
    """
    apiVersion: natfleet/v1
    kind: NATPolicy
    metadata:
      name: \(name)
      description: egress of prod
    spec:
      selector:
        matchLabels: {vpc: prod}
      forwarding: {ipv4: true}
      masquerade:
        - name: egress
          sources: [10.0.0.0/16]
      dnat:
        - name: PortMapping
          protocol: tcp
          port: \(port)
          to: "10.0.1.1:80"

    """
}

/// Two revisions of web-egress, one of base; an instance that is current, one that changes, one that is gone and one
/// that never came.
func exampleFleet() throws -> FakeFleet.State {
    var state = FakeFleet.State()
    let first = readPolicies(name: "1", text: policyText(port: 8001)).documents
    let second = readPolicies(name: "2", text: policyText(port: 8002)).documents
    let base = readPolicies(name: "3", text: policyText("base", port: 9000)).documents
    func revision(_ document: PolicyDocument, _ number: Int, _ age: Double, _ message: String?) -> RevisionView {
        RevisionView(
            policy: document.name, revision: number, hash: document.hash, createdAt: ago(age), actor: "operator:admin",
            message: message, document: document)
    }
    state.revisions["web-egress"] =
        second.map { revision($0, 2, 300, "open 8002") } + first.map { revision($0, 1, 86_400 * 3, nil) }
    state.revisions["base"] = base.map { revision($0, 1, 86_400 * 30, nil) }
    state.current = ["web-egress": 2, "base": 1]
    state.instances = [
        Instance(
            id: "i-0c", labels: ["vpc": "prod"], enrolledAt: ago(86_400 * 2), lastSeen: ago(7200), health: .offline,
            desiredHash: "cccc", desiredLayers: [web(2)], status: status(.applied, "bbbb", [web(1)])),
        Instance(id: "i-0d", labels: [:], enrolledAt: ago(45)),
        try degradedInstance(),
        Instance(
            id: "i-0a", labels: ["vpc": "prod", "az": "a"], enrolledAt: ago(86_400 * 9), lastSeen: ago(5),
            health: .healthy, desiredHash: "aaaa", desiredLayers: [.init(policy: "base", revision: 1), web(2)],
            status: status(.applied, "aaaa", [.init(policy: "base", revision: 1), web(2)])),
    ]
    state.tokens = [
        TokenView(
            id: "t2", secret: nil, instanceID: nil, labels: ["vpc": "prod", "az": "a"], usesLeft: 3,
            createdAt: ago(600), expiresAt: now.addingTimeInterval(3000), revoked: false),
        TokenView(
            id: "t1", secret: nil, instanceID: "i-0a", labels: [:], usesLeft: 0, createdAt: ago(86_400 * 9),
            expiresAt: ago(86_400 * 8), revoked: false),
    ]
    state.events = [
        Event(
            id: 8, at: ago(300), actor: "operator:admin", kind: "policy.applied", subject: "policy/web-egress",
            detail: "revision 2"),
        Event(
            id: 7, at: ago(86_400 * 9), actor: "instance:i-0a", kind: "instance.enrolled", subject: "instance/i-0a",
            detail: "with token t1"),
    ]
    return state
}

private func web(_ revision: Int) -> EffectivePolicy.Layer { .init(policy: "web-egress", revision: revision) }

private func status(
    _ phase: InstanceStatus.Phase, _ hash: String?, _ layers: [EffectivePolicy.Layer]
) -> InstanceStatus {
    InstanceStatus(phase: phase, runningHash: hash, layers: layers, agentVersion: "0.1.0")
}

/// With everything that `describe` can show.
private func degradedInstance() throws -> Instance {
    var status = status(.refused, "bbbb", [web(1), .init(policy: "old", revision: 4)])
    status.conditions = [Condition(.policyRefused, "this host has no interface eth7")]
    status.facts = HostFacts(
        interfaces: [
            .init(
                name: "eth0",
                addresses: [
                    .init(try IPAddress("10.0.0.10"), prefixLength: 24),
                    .init(try IPAddress("2001:db8:0:1::10"), prefixLength: 64),
                ])
        ],
        routes: [
            .init(destination: .everything(.ipv4), interface: "eth0", gateway: try IPAddress("10.0.0.1")),
            .init(destination: .everything(.ipv6), interface: "eth0"),
        ],
        iptables: .init(backend: .nft, version: "1.8.9"), vpcCIDRs: [try CIDR("10.0.0.0/16")])
    return Instance(
        id: "i-0b", labels: ["vpc": "prod"], enrolledAt: ago(86_400 * 9), lastSeen: ago(150), health: .degraded,
        desiredHash: "0123456789abcdef", desiredLayers: [web(2)], status: status,
        lastOutcome: Outcome(
            hash: "0123456789abcdef", result: .refused, detail: "this host has no interface eth7", at: ago(290)),
        certificateExpires: now.addingTimeInterval(72_000))
}
