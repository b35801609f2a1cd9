//! IPFIX: what Open vSwitch 3.5 sent, what our exporter writes, and what goes wrong on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use common::{payloads, tshark, udp_frame};
use netverdict_types::{
    Cookie, Headers, IcmpKind, Input, Key, Origin, Probability, TcpFlags, Timestamp, ZoneId,
};
use netverdict_wire::ipfix::{
    Counters, Decoder, Exporter, Interface, Limits, PORT, Record, TunnelEnds,
};
use netverdict_wire::pcap::{LinkType, Writer};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

/// The first 230 datagrams of an exporter, recorded in the native lab.
const RECORDED: &[u8] = include_bytes!("data/ipfix-ovs-3.5.pcap");
/// All templates and up to six records of each, of node 1 of the two-zone lab.
const TWO_ZONES: &[u8] = include_bytes!("data/ipfix-ovs-3.5-two-zones.pcap");
const NOW: Timestamp = Timestamp(1_795_400_180_000_000_000);
const EXPORT_TIME: u32 = 1_795_400_181;

fn exporter() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 49_254))
}

/// A sample that owns what it borrowed.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    time: Timestamp,
    key: Key<'static>,
    probability: Probability,
    input: String,
    headers: Headers,
    length: u32,
    packets: u64,
    bytes: u64,
}

fn decode_at(
    decoder: &mut Decoder,
    datagram: &[u8],
    from: SocketAddr,
    now: Timestamp,
) -> Vec<Seen> {
    let mut seen = Vec::new();
    decoder.decode(datagram, from, now, ZoneId(1), |sample| {
        assert_eq!((sample.origin, sample.zone), (Origin::Ipfix, ZoneId(1)));
        let Key::Cookie(cookie) = sample.key else {
            panic!("{:?}", sample.key);
        };
        seen.push(Seen {
            time: sample.time,
            key: Key::Cookie(cookie),
            probability: sample.probability,
            input: format!("{:?}", sample.input),
            headers: sample.headers,
            length: sample.length,
            packets: sample.packets,
            bytes: sample.bytes,
        });
    });
    seen
}

fn decode(decoder: &mut Decoder, datagram: &[u8]) -> Vec<Seen> {
    decode_at(decoder, datagram, exporter(), NOW)
}

fn record(headers: Headers) -> Record<'static> {
    Record {
        domain: 0x0200_0001,
        point: 4001,
        headers,
        frame_length: 98,
        input: Interface {
            index: 4,
            kind: 6,
            name: "p1",
            description: "",
        },
        output: None,
        tunnel: None,
        vlan_priority: 0,
        tos: 0,
        flow_label: 0,
        time: NOW,
        packet_delta: 1,
        dropped: false,
    }
}

fn tcp(flags: u8) -> Headers {
    Headers {
        eth_src: Some([2, 0, 0, 0, 0, 1]),
        eth_dst: Some([2, 0, 0, 0, 0, 2]),
        ethertype: Some(0x0800),
        src: Some(IpAddr::from([10, 0, 0, 1])),
        dst: Some(IpAddr::from([10, 0, 0, 2])),
        protocol: Some(6),
        ttl: Some(64),
        src_port: Some(45_890),
        dst_port: Some(80),
        tcp_flags: Some(TcpFlags(flags)),
        ..Headers::default()
    }
}

fn templates(exporter: &Exporter, domain: u32) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    exporter.templates(domain, EXPORT_TIME, |message| all.push(message.to_vec()));
    all
}

fn message(exporter: &mut Exporter, record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    exporter.sample(EXPORT_TIME, record, &mut out);
    out
}

/// A decoder that has the templates of `domain`, and the exporter that sent them.
fn ready(domain: u32) -> (Decoder, Exporter) {
    let exporter = Exporter::default();
    let mut decoder = Decoder::default();
    for message in templates(&exporter, domain) {
        decode(&mut decoder, &message);
    }
    (decoder, exporter)
}

#[test]
fn every_recorded_record_is_a_sample() {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    let mut data_messages = 0;
    for (time, payload) in payloads(RECORDED) {
        let samples = decode_at(&mut decoder, &payload, exporter(), time);
        data_messages += u64::from(payload[16] != 0);
        for sample in &samples {
            // Recorded on the exporter's machine.
            let late = time.0 - sample.time.0;
            assert!((0..50_000_000).contains(&late), "{late}");
        }
        seen.extend(samples);
    }
    let counters = *decoder.counters();
    assert_eq!(
        counters,
        Counters {
            messages: 230,
            samples: data_messages,
            templates: counters.templates,
            ..Counters::default()
        }
    );
    assert_eq!(counters.templates % 89, 0);
    assert_eq!(seen.len() as u64, data_messages);
    let first = Seen {
        time: Timestamp(1_795_400_180_189_000_000),
        key: Key::Cookie(Cookie {
            domain: 0x0200_0001,
            point: 4001,
        }),
        probability: Probability::ALL,
        input: format!("{:?}", Input::Name("p1")),
        headers: Headers {
            protocol: Some(1),
            src_port: None,
            dst_port: None,
            tcp_flags: None,
            icmp: Some(IcmpKind { kind: 8, code: 0 }),
            ..tcp(0)
        },
        length: 84,
        packets: 1,
        bytes: 84,
    };
    assert_eq!(seen[0], first);
    // The running totals give the flags of all packets but the first of the exporter.
    let flags: Vec<_> = seen
        .iter()
        .filter(|sample| sample.headers.protocol == Some(6))
        .collect();
    assert_eq!(flags[0].headers.tcp_flags, None);
    assert_eq!(flags[1].headers.tcp_flags, Some(TcpFlags(TcpFlags::SYN)));
    assert_eq!(
        flags[4].headers.tcp_flags,
        Some(TcpFlags(TcpFlags::SYN | TcpFlags::ACK))
    );
    assert!(
        flags[1..]
            .iter()
            .all(|sample| sample.headers.tcp_flags.is_some())
    );
}

#[test]
fn packets_of_both_families_and_out_of_a_tunnel() {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    let mut data_messages = 0;
    for (time, payload) in payloads(TWO_ZONES) {
        data_messages += u64::from(payload[16] != 0);
        seen.extend(decode_at(&mut decoder, &payload, exporter(), time));
    }
    let counters = decoder.counters();
    assert_eq!(counters.samples, seen.len() as u64);
    assert_eq!(counters.samples + counters.options_records, data_messages);
    assert_eq!(decoder.exporters().next().unwrap().not_sent, Some(0));
    let far_node = format!("{:?}", Input::Tunnel(IpAddr::from([172, 18, 0, 3])));
    for (v6, tunnel, protocol) in [
        (false, false, 1),
        (false, false, 6),
        (false, true, 6),
        (false, true, 17),
        (true, false, 58),
        (true, false, 17),
        (true, true, 6),
        (true, true, 58),
    ] {
        assert!(
            seen.iter().any(|sample| {
                let headers = sample.headers;
                headers.src.is_some_and(|src| src.is_ipv6() == v6)
                    && headers.dst.is_some_and(|dst| dst.is_ipv6() == v6)
                    && headers.protocol == Some(protocol)
                    && headers.dst_port.is_some() == matches!(protocol, 6 | 17)
                    && headers.icmp.is_some() == matches!(protocol, 1 | 58)
                    && (sample.input == far_node) == tunnel
            }),
            "{v6} {tunnel} {protocol}"
        );
    }
}

#[test]
fn templates_are_written_as_open_vswitch_writes_them() {
    let recorded = payloads(RECORDED);
    let ours = templates(&Exporter::default(), 0x0200_0001);
    assert_eq!(ours.len(), 19);
    for (ours, (_, theirs)) in ours.iter().zip(&recorded) {
        let mut theirs = theirs.clone();
        // Our exporter has sent nothing yet.
        theirs[8..12].copy_from_slice(&[0, 0, 0, 1]);
        assert_eq!(ours, &theirs);
    }
}

#[test]
fn a_record_is_written_as_open_vswitch_writes_it() {
    let (_, theirs) = &payloads(RECORDED)[58];
    let mut record = record(tcp(TcpFlags::SYN));
    record.frame_length = 74;
    record.input.kind = 0;
    record.time = Timestamp(1_795_400_181_278_000_000);
    record.dropped = true;
    let mut ours = Vec::new();
    Exporter::default().sample(1_795_400_182, &record, &mut ours);
    assert_eq!(ours.len(), theirs.len());
    assert_eq!(ours[..8], theirs[..8]);
    assert_eq!(ours[12..16], theirs[12..16]);
    // Up to the totals, which depend on what was before.
    let totals = ours.len() - (113 + 80 + 48) + 16;
    assert_eq!(ours[16..totals], theirs[16..totals]);
}

#[test]
fn statistics_of_the_exporter_are_kept() {
    let (mut decoder, mut exporter) = ready(0);
    let mut message = Vec::new();
    exporter.statistics(EXPORT_TIME, 7, 12, &mut message);
    decode(&mut decoder, &message);
    let stats: Vec<_> = decoder.exporters().collect();
    assert_eq!((stats[0].process, stats[0].not_sent), (Some(7), Some(12)));
    assert_eq!(decoder.counters().options_records, 1);
    assert_eq!(stats[0].templates, 89);
}

#[test]
fn data_before_its_template_waits() {
    let mut writer = Exporter::default();
    let early: Vec<_> = (0..3)
        .map(|_| message(&mut writer, &record(tcp(0))))
        .collect();
    let mut decoder = Decoder::default();
    for message in &early {
        assert!(decode(&mut decoder, message).is_empty());
    }
    assert_eq!((decoder.waiting(), decoder.counters().sets_waited), (3, 3));
    let mut seen = Vec::new();
    for message in templates(&writer, 0x0200_0001) {
        seen.extend(decode(&mut decoder, &message));
    }
    assert_eq!(seen.len(), 3);
    assert_eq!(
        (decoder.waiting(), decoder.counters().sets_replayed),
        (0, 3)
    );
    assert_eq!(seen[0].time, NOW);
}

#[test]
fn data_whose_template_never_comes_is_counted() {
    let mut writer = Exporter::default();
    let early = message(&mut writer, &record(tcp(0)));
    let limits = Limits {
        waiting_nanos: 1_000,
        ..Limits::default()
    };
    let mut decoder = Decoder::new(limits);
    decode(&mut decoder, &early);
    decoder.expire(NOW.after(1_000));
    assert_eq!(decoder.counters().sets_expired, 0);
    decoder.expire(NOW.after(1_001));
    assert_eq!((decoder.counters().sets_expired, decoder.waiting()), (1, 0));

    let mut decoder = Decoder::new(Limits {
        waiting_bytes: 1_000,
        ..Limits::default()
    });
    for _ in 0..5 {
        decode(&mut decoder, &message(&mut writer, &record(tcp(0))));
    }
    assert_eq!(
        decoder.counters().sets_overflowed as usize + decoder.waiting(),
        5
    );
    assert!(decoder.waiting() < 5 && decoder.waiting() > 0);
}

#[test]
fn templates_of_one_domain_serve_the_others_of_the_exporter_only() {
    let (mut decoder, mut writer) = ready(0x0200_0001);
    let mut other = record(tcp(0));
    other.domain = 0x0300_0001;
    let data = message(&mut writer, &other);
    assert_eq!(decode(&mut decoder, &data).len(), 1);
    let stranger = SocketAddr::from(([10, 0, 0, 9], 1));
    assert_eq!(decode_at(&mut decoder, &data, stranger, NOW).len(), 0);
    assert_eq!(decoder.waiting(), 1);
}

#[test]
fn a_withdrawn_template_is_gone() {
    let (mut decoder, mut writer) = ready(0x0200_0001);
    let data = message(&mut writer, &record(tcp(0)));
    assert_eq!(decode(&mut decoder, &data).len(), 1);
    let mut withdrawal = data[..16].to_vec();
    withdrawal.extend([0, 2, 0, 8, 1, 24, 0, 0]);
    withdrawal[3] = 24;
    withdrawal[2] = 0;
    decode(&mut decoder, &withdrawal);
    assert_eq!(decoder.counters().templates_withdrawn, 1);
    assert_eq!(decode(&mut decoder, &data).len(), 0);
    // All of the domain at once.
    withdrawal[20..22].copy_from_slice(&[0, 2]);
    decode(&mut decoder, &withdrawal);
    assert_eq!(decoder.counters().templates_withdrawn, 88);
}

#[test]
fn gaps_are_counted_per_exporter() {
    let (mut decoder, mut writer) = ready(0x0200_0001);
    let all: Vec<_> = (0..10)
        .map(|_| message(&mut writer, &record(tcp(0))))
        .collect();
    for number in [0, 1, 5, 4, 9] {
        decode(&mut decoder, &all[number]);
    }
    let counters = decoder.counters();
    // 2 and 3, 6 to 8; 4 came late.
    assert_eq!((counters.lost, counters.late, counters.samples), (5, 1, 5));
    // A restarted exporter counts from 1 again: nothing more is lost.
    let mut writer = Exporter::default();
    decode(&mut decoder, &message(&mut writer, &record(tcp(0))));
    decode(&mut decoder, &message(&mut writer, &record(tcp(0))));
    let counters = decoder.counters();
    assert_eq!(
        (counters.lost, counters.restarts, counters.repeated),
        (5, 1, 0)
    );
    // Tail loss shows with the next templates.
    for message in templates(&writer, 0x0200_0001) {
        decode(&mut decoder, &message);
    }
    assert_eq!(decoder.counters().lost, 5);
    message(&mut writer, &record(tcp(0)));
    for message in templates(&writer, 0x0200_0001) {
        decode(&mut decoder, &message);
    }
    assert_eq!(decoder.counters().lost, 6);
}

#[test]
fn flags_are_not_guessed_after_a_loss() {
    let (mut decoder, mut writer) = ready(0x0200_0001);
    let mut send = |flags, arrives: bool| {
        let message = message(&mut writer, &record(tcp(flags)));
        arrives.then(|| decode(&mut decoder, &message)[0].headers.tcp_flags)
    };
    assert_eq!(send(2, true), Some(Some(TcpFlags(2))));
    assert_eq!(send(18, true), Some(Some(TcpFlags(18))));
    send(16, false);
    assert_eq!(send(24, true), Some(None));
    assert_eq!(send(17, true), Some(Some(TcpFlags(17))));
}

#[test]
fn strangers_do_not_take_all_memory() {
    let limits = Limits {
        exporters: 2,
        templates: 10,
        ..Limits::default()
    };
    let mut decoder = Decoder::new(limits);
    let mut writer = Exporter::default();
    let data = message(&mut writer, &record(tcp(0)));
    for number in 0..5u16 {
        let address = SocketAddr::from(([10, 0, 0, 1], number));
        decode_at(&mut decoder, &data, address, NOW.after(i64::from(number)));
    }
    assert_eq!(decoder.exporters().count(), 2);
    assert_eq!(decoder.counters().exporters_forgotten, 3);
    assert_eq!(
        (decoder.counters().sets_orphaned, decoder.waiting()),
        (3, 2)
    );
    for message in templates(&writer, 1) {
        decode(&mut decoder, &message);
    }
    assert_eq!(decoder.counters().templates_refused, 79);
}

#[test]
fn what_is_no_message_is_counted() {
    let mut decoder = Decoder::default();
    decode(&mut decoder, &[]);
    decode(
        &mut decoder,
        &[0, 9, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    decode(
        &mut decoder,
        &[0, 10, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    assert_eq!(decoder.counters().malformed_messages, 3);
    decode(
        &mut decoder,
        &[0, 10, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3],
    );
    assert_eq!(decoder.counters().malformed_sets, 1);
    decode(
        &mut decoder,
        &[0, 10, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 4],
    );
    assert_eq!(decoder.counters().reserved_sets, 1);
}

fn headers() -> impl Strategy<Value = Headers> {
    let l4 = prop_oneof![
        any::<(u16, u16)>().prop_map(|ports| (6u8, Some(ports), None)),
        any::<(u16, u16)>().prop_map(|ports| (17, Some(ports), None)),
        any::<(u16, u16)>().prop_map(|ports| (132, Some(ports), None)),
        any::<(u8, u8)>().prop_map(|icmp| (1, None, Some(icmp))),
        Just((47, None, None)),
    ];
    (
        any::<([u8; 6], [u8; 6])>(),
        prop::option::of(0u16..4096),
        any::<([u8; 16], [u8; 16])>(),
        prop::sample::select(vec![0u8, 4, 6]),
        l4,
        any::<u8>(),
        0u8..64,
    )
        .prop_map(
            |(macs, vlan, addresses, version, (protocol, ports, icmp), ttl, flags)| {
                let base = Headers {
                    eth_src: Some(macs.0),
                    eth_dst: Some(macs.1),
                    ethertype: Some(0x0806),
                    vlan,
                    ..Headers::default()
                };
                if version == 0 {
                    return base;
                }
                let address = |bytes: [u8; 16]| match version {
                    4 => IpAddr::from(*bytes.first_chunk::<4>().unwrap()),
                    _ => IpAddr::from(bytes),
                };
                Headers {
                    ethertype: Some(if version == 4 { 0x0800 } else { 0x86dd }),
                    src: Some(address(addresses.0)),
                    dst: Some(address(addresses.1)),
                    protocol: Some(if version == 6 && protocol == 1 {
                        58
                    } else {
                        protocol
                    }),
                    ttl: Some(ttl),
                    src_port: ports.map(|ports| ports.0),
                    dst_port: ports.map(|ports| ports.1),
                    icmp: icmp.map(|(kind, code)| IcmpKind { kind, code }),
                    tcp_flags: (protocol == 6).then_some(TcpFlags(flags)),
                    ..base
                }
            },
        )
}

prop_compose! {
    fn any_record()(
        headers in headers(), domain in any::<u32>(), point in any::<u32>(), frame in 60u16..,
        egress in any::<bool>(), tunnel in any::<Option<[u8; 4]>>(), dropped in any::<bool>(),
        delta in prop::sample::select(vec![1u64, 2, 10, 100, 655, 65_535]),
        millis in 0i64..1_000, tos in any::<u8>(),
    ) -> Record<'static> {
        Record {
            domain, point, frame_length: frame,
            output: egress.then_some(Interface { index: 9, kind: 6, name: "p9", description: "nine" }),
            tunnel: tunnel.map(|src| TunnelEnds {
                src: Ipv4Addr::from(src), dst: Ipv4Addr::new(172, 18, 0, 2), protocol: 17,
                src_port: 50_000, dst_port: 6_081, kind: 7, key: &[0, 1, 2],
            }),
            tos, time: NOW.after(millis * 1_000_000), packet_delta: delta, dropped,
            ..record(headers)
        }
    }
}

/// What a decoder ought to see of a record.
fn expected(record: &Record<'_>) -> Seen {
    let l2 = if record.headers.vlan.is_some() {
        18
    } else {
        14
    };
    let length = match record.headers.ethertype {
        Some(0x0800 | 0x86dd) => record.frame_length - l2,
        _ => record.frame_length,
    };
    let input = match record.tunnel {
        Some(tunnel) if record.output.is_none() => Input::Tunnel(IpAddr::V4(tunnel.src)),
        _ => Input::Name(record.input.name),
    };
    Seen {
        time: record.time,
        key: Key::Cookie(Cookie {
            domain: record.domain,
            point: record.point,
        }),
        probability: Probability::from_u16((65_535 / record.packet_delta) as u16),
        input: format!("{input:?}"),
        headers: record.headers,
        length: u32::from(length),
        packets: 1,
        bytes: u64::from(length),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(records in prop::collection::vec(any_record(), 1..40), virtual_id in any::<bool>()) {
        let mut writer = Exporter::new(virtual_id.then(|| "bridge".to_owned()));
        let mut decoder = Decoder::default();
        for message in templates(&writer, 1) {
            decode(&mut decoder, &message);
        }
        for record in &records {
            let message = message(&mut writer, record);
            let seen = decode(&mut decoder, &message);
            prop_assert_eq!(seen, vec![expected(record)]);
        }
        prop_assert_eq!(
            *decoder.counters(),
            Counters {
                messages: 19 + records.len() as u64, samples: records.len() as u64, templates: 89,
                ..Counters::default()
            }
        );
    }

    /// Whatever happens to one datagram, those of other exporters are read as before, and those
    /// of its own after the next templates.
    #[test]
    fn damage_stays_where_it_is(which in 0usize..230, place in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()) {
        let all = payloads(RECORDED);
        let mut damaged = all[which].1.clone();
        if cut {
            damaged.truncate(place.index(damaged.len()));
        } else {
            let place = place.index(damaged.len());
            damaged[place] ^= 1 << bit;
        }
        let (mut decoder, mut writer) = ready(0x0200_0001);
        let attacker = SocketAddr::from(([10, 6, 6, 6], 6));
        for (_, payload) in &all[..19] {
            decode_at(&mut decoder, payload, attacker, NOW);
        }
        decode_at(&mut decoder, &damaged, attacker, NOW);
        let record = record(tcp(2));
        let message = message(&mut writer, &record);
        prop_assert_eq!(decode(&mut decoder, &message), vec![expected(&record)]);
        for (_, payload) in &all[..19] {
            decode_at(&mut decoder, payload, attacker, NOW);
        }
        prop_assert_eq!(decode_at(&mut decoder, &all[19].1, attacker, NOW).len(), 1);
    }
}

/// tshark reads from a file of data messages what we wrote into them, or what we read from them.
#[test]
fn tshark_reads_the_same() {
    const FIELDS: &[&str] = &[
        "cflow.od_id",
        "cflow.observation_point_id",
        "cflow.srcmac",
        "cflow.srcaddr",
        "cflow.srcaddrv6",
        "cflow.dstaddr",
        "cflow.dstaddrv6",
        "cflow.protocol",
        "cflow.srcport",
        "cflow.dstport",
        "cflow.ip_ttl",
        "cflow.vlanid",
        "cflow.packets",
        "cflow.octets",
        "cflow.icmp_ipv4_type",
        "cflow.icmp_ipv6_type",
        "cflow.if_name",
    ];
    let row = |seen: &Seen, name: &str, packets: u64| -> Vec<String> {
        let Key::Cookie(cookie) = seen.key else {
            panic!("{seen:?}");
        };
        let headers = &seen.headers;
        let text = |value: Option<u64>| value.map_or(String::new(), |value| value.to_string());
        let ip = |address: Option<IpAddr>, v4| match address {
            Some(address) if address.is_ipv4() == v4 => address.to_string(),
            _ => String::new(),
        };
        let mac = headers
            .eth_src
            .unwrap()
            .map(|byte| format!("{byte:02x}"))
            .join(":");
        let icmp = |number| {
            let icmp = headers.icmp.filter(|_| headers.protocol == Some(number));
            text(icmp.map(|icmp| u64::from(icmp.kind)))
        };
        vec![
            cookie.domain.to_string(),
            cookie.point.to_string(),
            mac,
            ip(headers.src, true),
            ip(headers.src, false),
            ip(headers.dst, true),
            ip(headers.dst, false),
            text(headers.protocol.map(u64::from)),
            text(headers.src_port.map(u64::from)),
            text(headers.dst_port.map(u64::from)),
            text(headers.ttl.map(u64::from)),
            text(headers.vlan.map(u64::from)),
            packets.to_string(),
            text(headers.src.map(|_| u64::from(seen.length) * packets)),
            icmp(1),
            icmp(58),
            name.to_owned(),
        ]
    };
    let directory = std::env::temp_dir().join(format!("netverdict-tshark-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();

    // By itself tshark passes over templates of more than 60 fields.
    let arguments = [
        "-o",
        "cflow.max_template_fields:100",
        "-d",
        "udp.port==4739,cflow",
        "-Y",
        "cflow.observation_point_id",
    ];
    for file in [RECORDED, TWO_ZONES] {
        let recorded = directory.join("recorded.pcap");
        std::fs::write(&recorded, file).unwrap();
        let Some(theirs) = tshark(&recorded, &arguments, FIELDS) else {
            return;
        };
        let mut decoder = Decoder::default();
        let mut rows = Vec::new();
        for (time, payload) in payloads(file) {
            for seen in decode_at(&mut decoder, &payload, exporter(), time) {
                let name = seen.input.strip_prefix("Name(\"");
                // Of a tunnel's interface only tshark tells the name.
                let name = name.map_or(&theirs[rows.len()][16][..], |name| {
                    name.trim_end_matches("\")")
                });
                rows.push(row(&seen, name, 1));
            }
        }
        assert_eq!(theirs, rows);
    }

    // A fixed seed of our exporter's messages, over all kinds of records.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut writer = Exporter::default();
    let mut file = Writer::new(Vec::new()).unwrap();
    let interface = file
        .interface(LinkType::ETHERNET, Some("lo"), None)
        .unwrap();
    let mut add = |payload: &[u8]| {
        let frame = udp_frame(PORT, payload);
        let length = frame.len() as u32;
        file.packet(interface, NOW, &frame, length, None).unwrap();
    };
    let mut rows = Vec::new();
    for domain in [1, 2] {
        for message in templates(&writer, domain) {
            add(&message);
        }
    }
    for number in 0..200 {
        let mut record = any_record().new_tree(&mut runner).unwrap().current();
        record.domain = 1 + number % 2;
        add(&message(&mut writer, &record));
        rows.push(row(
            &expected(&record),
            record.input.name,
            record.packet_delta,
        ));
    }
    let written = directory.join("written.pcapng");
    std::fs::write(&written, file.into_inner().unwrap()).unwrap();
    let theirs = tshark(&written, &arguments, FIELDS).unwrap();
    for (theirs, ours) in theirs.iter().zip(&rows) {
        assert_eq!(theirs, ours);
    }
    assert_eq!(theirs.len(), rows.len());
    std::fs::remove_dir_all(&directory).unwrap();
}
