# lab: --bare
# netverdict apply --watch on real OVN: files are followed, what somebody changes in rows of ours is put back, a broken file costs nothing, a
# restarted NB is caught up with, idle is idle, and a signal ends it quietly.
set -u
failures=0
nb=unix:/run/ovn/ovnnb_db.sock

check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >/tmp/output 2>&1; then echo "ok    $what"; return; fi
  echo "FAIL  $what"
  sed 's/^/    | /' /tmp/output /tmp/watch /tmp/watch-messages
  failures=$((failures + 1))
}
await() { # FILE TEXT: the text comes in the file, behind what was awaited there before
  local from=/tmp/from-${1##*/} line
  [ -e "$from" ] || echo 0 >"$from"
  line=$(timeout 20 bash -c 'exec grep -nm1 -F "$2" < <(exec tail -n "+$(($3 + 1))" -f "$1")' - "$1" "$2" "$(cat "$from")" | cut -d: -f1)
  [ -n "$line" ] && echo $(($(cat "$from") + line)) >"$from"
}
match() { ovn-nbctl --bare --columns=match find ACL 'external_ids:"k8s.ovn.org/id"="default-network-controller:NetworkPolicy:blue:allow-client:Ingress:0:tcp:-1"'; }
policy() { # PORT
  cat <<Y
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: {name: allow-client, namespace: blue}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress:
  - from: [{podSelector: {}}]
    ports: [{port: $1}]
Y
}
put() { cat >/tmp/new.yaml && mv /tmp/new.yaml "/tmp/policies/$1"; }

mkdir -p /tmp/policies
cat >/tmp/policies/cluster.yaml <<'Y'
kind: Namespace
apiVersion: v1
metadata: {name: blue}
---
kind: Pod
apiVersion: v1
metadata: {name: server, namespace: blue, labels: {app: server}}
spec: {containers: [{name: c, ports: [{containerPort: 8080}]}]}
Y
policy 8080 | put policy.yaml
netverdict apply /tmp/policies --nb $nb --watch >/tmp/watch 2>/tmp/watch-messages &
pid=$!
check 'the rows are made' await /tmp/watch 'zone global: NetworkPolicy blue/allow-client: 1 ACL added'
policy 8081 | put policy.yaml
check 'a file changes' await /tmp/watch 'zone global: NetworkPolicy blue/allow-client: 1 ACL changed'
check 'and so does the match' grep -F 'tcp.dst==8081' <(match)
sed 's/name: server/name: more/; 1,/---/d' /tmp/policies/cluster.yaml | put more.yaml
check 'a file comes' await /tmp/watch 'switches, routers and ports: 1 switch changed; 1 switch port added'
rm /tmp/policies/more.yaml
check 'a file goes' await /tmp/watch 'switches, routers and ports: 1 switch changed; 1 switch port removed'

# Somebody else changes what is ours.
acl=$(ovn-nbctl --bare --columns=_uuid find ACL 'external_ids:"k8s.ovn.org/id"="default-network-controller:NetworkPolicy:blue:allow-client:Ingress:0:tcp:-1"')
ovn-nbctl set ACL "$acl" match=ip4 log=true
check 'a changed ACL is put back' await /tmp/watch 'zone global: put back: NetworkPolicy blue/allow-client: 1 ACL changed'
check 'to the letter' grep -F 'tcp.dst==8081' <(match)
group=$(ovn-nbctl --bare --columns=name find Port_Group 'external_ids:"k8s.ovn.org/id"="default-network-controller:NetpolNamespace:blue:Ingress"')
ovn-nbctl pg-del "$group"
check 'a deleted default deny is put back' await /tmp/watch 'zone global: put back: default deny of namespace blue: 2 ACLs added; 1 port group added'
ovn-nbctl ls-add theirs
ovn-nbctl --wait=sb sync

# A broken file is as it was.
echo 'kind: [' | put policy.yaml
check 'a broken file is told' await /tmp/watch-messages 'has become broken and stays as it was'
check 'and its policy stays' grep -F 'tcp.dst==8081' <(match)
ovn-nbctl set ACL "$acl" match=ip4
check 'and is held' await /tmp/watch 'zone global: put back: NetworkPolicy blue/allow-client: 1 ACL changed'
policy 8082 | put policy.yaml
check 'until it is mended' await /tmp/watch 'zone global: NetworkPolicy blue/allow-client: 1 ACL changed'

# So is a policy that reads well and cannot be compiled, and all that changes until it can.
deny() { # LEVEL OF LOGGING
  cat <<Y
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: deny, annotations: {k8s.ovn.org/acl-logging: '{"deny":"$1"}'}}
spec:
  priority: 5
  subject: {namespaces: {}}
  ingress: [{action: Deny, from: [{namespaces: {matchLabels: {nobody: here}}}]}]
Y
}
deny alert | put deny.yaml
check 'an admin policy comes' await /tmp/watch 'zone global: AdminNetworkPolicy deny: 1 ACL added'
deny loud | put deny.yaml
check 'what cannot be compiled waits' await /tmp/watch-messages 'all is left as it was'
check 'and its ACL stays' test "$(ovn-nbctl --bare --columns=severity find ACL name='"ANP:deny:Ingress:0"')" = alert
deny info | put deny.yaml
check 'until it can' await /tmp/watch 'zone global: AdminNetworkPolicy deny: 1 ACL changed'
mv /tmp/policies /tmp/elsewhere
check 'a directory that is gone is told' await /tmp/watch-messages 'stay as they were until it is back'
mv /tmp/elsewhere /tmp/policies
rm /tmp/policies/deny.yaml
check 'and is followed when it is back' await /tmp/watch 'zone global: AdminNetworkPolicy deny: 1 ACL removed'

# The NB goes and comes back, and meanwhile a file and a row change.
ovs-appctl -t /run/ovn/ovnnb_db.ctl exit
check 'a lost NB is told' await /tmp/watch-messages 'NB at unix:/run/ovn/ovnnb_db.sock: '
policy 8083 | put policy.yaml
ovsdb-server --no-chdir --detach -vconsole:off --pidfile=/run/ovn/ovnnb_db.pid --unixctl=/run/ovn/ovnnb_db.ctl --remote=punix:/run/ovn/ovnnb_db.sock /run/db/nb.db
check 'it is found again' await /tmp/watch-messages 'in step again'
check 'and what changed meanwhile is made up for' await /tmp/watch 'zone global: NetworkPolicy blue/allow-client: 1 ACL changed'
check 'to the letter again' grep -F 'tcp.dst==8083' <(match)

# Idle costs nothing.
wakeups() { cat /proc/$pid/task/*/status | awk '$1 == "voluntary_ctxt_switches:" { n += $2 } END { print n }'; }
ovn-nbctl --wait=sb sync
before=$(wakeups)
for _ in {1..30}; do
  sleep 1
  now=$(wakeups)
  [ "$now" = "$before" ] && break
  before=$now
done
sleep 5
after=$(wakeups)
check "idle, it is not woken in 5 s ($((after - before)) times)" test "$after" = "$before"

lines=$(wc -l </tmp/watch)
kill -TERM $pid
check 'a signal ends it' wait $pid
check 'quietly' test "$(wc -l </tmp/watch)" = "$lines"
check 'what is there stays' grep -F 'tcp.dst==8083' <(match)
check 'and is as wanted' bash -c "netverdict apply /tmp/policies --nb $nb 2>&1 | grep 'nothing to do'"
echo 'kind: [' >/tmp/policies/other.yaml
check 'it does not begin with a broken file' bash -c "netverdict apply /tmp/policies --nb $nb --watch; [ \$? = 1 ]"
exit $((failures > 0))
