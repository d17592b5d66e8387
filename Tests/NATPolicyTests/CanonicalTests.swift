// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import PolicyYAML
import Testing

struct CanonicalTests {
    private static let base = """
        apiVersion: natfleet/v1
        kind: NATPolicy
        metadata: {name: web, description: egress}
        spec:
          selector: {matchLabels: {vpc: prod, aws/az: a}, instances: [i-2, i-1]}
          forwarding: {ipv4: true, ipv6: true}
          masquerade: [{name: egress, families: [ipv6, ipv4], sources: [10.0.0.0/16, "fd00::/64"], except: [10.0.0.0/8]}]
          dnat: [{name: web, protocol: tcp, port: "8000-8001", to: "10.0.1.1:80", sources: [192.0.2.0/24, 198.51.100.0/24]}]
        """

    /// Stored revisions are named by this hash: if it changes, so do all the names.
    @Test
    func theCanonicalFormAndItsHashStayWhatTheyAre() throws {
        let policy = try ExamplePolicyTests.only(Self.base)
        #expect(
            String(decoding: policy.canonicalJSON(), as: UTF8.self)
                == #"""
                {"description":"egress","name":"web","spec":{"dnat":[{"allowSSH":false,"destination":"self",\#
                "hairpin":false,"masquerade":false,"name":"web","port":"8000-8001","protocol":"tcp",\#
                "sources":["192.0.2.0/24","198.51.100.0/24"],"to":"10.0.1.1:80-81"}],"forwarding":{"ipv4":true,\#
                "ipv6":true},"masquerade":[{"except":["10.0.0.0/8"],"families":["ipv4","ipv6"],\#
                "interface":"auto","name":"egress","randomFully":true,"sources":["10.0.0.0/16","fd00::/64"]}],\#
                "priority":100,"selector":{"instances":["i-1","i-2"],"matchLabels":{"aws/az":"a",\#
                "vpc":"prod"}}}}
                """#)
        #expect(policy.hash == "b1c426631f230726981c16f49893d86e2dc54e5a15138e2301d2518337915516")
    }

    @Test
    func theEffectivePolicyHasItsCanonicalFormToo() throws {
        let policy = try ExamplePolicyTests.only(Self.base)
        let layer = PolicyLayer(policy: policy.name, revision: 3, spec: policy.spec)
        let effective = try mergeLayers([layer]).get()
        #expect(
            String(decoding: effective.canonicalJSON(), as: UTF8.self)
                == #"""
                {"dnat":[{"entry":{"allowSSH":false,"destination":"self","hairpin":false,"masquerade":false,\#
                "name":"web","port":"8000-8001","protocol":"tcp","sources":["192.0.2.0/24","198.51.100.0/24"],\#
                "to":"10.0.1.1:80-81"},"policy":"web"}],"forwarding":{"ipv4":true,"ipv6":true},"guard":true,\#
                "layers":[{"policy":"web","revision":3}],"masquerade":[{"entry":{"except":["10.0.0.0/8"],\#
                "families":["ipv4","ipv6"],"interface":"auto","name":"egress","randomFully":true,\#
                "sources":["10.0.0.0/16","fd00::/64"]},"policy":"web"}]}
                """#)
        #expect(effective.hash == "ef4ef91b516397343821846f523b1a67fc673f0ff2cc752419d9741006f21af3")
        #expect(EffectivePolicy.none.hash == "155bec5bdbd8b55d3cd7b52cb7ce3c912e8e870ff0cd47e91ba3fd8fc17fdc74")
    }

    /// Other words for the same.
    @Test(arguments: [
        ("[i-2, i-1]", "[i-1, i-2]"), ("{vpc: prod, aws/az: a}", "{aws/az: a, vpc: prod}"),
        ("{ipv4: true, ipv6: true}", "{ipv6: true, ipv4: true}"), ("[ipv6, ipv4]", "[ipv4, ipv6]"),
        ("[10.0.0.0/16, \"fd00::/64\"]", "[\"fd00:0::/64\", 10.0.0.0/16, 10.0.0.0/16]"), ("\"8000-8001\"", "8000-8001"),
        ("to: \"10.0.1.1:80\"", "to: 10.0.1.1:80-81"), ("except:", "randomFully: true, interface: auto, except:"),
        ("protocol: tcp", "destination: self, protocol: tcp, drain: false, hairpin: false"),
        ("selector:", "priority: 100\n  selector:"),
        ("[192.0.2.0/24, 198.51.100.0/24]", "[198.51.100.0/24, 192.0.2.0/24]"),
    ])
    func whatMeansTheSameHasTheSameHash(_ old: String, _ new: String) throws {
        let text = Self.base.replacing(old, with: new)
        #expect(text != Self.base)
        #expect(try ExamplePolicyTests.only(text).hash == ExamplePolicyTests.only(Self.base).hash)
    }

    @Test(arguments: [
        ("name: web,", "name: www,"), ("description: egress", "description: other"), ("i-2, i-1", "i-2"),
        ("prod", "test"),
        ("ipv4: true", "ipv4: false"), ("families: [ipv6, ipv4], ", ""), (", except: [10.0.0.0/8]", ""),
        ("8000-8001", "8002-8003"), ("10.0.1.1:80", "10.0.1.1:81"), ("tcp", "udp"),
        ("selector:", "guard: true\n  selector:"),
        ("selector:", "conntrack: {max: auto}\n  selector:"), ("selector:", "conntrack: {max: 1024}\n  selector:"),
        ("selector:", "priority: 99\n  selector:"), ("port:", "masquerade: true, port:"),
        ("port:", "hairpin: true, port:"),
    ])
    func whatMeansSomethingElseHasAnotherHash(_ old: String, _ new: String) throws {
        let text = Self.base.replacing(old, with: new)
        #expect(text != Self.base)
        #expect(try ExamplePolicyTests.only(text).hash != ExamplePolicyTests.only(Self.base).hash)
    }

    @Test
    func aDocumentMadeInCodeHasTheHashOfTheSameOneRead() throws {
        var policy = try ExamplePolicyTests.only(Self.base)
        let hash = policy.hash
        policy.spec.selector.instances.reverse()
        policy.spec.masquerade[0].families?.reverse()
        policy.spec.dnat[0].sources.append(policy.spec.dnat[0].sources[0])
        #expect(policy.hash == hash)
    }
}
