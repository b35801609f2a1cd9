//! What other policies change, for people and programs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use anyhow::Result;
use netverdict_types::{Direction, EndpointKind, Verdict};
use netverdict_verdict::Reach;
use netverdict_whatif::{End, Pair, Report, Seen};
use serde_json::{Value, json};

use crate::exit::tell;
use crate::matrix::{By, deciding};
use crate::twin::Twin;

/// A report, and what it is about.
pub(super) struct Shown<'a> {
    pub(super) pairs: &'a [Pair],
    pub(super) report: &'a Report,
    pub(super) before: (&'a Reach<'a>, &'a Twin),
    pub(super) after: (&'a Reach<'a>, &'a Twin),
    /// Whether rules of a namespace, and of the end in it, are told; of none where there is none.
    pub(super) sees: &'a dyn Fn(Option<&str>) -> bool,
}

/// What is told in one line: pairs of equal kind that fare the same, by the same rules.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Line {
    is_opened: bool,
    from: String,
    to: String,
    service: Option<String>,
    port: String,
    was: (&'static str, Vec<String>),
    is: (&'static str, Vec<String>),
}

#[derive(Clone, Debug, Default)]
struct Sum {
    from: BTreeSet<String>,
    to: BTreeSet<String>,
    seen: Option<Seen>,
}

impl Sum {
    fn add(&mut self, pair: &Pair) {
        self.from.insert(name(&pair.from));
        self.to.insert(name(&pair.to));
        match &mut self.seen {
            Some(seen) => seen.add(pair.seen),
            None => self.seen = Some(pair.seen),
        }
    }

    fn seen(&self) -> String {
        let Some(seen) = self.seen else {
            return String::new();
        };
        let times = match seen.connections {
            1 => "once".to_owned(),
            more => format!("{more} times"),
        };
        // What part of a second it was is no matter.
        let last = seen.last.to_string();
        let last = last.split('.').next().unwrap_or_default();
        format!("seen {times}, last {}Z", last.trim_end_matches('Z'))
    }
}

impl Shown<'_> {
    /// For people.
    pub(super) fn text(&self, out: &mut impl Write) -> Result<()> {
        let mut lines: BTreeMap<Line, Sum> = BTreeMap::new();
        for change in &self.report.changes {
            let Some(pair) = self.pairs.get(change.pair) else {
                continue;
            };
            let by = |(reach, twin): (&Reach<'_>, &Twin), decided: &[_]| -> Vec<String> {
                let by = deciding(reach, twin, decided);
                by.into_iter().map(|by| by.text).collect()
            };
            let line = Line {
                is_opened: change.after == Verdict::Allowed,
                from: kind(&pair.from),
                to: kind(&pair.to),
                service: service(pair),
                port: port(pair),
                was: (
                    change.before.as_str(),
                    by(self.before, &change.decided_before),
                ),
                is: (change.after.as_str(), by(self.after, &change.decided_after)),
            };
            lines.entry(line).or_default().add(pair);
        }
        for (line, sum) in &lines {
            let sign = if line.is_opened { '+' } else { '-' };
            let (from, to) = (some(&line.from, &sum.from), some(&line.to, &sum.to));
            let service = line.service.as_deref();
            let service = service.map_or_else(String::new, |name| format!(" ({name})"));
            let (port, seen) = (&line.port, sum.seen());
            writeln!(out, "{sign} {from} -> {to}{service}  {port}  {seen}")?;
            for (when, (verdict, by)) in [("was", &line.was), ("is", &line.is)] {
                match by.is_empty() {
                    true => writeln!(out, "    {when:<3}  {verdict}, by no policy")?,
                    false => {
                        for by in by {
                            writeln!(out, "    {when:<3}  {by}")?;
                        }
                    }
                }
            }
        }
        let mut unknown: BTreeMap<String, (u64, Sum)> = BTreeMap::new();
        for unjudged in &self.report.unjudged {
            let Some(pair) = self.pairs.get(unjudged.pair) else {
                continue;
            };
            let (pairs, sum) = unknown.entry(unjudged.why.message()).or_default();
            *pairs += 1;
            sum.add(pair);
        }
        for (why, (pairs, sum)) in &unknown {
            let pairs = counted(*pairs, "pair");
            writeln!(out, "? {why}: {pairs}, {}", sum.seen())?;
        }
        Ok(())
    }

    /// Pairs that fare otherwise (docs/whatif.schema.json).
    pub(super) fn changes(&self) -> impl Iterator<Item = Value> {
        self.report.changes.iter().filter_map(|change| {
            let pair = self.pairs.get(change.pair)?;
            let side = |(reach, twin): (&Reach<'_>, &Twin), verdict: Verdict, decided: &[_]| {
                let by = deciding(reach, twin, decided).into_iter();
                let by = by.filter(|by| self.tells(pair, by));
                let by: Vec<Value> = by.map(|by| by.json).collect();
                json!({"verdict": verdict.as_str(), "by": by})
            };
            Some(json!({
                "change": if change.after == Verdict::Allowed { "opened" } else { "closed" },
                "pair": about(pair),
                "before": side(self.before, change.before, &change.decided_before),
                "after": side(self.after, change.after, &change.decided_after),
            }))
        })
    }

    /// True where it is told which rule decides on a side: as in connections.
    fn tells(&self, pair: &Pair, by: &By) -> bool {
        let end = match by.side {
            Direction::Egress => &pair.from,
            Direction::Ingress => &pair.to,
        };
        let of = end.endpoint.as_deref();
        let of = of.and_then(|endpoint| endpoint.namespace.as_deref());
        (self.sees)(of)
            && by
                .namespace
                .as_deref()
                .is_none_or(|it| (self.sees)(Some(it)))
    }

    /// Pairs that cannot be judged.
    pub(super) fn unknown(&self) -> impl Iterator<Item = Value> {
        self.report.unjudged.iter().filter_map(|unjudged| {
            let pair = self.pairs.get(unjudged.pair)?;
            Some(json!({
                "change": "unknown",
                "pair": about(pair),
                "why": unjudged.why.as_str(),
                "message": unjudged.why.message(),
            }))
        })
    }

    /// What it comes to.
    pub(super) fn totals(&self) -> Value {
        let Tally {
            opened,
            closed,
            unknown,
        } = self.tally();
        let count =
            |[pairs, connections]: [u64; 2]| json!({"pairs": pairs, "connections": connections});
        json!({
            "opened": count(opened),
            "closed": count(closed),
            "unknown": count(unknown),
            "judged": count([self.report.judged as u64, self.report.judged_connections]),
            "not_reproduced": self.report.not_reproduced,
            "without_verdict": self.report.without_verdict,
        })
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        let connections = |pair: usize| self.pairs.get(pair).map_or(0, |it| it.seen.connections);
        for change in &self.report.changes {
            let sum = match change.after {
                Verdict::Allowed => &mut tally.opened,
                _ => &mut tally.closed,
            };
            *sum = [sum[0] + 1, sum[1] + connections(change.pair)];
        }
        for unjudged in &self.report.unjudged {
            let sum = &mut tally.unknown;
            *sum = [sum[0] + 1, sum[1] + connections(unjudged.pair)];
        }
        tally
    }

    /// What it comes to, for people.
    pub(super) fn summary(&self) {
        let Tally {
            opened,
            closed,
            unknown,
        } = self.tally();
        let report = self.report;
        if self.pairs.is_empty() {
            tell("no connections were recorded: nothing can be said");
            return;
        }
        let seen = |[pairs, connections]: [u64; 2]| {
            let (pairs, connections) = (counted(pairs, "pair"), counted(connections, "connection"));
            format!("{pairs} ({connections})")
        };
        if report.judged == 0 {
            tell(format_args!(
                "{} were recorded, none of which could be judged: are these the objects of the cluster where they were recorded?",
                seen(unknown)
            ));
            return;
        }
        tell(format_args!(
            "of {} that were judged, {} would be allowed that are not, {} would be dropped that are allowed",
            seen([report.judged as u64, report.judged_connections]),
            seen(opened),
            seen(closed),
        ));
        if unknown[0] > 0 {
            tell(format_args!("{} could not be judged", seen(unknown)));
        }
        if report.not_reproduced > 0 {
            tell(format_args!(
                "{} recorded with another verdict than the policies of today give: these have \
                 changed since, or not all that judged was sampled",
                were(report.not_reproduced)
            ));
        }
        if report.without_verdict > 0 {
            tell(format_args!(
                "{} recorded without a last word (delegated or unknown), and judged all the same",
                were(report.without_verdict)
            ));
        }
    }
}

/// Pairs and connections.
#[derive(Default)]
struct Tally {
    opened: [u64; 2],
    closed: [u64; 2],
    unknown: [u64; 2],
}

fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn were(connections: u64) -> String {
    let were = if connections == 1 { "was" } else { "were" };
    format!("{} {were}", counted(connections, "connection"))
}

/// An end as people name it.
fn name(end: &End) -> String {
    let endpoint = end.endpoint.as_deref();
    let named = endpoint.and_then(|it| Some((it, it.name.as_deref()?)));
    match named {
        Some((endpoint, name)) => match (endpoint.kind, &endpoint.namespace) {
            (EndpointKind::Pod, Some(namespace)) => format!("{namespace}/{name}"),
            (EndpointKind::Port, _) => name.to_owned(),
            (kind, _) => format!("{} {name} {}", kind.as_str(), end.address),
        },
        None => end.address.to_string(),
    }
}

/// What an end is told together with: pods that share a name but for its last part, and addresses.
fn kind(end: &End) -> String {
    let endpoint = end.endpoint.as_deref();
    match endpoint.map(|endpoint| endpoint.kind) {
        Some(EndpointKind::Pod | EndpointKind::Port) => {
            let name = name(end);
            match name.rfind(['-', '/']) {
                Some(place) => format!("{}*", name.get(..=place).unwrap_or_default()),
                None => name,
            }
        }
        None | Some(EndpointKind::External) => "outside".to_owned(),
        Some(kind) => kind.as_str().to_owned(),
    }
}

fn some(kind: &str, names: &BTreeSet<String>) -> String {
    match (names.len(), names.first()) {
        (1, Some(name)) => name.clone(),
        (more, _) => format!("{kind} ({more})"),
    }
}

fn service(pair: &Pair) -> Option<String> {
    let service = pair.service.as_deref()?;
    let name = match &service.namespace {
        Some(namespace) => format!("{namespace}/{}", service.name),
        None => service.name.clone(),
    };
    Some(match service.port {
        Some(port) => format!("{name}:{port}"),
        None => name,
    })
}

fn port(pair: &Pair) -> String {
    let protocol = match pair.protocol {
        1 | 58 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        132 => "sctp".to_owned(),
        other => format!("protocol {other}"),
    };
    match pair.port {
        Some(port) => format!("{port}/{protocol}"),
        None => protocol,
    }
}

fn about(pair: &Pair) -> Value {
    json!({
        "from": end(&pair.from),
        "to": end(&pair.to),
        "service": service(pair),
        "protocol": pair.protocol,
        "port": pair.port,
        "connections": pair.seen.connections,
        "allowed": pair.seen.allowed,
        "denied": pair.seen.denied,
        "first": pair.seen.first,
        "last": pair.seen.last,
    })
}

fn end(end: &End) -> Value {
    json!({"address": end.address, "endpoint": end.endpoint})
}
