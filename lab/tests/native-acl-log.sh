# lab: --ovn bookworm
# OVN 23.03 cannot sample: its log is the source. Every line of ovn-controller becomes a decision, while it is written, through a rotation.
set -eu
failed=0
check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >"$LAB_OUT/check" 2>&1; then echo "ok     $what"; else echo "FAILED $what"; sed 's/^/       | /' "$LAB_OUT/check"; failed=1; fi
}
log=$LAB_RUN/1/log/ovn-controller.log
[ -e "$log" ] || log=$(find "$LAB_RUN/1" /var/log/ovn -name 'ovn-controller*.log' 2>/dev/null | head -1)
nb=unix:$LAB_RUN/1/ovn/ovnnb_db.sock
ovn-nbctl meter-del
for acl in $(ovn-nbctl --bare --columns=_uuid list ACL); do ovn-nbctl set ACL "$acl" log=true severity=info meter='[]'; done
ovn-nbctl --wait=hv sync
netverdict observe -f --no-state --nb "$nb" --source "acl-log:$log" -o json >"$LAB_OUT/decisions" 2>"$LAB_OUT/summary" &
pid=$!
lab-traffic >"$LAB_OUT/traffic"
mv "$log" "$log.1"
ovn-appctl -t ovn-controller vlog/reopen
lab-traffic >"$LAB_OUT/traffic2"
written() { cat "$log.1" "$log" | grep -c '|acl_log('; }
seen() { wc -l <"$LAB_OUT/decisions"; }
lines=$(written)
timeout 20 bash -c 'exec grep -qm"$2" . < <(exec tail -n +1 -f "$1")' - "$LAB_OUT/decisions" "$lines" || :
kill -INT $pid
wait $pid
check "each of $lines lines became a decision" test "$(seen)" = "$lines"
check 'there are lines' test "$lines" -gt 50
check 'it is said that this OVN cannot sample' grep -q 'OVN before 24.09 cannot sample' "$LAB_OUT/summary"
check 'drops name their policy' grep -q '"verdict":"dropped".*Dropped by network policies isolation in namespace frontend, direction Egress' "$LAB_OUT/decisions"
check 'so do rules' grep -q '"name":"to-backend".*"index":0' "$LAB_OUT/decisions"
check 'only lines without a name are unresolved' test "$(grep -c '"unresolved"' "$LAB_OUT/decisions")" = "$(cat "$log.1" "$log" | grep -c 'name="<unnamed>"')"
exit $failed
