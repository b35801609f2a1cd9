//! The lines that ovn-controller logs for ACLs with `log=true`.
//!
//! The form is that of OVN's `lib/acl-log.c`, behind the prefix of Open vSwitch's logging
//! (ovs-appctl(8), vlog/set, PATTERN): the name as a JSON string, verdict, severity, direction,
//! and the packet's headers as an OpenFlow flow (ovs-fields(7)). It is the way to verdicts where
//! OVN is older than 24.09 and takes no samples.

use std::net::IpAddr;
use std::str::FromStr;

use netverdict_types::{
    Headers, IcmpKind, Input, Key, LogDirection, LogVerdict, Origin, Probability, Sample, TcpFlags,
    Timestamp, ZoneId,
};

/// Reads one line of a log. `None` is a line of another module of ovn-controller, or of somebody
/// else.
///
/// The line may carry a prefix of syslog, the journal or a container runtime. `scratch` holds
/// the name where it had to be unescaped.
///
/// # Errors
/// [`Error`] for a line of the module `acl_log` that does not read, with the place in the line.
///
/// ```
/// # use netverdict_types::{Timestamp, ZoneId};
/// let line = b"2026-11-23T08:15:30.123Z|00012|acl_log(ovn_pinctrl0)|INFO|name=\"NP:blue:deny\", \
///     verdict=drop, severity=info, direction=to-lport: tcp,vlan_tci=0x0000,\
///     nw_src=10.244.1.5,nw_dst=10.244.2.5,nw_ttl=64,tp_src=40000,tp_dst=80,tcp_flags=syn";
/// let mut scratch = String::new();
/// let line = netverdict_wire::acl_log::parse(line, &mut scratch)?.unwrap();
/// assert_eq!(line.name, "NP:blue:deny");
/// let sample = line.sample(ZoneId(0), Timestamp(0));
/// assert_eq!(sample.headers.dst_port, Some(80));
/// # Ok::<(), netverdict_wire::acl_log::Error>(())
/// ```
pub fn parse<'a>(line: &'a [u8], scratch: &'a mut String) -> Result<Option<Line<'a>>, Error> {
    let line = line.trim_ascii_end();
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(error) => {
            let ours = line
                .windows(MODULE.len())
                .any(|part| part == MODULE.as_bytes());
            let at = error.valid_up_to();
            return if ours {
                fail(at, Problem::NotUtf8)
            } else {
                Ok(None)
            };
        }
    };
    let Some((prefix, message)) = split_prefix(text) else {
        return Ok(None);
    };
    let mut rest = Rest { text, at: message };
    rest.expect("name=\"", "the ACL's name")?;
    let name = rest.json_string(scratch)?;
    rest.expect(", verdict=", "the verdict")?;
    let verdict = match rest.word() {
        (_, "allow") => LogVerdict::Allow,
        (_, "drop") => LogVerdict::Drop,
        (_, "reject") => LogVerdict::Reject,
        (_, "pass") => LogVerdict::Pass,
        (at, _) => return fail(at, Problem::Bad("verdict")),
    };
    rest.expect(", severity=", "the severity")?;
    let (_, severity) = rest.word();
    rest.expect(", direction=", "the direction")?;
    let direction = match rest.word() {
        (_, "from-lport") => LogDirection::FromLport,
        (_, "to-lport") => LogDirection::ToLport,
        (at, _) => return fail(at, Problem::Bad("direction")),
    };
    rest.expect(": ", "the packet's headers")?;
    Ok(Some(Line {
        time: prefix_time(&text[..prefix]),
        // ovn-controller writes this where the ACL has no name.
        name: if name == "<unnamed>" { "" } else { name },
        verdict,
        severity,
        direction,
        headers: headers(text, rest.at)?,
    }))
}

/// One verdict as it was logged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line<'a> {
    /// When it was logged, by the clock of ovn-controller's host; `None` where the line has no
    /// time or one without year and time zone, as syslog's.
    pub time: Option<Timestamp>,
    /// The ACL's name; empty where it has none.
    pub name: &'a str,
    /// What the ACL did.
    pub verdict: LogVerdict,
    /// `alert`, `warning`, `notice`, `info` or `debug`.
    pub severity: &'a str,
    /// Which pipeline evaluated it.
    pub direction: LogDirection,
    /// The packet's headers.
    pub headers: Headers,
}

impl<'a> Line<'a> {
    /// The line as a sample of one packet. `arrived` stands for the time where the line has
    /// none. Its length is not known and 0. Meters of OVN may have suppressed other lines, so
    /// that the probability is an upper bound.
    pub fn sample(&self, zone: ZoneId, arrived: Timestamp) -> Sample<'a> {
        Sample {
            zone,
            origin: Origin::AclLog,
            time: self.time.unwrap_or(arrived),
            key: Key::Log {
                name: self.name,
                verdict: self.verdict,
                direction: self.direction,
            },
            group: None,
            probability: Probability::ALL,
            input: Input::Unknown,
            headers: self.headers,
            length: 0,
            packets: 1,
            bytes: 0,
            data: &[],
        }
    }
}

/// A line of the module `acl_log` that does not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the ACL log line has {problem} at byte {at}; the line was left out")]
pub struct Error {
    /// Where in the line.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Bytes that are not UTF-8.
    #[error("bytes that are not UTF-8")]
    NotUtf8,
    /// Something else stands where this belongs.
    #[error("something else than {0}")]
    Missing(&'static str),
    /// A value of this kind that nobody knows.
    #[error("an unknown {0}")]
    Bad(&'static str),
}

/// Reads a moment such as `2026-11-23T08:15:30.123Z` or `2026-11-23T08:15:30+01:00`, with any
/// number of fractional digits (RFC 3339).
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let part = |from: usize, to: usize, before: u8| -> Option<i64> {
        if from > 0 && *bytes.get(from - 1)? != before {
            return None;
        }
        let digits = bytes.get(from..to)?;
        digits.iter().try_fold(0, |number, &digit| {
            digit
                .is_ascii_digit()
                .then(|| number * 10 + i64::from(digit - b'0'))
        })
    };
    let (year, month, day) = (part(0, 4, 0)?, part(5, 7, b'-')?, part(8, 10, b'-')?);
    let (hour, minute, second) = (
        part(11, 13, b'T')?,
        part(14, 16, b':')?,
        part(17, 19, b':')?,
    );
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        for (place, digit) in fraction.bytes().take(length.min(9)).enumerate() {
            nanos += i64::from(digit - b'0') * 10_i64.pow(8 - place as u32);
        }
        rest = &fraction[length..];
    }
    let offset = match rest.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), a, b, colon @ .., c, d]
            if matches!(colon, [] | [b':']) && [a, b, c, d].iter().all(|d| d.is_ascii_digit()) =>
        {
            let two = |a: &u8, b: &u8| i64::from(a - b'0') * 10 + i64::from(b - b'0');
            let seconds = two(a, b) * 3_600 + two(c, d) * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    let seconds =
        days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    seconds
        .checked_mul(1_000_000_000)?
        .checked_add(nanos)
        .map(Timestamp)
}

const MODULE: &str = "|acl_log";

/// Finds the message of a line of our module: where its prefix and where the message ends and
/// starts. The prefix is `TIME|SEQUENCE|MODULE(THREAD)|LEVEL|`, with a program's name instead of
/// the time in syslog.
fn split_prefix(text: &str) -> Option<(usize, usize)> {
    let module = text.find(MODULE)?;
    let sequence = text[..module].rfind('|').map_or(0, |bar| bar + 1);
    if sequence == 0 || !text[sequence..module].bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut at = module + MODULE.len();
    if text[at..].starts_with('(') {
        at += text[at..].find(')')? + 1;
    }
    let level = text[at..].strip_prefix('|')?;
    let message = at + 1 + level.find('|')? + 1;
    Some((sequence - 1, message))
}

/// The time in what stands before a line's sequence number: the part next to it is the one that
/// ovn-controller wrote itself, one at the start is from whoever collected the line.
fn prefix_time(prefix: &str) -> Option<Timestamp> {
    let mut words = prefix.split_ascii_whitespace();
    words
        .next_back()
        .and_then(moment)
        .or_else(|| words.next().and_then(moment))
}

/// What is left of a line.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn expect(&mut self, wanted: &str, what: &'static str) -> Result<(), Error> {
        if !self.text[self.at..].starts_with(wanted) {
            return fail(self.at, Problem::Missing(what));
        }
        self.at += wanted.len();
        Ok(())
    }

    /// Up to the next comma or colon.
    fn word(&mut self) -> (usize, &'a str) {
        let (at, rest) = (self.at, &self.text[self.at..]);
        let length = rest.find([',', ':']).unwrap_or(rest.len());
        self.at += length;
        (at, &rest[..length])
    }

    /// The inside of a JSON string whose opening quote was read.
    fn json_string(&mut self, scratch: &'a mut String) -> Result<&'a str, Error> {
        let rest = &self.text[self.at..];
        let mut escaped = false;
        let mut bytes = rest.bytes().enumerate();
        let end = loop {
            match bytes.next() {
                Some((end, b'"')) => break end,
                Some((_, b'\\')) => {
                    escaped = true;
                    bytes.next();
                }
                Some(_) => {}
                None => return fail(self.text.len(), Problem::Missing("the end of the name")),
            }
        };
        let start = self.at;
        self.at += end + 1;
        if !escaped {
            return Ok(&rest[..end]);
        }
        scratch.clear();
        match serde_json::from_str::<String>(&self.text[start - 1..self.at]) {
            Ok(name) => scratch.push_str(&name),
            Err(_) => return fail(start, Problem::Bad("escape in the ACL's name")),
        }
        Ok(scratch)
    }
}

/// Reads the headers from a flow that starts at byte `start` of `text`.
fn headers(text: &str, start: usize) -> Result<Headers, Error> {
    let mut headers = Headers::default();
    let mut icmp = IcmpKind::default();
    let mut at = start;
    for part in text[start..].split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        // Packets in a log are never masked, but the text could be.
        let bad = |what| Error {
            at: at + part.len() - value.len(),
            problem: Problem::Bad(what),
        };
        match key {
            "dl_src" => headers.eth_src = Some(mac(value).ok_or(bad("MAC address"))?),
            "dl_dst" => headers.eth_dst = Some(mac(value).ok_or(bad("MAC address"))?),
            "dl_type" => headers.ethertype = Some(number(value).ok_or(bad("ethertype"))?),
            "dl_vlan" => headers.vlan = Some(number(value).ok_or(bad("VLAN id"))?),
            "vlan_tci" => {
                let tci: u16 = number(value).ok_or(bad("VLAN tag"))?;
                // Bit 12 says that there is a tag (ovs-fields(7), vlan_tci).
                headers.vlan = (tci & 0x1000 != 0).then_some(tci & 0x0fff);
            }
            "nw_src" | "ipv6_src" | "arp_spa" => {
                headers.src = Some(parsed::<IpAddr>(value).ok_or(bad("address"))?);
            }
            "nw_dst" | "ipv6_dst" | "arp_tpa" => {
                headers.dst = Some(parsed::<IpAddr>(value).ok_or(bad("address"))?);
            }
            "nw_proto" => headers.protocol = Some(number(value).ok_or(bad("IP protocol"))?),
            "nw_ttl" => headers.ttl = Some(number(value).ok_or(bad("TTL"))?),
            "nw_frag" | "ip_frag" => headers.later_fragment = value == "later",
            "tp_src" | "tcp_src" | "udp_src" | "sctp_src" => {
                headers.src_port = Some(number(value).ok_or(bad("port"))?);
            }
            "tp_dst" | "tcp_dst" | "udp_dst" | "sctp_dst" => {
                headers.dst_port = Some(number(value).ok_or(bad("port"))?);
            }
            "icmp_type" | "icmpv6_type" => {
                icmp.kind = number(value).ok_or(bad("ICMP type"))?;
                headers.icmp = Some(icmp);
            }
            "icmp_code" | "icmpv6_code" => {
                icmp.code = number(value).ok_or(bad("ICMP code"))?;
                headers.icmp = headers.icmp.map(|_| icmp);
            }
            "tcp_flags" => headers.tcp_flags = Some(tcp_flags(value).ok_or(bad("TCP flag"))?),
            word if value.is_empty() => {
                if let Some((ethertype, protocol)) = protocol(word) {
                    headers.ethertype = Some(ethertype);
                    headers.protocol = protocol.or(headers.protocol);
                }
            }
            // Fields that say nothing of interest here.
            _ => {}
        }
        at += part.len() + 1;
    }
    if headers.ethertype.is_none() {
        return fail(start, Problem::Missing("a packet's headers"));
    }
    if headers.later_fragment {
        // The flow has zeros for what a later fragment does not carry.
        headers.src_port = None;
        headers.dst_port = None;
        headers.tcp_flags = None;
        headers.icmp = None;
    }
    Ok(headers)
}

/// Ethertype and IP protocol of the words that stand for both (ovs-fields(7), "Matching").
fn protocol(word: &str) -> Option<(u16, Option<u8>)> {
    const IP: u16 = 0x0800;
    const IPV6: u16 = 0x86dd;
    Some(match word {
        "ip" => (IP, None),
        "icmp" => (IP, Some(1)),
        "igmp" => (IP, Some(2)),
        "tcp" => (IP, Some(6)),
        "udp" => (IP, Some(17)),
        "sctp" => (IP, Some(132)),
        "ipv6" => (IPV6, None),
        "tcp6" => (IPV6, Some(6)),
        "udp6" => (IPV6, Some(17)),
        "icmp6" => (IPV6, Some(58)),
        "sctp6" => (IPV6, Some(132)),
        "arp" => (0x0806, None),
        "rarp" => (0x8035, None),
        "mpls" => (0x8847, None),
        "mplsm" => (0x8848, None),
        "nsh" => (0x894f, None),
        _ => return None,
    })
}

/// `syn|ack`, or a number where a flag has no name.
fn tcp_flags(value: &str) -> Option<TcpFlags> {
    if let Some(all) = number::<u16>(value) {
        return Some(TcpFlags(all as u8));
    }
    value.split('|').try_fold(TcpFlags(0), |flags, word| {
        let flag = match word {
            "fin" => 0x01,
            "syn" => 0x02,
            "rst" => 0x04,
            "psh" => 0x08,
            "ack" => 0x10,
            "urg" => 0x20,
            "ece" => 0x40,
            "cwr" => 0x80,
            // Beyond the byte that headers carry.
            "ns" | "[200]" | "[400]" | "[800]" => 0x00,
            _ => return None,
        };
        Some(TcpFlags(flags.0 | flag))
    })
}

pub(crate) fn mac(value: &str) -> Option<[u8; 6]> {
    let mut address = [0; 6];
    let mut parts = value.split(':');
    for byte in &mut address {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(address)
}

/// A decimal or `0x` number.
pub(crate) fn number<T: TryFrom<u128>>(value: &str) -> Option<T> {
    let number = match value.strip_prefix("0x") {
        Some(hex) => u128::from_str_radix(hex, 16).ok()?,
        None => value.parse().ok()?,
    };
    T::try_from(number).ok()
}

fn parsed<T: FromStr>(value: &str) -> Option<T> {
    value.parse().ok()
}

fn fail<T>(at: usize, problem: Problem) -> Result<T, Error> {
    Err(Error { at, problem })
}

/// Days from 1970-01-01 to a day of the proleptic Gregorian calendar.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years that start in March end with the leap day.
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    const TCP: &str = "2026-11-23T08:15:30.123Z|00012|acl_log(ovn_pinctrl0)|INFO|\
        name=\"NP:blue:allow-server:Ingress:0\", verdict=drop, severity=info, direction=to-lport: \
        tcp,vlan_tci=0x0000,dl_src=0a:58:0a:f4:01:05,dl_dst=0a:58:0a:f4:01:01,nw_src=10.244.1.5,\
        nw_dst=10.244.2.5,nw_tos=0,nw_ecn=0,nw_ttl=63,nw_frag=no,tp_src=40000,tp_dst=8080,\
        tcp_flags=syn";

    fn read(line: &str) -> Result<Option<Line<'static>>, Error> {
        let line: &'static str = String::leak(line.to_owned());
        parse(line.as_bytes(), Box::leak(Box::default()))
    }

    #[test]
    fn a_tcp_line() {
        let line = read(TCP).unwrap().unwrap();
        assert_eq!(
            line.time.unwrap().to_string(),
            "2026-11-23T08:15:30.123000000Z"
        );
        assert_eq!(line.name, "NP:blue:allow-server:Ingress:0");
        assert_eq!(line.verdict, LogVerdict::Drop);
        assert_eq!(line.severity, "info");
        assert_eq!(line.direction, LogDirection::ToLport);
        let expected = Headers {
            eth_src: Some([0x0a, 0x58, 0x0a, 0xf4, 1, 5]),
            eth_dst: Some([0x0a, 0x58, 0x0a, 0xf4, 1, 1]),
            ethertype: Some(0x0800),
            src: "10.244.1.5".parse().ok(),
            dst: "10.244.2.5".parse().ok(),
            protocol: Some(6),
            ttl: Some(63),
            src_port: Some(40000),
            dst_port: Some(8080),
            tcp_flags: Some(TcpFlags(TcpFlags::SYN)),
            ..Headers::default()
        };
        assert_eq!(line.headers, expected);
    }

    #[test]
    fn other_protocols() {
        let with = |flow: &str| {
            let line = format!(
                "2026-11-23T08:15:30.1Z|1|acl_log|INFO|name=\"<unnamed>\", verdict=allow, \
                 severity=debug, direction=from-lport: {flow}\n"
            );
            let line = read(&line).unwrap().unwrap();
            assert_eq!(line.name, "");
            line.headers
        };
        let v6 = with(
            "icmp6,vlan_tci=0x100a,ipv6_src=fd00::5,ipv6_dst=fd00::6,ipv6_label=0x00000,nw_tos=0,\
             nw_ecn=0,nw_ttl=255,nw_frag=no,icmp_type=135,icmp_code=0,nd_target=fd00::6,\
             nd_sll=02:00:00:00:00:01,nd_tll=00:00:00:00:00:00",
        );
        assert_eq!(v6.vlan, Some(10));
        assert_eq!(v6.protocol, Some(58));
        assert_eq!(v6.ethertype, Some(0x86dd));
        assert_eq!(v6.src, "fd00::5".parse().ok());
        assert_eq!(v6.icmp, Some(IcmpKind { kind: 135, code: 0 }));
        let icmp = with("icmp,nw_src=1.2.3.4,nw_dst=5.6.7.8,icmp_type=3,icmp_code=4");
        assert_eq!(icmp.icmp, Some(IcmpKind { kind: 3, code: 4 }));
        let later = with("udp,nw_src=1.2.3.4,nw_dst=5.6.7.8,nw_frag=later,tp_src=0,tp_dst=0");
        assert!(later.later_fragment);
        assert_eq!((later.protocol, later.dst_port), (Some(17), None));
        let first = with("udp,nw_src=1.2.3.4,nw_dst=5.6.7.8,nw_frag=first,tp_src=9,tp_dst=10");
        assert_eq!((first.later_fragment, first.dst_port), (false, Some(10)));
        let sctp = with("sctp6,ipv6_src=::1,ipv6_dst=::2,tp_src=9,tp_dst=10");
        assert_eq!((sctp.protocol, sctp.src_port), (Some(132), Some(9)));
        let gre = with("ip,dl_vlan=7,dl_vlan_pcp=0,nw_src=1.2.3.4,nw_dst=5.6.7.8,nw_proto=47");
        assert_eq!((gre.protocol, gre.vlan), (Some(47), Some(7)));
        let flags = with("tcp,nw_src=1.2.3.4,nw_dst=5.6.7.8,tcp_flags=syn|ack|ece|ns");
        assert_eq!(flags.tcp_flags, Some(TcpFlags(0x52)));
        let none = with("tcp,nw_src=1.2.3.4,nw_dst=5.6.7.8,tcp_flags=0");
        assert_eq!(none.tcp_flags, Some(TcpFlags(0)));
        assert_eq!(with("dl_type=0x88cc").ethertype, Some(0x88cc));
    }

    #[test]
    fn prefixes_of_collectors() {
        let message = TCP.split_once('|').unwrap().1;
        for (prefix, time) in [
            (
                "2026-11-23T09:00:00.987654321Z stdout F 2026-11-23T08:15:30.5Z",
                Some("2026-11-23T08:15:30.500000000Z"),
            ),
            ("Nov 23 08:15:30 worker-1 ovn-controller[77]: ovs", None),
            (
                "2026-11-23T09:15:30.25+01:00 worker-1 ovn-controller: ovs",
                Some("2026-11-23T08:15:30.250000000Z"),
            ),
            (
                "[pod/ovnkube-node-x/ovn-controller] 2026-11-23T08:15:30.125Z",
                Some("2026-11-23T08:15:30.125000000Z"),
            ),
        ] {
            let line = read(&format!("{prefix}|{message}")).unwrap().unwrap();
            assert_eq!(line.time.map(|time| time.to_string()).as_deref(), time);
            assert_eq!(line.headers.dst_port, Some(8080));
        }
    }

    #[test]
    fn lines_of_others_are_none() {
        for line in [
            "",
            "2026-11-23T08:15:30.123Z|00012|ofctrl|INFO|name=\"x\", verdict=drop",
            "2026-11-23T08:15:30.123Z|00012|jsonrpc|WARN|text with |acl_log|INFO| in it",
            "|acl_log",
            "acl_log(x)|INFO|name=\"x\"",
        ] {
            assert_eq!(read(line), Ok(None), "{line}");
        }
        let mut scratch = String::new();
        assert_eq!(parse(b"\xff\xfe of others", &mut scratch), Ok(None));
    }

    #[test]
    fn errors_name_the_place() {
        for (from, to, problem) in [
            ("drop", "<unknown>", Problem::Bad("verdict")),
            ("to-lport", "up", Problem::Bad("direction")),
            ("tp_dst=8080", "tp_dst=80800", Problem::Bad("port")),
            (
                "nw_src=10.244.1.5",
                "nw_src=10.244.1",
                Problem::Bad("address"),
            ),
            ("tcp,", "", Problem::Missing("a packet's headers")),
            (
                "name=\"",
                "log data missing",
                Problem::Missing("the ACL's name"),
            ),
            (
                ", direction=to-lport",
                "",
                Problem::Missing("the direction"),
            ),
        ] {
            let error = read(&TCP.replacen(from, to, 1)).unwrap_err();
            assert_eq!(error.problem, problem);
            let start = TCP.find(from).unwrap();
            assert!(error.at >= start && error.at <= start + to.len(), "{error}");
        }
        let mut scratch = String::new();
        let bytes = [TCP.as_bytes(), b"\xff"].concat();
        assert_eq!(
            parse(&bytes, &mut scratch).map_err(|error| error.problem),
            Err(Problem::NotUtf8)
        );
    }

    #[test]
    fn times() {
        for (text, time) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            (
                "2000-02-29T00:00:00.000000001Z",
                Some(951_782_400_000_000_001),
            ),
            ("1969-12-31T23:59:59.999999999999Z", Some(-1)),
            ("2026-13-01T00:00:00Z", None),
            ("2026-11-23T08:15:30.123", None),
            ("2026-11-23 08:15:30Z", None),
            ("9999-12-31T00:00:00Z", None),
        ] {
            assert_eq!(moment(text), time.map(Timestamp), "{text}");
        }
    }

    proptest! {
        #[test]
        fn moments_come_back(nanos in any::<i64>()) {
            let time = Timestamp(nanos);
            // Years of five digits have no text.
            prop_assert_eq!(moment(&time.to_string()), Some(time));
        }

        #[test]
        fn names_and_flows_come_back(
            name in "[^\\p{Cc}]{1,63}",
            ports in any::<(u16, u16)>(),
            vlan in option::of(0_u16..4096),
            addresses in prop_oneof![
                any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
                any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (IpAddr::from(a), IpAddr::from(b))),
            ],
        ) {
            let v6 = addresses.0.is_ipv6();
            let mut text = format!(
                "2026-01-01T00:00:00.000Z|00001|acl_log(ovn_pinctrl0)|INFO|name={}, verdict=pass, \
                 severity=alert, direction=from-lport: udp{}",
                serde_json::to_string(&name).unwrap(),
                if v6 { "6" } else { "" },
            );
            if let Some(vlan) = vlan {
                write!(text, ",vlan_tci={:#06x}", vlan | 0x1000).unwrap();
            }
            let field = if v6 { "ipv6" } else { "nw" };
            write!(
                text,
                ",{field}_src={},{field}_dst={},nw_frag=no,tp_src={},tp_dst={}",
                addresses.0, addresses.1, ports.0, ports.1
            )
            .unwrap();
            let mut scratch = String::new();
            let line = parse(text.as_bytes(), &mut scratch).unwrap().unwrap();
            prop_assert_eq!(line.name, if name == "<unnamed>" { "" } else { &name });
            prop_assert_eq!(line.headers.vlan, vlan);
            prop_assert_eq!(line.headers.src, Some(addresses.0));
            prop_assert_eq!(line.headers.dst, Some(addresses.1));
            prop_assert_eq!(line.headers.src_port, Some(ports.0));
            prop_assert_eq!(line.headers.dst_port, Some(ports.1));
        }

        #[test]
        fn changed_lines_do_not_panic(place in 0_usize..TCP.len(), byte in any::<u8>(), cut in any::<bool>()) {
            let mut line = TCP.as_bytes().to_vec();
            line[place] = byte;
            if cut {
                line.truncate(place);
            }
            let mut scratch = String::new();
            let _ = parse(&line, &mut scratch);
        }
    }
}
