"""northd.py FIXTURES: applies the manifests to real OVN and looks at what ovn-northd made of the rows; then again, elsewhere, and interrupted.

Runs in the native lab with empty databases."""
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading

import ovn

FIXTURES = sys.argv[1]
failed = 0


def check(name, wrong):
    """Prints one line; `wrong` lists what is not as it should be."""
    global failed
    wrong = list(wrong)
    failed += bool(wrong)
    print(f'{"FAILED" if wrong else "ok"}: {name}', *(f'  {w}' for w in wrong[:20]), sep='\n', flush=True)


class Rows:
    """What a database holds, by table and uuid."""
    NOT_OURS = {'NB_Global', 'Connection', 'SSL'}

    def __init__(self, database):
        self.tables = {table: {row['_uuid'][1]: row for row in rows} for table, rows in database.contents().items() if table not in self.NOT_OURS}

    def of(self, table):
        return self.tables[table].values()

    def same_rows(self, other):
        """The tables in which a row came, went or was written, though it were with what it had."""
        return [t for t in self.tables if {(u, r['_version'][1]) for u, r in self.tables[t].items()} != {(u, r['_version'][1]) for u, r in other.tables[t].items()}]

    def meaning(self):
        """All rows, with each reference replaced by what it refers to: equal for equal contents."""
        names = {uuid: None for rows in self.tables.values() for uuid in rows}

        def plain(value):
            if isinstance(value, list) and value[:1] == ['uuid']:
                if value[1] in names and names[value[1]] is None:
                    names[value[1]] = '...'
                    table = next(t for t in self.tables if value[1] in self.tables[t])
                    names[value[1]] = row(table, self.tables[table][value[1]])
                return names.get(value[1], '?')
            if isinstance(value, list) and value[:1] in (['set'], ['map']):
                return [value[0], sorted((plain(v) for v in value[1]), key=json.dumps)]
            return [plain(v) for v in value] if isinstance(value, list) else value

        def row(table, columns):
            return {c: plain(v) for c, v in sorted(columns.items()) if c not in ('_uuid', '_version', 'up')}

        return {table: sorted((row(table, r) for r in rows.values()), key=json.dumps) for table, rows in self.tables.items()}


def differing(a, b):
    return [f'{table}: {len(a[table])} rows and {len(b[table])}, first unlike: {next((x, y) for x, y in zip(a[table] + [None], b[table] + [None]) if x != y)}'
            for table in a if a[table] != b[table]]


def judge_rows(northbound, southbound):
    """Every row of ours has become what northd makes of such rows."""
    nb, sb = Rows(northbound), Rows(southbound)
    flows = {}
    for flow in sb.of('Logical_Flow'):
        hint = dict(flow['external_ids'][1]).get('stage-hint')
        flows.setdefault(hint, []).append(flow['match'])
    of_group = {uuid: group for group in nb.of('Port_Group') for _, uuid in ovn.values(group['acls'])}
    asleep, wrong, twins = 0, [], {}  # northd makes one flow of ACLs that say the same, and names one of them in it
    for uuid, acl in nb.tables['ACL'].items():
        twins.setdefault(json.dumps([acl[c] for c in ('direction', 'tier', 'priority', 'action', 'match', 'options')]), []).append(uuid)
    for same in twins.values():
        awake = [u for u in same if u not in of_group or ovn.values(of_group[u]['ports'])]
        asleep += len(same) - len(awake)  # a port group without ports is on no switch
        acl = nb.tables['ACL'][same[0]]
        if awake and not any(acl['match'] in match for u in awake for match in flows.get(u[:8], [])):
            wrong.append(f'{acl["match"]} ({dict(acl["external_ids"][1]).get("k8s.ovn.org/id")}): {[flows.get(u[:8], "no flow") for u in awake]}')
    check(f'{len(nb.of("ACL")) - asleep} ACLs are logical flows ({asleep} are on port groups without ports)', wrong)
    check('not all port groups are without ports', [] if len(nb.of('ACL')) > 2 * asleep else [asleep])
    switch_of_port = {uuid: switch['_uuid'][1] for switch in nb.of('Logical_Switch') for _, uuid in ovn.values(switch['ports'])}
    key_of_switch = {dict(d['external_ids'][1]).get('logical-switch'): d['tunnel_key'] for d in sb.of('Datapath_Binding')}
    groups = {g['name'] for g in sb.of('Port_Group')}
    wanted = {f'{key_of_switch[switch_of_port[port]]}_{group["name"]}' for group in nb.of('Port_Group') for _, port in ovn.values(group['ports'])}
    check(f'{len(nb.of("Port_Group"))} port groups are in the southbound database ({len(wanted)} with their switches)', wanted - groups)
    sets = {s['name']: sorted(ovn.values(s['addresses'])) for s in sb.of('Address_Set')}
    check(f'{len(nb.of("Address_Set"))} address sets are in the southbound database with their addresses',
          [s['name'] for s in nb.of('Address_Set') if sets.get(s['name']) != sorted(ovn.values(s['addresses']))])
    tracer = ovn.Tracer(1)
    check('ovn-trace can parse every flow', tracer.complaints())
    tracer.close()
    check('ovn-northd complains of nothing', ovn.complaints_of_northd())


class Cut:
    """A way to the northbound database that kills whoever uses it when it has sent so many messages: before the last one is whole, or after."""

    def __init__(self, path, messages, whole):
        self.messages, self.whole, self.process, self.cut = messages, whole, None, False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.started = threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(ovn.NB)
            threading.Thread(target=self.pass_on, args=(server, client), daemon=True).start()
            threading.Thread(target=self.count, args=(client, server), daemon=True).start()

    def pass_on(self, source, sink):
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def count(self, client, server):
        text, decoder = '', json.JSONDecoder()
        try:
            while data := client.recv(1 << 16):
                text += data.decode()
                while text:
                    try:
                        _, end = decoder.raw_decode(text)
                    except ValueError:
                        break
                    self.messages -= 1
                    if self.messages == 0:
                        message = text[:end] if self.whole else text[:end // 2]
                        server.sendall(message.encode())
                        self.started.wait()
                        self.cut = True
                        self.process.kill()
                        return
                    server.sendall(text[:end].encode())
                    text = text[end:].lstrip()
            server.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def interrupted(northbound, wanted):
    """Killed after each message that `apply` sends, in the middle of it and at its end; then done again."""
    wrong, cuts, message, done = [], 0, 0, False
    while not done and message < 40:
        message += 1
        for whole in False, True:
            northbound.empty()
            path = f'/tmp/cut-{message}-{whole}.sock'
            cut = Cut(path, message, whole)
            cut.process = subprocess.Popen(['netverdict', 'apply', FIXTURES, '--nb', f'unix:{path}'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            cut.started.set()
            status = cut.process.wait()
            if not cut.cut:
                done = True
                break
            cuts += 1
            if status != -signal.SIGKILL:
                wrong.append(f'message {message}: ended with {status} before it was killed')
            try:
                ovn.apply(FIXTURES)
            except ovn.Refused as e:
                wrong.append(f'killed at message {message} ({"its end" if whole else "its middle"}): {e}')
                continue
            wrong += [f'killed at message {message}: {d}' for d in differing(Rows(northbound).meaning(), wanted)]
    check(f'killed at {cuts} places, each time done again to the same end', wrong)
    check('there was something to kill', [] if cuts >= 4 and done else [f'{cuts} cuts, came to its end: {done}'])


def main():
    ovn.watch_northd()
    northbound, southbound = ovn.Database(ovn.NB, 'OVN_Northbound'), ovn.Database(ovn.SB, 'OVN_Southbound')
    configured = ['--enable-multicast', '--enable-stateless-netpol', '--allow-icmp-network-policy']
    for options in ['--compat', 'strict'], ['--compat', 'strict', *configured], ['--compat', 'strict', '--sampling', 'off'], configured, ['--sampling', 'off'], []:
        northbound.empty()
        ovn.apply(FIXTURES, *options)
        ovn.wait_for_northd()
        print(f'--- apply {" ".join(options)}')
        judge_rows(northbound, southbound)

    print('--- again')
    before = Rows(northbound)
    ovn.apply(FIXTURES)
    after = Rows(northbound)
    check('apply again touches no row', after.same_rows(before))

    print('--- there and back')
    wanted = before.meaning()
    shutil.copytree(FIXTURES, '/tmp/fewer')
    for path in sorted(glob.glob('/tmp/fewer/*'))[1:]:
        os.unlink(path)
    ovn.apply('/tmp/fewer')
    policies = [dict(acl['external_ids'][1]).get('k8s.ovn.org/owner-type') for acl in Rows(northbound).of('ACL')]
    check('without its policies no ACL of them is left', {'NetworkPolicy', 'NetpolNamespace', 'AdminNetworkPolicy', 'BaselineAdminNetworkPolicy',
                                                        'EgressFirewall'} & set(policies))
    ovn.apply(FIXTURES)
    check('with them again everything is as before', differing(Rows(northbound).meaning(), wanted))
    ovn.wait_for_northd()
    check('ovn-northd complains of nothing', ovn.complaints_of_northd())

    print('--- interrupted')
    interrupted(northbound, wanted)
    sys.exit(bool(failed))


main()
