"""The logical flows of the ACL stages, `netverdict lflow` against real ovn-northd, on random northbound databases (nb.py).

SEED and N (databases for each way of sampling) are read from the environment; a database that failed is printed as the seed that makes it alone."""
import collections
import itertools
import json
import os
import random
import re
import subprocess
import sys

sys.path[0] = os.path.dirname(sys.path[0])  # all of lab/, and not this directory, which has a policy.py

import twin.nb as nb
from policy.ovn import NB, NORTHD_PID, SB, Database, Connection, values, wait_for_northd

SEED = os.environ.get('SEED', '1')
COUNT = int(os.environ.get('N') or 100)
RELEASE = re.search(r'(\d+\.\d+)', subprocess.run(['ovn-northd', '--version'], capture_output=True, text=True, check=True).stdout)[1]
STAGES = re.compile(r'ls_(in|out)_(pre_acl|acl_.*|stateful)$')
LEAST, ALL = 5, COUNT >= 100  # fewer databases need not have all there is
COLUMNS = ('logical_datapath', 'logical_dp_group', 'pipeline', 'table_id', 'priority', 'match', 'actions', 'controller_meter', 'external_ids')


def of_northd(southbound):
    """The flows of each switch as northd wrote them."""
    names = {row['_uuid'][1]: dict(row['external_ids'][1])['name'] for row in southbound.rows('Datapath_Binding', '_uuid', 'external_ids')
             if 'logical-switch' in dict(row['external_ids'][1]) or dict(row['external_ids'][1]).get('type') == 'logical-switch'}
    groups = {row['_uuid'][1]: [uuid for _, uuid in values(row['datapaths'])] for row in southbound.rows('Logical_DP_Group', '_uuid', 'datapaths')}
    flows = collections.defaultdict(collections.Counter)
    for row in southbound.rows('Logical_Flow', *COLUMNS):
        stage = dict(row['external_ids'][1])['stage-name']
        if not STAGES.match(stage):
            continue
        datapaths = [uuid for _, uuid in values(row['logical_datapath'])] + [d for _, group in values(row['logical_dp_group']) for d in groups[group]]
        meter = values(row['controller_meter'])
        for datapath in datapaths:
            flows[names[datapath]][row['pipeline'], row['table_id'], stage, row['priority'], row['match'], row['actions'], *meter] += 1
    return flows


def of_netverdict():
    done = subprocess.run(['netverdict', 'lflow', '--ovn-version', RELEASE, '-o', 'json'], capture_output=True, text=True)
    if done.returncode or done.stderr:
        raise RuntimeError(f'netverdict lflow: {done.returncode}\n{done.stderr}')
    flows = collections.defaultdict(collections.Counter)
    for line in done.stdout.splitlines():
        flow = json.loads(line)
        meter = [flow['controller_meter']] if 'controller_meter' in flow else []
        flows[flow['datapath']][flow['pipeline'], flow['table'], flow['stage'], flow['priority'], flow['match'], flow['actions'], *meter] += 1
    return flows


def text_differs():
    """The same as text, but for the UUID of the datapath, which ovn-sbctl knows and NB does not."""
    def lines(command):
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        known = {}
        for line in text.splitlines():
            line = re.sub(r' \(\S*\)  Pipeline', '  Pipeline', line)
            if line.startswith('Datapath'):
                header = line
            elif STAGES.match(re.search(r'\((\S+) *\)', line)[1]):
                known.setdefault(header, []).append(line)
        return known
    real, ours = lines(['ovn-sbctl', 'lflow-list']), lines(['netverdict', 'lflow', '--ovn-version', RELEASE])
    return [] if real == ours else [f'as text: {header}' for header in real | ours if real.get(header) != ours.get(header)] or ['as text: the order of switches']


def differences(real, ours):
    for switch in sorted(real | ours):
        for flow in sorted((real[switch] - ours[switch]).elements()):
            yield f'{switch}: only northd:     {flow}'
        for flow in sorted((ours[switch] - real[switch]).elements()):
            yield f'{switch}: only netverdict: {flow}'


def main():
    northbound, southbound = Database(NB, 'OVN_Northbound'), Database(SB, 'OVN_Southbound')
    northd = Connection(f'/run/ovn/ovn-northd.{open(NORTHD_PID).read().strip()}.ctl')
    northd.call('vlog/set', 'ANY:file:ERR')
    print(f'SEED={SEED} N={COUNT}: ovn-northd {RELEASE}', flush=True)
    cells, failed, total, again = collections.Counter(), 0, 0, 0
    variants = nb.VARIANTS
    alone = SEED.split('/')
    if len(alone) == 3:
        seeds = [(alone[1], SEED)]
    else:  # twice as many, if something is still too rare
        seeds = ((variant, f'{SEED}/{variant}/{n}') for n in range(2 * COUNT if ALL else COUNT) if n < COUNT or rare(cells) for variant in variants)
    number = -1
    for number, (variant, seed) in enumerate(seeds):
        made = nb.Northbound(random.Random(seed), variant, RELEASE)
        northbound.transact(*made.operations())
        wait_for_northd()
        real, ours = of_northd(southbound), of_netverdict()
        wrong = list(differences(real, ours))
        if wrong:
            # northd follows changes too, and not all of them well: a port that is at once deleted and made again elsewhere loses its peer. What
            # it writes from scratch counts.
            northd.call('inc-engine/recompute')
            wait_for_northd()
            real = of_northd(southbound)
            wrong = list(differences(real, ours))
            again += not wrong
        if number < 2 * len(variants) and not wrong:
            wrong = text_differs()
        total += sum(sum(flows.values()) for flows in real.values())
        if wrong:
            failed += 1
            print(f'FAILED: SEED={seed}', *wrong[:20], f'and {len(wrong) - 20} more' if len(wrong) > 20 else '', sep='\n  ', flush=True)
            if failed == 5:
                break
        cells.update(made.cells())
    print(f'{number + 1} databases, {total} flows; {failed} databases differ; {again} did until northd had been told to begin anew')
    seldom = rare(cells, print) if ALL and len(alone) < 3 else []
    if seldom:
        print('FAILED: too seldom', *seldom[:40], sep='\n  ')
    sys.exit(bool(failed or seldom))


def rare(cells, tell=lambda line: None):
    """What was exercised too seldom. Tells how often the rest was."""
    kinds, seldom = collections.defaultdict(dict), []
    for (what, cell), count in cells.items():
        kinds[what][cell] = count
    for what, counts in sorted(kinds.items()):
        sides = [sorted({cell[place] for cell in counts}, key=str) for place in range(len(next(iter(counts))))]
        wanted = [cell for cell in itertools.product(*sides) if not nb.unreachable(what, cell)]
        tell(f'  {what}: {len(wanted)} cells, each at least {min(counts.get(cell, 0) for cell in wanted)} times')
        seldom += [f'{what} {cell}: {counts.get(cell, 0)} times' for cell in wanted if counts.get(cell, 0) < LEAST]
    return seldom


main()
