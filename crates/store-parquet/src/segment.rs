//! Sealed rows: a directory of Parquet files that never change.
//!
//! `rows.parquet` holds the rows, sorted by what decided of them, with codes of `names.zst`
//! beside it; roll-ups lie there too ([`crate::rollup`]). What is deleted from a segment later is
//! named in a file of its own, so that the rows stay as they are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{
    Array, ArrayRef, Int64Array, RecordBatch, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use datafusion::parquet::arrow::arrow_writer::ArrowWriter;
use datafusion::parquet::basic::{Compression, Encoding, ZstdLevel};
use datafusion::parquet::data_type::FixedLenByteArray;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::PageIndexPolicy;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use datafusion::parquet::file::reader::{ChunkReader, Length};
use datafusion::parquet::file::statistics::Statistics;
use datafusion::parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};

use crate::log::sync_directory;
use crate::names::{Names, Pool};
use crate::row::{Col, SCHEMA};

/// Rows of one group of a Parquet file: what is read, and skipped, at once.
pub(crate) const GROUP: usize = 1 << 17;

/// What the manifest says of a segment.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Facts {
    pub(crate) id: u64,
    /// The time that its rows end in, as the name of a directory.
    pub(crate) partition: String,
    pub(crate) rows: u64,
    /// Rows with updates before them that were not there when it was sealed.
    pub(crate) orphans: u64,
    /// Its files and their lengths.
    pub(crate) files: BTreeMap<String, u64>,
    pub(crate) start: (i64, i64),
    pub(crate) end: (i64, i64),
    /// The file that names its dead rows, and how many they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dead: Option<(u64, u64)>,
}

impl Facts {
    pub(crate) fn bytes(&self) -> u64 {
        self.files.values().sum()
    }

    pub(crate) fn directory(&self, root: &Path) -> PathBuf {
        root.join("segments")
            .join(&self.partition)
            .join(format!("{:012}", self.id))
    }
}

/// A segment that can be asked.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) facts: Facts,
    pub(crate) directory: PathBuf,
    /// Rows that are no more, ascending.
    pub(crate) dead: Arc<Vec<u32>>,
    opened: Arc<Mutex<Option<Arc<Opened>>>>,
    pool: Arc<Pool>,
}

/// What is kept of a segment that was asked.
#[derive(Debug)]
pub(crate) struct Opened {
    file: Pread,
    metadata: ArrowReaderMetadata,
    rollups: Mutex<Vec<(&'static str, RecordBatch)>>,
    answers: Mutex<VecDeque<(String, Option<RecordBatch>)>>,
    /// Columns of dead rows, and how many rows were dead then.
    dead: Mutex<(usize, BTreeMap<Col, ArrayRef>)>,
    /// When it was asked last, in the order of [`ASKED`].
    asked: AtomicU64,
    pub(crate) names: Arc<Names>,
    /// Of each group.
    pub(crate) bounds: Vec<Bounds>,
}

impl Opened {
    /// What was answered to a question about the whole segment.
    pub(crate) fn answer(&self, question: &str) -> Option<Option<RecordBatch>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = answers.iter();
        known
            .find(|(known, _)| known == question)
            .map(|(_, answer)| answer.clone())
    }

    /// Remembers a short answer, as its rows never change.
    pub(crate) fn remember(&self, question: String, answer: &Option<RecordBatch>) {
        if answer.as_ref().is_some_and(|it| it.num_rows() > SHORT) {
            return;
        }
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS {
            answers.pop_front();
        }
        answers.push_back((question, answer.clone()));
    }
}

/// Answers of more lines are not remembered.
const SHORT: usize = 4096;
/// So many answers are.
const ANSWERS: usize = 4;

/// What is known of some rows without reading them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    /// The place of the first of them in the segment.
    pub(crate) first: usize,
    pub(crate) rows: usize,
    numbers: Vec<Option<Span>>,
}

/// The least and the greatest number of a column.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) min: i64,
    pub(crate) max: i64,
    /// Whether some are missing.
    pub(crate) missing: bool,
}

impl Bounds {
    /// Of so many rows of which nothing is known.
    pub(crate) fn unknown(rows: usize) -> Self {
        Self {
            rows,
            ..Self::default()
        }
    }

    pub(crate) fn of(&self, col: Col) -> Option<Span> {
        self.numbers.get(col as usize).copied().flatten()
    }

    /// A column whose values are all the same, which need not be read.
    pub(crate) fn same(&self, col: Col) -> Option<ArrayRef> {
        let span = self.of(col)?;
        if span.min != span.max || span.missing {
            return None;
        }
        let (value, rows) = (span.min, self.rows);
        Some(match col.data_type() {
            DataType::UInt8 => Arc::new(UInt8Array::from_value(value as u8, rows)),
            DataType::UInt16 => Arc::new(UInt16Array::from_value(value as u16, rows)),
            DataType::UInt32 => Arc::new(UInt32Array::from_value(value as u32, rows)),
            DataType::UInt64 => Arc::new(UInt64Array::from_value(value as u64, rows)),
            DataType::Int64 => Arc::new(Int64Array::from_value(value, rows)),
            _ => return None,
        })
    }
}

/// Why a segment cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentError {
    #[error("cannot read {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is damaged")]
    Parquet { path: PathBuf, source: ParquetError },
    #[error("{path} is damaged")]
    Names {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("{path} has {found} bytes and should have {expected}")]
    Length {
        path: PathBuf,
        found: u64,
        expected: u64,
    },
}

impl SegmentError {
    /// The file.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::Parquet { path, .. }
            | Self::Names { path, .. }
            | Self::Length { path, .. } => path,
        }
    }

    /// True where the file is at fault and not the machine.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
            ),
            _ => true,
        }
    }
}

impl Segment {
    pub(crate) fn new(root: &Path, facts: Facts, dead: Vec<u32>, pool: Arc<Pool>) -> Self {
        Self {
            directory: facts.directory(root),
            facts,
            dead: Arc::new(dead),
            opened: Arc::default(),
            pool,
        }
    }

    /// The same with other dead rows.
    pub(crate) fn with_dead(&self, file: u64, dead: Vec<u32>) -> Self {
        let mut facts = self.facts.clone();
        facts.dead = Some((file, dead.len() as u64));
        Self {
            facts,
            directory: self.directory.clone(),
            dead: Arc::new(dead),
            opened: self.opened.clone(),
            pool: self.pool.clone(),
        }
    }

    /// The same with other dead rows, which are in no file yet.
    pub(crate) fn with_more_dead(&self, dead: Vec<u32>) -> Self {
        Self {
            facts: self.facts.clone(),
            directory: self.directory.clone(),
            dead: Arc::new(dead),
            opened: self.opened.clone(),
            pool: self.pool.clone(),
        }
    }

    /// How many rows are not dead.
    pub(crate) fn alive(&self) -> u64 {
        self.facts.rows.saturating_sub(self.dead.len() as u64)
    }

    /// Those of its dead rows that are among some.
    pub(crate) fn dead_among(&self, some: &Bounds) -> &[u32] {
        let before = |end: usize| self.dead.partition_point(|row| (*row as usize) < end);
        &self.dead[before(some.first)..before(some.first + some.rows)]
    }

    /// How many hold its files open.
    pub(crate) fn readers(&self) -> usize {
        Arc::strong_count(&self.opened)
    }

    /// Makes sure that its files are there as long as they were written.
    pub(crate) fn check(&self) -> Result<(), SegmentError> {
        for (name, expected) in &self.facts.files {
            let path = self.directory.join(name);
            let found = match std::fs::metadata(&path) {
                Ok(metadata) => metadata.len(),
                Err(source) => return Err(SegmentError::Io { path, source }),
            };
            if found != *expected {
                return Err(SegmentError::Length {
                    path,
                    found,
                    expected: *expected,
                });
            }
        }
        Ok(())
    }

    /// Its head, read once and kept until it is [closed](Self::close).
    pub(crate) fn open(&self) -> Result<Arc<Opened>, SegmentError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let head = match &*opened {
            Some(head) => head.clone(),
            None => {
                let head = Arc::new(self.read_head()?);
                *opened = Some(head.clone());
                head
            }
        };
        head.asked
            .store(ASKED.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Ok(head)
    }

    /// When it was asked last, if it is open.
    pub(crate) fn asked(&self) -> Option<u64> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened
            .as_ref()
            .map(|head| head.asked.load(Ordering::Relaxed))
    }

    /// Forgets what was read of it.
    pub(crate) fn close(&self) {
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn read_head(&self) -> Result<Opened, SegmentError> {
        let path = self.directory.join(ROWS);
        let (file, metadata) = open_parquet(&path)?;
        let mut first = 0;
        let bounds = metadata
            .metadata()
            .row_groups()
            .iter()
            .map(|group| {
                let rows = usize::try_from(group.num_rows()).unwrap_or_default();
                let numbers = Col::ALL
                    .iter()
                    .map(|col| {
                        group
                            .columns()
                            .get(*col as usize)
                            .and_then(|column| column.statistics())
                            .and_then(|statistics| span(*col, statistics))
                    })
                    .collect();
                first += rows;
                Bounds {
                    first: first - rows,
                    rows,
                    numbers,
                }
            })
            .collect();
        Ok(Opened {
            file,
            metadata,
            rollups: Mutex::default(),
            answers: Mutex::default(),
            dead: Mutex::default(),
            asked: AtomicU64::new(0),
            names: Arc::new(self.read_names()?),
            bounds,
        })
    }

    fn read_names(&self) -> Result<Names, SegmentError> {
        let path = self.directory.join(NAMES);
        let mut lines = Vec::new();
        let read = File::open(&path)
            .and_then(zstd::Decoder::new)
            .and_then(|mut from| from.read_to_end(&mut lines));
        if let Err(source) = read {
            return Err(SegmentError::Io { path, source });
        }
        Names::of_lines(&lines, &self.pool).map_err(|source| SegmentError::Names { path, source })
    }

    /// Columns of one group; of all its rows, or of some.
    pub(crate) fn read(
        &self,
        group: usize,
        cols: &[Col],
        some: Option<RowSelection>,
    ) -> Result<RecordBatch, SegmentError> {
        let opened = self.open()?;
        let damaged = |source| SegmentError::Parquet {
            path: self.directory.join(ROWS),
            source,
        };
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            opened.file.clone(),
            opened.metadata.clone(),
        );
        let mask = ProjectionMask::roots(
            builder.parquet_schema(),
            cols.iter().map(|col| *col as usize),
        );
        builder = builder
            .with_projection(mask)
            .with_row_groups(vec![group])
            .with_batch_size(GROUP);
        if let Some(some) = some {
            builder = builder.with_row_selection(some);
        }
        let reader = builder.build().map_err(damaged)?;
        let schema = datafusion::arrow::array::RecordBatchReader::schema(&reader);
        let batches = reader
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| damaged(error.into()))?;
        match <[RecordBatch; 1]>::try_from(batches) {
            Ok([batch]) => Ok(batch),
            Err(batches) => datafusion::arrow::compute::concat_batches(&schema, &batches)
                .map_err(|error| damaged(error.into())),
        }
    }

    /// Keeps those of the ids that a group may have.
    pub(crate) fn may_have(&self, group: usize, ids: &mut Vec<u128>) -> Result<(), SegmentError> {
        let opened = self.open()?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            opened.file.clone(),
            opened.metadata.clone(),
        );
        let bloom = builder
            .get_row_group_column_bloom_filter(group, Col::Id as usize)
            .map_err(|source| SegmentError::Parquet {
                path: self.directory.join(ROWS),
                source,
            })?;
        if let Some(bloom) = bloom {
            ids.retain(|id| bloom.check(&FixedLenByteArray::from(id.to_be_bytes().to_vec())));
        }
        Ok(())
    }

    /// One column of one group.
    pub(crate) fn column(&self, group: usize, col: Col) -> Result<ArrayRef, SegmentError> {
        Ok(self.read(group, &[col], None)?.column(0).clone())
    }

    /// Columns of its dead rows, which are kept in memory: they are taken off roll-ups.
    pub(crate) fn dead_rows(&self, cols: &BTreeSet<Col>) -> Result<RecordBatch, SegmentError> {
        let opened = self.open()?;
        let mut kept = opened.dead.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0 != self.dead.len() {
            *kept = (self.dead.len(), BTreeMap::new());
        }
        let damaged = |source: ArrowError| SegmentError::Parquet {
            path: self.directory.join(ROWS),
            source: source.into(),
        };
        let missing: Vec<Col> = cols
            .iter()
            .copied()
            .filter(|col| !kept.1.contains_key(col))
            .collect();
        if !missing.is_empty() {
            let mut batches = Vec::new();
            for (group, bounds) in opened.bounds.iter().enumerate() {
                let dead = self.dead_among(bounds);
                if !dead.is_empty() {
                    let rows: Vec<usize> = dead
                        .iter()
                        .map(|row| *row as usize - bounds.first)
                        .collect();
                    batches.push(self.read(
                        group,
                        &missing,
                        Some(selection(&rows, bounds.rows)),
                    )?);
                }
            }
            for col in missing {
                let pieces: Vec<&dyn Array> = batches
                    .iter()
                    .filter_map(|batch| batch.column_by_name(col.name()))
                    .map(|column| &**column)
                    .collect();
                kept.1.insert(col, concat(&pieces).map_err(damaged)?);
            }
        }
        let columns = cols.iter().filter_map(|col| {
            let column = kept.1.get(col)?;
            Some((col.name(), column.clone()))
        });
        RecordBatch::try_from_iter(columns).map_err(damaged)
    }

    /// A roll-up, if it has that one.
    pub(crate) fn rollup(&self, name: &'static str) -> Result<Option<RecordBatch>, SegmentError> {
        if !self.facts.files.contains_key(name) {
            return Ok(None);
        }
        let opened = self.open()?;
        let mut read = opened
            .rollups
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rollup)) = read.iter().find(|(known, _)| *known == name) {
            return Ok(Some(rollup.clone()));
        }
        let rollup = self.read_rollup(name)?;
        if rollup.num_rows() <= SMALL {
            read.push((name, rollup.clone()));
        }
        Ok(Some(rollup))
    }

    fn read_rollup(&self, name: &str) -> Result<RecordBatch, SegmentError> {
        let path = self.directory.join(name);
        let (file, metadata) = open_parquet(&path)?;
        let rows = usize::try_from(metadata.metadata().file_metadata().num_rows());
        let read = || -> Result<RecordBatch, ParquetError> {
            let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
                .with_batch_size(rows.unwrap_or(GROUP).max(1))
                .build()?;
            let schema = datafusion::arrow::array::RecordBatchReader::schema(&reader);
            let batches = reader.collect::<Result<Vec<_>, _>>()?;
            Ok(datafusion::arrow::compute::concat_batches(
                &schema, &batches,
            )?)
        };
        read().map_err(|source| SegmentError::Parquet { path, source })
    }
}

/// The Parquet reader's word for some rows.
pub(crate) fn selection(rows: &[usize], all: usize) -> RowSelection {
    let mut selectors = Vec::new();
    let mut next = 0;
    for row in rows {
        if *row > next {
            selectors.push(RowSelector::skip(row - next));
        }
        selectors.push(RowSelector::select(1));
        next = row + 1;
    }
    if all > next {
        selectors.push(RowSelector::skip(all - next));
    }
    selectors.into()
}

/// Counts the times that segments are asked.
static ASKED: AtomicU64 = AtomicU64::new(0);
/// Roll-ups of no more lines are kept in memory.
const SMALL: usize = 1 << 15;

const ROWS: &str = "rows.parquet";
const NAMES: &str = "names.zst";

fn open_parquet(path: &Path) -> Result<(Pread, ArrowReaderMetadata), SegmentError> {
    let file = Pread::open(path).map_err(|source| SegmentError::Io {
        path: path.to_owned(),
        source,
    })?;
    let metadata = ArrowReaderMetadata::load(
        &file,
        ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional),
    )
    .map_err(|source| SegmentError::Parquet {
        path: path.to_owned(),
        source,
    })?;
    Ok((file, metadata))
}

fn span(col: Col, statistics: &Statistics) -> Option<Span> {
    let number = |signed: i64| match col.data_type() {
        DataType::UInt32 => Some(i64::from(signed as u32)),
        DataType::UInt64 if signed < 0 => None,
        _ => Some(signed),
    };
    let (min, max) = match statistics {
        Statistics::Int32(it) => (i64::from(*it.min_opt()?), i64::from(*it.max_opt()?)),
        Statistics::Int64(it) => (*it.min_opt()?, *it.max_opt()?),
        _ => return None,
    };
    Some(Span {
        min: number(min)?,
        max: number(max)?,
        missing: statistics.null_count_opt() != Some(0),
    })
}

/// Writes the files of a new segment.
pub(crate) struct Writer {
    directory: PathBuf,
    rows: ArrowWriter<File>,
}

impl Writer {
    pub(crate) fn create(directory: &Path) -> Result<Self, SegmentError> {
        let rows = directory.join(ROWS);
        let made = std::fs::create_dir_all(directory).and_then(|()| File::create(&rows));
        let file = made.map_err(|source| SegmentError::Io {
            path: rows.clone(),
            source,
        })?;
        let writer = ArrowWriter::try_new(file, SCHEMA.clone(), Some(properties()));
        match writer {
            Ok(writer) => Ok(Self {
                directory: directory.to_owned(),
                rows: writer,
            }),
            Err(source) => Err(SegmentError::Parquet { path: rows, source }),
        }
    }

    /// Adds a group of rows.
    pub(crate) fn write(&mut self, group: &RecordBatch) -> Result<(), SegmentError> {
        let done = self.rows.write(group).and_then(|()| self.rows.flush());
        done.map_err(|source| written(self.directory.join(ROWS), source))
    }

    /// Ends it; when it returns all is on the disk. Tells the files and their lengths.
    pub(crate) fn finish(
        self,
        names: &Names,
        rollups: &[(&str, RecordBatch)],
    ) -> Result<BTreeMap<String, u64>, SegmentError> {
        let mut files = BTreeMap::new();
        let path = self.directory.join(ROWS);
        let file = match self.rows.into_inner() {
            Ok(file) => file,
            Err(source) => return Err(written(path, source)),
        };
        let mut done = |name: &str, file: &File| -> io::Result<()> {
            file.sync_all()?;
            files.insert(name.to_owned(), file.metadata()?.len());
            Ok(())
        };
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| SegmentError::Io { path, source }
        };
        done(ROWS, &file).map_err(io(&path))?;
        let path = self.directory.join(NAMES);
        let lines = match names.lines() {
            Ok(lines) => lines,
            Err(source) => return Err(SegmentError::Names { path, source }),
        };
        let write = || -> io::Result<File> {
            let mut to = zstd::Encoder::new(File::create(&path)?, 1)?;
            to.write_all(&lines)?;
            to.finish()
        };
        let file = write().map_err(io(&path))?;
        done(NAMES, &file).map_err(io(&path))?;
        for (name, rollup) in rollups {
            let path = self.directory.join(name);
            let file = File::create(&path).map_err(io(&path))?;
            let write = |file: File| -> Result<File, ParquetError> {
                let mut to = ArrowWriter::try_new(file, rollup.schema(), Some(plain_properties()))?;
                to.write(rollup)?;
                to.into_inner()
            };
            let file = match write(file) {
                Ok(file) => file,
                Err(source) => return Err(written(path, source)),
            };
            done(name, &file).map_err(io(&path))?;
        }
        let parents = self.directory.ancestors().take(3);
        for directory in parents {
            sync_directory(directory).map_err(io(directory))?;
        }
        Ok(files)
    }
}

/// A full disk is the machine's fault, also where the Parquet writer met it.
fn written(path: PathBuf, source: ParquetError) -> SegmentError {
    if let ParquetError::External(cause) = &source
        && let Some(cause) = cause.downcast_ref::<io::Error>()
    {
        let source = match cause.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(cause.kind(), cause.to_string()),
        };
        return SegmentError::Io { path, source };
    }
    SegmentError::Io {
        path,
        source: io::Error::other(source),
    }
}

fn plain_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::None)
        .build()
}

fn properties() -> WriterProperties {
    let path = |col: Col| ColumnPath::from(col.name());
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP))
        .set_statistics_enabled(EnabledStatistics::Page)
        // Ids are hashes: nothing is equal, nothing is less.
        .set_column_dictionary_enabled(path(Col::Id), false)
        .set_column_compression(path(Col::Id), Compression::UNCOMPRESSED)
        .set_column_statistics_enabled(path(Col::Id), EnabledStatistics::None)
        .set_column_bloom_filter_enabled(path(Col::Id), true)
        .set_column_bloom_filter_fpp(path(Col::Id), 0.01)
        .set_column_bloom_filter_max_ndv(path(Col::Id), GROUP as u64)
        .set_column_dictionary_enabled(path(Col::SrcPort), false);
    for col in [Col::Start, Col::End, Col::EgressSince, Col::IngressSince] {
        builder = builder
            .set_column_dictionary_enabled(path(col), false)
            .set_column_encoding(path(col), Encoding::DELTA_BINARY_PACKED);
    }
    for col in [Col::SrcIp, Col::DstIp] {
        builder = builder
            .set_column_bloom_filter_enabled(path(col), true)
            .set_column_bloom_filter_max_ndv(path(col), 1 << 15);
    }
    builder.build()
}

/// A file that many threads read at once.
#[derive(Clone, Debug)]
struct Pread {
    file: Arc<File>,
    length: u64,
}

impl Pread {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self {
            file: Arc::new(file),
            length,
        })
    }
}

impl Length for Pread {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Pread {
    type T = io::BufReader<At>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(io::BufReader::new(At {
            file: self.file.clone(),
            place: start,
        }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes, ParquetError> {
        let mut out = vec![0; length];
        self.file.read_exact_at(&mut out, start)?;
        Ok(out.into())
    }
}

/// Reads on from a place.
struct At {
    file: Arc<File>,
    place: u64,
}

impl Read for At {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(to, self.place)?;
        self.place += count as u64;
        Ok(count)
    }
}

/// Writes the list of dead rows of a segment.
pub(crate) fn write_dead(path: &Path, dead: &[u32]) -> io::Result<()> {
    let mut content = Vec::with_capacity(dead.len() * 4 + 4);
    for row in dead {
        content.extend_from_slice(&row.to_le_bytes());
    }
    let crc = crc32fast::hash(&content);
    content.extend_from_slice(&crc.to_le_bytes());
    let mut file = File::create(path)?;
    file.write_all(&content)?;
    file.sync_all()
}

/// The reverse of [`write_dead`].
pub(crate) fn read_dead(path: &Path) -> io::Result<Vec<u32>> {
    let content = std::fs::read(path)?;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "checksum differs");
    let (rows, crc) = content.split_last_chunk::<4>().ok_or_else(damaged)?;
    if crc32fast::hash(rows) != u32::from_le_bytes(*crc) {
        return Err(damaged());
    }
    Ok(rows
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| u32::from_le_bytes(*bytes))
        .collect())
}
