use std::fmt;
use std::net::IpAddr;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::{
    Acl, AclRow, App, Cookie, Endpoint, Headers, Origin, Probability, Service, Timestamp, Verdict,
    protocol_name,
};

/// A sample, resolved: what was decided about a packet, by whom, and how sure that is.
///
/// It borrows from the sample and from the rows of its time, so that making one allocates
/// nothing. Its JSON is documented by `docs/decision.schema.json`.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// When the packet was seen.
    pub time: Timestamp,
    /// Which kind of source saw it.
    pub origin: Origin,
    /// The zone (`NB_Global.name`).
    pub zone: &'a str,
    /// The node that saw it, where a zone has one or the source tells.
    pub node: Option<&'a str>,
    /// The network that the addresses belong to.
    pub network: Option<&'a str>,
    /// The logical datapath's name.
    pub datapath: Option<&'a str>,
    /// What became of the packet.
    pub verdict: Verdict,
    /// The ACL that decided, if it could be found.
    pub acl: Option<&'a AclRow>,
    /// True where the row of that ACL was gone when the packet was seen.
    pub deleted: bool,
    /// All ACLs that could have decided, where there is more than one.
    pub candidates: Candidates<'a>,
    /// The logical flow that dropped it, for a sample of the drop application.
    pub flow: Option<&'a DropFlow>,
    /// Why there is neither an ACL nor a flow, where there is none.
    pub unresolved: Option<Unresolved>,
    /// What the choice of the ACL rests on.
    pub evidence: Evidence,
    /// Which application of OVN sampled it.
    pub app: Option<App>,
    /// The sample's cookie, where the source has one.
    pub cookie: Option<Cookie>,
    /// True for a packet of the connection's reply direction; `None` where nothing tells.
    pub reply: Option<bool>,
    /// True for a further sample of a packet that was counted already.
    pub double: bool,
    /// Sender.
    pub src: End<'a>,
    /// Receiver.
    pub dst: End<'a>,
    /// The service whose virtual address the packet goes to or whose backend answers.
    pub service: Option<&'a Service>,
    /// The packet's headers.
    pub headers: Headers,
    /// Length in bytes, as [`crate::Sample::length`].
    pub length: u32,
    /// Packets, as [`crate::Sample::packets`]; 0 for a double.
    pub packets: u64,
    /// Bytes, as [`crate::Sample::bytes`]; 0 for a double.
    pub bytes: u64,
    /// The psample group.
    pub group: Option<u32>,
    /// The share of packets that is sampled.
    pub probability: Probability,
    /// The packet's bytes, as [`crate::Sample::data`].
    pub data: &'a [u8],
}

/// The ACLs that a sample could mean; empty unless there are several.
#[derive(Clone, Copy, Debug, Default)]
pub struct Candidates<'a> {
    rows: [Option<&'a AclRow>; Candidates::SHOWN],
    total: usize,
}

impl<'a> Candidates<'a> {
    /// How many are named; [`Candidates::total`] counts those beyond.
    pub const SHOWN: usize = 4;

    /// Adds one.
    pub fn push(&mut self, acl: &'a AclRow) {
        if let Some(slot) = self.rows.get_mut(self.total) {
            *slot = Some(acl);
        }
        self.total += 1;
    }

    /// How many there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// True unless there are several.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Those that are named.
    pub fn iter(&self) -> impl Iterator<Item = &'a AclRow> {
        self.rows.into_iter().flatten()
    }
}

/// Sender or receiver of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct End<'a> {
    /// Its address.
    pub ip: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
    /// Who has the address.
    pub endpoint: Option<&'a Endpoint>,
}

/// A logical flow that drops, as the SB holds it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct DropFlow {
    /// Stage name, such as `ls_in_check_port_sec`.
    pub stage: String,
    /// Priority within the stage.
    pub priority: u16,
    /// The match.
    #[serde(rename = "match")]
    pub matches: String,
    /// The sentence for people.
    #[serde(skip)]
    pub message: Box<str>,
}

/// What the choice of an ACL rests on.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Evidence {
    /// One row held the point when the packet was seen.
    Point,
    /// One row held the point at some time of the connection's life, and the start was seen.
    Connection,
    /// The row that held the point is gone; it was the only one within the time that is kept.
    Past,
    /// Several rows held the point; this one is named by priority, not by proof.
    Priority,
    /// Several rows held the point or name; their matches on the packet, with the port groups and
    /// address sets of that time, rule out all but one.
    Match,
    /// The same with the sets as they stand: what they were at that time is not known.
    MatchNow,
    /// A name in a log line, and its verdict and direction.
    LogName,
    /// The label in the conntrack entry.
    Label,
    /// The start of the logical flow's uuid.
    LogicalFlow,
    /// Nothing.
    None,
}

impl Evidence {
    /// All kinds of evidence.
    pub const ALL: [Self; 10] = [
        Self::Point,
        Self::Connection,
        Self::Past,
        Self::Priority,
        Self::Match,
        Self::MatchNow,
        Self::LogName,
        Self::Label,
        Self::LogicalFlow,
        Self::None,
    ];

    /// The word used in JSON and queries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Point => "point",
            Self::Connection => "connection",
            Self::Past => "past",
            Self::Priority => "priority",
            Self::Match => "match",
            Self::MatchNow => "match-now",
            Self::LogName => "log-name",
            Self::Label => "label",
            Self::LogicalFlow => "logical-flow",
            Self::None => "none",
        }
    }

    /// Reads [`as_str`](Self::as_str)'s word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

/// Why a sample could not be resolved. The words are stable: they label counters.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Unresolved {
    /// No ACL holds, or ever held in the time that is kept, this point.
    UnknownPoint,
    /// The point's Sample row is there, but no ACL names it in the column of this application.
    NoAcl,
    /// No Sampling_App row has this number.
    UnknownApp,
    /// The cookie has not the 8 bytes that OVS writes.
    BadCookie,
    /// A sample of the drop application, and no SB to look the logical flow up.
    DropWithoutSb,
    /// A sample of the drop application whose logical flow is not in the SB.
    UnknownFlow,
    /// No ACL has the name of the log line.
    UnknownName,
    /// No ACL has the label.
    UnknownLabel,
    /// The policies of this zone have not arrived yet, or no NB was given for it.
    NoPolicies,
    /// The policies at that time fell out of the time that is kept, or were never seen.
    BeforeHistory,
    /// The entry carries neither a point nor a label.
    Unsampled,
}

impl Unresolved {
    /// All reasons.
    pub const ALL: [Self; 11] = [
        Self::UnknownPoint,
        Self::NoAcl,
        Self::UnknownApp,
        Self::BadCookie,
        Self::DropWithoutSb,
        Self::UnknownFlow,
        Self::UnknownName,
        Self::UnknownLabel,
        Self::NoPolicies,
        Self::BeforeHistory,
        Self::Unsampled,
    ];

    /// The word used in JSON and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownPoint => "unknown-point",
            Self::NoAcl => "no-acl",
            Self::UnknownApp => "unknown-app",
            Self::BadCookie => "bad-cookie",
            Self::DropWithoutSb => "drop-without-sb",
            Self::UnknownFlow => "unknown-flow",
            Self::UnknownName => "unknown-name",
            Self::UnknownLabel => "unknown-label",
            Self::NoPolicies => "no-policies",
            Self::BeforeHistory => "before-history",
            Self::Unsampled => "unsampled",
        }
    }

    /// Reads [`as_str`](Self::as_str)'s word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

impl Unresolved {
    /// The sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::UnknownPoint => "Cannot be resolved: no ACL holds this observation point",
            Self::NoAcl => "Cannot be resolved: no ACL uses this Sample row for this application",
            Self::UnknownApp => "Cannot be resolved: the NB has no Sampling_App with this number",
            Self::BadCookie => "Cannot be resolved: the cookie has not the form that OVN writes",
            Self::DropWithoutSb => "Dropped by a logical flow; give --sb to learn which one",
            Self::UnknownFlow => "Dropped by a logical flow that the SB no longer has",
            Self::UnknownName => "Cannot be resolved: no ACL has the name in the log line",
            Self::UnknownLabel => "Cannot be resolved: no ACL has this label",
            Self::NoPolicies => "Cannot be resolved: the policies of this zone are not known",
            Self::BeforeHistory => {
                "Cannot be resolved: the policies of that time are not kept any more"
            }
            Self::Unsampled => "No policy was sampled for this connection",
        }
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'a> Decision<'a> {
    /// What leads to the ACL, for a sample that this decision was made from.
    pub fn point(&self) -> Option<u32> {
        self.cookie.map(|cookie| cookie.point)
    }

    /// The sentence for people.
    pub fn message(&self) -> &'a str {
        match (self.acl, self.flow, self.unresolved) {
            (Some(row), ..) => row.message(),
            (None, Some(flow), _) => &flow.message,
            (None, None, Some(reason)) => reason.sentence(),
            (None, None, None) => "",
        }
    }

    /// True where several ACLs could have decided and nothing told which.
    pub fn is_ambiguous(&self) -> bool {
        self.evidence == Evidence::Priority
    }
}

impl Serialize for Decision<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &self.time)?;
        map.serialize_entry("zone", self.zone)?;
        optional(&mut map, "network", self.network)?;
        optional(&mut map, "node", self.node)?;
        map.serialize_entry("verdict", &self.verdict)?;
        if let Some(acl) = self.acl.map(AclRow::acl) {
            map.serialize_entry("action", &acl.action)?;
            optional(&mut map, "direction", acl.owner.direction)?;
            map.serialize_entry("pipeline", &acl.pipeline)?;
            map.serialize_entry("tier", &acl.tier)?;
        }
        optional(&mut map, "app", self.app)?;
        map.serialize_entry("reply", &self.reply)?;
        if let Some(row) = self.acl {
            map.serialize_entry("owner", &row.acl().owner)?;
            map.serialize_entry(
                "acl",
                &AclJson {
                    uuid: Some(row.uuid),
                    acl: row.acl(),
                    deleted: self.deleted,
                },
            )?;
            map.serialize_entry("revision", &row.revision)?;
        }
        map.serialize_entry("src", &self.src)?;
        map.serialize_entry("dst", &self.dst)?;
        if let Some(service) = self.service {
            map.serialize_entry("service", &ServiceName(service))?;
        }
        if let Some(protocol) = self.headers.protocol {
            protocol_entry(&mut map, protocol)?;
        }
        optional(&mut map, "tcp_flags", self.headers.tcp_flags)?;
        optional(&mut map, "icmp", self.headers.icmp)?;
        map.serialize_entry("length", &self.length)?;
        map.serialize_entry("packets", &self.packets)?;
        map.serialize_entry("bytes", &self.bytes)?;
        if let Some(cookie) = self.cookie {
            map.serialize_entry("point", &cookie.point)?;
            map.serialize_entry("domain", &cookie.domain)?;
        }
        optional(&mut map, "datapath", self.datapath)?;
        optional(&mut map, "group", self.group)?;
        map.serialize_entry("probability", &self.probability)?;
        map.serialize_entry("source", &self.origin)?;
        if self.double {
            map.serialize_entry("double", &true)?;
        }
        if !self.candidates.is_empty() {
            map.serialize_entry("ambiguous", &self.is_ambiguous())?;
            map.serialize_entry("candidates", &self.candidates)?;
        }
        optional(&mut map, "flow", self.flow)?;
        optional(&mut map, "unresolved", self.unresolved)?;
        map.serialize_entry("evidence", &self.evidence)?;
        map.serialize_entry("message", self.message())?;
        map.end()
    }
}

pub(crate) struct AclJson<'a> {
    pub(crate) uuid: Option<Uuid>,
    pub(crate) acl: &'a Acl,
    pub(crate) deleted: bool,
}

impl Serialize for AclJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let acl = self.acl;
        let mut map = serializer.serialize_map(None)?;
        optional(&mut map, "uuid", self.uuid)?;
        optional(&mut map, "name", acl.name.as_deref())?;
        map.serialize_entry("priority", &acl.priority)?;
        map.serialize_entry("match", &acl.matches)?;
        if self.deleted {
            map.serialize_entry("deleted", &true)?;
        }
        map.end()
    }
}

impl Serialize for Candidates<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for candidate in self.iter() {
            list.serialize_element(&Candidate(candidate))?;
        }
        list.end()
    }
}

struct Candidate<'a>(&'a AclRow);

impl Serialize for Candidate<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("uuid", &self.0.uuid)?;
        map.serialize_entry("owner", &self.0.acl().owner)?;
        map.serialize_entry("message", self.0.message())?;
        map.end()
    }
}

impl Serialize for End<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        optional(&mut map, "ip", self.ip)?;
        optional(&mut map, "port", self.port)?;
        if let Some(endpoint) = self.endpoint {
            optional(&mut map, "namespace", endpoint.namespace.as_deref())?;
            let role = match endpoint.kind {
                crate::EndpointKind::Pod => "pod",
                _ => "name",
            };
            optional(&mut map, role, endpoint.name.as_deref())?;
            map.serialize_entry("kind", &endpoint.kind)?;
            optional(&mut map, "node", endpoint.node.as_deref())?;
        }
        map.end()
    }
}

pub(crate) struct ServiceName<'a>(pub(crate) &'a Service);

impl Serialize for ServiceName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        optional(&mut map, "namespace", self.0.namespace.as_deref())?;
        map.serialize_entry("name", &self.0.name)?;
        map.serialize_entry("ip", &self.0.ip)?;
        optional(&mut map, "port", self.0.port)?;
        map.end()
    }
}

/// By its name where it has one.
pub(crate) fn protocol_entry<M: SerializeMap>(map: &mut M, protocol: u8) -> Result<(), M::Error> {
    match protocol_name(protocol) {
        Some(name) => map.serialize_entry("protocol", name),
        None => map.serialize_entry("protocol", &protocol),
    }
}

pub(crate) fn optional<M: SerializeMap, T: Serialize>(
    map: &mut M,
    key: &'static str,
    value: Option<T>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(key, &value),
        None => Ok(()),
    }
}
