// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Hummingbird
import Synchronization

/// Counts requests and how long their answers took, by route: the pattern, so that no caller can make new series.
package final class RequestMeter: Sendable {
    /// Upper ends of the buckets, in seconds; held check-ins take up to 50.
    static let bounds = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

    private struct Route: Hashable {
        var method: String
        var path: String

        var labels: [MetricFamily.Label] { [.init("method", method), .init("route", path)] }
    }

    private struct Series {
        /// One for each bound, not cumulative; what is slower is in `count` only.
        var buckets = [Int](repeating: 0, count: RequestMeter.bounds.count)
        var count = 0
        var sum = 0.0
        var codes: [Int: Int] = [:]
    }

    private let series = Mutex<[Route: Series]>([:])

    package init() {}

    /// - Parameter route: nil where no route matched.
    func record(_ route: (method: String, path: String)?, status: Int, took time: Duration) {
        let key = Route(method: route?.method ?? "other", path: route?.path ?? "other")
        let seconds = time / .seconds(1)
        series.withLock { series in
            var entry = series[key] ?? Series()
            if let bucket = Self.bounds.firstIndex(where: { seconds <= $0 }) { entry.buckets[bucket] += 1 }
            entry.count += 1
            entry.sum += seconds
            entry.codes[status, default: 0] += 1
            series[key] = entry
        }
    }

    var families: [MetricFamily] {
        let series = series.withLock { $0 }.sorted { ($0.key.path, $0.key.method) < ($1.key.path, $1.key.method) }
        return [
            MetricFamily(
                name: "natfleet_http_requests_total", help: "Requests answered.", kind: .counter,
                samples: series.flatMap { route, entry in
                    entry.codes.sorted { $0.key < $1.key }.map { code, count in
                        .init(labels: route.labels + [.init("code", "\(code)")], value: Double(count))
                    }
                }),
            MetricFamily(
                name: "natfleet_http_request_duration_seconds",
                help: "Time until a request was answered; held check-ins include the hold.", kind: .histogram,
                samples: series.flatMap { route, entry in Self.histogram(entry, route.labels) }),
        ]
    }

    private static func histogram(_ series: Series, _ labels: [MetricFamily.Label]) -> [MetricFamily.Sample] {
        var sum = 0
        var samples = zip(bounds, series.buckets).map { bound, count in
            sum += count
            return MetricFamily.Sample(
                suffix: "_bucket", labels: labels + [.init("le", MetricFamily.number(bound))], value: Double(sum))
        }
        samples.append(
            .init(suffix: "_bucket", labels: labels + [.init("le", "+Inf")], value: Double(series.count)))
        samples.append(.init(suffix: "_sum", labels: labels, value: series.sum))
        samples.append(.init(suffix: "_count", labels: labels, value: Double(series.count)))
        return samples
    }
}

/// Around everything else, so that it sees the status that goes out.
struct Metering: RouterMiddleware {
    let meter: RequestMeter

    func handle(
        _ request: Request, context: FleetContext, next: (Request, FleetContext) async throws -> Response
    ) async throws -> Response {
        let start = ContinuousClock.now
        let route = context.endpointPath.map { (method: request.method.rawValue, path: $0) }
        do {
            let response = try await next(request, context)
            meter.record(route, status: response.status.code, took: .now - start)
            return response
        } catch {
            meter.record(route, status: 500, took: .now - start)
            throw error
        }
    }
}
