// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import TestSupport
import Testing

/// The completions of each shell, in that shell: it reads them without a complaint, and offers what they hold.
struct CompletionTests {
    enum Shell: String {
        case bash, zsh, fish

        var program: String { "/usr/bin/\(rawValue)" }

        /// Prints what is offered behind `natfleet instance c`; `$1` is the file with the completions.
        fileprivate var script: String {
            switch self {
            case .bash:
                """
                source "$1"
                COMP_LINE='natfleet instance c' COMP_POINT=19 COMP_WORDS=(natfleet instance c) COMP_CWORD=2
                _natfleet natfleet c instance
                printf '%s\\n' "${COMPREPLY[@]}"
                """
            // Nobody but the line editor completes there, so somebody has to sit at a terminal.
            case .zsh:
                """
                zmodload zsh/zpty
                zpty shell zsh -f -i
                zpty -w shell "autoload -Uz compinit; compinit -D -u; source '$1'; print REA''DY"
                zpty -r -m shell seen '*READY*'
                zpty -w -n shell $'natfleet instance c\\t'
                zpty -r -m shell seen '*cordon*' && print cordon
                zpty -d shell
                """
            case .fish: "source $argv[1]; complete -C 'natfleet instance c' | string replace -r '\\t.*' ''"
            }
        }
    }

    private func check(_ shell: Shell) async throws {
        let run = try await natfleet(["completions", shell.rawValue])
        let syntax = try await runProgram(shell.program, ["-n"], input: run.output)
        #expect(syntax.succeeded && syntax.errors.isEmpty, "\(syntax.errors)")
        let folder = try TemporaryFolder()
        let file = try folder.write(run.output, to: "completions")
        let options = shell == .fish ? ["--no-config", "-c", shell.script, file] : ["-c", shell.script, "test", file]
        let offered = try await runProgram(shell.program, options, timeout: .seconds(30))
        #expect(offered.output == "cordon\n", "\(offered)")
    }

    @Test(.enabled(if: KernelSuite.expects(Shell.bash.program), "no bash here"))
    func bashCompletesAVerb() async throws { try await check(.bash) }

    @Test(.enabled(if: KernelSuite.expects(Shell.zsh.program), "no zsh here"))
    func zshCompletesAVerb() async throws { try await check(.zsh) }

    @Test(.enabled(if: KernelSuite.expects(Shell.fish.program), "no fish here"))
    func fishCompletesAVerb() async throws { try await check(.fish) }
}
