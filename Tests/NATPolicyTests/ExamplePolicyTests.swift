// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import PolicyYAML
import Testing

/// Policies that people write: the seed's, DESIGN's, and JSON.
struct ExamplePolicyTests {
    /// What the seed sets up by hand, in one document.
    static let seed = """
        apiVersion: natfleet/v1
        kind: NATPolicy
        metadata:
          name: seed
        spec:
          selector:
            matchLabels: {role: nat}
          forwarding: {ipv4: true, ipv6: true}
          masquerade:
            - name: egress
              sources: any
          dnat:
            - name: PortMapping
              protocol: tcp
              destination: self
              port: 8001
              to: "10.0.1.1:80"
            - name: PortMapping6
              protocol: tcp
              destination: self
              port: 8001
              to: "[2001:db8:0:2::1]:80"
        """

    static let full = """
        # Everything that a policy can say today.
        apiVersion: natfleet/v1
        kind: NATPolicy
        metadata:
          name: web-egress
          description: egress & the web port forward of *the* prod VPC!
        spec:
          priority: 50
          selector:
            matchLabels: {vpc: prod, aws/az: eu-west-1a}
            instances: [i-0abc, i-0123456789abcdef0]
          forwarding: {ipv4: true, ipv6: true}
          masquerade:
            - name: egress
              families: [ipv6, ipv4]
              interface: auto
              sources: [10.0.0.0/16, "2001:db8:0:2::/64"]
              except: [10.0.0.0/8]
              randomFully: true
            - name: guests
              interface: eth1.100
              sources: 192.0.2.0/24
              randomFully: false
          dnat:
            - name: PortMapping
              protocol: tcp
              destination: self
              port: 8001
              to: "10.0.1.1:80"
              sources: [198.51.100.0/24, 192.0.2.7]
              drain: false
              masquerade: false
              hairpin: true
            - name: range
              protocol: udp
              destination: 2001:db8::5
              port: "8000-8019"
              to: "[2001:db8::1]:9000"
              sources: any
              masquerade: true
            - {name: bastion, protocol: tcp, port: 22, to: "10.0.1.2:22-22", allowSSH: true}
          guard: true
          conntrack: {max: 262144}
        """

    static func only(_ text: String) throws -> PolicyDocument {
        let readings = readPolicies(name: "test.yaml", text: text)
        #expect(readings.diagnostics.isEmpty, "\(readings.diagnostics)")
        #expect(readings.policies.count == 1)
        return try #require(readings.documents.first)
    }

    @Test
    func theSeedsPolicyIsRead() throws {
        let policy = try Self.only(Self.seed)
        #expect(policy.name == "seed")
        #expect(policy.spec.priority == 100)
        #expect(policy.spec.selector == Selector(matchLabels: ["role": "nat"]))
        #expect(policy.spec.forwarding == Forwarding(ipv4: true, ipv6: true))
        #expect(policy.spec.masquerade == [Masquerade(name: "egress", sources: .any)])
        #expect(
            policy.spec.dnat == [
                PortForward(
                    name: "PortMapping", protocol: .tcp, port: try PortRange(8001), to: try Endpoint("10.0.1.1:80")),
                PortForward(
                    name: "PortMapping6", protocol: .tcp, port: try PortRange(8001),
                    to: try Endpoint("[2001:db8:0:2::1]:80")),
            ])
        #expect(policy.spec.guard == nil && policy.spec.conntrack == nil)
    }

    @Test
    func everyKeyOfTheDesignIsRead() throws {
        let policy = try Self.only(Self.full)
        #expect(policy.description == "egress & the web port forward of *the* prod VPC!")
        #expect(policy.spec.priority == 50)
        #expect(policy.spec.selector.matchLabels == ["vpc": "prod", "aws/az": "eu-west-1a"])
        #expect(policy.spec.selector.instances == ["i-0123456789abcdef0", "i-0abc"])
        #expect(policy.spec.guard == true)
        #expect(policy.spec.conntrack == Conntrack(max: .entries(262_144)))
        #expect(
            policy.spec.masquerade == [
                Masquerade(
                    name: "egress", families: [.ipv4, .ipv6],
                    sources: .networks([try CIDR("10.0.0.0/16"), try CIDR("2001:db8:0:2::/64")]),
                    except: [try CIDR("10.0.0.0/8")]),
                Masquerade(
                    name: "guests", interface: .named("eth1.100"), sources: .networks([try CIDR("192.0.2.0/24")]),
                    randomFully: false),
            ])
        #expect(
            policy.spec.dnat == [
                PortForward(
                    name: "PortMapping", protocol: .tcp, port: try PortRange(8001), to: try Endpoint("10.0.1.1:80"),
                    sources: [try CIDR("192.0.2.7/32"), try CIDR("198.51.100.0/24")], hairpin: true),
                PortForward(
                    name: "range", protocol: .udp, destination: .address(try IPAddress("2001:db8::5")),
                    port: try PortRange("8000-8019"), to: try Endpoint("[2001:db8::1]:9000-9019"), masquerade: true),
                PortForward(
                    name: "bastion", protocol: .tcp, port: try PortRange(22), to: try Endpoint("10.0.1.2:22"),
                    allowSSH: true),
            ])
    }

    @Test
    func jsonMeansTheSameIndentedWithTabsToo() throws {
        let json = """
            {
            \t"apiVersion": "natfleet/v1", "kind": "NATPolicy",
            \t"metadata": {"name": "seed"},
            \t"spec": {
            \t\t"selector": {"matchLabels": {"role": "nat"}},
            \t\t"forwarding": {"ipv4": true, "ipv6": true},
            \t\t"masquerade": [{"name":"egress","sources":"any"}],
            \t\t"dnat"\t:\t[
            \t\t\t{"name":"PortMapping","protocol":"tcp","destination":"self","port":8001,"to":"10.0.1.1:80"},
            \t\t\t{"name":"PortMapping6","protocol":"tcp","port":"8001","to":"[2001:db8:0:2::1]:80"}
            \t\t]
            \t}
            }
            """
        #expect(try Self.only(json) == Self.only(Self.seed))
        #expect(try Self.only(json.replacing("\n", with: "\r\n")) == Self.only(Self.seed))
        #expect(try Self.only(json.split { $0 == "\n" || $0 == "\t" }.joined()) == Self.only(Self.seed))
    }

    @Test
    func severalDocumentsAreReadInOrderWithThePlaceOfTheirNames() {
        let text = "---\n\(Self.seed)\n---\n# nothing here\n---\n\(Self.full)\n...\n"
        let readings = readPolicies(name: "fleet.yaml", text: text)
        #expect(readings.diagnostics.isEmpty, "\(readings.diagnostics)")
        #expect(readings.documents.map(\.name) == ["seed", "web-egress"])
        #expect(readings.policies.map(\.mark) == [.init(line: 5, column: 9), .init(line: 31, column: 9)])
        #expect(readings.policies.allSatisfy { $0.file == "fleet.yaml" })
    }

    @Test
    func aByteOrderMarkAndWindowsLineEndsDontMatter() throws {
        #expect(try Self.only("\u{feff}" + Self.full.replacing("\n", with: "\r\n")) == Self.only(Self.full))
    }

    @Test
    func whatIsLeftOutHasItsDefault() throws {
        let spec = try Self.only(WrongPolicy.header).spec
        #expect(spec == PolicySpec(selector: Selector(instances: ["i-1"])))
        let off = try Self.only(WrongPolicy.spec("forwarding: false\ndnat: []\nmasquerade: []")).spec
        #expect(off == spec)
    }

    /// Legal, if unusual.
    @Test(arguments: [
        #"name: web, protocol: tcp, port: 22, to: "10.0.1.1:22", allowSSH: true"#,
        #"name: dns, protocol: udp, port: 22, to: "10.0.1.1:22""#,
        #"name: all, protocol: udp, port: "1-65535", to: "10.0.1.1:1""#,
        #"name: half, protocol: tcp, port: 80, to: "10.0.1.1:80", sources: [128.0.0.0/1]"#,
        #"name: one, protocol: tcp, port: 80, to: "10.0.1.1:80", sources: 198.51.100.7"#,
        #"name: ula, protocol: tcp, port: 80, to: "[fd00:ec2::1]:80", sources: ["fd00::/8"]"#,
        "name: both, protocol: tcp, port: 80, to: '10.0.1.1:80'\nname: both6, protocol: tcp, port: 80, to: '[fd00::1]:80'",
        "name: t, protocol: tcp, port: 80, to: '10.0.1.1:80'\nname: u, protocol: udp, port: 80, to: '10.0.1.1:80'",
        "name: s, protocol: tcp, port: 80, to: '10.0.1.1:80'\n"
            + "name: a, protocol: tcp, destination: 10.0.0.5, port: 80, to: '10.0.1.1:80'",
        "name: low, protocol: tcp, port: 100-199, to: '10.0.1.1:100'\nname: high, protocol: tcp, port: 200, to: '10.0.1.1:1'",
    ])
    func unusualForwardsAreAccepted(_ entries: String) {
        let readings = readPolicies(name: "test.yaml", text: WrongPolicy.forward(entries))
        #expect(readings.diagnostics.isEmpty, "\(readings.diagnostics)")
    }
}
