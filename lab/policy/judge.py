"""judge.py: random clusters and policies through `netverdict apply` and real OVN; ovn-trace must answer random questions as the API does.

Runs in the native lab with empty databases. SETS (300), QUESTIONS (100) of each set, SEED (1); ONLY=N asks set N alone; FIRST=1 stops at
the first wrong answer. Says what was covered, and fails if a full run left something out. A set that fails is made as small as it can be
while it still fails."""
import collections
import copy
import json
import os
import random
import shutil
import sys
import time

import cluster
import manifest
import meaning
import ovn
import questions

SETS, QUESTIONS = int(os.environ.get('SETS', 300)), int(os.environ.get('QUESTIONS', 100))
SEED, ONLY = os.environ.get('SEED', '1'), os.environ.get('ONLY')
FIRST = os.environ.get('FIRST')
MOST_FAILURES = 1 if FIRST else 3
ASKS = 64  # enough to see both of two backends
MANIFESTS = '/tmp/set'


class Judge:
    def __init__(self):
        self.northbound = ovn.Database(ovn.NB, 'OVN_Northbound')
        self.spent = collections.Counter()
        self.cells = collections.Counter()
        self.asked = self.undefined = self.failed_sets = 0

    def timed(self, name, work, *arguments):
        start = time.monotonic()
        try:
            return work(*arguments)
        finally:
            self.spent[name] += time.monotonic() - start

    def load(self, texts, families, from_nothing, question_count):
        """The set is in OVN; gives the tracer that knows it."""
        shutil.rmtree(MANIFESTS, ignore_errors=True)
        os.mkdir(MANIFESTS)
        for number, text in enumerate(texts):
            with open(f'{MANIFESTS}/{number}.{"json" if text[0] == "{" else "yaml"}', 'w') as file:
                file.write(text)
        if from_nothing:
            self.timed('emptying', self.northbound.empty)
        subnets = [o for s in cluster.POD_SUBNETS if (6 if ':' in s else 4) in families for o in ('--cluster-subnet', s)]
        self.timed('apply', ovn.apply, MANIFESTS, '--compat', 'strict', *subnets, *self.options)
        self.timed('northd', ovn.wait_for_northd)
        self.topology = ovn.Topology(self.northbound)
        tracer = self.timed('ovn-trace reads', ovn.Tracer, question_count)
        complaints = tracer.complaints()
        if complaints:
            raise ovn.Refused('ovn-trace could not parse what northd made of it:\n' + ''.join(complaints))
        return tracer

    def set(self, number):
        the_set = cluster.Set(SEED, number)
        asker = questions.Asker(the_set.objects, the_set.families, the_set.random)
        asked = self.timed('questions', asker.questions, QUESTIONS)
        # What must not change an answer: who samples and who logs.
        self.variant = 'unsampled' if number & 2 else 'sampled', 'logged' if number & 4 else 'not logged'
        self.options = ['--sampling', 'off'] if number & 2 else []
        for o in the_set.objects if number & 4 else ():
            if o['kind'] in ('Namespace', 'AdminNetworkPolicy', 'BaselineAdminNetworkPolicy', 'ClusterNetworkPolicy'):
                o['metadata'].setdefault('annotations', {})['k8s.ovn.org/acl-logging'] = '{"allow": "info", "deny": "alert"}'
        the_set.random.shuffle(the_set.objects)  # nothing may depend on the order of a manifest
        files = the_set.random.randint(1, 3)
        texts = [manifest.write(part, the_set.random) for part in (the_set.objects[n::files] for n in range(files))]
        self.objects = the_set.objects
        # Every other set is applied over the one before, so that rows change, come and go.
        from_nothing = number % 2 == 0 or ONLY is not None
        try:
            tracer = self.load(texts, the_set.families, from_nothing, len(asked) + 10 * ASKS)
        except ovn.Refused as e:
            self.failed_sets += 1
            self.report(number, the_set, None, f'{e}')
            return
        wrong = [q for q in asked if not self.timed('traces', self.agrees, asker.cluster, tracer, q)]
        tracer.close()
        if wrong:
            self.failed_sets += 1
            print(f'set {number}: {len(wrong)} of {len(asked)} questions answered otherwise', *wrong[:8], sep='\n  ', flush=True)
            self.report(number, the_set, wrong[0], None)

    def agrees(self, the_cluster, tracer, question):
        """Asks OVN; True if it says what the API says."""
        answers = question.answers(the_cluster)
        if any(a.undefined for a, _, _ in answers):
            self.undefined += 1
            return True
        self.asked += 1
        answer, party, _ = answers[0] if answers else (None, None, None)
        for cell in questions.cells(question, answer, party, bool(answer and answer.allowed)):
            self.cells[cell] += 1
        self.cells['variant', *self.variant, 'allowed' if answer and answer.allowed else 'dropped', question.source.family] += 1
        try:
            question.difference = self.difference(answers, tracer, question)
        except (RuntimeError, KeyError) as e:  # the rows lack what the question needs
            question.difference = 'something', f'{type(e).__name__}: {e}', '', answers
        return question.difference is None

    def difference(self, answers, tracer, question):
        """None, or (what the API says, what OVN says, the trace). Which backend ovn-trace takes is chance: a service is asked for again until
        all that is expected was seen."""
        datapath, flow = self.topology.flow(question)
        goals = {self.topology.goal(question, party): (answer, party, port) for answer, party, port in answers}
        expected = {goal if answer.allowed else None for goal, (answer, _, _) in goals.items()} or {None}
        seen = set()
        for _ in range(ASKS if len(answers) > 1 else 1):
            text = tracer.trace(datapath, flow)
            if ovn.turns_back(text):
                itself = [(party, port) for _, party, port in answers if party.pod == question.source.pod]
                text = tracer.trace(*self.topology.hairpin_flow(question, *itself[0])) if itself else text
            reached, why = ovn.outcome(text, goals)
            seen.add(reached)
            if reached not in expected or (answers and not reached and why != 'acl'):
                break
            if seen == expected:
                return None
        outcomes = lambda them: ', '.join(sorted(f'output to {goal}' if goal else 'dropped' for goal in them))
        return outcomes(expected), f'{outcomes(seen)} ({why or "that is all"})', text, answers

    # --- a failure, made small

    def report(self, number, the_set, question, refusal):
        print(f'\nFAILED: SEED={SEED} ONLY={number}' + (f'\n{refusal}' if refusal else ''), flush=True)
        if self.failed_sets > 1 or FIRST:
            return  # one is enough to begin with
        if question:
            self.found = question.difference
        objects = self.smallest(the_set, question)
        print('It does not fail in an empty database: it takes the sets before it.' if objects is None else
              '--- the smallest set that still fails\n' + manifest.write_plain(objects))
        if question:
            expected, seen, text, answers = self.found
            print(f'--- the question: {question}\nthe API says {expected}:', *(d for a, _, _ in answers for d in a.decisions + a.passed), sep='\n  ')
            print(f'ovn-trace says {seen}:\n{text}', flush=True)

    def ask_again(self, objects, families, question):
        """The difference, if this set in an empty database still shows it."""
        try:
            asker = questions.Asker(objects, families, random.Random(0))
            again = self.moved(asker, question)
            if not again:
                return None
            self.objects = objects
            tracer = self.load([manifest.write_plain(objects)], families, True, ASKS)
            try:
                answers = again.answers(asker.cluster)
                return None if any(a.undefined for a, _, _ in answers) else self.difference(answers, tracer, again)
            finally:
                tracer.close()
        except (ovn.Refused, RuntimeError, KeyError, IndexError, StopIteration):
            return None

    def moved(self, asker, question):
        """The question in the terms of a smaller set, if it can still be asked there."""
        again = copy.copy(question)
        if question.backends is not None:
            found = [(s, p) for s, p, a in asker.services if a == question.address and (p['protocol'], p['port']) == (question.protocol, question.port)]
            if not found:
                return None
            ends = meaning.backends(asker.objects, *found[0], question.source.family, question.source.pod.node)
            if ends is None:
                return None
            again.backends = [(asker.cluster.party(a), n) for a, n in ends]
        return again if all(self.lives(asker, p) for p in (question.source, question.destination) if p) else None

    def lives(self, asker, party):
        return (party.pod.key in asker.cluster.pods if party.pod else True) and (party.node in asker.cluster.nodes if party.node else True)

    def smallest(self, the_set, question):
        """The objects, less all that can go while the failure stays; None if it does not even show with all of them."""
        def fails(objects):
            if question:
                found = self.ask_again(objects, the_set.families, question)
                self.found = found or self.found
                return found is not None
            try:
                self.objects = objects
                self.load([manifest.write_plain(objects)], the_set.families, True, 1).close()
                return False
            except ovn.Refused:
                return True
            except Exception:
                return False

        objects = the_set.objects
        if not fails(objects):
            return None
        size = len(objects)
        while size:  # whole objects, many at a time and then fewer
            start = 0
            while start < len(objects):
                fewer = objects[:start] + objects[start + size:]
                if fails(fewer):
                    objects = fewer
                else:
                    start += size
            size //= 2
        changed = True
        while changed:  # then what policies are made of
            changed = False
            for index, o in enumerate(objects):
                if 'spec' not in o or o['kind'] in ('Node', 'Pod', 'Service'):
                    continue
                for path in list(removable(o['spec'])):
                    smaller = copy.deepcopy(o)
                    try:
                        remove(smaller['spec'], path)
                    except (KeyError, IndexError, TypeError):
                        continue
                    if fails(objects[:index] + [smaller] + objects[index + 1:]):
                        objects = objects[:index] + [smaller] + objects[index + 1:]
                        o, changed = smaller, True
        return objects

    # --- the end

    def summary(self):
        wanted = questions.wanted_cells()
        print(f'{self.asked} questions to {SETS if ONLY is None else 1} sets, seed {SEED}; {self.undefined} more that the API leaves open; {self.failed_sets} sets failed')
        print('seconds: ' + ', '.join(f'{name} {spent:.1f}' for name, spent in self.spent.most_common()))
        groups = collections.defaultdict(list)
        for cell in wanted:
            groups[cell[0]].append(self.cells[cell])
        for group, counts in sorted(groups.items()):
            print(f'coverage: {group}: {sum(1 for c in counts if c)} of {len(counts)} cells, {sum(counts)} hits')
        missed = sorted((c for c in wanted if not self.cells[c]), key=str)
        unknown = sorted((c for c in self.cells if c not in wanted), key=str)
        full = ONLY is None and SETS >= 300 and QUESTIONS >= 100
        for text, cells in ('not hit', missed if full and self.failed_sets < MOST_FAILURES else []), ('hit, though not known', unknown):
            if cells:
                print(f'coverage: {text}: {len(cells)}', *cells, sep='\n  ')
        complaints = ovn.complaints_of_northd()
        if complaints:
            print('ovn-northd complained:', *complaints[:20], sep='\n  ')
        return not (self.failed_sets or complaints or (full and missed) or unknown)


def removable(spec, path=()):
    """Paths of list members, and of keys with lists, in a policy."""
    if isinstance(spec, list):
        for index in reversed(range(len(spec))):
            yield (*path, index)
            yield from removable(spec[index], (*path, index))
    elif isinstance(spec, dict):
        for key, value in spec.items():
            if isinstance(value, list):
                yield (*path, key)
            yield from removable(value, (*path, key))


def remove(spec, path):
    for step in path[:-1]:
        spec = spec[step]
    del spec[path[-1]]


def main(judge):
    ovn.watch_northd()
    for number in range(SETS) if ONLY is None else [int(ONLY)]:
        judge.set(number)
        if judge.failed_sets >= MOST_FAILURES:
            print(f'{judge.failed_sets} sets failed: that is enough')
            break
    sys.exit(not judge.summary())


if __name__ == '__main__':
    main(Judge())
