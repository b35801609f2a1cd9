"""Decisions of both nodes against what lab-traffic says it sent. Prints a line a check; exit status 1 if one failed."""
import json
import os
import re
import sys
from collections import Counter, defaultdict

out = sys.argv[1]
traffic = json.load(open(f'{out}/traffic'))
failures = 0


def check(what, good, detail=''):
    global failures
    failures += not good
    print('ok    ' if good else 'FAILED', what, '' if good else detail)


rows = {n: [json.loads(line) for line in open(f'{out}/decisions{n}')] for n in (1, 2)}
summary = {n: open(f'{out}/summary{n}').read() for n in (1, 2)}
probe = os.path.exists(f'{out}/kprobe')
if probe:
    called = int(open(f'{out}/kprobe').read())
    check('every call of psample_sample_packet became a decision', called == sum(map(len, rows.values())), f'{called} {[len(r) for r in rows.values()]}')
for n in () if probe else (1, 2):
    exported = [sum(map(int, re.findall(r'sampled pkts=(\d+)', open(f'{out}/{when}{n}').read()))) for when in ('before', 'after')]
    check(f'node {n}: every sample that Open vSwitch took became a decision', exported[1] - exported[0] == len(rows[n]),
          f'{exported} {len(rows[n])}')
for n in (1, 2):
    check(f'node {n}: all resolved, all by one holder of the point', all(r['evidence'] == 'point' for r in rows[n]),
          Counter((r['evidence'], r.get('unresolved')) for r in rows[n]))
    check(f'node {n}: summary agrees', f'{len(rows[n])} samples: {len(rows[n])} resolved, 0 unresolved' in summary[n], summary[n])

# Packets: for each flow that tcpdump counted at a pod, each ACL that judged it judged each packet once.
ICMP = {'icmp', 'icmp6', 'icmpv6'}
judged = {n: defaultdict(Counter) for n in (1, 2)}
for n in (1, 2):
    for r in rows[n]:
        key = (r['src']['ip'], r['dst']['ip'], r['src'].get('port'), r['dst'].get('port'))
        judged[n][key][r['owner']['kind'], r['message'], r['app']] += r['packets']
compared = 0
for flow in traffic['packets']:
    if flow['protocol'] in ICMP or flow['protocol'] == 'icmp-error':
        continue
    by_acl = defaultdict(int)
    for (kind, message, app), packets in judged[flow['node']].get((flow['src'], flow['dst'], flow['sport'], flow['dport']), {}).items():
        # Pass judges the first packet and hands over; an egress firewall judges the first packet of a flow that others admit.
        if not message.startswith('Delegated') and kind != 'EgressFirewall':
            by_acl[message] += packets
    for message, packets in by_acl.items():
        compared += 1
        check(f"{flow['at']} {flow['direction']} {flow['protocol']} {flow['src']} > {flow['dst']}: {message}", packets == flow['packets'],
              f"{packets} packets, not {flow['packets']}")
check('flows were compared', compared > 40, compared)
check('nothing was left out by tcpdump', traffic['packets_not_counted'] == 0, traffic['packets_not_counted'])

# New: exactly the points that the traffic calls for. (How often is checked above; a slow machine sends a SYN again.)
wanted = {(n['node'], n['point']) for n in traffic['new']}
seen = {(n, r['point']) for n in (1, 2) for r in rows[n] if r['app'] == 'acl-new'}
check('acl-new decisions are those that the traffic calls for', wanted == seen, wanted ^ seen)

everything = rows[1] + rows[2]
for what, found in {
    'allowed': lambda r: r['verdict'] == 'allowed', 'dropped': lambda r: r['verdict'] == 'dropped',
    'rejected': lambda r: r['verdict'] == 'rejected', 'delegated': lambda r: r['verdict'] == 'delegated',
    'established': lambda r: r['app'] == 'acl-est', 'a reply': lambda r: r['reply'] is True,
    'UDP': lambda r: r['protocol'] == 'udp', 'ICMP': lambda r: r['protocol'] == 'icmp', 'ICMPv6': lambda r: r['protocol'] == 'icmp6',
    'IPv6 TCP': lambda r: ':' in r['src']['ip'] and r['protocol'] == 'tcp',
    'a service': lambda r: r.get('service', {}).get('name') == 'iperf' and r['dst'].get('pod') == 'server',
    'a double': lambda r: r.get('double'),
}.items():
    check(f'there is {what}', any(map(found, everything)))
pods = {'10.244', 'fd00:10:244'}
unnamed = {e['ip'] for r in everything for e in (r['src'], r['dst']) if re.match(r'(10\.244\.\d+|fd00:10:244:\d+:):?[5-9]?', e['ip']) and e['kind'] == 'external'}
check('both ends are named across zones', not unnamed, unnamed)
sys.exit(failures > 0)
