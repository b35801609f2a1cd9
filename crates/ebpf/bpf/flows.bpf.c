/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Adds up what goes through interfaces, for each flow. */
#include "kernel.h"

typedef struct __sk_buff packet_t;

static __always_inline long load(packet_t *packet, __u32 at, __u32 end, void *to, __u32 size)
{
	if (at + size > end)
		return -1;
	return bpf_skb_load_bytes(packet, at, to, size);
}

#include "packet.h"

/* No holes in what goes to user space: `src/kernel/layout.rs` reads it field by field. */
struct key {
	struct flow flow;
	__u32 namespace;
	__u32 interface;
	__u32 out;
};

struct value {
	__u64 packets, bytes;
	__u64 first, last; /* CLOCK_MONOTONIC */
	__u32 tcp_flags;
	struct ends ends;
};

struct record {
	struct key key;
	struct value value;
};

struct counters {
	__u64 seen, joined, spilled, lost;
};

struct flows {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct key);
	__type(value, struct value);
} one_flows SEC(".maps"), other_flows SEC(".maps");

/* As active_events in samples.bpf.c. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct flows);
} active_flows SEC(".maps") = { .values = { &one_flows } };

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} spilled_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} flow_counters SEC(".maps");

static const __u32 zero = 0;

static __always_inline void add(struct value *value, __u32 length, __u64 now, __u32 tcp_flags)
{
	__sync_fetch_and_add(&value->packets, 1);
	__sync_fetch_and_add(&value->bytes, length);
	if (now < value->first)
		value->first = now;
	if (now > value->last)
		value->last = now;
	if (tcp_flags & ~value->tcp_flags)
		__sync_fetch_and_or(&value->tcp_flags, tcp_flags);
}

static __always_inline int passed(struct __sk_buff *skb, __u32 out)
{
	struct counters *counters = bpf_map_lookup_elem(&flow_counters, &zero);
	void *flows = bpf_map_lookup_elem(&active_flows, &zero);
	struct sk_buff *whole = (void *)skb;
	__u64 now = bpf_ktime_get_ns();
	struct record record;
	struct key *key = &record.key;
	struct value *value;
	__u8 tcp_flags = 0;
	__u32 length = skb->len;
	long failed;

	if (!counters)
		return TCX_NEXT;
	counters->seen++;
	if (!flows) {
		counters->lost++;
		return TCX_NEXT;
	}
	__builtin_memset(&record, 0, sizeof(record));
	key->namespace = BPF_CORE_READ(whole, dev, nd_net.net, ns.inum);
	key->interface = skb->ifindex;
	key->out = out;
	if (skb->vlan_present) {
		key->flow.vlan = skb->vlan_tci & 0xfff;
		key->flow.known |= KNOWN_VLAN;
	}
	parse(skb, length, &key->flow, &record.value.ends, &tcp_flags);
	/* A tag that the kernel keeps beside the packet was part of it. */
	if (skb->vlan_present)
		length += 4;

	value = bpf_map_lookup_elem(flows, key);
	if (value) {
		add(value, length, now, tcp_flags);
		counters->joined++;
		return TCX_NEXT;
	}
	record.value.packets = 1;
	record.value.bytes = length;
	record.value.first = record.value.last = now;
	record.value.tcp_flags = tcp_flags;
	failed = bpf_map_update_elem(flows, key, &record.value, BPF_NOEXIST);
	if (failed == -EEXIST) {
		value = bpf_map_lookup_elem(flows, key);
		if (value) {
			add(value, length, now, tcp_flags);
			failed = 0;
		}
	}
	if (!failed)
		counters->joined++;
	else if (!bpf_ringbuf_output(&spilled_flows, &record, sizeof(record), BPF_RB_NO_WAKEUP))
		counters->spilled++;
	else
		counters->lost++;
	return TCX_NEXT;
}

/* TCX, and tc in its direct-action mode, where -1 goes on to the next filter alike. */
SEC("tc")
int passed_in(struct __sk_buff *skb)
{
	return passed(skb, 0);
}

SEC("tc")
int passed_out(struct __sk_buff *skb)
{
	return passed(skb, 1);
}

char LICENSE[] SEC("license") = "GPL";
