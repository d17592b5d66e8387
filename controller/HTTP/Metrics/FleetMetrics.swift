// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import FleetModel
import Foundation

/// The controller and its fleet as metrics: names by Prometheus' conventions, all label values always there.
func fleetMetrics(_ measures: FleetMeasures, serverCertificateExpires: Date) -> [MetricFamily] {
    let kinds = ConditionKind.catalogue.filter { !$0.isLocal }
    let known = Set(kinds.map(\.code))
    let unknown = measures.conditions.filter { !known.contains($0.key) }.values.max() ?? 0
    let ends = [
        ("authority", measures.authorityExpires), ("server", serverCertificateExpires),
        ("instance", measures.instanceCertificateExpires),
    ]
    return [
        MetricFamily(
            .gauge, "natfleet_build_info", "The version that runs.", by: "version", [(NatfleetVersion.current, 1)]),
        MetricFamily(
            .gauge, "natfleet_instances", "Instances by health.", by: "health",
            Instance.Health.allCases.map { ($0.rawValue, Double(measures.instances[$0] ?? 0)) }),
        MetricFamily(.gauge, "natfleet_instances_cordoned", "Instances that are cordoned.", Double(measures.cordoned)),
        MetricFamily(
            .gauge, "natfleet_instances_with_condition", "Instances that show a condition.", by: "condition",
            kinds.map { ($0.code, Double(measures.conditions[$0.code] ?? 0)) }
                + [("other", Double(unknown))]),
        MetricFamily(.gauge, "natfleet_policies", "Policies, deleted ones excluded.", Double(measures.policies)),
        MetricFamily(
            .counter, "natfleet_policy_changes_total", "Policies created, updated or deleted.",
            Double(measures.tally.policyChanges)),
        MetricFamily(.counter, "natfleet_checkins_total", "Check-ins of agents.", Double(measures.tally.checkins)),
        MetricFamily(
            .gauge, "natfleet_checkins_held", "Check-ins that wait for news now.", Double(measures.heldCheckins)),
        MetricFamily(
            .counter, "natfleet_outcomes_total", "How agents' tries to run what was asked ended.", by: "result",
            Outcome.Result.allCases.map { ($0.rawValue, Double(measures.tally.outcomes[$0] ?? 0)) }),
        MetricFamily(
            .counter, "natfleet_certificates_issued_total", "Certificates issued to agents.",
            Double(measures.tally.certificates)),
        MetricFamily(
            .gauge, "natfleet_certificate_expiry_timestamp_seconds",
            "End of the fleet authority's certificate, of the controller's own, and the soonest of an instance that is "
                + "not offline.",
            by: "certificate",
            ends.compactMap { name, end in end.map { (name, $0.timeIntervalSince1970.rounded()) } }),
        MetricFamily(
            .gauge, "natfleet_database_size_bytes", "The database and its write-ahead log on disk.", by: "file",
            [("database", Double(measures.size.database)), ("log", Double(measures.size.log))]),
    ]
}

/// What Prometheus' own clients say of their process, from Linux' /proc.
func processMetrics() -> [MetricFamily] {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    let pages = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ")
    let resident = pages.flatMap { $0.count > 1 ? Int($0[1]) : nil } ?? 0
    let files = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd"))?.count ?? 0
    return [
        MetricFamily(
            .counter, "process_cpu_seconds_total", "CPU time spent, user and system.",
            Double(time.tv_sec) + Double(time.tv_nsec) / 1e9),
        MetricFamily(
            .gauge, "process_resident_memory_bytes", "Resident memory.", Double(resident * sysconf(Int32(_SC_PAGESIZE)))
        ),
        MetricFamily(.gauge, "process_open_fds", "Open file descriptors.", Double(files)),
        MetricFamily(
            .gauge, "process_start_time_seconds", "When the process started, as seconds since 1970.",
            processStart.timeIntervalSince1970.rounded()),
    ]
}

/// The first time that anybody asks; the controller does when it starts.
let processStart = Date()
