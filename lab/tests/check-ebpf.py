"""What eBPF added up against psample's messages of the same packets. Prints a line a check; exit status 1 if one failed."""
import json
import re
import sys
from collections import Counter, defaultdict

out = sys.argv[1]
failures = 0


def check(what, good, detail=''):
    global failures
    failures += not good
    print('ok    ' if good else 'FAILED', what, '' if good else detail)


def read(name): return open(f'{out}/{name}').read()


def late(rows):
    """How many messages of one packet may have been taken for two packets: alike ones, more than 20 ms from each other. netlink leaves only that guess
    (verdict::doubles), and an emulated machine is slow; the kernel's programs know."""
    return sum((one['length'], one.get('tcp_flags')) == (two['length'], two.get('tcp_flags')) and nanoseconds(two) - nanoseconds(one) > 20_000_000
               for one, two in zip(rows, rows[1:]))


def nanoseconds(row):
    hours, minutes, seconds = row['time'][11:-1].split(':')
    return (int(hours) * 60 + int(minutes)) * 60_000_000_000 + int(float(seconds) * 1e9)


def connection(row):
    icmp = row.get('icmp') or {}
    return (row['src']['ip'], row['dst']['ip'], row.get('protocol'), row['src'].get('port'), row['dst'].get('port'), icmp.get('type'), icmp.get('code'), row['domain'], row['point'])


traffic = json.loads(read('traffic'))
calls = int(read('kprobe'))
truth = defaultdict(int)
for flow in traffic['packets']:
    if flow['protocol'] in ('tcp', 'udp'):
        truth[flow['node'], flow['src'], flow['dst'], flow['sport'], flow['dport']] = flow['packets']
check('300 short connections', read('short').strip() == '300', read('short'))
for n in (1, 2):
    rows = {kind: [json.loads(line) for line in open(f'{out}/{kind}{n}')] for kind in ('psample', 'ebpf')}
    counters = {kind: {name: int(value) for name, value in re.findall(r'(\w+): (\d+)$', read(f'{kind}-summary{n}'), re.M)} for kind in rows}
    ebpf = {name: counters['ebpf'].get(f'ebpf_{name}', 0) for name in ('seen', 'filtered', 'joined', 'doubles', 'spilled', 'lost')}
    print(f'node {n}:', ' '.join(f'{name} {value}' for name, value in ebpf.items()), '|', read(f'lookups{n}').strip())
    lost = int(re.search(r'lost:(\d+)', read(f'lookups{n}'))[1]) + counters['psample'].get('psample_dropped', 0)
    check(f'node {n}: nothing was lost on the way', lost == 0 and ebpf['lost'] == 0, (lost, ebpf))
    check(f'node {n}: every call of psample_sample_packet was seen', ebpf['seen'] == calls, (ebpf, calls))
    check(f'node {n}: seen = filtered + joined + doubles + spilled + lost', ebpf['seen'] == sum(ebpf.values()) - ebpf['seen'], ebpf)
    packets = {kind: Counter() for kind in rows}
    for kind, decisions in rows.items():
        for row in decisions:
            if not row.get('double'):
                packets[kind][connection(row)] += row['packets']
    check(f'node {n}: user space has what the kernel counted', sum(packets['ebpf'].values()) == ebpf['joined'] + ebpf['spilled'], ebpf)
    check(f'node {n}: as many samples as psample told of', len(rows['psample']) == ebpf['joined'] + ebpf['doubles'] + ebpf['spilled'], (len(rows['psample']), ebpf))
    check(f'node {n}: fewer events than packets', len(rows['ebpf']) < sum(packets['ebpf'].values()))
    check(f'node {n}: all resolved by one holder of the point', all(row['evidence'] == 'point' for row in rows['ebpf']), Counter(row['evidence'] for row in rows['ebpf']))
    told = defaultdict(list)
    for row in rows['psample']:
        told[connection(row)].append(row)
    unlike = {key: (packets['psample'][key], packets['ebpf'][key]) for key in packets['psample'] | packets['ebpf']
              if not 0 <= packets['psample'][key] - packets['ebpf'][key] <= late(told[key])}
    check(f'node {n}: {len(packets["ebpf"])} connections by cookie have the same packets', not unlike, dict(list(unlike.items())[:5]))
    if n == 1:
        # Record by record: which of them are further samples of a packet is a guess by time for both, and IPFIX tells milliseconds.
        told = {kind: Counter(map(connection, decisions)) for kind, decisions in (('ipfix', map(json.loads, open(f'{out}/ipfix1'))), ('psample', rows['psample']))}
        check(f'node {n}: IPFIX has as many records of each connection by cookie as psample has messages', told['ipfix'] == told['psample'],
              [(key, told['ipfix'][key], told['psample'][key]) for key in told['ipfix'] | told['psample'] if told['ipfix'][key] != told['psample'][key]][:5])
    compared, wrong = 0, {}
    for row in rows['ebpf']:
        # Pass judges the first packet and hands over; an egress firewall judges the first packet of a flow that others admit.
        if row['message'].startswith('Delegated') or row['owner']['kind'] == 'EgressFirewall':
            continue
        key = n, row['src']['ip'], row['dst']['ip'], row['src'].get('port'), row['dst'].get('port')
        if key in truth:
            wrong.setdefault((key, row['message']), [truth[key], 0])[1] += row['packets']
            compared += 1
    wrong = {key: value for key, value in wrong.items() if value[0] != value[1]}
    check(f'node {n}: each ACL judged each packet that the pods sent once', compared > 30 and not wrong, wrong)

# The probe without root: the same counts, and what conntrack knows.
lines = [json.loads(line) for line in read('probe').splitlines()]
events = [line['event'] for line in lines if 'event' in line]
counts = {name[5:]: value for name, value in lines[-1]['counts'].items()}
check('without root, by another hook: the same calls', counts['seen'] == calls and counts['lost'] == 0, (counts, calls))
check('and the same doubles', counts['joined'] + counts['doubles'] + counts['filtered'] == calls and counts['doubles'] > 0, counts)
# With room for 16 sums: the rest came by the ring, one by one.
full = json.loads(read('full').splitlines()[-1])
room = {name[5:]: value for name, value in full['counts'].items()}
check('with hardly any room: nothing is lost, nothing is counted twice', room['seen'] == calls and room['lost'] == 0 and room['spilled'] > 1000
      and full['packets_and_bytes']['events'][0] == room['joined'] + room['spilled'] == counts['joined'] and full['drained']['events'] == 16
      and full['drained']['spilled'] == room['spilled'], full)
entries = [(event['headers'], event['conntrack']) for event in events if event['conntrack']]
check('conntrack is told', len(entries) > 20, len(entries))
PORTS = ('src', 'dst', 'src_port', 'dst_port')
wrong = []
for headers, entry in entries:
    if headers['protocol'] not in (6, 17):
        continue
    # After DNAT a request looks like the reply turned round, and after un-DNAT an answer like the original turned round.
    turned = [[t[1], t[0], t[3], t[2]] for t in (entry['original'], entry['reply'])]
    packet = [headers[name] for name in PORTS]
    if packet not in ([entry['reply'][:4], turned[0]] if entry['is_reply'] else [entry['original'][:4], turned[1]]):
        wrong.append((packet, entry))
check('the direction is that of the packet', not wrong, wrong[:3])
services = [entry for _, entry in entries if entry['original'][1] in ('10.96.0.10', 'fd00:10:96::10')]
check('a service and its backend are both known', any(entry['reply'][0] in ('10.244.2.5', 'fd00:10:244:2::5') and entry['original'][3] == 80 and entry['reply'][2] == 5201
                                                      for entry in services), services[:3])
check('replies and requests are told apart', {entry['is_reply'] for _, entry in entries} == {True, False})
points = [(event['point'], int(event['conntrack']['label'][:8], 16)) for event in events if event['conntrack'] and event['domain'] >> 24 == 3]
check('the label has the point', points and all(one == other for one, other in points), points[:5])
check('zones of conntrack are told', all(entry['zone'] > 0 for _, entry in entries))
check('a missing capability is named', 'CAP_PERFMON is missing' in read('refused'), read('refused'))
sys.exit(failures > 0)
