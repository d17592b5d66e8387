// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation

/// What runs on the hosts of the lab while the controller is killed.
enum KillScripts {
    /// The document of an attempt: what it excepts from translation says which attempt it was.
    static func document(_ attempt: String) -> String {
        Policies.egress.replacing("sources:", with: "except: [\(exception(attempt))], sources:")
    }

    static func exception(_ attempt: String) -> String { "192.168.\(attempt).0/24" }

    /// Applies attempt after attempt, the first being the one after `$1`, until one fails. Each line ends with how it went.
    static let applyLoop = """
        attempt=$1
        while ((++attempt <= 255)); do
            answer=$(sed "s/ATTEMPT/$attempt/" /run/template.yaml | timeout 20 "$0" apply -f - 2>&1)
            status=$?
            echo "attempt $attempt" $answer "status $status"
            [ $status = 0 ] || break
        done
        """

    /// New connections one after the other, each with what the server saw.
    static let traffic = """
        while :; do
            echo "tcp $(bash "$0" tcp $1 80 8 || echo nobody)"
            echo "udp $(bash "$0" udp $1 $2 3 || echo nobody)"
        done
        """

    /// Counts connections and datagrams to a server, and datagrams back, where they begin and where they end.
    static func count(_ program: String, client: Bool, server: String, translated: String) -> String {
        let (there, back) =
            client
            ? ("OUTPUT -d \(server)", "PREROUTING -s \(server)")
            : ("PREROUTING -s \(translated)", "OUTPUT -d \(translated)")
        return ["\(there) -p tcp --syn", "\(there) -p udp", "\(back) -p udp"]
            .map { "\(program) -t raw -A \($0)" }.joined(separator: "; ")
    }

    /// What `count` counted, always in its order.
    static func counted(_ program: String, client: Bool) -> String {
        let chains = client ? "OUTPUT PREROUTING" : "PREROUTING OUTPUT"
        return
            "for chain in \(chains); do \(program) -t raw -nvxL $chain; done | awk 'NR > 1 && $1 + 0 == $1 {print $1}' | xargs"
    }
}

/// What one apply printed.
struct ApplyLine {
    let attempt: Int
    /// The revision that it was told, with exit status 0.
    let revision: Int?
    let text: String

    /// - Returns: nil for a line that was cut off.
    init?(_ line: some StringProtocol) {
        let words = String(line).split(separator: " ").map { String($0) }
        guard words.count >= 4, words[0] == "attempt", let attempt = Int(words[1]), words[words.count - 2] == "status"
        else { return nil }
        self.attempt = attempt
        text = String(line)
        let told = words.firstIndex(of: "(revision").flatMap { Int(words[$0 + 1].filter(\.isNumber)) }
        let isChange = words.contains("created") || words.contains("updated")
        revision = words.last == "0" && isChange ? told : nil
    }
}

extension Daemon {
    /// SIGKILL to the program itself rather than to what runs it in the lab, then waits for the end of both.
    func killProgram() async {
        kill(program, SIGKILL)
        while isRunning { try? await Task.sleep(for: .milliseconds(5)) }
    }

    /// The program itself, below what runs it in the lab.
    var program: Int32 {
        var pid = pid
        while let child = try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)
            .split(separator: " ").first.flatMap({ Int32($0) })
        { pid = child }
        return pid
    }

    /// As the hosts of its lab number it.
    var programInLab: Int32 {
        let status = try? String(contentsOfFile: "/proc/\(program)/status", encoding: .utf8)
        let line = status?.split(separator: "\n").first { $0.hasPrefix("NSpid:") }
        return line?.split(separator: "\t").last.flatMap { Int32($0) } ?? 0
    }
}
