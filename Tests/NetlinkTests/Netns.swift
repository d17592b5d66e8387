// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import TestSupport
import Testing

/// A client, a router and a server, each in a network namespace of its own, gone when this is.
///
///     client 10.1.0.10, 2001:db8:1::10 --- eth1 router eth0 --- server 198.51.100.7, 2001:db8:2::7
///
/// The router is .1 and ::1 on both sides and forwards; the server knows no way back to the client's network but through
/// the router, so that untranslated flows get answers too.
final class Netns: Sendable {
    static let programs = [
        "/usr/sbin/ip", "/usr/sbin/conntrack", "/usr/sbin/iptables-nft", "/usr/sbin/ip6tables-nft", "/usr/bin/python3",
    ]

    private let prefix = "natfleet-\(UUID().uuidString.prefix(8))"

    static func canRun() async -> Bool {
        guard getuid() == 0 else { return KernelSuite.isRequired }
        return await KernelSuite.canRun(programs)
    }

    init() async throws {
        let (client, router, server) = (name("client"), name("router"), name("server"))
        try await shell(
            """
            set -e
            for host in \(client) \(router) \(server); do
                ip netns add $host
                ip -n $host link set lo up
                ip netns exec $host sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
            done
            ip -n \(router) link add eth1 type veth peer name eth0 netns \(client)
            ip -n \(router) link add eth0 type veth peer name eth0 netns \(server)
            ip -n \(router) link set eth0 up; ip -n \(router) link set eth1 up
            ip -n \(client) link set eth0 up; ip -n \(server) link set eth0 up
            ip -n \(router) address add 10.1.0.1/24 dev eth1
            ip -n \(router) address add 198.51.100.1/24 dev eth0
            ip -n \(router) address add 2001:db8:1::1/64 dev eth1 nodad
            ip -n \(router) address add 2001:db8:2::1/64 dev eth0 nodad
            ip -n \(client) address add 10.1.0.10/24 dev eth0
            ip -n \(client) address add 2001:db8:1::10/64 dev eth0 nodad
            ip -n \(server) address add 198.51.100.7/24 dev eth0
            ip -n \(server) address add 2001:db8:2::7/64 dev eth0 nodad
            for family in -4 -6; do
                ip $family -n \(client) route add default via $([ $family = -4 ] && echo 10.1.0.1 || echo 2001:db8:1::1)
                ip $family -n \(server) route add default via $([ $family = -4 ] && echo 198.51.100.1 || echo 2001:db8:2::1)
            done
            ip netns exec \(router) sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
            """)
    }

    deinit {
        let names = ["client", "router", "server"].map(name)
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = ["-c", names.map { "ip netns delete \($0)" }.joined(separator: ";")]
        try? process.run()
    }

    private func name(_ host: String) -> String { "\(prefix)-\(host)" }

    /// Runs a script in a host's network, and returns what it prints.
    @discardableResult func run(_ host: String, _ script: String) async throws -> String {
        try await shell("exec ip netns exec \(name(host)) sh -ec '\(script)'")
    }

    @discardableResult private func shell(_ script: String) async throws -> String {
        let result = try await runProgram("/bin/sh", ["-c", script])
        #expect(result.succeeded, "\(script): \(result.output)\(result.errors)")
        return result.output
    }

    /// Runs `body` on a thread that is in a host's network.
    func inside<Value: Sendable>(_ host: String, _ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        let path = "/run/netns/\(name(host))"
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
}

private struct NoNetwork: Error {}

/// setns(2), which Swift's Glibc module does not show.
private func enterNetwork(_ path: String) throws {
    typealias Function = @convention(c) (CInt, CInt) -> CInt
    guard let symbol = dlsym(nil, "setns") else { throw NoNetwork() }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    defer { close(descriptor) }
    // linux/sched.h: CLONE_NEWNET.
    guard unsafeBitCast(symbol, to: Function.self)(descriptor, 0x4000_0000) == 0 else { throw NoNetwork() }
}
