"""Frames of Ethernet, made and read: as much as the traffic of `samples.py` needs."""
import ipaddress
import struct

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
IPV4, IPV6 = 0x0800, 0x86DD
PAYLOAD = bytes(range(32))


def packed(address):
    return ipaddress.ip_address(address).packed


def is_v6(address):
    return ':' in address


def mac(text):
    return bytes.fromhex(text.replace(':', ''))


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f'>{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(eth_src, eth_dst, src, dst, protocol, body, number, ttl=64):
    """A packet whose checksum of layer 4 is left to this; `number` is its IP identification or flow label."""
    at = {TCP: 16, UDP: 6, ICMP: 2, ICMP6: 2}[protocol]
    pseudo = b'' if protocol == ICMP else packed(src) + packed(dst) + struct.pack('>IHBB', len(body), 0, 0, protocol)
    body = body[:at] + struct.pack('>H', checksum(pseudo + body)) + body[at + 2:]
    if is_v6(src):
        header = struct.pack('>IHBB', 6 << 28 | number, len(body), protocol, ttl) + packed(src) + packed(dst)
    else:
        header = struct.pack('>BBHHHBBH', 0x45, 0, 20 + len(body), number, 0, ttl, protocol, 0) + packed(src) + packed(dst)
        header = header[:10] + struct.pack('>H', checksum(header)) + header[12:]
    return mac(eth_dst) + mac(eth_src) + struct.pack('>H', IPV6 if is_v6(src) else IPV4) + header + body


def tcp(sport, dport, flags, seq, ack, data=b''):
    return struct.pack('>HHIIBBHHH', sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 5 << 4, flags, 8192, 0, 0) + data


def udp(sport, dport, data=PAYLOAD):
    return struct.pack('>HHHH', sport, dport, 8 + len(data), 0) + data


def icmp(kind, code, rest=0, data=PAYLOAD):
    return struct.pack('>BBHI', kind, code, 0, rest) + data


def read(data):
    """The headers of a frame, by name; None if it is not IP."""
    kind, = struct.unpack_from('>H', data, 12)
    told = {'eth_dst': data[:6].hex(':'), 'eth_src': data[6:12].hex(':')}
    if kind == IPV4:
        told |= {'number': struct.unpack_from('>H', data, 18)[0], 'ttl': data[22], 'protocol': data[23]}
        addresses, at, end = data[26:34], 14 + (data[14] & 15) * 4, 14 + struct.unpack_from('>H', data, 16)[0]
    elif kind == IPV6:
        told |= {'number': struct.unpack_from('>I', data, 14)[0] & 0xFFFFF, 'protocol': data[20], 'ttl': data[21]}
        addresses, at, end = data[22:54], 54, 54 + struct.unpack_from('>H', data, 18)[0]
    else:
        return None
    half = len(addresses) // 2
    told |= {'src': str(ipaddress.ip_address(addresses[:half])), 'dst': str(ipaddress.ip_address(addresses[half:])), 'length': end}
    body = data[at:end]
    if told['protocol'] in (TCP, UDP):
        told['sport'], told['dport'] = struct.unpack_from('>HH', body)
    if told['protocol'] == TCP:
        told['flags'], told['data'] = body[13], body[20:]
        told['seq'], told['ack'] = struct.unpack_from('>II', body, 4)
    if told['protocol'] in (ICMP, ICMP6):
        told['kind'], told['code'], told['id'] = body[0], body[1], struct.unpack_from('>H', body, 4)[0]
    told['l3'] = data[14:end]
    return told
