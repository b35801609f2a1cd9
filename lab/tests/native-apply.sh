# lab: --bare
# netverdict apply on real OVN: northd takes all of it, a second run has nothing to do, a change is the smallest, what undoes it does, and a
# kill leaves the old rows or the new ones.
set -u
. "${BASH_SOURCE%/*}/checks.sh"
nb=unix:/run/ovn/ovnnb_db.sock
here=${BASH_SOURCE%/*}

contents() { python3 "$here/apply-contents.py" $nb; }
dump() { # with identities; NB_Global counts northd's runs
  ovsdb-client dump $nb OVN_Northbound | awk '/ table$/ { skip = $1 == "NB_Global" } !skip'
}
is() { # FILE COMMAND...: COMMAND prints FILE
  local file=$1
  shift
  "$@" >/tmp/now
  diff "$file" /tmp/now
}
operations() { # PATH...: what apply would write, one operation a line
  netverdict apply "$@" --nb $nb --dry-run -o json 2>/dev/null | python3 -c '
import json, sys
for line in json.load(sys.stdin)["transaction"][1:]:
    if line["op"] not in ("wait", "comment"):
        print(line["op"], line["table"], *sorted(line["row"] if line["op"] == "update" else []))' | sort
}

mkdir -p /tmp/policies
cat >/tmp/policies/cluster.yaml <<'Y'
kind: Namespace
apiVersion: v1
metadata: {name: blue, labels: {team: blue}}
---
kind: Namespace
apiVersion: v1
metadata: {name: red, labels: {team: red}, annotations: {k8s.ovn.org/multicast-enabled: "true"}}
---
kind: Pod
apiVersion: v1
metadata: {name: server, namespace: blue, labels: {app: server}}
spec: {containers: [{name: c, ports: [{containerPort: 8080}]}]}
---
kind: Pod
apiVersion: v1
metadata: {name: client, namespace: red, labels: {app: client}}
spec: {containers: [{name: c}]}
---
kind: Service
apiVersion: v1
metadata: {name: server, namespace: blue}
spec: {selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}
Y
policy() { # PORT
  cat <<Y
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: {name: allow-client, namespace: blue}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress:
  - from: [{namespaceSelector: {matchLabels: {team: red}}, podSelector: {}}]
    ports: [{port: $1}]
Y
}
policy 8080 >/tmp/policies/policy.yaml
cat >/tmp/policies/admin.yaml <<'Y'
kind: AdminNetworkPolicy
apiVersion: policy.networking.k8s.io/v1alpha1
metadata: {name: no-dns}
spec:
  priority: 10
  subject: {namespaces: {}}
  egress:
  - action: Deny
    to: [{networks: [203.0.113.0/24]}]
    ports: [{portNumber: {protocol: UDP, port: 53}}]
Y

contents >/tmp/empty
dump >/tmp/empty-dump
check 'a dry run says what it would do, by policy' says 'NetworkPolicy blue/allow-client: 1 ACL added; 1 port group added; 1 sample added' netverdict apply /tmp/policies --nb $nb --dry-run
check 'and does nothing' is /tmp/empty-dump dump
check 'apply' netverdict apply /tmp/policies --nb $nb --inverse /tmp/inverse
dump >/tmp/applied-dump
contents >/tmp/applied
check 'every ACL is marked' test "$(ovn-nbctl --columns=external_ids list ACL | grep -c .)" = "$(ovn-nbctl --columns=external_ids list ACL | grep -c 'netverdict.io/owner"=netverdict-apply')"
ovn-nbctl --wait=sb sync
check 'northd has nothing to complain of' bash -c "! grep '|WARN|\||ERR|' /var/log/ovn/ovn-northd.log | grep -v 'Unknown chassis'"
check 'each ACL of a switch or of a group with ports became a logical flow' python3 - <<'P'
import json, subprocess
def rows(tool, table, columns):
    return json.loads(subprocess.check_output([tool, '-f', 'json', f'--columns={columns}', 'list', table]))['data']
def uuids(value):
    return {one[1] for one in value[1]} if value[0] == 'set' else {value[1]}
acls = set()
for table in 'Port_Group', 'Logical_Switch':
    for ports, of in rows('ovn-nbctl', table, 'ports,acls'):
        if uuids(ports):
            acls |= {acl[:8] for acl in uuids(of)}
hints = {dict(ids[0][1]).get('stage-hint') for ids in rows('ovn-sbctl', 'Logical_Flow', 'external_ids')}
assert len(acls) > 5 and acls <= hints, (len(acls), acls - hints)
P
check 'apply again: nothing to do' says 'nothing to do' netverdict apply /tmp/policies --nb $nb
check 'and nothing was done' is /tmp/applied-dump dump

# The smallest change.
policy 8081 >/tmp/policies/policy.yaml
operations /tmp/policies >/tmp/operations
printf '%s\n' 'delete Sample' 'insert Sample' 'update ACL match sample_est sample_new' >/tmp/wanted
check 'another port changes one match and its Sample' diff /tmp/wanted /tmp/operations
check 'which is said' says 'NetworkPolicy blue/allow-client: 1 ACL changed; 1 sample added, 1 removed' netverdict apply /tmp/policies --nb $nb --inverse /tmp/inverse2
check 'what undoes it runs' sh /tmp/inverse2
check 'and brings the rows back' is /tmp/applied contents
policy 8080 >/tmp/policies/policy.yaml
check 'which is what the first policy wants' says 'nothing to do' netverdict apply /tmp/policies --nb $nb
cat >/tmp/policies/pod.yaml <<'Y'
kind: Pod
apiVersion: v1
metadata: {name: other, namespace: red}
spec: {containers: [{name: c}]}
Y
operations /tmp/policies >/tmp/operations
check 'a pod is one port, and a member of what holds its like' bash -c "
  cat /tmp/operations; [ \$(grep -c '^insert' /tmp/operations) = 1 ] && grep '^insert Logical_Switch_Port' /tmp/operations && ! grep -E 'ACL|Sample|delete' /tmp/operations"
netverdict apply /tmp/policies --nb $nb >/dev/null 2>&1
rm /tmp/policies/pod.yaml
check 'the pod goes' netverdict apply /tmp/policies --nb $nb
check 'and all is as before' is /tmp/applied contents

# Nothing is written while a document is broken.
echo '{kind: NetworkPolicy, apiVersion: networking.k8s.io/v1, metadata: {name: x, namespace: blue}, spec: {podSelektor: {}}}' >/tmp/broken.yaml
dump >/tmp/before-dump
check 'a broken document is refused' status_of 1 netverdict apply /tmp/policies /tmp/broken.yaml --nb $nb
check 'and nothing was done' is /tmp/before-dump dump
check 'compile goes on with the good ones' bash -c 'netverdict compile /tmp/policies /tmp/broken.yaml | grep "^NetworkPolicy blue/allow-client"'
check 'and says by its exit status that one is broken' status_of 1 netverdict compile /tmp/policies /tmp/broken.yaml

# Rows of somebody else.
ovn-nbctl ls-add theirs -- lsp-add theirs their-port -- lsp-add node-1 their-port-here -- pg-add theirs their-port blue_server
contents >/tmp/before
dump >/tmp/before-dump
check 'rows of others are no reason to write' says 'nothing to do' netverdict apply /tmp/policies --nb $nb
check 'and stay' is /tmp/before-dump dump
policy 9090 >/tmp/policies/policy.yaml
netverdict apply /tmp/policies --nb $nb --inverse /tmp/inverse4 >/dev/null 2>&1
check 'they stay when ours change' bash -c 'ovn-nbctl lsp-list node-1 | grep their-port-here'
check 'what undoes that runs' sh /tmp/inverse4
check 'and brings the rows back' is /tmp/before contents
mkdir -p /tmp/none
echo '{kind: Namespace, apiVersion: v1, metadata: {name: lonely}}' >/tmp/none/none.yaml
check 'all policies go' says 'NetworkPolicy blue/allow-client: 1 ACL removed' netverdict apply /tmp/none --nb $nb --inverse /tmp/inverse5
check 'the port of ours is out of their group' test "$(ovn-nbctl --bare --columns=ports list Port_Group theirs | wc -w)" = 1
check 'what undoes that runs' sh /tmp/inverse5
check 'and brings back the port in their group' is /tmp/before contents
ovn-nbctl ls-del theirs -- lsp-del their-port-here -- pg-del theirs
policy 8080 >/tmp/policies/policy.yaml

# Beside netverdict sampling.
contents >/tmp/before
check 'what was applied is sampled already' says 'left as they are' netverdict sampling enable --feature NetworkPolicy
netverdict sampling disable >/dev/null
check 'sampling disable takes nothing of ours' is /tmp/before contents
netverdict apply /tmp/policies --nb $nb --sampling off >/dev/null 2>&1
check 'with --sampling off what is sampled stays' is /tmp/before contents
for acl in $(ovn-nbctl --bare --columns=_uuid list ACL); do clear+=(-- clear ACL "$acl" sample_new sample_est); done
ovn-nbctl "${clear[@]}" && ovn-nbctl -- --all destroy Sample_Collector -- --all destroy Sampling_App
check 'sampling enable samples what apply made' says 'Sample: add' netverdict sampling enable
check 'which apply leaves as it is, and says so' says 'stay sampled as netverdict sampling made them' netverdict apply /tmp/policies --nb $nb --dry-run
netverdict sampling disable >/dev/null
netverdict apply /tmp/policies --nb $nb >/dev/null 2>&1
check 'once that is off, apply samples again' is /tmp/before contents

# A kill in the middle leaves the old rows or the new ones.
contents >/tmp/old
{ policy 7070; for n in {1..60}; do echo ---; policy $((7100 + n)) | sed "s/allow-client/more-$n/"; done; } >/tmp/many.yaml
cp /tmp/many.yaml /tmp/policies/policy.yaml
start=$EPOCHREALTIME
netverdict apply /tmp/policies --nb $nb >/dev/null 2>&1
took=$((${EPOCHREALTIME/./} - ${start/./}))
contents >/tmp/new
policy 8080 >/tmp/policies/policy.yaml
netverdict apply /tmp/policies --nb $nb >/dev/null 2>&1
old=0 new=0 mixed=0
for n in {1..40}; do
  if [ $((n % 2)) = 1 ]; then cp /tmp/many.yaml /tmp/policies/policy.yaml; else policy 8080 >/tmp/policies/policy.yaml; fi
  # From the middle of a run to its end.
  after=$((took * (50 + n * 3 / 2) / 100))
  timeout -s KILL "$((after / 1000000)).$(printf %06d $((after % 1000000)))" netverdict apply /tmp/policies --nb $nb
  contents >/tmp/now
  if diff -q /tmp/old /tmp/now; then old=$((old + 1)); elif diff -q /tmp/new /tmp/now; then new=$((new + 1)); else mixed=$((mixed + 1)); fi
done >/dev/null 2>&1
check "a kill leaves the old rows ($old times) or the new ones ($new times), never a mix ($mixed)" test $mixed = 0 -a $old -gt 0 -a $new -gt 0

# Somebody else writes at the same time, and so do two of us.
(for n in {1..200}; do ovn-nbctl set Port_Group "$(ovn-nbctl --bare --columns=name find Port_Group 'external_ids:"k8s.ovn.org/owner-type"=NetworkPolicy' | head -n 1)" "external_ids:n=$n"; done) >/dev/null 2>&1 &
others=$!
rm -f /tmp/lost
for n in {1..10}; do
  policy 8080 >/tmp/policies/policy.yaml
  netverdict apply /tmp/policies --nb $nb >/dev/null 2>/tmp/busy1 &
  first=$!
  netverdict apply /tmp/policies --nb $nb >/dev/null 2>/tmp/busy2 || { cat /tmp/busy2; touch /tmp/lost; }
  wait $first || { cat /tmp/busy1; touch /tmp/lost; }
  cp /tmp/many.yaml /tmp/policies/policy.yaml
  netverdict apply /tmp/policies --nb $nb >/dev/null 2>/tmp/busy1 || { cat /tmp/busy1; touch /tmp/lost; }
done
wait $others
check 'a database that others write to at the same time' test ! -e /tmp/lost
policy 8080 >/tmp/policies/policy.yaml
netverdict apply /tmp/policies --nb $nb >/dev/null 2>&1
check 'and all is as wanted' is /tmp/old contents

# What ovn-nbctl makes of compile is what apply makes.
for table in Logical_Switch Logical_Router Load_Balancer Port_Group Address_Set Meter Sampling_App; do ovn-nbctl --all destroy $table; done
ovn-nbctl --all destroy Load_Balancer_Group -- --all destroy Sample_Collector
check 'the NB is empty' is /tmp/empty contents
netverdict compile /tmp/policies -o nbctl >/tmp/script 2>/dev/null
check 'the script of compile runs' sh /tmp/script
check 'and makes what apply makes' is /tmp/applied contents
check 'so that there is nothing left to do' says 'nothing to do' netverdict apply /tmp/policies --nb $nb
exit $((failures > 0))
