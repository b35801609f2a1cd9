use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use netverdict_types::{Acl, Fact, Timestamp};
use netverdict_wire::capture::frame::{self, Frames};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Moment;
use crate::span::{Role, Span};
use crate::zone::{Delta, Zone};

/// Why the log of a history cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("history file {}: {fault}", path.display())]
pub struct LogError {
    path: PathBuf,
    #[source]
    fault: Fault,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("a revision cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it was not written by this version of netverdict; move it away to start anew")]
    Foreign,
    #[error("another netverdict uses it; give each its own --state directory")]
    Locked,
}

/// What one frame of the log says. The payload is zstd-compressed JSON.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Entry {
    /// The format's version; the first frame of each log.
    Format(u32),
    /// ACLs, numbered from the start of the log: each stands here once, however many zones and
    /// times hold it.
    Facts(Vec<Acl>),
    /// A part of what one revision changed.
    Revision(Revision),
    /// A zone was in sync.
    Seen { zone: String, time: i64 },
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Revision {
    pub(crate) zone: String,
    pub(crate) number: u64,
    pub(crate) to: i64,
    pub(crate) gap: bool,
    /// ACLs whose span ended at `to`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) closed: Vec<Uuid>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) opened: Vec<Opened>,
}

/// A span, as it began or, after the log was rewritten, as a whole.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Opened {
    pub(crate) uuid: Uuid,
    pub(crate) fact: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) new: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) est: Option<u32>,
    pub(crate) revision: u64,
    pub(crate) from: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    out: BufWriter<File>,
    length: u64,
    damaged: u64,
    /// Number of each ACL that stands in the log, by its place in memory, which is held.
    numbers: HashMap<usize, (u32, Arc<Fact>), foldhash::fast::RandomState>,
}

const FORMAT: u32 = 1;
const KIND: u8 = b'H';
/// Spans and ACLs in one frame, so that a frame stays small and damage costs little.
const CHUNK: usize = 4_096;
/// A frame that claims to be larger than this is damage.
const MAX_JSON: usize = 256 << 20;

impl Log {
    /// Opens the log at `path`, hands what it says to `take`, and stands at its end.
    pub(crate) fn open(path: &Path, take: impl FnMut(Stored)) -> Result<Self, LogError> {
        Self::read(path, take).map_err(|fault| LogError {
            path: path.to_owned(),
            fault,
        })
    }

    /// Writes what one revision changed.
    pub(crate) fn write(
        &mut self,
        zone: &Zone,
        delta: &Delta,
        moment: Moment,
        number: u64,
    ) -> Result<(), LogError> {
        if delta.is_empty() && !moment.gap {
            return Ok(());
        }
        let spans = delta
            .opened
            .iter()
            .filter_map(|number| zone.spans.get(*number));
        let closed = delta.closed.clone();
        self.write_spans(zone, spans, closed, moment.to, moment.gap, number)
            .and_then(|()| Ok(self.out.flush()?))
            .map_err(|fault| self.at(fault))
    }

    pub(crate) fn seen(&mut self, zone: &str, time: Timestamp) -> Result<(), LogError> {
        let entry = Entry::Seen {
            zone: zone.to_owned(),
            time: time.0,
        };
        self.append(&entry).map_err(|fault| self.at(fault))
    }

    pub(crate) fn flush(&mut self) -> Result<(), LogError> {
        let result = self.out.flush();
        result
            .and_then(|()| self.out.get_ref().sync_data())
            .map_err(|fault| self.at(fault.into()))
    }

    pub(crate) fn damaged(&self) -> u64 {
        self.damaged
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Puts a log that says only what `zones` still remember in the place of this one.
    pub(crate) fn rewrite(&mut self, zones: &[Zone], number: u64) -> Result<(), LogError> {
        self.try_rewrite(zones, number)
            .map_err(|fault| self.at(fault))
    }

    /// Hands what the log at `path` says to `take`, and leaves it alone: another process may be
    /// writing it. Gives how many pieces were damaged.
    pub(crate) fn look(path: &Path, take: impl FnMut(Stored)) -> Result<u64, LogError> {
        let look = || match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error.into()),
            Ok(file) => Ok(read_all(&file, take)?.damaged),
        };
        look().map_err(|fault| LogError {
            path: path.to_owned(),
            fault,
        })
    }

    fn read(path: &Path, take: impl FnMut(Stored)) -> Result<Self, Fault> {
        let mut file = lock(
            OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .open(path)?,
        )?;
        file.seek(SeekFrom::Start(0))?;
        let Content {
            facts,
            damaged,
            whole_end,
            is_empty,
        } = read_all(&file, take)?;
        file.set_len(whole_end)?;
        let mut log = Self {
            path: path.to_owned(),
            out: BufWriter::new(file),
            length: whole_end,
            damaged,
            numbers: HashMap::default(),
        };
        if is_empty {
            log.append(&Entry::Format(FORMAT))?;
        }
        for (number, fact) in facts.into_iter().enumerate() {
            log.numbers
                .insert(Arc::as_ptr(&fact) as usize, (number as u32, fact));
        }
        Ok(log)
    }

    fn try_rewrite(&mut self, zones: &[Zone], number: u64) -> Result<(), Fault> {
        let beside = self.path.with_extension("new");
        let file = lock(
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(&beside)?,
        )?;
        let mut new = Self {
            path: self.path.clone(),
            out: BufWriter::new(file),
            length: 0,
            damaged: self.damaged,
            numbers: HashMap::default(),
        };
        new.append(&Entry::Format(FORMAT))?;
        for zone in zones.iter().filter(|zone| zone.known) {
            let spans = zone.spans.iter();
            new.write_spans(zone, spans, Vec::new(), zone.horizon, false, number)?;
            new.append(&Entry::Seen {
                zone: zone.name.clone(),
                time: zone.seen.0,
            })?;
        }
        new.out.flush()?;
        new.out.get_ref().sync_data()?;
        std::fs::rename(&beside, &self.path)?;
        *self = new;
        Ok(())
    }

    fn write_spans<'a>(
        &mut self,
        zone: &Zone,
        spans: impl Iterator<Item = &'a Span>,
        closed: Vec<Uuid>,
        to: Timestamp,
        gap: bool,
        number: u64,
    ) -> Result<(), Fault> {
        let revision = |closed: Vec<Uuid>, opened: Vec<Opened>| {
            Entry::Revision(Revision {
                zone: zone.name.clone(),
                number,
                to: to.0,
                gap,
                closed,
                opened,
            })
        };
        // What ended goes first: a row that changed ends and begins under one identity.
        self.append(&revision(closed, Vec::new()))?;
        let mut spans = spans.peekable();
        while spans.peek().is_some() {
            let mut facts = Vec::new();
            let opened = spans
                .by_ref()
                .take(CHUNK)
                .map(|span| Opened {
                    uuid: span.row().uuid,
                    fact: self.number(&span.row().fact, &mut facts),
                    new: span.point(Role::New),
                    est: span.point(Role::Est),
                    revision: span.row().revision,
                    from: span.from().0,
                    until: (!span.is_alive()).then_some(span.until().0),
                })
                .collect();
            if !facts.is_empty() {
                self.append(&Entry::Facts(facts))?;
            }
            self.append(&revision(Vec::new(), opened))?;
        }
        Ok(())
    }

    /// The number of an ACL in this log; a new one joins `facts`.
    fn number(&mut self, fact: &Arc<Fact>, facts: &mut Vec<Acl>) -> u32 {
        let next = self.numbers.len() as u32;
        self.numbers
            .entry(Arc::as_ptr(fact) as usize)
            .or_insert_with(|| {
                facts.push(fact.acl.clone());
                (next, fact.clone())
            })
            .0
    }

    fn append(&mut self, entry: &Entry) -> Result<(), Fault> {
        let json = serde_json::to_vec(entry)?;
        let payload = zstd::bulk::compress(&json, 1)?;
        self.length += frame::append(&mut self.out, KIND, &payload)?;
        Ok(())
    }

    fn at(&self, fault: Fault) -> LogError {
        LogError {
            path: self.path.clone(),
            fault,
        }
    }
}

/// What a whole log holds beside what was handed over.
struct Content {
    facts: Vec<Arc<Fact>>,
    damaged: u64,
    whole_end: u64,
    is_empty: bool,
}

fn read_all(file: &File, mut take: impl FnMut(Stored)) -> Result<Content, Fault> {
    let mut frames = Frames::new(BufReader::new(file), 0);
    let mut facts = Vec::new();
    let mut damaged = 0;
    let mut is_empty = true;
    while let Some(frame) = frames.next()? {
        let entry = decode(frame.payload);
        if is_empty && !matches!(entry, Some(Entry::Format(FORMAT))) {
            return Err(Fault::Foreign);
        }
        is_empty = false;
        match entry {
            Some(Entry::Format(_)) => {}
            Some(Entry::Facts(acls)) => {
                facts.extend(acls.into_iter().map(|acl| Arc::new(Fact::from(acl))));
            }
            Some(Entry::Revision(revision)) => damaged += stored(revision, &facts, &mut take),
            Some(Entry::Seen { zone, time }) => take(Stored::Seen {
                zone,
                time: Timestamp(time),
            }),
            None => damaged += 1,
        }
    }
    if is_empty && file.metadata()?.len() > 0 {
        // A first frame that was torn still begins as one.
        let mut start = [0; frame::MARKER.len()];
        let read = file.read_at(&mut start, 0)?;
        if !frame::MARKER.starts_with(&start[..read]) {
            return Err(Fault::Foreign);
        }
    }
    let damage = frames.damage();
    Ok(Content {
        facts,
        damaged: damaged + damage.corrupt + u64::from(damage.torn_bytes > 0),
        whole_end: frames.whole_end(),
        is_empty,
    })
}

/// What a log kept, with the ACLs in place of their numbers.
#[derive(Debug)]
pub(crate) enum Stored {
    Seen { zone: String, time: Timestamp },
    Revision(StoredRevision),
}

#[derive(Debug)]
pub(crate) struct StoredRevision {
    pub(crate) zone: String,
    pub(crate) number: u64,
    pub(crate) to: Timestamp,
    pub(crate) gap: bool,
    pub(crate) closed: Vec<Uuid>,
    pub(crate) opened: Vec<(Span, Uuid)>,
}

fn stored(revision: Revision, facts: &[Arc<Fact>], take: &mut impl FnMut(Stored)) -> u64 {
    let mut damaged = 0;
    let opened = revision
        .opened
        .into_iter()
        .filter_map(|opened| {
            let Some(fact) = facts.get(opened.fact as usize) else {
                damaged += 1;
                return None;
            };
            let row = netverdict_types::AclRow {
                uuid: opened.uuid,
                revision: opened.revision,
                fact: fact.clone(),
            };
            let mut span = Span::new(row, Timestamp(opened.from), opened.new, opened.est);
            if let Some(until) = opened.until {
                span.end(Timestamp(until));
            }
            Some((span, opened.uuid))
        })
        .collect();
    take(Stored::Revision(StoredRevision {
        zone: revision.zone,
        number: revision.number,
        to: Timestamp(revision.to),
        gap: revision.gap,
        closed: revision.closed,
        opened,
    }));
    damaged
}

fn decode(payload: &[u8]) -> Option<Entry> {
    let json = zstd::bulk::decompress(payload, MAX_JSON).ok()?;
    serde_json::from_slice(&json).ok()
}

fn lock(file: File) -> Result<File, Fault> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Fault::Locked),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
