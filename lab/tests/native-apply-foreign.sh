# netverdict apply leaves a NB that ovn-kubernetes runs alone, unless it is told that the NB is its own; and also that can be undone.
set -u
. "${BASH_SOURCE%/*}/checks.sh"
nb=unix:/run/ovn/ovnnb_db.sock
here=${BASH_SOURCE%/*}

contents() { python3 "$here/apply-contents.py" $nb; }
is() { # FILE COMMAND...: COMMAND prints FILE
  local file=$1
  shift
  "$@" >/tmp/now
  diff "$file" /tmp/now
}
cat >/tmp/policies.yaml <<'Y'
kind: Node
apiVersion: v1
metadata: {name: ovn-worker-1, annotations: {k8s.ovn.org/zone-name: ovn-worker-1}}
spec: {podCIDRs: [10.244.1.0/24, "fd00:10:244:1::/64"]}
---
kind: Namespace
apiVersion: v1
metadata: {name: frontend}
---
kind: Pod
apiVersion: v1
metadata: {name: client, namespace: frontend}
spec: {nodeName: ovn-worker-1, containers: [{name: c}]}
---
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: {name: nobody, namespace: frontend}
spec: {podSelector: {}}
Y
apply() { netverdict apply /tmp/policies.yaml --nb $nb --cluster-subnet 10.244.0.0/16 --cluster-subnet fd00:10:244::/48 "$@"; }

contents >/tmp/theirs
check 'the NB of ovn-kubernetes is refused' says 'rows have the owner-controller of ovn-kubernetes, such as ' apply
check 'and says what to do' says 'with --i-own-this-nb those rows are taken over' apply
check 'which is a failure' status_of 1 apply
check 'also when only to be looked at' status_of 1 apply --dry-run
check 'nothing was written' is /tmp/theirs contents
check 'a zone that is not there is told' says 'there is no zone elsewhere; there are ovn-worker-1' apply --zone elsewhere --i-own-this-nb
check 'it is taken over when told so' apply --i-own-this-nb --inverse /tmp/inverse
check 'the new policy is there' bash -c 'ovn-nbctl --columns=external_ids list ACL | grep -F "frontend" | grep -F netverdict-apply'
check 'the old ones are gone' bash -c '! ovn-nbctl --columns=external_ids list ACL | grep -F k8s.ovn.org/id | grep -v netverdict-apply'
check 'switches and ports of others are used as they are' says 'used as made by somebody else' apply
check 'it is ours now: nothing to do' says 'nothing to do' apply
ovn-nbctl --wait=sb sync
check 'what undoes it runs' sh /tmp/inverse
check 'and brings every row back' is /tmp/theirs contents

# A NB without a name, and more zones than one.
{ cat /tmp/policies.yaml; echo ---; sed 's/ovn-worker-1/ovn-worker-2/; /^---/,$d' /tmp/policies.yaml | sed 's/zone-name: ovn-worker-1/zone-name: ovn-worker-2/; s/10.244.1.0/10.244.2.0/; s/244:1::/244:2::/'; } >/tmp/two.yaml
mv /tmp/two.yaml /tmp/policies.yaml
ovn-nbctl clear NB_Global . name 2>/dev/null || ovn-nbctl set NB_Global . name='""'
check 'a NB without a name needs a zone' says 'say which with --zone: ovn-worker-1, ovn-worker-2' apply --i-own-this-nb
check 'and takes it' says 'not done: --dry-run' apply --i-own-this-nb --zone ovn-worker-1 --dry-run
check 'a script is for one zone' says 'name one with --zone: ovn-worker-1, ovn-worker-2' netverdict compile /tmp/policies.yaml -o nbctl
exit $((failures > 0))
