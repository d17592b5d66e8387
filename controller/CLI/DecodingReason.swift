// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import NetAddress
internal import Yams

/// Why a file that an operator wrote cannot be decoded, in a line.
func decodingReason(_ error: any Error) -> String {
    switch error {
    case DecodingError.keyNotFound(let key, let context):
        return "\(keyPath(context.codingPath + [key])) is missing"
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context),
        DecodingError.dataCorrupted(let context):
        if let cause = context.underlyingError { return decodingReason(cause) }
        return context.codingPath.isEmpty
            ? "it is empty or no mapping" : "\(keyPath(context.codingPath)) has a wrong value"
    case let error as AddressError:
        return error.message
    case let error as YamlError:
        return "\(error)".split(separator: "\n").first.map { "it is not YAML: \($0)" } ?? "it is not YAML"
    default:
        return "\(error)"
    }
}

private func keyPath(_ keys: [any CodingKey]) -> String {
    keys.reduce(into: "") { path, key in
        if let index = key.intValue {
            path += "[\(index)]"
        } else {
            path += path.isEmpty ? key.stringValue : ".\(key.stringValue)"
        }
    }
}
