#!/bin/bash
# lab: --bare
# The twin's routers, links and their load balancers, against ovn-trace (lab/twin/routes.py). SETS, QUESTIONS and SEED are passed on.
set -eu
program=${CARGO_TARGET_DIR:-target}/debug/examples/twin
[ -x "$program" ] || { echo "cargo build -p netverdict-pipeline --example twin has not been run: there is no $program"; exit 77; }
exec python3 -ES /lab/scripts/twin/routes.py "$program"
