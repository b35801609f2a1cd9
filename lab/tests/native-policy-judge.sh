#!/bin/bash
# lab: --bare
# The foreign judge of the compiler: random clusters and policies through `netverdict apply`, northd and ovn-trace, against what the
# Kubernetes API says (lab/policy). SETS, QUESTIONS, SEED and ONLY are passed on.
set -eu
netverdict apply --help >/dev/null 2>&1 || { echo 'this netverdict has no `apply`'; exit 77; }
python3 -ES /lab/scripts/policy/test_meaning.py
exec python3 -ES /lab/scripts/policy/judge.py
