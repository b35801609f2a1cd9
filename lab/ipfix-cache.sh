# What three IPFIX exporters of real Open vSwitch send of the same packets, into $LAB_OUT/cache.pcap: at port 4741 without a cache, at 4742 with one
# of three flows, at 4743 with a second for each flow. For the standard input of `lab/run native --bare`; scripts/exporter does that.
set -eu
ovs-vsctl add-br br0 -- set bridge br0 datapath_type=netdev
for n in 1 2; do
  ip netns add p$n
  ip link add v$n type veth peer name e$n
  ip link set e$n netns p$n
  ip link set v$n up
  ip -n p$n link set e$n up
  ip -n p$n addr add 10.9.0.$n/24 dev e$n
  ip -n p$n addr add fd09::$n/64 dev e$n nodad
  ip netns exec p$n ethtool -K e$n tx off rx off gso off tso off gro off >/dev/null 2>&1 || :
  ovs-vsctl add-port br0 v$n
done
# Sockets that hold everything, for a capture loses packets on a busy machine; each datagram goes into the file behind headers of its own.
cat >/tmp/collect <<'END'
import select, signal, socket, struct, sys
out = open(sys.argv[1], "wb")
out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
sockets = []
for port in 4741, 4742, 4743:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE
    s.bind(("127.0.0.1", port))
    s.setblocking(False)
    sockets.append(s)
def write(*_):
    for s in sockets:
        try:
            while True:
                data = s.recv(65536)
                udp = struct.pack("!HHHH", 4739, s.getsockname()[1], 8 + len(data), 0)
                ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(data), 0, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
                frame = bytes(12) + b"\x08\0" + ip + udp + data
                out.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
        except BlockingIOError:
            pass
    out.close()
    sys.exit()
signal.signal(signal.SIGTERM, write)
print("ready", flush=True)
while True:
    signal.pause()
END
exec {collector}< <(exec python3 /tmp/collect "$LAB_OUT/cache.pcap")
collect=$!
read -r _ <&"$collector"
sample() { echo "sample(probability=65535,collector_set_id=$1,obs_domain_id=$2,obs_point_id=$3)"; }
all() { echo "$(sample 1 "$@"),$(sample 2 "$@"),$(sample 3 "$@")"; }
ovs-ofctl del-flows br0
ovs-ofctl add-flow br0 "priority=1,actions=$(all 7 1),NORMAL"
ovs-ofctl add-flow br0 "priority=2,udp,actions=$(all 7 2),NORMAL"
ovs-ofctl add-flow br0 "priority=3,udp,tp_dst=9999,actions=$(all 8 3)"
ovs-vsctl -- --id=@b get Bridge br0 \
  -- --id=@a create IPFIX 'targets="127.0.0.1:4741"' template_interval=2 -- create Flow_Sample_Collector_Set id=1 bridge=@b ipfix=@a \
  -- --id=@c create IPFIX 'targets="127.0.0.1:4742"' cache_active_timeout=4200 cache_max_flows=3 template_interval=3600 \
  -- create Flow_Sample_Collector_Set id=2 bridge=@b ipfix=@c \
  -- --id=@d create IPFIX 'targets="127.0.0.1:4743"' cache_active_timeout=1 cache_max_flows=1000 other_config:virtual_obs_id=vbr \
  -- create Flow_Sample_Collector_Set id=3 bridge=@b ipfix=@d >/dev/null
ip netns exec p2 nc -l -k -p 5201 >/dev/null &
ip netns exec p2 nc -u -l -k -p 5202 >/dev/null &
ip netns exec p1 ping -q -c 12 -i .05 10.9.0.2 >/dev/null
ip netns exec p1 ping -6 -q -c 6 -i .05 fd09::2 >/dev/null
for _ in 1 2 3; do
  ip netns exec p1 bash -c 'exec 3<>/dev/tcp/10.9.0.2/5201; echo hello >&3; sleep .1; echo again >&3'
  ip netns exec p1 bash -c 'for _ in 1 2 3; do echo hello >/dev/udp/10.9.0.2/5202; echo x >/dev/udp/10.9.0.2/9999; echo six >/dev/udp/fd09::2/5202; done'
done
sleep 1.6 # past the timeout
ip netns exec p1 ping -q -c 3 -i .05 10.9.0.2 >/dev/null
sleep .2
# What is in the caches is sent.
ovs-vsctl -- --all destroy Flow_Sample_Collector_Set -- --all destroy IPFIX
sleep .5
kill $collect
while kill -0 $collect 2>/dev/null; do sleep .02; done
