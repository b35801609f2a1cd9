//! Plans on rows as they lie: tests of names are made once for each name, numbers are compared in
//! their columns, and groups of rows are skipped by their bounds.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray};
use datafusion::arrow::buffer::{BooleanBuffer, NullBuffer};
use datafusion::arrow::datatypes::{
    DataType, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use netverdict_query::{Check, Plan, Test, Value};
use netverdict_store::{COLUMNS, From, Place, ip_ranges, place};
use netverdict_types::{Probability, Timestamp, Verdict};
use uuid::Uuid;

use crate::names::Names;
use crate::row::{Col, u128_at};
use crate::scan::{Chunk, ScanError};
use crate::segment::Bounds;

/// A plan, and the time it is for, made ready for rows.
#[derive(Debug)]
pub(crate) struct Filter {
    root: Arc<Node>,
    pub(crate) since: i64,
    pub(crate) until: i64,
}

#[derive(Debug)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Leaf(Leaf),
}

#[derive(Debug)]
enum Leaf {
    Never,
    /// Codes whose names pass; `column` is of the store's table.
    Named {
        col: Col,
        column: usize,
        check: Check,
        /// Another column, and the text that must stand there.
        other: Option<(usize, &'static str)>,
    },
    Verdict(Check),
    Number {
        col: Col,
        min: i64,
        max: i64,
    },
    Flags(u8),
    Ip {
        col: Col,
        ranges: Vec<(u128, u128)>,
    },
    Duration {
        min: i64,
        max: i64,
    },
    Share(Check),
    Uuid(Col, Check),
}

impl Filter {
    pub(crate) fn new(plan: &Plan, since: Timestamp, until: Timestamp) -> Self {
        Self {
            root: Arc::new(node(&plan.by_halves())),
            since: since.0,
            until: until.0,
        }
    }

    /// The same without a bound of time.
    pub(crate) fn of_all_time(&self) -> Self {
        Self {
            root: self.root.clone(),
            since: i64::MIN,
            until: i64::MAX,
        }
    }

    /// The same text for the same filter, apart from time.
    pub(crate) fn text(&self) -> String {
        format!("{:?}", self.root)
    }

    /// True unless no row of this time can match.
    pub(crate) fn may_overlap(&self, start: (i64, i64), end: (i64, i64)) -> bool {
        end.1 >= self.since && start.0 < self.until
    }

    /// True where each row of this time is in the time asked for.
    pub(crate) fn covers(&self, start: (i64, i64), end: (i64, i64)) -> bool {
        end.0 >= self.since && start.1 < self.until
    }

    /// False where no row within the bounds can match.
    pub(crate) fn may_match(&self, names: &Names, bounds: &Bounds) -> bool {
        let late = bounds.of(Col::End).is_some_and(|it| it.max < self.since);
        let early = bounds.of(Col::Start).is_some_and(|it| it.min >= self.until);
        !late && !early && self.root.bounds(names, bounds).0
    }

    /// The rows of a chunk that match; `None` where all do.
    pub(crate) fn rows(&self, chunk: &mut Chunk<'_>) -> Result<Option<BooleanBuffer>, ScanError> {
        let mut rows = chunk.alive();
        let bounds = chunk.bounds().clone();
        let names = chunk.names();
        if bounds.of(Col::End).is_none_or(|it| it.min < self.since) && self.since != i64::MIN {
            let column = chunk.column(Col::End)?;
            let values = column.as_primitive::<Int64Type>().values();
            let after = BooleanBuffer::collect_bool(values.len(), |row| values[row] >= self.since);
            rows = meet(rows, Some(after));
        }
        if bounds.of(Col::Start).is_none_or(|it| it.max >= self.until) {
            let column = chunk.column(Col::Start)?;
            let values = column.as_primitive::<Int64Type>().values();
            let before = BooleanBuffer::collect_bool(values.len(), |row| values[row] < self.until);
            rows = meet(rows, Some(before));
        }
        if rows.as_ref().is_some_and(|rows| rows.count_set_bits() == 0) {
            return Ok(rows);
        }
        let passed = self.root.rows(chunk, &names, &bounds)?;
        Ok(meet(rows, passed))
    }

    /// True where only these columns are looked at, apart from time.
    pub(crate) fn only(&self, cols: &[Col]) -> bool {
        self.root.only(cols)
    }
}

/// Both, where `None` is all.
pub(crate) fn meet(a: Option<BooleanBuffer>, b: Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    match (a, b) {
        (Some(a), Some(b)) => Some(&a & &b),
        (a, b) => a.or(b),
    }
}

fn node(plan: &Plan) -> Node {
    match plan {
        Plan::And(children) => Node::And(children.iter().map(node).collect()),
        Plan::Or(children) => Node::Or(children.iter().map(node).collect()),
        Plan::Not(child) => Node::Not(Box::new(node(child))),
        Plan::Half(child) => node(&Plan::Half(child.clone()).by_halves()),
        Plan::Test(test) => Node::Leaf(leaf(test)),
    }
}

fn leaf(test: &Test) -> Leaf {
    let check = || test.check.clone();
    match place(test.field) {
        Place::Nowhere | Place::Either { .. } => Leaf::Never,
        Place::Difference(..) => match test.check {
            Check::Between { min, max } => Leaf::Duration { min, max },
            _ => Leaf::Never,
        },
        Place::Where { column, other, is } => match Col::of(column) {
            Some(col) => Leaf::Named {
                col,
                column,
                check: check(),
                other: Some((other, is)),
            },
            None => Leaf::Never,
        },
        Place::Column(column) => match Col::of(column) {
            None => Leaf::Never,
            Some(Col::Verdict) => Leaf::Verdict(check()),
            Some(Col::Probability) => Leaf::Share(check()),
            Some(col @ (Col::Id | Col::EgressAclUuid | Col::IngressAclUuid)) => {
                Leaf::Uuid(col, check())
            }
            Some(col) if col.table().is_some() => Leaf::Named {
                col,
                column,
                check: check(),
                other: None,
            },
            Some(col) => match &test.check {
                Check::Between { min, max } => Leaf::Number {
                    col,
                    min: *min,
                    max: *max,
                },
                Check::Flags(mask) if col == Col::TcpFlags => Leaf::Flags(*mask),
                Check::Network(block) if col.data_type() == DataType::FixedSizeBinary(16) => {
                    Leaf::Ip {
                        col,
                        ranges: ip_ranges(*block)
                            .into_iter()
                            .map(|range| (*range.start(), *range.end()))
                            .collect(),
                    }
                }
                _ => Leaf::Never,
            },
        },
    }
}

impl Node {
    /// Whether a row within the bounds may match, and whether one may fail.
    fn bounds(&self, names: &Names, bounds: &Bounds) -> (bool, bool) {
        match self {
            Self::And(children) => children.iter().fold((true, false), |(yes, no), child| {
                let (may, may_not) = child.bounds(names, bounds);
                (yes && may, no || may_not)
            }),
            Self::Or(children) => children.iter().fold((false, true), |(yes, no), child| {
                let (may, may_not) = child.bounds(names, bounds);
                (yes || may, no && may_not)
            }),
            Self::Not(child) => {
                let (may, may_not) = child.bounds(names, bounds);
                (may_not, may)
            }
            Self::Leaf(leaf) => leaf.bounds(names, bounds),
        }
    }

    fn rows(
        &self,
        chunk: &mut Chunk<'_>,
        names: &Arc<Names>,
        bounds: &Bounds,
    ) -> Result<Option<BooleanBuffer>, ScanError> {
        let none = || Some(BooleanBuffer::new_unset(chunk_rows(bounds)));
        match self.bounds(names, bounds) {
            (false, _) => return Ok(none()),
            (_, false) => return Ok(None),
            _ => {}
        }
        match self {
            Self::And(children) => {
                let mut all = None;
                for child in children {
                    all = meet(all, child.rows(chunk, names, bounds)?);
                    if all.as_ref().is_some_and(|it| it.count_set_bits() == 0) {
                        break;
                    }
                }
                Ok(all)
            }
            Self::Or(children) => {
                let mut any: Option<BooleanBuffer> = None;
                for child in children {
                    let Some(rows) = child.rows(chunk, names, bounds)? else {
                        return Ok(None);
                    };
                    any = Some(any.map_or_else(|| rows.clone(), |any| &any | &rows));
                }
                Ok(any.or_else(none))
            }
            Self::Not(child) => Ok(match child.rows(chunk, names, bounds)? {
                None => none(),
                Some(rows) => Some(!&rows),
            }),
            Self::Leaf(leaf) => leaf.rows(chunk, names).map(Some),
        }
    }

    fn only(&self, cols: &[Col]) -> bool {
        match self {
            Self::And(children) | Self::Or(children) => {
                children.iter().all(|child| child.only(cols))
            }
            Self::Not(child) => child.only(cols),
            Self::Leaf(leaf) => match leaf {
                Leaf::Never => true,
                Leaf::Named { col, .. } | Leaf::Number { col, .. } | Leaf::Ip { col, .. } => {
                    cols.contains(col)
                }
                Leaf::Verdict(_) => cols.contains(&Col::Verdict),
                Leaf::Flags(_) => cols.contains(&Col::TcpFlags),
                Leaf::Share(_) => cols.contains(&Col::Probability),
                Leaf::Uuid(..) => false,
                Leaf::Duration { .. } => false,
            },
        }
    }
}

fn chunk_rows(bounds: &Bounds) -> usize {
    bounds.rows
}

impl Leaf {
    fn bounds(&self, names: &Names, bounds: &Bounds) -> (bool, bool) {
        let open = (true, true);
        match self {
            Self::Never => (false, true),
            Self::Named { col, .. } => {
                let Some(span) = bounds.of(*col) else {
                    return open;
                };
                // A span of few codes is worth a look: rows are sorted by most of them.
                if span.max - span.min > 4096 {
                    return open;
                }
                let mut codes = (span.min..=span.max).map(|code| self.passes(names, code as u32));
                let first = codes.next().unwrap_or(false);
                if codes.all(|passed| passed == first) {
                    (first, !first)
                } else {
                    open
                }
            }
            Self::Verdict(check) => match bounds.of(Col::Verdict) {
                Some(span) => {
                    let mut passed =
                        (span.min..=span.max).map(|code| verdict_passes(check, code as usize));
                    let first = passed.next().unwrap_or(false);
                    if passed.all(|it| it == first) {
                        (first, !first)
                    } else {
                        open
                    }
                }
                None => open,
            },
            Self::Number { col, min, max } => match bounds.of(*col) {
                Some(span) => (
                    span.min <= *max && span.max >= *min,
                    span.missing || span.min < *min || span.max > *max,
                ),
                None => open,
            },
            _ => open,
        }
    }

    /// Whether the thing that a code names passes.
    fn passes(&self, names: &Names, code: u32) -> bool {
        let Self::Named {
            column,
            check,
            other,
            ..
        } = self
        else {
            return false;
        };
        let fits = other.is_none_or(
            |(other, is)| matches!(value(names, other, code), Value::Text(text) if text == is),
        );
        fits && check.holds(value(names, *column, code))
    }

    fn rows(&self, chunk: &mut Chunk<'_>, names: &Arc<Names>) -> Result<BooleanBuffer, ScanError> {
        Ok(match self {
            Self::Never => BooleanBuffer::new_unset(chunk.bounds().rows),
            Self::Named { col, .. } => {
                let column = chunk.column(*col)?;
                let Some(table) = col.table() else {
                    return Ok(BooleanBuffer::new_unset(column.len()));
                };
                let passes: Vec<bool> = (0..names.codes(table) as u32)
                    .map(|code| self.passes(names, code))
                    .collect();
                let codes = column.as_primitive::<UInt32Type>().values();
                BooleanBuffer::collect_bool(codes.len(), |row| {
                    passes.get(codes[row] as usize).copied().unwrap_or(false)
                })
            }
            Self::Verdict(check) => {
                let column = chunk.column(Col::Verdict)?;
                let passes: [bool; 256] = std::array::from_fn(|code| verdict_passes(check, code));
                let codes = column.as_primitive::<UInt8Type>().values();
                BooleanBuffer::collect_bool(codes.len(), |row| passes[usize::from(codes[row])])
            }
            Self::Number { col, min, max } => {
                let column = chunk.column(*col)?;
                there(&column, number_between(&column, *min, *max))
            }
            Self::Flags(mask) => {
                let column = chunk.column(Col::TcpFlags)?;
                let flags = column.as_primitive::<UInt8Type>().values();
                BooleanBuffer::collect_bool(flags.len(), |row| flags[row] & mask == *mask)
            }
            Self::Ip { col, ranges } => {
                let column = chunk.column(*col)?;
                match column.as_any().downcast_ref::<FixedSizeBinaryArray>() {
                    Some(ips) => BooleanBuffer::collect_bool(ips.len(), |row| {
                        let ip = u128_at(ips, row);
                        ranges
                            .iter()
                            .any(|(first, last)| (*first..=*last).contains(&ip))
                    }),
                    None => BooleanBuffer::new_unset(column.len()),
                }
            }
            Self::Duration { min, max } => {
                let (start, end) = (chunk.column(Col::Start)?, chunk.column(Col::End)?);
                let start = start.as_primitive::<Int64Type>().values();
                let end = end.as_primitive::<Int64Type>().values();
                BooleanBuffer::collect_bool(start.len(), |row| {
                    (*min..=*max).contains(&end[row].saturating_sub(start[row]))
                })
            }
            Self::Uuid(col, check) => {
                let column = chunk.column(*col)?;
                let ids = column.as_fixed_size_binary();
                let passed = BooleanBuffer::collect_bool(ids.len(), |row| {
                    check.holds(Value::Uuid(Uuid::from_u128(u128_at(ids, row))))
                });
                there(&column, passed)
            }
            Self::Share(check) => {
                let column = chunk.column(Col::Probability)?;
                let shares = column.as_primitive::<UInt32Type>().values();
                let passed = BooleanBuffer::collect_bool(shares.len(), |row| {
                    check.holds(Value::Number(Probability(shares[row]).millionths()))
                });
                there(&column, passed)
            }
        })
    }
}

fn verdict_passes(check: &Check, code: usize) -> bool {
    Verdict::ALL
        .get(code)
        .is_some_and(|verdict| check.holds(Value::Text(verdict.as_str())))
}

/// The value of a column of the store's table for a code.
pub(crate) fn value(names: &Names, column: usize, code: u32) -> Value<'_> {
    match COLUMNS[column].from {
        From::Src(read) | From::Dst(read) => names.end(code).map_or(Value::Missing, |it| read(it)),
        From::Service(read) => names.service(code).map_or(Value::Missing, |it| read(it)),
        From::Egress(read) | From::Ingress(read) => {
            names.ruling(code).map_or(Value::Missing, |it| read(it))
        }
        From::Row(_) => names
            .word(code)
            .map_or(Value::Missing, |it| Value::Text(it)),
        From::Rest => Value::Missing,
    }
}

fn there(column: &ArrayRef, rows: BooleanBuffer) -> BooleanBuffer {
    match column.nulls() {
        Some(nulls) => &rows & NullBuffer::inner(nulls),
        None => rows,
    }
}

fn number_between(column: &ArrayRef, min: i64, max: i64) -> BooleanBuffer {
    let all = |len, passes: &dyn Fn(usize) -> bool| BooleanBuffer::collect_bool(len, passes);
    match column.data_type() {
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>().values();
            BooleanBuffer::collect_bool(values.len(), |row| {
                values[row] >= min && values[row] <= max
            })
        }
        DataType::UInt8 => {
            let values = column.as_primitive::<UInt8Type>().values();
            all(values.len(), &|row| {
                (min..=max).contains(&values[row].into())
            })
        }
        DataType::UInt16 => {
            let values = column.as_primitive::<UInt16Type>().values();
            all(values.len(), &|row| {
                (min..=max).contains(&values[row].into())
            })
        }
        DataType::UInt32 => {
            let values = column.as_primitive::<UInt32Type>().values();
            all(values.len(), &|row| {
                (min..=max).contains(&values[row].into())
            })
        }
        DataType::UInt64 => {
            let values = column.as_primitive::<UInt64Type>().values();
            all(values.len(), &|row| {
                (min..=max).contains(&i64::try_from(values[row]).unwrap_or(i64::MAX))
            })
        }
        _ => BooleanBuffer::new_unset(column.len()),
    }
}
