// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import TestSupport
import Testing

struct MergeTests {
    private static func layer(
        _ policy: String, revision: Int = 1, priority: Int = 100, guard: Bool? = nil,
        conntrack: Conntrack.Max? = nil,
        forwarding: Forwarding = Forwarding(),
        masquerade: [String] = [], dnat: [PortForward] = []
    ) -> PolicyLayer {
        PolicyLayer(
            policy: policy, revision: revision,
            spec: PolicySpec(
                priority: priority, selector: Selector(instances: ["i-1"]), forwarding: forwarding,
                masquerade: masquerade.map { Masquerade(name: $0) }, dnat: dnat, guard: `guard`,
                conntrack: conntrack.map(Conntrack.init)))
    }

    private static func forward(
        _ name: String, _ port: String, to: String = "10.0.1.1:1000", _ transport: TransportProtocol = .tcp,
        destination: DestinationChoice = .instance, sources: [String] = []
    ) throws -> PortForward {
        let port = try PortRange(port)
        let to = try Endpoint(to)
        let ports = try #require(to.ports.widened(to: port.count))
        return PortForward(
            name: name, protocol: transport, destination: destination, port: port,
            to: Endpoint(to.address, ports: ports),
            sources: try sources.map { try CIDR($0) })
    }

    private static func conflicts(_ layers: [PolicyLayer]) -> [LayerConflict] {
        guard case .failure(let failure) = mergeLayers(layers) else { return [] }
        return failure.conflicts
    }

    @Test
    func noLayerMakesNoPolicy() throws {
        #expect(try mergeLayers([]).get() == .none)
    }

    @Test
    func layersJoinByPriorityThenName() throws {
        let layers = try [
            Self.layer("b", revision: 3, masquerade: ["b1", "b2"], dnat: [Self.forward("b", "80")]),
            Self.layer("late", priority: 200, masquerade: ["late"]),
            Self.layer("a", masquerade: ["a"], dnat: [Self.forward("a", "81")]),
            Self.layer("z", revision: 7, priority: 5, masquerade: ["z"]),
        ]
        for order in [layers, layers.reversed(), [layers[2], layers[0], layers[3], layers[1]]] {
            let merged = try mergeLayers(order).get()
            #expect(
                merged.layers == [
                    .init(policy: "z", revision: 7), .init(policy: "a", revision: 1), .init(policy: "b", revision: 3),
                    .init(policy: "late", revision: 1),
                ])
            #expect(
                merged.masquerade.map { "\($0.policy)/\($0.entry.name)" } == [
                    "z/z", "a/a", "b/b1", "b/b2", "late/late",
                ])
            #expect(merged.dnat.map { "\($0.policy)/\($0.entry.name)" } == ["a/a", "b/b"])
        }
    }

    @Test
    func forwardingIsTheUnion() throws {
        let merged = try mergeLayers([
            Self.layer("a", forwarding: Forwarding(ipv4: true)), Self.layer("b", forwarding: Forwarding(ipv6: true)),
            Self.layer("c"),
        ]).get()
        #expect(merged.forwarding == Forwarding(ipv4: true, ipv6: true))
        #expect(try mergeLayers([Self.layer("c")]).get().forwarding == Forwarding())
    }

    @Test(arguments: [
        ([nil], true), ([nil, nil], true), ([true], true), ([false], false), ([nil, false], false),
        ([false, nil, false], false), ([true, nil], true),
    ])
    func theGuardIsOnUnlessALayerTurnsItOff(_ guards: [Bool?], _ expected: Bool) throws {
        let layers = guards.enumerated().map { Self.layer("p\($0.offset)", guard: $0.element) }
        #expect(try mergeLayers(layers).get().guard == expected)
    }

    @Test
    func probesJoinWithoutRepetition() throws {
        func layer(_ name: String, _ probes: [String]?) throws -> PolicyLayer {
            var layer = Self.layer(name)
            layer.spec.probes = try probes.map { try $0.map { try ProbeTarget($0) } }
            return layer
        }
        let (first, second) = ("tcp:203.0.113.7:443", "tcp:[2001:db8::7]:443")
        let merged = try mergeLayers([layer("a", [second, first]), layer("b", nil), layer("c", [first])]).get()
        #expect(merged.probes?.map(\.description) == [first, second])
        #expect(try mergeLayers([layer("a", nil)]).get().probes == nil)
    }

    @Test
    func aDisagreementAboutTheGuardNamesBothPolicies() {
        let conflicts = Self.conflicts([
            Self.layer("a", guard: true), Self.layer("b", guard: false), Self.layer("c"), Self.layer("d", guard: false),
        ])
        #expect(
            conflicts.map(\.message) == [
                "policy 'a' turns the guard on and policy 'b' turns it off",
                "policy 'a' turns the guard on and policy 'd' turns it off",
            ])
        #expect(conflicts.map(\.second) == [.init(policy: "b"), .init(policy: "d")])
    }

    @Test(
        arguments: [
            ([nil], nil), ([nil, .auto], .auto), ([.auto, .auto, nil], .auto), ([nil, .entries(4096)], .entries(4096)),
        ] as [([Conntrack.Max?], Conntrack.Max?)])
    func theSizeOfConnectionTrackingIsWhatALayerSays(_ sizes: [Conntrack.Max?], _ expected: Conntrack.Max?) throws {
        let layers = sizes.enumerated().map { Self.layer("p\($0.offset)", conntrack: $0.element) }
        #expect(try mergeLayers(layers).get().conntrack?.max == expected)
    }

    @Test
    func aDisagreementAboutTheSizeOfConnectionTrackingNamesBothPolicies() {
        let conflicts = Self.conflicts([
            Self.layer("a", conntrack: .auto), Self.layer("b"), Self.layer("c", conntrack: .entries(262_144)),
        ])
        #expect(
            conflicts.map(\.message) == [
                "policy 'a' sets conntrack.max to auto and policy 'c' sets it to 262144"
            ])
    }

    @Test
    func twoClaimsOfOnePortNamePoliciesEntriesAndKey() throws {
        let conflicts = try Self.conflicts([
            Self.layer("www", dnat: [Self.forward("range", "8000-8019")]),
            Self.layer(
                "game", dnat: [Self.forward("free", "9000"), Self.forward("late", "8019-8030", to: "10.0.9.9:1")]),
        ])
        #expect(
            conflicts.map(\.message) == [
                "policy 'game' entry 'late' takes tcp self:8019-8030 (IPv4) "
                    + "and policy 'www' entry 'range' takes tcp self:8000-8019 (IPv4)"
            ])
        #expect(conflicts.first?.first == .init(policy: "game", entry: "late"))
        #expect(conflicts.first?.second == .init(policy: "www", entry: "range"))
        #expect(conflicts.first?.remedy.isEmpty == false)
    }

    /// Pairs of entries, and whether one instance can have both.
    @Test
    func claimsMeetInProtocolFamilyDestinationAndPort() throws {
        let six = DestinationChoice.address(try IPAddress("2001:db8::5"))
        let table: [(PortForward, PortForward, conflict: Bool)] = try [
            (Self.forward("a", "80"), Self.forward("b", "80"), true),
            (Self.forward("a", "80"), Self.forward("b", "81"), false),
            (Self.forward("a", "80"), Self.forward("b", "80", .udp), false),
            (Self.forward("a", "80"), Self.forward("b", "80", to: "[2001:db8::1]:80"), false),
            (Self.forward("a", "80", to: "[2001:db8::1]:80"), Self.forward("b", "80", to: "[2001:db8::2]:80"), true),
            (Self.forward("a", "80-90"), Self.forward("b", "90-99"), true),
            (Self.forward("a", "80-90"), Self.forward("b", "91-99"), false),
            (Self.forward("a", "1-100"), Self.forward("b", "50"), true),
            (
                Self.forward("a", "80", sources: ["10.0.0.0/8"]), Self.forward("b", "80", sources: ["192.0.2.0/24"]),
                true
            ),
            (
                Self.forward("a", "80", to: "[2001:db8::1]:80", destination: six),
                Self.forward("b", "80", to: "[2001:db8::2]:80"), false
            ),
            (
                Self.forward("a", "80", to: "[2001:db8::1]:80", destination: six),
                Self.forward("b", "80", to: "[2001:db8::2]:80", destination: six), true
            ),
        ]
        for (left, right, conflict) in table {
            for layers in [[left, right], [right, left]] {
                let found = Self.conflicts(layers.enumerated().map { Self.layer("p\($0.offset)", dnat: [$0.element]) })
                #expect(found.count == (conflict ? 1 : 0), "\(DNATClaim(left)) and \(DNATClaim(right))")
            }
        }
    }

    /// The sweep finds an overlap for each claim that has one, as a comparison of all pairs would.
    @Test
    func overlapsAreFoundAsByComparingAllPairs() throws {
        let seed: UInt64 = 20_240_611
        var random = SeededGenerator(seed: seed)
        for round in 0..<300 {
            let claims = try (0..<Int.random(in: 0...12, using: &random)).map { _ in
                let first = UInt16.random(in: 1...40, using: &random)
                let ports = try PortRange(first: first, last: first + UInt16.random(in: 0...6, using: &random))
                let forward = PortForward(
                    name: "x", protocol: Bool.random(using: &random) ? .tcp : .udp, port: ports,
                    to: Endpoint(try IPAddress("10.0.0.1"), ports: ports))
                return DNATClaim(forward)
            }
            let found = DNATClaim.overlaps(among: claims)
            func overlap(_ left: Int, _ right: Int) -> Bool {
                claims[left].protocol == claims[right].protocol && claims[left].ports.overlaps(claims[right].ports)
            }
            #expect(
                found.allSatisfy { $0.earlier < $0.later && overlap($0.earlier, $0.later) },
                "seed \(seed) round \(round)")
            let concerned = Set(found.flatMap { [$0.earlier, $0.later] })
            let expected = claims.indices.filter { one in claims.indices.contains { $0 != one && overlap(one, $0) } }
            #expect(concerned == Set(expected), "seed \(seed) round \(round)")
        }
    }
}
