"""ctnetlink.py FILE: dumps the conntrack table of this network namespace as the kernel sends it, each datagram after its length (32 bits, little endian)."""
import socket
import struct
import sys

CT_GET, REQUEST_DUMP = 1 << 8 | 1, 0x301  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET; NLM_F_REQUEST | NLM_F_DUMP
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
s.send(struct.pack('=IHHIIBBH', 20, CT_GET, REQUEST_DUMP, 1, 0, 0, 0, 0))
with open(sys.argv[1], 'wb') as file:
    while True:
        datagram = s.recv(1 << 18)
        file.write(struct.pack('<I', len(datagram)) + datagram)
        if struct.unpack_from('=H', datagram, 4)[0] in (2, 3):  # NLMSG_ERROR, NLMSG_DONE
            break
