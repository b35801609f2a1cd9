#!/bin/bash
# lab: --bare
# The samples of real Open vSwitch against those of the twin, for the same packets (lab/twin/samples.py). SEED, N (databases) and FLOWS (connections in
# each) are passed on.
set -eu
program=${CARGO_TARGET_DIR:-target}/debug/examples/samples
[ -x "$program" ] || { echo "cargo build -p netverdict-pipeline --example samples has not been run: there is no $program"; exit 77; }
# northd writes other flows for samples until ovn-controller has said what it can do.
. lab/tests/registers.sh
takes_registers
exec python3 -ES /lab/scripts/twin/samples.py "$program"
