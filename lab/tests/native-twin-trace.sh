#!/bin/bash
# lab: --bare
# The foreign judge of the walk: random northbound databases and packets, ours against ovn-trace (lab/twin/trace.py). SEED, N (databases) and PACKETS
# (for each) are passed on.
set -eu
program=${CARGO_TARGET_DIR:-target}/debug/examples/walk
[ -x "$program" ] || { echo "cargo build -p netverdict-pipeline --example walk has not been run: there is no $program"; exit 77; }
# northd writes other flows for samples until ovn-controller has said what it can do.
ovn-sbctl --timeout=60 wait-until Chassis "$(ovs-vsctl get Open_vSwitch . external_ids:system-id | tr -d '"')" other_config:ovn-sample-with-registers=true
exec python3 -ES /lab/scripts/twin/trace.py "$program"
