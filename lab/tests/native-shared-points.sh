# All ACLs of a zone are given one sample point, which is worse than any hash does: recorded and replayed, each decision names the ACL that a run with a
# point for each named, or says that it does not know. Then ACLs that share a point and differ in an address set or a port group alone, live: the right one is
# named, and the other one once the set or the group has changed.
set -eu
failed=0
check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >"$LAB_OUT/check" 2>&1; then echo "ok     $what"; else echo "FAILED $what"; sed 's/^/       | /' "$LAB_OUT/check"; failed=1; fi
}
db() { node $1 ovn-nbctl --no-leader-only "${@:2}"; }
databases() { echo --no-state --nb "unix:$LAB_RUN/$1/ovn/ovnnb_db.sock" --sb "unix:$LAB_RUN/$1/ovn/ovnsb_db.sock" --ovs "unix:$LAB_RUN/$1/openvswitch/db.sock" --source ipfix:127.0.0.1:4739; }
listens() { until node $1 ss -Hlun 'sport = 4739' | grep -q 4739; do kill -0 $pid; done; }
run() { # records lab-traffic on node 2 as $LAB_OUT/$1.nvcap and replays it as $LAB_OUT/$1
  NETVERDICT_LOG=info node 2 netverdict record "$LAB_OUT/$1.nvcap" $(databases 2) 2>"$LAB_OUT/$1.record" &
  pid=$!
  listens 2
  # The exporter sends its templates again only when it has something to send.
  until grep -q 'templates have come' "$LAB_OUT/$1.record"; do kill -0 $pid; lab-traffic --messages 1 icmp-by-ingress-v4 >/dev/null; done
  lab-traffic >"$LAB_OUT/$1.traffic"
  kill -INT $pid
  wait $pid
  netverdict observe --source "capture:$LAB_OUT/$1.nvcap" -o json >"$LAB_OUT/$1" 2>"$LAB_OUT/$1.summary"
}
asks='asking for address sets'

run distinct
check 'without a shared point no address set is asked for' sh -c "! grep '$asks' '$LAB_OUT/distinct.record'"
sample=$(db 2 --bare --columns=_uuid find Sample | head -1)
args=()
for acl in $(db 2 --bare --columns=_uuid find ACL 'sample_new!=[]'); do args+=(-- set ACL "$acl" sample_new="$sample" sample_est="$sample"); done
db 2 --wait=hv "${args[@]}"
run shared
check 'with one they are, once' test "$(grep -c "$asks" "$LAB_OUT/shared.record")" = 1
python3 - "$LAB_OUT" <<'END' || failed=1
import json
import sys
from collections import Counter, defaultdict

failed = False


def check(what, good, detail=''):
    global failed
    failed |= not good
    print('ok    ' if good else 'FAILED', what, '' if good else detail)


def key(row):
    """What is the same of a packet in both runs: clients' ports are not."""
    ends = tuple((end['ip'], port if (port := end.get('port', 0)) < 32768 else None) for end in (row['src'], row['dst']))
    return ends, row['protocol'], row.get('icmp', {}).get('type'), row['app'], row['datapath']


out = sys.argv[1]
runs = {run: [json.loads(line) for line in open(f'{out}/{run}')] for run in ('distinct', 'shared')}
truth = defaultdict(lambda: defaultdict(set))
for row in runs['distinct']:
    truth[key(row)][row['pipeline']].add(row['acl']['uuid'])
# Connections of the first run that live on carry its points.
point = Counter(row['point'] for row in runs['shared']).most_common(1)[0][0]
shared = [row for row in runs['shared'] if row['point'] == point]
check('as many packets', abs(len(shared) - len(runs['distinct'])) < len(shared) / 10, [len(rows) for rows in runs.values()])
evidence = Counter((row['app'], row['evidence']) for row in shared)
print('      ', dict(evidence))
wrong = [row for row in shared if row['evidence'] != 'priority' and row['acl']['uuid'] not in set().union(*truth[key(row)].values())]
check('who is named is who it was', not wrong, wrong[:2])
# One of each pipeline have judged the packet, and nothing in a sample says which of them this is.
# And that an ACL of an earlier tier was passed over, by one with the action pass, is for that one to tell.
avoidable = [row for row in shared if row['app'] == 'acl-new' and row['evidence'] == 'priority' and sum(map(len, truth[key(row)].values())) == 1
             and row['tier'] != 1]
check('what one ACL has judged is not ambiguous', not avoidable, avoidable[:2])
decided = sum(count for (_, kind), count in evidence.items() if kind != 'priority')
check('most is decided', decided > len(shared) * 3 / 4, f'{decided} of {len(shared)}')
match = sum(count for (_, kind), count in evidence.items() if kind in ('match', 'match-now'))
summary = open(f'{out}/shared.summary').read()
check('the summary counts it', f'decided_by_match: {match}\n' in summary and match > 30, summary)
check('no match is at odds with its packets', 'no_match_fits' not in summary, summary)
sys.exit(failed)
END

# Two that differ in an address set, two that differ in a port group. They are asked first, on node 1.
server=$(pod backend/api ip -4 -br addr show dev eth0 | awk '{ sub("/.*", "", $3); print $3 }')
client=$(pod tools/probe1 ip -4 -br addr show dev eth0 | awk '{ sub("/.*", "", $3); print $3 }')
collector=$(db 1 --bare --columns=_uuid find Sample_Collector | head -1)
port() { db 1 --bare --columns=_uuid find Logical_Switch_Port "name=$1"; }
api=$(port backend_api)
probe=$(port tools_probe1)
args=(-- --id=@s1 create Sample collectors="$collector" metadata=4001 -- --id=@s2 create Sample collectors="$collector" metadata=4002)
args+=(-- create Address_Set name=friends addresses="$client" -- create Address_Set name=strangers addresses=10.9.9.9)
args+=(-- create Port_Group name=group_one ports="$api" -- create Port_Group name=group_two ports="$probe")
new_acl() { # NAME SAMPLE MATCH
  args+=(-- --id="@$1" create ACL name="$1" direction=to-lport priority=2000 tier=0 action=allow-related "match=\"$3\"" sample_new="@$2" sample_est="@$2")
  args+=(-- add Logical_Switch ovn-worker-1 acls "@$1")
}
new_acl in-friends s1 'ip4.src == $friends && udp.dst == 7001'
new_acl in-strangers s1 'ip4.src == $strangers && udp.dst == 7001'
new_acl in-group-one s2 'outport == @group_one && udp.dst == 7002'
new_acl in-group-two s2 'outport == @group_two && udp.dst == 7002'
db 1 --wait=hv "${args[@]}" >/dev/null
node 1 netverdict observe $(databases 1) -o json >"$LAB_OUT/live" 2>"$LAB_OUT/live.summary" &
pid=$!
listens 1
# A packet may have met what a set was up to five seconds before it.
talk() { # PORT PATTERN: sends until a sample is decided so
  local from
  from=$(($(wc -l <"$LAB_OUT/live") + 1))
  for _ in $(seq 60); do
    pod tools/probe1 python3 -c 'import socket, sys; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (sys.argv[1], int(sys.argv[2])))' "$server" "$1"
    tail -n "+$from" "$LAB_OUT/live" | grep -q "\"evidence\":\"match\".*\"port\":$1\|\"port\":$1.*\"evidence\":\"match\"" && break
    timeout 0.2 tail -f /dev/null || :
  done
  tail -n "+$from" "$LAB_OUT/live" | grep "\"port\":$1" | grep '"evidence":"match"' >"$LAB_OUT/talk" || return 1
  # Whoever is named with certainty is the right one.
  ! grep -v "$2" "$LAB_OUT/talk"
}
check 'the address set tells' talk 7001 '"name":"in-friends"'
check 'the port group tells' talk 7002 '"name":"in-group-one"'
db 1 --wait=hv -- set Address_Set friends addresses=10.9.9.9 -- set Address_Set strangers addresses="$client" \
  -- set Port_Group group_one ports="$probe" -- set Port_Group group_two ports="$api"
moved=$(($(date +%s) + 6))
# Packets on the way when the sets changed are not for the old ACL any more, and none is named wrongly meanwhile.
check 'the changed address set tells' talk 7001 '"name":"in-strangers"'
check 'the changed port group tells' talk 7002 '"name":"in-group-two"'
check 'that took as long as a change may take' test "$(date +%s)" -ge $((moved - 3))
kill -INT $pid
wait $pid
check 'nothing is unresolved' grep -q ' 0 unresolved' "$LAB_OUT/live.summary"
check 'no match was at odds with its packet' sh -c "! grep no_match_fits '$LAB_OUT/live.summary'"
exit $failed
