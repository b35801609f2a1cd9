//! Groups of rows that ClickHouse made, and of connections that were folded here, together.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use netverdict_query::ask::{Answer, Cell, Groups, Measure};
use netverdict_query::{Field, Record};
use netverdict_store::Type;
use netverdict_types::{Connection, Direction};

use crate::binary::Reader;
use crate::error::ClickHouseError;
use crate::sql::{GroupsSql, MeasureKind};

/// Groups by their bucket and values, and what is told of each.
pub(crate) struct Table<'a> {
    groups: &'a Groups,
    lines: BTreeMap<(Option<i64>, Vec<Cell>), Vec<Told>>,
}

enum Told {
    Number(Option<i64>),
    Pairs(HashSet<(Cell, Cell)>),
}

impl<'a> Table<'a> {
    pub(crate) fn new(groups: &'a Groups) -> Self {
        Self {
            groups,
            lines: BTreeMap::new(),
        }
    }

    /// Takes what ClickHouse answered.
    pub(crate) fn read(&mut self, sql: &GroupsSql, bytes: &[u8]) -> Result<(), ClickHouseError> {
        let mut reader = Reader::new(bytes);
        while !reader.is_done() {
            let bucket = match self.groups.every {
                Some(_) => Some(reader.number()?),
                None => None,
            };
            let key = sql.keys.iter().map(|kind| reader.nullable(*kind));
            let key = key.collect::<Result<Vec<_>, _>>()?;
            let mut told = Vec::with_capacity(sql.measures.len());
            for kind in &sql.measures {
                told.push(match kind {
                    MeasureKind::Number => Told::Number(match reader.nullable(Type::Number)? {
                        Cell::Number(number) => Some(number),
                        _ => None,
                    }),
                    MeasureKind::Pairs(one, two) => {
                        let count = reader.length()?;
                        let mut pairs = HashSet::new();
                        for _ in 0..count {
                            pairs.insert((reader.nullable(*one)?, reader.nullable(*two)?));
                        }
                        Told::Pairs(pairs)
                    }
                });
            }
            reader.number()?; // The rows of the group.
            self.lines.insert((bucket, key), told);
        }
        Ok(())
    }

    /// Takes a connection that matches.
    pub(crate) fn add(&mut self, connection: &Connection) {
        let bucket = self
            .groups
            .every
            .map(|length| connection.end.0.div_euclid(length) * length);
        for key in keys(&self.groups.by, connection) {
            let told = self.lines.entry((bucket, key)).or_insert_with(|| {
                let new = |it: &Measure| match it {
                    Measure::Distinct(..) => Told::Pairs(HashSet::new()),
                    Measure::Count => Told::Number(Some(0)),
                    _ => Told::Number(None),
                };
                self.groups.measures.iter().map(new).collect()
            });
            for (measure, told) in self.groups.measures.iter().zip(told) {
                told.add(*measure, connection);
            }
        }
    }

    pub(crate) fn answer(self) -> Answer {
        let line = |((bucket, key), told): ((Option<i64>, Vec<Cell>), Vec<Told>)| {
            let bucket = bucket.map(Cell::Number);
            let told = told.into_iter().map(|told| match told {
                Told::Number(number) => number.map_or(Cell::Missing, Cell::Number),
                Told::Pairs(pairs) => Cell::Number(pairs.len() as i64),
            });
            bucket.into_iter().chain(key).chain(told).collect()
        };
        let lines = self.lines.into_iter().map(line).collect();
        Answer::of_groups(self.groups, lines)
    }
}

impl Told {
    fn add(&mut self, measure: Measure, connection: &Connection) {
        let cell = |field: Field| Cell::from(connection.value(field));
        let (field, join): (Field, fn(i64, i64) -> i64) = match (measure, &mut *self) {
            (Measure::Count, Self::Number(number)) => {
                *number = number.map(|number| number + 1);
                return;
            }
            (Measure::Distinct(namespace, field), Self::Pairs(pairs)) => {
                let value = cell(field);
                if value != Cell::Missing {
                    pairs.insert((namespace.map_or(Cell::Missing, cell), value));
                }
                return;
            }
            (Measure::Sum(field), _) => (field, i64::saturating_add),
            (Measure::Min(field), _) => (field, i64::min),
            (Measure::Max(field), _) => (field, i64::max),
            _ => return,
        };
        if let (Self::Number(number), Cell::Number(more)) = (self, cell(field)) {
            *number = Some(number.map_or(more, |number| join(number, more)));
        }
    }
}

/// The groups that a connection counts in.
fn keys(by: &[Field], connection: &Connection) -> BTreeSet<Vec<Cell>> {
    let key = |half: Direction| -> Vec<_> {
        let values = by.iter().map(|field| connection.value(field.at(half)));
        values.map(Cell::from).collect()
    };
    let egress = connection.egress.is_some().then_some(Direction::Egress);
    let ingress = connection.ingress.is_some().then_some(Direction::Ingress);
    let mut keys: BTreeSet<_> = [egress, ingress].into_iter().flatten().map(key).collect();
    if keys.is_empty() {
        keys.insert(key(Direction::Egress));
    }
    keys
}
