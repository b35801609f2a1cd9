//! The exporter with a cache: against what Open vSwitch sent, and against sums.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use common::packets;
use netverdict_types::{Headers, IcmpKind, TcpFlags, Timestamp, ZoneId};
use netverdict_wire::ipfix::{
    CacheOptions, CachingExporter, Decoder, Interface, Record, TemplateKind, TunnelEnds,
    VARIABLE_LENGTH,
};
use proptest::prelude::*;

/// What three exporters of Open vSwitch sent of the same packets, from their beginning to their end: `scripts/exporter` records it
/// anew, and names it in this variable.
const RECORDED: &[u8] = include_bytes!("data/ipfix-ovs-3.5-cache.pcap");
const RECORDED_NOW: &str = "NETVERDICT_IPFIX_RECORDED";
/// The ports of their collectors: without a cache, with one of three flows, and with a second for each flow.
const PLAIN: u16 = 4741;
const THREE_FLOWS: u16 = 4742;
const A_SECOND: u16 = 4743;
const OPTIONS_TEMPLATE: u16 = 462;

/// The values of one data record, by enterprise and element; of names the last one is that of the output.
fn values(
    kind: TemplateKind,
    virtual_id: bool,
    mut record: &[u8],
) -> HashMap<(u32, u16), Vec<&[u8]>> {
    let mut values: HashMap<_, Vec<_>> = HashMap::new();
    for field in kind.fields(virtual_id) {
        let length = match field.length {
            VARIABLE_LENGTH => {
                let (length, rest) = record.split_first().unwrap();
                record = rest;
                usize::from(*length)
            }
            length => usize::from(length),
        };
        let (value, rest) = record.split_at(length);
        record = rest;
        values
            .entry((field.enterprise, field.element))
            .or_default()
            .push(value);
    }
    assert!(record.is_empty());
    values
}

fn number(value: &[u8]) -> u64 {
    value
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// What a recorded data message tells of its packet; `tcp` are the totals of the message before.
fn packet<'a>(message: &'a [u8], tcp: &mut [u64; 6]) -> Record<'a> {
    let kind = TemplateKind::from_id(number(&message[16..18]) as u16).unwrap();
    let values = values(kind, false, &message[20..]);
    let bytes = |element| values.get(&(0, element)).map(|all| all[0]);
    let n = |element| bytes(element).map(number);
    let tunnel = |element| number(values[&(6876, element)][0]);
    let address = |v4, v6| {
        let v4 = bytes(v4).map(|a| IpAddr::from(<[u8; 4]>::try_from(a).unwrap()));
        v4.or(bytes(v6).map(|a| IpAddr::from(<[u8; 16]>::try_from(a).unwrap())))
    };
    let interface = |index, kind, place: usize| Interface {
        index: n(index).unwrap() as u32,
        kind: n(kind).unwrap() as u32,
        name: std::str::from_utf8(values[&(0, 82)][place]).unwrap(),
        description: std::str::from_utf8(values[&(0, 83)][place]).unwrap(),
    };
    let packets = n(2).unwrap();
    let tcp_flags = n(222).map(|_| {
        let mut flags = 0;
        for (bit, element) in [219, 218, 220, 221, 222, 223].into_iter().enumerate() {
            let total = n(element).unwrap();
            flags |= u8::from(total > tcp[bit]) << bit;
            tcp[bit] = total;
        }
        TcpFlags(flags)
    });
    let exported = i64::from(number(&message[4..8]) as u32) * 1_000_000;
    Record {
        domain: number(&message[12..16]) as u32,
        point: n(138).unwrap() as u32,
        headers: Headers {
            eth_src: bytes(56).map(|mac| mac.try_into().unwrap()),
            eth_dst: bytes(80).map(|mac| mac.try_into().unwrap()),
            vlan: n(58).map(|vlan| vlan as u16),
            ethertype: n(256).map(|ethertype| ethertype as u16),
            src: address(8, 27),
            dst: address(12, 28),
            protocol: n(4).map(|protocol| protocol as u8),
            ttl: n(192).map(|ttl| ttl as u8),
            src_port: n(7).map(|port| port as u16),
            dst_port: n(11).map(|port| port as u16),
            icmp: n(176).or(n(178)).map(|kind| IcmpKind {
                kind: kind as u8,
                code: n(177).or(n(179)).unwrap() as u8,
            }),
            tcp_flags,
            ..Headers::default()
        },
        frame_length: (n(352).unwrap() / packets) as u16,
        input: interface(10, 368, 0),
        output: kind.egress.then(|| interface(14, 369, 1)),
        tunnel: kind.tunnel.then(|| TunnelEnds {
            src: Ipv4Addr::from(tunnel(893) as u32),
            dst: Ipv4Addr::from(tunnel(894) as u32),
            protocol: tunnel(895) as u8,
            src_port: tunnel(896) as u16,
            dst_port: tunnel(897) as u16,
            kind: tunnel(891) as u8,
            key: values[&(6876, 892)][0],
        }),
        vlan_priority: n(244).unwrap_or_default() as u8,
        tos: n(5).unwrap_or_default() as u8,
        flow_label: n(31).unwrap_or_default() as u32,
        time: Timestamp((exported - n(158).unwrap() as i64) * 1_000),
        packet_delta: packets,
        dropped: n(133).unwrap() > 0,
    }
}

/// The messages that arrived at a port, with their times.
fn recorded(port: u16) -> Vec<(Timestamp, Vec<u8>)> {
    let file = match std::env::var_os(RECORDED_NOW) {
        Some(path) => std::fs::read(path).unwrap(),
        None => RECORDED.to_vec(),
    };
    let mut all = packets(&file);
    all.retain(|(_, frame)| u16::from_be_bytes([frame[36], frame[37]]) == port);
    all.into_iter()
        .map(|(time, frame)| (time, frame[42..].to_vec()))
        .collect()
}

fn set(message: &[u8]) -> u16 {
    number(&message[16..18]) as u16
}

fn is_data(message: &[u8]) -> bool {
    set(message) >= 256 && set(message) != OPTIONS_TEMPLATE
}

/// What the exporter with these options sends for the packets that the exporter without a cache told of.
fn ours(options: CacheOptions) -> Vec<Vec<u8>> {
    let mut exporter = CachingExporter::new(options);
    let mut ours = Vec::new();
    let mut send = |message: &[u8]| {
        ours.push(message.to_vec());
        true
    };
    let mut tcp = [0; 6];
    let mut last = Timestamp(0);
    for (_, message) in recorded(PLAIN) {
        if is_data(&message) {
            let record = packet(&message, &mut tcp);
            last = record.time;
            while let Some(next) = exporter.next().filter(|next| *next <= record.time) {
                exporter.expire(next, &mut send);
            }
            exporter.sample(&record, &mut send);
        }
    }
    exporter.finish(last, &mut send);
    assert_eq!((exporter.flows(), exporter.not_sent()), (0, 0));
    ours
}

fn process(recorded: &[(Timestamp, Vec<u8>)]) -> u32 {
    recorded
        .iter()
        .find(|(_, message)| set(message) == OPTIONS_TEMPLATE)
        .map_or(1, |(_, message)| number(&message[20..24]) as u32)
}

/// Everything that it sent since it started, byte by byte: statistics, templates, data, each when it was due.
#[test]
fn the_same_packets_give_the_same_bytes_as_open_vswitch() {
    let theirs = recorded(PLAIN);
    let ours = ours(CacheOptions {
        template_interval: 2,
        process: process(&theirs),
        ..CacheOptions::default()
    });
    for (place, (ours, (_, theirs))) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "datagram {place}");
    }
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.len() > 150);
}

/// The same when flows are pushed out of the cache, but for the times, which are those of another exporter's moments.
#[test]
fn a_full_cache_sends_the_oldest_flow_as_open_vswitch_does() {
    let theirs = recorded(THREE_FLOWS);
    let ours = ours(CacheOptions {
        active_timeout: 4_200,
        max_flows: 3,
        template_interval: 3_600,
        process: process(&theirs),
        ..CacheOptions::default()
    });
    assert_eq!(ours.len(), theirs.len());
    for (place, (ours, (_, theirs))) in ours.iter().zip(&theirs).enumerate() {
        let timeless = |message: &[u8]| {
            let mut message = message.to_vec();
            message[4..8].fill(0);
            if is_data(&message) {
                let kind = TemplateKind::from_id(set(&message)).unwrap();
                let tail = kind.fields(false).skip_while(|field| field.element != 158);
                let length: usize = tail.map(|field| usize::from(field.length)).sum();
                let start = message.len() - length;
                message[start..start + 8].fill(0);
            }
            message
        };
        assert_eq!(timeless(ours), timeless(theirs), "datagram {place}");
    }
}

/// Where time decides, moments differ; what is counted for each flow is the same.
#[test]
fn flows_that_time_out_add_up_to_what_open_vswitch_counts() {
    let theirs = recorded(A_SECOND);
    let ours = ours(CacheOptions {
        virtual_id: Some("vbr".to_owned()),
        active_timeout: 1,
        max_flows: 1_000,
        process: process(&theirs),
        ..CacheOptions::default()
    });
    let sums = |messages: Vec<&[u8]>| {
        let mut sums: BTreeMap<Vec<u8>, [u64; 5]> = BTreeMap::new();
        let mut most = 0;
        for message in messages.into_iter().filter(|message| is_data(message)) {
            let kind = TemplateKind::from_id(set(message)).unwrap();
            let values = values(kind, true, &message[20..]);
            let n = |element| values.get(&(0, element)).map_or(0, |all| number(all[0]));
            let counters: usize = kind
                .fields(true)
                .skip_while(|field| field.element != 158)
                .map(|field| usize::from(field.length))
                .sum();
            let key = message[12..message.len() - counters].to_vec();
            let sum = sums.entry(key).or_default();
            for (sum, element) in sum.iter_mut().zip([2, 133, 352, 1, 198]) {
                *sum += n(element);
            }
            most = most.max(n(2));
        }
        (sums, most)
    };
    let (our_sums, most) = sums(ours.iter().map(Vec::as_slice).collect());
    let (their_sums, _) = sums(
        theirs
            .iter()
            .map(|(_, message)| message.as_slice())
            .collect(),
    );
    assert_eq!(our_sums, their_sums);
    assert!(most > 5, "packets were added up");
}

fn any_packet() -> impl Strategy<Value = (u32, u8, u16, bool, u16, u64, i64)> {
    (
        0u32..3,
        0u8..6,
        60u16..1_500,
        any::<bool>(),
        prop::sample::select(vec![80u16, 443]),
        prop::sample::select(vec![1u64, 10, 655]),
        0i64..700,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the limits: each packet is in one record, each flow is within its time, never are there more flows than may be, templates come
    /// first, and no number is left out.
    #[test]
    fn nothing_is_lost_in_the_cache(
        packets in prop::collection::vec(any_packet(), 1..200), active_timeout in 0u32..5, max_flows in 0u32..8, tcp in any::<bool>(),
    ) {
        let options = CacheOptions { active_timeout, max_flows, template_interval: 3, statistics_interval: 5, ..CacheOptions::default() };
        let mut exporter = CachingExporter::new(options);
        let mut decoder = Decoder::default();
        let from = SocketAddr::from(([127, 0, 0, 1], 4739));
        let (mut came, mut octets) = (0, 0);
        let mut now = Timestamp(1_795_400_180_000_000_000);
        let mut sent = [0; 2];
        let mut take = |message: &[u8], now: Timestamp| {
            decoder.decode(message, from, now, ZoneId(0), |sample| {
                assert!(sample.time <= now);
                assert!(now.0 - sample.time.0 <= i64::from(active_timeout) * 1_000_000_000);
            });
            if is_data(message) {
                let kind = TemplateKind::from_id(set(message)).unwrap();
                let values = values(kind, false, &message[20..]);
                came += number(values[&(0, 2)][0]);
                octets += number(values[&(0, 1)][0]);
            }
            true
        };
        for (domain, flow, frame_length, dropped, dst_port, packet_delta, wait) in packets {
            now = now.after(wait * 1_000_000);
            while let Some(next) = exporter.next().filter(|next| *next <= now) {
                exporter.expire(next, |message| take(message, next));
            }
            let record = Record {
                domain, point: 7, frame_length, dropped, packet_delta, time: now, output: None, tunnel: None, vlan_priority: 0, tos: 0,
                flow_label: 0, input: Interface::default(),
                headers: Headers {
                    eth_src: Some([flow; 6]), eth_dst: Some([2; 6]), ethertype: Some(0x0800), protocol: Some(if tcp { 6 } else { 17 }),
                    src: Some(IpAddr::from([10, 0, 0, flow])), dst: Some(IpAddr::from([10, 0, 0, 9])), ttl: Some(64),
                    src_port: Some(1), dst_port: Some(dst_port), tcp_flags: tcp.then_some(TcpFlags(flow)), ..Headers::default()
                },
            };
            sent[0] += packet_delta;
            sent[1] += packet_delta * u64::from(frame_length - 14);
            exporter.sample(&record, |message| take(message, now));
            prop_assert!(exporter.flows() as u32 <= max_flows);
        }
        exporter.finish(now, |message| take(message, now));
        prop_assert_eq!([came, octets], sent);
        let counters = *decoder.counters();
        prop_assert_eq!((counters.lost, counters.malformed_records), (0, 0));
        // The first statistics come before the options template.
        prop_assert_eq!((counters.sets_waited, counters.sets_replayed), (1, 1));
    }
}

#[test]
fn messages_that_cannot_be_sent_are_told() {
    let mut exporter = CachingExporter::new(CacheOptions::default());
    let (_, message) = recorded(PLAIN)
        .into_iter()
        .find(|(_, message)| is_data(message))
        .unwrap();
    let record = packet(&message, &mut [0; 6]);
    exporter.sample(&record, |_| false);
    // Statistics, 18 messages of templates, one of the options template, data.
    assert_eq!(exporter.not_sent(), 21);
    let mut statistics = Vec::new();
    let later = Record {
        time: record.time.after(600_000_000_000),
        ..record
    };
    exporter.sample(&later, |message| {
        if set(message) == OPTIONS_TEMPLATE {
            statistics = message.to_vec();
        }
        true
    });
    assert_eq!(number(&statistics[24..32]), 21);
}
