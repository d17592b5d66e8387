// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import NIOCore
import NIOSSL
import Synchronization

/// TLS of the server: whoever connects may show a certificate or none; what the server shows can change while it runs.
final class ServerTLS: Sendable {
    private let source: any ServerCertificate
    private let override: Mutex<NIOSSLContextConfigurationOverride>

    init(_ source: any ServerCertificate) throws {
        self.source = source
        self.override = Mutex(try Self.load(source.current))
    }

    /// Handshakes from now on show the current certificate.
    func reload() throws {
        let fresh = try Self.load(source.current)
        override.withLock { $0 = fresh }
    }

    var configuration: TLSConfiguration {
        get throws {
            let pair = try Self.parse(source.current)
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: [.certificate(pair.certificate)], privateKey: .privateKey(pair.key))
            configuration.minimumTLSVersion = .tlsv12
            configuration.certificateVerification = .optionalVerification
            // How long a peer that does not answer the goodbye of TLS holds up the controller's stop.
            configuration.shutdownTimeout = .milliseconds(500)
            configuration.sslContextCallback = { [self] _, promise in
                promise.succeed(override.withLock { $0 })
            }
            return configuration
        }
    }

    private static func load(_ pair: ServerKeyPair) throws -> NIOSSLContextConfigurationOverride {
        let parsed = try parse(pair)
        var override = NIOSSLContextConfigurationOverride()
        override.certificateChain = [.certificate(parsed.certificate)]
        override.privateKey = .privateKey(parsed.key)
        return override
    }

    private static func parse(_ pair: ServerKeyPair) throws -> (certificate: NIOSSLCertificate, key: NIOSSLPrivateKey) {
        (
            try NIOSSLCertificate(bytes: Array(pair.certificatePEM.utf8), format: .pem),
            try NIOSSLPrivateKey(bytes: Array(pair.keyPEM.utf8), format: .pem)
        )
    }
}
