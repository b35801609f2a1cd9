//! Rows from memory or from segments become new segments, sorted and cut by time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, PrimitiveArray, RecordBatch};
use datafusion::arrow::array::{BooleanArray, UInt32Array};
use datafusion::arrow::compute::{concat_batches, filter_record_batch, take};
use datafusion::arrow::datatypes::{Int64Type, UInt8Type, UInt32Type};

use crate::names::{Names, Table};
use crate::rollup::Rollups;
use crate::row::{Col, SCHEMA};
use crate::scan::{Part, ScanError};
use crate::segment::{Facts, GROUP, Segment, Writer};

/// At most so many rows lie in one segment.
pub(crate) const LARGEST: usize = 1 << 21;

const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;
/// Rows of more partitions than these at once are cut by a coarser time.
const PARTITIONS: usize = 24;

/// Writes rows as new segments, one or more for each partition. They count when the manifest
/// says so.
pub(crate) fn write(
    root: &Path,
    parts: &[Part],
    mut number: impl FnMut() -> u64,
) -> Result<Vec<Facts>, ScanError> {
    let (names, parts) = joined(parts)?;
    let batch = concat_batches(&SCHEMA, &parts)?;
    drop(parts);
    if batch.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let (partitions, order) = order(&batch);
    let mut made = Vec::new();
    let done = write_all(root, &batch, &names, &partitions, &order, &mut || {
        made.push(number());
        made.last().copied().unwrap_or_default()
    });
    if done.is_err() {
        for partition in &partitions {
            for id in &made {
                let directory = root
                    .join("segments")
                    .join(partition)
                    .join(format!("{id:012}"));
                // What cannot be removed now is removed at the next start.
                _ = std::fs::remove_dir_all(directory);
            }
        }
    }
    done
}

fn write_all(
    root: &Path,
    batch: &RecordBatch,
    names: &Names,
    partitions: &[String],
    order: &[(u128, u32)],
    number: &mut dyn FnMut() -> u64,
) -> Result<Vec<Facts>, ScanError> {
    let mut out = Vec::new();
    for rows in order.chunk_by(|a, b| a.0 >> PARTITION_SHIFT == b.0 >> PARTITION_SHIFT) {
        let partition = rows
            .first()
            .and_then(|row| partitions.get((row.0 >> PARTITION_SHIFT) as usize));
        let Some(partition) = partition else { continue };
        for rows in rows.chunks(LARGEST) {
            let id = number();
            out.push(write_one(root, id, partition, rows, batch, names)?);
        }
    }
    Ok(out)
}

fn write_one(
    root: &Path,
    id: u64,
    partition: &str,
    rows: &[(u128, u32)],
    batch: &RecordBatch,
    names: &Names,
) -> Result<Facts, ScanError> {
    let mut facts = Facts {
        id,
        partition: partition.to_owned(),
        rows: rows.len() as u64,
        orphans: 0,
        files: BTreeMap::new(),
        start: (i64::MAX, i64::MIN),
        end: (i64::MAX, i64::MIN),
        dead: None,
    };
    let directory = facts.directory(root);
    let mut writer = Writer::create(&directory)?;
    let mut rollups = Rollups::new(names);
    for group in rows.chunks(GROUP) {
        let places = UInt32Array::from_iter_values(group.iter().map(|(_, row)| *row));
        let columns = batch
            .columns()
            .iter()
            .map(|column| take(column, &places, None))
            .collect::<Result<Vec<ArrayRef>, _>>()?;
        let group = RecordBatch::try_new(SCHEMA.clone(), columns)?;
        for (col, span) in [(Col::Start, &mut facts.start), (Col::End, &mut facts.end)] {
            for time in numbers::<Int64Type>(&group, col).values() {
                span.0 = span.0.min(*time);
                span.1 = span.1.max(*time);
            }
        }
        let seq = numbers::<UInt32Type>(&group, Col::Seq).values();
        facts.orphans += seq.iter().filter(|seq| **seq > 0).count() as u64;
        rollups.add(&group);
        writer.write(&group)?;
    }
    facts.files = writer.finish(names, &rollups.finish(rows.len())?)?;
    Ok(facts)
}

fn numbers<T: datafusion::arrow::array::ArrowPrimitiveType>(
    batch: &RecordBatch,
    col: Col,
) -> &PrimitiveArray<T> {
    batch.column(col as usize).as_primitive()
}

const PARTITION_SHIFT: u32 = 99;

/// The names of the partitions, and the rows by what decided of them: `(key, row)`.
fn order(batch: &RecordBatch) -> (Vec<String>, Vec<(u128, u32)>) {
    let end = numbers::<Int64Type>(batch, Col::End).values();
    let (first, last) = end.iter().fold((i64::MAX, i64::MIN), |(min, max), time| {
        (min.min(*time), max.max(*time))
    });
    let count = |length: i64| last.div_euclid(length) as i128 - first.div_euclid(length) as i128;
    let (length, prefix) = if count(HOUR) < PARTITIONS as i128 {
        (HOUR, 'h')
    } else if count(DAY) < PARTITIONS as i128 {
        (DAY, 'd')
    } else {
        (i64::MAX, 'a')
    };
    let base = first.div_euclid(length);
    let partitions = (base..=last.div_euclid(length))
        .map(|place| match prefix {
            'a' => "all".to_owned(),
            _ => partition_name(place.saturating_mul(length), length == HOUR),
        })
        .collect();
    let verdict = numbers::<UInt8Type>(batch, Col::Verdict).values();
    let codes = [Col::Ingress, Col::Egress, Col::Dst, Col::Src]
        .map(|col| numbers::<UInt32Type>(batch, col).values());
    let mut rows: Vec<(u128, u32)> = (0..batch.num_rows())
        .map(|row| {
            // Time in three bits, so that few pages hold the newest rows of a kind.
            let mut key = (end[row].div_euclid(length) - base) as u128;
            key = key << 3 | u128::from(verdict[row].min(7));
            for codes in codes {
                key = key << 24 | u128::from(codes[row].min(0xff_ffff));
            }
            (key, row as u32)
        })
        .collect();
    rows.sort_unstable();
    (partitions, rows)
}

/// Such as `2026-11-23T14` or `2026-11-23`.
fn partition_name(time: i64, hour: bool) -> String {
    let text = netverdict_types::Timestamp(time).to_rfc3339();

    text.as_str()[..if hour { 13 } else { 10 }].to_owned()
}

/// Rows that are alive, with codes of the same names: those that are in use, sorted so that what
/// belongs to one namespace is one range of codes.
fn joined(parts: &[Part]) -> Result<(Names, Vec<RecordBatch>), ScanError> {
    let mut sources: Vec<(Arc<Names>, Used)> = Vec::new();
    let mut alive = Vec::new();
    for part in parts {
        let batch = match &part.dead {
            None => part.batch.clone(),
            Some(dead) => filter_record_batch(&part.batch, &BooleanArray::new(!&**dead, None))?,
        };
        let known = sources
            .iter()
            .rposition(|(names, _)| Arc::ptr_eq(names, &part.names));
        let source = known.unwrap_or_else(|| {
            sources.push((part.names.clone(), Used::new(&part.names)));
            sources.len() - 1
        });
        sources[source].1.mark(&batch);
        alive.push((source, batch));
    }
    let mut names = Names::default();
    let mut maps: Vec<[Vec<u32>; 4]> = sources
        .iter()
        .map(|(_, used)| used.0.clone().map(|used| vec![0; used.len()]))
        .collect();
    let word = |names: &Names, code| names.word(code).cloned();
    let end = |names: &Names, code| names.end(code).cloned();
    let service = |names: &Names, code| names.service(code).cloned();
    let ruling = |names: &Names, code| names.ruling(code).cloned();
    names.words = merged(&sources, &mut maps, Table::Words, word, |a, b| a.cmp(b));
    names.ends = merged(&sources, &mut maps, Table::Ends, end, |a, b| {
        (&a.namespace, a).cmp(&(&b.namespace, b))
    });
    names.services = merged(&sources, &mut maps, Table::Services, service, |a, b| {
        a.cmp(b)
    });
    names.rulings = merged(&sources, &mut maps, Table::Rulings, ruling, |a, b| {
        let owner = |it: &netverdict_types::Ruling| {
            it.fact.as_ref().map(|fact| {
                (
                    fact.acl.owner.namespace.clone(),
                    fact.acl.owner.name.clone(),
                )
            })
        };
        (owner(a), a).cmp(&(owner(b), b))
    });
    let batches = alive
        .into_iter()
        .map(|(source, batch)| recoded(&batch, &maps[source]))
        .collect::<Result<Vec<_>, ScanError>>()?;
    Ok((names, batches))
}

/// Which codes of each table are in use.
struct Used([Vec<bool>; 4]);

const TABLES: [Table; 4] = [Table::Words, Table::Ends, Table::Services, Table::Rulings];

impl Used {
    fn new(names: &Names) -> Self {
        Self(TABLES.map(|table| vec![false; names.codes(table)]))
    }

    fn mark(&mut self, batch: &RecordBatch) {
        for col in Col::ALL {
            let Some(table) = col.table() else { continue };
            let used = &mut self.0[table as usize];
            for code in numbers::<UInt32Type>(batch, col).values() {
                if let Some(used) = used.get_mut(*code as usize) {
                    *used = true;
                }
            }
        }
    }
}

/// One table of all sources, sorted, each thing once; `maps` learn the new codes.
fn merged<T: ?Sized + Eq>(
    sources: &[(Arc<Names>, Used)],
    maps: &mut [[Vec<u32>; 4]],
    table: Table,
    thing: impl Fn(&Names, u32) -> Option<Arc<T>>,
    compare: impl Fn(&T, &T) -> std::cmp::Ordering,
) -> Vec<Arc<T>> {
    let mut all = Vec::new();
    for (source, (names, used)) in sources.iter().enumerate() {
        for (code, used) in used.0[table as usize].iter().enumerate() {
            if *used && let Some(thing) = thing(names, code as u32) {
                all.push((thing, source, code));
            }
        }
    }
    all.sort_by(|a, b| compare(&a.0, &b.0));
    let mut out: Vec<Arc<T>> = Vec::new();
    for (thing, source, code) in all {
        if out.last().is_none_or(|last| **last != *thing) {
            out.push(thing);
        }
        maps[source][table as usize][code] = out.len() as u32;
    }
    out
}

fn recoded(batch: &RecordBatch, map: &[Vec<u32>; 4]) -> Result<RecordBatch, ScanError> {
    let columns = Col::ALL
        .iter()
        .map(|col| match col.table() {
            None => batch.column(*col as usize).clone(),
            Some(table) => {
                let map = &map[table as usize];
                let codes = numbers::<UInt32Type>(batch, *col);
                let new = codes.unary::<_, UInt32Type>(|code| {
                    map.get(code as usize).copied().unwrap_or_default()
                });
                Arc::new(new) as ArrayRef
            }
        })
        .collect();
    Ok(RecordBatch::try_new(SCHEMA.clone(), columns)?)
}

/// All rows of a segment that are alive.
pub(crate) fn rows(segment: &Segment) -> Result<Vec<Part>, ScanError> {
    let opened = segment.open()?;
    let mut parts = Vec::new();
    for group in 0..opened.bounds.len() {
        let alive = crate::scan::Chunk::of_group(segment, group)?.alive();
        parts.push(Part {
            batch: segment.read(group, &Col::ALL, None)?,
            names: opened.names.clone(),
            dead: alive.map(|alive| Arc::new(!&alive)),
        });
    }
    Ok(parts)
}

/// Segments that had better be one: of one partition, and small enough together; or one with many
/// dead rows.
pub(crate) fn choose(segments: &[Arc<Segment>]) -> Option<Vec<Arc<Segment>>> {
    let mut partitions: BTreeMap<&str, Vec<&Arc<Segment>>> = BTreeMap::new();
    for segment in segments {
        let partition = partitions.entry(&segment.facts.partition).or_default();
        partition.push(segment);
    }
    for mut partition in partitions.into_values() {
        if let Some(worn) = partition
            .iter()
            .find(|segment| segment.dead.len() as u64 * 4 > segment.facts.rows)
        {
            return Some(vec![(*worn).clone()]);
        }
        partition.sort_by_key(|segment| segment.facts.rows);
        // The smallest ones, as long as the next is not much larger than all before it.
        let mut chosen: Vec<Arc<Segment>> = Vec::new();
        let mut sum = 0;
        for segment in partition {
            let rows = segment.facts.rows;
            if sum + rows > LARGEST as u64 || (chosen.len() >= FEWEST && rows > sum) {
                break;
            }
            sum += rows;
            chosen.push(segment.clone());
        }
        if chosen.len() >= FEWEST {
            return Some(chosen);
        }
    }
    None
}

/// Fewer segments are not worth the work.
const FEWEST: usize = 4;
