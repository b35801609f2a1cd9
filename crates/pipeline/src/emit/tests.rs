use std::net::{IpAddr, Ipv6Addr};
use std::process::Command;

use netverdict_ovn::expr::Field;
use netverdict_types::{Action, App, Key, Origin, Sample, ZoneId};
use netverdict_wire::acl_log;
use netverdict_wire::ipfix::CacheOptions;
use netverdict_wire::psample::{Message, Netlink, encode, messages};
use proptest::prelude::*;

use super::*;
use crate::{L4, Meter, Northbound, Stage};

const NOW: Timestamp = Timestamp(1_795_400_180_123_456_789);
const IN: At = At {
    switch: SwitchId(0),
    stage: Stage::InAclSample,
};

fn node() -> Node {
    let mut node = Node::new(ZoneId(3), &Northbound::default());
    node.set_key(SwitchId(0), 0xff00_0005);
    node.set_group(100, 10);
    let name = "eth7".into();
    node.set_interface(
        Lport(7),
        Interface {
            index: 70_000,
            name,
        },
    );
    node
}

fn sampled(probability: u16, point: u32) -> Sampled {
    Sampled {
        probability,
        set_id: 100,
        app: App::AclNew,
        app_id: 2,
        point,
    }
}

fn tcp() -> Packet {
    Packet::tcp(
        "10.0.0.1:40000".parse().unwrap(),
        "10.0.0.2:80".parse().unwrap(),
    )
}

/// The messages of a file of the lab, each behind its length.
fn recorded(name: &str) -> Vec<Vec<u8>> {
    let path = format!(
        "{}/../../lab/captures/vm/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    let bytes = std::fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut all = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let (message, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        all.push(message.to_vec());
        rest = after;
    }
    all
}

#[test]
fn messages_are_those_of_the_kernel() {
    let mut seen = 0;
    for name in ["psample1.bin", "psample2.bin"] {
        for theirs in recorded(name) {
            let Some(Ok(Netlink::Psample(message))) = messages(&theirs, None).next() else {
                panic!("{theirs:?}");
            };
            // The twin has no tunnels.
            if message.tunnel.is_some() {
                continue;
            }
            let cookie = Cookie::from_be_bytes(message.cookie.unwrap().try_into().unwrap());
            let mut node = Node::new(ZoneId(0), &Northbound::default());
            node.set_key(SwitchId(0), cookie.datapath());
            node.set_group(42, message.group.unwrap());
            let index = message.in_index.map_or(0, u32::from);
            let name = "".into();
            node.set_interface(Lport(1), Interface { index, name });
            let frame = message.data.unwrap();
            let mut packet = Packet::parse(frame).unwrap();
            packet.length = message.original_size.unwrap();
            let mut ours = Vec::new();
            Psample::new(message.family, |message: &mut Vec<u8>| {
                ours = message.clone()
            })
            .sample(&Taken {
                time: Timestamp(message.timestamp.unwrap() as i64),
                node: &node,
                inport: Lport(1),
                cookie,
                set_id: 42,
                probability: 65_535,
                packet: &packet,
                frame,
                dropped: false,
            });
            assert_eq!(ours, theirs);
            seen += 1;
        }
    }
    assert!(seen > 500, "{seen}");
}

#[test]
fn long_packets_are_cut_so_that_the_message_fits() {
    let frame = vec![0x45; 100_000];
    let node = node();
    for (inport, length, there) in [
        (Lport(7), 1_500, 1_500),
        (Lport(7), 65_456, 65_456),
        (Lport(7), 65_457, 65_455),
        (Lport(0), 65_464, 65_464),
        (Lport(0), 65_465, 65_463),
        (Lport(7), 100_000, 65_455),
    ] {
        let frame = &frame[..length];
        let packet = Packet {
            length: length as u32,
            ..Packet::default()
        };
        let mut bytes = Vec::new();
        Psample::new(16, |message: &mut Vec<u8>| bytes = message.clone()).sample(&Taken {
            time: NOW,
            node: &node,
            inport,
            cookie: Cookie::default(),
            set_id: 100,
            probability: 6_553,
            packet: &packet,
            frame,
            dropped: false,
        });
        let Some(Ok(Netlink::Psample(message))) = messages(&bytes, None).next() else {
            panic!("{length}");
        };
        assert_eq!(message.data.map(<[u8]>::len), Some(there), "{length}");
        assert_eq!(message.original_size, Some(length as u32));
        // The kernel's index has 16 bits here, and its probability is that of OpenFlow twice.
        assert_eq!(
            message.in_index,
            (inport.0 == 7).then_some(70_000_u32 as u16)
        );
        assert_eq!(message.rate, Some(429_463_961));
    }
}

#[test]
fn one_roll_of_the_dice_serves_all_sinks() {
    let mut kept = (0, 0);
    let psample = Psample::new(16, |_: &mut Vec<u8>| kept.0 += 1);
    let ipfix = Ipfix::new(|set_id, message: &[u8]| {
        assert_eq!(set_id, 100);
        kept.1 += u64::from(message[16] == 1 && message[17] == 24);
        true
    })
    .with_set(100, CacheOptions::default());
    let mut emitter = Emitter::new(vec![node()], 1, (psample, ipfix));
    for (probability, wanted) in [(0, 0..1), (65_535, 3_000..3_001), (6_553, 240..360)] {
        let before = emitter.taken;
        for _ in 0..3_000 {
            emitter.begin(NOW);
            emitter.enter(0, SwitchId(0), Lport(7));
            emitter.sample(IN, &tcp(), sampled(probability, 9));
            emitter.end(true);
        }
        assert!(
            wanted.contains(&(emitter.taken - before)),
            "{probability}: {}",
            emitter.taken
        );
    }
    // An unknown set, and an unknown zone.
    emitter.sample(
        IN,
        &tcp(),
        Sampled {
            set_id: 5,
            ..sampled(65_535, 9)
        },
    );
    emitter.end(false);
    emitter.enter(4, SwitchId(0), Lport(7));
    emitter.sample(IN, &tcp(), sampled(65_535, 9));
    emitter.end(true);
    let taken = emitter.taken;
    assert_eq!((emitter.met, emitter.homeless), (9_002, 1));
    let (psample, ipfix) = emitter.sink();
    assert_eq!((psample.unknown_sets, ipfix.unknown_sets), (1, 1));
    assert_eq!(psample.sent, taken - 2);
    assert_eq!(kept, (taken - 2, taken - 2));
}

#[test]
fn what_our_own_sources_get_says_where_it_was() {
    let mut seen = 0;
    let samples = Samples::new(|sample: &Sample<'_>| {
        seen += 1;
        assert_eq!(
            (sample.zone, sample.origin, sample.time),
            (ZoneId(3), Origin::Twin, NOW)
        );
        let cookie = Cookie {
            domain: 0x0200_0005,
            point: 9,
        };
        assert_eq!(sample.key, Key::Cookie(cookie));
        assert_eq!(sample.group, Some(10));
        assert_eq!(sample.input, netverdict_types::Input::Name("eth7"));
        assert_eq!(sample.headers.dst_port, Some(80));
        assert_eq!(sample.data.len() as u32, sample.length);
    });
    let mut emitter = Emitter::new(vec![node()], 1, samples);
    emitter.begin(NOW);
    emitter.enter(0, SwitchId(0), Lport(7));
    emitter.sample(IN, &tcp(), sampled(65_535, 9));
    emitter.end(true);
    drop(emitter);
    assert_eq!(seen, 1);
}

#[test]
fn keys_are_numbered_as_northd_does_it() {
    let mut northbound = Northbound::default();
    for requested_key in [None, Some(2), None, Some(16_711_683), None] {
        northbound.switches.push(Some(crate::northbound::Switch {
            requested_key,
            ..Default::default()
        }));
    }
    let node = Node::new(ZoneId(0), &northbound);
    let keys: Vec<_> = (0..6).map(|number| node.key(SwitchId(number))).collect();
    assert_eq!(keys, [1, 2, 3, 16_711_683, 4, 0]);
}

fn log<'a>(name: Option<&'a str>, meter: Option<&'a str>) -> Logged<'a> {
    Logged {
        name,
        action: Action::AllowRelated,
        severity: "info",
        meter,
    }
}

fn line_of(packet: &Packet, name: Option<&str>) -> String {
    let mut line = String::new();
    AclLog::new(Vec::new(), |text: &str| line = text.to_owned()).log(&Line {
        time: NOW,
        zone: 0,
        at: IN,
        packet,
        log: log(name, None),
    });
    line
}

#[test]
fn names_are_written_as_json() {
    let line = line_of(&tcp(), Some("a \"b\"\\\n\u{1}ü"));
    assert!(
        line.starts_with(
            "2026-11-23T02:16:20.123Z|00001|acl_log(ovn_pinctrl0)|INFO|name=\"a \\\"b\\\"\\\\\\n\\u0001ü\", \
             verdict=allow, severity=info, direction=from-lport: tcp,vlan_tci=0x0000,"
        ),
        "{line}"
    );
    let mut scratch = String::new();
    let read = acl_log::parse(line.as_bytes(), &mut scratch)
        .unwrap()
        .unwrap();
    assert_eq!(read.name, "a \"b\"\\\n\u{1}ü");
    assert!(line_of(&tcp(), None).contains("|name=\"<unnamed>\", "));
}

/// What ovn-controller logged in the lab, of the packets that the lines tell of.
#[test]
fn lines_are_those_of_ovn_controller() {
    let mut seen = 0;
    for file in ["acl-log1.txt", "acl-log2.txt"] {
        let path = format!(
            "{}/../../lab/captures/native/{file}",
            env!("CARGO_MANIFEST_DIR")
        );
        for theirs in std::fs::read_to_string(path).unwrap().lines() {
            let mut scratch = String::new();
            let read = acl_log::parse(theirs.as_bytes(), &mut scratch)
                .unwrap()
                .unwrap();
            let (before, flow) = theirs.rsplit_once(": ").unwrap();
            let packet = packet_of(flow);
            let sequence = before.split('|').nth(1).unwrap();
            let action = match read.verdict {
                netverdict_types::LogVerdict::Allow => Action::Allow,
                netverdict_types::LogVerdict::Drop => Action::Drop,
                netverdict_types::LogVerdict::Reject => Action::Reject,
                netverdict_types::LogVerdict::Pass => Action::Pass,
            };
            let egress = read.direction == netverdict_types::LogDirection::ToLport;
            let mut ours = String::new();
            AclLog::new(Vec::new(), |text: &str| ours = text.to_owned()).log(&Line {
                time: read.time.unwrap(),
                zone: 0,
                at: At {
                    switch: SwitchId(0),
                    stage: if egress {
                        Stage::OutAclAction
                    } else {
                        Stage::InAclAfterLbAction
                    },
                },
                packet: &packet,
                log: Logged {
                    name: Some(read.name).filter(|name| !name.is_empty()),
                    action,
                    severity: read.severity,
                    meter: None,
                },
            });
            assert_eq!(ours.replacen("00001", sequence, 1), theirs);
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}

/// A packet with the headers of a flow's text.
fn packet_of(flow: &str) -> Packet {
    let mut packet = Packet::default();
    let mut parts = flow.split(',');
    let kind = parts.next().unwrap();
    packet.protocol = match kind.trim_end_matches('6') {
        "tcp" => 6,
        "udp" => 17,
        "icmp" if kind.ends_with('6') => 58,
        "icmp" => 1,
        other => panic!("{other}"),
    };
    let (mut src, mut dst, mut ports, mut flags, mut icmp) = (None, None, [0u16; 2], 0, [0u8; 2]);
    let mac = |text: &str| {
        let bytes = text
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).unwrap());
        <[u8; 6]>::try_from(bytes.collect::<Vec<_>>()).unwrap()
    };
    for part in parts {
        let (key, value) = part.split_once('=').unwrap();
        let number = || value.parse::<u32>().unwrap();
        match key {
            "dl_src" => packet.eth_src = mac(value),
            "dl_dst" => packet.eth_dst = mac(value),
            "nw_src" | "ipv6_src" => src = Some(value.parse::<IpAddr>().unwrap()),
            "nw_dst" | "ipv6_dst" => dst = Some(value.parse::<IpAddr>().unwrap()),
            "ipv6_label" => packet.flow_label = u32::from_str_radix(&value[2..], 16).unwrap(),
            "nw_tos" | "nw_ecn" => packet.tos |= number() as u8,
            "nw_ttl" => packet.ttl = number() as u8,
            "tp_src" => ports[0] = number() as u16,
            "tp_dst" => ports[1] = number() as u16,
            "icmp_type" => icmp[0] = number() as u8,
            "icmp_code" => icmp[1] = number() as u8,
            "tcp_flags" => {
                let names = ["fin", "syn", "rst", "psh", "ack"];
                let bits = value
                    .split('|')
                    .filter_map(|name| names.iter().position(|n| *n == name));
                flags = bits.fold(0, |flags, bit| flags | 1 << bit);
            }
            "vlan_tci" | "nw_frag" => {}
            other => panic!("{other}"),
        }
    }
    packet.ip = src.zip(dst);
    let [src, dst] = ports;
    packet.l4 = match packet.protocol {
        6 => L4::Tcp { src, dst, flags },
        17 => L4::Udp { src, dst },
        _ => L4::Icmp {
            kind: icmp[0],
            code: icmp[1],
            id: 0,
            target: None,
            link: None,
        },
    };
    packet
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let l4 = prop_oneof![
        any::<(u16, u16, u16)>().prop_map(|(src, dst, flags)| {
            let flags = flags & 0xfff;
            (6u8, L4::Tcp { src, dst, flags })
        }),
        any::<(u16, u16)>().prop_map(|(src, dst)| (17, L4::Udp { src, dst })),
        any::<(u16, u16)>().prop_map(|(src, dst)| (132, L4::Sctp { src, dst, chunk: 1 })),
        any::<(u8, u8, u16, [u8; 16], [u8; 6])>().prop_map(|(kind, code, id, target, link)| {
            let nd = matches!(kind, 135 | 136) && code == 0;
            (
                1,
                L4::Icmp {
                    kind,
                    code,
                    id,
                    target: nd.then(|| Ipv6Addr::from(target)),
                    link: nd.then_some(link),
                },
            )
        }),
        any::<([u8; 16], [u8; 6])>().prop_map(|(target, link)| {
            (
                1,
                L4::Icmp {
                    kind: 135,
                    code: 0,
                    id: 0,
                    target: Some(target.into()),
                    link: Some(link),
                },
            )
        }),
        Just((47, L4::Other)),
        Just((2, L4::Other)),
    ];
    let arp =
        any::<(u8, [u8; 6], [u8; 4], [u8; 6], [u8; 4])>().prop_map(|(op, sha, spa, tha, tpa)| {
            L4::Arp {
                op: u16::from(op).max(1),
                sha,
                spa: spa.into(),
                tha,
                tpa: tpa.into(),
            }
        });
    (
        any::<([u8; 6], [u8; 6])>(),
        prop::option::of(0u16..0x1000),
        any::<([u8; 16], [u8; 16])>(),
        0u8..5,
        l4,
        arp,
        any::<(u8, u8)>(),
        0u32..0x10_0000,
    )
        .prop_map(
            |(macs, vlan, addresses, kind, (protocol, l4), arp, (tos, ttl), flow_label)| {
                let base = Packet {
                    eth_src: macs.0,
                    eth_dst: macs.1,
                    vlan_tci: vlan.map_or(0, |vlan| vlan | 0x3000),
                    ..Packet::default()
                };
                if kind == 4 {
                    return Packet {
                        eth_type: 0x0806,
                        l4: arp,
                        ..base
                    };
                }
                let v6 = kind % 2 == 1;
                let address = |bytes: [u8; 16]| match v6 {
                    false => IpAddr::from(*bytes.first_chunk::<4>().unwrap()),
                    true => IpAddr::from(bytes),
                };
                let protocol = if v6 && protocol == 1 { 58 } else { protocol };
                let l4 = match l4 {
                    L4::Icmp { kind, code, .. } if !v6 => L4::Icmp {
                        kind,
                        code,
                        id: 0,
                        target: None,
                        link: None,
                    },
                    other => other,
                };
                Packet {
                    eth_type: if v6 { 0x86dd } else { 0x0800 },
                    ip: Some((address(addresses.0), address(addresses.1))),
                    protocol,
                    l4,
                    tos,
                    ttl,
                    flow_label: if v6 { flow_label } else { 0 },
                    ..base
                }
            },
        )
}

/// Open vSwitch writes the flow of each packet that we write to a file; we write the same of what we read from it.
#[test]
fn flows_are_written_as_open_vswitch_writes_them() {
    let required = std::env::var_os("NETVERDICT_REQUIRE_OVSDB").is_some_and(|value| value == "1");
    if Command::new("ovs-ofctl").arg("--version").output().is_err() {
        assert!(!required, "ovs-ofctl does not run");
        return;
    }
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let frames: Vec<Vec<u8>> = (0..2_000)
        .map(|_| {
            use proptest::strategy::ValueTree;
            let packet = any_packet().new_tree(&mut runner).unwrap().current();
            let mut frame = Vec::new();
            packet.write(&mut frame);
            frame
        })
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    // A capture in the old form, which Open vSwitch reads.
    let words = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1];
    let mut capture: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    for frame in &frames {
        let length = frame.len() as u32;
        capture.extend(
            [1, 0, length, length]
                .into_iter()
                .flat_map(u32::to_le_bytes),
        );
        capture.extend(frame);
    }
    std::fs::write(file.path(), capture).unwrap();
    let output = Command::new("ovs-ofctl")
        .arg("parse-pcap")
        .arg(file.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let theirs: Vec<_> = text
        .lines()
        .map(|line| line.replacen("in_port=ANY,", "", 1))
        .collect();
    assert_eq!(theirs.len(), frames.len());
    for (frame, theirs) in frames.iter().zip(&theirs) {
        let packet = Packet::parse(frame).unwrap();
        // The packet has no type of IGMP.
        if packet.number(Field::IpProto) != 2 || packet.ip.is_some_and(|(src, _)| src.is_ipv6()) {
            assert_eq!(&FlowText(&packet).to_string(), theirs, "{packet:?}");
        }
    }
    for word in [
        "tcp,", "tcp6,", "udp,", "udp6,", "sctp,", "sctp6,", "icmp,", "icmp6,", "ip,", "ipv6,",
        "arp,",
    ] {
        let count = theirs.iter().filter(|line| line.starts_with(word)).count();
        assert!(count >= 20, "{word} {count}");
    }
    for part in ["nd_target=", "dl_vlan="] {
        assert!(
            theirs.iter().filter(|line| line.contains(part)).count() >= 20,
            "{part}"
        );
    }
}

#[test]
fn meters_let_a_burst_through_and_then_their_rate() {
    let meter = |rate, burst, packets, fair| Meter {
        rate,
        burst,
        packets,
        fair,
    };
    let meters = [
        ("plain".to_owned(), meter(10, 0, true, false)),
        ("burst".to_owned(), meter(10, 3, true, false)),
        ("fair".to_owned(), meter(2, 0, true, true)),
        ("bits".to_owned(), meter(8, 0, false, false)),
    ];
    let mut log_sink = AclLog::new(vec![meters.into_iter().collect()], |_: &str| {});
    let mut passed = |meter: &str, millis: i64, length: u32| {
        let before = log_sink.written;
        let packet = Packet { length, ..tcp() };
        log_sink.log(&Line {
            time: NOW.after(millis * 1_000_000),
            zone: 0,
            at: IN,
            packet: &packet,
            log: log(Some("name"), Some(meter)),
        });
        log_sink.written > before
    };
    let mut count = |meter: &str, times: std::ops::Range<i64>| {
        times.filter(|at| passed(meter, *at, 100)).count()
    };
    // A second's worth at once, then one each 100 ms.
    assert_eq!(count("plain", 0..1), 1);
    assert_eq!((0..20).filter(|_| count("plain", 0..1) == 1).count(), 9);
    assert_eq!(count("plain", 1..1_001), 10);
    assert_eq!((0..20).filter(|_| count("burst", 0..1) == 1).count(), 3);
    // Idle for long, it holds no more than a burst.
    assert_eq!(
        (0..20)
            .filter(|_| count("burst", 90_000..90_001) == 1)
            .count(),
        3
    );
    // Each ACL has its own bucket.
    for acl in ["fair__0a", "fair__0b"] {
        assert_eq!((0..5).filter(|_| count(acl, 0..1) == 1).count(), 2, "{acl}");
    }
    // A name that only looks like one of a fair meter, and one that is not there.
    for unmetered in ["plain__0a", "none"] {
        assert_eq!((0..50).filter(|_| count(unmetered, 0..1) == 1).count(), 50);
    }
    // 8 kbit hold ten packets of 100 bytes.
    assert_eq!((0..20).filter(|_| count("bits", 0..1) == 1).count(), 10);
    assert_eq!(log_sink.suppressed, 11 + 990 + 17 + 17 + 6 + 10);
}

proptest! {
    /// Whatever comes when: in any time no more passes than a burst and the rate for as long.
    #[test]
    fn meters_hold_their_rate(rate in 1u32..50, burst in 0u32..20, waits in prop::collection::vec(0i64..200, 1..300)) {
        let meter = Meter { rate, burst, packets: true, fair: false };
        let mut times = Vec::new();
        let mut now = 0;
        let meters = vec![[("m".to_owned(), meter)].into_iter().collect()];
        let mut sink = AclLog::new(meters, |_: &str| {});
        for wait in waits {
            now += wait;
            let before = sink.written;
            let time = NOW.after(now * 1_000_000);
            sink.log(&Line { time, zone: 0, at: IN, packet: &tcp(), log: log(None, Some("m")) });
            if sink.written > before {
                times.push(now);
            }
        }
        let most = u64::from(if burst == 0 { rate } else { burst });
        for (first, start) in times.iter().enumerate() {
            for (last, end) in times.iter().enumerate().skip(first) {
                let passed = (last - first + 1) as u64;
                prop_assert!(passed * 1_000 <= most * 1_000 + (end - start) as u64 * u64::from(rate));
            }
        }
        prop_assert!(times.first() == Some(&times[0]));
    }

    /// Every line is read back as what was written.
    #[test]
    fn lines_are_read_back(packet in any_packet(), name in "\\PC*") {
        let line = line_of(&packet, Some(&name).filter(|name| !name.is_empty()).map(String::as_str));
        let mut scratch = String::new();
        let read = acl_log::parse(line.as_bytes(), &mut scratch).unwrap().unwrap();
        prop_assert_eq!(read.name, &name);
        prop_assert_eq!(read.time, Some(Timestamp(NOW.0 / 1_000_000 * 1_000_000)));
        prop_assert_eq!(read.headers.eth_src, Some(packet.eth_src));
        if let Some((src, dst)) = packet.ip {
            prop_assert_eq!((read.headers.src, read.headers.dst), (Some(src), Some(dst)));
            prop_assert_eq!(read.headers.protocol, Some(packet.protocol));
        }
        if let L4::Tcp { src, dst, .. } | L4::Udp { src, dst } | L4::Sctp { src, dst, .. } = packet.l4 {
            prop_assert_eq!((read.headers.src_port, read.headers.dst_port), (Some(src), Some(dst)));
        }
    }

    /// The kernel's reader gets back what was emitted.
    #[test]
    fn messages_are_read_back(packet in any_packet(), point in any::<u32>(), probability in 1u16.., family in 16u16..) {
        let mut bytes = Vec::new();
        let psample = Psample::new(family, |message: &mut Vec<u8>| bytes = message.clone());
        let mut emitter = Emitter::new(vec![node()], u64::from(point), psample);
        emitter.begin(NOW);
        emitter.enter(0, SwitchId(0), Lport(7));
        while emitter.taken == 0 {
            emitter.sample(IN, &packet, sampled(probability, point));
        }
        emitter.end(true);
        drop(emitter);
        let mut frame = Vec::new();
        packet.write(&mut frame);
        let Some(Ok(Netlink::Psample(message))) = messages(&bytes, Some(family)).next() else {
            panic!("{bytes:?}");
        };
        prop_assert_eq!(message.classify(&[10]), Ok(()));
        prop_assert_eq!(message.data, Some(frame.as_slice()));
        let sample = message.sample(Timestamp(0), ZoneId(3));
        prop_assert_eq!(sample.key, Key::Cookie(Cookie { domain: 0x0200_0005, point }));
        prop_assert_eq!((sample.time, sample.probability), (NOW, Probability::from_u16(probability)));
        let mut again = Vec::new();
        encode(&Message { ..message }, &mut again);
        prop_assert_eq!(again, bytes);
    }
}
