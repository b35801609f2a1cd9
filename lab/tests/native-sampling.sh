# netverdict sampling in two zones, with traffic: each new connection gives the very samples that ovn-kubernetes' own rows would give, and the node's
# flows stay the optimised ones. ovn-kubernetes' rows are taken away first.
set -u
. "${BASH_SOURCE%/*}/checks.sh"
unsample() { # NODE
  local acl commands=()
  for acl in $(node "$1" ovn-nbctl --bare --columns=_uuid list ACL); do commands+=(-- clear ACL "$acl" sample_new sample_est); done
  node "$1" ovn-nbctl "${commands[@]}" && node "$1" ovn-nbctl -- --all destroy Sample_Collector -- --all destroy Sampling_App &&
    node "$1" ovs-vsctl --all destroy Flow_Sample_Collector_Set
}
sample_flows() { node "$1" ovn-sbctl lflow-list | grep 'acl.*_sample.*sample(' | sed 's/.*table=//; s/^[0-9]* *//' | sort -u | wc -l; }
databases() { echo --nb "unix:$LAB_RUN/$1/ovn/ovnnb_db.sock" --sb "unix:$LAB_RUN/$1/ovn/ovnsb_db.sock" --ovs "unix:$LAB_RUN/$1/openvswitch/db.sock"; }

how=ipfix to='--ipfix 127.0.0.1:4739'
[ "$LAB_KIND" = vm ] && how=psample to='--group 10'
. "${BASH_SOURCE%/*}/registers.sh"
for n in 1 2; do
  check "node $n: ovn-controller takes points from registers" takes_registers node $n
  check "node $n: without samples" unsample $n
done
for n in 1 2; do
  node $n lab-listen $how >"$LAB_OUT/samples$n" &
  pids[$n]=$!
done
for n in 1 2; do until grep -q ready "$LAB_OUT/samples$n"; do kill -0 ${pids[$n]} || exit; done; done
for n in 1 2; do
  check "node $n: enable" netverdict sampling enable $to $(databases $n)
  node $n ovn-nbctl --wait=hv --timeout=30 sync
  netverdict sampling status -o json $(databases $n) >/tmp/status$n
  check "node $n: all that is supported is sampled, nothing is wrong" python3 - /tmp/status$n <<'E'
import json, sys
status = json.load(open(sys.argv[1]))
assert not status['problems'], status['problems']
for policy in status['policies']:
    if policy['feature']:
        assert policy['unsampled'] == 0, policy
        assert [(s['probability'], s['by'], s['acls']) for s in policy['new']] == [(65535, 'netverdict', policy['acls'])], policy
        assert all(s['probability'] == 655 for s in policy['est']), policy
    else:
        assert policy['unsampled'] == policy['acls'], policy
assert status['flows']['single'] == 0 and not status['flows']['old_chassis'], status['flows']
E
  flows=$(sample_flows $n)
  check "node $n: northd agrees that a few flows are enough ($flows for $(node $n ovn-nbctl --bare --columns=_uuid list Sample | grep -c .) samples)" test "$flows" -gt 0 -a "$flows" -le 12
done

# The rejecting ACLs are not ovn-kubernetes': their points are not those of the lab.
names=$(lab-traffic '?' 2>&1 | sed -n 's/.*there are //p' | tr ' ' '\n' | grep -v rejected)
check 'traffic' bash -c "lab-traffic $(echo $names) >$LAB_OUT/traffic"
kill "${pids[@]}"
wait "${pids[@]}"
check 'exactly the samples of new connections that the traffic must give' python3 /lab/scripts/inside/compare.py "$LAB_OUT/traffic" "$LAB_OUT/samples1" "$LAB_OUT/samples2"

for n in 1 2; do
  check "node $n: disable" netverdict sampling disable $(databases $n)
  node $n ovn-nbctl --wait=sb sync
  check "node $n: no collector set" test -z "$(node $n ovs-vsctl list Flow_Sample_Collector_Set)"
  check "node $n: no flow samples" test "$(sample_flows $n)" = 0
done
exit $((failures > 0))
