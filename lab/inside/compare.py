"""compare.py TRAFFIC SAMPLES1 SAMPLES2: the acl-new samples that lab-listen saw on nodes 1 and 2 are those that lab-traffic calls for, no more and no less."""
import json
import sys

traffic = json.load(open(sys.argv[1]))
wanted = {(n['node'], n['point']): n['count'] for n in traffic['new']}
seen, total = {}, 0
for node, path in enumerate(sys.argv[2:], 1):
    received = json.loads(open(path).read().removeprefix('ready\n'))
    if received['overruns'] or received['socket_drops']:
        sys.exit(f'node {node} lost samples: {received}')
    for sample in received['samples']:
        total += sample['count']
        if sample['domain'] >> 24 == 2:
            key = node, sample['point']
            seen[key] = seen.get(key, 0) + sample['count']
wrong = [f'node {n} point {p}: {seen.get((n, p), 0)} samples, not {wanted.get((n, p), 0)}' for n, p in sorted(wanted.keys() | seen.keys())
         if seen.get((n, p)) != wanted.get((n, p))]
print(f'{len(wanted)} points, {sum(seen.values())} acl-new samples of {total}', *wrong, sep='\n')
sys.exit(bool(wrong))
