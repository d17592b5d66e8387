// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ArgumentParser
import ControllerHTTP
import Foundation
import NetAddress

/// A DNS name or an address, as a certificate can carry it.
struct ServerName: ExpressibleByArgument, Hashable {
    let text: String

    init?(argument: String) {
        let labels = argument.split(separator: ".", omittingEmptySubsequences: false)
        let isName =
            argument.utf8.count <= 253
            && labels.allSatisfy { label in
                (1...63).contains(label.utf8.count) && !label.hasPrefix("-") && !label.hasSuffix("-")
                    && label.utf8.allSatisfy {
                        Character(UnicodeScalar($0)).isLetter || (0x30...0x39).contains($0) || $0 == 0x2d
                    }
            }
        // Digits and dots that are no address are a mistake, not a name.
        let isNumeric = argument.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == 0x2e }
        if let address = try? IPAddress(argument) {
            text = address.description
        } else if isName, !isNumeric {
            text = argument
        } else {
            return nil
        }
    }
}

/// Under which names the controller is reached.
struct Names {
    /// For the server certificate.
    let certificate: [String]
    /// For the client configuration.
    let preferred: String
    /// Whoever comes from another machine finds no name of his in the certificate.
    let isForThisMachineOnly: Bool

    init(listen: ListenAddress, advertise: [String]) {
        let host = ServerName(argument: ProcessInfo.processInfo.hostName)?.text
        let isWildcard = (try? IPAddress(listen.host))?.isUnspecified ?? false
        certificate =
            advertise + ["localhost", "127.0.0.1", "::1"] + [host].compactMap(\.self)
            + (isWildcard ? [] : [listen.host])
        preferred = advertise.first ?? (isWildcard ? "127.0.0.1" : listen.host)
        isForThisMachineOnly = isWildcard && advertise.isEmpty
    }

    func url(port: Int) -> String { "https://\(ListenAddress(host: preferred, port: port))" }
}

extension ListenAddress: ExpressibleByArgument {
    /// `127.0.0.1:8443`, `[::1]:8443`, `name:8443`.
    init?(argument: String) {
        guard let colon = argument.lastIndex(of: ":"),
            let port = UInt16(argument[argument.index(after: colon)...])
        else { return nil }
        let host = argument[..<colon]
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        guard let name = ServerName(argument: String(isBracketed ? host.dropFirst().dropLast() : host)),
            isBracketed == name.text.contains(":")
        else { return nil }
        self.init(host: name.text, port: Int(port))
    }

    var defaultValueDescription: String { description }
}

/// Where monitoring is answered, if at all.
enum MetricsListen: ExpressibleByArgument {
    case off
    case on(ListenAddress)

    init?(argument: String) {
        if argument.isEmpty || argument == "off" {
            self = .off
        } else if let address = ListenAddress(argument: argument) {
            self = .on(address)
        } else {
            return nil
        }
    }

    var address: ListenAddress? {
        guard case .on(let address) = self else { return nil }
        return address
    }

    var defaultValueDescription: String { address?.description ?? "off" }
}
