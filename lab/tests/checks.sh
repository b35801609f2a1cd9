# What tests of the lab check with, to be sourced; they end with `exit $((failures > 0))`.
failures=0

check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >/tmp/output 2>&1; then echo "ok    $what"; return; fi
  echo "FAIL  $what"
  sed 's/^/    | /' /tmp/output
  failures=$((failures + 1))
}

status_of() { # STATUS COMMAND...
  local wanted=$1 got=0
  shift
  "$@" || got=$?
  [ $got = "$wanted" ] || { echo "exit status $got, not $wanted"; return 1; }
}

says() { # TEXT COMMAND...: it is among what COMMAND prints, whatever its exit status
  local text=$1 output
  shift
  output=$("$@" 2>&1)
  echo "$output"
  [[ $output == *"$text"* ]]
}
