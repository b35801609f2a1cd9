"""Random clusters with policies, from a seed: objects as plain dicts, the way they stand in a manifest.

Every set gets its share of the rule shapes (kind x direction x action x peer x port), so that a run of some length has them all."""
import ipaddress
import json
import random
from dataclasses import dataclass

POD_SUBNETS = ('10.244.0.0/16', 'fd00:10:244::/48')
PROTOCOLS = ('TCP', 'UDP', 'SCTP')
POD_LABELS = {'app': ('web', 'api', 'db'), 'role': ('front', 'back'), 'canary': ('yes',)}
NAMESPACE_LABELS = {'team': ('red', 'blue'), 'env': ('prod', 'test'), 'open': ('yes',)}
NODE_LABELS = {'zone': ('a', 'b'), 'gpu': ('yes',)}
PORT_NAMES = ('http', 'metrics', 'query')
PORT_NUMBERS = (80, 443, 5000, 5003, 8080, 9090)
RANGES = ((80, 443), (5000, 5005), (8000, 9000), (1, 1024))
# Addresses outside the cluster, and blocks around them, nested and disjoint.
OUTSIDE = {4: ('203.0.113.5', '203.0.113.77', '203.0.113.200', '198.51.100.9', '192.0.2.1'),
           6: ('2001:db8::5', '2001:db8::77:1', '2001:db8:1::9', '2001:db8:ffff::1', '2001:db9::1')}
BLOCKS = {4: ('203.0.113.0/24', '203.0.113.64/26', '198.51.100.0/24', '0.0.0.0/0', '203.0.113.5/32', '10.244.0.0/16', '10.244.1.0/24', '10.0.0.0/8', '172.18.0.0/16'),
          6: ('2001:db8::/32', '2001:db8::/64', '2001:db8:1::/48', '::/0', '2001:db8::5/128', 'fd00:10:244::/48', 'fd00:10:244:1::/64', 'fc00::/7')}
EXCEPTS = {4: {'203.0.113.0/24': ('203.0.113.64/26', '203.0.113.5/32'), '0.0.0.0/0': ('203.0.113.0/24', '10.244.1.0/24', '198.51.100.9/32'),
               '10.244.0.0/16': ('10.244.1.0/24', '10.244.2.8/29'), '10.0.0.0/8': ('10.244.2.0/24',)},
           6: {'2001:db8::/32': ('2001:db8::/64', '2001:db8:1::/48'), '::/0': ('2001:db8::/64', 'fd00:10:244:1::/64'),
               'fd00:10:244::/48': ('fd00:10:244:1::/64', 'fd00:10:244:2::8/125')}}

NETWORK_PEERS = ('any', 'pods', 'namespaces', 'namespaces+pods', 'block', 'block-except')
NETWORK_PORTS = ('none', 'protocol', 'number', 'range', 'named')


def shapes(kind):
    """(direction, action, peer, port) of all rules that the API knows for a kind."""
    if kind == 'NetworkPolicy':
        return [(d, 'Allow', peer, port) for d in ('Ingress', 'Egress') for peer in NETWORK_PEERS for port in NETWORK_PORTS
                if not (d == 'Egress' and peer.startswith('block') and port == 'named')]
    if kind == 'EgressFirewall':
        return [('Egress', action, peer, port) for action in ('Allow', 'Deny') for peer in ('cidr', 'nodes') for port in ('none', 'protocol', 'number')]
    actions = ('Allow', 'Deny') if kind == 'BaselineAdminNetworkPolicy' else ('Allow', 'Deny', 'Pass')
    ports = ('none', 'number', 'range', 'named')
    return [(d, action, peer, port) for action in actions for d in ('Ingress', 'Egress')
            for peer in ('namespaces', 'pods') + (('networks', 'nodes') if d == 'Egress' else ()) for port in ports
            if not (peer in ('networks', 'nodes') and port == 'named')]


# Which kinds share a set, with how many rules each: the documents do not order an AdminNetworkPolicy against a ClusterNetworkPolicy.
MIXES = ({'NetworkPolicy': 11, 'EgressFirewall': 2, 'AdminNetworkPolicy': 9, 'BaselineAdminNetworkPolicy': 7},
         {'NetworkPolicy': 10, 'EgressFirewall': 2, 'ClusterNetworkPolicy Admin': 9, 'ClusterNetworkPolicy Baseline': 9})


@dataclass
class Node:
    name: str
    index: int
    addresses: list
    subnets: list


class Set:
    """One random set: `objects`, and what the questions need to know of it."""

    def __init__(self, seed, number):
        self.random = random.Random(f'{seed}/{number}')
        self.families = self.random.choices(((4, 6), (4,), (6,)), (10, 1, 1))[0]
        self.objects = []
        self.nodes = [self.node(i) for i in range(1, self.random.randint(2, 3) + 1)]
        self.namespaces = [f'ns{i}' for i in range(1, self.random.randint(3, 4) + 1)]
        for name in self.namespaces:
            self.add('v1', 'Namespace', name, labels=self.labels(NAMESPACE_LABELS))
        self.pods = []
        self.next_host = {n.name: 3 for n in self.nodes}
        for i in range(self.random.randint(12, 18)):
            self.pod(i)
        for i in range(2):
            self.service(i)
        for kind, count in MIXES[number % len(MIXES)].items():
            wanted = shapes(kind)
            random.Random(f'{seed}/{kind}').shuffle(wanted)
            start = number // (len(MIXES) if kind not in ('NetworkPolicy', 'EgressFirewall') else 1) * count
            self.policies(kind, [wanted[(start + i) % len(wanted)] for i in range(count)])

    def add(self, version, kind, name, namespace=None, labels=None, **parts):
        metadata = {'name': name}
        if namespace:
            metadata['namespace'] = namespace
        if labels:
            metadata['labels'] = labels
        o = {'apiVersion': version, 'kind': kind, 'metadata': metadata, **parts}
        self.objects.append(o)
        return o

    def chance(self, share):
        return self.random.random() < share

    def pick(self, items):
        return self.random.choice(list(items))

    def labels(self, vocabulary):
        return {key: self.pick(values) for key, values in vocabulary.items() if self.chance(.65)}

    # --- the cluster

    def node(self, i):
        subnets = [s for f, s in ((4, f'10.244.{i}.0/24'), (6, f'fd00:10:244:{i}::/64')) if f in self.families]
        addresses = [a for f, a in ((4, f'172.18.0.{i + 1}'), (6, f'fc00:f853::{i + 1}')) if f in self.families]
        o = self.add('v1', 'Node', f'node-{i}', labels=self.labels(NODE_LABELS), spec={'podCIDRs': subnets, 'podCIDR': subnets[0]},
                     status={'addresses': [{'type': 'InternalIP', 'address': a} for a in addresses] + [{'type': 'Hostname', 'address': f'node-{i}'}]})
        # An annotation of ovn-kubernetes: one subnet as a string, several as a list.
        o['metadata']['annotations'] = {'k8s.ovn.org/node-subnets': json.dumps({'default': subnets if len(subnets) > 1 or self.chance(.5) else subnets[0]})}
        return Node(f'node-{i}', i, addresses, subnets)

    def pod(self, i):
        node, namespace = self.pick(self.nodes), self.namespaces[i % len(self.namespaces)]
        kind = self.random.choices(('running', 'host', 'completed', 'pending'), (18, 1, 2, 1))[0]
        spec = {'nodeName': node.name, 'containers': self.containers()}
        status = {'phase': 'Running'}
        addresses = []
        if kind == 'host':
            spec['hostNetwork'] = True
            addresses = node.addresses
        elif kind != 'pending':
            # A completed pod's addresses may be another's by now.
            if not (kind == 'completed' and self.chance(.7)):
                self.next_host[node.name] += self.random.choice((1, 1, 3))
            host = self.next_host[node.name]
            addresses = [str(ipaddress.ip_network(s)[host]) for s in node.subnets]
            if len(addresses) == 2 and self.chance(.15):
                addresses = [self.pick(addresses)]
        if kind == 'completed':
            status['phase'] = self.pick(('Succeeded', 'Failed'))
        elif kind == 'pending':
            status['phase'] = 'Pending'
        if addresses:
            status |= {'podIP': addresses[0], 'podIPs': [{'ip': a} for a in addresses]}
        o = self.add('v1', 'Pod', f'pod-{i}', namespace, self.labels(POD_LABELS), spec=spec, status=status)
        if kind == 'running':
            self.pods.append(o)

    def containers(self):
        containers, names = [], list(PORT_NAMES)
        self.random.shuffle(names)
        for c in range(self.random.randint(1, 2)):
            ports = []
            for name in [names.pop() for _ in range(self.random.choice((0, 1, 2, 2))) if names]:
                port = {'containerPort': self.pick(PORT_NUMBERS)}
                if self.chance(.9):
                    port['name'] = name
                protocol = self.random.choices(PROTOCOLS, (5, 3, 2))[0]
                if protocol != 'TCP' or self.chance(.5):
                    port['protocol'] = protocol
                ports.append(port)
            containers.append({'name': f'c{c}', 'image': 'example.org/app:1', **({'ports': ports} if ports else {})})
        return containers

    def service(self, i):
        namespace = self.pick(self.namespaces)
        members = [p for p in self.pods if p['metadata']['namespace'] == namespace]
        self.random.shuffle(members)
        members = members[:self.random.choices((0, 1, 2), (2, 4, 4))[0]]
        named = self.chance(.5)
        ports = []
        for number in self.random.sample((80, 443, 7000), self.random.randint(1, 2)):
            ports.append({'port': number, 'protocol': self.random.choices(PROTOCOLS, (5, 3, 2))[0], 'targetPort': self.pick(PORT_NUMBERS),
                          'name': f'p{number}'})
        if len(ports) == 1 and not named:
            del ports[0]['name']
        addresses = [a for f, a in ((4, f'10.96.0.{10 + i}'), (6, f'fd00:10:96::{10 + i}')) if f in self.families]
        name = f'svc-{i}'
        self.add('v1', 'Service', name, namespace, spec={
            'type': 'ClusterIP', 'clusterIP': addresses[0], 'clusterIPs': addresses, 'ipFamilies': [f'IPv{f}' for f in self.families],
            'ipFamilyPolicy': 'RequireDualStack' if len(addresses) == 2 else 'SingleStack', 'selector': {'app': 'web'}, 'ports': ports,
            **({'internalTrafficPolicy': self.pick(('Local', 'Local', 'Cluster'))} if self.chance(.3) else {}),
            **({'publishNotReadyAddresses': True} if self.chance(.15) else {})})
        for family in self.families:
            endpoints = []
            for member in members:
                address = next((a['ip'] for a in member['status']['podIPs'] if ipaddress.ip_address(a['ip']).version == family), None)
                if address:
                    ready, serving, terminating = self.random.choices(((True, True, False), (False, False, False), (False, True, True), (False, False, True)), (15, 2, 2, 1))[0]
                    conditions = {'ready': ready, 'serving': serving, 'terminating': terminating}
                    endpoints.append({'addresses': [address], 'conditions': conditions if not ready or self.chance(.8) else {},
                                      'nodeName': member['spec']['nodeName'],
                                      'targetRef': {'kind': 'Pod', 'namespace': namespace, 'name': member['metadata']['name']}})
            self.add('discovery.k8s.io/v1', 'EndpointSlice', f'{name}-v{family}', namespace, {'kubernetes.io/service-name': name},
                     addressType=f'IPv{family}', endpoints=endpoints,
                     ports=[{'name': p.get('name', ''), 'port': p['targetPort'], 'protocol': p['protocol']} for p in ports])

    # --- policies

    def policies(self, kind, wanted):
        if kind == 'NetworkPolicy':
            self.network_policies(wanted)
        elif kind == 'EgressFirewall':
            self.firewall(wanted)
        else:
            self.cluster_policies(kind, wanted)

    def selector(self, vocabulary, wide=.25):
        """A LabelSelector that as a rule selects something, but not everything."""
        if self.chance(wide):
            return {}
        selector = {}
        if self.chance(.5):
            key = self.pick(vocabulary)
            selector['matchLabels'] = {key: self.pick(vocabulary[key])}
        if not selector or self.chance(.25):
            key, operator = self.pick(vocabulary), self.pick(('In', 'NotIn', 'Exists', 'DoesNotExist'))
            expression = {'key': key, 'operator': operator}
            if operator in ('In', 'NotIn'):
                values = list(vocabulary[key]) + ['other']
                self.random.shuffle(values)
                expression['values'] = values[:self.random.randint(1, 2)]
            selector['matchExpressions'] = [expression]
        return selector

    def namespace_selector(self):
        if self.chance(.2):
            return {'matchLabels': {'kubernetes.io/metadata.name': self.pick(self.namespaces)}}
        return self.selector(NAMESPACE_LABELS)

    def network_policies(self, wanted):
        count = 0
        while wanted:
            namespace = self.pick(self.namespaces[1:])  # one is left to the other tiers, but for the odd policy below
            spec = {'podSelector': self.selector(POD_LABELS, .3)}
            rules = {'Ingress': [], 'Egress': []}
            for direction, _, peer, port in [wanted.pop() for _ in range(min(len(wanted), self.random.randint(1, 3)))]:
                rules[direction].append(self.network_rule(direction, peer, port))
            for direction, key in (('Ingress', 'ingress'), ('Egress', 'egress')):
                if rules[direction]:
                    spec[key] = rules[direction]
                elif self.chance(.1):
                    spec[key] = []
            given = [d for d in rules if rules[d]]
            if self.chance(.15):
                given.append(self.pick(d for d in rules))
            if self.chance(.75) and given:
                spec['policyTypes'] = list(dict.fromkeys(given))
                if len(spec['policyTypes']) == 2 and self.chance(.3):
                    spec['policyTypes'].pop(self.random.randrange(2))  # the rules of the other direction say nothing then
            self.add('networking.k8s.io/v1', 'NetworkPolicy', f'np-{count}', namespace, spec=spec)
            count += 1
        for extra in ({'ingress': []}, {'policyTypes': ['Egress']}, {'ingress': [{}], 'policyTypes': ['Ingress', 'Egress']}, {'policyTypes': ['Ingress']},
                      {'egress': [], 'policyTypes': []}, {'egress': [{}]}, {'ingress': [{'from': [], 'ports': []}]}):
            if self.chance(.1):
                self.add('networking.k8s.io/v1', 'NetworkPolicy', f'np-{count}', self.pick(self.namespaces), spec={'podSelector': self.selector(POD_LABELS), **extra})
                count += 1

    def network_rule(self, direction, peer, port):
        rule = {}
        if peer != 'any':
            peers = [self.network_peer(peer)]
            while self.chance(.25):
                peers.append(self.network_peer(self.pick(p for p in NETWORK_PEERS if p != 'any' and not (p.startswith('block') and port == 'named'))))
            rule['from' if direction == 'Ingress' else 'to'] = peers
        elif self.chance(.2):
            rule['from' if direction == 'Ingress' else 'to'] = []
        if port != 'none':
            ports = [self.network_port(port)]
            while self.chance(.35):
                ports.append(self.network_port(self.pick(p for p in NETWORK_PORTS if p != 'none' and (p == port or p != 'named'))))
            rule['ports'] = ports
        elif self.chance(.1):
            rule['ports'] = []
        return rule

    def network_peer(self, peer):
        if peer.startswith('block'):
            family = self.pick(self.families)
            if peer == 'block':
                return {'ipBlock': {'cidr': self.pick(BLOCKS[family])}}
            cidr = self.pick(EXCEPTS[family])
            excepts = list(EXCEPTS[family][cidr])
            self.random.shuffle(excepts)
            return {'ipBlock': {'cidr': cidr, 'except': excepts[:self.random.randint(1, 3)]}}
        selectors = {}
        if 'namespaces' in peer:
            selectors['namespaceSelector'] = self.namespace_selector()
        if 'pods' in peer:
            selectors['podSelector'] = self.selector(POD_LABELS)
        return selectors

    def network_port(self, kind):
        port = {}
        protocol = self.random.choices(PROTOCOLS, (5, 3, 2))[0]
        if protocol != 'TCP' or self.chance(.5):
            port['protocol'] = protocol
        if kind == 'number':
            port['port'] = self.pick(PORT_NUMBERS)
        elif kind == 'named':
            port['port'] = self.pick(PORT_NAMES)
        elif kind == 'range':
            port['port'], port['endPort'] = self.pick(RANGES) if self.chance(.85) else (443, 443)
        return port

    def firewall(self, wanted):
        for namespace in self.random.sample(self.namespaces, 2):
            rules = []
            for _, action, peer, port in wanted[:1] if len(wanted) > 1 else wanted:
                rules.append(self.firewall_rule(action, peer, port))
            wanted = wanted[1:] or wanted
            while self.chance(.6):
                rules.append(self.firewall_rule(*self.pick(shapes('EgressFirewall'))[1:]))
            self.add('k8s.ovn.org/v1', 'EgressFirewall', 'default', namespace, spec={'egress': rules})

    def firewall_rule(self, action, peer, port):
        rule = {'type': action, 'to': {'cidrSelector': self.pick(BLOCKS[self.pick(self.families)])} if peer == 'cidr' else {'nodeSelector': self.selector(NODE_LABELS, .4)}}
        if port != 'none':
            rule['ports'] = []
            for _ in range(self.random.randint(1, 2)):
                entry = {'protocol': self.pick(PROTOCOLS)}
                if port == 'number':
                    entry['port'] = self.pick(PORT_NUMBERS)
                rule['ports'].append(entry)
        return rule

    def cluster_policies(self, kind, wanted):
        kind, _, tier = kind.partition(' ')
        priorities = self.random.sample(range(1001 if tier else 100), 8)  # ovn-kubernetes takes no AdminNetworkPolicy above 99
        count = 0
        while wanted:
            rules = {}
            share = len(wanted) if kind == 'BaselineAdminNetworkPolicy' else self.random.randint(2, 4)
            for direction, action, peer, port in [wanted.pop() for _ in range(min(share, len(wanted)))]:
                rules.setdefault(direction, []).append(self.cluster_rule(kind, direction, action, peer, port))
            spec = {}
            if tier:
                spec['tier'] = tier
            if kind != 'BaselineAdminNetworkPolicy':
                spec['priority'] = priorities[count]
            spec['subject'] = self.subject()
            spec |= {d.lower(): r for d, r in rules.items()}
            version, name = ('v1alpha2', f'{tier.lower()}-{count}') if tier else ('v1alpha1', 'default' if kind.startswith('Base') else f'anp-{count}')
            self.add(f'policy.networking.k8s.io/{version}', kind, name, spec=spec)
            count += 1

    def subject(self):
        if self.chance(.5):
            return {'namespaces': self.namespace_selector() if self.chance(.6) else {}}
        return {'pods': {'namespaceSelector': self.namespace_selector() if self.chance(.5) else {}, 'podSelector': self.selector(POD_LABELS)}}

    def cluster_rule(self, kind, direction, action, peer, port):
        rule = {'action': 'Accept' if action == 'Allow' and kind == 'ClusterNetworkPolicy' else action}
        if self.chance(.3):
            rule = {'name': f'{action.lower()} {peer}: "{port}"', **rule}
        peers = [self.cluster_peer(peer)]
        while self.chance(.2):
            peers.append(self.cluster_peer(self.pick(('namespaces', 'pods') + (('networks', 'nodes') if direction == 'Egress' and port != 'named' else ()))))
        rule['from' if direction == 'Ingress' else 'to'] = peers
        if port != 'none':
            ports = [self.cluster_port(kind, port)]
            while self.chance(.35):
                ports.append(self.cluster_port(kind, self.pick(('number', 'range') + (('named',) if port == 'named' else ()))))
            rule['protocols' if kind == 'ClusterNetworkPolicy' else 'ports'] = ports
        return rule

    def cluster_peer(self, peer):
        if peer == 'networks':
            return {'networks': self.random.sample(BLOCKS[self.pick(self.families)], self.random.randint(1, 2))}
        if peer == 'nodes':
            return {'nodes': self.selector(NODE_LABELS, .4)}
        if peer == 'namespaces':
            return {'namespaces': self.namespace_selector()}
        return {'pods': {'namespaceSelector': self.namespace_selector(), 'podSelector': self.selector(POD_LABELS)}}

    def cluster_port(self, kind, port):
        protocol = self.random.choices(PROTOCOLS, (5, 3, 2))[0]
        number, span = self.pick(PORT_NUMBERS), dict(zip(('start', 'end'), self.pick(RANGES)))
        if kind == 'ClusterNetworkPolicy':
            return {'destinationNamedPort': self.pick(PORT_NAMES)} if port == 'named' else {
                protocol.lower(): {'destinationPort': {'number': number} if port == 'number' else {'range': span}}}
        if port == 'named':
            return {'namedPort': self.pick(PORT_NAMES)}
        return {'portNumber': {'protocol': protocol, 'port': number}} if port == 'number' else {'portRange': {'protocol': protocol, **span}}
