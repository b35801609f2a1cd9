//! Sums of the rows of a segment by what decided of them, for questions over long times.
//!
//! They are made when a segment is written, of its rows as they are then, each connection once.
//! Rows that die later are taken off again when a question is answered.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, UInt8Array, UInt32Array, UInt64Array,
};
use datafusion::arrow::datatypes::{Int64Type, UInt8Type, UInt32Type, UInt64Type};
use datafusion::arrow::error::ArrowError;
use hashbrown::HashTable;

use crate::names::{Names, Table};
use crate::row::Col;

/// One kind of roll-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Grain {
    pub(crate) file: &'static str,
    /// Nanoseconds of a bucket of time.
    pub(crate) length: i64,
    /// What tells groups apart, besides time.
    pub(crate) by: &'static [Col],
}

const MINUTE: i64 = 60_000_000_000;
const RULINGS: &[Col] = &[Col::Verdict, Col::Egress, Col::Ingress];
const WORKLOADS: &[Col] = &[Col::Verdict, Col::Egress, Col::Ingress, Col::Src, Col::Dst];

/// All kinds, the smallest first.
pub(crate) const GRAINS: [Grain; 3] = [
    Grain {
        file: "hour.parquet",
        length: 60 * MINUTE,
        by: RULINGS,
    },
    Grain {
        file: "minute.parquet",
        length: MINUTE,
        by: RULINGS,
    },
    Grain {
        file: "workloads.parquet",
        length: 60 * MINUTE,
        by: WORKLOADS,
    },
];

/// The roll-up of each half by itself, for questions by policy: `side` tells lines of the way out
/// and of the way in, and those of pairs of one policy, which count once and not twice.
pub(crate) const HALVES: Grain = Grain {
    file: "halves.parquet",
    length: 60 * MINUTE,
    by: RULINGS,
};

/// Column of [`HALVES`].
pub(crate) const SIDE: &str = "side";

/// What a line of [`HALVES`] is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    Egress,
    Ingress,
    /// Both halves, which are of one policy; or none.
    Both,
}

/// What is added up.
pub(crate) const SUMS: [Col; 6] = [
    Col::Packets,
    Col::Bytes,
    Col::ReplyPackets,
    Col::ReplyBytes,
    Col::DroppedPackets,
    Col::DroppedBytes,
];

/// Column of a roll-up: the start of the bucket.
pub(crate) const BUCKET: &str = "bucket";
/// How many rows.
pub(crate) const COUNT: &str = "count";
/// The latest start; the column `start` has the earliest.
pub(crate) const LAST_START: &str = "last_start";
/// The earliest end; the column `end` has the latest.
pub(crate) const FIRST_END: &str = "first_end";

/// Roll-ups in the making.
pub(crate) struct Rollups {
    all: Vec<Rollup>,
    /// The policy of each ruling, as a number.
    policies: Vec<u32>,
}

impl Rollups {
    pub(crate) fn new(names: &Names) -> Self {
        let all = GRAINS
            .into_iter()
            .chain([HALVES])
            .map(Rollup::new)
            .collect();
        Self {
            all,
            policies: policies(names),
        }
    }

    /// Takes rows in, sorted so that those of a group mostly follow each other.
    pub(crate) fn add(&mut self, rows: &RecordBatch) {
        for rollup in &mut self.all {
            if rollup.grain == HALVES {
                for side in [Side::Egress, Side::Ingress, Side::Both] {
                    rollup.add(rows, Some((side, &self.policies)));
                }
            } else {
                rollup.add(rows, None);
            }
        }
    }

    /// Those that are worth a file: much smaller than the rows.
    pub(crate) fn finish(
        self,
        rows: usize,
    ) -> Result<Vec<(&'static str, RecordBatch)>, ArrowError> {
        self.all
            .into_iter()
            .filter(|rollup| rollup.keys.len() * 4 <= rows)
            .map(|rollup| Ok((rollup.grain.file, rollup.finish()?)))
            .collect()
    }
}

/// The policy of each ruling, as a number.
pub(crate) fn policies(names: &Names) -> Vec<u32> {
    let mut known = HashMap::new();
    (0..names.codes(Table::Rulings) as u32)
        .map(|code| {
            let fact = names.ruling(code).and_then(|ruling| ruling.fact.as_ref());
            let owner = fact.map(|fact| &fact.acl.owner);
            let policy = owner.map_or((None, None), |owner| {
                (owner.namespace.as_deref(), owner.name.as_deref())
            });
            let next = known.len() as u32;
            *known.entry(policy).or_insert(next)
        })
        .collect()
}

struct Rollup {
    grain: Grain,
    slots: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
    keys: Vec<Key>,
    count: Vec<u64>,
    sums: [Vec<u64>; SUMS.len()],
    /// First and last start, first and last end.
    times: [Vec<i64>; 4],
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Key {
    bucket: i64,
    side: u8,
    verdict: u8,
    codes: [u32; 4],
}

impl Rollup {
    fn new(grain: Grain) -> Self {
        Self {
            grain,
            slots: HashTable::new(),
            hasher: foldhash::fast::RandomState::default(),
            keys: Vec::new(),
            count: Vec::new(),
            sums: Default::default(),
            times: Default::default(),
        }
    }

    fn add(&mut self, rows: &RecordBatch, side: Option<(Side, &[u32])>) {
        let codes = |col: Col| {
            rows.column(col as usize)
                .as_primitive::<UInt32Type>()
                .values()
        };
        let times = |col: Col| {
            rows.column(col as usize)
                .as_primitive::<Int64Type>()
                .values()
        };
        let verdict = rows
            .column(Col::Verdict as usize)
            .as_primitive::<UInt8Type>()
            .values();
        let (egress, ingress) = (codes(Col::Egress), codes(Col::Ingress));
        let (src, dst) = (codes(Col::Src), codes(Col::Dst));
        let (start, end) = (times(Col::Start), times(Col::End));
        let sums = SUMS.map(|col| {
            rows.column(col as usize)
                .as_primitive::<UInt64Type>()
                .values()
        });
        let workloads = self.grain.by.contains(&Col::Src);
        let mut last = None;
        let policy = |policies: &[u32], code: u32| policies.get(code as usize).copied();
        for row in 0..rows.num_rows() {
            let (mut out, mut into) = (egress[row], ingress[row]);
            match side {
                None => {}
                Some((Side::Egress, _)) => into = 0,
                Some((Side::Ingress, _)) => out = 0,
                Some((Side::Both, policies)) => {
                    let of_one = policy(policies, out) == policy(policies, into);
                    if (out == 0) != (into == 0) || !of_one {
                        continue;
                    }
                }
            }
            if matches!(side, Some((Side::Egress | Side::Ingress, _))) && out == 0 && into == 0 {
                continue;
            }
            let key = Key {
                bucket: end[row].div_euclid(self.grain.length),
                side: side.map_or(0, |(side, _)| side as u8),
                verdict: verdict[row],
                codes: [
                    out,
                    into,
                    if workloads { src[row] } else { 0 },
                    if workloads { dst[row] } else { 0 },
                ],
            };
            let slot = match last {
                Some((same, slot)) if same == key => slot,
                _ => self.slot(key),
            };
            last = Some((key, slot));
            self.count[slot] += 1;
            for (to, from) in self.sums.iter_mut().zip(sums) {
                to[slot] = to[slot].saturating_add(from[row].min(i64::MAX as u64));
            }
            let [first_start, last_start, first_end, last_end] = &mut self.times;
            first_start[slot] = first_start[slot].min(start[row]);
            last_start[slot] = last_start[slot].max(start[row]);
            first_end[slot] = first_end[slot].min(end[row]);
            last_end[slot] = last_end[slot].max(end[row]);
        }
    }

    fn slot(&mut self, key: Key) -> usize {
        let (hasher, keys) = (&self.hasher, &mut self.keys);
        let hash = hasher.hash_one(key);
        if let Some(slot) = self.slots.find(hash, |slot| keys[*slot as usize] == key) {
            return *slot as usize;
        }
        let slot = keys.len();
        keys.push(key);
        self.count.push(0);
        self.sums.iter_mut().for_each(|sums| sums.push(0));
        for (times, none) in self
            .times
            .iter_mut()
            .zip([i64::MAX, i64::MIN, i64::MAX, i64::MIN])
        {
            times.push(none);
        }
        self.slots.insert_unique(hash, slot as u32, |slot| {
            hasher.hash_one(keys[*slot as usize])
        });
        slot
    }

    fn finish(self) -> Result<RecordBatch, ArrowError> {
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_unstable_by_key(|slot| {
            let key = self.keys[*slot];
            (key.side, key.verdict, key.codes, key.bucket)
        });
        let keys = || order.iter().map(|slot| self.keys[*slot]);
        let length = self.grain.length;
        let mut columns: Vec<(&str, ArrayRef)> = vec![(
            BUCKET,
            Arc::new(Int64Array::from_iter_values(
                keys().map(|key| key.bucket.saturating_mul(length)),
            )),
        )];
        for (place, col) in [Col::Egress, Col::Ingress, Col::Src, Col::Dst]
            .into_iter()
            .enumerate()
        {
            if self.grain.by.contains(&col) {
                let codes = UInt32Array::from_iter_values(keys().map(|key| key.codes[place]));
                columns.push((col.name(), Arc::new(codes)));
            }
        }
        let verdicts = UInt8Array::from_iter_values(keys().map(|key| key.verdict));
        columns.push((Col::Verdict.name(), Arc::new(verdicts)));
        if self.grain == HALVES {
            let sides = UInt8Array::from_iter_values(keys().map(|key| key.side));
            columns.push((SIDE, Arc::new(sides)));
        }
        let all = |values: &[u64]| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(
                order.iter().map(|slot| values[*slot]),
            ))
        };
        columns.push((COUNT, all(&self.count)));
        for (col, sums) in SUMS.into_iter().zip(&self.sums) {
            columns.push((col.name(), all(sums)));
        }
        let names = [Col::Start.name(), LAST_START, FIRST_END, Col::End.name()];
        for (name, times) in names.into_iter().zip(&self.times) {
            let times = Int64Array::from_iter_values(order.iter().map(|slot| times[*slot]));
            columns.push((name, Arc::new(times)));
        }
        RecordBatch::try_from_iter(columns)
    }
}
