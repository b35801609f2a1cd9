//! What the store holds at this moment: segments, and rows that are in memory and in logs.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use datafusion::arrow::array::{AsArray, FixedSizeBinaryArray, RecordBatch};
use datafusion::arrow::datatypes::{Int64Type, UInt32Type};
use netverdict_store::{State, StoreError};
use netverdict_types::Timestamp;

use crate::Options;
use crate::failed;
use crate::fold::{Bases, Folded, Ids, fold, orphans};
use crate::log::{self, Log};
use crate::manifest::Manifest;
use crate::names::{Names, Pool};
use crate::row::{Col, u128_at};
use crate::scan::{Part, ScanError, Snapshot};
use crate::segment::{Segment, read_dead};

pub(crate) struct Live {
    pub(crate) options: Options,
    state: Mutex<Inner>,
    /// Told when something was sealed, is to be sealed, or the store closes.
    pub(crate) changed: Condvar,
    cache: Mutex<Cache>,
    /// Held as long as the store is open.
    _lock: File,
}

/// What changes; the sealing thread alone changes segments and the manifest's list of them.
#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) manifest: Manifest,
    pub(crate) segments: Vec<Arc<Segment>>,
    /// What names of segments have in common.
    pub(crate) pool: Arc<Pool>,
    /// Ids of rows of segments whose first row has not come.
    pub(crate) orphans: Ids,
    /// What is being sealed.
    pub(crate) sealing: Option<Arc<Generation>>,
    pub(crate) active: Generation,
    /// Logs with smaller numbers are those of what is being sealed.
    pub(crate) sealed_log: u64,
    /// Counts changes of segments.
    pub(crate) version: u64,
    /// Why appends wait.
    pub(crate) blocked: Option<String>,
    /// Segments that questions found damaged.
    pub(crate) damaged: Vec<u64>,
    /// Seals that were asked for and that are done.
    pub(crate) settling: (u64, u64),
    pub(crate) closing: bool,
}

/// Rows of one log, or of those that were there when the store was opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Generation {
    /// Rows with names of their own.
    pub(crate) parts: Vec<Part>,
    /// Rows whose names are still added to.
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) names: Arc<Names>,
    /// Ids of updates among them.
    pub(crate) late: Ids,
    pub(crate) rows: usize,
    pub(crate) bytes: u64,
    pub(crate) span: Option<(i64, i64)>,
    /// The last batch of each writer.
    pub(crate) writers: BTreeMap<String, u64>,
}

impl Generation {
    pub(crate) fn parts(&self) -> Vec<Part> {
        let open = self.batches.iter().map(|batch| Part {
            batch: batch.clone(),
            names: self.names.clone(),
            dead: None,
        });
        self.parts.iter().cloned().chain(open).collect()
    }

    /// Notes what is in a batch that is added.
    pub(crate) fn note(&mut self, batch: &RecordBatch, writers: &[(String, u64)]) {
        self.rows += batch.num_rows();
        let seq = batch.column(Col::Seq as usize).as_primitive::<UInt32Type>();
        let ids = batch.column(Col::Id as usize);
        if let Some(ids) = ids.as_any().downcast_ref::<FixedSizeBinaryArray>() {
            let late = seq.values().iter().enumerate().filter(|(_, seq)| **seq > 0);
            self.late.extend(late.map(|(row, _)| u128_at(ids, row)));
        }
        let times = |col: Col| {
            batch
                .column(col as usize)
                .as_primitive::<Int64Type>()
                .values()
        };
        for (start, end) in times(Col::Start).iter().zip(times(Col::End)) {
            let (first, last) = self.span.get_or_insert((*start, *end));
            *first = (*first).min(*start);
            *last = (*last).max(*end);
        }
        for (writer, number) in writers {
            let last = self.writers.entry(writer.clone()).or_default();
            *last = (*last).max(*number);
        }
    }
}

#[derive(Default)]
struct Cache {
    version: u64,
    /// How many batches of memory the snapshot has.
    batches: (usize, usize),
    bases: Bases,
    snapshot: Option<Snapshot>,
}

impl Live {
    /// Opens the directory; with the log that is written from now on.
    pub(crate) fn open(options: Options) -> Result<(Self, Log), StoreError> {
        let root = options.directory.clone();
        let at = |what: &str| {
            let what = format!("cannot open the store in {}: {what}", root.display());
            move |cause: io::Error| failed(what, cause)
        };
        std::fs::create_dir_all(root.join("segments"))
            .and_then(|()| std::fs::create_dir_all(logs(&root)))
            .map_err(at("the directory cannot be made"))?;
        let lock = File::create(root.join("lock")).map_err(at("it cannot be locked"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                at("another process uses it")(io::Error::from(io::ErrorKind::ResourceBusy))
            }
            TryLockError::Error(error) => at("it cannot be locked")(error),
        })?;
        let known = Manifest::read(&root).map_err(at("its manifest cannot be read"))?;
        let mut inner = Inner {
            manifest: known.unwrap_or_else(Manifest::new),
            ..Inner::default()
        };
        inner.open_segments(&root);
        sweep(&root, &inner.manifest);
        let replayed = inner.replay(&root).map_err(at("its logs cannot be read"))?;
        let number = inner.manifest.number();
        if replayed.rows == 0 {
            inner.manifest.writers.extend(replayed.writers.clone());
            inner.manifest.log = number;
        }
        inner
            .manifest
            .write(&root)
            .map_err(at("its manifest cannot be written"))?;
        let log = Log::create(&logs(&root), number).map_err(at("no log can be made"))?;
        inner.version = 1;
        if replayed.rows > 0 {
            inner.sealing = Some(Arc::new(replayed));
            inner.sealed_log = number;
        }
        let live = Self {
            options,
            state: Mutex::new(inner),
            changed: Condvar::new(),
            cache: Mutex::default(),
            _lock: lock,
        };
        Ok((live, log))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic of another thread leaves what it holds usable: each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something [changed](Self::changed), or for so long.
    pub(crate) fn wait_for(&self, inner: MutexGuard<'_, Inner>, longest: Duration) {
        drop(self.changed.wait_timeout(inner, longest));
    }

    /// Waits until something [changed](Self::changed).
    pub(crate) fn wait<'a>(&self, inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        self.changed
            .wait(inner)
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }

    /// All rows, each connection once.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, ScanError> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = self.lock();
        let batches = (
            inner
                .sealing
                .as_ref()
                .map_or(0, |it| it.parts.len() + it.batches.len()),
            inner.active.batches.len(),
        );
        if cache.version != inner.version {
            *cache = Cache {
                version: inner.version,
                ..Cache::default()
            };
        }
        if cache.batches == batches
            && let Some(snapshot) = &cache.snapshot
        {
            return Ok(snapshot.clone());
        }
        let (segments, orphans) = (inner.segments.clone(), inner.orphans.clone());
        let sealing = inner.sealing.clone();
        let active = inner.active.clone();
        drop(inner);
        let mut late = active.late.clone();
        let mut parts = Vec::new();
        if let Some(sealing) = sealing {
            late.extend(sealing.late.iter());
            parts.extend(sealing.parts());
        }
        parts.extend(active.parts());
        let Folded { snapshot, .. } = fold(&segments, parts, &late, &orphans, &mut cache.bases)?;
        cache.batches = batches;
        cache.snapshot = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// Has damaged files set aside, and waits for it; false where the error is another one.
    pub(crate) fn set_aside(&self, error: &ScanError) -> bool {
        let ScanError::Segment(error) = error else {
            return false;
        };
        if !error.is_damage() {
            return false;
        }
        let mut inner = self.lock();
        let Some(segment) = inner
            .segments
            .iter()
            .find(|segment| error.path().starts_with(&segment.directory))
            .map(|segment| segment.facts.id)
        else {
            // It was replaced meanwhile.
            return inner
                .segments
                .iter()
                .all(|it| !error.path().starts_with(&it.directory));
        };
        inner.damaged.push(segment);
        self.changed.notify_all();
        while inner.damaged.contains(&segment) && !inner.closing {
            inner = self.wait(inner);
        }
        !inner.closing
    }

    /// Closes the segments that were asked least lately, beyond those that may stay open.
    pub(crate) fn trim(&self) {
        let segments = self.lock().segments.clone();
        let mut asked: Vec<_> = segments
            .iter()
            .filter_map(|segment| Some((segment.asked()?, segment)))
            .collect();
        if asked.len() > OPEN {
            asked.sort_unstable_by_key(|(asked, _)| std::cmp::Reverse(*asked));
            asked[OPEN..]
                .iter()
                .for_each(|(_, segment)| segment.close());
        }
    }

    pub(crate) fn last(&self, writer: &str) -> Option<u64> {
        self.lock().last(writer)
    }

    pub(crate) fn state(&self) -> State {
        let inner = self.lock();
        let memory = || inner.sealing.iter().map(|it| &**it).chain([&inner.active]);
        let of_segments = inner.segments.iter().map(|segment| {
            let facts = &segment.facts;
            (facts.start.0, facts.end.1)
        });
        let span = of_segments
            .chain(memory().filter_map(|it| it.span))
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let sealed = inner.segments.iter().map(|it| it.alive()).sum::<u64>();
        State {
            rows: sealed + memory().map(|it| it.rows as u64).sum::<u64>(),
            bytes: inner
                .segments
                .iter()
                .map(|it| it.facts.bytes())
                .sum::<u64>()
                + memory().map(|it| it.bytes).sum::<u64>(),
            span: span.map(|(first, last)| Timestamp(first)..Timestamp(last).after(1)),
            removed: inner.manifest.removed,
            losses: LOSSES
                .into_iter()
                .filter_map(|name| Some((name, *inner.manifest.losses.get(name)?)))
                .collect(),
            blocked: inner.blocked.clone(),
        }
    }
}

impl Inner {
    /// The last batch of a writer that was kept.
    pub(crate) fn last(&self, writer: &str) -> Option<u64> {
        [
            self.active.writers.get(writer),
            self.sealing.as_ref().and_then(|it| it.writers.get(writer)),
            self.manifest.writers.get(writer),
        ]
        .into_iter()
        .flatten()
        .max()
        .copied()
    }

    /// Opens what the manifest names; what is damaged is set aside.
    fn open_segments(&mut self, root: &Path) {
        let mut kept = Vec::new();
        for mut facts in std::mem::take(&mut self.manifest.segments) {
            let dead = match facts.dead {
                None => Ok(Vec::new()),
                Some((number, _)) => read_dead(&dead_path(root, &facts, number)),
            };
            let dead = dead.unwrap_or_else(|error| {
                let directory = facts.directory(root);
                tracing::error!(
                    directory = %directory.display(), %error,
                    "the list of dead rows of a segment is damaged: connections show twice"
                );
                self.manifest.lose(LISTS, 1);
                facts.dead = None;
                Vec::new()
            });
            let segment = Segment::new(root, facts.clone(), dead, self.pool.clone());
            let opened = segment
                .check()
                .map_err(ScanError::from)
                .and_then(|()| orphans(&segment, &mut self.orphans));
            match opened {
                Ok(()) => {
                    kept.push(facts);
                    self.segments.push(Arc::new(segment));
                }
                Err(error) => {
                    put_aside(root, &segment, &error);
                    self.manifest.lose(SEGMENTS, 1);
                    self.manifest.lose(ROWS, segment.alive());
                }
            }
        }
        self.manifest.segments = kept;
    }

    /// Reads the logs that are not in segments.
    fn replay(&mut self, root: &Path) -> io::Result<Generation> {
        let directory = logs(root);
        let mut all = Generation::default();
        for number in log::numbers(&directory)? {
            let path = log::path(&directory, number);
            self.manifest.next = self.manifest.next.max(number + 1);
            if number < self.manifest.log {
                std::fs::remove_file(&path)?;
                continue;
            }
            let replay = log::replay(&path)?;
            if replay.damaged {
                let torn = path.with_extension("log.torn");
                tracing::error!(
                    log = %path.display(), bytes = replay.rest, aside = %torn.display(),
                    "the end of a log is damaged: rows that were acknowledged are lost"
                );
                std::fs::copy(&path, &torn)?;
                let file = File::options().write(true).open(&path)?;
                file.set_len(replay.good)?;
                file.sync_all()?;
                self.manifest.lose(LOGS, 1);
            }
            let names = Arc::new(replay.names);
            for record in replay.records {
                all.note(&record.batch, &record.writers);
                all.parts.push(Part {
                    batch: record.batch,
                    names: names.clone(),
                    dead: None,
                });
            }
            all.bytes += replay.good;
        }
        Ok(all)
    }
}

/// Files of the directory that nothing names: a crash left them, or what they were replaced by.
fn sweep(root: &Path, manifest: &Manifest) {
    let named: Vec<PathBuf> = manifest
        .segments
        .iter()
        .map(|facts| facts.directory(root))
        .collect();
    let list = |directory: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    for partition in list(&root.join("segments")) {
        for segment in list(&partition) {
            let torn = segment.extension().is_some_and(|it| it == "torn");
            if !torn && !named.contains(&segment) {
                discard(&segment);
            }
        }
        // It stays where it is not empty.
        _ = std::fs::remove_dir(&partition);
    }
}

/// Removes a directory that nothing names; the next start tries again.
pub(crate) fn discard(directory: &Path) {
    if let Err(error) = std::fs::remove_dir_all(directory) {
        tracing::warn!(directory = %directory.display(), %error, "a segment of no use cannot be removed");
    }
    if let Some(partition) = directory.parent() {
        // It stays where it is not empty.
        _ = std::fs::remove_dir(partition);
    }
}

/// Renames a damaged segment, so that nobody reads it and somebody may look at it.
pub(crate) fn put_aside(root: &Path, segment: &Segment, error: &ScanError) {
    let directory = &segment.directory;
    let torn = directory.with_extension("torn");
    tracing::error!(
        directory = %directory.display(), aside = %torn.display(), rows = segment.alive(), %error,
        "a segment is damaged and set aside: its connections are lost"
    );
    if let Err(error) = std::fs::rename(directory, &torn) {
        tracing::warn!(root = %root.display(), %error, "the damaged segment cannot be renamed");
    }
}

pub(crate) fn logs(root: &Path) -> PathBuf {
    root.join("log")
}

pub(crate) fn dead_path(root: &Path, facts: &crate::segment::Facts, number: u64) -> PathBuf {
    facts.directory(root).join(format!("dead-{number:012}"))
}

/// So many segments stay open: a few megabytes each.
const OPEN: usize = 128;

/// Segments that were damaged.
pub(crate) const SEGMENTS: &str = "torn_segments";
/// Rows of them.
pub(crate) const ROWS: &str = "torn_rows";
/// Logs that were damaged before their end.
const LOGS: &str = "torn_logs";
/// Lists of dead rows that were damaged.
const LISTS: &str = "torn_lists";

const LOSSES: [&str; 4] = [SEGMENTS, ROWS, LOGS, LISTS];
