use std::fmt::{self, Write};
use std::net::IpAddr;

use hashbrown::HashMap;
use netverdict_types::{Action, Timestamp};

use super::{Line, Sink};
use crate::{L4, Meter, Packet};

/// Writes the lines that ovn-controller logs for ACLs (OVN lib/acl-log.c), as many as the meters let through.
///
/// Meters are those of Open vSwitch (lib/dpif-netdev.c): a bucket holds a burst, or a second's worth where none is given, is full at first and is
/// filled again by the millisecond. A fair meter has a bucket for each ACL.
#[derive(Clone, Debug)]
pub struct AclLog<F> {
    meters: Vec<HashMap<String, Meter>>,
    /// Of each zone, by the name in the action.
    buckets: Vec<HashMap<Box<str>, Bucket>>,
    write: F,
    line: String,
    sequence: u64,
    /// Lines that were written.
    pub written: u64,
    /// Lines that meters suppressed.
    pub suppressed: u64,
}

impl<F: FnMut(&str)> AclLog<F> {
    /// `meters` are those of each zone ([`Northbound::meters`](crate::Northbound::meters)); `write` is called for each line, without its end.
    pub fn new(meters: Vec<HashMap<String, Meter>>, write: F) -> Self {
        Self {
            buckets: vec![HashMap::new(); meters.len()],
            meters,
            write,
            line: String::new(),
            sequence: 0,
            written: 0,
            suppressed: 0,
        }
    }

    /// Whether the meter lets the line through. One that is not there cannot be installed, and Open vSwitch then does without.
    fn passes(&mut self, line: &Line<'_>) -> bool {
        let (Some(name), Some(meters), Some(buckets)) = (
            line.log.meter,
            self.meters.get(line.zone),
            self.buckets.get_mut(line.zone),
        ) else {
            return true;
        };
        if !buckets.contains_key(name) {
            let Some(meter) = meters.get(name).or_else(|| {
                // The meter's name, and the ACL that has a bucket of its own.
                let (meter, _) = name.rsplit_once("__")?;
                meters.get(meter).filter(|meter| meter.fair)
            }) else {
                return true;
            };
            buckets.insert(name.into(), Bucket::new(*meter, line.time));
        }
        buckets
            .get_mut(name)
            .is_none_or(|bucket| bucket.takes(line.time, line.packet.length))
    }
}

impl<F: FnMut(&str)> Sink for AclLog<F> {
    fn log(&mut self, line: &Line<'_>) {
        if !self.passes(line) {
            self.suppressed += 1;
            return;
        }
        self.written += 1;
        self.sequence += 1;
        self.line.clear();
        // Writing to a String does not fail.
        let _ = put(&mut self.line, self.sequence, line);
        (self.write)(&self.line);
    }
}

fn put(out: &mut String, sequence: u64, line: &Line<'_>) -> fmt::Result {
    let time = line.time.to_rfc3339();
    // Down to milliseconds.
    let time = time.as_str().get(..23).unwrap_or_default();
    write!(
        out,
        "{time}Z|{sequence:05}|acl_log(ovn_pinctrl0)|INFO|name="
    )?;
    put_json(out, line.log.name.unwrap_or("<unnamed>"))?;
    let verdict = match line.log.action {
        Action::Drop => "drop",
        Action::Reject => "reject",
        Action::Pass => "pass",
        _ => "allow",
    };
    let direction = match line.at.stage.is_ingress() {
        true => "from-lport",
        false => "to-lport",
    };
    write!(
        out,
        ", verdict={verdict}, severity={}, direction={direction}: {}",
        line.log.severity,
        FlowText(line.packet)
    )
}

/// A JSON string as Open vSwitch writes it (lib/json.c).
fn put_json(out: &mut String, text: &str) -> fmt::Result {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => write!(out, "\\u{:04x}", u32::from(control))?,
            other => out.push(other),
        }
    }
    out.push('"');
    Ok(())
}

/// A packet's headers as Open vSwitch writes those of one that it sends to its controller (lib/flow.c, flow_format; ovs-fields(7)).
#[derive(Clone, Copy, Debug)]
pub struct FlowText<'a>(pub &'a Packet);

impl fmt::Display for FlowText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packet = self.0;
        let kind = match packet.ip {
            Some((IpAddr::V4(_), _)) => word(packet.protocol, ["ip", "icmp", "tcp", "udp", "sctp"]),
            Some(_) => word(packet.protocol, ["ipv6", "icmp6", "tcp6", "udp6", "sctp6"]),
            None => match packet.eth_type {
                IPV4 => "ip",
                IPV6 => "ipv6",
                ARP => "arp",
                RARP => "rarp",
                _ => "",
            },
        };
        if !kind.is_empty() {
            write!(f, "{kind},")?;
        }
        match packet.vlan_tci {
            0 => f.write_str("vlan_tci=0x0000")?,
            tci => write!(
                f,
                "dl_vlan={},dl_vlan_pcp={},vlan_tci1=0x0000",
                tci & 0x0fff,
                tci >> 13
            )?,
        }
        write!(
            f,
            ",dl_src={},dl_dst={}",
            Mac(packet.eth_src),
            Mac(packet.eth_dst)
        )?;
        if let L4::Arp {
            op,
            sha,
            spa,
            tha,
            tpa,
        } = packet.l4
        {
            return write!(
                f,
                ",arp_spa={spa},arp_tpa={tpa},arp_op={op},arp_sha={},arp_tha={}",
                Mac(sha),
                Mac(tha)
            );
        }
        let Some((src, dst)) = packet.ip else {
            if kind.is_empty() {
                write!(f, ",dl_type=0x{:04x}", packet.eth_type)?;
            }
            return Ok(());
        };
        match src {
            IpAddr::V4(_) => write!(f, ",nw_src={src},nw_dst={dst}")?,
            IpAddr::V6(_) => write!(
                f,
                ",ipv6_src={src},ipv6_dst={dst},ipv6_label=0x{:05x}",
                packet.flow_label
            )?,
        }
        if matches!(kind, "ip" | "ipv6") {
            write!(f, ",nw_proto={}", packet.protocol)?;
        }
        let fragment = match packet.fragment {
            0 => "no",
            1 => "first",
            _ => "later",
        };
        write!(
            f,
            ",nw_tos={},nw_ecn={},nw_ttl={},nw_frag={fragment}",
            packet.tos & 0xfc,
            packet.tos & 3,
            packet.ttl
        )?;
        if packet.fragment > 1 {
            return Ok(());
        }
        match packet.l4 {
            L4::Tcp { src, dst, flags } => {
                write!(f, ",tp_src={src},tp_dst={dst},tcp_flags={}", Flags(flags))
            }
            L4::Udp { src, dst } | L4::Sctp { src, dst, .. } => {
                write!(f, ",tp_src={src},tp_dst={dst}")
            }
            L4::Icmp {
                kind,
                code,
                target,
                link,
                ..
            } => {
                write!(f, ",icmp_type={kind},icmp_code={code}")?;
                if src.is_ipv4() || code != 0 || !matches!(kind, SOLICITATION | ADVERTISEMENT) {
                    return Ok(());
                }
                let target = target.unwrap_or(std::net::Ipv6Addr::UNSPECIFIED);
                let link = link.unwrap_or_default();
                let (source, of_target) = match kind {
                    SOLICITATION => (link, [0; 6]),
                    _ => ([0; 6], link),
                };
                write!(
                    f,
                    ",nd_target={target},nd_sll={},nd_tll={}",
                    Mac(source),
                    Mac(of_target)
                )
            }
            // What is cut off is 0.
            L4::Other | L4::Arp { .. } => match kind {
                "tcp" | "tcp6" => f.write_str(",tp_src=0,tp_dst=0,tcp_flags=0"),
                "udp" | "udp6" | "sctp" | "sctp6" => f.write_str(",tp_src=0,tp_dst=0"),
                "icmp" | "icmp6" => f.write_str(",icmp_type=0,icmp_code=0"),
                "ip" | "ipv6" if packet.protocol == IGMP => f.write_str(",tp_src=0,tp_dst=0"),
                _ => Ok(()),
            },
        }
    }
}

/// The word for a protocol: other, ICMP, TCP, UDP, SCTP.
fn word(protocol: u8, words: [&'static str; 5]) -> &'static str {
    let icmp = match words[0] {
        "ip" => 1,
        _ => 58,
    };
    match protocol {
        6 => words[2],
        17 => words[3],
        132 => words[4],
        other if other == icmp => words[1],
        _ => words[0],
    }
}

struct Mac([u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// TCP flags by their names, the lowest bit first.
struct Flags(u16);

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = FLAGS
            .iter()
            .enumerate()
            .filter(|(bit, _)| self.0 >> bit & 1 == 1);
        let mut empty = true;
        for (_, name) in set {
            if !empty {
                f.write_char('|')?;
            }
            empty = false;
            f.write_str(name)?;
        }
        match empty {
            true => f.write_char('0'),
            false => Ok(()),
        }
    }
}

const FLAGS: [&str; 12] = [
    "fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]",
];

/// The bucket of a meter's band. Packets are counted in thousandths, bytes in bits.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    meter: Meter,
    level: u64,
    most: u64,
    /// In milliseconds.
    used: i64,
}

impl Bucket {
    fn new(meter: Meter, now: Timestamp) -> Self {
        let burst = match meter.burst {
            0 => meter.rate,
            burst => burst,
        };
        let most = u64::from(burst) * 1_000;
        Self {
            meter,
            level: most,
            most,
            used: milliseconds(now),
        }
    }

    fn takes(&mut self, now: Timestamp, bytes: u32) -> bool {
        let now = milliseconds(now);
        let passed = u64::try_from(now.saturating_sub(self.used)).unwrap_or_default();
        self.used = now;
        let filled = passed.saturating_mul(u64::from(self.meter.rate));
        self.level = self.level.saturating_add(filled).min(self.most);
        let volume = match self.meter.packets {
            true => 1_000,
            false => u64::from(bytes) * 8,
        };
        let takes = self.level >= volume;
        if takes {
            self.level -= volume;
        }
        takes
    }
}

fn milliseconds(time: Timestamp) -> i64 {
    time.0.div_euclid(1_000_000)
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const RARP: u16 = 0x8035;
const IGMP: u8 = 2;
/// ICMPv6 types of neighbour discovery (RFC 4861).
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
