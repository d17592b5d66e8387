// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import CLibcurl

/// Why there is no answer.
package struct TransportError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Code: String, CaseIterable, Hashable, Sendable {
        /// The host has no address.
        case unresolved
        /// Nobody listens, or no way there.
        case unreachable
        case timedOut
        /// The server's certificate is not of a trusted authority, or is for another host, or not valid now.
        case untrusted
        /// The TLS handshake failed otherwise, or our own certificate cannot be used.
        case tls
        /// The connection ended before the answer did. A server that refuses a client certificate shows like this too.
        case interrupted
        case tooLarge
        case cancelled
        case other
    }

    package var code: Code
    /// curl's own words, else ours; lower case or not as curl has it, without a final period.
    package var message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { message }

    static let cancelled = TransportError(.cancelled, "the request was cancelled")

    /// What curl returned for a transfer, with its error buffer where it left something there.
    init(_ result: CURLcode, detail: String) {
        self.init(Code(result), detail.isEmpty ? String(cString: curl_easy_strerror(result)) : detail)
    }
}

extension TransportError.Code {
    fileprivate init(_ result: CURLcode) {
        switch result {
        case CURLE_COULDNT_RESOLVE_HOST: self = .unresolved
        case CURLE_COULDNT_CONNECT: self = .unreachable
        case CURLE_OPERATION_TIMEDOUT: self = .timedOut
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_ISSUER_ERROR: self = .untrusted
        case CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER, CURLE_SSL_CACERT_BADFILE,
            CURLE_SSL_CLIENTCERT:
            self = .tls
        case CURLE_GOT_NOTHING, CURLE_RECV_ERROR, CURLE_SEND_ERROR, CURLE_PARTIAL_FILE: self = .interrupted
        case CURLE_FILESIZE_EXCEEDED: self = .tooLarge
        default: self = .other
        }
    }
}
