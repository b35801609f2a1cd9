# netverdict doctor on a node that works, and on the same node with one thing after the other broken; netverdict bundle, replayed without the node.
set -u
. "${BASH_SOURCE%/*}/check-doctor.sh"
by_ipfix='netverdict sampling enable --ipfix 127.0.0.1:4739'

check 'nothing fails on a node that works' well doubles
check 'the text names what warns' grep -q 'warn  *doubles  *packets of established connections are sampled up to 4 times' "$LAB_OUT/doctor.txt"
check 'no colours in a file' bash -c '! grep -q $'"'\\\\033'"' "$LAB_OUT/doctor.txt"'
check 'a datapath in user space needs no psample' says 0 psample skip
check 'ovs-vswitchd tells its version' says 0 version ok "$(ovs-vswitchd --version | sed -n '1s/.* //p')"
check 'ovn-controller answers' says 0 ovn-controller ok 'answers: ovn-controller'

# A bundle while there is traffic, and the same datagrams by another witness.
: >"$LAB_OUT/tcpdump"
tcpdump -U -i lo -w "$LAB_OUT/ipfix.pcap" 'udp dst port 4739' 2>"$LAB_OUT/tcpdump" &
dump=$!
until grep -q 'listening on' "$LAB_OUT/tcpdump"; do kill -0 $dump || break; done
netverdict bundle "$LAB_OUT/node1" --for 600 >"$LAB_OUT/bundle.txt" 2>&1 &
bundle=$!
until ss -Hlun 'sport = 4739' | grep -q 4739; do kill -0 $bundle || break; done
lab-traffic >"$LAB_OUT/traffic"
kill -INT $bundle
wait $bundle
check 'a bundle ends early when it is asked to' grep -q 'samples from ipfix:127.0.0.1:4739' "$LAB_OUT/bundle.txt"
kill -INT $dump
wait $dump
check 'a bundle is for its owner alone' test "$(stat -c %a "$LAB_OUT/node1")" = 600
install -m 644 "$LAB_OUT/node1" /tmp/node1
stranger netverdict observe --source bundle:/tmp/node1 -o json >"$LAB_OUT/replayed" 2>"$LAB_OUT/replayed.summary"
ovsdb-client dump -f json unix:/run/ovn/ovnnb_db.sock OVN_Northbound >"$LAB_OUT/nb.json"
ovsdb-client dump -f json unix:/run/ovn/ovnsb_db.sock OVN_Southbound >"$LAB_OUT/sb.json"
ovsdb-client dump -f json unix:/run/openvswitch/db.sock Open_vSwitch >"$LAB_OUT/ovs.json"
netverdict observe --no-state --nb "$LAB_OUT/nb.json" --sb "$LAB_OUT/sb.json" --ovs "$LAB_OUT/ovs.json" \
  --source "pcap:$LAB_OUT/ipfix.pcap" -o json >"$LAB_OUT/witnessed" 2>"$LAB_OUT/witnessed.summary"
check 'replayed elsewhere it gives the same decisions' same_decisions "$LAB_OUT/replayed" "$LAB_OUT/witnessed"
check 'nothing is unresolved' grep -q ' 0 unresolved' "$LAB_OUT/replayed.summary"
check 'its databases are whole' whole_bundle "$LAB_OUT/node1"
sed '/"caption":"ACL table"/s/"allow-related"/"drop"/g' /tmp/bundle/nb1.json >/tmp/changed.json
stranger netverdict whatif --source bundle:/tmp/node1 --nb /tmp/bundle/nb1.json --changed-nb /tmp/changed.json >"$LAB_OUT/whatif" 2>&1
check 'a change of its rows would cut some off' test $? = 3
check 'it says whom' grep -q '^- frontend/client -> .*backend/' "$LAB_OUT/whatif"
check 'no change cuts off nobody' stranger netverdict whatif --source bundle:/tmp/node1 --nb /tmp/bundle/nb1.json --changed-nb /tmp/bundle/nb1.json
check 'no file is written over' bash -c '! netverdict bundle "$LAB_OUT/node1"'
check 'a bundle without samples says why' bash -c 'netverdict bundle "$LAB_OUT/none" --source ipfix:192.0.2.1:4739 --for 1 2>&1 | grep "no samples were taken"'
check 'and still has the rows' bash -c 'netverdict observe --source "bundle:$LAB_OUT/none" 2>&1 | grep "^netverdict: 0 samples"'
check 'no temporary file stays' test -z "$(find "$LAB_OUT" -maxdepth 1 -name '.tmp*')"

# One thing after the other.
ovs-vsctl set Open_vSwitch . other_config:hw-offload=true
check 'hardware offload' says 0 'hardware offload' warn 'hw-offload=false'
ovs-vsctl remove Open_vSwitch . other_config hw-offload
with='--nb tcp:127.0.0.1:1' check 'a server that is not there' says 1 northbound fail 'no server listens there'
with='--nb /lab/scripts/README.md' check 'a dump that is none' says 1 northbound fail 'no table in it'
with='--ca-cert /none --certificate /none --private-key /none' check 'TLS files' says 1 'tls files' fail '--ca-cert /none'
check 'without rights it says how to get them' bash -c '! stranger netverdict doctor >"$LAB_OUT/doctor.txt" && grep "run as root" "$LAB_OUT/doctor.txt"'
ovs-vsctl --all destroy Flow_Sample_Collector_Set
check 'no collector set' says 1 'collector sets' fail 'does not have'
check 'what it says mends it' bash -c "$by_ipfix && netverdict doctor | grep 'ok  *collector sets  *42 to IPFIX 127.0.0.1:4739, by netverdict'"
ovn-nbctl set NB_Global . options:debug_drop_collector_set=42
check 'drops without an ACL' says 0 'drops without ACL' ok 'collector set 42'
ovn-nbctl remove NB_Global . options debug_drop_collector_set
ovn-nbctl destroy Sampling_App "$(ovn-nbctl --bare --columns=_uuid find Sampling_App type=acl-est)"
check 'no application for established packets' says 1 applications fail 'Sampling_App acl-est'
check 'what it says mends it' mended applications
for acl in $(ovn-nbctl --bare --columns=_uuid list ACL); do echo "-- clear ACL $acl sample_new sample_est"; done | xargs ovn-nbctl
check 'sampling is off' says 1 acls fail '0 of'
kill -9 "$(cat /run/openvswitch/ovs-vswitchd.pid)"
check 'ovs-vswitchd is dead' says 1 ovs-vswitchd fail 'systemctl restart'
exit $((failures > 0))
