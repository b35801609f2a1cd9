//! The thread that turns memory into segments, small segments into larger ones, and old ones into
//! nothing.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use crate::compact;
use crate::fold::{Bases, Folded, Ids, fold};
use crate::live::{Generation, Inner, Live, ROWS, SEGMENTS, dead_path, discard, logs, put_aside};
use crate::log;
use crate::manifest::Manifest;
use crate::scan::ScanError;
use crate::segment::{Facts, Segment, SegmentError, write_dead};

/// How long a full disk is left alone.
const RETRY: Duration = Duration::from_millis(500);
/// How often it is looked for what is too old, or read by nobody any more.
const LOOK: Duration = Duration::from_secs(60);

pub(crate) fn run(live: &Live) {
    let mut sealer = Sealer {
        live,
        garbage: Vec::new(),
    };
    loop {
        sealer.collect();
        let inner = live.lock();
        if inner.closing {
            return;
        }
        if let Some(damaged) = inner.damaged.first().copied() {
            drop(inner);
            sealer.set_aside(damaged);
        } else if let Some(generation) = inner.sealing.clone() {
            drop(inner);
            let done = sealer.seal(&generation);
            sealer.after(done, "memory cannot be sealed");
        } else if let Some(chosen) = compact::choose(&inner.segments) {
            drop(inner);
            let done = sealer.merge(&chosen);
            sealer.after(done, "segments cannot be joined");
        } else if let Some(old) = outdated(live, &inner) {
            drop(inner);
            let done = sealer.remove(&old);
            sealer.after(done, "old segments cannot be removed");
        } else if inner.settling.1 < inner.settling.0 {
            let mut inner = inner;
            inner.settling.1 = inner.settling.0;
            live.changed.notify_all();
        } else if live.options.keep.is_some() || !sealer.garbage.is_empty() {
            live.wait_for(inner, LOOK);
        } else {
            drop(live.wait(inner));
        }
    }
}

struct Sealer<'a> {
    live: &'a Live,
    /// Segments that were replaced, until no question reads them.
    garbage: Vec<Arc<Segment>>,
}

impl Sealer<'_> {
    fn seal(&mut self, generation: &Generation) -> Result<(), ScanError> {
        let live = self.live;
        let root = &live.options.directory;
        let (segments, orphans, log) = {
            let inner = live.lock();
            (
                inner.segments.clone(),
                inner.orphans.clone(),
                inner.sealed_log,
            )
        };
        let Folded {
            snapshot,
            dead,
            left,
            settled,
        } = fold(
            &segments,
            generation.parts(),
            &generation.late,
            &orphans,
            &mut Bases::new(),
        )?;
        let written = compact::write(root, &snapshot.parts, || live.lock().manifest.number())?;
        let mut segments = Vec::with_capacity(snapshot.segments.len() + written.len());
        let mut replaced = Vec::new();
        for segment in &snapshot.segments {
            if !dead.contains(&segment.facts.id) {
                segments.push(segment.clone());
                continue;
            }
            let number = live.lock().manifest.number();
            let path = dead_path(root, &segment.facts, number);
            write_dead(&path, &segment.dead).map_err(|source| SegmentError::Io { path, source })?;
            if let Some((before, _)) = segment.facts.dead {
                replaced.push(dead_path(root, &segment.facts, before));
            }
            segments.push(Arc::new(
                segment.with_dead(number, segment.dead.as_ref().clone()),
            ));
        }
        segments.extend(self.opened(written));
        let mut orphans = orphans;
        for id in settled {
            orphans.remove(&id);
        }
        orphans.extend(left);
        let inner = live.lock();
        let mut manifest = inner.manifest.clone();
        for (writer, number) in &generation.writers {
            let last = manifest.writers.entry(writer.clone()).or_default();
            *last = (*last).max(*number);
        }
        manifest.log = manifest.log.max(log);
        self.commit(inner, manifest, segments, Some(orphans), true)?;
        for path in replaced {
            // Nothing names it any more; a start removes nothing else either.
            _ = std::fs::remove_file(path);
        }
        let directory = logs(root);
        for number in log::numbers(&directory).unwrap_or_default() {
            if number < log {
                _ = std::fs::remove_file(log::path(&directory, number));
            }
        }
        Ok(())
    }

    fn merge(&mut self, chosen: &[Arc<Segment>]) -> Result<(), ScanError> {
        let live = self.live;
        let root = &live.options.directory;
        let mut parts = Vec::new();
        for segment in chosen {
            parts.extend(compact::rows(segment)?);
        }
        let written = compact::write(root, &parts, || live.lock().manifest.number())?;
        drop(parts);
        self.replace(chosen, self.opened(written), 0)
    }

    fn remove(&mut self, old: &[Arc<Segment>]) -> Result<(), ScanError> {
        let rows = old.iter().map(|segment| segment.alive()).sum();
        self.replace(old, Vec::new(), rows)?;
        tracing::info!(
            segments = old.len(),
            rows,
            "connections beyond what is kept were removed"
        );
        Ok(())
    }

    fn replace(
        &mut self,
        old: &[Arc<Segment>],
        new: Vec<Arc<Segment>>,
        removed: u64,
    ) -> Result<(), ScanError> {
        let inner = self.live.lock();
        let is_old = |it: &&Arc<Segment>| old.iter().any(|old| old.facts.id == it.facts.id);
        let mut segments: Vec<Arc<Segment>> = inner.segments.clone();
        segments.retain(|segment| !is_old(&segment));
        segments.extend(new);
        let mut manifest = inner.manifest.clone();
        manifest.removed += removed;
        self.commit(inner, manifest, segments, None, false)?;
        self.garbage.extend(old.iter().cloned());
        Ok(())
    }

    fn set_aside(&mut self, damaged: u64) {
        let root = &self.live.options.directory;
        let inner = self.live.lock();
        let mut segments = inner.segments.clone();
        let mut manifest = inner.manifest.clone();
        let torn = segments.iter().position(|it| it.facts.id == damaged);
        if let Some(place) = torn {
            let torn = segments.swap_remove(place);
            manifest.lose(SEGMENTS, 1);
            manifest.lose(ROWS, torn.alive());
            if let Err(error) = self.commit(inner, manifest, segments, None, false) {
                self.after(Err(error), "a damaged segment cannot be set aside");
                return;
            }
            let why = match torn.check().map_err(ScanError::from) {
                Err(error) => error,
                Ok(()) => ScanError::Damaged,
            };
            put_aside(root, &torn, &why);
        }
        let mut inner = self.live.lock();
        inner.damaged.retain(|id| *id != damaged);
        self.live.changed.notify_all();
    }

    /// Makes segments those that count; on disk first.
    fn commit(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        mut manifest: Manifest,
        segments: Vec<Arc<Segment>>,
        orphans: Option<Ids>,
        sealed: bool,
    ) -> Result<(), ScanError> {
        let root = &self.live.options.directory;
        manifest.segments = segments.iter().map(|it| it.facts.clone()).collect();
        manifest.write(root).map_err(|source| SegmentError::Io {
            path: crate::manifest::path(root),
            source,
        })?;
        inner.manifest = manifest;
        inner.segments = segments;
        if let Some(orphans) = orphans {
            inner.orphans = orphans;
        }
        if sealed {
            inner.sealing = None;
        }
        inner.version += 1;
        drop(inner);
        self.live.changed.notify_all();
        Ok(())
    }

    /// Tells of an error, sets aside what is damaged, and lets a full disk alone for a while.
    fn after(&mut self, done: Result<(), ScanError>, what: &str) {
        let Err(error) = done else { return };
        if let ScanError::Segment(why) = &error
            && why.is_damage()
        {
            let inner = self.live.lock();
            let damaged = inner
                .segments
                .iter()
                .find(|segment| why.path().starts_with(&segment.directory))
                .map(|segment| segment.facts.id);
            drop(inner);
            if let Some(damaged) = damaged {
                self.set_aside(damaged);
                return;
            }
        }
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "{what}: it is tried again"
        );
        let inner = self.live.lock();
        if !inner.closing {
            self.live.wait_for(inner, RETRY);
        }
    }

    fn opened(&self, written: Vec<Facts>) -> Vec<Arc<Segment>> {
        let root = &self.live.options.directory;
        let pool = self.live.lock().pool.clone();
        written
            .into_iter()
            .map(|facts| Arc::new(Segment::new(root, facts, Vec::new(), pool.clone())))
            .collect()
    }

    /// Removes what nobody reads any more.
    fn collect(&mut self) {
        self.garbage.retain(|segment| {
            let in_use = segment.readers() > 1;
            if !in_use {
                discard(&segment.directory);
            }
            in_use
        });
    }
}

/// Segments that are older than what is kept, or the oldest of too many bytes.
fn outdated(live: &Live, inner: &Inner) -> Option<Vec<Arc<Segment>>> {
    let oldest_end = live.options.keep.map(|keep| {
        let keep = i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX);
        live.options.clock.now().before(keep).0
    });
    let mut by_age: Vec<&Arc<Segment>> = inner.segments.iter().collect();
    by_age.sort_by_key(|segment| segment.facts.end.1);
    let mut bytes: u64 = by_age.iter().map(|segment| segment.facts.bytes()).sum();
    let mut out = Vec::new();
    for segment in by_age {
        let old = oldest_end.is_some_and(|oldest| segment.facts.end.1 < oldest);
        let large = live.options.keep_bytes.is_some_and(|most| bytes > most);
        if !old && !large {
            break;
        }
        bytes -= segment.facts.bytes();
        out.push(segment.clone());
    }
    (!out.is_empty()).then_some(out)
}
