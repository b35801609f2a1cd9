"""Walks through the ACL stages, ours (the example `walk` of crates/pipeline, whose path is the argument) against real ovn-trace: random northbound
databases (nb.py), and random packets that conntrack knows something of. For each packet the verdict must be the same, each flow that matched in an
ACL stage, each sample with its point, each log line, and each commit with the mark and the label that it leaves.

SEED, N (databases) and PACKETS (for each) are read from the environment; SEED=seed/number makes one database alone."""
import collections
import itertools
import json
import os
import random
import re
import subprocess
import sys

sys.path[0] = os.path.join(sys.path[0], '..')  # Not this directory, which has a module `policy` too.

import twin.nb as nb
from twin.nb import Ref, Set
from policy.ovn import NB, SB, Connection, Database, Tracer, wait_for_northd

SEED = os.environ.get('SEED', '12')
COUNT, PACKETS = int(os.environ.get('N') or 150), int(os.environ.get('PACKETS') or 170)
VARIANTS = ['one', 'several', 'mixed', 'one', 'none']
LEAST = 5
BITS = {'new': 1, 'est': 2, 'rel': 4, 'rpl': 8, 'inv': 16, 'trk': 32}
STATES = {'new': 30, 'est': 30, 'est,rpl': 12, 'rel': 6, 'rel,rpl': 6, 'inv': 3, 'new,rel': 3, 'est,rel': 3, 'trk': 2}
STAGE = re.compile(r'ls_(in|out)_(pre_acl|acl_\w+|stateful)$')

# What ACLs ask for, and packets that have it.
SERVICES = {
    'tcp.dst == 80': dict(protocol=6, port=80), 'udp.dst == {53, 5353}': dict(protocol=17, port=53), 'sctp.dst == 1024': dict(protocol=132, port=1024),
    'ip4 && tcp': dict(protocol=6, family=4), 'ip6 && udp': dict(protocol=17, family=6), 'icmp4': dict(protocol=1, family=4), 'icmp6': dict(protocol=58, family=6),
    'ip4.{other} == $as4': dict(family=4), 'ip6.{other} == $as6': dict(family=6), 'ip4.{other} == ${group}_ip4': dict(family=4), 'ip6.{other} == ${group}_ip6': dict(family=6),
    'ip4.{other} == 10.0.0.0/16 && tcp.flags == 2/2': dict(family=4, protocol=6), 'ip': {}, 'arp': dict(protocol='arp'), 'eth.type == 0x88cc': dict(protocol='other'),
    'tcp || udp': {}, '1': {}, 'ip.ttl == 64 && 79 < tcp.dst <= 81': dict(protocol=6, port=81), 'ct.est && ip4': dict(family=4)}
BROAD = ('ip', '1', 'tcp || udp')


class Northbound(nb.Northbound):
    """One whose packets get somewhere: every switch has ports for machines, a router's and one to the outside."""

    def make_balancers(self):
        self.balanced = {}

    def make_switch(self, number):
        name, ports = f'sw{number}', []
        for n in range(3):
            ports.append(self.add('Logical_Switch_Port', f'{name}_p{n}', name=f'{name}-p{n}', addresses=Set(' '.join([mac(number, n), *addresses(number, n)]))))
        ports.append(self.add('Logical_Switch_Port', f'{name}_ln', name=f'{name}-ln', type='localnet', addresses=Set('unknown'), options={'network_name': 'phys'}))
        ports.append(self.add('Logical_Switch_Port', f'{name}_r0', name=f'{name}-r0', type='router', addresses=Set('router'),
                              options={'router-port': f'lr-{name}', **({'enable_router_port_acl': 'true'} if self.maybe(0.2) else {})}))
        balancers = []
        if self.maybe(0.5):
            v4, v6 = addresses(number, 1)
            self.balanced[name] = {('172.30.0.1', 6): (v4, 8080), ('fd01::1', 17): (v6, 5353)}
            balancers = [self.add('Load_Balancer', f'{name}_lb4', name=f'{name}-lb4', protocol='tcp', vips={'172.30.0.1:80': f'{v4}:8080'}),
                         self.add('Load_Balancer', f'{name}_lb6', name=f'{name}-lb6', protocol='udp', vips={'[fd01::1]:53': f'[{v6}]:5353'})]
        return self.add('Logical_Switch', name, name=name, ports=Set(*map(Ref, ports)), load_balancer=Set(*map(Ref, balancers)), load_balancer_group=Set())

    def make_router(self):
        ports = [self.add('Logical_Router_Port', f'lr_{switch}', name=f'lr-{switch}', mac=mac(number, 9), networks=Set(f'10.0.{number}.254/24', f'fd00:{number}::fe/64'))
                 for number, switch in enumerate(self.switches)]
        self.add('Logical_Router', 'lr', name='lr', ports=Set(*map(Ref, ports)))

    def make_addresses(self):
        self.add('Address_Set', 'as4', name='as4', addresses=Set(addresses(0, 0)[0], addresses(1, 1)[0], '203.0.113.0/24'))
        self.add('Address_Set', 'as6', name='as6', addresses=Set(addresses(0, 0)[1], addresses(1, 1)[1], '2001:db8::/32'))

    def make_group(self, number):
        ports = [port for port, row in self.rows['Logical_Switch_Port'].items() if not row.get('type')]
        return self.add('Port_Group', f'pg{number}', name=f'pg{number}', ports=Set(*map(Ref, self.random.sample(ports, min(len(ports), 3)))))

    def make_acls(self, count):
        self.aims = {}
        super().make_acls(min(count, 14))
        # Two that match with the same priority are a matter of chance.
        priorities = self.random.sample(range(1, 32767), len(self.rows['ACL']))
        if self.maybe(0.2):  # Few of nb.py's databases have no stateful switch, and other actions too.
            for acl in self.rows['ACL'].values():
                acl['action'] = {'allow-related': 'reject'}.get(acl['action'], acl['action'])
        late = self.maybe(0.35)  # Late tiers are reached where the early ones say nothing.
        for acl, priority in zip(self.rows['ACL'].values(), priorities):
            if late:
                acl['tier'] = self.random.choice([1, 1, 2, 2, 3, 3, 3])
            if self.maybe(0.97):
                acl['priority'] = priority

    def make_acl(self, number):
        name = super().make_acl(number)
        row = self.rows['ACL'][name]
        if 'allow-related' in self.usual_actions and self.maybe(0.2):
            row['action'] = 'allow-related'
        if row['action'] in ('allow', 'allow-related') and self.maybe(0.4):  # Each alone is common; together they are seldom.
            row |= {'log': True, 'label': self.random.randrange(1, 1 << 32), 'options': {**row['options'], 'log-related': 'true'}}
        return name

    def match(self, block):
        random = self.random
        port, other = ('outport', 'src') if block == 'to-lport' else ('inport', 'dst')
        group, name = random.choice(self.groups), random.choice(self.plain_ports())
        text = random.choices(list(SERVICES), [1 if text in BROAD else 6 if text == 'arp' else 3 for text in SERVICES])[0]
        what = text.replace('{other}', other).replace('{group}', group)
        where, aim = random.choice([(f'{port} == @{group}', None), (f'{port} == {json.dumps(name)}', name), (None, None), (None, None)])
        match = ' && '.join(filter(None, [where, f'({what})' if '||' in what else what]))
        self.aims[match] = aim, SERVICES[text]
        return match

    def plain_ports(self):
        return [port['name'] for port in self.rows['Logical_Switch_Port'].values() if not port.get('type')]


def mac(switch, port):
    return f'0a:00:00:00:{switch:02x}:{port + 1:02x}'


def addresses(switch, port):
    return f'10.0.{switch}.{port + 1}', f'fd00:{switch}::{port + 1}'


class Question:
    """A packet in a switch, as ovn-trace and as we are asked."""

    def __init__(self, chance, northbound, states):
        switch = chance.choice(northbound.switches)
        number = northbound.switches.index(switch)
        self.switch, self.family, self.states = switch, chance.choice([4, 4, 6]), states
        acls = northbound.on_switch(switch)
        rows = [northbound.rows['ACL'][acl] for acl in acls]
        aimed = chance.choices(rows, [(1 + row['tier']) * (1 + (row['action'] in ('allow-related', 'allow-stateless'))) for row in rows])[0] if rows and chance.random() < 0.85 else None
        port, wanted = northbound.aims[aimed['match']] if aimed else (None, {})
        self.family = wanted.get('family', self.family)
        self.protocol = wanted.get('protocol') or chance.choice([6, 6, 17, 132, 1, 'nd', 'frag', 'odd'])
        self.protocol = {(1, 6): 58, (58, 4): 1, ('nd', 4): 17}.get((self.protocol, self.family), self.protocol)
        ends = [f'{switch}-p{n}' for n in range(3)] + [f'{switch}-r0', f'{switch}-ln']
        # Neighbour discovery at a router's port is the one thing that two flows of ls_out_pre_lb take.
        source, target = chance.sample(ends, 2) if chance.random() < 0.4 and self.protocol != 'nd' else chance.sample(ends[:3], 2)
        if port in ends and aimed['direction'] == 'to-lport' and source != port:
            target = port
        elif port in ends and target != port:
            source = port
        self.inport, self.outport = source, target
        macs = {f'{switch}-r0': mac(number, 9), f'{switch}-ln': '0a:00:00:00:ff:ff', **{f'{switch}-p{n}': mac(number, n) for n in range(3)}}
        self.macs = macs[source], macs[target]
        self.addresses = tuple(self.address(chance, number, end) for end in (source, target))
        self.ports = chance.choice([40000, 80, 53]), wanted.get('port') or chance.choice([80, 53, 1024, 81, 9999])
        self.flags, self.ttl = chance.choice([2, 2, 0x12, 0x10, 0x11, 4]), chance.choice([64, 64, 64, 1, 255])
        self.balanced = None
        vips = northbound.balanced.get(switch)
        if vips and self.protocol in (6, 17) and source != f'{switch}-p1' and chance.random() < 0.5:
            # Of a service, to the machine behind it.
            self.protocol = {4: 6, 6: 17}[self.family]
            vip, port = {4: ('172.30.0.1', 80), 6: ('fd01::1', 53)}[self.family]
            # Not from the address of that machine: that would be sent back.
            own = addresses(number, int(source[-1]))[self.family == 6] if source[-2] == 'p' else {4: '203.0.113.7', 6: '2001:db8::7'}[self.family]
            self.addresses, self.ports, self.balanced = (own, vip), (self.ports[0], port), vips[vip, self.protocol]
            self.outport, self.macs = f'{switch}-p1', (self.macs[0], macs[f'{switch}-p1'])
        self.mark, self.label = self.known(chance, northbound, aimed)

    def address(self, chance, number, end):
        if end[-2] == 'p' and chance.random() < 0.9:
            return addresses(number, int(end[-1]))[self.family == 6]
        return chance.choice([('203.0.113.7', '2001:db8::7'), ('198.51.100.1', 'fd77::1'), addresses(0, 0), addresses(1, 1)])[self.family == 6]

    def known(self, chance, northbound, aimed):
        """Mark and label of the connection: what an ACL may have left there, and what not."""
        if chance.random() < 0.2:
            return chance.getrandbits(32), chance.getrandbits(128)
        mark = (chance.random() < 0.35) | (chance.random() < 0.1) << 6
        related = [row['label'] for row in northbound.rows['ACL'].values() if row['log'] and row['label'] and row['options'].get('log-related') == 'true']
        if related and chance.random() < 0.2:
            return 0, chance.choice(related) << 96
        reference = aimed and aimed.get('sample_est')
        if not reference or chance.random() < 0.2:
            return mark, chance.choice([0, (aimed or {}).get('label', 0) << 96])
        sample = northbound.rows['Sample'][reference.name]
        block = nb.BLOCKS.index('after-lb' if aimed['direction'] == 'from-lport' and aimed['options'].get('apply-after-lb') == 'true' else aimed['direction'])
        collectors = [northbound.rows['Sample_Collector'][c.name]['id'] for c in sample['collectors']]
        return mark | block << 4 | (collectors[0] if len(collectors) == 1 else 0) << 16, (aimed['label'] or sample['metadata']) << 96

    def microflow(self):
        terms = [f'inport == "{self.inport}"', f'eth.src == {self.macs[0]}', f'eth.dst == {self.macs[1]}', f'ct_mark == {self.mark:#x}', f'ct_label == {self.label:#x}']
        family, (a, b) = f'ip{self.family}', self.ports
        if self.protocol == 'arp':
            return ' && '.join([*terms, 'arp.op == 2'])
        if self.protocol == 'other':
            return ' && '.join([*terms, 'eth.type == 0x88cc'])
        terms += [f'{family}.src == {self.addresses[0]}', f'{family}.dst == {self.addresses[1]}', f'ip.ttl == {255 if self.protocol == "nd" else self.ttl}']
        transport = {6: 'tcp', 17: 'udp', 132: 'sctp'}.get(self.protocol)
        if transport:
            terms += [f'{transport}.src == {a}', f'{transport}.dst == {b}'] + [f'tcp.flags == {self.flags}'] * (transport == 'tcp')
        elif self.protocol == 'nd':
            terms += ['icmp6.type == 136', 'icmp6.code == 0', f'nd.target == {self.addresses[0]}']
        elif self.protocol in (1, 58):
            kind, code = self.icmp()
            terms += [f'icmp{self.family}.type == {kind}', f'icmp{self.family}.code == {code}']
        elif self.protocol == 'frag':
            terms += ['ip.proto == 50', 'ip.frag == 1']
        else:
            terms += ['ip.proto == 50']
        return ' && '.join(terms)

    def icmp(self):
        return {1: [(8, 0), (3, 4), (3, 1)], 58: [(128, 0), (2, 0), (1, 4)]}[self.protocol][self.ports[1] % 3]

    def ours(self):
        packet = {'eth': self.macs, 'eth_type': {'arp': 0x806, 'other': 0x88cc}.get(self.protocol, {4: 0x800, 6: 0x86dd}[self.family])}
        if self.protocol not in ('arp', 'other'):
            packet |= {'ip': self.addresses, 'ttl': 255 if self.protocol == 'nd' else self.ttl, 'protocol': {'nd': 58, 'frag': 50, 'odd': 50}.get(self.protocol, self.protocol),
                       'l4': (136, 0) if self.protocol == 'nd' else self.icmp() if self.protocol in (1, 58) else self.ports, 'tcp_flags': self.flags,
                       'fragment': int(self.protocol == 'frag'), **({'target': self.addresses[0]} if self.protocol == 'nd' else {})}
        return {'switch': self.switch, 'inport': self.inport, 'outport': self.outport, 'packet': packet, 'mark': self.mark, 'label': f'{self.label:x}',
                'states': [number(state) for state in self.states], 'balanced': self.balanced}


def number(state):
    return sum(BITS[word] for word in f'{state},trk'.split(',')) if state != 'trk' else BITS['trk']


class Registers:
    """What ovn-trace's actions write, as far as samples and commits read it."""
    PARTS = {'ct_mark.blocked': ('ct_mark', 0, 1), 'ct_mark.allow_established': ('ct_mark', 6, 1), 'ct_mark.obs_stage': ('ct_mark', 4, 2),
             'ct_mark.obs_collector_id': ('ct_mark', 16, 8), 'ct_label.obs_point_id': ('ct_label', 96, 32), 'ct_label.acl_id': ('ct_label', 80, 16)}

    def __init__(self, mark, label):
        self.known = collections.Counter({'ct_mark': mark, 'ct_label': label})

    def forget(self):
        self.known = collections.Counter({name: self.known[name] for name in ('ct_mark', 'ct_label')})

    def place(self, text):
        if text in self.PARTS:
            return self.PARTS[text]
        at = re.fullmatch(r'(\w+)(?:\[(\d+)(?:\.\.(\d+))?\])?', text)
        low = int(at[2] or 0)
        return at[1], low, (int(at[3] or low) - low + 1 if at[2] else 32)

    def read(self, text):
        if text == '$cookie':  # of the flow's row, which NB does not know
            return 0
        if re.fullmatch(r'\d+|0x[0-9a-f]+', text):
            return int(text, 0)
        name, low, width = self.place(text)
        return self.known[name] >> low & (1 << width) - 1

    def assign(self, to, what):
        name, low, width = self.place(to)
        self.known[name] = self.known[name] & ~((1 << width) - 1 << low) | self.read(what) << low

    def committed(self, text):
        after = Registers(self.known['ct_mark'], self.known['ct_label'])
        after.known = self.known.copy()
        for to, what in re.findall(r'([\w.]+) = ([^;]+);', text):
            name, low, width = self.place(to)
            after.known[name] = after.known[name] & ~((1 << width) - 1 << low) | self.read(what) << low
        return after.known['ct_mark'], f'{after.known["ct_label"]:x}'


def read_trace(text, question):
    """What a trace says: (verdict, events, steps, how many states of conntrack it used up)."""
    used = len(re.findall(r'^ *ct_next\(ct_state=|^ *ct_lb_mark(?: /\*.*\*/)?$', text, re.M))
    registers, events, steps, stage, verdict = Registers(question.mark, question.label), [], [], None, None
    for line in text.splitlines():
        line = line.strip()
        at = re.match(r'\d+\. (\w+)(?: \(\S+\))?: (.*), priority (\d+), uuid [0-9a-f]+$', line)
        if at:
            stage = at[1]
            if STAGE.match(stage):
                steps.append([stage, int(at[3]), at[2]])
        elif line.startswith('egress('):
            registers.forget()
        elif line == 'ct_clear;':
            registers.known['ct_mark'] = registers.known['ct_label'] = 0
        elif line.startswith('/* output to'):
            verdict = 'delivered', ''
            break
        elif line.startswith('reject {'):
            verdict = 'rejected', stage
            break
        elif at := re.match(r'sample\(probability=(\d+),collector_set=(\d+),obs_domain=(\d+),obs_point=([^)]+)\);', line):
            events.append([stage, 'sample', int(at[1]), int(at[2]), int(at[3]), registers.read(at[4])])
        elif at := re.match(r'LOG: ACL name=(.*?), direction=(\w+), verdict=(\w+), severity=(\w+)', line):
            if (at[2] == 'IN') != stage.startswith('ls_in'):
                raise RuntimeError(f'a log line of the other pipeline:\n{text}')
            events.append([stage, 'log', None if at[1] == '<unnamed>' else at[1], at[3], at[4]])
        elif line.startswith('ct_commit {'):
            events.append([stage, 'commit', *registers.committed(line)])
        elif line.startswith('ct_commit_nat('):
            events.append([stage, 'commit', registers.known['ct_mark'], f'{registers.known["ct_label"]:x}'])
        elif STAGE.match(stage or '') and (at := re.match(r'((?:reg|flags)[\w.\[\]]*) = (\w+);$', line)):
            registers.assign(*at.groups())
    if verdict is None:
        verdict = 'dropped', stage
    return verdict, events, steps, used


class Twin:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(json.dumps(line) + '\n')
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f'the twin ended at {json.dumps(line)[:2000]}')
        return json.loads(answer)


def refusals(lines):
    """The matches and actions that ovn-trace does not take; it quotes them."""
    found = (re.match(r'[^|]*\|[^|]*\|ovntrace\|WARN\|(.*): parsing (?:actions|expression) failed \(', line) for line in lines)
    return sorted({at[1] for at in found if at})


def blanks(text):
    """Without those that northd puts between actions as it comes."""
    return re.sub(r'; *', '; ', text.strip())


def trivial(flow):
    """What ovn-trace does not show: a table whose flow says nothing."""
    return flow[2] in ('1', ['1']) and flow[1] in (0, 65535)


def main(program):
    northbound, southbound = Database(NB, 'OVN_Northbound'), Database(SB, 'OVN_Southbound')
    Connection(f'/run/ovn/ovn-northd.{open("/run/ovn/ovn-northd.pid").read().strip()}.ctl').call('vlog/set', 'ANY:file:ERR')
    twin = Twin(program)
    print(f'SEED={SEED} N={COUNT} PACKETS={PACKETS}', flush=True)
    cells, texts, wrong, asked, ambiguous = collections.Counter(), set(), 0, 0, 0
    seed, _, alone = SEED.partition('/')
    for place in [int(alone)] if alone else range(COUNT):
        chance = random.Random(f'{seed}/{place}')
        made = Northbound(chance, VARIANTS[place % len(VARIANTS)])
        northbound.empty()
        northbound.transact(*made.operations())
        wait_for_northd()
        rows = northbound.contents()
        rows['ACL_ID'] = southbound.rows('ACL_ID', '_uuid', 'id')
        left_out = twin.ask({'rows': rows})['left out']
        names = {row['_uuid'][1]: row for row in rows['ACL']}
        actions = sorted({row['actions'] for row in southbound.rows('Logical_Flow', 'actions', 'external_ids') if STAGE.match(dict(row['external_ids'][1])['stage-name'])})
        texts.update(actions)
        for text, printed in zip(actions, twin.ask({'actions': actions})):
            if blanks(printed) != blanks(text) and text not in left_out:
                wrong += 1
                print(f'FAILED: SEED={seed}/{place}: {text}', f'  prints as {printed}', sep='\n')
        states = chance.choices(list(STATES), STATES.values(), k=6 * PACKETS)
        tracer = Tracer(0, states)
        refused = refusals(tracer.complaints())
        if refused != left_out:
            print(f'FAILED: SEED={seed}/{place}: ovn-trace leaves out {refused}', f'  we {left_out}', sep='\n')
            wrong += 1
        at = 0
        for _ in range(PACKETS):
            question = Question(chance, made, states[at:at + 6])
            text = tracer.trace(question.switch, question.microflow())
            verdict, events, steps, used = read_trace(text, question)
            at += used
            ours = twin.ask(question.ours())
            asked += 1
            if ours['ambiguous']:
                ambiguous += 1
                continue
            shown = [step for step in ours['steps'] if not trivial(step)]
            theirs = [step for step in steps if not trivial(step)]
            same = ours['verdict'] == list(verdict) and ours['events'] == events and all(mark == ' ' for mark, _ in compared(shown, theirs))
            if not same:
                wrong += 1
                print(f'FAILED: SEED={seed}/{place}: {question.microflow()}', json.dumps(question.ours()), f'  ours:      {ours["verdict"]} {ours["events"]}',
                      f'  ovn-trace: {list(verdict)} {events}', *(f'  {mark} {step}' for mark, step in compared(shown, theirs)), sep='\n', flush=True)
                if wrong >= 3:
                    sys.exit(1)
            cells.update(seen(made, question, ours, names))
        tracer.close()
    print(f'{len(texts)} texts of actions, {asked} packets, {wrong} differ, {ambiguous} left aside because two flows of one priority match')
    rare = [] if alone else coverage(cells)
    rare += ['too many packets are left aside'] * (ambiguous > asked // 20)
    print(*rare[:40], 'FAILED' if rare or wrong else 'ok', sep='\n')
    sys.exit(bool(wrong or rare))


def compared(ours, theirs):
    """Both lists of flows side by side. Where several of one priority matched, ours has all their matches."""
    for a, b in itertools.zip_longest(ours, theirs):
        same = a and b and a[:2] == b[:2] and b[2] in a[2]
        yield from [(' ', b)] if same else [('-', a), ('+', b)]


BLOCK = {'ls_in_acl': 'from-lport', 'ls_in_acl_after_lb': 'after-lb', 'ls_out_acl': 'to-lport'}


def seen(made, question, ours, acls):
    """What a question exercised."""
    columns = [made.rows['ACL'][acl] for acl in made.on_switch(question.switch)]
    switch = ('stateful' if any(row['action'] == 'allow-related' for row in columns) else 'stateless') + '+lb' * made.has_vip(question.switch)
    yield 'verdict', tuple(ours['verdict'])
    if question.balanced:
        yield 'balanced', (question.family, ours['verdict'][0])
    for stage, priority, matches, acl, ct in ours['steps']:
        block = BLOCK.get(stage.rpartition('_')[0])
        state = 'untracked' if not ct & BITS['trk'] else ','.join(word for word, bit in BITS.items() if ct & bit and (word != 'trk' or ct == bit))
        if stage.endswith('_eval') and block != 'after-lb':
            yield 'conntrack', (state, block)
        if stage.endswith('_eval') and acl and priority < 65533:
            row = acls[acl]
            action, family = row['action'], 'arp' if question.protocol == 'arp' else question.family
            yield 'tier', (action, block, row['tier'])
            yield 'switch', (action, block, switch)
            yield 'family', (action if family != 'arp' else 'any', block, family)
            if switch.startswith('stateful') and state in ('new', 'est', 'untracked'):
                yield 'known', (action if state != 'untracked' else 'any', block, state)
                yield 'blocked', (block, state, bool(question.mark & 1))
        elif stage.endswith('_eval') and priority == 65533:
            yield 'log-related', (block, state)
        elif stage.endswith('_sample') and matches != ['1']:
            yield 'sample', (block, priority, 'est' if 'ct.est' in matches[0] else 'new', switch.partition('+')[0])
    for stage, what, *rest in ours['events']:
        if what == 'log':
            yield 'log', (stage, rest[1])
        elif what == 'commit':
            yield 'commit', (stage,)


def wanted():
    """The cells that there are."""
    product = itertools.product
    for action, block in product(nb.ACTIONS, nb.BLOCKS):
        yield from (('tier', (action, block, tier)) for tier in range(4))
        yield from (('switch', (action, block, switch)) for switch in ('stateful', 'stateful+lb', 'stateless', 'stateless+lb')
                    if action != 'allow-related' or switch.startswith('stateful'))
        yield from (('family', (action, block, family)) for family in (4, 6))
        if action != 'allow-stateless':  # What that matches is not tracked.
            yield from (('known', (action, block, state)) for state in ('new', 'est'))
        yield 'known', ('any', block, 'untracked')
    for block in 'from-lport', 'to-lport':
        yield from (('conntrack', (','.join(word for word in (*BITS, 'untracked') if word in state.split(',')), block)) for state in (*STATES, 'untracked'))
    for block in nb.BLOCKS:
        yield 'family', ('any', block, 'arp')
        yield from (('blocked', (block, state, blocked)) for state, blocked in product(('new', 'est'), (False, True)))
        if block != 'to-lport':  # There the flows for what is not tracked come first, unless no other ACL has the collector.
            yield 'sample', (block, 900, 'new', 'stateful')
        yield from (('sample', (block, *cell)) for cell in ((900, 'new', 'stateless'), (1000, 'new', 'stateful'), (1000, 'est', 'stateful'),
                                                           (1100, 'new', 'stateful'), (1100, 'new', 'stateless'), (1200, 'est', 'stateful')))
    for stage, verdict in product(('ls_in_acl_eval', 'ls_in_acl_after_lb_eval', 'ls_out_acl_eval'), ('allow', 'drop', 'reject', 'pass')):
        yield 'log', (stage, verdict)
    for stage in 'ls_in_acl_eval', 'ls_in_acl_after_lb_eval', 'ls_out_acl_eval', 'ls_in_stateful', 'ls_out_stateful':
        yield 'commit', (stage,)
    for word, stage in product(('dropped', 'rejected'), ('ls_in_acl_action', 'ls_in_acl_after_lb_action', 'ls_out_acl_action')):
        yield 'verdict', (word, stage)
    yield from (('log-related', (block, state)) for block, state in product(('from-lport', 'to-lport'), ('est,rpl', 'rel')))
    yield from (('balanced', cell) for cell in product((4, 6), ('delivered', 'dropped', 'rejected')))


def coverage(cells):
    """Prints what was exercised how often; the cells that were too seldom."""
    cells = cells.copy()
    kinds = collections.defaultdict(list)
    for kind, cell in wanted():
        if cell not in kinds[kind]:
            kinds[kind].append(cell)
    for kind, there in kinds.items():
        print(f'  {kind}: {len(there)} cells, each at least {min(cells[kind, cell] for cell in there)} times')
    return [f'{kind} {cell}: {cells[kind, cell]} times' for kind, there in kinds.items() for cell in there if cells[kind, cell] < LEAST]


if __name__ == '__main__':
    main(*sys.argv[1:])
