#!/bin/bash
# lab: --bare
# The logical flows of the ACL stages as `netverdict lflow` has them, against those of real ovn-northd (lab/twin/lflow.py). SEED and N are passed on.
set -eu
exec python3 -ES /lab/scripts/twin/lflow.py
