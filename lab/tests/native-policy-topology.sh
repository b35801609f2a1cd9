# lab: --bare
# Real OVN takes what plain manifests compile to, and packets find their way through it: between pods of one node, of two, and of
# two zones, to a service, from and to the world outside, in both families. Nothing is allowed or denied here: that is the judge's.
set -u
. "${BASH_SOURCE%/*}/checks.sh"

manifests() { # ZONE OF node-1, ZONE OF node-2: two nodes, and what a cluster would add is left out
  local node
  for node in 1 2; do
    cat <<END
---
apiVersion: v1
kind: Node
metadata: {name: node-$node, annotations: {k8s.ovn.org/zone-name: ${!node}}}
END
  done
  while read -r name node app ip ip6; do
    cat <<END
---
apiVersion: v1
kind: Pod
metadata: {name: $name, namespace: blue, labels: {app: $app}}
spec:
  nodeName: node-$node
  containers: [{name: c, ports: [{name: web, containerPort: 8080}]}]
status: {podIPs: [{ip: $ip}, {ip: "$ip6"}]}
END
  done <<END
a 1 client 10.244.0.11 fd00:10:244::b
b 1 client 10.244.0.12 fd00:10:244::c
c 2 server 10.244.1.13 fd00:10:244:1::d
END
  cat <<END
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: blue}
spec:
  type: NodePort
  clusterIPs: [10.96.0.10, "fd00:10:96::10"]
  selector: {app: server}
  ports: [{port: 80, targetPort: web, nodePort: 30080}]
END
  local topology namespace
  for topology in 'routed {topology: Layer3, layer3: {role: Primary, subnets: [{cidr: 10.100.0.0/16}, {cidr: "fd00:100::/48"}]}}' \
    'flat {topology: Layer2, layer2: {role: Primary, subnets: [10.100.0.0/16, "fd00:100::/64"]}}'; do
    namespace=${topology%% *}
    cat <<END
---
apiVersion: v1
kind: Namespace
metadata: {name: $namespace, labels: {k8s.ovn.org/primary-user-defined-network: ""}}
---
apiVersion: k8s.ovn.org/v1
kind: UserDefinedNetwork
metadata: {name: net, namespace: $namespace}
spec: ${topology#* }
END
    for node in 1 2; do
      cat <<END
---
apiVersion: v1
kind: Pod
metadata: {name: on-$node, namespace: $namespace, labels: {app: on-$node}}
spec: {nodeName: node-$node, containers: [{name: c}]}
END
    done
    cat <<END
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: $namespace}
spec: {clusterIPs: [10.96.1.1, "fd00:10:96::101"], selector: {app: on-2}, ports: [{port: 80, targetPort: 8080}]}
END
  done
}

of_family() { # 4|6: the manifests on standard input without the other family's addresses, and without networks of users
  if [ "$1" = 4 ]; then sed -E 's/, (\{ip: )?"fd00[^]"]*"\}?//'; else sed -E 's/\{ip: 10[^}]*\}, //; s/\[10[^,]*, /[/'; fi |
    awk '/^kind: Namespace/ { exit } { if (NR > 2) print before_last; before_last = last; last = $0 }'
}

zone_up() { # NAME MANIFESTS: a NB, SB and northd of its own, with the rows of that zone
  local name=$1 dir=/tmp/$1 daemon="--no-chdir --detach -vconsole:off"
  mkdir -p "$dir"
  ovsdb-tool create "$dir/nb.db" /usr/share/ovn/ovn-nb.ovsschema
  ovsdb-tool create "$dir/sb.db" /usr/share/ovn/ovn-sb.ovsschema
  local db
  for db in nb sb; do
    ovsdb-server $daemon --log-file="$dir/$db.log" --pidfile="$dir/$db.pid" --unixctl="$dir/$db.ctl" --remote=punix:"$dir/$db.sock" "$dir/$db.db"
  done
  ovn-northd $daemon --log-file="$dir/northd.log" --pidfile="$dir/northd.pid" --unixctl="$dir/northd.ctl" --ovnnb-db="unix:$dir/nb.sock" --ovnsb-db="unix:$dir/sb.sock"
  netverdict compile "$2" -o nbctl --zone "${name%-v?}" >"$dir/rows.sh" 2>"$dir/notes" || { cat "$dir/notes"; return 1; }
  OVN_NB_DB=unix:$dir/nb.sock bash "$dir/rows.sh" || return
  ovn-nbctl --db="unix:$dir/nb.sock" --wait=sb --timeout=60 sync
}

quiet() { # ZONE: northd complains about nothing, but for chassis that are not there
  grep -E '\|(WARN|ERR)\|' "/tmp/$1/northd.log" | grep -v 'Unknown chassis'
  [ "${PIPESTATUS[1]}" != 0 ]
}

port_mac() { # ZONE TABLE NAME: the MAC address of a switch port or router port
  local column=addresses
  [ "$2" = Logical_Router_Port ] && column=mac
  ovn-nbctl --db="unix:/tmp/$1/nb.sock" --bare --columns=$column find "$2" name="$3" | cut -d' ' -f1
}

port_ip() { # ZONE SWITCH_PORT 4|6: its address
  ovn-nbctl --db="unix:/tmp/$1/nb.sock" --bare --columns=addresses find Logical_Switch_Port name="$2" | cut -d' ' -f$(($3 / 2))
}

trace() { # ZONE DATAPATH FLOW
  ovn-trace --db="unix:/tmp/$1/sb.sock" --ct=new --ct=new --ct=new --ct=new --minimal "$2" "$3 && ip.ttl == 64"
}

outputs() { # where the packet of a trace on standard input leaves; not what routers ask of their neighbours on its way
  awk '/^ *(arp|nd_ns) [{]/ { match($0, /^ */); close_at = sprintf("%*s};", RLENGTH, "") } close_at == "" { if (match($0, /output\(".*"\)/)) print substr($0, RSTART + 8, RLENGTH - 10) } $0 == close_at { close_at = "" }'
}

reaches() { # PORT ZONE DATAPATH FLOW: the packet leaves by that port, and by no other
  local wanted=$1 output
  shift
  output=$(trace "$@") || return
  echo "$output"
  [ "$(outputs <<<"$output")" = "$wanted" ]
}

reaches_nothing() { # ZONE DATAPATH FLOW
  reaches '' "$@"
}

from_pod() { # ZONE POD EXPRESSION: as it leaves the pod, towards the router
  local zone=$1 node=node-1
  [ "$2" = c ] && node=node-2
  echo "inport == \"blue_$2\" && eth.src == $(port_mac "$zone" Logical_Switch_Port "blue_$2") && eth.dst == $(port_mac "$zone" Logical_Router_Port rtos-$node) && $3"
}

from_outside() { # ZONE NODE EXPRESSION
  echo "inport == \"breth0_$2\" && eth.src == 02:00:00:00:00:01 && eth.dst == $(port_mac "$1" Logical_Router_Port "rtoe-GR_$2") && $3"
}

# --- one zone, two nodes

manifests global global >/tmp/one.yaml
check 'one zone: real OVN takes the rows' zone_up global /tmp/one.yaml
check 'one zone: northd complains about nothing' quiet global
a4='ip4.src == 10.244.0.11' a6='ip6.src == fd00:10:244::b'
web='tcp.src == 40000 && tcp.dst == 8080'
to_b="inport == \"blue_a\" && eth.src == $(port_mac global Logical_Switch_Port blue_a) && eth.dst == $(port_mac global Logical_Switch_Port blue_b)"
check 'v4: pod to pod, same node' reaches blue_b global node-1 "$to_b && $a4 && ip4.dst == 10.244.0.12 && $web"
check 'v6: pod to pod, same node' reaches blue_b global node-1 "$to_b && $a6 && ip6.dst == fd00:10:244::c && $web"
check 'v4: a pod with the address of another reaches nobody' reaches_nothing global node-1 "$to_b && ip4.src == 10.244.0.99 && ip4.dst == 10.244.0.12 && $web"
check 'v6: a pod with the address of another reaches nobody' reaches_nothing global node-1 "$to_b && ip6.src == fd00:10:244::99 && ip6.dst == fd00:10:244::c && $web"
check 'v4: pod to pod, other node' reaches blue_c global node-1 "$(from_pod global a "$a4 && ip4.dst == 10.244.1.13 && $web")"
check 'v6: pod to pod, other node' reaches blue_c global node-1 "$(from_pod global a "$a6 && ip6.dst == fd00:10:244:1::d && $web")"
check 'v4: pod to its node' reaches k8s-node-1 global node-1 "$(from_pod global a "$a4 && ip4.dst == 10.244.0.2 && $web" | sed "s/eth.dst == [^ ]*/eth.dst == $(port_mac global Logical_Switch_Port k8s-node-1)/")"
service='tcp.src == 40000 && tcp.dst == 80'
check 'v4: pod to service to its backend' reaches blue_c global node-1 "$(from_pod global a "$a4 && ip4.dst == 10.96.0.10 && $service")"
check 'v6: pod to service to its backend' reaches blue_c global node-1 "$(from_pod global a "$a6 && ip6.dst == fd00:10:96::10 && $service")"
check 'v4: a port that the service does not have leads out' reaches breth0_node-1 global node-1 "$(from_pod global a "$a4 && ip4.dst == 10.96.0.10 && tcp.dst == 81")"
check 'v4: pod to the world' reaches breth0_node-1 global node-1 "$(from_pod global a "$a4 && ip4.dst == 203.0.113.9 && $web")"
check 'v6: pod to the world' reaches breth0_node-1 global node-1 "$(from_pod global a "$a6 && ip6.dst == 2001:db8::9 && $web")"
check 'v4: pod of the other node to the world' reaches breth0_node-2 global node-2 "$(from_pod global c "ip4.src == 10.244.1.13 && ip4.dst == 203.0.113.9 && $web")"
check 'v6: pod of the other node to the world' reaches breth0_node-2 global node-2 "$(from_pod global c "ip6.src == fd00:10:244:1::d && ip6.dst == 2001:db8::9 && $web")"
for pod in a:10.244.0.11:fd00:10:244::b c:10.244.1.13:fd00:10:244:1::d; do
  IFS=: read -r name v4 v6 <<<"$pod"
  check "v4: the world to pod $name" reaches "blue_$name" global ext_node-1 "$(from_outside global node-1 "ip4.src == 203.0.113.9 && ip4.dst == $v4 && $web")"
  check "v6: the world to pod $name" reaches "blue_$name" global ext_node-1 "$(from_outside global node-1 "ip6.src == 2001:db8::9 && ip6.dst == $v6 && $web")"
done
# From outside ovn-trace stops at the gateway router's ct_snat; the same load balancer is on the node's switch.
check 'v4: pod to a node port' reaches blue_c global node-1 "$(from_pod global a "$a4 && ip4.dst == 172.18.0.2 && tcp.dst == 30080")"
check 'v6: pod to a node port' reaches blue_c global node-1 "$(from_pod global a "$a6 && ip6.dst == fc00:f853:ccd:e793::2 && tcp.dst == 30080")"
check 'the gateway router has the node port' test "$(ovn-nbctl --db=unix:/tmp/global/nb.sock lr-lb-list GR_node-2 | grep -c -F -e '172.18.0.3:30080 ' -e '[fc00:f853:ccd:e793::3]:30080 ')" = 2

# --- networks of users, with the same addresses

service4='ip4.dst == 10.96.1.1' service6='ip6.dst == fd00:10:96::101'
routed_1=routed.net_routed_on-1 routed_2=routed.net_routed_on-2 flat_1=flat.net_flat_on-1 flat_2=flat.net_flat_on-2
for family in 4 6; do
  flow="inport == \"$routed_1\" && eth.src == $(port_mac global Logical_Switch_Port $routed_1) && eth.dst == $(port_mac global Logical_Router_Port rtos-routed_net_node-1) && ip$family.src == $(port_ip global $routed_1 $family)"
  check "v$family: pod to pod in a Layer3 network" reaches $routed_2 global routed_net_node-1 "$flow && ip$family.dst == $(port_ip global $routed_2 $family) && $web"
  check "v$family: pod of a Layer3 network to a pod of the default network: no way" reaches '' global routed_net_node-1 "$flow && ip$family.dst == $(port_ip global blue_a $family) && $web"
  to_service=service$family
  check "v$family: pod to service in a Layer3 network" reaches $routed_2 global routed_net_node-1 "$flow && ${!to_service} && $service"
  flow="inport == \"$flat_1\" && eth.src == $(port_mac global Logical_Switch_Port $flat_1) && eth.dst == $(port_mac global Logical_Switch_Port $flat_2) && ip$family.src == $(port_ip global $flat_1 $family)"
  check "v$family: pod to service in a Layer2 network" reaches $flat_2 global flat_net_ovn_layer2_switch "$flow && ${!to_service} && $service"
  check "v$family: pod to pod in a Layer2 network" reaches $flat_2 global flat_net_ovn_layer2_switch "$flow && ip$family.dst == $(port_ip global $flat_2 $family) && $web"
done

# --- one family

for family in 4 6; do
  name=global-v$family
  manifests global global | of_family $family >/tmp/$name.yaml
  check "v$family only: real OVN takes the rows" zone_up $name /tmp/$name.yaml
  check "v$family only: northd complains about nothing" quiet $name
  addresses=$(ovn-nbctl --db=unix:/tmp/$name/nb.sock --bare --columns=addresses list Logical_Switch_Port; ovn-nbctl --db=unix:/tmp/$name/nb.sock --bare --columns=networks list Logical_Router_Port)
  [ $family = 4 ] && other='[ ,"]fd' || other='[ ,"](10|100|172)\.'
  check "v$family only: no address of the other family" test -z "$(grep -E "$other" <<<"$addresses")"
done
check 'v4 only: pod to pod, other node' reaches blue_c global-v4 node-1 "$(from_pod global-v4 a "$a4 && ip4.dst == 10.244.1.13 && $web")"
check 'v6 only: pod to pod, other node' reaches blue_c global-v6 node-1 "$(from_pod global-v6 a "$a6 && ip6.dst == fd00:10:244:1::d && $web")"
check 'v4 only: pod to service to its backend' reaches blue_c global-v4 node-1 "$(from_pod global-v4 a "$a4 && ip4.dst == 10.96.0.10 && $service")"
check 'v6 only: pod to service to its backend' reaches blue_c global-v6 node-1 "$(from_pod global-v6 a "$a6 && ip6.dst == fd00:10:96::10 && $service")"
check 'v4 only: pod to the world' reaches breth0_node-1 global-v4 node-1 "$(from_pod global-v4 a "$a4 && ip4.dst == 203.0.113.9 && $web")"
check 'v6 only: pod to the world' reaches breth0_node-1 global-v6 node-1 "$(from_pod global-v6 a "$a6 && ip6.dst == 2001:db8::9 && $web")"

# --- two zones, a node each

manifests za zb >/tmp/two.yaml
for zone in za zb; do
  check "two zones: real OVN takes the rows of $zone" zone_up $zone /tmp/two.yaml
  check "two zones: northd of $zone complains about nothing" quiet $zone
done
check 'v4: pod to pod, other zone: towards it' reaches tstor-node-2 za node-1 "$(from_pod za a "$a4 && ip4.dst == 10.244.1.13 && $web")"
check 'v6: pod to pod, other zone: towards it' reaches tstor-node-2 za node-1 "$(from_pod za a "$a6 && ip6.dst == fd00:10:244:1::d && $web")"
check 'v4: pod to service of another zone: towards it' reaches tstor-node-2 za node-1 "$(from_pod za a "$a4 && ip4.dst == 10.96.0.10 && $service")"
arriving="inport == \"tstor-node-1\" && eth.src == $(port_mac za Logical_Router_Port rtots-node-1) && eth.dst == $(port_mac zb Logical_Router_Port rtots-node-2)"
check 'v4: pod to pod, other zone: and in it' reaches blue_c zb transit_switch "$arriving && $a4 && ip4.dst == 10.244.1.13 && $web"
check 'v6: pod to pod, other zone: and in it' reaches blue_c zb transit_switch "$arriving && $a6 && ip6.dst == fd00:10:244:1::d && $web"
check 'the transit switch has one key in both zones' test "$(for zone in za zb; do ovn-sbctl --db=unix:/tmp/$zone/sb.sock --bare --columns=tunnel_key find Datapath_Binding external_ids:name=transit_switch; done | sort -u)" = 16711683

[ $failures = 0 ] && echo "all of it" || echo "$failures failed"
exit $((failures > 0))
