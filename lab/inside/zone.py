"""zone.py N SOCKET: writes the northbound database of zone N in one transaction, as ovn-kubernetes lays it out
(default network, dual stack, one node a zone, observability on; with --udn a user-defined network beside it). Leaves /lab/run/N/pods (one pod a line) and acls.json."""
import json
import socket
import sys

from topology import *

OTHERS = {1: [2], 2: [1]}


def fnv1a(text, bits):
    value, prime = {32: (0x811C9DC5, 0x01000193), 64: (0xCBF29CE484222325, 0x100000001B3)}[bits]
    for byte in text.encode():
        value = (value ^ byte) * prime % (1 << bits)
    return value


def hashed_name(ids):
    return f'a{fnv1a(ids["k8s.ovn.org/id"], 64)}'


class Transaction:
    """Rows to insert, as OVSDB JSON (RFC 7047). Columns and tables that the server's schema lacks are left out."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.schema = self.call('get_schema', ['OVN_Northbound'])['tables']
        self.operations = []

    def call(self, method, params):
        self.socket.sendall(json.dumps({'method': method, 'params': params, 'id': method}).encode())
        decoder, text = json.JSONDecoder(), ''
        while True:
            text += self.socket.recv(1 << 20).decode()
            try:
                reply, _ = decoder.raw_decode(text)
            except ValueError:
                continue
            if reply.get('method') == 'echo':
                continue
            if reply['error']:
                raise SystemExit(f'{method}: {reply["error"]}')
            return reply['result']

    def row(self, table, columns):
        known = self.schema.get(table, {'columns': {}})['columns']
        return {name: encoded(value) for name, value in columns.items() if name in known}

    def insert(self, table, **columns):
        if table not in self.schema:
            return None
        name = f'row{len(self.operations)}'
        self.operations.append({'op': 'insert', 'table': table, 'uuid-name': name, 'row': self.row(table, columns)})
        return Ref(name)

    def commit(self):
        results = self.call('transact', ['OVN_Northbound', *self.operations])
        errors = [(r, op) for r, op in zip(results, [*self.operations, None]) if r and 'error' in r]
        if errors:
            raise SystemExit(f'northbound: {errors}')


class Ref(str):
    """A row inserted in the same transaction."""


def encoded(value):
    if isinstance(value, Ref):
        return ['named-uuid', value]
    if isinstance(value, dict):
        return ['map', [[k, encoded(v)] for k, v in value.items()]]
    if isinstance(value, list):
        return ['set', [encoded(v) for v in value if v is not None]]
    return ['set', []] if value is None else value


def write_zone(n, nb):
    collector = settings(n, nb)
    default = Network(n, nb, 'default', collector)
    default.switches()
    default.policies()
    networks = [default]
    if any(pod.node == n for pod in UDN_PODS):
        # ovn-kubernetes does not sample policies of such networks; the lab does, so that there is something to keep apart.
        blue = Network(n, nb, NETWORK, collector)
        blue.user_defined_network()
        networks.append(blue)
    nb.commit()
    return [acl for network in networks for acl in network.acls]


def settings(n, nb):
    name = node_name(n)
    nb.insert('NB_Global', name=name, options={'name': name, 'use_ct_inv_match': 'true'})
    for number, app in (1, 'drop'), (2, 'acl-new'), (3, 'acl-est'):
        nb.insert('Sampling_App', id=number, type=app)
    collector = nb.insert('Sample_Collector', id=1, set_id=42, probability=65535, name='', external_ids={
        'sample-features': 'AdminNetworkPolicy,EgressFirewall,Multicast,NetworkPolicy,UDNIsolation'})
    nb.insert('Meter', name='acl-logging', unit='pktps', fair=True, bands=[nb.insert('Meter_Band', action='drop', rate=20)])
    return collector


class Network:
    """What a zone has of one network."""

    def __init__(self, n, nb, name, collector):
        self.n, self.nb, self.collector = n, nb, collector
        self.controller = f'{name}-network-controller'
        self.ports, self.acls, self.address_sets = {}, [], set()

    # --- switches, router, service

    def switches(self):
        nb, n, name = self.nb, self.n, node_name(self.n)
        balancer = nb.insert('Load_Balancer', name='Service_backend/iperf_TCP_cluster', protocol='tcp',
                             vips={f'{SERVICE}:80': f'{ip(find("backend/server"))}:5201', f'[{SERVICE6}]:80': f'[{ip6(find("backend/server"))}]:5201'},
                             options={'reject': 'true', 'event': 'false', 'skip_snat': 'false', 'neighbor_responder': 'none',
                                      'hairpin_snat_ip': '169.254.169.5 fd69::5'},
                             external_ids={'k8s.ovn.org/kind': 'Service', 'k8s.ovn.org/owner': 'backend/iperf'})
        group = nb.insert('Load_Balancer_Group', name='clusterLBGroup', load_balancer=[balancer])
        for pod in PODS:
            if pod.node == n:
                addresses = f'{mac(ip(pod))} {ip(pod)} {ip6(pod)}'
                self.ports[pod] = nb.insert('Logical_Switch_Port', name=port(pod), addresses=[addresses], port_security=[addresses],
                                            options={'requested-chassis': chassis(n), 'iface-id-ver': uid(pod)},
                                            external_ids={'namespace': pod.namespace, 'pod': 'true'})
        self.management = nb.insert('Logical_Switch_Port', name=f'k8s-{name}', addresses=[f'{mac(management(n))} {management(n)} {management6(n)}'])
        self.to_router = nb.insert('Logical_Switch_Port', name=f'stor-{name}', type='router', addresses=['router'],
                                   options={'router-port': f'rtos-{name}', 'arp_proxy': '0a:58:a9:fe:01:01 169.254.1.1 fe80::1 10.244.0.0/16 fd00:10:244::/48'})
        from_node = [self.acl(self.ids('NetpolNode', name=name, ip=address), 'to-lport', 1001, f'{family}.src=={address}', 'allow-related')
                     for family, address in (('ip4', management(n)), ('ip6', management6(n)))]
        nb.insert('Logical_Switch', name=name, ports=[*self.ports.values(), self.management, self.to_router], acls=from_node, load_balancer_group=[group],
                  other_config={'subnet': f'10.244.{n}.0/24', 'exclude_ips': management(n), 'ipv6_prefix': f'fd00:10:244:{n}::', 'mcast_snoop': 'false'})
        # The transit switch and its ports have the same tunnel keys in every zone; another node is a port of type remote.
        transit_ports = [nb.insert('Logical_Switch_Port', name=f'tstor-{name}', type='router', addresses=['router'],
                                   options={'router-port': f'rtots-{name}', 'requested-tnl-key': str(n + 1)}, external_ids={'node': name})]
        routes = []
        for other in OTHERS[n]:
            transit_ports.append(nb.insert(
                'Logical_Switch_Port', name=f'tstor-{node_name(other)}', type='remote', external_ids={'node': node_name(other)},
                addresses=[f'{mac(transit(other))} {transit(other)}/16 {transit6(other)}/64'],
                options={'requested-tnl-key': str(other + 1), 'requested-chassis': chassis(other)}))
            for prefix, hop in ((f'10.244.{other}.0/24', transit(other)), (f'fd00:10:244:{other}::/64', transit6(other)),
                                (f'100.64.0.{other + 1}/32', transit(other)), (f'fd98::{other + 1}/128', transit6(other))):
                routes.append(nb.insert('Logical_Router_Static_Route', ip_prefix=prefix, nexthop=hop,
                                        external_ids={'ic-node': node_name(other), 'k8s.ovn.org/network': 'default'}))
        nb.insert('Logical_Switch', name='transit_switch', ports=transit_ports, other_config={
            'interconn-ts': 'transit_switch', 'requested-tnl-key': '16711683', 'mcast_snoop': 'true', 'mcast_querier': 'false', 'mcast_flood_unregistered': 'true'})
        router_ports = [
            nb.insert('Logical_Router_Port', name=f'rtos-{name}', mac=mac(gateway(n)), networks=[f'{gateway(n)}/24', f'{gateway6(n)}/64']),
            nb.insert('Logical_Router_Port', name=f'rtots-{name}', mac=mac(transit(n)), networks=[f'{transit(n)}/16', f'{transit6(n)}/64'],
                      options={'mcast_flood': 'true'})]
        nb.insert('Logical_Router', name='ovn_cluster_router', ports=router_ports, static_routes=routes, options={'mcast_relay': 'true'},
                  external_ids={'k8s-cluster-router': 'yes'})

    def user_defined_network(self):
        """A network of its own on this node, without router: its pods have addresses that pods of the default network have too."""
        pods = [pod for pod in UDN_PODS if pod.node == self.n]
        ids = {'k8s.ovn.org/network': NETWORK, 'k8s.ovn.org/role': 'primary', 'k8s.ovn.org/topology': 'layer3'}
        for pod in pods:
            addresses = f'{mac(ip(pod))} {ip(pod)} {ip6(pod)}'
            self.ports[pod] = self.nb.insert(
                'Logical_Switch_Port', name=port(pod), addresses=[addresses], port_security=[addresses],
                options={'requested-chassis': chassis(self.n), 'iface-id-ver': uid(pod)},
                external_ids={**ids, 'k8s.ovn.org/nad': f'{pod.namespace}/blue', 'namespace': pod.namespace, 'pod': 'true'})
        self.nb.insert('Logical_Switch', name=f'{NETWORK}_{node_name(self.n)}', ports=list(self.ports.values()), external_ids=ids,
                       other_config={'subnet': f'10.244.{self.n}.0/24', 'exclude_ips': management(self.n), 'ipv6_prefix': f'fd00:10:244:{self.n}::'})
        server = [pod for pod in pods if pod.app == 'server']
        self.network_policy('blue', 'server', server, 'Ingress', [self.rule([('blue', None, pods)], {'tcp': [5201]})])
        self.default_deny('blue', {'Ingress': server})

    # --- policies: all of them are in every zone, with only the zone's own pods in their port groups

    def policies(self):
        frontend, backend, tools = (namespace(name) for name in ('frontend', 'backend', 'tools'))
        monitor = [pod for pod in tools if pod.app == 'monitor']
        server = [pod for pod in backend if pod.app == 'server']
        web = [pod for pod in frontend if pod.app == 'web']
        self.network_policy('backend', 'allow-frontend', backend, 'Ingress', [
            self.rule([('frontend', None, frontend)], {'tcp': [5201, 8443], 'udp': [5201]}),
            self.rule([], {'udp': [5300]}, blocks=[('10.244.0.0/16', ['10.244.2.6/32']), ('fd00:10:244::/48', [])]),
            self.rule([('tools', 'monitor', monitor)], {})])
        self.network_policy('backend', 'metrics', server, 'Ingress', [self.rule([], {'tcp': [(9090, 9099)]})])
        self.network_policy('frontend', 'to-backend', frontend, 'Egress', [
            self.rule([('backend', None, backend)], {'tcp': [5201, 8443], 'udp': [5201, 5300]}),
            self.rule([('tools', None, tools)], {}),
            self.rule([], {'tcp': [(9000, 9999)], 'udp': [9998]}, blocks=[('10.244.2.0/24', []), ('fd00:10:244:2::/64', [])])])
        self.network_policy('frontend', 'web', web, 'Ingress', [self.rule([], {'tcp': [(8080, 8090), 80]})])
        self.default_deny('backend', {'Ingress': backend})
        self.default_deny('frontend', {'Egress': frontend, 'Ingress': web})
        self.admin_policy('AdminNetworkPolicy', 'cluster-guard', backend, 1, 29500, [
            ('Ingress', 0, 'drop', tools, {'tcp': [9100]}), ('Ingress', 1, 'pass', frontend, {'tcp': [8443]}),
            ('Ingress', 2, 'allow-related', tools, {'tcp': [9200]}), ('Egress', 0, 'drop', frontend, {'tcp': [22]})])
        self.admin_policy('BaselineAdminNetworkPolicy', 'default', tools, 3, 1750, [
            ('Ingress', 0, 'drop', frontend, {'tcp': [7000]}), ('Ingress', 1, 'allow-related', backend, {}), ('Egress', 0, 'drop', frontend, {'udp': [7001]})])
        self.egress_firewall('tools', tools, [
            ('allow', '(ip4.dst == 203.0.113.0/24)', '((udp && ( udp.dst == 55 )))'),
            ('drop', f'(ip4.dst == 0.0.0.0/0 && ip4.dst != {CLUSTER})', ''), ('drop', f'(ip6.dst == ::/0 && ip6.dst != {CLUSTER6})', '')])
        self.cluster_groups()
        self.rejections(backend)

    def rule(self, peers, protocols, blocks=()):
        """One rule of a NetworkPolicy. peers: (namespace, app label or None, pods); protocols: {name: [port or (first, last)]}."""
        return peers, protocols or {'None': []}, blocks

    def network_policy(self, ns, name, subject, direction, rules):
        group = self.ids('NetworkPolicy', name=f'{ns}:{name}')
        side = self.side(direction, hashed_name(group))
        end = 'src' if direction == 'Ingress' else 'dst'
        acls = []
        for index, (peers, protocols, blocks) in enumerate(rules):
            sets = [self.selector_sets(*peer) for peer in peers]
            v4, v6 = (', '.join(sorted(f'${s[i]}' for s in sets)) for i in (0, 1))
            selected = f'(ip4.{end} == {{{v4}}} || ip6.{end} == {{{v6}}})' if sets else '(ip4 || ip6)'
            for protocol, ports in protocols.items():
                kinds = ([(-2, block_match(blocks, end))] if blocks else []) + ([(-1, selected)] if sets or not blocks else [])
                for ip_block, l3 in kinds:
                    ids = self.ids('NetworkPolicy', name=f'{ns}:{name}', direction=direction, gress_index=index, protocol=protocol, ip_block=ip_block)
                    acls.append(self.acl(ids, direction, 1001, ' && '.join(filter(None, [l3, l4(protocol, ports), side])), 'allow-related',
                                         name=f'NP:{ns}:{name}:{direction}:{index}'))
        self.port_group(hashed_name(group), subject, acls, group)

    def default_deny(self, ns, isolated):
        for direction in 'Ingress', 'Egress':
            group = self.ids('NetpolNamespace', name=ns, direction=direction)
            side = self.side(direction, hashed_name(group))
            name = f'NP:{ns}:{direction}'
            deny = self.acl(self.ids('NetpolNamespace', name=ns, direction=direction, type='defaultDeny'), direction, 1000, side, 'drop', name=name)
            arp = self.acl(self.ids('NetpolNamespace', name=ns, direction=direction, type='arpAllow'), direction, 1001, f'{side} && (arp || nd)', 'allow', name=name)
            self.port_group(hashed_name(group), isolated.get(direction, []), [deny, arp], group)

    def admin_policy(self, owner, name, subject, tier, first_priority, rules):
        group = self.ids(owner, name=name)
        if 'tier' not in self.nb.schema['ACL']['columns']:
            return  # OVN before 23.06 cannot carry these policies
        short = {'AdminNetworkPolicy': 'ANP', 'BaselineAdminNetworkPolicy': 'BANP'}[owner]
        acls = []
        for direction, index, action, peers, protocols in rules:
            end = 'src' if direction == 'Ingress' else 'dst'
            sets = [self.address_set(self.ids(owner, name=name, direction=direction, gress_index=index, family=family), [address(p) for p in peers])
                    for family, address in (('v4', ip), ('v6', ip6))]
            for protocol, ports in (protocols or {'None': []}).items():
                ids = self.ids(owner, name=name, direction=direction, gress_index=index, protocol=protocol)
                match = [self.side(direction, hashed_name(group)), f'((ip4.{end} == ${sets[0]} || ip6.{end} == ${sets[1]}))', l4(protocol, ports)]
                acls.append(self.acl(ids, direction, first_priority - index, ' && '.join(filter(None, match)), action, tier=tier,
                                     name=f'{short}:{name}:{direction}:{index}'))
        self.port_group(hashed_name(group), subject, acls, group)

    def egress_firewall(self, ns, pods, rules):
        group = self.ids('Namespace', name=ns)
        acls = []
        for index, (action, destination, ports) in enumerate(rules):
            match = ' && '.join(filter(None, [destination, f'inport == @{hashed_name(group)}', ports]))
            acls.append(self.acl(self.ids('EgressFirewall', name=ns, rule_index=index), 'to-lport', 10000 - index, match, action, name=f'EF:{ns}:{index}'))
        self.port_group(hashed_name(group), pods, acls, group)

    def cluster_groups(self):
        multicast = '(ip4.mcast || mldv1 || mldv2 || (ip6.dst[120..127] == 0xff && ip6.dst[116] == 1))'
        hairpin = '(ip4.src == 169.254.169.5 || ip6.src == fd69::5)'
        for name, ports in ('clusterPortGroup', [self.management]), ('clusterRtrPortGroup', [self.to_router]):
            ids = self.ids('Cluster', name=name)
            acls = []
            for direction in 'Egress', 'Ingress':
                if name == 'clusterPortGroup':
                    acls.append(self.acl(self.ids('NetpolDefault', name='allow-hairpinning', direction=direction), direction, 1001, hairpin, 'allow-related',
                                         sampled=False))
                    acls.append(self.acl(self.ids('MulticastCluster', type='DefaultDeny', direction=direction), direction, 1011, multicast, 'drop'))
                else:
                    match = f'{self.side(direction, hashed_name(ids))} && {multicast}'
                    acls.append(self.acl(self.ids('MulticastCluster', type='AllowInterNode', direction=direction), direction, 1012, match, 'allow'))
            self.nb.insert('Port_Group', name=hashed_name(ids), ports=ports, acls=acls, external_ids=ids)

    def rejections(self, pods):
        """ovn-kubernetes makes no ACL that rejects: rows of the lab's own."""
        acls = [self.acl({'lab': name}, 'Ingress', 1100, f'outport == @lab_reject && {match}', 'reject', name=name)
                for name, match in (('lab-reject-tcp', 'tcp.dst == 9999'), ('lab-reject-udp', 'udp.dst == 9998'))]
        self.port_group('lab_reject', pods, acls, {'lab': 'reject'})

    # --- rows

    def ids(self, owner, **keys):
        """external_ids of a row that ovn-kubernetes owns; the keys in their declared order make the primary id."""
        spelled = {'name': 'k8s.ovn.org/name', 'gress_index': 'gress-index', 'protocol': 'port-policy-protocol', 'ip_block': 'ip-block-index',
                   'family': 'ip-family', 'rule_index': 'rule-index'}
        ids = {'k8s.ovn.org/owner-controller': self.controller, 'k8s.ovn.org/owner-type': owner}
        ids |= {spelled.get(key, key): str(value) for key, value in keys.items()}
        return ids | {'k8s.ovn.org/id': ':'.join([self.controller, owner, *map(str, keys.values())])}

    def acl(self, ids, direction, priority, match, action, tier=2, name=None, sampled=True):
        """direction: Ingress, Egress (after the load balancer), or OVN's own word."""
        sample = point = None
        if sampled and self.collector:
            # One Sample for new and established, its point the hash of what the rule is: a changed rule gets another.
            point = fnv1a(ids.get('k8s.ovn.org/id', name) + match + action, 32)
            sample = self.nb.insert('Sample', collectors=[self.collector], metadata=point)
        self.acls.append({'point': point, 'action': action, 'match': match, 'tier': tier, 'priority': priority, 'external_ids': ids})
        return self.nb.insert('ACL', name=name, direction='from-lport' if direction == 'Egress' else 'to-lport', priority=priority, match=match, action=action,
                              tier=tier, log=False, meter='acl-logging', sample_new=sample, sample_est=sample, external_ids=ids,
                              options={'apply-after-lb': 'true'} if direction == 'Egress' else {})

    def side(self, direction, group):
        return f'outport == @{group}' if direction == 'Ingress' else f'inport == @{group}'

    def port_group(self, name, pods, acls, ids):
        self.nb.insert('Port_Group', name=name, ports=[self.ports[pod] for pod in pods if pod in self.ports], acls=acls, external_ids=ids)

    def selector_sets(self, ns, app, pods):
        pod_selector = f'LS{{ML:{{app: {app},}},}}' if app else 'LS{}'
        legacy = '' if app else '_LNM'
        key = f'LS{{ML:{{kubernetes.io/metadata.name: {ns},}},}}_{pod_selector}{legacy}'
        return [self.address_set(self.ids('PodSelector', name=key, family=family), [address(pod) for pod in pods]) for family, address in (('v4', ip), ('v6', ip6))]

    def address_set(self, ids, addresses):
        name = hashed_name(ids)
        if name not in self.address_sets:
            self.address_sets.add(name)
            self.nb.insert('Address_Set', name=name, addresses=addresses, external_ids=ids)
        return name


def namespace(name):
    return [pod for pod in PODS if pod.namespace == name]


def l4(protocol, ports):
    if protocol == 'None':
        return ''
    single = [p for p in ports if isinstance(p, int)]
    terms = [f'{protocol}.dst=={single[0]}' if len(single) == 1 else f'{protocol}.dst=={{{",".join(map(str, single))}}}'] if single else []
    terms += [f'{p[0]}<={protocol}.dst<={p[1]}' for p in ports if not isinstance(p, int)]
    return ' && '.join([protocol] + ([f'({" || ".join(terms)})' if len(terms) > 1 else terms[0]] if terms else []))


def block_match(blocks, end):
    terms = []
    for cidr, excepted in blocks:
        field = f'{"ip6" if ":" in cidr else "ip4"}.{end}'
        terms.append(f'({field} == {cidr} && {field} != {{{", ".join(excepted)}}})' if excepted else f'{field} == {cidr}')
    return terms[0] if len(terms) == 1 else f'({" || ".join(terms)})'


number = int(sys.argv[1])
acls = write_zone(number, Transaction(sys.argv[2]))
with open(f'/lab/run/{number}/acls.json', 'w') as file:
    json.dump(acls, file, indent=1)
with open(f'/lab/run/{number}/pods', 'w') as file:
    for pod in PODS + UDN_PODS:
        if pod.node == number:
            print(f'{pod.namespace}/{pod.name}', pod.node, netns(pod), port(pod), ip(pod), ip6(pod), mac(ip(pod)), uid(pod), pod.network, file=file)
