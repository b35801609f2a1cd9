#!/bin/bash
# lab: --bare
# The foreign judge of the twin's connection tracking: random packets through Open vSwitch's in user space and through ours, with time under our
# control (crates/pipeline/examples/conntrack.rs). SEED and N (packets) are passed on.
set -eu
program=${CARGO_TARGET_DIR:-target}/debug/examples/conntrack
[ -x "$program" ] || { echo "cargo build -p netverdict-pipeline --example conntrack has not been run: there is no $program"; exit 77; }

# A second Open vSwitch beside the lab's, whose ports and clock are ours.
dir=$(mktemp -d)
export OVS_RUNDIR=$dir
trap 'kill $(cat "$dir"/*.pid)' EXIT
ovsdb-tool create "$dir/conf.db" /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server "$dir/conf.db" --remote="punix:$dir/db.sock" --pidfile="$dir/db.pid" --unixctl="$dir/db.ctl" --detach -vconsole:off
ovs-vsctl --db="unix:$dir/db.sock" --no-wait init
ovs-vswitchd "unix:$dir/db.sock" --enable-dummy=override --disable-system --disable-system-route --pidfile="$dir/v.pid" \
  --unixctl="$dir/v.ctl" --detach -vconsole:off --log-file="$dir/v.log" 2>/dev/null
ovs-vsctl --db="unix:$dir/db.sock" add-br br0 -- set bridge br0 datapath_type=dummy fail_mode=secure \
  -- add-port br0 p1 -- set Interface p1 type=dummy ofport_request=1 \
  -- add-port br0 p2 -- set Interface p2 type=dummy ofport_request=2 options:tx_pcap="$dir/p2.pcap"
ovs-appctl -t "$dir/v.ctl" time/stop
# Sequence numbers are not modelled.
ovs-appctl -t "$dir/v.ctl" dpctl/ct-disable-tcp-seq-chk
"$program" flows | ovs-ofctl add-flows br0 -
"$program" judge "$dir/v.ctl" "$dir/p2.pcap" "${SEED:-1}" "${N:-30000}" || { tail -20 "$dir/v.log"; exit 1; }
