//! Rows of the table back and forth.

use std::net::IpAddr;
use std::sync::Arc;

use netverdict_query::ask::Cell;
use netverdict_query::{Value, owner_kind_word};
use netverdict_types::{
    Acl, Action, Change, Connection, ConnectionId, Counts, Direction, DropFlow, Endpoint,
    EndpointKind, Evidence, Fact, Half, IcmpKind, Owner, OwnerKind, Pipeline, Probability, Rule,
    Ruling, Service, Socket, Tally, TcpFlags, Timestamp, Unresolved, Verdict,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ruling::HalfJson;
use crate::schema::{COLUMNS, Column, From};

/// Why a row of a table is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// A column has a value that nobody of this version wrote.
    #[error(
        "column {column} holds {value}, which this version cannot read: the table was written by \
         another version, or it is damaged"
    )]
    Value {
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
    /// The column `rest` is no JSON of ours.
    #[error(
        "column rest cannot be read: the table was written by another version, or it is damaged"
    )]
    Rest(#[source] serde_json::Error),
}

impl Column {
    /// The value of an update, owned. Engines that keep many rows read what
    /// [`from`](Self::from) borrows instead.
    pub fn read(&self, connection: &Connection) -> Cell {
        let half = |half: &Option<Half>, read: fn(&Ruling) -> Value<'_>| {
            half.as_ref()
                .map_or(Cell::Missing, |half| Cell::from(read(&half.ruling)))
        };
        match self.from {
            From::Row(read) => read(connection).into(),
            From::Rest => rest(connection).map_or(Cell::Missing, |json| Cell::Text(json.into())),
            From::Src(read) => connection
                .src
                .as_deref()
                .map_or(Cell::Missing, |it| read(it).into()),
            From::Dst(read) => connection
                .dst
                .as_deref()
                .map_or(Cell::Missing, |it| read(it).into()),
            From::Service(read) => connection
                .service
                .as_deref()
                .map_or(Cell::Missing, |it| read(it).into()),
            From::Egress(read) => half(&connection.egress, read),
            From::Ingress(read) => half(&connection.ingress, read),
        }
    }
}

/// What the other columns of an update cannot hold, as JSON; `None` for most.
pub fn rest(connection: &Connection) -> Option<String> {
    let rest = Rest {
        counts: (!counts_fit(&connection.counts))
            .then(|| connection.counts.iter().map(CountsJson::of).collect()),
        changes: (!changes_fit(connection)).then(|| {
            let changes = connection.changes.iter();
            changes.map(|it| ChangeJson::of(it, connection)).collect()
        }),
        egress: exact(connection.egress.as_ref()),
        ingress: exact(connection.ingress.as_ref()),
        service_protocol: connection
            .service
            .as_ref()
            .map(|it| it.protocol)
            .filter(|protocol| *protocol != connection.protocol),
    };
    if rest == Rest::default() {
        return None;
    }
    // Maps with keys of text and numbers that JSON knows cannot fail.
    serde_json::to_string(&rest).ok()
}

/// The update that a row holds: `read` gives the value of a column by its index in [`COLUMNS`],
/// of type [`Id`](crate::Type::Id) as [`Value::Uuid`].
///
/// What was made a row comes back equal, but for the backends of a service, which are no part of
/// a connection.
///
/// # Errors
/// [`RowError`].
pub fn connection<'a>(read: impl FnMut(usize) -> Value<'a>) -> Result<Connection, RowError> {
    let mut row = Reader { read, next: 0 };
    let id = row.uuid("id")?.unwrap_or_default();
    let seq = row.small("seq")?.unwrap_or_default();
    let start = row.time("start")?.unwrap_or_default();
    let end = row.time("end")?.unwrap_or_default();
    let network = row.text("network")?.map(Arc::from);
    let protocol = row.small("protocol")?.unwrap_or_default();
    let verdict = row
        .word("verdict", &Verdict::ALL, Verdict::as_str)?
        .unwrap_or(Verdict::Unknown);
    let client = row.socket("src_ip", "src_port")?;
    let server = row.socket("dst_ip", "dst_port")?;
    let icmp = (row.small("icmp_type")?, row.small("icmp_code")?);
    let tcp_flags = TcpFlags(row.small("tcp_flags")?.unwrap_or_default());
    let probability = row.number("probability")?;
    let counts = Counts {
        probability: probability.map_or(Probability::ALL, probability_of),
        original: row.tally("packets", "bytes")?,
        reply: row.tally("reply_packets", "reply_bytes")?,
        dropped: row.tally("dropped_packets", "dropped_bytes")?,
    };
    let src = row.endpoint("src_namespace", "src_name", "src_kind", "src_node")?;
    let dst = row.endpoint("dst_namespace", "dst_name", "dst_kind", "dst_node")?;
    let service = row.service(protocol)?;
    let egress = row.half(&EGRESS)?;
    let ingress = row.half(&INGRESS)?;
    let rest = match row.text("rest")? {
        Some(json) => serde_json::from_str(json).map_err(RowError::Rest)?,
        None => Rest::default(),
    };
    let mut connection = Connection {
        id: ConnectionId(id.as_u128()),
        seq,
        network,
        protocol,
        client,
        server,
        icmp: match icmp {
            (Some(kind), Some(code)) => Some(IcmpKind { kind, code }),
            _ => None,
        },
        src: src.map(Arc::new),
        dst: dst.map(Arc::new),
        service: service.map(|service| {
            Arc::new(Service {
                protocol: rest.service_protocol.unwrap_or(service.protocol),
                ..service
            })
        }),
        start,
        end,
        verdict,
        egress: rest.egress.map(Into::into).or(egress),
        ingress: rest.ingress.map(Into::into).or(ingress),
        tcp_flags,
        counts: match (rest.counts, probability) {
            (Some(all), _) => all.into_iter().map(CountsJson::into_counts).collect(),
            (None, Some(_)) => vec![counts],
            (None, None) => Vec::new(),
        },
        changes: Vec::new(),
    };
    connection.changes = match rest.changes {
        Some(changes) => changes
            .into_iter()
            .filter_map(|change| change.into_change(&connection))
            .collect(),
        None => halves(&connection).cloned_changes(),
    };
    Ok(connection)
}

/// Reads the columns one after the other.
struct Reader<R> {
    read: R,
    next: usize,
}

impl<'a, R: FnMut(usize) -> Value<'a>> Reader<R> {
    fn value(&mut self, column: &'static str) -> Value<'a> {
        debug_assert_eq!(COLUMNS.get(self.next).map(|it| it.name), Some(column));
        let value = (self.read)(self.next);
        self.next += 1;
        value
    }

    fn text(&mut self, column: &'static str) -> Result<Option<&'a str>, RowError> {
        match self.value(column) {
            Value::Missing => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            other => Err(bad(column, other)),
        }
    }

    fn owned(&mut self, column: &'static str) -> Result<Option<String>, RowError> {
        Ok(self.text(column)?.map(str::to_owned))
    }

    fn number(&mut self, column: &'static str) -> Result<Option<i64>, RowError> {
        match self.value(column) {
            Value::Missing => Ok(None),
            Value::Number(number) => Ok(Some(number)),
            other => Err(bad(column, other)),
        }
    }

    fn small<N: TryFrom<i64>>(&mut self, column: &'static str) -> Result<Option<N>, RowError> {
        match self.number(column)? {
            None => Ok(None),
            Some(number) => match N::try_from(number) {
                Ok(small) => Ok(Some(small)),
                Err(_) => Err(bad(column, Value::Number(number))),
            },
        }
    }

    fn time(&mut self, column: &'static str) -> Result<Option<Timestamp>, RowError> {
        Ok(self.number(column)?.map(Timestamp))
    }

    fn uuid(&mut self, column: &'static str) -> Result<Option<Uuid>, RowError> {
        match self.value(column) {
            Value::Missing => Ok(None),
            Value::Uuid(uuid) => Ok(Some(uuid)),
            other => Err(bad(column, other)),
        }
    }

    fn ip(&mut self, column: &'static str) -> Result<Option<IpAddr>, RowError> {
        match self.value(column) {
            Value::Missing => Ok(None),
            Value::Ip(ip) => Ok(Some(ip)),
            other => Err(bad(column, other)),
        }
    }

    fn word<T: Copy>(
        &mut self,
        column: &'static str,
        all: &[T],
        word: fn(T) -> &'static str,
    ) -> Result<Option<T>, RowError> {
        match self.text(column)? {
            None => Ok(None),
            Some(text) => match all.iter().find(|one| word(**one) == text) {
                Some(one) => Ok(Some(*one)),
                None => Err(bad(column, Value::Text(text))),
            },
        }
    }

    fn socket(&mut self, ip: &'static str, port: &'static str) -> Result<Socket, RowError> {
        match self.ip(ip)? {
            Some(ip) => Ok(Socket {
                ip,
                port: self.small(port)?,
            }),
            None => Err(bad(ip, Value::Missing)),
        }
    }

    fn tally(&mut self, packets: &'static str, bytes: &'static str) -> Result<Tally, RowError> {
        Ok(Tally {
            packets: self.small(packets)?.unwrap_or_default(),
            bytes: self.small(bytes)?.unwrap_or_default(),
        })
    }

    fn endpoint(
        &mut self,
        namespace: &'static str,
        name: &'static str,
        kind: &'static str,
        node: &'static str,
    ) -> Result<Option<Endpoint>, RowError> {
        let namespace = self.owned(namespace)?;
        let name = self.owned(name)?;
        let kind = self.word(kind, &EndpointKind::ALL, EndpointKind::as_str)?;
        let node = self.owned(node)?;
        Ok(kind.map(|kind| Endpoint {
            kind,
            namespace,
            name,
            node,
        }))
    }

    fn service(&mut self, protocol: u8) -> Result<Option<Service>, RowError> {
        let namespace = self.owned("service_namespace")?;
        let name = self.owned("service_name")?;
        let ip = self.ip("service_ip")?;
        let port = self.small("service_port")?;
        Ok(name.zip(ip).map(|(name, ip)| Service {
            namespace,
            name,
            ip,
            port,
            protocol,
            backends: Vec::new(),
        }))
    }

    fn half(&mut self, names: &[&'static str; HALF]) -> Result<Option<Half>, RowError> {
        let [
            since,
            zone,
            node,
            verdict,
            action,
            direction,
            pipeline,
            tier,
            owner_kind,
            owner_namespace,
            owner_name,
            owner_network,
            rule_index,
            rule_protocol,
            rule_ip_block,
            rule_type,
            acl_uuid,
            acl_name,
            acl_priority,
            acl_label,
            acl_match,
            acl_deleted,
            revision,
            evidence,
            unresolved,
            flow_stage,
            flow_priority,
            flow_match,
            message,
        ] = *names;
        let since = self.time(since)?;
        let zone = self.text(zone)?.unwrap_or_default();
        let node = self.text(node)?;
        let verdict = self.word(verdict, &Verdict::ALL, Verdict::as_str)?;
        let action = self.word(action, &Action::ALL, Action::as_str)?;
        let direction = self.word(direction, &Direction::ALL, Direction::as_str)?;
        let pipeline = self.word(pipeline, &Pipeline::ALL, Pipeline::as_str)?;
        let tier = self.small(tier)?;
        let owner_kind = self.text(owner_kind)?;
        let owner = Owner {
            kind: match owner_kind {
                None => OwnerKind::Unowned,
                Some(word) if word == owner_kind_word(&OwnerKind::Unowned) => OwnerKind::Unowned,
                Some(word) => OwnerKind::parse(word),
            },
            namespace: self.owned(owner_namespace)?,
            name: self.owned(owner_name)?,
            direction,
            network: self.owned(owner_network)?,
            rule: Rule {
                index: self.small(rule_index)?,
                protocol: self.owned(rule_protocol)?,
                ip_block: self.small(rule_ip_block)?,
                kind: self.owned(rule_type)?,
            },
        };
        let uuid = self.uuid(acl_uuid)?;
        let acl_name = self.owned(acl_name)?;
        let priority = self.small(acl_priority)?;
        let label = self.small(acl_label)?;
        let matches = self.owned(acl_match)?;
        let deleted = match self.value(acl_deleted) {
            Value::Missing => false,
            Value::Bool(truth) => truth,
            other => return Err(bad(acl_deleted, other)),
        };
        let revision = self.small(revision)?;
        let evidence = self.word(evidence, &Evidence::ALL, Evidence::as_str)?;
        let unresolved = self.word(unresolved, &Unresolved::ALL, Unresolved::as_str)?;
        let stage = self.owned(flow_stage)?;
        let flow_priority = self.small(flow_priority)?;
        let flow_match = self.owned(flow_match)?;
        let message: Box<str> = self.text(message)?.unwrap_or_default().into();
        let Some(verdict) = verdict else {
            return Ok(None);
        };
        let fact = match (action, pipeline) {
            (Some(action), Some(pipeline)) => Some(Arc::new(Fact {
                acl: Acl {
                    name: acl_name,
                    priority: priority.unwrap_or_default(),
                    matches: matches.unwrap_or_default(),
                    action,
                    pipeline,
                    tier: tier.unwrap_or_default(),
                    label: label.unwrap_or_default(),
                    owner,
                },
                message: message.clone(),
            })),
            _ => None,
        };
        Ok(Some(Half {
            since: since.unwrap_or_default(),
            zone: zone.into(),
            node: node.map(Arc::from),
            ruling: Arc::new(Ruling {
                verdict,
                fact,
                uuid,
                revision,
                deleted,
                evidence: evidence.unwrap_or(Evidence::None),
                unresolved,
                flow: stage.map(|stage| {
                    Arc::new(DropFlow {
                        stage,
                        priority: flow_priority.unwrap_or_default(),
                        matches: flow_match.unwrap_or_default(),
                        message,
                    })
                }),
            }),
        }))
    }
}

/// How many columns a half has.
const HALF: usize = 29;

macro_rules! half {
    ($half:literal) => {
        [
            concat!($half, "_since"),
            concat!($half, "_zone"),
            concat!($half, "_node"),
            concat!($half, "_verdict"),
            concat!($half, "_action"),
            concat!($half, "_direction"),
            concat!($half, "_pipeline"),
            concat!($half, "_tier"),
            concat!($half, "_owner_kind"),
            concat!($half, "_owner_namespace"),
            concat!($half, "_owner_name"),
            concat!($half, "_owner_network"),
            concat!($half, "_rule_index"),
            concat!($half, "_rule_protocol"),
            concat!($half, "_rule_ip_block"),
            concat!($half, "_rule_type"),
            concat!($half, "_acl_uuid"),
            concat!($half, "_acl_name"),
            concat!($half, "_acl_priority"),
            concat!($half, "_acl_label"),
            concat!($half, "_acl_match"),
            concat!($half, "_acl_deleted"),
            concat!($half, "_revision"),
            concat!($half, "_evidence"),
            concat!($half, "_unresolved"),
            concat!($half, "_flow_stage"),
            concat!($half, "_flow_priority"),
            concat!($half, "_flow_match"),
            concat!($half, "_message"),
        ]
    };
}

const EGRESS: [&str; HALF] = half!("egress");
const INGRESS: [&str; HALF] = half!("ingress");

fn bad(column: &'static str, value: Value<'_>) -> RowError {
    RowError::Value {
        column,
        value: match value {
            Value::Text(text) => format!("{text:?}"),
            other => format!("{other:?}"),
        },
    }
}

/// The probability that millionths stand for: OVN sets 16 bits.
fn probability_of(millionths: i64) -> Probability {
    let scaled = (millionths as f64 / 1e6 * f64::from(u16::MAX)).round();
    Probability::from_u16(scaled as u16)
}

fn counts_fit(counts: &[Counts]) -> bool {
    let fits = |tally: Tally| tally.packets.max(tally.bytes) <= i64::MAX as u64;
    match counts {
        [] => true,
        [only] => {
            probability_of(only.probability.millionths()) == only.probability
                && [only.original, only.reply, only.dropped]
                    .into_iter()
                    .all(fits)
        }
        _ => false,
    }
}

/// Both halves as changes, in the order of changes.
struct Halves<'a>([Option<(Direction, &'a Half)>; 2]);

fn halves(connection: &Connection) -> Halves<'_> {
    let ingress = connection.ingress.as_ref();
    let egress = connection.egress.as_ref();
    let mut halves = [
        ingress.map(|half| (Direction::Ingress, half)),
        egress.map(|half| (Direction::Egress, half)),
    ];
    halves.sort_by_key(|half| half.map(|(direction, half)| (half.since, direction)));
    Halves(halves)
}

impl Halves<'_> {
    fn cloned_changes(&self) -> Vec<Change> {
        let changes = self.0.iter().flatten().map(|(direction, half)| Change {
            direction: *direction,
            half: (*half).clone(),
        });
        changes.collect()
    }
}

/// True where the changes are both halves, in their order: so it is for most.
fn changes_fit(connection: &Connection) -> bool {
    let halves = halves(connection).0.into_iter().flatten();
    let changes = connection.changes.iter();
    changes.map(|it| (it.direction, &it.half)).eq(halves)
}

/// The half, where columns cannot tell it.
fn exact(half: Option<&Half>) -> Option<HalfJson> {
    let half = half?;
    let ruling = &half.ruling;
    let fits = (ruling.uuid.is_some() || !ruling.deleted)
        && (ruling.fact.is_none() || ruling.flow.is_none())
        && ruling.revision.is_none_or(|it| it <= i64::MAX as u64);
    (!fits).then(|| half.into())
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
struct Rest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counts: Option<Vec<CountsJson>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<ChangeJson>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    egress: Option<HalfJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ingress: Option<HalfJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service_protocol: Option<u8>,
}

/// Probability of 32 bits; packets and bytes of each tally.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct CountsJson {
    probability: u32,
    original: (u64, u64),
    reply: (u64, u64),
    dropped: (u64, u64),
}

impl CountsJson {
    fn of(counts: &Counts) -> Self {
        let pair = |tally: Tally| (tally.packets, tally.bytes);
        Self {
            probability: counts.probability.0,
            original: pair(counts.original),
            reply: pair(counts.reply),
            dropped: pair(counts.dropped),
        }
    }

    fn into_counts(self) -> Counts {
        let tally = |(packets, bytes)| Tally { packets, bytes };
        Counts {
            probability: Probability(self.probability),
            original: tally(self.original),
            reply: tally(self.reply),
            dropped: tally(self.dropped),
        }
    }
}

/// A change that is one of the two halves is only named.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
enum ChangeJson {
    Same(Direction),
    Other {
        direction: Direction,
        half: Box<HalfJson>,
    },
}

impl ChangeJson {
    fn of(change: &Change, connection: &Connection) -> Self {
        if half_of(connection, change.direction) == Some(&change.half) {
            return Self::Same(change.direction);
        }
        Self::Other {
            direction: change.direction,
            half: Box::new((&change.half).into()),
        }
    }

    fn into_change(self, connection: &Connection) -> Option<Change> {
        match self {
            Self::Same(direction) => half_of(connection, direction).map(|half| Change {
                direction,
                half: half.clone(),
            }),
            Self::Other { direction, half } => Some(Change {
                direction,
                half: (*half).into(),
            }),
        }
    }
}

fn half_of(connection: &Connection, direction: Direction) -> Option<&Half> {
    match direction {
        Direction::Egress => connection.egress.as_ref(),
        Direction::Ingress => connection.ingress.as_ref(),
    }
}
