"""AdminNetworkPolicy, BaselineAdminNetworkPolicy."""

import textwrap

from rowkit import *

ANP, BANP = "AdminNetworkPolicy", "BaselineAdminNetworkPolicy"
AT = "ovn-kubernetes, admin_network_policy_test.go"


def admin(kind, name, spec, priority=None, annotations=None):
    text = f"apiVersion: policy.networking.k8s.io/v1alpha1\nkind: {kind}\nmetadata:\n  name: {name}\n"
    if annotations:
        text += "  annotations:\n" + "".join(f"    {k}: {json.dumps(v)}\n" for k, v in annotations.items())
    text += "spec:\n"
    if priority is not None:
        text += f"  priority: {priority}\n"
    return text + textwrap.indent(textwrap.dedent(spec).strip("\n"), "  ") + "\n"


def l3(owner, name, direction, index, fam):
    end = "src" if direction == "Ingress" else "dst"
    parts = [f"{ip}.{end} == ${peers(owner, name, direction, index, family)}"
             for family, ip in [("v4", "ip4"), ("v6", "ip6")] if fam in (family, "dual")]
    return "((" + " || ".join(parts) + "))"


def lport(owner, name, direction):
    return f"{'outport' if direction == 'Ingress' else 'inport'} == @{admin_pg(owner, name)}"


def plain(owner, name, direction, index, priority, action, fam="v4", l4=None, protocol="None", log=None):
    match = f"{lport(owner, name, direction)} && {l3(owner, name, direction, index, fam)}"
    if l4:
        match += f" && {l4}"
    return admin_acl(owner, name, direction, index, protocol, priority, match, action, log=log)


def sets(owner, name, direction, index, fam, v4=(), v6=()):
    return [admin_set(owner, name, direction, index, addresses, family)
            for family, addresses in [("v4", v4), ("v6", v6)] if fam in (family, "dual")]


FULL = ("ACL", "Port_Group", "Address_Set")

# --- rules, tiers, priorities, members ------------------------------------------------------

_spec = """
    subject:
      namespaces: {matchLabels: {house: gryffindor}}
    ingress:
      - name: allow-hufflepuff
        action: Allow
        from: [{namespaces: {matchLabels: {house: hufflepuff}}}]
      - name: deny-slytherin
        action: Deny
        from:
          - namespaces: {matchLabels: {house: slytherin}}
          - pods:
              namespaceSelector: {}
              podSelector: {matchLabels: {house: slytherin}}
"""
_pass = """
      - name: pass-ravenclaw
        action: Pass
        from: [{namespaces: {matchLabels: {house: ravenclaw}}}]
"""
_egress = """
    egress:
      - name: deny-slytherin
        action: Deny
        to: [{pods: {namespaceSelector: {matchLabels: {house: slytherin}}, podSelector: {matchLabels: {app: x}}}}]
"""
_ips = {"g1": ("10.244.0.3", "fd00:10:244::3"), "h1": ("10.244.0.4", "fd00:10:244::4"),
        "s1": ("10.244.0.5", "fd00:10:244::5"), "s2": ("10.244.0.6", "fd00:10:244::6"),
        "r1": ("10.244.0.7", "fd00:10:244::7"), "g2": ("10.244.0.8", "fd00:10:244::8")}


def _world(fam):
    pick = {"v4": slice(0, 1), "v6": slice(1, 2), "dual": slice(0, 2)}[fam]

    def at(name):
        return list(_ips[name])[pick]

    host = {"v4": ["172.18.0.2"], "v6": ["fc00:f853:ccd:e793::2"], "dual": ["172.18.0.2", "fc00:f853:ccd:e793::2"]}[fam]
    return [node("node1", families=fam)] + [namespace(n, house=n) for n in ("gryffindor", "hufflepuff", "slytherin", "ravenclaw")] + [
        pod("gryffindor", "g1", at("g1")), pod("hufflepuff", "h1", at("h1")),
        pod("slytherin", "s1", at("s1"), app="x"), pod("ravenclaw", "s2", at("s2"), house="slytherin"),
        pod("ravenclaw", "r1", at("r1")),
        pod("gryffindor", "host", host, host=True), pod("slytherin", "host", host, host=True, app="x"),
        pod("slytherin", "done", ["10.244.0.99"], phase="Succeeded", app="x"),
    ]


def _v(names, i):
    return [_ips[n][i] for n in names]


for _fam in ("v4", "v6", "dual"):
    _n = "hogwarts"
    _a = [plain(ANP, _n, "Ingress", 0, 30000 - 500, "allow-related", _fam),
          plain(ANP, _n, "Ingress", 1, 30000 - 501, "drop", _fam),
          plain(ANP, _n, "Ingress", 2, 30000 - 502, "pass", _fam),
          plain(ANP, _n, "Egress", 0, 30000 - 500, "drop", _fam)]
    _s = (sets(ANP, _n, "Ingress", 0, _fam, _v(["h1"], 0), _v(["h1"], 1))
          + sets(ANP, _n, "Ingress", 1, _fam, _v(["s1", "s2"], 0), _v(["s1", "s2"], 1))
          + sets(ANP, _n, "Ingress", 2, _fam, _v(["s2", "r1"], 0), _v(["s2", "r1"], 1))
          + sets(ANP, _n, "Egress", 0, _fam, _v(["s1"], 0), _v(["s1"], 1)))
    case(f"anp-{_fam}",
         "An AdminNetworkPolicy: one ACL a rule, tier 1, priority 30000 - 100 p - index; one address "
         "set a rule for all its peers; no pod on the host's network, and none that is done.",
         f"{AT}: should create/update/delete address-sets, acls, port-groups correctly",
         _world(_fam) + [admin(ANP, _n, _spec + _pass + _egress, 5)],
         admin_rows(ANP, _n, ["gryffindor_g1"], _a) + _s,
         families=_fam, tables=FULL, owners=(ANP,))

    _b = [plain(BANP, "default", "Ingress", 0, 1750, "allow-related", _fam),
          plain(BANP, "default", "Ingress", 1, 1749, "drop", _fam),
          plain(BANP, "default", "Egress", 0, 1750, "drop", _fam)]
    _s = (sets(BANP, "default", "Ingress", 0, _fam, _v(["h1"], 0), _v(["h1"], 1))
          + sets(BANP, "default", "Ingress", 1, _fam, _v(["s1", "s2"], 0), _v(["s1", "s2"], 1))
          + sets(BANP, "default", "Egress", 0, _fam, _v(["s1"], 0), _v(["s1"], 1)))
    case(f"banp-{_fam}", "The baseline: tier 3, priority 1750 - index.",
         "ovn-kubernetes, baseline_admin_network_policy_test.go: should create/update/delete address-sets, acls, port-groups correctly",
         _world(_fam) + [admin(BANP, "default", _spec + _egress)],
         admin_rows(BANP, "default", ["gryffindor_g1"], _b) + _s,
         families=_fam, tables=FULL, owners=(BANP,))

# --- ports without pods that have them --------------------------------------------------------

_ports = """[
        {portNumber: {port: 36363, protocol: TCP}},
        {portNumber: {port: 36364, protocol: TCP}},
        {portRange: {start: 36330, end: 36550, protocol: TCP}},
        {namedPort: http},
        {portRange: {start: 36330, end: 36550, protocol: SCTP}},
        {portRange: {start: 36330, end: 36550, protocol: UDP}}]"""
_l4 = {"tcp": "tcp && (tcp.dst=={36363,36364} || 36330<=tcp.dst<=36550)",
       "sctp": "sctp && 36330<=sctp.dst<=36550", "udp": "udp && 36330<=udp.dst<=36550"}
_n = "harry-potter"
_rules = [("Ingress", 0, "drop"), ("Egress", 0, "pass"), ("Egress", 1, "allow-related")]
case("anp-ports",
     "Numbers and ranges: one ACL a protocol. A name that no pod has adds nothing, and there is no "
     "ACL for all protocols beside it.",
     f"{AT}: PortNumber, PortRange and NamedPort (no matching pods) Rules for ANP",
     [node("node1", families="dual"), admin(ANP, _n, f"""
    subject:
      namespaces: {{matchLabels: {{house: gryffindor}}}}
    ingress:
      - action: Deny
        from: [{{namespaces: {{matchLabels: {{house: slytherin}}}}}}]
        ports: {_ports}
    egress:
      - action: Pass
        to: [{{namespaces: {{matchLabels: {{house: ravenclaw}}}}}}]
        ports: {_ports}
      - action: Allow
        to: [{{namespaces: {{matchLabels: {{house: hufflepuff}}}}}}]
        ports: {_ports}
      - action: Deny
        to: [{{namespaces: {{matchLabels: {{house: slytherin}}}}}}]
        ports: [{{namedPort: http}}]
    """, 75)],
     admin_rows(ANP, _n, [], [plain(ANP, _n, d, i, 22500 - i, action, "dual", l4, p)
                              for d, i, action in _rules for p, l4 in _l4.items()])
     + [s for d, i in [("Ingress", 0), ("Egress", 0), ("Egress", 1), ("Egress", 2)] for s in sets(ANP, _n, d, i, "dual")],
     families="dual", tables=FULL, owners=(ANP,))

# --- named ports ------------------------------------------------------------------------------

_named = "[{portNumber: {port: 36363, protocol: TCP}}, {namedPort: web123}, {namedPort: web}, {namedPort: dns}]"
_world2 = [
    node("node1", families="dual"), namespace("subject", house="gryffindor"), namespace("peer", house="ravenclaw"),
    namespace("other", house="slytherin"),
    pod("subject", "s", "10.244.0.3 fd00:10:244::3", ports=[("dns", "UDP", 5353), ("web", "TCP", 80)]),
    pod("subject", "s2", "10.244.0.10 fd00:10:244::10", ports=[("web", "TCP", 8080)]),
    pod("peer", "p", "10.244.0.4 fd00:10:244::4", ports=[("web", "TCP", 3535), ("web123", "SCTP", 35356)]),
]
_spec = f"""
    subject:
      namespaces: {{matchLabels: {{house: gryffindor}}}}
    ingress:
      - action: Deny
        from: [{{namespaces: {{matchLabels: {{house: slytherin}}}}}}]
        ports: {_named}
    egress:
      - action: Pass
        to: [{{namespaces: {{matchLabels: {{house: ravenclaw}}}}}}]
        ports: {_named}
"""


def _at(proto, *ends):
    return f"{proto} && (" + " || ".join(
        f"({'ip6' if ':' in ip else 'ip4'}.dst == {ip} && {proto}.dst == {port})" for ip, port in ends) + ")"


_in_tcp = _at("tcp", ("10.244.0.10", 8080), ("10.244.0.3", 80), ("fd00:10:244::10", 8080), ("fd00:10:244::3", 80))
_in_udp = _at("udp", ("10.244.0.3", 5353), ("fd00:10:244::3", 5353))
_out_tcp = _at("tcp", ("10.244.0.4", 3535), ("fd00:10:244::4", 3535))
_out_sctp = _at("sctp", ("10.244.0.4", 35356), ("fd00:10:244::4", 35356))


def _named_acls(owner, name, base, strict=False):
    # strict ties an ingress rule to its subject by the port group
    pre_in = f"{lport(owner, name, 'Ingress')} && " if strict else ""
    pre_out = f"{lport(owner, name, 'Egress')} && "
    pass_ = "pass" if owner == ANP else "allow-related"
    i3 = l3(owner, name, "Ingress", 0, "dual")
    return [
        plain(owner, name, "Ingress", 0, base, "drop", "dual", "tcp && tcp.dst==36363", "tcp"),
        admin_acl(owner, name, "Ingress", 0, "tcp-namedPort", base, f"{pre_in}{i3} && {_in_tcp}", "drop"),
        admin_acl(owner, name, "Ingress", 0, "udp-namedPort", base, f"{pre_in}{i3} && {_in_udp}", "drop"),
        plain(owner, name, "Egress", 0, base, pass_, "dual", "tcp && tcp.dst==36363", "tcp"),
        admin_acl(owner, name, "Egress", 0, "tcp-namedPort", base, f"{pre_out}{_out_tcp}", pass_),
        admin_acl(owner, name, "Egress", 0, "sctp-namedPort", base, f"{pre_out}{_out_sctp}", pass_),
    ]


def _sets(owner, name):
    return (sets(owner, name, "Ingress", 0, "dual")
            + sets(owner, name, "Egress", 0, "dual", ["10.244.0.4"], ["fd00:10:244::4"]))


case("anp-named-ports",
     "Named ports become addresses with numbers, ordered by name, then by the address as text. An "
     "ingress rule has no port group in that match, an egress rule no address set.",
     f"{AT}: NamedPort matching pods Rules for ANP",
     _world2 + [admin(ANP, _n, _spec, 65)],
     admin_rows(ANP, _n, ["subject_s", "subject_s2"], _named_acls(ANP, _n, 23500)) + _sets(ANP, _n),
     families="dual", tables=FULL, owners=(ANP,))
case("banp-named-ports", "The same in the baseline.",
     "ovn-kubernetes, baseline_admin_network_policy_test.go: NamedPort matching pods Rules for BANP",
     _world2 + [admin(BANP, "default", _spec.replace("Pass", "Allow"))],
     admin_rows(BANP, "default", ["subject_s", "subject_s2"], _named_acls(BANP, "default", 1750)) + _sets(BANP, "default"),
     families="dual", tables=FULL, owners=(BANP,))

# an ingress rule takes the names of its peers' pods too
_w = [node("node1"), namespace("subject", house="gryffindor"), namespace("peer", house="slytherin"),
      pod("subject", "s", "10.244.0.3", ports=[("web", "TCP", 80)]),
      pod("peer", "p", "10.244.0.4", ports=[("web", "TCP", 3535)])]
_rule = """
    subject:
      namespaces: {matchLabels: {house: gryffindor}}
    ingress:
      - action: Deny
        from: [{namespaces: {matchLabels: {house: slytherin}}}]
        ports: [{namedPort: web}]
"""
_i3 = l3(ANP, "web", "Ingress", 0, "v4")
case("anp-named-ports-of-peers",
     "In ovn-kubernetes an ingress rule with a named port looks the name up in the subject's pods and "
     "in its peers' pods as well, and having no port group in the match it also hits traffic between "
     "the peers.",
     "ovn-kubernetes, admin_network_policy.go: expandRulePeers fills namedPorts for ingress rules too",
     _w + [admin(ANP, "web", _rule, 10)],
     admin_rows(ANP, "web", ["subject_s"], [
         admin_acl(ANP, "web", "Ingress", 0, "tcp-namedPort", 29000,
                   f"{_i3} && " + _at("tcp", ("10.244.0.3", 80), ("10.244.0.4", 3535)), "drop")])
     + sets(ANP, "web", "Ingress", 0, "v4", ["10.244.0.4"]),
     tables=FULL, owners=(ANP,))

# --- nodes, networks ----------------------------------------------------------------------------

_nodes = [node("node1", 0, "dual", role="worker"), node("node2", 1, "dual", role="infra"),
          node("node3", 2, "dual", role="worker", host=["172.18.0.4", "192.168.5.4", "fc00:f853:ccd:e793::4"])]
_spec = """
    subject:
      namespaces: {}
    egress:
      - action: Allow
        to:
          - nodes: {matchLabels: {role: worker}}
      - action: Deny
        to:
          - networks: ["192.168.0.0/16", "135.10.0.5/24", "fd00:0:0::/48", "0.0.0.0/0"]
          - nodes: {}
        ports: [{portNumber: {port: 6443, protocol: TCP}}]
"""
for _owner, _name, _prio, _base in [(ANP, "edge", 0, 30000), (BANP, "default", None, 1750)]:
    case("anp-nodes-and-networks" if _owner == ANP else "banp-nodes-and-networks",
         "Egress to nodes is to their host addresses, to networks to their masked CIDRs, all in the "
         "rule's one address set. The highest priority is 30000.",
         f"{AT}: egress node+network peers: should create/update/delete address-sets, acls, port-groups correctly",
         _nodes + [namespace("any"), pod("any", "p", "10.244.0.9 fd00:10:244::9"), admin(_owner, _name, _spec, _prio)],
         admin_rows(_owner, _name, ["any_p"], [
             plain(_owner, _name, "Egress", 0, _base, "allow-related", "dual"),
             plain(_owner, _name, "Egress", 1, _base - 1, "drop", "dual", "tcp && tcp.dst==6443", "tcp")])
         + sets(_owner, _name, "Egress", 0, "dual", ["172.18.0.2", "172.18.0.4", "192.168.5.4"],
                ["fc00:f853:ccd:e793::2", "fc00:f853:ccd:e793::4"])
         + sets(_owner, _name, "Egress", 1, "dual",
                ["172.18.0.2", "172.18.0.3", "172.18.0.4", "192.168.5.4", "192.168.0.0/16", "135.10.0.0/24", "0.0.0.0/0"],
                ["fc00:f853:ccd:e793::2", "fc00:f853:ccd:e793::3", "fc00:f853:ccd:e793::4", "fd00::/48"]),
         families="dual", tables=FULL, owners=(_owner,))

# --- priorities ----------------------------------------------------------------------------------

_one = """
    subject: {namespaces: {}}
    ingress:
      - action: Deny
        from: [{namespaces: {}}]
"""
case("anp-priorities",
     "99 is the lowest priority, 20100; a policy beyond it is refused and leaves no rows; two of one "
     "priority are both made.",
     f"{AT}: should not be able to create admin network policy with priority > 99; should be able to create two "
     "admin network policies at the same priority",
     [node("node1"), admin(ANP, "last", _one, 99), admin(ANP, "beyond", _one, 100),
      admin(ANP, "twin-a", _one, 7), admin(ANP, "twin-b", _one, 7)],
     [r for n, p in [("last", 20100), ("twin-a", 29300), ("twin-b", 29300)]
      for r in admin_rows(ANP, n, [], [plain(ANP, n, "Ingress", 0, p, "drop")]) + sets(ANP, n, "Ingress", 0, "v4")],
     tables=FULL, owners=(ANP,), says=("priority", "same-priority"))

# --- logging --------------------------------------------------------------------------------------

_three = """
    subject: {namespaces: {}}
    ingress:
      - {action: Deny, from: [{namespaces: {}}]}
      - {action: Allow, from: [{namespaces: {}}]}
"""
_log = '{"deny": "alert", "allow": "info", "pass": "warning"}'
case("anp-logging",
     "The annotation on the policy itself sets the levels of its rules; pass has its own; a "
     "namespace's annotation has no part in it.",
     f"{AT}: ACL Logging for ANP; baseline_admin_network_policy_test.go: ACL Logging for BANP",
     [node("node1"), namespace("ns1", {"k8s.ovn.org/acl-logging": '{"deny":"debug"}'}),
      admin(ANP, "logged", _three + "      - {action: Pass, from: [{namespaces: {}}]}\n", 1, {"k8s.ovn.org/acl-logging": _log}),
      admin(ANP, "silent", _three, 2), admin(BANP, "default", _three, None, {"k8s.ovn.org/acl-logging": '{"deny": "notice"}'})],
     admin_rows(ANP, "logged", [], [plain(ANP, "logged", "Ingress", 0, 29900, "drop", log="alert"),
                                    plain(ANP, "logged", "Ingress", 1, 29899, "allow-related", log="info"),
                                    plain(ANP, "logged", "Ingress", 2, 29898, "pass", log="warning")])
     + admin_rows(ANP, "silent", [], [plain(ANP, "silent", "Ingress", 0, 29800, "drop"),
                                      plain(ANP, "silent", "Ingress", 1, 29799, "allow-related")])
     + admin_rows(BANP, "default", [], [plain(BANP, "default", "Ingress", 0, 1750, "drop", log="notice"),
                                        plain(BANP, "default", "Ingress", 1, 1749, "allow-related")]),
     owners=(ANP, BANP))

_wrong = [("wrong-level", '{"deny": "loud", "allow": "info"}'), ("broken", "{"), ("wrong-pass", '{"pass": 5}')]
_policies = [node("node1")] + [admin(ANP, n, _one, i, {"k8s.ovn.org/acl-logging": a}) for i, (n, a) in enumerate(_wrong)] + [
    admin(ANP, "empty", _one, 7, {"k8s.ovn.org/acl-logging": ""}),
    admin(BANP, "default", _one, None, {"k8s.ovn.org/acl-logging": '{"pass": "loud"}'})]


def _denies(name, i):
    return admin_rows(ANP, name, [], [plain(ANP, name, "Ingress", 0, 30000 - 100 * i, "drop")])


case("anp-logging-wrong",
     "What cannot be read of the annotation makes ovn-kubernetes refuse the whole policy; with a "
     "namespace it only turns logging off.",
     "ovn-kubernetes, types.go newAdminNetworkPolicyState joins the error, ensureAdminNetworkPolicy returns it",
     _policies, _denies("empty", 7), owners=(ANP, BANP), says=("bad-annotation", "admin-policy"))
case("anp-logging-wrong-strict", "In strict mode the policy holds, without the levels that are wrong.",
     "The API of administrators' policies knows no logging",
     _policies,
     [r for i, (n, _) in enumerate(_wrong) for r in _denies(n, i)] + _denies("empty", 7)
     + admin_rows(BANP, "default", [], [plain(BANP, "default", "Ingress", 0, 1750, "drop")]),
     options="compat=strict", owners=(ANP, BANP), says=("bad-annotation",))

# --- strict ---------------------------------------------------------------------------------------

case("anp-named-ports-strict",
     "In strict mode an ingress rule with a named port is about the subject's ports only, and bound to "
     "the subject by its port group.",
     "The API: namedPort is a port of the pod that is selected by the subject for ingress, of the peer for egress",
     _w + [admin(ANP, "web", _rule, 10)],
     admin_rows(ANP, "web", ["subject_s"], [
         admin_acl(ANP, "web", "Ingress", 0, "tcp-namedPort", 29000,
                   f"{lport(ANP, 'web', 'Ingress')} && {_i3} && " + _at("tcp", ("10.244.0.3", 80)), "drop")])
     + sets(ANP, "web", "Ingress", 0, "v4", ["10.244.0.4"]),
     options="compat=strict", tables=FULL, owners=(ANP,))

# two zones: each knows the named ports of its own subject pods only
_z = [node("node1", 0, zone="node1"), node("node2", 1, zone="node2"),
      namespace("subject", house="gryffindor"), namespace("peer", house="slytherin"),
      pod("subject", "one", "10.244.0.3", node="node1", ports=[("web", "TCP", 80)]),
      pod("subject", "two", "10.244.1.3", node="node2", ports=[("web", "TCP", 81)]),
      pod("peer", "p", "10.244.1.4", node="node2")]


def _zoned(rows, zone):
    return [{**r, "zone": zone} for r in rows]


def _in_zone(zone, port, ip, number):
    return _zoned(admin_rows(ANP, "web", [port], [
        admin_acl(ANP, "web", "Ingress", 0, "tcp-namedPort", 29000, f"{_i3} && " + _at("tcp", (ip, number)), "drop")])
        + sets(ANP, "web", "Ingress", 0, "v4", ["10.244.1.4"]), zone)


case("anp-zones",
     "In each zone the port group and the named ports of an ingress rule are of the zone's own subject "
     "pods; peers are of all zones.",
     "ovn-kubernetes, admin_network_policy.go: convertANPSubjectToLSPs (isPodScheduledOnLocalNode)",
     _z + [admin(ANP, "web", _rule, 10)],
     _in_zone("node1", "subject_one", "10.244.0.3", 80) + _in_zone("node2", "subject_two", "10.244.1.3", 81),
     tables=FULL, owners=(ANP,))

# --- ClusterNetworkPolicy ------------------------------------------------------------------------------

CNP = "ClusterNetworkPolicy"


def cluster(name, tier, priority, spec):
    return (f"apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata:\n  name: {name}\n"
            f"spec:\n  tier: {tier}\n  priority: {priority}\n" + textwrap.indent(textwrap.dedent(spec).strip("\n"), "  ") + "\n")


def cnp_acl(name, direction, index, protocol, tier, priority, l4, action, fam="dual"):
    match = f"{lport(CNP, name, direction)} && {l3(CNP, name, direction, index, fam)}" + (f" && {l4}" if l4 else "")
    return acl(CNP, [("name", name), ("direction", direction), ("gress-index", str(index)), ("port-policy-protocol", protocol)],
               direction, priority, match, action, tier=tier, name=f"CNP:{name}:{direction}:{index}")


_spec = """
    subject:
      namespaces: {matchLabels: {house: gryffindor}}
    ingress:
      - name: accept
        action: Accept
        from: [{namespaces: {matchLabels: {house: slytherin}}}]
        protocols:
          - tcp: {destinationPort: {number: 80}}
          - tcp: {destinationPort: {range: {start: 8000, end: 8080}}}
          - udp: {destinationPort: {number: 53}}
      - name: pass
        action: Pass
        from: [{pods: {podSelector: {matchLabels: {app: x}}}}]
    egress:
      - name: deny
        action: Deny
        to: [{networks: ["10.0.0.0/8", "fd00::/8"]}]
"""
_world3 = [node("node1", families="dual"), namespace("subject", house="gryffindor"), namespace("peer", house="slytherin"),
           pod("subject", "s", "10.244.0.3 fd00:10:244::3"), pod("peer", "p", "10.244.0.4 fd00:10:244::4", app="x")]
for _tier, _number, _prio, _base in [("Admin", 1, 5, 29500), ("Baseline", 3, 5, 29875)]:
    _n = f"{_tier.lower()}-policy"
    case(f"cnp-{_tier.lower()}",
         "There is no controller of ovn-kubernetes for ClusterNetworkPolicies. They have the form of "
         "AdminNetworkPolicies, in the tier before or behind NetworkPolicies, with an owner type of "
         "their own. The Baseline tier has 25 numbers for each priority.",
         "our own decision, after network-policy-api v1alpha2; no upstream controller",
         _world3 + [cluster(_n, _tier, _prio, _spec)],
         admin_rows(CNP, _n, ["subject_s"], [
             cnp_acl(_n, "Ingress", 0, "tcp", _number, _base, "tcp && (tcp.dst==80 || 8000<=tcp.dst<=8080)", "allow-related"),
             cnp_acl(_n, "Ingress", 0, "udp", _number, _base, "udp && udp.dst==53", "allow-related"),
             cnp_acl(_n, "Ingress", 1, "None", _number, _base - 1, "", "pass"),
             cnp_acl(_n, "Egress", 0, "None", _number, _base, "", "drop")])
         + sets(CNP, _n, "Ingress", 0, "dual", ["10.244.0.4"], ["fd00:10:244::4"])
         + sets(CNP, _n, "Ingress", 1, "dual", ["10.244.0.4"], ["fd00:10:244::4"])
         + sets(CNP, _n, "Egress", 0, "dual", ["10.0.0.0/8"], ["fd00::/8"]),
         families="dual", tables=FULL, owners=(CNP,))

_nodes = [node("node1", 0, role="worker").replace("  addresses:\n", "  addresses:\n    - {type: Hostname, address: node1}\n"),
          node("node2", 1, role="worker", host=["172.18.0.3", "192.168.5.3"]).replace("    - {type: InternalIP, address: '192.168.5.3'}\n", "")]
_to_nodes = """
    subject: {namespaces: {}}
    egress:
      - action: Deny
        to: [{nodes: {matchLabels: {role: worker}}}]
"""
for _mode, _more in [("", ["192.168.5.3"]), ("-strict", [])]:
    case(f"anp-nodes{_mode}",
         "Nodes as peers are all addresses that ovn-kubernetes notes of a host" + (
             "." if not _mode else "; the API speaks of the addresses in the node's status."),
         "ovn-kubernetes, node_annotations.go GetNodeHostAddrs" if not _mode else "The API: nodes are their status.addresses",
         _nodes + [admin(ANP, "edge", _to_nodes, 0)],
         admin_rows(ANP, "edge", [], [plain(ANP, "edge", "Egress", 0, 30000, "drop")])
         + sets(ANP, "edge", "Egress", 0, "v4", ["172.18.0.2", "172.18.0.3"] + _more),
         options="compat=strict" if _mode else "", tables=FULL, owners=(ANP,))
