/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Adds up what psample samples, for each flow and cookie. */
#include "kernel.h"

/* The linear part of an skb. */
typedef const __u8 packet_t;

static __always_inline long load(packet_t *packet, __u32 at, __u32 end, void *to, __u32 size)
{
	if (at + size > end)
		return -1;
	return bpf_probe_read_kernel(to, size, packet + at);
}

#include "packet.h"

enum about {
	ABOUT_CONNTRACK = 1,
	ABOUT_REPLY = 2,
	ABOUT_NEW = 4,
	ABOUT_PROBABILITY = 8,
};

/* No holes in what goes to user space: `src/kernel/layout.rs` reads it field by field. */
struct key {
	struct flow flow;
	__u32 group;
	__u64 cookie; /* as it stands in memory: big endian */
	__u32 rate;
	__u32 input;
	__u16 zone;
	__u8 about;
	__u8 zero[5];
};

struct tuple {
	__u8 src[16], dst[16];
	__u16 ports[2];
	__u16 family;
	__u8 protocol;
	__u8 zero;
};

struct value {
	__u64 packets, bytes, doubles;
	__u64 first, last; /* CLOCK_MONOTONIC */
	__u32 tcp_flags;
	__u32 length;
	struct ends ends;
	__u32 mark;
	__u8 label[16];
	struct tuple original, reply;
};

struct record {
	struct key key;
	struct value value;
};

struct counters {
	__u64 seen, filtered, joined, doubles, spilled, lost;
};

/* What this CPU sampled last. */
struct latest {
	__u64 execution; /* counts ovs_execute_actions */
	__u64 sampled_in;
	__u64 skb;
	struct key key;
};

/* `struct psample_metadata` is a type of the module psample, of which libbpf learns only with
 * CAP_SYS_ADMIN: user space finds its fields itself. */
const volatile struct {
	__u32 namespace;
	__u32 all_groups;
	__u32 executions; /* ovs_execute_actions is watched */
	__u32 in_ifindex, user_cookie, user_cookie_len;
	__u32 as_probability_at, as_probability_mask;
} config SEC(".rodata.config");

struct events {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct key);
	__type(value, struct value);
} one_events SEC(".maps"), other_events SEC(".maps");

/* User space puts the other map here, and the kernel waits until no program uses the first: only
 * then is it read and emptied. Nothing is added to a map that is being read. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct events);
} active_events SEC(".maps") = { .values = { &one_events } };

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8);
} groups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} spilled_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} event_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct latest);
} latest_of SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct record);
} scratch_record SEC(".maps");

static const __u32 zero = 0;

static __always_inline void read_tuple(struct nf_conn *conn, int direction, struct tuple *to)
{
	struct nf_conntrack_tuple_hash *hashes = (void *)conn + bpf_core_field_offset(conn->tuplehash);
	struct nf_conntrack_tuple *from = (void *)hashes + direction * bpf_core_type_size(struct nf_conntrack_tuple_hash) +
					  bpf_core_field_offset(hashes->tuple);

	bpf_core_read(to->src, sizeof(to->src), &from->src.u3);
	bpf_core_read(to->dst, sizeof(to->dst), &from->dst.u3);
	to->ports[0] = bpf_ntohs(BPF_CORE_READ(from, src.u.all));
	to->ports[1] = bpf_ntohs(BPF_CORE_READ(from, dst.u.all));
	to->family = BPF_CORE_READ(from, src.l3num);
	to->protocol = BPF_CORE_READ(from, dst.protonum);
	to->zero = 0;
}

static __always_inline void read_conntrack(struct nf_conn *conn, struct value *value)
{
	struct nf_ct_ext *ext;
	__u8 at = 0;

	read_tuple(conn, 0, &value->original);
	read_tuple(conn, 1, &value->reply);
	if (bpf_core_field_exists(conn->mark))
		value->mark = BPF_CORE_READ(conn, mark);
	if (!bpf_core_enum_value_exists(enum nf_ct_ext_id, NF_CT_EXT_LABELS))
		return;
	ext = BPF_CORE_READ(conn, ext);
	if (!ext)
		return;
	bpf_probe_read_kernel(&at, 1, (void *)ext + bpf_core_field_offset(struct nf_ct_ext, offset) +
				      bpf_core_enum_value(enum nf_ct_ext_id, NF_CT_EXT_LABELS));
	if (at)
		bpf_probe_read_kernel(value->label, sizeof(value->label), (void *)ext + at);
}

static __always_inline void add(struct value *value, __u32 length, __u64 now, __u32 tcp_flags)
{
	__sync_fetch_and_add(&value->packets, 1);
	__sync_fetch_and_add(&value->bytes, length);
	/* Who came second to put the flow in may have begun first. */
	if (now < value->first)
		value->first = now;
	if (now > value->last)
		value->last = now;
	if (tcp_flags & ~value->tcp_flags)
		__sync_fetch_and_or(&value->tcp_flags, tcp_flags);
}

static __always_inline int sampled(struct psample_group *group, struct sk_buff *skb, __u32 rate, void *metadata)
{
	struct counters *counters = bpf_map_lookup_elem(&event_counters, &zero);
	struct latest *latest = bpf_map_lookup_elem(&latest_of, &zero);
	struct record *record = bpf_map_lookup_elem(&scratch_record, &zero);
	__u32 number, cookie_length = 0, length;
	void *events, *cookie_at = NULL;
	struct value *value;
	__u64 cookie = 0, nfct, now;
	__u8 bits = 0, tcp_flags = 0;
	struct key *key;
	long failed;

	if (!counters || !latest || !record)
		return 0;
	counters->seen++;
	number = BPF_CORE_READ(group, group_num);
	bpf_probe_read_kernel(&cookie_length, 4, metadata + config.user_cookie_len);
	if (BPF_CORE_READ(group, net, ns.inum) != config.namespace || cookie_length != 8 ||
	    (!config.all_groups && !bpf_map_lookup_elem(&groups, &number))) {
		counters->filtered++;
		return 0;
	}
	bpf_probe_read_kernel(&cookie_at, 8, metadata + config.user_cookie);
	bpf_probe_read_kernel(&cookie, 8, cookie_at);
	events = bpf_map_lookup_elem(&active_events, &zero);
	if (!events) {
		counters->lost++;
		return 0;
	}

	/* The same packet in the same list of actions: OVN before 26.03 samples it once a tier. */
	if (config.executions && latest->sampled_in == latest->execution && latest->skb == (__u64)skb &&
	    latest->key.cookie == cookie && latest->key.group == number) {
		counters->doubles++;
		value = bpf_map_lookup_elem(events, &latest->key);
		if (value)
			__sync_fetch_and_add(&value->doubles, 1);
		return 0;
	}

	now = bpf_ktime_get_ns();
	key = &record->key;
	__builtin_memset(record, 0, sizeof(*record));
	key->cookie = cookie;
	key->group = number;
	key->rate = rate;
	bpf_probe_read_kernel(&key->input, 4, metadata + config.in_ifindex);
	bpf_probe_read_kernel(&bits, 1, metadata + config.as_probability_at);
	if (bits & config.as_probability_mask)
		key->about |= ABOUT_PROBABILITY;
	nfct = BPF_CORE_READ(skb, _nfct);
	if (nfct & ~7ULL) {
		struct nf_conn *conn = (void *)(nfct & ~7ULL);

		key->about |= ABOUT_CONNTRACK;
		if ((nfct & 7) == IP_CT_NEW)
			key->about |= ABOUT_NEW;
		if ((nfct & 7) == IP_CT_ESTABLISHED_REPLY || (nfct & 7) == IP_CT_RELATED_REPLY)
			key->about |= ABOUT_REPLY;
		if (bpf_core_field_exists(conn->zone))
			key->zone = BPF_CORE_READ(conn, zone.id);
	}
	if (BPF_CORE_READ(skb, vlan_proto)) {
		key->flow.vlan = BPF_CORE_READ(skb, vlan_tci) & 0xfff;
		key->flow.known |= KNOWN_VLAN;
	}
	length = BPF_CORE_READ(skb, len);
	parse(BPF_CORE_READ(skb, data), length - BPF_CORE_READ(skb, data_len), &key->flow, &record->value.ends, &tcp_flags);
	latest->sampled_in = latest->execution;
	latest->skb = (__u64)skb;
	latest->key = *key;

	value = bpf_map_lookup_elem(events, key);
	if (value) {
		add(value, length, now, tcp_flags);
		counters->joined++;
		return 0;
	}
	value = &record->value;
	value->packets = 1;
	value->bytes = value->length = length;
	value->first = value->last = now;
	value->tcp_flags = tcp_flags;
	if (key->about & ABOUT_CONNTRACK)
		read_conntrack((void *)(nfct & ~7ULL), value);
	failed = bpf_map_update_elem(events, key, value, BPF_NOEXIST);
	if (failed == -EEXIST) {
		value = bpf_map_lookup_elem(events, key);
		if (value) {
			add(value, length, now, tcp_flags);
			failed = 0;
		}
	}
	if (!failed)
		counters->joined++;
	else if (!bpf_ringbuf_output(&spilled_events, record, sizeof(*record), BPF_RB_NO_WAKEUP))
		counters->spilled++;
	else
		counters->lost++;
	return 0;
}

SEC("fentry/psample_sample_packet")
int BPF_PROG(sampled_fentry, struct psample_group *group, struct sk_buff *skb, __u32 rate, void *metadata)
{
	return sampled(group, skb, rate, metadata);
}

SEC("kprobe/psample_sample_packet")
int BPF_KPROBE(sampled_kprobe, struct psample_group *group, struct sk_buff *skb, __u32 rate, void *metadata)
{
	return sampled(group, skb, rate, metadata);
}

static __always_inline int execution(void)
{
	struct latest *latest = bpf_map_lookup_elem(&latest_of, &zero);

	if (latest)
		latest->execution++;
	return 0;
}

SEC("fentry/ovs_execute_actions")
int BPF_PROG(execution_fentry)
{
	return execution();
}

SEC("kprobe/ovs_execute_actions")
int BPF_KPROBE(execution_kprobe)
{
	return execution();
}

char LICENSE[] SEC("license") = "GPL";
