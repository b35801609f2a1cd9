#!/usr/bin/env python3
"""lab/policy/faults.py [NAME...]: seeds the faults of lab/policy/faults.txt into a copy of the tree, one at a time, and sees who catches each.

The copy and what is built of it are kept in $CARGO_TARGET_DIR/faults. Every fault must be caught by the judge: a judge that finds nothing
wrong with a wrong compiler is worth nothing. --tests also runs the tests of the crate that has the fault and says if they would have noticed.
Exit status 0: every fault was caught."""
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
KEPT = os.path.join(os.environ.get('CARGO_TARGET_DIR') or os.path.expanduser('~/.cache/netverdict/target'), 'faults')
TREE = os.path.join(KEPT, 'tree')


def read(path):
    """[(name, file, old, new)]: a head in brackets, the file, then the lines that go (-) and those that come (+)."""
    faults = []
    for part in re.split(r'^\[', open(path).read(), flags=re.M)[1:]:
        lines = [line for line in part.rstrip().splitlines() if not line.startswith('#')]
        name, file = lines[0].rstrip(']'), lines[1]
        old, new = ('\n'.join(line[1:] for line in lines[2:] if line[:1] == sign) for sign in '-+')
        faults.append((name, file, old, new))
    return faults


def copy_tree():
    """The tree as git knows it, with what is changed in it; files that are as they were keep their age, so that little is built anew."""
    wanted = subprocess.run(['git', '-C', ROOT, 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], capture_output=True, check=True, text=True).stdout
    for name in filter(None, wanted.split('\0')):
        source, target = os.path.join(ROOT, name), os.path.join(TREE, name)
        if os.path.isfile(source) and not os.path.islink(source):
            data = open(source, 'rb').read()
            if not os.path.exists(target) or open(target, 'rb').read() != data:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copy(source, target)  # with the time of now


def seeded(file, old, new):
    """The file's text with the fault in it."""
    text = open(os.path.join(TREE, file)).read()
    if text.count(old) != 1:
        raise SystemExit(f'faults.txt: this is {text.count(old)} times in {file}, not once:\n{old}')
    return text, text.replace(old, new)


def run(command, **more):
    environment = {**os.environ, 'CARGO_TARGET_DIR': os.path.join(KEPT, 'target'), **more}
    return subprocess.run(command, cwd=TREE, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def judged():
    """What the judge says: (caught, in a few words)."""
    done = run([f'{ROOT}/lab/run', 'native', '--bare', '--', 'python3', '-BES', '/lab/scripts/policy/judge.py'],
               NETVERDICT=os.path.join(KEPT, 'target/debug/netverdict'), FIRST='1')
    if done.returncode == 77:
        raise SystemExit(77)
    where = re.search(r'^(?:set (\d+): (\d+) of|FAILED: SEED=\S+ ONLY=(\d+))', done.stdout, re.M)
    if not where:
        return False, f'nothing ({done.stdout.splitlines()[0] if done.stdout else done.stderr[-300:]})'
    return True, f'set {where[1]}, {where[2]} answers' if where[1] else f'set {where[3]}, refused'


def tested(file):
    """Whether the tests of the crate notice."""
    manifest = os.path.join(TREE, 'crates', file.split('/')[1], 'Cargo.toml')
    crate = re.search(r'^name *= *"([^"]+)"', open(manifest).read(), re.M)[1]
    return run(['cargo', 'test', '--locked', '--quiet', '--package', crate]).returncode != 0


def main():
    wanted = [a for a in sys.argv[1:] if not a.startswith('--')]
    faults = read(os.path.join(HERE, 'faults.txt'))
    copy_tree()
    for _, file, old, new in faults:
        seeded(file, old, new)
    missed = []
    for name, file, old, new in faults:
        if wanted and not any(w in name for w in wanted):
            continue
        begin = time.monotonic()
        right, wrong = seeded(file, old, new)
        path = os.path.join(TREE, file)
        try:
            with open(path, 'w') as out:
                out.write(wrong)
            built = run(['cargo', 'build', '--locked', '--quiet', '--package', 'netverdict'])
            if built.returncode:
                raise SystemExit(f'{name}: the faulty tree does not build:\n{built.stderr}')
            caught, by = judged()
            tests = ('noticed by tests' if tested(file) else 'not by tests') if '--tests' in sys.argv else ''
        finally:
            with open(path, 'w') as out:
                out.write(right)
        missed += [] if caught else [name]
        print(f'{"caught" if caught else "MISSED"}  {name}  ({by}{", " + tests if tests else ""}; {time.monotonic() - begin:.0f} s)', flush=True)
    print(f'{len(faults) if not wanted else "some"} faults, {len(missed)} missed')
    sys.exit(bool(missed))


main()
