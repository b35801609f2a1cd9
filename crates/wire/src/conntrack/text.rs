use netverdict_types::IcmpKind;

use super::{Count, Entry, Status, TcpState, Tuple};
use crate::acl_log::number;

/// Reads one line of `ovs-appctl dpctl/dump-conntrack [-m] [-s]`. `None` is an empty line.
///
/// # Errors
/// [`TextError`] with the place in the line.
///
/// ```
/// use netverdict_wire::conntrack::parse_line;
/// let entry = parse_line(
///     "tcp,orig=(src=10.244.1.5,dst=10.96.0.10,sport=40000,dport=80),\
///      reply=(src=10.244.2.5,dst=10.244.1.5,sport=8080,dport=40000),zone=4,mark=65570,\
///      labels=0x7d2000000000000000000000000,protoinfo=(state=ESTABLISHED)",
/// )?
/// .unwrap();
/// assert_eq!(entry.obs_point_id(), 2002);
/// assert!(entry.natted());
/// # Ok::<(), netverdict_wire::conntrack::TextError>(())
/// ```
pub fn parse_line(line: &str) -> Result<Option<Entry>, TextError> {
    let end = line.trim_end().len();
    let start = line.len() - line.trim_start().len();
    if start >= end {
        return Ok(None);
    }
    let mut parts = Parts {
        text: &line[..end],
        at: start,
    };
    let mut entry = Entry::default();
    let (at, protocol, inner) = parts.take()?.unwrap_or_default();
    let protocol = match (protocol, inner) {
        ("icmp", None) => 1,
        ("tcp", None) => 6,
        ("udp", None) => 17,
        ("icmpv6", None) => 58,
        ("sctp", None) => 132,
        (other, None) => number(other).ok_or(TextError::new(at, "no protocol"))?,
        _ => return Err(TextError::new(at, "no protocol")),
    };
    while let Some((at, key, value)) = parts.take()? {
        let bad = |problem| TextError::new(at, problem);
        let Some((value_at, value)) = value else {
            // Bare words are none of what we need.
            continue;
        };
        match key {
            "orig" => {
                (entry.orig, entry.orig_count) = tuple(line, value_at, value, protocol)?;
            }
            "reply" => {
                (entry.reply, entry.reply_count) = tuple(line, value_at, value, protocol)?;
            }
            "id" => entry.id = Some(number(value).ok_or(bad("a bad id"))?),
            "zone" => entry.zone = number(value).ok_or(bad("a bad zone"))?,
            "mark" => entry.mark = number(value).ok_or(bad("a bad mark"))?,
            "labels" => entry.label = number(value).ok_or(bad("a bad label"))?,
            "timeout" => entry.timeout = Some(number(value).ok_or(bad("a bad timeout"))?),
            "status" => entry.status = Some(status(value)),
            "protoinfo" => entry.tcp_state = tcp_state(value),
            // start, stop, helper, master and what later versions add.
            _ => {}
        }
    }
    if entry.orig.src.is_none() || entry.orig.dst.is_none() {
        return Err(TextError::new(
            end,
            "no addresses of the original direction",
        ));
    }
    Ok(Some(entry))
}

/// A line that does not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the conntrack line has {problem} at byte {at}; the line was left out")]
pub struct TextError {
    /// Where in the line.
    pub at: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

impl TextError {
    fn new(at: usize, problem: &'static str) -> Self {
        Self { at, problem }
    }
}

/// `key`, `key=value` and `key=(…)` between commas.
struct Parts<'a> {
    text: &'a str,
    at: usize,
}

/// Where a part starts, its key, and where its value starts and what it is.
type Part<'a> = (usize, &'a str, Option<(usize, &'a str)>);

impl<'a> Parts<'a> {
    fn take(&mut self) -> Result<Option<Part<'a>>, TextError> {
        let at = self.at;
        let Some(rest) = self.text.get(at..).filter(|rest| !rest.is_empty()) else {
            return Ok(None);
        };
        let mut depth = 0_u32;
        let mut end = rest.len();
        for (place, byte) in rest.bytes().enumerate() {
            match byte {
                b'(' => depth += 1,
                b')' => {
                    depth = depth
                        .checked_sub(1)
                        .ok_or(TextError::new(at + place, "a parenthesis too much"))?;
                }
                b',' if depth == 0 => {
                    end = place;
                    break;
                }
                _ => {}
            }
        }
        if depth > 0 {
            return Err(TextError::new(at, "a parenthesis that is not closed"));
        }
        self.at = at + end + 1;
        let part = &rest[..end];
        Ok(Some(match part.split_once('=') {
            None => (at, part, None),
            Some((key, value)) => {
                let value_at = at + key.len() + 1;
                match value.strip_prefix('(').and_then(|v| v.strip_suffix(')')) {
                    Some(inner) => (at, key, Some((value_at + 1, inner))),
                    None => (at, key, Some((value_at, value))),
                }
            }
        }))
    }
}

fn tuple(
    line: &str,
    start: usize,
    inner: &str,
    protocol: u8,
) -> Result<(Tuple, Option<Count>), TextError> {
    let mut tuple = Tuple {
        protocol,
        ..Tuple::default()
    };
    let mut icmp = None::<IcmpKind>;
    let mut count = None::<Count>;
    let mut parts = Parts {
        text: &line[..start + inner.len()],
        at: start,
    };
    while let Some((at, key, value)) = parts.take()? {
        let bad = |problem| TextError::new(at, problem);
        let value = value.map_or("", |(_, value)| value);
        match key {
            "src" => tuple.src = Some(value.parse().map_err(|_| bad("a bad address"))?),
            "dst" => tuple.dst = Some(value.parse().map_err(|_| bad("a bad address"))?),
            "sport" => tuple.src_port = Some(number(value).ok_or(bad("a bad port"))?),
            "dport" => tuple.dst_port = Some(number(value).ok_or(bad("a bad port"))?),
            "id" => tuple.icmp_id = Some(number(value).ok_or(bad("a bad ICMP id"))?),
            "type" => {
                icmp.get_or_insert_default().kind = number(value).ok_or(bad("a bad ICMP type"))?;
            }
            "code" => {
                icmp.get_or_insert_default().code = number(value).ok_or(bad("a bad ICMP code"))?;
            }
            "zone" => tuple.zone = Some(number(value).ok_or(bad("a bad zone"))?),
            "packets" => {
                count.get_or_insert_default().packets = number(value).ok_or(bad("a bad count"))?;
            }
            "bytes" => {
                count.get_or_insert_default().bytes = number(value).ok_or(bad("a bad count"))?;
            }
            _ => {}
        }
    }
    if !matches!(protocol, 6 | 17 | 132 | 33 | 136) {
        // Open vSwitch prints ports for every protocol but ICMP.
        tuple.src_port = None;
        tuple.dst_port = None;
    }
    tuple.icmp = icmp;
    Ok((tuple, count))
}

/// Words between bars; a number stands for bits without a word.
fn status(value: &str) -> Status {
    let bits = value.split('|').map(|word| {
        WORDS
            .iter()
            .position(|&known| known == word)
            .map_or_else(|| number(word).unwrap_or(0), |bit| 1 << bit)
    });
    Status(bits.fold(0, |all, bit| all | bit))
}

/// By bit (linux/netfilter/nf_conntrack_common.h), in Open vSwitch's spelling.
const WORDS: [&str; 13] = [
    "EXPECTED",
    "SEEN_REPLY",
    "ASSURED",
    "CONFIRMED",
    "SRC_NAT",
    "DST_NAT",
    "SEQ_ADJUST",
    "SRC_NAT_DONE",
    "DST_NAT_DONE",
    "DYING",
    "FIXED_TIMEOUT",
    "TEMPLATE",
    "UNTRACKED",
];

/// `state=ESTABLISHED`, or one state a direction with `-m`: then the later one counts, as in the
/// form without `-m`.
fn tcp_state(inner: &str) -> Option<TcpState> {
    inner
        .split(',')
        .filter_map(|part| part.split_once('='))
        .filter(|(key, _)| matches!(*key, "state" | "state_orig" | "state_reply"))
        .filter_map(|(_, word)| STATES.iter().position(|(known, _)| *known == word))
        .max()
        .map(|place| STATES[place].1)
}

/// In Open vSwitch's order (lib/ct-dpif.h, `CT_DPIF_TCP_STATES`).
const STATES: [(&str, TcpState); 11] = [
    ("CLOSED", TcpState::Close),
    ("LISTEN", TcpState::Listen),
    ("SYN_SENT", TcpState::SynSent),
    ("SYN_RECV", TcpState::SynReceived),
    ("ESTABLISHED", TcpState::Established),
    ("CLOSE_WAIT", TcpState::CloseWait),
    ("FIN_WAIT_1", TcpState::FinWait),
    ("CLOSING", TcpState::Closing),
    ("LAST_ACK", TcpState::LastAck),
    ("FIN_WAIT_2", TcpState::FinWait),
    ("TIME_WAIT", TcpState::TimeWait),
];
