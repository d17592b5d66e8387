// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore

/// systemd's units, by its own program.
struct Systemctl: Sendable {
    let root: Root
    let runner: CommandRunner

    /// nil where this machine is not run by systemd (sd_booted(3)).
    func states(_ units: [String]) async throws(KernelError) -> [String: UnitState]? {
        guard root.isThere("/run/systemd/system") else { return nil }
        let properties = "--property=Id,LoadState,UnitFileState,ActiveState"
        return UnitState.parse(try await runner.run("systemctl", ["show", properties] + units), asked: units)
    }

    func enable(_ units: [String]) async throws(KernelError) {
        _ = try await runner.run("systemctl", ["--quiet", "enable"] + units)
    }

    func disable(_ units: [String]) async throws(KernelError) {
        _ = try await runner.run("systemctl", ["--quiet", "disable"] + units)
    }
}
