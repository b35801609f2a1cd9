#!/usr/bin/env python3
"""lab/twin/faults.py [--table] [NAME...]: seeds the faults of lab/twin/faults.txt into a copy of the tree, and sees who catches each.

As lab/policy/faults.py does for the compiler. Each fault must be caught: by ovn-trace (lab/tests/native-twin-trace.sh) or, where that cannot see
it, by the samples of Open vSwitch (lab/tests/native-twin-samples.sh) or the tests of the crate, which hold the decider to the walk. --table asks all
three about each, and prints a table. Exit status 0: every fault was caught; 77: this machine cannot run the lab."""
import importlib.util
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
spec = importlib.util.spec_from_file_location('compiler_faults', os.path.join(HERE, '../policy/faults.py'))
base = importlib.util.module_from_spec(spec)
spec.loader.exec_module(base)
base.KEPT = os.path.join(os.path.dirname(base.KEPT), 'twin-faults')
base.TREE = os.path.join(base.KEPT, 'tree')


def placed(faults):
    """The faults with the file that has the text, where only a directory was named."""
    for name, file, old, new in faults:
        if file.endswith('/'):
            directory = os.path.join(base.ROOT, file)
            files = [f'{file[:-1]}.rs', *(file + entry for entry in sorted(os.listdir(directory)))] if os.path.isdir(directory) else [f'{file[:-1]}.rs']
            having = [f for f in files if old in open(os.path.join(base.ROOT, f)).read()]
            file = having[0] if len(having) == 1 else f'{file[:-1]}.rs'
        yield name, file, old, new


def traced(number, file=''):
    """What ovn-trace says: (caught, in a few words)."""
    if os.path.basename(file) in ('decide.rs', 'classifier.rs', 'conntrack.rs', 'journey.rs', 'emit.rs'):
        return False, 'not asked'  # It is a walk that is held against ovn-trace.
    target = os.path.join(base.KEPT, 'target')
    done = base.run(['lab/test', 'native', 'lab/tests/native-twin-trace.sh'], CARGO_TARGET_DIR=target, SEED='1', NETVERDICT_FAULT=str(number))
    if done.returncode == 77:
        print(done.stdout, done.stderr, file=sys.stderr)
        sys.exit(77)
    where = re.search(r'^FAILED: SEED=\d+/(\d+)', done.stdout, re.M)
    if where:
        return True, f'database {where[1]}'
    if done.returncode and ' differ, ' not in done.stdout:
        raise SystemExit(f'the judge broke down: {done.stdout[-2000:]}{done.stderr[-2000:]}')
    return False, 'nothing'


def sampled(number):
    """What the samples of Open vSwitch say: (caught, in a few words)."""
    target = os.path.join(base.KEPT, 'target')
    done = base.run(['lab/test', 'native', 'lab/tests/native-twin-samples.sh'], CARGO_TARGET_DIR=target, SEED='1', WRONG='1', NETVERDICT_FAULT=str(number))
    where = re.search(r'^FAILED: SEED=\d+/(\d+)', done.stdout, re.M)
    if where:
        return True, f'northbound {where[1]}'
    if 'Walk and Decide differ' in done.stdout + done.stderr:
        return True, 'walk and decide differ'
    if done.returncode and 'rounds differ' not in done.stdout:
        raise SystemExit(f'the judge broke down: {done.stdout[-2000:]}{done.stderr[-2000:]}')
    return False, 'nothing'


def tested(number):
    """How many tests of the crate notice."""
    done = base.run(['cargo', 'test', '--locked', '--no-fail-fast', '--lib', '--tests', '--package', 'netverdict-pipeline'], NETVERDICT_FAULT=str(number), INSTA_UPDATE='no')
    return sum(int(n) for n in re.findall(r'^test result: \w+\. \d+ passed; (\d+) failed', done.stdout, re.M))


def main():
    wanted, table = [a for a in sys.argv[1:] if a != '--table'], '--table' in sys.argv
    faults = list(placed(base.read(os.path.join(HERE, 'faults.txt'))))
    base.seeded_tree(faults)
    base.build('build', '--package', 'netverdict-pipeline', '--example', 'walk', '--example', 'samples')
    base.build('test', '--no-run', '--package', 'netverdict-pipeline', '--lib', '--tests')
    caught, by = next((said for said in (traced(-1), sampled(-1)) if said[0]), (False, 'the tests'))
    if caught or tested(-1):
        raise SystemExit(f'without any fault something is found wrong: {by}')
    if table:
        print('| fault | ovn-trace | samples | tests of the crate |\n|---|---|---|---|')
    chosen, missed = [(number, *fault[:2]) for number, fault in enumerate(faults) if not wanted or any(w in fault[0] for w in wanted)], 0
    for number, name, file in chosen:
        start = time.monotonic()
        caught, by = traced(number, file)
        seen, where = sampled(number) if table or not caught else (False, 'not asked')
        if not table and seen:
            by = f'samples: {where}'
        caught |= seen
        tests = tested(number) if table or not caught else 0
        missed += not caught and not tests
        if table:
            print(f'| {name} | {by} | {where} | {tests} |', flush=True)
        else:
            print(f'{"caught" if caught or tests else "MISSED"}  {name} ({by if caught else f"{tests} tests"}, {time.monotonic() - start:.0f} s)', flush=True)
    print(f'{len(chosen)} faults, {missed} missed')
    sys.exit(bool(missed))


main()
