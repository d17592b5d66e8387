// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import CLibcurl
internal import DetachedThread
internal import Glibc
internal import Synchronization

/// The thread of one client and the queue that feeds it.
///
/// Everything of curl's is touched by the thread alone; callers write to the inbox and wake it.
// @unchecked: `multi` is a raw pointer. Off the thread it is only given to curl_multi_wakeup, which is made for that, and
// never after `stop`; all else is immutable or in the mutex.
final class Worker: @unchecked Sendable {
    struct Job: Sendable {
        let id: UInt64
        let request: HTTPSClient.Request
        let continuation: CheckedContinuation<Result<HTTPSClient.Response, TransportError>, Never>
    }

    private struct Inbox {
        var lastID: UInt64 = 0
        var jobs: [Job] = []
        /// Kept until `forget`, so that a cancellation that overtakes its own job is not lost.
        var cancelled: Set<UInt64> = []
        var isRunning = false
        var isStopping = false
    }

    private let configuration: HTTPSClient.Configuration
    private let multi: UnsafeMutableRawPointer
    private let inbox = Mutex(Inbox())

    private static let globalInit: CURLcode = curl_global_init(Int(CURL_GLOBAL_DEFAULT))

    init(_ configuration: HTTPSClient.Configuration) {
        guard Worker.globalInit == CURLE_OK, let multi = curl_multi_init() else {
            fatalError("libcurl could not be started: out of memory")
        }
        self.configuration = configuration
        self.multi = multi
    }

    deinit { _ = withoutBrokenPipeSignal { curl_multi_cleanup(multi) } }

    func nextID() -> UInt64 {
        inbox.withLock { inbox in
            inbox.lastID += 1
            return inbox.lastID
        }
    }

    func submit(_ job: Job) {
        let isRunning = inbox.withLock { inbox in
            if !inbox.isRunning { inbox.isRunning = startDetachedThread { self.run() } == 0 }
            if inbox.isRunning { inbox.jobs.append(job) }
            return inbox.isRunning
        }
        if isRunning {
            curl_multi_wakeup(multi)
        } else {
            job.continuation.resume(returning: .failure(TransportError(.other, "no thread could be started")))
        }
    }

    func cancel(_ id: UInt64) {
        _ = inbox.withLock { $0.cancelled.insert(id) }
        curl_multi_wakeup(multi)
    }

    func forget(_ id: UInt64) {
        _ = inbox.withLock { $0.cancelled.remove(id) }
    }

    /// Nothing may be called afterwards; the thread holds the last reference until it ends.
    func stop() {
        inbox.withLock { $0.isStopping = true }
        curl_multi_wakeup(multi)
    }

    private func run() {
        var transfers: [UnsafeMutableRawPointer: Transfer] = [:]
        while takeInbox(&transfers) {
            var running: Int32 = 0
            var status = withoutBrokenPipeSignal { curl_multi_perform(multi, &running) }
            finishDone(&transfers)
            // Woken by the inbox; the time limit is only so that nothing can be waited for without end.
            if status == CURLM_OK { status = curl_multi_poll(multi, nil, 0, 60_000, nil) }
            if status != CURLM_OK {
                let error = TransportError(.other, String(cString: curl_multi_strerror(status)))
                for transfer in transfers.values { finish(transfer, .failure(error), &transfers) }
            }
        }
    }

    /// Starts what is new and ends what was cancelled; false when the thread has to end.
    private func takeInbox(_ transfers: inout [UnsafeMutableRawPointer: Transfer]) -> Bool {
        let (jobs, cancelled, isStopping) = inbox.withLock { inbox in
            defer { inbox.jobs = [] }
            return (inbox.jobs, inbox.cancelled, inbox.isStopping)
        }
        for job in jobs {
            do throws(TransportError) {
                let transfer = try Transfer(job, configuration)
                curl_multi_add_handle(multi, transfer.handle)
                transfers[transfer.handle] = transfer
            } catch {
                job.continuation.resume(returning: .failure(error))
            }
        }
        for transfer in transfers.values where isStopping || cancelled.contains(transfer.job.id) {
            finish(transfer, .failure(.cancelled), &transfers)
        }
        return !isStopping
    }

    private func finishDone(_ transfers: inout [UnsafeMutableRawPointer: Transfer]) {
        var left: Int32 = 0
        while let message = curl_multi_info_read(multi, &left)?.pointee {
            guard message.msg == CURLMSG_DONE, let transfer = transfers[message.easy_handle] else { continue }
            finish(transfer, transfer.result(message.data.result), &transfers)
        }
    }

    private func finish(
        _ transfer: Transfer,
        _ result: Result<HTTPSClient.Response, TransportError>,
        _ transfers: inout [UnsafeMutableRawPointer: Transfer]
    ) {
        _ = withoutBrokenPipeSignal { curl_multi_remove_handle(multi, transfer.handle) }
        transfers[transfer.handle] = nil
        transfer.job.continuation.resume(returning: result)
    }
}

/// CURLOPT_NOSIGNAL leaves SIGPIPE to us: TLS writes to connections that the other side has closed. It is blocked only
/// around such calls and taken away again, since threads and programs started later would inherit a lasting mask.
private func withoutBrokenPipeSignal<Result>(_ body: () -> Result) -> Result {
    var brokenPipe = sigset_t()
    sigemptyset(&brokenPipe)
    sigaddset(&brokenPipe, SIGPIPE)
    var before = sigset_t()
    pthread_sigmask(SIG_BLOCK, &brokenPipe, &before)
    defer {
        var noWait = timespec()
        while sigtimedwait(&brokenPipe, nil, &noWait) == SIGPIPE {}
        pthread_sigmask(SIG_SETMASK, &before, nil)
    }
    return body()
}
