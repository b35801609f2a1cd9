//! The header parser against etherparse, and on what etherparse would refuse.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::IpAddr;

use etherparse::{
    Icmpv4Type, Icmpv6Type, LaxNetSlice, LaxSlicedPacket, PacketBuilder, TransportSlice,
};
use netverdict_types::{Headers, IcmpKind, TcpFlags};
use netverdict_wire::headers::{parse_frame, parse_ip};
use proptest::prelude::*;

/// What etherparse says about a frame, in our words.
fn oracle(frame: &[u8]) -> Option<Headers> {
    let packet = LaxSlicedPacket::from_ethernet(frame).ok()?;
    let mut headers = Headers::default();
    if let Some(etherparse::LinkSlice::Ethernet2(eth)) = &packet.link {
        headers.eth_src = Some(eth.source());
        headers.eth_dst = Some(eth.destination());
        headers.ethertype = Some(eth.ether_type().0);
    }
    for tag in &packet.link_exts {
        if let etherparse::LaxLinkExtSlice::Vlan(vlan) = tag {
            headers.vlan = headers.vlan.or(Some(vlan.vlan_identifier().value()));
            headers.ethertype = Some(vlan.ether_type().0);
        }
    }
    match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            headers.src = Some(IpAddr::V4(header.source_addr()));
            headers.dst = Some(IpAddr::V4(header.destination_addr()));
            headers.ttl = Some(header.ttl());
            headers.ip_id = Some(header.identification());
            headers.protocol = Some(header.protocol().0);
            headers.later_fragment = header.fragments_offset().value() != 0;
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            headers.src = Some(IpAddr::V6(header.source_addr()));
            headers.dst = Some(IpAddr::V6(header.destination_addr()));
            headers.ttl = Some(header.hop_limit());
            headers.protocol = Some(ip.payload().ip_number.0);
        }
        _ => {}
    }
    match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            headers.src_port = Some(tcp.source_port());
            headers.dst_port = Some(tcp.destination_port());
            headers.tcp_seq = Some(tcp.sequence_number());
            headers.tcp_flags = Some(TcpFlags(tcp.slice()[13]));
        }
        Some(TransportSlice::Udp(udp)) => {
            headers.src_port = Some(udp.source_port());
            headers.dst_port = Some(udp.destination_port());
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            headers.icmp = Some(IcmpKind {
                kind: icmp.type_u8(),
                code: icmp.code_u8(),
            });
            headers.icmp_id = match icmp.icmp_type() {
                Icmpv4Type::EchoRequest(echo) | Icmpv4Type::EchoReply(echo) => Some(echo.id),
                _ => None,
            };
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            headers.icmp = Some(IcmpKind {
                kind: icmp.type_u8(),
                code: icmp.code_u8(),
            });
            headers.icmp_id = match icmp.icmp_type() {
                Icmpv6Type::EchoRequest(echo) | Icmpv6Type::EchoReply(echo) => Some(echo.id),
                _ => None,
            };
        }
        _ => {}
    }
    Some(headers)
}

#[derive(Clone, Debug)]
enum L4 {
    Tcp(u16, u16, u32, u8),
    Udp(u16, u16),
    Echo(bool, u16, u16),
    Other(u8),
}

#[derive(Clone, Debug)]
struct Packet {
    macs: ([u8; 6], [u8; 6]),
    vlans: Vec<u16>,
    v4: Option<([u8; 4], [u8; 4], u8, u16)>,
    v6: ([u8; 16], [u8; 16], u8),
    l4: L4,
    payload: Vec<u8>,
}

fn packet() -> impl Strategy<Value = Packet> {
    let l4 = prop_oneof![
        any::<(u16, u16, u32, u8)>().prop_map(|(a, b, c, d)| L4::Tcp(a, b, c, d)),
        any::<(u16, u16)>().prop_map(|(a, b)| L4::Udp(a, b)),
        any::<(bool, u16, u16)>().prop_map(|(a, b, c)| L4::Echo(a, b, c)),
        prop::sample::select(vec![2u8, 47, 50, 112, 132]).prop_map(L4::Other),
    ];
    (
        any::<([u8; 6], [u8; 6])>(),
        prop::collection::vec(0u16..4096, 0..3),
        any::<Option<([u8; 4], [u8; 4], u8, u16)>>(),
        any::<([u8; 16], [u8; 16], u8)>(),
        l4,
        prop::collection::vec(any::<u8>(), 8..64),
    )
        .prop_map(|(macs, vlans, v4, v6, l4, payload)| Packet {
            macs,
            vlans,
            v4,
            v6,
            l4,
            payload,
        })
}

fn build(packet: &Packet) -> Vec<u8> {
    use etherparse::{
        EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, SingleVlanHeader, VlanId,
    };
    let mut l4 = Vec::new();
    let v6 = packet.v4.is_none();
    let number = match packet.l4 {
        L4::Tcp(src, dst, seq, flags) => {
            let mut tcp = etherparse::TcpHeader::new(src, dst, seq, 100);
            tcp.window_size = 7;
            let mut bytes = tcp.to_bytes().to_vec();
            bytes[13] = flags;
            l4.extend(bytes);
            6
        }
        L4::Udp(src, dst) => {
            l4.extend(src.to_be_bytes());
            l4.extend(dst.to_be_bytes());
            l4.extend((8 + packet.payload.len() as u16).to_be_bytes());
            l4.extend([0, 0]);
            17
        }
        L4::Echo(reply, id, seq) => {
            let kind = match (v6, reply) {
                (false, false) => 8,
                (false, true) => 0,
                (true, false) => 128,
                (true, true) => 129,
            };
            l4.extend([kind, 0, 0, 0]);
            l4.extend(id.to_be_bytes());
            l4.extend(seq.to_be_bytes());
            if v6 { 58 } else { 1 }
        }
        L4::Other(number) => number,
    };
    l4.extend(&packet.payload);
    let inner = if v6 { 0x86dd } else { 0x0800 };
    let mut out = Ethernet2Header {
        source: packet.macs.0,
        destination: packet.macs.1,
        ether_type: EtherType(if packet.vlans.is_empty() {
            inner
        } else {
            0x8100
        }),
    }
    .to_bytes()
    .to_vec();
    for (index, id) in packet.vlans.iter().enumerate() {
        let last = index + 1 == packet.vlans.len();
        out.extend(
            SingleVlanHeader {
                pcp: etherparse::VlanPcp::ZERO,
                drop_eligible_indicator: false,
                vlan_id: VlanId::try_new(*id).unwrap(),
                ether_type: EtherType(if last { inner } else { 0x8100 }),
            }
            .to_bytes(),
        );
    }
    if let Some((src, dst, ttl, id)) = packet.v4 {
        let mut ip = Ipv4Header::new(l4.len() as u16, ttl, IpNumber(number), src, dst).unwrap();
        ip.identification = id;
        out.extend(ip.to_bytes());
    } else {
        out.extend(
            Ipv6Header {
                payload_length: l4.len() as u16,
                next_header: IpNumber(number),
                hop_limit: packet.v6.2,
                source: packet.v6.0,
                destination: packet.v6.1,
                ..Ipv6Header::default()
            }
            .to_bytes(),
        );
    }
    out.extend(l4);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn agrees_with_etherparse(packet in packet()) {
        let frame = build(&packet);
        let mut ours = parse_frame(&frame);
        let theirs = oracle(&frame).unwrap();
        if ours.protocol == Some(132) {
            // etherparse does not know SCTP.
            prop_assert_eq!(ours.src_port, Some(u16::from_be_bytes([packet.payload[0], packet.payload[1]])));
            prop_assert_eq!(ours.dst_port, Some(u16::from_be_bytes([packet.payload[2], packet.payload[3]])));
            (ours.src_port, ours.dst_port) = (None, None);
        }
        prop_assert_eq!(ours, theirs);
    }

    /// A cut frame says the same as the whole one, or nothing, and nothing once lost comes back.
    #[test]
    fn a_cut_only_hides_fields(packet in packet()) {
        let frame = build(&packet);
        let whole = parse_frame(&frame);
        let mut seen_before = 0;
        for length in 0..=frame.len() {
            let cut = parse_frame(&frame[..length]);
            let seen = fields(&cut).iter().zip(fields(&whole)).filter(|(cut, whole)| {
                assert!(cut.is_none() || **cut == *whole, "{cut:?} of {whole:?} at {length}");
                cut.is_some()
            }).count();
            prop_assert!(seen >= seen_before);
            seen_before = seen;
        }
        prop_assert_eq!(parse_frame(&frame), whole);
    }

    #[test]
    fn padding_changes_nothing(packet in packet(), padding in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut frame = build(&packet);
        let bare = parse_frame(&frame);
        frame.extend(padding);
        prop_assert_eq!(parse_frame(&frame), bare);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in any::<bool>()) {
        let mut frame = vec![0; 12];
        frame.extend(if kind { [0x08, 0x00] } else { [0x86, 0xdd] });
        frame.extend(&bytes);
        parse_frame(&frame);
        parse_frame(&bytes);
        parse_ip(&bytes);
    }
}

/// All optional fields as text, so that they compare one by one.
fn fields(headers: &Headers) -> Vec<Option<String>> {
    fn text<T: std::fmt::Debug>(field: Option<T>) -> Option<String> {
        field.map(|value| format!("{value:?}"))
    }
    vec![
        text(headers.eth_src),
        text(headers.eth_dst),
        text(headers.ethertype),
        text(headers.vlan),
        text(headers.src),
        text(headers.dst),
        text(headers.protocol),
        text(headers.ttl),
        text(headers.ip_id),
        text(headers.src_port),
        text(headers.dst_port),
        text(headers.tcp_flags),
        text(headers.tcp_seq),
        text(headers.icmp),
        text(headers.icmp_id),
    ]
}

#[test]
fn extension_headers_lead_to_the_ports() {
    let chain = [
        (0u8, vec![43u8, 0, 1, 4, 0, 0, 0, 0]),
        (43, vec![60, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (60, vec![51, 0, 1, 4, 0, 0, 0, 0]),
        (
            51,
            vec![
                44, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
            ],
        ),
        (44, vec![17, 0, 0, 1, 0, 0, 0, 9]),
    ];
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, chain[0].0, 64];
    packet.extend([0xfd; 16]);
    packet.extend([0xfe; 16]);
    for (_, bytes) in &chain {
        packet.extend(bytes);
    }
    packet.extend([0x12, 0x34, 0x00, 0x35, 0, 8, 0, 0]);
    let headers = parse_ip(&packet);
    assert_eq!(headers.protocol, Some(17));
    assert_eq!(
        (headers.src_port, headers.dst_port),
        (Some(0x1234), Some(53))
    );
    assert!(!headers.later_fragment);

    let offset = packet.len() - 8 - 8 + 2;
    packet[offset] = 0x10;
    let later = parse_ip(&packet);
    assert!(later.later_fragment);
    assert_eq!((later.protocol, later.src_port), (Some(17), None));
}

#[test]
fn a_later_fragment_of_ipv4_has_no_ports() {
    let builder = PacketBuilder::ethernet2([1; 6], [2; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(1000, 2000);
    let mut frame = Vec::new();
    builder.write(&mut frame, &[0; 32]).unwrap();
    assert_eq!(parse_frame(&frame).dst_port, Some(2000));
    frame[14 + 7] = 1;
    let headers = parse_frame(&frame);
    assert!(headers.later_fragment);
    assert_eq!((headers.protocol, headers.dst_port), (Some(17), None));
}

#[test]
fn an_802_3_length_is_no_ethertype() {
    let mut frame = vec![1; 12];
    frame.extend([0, 4, 0x42, 0x42, 3, 0]);
    assert_eq!(parse_frame(&frame).ethertype, None);
    assert_eq!(parse_frame(&[]), Headers::default());
}
