# One server reads the samples of both zones: each connection is one row with both verdicts, and its service and backend are named.
set -eu
databases=()
for n in 1 2; do
  databases+=(--nb "unix:$LAB_RUN/$n/ovn/ovnnb_db.sock" --sb "unix:$LAB_RUN/$n/ovn/ovnsb_db.sock" --ovs "unix:$LAB_RUN/$n/openvswitch/db.sock")
done
# Node 2 exports to node 1, where the server is.
here=$(ovs-vsctl get open_vswitch . external_ids:ovn-encap-ip | tr -d '"')
node 2 ovs-vsctl set ipfix "$(node 2 ovs-vsctl --bare --columns=_uuid list ipfix)" targets="\"$here:4740\""
netverdict server --no-state --listen 127.0.0.1:8480 "${databases[@]}" \
  --source ipfix:127.0.0.1:4739@ovn-worker-1 --source "ipfix:$here:4740@ovn-worker-2" 2>"$LAB_OUT/summary" &
pid=$!
status=0
python3 "${BASH_SOURCE%/*}/check-server.py" "$LAB_OUT" http://127.0.0.1:8480 $pid || status=$?
kill -TERM $pid
wait $pid
exit $status
