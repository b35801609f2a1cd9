"""Conntrack entries and datapath totals by policy, against what lab-traffic says it sent."""
import json
import sys

out = sys.argv[1]
traffic = json.load(open(f'{out}/traffic'))
failures = 0


def check(what, good, detail=''):
    global failures
    failures += not good
    print('ok    ' if good else 'FAILED', what, '' if good else detail)


for n in (1, 2):
    entries = [json.loads(line) for line in open(f'{out}/connections{n}')]
    named = [e for e in entries if e.get('owner')]
    check(f'node {n}: conntrack entries are named', len(named) >= 10, len(named))
    check(f'node {n}: every point in conntrack is named', all(e.get('owner') for e in entries if e['conntrack']['point']),
          [e for e in entries if e['conntrack']['point'] and not e.get('owner')][:2])
    check(f'node {n}: conntrack zones have their ports', all(e['conntrack'].get('port') for e in named), named[:1])
    totals = [json.loads(line) for line in open(f'{out}/totals{n}')]
    check(f'node {n}: datapath totals are named', totals and all(t.get('acl') for t in totals), totals[:2])

# The datapath does not count the packet that makes a flow; it must not count any twice.
want = {}
for flow in traffic['packets']:
    if flow['protocol'] == 'tcp' and flow['at'] == 'frontend/client' and flow['direction'] == 'out' and flow['dport'] in (5201, 80):
        want[flow['node']] = want.get(flow['node'], 0) + flow['packets'] - 1
rows = [t for t in map(json.loads, open(f'{out}/totals1')) if 'to-backend' in t['message']]
established = sum(t['established_packets'] for t in rows)
check('node 1: totals of to-backend do not count doubles', 0 < established <= 4 * sum(want.values()) and any(t['doubles'] for t in rows), (established, want, rows))
sys.exit(failures > 0)
