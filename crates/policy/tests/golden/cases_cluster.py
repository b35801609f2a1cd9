"""Multicast, isolation of user-defined networks, sampling, services."""

from cases_netpol import HAIRPIN, netpol
from cases_admin import ANP, BANP, admin, l3, lport
from cases_firewall import firewall, on
from rowkit import *

# --- multicast --------------------------------------------------------------------------------

DYNAMIC = "(ip6.dst[120..127] == 0xff && ip6.dst[116] == 1)"
ANY = f"(ip4.mcast || mldv1 || mldv2 || {DYNAMIC})"


def _cluster_mcast(kind, direction, priority, action):
    lp = {"Ingress": "outport", "Egress": "inport"}[direction]
    match = ANY if kind == "DefaultDeny" else f"{lp} == @{router_pg()} && {ANY}"
    return acl("MulticastCluster", [("type", kind), ("direction", direction)], direction, priority, match, action)


def _both(v4, v6, fam):
    return {"v4": v4, "v6": v6, "dual": f"({v4} || {v6})"}[fam]


def _ns_mcast(ns, fam):
    key = f"{ns}_LS{{}}_LNM"
    out = _both("ip4.mcast", f"(mldv1 || mldv2 || {DYNAMIC})", fam)
    into = _both(f"(igmp || (ip4.src == ${sel(key)} && ip4.mcast))",
                 f"(mldv1 || mldv2 || (ip6.src == ${sel(key, 'v6')} && {DYNAMIC}))", fam)
    return [acl("MulticastNS", [("name", ns), ("direction", "Egress")], "Egress", 1012, f"inport == @{ns_pg(ns)} && {out}", "allow"),
            acl("MulticastNS", [("name", ns), ("direction", "Ingress")], "Ingress", 1012, f"outport == @{ns_pg(ns)} && {into}", "allow")]


for _fam in ("v4", "v6", "dual"):
    _deny = [_cluster_mcast("DefaultDeny", d, 1011, "drop") for d in ("Ingress", "Egress")]
    _hop = [_cluster_mcast("AllowInterNode", d, 1012, "allow") for d in ("Ingress", "Egress")]
    _hair = [acl("NetpolDefault", [("name", "allow-hairpinning"), ("direction", d)], d, 1001, HAIRPIN[_fam], "allow-related")
             for d in ("Ingress", "Egress")]
    _ip = {"v4": ["10.244.0.5"], "v6": ["fd00:10:244::5"], "dual": ["10.244.0.5", "fd00:10:244::5"]}[_fam]
    _ip2 = {"v4": ["10.244.0.6"], "v6": ["fd00:10:244::6"], "dual": ["10.244.0.6", "fd00:10:244::6"]}[_fam]
    _host = {"v4": ["172.18.0.2"], "v6": ["fc00:f853:ccd:e793::2"], "dual": ["172.18.0.2", "fc00:f853:ccd:e793::2"]}[_fam]
    case(f"multicast-{_fam}",
         "With multicast on, all of it is denied at the cluster port group and allowed between nodes "
         "at the routers' ports; the annotation opens a namespace to itself. Pods on the host's "
         "network are no senders.",
         "ovn-kubernetes, multicast_test.go and base_network_controller_multicast.go",
         [node("node1", families=_fam), namespace("ns1", {"k8s.ovn.org/multicast-enabled": "true"}),
          namespace("ns2", {"k8s.ovn.org/multicast-enabled": "True"}),
          pod("ns1", "a", _ip), pod("ns1", "host", _host, host=True), pod("ns2", "b", _ip2)],
         _deny + _hop + _ns_mcast("ns1", _fam) + _hair
         + [group("Cluster", [("name", "clusterPortGroup")], ["k8s-node1"], _deny + _hair),
            group("Cluster", [("name", "clusterRtrPortGroup")], ["stor-node1"], _hop),
            group("Namespace", [("name", "ns1")], ["ns1_a"], _ns_mcast("ns1", _fam)),
            group("Namespace", [("name", "ns2")], ["ns2_b"], [])]
         + [selector_set("ns1_LS{}_LNM", [ip], f) for ip, f in [(i, "v6" if ":" in i else "v4") for i in _ip]],
         families=_fam, options="multicast", tables=("ACL", "Port_Group", "Address_Set"),
         owners=("MulticastNS", "MulticastCluster", "NetpolDefault", "Namespace", "Cluster", "PodSelector"))

case("multicast-off", "Without the feature the annotation makes nothing.",
     "ovn-kubernetes, base_network_controller_multicast.go: disableMulticast",
     [node("node1"), namespace("ns1", {"k8s.ovn.org/multicast-enabled": "true"}), pod("ns1", "a", "10.244.0.5")],
     [group("Namespace", [("name", "ns1")], ["ns1_a"], [])],
     tables=("ACL", "Port_Group", "Address_Set"), owners=("MulticastNS", "MulticastCluster", "Namespace", "PodSelector"))

# --- user-defined networks ----------------------------------------------------------------------


def _udn(name, direction, priority, match, action):
    return acl("UDNIsolation", [("name", name), ("direction", direction)],
               "Egress-before-lb" if direction == "Egress" else "Ingress", priority, match, action, tier=0)


for _fam in ("v4", "v6", "dual"):
    _pg = udn_pg()
    _m4, _m6 = "10.244.0.2", "fd00:10:244::2"

    def _arp(side, fam=_fam):
        v4, v6 = f"( arp && arp.{side}pa == {_m4} )", f"( nd && nd.target == {_m6} )"
        return "(" + " || ".join({"v4": [v4], "v6": [v6], "dual": [v4, v6]}[fam]) + ")"

    _src = {"v4": f"ip4.src=={_m4}", "v6": f"ip6.src=={_m6}", "dual": f"ip4.src=={_m4} || ip6.src=={_m6}"}[_fam]
    _acls = [
        _udn("DenyPrimaryUDN", "Egress", 1000, f"inport == @{_pg}", "drop"),
        _udn("AllowHostARPPrimaryUDN", "Egress", 1001, f"inport == @{_pg} && {_arp('t')}", "allow"),
        _udn("DenyPrimaryUDN", "Ingress", 1000, f"outport == @{_pg}", "drop"),
        _udn("AllowHostARPPrimaryUDN", "Ingress", 1001, f"outport == @{_pg} && {_arp('s')}", "allow"),
        _udn("AllowHostPrimaryUDN", "Ingress", 1001, f"outport == @{_pg} && ({_src})", "allow-related"),
        _udn("OpenPort-blue/open", "Ingress", 1001, 'outport == "blue_open" && (arp || nd || (tcp.dst == 80 || icmp || udp.dst == 53))', "allow-related"),
        _udn("OpenPort-blue/open", "Egress", 1001, 'inport == "blue_open" && (arp || nd)', "allow"),
    ]
    _at = {"v4": ["10.244.0.{}"], "v6": ["fd00:10:244::{}"], "dual": ["10.244.0.{}", "fd00:10:244::{}"]}[_fam]
    _subnets = {"v4": ["10.100.0.0/16"], "v6": ["2014:100:200::/60"], "dual": ["10.100.0.0/16", "2014:100:200::/60"]}[_fam]
    _cidrs = "".join(f"      - {{cidr: '{s}'}}\n" for s in _subnets)
    case(f"udn-isolation-{_fam}",
         "Pods with a primary user-defined network keep a port in the default network that only the "
         "host may reach; open-default-ports adds to it. Tier 0, before load balancing on egress.",
         "ovn-kubernetes, udn_isolation.go: setupUDNACLs, getPortsMatches; udn_isolation_test.go",
         [node("node1", families=_fam), namespace("blue", primary=True), namespace("plain"),
          f"apiVersion: k8s.ovn.org/v1\nkind: UserDefinedNetwork\nmetadata:\n  name: net\n  namespace: blue\nspec:\n"
          f"  topology: Layer3\n  layer3:\n    role: Primary\n    subnets:\n{_cidrs}",
          pod("blue", "open", [a.format(5) for a in _at], annotations={
              "k8s.ovn.org/open-default-ports": "- protocol: tcp\n  port: 80\n- protocol: icmp\n- protocol: udp\n  port: 53\n"}),
          pod("blue", "shut", [a.format(6) for a in _at]),
          pod("plain", "p", [a.format(7) for a in _at])],
         [group("UDNIsolation", [("name", "SecondaryPods")], ["blue_open", "blue_shut"], _acls)] + _acls,
         families=_fam, owners=("UDNIsolation",))

# --- sampling -------------------------------------------------------------------------------------

COLLECTOR = {"set_id": 42, "probability": 65535, "id": 1,
             "external_ids": {"sample-features": "AdminNetworkPolicy,EgressFirewall,Multicast,NetworkPolicy,UDNIsolation"}}


def _samples(rows):
    out, seen = [], set()
    for r in rows:
        if r["table"] == "ACL" and "sample_new" in r["columns"]:
            key = r["columns"]["sample_new"]
            if key not in seen:
                seen.add(key)
                out.append(row("Sample", key, {"metadata": int(key), "collectors": ["1"]}))
    return out


def _sampled(r):
    if r["table"] != "ACL":
        return r
    c = dict(r["columns"])
    key = str(fnv32(c["external_ids"]["k8s.ovn.org/id"] + c["match"] + c["action"]))
    return {**r, "columns": {**c, "sample_new": key, "sample_est": key}}


_cc = [admin_acl(ANP, "cluster-control", "Ingress", i, "None", 26600 - i,
                 f"outport == @a14645450421485494999 && ((ip4.src == ${s}))", a)
       for i, s, a in [(0, "a14545668191619617708", "drop"), (1, "a6786643370959569281", "allow-related")]]
_base = [admin_acl(BANP, "default", "Ingress", 0, "None", 1750,
                   f"outport == @a9550609891683691927 && {l3(BANP, 'default', 'Ingress', 0, 'v4')}", "drop")]
_np1 = [np_acl("ns1", "np1", "Ingress", 0, "None", -1, "ip4.src == {$a12730942273510902140} && outport == @a3128740908762970825"),
        np_acl("ns1", "np1", "Ingress", 1, "None", -1, "ip4.src == {$a6680671121466927706} && outport == @a3128740908762970825"),
        np_acl("ns1", "np1", "Ingress", 2, "None", -1, "ip4.src == {$a727259303241632365} && outport == @a3128740908762970825")]
_deny = deny_rows("ns1", [], [])
_nodeacl = acl("NetpolNode", [("name", "node1"), ("ip", "10.244.0.2")], "Ingress", 1001, "ip4.src==10.244.0.2", "allow-related")
_ef = ef_acl("ns1", 0, "(ip4.dst == 1.2.3.0/24) && inport == @a9633447981174624809", "allow")
_hair = [acl("NetpolDefault", [("name", "allow-hairpinning"), ("direction", d)], d, 1001, HAIRPIN["v4"], "allow-related")
         for d in ("Ingress", "Egress")]
_rows = [_sampled(r) for r in _cc + _base + _np1 + _deny + [_nodeacl, _ef]] + _hair
# the published vectors, by hand
assert [r for r in _rows if r["columns"].get("sample_new") == "2001666736"][0]["key"].endswith("ns1:Ingress:defaultDeny")
assert [r for r in _rows if r["columns"].get("sample_new") == "1178310523"][0]["key"].endswith("NetpolNode:node1:10.244.0.2")
assert [r for r in _rows if r["columns"].get("sample_new") == "1727794866"][0]["key"].endswith("EgressFirewall:ns1:0")
assert cluster_pg() == "a13298398610555951118" and router_pg() == "a4743249366342378346"
assert udn_pg() == "a8747502060113802905" and deny_pg("ns1", "Egress") == "a2984687968609141792"

case("sampling",
     "Sampling on: each ACL of a feature points with both columns at a Sample whose metadata is the "
     "FNV-1a-32 of id, match and action; hairpin ACLs are never sampled; one collector, set 42, every "
     "packet, all five features. All names of this case are published or computed vectors.",
     "ovn-kubernetes, observability.go, ops/sample.go, ops/acl.go; docs of admin-network-policy for the names",
     [node("node1"), namespace("ns1"),
      admin(ANP, "cluster-control", """
    subject: {namespaces: {}}
    ingress:
      - {action: Deny, from: [{namespaces: {matchLabels: {a: b}}}]}
      - {action: Allow, from: [{namespaces: {matchLabels: {c: d}}}]}
    """, 34),
      admin(BANP, "default", """
    subject: {namespaces: {}}
    ingress: [{action: Deny, from: [{namespaces: {}}]}]
    """),
      netpol("ns1", "np1", """
    podSelector: {}
    ingress:
      - from: [{podSelector: {}}]
      - from: [{podSelector: {matchLabels: {app: web}}}]
      - from: [{namespaceSelector: {}}]
    """),
      firewall("ns1", "- {type: Allow, to: {cidrSelector: 1.2.3.0/24}}")],
     [r for r in _rows if r["table"] == "ACL"] + _samples(_rows)
     + [r for r in _deny if r["table"] == "Port_Group"]
     + [group(ANP, [("name", "cluster-control")], [], _cc), group(BANP, [("name", "default")], [], _base),
        group("NetworkPolicy", [("name", "ns1:np1")], [], _np1), group("Namespace", [("name", "ns1")], [], [_ef]),
        group("Cluster", [("name", "clusterPortGroup")], ["k8s-node1"], _hair),
        group("Cluster", [("name", "clusterRtrPortGroup")]),
        admin_set(ANP, "cluster-control", "Ingress", 0), admin_set(ANP, "cluster-control", "Ingress", 1),
        admin_set(BANP, "default", "Ingress", 0)]
     + [selector_set(k) for k in ("ns1_LS{}", "ns1_LS{ML:{app: web,},}", "LS{}_LS{}_LNM")]
     + [row("Sample_Collector", "1", COLLECTOR)]
     + [row("Sampling_App", t, {"type": t, "id": i}) for t, i in [("drop", 1), ("acl-new", 2), ("acl-est", 3)]],
     options="sampling=on", tables=("ACL", "Port_Group", "Address_Set", "Sample", "Sample_Collector", "Sampling_App"),
     owners=(ANP, BANP, "NetworkPolicy", "NetpolNamespace", "NetpolNode", "NetpolDefault", "EgressFirewall", "PodSelector", "Namespace",
             "Cluster"))
