# Packets that no ACL but another logical flow drops: the drop application's samples name that flow with --sb, and say what is missing without.
set -eu
failed=0
check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >"$LAB_OUT/check" 2>&1; then echo "ok     $what"; else echo "FAILED $what"; sed 's/^/       | /' "$LAB_OUT/check"; failed=1; fi
}
ovn-nbctl --wait=hv set NB_Global . options:debug_drop_collector_set=42 options:debug_drop_domain_id=1
nb=unix:$LAB_RUN/1/ovn/ovnnb_db.sock
start() { # NAME PORT OPTION...
  local name=$1 port=$2
  shift 2
  netverdict observe --no-state --nb "$nb" "$@" --source "ipfix:127.0.0.1:$port" -o json >"$LAB_OUT/$name" 2>"$LAB_OUT/$name.summary" &
  pids+=($!)
  until ss -Hlun "sport = $port" | grep -q "$port"; do kill -0 $!; done
}
pids=()
start with 4739 --sb "unix:$LAB_RUN/1/ovn/ovnsb_db.sock"
start without 4740
ovs-vsctl set IPFIX "$(ovs-vsctl --bare --columns=_uuid list IPFIX | head -1)" 'targets=["127.0.0.1:4739","127.0.0.1:4740"]'
# Port security: an address that is not the pod's.
pod frontend/client ip addr add 10.244.1.99/32 dev eth0
pod frontend/client ping -q -c 3 -i 0.2 -W 0.2 -I 10.244.1.99 10.244.2.6 >/dev/null || :
kill -INT "${pids[@]}"
wait "${pids[@]}"
check 'the flow is named with --sb' grep -q '"verdict":"dropped".*"app":"drop".*"flow":{"stage":"ls_in_apply_port_sec".*"message":"Dropped by logical flow ls_in_' "$LAB_OUT/with"
check 'a table of ovn-controller is named' grep -q '"message":"Dropped by ovn-controller in OpenFlow table ' "$LAB_OUT/without"
check 'none is unresolved' grep -q ' 0 unresolved' "$LAB_OUT/with.summary"
check 'what is missing is said without it' grep -q '"app":"drop".*"unresolved":"drop-without-sb".*give --sb' "$LAB_OUT/without"
check 'and counted' grep -q 'unresolved, drop-without-sb: [1-9]' "$LAB_OUT/without.summary"
exit $failed
