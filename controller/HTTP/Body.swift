// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Hummingbird
import NIOCore
import NetAddress
import ServiceLifecycle

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// How much of a body is read, and how long that may take.
package struct BodyLimit: Hashable, Sendable {
    package var bytes: Int
    package var time: Duration

    package init(bytes: Int, time: Duration) {
        self.bytes = bytes
        self.time = time
    }

    /// Agents and small operator calls.
    package static let small = BodyLimit(bytes: 256 * 1024, time: .seconds(10))
    /// Policy files.
    package static let files = BodyLimit(bytes: 16 * 1024 * 1024, time: .seconds(30))
}

extension Request {
    /// The body as a value of the wire.
    ///
    /// - Throws: `FleetError` bodyTooLarge, bodyTimeout, unavailable while the controller stops, badRequest saying what
    ///   in the JSON is wrong.
    func decode<Value: Decodable>(_ type: Value.Type = Value.self, limit: BodyLimit) async throws -> Value {
        let bytes = try await read(limit)
        do {
            return try WireJSON.decode(type, from: Data(bytes.readableBytesView))
        } catch {
            throw FleetError(.badRequest, explain(error), remedy: "send the JSON that docs/api.md shows")
        }
    }

    private func read(_ limit: BodyLimit) async throws -> ByteBuffer {
        let large = FleetError(
            .bodyTooLarge, "the body is larger than \(limit.bytes) bytes", remedy: "send less at once")
        if let length = headers[.contentLength].flatMap({ Int($0) }), length > limit.bytes { throw large }
        let body = self.body
        do {
            return try await cancelWhenGracefulShutdown {
                try await withThrowingTaskGroup(of: ByteBuffer?.self) { group in
                    group.addTask { try await body.collect(upTo: limit.bytes) }
                    group.addTask {
                        try await Task.sleep(for: limit.time)
                        return nil
                    }
                    defer { group.cancelAll() }
                    guard let first = try await group.next(), let bytes = first else {
                        throw FleetError(
                            .bodyTimeout, "the body did not arrive within \(limit.time.components.seconds) s",
                            remedy: "send it at once")
                    }
                    return bytes
                }
            }
        } catch is NIOTooManyBytesError {
            throw large
        } catch is CancellationError {
            throw FleetError(.unavailable, "the controller stops", remedy: "try again in a few seconds")
        }
    }
}

private func explain(_ error: any Error) -> String {
    guard let error = error as? DecodingError else {
        return (error as? AddressError)?.message ?? "the body is not understood: \(error)"
    }
    func place(_ path: [any CodingKey]) -> String {
        path.map { key in key.intValue.map { "[\($0)]" } ?? key.stringValue }.joined(separator: ".")
    }
    switch error {
    case .keyNotFound(let key, let context):
        return "'\(place(context.codingPath + [key]))' is missing"
    case .typeMismatch(let type, let context):
        return "'\(place(context.codingPath))' is not of type \(type)"
    case .valueNotFound(_, let context):
        return "'\(place(context.codingPath))' is null"
    case .dataCorrupted(let context) where context.codingPath.isEmpty:
        return "the body is not valid JSON"
    case .dataCorrupted(let context):
        return "'\(place(context.codingPath))': \(context.debugDescription)"
    @unknown default:
        return "the body is not understood"
    }
}
