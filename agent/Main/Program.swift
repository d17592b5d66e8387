// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ArgumentParser
import DetachedThread
import Glibc

@main
enum Program {
    static func main() async {
        do {
            var command = try AgentCommand.parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            endProcess(0)
        } catch {
            let status = AgentCommand.exitCode(for: error)
            let text = AgentCommand.fullMessage(for: error)
            if status == .success {
                print(text)
            } else if !text.isEmpty {
                Array((text + "\n").utf8).withUnsafeBytes { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
            }
            endProcess(status.rawValue)
        }
    }
}
