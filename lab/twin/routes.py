"""The twin's routers against real OVN: random routers with static routes, links between them and load balancers; ovn-trace and the twin must take
random packets through the same ports to the same end. SEED, SETS and QUESTIONS (of each set); the argument is the path of the example `twin`."""
import collections
import ipaddress
import os
import random
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'policy'))
import ovn
from policy import Twin

SEED, SETS, QUESTIONS = os.environ.get('SEED') or '1', int(os.environ.get('SETS') or 25), int(os.environ.get('QUESTIONS') or 80)
ASKS = 12  # enough to see both of two equal routes
PREFIXES = {4: ['0.0.0.0/0', '10.0.0.0/8', '10.1.0.0/16', '10.1.0.0/24', '10.2.0.0/24', '10.3.0.0/28', '10.1.0.10', '192.168.0.0/16', '192.168.4.0/22', '192.168.5.77'],
            6: ['::/0', 'fd00::/8', 'fd01::/32', 'fd01::/64', 'fd02::/64', 'fd01::10', '2001:db8::/32', '2001:db8:5::/48', '2001:db8:5::77']}
STRANGERS = {4: ['192.168.5.77', '192.168.5.1', '192.168.9.9', '172.16.0.1', '10.200.0.1'], 6: ['2001:db8:5::77', '2001:db8:5::1', '2001:db8:9::9', 'fd99::1']}
NOBODY = ['255.255.255.255', '0.0.0.0', '0.1.2.3', '127.0.0.1', '224.1.2.3', '10.1.0.255', '10.2.0.255', '10.3.0.255', '10.9.0.3', '10.1.0.254']  # the last one is usual
VIPS = {4: '10.96.0.', 6: 'fd96::'}


class Set:
    """Switches, routers on them, and what stands in the database."""

    def __init__(self, number):
        self.random = r = random.Random(f'{SEED}/{number}')
        self.hosts, self.own, self.rows = [], [], []  # hosts: (switch, port, mac, {family: address}); own: addresses of routers
        self.routers = [{'name': f'r{i}', 'ports': [], 'routes': [], 'gateway': i == 1 and r.random() < .5} for i in range(r.randint(2, 3))]
        self.macs, self.near = {}, collections.defaultdict(list)  # near: {router: [(family, address that is a neighbour there, router port)]}
        switches = r.randint(3, 4)
        for s in range(1, switches + 1):
            ports = []
            for h in range(2):
                mac, addresses = f'0a:00:00:00:{s:02x}:{h + 16:02x}', {4: f'10.{s}.0.{h + 10}', 6: f'fd{s:02x}::{h + 10}'}
                self.hosts.append((f's{s}', f'h{s}{h}', mac, addresses))
                ports.append(self.insert('Logical_Switch_Port', name=f'h{s}{h}', addresses=' '.join([mac, *addresses.values()])))
            attached = r.sample(self.routers, r.choice((1, 2, 2)))
            for n, router in enumerate(attached):
                name, addresses = f'{router["name"]}-s{s}', {4: f'10.{s}.0.{n + 1}', 6: f'fd{s:02x}::{n + 1}'}
                self.port(router, name, f'0a:00:00:01:{s:02x}:{n + 1:02x}', addresses, (24, 64))
                self.macs[f's{s}', router['name']] = f'0a:00:00:01:{s:02x}:{n + 1:02x}'
                ports.append(self.insert('Logical_Switch_Port', name=f's{s}-{router["name"]}', type='router', addresses='router', options=['map', [['router-port', name]]]))
                others = [host[3] for host in self.hosts if host[0] == f's{s}'] + [{4: f'10.{s}.0.{m + 1}', 6: f'fd{s:02x}::{m + 1}'} for m in range(len(attached)) if m != n]
                others.append({4: f'10.{s}.0.200', 6: f'fd{s:02x}::200'})  # nobody has it
                self.near[router['name']] += [(f, a[f], name) for a in others for f in (4, 6)]
            self.insert('Logical_Switch', name=f's{s}', ports=['set', ports])
        a, b = r.sample(self.routers, 2)  # a link without a switch
        for n, (router, other) in enumerate(((a, b), (b, a))):
            addresses = {4: f'10.9.0.{n + 1}', 6: f'fd09::{n + 1}'}
            self.port(router, f'{router["name"]}-link', f'0a:00:00:02:00:{n + 1:02x}', addresses, (30, 64), peer=f'{other["name"]}-link')
            self.near[router['name']] += [(4, f'10.9.0.{2 - n}', f'{router["name"]}-link'), (6, f'fd09::{2 - n}', f'{router["name"]}-link')]
        for router in self.routers:
            for family in (4, 6) if router['ports'] else ():
                self.routes(router, family)
            row = {'name': router['name'], 'ports': ['set', router['ports']], 'static_routes': ['set', router['routes']]}
            if router['gateway']:
                row['options'] = ['map', [['chassis', 'somewhere'], *([['lb_force_snat_ip', 'router_ip']] if r.random() < .5 else [])]]
            if r.random() < .6:
                row['load_balancer'] = ['set', self.balancers(router['name'])]
            self.insert('Logical_Router', **row)

    def insert(self, table, **row):
        name = f'row{len(self.rows)}'
        self.rows.append({'op': 'insert', 'table': table, 'uuid-name': name, 'row': row})
        return ['named-uuid', name]

    def port(self, router, name, mac, addresses, lengths, **more):
        self.own += addresses.values()
        router['ports'].append(self.insert('Logical_Router_Port', name=name, mac=mac, networks=['set', [f'{addresses[4]}/{lengths[0]}', f'{addresses[6]}/{lengths[1]}']], **more))

    def routes(self, router, family):
        r, used = self.random, {}
        for _ in range(r.randint(2, 6)):
            prefix, policy = r.choice(PREFIXES[family]), r.choice(('dst-ip', 'dst-ip', 'dst-ip', 'src-ip'))
            if policy == 'src-ip' and prefix.endswith('/0'):
                continue  # has the priority of the flow that drops the rest
            kind = used.setdefault((prefix, policy), r.choices(('near', 'discard', 'far'), (8, 1, 1))[0])
            neighbours = [n for n in self.near[router['name']] if n[0] == family]
            _, nexthop, port = r.choice(neighbours)
            row = {'ip_prefix': prefix, 'nexthop': {'near': nexthop, 'discard': 'discard', 'far': STRANGERS[family][-1]}[kind], 'policy': policy}
            if kind == 'near' and r.random() < .3:
                row['output_port'] = port
            if kind == 'far' and r.random() < .5:
                row['output_port'] = port
            if kind == 'discard' and used.get((prefix, policy, 'once')):
                continue
            used[prefix, policy, 'once'] = True
            router['routes'].append(self.insert('Logical_Router_Static_Route', **row))

    def balancers(self, router):
        """One backend each: which one is chosen is chance."""
        r, vips = self.random, {}
        for family in 4, 6:
            vip = lambda n, port: (f'{VIPS[family]}{n}:{port}' if family == 4 else f'[{VIPS[family]}{n}]:{port}') if port else f'{VIPS[family]}{n}'
            to = lambda port: (lambda a: (f'{a}:{port}' if family == 4 else f'[{a}]:{port}') if port else a)(r.choice(self.hosts)[3][family])
            vips |= {vip(1, 80): to(8080), vip(2, 0): to(0), vip(3, 80): ''}
        as_map = ['map', [list(pair) for pair in vips.items()]]
        return [self.insert('Load_Balancer', name=f'lb-{router}', protocol='tcp', vips=as_map, options=['map', [['reject', r.choice(('true', 'false'))]]])]

    def question(self):
        r = self.random
        switch, port, mac, addresses = r.choice(self.hosts)
        family = r.choice((4, 6))
        router, to = r.choice([(router, m) for (s, router), m in self.macs.items() if s == switch])
        where = r.choices(('host', 'stranger', 'router', 'vip'), (5, 4, 2, 3))[0]
        dst = {'host': lambda: r.choice(self.hosts)[3][family], 'stranger': lambda: r.choice(STRANGERS[family]),
               'router': lambda: r.choice([a for a in self.own if (':' in a) == (family == 6)]),
               'vip': lambda: f'{VIPS[family]}{r.randint(1, 3)}'}[where]()
        protocol = r.choices(('tcp', 'udp', 'icmp'), (5, 2, 2))[0]
        src = addresses[family]
        if family == 4 and r.random() < .15:  # from or to nobody
            where, odd = 'nobody', r.choice(NOBODY)
            src, dst = (src, odd) if odd in ('0.0.0.0', '0.1.2.3', '127.0.0.1') and r.random() < .5 else (odd, dst)
        return {'where': where, 'family': family, 'switch': switch, 'inport': port, 'eth_src': mac, 'eth_dst': to, 'src': src, 'dst': dst,
                'protocol': protocol, 'sport': r.randint(20000, 60000), 'dport': r.choice((80, 80, 443)), 'ttl': r.choice((64, 64, 64, 64, 1, 2, 4))}


def microflow(q):
    family, protocol = f'ip{q["family"]}', q['protocol']
    upper = f'icmp{q["family"]}.type == {8 if q["family"] == 4 else 128} && icmp{q["family"]}.code == 0' if protocol == 'icmp' else \
        f'{protocol}.src == {q["sport"]} && {protocol}.dst == {q["dport"]}'
    return (f'inport == "{q["inport"]}" && eth.src == {q["eth_src"]} && eth.dst == {q["eth_dst"]} && {family}.src == {q["src"]} && {family}.dst == {q["dst"]} && '
            f'ip.ttl == {q["ttl"]} && {upper}')


def traced(text, ports):
    """(ports of switches that the packet comes out of, how it ends there): what comes after an answer or a question of a router's own is not the
    packet's way any more."""
    ends = [('answered', r'(?:icmp4|icmp6|tcp_reset|sctp_abort|reject) \{'), ('unresolved', r'(?:arp|nd_ns) \{')]
    found = sorted((m.start(), name) for name, pattern in ends for m in [re.search(pattern, text)] if m)
    end = found[0] if found else (len(text), 'ended')
    return tuple(p for p in re.findall(r'/\* output to "([^"]+)"', text[:end[0]]) if p in ports), end[1]


def taken(told):
    first = told['first']
    if first['resolved'] is not None:
        return tuple(first['outputs'][:first['resolved']]), 'unresolved'
    answers = first['is'] == 'rejected' or first.get('why') == 'Ttl'
    return tuple(first['outputs']), 'answered' if answers else 'ended'


def same(ours, seen, told):
    """Of packets of IPv6 whose time is over, only neighbours are told; and a router may ask the network for an address of its own."""
    others = {'Ttl': 'ended', 'OwnAddress': 'unresolved'}
    return ours in seen or (ours[0], others.get(told['first'].get('why'))) in seen


def main(program):
    northbound, twin = ovn.Database(ovn.NB, 'OVN_Northbound'), Twin(program)
    cells, wrong, asked, circles = collections.Counter(), 0, 0, 0
    for number in range(SETS):
        the_set = Set(number)
        northbound.empty()
        northbound.transact(*the_set.rows)
        ovn.wait_for_northd()
        tracer = ovn.Tracer(QUESTIONS * ASKS * 4)
        twin.load([ovn.NB])
        ports = {row['row']['name'] for row in the_set.rows if row['table'] == 'Logical_Switch_Port'}
        for _ in range(QUESTIONS):
            q = the_set.question()
            told = twin.ask(q)
            ours, seen, text = taken(told), set(), ''
            if len(ours[0]) > 8 or q['ttl'] == 64 and told['first'].get('why') == 'Ttl':
                circles += 1  # where equal routes are on the way, each round is chance
                continue
            for _ in range(ASKS):
                text = tracer.trace(q['switch'], microflow(q))
                seen.add(traced(text, ports))
                if same(ours, seen, told):
                    break
            asked += 1
            routers = sum(1 for p in ours[0] if re.match(r's\d-r', p))
            cells[q['where'], q['family'], q['protocol'], ours[1], min(routers, 3)] += 1
            if not same(ours, seen, told):
                wrong += 1
                if wrong <= 2:
                    print(f'FAILED: SEED={SEED}, set {number}: {q}\nthe twin: {told["first"]}\novn-trace: {seen}\n{text}')
        tracer.close()
    print(f'{asked} packets through {SETS} sets of routers, seed {SEED}: {wrong} otherwise than ovn-trace has it; {circles} more go in circles')
    rare = []
    for what in 'host', 'stranger', 'router', 'vip', 'nobody':
        for end in ('ended', 'unresolved', 'answered') if what != 'nobody' else ('ended',):
            counts = [sum(n for (w, _, _, e, routers), n in cells.items() if (w, e, routers) == (what, end, c)) for c in range(4)]
            print(f'coverage: to a {what}, {end}:', ', '.join(f'{n} over {c} routers' for c, n in enumerate(counts) if n))
            rare += [f'to a {what}, {end}'] if sum(counts) < 5 else []
    if SETS >= 25 and QUESTIONS >= 80 and rare:
        print('coverage: hit less than five times:', *rare, sep='\n  ')
        return True
    return wrong > 0


if __name__ == '__main__':
    sys.exit(1 if main(sys.argv[1]) else 0)
