# lab: --bare
# netverdict sampling against real OVN, row by row: what it writes, that northd takes it and how, and that it all can be undone.
set -u
. "${BASH_SOURCE%/*}/checks.sh"
nb=unix:/run/ovn/ovnnb_db.sock
ovs=unix:/run/openvswitch/db.sock

rows() { # the rows that may change, with their identities
  local table
  for table in ACL Sample Sample_Collector Sampling_App; do ovsdb-client dump $nb OVN_Northbound $table; done
  for table in Flow_Sample_Collector_Set IPFIX; do ovsdb-client dump $ovs Open_vSwitch $table; done
}
contents() { # the same without the identities that come and go
  netverdict sampling status -o json
  for table in Sample_Collector Sampling_App; do ovn-nbctl --columns=external_ids list $table | sort; done
  ovn-nbctl --bare --columns=metadata list Sample | sort
  ovs-vsctl --bare --columns=id,local_group_id,external_ids list Flow_Sample_Collector_Set
  ovs-vsctl --columns=targets,template_interval,cache_max_flows,external_ids list IPFIX
}
unchanged() { # FILE
  rows >/tmp/now
  diff "$1" /tmp/now
}
same_contents() {
  contents >/tmp/now
  diff "$1" /tmp/now
}
sample_flows() { # logical flows that sample
  ovn-nbctl --wait=sb sync
  ovn-sbctl lflow-list | grep 'acl.*_sample.*action=(.*sample(' | sort -u | wc -l
}
flows_are() { # COUNT
  local count
  count=$(sample_flows)
  echo "$count flows, not $1"
  [ "$count" = "$1" ]
}
no_complaints() {
  ! grep -h '|WARN|\||ERR|' /var/log/ovn/ovn-northd.log /var/log/ovn/ovn-controller.log | grep -i 'sampl\|collector\|syntax\|duplicate'
}

acls() { # SWITCH FROM TO: ACLs as ovn-kubernetes names them, an allowing and a dropping one in turn
  local n command=()
  for ((n = $2; n <= $3; n++)); do
    command+=(-- "--id=@a$n" create ACL direction=to-lport priority=1001 "match=\"outport == \\\"p2\\\" && tcp.dst == $n\""
      "action=$([ $((n % 2)) = 0 ] && echo allow-related || echo drop)"
      'external_ids:"k8s.ovn.org/owner-type"=NetworkPolicy' "external_ids:\"k8s.ovn.org/id\"=\"c:NetworkPolicy:ns:p:Ingress:$n\""
      -- add Logical_Switch "$1" acls "@a$n")
  done
  ovn-nbctl "${command[@]}" >/dev/null
}

. "${BASH_SOURCE%/*}/registers.sh"
check 'ovn-controller takes points from registers' takes_registers
ovn-nbctl ls-add sw -- lsp-add sw p1 -- lsp-add sw p2
acls sw 1 10
ovn-nbctl acl-add sw to-lport 900 ip4 pass -- --apply-after-lb acl-add sw from-lport 900 'inport == "p1" && ip4' reject

rows >/tmp/empty
contents >/tmp/empty-contents
check 'status of a zone that is not sampled' says 'NetworkPolicy   10    -' netverdict sampling status
check 'a dry run says what it would do' says 'Sample: add 23' netverdict sampling enable --ipfix 127.0.0.1:4739 --dry-run
check 'a dry run does nothing' unchanged /tmp/empty
check 'wrong usage' status_of 2 netverdict sampling enable --feature NetworkPolicy=new:200
check 'wrong feature' says 'there are AdminNetworkPolicy' netverdict sampling enable --feature Nothing

check 'enable' netverdict sampling enable --ipfix 127.0.0.1:4739 --inverse /tmp/inverse
contents >/tmp/enabled
check 'enable again: nothing to do' says 'nothing to do' netverdict sampling enable --ipfix 127.0.0.1:4739
check 'and nothing was done' same_contents /tmp/enabled
check 'nothing is wrong' bash -c '! netverdict sampling status | grep -A9 Problems'
check 'points of new packets are those of ovn-kubernetes' python3 - <<'E'
import json, subprocess
def fnv(text):
    value = 0x811C9DC5
    for byte in text.encode(): value = (value ^ byte) * 0x01000193 % (1 << 32)
    return value
def table(name, columns):
    rows = json.loads(subprocess.check_output(['ovn-nbctl', '-f', 'json', f'--columns={columns}', 'list', name]))['data']
    return rows
samples = {row[0][1]: row[1] for row in table('Sample', '_uuid,metadata')}
checked = 0
for ids, match, action, new, est in table('ACL', 'external_ids,match,action,sample_new,sample_est'):
    primary = dict(ids[1]).get('k8s.ovn.org/id')
    if primary:
        assert samples[new[1]] == fnv(primary + match + action), primary
        assert samples[est[1]] == fnv(primary + match + action + 'est'), primary
        checked += 1
assert checked == 10
E
# to-lport: new, established there, replies here; from-lport after-lb: new, and established nowhere as it only rejects.
flows=$(sample_flows)
check "northd makes few flows ($flows)" test "$flows" -gt 0 -a "$flows" -le 8
ovn-nbctl ls-add later
acls later 11 40
check 'ACLs that came later are told' says '30 of 40 ACLs of NetworkPolicy lack a sample' netverdict sampling status
check 'and the command that mends it' says 'netverdict sampling enable --feature NetworkPolicy=new:100,est:1 --feature Other=new:100,est:1' netverdict sampling status
check 'which mends it' says 'ACL: set sample_new and sample_est of 30' netverdict sampling enable
check 'as many flows for four times the ACLs' flows_are "$flows"
ovn-nbctl ls-del later
netverdict sampling disable >/dev/null
contents >/tmp/disabled
check 'disable removes all of it' diff /tmp/disabled /tmp/empty-contents
check 'disable again: nothing to do' says 'nothing to do' netverdict sampling disable

# Inverse commands, run by the real tools.
rows >/tmp/empty
check 'enable, with its inverse in a file' netverdict sampling enable --ipfix 127.0.0.1:4739 --inverse /tmp/inverse2
check 'a file is never written over' status_of 1 netverdict sampling enable --inverse /tmp/inverse2
contents >/tmp/enabled
check 'the inverse of enable runs' sh /tmp/inverse2
check 'and brings back every row' unchanged /tmp/empty
netverdict sampling enable --ipfix 127.0.0.1:4739 >/dev/null
check 'disable, with its inverse' netverdict sampling disable --inverse /tmp/inverse3
check 'the inverse of disable runs' sh /tmp/inverse3
check 'and brings back what was sampled' same_contents /tmp/enabled
check 'another rate' says '50 % of packets' netverdict sampling enable --feature NetworkPolicy=new:50,est:50 --inverse /tmp/inverse4
check 'has one Sample an ACL' test "$(ovn-nbctl --bare --columns=_uuid list Sample | grep -c .)" = 13
check 'its inverse runs' sh /tmp/inverse4
check 'and brings back the rates' same_contents /tmp/enabled
netverdict sampling disable >/dev/null

# A reader that has gone stops nothing half-way.
deaf() { # COMMAND...: with an output that nobody reads
  local fd got=0
  exec {fd}> >(:)
  wait $!
  "$@" >&$fd || got=$?
  exec {fd}>&-
  return $got
}
full() { "$@" >/dev/full; }
for output in deaf full; do
  wanted=$([ $output = full ] && echo 1 || echo 0)
  rows >/tmp/empty
  check "enable, output $output" status_of "$wanted" $output netverdict sampling enable --ipfix 127.0.0.1:4739 --inverse /tmp/inverse-$output
  check 'did all of it' same_contents /tmp/enabled
  check 'its inverse runs' sh /tmp/inverse-$output
  check 'and brings back every row' unchanged /tmp/empty
  netverdict sampling enable --ipfix 127.0.0.1:4739 >/dev/null
  check "disable, output $output" status_of "$wanted" $output netverdict sampling disable
  check 'did all of it' same_contents /tmp/empty-contents
done

# Only one of our sets.
netverdict sampling enable --ipfix 127.0.0.1:4739 >/dev/null
netverdict sampling enable --set 43 --ipfix 127.0.0.1:4739 >/dev/null
check 'disable of one set keeps the apps' says 'Sampling_App drop of ours stays: we still sample to set 42' netverdict sampling disable --set 43
check 'and brings back what was before it' same_contents /tmp/enabled
netverdict sampling disable >/dev/null

# Beside ovn-kubernetes.
check 'rows as ovn-kubernetes makes them' netverdict sampling enable --compat ovn-kubernetes --feature NetworkPolicy
check 'are one Sample an ACL' test "$(ovn-nbctl --bare --columns=_uuid list Sample | grep -c .)" = 10
for row in $(ovn-nbctl --bare --columns=_uuid list Sample_Collector) $(ovn-nbctl --bare --columns=_uuid list Sampling_App); do
  table=Sampling_App
  ovn-nbctl list Sample_Collector "$row" >/dev/null 2>&1 && table=Sample_Collector
  ovn-nbctl remove $table "$row" external_ids netverdict.io/owner
done
rows >/tmp/foreign
check 'what ovn-kubernetes samples is left alone' says 'left as they are' netverdict sampling enable --feature NetworkPolicy
check 'another rate beside it is refused' says "ovn-kubernetes's and serves different rates alike" netverdict sampling enable --feature NetworkPolicy=new:100,est:1 --set 43
check 'nothing was written' unchanged /tmp/foreign
check 'unless no rate was asked for' says '10 Samples of others serve new and established packets alike' netverdict sampling enable --feature NetworkPolicy --set 43
netverdict sampling enable --feature NetworkPolicy=new:10,est:10 --set 43 --inverse /tmp/inverse5 >/tmp/beside
check 'another rate later takes its place' grep 'Sample_Collector: remove 2 of ours' /tmp/beside
check 'a second set warns of its cost' grep 'the optimised flows are lost for 10 Samples' /tmp/beside
promised=$(sed -n 's/.*OVN makes \([0-9]*\) logical flows.*/\1/p' /tmp/beside)
check "northd makes the $promised flows that the warning says" flows_are "$promised"
check 'status says so too' says "Flows: about $promised for 10 samples" netverdict sampling status
check 'disable takes only ours away' says '10 ACLs stay sampled, by ovn-kubernetes to set 42' netverdict sampling disable
check 'every row of ovn-kubernetes is as before' unchanged /tmp/foreign
check 'few flows again' bash -c "[ $(sample_flows) -le 4 ]"

# The node.
ovs-vsctl -- --id=@b get Bridge br-int -- create Flow_Sample_Collector_Set id=42 bridge=@b local_group_id=10 external_ids:owner=netobservAgent >/dev/null
rows >/tmp/foreign
check "another's collector set is refused" says "netobservAgent's and goes to psample group 10" netverdict sampling enable --ovs $ovs --group 11
check 'and it is a failure' status_of 1 netverdict sampling enable --ovs $ovs --group 11
check 'nothing was written' unchanged /tmp/foreign
check 'what it has is no change' says 'already as asked for' netverdict sampling enable --ovs $ovs --group 10
check 'by force' netverdict sampling enable --ovs $ovs --group 11 --ipfix 127.0.0.1:4739 --force --inverse /tmp/inverse6
check 'the inverse of force runs' sh /tmp/inverse6
check 'and brings it back' unchanged /tmp/foreign
check 'a datapath without psample is told' says 'has no psample' netverdict sampling status
check 'a missing set is told' bash -c 'ovs-vsctl --all destroy Flow_Sample_Collector_Set; netverdict sampling status | grep "collector set 42, which this node does not have"'

# Somebody else writes at the same time.
reject=$(ovn-nbctl --bare --columns=_uuid find ACL action=reject)
(for n in {1..300}; do ovn-nbctl -- clear ACL "$reject" sample_new -- set ACL "$reject" "match=\"tcp.dst == $n\""; done) &
for n in {1..15}; do
  netverdict sampling enable --feature Other >/dev/null 2>/tmp/busy || { cat /tmp/busy; touch /tmp/lost; }
  netverdict sampling disable >/dev/null 2>/tmp/busy || { cat /tmp/busy; touch /tmp/lost; }
done
wait
check 'a database that others write to at the same time' test ! -e /tmp/lost
netverdict sampling disable >/dev/null
check 'and nothing of ours is left' bash -c '! ovsdb-client dump unix:/run/ovn/ovnnb_db.sock OVN_Northbound | grep netverdict'
check 'northd and ovn-controller have nothing to complain of' no_complaints
exit $((failures > 0))
