"""The twin against real OVN, over services, routers and zones: the questions of the compiler's judge (lab/policy), which ovn-trace has answered,
are put to our own pipeline as well. It reads what is in the northbound database, and a second time the same manifests applied with each node in a
zone of its own, which must not change an answer.

An answer of the twin counts as the same if the packet comes out where ovn-trace puts it, or ends in an ACL stage as there; for a service, for each
backend. What arrives is answered, and the answer must arrive with the ends as the sender knows them; then the connection goes on.

SETS, QUESTIONS, SEED, ONLY, FIRST as for the judge; the argument is the path of the example `twin` of the crate `pipeline`."""
import collections
import copy
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'policy'))
import cluster
import judge
import manifest
import ovn
import questions

ZONES = '/tmp/zones'
SCHEMA = '/usr/share/ovn/ovn-nb.ovsschema'


class Twin:
    """The example as a process."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def load(self, sockets):
        files = []
        for socket in sockets:
            files.append(f'{socket}.{id(self)}.dump')
            with open(files[-1], 'w') as file:
                subprocess.run(['ovsdb-client', 'dump', '-f', 'json', f'unix:{socket}', 'OVN_Northbound'], stdout=file, check=True)
        self.say({'zones': files})

    def say(self, line):
        self.process.stdin.write(json.dumps(line) + '\n')
        self.process.stdin.flush()

    def ask(self, packet):
        self.say(packet)
        line = self.process.stdout.readline()
        if not line:
            raise ovn.Refused('the twin ended')
        told = json.loads(line)
        if 'differ' in told:
            raise RuntimeError(f'walk and decide differ: {line}')
        return told


class TwinJudge(judge.Judge):
    def __init__(self, program):
        super().__init__()
        self.twins = {'one zone': Twin(program), 'zones': Twin(program)}
        self.databases = []
        self.twin_cells = collections.Counter()

    def load(self, texts, families, from_nothing, question_count):
        tracer = super().load(texts, families, from_nothing, question_count)
        self.timed('twin reads', self.twins['one zone'].load, [ovn.NB])
        self.timed('zones', self.load_zones, families)
        return tracer

    def load_zones(self, families):
        """The same objects, each node in a zone of its own."""
        objects = copy.deepcopy(self.objects)
        names = sorted(o['metadata']['name'] for o in objects if o['kind'] == 'Node')
        for o in objects:
            if o['kind'] == 'Node':
                o['metadata'].setdefault('annotations', {})['k8s.ovn.org/zone-name'] = o['metadata']['name']
        shutil.rmtree(ZONES, ignore_errors=True)
        os.mkdir(ZONES)
        with open(f'{ZONES}/all.yaml', 'w') as file:
            file.write(manifest.write_plain(objects))
        while len(self.databases) < len(names):
            path = f'/tmp/zone-{len(self.databases)}'
            subprocess.run(['ovsdb-tool', 'create', f'{path}.db', SCHEMA], check=True)
            subprocess.run(['ovsdb-server', '--detach', '--no-chdir', f'--pidfile={path}.pid', f'--log-file={path}.log', f'--unixctl={path}.ctl',
                            f'--remote=punix:{path}.sock', f'{path}.db'], check=True)
            database = ovn.Database(f'{path}.sock', 'OVN_Northbound')
            database.transact({'op': 'insert', 'table': 'NB_Global', 'row': {}})
            self.databases.append((f'{path}.sock', database))
        sockets = []
        for name, (socket, database) in zip(names, self.databases):
            database.empty()
            database.transact({'op': 'update', 'table': 'NB_Global', 'where': [], 'row': {'name': name}})
            sockets.append(socket)
        subnets = [o for s in cluster.POD_SUBNETS if (6 if ':' in s else 4) in families for o in ('--cluster-subnet', s)]
        done = subprocess.run(['netverdict', 'apply', ZONES, *(o for s in sockets for o in ('--nb', f'unix:{s}')), '--compat', 'strict', *subnets, *self.options],
                              capture_output=True, text=True)
        if done.returncode:
            raise ovn.Refused(f'netverdict apply to zones ended with {done.returncode}:\n{done.stderr}')
        self.twins['zones'].load(sockets)

    def difference(self, answers, tracer, question):
        found = super().difference(answers, tracer, question)
        for name, twin in self.twins.items():
            found = found or self.timed('twin', self.twin_difference, answers, name, twin, question)
        return found

    def twin_difference(self, answers, name, twin, question):
        """None, or what `difference` gives. ovn-trace has said of each answer what the API says."""
        packet = self.topology.packet(question)
        where = questions.path(question.source, answers[0][1]) if answers else 'no backend'
        for answer, party, port in answers or [(None, None, None)]:
            told = twin.ask(packet | ({'backend': party.address} if question.backends is not None and party else {}))
            first = told['first']
            wrong = self.wrong(question, answer, party, told)
            kind = 'service' if question.backends is not None else 'plain'
            crossed = any(p.startswith('tstor-') for p in first['outputs'])
            path = questions.path(question.source, party) if party else where
            self.twin_cells[name, kind, path, 'crossing' if crossed else 'staying', first['is'], question.source.family] += 1
            if wrong:
                expected = f'output to {self.topology.goal(question, party)}' if answer and answer.allowed else 'dropped'
                return f'{expected} (also by ovn-trace)', f'the twin with {name}: {wrong}', json.dumps(told, indent=1), answers
        return None

    def wrong(self, question, answer, party, told):
        """What is wrong with what the twin says, or None."""
        first = told['first']
        goal = self.topology.goal(question, party) if party else None
        reached = goal in first['outputs']
        if answer is None:
            return None if first['is'] == 'rejected' and first['at'] is None else 'a service without backends does not reject'
        if not answer.allowed:
            if reached:
                return 'it reaches its goal'
            by_acl = first['is'] in ('dropped', 'rejected') and (first.get('at') or '').startswith(('ls_in_acl', 'ls_out_acl'))
            return None if by_acl else 'it is not an ACL that stops it'
        if not reached:
            return 'it does not reach its goal'
        if 'back' not in told:
            return None if party.pod is None and not party.inside else 'nobody is there to answer'
        back, again = told['back'], told.get('again')
        if not question.source.pod:
            return None if back['is'] in ('outside', 'delivered') or back['outputs'] else 'the answer does not leave'
        ends = [[question.address, question.port], [question.source.address, 40000]]
        if back['is'] != 'delivered' or back['ends'] != ends:
            return f'the answer does not come back as from {question.address}'
        return None if again['is'] == 'delivered' and again['port'] == goal and again['ends'] == first['ends'] else 'the connection does not go on'

    def summary(self):
        good = super().summary()
        wanted = {(zones, *cell, family) for zones in self.twins for cell in wanted_cells(zones) for family in (4, 6)}
        for zones in self.twins:
            print(f'twin with {zones}: {sum(n for cell, n in self.twin_cells.items() if cell[0] == zones)} answers')
        rare = sorted(cell for cell in wanted if self.twin_cells[cell] < 5)
        print(f'twin: {len(wanted) - len(rare)} of {len(wanted)} cells of coverage hit five times or more')
        unknown = sorted(set(self.twin_cells) - wanted, key=str)
        if unknown:
            print('twin: hit, though not known:', *unknown, sep='\n  ')
        full = judge.ONLY is None and judge.SETS >= 100 and judge.QUESTIONS >= 100
        if full and rare:
            print('twin: hit less than five times:', *rare, sep='\n  ')
        return good and not unknown and not (full and rare)


def wanted_cells(zones):
    """All that a full run must hit: (service or not, path, over the transit switch or not, what became of it)."""
    for verdict in 'delivered', 'dropped':
        for kind in 'plain', 'service':
            yield kind, 'same node', 'staying', verdict
            yield kind, 'other node', 'crossing' if zones == 'zones' else 'staying', verdict
        yield 'plain', 'outside to pod', 'staying', verdict
    for verdict in 'outside', 'dropped':
        yield 'plain', 'pod to node', 'staying', verdict
        yield 'plain', 'pod to outside', 'staying', verdict
    yield 'plain', 'own node to pod', 'staying', 'delivered'
    yield 'plain', 'pod to own node', 'staying', 'delivered'
    yield 'service', 'pod to itself', 'staying', 'delivered'
    yield 'service', 'no backend', 'staying', 'rejected'
    if zones == 'zones':  # dropped on the client's node
        yield 'plain', 'other node', 'staying', 'dropped'
        yield 'service', 'other node', 'staying', 'dropped'


if __name__ == '__main__':
    judge.main(TwinJudge(sys.argv[1]))
