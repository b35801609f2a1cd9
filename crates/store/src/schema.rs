use netverdict_query::{Field, HalfField, Record, Value, owner_kind_word};
use netverdict_types::{Acl, Action, Connection, Direction, Endpoint, Ruling, Service, Unresolved};
use uuid::Uuid;

/// One column of the table of connections, the same in every engine.
///
/// Names are those of the query language with `.` as `_`. Adding a column at the end is
/// compatible; changing one is not.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// The type of its values; all but `id`, `seq`, `protocol`, `start`, `end` and `verdict` may
    /// be missing.
    pub kind: Type,
    /// Where its value comes from.
    pub from: From,
}

/// The type of a column's values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Type {
    /// Text of few different values.
    Word,
    /// Any text.
    Text,
    /// A whole number that fits 63 bits.
    Number,
    /// Nanoseconds since the Unix epoch.
    Time,
    /// An address: 16 bytes, IPv4 mapped into IPv6 (RFC 4291 section 2.5.5.2), so that a block
    /// is a range.
    Ip,
    /// `true` or `false`.
    Bool,
    /// 16 bytes.
    Uuid,
    /// 16 bytes, the connection's id, big-endian.
    Id,
}

/// What a column's value is read from. Updates share endpoints, services and rulings, so that an
/// engine may code all columns of one of them by its pointer.
#[derive(Clone, Copy, Debug)]
pub enum From {
    /// The update itself.
    Row(fn(&Connection) -> Value<'_>),
    /// What the other columns cannot hold, as JSON: counts under several probabilities, and
    /// changes beyond the two halves. Missing for most connections.
    Rest,
    /// The client's endpoint.
    Src(fn(&Endpoint) -> Value<'_>),
    /// The server's endpoint.
    Dst(fn(&Endpoint) -> Value<'_>),
    /// The service.
    Service(fn(&Service) -> Value<'_>),
    /// The ruling on the way out.
    Egress(fn(&Ruling) -> Value<'_>),
    /// The ruling on the way in.
    Ingress(fn(&Ruling) -> Value<'_>),
}

/// All columns, in their order.
pub static COLUMNS: &[Column] = &[
    col(
        "id",
        Type::Id,
        From::Row(|it| Value::Uuid(Uuid::from_u128(it.id.0))),
    ),
    col("seq", Type::Number, From::Row(|it| number(Some(it.seq)))),
    col(
        "start",
        Type::Time,
        From::Row(|it| Value::Number(it.start.0)),
    ),
    col("end", Type::Time, From::Row(|it| Value::Number(it.end.0))),
    col(
        "network",
        Type::Word,
        From::Row(|it| text(it.network.as_deref())),
    ),
    col(
        "protocol",
        Type::Number,
        From::Row(|it| number(Some(it.protocol))),
    ),
    col(
        "verdict",
        Type::Word,
        From::Row(|it| Value::Text(it.verdict.as_str())),
    ),
    col("src_ip", Type::Ip, From::Row(|it| Value::Ip(it.client.ip))),
    col(
        "src_port",
        Type::Number,
        From::Row(|it| number(it.client.port)),
    ),
    col("dst_ip", Type::Ip, From::Row(|it| Value::Ip(it.server.ip))),
    col(
        "dst_port",
        Type::Number,
        From::Row(|it| number(it.server.port)),
    ),
    col(
        "icmp_type",
        Type::Number,
        From::Row(|it| number(it.icmp.map(|icmp| icmp.kind))),
    ),
    col(
        "icmp_code",
        Type::Number,
        From::Row(|it| number(it.icmp.map(|icmp| icmp.code))),
    ),
    col(
        "tcp_flags",
        Type::Number,
        From::Row(|it| number(Some(it.tcp_flags.0))),
    ),
    col(
        "probability",
        Type::Number,
        From::Row(|it| it.value(Field::Probability)),
    ),
    col(
        "packets",
        Type::Number,
        From::Row(|it| it.value(Field::Packets)),
    ),
    col(
        "bytes",
        Type::Number,
        From::Row(|it| it.value(Field::Bytes)),
    ),
    col(
        "reply_packets",
        Type::Number,
        From::Row(|it| it.value(Field::ReplyPackets)),
    ),
    col(
        "reply_bytes",
        Type::Number,
        From::Row(|it| it.value(Field::ReplyBytes)),
    ),
    col(
        "dropped_packets",
        Type::Number,
        From::Row(|it| it.value(Field::DroppedPackets)),
    ),
    col(
        "dropped_bytes",
        Type::Number,
        From::Row(|it| it.value(Field::DroppedBytes)),
    ),
    col(
        "src_namespace",
        Type::Word,
        From::Src(|it| text(it.namespace.as_deref())),
    ),
    col(
        "src_name",
        Type::Word,
        From::Src(|it| text(it.name.as_deref())),
    ),
    col(
        "src_kind",
        Type::Word,
        From::Src(|it| Value::Text(it.kind.as_str())),
    ),
    col(
        "src_node",
        Type::Word,
        From::Src(|it| text(it.node.as_deref())),
    ),
    col(
        "dst_namespace",
        Type::Word,
        From::Dst(|it| text(it.namespace.as_deref())),
    ),
    col(
        "dst_name",
        Type::Word,
        From::Dst(|it| text(it.name.as_deref())),
    ),
    col(
        "dst_kind",
        Type::Word,
        From::Dst(|it| Value::Text(it.kind.as_str())),
    ),
    col(
        "dst_node",
        Type::Word,
        From::Dst(|it| text(it.node.as_deref())),
    ),
    col(
        "service_namespace",
        Type::Word,
        From::Service(|it| text(it.namespace.as_deref())),
    ),
    col(
        "service_name",
        Type::Word,
        From::Service(|it| Value::Text(&it.name)),
    ),
    col("service_ip", Type::Ip, From::Service(|it| Value::Ip(it.ip))),
    col(
        "service_port",
        Type::Number,
        From::Service(|it| number(it.port)),
    ),
    col(
        "egress_since",
        Type::Time,
        From::Row(|it| {
            it.egress
                .as_ref()
                .map_or(Value::Missing, |half| Value::Number(half.since.0))
        }),
    ),
    col(
        "egress_zone",
        Type::Word,
        From::Row(|it| text(it.egress.as_ref().map(|half| &*half.zone))),
    ),
    col(
        "egress_node",
        Type::Word,
        From::Row(|it| text(it.egress.as_ref().and_then(|half| half.node.as_deref()))),
    ),
    col(
        "egress_verdict",
        Type::Word,
        From::Egress(|it| Value::Text(it.verdict.as_str())),
    ),
    col(
        "egress_action",
        Type::Word,
        From::Egress(|it| text(it.action().map(Action::as_str))),
    ),
    col(
        "egress_direction",
        Type::Word,
        From::Egress(|it| text(acl(it).and_then(|acl| acl.owner.direction.map(Direction::as_str)))),
    ),
    col(
        "egress_pipeline",
        Type::Word,
        From::Egress(|it| text(acl(it).map(|acl| acl.pipeline.as_str()))),
    ),
    col(
        "egress_tier",
        Type::Number,
        From::Egress(|it| number(acl(it).map(|acl| acl.tier))),
    ),
    col(
        "egress_owner_kind",
        Type::Word,
        From::Egress(|it| text(acl(it).map(|acl| owner_kind_word(&acl.owner.kind)))),
    ),
    col(
        "egress_owner_namespace",
        Type::Word,
        From::Egress(|it| text(acl(it).and_then(|acl| acl.owner.namespace.as_deref()))),
    ),
    col(
        "egress_owner_name",
        Type::Word,
        From::Egress(|it| text(acl(it).and_then(|acl| acl.owner.name.as_deref()))),
    ),
    col(
        "egress_owner_network",
        Type::Word,
        From::Egress(|it| text(acl(it).and_then(|acl| acl.owner.network.as_deref()))),
    ),
    col(
        "egress_rule_index",
        Type::Number,
        From::Egress(|it| number(acl(it).and_then(|acl| acl.owner.rule.index))),
    ),
    col(
        "egress_rule_protocol",
        Type::Word,
        From::Egress(|it| text(acl(it).and_then(|acl| acl.owner.rule.protocol.as_deref()))),
    ),
    col(
        "egress_rule_ip_block",
        Type::Number,
        From::Egress(|it| number(acl(it).and_then(|acl| acl.owner.rule.ip_block))),
    ),
    col(
        "egress_rule_type",
        Type::Word,
        From::Egress(|it| text(acl(it).and_then(|acl| acl.owner.rule.kind.as_deref()))),
    ),
    col(
        "egress_acl_uuid",
        Type::Uuid,
        From::Row(|it| it.value(Field::Egress(HalfField::AclUuid))),
    ),
    col(
        "egress_acl_name",
        Type::Word,
        From::Egress(|it| text(acl(it).and_then(|acl| acl.name.as_deref()))),
    ),
    col(
        "egress_acl_priority",
        Type::Number,
        From::Egress(|it| number(acl(it).map(|acl| acl.priority))),
    ),
    col(
        "egress_acl_label",
        Type::Number,
        From::Egress(|it| number(acl(it).map(|acl| acl.label))),
    ),
    col(
        "egress_acl_match",
        Type::Text,
        From::Egress(|it| text(acl(it).map(|acl| &*acl.matches))),
    ),
    col(
        "egress_acl_deleted",
        Type::Bool,
        From::Egress(|it| it.uuid.map_or(Value::Missing, |_| Value::Bool(it.deleted))),
    ),
    col(
        "egress_revision",
        Type::Number,
        From::Row(|it| it.value(Field::Egress(HalfField::Revision))),
    ),
    col(
        "egress_evidence",
        Type::Word,
        From::Egress(|it| Value::Text(it.evidence.as_str())),
    ),
    col(
        "egress_unresolved",
        Type::Word,
        From::Egress(|it| text(it.unresolved.map(Unresolved::as_str))),
    ),
    col(
        "egress_flow_stage",
        Type::Word,
        From::Egress(|it| text(it.flow.as_ref().map(|flow| &*flow.stage))),
    ),
    col(
        "egress_flow_priority",
        Type::Number,
        From::Egress(|it| number(it.flow.as_ref().map(|flow| flow.priority))),
    ),
    col(
        "egress_flow_match",
        Type::Text,
        From::Egress(|it| text(it.flow.as_ref().map(|flow| &*flow.matches))),
    ),
    col(
        "egress_message",
        Type::Text,
        From::Egress(|it| Value::Text(it.message())),
    ),
    col(
        "ingress_since",
        Type::Time,
        From::Row(|it| {
            it.ingress
                .as_ref()
                .map_or(Value::Missing, |half| Value::Number(half.since.0))
        }),
    ),
    col(
        "ingress_zone",
        Type::Word,
        From::Row(|it| text(it.ingress.as_ref().map(|half| &*half.zone))),
    ),
    col(
        "ingress_node",
        Type::Word,
        From::Row(|it| text(it.ingress.as_ref().and_then(|half| half.node.as_deref()))),
    ),
    col(
        "ingress_verdict",
        Type::Word,
        From::Ingress(|it| Value::Text(it.verdict.as_str())),
    ),
    col(
        "ingress_action",
        Type::Word,
        From::Ingress(|it| text(it.action().map(Action::as_str))),
    ),
    col(
        "ingress_direction",
        Type::Word,
        From::Ingress(|it| {
            text(acl(it).and_then(|acl| acl.owner.direction.map(Direction::as_str)))
        }),
    ),
    col(
        "ingress_pipeline",
        Type::Word,
        From::Ingress(|it| text(acl(it).map(|acl| acl.pipeline.as_str()))),
    ),
    col(
        "ingress_tier",
        Type::Number,
        From::Ingress(|it| number(acl(it).map(|acl| acl.tier))),
    ),
    col(
        "ingress_owner_kind",
        Type::Word,
        From::Ingress(|it| text(acl(it).map(|acl| owner_kind_word(&acl.owner.kind)))),
    ),
    col(
        "ingress_owner_namespace",
        Type::Word,
        From::Ingress(|it| text(acl(it).and_then(|acl| acl.owner.namespace.as_deref()))),
    ),
    col(
        "ingress_owner_name",
        Type::Word,
        From::Ingress(|it| text(acl(it).and_then(|acl| acl.owner.name.as_deref()))),
    ),
    col(
        "ingress_owner_network",
        Type::Word,
        From::Ingress(|it| text(acl(it).and_then(|acl| acl.owner.network.as_deref()))),
    ),
    col(
        "ingress_rule_index",
        Type::Number,
        From::Ingress(|it| number(acl(it).and_then(|acl| acl.owner.rule.index))),
    ),
    col(
        "ingress_rule_protocol",
        Type::Word,
        From::Ingress(|it| text(acl(it).and_then(|acl| acl.owner.rule.protocol.as_deref()))),
    ),
    col(
        "ingress_rule_ip_block",
        Type::Number,
        From::Ingress(|it| number(acl(it).and_then(|acl| acl.owner.rule.ip_block))),
    ),
    col(
        "ingress_rule_type",
        Type::Word,
        From::Ingress(|it| text(acl(it).and_then(|acl| acl.owner.rule.kind.as_deref()))),
    ),
    col(
        "ingress_acl_uuid",
        Type::Uuid,
        From::Row(|it| it.value(Field::Ingress(HalfField::AclUuid))),
    ),
    col(
        "ingress_acl_name",
        Type::Word,
        From::Ingress(|it| text(acl(it).and_then(|acl| acl.name.as_deref()))),
    ),
    col(
        "ingress_acl_priority",
        Type::Number,
        From::Ingress(|it| number(acl(it).map(|acl| acl.priority))),
    ),
    col(
        "ingress_acl_label",
        Type::Number,
        From::Ingress(|it| number(acl(it).map(|acl| acl.label))),
    ),
    col(
        "ingress_acl_match",
        Type::Text,
        From::Ingress(|it| text(acl(it).map(|acl| &*acl.matches))),
    ),
    col(
        "ingress_acl_deleted",
        Type::Bool,
        From::Ingress(|it| it.uuid.map_or(Value::Missing, |_| Value::Bool(it.deleted))),
    ),
    col(
        "ingress_revision",
        Type::Number,
        From::Row(|it| it.value(Field::Ingress(HalfField::Revision))),
    ),
    col(
        "ingress_evidence",
        Type::Word,
        From::Ingress(|it| Value::Text(it.evidence.as_str())),
    ),
    col(
        "ingress_unresolved",
        Type::Word,
        From::Ingress(|it| text(it.unresolved.map(Unresolved::as_str))),
    ),
    col(
        "ingress_flow_stage",
        Type::Word,
        From::Ingress(|it| text(it.flow.as_ref().map(|flow| &*flow.stage))),
    ),
    col(
        "ingress_flow_priority",
        Type::Number,
        From::Ingress(|it| number(it.flow.as_ref().map(|flow| flow.priority))),
    ),
    col(
        "ingress_flow_match",
        Type::Text,
        From::Ingress(|it| text(it.flow.as_ref().map(|flow| &*flow.matches))),
    ),
    col(
        "ingress_message",
        Type::Text,
        From::Ingress(|it| Value::Text(it.message())),
    ),
    col("rest", Type::Text, From::Rest),
];

const fn col(name: &'static str, kind: Type, from: From) -> Column {
    Column { name, kind, from }
}

fn acl(ruling: &Ruling) -> Option<&Acl> {
    ruling.fact.as_ref().map(|fact| &fact.acl)
}

fn text(value: Option<&str>) -> Value<'_> {
    value.map_or(Value::Missing, Value::Text)
}

fn number<'a, N: Into<i64>>(value: Option<N>) -> Value<'a> {
    value.map_or(Value::Missing, |number| Value::Number(number.into()))
}
