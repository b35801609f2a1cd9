"""Questions to a set: those aimed at each of its rules, near misses of these, and random ones; and the cells of coverage that each hits."""
import ipaddress
from dataclasses import dataclass, field

import cluster as generator
import meaning


@dataclass
class Question:
    source: meaning.Party
    address: str  # the destination as the packet leaves: a pod, a service, a node, or outside
    protocol: str
    port: int
    backends: list = None  # of (Party, port), for a service; whom the packet may be sent to
    destination: meaning.Party = None  # if not a service
    through: dict = None  # the service
    rule: tuple = None  # that it is aimed at
    difference: tuple = None  # what the judge found wrong
    cells: set = field(default_factory=set)

    def answers(self, cluster):
        """[(Answer, Party, port)]: one, or one for each backend."""
        ends = [(self.destination, self.port)] if self.backends is None else self.backends
        return [(meaning.judge(cluster, self.source, party, self.protocol, port), party, port) for party, port in ends]

    def __str__(self):
        name = lambda p: f'{p.pod.key} {p.address}' if p.pod else f'{p.node} {p.address}' if p.node else p.address
        to = f'service {self.address}' if self.backends is not None else name(self.destination)
        behind = '' if self.backends is None else f' (backends {", ".join(f"{p.address} port {n}" for p, n in self.backends) or "none"})'
        return f'{name(self.source)} -> {to} {self.protocol} port {self.port}{behind}'


class Asker:
    def __init__(self, objects, families, random):
        self.objects, self.families, self.random = objects, families, random
        self.cluster = meaning.Cluster(objects, [s for s in generator.POD_SUBNETS if ipaddress.ip_network(s).version in families])
        self.pods = [meaning.Party(a, p) for p in self.cluster.pods.values() if p.running and not p.host_network for a in p.addresses]
        self.outside = [self.cluster.party(a) for f in families for a in generator.OUTSIDE[f]]
        self.nodes = [self.cluster.party(a) for _, addresses in self.cluster.nodes.values() for a in addresses]
        # A node's own end of the pods' network: the second address of its subnet.
        self.inner = [meaning.Party(str(ipaddress.ip_network(s)[2]), node=o['metadata']['name'], inside=True)
                      for o in objects if o['kind'] == 'Node' for s in o['spec']['podCIDRs']]
        self.services = [(o, p, a) for o in objects if o['kind'] == 'Service' for p in o['spec']['ports'] for a in o['spec']['clusterIPs']]
        self.types = {f'{o["metadata"]["namespace"]}/{o["metadata"]["name"]}': meaning.policy_types(o['spec']) for o in self.cluster.network_policies}
        self.ports = sorted(set(ports_of(objects)))

    def questions(self, count):
        """Those aimed at rules first, then near misses of them, then random ones, `count` in all."""
        aimed = [q for rule in self.rules() for family in self.families for q in [self.aimed(rule, family)] if q]
        self.random.shuffle(aimed)
        asked = aimed[:count // 2]
        near = [q for q in (self.near_miss(self.random.choice(asked)) for _ in range(count // 5 if asked else 0)) if q]
        asked += near
        while len(asked) < count:
            question = self.random_question()
            if question:
                asked.append(question)
        return asked

    # --- aimed

    def rules(self):
        """(kind, policy, direction, index, subjects, peers, the rule) for every rule there is."""
        c = self.cluster
        for policy in c.network_policies:
            subjects = [p for p in self.pods if p.pod.namespace == policy['metadata']['namespace'] and meaning.selects(policy['spec']['podSelector'], p.pod.labels)]
            name = f'{policy["metadata"]["namespace"]}/{policy["metadata"]["name"]}'
            for direction in 'Ingress', 'Egress':
                for index, rule in enumerate(policy['spec'].get(direction.lower()) or []):
                    peers = [p for p in self.peers(direction) if any(
                        meaning.network_peer_kind(c, policy['metadata']['namespace'], w, p, meaning.READINGS[0])
                        for w in rule.get('from' if direction == 'Ingress' else 'to') or [None])]
                    yield 'NetworkPolicy', name, direction, index, subjects, peers, rule
        for policy in c.admin + c.baseline:
            subjects = [p for p in self.pods if meaning.subject_selected(c, policy.subject, p.pod)]
            for direction, rules in policy.rules.items():
                for index, rule in enumerate(rules):
                    peers = [p for p in self.peers(direction) if any(meaning.cluster_peer_kind(c, w, p) for w in rule['from' if direction == 'Ingress' else 'to'])]
                    yield policy.kind, policy.name, direction, index, subjects, peers, rule
        for firewall in c.firewalls:
            subjects = [p for p in self.pods if p.pod.namespace == firewall['metadata']['namespace']]
            for index, rule in enumerate(firewall['spec']['egress']):
                yield 'EgressFirewall', firewall['metadata']['namespace'], 'Egress', index, subjects, self.outside + self.nodes, rule

    def peers(self, direction):
        return self.pods + self.outside + (self.nodes if direction == 'Egress' else [])

    def aimed(self, rule, family):
        """A question that this very rule decides (or passes on), if one is soon found."""
        kind, policy, direction, index, subjects, peers, body = rule
        subjects, peers = ([p for p in parties if p.family == family] for parties in (subjects, peers))
        if not subjects or not peers:
            return None
        idle = kind == 'NetworkPolicy' and direction not in self.types[policy]
        for _ in range(60):
            subject, peer = self.random.choice(subjects), self.random.choice(peers)
            source, destination = (peer, subject) if direction == 'Ingress' else (subject, peer)
            protocols = list(meant(body, destination)) or ([] if body.get('ports') or body.get('protocols') else [(p, self.port_for(destination)) for p in generator.PROTOCOLS])
            question = self.plain(source, destination, *self.random.choice(protocols)) if protocols else None
            answer = question and question.answers(self.cluster)[0][0]
            if answer and idle and any((d.kind, d.direction) == ('isolation', direction) for d in answer.decisions):
                question.cells.add(('miss', kind, direction, 'policyTypes'))
                question.rule = rule[:4]
                return question
            if answer and any((d.kind, d.policy, d.direction, d.rule) == (kind, policy, direction, index) for d in answer.decisions + answer.passed):
                question.rule = rule[:4]
                return question
        return None

    def near_miss(self, question):
        """The same question with one thing changed, so that its rule no longer decides."""
        kind, policy, direction, index = question.rule
        for _ in range(20):
            source, destination, protocol, port = question.source, question.destination, question.protocol, question.port
            changed = self.random.choice(('peer', 'subject', 'protocol', 'port', 'port'))
            if changed == 'protocol':
                protocol = self.random.choice(generator.PROTOCOLS)
            elif changed == 'port':
                port = self.random.choice((port - 1, port + 1, self.port_for(destination))) or 1
            elif (changed == 'peer') == (direction == 'Ingress'):
                source = self.random.choice(self.pods + (self.outside if changed == 'peer' else []))
            else:
                destination = self.random.choice(self.pods + (self.outside + self.nodes if changed == 'peer' else []))
            near = self.plain(source, destination, protocol, port)
            answer = near and near.answers(self.cluster)[0][0]
            if answer and not answer.undefined and not any((d.kind, d.policy, d.direction, d.rule) == question.rule for d in answer.decisions + answer.passed):
                near.cells.add(('miss', kind, direction, changed))
                return near
        return None

    # --- random

    def random_question(self):
        what = self.random.choices(('pods', 'service', 'out', 'in', 'node', 'itself'), (6, 12, 4, 4, 3, 1))[0]
        protocol = self.random.choice(generator.PROTOCOLS)
        if what == 'service' and self.services:
            return self.to_service()
        if what == 'node':
            subject = self.random.choice(self.pods)
            own = [n for n in self.inner if n.node == subject.pod.node and n.family == subject.family]
            source, destination = self.random.choice(((own[0], subject), (subject, own[0])))
        elif what == 'itself':
            return self.to_service(itself=True)
        else:
            source = self.random.choice(self.outside if what == 'in' else self.pods)
            destination = self.random.choice(self.outside + self.nodes if what == 'out' else self.pods)
        return self.plain(source, destination, protocol, self.port_for(destination))

    def to_service(self, itself=False):
        service, port, address = self.random.choice(self.services)
        family = ipaddress.ip_address(address).version
        for source in self.random.sample(self.pods, len(self.pods)):
            if source.family != family:
                continue
            ends = meaning.backends(self.objects, service, port, family, source.pod.node)
            if ends is None:
                continue
            backends = [(self.cluster.party(a), n) for a, n in ends]
            is_own = any(party == source for party, _ in backends)
            # ovn-trace knows a pod that reaches itself only by the first port of an address.
            if is_own >= itself and not (is_own and len(service['spec']['ports']) > 1):
                return Question(source, address, port['protocol'], port['port'], backends, through=service)
        return None

    def plain(self, source, destination, protocol, port):
        """None where there is nothing to ask: two families, two outsiders, the node's address as its own pod sees it (which the documents leave open)."""
        if source.family != destination.family or not (source.pod or destination.pod) or not 0 < port < 65536:
            return None
        if source.pod and source.pod == destination.pod:
            return None
        if destination.node and not destination.inside and source.pod.node == destination.node:
            return None
        return Question(source, destination.address, protocol, port, destination=destination)

    def port_for(self, destination):
        own = [number for _, number, _ in destination.pod.ports] if destination.pod else []
        return self.random.choice(own) if own and self.random.random() < .3 else self.random.choice(self.ports)


def meant(rule, destination):
    """Some (protocol, port) that a rule's ports mean at this destination: for one of each kind, its ends."""
    own = destination.pod.ports if destination.pod else ()
    for p in rule.get('ports') or rule.get('protocols') or []:
        name = p.get('namedPort') or p.get('destinationNamedPort') or (p['port'] if isinstance(p.get('port'), str) else None)
        if name:
            yield from ((protocol, number) for n, number, protocol in own if n == name)
            continue
        p = p.get('portNumber') or p.get('portRange') or p
        for protocol in (k for k in generator.PROTOCOLS if k.lower() in p):
            wanted = p[protocol.lower()]['destinationPort']
            p = {'protocol': protocol, **wanted.get('range', {'port': wanted.get('number')})}
        numbers = [p[k] for k in ('port', 'endPort', 'start', 'end') if p.get(k)] or [5001]
        yield from ((p.get('protocol', 'TCP'), number) for number in numbers)


def ports_of(value):
    """Every number that stands for a port, and its neighbours."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ('port', 'endPort', 'number', 'start', 'end', 'containerPort') and isinstance(item, int):
                yield from (n for n in (item - 1, item, item + 1) if 0 < n < 65536)
            yield from ports_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from ports_of(item)


# --- coverage

def cells(question, answer, party, allowed):
    """What a question with its answer shows."""
    family, verdict = question.source.family, 'allowed' if allowed else 'dropped'
    found = set(question.cells)
    if question.backends is not None:
        found.add(('service', verdict if answer else 'no backend', question.protocol, family))
        found.add(('service of a kind', question.through['spec'].get('internalTrafficPolicy', 'Cluster'), bool(question.through['spec'].get('publishNotReadyAddresses')),
                   verdict if answer else 'no backend'))
    if not answer:
        return found
    for d in answer.decisions + answer.passed:
        if d.policy:
            found.add(('rule', d.kind, d.direction, d.action, d.peer, d.port, family))
            found.add(('protocol', d.kind, d.direction, d.port, question.protocol))
        else:
            found.add(('no rule', d.kind, d.direction, family))
        if question.backends is not None and d.kind != 'itself':
            found.add(('through service', d.kind, d.direction, d.action))
    for p in answer.passed:
        after = next(d for d in answer.decisions if d.direction == p.direction)
        if after.kind == 'own-node':
            continue
        found.add(('pass', p.kind, p.direction, after.kind if p.kind != after.kind else 'same', after.action))
    found.add(('path', path(question.source, party), verdict))
    return found


def path(source, destination):
    if not source.pod:
        return 'own node to pod' if source.node else 'outside to pod'
    if not destination.pod:
        return 'pod to own node' if destination.inside else 'pod to node' if destination.node else 'pod to outside'
    if source.pod == destination.pod:
        return 'pod to itself'
    return 'same node' if source.pod.node == destination.pod.node else 'other node'


KINDS = ('NetworkPolicy', 'AdminNetworkPolicy', 'BaselineAdminNetworkPolicy', 'ClusterNetworkPolicy Admin', 'ClusterNetworkPolicy Baseline', 'EgressFirewall')


def wanted_cells():
    """All that a full run must hit."""
    wanted = set()
    for kind in KINDS:
        for direction, action, peer, port in generator.shapes(kind):
            wanted |= {('rule', kind, direction, action, peer, port, family) for family in (4, 6)}
            wanted |= {('protocol', kind, direction, port, protocol) for protocol in generator.PROTOCOLS}
            wanted |= {('miss', kind, direction, what) for what in ('peer', 'subject', 'protocol', 'port')}
    wanted |= {('miss', 'NetworkPolicy', direction, 'policyTypes') for direction in ('Ingress', 'Egress')}
    for family in (4, 6):
        for direction in 'Ingress', 'Egress':
            wanted |= {('no rule', kind, direction, family) for kind in ('default', 'isolation', 'own-node')}
        wanted |= {('no rule', 'default', 'Firewall', family), ('no rule', 'itself', '', family)}
        wanted |= {('service', verdict, protocol, family) for verdict in ('allowed', 'dropped', 'no backend') for protocol in generator.PROTOCOLS}
    for admin, baseline in (('AdminNetworkPolicy', 'BaselineAdminNetworkPolicy'), ('ClusterNetworkPolicy Admin', 'ClusterNetworkPolicy Baseline')):
        for direction in 'Ingress', 'Egress':
            wanted |= {('through service', kind, direction, 'Pass') for kind in (admin, baseline) if not kind.startswith('Baseline')}
            wanted |= {('pass', admin, direction, kind, action) for kind, action in (
                ('NetworkPolicy', 'Allow'), ('isolation', 'Deny'), (baseline, 'Allow'), (baseline, 'Deny'), ('default', 'Allow'))}
            wanted |= {('through service', kind, direction, action) for kind in (admin, baseline) for action in ('Allow', 'Deny')}
    wanted |= {('pass', 'ClusterNetworkPolicy Baseline', direction, 'default', 'Allow') for direction in ('Ingress', 'Egress')}
    for direction in 'Ingress', 'Egress':
        wanted |= {('through service', *what[:1], direction, what[1]) for what in (('NetworkPolicy', 'Allow'), ('isolation', 'Deny'), ('default', 'Allow'))}
    wanted |= {('service of a kind', traffic, early, verdict) for traffic in ('Cluster', 'Local') for early in (False, True)
               for verdict in ('allowed', 'dropped', 'no backend')}
    wanted |= {('variant', sampled, logged, verdict, family) for sampled in ('sampled', 'unsampled') for logged in ('logged', 'not logged')
               for verdict in ('allowed', 'dropped') for family in (4, 6)}
    for where in 'outside to pod', 'pod to node', 'pod to outside', 'same node', 'other node':
        wanted |= {('path', where, verdict) for verdict in ('allowed', 'dropped')}
    wanted |= {('path', where, 'allowed') for where in ('own node to pod', 'pod to own node', 'pod to itself')}
    return wanted
