//! Rows in, samples in, decisions out: what every command that judges samples shares.

use anyhow::Result;
use netverdict_history::History;
use netverdict_ovn::{Database, NbGlobal};
use netverdict_ovsdb::ChangeSet;
use netverdict_types::{Clock, Decision, Sample, SystemClock, Timestamp, ZoneId};
use netverdict_verdict::{Counts, NameChange, Names, Resolver};

use crate::record::Recorder;

/// The state that decisions are made from.
#[derive(Default)]
pub(crate) struct Engine {
    history: History,
    names: Names,
    resolver: Resolver,
    recorder: Option<Recorder>,
    /// Zones where several ACLs share a point.
    shared: Vec<ZoneId>,
    /// Of these, those that nobody was told of.
    lacking: Vec<ZoneId>,
}

impl Engine {
    /// An engine that goes on with a history.
    pub(crate) fn new(history: History) -> Self {
        Self {
            history,
            ..Self::default()
        }
    }

    /// Writes all changes of rows that come from now on into a recording.
    pub(crate) fn record(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
    }

    /// The recording.
    pub(crate) fn recorder(&mut self) -> Option<&mut Recorder> {
        self.recorder.as_mut()
    }

    /// The zone called `name`.
    pub(crate) fn zone(&mut self, name: &str) -> ZoneId {
        let zone = self.history.zone(name);
        self.names.set_zone(zone, name);
        zone
    }

    /// Takes what changed in one of a zone's databases.
    ///
    /// # Errors
    /// If the history's log or the recording cannot be written; the change is in force all the
    /// same.
    pub(crate) fn apply(
        &mut self,
        zone: ZoneId,
        database: Database,
        set: &ChangeSet,
    ) -> Result<()> {
        self.names.apply(zone, database, set);
        if database == Database::Southbound {
            self.names.expect_flows(zone);
        }
        if database == Database::Northbound {
            self.history.apply(zone, set)?;
            if self.history.shares_points(zone) && !self.shared.contains(&zone) {
                self.shared.push(zone);
                self.lacking.push(zone);
                self.names.keep_contents(zone, Timestamp(set.time));
            }
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.revision(zone, self.history.zone_name(zone), database, set)?;
        }
        Ok(())
    }

    /// Takes names from beside the databases.
    pub(crate) fn learn(&mut self, changes: Vec<NameChange>) {
        for change in changes {
            self.names.learn(change);
        }
    }

    /// Writes samples into the recording, if there is one, and hands over their decisions.
    ///
    /// # Errors
    /// If the recording cannot be written, and what `take` says.
    pub(crate) fn judge(
        &mut self,
        samples: &[Sample<'_>],
        mut take: impl FnMut(&Decision<'_>) -> Result<()>,
    ) -> Result<()> {
        if let Some(recorder) = &mut self.recorder {
            for sample in samples {
                recorder.sample(self.history.zone_name(sample.zone), sample)?;
            }
        }
        self.resolver
            .resolve_all(&self.history, &self.names, samples, |_, decision| {
                take(decision)
            })
    }

    /// Makes a decision of a sample.
    pub(crate) fn resolve<'a>(&'a mut self, sample: &Sample<'a>) -> Decision<'a> {
        self.resolver.resolve(&self.history, &self.names, sample)
    }

    /// What is known of connections, for the next run.
    pub(crate) fn connections(&self) -> Vec<u8> {
        self.resolver.remember()
    }

    /// Takes what an earlier run knew of connections.
    pub(crate) fn recall(&mut self, connections: &[u8]) -> bool {
        self.resolver.recall(connections)
    }

    /// Zones whose address sets are needed from now on ([`Database::Sets`]), each named once.
    pub(crate) fn lacking_sets(&mut self) -> Vec<ZoneId> {
        for zone in self.resolver.lacking_sets() {
            if !self.shared.contains(&zone) {
                self.shared.push(zone);
                self.lacking.push(zone);
                self.names.keep_contents(zone, SystemClock.now());
            }
        }
        std::mem::take(&mut self.lacking)
    }

    /// What became of the samples so far.
    pub(crate) fn counts(&self) -> Counts {
        self.resolver.counts()
    }

    /// The time line.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// The time line, to tell it of versions and times.
    pub(crate) fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }

    /// The names.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }
}

/// The name of a zone that has none of its own, as in a deployment with one NB for all nodes.
pub(crate) const GLOBAL: &str = "global";

/// The zone's name in the first rows of a NB.
pub(crate) fn zone_name(set: &ChangeSet) -> Option<String> {
    let row = set
        .changes
        .iter()
        .find(|change| &*change.table == "NB_Global")?
        .new
        .as_ref()?;
    let name = NbGlobal::read(row).ok()?.name;
    Some(if name.is_empty() {
        GLOBAL.to_owned()
    } else {
        name
    })
}
