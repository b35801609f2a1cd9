"""The samples of real Open vSwitch against those of the twin, in two zones with a tunnel between them: what `lab-traffic` sends with the sockets of
the kernel. Each frame that a pod or a node sends is captured where it goes into the switch and fed to the twin, in the order of time; the records
that both nodes export must be those of the twin, field by field, but for what `samples.py` leaves aside and by what they came, which is a tunnel here.

The argument is the path of the example `samples`."""
import collections
import ctypes
import os
import select
import socket
import struct
import subprocess
import sys
import time

for directory in '../policy', '../inside':
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), directory))
import ovn
import samples
import topology

SET, PATIENCE = 42, 10
ARRIVAL = {10, 82, 83, 368, *range(66427, 66434)}  # the interface, and the tunnel's own headers
RUN = os.environ['LAB_RUN']
NODES = (1, 2)
libc = ctypes.CDLL(None, use_errno=True)


def socket_in(path, *arguments, bind):
    """A socket in another network namespace."""
    home = os.open('/proc/self/ns/net', os.O_RDONLY)
    there = os.open(path, os.O_RDONLY)
    try:
        if libc.setns(there, 0x40000000):
            raise OSError(ctypes.get_errno(), f'setns {path}')
        s = socket.socket(*arguments)
        s.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE
        s.bind(bind)
    finally:
        libc.setns(home, 0x40000000)
        os.close(home)
        os.close(there)
    s.setblocking(False)
    return s


class Recorder:
    def __init__(self):
        self.frames, self.messages, self.sockets = [], {n: [] for n in NODES}, {}
        for n in NODES:
            with open(f'{RUN}/{n}/holder.pid') as file:
                holder = file.read().strip()
            places = [(f'/proc/{holder}/root/run/netns/{topology.netns(pod)}', 'eth0', topology.port(pod)) for pod in topology.PODS if pod.node == n]
            places.append((f'/proc/{holder}/ns/net', 'ovn-k8s-mp0', f'k8s-{topology.node_name(n)}'))
            for path, device, name in places:
                s = socket_in(path, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3), bind=(device, 3))
                s.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
                self.sockets[s] = name
            self.sockets[socket_in(f'/proc/{holder}/ns/net', socket.AF_INET, socket.SOCK_DGRAM, bind=('127.0.0.1', 4739))] = n

    def read(self, timeout):
        for s in select.select(list(self.sockets), [], [], timeout)[0]:
            what = self.sockets[s]
            while True:
                try:
                    data, extra, _, place = s.recvmsg(1 << 16, 64)
                except BlockingIOError:
                    break
                if isinstance(what, int):
                    self.messages[what].append(data)
                elif place[2] == socket.PACKET_OUTGOING:
                    self.frames.append((struct.unpack('qq', extra[0][2]), what, data))

    def records(self, node):
        """Of the messages so far; templates may come after what they describe."""
        templates = {}
        for message in self.messages[node]:
            samples.read_ipfix(templates, (SET,), message, lenient=True)
        return collections.Counter(plain(record) for message in self.messages[node] for record in samples.read_ipfix(templates, (SET,), message, lenient=True))


def plain(record):
    *exporter, fields = record
    return (*exporter, tuple((element, value) for element, value in fields if element not in ARRIVAL))


def main(program):
    twin, files, keys = samples.Twin(program), [], []
    for n in NODES:
        subprocess.run(['node', str(n), 'ovs-appctl', 'dpctl/flush-conntrack'], check=True)
        subprocess.run(['node', str(n), 'ovs-appctl', 'dpctl/ct-disable-tcp-seq-chk'], check=True, stdout=subprocess.DEVNULL)
        files.append(f'/tmp/zone{n}.json')
        with open(files[-1], 'w') as file:
            subprocess.run(['ovsdb-client', 'dump', '-f', 'json', f'unix:{RUN}/{n}/ovn/ovnnb_db.sock', 'OVN_Northbound'], stdout=file, check=True)
        southbound = ovn.Database(f'{RUN}/{n}/ovn/ovnsb_db.sock', 'OVN_Southbound')
        keys.append({dict(row['external_ids'][1])['name']: row['tunnel_key'] for row in southbound.rows('Datapath_Binding', 'external_ids', 'tunnel_key')})
    twin.say({'zones': files, 'keys': keys, 'sets': [SET]})
    recorder = Recorder()
    with open('/tmp/traffic', 'w') as file:
        traffic = subprocess.Popen(['lab-traffic'], stdout=file)
        while traffic.poll() is None:
            recorder.read(0.1)
    if traffic.returncode:
        sys.exit('lab-traffic says that something is wrong')
    recorder.read(0)
    expected = {n: collections.Counter() for n in NODES}
    ends = collections.Counter()
    templates = {}
    for _, name, frame in sorted(recorder.frames, key=lambda entry: entry[0]):
        told = twin.ask(name, frame)
        ends[told['is']] += 1
        for zone, set_id, message in told['ipfix']:
            found = samples.read_ipfix(templates, (zone, set_id), bytes.fromhex(message))
            expected[NODES[zone]].update(plain(record[1:]) for record in found)
    deadline = time.monotonic() + PATIENCE
    while any(recorder.records(n) != expected[n] for n in NODES) and time.monotonic() < deadline:
        recorder.read(max(0, deadline - time.monotonic()))
    wrong = 0
    for n in NODES:
        real = recorder.records(n)
        print(f'node {n}: {sum(real.values())} records')
        for who, some in ('Open vSwitch', real - expected[n]), ('the twin', expected[n] - real):
            for record, count in list(some.items())[:10]:
                print(f'  only of {who}: {samples.shown(record)} x{count}')
            wrong += sum(some.values())
    print(f'{len(recorder.frames)} frames, {wrong} records differ; {dict(ends)}')
    few = [n for n in NODES if sum(expected[n].values()) < 100]
    sys.exit(bool(wrong or few))


if __name__ == '__main__':
    main(sys.argv[1])
