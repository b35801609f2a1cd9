use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use netverdict_ovsdb::{Cause, ChangeSet, Columns, Datum, Row};
use netverdict_types::Timestamp;
use uuid::Uuid;

/// What the matches of a zone name: its port groups and address sets, as they were from time to time.
///
/// Rows are shared with whoever gave them, so that what is in force costs nothing. The past is kept once somebody asked for it, and bounded.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) groups: Table,
    pub(crate) sets: Table,
    keeps_past: bool,
    stamps: u64,
    /// What went, by table and name; the oldest goes first.
    past: VecDeque<(Kind, Box<str>)>,
    /// Members of all that went.
    weight: usize,
}

/// What a match can name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Kind {
    Group,
    Set,
}

/// The rows of a table by their name.
#[derive(Debug)]
pub(crate) struct Table {
    names: HashMap<Uuid, Box<str>, RandomState>,
    versions: HashMap<Box<str>, Vec<Version>, RandomState>,
    /// True once all rows are there: what has no row then does not exist.
    loaded: bool,
    /// What was there before this time is not known.
    horizon: Timestamp,
}

/// A row while it said the same.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) row: Row,
    /// A number of its own.
    pub(crate) stamp: u64,
    from: Timestamp,
    until: Timestamp,
}

/// The stamp of what nothing is known of.
pub(crate) const UNKNOWN: u64 = 0;
/// The stamp of what does not exist.
pub(crate) const ABSENT: u64 = 1;
/// Members of groups and sets that are gone, which are kept: some ten megabytes.
const MOST_PAST: usize = 1 << 17;

/// When a change happened: at once, or between two times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    from: Timestamp,
    to: Timestamp,
}

impl Moment {
    pub(crate) fn of(set: &ChangeSet) -> Self {
        let time = Timestamp(set.time);
        let (from, to) = match set.cause {
            Cause::Gap { from, to } => (Timestamp(from), Timestamp(to)),
            Cause::Restored { as_of } => (Timestamp::MIN, Timestamp(as_of)),
            Cause::Initial => (Timestamp::MIN, time),
            Cause::Transaction => (time, time),
        };
        Self { from, to }
    }
}

impl Kind {
    pub(crate) fn of(table: &str) -> Option<Self> {
        match table {
            "Port_Group" => Some(Self::Group),
            "Address_Set" => Some(Self::Set),
            _ => None,
        }
    }

    fn members(self, row: &Row) -> Option<&Datum> {
        row.column(match self {
            Self::Group => "ports",
            Self::Set => "addresses",
        })
    }
}

impl Default for Table {
    fn default() -> Self {
        Self {
            names: HashMap::default(),
            versions: HashMap::default(),
            loaded: false,
            horizon: Timestamp::MAX,
        }
    }
}

impl Contents {
    /// Keeps from now on what goes.
    pub(crate) fn keep_past(&mut self, now: Timestamp) {
        if !self.keeps_past {
            self.keeps_past = true;
            self.groups.horizon = self.groups.horizon.max(now);
        }
    }

    /// All rows of a table follow: what was known is not, and what is not named then does not exist.
    pub(crate) fn begin(&mut self, kind: Kind, moment: Moment) {
        let table = self.table(kind);
        // A dump does not say when it was made.
        let horizon = match moment.to {
            Timestamp(..=0) => Timestamp::MAX,
            time => time,
        };
        *table = Table {
            loaded: true,
            horizon,
            ..Table::default()
        };
        self.past.retain(|(of, _)| *of != kind);
        self.weight = self.weigh();
    }

    pub(crate) fn take(&mut self, kind: Kind, uuid: Uuid, new: Option<&Row>, moment: Moment) {
        self.stamps += 1;
        let stamp = ABSENT + self.stamps;
        let name = new.and_then(|row| row.text("name"));
        let from = match self.keeps_past {
            true => moment.from,
            false => Timestamp::MIN,
        };
        let table = self.table(kind);
        let before = table.names.remove(&uuid);
        if let Some(before) = &before
            && let Some(version) = table.held(before, uuid)
        {
            if let Some(row) = new
                && name == Some(before)
                && kind.members(row) == kind.members(&version.row)
            {
                version.row = row.clone();
                table.names.insert(uuid, before.clone());
                return;
            }
            version.until = moment.to.max(version.from);
            let weight = weight(kind, &version.row);
            self.retire(kind, before, weight);
        }
        let (Some(row), Some(name)) = (new, name) else {
            return;
        };
        let table = self.table(kind);
        table.names.insert(uuid, name.into());
        table
            .versions
            .entry(name.into())
            .or_default()
            .push(Version {
                row: row.clone(),
                stamp,
                from,
                until: Timestamp::MAX,
            });
    }

    fn table(&mut self, kind: Kind) -> &mut Table {
        match kind {
            Kind::Group => &mut self.groups,
            Kind::Set => &mut self.sets,
        }
    }

    /// Keeps what has just gone, if the past is kept, and lets the oldest go where that is too much.
    fn retire(&mut self, kind: Kind, name: &str, weight: usize) {
        if !self.keeps_past {
            self.table(kind).drop_oldest(kind, name);
            return;
        }
        self.weight += weight;
        self.past.push_back((kind, name.into()));
        while self.weight > MOST_PAST
            && let Some((kind, name)) = self.past.pop_front()
        {
            let table = self.table(kind);
            let Some((weight, until)) = table.drop_oldest(kind, &name) else {
                continue;
            };
            table.horizon = table.horizon.max(until);
            self.weight -= weight;
        }
    }

    fn weigh(&self) -> usize {
        [Kind::Group, Kind::Set]
            .into_iter()
            .zip([&self.groups, &self.sets])
            .flat_map(|(kind, table)| {
                let versions = table.versions.values().flatten();
                versions
                    .filter(|version| version.until != Timestamp::MAX)
                    .map(move |version| weight(kind, &version.row))
            })
            .sum()
    }
}

fn weight(kind: Kind, row: &Row) -> usize {
    1 + kind.members(row).map_or(0, |members| members.atoms().len())
}

impl Table {
    /// What was there before this time is not known.
    pub(crate) fn horizon(&self) -> Timestamp {
        self.horizon
    }

    /// The rows in force.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.versions
            .values()
            .flatten()
            .filter(|version| version.until == Timestamp::MAX)
            .map(|version| &version.row)
    }

    /// The stamps of all that a name can have stood for between two times, each once.
    pub(crate) fn stamps(
        &self,
        name: &str,
        from: Timestamp,
        until: Timestamp,
        stamps: &mut Vec<u64>,
    ) {
        let versions = self.versions.get(name).map_or(&[][..], Vec::as_slice);
        let first = stamps.len();
        // Before the horizon nothing else is known than that what is there now may have been.
        let mut covered = from.max(self.horizon.min(until));
        let mut gap = false;
        for version in versions {
            if version.from <= until && from <= version.until {
                stamps.push(version.stamp);
                gap |= version.from > covered;
                covered = covered.max(version.until);
            }
        }
        gap |= covered < until;
        let none = stamps.len() == first;
        match self.loaded {
            true if none || gap => stamps.push(ABSENT),
            false if none => stamps.push(UNKNOWN),
            _ => {}
        }
    }

    /// True where a name stands, or stood, for something.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.versions.contains_key(name)
    }

    /// The row with a stamp.
    pub(crate) fn row(&self, name: &str, stamp: u64) -> Option<&Row> {
        let versions = self.versions.get(name)?;
        let version = versions.iter().find(|version| version.stamp == stamp)?;
        Some(&version.row)
    }

    /// What a row in force says.
    fn held(&mut self, name: &str, uuid: Uuid) -> Option<&mut Version> {
        let versions = self.versions.get_mut(name)?.iter_mut();
        versions
            .rev()
            .find(|version| version.until == Timestamp::MAX && version.row.uuid() == uuid)
    }

    /// Forgets the oldest of a name that is gone; says its weight and when it ended. What came after it is then taken for what was before.
    fn drop_oldest(&mut self, kind: Kind, name: &str) -> Option<(usize, Timestamp)> {
        let versions = self.versions.get_mut(name)?;
        let gone = |version: &Version| version.until != Timestamp::MAX;
        let old = versions.remove(versions.iter().position(gone)?);
        if let Some(next) = versions.first_mut()
            && next.from <= old.until
        {
            next.from = Timestamp::MIN;
        }
        if versions.is_empty() {
            self.versions.remove(name);
        }
        Some((weight(kind, &old.row), old.until))
    }
}
