//! Revisions of OVN rows on a time line: content-addressed, on disk, bounded.
//!
//! A [`History`] is fed with the change sets of each zone's NB and answers which ACL held an
//! observation point at a time. It is a plain value for one thread: a change moves what it
//! touches and nothing else, and a look-up allocates nothing.
#![forbid(unsafe_code)]

mod facts;
mod log;
mod points;
mod span;
mod tiers;
mod zone;

use std::path::Path;

use netverdict_ovn::Version;
use netverdict_ovsdb::{Cause, ChangeSet};
use netverdict_types::{App, Pipeline, Timestamp, ZoneId};
use uuid::Uuid;

use crate::facts::Facts;
pub use crate::log::LogError;
use crate::log::{Log, Stored};
pub use crate::points::Matches;
pub use crate::span::{Role, Span};
use crate::zone::Zone;

/// Bounds on what is kept of the past.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long an ACL that is gone is remembered, in nanoseconds.
    pub age: i64,
    /// How large the log on disk may become, in bytes. What is still in force is always kept.
    pub bytes: u64,
}

impl Default for Limits {
    /// Seven days and 256 MiB.
    fn default() -> Self {
        Self {
            age: 7 * 24 * 3_600 * 1_000_000_000,
            bytes: 256 << 20,
        }
    }
}

/// What a history holds and what it had to leave out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Revisions seen, this run and those before.
    pub revisions: u64,
    /// Revisions that stand for a time in which nobody looked.
    pub gaps: u64,
    /// ACLs in force, in all zones.
    pub alive: usize,
    /// ACLs that are remembered though they are gone.
    pub past: usize,
    /// Distinct ACLs.
    pub facts: usize,
    /// ACLs forgotten because of [`Limits`].
    pub forgotten: u64,
    /// Rows that make no sense and were left out.
    pub bad_rows: u64,
    /// Pieces of the log that were damaged and left out.
    pub damaged: u64,
}

/// The rows of all zones on a time line.
#[derive(Debug, Default)]
pub struct History {
    zones: Vec<Zone>,
    facts: Facts,
    limits: Limits,
    log: Option<Log>,
    counts: Counts,
}

impl History {
    /// A history in memory only.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// A history that is kept in the file `path` and continues what stands there.
    ///
    /// # Errors
    /// If the file cannot be read or written, or another version of netverdict wrote it. A torn
    /// or damaged piece of it is left out and counted instead.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, LogError> {
        let mut history = Self::new(limits);
        let log = Log::open(path, |stored| history.restore(stored))?;
        history.counts.damaged = log.damaged();
        history.log = Some(log);
        Ok(history)
    }

    /// A history in memory that begins with what stands in the file `path`, which another
    /// process may be writing; without such a file it begins empty.
    ///
    /// # Errors
    /// If the file cannot be read, or another version of netverdict wrote it.
    pub fn look(path: &Path, limits: Limits) -> Result<Self, LogError> {
        let mut history = Self::new(limits);
        history.counts.damaged = Log::look(path, |stored| history.restore(stored))?;
        Ok(history)
    }

    /// The number of the zone called `name`, which is new if it was never seen.
    pub fn zone(&mut self, name: &str) -> ZoneId {
        if let Some(known) = self.zones.iter().position(|zone| zone.name == name) {
            return ZoneId(known as u16);
        }
        self.zones.push(Zone::new(name));
        ZoneId((self.zones.len() - 1) as u16)
    }

    /// The name of a zone.
    pub fn zone_name(&self, zone: ZoneId) -> &str {
        self.zones
            .get(usize::from(zone.0))
            .map_or("", |zone| &zone.name)
    }

    /// All zones.
    pub fn zones(&self) -> impl Iterator<Item = (ZoneId, &str)> {
        let named = |(number, zone): (usize, _)| -> (ZoneId, &str) {
            let zone: &Zone = zone;
            (ZoneId(number as u16), &zone.name)
        };
        self.zones.iter().enumerate().map(named)
    }

    /// Takes what changed in a zone's NB, and gives the number of the revision.
    ///
    /// Tables that say nothing about ACLs are passed over.
    ///
    /// # Errors
    /// If the log cannot be written. The history in memory has taken the change all the same.
    pub fn apply(&mut self, zone: ZoneId, set: &ChangeSet) -> Result<u64, LogError> {
        let Some(place) = self.zones.get_mut(usize::from(zone.0)) else {
            return Ok(self.counts.revisions);
        };
        self.counts.revisions += 1;
        let number = self.counts.revisions;
        let mut moment = place.moment(set);
        let whole = matches!(set.cause, Cause::Initial | Cause::Restored { .. });
        let delta = place.apply(&set.changes, whole, moment, number, &mut self.facts);
        self.counts.bad_rows += delta.bad_rows;
        // A copy that was kept and says what the log says leaves no gap between the two.
        let restored = matches!(set.cause, Cause::Restored { .. });
        moment.gap &= !(restored && delta.is_empty());
        self.counts.gaps += u64::from(moment.gap);
        if let Some(log) = &mut self.log {
            log.write(place, &delta, moment, number)?;
        }
        self.retain(moment.to);
        self.compact_if_large()?;
        Ok(number)
    }

    /// Notes that a zone's NB was in sync at `time`: a gap after a restart begins there.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub fn seen(&mut self, zone: ZoneId, time: Timestamp) -> Result<(), LogError> {
        let Some(place) = self.zones.get_mut(usize::from(zone.0)) else {
            return Ok(());
        };
        place.seen = place.seen.max(time);
        match &mut self.log {
            Some(log) => log.seen(&place.name, place.seen),
            None => Ok(()),
        }
    }

    /// The ACLs that held `point` in the column of `role` at some time between `from` and
    /// `until`.
    pub fn holders(
        &self,
        zone: ZoneId,
        role: Role,
        point: u32,
        from: Timestamp,
        until: Timestamp,
    ) -> Matches<'_> {
        match self.zones.get(usize::from(zone.0)) {
            Some(zone) => zone.points.find(&zone.spans, role, point, from, until),
            None => Matches::none(),
        }
    }

    /// Starts to load what [`History::holders`] will need, and tells nothing. A caller with many
    /// samples at hand calls it for all of them first, so that the memory is read side by side.
    pub fn touch(&self, zone: ZoneId, point: u32) -> usize {
        self.zones
            .get(usize::from(zone.0))
            .map_or(0, |zone| zone.points.touch(&zone.spans, point))
    }

    /// The ACLs with this name, at any time that is kept.
    pub fn named<'a>(
        &'a self,
        zone: ZoneId,
        name: &str,
    ) -> impl Iterator<Item = &'a Span> + Clone + use<'a> {
        self.zones
            .get(usize::from(zone.0))
            .map(|zone| zone.named(name))
            .into_iter()
            .flatten()
    }

    /// The ACLs with this label, at any time that is kept.
    pub fn labelled(&self, zone: ZoneId, label: u32) -> impl Iterator<Item = &Span> + Clone {
        self.zones
            .get(usize::from(zone.0))
            .map(|zone| zone.labelled(label))
            .into_iter()
            .flatten()
    }

    /// Every ACL that is in force.
    pub fn alive(&self, zone: ZoneId) -> impl Iterator<Item = &Span> {
        self.zones
            .get(usize::from(zone.0))
            .into_iter()
            .flat_map(|zone| zone.spans.iter().filter(|span| span.is_alive()))
    }

    /// Every ACL that is kept, in force or not.
    pub fn kept(&self, zone: ZoneId) -> impl Iterator<Item = &Span> {
        self.zones
            .get(usize::from(zone.0))
            .into_iter()
            .flat_map(|zone| zone.spans.iter())
    }

    /// What a number in the observation domain stands for.
    pub fn app(&self, zone: ZoneId, id: u8) -> Option<App> {
        self.zones.get(usize::from(zone.0))?.apps[usize::from(id)]
    }

    /// How often OVN samples one established packet of the original direction that shows the
    /// point of this ACL.
    ///
    /// Before 26.03 (ovn commit 68850ba3e) the sample stage lies inside the tier loop, so that a
    /// packet is sampled once for each tier up to the one that decides: the ACL's own while it
    /// is there, and up to the highest in use once it is gone and nothing decides.
    pub fn copies(&self, zone: ZoneId, span: &Span) -> u8 {
        self.zones
            .get(usize::from(zone.0))
            .map_or(1, |zone| zone.copies(span))
    }

    /// How often OVN samples one packet of the reply direction that shows the point of this ACL,
    /// where the packet leaves the switch through a router.
    ///
    /// Before 26.03 such a packet keeps its conntrack state in the switch's egress pipeline. The
    /// reply flow there, which is meant for ACLs of the ingress pipeline, does not ask which
    /// pipeline the ACL stands in, and samples it again.
    pub fn reply_copies(&self, zone: ZoneId, span: &Span) -> u8 {
        self.zones
            .get(usize::from(zone.0))
            .map_or(1, |zone| zone.reply_copies(span))
    }

    /// How often OVN, of any release, may sample one packet of a new connection that an ACL passes
    /// on: once more for each further tier in which nothing that is sampled decides, since the
    /// registers that say what to sample stay as they are.
    pub fn pass_copies(&self, zone: ZoneId, span: &Span) -> u8 {
        self.zones
            .get(usize::from(zone.0))
            .map_or(1, |zone| zone.pass_copies(span))
    }

    /// True once two ACLs of a zone were in force that held one point: then samples with it do not
    /// tell which of them is meant.
    pub fn shares_points(&self, zone: ZoneId) -> bool {
        self.zones
            .get(usize::from(zone.0))
            .is_some_and(|zone| zone.shares_points)
    }

    /// True once an ACL of a pipeline's tier had the action `pass`: then one that matches there may
    /// not have been asked, since that one was before it.
    pub fn passes(&self, zone: ZoneId, pipeline: Pipeline, tier: u8) -> bool {
        let zone = self.zones.get(usize::from(zone.0));
        let tiers = zone.map(|zone| &zone.passes[pipeline as usize]);
        tiers.is_some_and(|tiers| tiers.get(usize::from(tier)).is_none_or(|passes| *passes))
    }

    /// The release of OVN that serves a zone, once that is known.
    pub fn version(&self, zone: ZoneId) -> Option<Version> {
        self.zones.get(usize::from(zone.0))?.version
    }

    /// Tells the release of OVN by the version of the NB schema, for a NB whose northd has not
    /// said its own.
    pub fn set_schema(&mut self, zone: ZoneId, version: &str) {
        if let Some(zone) = self.zones.get_mut(usize::from(zone.0)) {
            zone.version = zone.version.or_else(|| Version::of_nb_schema(version));
        }
    }

    /// True once a zone's rows have arrived, this run or before.
    pub fn knows(&self, zone: ZoneId) -> bool {
        self.zones
            .get(usize::from(zone.0))
            .is_some_and(|zone| zone.known)
    }

    /// The earliest time that a zone's past is whole for.
    pub fn horizon(&self, zone: ZoneId) -> Timestamp {
        self.zones
            .get(usize::from(zone.0))
            .map_or(Timestamp::MAX, |zone| zone.horizon)
    }

    /// What is held and what was left out.
    pub fn counts(&self) -> Counts {
        Counts {
            alive: self.zones.iter().map(|zone| zone.spans.alive()).sum(),
            past: self.zones.iter().map(|zone| zone.spans.past()).sum(),
            facts: self.facts.len(),
            ..self.counts
        }
    }

    /// Puts the log onto the disk.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn flush(&mut self) -> Result<(), LogError> {
        self.log.as_mut().map_or(Ok(()), Log::flush)
    }

    fn restore(&mut self, stored: Stored) {
        match stored {
            Stored::Seen { zone, time } => {
                let zone = self.zone(&zone);
                let place = &mut self.zones[usize::from(zone.0)];
                place.seen = place.seen.max(time);
            }
            Stored::Revision(mut revision) => {
                let zone = self.zone(&revision.zone);
                self.counts.revisions = self.counts.revisions.max(revision.number);
                self.counts.gaps += u64::from(revision.gap && revision.opened.is_empty());
                for (span, _) in &mut revision.opened {
                    self.facts.adopt(span.fact());
                }
                self.zones[usize::from(zone.0)].restore(revision);
            }
        }
    }

    fn retain(&mut self, now: Timestamp) {
        let before = now.before(self.limits.age);
        for zone in &mut self.zones {
            self.counts.forgotten += zone.forget(before);
        }
    }

    /// Rewrites a log that is over its limit with what is still remembered; while that is too
    /// much, the oldest half of the past goes first.
    fn compact_if_large(&mut self) -> Result<(), LogError> {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        if log.length() <= self.limits.bytes {
            return Ok(());
        }
        log.rewrite(&self.zones, self.counts.revisions)?;
        while log.length() > self.limits.bytes / 2 {
            let forgotten: u64 = self.zones.iter_mut().map(Zone::forget_older_half).sum();
            if forgotten == 0 {
                break;
            }
            self.counts.forgotten += forgotten;
            log.rewrite(&self.zones, self.counts.revisions)?;
        }
        self.facts.sweep();
        Ok(())
    }
}

/// When a revision happened: at once, or somewhere within a gap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The earliest time it can have happened: new rows count from here.
    pub from: Timestamp,
    /// The latest time it can have happened: rows that went count until here.
    pub to: Timestamp,
    /// True where nobody looked in between.
    pub gap: bool,
}

type UuidMap<V> = hashbrown::HashMap<Uuid, V, foldhash::fast::RandomState>;
