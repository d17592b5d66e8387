// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NetAddress
import TestSupport
import Testing

@testable import AgentNetlink

/// Bytes to flows and back, and bytes that lie.
struct FlowAttributeTests {
    private static func flows() throws -> [TrackedFlow] {
        let details: [(UInt8, FlowTuple.Detail)] = [
            (6, .ports(source: 4000, destination: 443)), (17, .ports(source: 1, destination: 65535)),
            (1, .icmp(type: 8, code: 0, id: 0xabcd)), (58, .icmp(type: 128, code: 0, id: 1)), (50, .none),
        ]
        let ends = [("10.1.0.10", "198.51.100.7"), ("2001:db8:1::10", "2001:db8:2::7")]
        return try ends.flatMap { source, destination in
            try details.map { number, detail in
                let tuple = FlowTuple(
                    source: try IPAddress(source), destination: try IPAddress(destination), protocolNumber: number,
                    detail: detail)
                let reply = FlowTuple(
                    source: try IPAddress(destination), destination: try IPAddress(source), protocolNumber: number,
                    detail: detail)
                return TrackedFlow(
                    original: tuple, reply: reply, status: [.seenReply, .assured], mark: 0xdead_beef, zone: 7,
                    originalZone: 8, replyZone: 9, id: 0x0102_0304, timeout: 431_999,
                    tcpState: number == 6 ? TrackedFlow.established : nil)
            }
        }
    }

    /// As the kernel writes one (`ctnetlink_fill_info`).
    private static func bytes(_ flow: TrackedFlow) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendOriginal(flow.original, zone: flow.originalZone)
        var reply: [UInt8] = []
        reply.appendOriginal(flow.reply, zone: flow.replyZone)
        // Its type is the original's; CTA_TUPLE_REPLY is the next one.
        reply.replaceSubrange(2..<4, with: withUnsafeBytes(of: UInt16(2 | 1 << 15)) { Array($0) })
        bytes += reply
        bytes.appendAttribute(3) { $0.append(big: flow.status.rawValue) }
        // CTA_PROTOINFO and in it CTA_PROTOINFO_TCP, or another protocol's: state and window scale.
        bytes.appendAttribute(4) { info in
            info.appendAttribute(flow.tcpState == nil ? 2 : 1) { tcp in
                tcp.appendAttribute(1) { $0.append(flow.tcpState ?? 7) }
                tcp.appendAttribute(2) { $0.append(9) }
            }
        }
        bytes.appendAttribute(7) { $0.append(big: flow.timeout) }
        bytes.appendAttribute(8) { $0.append(big: flow.mark) }
        bytes.appendAttribute(12) { $0.append(big: flow.id) }
        bytes.appendAttribute(18) { $0.append(big: flow.zone) }
        return bytes
    }

    @Test(arguments: try flows())
    func flowsSurviveTheirBytes(flow: TrackedFlow) throws {
        #expect(TrackedFlow(attributes: Self.bytes(flow)[...], flow.family) == flow)
        // From the middle of a buffer.
        let padded = [1, 2, 3, 4] + Self.bytes(flow)
        #expect(TrackedFlow(attributes: padded[4...], flow.family) == flow)
        // Addresses of the other family are none.
        #expect(TrackedFlow(attributes: Self.bytes(flow)[...], flow.family == .ipv4 ? .ipv6 : .ipv4) == nil)
    }

    /// Of every length; a flow without a whole tuple is none.
    @Test(arguments: try flows())
    func bytesCutShortAreNoFlowOrTheSame(flow: TrackedFlow) throws {
        let bytes = Self.bytes(flow)
        for length in 0..<bytes.count {
            guard let read = TrackedFlow(attributes: bytes[..<length], flow.family) else { continue }
            #expect((read.original, read.reply) == (flow.original, flow.reply))
        }
    }

    /// No bytes crash or hang the readers: lengths that lie, nesting that never ends, noise.
    @Test func noBytesAreFatal() throws {
        var random = SeededGenerator(seed: 20_261)
        let whole = try Self.flows().map { flow in
            var message: [UInt8] = []
            let payload = [flow.family.familyNumber, 0, 0, 0] + Self.bytes(flow)
            message.append(native: UInt32(16 + payload.count))
            message.append(native: NetfilterType.newFlow)
            message.append(native: UInt16(2))
            message.append(native: UInt32(1))
            message.append(native: UInt32(0))
            return message + payload
        }
        for round in 0..<3_000 {
            var bytes = (0..<Int.random(in: 1...3, using: &random)).flatMap { _ in
                whole.randomElement(using: &random) ?? []
            }
            for _ in 0..<Int.random(in: 0...8, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[index] = UInt8.random(in: .min ... .max, using: &random)
                case 1: bytes[index] = [0, 1, 3, 4, 0x7f, 0x80, 0xff].randomElement(using: &random) ?? 0
                default: bytes = Array(bytes[..<max(1, index)])
                }
            }
            if round.isMultiple(of: 10) { bytes = bytes.map { _ in UInt8.random(in: .min ... .max, using: &random) } }
            var (count, known) = (0, KnownAddresses())
            for message in NetlinkMessages(bytes[...]) {
                count += 1
                _ = message.errorNumber
                _ = InterfaceAddress(message.payload)
                _ = Neighbour(message.payload)
                var news = message
                news.type = RouteType.newAddress
                _ = known.isNews(news)
                for family in IPFamily.allCases { _ = TrackedFlow(attributes: message.payload.dropFirst(4), family) }
            }
            #expect(count <= bytes.count / NetlinkMessage.headerLength, "round \(round)")
        }
    }

    @Test func messagesEndWhereALengthLies() {
        func message(_ length: UInt32, _ payload: [UInt8]) -> [UInt8] {
            var bytes: [UInt8] = []
            bytes.append(native: length)
            bytes.append(native: UInt16(20))
            bytes.append(native: UInt16(0))
            bytes.append(native: UInt32(5))
            bytes.append(native: UInt32(0))
            return bytes + payload
        }
        let good = message(18, [1, 2, 0, 0])
        for (bytes, payloads, isMalformed) in [
            ([], [], false), (good, [[1, 2]], false), (good + good, [[1, 2], [1, 2]], false),
            // The last one need not be padded.
            (message(18, [1, 2]), [[1, 2]], false),
            (message(16, []), [[]], false), (message(15, []), [], true), (message(0, []), [], true),
            (message(.max, []), [], true), (good + message(17, []), [[1, 2]], true), (good + [0], [[1, 2]], true),
        ] as [([UInt8], [[UInt8]], Bool)] {
            var messages = NetlinkMessages(bytes[...])
            var read: [[UInt8]] = []
            while let message = messages.next() { read.append(Array(message.payload)) }
            #expect((read, messages.isMalformed) == (payloads, isMalformed), "\(bytes)")
        }
    }

    @Test func errorsAreNumbersOfErrno() {
        for (bytes, code) in [
            ([], nil), ([0, 0, 0], nil), ([0, 0, 0, 0], 0), ([0xfe, 0xff, 0xff, 0xff], 2), ([0, 0, 0, 0x80], .max),
        ] as [([UInt8], Int32?)] where UInt16(1).littleEndian == 1 {
            let message = NetlinkMessage(type: 2, flags: [], sequence: 1, payload: bytes[...])
            #expect(message.errorNumber == code)
        }
    }

    @Test func onlyChangedAddressesAreNews() throws {
        func message(_ type: UInt16, flags: UInt8, lifetime: UInt32, last: UInt8 = 9) -> NetlinkMessage {
            var payload: [UInt8] = [2, 24, flags, 0]
            payload.append(native: UInt32(3))
            payload.appendAttribute(1) { $0 += [10, 9, 9, last] }
            payload.appendAttribute(2) { $0 += [10, 9, 9, last] }
            payload.appendAttribute(6) { $0.append(native: lifetime) }
            return NetlinkMessage(type: type, flags: [], sequence: 0, payload: payload[...])
        }
        var known = KnownAddresses()
        for (number, (message, expected)) in [
            (message(20, flags: 0, lifetime: 100), true),
            (message(20, flags: 0, lifetime: 90), false),
            (message(20, flags: 0, lifetime: 90, last: 10), true),
            // Deprecated, and not any more.
            (message(20, flags: 0x20, lifetime: 0), true),
            (message(20, flags: 0, lifetime: 100), true),
            (message(21, flags: 0, lifetime: 100), true),
            (message(20, flags: 0, lifetime: 100), true),
            (message(20, flags: 0, lifetime: 100), false),
            // Links and routes are news whatever they say.
            (message(16, flags: 0, lifetime: 100), true),
            (message(16, flags: 0, lifetime: 100), true),
        ].enumerated() {
            let isNews = known.isNews(message)
            #expect(isNews == expected, "\(number)")
        }
        known.forget()
        #expect(known.count == 0)
        // However many there are, they don't pile up.
        for number in 0..<10_000 {
            var payload: [UInt8] = [2, 24, 0, 0]
            payload.append(native: UInt32(number))
            payload.appendAttribute(2) { $0 += [10, 9, 9, 9] }
            let isNews = known.isNews(NetlinkMessage(type: 20, flags: [], sequence: 0, payload: payload[...]))
            #expect(isNews)
        }
        #expect(known.count < 5_000)
    }
}
