"""The match language against real OVN: random matches are put as logical flows straight into the southbound database, one a table, and ovn-trace says
for random packets which of them it takes (and of wrong ones, why not). Our side is the example `expr` of the crate `ovn`, whose path is the argument.

Also how a match is printed: asked to trace a packet that a match does not describe exactly, ovn-trace prints the match in its refusal."""
import collections
import json
import os
import random
import re
import subprocess
import sys

from policy.ovn import SB, Database, Tracer

SEED = int(os.environ.get('SEED') or random.randrange(1 << 32))
SWITCHES, PACKETS, WRONG, PRINTED = 36, int(os.environ.get('N') or 32), 800, 600
TABLES = 30  # in each of the two pipelines

# What a packet has, as OVN names it: the name in our crate, the width, whether it can be ordered. Facts of ovn-sb(5) and ovs-fields(7), put down
# here a second time so that the one can be wrong without the other.
FIELDS = {
    'xxreg0': ('XxReg0', 128), 'xxreg1': ('XxReg1', 128), 'xreg4': ('XReg4', 64), 'flags': ('Flags', 32), 'pkt.mark': ('PktMark', 32),
    'ct_state': ('CtState', 32), 'ct_mark': ('CtMark', 32), 'ct_label': ('CtLabel', 128), 'eth.src': ('EthSrc', 48), 'eth.dst': ('EthDst', 48),
    'vlan.tci': ('VlanTci', 16), 'ip.frag': ('IpFrag', 2), 'ip4.src': ('Ip4Src', 32), 'ip4.dst': ('Ip4Dst', 32), 'ip6.src': ('Ip6Src', 128),
    'ip6.dst': ('Ip6Dst', 128), 'ip6.label': ('Ip6Label', 20), 'arp.spa': ('ArpSpa', 32), 'arp.sha': ('ArpSha', 48), 'arp.tpa': ('ArpTpa', 32),
    'arp.tha': ('ArpTha', 48), 'rarp.spa': ('ArpSpa', 32), 'rarp.tha': ('ArpTha', 48), 'nd.target': ('NdTarget', 128), 'nd.sll': ('NdSll', 48),
    'nd.tll': ('NdTll', 48), 'tcp.src': ('TcpSrc', 16), 'tcp.dst': ('TcpDst', 16), 'tcp.flags': ('TcpFlags', 12), 'udp.src': ('UdpSrc', 16),
    'udp.dst': ('UdpDst', 16), 'sctp.src': ('SctpSrc', 16), 'sctp.dst': ('SctpDst', 16)}
NOMINAL = {
    'eth.type': ('EthType', 16), 'ip.proto': ('IpProto', 8), 'ip.dscp': ('IpDscp', 6), 'ip.ecn': ('IpEcn', 2), 'ip.ttl': ('IpTtl', 8),
    'icmp4.type': ('Icmp4Type', 8), 'icmp4.code': ('Icmp4Code', 8), 'icmp6.type': ('Icmp6Type', 8), 'icmp6.code': ('Icmp6Code', 8),
    'arp.op': ('ArpOp', 16), 'rarp.op': ('ArpOp', 16)}
SUBFIELDS = {
    **{f'reg{i}': 32 for i in range(10)}, **{f'xreg{i}': 64 for i in range(4)}, 'ct_mark.ecmp_reply_port': 16,
    'ct_mark.obs_stage': 2, 'ct_mark.obs_collector_id': 8, 'ct_label.ecmp_reply_eth': 48, 'ct_label.label': 32, 'ct_label.obs_point_id': 32,
    'ct_label.obs_unused': 96, 'ct_label.acl_id': 16, 'vlan.pcp': 3, 'vlan.vid': 12}
FLAGS = ('eth.mcast ct.trk ct.new ct.est ct.rel ct.rpl ct.inv ct.snat ct.dnat ct_mark.blocked ct_mark.natted ct_mark.skip_snat ct_mark.force_snat '
         'ct_mark.allow_established flags.loopback flags.force_snat_for_dnat flags.force_snat_for_lb flags.skip_snat_for_lb flags.use_snat_zone '
         'flags.localnet flags.icmp_snat flags.tunnel_rx flags.unsnat_new flags.unsnat_not_tracked flags.from_ctrl').split()
PREDICATES = ('eth.bcast eth.mcastv6 vlan.present ip4.src_mcast ip4.mcast ip6.mcast_rsvd ip6.mcast_all_nodes ip6.mcast_all_rtrs ip6.mcast_sol_node '
              'ip6.mcast_flood ip6.mcast ip.is_frag ip.later_frag ip.first_frag').split()
NOMINAL_PREDICATES = 'ip4 ip6 ip icmp4 igmp icmp6 icmp arp rarp nd nd_ns nd_ns_mcast nd_na nd_rs nd_ra mldv1 mldv2 tcp udp sctp'.split()
BARE = ['xxreg0', 'xxreg1', 'xreg4', 'flags', 'pkt.mark', 'ct_state', 'ct_mark', 'ct_label', 'eth.src', 'eth.dst', 'vlan.tci']  # no prerequisite, no parent

KINDS = ['ordinal', 'nominal', 'subfield', 'bits', 'bit', 'flag', 'predicate', 'nominal predicate', 'string']
ORDERS = ['<', '<=', '>', '>=']
OPERATORS = ['==', '!=', *ORDERS, 'range', '== {}', '!= {}', '== /', '!= /', '== $', '!= $', '> $', '== $empty', '!= $empty', 'turned', 'bare', '!bare', '== @']
MAY = {
    'ordinal': set(OPERATORS) - {'bare', '== @'},
    'nominal': {'==', '== {}', '== /', '== $', '== $empty', 'turned', '!bare'},
    'subfield': set(OPERATORS) - {'bare', '== @'},
    'bits': set(OPERATORS) - {'bare', '== @'},
    'bit': {'==', '!=', *ORDERS, '== {}', '!= {}', 'turned', 'bare', '!bare', 'range'},
    'flag': {'==', '!=', *ORDERS, '== {}', '!= {}', 'turned', 'bare', '!bare', 'range'},
    'predicate': {'==', '!=', '== {}', '!= {}', 'turned', 'bare', '!bare'},
    'nominal predicate': {'==', '!=', '== {}', 'turned', 'bare'},
    'string': {'==', '== {}', '== @', 'turned'}}

ADDRESSES = {'ip4': ['10.0.0.1', '10.0.0.2', '10.1.2.3'], 'net4': ['10.0.0.0/24', '172.16.0.0/255.255.0.0', '224.0.0.0/4'], 'ip6': ['fd00::1', 'ff02::1', 'ff02::16'],
             'net6': ['fd00::/64', 'fe80::/10'], 'macs': ['0a:00:00:00:00:01', '33:33:00:00:00:01'], 'numbers': ['80', '443', '6', '17', '1'],
             'mixed': ['1.2.3.4', '10.0.0.0/8', '10.0.0.0/255.255.0.0', '9.0.0.1'], 'empty': []}
POOL = {16: [0, 1, 22, 53, 80, 443, 0x1001, 0x3002, 65535], 32: [0, 1, 0x0a000001, 0x0a000002, 0x0a010203, 0xac100001, 0xe0000001, 0xffffffff],
        48: [0, 0x0a0000000001, 0x0a0000000002, 0x333300000001, 0x01005e000001, 0xffffffffffff],
        128: [0, 1, 0xfd << 120 | 1, 0xfe80 << 112 | 1, 0xff02 << 112 | 1, 0xff02 << 112 | 0x16, 0xff02 << 112 | 0x1ff000001, 0xff01 << 112 | 2,
              0xff05 << 112 | 2, 0xff03 << 112, (1 << 128) - 1]}


NUMBERS = ['0', '1', '80', '0x50', '0X50', '0xffffffffff', '1.2.3.4', '::1', '::', 'fd00::1.2.3.4', '00:00:00:00:00:01', '0A:0b:0c:0d:0e:0f', 'a:bbb:cc:dd:ee:ff',
           '0x1:02:03:04:05:6', '0:1:2:3:4:5', '01', '00', '0x', '0xg', '0x1g2', '0x.', '1.2.3', '1.2.3.4.5', '1.2.3.04', '1.2.3.256', '1.2.3.4:80', '1::2::3', '::1.2.3.4:5',
           '12345::', '1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7::', '1:2:3:4::5:6:7:8', 'fe:x', 'fe80', '1..2', '0x' + 'f' * 33, '0x' + '0' * 300 + '1', '0x1' + '0' * 255, '0x1' + '0' * 256,
           '0xz' + '1' * 300, '4294967297', '18446744073709551615', '18446744073709551616', '9' * 50, 'a' * 50 + '::', '-1', '1a', '0b1']
MASKS = [*[''] * 8, '/', '/0', '/1', '/8', '/24', '/31', '/32', '/33', '/64', '/128', '/129', '/4294967297', '/4294967329', '/0xff', '/0x0', '/0x' + 'f' * 40, '/255.255.0.0', '/255.0.255.0',
         '/::ffff', '/ffff::', '/ff:ff:ff:00:00:00', '/x', '/01', '/1/1', ' /1', '/ 1', '//1', '/*1*/']
TEXTS = ['', ' ', '()', '!', '!!1', '!(!(1))', '1 1', '(1', '1)', '2', '{1}', '1 == 1', '0 || 1 && 1', '(0 || 1) && 1', 'tcp.dst == {80,,443}', 'tcp.dst == {80 443}', 'tcp.dst == {,80}',
         'tcp.dst == {80', 'tcp.dst == {{80}}', '80 == tcp.dst == 80', '1 < tcp.dst > 2', '1 < tcp.dst != 2', '{1} < tcp.dst < 2', '1 < tcp.dst < {2}', '$numbers < tcp.dst < 2',
         '!1 < tcp.dst < 2', '!(1 < tcp.dst < 2)', '$numbers', '$numbers == 1', '"x" == inport', '"x" < inport', '"x"', 'inport', '!inport', 'inport[0]', 'inport == $empty', 'inport == @nobody',
         'inport != @pg', '!(inport != @pg)', 'tcp.dst == @pg', 'tcp.dst == "80"', 'inport == {"x", 1}', 'inport == {1, "x"}', 'inport == {$empty, "x"}', 'tcp.dst == {@pg, 1}', 'ip4.src == $macs',
         'ip4.src == $ip6', 'ip4.src > $net4', 'ip4.src > $empty', 'ip4.src == {$ip4, $nobody}', 'tcp[0]', 'tcp[0..0]', 'tcp[1]', 'tcp.dst[]', 'tcp.dst[0', 'tcp.dst[0..', 'tcp.dst[0..1',
         'tcp.dst[1..0]', 'tcp.dst[16]', 'tcp.dst[15..16]', 'tcp.dst[0x1]', 'tcp.dst[2147483647]', 'tcp.dst[2147483648]', 'eth.type[0..15] == 1', 'eth.type[0..7] == 1', 'ip.proto', '!ip.proto',
         '!(ip.proto)', '!(!(ip.proto))', 'tcp.dst = 80', 'tcp.dst =! 80', 'nobody', 'nobody == 1', '1 == nobody', 'nobody(1)', 'is_chassis_resident', 'is_chassis_resident(1)',
         'is_chassis_resident("x"', 'is_chassis_resident("x") == 1', '!is_chassis_resident("x")', 'is_chassis_resident ("x")', 'tcp (1)', 'ip4.mcast == {0, 1}', 'ip4.mcast == 2', 'tcp == 0', 'tcp != 1',
         'tcp != 0', '!(tcp == 0)', 'tcp > 0', 'ip4.mcast > 0', 'ct.est >= 1', 'inport == "\\"', 'inport == "\\"\\', 'inport == "\\/\\b\\f\\n\\r\\t\\u0041"', 'inport == "\\x"',
         'inport == "\\u004"', 'inport == "\\u00g1"', 'inport == "\\u0000"', 'inport == "\\ud83d\\ude00"', 'inport == "\\ud83d"', 'inport == "\\ud83dx"', 'inport == "\\ud83d\\u0041"',
         'inport == "\\ud83d\\u"', 'tcp//x', 'tcp/*x*/', 'tcp/*x', 'tcp/*/', 'tcp/**/', '/*x*/tcp', 'tcp /', 'tcp & 1', 'tcp | 1', 'tcp # 1', 'tcp \x01', '.tcp', '..', 'tcp..dst', 'a:1 == 1',
         'ab.c == 1', '$', '$1', '@', '@1', '$$x', 'flags.loopback', 'reg10', 'xreg5', 'xxreg2', '(' * 100 + '1' + ')' * 100, '(' * 101 + '1' + ')' * 101, '(' * 101]


def systematic():
    """Matches that tell of each symbol what it asks for and where it lies."""
    wide = {**{n: w for n, (_, w) in {**FIELDS, **NOMINAL}.items()}, **SUBFIELDS}
    # Under a mask of nothing, all that is left is the prerequisite.
    yours = [f'{name} == 0/0' for name in wide] + [*FLAGS, *PREDICATES, *NOMINAL_PREDICATES] + [f'!{name}' for name in (*FLAGS, *PREDICATES)]
    # OVN gives up (it aborts) where members with masks that are no one run of bits are ordered: not here.
    yours += [f'ip4.src {sign} $mixed' for sign in ORDERS] + [f'!(ip4.dst {sign} $mixed)' for sign in ORDERS]
    return yours + [f'{name}[{bit}]' for name, width in wide.items() if name not in NOMINAL for bit in {0, width - 1}]


def facts():
    """Texts that OVN answers with the width and the level of a symbol, or takes."""
    names = [*FIELDS, *NOMINAL, *SUBFIELDS, *FLAGS, *PREDICATES, *NOMINAL_PREDICATES]
    return [text for name in names for text in (f'{name}[0..9999]', f'{name} < 1', f'!({name} == 1)')]


class Matches:
    """Random matches about one switch, and what they are made of."""

    def __init__(self, chance, ports):
        self.chance, self.ports = chance, ports

    def value(self, width):
        return self.chance.choice([self.chance.getrandbits(width), *POOL.get(width, [0, 1, (1 << width) - 1]), *(v for v in POOL[16] if v < 1 << width)])

    def number(self, width, value=None):
        """A number as somebody may write it."""
        value = self.value(width) if value is None else value
        ways = [f'{value:#x}']
        if value < 1 << 64:
            ways.append(str(value))
        if width == 32:
            ways += ['.'.join(str(b) for b in value.to_bytes(4, 'big'))] * 2
        if width == 48:
            ways += [':'.join(f'{b:02x}' for b in value.to_bytes(6, 'big'))] * 2
        if width == 128:
            groups = [f'{value >> s & 0xffff:x}' for s in range(112, -1, -16)]
            ways += [':'.join(groups), re.sub(r'(^|:)0(:0)+(:|$)', '::', ':'.join(groups), count=1)]
        return self.chance.choice(ways)

    def masked(self, width):
        if width == 32 and self.chance.random() < .6:
            return f'10.{self.chance.randrange(3)}.0.1/{self.chance.choice([0, 8, 16, 24, 31, 32, "255.255.0.0", "255.0.255.0"])}'
        if width == 128 and self.chance.random() < .6:
            return f'{self.chance.choice(["fd00::1", "ff02::1", "fe80::1"])}/{self.chance.choice([0, 8, 10, 64, 127, 128, "::ffff"])}'
        value, mask = self.value(width), self.value(width)
        if self.chance.random() < .5:  # a run of ones
            low = self.chance.randrange(width)
            mask = (1 << self.chance.randrange(low, width) + 1) - (1 << low)
        return self.chance.choice([f'{value:#x}/{mask:#x}'] + [f'{value}/{mask}'] * (max(value, mask) < 1 << 64))

    def subject(self, kind):
        """Somebody to compare, and how many bits."""
        fields = {**{n: w for n, (_, w) in FIELDS.items()}, **SUBFIELDS}
        if kind == 'string':
            return self.chance.choice(['inport', 'outport']), 0
        if kind in ('flag', 'predicate', 'nominal predicate'):
            return self.chance.choice({'flag': FLAGS, 'predicate': PREDICATES, 'nominal predicate': NOMINAL_PREDICATES}[kind]), 1
        pool = {'ordinal': {n: w for n, (_, w) in FIELDS.items()}, 'nominal': {n: w for n, (_, w) in NOMINAL.items()}, 'subfield': SUBFIELDS}.get(kind, fields)
        name = self.chance.choice(list(pool))
        width = pool[name]
        if kind in ('bits', 'bit'):
            low = self.chance.randrange(width)
            high = low if kind == 'bit' else self.chance.randrange(low, width)
            return (f'{name}[{low}..{high}]' if high > low or kind == 'bits' and low == high else f'{name}[{low}]'), high - low + 1
        return name, width

    def comparison(self, negated):
        """(text, (operator, kind), whether `!` may stand before it)"""
        chance = self.chance
        kind = chance.choice(KINDS)
        operator = chance.choice([o for o in OPERATORS if o in MAY[kind]])
        name, width = self.subject(kind)
        nominal = kind in ('nominal', 'string')
        equal, unequal = ('!=', '==') if nominal and negated else ('==', '!=')
        sign = equal if operator.startswith('==') or operator == 'turned' else unequal
        cell = operator, kind

        def value():
            if kind == 'string':
                return json.dumps(chance.choice([*self.ports, 'ghost', 'none', '']))
            if kind == 'nominal predicate':
                return str(int((sign == '==') != negated))
            return self.number(width)
        if operator in ('bare', '!bare'):
            if operator == '!bare':
                # A field of several bits by itself only ever stands under `!`.
                name = f'!{name}' if not negated else f'{name}'
            return name, cell, operator == 'bare' or negated
        if kind == 'bits' and chance.random() < .3:
            width = {**{n: w for n, (_, w) in FIELDS.items()}, **SUBFIELDS}[name.split('[')[0]]  # more bits than are compared: the others are lost
        if operator in ('==', '!=', *ORDERS):
            sign = operator if operator in ORDERS else sign
            return f'{name} {sign} {value()}', cell, False
        if operator == 'range':
            down = chance.random() < .5
            low, high = sorted([self.value(width), self.value(width)], reverse=down)
            signs = [chance.choice(['>', '>='] if down else ['<', '<=']) for _ in '12']
            return f'{self.number(width, low)} {signs[0]} {name} {signs[1]} {self.number(width, high)}', cell, False
        if operator == 'turned':
            return f'{value()} {sign} {name}', cell, False
        if operator.endswith('{}'):
            several = [value() for _ in range(chance.randint(1, 4))]
            if kind in ('ordinal', 'subfield', 'bits') and chance.random() < .4:
                several[0] = self.masked(width)
            if kind == 'string' and chance.random() < .2:
                several.insert(0, '$empty')  # of no type yet
            return f'{name} {sign} {{{chance.choice([", ", " "]).join(several)}}}', cell, False
        if operator.endswith('/'):
            return f'{name} {sign} {self.masked(width)}', cell, False
        if operator.endswith('@'):
            return f'{name} {sign} {chance.choice(["@pg", "@pg", "@all", "{@pg, @all}", "{@pg, " + value() + "}"])}', cell, False
        if operator.endswith('$empty'):
            return f'{name} {sign} $empty', cell, False
        sets = ['$numbers'] if width >= 9 else []
        sets += {32: ['$ip4', '$net4'], 48: ['$macs'], 128: ['$ip6', '$net6']}.get(width, [])
        if operator == '> $':
            sets = [s for s in sets if 'net' not in s]
            return f'{name} {chance.choice(ORDERS)} {chance.choice(sets or ["$empty"])}', cell, False
        return f'{name} {sign} {chance.choice(sets or ["$empty"])}', cell, False

    def match(self, depth=3, negated=False):
        """(text, cells, whether it needs no parentheses)"""
        chance = self.chance
        roll = chance.random()
        if depth == 0 or roll < .35:
            if chance.random() < .04:
                resident = f'is_chassis_resident({json.dumps(chance.choice([*self.ports, "ghost"]))})'
                return chance.choice([resident, '1', '0']), [], True
            text, cell, bare = self.comparison(negated)
            return text, [cell], bare
        if roll < .5:
            text, cells, bare = self.match(depth - 1, not negated)
            if text.startswith('!') or not bare:
                text = f'({text})'
            return f'!{text}', cells, False
        parts = [self.match(depth - 1, negated) for _ in range(chance.randint(2, 3))]
        operator = chance.choice([' && ', ' || '])
        texts = [f'({text})' if '&&' in text or '||' in text else text for text, _, _ in parts]
        return operator.join(texts), [c for _, cells, _ in parts for c in cells], False

    def wrong(self):
        """A match with a slip, or several."""
        chance = self.chance
        text = self.match(2)[0]
        for _ in range(chance.choice([1, 1, 1, 2, 3])):
            tokens = re.findall(r'\s+|[\w.:$@/]+|"[^"]*"|[=!<>]=|&&|\|\||.', text)
            place = chance.randrange(len(tokens)) if tokens else 0
            how = chance.randrange(6)
            if how == 0 and tokens:
                del tokens[place]
            elif how == 1 and tokens:
                tokens.insert(place, tokens[chance.randrange(len(tokens))])
            elif how == 2:
                tokens.insert(place, chance.choice(['&', '|', '!', '(', ')', '{', '}', '[', ']', '[3]', '[0..1]', '[9..1]', '[99]', '==', '!=', '<', '=', '$nobody', '@nobody',
                                                    '$', '@', '"', '"p', '"\\q"', '"\\u12"', '"\\u0000"', '"\\ud800x"', 'xyzzy', '01', '0x', '0xg', '1.2.3.4/0xff', '1.2.3.4/33',
                                                    '18446744073709551616', '1.2.3', '::1::', '0a:0b', '/*', '/* */', '//', '/', '.', '..', '<->', '--', '-', ';', ':', '#', '~', '1', '2', '$ip4',
                                                    '@pg', 'tcp', 'tcp.dst', 'inport', 'eth.type', '"p1"', '&& 1', '|| 1', '== 1', '0x' + 'f' * chance.choice([33, 257]), 'f(']))
            elif how == 3 and tokens:
                tokens[place] = chance.choice(['tcp.dst', 'inport', 'ip.proto', '==', '>', '80', '"x"', '&&', '||', '::1', '$macs', '@pg', '0a:00:00:00:00:01'])
            elif tokens:
                token = tokens[place]
                cut = chance.randrange(len(token))
                tokens[place] = token[:cut] + chance.choice(['', chance.choice('0123456789abcxyz.:/"!&|<>=()[]{}$@ -+')]) + token[cut + 1:]
            text = ''.join(tokens)
        return text

    def corners(self):
        """Every number under every mask would be some thousands."""
        fields = ['ip4.src', 'ip6.src', 'eth.src', 'tcp.dst', 'ct_label', 'reg0[3..9]', 'ip.proto', 'inport']
        every = [f'{field} == {number}{mask}' for field in fields for number in NUMBERS for mask in MASKS]
        return TEXTS + self.chance.sample(every, 1200)

    def printed(self):
        """A match that ovn-trace prints as it is parsed: about fields that ask for nothing else, and true of more than one packet."""
        chance = self.chance
        if chance.random() < .4:
            right = chance.choice([f'{chance.choice(NUMBERS)}{chance.choice(MASKS)}', f'{chance.choice(NUMBERS)}', '$net4', '$mixed', '{$macs, $ip4}'])
            return f'{chance.choice(["ct_label", "eth.src", "ct_state"])} == {right} || eth.type == {{1, 2}}'

        def one():
            name = chance.choice(BARE)
            width = FIELDS[name][1]
            low = chance.randrange(width)
            high = chance.randrange(low, width)
            if chance.random() < .5:
                name, width = (f'{name}[{low}..{high}]' if high > low else f'{name}[{low}]'), high - low + 1
            if width == 1 and chance.random() < .5:
                return f'{chance.choice(["", "!"])}{name}'
            return f'{name} {chance.choice(["==", "==", "==", "!=", "<", ">="] if width < 17 else ["=="])} ' + self.number(width)
        text = one()
        for _ in range(chance.randrange(3)):
            text = chance.choice([f'({text}) || ({one()})', f'!({text})', f'({text}) && ({one()})', f'{one()} || ({text})', f'({text}) || vlan.tci == {self.masked(16)}',
                                  f'({text}) && eth.src == {{{self.number(48)}, {self.number(48)}}}'])
        return f'({text}) || eth.type == {{1, 2}} || inport == {{@pg, "p\\"1"}}'


INNER = {'tcp': 6, 'udp': 17, 'sctp': 132, 'icmp4': 1, 'igmp': 2, 'icmp6': 58, 'nd_ns': 58, 'nd_na': 58}
PACKET_KINDS = [*((family, inner) for family in ('ip4', 'ip6') for inner in ('tcp', 'udp', 'sctp', 'raw')), ('ip4', 'icmp4'), ('ip4', 'igmp'), ('ip6', 'icmp6'), ('ip6', 'nd_ns'),
                ('ip6', 'nd_na'), ('arp', ''), ('rarp', ''), ('other', '')]


def packet(chance, ports, kind, inner):
    """A packet of a kind: (as a match of OVN, {field of ours: value})"""
    found = {}

    def put(*names):
        for name in names:
            width = {**FIELDS, **NOMINAL}[name][1]
            found[name] = chance.choice([*POOL.get(width, []), chance.getrandbits(width), *(v for v in POOL[16] if v < 1 << width)])
    put('xxreg0', 'xxreg1', 'xreg4', 'flags', 'pkt.mark', 'ct_mark', 'ct_label', 'eth.src', 'eth.dst')
    found['ct_state'] = chance.choice([0, 0x21, 0x22, 0x2a, 0x24, 0x30, 0x62, 0xa1, chance.getrandbits(8)])
    found['vlan.tci'] = chance.choice([0, 0, 0x1000, 0x3005, 0x9fff])
    found['eth.type'] = {'ip4': 0x800, 'ip6': 0x86dd, 'arp': 0x806, 'rarp': 0x8035}.get(kind, chance.choice([0x88cc, 1, 2]))
    if kind in ('ip4', 'ip6'):
        # ip.dscp and ip.ecn stay 0: ovn-trace takes no others, their bits being less than a byte.
        put(f'{kind}.src', f'{kind}.dst')
        found['ip.ttl'], found['ip.frag'] = chance.choice([1, 64, 255]), chance.choice([0, 0, 0, 1, 3])
        found['ip.proto'] = INNER.get(inner, chance.choice([0, 50, 255]))
        if kind == 'ip6':
            put('ip6.label')
        if inner in ('tcp', 'udp', 'sctp'):
            put(f'{inner}.src', f'{inner}.dst')
        if inner == 'tcp':
            put('tcp.flags')
        if inner == 'icmp4':
            put('icmp4.type', 'icmp4.code')
        if inner == 'icmp6':
            found['icmp6.type'], found['icmp6.code'] = chance.choice([128, 130, 132, 133, 134, 143]), chance.choice([0, 0, 1])
        if inner in ('nd_ns', 'nd_na'):
            found['icmp6.type'], found['icmp6.code'] = {'nd_ns': 135, 'nd_na': 136}[inner], chance.choice([0, 0, 0, 1])
            found['ip.ttl'] = chance.choice([64, 255, 255, 255])
            if found['icmp6.code'] == 0 and found['ip.ttl'] == 255:
                put('nd.target', 'nd.sll' if inner == 'nd_ns' else 'nd.tll')
        if chance.random() < .5:  # the MAC that goes with a multicast group
            found['eth.dst'] = {'ip4': 0x01005e000001, 'ip6': 0x333300000001}[kind]
    if kind == 'arp':
        put('arp.spa', 'arp.sha', 'arp.tpa', 'arp.tha')
    if kind == 'rarp':
        put('rarp.spa', 'rarp.tha')
    if kind in ('arp', 'rarp'):  # Open vSwitch keeps 8 bits of it
        found[f'{kind}.op'] = chance.choice([0, 1, 2, 17, 80, 255])
    flow = [f'{name} == {value:#x}' for name, value in found.items()]
    ours = {{**FIELDS, **NOMINAL}[name][0]: f'{value:x}' for name, value in found.items()}
    for name, port in (('inport', chance.choice(ports)), ('outport', chance.choice(['', *ports]))):
        if port:
            flow.append(f'{name} == "{port}"')
            ours[name] = port
    return ' && '.join(flow), ours


class Switch:
    """A datapath whose tables each ask one match."""

    def __init__(self, number, chance):
        self.number, self.name = number, f'sw{number}'
        self.ports = [f'p{port}-{number}' for port in (1, 2, 3)]
        self.groups = {'pg': self.ports[:2], 'all': [*self.ports, 'p1-elsewhere']}
        self.matches = Matches(chance, self.ports)
        self.packets = [packet(chance, self.ports, *PACKET_KINDS[n % len(PACKET_KINDS)]) for n in range(PACKETS)]
        # The last table of a pipeline leads on to the next pipeline, or ends.
        places = 2 * (TABLES - 1)
        self.asked = [(text, [], False) for text in systematic()[(number - 1) * places:number * places]]
        # A match of one term tells what the term gave.
        self.asked += [self.matches.match(0 if place % 2 else 3) for place in range(len(self.asked), places)]
        self.cells = {text: cells for text, cells, _ in self.asked}

    def rows(self):
        """The operations that make it."""
        def insert(table, row, name=None):
            return {'op': 'insert', 'table': table, 'row': row, **({'uuid-name': name} if name else {})}

        def flow(pipeline, table, priority, match, actions):
            return insert('Logical_Flow', {'logical_datapath': ['named-uuid', self.name], 'pipeline': pipeline, 'table_id': table, 'priority': priority,
                                           'match': match, 'actions': actions})
        yield insert('Datapath_Binding', {'tunnel_key': self.number, 'external_ids': ['map', [['name', self.name]]]}, self.name)
        for key, port in enumerate(self.ports, 1):
            yield insert('Port_Binding', {'logical_port': port, 'datapath': ['named-uuid', self.name], 'tunnel_key': key, 'type': ''})
        for name, ports in self.groups.items():
            yield insert('Port_Group', {'name': f'{self.number}_{name}', 'ports': ['set', ports]})
        for place, (text, _, _) in enumerate(self.asked):
            pipeline, table = ('egress', place - TABLES + 1) if place >= TABLES - 1 else ('ingress', place)
            # ovn-trace does not show a table whose match is always true and whose actions are `next;` alone.
            yield flow(pipeline, table, 1, text, 'push(xxreg0); pop(xxreg0); next;')
            yield flow(pipeline, table, 0, '1', 'next;')
        yield flow('ingress', TABLES - 1, 0, '1', 'next(pipeline=egress, table=0);')
        yield flow('egress', TABLES - 1, 0, '1', 'drop;')

    def ask_us(self, program, matches):
        asked = {'addresses': ADDRESSES, 'ports': self.groups, 'resident': RESIDENT, 'matches': matches, 'packets': [ours for _, ours in self.packets]}
        done = subprocess.run([program], input=json.dumps(asked), capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]


def hits(text):
    """The places of the matches that a trace took."""
    found, egress = set(), False
    for line in text.splitlines():
        egress = egress or line.startswith('egress(dp=')
        at = re.match(r' *(\d+)\. .*, priority 1, uuid [0-9a-f]+$', line)
        if at:
            found.add(int(at[1]) + (TABLES - 1 if egress else 0))
    if not egress:
        raise RuntimeError(f'the trace did not come through:\n{text}')
    return found


def refusals(lines):
    """What ovn-trace did not take, and why."""
    found = {}
    for line in lines:
        at = re.match(r'[^|]*\|[^|]*\|ovntrace\|WARN\|(.*): parsing expression failed \((.*)\)$', line.rstrip('\n'))
        if at:
            found[at[1]] = at[2]
    return found


RESIDENT = [f'p{port}-{number}' for number in range(1, SWITCHES + 2) for port in (1, 2, 3)]


def main(program):
    print(f'SEED={SEED} N={PACKETS}')
    chance = random.Random(SEED)
    subprocess.run(['ovn-appctl', '-t', 'ovn-northd', 'pause'], check=True)
    switches = [Switch(number, chance) for number in range(1, SWITCHES + 1)]
    database = Database(SB, 'OVN_Southbound')
    database.transact(*({'op': 'insert', 'table': 'Address_Set', 'row': {'name': name, 'addresses': ['set', addresses]}} for name, addresses in ADDRESSES.items()))
    for switch in switches:
        database.transact(*switch.rows())
    last = Switch(SWITCHES + 1, chance)
    wrong = list(dict.fromkeys([*facts(), *last.matches.corners(), *(last.matches.wrong() for _ in range(WRONG))]))
    last.asked = []
    rows = list(last.rows())
    # A packet is parsed as of no datapath.
    rows.append({'op': 'insert', 'table': 'Port_Group', 'row': {'name': '0_pg', 'ports': ['set', last.groups['pg']]}})
    database.transact(*rows, *({'op': 'insert', 'table': 'Logical_Flow', 'row': {'logical_datapath': ['named-uuid', last.name], 'pipeline': 'ingress', 'table_id': 0, 'priority': 1,
                                                                                  'match': text, 'actions': 'next;'}} for text in wrong))
    tracer = Tracer(0)
    refused = refusals(tracer.complaints())
    differences = []

    def compare(what, text, ours, theirs):
        if ours != theirs:
            differences.append(f'{what}: {text}\n    ours:  {ours}\n    OVN:   {theirs}')

    pairs, held, cells, outcomes, messages = 0, 0, collections.Counter(), collections.Counter(), collections.Counter()
    for switch in switches:
        texts = [text for text, _, _ in switch.asked]
        ours = switch.ask_us(program, texts)
        for text, our in zip(texts, ours):
            compare('taken', text, our.get('error'), refused.get(text))
        taken = [place for place, our in enumerate(ours) if 'holds' in our and texts[place] not in refused]
        for place in taken:
            cells.update(switch.cells[texts[place]])
        for number, (flow, _) in enumerate(switch.packets):
            took = hits(tracer.trace(switch.name, flow))
            for place in taken:
                ovn = '01'[place in took]
                pairs += 1
                held += ovn == '1'
                for cell in switch.cells[texts[place]] if len(switch.cells[texts[place]]) == 1 else ():
                    outcomes[cell[0], ovn] += 1
                compare('holds', f'{texts[place]}\n    for {flow}', ours[place]['holds'][number], ovn)
    accepted = 0
    for text, our in zip(wrong, last.ask_us(program, wrong)):
        compare('mistake', text, our.get('error'), refused.get(text))
        accepted += text not in refused
        messages[re.sub(r"`[^']*'|\d+|field \S+|predicate \S+|0x-?\w+|\\.$", '…', refused.get(text, 'taken'))] += 1
    printed = 0
    texts = [last.matches.printed() for _ in range(PRINTED)]
    for text, our in zip(texts, last.ask_us(program, texts)):
        said = tracer.trace(last.name, text)
        at = re.search(r'Constraints are ambiguous: (.*)\.$', said.strip(), re.S)
        if at:
            printed += 1
            compare('printed', text, our.get('canonical', our), at[1])
    tracer.close()

    print(f'\n{"matches taken, by term":24}' + ''.join(f'{kind:>18}' for kind in KINDS))
    missed = []
    for operator in OPERATORS:
        print(f'{operator:24}' + ''.join(f'{cells[operator, kind] if operator in MAY[kind] else "-":>18}' for kind in KINDS))
        missed += [f'{operator} of {kind}: {cells[operator, kind]}' for kind in KINDS if operator in MAY[kind] and cells[operator, kind] < 5]
    one_way = [f'{operator} never gave {value}' for operator in OPERATORS for value in '01' if not outcomes[operator, value] and 'empty' not in operator]
    print('\nmistakes:', *(f'{count:6} {message}' for message, count in messages.most_common()), sep='\n')
    print(f'\n{pairs} pairs of a match and a packet, {held} held; {len(wrong)} texts with slips, of which OVN takes {accepted}; {printed} matches printed')
    for difference in differences[:20]:
        print(difference)
    problems = [f'{len(differences)} differences'] * bool(differences) + missed + one_way
    problems += ['fewer than 20000 pairs'] * (pairs < 20000) + ['fewer than 30 kinds of mistakes'] * (len(messages) < 30) + ['fewer than 200 printed'] * (printed < 200)
    print('FAILED: ' + '; '.join(problems) if problems else 'ok')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
