//! Answers.

use std::cmp::Reverse;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use netverdict_query::ask::{Answer, Ask, Cell, Cursor, Groups, Measure, Order, Want};
use netverdict_query::{Field, Kind};
use netverdict_store::ip_from_bytes;
use netverdict_types::Connection;
use uuid::Uuid;

use crate::filter::Filter;
use crate::group::WEIGHT;
use crate::provider::grouped;
use crate::row::Col;
use crate::scan::{Chunk, ScanError, Snapshot};

/// Answers a question that was [checked](Ask::check).
pub(crate) async fn answer(
    snapshot: Snapshot,
    ask: &Ask,
    rollups: bool,
) -> Result<Answer, ScanError> {
    match &ask.want {
        Want::Rows { limit, after } => {
            let found = newest(&snapshot, ask, limit.saturating_add(1), *after)?;
            Ok(Answer::of_rows(&found, *limit))
        }
        Want::Groups(groups) => {
            let filter = Filter::new(&ask.filter, ask.since, ask.until);
            let batches = grouped(snapshot, filter, groups, rollups).await?;
            Ok(of_groups(groups, &batches))
        }
    }
}

/// The newest connections that match, behind `after`.
pub(crate) fn newest(
    snapshot: &Snapshot,
    ask: &Ask,
    limit: usize,
    after: Option<Cursor>,
) -> Result<Vec<Connection>, ScanError> {
    let filter = Filter::new(&ask.filter, ask.since, ask.until);
    let mut best = Best {
        limit,
        after,
        found: Vec::new(),
    };
    for (place, part) in snapshot.parts.iter().enumerate() {
        best.look(&mut Chunk::of_part(part), &filter, (None, place))?;
    }
    let mut segments: Vec<usize> = (0..snapshot.segments.len()).collect();
    segments.sort_by_key(|place| Reverse(snapshot.segments[*place].facts.end.1));
    for place in segments {
        let segment = &snapshot.segments[place];
        let (earliest, latest) = segment.facts.end;
        if best.floor().is_some_and(|floor| latest < floor) {
            break;
        }
        if after.is_some_and(|after| earliest > after.end.0)
            || !filter.may_overlap(segment.facts.start, segment.facts.end)
        {
            continue;
        }
        let opened = segment.open()?;
        for (group, bounds) in opened.bounds.iter().enumerate() {
            let old = bounds.of(Col::End).zip(best.floor());
            if old.is_none_or(|(span, floor)| span.max >= floor)
                && filter.may_match(&opened.names, bounds)
            {
                best.look(
                    &mut Chunk::of_group(segment, group)?,
                    &filter,
                    (Some(place), group),
                )?;
            }
        }
    }
    best.connections(snapshot)
}

/// The newest rows so far.
struct Best {
    limit: usize,
    after: Option<Cursor>,
    found: Vec<Found>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Found {
    end: i64,
    id: u128,
    /// Segment and group, or part.
    chunk: (Option<usize>, usize),
    row: usize,
}

impl Best {
    /// Rows that ended before this are not among the newest.
    fn floor(&self) -> Option<i64> {
        match self.limit.checked_sub(1) {
            None => Some(i64::MAX),
            Some(last) => self.found.get(last).map(|found| found.end),
        }
    }

    fn look(
        &mut self,
        chunk: &mut Chunk<'_>,
        filter: &Filter,
        place: (Option<usize>, usize),
    ) -> Result<(), ScanError> {
        let rows = filter.rows(chunk)?;
        if self.limit == 0 || rows.as_ref().is_some_and(|rows| rows.count_set_bits() == 0) {
            return Ok(());
        }
        let column = chunk.column(Col::End)?;
        let end = column.as_primitive::<Int64Type>().values();
        let (floor, ceiling) = (
            self.floor().unwrap_or(i64::MIN),
            self.after.map_or(i64::MAX, |after| after.end.0),
        );
        let fits = |row: &usize| end[*row] >= floor && end[*row] <= ceiling;
        let mut found: Vec<usize> = match &rows {
            None => (0..end.len()).filter(fits).collect(),
            Some(rows) => rows.set_indices().filter(fits).collect(),
        };
        if self.after.is_none() && found.len() > self.limit {
            let (_, last, _) =
                found.select_nth_unstable_by_key(self.limit - 1, |row| Reverse(end[*row]));
            let last = end[*last];
            found.retain(|row| end[*row] >= last);
            found.sort_unstable();
        }
        if found.is_empty() {
            return Ok(());
        }
        let ids = chunk.ids(&found)?;
        for (row, id) in found.into_iter().zip(ids) {
            let before = |after: Cursor| (end[row], id) < (after.end.0, after.id);
            if self.after.is_none_or(before) {
                self.found.push(Found {
                    end: end[row],
                    id,
                    chunk: place,
                    row,
                });
            }
        }
        self.found.sort_unstable_by(|a, b| b.cmp(a));
        self.found.truncate(self.limit);
        Ok(())
    }

    fn connections(mut self, snapshot: &Snapshot) -> Result<Vec<Connection>, ScanError> {
        self.found
            .sort_unstable_by_key(|found| (found.chunk, found.row));
        let mut out = Vec::with_capacity(self.found.len());
        for found in self.found.chunk_by(|a, b| a.chunk == b.chunk) {
            let Some(first) = found.first() else { continue };
            let chunk = match first.chunk {
                (Some(segment), group) => Chunk::of_group(&snapshot.segments[segment], group)?,
                (None, part) => Chunk::of_part(&snapshot.parts[part]),
            };
            let rows: Vec<usize> = found.iter().map(|found| found.row).collect();
            out.extend(chunk.connections(&rows)?);
        }
        out.sort_unstable_by_key(|connection| Reverse((connection.end, connection.id)));
        Ok(out)
    }
}

/// The answer made of groups in no order.
fn of_groups(groups: &Groups, batches: &[RecordBatch]) -> Answer {
    let first = usize::from(groups.every.is_some());
    let values = first + groups.by.len();
    let mut lines: Vec<Vec<Cell>> = Vec::new();
    for batch in batches {
        let Some(weight) = batch.column_by_name(WEIGHT) else {
            continue;
        };
        let weight = weight.as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            if weight.is_null(row) || weight.value(row) <= 0 {
                continue;
            }
            let mut line = Vec::with_capacity(values + groups.measures.len());
            for place in 0..first {
                line.push(number(batch.column(place), row));
            }
            for (place, field) in groups.by.iter().enumerate() {
                line.push(cell(*field, batch.column(first + place), row));
            }
            let mut told = batch.columns()[values + 1..].iter();
            for measure in &groups.measures {
                line.push(match measure {
                    Measure::Count => Cell::Number(weight.value(row)),
                    _ => told
                        .next()
                        .map_or(Cell::Missing, |column| number(column, row)),
                });
            }
            lines.push(line);
        }
    }
    let total = lines.len() as u64;
    lines.sort_unstable_by(|a, b| {
        let bucket = a[..first].cmp(&b[..first]);
        let measure = groups.order.map(|(measure, order)| {
            let (a, b) = (&a[values + measure], &b[values + measure]);
            match order {
                Order::Ascending => a.cmp(b),
                Order::Descending => b.cmp(a),
            }
        });
        bucket
            .then(measure.unwrap_or(std::cmp::Ordering::Equal))
            .then_with(|| a[first..values].cmp(&b[first..values]))
    });
    let same = |a: &Vec<Cell>, b: &Vec<Cell>| a[..first] == b[..first];
    let lines = lines
        .chunk_by(same)
        .flat_map(|bucket| &bucket[..bucket.len().min(groups.top)])
        .cloned()
        .collect();
    Answer {
        columns: groups.columns(),
        lines,
        next: None,
        total,
    }
}

fn number(column: &ArrayRef, row: usize) -> Cell {
    if column.is_null(row) {
        return Cell::Missing;
    }
    Cell::Number(match column.data_type() {
        DataType::Decimal128(..) => {
            let sum = column.as_primitive::<Decimal128Type>().value(row);
            i64::try_from(sum).unwrap_or(i64::MAX)
        }
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row),
        _ => return Cell::Missing,
    })
}

fn cell(field: Field, column: &ArrayRef, row: usize) -> Cell {
    if column.is_null(row) {
        return Cell::Missing;
    }
    match column.data_type() {
        DataType::Utf8 => Cell::Text(column.as_string::<i32>().value(row).into()),
        DataType::Boolean => Cell::Bool(column.as_boolean().value(row)),
        DataType::FixedSizeBinary(16) => {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(column.as_fixed_size_binary().value(row));
            match field.kind() {
                Kind::Ip => Cell::Ip(ip_from_bytes(bytes)),
                _ => Cell::Uuid(Uuid::from_bytes(bytes)),
            }
        }
        _ => number(column, row),
    }
}
