use std::net::{Ipv4Addr, Ipv6Addr};

use netverdict_types::{IcmpKind, Timestamp};

use super::{Count, Entry, Status, TcpState, Tuple};

/// The request that makes the kernel dump its whole table, of all address families
/// (linux/netfilter/nfnetlink_conntrack.h, `IPCTNL_MSG_CT_GET`).
pub fn dump_request(sequence: u32) -> [u8; 20] {
    let mut request = [0; 20];
    request[..4].copy_from_slice(&20_u32.to_ne_bytes());
    request[4..6].copy_from_slice(&(SUBSYSTEM << 8 | GET).to_ne_bytes());
    request[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request[8..12].copy_from_slice(&sequence.to_ne_bytes());
    request
}

/// The netlink messages of one datagram.
///
/// A message that does not decode is an error in its place, and the ones after it still come.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    datagram: &'a [u8],
    at: usize,
}

impl<'a> Messages<'a> {
    /// The messages of what one `recv` gave.
    pub fn new(datagram: &'a [u8]) -> Self {
        Self { datagram, at: 0 }
    }
}

/// One netlink message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Message {
    /// The number of the request it answers.
    pub sequence: u32,
    /// The table changed while it was dumped, so that entries may be missing or doubled: ask
    /// again (netlink.h, `NLM_F_DUMP_INTR`).
    pub interrupted: bool,
    /// What it says.
    pub body: Body,
}

/// What a netlink message says.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
// An entry is what nearly every message holds, and none is ever stored.
#[allow(clippy::large_enum_variant)]
pub enum Body {
    /// An entry of the table.
    Entry(Entry),
    /// An entry that is gone.
    Deleted(Entry),
    /// The dump is complete; a negative number is an error number that ended it early.
    Done(i32),
    /// The request failed with this error number of errno(3), or succeeded with 0.
    Error(i32),
    /// Anything else, by its message type.
    Other(u16),
}

/// A netlink message that does not decode.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the conntrack message at byte {at} of its datagram has {problem}; it was left out")]
pub struct NetlinkError {
    /// Where the message starts.
    pub at: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Iterator for Messages<'_> {
    type Item = Result<Message, NetlinkError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.datagram.get(at..).filter(|rest| !rest.is_empty())?;
        let whole = u32_at(rest, 0)
            .map(|length| length as usize)
            .filter(|&length| length >= NLMSG_HEADER)
            .and_then(|length| rest.get(..length));
        let Some(whole) = whole else {
            self.at = self.datagram.len();
            let problem = "a length that does not fit";
            return Some(Err(NetlinkError { at, problem }));
        };
        self.at = at + align(whole.len());
        Some(message(whole).map_err(|problem| NetlinkError { at, problem }))
    }
}

const SUBSYSTEM: u16 = 1;
const NEW: u16 = 0;
const GET: u16 = 1;
const DELETE: u16 = 2;
const NLM_F_REQUEST: u16 = 0x001;
const NLM_F_DUMP_INTR: u16 = 0x010;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_HEADER: usize = 16;
const NFGENMSG: usize = 4;

/// Attributes (linux/netfilter/nfnetlink_conntrack.h).
mod cta {
    pub(super) const TUPLE_ORIG: u16 = 1;
    pub(super) const TUPLE_REPLY: u16 = 2;
    pub(super) const STATUS: u16 = 3;
    pub(super) const PROTOINFO: u16 = 4;
    pub(super) const TIMEOUT: u16 = 7;
    pub(super) const MARK: u16 = 8;
    pub(super) const COUNTERS_ORIG: u16 = 9;
    pub(super) const COUNTERS_REPLY: u16 = 10;
    pub(super) const ID: u16 = 12;
    pub(super) const ZONE: u16 = 18;
    pub(super) const TIMESTAMP: u16 = 20;
    pub(super) const LABELS: u16 = 22;

    pub(super) const TUPLE_IP: u16 = 1;
    pub(super) const TUPLE_PROTO: u16 = 2;
    pub(super) const TUPLE_ZONE: u16 = 3;

    pub(super) const IP_V4_SRC: u16 = 1;
    pub(super) const IP_V4_DST: u16 = 2;
    pub(super) const IP_V6_SRC: u16 = 3;
    pub(super) const IP_V6_DST: u16 = 4;

    pub(super) const PROTO_NUM: u16 = 1;
    pub(super) const PROTO_SRC_PORT: u16 = 2;
    pub(super) const PROTO_DST_PORT: u16 = 3;
    pub(super) const PROTO_ICMP_ID: u16 = 4;
    pub(super) const PROTO_ICMP_TYPE: u16 = 5;
    pub(super) const PROTO_ICMP_CODE: u16 = 6;
    pub(super) const PROTO_ICMPV6_ID: u16 = 7;
    pub(super) const PROTO_ICMPV6_TYPE: u16 = 8;
    pub(super) const PROTO_ICMPV6_CODE: u16 = 9;

    pub(super) const PROTOINFO_TCP: u16 = 1;
    pub(super) const PROTOINFO_TCP_STATE: u16 = 1;

    pub(super) const COUNTERS_PACKETS: u16 = 1;
    pub(super) const COUNTERS_BYTES: u16 = 2;
    pub(super) const COUNTERS32_PACKETS: u16 = 3;
    pub(super) const COUNTERS32_BYTES: u16 = 4;

    pub(super) const TIMESTAMP_START: u16 = 1;
    pub(super) const TIMESTAMP_STOP: u16 = 2;
}

type Problem = &'static str;

fn message(whole: &[u8]) -> Result<Message, Problem> {
    let kind = u16_at(whole, 4).ok_or("no type")?;
    let flags = u16_at(whole, 6).ok_or("no flags")?;
    let body = &whole[NLMSG_HEADER..];
    let code = || u32_at(body, 0).map(|code| code as i32);
    Ok(Message {
        sequence: u32_at(whole, 8).ok_or("no sequence number")?,
        interrupted: flags & NLM_F_DUMP_INTR != 0,
        body: match kind {
            // A dump's end carries its outcome, on old kernels nothing.
            NLMSG_DONE => Body::Done(code().unwrap_or(0)),
            NLMSG_ERROR => Body::Error(code().ok_or("no error number")?.saturating_neg()),
            _ if kind == SUBSYSTEM << 8 | NEW => Body::Entry(entry(body)?),
            _ if kind == SUBSYSTEM << 8 | DELETE => Body::Deleted(entry(body)?),
            _ => Body::Other(kind),
        },
    })
}

fn entry(body: &[u8]) -> Result<Entry, Problem> {
    let attributes = body.get(NFGENMSG..).ok_or("no address family")?;
    let mut entry = Entry::default();
    let mut has_orig = false;
    for attribute in Attributes(attributes) {
        let (kind, value) = attribute?;
        match kind {
            cta::TUPLE_ORIG => {
                entry.orig = tuple(value)?;
                has_orig = true;
            }
            cta::TUPLE_REPLY => entry.reply = tuple(value)?,
            cta::STATUS => entry.status = Some(Status(be32(value)?)),
            cta::PROTOINFO => entry.tcp_state = tcp_state(value)?,
            cta::TIMEOUT => entry.timeout = Some(be32(value)?),
            cta::MARK => entry.mark = be32(value)?,
            cta::COUNTERS_ORIG => entry.orig_count = Some(count(value)?),
            cta::COUNTERS_REPLY => entry.reply_count = Some(count(value)?),
            cta::ID => entry.id = Some(be32(value)?),
            cta::ZONE => entry.zone = be16(value)?,
            cta::TIMESTAMP => (entry.start, entry.stop) = timestamps(value)?,
            cta::LABELS => entry.label = label(value)?,
            _ => {}
        }
    }
    if !has_orig || entry.orig.src.is_none() || entry.orig.dst.is_none() {
        return Err("no addresses of the original direction");
    }
    Ok(entry)
}

fn tuple(value: &[u8]) -> Result<Tuple, Problem> {
    let mut tuple = Tuple::default();
    let mut icmp = None::<IcmpKind>;
    for attribute in Attributes(value) {
        let (kind, value) = attribute?;
        match kind {
            cta::TUPLE_IP => {
                for attribute in Attributes(value) {
                    let (kind, value) = attribute?;
                    let v4 = || array(value).map(|octets| Ipv4Addr::from(octets).into());
                    let v6 = || array(value).map(|octets: [u8; 16]| Ipv6Addr::from(octets).into());
                    match kind {
                        cta::IP_V4_SRC => tuple.src = Some(v4()?),
                        cta::IP_V4_DST => tuple.dst = Some(v4()?),
                        cta::IP_V6_SRC => tuple.src = Some(v6()?),
                        cta::IP_V6_DST => tuple.dst = Some(v6()?),
                        _ => {}
                    }
                }
            }
            cta::TUPLE_PROTO => {
                for attribute in Attributes(value) {
                    let (kind, value) = attribute?;
                    let byte = || array(value).map(|[byte]| byte);
                    match kind {
                        cta::PROTO_NUM => tuple.protocol = byte()?,
                        cta::PROTO_SRC_PORT => tuple.src_port = Some(be16(value)?),
                        cta::PROTO_DST_PORT => tuple.dst_port = Some(be16(value)?),
                        cta::PROTO_ICMP_ID | cta::PROTO_ICMPV6_ID => {
                            tuple.icmp_id = Some(be16(value)?);
                        }
                        cta::PROTO_ICMP_TYPE | cta::PROTO_ICMPV6_TYPE => {
                            icmp.get_or_insert_default().kind = byte()?;
                        }
                        cta::PROTO_ICMP_CODE | cta::PROTO_ICMPV6_CODE => {
                            icmp.get_or_insert_default().code = byte()?;
                        }
                        _ => {}
                    }
                }
            }
            cta::TUPLE_ZONE => tuple.zone = Some(be16(value)?),
            _ => {}
        }
    }
    tuple.icmp = icmp;
    Ok(tuple)
}

fn tcp_state(value: &[u8]) -> Result<Option<TcpState>, Problem> {
    for attribute in Attributes(value) {
        let (kind, value) = attribute?;
        if kind != cta::PROTOINFO_TCP {
            continue;
        }
        for attribute in Attributes(value) {
            let (kind, value) = attribute?;
            if kind == cta::PROTOINFO_TCP_STATE {
                let [state] = array(value)?;
                return Ok(STATES.get(usize::from(state)).copied());
            }
        }
    }
    Ok(None)
}

/// By the kernel's numbers (linux/netfilter/nf_conntrack_tcp.h).
const STATES: [TcpState; 10] = [
    TcpState::None,
    TcpState::SynSent,
    TcpState::SynReceived,
    TcpState::Established,
    TcpState::FinWait,
    TcpState::CloseWait,
    TcpState::LastAck,
    TcpState::TimeWait,
    TcpState::Close,
    TcpState::Listen,
];

fn count(value: &[u8]) -> Result<Count, Problem> {
    let mut count = Count::default();
    for attribute in Attributes(value) {
        let (kind, value) = attribute?;
        match kind {
            cta::COUNTERS_PACKETS => count.packets = be64(value)?,
            cta::COUNTERS_BYTES => count.bytes = be64(value)?,
            cta::COUNTERS32_PACKETS => count.packets = be32(value)?.into(),
            cta::COUNTERS32_BYTES => count.bytes = be32(value)?.into(),
            _ => {}
        }
    }
    Ok(count)
}

fn timestamps(value: &[u8]) -> Result<(Option<Timestamp>, Option<Timestamp>), Problem> {
    let (mut start, mut stop) = (None, None);
    for attribute in Attributes(value) {
        let (kind, value) = attribute?;
        // The kernel gives nanoseconds of its wall clock.
        let time = |value| be64(value).map(|nanos| i64::try_from(nanos).ok().map(Timestamp));
        match kind {
            cta::TIMESTAMP_START => start = time(value)?,
            cta::TIMESTAMP_STOP => stop = time(value)?,
            _ => {}
        }
    }
    Ok((start, stop))
}

/// The label as the number that Open vSwitch sees in it: it keeps a 128-bit number of the host's
/// byte order in these bytes (`ovs_u128`), and the kernel copies them as they are. A label with
/// fewer words than 128 bits has zeros in its high words.
fn label(value: &[u8]) -> Result<u128, Problem> {
    let mut bytes = [0; 16];
    bytes
        .get_mut(..value.len())
        .ok_or("a label of more than 128 bits")?
        .copy_from_slice(value);
    Ok(u128::from_ne_bytes(bytes))
}

/// The attributes of a message or of another attribute. The first one that does not fit ends
/// them with an error.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.0);
        let (Some(length), Some(kind)) = (u16_at(bytes, 0), u16_at(bytes, 2)) else {
            return Some(Err("an attribute that is cut off"));
        };
        let Some(value) = bytes.get(NLA_HEADER..usize::from(length)) else {
            return Some(Err("an attribute whose length does not fit"));
        };
        self.0 = bytes.get(align(usize::from(length))..).unwrap_or_default();
        // The two top bits are flags (linux/netlink.h, NLA_TYPE_MASK).
        Some(Ok((kind & 0x3fff, value)))
    }
}

const NLA_HEADER: usize = 4;

fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn array<const N: usize>(value: &[u8]) -> Result<[u8; N], Problem> {
    value.try_into().map_err(|_| "an attribute of wrong length")
}

fn be16(value: &[u8]) -> Result<u16, Problem> {
    array(value).map(u16::from_be_bytes)
}

fn be32(value: &[u8]) -> Result<u32, Problem> {
    array(value).map(u32::from_be_bytes)
}

fn be64(value: &[u8]) -> Result<u64, Problem> {
    array(value).map(u64::from_be_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}
