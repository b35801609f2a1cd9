use std::net::IpAddr;

use netverdict_types::{AclRow, Decision, End, Endpoint, EndpointKind, TcpFlags};
use uuid::Uuid;

use crate::field::{self, Field};

/// Anything that has values for fields: a decision, a connection, a row of a store.
pub trait Record {
    /// The value of a field, of the type that [`Field::kind`] says; it must not allocate.
    fn value(&self, field: Field) -> Value<'_>;
}

/// What a record holds in one field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Value<'a> {
    /// Nothing: not known, or it does not apply. Every test of it is false.
    Missing,
    /// Of text and words.
    Text(&'a str),
    /// Of numbers; of times in nanoseconds since the Unix epoch; of fractions in millionths; of
    /// protocols by IANA's number.
    Number(i64),
    /// Of addresses.
    Ip(IpAddr),
    /// Of truths.
    Bool(bool),
    /// Of TCP flags.
    Flags(TcpFlags),
    /// Of row identities.
    Uuid(Uuid),
}

impl Record for Decision<'_> {
    #[inline]
    fn value(&self, field: Field) -> Value<'_> {
        match field {
            Field::Time => Value::Number(self.time.0),
            Field::Zone => Value::Text(self.zone),
            Field::Network => text(self.network),
            Field::Node => text(self.node),
            Field::Datapath => text(self.datapath),
            Field::Verdict => Value::Text(self.verdict.as_str()),
            Field::App => text(self.app.map(|app| app.as_str())),
            Field::Reply => self.reply.map_or(Value::Missing, Value::Bool),
            Field::SrcIp => ip(self.src.ip),
            Field::SrcPort => number(self.src.port),
            Field::SrcNamespace => text(endpoint(&self.src, |end| end.namespace.as_deref())),
            Field::SrcPod => text(pod(&self.src)),
            Field::SrcName => text(endpoint(&self.src, |end| end.name.as_deref())),
            Field::SrcKind => text(endpoint(&self.src, |end| Some(end.kind.as_str()))),
            Field::SrcNode => text(endpoint(&self.src, |end| end.node.as_deref())),
            Field::DstIp => ip(self.dst.ip),
            Field::DstPort => number(self.dst.port),
            Field::DstNamespace => text(endpoint(&self.dst, |end| end.namespace.as_deref())),
            Field::DstPod => text(pod(&self.dst)),
            Field::DstName => text(endpoint(&self.dst, |end| end.name.as_deref())),
            Field::DstKind => text(endpoint(&self.dst, |end| Some(end.kind.as_str()))),
            Field::DstNode => text(endpoint(&self.dst, |end| end.node.as_deref())),
            Field::ServiceNamespace => text(self.service.and_then(|it| it.namespace.as_deref())),
            Field::ServiceName => text(self.service.map(|it| it.name.as_str())),
            Field::ServiceIp => ip(self.service.map(|it| it.ip)),
            Field::ServicePort => number(self.service.and_then(|it| it.port)),
            Field::Protocol => number(self.headers.protocol),
            Field::TcpFlags => self.headers.tcp_flags.map_or(Value::Missing, Value::Flags),
            Field::IcmpType => number(self.headers.icmp.map(|icmp| icmp.kind)),
            Field::IcmpCode => number(self.headers.icmp.map(|icmp| icmp.code)),
            Field::Length => number(Some(self.length)),
            Field::Packets => large(self.packets),
            Field::Bytes => large(self.bytes),
            Field::Point => number(self.cookie.map(|cookie| cookie.point)),
            Field::Domain => number(self.cookie.map(|cookie| cookie.domain)),
            Field::Group => number(self.group),
            Field::Probability => Value::Number((self.probability.fraction() * 1e6).round() as i64),
            Field::Ambiguous => Value::Bool(self.is_ambiguous()),
            Field::Candidates => large(self.candidates.total() as u64),
            Field::Evidence => Value::Text(self.evidence.as_str()),
            Field::Double => Value::Bool(self.double),
            Field::Unresolved => text(self.unresolved.map(|reason| reason.as_str())),
            Field::Source => Value::Text(self.origin.as_str()),
            Field::Message => Value::Text(self.message()),
            Field::FlowStage => text(self.flow.map(|flow| flow.stage.as_str())),
            Field::FlowPriority => number(self.flow.map(|flow| flow.priority)),
            Field::FlowMatch => text(self.flow.map(|flow| flow.matches.as_str())),
            Field::AclDeleted => self
                .acl
                .map_or(Value::Missing, |_| Value::Bool(self.deleted)),
            _ => self.acl.map_or(Value::Missing, |row| of_acl(row, field)),
        }
    }
}

#[inline]
fn of_acl(row: &AclRow, field: Field) -> Value<'_> {
    let acl = row.acl();
    let owner = &acl.owner;
    match field {
        Field::Action => Value::Text(acl.action.as_str()),
        Field::Direction => text(owner.direction.map(|direction| direction.as_str())),
        Field::Pipeline => Value::Text(acl.pipeline.as_str()),
        Field::Tier => number(Some(acl.tier)),
        Field::OwnerKind => Value::Text(field::owner_kind_word(&owner.kind)),
        Field::OwnerNamespace => text(owner.namespace.as_deref()),
        Field::OwnerName => text(owner.name.as_deref()),
        Field::OwnerNetwork => text(owner.network.as_deref()),
        Field::RuleIndex => number(owner.rule.index),
        Field::RuleProtocol => text(owner.rule.protocol.as_deref()),
        Field::RuleIpBlock => number(owner.rule.ip_block),
        Field::RuleType => text(owner.rule.kind.as_deref()),
        Field::AclUuid => Value::Uuid(row.uuid),
        Field::AclName => text(acl.name.as_deref()),
        Field::AclPriority => number(Some(acl.priority)),
        Field::AclMatch => Value::Text(&acl.matches),
        Field::Revision => large(row.revision),
        _ => Value::Missing,
    }
}

fn text(value: Option<&str>) -> Value<'_> {
    value.map_or(Value::Missing, Value::Text)
}

fn ip<'a>(value: Option<IpAddr>) -> Value<'a> {
    value.map_or(Value::Missing, Value::Ip)
}

fn number<'a, N: Into<i64>>(value: Option<N>) -> Value<'a> {
    value.map_or(Value::Missing, |number| Value::Number(number.into()))
}

fn large<'a>(value: u64) -> Value<'a> {
    Value::Number(i64::try_from(value).unwrap_or(i64::MAX))
}

fn endpoint<'a>(
    end: &End<'a>,
    part: impl FnOnce(&'a Endpoint) -> Option<&'a str>,
) -> Option<&'a str> {
    end.endpoint.and_then(part)
}

fn pod<'a>(end: &End<'a>) -> Option<&'a str> {
    endpoint(end, |it| match it.kind {
        EndpointKind::Pod => it.name.as_deref(),
        _ => None,
    })
}
