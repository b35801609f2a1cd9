#!/usr/bin/env python3
"""lab/policy/faults.py [--table] [NAME...]: seeds the faults of lab/policy/faults.txt into a copy of the tree, and sees who catches each.

The copy has all of them, asleep; NETVERDICT_FAULT=N wakes one. It and what is built of it stay in $CARGO_TARGET_DIR/faults. Every fault must be
caught by the judge: a judge that finds nothing wrong with a wrong compiler is worth nothing. --table also runs the tests of the crates with each
fault, and prints a table of who noticed. Exit status 0: the judge caught every fault; 77: this machine cannot run the lab."""
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
ASLEEP = '''
/// True while the fault with this number is on (lab/policy/faults.txt).
pub(crate) fn fault(number: usize) -> bool {
    static ON: std::sync::LazyLock<Option<usize>> = std::sync::LazyLock::new(|| std::env::var("NETVERDICT_FAULT").ok()?.parse().ok());
    *ON == Some(number)
}
'''


def read(path):
    """[(name, file, old, new)]: a head in brackets, the file, then the lines that go (-) and those that come (+)."""
    faults = []
    for part in re.split(r'^\[', open(path).read(), flags=re.M)[1:]:
        name, file, *lines = (line for line in part.splitlines() if not line.startswith('#'))
        old, new = ('\n'.join(line[1:] for line in lines if line[:1] == sign) for sign in '-+')
        faults.append((name.rstrip(']'), file, old, new))
    return faults


def seeded_tree(faults):
    """Writes the tree as git knows it, with what is changed in it, and with the faults. What is as it was keeps its age, so that little is built anew."""
    texts = {}
    listed = subprocess.run(['git', '-C', ROOT, 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split('\0')):
        path = os.path.join(ROOT, name)
        if os.path.isfile(path) and not os.path.islink(path):
            texts[name] = open(path, 'rb').read()
    for number, (name, file, old, new) in enumerate(faults):
        text = texts[file].decode()
        if text.count(old) != 1:
            raise SystemExit(f'faults.txt: "{name}" is out of date: this is {text.count(old)} times in {file}, not once:\n{old}')
        texts[file] = text.replace(old, re.sub(r'\bFAULT\b', f'crate::fault({number})', new)).encode()
    for crate in {file.split('/')[1] for _, file, _, _ in faults}:
        texts[f'crates/{crate}/src/lib.rs'] += ASLEEP.encode()
    for name, data in texts.items():
        target = os.path.join(TREE, name)
        if not os.path.exists(target) or open(target, 'rb').read() != data:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, 'wb') as file:
                file.write(data)
            shutil.copymode(os.path.join(ROOT, name), target)


def run(command, **more):
    environment = {**os.environ, 'CARGO_TARGET_DIR': os.path.join(KEPT, 'target'), **more}
    return subprocess.run(command, cwd=TREE, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def build(*command):
    done = run(['cargo', *command, '--locked', '--quiet'])
    if done.returncode:
        raise SystemExit(f'the tree with the faults does not build:\n{done.stderr}')


def judged(number, **more):
    """What the judge says: (caught, in a few words)."""
    done = run([f'{ROOT}/lab/run', 'native', '--bare', '--', 'python3', '-BES', '/lab/scripts/policy/judge.py'],
               NETVERDICT=os.path.join(KEPT, 'target/debug/netverdict'), FIRST='1', NETVERDICT_FAULT=str(number), **more)
    if done.returncode == 77:
        print(done.stderr, file=sys.stderr)
        sys.exit(77)
    where = re.search(r'^(?:set (\d+): (\d+) of|FAILED: SEED=\S+ ONLY=(\d+))', done.stdout, re.M)
    if where:
        return True, f'set {where[1]}: {where[2]} answers' if where[1] else f'set {where[3]}: refused'
    if done.returncode and 'ovn-northd complained' not in done.stdout and 'coverage: not hit' not in done.stdout:
        raise SystemExit(f'the judge broke down: {done.stdout[-2000:]}{done.stderr[-2000:]}')
    return False, 'nothing'


def tested(number):
    """How many tests of the crates notice."""
    done = run(['cargo', 'test', '--locked', '--no-fail-fast', '--lib', '--tests', '--package', 'netverdict-manifest', '--package', 'netverdict-policy', '--package', 'netverdict-control'],
               NETVERDICT_FAULT=str(number), INSTA_UPDATE='no', PROPTEST_CASES='16')
    return sum(int(n) for n in re.findall(r'^test result: \w+\. \d+ passed; (\d+) failed', done.stdout, re.M))


def main():
    wanted = [a for a in sys.argv[1:] if a != '--table']
    table = '--table' in sys.argv
    faults = read(os.path.join(HERE, 'faults.txt'))
    seeded_tree(faults)
    build('build', '--package', 'netverdict')
    caught, by = judged(-1, SETS='10')
    if caught:
        raise SystemExit(f'without any fault the judge finds something wrong: {by}')
    missed, number_of = [], {name: number for number, (name, _, _, _) in enumerate(faults)}
    chosen = [name for name in number_of if not wanted or any(w in name for w in wanted)]
    if table:
        print('| fault | the judge | tests of the crates |\n|---|---|---|')
    for name in chosen:
        start = time.monotonic()
        caught, by = judged(number_of[name])
        missed += [] if caught else [name]
        if table:
            print(f'| {name} | {by} | {tested(number_of[name])} |', flush=True)
        else:
            print(f'{"caught" if caught else "MISSED"}  {name} ({by}, {time.monotonic() - start:.0f} s)', flush=True)
    print(f'{len(chosen)} faults, {len(missed)} missed by the judge')
    sys.exit(bool(missed))


if __name__ == '__main__':
    main()
