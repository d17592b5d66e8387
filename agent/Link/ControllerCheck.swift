// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
import Crypto
import FleetAPI
import FleetModel
import HTTPSClient
import SwiftASN1

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Calls the controller as an agent would that knows nothing but its configuration, for `natfleet-agent doctor`: is anybody
/// there, is it the CA of the configured hash, and is the server's certificate of that CA and for that name. Sends nothing
/// of ours. Takes 20 s at most.
package func reachController(_ configuration: AgentCore.Configuration) async -> Inspection.Reach {
    let request = HTTPSClient.Request(url: configuration.controller + Endpoints.ca, timeout: .seconds(10))
    func client(_ trust: HTTPSClient.Trust) -> HTTPSClient {
        HTTPSClient(.init(trust: trust, userAgent: "natfleet-agent/\(NatfleetVersion.current) doctor"))
    }
    let response: HTTPSClient.Response
    do throws(TransportError) {
        response = try await client(.unverified).send(request)
    } catch {
        return .init(fault: error.message, remedy: remedy(error.code))
    }
    let date = response.headers["date"].flatMap(httpDate)
    guard response.status == 200, let bundle = try? WireJSON.decode(CABundle.self, from: Data(response.body)) else {
        return .init(
            fault: "answers \(response.status) where a natfleet controller shows its CA",
            remedy: "check that NATFLEET_CONTROLLER names a natfleet controller", date: date)
    }
    let pinned = bundle.certificates.first { pem in
        (try? PEMDocument(pemString: pem)).map { hex(SHA256.hash(data: $0.derBytes)) } == configuration.caHash
    }
    guard let pinned else {
        return .init(
            fault: "shows a CA whose SHA-256 is not NATFLEET_CA_HASH",
            remedy: "compare NATFLEET_CA_HASH with what 'natfleet serve' printed", date: date)
    }
    do throws(TransportError) {
        _ = try await client(.authorities(pem: pinned)).send(request)
    } catch {
        return .init(fault: error.message, remedy: remedy(error.code), date: date)
    }
    return .init(date: date)
}

/// Who the agent is, by the state folder; nil where it has not enrolled.
package func enrolledIdentity(_ files: any StateFiles) throws -> Inspection.Identity? {
    guard let identity = try Identity.load(files) else { return nil }
    let (start, end) = try identity.validity()
    return .init(
        instanceID: identity.instanceID, starts: Date(timeIntervalSince1970: start),
        expires: Date(timeIntervalSince1970: end))
}

private func remedy(_ code: TransportError.Code) -> String {
    switch code {
    case .unresolved: "check NATFLEET_CONTROLLER and the resolver: getent hosts NAME"
    case .unreachable, .timedOut:
        "see that the controller runs, and that routes and security groups let this host reach its port"
    case .untrusted, .tls:
        "name the controller as its certificate does ('natfleet serve --advertise NAME'), and check the clock"
    case .interrupted, .tooLarge, .cancelled, .other: "check that NATFLEET_CONTROLLER names a natfleet controller"
    }
}

/// RFC 9110 §5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`; nil for anything else.
func httpDate(_ text: String) -> Date? {
    let words = text.split(whereSeparator: { $0 == " " || $0 == ":" })
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    guard words.count == 8, words[7] == "GMT", let month = months.firstIndex(of: String(words[2])),
        let day = Int(words[1]), let year = Int(words[3]), let hour = Int(words[4]), let minute = Int(words[5]),
        let second = Int(words[6]), let utc = TimeZone(secondsFromGMT: 0)
    else { return nil }
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = utc
    return calendar.date(
        from: DateComponents(year: year, month: month + 1, day: day, hour: hour, minute: minute, second: second))
}
