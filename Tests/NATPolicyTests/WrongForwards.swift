// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// The table of wrong policies: port forwards that can't be meant.
extension WrongPolicy {
    static let forwards: [WrongPolicy] = [
        .init(
            "missing protocol",
            forward(#"name: web, port: 8001, to: "10.0.1.1:80""#),
            7, 7, "spec.dnat[0]",
            "missing key 'protocol'"),
        .init(
            "unknown protocol",
            forward(#"name: web, protocol: icmp, port: 8001, to: "10.0.1.1:80""#),
            7, 29, "spec.dnat[0].protocol",
            "'icmp' is not tcp or udp"),
        .init(
            "missing port",
            forward(#"name: web, protocol: tcp, to: "10.0.1.1:80""#),
            7, 7, "spec.dnat[0]",
            "missing key 'port'"),
        .init(
            "missing target",
            forward("name: web, protocol: tcp, port: 8001"),
            7, 7, "spec.dnat[0]",
            "missing key 'to'"),
        .init(
            "text for a port",
            forward(#"name: web, protocol: tcp, port: abc, to: "10.0.1.1:80""#),
            7, 40, "spec.dnat[0].port",
            "'abc' is not a port between 1 and 65535, nor a range of them"),
        .init(
            "port 0",
            forward(#"name: web, protocol: tcp, port: 0, to: "10.0.1.1:80""#),
            7, 40, "spec.dnat[0].port",
            "'0' is not a port between 1 and 65535, nor a range of them"),
        .init(
            "port 65536",
            forward(#"name: web, protocol: tcp, port: 65536, to: "10.0.1.1:80""#),
            7, 40, "spec.dnat[0].port",
            "'65536' is not a port between 1 and 65535, nor a range of them"),
        .init(
            "range backwards",
            forward(#"name: web, protocol: tcp, port: "8019-8000", to: "10.0.1.1:80""#),
            7, 40, "spec.dnat[0].port",
            "'8019-8000' runs backwards"),
        .init(
            "list of ports",
            forward(#"name: web, protocol: tcp, port: [80, 443], to: "10.0.1.1:80""#),
            7, 40, "spec.dnat[0].port",
            "must be a port or a range of ports, not a list"),
        .init(
            "target without a port",
            forward("name: web, protocol: tcp, port: 8001, to: 10.0.1.1"),
            7, 50, "spec.dnat[0].to",
            "'10.0.1.1' is not an address and a port"),
        .init(
            "target port 0",
            forward(#"name: web, protocol: tcp, port: 8001, to: "10.0.1.1:0""#),
            7, 50, "spec.dnat[0].to",
            "'0' is not a port between 1 and 65535, nor a range of them"),
        .init(
            "target without brackets",
            forward(#"name: web, protocol: tcp, port: 8001, to: "2001:db8::1:80""#),
            7, 50, "spec.dnat[0].to",
            "'2001:db8::1:80' is not an address and a port"),
        .init(
            "target range of other width",
            forward(#"name: web, protocol: tcp, port: "8000-8019", to: "10.0.1.1:9000-9009""#),
            7, 57, "spec.dnat[0].to",
            "has 10 ports and port has 20"),
        .init(
            "target range above 65535",
            forward(#"name: web, protocol: tcp, port: "8000-8019", to: "10.0.1.1:65530""#),
            7, 57, "spec.dnat[0].to",
            "20 ports from 65530 on end above 65535"),
        .init(
            "DNAT to metadata",
            forward(#"name: web, protocol: tcp, port: 8001, to: "169.254.169.254:80""#),
            7, 50, "spec.dnat[0].to",
            "169.254.169.254 is the instance metadata service, where no port forward may lead"),
        .init(
            "DNAT to IPv6 metadata",
            forward(#"name: web, protocol: tcp, port: 8001, to: "[fd00:ec2::254]:80""#),
            7, 50, "spec.dnat[0].to",
            "fd00:ec2::254 is the instance metadata service, where no port forward may lead"),
        .init(
            "DNAT to the VPC's DNS",
            forward(#"name: dns, protocol: udp, port: 53, to: "169.254.169.253:53""#),
            7, 48, "spec.dnat[0].to",
            "169.254.169.253 is the VPC's DNS resolver, where no port forward may lead"),
        .init(
            "DNAT to time sync",
            forward(#"name: ntp, protocol: udp, port: 123, to: "[fd00:ec2::123]:123""#),
            7, 49, "spec.dnat[0].to",
            "fd00:ec2::123 is the VPC's time service, where no port forward may lead"),
        .init(
            "DNAT to loopback",
            forward(#"name: web, protocol: tcp, port: 8001, to: "127.0.0.1:80""#),
            7, 50, "spec.dnat[0].to",
            "127.0.0.1 is loopback, where no port forward may lead"),
        .init(
            "DNAT to link-local",
            forward(#"name: web, protocol: tcp, port: 8001, to: "[fe80::1]:80""#),
            7, 50, "spec.dnat[0].to",
            "fe80::1 is link-local, where no port forward may lead"),
        .init(
            "DNAT from link-local",
            forward(#"name: web, protocol: tcp, destination: 169.254.1.1, port: 8001, to: "10.0.1.1:80""#),
            7, 47, "spec.dnat[0].destination",
            "169.254.1.1 is link-local, which no port forward may take"),
        .init(
            "DNAT for loopback clients",
            forward(#"name: web, protocol: tcp, port: 8001, to: "10.0.1.1:80", sources: [127.0.0.1]"#),
            7, 75, "spec.dnat[0].sources[0]",
            "127.0.0.1/32 is loopback, which no client has"),
        .init(
            "DNAT from multicast",
            forward(#"name: web, protocol: tcp, destination: 224.0.0.1, port: 8001, to: "10.0.1.1:80""#),
            7, 47, "spec.dnat[0].destination",
            "224.0.0.1 is multicast, which no port forward may take"),
        .init(
            "DNAT between families",
            forward(#"name: web, protocol: tcp, destination: "2001:db8::5", port: 8001, to: "10.0.1.1:80""#),
            7, 47, "spec.dnat[0].destination",
            "2001:db8::5 is IPv6 and to is IPv4"),
        .init(
            "source of another family",
            forward(#"name: web, protocol: tcp, port: 8001, to: "10.0.1.1:80", sources: ["2001:db8::/32"]"#),
            7, 75, "spec.dnat[0].sources[0]",
            "2001:db8::/32 is IPv6 and to is IPv4"),
        .init(
            "sources vpc of a forward",
            forward(#"name: web, protocol: tcp, port: 8001, to: "10.0.1.1:80", sources: vpc"#),
            7, 74, "spec.dnat[0].sources",
            "a port forward can't have the sources 'vpc'"),
        .init(
            "everybody in a forward",
            forward(#"name: web, protocol: tcp, port: 8001, to: "10.0.1.1:80", sources: [0.0.0.0/0]"#),
            7, 75, "spec.dnat[0].sources[0]",
            "0.0.0.0/0 means everybody"),
        .init(
            "empty sources of a forward",
            forward(#"name: web, protocol: tcp, port: 8001, to: "10.0.1.1:80", sources: []"#),
            7, 74, "spec.dnat[0].sources",
            "is an empty list"),
        .init(
            "SSH",
            forward(#"name: web, protocol: tcp, port: 22, to: "10.0.1.1:22""#),
            7, 40, "spec.dnat[0].port",
            "takes port 22, which is SSH to this instance"),
        .init(
            "SSH inside a range",
            forward(#"name: web, protocol: tcp, destination: 10.0.0.5, port: "1-1024", to: "10.0.1.1:1""#),
            7, 63, "spec.dnat[0].port",
            "takes port 22, which is SSH to this instance, in 1-1024"),
        .init(
            "drain",
            forward(#"name: web, protocol: tcp, port: 8001, to: "10.0.1.1:80", drain: 1"#),
            7, 72, "spec.dnat[0].drain",
            "must be true or false, not 1"),
        .init(
            "duplicate forward",
            forward(
                "name: web, protocol: tcp, port: 8001, to: \"10.0.1.1:80\"\nname: www, protocol: tcp, port: 8001, to: \"10.0.1.2:80\""
            ),
            8, 40, "spec.dnat[1].port",
            "overlaps 'web' of line 7, which takes tcp self:8001 (IPv4)"),
        .init(
            "overlapping ranges",
            forward(
                "name: web, protocol: tcp, port: \"8010-8020\", to: \"10.0.1.1:80\"\nname: www, protocol: tcp, port: \"8000-8010\", to: \"10.0.1.2:80\", sources: [198.51.100.0/24]"
            ),
            8, 40, "spec.dnat[1].port",
            "overlaps 'web' of line 7, which takes tcp self:8010-8020 (IPv4)"),
        .init(
            "forwards of one address",
            forward(
                "name: web, protocol: tcp, destination: \"2001:db8::5\", port: 8001, to: \"[2001:db8::1]:80\"\nname: www, protocol: tcp, destination: 2001:db8:0::5, port: 8001, to: \"[2001:db8::2]:80\""
            ),
            8, 68, "spec.dnat[1].port",
            "overlaps 'web' of line 7, which takes tcp [2001:db8::5]:8001"),
        .init(
            "forward named like a masquerade",
            spec(
                "masquerade: [{name: egress}]\ndnat: [{name: egress, protocol: tcp, port: 8001, to: \"10.0.1.1:80\"}]"),
            7, 17, "spec.dnat[0].name",
            "the name 'egress' is taken by the entry of line 6"),
    ]
}
