// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import ControllerCore
import FleetModel
package import Hummingbird
import HummingbirdTLS
package import Logging
import NIOCore
import NIOSSL
import ServiceLifecycle

/// Where the controller listens.
package struct ListenAddress: Hashable, Sendable, CustomStringConvertible {
    package var host: String
    package var port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// As in a URL: `127.0.0.1:8443`, `[::1]:8443`.
    package var description: String { "\(host.contains(":") ? "[\(host)]" : host):\(port)" }
}

/// The controller's HTTPS server, with what has to run beside it.
///
/// On graceful shutdown the held check-ins are answered first, then connections close, then last-seen times are stored.
///
/// - Parameters:
///   - renewalInterval: how often the certificate is looked at.
///   - started: called once with the port that was bound.
package func fleetServer(
    _ fleet: Fleet, certificate: any ServerCertificate, listen: ListenAddress, limits: BodyLimits = BodyLimits(),
    renewalInterval: Duration = .seconds(3600), meter: RequestMeter = RequestMeter(), logger: Logger,
    started: @escaping @Sendable (Int) async -> Void = { _ in }
) throws -> some ApplicationProtocol {
    let tls = try ServerTLS(certificate)
    // The library tells of starts and connections at info; the controller says what matters itself.
    var quiet = logger
    quiet.logLevel = max(logger.logLevel, .warning)
    return Application(
        router: fleetRouter(fleet, limits: limits, meter: meter, peerCertificate: peerCertificateOfTLS),
        server: try .tls(
            .http1(configuration: .init(idleTimeout: .seconds(75))),
            configuration: TLSChannelConfiguration(
                tlsConfiguration: try tls.configuration,
                // Other fleets' and expired certificates get through to the gate, which can say why they are refused.
                customVerificationCallback: { _, promise in promise.succeed(.certificateVerified) })),
        configuration: ApplicationConfiguration(
            address: .hostname(listen.host, port: listen.port), serverName: "natfleet"),
        services: [
            SeenFlush(fleet: fleet, logger: logger),
            Renewal(certificate: certificate, tls: tls, logger: logger, interval: renewalInterval),
        ],
        onServerRunning: { channel in await started(channel.localAddress?.port ?? listen.port) },
        logger: quiet)
}
