//! Netlink messages of the kernel's `psample` family (include/uapi/linux/psample.h).
//!
//! [`messages`] walks over what one `recv` gave; [`Decoder`] turns it into samples and counts
//! the rest. Scalars are in the byte order of the machine, as netlink has them. Attributes are
//! found by their type, never by their place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netverdict_types::{Cookie, Input, Key, Origin, Probability, Sample, Timestamp, ZoneId};
use thiserror::Error;

use crate::headers::parse_frame;

/// Turns datagrams of a psample socket into samples, and counts what is none.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// The number of the `psample` family, which the kernel gives out anew at each boot; `None`
    /// takes every message for one of psample.
    pub family: Option<u16>,
    /// The groups to keep; empty keeps all.
    pub groups: Vec<u32>,
    /// What was met so far.
    pub counters: Counters,
}

/// What a [`Decoder`] has met. Nothing is passed over without being counted here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Messages that became samples.
    pub samples: u64,
    /// Samples among them whose cookie has another length than OVN's 8 bytes: their key is
    /// [`Key::None`].
    pub unknown_cookies: u64,
    /// Messages without a user cookie, as tc(8) `action sample` sends them.
    pub foreign_without_cookie: u64,
    /// Messages whose rate is 1-in-N instead of a probability: not from Open vSwitch.
    pub foreign_ratio: u64,
    /// Messages of a group that was not asked for.
    pub foreign_group: u64,
    /// Messages of another command, such as NEW_GROUP.
    pub foreign_command: u64,
    /// Messages of another netlink family.
    pub foreign_family: u64,
    /// NLMSG_NOOP, NLMSG_DONE and acknowledgements.
    pub control: u64,
    /// NLMSG_ERROR with an error number.
    pub errors: u64,
    /// NLMSG_OVERRUN: the kernel says that data were lost.
    pub overruns: u64,
    /// Messages, or ends of datagrams, that could not be read.
    pub malformed: u64,
}

impl Counters {
    /// Messages of other users of psample.
    pub fn foreign(&self) -> u64 {
        self.foreign_without_cookie
            + self.foreign_ratio
            + self.foreign_group
            + self.foreign_command
            + self.foreign_family
    }

    fn add_foreign(&mut self, foreign: Foreign) {
        *match foreign {
            Foreign::NoCookie => &mut self.foreign_without_cookie,
            Foreign::Ratio => &mut self.foreign_ratio,
            Foreign::Group => &mut self.foreign_group,
            Foreign::Command(_) => &mut self.foreign_command,
        } += 1;
    }
}

impl Decoder {
    /// Calls `sink` for each sample in what one `recv` gave.
    ///
    /// `received` is the time of a sample whose message has none (Linux before 5.13).
    #[inline]
    pub fn decode<'a>(
        &mut self,
        datagram: &'a [u8],
        received: Timestamp,
        zone: ZoneId,
        mut sink: impl FnMut(Sample<'a>),
    ) {
        let mut rest = datagram;
        while !rest.is_empty() {
            // Messages of psample are many and large, and are not moved about as an item of
            // [`Messages`] is.
            let (kind, body) = match split(&mut rest) {
                Ok(whole) => whole,
                Err(_) => {
                    self.counters.malformed += 1;
                    return;
                }
            };
            if kind >= NLMSG_MIN_TYPE && self.family.is_none_or(|family| family == kind) {
                match message(kind, body) {
                    Ok(message) => match message.classify(&self.groups) {
                        Ok(()) => {
                            let sample = message.sample(received, zone);
                            self.counters.samples += 1;
                            self.counters.unknown_cookies += u64::from(sample.key == Key::None);
                            sink(sample);
                        }
                        Err(foreign) => self.counters.add_foreign(foreign),
                    },
                    Err(_) => self.counters.malformed += 1,
                }
                continue;
            }
            match control(kind, body) {
                Ok(Netlink::Error(0) | Netlink::Noop | Netlink::Done) => self.counters.control += 1,
                Ok(Netlink::Error(_)) => self.counters.errors += 1,
                Ok(Netlink::Overrun) => self.counters.overruns += 1,
                Ok(Netlink::Psample(_) | Netlink::OtherFamily(_)) => {
                    self.counters.foreign_family += 1;
                }
                Err(_) => self.counters.malformed += 1,
            }
        }
    }
}

/// Walks over the netlink messages in what one `recv` gave.
///
/// With `family`, messages of another type are [`Netlink::OtherFamily`]. After a message whose
/// length cannot be, the rest has no known start: it is one error and the end.
pub fn messages(datagram: &[u8], family: Option<u16>) -> Messages<'_> {
    Messages {
        rest: datagram,
        family,
    }
}

/// The netlink messages of one datagram; made by [`messages`].
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
    family: Option<u16>,
}

/// One netlink message (include/uapi/linux/netlink.h).
#[derive(Clone, Copy, Debug, PartialEq)]
// Boxing would allocate once a sample.
#[allow(clippy::large_enum_variant)]
pub enum Netlink<'a> {
    /// A message of psample.
    Psample(Message<'a>),
    /// A message of the netlink family with this number.
    OtherFamily(u16),
    /// NLMSG_ERROR with its negative error number; 0 acknowledges a request.
    Error(i32),
    /// NLMSG_NOOP, and the other numbers kept for control.
    Noop,
    /// NLMSG_DONE.
    Done,
    /// NLMSG_OVERRUN.
    Overrun,
}

/// A message of the psample family: all its attributes, as they are there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Message<'a> {
    /// The number of the psample family.
    pub family: u16,
    /// [`CMD_SAMPLE`] or another command.
    pub command: u8,
    /// Version of the family.
    pub version: u8,
    /// Low 16 bits of the index of the interface that the packet came in by.
    pub in_index: Option<u16>,
    /// Low 16 bits of the index of the interface that the packet leaves by.
    pub out_index: Option<u16>,
    /// Length of the packet in bytes, from layer 2.
    pub original_size: Option<u32>,
    /// The sample group.
    pub group: Option<u32>,
    /// Counts the messages of a group. Under Open vSwitch it is always 0.
    pub sequence: Option<u32>,
    /// A scaled probability if [`Message::probability`] is set, else N of 1-in-N.
    pub rate: Option<u32>,
    /// The packet from layer 2, perhaps cut. The kernel leaves it out where it has no bytes.
    pub data: Option<&'a [u8]>,
    /// Users of the group, in configuration messages.
    pub refcount: Option<u32>,
    /// The attributes inside the tunnel attribute.
    pub tunnel: Option<&'a [u8]>,
    /// Traffic class of the output queue.
    pub out_tc: Option<u16>,
    /// Fill of the output queue in bytes.
    pub out_tc_occupancy: Option<u64>,
    /// Latency of the packet in nanoseconds.
    pub latency: Option<u64>,
    /// When the packet was sampled, in nanoseconds since 1970, by the machine's wall clock.
    pub timestamp: Option<u64>,
    /// The ethertype.
    pub ethertype: Option<u16>,
    /// What the sampling user added; of OVS the observation domain and point.
    pub cookie: Option<&'a [u8]>,
    /// The rate is a probability scaled so that `u32::MAX` is 1 (Linux 6.11).
    pub probability: bool,
}

impl<'a> Message<'a> {
    /// Tells samples of Open vSwitch from messages of other users of psample.
    ///
    /// # Errors
    /// What shows that the message is not from Open vSwitch, or not of one of `groups`, which
    /// means all where it is empty.
    #[inline]
    pub fn classify(&self, groups: &[u32]) -> Result<(), Foreign> {
        if self.command != CMD_SAMPLE {
            return Err(Foreign::Command(self.command));
        }
        if self.cookie.is_none() {
            return Err(Foreign::NoCookie);
        }
        if !self.probability {
            return Err(Foreign::Ratio);
        }
        if !groups.is_empty() && !self.group.is_some_and(|group| groups.contains(&group)) {
            return Err(Foreign::Group);
        }
        Ok(())
    }

    /// The sample that the message tells of.
    #[inline(always)]
    pub fn sample(&self, received: Timestamp, zone: ZoneId) -> Sample<'a> {
        let data = self.data.unwrap_or_default();
        let length = self.original_size.unwrap_or(data.len() as u32);
        let key = match self.cookie {
            Some(bytes) => match <[u8; 8]>::try_from(bytes) {
                Ok(cookie) => Key::Cookie(Cookie::from_be_bytes(cookie)),
                Err(_) => Key::None,
            },
            None => Key::None,
        };
        let far_end = self
            .tunnel
            .and_then(|attributes| Tunnel::parse(attributes).ok())
            .and_then(|tunnel| tunnel.src);
        let input = match (far_end, self.in_index) {
            (Some(address), _) => Input::Tunnel(address),
            (None, Some(index)) => Input::Index(u32::from(index)),
            (None, None) => Input::Unknown,
        };
        let mut headers = parse_frame(data);
        headers.ethertype = headers.ethertype.or(self.ethertype);
        let rate = self.rate.unwrap_or_default();
        Sample {
            zone,
            origin: Origin::Psample,
            time: self
                .timestamp
                .and_then(|nanos| i64::try_from(nanos).ok())
                .map_or(received, Timestamp),
            key,
            group: self.group,
            probability: if self.probability {
                Probability(rate)
            } else {
                Probability::from_ratio(rate)
            },
            input,
            headers,
            length,
            packets: 1,
            bytes: u64::from(length),
            data,
        }
    }
}

/// Why a message is none of Open vSwitch's samples.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Foreign {
    /// It has no user cookie.
    NoCookie,
    /// Its rate is 1-in-N.
    Ratio,
    /// It belongs to a group that was not asked for, or to none.
    Group,
    /// It is another command than SAMPLE.
    Command(u8),
}

/// Why a message could not be read. The kernel, or what stands in for it, is at fault.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Malformed {
    /// Fewer bytes than a netlink header has.
    #[error("netlink: {0} bytes are no message header")]
    Header(usize),
    /// The stated length is below a header's, or past the end of the datagram.
    #[error("netlink: message states {stated} bytes where {there} are left")]
    Length {
        /// As the header has it.
        stated: u32,
        /// Bytes left in the datagram.
        there: usize,
    },
    /// The message has no room for its generic netlink header or error number.
    #[error("netlink: message of type {0} ends inside its header")]
    Body(u16),
    /// An attribute's stated length is below 4 or past the end of the message.
    #[error("psample: attribute at byte {0} does not fit into its message")]
    Attribute(usize),
    /// An attribute's value has another size than its type has.
    #[error("psample: attribute {kind} has {size} bytes")]
    Size {
        /// Number of the attribute.
        kind: u16,
        /// Bytes of its value.
        size: usize,
    },
}

/// What the tunnel attribute says: the metadata of the tunnel that the packet came by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tunnel<'a> {
    /// The key (VNI).
    pub id: Option<u64>,
    /// Outer source: the far end of a packet that came in.
    pub src: Option<IpAddr>,
    /// Outer destination.
    pub dst: Option<IpAddr>,
    /// Type of service.
    pub tos: Option<u8>,
    /// Time to live.
    pub ttl: Option<u8>,
    /// The don't-fragment bit.
    pub dont_fragment: bool,
    /// The outer checksum is in use.
    pub checksum: bool,
    /// The OAM bit of Geneve.
    pub oam: bool,
    /// Outer source port.
    pub src_port: Option<u16>,
    /// Outer destination port.
    pub dst_port: Option<u16>,
    /// Options of Geneve as they stand on the wire.
    pub geneve_options: Option<&'a [u8]>,
    /// Options of ERSPAN.
    pub erspan_options: Option<&'a [u8]>,
    /// The tunnel metadata belong to a bridge.
    pub bridge: bool,
}

impl<'a> Tunnel<'a> {
    /// Reads the attributes inside the tunnel attribute.
    ///
    /// # Errors
    /// An attribute that does not fit, or has another size than its type has.
    pub fn parse(attributes: &'a [u8]) -> Result<Self, Malformed> {
        let mut tunnel = Self::default();
        for attribute in Attributes::new(attributes) {
            let Attribute { kind, value } = attribute?;
            match kind {
                tunnel_attr::ID => tunnel.id = Some(u64::from_be_bytes(fixed(kind, value)?)),
                tunnel_attr::IPV4_SRC | tunnel_attr::IPV4_DST => {
                    let address = Some(IpAddr::V4(Ipv4Addr::from(fixed::<4>(kind, value)?)));
                    if kind == tunnel_attr::IPV4_SRC {
                        tunnel.src = address;
                    } else {
                        tunnel.dst = address;
                    }
                }
                tunnel_attr::IPV6_SRC | tunnel_attr::IPV6_DST => {
                    let address = Some(IpAddr::V6(Ipv6Addr::from(fixed::<16>(kind, value)?)));
                    if kind == tunnel_attr::IPV6_SRC {
                        tunnel.src = address;
                    } else {
                        tunnel.dst = address;
                    }
                }
                tunnel_attr::TOS => tunnel.tos = Some(u8::from_ne_bytes(fixed(kind, value)?)),
                tunnel_attr::TTL => tunnel.ttl = Some(u8::from_ne_bytes(fixed(kind, value)?)),
                tunnel_attr::DONT_FRAGMENT => tunnel.dont_fragment = true,
                tunnel_attr::CSUM => tunnel.checksum = true,
                tunnel_attr::OAM => tunnel.oam = true,
                tunnel_attr::TP_SRC => {
                    tunnel.src_port = Some(u16::from_be_bytes(fixed(kind, value)?));
                }
                tunnel_attr::TP_DST => {
                    tunnel.dst_port = Some(u16::from_be_bytes(fixed(kind, value)?));
                }
                tunnel_attr::GENEVE_OPTS => tunnel.geneve_options = Some(value),
                tunnel_attr::ERSPAN_OPTS => tunnel.erspan_options = Some(value),
                tunnel_attr::IPV4_INFO_BRIDGE => tunnel.bridge = true,
                _ => {}
            }
        }
        Ok(tunnel)
    }

    /// Appends the attributes in the kernel's order: the value of the tunnel attribute.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if let Some(id) = self.id {
            put(out, tunnel_attr::ID, &id.to_be_bytes());
        }
        if self.bridge {
            put(out, tunnel_attr::IPV4_INFO_BRIDGE, &[]);
        }
        for (address, v4, v6) in [
            (self.src, tunnel_attr::IPV4_SRC, tunnel_attr::IPV6_SRC),
            (self.dst, tunnel_attr::IPV4_DST, tunnel_attr::IPV6_DST),
        ] {
            match address {
                Some(IpAddr::V4(address)) => put(out, v4, &address.octets()),
                Some(IpAddr::V6(address)) => put(out, v6, &address.octets()),
                None => {}
            }
        }
        if let Some(tos) = self.tos {
            put(out, tunnel_attr::TOS, &[tos]);
        }
        if let Some(ttl) = self.ttl {
            put(out, tunnel_attr::TTL, &[ttl]);
        }
        if self.dont_fragment {
            put(out, tunnel_attr::DONT_FRAGMENT, &[]);
        }
        if self.checksum {
            put(out, tunnel_attr::CSUM, &[]);
        }
        if let Some(port) = self.src_port {
            put(out, tunnel_attr::TP_SRC, &port.to_be_bytes());
        }
        if let Some(port) = self.dst_port {
            put(out, tunnel_attr::TP_DST, &port.to_be_bytes());
        }
        if self.oam {
            put(out, tunnel_attr::OAM, &[]);
        }
        if let Some(options) = self.geneve_options {
            put(out, tunnel_attr::GENEVE_OPTS, options);
        }
        if let Some(options) = self.erspan_options {
            put(out, tunnel_attr::ERSPAN_OPTS, options);
        }
    }
}

/// Appends one message as the kernel lays it out: order, padding and header included
/// (net/psample/psample.c, psample_sample_packet).
///
/// Values too long for a netlink attribute (65,531 bytes) are cut to that.
pub fn encode(message: &Message<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&message.family.to_ne_bytes());
    out.extend_from_slice(&[0; 10]);
    out.extend_from_slice(&[message.command, message.version, 0, 0]);
    let put_u16 = |out: &mut Vec<u8>, kind, value: Option<u16>| {
        if let Some(value) = value {
            put(out, kind, &value.to_ne_bytes());
        }
    };
    let put_u32 = |out: &mut Vec<u8>, kind, value: Option<u32>| {
        if let Some(value) = value {
            put(out, kind, &value.to_ne_bytes());
        }
    };
    let put_u64 = |out: &mut Vec<u8>, kind, value: Option<u64>| {
        if let Some(value) = value {
            put(out, kind, &value.to_ne_bytes());
        }
    };
    put_u16(out, attr::IIFINDEX, message.in_index);
    put_u16(out, attr::OIFINDEX, message.out_index);
    put_u32(out, attr::SAMPLE_RATE, message.rate);
    put_u32(out, attr::ORIGSIZE, message.original_size);
    put_u32(out, attr::SAMPLE_GROUP, message.group);
    put_u32(out, attr::GROUP_REFCOUNT, message.refcount);
    put_u32(out, attr::GROUP_SEQ, message.sequence);
    put_u16(out, attr::OUT_TC, message.out_tc);
    put_u64(out, attr::OUT_TC_OCC, message.out_tc_occupancy);
    put_u64(out, attr::LATENCY, message.latency);
    put_u64(out, attr::TIMESTAMP, message.timestamp);
    put_u16(out, attr::PROTO, message.ethertype);
    if let Some(data) = message.data {
        put(out, attr::DATA, data);
    }
    if let Some(tunnel) = message.tunnel {
        put(out, attr::TUNNEL, tunnel);
    }
    if let Some(cookie) = message.cookie {
        put(out, attr::USER_COOKIE, cookie);
    }
    if message.probability {
        put(out, attr::SAMPLE_PROBABILITY, &[]);
    }
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(header) = out.get_mut(start..start + 4) {
        header.copy_from_slice(&length.to_ne_bytes());
    }
}

/// Sets the sequence number and the port of a netlink message, which the kernel leaves 0 in samples.
/// A sender outside the kernel tells with them what was lost.
pub fn stamp(message: &mut [u8], stamp: Stamp) {
    if let Some(place) = message.get_mut(8..NETLINK_HEADER) {
        let (sequence, port) = place.split_at_mut(4);
        sequence.copy_from_slice(&stamp.sequence.to_ne_bytes());
        port.copy_from_slice(&stamp.port.to_ne_bytes());
    }
}

/// The stamps of the netlink messages in a datagram, as far as it can be read.
pub fn stamps(mut datagram: &[u8]) -> impl Iterator<Item = Stamp> {
    std::iter::from_fn(move || {
        let header = *datagram.first_chunk::<NETLINK_HEADER>()?;
        split(&mut datagram).ok()?;
        let [.., s0, s1, s2, s3, p0, p1, p2, p3] = header;
        Some(Stamp {
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            port: u32::from_ne_bytes([p0, p1, p2, p3]),
        })
    })
}

/// Which message of which sender it is (struct nlmsghdr, `nlmsg_seq` and `nlmsg_pid`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stamp {
    /// One more than in the message before it; 0 is not counted.
    pub sequence: u32,
    /// The sender, by a number that it chose.
    pub port: u32,
}

/// What the kernel's generic netlink controller says about the psample family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Family {
    /// The netlink message type of its messages.
    pub id: u16,
    /// The number of its multicast group `packets`, which carries the samples.
    pub packets: u32,
}

/// Why the controller's answer does not give a [`Family`].
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FamilyError {
    /// The kernel refused, with this error number; ENOENT (2) means that it has no such family.
    #[error("generic netlink: the kernel answers with error {0}")]
    Refused(i32),
    /// The answer has no family number, or no group `packets`.
    #[error("generic netlink: the kernel's answer does not describe psample")]
    Incomplete,
    /// The answer could not be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Family {
    /// The request to the controller (CTRL_CMD_GETFAMILY, include/uapi/linux/genetlink.h).
    pub fn request() -> Vec<u8> {
        let mut out = vec![0; 4];
        out.extend(CONTROLLER.to_ne_bytes());
        out.extend(NLM_F_REQUEST.to_ne_bytes());
        // Sequence and port; then command and version.
        out.extend([0; 8]);
        out.extend([CTRL_CMD_GETFAMILY, 1, 0, 0]);
        let name = [FAMILY_NAME.as_bytes(), b"\0"].concat();
        put(&mut out, CTRL_ATTR_FAMILY_NAME, &name);
        let length = out.len() as u32;
        out.splice(..4, length.to_ne_bytes());
        out
    }

    /// Reads the controller's answer.
    ///
    /// # Errors
    /// The kernel refused, or the answer is not one for psample.
    pub fn parse(datagram: &[u8]) -> Result<Self, FamilyError> {
        let Some((header, rest)) = datagram.split_first_chunk::<NETLINK_HEADER>() else {
            return Err(Malformed::Header(datagram.len()).into());
        };
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        if kind == NLMSG_ERROR {
            let number = rest.first_chunk().ok_or(Malformed::Body(kind))?;
            return Err(FamilyError::Refused(-i32::from_ne_bytes(*number)));
        }
        let attributes = rest.get(4..).ok_or(Malformed::Body(kind))?;
        let mut id = None;
        let mut packets = None;
        for attribute in Attributes::new(attributes) {
            let Attribute { kind, value } = attribute?;
            match kind {
                CTRL_ATTR_FAMILY_ID => id = Some(u16::from_ne_bytes(fixed(kind, value)?)),
                CTRL_ATTR_MCAST_GROUPS => packets = packets.or(multicast_group(value)?),
                _ => {}
            }
        }
        id.zip(packets)
            .map(|(id, packets)| Self { id, packets })
            .ok_or(FamilyError::Incomplete)
    }
}

fn multicast_group(groups: &[u8]) -> Result<Option<u32>, Malformed> {
    for group in Attributes::new(groups) {
        let mut name = None;
        let mut id = None;
        for attribute in Attributes::new(group?.value) {
            let Attribute { kind, value } = attribute?;
            match kind {
                CTRL_ATTR_MCAST_GRP_NAME => name = value.split_last().map(|(_, name)| name),
                CTRL_ATTR_MCAST_GRP_ID => id = Some(u32::from_ne_bytes(fixed(kind, value)?)),
                _ => {}
            }
        }
        if name == Some(MULTICAST_GROUP.as_bytes()) {
            return Ok(id);
        }
    }
    Ok(None)
}

/// PSAMPLE_CMD_SAMPLE.
pub const CMD_SAMPLE: u8 = 0;
/// Name of the generic netlink family.
pub const FAMILY_NAME: &str = "psample";
/// Name of the multicast group that carries the samples.
pub const MULTICAST_GROUP: &str = "packets";

/// Attribute numbers of psample.
pub mod attr {
    #![allow(missing_docs)]
    pub const IIFINDEX: u16 = 0;
    pub const OIFINDEX: u16 = 1;
    pub const ORIGSIZE: u16 = 2;
    pub const SAMPLE_GROUP: u16 = 3;
    pub const GROUP_SEQ: u16 = 4;
    pub const SAMPLE_RATE: u16 = 5;
    pub const DATA: u16 = 6;
    pub const GROUP_REFCOUNT: u16 = 7;
    pub const TUNNEL: u16 = 8;
    pub const OUT_TC: u16 = 10;
    pub const OUT_TC_OCC: u16 = 11;
    pub const LATENCY: u16 = 12;
    pub const TIMESTAMP: u16 = 13;
    pub const PROTO: u16 = 14;
    pub const USER_COOKIE: u16 = 15;
    pub const SAMPLE_PROBABILITY: u16 = 16;
}

mod tunnel_attr {
    pub const ID: u16 = 0;
    pub const IPV4_SRC: u16 = 1;
    pub const IPV4_DST: u16 = 2;
    pub const TOS: u16 = 3;
    pub const TTL: u16 = 4;
    pub const DONT_FRAGMENT: u16 = 5;
    pub const CSUM: u16 = 6;
    pub const OAM: u16 = 7;
    pub const GENEVE_OPTS: u16 = 8;
    pub const TP_SRC: u16 = 9;
    pub const TP_DST: u16 = 10;
    pub const IPV6_SRC: u16 = 12;
    pub const IPV6_DST: u16 = 13;
    pub const ERSPAN_OPTS: u16 = 15;
    pub const IPV4_INFO_BRIDGE: u16 = 16;
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Netlink<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(match split(&mut self.rest) {
            Ok((kind, body))
                if kind >= NLMSG_MIN_TYPE && self.family.is_none_or(|family| family == kind) =>
            {
                message(kind, body).map(Netlink::Psample)
            }
            Ok((kind, body)) => control(kind, body),
            Err(error) => Err(error),
        })
    }
}

/// Takes the type and what follows the header of the first netlink message; nothing is left
/// after one whose length cannot be.
#[inline]
fn split<'a>(rest: &mut &'a [u8]) -> Result<(u16, &'a [u8]), Malformed> {
    let datagram = std::mem::take(rest);
    let Some(header) = datagram.first_chunk::<NETLINK_HEADER>() else {
        return Err(Malformed::Header(datagram.len()));
    };
    let [l0, l1, l2, l3, t0, t1, ..] = *header;
    let stated = u32::from_ne_bytes([l0, l1, l2, l3]);
    let length = stated as usize;
    let Some(body) = datagram.get(NETLINK_HEADER..length) else {
        return Err(Malformed::Length {
            stated,
            there: datagram.len(),
        });
    };
    *rest = datagram.get(aligned(length)..).unwrap_or_default();
    Ok((u16::from_ne_bytes([t0, t1]), body))
}

/// A message that is none of psample.
fn control<'a>(kind: u16, body: &[u8]) -> Result<Netlink<'a>, Malformed> {
    match kind {
        NLMSG_ERROR => body
            .first_chunk()
            .map(|number| Netlink::Error(i32::from_ne_bytes(*number)))
            .ok_or(Malformed::Body(kind)),
        NLMSG_DONE => Ok(Netlink::Done),
        NLMSG_OVERRUN => Ok(Netlink::Overrun),
        0..NLMSG_MIN_TYPE => Ok(Netlink::Noop),
        _ => Ok(Netlink::OtherFamily(kind)),
    }
}

/// Reads what follows the netlink header.
#[inline(always)]
fn message(family: u16, body: &[u8]) -> Result<Message<'_>, Malformed> {
    let Some(([command, version, _, _], attributes)) = body.split_first_chunk() else {
        return Err(Malformed::Body(family));
    };
    let mut message = Message {
        family,
        command: *command,
        version: *version,
        ..Message::default()
    };
    for attribute in Attributes::new(attributes) {
        let Attribute { kind, value } = attribute?;
        match kind {
            attr::IIFINDEX => message.in_index = Some(u16::from_ne_bytes(fixed(kind, value)?)),
            attr::OIFINDEX => message.out_index = Some(u16::from_ne_bytes(fixed(kind, value)?)),
            attr::ORIGSIZE => {
                message.original_size = Some(u32::from_ne_bytes(fixed(kind, value)?));
            }
            attr::SAMPLE_GROUP => message.group = Some(u32::from_ne_bytes(fixed(kind, value)?)),
            attr::GROUP_SEQ => message.sequence = Some(u32::from_ne_bytes(fixed(kind, value)?)),
            attr::SAMPLE_RATE => message.rate = Some(u32::from_ne_bytes(fixed(kind, value)?)),
            attr::DATA => message.data = Some(value),
            attr::GROUP_REFCOUNT => {
                message.refcount = Some(u32::from_ne_bytes(fixed(kind, value)?));
            }
            attr::TUNNEL => message.tunnel = Some(value),
            attr::OUT_TC => message.out_tc = Some(u16::from_ne_bytes(fixed(kind, value)?)),
            attr::OUT_TC_OCC => {
                message.out_tc_occupancy = Some(u64::from_ne_bytes(fixed(kind, value)?));
            }
            attr::LATENCY => message.latency = Some(u64::from_ne_bytes(fixed(kind, value)?)),
            attr::TIMESTAMP => message.timestamp = Some(u64::from_ne_bytes(fixed(kind, value)?)),
            attr::PROTO => message.ethertype = Some(u16::from_ne_bytes(fixed(kind, value)?)),
            attr::USER_COOKIE => message.cookie = Some(value),
            attr::SAMPLE_PROBABILITY => message.probability = true,
            _ => {}
        }
    }
    Ok(message)
}

struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
}

struct Attributes<'a> {
    rest: &'a [u8],
    whole: usize,
}

impl<'a> Attributes<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            whole: bytes.len(),
        }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.rest);
        // Up to three bytes can be left as padding of a message that was not a multiple of 4.
        if bytes.len() < ATTRIBUTE_HEADER {
            return None;
        }
        let (length, after) = bytes.split_first_chunk()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let kind = u16::from_ne_bytes(*after.first_chunk()?);
        let Some(value) = bytes.get(ATTRIBUTE_HEADER..length) else {
            return Some(Err(Malformed::Attribute(self.whole - bytes.len())));
        };
        self.rest = bytes.get(aligned(length)..).unwrap_or_default();
        Some(Ok(Attribute {
            kind: kind & ATTRIBUTE_TYPE,
            value,
        }))
    }
}

#[inline]
fn fixed<const N: usize>(kind: u16, value: &[u8]) -> Result<[u8; N], Malformed> {
    value.try_into().map_err(|_| Malformed::Size {
        kind,
        size: value.len(),
    })
}

/// The next multiple of [`ALIGN`], which is a power of two.
fn aligned(length: usize) -> usize {
    (length + ALIGN - 1) & !(ALIGN - 1)
}

fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let most = usize::from(u16::MAX) - ATTRIBUTE_HEADER;
    let value = value.get(..most).unwrap_or(value);
    let length = (ATTRIBUTE_HEADER + value.len()) as u16;
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(
        out.len() + value.len().next_multiple_of(ALIGN) - value.len(),
        0,
    );
}

const ALIGN: usize = 4;
const NETLINK_HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
/// The two highest bits of an attribute's type are flags.
const ATTRIBUTE_TYPE: u16 = 0x3fff;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const NLMSG_MIN_TYPE: u16 = 16;
/// GENL_ID_CTRL.
const CONTROLLER: u16 = 0x10;
const NLM_F_REQUEST: u16 = 1;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const CTRL_ATTR_MCAST_GROUPS: u16 = 7;
const CTRL_ATTR_MCAST_GRP_NAME: u16 = 1;
const CTRL_ATTR_MCAST_GRP_ID: u16 = 2;
