// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import TestSupport
import Testing

/// Somebody else where the controller should be.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct ImpostorSerialTests {
    @Test func anImpostorGetsNothing() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            let token = try await lab.joinToken("--instance", "nat-a")
            let hash = try await lab.caHash()
            await controller.end()

            // Somebody else at the controller's address: its own CA first, then the true one, which anyone can fetch.
            let record = "/run/lab/heard"
            try await lab.shell(
                "controller",
                """
                cd /run/lab; : >heard
                openssl x509 -in \(FleetLab.data)/pki/ca.pem -out true.pem
                openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=natfleet \
                    -addext subjectAltName=IP:10.0.0.5 -keyout key.pem -out cert.pem 2>/dev/null
                """)
            for (shown, complaint) in [
                ("/run/lab/cert.pem", "whose SHA-256 is not NATFLEET_CA_HASH"),
                ("/run/lab/true.pem", "cannot reach the controller"),
            ] {
                let impostor = try await lab.impostor(showing: shown, record: record)
                try await lab.writeConfiguration("nat-a", token: token, caHash: hash)
                let agent = try lab.runAgent("nat-a")
                try await eventually(within: 20, "the agent tries twice: \(agent.output)") {
                    try await lab.shell("controller", "grep -c '^GET /v1/ca ' \(record) ||:").hasPrefix("2")
                }
                #expect(agent.output.contains(complaint), "\(agent.output)")
                #expect(agent.output.split(separator: "\n").count == 1, "\(agent.output)")
                await agent.end()
                let heard = try await lab.shell("controller", "cat \(record); : >\(record)")
                #expect(!heard.contains("POST") && !heard.contains(token) && !heard.contains("CERTIFICATE"), "\(heard)")
                await impostor.end()
            }

            let again = try await lab.startController()
            let agent = try lab.runAgent("nat-a")
            try await eventually(within: 20, "nat-a enrols after all: \(agent.output)") {
                try await lab.instance("nat-a")?.lastSeen != nil
            }
            #expect(again.isRunning)
        }
    }
}

extension FleetLab {
    /// A TLS server at the controller's address that answers every request with a CA bundle and keeps what it hears.
    func impostor(showing certificate: String, record: String) async throws -> Daemon {
        try await shell(
            "controller",
            """
            cat >/run/lab/impostor <<'EOF'
            while IFS= read -r line; do
                printf '%s\\n' "$line" >>\(record)
                [[ $line == $'\\r' ]] || continue
                body=$(jq -Rsc '{certificates: [rtrimstr("\\n")]}' \(certificate))
                printf 'HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %s\\r\\n\\r\\n%s' \
                    ${#body} "$body"
            done
            EOF
            """)
        let server = try daemon(
            "controller",
            [
                "socat",
                "OPENSSL-LISTEN:8443,bind=10.0.0.5,reuseaddr,fork,cert=/run/lab/cert.pem,"
                    + "key=/run/lab/key.pem,verify=0", "EXEC:bash /run/lab/impostor",
            ])
        try await eventually(within: 10, "the impostor listens: \(server.output)") {
            try await shell("controller", "ss -Hltn sport = 8443").contains("8443")
        }
        return server
    }
}
