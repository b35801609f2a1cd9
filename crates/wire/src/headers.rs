//! Packet headers: from the bytes of a frame, as far as they were captured, to [`Headers`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netverdict_types::{Headers, IcmpKind, TcpFlags};

/// Reads the headers of an Ethernet frame of any length, 0 included.
///
/// Fields that were cut off stay `None`. Bytes past the end that the IP header states (Ethernet
/// padding) are not read. IPv6 extension headers are passed over as Open vSwitch does it, so
/// that protocol and ports are those that its flows match on: hop-by-hop, routing, destination
/// options, authentication and fragment (RFC 8200 section 4); any other is the protocol.
pub fn parse_frame(frame: &[u8]) -> Headers {
    let mut headers = Headers {
        eth_dst: at(frame, 0),
        eth_src: at(frame, 6),
        ..Headers::default()
    };
    let mut place = 12;
    let ethertype = loop {
        let Some(value) = u16_at(frame, place) else {
            return headers;
        };
        if !VLAN_TAGS.contains(&value) {
            break value;
        }
        if headers.vlan.is_none() {
            headers.vlan = u16_at(frame, place + 2).map(|tag| tag & 0x0fff);
        }
        place += 4;
    };
    if ethertype < FIRST_ETHERTYPE {
        return headers;
    }
    headers.ethertype = Some(ethertype);
    let rest = frame.get(place + 2..).unwrap_or_default();
    match ethertype {
        ETHERTYPE_IPV4 => ipv4(rest, &mut headers),
        ETHERTYPE_IPV6 => ipv6(rest, &mut headers),
        _ => {}
    }
    headers
}

/// Reads the headers of an IPv4 or IPv6 packet without layer 2, as far as it was captured.
pub fn parse_ip(packet: &[u8]) -> Headers {
    let mut headers = Headers::default();
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => {
            headers.ethertype = Some(ETHERTYPE_IPV4);
            ipv4(packet, &mut headers);
        }
        Some(6) => {
            headers.ethertype = Some(ETHERTYPE_IPV6);
            ipv6(packet, &mut headers);
        }
        _ => {}
    }
    headers
}

/// Ethertype of IPv4.
pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethertype of IPv6.
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;

fn ipv4(packet: &[u8], headers: &mut Headers) {
    let Some(&first) = packet.first() else {
        return;
    };
    let header_length = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header_length < 20 {
        return;
    }
    headers.ip_id = u16_at(packet, 4);
    headers.ttl = packet.get(8).copied();
    headers.protocol = packet.get(9).copied();
    headers.src = at(packet, 12).map(|bytes: [u8; 4]| IpAddr::V4(Ipv4Addr::from(bytes)));
    headers.dst = at(packet, 16).map(|bytes: [u8; 4]| IpAddr::V4(Ipv4Addr::from(bytes)));
    let fragment = u16_at(packet, 6).unwrap_or_default();
    headers.later_fragment = fragment & 0x1fff != 0;
    if headers.later_fragment {
        return;
    }
    let Some(protocol) = headers.protocol else {
        return;
    };
    // A length of 0 stands for a packet too long for the field (segmentation offload).
    let stated = u16_at(packet, 2).map_or(0, usize::from);
    let end = match stated {
        short if short < header_length => packet.len(),
        length => length.min(packet.len()),
    };
    if let Some(payload) = packet.get(header_length..end) {
        layer4(protocol, payload, headers);
    }
}

fn ipv6(packet: &[u8], headers: &mut Headers) {
    if packet.first().is_none_or(|byte| byte >> 4 != 6) {
        return;
    }
    headers.ttl = packet.get(7).copied();
    headers.src = at(packet, 8).map(|bytes: [u8; 16]| IpAddr::V6(Ipv6Addr::from(bytes)));
    headers.dst = at(packet, 24).map(|bytes: [u8; 16]| IpAddr::V6(Ipv6Addr::from(bytes)));
    let Some(mut next) = packet.get(6).copied() else {
        return;
    };
    // A length of 0 stands for a jumbogram or segmentation offload.
    let end = match u16_at(packet, 4).map_or(0, usize::from) {
        0 => packet.len(),
        length => packet.len().min(length + 40),
    };
    let Some(mut rest) = packet.get(40..end) else {
        headers.protocol = (!is_extension(next)).then_some(next);
        return;
    };
    while is_extension(next) {
        let Some(&following) = rest.first() else {
            return;
        };
        let length = match next {
            EXTENSION_FRAGMENT => {
                if u16_at(rest, 2).is_some_and(|offset| offset & 0xfff8 != 0) {
                    headers.later_fragment = true;
                    headers.protocol = Some(following);
                    return;
                }
                8
            }
            EXTENSION_AUTHENTICATION => (length_byte(rest) + 2) * 4,
            _ => (length_byte(rest) + 1) * 8,
        };
        next = following;
        rest = rest.get(length..).unwrap_or_default();
    }
    headers.protocol = Some(next);
    layer4(next, rest, headers);
}

fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        0 | 43 | EXTENSION_FRAGMENT | EXTENSION_AUTHENTICATION | 60
    )
}

fn length_byte(extension: &[u8]) -> usize {
    extension.get(1).copied().map_or(0, usize::from)
}

fn layer4(protocol: u8, segment: &[u8], headers: &mut Headers) {
    match protocol {
        TCP | UDP | SCTP => {
            headers.src_port = u16_at(segment, 0);
            headers.dst_port = u16_at(segment, 2);
            if protocol == TCP {
                headers.tcp_seq = at(segment, 4).map(u32::from_be_bytes);
                headers.tcp_flags = segment.get(13).copied().map(TcpFlags);
            }
        }
        ICMP | ICMPV6 => {
            let Some([kind, code]) = at(segment, 0) else {
                return;
            };
            headers.icmp = Some(IcmpKind { kind, code });
            let echo = if protocol == ICMP {
                matches!(kind, 0 | 8)
            } else {
                matches!(kind, 128 | 129)
            };
            if echo {
                headers.icmp_id = u16_at(segment, 4);
            }
        }
        _ => {}
    }
}

fn at<const N: usize>(bytes: &[u8], place: usize) -> Option<[u8; N]> {
    bytes.get(place..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], place: usize) -> Option<u16> {
    at(bytes, place).map(u16::from_be_bytes)
}

const VLAN_TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// Below it the field is the length of an IEEE 802.3 frame.
const FIRST_ETHERTYPE: u16 = 0x0600;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const EXTENSION_FRAGMENT: u8 = 44;
const EXTENSION_AUTHENTICATION: u8 = 51;
