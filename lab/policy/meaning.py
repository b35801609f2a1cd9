"""What the Kubernetes API says of a new connection: allowed or not, and which rule says so.

Written from the documentation of the API alone, and as plainly as can be: loops over policies, no index, nothing of OVN. Sources: the
reference of NetworkPolicy (networking.k8s.io/v1) and its concept page, the reference of AdminNetworkPolicy and BaselineAdminNetworkPolicy
(policy.networking.k8s.io/v1alpha1) and of ClusterNetworkPolicy (v1alpha2), and the documentation of EgressFirewall (k8s.ovn.org/v1).
Objects are plain dicts, as read from a manifest."""
import functools
import ipaddress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pod:
    key: str
    namespace: str
    labels: dict = field(hash=False, compare=False)
    node: str = ''
    addresses: tuple = ()
    ports: tuple = ()  # of (name, number, protocol)
    host_network: bool = False
    running: bool = True


@dataclass(frozen=True)
class Party:
    """One end of a connection: a pod, a node by an address of its own or the pods' side of it (`inside`), or any other address."""
    address: str
    pod: Pod = None
    node: str = None
    inside: bool = False

    @property
    def family(self):
        return 6 if ':' in self.address else 4


@dataclass(frozen=True)
class Decision:
    """What one direction says. `kind` names what decided: a kind of policy, or one of the rules that have no object:
    `own-node`, `itself`, `isolation` (some NetworkPolicy selects the pod and no rule matched), `default`."""
    kind: str
    direction: str
    action: str
    policy: str = ''
    rule: int = -1
    peer: str = ''
    port: str = ''

    @property
    def allowed(self):
        return self.action == 'Allow'


@dataclass(frozen=True)
class Answer:
    allowed: bool
    decisions: tuple
    passed: tuple = ()  # the Pass rules on the way
    undefined: bool = False  # the documents leave it open, and readings differ


@dataclass(frozen=True)
class Reading:
    """What the documents leave to the implementation."""
    host_pods_are_peers: bool
    own_node_comes_first: bool  # before the policies of the administrator, or only before NetworkPolicies
    blocks_have_named_ports: bool


READINGS = [Reading(host, own, named) for host in (False, True) for own in (False, True) for named in (False, True)]


class Cluster:
    def __init__(self, objects, subnets):
        self.subnets = subnets
        of = lambda kind: [o for o in objects if o['kind'] == kind]
        self.namespaces = {o['metadata']['name']: {**(o['metadata'].get('labels') or {}), 'kubernetes.io/metadata.name': o['metadata']['name']}
                           for o in of('Namespace')}
        self.nodes = {o['metadata']['name']: (o['metadata'].get('labels') or {}, [a['address'] for a in o['status']['addresses'] if a['type'] != 'Hostname'])
                      for o in of('Node')}
        self.pods = {p.key: p for p in map(pod_of, of('Pod'))}
        self.network_policies = of('NetworkPolicy')
        self.firewalls = of('EgressFirewall')
        self.admin, self.baseline = [], []
        for o in of('AdminNetworkPolicy') + of('BaselineAdminNetworkPolicy') + of('ClusterNetworkPolicy'):
            policy = ClusterPolicy(o)
            (self.admin if policy.tier == 'Admin' else self.baseline).append(policy)
        self.admin.sort(key=lambda p: p.priority)
        self.baseline.sort(key=lambda p: p.priority)

    def party(self, address, pod=None):
        """Who has this address."""
        if pod:
            return Party(address, pod)
        for name, (_, addresses) in self.nodes.items():
            if address in addresses:
                return Party(address, node=name)
        for p in self.pods.values():
            if p.running and not p.host_network and address in p.addresses:
                return Party(address, p)
        return Party(address)

    def in_cluster(self, address):
        return any(in_block(address, s) for s in self.subnets)


def pod_of(o):
    spec, status = o['spec'], o.get('status') or {}
    ports = [(p.get('name'), p['containerPort'], p.get('protocol', 'TCP')) for c in spec['containers'] for p in c.get('ports') or []]
    addresses = [p['ip'] for p in status.get('podIPs') or []] or ([status['podIP']] if status.get('podIP') else [])
    return Pod(f'{o["metadata"]["namespace"]}/{o["metadata"]["name"]}', o['metadata']['namespace'], o['metadata'].get('labels') or {}, spec.get('nodeName', ''),
               tuple(addresses), tuple(ports), bool(spec.get('hostNetwork')), status.get('phase') not in ('Succeeded', 'Failed'))


class ClusterPolicy:
    """An AdminNetworkPolicy, BaselineAdminNetworkPolicy or ClusterNetworkPolicy: three spellings of one thing."""

    def __init__(self, o):
        spec = o['spec']
        self.name, self.subject = o['metadata']['name'], spec['subject']
        self.kind = o['kind'] if o['kind'] != 'ClusterNetworkPolicy' else f'ClusterNetworkPolicy {spec["tier"]}'
        self.tier = {'AdminNetworkPolicy': 'Admin', 'BaselineAdminNetworkPolicy': 'Baseline'}.get(o['kind']) or spec['tier']
        self.priority = spec.get('priority', 0)
        self.rules = {direction: spec.get(direction.lower()) or [] for direction in ('Ingress', 'Egress')}


def judge(cluster, source, destination, protocol, port):
    """The Answer for a new connection from one Party to another; a service is judged by the backend it was sent to."""
    readings = READINGS if destination.node else READINGS[:2]  # the rest is about nodes
    answers = [judge_as(cluster, source, destination, protocol, port, reading) for reading in readings]
    if len({a.allowed for a in answers}) > 1:
        return Answer(False, (), undefined=True)
    return answers[0]


def judge_as(cluster, source, destination, protocol, port, reading):
    decisions, passed = [], []
    if source.pod and source.pod == destination.pod:
        return Answer(True, (Decision('itself', '', 'Allow'),))
    if source.pod:
        decisions.append(direction_decision(cluster, 'Egress', source.pod, destination, destination, protocol, port, reading, passed))
        if not cluster.in_cluster(destination.address):
            decisions.append(firewall_decision(cluster, source.pod, destination, protocol, port))
    if destination.pod:
        decisions.append(direction_decision(cluster, 'Ingress', destination.pod, source, destination, protocol, port, reading, passed))
    return Answer(all(d.allowed for d in decisions), tuple(decisions), tuple(passed))


def direction_decision(cluster, direction, subject, peer, destination, protocol, port, reading, passed):
    """Admin tier, then NetworkPolicies, then Baseline tier, then the default, which is to allow. What goes between a pod and its own node
    is always allowed."""
    own_node = peer.node == subject.node
    if own_node and reading.own_node_comes_first:
        return Decision('own-node', direction, 'Allow')
    for policies in cluster.admin, None, cluster.baseline:
        if policies is None and own_node:
            continue
        if policies is None:
            decision = network_policy_decision(cluster, direction, subject, peer, destination, protocol, port, reading)
        else:
            decision = tier_decision(cluster, policies, direction, subject, peer, destination, protocol, port)
        if decision and decision.action == 'Pass':
            passed.append(decision)
        elif decision:
            return decision
    return Decision('own-node' if own_node else 'default', direction, 'Allow')


# --- Admin and Baseline tier

def tier_decision(cluster, policies, direction, subject, peer, destination, protocol, port):
    """The first rule that matches, by priority of the policy and then by place in the list."""
    for policy in policies:
        if not subject_selected(cluster, policy.subject, subject):
            continue
        for index, rule in enumerate(policy.rules[direction]):
            peer_kind = first(k for k in (cluster_peer_kind(cluster, p, peer) for p in rule['from' if direction == 'Ingress' else 'to']) if k)
            port_kind = cluster_port_kind(rule, destination, protocol, port)
            if peer_kind and port_kind:
                action = 'Allow' if rule['action'] == 'Accept' else rule['action']
                return Decision(policy.kind, direction, action, policy.name, index, peer_kind, port_kind)
    return None


def subject_selected(cluster, subject, pod):
    return not pod.host_network and pod.running and bool(pods_kind(cluster, subject, pod))


def cluster_peer_kind(cluster, peer, party):
    if 'nodes' in peer:
        return 'nodes' if party.node and not party.inside and selects(peer['nodes'], cluster.nodes[party.node][0]) else None
    if 'networks' in peer:
        return 'networks' if any(in_block(party.address, n) for n in peer['networks']) else None
    if not party.pod or party.pod.host_network:
        return None
    return pods_kind(cluster, peer, party.pod)


def pods_kind(cluster, peer, pod):
    namespace = cluster.namespaces[pod.namespace]
    if 'namespaces' in peer:
        return 'namespaces' if selects(peer['namespaces'], namespace) else None
    return 'pods' if selects(peer['pods'].get('namespaceSelector') or {}, namespace) and selects(peer['pods']['podSelector'], pod.labels) else None


def cluster_port_kind(rule, destination, protocol, port):
    if 'ports' in rule:
        for p in rule['ports']:
            if 'portNumber' in p and (p['portNumber'].get('protocol', 'TCP'), p['portNumber']['port']) == (protocol, port):
                return 'number'
            if 'portRange' in p and p['portRange'].get('protocol', 'TCP') == protocol and p['portRange']['start'] <= port <= p['portRange']['end']:
                return 'range'
            if 'namedPort' in p and has_named_port(destination.pod, p['namedPort'], protocol, port):
                return 'named'
        return None
    if 'protocols' in rule:
        for p in rule['protocols']:
            if has_named_port(destination.pod, p.get('destinationNamedPort'), protocol, port):
                return 'named'
            wanted = (p.get(protocol.lower()) or {}).get('destinationPort')
            if wanted and wanted.get('number') == port:
                return 'number'
            if wanted and 'range' in wanted and wanted['range']['start'] <= port <= wanted['range']['end']:
                return 'range'
        return None
    return 'none'


# --- NetworkPolicy

def network_policy_decision(cluster, direction, subject, peer, destination, protocol, port, reading):
    """Policies that select the pod isolate it; what any of their rules allows is allowed, the rest is not."""
    if subject.host_network or not subject.running:
        return None
    isolated = False
    for policy in cluster.network_policies:
        if policy['metadata']['namespace'] != subject.namespace or not selects(policy['spec'].get('podSelector') or {}, subject.labels):
            continue
        if direction not in policy_types(policy['spec']):
            continue
        isolated = True
        for index, rule in enumerate(policy['spec'].get(direction.lower()) or []):
            for peer_kind, port_kind in network_policy_match(cluster, policy, direction, rule, peer, destination, protocol, port, reading):
                name = f'{policy["metadata"]["namespace"]}/{policy["metadata"]["name"]}'
                return Decision('NetworkPolicy', direction, 'Allow', name, index, peer_kind, port_kind)
    return Decision('isolation', direction, 'Deny') if isolated else None


def policy_types(spec):
    """Not given: Ingress always, Egress if there are egress rules."""
    return spec.get('policyTypes') or ['Ingress'] + (['Egress'] if spec.get('egress') else [])


def network_policy_match(cluster, policy, direction, rule, peer, destination, protocol, port, reading):
    """The (peer kind, port kind) by which a rule matches. No peers: everything; no ports: every port."""
    peers = rule.get('from' if direction == 'Ingress' else 'to') or [None]
    for wanted_peer in peers:
        peer_kind = network_peer_kind(cluster, policy['metadata']['namespace'], wanted_peer, peer, reading)
        if not peer_kind:
            continue
        for wanted in rule.get('ports') or [None]:
            kind = network_port_kind(wanted, destination, protocol, port, reading)
            if kind == 'named' and direction == 'Egress' and peer_kind.startswith('block') and not reading.blocks_have_named_ports:
                continue
            if kind:
                yield peer_kind, kind


def network_peer_kind(cluster, namespace, wanted, party, reading):
    if wanted is None:
        return 'any'
    if 'ipBlock' in wanted:
        block = wanted['ipBlock']
        if not in_block(party.address, block['cidr']) or any(in_block(party.address, e) for e in block.get('except') or []):
            return None
        return 'block-except' if block.get('except') else 'block'
    pods = [party.pod] if party.pod else []
    if party.node and reading.host_pods_are_peers:
        pods = [p for p in cluster.pods.values() if p.host_network and p.running and party.address in p.addresses]
    by_namespace, by_pod = wanted.get('namespaceSelector'), wanted.get('podSelector')
    for pod in pods:
        if by_namespace is None and pod.namespace != namespace:
            continue
        if by_namespace is not None and not selects(by_namespace, cluster.namespaces[pod.namespace]):
            continue
        if by_pod is None or selects(by_pod, pod.labels):
            return 'pods' if by_namespace is None else 'namespaces' if by_pod is None else 'namespaces+pods'
    return None


def network_port_kind(wanted, destination, protocol, port, reading):
    if wanted is None:
        return 'none'
    if wanted.get('protocol', 'TCP') != protocol:
        return None
    number = wanted.get('port')
    if number is None:
        return 'protocol'
    if isinstance(number, str):
        return 'named' if has_named_port(destination.pod, number, protocol, port) else None
    if 'endPort' in wanted:
        return 'range' if number <= port <= wanted['endPort'] else None
    return 'number' if number == port else None


# --- EgressFirewall

def firewall_decision(cluster, subject, destination, protocol, port):
    """Rules of the pod's namespace, in their order, for destinations outside the cluster; what none matches is allowed."""
    for firewall in cluster.firewalls:
        if firewall['metadata']['namespace'] != subject.namespace or subject.host_network:
            continue
        for index, rule in enumerate(firewall['spec']['egress']):
            to = rule['to']
            if 'cidrSelector' in to:
                kind = 'cidr' if in_block(destination.address, to['cidrSelector']) else None
            elif 'nodeSelector' in to:
                kind = 'nodes' if destination.node and selects(to['nodeSelector'], cluster.nodes[destination.node][0]) else None
            else:
                kind = None  # a DNS name: nothing resolves it here
            port_kind = firewall_port_kind(rule, protocol, port)
            if kind and port_kind:
                return Decision('EgressFirewall', 'Egress', rule['type'], subject.namespace, index, kind, port_kind)
    return Decision('default', 'Firewall', 'Allow')


def firewall_port_kind(rule, protocol, port):
    if not rule.get('ports'):
        return 'none'
    for wanted in rule['ports']:
        if wanted['protocol'] == protocol and wanted.get('port') in (None, port):
            return 'protocol' if wanted.get('port') is None else 'number'
    return None


# --- Services

def backends(objects, service, port, family, node):
    """The (address, port) pairs that a connection from a node to this port of the service may be sent to, in one IP family: endpoints that
    are ready; if there are none, those that still serve while they end; of a service with internalTrafficPolicy Local those on the node.
    None if it is left open: whether those that end serve while there are ready ones of the other family."""
    name = port.get('name') or ''
    ready, ending = {4: [], 6: []}, {4: [], 6: []}
    for o in objects:
        if o['kind'] != 'EndpointSlice' or o['metadata']['namespace'] != service['metadata']['namespace']:
            continue
        if o['metadata'].get('labels', {}).get('kubernetes.io/service-name') != service['metadata']['name']:
            continue
        of_family = 6 if o['addressType'] == 'IPv6' else 4
        for p in o.get('ports') or []:
            if (p.get('name') or '') == name and p.get('protocol', 'TCP') == port.get('protocol', 'TCP'):
                for endpoint in o['endpoints']:
                    if service['spec'].get('internalTrafficPolicy') == 'Local' and endpoint.get('nodeName') != node:
                        continue
                    conditions = endpoint.get('conditions') or {}
                    if conditions.get('ready') in (None, True) or service['spec'].get('publishNotReadyAddresses'):
                        ready[of_family].append((endpoint['addresses'][0], p['port']))
                    elif conditions.get('serving') and conditions.get('terminating'):
                        ending[of_family].append((endpoint['addresses'][0], p['port']))
    if ending[family] and not ready[family] and ready[10 - family]:
        return None
    return list(dict.fromkeys(ready[family] or ending[family]))


# --- Small parts

def selects(selector, labels):
    """A LabelSelector; the empty one selects everything."""
    if any(labels.get(key) != value for key, value in (selector.get('matchLabels') or {}).items()):
        return False
    for e in selector.get('matchExpressions') or []:
        key, values = e['key'], e.get('values') or []
        if not {'In': key in labels and labels[key] in values, 'NotIn': key not in labels or labels[key] not in values,
                'Exists': key in labels, 'DoesNotExist': key not in labels}[e['operator']]:
            return False
    return True


@functools.lru_cache(maxsize=None)
def in_block(address, cidr):
    address, network = ipaddress.ip_address(address), ipaddress.ip_network(cidr, strict=False)
    return address.version == network.version and address in network


def has_named_port(pod, name, protocol, port):
    return bool(pod and name) and any((n, number, p) == (name, port, protocol) for n, number, p in pod.ports)


def first(items):
    return next(iter(items), None)
