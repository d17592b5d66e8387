// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
package import NetAddress

/// Lines of a family's main routing table as `ip route show` prints them, the probe's own left out.
package func routeLines(_ family: IPFamily) async -> Result<[String], KernelError> {
    let result = await CommandRunner().attempt("ip", [family == .ipv4 ? "-4" : "-6", "route", "show", "table", "main"])
    return result.map { text in
        text.split(separator: "\n").filter { !$0.contains(" dev \(ProbeInterface.name) ") }.map { line in
            var line = line
            while line.last == " " { line.removeLast() }
            return String(line)
        }
    }
}
