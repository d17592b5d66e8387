// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

extension WrongPolicy {
    /// Targets that no probe can ask.
    static let probes: [WrongPolicy] = [
        .init(
            "a target alone, without a list", spec(#"probes: "tcp:203.0.113.7:443""#), 6, 11, "spec.probes",
            "must be a list, not text"),
        .init(
            "another protocol", spec(#"probes: ["icmp:203.0.113.7"]"#), 6, 12, "spec.probes[0]",
            "'icmp:203.0.113.7' does not begin with 'tcp:'"),
        .init(
            "no protocol", spec(#"probes: ["203.0.113.7:443"]"#), 6, 12, "spec.probes[0]",
            "'203.0.113.7:443' does not begin with 'tcp:'"),
        .init(
            "no port", spec(#"probes: ["tcp:203.0.113.7"]"#), 6, 12, "spec.probes[0]",
            "'203.0.113.7' is not an address and a port"),
        .init(
            "port 0 of a target", spec(#"probes: ["tcp:203.0.113.7:0"]"#), 6, 12, "spec.probes[0]",
            "'0' is not a port between 1 and 65535, nor a range of them"),
        .init(
            "a range of ports as target", spec(#"probes: ["tcp:203.0.113.7:80-81"]"#), 6, 12, "spec.probes[0]",
            "'tcp:203.0.113.7:80-81' has a range of ports"),
        .init(
            "a name as target", spec(#"probes: ["tcp:example.org:443"]"#), 6, 12, "spec.probes[0]",
            "'example.org' is not an IP address"),
        .init(
            "IPv6 without brackets", spec(#"probes: ["tcp:2001:db8::7:443"]"#), 6, 12, "spec.probes[0]",
            "'2001:db8::7:443' is not an address and a port"),
        .init(
            "IPv4 as IPv6", spec(#"probes: ["tcp:[::ffff:203.0.113.7]:443"]"#), 6, 12, "spec.probes[0]",
            "::ffff:203.0.113.7 is an IPv4 address written as IPv6"),
        .init(
            "loopback", spec(#"probes: ["tcp:127.0.0.1:443"]"#), 6, 12, "spec.probes[0]",
            "127.0.0.1 is loopback, which clients don't reach through this instance"),
        .init(
            "instance metadata", spec(#"probes: ["tcp:[fd00:ec2::254]:80"]"#), 6, 12, "spec.probes[0]",
            "fd00:ec2::254 is the instance metadata service, which clients don't reach through this instance"),
        .init(
            "the same twice", spec(#"probes: ["tcp:[2001:db8::7]:443", "tcp:[2001:DB8:0::7]:443"]"#), 6, 37,
            "spec.probes[1]", "tcp:[2001:db8::7]:443 is listed twice"),
        .init(
            "too many", spec("probes: [\((1...17).map { #""tcp:203.0.113.7:\#($0)""# }.joined(separator: ", "))]"), 6,
            11,
            "spec.probes", "has 17 entries, more than 16"),
    ]
}
