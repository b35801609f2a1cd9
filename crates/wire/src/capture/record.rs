use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netverdict_types::{
    Cookie, Headers, IcmpKind, Input, Key, LogDirection, LogVerdict, Origin, Probability, Sample,
    TcpFlags, Timestamp, ZoneId,
};

use super::{Clock, Counter, Record, Revision, Zone};

/// A record that does not decode.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the {what} at byte {at} of its block does not decode; it was left out")]
pub struct BadRecord {
    /// What it claims to be.
    pub what: &'static str,
    /// Where it starts in the decompressed block.
    pub at: usize,
}

pub(super) mod tag {
    pub(in super::super) const ZONE: u8 = 1;
    pub(in super::super) const CLOCK: u8 = 2;
    pub(in super::super) const REVISION: u8 = 3;
    pub(in super::super) const SAMPLE: u8 = 4;
    pub(in super::super) const COUNTER: u8 = 5;

    pub(in super::super) fn name(tag: u8) -> &'static str {
        match tag {
            ZONE => "zone",
            CLOCK => "clock",
            REVISION => "revision",
            SAMPLE => "sample",
            COUNTER => "counter",
            _ => "record",
        }
    }
}

pub(super) fn put_zone(out: &mut Vec<u8>, zone: &Zone<'_>) {
    put_uint(out, zone.id.0.into());
    put_bytes(out, zone.name.as_bytes());
    put_bytes(out, zone.node.as_bytes());
}

pub(super) fn put_clock(out: &mut Vec<u8>, clock: &Clock) {
    put_uint(out, clock.zone.0.into());
    put_int(out, clock.wall.0);
    put_uint(out, clock.monotonic);
}

pub(super) fn put_revision(out: &mut Vec<u8>, revision: &Revision<'_>) {
    put_uint(out, revision.zone.0.into());
    put_uint(out, revision.number);
    put_int(out, revision.time.0);
    match revision.gap {
        None => out.push(0),
        Some((from, to)) => {
            out.push(1);
            put_int(out, from.0);
            put_int(out, to.0);
        }
    }
    out.extend_from_slice(revision.json);
}

pub(super) fn put_counter(out: &mut Vec<u8>, counter: &Counter<'_>) {
    put_uint(out, counter.zone.0.into());
    put_int(out, counter.time.0);
    put_uint(out, counter.value);
    out.extend_from_slice(counter.name.as_bytes());
}

/// Writes a sample's body; `previous` is the time of the sample before it in its block.
pub(super) fn put_sample(out: &mut Vec<u8>, sample: &Sample<'_>, data: &[u8], previous: Timestamp) {
    let headers = &sample.headers;
    put_uint(out, sample.zone.0.into());
    put_int(out, sample.time.0.wrapping_sub(previous.0));
    out.push(origin_code(sample.origin));
    put_key(out, &sample.key);
    put_uint(out, sample.group.map_or(0, |group| u64::from(group) + 1));
    // All packets is the usual case, and the shortest.
    put_uint(out, (!sample.probability.0).into());
    match sample.input {
        Input::Index(index) => {
            out.push(1);
            put_uint(out, index.into());
        }
        Input::Name(name) => {
            out.push(2);
            put_bytes(out, name.as_bytes());
        }
        Input::Tunnel(IpAddr::V4(address)) => {
            out.push(3);
            out.extend_from_slice(&address.octets());
        }
        Input::Tunnel(IpAddr::V6(address)) => {
            out.push(4);
            out.extend_from_slice(&address.octets());
        }
        _ => out.push(0),
    }
    put_uint(out, sample.length.into());
    put_uint(out, sample.packets);
    put_uint(out, sample.bytes);
    put_headers(out, headers);
    out.extend_from_slice(data);
}

pub(super) fn take<'a>(tag: u8, body: &'a [u8], previous: &mut Timestamp) -> Option<Record<'a>> {
    let mut body = Body(body);
    Some(match tag {
        tag::ZONE => Record::Zone(Zone {
            id: body.zone()?,
            name: body.text()?,
            node: body.text()?,
        }),
        tag::CLOCK => Record::Clock(Clock {
            zone: body.zone()?,
            wall: Timestamp(body.int()?),
            monotonic: body.uint()?,
        }),
        tag::REVISION => Record::Revision(Revision {
            zone: body.zone()?,
            number: body.uint()?,
            time: Timestamp(body.int()?),
            gap: match body.byte()? {
                0 => None,
                1 => Some((Timestamp(body.int()?), Timestamp(body.int()?))),
                _ => return None,
            },
            json: body.0,
        }),
        tag::SAMPLE => Record::Sample(body.sample(previous)?),
        tag::COUNTER => Record::Counter(Counter {
            zone: body.zone()?,
            time: Timestamp(body.int()?),
            value: body.uint()?,
            name: std::str::from_utf8(body.0).ok()?,
        }),
        _ => return None,
    })
}

/// Unsigned, seven bits a byte, lowest first.
pub(super) fn put_uint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads what [`put_uint`] wrote, and what is left behind it.
pub(super) fn take_uint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut body = Body(bytes);
    let number = body.uint()?;
    Some((number, body.0))
}

/// Signed, with the sign in the lowest bit, so that small numbers of both signs are short.
fn put_int(out: &mut Vec<u8>, number: i64) {
    put_uint(out, (number << 1 ^ number >> 63) as u64);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_key(out: &mut Vec<u8>, key: &Key<'_>) {
    match *key {
        Key::Cookie(cookie) => {
            out.push(1);
            out.extend_from_slice(&cookie.to_be_bytes());
        }
        Key::ConntrackPoint(point) => {
            out.push(2);
            out.extend_from_slice(&point.to_be_bytes());
        }
        Key::Label(label) => {
            out.push(3);
            out.extend_from_slice(&label.to_be_bytes());
        }
        Key::Log {
            name,
            verdict,
            direction,
        } => {
            out.push(4);
            out.push(match verdict {
                LogVerdict::Allow => 0,
                LogVerdict::Drop => 1,
                LogVerdict::Reject => 2,
                LogVerdict::Pass => 3,
            });
            out.push(match direction {
                LogDirection::FromLport => 0,
                LogDirection::ToLport => 1,
            });
            put_bytes(out, name.as_bytes());
        }
        _ => out.push(0),
    }
}

fn origin_code(origin: Origin) -> u8 {
    match origin {
        Origin::Psample => 1,
        Origin::Ipfix => 2,
        Origin::AclLog => 3,
        Origin::Conntrack => 4,
        Origin::Datapath => 5,
        Origin::Ebpf => 6,
        Origin::Twin => 7,
        _ => 0,
    }
}

/// Which header fields follow, one bit each.
mod has {
    pub(super) const ETH_SRC: u32 = 1 << 0;
    pub(super) const ETH_DST: u32 = 1 << 1;
    pub(super) const ETHERTYPE: u32 = 1 << 2;
    pub(super) const VLAN: u32 = 1 << 3;
    pub(super) const SRC: u32 = 1 << 4;
    pub(super) const DST: u32 = 1 << 5;
    pub(super) const PROTOCOL: u32 = 1 << 6;
    pub(super) const TTL: u32 = 1 << 7;
    pub(super) const IP_ID: u32 = 1 << 8;
    pub(super) const SRC_PORT: u32 = 1 << 9;
    pub(super) const DST_PORT: u32 = 1 << 10;
    pub(super) const TCP_FLAGS: u32 = 1 << 11;
    pub(super) const TCP_SEQ: u32 = 1 << 12;
    pub(super) const ICMP: u32 = 1 << 13;
    pub(super) const ICMP_ID: u32 = 1 << 14;
    /// A value, not a field.
    pub(super) const LATER_FRAGMENT: u32 = 1 << 15;
    /// The address has 16 bytes.
    pub(super) const SRC_V6: u32 = 1 << 16;
    pub(super) const DST_V6: u32 = 1 << 17;
}

fn put_headers(out: &mut Vec<u8>, headers: &Headers) {
    let Headers {
        eth_src,
        eth_dst,
        ethertype,
        vlan,
        src,
        dst,
        protocol,
        ttl,
        ip_id,
        later_fragment,
        src_port,
        dst_port,
        tcp_flags,
        tcp_seq,
        icmp,
        icmp_id,
    } = *headers;
    let bits = [
        (eth_src.is_some(), has::ETH_SRC),
        (eth_dst.is_some(), has::ETH_DST),
        (ethertype.is_some(), has::ETHERTYPE),
        (vlan.is_some(), has::VLAN),
        (src.is_some(), has::SRC),
        (dst.is_some(), has::DST),
        (protocol.is_some(), has::PROTOCOL),
        (ttl.is_some(), has::TTL),
        (ip_id.is_some(), has::IP_ID),
        (src_port.is_some(), has::SRC_PORT),
        (dst_port.is_some(), has::DST_PORT),
        (tcp_flags.is_some(), has::TCP_FLAGS),
        (tcp_seq.is_some(), has::TCP_SEQ),
        (icmp.is_some(), has::ICMP),
        (icmp_id.is_some(), has::ICMP_ID),
        (later_fragment, has::LATER_FRAGMENT),
        (src.is_some_and(|address| address.is_ipv6()), has::SRC_V6),
        (dst.is_some_and(|address| address.is_ipv6()), has::DST_V6),
    ];
    let mask = bits
        .iter()
        .filter(|(set, _)| *set)
        .fold(0, |mask, (_, bit)| mask | bit);
    out.extend_from_slice(&mask.to_le_bytes()[..3]);
    let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
    for address in [eth_src, eth_dst].into_iter().flatten() {
        put(&address);
    }
    for number in [ethertype, vlan].into_iter().flatten() {
        put(&number.to_be_bytes());
    }
    for address in [src, dst].into_iter().flatten() {
        match address {
            IpAddr::V4(address) => put(&address.octets()),
            IpAddr::V6(address) => put(&address.octets()),
        }
    }
    for number in [protocol, ttl].into_iter().flatten() {
        put(&[number]);
    }
    for number in [ip_id, src_port, dst_port].into_iter().flatten() {
        put(&number.to_be_bytes());
    }
    if let Some(flags) = tcp_flags {
        put(&[flags.0]);
    }
    if let Some(sequence) = tcp_seq {
        put(&sequence.to_be_bytes());
    }
    if let Some(icmp) = icmp {
        put(&[icmp.kind, icmp.code]);
    }
    if let Some(id) = icmp_id {
        put(&id.to_be_bytes());
    }
}

/// What is left of a record's body.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    #[inline]
    fn uint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return None;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    #[inline]
    fn int(&mut self) -> Option<i64> {
        let number = self.uint()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn zone(&mut self) -> Option<ZoneId> {
        u16::try_from(self.uint()?).ok().map(ZoneId)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.uint()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn address(&mut self, v6: bool) -> Option<IpAddr> {
        Some(if v6 {
            Ipv6Addr::from(self.array::<16>()?).into()
        } else {
            Ipv4Addr::from(self.array::<4>()?).into()
        })
    }

    fn sample(&mut self, previous: &mut Timestamp) -> Option<Sample<'a>> {
        let zone = self.zone()?;
        let time = Timestamp(previous.0.wrapping_add(self.int()?));
        // The next sample counts from this time, also when this one turns out to be damaged.
        *previous = time;
        Some(Sample {
            zone,
            time,
            origin: self.origin()?,
            key: self.key()?,
            group: match self.uint()? {
                0 => None,
                group => Some(u32::try_from(group - 1).ok()?),
            },
            probability: Probability(!u32::try_from(self.uint()?).ok()?),
            input: self.input()?,
            length: u32::try_from(self.uint()?).ok()?,
            packets: self.uint()?,
            bytes: self.uint()?,
            headers: self.headers()?,
            data: self.0,
        })
    }

    fn origin(&mut self) -> Option<Origin> {
        Some(match self.byte()? {
            1 => Origin::Psample,
            2 => Origin::Ipfix,
            3 => Origin::AclLog,
            4 => Origin::Conntrack,
            5 => Origin::Datapath,
            6 => Origin::Ebpf,
            7 => Origin::Twin,
            _ => return None,
        })
    }

    fn key(&mut self) -> Option<Key<'a>> {
        Some(match self.byte()? {
            0 => Key::None,
            1 => Key::Cookie(Cookie::from_be_bytes(self.array()?)),
            2 => Key::ConntrackPoint(self.u32()?),
            3 => Key::Label(self.u32()?),
            4 => {
                let verdict = match self.byte()? {
                    0 => LogVerdict::Allow,
                    1 => LogVerdict::Drop,
                    2 => LogVerdict::Reject,
                    3 => LogVerdict::Pass,
                    _ => return None,
                };
                let direction = match self.byte()? {
                    0 => LogDirection::FromLport,
                    1 => LogDirection::ToLport,
                    _ => return None,
                };
                Key::Log {
                    name: self.text()?,
                    verdict,
                    direction,
                }
            }
            _ => return None,
        })
    }

    fn input(&mut self) -> Option<Input<'a>> {
        Some(match self.byte()? {
            0 => Input::Unknown,
            1 => Input::Index(u32::try_from(self.uint()?).ok()?),
            2 => Input::Name(self.text()?),
            3 => Input::Tunnel(self.address(false)?),
            4 => Input::Tunnel(self.address(true)?),
            _ => return None,
        })
    }

    fn headers(&mut self) -> Option<Headers> {
        let [low, middle, high] = self.array()?;
        let mask = u32::from_le_bytes([low, middle, high, 0]);
        let set = |bit: u32| mask & bit != 0;
        // Fields stand in the order of their initialisers here.
        Some(Headers {
            eth_src: given(set(has::ETH_SRC), || self.array())?,
            eth_dst: given(set(has::ETH_DST), || self.array())?,
            ethertype: given(set(has::ETHERTYPE), || self.u16())?,
            vlan: given(set(has::VLAN), || self.u16())?,
            src: given(set(has::SRC), || self.address(set(has::SRC_V6)))?,
            dst: given(set(has::DST), || self.address(set(has::DST_V6)))?,
            protocol: given(set(has::PROTOCOL), || self.byte())?,
            ttl: given(set(has::TTL), || self.byte())?,
            ip_id: given(set(has::IP_ID), || self.u16())?,
            src_port: given(set(has::SRC_PORT), || self.u16())?,
            dst_port: given(set(has::DST_PORT), || self.u16())?,
            tcp_flags: given(set(has::TCP_FLAGS), || self.byte().map(TcpFlags))?,
            tcp_seq: given(set(has::TCP_SEQ), || self.u32())?,
            icmp: given(set(has::ICMP), || {
                self.array().map(|[kind, code]| IcmpKind { kind, code })
            })?,
            icmp_id: given(set(has::ICMP_ID), || self.u16())?,
            later_fragment: set(has::LATER_FRAGMENT),
        })
    }
}

/// `Some(None)` for a field that is not there, `None` for one that is cut off.
#[inline]
fn given<T>(set: bool, take: impl FnOnce() -> Option<T>) -> Option<Option<T>> {
    if set { take().map(Some) } else { Some(None) }
}
