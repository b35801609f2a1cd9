# lab: --bare
# Idle costs nothing: netverdict observe on unix sockets, without traffic, is not woken once in 5 seconds (or as many as are given).
set -eu
seconds=${1:-5}
port=4739
netverdict observe -f --no-state --source ipfix:127.0.0.1:$port -o json >/dev/null &
pid=$!
trap 'kill -INT $pid 2>/dev/null || true' EXIT
until ss -Hlun "sport = $port" | grep -q .; do kill -0 $pid; done

# How often its threads went to sleep, which is how often they had been woken.
wakeups() { cat /proc/$pid/task/*/status | awk '$1 == "voluntary_ctxt_switches:" { n += $2 } END { print n }'; }

# ovn-northd and ovn-controller may still be filling the databases: begin when nothing came for a while.
before=$(wakeups)
for _ in $(seq 30); do
  sleep 1
  now=$(wakeups)
  [ "$now" = "$before" ] && break
  before=$now
done
sleep "$seconds"
after=$(wakeups)
threads=$(ls /proc/$pid/task | wc -l)
echo "$((after - before)) wake-ups of $threads threads in $seconds s"
[ "$after" = "$before" ]
