# Decisions from the kernel's psample messages: against the traffic that was really sent, and against a kprobe on psample_sample_packet.
set -eu
databases=()
for n in 1 2; do
  databases+=(--nb "unix:$LAB_RUN/$n/ovn/ovnnb_db.sock" --sb "unix:$LAB_RUN/$n/ovn/ovnsb_db.sock" --ovs "unix:$LAB_RUN/$n/openvswitch/db.sock")
done
trace=/sys/kernel/tracing
echo 'p:netverdict psample_sample_packet' >$trace/kprobe_events
for n in 1 2; do
  node $n netverdict observe --no-state "${databases[@]}" --source psample:10@ovn-worker-$n -o json \
    >"$LAB_OUT/decisions$n" 2>"$LAB_OUT/summary$n" &
  pids[$n]=$!
done
for n in 1 2; do
  until node $n grep -q "^[0-9a-f]* *16 *[0-9]* *[1-9a-f]" /proc/net/netlink; do kill -0 ${pids[$n]}; done
done
listening() { node "$1" awk -v pid="${pids[$1]}" '$2 == 16 && $4 != "00000000" { found = 1 } END { exit !found }' /proc/net/netlink; }
for n in 1 2; do until listening $n; do kill -0 ${pids[$n]}; done; done
echo 1 >$trace/events/kprobes/netverdict/enable
lab-traffic >"$LAB_OUT/traffic"
echo 0 >$trace/events/kprobes/netverdict/enable
kill -INT "${pids[@]}"
wait "${pids[@]}"
awk '$1 == "netverdict" { print $2 }' $trace/kprobe_profile >"$LAB_OUT/kprobe"
python3 "${BASH_SOURCE%/*}/compare-decisions.py" "$LAB_OUT"
