// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser

struct Token: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make, list and revoke the join tokens that instances enrol with.",
        discussion: """
            Examples:
              natfleet token create --instance i-0123456789abcdef0 --label vpc=prod
              natfleet token list
            """,
        subcommands: [TokenCreate.self, TokenList.self, TokenRevoke.self]
    )
}
