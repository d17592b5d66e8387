// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

// Order: shared targets, controller, agent, tests; within a section alphabetical, one dependency a line.
// Arrows point inward only (docs/architecture.md); scripts/check-imports holds the rules that SwiftPM cannot.

import PackageDescription

let package = Package(
    name: "natfleet",
    products: [
        .executable(name: "natfleet", targets: ["ControllerMain"]),
        .executable(name: "natfleet-agent", targets: ["AgentMain"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
    ],
    targets: [
        // MARK: Shared
        .systemLibrary(
            name: "CLibcurl",
            path: "Sources/CLibcurl",
            pkgConfig: "libcurl",
            providers: [.apt(["libcurl4-openssl-dev"])]
        ),
        .target(name: "DetachedThread"),
        .target(name: "FleetAPI", dependencies: ["FleetModel", "NATPolicy", "NetAddress"]),
        .target(name: "FleetModel", dependencies: ["NATPolicy", "NetAddress"]),
        .target(
            name: "HTTPSClient",
            dependencies: ["CLibcurl", "DetachedThread"]
        ),
        .target(
            name: "NATPolicy",
            dependencies: [
                "NetAddress",
                "Netfilter",
                .product(name: "Crypto", package: "swift-crypto"),
            ]
        ),
        .target(name: "NetAddress"),
        .target(name: "Netfilter", dependencies: ["NetAddress"]),

        // MARK: Controller
        .target(
            name: "ControllerCLI",
            dependencies: [
                "FleetAPI",
                "FleetModel",
                "HTTPSClient",
                "NATPolicy",
                "NetAddress",
                "Netfilter",
                "PolicyImport",
                "PolicyYAML",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Yams", package: "Yams"),
            ],
            path: "controller/CLI"
        ),
        .target(
            name: "ControllerCore",
            dependencies: [
                "FleetAPI",
                "FleetModel",
                "NATPolicy",
                "NetAddress",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "controller/Core"
        ),
        .target(
            name: "ControllerHTTP",
            dependencies: [
                "ControllerCore",
                "FleetAPI",
                "FleetModel",
                "NetAddress",
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            path: "controller/HTTP",
            resources: [.embedInCode("openapi.yaml")]
        ),
        .executableTarget(
            name: "ControllerMain",
            dependencies: [
                "ControllerCLI",
                "ControllerCore",
                "ControllerHTTP",
                "ControllerPKI",
                "ControllerStore",
                "DetachedThread",
                "FleetAPI",
                "FleetModel",
                "NATPolicy",
                "NetAddress",
                "PolicyYAML",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            path: "controller/Main"
        ),
        .target(
            name: "ControllerPKI",
            dependencies: [
                "ControllerCore",
                "FleetModel",
                "NetAddress",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
                .product(name: "X509", package: "swift-certificates"),
            ],
            path: "controller/PKI"
        ),
        .target(
            name: "ControllerStore",
            dependencies: [
                "ControllerCore",
                "FleetAPI",
                "FleetModel",
                "NATPolicy",
                .product(name: "GRDB", package: "GRDB.swift"),
            ],
            path: "controller/Store"
        ),
        .target(
            name: "PolicyImport",
            dependencies: ["NATPolicy", "NetAddress"],
            path: "controller/Import"
        ),
        .target(
            name: "PolicyYAML",
            dependencies: [
                "NATPolicy",
                "NetAddress",
                .product(name: "Yams", package: "Yams"),
            ],
            path: "controller/PolicyYAML"
        ),

        // MARK: Agent
        .target(
            name: "AgentCore",
            dependencies: [
                "FleetAPI",
                "FleetModel",
                "NATPolicy",
                "NetAddress",
                "Netfilter",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "agent/Core"
        ),
        .target(
            name: "AgentDataplane",
            dependencies: [
                "AgentCore",
                "CGlibcCompat",
                "FleetModel",
                "NATPolicy",
                "NetAddress",
                "Netfilter",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            path: "agent/Dataplane"
        ),
        .target(
            name: "AgentLink",
            dependencies: [
                "AgentCore",
                "FleetAPI",
                "FleetModel",
                "HTTPSClient",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
            ],
            path: "agent/Link"
        ),
        .executableTarget(
            name: "AgentMain",
            dependencies: [
                "AgentCore",
                "AgentDataplane",
                "AgentLink",
                "AgentNetlink",
                "AgentProbes",
                "CGlibcCompat",
                "DetachedThread",
                "FleetAPI",
                "FleetModel",
                "NATPolicy",
                "NetAddress",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "agent/Main"
        ),
        .target(
            name: "AgentNetlink",
            dependencies: ["AgentCore", "DetachedThread", "NetAddress"],
            path: "agent/Netlink"
        ),
        .target(
            name: "AgentProbes",
            dependencies: [
                "AgentCore",
                "CGlibcCompat",
                "DetachedThread",
                "NATPolicy",
                "NetAddress",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "agent/Probes"
        ),
        .target(name: "CGlibcCompat", path: "agent/CGlibcCompat"),

        // MARK: Tests
        .testTarget(
            name: "AgentTests",
            dependencies: [
                "AgentCore",
                "AgentDataplane",
                "AgentLink",
                "AgentNetlink",
                "AgentProbes",
                "FleetAPI",
                "FleetModel",
                "NATPolicy",
                "NetAddress",
                "Netfilter",
                "TestSupport",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
                .product(name: "X509", package: "swift-certificates"),
            ]
        ),
        .testTarget(
            name: "CLITests",
            dependencies: [
                "AgentCore",
                "AgentLink",
                "AgentMain",
                "ControllerCLI",
                "ControllerCore",
                "ControllerHTTP",
                "ControllerMain",
                "ControllerPKI",
                "FleetAPI",
                "FleetModel",
                "HTTPSClient",
                "NATPolicy",
                "NetAddress",
                "Netfilter",
                "PolicyImport",
                "PolicyYAML",
                "TestSupport",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Yams", package: "Yams"),
            ],
            exclude: ["Golden"]
        ),
        .testTarget(
            name: "ControllerTests",
            dependencies: [
                "ControllerCore",
                "ControllerHTTP",
                "ControllerPKI",
                "ControllerStore",
                "FleetAPI",
                "FleetModel",
                "NATPolicy",
                "NetAddress",
                "PolicyYAML",
                "TestSupport",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTesting", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
                .product(name: "X509", package: "swift-certificates"),
                .product(name: "Yams", package: "Yams"),
            ]
        ),
        .testTarget(
            name: "EndToEndTests",
            dependencies: [
                "AgentCore",
                "AgentMain",
                "ControllerMain",
                "FleetAPI",
                "FleetModel",
                "HTTPSClient",
                "NATPolicy",
                "NetAddress",
                "ProbeDriver",
                "TestSupport",
            ]
        ),
        .testTarget(
            name: "HTTPSClientTests",
            dependencies: ["HTTPSClient", "TestSupport"]
        ),
        .testTarget(
            name: "NATPolicyTests",
            dependencies: [
                "NATPolicy",
                "NetAddress",
                "Netfilter",
                "PolicyYAML",
                "TestSupport",
            ],
            exclude: ["Golden"]
        ),
        .testTarget(name: "NetAddressTests", dependencies: ["NetAddress", "TestSupport"]),
        .testTarget(
            name: "NetfilterTests",
            dependencies: ["NetAddress", "Netfilter", "TestSupport"]
        ),
        .testTarget(
            name: "NetlinkTests",
            dependencies: ["AgentCore", "AgentNetlink", "NATPolicy", "NetAddress", "Netfilter", "TestSupport"]
        ),
        .executableTarget(
            name: "ProbeDriver",
            dependencies: [
                "AgentCore",
                "AgentDataplane",
                "AgentNetlink",
                "AgentProbes",
                "NATPolicy",
                "NetAddress",
                "Netfilter",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/ProbeDriver"
        ),
        .target(
            name: "TestSupport",
            dependencies: [
                "NATPolicy",
                "NetAddress",
                "Netfilter",
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            path: "Tests/Support"
        ),
    ],
    swiftLanguageModes: [.v6]
)

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

for target in package.targets where target.type != .system && !target.name.hasPrefix("CG") {
    target.swiftSettings = settings
}
