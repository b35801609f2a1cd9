use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts as Request;
use netverdict_query::ask::{Answer, Ask, Cell, Groups, Measure, Order, Want};
use netverdict_query::{Field, Plan, Query};
use netverdict_types::{Clock, Connection, Direction};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use crate::access::{Ticket, Unasked};
use crate::app::App;
use crate::cluster::{
    Asker, Encoder, ExplainRequest, Isolation, KnownPolicy, KnownRule, PolicyName, WhatifRequest,
    Workload,
};
use crate::limits::Limits;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::params::Range;
use crate::problem::Problem;
use crate::subject::{Side, Subject};

/// What one subject may have of a server: all that questions are answered from.
#[derive(Clone)]
pub(crate) struct Scoped {
    app: App,
    subject: Subject,
    ticket: Option<Ticket>,
}

/// Groups of which lists are made; of a tenant's question, and of each that it is made of.
const GROUPS: usize = 100_000;

impl FromRequestParts<App> for Scoped {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Request, app: &App) -> Result<Self, Problem> {
        // No path leads here past the question who asks; were there one, it would end here.
        if parts.extensions.get::<Unasked>().is_some() {
            return Err(Problem::unauthorized());
        }
        let subject = parts.extensions.get::<Subject>().cloned();
        Ok(Self {
            app: app.clone(),
            subject: subject.unwrap_or_else(Subject::everyone),
            ticket: parts.extensions.get::<Ticket>().cloned(),
        })
    }
}

impl Scoped {
    /// Looks again who asks and what they may see, for answers that go on for long.
    pub(crate) async fn renew(&mut self) -> Result<(), Problem> {
        if let Some(ticket) = &self.ticket {
            self.subject = ticket.subject().await?;
        }
        Ok(())
    }

    /// Answers a question for groups.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Answer, Problem> {
        self.app.work(self.answer(ask)).await
    }

    async fn answer(&self, mut ask: Ask) -> Result<Answer, Problem> {
        ask.check().map_err(netverdict_store::StoreError::from)?;
        ask.filter = self.subject.restrict(ask.filter);
        if self.subject.sees_all() {
            return Ok(self.app.store().ask(&ask).await?);
        }
        match ask.want.clone() {
            Want::Rows { limit, after } => {
                let limit_and_one = limit.saturating_add(1);
                ask.want = Want::Rows {
                    limit: limit_and_one,
                    after,
                };
                let rows = self.rows(&ask).await?;
                let rows: Vec<Connection> = rows.into_iter().map(Arc::unwrap_or_clone).collect();
                Ok(Answer::of_rows(&rows, limit))
            }
            Want::Groups(groups) => self.groups(&ask, &groups).await,
        }
    }

    /// All groups of those that match within a time; if there are too many, the asker is told.
    pub(crate) async fn all_groups(
        &self,
        range: Range,
        query: &Query,
        groups: Groups,
    ) -> Result<Vec<Vec<Cell>>, Problem> {
        match self.most_groups(range, query, groups).await? {
            (lines, 0) => Ok(lines),
            _ => Err(too_many()),
        }
    }

    /// As many groups as can be looked at, and how many there are beyond.
    pub(crate) async fn most_groups(
        &self,
        range: Range,
        query: &Query,
        groups: Groups,
    ) -> Result<(Vec<Vec<Cell>>, u64), Problem> {
        let want = Want::Groups(Groups {
            top: GROUPS,
            ..groups
        });
        let answer = self.ask(range.ask(query, want)).await?;
        let more = answer.total.saturating_sub(answer.lines.len() as u64);
        Ok((answer.lines, more))
    }

    /// Whole connections, newest first.
    pub(crate) async fn connections(&self, mut ask: Ask) -> Result<Vec<Arc<Connection>>, Problem> {
        ask.filter = self.subject.restrict(ask.filter);
        self.app.work(self.rows(&ask)).await
    }

    /// An update as it may be seen, if at all; filters are asked of what is given back.
    pub(crate) fn update(&self, update: Arc<Connection>) -> Option<Arc<Connection>> {
        self.subject.shows(update)
    }

    /// Where updates come from; each goes through [`Scoped::update`].
    pub(crate) fn live(&self) -> &Arc<Live> {
        self.app.live()
    }

    /// The right to stream; it ends with what is returned.
    pub(crate) fn stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.app.stream()
    }

    /// The rules in force.
    pub(crate) fn rules(&self) -> Vec<KnownRule> {
        let mut rules = self.app.cluster().rules();
        rules.retain(|rule| self.subject.shows_owner(&rule.owner));
        rules
    }

    /// Who is there.
    pub(crate) fn workloads(&self) -> Vec<Workload> {
        let mut all = self.app.cluster().workloads();
        all.retain(|it| self.subject.shows_namespace(it.namespace.as_deref()));
        all
    }

    /// An explanation; of a tenant's ends to the tenant.
    pub(crate) async fn explain(&self, question: ExplainRequest) -> Result<Value, Problem> {
        for end in [&question.from, &question.to] {
            if !self.subject.sees_all() && !self.subject.shows_namespace(namespace(end)) {
                return Err(Problem::forbidden(format!(
                    "{end:?} is in no namespace that you may see: both ends must be, as namespace/pod or svc/namespace/name"
                )));
            }
        }
        let answer = async { Ok(self.app.cluster().explain(question, self.asker()).await?) };
        self.app.work(answer).await
    }

    /// A policy as it stands; a tenant's own to the tenant.
    pub(crate) async fn policy(&self, mut name: PolicyName) -> Result<KnownPolicy, Problem> {
        // An address that names no namespace may have an empty one.
        name.namespace = name.namespace.filter(|it| !it.is_empty());
        name.name = name.name.filter(|it| !it.is_empty());
        if !self.subject.shows_namespace(name.namespace.as_deref()) {
            return Err(Problem::forbidden(
                "the policy is in no namespace that you may see",
            ));
        }
        let answer = async { Ok(self.app.cluster().policy(name, self.asker()).await?) };
        self.app.work(answer).await
    }

    /// Who isolates a pod; of a tenant's pods to the tenant, and of their own policies.
    pub(crate) async fn isolation(&self, pod: String) -> Result<Isolation, Problem> {
        let namespace = pod.split_once('/').map(|(namespace, _)| namespace);
        if !self.subject.shows_namespace(namespace) {
            return Err(Problem::forbidden(
                "the pod is in no namespace that you may see: name it as namespace/name",
            ));
        }
        let answer = async { Ok(self.app.cluster().isolation(pod).await?) };
        let mut isolation = self.app.work(answer).await?;
        for direction in [&mut isolation.ingress, &mut isolation.egress] {
            direction
                .asked
                .retain(|owner| self.subject.shows_owner(owner));
        }
        Ok(isolation)
    }

    /// What other policies would change; of a tenant's connections to the tenant.
    pub(crate) async fn whatif(&self, question: WhatifRequest) -> Result<Value, Problem> {
        let answer = async { Ok(self.app.cluster().whatif(question, self.asker()).await?) };
        self.app.work(answer).await
    }

    fn asker(&self) -> Asker {
        Asker::new(self.app.unscoped().store.clone(), self.subject.clone())
    }

    /// All that there is, for those who may see all.
    pub(crate) fn whole(&self) -> Result<&App, Problem> {
        match self.subject.sees_all() {
            true => Ok(&self.app),
            false => Err(Problem::forbidden(
                "this tells of the whole cluster: it needs a role with the namespaces \"*\"",
            )),
        }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.app.clock()
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        self.app.metrics()
    }

    pub(crate) fn limits(&self) -> &Limits {
        self.app.limits()
    }

    pub(crate) fn parquet(&self) -> Option<Encoder> {
        self.app.parquet()
    }

    async fn rows(&self, ask: &Ask) -> Result<Vec<Arc<Connection>>, Problem> {
        let rows = self.app.store().connections(ask).await?.into_iter();
        Ok(rows
            .filter_map(|row| self.subject.shows(Arc::new(row)))
            .collect())
    }

    /// Groups as they are of connections that hide some values. Connections that hide the same
    /// are asked about together, without what they hide, and the answers are joined.
    async fn groups(&self, ask: &Ask, groups: &Groups) -> Result<Answer, Problem> {
        let mut joined = Joined::new(groups);
        for seen in Seen::all(groups) {
            let filter = Plan::And(vec![seen.filter(&self.subject), ask.filter.clone()]);
            let ask = |by: Vec<Field>, measures: Vec<Measure>| Ask {
                since: ask.since,
                until: ask.until,
                filter: filter.clone(),
                want: Want::Groups(Groups {
                    by,
                    every: groups.every,
                    measures,
                    order: None,
                    top: GROUPS,
                }),
            };
            let by = seen.fields(&groups.by);
            let shown: Vec<Field> = by.iter().copied().flatten().collect();
            let is_told = |measure: &Measure| match measure {
                Measure::Count => true,
                Measure::Sum(field) | Measure::Min(field) | Measure::Max(field) => {
                    seen.shows(*field)
                }
                Measure::Distinct(..) => false,
            };
            let told: Vec<bool> = groups.measures.iter().map(is_told).collect();
            let measures = groups.measures.iter().zip(&told).filter(|(_, told)| **told);
            // Also where nothing is told of them, groups are there.
            let measures = std::iter::once(Measure::Count).chain(measures.map(|(it, _)| *it));
            let lines = self.lines(ask(shown.clone(), measures.collect())).await?;
            for line in lines {
                joined.add(&by, &told, line);
            }
            for (place, measure) in groups.measures.iter().enumerate() {
                let Measure::Distinct(namespace, field) = *measure else {
                    continue;
                };
                if !seen.shows(field) {
                    continue;
                }
                let namespace = namespace.filter(|it| seen.shows(*it));
                let mut by_value = shown.clone();
                by_value.extend(namespace);
                by_value.push(field);
                for line in self.lines(ask(by_value, vec![Measure::Count])).await? {
                    joined.add_value(&by, namespace.is_some(), place, line);
                }
            }
            if joined.groups.len() > GROUPS {
                return Err(too_many());
            }
        }
        Ok(joined.answer())
    }

    async fn lines(&self, ask: Ask) -> Result<Vec<Vec<Cell>>, Problem> {
        let answer = self.app.store().ask(&ask).await?;
        match answer.total > answer.lines.len() as u64 {
            true => Err(too_many()),
            false => Ok(answer.lines),
        }
    }
}

fn too_many() -> Problem {
    Problem::parameter(
        "q",
        format_args!(
            "makes more than {GROUPS} groups: ask for a shorter time, or for groups of fewer fields"
        ),
    )
}

/// The namespace of an end, as questions for explanations name it.
fn namespace(end: &str) -> Option<&str> {
    let end = end.split('@').next().unwrap_or(end);
    match *end.split('/').collect::<Vec<_>>() {
        ["svc", namespace, _] | [namespace, _] if namespace != "node" => Some(namespace),
        _ => None,
    }
}

/// Which sides are seen of some connections: `None` for a side that is not asked about.
#[derive(Clone, Copy, Debug)]
struct Seen([Option<bool>; 3]);

impl Seen {
    /// All that there are, as far as they make a difference to a question.
    fn all(groups: &Groups) -> Vec<Self> {
        let measured = groups.measures.iter().flat_map(|measure| match measure {
            Measure::Count => [None, None],
            Measure::Sum(field) | Measure::Min(field) | Measure::Max(field) => [Some(*field), None],
            Measure::Distinct(namespace, field) => [Some(*field), *namespace],
        });
        let fields: Vec<Field> = measured
            .flatten()
            .chain(groups.by.iter().copied())
            .collect();
        let halves = [Direction::Egress, Direction::Ingress];
        let asked = Side::ALL.map(|side| {
            let mut sides = fields
                .iter()
                .flat_map(|field| halves.map(|half| Side::of(field.at(half))));
            sides.any(|it| it == Some(side))
        });
        let mut all = vec![Self([None; 3])];
        for (place, asked) in asked.into_iter().enumerate() {
            if asked {
                let split = |seen: Self, shown| {
                    let Self(mut sides) = seen;
                    sides[place] = Some(shown);
                    Self(sides)
                };
                all = all
                    .into_iter()
                    .flat_map(|seen| [split(seen, true), split(seen, false)])
                    .collect();
            }
        }
        // One end is the tenant's.
        all.retain(|Self([src, dst, _])| (*src, *dst) != (Some(false), Some(false)));
        all
    }

    fn filter(self, subject: &Subject) -> Plan {
        let sides = Side::ALL.into_iter().zip(self.0);
        let tests = sides.filter_map(|(side, seen)| {
            Some(match seen? {
                true => subject.owns(side),
                false => Plan::Not(Box::new(subject.owns(side))),
            })
        });
        Plan::And(tests.collect())
    }

    fn is_seen(self, side: Side) -> bool {
        let place = Side::ALL.iter().position(|it| *it == side);
        place.and_then(|place| self.0[place]).unwrap_or(true)
    }

    fn shows(self, field: Field) -> bool {
        Side::of(field).is_none_or(|side| self.is_seen(side))
    }

    /// The fields as they are seen; of either half only the one that is.
    fn fields(self, by: &[Field]) -> Vec<Option<Field>> {
        let half = match (self.is_seen(Side::Src), self.is_seen(Side::Dst)) {
            (true, true) => None,
            (true, false) => Some(Direction::Egress),
            (false, _) => Some(Direction::Ingress),
        };
        let named = |field: &Field| half.map_or(*field, |half| field.at(half));
        by.iter()
            .map(named)
            .map(|field| self.shows(field).then_some(field))
            .collect()
    }
}

/// The values of a group, and what is told of it.
type Group = (Vec<Cell>, Vec<Cell>);

/// A bucket's start, and the values of a group.
type Key = (Option<Cell>, Vec<Cell>);

/// Answers on their way to one.
struct Joined<'a> {
    question: &'a Groups,
    groups: BTreeMap<Key, Vec<Cell>>,
    /// The different values of a group and a measure.
    values: BTreeMap<(Key, usize), BTreeSet<(Cell, Cell)>>,
}

impl<'a> Joined<'a> {
    fn new(question: &'a Groups) -> Self {
        Self {
            question,
            groups: BTreeMap::new(),
            values: BTreeMap::new(),
        }
    }

    /// Takes a line of those fields that are seen, a count, and those measures that are told.
    fn add(&mut self, by: &[Option<Field>], told: &[bool], line: Vec<Cell>) {
        let mut line = line.into_iter();
        let key = self.key(by, &mut line);
        let _count = line.next();
        let nothing = || vec![Cell::Missing; told.len()];
        let cells = self.groups.entry(key).or_insert_with(nothing);
        let told = told.iter().zip(&self.question.measures);
        for (cell, (_, measure)) in cells.iter_mut().zip(told).filter(|(_, (told, _))| **told) {
            let more = line.next().unwrap_or(Cell::Missing);
            *cell = both(*measure, std::mem::replace(cell, Cell::Missing), more);
        }
    }

    /// Takes a line of those fields that are seen, and a value that is there.
    fn add_value(
        &mut self,
        by: &[Option<Field>],
        has_namespace: bool,
        place: usize,
        line: Vec<Cell>,
    ) {
        let mut line = line.into_iter();
        let key = self.key(by, &mut line);
        let namespace = has_namespace.then(|| line.next()).flatten();
        if let Some(value) = line.next().filter(|value| *value != Cell::Missing) {
            let values = self.values.entry((key, place)).or_default();
            values.insert((namespace.unwrap_or(Cell::Missing), value));
        }
    }

    fn key(&self, by: &[Option<Field>], line: &mut impl Iterator<Item = Cell>) -> Key {
        let bucket = self.question.every.and_then(|_| line.next());
        let values = by.iter().map(|field| field.and_then(|_| line.next()));
        let values = values.map(|cell| cell.unwrap_or(Cell::Missing));
        (bucket, values.collect())
    }

    fn answer(self) -> Answer {
        let Self {
            question,
            groups,
            mut values,
        } = self;
        let total = groups.len() as u64;
        let mut buckets: BTreeMap<Option<Cell>, Vec<Group>> = BTreeMap::new();
        for (key, mut told) in groups {
            for (place, measure) in question.measures.iter().enumerate() {
                if let Measure::Distinct(..) = measure {
                    let values = values.remove(&(key.clone(), place)).unwrap_or_default();
                    told[place] = Cell::Number(i64::try_from(values.len()).unwrap_or(i64::MAX));
                }
            }
            let (bucket, by) = key;
            buckets.entry(bucket).or_default().push((by, told));
        }
        let mut lines = Vec::new();
        for (bucket, mut groups) in buckets {
            // Equal measures keep the order of the values.
            if let Some((index, order)) = question.order {
                groups.sort_by(|(_, one), (_, two)| Order::of(order, one[index].cmp(&two[index])));
            }
            groups.truncate(question.top);
            for (by, told) in groups {
                lines.push(bucket.clone().into_iter().chain(by).chain(told).collect());
            }
        }
        Answer {
            columns: question.columns(),
            lines,
            next: None,
            total,
        }
    }
}

/// A measure of two groups that are one.
fn both(measure: Measure, one: Cell, two: Cell) -> Cell {
    match (measure, one, two) {
        (_, Cell::Missing, known) | (_, known, Cell::Missing) => known,
        (Measure::Min(_), one, two) => one.min(two),
        (Measure::Max(_), one, two) => one.max(two),
        (_, Cell::Number(one), Cell::Number(two)) => Cell::Number(one.saturating_add(two)),
        (_, one, _) => one,
    }
}

#[cfg(test)]
mod tests;
