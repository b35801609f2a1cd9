# netverdict lflow --openflow against what ovn-controller and Open vSwitch made of the same rows: OpenFlow actions of all flows that sample, the
# datapath's actions in ofproto/trace and in the flows that traffic leaves.
set -eu
. lab/tests/checks.sh
databases=(--nb "unix:$LAB_RUN/1/ovn/ovnnb_db.sock" --sb "unix:$LAB_RUN/1/ovn/ovnsb_db.sock" --ovs "unix:$LAB_RUN/1/openvswitch/db.sock")
collector=$(ovn-nbctl --bare --columns=_uuid find Sample_Collector id=1)
# One with two collectors has flows of its own; one takes a tenth.
bridge=$(ovs-vsctl get Bridge br-int _uuid)
exporter=$(ovs-vsctl --bare --columns=_uuid list IPFIX | head -1)
ovs-vsctl create Flow_Sample_Collector_Set id=43 bridge="$bridge" ipfix="$exporter" >/dev/null
ovn-nbctl --id=@c create Sample_Collector id=2 name=tenth probability=6553 set_id=43 \
  -- --id=@s create Sample collectors="$collector,@c" metadata=9001 \
  -- --id=@d create Sample_Collector id=3 name=nobody probability=65535 set_id=44 -- --id=@u create Sample collectors=@d metadata=9003 \
  -- --id=@e create ACL tier=0 direction=from-lport priority=102 'match="ip && udp.dst == 5555"' action=drop sample_new=@u \
  -- add Logical_Switch ovn-worker-1 acls @e \
  -- --id=@t create Sample collectors=@c metadata=9002 \
  -- --id=@a create ACL tier=0 direction=from-lport priority=100 'match="ip4.dst == 10.244.2.6 && icmp4"' action=pass sample_new=@s \
  -- --id=@b create ACL tier=0 direction=to-lport priority=101 'match="ip && udp.dst == 4444"' action=allow-related sample_new=@t sample_est=@s \
  -- add Logical_Switch ovn-worker-1 acls @a -- add Logical_Switch ovn-worker-1 acls @b >/dev/null
ovn-nbctl --wait=hv sync
netverdict lflow --openflow --datapath ovn-worker-1 -o json "${databases[@]}" >/tmp/ours
netverdict lflow --openflow --datapath ovn-worker-1 "${databases[@]}" >/tmp/text
key=$(ovn-sbctl --bare --columns=tunnel_key find Datapath_Binding external_ids:name=ovn-worker-1)
ovs-ofctl -O OpenFlow15 dump-flows br-int >/tmp/openflow
ours() { python3 -ES -c '
import json, sys
for line in open("/tmp/ours"):
    it = json.loads(line)
    if it["openflow"]: print(eval(sys.argv[1]))' "$1" | sort -u; }
equal() { diff <("${@:2}") "$1"; }
# Several samples of one flow come one after the other.
python3 -ES - "$key" >/tmp/theirs <<'END'
import re, sys
seen = set()
for line in open('/tmp/openflow'):
    if f'metadata={int(sys.argv[1]):#x}' in re.split('[, ]', line):
        for action in re.findall(r'(?<![a-z])sample\([^()]*(?:\[[^]]*\])?[^()]*\)', line):
            seen.add(f"{re.search('table=([0-9]+)', line)[1]} {action}")
print('\n'.join(sorted(seen)))
END
sort -o /tmp/theirs /tmp/theirs
check 'the OpenFlow actions of all flows that sample are as ovs-ofctl prints them' equal /tmp/theirs ours 'f"{it["openflow"]["table"]} {it["openflow"]["action"]}"'
check 'they are immediate and from fields, of both collectors' grep -cE 'obs_point_id=(9001|NXM_NX_CT_LABEL|NXM_NX_XXREG0)|probability=6553' /tmp/theirs
check 'a collector set that is not there samples nothing' grep -q 'OpenFlow:     none: Open vSwitch has no collector set 44' /tmp/text
check 'the text says the same' grep -qF "OpenFlow:     table=17, actions=$(sed -n 's/^17 //p' /tmp/theirs | grep 9001 | head -1)" /tmp/text

ours 'it["datapath_actions"]' >/tmp/datapath
samples_in() { grep -oE '(sample\(sample=[0-9.]+%,actions\()?userspace\(pid=0,flow_sample\([^()]*\)\)(\)\))?' | sort -u; }
known() { # FILE: some samples, each of which is ours
  samples_in <"$1" >"$1.samples"
  [ -s "$1.samples" ] && ! grep -vxFf /tmp/datapath "$1.samples"
}
port=$(ovs-vsctl --bare --columns=ofport find Interface external_ids:iface-id=frontend_client)
mac=$(ovs-vsctl --bare --columns=external_ids find Interface external_ids:iface-id=frontend_client | grep -oE 'attached_mac="?[0-9a-f:]+' | grep -oE '([0-9a-f]{2}:){5}[0-9a-f]{2}' || pod frontend/client cat /sys/class/net/eth0/address)
gateway=$(pod frontend/client ip neigh show | grep -oE '([0-9a-f]{2}:){5}[0-9a-f]{2}' | head -1 || :)
ovs-appctl ofproto/trace br-int "in_port=$port,icmp,dl_src=$mac,dl_dst=${gateway:-0a:58:0a:f4:01:01},nw_src=10.244.1.5,nw_dst=10.244.2.6,nw_ttl=64,icmp_type=8" \
  --ct-next 'trk,new' >/tmp/trace
check 'ofproto/trace has these datapath actions' known /tmp/trace
pod frontend/client ping -q -c 3 -i 0.2 -W 1 10.244.2.6 >/dev/null
ovs-appctl dpctl/dump-flows >/tmp/dpflows
check 'and so have the flows of the datapath' known /tmp/dpflows
check 'sampled by chance and always' grep -q 'sample(sample=10.0%,actions(userspace' /tmp/dpflows.samples
exit $((failures > 0))
