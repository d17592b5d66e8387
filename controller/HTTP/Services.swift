// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import Logging
import ServiceLifecycle

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Stores last-seen times every 30 s and once more at the end.
struct SeenFlush: Service {
    let fleet: Fleet
    let logger: Logger

    func run() async throws {
        while await pause(.seconds(30)) { await flush() }
        await flush()
    }

    private func flush() async {
        do {
            try await fleet.flushSeen()
        } catch {
            logger.error("last-seen times are not stored", metadata: ["error": "\(error)"])
        }
    }
}

/// Renews the server's certificate well before its end.
struct Renewal: Service {
    let certificate: any ServerCertificate
    let tls: ServerTLS
    let logger: Logger
    let interval: Duration

    func run() async throws {
        while await pause(interval) {
            do {
                guard try certificate.renewIfDue(now: Date()) else { continue }
                try tls.reload()
                logger.info("server certificate renewed")
            } catch {
                logger.error("server certificate is not renewed", metadata: ["error": "\(error)"])
            }
        }
    }
}

/// False when the controller stops.
private func pause(_ time: Duration) async -> Bool {
    do {
        try await cancelWhenGracefulShutdown { try await Task.sleep(for: time) }
        return true
    } catch {
        return false
    }
}
