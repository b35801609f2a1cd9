"""The samples of real Open vSwitch against those of the twin: random northbounds, and real packets through the node's switch.

Hosts are devices without an address, for whom this sends and answers: connections of TCP, UDP and ICMP, over services and a router, with rejects,
errors and segments that fit nowhere. What a host sends goes to Open vSwitch and, in the same order, to the twin (the crate's example `samples`, once
with Walk and once with Decide). Equal must be, after each round: the packets that come out, and where; and the IPFIX records of all exporters, field
by field, but for times and running totals.

SEED, N (databases), FLOWS (connections in each), WRONG (how many rounds may differ before this gives up); SEED=7/3 is the fourth database of seed 7 alone. The argument is the path of the example."""
import collections
import itertools
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'policy'))
import frames
import nb
import ovn
from frames import ACK, FIN, ICMP, ICMP6, PSH, RST, SYN, TCP, UDP
from nb import ACTIONS, BLOCKS, Ref, Set

SEED, COUNT, FLOWS = os.environ.get('SEED') or '1', int(os.environ.get('N') or 60), int(os.environ.get('FLOWS') or 60)
VARIANTS = ['none', 'one', 'two', 'new', 'mixed', 'one', 'two', 'new', 'mixed']  # what collectors samples have
SETS = {42: 4742, 43: 4743}
SWITCHES = {'sw0': 3, 'sw1': 2}
MARKER = 0x88B5
PATIENCE = 10  # seconds for what must come, however busy the machine is
NARROW = ('drop', 'reject', 'allow-stateless')
VIPS = {4: '172.30.0.', 6: 'fd01::'}


def mac(switch, host):
    return f'0a:00:00:00:{switch:02x}:{host:02x}'


def address(switch, host, family):
    return f'10.0.{switch}.{host + 1}' if family == 4 else f'fd00:{switch}::{host + 1:x}'


ROUTER = 253  # the router's number among the hosts of each switch
HOSTS = [(s, h) for s, count in enumerate(SWITCHES.values()) for h in range(count)]


def port(host):
    return f'sw{host[0]}-p{host[1]}'


class Northbound(nb.Northbound):
    """Two switches with hosts, a router between them, services, and ACLs of all kinds that let most packets through."""

    def __init__(self, chance, variant):
        self.random, self.variant, self.release = chance, variant, '25.03'
        self.rows, self.options = collections.defaultdict(dict), {}
        self.points = iter(chance.sample(range(1, 1 << 32), 500))
        self.apps = {}
        self.named = {}  # point: the ACL whose it is
        self.changed = set()
        if self.maybe(0.2):
            self.options['default_acl_drop'] = 'true'
        if self.maybe(0.2):
            self.options['use_ct_inv_match'] = 'false'
        for number, kind in enumerate(('drop', 'acl-new', 'acl-est'), 1):
            if self.maybe(0.9):
                self.apps[number + 100 * self.maybe(0.3)] = kind
        for number, kind in self.apps.items():
            self.add('Sampling_App', f'app{number}', type=kind, id=number)
        self.collectors = [self.add('Sample_Collector', f'collector{n}', id=n + 1, name=f'c{n}', probability=65535, set_id=set_id) for n, set_id in enumerate(SETS)]
        self.balanced = self.make_balancers()
        self.switches = [self.make_switch(n, name) for n, name in enumerate(SWITCHES)]
        ports = [self.add('Logical_Router_Port', f'lr_{switch}', name=f'lr-{switch}', mac=mac(n, ROUTER), networks=Set(f'{address(n, ROUTER, 4)}/24', f'{address(n, ROUTER, 6)}/64'))
                 for n, switch in enumerate(self.switches)]
        self.add('Logical_Router', 'lr', name='lr', ports=Set(*map(Ref, ports)))
        ports = [f'{switch}_p{n}' for switch, count in SWITCHES.items() for n in range(count)]
        self.groups = [self.add('Port_Group', f'pg{n}', name=f'pg{n}', ports=Set(*map(Ref, chance.sample(ports, 3)))) for n in range(2)]
        self.stateful = self.maybe(0.65)
        self.tiers = chance.choice([[0], [2], [0, 1, 2, 3], [0, 1, 2, 3]])
        held = collections.defaultdict(list)
        priorities = chance.sample(range(1, 16000), 30)
        for n, priority in enumerate(priorities):  # Two of one priority are a matter of chance.
            self.make_acl(f'acl{n}', priority)
            held[chance.choice([*self.switches, *self.groups])].append(Ref(f'acl{n}'))
        for holder, acls in held.items():
            self.rows['Logical_Switch' if holder in self.switches else 'Port_Group'][holder]['acls'] = Set(*acls)

    def make_balancers(self):
        """{(family, protocol): (virtual address, port)}"""
        there = {}
        for n, (family, protocol) in enumerate(itertools.product((4, 6), (TCP, UDP))):
            if self.maybe(0.7):
                vip, backend, of = f'{VIPS[family]}{n + 1}', address(*self.random.choice(HOSTS), family), '[{}]:{}' if family == 6 else '{}:{}'
                backend = of.format(backend, 8080) if self.maybe(0.8) else ''
                self.add('Load_Balancer', f'lb{n}', name=f'lb{n}', protocol='tcp' if protocol == TCP else 'udp', vips={of.format(vip, 80): backend}, options={'reject': 'true'} if self.maybe(0.7) else {})
                there[family, protocol] = vip, 80
        return there

    def make_switch(self, number, name):
        ports = [self.add('Logical_Switch_Port', f'{name}_p{h}', name=f'{name}-p{h}', addresses=Set(' '.join([mac(number, h), address(number, h, 4), address(number, h, 6)])))
                 for h in range(SWITCHES[name])]
        ports.append(self.add('Logical_Switch_Port', f'{name}_r', name=f'{name}-r', type='router', addresses=Set('router'), options={'router-port': f'lr-{name}'}))
        balancers = list(self.rows['Load_Balancer']) if self.maybe(0.8) else []
        return self.add('Logical_Switch', name, name=name, ports=Set(*map(Ref, ports)), load_balancer=Set(*map(Ref, balancers)))

    def make_acl(self, name, priority):
        chance = self.random
        block = chance.choice(BLOCKS)
        actions = {'allow-related': 6 * self.stateful, 'allow': 4, 'allow-stateless': 2 + 2 * (not self.stateful), 'drop': 3, 'reject': 3, 'pass': 4}
        action = chance.choices(list(actions), actions.values())[0]
        priority += 16000 * (action in NARROW)  # else others come before them
        new, est = self.samples(name)
        self.add('ACL', name, name=name, direction='to-lport' if block == 'to-lport' else 'from-lport', priority=priority, tier=chance.choice(self.tiers),
                 match=self.match(block, action), action=action, log=self.maybe(0.2), severity='info', label=chance.choice([0, 0, chance.randrange(1, 1 << 32)]),
                 options={'apply-after-lb': 'true'} if block == 'after-lb' else {}, sample_new=new, sample_est=est)
        for sample in new, est:
            if sample:
                self.named[self.rows['ACL'][name]['label'] or self.rows['Sample'][sample.name]['metadata']] = name, block

    def samples(self, acl):
        chance = self.random
        one, both = [self.collectors[:1]], [self.collectors]
        choices = {'none': [[]], 'one': one, 'two': both, 'new': one, 'mixed': [[], self.collectors[:1], self.collectors[1:], self.collectors]}[self.variant]
        made = [self.add('Sample', f'{acl}_{kind}', metadata=next(self.points), collectors=Set(*map(Ref, collectors))) if (collectors := chance.choice(choices)) else None
                for kind in ('new', 'est')]
        if self.variant == 'new':
            made[1] = None
        elif self.maybe(0.3):  # ovn-kubernetes has one row for both.
            made[1] = made[0]
        return [row and Ref(row) for row in made]

    def match(self, block, action):
        """What stops packets, or keeps them from conntrack, is about few of them, lest nothing else is seen."""
        chance, family = self.random, self.random.choice((4, 6))
        own, other = ('outport', 'src') if block == 'to-lport' else ('inport', 'dst')
        group = chance.choice(self.groups)
        one, some = f'{own} == "{port(chance.choice(HOSTS))}"', f'{own} == @{group}'
        host = f'ip{family}.{other} == {address(*chance.choice(HOSTS), family)}'
        if action in NARROW:
            # Of what is not tracked and leaves to a router, flows of one priority say two things, if there are services (`build_pre_lb`).
            where = one if action == 'allow-stateless' else chance.choice([one, host])
            what = chance.choice([f'ip{family} && tcp.dst == 80', f'tcp.dst == 8080 && ip{family}', 'udp.dst == 80', f'ip{family} && udp.dst == 8080', f'icmp{family}', f'tcp.src == 80 && ip{family}'])
        else:
            # In the egress pipeline, the port of entry is what ovn-kubernetes' egress firewall asks for.
            where = chance.choice([one, some, some, None, f'inport == @{group}'])
            what = chance.choice(['ip', f'ip{family}', 'tcp', 'udp', f'icmp{family}', 'tcp.dst == 80', 'tcp.dst == 8080', 'udp.dst == {80, 8080}', host, f'ip{family} && tcp', f'ip{family} && udp'])
        return ' && '.join(filter(None, [where, what]))

    def change(self):
        """Operations that change what ACLs do, while connections are there."""
        chance = self.random
        for name in chance.sample(list(self.rows['ACL']), 6):
            row = self.rows['ACL'][name]
            row['action'] = chance.choice(['drop', 'reject', 'allow-related' if self.stateful else 'allow'])
            self.changed.add(name)
            yield {'op': 'update', 'table': 'ACL', 'where': [['name', '==', name]], 'row': {'action': row['action']}}


# --- connections

class Flow:
    """One connection: what its ends send in turn. A step is (who sends, what makes the body out of what arrived last)."""

    def __init__(self, chance, made, serial):
        self.client = chance.choice(HOSTS)
        self.family = family = chance.choice((4, 6))
        self.protocol = chance.choice((TCP, TCP, UDP, 'icmp'))
        self.sport, self.dport = 20000 + serial, chance.choice((80, 8080))
        self.number = None
        self.source = address(*self.client, family)
        to = chance.choices(('host', 'vip', 'router', 'stranger'), (14, 7, 1, 1))[0]
        if to == 'vip' and (family, self.protocol) in made.balanced:
            self.target, self.dport = made.balanced[family, self.protocol]
            near = None
        else:
            host = chance.choice([host for host in HOSTS if host != self.client])
            if to == 'router':
                host = self.client[0], ROUTER
            self.target = address(*host, family) if to != 'stranger' else ('203.0.113.9', '2001:db8::9')[family == 6]
            near = mac(*host) if to != 'stranger' and host[0] == self.client[0] else None
        self.next_hop = near or mac(self.client[0], ROUTER)
        if self.protocol == 'icmp':
            self.protocol = ICMP if family == 4 else ICMP6
        self.kind = chance.choices(('whole', 'error', 'stray'), (8, 2, 1))[0]
        if self.kind == 'error' and self.target.startswith(VIPS[6]):
            self.kind = 'whole'  # Of an error about a translated packet of IPv6, Open vSwitch 3.5.0 spoils the addresses (`nat_inner_packet`).
        self.steps = self.script(chance)
        self.at, self.tries = 0, 0
        self.received = None  # what the server got last
        self.sent = {'c': 1000, 's': 5000}

    def script(self, chance):
        c, s = 'c', 's'
        if self.kind == 'stray':
            return [(c, chance.choice((ACK, SYN | ACK, RST, FIN | ACK)) if self.protocol == TCP else 'answer' if self.protocol != UDP else 'ask')]
        if self.protocol == TCP:
            opening, middle = [(c, SYN), (s, SYN | ACK), (c, ACK)], [(c, PSH | ACK), (s, ACK), (s, PSH | ACK), (c, ACK)] * 2
            error = [(s, 'error'), (c, ACK)] if self.kind == 'error' else []
            ending = chance.choice([[(c, FIN | ACK), (s, FIN | ACK), (c, ACK)], [(c, RST | ACK)], [(s, FIN | ACK), (c, FIN | ACK), (s, ACK)]])
            return opening + middle + error + ending
        return [(c, 'ask'), (s, 'answer')] * 2 + ([(c, 'ask'), (s, 'error'), (c, 'error')] if self.kind == 'error' else []) + [(c, 'ask'), (s, 'answer')] * 2

    def over(self):
        return self.at >= len(self.steps) or self.tries > 1

    def packet(self, number):
        """(port, frame) of the next step."""
        who, what = self.steps[self.at]
        self.number = number
        if who == 'c':
            ends = mac(*self.client), self.next_hop, self.source, self.target
            sport, dport, about = self.sport, self.dport, self.answered
            where = self.client
        else:
            r = self.received
            ends = r['eth_dst'], r['eth_src'], r['dst'], r['src']
            sport, dport, about = r.get('dport'), r.get('sport'), r
            where = self.server
        if what == 'error':
            kind, code = (3, 1) if self.family == 4 else (1, 4)
            body, protocol = frames.icmp(kind, code, 0, about['l3'][:60]), ICMP if self.family == 4 else ICMP6
        elif self.protocol == TCP:
            data = frames.PAYLOAD if what & PSH else b''
            body, protocol = frames.tcp(sport, dport, what, self.sent[who], self.sent['s' if who == 'c' else 'c'] if what & ACK else 0, data), TCP
            self.moved = len(data) + bool(what & (SYN | FIN))
        elif self.protocol == UDP:
            body, protocol = frames.udp(sport, dport), UDP
        else:
            asks, answers = (8, 0) if self.family == 4 else (128, 129)
            body, protocol = frames.icmp(asks if what == 'ask' else answers, 0, self.sport << 16 | self.at), self.protocol
        return port(where), frames.frame(*ends, protocol, body, number)

    answered = None

    def arrived(self, arrivals):
        """[(port, headers)] of what was sent last."""
        who, what = self.steps[self.at]
        mine = port(self.client)
        there = [(p, told) for p, told in arrivals if p == mine or who == 'c']
        if not there:
            self.tries += 1
            return
        if who == 'c':
            name, self.received = there[0]
            self.server = next(h for h in HOSTS if port(h) == name)
            if (self.received.get('kind') in (0, 129)) and what == 'ask':
                self.at = len(self.steps)  # The router has answered.
        else:
            self.answered = there[0][1]
        if self.protocol == TCP and what != 'error':
            self.sent[who] += self.moved
        self.at, self.tries = self.at + 1, 0


# --- Open vSwitch

def sh(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Switch:
    """The node's switch with a device for each host, and collectors of IPFIX."""

    def __init__(self):
        self.sockets, self.of_port, self.markers = {}, {}, collections.Counter()
        for n, host in enumerate(HOSTS):
            sh('ip', 'link', 'add', f'v{n}', 'type', 'veth', 'peer', 'name', f'e{n}')
            for device in f'v{n}', f'e{n}':
                subprocess.run(['ethtool', '-K', device, *'tx off rx off gso off tso off gro off'.split()], capture_output=True)
                sh('ip', 'link', 'set', device, 'addrgenmode', 'none', 'mtu', '1500', 'up')
            sh('ovs-vsctl', 'add-port', 'br-int', f'v{n}', '--', 'set', 'Interface', f'v{n}', f'external_ids:iface-id={port(host)}')
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            s.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
            s.bind((f'e{n}', 3))
            self.of_port[port(host)] = s
            self.sockets[s] = port(host)
        for set_id, udp in SETS.items():
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)
            s.bind(('127.0.0.1', udp))
            self.sockets[s] = set_id
            sh('ovs-vsctl', '--', '--id=@b', 'get', 'Bridge', 'br-int', '--', '--id=@i', 'create', 'IPFIX', f'targets="127.0.0.1:{udp}"', '--', 'create', 'Flow_Sample_Collector_Set',
               f'id={set_id}', 'bridge=@b', 'ipfix=@i')
        for s in self.sockets:
            s.setblocking(False)
        # Sequence numbers are not modelled: those of the resets that ovn-controller makes are not always in the window.
        sh('ovs-appctl', 'dpctl/ct-disable-tcp-seq-chk')
        self.templates, self.outputs, self.records = {}, [], []

    def ready(self):
        """After a change: nothing old is left, not even of what packets have taught the datapath."""
        sh('ovs-ofctl', 'add-flow', 'br-int', f'table=0,priority=65535,dl_type={MARKER:#x},actions=in_port')
        sh('ovs-appctl', 'revalidator/purge')

    def mark(self):
        for s in self.of_port.values():
            s.send(bytes(12) + struct.pack('>H', MARKER) + bytes(46))

    def read(self, timeout):
        readable = select.select(list(self.sockets), [], [], timeout)[0]
        for s in readable:
            what = self.sockets[s]
            while True:
                try:
                    data, place = s.recvfrom(1 << 16)
                except BlockingIOError:
                    break
                if isinstance(what, int):
                    self.records += read_ipfix(self.templates, (what,), data)
                elif place[2] != socket.PACKET_OUTGOING:
                    if data[12:14] == struct.pack('>H', MARKER):
                        self.markers[what] += 1
                    else:
                        self.outputs.append((what, data))
        return bool(readable)

    def until(self, enough):
        """Reads until markers came back twice and there is enough, or time is over."""
        deadline = time.monotonic() + PATIENCE
        for _ in range(2):
            self.markers.clear()
            self.mark()
            while len(self.markers) < len(self.of_port):
                self.read(max(0, deadline - time.monotonic()))
                if time.monotonic() > deadline:
                    raise SystemExit('the markers do not come back')
        while not enough():
            if time.monotonic() > deadline:
                break
            self.read(max(0, deadline - time.monotonic()))
        outputs, records = self.outputs, self.records
        self.outputs, self.records = [], []
        return outputs, records


# --- IPFIX (RFC 7011)

# Times, totals that run on, and whether a packet was dropped: Open vSwitch looks the actions up by a hash of the headers as they are now, and so
# knows that of the packet alone for which a flow of the datapath was made, if nothing was rewritten (`dpif_get_actions`).
VOLATILE = {19, 85, 86, 132, 133, 134, 135, 158, 159, 160, 174, 175, 199, 353, 354, 355, 356, 357, 358, *range(218, 224)}
STATISTICS = 462  # What Open vSwitch says of an exporter itself.


def read_ipfix(templates, exporter, message, lenient=False):
    """The records of a message: sets of (information element, bytes), with the exporter and its domain. If it is lenient, those without a template
    are left out."""
    domain, = struct.unpack_from('>I', message, 12)
    at, found = 16, []
    while at + 4 <= len(message):
        set_id, length = struct.unpack_from('>HH', message, at)
        body, at = message[at + 4:at + length], at + length
        if set_id in (2, 3):
            learn(templates, (*exporter, domain), body, set_id == 3)
            continue
        fields = None if set_id == STATISTICS or lenient and ((*exporter, domain), set_id) not in templates else templates[(*exporter, domain), set_id]
        if fields is None:
            continue  # statistics
        place = 0
        while place < len(body):
            record = []
            for element, size in fields:
                if size == 0xFFFF:
                    size, place = body[place], place + 1
                record.append((element, body[place:place + size]))
                place += size
            found.append((*exporter, domain, tuple((e, v) for e, v in record if e not in VOLATILE)))
    return found


def learn(templates, exporter, body, options):
    at = 0
    while at + 4 <= len(body):
        template, count = struct.unpack_from('>HH', body, at)
        at += 6 if options else 4
        fields = []
        for _ in range(count):
            element, size = struct.unpack_from('>HH', body, at)
            at += 8 if element & 0x8000 else 4
            fields.append(((element & 0x7FFF) + (1 << 16) * bool(element & 0x8000), size))
        templates[exporter, template] = None if options else fields


def shown(record):
    *exporter, domain, fields = record
    fields = dict(fields)
    number = lambda element: int.from_bytes(fields.get(element, b''), 'big')
    return (f'set {exporter[-1]} domain {domain:#010x} point {number(138)} protocol {number(4)} {fields.get(8, fields.get(27, b"")).hex()}:{number(7)} > '
            f'{fields.get(12, fields.get(28, b"")).hex()}:{number(11)} flags {number(6)} ' + ' '.join(f'{e}={v.hex()}' for e, v in fields.items()))


# --- the judge

class Twin:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.templates = {}

    def load(self, keys, keep=False):
        with open('/tmp/nb.json', 'w') as file:
            subprocess.run(['ovsdb-client', 'dump', '-f', 'json', f'unix:{ovn.NB}', 'OVN_Northbound'], stdout=file, check=True)
        interfaces = {port(host): (socket.if_nametoindex(f'v{n}'), f'v{n}') for n, host in enumerate(HOSTS)}
        self.say({'zones': ['/tmp/nb.json'], 'keys': [keys], 'interfaces': [interfaces], 'sets': list(SETS), 'keep': keep})
        self.templates.clear()

    def say(self, line):
        self.process.stdin.write(json.dumps(line) + '\n')
        self.process.stdin.flush()

    def send(self, name, frame):
        """(what becomes of it, [(port, frame)], records)"""
        told = self.ask(name, frame)
        records = [record for _, set_id, message in told['ipfix'] for record in read_ipfix(self.templates, (set_id,), bytes.fromhex(message))]
        return told['is'], [(p, bytes.fromhex(f)) for p, f in told['outputs']], records

    def ask(self, name, frame):
        self.say({'port': name, 'frame': frame.hex(), 'at': time.monotonic_ns()})
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit('the twin ended')
        told = json.loads(line)
        if 'differ' in told:
            raise SystemExit(f'FAILED: Walk and Decide differ: {line}')
        return told


def headers(outputs):
    """What is compared of packets that come out."""
    told = ((name, frames.read(data)) for name, data in outputs)
    return collections.Counter((name, tuple((k, v) for k, v in t.items() if k not in ('l3', 'data', 'seq', 'ack')) if t else None) for name, t in told)


class Judge:
    def __init__(self, program):
        self.northbound, self.southbound = ovn.Database(ovn.NB, 'OVN_Northbound'), ovn.Database(ovn.SB, 'OVN_Southbound')
        self.twin, self.switch = Twin(program), Switch()
        self.cells = collections.Counter()
        self.wrong = self.sent = self.sampled = 0

    def load(self, keep=False):
        sh('ovn-nbctl', f'--db=unix:{ovn.NB}', '--wait=hv', '--timeout=60', 'sync')
        if not keep:
            sh('ovs-appctl', 'dpctl/flush-conntrack')
        self.switch.ready()
        keys = {dict(row['external_ids'][1])['name']: row['tunnel_key'] for row in self.southbound.rows('Datapath_Binding', 'external_ids', 'tunnel_key')}
        self.twin.load(keys, keep)

    def database(self, seed, place):
        chance = random.Random(f'{seed}/{place}')
        made = Northbound(chance, VARIANTS[place % len(VARIANTS)])
        self.northbound.empty()
        self.northbound.transact(*made.operations())
        self.load()
        flows = [Flow(chance, made, n) for n in range(FLOWS)]
        numbers = itertools.count(1)
        changes = self.maybe_changes(chance)
        for turn in itertools.count():
            if turn in changes:
                self.northbound.transact(*made.change())
                self.load(keep=True)
            live = [flow for flow in flows if not flow.over()]
            if not live:
                break
            if not self.round(f'SEED={seed}/{place} round {turn}', made, live, numbers):
                return

    def maybe_changes(self, chance):
        return (5,) if chance.random() < .5 else ()

    def round(self, where, made, flows, numbers):
        sent = [(flow, *flow.packet(next(numbers))) for flow in flows]
        outputs, records, told = collections.Counter(), collections.Counter(), {}
        for flow, name, frame in sent:
            what, out, sampled = self.twin.send(name, frame)
            outputs += headers([(p, f) for p, f in out if p in self.switch.of_port])
            records.update(sampled)
            told[flow.number] = what
            self.cells['end', what] += 1
        for _, name, frame in sent:
            self.switch.of_port[name].send(frame)
        switch = self.switch
        real_outputs, real_records = switch.until(lambda: headers(switch.outputs) == outputs and collections.Counter(switch.records) == records)
        self.sent += len(sent)
        self.sampled += len(real_records)
        seen, sampled = headers(real_outputs), collections.Counter(real_records)
        self.cover(made, sampled)
        if (seen, sampled) != (outputs, records):
            self.wrong += 1
            differ = []
            for who, out, some in ('real', seen - outputs, sampled - records), ('twin', outputs - seen, records - sampled):
                lines = [f'  only {who}: {p} {dict(h) if h else "not IP"} x{n}' for (p, h), n in out.items()] + [f'  only {who}: {shown(r)} x{n}' for r, n in some.items()]
                differ += lines[:6] + [f'  only {who}: {len(lines) - 6} more'] * (len(lines) > 6)
            print(f'FAILED: {where}', *differ, sep='\n')
            for flow, name, frame in sent:
                if any(str(flow.sport) in line for line in differ):
                    t = frames.read(frame)
                    print('   ', name, told[flow.number], flow.at, {k: v for k, v in t.items() if k not in ('l3', 'data', 'eth_src', 'eth_dst')})
            return False
        arrivals = collections.defaultdict(list)
        for name, data in real_outputs:
            t = frames.read(data)
            if t:
                arrivals[t['number']].append((name, t))
        for flow, _, _ in sent:
            flow.arrived(arrivals[flow.number])
        return True

    def cover(self, made, records):
        for record, count in records.items():
            fields = dict(record[-1])
            name, block = made.named[int.from_bytes(fields[138], 'big')]
            row = made.rows['ACL'][name]
            action = row['action']
            protocol = {TCP: 'tcp', UDP: 'udp'}.get(fields[4][0], 'icmp')
            if protocol == 'icmp':
                way = {8: 'original', 128: 'original', 0: 'reply', 129: 'reply'}.get(fields.get(176, fields.get(178))[0], 'error')
            else:
                way = 'original' if int.from_bytes(fields[7], 'big') >= 20000 else 'reply'
            app = made.apps.get(record[-2] >> 24, 'none')
            self.cells['action', action, block, protocol] += count
            self.cells['variant', made.variant, app, way, protocol] += count
            self.cells['state', action, block, app, way] += count
            self.cells['kind', made.variant, action, block] += count
            self.cells['tier', row['tier'], block] += count
            self.cells['beside', 'log' if row['log'] else 'no log', 'label' if row['label'] else 'no label', app] += count
            self.cells['default', made.options.get('default_acl_drop', 'false'), app] += count
            self.cells['changed', name in made.changed, action, way] += count
            if block == 'to-lport' and row['match'].startswith('inport'):
                self.cells['egress firewall', action, app, way] += count


def main(program):
    judge = Judge(program)
    seed, _, alone = SEED.partition('/')
    for place in [int(alone)] if alone else range(COUNT):
        judge.database(seed, place)
        if judge.wrong >= int(os.environ.get('WRONG') or 3):
            break
    print(f'{judge.sent} packets through {1 if alone else COUNT} northbounds, {judge.sampled} records, {judge.wrong} rounds differ')
    rare = coverage(judge.cells) if not alone and COUNT >= 40 else []
    print(*rare[:40], 'FAILED' if rare or judge.wrong else 'ok', sep='\n')
    sys.exit(bool(judge.wrong or rare))


def wanted():
    """The cells that there are."""
    product = itertools.product
    variants, protocols, ways = VARIANTS[1:5], ('tcp', 'udp', 'icmp'), ('original', 'reply')
    yield from (('action', *cell) for cell in product(ACTIONS, BLOCKS, protocols))
    yield from (('kind', *cell) for cell in product(variants, ACTIONS, BLOCKS))
    yield from (('variant', *cell) for cell in product(variants, ('acl-new', 'acl-est'), ways, protocols)
                if cell[:2] != ('new', 'acl-est') and cell[1:3] != ('acl-new', 'reply'))
    yield from (('variant', variant, 'acl-new', 'reply', 'tcp') for variant in variants)
    yield from (('variant', variant, 'acl-est', 'error', 'icmp') for variant in variants if variant != 'new')
    yield from (('state', *cell) for cell in product(('allow', 'allow-related'), BLOCKS, ('acl-est',), ways))
    yield from (('tier', *cell) for cell in product(range(4), BLOCKS))
    # A label is the point, and belongs to no application.
    yield from (('beside', log, *cell) for log in ('log', 'no log') for cell in (('label', 'none'), ('no label', 'acl-new'), ('no label', 'acl-est')))
    yield from (('default', *cell) for cell in product(('true', 'false'), ('acl-new', 'acl-est')))
    yield from (('changed', True, action, 'original') for action in ('drop', 'reject', 'allow-related'))
    yield from (('egress firewall', 'allow', *cell) for cell in (('acl-new', 'original'), ('acl-est', 'original')))
    for end in 'delivered', 'lost NoBackends', *(f'{word} {stage}_action' for word in ('dropped', 'rejected') for stage in ('ls_in_acl', 'ls_in_acl_after_lb', 'ls_out_acl')):
        yield 'end', end


def coverage(cells):
    """Prints what was exercised how often; the cells that never were."""
    kinds = collections.defaultdict(list)
    for kind, *cell in wanted():
        kinds[kind].append((kind, *cell))
    for kind, there in kinds.items():
        print(f'  {kind}: {len(there)} cells, each at least {min(cells[cell] for cell in there)} times')
    return [f'never: {" ".join(map(str, cell))}' for there in kinds.values() for cell in there if not cells[cell]]


if __name__ == '__main__':
    main(sys.argv[1])
