// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import CGlibcCompat
import Glibc

/// A network namespace without a name: it lasts as long as this value, whatever ends the process, and with it every device
/// in it and the other end of each of its veth pairs.
final class NetworkNamespace: Sendable {
    private let descriptor: Int32

    private init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// Under which other programs find it while this process lives.
    var path: String { "/proc/\(getpid())/fd/\(descriptor)" }

    /// - Parameter sysctls: values by path below /proc/sys, set before there is any device.
    static func make(sysctls: [(path: String, value: String)]) async throws(KernelError) -> NetworkNamespace {
        try await onNewThread { () throws(KernelError) in
            guard natfleet_new_network() == 0 else { throw KernelError("unshare: \(text(errno))") }
            // Not `self`, which would be the namespace of the process's first thread.
            let descriptor = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw KernelError("/proc/thread-self/ns/net: \(text(errno))") }
            let namespace = NetworkNamespace(descriptor: descriptor)
            for (path, value) in sysctls { try setSysctl(path, value) }
            return namespace
        }
    }

    /// Runs something on a thread that is inside. Sockets that it opens stay inside.
    func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(KernelError) -> Value
    ) async throws(KernelError) -> Value {
        try await onNewThread { () throws(KernelError) in
            guard natfleet_enter_network(self.descriptor) == 0 else { throw KernelError("setns: \(text(errno))") }
            return try body()
        }
    }
}

/// Runs what blocks, or changes its own thread for good, on a thread of its own: one of Swift's pool must do neither.
func onNewThread<Value: Sendable>(
    _ body: @escaping @Sendable () throws(KernelError) -> Value
) async throws(KernelError) -> Value {
    let result: Result<Value, KernelError> = await withCheckedContinuation { continuation in
        let work = ThreadBody {
            do throws(KernelError) {
                continuation.resume(returning: .success(try body()))
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
        if !work.start() { continuation.resume(returning: .failure(KernelError("no thread could be started"))) }
    }
    return try result.get()
}

private final class ThreadBody: Sendable {
    private let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) { self.body = body }

    /// - Returns: false where there is no thread, and the body will not run.
    func start() -> Bool {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self)
        let status = pthread_create(
            &thread, &attributes,
            { context in
                if let context { Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().body() }
                return nil
            },
            context.toOpaque())
        if status != 0 { context.release() }
        return status == 0
    }
}

func text(_ code: Int32) -> String { String(cString: strerror(code)) }
