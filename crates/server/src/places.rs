use std::collections::BTreeMap;

use axum::Json;
use netverdict_query::Field;
use netverdict_query::ask::{Cell, Groups, Measure, Order};
use netverdict_types::{Timestamp, Verdict, protocol_name};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::Scoped;
use crate::cluster::Workload;
use crate::listing::{Listing, Part};
use crate::params::{Paging, Params, Range, Which};
use crate::problem::{Problem, Problems};

/// Connections by their verdict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
struct Verdicts {
    /// All of them.
    connections: u64,
    /// Those that were dropped.
    dropped: u64,
    /// Those that were rejected.
    rejected: u64,
    /// When the last was last seen; missing where there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last: Option<Timestamp>,
}

impl Verdicts {
    fn add(&mut self, seen: &Seen) {
        self.connections += seen.connections;
        if seen.verdict == Verdict::Dropped.as_str() {
            self.dropped += seen.connections;
        } else if seen.verdict == Verdict::Rejected.as_str() {
            self.rejected += seen.connections;
        }
        self.last = self.last.max(seen.last);
    }
}

/// Connections of a place by their verdict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
struct Traffic {
    /// Connections that begin there.
    out: Verdicts,
    /// Connections that go there.
    #[serde(rename = "in")]
    into: Verdicts,
}

/// A namespace.
#[derive(Serialize, ToSchema)]
pub(crate) struct Namespace {
    /// Its name.
    name: String,
    /// How many workloads of it are known now.
    workloads: usize,
    #[serde(flatten)]
    traffic: Traffic,
}

/// A pod, or another end with a name.
#[derive(Serialize, ToSchema)]
pub(crate) struct Place {
    #[serde(flatten)]
    workload: Workload,
    /// False for one that is gone.
    known: bool,
    #[serde(flatten)]
    traffic: Traffic,
}

/// Which workloads.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Within {
    /// Only those of this namespace.
    namespace: Option<String>,
}

/// Namespaces
///
/// Those known now and those seen within the time, with their connections by verdict; by name.
#[utoipa::path(get, path = "/namespaces", tag = "cluster", params(Which, Paging), responses((status = 200, body = Listing<Namespace>), Problems))]
pub(crate) async fn namespaces(
    app: Scoped,
    Params(which): Params<Which>,
    Params(paging): Params<Paging>,
) -> Result<Json<Listing<Namespace>>, Problem> {
    let part = Part::of(&app, &which, &paging)?;
    let sides = [[Field::SrcNamespace], [Field::DstNamespace]];
    let name = |values: &[Cell]| values.first().and_then(text);
    let seen = traffic(&app, &which, part.range, sides, name).await?;
    let mut names: BTreeMap<String, Namespace> = BTreeMap::new();
    for (name, traffic) in seen {
        of_name(&mut names, name).traffic = traffic;
    }
    let known = app.workloads().into_iter();
    for name in known.filter_map(|workload| workload.namespace) {
        of_name(&mut names, name).workloads += 1;
    }
    Ok(Json(part.page(names)))
}

fn of_name(names: &mut BTreeMap<String, Namespace>, name: String) -> &mut Namespace {
    names.entry(name.clone()).or_insert_with(|| Namespace {
        name,
        workloads: 0,
        traffic: Traffic::default(),
    })
}

/// Workloads
///
/// Pods and other ends with names, those known now and those seen within the time, with their connections by verdict; by namespace, kind and name.
#[utoipa::path(get, path = "/workloads", tag = "cluster", params(Which, Within, Paging), responses((status = 200, body = Listing<Place>), Problems))]
pub(crate) async fn workloads(
    app: Scoped,
    Params(which): Params<Which>,
    Params(within): Params<Within>,
    Params(paging): Params<Paging>,
) -> Result<Json<Listing<Place>>, Problem> {
    let part = Part::of(&app, &which, &paging)?;
    let is_wanted = |workload: &Workload| {
        let namespace = workload.namespace.as_deref();
        within.namespace.is_none() || namespace == within.namespace.as_deref()
    };
    let sides = [
        [
            Field::SrcNamespace,
            Field::SrcKind,
            Field::SrcName,
            Field::SrcNode,
        ],
        [
            Field::DstNamespace,
            Field::DstKind,
            Field::DstName,
            Field::DstNode,
        ],
    ];
    let wanted = |values: &[Cell]| workload(values).filter(is_wanted);
    let mut seen = traffic(&app, &which, part.range, sides, wanted).await?;
    let mut places: BTreeMap<Workload, Place> = BTreeMap::new();
    for workload in app.workloads().into_iter().filter(is_wanted) {
        let place = Place {
            traffic: seen.remove(&workload).unwrap_or_default(),
            workload: workload.clone(),
            known: true,
        };
        places.insert(workload, place);
    }
    for (workload, traffic) in seen {
        let place = Place {
            workload: workload.clone(),
            known: false,
            traffic,
        };
        places.insert(workload, place);
    }
    Ok(Json(part.page(places)))
}

fn workload(values: &[Cell]) -> Option<Workload> {
    let [namespace, kind, name, node] = values else {
        return None;
    };
    Some(Workload {
        namespace: text(namespace),
        kind: text(kind)?,
        name: Some(text(name)?),
        node: text(node),
    })
}

/// What each place sent and got: `sides` names it as client and as server, and `key` reads it,
/// if it is wanted.
async fn traffic<K: Ord, const N: usize>(
    app: &Scoped,
    which: &Which,
    range: Range,
    sides: [[Field; N]; 2],
    key: impl Fn(&[Cell]) -> Option<K>,
) -> Result<BTreeMap<K, Traffic>, Problem> {
    let query = which.query()?;
    let mut places: BTreeMap<K, Traffic> = BTreeMap::new();
    for (outward, by) in [true, false].into_iter().zip(sides) {
        let lines = app.all_groups(range, &query, by_verdict(&by)).await?;
        for seen in lines.into_iter().filter_map(Seen::read) {
            let Some(key) = key(&seen.values) else {
                continue;
            };
            let place = places.entry(key).or_default();
            let side = match outward {
                true => &mut place.out,
                false => &mut place.into,
            };
            side.add(&seen);
        }
    }
    Ok(places)
}

/// Who talks to whom.
#[derive(Serialize, ToSchema)]
pub(crate) struct Topology {
    /// Those with most connections first.
    edges: Vec<Edge>,
    /// How many edges there are beyond these. Of more than can be looked at, it counts one edge for each verdict.
    more: u64,
    /// The time that was asked about.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// Its end.
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
}

/// One who talks to another.
#[derive(Serialize, ToSchema)]
struct Edge {
    /// Who opens the connections.
    from: Node,
    /// Who answers them.
    to: Node,
    /// The service that was spoken to: its name, behind its namespace and `/` where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// The protocol's name or number.
    protocol: String,
    /// The port of who answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<i64>,
    #[serde(flatten)]
    seen: Verdicts,
}

/// An end of an edge.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
struct Node {
    /// The namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// What it is, as `src.kind` in queries.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// Its name; missing where edges are between namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// Between what the edges are.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Between {
    /// `workload` (if it is not given) or `namespace`.
    #[param(inline)]
    by: Option<Level>,
    /// At most so many edges; as many as may be if it is not given.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Level {
    #[default]
    Workload,
    Namespace,
}

/// Topology
///
/// Who talked to whom within the time, through which service, on which port, with connections by verdict.
#[utoipa::path(get, path = "/topology", tag = "cluster", params(Which, Between), responses((status = 200, body = Topology), Problems))]
pub(crate) async fn topology(
    app: Scoped,
    Params(which): Params<Which>,
    Params(between): Params<Between>,
) -> Result<Json<Topology>, Problem> {
    let by_name = between.by.unwrap_or_default() == Level::Workload;
    let ends = [
        (Field::SrcNamespace, Field::SrcKind, Field::SrcName),
        (Field::DstNamespace, Field::DstKind, Field::DstName),
    ];
    let mut by = Vec::new();
    for (namespace, kind, name) in ends {
        by.extend([namespace, kind]);
        by.extend(by_name.then_some(name));
    }
    let ends = by.len();
    by.extend([
        Field::ServiceNamespace,
        Field::ServiceName,
        Field::Protocol,
        Field::DstPort,
    ]);
    let most = app.limits().groups;
    let limit = match between.limit {
        Some(limit) if !(1..=most).contains(&limit) => {
            let why = format_args!("is from 1 to {most}");
            return Err(Problem::parameter("limit", why));
        }
        limit => limit.unwrap_or(most),
    };
    let range = which.range(&app)?;
    let (lines, beyond) = app
        .most_groups(range, &which.query()?, by_verdict(&by))
        .await?;
    let mut edges: BTreeMap<Vec<Cell>, Edge> = BTreeMap::new();
    for seen in lines.into_iter().filter_map(Seen::read) {
        let values = &seen.values;
        let (ends, rest) = values.split_at(ends);
        let node = |end: &[Cell]| Node {
            namespace: end.first().and_then(text),
            kind: end.get(1).and_then(text),
            name: end.get(2).and_then(text),
        };
        let (from, to) = ends.split_at(ends.len() / 2);
        let [namespace, name, proto, port] = rest else {
            continue;
        };
        let service = text(name).map(|name| match text(namespace) {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name,
        });
        let edge = edges.entry(values.clone()).or_insert_with(|| Edge {
            from: node(from),
            to: node(to),
            service,
            protocol: protocol(number(proto).unwrap_or_default()),
            port: number(port),
            seen: Verdicts::default(),
        });
        edge.seen.add(&seen);
    }
    let mut edges: Vec<Edge> = edges.into_values().collect();
    edges.sort_by_key(|edge| std::cmp::Reverse(edge.seen.connections));
    let more = edges.len().saturating_sub(limit) as u64 + beyond;
    edges.truncate(limit);
    Ok(Json(Topology {
        edges,
        more,
        since: range.since,
        until: range.until,
    }))
}

/// Connections with the same values and the same verdict.
struct Seen {
    values: Vec<Cell>,
    verdict: String,
    connections: u64,
    last: Option<Timestamp>,
}

/// Groups by these fields and the verdict, the largest first.
fn by_verdict(by: &[Field]) -> Groups {
    Groups {
        by: by.iter().copied().chain([Field::Verdict]).collect(),
        every: None,
        measures: vec![Measure::Count, Measure::Max(Field::End)],
        order: Some((0, Order::Descending)),
        top: 0,
    }
}

impl Seen {
    /// A line of [`by_verdict`].
    fn read(mut line: Vec<Cell>) -> Option<Self> {
        let last = number(&line.pop()?).map(Timestamp);
        let connections = number(&line.pop()?)?.unsigned_abs();
        let verdict = text(&line.pop()?)?;
        Some(Self {
            values: line,
            verdict,
            connections,
            last,
        })
    }
}

fn text(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Text(text) => Some(text.to_string()),
        _ => None,
    }
}

fn number(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Number(number) => Some(*number),
        _ => None,
    }
}

/// The name of a protocol, or its number where it has none.
pub(crate) fn protocol(number: i64) -> String {
    let name = u8::try_from(number).ok().and_then(protocol_name);
    name.map_or_else(|| number.to_string(), str::to_owned)
}
