//! The log: what was acknowledged and is not yet in a file of its own.
//!
//! A log is a file of records, each `length, crc32, payload`. A payload is what was
//! acknowledged at once: writers and the numbers of their batches, the names that are new, and
//! the columns as they lie in memory. All numbers are
//! little-endian. A record that a crash cut short at the end of the last log was acknowledged to
//! nobody; any other record that does not read is damage, and set aside.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use datafusion::arrow::array::{Array, ArrayData, ArrayRef, RecordBatch, make_array};
use datafusion::arrow::buffer::{Buffer, NullBuffer};
use datafusion::arrow::datatypes::DataType;

use crate::names::Names;
use crate::row::{Col, SCHEMA};

const MAGIC: &[u8; 8] = b"nvlog001";
/// A greater length is damage.
const LONGEST: u32 = 1 << 30;

/// What was acknowledged at once.
#[derive(Debug)]
pub(crate) struct Record {
    /// Writers and the numbers of their batches.
    pub(crate) writers: Vec<(String, u64)>,
    pub(crate) batch: RecordBatch,
}

/// Writes a record behind `out`; `names` are the lines of those that are new.
pub(crate) fn put(out: &mut Vec<u8>, writers: &[(String, u64)], names: &[u8], batch: &RecordBatch) {
    let begin = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&(writers.len() as u32).to_le_bytes());
    for (writer, number) in writers {
        bytes(out, writer.as_bytes());
        out.extend_from_slice(&number.to_le_bytes());
    }
    bytes(out, names);
    out.extend_from_slice(&(batch.num_rows() as u32).to_le_bytes());
    for array in batch.columns() {
        let data = array.to_data();
        match data.nulls() {
            None => out.push(0),
            Some(nulls) => {
                out.push(1);
                let bits = nulls.inner().sliced();
                bytes(out, &bits.as_slice()[..data.len().div_ceil(8)]);
            }
        }
        match width(data.data_type()) {
            Some(width) => {
                let from = data.offset() * width;
                bytes(
                    out,
                    &data.buffers()[0].as_slice()[from..from + data.len() * width],
                );
            }
            None => {
                let offsets = &data.buffers()[0].typed_data::<i32>()
                    [data.offset()..=data.offset() + data.len()];
                let (first, last) = (offsets[0], offsets[data.len()]);
                for offset in offsets {
                    out.extend_from_slice(&(offset - first).to_le_bytes());
                }
                bytes(
                    out,
                    &data.buffers()[1].as_slice()[first as usize..last as usize],
                );
            }
        }
    }
    let payload = &out[begin + 8..];
    let (length, crc) = (payload.len() as u32, crc32fast::hash(payload));
    out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    out[begin + 4..begin + 8].copy_from_slice(&crc.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, it: &[u8]) {
    out.extend_from_slice(&(it.len() as u32).to_le_bytes());
    out.extend_from_slice(it);
}

/// Bytes of one value, where all have the same.
fn width(kind: &DataType) -> Option<usize> {
    match kind {
        DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
        kind => kind.primitive_width(),
    }
}

/// What became of a log that was read.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub(crate) names: Names,
    pub(crate) records: Vec<Record>,
    /// How far it reads.
    pub(crate) good: u64,
    /// Bytes behind that.
    pub(crate) rest: u64,
    /// True if what follows was once whole: it is not the short end that a crash leaves.
    pub(crate) damaged: bool,
}

/// Reads a log as far as it can be read.
pub(crate) fn replay(path: &Path) -> io::Result<Replay> {
    let mut content = Vec::new();
    File::open(path)?.read_to_end(&mut content)?;
    let mut out = Replay::default();
    let Some(records) = content.strip_prefix(MAGIC) else {
        out.rest = content.len() as u64;
        out.damaged = content.len() >= MAGIC.len();
        return Ok(out);
    };
    let mut left = records;
    while !left.is_empty() {
        let mut at = left;
        let Some((length, crc)) = number(&mut at).zip(number(&mut at)) else {
            break;
        };
        let Some(payload) = at.get(..length as usize).filter(|_| length <= LONGEST) else {
            // Cut short, or a length that is damage; zeros are what a crash may leave as well.
            out.damaged = length > LONGEST;
            break;
        };
        if crc32fast::hash(payload) != crc {
            // A page of the end that was not written yet reads as zeros.
            out.damaged =
                at.len() > length as usize && at[length as usize..].iter().any(|byte| *byte != 0);
            break;
        }
        match record(payload, &mut out.names) {
            Some(record) => out.records.push(record),
            None => {
                out.damaged = true;
                break;
            }
        }
        left = &at[length as usize..];
    }
    out.good = (content.len() - left.len()) as u64;
    out.rest = left.len() as u64;
    Ok(out)
}

fn number(from: &mut &[u8]) -> Option<u32> {
    let (head, rest) = from.split_first_chunk::<4>()?;
    *from = rest;
    Some(u32::from_le_bytes(*head))
}

fn piece<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(from)? as usize;
    let (head, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(head)
}

fn record(payload: &[u8], names: &mut Names) -> Option<Record> {
    let mut from = payload;
    let mut writers = Vec::new();
    for _ in 0..number(&mut from)? {
        let writer = std::str::from_utf8(piece(&mut from)?).ok()?.to_owned();
        let (head, rest) = from.split_first_chunk::<8>()?;
        writers.push((writer, u64::from_le_bytes(*head)));
        from = rest;
    }
    let lines = piece(&mut from)?;
    let rows = number(&mut from)? as usize;
    let columns = Col::ALL
        .iter()
        .map(|col| array(&mut from, col.data_type(), rows))
        .collect::<Option<Vec<ArrayRef>>>()?;
    let batch = RecordBatch::try_new(SCHEMA.clone(), columns).ok()?;
    names.read(lines).ok()?;
    Some(Record { writers, batch })
}

fn array(from: &mut &[u8], kind: DataType, rows: usize) -> Option<ArrayRef> {
    let (has_nulls, rest) = from.split_first()?;
    *from = rest;
    let nulls = match has_nulls {
        0 => None,
        _ => {
            let bits = Buffer::from(piece(from)?);
            (bits.len() * 8 >= rows).then_some(())?;
            Some(NullBuffer::new(
                datafusion::arrow::buffer::BooleanBuffer::new(bits, 0, rows),
            ))
        }
    };
    let buffers = match width(&kind) {
        Some(_) => vec![aligned(piece(from)?)],
        None => {
            let (offsets, rest) = from.split_at_checked((rows + 1) * 4)?;
            *from = rest;
            vec![aligned(offsets), Buffer::from(piece(from)?)]
        }
    };
    ArrayData::builder(kind)
        .len(rows)
        .nulls(nulls)
        .buffers(buffers)
        .build()
        .ok()
        .map(make_array)
}

/// A copy, which starts where numbers of any size may.
fn aligned(bytes: &[u8]) -> Buffer {
    Buffer::from_slice_ref(bytes)
}

/// The log that is written.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    path: PathBuf,
    /// What is known to be written whole.
    length: u64,
}

impl Log {
    /// A new one.
    pub(crate) fn create(directory: &Path, number: u64) -> io::Result<Self> {
        let path = path(directory, number);
        let mut file = File::create(&path)?;
        file.write_all(MAGIC)?;
        file.sync_all()?;
        sync_directory(directory)?;
        Ok(Self {
            file,
            path,
            length: MAGIC.len() as u64,
        })
    }

    /// Writes records and returns when they are on the disk; else none of them counts.
    pub(crate) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        let done = self
            .file
            .write_all(records)
            .and_then(|()| self.file.sync_data());
        match done {
            Ok(()) => {
                self.length += records.len() as u64;
                Ok(())
            }
            Err(error) => {
                use std::io::Seek;
                self.file.set_len(self.length)?;
                self.file.seek(io::SeekFrom::Start(self.length))?;
                Err(error)
            }
        }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Where a log lies.
pub(crate) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:012}.log"))
}

/// The numbers of the logs that are there, in their order.
pub(crate) fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number: Option<u64> = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log"))
            .and_then(|digits| digits.parse().ok());
        out.extend(number);
    }
    out.sort_unstable();
    Ok(out)
}

/// Makes sure that names of files are on the disk.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
