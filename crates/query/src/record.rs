use std::net::IpAddr;
use std::sync::Arc;

use netverdict_types::{
    Acl, AclRow, Connection, Counts, Decision, Direction, End, Endpoint, EndpointKind, Half,
    Pipeline, Probability, TcpFlags,
};
use uuid::Uuid;

use crate::field::{self, Field, HalfField};

/// Anything that has values for fields: a decision, a connection, a row of a store.
pub trait Record {
    /// The value of a field, of the type that [`Field::kind`] says; it must not allocate.
    fn value(&self, field: Field) -> Value<'_>;

    /// What tells it from all others, where it has an identity; else 0.
    fn id(&self) -> u128 {
        0
    }

    /// True where the record has two halves, each with values of its own: it answers
    /// [`Field::Egress`] and [`Field::Ingress`], and fields that name no half
    /// ([`Field::either_half`]) are asked of both. It is the same for all records of a type.
    #[inline]
    fn has_halves(&self) -> bool {
        false
    }
}

/// What a record holds in one field.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
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
            Field::Time | Field::Start | Field::End => Value::Number(self.time.0),
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
            Field::Probability => share(self.probability),
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
            Field::Egress(field) => of_half(self, Direction::Egress, field),
            Field::Ingress(field) => of_half(self, Direction::Ingress, field),
            _ => self.acl.map_or(Value::Missing, |row| of_acl(row, field)),
        }
    }
}

/// A decision is about the half that its ACL's pipeline serves; which one is not known without.
fn of_half<'a>(decision: &'a Decision<'_>, half: Direction, field: HalfField) -> Value<'a> {
    let pipeline = decision.acl.map(|row| row.acl().pipeline);
    let its = match pipeline {
        Some(Pipeline::FromLport | Pipeline::FromLportAfterLb) => Direction::Egress,
        Some(Pipeline::ToLport) => Direction::Ingress,
        None => return Value::Missing,
    };
    match its == half {
        true => decision.value(field.shared()),
        false => Value::Missing,
    }
}

impl Record for Connection {
    fn id(&self) -> u128 {
        self.id.0
    }

    #[inline]
    fn has_halves(&self) -> bool {
        true
    }

    #[inline]
    fn value(&self, field: Field) -> Value<'_> {
        match field {
            Field::Id => Value::Uuid(Uuid::from_u128(self.id.0)),
            Field::Start => Value::Number(self.start.0),
            Field::Time | Field::End => Value::Number(self.end.0),
            Field::Duration => Value::Number(self.end.0.saturating_sub(self.start.0)),
            Field::Network => text(self.network.as_deref()),
            Field::Verdict => Value::Text(self.verdict.as_str()),
            Field::SrcIp => Value::Ip(self.client.ip),
            Field::SrcPort => number(self.client.port),
            Field::SrcNamespace => of_endpoint(&self.src, |end| end.namespace.as_deref()),
            Field::SrcPod => of_endpoint(&self.src, pod_name),
            Field::SrcName => of_endpoint(&self.src, |end| end.name.as_deref()),
            Field::SrcKind => of_endpoint(&self.src, |end| Some(end.kind.as_str())),
            Field::SrcNode => of_endpoint(&self.src, |end| end.node.as_deref()),
            Field::DstIp => Value::Ip(self.server.ip),
            Field::DstPort => number(self.server.port),
            Field::DstNamespace => of_endpoint(&self.dst, |end| end.namespace.as_deref()),
            Field::DstPod => of_endpoint(&self.dst, pod_name),
            Field::DstName => of_endpoint(&self.dst, |end| end.name.as_deref()),
            Field::DstKind => of_endpoint(&self.dst, |end| Some(end.kind.as_str())),
            Field::DstNode => of_endpoint(&self.dst, |end| end.node.as_deref()),
            Field::ServiceNamespace => {
                text(self.service.as_ref().and_then(|it| it.namespace.as_deref()))
            }
            Field::ServiceName => text(self.service.as_ref().map(|it| it.name.as_str())),
            Field::ServiceIp => ip(self.service.as_ref().map(|it| it.ip)),
            Field::ServicePort => number(self.service.as_ref().and_then(|it| it.port)),
            Field::Protocol => number(Some(self.protocol)),
            Field::TcpFlags => Value::Flags(self.tcp_flags),
            Field::IcmpType => number(self.icmp.map(|icmp| icmp.kind)),
            Field::IcmpCode => number(self.icmp.map(|icmp| icmp.code)),
            Field::Probability => match &self.counts[..] {
                [only] => share(only.probability),
                _ => Value::Missing,
            },
            Field::Packets => sum(self, |counts| counts.original.packets),
            Field::Bytes => sum(self, |counts| counts.original.bytes),
            Field::ReplyPackets => sum(self, |counts| counts.reply.packets),
            Field::ReplyBytes => sum(self, |counts| counts.reply.bytes),
            Field::DroppedPackets => sum(self, |counts| counts.dropped.packets),
            Field::DroppedBytes => sum(self, |counts| counts.dropped.bytes),
            Field::Egress(field) => of_ruling(&self.egress, field),
            Field::Ingress(field) => of_ruling(&self.ingress, field),
            // Either half has these, or a packet only.
            _ => Value::Missing,
        }
    }
}

#[inline]
fn of_ruling(half: &Option<Half>, field: HalfField) -> Value<'_> {
    let Some(half) = half else {
        return Value::Missing;
    };
    let ruling = &*half.ruling;
    match field {
        HalfField::Since => Value::Number(half.since.0),
        HalfField::Zone => Value::Text(&half.zone),
        HalfField::Node => text(half.node.as_deref()),
        HalfField::Verdict => Value::Text(ruling.verdict.as_str()),
        HalfField::AclUuid => ruling.uuid.map_or(Value::Missing, Value::Uuid),
        HalfField::AclDeleted => ruling
            .uuid
            .map_or(Value::Missing, |_| Value::Bool(ruling.deleted)),
        HalfField::Revision => ruling.revision.map_or(Value::Missing, large),
        HalfField::Evidence => Value::Text(ruling.evidence.as_str()),
        HalfField::Unresolved => text(ruling.unresolved.map(|reason| reason.as_str())),
        HalfField::Message => Value::Text(ruling.message()),
        HalfField::FlowStage => text(ruling.flow.as_ref().map(|flow| flow.stage.as_str())),
        HalfField::FlowPriority => number(ruling.flow.as_ref().map(|flow| flow.priority)),
        HalfField::FlowMatch => text(ruling.flow.as_ref().map(|flow| flow.matches.as_str())),
        of_acl => match &ruling.fact {
            Some(fact) => acl_value(&fact.acl, of_acl.shared()),
            None => Value::Missing,
        },
    }
}

#[inline]
fn of_acl(row: &AclRow, field: Field) -> Value<'_> {
    match field {
        Field::AclUuid => Value::Uuid(row.uuid),
        Field::Revision => large(row.revision),
        _ => acl_value(row.acl(), field),
    }
}

#[inline]
fn acl_value(acl: &Acl, field: Field) -> Value<'_> {
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
        Field::AclName => text(acl.name.as_deref()),
        Field::AclPriority => number(Some(acl.priority)),
        Field::AclMatch => Value::Text(&acl.matches),
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
    endpoint(end, pod_name)
}

fn pod_name(endpoint: &Endpoint) -> Option<&str> {
    match endpoint.kind {
        EndpointKind::Pod => endpoint.name.as_deref(),
        _ => None,
    }
}

fn of_endpoint(
    end: &Option<Arc<Endpoint>>,
    part: impl FnOnce(&Endpoint) -> Option<&str>,
) -> Value<'_> {
    text(end.as_deref().and_then(part))
}

fn share<'a>(probability: Probability) -> Value<'a> {
    Value::Number(probability.millionths())
}

fn sum(connection: &Connection, part: impl Fn(&Counts) -> u64) -> Value<'_> {
    large(
        connection
            .counts
            .iter()
            .map(part)
            .fold(0, u64::saturating_add),
    )
}
