// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import CGlibcCompat
import DetachedThread
import Glibc

/// A network namespace without a name: it lasts as long as this value, whatever ends the process, and with it every device
/// in it and the other end of each of its veth pairs.
final class NetworkNamespace: Sendable {
    /// Open while this value lives.
    let descriptor: Int32

    private init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

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

/// Waits for what runs on a thread of its own.
func onNewThread<Value: Sendable>(
    _ body: @escaping @Sendable () throws(KernelError) -> Value
) async throws(KernelError) -> Value {
    let result: Result<Value, KernelError> = await withCheckedContinuation { continuation in
        let status = startDetachedThread {
            do throws(KernelError) {
                continuation.resume(returning: .success(try body()))
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
        if status != 0 {
            continuation.resume(returning: .failure(KernelError("no thread could be started: \(text(status))")))
        }
    }
    return try result.get()
}

func text(_ code: Int32) -> String { String(cString: strerror(code)) }
