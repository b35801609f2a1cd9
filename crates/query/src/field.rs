use std::fmt;
use std::sync::LazyLock;

use netverdict_types::{
    Action, App, Direction, EndpointKind, Evidence, Origin, OwnerKind, Pipeline, Unresolved,
    Verdict, protocol_name,
};

/// One value of a record, as a store would keep it in a column.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Field {
    /// When the packet was seen; of a connection its end.
    Time,
    /// When a connection was first seen; of a packet its time.
    Start,
    /// When a connection was last seen; of a packet its time.
    End,
    /// From its start to its end.
    Duration,
    /// The zone that saw it.
    Zone,
    /// The network that the addresses belong to.
    Network,
    /// The node that saw it.
    Node,
    /// The logical datapath.
    Datapath,
    /// What became of the packet.
    Verdict,
    /// The ACL's action.
    Action,
    /// The policy's direction.
    Direction,
    /// The pipeline that evaluates the ACL.
    Pipeline,
    /// The ACL's tier.
    Tier,
    /// The sampling application.
    App,
    /// Whether the packet goes against its connection.
    Reply,
    /// Kind of the policy or other owner.
    OwnerKind,
    /// Its namespace.
    OwnerNamespace,
    /// Its name.
    OwnerName,
    /// The network whose controller made it.
    OwnerNetwork,
    /// Index of the rule in the policy's ingress or egress list.
    RuleIndex,
    /// Protocol of the rule.
    RuleProtocol,
    /// Index of the rule's IP block.
    RuleIpBlock,
    /// The rule's type.
    RuleType,
    /// Identity of the ACL row.
    AclUuid,
    /// Name of the ACL.
    AclName,
    /// Priority of the ACL.
    AclPriority,
    /// Match of the ACL.
    AclMatch,
    /// Whether the row of the ACL was gone when the packet was seen.
    AclDeleted,
    /// The revision that brought the ACL.
    Revision,
    /// Stage of the logical flow that dropped the packet.
    FlowStage,
    /// Priority of that flow.
    FlowPriority,
    /// Match of that flow.
    FlowMatch,
    /// Address of the sender.
    SrcIp,
    /// Port of the sender.
    SrcPort,
    /// Namespace of the sender.
    SrcNamespace,
    /// Name of the sender, if it is a pod.
    SrcPod,
    /// Name of the sender, whatever it is.
    SrcName,
    /// What the sender is.
    SrcKind,
    /// Node that the sender lives on.
    SrcNode,
    /// Address of the receiver.
    DstIp,
    /// Port of the receiver.
    DstPort,
    /// Namespace of the receiver.
    DstNamespace,
    /// Name of the receiver, if it is a pod.
    DstPod,
    /// Name of the receiver, whatever it is.
    DstName,
    /// What the receiver is.
    DstKind,
    /// Node that the receiver lives on.
    DstNode,
    /// Namespace of the service.
    ServiceNamespace,
    /// Name of the service.
    ServiceName,
    /// Virtual address of the service.
    ServiceIp,
    /// Virtual port of the service.
    ServicePort,
    /// IP protocol.
    Protocol,
    /// TCP flags.
    TcpFlags,
    /// ICMP type.
    IcmpType,
    /// ICMP code.
    IcmpCode,
    /// Length of the packet in bytes.
    Length,
    /// Packets.
    Packets,
    /// Their bytes.
    Bytes,
    /// Packets from server to client.
    ReplyPackets,
    /// Their bytes.
    ReplyBytes,
    /// Packets that were dropped or rejected, either way.
    DroppedPackets,
    /// Their bytes.
    DroppedBytes,
    /// Observation point.
    Point,
    /// Observation domain.
    Domain,
    /// Group of psample.
    Group,
    /// Share of packets that is sampled.
    Probability,
    /// Whether several ACLs could have decided and nothing told which.
    Ambiguous,
    /// How many ACLs could have decided, where more than one.
    Candidates,
    /// What the choice of the ACL rests on.
    Evidence,
    /// Whether it is a further sample of a packet that was counted.
    Double,
    /// Why no ACL was found.
    Unresolved,
    /// Kind of source.
    Source,
    /// The sentence.
    Message,
    /// Identity of a connection.
    Id,
    /// What was said of the way out of the client.
    Egress(HalfField),
    /// What was said of the way into the server.
    Ingress(HalfField),
}

/// What each half of a connection has its own of ([`netverdict_types::Half`]).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum HalfField {
    /// When this ruling was first seen.
    Since,
    /// See [`Field::Verdict`].
    Verdict,
    /// See [`Field::Zone`].
    Zone,
    /// See [`Field::Node`].
    Node,
    /// See [`Field::Action`].
    Action,
    /// See [`Field::Direction`].
    Direction,
    /// See [`Field::Pipeline`].
    Pipeline,
    /// See [`Field::Tier`].
    Tier,
    /// See [`Field::OwnerKind`].
    OwnerKind,
    /// See [`Field::OwnerNamespace`].
    OwnerNamespace,
    /// See [`Field::OwnerName`].
    OwnerName,
    /// See [`Field::OwnerNetwork`].
    OwnerNetwork,
    /// See [`Field::RuleIndex`].
    RuleIndex,
    /// See [`Field::RuleProtocol`].
    RuleProtocol,
    /// See [`Field::RuleIpBlock`].
    RuleIpBlock,
    /// See [`Field::RuleType`].
    RuleType,
    /// See [`Field::AclUuid`].
    AclUuid,
    /// See [`Field::AclName`].
    AclName,
    /// See [`Field::AclPriority`].
    AclPriority,
    /// See [`Field::AclMatch`].
    AclMatch,
    /// See [`Field::AclDeleted`].
    AclDeleted,
    /// See [`Field::Revision`].
    Revision,
    /// See [`Field::FlowStage`].
    FlowStage,
    /// See [`Field::FlowPriority`].
    FlowPriority,
    /// See [`Field::FlowMatch`].
    FlowMatch,
    /// See [`Field::Evidence`].
    Evidence,
    /// See [`Field::Unresolved`].
    Unresolved,
    /// See [`Field::Message`].
    Message,
}

impl HalfField {
    /// The field that names no half; the time of the ruling is that of a decision.
    pub fn shared(self) -> Field {
        match self {
            Self::Since => Field::Time,
            Self::Verdict => Field::Verdict,
            Self::Zone => Field::Zone,
            Self::Node => Field::Node,
            Self::Action => Field::Action,
            Self::Direction => Field::Direction,
            Self::Pipeline => Field::Pipeline,
            Self::Tier => Field::Tier,
            Self::OwnerKind => Field::OwnerKind,
            Self::OwnerNamespace => Field::OwnerNamespace,
            Self::OwnerName => Field::OwnerName,
            Self::OwnerNetwork => Field::OwnerNetwork,
            Self::RuleIndex => Field::RuleIndex,
            Self::RuleProtocol => Field::RuleProtocol,
            Self::RuleIpBlock => Field::RuleIpBlock,
            Self::RuleType => Field::RuleType,
            Self::AclUuid => Field::AclUuid,
            Self::AclName => Field::AclName,
            Self::AclPriority => Field::AclPriority,
            Self::AclMatch => Field::AclMatch,
            Self::AclDeleted => Field::AclDeleted,
            Self::Revision => Field::Revision,
            Self::FlowStage => Field::FlowStage,
            Self::FlowPriority => Field::FlowPriority,
            Self::FlowMatch => Field::FlowMatch,
            Self::Evidence => Field::Evidence,
            Self::Unresolved => Field::Unresolved,
            Self::Message => Field::Message,
        }
    }

    /// The field of this half.
    pub fn of(self, half: Direction) -> Field {
        match half {
            Direction::Egress => Field::Egress(self),
            Direction::Ingress => Field::Ingress(self),
        }
    }
}

impl Field {
    /// Its name in queries, such as `src.ip`.
    pub fn name(self) -> &'static str {
        self.info().map_or("", |info| info.name)
    }

    /// What it asks of a half of a connection, where it names none: either half may have it.
    /// `None` for all other fields, and for those that name a half.
    #[inline]
    pub fn either_half(self) -> Option<HalfField> {
        Some(match self {
            Self::Zone => HalfField::Zone,
            Self::Node => HalfField::Node,
            Self::Action => HalfField::Action,
            Self::Direction => HalfField::Direction,
            Self::Pipeline => HalfField::Pipeline,
            Self::Tier => HalfField::Tier,
            Self::OwnerKind => HalfField::OwnerKind,
            Self::OwnerNamespace => HalfField::OwnerNamespace,
            Self::OwnerName => HalfField::OwnerName,
            Self::OwnerNetwork => HalfField::OwnerNetwork,
            Self::RuleIndex => HalfField::RuleIndex,
            Self::RuleProtocol => HalfField::RuleProtocol,
            Self::RuleIpBlock => HalfField::RuleIpBlock,
            Self::RuleType => HalfField::RuleType,
            Self::AclUuid => HalfField::AclUuid,
            Self::AclName => HalfField::AclName,
            Self::AclPriority => HalfField::AclPriority,
            Self::AclMatch => HalfField::AclMatch,
            Self::AclDeleted => HalfField::AclDeleted,
            Self::Revision => HalfField::Revision,
            Self::FlowStage => HalfField::FlowStage,
            Self::FlowPriority => HalfField::FlowPriority,
            Self::FlowMatch => HalfField::FlowMatch,
            Self::Evidence => HalfField::Evidence,
            Self::Unresolved => HalfField::Unresolved,
            Self::Message => HalfField::Message,
            _ => return None,
        })
    }

    /// The same of one half, where it names none ([`either_half`](Self::either_half)); else
    /// itself.
    #[inline]
    #[must_use]
    pub fn at(self, half: Direction) -> Self {
        self.either_half().map_or(self, |field| field.of(half))
    }

    /// The type of its values.
    pub fn kind(self) -> Kind {
        self.info().map_or(Kind::Text, |info| match info.kind {
            Kind::Named => Kind::Text,
            kind => kind,
        })
    }

    /// All fields that a record may have.
    pub fn all() -> impl Iterator<Item = Field> {
        NAMES
            .iter()
            .filter(|info| info.kind != Kind::Named)
            .filter_map(|info| match info.targets {
                [(None, field)] => Some(*field),
                _ => None,
            })
            .chain([Self::SrcPod, Self::DstPod])
    }

    fn info(self) -> Option<&'static Name> {
        let targets = |info: &&Name| matches!(info.targets, [(_, field)] if *field == self);
        let mut found = NAMES.iter().filter(targets);
        let first = found.next();
        // `service` leads to the same field as `service.name`, which is its name.
        match first.map(|info| info.kind) {
            Some(Kind::Named) => found.next().or(first),
            _ => first,
        }
    }
}

/// The type of a field's values: which operators it knows, and how its values are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A name, or `NAMESPACE/NAME`.
    Named,
    /// One of a closed set of words.
    Word(Words),
    /// A whole number from `min` to `max`.
    Number {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A moment: RFC 3339, `now`, or a time before now such as `-5m`.
    Time,
    /// A length of time, such as `1m30s`.
    Duration,
    /// From 0 to 1, also in per cent.
    Fraction,
    /// An IPv4 or IPv6 address.
    Ip,
    /// `true` or `false`.
    Bool,
    /// Names of TCP flags.
    TcpFlags,
    /// The name or IANA's number of an IP protocol.
    Protocol,
    /// A UUID.
    Uuid,
}

impl Kind {
    /// The operators that may stand behind a field of this type.
    pub fn operators(self) -> &'static [Operator] {
        use Operator::*;
        match self {
            Self::Text | Self::Named | Self::Word(_) | Self::Uuid => {
                &[Equal, NotEqual, Like, NotLike, In]
            }
            Self::Number { .. } | Self::Time | Self::Duration | Self::Fraction => {
                &[Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual, In]
            }
            Self::Ip | Self::Protocol | Self::TcpFlags => &[Equal, NotEqual, In],
            Self::Bool => &[Equal, NotEqual],
        }
    }

    /// The values that exist, where they are a closed set.
    pub fn values(self) -> Vec<&'static str> {
        match self {
            Self::Word(words) => words.all(),
            Self::Bool => vec!["true", "false"],
            Self::Protocol => (0..=u8::MAX).filter_map(protocol_name).collect(),
            Self::TcpFlags => TCP_FLAGS.to_vec(),
            _ => Vec::new(),
        }
    }
}

/// The closed sets of words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Words {
    /// [`Verdict`].
    Verdict,
    /// [`Action`].
    Action,
    /// [`Direction`].
    Direction,
    /// [`Pipeline`].
    Pipeline,
    /// [`App`].
    App,
    /// [`OwnerKind`], those that are known.
    OwnerKind,
    /// [`EndpointKind`].
    EndpointKind,
    /// [`Evidence`].
    Evidence,
    /// [`Unresolved`].
    Unresolved,
    /// [`Origin`].
    Source,
}

impl Words {
    /// The words.
    pub fn all(self) -> Vec<&'static str> {
        match self {
            Self::Verdict => Verdict::ALL.map(Verdict::as_str).to_vec(),
            Self::Action => Action::ALL.map(Action::as_str).to_vec(),
            Self::Direction => Direction::ALL.map(Direction::as_str).to_vec(),
            Self::Pipeline => Pipeline::ALL.map(Pipeline::as_str).to_vec(),
            Self::App => App::ALL.map(App::as_str).to_vec(),
            Self::OwnerKind => OWNER_KINDS.iter().map(owner_kind_word).collect(),
            Self::EndpointKind => EndpointKind::ALL.map(EndpointKind::as_str).to_vec(),
            Self::Evidence => Evidence::ALL.map(Evidence::as_str).to_vec(),
            Self::Unresolved => Unresolved::ALL.map(Unresolved::as_str).to_vec(),
            Self::Source => Origin::ALL.map(Origin::as_str).to_vec(),
        }
    }
}

/// What stands between a field and its value.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`, the same as `not` and `=`.
    NotEqual,
    /// `~`, a glob.
    Like,
    /// `!~`, the same as `not` and `~`.
    NotLike,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `in`, one of several, a range or a block.
    In,
}

impl Operator {
    /// How it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Like => "~",
            Self::NotLike => "!~",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::In => "in",
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that a query may use, and the fields behind it.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// The name.
    pub name: &'static str,
    /// Other spellings of it.
    pub aliases: &'static [&'static str],
    /// The type of its values.
    pub kind: Kind,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Each place that a value is looked for, namespace field first where it has one: any of
    /// them suffices.
    pub targets: &'static [(Option<Field>, Field)],
}

impl Name {
    /// All names, by alphabet.
    pub fn all() -> &'static [Name] {
        &NAMES
    }

    /// The half of a connection that the name is about, by its prefix.
    pub fn half(&self) -> Option<Direction> {
        match self.targets {
            [(_, Field::Egress(_))] => Some(Direction::Egress),
            [(_, Field::Ingress(_))] => Some(Direction::Ingress),
            _ => None,
        }
    }

    pub(crate) fn find(word: &str) -> Option<&'static Name> {
        NAMES
            .iter()
            .find(|info| info.name == word || info.aliases.contains(&word))
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Name {}

/// The names of the eight flags, from the lowest bit up (RFC 9293 section 3.1, RFC 3168).
pub(crate) const TCP_FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];

/// The word for a kind of owner; an ACL of nobody's has one too.
pub fn owner_kind_word(kind: &OwnerKind) -> &str {
    match kind {
        OwnerKind::Unowned => "Unowned",
        kind => kind.as_str(),
    }
}

static OWNER_KINDS: [OwnerKind; OwnerKind::KNOWN.len()] = OwnerKind::KNOWN;

const U8: Kind = up_to(u8::MAX as i64);
const U16: Kind = up_to(u16::MAX as i64);
const U32: Kind = up_to(u32::MAX as i64);
const U63: Kind = up_to(i64::MAX);

const I32: Kind = Kind::Number {
    min: i32::MIN as i64,
    max: i32::MAX as i64,
};

const fn up_to(max: i64) -> Kind {
    Kind::Number { min: 0, max }
}

const fn name(
    name: &'static str,
    aliases: &'static [&'static str],
    kind: Kind,
    targets: &'static [(Option<Field>, Field)],
    about: &'static str,
) -> Name {
    Name {
        name,
        aliases,
        kind,
        about,
        targets,
    }
}

const SHARED: &[Name] = {
    use Field::*;
    use Kind::{Bool, Fraction, Ip, Named, Text, Uuid, Word};
    &[
        name(
            "acl.deleted",
            &[],
            Bool,
            &[(None, AclDeleted)],
            "true when the ACL's row was gone when the packet was seen",
        ),
        name(
            "acl.match",
            &[],
            Text,
            &[(None, AclMatch)],
            "match of the ACL",
        ),
        name(
            "acl.name",
            &[],
            Text,
            &[(None, AclName)],
            "name of the ACL; several may share one",
        ),
        name(
            "acl.priority",
            &[],
            up_to(32_767),
            &[(None, AclPriority)],
            "priority of the ACL",
        ),
        name(
            "acl.uuid",
            &[],
            Uuid,
            &[(None, AclUuid)],
            "identity of the ACL row",
        ),
        name(
            "action",
            &[],
            Word(Words::Action),
            &[(None, Action)],
            "action of the ACL",
        ),
        name(
            "ambiguous",
            &[],
            Bool,
            &[(None, Ambiguous)],
            "true when several ACLs could have decided and nothing told which",
        ),
        name(
            "app",
            &[],
            Word(Words::App),
            &[(None, App)],
            "sampling application",
        ),
        name(
            "bytes",
            &[],
            U63,
            &[(None, Bytes)],
            "bytes of the packets; 0 for a double; of a connection from client to server",
        ),
        name(
            "candidates",
            &[],
            U63,
            &[(None, Candidates)],
            "how many ACLs could have decided, 0 unless several",
        ),
        name(
            "datapath",
            &[],
            Text,
            &[(None, Datapath)],
            "name of the logical datapath",
        ),
        name(
            "direction",
            &["owner.direction"],
            Word(Words::Direction),
            &[(None, Direction)],
            "the policy's direction",
        ),
        name("domain", &[], U32, &[(None, Domain)], "observation domain"),
        name(
            "double",
            &[],
            Bool,
            &[(None, Double)],
            "true for a further sample of a packet that was counted",
        ),
        name(
            "dropped.bytes",
            &[],
            U63,
            &[(None, DroppedBytes)],
            "bytes of the packets that were dropped or rejected, either way",
        ),
        name(
            "dropped.packets",
            &[],
            U63,
            &[(None, DroppedPackets)],
            "those of all packets that were dropped or rejected, either way",
        ),
        name("dst.ip", &[], Ip, &[(None, DstIp)], "receiver: address"),
        name(
            "dst.kind",
            &[],
            Word(Words::EndpointKind),
            &[(None, DstKind)],
            "receiver: what has the address",
        ),
        name(
            "dst.name",
            &[],
            Text,
            &[(None, DstName)],
            "receiver: name of what has the address",
        ),
        name(
            "dst.namespace",
            &[],
            Text,
            &[(None, DstNamespace)],
            "receiver: namespace",
        ),
        name(
            "dst.node",
            &[],
            Text,
            &[(None, DstNode)],
            "receiver: node it lives on",
        ),
        name(
            "dst.pod",
            &[],
            Named,
            &[(Some(DstNamespace), DstPod)],
            "receiver: name of the pod",
        ),
        name("dst.port", &[], U16, &[(None, DstPort)], "receiver: port"),
        name(
            "duration",
            &[],
            Kind::Duration,
            &[(None, Field::Duration)],
            "from start to end of a connection",
        ),
        name(
            "end",
            &[],
            Kind::Time,
            &[(None, End)],
            "when the connection was last seen",
        ),
        name(
            "evidence",
            &[],
            Word(Words::Evidence),
            &[(None, Evidence)],
            "what the choice of the ACL rests on",
        ),
        name(
            "flow.match",
            &[],
            Text,
            &[(None, FlowMatch)],
            "match of the logical flow that dropped the packet",
        ),
        name(
            "flow.priority",
            &[],
            U16,
            &[(None, FlowPriority)],
            "priority of that flow",
        ),
        name(
            "flow.stage",
            &[],
            Text,
            &[(None, FlowStage)],
            "stage of that flow, such as ls_in_check_port_sec",
        ),
        name("group", &[], U32, &[(None, Group)], "psample group"),
        name("icmp.code", &[], U8, &[(None, IcmpCode)], "ICMP code"),
        name("icmp.type", &[], U8, &[(None, IcmpType)], "ICMP type"),
        name("id", &[], Uuid, &[(None, Id)], "identity of the connection"),
        name(
            "ip",
            &[],
            Ip,
            &[(None, SrcIp), (None, DstIp)],
            "either end: address",
        ),
        name(
            "kind",
            &[],
            Word(Words::EndpointKind),
            &[(None, SrcKind), (None, DstKind)],
            "either end: what has the address",
        ),
        name(
            "length",
            &[],
            U32,
            &[(None, Length)],
            "length of the packet in bytes",
        ),
        name("message", &[], Text, &[(None, Message)], "the sentence"),
        name(
            "name",
            &[],
            Text,
            &[(None, SrcName), (None, DstName)],
            "either end: name of what has the address",
        ),
        name(
            "namespace",
            &[],
            Text,
            &[(None, SrcNamespace), (None, DstNamespace)],
            "either end: namespace",
        ),
        name(
            "network",
            &[],
            Text,
            &[(None, Network)],
            "network that the addresses belong to",
        ),
        name(
            "node",
            &[],
            Text,
            &[(None, Node)],
            "node that saw the packet",
        ),
        name(
            "owner.kind",
            &["policy.kind"],
            Word(Words::OwnerKind),
            &[(None, OwnerKind)],
            "kind of the policy",
        ),
        name(
            "owner.name",
            &["policy.name"],
            Text,
            &[(None, OwnerName)],
            "name of the policy",
        ),
        name(
            "owner.namespace",
            &["policy.namespace"],
            Text,
            &[(None, OwnerNamespace)],
            "namespace of the policy",
        ),
        name(
            "owner.network",
            &[],
            Text,
            &[(None, OwnerNetwork)],
            "network whose controller made the policy's ACLs",
        ),
        name(
            "packets",
            &[],
            U63,
            &[(None, Packets)],
            "packets; 0 for a double; of a connection those from client to server",
        ),
        name(
            "pipeline",
            &[],
            Word(Words::Pipeline),
            &[(None, Pipeline)],
            "pipeline that evaluates the ACL",
        ),
        name(
            "pod",
            &[],
            Named,
            &[(Some(SrcNamespace), SrcPod), (Some(DstNamespace), DstPod)],
            "either end: name of the pod",
        ),
        name("point", &[], U32, &[(None, Point)], "observation point"),
        name(
            "policy",
            &[],
            Named,
            &[(Some(OwnerNamespace), OwnerName)],
            "the policy that decided, NAME or NAMESPACE/NAME",
        ),
        name(
            "port",
            &[],
            U16,
            &[(None, SrcPort), (None, DstPort)],
            "either end: port",
        ),
        name(
            "probability",
            &[],
            Fraction,
            &[(None, Probability)],
            "share of packets that is sampled",
        ),
        name(
            "protocol",
            &[],
            Kind::Protocol,
            &[(None, Field::Protocol)],
            "IP protocol",
        ),
        name(
            "reply",
            &[],
            Bool,
            &[(None, Reply)],
            "true for a packet against its connection",
        ),
        name(
            "reply.bytes",
            &[],
            U63,
            &[(None, ReplyBytes)],
            "bytes from server to client",
        ),
        name(
            "reply.packets",
            &[],
            U63,
            &[(None, ReplyPackets)],
            "packets from server to client",
        ),
        name(
            "revision",
            &[],
            U63,
            &[(None, Revision)],
            "revision that brought the ACL",
        ),
        name(
            "rule.index",
            &["owner.rule.index"],
            U32,
            &[(None, RuleIndex)],
            "index of the rule in the policy's list, from 0",
        ),
        name(
            "rule.ip_block",
            &["owner.rule.ip_block"],
            I32,
            &[(None, RuleIpBlock)],
            "index of the rule's IP block",
        ),
        name(
            "rule.protocol",
            &["owner.rule.protocol"],
            Text,
            &[(None, RuleProtocol)],
            "protocol of the rule",
        ),
        name(
            "rule.type",
            &["owner.rule.type"],
            Text,
            &[(None, RuleType)],
            "type of a rule of a namespace, such as defaultDeny",
        ),
        name(
            "service",
            &[],
            Named,
            &[(Some(ServiceNamespace), ServiceName)],
            "the service, NAME or NAMESPACE/NAME",
        ),
        name(
            "service.ip",
            &[],
            Ip,
            &[(None, ServiceIp)],
            "virtual address of the service",
        ),
        name(
            "service.name",
            &[],
            Text,
            &[(None, ServiceName)],
            "name of the service",
        ),
        name(
            "service.namespace",
            &[],
            Text,
            &[(None, ServiceNamespace)],
            "namespace of the service",
        ),
        name(
            "service.port",
            &[],
            U16,
            &[(None, ServicePort)],
            "virtual port of the service",
        ),
        name(
            "source",
            &[],
            Word(Words::Source),
            &[(None, Source)],
            "kind of source",
        ),
        name("src.ip", &[], Ip, &[(None, SrcIp)], "sender: address"),
        name(
            "src.kind",
            &[],
            Word(Words::EndpointKind),
            &[(None, SrcKind)],
            "sender: what has the address",
        ),
        name(
            "src.name",
            &[],
            Text,
            &[(None, SrcName)],
            "sender: name of what has the address",
        ),
        name(
            "src.namespace",
            &[],
            Text,
            &[(None, SrcNamespace)],
            "sender: namespace",
        ),
        name(
            "src.node",
            &[],
            Text,
            &[(None, SrcNode)],
            "sender: node it lives on",
        ),
        name(
            "src.pod",
            &[],
            Named,
            &[(Some(SrcNamespace), SrcPod)],
            "sender: name of the pod",
        ),
        name("src.port", &[], U16, &[(None, SrcPort)], "sender: port"),
        name(
            "start",
            &[],
            Kind::Time,
            &[(None, Start)],
            "when the connection was first seen",
        ),
        name(
            "tcp_flags",
            &[],
            Kind::TcpFlags,
            &[(None, Field::TcpFlags)],
            "TCP flags that are set, others may be too",
        ),
        name("tier", &[], up_to(3), &[(None, Tier)], "tier of the ACL"),
        name(
            "time",
            &[],
            Kind::Time,
            &[(None, Field::Time)],
            "when the packet was seen; of a connection its end",
        ),
        name(
            "unresolved",
            &[],
            Word(Words::Unresolved),
            &[(None, Unresolved)],
            "why no ACL was found",
        ),
        name(
            "verdict",
            &[],
            Word(Words::Verdict),
            &[(None, Verdict)],
            "what became of the packet; of a connection the worst",
        ),
        name(
            "zone",
            &[],
            Text,
            &[(None, Zone)],
            "zone that saw the packet",
        ),
    ]
};

/// The names of one half.
macro_rules! half {
    ($half:ident, $prefix:literal, $about:literal) => {
        &[
            name(
                concat!($prefix, ".acl.deleted"),
                &[],
                Kind::Bool,
                &[(None, Field::$half(HalfField::AclDeleted))],
                concat!($about, "true when the ACL's row was gone when it was seen"),
            ),
            name(
                concat!($prefix, ".acl.match"),
                &[],
                Kind::Text,
                &[(None, Field::$half(HalfField::AclMatch))],
                concat!($about, "match of the ACL"),
            ),
            name(
                concat!($prefix, ".acl.name"),
                &[],
                Kind::Text,
                &[(None, Field::$half(HalfField::AclName))],
                concat!($about, "name of the ACL; several may share one"),
            ),
            name(
                concat!($prefix, ".acl.priority"),
                &[],
                up_to(32_767),
                &[(None, Field::$half(HalfField::AclPriority))],
                concat!($about, "priority of the ACL"),
            ),
            name(
                concat!($prefix, ".acl.uuid"),
                &[],
                Kind::Uuid,
                &[(None, Field::$half(HalfField::AclUuid))],
                concat!($about, "identity of the ACL row"),
            ),
            name(
                concat!($prefix, ".action"),
                &[],
                Kind::Word(Words::Action),
                &[(None, Field::$half(HalfField::Action))],
                concat!($about, "action of the ACL"),
            ),
            name(
                concat!($prefix, ".direction"),
                &[],
                Kind::Word(Words::Direction),
                &[(None, Field::$half(HalfField::Direction))],
                concat!($about, "the policy's direction"),
            ),
            name(
                concat!($prefix, ".evidence"),
                &[],
                Kind::Word(Words::Evidence),
                &[(None, Field::$half(HalfField::Evidence))],
                concat!($about, "what the choice of the ACL rests on"),
            ),
            name(
                concat!($prefix, ".flow.match"),
                &[],
                Kind::Text,
                &[(None, Field::$half(HalfField::FlowMatch))],
                concat!($about, "match of the logical flow that dropped the packet"),
            ),
            name(
                concat!($prefix, ".flow.priority"),
                &[],
                U16,
                &[(None, Field::$half(HalfField::FlowPriority))],
                concat!($about, "priority of that flow"),
            ),
            name(
                concat!($prefix, ".flow.stage"),
                &[],
                Kind::Text,
                &[(None, Field::$half(HalfField::FlowStage))],
                concat!($about, "stage of that flow, such as ls_in_check_port_sec"),
            ),
            name(
                concat!($prefix, ".message"),
                &[],
                Kind::Text,
                &[(None, Field::$half(HalfField::Message))],
                concat!($about, "the sentence"),
            ),
            name(
                concat!($prefix, ".node"),
                &[],
                Kind::Text,
                &[(None, Field::$half(HalfField::Node))],
                concat!($about, "node that saw the packet"),
            ),
            name(
                concat!($prefix, ".owner.kind"),
                &[],
                Kind::Word(Words::OwnerKind),
                &[(None, Field::$half(HalfField::OwnerKind))],
                concat!($about, "kind of the policy"),
            ),
            name(
                concat!($prefix, ".owner.name"),
                &[],
                Kind::Text,
                &[(None, Field::$half(HalfField::OwnerName))],
                concat!($about, "name of the policy"),
            ),
            name(
                concat!($prefix, ".owner.namespace"),
                &[],
                Kind::Text,
                &[(None, Field::$half(HalfField::OwnerNamespace))],
                concat!($about, "namespace of the policy"),
            ),
            name(
                concat!($prefix, ".owner.network"),
                &[],
                Kind::Text,
                &[(None, Field::$half(HalfField::OwnerNetwork))],
                concat!($about, "network whose controller made the policy's ACLs"),
            ),
            name(
                concat!($prefix, ".pipeline"),
                &[],
                Kind::Word(Words::Pipeline),
                &[(None, Field::$half(HalfField::Pipeline))],
                concat!($about, "pipeline that evaluates the ACL"),
            ),
            name(
                concat!($prefix, ".policy"),
                &[],
                Kind::Named,
                &[(
                    Some(Field::$half(HalfField::OwnerNamespace)),
                    Field::$half(HalfField::OwnerName),
                )],
                concat!($about, "the policy that decided, NAME or NAMESPACE/NAME"),
            ),
            name(
                concat!($prefix, ".revision"),
                &[],
                U63,
                &[(None, Field::$half(HalfField::Revision))],
                concat!($about, "revision that brought the ACL"),
            ),
            name(
                concat!($prefix, ".rule.index"),
                &[],
                U32,
                &[(None, Field::$half(HalfField::RuleIndex))],
                concat!($about, "index of the rule in the policy's list, from 0"),
            ),
            name(
                concat!($prefix, ".rule.ip_block"),
                &[],
                I32,
                &[(None, Field::$half(HalfField::RuleIpBlock))],
                concat!($about, "index of the rule's IP block"),
            ),
            name(
                concat!($prefix, ".rule.protocol"),
                &[],
                Kind::Text,
                &[(None, Field::$half(HalfField::RuleProtocol))],
                concat!($about, "protocol of the rule"),
            ),
            name(
                concat!($prefix, ".rule.type"),
                &[],
                Kind::Text,
                &[(None, Field::$half(HalfField::RuleType))],
                concat!($about, "type of a rule of a namespace, such as defaultDeny"),
            ),
            name(
                concat!($prefix, ".since"),
                &[],
                Kind::Time,
                &[(None, Field::$half(HalfField::Since))],
                concat!($about, "when this ruling was first seen"),
            ),
            name(
                concat!($prefix, ".tier"),
                &[],
                up_to(3),
                &[(None, Field::$half(HalfField::Tier))],
                concat!($about, "tier of the ACL"),
            ),
            name(
                concat!($prefix, ".unresolved"),
                &[],
                Kind::Word(Words::Unresolved),
                &[(None, Field::$half(HalfField::Unresolved))],
                concat!($about, "why no ACL was found"),
            ),
            name(
                concat!($prefix, ".verdict"),
                &[],
                Kind::Word(Words::Verdict),
                &[(None, Field::$half(HalfField::Verdict))],
                concat!($about, "what became of its packets"),
            ),
            name(
                concat!($prefix, ".zone"),
                &[],
                Kind::Text,
                &[(None, Field::$half(HalfField::Zone))],
                concat!($about, "zone that saw the packet"),
            ),
        ]
    };
}

const EGRESS: &[Name] = half!(Egress, "egress", "way out: ");
const INGRESS: &[Name] = half!(Ingress, "ingress", "way in: ");

static NAMES: LazyLock<Vec<Name>> = LazyLock::new(|| {
    let mut names = [SHARED, EGRESS, INGRESS].concat();
    names.sort_by_key(|info| info.name);
    names
});

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_name_once_and_by_alphabet() {
        assert!(NAMES.is_sorted_by(|a, b| a.name < b.name));
        let mut seen = HashSet::new();
        for info in NAMES.iter() {
            for word in [info.name].iter().chain(info.aliases) {
                assert!(seen.insert(*word), "{word} twice");
                assert_eq!(Name::find(word), Some(info));
            }
        }
    }

    #[test]
    fn each_field_has_its_name_and_type() {
        let fields: HashSet<Field> = Field::all().collect();
        assert_eq!(fields.len(), Field::all().count());
        let half = HalfField::Message as usize + 1;
        assert_eq!(fields.len(), 73 + 2 * half);
        for field in fields {
            let info = Name::find(field.name()).unwrap();
            assert!(
                matches!(info.targets, [(_, only)] if *only == field),
                "{field:?}"
            );
        }
        assert_eq!(Field::OwnerName.name(), "owner.name");
        assert_eq!(Field::SrcPod.name(), "src.pod");
        assert_eq!(Field::SrcPod.kind(), Kind::Text);
    }

    #[test]
    fn either_end_means_the_same_field_twice() {
        for info in NAMES.iter() {
            if let [(_, src), (_, dst)] = info.targets {
                assert_eq!(src.name(), format!("src.{}", info.name));
                assert_eq!(dst.name(), format!("dst.{}", info.name));
                assert_eq!(src.kind(), dst.kind());
            }
        }
    }
}
