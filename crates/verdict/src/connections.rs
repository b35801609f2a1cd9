use std::net::IpAddr;

use netverdict_history::Span;
use netverdict_types::{Headers, Timestamp, ZoneId};

/// What was seen of the connections whose first packet was sampled: when they began, which end
/// began them, which ACL let them in, and the service they were sent to.
///
/// A table of fixed size: a new connection takes the place of the older of two. What is not here
/// is not guessed.
#[derive(Debug)]
pub(crate) struct Connections {
    starts: Box<[Set]>,
    services: Box<[Sent]>,
    /// Connections that lost their place while they were younger than an hour.
    pub(crate) displaced: u64,
}

/// A cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Set([Start; 2]);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Start {
    key: u64,
    time: Timestamp,
    /// First half of the ACL's uuid.
    acl: u64,
    /// The revision that brought the ACL, cut to 31 bits, and which end began.
    revision_and_end: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    key: u64,
    service: u32,
}

/// Both ends of a packet, the lower first, so that both directions of a connection are alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    key: u64,
    from_lower: bool,
    src: u64,
    dst: u64,
}

const SETS: usize = 1 << 15;
const HOUR: i64 = 3_600_000_000_000;

impl Default for Connections {
    fn default() -> Self {
        Self {
            starts: vec![Set::default(); SETS].into(),
            services: vec![Sent::default(); SETS].into(),
            displaced: 0,
        }
    }
}

impl Flow {
    pub(crate) fn new(zone: ZoneId, headers: &Headers) -> Option<Self> {
        let (src_ip, dst_ip) = (headers.src?, headers.dst?);
        let protocol = u64::from(headers.protocol?) << 16 | u64::from(zone.0) << 32;
        let echo = headers.icmp_id.unwrap_or(0);
        let src = end(src_ip, headers.src_port.unwrap_or(echo), protocol);
        let dst = end(dst_ip, headers.dst_port.unwrap_or(echo), protocol);
        Some(Self {
            // Zero marks an empty place.
            key: mix(src.min(dst), src.max(dst)) | 1,
            from_lower: src <= dst,
            src: src | 1,
            dst: dst | 1,
        })
    }
}

impl Connections {
    pub(crate) fn began(&mut self, flow: Flow, span: &Span, time: Timestamp) {
        let Set(set) = &mut self.starts[place(flow.key)];
        let row = span.row();
        let start = Start {
            key: flow.key,
            time,
            acl: half(row.uuid),
            revision_and_end: (row.revision as u32) << 1 | u32::from(flow.from_lower),
        };
        let [first, second] = set;
        if first.key == flow.key {
            // A second ACL of the same first packet (the other direction's) leaves the start.
            *first = Start {
                time: first.time.min(time),
                ..start
            };
            return;
        }
        self.displaced +=
            u64::from(second.key != 0 && second.key != flow.key && time.0 - second.time.0 < HOUR);
        *second = *first;
        *first = start;
    }

    /// Loads what the others need of a flow.
    pub(crate) fn touch(&self, flow: Flow) -> usize {
        let Set([first, _]) = &self.starts[place(flow.key)];
        let Sent { service, .. } = self.services[place(flow.src)];
        first.key as usize ^ service as usize
    }

    pub(crate) fn start(&self, flow: Flow) -> Option<Start> {
        let Set(set) = &self.starts[place(flow.key)];
        set.iter().find(|start| start.key == flow.key).copied()
    }

    /// Notes that the connection of the client's end goes to a service.
    pub(crate) fn sent(&mut self, flow: Flow, client_is_src: bool, service: u32) {
        let key = if client_is_src { flow.src } else { flow.dst };
        self.services[place(key)] = Sent { key, service };
    }

    /// The service that the sender was last seen to use as a client.
    pub(crate) fn service_of_src(&self, flow: Flow) -> Option<u32> {
        self.service(flow.src)
    }

    /// The service that the receiver was last seen to use as a client.
    pub(crate) fn service_of_dst(&self, flow: Flow) -> Option<u32> {
        self.service(flow.dst)
    }

    fn service(&self, key: u64) -> Option<u32> {
        let sent = self.services[place(key)];
        (sent.key == key).then_some(sent.service)
    }
}

/// How the table stands in a file: this, then for each connection its place and its four numbers,
/// then a CRC-32 of all before it. Little endian.
const MAGIC: &[u8; 8] = b"nvconn\x001";
const ENTRY: usize = 32;

impl Connections {
    /// The starts, for a file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for start in self
            .starts
            .iter()
            .rev()
            .flat_map(|Set(set)| set.iter().rev())
        {
            if start.key != 0 {
                bytes.extend(start.key.to_le_bytes());
                bytes.extend(start.time.0.to_le_bytes());
                bytes.extend(start.acl.to_le_bytes());
                bytes.extend(u64::from(start.revision_and_end).to_le_bytes());
            }
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Takes the starts out of a file; false, and nothing taken, if it is damaged.
    pub(crate) fn take_bytes(&mut self, bytes: &[u8]) -> bool {
        let Some((body, sum)) = bytes.split_last_chunk::<4>() else {
            return false;
        };
        let Some(entries) = body.strip_prefix(MAGIC) else {
            return false;
        };
        if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
            return false;
        }
        let (entries, rest) = entries.as_chunks::<ENTRY>();
        for entry in entries {
            let (numbers, _) = entry.as_chunks::<8>();
            let [key, time, acl, last] = [0, 1, 2, 3].map(|at| u64::from_le_bytes(numbers[at]));
            let Set(set) = &mut self.starts[place(key)];
            set[1] = set[0];
            set[0] = Start {
                key,
                time: Timestamp(time as i64),
                acl,
                revision_and_end: last as u32,
            };
        }
        rest.is_empty()
    }
}

impl Start {
    pub(crate) fn time(self) -> Timestamp {
        self.time
    }

    /// True for a packet that goes back to the end that began.
    pub(crate) fn is_reply(self, flow: Flow) -> bool {
        (self.revision_and_end & 1 != 0) != flow.from_lower
    }

    pub(crate) fn is(self, span: &Span) -> bool {
        let row = span.row();
        self.acl == half(row.uuid)
            && self.revision_and_end >> 1 == row.revision as u32 & (u32::MAX >> 1)
    }
}

fn half(uuid: uuid::Uuid) -> u64 {
    uuid.as_u64_pair().0
}

fn end(ip: IpAddr, port: u16, rest: u64) -> u64 {
    let bits = match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    };
    mix(
        mix(
            bits as u64 ^ 0x243f_6a88_85a3_08d3,
            (bits >> 64) as u64 ^ 0x1319_8a2e_0370_7344,
        ),
        u64::from(port) ^ rest ^ 0xa409_3822_299f_31d0,
    )
}

pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xc2b2_ae3d_27d4_eb4f);
    (product as u64) ^ (product >> 64) as u64
}

fn place(key: u64) -> usize {
    (key >> 40) as usize & (SETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_come_back_from_a_file_and_damage_is_seen() {
        let mut table = Connections::default();
        for number in 1..500_u64 {
            let key = mix(number, 7) | 1;
            table.starts[place(key)].0[0] = Start {
                key,
                time: Timestamp(number as i64),
                acl: number * 3,
                revision_and_end: number as u32,
            };
        }
        let bytes = table.to_bytes();
        let mut back = Connections::default();
        assert!(back.take_bytes(&bytes));
        assert_eq!(back.to_bytes(), bytes);
        for cut in (0..bytes.len()).step_by(61) {
            assert!(!Connections::default().take_bytes(&bytes[..cut]));
        }
        let mut flipped = bytes;
        flipped[100] ^= 1;
        assert!(!Connections::default().take_bytes(&flipped));
    }
}
