// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel

/// Why something failed, where an operator has to do something else about it than usual.
package enum FailureCause: String, Codable, Hashable, Sendable {
    /// A table of iptables holds rules that iptables cannot show: nobody can say what it does.
    case unreadableTable = "unreadable-table"

    package var condition: ConditionKind {
        switch self {
        case .unreadableTable: .tableUnreadable
        }
    }
}
