"""Holds both agents of the lab to what they say of themselves."""
import os
import re
import sys
import time
import urllib.request

failures = 0


def check(what, good, detail=''):
    global failures
    failures += not good
    print('ok    ' if good else 'FAILED', what, '' if good else detail)


def get(port, path):
    with urllib.request.urlopen(f'http://127.0.0.1:{port}{path}', timeout=10) as answer:
        return answer.read().decode()


for node, port in (1, 8481), (2, 8482):
    name = f'the agent of node {node}'
    check(f'{name} is ready', get(port, '/readyz') == 'ready\n')
    # Reports are kept every 10 s, and the page is made every 5 s.
    end = time.monotonic() + 30
    while True:
        page = get(port, '/metrics')
        values = {key: float(value) for key, value in re.findall(r'^(\w+(?:\{.*\})?) (\S+)$', page, re.M)}
        if values['netverdict_agent_kept_reports_total'] or time.monotonic() > end:
            break
        time.sleep(0.2)
    check(f'{name} is connected', values['netverdict_agent_connected'] == 1, page)
    check(f'{name} has reported', values['netverdict_agent_sent_reports_total'] > 0, page)
    check(f'{name} knows that reports are kept', values['netverdict_agent_kept_reports_total'] > 0, page)
    check(f'{name} has the same clock as the server', abs(values['netverdict_agent_clock_ahead_seconds']) < 0.5, page)
    lost = [k for k, v in values.items() if re.search('dropped|unwritten|unread', k) and v]
    check(f'{name} has lost nothing', not lost, lost)
    with open(f'{os.path.dirname(__file__)}/../../docs/agent.md') as file:
        told = set(re.findall(r'`(netverdict_agent_\w+)`', file.read()))
    names = {re.sub(r'\{.*', '', key) for key in values}
    check(f'docs/agent.md has the metrics of {name}, and no others', names == told, names ^ told)
with open(f'{sys.argv[1]}/agent-1') as file:
    said = file.read()
check('the first says why it reads IPFIX', 'psample does not work here' in said or 'reading psample' in said, said)
with urllib.request.urlopen('http://127.0.0.1:8480/api/v1/sources', timeout=10) as answer:
    sources = answer.read().decode()
check('the server tells what agents count', 'decisions of the agent on ovn-worker-2' in sources, sources)
sys.exit(failures > 0)
