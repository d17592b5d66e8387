// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import Testing

/// What decides without a machine: the way of saving, the text of files.
struct PersistenceTextTests {
    static let enabled = UnitState(load: "loaded", file: "enabled", active: "active")
    static let disabled = UnitState(load: "loaded", file: "disabled", active: "inactive")
    static let masked = UnitState(load: "masked", file: "masked", active: "inactive")
    static let redHat = ["iptables.service": enabled, "ip6tables.service": disabled]
    static let debian = ["netfilter-persistent.service": enabled]

    struct Place: CustomTestStringConvertible, Sendable {
        var testDescription: String { "\(method), \(units?.keys.sorted() ?? [])" }
        var units: [String: UnitState]?
        var isOff = ""
        var method: PersistenceMethod
    }

    static let places: [Place] = [
        Place(units: nil, method: .own(reason: "this machine is not run by systemd")),
        Place(units: redHat, method: .iptablesServices),
        Place(units: debian, method: .netfilterPersistent),
        Place(units: redHat.merging(debian) { $1 }, method: .iptablesServices),
        Place(units: [:], method: .own(reason: "neither iptables-services nor netfilter-persistent is installed")),
        Place(
            units: redHat, isOff: "init",
            method: .own(reason: "neither iptables-services nor netfilter-persistent is installed")),
        Place(
            units: debian, isOff: "plugins",
            method: .own(reason: "netfilter-persistent is installed without iptables-persistent and saves nothing")),
        Place(units: debian, isOff: "save", method: .own(reason: "netfilter-persistent is told to skip saving")),
        Place(
            units: ["iptables.service": enabled, "ip6tables.service": masked],
            method: .own(reason: "ip6tables.service is masked")),
        Place(
            units: ["netfilter-persistent.service": masked],
            method: .own(reason: "netfilter-persistent.service is masked")),
        Place(
            units: redHat.merging(["firewalld.service": enabled]) { $1 }, method: .own(reason: "firewalld is in charge")
        ),
        Place(units: redHat.merging(["firewalld.service": disabled]) { $1 }, method: .iptablesServices),
        Place(
            units: redHat.merging(["firewalld.service": UnitState(load: "loaded", file: "disabled", active: "active")])
            {
                $1
            }, method: .own(reason: "firewalld is in charge")),
        Place(units: debian.merging(["ufw.service": enabled]) { $1 }, method: .own(reason: "ufw is in charge")),
        Place(units: debian.merging(["ufw.service": enabled]) { $1 }, isOff: "ufw", method: .netfilterPersistent),
        Place(
            units: debian.merging(["nftables.service": enabled]) { $1 },
            method: .own(reason: "nftables.service loads a ruleset of its own")),
    ]

    @Test(arguments: places)
    func theWayOfSavingIsFoundByWhatIsInstalledAndEnabled(_ place: Place) {
        var survey = MethodSurvey(units: place.units)
        survey.hasInitScript = place.isOff != "init"
        survey.hasPlugins = place.isOff != "plugins"
        survey.skipsSave = place.isOff == "save"
        survey.ufwIsOn = place.isOff != "ufw"
        #expect(survey.method == place.method)
    }

    @Test func unitsAreReadInTheOrderAskedFor() {
        let text = """
            Id=iptables.service
            LoadState=loaded
            UnitFileState=enabled
            ActiveState=failed

            Id=no-such.service
            LoadState=not-found
            ActiveState=inactive
            UnitFileState=
            """
        let states = UnitState.parse(text, asked: ["iptables.service", "no-such.service", "never-told.service"])
        #expect(
            states == [
                "iptables.service": UnitState(load: "loaded", file: "enabled", active: "failed"),
                "no-such.service": UnitState(load: "not-found", file: "", active: "inactive"),
            ])
    }

    @Test(arguments: [
        ("net.ipv4.ip_forward = 1", ["a:1 sets net.ipv4.ip_forward = 1"]),
        ("net.ipv4.ip_forward = 1\nnet/ipv4/ip_forward=0", []),
        ("net.ipv4.ip_forward = 0\n\n-net.ipv4.ip_forward=1", ["a:3 sets net.ipv4.ip_forward = 1"]),
        ("#net.ipv4.ip_forward = 1\n;net.ipv4.ip_forward = 1\nnet.ipv4.ip_forward", []),
        ("net.ipv6.conf.all.forwarding=1", ["a:1 sets net.ipv6.conf.all.forwarding = 1"]),
        ("net/ipv4/conf/eth0.5/forwarding=1", ["a:1 sets net.ipv4.conf.eth0/5.forwarding = 1"]),
        ("net.ipv4.conf.*.forwarding=1", ["a:1 sets net.ipv4.conf.*.forwarding = 1"]),
        ("net.ipv4.conf.all.mc_forwarding=1\nnet.ipv4.conf.all.rp_filter=1", []),
    ])
    func linesThatForwardAtBootAreFound(_ text: String, _ found: [String]) {
        #expect(SysctlFiles.forwarding(in: [("a", text)]) == found)
    }

    @Test func theLastFileWins() {
        let on = "net.ipv4.ip_forward=1"
        #expect(SysctlFiles.forwarding(in: [("a", on), ("b", "net.ipv4.ip_forward=0")]) == [])
        #expect(SysctlFiles.forwarding(in: [("a", on), ("b", on)]) == ["b:1 sets net.ipv4.ip_forward = 1"])
    }

    @Test func onlyOwnLinesAreTakenOut() {
        let others = """
            # NATFLEET-FWD was here
            *nat
            :POSTROUTING ACCEPT [1:2]
            -A POSTROUTING -m comment --comment "not -j NATFLEET-POST" -j MASQUERADE
            COMMIT
            *filter
            :FORWARD ACCEPT [0:0]
            :OTHER-NATFLEET- - [0:0]
            -A FORWARD -j OTHER-NATFLEET-
            COMMIT
            *mangle
            :NATFLEET-MINE - [0:0]
            COMMIT

            """
        let text = others.replacing(
            "*nat\n", with: "*nat\n:NATFLEET-POST - [0:0]\n[1:2] -A POSTROUTING -j NATFLEET-POST\n"
        ).replacing("*filter\n", with: "*filter\n:NATFLEET-FWD - [0:0]\n-A NATFLEET-FWD -j DROP\n")
        #expect(SavedRules(text).withoutOwn.text == others)
        #expect(SavedRules(others).withoutOwn.text == others)
    }

    @Test(arguments: [
        (0, 0), (256 << 10, 65_536), (512 << 10, 131_072), (1 << 20, 262_144), (2 << 20, 524_288), (4 << 20, 1 << 20),
        (64 << 20, 1 << 20),
    ])
    func connectionTrackingTakesAnEighthOfTheMemoryAtMost(_ memoryKiB: Int, _ max: Int) {
        let size = ConntrackSize.automatic(memoryKiB: memoryKiB)
        #expect(size.max == max)
        #expect(size.max * 512 <= memoryKiB * 1024 / 8)
        #expect(size.buckets >= size.max && size.buckets >= 1024)
    }

    @Test func theMemoryIsReadFromTheKernel() {
        #expect(ConntrackSize.memoryKiB("MemTotal:         979188 kB\nMemFree:  1 kB\n") == 979_188)
        #expect(ConntrackSize.memoryKiB("") == nil)
    }
}
