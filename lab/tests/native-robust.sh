# What befalls a long run: a database that hangs, readers that go away, a kill.
set -eu
failed=0
check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >"$LAB_OUT/check" 2>&1; then echo "ok     $what"; else echo "FAILED $what"; sed 's/^/       | /' "$LAB_OUT/check"; failed=1; fi
}
databases=(--nb "unix:$LAB_RUN/1/ovn/ovnnb_db.sock" --sb "unix:$LAB_RUN/1/ovn/ovnsb_db.sock")

# A recording that is killed holds what came up to a second before.
netverdict record "$LAB_OUT/killed.nvcap" --no-state "${databases[@]}" --source ipfix:127.0.0.1:4739 2>"$LAB_OUT/record" &
pid=$!
until ss -Hlun 'sport = 4739' | grep -q 4739; do kill -0 $pid; done
before=$(stat -c %s "$LAB_OUT/killed.nvcap")
lab-traffic >"$LAB_OUT/traffic"
# The file grows once its samples are a second old.
until [ "$(stat -c %s "$LAB_OUT/killed.nvcap")" -gt "$before" ]; do kill -0 $pid; done
kill -9 $pid
wait $pid || :
netverdict observe --no-state --source "capture:$LAB_OUT/killed.nvcap" -o json >"$LAB_OUT/replayed" 2>"$LAB_OUT/replay-summary"
check 'a killed recording is there' test "$(wc -l <"$LAB_OUT/replayed")" -gt 100

# Nobody reads the output, or the messages.
status() { "$@" | true; echo "${PIPESTATUS[0]}"; }
check 'a closed output ends quietly' test "$(status netverdict observe --no-state --source "capture:$LAB_OUT/killed.nvcap" -o json 2>"$LAB_OUT/errors")" = 0
both() { netverdict "$@" 2>&1 >/dev/null | true; echo "${PIPESTATUS[0]}"; }
check 'a closed standard error is no fault' test "$(both observe --no-state --source "capture:$LAB_OUT/killed.nvcap")" = 0
check 'nor does it hide one' test "$(both observe --no-state --source capture:/nowhere)" = 1

# A failed recording leaves nothing in the way of the next.
netverdict record "$LAB_OUT/failed.nvcap" --no-state "${databases[@]}" --source ipfix:192.0.2.1:1 2>/dev/null || :
check 'a failed recording leaves no file' test ! -e "$LAB_OUT/failed.nvcap"

# A database that hangs is named, and a signal ends the wait.
kill -STOP "$(cat "$LAB_RUN/1/ovn/ovnnb_db.pid")"
netverdict observe --no-state "${databases[@]}" --source ipfix:127.0.0.1:4739 >"$LAB_OUT/hang" 2>"$LAB_OUT/hang-messages" &
pid=$!
check 'a database that hangs is named' timeout 20 bash -c 'exec grep -qm1 "waiting for OVN_Northbound" < <(exec tail -n +1 -f "$1")' - "$LAB_OUT/hang-messages"
kill -INT $pid
check 'a signal ends the wait' wait $pid
kill -CONT "$(cat "$LAB_RUN/1/ovn/ovnnb_db.pid")"
exit $failed
