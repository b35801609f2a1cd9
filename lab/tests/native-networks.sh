# lab: --udn
# Two networks with the same addresses: each end has the name that it has on the network where it was seen.
set -eu
netverdict observe --no-state --nb "unix:$LAB_RUN/1/ovn/ovnnb_db.sock" --sb "unix:$LAB_RUN/1/ovn/ovnsb_db.sock" --ovs "unix:$LAB_RUN/1/openvswitch/db.sock" \
  --source ipfix:127.0.0.1:4739 -o json >"$LAB_OUT/decisions" 2>"$LAB_OUT/summary" &
pid=$!
until ss -Hlun 'sport = 4739' | grep -q 4739; do kill -0 $pid; done
lab-traffic >"$LAB_OUT/traffic"
server=$(pod blue/server ip -4 -br addr show dev eth0 | awk '{ sub("/.*", "", $3); print $3 }')
pod blue/client ping -c 3 -i 0.2 "$server" >"$LAB_OUT/ping" || :
kill -INT $pid
wait $pid
python3 - "$LAB_OUT/decisions" <<'END'
import json
import sys

failed = False


def check(what, good, detail=''):
    global failed
    failed |= not good
    print('ok    ' if good else 'FAILED', what, '' if good else detail)


rows = [json.loads(line) for line in open(sys.argv[1])]
names = {}
for row in rows:
    for end in (row['src'], row['dst']):
        if 'pod' in end:
            names.setdefault(end['ip'], {}).setdefault(row['network'], set()).add(f"{end['namespace']}/{end['pod']}")
shared = {ip: by_network for ip, by_network in names.items() if len(by_network) > 1}
check('an address was seen on two networks', shared, names)
check('and has another name on each', all(len(set.union(*by.values())) == len(by) and all(len(n) == 1 for n in by.values()) for by in shared.values()), shared)
blue = [row for row in rows if row['network'] == 'cluster_udn_blue']
check('the ends on the user-defined network are its pods', blue and all(e.get('namespace') == 'blue' for row in blue for e in (row['src'], row['dst']) if e['kind'] == 'pod'), blue[:2])
sys.exit(failed)
END
