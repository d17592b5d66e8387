// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import Testing

/// What one run of iptables-restore or ip6tables-restore was given.
struct RestoreRun {
    let program: String
    let arguments: [String]
    /// Whether it ran in the machine's own network rather than in a throwaway one.
    let isReal: Bool
    let input: String

    /// Names of the chains that its rules and declarations concern.
    var chains: Set<String> {
        Set(
            input.split(separator: "\n").compactMap { line in
                if line.hasPrefix(":") { return line.dropFirst().split(separator: " ").first.map(String.init) }
                let words = line.split(separator: " ").map(String.init)
                return words.firstIndex { ["-A", "-I", "-F", "-X", "-D"].contains($0) }
                    .flatMap { words.indices.contains($0 + 1) ? words[$0 + 1] : nil }
            })
    }
}

extension FleetLab {
    private static let folder = "/run/restore-trace"

    /// Puts a script before a host's restore programs, of whichever back end, that writes down what each run is given. For
    /// after `use`, whose links it takes the place of.
    func traceRestores(on host: String) async throws {
        let script = """
            #!/bin/bash
            name=${0##*/}
            run=\(Self.folder)/$(date +%s%N)-$$
            cat >"$run.input"
            echo "$name $(readlink /proc/self/ns/net) $*" >"$run.run"
            exec REAL "$@" <"$run.input"
            """
        try await exec(
            host, "bash", "-ec",
            """
            mkdir -p \(Self.folder)/bin
            for program in iptables-restore ip6tables-restore; do
                script=\(Self.folder)/bin/$program
                printf '%s\\n' "${1/REAL/$(readlink /etc/alternatives/$program)}" >$script
                chmod 755 $script
                ln -sfn $script /etc/alternatives/$program
            done
            """, "trace", script)
    }

    /// The runs since the last call, in order.
    func tracedRestores(on host: String) async throws -> [RestoreRun] {
        let mark = "---- restore "
        let text = try await shell(
            host,
            """
            own=$(readlink /proc/self/ns/net)
            cd \(Self.folder)
            for run in *.run; do
                [[ -e $run ]] || continue
                read -r name network arguments <$run
                [[ $network == "$own" ]] && place=real || place=throwaway
                echo "\(mark)$name $place $arguments"
                cat "${run%.run}.input"
                rm "$run" "${run%.run}.input"
            done
            """)
        return text.components(separatedBy: mark).dropFirst().map { part in
            let (head, input) =
                part.firstIndex(of: "\n").map { (part[..<$0], part[part.index(after: $0)...]) } ?? (part[...], "")
            let words = head.split(separator: " ").map(String.init)
            return RestoreRun(
                program: words[0], arguments: Array(words.dropFirst(2)), isReal: words[1] == "real",
                input: String(input))
        }
    }
}
