// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import CLibcurl

/// One request on its way: an easy handle, what curl must be able to read meanwhile, and what has come back so far.
final class Transfer {
    let job: Worker.Job
    let handle: UnsafeMutableRawPointer

    private let maxBodyBytes: Int
    private let errorText: UnsafeMutablePointer<CChar>
    private var requestHeaders: UnsafeMutablePointer<curl_slist>?
    private var response = HTTPSClient.Response(status: 0)
    private var headerBytes = 0
    private var isTooLarge = false

    private static let maxHeaderBytes = 64 << 10

    init(_ job: Worker.Job, _ configuration: HTTPSClient.Configuration) throws(TransportError) {
        guard let handle = curl_easy_init() else { throw TransportError(.other, "libcurl is out of memory") }
        self.job = job
        self.handle = handle
        maxBodyBytes = configuration.maxResponseBytes
        errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
        errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        try setConnection(configuration)
        try setTrust(configuration)
        try setRequest(job.request)
        try setCallbacks()
    }

    deinit {
        curl_easy_cleanup(handle)
        curl_slist_free_all(requestHeaders)
        errorText.deallocate()
    }

    /// What came of it, from what curl says of the finished transfer.
    func result(_ code: CURLcode) -> Result<HTTPSClient.Response, TransportError> {
        if isTooLarge {
            return .failure(TransportError(.tooLarge, "the answer is longer than \(maxBodyBytes) bytes"))
        }
        guard code == CURLE_OK else {
            return .failure(TransportError(code, detail: String(cString: errorText)))
        }
        var status = 0
        natfleet_curl_get_long(handle, CURLINFO_RESPONSE_CODE, &status)
        response.status = status
        return .success(response)
    }

    // MARK: Options

    private func setConnection(_ configuration: HTTPSClient.Configuration) throws(TransportError) {
        try set(CURLOPT_NOSIGNAL, 1)
        try set(CURLOPT_NOPROXY, "*")
        try set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        try set(CURLOPT_FOLLOWLOCATION, 0)
        try set(CURLOPT_TCP_KEEPALIVE, 1)
        try set(CURLOPT_CONNECTTIMEOUT_MS, configuration.connectTimeout.milliseconds)
        try set(CURLOPT_USERAGENT, configuration.userAgent)
        try check(natfleet_curl_set_pointer(handle, CURLOPT_ERRORBUFFER, errorText))
    }

    private func setTrust(_ configuration: HTTPSClient.Configuration) throws(TransportError) {
        try set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        // The distribution's own authorities are no authority for a fleet; CAINFO_BLOB alone leaves CAPATH trusted.
        try check(natfleet_curl_set_pointer(handle, CURLOPT_CAINFO, nil))
        try check(natfleet_curl_set_pointer(handle, CURLOPT_CAPATH, nil))
        switch configuration.trust {
        case .authorities(let pem):
            try set(CURLOPT_SSL_VERIFYPEER, 1)
            try set(CURLOPT_SSL_VERIFYHOST, 2)
            try setBlob(CURLOPT_CAINFO_BLOB, pem)
        case .unverified:
            try set(CURLOPT_SSL_VERIFYPEER, 0)
            try set(CURLOPT_SSL_VERIFYHOST, 0)
        }
        guard let identity = configuration.clientIdentity else { return }
        try set(CURLOPT_SSLCERTTYPE, "PEM")
        try setBlob(CURLOPT_SSLCERT_BLOB, identity.certificatePEM)
        try set(CURLOPT_SSLKEYTYPE, "PEM")
        try setBlob(CURLOPT_SSLKEY_BLOB, identity.keyPEM)
    }

    private func setRequest(_ request: HTTPSClient.Request) throws(TransportError) {
        guard request.url.hasPrefix("https://") else {
            throw TransportError(.other, "'\(request.url)' does not begin with https://")
        }
        try set(CURLOPT_URL, request.url)
        // A name in the path is the server's to judge, `..` too.
        try set(CURLOPT_PATH_AS_IS, 1)
        try set(CURLOPT_TIMEOUT_MS, request.timeout.milliseconds)
        // curl would hold a body back for a second, waiting for "100 Continue".
        for (name, value) in request.headers + [("Expect", "")] {
            guard !"\(name)\(value)".utf8.contains(where: { $0 < 0x20 || $0 == 0x7f }) else {
                throw TransportError(.other, "header '\(name)' holds a control character")
            }
            requestHeaders = curl_slist_append(requestHeaders, value.isEmpty ? "\(name):" : "\(name): \(value)")
        }
        try check(natfleet_curl_set_pointer(handle, CURLOPT_HTTPHEADER, requestHeaders))
        switch request.method {
        case .get: try set(CURLOPT_HTTPGET, 1)
        case .post: try setBody(request.body ?? [])
        case .delete: if let body = request.body { try setBody(body) }
        }
        try set(CURLOPT_CUSTOMREQUEST, request.method.rawValue)
    }

    private func setBody(_ body: [UInt8]) throws(TransportError) {
        try set(CURLOPT_POST, 1)
        try set(CURLOPT_POSTFIELDSIZE, body.count)
        // An empty array may have no address, and without one curl would read standard input.
        let status = body.withUnsafeBytes { bytes in
            bytes.isEmpty
                ? natfleet_curl_set_pointer(handle, CURLOPT_COPYPOSTFIELDS, "")
                : natfleet_curl_set_pointer(handle, CURLOPT_COPYPOSTFIELDS, bytes.baseAddress)
        }
        try check(status)
    }

    private func setCallbacks() throws(TransportError) {
        let context = Unmanaged.passUnretained(self).toOpaque()
        try check(natfleet_curl_set_pointer(handle, CURLOPT_WRITEDATA, context))
        try check(
            natfleet_curl_set_write(handle, CURLOPT_WRITEFUNCTION) { data, size, count, context in
                guard let data, let context else { return 0 }
                let bytes = UnsafeRawBufferPointer(start: data, count: size * count)
                return Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue().receive(body: bytes)
            })
        try check(natfleet_curl_set_pointer(handle, CURLOPT_HEADERDATA, context))
        try check(
            natfleet_curl_set_write(handle, CURLOPT_HEADERFUNCTION) { data, size, count, context in
                guard let data, let context else { return 0 }
                let bytes = UnsafeRawBufferPointer(start: data, count: size * count)
                return Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue().receive(header: bytes)
            })
    }

    // MARK: Callbacks: the number of bytes taken; another number ends the transfer

    private func receive(body bytes: UnsafeRawBufferPointer) -> Int {
        guard response.body.count + bytes.count <= maxBodyBytes else {
            isTooLarge = true
            return 0
        }
        response.body.append(contentsOf: bytes)
        return bytes.count
    }

    private func receive(header bytes: UnsafeRawBufferPointer) -> Int {
        headerBytes += bytes.count
        guard headerBytes <= Transfer.maxHeaderBytes else {
            isTooLarge = true
            return 0
        }
        let line = String(decoding: bytes, as: UTF8.self)
        if line.hasPrefix("HTTP/") {
            // A new head: what came before was an interim answer.
            response.headers = [:]
        } else if let colon = line.firstIndex(of: ":") {
            let name = line[..<colon].lowercased()
            let value = String(line[line.index(after: colon)...].trimmed)
            response.headers[name] = response.headers[name].map { "\($0), \(value)" } ?? value
        }
        return bytes.count
    }

    // MARK: Setting one option

    private func set(_ option: CURLoption, _ value: Int) throws(TransportError) {
        try check(natfleet_curl_set_long(handle, option, value))
    }

    private func set(_ option: CURLoption, _ value: String) throws(TransportError) {
        try check(natfleet_curl_set_pointer(handle, option, value))
    }

    private func setBlob(_ option: CURLoption, _ text: String) throws(TransportError) {
        let bytes = Array(text.utf8)
        try check(natfleet_curl_set_blob(handle, option, bytes, bytes.count))
    }

    private func check(_ status: CURLcode) throws(TransportError) {
        guard status == CURLE_OK else { throw TransportError(status, detail: "") }
    }
}

extension Duration {
    /// From 1, since curl reads 0 as no limit, to a day.
    fileprivate var milliseconds: Int {
        let (seconds, attoseconds) = min(self, .seconds(86_400)).components
        return max(1, Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000))
    }
}

extension Substring {
    fileprivate var trimmed: Substring {
        guard let start = firstIndex(where: { !$0.isWhitespace }), let end = lastIndex(where: { !$0.isWhitespace })
        else { return "" }
        return self[start...end]
    }
}
