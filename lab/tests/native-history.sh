# A policy is deleted while its connection lives: later samples still name it, also after a restart of netverdict, and another ACL that got
# its point does not fool it. Then ovsdb-server is killed and started again: the rows are equal, and what happened meanwhile is one gap.
set -eu
failed=0
check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >"$LAB_OUT/check" 2>&1; then echo "ok     $what"; else echo "FAILED $what"; sed 's/^/       | /' "$LAB_OUT/check"; failed=1; fi
}
db() { node 2 ovn-nbctl --no-leader-only "$@"; }
observe() { # starts it on node 2; its decisions go to $LAB_OUT/$1
  NETVERDICT_LOG=info node 2 netverdict observe --state "$LAB_OUT/state" --nb "unix:$LAB_RUN/2/ovn/ovnnb_db.sock" --sb "unix:$LAB_RUN/2/ovn/ovnsb_db.sock" \
    --source ipfix:127.0.0.1:4739 -o json >"$LAB_OUT/$1" 2>"$LAB_OUT/$1.summary" &
  pid=$!
  until node 2 ss -Hlun 'sport = 4739' | grep -q 4739; do kill -0 $pid; done
}
stop() { kill -INT $pid; wait $pid; }
has() { grep -q "$2" "$LAB_OUT/$1"; }
await() { timeout 20 bash -c 'exec grep -qm1 "$2" < <(exec tail -n +1 -f "$1")' - "$LAB_OUT/$1" "$2"; }
count() { grep -c "$2" "$LAB_OUT/$1" || :; }
# A line each way over one long connection from frontend/client to backend/server.
pod backend/server python3 -c '
import socket
s = socket.create_server(("", 5201)); c, _ = s.accept()
while d := c.recv(100): c.sendall(d)' &
server=$!
until pod backend/server ss -Hltn 'sport = 5201' | grep -q 5201; do :; done
say() { echo "$1" >&"${CLIENT[1]}"; read -rt 10 answer <&"${CLIENT[0]}"; }

# The established samples of the connection, by their policy.
policy='"app":"acl-est".*"name":"allow-frontend".*"acl":'
observe one
coproc CLIENT { pod frontend/client python3 -uc '
import socket, sys
c = socket.create_connection(("10.244.2.5", 5201))
for line in sys.stdin: c.sendall(line.encode()); print(c.recv(100).decode(), end="")'; }
say hello
check 'the living policy is named' await one "$policy"

# The policy goes: its ACLs leave their port groups, and OVSDB collects them. So does the isolation, so that the connection lives on.
point=$(grep -m1 "$policy" "$LAB_OUT/one" | sed 's/.*"point":\([0-9]*\).*/\1/')
for id in default-network-controller:NetworkPolicy:backend:allow-frontend default-network-controller:NetpolNamespace:backend:Ingress; do
  db --wait=hv clear Port_Group "$(db --bare --columns=name find Port_Group "external_ids:\"k8s.ovn.org/id\"=\"$id\"")" acls
done
check 'its Sample row is gone' test -z "$(db --bare --columns=_uuid find Sample metadata="$point")"
before=$(count one "$policy")
say 'still there'
check 'the deleted policy is still named' await one "$policy.*\"deleted\":true"
check 'more than before' test "$(count one "$policy")" -gt "$before"

# Another policy gets the point.
collector=$(db --bare --columns=_uuid find Sample_Collector | head -1)
group=$(db --bare --columns=name find Port_Group 'external_ids:"k8s.ovn.org/id"="default-network-controller:NetworkPolicy:backend:metrics"')
db --wait=hv --id=@s create Sample collectors="$collector" metadata="$point" -- \
  --id=@a create ACL direction=to-lport priority=1001 tier=2 action=allow-related 'match="outport == @'"$group"' && udp.dst == 9"' sample_new=@s sample_est=@s \
  'external_ids:"k8s.ovn.org/owner-type"=NetworkPolicy' 'external_ids:"k8s.ovn.org/name"="backend:impostor"' 'external_ids:direction=Ingress' \
  'external_ids:"k8s.ovn.org/owner-controller"=default-network-controller' -- add Port_Group "$group" acls @a >/dev/null
before=$(count one "$policy")
say 'and again'
check 'the old policy is named for the old connection' await one '"evidence":"connection"'
check 'the other policy is not' test "$(count one '"name":"impostor".*"acl":')" = 0
stop

observe two
# Records that come before the exporter repeats its templates wait for them, and it repeats them only when it has something to send.
talk() { for _ in $(seq 40); do say 'after a restart'; has "$@" && return; timeout 0.2 tail -f /dev/null || :; done; return 1; }
check 'the same after a restart' talk two "$policy"
check 'the other policy is not named after a restart' test "$(count two '"name":"impostor".*"acl":')" = 0

# The NB's server dies and comes back, with one more change that nobody saw.
kill -9 "$(cat "$LAB_RUN/2/ovn/ovnnb_db.pid")"
check 'the loss of the connection is told' await two.summary 'OVN_Northbound.*closed the connection'
node 2 sh -c "rm -f /run/ovn/ovnnb_db.pid /run/ovn/ovnnb_db.ctl; exec ovsdb-server --no-chdir --detach -vconsole:off --pidfile=/run/ovn/ovnnb_db.pid --unixctl=/run/ovn/ovnnb_db.ctl --remote=punix:/run/ovn/ovnnb_db.sock /run/db/nb.db"
until [ "$(count two.summary 'OVN_Northbound.*in step')" = 2 ]; do kill -0 $pid; done
say 'the server is back'
stop
check 'two gaps are counted: the restart of netverdict, and that of the server' has two.summary 'history_gaps: 2'
check 'nothing is unresolved' grep -q ' 0 unresolved' "$LAB_OUT/two.summary"
check 'every decision is shown once' grep -q "^netverdict: $(wc -l <"$LAB_OUT/two") samples" "$LAB_OUT/two.summary"
exec {CLIENT[1]}>&- || :
kill $server 2>/dev/null || :
exit $failed
