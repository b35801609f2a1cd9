# For tests that count the logical flows of samples: source it, then `takes_registers [node N]`.
#
# Until ovn-controller says that its Open vSwitch can take a point from a register, northd makes flows for each ACL. It asks once a connection, and on
# a busy machine sometimes (1 of 20) comes to the wrong answer for good (OVN 25.03): then it is started anew.
takes_registers() {
  local try
  for try in {1..5}; do
    for _ in {1..30}; do
      "$@" ovn-sbctl list Chassis | grep -q 'ovn-sample-with-registers="true"' && return
      sleep .1
    done
    echo "ovn-controller is started anew ($try)"
    "$@" ovn-appctl -t ovn-controller exit --restart
    while "$@" test -e /run/ovn/ovn-controller.pid; do sleep .1; done
    "$@" ovn-controller --no-chdir --detach -vconsole:off --log-file=/var/log/ovn/ovn-controller.log --pidfile=/run/ovn/ovn-controller.pid
  done
  return 1
}
