// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy
package import NetAddress
package import Netfilter

/// What the agent needs of the machine. Everything read comes from the kernel, never from memory.
package protocol Kernel: Sendable {
    func facts() async throws(KernelError) -> HostFacts
    /// natfleet's own chains and jumps, as the kernel has them now.
    func observe(_ family: IPFamily) async throws(KernelError) -> OwnedState
    /// Loads a whole ruleset into a throwaway network namespace, since `iptables-restore --test` on nft never asks the
    /// kernel.
    /// - Returns: the ruleset as this host's `iptables-save` spells it, which differs between versions.
    func rehearse(_ family: IPFamily, _ text: String) async throws(KernelError) -> OwnedState
    /// `iptables-restore --noflush`: one transaction for each table of the input, one after the other, up to the first that
    /// fails.
    func restore(_ family: IPFamily, _ input: String) async throws(KernelError)
    /// Interfaces as they stand in keys of a family's settings, `default` for those to come among them, `all` not.
    func interfacesInKeys(_ family: IPFamily) -> [String]
    /// nil where the kernel has no such key.
    func sysctl(_ key: String) throws(KernelError) -> String?
    /// - Parameter contents: look at rules of the legacy back end too, not only at how many there are.
    func rulesMark(contents: Bool) -> RulesMark
    /// Costs a few reads of files.
    func surroundings() -> Surroundings
    /// Differs after a reboot.
    func bootID() -> String
    func setSysctl(_ key: String, _ value: String) throws(KernelError)
}

extension IPFamily {
    /// What its iptables is called; `-save` and `-restore` follow.
    package var program: String { self == .ipv4 ? "iptables" : "ip6tables" }
}

/// What decides which back end has which rules, as far as it shows without running a program.
package struct Surroundings: Hashable, Sendable {
    /// Where `iptables` leads once links are followed; empty where it is not installed.
    package var program: String
    /// Tables of the legacy back end, both families, as /proc/net/ip_tables_names and ip6_tables_names list them.
    package var legacyTables: [String]
    /// As in `RulesMark`.
    package var generation: UInt32?

    package init(program: String, legacyTables: [String], generation: UInt32?) {
        (self.program, self.legacyTables, self.generation) = (program, legacyTables, generation)
    }
}

/// A program or the kernel said no.
package struct KernelError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Which command or file, and what it said.
    package let description: String
    /// nil for everything that nobody has to tell apart.
    package let cause: FailureCause?

    package init(_ description: String, cause: FailureCause? = nil) {
        self.description = description
        self.cause = cause
    }
}
