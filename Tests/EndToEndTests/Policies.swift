// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// The documents of these tests: the seed's rules as policies.
enum Policies {
    /// Masquerade of the whole VPC in both families, for every instance of the lab.
    static let egress = egress(entry: #"sources: [10.0.0.0/16, "2001:db8:0:100::/56"]"#)

    /// A masquerade with nothing wrong about it but what `entry` says.
    static func egress(entry: String, selector: String = "{matchLabels: {vpc: demo}}") -> String {
        """
        apiVersion: natfleet/v1
        kind: NATPolicy
        metadata: {name: egress}
        spec:
          selector: \(selector)
          forwarding: {ipv4: true, ipv6: true}
          masquerade:
            - {name: egress, \(entry)}
        """
    }

    /// Masquerade of one private subnet only.
    static func egress(of sources: String) -> String {
        egress.replacing("10.0.0.0/16, \"2001:db8:0:100::/56\"", with: sources)
    }

    /// The seed's PortMapping: port 8001 of an instance to port 80 of the private server behind it.
    static func portMapping(_ instance: String, subnet: Int, port: Int = 80) -> String {
        """
        ---
        apiVersion: natfleet/v1
        kind: NATPolicy
        metadata: {name: web-\(instance)}
        spec:
          selector: {instances: [\(instance)]}
          forwarding: {ipv4: true, ipv6: true}
          dnat:
            - {name: PortMapping, protocol: tcp, port: 8001, to: "10.0.\(subnet).80:\(port)"}
            - {name: PortMapping, protocol: tcp, port: 8001, to: "[2001:db8:0:10\(subnet)::80]:\(port)"}

        """
    }
}
