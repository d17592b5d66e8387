// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
package import Netfilter

/// Why something failed, where an operator has to do something else about it than usual.
package enum FailureCause: String, Codable, Hashable, Sendable {
    /// A table of iptables holds rules that iptables cannot show: nobody can say what it does.
    case unreadableTable = "unreadable-table"
    /// Both back ends hold rules.
    case twoBackEnds = "two-back-ends"

    package var condition: ConditionKind {
        switch self {
        case .unreadableTable: .tableUnreadable
        case .twoBackEnds: .twoBackEnds
        }
    }
}

extension KernelError {
    /// What `command` printed cannot be taken for rules.
    package init(_ error: SaveTextError, from command: String) {
        self.init("\(command): \(error)", cause: error.hiddenTable == nil ? nil : .unreadableTable)
    }
}
