"""Services, switches and ports."""

import hashlib
import ipaddress
import textwrap

from rowkit import *

ST = "ovn-kubernetes, controller/services/lb_config_test.go"


def gateway_node(name, number=0, families="v4", shares=None):
    """A node with a gateway router and node ports."""
    hosts = {"v4": [f"172.18.0.{number + 2}/16"], "dual": [f"172.18.0.{number + 2}/16", f"fc00:f853:ccd:e793::{number + 2}/64"]}[families]
    hops = {"v4": ["172.18.0.1"], "dual": ["172.18.0.1", "fc00:f853:ccd:e793::1"]}[families]
    config = {"default": {"mode": "shared", "interface-id": f"breth0_{name}", "mac-address": f"02:42:ac:12:00:0{number + 2}",
                          "ip-addresses": hosts, "next-hops": hops, "node-port-enable": "true", "vlan-id": "0"}}
    return node(name, number, families, shares=shares, annotations={
        "k8s.ovn.org/l3-gateway-config": json.dumps(config),
        "k8s.ovn.org/node-chassis-id": f"chassis-{name}",
        "k8s.ovn.org/node-id": number + 2,
    })


def service(ns, name, spec, status=""):
    text = f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: {ns}\nspec:\n"
    text += textwrap.indent(textwrap.dedent(spec).strip("\n"), "  ") + "\n"
    if status:
        text += f"status: {{loadBalancer: {{ingress: [{{ip: {status}}}]}}}}\n"
    return text


def slice_(ns, svc, suffix, ports, endpoints, family="IPv4"):
    """`endpoints`: (address, node, conditions)."""
    text = (f"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {svc}-{suffix}\n  namespace: {ns}\n"
            f"  labels: {{kubernetes.io/service-name: {svc}}}\naddressType: {family}\nports:\n")
    for port, protocol, number in ports:
        text += f"  - {{name: '{port}', protocol: {protocol}, port: {number}}}\n"
    text += "endpoints:\n" if endpoints else "endpoints: []\n"
    for address, where, conditions in endpoints:
        text += f"  - {{addresses: ['{address}'], nodeName: {where}, conditions: {conditions}}}\n"
    return text


READY = "{ready: true, serving: true, terminating: false}"
NOT_READY = "{ready: false, serving: false, terminating: false}"
LEAVING = "{ready: false, serving: true, terminating: true}"
GONE = "{ready: false, serving: false, terminating: true}"


def lb_group(name, *balancers):
    return row("Load_Balancer_Group", name, {"name": name, "load_balancer": sorted(b["key"] for b in balancers)})


GROUPS = ("clusterSwitchLBGroup", "clusterRouterLBGroup")


def with_groups(*balancers):
    return list(balancers) + [lb_group("clusterLBGroup", *balancers)] + [lb_group(g) for g in GROUPS]


BOTH = ("Load_Balancer", "Load_Balancer_Group")
NS = namespace("ns1")

case("svc-cluster-ip",
     "A ClusterIP service is one load balancer for each protocol, in the cluster's group; a port "
     "without endpoints has an empty target, and rejects; headless services and external names have "
     "none.",
     f"{ST}: v4 clusterip, one tcp, one udp port, two endpoints; v4 clusterip, one port, no endpoints",
     [gateway_node("node1"), NS,
      service("ns1", "web", """
    clusterIP: 10.96.0.10
    clusterIPs: [10.96.0.10]
    selector: {app: web}
    ports:
      - {name: http, port: 80, targetPort: 8080, protocol: TCP}
      - {name: https, port: 443, targetPort: 8443, protocol: TCP}
      - {name: dns, port: 53, protocol: UDP}
    """),
      slice_("ns1", "web", "a", [("http", "TCP", 8080), ("https", "TCP", 8443), ("dns", "UDP", 53)],
             [("10.244.0.9", "node1", READY), ("10.244.0.10", "node1", READY)]),
      service("ns1", "idle", "clusterIP: 10.96.0.11\nclusterIPs: [10.96.0.11]\nselector: {app: idle}\nports: [{port: 80}]"),
      service("ns1", "headless", "clusterIP: None\nclusterIPs: [None]\nselector: {app: web}\nports: [{port: 80}]"),
      service("ns1", "elsewhere", "type: ExternalName\nexternalName: example.com")],
     with_groups(
         balancer("ns1", "web", "TCP", "cluster", {"10.96.0.10:80": "10.244.0.10:8080,10.244.0.9:8080",
                                                   "10.96.0.10:443": "10.244.0.10:8443,10.244.0.9:8443"}),
         balancer("ns1", "web", "UDP", "cluster", {"10.96.0.10:53": "10.244.0.10:53,10.244.0.9:53"}),
         balancer("ns1", "idle", "TCP", "cluster", {"10.96.0.11:80": ""})), tables=BOTH)

case("svc-dual",
     "Both families in one load balancer, each to its own endpoints; external addresses and those of "
     "a cloud's load balancer are further virtual addresses.",
     f"{ST}: dual-stack clusterip, one port, endpoints, external ips + lb status",
     [gateway_node("node1", families="dual"), NS,
      service("ns1", "web", """
    type: LoadBalancer
    allocateLoadBalancerNodePorts: false
    clusterIP: 10.96.0.10
    clusterIPs: [10.96.0.10, "fd00:10:96::10"]
    externalIPs: [4.2.2.2, "42::42"]
    selector: {app: web}
    ports: [{name: http, port: 80, targetPort: 8080}]
    """, "5.5.5.5"),
      slice_("ns1", "web", "v4", [("http", "TCP", 8080)], [("10.244.0.9", "node1", READY)]),
      slice_("ns1", "web", "v6", [("http", "TCP", 8080)], [("fd00:10:244::9", "node1", READY)], "IPv6")],
     with_groups(balancer("ns1", "web", "TCP", "cluster", {
         "10.96.0.10:80": "10.244.0.9:8080", "[fd00:10:96::10]:80": "[fd00:10:244::9]:8080",
         "4.2.2.2:80": "10.244.0.9:8080", "[42::42]:80": "[fd00:10:244::9]:8080", "5.5.5.5:80": "10.244.0.9:8080"})),
     families="dual", tables=BOTH)

case("svc-readiness",
     "Ready endpoints only; if there is none, those that still serve while they go; all of them with "
     "publishNotReadyAddresses. Duplicates count once, and target ports may differ between slices.",
     f"{ST}: slice with a mix of ready and terminating endpoints; ... and no ready endpoints; "
     "service.PublishNotReadyAddresses=true; multiple slices with different ports",
     [gateway_node("node1"), NS] + [
         service("ns1", name, f"clusterIP: 10.96.0.{i}\nclusterIPs: [10.96.0.{i}]\nselector: {{app: x}}\nports: [{{name: p, port: 80}}]" + more)
         for i, name, more in [(1, "mixed", ""), (2, "leaving", ""), (3, "none", ""), (4, "all", "\npublishNotReadyAddresses: true"),
                               (5, "rolling", ""), (6, "other-port", "")]] + [
         slice_("ns1", "mixed", "a", [("p", "TCP", 80)], [("10.244.0.5", "node1", READY), ("10.244.0.6", "node1", LEAVING), ("10.244.0.7", "node1", GONE), ("10.244.0.8", "node1", NOT_READY)]),
         slice_("ns1", "leaving", "a", [("p", "TCP", 80)], [("10.244.0.6", "node1", LEAVING), ("10.244.0.7", "node1", GONE)]),
         slice_("ns1", "none", "a", [("p", "TCP", 80)], [("10.244.0.7", "node1", GONE), ("10.244.0.8", "node1", NOT_READY)]),
         slice_("ns1", "all", "a", [("p", "TCP", 80)], [("10.244.0.5", "node1", READY), ("10.244.0.7", "node1", GONE), ("10.244.0.8", "node1", NOT_READY)]),
         slice_("ns1", "rolling", "a", [("p", "TCP", 9090)], [("10.244.0.5", "node1", READY)]),
         slice_("ns1", "rolling", "b", [("p", "TCP", 8080)], [("10.244.0.6", "node1", READY), ("10.244.0.6", "node1", READY)]),
         slice_("ns1", "other-port", "a", [("q", "TCP", 80)], [("10.244.0.5", "node1", READY)]),
     ],
     with_groups(
         balancer("ns1", "mixed", "TCP", "cluster", {"10.96.0.1:80": "10.244.0.5:80"}),
         balancer("ns1", "leaving", "TCP", "cluster", {"10.96.0.2:80": "10.244.0.6:80"}),
         balancer("ns1", "none", "TCP", "cluster", {"10.96.0.3:80": ""}),
         balancer("ns1", "all", "TCP", "cluster", {"10.96.0.4:80": "10.244.0.5:80,10.244.0.7:80,10.244.0.8:80"}),
         balancer("ns1", "rolling", "TCP", "cluster", {"10.96.0.5:80": "10.244.0.6:8080,10.244.0.5:9090"}),
         balancer("ns1", "other-port", "TCP", "cluster", {"10.96.0.6:80": ""})), tables=BOTH)

_affinity = "clusterIP: 10.96.0.{}\nclusterIPs: [10.96.0.{}]\nselector: {{app: x}}\nsessionAffinity: ClientIP\nports: [{{port: 80}}]\n{}"
case("svc-affinity",
     "Affinity by client: an option with the seconds, 10800 if nothing is said; the greatest, 86400, "
     "is by a hash of source and destination instead.",
     "ovn-kubernetes, loadbalancer.go buildLB; lb_config.go lbOpts",
     [gateway_node("node1"), NS,
      service("ns1", "default", _affinity.format(1, 1, "")),
      service("ns1", "short", _affinity.format(2, 2, "sessionAffinityConfig: {clientIP: {timeoutSeconds: 300}}")),
      service("ns1", "longest", _affinity.format(3, 3, "sessionAffinityConfig: {clientIP: {timeoutSeconds: 86400}}"))],
     with_groups(
         balancer("ns1", "default", "TCP", "cluster", {"10.96.0.1:80": ""}, affinity_timeout="10800"),
         balancer("ns1", "short", "TCP", "cluster", {"10.96.0.2:80": ""}, affinity_timeout="300"),
         balancer("ns1", "longest", "TCP", "cluster", {"10.96.0.3:80": ""}, selection=["ip_src", "ip_dst"])), tables=BOTH)

TWO = [gateway_node("node1", 0), gateway_node("node2", 1), NS]
case("svc-internal-local",
     "internalTrafficPolicy Local: one load balancer for each switch with the endpoints of its node; "
     "the gateway routers share one with all endpoints.",
     f"{ST}: buildPerNodeLBs, clusterIP service with InternalTrafficPolicy=local",
     TWO + [service("ns1", "web", """
    clusterIP: 10.96.0.20
    clusterIPs: [10.96.0.20]
    internalTrafficPolicy: Local
    selector: {app: web}
    ports: [{port: 80, targetPort: 8080}]
    """), slice_("ns1", "web", "a", [("", "TCP", 8080)], [("10.244.0.5", "node1", READY), ("10.244.1.5", "node2", READY)])],
     with_groups() + [
         balancer("ns1", "web", "TCP", "node_router_node1_merged", {"10.96.0.20:80": "10.244.0.5:8080,10.244.1.5:8080"}),
         balancer("ns1", "web", "TCP", "node_switch_node1", {"10.96.0.20:80": "10.244.0.5:8080"}),
         balancer("ns1", "web", "TCP", "node_switch_node2", {"10.96.0.20:80": "10.244.1.5:8080"})], tables=BOTH)

_cluster = balancer("ns1", "web", "TCP", "cluster", {"10.96.0.30:80": "10.244.0.5:8080"})
case("svc-external-local",
     "externalTrafficPolicy Local: the address from outside goes to local endpoints on the gateway "
     "routers, without SNAT; a node without endpoints has an empty target; switches keep them all.",
     f"{ST}: v4 type=LoadBalancer, ETP=local, one port, endpoints",
     TWO + [service("ns1", "web", """
    type: LoadBalancer
    allocateLoadBalancerNodePorts: false
    externalTrafficPolicy: Local
    clusterIP: 10.96.0.30
    clusterIPs: [10.96.0.30]
    selector: {app: web}
    ports: [{port: 80, targetPort: 8080}]
    """, "5.5.5.5"), slice_("ns1", "web", "a", [("", "TCP", 8080)], [("10.244.0.5", "node1", READY)])],
     with_groups(_cluster) + [
         balancer("ns1", "web", "TCP", "node_local_router_node1", {"5.5.5.5:80": "10.244.0.5:8080"}, skip_snat="true"),
         balancer("ns1", "web", "TCP", "node_router_node2", {"5.5.5.5:80": ""}),
         balancer("ns1", "web", "TCP", "node_switch_node1_merged", {"5.5.5.5:80": "10.244.0.5:8080"})], tables=BOTH)

_cluster = balancer("ns1", "web", "TCP", "cluster", {"10.96.0.40:80": "10.244.0.5:8080"})
case("svc-node-port",
     "Node ports are virtual addresses on each node's own addresses, one load balancer a node for its "
     "switch and its gateway router; with externalTrafficPolicy Local the switch also has the "
     "masquerade address, and the router keeps local endpoints without SNAT.",
     f"{ST}: dual-stack clusterip, one port, endpoints, nodePort; nodeport service, host-network pod, ExternalTrafficPolicy=local",
     TWO + [service("ns1", "web", """
    type: NodePort
    clusterIP: 10.96.0.40
    clusterIPs: [10.96.0.40]
    selector: {app: web}
    ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
    """), slice_("ns1", "web", "a", [("", "TCP", 8080)], [("10.244.0.5", "node1", READY)]),
            service("ns1", "near", """
    type: NodePort
    externalTrafficPolicy: Local
    clusterIP: 10.96.0.41
    clusterIPs: [10.96.0.41]
    selector: {app: web}
    ports: [{port: 80, targetPort: 8080, nodePort: 30081}]
    """), slice_("ns1", "near", "a", [("", "TCP", 8080)], [("10.244.0.5", "node1", READY)])],
     with_groups(_cluster, balancer("ns1", "near", "TCP", "cluster", {"10.96.0.41:80": "10.244.0.5:8080"})) + [
         balancer("ns1", "web", "TCP", "node_router+switch_node1", {"172.18.0.2:30080": "10.244.0.5:8080"}),
         balancer("ns1", "web", "TCP", "node_router+switch_node2", {"172.18.0.3:30080": "10.244.0.5:8080"}),
         balancer("ns1", "near", "TCP", "node_local_router_node1", {"172.18.0.2:30081": "10.244.0.5:8080"}, skip_snat="true"),
         balancer("ns1", "near", "TCP", "node_switch_node1", {"169.254.169.3:30081": "10.244.0.5:8080", "172.18.0.2:30081": "10.244.0.5:8080"}),
         balancer("ns1", "near", "TCP", "node_router_node2", {"172.18.0.3:30081": ""}),
         balancer("ns1", "near", "TCP", "node_switch_node2", {"169.254.169.3:30081": "", "172.18.0.3:30081": "10.244.0.5:8080"})], tables=BOTH)

case("svc-host-endpoints",
     "Endpoints on the host's network: per node; on the node's own gateway router its address is the "
     "masquerade address. Equal load balancers are merged, whatever they hang on.",
     f"{ST}: dual-stack clusterip, one port, endpoints, hostNetwork",
     [gateway_node("node1", 0), gateway_node("node2", 1), namespace("default"),
      service("default", "kubernetes", "clusterIP: 10.96.0.1\nclusterIPs: [10.96.0.1]\nports: [{name: https, port: 443, targetPort: 6443}]"),
      slice_("default", "kubernetes", "a", [("https", "TCP", 6443)], [("172.18.0.2", "node1", READY)])],
     with_groups() + [
         balancer("default", "kubernetes", "TCP", "node_router_node1", {"10.96.0.1:443": "169.254.169.2:6443"}),
         balancer("default", "kubernetes", "TCP", "node_switch_node1_merged", {"10.96.0.1:443": "172.18.0.2:6443"})], tables=BOTH)

# --- switches ----------------------------------------------------------------------------------


def mac(ip):
    if ":" not in ip:
        return "0a:58:" + ":".join(f"{int(p):02x}" for p in ip.split("."))
    return "0a:58:" + ":".join(f"{b:02x}" for b in hashlib.sha256(ip.encode()).digest()[:4])


def link_local(address):
    b = [int(x, 16) for x in address.split(":")]
    return str(ipaddress.IPv6Address(bytes([0xFE, 0x80] + [0] * 6 + [b[0] ^ 2, b[1], b[2], 0xFF, 0xFE, b[3], b[4], b[5]])))


for _fam in ("v4", "v6", "dual"):
    _gw = {"v4": ["10.244.0.1"], "v6": ["fd00:10:244::1"], "dual": ["10.244.0.1", "fd00:10:244::1"]}[_fam]
    _own = [g[:-1] + "2" for g in _gw]
    _pod = [g[:-1] + "5" for g in _gw]
    _other = {}
    if _fam != "v6":
        _other.update(subnet="10.244.0.0/24", exclude_ips="10.244.0.2", mcast_ip4_src="10.244.0.1")
    if _fam != "v4":
        _other.update(ipv6_prefix="fd00:10:244::", mcast_ip6_src=link_local(mac(_gw[0])))
    _other.update(mcast_snoop="true", mcast_querier="true", mcast_eth_src=mac(_gw[0]))
    _address = " ".join([mac(_pod[0])] + _pod)
    _subnets = SUBNETS[_fam].split(",")
    case(f"switch-{_fam}",
         "A node's switch with the ports of its pods, of the node itself and of the router; MAC "
         "addresses come from the first address; the node's ACL is on the switch.",
         "ovn-kubernetes, base_network_controller.go createNodeLogicalSwitch, pods_test.go "
         "getExpectedDataPodsSwitchesPortGroup, kubevirt/switch.go",
         [node("node1", families=_fam, annotations={
             "k8s.ovn.org/node-chassis-id": "chassis-1",
             "k8s.ovn.org/node-mgmt-port-mac-addresses": '{"default":"96:8f:e8:25:a2:e5"}'}),
          NS, pod("ns1", "a", _pod, uid="8f3a"),
          pod("ns1", "host", ["172.18.0.2"], host=True), pod("ns1", "done", [_pod[0]], phase="Succeeded")],
         [row("Logical_Switch", "node1", {
             "name": "node1", "ports": sorted(["ns1_a", "k8s-node1", "stor-node1"]), "other_config": _other,
             "load_balancer_group": ["clusterLBGroup", "clusterSwitchLBGroup"],
             "acls": sorted(f"{C}:NetpolNode:node1:{ip}" for ip in _own)}),
          row("Logical_Switch_Port", "ns1_a", {
              "name": "ns1_a", "addresses": [_address], "port_security": [_address],
              "options": {"requested-chassis": "chassis-1", "iface-id-ver": "8f3a"},
              "external_ids": {"pod": "true", "namespace": "ns1"}}),
          row("Logical_Switch_Port", "k8s-node1", {"name": "k8s-node1", "addresses": [" ".join(["96:8f:e8:25:a2:e5"] + _own)]}),
          row("Logical_Switch_Port", "stor-node1", {
              "name": "stor-node1", "type": "router", "addresses": ["router"],
              "options": {"router-port": "rtos-node1", "arp_proxy": " ".join(["0a:58:a9:fe:01:01", "169.254.1.1", "fe80::1"] + _subnets)}})],
         families=_fam, options="multicast", tables=("Logical_Switch", "Logical_Switch_Port"),
         keys=("node1", "ns1_", "k8s-", "stor-"))

# --- services of a user-defined network ------------------------------------------------------------


def _udn_pod(name, default, primary):
    networks = {"default": {"ip_addresses": [f"{default}/24"], "mac_address": mac(default), "role": "infrastructure-locked"},
                "blue/my-net": {"ip_addresses": [f"{primary}/24"], "mac_address": mac(primary), "role": "primary"}}
    return pod("blue", name, default, annotations={"k8s.ovn.org/pod-networks": json.dumps(networks)}, app="web")


def _scoped(r):
    columns = {**r["columns"], "name": "blue_my.net_" + r["columns"]["name"]}
    columns["external_ids"] = {**columns["external_ids"], "k8s.ovn.org/network": "blue_my-net", "k8s.ovn.org/role": "primary"}
    return {**r, "key": columns["name"], "columns": columns}


_lb = _scoped(balancer("blue", "web", "TCP", "cluster", {"10.96.0.10:80": "10.100.0.5:8080"}))
case("svc-udn",
     "A service in a namespace with a primary user-defined network: names begin with the network (a dash "
     "becomes a dot), the ids name it, endpoints are the pods' addresses there.",
     "ovn-kubernetes, services_controller_test.go (user-defined networks); multi_network.go GetNetworkScopedLoadBalancerName; "
     "clustermanager/endpointslicemirror",
     [gateway_node("node1", shares={"blue_my-net": ["10.100.0.0/24"]}),
      namespace("blue", primary=True),
      "apiVersion: k8s.ovn.org/v1\nkind: UserDefinedNetwork\nmetadata:\n  name: my-net\n  namespace: blue\nspec:\n"
      "  topology: Layer3\n  layer3:\n    role: Primary\n    subnets: [{cidr: 10.100.0.0/16, hostSubnet: 24}]\n",
      _udn_pod("w", "10.244.0.5", "10.100.0.5"),
      service("blue", "web", "clusterIP: 10.96.0.10\nclusterIPs: [10.96.0.10]\nselector: {app: web}\nports: [{port: 80, targetPort: 8080}]"),
      slice_("blue", "web", "a", [("", "TCP", 8080)], [("10.244.0.5", "node1", READY)]).replace(
          "nodeName: node1,", "nodeName: node1, targetRef: {kind: Pod, name: w, namespace: blue},")],
     [_lb, row("Load_Balancer_Group", "blue_my.net_clusterLBGroup", {"name": "blue_my.net_clusterLBGroup", "load_balancer": [_lb["key"]]})],
     tables=BOTH, keys=("blue_my.net_Service", "Service_", "blue_my.net_clusterLBGroup"))
