"""EgressFirewall."""

import textwrap

from rowkit import *

FT = "ovn-kubernetes, egressfirewall_test.go and controller/egressfirewall/egress_firewall_test.go"


def firewall(ns, rules):
    return (f"apiVersion: k8s.ovn.org/v1\nkind: EgressFirewall\nmetadata:\n  name: default\n  namespace: {ns}\n"
            "spec:\n  egress:\n" + textwrap.indent(textwrap.dedent(rules).strip("\n"), "    ") + "\n")


def on(ns, dst, l4=""):
    return f"({dst}) && inport == @{ns_pg(ns)}" + (f" && {l4}" if l4 else "")


def ns_group(ns, ports, acls):
    return [group("Namespace", [("name", ns)], ports, acls)] + list(acls)


_rules = """
    - {type: Allow, to: {cidrSelector: 1.2.3.4/23}}
    - {type: Deny, to: {cidrSelector: 1.2.3.4/32}, ports: [{protocol: UDP, port: 100}]}
    - {type: Allow, to: {cidrSelector: 1.2.3.0/24}, ports: [{protocol: UDP, port: 55}, {protocol: UDP, port: 56}]}
    - {type: Deny, to: {cidrSelector: 2.2.2.0/24}, ports: [{protocol: TCP, port: 100}, {protocol: UDP}]}
    - type: Allow
      to: {cidrSelector: 2.2.2.0/24}
      ports:
        - {protocol: TCP, port: 100}
        - {protocol: SCTP, port: 13}
        - {protocol: TCP, port: 102}
        - {protocol: UDP, port: 400}
    - {type: Allow, to: {cidrSelector: 2.2.2.0/24}, ports: [{protocol: TCP, port: 100}, {protocol: TCP}, {protocol: TCP, port: 5}]}
    - {type: Deny, to: {cidrSelector: 0.0.0.0/0}}
"""
_acls = [
    ef_acl("ns1", 0, on("ns1", "ip4.dst == 1.2.3.4/23"), "allow"),
    ef_acl("ns1", 1, on("ns1", "ip4.dst == 1.2.3.4/32", "((udp && ( udp.dst == 100 )))"), "drop"),
    ef_acl("ns1", 2, on("ns1", "ip4.dst == 1.2.3.0/24", "((udp && ( udp.dst == 55 || udp.dst == 56 )))"), "allow"),
    ef_acl("ns1", 3, on("ns1", "ip4.dst == 2.2.2.0/24", "((udp) || (tcp && ( tcp.dst == 100 )))"), "drop"),
    ef_acl("ns1", 4, on("ns1", "ip4.dst == 2.2.2.0/24",
                        "((udp && ( udp.dst == 400 )) || (tcp && ( tcp.dst == 100 || tcp.dst == 102 )) || (sctp && ( sctp.dst == 13 )))"), "allow"),
    ef_acl("ns1", 5, on("ns1", "ip4.dst == 2.2.2.0/24", "((tcp))"), "allow"),
    ef_acl("ns1", 6, on("ns1", "ip4.dst == 0.0.0.0/0 && ip4.dst != 10.244.0.0/16"), "drop"),
]
case("ef-rules",
     "Rules of an EgressFirewall: to-lport although they match inport, on the namespace's port group, "
     "priority 10000 - index, tier 2; udp before tcp before sctp; a whole protocol wins over its "
     "ports; cluster subnets are cut out of a block that meets them.",
     f"{FT}: computes correct L4Match; correctly creates an egressfirewall with subnet exclusion",
     [node("node1"), namespace("ns1"), pod("ns1", "a", "10.244.0.5"), pod("ns1", "host", "172.18.0.2", host=True),
      firewall("ns1", _rules)],
     ns_group("ns1", ["ns1_a"], _acls), owners=("EgressFirewall", "Namespace"))

_rules = """
    - {type: Allow, to: {cidrSelector: "2002::1234:abcd:ffff:c0a8:101/64"}}
    - {type: Deny, to: {cidrSelector: "::/0"}, ports: [{protocol: TCP, port: 80}]}
    - {type: Deny, to: {cidrSelector: 0.0.0.0/0}}
    - {type: Deny, to: {cidrSelector: 10.244.7.0/24}}
"""
case("ef-dual",
     "Both families in one firewall; a block inside a cluster subnet meets it as well.",
     f"{FT}: reconciles an existing egressFirewall with IPv6 CIDR; correctly parses egressFirewallRules",
     [node("node1", families="dual"), namespace("ns1"), firewall("ns1", _rules)],
     ns_group("ns1", [], [
         ef_acl("ns1", 0, on("ns1", "ip6.dst == 2002::1234:abcd:ffff:c0a8:101/64"), "allow"),
         ef_acl("ns1", 1, on("ns1", "ip6.dst == ::/0 && ip6.dst != fd00:10:244::/48", "((tcp && ( tcp.dst == 80 )))"), "drop"),
         ef_acl("ns1", 2, on("ns1", "ip4.dst == 0.0.0.0/0 && ip4.dst != 10.244.0.0/16"), "drop"),
         ef_acl("ns1", 3, on("ns1", "ip4.dst == 10.244.7.0/24 && ip4.dst != 10.244.0.0/16"), "drop"),
     ]), families="dual", owners=("EgressFirewall", "Namespace"))

SUBNETS["two"] = "10.128.0.0/14,10.144.0.0/14"
case("ef-two-subnets", "Several cluster subnets are joined by && without spaces.",
     "ovn-kubernetes, egressfirewall.go: getV4ClusterSubnetsExclusion",
     [node("node1"), namespace("ns1"), firewall("ns1", "- {type: Deny, to: {cidrSelector: 10.0.0.0/8}}")],
     ns_group("ns1", [], [ef_acl("ns1", 0, on("ns1", "ip4.dst == 10.0.0.0/8 && ip4.dst != 10.128.0.0/14&&ip4.dst != 10.144.0.0/14"), "drop")]),
     families="two", owners=("EgressFirewall", "Namespace"))

_hosts = [node("node1", 0, "dual", role="edge", host=["9.9.9.9", "10.10.10.10", "c:1::1"]), node("node2", 1, "dual", role="edge", host=["172.18.0.3"]),
          node("node3", 2, "dual", role="inner")]
_rules = """
    - {type: Allow, to: {nodeSelector: {matchLabels: {role: edge}}}}
    - {type: Allow, to: {nodeSelector: {matchLabels: {role: none-such}}}}
    - {type: Deny, to: {nodeSelector: {matchExpressions: [{key: role, operator: In, values: [inner]}]}}, ports: [{protocol: TCP, port: 22}]}
"""
case("ef-nodes",
     "A node selector becomes the nodes' host addresses, ordered as text, without prefix; a rule that "
     "selects no node has no ACL, the next keeps its index.",
     f"{FT}: egress firewall with node selector updates during node update; configures egress firewall "
     "correctly with node selector",
     _hosts + [namespace("ns1"), firewall("ns1", _rules)],
     ns_group("ns1", [], [
         ef_acl("ns1", 0, on("ns1", "ip4.dst == 10.10.10.10 || ip4.dst == 172.18.0.3 || ip4.dst == 9.9.9.9 || ip6.dst == c:1::1"), "allow"),
         ef_acl("ns1", 2, on("ns1", "ip4.dst == 172.18.0.4 || ip6.dst == fc00:f853:ccd:e793::4", "((tcp && ( tcp.dst == 22 )))"), "drop"),
     ]), families="dual", owners=("EgressFirewall", "Namespace"))


def _dns(name, family):
    return hashed(f"{C}:EgressFirewallDNS:{name}:{family}")


def _dns_set(name, family):
    return address_set("EgressFirewallDNS", [("name", name), ("ip-family", family)])


for _fam in ("v4", "v6", "dual"):
    _names = []
    for _name in ("a.b.c", "Www.Example.com"):
        _names.append(" || ".join(f"{ip}.dst == ${_dns(_name, f)}" for f, ip in [("v4", "ip4"), ("v6", "ip6")] if _fam in (f, "dual")))
    case(f"ef-dns-{_fam}",
         "A domain name is an address set for each family, named by the text of the name; who resolves "
         "it fills the set.",
         f"{FT}: correctly creates egress firewall using different dns resolution methods (old resolution)",
         [node("node1", families=_fam), namespace("ns1"), firewall("ns1", """
    - {type: Allow, to: {dnsName: a.b.c}}
    - {type: Deny, to: {dnsName: Www.Example.com}, ports: [{protocol: TCP, port: 443}]}
    """)],
         ns_group("ns1", [], [ef_acl("ns1", 0, on("ns1", _names[0]), "allow"),
                              ef_acl("ns1", 1, on("ns1", _names[1], "((tcp && ( tcp.dst == 443 )))"), "drop")])
         + [_dns_set(n, f) for n in ("a.b.c", "Www.Example.com") for f in ("v4", "v6") if _fam in (f, "dual")],
         families=_fam, tables=("ACL", "Port_Group", "Address_Set"), owners=("EgressFirewall", "Namespace", "EgressFirewallDNS"))

case("ef-logging", "The namespace's levels hold for its firewall: allow for Allow, deny for Deny.",
     f"{FT}: correctly updates an egressfirewall's ACL logging",
     [node("node1"), namespace("ns1", {"k8s.ovn.org/acl-logging": '{"deny": "alert", "allow": "warning"}'}),
      firewall("ns1", "- {type: Allow, to: {cidrSelector: 1.2.3.4/23}}\n- {type: Deny, to: {cidrSelector: 0.0.0.0/0}}")],
     ns_group("ns1", [], [ef_acl("ns1", 0, on("ns1", "ip4.dst == 1.2.3.4/23"), "allow", log="warning"),
                          ef_acl("ns1", 1, on("ns1", "ip4.dst == 0.0.0.0/0 && ip4.dst != 10.244.0.0/16"), "drop", log="alert")]),
     owners=("EgressFirewall", "Namespace"))

case("ef-as-written", "The text of a block goes into the match as it is.",
     "ovn-kubernetes, egressfirewall.go addEgressFirewallRules prints CIDRSelector",
     [node("node1", families="dual"), namespace("ns1"), firewall("ns1", """
    - {type: Allow, to: {cidrSelector: "2001:DB8:0:0::/64"}}
    - {type: Deny, to: {cidrSelector: "FD00:10:244:0::/60"}}
    """)],
     ns_group("ns1", [], [ef_acl("ns1", 0, on("ns1", "ip6.dst == 2001:DB8:0:0::/64"), "allow"),
                          ef_acl("ns1", 1, on("ns1", "ip6.dst == FD00:10:244:0::/60 && ip6.dst != fd00:10:244::/48"), "drop")]),
     families="dual", owners=("EgressFirewall", "Namespace"))
