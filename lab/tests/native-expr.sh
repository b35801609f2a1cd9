#!/bin/bash
# lab: --bare
# The foreign judge of the match language: random matches, packets and mistakes, ours against ovn-trace (lab/expr.py). SEED and N (packets a switch)
# are passed on.
set -eu
program=${CARGO_TARGET_DIR:-target}/debug/examples/expr
[ -x "$program" ] || { echo "cargo build -p netverdict-ovn --example expr has not been run: there is no $program"; exit 77; }

# What the documentation of netverdict_ovn::expr says of ip.dscp and ip.ecn: they get lost on the way to the flows.
ovs-vsctl --may-exist add-br br-int -- --may-exist add-port br-int lp -- set Interface lp type=internal external_ids:iface-id=lp
ovn-nbctl ls-add sw -- lsp-add sw lp -- acl-add sw to-lport 1001 'ip.dscp == 46 && ip.ecn == 1 && tcp.dst == 7777' drop
ovn-nbctl --wait=hv --timeout=60 sync
flows=$(ovs-ofctl -O OpenFlow15 dump-flows br-int | grep tp_dst=7777) || { echo 'FAILED: no flow for the ACL'; exit 1; }
if grep -E 'nw_tos|nw_ecn|ip_dscp' <<<"$flows"; then echo 'FAILED: ovn-controller matches ip.dscp now; the documentation says otherwise'; exit 1; fi
ovn-nbctl --wait=hv --timeout=60 ls-del sw

exec python3 -ES /lab/scripts/expr.py "$program"
