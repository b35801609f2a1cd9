//! An [`Ask`] over records as they come, within bounded memory.

use std::cmp::Ordering;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher};

use netverdict_types::Direction;

use crate::ask::{Answer, Ask, AskError, Cell, Cursor, Groups, Measure, Want, row, row_columns};
use crate::field::{Field, HalfField};
use crate::plan::HALVES;
use crate::record::{Record, Value};

/// The answer so far to an [`Ask`], over records that come one by one, in any order.
///
/// Records are final: of a connection with several updates it takes the folded one.
#[derive(Debug)]
pub struct Live {
    ask: Ask,
    limit: usize,
    kept: Kept,
    lost: u64,
}

#[derive(Debug)]
enum Kept {
    Rows(Rows),
    Groups(Table),
}

impl Live {
    /// Nothing so far. At most `limit` rows, or groups and different values together, are kept.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn new(ask: Ask, limit: usize) -> Result<Self, AskError> {
        ask.check()?;
        let kept = match &ask.want {
            Want::Rows { .. } => Kept::Rows(Rows::default()),
            Want::Groups(_) => Kept::Groups(Table::default()),
        };
        Ok(Self {
            ask,
            limit,
            kept,
            lost: 0,
        })
    }

    /// Takes a record. It allocates nothing for one that does not match, nor for one that counts
    /// in a group that is known, unless different values are to be told.
    pub fn add<R: Record + ?Sized>(&mut self, record: &R) {
        if !self.ask.matches(record) {
            return;
        }
        match (&mut self.kept, &self.ask.want) {
            (Kept::Rows(rows), Want::Rows { limit, after }) => {
                rows.add(record, (*limit).min(self.limit), *after);
            }
            (Kept::Groups(table), Want::Groups(groups)) => {
                self.lost += table.add(record, groups, self.limit);
            }
            _ => {}
        }
    }

    /// The answer so far.
    pub fn answer(&self) -> Answer {
        match (&self.kept, &self.ask.want) {
            (Kept::Groups(table), Want::Groups(groups)) => Answer::of_groups(groups, table.lines()),
            (Kept::Rows(rows), Want::Rows { limit, .. }) => rows.answer((*limit).min(self.limit)),
            _ => Answer::default(),
        }
    }

    /// How often the limit kept something out: a record of a group that is not kept, or a value
    /// that is not told among the different ones. While it is 0 the answer is exact; else groups
    /// that are there are, but for how many different values they have.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

/// The newest rows, by end, id and arrival. What does not fit comes behind the cursor of the
/// answer, and is not lost.
#[derive(Debug, Default)]
struct Rows {
    rows: BTreeMap<(i64, u128, u64), Vec<Cell>>,
    arrived: u64,
}

impl Rows {
    /// One more than the limit is kept, to know whether there are more.
    fn add<R: Record + ?Sized>(&mut self, record: &R, limit: usize, after: Option<Cursor>) {
        let end = match record.value(Field::End) {
            Value::Number(end) => end,
            _ => 0,
        };
        let place = (end, record.id());
        if after.is_some_and(|after| place >= (after.end.0, after.id)) {
            return;
        }
        self.arrived += 1;
        let place = (place.0, place.1, self.arrived);
        let is_full = self.rows.len() > limit;
        let last = self.rows.first_key_value().map(|(last, _)| *last);
        if is_full && last.is_some_and(|last| place < last) {
            return;
        }
        self.rows.insert(place, row(record));
        if is_full {
            self.rows.pop_first();
        }
    }

    fn answer(&self, limit: usize) -> Answer {
        let shown = self.rows.iter().rev().take(limit);
        let next = match self.rows.len() > limit {
            true => shown.clone().next_back().map(|((end, id, _), _)| Cursor {
                end: netverdict_types::Timestamp(*end),
                id: *id,
            }),
            false => None,
        };
        Answer {
            columns: row_columns(),
            lines: shown.map(|(_, row)| row.clone()).collect(),
            next,
            total: 0,
        }
    }
}

/// Groups, found by the hash of their values.
#[derive(Debug, Default)]
struct Table {
    groups: Vec<Group>,
    /// The last group of each hash.
    heads: HashMap<u64, usize>,
    hash: RandomState,
    /// Different values that are kept.
    values: usize,
}

#[derive(Debug)]
struct Group {
    bucket: Option<i64>,
    key: Vec<Cell>,
    told: Vec<Told>,
    /// Another group of the same hash.
    other: Option<usize>,
}

#[derive(Debug)]
enum Told {
    Number(Option<i64>),
    Different(HashSet<(Cell, Cell)>),
}

impl Table {
    fn add<R: Record + ?Sized>(&mut self, record: &R, groups: &Groups, limit: usize) -> u64 {
        let bucket = match (groups.every, record.value(Field::End)) {
            (Some(length), Value::Number(end)) => Some(end.div_euclid(length) * length),
            (Some(_), _) => Some(0),
            (None, _) => None,
        };
        let has = |half: Direction| record.value(HalfField::Verdict.of(half)) != Value::Missing;
        let by_half = record.has_halves() && groups.has_halves();
        let counted: &[Direction] = match (by_half, HALVES.map(has)) {
            (true, [true, true]) if !is_same(record, &groups.by) => &HALVES,
            (true, [false, true]) => &HALVES[1..],
            _ => &HALVES[..1],
        };
        let mut lost = 0;
        for half in counted {
            let half = record.has_halves().then_some(*half);
            match self.find(record, groups, bucket, half, limit) {
                Some(group) => lost += self.tell(record, groups, group, limit),
                None => lost += 1,
            }
        }
        lost
    }

    /// The group of these values; `None` where there is no room for a new one.
    fn find<R: Record + ?Sized>(
        &mut self,
        record: &R,
        groups: &Groups,
        bucket: Option<i64>,
        half: Option<Direction>,
        limit: usize,
    ) -> Option<usize> {
        let values = || groups.by.iter().map(|field| value_at(record, *field, half));
        let mut hasher = self.hash.build_hasher();
        bucket.hash(&mut hasher);
        values().for_each(|value| value.hash(&mut hasher));
        let hash = hasher.finish();
        let head = self.heads.get(&hash).copied();
        let mut next = head;
        while let Some(index) = next {
            let group = &self.groups[index];
            let same = group.key.iter().zip(values()).all(|(one, two)| one.is(two));
            if same && group.bucket == bucket {
                return Some(index);
            }
            next = group.other;
        }
        if self.groups.len() + self.values >= limit {
            return None;
        }
        let told = groups.measures.iter().map(|measure| match measure {
            Measure::Count => Told::Number(Some(0)),
            Measure::Distinct(..) => Told::Different(HashSet::new()),
            _ => Told::Number(None),
        });
        self.groups.push(Group {
            bucket,
            key: values().map(Cell::from).collect(),
            told: told.collect(),
            other: head,
        });
        let index = self.groups.len() - 1;
        self.heads.insert(hash, index);
        Some(index)
    }

    fn tell<R: Record + ?Sized>(
        &mut self,
        record: &R,
        groups: &Groups,
        group: usize,
        limit: usize,
    ) -> u64 {
        let mut lost = 0;
        let room = limit.saturating_sub(self.groups.len());
        for (told, measure) in self.groups[group].told.iter_mut().zip(&groups.measures) {
            let number = |field| match record.value(field) {
                Value::Number(number) => Some(number),
                _ => None,
            };
            match (told, *measure) {
                (Told::Number(Some(count)), Measure::Count) => *count += 1,
                (Told::Number(sum), Measure::Sum(field)) => {
                    *sum = join(*sum, number(field), i64::saturating_add);
                }
                (Told::Number(least), Measure::Min(field)) => {
                    *least = join(*least, number(field), i64::min);
                }
                (Told::Number(greatest), Measure::Max(field)) => {
                    *greatest = join(*greatest, number(field), i64::max);
                }
                (Told::Different(values), Measure::Distinct(namespace, field)) => {
                    let namespace = namespace.map_or(Value::Missing, |it| record.value(it));
                    let pair = match record.value(field) {
                        Value::Missing => continue,
                        value => (Cell::from(namespace), Cell::from(value)),
                    };
                    if values.contains(&pair) {
                    } else if self.values < room {
                        self.values += 1;
                        values.insert(pair);
                    } else {
                        lost += 1;
                    }
                }
                _ => {}
            }
        }
        lost
    }

    fn lines(&self) -> Vec<Vec<Cell>> {
        let line = |group: &Group| {
            let bucket = group.bucket.map(Cell::Number);
            let told = group.told.iter().map(|told| match told {
                Told::Number(number) => number.map_or(Cell::Missing, Cell::Number),
                Told::Different(values) => Cell::Number(values.len() as i64),
            });
            let key = group.key.iter().cloned();
            bucket.into_iter().chain(key).chain(told).collect()
        };
        self.groups.iter().map(line).collect()
    }
}

fn value_at<R: Record + ?Sized>(record: &R, field: Field, half: Option<Direction>) -> Value<'_> {
    record.value(half.map_or(field, |half| field.at(half)))
}

/// True where both halves make the same group.
fn is_same<R: Record + ?Sized>(record: &R, by: &[Field]) -> bool {
    let of = |half| {
        by.iter()
            .map(move |field: &Field| record.value(field.at(half)))
    };
    of(Direction::Egress).eq(of(Direction::Ingress))
}

fn join(one: Option<i64>, two: Option<i64>, with: fn(i64, i64) -> i64) -> Option<i64> {
    match (one, two) {
        (Some(one), Some(two)) => Some(with(one, two)),
        (one, two) => one.or(two),
    }
}

impl Answer {
    /// The answer to [`Want::Groups`] from the lines of all groups in any order: bucket if there
    /// are buckets, values, measures.
    pub fn of_groups(groups: &Groups, mut lines: Vec<Vec<Cell>>) -> Self {
        let total = lines.len() as u64;
        let buckets = usize::from(groups.every.is_some());
        let measures = buckets + groups.by.len();
        lines.sort_unstable_by(|one, two| {
            let measured = groups.order.map_or(Ordering::Equal, |(index, order)| {
                let both = one.get(measures + index).cmp(&two.get(measures + index));
                order.of(both)
            });
            one[..buckets]
                .cmp(&two[..buckets])
                .then(measured)
                .then_with(|| one[buckets..measures].cmp(&two[buckets..measures]))
        });
        let (mut bucket, mut shown) = (None, 0);
        lines.retain(|line| {
            let its = line.first().filter(|_| buckets == 1).cloned();
            if bucket != its {
                (bucket, shown) = (its, 0);
            }
            shown += 1;
            shown <= groups.top
        });
        Self {
            columns: groups.columns(),
            lines,
            next: None,
            total,
        }
    }
}
