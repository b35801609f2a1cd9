#!/bin/bash
# lab: --bare
# The logical flows of the ACL stages as `netverdict lflow` has them, against those of real ovn-northd (lab/twin/lflow.py). SEED and N are passed on.
set -eu
# northd writes other flows for samples until ovn-controller has said what it can do.
ovn-sbctl --timeout=60 wait-until Chassis "$(ovs-vsctl get Open_vSwitch . external_ids:system-id | tr -d '"')" other_config:ovn-sample-with-registers=true
exec python3 -ES /lab/scripts/twin/lflow.py
