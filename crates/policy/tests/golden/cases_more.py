"""Host network namespace, policies in user-defined networks, the way back."""

from cases_netpol import DENY_ALL, NODE, NS1, NS2, netpol
from cases_firewall import firewall
from rowkit import *

# --- the namespace that stands for the hosts --------------------------------------------------

_hosts = namespace("ovn-host-network", role="hosts")
_policy = netpol("ns1", "np", """
    podSelector: {}
    ingress:
      - from: [{namespaceSelector: {}}]
      - from: [{namespaceSelector: {matchLabels: {role: hosts}}}]
      - from: [{namespaceSelector: {matchLabels: {role: none}}}]
      - from: [{namespaceSelector: {}, podSelector: {}}]
    """)
_two = [node("node1", 0, annotations={"k8s.ovn.org/node-id": 2}), node("node2", 1)]


def _sets(extra):
    return [selector_set("LS{}_LS{}_LNM", ["10.244.0.5"] + extra), selector_set("LS{ML:{role: hosts,},}_LS{}_LNM", extra),
            selector_set("LS{ML:{role: none,},}_LS{}_LNM"), selector_set("LS{}_LS{}", ["10.244.0.5", "172.18.0.2"])]


_pods = [pod("ns1", "a", "10.244.0.5"), pod("ns2", "host", "172.18.0.2", host=True)]
case("np-host-namespace",
     "A namespace that stands for the hosts: whoever selects it by label alone also lets in the nodes' "
     "management addresses and, once a node has its number, its gateway's address on the join switch.",
     "ovn-kubernetes, policy_test.go: empty namespace selector matches on HostNetworkNamespace IPs; "
     "addressset_manager.go getHostNamespaceAddressesForNode",
     _two + [NS1, NS2, _hosts, *_pods, _policy], _sets(["10.244.0.2", "10.244.1.2", "100.64.0.2"]),
     options="host-network-namespace=ovn-host-network", tables=("Address_Set",), owners=("PodSelector",))
case("np-host-namespace-missing", "It has to be there: with the option alone nothing is added.",
     "ovn-kubernetes, addressset_manager.go: hostNetworkNamespaceExists",
     _two + [NS1, NS2, *_pods, _policy], _sets([]),
     options="host-network-namespace=ovn-host-network", tables=("Address_Set",), owners=("PodSelector",))

# --- policies of a namespace with a primary user-defined network ---------------------------------

N = "blue_net-network-controller"


def _pod(name, default, primary, **more):
    networks = {"default": {"ip_addresses": [f"{default}/24"], "mac_address": "0a:58:0a:f4:00:05", "role": "infrastructure-locked"},
                "blue/net": {"ip_addresses": [f"{primary}/24"], "mac_address": "0a:58:0a:64:00:05", "role": "primary"}}
    return pod("blue", name, default, annotations={"k8s.ovn.org/pod-networks": json.dumps(networks)}, **more)


def _name(owner, *values):
    return hashed(":".join([N, owner, *values]))


_pg = _name("NetworkPolicy", "blue:np")
_set = _name("PodSelector", "blue_LS{ML:{app: b,},}", "v4")


def _np(index, protocol, block, match):
    return acl("NetworkPolicy", [("name", "blue:np"), ("direction", "Ingress"), ("gress-index", str(index)),
                                 ("port-policy-protocol", protocol), ("ip-block-index", str(block))],
               "Ingress", 1001, match, "allow-related", name=f"NP:blue:np:Ingress:{index}", controller=N)


_acls = [_np(0, "tcp", -1, f"ip4.src == {{${_set}}} && tcp && tcp.dst==80 && outport == @{_pg}"),
         _np(1, "None", -1, f"ip4 && outport == @{_pg}")]
_deny = []
for _d, _port, _ports in [("Ingress", "outport", ["blue.net_blue_a"]), ("Egress", "inport", [])]:
    _g = _name("NetpolNamespace", "blue", _d)
    _two_acls = [acl("NetpolNamespace", [("name", "blue"), ("direction", _d), ("type", t)], _d, p, f"{_port} == @{_g}{m}", a,
                     name=f"NP:blue:{_d}", controller=N)
                 for t, p, m, a in [("defaultDeny", 1000, "", "drop"), ("arpAllow", 1001, " && (arp || nd)", "allow")]]
    _deny += _two_acls + [group("NetpolNamespace", [("name", "blue"), ("direction", _d)], _ports, _two_acls, controller=N)]
_ns = _name("Namespace", "blue")
_ef = ef_acl("blue", 0, f"(ip4.dst == 0.0.0.0/0 && ip4.dst != 10.100.0.0/16) && inport == @{_ns}", "drop", sampled=True)
case("udn-policies",
     "In a namespace with a primary user-defined network a NetworkPolicy is about that network: its "
     "controller in all ids, its ports, its addresses, its families; nothing is sampled. The "
     "EgressFirewall's ACL keeps the default controller (and is sampled) but matches the network's "
     "group and cuts out the network's subnets.",
     "ovn-kubernetes, base_network_controller_policy_test.go; egressfirewall_test.go: correctly creates an "
     "egressfirewall with UDN; egressfirewall.go getNamespacePortGroupName, subnetsForNetInfo",
     [node("node1", families="dual", shares={"blue_net": ["10.100.0.0/24"]}),
      namespace("blue", primary=True),
      "apiVersion: k8s.ovn.org/v1\nkind: UserDefinedNetwork\nmetadata:\n  name: net\n  namespace: blue\nspec:\n"
      "  topology: Layer3\n  layer3:\n    role: Primary\n    subnets: [{cidr: 10.100.0.0/16, hostSubnet: 24}]\n",
      _pod("a", "10.244.0.5", "10.100.0.5", app="a"), _pod("b", "10.244.0.6", "10.100.0.6", app="b"),
      netpol("blue", "np", """
    podSelector: {matchLabels: {app: a}}
    ingress:
      - from: [{podSelector: {matchLabels: {app: b}}}]
        ports: [{port: 80}]
      - {}
    """),
      firewall("blue", "- {type: Deny, to: {cidrSelector: 0.0.0.0/0}}")],
     _acls + _deny + [group("NetworkPolicy", [("name", "blue:np")], ["blue.net_blue_a"], _acls, controller=N),
                      address_set("PodSelector", [("name", "blue_LS{ML:{app: b,},}"), ("ip-family", "v4")], ["10.100.0.6"], controller=N),
                      _ef,
                      group("Namespace", [("name", "blue")], ["blue.net_blue_a", "blue.net_blue_b"], [_ef], controller=N)],
     families="dual", options="sampling=on", tables=("ACL", "Port_Group", "Address_Set"),
     owners=("NetworkPolicy", "NetpolNamespace", "PodSelector", "EgressFirewall", "Namespace"),
     keys=(N, C + ":EgressFirewall", C + ":NetworkPolicy", C + ":NetpolNamespace", _ns, _pg, _set,
           _name("NetpolNamespace", "blue", "Ingress"), _name("NetpolNamespace", "blue", "Egress")))

# --- the way back -------------------------------------------------------------------------------


def _from(kind, name, rule, *at):
    return [{"object": f"{kind} {name}", "rule": rule, "at": list(at)}]


_back = """
    podSelector: {}
    policyTypes: [Ingress, Egress]
    ingress:
      - ports:
          - port: 80
        from:
          - podSelector: {}
          - ipBlock: {cidr: 192.168.0.0/24}
      - from: [{podSelector: {matchLabels: {app: x}}}]
    egress:
      - {}
"""
_in = f"outport == @{np_pg('ns1', 'back')}"
_k = "kind: NetworkPolicy"
_rules = [_from("NetworkPolicy", "ns1/back", "ingress[0]", _k, "ports:\n"),
          _from("NetworkPolicy", "ns1/back", "ingress[1]", _k, "from: [{"),
          _from("NetworkPolicy", "ns1/back", "egress[0]", _k, "{}\n---\n")]
_whole = _from("NetworkPolicy", "ns1/back", None, _k, "back\n")


def _copy(origins):
    return json.loads(json.dumps(origins))


_acls = [
    np_acl("ns1", "back", "Ingress", 0, "tcp", -1, f"ip4.src == {{${sel('ns1_LS{}')}}} && tcp && tcp.dst==80 && {_in}", origins=_copy(_rules[0])),
    np_acl("ns1", "back", "Ingress", 0, "tcp", -2, f"ip4.src == 192.168.0.0/24 && tcp && tcp.dst==80 && {_in}", origins=_copy(_rules[0])),
    np_acl("ns1", "back", "Ingress", 1, "None", -1, f"ip4.src == {{${sel('ns1_LS{ML:{app: x,},}')}}} && {_in}", origins=_copy(_rules[1])),
    np_acl("ns1", "back", "Egress", 0, "None", -1, f"ip4 && inport == @{np_pg('ns1', 'back')}", origins=_copy(_rules[2])),
]
case("way-back",
     "Each row tells where it comes from: the ACL of a rule the place of the rule, the group the "
     "policy's name.",
     "The contract of the rows: origins with object, rule, line and column",
     [NODE, NS1, netpol("ns1", "back", _back), NS2],
     [{**group("NetworkPolicy", [("name", "ns1:back")], [], _acls), "origins": _copy(_whole)}] + _acls,
     owners=("NetworkPolicy",))

# --- the meter -------------------------------------------------------------------------------------

case("meter", "All ACLs name the meter, whether they log or not; it lets 20 lines a second through, each ACL by itself.",
     "ovn-kubernetes, controller_manager.go createACLLoggingMeter",
     [NODE],
     [row("Meter", "acl-logging", {"name": "acl-logging", "unit": "pktps", "fair": True, "bands": ["acl-logging"]}),
      row("Meter_Band", "acl-logging", {"action": "drop", "rate": 20})],
     tables=("Meter", "Meter_Band"))

# --- strict mode ------------------------------------------------------------------------------------

case("np-host-namespace-strict", "In strict mode no namespace stands for the hosts, and no selector for pods of the host's network.",
     "Kubernetes API: a namespaceSelector selects pods of namespaces, nothing else",
     _two + [NS1, NS2, _hosts, *_pods, _policy],
     [selector_set("LS{}_LS{}_LNM", ["10.244.0.5"]), selector_set("LS{ML:{role: hosts,},}_LS{}_LNM"),
      selector_set("LS{ML:{role: none,},}_LS{}_LNM"), selector_set("LS{}_LS{}", ["10.244.0.5"])],
     options="host-network-namespace=ovn-host-network compat=strict", tables=("Address_Set",), owners=("PodSelector",))

for _fam in ("v4", "dual"):
    _ips = {"v4": ["10.244.0.2"], "dual": ["10.244.0.2", "fd00:10:244::2"]}[_fam]
    _rows = []
    for _ip in _ips:
        _family = "ip6" if ":" in _ip else "ip4"
        _rows.append(acl("NetpolNode", [("name", "node1"), ("ip", _ip)], "Ingress", 1001, f"{_family}.src=={_ip}", "allow-related"))
        _rows.append(acl("NetpolNode", [("name", "node1"), ("ip", _ip), ("direction", "Egress")], "Egress", 1001,
                         f"{_family}.dst=={_ip}", "allow-related"))
    case(f"nodes-strict-{_fam}",
         "Kubernetes never lets a policy come between a pod and its node, in either direction. "
         "ovn-kubernetes has an ACL for the way from the node only; strict mode adds one for the way to it.",
         "Kubernetes API: traffic to and from the node that a pod runs on is always allowed",
         [node("node1", families=_fam)], _rows, families=_fam, options="compat=strict", tables=("ACL",), owners=("NetpolNode",))

# --- zones ------------------------------------------------------------------------------------------------


def _from_node(name, ip, zone):
    return acl("NetpolNode", [("name", name), ("ip", ip)], "Ingress", 1001, f"ip4.src=={ip}", "allow-related", zone=zone)


_zoned = []
for _z, _n, _ip in [("east", "node1", "10.244.0.2"), ("west", "node2", "10.244.1.2")]:
    _hair = [{**acl("NetpolDefault", [("name", "allow-hairpinning"), ("direction", d)], d, 1001, "ip4.src == 169.254.169.5", "allow-related"), "zone": _z}
             for d in ("Ingress", "Egress")]
    _zoned += [_from_node(_n, _ip, _z)] + _hair + [group("Cluster", [("name", "clusterPortGroup")], [f"k8s-{_n}"], _hair, zone=_z)]
case("nodes-zones", "Each zone has what is the cluster's, and only its own node's ACL and ports.",
     "ovn-kubernetes, default_network_controller.go: a controller syncs the nodes of its zone",
     [node("node1", 0, zone="east"), node("node2", 1, zone="west")], _zoned,
     owners=("NetpolNode", "NetpolDefault", "Cluster"), keys=(C + ":NetpolNode", C + ":NetpolDefault", cluster_pg()))

# --- a network of several namespaces ------------------------------------------------------------------------

CN = "cluster_udn_tenant-network-controller"


def _cudn_pod(ns, name, default, primary, **more):
    networks = {"default": {"ip_addresses": [f"{default}/24"], "mac_address": "0a:58:0a:f4:00:05", "role": "infrastructure-locked"},
                f"{ns}/tenant": {"ip_addresses": [f"{primary}/16"], "mac_address": "0a:58:0a:64:00:05", "role": "primary"}}
    return pod(ns, name, default, annotations={"k8s.ovn.org/pod-networks": json.dumps(networks)}, **more)


def _space(name):
    return namespace(name, primary=True, tenant="t1")


_cset = hashed(f"{CN}:PodSelector:LS{{ML:{{tenant: t1,}},}}_LS{{}}_LNM:v4")
_cpg = hashed(f"{CN}:NetworkPolicy:red:np")
_cacl = acl("NetworkPolicy", [("name", "red:np"), ("direction", "Egress"), ("gress-index", "0"), ("port-policy-protocol", "None"),
                              ("ip-block-index", "-1")], "Egress", 1001, f"ip4.dst == {{${_cset}}} && inport == @{_cpg}", "allow-related",
            name="NP:red:np:Egress:0", controller=CN)
case("cudn-policies",
     "A network of a ClusterUserDefinedNetwork is called cluster_udn_NAME; its pods are ports of the "
     "attachment of their own namespace. A peer that is not in the network adds no address.",
     "ovn-kubernetes, util/multi_network.go GenerateCUDNNetworkName, GetUserDefinedNetworkPrefix; "
     "addressset_manager.go getPodIPs",
     [node("node1"), _space("red"), _space("blue"), namespace("plain", tenant="t1"),
      "apiVersion: k8s.ovn.org/v1\nkind: ClusterUserDefinedNetwork\nmetadata:\n  name: tenant\nspec:\n"
      "  namespaceSelector:\n    matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [red, blue]}]\n"
      "  network:\n    topology: Layer2\n    layer2:\n      role: Primary\n      subnets: [10.100.0.0/16]\n",
      _cudn_pod("red", "a", "10.244.0.5", "10.100.0.5"), _cudn_pod("blue", "b", "10.244.0.6", "10.100.0.6"),
      pod("plain", "c", "10.244.0.7"),
      netpol("red", "np", """
    podSelector: {}
    policyTypes: [Egress]
    egress:
      - to: [{namespaceSelector: {matchLabels: {tenant: t1}}}]
    """)],
     [_cacl, group("NetworkPolicy", [("name", "red:np")], ["red.tenant_red_a"], [_cacl], controller=CN),
      address_set("PodSelector", [("name", "LS{ML:{tenant: t1,},}_LS{}_LNM"), ("ip-family", "v4")], ["10.100.0.5", "10.100.0.6"], controller=CN)],
     tables=("ACL", "Port_Group", "Address_Set"), owners=("NetworkPolicy", "PodSelector"))

# --- what a user-defined network has for itself -----------------------------------------------------------

_M = "(ip4.mcast || mldv1 || mldv2 || (ip6.dst[120..127] == 0xff && ip6.dst[116] == 1))"


def _udn_pg(name):
    return hashed(f"{N}:Cluster:{name}")


_hairpin = "(ip4.src == 169.254.169.5 || ip6.src == fd69::5)"
_cl, _rt = [], []
for _d, _port in [("Ingress", "outport"), ("Egress", "inport")]:
    _cl.append(acl("NetpolDefault", [("name", "allow-hairpinning"), ("direction", _d)], _d, 1001, _hairpin, "allow-related", controller=N))
    _cl.append(acl("MulticastCluster", [("type", "DefaultDeny"), ("direction", _d)], _d, 1011, _M, "drop", controller=N))
    _rt.append(acl("MulticastCluster", [("type", "AllowInterNode"), ("direction", _d)], _d, 1012,
                   f"{_port} == @{_udn_pg('clusterRtrPortGroup')} && {_M}", "allow", controller=N))
_key = "blue_LS{}_LNM"
_mset = hashed(f"{N}:PodSelector:{_key}:v4")
_mns = [acl("MulticastNS", [("name", "blue"), ("direction", "Egress")], "Egress", 1012, f"inport == @{_ns} && ip4.mcast", "allow", controller=N),
        acl("MulticastNS", [("name", "blue"), ("direction", "Ingress")], "Ingress", 1012,
            f"outport == @{_ns} && (igmp || (ip4.src == ${_mset} && ip4.mcast))", "allow", controller=N)]
case("udn-groups",
     "A primary user-defined network has the cluster's groups for itself: hairpinning, multicast, and the "
     "ACL of each node on the network's switch, called by the switch. The families of the hairpin ACLs are "
     "the cluster's, those of the namespace's multicast the network's. Nothing of it is sampled.",
     "ovn-kubernetes, layer3_user_defined_network_controller.go (setupClusterPortGroups, syncDefaultMulticastPolicies, "
     "syncNodeManagementPort), policy_test.go getHairpinningACLsV4AndPortGroupForNetwork, multicast_test.go",
     [node("node1", families="dual", shares={"blue_net": ["10.100.0.0/24"]}),
      namespace("blue", {"k8s.ovn.org/multicast-enabled": "true"}, primary=True),
      "apiVersion: k8s.ovn.org/v1\nkind: UserDefinedNetwork\nmetadata:\n  name: net\n  namespace: blue\nspec:\n"
      "  topology: Layer3\n  layer3:\n    role: Primary\n    subnets: [{cidr: 10.100.0.0/16, hostSubnet: 24}]\n",
      _pod("a", "10.244.0.5", "10.100.0.5")],
     _cl + _rt + _mns
     + [acl("NetpolNode", [("name", "blue_net_node1"), ("ip", "10.100.0.2")], "Ingress", 1001, "ip4.src==10.100.0.2", "allow-related", controller=N),
        group("Cluster", [("name", "clusterPortGroup")], ["k8s-blue_net_node1"], _cl, controller=N),
        group("Cluster", [("name", "clusterRtrPortGroup")], ["stor-blue_net_node1"], _rt, controller=N),
        group("Namespace", [("name", "blue")], ["blue.net_blue_a"], _mns, controller=N),
        address_set("PodSelector", [("name", _key), ("ip-family", "v4")], ["10.100.0.5"], controller=N)],
     families="dual", options="sampling=on multicast", tables=("ACL", "Port_Group", "Address_Set"),
     owners=("NetpolDefault", "MulticastCluster", "MulticastNS", "NetpolNode", "Cluster", "Namespace", "PodSelector"),
     keys=(N, _udn_pg("clusterPortGroup"), _udn_pg("clusterRtrPortGroup"), _ns, _mset))
