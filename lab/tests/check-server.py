"""Sends the lab's traffic and holds a server's connections to it. Prints a line a check; exit status 1 if one failed."""
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter

out, url, pid = sys.argv[1], sys.argv[2], int(sys.argv[3])
failures = 0


def check(what, good, detail=''):
    global failures
    failures += not good
    print('ok    ' if good else 'FAILED', what, '' if good else detail)


def get(path, **parameters):
    with urllib.request.urlopen(f'{url}{path}?{urllib.parse.urlencode(parameters)}', timeout=60) as answer:
        body = answer.read().decode()
        return json.loads(body) if 'json' in answer.headers['content-type'] else body


def awaited(what):
    """Asks until the answer is true; the last answer after a minute."""
    end = time.monotonic() + 60
    while True:
        os.kill(pid, 0)
        try:
            answer = what()
        except urllib.error.URLError:
            answer = None
        if answer or time.monotonic() > end:
            return answer
        time.sleep(0.1)


check('the server is ready', awaited(lambda: get('/readyz')))
live = subprocess.Popen(['netverdict', 'observe', '--source', f'server:{url}', '-o', 'json'], stdout=open(f'{out}/live', 'w'))
awaited(lambda: get('/api/v1/sources')['live']['readers'] == 1)
traffic = json.loads(subprocess.run(['lab-traffic'], stdout=subprocess.PIPE, check=True).stdout)
with open(f'{out}/traffic', 'w') as file:
    json.dump(traffic, file)
flows = [flow for flow in traffic['flows'] if flow['decisions']]


def rows_of(rows, flow):
    """The rows between these ends; of ICMP any identifier."""
    icmp = flow['protocol'].startswith('icmp')
    protocols = {'icmp', 'icmp6'} if icmp else {flow['protocol']}

    def is_end(end, wanted):
        return end['ip'] == wanted['ip'] and (icmp or end.get('port') == wanted['port'])

    return [r for r in rows if r['protocol'] in protocols and is_end(r['src'], flow['from']) and is_end(r['dst'], flow['to'])]


def halves(flow):
    """What is decided last on the way out and on the way in, of those that do not leave it to others."""
    found = {}
    for decision in flow['decisions']:
        direction = 'egress' if ':Egress' in decision['id'] else 'ingress'
        if decision['action'] != 'pass':
            found[direction] = decision
    return found


def recorded():
    rows, after = [], {}
    while True:
        page = get('/api/v1/connections', since='-10m', limit=1000, **after)
        rows += page['items']
        if 'next' not in page:
            return rows
        after = {'after': page['next']}


def whole():
    rows = recorded()
    return rows if all(any(all(half in r for half in halves(f)) for r in rows_of(rows, f)) for f in flows) else None


rows = awaited(whole) or recorded()
with open(f'{out}/rows', 'w') as file:
    json.dump(rows, file, indent=1)


def key(row):
    return row['protocol'], row['src']['ip'], row['src'].get('port'), row['dst']['ip'], row['dst'].get('port')


def turned(row):
    return row['protocol'], row['dst']['ip'], row['dst'].get('port'), row['src']['ip'], row['src'].get('port')


keys = Counter(map(key, rows))
check('no connection is there twice', all(count == 1 for count in keys.values()), [k for k, count in keys.items() if count > 1])
check('no connection is there turned around', not any(turned(r) in keys for r in rows if r['src'].get('port') != r['dst'].get('port')),
      [key(r) for r in rows if turned(r) in keys])
joined = 0
for flow in flows:
    name, found = flow['name'], rows_of(rows, flow)
    check(f'{name}: one row', len(found) == 1, found)
    if len(found) != 1:
        continue
    row, = found
    wanted = 'allowed' if flow['expected'] == 'lost' else flow['expected']
    check(f'{name}: {wanted}', row['verdict'] == wanted, row)
    for direction, decision in halves(flow).items():
        half = row.get(direction, {})
        check(f"{name}: {direction} was decided on node {decision['node']}", half.get('zone') == f"ovn-worker-{decision['node']}", row)
        # An ACL without ovn-kubernetes' ids is nobody's.
        kind = (decision['id'].split(':') + [''])[1]
        good = half.get('owner', {}).get('kind') == kind and half['action'] == decision['action']
        check(f"{name}: {direction} was decided by {kind or decision['id']}", good, row)
    joined += row.get('egress', {}).get('zone', '') != row.get('ingress', {}).get('zone', '') and 'egress' in row and 'ingress' in row
    for end, place in ('src', 'from'), ('dst', 'to'):
        if flow[place].get('namespace'):
            named = row[end].get('namespace'), row[end].get('pod')
            check(f'{name}: {end} is named', named == (flow[place]['namespace'], flow[place]['name']), row[end])
    if flow['service']:
        service = row.get('service', {})
        check(f'{name}: the service is named', (service.get('ip'), service.get('port'), service.get('name')) == (*flow['service'].values(), 'iperf'), row)
check('rows have the verdicts of both zones', joined >= 6, joined)

groups = get('/api/v1/aggregates', since='-10m', q='| count by verdict')
check('groups count the same rows', sum(line[1] for line in groups['lines']) == len(rows), groups)
rules = get('/api/v1/rules', since='-10m', unused='false')['items']
check('rules have been used', any(r['owner']['kind'] == 'NetworkPolicy' and r['connections'] for r in rules), rules)
check('and some have not', get('/api/v1/rules', since='-10m', unused='true')['items'])
edges = get('/api/v1/topology', since='-10m')['edges']
check('an edge leads through the service', any(e.get('service', '').endswith('iperf') and e['to'].get('name') == 'server' for e in edges), edges)
first = rows[0]
check('a connection is there by its id', get(f"/api/v1/connections/{first['id']}")['id'] == first['id'])
body = json.dumps({'from': 'frontend/client', 'to': 'backend/server', 'port': '5201/tcp'}).encode()
request = urllib.request.Request(f'{url}/api/v1/explain', body, {'content-type': 'application/json'})
explained = json.load(urllib.request.urlopen(request, timeout=60))
check('it is explained as it happened', explained['verdict'] == 'allowed', explained)


def counted(name):
    counters = {c['name']: c['value'] for s in get('/api/v1/sources')['sources'] for c in s['counters'] if s['name'] == 'connections'}
    return counters[name]


updates = counted('updates')
seen = awaited(lambda: sum(1 for _ in open(f'{out}/live')) >= updates)
check('the live stream told every update', seen, updates)
live.terminate()
live.wait()
lines = subprocess.run(['netverdict', 'observe', '--source', f'server:{url}', '--since=-10m', 'verdict=dropped'], stdout=subprocess.PIPE, text=True).stdout
dropped = [r for r in rows if r['verdict'] == 'dropped']
check('observe shows what was dropped', len(lines.splitlines()) == len(dropped) and 'dropped' in lines, lines)
sys.exit(failures > 0)
