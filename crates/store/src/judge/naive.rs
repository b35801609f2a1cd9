use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use netverdict_query::ask::{Answer, Ask, Cell, Groups, Measure, Order, Want};
use netverdict_query::{Field, Record};
use netverdict_types::{Connection, ConnectionId, Direction, Timestamp};

use crate::{Batch, State, Store, StoreError};

/// A store in memory: everything is folded for each question, and looked at one by one.
#[derive(Debug, Default)]
pub struct Naive {
    /// Rows that there is room for; no bound if it is `None`.
    room: Option<usize>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    last: HashMap<String, u64>,
    rows: VecDeque<Connection>,
    /// Rows that made room for younger ones.
    removed: u64,
}

impl Naive {
    /// A store that keeps so many rows: those that came first go for those that come, and are counted
    /// as removed.
    pub fn with_room(rows: usize) -> Self {
        Self {
            room: Some(rows),
            ..Self::default()
        }
    }

    /// Keeps a batch.
    pub fn keep(&self, batch: &Batch) {
        let mut kept = self.kept();
        let last = kept.last.get(&batch.writer).copied();
        if last.is_some_and(|last| last >= batch.number) {
            return;
        }
        kept.last.insert(batch.writer.clone(), batch.number);
        kept.rows.extend(batch.rows.iter().cloned());
        let beyond = self
            .room
            .map_or(0, |room| kept.rows.len().saturating_sub(room));
        kept.rows.drain(..beyond);
        kept.removed += beyond as u64;
    }

    /// All connections, updates folded, by id.
    pub fn folded(&self) -> Vec<Connection> {
        let mut connections: BTreeMap<ConnectionId, Connection> = BTreeMap::new();
        for row in &self.kept().rows {
            match connections.get_mut(&row.id) {
                Some(known) => known.fold(row),
                None => drop(connections.insert(row.id, row.clone())),
            }
        }
        connections.into_values().collect()
    }

    /// The answer.
    pub fn answer(&self, ask: &Ask) -> Answer {
        match &ask.want {
            Want::Rows { limit, .. } => Answer::of_rows(&self.all(ask), *limit),
            Want::Groups(groups) => grouped(groups, &self.all(ask)),
        }
    }

    /// The connections of the answer.
    pub fn rows(&self, ask: &Ask) -> Vec<Connection> {
        let mut rows = self.all(ask);
        if let Want::Rows { limit, .. } = ask.want {
            rows.truncate(limit);
        }
        rows
    }

    /// All that match, newest first, those behind the cursor if there is one.
    fn all(&self, ask: &Ask) -> Vec<Connection> {
        let mut found = self.folded();
        found.retain(|it| it.end >= ask.since && it.start < ask.until);
        found.retain(|it| ask.filter.matches(it));
        if let Want::Rows {
            after: Some(after), ..
        } = &ask.want
        {
            found.retain(|it| (it.end, it.id.0) < (after.end, after.id));
        }
        found.sort_by_key(|it| std::cmp::Reverse((it.end, it.id)));
        found
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Its values, and what is told of it.
type Group = (Vec<Cell>, Vec<Cell>);

fn grouped(groups: &Groups, connections: &[Connection]) -> Answer {
    let mut members: BTreeMap<(Option<i64>, Vec<Cell>), Vec<&Connection>> = BTreeMap::new();
    for connection in connections {
        let bucket = groups
            .every
            .map(|length| connection.end.0.div_euclid(length) * length);
        for key in keys(&groups.by, connection) {
            members.entry((bucket, key)).or_default().push(connection);
        }
    }
    let total = members.len() as u64;
    let mut buckets: BTreeMap<Option<i64>, Vec<Group>> = BTreeMap::new();
    for ((bucket, key), members) in members {
        let told = groups.measures.iter().map(|it| told(*it, &members));
        let told = told.collect();
        buckets.entry(bucket).or_default().push((key, told));
    }
    let mut lines = Vec::new();
    for (bucket, mut groups_in_it) in buckets {
        // Groups stand by their values; sorting keeps that among equal measures.
        match groups.order {
            Some((index, Order::Ascending)) => {
                groups_in_it.sort_by(|(_, a), (_, b)| a[index].cmp(&b[index]));
            }
            Some((index, Order::Descending)) => {
                groups_in_it.sort_by(|(_, a), (_, b)| b[index].cmp(&a[index]));
            }
            None => {}
        }
        groups_in_it.truncate(groups.top);
        for (key, told) in groups_in_it {
            let bucket = bucket.map(Cell::Number);
            lines.push(bucket.into_iter().chain(key).chain(told).collect());
        }
    }
    Answer {
        columns: groups.columns(),
        lines,
        next: None,
        total,
    }
}

/// The groups that a connection counts in.
fn keys(by: &[Field], connection: &Connection) -> BTreeSet<Vec<Cell>> {
    let key = |half: Direction| {
        let cells = by.iter().map(|field| connection.value(field.at(half)));
        cells.map(Cell::from).collect::<Vec<_>>()
    };
    let halves = [
        connection.egress.is_some().then_some(Direction::Egress),
        connection.ingress.is_some().then_some(Direction::Ingress),
    ];
    let mut keys: BTreeSet<_> = halves.into_iter().flatten().map(key).collect();
    if keys.is_empty() {
        keys.insert(key(Direction::Egress));
    }
    keys
}

fn told(measure: Measure, members: &[&Connection]) -> Cell {
    let numbers = |field| {
        members
            .iter()
            .filter_map(move |it| match Cell::from(it.value(field)) {
                Cell::Number(number) => Some(number),
                _ => None,
            })
    };
    let cell = |number: Option<i64>| number.map_or(Cell::Missing, Cell::Number);
    match measure {
        Measure::Count => Cell::Number(members.len() as i64),
        Measure::Sum(field) => cell(numbers(field).reduce(i64::saturating_add)),
        Measure::Min(field) => cell(numbers(field).min()),
        Measure::Max(field) => cell(numbers(field).max()),
        Measure::Distinct(namespace, field) => {
            let values = members.iter().map(|it| {
                let namespace = namespace.map(|field| Cell::from(it.value(field)));
                (namespace, Cell::from(it.value(field)))
            });
            let values: BTreeSet<_> = values.filter(|(_, it)| *it != Cell::Missing).collect();
            Cell::Number(values.len() as i64)
        }
    }
}

impl Store for Naive {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            self.keep(&batch);
            Ok(())
        }
        .boxed()
    }

    fn ask<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Answer, StoreError>> {
        async move {
            ask.check()?;
            Ok(self.answer(ask))
        }
        .boxed()
    }

    fn connections<'a>(
        &'a self,
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Connection>, StoreError>> {
        async move { Ok(self.rows(ask)) }.boxed()
    }

    fn last<'a>(&'a self, writer: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        async move { Ok(self.kept().last.get(writer).copied()) }.boxed()
    }

    fn state(&self) -> BoxFuture<'_, Result<State, StoreError>> {
        async move {
            let kept = self.kept();
            let start = kept.rows.iter().map(|it| it.start).min();
            let end = kept.rows.iter().map(|it| Timestamp(it.end.0 + 1)).max();
            Ok(State {
                rows: kept.rows.len() as u64,
                span: start.zip(end).map(|(start, end)| start..end),
                removed: kept.removed,
                ..State::default()
            })
        }
        .boxed()
    }
}
