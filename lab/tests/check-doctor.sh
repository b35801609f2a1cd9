# What native-doctor.sh and vm-doctor.sh share. To be sourced.
failures=0
export PATH=$PATH:/usr/sbin:/sbin
check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >"$LAB_OUT/output" 2>&1; then echo "ok    $what"; return; fi
  echo "FAIL  $what"
  sed 's/^/    | /' "$LAB_OUT/output"
  failures=$((failures + 1))
}
doctor() { netverdict doctor -o json "$@" >"$LAB_OUT/doctor.json"; }
says() { # STATUS CHECK STATE [TEXT]: doctor ends with STATUS, and one finding of CHECK is in STATE with TEXT in it
  local got=0 status=$1
  shift
  doctor ${with:-} || got=$?
  python3 - "$LAB_OUT/doctor.json" "$@" <<'END' || return 1
import json, sys
report = json.load(open(sys.argv[1]))
check, state, text = (sys.argv[2:] + [''])[:3]
found = [f for f in report['findings'] if f['check'] == check]
if not any(f['state'] == state and text in json.dumps(f) for f in found):
    sys.exit(f'{found}')
END
  [ "$got" = "$status" ] || { echo "exit status $got, not $status"; return 1; }
}
mended() { # CHECK: the command that the last report gives for it mends it
  local command
  command=$(python3 -c 'import json, sys; print(next(f["mend"] for f in json.load(open(sys.argv[1]))["findings"] if f["check"] == sys.argv[2] and "mend" in f))' \
    "$LAB_OUT/doctor.json" "$1") && sh -c "$command" && netverdict doctor
}
well() { # nothing fails, and what warns is expected
  netverdict doctor >"$LAB_OUT/doctor.txt" || { cat "$LAB_OUT/doctor.txt"; return 1; }
  doctor && python3 - "$LAB_OUT/doctor.json" "$@" <<'END'
import json, sys
report = json.load(open(sys.argv[1]))
bad = [f for f in report['findings'] if f['state'] not in ('ok', 'skip') and f['check'] not in sys.argv[2:]]
sys.exit(f'{bad}' if bad else 0)
END
}
# Everybody but root, and without the machine's databases.
stranger() { setpriv --reuid=65534 --regid=65534 --clear-groups env -u OVN_NB_DB -u OVN_SB_DB HOME=/nonexistent "$@"; }
same_decisions() { # FILE FILE: apart from the moment and how the rows came
  python3 - "$@" <<'END'
import json, sys
from collections import Counter
def decisions(path):
    rows = Counter()
    for line in open(path):
        row = json.loads(line)
        for key in ('time', 'revision', 'zone', 'node'):
            row.pop(key, None)
        rows[json.dumps(row, sort_keys=True)] += 1
    return rows
one, other = map(decisions, sys.argv[1:])
if sum(one.values()) < 100 or one != other:
    print(sum(one.values()), sum(other.values()))
    for name, rest in (('only in the first', one - other), ('only in the second', other - one)):
        for row, count in list(rest.items())[:3]:
            print(name, count, row)
    sys.exit(1)
END
}
whole_bundle() { # FILE: its parts are there and say what the databases say
  tar --no-same-permissions -C /tmp -xf "$1" && chmod -R a+rX /tmp/bundle && cd /tmp/bundle || return 1
  local file
  for file in README.txt bundle.json doctor.txt doctor.json capture.nvcap nb1.json sb1.json ovs1.json; do
    [ -s $file ] || { echo "$file is missing"; return 1; }
  done
  ovsdb-client dump -f json unix:/run/ovn/ovnnb_db.sock OVN_Northbound >"$LAB_OUT/nb.json"
  python3 - nb1.json "$LAB_OUT/nb.json" <<'END' || return 1
import json, sys
def tables(path):
    tables = {}
    for line in open(path):
        table = json.loads(line)
        for row in table['data']:
            row = dict(zip(table['headings'], map(json.dumps, row)))
            tables[table['caption'], row['_uuid']] = row
    return tables
ours, theirs = map(tables, sys.argv[1:])
differ = [key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key) and key[0] not in ('NB_Global table', 'Connection table')]
for key in differ[:3]:
    print(key, ours.get(key), theirs.get(key))
sys.exit(bool(differ))
END
  diff <(netverdict sampling status) <(stranger netverdict sampling status --nb nb1.json --sb sb1.json --ovs ovs1.json)
}
export -f stranger
