"""NetworkPolicy, the default deny of a namespace, nodes and hairpinning."""

from rowkit import *

PT = "ovn-kubernetes, policy_test.go"


def netpol(ns, name, spec, annotations=None):
    import textwrap
    text = f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {name}\n  namespace: {ns}\n"
    if annotations:
        text += "  annotations:\n" + "".join(f"    {k}: {json.dumps(v)}\n" for k, v in annotations.items())
    return text + "spec:\n" + textwrap.indent(textwrap.dedent(spec).strip("\n"), "  ") + "\n"


NS1, NS2 = namespace("ns1"), namespace("ns2")
NODE = node("node1")

# --- default deny ----------------------------------------------------------------------

DENY_ALL = netpol("ns1", "deny-all", "podSelector: {}\npolicyTypes: [Ingress, Egress]")
TWO_PODS = [pod("ns1", "a", "10.244.0.5", app="a"), pod("ns1", "b", "10.244.0.6", app="b")]
BOTH = ["ns1_a", "ns1_b"]

case("np-deny-all", "A policy without rules isolates both ways; its own port group has no ACLs.",
     f"{PT}: reconciles an existing networkPolicy with empty db",
     [NODE, NS1, *TWO_PODS, DENY_ALL],
     deny_rows("ns1", BOTH, BOTH) + np_rows("ns1", "deny-all", BOTH, []),
     owners=("NetworkPolicy", "NetpolNamespace"))

case("np-deny-all-icmp", "With ICMP allowed by flag each deny group has a third ACL.",
     f"{PT}: with allow ICMP network policy enabled",
     [NODE, NS1, *TWO_PODS, DENY_ALL],
     deny_rows("ns1", BOTH, BOTH, icmp=True) + np_rows("ns1", "deny-all", BOTH, []),
     options="icmp", owners=("NetworkPolicy", "NetpolNamespace"))

case("np-deny-all-v6", "Default deny has no address family in its matches.",
     "ovn-kubernetes, base_network_controller_policy.go: buildDenyACLs",
     [node("node1", families="v6"), NS1, pod("ns1", "a", "fd00:10:244::5"), DENY_ALL],
     deny_rows("ns1", ["ns1_a"], ["ns1_a"]) + np_rows("ns1", "deny-all", ["ns1_a"], []),
     families="v6", owners=("NetworkPolicy", "NetpolNamespace"))

case("np-isolation-by-type",
     "A port is in the Ingress group if a policy with that type selects it, likewise Egress; a pod "
     "that no policy selects is in none. Both groups and all six ACLs exist as soon as there is "
     "one policy.",
     "ovn-kubernetes, base_network_controller_policy.go: addPortsForPolicy; "
     "policy_test.go: getDefaultDenyDataHelper",
     [NODE, NS1, *TWO_PODS, pod("ns1", "c", "10.244.0.7", app="c"), pod("ns1", "d", "10.244.0.8", app="d"),
      netpol("ns1", "in", "podSelector: {matchLabels: {app: a}}\npolicyTypes: [Ingress]"),
      netpol("ns1", "out", "podSelector: {matchLabels: {app: b}}\npolicyTypes: [Egress]"),
      netpol("ns1", "both", "podSelector: {matchLabels: {app: c}}\npolicyTypes: [Egress, Ingress]"),
      netpol("ns1", "again", "podSelector: {matchExpressions: [{key: app, operator: In, values: [a, c]}]}\npolicyTypes: [Ingress]")],
     deny_rows("ns1", ["ns1_a", "ns1_c"], ["ns1_b", "ns1_c"])
     + np_rows("ns1", "in", ["ns1_a"], []) + np_rows("ns1", "out", ["ns1_b"], [])
     + np_rows("ns1", "both", ["ns1_c"], []) + np_rows("ns1", "again", ["ns1_a", "ns1_c"], []),
     owners=("NetworkPolicy", "NetpolNamespace"))

case("np-types-by-default",
     "Without policyTypes a policy is for Ingress, and for Egress too if it has an egress section "
     "that is not empty. Only port groups are of interest.",
     "Kubernetes API: NetworkPolicySpec.policyTypes; the API server fills it in, ovn-kubernetes "
     "reads only what is filled in (getPolicyType)",
     [NODE, NS1, *TWO_PODS,
      netpol("ns1", "plain", "podSelector: {matchLabels: {app: a}}"),
      netpol("ns1", "with-egress", "podSelector: {matchLabels: {app: b}}\negress:\n  - {}")],
     [r for r in deny_rows("ns1", BOTH, ["ns1_b"]) if r["table"] == "Port_Group"]
     + [group("NetworkPolicy", [("name", "ns1:plain")], ["ns1_a"], []),
        group("NetworkPolicy", [("name", "ns1:with-egress")], ["ns1_b"],
              [np_acl("ns1", "with-egress", "Egress", 0, "None", -1, "")])],
     tables=("Port_Group",), owners=("NetworkPolicy", "NetpolNamespace"))

_in = f"outport == @{np_pg('ns1', 'half')}"
_out = f"inport == @{np_pg('ns1', 'half')}"
HALF = netpol("ns1", "half", """
    podSelector: {}
    policyTypes: [Egress]
    ingress:
      - ports: [{port: 80}]
    egress:
      - ports: [{port: 443}]
    """)
_half_in = np_acl("ns1", "half", "Ingress", 0, "tcp", -1, f"ip4 && tcp && tcp.dst==80 && {_in}")
_half_out = np_acl("ns1", "half", "Egress", 0, "tcp", -1, f"ip4 && tcp && tcp.dst==443 && {_out}")
case("np-rules-beside-types",
     "policyTypes [Egress] with an ingress section: ovn-kubernetes makes the ingress ACLs all the "
     "same (they allow what nothing denies in this tier, and so hide a baseline deny).",
     f"{PT}: reconciles a policy isolating for egress and processing ingress rules",
     [NODE, NS1, *TWO_PODS, HALF],
     deny_rows("ns1", [], BOTH) + np_rows("ns1", "half", BOTH, [_half_in, _half_out]),
     owners=("NetworkPolicy", "NetpolNamespace"), says=("rules-without-effect",))
case("np-rules-beside-types-strict",
     "The same in strict mode: a section whose type is not named has no effect.",
     "Kubernetes API: a NetworkPolicy acts only in the directions of its policyTypes",
     [NODE, NS1, *TWO_PODS, HALF],
     deny_rows("ns1", [], BOTH) + np_rows("ns1", "half", BOTH, [_half_out]),
     options="compat=strict", owners=("NetworkPolicy", "NetpolNamespace"))

# --- ports ------------------------------------------------------------------------------

_pg = np_pg("ns1", "ports")
_l = f"outport == @{_pg}"


def _ports(index, l4):
    return [np_acl("ns1", "ports", "Ingress", index, proto, -1, f"ip4 && {text} && {_l}")
            for proto, text in l4.items()]


PORTS = netpol("ns1", "ports", """
    podSelector: {}
    ingress:
      - {}
      - ports: [{port: 800}]
      - ports: [{port: 800}, {port: 900}, {port: 1900}]
      - ports: [{protocol: UDP, port: 800, endPort: 850}]
      - ports: [{port: 800, endPort: 850}, {port: 900, endPort: 950}, {port: 1900, endPort: 2000}]
      - ports:
          - {protocol: UDP, port: 4900, endPort: 5000}
          - {protocol: UDP, port: 900}
          - {protocol: UDP, port: 1900, endPort: 2000}
          - {protocol: UDP, port: 800}
      - ports: [{protocol: SCTP}]
      - ports: [{port: 443, endPort: 443}]
      - ports: [{}]
      - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}, {port: 7777, protocol: SCTP}, {port: 853}]
      - ports: [{port: 80}, {port: 80}]
    """)
case("np-ports",
     "The L4 grammar: ports grouped by protocol, numbers in braces as they come, ranges after "
     "them, parentheses for more than one term, a missing protocol is TCP, nothing is sorted or "
     "merged.",
     "ovn-kubernetes, libovsdb/util/acl_test.go: TestGetL4Match",
     [NODE, NS1, PORTS],
     np_rows("ns1", "ports", [], [np_acl("ns1", "ports", "Ingress", 0, "None", -1, f"ip4 && {_l}")]
             + _ports(1, {"tcp": "tcp && tcp.dst==800"})
             + _ports(2, {"tcp": "tcp && tcp.dst=={800,900,1900}"})
             + _ports(3, {"udp": "udp && 800<=udp.dst<=850"})
             + _ports(4, {"tcp": "tcp && (800<=tcp.dst<=850 || 900<=tcp.dst<=950 || 1900<=tcp.dst<=2000)"})
             + _ports(5, {"udp": "udp && (udp.dst=={900,800} || 4900<=udp.dst<=5000 || 1900<=udp.dst<=2000)"})
             + _ports(6, {"sctp": "sctp"})
             + _ports(7, {"tcp": "tcp && tcp.dst==443"})
             + _ports(8, {"tcp": "tcp"})
             + _ports(9, {"udp": "udp && udp.dst==53", "tcp": "tcp && tcp.dst=={53,853}", "sctp": "sctp && sctp.dst==7777"})
             + _ports(10, {"tcp": "tcp && tcp.dst=={80,80}"})),
     owners=("NetworkPolicy",))

_pg = np_pg("ns1", "named")
_l = f"outport == @{_pg}"
_o = f"inport == @{_pg}"
NAMED = netpol("ns1", "named", """
    podSelector: {matchLabels: {app: a}}
    policyTypes: [Ingress, Egress]
    ingress:
      - ports: [{port: http}]
      - ports: [{port: http}, {port: 443}]
      - ports: [{port: dns, protocol: UDP}, {port: http}]
    egress:
      - ports: [{port: http}]
        to:
          - podSelector: {matchLabels: {app: b}}
    """)
NAMED_PODS = [pod("ns1", "a", "10.244.0.5", app="a", ports=[("http", "TCP", 8080), ("dns", "UDP", 5353)]),
              pod("ns1", "a2", "10.244.0.6", app="a", ports=[("http", "TCP", 9090)]),
              pod("ns1", "b", "10.244.0.7", app="b", ports=[("http", "TCP", 3000), ("dns", "UDP", 3053)])]
case("np-ports-named",
     "ovn-kubernetes reads a named port of a NetworkPolicy as number 0: alone it widens to the "
     "whole protocol; beside a number of the same protocol it vanishes.",
     "ovn-kubernetes, gress_policy.go addPortPolicy (Port.IntVal) and acl.go getProtocolPortsMap",
     [NODE, NS1, *NAMED_PODS, NAMED],
     np_rows("ns1", "named", ["ns1_a", "ns1_a2"], [
         np_acl("ns1", "named", "Ingress", 0, "tcp", -1, f"ip4 && tcp && {_l}"),
         np_acl("ns1", "named", "Ingress", 1, "tcp", -1, f"ip4 && tcp && tcp.dst==443 && {_l}"),
         np_acl("ns1", "named", "Ingress", 2, "tcp", -1, f"ip4 && tcp && {_l}"),
         np_acl("ns1", "named", "Ingress", 2, "udp", -1, f"ip4 && udp && {_l}"),
         np_acl("ns1", "named", "Egress", 0, "tcp", -1,
                f"ip4.dst == {{${sel('ns1_LS{ML:{app: b,},}')}}} && tcp && {_o}"),
     ]), owners=("NetworkPolicy",), says=("departs-from-api",))


def _by_pod(proto, *ends):
    return f"{proto} && (" + " || ".join(f"(ip4.dst == {ip} && {proto}.dst == {port})" for ip, port in ends) + ")"


_http = _by_pod("tcp", ("10.244.0.5", 8080), ("10.244.0.6", 9090))
case("np-ports-named-strict",
     "The same in strict mode: the port that the container of that name has, on ingress of the pods "
     "that the policy is for, on egress of the peers.",
     "Kubernetes API: NetworkPolicyPort.port as a name is the container port of that name; the form is that "
     "of administrators' policies",
     [NODE, NS1, *NAMED_PODS, NAMED],
     np_rows("ns1", "named", ["ns1_a", "ns1_a2"], [
         np_acl("ns1", "named", "Ingress", 0, "tcp-namedPort", -1, f"ip4 && {_http} && {_l}"),
         np_acl("ns1", "named", "Ingress", 1, "tcp", -1, f"ip4 && tcp && tcp.dst==443 && {_l}"),
         np_acl("ns1", "named", "Ingress", 1, "tcp-namedPort", -1, f"ip4 && {_http} && {_l}"),
         np_acl("ns1", "named", "Ingress", 2, "tcp-namedPort", -1, f"ip4 && {_http} && {_l}"),
         np_acl("ns1", "named", "Ingress", 2, "udp-namedPort", -1, f"ip4 && {_by_pod('udp', ('10.244.0.5', 5353))} && {_l}"),
         np_acl("ns1", "named", "Egress", 0, "tcp-namedPort", -1,
                f"ip4.dst == {{${sel('ns1_LS{ML:{app: b,},}')}}} && {_by_pod('tcp', ('10.244.0.7', 3000))} && {_o}"),
     ]), options="compat=strict", owners=("NetworkPolicy",))

_pg = np_pg("ns1", "mixed")
_l = f"outport == @{_pg}"
MIXED = netpol("ns1", "mixed", """
    podSelector: {}
    ingress:
      - ports: [{protocol: TCP}, {port: 80}]
      - ports: [{port: 80}, {protocol: TCP}, {protocol: UDP, port: 53}]
    """)
case("np-ports-narrowed",
     "An entry for a whole protocol beside a numbered one of the same protocol: ovn-kubernetes "
     "keeps the number only, narrower than the API.",
     "ovn-kubernetes, acl.go getProtocolPortsMap: an entry without port adds nothing to the lists",
     [NODE, NS1, MIXED],
     np_rows("ns1", "mixed", [], [
         np_acl("ns1", "mixed", "Ingress", 0, "tcp", -1, f"ip4 && tcp && tcp.dst==80 && {_l}"),
         np_acl("ns1", "mixed", "Ingress", 1, "tcp", -1, f"ip4 && tcp && tcp.dst==80 && {_l}"),
         np_acl("ns1", "mixed", "Ingress", 1, "udp", -1, f"ip4 && udp && udp.dst==53 && {_l}"),
     ]), owners=("NetworkPolicy",), says=("departs-from-api",))
case("np-ports-narrowed-strict", "The same in strict mode: any of the entries will do.",
     "Kubernetes API: NetworkPolicyPort without port matches all ports of the protocol",
     [NODE, NS1, MIXED],
     np_rows("ns1", "mixed", [], [
         np_acl("ns1", "mixed", "Ingress", 0, "tcp", -1, f"ip4 && tcp && {_l}"),
         np_acl("ns1", "mixed", "Ingress", 1, "tcp", -1, f"ip4 && tcp && {_l}"),
         np_acl("ns1", "mixed", "Ingress", 1, "udp", -1, f"ip4 && udp && udp.dst==53 && {_l}"),
     ]), options="compat=strict", owners=("NetworkPolicy",))

# --- peers ------------------------------------------------------------------------------

ALL = netpol("ns1", "all", """
    podSelector: {}
    policyTypes: [Ingress, Egress]
    ingress:
      - {}
      - {from: []}
    egress:
      - {}
      - ports: [{protocol: UDP, port: 53}]
    """)
for _fam, _l3 in [("v4", "ip4"), ("v6", "ip6"), ("dual", "(ip4 || ip6)")]:
    _l, _o = f"outport == @{np_pg('ns1', 'all')}", f"inport == @{np_pg('ns1', 'all')}"
    case(f"np-everybody-{_fam}", "A rule without peers allows all addresses of the cluster's families.",
         "ovn-kubernetes, gress_policy.go allIPsMatch; policy_test.go getPortNetworkPolicy",
         [node("node1", families=_fam), NS1, ALL],
         np_rows("ns1", "all", [], [
             np_acl("ns1", "all", "Ingress", 0, "None", -1, f"{_l3} && {_l}"),
             np_acl("ns1", "all", "Ingress", 1, "None", -1, f"{_l3} && {_l}"),
             np_acl("ns1", "all", "Egress", 0, "None", -1, f"{_l3} && {_o}"),
             np_acl("ns1", "all", "Egress", 1, "udp", -1, f"{_l3} && udp && udp.dst==53 && {_o}"),
         ]), families=_fam, owners=("NetworkPolicy",))

PEERS = netpol("ns1", "peers", """
    podSelector: {matchLabels: {app: a}}
    policyTypes: [Ingress, Egress]
    ingress:
      - from:
          - podSelector: {matchLabels: {app: b}}
      - from:
          - podSelector: {}
          - namespaceSelector: {matchLabels: {team: x}}
      - from:
          - namespaceSelector: {matchLabels: {team: x}}
            podSelector: {matchLabels: {app: b}}
          - podSelector: {matchLabels: {app: b}}
        ports: [{port: 8080}, {port: 53, protocol: UDP}]
      - from:
          - namespaceSelector: {}
    egress:
      - to:
          - namespaceSelector: {}
            podSelector: {}
      - to:
          - podSelector: {matchLabels: {app: b}}
          - podSelector: {matchLabels: {app: b}}
    """)
PEER_KEYS = {
    "own-b": "ns1_LS{ML:{app: b,},}",
    "own": "ns1_LS{}",
    "team": "LS{ML:{team: x,},}_LS{}_LNM",
    "team-b": "LS{ML:{team: x,},}_LS{ML:{app: b,},}",
    "every": "LS{}_LS{}_LNM",
    "all": "LS{}_LS{}",
}
PEER_PODS = {
    # key: which of the pods
    "own-b": ["ns1/b"], "own": ["ns1/a", "ns1/b"], "team": ["ns2/b"], "team-b": ["ns2/b"],
    "every": ["ns1/a", "ns1/b", "ns2/b"], "all": ["ns1/a", "ns1/b", "ns2/b"],
}
PEER_IPS = {"ns1/a": ["10.244.0.5", "fd00:10:244::5"], "ns1/b": ["10.244.0.6", "fd00:10:244::6"],
            "ns2/b": ["10.244.0.7", "fd00:10:244::7"]}


def _any(direction, keys, fam):
    parts = []
    for family, ip in [("v4", "ip4"), ("v6", "ip6")]:
        if fam in (family, "dual"):
            names = sorted("$" + sel(PEER_KEYS[k], family) for k in keys)
            parts.append(f"{ip}.{direction} == {{{', '.join(names)}}}")
    return parts[0] if len(parts) == 1 else f"({parts[0]} || {parts[1]})"


for _fam in ("v4", "v6", "dual"):
    _l, _o = f"outport == @{np_pg('ns1', 'peers')}", f"inport == @{np_pg('ns1', 'peers')}"
    _pick = {"v4": slice(0, 1), "v6": slice(1, 2), "dual": slice(0, 2)}[_fam]
    _sets = [selector_set(key, [PEER_IPS[p][i] for p in PEER_PODS[k]], f)
             for k, key in PEER_KEYS.items() for i, f in [(0, "v4"), (1, "v6")] if _fam in (f, "dual")]
    case(f"np-peers-{_fam}",
         "Selectors become shared address sets, named in order in braces; a namespaceSelector alone "
         "is in legacy mode (_LNM); equal peers are named once.",
         f"{PT}: correctly uses shared peer selector address sets; computes match strings from address sets",
         [node("node1", families=_fam), NS1, namespace("ns2", team="x"),
          pod("ns1", "a", PEER_IPS["ns1/a"][_pick], app="a"), pod("ns1", "b", PEER_IPS["ns1/b"][_pick], app="b"),
          pod("ns2", "b", PEER_IPS["ns2/b"][_pick], app="b"), PEERS],
         np_rows("ns1", "peers", ["ns1_a"], [
             np_acl("ns1", "peers", "Ingress", 0, "None", -1, f"{_any('src', ['own-b'], _fam)} && {_l}"),
             np_acl("ns1", "peers", "Ingress", 1, "None", -1, f"{_any('src', ['own', 'team'], _fam)} && {_l}"),
             np_acl("ns1", "peers", "Ingress", 2, "tcp", -1,
                    f"{_any('src', ['team-b', 'own-b'], _fam)} && tcp && tcp.dst==8080 && {_l}"),
             np_acl("ns1", "peers", "Ingress", 2, "udp", -1,
                    f"{_any('src', ['team-b', 'own-b'], _fam)} && udp && udp.dst==53 && {_l}"),
             np_acl("ns1", "peers", "Ingress", 3, "None", -1, f"{_any('src', ['every'], _fam)} && {_l}"),
             np_acl("ns1", "peers", "Egress", 0, "None", -1, f"{_any('dst', ['all'], _fam)} && {_o}"),
             np_acl("ns1", "peers", "Egress", 1, "None", -1, f"{_any('dst', ['own-b'], _fam)} && {_o}"),
         ]) + _sets,
         families=_fam, tables=("ACL", "Port_Group", "Address_Set"), owners=("NetworkPolicy", "PodSelector"))

# keys
_keys = {
    0: "ns1_LS{ML:{a: 1,b: 2,c: 3,},}",
    1: "ns1_LS{ME:{LSR{Key:app,Operator:In,Values:[api web],},LSR{Key:old,Operator:DoesNotExist,Values:[],},"
       "LSR{Key:tier,Operator:Exists,Values:[],},LSR{Key:tier,Operator:NotIn,Values:[db],}},}",
    2: "ns1_LS{ML:{app: web,},ME:{LSR{Key:tier,Operator:Exists,Values:[],}},}",
    3: "LS{ME:{LSR{Key:team,Operator:In,Values:[x y],}},}_LS{}_LNM",
    4: "LS{ME:{LSR{Key:team,Operator:In,Values:[x y],}},}_LS{ML:{app: web,},}",
    5: "LS{ML:{kubernetes.io/metadata.name: ns2,},}_LS{}",
}
case("np-selector-keys",
     "How a selector is spelled in the id of its address set: labels and expressions sorted, values "
     "sorted and in brackets, so that equal selectors share one set however they are written.",
     "ovn-kubernetes, addressset_manager.go: shortLabelSelectorString, sortedLSRString, getPodSelectorKey",
     [NODE, NS1, namespace("ns2", team="y"), pod("ns1", "w", "10.244.0.5", app="web", tier="front"),
      pod("ns2", "w", "10.244.0.6", app="web"),
      netpol("ns1", "keys", """
    podSelector: {}
    ingress:
      - from: [{podSelector: {matchLabels: {c: "3", a: "1", b: "2"}}}]
      - from:
          - podSelector:
              matchExpressions:
                - {key: tier, operator: NotIn, values: [db]}
                - {key: tier, operator: Exists}
                - {key: old, operator: DoesNotExist}
                - {key: app, operator: In, values: [web, api]}
      - from:
          - podSelector:
              matchExpressions: [{key: tier, operator: Exists}]
              matchLabels: {app: web}
      - from: [{namespaceSelector: {matchExpressions: [{key: team, operator: In, values: ["y", x]}]}}]
      - from:
          - namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [x, "y"]}]}
            podSelector: {matchLabels: {app: web}}
      - from:
          - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ns2}}
            podSelector: {}
    """),
      netpol("ns1", "same", """
    podSelector: {}
    ingress:
      - from: [{namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [x, "y"]}]}}]
    """)],
     [selector_set(_keys[0]), selector_set(_keys[1], ["10.244.0.5"]), selector_set(_keys[2], ["10.244.0.5"]),
      selector_set(_keys[3], ["10.244.0.6"]), selector_set(_keys[4], ["10.244.0.6"]),
      selector_set(_keys[5], ["10.244.0.6"])]
     + [np_acl("ns1", "keys", "Ingress", i, "None", -1, f"ip4.src == {{${sel(_keys[i])}}} && outport == @{np_pg('ns1', 'keys')}")
        for i in range(6)]
     + [np_acl("ns1", "same", "Ingress", 0, "None", -1, f"ip4.src == {{${sel(_keys[3])}}} && outport == @{np_pg('ns1', 'same')}")],
     tables=("ACL", "Address_Set"), owners=("NetworkPolicy", "PodSelector"))

# members
_members = [
    node("node1", 0, zone="node1"), node("node2", 1, zone="node2"), NS1, NS2,
    pod("ns1", "here", "10.244.0.5"), pod("ns1", "there", "10.244.1.5", node="node2"),
    pod("ns1", "host", "172.18.0.2", host=True), pod("ns1", "done", "10.244.0.9", phase="Succeeded"),
    pod("ns1", "failed", "10.244.0.10", phase="Failed"), pod("ns1", "waiting", [], phase="Pending"),
    pod("ns2", "other", "10.244.0.6"),
]
_pick = netpol("ns1", "pick", """
    podSelector: {}
    ingress:
      - from: [{podSelector: {}}]
      - from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ns1}}}]
    """)
_acls = [np_acl("ns1", "pick", "Ingress", 0, "None", -1, f"ip4.src == {{${sel('ns1_LS{}')}}} && outport == @{np_pg('ns1', 'pick')}"),
         np_acl("ns1", "pick", "Ingress", 1, "None", -1,
                "ip4.src == {$" + sel("LS{ML:{kubernetes.io/metadata.name: ns1,},}_LS{}_LNM") + "} && outport == @" + np_pg("ns1", "pick"))]


def _in_zone(rows, zone):
    return [{**r, "zone": zone} for r in rows]


def _members_rows(zone, local):
    return _in_zone([
        selector_set("ns1_LS{}", ["10.244.0.5", "10.244.1.5", "172.18.0.2"]),
        selector_set("LS{ML:{kubernetes.io/metadata.name: ns1,},}_LS{}_LNM", ["10.244.0.5", "10.244.1.5"]),
    ] + np_rows("ns1", "pick", local, _acls) + deny_rows("ns1", local, []), zone)


case("np-members",
     "Address sets hold the pods of all zones, also those on the host's network unless in legacy "
     "mode, but none that is done or has no address; port groups hold the zone's own pods that "
     "have a port.",
     f"{PT}: correctly uses shared peer selector address sets; addressset_manager.go getPodIPs; "
     "base_network_controller_policy.go getNewLocalPolicyPorts",
     _members + [_pick], _members_rows("node1", ["ns1_here"]) + _members_rows("node2", ["ns1_there"]),
     tables=("ACL", "Port_Group", "Address_Set"),
     owners=("NetworkPolicy", "PodSelector", "NetpolNamespace"))

case("np-members-strict",
     "In strict mode a selector selects no pod on the host's network: what the API says of such pods is "
     "up to the network plugin, and as sources they are their nodes.",
     "Kubernetes documentation of NetworkPolicy: pods with hostNetwork",
     _members + [_pick],
     [{**r, "columns": {**r["columns"], "addresses": ["10.244.0.5", "10.244.1.5"]}} if r["table"] == "Address_Set" else r
      for r in _members_rows("node1", ["ns1_here"]) + _members_rows("node2", ["ns1_there"])],
     options="compat=strict", tables=("ACL", "Port_Group", "Address_Set"),
     owners=("NetworkPolicy", "PodSelector", "NetpolNamespace"))

# ipBlock
_blocks = [
    ([("0.0.0.0/0", [])], "ip4.src == 0.0.0.0/0"),
    ([("0.0.0.0/0", []), ("10.1.0.0/16", [])], "(ip4.src == 0.0.0.0/0 || ip4.src == 10.1.0.0/16)"),
    ([("fd00:10:244:3::49/32", [])], "ip6.src == fd00:10:244:3::49/32"),
    ([("::/0", []), ("0.0.0.0/0", [])], "(ip6.src == ::/0 || ip4.src == 0.0.0.0/0)"),
    ([("0.0.0.0/0", ["10.1.0.0/16"])], "(ip4.src == 0.0.0.0/0 && ip4.src != {10.1.0.0/16})"),
    ([("0.0.0.0/0", ["10.1.0.0/16"]), ("10.1.0.0/16", [])],
     "((ip4.src == 0.0.0.0/0 && ip4.src != {10.1.0.0/16}) || ip4.src == 10.1.0.0/16)"),
    ([("10.0.0.0/8", ["10.2.0.0/16", "10.1.0.0/16"])],
     "(ip4.src == 10.0.0.0/8 && ip4.src != {10.2.0.0/16, 10.1.0.0/16})"),
    ([("2001:db8::/32", ["2001:db8:1::/48", "2001:db8:2::/48"])],
     "(ip6.src == 2001:db8::/32 && ip6.src != {2001:db8:1::/48, 2001:db8:2::/48})"),
    ([("10.0.0.0/8", []), ("10.0.0.0/8", [])], "(ip4.src == 10.0.0.0/8 || ip4.src == 10.0.0.0/8)"),
]


def _block_yaml(blocks, indent):
    out = ""
    for cidr, but in blocks:
        out += f"{indent}- ipBlock: {{cidr: '{cidr}'" + (f", except: {json.dumps(but)}" if but else "") + "}\n"
    return out


for _fam in ("v4", "dual"):
    _spec = "podSelector: {}\ningress:\n" + "".join("  - from:\n" + _block_yaml(b, "      ") for b, _ in _blocks)
    case(f"np-blocks-{_fam}",
         "All ipBlocks of a rule are one ACL with block index -2; as written and in order; a block of "
         "a family that the cluster does not have is kept.",
         "ovn-kubernetes, gress_policy_test.go: TestGetMatchFromIPBlock",
         [node("node1", families=_fam), NS1, netpol("ns1", "blocks", _spec)],
         np_rows("ns1", "blocks", [], [
             np_acl("ns1", "blocks", "Ingress", i, "None", -2, f"{l3} && outport == @{np_pg('ns1', 'blocks')}")
             for i, (_, l3) in enumerate(_blocks)]),
         families=_fam, owners=("NetworkPolicy",))

_l = f"inport == @{np_pg('ns1', 'both')}"
_b = "(ip4.dst == 192.168.1.0/24 || (ip4.dst == 10.0.0.0/8 && ip4.dst != {10.244.0.0/16}))"
_s = "ip4.dst == {$" + sel("ns1_LS{ML:{app: b,},}") + "}"
case("np-blocks-and-pods",
     "Blocks and selectors in one rule: two ACLs for each protocol, -2 and -1.",
     "ovn-kubernetes, gress_policy.go buildLocalPodACLs; policy_test.go getGressACLsAndAddrSets",
     [NODE, NS1, netpol("ns1", "both", """
    podSelector: {}
    policyTypes: [Egress]
    egress:
      - to:
          - ipBlock: {cidr: 192.168.1.0/24}
          - podSelector: {matchLabels: {app: b}}
          - ipBlock: {cidr: 10.0.0.0/8, except: [10.244.0.0/16]}
        ports: [{port: 443}, {protocol: UDP}]
      - to: [{ipBlock: {cidr: 192.168.1.0/24}}]
        ports: [{port: 1, endPort: 65535}]
    """)],
     np_rows("ns1", "both", [], [
         np_acl("ns1", "both", "Egress", 0, "tcp", -2, f"{_b} && tcp && tcp.dst==443 && {_l}"),
         np_acl("ns1", "both", "Egress", 0, "udp", -2, f"{_b} && udp && {_l}"),
         np_acl("ns1", "both", "Egress", 0, "tcp", -1, f"{_s} && tcp && tcp.dst==443 && {_l}"),
         np_acl("ns1", "both", "Egress", 0, "udp", -1, f"{_s} && udp && {_l}"),
         np_acl("ns1", "both", "Egress", 1, "tcp", -2, f"ip4.dst == 192.168.1.0/24 && tcp && 1<=tcp.dst<=65535 && {_l}"),
     ]), owners=("NetworkPolicy",))

case("np-blocks-as-written",
     "The text of a block goes into the match as it is: host bits, long IPv6 forms and capitals stay. "
     "It matters because the sample id is a hash of the match.",
     "ovn-kubernetes, gress_policy.go getMatchFromIPBlock prints IPBlock.CIDR",
     [node("node1", families="dual"), NS1, netpol("ns1", "text", """
    podSelector: {}
    ingress:
      - from: [{ipBlock: {cidr: 10.1.2.3/16}}]
      - from: [{ipBlock: {cidr: "2001:DB8:0:0::/64", except: ["2001:db8:0:0:0::/80"]}}]
    """)],
     np_rows("ns1", "text", [], [
         np_acl("ns1", "text", "Ingress", 0, "None", -2, f"ip4.src == 10.1.2.3/16 && outport == @{np_pg('ns1', 'text')}"),
         np_acl("ns1", "text", "Ingress", 1, "None", -2,
                "(ip6.src == 2001:DB8:0:0::/64 && ip6.src != {2001:db8:0:0:0::/80}) && outport == @" + np_pg("ns1", "text")),
     ]), families="dual", owners=("NetworkPolicy",))

# --- stateless ---------------------------------------------------------------------------

_spec = "podSelector: {}\npolicyTypes: [Ingress, Egress]\ningress:\n  - ports: [{port: 80}]\negress:\n  - to: [{ipBlock: {cidr: 192.168.1.0/24}}]"


def _stateless(name, action):
    return np_rows("ns1", name, ["ns1_a"], [
        np_acl("ns1", name, "Ingress", 0, "tcp", -1, f"ip4 && tcp && tcp.dst==80 && outport == @{np_pg('ns1', name)}", action),
        np_acl("ns1", name, "Egress", 0, "None", -2, f"ip4.dst == 192.168.1.0/24 && inport == @{np_pg('ns1', name)}", action)])


_policies = [netpol("ns1", "with", _spec, {"k8s.ovn.org/acl-stateless": "true"}),
             netpol("ns1", "without", _spec, {"k8s.ovn.org/acl-stateless": "false"}),
             netpol("ns1", "capital", _spec, {"k8s.ovn.org/acl-stateless": "True"})]
for _flag in (True, False):
    case("np-stateless" if _flag else "np-stateless-off",
         "The annotation acl-stateless, exactly \"true\", makes all ACLs of the policy stateless; the "
         "default deny keeps its actions." if _flag else "Without the feature the annotation has no effect.",
         f"{PT}: creates stateless OVN ACLs based off of the annotation",
         [NODE, NS1, pod("ns1", "a", "10.244.0.5"), *_policies],
         _stateless("with", "allow-stateless" if _flag else "allow-related") + _stateless("without", "allow-related")
         + _stateless("capital", "allow-related") + deny_rows("ns1", ["ns1_a"], ["ns1_a"]),
         options="stateless" if _flag else "", owners=("NetworkPolicy", "NetpolNamespace"))

# --- logging, names ---------------------------------------------------------------------

_one = "podSelector: {}\ningress:\n  - ports: [{port: 80}]"


def _logged(ns, allow=None, deny=None):
    return deny_rows(ns, [], [], log=deny) + np_rows(ns, "one", [], [
        np_acl(ns, "one", "Ingress", 0, "tcp", -1, f"ip4 && tcp && tcp.dst==80 && outport == @{np_pg(ns, 'one')}", log=allow)])


_levels = {
    "both": ('{"deny": "alert", "allow": "notice"}', "notice", "alert"),
    "deny-only": ('{"deny": "warning"}', None, "warning"),
    "allow-only": ('{"allow": "debug"}', "debug", None),
    "half-wrong": ('{"deny": "loud", "allow": "info"}', "info", None),
    "broken": ('{"deny": "alert", ', None, None),
    "wrong-type": ('{"deny": "alert", "allow": 5}', None, None),
    "empty": ("", None, None),
    "braces": ("{}", None, None),
    "pass-is-not-for-namespaces": ('{"pass": "info"}', None, None),
    "any-case": ('{"DENY": "alert", "Allow": "notice"}', "notice", "alert"),
}
case("np-logging",
     "The namespace's acl-logging annotation sets level and log of its policies' ACLs (allow) and of "
     "the default deny (deny), not of the ARP ACLs. A wrong level turns that key off, broken JSON "
     "both; keys are read without regard to case, as Go's JSON does.",
     f"{PT}: ACL logging for network policies; base_network_controller_namespace.go aclLoggingUpdateNsInfo",
     [NODE] + [m for ns, (text, _, _) in _levels.items()
               for m in (namespace(ns, {"k8s.ovn.org/acl-logging": text}), netpol(ns, "one", _one))],
     [r for ns, (_, allow, deny) in _levels.items() for r in _logged(ns, allow, deny)],
     owners=("NetworkPolicy", "NetpolNamespace"))

_long = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk"
_middle = "a-namespace-of-forty-characters-in-length"
case("np-long-names", "ACL names are cut at 63 characters, ids are not.",
     f"{PT}: can reconcile network policy with long name",
     [NODE, namespace(_long), namespace(_middle), netpol(_long, "one", _one), netpol(_middle, "policy-with-a-long-name", _one)],
     deny_rows(_long, [], []) + deny_rows(_middle, [], [])
     + np_rows(_long, "one", [], [np_acl(_long, "one", "Ingress", 0, "tcp", -1, f"ip4 && tcp && tcp.dst==80 && outport == @{np_pg(_long, 'one')}")])
     + np_rows(_middle, "policy-with-a-long-name", [], [
         np_acl(_middle, "policy-with-a-long-name", "Ingress", 0, "tcp", -1,
                f"ip4 && tcp && tcp.dst==80 && outport == @{np_pg(_middle, 'policy-with-a-long-name')}")]),
     owners=("NetworkPolicy", "NetpolNamespace"))

# --- nodes and hairpin -------------------------------------------------------------------


def _from_node(name, ip):
    family = "ip6" if ":" in ip else "ip4"
    return acl("NetpolNode", [("name", name), ("ip", ip)], "Ingress", 1001, f"{family}.src=={ip}", "allow-related")


HAIRPIN = {"v4": "ip4.src == 169.254.169.5", "v6": "ip6.src == fd69::5",
           "dual": "(ip4.src == 169.254.169.5 || ip6.src == fd69::5)"}
for _fam in ("v4", "v6", "dual"):
    _ips = {"v4": ["10.244.{}.2"], "v6": ["fd00:10:244:{}::2"], "dual": ["10.244.{}.2", "fd00:10:244:{}::2"]}[_fam]
    _hair = [acl("NetpolDefault", [("name", "allow-hairpinning"), ("direction", d)], d, 1001, HAIRPIN[_fam], "allow-related")
             for d in ("Ingress", "Egress")]
    case(f"nodes-{_fam}",
         "Each node's switch lets its management address in; hairpinned service traffic is allowed "
         "both ways on the cluster port group, which holds the management ports and no pod.",
         "ovn-kubernetes, policy_test.go: creating new ACL and adding it to node switch, creates default "
         "hairpinning ACLs; base_network_controller.go syncNodeManagementPort",
         [node("node1", 0, _fam), node("node2", 1, _fam), NS1,
          pod("ns1", "a", [{"v4": "10.244.0.5", "v6": "fd00:10:244::5", "dual": "10.244.0.5"}[_fam]])],
         [_from_node(f"node{i + 1}", str(ip.format(i)).replace(":0::", "::")) for i in (0, 1) for ip in _ips] + _hair
         + [group("Cluster", [("name", "clusterPortGroup")], ["k8s-node1", "k8s-node2"], _hair)],
         families=_fam, owners=("NetpolNode", "NetpolDefault", "Cluster"), keys=(
             C + ":NetpolNode", C + ":NetpolDefault", cluster_pg()))

# --- the way back ----------------------------------------------------------------------------
