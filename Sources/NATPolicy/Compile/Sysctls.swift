// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

extension FamilyCompiler {
    /// What the kernel must hold before rules and forwarding go on.
    var sysctls: [SysctlSetting] {
        guard isForwarded else { return [] }
        return switch family {
        case .ipv4: redirectSettings + pathFilterSettings
        case .ipv6: routerAdvertisementSettings
        }
    }

    private var used: [String] { outside + arrivals.filter { !outside.contains($0) } }

    /// A forwarding host ignores router advertisements, and with them loses its default route, unless told 2. While it is 0
    /// a network manager handles them itself and must be left alone, and it may come late: before it has configured an
    /// interface the kernel's own 1 stands there. Before the first advertisement the way out is where IPv4's is.
    private var routerAdvertisementSettings: [SysctlSetting] {
        (outside.isEmpty ? otherOutside : outside).map {
            SysctlSetting("net.ipv6.conf.\(SysctlSetting.keyPart($0)).accept_ra", "2", .unless("0"))
        }
    }

    /// Clients on the outside interface must not be told to go past this host. The kernel sends redirects when either
    /// of `all` and the interface says so.
    private var redirectSettings: [SysctlSetting] {
        (["all"] + used).map { SysctlSetting("net.ipv4.conf.\(SysctlSetting.keyPart($0)).send_redirects", "0") }
    }

    /// With two interfaces paths may differ by direction, which the strict filter (1) drops. The kernel takes the higher
    /// of `all` and the interface.
    private var pathFilterSettings: [SysctlSetting] {
        guard used.count > 1 else { return [] }
        return (["all"] + used).map {
            SysctlSetting("net.ipv4.conf.\(SysctlSetting.keyPart($0)).rp_filter", "2", .when("1"))
        }
    }
}

/// What turns a family's forwarding on.
package func forwardingSetting(_ family: IPFamily) -> SysctlSetting { SysctlSetting(family.forwardingKey, "1") }

extension IPFamily {
    /// The sysctl that turns forwarding on, for all interfaces (kernel Documentation/networking/ip-sysctl.rst).
    package var forwardingKey: String {
        switch self {
        case .ipv4: "net.ipv4.ip_forward"
        case .ipv6: "net.ipv6.conf.all.forwarding"
        }
    }
}
