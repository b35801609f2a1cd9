# lab: --bare --ovn bookworm
# netverdict apply on OVN 23.03, which has neither tiers nor samples: what means the same without is applied, the rest is refused.
set -u
. "${BASH_SOURCE%/*}/checks.sh"
nb=unix:/run/ovn/ovnnb_db.sock
mkdir /tmp/policies
cat >/tmp/policies/policy.yaml <<'Y'
kind: Pod
apiVersion: v1
metadata: {name: server, namespace: blue}
spec: {containers: [{name: c}]}
---
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: {name: nobody, namespace: blue}
spec: {podSelector: {}}
Y
check 'a NetworkPolicy is applied' says 'NetworkPolicy blue/nobody: 1 port group added' netverdict apply /tmp/policies --nb $nb --inverse /tmp/inverse
check 'that tiers are left out is said' says 'no ACL.tier: left out, as all ACLs are of the same tier' netverdict apply /tmp/policies --nb $nb
check 'that nothing is sampled is said' says 'has no Sample, which came with OVN 24.09' netverdict apply /tmp/policies --nb $nb
check 'a second run has nothing to do' says 'nothing to do' netverdict apply /tmp/policies --nb $nb
ovn-nbctl --wait=sb sync
check 'northd has nothing to complain of' bash -c "! grep '|WARN|\||ERR|' /var/log/ovn/ovn-northd.log | grep -v 'Unknown chassis\|Duplicate IP'"
cat >/tmp/policies/admin.yaml <<'Y'
kind: AdminNetworkPolicy
apiVersion: policy.networking.k8s.io/v1alpha1
metadata: {name: no-dns}
spec:
  priority: 10
  subject: {namespaces: {}}
  egress: [{action: Deny, to: [{networks: [203.0.113.0/24]}]}]
Y
check 'an AdminNetworkPolicy is refused' says 'it cannot put AdminNetworkPolicy no-dns before or behind other policies' netverdict apply /tmp/policies --nb $nb
check 'and its NetworkPolicy stays' test "$(ovn-nbctl --bare --columns=_uuid find ACL action=drop | grep -c .)" -ge 2
check 'what undoes the first run runs' sh /tmp/inverse
check 'and nothing is left' test -z "$(ovn-nbctl --bare --columns=_uuid list Logical_Switch)$(ovn-nbctl --bare --columns=_uuid list Port_Group)"
exit $((failures > 0))
