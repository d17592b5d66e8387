// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
package import NetAddress

/// What the operator gave the agent: `agent.conf`, each key also an environment variable of the same name, which wins.
package struct Configuration: Hashable, Sendable {
    package static let defaultFile = "/etc/natfleet/agent.conf"
    package static let defaultStateDirectory = "/var/lib/natfleet-agent"
    /// Where a running agent tells what is the matter.
    package static let runDirectory = "/run/natfleet-agent"

    /// `https://HOST:PORT`, without a path.
    package var controller: String
    /// SHA-256 of the fleet CA certificate's DER, 64 lower-case hexadecimal digits.
    package var caHash: String
    /// Needed until the agent has an identity.
    package var joinToken: String?
    package var labels: [String: String]
    /// What the machine calls itself where no IMDS says it.
    package var instanceID: String?
    package var stateDirectory: String
    /// The VPC's CIDRs where no IMDS tells them.
    package var vpcCIDRs: [CIDR]

    /// - Parameters:
    ///   - text: the file's content, nil where there is no file.
    ///   - environment: wins over the file.
    /// - Throws: `FleetError` with code `badRequest` that lists every fault.
    package init(text: String?, file: String, environment: [String: String]) throws(FleetError) {
        var faults: [String] = []
        var values = parse(text ?? "", file: file, faults: &faults)
        for key in Key.allCases {
            if let value = environment[key.rawValue] { values[key] = value }
        }
        func value(_ key: Key) -> String? { values[key].flatMap { $0.isEmpty ? nil : $0 } }

        controller = value(.controller).map { $0.hasSuffix("/") ? String($0.dropLast()) : $0 } ?? ""
        if controller.isEmpty {
            faults.append("\(Key.controller.rawValue) is missing: write https://HOST:8443, the controller's address")
        } else if !controller.hasPrefix("https://")
            || controller.dropFirst(8).contains(where: { $0 == "/" || $0 == " " })
        {
            faults.append("\(Key.controller.rawValue) is '\(controller)': write https://HOST:PORT, nothing after it")
        }
        caHash = String((value(.caHash) ?? "").lowercased().filter { $0 != ":" })
        if caHash.hasPrefix("sha256") { caHash = String(caHash.dropFirst(6)) }
        if caHash.utf8.count != 64 || !caHash.allSatisfy(\.isHexDigit) {
            faults.append(
                "\(Key.caHash.rawValue) is not 64 hexadecimal digits: copy the CA hash that 'natfleet serve' prints")
        }
        joinToken = value(.joinToken)
        instanceID = value(.instanceID)
        stateDirectory = value(.stateDirectory) ?? Self.defaultStateDirectory
        if !stateDirectory.hasPrefix("/") {
            faults.append("\(Key.stateDirectory.rawValue) is '\(stateDirectory)': write an absolute path")
        }
        labels = [:]
        for pair in split(value(.labels)) {
            let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if sides.count == 2, !sides[0].isEmpty {
                labels[String(sides[0])] = String(sides[1])
            } else {
                faults.append("\(Key.labels.rawValue) has '\(pair)': write KEY=VALUE, several with commas between")
            }
        }
        vpcCIDRs = []
        for text in split(value(.vpcCIDRs)) {
            do throws(AddressError) {
                vpcCIDRs.append(try CIDR(text))
            } catch {
                faults.append("\(Key.vpcCIDRs.rawValue): \(error.message): \(error.remedy)")
            }
        }
        if !faults.isEmpty {
            throw FleetError(
                .badRequest, "the configuration is not usable: " + faults.joined(separator: "; "),
                remedy: "correct \(file), or the environment variables of the same names, and start the agent again")
        }
    }

    /// Just the state folder, for what must work at boot even with a configuration that is otherwise unusable.
    package static func stateDirectory(text: String?, environment: [String: String]) -> String {
        var faults: [String] = []
        let key = Key.stateDirectory
        let value = environment[key.rawValue] ?? parse(text ?? "", file: "", faults: &faults)[key] ?? ""
        return value.hasPrefix("/") ? value : defaultStateDirectory
    }
}

private enum Key: String, CaseIterable {
    case controller = "NATFLEET_CONTROLLER"
    case caHash = "NATFLEET_CA_HASH"
    case joinToken = "NATFLEET_JOIN_TOKEN"
    case labels = "NATFLEET_LABELS"
    case instanceID = "NATFLEET_INSTANCE_ID"
    case stateDirectory = "NATFLEET_STATE_DIR"
    case vpcCIDRs = "NATFLEET_VPC_CIDRS"
}

private func split(_ text: String?) -> [Substring] {
    (text ?? "").split(whereSeparator: { $0 == "," || $0 == " " })
}

/// KEY=VALUE lines as in systemd's EnvironmentFile: blank lines and # comments, one pair of quotes round a value.
private func parse(_ text: String, file: String, faults: inout [String]) -> [Key: String] {
    var values: [Key: String] = [:]
    let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    for (number, raw) in lines.enumerated() {
        let line = trim(raw)
        if line.isEmpty || line.first == "#" { continue }
        guard let equals = line.firstIndex(of: "=") else {
            faults.append("\(file):\(number + 1): no '=': write KEY=VALUE")
            continue
        }
        let name = trim(line[..<equals])
        guard let key = Key(rawValue: String(name)) else {
            let known = Key.allCases.map(\.rawValue).joined(separator: ", ")
            faults.append("\(file):\(number + 1): unknown key '\(name)': the keys are \(known)")
            continue
        }
        values[key] = unquote(trim(line[line.index(after: equals)...]))
    }
    return values
}

private func trim(_ text: Substring) -> Substring {
    var text = text
    while text.first?.isWhitespace == true { text.removeFirst() }
    while text.last?.isWhitespace == true { text.removeLast() }
    return text
}

private func unquote(_ text: Substring) -> String {
    guard text.count >= 2, let quote = text.first, quote == "\"" || quote == "'", text.last == quote else {
        return String(text)
    }
    return String(text.dropFirst().dropLast())
}
