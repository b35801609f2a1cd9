#!/bin/bash
# lab: --bare
# The twin's way through services, routers and zones, against ovn-trace (lab/twin/policy.py). SETS, QUESTIONS, SEED and ONLY are passed on.
set -eu
program=${CARGO_TARGET_DIR:-target}/debug/examples/twin
[ -x "$program" ] || { echo "cargo build -p netverdict-pipeline --example twin has not been run: there is no $program"; exit 77; }
export SETS=${SETS:-100}
exec python3 -ES /lab/scripts/twin/policy.py "$program"
