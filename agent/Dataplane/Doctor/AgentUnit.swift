// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore

/// The agent's own unit.
package enum AgentUnit {
    static let name = "natfleet-agent.service"

    /// Keeps it from starting at boot.
    /// - Returns: a sentence where that failed; nil where it is done, or there is no such unit or no systemd.
    package static func disable() async -> String? {
        let systemctl = Systemctl(root: Root(prefix: ""), runner: CommandRunner())
        do throws(KernelError) {
            guard try await systemctl.states([name])?[name]?.isEnabled == true else { return nil }
            try await systemctl.disable([name])
            return nil
        } catch {
            return error.description
        }
    }
}
