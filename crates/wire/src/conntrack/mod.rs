//! Conntrack entries: as the kernel dumps them over netlink, and as
//! `ovs-appctl dpctl/dump-conntrack` prints them.
//!
//! OVN writes into mark and label of the entries of a logical port's zone which ACL admitted the
//! connection (OVN `lib/logical-fields.c`, `northd/northd.c`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use netverdict_types::{
    Headers, IcmpKind, Input, Key, Origin, Probability, Sample, Timestamp, ZoneId,
};

mod netlink;
mod text;

pub use netlink::{Body, Message, Messages, NetlinkError, dump_request};
pub use text::{TextError, parse_line};

/// One connection in one conntrack zone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Entry {
    /// Addresses and ports of the original direction, before translation.
    pub orig: Tuple,
    /// Addresses and ports of the reply direction: translation shows as a difference.
    pub reply: Tuple,
    /// The conntrack zone; OVN gives one to each logical port ([`ZoneNames`]).
    pub zone: u16,
    /// `ct_mark`.
    pub mark: u32,
    /// `ct_label`, bit 0 the lowest.
    pub label: u128,
    /// What conntrack thinks of the entry, where that is told.
    pub status: Option<Status>,
    /// Where a TCP connection stands.
    pub tcp_state: Option<TcpState>,
    /// Packets of the original direction, where the kernel counts them
    /// (`net.netfilter.nf_conntrack_acct`).
    pub orig_count: Option<Count>,
    /// Packets of the reply direction, likewise.
    pub reply_count: Option<Count>,
    /// When the connection began, where the kernel keeps that
    /// (`net.netfilter.nf_conntrack_timestamp`). Never known from text, which has no time zone.
    pub start: Option<Timestamp>,
    /// When it ended, likewise.
    pub stop: Option<Timestamp>,
    /// Seconds until the entry goes when no packet comes.
    pub timeout: Option<u32>,
    /// The kernel's own number for the entry.
    pub id: Option<u32>,
}

impl Entry {
    /// `ct_label.obs_point_id`, bits 96 to 127: the point of the ACL's `sample_est`. The same
    /// bits are `ct_label.label` where an ACL has a label; 0 is neither.
    pub fn obs_point_id(&self) -> u32 {
        (self.label >> 96) as u32
    }

    /// `ct_label.acl_id`, bits 80 to 95: of an ACL with `options:persist-established`.
    pub fn acl_id(&self) -> u16 {
        (self.label >> 80) as u16
    }

    /// `ct_label.obs_unused`, bits 0 to 95. OVN samples established packets only where it is 0.
    pub fn obs_unused(&self) -> u128 {
        self.label & (u128::MAX >> 32)
    }

    /// `ct_mark.blocked`, bit 0: an ACL that came later denies the connection.
    pub fn blocked(&self) -> bool {
        self.mark & 1 != 0
    }

    /// `ct_mark.natted`, bit 1: a load balancer translated the connection.
    pub fn natted(&self) -> bool {
        self.mark & 1 << 1 != 0
    }

    /// `ct_mark.obs_stage`, bits 4 and 5: where the ACL stands. 0 from-lport, 1 from-lport after
    /// load balancing, 2 to-lport.
    pub fn obs_stage(&self) -> u8 {
        (self.mark >> 4 & 3) as u8
    }

    /// `ct_mark.allow_established`, bit 6: an ACL with `options:persist-established` admitted
    /// the connection.
    pub fn allow_established(&self) -> bool {
        self.mark & 1 << 6 != 0
    }

    /// `ct_mark.obs_collector_id`, bits 16 to 23: `Sample_Collector.id`; 0 where established
    /// packets are not sampled. In zones of routers the bits mean something else.
    pub fn obs_collector_id(&self) -> u8 {
        (self.mark >> 16) as u8
    }

    /// True where OVN samples the connection's packets: there is a point and a collector. A
    /// number without a collector is an ACL's label.
    pub fn is_sampled(&self) -> bool {
        self.obs_point_id() != 0 && self.obs_collector_id() != 0
    }

    /// The entry as a sample with the packets and bytes of both directions together. Whether the
    /// point is one of a Sample or an ACL's label is the caller's to say: it needs the rows.
    pub fn sample(&self, zone: ZoneId, seen: Timestamp, key: Key<'static>) -> Sample<'static> {
        let counts = [self.orig_count, self.reply_count];
        let sum = |part: fn(Count) -> u64| {
            counts
                .iter()
                .flatten()
                .fold(0_u64, |sum, &count| sum.saturating_add(part(count)))
        };
        Sample {
            zone,
            origin: Origin::Conntrack,
            time: seen,
            key,
            group: None,
            probability: Probability::ALL,
            input: Input::Unknown,
            headers: self.orig.headers(),
            length: 0,
            packets: sum(|count| count.packets),
            bytes: sum(|count| count.bytes),
            data: &[],
        }
    }
}

/// Addresses and ports of one direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tuple {
    /// Sender.
    pub src: Option<IpAddr>,
    /// Receiver.
    pub dst: Option<IpAddr>,
    /// IP protocol number.
    pub protocol: u8,
    /// Source port.
    pub src_port: Option<u16>,
    /// Destination port.
    pub dst_port: Option<u16>,
    /// ICMP type and code, where they are told.
    pub icmp: Option<IcmpKind>,
    /// ICMP echo identifier.
    pub icmp_id: Option<u16>,
    /// The zone of this direction alone, which is rare.
    pub zone: Option<u16>,
}

impl Tuple {
    /// The tuple as headers of a packet.
    pub fn headers(&self) -> Headers {
        Headers {
            ethertype: self
                .src
                .map(|src| if src.is_ipv4() { 0x0800 } else { 0x86dd }),
            src: self.src,
            dst: self.dst,
            protocol: Some(self.protocol),
            src_port: self.src_port,
            dst_port: self.dst_port,
            icmp: self.icmp,
            icmp_id: self.icmp_id,
            ..Headers::default()
        }
    }
}

/// Packets of one direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Their bytes, from the IP header on.
    pub bytes: u64,
}

/// Status bits (linux/netfilter/nf_conntrack_common.h, `enum ip_conntrack_status`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Status(pub u32);

impl Status {
    /// Packets were seen in both directions.
    pub fn seen_reply(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// The entry will not be dropped early when the table is full.
    pub fn assured(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// The source is translated.
    pub fn source_nat(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    /// The destination is translated.
    pub fn destination_nat(self) -> bool {
        self.0 & 1 << 5 != 0
    }

    /// The entry is being removed.
    pub fn dying(self) -> bool {
        self.0 & 1 << 9 != 0
    }
}

/// Where a TCP connection stands, in the kernel's words
/// (linux/netfilter/nf_conntrack_tcp.h, `enum tcp_conntrack`). Open vSwitch's own table has some
/// more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TcpState {
    /// No packet was seen.
    None,
    /// SYN was seen.
    SynSent,
    /// SYN and its answer were seen.
    SynReceived,
    /// The handshake is through.
    Established,
    /// One end closed.
    FinWait,
    /// One end closed and the other end acknowledged.
    CloseWait,
    /// Both ends closed at the same time.
    Closing,
    /// Both ends closed; the last acknowledgement is missing.
    LastAck,
    /// Both ends closed.
    TimeWait,
    /// It was reset, or is over.
    Close,
    /// Both ends sent SYN at the same time, or an end listens.
    Listen,
}

impl TcpState {
    /// The word for it, as conntrack(8) spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::SynSent => "SYN_SENT",
            Self::SynReceived => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::Listen => "LISTEN",
        }
    }
}

/// Which logical port or router each conntrack zone belongs to: the `ct-zone-*` keys that
/// ovn-controller keeps in the external ids of the integration bridge.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ZoneNames(BTreeMap<u16, ZoneOwner>);

impl ZoneNames {
    /// Reads the external ids of the integration bridge. Keys that are no zone are passed over.
    pub fn from_external_ids<'a>(ids: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let names = ids.into_iter().filter_map(|(key, value)| {
            let name = key.strip_prefix("ct-zone-")?;
            Some((value.trim().parse().ok()?, ZoneOwner::parse(name)))
        });
        Self(names.collect())
    }

    /// Reads what `ovn-appctl -t ovn-controller ct-zone-list` prints: a name and a number a
    /// line.
    pub fn from_list(text: &str) -> Self {
        let names = text.lines().filter_map(|line| {
            let (name, zone) = line.trim().rsplit_once(char::is_whitespace)?;
            Some((zone.parse().ok()?, ZoneOwner::parse(name.trim_end())))
        });
        Self(names.collect())
    }

    /// Whose zone that is.
    pub fn owner(&self, zone: u16) -> Option<&ZoneOwner> {
        self.0.get(&zone)
    }

    /// All zones, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &ZoneOwner)> {
        self.0.iter().map(|(&zone, owner)| (zone, owner))
    }
}

/// Whose a conntrack zone is.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ZoneOwner {
    /// A logical port: its ACLs commit here.
    Port(String),
    /// The destination translation of a logical datapath, by its name or uuid.
    Dnat(String),
    /// The source translation of a logical datapath, by its name or uuid.
    Snat(String),
}

impl ZoneOwner {
    /// The port's or the datapath's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Port(name) | Self::Dnat(name) | Self::Snat(name) => name,
        }
    }

    fn parse(name: &str) -> Self {
        if let Some(datapath) = name.strip_suffix("_dnat") {
            Self::Dnat(datapath.to_owned())
        } else if let Some(datapath) = name.strip_suffix("_snat") {
            Self::Snat(datapath.to_owned())
        } else {
            Self::Port(name.to_owned())
        }
    }
}

#[cfg(test)]
mod tests;
