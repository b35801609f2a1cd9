# lab: --bare --ovn bookworm
# netverdict sampling on OVN 23.03, which cannot sample: it says so and what remains, and writes nothing.
set -u
. "${BASH_SOURCE%/*}/checks.sh"
ovn-nbctl ls-add sw -- acl-add sw to-lport 1000 ip4 drop
ovsdb-client dump unix:/run/ovn/ovnnb_db.sock OVN_Northbound ACL >/tmp/before
check 'status says that it cannot, and what remains' bash -c 'netverdict sampling status | grep "older than OVN 24.09.*ACL log"'
check 'status is JSON' bash -c 'netverdict sampling status -o json | python3 -c "import json, sys; assert not json.load(sys.stdin)[\"can_sample\"]"'
check 'enable refuses' bash -c 'netverdict sampling enable 2>&1 | grep "came with OVN 24.09"; [ ${PIPESTATUS[0]} = 1 ]'
check 'disable has nothing to do' bash -c 'netverdict sampling disable | grep "nothing to do"'
check 'nothing was written' bash -c 'ovsdb-client dump unix:/run/ovn/ovnnb_db.sock OVN_Northbound ACL | diff /tmp/before -'
exit $((failures > 0))
