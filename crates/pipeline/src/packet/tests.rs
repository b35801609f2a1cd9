use netverdict_wire::headers::parse_frame;
use proptest::prelude::*;

use super::*;

fn address(v6: bool) -> BoxedStrategy<IpAddr> {
    if v6 {
        any::<u128>()
            .prop_map(|bits| Ipv6Addr::from(bits).into())
            .boxed()
    } else {
        any::<u32>()
            .prop_map(|bits| Ipv4Addr::from(bits).into())
            .boxed()
    }
}

fn l4(v6: bool) -> BoxedStrategy<(u8, L4)> {
    let icmp_protocol = if v6 { protocol::ICMPV6 } else { protocol::ICMP };
    let query = prop::sample::select(if v6 {
        vec![128, 129]
    } else {
        vec![0, 8, 13, 14, 15, 16]
    });
    let other = any::<u8>().prop_filter("known", move |&number| {
        !protocol::is_known(v6, number) && (!v6 || !read::is_extension(number))
    });
    let mut all = vec![
        (any::<u16>(), any::<u16>(), 0..0x1000_u16)
            .prop_map(|(src, dst, flags)| (protocol::TCP, L4::Tcp { src, dst, flags }))
            .boxed(),
        (any::<u16>(), any::<u16>())
            .prop_map(|(src, dst)| (protocol::UDP, L4::Udp { src, dst }))
            .boxed(),
        (any::<u16>(), any::<u16>(), any::<u8>())
            .prop_map(|(src, dst, chunk)| (protocol::SCTP, L4::Sctp { src, dst, chunk }))
            .boxed(),
        (query, any::<u8>(), any::<u16>())
            .prop_map(move |(kind, code, id)| (icmp_protocol, icmp(kind, code, id)))
            .boxed(),
        (50..100_u8, any::<u8>())
            .prop_map(move |(kind, code)| (icmp_protocol, icmp(kind, code, 0)))
            .boxed(),
        other.prop_map(|number| (number, L4::Other)).boxed(),
    ];
    if v6 {
        all.push(
            (
                prop::bool::ANY,
                any::<u128>(),
                prop::option::of(any::<[u8; 6]>()),
            )
                .prop_map(|(advert, target, link)| {
                    let l4 = L4::Icmp {
                        kind: if advert { ND_ADVERT } else { ND_SOLICIT },
                        code: 0,
                        id: 0,
                        target: Some(target.into()),
                        link,
                    };
                    (protocol::ICMPV6, l4)
                })
                .boxed(),
        );
    }
    prop::strategy::Union::new(all).boxed()
}

fn ip_packet() -> impl Strategy<Value = Packet> {
    any::<bool>().prop_flat_map(|v6| {
        (
            (address(v6), address(v6), l4(v6)),
            (any::<u8>(), any::<u8>(), 0..0x10_0000_u32),
            (0..3_u8, any::<u32>(), 0..1400_u32),
        )
            .prop_map(
                move |((src, dst, (protocol, l4)), (tos, ttl, label), rest)| {
                    let (fragment, id, payload) = rest;
                    let later = fragment == 2;
                    let mut packet = Packet::ip(src, dst, protocol, l4);
                    packet.tos = tos;
                    packet.ttl = ttl;
                    packet.flow_label = if v6 { label } else { 0 };
                    packet.fragment = [0, 1, 3][usize::from(fragment)];
                    packet.ip_id = match v6 {
                        false => id & 0xffff,
                        true if packet.fragment == 0 => 0,
                        true => id,
                    };
                    if later {
                        packet.l4 = L4::Other;
                        if v6 {
                            packet.protocol = protocol::FRAGMENT;
                        }
                    }
                    // What follows a header of SCTP is a chunk.
                    let whole = !matches!(
                        packet.l4,
                        L4::Sctp {
                            chunk: sctp::NONE,
                            ..
                        }
                    );
                    packet.with_payload(if whole { payload } else { 0 })
                },
            )
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    let error = (
        ip_packet(),
        prop::sample::select(vec![1_u8, 3, 4, 11, 12]),
        any::<u8>(),
    )
        .prop_map(|(about, kind, code)| {
            let (src, dst) = about.ip.unwrap();
            let kind = if src.is_ipv6() {
                1 + kind % 4
            } else {
                kind.max(3)
            };
            let number = if src.is_ipv6() {
                protocol::ICMPV6
            } else {
                protocol::ICMP
            };
            let mut packet = Packet::ip(dst, src, number, icmp(kind, code, 0));
            packet.about = about.tuple();
            // Without one, what lies there is none.
            if packet.about.is_some() {
                packet.with_payload(0)
            } else {
                packet
            }
        });
    let arp = (
        any::<u8>(),
        any::<[u8; 6]>(),
        any::<[u8; 6]>(),
        any::<[u32; 2]>(),
    )
        .prop_map(|(op, sha, tha, [spa, tpa])| {
            let mut packet = Packet::arp_request(sha, spa.into(), tpa.into());
            packet.l4 = L4::Arp {
                op: op.into(),
                sha,
                spa: spa.into(),
                tha,
                tpa: tpa.into(),
            };
            packet.with_payload(18)
        });
    let other = (0x9000..0x9800_u16, 0..100_u32).prop_map(|(eth_type, payload)| {
        let packet = Packet {
            eth_type,
            ..Packet::default()
        };
        packet.with_payload(payload)
    });
    (
        prop_oneof![8 => ip_packet(), 2 => error, 1 => arp, 1 => other],
        any::<([u8; 6], [u8; 6])>(),
        prop::option::weighted(0.3, any::<u16>()),
    )
        .prop_map(|(packet, (src, dst), tag)| {
            let payload = packet.length - packet.shortest().length;
            let mut packet = packet.between(src, dst);
            packet.vlan_tci = tag.map_or(0, |tci| tci | VLAN_PRESENT);
            packet.with_payload(payload)
        })
}

fn bytes(packet: &Packet) -> Vec<u8> {
    let mut frame = Vec::new();
    packet.write(&mut frame);
    frame
}

proptest! {
    #[test]
    fn what_is_written_is_read(packet in packet()) {
        let frame = bytes(&packet);
        prop_assert_eq!(Packet::parse(&frame), Ok(packet));
        prop_assert_eq!(frame.len(), packet.length as usize);
    }

    #[test]
    fn the_other_reader_of_headers_agrees(packet in packet()) {
        let headers = parse_frame(&bytes(&packet));
        prop_assert_eq!(headers.eth_src, Some(packet.eth_src));
        prop_assert_eq!(headers.src, packet.ip.map(|(src, _)| src));
        prop_assert_eq!(headers.dst, packet.ip.map(|(_, dst)| dst));
        prop_assert_eq!(headers.later_fragment, packet.is_later_fragment());
        let ports = match packet.l4 {
            L4::Tcp { src, dst, .. } | L4::Udp { src, dst } | L4::Sctp { src, dst, .. } => Some((src, dst)),
            _ => None,
        };
        prop_assert_eq!(headers.src_port.zip(headers.dst_port), ports);
        // It takes ICMP of either version in either IP.
        if let Some(icmp) = headers.icmp.filter(|_| packet.l4 != L4::Other) {
            let is = matches!(packet.l4, L4::Icmp { kind, code, .. } if (kind, code) == (icmp.kind, icmp.code));
            prop_assert!(is);
        }
    }

    #[test]
    fn any_bytes_are_read_and_settle(mut frame in prop::collection::vec(any::<u8>(), 0..200), kind in 0..4) {
        let header: &[u8] = match kind {
            0 => &[],
            1 => &[8, 0, 0x45],
            2 => &[0x86, 0xdd, 0x60],
            _ => &[0x81, 0, 0, 1, 0x86, 0xdd, 0x60],
        };
        for (to, from) in frame.iter_mut().skip(12).zip(header) {
            *to = *from;
        }
        if let Ok(packet) = Packet::parse(&frame) {
            let written = Packet::parse(&bytes(&packet)).unwrap();
            let settled = Packet::parse(&bytes(&written)).unwrap();
            prop_assert_eq!(Packet::parse(&bytes(&settled)), Ok(settled));
        }
    }

    #[test]
    fn a_reply_of_a_reply_is_the_original(packet in ip_packet()) {
        let ends = |packet: &Packet| (packet.eth_src, packet.eth_dst, packet.tuple());
        if packet.tuple().is_some() {
            prop_assert_eq!(ends(&packet.reply().reply()), ends(&packet));
            prop_assert_eq!(packet.reply().tuple(), packet.tuple().map(|tuple| tuple.reply()));
        }
    }

    #[test]
    fn a_reject_is_about_its_packet(packet in packet()) {
        if let Some(answer) = packet.reset_or_unreachable() {
            prop_assert_eq!(answer.ip, packet.ip.map(|(src, dst)| (dst, src)));
            match answer.l4 {
                L4::Icmp { .. } => prop_assert_eq!(answer.about, packet.tuple()),
                _ => prop_assert_eq!(answer.tuple(), packet.tuple().map(|tuple| tuple.reply())),
            }
            let frame = bytes(&answer);
            prop_assert_eq!(Packet::parse(&frame).map(|read| read.about), Ok(answer.about));
            prop_assert_eq!(answer.reset_or_unreachable(), None);
        }
    }
}

#[test]
fn checksums_are_right() {
    let tcp = Packet::tcp(
        "10.0.0.1:1000".parse().unwrap(),
        "10.0.0.2:80".parse().unwrap(),
    );
    let frame = bytes(&tcp.with_payload(3));
    assert_eq!(frame[24..26], [0x66, 0xcb]);
    for packet in [
        tcp.with_payload(3),
        Packet::udp(
            "[fd00::1]:53".parse().unwrap(),
            "[fd00::2]:53".parse().unwrap(),
        ),
        Packet::icmp_echo("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap(), 7),
        Packet::icmp_echo("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap(), 7),
    ] {
        let read = etherparse_sum(&bytes(&packet));
        assert_eq!(read, Ok(()), "{packet:?}");
    }
}

/// The sum over pseudo-header and segment with its checksum in it is all ones (RFC 1071).
fn etherparse_sum(frame: &[u8]) -> Result<(), u64> {
    let v4 = frame[12..14] == [8, 0];
    let (addresses, protocol, segment) = if v4 {
        (&frame[26..34], frame[23], &frame[34..])
    } else {
        (&frame[22..54], frame[20], &frame[54..])
    };
    let pseudo = if v4 && protocol == 1 {
        0
    } else {
        words(addresses) + u64::from(protocol) + segment.len() as u64
    };
    let mut sum = pseudo + words(segment);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    if sum == 0xffff { Ok(()) } else { Err(sum) }
}

fn words(bytes: &[u8]) -> u64 {
    bytes
        .chunks(2)
        .map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)))
        .sum()
}

#[test]
fn a_frame_that_was_cut_keeps_its_length() {
    let whole = Packet::udp("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap())
        .with_payload(1000);
    assert_eq!(Packet::parse(&bytes(&whole)[..60]), Ok(whole));
    assert_eq!(Packet::parse(&[0; 13]), Err(PacketError::TooShort(13)));
}

#[test]
fn what_ovn_does_not_answer() {
    let tcp = Packet::tcp(
        "10.0.0.1:1000".parse().unwrap(),
        "10.0.0.2:80".parse().unwrap(),
    );
    assert_eq!(
        tcp.with_tcp_flags(tcp::RST | tcp::ACK)
            .reset_or_unreachable(),
        None
    );
    let unreachable = Packet::udp("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap())
        .reset_or_unreachable()
        .unwrap();
    assert!(matches!(
        unreachable.l4,
        L4::Icmp {
            kind: 3,
            code: 3,
            ..
        }
    ));
    assert_eq!(unreachable.length, 14 + 20 + 8 + 28);
    assert_eq!(unreachable.reset_or_unreachable(), None);
    assert_eq!(
        Packet::arp_request([1; 6], [10, 0, 0, 1].into(), [10, 0, 0, 2].into())
            .reset_or_unreachable(),
        None
    );
}

#[test]
fn fields_are_what_matches_read() {
    let packet = Packet {
        tos: 0xb9,
        vlan_tci: 0x1005,
        fragment: 1,
        ..Packet::tcp(
            "10.0.0.1:1000".parse().unwrap(),
            "10.0.0.2:80".parse().unwrap(),
        )
    }
    .between([0, 1, 2, 3, 4, 5], [0xff; 6]);
    let expected = [
        (Field::EthSrc, 0x0001_0203_0405),
        (Field::EthType, 0x800),
        (Field::VlanTci, 0x1005),
        (Field::IpDscp, 46),
        (Field::IpEcn, 1),
        (Field::IpTtl, 64),
        (Field::IpFrag, 1),
        (Field::Ip4Src, 0x0a00_0001),
        (Field::Ip6Src, 0),
        (Field::TcpDst, 80),
        (Field::TcpFlags, 2),
        (Field::UdpDst, 0),
        (Field::Icmp4Type, 0),
    ];
    for (field, value) in expected {
        assert_eq!(packet.number(field), value, "{field:?}");
    }
}
