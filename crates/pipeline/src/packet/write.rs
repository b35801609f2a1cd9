//! From headers to bytes.

use std::net::{IpAddr, Ipv6Addr};

use super::read::is_extension;
use super::{
    ETH_IPV4, ETH_IPV6, ETH_NONE, ETH_VLAN, L4, ND_ADVERT, ND_SOLICIT, Packet, Tuple, answer_of,
    is_icmp_error, protocol, sctp,
};

/// How many bytes come before IP or what stands in its place.
pub(super) fn l2_length(packet: &Packet) -> u32 {
    if packet.vlan_tci == 0 { 14 } else { 18 }
}

/// How many bytes of a frame are headers.
pub(super) fn headers_length(packet: &Packet) -> u32 {
    let ip = match packet.ip {
        None => 0,
        Some((IpAddr::V4(_), _)) => 20,
        Some((IpAddr::V6(_), _)) if packet.fragment != 0 => 48,
        Some((IpAddr::V6(_), _)) => 40,
    };
    let l4 = match packet.l4 {
        L4::Arp { .. } => 28,
        _ if ip == 0 || packet.is_later_fragment() => 0,
        L4::Other => 0,
        L4::Tcp { .. } => 20,
        L4::Udp { .. } => 8,
        L4::Sctp { chunk, .. } => 12 + chunk_length(chunk),
        L4::Icmp { target, link, .. } => {
            let discovery = match (target, link) {
                (None, _) => 0,
                (Some(_), None) => 16,
                (Some(_), Some(_)) => 24,
            };
            8 + discovery + inner_of(packet).map_or(0, |about| inner_length(&about))
        }
    };
    l2_length(packet) + ip + l4
}

pub(super) fn frame(packet: &Packet, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend(packet.eth_dst);
    out.extend(packet.eth_src);
    if packet.vlan_tci != 0 {
        out.extend(ETH_VLAN.to_be_bytes());
        out.extend(packet.vlan_tci.to_be_bytes());
    }
    let l2 = l2_length(packet);
    let most = if packet.ip.is_some() {
        l2 + 65_535
    } else {
        u32::MAX
    };
    let length = packet.length.max(headers_length(packet)).min(most);
    let body = length - l2;
    let eth_type = match packet.ip {
        Some((IpAddr::V4(_), _)) => ETH_IPV4,
        Some((IpAddr::V6(_), _)) => ETH_IPV6,
        None if packet.eth_type <= ETH_NONE => u16::try_from(body).unwrap_or(0).min(1500),
        None => packet.eth_type,
    };
    out.extend(eth_type.to_be_bytes());
    let ip = out.len();
    let end = start + length as usize;
    match packet.ip {
        Some((src, dst)) => {
            ip_header(packet, src, dst, body, out);
            let l4 = out.len();
            if !packet.is_later_fragment() {
                layer4(packet, out);
            }
            fill(packet, end, out);
            if !packet.is_later_fragment() {
                checksum_layer4(packet, src, dst, &mut out[l4..]);
            }
            if src.is_ipv4() {
                let sum = checksum(0, &out[ip..ip + 20]);
                put(&mut out[ip..], 10, sum);
            }
        }
        None => {
            if let L4::Arp {
                op,
                sha,
                spa,
                tha,
                tpa,
            } = packet.l4
            {
                out.extend([0, 1, 8, 0, 6, 4]);
                out.extend(op.to_be_bytes());
                out.extend(sha);
                out.extend(spa.octets());
                out.extend(tha);
                out.extend(tpa.octets());
            }
            fill(packet, end, out);
        }
    }
}

/// A payload that is always the same. Behind neighbour discovery it must not look like options.
fn fill(packet: &Packet, end: usize, out: &mut Vec<u8>) {
    let zero = matches!(
        packet.l4,
        L4::Icmp {
            kind: ND_SOLICIT | ND_ADVERT,
            ..
        }
    );
    let missing = end.saturating_sub(out.len());
    out.extend((0..missing).map(|place| if zero { 0 } else { place as u8 }));
}

fn ip_header(packet: &Packet, src: IpAddr, dst: IpAddr, body: u32, out: &mut Vec<u8>) {
    let later = packet.is_later_fragment();
    match src {
        IpAddr::V4(src) => {
            let dst = match dst {
                IpAddr::V4(dst) => dst,
                IpAddr::V6(dst) => dst.to_ipv4_mapped().unwrap_or([0; 4].into()),
            };
            // The second 1480 bytes of its packet, if it is not the first fragment.
            let offset: u16 = match packet.fragment {
                0 => 0,
                _ if later => 185,
                _ => 0x2000,
            };
            out.extend([0x45, packet.tos]);
            out.extend((body as u16).to_be_bytes());
            out.extend((packet.ip_id as u16).to_be_bytes());
            out.extend(offset.to_be_bytes());
            out.extend([packet.ttl, packet.protocol, 0, 0]);
            out.extend(src.octets());
            out.extend(dst.octets());
        }
        IpAddr::V6(src) => {
            let protocol = match packet.protocol {
                unfit if is_extension(unfit) => 59,
                protocol => protocol,
            };
            let first = 6 << 28 | u32::from(packet.tos) << 20 | packet.flow_label & 0xf_ffff;
            out.extend(first.to_be_bytes());
            out.extend((body.saturating_sub(40) as u16).to_be_bytes());
            let next = if packet.fragment == 0 {
                protocol
            } else {
                protocol::FRAGMENT
            };
            out.extend([next, packet.ttl]);
            out.extend(src.octets());
            out.extend(v6(dst).octets());
            if packet.fragment != 0 {
                let offset: u16 = if later { 185 << 3 } else { 1 };
                out.extend([protocol, 0]);
                out.extend(offset.to_be_bytes());
                out.extend(packet.ip_id.to_be_bytes());
            }
        }
    }
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn layer4(packet: &Packet, out: &mut Vec<u8>) {
    match packet.l4 {
        L4::Tcp { src, dst, flags } => tcp(src, dst, flags, out),
        L4::Udp { src, dst } => udp(src, dst, out),
        L4::Sctp { src, dst, chunk } => {
            out.extend(src.to_be_bytes());
            out.extend(dst.to_be_bytes());
            // An INIT has verification tag 0, anything else one that is not.
            out.extend(u32::from(chunk != sctp::INIT).to_be_bytes());
            out.extend([0; 4]);
            let length = chunk_length(chunk);
            if length > 0 {
                out.extend([chunk, 0]);
                out.extend((length as u16).to_be_bytes());
            }
            if chunk == sctp::INIT {
                // Initiate tag, window, streams and first number.
                out.extend([0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
            } else {
                out.extend((4..length).map(|_| 0));
            }
        }
        L4::Icmp {
            kind,
            code,
            id,
            target,
            link,
        } => {
            out.extend([kind, code, 0, 0]);
            out.extend(id.to_be_bytes());
            out.extend([0, 0]);
            if let Some(target) = target {
                out.extend(target.octets());
                if let Some(link) = link {
                    out.extend([if kind == ND_SOLICIT { 1 } else { 2 }, 1]);
                    out.extend(link);
                }
            }
            if let Some(about) = inner_of(packet) {
                inner(&about, out);
            }
        }
        L4::Other | L4::Arp { .. } => {}
    }
}

fn tcp(src: u16, dst: u16, flags: u16, out: &mut Vec<u8>) {
    out.extend(src.to_be_bytes());
    out.extend(dst.to_be_bytes());
    out.extend([0, 0, 0, 1, 0, 0, 0, 0]);
    out.extend((5 << 12 | flags & 0xfff).to_be_bytes());
    out.extend([0xff, 0xff, 0, 0, 0, 0]);
}

fn udp(src: u16, dst: u16, out: &mut Vec<u8>) {
    out.extend(src.to_be_bytes());
    out.extend(dst.to_be_bytes());
    out.extend([0, 8, 0, 0]);
}

/// The least length of a chunk (RFC 9260 section 3.3).
fn chunk_length(chunk: u8) -> u32 {
    match chunk {
        sctp::NONE => 0,
        0..=3 => 20,
        7 => 8,
        _ => 4,
    }
}

/// The packet that an error is about, as far as it can be written: of the same family.
fn inner_of(packet: &Packet) -> Option<Tuple> {
    let L4::Icmp { kind, .. } = packet.l4 else {
        return None;
    };
    let (outer, _) = packet.ip?;
    packet.about.filter(|about| {
        is_icmp_error(packet.protocol, kind) && about.src.is_ipv4() == outer.is_ipv4()
    })
}

fn inner_length(about: &Tuple) -> u32 {
    let ip = if about.src.is_ipv4() { 20 } else { 40 };
    ip + match about.protocol {
        protocol::TCP => 20,
        protocol::SCTP => 12,
        _ => 8,
    }
}

fn inner(about: &Tuple, out: &mut Vec<u8>) {
    let ip = out.len();
    let shown = Packet {
        ip: Some((about.src, about.dst)),
        protocol: about.protocol,
        ttl: 63,
        ..Packet::default()
    };
    ip_header(&shown, about.src, about.dst, inner_length(about), out);
    if about.src.is_ipv4() {
        let sum = checksum(0, &out[ip..]);
        put(&mut out[ip..], 10, sum);
    }
    let [kind, code] = about.dst_port.to_be_bytes();
    match about.protocol {
        protocol::TCP => tcp(about.src_port, about.dst_port, super::tcp::ACK, out),
        protocol::UDP => udp(about.src_port, about.dst_port, out),
        protocol::SCTP => {
            out.extend(about.src_port.to_be_bytes());
            out.extend(about.dst_port.to_be_bytes());
            out.extend([0, 0, 0, 1, 0, 0, 0, 0]);
        }
        protocol if answer_of(protocol, kind).is_some() => {
            out.extend([kind, code, 0, 0]);
            out.extend(about.src_port.to_be_bytes());
            out.extend([0, 0]);
        }
        _ => out.extend([0; 8]),
    }
}

fn checksum_layer4(packet: &Packet, src: IpAddr, dst: IpAddr, segment: &mut [u8]) {
    let length = segment.len() as u32;
    let place = match packet.l4 {
        L4::Tcp { .. } => 16,
        L4::Udp { .. } => {
            put(segment, 4, length as u16);
            6
        }
        L4::Icmp { .. } => 2,
        L4::Sctp { .. } => {
            let sum = crc32c(segment).to_le_bytes();
            if let Some(place) = segment.get_mut(8..12) {
                place.copy_from_slice(&sum);
            }
            return;
        }
        L4::Other | L4::Arp { .. } => return,
    };
    let pseudo = match (src, dst) {
        (IpAddr::V4(_), _) if place == 2 => 0,
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            add(0, &src.octets()) + add(0, &dst.octets()) + u32::from(packet.protocol) + length
        }
        _ => {
            add(0, &v6(src).octets())
                + add(0, &v6(dst).octets())
                + u32::from(packet.protocol)
                + length
        }
    };
    let sum = match checksum(pseudo, segment) {
        // No checksum would be 0.
        0 if place == 6 => 0xffff,
        sum => sum,
    };
    put(segment, place, sum);
}

fn put(bytes: &mut [u8], place: usize, value: u16) {
    if let Some(place) = bytes.get_mut(place..place + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

fn add(sum: u32, bytes: &[u8]) -> u32 {
    let (pairs, last) = bytes.as_chunks::<2>();
    let sum = pairs
        .iter()
        .fold(sum, |sum, &pair| sum + u32::from(u16::from_be_bytes(pair)));
    last.iter()
        .fold(sum, |sum, &byte| sum + (u32::from(byte) << 8))
}

/// The checksum of the Internet (RFC 1071), which lies in bytes that are 0 now.
fn checksum(start: u32, bytes: &[u8]) -> u16 {
    let mut sum = u64::from(start) + u64::from(add(0, bytes));
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// RFC 9260 appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 0 { 0 } else { 0x82f6_3b78 }
        })
    })
}
