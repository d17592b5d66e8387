// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import Glibc
import NetAddress

/// Where a distribution keeps the rules of one family, and the commands that write them there.
struct RuleFile: Hashable, Sendable {
    struct Command: Hashable, Sendable {
        var program: String
        var arguments: [String]
    }

    var family: IPFamily
    var path: String
    var mode: mode_t
    /// Loaded by the distribution at boot when `path` can't be; nil where it knows no such file.
    var fallback: String?
    /// In the order in which to try them.
    var saving: [Command]

    /// Empty for `own`.
    static func files(of method: PersistenceMethod, below root: Root) -> [RuleFile] {
        IPFamily.allCases.compactMap { family in
            switch method {
            case .iptablesServices:
                let name = family.program("")
                let path = "/etc/sysconfig/\(name)"
                return RuleFile(
                    family: family, path: path, mode: 0o600, fallback: "\(path).fallback",
                    saving: [
                        Command(program: "service", arguments: [name, "save"]),
                        Command(program: root.path("/usr/libexec/iptables/\(name).init"), arguments: ["save"]),
                    ])
            case .netfilterPersistent:
                return RuleFile(
                    family: family, path: "/etc/iptables/rules.\(family == .ipv4 ? "v4" : "v6")", mode: 0o640,
                    saving: [Command(program: "netfilter-persistent", arguments: ["save"])])
            case .own: return nil
            }
        }
    }
}
