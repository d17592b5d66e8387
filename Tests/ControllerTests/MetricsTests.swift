// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import ControllerHTTP
import ControllerPKI
import ControllerStore
import FleetAPI
import FleetModel
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NATPolicy
import NIOCore
import Synchronization
import TestSupport
import Testing

/// What monitoring sees.
struct MetricsTests {
    /// Runs a test with the API's router and monitoring's beside it, as one controller has them.
    private func with(
        obstacle: String? = nil,
        _ body:
            @Sendable (TestFleet, _ api: any TestClientProtocol, _ monitoring: any TestClientProtocol) async throws
            -> Void
    ) async throws {
        try await TestFleet.with { test in
            try await test.fleet.addOperator("test", role: .admin, secret: "secret")
            let identity = try ServerIdentity(test.authority, names: ["a"], in: test.folder, now: test.clock.now)
            let meter = RequestMeter()
            let api = Application(
                router: fleetRouter(test.fleet, meter: meter, peerCertificate: { _ in nil }), logger: silent)
            let monitoring = Application(
                router: metricsRouter(test.fleet, certificate: identity, meter: meter) {
                    if let obstacle { obstacle } else { await test.fleet.obstacle() }
                }, logger: silent)
            try await api.test(.router) { api in
                try await monitoring.test(.router) { try await body(test, api, $0) }
            }
        }
    }

    private func scrape(_ client: any TestClientProtocol) async throws -> String {
        let response = try await client.execute(uri: "/metrics", method: .get)
        #expect(response.status == .ok)
        #expect(response.headers[.contentType] == "text/plain; version=0.0.4; charset=utf-8")
        return String(buffer: response.body)
    }

    /// A fleet in which every metric has something to say.
    private func busy(_ test: TestFleet, _ api: any TestClientProtocol) async throws {
        let agent = try await test.enroll("i-1", labels: ["vpc": "prod"])
        try await test.enroll("i-2")
        try await test.apply(policy("web"))
        let desired = try #require(try await test.checkin(agent).desired)
        let strange = Condition(ConditionKind(code: "strange\"\n", severity: .warning, remedy: ""), "")
        _ = try await test.checkin(
            agent, .running(desired, conditions: [Condition(.driftRepaired, "x"), strange]),
            outcome: Outcome(hash: desired.hash, result: .applied, detail: "", at: test.clock.now))
        _ = try await test.fleet.setCordoned(true, "i-2", by: TestFleet.admin)
        for path in ["/v1/instances", "/v1/instances/i-1", "/v1/instances/i-9", "/v1/x\"y", "/v1/a\\b"] {
            _ = try await api.execute(uri: path, method: .get, headers: [.authorization: "Bearer secret"])
        }
        _ = try await api.execute(uri: "/v1/instances", method: try #require(HTTPRequest.Method("BREW")))
    }

    @Test func itCountsWhatIsThere() async throws {
        try await with { test, api, monitoring in
            try await busy(test, api)
            let lines = Set(try await scrape(monitoring).split(separator: "\n").map(String.init))
            let requests = "natfleet_http_requests_total{method=\"GET\",route="
            for line in [
                "natfleet_build_info{version=\"\(NatfleetVersion.current)\"} 1",
                "natfleet_instances{health=\"healthy\"} 1", "natfleet_instances{health=\"unknown\"} 1",
                "natfleet_instances{health=\"offline\"} 0", "natfleet_instances_cordoned 1",
                "natfleet_instances_with_condition{condition=\"drift-repaired\"} 1",
                "natfleet_instances_with_condition{condition=\"other\"} 1",
                "natfleet_instances_with_condition{condition=\"not-persisted\"} 0", "natfleet_policies 1",
                "natfleet_policy_changes_total 1", "natfleet_checkins_total 2", "natfleet_checkins_held 0",
                "natfleet_outcomes_total{result=\"applied\"} 1", "natfleet_outcomes_total{result=\"failed\"} 0",
                "natfleet_certificates_issued_total 2", requests + "\"/v1/instances\",code=\"200\"} 1",
                requests + "\"/v1/instances/{id}\",code=\"200\"} 1",
                requests + "\"/v1/instances/{id}\",code=\"404\"} 1",
                "natfleet_http_request_duration_seconds_count{method=\"GET\",route=\"/v1/instances/{id}\"} 2",
                "natfleet_http_request_duration_seconds_bucket{method=\"GET\",route=\"/v1/instances/{id}\",le=\"+Inf\"} 2",
            ] {
                #expect(lines.contains(line), "\(line)")
            }
            let now = Int(test.clock.now.timeIntervalSince1970)
            for (name, days) in [("authority", 3650), ("server", 30), ("instance", 1)] {
                #expect(
                    lines.contains(
                        "natfleet_certificate_expiry_timestamp_seconds{certificate=\"\(name)\"} \(now + days * 86_400)")
                )
            }
        }
    }

    @Test func heldCheckinsShow() async throws {
        try await with { test, _, monitoring in
            let agent = try await test.enroll("i-1")
            let held = Task { try await test.checkin(agent, answered: EffectivePolicy.none.hash, wait: 50) }
            #expect(try await eventually { test.fleet.hub.waiting == 1 })
            #expect(try await scrape(monitoring).contains("\nnatfleet_checkins_held 1\n"))
            held.cancel()
            _ = try await held.value
        }
    }

    /// Neither a caller's paths and methods nor what agents say may make series.
    @Test func callersCannotMakeSeries() async throws {
        try await with { test, api, monitoring in
            try await busy(test, api)
            let before = try Exposition(try await scrape(monitoring)).series.count
            for index in 0..<50 {
                _ = try await api.execute(uri: "/v1/instances/i-\(index)", method: .get)
                _ = try await api.execute(uri: "/nothing/\(index)", method: .get)
                _ = try await api.execute(uri: "/v1/ca", method: try #require(HTTPRequest.Method("M\(index)")))
            }
            let after = try Exposition(try await scrape(monitoring)).series
            #expect(after.count <= before + 2)
            #expect(after.contains("natfleet_http_requests_total{method=\"other\",route=\"other\",code=\"404\"}"))
        }
    }

    @Test func theTextIsWhatPrometheusTakes() async throws {
        try await with { test, api, monitoring in
            try await busy(test, api)
            let exposition = try Exposition(try await scrape(monitoring))
            #expect(exposition.families.count >= 17)
            #expect(exposition.families.keys.allSatisfy { $0.hasPrefix("natfleet_") || $0.hasPrefix("process_") })
        }
    }

    @Test func theDocumentationNamesThemAll() async throws {
        try await with { test, api, monitoring in
            try await busy(test, api)
            let page = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../docs/operations.md")
            let text = try String(contentsOf: page, encoding: .utf8)
            let documented = Set(text.matches(of: /`(natfleet_[a-z_]+)/).map { String($0.1) })
            let names = try Exposition(try await scrape(monitoring)).families.keys.filter { $0.hasPrefix("natfleet_") }
            #expect(documented == Set(names))
        }
    }

    @Test(.enabled(if: promtool != nil || KernelSuite.isRequired, "no promtool in PATH: scripts/setup test brings it"))
    func promtoolFindsNothingToSay() async throws {
        try await with { test, api, monitoring in
            try await busy(test, api)
            let path = try #require(promtool)
            let result = try await runProgram(path, ["check", "metrics"], input: try await scrape(monitoring))
            #expect(result.succeeded)
            #expect(result.output.isEmpty && result.errors.isEmpty, "\(result.output)\(result.errors)")
        }
    }

    @Test(arguments: [(nil, 200, "ready\n"), ("starting", 503, "not ready: starting\n")] as [(String?, Int, String)])
    func readyIsWhatCanServe(obstacle: String?, status: Int, text: String) async throws {
        try await with(obstacle: obstacle) { _, _, monitoring in
            let ready = try await monitoring.execute(uri: "/ready", method: .get)
            #expect(ready.status.code == status)
            #expect(String(buffer: ready.body) == text)
            #expect(try await monitoring.execute(uri: "/live", method: .get).status == .ok)
            #expect(try await monitoring.execute(uri: "/live", method: .head).status == .ok)
            #expect(try await monitoring.execute(uri: "/v1/instances", method: .get).status == .notFound)
        }
    }

    @Test func aStoreThatIsGoneIsAliveAndNotReady() async throws {
        try await with { test, _, monitoring in
            try test.store.close()
            #expect(try await monitoring.execute(uri: "/ready", method: .get).status == .serviceUnavailable)
            #expect(try await monitoring.execute(uri: "/metrics", method: .get).status == .serviceUnavailable)
            #expect(try await monitoring.execute(uri: "/live", method: .get).status == .ok)
        }
    }

    @Test(arguments: [
        "a_total 1\n", "# TYPE a counter\na 1\n", "# HELP a A.\n# TYPE a counter\na 1\n",
        "# HELP a_total A.\n# TYPE a_total counter\na_total 1",
        "# HELP a_total A.\n# TYPE a_total counter\na_total -1\n",
        "# HELP a_ms A.\n# TYPE a_ms gauge\na_ms 1\n", "# HELP a A.\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a A.\n# TYPE a gauge\na{b=\"c} 1\n", "# HELP a A.\n# TYPE a gauge\nb 1\n",
        "# HELP a A.\n# TYPE a gauge\na x\n", "# HELP a \n# TYPE a gauge\na 1\n",
        "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
        "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n",
        "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 2\n",
        "# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n",
    ])
    func theCheckerBites(text: String) { #expect(throws: Exposition.Fault.self) { try Exposition(text) } }
}

/// Where `scripts/setup test`, or anybody else, put it.
private let promtool = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    .map { "\($0)/promtool" }.first { FileManager.default.isExecutableFile(atPath: $0) }
