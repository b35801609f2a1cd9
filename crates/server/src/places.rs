use std::collections::BTreeMap;

use axum::Json;
use netverdict_query::Field;
use netverdict_query::ask::{Cell, Groups, Measure, Order, Want};
use netverdict_types::{Timestamp, Verdict, protocol_name};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::Scoped;
use crate::cluster::Workload;
use crate::params::{Params, Which};
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
    fn add(&mut self, verdict: &str, connections: u64, last: Option<Timestamp>) {
        self.connections += connections;
        if verdict == Verdict::Dropped.as_str() {
            self.dropped += connections;
        } else if verdict == Verdict::Rejected.as_str() {
            self.rejected += connections;
        }
        self.last = self.last.max(last);
    }
}

/// Namespaces and their traffic.
#[derive(Serialize, ToSchema)]
pub(crate) struct Namespaces {
    /// By name.
    items: Vec<Namespace>,
}

/// A namespace.
#[derive(Serialize, ToSchema)]
struct Namespace {
    /// Its name.
    name: String,
    /// How many workloads of it are known now.
    workloads: usize,
    /// Connections that begin there.
    out: Verdicts,
    /// Connections that go there.
    #[serde(rename = "in")]
    into: Verdicts,
}

/// Workloads and their traffic.
#[derive(Serialize, ToSchema)]
pub(crate) struct Workloads {
    /// By namespace, kind and name.
    items: Vec<Place>,
}

/// A pod, or another end with a name.
#[derive(Serialize, ToSchema)]
struct Place {
    #[serde(flatten)]
    workload: Workload,
    /// False for one that is gone.
    known: bool,
    /// Connections that it opened.
    out: Verdicts,
    /// Connections to it.
    #[serde(rename = "in")]
    into: Verdicts,
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
/// Those known now and those seen within the time, with their connections by verdict.
#[utoipa::path(get, path = "/namespaces", tag = "cluster", params(Which), responses((status = 200, body = Namespaces), Problems))]
pub(crate) async fn namespaces(
    app: Scoped,
    Params(which): Params<Which>,
) -> Result<Json<Namespaces>, Problem> {
    let mut names: BTreeMap<String, Namespace> = BTreeMap::new();
    let known = app.workloads().into_iter();
    for name in known.filter_map(|workload| workload.namespace) {
        of_name(&mut names, name).workloads += 1;
    }
    for (outward, field) in [(true, Field::SrcNamespace), (false, Field::DstNamespace)] {
        let seen = seen(&app, &which, &[field]).await?;
        for Seen {
            values,
            verdict,
            connections,
            last,
        } in seen
        {
            let [Cell::Text(name)] = &values[..] else {
                continue;
            };
            let namespace = of_name(&mut names, name.to_string());
            let side = match outward {
                true => &mut namespace.out,
                false => &mut namespace.into,
            };
            side.add(&verdict, connections, last);
        }
    }
    Ok(Json(Namespaces {
        items: names.into_values().collect(),
    }))
}

fn of_name(names: &mut BTreeMap<String, Namespace>, name: String) -> &mut Namespace {
    names.entry(name.clone()).or_insert_with(|| Namespace {
        name,
        workloads: 0,
        out: Verdicts::default(),
        into: Verdicts::default(),
    })
}

/// Workloads
///
/// Pods and other ends with names, those known now and those seen within the time, with their connections by verdict.
#[utoipa::path(get, path = "/workloads", tag = "cluster", params(Which, Within), responses((status = 200, body = Workloads), Problems))]
pub(crate) async fn workloads(
    app: Scoped,
    Params(which): Params<Which>,
    Params(within): Params<Within>,
) -> Result<Json<Workloads>, Problem> {
    let is_wanted = |workload: &Workload| {
        let namespace = workload.namespace.as_deref();
        within.namespace.is_none() || namespace == within.namespace.as_deref()
    };
    let unseen = |workload: Workload, known| Place {
        workload,
        known,
        out: Verdicts::default(),
        into: Verdicts::default(),
    };
    let mut places: BTreeMap<Workload, Place> = BTreeMap::new();
    for workload in app.workloads().into_iter().filter(&is_wanted) {
        places.insert(workload.clone(), unseen(workload, true));
    }
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
    for (outward, fields) in [true, false].into_iter().zip(sides) {
        for Seen {
            values,
            verdict,
            connections,
            last,
        } in seen(&app, &which, &fields).await?
        {
            let Some(workload) = workload(&values) else {
                continue;
            };
            if !is_wanted(&workload) {
                continue;
            }
            let place = places
                .entry(workload.clone())
                .or_insert_with(|| unseen(workload, false));
            let side = match outward {
                true => &mut place.out,
                false => &mut place.into,
            };
            side.add(&verdict, connections, last);
        }
    }
    Ok(Json(Workloads {
        items: places.into_values().collect(),
    }))
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

/// Who talks to whom.
#[derive(Serialize, ToSchema)]
pub(crate) struct Topology {
    /// Those with most connections first.
    edges: Vec<Edge>,
    /// How many edges there are beyond those that are told, as groups of one verdict.
    more: u64,
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
    let (seen, more) = groups(&app, &which, &by).await?;
    let mut edges: BTreeMap<Vec<Cell>, Edge> = BTreeMap::new();
    for Seen {
        values,
        verdict,
        connections,
        last,
    } in seen
    {
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
        edge.seen.add(&verdict, connections, last);
    }
    let mut edges: Vec<Edge> = edges.into_values().collect();
    edges.sort_by_key(|edge| std::cmp::Reverse(edge.seen.connections));
    Ok(Json(Topology { edges, more }))
}

/// Connections with the same values and the same verdict.
struct Seen {
    values: Vec<Cell>,
    verdict: String,
    connections: u64,
    last: Option<Timestamp>,
}

async fn seen(app: &Scoped, which: &Which, by: &[Field]) -> Result<Vec<Seen>, Problem> {
    Ok(groups(app, which, by).await?.0)
}

/// Groups by these fields and the verdict, the largest first; and how many there are beyond.
async fn groups(app: &Scoped, which: &Which, by: &[Field]) -> Result<(Vec<Seen>, u64), Problem> {
    let want = Want::Groups(Groups {
        by: by.iter().copied().chain([Field::Verdict]).collect(),
        every: None,
        measures: vec![Measure::Count, Measure::Max(Field::End)],
        order: Some((0, Order::Descending)),
        top: app.limits().groups,
    });
    let (ask, _) = which.ask(app, want)?;
    let answer = app.ask(ask).await?;
    let more = answer.total.saturating_sub(answer.lines.len() as u64);
    let lines = answer.lines.into_iter().filter_map(|mut line| {
        let last = number(&line.pop()?).map(Timestamp);
        let connections = number(&line.pop()?)?.unsigned_abs();
        let verdict = text(&line.pop()?)?;
        Some(Seen {
            values: line,
            verdict,
            connections,
            last,
        })
    });
    Ok((lines.collect(), more))
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
