// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import NATPolicy
import NetAddress
import Netfilter
import TestSupport
import Testing

/// A client, a router and a server, each in a network namespace of its own.
///
///     client 10.1.0.10, 2001:db8:1::10 --- eth1 router eth0 --- server 198.51.100.7, 2001:db8:2::7
///
/// The router is .1 and ::1 on both sides, forwards and tracks connections. The server answers through it, so untranslated
/// flows get answers too.
struct Netns: Sendable {
    static let programs =
        ["ip", "conntrack", "iptables-nft", "ip6tables-nft", "iptables-legacy"].map { "/usr/sbin/\($0)" }
        + ["/usr/bin/ping"]

    /// What an agent would know of the router.
    static func facts() throws -> HostFacts {
        HostFacts(
            interfaces: [
                .init(
                    name: "eth0",
                    addresses: [
                        .init(try IPAddress("198.51.100.1"), prefixLength: 24),
                        .init(try IPAddress("2001:db8:2::1"), prefixLength: 64),
                    ]),
                .init(
                    name: "eth1",
                    addresses: [
                        .init(try IPAddress("10.1.0.1"), prefixLength: 24),
                        .init(try IPAddress("2001:db8:1::1"), prefixLength: 64),
                    ]),
            ],
            routes: [
                .init(destination: .everything(.ipv4), interface: "eth0", gateway: try IPAddress("198.51.100.7")),
                .init(destination: .everything(.ipv6), interface: "eth0", gateway: try IPAddress("2001:db8:2::7")),
            ],
            iptables: .init(backend: .nft, version: "1.8.9"))
    }

    private let prefix = "natfleet-\(UUID().uuidString.prefix(8))"

    static func canRun() async -> Bool {
        guard getuid() == 0 else { return KernelSuite.isRequired }
        return await KernelSuite.canRun(programs)
    }

    /// Runs `body` with the three of them there.
    static func with(_ body: (Netns) async throws -> Void) async throws {
        let net = Netns()
        let result: Result<Void, any Error>
        do {
            try await net.setUp()
            result = .success(try await body(net))
        } catch {
            result = .failure(error)
        }
        try await net.shell(
            ["client", "router", "server"].map { "ip netns delete \(net.name($0))" }.joined(separator: "\n"))
        try result.get()
    }

    private func setUp() async throws {
        let (client, router, server) = (name("client"), name("router"), name("server"))
        try await shell(
            """
            for host in \(client) \(router) \(server); do
                ip netns add $host
                ip -n $host link set lo up
                ip netns exec $host sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
                # So that a connection stays begun: a refusal would end its entry.
                for program in iptables-nft ip6tables-nft; do
                    ip netns exec $host $program -A INPUT -p tcp -j DROP
                done
            done
            ip -n \(router) link add eth1 type veth peer name eth0 netns \(client)
            ip -n \(router) link add eth0 type veth peer name eth0 netns \(server)
            ip -n \(router) address add 10.1.0.1/24 dev eth1
            ip -n \(router) address add 198.51.100.1/24 dev eth0
            ip -n \(router) address add 2001:db8:1::1/64 dev eth1 nodad
            ip -n \(router) address add 2001:db8:2::1/64 dev eth0 nodad
            ip -n \(client) address add 10.1.0.10/24 dev eth0
            ip -n \(client) address add 2001:db8:1::10/64 dev eth0 nodad
            ip -n \(server) address add 198.51.100.7/24 dev eth0
            ip -n \(server) address add 2001:db8:2::7/64 dev eth0 nodad
            for link in "\(router) eth0" "\(router) eth1" "\(client) eth0" "\(server) eth0"; do
                set -- $link
                ip -n $1 link set $2 up
            done
            ip -n \(client) route add default via 10.1.0.1
            ip -n \(client) route add default via 2001:db8:1::1
            ip -n \(server) route add default via 198.51.100.1
            ip -n \(server) route add default via 2001:db8:2::1
            ip -n \(router) route add default via 198.51.100.7
            ip -n \(router) route add default via 2001:db8:2::7
            ip netns exec \(router) sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
            for program in iptables-nft ip6tables-nft; do
                ip netns exec \(router) $program -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT
            done
            """)
    }

    private func name(_ host: String) -> String { "\(prefix)-\(host)" }

    func path(_ host: String) -> String { "/run/netns/\(name(host))" }

    /// Runs a script in a host's network, and returns what it prints.
    @discardableResult func run(_ host: String, _ script: String) async throws -> String {
        try await shell(script, "/usr/sbin/ip", ["netns", "exec", name(host), "/bin/bash", "-e"])
    }

    @discardableResult private func shell(
        _ script: String, _ program: String = "/bin/bash", _ arguments: [String] = ["-e"]
    ) async throws -> String {
        let result = try await runProgram(program, arguments, input: script)
        #expect(result.succeeded, "\(script): \(result.output)\(result.errors)")
        return result.output
    }

    /// Loads the way from one ruleset to another one in the router.
    func load(from before: Ruleset, to after: Ruleset) async throws {
        for family in IPFamily.allCases {
            for step in plan(from: before[family].ownedState, to: after[family].ownedState).steps {
                try await run(
                    "router",
                    "ip\(family == .ipv4 ? "" : "6")tables-nft-restore --noflush <<'EOF'\n\(step.text)EOF\n")
            }
        }
    }

    /// Runs `body` on a thread that is in a host's network.
    func inside<Value: Sendable>(
        _ host: String, _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        let path = path(host)
        return try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(
                    with: Result {
                        try enterNetwork(path)
                        return try body()
                    })
            }
        }
    }

    /// Begins a connection from a host, which nobody has to answer.
    func begin(_ host: String, _ transport: TransportProtocol, from source: String, to destination: String) async throws
    {
        let (source, destination) = (try Endpoint(source), try Endpoint(destination))
        try await inside(host) {
            let kind = transport == .tcp ? SOCK_STREAM : SOCK_DGRAM
            let family = source.address.family == .ipv4 ? AF_INET : AF_INET6
            let descriptor = socket(family, Int32(kind.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
            defer { close(descriptor) }
            try withSocketAddress(source) { try check(bind(descriptor, $0, $1)) }
            try withSocketAddress(destination) {
                if connect(descriptor, $0, $1) != 0, errno != EINPROGRESS { try check(-1) }
            }
            if transport == .udp {
                try check(Int32(send(descriptor, "x", 1, 0)))
            }
        }
    }
}

private struct SystemCallFailed: Error {
    let code = errno
}

private func check(_ status: Int32) throws {
    if status < 0 { throw SystemCallFailed() }
}

/// setns(2), which Swift's Glibc module does not show.
private func enterNetwork(_ path: String) throws {
    typealias Function = @convention(c) (CInt, CInt) -> CInt
    let symbol = try #require(dlsym(nil, "setns"))
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    defer { close(descriptor) }
    // linux/sched.h: CLONE_NEWNET.
    try check(unsafeBitCast(symbol, to: Function.self)(descriptor, 0x4000_0000))
}

private func withSocketAddress(
    _ endpoint: Endpoint, _ body: (UnsafePointer<sockaddr>, socklen_t) throws -> Void
) throws {
    let port = endpoint.ports.first.bigEndian
    switch endpoint.address.family {
    case .ipv4:
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port
        address.sin_addr.s_addr = UInt32(truncatingIfNeeded: endpoint.address.bits).bigEndian
        try withUnsafeBytes(of: &address) { bytes in
            try body(try #require(bytes.baseAddress).assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
        }
    case .ipv6:
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = port
        withUnsafeMutableBytes(of: &address.sin6_addr) {
            $0.storeBytes(of: endpoint.address.bits.bigEndian, as: UInt128.self)
        }
        try withUnsafeBytes(of: &address) { bytes in
            try body(try #require(bytes.baseAddress).assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
        }
    }
}
