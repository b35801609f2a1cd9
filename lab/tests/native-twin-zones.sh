#!/bin/bash
# The samples of real Open vSwitch against those of the twin, in two zones (lab/twin/zones.py).
set -eu
program=${CARGO_TARGET_DIR:-target}/debug/examples/samples
[ -x "$program" ] || { echo "cargo build -p netverdict-pipeline --example samples has not been run: there is no $program"; exit 77; }
exec python3 -ES /lab/scripts/twin/zones.py "$program"
