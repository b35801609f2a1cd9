"""Sends frames through veth pairs and holds what the example `probe` counts to them. Prints a line a check; exit status 1 if one failed."""
import json
import os
import socket
import struct
import subprocess
import sys
import time

PROBE = sys.argv[1]
OUR_MAC, OTHER_MAC = bytes.fromhex('020000000001'), bytes.fromhex('0200000000ff')  # nobody has the other one, so that nobody answers
failures = 0


def check(what, good, detail=''):
    global failures
    failures += not good
    print('ok    ' if good else 'FAILED', what, '' if good else detail, flush=True)


def run(*command): subprocess.run(command, check=True)


class Probe:
    def __init__(self, *arguments):
        self.process = subprocess.Popen([PROBE, '--no-samples', *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        first = json.loads(self.process.stdout.readline())
        if 'error' in first:
            sys.exit(first['error'])

    def drain(self):
        """Flows, and the line that says what there was."""
        self.process.stdin.write('\n')
        self.process.stdin.flush()
        flows = []
        for line in self.process.stdout:
            row = json.loads(line)
            if 'drained' in row:
                return flows, row
            flows.append(row['flow'])
        sys.exit(f'the probe ended with {self.process.wait()}')

    def wait_for_interfaces(self, number):
        """All flows until there are so many interfaces."""
        all_flows, deadline = [], time.monotonic() + 30
        while True:
            flows, last = self.drain()
            all_flows += flows
            if last['counts']['ebpf_interfaces'] == number or time.monotonic() > deadline:
                return all_flows, last

    def memory(self):
        with open(f'/proc/{self.process.pid}/status') as status:
            return next(int(line.split()[1]) for line in status if line.startswith('VmRSS')) >> 10

    def end(self):
        self.process.stdin.close()
        check('the probe ends well', self.process.wait() == 0)


def veth(one, other, namespace=None):
    run('ip', 'link', 'add', one, 'type', 'veth', 'peer', 'name', other, *(['netns', namespace] if namespace else []))
    quiet(one)
    quiet(other, namespace)


def quiet(name, namespace=None):
    """Up, without a word of its own."""
    within = ['ip', 'netns', 'exec', namespace] if namespace else []
    run(*within, 'sysctl', '-qw', f'net.ipv6.conf.{name}.disable_ipv6=1')
    run(*within, 'ip', 'link', 'set', name, 'arp', 'off', 'multicast', 'off', 'up')


def packet_socket(name):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.bind((name, 0))
    return s


# --- frames

def ethernet(kind, payload, tags=()):
    return OTHER_MAC + OUR_MAC + b''.join(struct.pack('>HH', 0x8100, tag) for tag in tags) + struct.pack('>H', kind) + payload


def ip4(protocol, payload, fragment=0, src='10.9.0.1', dst='10.9.0.2'):
    return struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(payload), 7, fragment, 64, protocol, 0, socket.inet_aton(src), socket.inet_aton(dst)) + payload


def ip6(next_header, payload):
    return struct.pack('>IHBB16s16s', 6 << 28, len(payload), next_header, 64, socket.inet_pton(socket.AF_INET6, 'fd00::1'), socket.inet_pton(socket.AF_INET6, 'fd00::2')) + payload


def tcp(src, dst, flags): return struct.pack('>HHIIBBHHH', src, dst, 1, 2, 5 << 4, flags, 100, 0, 0)
def udp(src, dst, data=b'twelve bytes'): return struct.pack('>HHHH', src, dst, 8 + len(data), 0) + data


KEY = 'ethertype', 'vlan', 'src', 'dst', 'protocol', 'src_port', 'dst_port', 'icmp', 'icmp_id', 'later_fragment', 'tcp_flags'
V4, V6 = ('10.9.0.1', '10.9.0.2'), ('fd00::1', 'fd00::2')
# What is sent (a frame and how often), and the one flow that it must be.
KINDS = {
    'TCP, flags of all packets': ([(ethernet(0x0800, ip4(6, tcp(1000, 80, 0x02))), 3), (ethernet(0x0800, ip4(6, tcp(1000, 80, 0x10))), 2)],
                                  (0x0800, None, *V4, 6, 1000, 80, None, None, False, 0x12)),
    'TCP over IPv6': ([(ethernet(0x86DD, ip6(6, tcp(1001, 443, 0x11))), 4)], (0x86DD, None, *V6, 6, 1001, 443, None, None, False, 0x11)),
    'UDP': ([(ethernet(0x0800, ip4(17, udp(1002, 53))), 6)], (0x0800, None, *V4, 17, 1002, 53, None, None, False, None)),
    'UDP behind IPv6 options': ([(ethernet(0x86DD, ip6(0, bytes([60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0]) + udp(1003, 53))), 7)],
                                (0x86DD, None, *V6, 17, 1003, 53, None, None, False, None)),
    'ICMP echo': ([(ethernet(0x0800, ip4(1, struct.pack('>BBHHH', 8, 0, 0, 77, 1))), 8)], (0x0800, None, *V4, 1, None, None, (8, 0), 77, False, None)),
    'ICMP error': ([(ethernet(0x0800, ip4(1, struct.pack('>BBHI', 3, 1, 0, 0))), 2)], (0x0800, None, *V4, 1, None, None, (3, 1), None, False, None)),
    'ICMPv6 echo': ([(ethernet(0x86DD, ip6(58, struct.pack('>BBHHH', 129, 0, 0, 78, 1))), 9)], (0x86DD, None, *V6, 58, None, None, (129, 0), 78, False, None)),
    'SCTP': ([(ethernet(0x0800, ip4(132, struct.pack('>HHII', 1004, 3868, 1, 2))), 10)], (0x0800, None, *V4, 132, 1004, 3868, None, None, False, None)),
    'a VLAN': ([(ethernet(0x0800, ip4(17, udp(1005, 53)), [0x2064]), 11)], (0x0800, 100, *V4, 17, 1005, 53, None, None, False, None)),
    'a VLAN in a VLAN': ([(ethernet(0x86DD, ip6(17, udp(1006, 53)), [200, 100]), 12)], (0x86DD, 200, *V6, 17, 1006, 53, None, None, False, None)),
    'a first fragment': ([(ethernet(0x0800, ip4(17, udp(1007, 53), 0x2000)), 13)], (0x0800, None, *V4, 17, 1007, 53, None, None, False, None)),
    'a later fragment': ([(ethernet(0x0800, ip4(17, udp(1007, 53), 0x0010)), 14)], (0x0800, None, *V4, 17, None, None, None, None, True, None)),
    'ports that were cut off': ([(ethernet(0x0800, ip4(17, b'\1')), 15)], (0x0800, None, *V4, 17, None, None, None, None, False, None)),
    'no IP': ([(ethernet(0x0806, bytes(28)), 16)], (0x0806, None, None, None, None, None, None, None, None, False, None)),
}


def key(flow):
    headers = flow['headers']
    return tuple(tuple(headers[k]) if isinstance(headers[k], list) else headers[k] for k in KEY)


def balanced(what, last):
    counts = {k[len('ebpf_flow_'):]: v for k, v in last['counts'].items() if k.startswith('ebpf_flow_')}
    check(f'{what}: seen = joined + spilled + lost', counts['seen'] == counts['joined'] + counts['spilled'] + counts['lost'], counts)
    return counts


run('ip', 'netns', 'add', 'flows')
veth('ea0', 'ea1', 'flows')

# Every kind of packet, at both ends of a pair, one in another network namespace.
probe = Probe('ea0', '/run/netns/flows:ea*')
sender = packet_socket('ea0')
for frames, _ in KINDS.values():
    for frame, times in frames:
        for _ in range(times):
            sender.send(frame)
flows, last = probe.drain()
for interface, out in ('ea0', True), ('ea1', False):
    found = {}
    for flow in flows:
        if flow['interface'] == interface:
            check(f'{interface}: {key(flow)} goes one way, is told once, and its times are in order',
                  flow['out'] == out and key(flow) not in found and flow['first'] <= flow['last'], flow)
            found[key(flow)] = flow['packets'], flow['bytes']
    for what, (frames, wanted) in KINDS.items():
        sent = sum(times for _, times in frames), sum(times * len(frame) for frame, times in frames)
        check(f'{interface}: {what}', found.pop(wanted, None) == sent, f'{sent} were sent; {found}')
    check(f'{interface}: nothing else', not found, found)
check('both namespaces are told apart', len({flow['namespace'] for flow in flows}) == 2)
balanced('all kinds', last)
check('nothing is told twice', probe.drain()[0] == [])

# Two senders on the same flows while the maps are drained again and again.
PACKETS = 40_000
frames = [ethernet(0x0800, ip4(17, udp(2000 + n, 53))) for n in range(4)]
before = probe.drain()[1]['counts']['ebpf_flow_seen']
children = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        for n in range(PACKETS):
            sender.send(frames[n % 4])
        os._exit(0)
    children.append(child)
flows, drains = [], 0
while children:
    flows += probe.drain()[0]
    drains += 1
    children = [child for child in children if os.waitpid(child, os.WNOHANG) == (0, 0)]
rest, last = probe.drain()
flows += rest
sums = {}
for flow in flows:
    sums[flow['interface'], flow['headers']['src_port']] = sums.get((flow['interface'], flow['headers']['src_port']), 0) + flow['packets']
wanted = {(interface, 2000 + n): 2 * PACKETS // 4 for interface in ('ea0', 'ea1') for n in range(4)}
check(f'two senders, {drains} drains beside them: each packet once', sums == wanted, sums)
check('the kernel counted the same', balanced('two senders', last)['seen'] - before == 4 * PACKETS, last)
probe.end()

# Interfaces that come and go.
probe = Probe('ea0', 'fl*', '/run/netns/flows:fl*')
base = probe.drain()[1]['counts']['ebpf_interfaces']
flows, ROUNDS, FRAMES = [], 20, 25
for _ in range(ROUNDS):
    veth('fl0', 'fl1', 'flows')
    flows += probe.wait_for_interfaces(base + 2)[0]
    s = packet_socket('fl0')
    for n in range(FRAMES):
        s.send(frames[n % 4])
    s.close()
    run('ip', 'link', 'del', 'fl0')
more, last = probe.wait_for_interfaces(base)
sums = {}
for flow in flows + more:
    sums[flow['interface']] = sums.get(flow['interface'], 0) + flow['packets']
check('interfaces that come and go: each packet once, by name', sums == {'fl0': ROUNDS * FRAMES, 'fl1': ROUNDS * FRAMES}, sums)
for n in range(40):
    run('ip', 'link', 'add', f'fl{n}', 'type', 'veth', 'peer', 'name', f'fx{n}', 'netns', 'flows')
    run('ip', 'link', 'del', f'fl{n}')
last = probe.wait_for_interfaces(base)[1]
check('flapping leaves nothing behind', last['counts']['ebpf_interfaces'] == base and last['counts']['ebpf_interfaces_failed'] == 0, last)
run('ip', 'link', 'add', 'ex0', 'type', 'veth', 'peer', 'name', 'ex1', 'netns', 'flows')
run('ip', 'link', 'set', 'ex0', 'name', 'fl9')
check('an interface that gets a fitting name is watched', probe.wait_for_interfaces(base + 1)[1]['counts']['ebpf_interfaces'] == base + 1)
run('ip', 'link', 'set', 'fl9', 'name', 'ex0')
check('and left alone when it loses it', probe.wait_for_interfaces(base)[1]['counts']['ebpf_interfaces'] == base)
# A namespace that is watched can be deleted, and be there again.
run('ip', 'netns', 'add', 'again')
other = Probe('/run/netns/again:ag*')
veth('ag0', 'ag1', 'again')
check('an interface of another namespace', other.wait_for_interfaces(1)[1]['counts']['ebpf_interfaces'] == 1)
run('ip', 'netns', 'del', 'again')
deadline = time.monotonic() + 30
while os.path.exists('/sys/class/net/ag0') and time.monotonic() < deadline:
    time.sleep(0.05)
check('the namespace goes when it is deleted, and its end of the pair with it', not os.path.exists('/sys/class/net/ag0'))
check('its interface is not watched any more', other.wait_for_interfaces(0)[1]['counts']['ebpf_interfaces'] == 0)
run('ip', 'netns', 'add', 'again')
veth('ag0', 'ag1', 'again')
check('a namespace that is there again is watched again', other.wait_for_interfaces(1)[1]['counts']['ebpf_interfaces'] == 1)
other.end()
probe.end()

# 100,000 flows at once, with room and without.
FLOWS = 100_000


def send_many(rounds):
    frame = bytearray(frames[0])
    for n in range(rounds * FLOWS):
        struct.pack_into('>HH', frame, 34, n % FLOWS & 0xffff, 1000 + (n % FLOWS >> 16))
        sender.send(frame)


length = len(frames[0])
probe = Probe('--sums', '--max-flows', str(1 << 18), 'ea0', '/run/netns/flows:ea1')
send_many(2)
counts = balanced('100,000 flows', last := probe.drain()[1])
check('100,000 flows at both ends, two packets each, none lost',
      last['drained'] == {'events': 0, 'flows': 2 * FLOWS, 'spilled': 0} and last['packets_and_bytes']['flows'] == [4 * FLOWS, 4 * FLOWS * length], last)
memory = probe.memory()
check('memory is bounded', memory < 64, f'{memory} MB')
probe.end()
probe = Probe('--sums', '--max-flows', '1000', 'ea0', '/run/netns/flows:ea1')
send_many(1)
counts = balanced('full maps', last := probe.drain()[1])
check('full maps: all are counted', counts['seen'] == 2 * FLOWS and counts['lost'] > 0 and counts['spilled'] > 0, counts)
check('full maps: what was not lost is told', last['packets_and_bytes']['flows'][0] == counts['joined'] + counts['spilled'] and last['drained']['flows'] == 1000
      and last['drained']['spilled'] == counts['spilled'], last)
send_many(1)
again = balanced('full maps again', last := probe.drain()[1])
check('there is room again', last['packets_and_bytes']['flows'][0] == again['joined'] + again['spilled'] - counts['joined'] - counts['spilled'] > 0, last)
probe.end()
sys.exit(failures > 0)
