use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

/// Reports that no server is known to keep yet, in the files of a directory.
///
/// A report is in a file before anybody is told of it, so that the end of the process costs none; an
/// end of the machine may cost those of the last seconds. When there is no room the oldest go, a file
/// at a time, and are counted.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    _lock: Flock<File>,
    limit: u64,
    incarnation: u64,
    number: u64,
    segments: VecDeque<Segment>,
    /// True where the last segment takes no more.
    is_closed: bool,
    counts: SpoolCounts,
}

/// A place in the row of all reports: incarnations begin one after the other, and number theirs from 1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Position {
    /// Which start of the agent made it.
    pub incarnation: u64,
    /// Which of its reports.
    pub number: u64,
}

/// A report.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// Its place.
    pub position: Position,
    /// The message.
    pub bytes: Vec<u8>,
}

/// What became of reports.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SpoolCounts {
    /// Reports taken.
    pub reports: u64,
    /// Reports dropped because there was no room: nobody is known to keep them.
    pub dropped_reports: u64,
    /// Decisions in these.
    pub dropped_decisions: u64,
    /// Reports that could not be written; they are lost.
    pub unwritten_reports: u64,
    /// Decisions in these.
    pub unwritten_decisions: u64,
    /// Bytes at the end of files that make no whole report, found at the start.
    pub torn_bytes: u64,
    /// Reports that were there and could not be read when they were to be sent.
    pub unread_reports: u64,
}

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Something failed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was done.
        what: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Somebody uses it.
    #[error("{} is in use by another agent: give each its own directory", .0.display())]
    InUse(PathBuf),
}

/// A file of reports.
#[derive(Debug)]
struct Segment {
    incarnation: u64,
    path: PathBuf,
    file: File,
    bytes: u64,
    records: VecDeque<Record>,
}

/// Where a report lies in its file.
#[derive(Clone, Copy, Debug)]
struct Record {
    number: u64,
    offset: u64,
    length: u32,
    decisions: u32,
}

/// Before each report: its length, the checksum of all behind the checksum, its number, and how many
/// decisions it has; little endian.
const HEADER: usize = 20;
/// Files that the limit is divided by: so much is dropped at a time.
const FILES: u64 = 16;
/// A file of fewer bytes is not worth it.
const SMALLEST: u64 = 4_096;
const SUFFIX: &str = "reports";

impl Spool {
    /// Opens a directory, which is made where it is not there, and begins an incarnation at `now`
    /// (nanoseconds since the epoch) or behind the last one there. At most `limit` bytes are kept.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn open(directory: &Path, limit: u64, now: u64) -> Result<Self, SpoolError> {
        fs::create_dir_all(directory).map_err(failed("make", directory))?;
        let path = directory.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|_| SpoolError::InUse(directory.to_owned()))?;
        let mut counts = SpoolCounts::default();
        let mut segments = Vec::new();
        let mut last = 0;
        for entry in fs::read_dir(directory).map_err(failed("read", directory))? {
            let path = entry.map_err(failed("read", directory))?.path();
            let Some((incarnation, first)) = parse_name(&path) else {
                continue;
            };
            last = last.max(incarnation);
            let segment = Segment::read(&path, incarnation, &mut counts)?;
            if segment.records.is_empty() {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            } else {
                segments.push((incarnation, first, segment));
            }
        }
        segments.sort_unstable_by_key(|(incarnation, first, _)| (*incarnation, *first));
        Ok(Self {
            directory: directory.to_owned(),
            _lock: lock,
            limit: limit.max(SMALLEST),
            incarnation: now.max(last + 1),
            number: 0,
            segments: segments.into_iter().map(|(.., it)| it).collect(),
            is_closed: true,
            counts,
        })
    }

    /// The place of the next report.
    pub fn next(&self) -> Position {
        Position {
            incarnation: self.incarnation,
            number: self.number + 1,
        }
    }

    /// Takes the next report, which has this many decisions. One that cannot be written is counted,
    /// and its number is not used again.
    ///
    /// # Errors
    /// Why it could not be written.
    pub fn push(&mut self, bytes: &[u8], decisions: u32) -> Result<(), SpoolError> {
        self.number += 1;
        self.counts.reports += 1;
        let written = self.write(bytes, decisions);
        if written.is_err() {
            self.counts.unwritten_reports += 1;
            self.counts.unwritten_decisions += u64::from(decisions);
            self.is_closed = true;
        }
        while self.bytes() > self.limit && self.segments.len() > 1 {
            self.drop_oldest();
        }
        written
    }

    /// The report behind a place, if there is one.
    pub fn after(&mut self, position: Position) -> Option<Report> {
        let mut from = position;
        loop {
            let found = self.segments.iter().find_map(|segment| {
                let record = segment.after(from)?;
                Some((segment, record))
            });
            let (segment, record) = found?;
            let position = Position {
                incarnation: segment.incarnation,
                number: record.number,
            };
            let mut bytes = vec![0; record.length as usize];
            let at = record.offset + HEADER as u64;
            match segment.file.read_exact_at(&mut bytes, at) {
                Ok(()) => return Some(Report { position, bytes }),
                Err(error) => {
                    tracing::error!("{}: a report is lost: {error}", segment.path.display());
                    self.counts.unread_reports += 1;
                    from = position;
                }
            }
        }
    }

    /// Somebody keeps all reports of this incarnation up to this number.
    pub fn kept(&mut self, up_to: Position) {
        for segment in &mut self.segments {
            if segment.incarnation == up_to.incarnation {
                let records = &mut segment.records;
                while records.front().is_some_and(|it| it.number <= up_to.number) {
                    records.pop_front();
                }
            }
        }
        // What is written to next is a new file where the last one goes.
        self.is_closed |= self.segments.back().is_none_or(|it| it.records.is_empty());
        for segment in std::mem::take(&mut self.segments) {
            match segment.records.is_empty() {
                true => segment.delete(),
                false => self.segments.push_back(segment),
            }
        }
    }

    /// The incarnations that there are reports of, and this one, oldest first.
    pub fn incarnations(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.segments.iter().map(|it| it.incarnation).collect();
        all.push(self.incarnation);
        all.dedup();
        all
    }

    /// How many reports there are.
    pub fn len(&self) -> usize {
        self.segments.iter().map(|it| it.records.len()).sum()
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of its files, and of what is remembered of their reports.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }

    /// What became of reports.
    pub fn counts(&self) -> SpoolCounts {
        self.counts
    }

    fn write(&mut self, bytes: &[u8], decisions: u32) -> Result<(), SpoolError> {
        let largest = (self.limit / FILES).max(SMALLEST);
        let is_full = self.segments.back().is_none_or(|it| it.size() >= largest);
        if self.is_closed || is_full {
            let name = format!("{:016x}-{:020}.{SUFFIX}", self.incarnation, self.number);
            let path = self.directory.join(name);
            let file = OpenOptions::new()
                .create_new(true)
                .read(true)
                .write(true)
                .open(&path)
                .map_err(failed("make", &path))?;
            self.segments.push_back(Segment {
                incarnation: self.incarnation,
                path,
                file,
                bytes: 0,
                records: VecDeque::new(),
            });
            self.is_closed = false;
        }
        let Some(segment) = self.segments.back_mut() else {
            return Ok(());
        };
        segment.append(self.number, bytes, decisions)
    }

    fn drop_oldest(&mut self) {
        let Some(segment) = self.segments.pop_front() else {
            return;
        };
        self.counts.dropped_reports += segment.records.len() as u64;
        let decisions = segment.records.iter().map(|it| u64::from(it.decisions));
        self.counts.dropped_decisions += decisions.sum::<u64>();
        segment.delete();
    }
}

impl Segment {
    fn read(path: &Path, incarnation: u64, counts: &mut SpoolCounts) -> Result<Self, SpoolError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed("open", path))?;
        let whole = fs::read(path).map_err(failed("read", path))?;
        let mut records = VecDeque::new();
        let mut at = 0;
        while let Some(record) = whole.get(at..).and_then(|rest| read_record(rest, at)) {
            at += HEADER + record.length as usize;
            records.push_back(record);
        }
        let torn = (whole.len() - at) as u64;
        if torn > 0 {
            counts.torn_bytes += torn;
            file.set_len(at as u64).map_err(failed("cut", path))?;
        }
        Ok(Self {
            incarnation,
            path: path.to_owned(),
            file,
            bytes: at as u64,
            records,
        })
    }

    fn append(&mut self, number: u64, bytes: &[u8], decisions: u32) -> Result<(), SpoolError> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut frame = Vec::with_capacity(HEADER + bytes.len());
        frame.extend(length.to_le_bytes());
        frame.extend([0; 4]);
        frame.extend(number.to_le_bytes());
        frame.extend(decisions.to_le_bytes());
        frame.extend(bytes);
        let sum = crc32fast::hash(&frame[8..]);
        frame[4..8].copy_from_slice(&sum.to_le_bytes());
        self.file
            .write_all_at(&frame, self.bytes)
            .map_err(failed("write", &self.path))?;
        self.records.push_back(Record {
            number,
            offset: self.bytes,
            length,
            decisions,
        });
        self.bytes += frame.len() as u64;
        Ok(())
    }

    fn after(&self, position: Position) -> Option<Record> {
        if self.incarnation < position.incarnation {
            return None;
        }
        let number = match self.incarnation == position.incarnation {
            true => position.number,
            false => 0,
        };
        let place = self.records.partition_point(|it| it.number <= number);
        self.records.get(place).copied()
    }

    fn size(&self) -> u64 {
        self.bytes + (self.records.len() * size_of::<Record>()) as u64
    }

    fn delete(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// The report at the start of `rest`, if it is whole.
fn read_record(rest: &[u8], at: usize) -> Option<Record> {
    let length = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?);
    let sum = u32::from_le_bytes(rest.get(4..8)?.try_into().ok()?);
    let number = u64::from_le_bytes(rest.get(8..16)?.try_into().ok()?);
    let decisions = u32::from_le_bytes(rest.get(16..HEADER)?.try_into().ok()?);
    let summed = rest.get(8..HEADER + usize::try_from(length).ok()?)?;
    (crc32fast::hash(summed) == sum).then_some(Record {
        number,
        offset: at as u64,
        length,
        decisions,
    })
}

fn parse_name(path: &Path) -> Option<(u64, u64)> {
    let name = path.file_name()?.to_str()?;
    let (incarnation, first) = name
        .strip_suffix(SUFFIX)?
        .strip_suffix('.')?
        .split_once('-')?;
    Some((
        u64::from_str_radix(incarnation, 16).ok()?,
        first.parse().ok()?,
    ))
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> SpoolError + 'a {
    move |cause| SpoolError::Io {
        what,
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests;
