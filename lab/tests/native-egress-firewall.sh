# What an egress firewall does to connections that a network policy of the same pod allows (docs/adr/0008): ACLs shaped as ovn-kubernetes has them,
# real traffic through a router port, what OVS commits and samples.
set -eu
. lab/tests/checks.sh
collector=$(ovn-nbctl --bare --columns=_uuid find Sample_Collector id=1)
port=$(ovn-nbctl --bare --columns=_uuid find Logical_Switch_Port name=frontend_client)
far=10.244.2.6
acl() { # POINT SAMPLES COLUMN=VALUE...: an ACL of the pod; SAMPLES are the columns that name its Sample
  local point=$1 samples=() column
  for column in $2; do samples+=("$column=@sample"); done
  shift 2
  ovn-nbctl --id=@sample create Sample collectors="$collector" metadata="$point" -- --id=@acl create ACL tier=2 "$@" "${samples[@]}" \
    -- add Port_Group both acls @acl >/dev/null
}
policy() { acl 7001 "$1" direction=from-lport priority=1500 "match=\"inport == @both && ip4.dst == $far\"" action=allow-related options:apply-after-lb=true; }
firewall() { acl 7002 'sample_new sample_est' direction=to-lport priority=10000 "match=\"(ip4.dst == $far) && inport == @both\"" action=allow; }
entry() { ovs-appctl dpctl/dump-conntrack | grep "orig=(src=10.244.1.5,dst=$far,id=$1,"; }
ask() { # NAME: four pings of one connection; NAME.points is what was sampled, NAME.entry what was committed
  ovn-nbctl --wait=hv sync
  netverdict observe --no-state --nb "unix:$LAB_RUN/1/ovn/ovnnb_db.sock" --source "ipfix:127.0.0.$2:4739" -o json >"/tmp/$1" 2>/dev/null &
  local observer=$!
  until ss -Hlun 'sport = 4739' | grep -q 4739; do kill -0 $observer; done
  ovs-vsctl set IPFIX "$ipfix" "targets=\"127.0.0.$2:4739\""
  pod frontend/client ping -q -c 4 -i 0.5 -W 2 -e "$2" $far >/dev/null
  entry "$2" >"/tmp/$1.entry"
  # Four packets there and four back, each sampled at least once.
  until [ "$(grep -c '"packets"' "/tmp/$1")" -ge 8 ]; do kill -0 $observer; done
  kill -INT $observer
  wait $observer
  python3 -c '
import collections, json, sys
seen = collections.Counter()
for line in open(sys.argv[1]):
    it = json.loads(line)
    if sys.argv[2] in (it["src"]["ip"], it["dst"]["ip"]):
        seen[it["app"], "reply" if it["src"]["ip"] == sys.argv[2] else "original", it["point"]] += it["packets"]
for (app, direction, point), count in sorted(seen.items()): print(app, direction, point, "x%d" % count)' "/tmp/$1" $far >"/tmp/$1.points"
  cat "/tmp/$1.points" "/tmp/$1.entry"
}
expect() { diff - "/tmp/$1.points"; }
commits() { grep -q "mark=$2.*labels=$3" "/tmp/$1.entry"; }

# Templates come again while each connection lasts, wherever they went before; records wait for them.
ipfix=$(ovs-vsctl --bare --columns=_uuid list IPFIX | head -1)
ovs-vsctl set IPFIX "$ipfix" template_interval=1
# Addresses are resolved before anything counts.
pod frontend/client ping -q -c 3 -i 0.2 -W 1 $far >/dev/null
ovn-nbctl create Port_Group name=both ports="$port" >/dev/null
policy 'sample_new sample_est'
ask alone 101
check 'alone, the policy is committed in the zone of the pod: stage 1' commits alone 65552 0x1b59
check 'alone, the policy is what all packets name' expect alone <<'END'
acl-est original 7001 x3
acl-est reply 7001 x4
acl-new original 7001 x1
END
firewall
ask both 102
check 'with a firewall, its id replaces that of the policy in the zone of the pod: stage 2' commits both 65568 0x1b5a
check 'the firewall is asked about each packet of the original direction, as if it were the first; replies name it' expect both <<'END'
acl-est reply 7002 x4
acl-new original 7001 x1
acl-new original 7002 x4
END
ovn-nbctl clear Port_Group both acls
policy sample_new
firewall
ask quiet 103
check 'a policy without sample_est commits once: then the firewall sees the connection as established' expect quiet <<'END'
acl-est original 7002 x3
acl-est reply 7002 x4
acl-new original 7001 x1
acl-new original 7002 x1
END
exit $((failures > 0))
