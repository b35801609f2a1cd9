//! What the programs write, as `bpf/*.bpf.c` and `bpf/packet.h` lay it out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netverdict_types::{Cookie, Headers, IcmpKind, Probability, TcpFlags};

use super::WallClock;
use crate::{Conntrack, Event, Heading, Tuple};

/// Bytes of `struct key` and `struct value` of samples.
pub(crate) const EVENT_KEY: usize = 72;
pub(crate) const EVENT_VALUE: usize = 160;
/// The same, of flows.
pub(crate) const FLOW_KEY: usize = 56;
pub(crate) const FLOW_VALUE: usize = 48;

/// Sampled packets of one flow with one cookie.
#[derive(Debug)]
pub(crate) struct Sampled {
    pub(crate) headers: Headers,
    pub(crate) cookie: Cookie,
    pub(crate) group: u32,
    pub(crate) probability: Probability,
    pub(crate) input: u32,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) length: u32,
    pub(crate) event: Event,
}

/// Packets of one flow at one interface.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) namespace: u32,
    pub(crate) interface: u32,
    pub(crate) heading: Heading,
    pub(crate) headers: Headers,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// Reads one entry; `None` if it is too short.
pub(crate) fn sampled(key: &[u8], value: &[u8], clock: WallClock) -> Option<Sampled> {
    let (mut key, mut value) = (Fields(key), Fields(value));
    let mut headers = key.flow()?;
    let group = key.u32()?;
    let cookie = Cookie::from_be_bytes(key.bytes()?);
    let rate = key.u32()?;
    let input = key.u32()?;
    let zone = key.u16()?;
    let about = key.u8()?;
    let [packets, bytes, doubles, first, last] = value.numbers()?;
    let tcp_flags = value.u32()?;
    let length = value.u32()?;
    value.finish_headers(&mut headers, tcp_flags)?;
    let mark = value.u32()?;
    let label = u128::from_ne_bytes(value.bytes()?);
    let conntrack = (about & ABOUT_CONNTRACK != 0).then_some((value.tuple()?, value.tuple()?));
    Some(Sampled {
        headers,
        cookie,
        group,
        probability: match about & ABOUT_PROBABILITY {
            0 => Probability::from_ratio(rate),
            _ => Probability(rate),
        },
        input,
        packets,
        bytes,
        length,
        event: Event {
            first: clock.at(first),
            last: clock.at(last),
            doubles,
            conntrack: conntrack.map(|(original, reply)| Conntrack {
                original,
                reply,
                is_reply: about & ABOUT_REPLY != 0,
                is_new: about & ABOUT_NEW != 0,
                zone,
                mark,
                label,
            }),
        },
    })
}

/// Reads one entry; `None` if it is too short.
pub(crate) fn passed(key: &[u8], value: &[u8]) -> Option<Passed> {
    let (mut key, mut value) = (Fields(key), Fields(value));
    let mut headers = key.flow()?;
    let namespace = key.u32()?;
    let interface = key.u32()?;
    let heading = match key.u32()? {
        0 => Heading::In,
        _ => Heading::Out,
    };
    let [packets, bytes, first, last] = value.numbers()?;
    let tcp_flags = value.u32()?;
    value.finish_headers(&mut headers, tcp_flags)?;
    Some(Passed {
        namespace,
        interface,
        heading,
        headers,
        packets,
        bytes,
        first,
        last,
    })
}

/// The rest of a structure in this machine's byte order.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u8(&mut self) -> Option<u8> {
        self.bytes().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_ne_bytes)
    }

    fn numbers<const N: usize>(&mut self) -> Option<[u64; N]> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = self.bytes().map(u64::from_ne_bytes)?;
        }
        Some(numbers)
    }

    /// `struct flow`.
    fn flow(&mut self) -> Option<Headers> {
        let (src, dst) = (self.bytes()?, self.bytes()?);
        let ports = [self.u16()?, self.u16()?];
        let ethertype = self.u16()?;
        let vlan = self.u16()?;
        let protocol = self.u8()?;
        let known = self.u8()?;
        let _zero = self.u16()?;
        let has = |bit: u8| known & bit != 0;
        let is_ipv4 = ethertype == ETHERTYPE_IPV4;
        let ends = has(KNOWN_ADDRESSES).then(|| (address(src, is_ipv4), address(dst, is_ipv4)));
        let [kind, code] = ports[0].to_be_bytes();
        Some(Headers {
            ethertype: (ethertype >= FIRST_ETHERTYPE).then_some(ethertype),
            vlan: has(KNOWN_VLAN).then_some(vlan),
            src: ends.map(|(src, _)| src),
            dst: ends.map(|(_, dst)| dst),
            protocol: has(KNOWN_PROTOCOL).then_some(protocol),
            later_fragment: has(KNOWN_LATER_FRAGMENT),
            src_port: has(KNOWN_PORTS).then_some(ports[0]),
            dst_port: has(KNOWN_PORTS).then_some(ports[1]),
            tcp_flags: has(KNOWN_TCP_FLAGS).then_some(TcpFlags(0)),
            icmp: has(KNOWN_ICMP).then_some(IcmpKind { kind, code }),
            icmp_id: has(KNOWN_ECHO).then_some(ports[1]),
            ..Headers::default()
        })
    }

    /// Adds what is not part of the key: `struct ends`, and the flags.
    fn finish_headers(&mut self, headers: &mut Headers, tcp_flags: u32) -> Option<()> {
        headers.eth_dst = Some(self.bytes()?);
        headers.eth_src = Some(self.bytes()?);
        if let Some(flags) = &mut headers.tcp_flags {
            *flags = TcpFlags(tcp_flags as u8);
        }
        Some(())
    }

    /// `struct tuple`.
    fn tuple(&mut self) -> Option<Tuple> {
        let (src, dst) = (self.bytes()?, self.bytes()?);
        let (src_port, dst_port) = (self.u16()?, self.u16()?);
        let is_ipv4 = self.u16()? == FAMILY_IPV4;
        let protocol = self.u8()?;
        let _zero = self.u8()?;
        Some(Tuple {
            src: address(src, is_ipv4),
            dst: address(dst, is_ipv4),
            src_port,
            dst_port,
            protocol,
        })
    }
}

fn address(bytes: [u8; 16], is_ipv4: bool) -> IpAddr {
    let [a, b, c, d, ..] = bytes;
    match is_ipv4 {
        true => Ipv4Addr::new(a, b, c, d).into(),
        false => Ipv6Addr::from(bytes).into(),
    }
}

const ABOUT_CONNTRACK: u8 = 1;
const ABOUT_REPLY: u8 = 2;
const ABOUT_NEW: u8 = 4;
const ABOUT_PROBABILITY: u8 = 8;

const KNOWN_ADDRESSES: u8 = 1;
const KNOWN_PROTOCOL: u8 = 2;
const KNOWN_PORTS: u8 = 4;
const KNOWN_LATER_FRAGMENT: u8 = 8;
const KNOWN_ICMP: u8 = 16;
const KNOWN_ECHO: u8 = 32;
const KNOWN_VLAN: u8 = 64;
const KNOWN_TCP_FLAGS: u8 = 128;

const ETHERTYPE_IPV4: u16 = 0x0800;
/// Below it the field is the length of an IEEE 802.3 frame.
const FIRST_ETHERTYPE: u16 = 0x0600;
/// NFPROTO_IPV4 (linux/netfilter.h).
const FAMILY_IPV4: u16 = 2;
