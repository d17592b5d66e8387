// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import FleetAPI
internal import FleetModel
internal import Foundation
internal import NATPolicy
internal import PolicyYAML

/// Reads what `-f` names: a file, the policy files of a folder in the order of their names, or `-` for standard input.
///
/// - Throws: `FleetError` of code `badRequest` for what cannot be read.
func readPolicyFiles(_ arguments: [String], _ context: CLIContext) throws -> [PolicyFile] {
    try readFiles(arguments, context, paths)
}

/// Reads files, or `-` for standard input, whatever they hold.
///
/// - Throws: `FleetError` of code `badRequest` for what cannot be read.
func readTextFiles(_ arguments: [String], _ context: CLIContext) throws -> [PolicyFile] {
    try readFiles(arguments, context) { [$0] }
}

private func readFiles(
    _ arguments: [String], _ context: CLIContext, _ paths: (String) throws -> [String]
) throws -> [PolicyFile] {
    guard arguments.count(where: { $0 == "-" }) <= 1 else {
        throw FleetError(.badRequest, "standard input is named twice", remedy: "name - once")
    }
    let files = try arguments.flatMap { argument in
        if argument == "-" { return [try policyFile("-", try context.readInput())] }
        return try paths(argument).map { path in
            guard let data = FileManager.default.contents(atPath: path) else {
                throw FleetError(.badRequest, "cannot read \(path)", remedy: "check its name and permissions")
            }
            return try policyFile(path, data)
        }
    }
    let names = files.map(\.name)
    if let twice = names.first(where: { name in names.count { $0 == name } > 1 }) {
        throw FleetError(.badRequest, "\(twice) is named twice", remedy: "give each file once")
    }
    return files
}

/// The policies of what `-f` names, read here and not by the controller.
///
/// - Throws: `Failure` of code `invalidPolicy` with all faults.
func readPolicies(_ arguments: [String], _ context: CLIContext) throws -> PolicyReadings {
    let files = try readPolicyFiles(arguments, context).map { PolicyText(name: $0.name, text: $0.text) }
    let readings = PolicyYAML.readPolicies(files)
    guard readings.diagnostics.isEmpty else { throw Failure(faults: readings.diagnostics) }
    return readings
}

private func paths(_ argument: String) throws(FleetError) -> [String] {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: argument, isDirectory: &isFolder) else {
        throw FleetError(.badRequest, "there is no file \(argument)", remedy: "name a policy file, a folder, or -")
    }
    guard isFolder.boolValue else { return [argument] }
    let folder = argument.hasSuffix("/") ? String(argument.dropLast()) : argument
    let names = ((try? FileManager.default.contentsOfDirectory(atPath: argument)) ?? []).filter { name in
        !name.hasPrefix(".")
            && ["yaml", "yml", "json"].contains(name.split(separator: ".").last.map(String.init) ?? "")
    }
    guard !names.isEmpty else {
        throw FleetError(
            .badRequest, "no policy files in \(argument)", remedy: "name them .yaml, .yml or .json, or name a file")
    }
    return names.sorted().map { "\(folder)/\($0)" }
}

private func policyFile(_ name: String, _ data: Data) throws(FleetError) -> PolicyFile {
    guard let text = String(validating: data, as: UTF8.self) else {
        throw FleetError(.badRequest, "\(name) is not UTF-8 text", remedy: "save it as UTF-8")
    }
    return PolicyFile(name: name, text: text)
}
