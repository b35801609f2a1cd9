//! Rows as they lie in memory, in the log and in files: numbers, addresses, and codes of
//! [`Names`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, FixedSizeBinaryArray, PrimitiveArray, RecordBatch,
    StringArray,
};
use datafusion::arrow::buffer::{Buffer, NullBuffer};
use datafusion::arrow::datatypes::{
    DataType, Field, Int64Type, Schema, SchemaRef, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::error::ArrowError;
use netverdict_store::{COLUMNS, From};
use netverdict_types::{
    Change, Connection, ConnectionId, Counts, Direction, Half, IcmpKind, Probability, Ruling,
    Socket, Tally, TcpFlags, Timestamp, Verdict,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::names::{Interner, Names, Table, Told};

/// A column of rows. Its name is that of the store's table where it has one there.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub(crate) enum Col {
    Id,
    Seq,
    Start,
    End,
    Network,
    Protocol,
    Verdict,
    SrcIp,
    SrcPort,
    DstIp,
    DstPort,
    IcmpType,
    IcmpCode,
    TcpFlags,
    Probability,
    Packets,
    Bytes,
    ReplyPackets,
    ReplyBytes,
    DroppedPackets,
    DroppedBytes,
    Src,
    Dst,
    Service,
    EgressSince,
    EgressZone,
    EgressNode,
    Egress,
    EgressAclUuid,
    EgressRevision,
    IngressSince,
    IngressZone,
    IngressNode,
    Ingress,
    IngressAclUuid,
    IngressRevision,
    Rest,
}

impl Col {
    pub(crate) const ALL: [Self; 37] = [
        Self::Id,
        Self::Seq,
        Self::Start,
        Self::End,
        Self::Network,
        Self::Protocol,
        Self::Verdict,
        Self::SrcIp,
        Self::SrcPort,
        Self::DstIp,
        Self::DstPort,
        Self::IcmpType,
        Self::IcmpCode,
        Self::TcpFlags,
        Self::Probability,
        Self::Packets,
        Self::Bytes,
        Self::ReplyPackets,
        Self::ReplyBytes,
        Self::DroppedPackets,
        Self::DroppedBytes,
        Self::Src,
        Self::Dst,
        Self::Service,
        Self::EgressSince,
        Self::EgressZone,
        Self::EgressNode,
        Self::Egress,
        Self::EgressAclUuid,
        Self::EgressRevision,
        Self::IngressSince,
        Self::IngressZone,
        Self::IngressNode,
        Self::Ingress,
        Self::IngressAclUuid,
        Self::IngressRevision,
        Self::Rest,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Seq => "seq",
            Self::Start => "start",
            Self::End => "end",
            Self::Network => "network",
            Self::Protocol => "protocol",
            Self::Verdict => "verdict",
            Self::SrcIp => "src_ip",
            Self::SrcPort => "src_port",
            Self::DstIp => "dst_ip",
            Self::DstPort => "dst_port",
            Self::IcmpType => "icmp_type",
            Self::IcmpCode => "icmp_code",
            Self::TcpFlags => "tcp_flags",
            Self::Probability => "probability",
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::ReplyPackets => "reply_packets",
            Self::ReplyBytes => "reply_bytes",
            Self::DroppedPackets => "dropped_packets",
            Self::DroppedBytes => "dropped_bytes",
            Self::Src => "src",
            Self::Dst => "dst",
            Self::Service => "service",
            Self::EgressSince => "egress_since",
            Self::EgressZone => "egress_zone",
            Self::EgressNode => "egress_node",
            Self::Egress => "egress",
            Self::EgressAclUuid => "egress_acl_uuid",
            Self::EgressRevision => "egress_revision",
            Self::IngressSince => "ingress_since",
            Self::IngressZone => "ingress_zone",
            Self::IngressNode => "ingress_node",
            Self::Ingress => "ingress",
            Self::IngressAclUuid => "ingress_acl_uuid",
            Self::IngressRevision => "ingress_revision",
            Self::Rest => "rest",
        }
    }

    /// The column that holds a column of the store's table, or its codes.
    pub(crate) fn of(column: usize) -> Option<Self> {
        match COLUMNS[column].from {
            From::Src(_) => Some(Self::Src),
            From::Dst(_) => Some(Self::Dst),
            From::Service(_) => Some(Self::Service),
            From::Egress(_) => Some(Self::Egress),
            From::Ingress(_) => Some(Self::Ingress),
            From::Row(_) | From::Rest => Self::ALL
                .into_iter()
                .find(|it| it.name() == COLUMNS[column].name),
        }
    }

    /// The table that its codes belong to.
    pub(crate) fn table(self) -> Option<Table> {
        match self {
            Self::Network
            | Self::EgressZone
            | Self::EgressNode
            | Self::IngressZone
            | Self::IngressNode => Some(Table::Words),
            Self::Src | Self::Dst => Some(Table::Ends),
            Self::Service => Some(Table::Services),
            Self::Egress | Self::Ingress => Some(Table::Rulings),
            _ => None,
        }
    }

    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Id | Self::SrcIp | Self::DstIp | Self::EgressAclUuid | Self::IngressAclUuid => {
                DataType::FixedSizeBinary(16)
            }
            Self::Start | Self::End | Self::EgressSince | Self::IngressSince => DataType::Int64,
            Self::Protocol | Self::Verdict | Self::IcmpType | Self::IcmpCode | Self::TcpFlags => {
                DataType::UInt8
            }
            Self::SrcPort | Self::DstPort => DataType::UInt16,
            Self::Packets
            | Self::Bytes
            | Self::ReplyPackets
            | Self::ReplyBytes
            | Self::DroppedPackets
            | Self::DroppedBytes
            | Self::EgressRevision
            | Self::IngressRevision => DataType::UInt64,
            Self::Rest => DataType::Utf8,
            _ => DataType::UInt32,
        }
    }

    fn nullable(self) -> bool {
        matches!(
            self,
            Self::SrcPort
                | Self::DstPort
                | Self::IcmpType
                | Self::IcmpCode
                | Self::Probability
                | Self::EgressSince
                | Self::EgressAclUuid
                | Self::EgressRevision
                | Self::IngressSince
                | Self::IngressAclUuid
                | Self::IngressRevision
                | Self::Rest
        )
    }
}

/// The columns of rows.
pub(crate) static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let field = |col: Col| Field::new(col.name(), col.data_type(), col.nullable());
    Arc::new(Schema::new(Col::ALL.map(field).to_vec()))
});

/// An address as 16 bytes, IPv4 mapped.
pub(crate) fn ip_bytes(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The reverse of [`ip_bytes`].
pub(crate) fn ip_of(bytes: [u8; 16]) -> IpAddr {
    let v6 = Ipv6Addr::from(bytes);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

/// Codes updates; `interner` learns what they share.
pub(crate) fn encode<'a>(
    interner: &mut Interner,
    rows: impl Iterator<Item = &'a Connection>,
) -> Result<RecordBatch, ArrowError> {
    let mut to = Columns::with_capacity(rows.size_hint().0);
    for row in rows {
        to.push(interner, row);
    }
    to.finish()
}

#[derive(Default)]
struct Columns {
    id: Vec<u8>,
    seq: Vec<u32>,
    start: Vec<i64>,
    end: Vec<i64>,
    network: Vec<u32>,
    protocol: Vec<u8>,
    verdict: Vec<u8>,
    src_ip: Vec<u8>,
    src_port: Vec<Option<u16>>,
    dst_ip: Vec<u8>,
    dst_port: Vec<Option<u16>>,
    icmp_type: Vec<Option<u8>>,
    icmp_code: Vec<Option<u8>>,
    tcp_flags: Vec<u8>,
    probability: Vec<Option<u32>>,
    counts: [Vec<u64>; 6],
    ends: [Vec<u32>; 2],
    service: Vec<u32>,
    halves: [Halves; 2],
    rest: Vec<Option<String>>,
}

#[derive(Default)]
struct Halves {
    since: Vec<Option<i64>>,
    zone: Vec<u32>,
    node: Vec<u32>,
    ruling: Vec<u32>,
    uuid: Vec<Option<Uuid>>,
    revision: Vec<Option<u64>>,
}

impl Columns {
    fn with_capacity(rows: usize) -> Self {
        let halves = || Halves {
            since: Vec::with_capacity(rows),
            zone: Vec::with_capacity(rows),
            node: Vec::with_capacity(rows),
            ruling: Vec::with_capacity(rows),
            uuid: Vec::with_capacity(rows),
            revision: Vec::with_capacity(rows),
        };
        Self {
            id: Vec::with_capacity(rows * 16),
            seq: Vec::with_capacity(rows),
            start: Vec::with_capacity(rows),
            end: Vec::with_capacity(rows),
            network: Vec::with_capacity(rows),
            protocol: Vec::with_capacity(rows),
            verdict: Vec::with_capacity(rows),
            src_ip: Vec::with_capacity(rows * 16),
            src_port: Vec::with_capacity(rows),
            dst_ip: Vec::with_capacity(rows * 16),
            dst_port: Vec::with_capacity(rows),
            icmp_type: Vec::with_capacity(rows),
            icmp_code: Vec::with_capacity(rows),
            tcp_flags: Vec::with_capacity(rows),
            probability: Vec::with_capacity(rows),
            counts: std::array::from_fn(|_| Vec::with_capacity(rows)),
            ends: std::array::from_fn(|_| Vec::with_capacity(rows)),
            service: Vec::with_capacity(rows),
            halves: [halves(), halves()],
            rest: Vec::with_capacity(rows),
        }
    }

    fn push(&mut self, names: &mut Interner, row: &Connection) {
        self.id.extend_from_slice(&row.id.0.to_be_bytes());
        self.seq.push(row.seq);
        self.start.push(row.start.0);
        self.end.push(row.end.0);
        self.network.push(names.word(row.network.as_ref()));
        self.protocol.push(row.protocol);
        self.verdict.push(verdict_code(row.verdict));
        self.src_ip.extend_from_slice(&ip_bytes(row.client.ip));
        self.src_port.push(row.client.port);
        self.dst_ip.extend_from_slice(&ip_bytes(row.server.ip));
        self.dst_port.push(row.server.port);
        self.icmp_type.push(row.icmp.map(|icmp| icmp.kind));
        self.icmp_code.push(row.icmp.map(|icmp| icmp.code));
        self.tcp_flags.push(row.tcp_flags.0);
        let mut sum = Counts {
            probability: Probability::ALL,
            original: Tally::default(),
            reply: Tally::default(),
            dropped: Tally::default(),
        };
        for counts in &row.counts {
            sum.original.add(counts.original);
            sum.reply.add(counts.reply);
            sum.dropped.add(counts.dropped);
        }
        self.probability.push(match &row.counts[..] {
            [only] => Some(only.probability.0),
            _ => None,
        });
        let sums = [
            sum.original.packets,
            sum.original.bytes,
            sum.reply.packets,
            sum.reply.bytes,
            sum.dropped.packets,
            sum.dropped.bytes,
        ];
        for (to, sum) in self.counts.iter_mut().zip(sums) {
            to.push(sum);
        }
        self.ends[0].push(names.end(row.src.as_ref()));
        self.ends[1].push(names.end(row.dst.as_ref()));
        self.service.push(names.service(row.service.as_ref()));
        for (to, half) in self.halves.iter_mut().zip([&row.egress, &row.ingress]) {
            to.since.push(half.as_ref().map(|half| half.since.0));
            to.zone
                .push(names.word(half.as_ref().map(|half| &half.zone)));
            to.node
                .push(names.word(half.as_ref().and_then(|half| half.node.as_ref())));
            to.ruling
                .push(names.ruling(half.as_ref().map(|half| &half.ruling)));
            let ruling = half.as_ref().map(|half| &*half.ruling);
            to.uuid.push(ruling.and_then(|it| it.uuid));
            to.revision.push(ruling.and_then(|it| it.revision));
        }
        self.rest.push(rest(row));
    }

    fn finish(self) -> Result<RecordBatch, ArrowError> {
        let [
            packets,
            bytes,
            reply_packets,
            reply_bytes,
            dropped_packets,
            dropped_bytes,
        ] = self.counts;
        let [src, dst] = self.ends;
        let [egress, ingress] = self.halves;
        let columns: Vec<ArrayRef> = vec![
            bytes16(self.id)?,
            plain::<UInt32Type>(self.seq),
            plain::<Int64Type>(self.start),
            plain::<Int64Type>(self.end),
            plain::<UInt32Type>(self.network),
            plain::<UInt8Type>(self.protocol),
            plain::<UInt8Type>(self.verdict),
            bytes16(self.src_ip)?,
            some::<UInt16Type>(self.src_port),
            bytes16(self.dst_ip)?,
            some::<UInt16Type>(self.dst_port),
            some::<UInt8Type>(self.icmp_type),
            some::<UInt8Type>(self.icmp_code),
            plain::<UInt8Type>(self.tcp_flags),
            some::<UInt32Type>(self.probability),
            plain::<UInt64Type>(packets),
            plain::<UInt64Type>(bytes),
            plain::<UInt64Type>(reply_packets),
            plain::<UInt64Type>(reply_bytes),
            plain::<UInt64Type>(dropped_packets),
            plain::<UInt64Type>(dropped_bytes),
            plain::<UInt32Type>(src),
            plain::<UInt32Type>(dst),
            plain::<UInt32Type>(self.service),
            some::<Int64Type>(egress.since),
            plain::<UInt32Type>(egress.zone),
            plain::<UInt32Type>(egress.node),
            plain::<UInt32Type>(egress.ruling),
            uuids(&egress.uuid)?,
            some::<UInt64Type>(egress.revision),
            some::<Int64Type>(ingress.since),
            plain::<UInt32Type>(ingress.zone),
            plain::<UInt32Type>(ingress.node),
            plain::<UInt32Type>(ingress.ruling),
            uuids(&ingress.uuid)?,
            some::<UInt64Type>(ingress.revision),
            Arc::new(StringArray::from(self.rest)),
        ];
        RecordBatch::try_new(SCHEMA.clone(), columns)
    }
}

fn plain<T: ArrowPrimitiveType>(values: Vec<T::Native>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(values.into(), None))
}

fn some<T: ArrowPrimitiveType>(values: Vec<Option<T::Native>>) -> ArrayRef {
    let nulls = NullBuffer::from_iter(values.iter().map(Option::is_some));
    let values: Vec<_> = values.into_iter().map(Option::unwrap_or_default).collect();
    Arc::new(PrimitiveArray::<T>::new(
        values.into(),
        (nulls.null_count() > 0).then_some(nulls),
    ))
}

fn bytes16(values: Vec<u8>) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(FixedSizeBinaryArray::try_new(
        16,
        Buffer::from_vec(values),
        None,
    )?))
}

fn uuids(values: &[Option<Uuid>]) -> Result<ArrayRef, ArrowError> {
    let nulls = NullBuffer::from_iter(values.iter().map(Option::is_some));
    let bytes = values
        .iter()
        .flat_map(|it| it.unwrap_or_default().into_bytes());
    Ok(Arc::new(FixedSizeBinaryArray::try_new(
        16,
        Buffer::from_vec(bytes.collect()),
        (nulls.null_count() > 0).then_some(nulls),
    )?))
}

pub(crate) fn verdict_code(verdict: Verdict) -> u8 {
    Verdict::ALL
        .iter()
        .position(|known| *known == verdict)
        .unwrap_or(Verdict::ALL.len() - 1) as u8
}

pub(crate) fn verdict_of(code: u8) -> Verdict {
    Verdict::ALL
        .get(usize::from(code))
        .copied()
        .unwrap_or(Verdict::Unknown)
}

/// What the columns cannot hold.
#[derive(Deserialize, Serialize)]
struct Rest {
    /// Probability, and the six numbers in the order of the columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    counts: Vec<(u32, [u64; 6])>,
    /// Missing where the two halves tell all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<Told>>,
}

fn rest(row: &Connection) -> Option<String> {
    // No count at all and one count are told apart by the probability.
    let counts = match &row.counts[..] {
        [] | [_] => Vec::new(),
        several => several
            .iter()
            .map(|it| {
                let numbers = [
                    it.original.packets,
                    it.original.bytes,
                    it.reply.packets,
                    it.reply.bytes,
                    it.dropped.packets,
                    it.dropped.bytes,
                ];
                (it.probability.0, numbers)
            })
            .collect(),
    };
    let plain = told_by_halves(row);
    if counts.is_empty() && plain {
        return None;
    }
    let changes = (!plain).then(|| {
        let told = |change: &Change| Told::of(change.direction, &change.half);
        row.changes.iter().map(told).collect()
    });
    serde_json::to_string(&Rest { counts, changes }).ok()
}

/// True if the changes are the two halves by time, egress first.
fn told_by_halves(row: &Connection) -> bool {
    let mut wanted = halves_in_order(&row.egress, &row.ingress);
    let mut changes = row.changes.iter();
    loop {
        match (wanted.next(), changes.next()) {
            (None, None) => return true,
            (Some((direction, half)), Some(change)) => {
                let same = direction == change.direction
                    && half.since == change.half.since
                    && half.zone == change.half.zone
                    && half.node == change.half.node
                    && (Arc::ptr_eq(&half.ruling, &change.half.ruling)
                        || half.ruling == change.half.ruling);
                if !same {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

fn halves_in_order<'a>(
    egress: &'a Option<Half>,
    ingress: &'a Option<Half>,
) -> impl Iterator<Item = (Direction, &'a Half)> {
    let out = egress.as_ref().map(|half| (Direction::Egress, half));
    let into = ingress.as_ref().map(|half| (Direction::Ingress, half));
    let (first, second) = match (&out, &into) {
        (Some((_, out_half)), Some((_, in_half))) if in_half.since < out_half.since => (into, out),
        _ => (out, into),
    };
    first.into_iter().chain(second)
}

/// Reads one row of a batch back.
pub(crate) struct Decoder<'a> {
    names: &'a Names,
    id: &'a FixedSizeBinaryArray,
    seq: &'a PrimitiveArray<UInt32Type>,
    start: &'a PrimitiveArray<Int64Type>,
    end: &'a PrimitiveArray<Int64Type>,
    network: &'a PrimitiveArray<UInt32Type>,
    protocol: &'a PrimitiveArray<UInt8Type>,
    verdict: &'a PrimitiveArray<UInt8Type>,
    src_ip: &'a FixedSizeBinaryArray,
    src_port: &'a PrimitiveArray<UInt16Type>,
    dst_ip: &'a FixedSizeBinaryArray,
    dst_port: &'a PrimitiveArray<UInt16Type>,
    icmp_type: &'a PrimitiveArray<UInt8Type>,
    icmp_code: &'a PrimitiveArray<UInt8Type>,
    tcp_flags: &'a PrimitiveArray<UInt8Type>,
    probability: &'a PrimitiveArray<UInt32Type>,
    counts: [&'a PrimitiveArray<UInt64Type>; 6],
    src: &'a PrimitiveArray<UInt32Type>,
    dst: &'a PrimitiveArray<UInt32Type>,
    service: &'a PrimitiveArray<UInt32Type>,
    halves: [HalfColumns<'a>; 2],
    rest: &'a StringArray,
}

struct HalfColumns<'a> {
    since: &'a PrimitiveArray<Int64Type>,
    zone: &'a PrimitiveArray<UInt32Type>,
    node: &'a PrimitiveArray<UInt32Type>,
    ruling: &'a PrimitiveArray<UInt32Type>,
    uuid: &'a FixedSizeBinaryArray,
    revision: &'a PrimitiveArray<UInt64Type>,
    /// Rulings with what a row has of its own, so that rows share them.
    whole: RefCell<HashMap<Own, Arc<Ruling>, foldhash::fast::RandomState>>,
}

/// The code of a ruling, and what a row has of its own.
type Own = (u32, Option<u128>, Option<u64>);

impl<'a> Decoder<'a> {
    /// Of a batch with all columns.
    pub(crate) fn new(batch: &'a RecordBatch, names: &'a Names) -> Result<Self, ArrowError> {
        let half =
            |[since, zone, node, ruling, uuid, revision]: [Col; 6]| -> Result<_, ArrowError> {
                Ok(HalfColumns {
                    since: column(batch, since)?,
                    zone: column(batch, zone)?,
                    node: column(batch, node)?,
                    ruling: column(batch, ruling)?,
                    uuid: column(batch, uuid)?,
                    revision: column(batch, revision)?,
                    whole: RefCell::default(),
                })
            };
        Ok(Self {
            names,
            id: column(batch, Col::Id)?,
            seq: column(batch, Col::Seq)?,
            start: column(batch, Col::Start)?,
            end: column(batch, Col::End)?,
            network: column(batch, Col::Network)?,
            protocol: column(batch, Col::Protocol)?,
            verdict: column(batch, Col::Verdict)?,
            src_ip: column(batch, Col::SrcIp)?,
            src_port: column(batch, Col::SrcPort)?,
            dst_ip: column(batch, Col::DstIp)?,
            dst_port: column(batch, Col::DstPort)?,
            icmp_type: column(batch, Col::IcmpType)?,
            icmp_code: column(batch, Col::IcmpCode)?,
            tcp_flags: column(batch, Col::TcpFlags)?,
            probability: column(batch, Col::Probability)?,
            counts: [
                column(batch, Col::Packets)?,
                column(batch, Col::Bytes)?,
                column(batch, Col::ReplyPackets)?,
                column(batch, Col::ReplyBytes)?,
                column(batch, Col::DroppedPackets)?,
                column(batch, Col::DroppedBytes)?,
            ],
            src: column(batch, Col::Src)?,
            dst: column(batch, Col::Dst)?,
            service: column(batch, Col::Service)?,
            halves: [
                half([
                    Col::EgressSince,
                    Col::EgressZone,
                    Col::EgressNode,
                    Col::Egress,
                    Col::EgressAclUuid,
                    Col::EgressRevision,
                ])?,
                half([
                    Col::IngressSince,
                    Col::IngressZone,
                    Col::IngressNode,
                    Col::Ingress,
                    Col::IngressAclUuid,
                    Col::IngressRevision,
                ])?,
            ],
            rest: column(batch, Col::Rest)?,
        })
    }

    pub(crate) fn row(&self, row: usize) -> Connection {
        let rest: Option<Rest> = (!self.rest.is_null(row))
            .then(|| serde_json::from_str(self.rest.value(row)).ok())
            .flatten();
        let (many, changes) = rest.map_or((Vec::new(), None), |it| (it.counts, it.changes));
        let numbers = self.counts.map(|column| column.value(row));
        let counts = if many.is_empty() {
            let counts = |probability| counts_of(probability, numbers);
            opt(self.probability, row).map(counts).into_iter().collect()
        } else {
            many.into_iter()
                .map(|(probability, numbers)| counts_of(probability, numbers))
                .collect()
        };
        let [egress, ingress] = [0, 1].map(|side| self.half(side, row));
        let changes = match changes {
            Some(told) => told
                .into_iter()
                .map(|told| {
                    let (direction, half) = told.half();
                    Change { direction, half }
                })
                .collect(),
            None => halves_in_order(&egress, &ingress)
                .map(|(direction, half)| Change {
                    direction,
                    half: half.clone(),
                })
                .collect(),
        };
        let icmp = |(kind, code)| IcmpKind { kind, code };
        Connection {
            id: ConnectionId(u128_at(self.id, row)),
            seq: self.seq.value(row),
            network: self.names.word(self.network.value(row)).cloned(),
            protocol: self.protocol.value(row),
            client: Socket {
                ip: ip_of(u128_at(self.src_ip, row).to_be_bytes()),
                port: opt(self.src_port, row),
            },
            server: Socket {
                ip: ip_of(u128_at(self.dst_ip, row).to_be_bytes()),
                port: opt(self.dst_port, row),
            },
            icmp: opt(self.icmp_type, row)
                .zip(opt(self.icmp_code, row))
                .map(icmp),
            src: self.names.end(self.src.value(row)).cloned(),
            dst: self.names.end(self.dst.value(row)).cloned(),
            service: self.names.service(self.service.value(row)).cloned(),
            start: Timestamp(self.start.value(row)),
            end: Timestamp(self.end.value(row)),
            verdict: verdict_of(self.verdict.value(row)),
            egress,
            ingress,
            tcp_flags: TcpFlags(self.tcp_flags.value(row)),
            counts,
            changes,
        }
    }

    fn half(&self, side: usize, row: usize) -> Option<Half> {
        let columns = &self.halves[side];
        let code = columns.ruling.value(row);
        let shared = self.names.ruling(code)?;
        let uuid = (!columns.uuid.is_null(row)).then(|| u128_at(columns.uuid, row));
        let own = (code, uuid, opt(columns.revision, row));
        let mut whole = columns.whole.borrow_mut();
        let ruling = whole.entry(own).or_insert_with(|| {
            Arc::new(Ruling {
                uuid: uuid.map(Uuid::from_u128),
                revision: own.2,
                ..(**shared).clone()
            })
        });
        Some(Half {
            since: Timestamp(opt(columns.since, row).unwrap_or_default()),
            zone: self
                .names
                .word(columns.zone.value(row))
                .cloned()
                .unwrap_or_else(|| "".into()),
            node: self.names.word(columns.node.value(row)).cloned(),
            ruling: ruling.clone(),
        })
    }
}

fn counts_of(probability: u32, numbers: [u64; 6]) -> Counts {
    let tally = |place: usize| Tally {
        packets: numbers[place],
        bytes: numbers[place + 1],
    };
    Counts {
        probability: Probability(probability),
        original: tally(0),
        reply: tally(2),
        dropped: tally(4),
    }
}

fn opt<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    (!column.is_null(row)).then(|| column.value(row))
}

/// 16 bytes as a number, big-endian.
pub(crate) fn u128_at(column: &FixedSizeBinaryArray, row: usize) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(column.value(row));
    u128::from_be_bytes(bytes)
}

/// A column by its name, of the type it must have.
pub(crate) fn column<T: Array + 'static>(batch: &RecordBatch, col: Col) -> Result<&T, ArrowError> {
    batch
        .column_by_name(col.name())
        .and_then(|array| array.as_any().downcast_ref())
        .ok_or_else(|| ArrowError::SchemaError(format!("rows without the column {}", col.name())))
}
