# What eBPF adds up of the kernel's samples, held to the netlink messages of the same packets, to a kprobe's count and to the traffic that was sent:
# connection by connection, and every call accounted for; on node 1 to IPFIX too. Beside it a probe with three capabilities and no root, and one with hardly any room.
set -eu
here=${BASH_SOURCE%/*}
probe=$CARGO_TARGET_DIR/debug/examples/probe
[ -x "$probe" ] || { echo "$probe is missing: cargo build --package netverdict-ebpf --features load --example probe"; exit 77; }
out=$(mktemp -d)
trace=/sys/kernel/tracing
echo 'p:netverdict psample_sample_packet' >$trace/kprobe_events
# True when netverdict N reads samples: as a listener of netlink (protocol 16), or with both of its functions watched.
ready() { # KIND PROCESS
  case $1 in
  psample) for inode in $(awk '$2 == 16 && $4 != "00000000" { print $10 }' "/proc/$2/net/netlink"); do ls -l "/proc/$2/fd" | grep -q "socket:\[$inode\]" && return; done; return 1 ;;
  ipfix) node 1 ss -Hlun 'sport = 4739' | grep -q 4739 ;;
  ebpf) [ "$(ls -l "/proc/$2/fd" 2>/dev/null | grep -c 'bpf[-_]link\|perf_event')" -ge 2 ] ;;
  esac
}
start() { # NODE KIND SOURCE
  node "$1" netverdict observe --no-state --nb "unix:$LAB_RUN/$1/ovn/ovnnb_db.sock" --sb "unix:$LAB_RUN/$1/ovn/ovnsb_db.sock" \
    --ovs "unix:$LAB_RUN/$1/openvswitch/db.sock" --source "$3@ovn-worker-$1" -o json >"$out/$2$1" 2>"$out/$2-summary$1" &
  pids+=($!)
  until ready "$2" $!; do kill -0 $! || { cat "$out/$2-summary$1"; exit 1; }; sleep .1; done
}
pids=()
for n in 1 2; do for kind in psample ebpf; do start $n $kind $kind:10; done; done
node 1 ovs-vsctl --id=@ipfix create IPFIX 'targets="127.0.0.1:4739"' template_interval=2 -- \
  set Flow_Sample_Collector_Set "$(node 1 ovs-vsctl --bare --columns=_uuid list Flow_Sample_Collector_Set)" ipfix=@ipfix >/dev/null
start 1 ipfix ipfix:127.0.0.1:4739
# Not root: three capabilities, so that the function tracer takes the place of fentry.
capabilities=-all,+bpf,+net_admin,+perfmon
mkfifo /tmp/questions /tmp/full-questions
exec {questions}<>/tmp/questions {full_questions}<>/tmp/full-questions
setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=$capabilities --ambient-caps=$capabilities --bounding-set=$capabilities \
  "$probe" --group 10 </tmp/questions >/tmp/probe 2>&1 &
unprivileged=$!
until grep -q attached /tmp/probe; do kill -0 $unprivileged || { cat /tmp/probe; exit 1; }; sleep .1; done
node 1 "$probe" --sums --group 10 --max-events 16 </tmp/full-questions >/tmp/full 2>&1 &
full=$!
until grep -q attached /tmp/full; do kill -0 $full || { cat /tmp/full; exit 1; }; sleep .1; done
echo 1 >$trace/events/kprobes/netverdict/enable

lab-traffic >"$out/traffic"
# Many short connections.
pod backend/server python3 -c '
import socket
s = socket.create_server(("10.244.2.5", 5201), backlog=200)
while True:
    peer, _ = s.accept()
    peer.sendall(peer.recv(10))
    peer.close()' &
server=$!
pod frontend/client python3 -c '
import socket, time
done, deadline = 0, time.monotonic() + 60
while done < 300 and time.monotonic() < deadline:
    try:
        with socket.create_connection(("10.244.2.5", 5201)) as s:
            s.sendall(b"short")
            done += s.recv(10) == b"short"
    except ConnectionRefusedError:
        time.sleep(0.05)
print(done)' >"$out/short"
kill $server
echo 0 >$trace/events/kprobes/netverdict/enable
awk '$1 == "netverdict" { print $2 }' $trace/kprobe_profile >"$out/kprobe"
for n in 1 2; do node $n ovs-appctl dpctl/show | grep lookups >"$out/lookups$n"; done

echo >&$questions
echo >&$full_questions
until grep -q drained /tmp/probe; do kill -0 $unprivileged; sleep .1; done
until grep -q drained /tmp/full; do kill -0 $full; sleep .1; done
cp /tmp/probe /tmp/full "$out"
kill $unprivileged $full
kill -INT "${pids[@]}"
wait "${pids[@]}"
# What is missing is named.
capabilities=-all,+bpf,+net_admin
setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=$capabilities --ambient-caps=$capabilities "$probe" </dev/null >"$out/refused" || true
exec python3 "$here/check-ebpf.py" "$out"
