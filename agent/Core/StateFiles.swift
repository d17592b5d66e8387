// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// The agent's files on disk. A write is whole or not at all, and on the disk when it returns.
package protocol StateFiles: Sendable {
    /// nil where there is no such file.
    func read(_ name: StateFile) throws(StateFileError) -> [UInt8]?
    /// Writes beside it, fsync, rename, fsync of the folder; readable by root only.
    func write(_ name: StateFile, _ bytes: [UInt8]) throws(StateFileError)
    func remove(_ name: StateFile) throws(StateFileError)
    /// What `name` says now stays as `other` when `name` is written anew; where there is no `name` there is no `other`. On the
    /// disk with the next write.
    func keep(_ name: StateFile, as other: StateFile) throws(StateFileError)
}

/// Every file that the agent keeps.
package enum StateFile: String, CaseIterable, Hashable, Sendable {
    /// The private key while enrolling: kept so that a lost answer can be asked for again.
    case enrolmentKey = "enrolment-key.pem"
    /// Key, certificate and the fleet's CA, in one file so that they change together.
    case identity = "identity.json"
    /// What runs: policy, hash, host facts it was compiled for.
    case applied = "applied.json"
    /// Values of sysctls before natfleet changed them.
    case sysctls = "sysctls.json"
    /// A trial under way, with the way back.
    case trial = "trial.json"
    /// What `applied` said before the trial under way: which flows have to end once it was confirmed.
    case previous = "previous.json"
    /// What was refused or reverted last, and why.
    case refusal = "refusal.json"
    /// Size of connection tracking before natfleet changed it.
    case conntrack = "conntrack.json"
    /// The rules that run, as `iptables-restore` and `ip6tables-restore` take them.
    case rulesIPv4 = "rules.v4"
    case rulesIPv6 = "rules.v6"
    /// What is the matter now, by the running agent: in `/run`, which no disk has to take.
    case told = "conditions.json"
}

package struct StateFileError: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
