use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize, Serializer};

use crate::{Headers, Timestamp};

/// A zone as this process numbers it: an index into the names that `history` holds.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct ZoneId(pub u16);

/// One observation of one packet, or of several alike ones, by one observer.
///
/// It borrows from the buffer it was decoded from, and holds no memory of its own.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The zone that the observer belongs to. The observation domain does not tell it: node
    /// switches of different zones share datapath keys.
    pub zone: ZoneId,
    /// Which kind of source saw it.
    pub origin: Origin,
    /// When the packet was seen, by the observer's clock.
    pub time: Timestamp,
    /// What leads to the ACL.
    pub key: Key<'a>,
    /// The psample group, where there is one.
    pub group: Option<u32>,
    /// The share of packets that is sampled.
    pub probability: Probability,
    /// Where the packet came into the datapath.
    pub input: Input<'a>,
    /// The packet's headers.
    pub headers: Headers,
    /// Length of the packet on the wire from layer 2, in bytes; of the IP packet for IPFIX.
    pub length: u32,
    /// How many packets this sample stands for without any scaling: 1, or more for a flow
    /// counter or an IPFIX record of a caching exporter.
    pub packets: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// The packet's bytes from layer 2 as far as they were captured; empty where the source has
    /// none.
    pub data: &'a [u8],
}

/// The kind of source a sample came from.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Origin {
    /// Kernel psample netlink messages.
    Psample,
    /// IPFIX records of Open vSwitch.
    Ipfix,
    /// A line in the log of ovn-controller.
    AclLog,
    /// A conntrack entry.
    Conntrack,
    /// A datapath flow with its counters.
    Datapath,
    /// Maps of the eBPF agent.
    Ebpf,
    /// The embedded twin.
    Twin,
}

impl Origin {
    /// All kinds of source.
    pub const ALL: [Self; 7] = [
        Self::Psample,
        Self::Ipfix,
        Self::AclLog,
        Self::Conntrack,
        Self::Datapath,
        Self::Ebpf,
        Self::Twin,
    ];

    /// The word used in JSON and queries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Psample => "psample",
            Self::Ipfix => "ipfix",
            Self::AclLog => "acl-log",
            Self::Conntrack => "conntrack",
            Self::Datapath => "datapath",
            Self::Ebpf => "ebpf",
            Self::Twin => "twin",
        }
    }
}

/// What a sample carries that leads to the ACL.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Key<'a> {
    /// The 8-byte cookie, or the domain and point of an IPFIX record.
    Cookie(Cookie),
    /// `ct_label.obs_point_id` of a conntrack entry: the point that established packets show.
    ConntrackPoint(u32),
    /// `ct_label.label` of a conntrack entry, where ACL labels and no samples are in use.
    Label(u32),
    /// A line that ovn-controller logged.
    Log {
        /// The ACL's name; empty where it has none. Several ACLs may share one.
        name: &'a str,
        /// What the ACL did.
        verdict: LogVerdict,
        /// Which pipeline evaluated it.
        direction: LogDirection,
    },
    /// Nothing that could lead anywhere, such as a cookie of an unknown length.
    None,
}

/// The verdict word of an ACL log line (ovn lib/acl-log.c).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogVerdict {
    /// allow, allow-related and allow-stateless alike.
    Allow,
    /// drop.
    Drop,
    /// reject.
    Reject,
    /// pass.
    Pass,
}

/// The direction word of an ACL log line (ovn lib/acl-log.c).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogDirection {
    /// from-lport, before or after load balancing.
    FromLport,
    /// to-lport.
    ToLport,
}

/// The observation domain and point that OVN gives to a sample (ovn-nb(5), tables Sample and
/// Sampling_App): eight bytes, big endian, as the user cookie of psample.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Cookie {
    /// `(application id << 24) | (datapath tunnel key & 0xffffff)`.
    pub domain: u32,
    /// The metadata of the Sample row.
    pub point: u32,
}

impl Cookie {
    /// The id of the Sampling_App row, 1..255; 0 where OVN knew none.
    pub fn app_id(self) -> u8 {
        (self.domain >> 24) as u8
    }

    /// The low 24 bits of the tunnel key of the logical datapath.
    pub fn datapath(self) -> u32 {
        self.domain & 0x00ff_ffff
    }

    /// Reads the cookie of a psample message.
    pub fn from_be_bytes(bytes: [u8; 8]) -> Self {
        let whole = u64::from_be_bytes(bytes);
        Self {
            domain: (whole >> 32) as u32,
            point: whole as u32,
        }
    }

    /// The cookie as it stands in a psample message.
    pub fn to_be_bytes(self) -> [u8; 8] {
        (u64::from(self.domain) << 32 | u64::from(self.point)).to_be_bytes()
    }
}

/// Which application of OVN took the sample (ovn-nb(5), table Sampling_App).
///
/// The number in the cookie comes from the NB database and has no fixed meaning.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum App {
    /// Packets that no logical flow took: the point is the start of the flow's uuid.
    Drop,
    /// Packets that an ACL judged without a connection behind them.
    AclNew,
    /// Packets of an established connection that an ACL once admitted.
    AclEst,
}

impl App {
    /// All applications.
    pub const ALL: [Self; 3] = [Self::Drop, Self::AclNew, Self::AclEst];

    /// OVN's own word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::AclNew => "acl-new",
            Self::AclEst => "acl-est",
        }
    }

    /// Reads OVN's own word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|app| app.as_str() == word)
    }
}

/// Where the packet came into the datapath.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Input<'a> {
    /// Not known.
    #[default]
    Unknown,
    /// Kernel interface index; psample cuts it to its low 16 bits.
    Index(u32),
    /// Name of the OVS interface.
    Name(&'a str),
    /// Address of the far tunnel end.
    Tunnel(IpAddr),
}

/// The share of packets that is sampled, scaled so that `u32::MAX` is all of them
/// (linux/psample.h, PSAMPLE_ATTR_SAMPLE_PROBABILITY).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub struct Probability(pub u32);

impl Probability {
    /// Every packet is sampled.
    pub const ALL: Self = Self(u32::MAX);

    /// From the 16-bit scale of OVN and OpenFlow, where 65535 is all.
    pub fn from_u16(scaled: u16) -> Self {
        Self(u32::from(scaled) << 16 | u32::from(scaled))
    }

    /// One packet in `ratio`; 0 means none.
    pub fn from_ratio(ratio: u32) -> Self {
        Self(u32::MAX.checked_div(ratio).unwrap_or(0))
    }

    /// As JSON shows it: six decimal places are finer than the 16 bits that OVN sets.
    pub(crate) fn rounded(self) -> f64 {
        self.millionths() as f64 / 1e6
    }

    /// As queries have it: in millionths, rounded.
    pub fn millionths(self) -> i64 {
        (self.fraction() * 1e6).round() as i64
    }

    /// As a fraction of 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(u32::MAX)
    }
}

impl Serialize for Probability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_f64(self.rounded())
        } else {
            serializer.serialize_u32(self.0)
        }
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4}%", self.fraction() * 100.0)
    }
}
