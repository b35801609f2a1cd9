use netverdict_types::{Cookie, Headers, Timestamp, ZoneId};

use crate::connections::mix;

/// Recognises further samples of one packet.
///
/// OVN before 26.03 samples an established packet of the original direction once for each tier
/// it passes (design, section 1), and any OVN samples a new one that a tier passes on once more for
/// each further tier in which nothing that is sampled decides. The copies are alike in everything a
/// source tells, and come in one go: after the first, up to `copies - 1` alike samples within
/// [`WINDOW`] belong to the same packet, and the next alike one is a packet of its own.
#[derive(Debug)]
pub(crate) struct Doubles {
    runs: Box<[Run]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Run {
    key: u64,
    time: Timestamp,
    left: u8,
}

const PLACES: usize = 1 << 12;
/// Copies of a packet leave the datapath within microseconds of each other; an emulated machine
/// and a busy exporter stretch that to milliseconds.
const WINDOW: i64 = 20_000_000;

impl Default for Doubles {
    fn default() -> Self {
        Self {
            runs: vec![Run::default(); PLACES].into(),
        }
    }
}

impl Doubles {
    /// True for a further sample of a packet that was seen already.
    pub(crate) fn is_double(
        &mut self,
        zone: ZoneId,
        cookie: Cookie,
        headers: &Headers,
        length: u32,
        time: Timestamp,
        copies: u8,
    ) -> bool {
        let key = identity(zone, cookie, headers, length);
        let run = &mut self.runs[(key >> 48) as usize & (PLACES - 1)];
        let near = (time.0 - run.time.0).abs() <= WINDOW;
        if run.key == key && near && run.left > 0 {
            run.left -= 1;
            return true;
        }
        *run = Run {
            key,
            time,
            left: copies - 1,
        };
        false
    }
}

/// What is the same in all samples of one packet and, as far as the source tells, differs in the
/// next. TCP flags are not in it: those of an IPFIX record are worked out from its exporter's
/// totals, and missing from the first.
fn identity(zone: ZoneId, cookie: Cookie, headers: &Headers, length: u32) -> u64 {
    let address = |ip: Option<std::net::IpAddr>| match ip {
        Some(std::net::IpAddr::V4(ip)) => u64::from(u32::from(ip)),
        Some(std::net::IpAddr::V6(ip)) => {
            let bits = u128::from(ip);
            mix(bits as u64, (bits >> 64) as u64)
        }
        None => 0,
    };
    let ports = u64::from(headers.src_port.unwrap_or(0)) << 16
        | u64::from(headers.dst_port.unwrap_or(0))
        | u64::from(headers.ip_id.unwrap_or(0)) << 32
        | u64::from(zone.0) << 48;
    let rest = u64::from(headers.tcp_seq.unwrap_or(0))
        | u64::from(length) << 32
        | u64::from(headers.protocol.unwrap_or(0)) << 56;
    let echo = u64::from(headers.icmp_id.unwrap_or(0));
    let ends = mix(address(headers.src), address(headers.dst) ^ ports);
    let what = mix(
        u64::from(cookie.domain) << 32 | u64::from(cookie.point),
        rest,
    );
    mix(ends ^ echo, what) | 1
}
