// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ArgumentParser
import ControllerHTTP
import Foundation
import NetAddress

/// Under which names the controller is reached.
struct Names {
    /// For the server certificate.
    let certificate: [String]
    /// For the client configuration.
    let preferred: String

    init(listen: ListenAddress, advertise: [String]) {
        let host = ProcessInfo.processInfo.hostName
        let address = try? IPAddress(listen.host)
        let wildcard = address?.isUnspecified ?? false
        certificate =
            advertise + ["localhost", "127.0.0.1", "::1"] + (host.isEmpty ? [] : [host])
            + (wildcard ? [] : [listen.host])
        preferred = advertise.first ?? (wildcard ? "127.0.0.1" : listen.host)
    }

    func url(port: Int) -> String {
        "https://\((try? IPAddress(preferred))?.bracketed ?? preferred):\(port)"
    }
}

extension ListenAddress: ExpressibleByArgument {
    /// `127.0.0.1:8443`, `[::1]:8443`, `name:8443`.
    public init?(argument: String) {
        guard let colon = argument.lastIndex(of: ":"),
            let port = Int(argument[argument.index(after: colon)...]), (0...65535).contains(port)
        else { return nil }
        var host = String(argument[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        guard !host.isEmpty, (try? IPAddress(host)) != nil || !host.contains(":") else { return nil }
        self.init(host: host, port: port)
    }

    public var defaultValueDescription: String { "\(host.contains(":") ? "[\(host)]" : host):\(port)" }
}
