//! Datapath flows with their counters, as `ovs-appctl dpctl/dump-flows -m [--names]` prints them.
//!
//! OVN's samples stand in the actions of the flows, so that a flow's counters are exact packets
//! and bytes of its cookies while it lives, and no packet is copied. Form: ovs-dpctl(8), Open
//! vSwitch `lib/odp-util.c`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use netverdict_types::{
    Cookie, Headers, IcmpKind, Input, Key, Origin, Probability, Sample, TcpFlags, Timestamp, ZoneId,
};

use crate::acl_log::{mac, number};

/// Reads one line of a dump. `None` is an empty line or a heading.
///
/// # Errors
/// [`Error`] with the place in the line.
///
/// ```
/// let line = "recirc_id(0x6),in_port(p1),eth_type(0x0800),ipv4(proto=6,frag=no), packets:314, \
///     bytes:435633, used:3.857s, flags:FP., actions:psample(group=10,cookie=0x3000001000007d2),p2";
/// let flow = netverdict_wire::dpflows::parse_line(line)?.unwrap();
/// let sample = flow.samples().next().unwrap()?;
/// assert_eq!(sample.cookie.point, 2002);
/// assert_eq!(flow.packets, 314);
/// # Ok::<(), netverdict_wire::dpflows::Error>(())
/// ```
pub fn parse_line(line: &str) -> Result<Option<Flow<'_>>, Error> {
    let text = line.trim_end();
    if text.trim_start().is_empty() || text.starts_with("flow-dump from ") {
        return Ok(None);
    }
    let packets_at = find(text, 0, ", packets:").ok_or(Error::new(0, "no packet count"))?;
    let actions_at =
        find(text, packets_at, ", actions:").ok_or(Error::new(packets_at, "no actions"))?;
    let mut flow = Flow {
        ufid: None,
        recirc_id: None,
        in_port: None,
        tunnel_src: None,
        ct_zone: None,
        ct_mark: Masked::default(),
        ct_label: Masked::default(),
        headers: Headers::default(),
        packets: 0,
        bytes: 0,
        used: None,
        flags: TcpFlags::default(),
        offloaded: None,
        datapath: None,
        matches: &text[..packets_at],
        actions: "",
        actions_at: actions_at + ", actions:".len(),
    };
    let actions = &text[flow.actions_at..];
    // The userspace datapath adds how it looks the flow up.
    flow.actions = actions
        .split_once(", dp-extra-info:")
        .map_or(actions, |(actions, _)| actions);
    flow.read_match(text, 0, packets_at, 0)?;
    let mut at = packets_at + 2;
    for part in text[at..actions_at].split(", ") {
        let bad = |problem| Error::new(at, problem);
        if let Some((key, value)) = part.split_once(':') {
            match key {
                "packets" => flow.packets = number(value).ok_or(bad("a bad packet count"))?,
                "bytes" => flow.bytes = number(value).ok_or(bad("a bad byte count"))?,
                "used" => flow.used = used(value).ok_or(bad("a bad time of last use"))?,
                "flags" => flow.flags = flags(value),
                "offloaded" => flow.offloaded = Some(value),
                "dp" => flow.datapath = Some(value),
                // Others say nothing of interest here.
                _ => {}
            }
        }
        at += part.len() + 2;
    }
    Ok(Some(flow))
}

/// One datapath flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flow<'a> {
    /// The flow's own number, the same as long as it lives: with it the counts of two dumps can
    /// be told apart.
    pub ufid: Option<&'a str>,
    /// Which part of a packet's way it is.
    pub recirc_id: Option<u32>,
    /// Name (or number, without `--names`) of the port that packets came in by.
    pub in_port: Option<&'a str>,
    /// The far end of the tunnel that packets came in by.
    pub tunnel_src: Option<IpAddr>,
    /// The conntrack zone, where the flow matches on one.
    pub ct_zone: Option<u16>,
    /// The match on `ct_mark`.
    pub ct_mark: Masked<u32>,
    /// The match on `ct_label`.
    pub ct_label: Masked<u128>,
    /// The header fields that the flow matches whole. All others are `None`: packets differ in
    /// them.
    pub headers: Headers,
    /// Packets that used the flow. The packet that made it is not among them (it went through
    /// ovs-vswitchd), and the count goes with the flow, some seconds after its last packet.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long ago it was used; `None` for never.
    pub used: Option<Duration>,
    /// All TCP flags that were seen.
    pub flags: TcpFlags,
    /// `yes`, `partial` or `no` where the datapath tells whether hardware runs the flow.
    pub offloaded: Option<&'a str>,
    /// Which datapath runs it: `ovs`, `tc` or `dpdk`.
    pub datapath: Option<&'a str>,
    /// The whole match as it was printed.
    pub matches: &'a str,
    /// The actions as they were printed.
    pub actions: &'a str,
    /// Where in the line the actions start.
    actions_at: usize,
}

impl<'a> Flow<'a> {
    /// The sample actions, in their order, also those inside `sample(…)` and `clone(…)`. An
    /// error ends them.
    pub fn samples(&self) -> Samples<'a> {
        Samples {
            actions: self.actions,
            start: self.actions_at,
            at: 0,
            depth: 0,
            shares: Vec::new(),
        }
    }

    /// What packets of this flow give for one cookie. The counts are exact, whatever share of
    /// the packets is sampled, and so the sample's probability is that of all.
    pub fn sample(&self, zone: ZoneId, seen: Timestamp, action: &SampleAction) -> Sample<'a> {
        Sample {
            zone,
            origin: Origin::Datapath,
            time: seen,
            key: Key::Cookie(action.cookie),
            group: match action.way {
                Way::Psample { group } => Some(group),
                Way::Ipfix { .. } => None,
            },
            probability: Probability::ALL,
            input: match (self.tunnel_src, self.in_port) {
                (Some(address), _) => Input::Tunnel(address),
                (None, Some(name)) => Input::Name(name),
                (None, None) => Input::Unknown,
            },
            headers: self.headers,
            length: 0,
            packets: self.packets,
            bytes: self.bytes,
            data: &[],
        }
    }

    /// The cookies of this flow, each once, with how often each packet is sampled with it. A
    /// cookie that goes to psample and to IPFIX is one sample in two ways.
    ///
    /// # Errors
    /// Actions that do not read.
    pub fn cookies(&self) -> Result<Vec<(SampleAction, u32)>, Error> {
        let mut cookies: Vec<(SampleAction, [u32; 2])> = Vec::new();
        for action in self.samples() {
            let action = action?;
            let way = usize::from(matches!(action.way, Way::Ipfix { .. }));
            match cookies
                .iter_mut()
                .find(|(known, _)| known.cookie == action.cookie)
            {
                Some((_, times)) => times[way] += 1,
                None => {
                    let mut times = [0; 2];
                    times[way] = 1;
                    cookies.push((action, times));
                }
            }
        }
        Ok(cookies
            .into_iter()
            .map(|(action, [psample, ipfix])| (action, psample.max(ipfix)))
            .collect())
    }

    /// Reads the match between two places of the line.
    fn read_match(
        &mut self,
        text: &'a str,
        start: usize,
        end: usize,
        depth: u8,
    ) -> Result<(), Error> {
        let mut fields = Fields {
            text,
            at: start,
            end,
        };
        while let Some((at, name, inner)) = fields.take()? {
            let bad = |problem| Error::new(at, problem);
            match name {
                "ufid" => self.ufid = Some(inner),
                "recirc_id" => self.recirc_id = Some(exact(inner).ok_or(bad("a bad recirc_id"))?),
                "in_port" => self.in_port = Some(inner.trim_matches('"')),
                "ct_zone" => self.ct_zone = exact(inner),
                "ct_mark" => self.ct_mark = masked(inner).ok_or(bad("a bad ct_mark"))?,
                "ct_label" => self.ct_label = masked(inner).ok_or(bad("a bad ct_label"))?,
                "tunnel" => self.tunnel_src = value(inner, "src").and_then(address),
                "eth" => {
                    self.headers.eth_src = value(inner, "src").and_then(mac);
                    self.headers.eth_dst = value(inner, "dst").and_then(mac);
                }
                "eth_type" => self.headers.ethertype = exact(inner),
                "vlan" => self.headers.vlan = value(inner, "vid").and_then(exact),
                "encap" if depth < 4 => {
                    let inner_at = at + name.len() + 1;
                    self.read_match(text, inner_at, inner_at + inner.len(), depth + 1)?;
                }
                "ipv4" | "ipv6" => {
                    self.headers.src = value(inner, "src").and_then(address);
                    self.headers.dst = value(inner, "dst").and_then(address);
                    self.headers.protocol = value(inner, "proto").and_then(exact);
                    self.headers.ttl =
                        value(inner, if name == "ipv4" { "ttl" } else { "hlimit" }).and_then(exact);
                    self.headers.later_fragment = value(inner, "frag") == Some("later");
                }
                "tcp" | "udp" | "sctp" => {
                    self.headers.src_port = value(inner, "src").and_then(exact);
                    self.headers.dst_port = value(inner, "dst").and_then(exact);
                }
                "icmp" | "icmpv6" => {
                    let parts = (
                        value(inner, "type").and_then(exact),
                        value(inner, "code").and_then(exact),
                    );
                    if let (Some(kind), Some(code)) = parts {
                        self.headers.icmp = Some(IcmpKind { kind, code });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A value and the bits of it that are matched; the default matches anything.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Masked<T> {
    /// The value.
    pub value: T,
    /// The bits that are matched; 0 matches anything.
    pub mask: T,
}

/// One sample action of a flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleAction {
    /// Domain and point.
    pub cookie: Cookie,
    /// How the sample leaves the datapath.
    pub way: Way,
    /// The share of packets that is sampled.
    pub probability: Probability,
}

/// How a sample leaves the datapath.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// By psample, in the kernel.
    Psample {
        /// The psample group.
        group: u32,
    },
    /// By an upcall to ovs-vswitchd, which exports it as IPFIX.
    Ipfix {
        /// `Flow_Sample_Collector_Set.id`.
        collector_set: u32,
    },
}

/// The sample actions of a flow.
#[derive(Clone, Debug)]
pub struct Samples<'a> {
    actions: &'a str,
    start: usize,
    at: usize,
    depth: u32,
    /// Depth inside, and share, of each `sample(…)` that is open.
    shares: Vec<(u32, f64)>,
}

impl Iterator for Samples<'_> {
    type Item = Result<SampleAction, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let outcome = self.advance();
        if matches!(outcome, Some(Err(_))) {
            self.at = self.actions.len();
            self.depth = 0;
        }
        outcome
    }
}

impl Samples<'_> {
    fn advance(&mut self) -> Option<Result<SampleAction, Error>> {
        while self.at < self.actions.len() {
            let rest = &self.actions[self.at..];
            let at = self.start + self.at;
            let word = rest.find(['(', ')', ',']).unwrap_or(rest.len());
            let name = &rest[..word];
            let open = rest[word..].starts_with('(');
            if !open || !matches!(name, "psample" | "flow_sample" | "sample") {
                self.at += word;
                if let Some(sign) = rest[word..].bytes().next() {
                    self.at += 1;
                    match sign {
                        b'(' => self.depth += 1,
                        b')' => {
                            let Some(depth) = self.depth.checked_sub(1) else {
                                let at = at + word;
                                return Some(Err(Error::new(at, "a parenthesis too much")));
                            };
                            self.depth = depth;
                            while self.shares.pop_if(|(open, _)| *open > depth).is_some() {}
                        }
                        _ => {}
                    }
                }
                continue;
            }
            let inner = &rest[word + 1..];
            if name == "sample" {
                // sample(sample=50.0%,actions(…)): what is inside is read as the rest.
                let Some(share) = inner
                    .strip_prefix("sample=")
                    .and_then(|inner| inner.split_once('%'))
                    .and_then(|(share, _)| share.parse::<f64>().ok())
                else {
                    return Some(Err(Error::new(at, "a sample action without its share")));
                };
                self.depth += 1;
                self.shares.push((self.depth, share / 100.0));
                self.at += word + 1;
                continue;
            }
            let Some(length) = inner.find(')') else {
                return Some(Err(Error::new(at, "an action that is not closed")));
            };
            self.at += word + 1 + length + 1;
            let inner = &inner[..length];
            let action = if name == "psample" {
                psample(inner)
            } else {
                flow_sample(inner)
            };
            return Some(match action {
                Some((cookie, way)) => Ok(SampleAction {
                    cookie,
                    way,
                    probability: self.probability(),
                }),
                None => Err(Error::new(at, "a sample action without domain and point")),
            });
        }
        if self.depth > 0 {
            self.depth = 0;
            let at = self.start + self.actions.len();
            return Some(Err(Error::new(at, "an action that is not closed")));
        }
        None
    }

    fn probability(&self) -> Probability {
        let share: f64 = self.shares.iter().map(|(_, share)| share).product();
        Probability((share * f64::from(u32::MAX)).round() as u32)
    }
}

/// Exact packets and bytes by cookie, over the flows of one dump.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// By cookie.
    pub by_cookie: HashMap<Cookie, Total>,
    /// Flows that were added.
    pub flows: u64,
    /// Flows among them without any sample.
    pub unsampled: u64,
}

/// What packets with one cookie come to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Total {
    /// Packets, each counted once.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Flows.
    pub flows: u64,
    /// Samples beyond the first of a packet, if all packets were sampled: OVN 25.03 samples
    /// established packets once for each ACL tier.
    pub doubles: u64,
}

impl Totals {
    /// Adds a flow's counts to each of its cookies.
    ///
    /// # Errors
    /// Actions that do not read; nothing is added then.
    pub fn add(&mut self, flow: &Flow<'_>) -> Result<(), Error> {
        let cookies = flow.cookies()?;
        self.flows += 1;
        self.unsampled += u64::from(cookies.is_empty());
        for (action, times) in cookies {
            let total = self.by_cookie.entry(action.cookie).or_default();
            let doubles = flow.packets.saturating_mul(u64::from(times - 1));
            total.packets = total.packets.saturating_add(flow.packets);
            total.bytes = total.bytes.saturating_add(flow.bytes);
            total.flows += 1;
            total.doubles = total.doubles.saturating_add(doubles);
        }
        Ok(())
    }
}

/// A line that does not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the datapath flow has {problem} at byte {at}; the line was left out")]
pub struct Error {
    /// Where in the line.
    pub at: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

impl Error {
    fn new(at: usize, problem: &'static str) -> Self {
        Self { at, problem }
    }
}

/// `name(inner)` and `name:inner` between commas.
struct Fields<'a> {
    text: &'a str,
    at: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self) -> Result<Option<(usize, &'a str, &'a str)>, Error> {
        while self.text[self.at..self.end].starts_with([',', ' ']) {
            self.at += 1;
        }
        let at = self.at;
        let rest = &self.text[at..self.end];
        if rest.is_empty() {
            return Ok(None);
        }
        let mut depth = 0_u32;
        let mut open = None;
        for (place, byte) in rest.bytes().enumerate() {
            match byte {
                b'(' => {
                    open = open.or(Some(place));
                    depth += 1;
                }
                b')' => {
                    depth = depth
                        .checked_sub(1)
                        .ok_or(Error::new(at + place, "a parenthesis too much"))?;
                    if depth == 0 {
                        self.at = at + place + 1;
                        let open = open.unwrap_or(place);
                        return Ok(Some((at, &rest[..open], &rest[open + 1..place])));
                    }
                }
                b',' if depth == 0 => {
                    self.at = at + place;
                    return Ok(Some(plain(at, &rest[..place])));
                }
                _ => {}
            }
        }
        if depth > 0 {
            return Err(Error::new(at, "a field that is not closed"));
        }
        self.at = self.end;
        Ok(Some(plain(at, rest)))
    }
}

fn plain(at: usize, part: &str) -> (usize, &str, &str) {
    let (name, value) = part.split_once(':').unwrap_or((part, ""));
    (at, name, value)
}

fn psample(inner: &str) -> Option<(Cookie, Way)> {
    let group = value(inner, "group").and_then(number)?;
    let cookie: u64 = value(inner, "cookie").and_then(number)?;
    Some((
        Cookie::from_be_bytes(cookie.to_be_bytes()),
        Way::Psample { group },
    ))
}

fn flow_sample(inner: &str) -> Option<(Cookie, Way)> {
    let cookie = Cookie {
        domain: value(inner, "obs_domain_id").and_then(number)?,
        point: value(inner, "obs_point_id").and_then(number)?,
    };
    let collector_set = value(inner, "collector_set_id").and_then(number)?;
    Some((cookie, Way::Ipfix { collector_set }))
}

/// The value of `key=value` between commas.
fn value<'a>(inner: &'a str, key: &str) -> Option<&'a str> {
    inner
        .split(',')
        .filter_map(|part| part.split_once('='))
        .find_map(|(name, value)| (name.trim_start() == key).then_some(value))
}

/// A number that is matched whole.
fn exact<T: TryFrom<u128> + Copy>(text: &str) -> Option<T> {
    match text.split_once('/') {
        None => number(text),
        // What is matched whole is printed without a mask, but 0xff and the like may stand there.
        Some((value, mask)) => {
            let bits = 8 * size_of::<T>() as u32;
            let mask: u128 = number(mask)?;
            (mask == u128::MAX >> (128 - bits)).then(|| number(value))?
        }
    }
}

fn masked<T: TryFrom<u128>>(text: &str) -> Option<Masked<T>> {
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (value, number(mask)?),
        None => (text, u128::MAX >> (128 - 8 * size_of::<T>() as u32)),
    };
    Some(Masked {
        value: number(value)?,
        mask: T::try_from(mask).ok()?,
    })
}

/// An address that is matched whole.
fn address(text: &str) -> Option<IpAddr> {
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (value, Some(mask)),
        None => (text, None),
    };
    let value: IpAddr = value.parse().ok()?;
    let whole = match (mask, value) {
        (None, _) => true,
        (Some(mask), IpAddr::V4(_)) => mask.parse() == Ok(Ipv4Addr::BROADCAST),
        (Some(mask), IpAddr::V6(_)) => mask.parse() == Ok(Ipv6Addr::from_bits(u128::MAX)),
    };
    whole.then_some(value)
}

/// `never`, or seconds with three digits and `s`.
fn used(text: &str) -> Option<Option<Duration>> {
    if text == "never" {
        return Some(None);
    }
    let (seconds, fraction) = text.strip_suffix('s')?.split_once('.')?;
    let millis: u32 = (fraction.len() == 3).then(|| number(fraction))??;
    Some(Some(Duration::new(number(seconds)?, millis * 1_000_000)))
}

/// `SFP.`, each letter a flag and the dot for ACK (Open vSwitch `lib/packets.c`).
fn flags(text: &str) -> TcpFlags {
    TcpFlags(text.bytes().fold(0, |all, letter| {
        all | match letter {
            b'F' => TcpFlags::FIN,
            b'S' => TcpFlags::SYN,
            b'R' => TcpFlags::RST,
            b'P' => TcpFlags::PSH,
            b'.' => TcpFlags::ACK,
            b'U' => TcpFlags::URG,
            b'E' => 0x40,
            b'C' => 0x80,
            _ => 0,
        }
    }))
}

/// Where `wanted` stands in `text` from `start` on.
fn find(text: &str, start: usize, wanted: &str) -> Option<usize> {
    text[start..].find(wanted).map(|found| start + found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Twelve real flows of Open vSwitch 3.5 on the kernel datapath.
    const DUMP: &str = include_str!("../tests/data/dpflows/kernel.txt");

    #[test]
    fn a_real_dump() {
        let mut totals = Totals::default();
        for line in DUMP.lines() {
            let flow = parse_line(line).unwrap().unwrap();
            assert!(flow.ufid.unwrap().len() == 36);
            assert_eq!(flow.datapath, Some("ovs"));
            totals.add(&flow).unwrap();
        }
        assert_eq!(totals.flows, 12);
        assert_eq!(totals.unsampled, 0);
        let total = |domain, point| totals.by_cookie[&Cookie { domain, point }];
        let established = total(0x0300_0001, 2002);
        assert_eq!(established.packets, 314 + 181);
        assert_eq!(established.bytes, 435_633 + 12_288);
        assert_eq!((established.flows, established.doubles), (2, 0));
        assert_eq!(total(0x0200_0001, 2001).packets, 1);
        assert_eq!(total(0x0200_0001, 3001).packets, 0);
    }

    #[test]
    fn a_real_flow() {
        let line = DUMP.lines().find(|line| line.contains("f4224182")).unwrap();
        let flow = parse_line(line).unwrap().unwrap();
        assert_eq!(flow.ufid, Some("f4224182-2369-4955-b417-b14e33b710c1"));
        assert_eq!(flow.recirc_id, Some(6));
        assert_eq!(flow.in_port, Some("p1"));
        assert_eq!(
            flow.ct_mark,
            Masked {
                value: 0,
                mask: 0x41
            }
        );
        assert_eq!(flow.ct_label, Masked::default());
        let expected = Headers {
            eth_src: Some([2, 0, 0, 0, 0, 1]),
            ethertype: Some(0x0800),
            protocol: Some(6),
            dst_port: Some(5201),
            ..Headers::default()
        };
        assert_eq!(flow.headers, expected);
        assert_eq!(flow.flags, TcpFlags(TcpFlags::SYN));
        assert_eq!(flow.used, Some(Duration::from_millis(6065)));
        let samples: Result<Vec<_>, _> = flow.samples().collect();
        let samples = samples.unwrap();
        assert_eq!(samples.len(), 2);
        let cookie = Cookie {
            domain: 0x0200_0001,
            point: 2001,
        };
        assert!(samples.iter().all(|sample| sample.cookie == cookie));
        assert_eq!(samples[0].way, Way::Psample { group: 10 });
        assert_eq!(samples[1].way, Way::Ipfix { collector_set: 100 });
        assert_eq!(samples[0].probability, Probability::ALL);
        let sample = flow.sample(ZoneId(2), Timestamp(9), &samples[0]);
        assert_eq!((sample.packets, sample.bytes), (1, 74));
        assert_eq!(sample.input, Input::Name("p1"));
        assert_eq!(sample.key, Key::Cookie(cookie));
    }

    #[test]
    fn nested_and_repeated_samples() {
        let line = "recirc_id(0),tunnel(tun_id=0x2,src=172.18.0.3,dst=172.18.0.2,geneve({class=0x102,\
            type=0x80,len=4,0x10002/0x7fffffff}),flags(-df+csum+key)),in_port(genev_sys_6081),\
            eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x8100),vlan(vid=5,pcp=0),\
            encap(eth_type(0x86dd),ipv6(src=fd00::1,dst=fd00::/ffff::,proto=58,hlimit=64,frag=no),\
            icmpv6(type=128,code=0)), packets:10, bytes:980, used:0.001s, offloaded:partial, \
            dp:tc, actions:sample(sample=50.0%,actions(psample(group=10,cookie=0x300000100000001),\
            clone(psample(group=10,cookie=0x300000100000001)),userspace(pid=1,flow_sample(\
            probability=32768,collector_set_id=7,obs_domain_id=50331649,obs_point_id=1,\
            output_port=4294967295)))),psample(group=10,cookie=0x300000100000001),\
            psample(group=10,cookie=0x200000100000002),set(ipv4(src=10.0.0.1,dst=10.0.0.2)),3";
        let flow = parse_line(line).unwrap().unwrap();
        assert_eq!(flow.tunnel_src, "172.18.0.3".parse().ok());
        assert_eq!(flow.headers.vlan, Some(5));
        assert_eq!(flow.headers.ethertype, Some(0x86dd));
        assert_eq!(flow.headers.src, "fd00::1".parse().ok());
        assert_eq!(flow.headers.dst, None);
        assert_eq!(flow.headers.ttl, Some(64));
        assert_eq!(flow.headers.icmp, Some(IcmpKind { kind: 128, code: 0 }));
        assert_eq!(
            (flow.offloaded, flow.datapath),
            (Some("partial"), Some("tc"))
        );
        let shares: Vec<_> = flow
            .samples()
            .map(|sample| (sample.unwrap().probability.fraction() * 100.0).round() as u32)
            .collect();
        assert_eq!(shares, [50, 50, 50, 100, 100]);
        let cookies: Vec<_> = flow
            .cookies()
            .unwrap()
            .into_iter()
            .map(|(action, times)| (action.cookie.point, times))
            .collect();
        assert_eq!(cookies, [(1, 3), (2, 1)]);
        let mut totals = Totals::default();
        totals.add(&flow).unwrap();
        let cookie = Cookie {
            domain: 0x0300_0001,
            point: 1,
        };
        let expected = Total {
            packets: 10,
            bytes: 980,
            flows: 1,
            doubles: 20,
        };
        assert_eq!(totals.by_cookie[&cookie], expected);
    }

    #[test]
    fn flows_without_samples_and_headings() {
        assert_eq!(parse_line("flow-dump from the main thread:"), Ok(None));
        assert_eq!(parse_line("\n"), Ok(None));
        let line = "recirc_id(0),in_port(2),eth_type(0x0806), packets:0, bytes:0, used:never, actions:drop";
        let flow = parse_line(line).unwrap().unwrap();
        assert_eq!((flow.used, flow.ufid), (None, None));
        assert_eq!(flow.samples().count(), 0);
    }

    #[test]
    fn errors_name_the_place() {
        let good = "recirc_id(0x1),in_port(2), packets:1, bytes:2, used:0.100s, actions:psample(group=1,cookie=0x2),3";
        assert!(parse_line(good).is_ok());
        for (from, to, at) in [
            ("in_port(2)", "in_port(2", 15),
            ("packets:1", "packets:x", 27),
            ("bytes:2", "bytes:-2", 38),
            ("0.100s", "0.1", 47),
            (", actions:", ", action:", 25),
            (", packets:", ", packet:", 0),
        ] {
            let error = parse_line(&good.replace(from, to)).unwrap_err();
            assert_eq!(error.at, at, "{error}");
        }
        for (from, to) in [("cookie=", "biscuit="), (",3", ",3)"), ("0x2),3", "0x2")] {
            let line = good.replace(from, to);
            let flow = parse_line(&line).unwrap().unwrap();
            assert!(flow.cookies().is_err(), "{line}");
            let mut totals = Totals::default();
            assert!(totals.add(&flow).is_err());
            assert_eq!(totals.flows, 0);
        }
    }

    proptest! {
        #[test]
        fn cut_or_changed_lines_do_not_panic(
            line in 0_usize..12,
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<bool>(),
        ) {
            let mut line = DUMP.lines().nth(line).unwrap().as_bytes().to_vec();
            let place = place.index(line.len());
            line[place] = byte;
            if cut {
                line.truncate(place);
            }
            if let Ok(text) = std::str::from_utf8(&line)
                && let Ok(Some(flow)) = parse_line(text)
            {
                let _ = flow.cookies();
            }
        }
    }
}
