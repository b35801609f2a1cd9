"""Real OVN, as the judge needs it: an empty northbound database, `netverdict apply`, northd, and ovn-trace as a daemon."""
import json
import os
import re
import socket
import subprocess

NB, SB = '/run/ovn/ovnnb_db.sock', '/run/ovn/ovnsb_db.sock'
NORTHD_LOG, NORTHD_PID = '/var/log/ovn/ovn-northd.log', '/run/ovn/ovn-northd.pid'


class Connection:
    """JSON-RPC over a unix socket: OVSDB and the control sockets of daemons speak it alike."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.text = ''

    def call(self, method, *params):
        self.socket.sendall(json.dumps({'method': method, 'params': params, 'id': 0}).encode())
        while True:
            reply = self.reply()
            if reply.get('method') == 'echo':
                self.socket.sendall(json.dumps({'id': reply['id'], 'result': reply['params'], 'error': None}).encode())
            elif 'method' not in reply:
                if reply.get('error'):
                    raise RuntimeError(f'{method}: {reply["error"]}')
                return reply['result']

    def reply(self):
        while True:
            try:
                reply, end = json.JSONDecoder().raw_decode(self.text)
                self.text = self.text[end:].lstrip()
                return reply
            except ValueError:
                received = self.socket.recv(1 << 20).decode()
                if not received:
                    raise RuntimeError('the other side closed the connection') from None
                self.text += received


class Database:
    def __init__(self, path, name):
        self.connection, self.name = Connection(path), name
        self.tables = self.connection.call('get_schema', name)['tables']

    def transact(self, *operations):
        results = self.connection.call('transact', self.name, *operations)
        errors = [r for r in results if r and r.get('error')]
        if errors:
            raise RuntimeError(f'{self.name}: {errors}')
        return results

    def rows(self, table, *columns):
        return self.transact({'op': 'select', 'table': table, 'where': [], 'columns': list(columns)})[0]['rows']

    def contents(self):
        """Every row of every table, by table."""
        return dict(zip(self.tables, (r['rows'] for r in self.transact(*({'op': 'select', 'table': t, 'where': []} for t in self.tables)))))

    def empty(self):
        """Deletes all that is not the database's own settings."""
        own = {'NB_Global', 'Connection', 'SSL'}
        self.transact(*({'op': 'delete', 'table': t, 'where': []} for t in self.tables if t not in own),
                      {'op': 'update', 'table': 'NB_Global', 'where': [], 'row': {'name': '', 'options': ['map', []], 'external_ids': ['map', []]}})


def values(column):
    """The members of a column that is a set."""
    return column[1] if isinstance(column, list) and column[:1] == ['set'] else [column]


class Refused(Exception):
    """`netverdict apply` did not do it."""


def apply(path, *options):
    done = subprocess.run(['netverdict', 'apply', path, '--nb', f'unix:{NB}', *options], capture_output=True, text=True)
    if done.returncode:
        raise Refused(f'netverdict apply ended with {done.returncode}:\n{done.stderr}')
    return done.stdout


def wait_for_northd():
    """Until the southbound database says all that the northbound database said when this was called."""
    subprocess.run(['ovn-nbctl', f'--db=unix:{NB}', '--wait=sb', '--timeout=120', 'sync'], check=True)


def watch_northd():
    """From now on northd says every warning, however many there are."""
    Connection(f'/run/ovn/ovn-northd.{open(NORTHD_PID).read().strip()}.ctl').call('vlog/disable-rate-limit')


def complaints_of_northd():
    """But for one: the nodes of a manifest are not here."""
    return [line.strip() for line in open(NORTHD_LOG) if re.search(r'\|(WARN|ERR|EMER)\|', line) and '|northd|WARN|Unknown chassis ' not in line]


class Tracer:
    """ovn-trace as a daemon. It reads the database once, before it detaches, so every set gets one of its own. The states that `--ct` gives
    are used up over all questions of its life: `questions` says how many there will be, or `states` what they are. Its log has what it could not parse."""
    STATES = 12  # what one question may need

    def __init__(self, questions, states=None):
        self.log, control, pid = (f'/tmp/ovn-trace.{end}' for end in ('log', 'ctl', 'pid'))
        for path in self.log, control, pid:
            if os.path.exists(path):
                os.unlink(path)
        subprocess.run(['ovn-trace', '-vconsole:off', '--detach', '--no-chdir', f'--db=unix:{SB}', f'--unixctl={control}', f'--pidfile={pid}', f'--log-file={self.log}',
                        *(f'--ct={state}' for state in states or ['new'] * self.STATES * questions)], check=True)
        self.daemon = Connection(control)

    def trace(self, datapath, flow):
        text = self.daemon.call('trace', datapath, flow)
        if 'use --ct to customize' in text:
            raise RuntimeError('ovn-trace ran out of conntrack states')
        return text

    def close(self):
        self.daemon.call('exit')

    def complaints(self):
        return [line for line in open(self.log) if re.search(r'\|(WARN|ERR|EMER)\|', line)]


class Topology:
    """Where packets enter and leave, as it stands in the northbound database."""
    ROUTER = 'ovn_cluster_router'

    def __init__(self, database):
        self.ports, self.of_address, self.router_ports = {}, {}, {}  # of_address: {(switch, address): (port, mac)}
        names = {}
        for row in database.rows('Logical_Switch_Port', '_uuid', 'name', 'type', 'addresses'):
            names[row['_uuid'][1]] = row
        self.switches = {}  # a switch is named after its node
        for row in database.rows('Logical_Switch', 'name', 'ports'):
            for _, uuid in values(row['ports']):
                port = names[uuid]
                if port['type'] == 'router':
                    self.switches[row['name']] = port['name']
                for text in values(port['addresses']):
                    mac, *addresses = text.split()
                    for address in addresses:
                        self.of_address[row['name'], address] = port['name'], mac
        options = [dict(row['options'][1]) for row in database.rows('Load_Balancer', 'options')]
        self.hairpin_sources = next((o['hairpin_snat_ip'].split() for o in options if 'hairpin_snat_ip' in o), [])
        self.macs = {row['name']: row['mac'] for row in database.rows('Logical_Router_Port', 'name', 'mac')}

    def port(self, address):
        """(switch, port, mac) of whom has an address."""
        found = [(switch, *port) for (switch, a), port in self.of_address.items() if a == address]
        if len(found) != 1:
            raise RuntimeError(f'{address} belongs to {found or "no port"}')
        return found[0]

    def packet(self, question):
        """A question's first packet, by its headers."""
        source, address = question.source, question.address
        if source.pod or source.node:
            switch, port, mac = self.port(source.address)
            near = self.of_address.get((switch, address))
            to = near[1] if near else self.macs[f'rtos-{switch}']
        else:
            switch, _, to = self.port(address)
            port, mac = self.switches[switch], self.macs[f'rtos-{switch}']
        return {'switch': switch, 'inport': port, 'eth_src': mac, 'eth_dst': to, 'src': source.address, 'dst': address,
                'protocol': question.protocol.lower(), 'sport': 40000, 'dport': question.port}

    def flow(self, question):
        """(datapath, microflow) of a question's first packet."""
        p, family, protocol = self.packet(question), f'ip{question.source.family}', question.protocol.lower()
        return p['switch'], (f'inport == "{p["inport"]}" && eth.src == {p["eth_src"]} && eth.dst == {p["eth_dst"]} && {family}.src == {p["src"]} && '
                             f'{family}.dst == {p["dst"]} && ip.ttl == 64 && {protocol} && {protocol}.src == {p["sport"]} && {protocol}.dst == {p["dport"]}')

    def hairpin_flow(self, question, party, port):
        """What comes back to a pod that a service sends to itself: OVN gives it the load balancer's own source address, which ovn-trace takes
        to be the service's. So the way back is asked for by itself, as from the router; the pod's ACLs are the same."""
        switch, _, mac = self.port(party.address)
        family, protocol = f'ip{party.family}', question.protocol.lower()
        source = next(a for a in self.hairpin_sources if (':' in a) == (party.family == 6))
        return switch, (f'inport == "{self.switches[switch]}" && eth.src == {self.macs[f"rtos-{switch}"]} && eth.dst == {mac} && {family}.src == {source} && '
                        f'{family}.dst == {party.address} && ip.ttl == 64 && {protocol} && {protocol}.src == 40000 && {protocol}.dst == {port}')

    def goal(self, question, party):
        """The port that the packet must come out of, if it is allowed."""
        if party.pod or party.inside:
            return self.port(party.address)[1]
        return self.switches[self.port(question.source.address)[0]]


def turns_back(text):
    """Whether the load balancer sends the packet back to where it came from."""
    return 'outport = inport;' in text


def outcome(text, goals):
    """What a trace says: (the goal that was reached, None), or (None, why not)."""
    for port in re.findall(r'/\* output to "([^"]+)"', text):
        if port in goals:
            return port, None
    stages = re.findall(r'^ *\d+\. (l[sr]_\w+)', text, re.M)
    if stages and re.match(r'ls_(in|out)_acl(_after_lb)?_(action|eval)$', stages[-1]):
        return None, 'acl'
    return None, stages[-1] if stages else text.strip()
