# Decisions against the traffic that was really sent: on both nodes at once, flow by flow, and against Open vSwitch's own count of samples.
set -eu
databases=()
for n in 1 2; do
  databases+=(--nb "unix:$LAB_RUN/$n/ovn/ovnnb_db.sock" --sb "unix:$LAB_RUN/$n/ovn/ovnsb_db.sock" --ovs "unix:$LAB_RUN/$n/openvswitch/db.sock")
done
for n in 1 2; do
  node $n netverdict observe --no-state "${databases[@]}" --source ipfix:127.0.0.1:4739@ovn-worker-$n -o json \
    >"$LAB_OUT/decisions$n" 2>"$LAB_OUT/summary$n" &
  pids[$n]=$!
done
for n in 1 2; do
  until node $n ss -Hlun 'sport = 4739' | grep -q 4739; do kill -0 ${pids[$n]}; done
  node $n ovs-ofctl dump-ipfix-flow br-int >"$LAB_OUT/before$n"
done
lab-traffic >"$LAB_OUT/traffic"
for n in 1 2; do node $n ovs-ofctl dump-ipfix-flow br-int >"$LAB_OUT/after$n"; done
# The exporter sends as it samples; what is in the socket now is read before the end.
kill -INT "${pids[@]}"
wait "${pids[@]}"
python3 "${BASH_SOURCE%/*}/compare-decisions.py" "$LAB_OUT"
