//! Rows of memory and of segments, one chunk after the other, columns read when asked for.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::error::ArrowError;
use netverdict_types::Connection;

use crate::filter::Filter;
use crate::names::Names;
use crate::row::{Col, Decoder, column, u128_at};
use crate::segment::{Bounds, Segment, SegmentError, selection};

/// Why rows cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    #[error(transparent)]
    Segment(#[from] SegmentError),
    #[error("cannot work on rows")]
    Arrow(#[from] ArrowError),
    #[error("a file of the segment does not read")]
    Damaged,
    #[error("the engine failed")]
    DataFusion(#[from] datafusion::error::DataFusionError),
}

/// Rows in memory.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) batch: RecordBatch,
    pub(crate) names: Arc<Names>,
    /// Rows that are no more.
    pub(crate) dead: Option<Arc<BooleanBuffer>>,
}

/// All rows at one moment: each connection once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) parts: Vec<Part>,
}

/// Some rows that are looked at together.
pub(crate) struct Chunk<'a> {
    source: Source<'a>,
    names: Arc<Names>,
    bounds: Bounds,
    columns: [Option<ArrayRef>; Col::ALL.len()],
}

enum Source<'a> {
    Part(&'a Part),
    Group(&'a Segment, usize),
}

impl<'a> Chunk<'a> {
    pub(crate) fn of_part(part: &'a Part) -> Self {
        Self {
            source: Source::Part(part),
            names: part.names.clone(),
            bounds: Bounds::unknown(part.batch.num_rows()),
            columns: [const { None }; Col::ALL.len()],
        }
    }

    pub(crate) fn of_group(segment: &'a Segment, group: usize) -> Result<Self, ScanError> {
        let opened = segment.open()?;
        Ok(Self {
            source: Source::Group(segment, group),
            names: opened.names.clone(),
            bounds: opened.bounds.get(group).cloned().unwrap_or_default(),
            columns: [const { None }; Col::ALL.len()],
        })
    }

    pub(crate) fn names(&self) -> Arc<Names> {
        self.names.clone()
    }

    pub(crate) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The rows that are not dead; `None` where none is.
    pub(crate) fn alive(&self) -> Option<BooleanBuffer> {
        match &self.source {
            Source::Part(part) => part.dead.as_ref().map(|dead| !&**dead),
            Source::Group(segment, _) => {
                let dead = segment.dead_among(&self.bounds);
                if dead.is_empty() {
                    return None;
                }
                let mut alive = vec![true; self.bounds.rows];
                for row in dead {
                    alive[*row as usize - self.bounds.first] = false;
                }
                Some(BooleanBuffer::from(alive))
            }
        }
    }

    /// A column, read once.
    pub(crate) fn column(&mut self, col: Col) -> Result<ArrayRef, ScanError> {
        if let Some(column) = &self.columns[col as usize] {
            return Ok(column.clone());
        }
        let column = match &self.source {
            Source::Part(part) => match part.batch.column_by_name(col.name()) {
                Some(column) => column.clone(),
                None => {
                    let what = format!("rows without the column {}", col.name());
                    return Err(ArrowError::SchemaError(what).into());
                }
            },
            Source::Group(segment, group) => match self.bounds.same(col) {
                Some(column) => column,
                None => segment.column(*group, col)?,
            },
        };
        self.columns[col as usize] = Some(column.clone());
        Ok(column)
    }

    /// Puts another column in the place of one.
    pub(crate) fn replace(&mut self, col: Col, column: ArrayRef) {
        self.columns[col as usize] = Some(column);
    }

    /// A column that only roll-ups have.
    pub(crate) fn extra(&self, name: &str) -> Option<ArrayRef> {
        match &self.source {
            Source::Part(part) => part.batch.column_by_name(name).cloned(),
            Source::Group(..) => None,
        }
    }

    /// The ids of some rows, which ascend.
    pub(crate) fn ids(&self, rows: &[usize]) -> Result<Vec<u128>, ScanError> {
        match &self.source {
            Source::Part(part) => {
                let ids = column(&part.batch, Col::Id)?;
                Ok(rows.iter().map(|row| u128_at(ids, *row)).collect())
            }
            Source::Group(segment, group) => {
                let some = selection(rows, self.bounds.rows);
                let batch = segment.read(*group, &[Col::Id], Some(some))?;
                let ids: &FixedSizeBinaryArray = column(&batch, Col::Id)?;
                Ok((0..batch.num_rows()).map(|row| u128_at(ids, row)).collect())
            }
        }
    }

    /// Whole connections of some rows, which ascend.
    pub(crate) fn connections(&self, rows: &[usize]) -> Result<Vec<Connection>, ScanError> {
        match &self.source {
            Source::Part(part) => {
                let decoder = Decoder::new(&part.batch, &part.names)?;
                Ok(rows.iter().map(|row| decoder.row(*row)).collect())
            }
            Source::Group(segment, group) => {
                let batch =
                    segment.read(*group, &Col::ALL, Some(selection(rows, self.bounds.rows)))?;
                let decoder = Decoder::new(&batch, &self.names)?;
                Ok((0..batch.num_rows()).map(|row| decoder.row(row)).collect())
            }
        }
    }
}

/// Calls `see` with the chunks of a segment that may have rows that match.
pub(crate) fn groups<'a>(
    segment: &'a Segment,
    filter: &Filter,
    mut see: impl FnMut(Chunk<'a>) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    if !filter.may_overlap(segment.facts.start, segment.facts.end) {
        return Ok(());
    }
    let opened = segment.open()?;
    for (group, bounds) in opened.bounds.iter().enumerate() {
        if filter.may_match(&opened.names, bounds) {
            see(Chunk::of_group(segment, group)?)?;
        }
    }
    Ok(())
}
