// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser
internal import FleetModel
internal import NATPolicy
internal import NetAddress
internal import Netfilter
internal import PolicyYAML

struct Render: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Show the rules that policies become on a host, without a controller.",
        discussion: """
            All policies given are layers of one host, whatever their selectors say. The rules come as iptables-save \
            would print them. Facts are JSON or YAML: those of a known host are in 'natfleet get instance ID -o json', \
            at status.facts.

            Examples:
              natfleet render -f policy.yaml --facts host.yaml
              natfleet render -f policy.yaml --facts host.yaml --family ipv4 | iptables-restore --test --noflush
            """
    )

    @Option(name: [.customShort("f"), .customLong("file")], help: .policyFiles, completion: .file())
    var files: [String]

    @Option(
        help: ArgumentHelp("Facts of the host: interfaces, routes, iptables and VPC.", valueName: "file"),
        completion: .file())
    var facts: String

    @Option(help: "Only the rules of one family: ipv4 or ipv6.")
    var family: IPFamily?

    @OptionGroup var output: OutputOptions

    func validate() throws {
        if family != nil, output.output != .table { throw ValidationError("--family is for the text output only") }
    }

    func run(_ context: CLIContext) async throws {
        let readings = try readPolicies(files, context)
        let rendering = try Rendering(readings, on: try readFacts(facts, context))
        for sentence in rendering.resolved { context.note(sentence) }
        try context.write(rendering, as: output.output) {
            family.map { rendering.rules($0) } ?? rendering.text
        }
    }
}

extension IPFamily: ExpressibleByArgument {}

/// What `render` shows.
private struct Rendering: Encodable {
    struct Setting: Encodable {
        var key: String
        var value: String
        /// Left alone where this value is found.
        var unless: String?
        /// Left alone where another value than this one is found.
        var when: String?

        init(_ setting: SysctlSetting) {
            key = setting.key
            value = setting.value
            switch setting.condition {
            case .always: break
            case .unless(let found): unless = found
            case .when(let found): when = found
            }
        }

        /// As sysctl.d has it, the condition as a comment.
        var text: String {
            let condition = unless.map { "# unless \($0) is found:\n" } ?? when.map { "# where \($0) is found:\n" }
            return "\(condition ?? "")\(key) = \(value)\n"
        }
    }

    /// For iptables-restore and ip6tables-restore.
    var ipv4: String
    var ipv6: String
    /// Set before the rules, in this order.
    var sysctls: [Setting]
    /// Set after the rules.
    var forwarding: [Setting]
    var resolved: [String]

    /// - Throws: `Failure` with everything that cannot be, at the place of its policy.
    init(_ readings: PolicyReadings, on facts: HostFacts) throws {
        let layers = readings.documents.map { PolicyLayer(policy: $0.name, revision: 1, spec: $0.spec) }
        let policy: EffectivePolicy
        switch mergeLayers(layers) {
        case .success(let merged): policy = merged
        case .failure(let error):
            let faults = error.conflicts.map { conflict in
                readings.diagnostic(conflict.second.policy, conflict.second.entry, conflict.message, conflict.remedy)
            }
            throw Failure(
                FleetError(
                    .layerConflict, "\(count(faults.count, "conflict")) between policies",
                    remedy: "change one of each pair"),
                diagnostics: faults)
        }
        let compiled: CompiledPolicy
        do throws(CompileError) {
            compiled = try compile(policy, on: facts)
        } catch {
            throw Failure(faults: error.faults.map { readings.diagnostic($0.policy, $0.entry, $0.message, $0.remedy) })
        }
        ipv4 = renderRestore(compiled.ruleset.ipv4)
        ipv6 = renderRestore(compiled.ruleset.ipv6)
        sysctls = compiled.sysctls.map(Setting.init)
        forwarding = compiled.forwarding.map(Setting.init)
        resolved = compiled.resolved
    }

    func rules(_ family: IPFamily) -> String {
        switch family {
        case .ipv4: ipv4
        case .ipv6: ipv6
        }
    }

    var text: String {
        [
            ("iptables-restore", ipv4), ("ip6tables-restore", ipv6),
            ("sysctl, before the rules", sysctls.map(\.text).joined()),
            ("sysctl, after the rules", forwarding.map(\.text).joined()),
        ].filter { !$0.1.isEmpty }.map { "# \($0.0)\n\($0.1)" }.joined()
    }
}

extension PolicyReadings {
    /// A fault of a policy, or of an entry of it, that no single place in a file stands for.
    fileprivate func diagnostic(_ policy: String, _ entry: String?, _ message: String, _ remedy: String) -> Diagnostic {
        let place = policies.first { $0.document.name == policy }
        return Diagnostic(
            file: place?.file ?? "", line: place?.mark.line ?? 0, column: place?.mark.column ?? 0,
            path: entry.map { "\(policy)/\($0)" } ?? policy, message: message, remedy: remedy)
    }
}
