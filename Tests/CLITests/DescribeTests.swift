// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import Testing

struct DescribeTests {
    @Test func showsAnInstanceInFull() async throws {
        let run = try await natfleet("describe instance i-0b", FakeFleet(try exampleFleet()))
        #expect(
            run.output == """
                ID:                 i-0b
                Health:             degraded
                State:              refused
                Labels:             vpc=prod
                Enrolled:           2025-12-24T03:04:05Z (9d ago)
                Last seen:          2026-01-02T03:01:35Z (2m ago)
                Certificate ends:   2026-01-02T23:04:05Z (in 20h)
                Agent:              0.1.0
                Desired:            0123456789ab
                Running:            bbbb
                Last outcome:       refused 2026-01-02T02:59:15Z (4m ago)
                Outcome detail:     this host has no interface eth7
                Policies:
                  NAME         DESIRED   RUNNING
                  web-egress   2         1
                  old          <none>    4
                Conditions:
                  critical policy-refused: this host has no interface eth7
                    fix: read the reason, then change the policy or the host; 'natfleet instance retry ID' has it tried again as it is; the instance keeps what it had
                Host:
                  iptables 1.8.9 (nft)
                  eth0 10.0.0.10/24 2001:db8:0:1::10/64
                  default IPv4 dev eth0 via 10.0.0.1
                  default IPv6 dev eth0
                  vpc 10.0.0.0/16

                """)
        #expect(run.code == 0)
        #expect(run.errors == "")
    }

    @Test func showsAnInstanceThatNeverCame() async throws {
        let run = try await natfleet("describe instance i-0d", FakeFleet(try exampleFleet()))
        #expect(
            run.output == """
                ID:                 i-0d
                Health:             unknown
                State:              waiting
                Labels:             <none>
                Enrolled:           2026-01-02T03:03:20Z (45s ago)
                Last seen:          never
                Certificate ends:   never
                Desired:            <none>
                Running:            <none>

                """)
    }

    @Test func showsAPolicyInFull() async throws {
        let state = try exampleFleet()
        let hash = try #require(state.revisions["web-egress"]?.first?.hash)
        let run = try await natfleet("describe policy web-egress", FakeFleet(state))
        #expect(
            run.output == """
                Name:          web-egress
                Description:   egress of prod
                Revision:      2
                Hash:          \(hash)
                Created:       2026-01-02T02:59:05Z (5m ago)
                Priority:      100
                Labels:        vpc=prod
                Forwarding:    ipv4
                Guard:         on
                Masquerade:
                  NAME     FAMILIES   INTERFACE   SOURCES       EXCEPT
                  egress   auto       auto        10.0.0.0/16   <none>
                Port forwards:
                  NAME          DESTINATION     TO            SOURCES
                  PortMapping   self tcp/8002   10.0.1.1:80   any
                Instances:
                  ID     ASSIGNED   RUNNING   HEALTH
                  i-0a   2          2         healthy
                  i-0b   2          1         degraded
                  i-0c   2          1         offline

                """)
    }

    @Test func showsTokensAndEvents() async throws {
        let fleet = FakeFleet(try exampleFleet())
        #expect(
            try await natfleet("describe tokens", fleet).output == """
                ID:          t1
                State:       used
                Instance:    i-0a
                Labels:      <none>
                Uses left:   0
                Created:     2025-12-24T03:04:05Z (9d ago)
                Ends:        2025-12-25T03:04:05Z (8d ago)

                ID:          t2
                State:       active
                Instance:    <any>
                Labels:      az=a,vpc=prod
                Uses left:   3
                Created:     2026-01-02T02:54:05Z (10m ago)
                Ends:        2026-01-02T03:54:05Z (in 50m)

                """)
        #expect(
            try await natfleet("describe events --limit 1", fleet).output == """
                Event:     8
                At:        2026-01-02T02:59:05Z (5m ago)
                Kind:      policy.applied
                Subject:   policy/web-egress
                Actor:     operator:admin
                Detail:    revision 2

                """)
    }
}
