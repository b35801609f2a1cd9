# Decisions from the kernel's psample messages: against the traffic that was really sent, and against a kprobe on psample_sample_packet.
# Then the conntrack table and the datapath's counters by policy, the datapath's actions, sampling at 10 %, and another user of psample beside Open vSwitch.
set -eu
here=${BASH_SOURCE%/*}
databases=()
for n in 1 2; do
  databases+=(--nb "unix:$LAB_RUN/$n/ovn/ovnnb_db.sock" --sb "unix:$LAB_RUN/$n/ovn/ovnsb_db.sock" --ovs "unix:$LAB_RUN/$n/openvswitch/db.sock")
done
own() { echo --nb "unix:$LAB_RUN/$1/ovn/ovnnb_db.sock" --sb "unix:$LAB_RUN/$1/ovn/ovnsb_db.sock" --ovs "unix:$LAB_RUN/$1/openvswitch/db.sock"; }
trace=/sys/kernel/tracing
echo 'p:netverdict psample_sample_packet' >$trace/kprobe_events
# True when a netverdict of that node has joined a generic netlink group (protocol 16).
listening() {
  local inode
  for inode in $(node "$1" awk '$2 == 16 && $4 != "00000000" { print $10 }' /proc/net/netlink); do
    for process in $(pgrep -x netverdict); do
      ls -l "/proc/$process/fd" 2>/dev/null | grep -q "socket:\[$inode\]" && return
    done
  done
  return 1
}
start() { # NODE NAME OPTION...
  local n=$1 name=$2
  shift 2
  node "$n" netverdict observe --no-state "${databases[@]}" "$@" -o json >"$LAB_OUT/$name$n" 2>"$LAB_OUT/$name-summary$n" &
  pids[$n]=$!
  until listening "$n"; do kill -0 ${pids[$n]}; done
}
finish() { kill -INT "${pids[@]}"; wait "${pids[@]}"; }

for n in 1 2; do start $n decisions --source psample:10@ovn-worker-$n; done
echo 1 >$trace/events/kprobes/netverdict/enable
lab-traffic >"$LAB_OUT/traffic"
for n in 1 2; do
  node $n netverdict totals $(own $n) -o json >"$LAB_OUT/totals$n"
  node $n netverdict connections $(own $n) -o json >"$LAB_OUT/connections$n"
done
echo 0 >$trace/events/kprobes/netverdict/enable
finish
mv "$LAB_OUT/decisions-summary1" "$LAB_OUT/summary1"
mv "$LAB_OUT/decisions-summary2" "$LAB_OUT/summary2"
awk '$1 == "netverdict" { print $2 }' $trace/kprobe_profile >"$LAB_OUT/kprobe"
python3 "$here/compare-decisions.py" "$LAB_OUT"
python3 "$here/check-tables.py" "$LAB_OUT"

# The psample actions of the datapath are those that lflow --openflow tells of the same rows.
psample_in() { grep -o 'psample([^)]*)' | sort -u; }
pod frontend/client ping -q -i 0.2 -c 3 10.244.2.6 >"$LAB_OUT/ping"
node 1 ovs-appctl dpctl/dump-flows | psample_in >"$LAB_OUT/psample"
node 1 netverdict lflow --openflow $(own 1) | psample_in >"$LAB_OUT/openflow"
[ -s "$LAB_OUT/psample" ] || { echo 'FAILED: no psample action in the datapath'; exit 1; }
if grep -vxFf "$LAB_OUT/openflow" "$LAB_OUT/psample"; then echo 'FAILED: lflow --openflow does not tell these actions'; exit 1; fi
echo "$(wc -l <"$LAB_OUT/psample") psample actions of the datapath are as lflow --openflow tells them"

# At 10 % of the packets, with tc sampling the same interface into the same group beside it.
node 1 ovn-nbctl --wait=hv set Sample_Collector "$(node 1 ovn-nbctl --bare --columns=_uuid list Sample_Collector | head -1)" probability=6553
modprobe act_sample
modprobe cls_matchall
link=$(node 1 ovs-vsctl --bare --columns=name find Interface external_ids:iface-id=frontend_client)
node 1 tc qdisc add dev "$link" clsact
node 1 tc filter add dev "$link" ingress matchall action sample rate 1 group 10
unset pids
declare -A pids
start 1 tenth --source psample:10@ovn-worker-1
pod frontend/client ping -q -i 0.002 -c 500 10.244.2.6 >"$LAB_OUT/ping"
finish
python3 "$here/check-tenth.py" "$LAB_OUT"
