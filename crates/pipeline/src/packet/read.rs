//! From bytes to headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    ETH_ARP, ETH_IPV4, ETH_IPV6, ETH_NONE, ETH_QINQ, ETH_RARP, ETH_VLAN, FRAGMENT_ANY,
    FRAGMENT_LATER, L4, ND_ADVERT, ND_SOLICIT, Packet, PacketError, Tuple, VLAN_PRESENT, answer_of,
    is_icmp_error, protocol, sctp,
};

pub(super) fn frame(frame: &[u8]) -> Result<Packet, PacketError> {
    let mut rest = Bytes(frame);
    let (Some(eth_dst), Some(eth_src), Some(mut eth_type)) = (rest.take(), rest.take(), rest.u16())
    else {
        return Err(PacketError::TooShort(frame.len()));
    };
    let mut vlan_tci = 0;
    if matches!(eth_type, ETH_VLAN | ETH_QINQ)
        && let Some([tci_high, tci_low, type_high, type_low]) = rest.take()
    {
        vlan_tci = u16::from_be_bytes([tci_high, tci_low]) | VLAN_PRESENT;
        eth_type = u16::from_be_bytes([type_high, type_low]);
    }
    if eth_type < 0x600 {
        eth_type = snap(&mut rest).unwrap_or(ETH_NONE);
    }
    let mut packet = Packet {
        eth_src,
        eth_dst,
        vlan_tci,
        eth_type,
        length: u32::try_from(frame.len()).unwrap_or(u32::MAX),
        ..Packet::default()
    };
    let before = rest.0.len();
    let stated = match eth_type {
        ETH_IPV4 => ipv4(rest, &mut packet),
        ETH_IPV6 => ipv6(rest, &mut packet),
        ETH_ARP | ETH_RARP => {
            packet.l4 = arp(rest).unwrap_or_default();
            None
        }
        _ => None,
    };
    // A frame may have been captured in part only.
    if let Some(stated) = stated {
        let whole = (frame.len() - before).saturating_add(stated);
        packet.length = packet.length.max(u32::try_from(whole).unwrap_or(u32::MAX));
    }
    Ok(packet)
}

/// IEEE 802.3 with the header that names an ethertype after all.
fn snap(rest: &mut Bytes<'_>) -> Option<u16> {
    let header: [u8; 8] = *rest.0.first_chunk()?;
    let eth_type = u16::from_be_bytes([header[6], header[7]]);
    let named = header[..6] == [0xaa, 0xaa, 3, 0, 0, 0];
    if named {
        rest.skip(8);
    }
    (named && eth_type >= 0x600).then_some(eth_type)
}

/// Reads what follows a header of IPv4, and tells how long it says to be.
fn ipv4(mut rest: Bytes<'_>, packet: &mut Packet) -> Option<usize> {
    let whole = rest;
    let header: [u8; 20] = rest.take()?;
    let header_length = usize::from(header[0] & 0xf) * 4;
    if header[0] >> 4 != 4 || header_length < 20 {
        return None;
    }
    let stated = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let offset = u16::from_be_bytes([header[6], header[7]]);
    packet.tos = header[1];
    packet.ip_id = u16::from_be_bytes([header[4], header[5]]).into();
    packet.ttl = header[8];
    packet.protocol = header[9];
    packet.ip = Some((
        Ipv4Addr::new(header[12], header[13], header[14], header[15]).into(),
        Ipv4Addr::new(header[16], header[17], header[18], header[19]).into(),
    ));
    if offset & 0x3fff != 0 {
        packet.fragment = FRAGMENT_ANY;
    }
    if offset & 0x1fff != 0 {
        packet.fragment |= FRAGMENT_LATER;
    } else if stated >= header_length {
        let end = stated.min(whole.0.len());
        let payload = whole.0.get(header_length..end).unwrap_or_default();
        layer4(Bytes(payload), packet);
    }
    Some(stated)
}

fn ipv6(mut rest: Bytes<'_>, packet: &mut Packet) -> Option<usize> {
    let header: [u8; 40] = rest.take()?;
    let first = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    if first >> 28 != 6 {
        return None;
    }
    let stated = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let (src, dst) = (address(&header, 8), address(&header, 24));
    packet.tos = (first >> 20) as u8;
    packet.flow_label = first & 0xf_ffff;
    packet.ttl = header[7];
    packet.ip = Some((src.into(), dst.into()));
    packet.protocol = header[6];
    rest.cut(stated);
    while is_extension(packet.protocol) {
        let Some(&[next, length, offset_high, offset_low, id @ ..]) = rest.0.first_chunk::<8>()
        else {
            return Some(stated + 40);
        };
        let length = match packet.protocol {
            protocol::FRAGMENT => {
                let offset = u16::from_be_bytes([offset_high, offset_low]);
                if offset != 0 {
                    packet.fragment = FRAGMENT_ANY;
                    packet.ip_id = u32::from_be_bytes(id);
                }
                if offset & 0xfff8 != 0 {
                    packet.fragment |= FRAGMENT_LATER;
                    return Some(stated + 40);
                }
                8
            }
            51 => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        packet.protocol = next;
        rest.skip(length);
    }
    layer4(rest, packet);
    Some(stated + 40)
}

pub(super) fn is_extension(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | protocol::FRAGMENT | 51 | 60)
}

fn layer4(mut rest: Bytes<'_>, packet: &mut Packet) {
    let v6 = packet.eth_type == ETH_IPV6;
    packet.l4 = match packet.protocol {
        protocol::TCP => match rest.take() {
            Some(header) => tcp(header),
            None => L4::Other,
        },
        protocol::UDP => match rest.take() {
            Some([a, b, c, d, _, _, _, _]) => L4::Udp {
                src: u16::from_be_bytes([a, b]),
                dst: u16::from_be_bytes([c, d]),
            },
            None => L4::Other,
        },
        protocol::SCTP => match rest.take() {
            Some([a, b, c, d, _, _, _, _, _, _, _, _]) => L4::Sctp {
                src: u16::from_be_bytes([a, b]),
                dst: u16::from_be_bytes([c, d]),
                chunk: match rest.0 {
                    [chunk, _, _, _, ..] => *chunk,
                    _ => sctp::NONE,
                },
            },
            None => L4::Other,
        },
        protocol::ICMP if !v6 => icmp(rest, packet),
        protocol::ICMPV6 if v6 => icmp(rest, packet),
        _ => L4::Other,
    };
}

fn tcp(header: [u8; 20]) -> L4 {
    L4::Tcp {
        src: u16::from_be_bytes([header[0], header[1]]),
        dst: u16::from_be_bytes([header[2], header[3]]),
        flags: u16::from_be_bytes([header[12], header[13]]) & 0xfff,
    }
}

fn icmp(mut rest: Bytes<'_>, packet: &mut Packet) -> L4 {
    let Some([kind, code, _, _, id_high, id_low, _, _]) = rest.take() else {
        return L4::Other;
    };
    let v6 = packet.eth_type == ETH_IPV6;
    let id = match answer_of(packet.protocol, kind) {
        Some(_) => u16::from_be_bytes([id_high, id_low]),
        None => 0,
    };
    if is_icmp_error(packet.protocol, kind) {
        packet.about = if v6 { about6(rest) } else { about4(rest) };
    }
    let (target, link) = match kind {
        ND_SOLICIT | ND_ADVERT if v6 && code == 0 => neighbour(kind, rest),
        _ => (None, None),
    };
    L4::Icmp {
        kind,
        code,
        id,
        target,
        link,
    }
}

/// Target and link-layer address of neighbour discovery; an option that comes twice makes both void.
fn neighbour(kind: u8, mut rest: Bytes<'_>) -> (Option<Ipv6Addr>, Option<[u8; 6]>) {
    let Some(target) = rest.take::<16>().map(Ipv6Addr::from) else {
        return (None, None);
    };
    let wanted = if kind == ND_SOLICIT { 1 } else { 2 };
    let mut found: [Option<[u8; 6]>; 2] = [None, None];
    while let Some(&[option, length, a, b, c, d, e, f]) = rest.0.first_chunk::<8>() {
        let bytes = usize::from(length) * 8;
        if bytes == 0 || bytes > rest.0.len() {
            break;
        }
        if let (1 | 2, 1) = (option, length) {
            let place = &mut found[usize::from(option) - 1];
            if place.is_some_and(|link| link != [0; 6]) {
                return (None, None);
            }
            *place = Some([a, b, c, d, e, f]);
        }
        rest.skip(bytes);
    }
    (Some(target), found[wanted - 1])
}

fn about4(mut rest: Bytes<'_>) -> Option<Tuple> {
    let whole = rest;
    let header: [u8; 20] = rest.take()?;
    let header_length = usize::from(header[0] & 0xf) * 4;
    let offset = u16::from_be_bytes([header[6], header[7]]);
    if header[0] >> 4 != 4 || header_length < 20 || offset & 0x1fff != 0 {
        return None;
    }
    let src = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
    let dst = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
    let payload = Bytes(whole.0.get(header_length..)?);
    inner(header[9], src.into(), dst.into(), payload)
}

fn about6(mut rest: Bytes<'_>) -> Option<Tuple> {
    let header: [u8; 40] = rest.take()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let mut next = header[6];
    while is_extension(next) {
        let &[following, length, offset_high, offset_low, ..] = rest.0.first_chunk::<8>()?;
        let length = match next {
            protocol::FRAGMENT => {
                if u16::from_be_bytes([offset_high, offset_low]) & 0xfff8 != 0 {
                    return None;
                }
                8
            }
            51 => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        next = following;
        rest.skip(length);
    }
    inner(
        next,
        address(&header, 8).into(),
        address(&header, 24).into(),
        rest,
    )
}

fn inner(protocol: u8, src: IpAddr, dst: IpAddr, mut payload: Bytes<'_>) -> Option<Tuple> {
    let v6 = src.is_ipv6();
    let (src_port, dst_port) = match protocol {
        known if !protocol::is_known(v6, known) => (0, 0),
        protocol::ICMP | protocol::ICMPV6 => {
            let [kind, code, _, _, high, low, _, _] = payload.take()?;
            answer_of(protocol, kind)?;
            (
                u16::from_be_bytes([high, low]),
                u16::from_be_bytes([kind, code]),
            )
        }
        _ => {
            let [a, b, c, d, _, _, _, _] = payload.take()?;
            (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
        }
    };
    Some(Tuple {
        protocol,
        src,
        dst,
        src_port,
        dst_port,
    })
}

fn arp(mut rest: Bytes<'_>) -> Option<L4> {
    if rest.take()? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let op = rest.u16()?;
    Some(L4::Arp {
        // Open vSwitch keeps no other operations.
        op: if op > 0xff { 0 } else { op },
        sha: rest.take()?,
        spa: rest.take::<4>()?.into(),
        tha: rest.take()?,
        tpa: rest.take::<4>()?.into(),
    })
}

fn address(header: &[u8; 40], place: usize) -> Ipv6Addr {
    let mut bytes = [0; 16];
    for (byte, from) in bytes.iter_mut().zip(header.iter().skip(place)) {
        *byte = *from;
    }
    bytes.into()
}

/// What is left to read.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn skip(&mut self, bytes: usize) {
        self.0 = self.0.get(bytes..).unwrap_or_default();
    }

    fn cut(&mut self, bytes: usize) {
        self.0 = self.0.get(..bytes).unwrap_or(self.0);
    }
}
