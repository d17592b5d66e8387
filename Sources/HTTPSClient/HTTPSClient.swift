// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// The project's one HTTPS client, over the distribution's libcurl.
///
/// Goals: bounded in time and size, trusts exactly what it was given, ends at once when its task is cancelled, links no
/// Foundation. Approach: a thread per client drives a curl multi handle, so that no blocking call ever sits on Swift's
/// pool; requests reach it through a queue and may overlap. HTTP/1.1 only, no redirects, no proxy, TLS 1.2 or later.
///
/// Connections are kept and reused by later requests of the same client. The thread ends with the last copy of the
/// client. A client whose certificate was renewed is replaced by a new one.
package struct HTTPSClient: Sendable {
    package enum Trust: Hashable, Sendable {
        /// These certificates (PEM, one or several) and nothing of the machine's own; the host, name or IP address, must
        /// stand in the server's certificate.
        case authorities(pem: String)
        /// Whoever answers: only for fetching the CA bundle, which the caller then checks against a known hash.
        case unverified
    }

    package struct ClientIdentity: Hashable, Sendable {
        /// The certificate, then its chain if any.
        package var certificatePEM: String
        package var keyPEM: String

        package init(certificatePEM: String, keyPEM: String) {
            self.certificatePEM = certificatePEM
            self.keyPEM = keyPEM
        }
    }

    package struct Configuration: Sendable {
        package var trust: Trust
        package var clientIdentity: ClientIdentity?
        /// Name look-up, TCP and TLS handshake together.
        package var connectTimeout: Duration
        package var userAgent: String
        /// A longer body ends the transfer with `tooLarge`.
        package var maxResponseBytes: Int

        package init(
            trust: Trust,
            clientIdentity: ClientIdentity? = nil,
            connectTimeout: Duration = .seconds(10),
            userAgent: String = "natfleet",
            maxResponseBytes: Int = 16 << 20
        ) {
            self.trust = trust
            self.clientIdentity = clientIdentity
            self.connectTimeout = connectTimeout
            self.userAgent = userAgent
            self.maxResponseBytes = maxResponseBytes
        }
    }

    package enum Method: String, Sendable {
        case get = "GET"
        case post = "POST"
        case delete = "DELETE"
    }

    package struct Request: Sendable {
        package var method: Method
        /// Begins with `https://`.
        package var url: String
        package var headers: [(name: String, value: String)]
        package var body: [UInt8]?
        /// For the whole exchange, connecting included.
        package var timeout: Duration

        package init(
            _ method: Method = .get,
            url: String,
            headers: [(name: String, value: String)] = [],
            body: [UInt8]? = nil,
            timeout: Duration = .seconds(30)
        ) {
            self.method = method
            self.url = url
            self.headers = headers
            self.body = body
            self.timeout = timeout
        }
    }

    package struct Response: Sendable {
        package var status: Int
        /// By lower-case name; the values of a repeated header are joined with `, `.
        package var headers: [String: String]
        package var body: [UInt8]

        package init(status: Int, headers: [String: String] = [:], body: [UInt8] = []) {
            self.status = status
            self.headers = headers
            self.body = body
        }

        /// When the server wrote the answer, by its clock: `Date` in seconds since 1970; nil when absent or malformed.
        package var date: Double? { headers["date"].flatMap(HTTPDate.init).map { Double($0.seconds) } }

        /// `Retry-After` in seconds; nil when absent or given as a date.
        package var retryAfter: Int? {
            headers["retry-after"].flatMap { Int($0) }.flatMap { $0 >= 0 ? $0 : nil }
        }
    }

    private let lifeline: Lifeline

    package init(_ configuration: Configuration) {
        lifeline = Lifeline(Worker(configuration))
    }

    /// Sends a request and waits for the whole answer, whatever its status. Cancelling the task ends the transfer at once.
    package func send(_ request: Request) async throws(TransportError) -> Response {
        let lifeline = lifeline
        let id = lifeline.worker.nextID()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                lifeline.worker.submit(Worker.Job(id: id, request: request, continuation: continuation))
            }
        } onCancel: {
            lifeline.worker.cancel(id)
        }
        lifeline.worker.forget(id)
        return try result.get()
    }

    /// Ends the worker's thread when the last copy of the client is gone; a running `send` keeps it.
    private final class Lifeline: Sendable {
        let worker: Worker

        init(_ worker: Worker) { self.worker = worker }

        deinit { worker.stop() }
    }
}
