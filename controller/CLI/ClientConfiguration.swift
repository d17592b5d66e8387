// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import Crypto
internal import FleetModel
internal import Foundation
internal import Yams

/// How to reach a controller: what `natfleet serve` writes to `DIR/admin.yaml`.
package struct ClientConfiguration: Codable, Hashable, Sendable {
    /// `https://HOST:PORT`.
    package var server: String
    /// The fleet CA's certificates, PEM.
    package var ca: String
    /// The operator's bearer token.
    package var token: String

    package init(server: String, ca: String, token: String) {
        self.server = server
        self.ca = ca
        self.token = token
    }

    /// What agents are started with: SHA-256 of the DER of the first certificate in `ca`, lower-case hexadecimal.
    func caHash() throws(FleetError) -> String {
        let lines = ca.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
        let body = lines.drop { $0 != "-----BEGIN CERTIFICATE-----" }.dropFirst()
            .prefix { $0 != "-----END CERTIFICATE-----" }
        guard !body.isEmpty, let der = Data(base64Encoded: body.joined()) else {
            throw FleetError(
                .badRequest, "ca in the client configuration is not a PEM certificate",
                remedy: "copy ca from the admin.yaml in the controller's data folder")
        }
        let digits = Array("0123456789abcdef")
        return String(SHA256.hash(data: der).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }

    /// Reads `--config FILE`, else the file that `NATFLEET_CONFIG` names, else `~/.config/natfleet/config.yaml`.
    static func load(named option: String?, environment: [String: String]) throws(FleetError) -> ClientConfiguration {
        let path: String
        if let named = option ?? environment["NATFLEET_CONFIG"], !named.isEmpty {
            path = named
        } else if let home = environment["HOME"], !home.isEmpty {
            path = "\(home)/.config/natfleet/config.yaml"
        } else {
            throw FleetError(.badRequest, "no client configuration: HOME is not set", remedy: wayOut)
        }
        guard let data = FileManager.default.contents(atPath: path) else {
            throw FleetError(.badRequest, "no client configuration at \(path)", remedy: wayOut)
        }
        let configuration: ClientConfiguration
        do {
            configuration = try YAMLDecoder().decode(from: data)
        } catch {
            throw FleetError(
                .badRequest, "\(path) is not a client configuration: \(decodingReason(error))",
                remedy: "write the keys server, ca and token, as the controller's admin.yaml has them")
        }
        return try configuration.checked(path)
    }

    private func checked(_ path: String) throws(FleetError) -> ClientConfiguration {
        var result = self
        while result.server.hasSuffix("/") { result.server.removeLast() }
        guard result.server.hasPrefix("https://"), result.server.utf8.count > "https://".utf8.count else {
            throw FleetError(
                .badRequest, "server '\(server)' in \(path) is not an https URL",
                remedy: "write it like https://controller.example:8443")
        }
        guard ca.contains("-----BEGIN CERTIFICATE-----") else {
            throw FleetError(
                .badRequest, "ca in \(path) holds no PEM certificate",
                remedy: "copy ca from the admin.yaml in the controller's data folder")
        }
        guard !token.isEmpty, token.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            throw FleetError(
                .badRequest, "token in \(path) is not a token",
                remedy: "copy token from the admin.yaml in the controller's data folder")
        }
        return result
    }

    private static let wayOut = """
        copy admin.yaml from the controller's data folder to ~/.config/natfleet/config.yaml, or name it with \
        --config or NATFLEET_CONFIG
        """
}
