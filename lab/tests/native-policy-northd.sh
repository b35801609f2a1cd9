#!/bin/bash
# lab: --bare
# 71 policies of every kind (lab/policy/fixtures) through `netverdict apply`: what ovn-northd makes of the rows, apply again, killed and repeated.
set -eu
netverdict apply --help >/dev/null 2>&1 || { echo 'this netverdict has no `apply`'; exit 77; }
exec python3 -ES /lab/scripts/policy/northd.py /lab/scripts/policy/fixtures
