//! Updates of a connection become one row.
//!
//! In segments each connection has one row. What came later lies in memory, with rows that update
//! others: for those the row of a segment is looked up, and dies; the folded one takes its place,
//! in answers at once, on disk when the memory is sealed.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, FixedSizeBinaryArray};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::datatypes::UInt32Type;
use netverdict_types::Connection;

use crate::names::Interner;
use crate::row::{Col, Decoder, column, encode, u128_at};
use crate::scan::{Chunk, Part, ScanError, Snapshot};
use crate::segment::Segment;

/// A set of ids. Those are hashes themselves.
pub(crate) type Ids = hashbrown::HashSet<u128, foldhash::fast::RandomState>;

/// Where rows of segments are that updates belong to; `None`: there is none.
pub(crate) type Bases = HashMap<u128, Option<Base>>;

#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// Id of the segment.
    segment: u64,
    row: u32,
    connection: Arc<Connection>,
}

/// Rows of memory with those of segments, each connection once.
///
/// `late` are the ids of all rows of memory that update others, `orphans` those of segments whose
/// first row was not there yet.
pub(crate) fn fold(
    segments: &[Arc<Segment>],
    mut parts: Vec<Part>,
    late: &Ids,
    orphans: &Ids,
    bases: &mut Bases,
) -> Result<Folded, ScanError> {
    let mut updates: HashMap<u128, Vec<Connection>> = HashMap::new();
    if !late.is_empty() || !orphans.is_empty() {
        let wanted = Wanted::new(late, orphans);
        for part in &mut parts {
            take_out(part, &wanted, &mut updates)?;
        }
    }
    let has_base =
        |id: &u128, rows: &[Connection]| orphans.contains(id) || rows.iter().all(|row| row.seq > 0);
    let unknown = updates
        .iter()
        .filter(|(id, rows)| has_base(id, rows) && !bases.contains_key(*id))
        .map(|(id, _)| *id)
        .collect();
    look_up(segments, unknown, bases)?;
    let mut dead: HashMap<u64, Vec<u32>> = HashMap::new();
    let mut rows = Vec::with_capacity(updates.len());
    for (id, updates) in updates {
        let base = match bases.get(&id) {
            Some(Some(base)) if has_base(&id, &updates) => {
                dead.entry(base.segment).or_default().push(base.row);
                Some((*base.connection).clone())
            }
            _ => None,
        };
        let folded = base.into_iter().chain(updates).reduce(|mut all, update| {
            all.fold(&update);
            all
        });
        rows.extend(folded);
    }
    rows.sort_unstable_by_key(|row| (row.end, row.id));
    let left = rows
        .iter()
        .filter(|row| row.seq > 0)
        .map(|row| row.id.0)
        .collect();
    let settled = rows
        .iter()
        .filter(|row| row.seq == 0 && orphans.contains(&row.id.0))
        .map(|row| row.id.0)
        .collect();
    if !rows.is_empty() {
        let mut interner = Interner::default();
        let batch = encode(&mut interner, rows.iter())?;
        parts.push(Part {
            batch,
            names: Arc::new(interner.names),
            dead: None,
        });
    }
    let segments = segments
        .iter()
        .map(|segment| match dead.get_mut(&segment.facts.id) {
            None => segment.clone(),
            Some(rows) => {
                rows.extend_from_slice(&segment.dead);
                rows.sort_unstable();
                Arc::new(segment.with_more_dead(std::mem::take(rows)))
            }
        })
        .collect();
    Ok(Folded {
        snapshot: Snapshot { segments, parts },
        dead: dead.into_keys().collect(),
        left,
        settled,
    })
}

/// What [`fold`] makes.
pub(crate) struct Folded {
    pub(crate) snapshot: Snapshot,
    /// Ids of the segments that have more dead rows than before.
    pub(crate) dead: Vec<u64>,
    /// Connections of memory whose first row is still missing.
    pub(crate) left: Vec<u128>,
    /// Orphans whose first row has come.
    pub(crate) settled: Vec<u128>,
}

/// Takes the rows that others update, and those that update, out of a part.
fn take_out(
    part: &mut Part,
    wanted: &Wanted<'_>,
    updates: &mut HashMap<u128, Vec<Connection>>,
) -> Result<(), ScanError> {
    let ids: &FixedSizeBinaryArray = column(&part.batch, Col::Id)?;
    let found: Vec<usize> = ids
        .value_data()
        .as_chunks::<16>()
        .0
        .iter()
        .enumerate()
        .filter(|(_, bytes)| wanted.has(u128::from_be_bytes(**bytes)))
        .map(|(row, _)| row)
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    let mut dead = vec![false; part.batch.num_rows()];
    let decoder = Decoder::new(&part.batch, &part.names)?;
    for row in found {
        dead[row] = true;
        if part.dead.as_ref().is_some_and(|dead| dead.value(row)) {
            continue;
        }
        let update = decoder.row(row);
        updates.entry(update.id.0).or_default().push(update);
    }
    let dead = BooleanBuffer::from(dead);
    part.dead = Some(Arc::new(match &part.dead {
        Some(before) => &**before | &dead,
        None => dead,
    }));
    Ok(())
}

/// Finds rows of segments, the newest first.
fn look_up(
    segments: &[Arc<Segment>],
    mut ids: Vec<u128>,
    bases: &mut Bases,
) -> Result<(), ScanError> {
    let mut newest: Vec<&Arc<Segment>> = segments.iter().collect();
    newest.sort_by_key(|segment| std::cmp::Reverse((segment.facts.end.1, segment.facts.id)));
    for segment in newest {
        if ids.is_empty() {
            break;
        }
        let groups = segment.open()?.bounds.len();
        for group in 0..groups {
            let mut here = ids.clone();
            segment.may_have(group, &mut here)?;
            if here.is_empty() {
                continue;
            }
            let here: Ids = here.into_iter().collect();
            let none = Ids::default();
            let wanted = Wanted::new(&here, &none);
            let mut chunk = Chunk::of_group(segment, group)?;
            let alive = chunk.alive();
            let column = chunk.column(Col::Id)?;
            let Some(column) = column.as_any().downcast_ref::<FixedSizeBinaryArray>() else {
                continue;
            };
            let rows: Vec<usize> = (0..chunk.bounds().rows)
                .filter(|row| wanted.has(u128_at(column, *row)))
                .filter(|row| alive.as_ref().is_none_or(|alive| alive.value(*row)))
                .collect();
            let first = chunk.bounds().first;
            for (row, connection) in rows.iter().zip(chunk.connections(&rows)?) {
                let base = Base {
                    segment: segment.facts.id,
                    row: (first + row) as u32,
                    connection: Arc::new(connection),
                };
                bases.insert(base.connection.id.0, Some(base));
            }
            if !rows.is_empty() {
                ids.retain(|id| !bases.contains_key(id));
            }
        }
    }
    bases.extend(ids.into_iter().map(|id| (id, None)));
    Ok(())
}

/// Ids of rows of a segment that wait for their first row.
pub(crate) fn orphans(segment: &Segment, into: &mut Ids) -> Result<(), ScanError> {
    if segment.facts.orphans == 0 {
        return Ok(());
    }
    for group in 0..segment.open()?.bounds.len() {
        let mut chunk = Chunk::of_group(segment, group)?;
        let alive = chunk.alive();
        let seq = chunk.column(Col::Seq)?;
        let ids = chunk.column(Col::Id)?;
        let Some(ids) = ids.as_any().downcast_ref::<FixedSizeBinaryArray>() else {
            continue;
        };
        let rows = seq.as_primitive::<UInt32Type>().values();
        let found = rows
            .iter()
            .enumerate()
            .filter(|(row, seq)| **seq > 0 && alive.as_ref().is_none_or(|alive| alive.value(*row)))
            .map(|(row, _)| u128_at(ids, row));
        into.extend(found);
    }
    Ok(())
}

/// Tells quickly of most ids that they are not wanted.
struct Wanted<'a> {
    sets: [&'a Ids; 2],
    bits: Vec<u64>,
}

const BITS: usize = 1 << 20;

impl<'a> Wanted<'a> {
    fn new(one: &'a Ids, other: &'a Ids) -> Self {
        let mut bits = vec![0; BITS / 64];
        for id in one.iter().chain(other) {
            let bit = *id as usize % BITS;
            bits[bit / 64] |= 1 << (bit % 64);
        }
        Self {
            sets: [one, other],
            bits,
        }
    }

    fn has(&self, id: u128) -> bool {
        let bit = id as usize % BITS;
        self.bits[bit / 64] & (1 << (bit % 64)) != 0
            && self.sets.iter().any(|set| set.contains(&id))
    }
}
