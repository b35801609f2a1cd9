"""The contents of a NB without identities, which are new when a row comes back: apply-contents.py ENDPOINT."""
import json
import subprocess
import sys

LEFT_OUT = {'NB_Global', 'Connection', 'SSL'}
WRITTEN_BY_NORTHD = {('Logical_Switch_Port', 'up'), ('Logical_Switch_Port', 'dynamic_addresses'), ('Logical_Router_Port', 'status')}

dump = subprocess.run(['ovsdb-client', 'dump', '-f', 'json', sys.argv[1], 'OVN_Northbound'], capture_output=True, text=True, check=True)
rows = {}
for line in dump.stdout.splitlines():
    table = json.loads(line)
    name = table['caption'].split()[0]
    if name in LEFT_OUT:
        continue
    for values in table['data']:
        row = {column: value for column, value in zip(table['headings'], values) if (name, column) not in WRITTEN_BY_NORTHD}
        rows[row.pop('_uuid')[1]] = (name, row)


def has_uuid(value):
    return isinstance(value, list) and value != [] and (value[0] == 'uuid' or any(has_uuid(one) for one in value))


def label(uuid):
    name, row = rows[uuid]
    return name + ' ' + json.dumps({column: value for column, value in row.items() if not has_uuid(value)}, sort_keys=True)


def named(value):
    if isinstance(value, list) and value and value[0] == 'uuid':
        return label(value[1])
    if isinstance(value, list):
        inner = [named(one) for one in value]
        return [inner[0], sorted(inner[1], key=json.dumps)] if value and value[0] in ('set', 'map') else inner
    return value


lines = [name + ' ' + json.dumps({column: named(value) for column, value in row.items()}, sort_keys=True) for name, row in rows.values()]
print('\n'.join(sorted(lines)))
