// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import ControllerCore
package import Hummingbird
package import Logging
import NIOCore

/// What monitoring may ask, in plain HTTP on a listener of its own: `/metrics` for Prometheus, `/live` (the process
/// answers) and `/ready` (the fleet can be served). Nothing here is secret, and nothing can be changed.
///
/// - Parameter obstacle: why the controller cannot serve now; nil when it can.
package func metricsRouter(
    _ fleet: Fleet, certificate: any ServerCertificate, meter: RequestMeter,
    obstacle: @escaping @Sendable () async -> String?
) -> Router<BasicRequestContext> {
    _ = processStart
    let router = Router(options: .autoGenerateHeadEndpoints)
    router.get("/live") { _, _ in plain(.ok, "live\n") }
    router.get("/ready") { _, _ in
        if let obstacle = await obstacle() { return plain(.serviceUnavailable, "not ready: \(obstacle)\n") }
        return plain(.ok, "ready\n")
    }
    router.get("/metrics") { _, _ in
        do {
            let families =
                fleetMetrics(try await fleet.measure(), serverCertificateExpires: certificate.expires)
                + meter.families + processMetrics()
            return plain(.ok, families.map(\.text).joined(), type: "text/plain; version=0.0.4; charset=utf-8")
        } catch {
            return plain(.serviceUnavailable, "no metrics: \(error)\n")
        }
    }
    return router
}

/// The listener of `metricsRouter`.
package func metricsServer(
    _ router: Router<BasicRequestContext>, listen: ListenAddress, logger: Logger,
    started: @escaping @Sendable (Int) async -> Void = { _ in }
) -> some ApplicationProtocol {
    var quiet = logger
    quiet.logLevel = max(logger.logLevel, .warning)
    return Application(
        router: router, server: .http1(configuration: .init(idleTimeout: .seconds(75))),
        configuration: ApplicationConfiguration(
            address: .hostname(listen.host, port: listen.port), serverName: "natfleet"),
        onServerRunning: { channel in await started(channel.localAddress?.port ?? listen.port) },
        logger: quiet)
}

private func plain(
    _ status: HTTPResponse.Status, _ text: String, type: String = "text/plain; charset=utf-8"
) -> Response {
    Response(
        status: status, headers: [.contentType: type, .cacheControl: "no-store"],
        body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
}
