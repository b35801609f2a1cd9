"""Decisions at 10 % beside another user of psample: labelled with their probability, and only our samples are ours."""
import json
import re
import sys

out = sys.argv[1]
rows = [json.loads(line) for line in open(f'{out}/tenth1')]
summary = open(f'{out}/tenth-summary1').read()
failures = 0


def check(what, good, detail=''):
    global failures
    failures += not good
    print('ok    ' if good else 'FAILED', what, '' if good else detail)


check('samples at 10 % say so', rows and {r['probability'] for r in rows} == {0.099992}, {r['probability'] for r in rows})
foreign = re.search(r'psample_foreign: (\d+)', summary)
check('messages of tc are counted as foreign', foreign and int(foreign[1]) >= 500, summary)
# 499 requests are sampled three times each at 10 %, 500 replies once: 200 samples, give or take five standard deviations.
check('as many as 10 % of the samples', 130 < len(rows) < 270, len(rows))
check('no packet is counted more than once', sum(r['packets'] for r in rows) == sum(not r.get('double') for r in rows) <= 1000)
sys.exit(failures > 0)
