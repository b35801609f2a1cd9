#!/bin/bash
# lab: --bare
# The foreign judge of the match language: random matches, packets and mistakes, ours against ovn-trace (lab/expr.py). SEED and N (packets a switch)
# are passed on.
set -eu
program=${CARGO_TARGET_DIR:-target}/debug/examples/expr
[ -x "$program" ] || { echo "cargo build -p netverdict-ovn --example expr has not been run: there is no $program"; exit 77; }
exec python3 -ES /lab/scripts/expr.py "$program"
