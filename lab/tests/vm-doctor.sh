# netverdict doctor on a node with the kernel's datapath, as it is and with something amiss; netverdict bundle by psample, replayed without the node.
set -u
. "${BASH_SOURCE%/*}/check-doctor.sh"

check 'nothing fails on a node that works' well doubles 'conntrack counts' 'conntrack times'
check 'psample can be received' says 0 psample ok
check 'the kernel is named' says 0 kernel ok "$(uname -r)"
check 'the datapath has psample' says 0 datapath ok 'with psample'
check 'conntrack entries can be read' says 0 conntrack ok
sysctl -qw net.netfilter.nf_conntrack_acct=0
check 'conntrack does not count' says 0 'conntrack counts' warn 'sysctl -w net.netfilter.nf_conntrack_acct=1'
sysctl -qw net.netfilter.nf_conntrack_acct=1
check 'what it says mends it' says 0 'conntrack counts' ok

# A bundle, and another listener to the same samples.
netverdict observe --no-state -o json >"$LAB_OUT/witnessed" 2>"$LAB_OUT/witnessed.summary" &
observe=$!
: >"$LAB_OUT/bundle.txt"
netverdict bundle "$LAB_OUT/node1" --for 600 >"$LAB_OUT/bundle.txt" 2>&1 &
bundle=$!
until grep -q 'samples of psample:10 for' "$LAB_OUT/bundle.txt"; do kill -0 $bundle || break; done
until [ "$(awk '$2 == 16 && $4 != "00000000"' /proc/net/netlink | wc -l)" -ge 2 ]; do kill -0 $observe $bundle || break; done
lab-traffic >"$LAB_OUT/traffic"
kill -INT $bundle $observe
wait $bundle $observe
check 'a bundle listens where the node sends' grep -q 'samples from psample:10' "$LAB_OUT/bundle.txt"
install -m 644 "$LAB_OUT/node1" /tmp/node1
stranger netverdict observe --source bundle:/tmp/node1 -o json >"$LAB_OUT/replayed" 2>"$LAB_OUT/replayed.summary"
check 'replayed elsewhere it gives the same decisions' same_decisions "$LAB_OUT/replayed" "$LAB_OUT/witnessed"
check 'nothing is unresolved' grep -q ' 0 unresolved' "$LAB_OUT/replayed.summary"
check 'its databases are whole' whole_bundle "$LAB_OUT/node1"

check 'without rights psample names the way' bash -c '! stranger netverdict doctor --ovs "unix:/run/openvswitch/db.sock" >"$LAB_OUT/doctor.txt" && grep "setcap cap_net_admin+ep" "$LAB_OUT/doctor.txt"'
set=$(ovs-vsctl --bare --columns=_uuid list Flow_Sample_Collector_Set)
ovs-vsctl set Flow_Sample_Collector_Set "$set" local_group_id=300
check 'a group that NetObserv cannot read' says 0 'collector sets' warn 'takes 300 for 44'
exit $((failures > 0))
