// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// The table of wrong policies: documents whose head, selector or scalars are wrong.
extension WrongPolicy {
    static let specs: [WrongPolicy] = [
        .init(
            "wrong apiVersion",
            document(header.replacing("natfleet/v1", with: "natfleet/v2")),
            1, 13, "apiVersion",
            "apiVersion 'natfleet/v2' is not known"),
        .init(
            "wrong kind",
            document(header.replacing("NATPolicy", with: "Policy")),
            2, 7, "kind",
            "kind 'Policy' is not known"),
        .init(
            "missing kind",
            document(header.replacing("kind: NATPolicy\nmetadata: {name: web", with: "metadata: {name: web")),
            1, 1, "",
            "missing key 'kind'"),
        .init(
            "missing metadata",
            document(header.replacing("metadata: {name: web}\nspec:", with: "spec:")),
            1, 1, "",
            "missing key 'metadata'"),
        .init(
            "missing spec",
            document("apiVersion: natfleet/v1\nkind: NATPolicy\nmetadata: {name: web}\n"),
            1, 1, "",
            "missing key 'spec'"),
        .init(
            "missing name",
            document(header.replacing("{name: web", with: "{description: web")),
            3, 11, "metadata",
            "missing key 'name'"),
        .init(
            "name with a quote",
            document(header.replacing("web", with: "we'b")),
            3, 18, "metadata.name",
            "'we'b' is not a valid policy name"),
        .init(
            "name with a newline",
            document(header.replacing("web", with: #""web\n-j ACCEPT""#)),
            3, 18, "metadata.name",
            #"'web\u{a}-j ACCEPT' is not a valid policy name"#),
        .init(
            "name with a leading dash",
            document(header.replacing("{name: web", with: "{name: -web")),
            3, 18, "metadata.name",
            "'-web' is not a valid policy name"),
        .init(
            "name of 64 characters",
            document(header.replacing("name: web", with: "name: \(String(repeating: "a", count: 64))")),
            3, 18, "metadata.name",
            "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' is not a valid policy name"),
        .init(
            "empty name",
            document(header.replacing("web", with: "\"\"")),
            3, 18, "metadata.name",
            "'' is not a valid policy name"),
        .init(
            "number for a name",
            document(header.replacing("web", with: "8001")),
            3, 18, "metadata.name",
            "must be text, not 8001"),
        .init(
            "list for a name",
            document(header.replacing("web", with: "[web]")),
            3, 18, "metadata.name",
            "must be text, not a list"),
        .init(
            "line break in the description",
            document(header.replacing("web", with: #"web, description: "a\nb""#)),
            3, 36, "metadata.description",
            "holds a line break or an invisible character"),
        .init(
            "long description",
            document(
                header.replacing("name: web", with: "name: web, description: \(String(repeating: "a", count: 1025))")),
            3, 36, "metadata.description",
            "is longer than 1024 characters"),
        .init(
            "unknown key of metadata",
            document(header.replacing("web", with: "web, labels: {a: b}")),
            3, 23, "metadata.labels",
            "unknown key 'labels'"),
        .init(
            "unknown key of the document",
            document(header + "status: {}\n"),
            6, 1, "status",
            "unknown key 'status'"),
        .init(
            "misspelt key",
            spec("masqerade: []"),
            6, 3, "spec.masqerade",
            "unknown key 'masqerade'"),
        .init(
            "key without a value",
            spec("guard:"),
            6, 3, "spec.guard",
            "key 'guard' has no value"),
        .init(
            "connection tracking without its size",
            spec("conntrack: {}"),
            6, 14, "spec.conntrack",
            "missing key 'max'"),
        .init(
            "connection tracking in one word",
            spec("conntrack: auto"),
            6, 14, "spec.conntrack",
            "must be a mapping, not text"),
        .init(
            "size of connection tracking in words",
            spec("conntrack: {max: large}"),
            6, 20, "spec.conntrack.max",
            "must be auto or a number of entries, not text"),
        .init(
            "too few connections",
            spec("conntrack: {max: 1000}"),
            6, 20, "spec.conntrack.max",
            "must be a whole number from 1024 to 16777216, not 1000"),
        .init(
            "another key of connection tracking",
            spec("conntrack: {max: auto, buckets: 1024}"),
            6, 26, "spec.conntrack.buckets",
            "unknown key 'buckets'"),
        .init(
            "probes",
            spec(#"probes: ["tcp:203.0.113.7:443"]"#),
            6, 3, "spec.probes",
            "'probes' is not supported yet"),
        .init(
            "tests",
            spec("tests: []"),
            6, 3, "spec.tests",
            "'tests' is not supported yet"),
        .init(
            "rollout",
            spec("rollout: {}"),
            6, 3, "spec.rollout",
            "'rollout' is not supported yet"),
        .init(
            "truth value in quotes",
            spec(#"guard: "true""#),
            6, 10, "spec.guard",
            "must be true or false, not the text 'true'"),
        .init(
            "yes for true",
            spec("guard: yes"),
            6, 10, "spec.guard",
            "must be true or false, not the text 'yes'"),
        .init(
            "priority in words",
            spec("priority: high"),
            6, 13, "spec.priority",
            "must be a whole number from 0 to 10000, not the text 'high'"),
        .init(
            "priority too high",
            spec("priority: 10001"),
            6, 13, "spec.priority",
            "must be a whole number from 0 to 10000, not 10001"),
        .init(
            "fraction for priority",
            spec("priority: 1.5"),
            6, 13, "spec.priority",
            "must be a whole number from 0 to 10000, not 1.5"),
        .init(
            "text for forwarding",
            spec("forwarding: ipv4"),
            6, 15, "spec.forwarding",
            "must be a mapping, not text"),
        .init(
            "forwarding without a family",
            spec("forwarding: true"),
            6, 15, "spec.forwarding",
            "must be a mapping, not a truth value"),
        .init(
            "family that does not exist",
            spec("forwarding: {ipv5: true}"),
            6, 16, "spec.forwarding.ipv5",
            "unknown key 'ipv5'"),
        .init(
            "mapping for a list",
            spec("dnat: {name: web}"),
            6, 9, "spec.dnat",
            "must be a list, not a mapping"),
        .init(
            "empty selector",
            document(header.replacing("{instances: [i-1]", with: "{")),
            5, 13, "spec.selector",
            "selects no instance"),
        .init(
            "selector of empty parts",
            document(header.replacing("[i-1]", with: "[], matchLabels: {}")),
            5, 13, "spec.selector",
            "selects no instance"),
        .init(
            "missing selector",
            document("apiVersion: natfleet/v1\nkind: NATPolicy\nmetadata: {name: web}\nspec:\n  guard: true\n"),
            5, 3, "spec",
            "missing key 'selector'"),
        .init(
            "labels for matchLabels",
            document(header.replacing("{instances: [i-1]", with: "{matchLabel: {vpc: prod}")),
            5, 14, "spec.selector.matchLabel",
            "unknown key 'matchLabel'"),
        .init(
            "instance id with a slash",
            document(header.replacing("[i-1]", with: "[i-1, ../i-2]")),
            5, 31, "spec.selector.instances[1]",
            "'../i-2' is not a valid instance id"),
        .init(
            "instance listed twice",
            document(header.replacing("[i-1]", with: "[i-1, i-1]")),
            5, 31, "spec.selector.instances[1]",
            "instance i-1 is listed twice"),
        .init(
            "label with a blank",
            document(header.replacing("{instances: [i-1]", with: "{matchLabels: {my vpc: prod}")),
            5, 28, "spec.selector.matchLabels.my vpc",
            "'my vpc' is not a valid label"),
        .init(
            "label value with a quote",
            document(header.replacing("{instances: [i-1]", with: #"{matchLabels: {vpc: 'pr"od'}"#)),
            5, 33, "spec.selector.matchLabels.vpc",
            #"'pr"od' is not a valid value of a label"#),
        .init(
            "number for a label value",
            document(header.replacing("{instances: [i-1]", with: "{matchLabels: {account: 123456789012}")),
            5, 37, "spec.selector.matchLabels.account",
            "must be text, not 123456789012"),
    ]
}
