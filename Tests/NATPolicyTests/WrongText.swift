// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// The table of wrong policies: files that are not the YAML that a policy is written in.
extension WrongPolicy {
    static let text: [WrongPolicy] = [
        .init(
            "empty file",
            document(""),
            1, 1, "",
            "there is no policy in this file"),
        .init(
            "only comments",
            document("# egress\n---\n"),
            1, 1, "",
            "there is no policy in this file"),
        .init(
            "not a mapping",
            document("- apiVersion: natfleet/v1\n"),
            1, 1, "",
            "must be a mapping, not a list"),
        .init(
            "tab for indentation",
            document("apiVersion: natfleet/v1\nspec:\n\tguard: true\n"),
            3, 1, "",
            "not valid YAML: found character that cannot start any token while scanning for the next token"),
        .init(
            "missing quote",
            document("apiVersion: \"natfleet/v1\nkind: NATPolicy\n"),
            1, 13, "",
            "not valid YAML: this quote is never closed"),
        .init(
            "missing bracket",
            document("apiVersion: natfleet/v1\nspec: {selector: {instances: [i-1}}\n"),
            2, 34, "",
            "not valid YAML: did not find expected ',' or ']' while parsing a flow sequence"),
        .init(
            "colon in plain text",
            document("metadata:\n  description: egress: prod\n"),
            2, 22, "",
            "not valid YAML: mapping values are not allowed in this context"),
        .init(
            "reserved first character",
            document("metadata:\n  name: @web\n"),
            2, 9, "",
            "not valid YAML: found character that cannot start any token while scanning for the next token"),
        .init(
            "unknown escape",
            document("metadata:\n  name: \"web\\d\"\n"),
            2, 13, "",
            "not valid YAML: found unknown escape character while parsing a quoted scalar"),
        .init(
            "duplicate key",
            document("kind: NATPolicy\nmetadata:\n  name: web\n  name: www\n"),
            3, 3, "",
            "key 'name' is written twice"),
        .init(
            "anchor",
            document("metadata: &m {name: web}\n"),
            1, 11, "",
            "anchors (&) are not allowed in a policy"),
        .init(
            "alias",
            document("metadata:\n  name: *web\n"),
            2, 9, "",
            "aliases (*) are not allowed in a policy"),
        .init(
            "alias as mapping key",
            document("metadata:\n  ? *web\n  : web\n"),
            2, 5, "",
            "aliases (*) are not allowed in a policy"),
        .init(
            "tag",
            document("metadata:\n  name: !!binary d2Vi\n"),
            2, 9, "",
            "tags (!) are not allowed in a policy"),
        .init(
            "NUL",
            document("metadata:\n  name: web\u{0}\n"),
            2, 12, "",
            "the character U+0000 can't be in a policy"),
        .init(
            "line separator of Unicode",
            document("metadata:\n  name: web\u{2028}x\n"),
            2, 12, "",
            "the character U+2028 can't be in a policy"),
        .init(
            "not UTF-8",
            document("metadata:\n  description: caf\u{fffd}\n"),
            2, 19, "",
            "this is not UTF-8 text"),
        .init(
            "deep nesting",
            document("spec: \(String(repeating: "[", count: 40))\(String(repeating: "]", count: 40))\n"),
            1, 38, "",
            "is nested more than 32 levels deep"),
        .init(
            "unquoted IPv6 target",
            document(header + "  dnat:\n    - name: web\n      to: [2001:db8::1]:80\n"),
            8, 24, "",
            "not valid YAML: did not find expected key while parsing a block mapping from line 7"),
        .init(
            "policy twice in a file",
            document(header + "---\n" + header),
            9, 18, "metadata.name",
            "policy 'web' is also in p.yaml line 3"),
    ]
}
