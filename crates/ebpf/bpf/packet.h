/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Reads a frame's headers as `netverdict_wire::headers::parse_frame` does. Who includes it says
 * first what a `packet_t` is and how `load` copies bytes from it. */

enum known {
	KNOWN_ADDRESSES = 1,
	KNOWN_PROTOCOL = 2,
	KNOWN_PORTS = 4,
	KNOWN_LATER_FRAGMENT = 8,
	KNOWN_ICMP = 16,
	KNOWN_ECHO = 32,
	KNOWN_VLAN = 64,
	KNOWN_TCP_FLAGS = 128,
};

/* What the packets of a flow have in common. Numbers in the machine's order. */
struct flow {
	__u8 src[16], dst[16]; /* IPv4: the first four bytes */
	__u16 ports[2];        /* ICMP: type << 8 | code, and the echo identifier */
	__u16 ethertype;
	__u16 vlan;
	__u8 protocol;
	__u8 known;
	__u16 zero;
};

struct ends {
	__u8 dst[6], src[6];
};

/* Extension headers of IPv6 that are followed, and VLAN tags that are passed over. */
#define EXTENSIONS 8
#define TAGS 4

static __always_inline void layer4(packet_t *packet, __u32 at, __u32 end, struct flow *flow, __u8 *tcp_flags)
{
	__u16 word[2];
	__u8 byte;

	switch (flow->protocol) {
	case 6:
	case 17:
	case 132:
		if (load(packet, at, end, word, 4))
			return;
		flow->ports[0] = bpf_ntohs(word[0]);
		flow->ports[1] = bpf_ntohs(word[1]);
		flow->known |= KNOWN_PORTS;
		if (flow->protocol == 6 && !load(packet, at + 13, end, &byte, 1)) {
			*tcp_flags = byte;
			flow->known |= KNOWN_TCP_FLAGS;
		}
		return;
	case 1:
	case 58:
		if (load(packet, at, end, word, 2))
			return;
		flow->ports[0] = bpf_ntohs(word[0]);
		flow->known |= KNOWN_ICMP;
		byte = flow->ports[0] >> 8;
		if (flow->protocol == 1 ? byte != 0 && byte != 8 : byte != 128 && byte != 129)
			return;
		if (load(packet, at + 4, end, word, 2))
			return;
		flow->ports[1] = bpf_ntohs(word[0]);
		flow->known |= KNOWN_ECHO;
	}
}

static __always_inline void ipv4(packet_t *packet, __u32 at, __u32 end, struct flow *flow, __u8 *tcp_flags)
{
	__u8 header[20];
	__u32 length, total;

	if (load(packet, at, end, header, sizeof(header)))
		return;
	length = (header[0] & 15) * 4;
	if (header[0] >> 4 != 4 || length < 20)
		return;
	flow->protocol = header[9];
	__builtin_memcpy(flow->src, header + 12, 4);
	__builtin_memcpy(flow->dst, header + 16, 4);
	flow->known |= KNOWN_ADDRESSES | KNOWN_PROTOCOL;
	if ((header[6] & 0x1f) | header[7]) {
		flow->known |= KNOWN_LATER_FRAGMENT;
		return;
	}
	/* A length of 0 stands for a packet too long for the field. */
	total = header[2] << 8 | header[3];
	if (total >= length && at + total < end)
		end = at + total;
	layer4(packet, at + length, end, flow, tcp_flags);
}

static __always_inline void ipv6(packet_t *packet, __u32 at, __u32 end, struct flow *flow, __u8 *tcp_flags)
{
	__u8 header[40];
	__u8 extension[4];
	__u8 next;
	__u32 length;
	int i;

	if (load(packet, at, end, header, sizeof(header)) || header[0] >> 4 != 6)
		return;
	__builtin_memcpy(flow->src, header + 8, 16);
	__builtin_memcpy(flow->dst, header + 24, 16);
	flow->known |= KNOWN_ADDRESSES;
	next = header[6];
	/* A length of 0 stands for a jumbogram or segmentation offload. */
	length = header[4] << 8 | header[5];
	at += 40;
	if (length && at + length < end)
		end = at + length;
	for (i = 0; i < EXTENSIONS; i++) {
		if (next != 0 && next != 43 && next != 44 && next != 51 && next != 60) {
			flow->protocol = next;
			flow->known |= KNOWN_PROTOCOL;
			layer4(packet, at, end, flow, tcp_flags);
			return;
		}
		if (load(packet, at, end, extension, sizeof(extension)))
			return;
		if (next == 44) {
			if (extension[2] | (extension[3] & 0xf8)) {
				flow->protocol = extension[0];
				flow->known |= KNOWN_PROTOCOL | KNOWN_LATER_FRAGMENT;
				return;
			}
			at += 8;
		} else if (next == 51) {
			at += (extension[1] + 2) * 4;
		} else {
			at += (extension[1] + 1) * 8;
		}
		next = extension[0];
	}
}

/* `flow` is all zeroes, but for a VLAN tag that the kernel keeps beside the packet. */
static __always_inline void parse(packet_t *packet, __u32 end, struct flow *flow, struct ends *ends, __u8 *tcp_flags)
{
	__u16 word[2], type = 0;
	__u32 at = 12;
	int i;

	if (load(packet, 0, end, ends, sizeof(*ends)))
		return;
	for (i = 0; i < TAGS; i++) {
		if (load(packet, at, end, word, 2))
			return;
		type = bpf_ntohs(word[0]);
		if (type != 0x8100 && type != 0x88a8 && type != 0x9100)
			break;
		if (load(packet, at, end, word, 4))
			return;
		if (!(flow->known & KNOWN_VLAN)) {
			flow->vlan = bpf_ntohs(word[1]) & 0xfff;
			flow->known |= KNOWN_VLAN;
		}
		at += 4;
	}
	flow->ethertype = type;
	at += 2;
	if (flow->ethertype == 0x0800)
		ipv4(packet, at, end, flow, tcp_flags);
	else if (flow->ethertype == 0x86dd)
		ipv6(packet, at, end, flow, tcp_flags);
}
