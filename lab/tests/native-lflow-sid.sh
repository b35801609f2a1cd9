#!/bin/bash
# lab: --bare --ovn sid
# As native-lflow.sh, with the flows of a later OVN, on fewer databases.
set -eu
N=${N:-20} exec python3 -ES /lab/scripts/twin/lflow.py
