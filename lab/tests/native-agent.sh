# An agent on each node reports to one server: each connection is one row with both verdicts, and its service and backend are named. The server has no source but
# them; it reads the databases for its other questions.
set -eu
here=$(ovs-vsctl get open_vswitch . external_ids:ovn-encap-ip | tr -d '"')
# Node 2 exports to node 1, where the lab's outside is.
node 2 ovs-vsctl set ipfix "$(node 2 ovs-vsctl --bare --columns=_uuid list ipfix)" targets="\"$here:4740\""
databases() { # NODE
  echo --nb "unix:$LAB_RUN/$1/ovn/ovnnb_db.sock" --sb "unix:$LAB_RUN/$1/ovn/ovnsb_db.sock" --ovs "unix:$LAB_RUN/$1/openvswitch/db.sock"
}
server() {
  # shellcheck disable=SC2046 # words
  netverdict server --collect --no-state --listen 127.0.0.1:8480 $(databases 1) $(databases 2) 2>>"$LAB_OUT/server" &
  server=$!
}
agent() { # NODE ARGUMENT...
  local node=$1
  shift
  # shellcheck disable=SC2046
  netverdict agent --node "ovn-worker-$node" --server http://127.0.0.1:8480 --state "$LAB_OUT/state-$node" $(databases "$node") "$@" 2>"$LAB_OUT/agent-$node" &
}
server
# Agents that come first say that reports wait, which they must not here.
until (: </dev/tcp/127.0.0.1/8480) 2>/dev/null; do kill -0 $server; done
# Without psample in the kernel the first chooses IPFIX by itself.
agent 1 --listen 127.0.0.1:8481
first=$!
agent 2 --listen 127.0.0.1:8482 --source "ipfix:$here:4740"
second=$!
status=0
python3 "${BASH_SOURCE%/*}/check-server.py" "$LAB_OUT" http://127.0.0.1:8480 $server || status=1
python3 "${BASH_SOURCE%/*}/check-agent.py" "$LAB_OUT" || status=1
kill -TERM $first $second
wait $first || status=1
wait $second || status=1
for node in 1 2; do
  if grep 'wait in the spool' "$LAB_OUT/agent-$node"; then status=1; fi
done
kill -TERM $server
wait $server || status=1
cat "$LAB_OUT"/agent-* "$LAB_OUT/server"
exit $status
