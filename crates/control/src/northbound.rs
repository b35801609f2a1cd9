//! The rows of a NB as the planners see them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use netverdict_ovn::{Acl, RowError, Sample, SampleCollector, SamplingApp, ids};
use netverdict_ovsdb::{Columns, Datum, Replica, Row};
use netverdict_types::{Action, App, OwnerKind};
use uuid::Uuid;

use crate::feature::Feature;
use crate::plan::Edit;
use crate::{OWNER, OWNER_KEY};

/// How far a point may lie behind the one that it should be because others had it.
const PROBES: u32 = 4096;

#[derive(Debug)]
pub(crate) struct Northbound<'a> {
    /// Sorted by identity.
    pub(crate) acls: Vec<AclRow<'a>>,
    pub(crate) samples: BTreeMap<Uuid, Sample>,
    pub(crate) collectors: BTreeMap<Uuid, CollectorRow<'a>>,
    pub(crate) apps: HashMap<App, AppRow<'a>>,
    /// How many of the columns sample_new and sample_est refer to a Sample.
    pub(crate) references: HashMap<Uuid, Vec<(usize, Column)>>,
    pub(crate) unreadable: Vec<RowError>,
    /// True if `NB_Global.options:debug_drop_collector_set` makes the drop app of use.
    pub(crate) samples_drops: bool,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Column {
    New,
    Est,
}

#[derive(Debug)]
pub(crate) struct AclRow<'a> {
    pub(crate) row: &'a Row,
    pub(crate) acl: Acl,
    /// `k8s.ovn.org/id`.
    id: Option<&'a str>,
}

#[derive(Debug)]
pub(crate) struct CollectorRow<'a> {
    pub(crate) row: &'a Row,
    pub(crate) collector: SampleCollector,
    pub(crate) is_ours: bool,
}

#[derive(Debug)]
pub(crate) struct AppRow<'a> {
    pub(crate) row: &'a Row,
    pub(crate) id: u8,
    pub(crate) is_ours: bool,
}

impl Column {
    pub(crate) const BOTH: [Self; 2] = [Self::New, Self::Est];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::New => "sample_new",
            Self::Est => "sample_est",
        }
    }
}

/// True where ACLs can be sampled; false for a schema before OVN 24.09.
pub(crate) fn can_sample(nb: &Replica) -> bool {
    !nb.missing().has("Sample", "metadata")
        && !nb.missing().has("ACL", "sample_new")
        && !nb.missing().has("Sample_Collector", "set_id")
}

impl<'a> Northbound<'a> {
    pub(crate) fn read(nb: &'a Replica) -> Self {
        let mut unreadable = Vec::new();
        let mut acls: Vec<_> = nb
            .rows("ACL")
            .filter_map(|row| match Acl::read(row) {
                Ok(acl) => Some(AclRow {
                    row,
                    acl,
                    id: row
                        .column("external_ids")
                        .and_then(|ids| ids.lookup(ids::key::ID)),
                }),
                Err(error) => {
                    unreadable.push(error);
                    None
                }
            })
            .collect();
        acls.sort_by_key(|acl| acl.row.uuid());
        let mut references: HashMap<_, Vec<_>> = HashMap::new();
        for (number, acl) in acls.iter().enumerate() {
            for column in Column::BOTH {
                if let Some(sample) = acl.sample(column) {
                    references.entry(sample).or_default().push((number, column));
                }
            }
        }
        let samples = nb
            .rows("Sample")
            .filter_map(|row| keep(row, Sample::read(row), &mut unreadable))
            .map(|(row, sample)| (row.uuid(), sample))
            .collect();
        let collectors = nb
            .rows("Sample_Collector")
            .filter_map(|row| keep(row, SampleCollector::read(row), &mut unreadable))
            .map(|(row, collector)| {
                let is_ours = is_ours(row);
                (
                    row.uuid(),
                    CollectorRow {
                        row,
                        collector,
                        is_ours,
                    },
                )
            })
            .collect();
        let apps = nb
            .rows("Sampling_App")
            .filter_map(|row| keep(row, SamplingApp::read(row), &mut unreadable))
            .map(|(row, app)| {
                let is_ours = is_ours(row);
                (
                    app.app,
                    AppRow {
                        row,
                        id: app.id,
                        is_ours,
                    },
                )
            })
            .collect();
        let samples_drops = nb.rows("NB_Global").any(|row| {
            row.column("options")
                .and_then(|options| options.lookup("debug_drop_collector_set"))
                .is_some_and(|set| set != "0" && !set.is_empty())
        });
        Self {
            acls,
            samples,
            collectors,
            apps,
            references,
            unreadable,
            samples_drops,
        }
    }

    /// The Sample behind a column of an ACL, if there is one.
    pub(crate) fn sample(&self, acl: &AclRow<'_>, column: Column) -> Option<(Uuid, &Sample)> {
        let uuid = acl.sample(column)?;
        Some((uuid, self.samples.get(&uuid)?))
    }

    /// True if only our collectors get this Sample.
    pub(crate) fn owns(&self, sample: &Sample) -> bool {
        !sample.collectors.is_empty()
            && sample
                .collectors
                .iter()
                .all(|collector| self.is_our_collector(*collector))
    }

    pub(crate) fn is_our_collector(&self, uuid: Uuid) -> bool {
        self.collectors
            .get(&uuid)
            .is_some_and(|collector| collector.is_ours)
    }

    pub(crate) fn set_of(&self, collector: Uuid) -> Option<u32> {
        Some(self.collectors.get(&collector)?.collector.set_id)
    }

    /// True if no other ACL than this one refers to the Sample.
    pub(crate) fn is_exclusive(&self, sample: Uuid, acl: usize) -> bool {
        self.references
            .get(&sample)
            .is_none_or(|users| users.iter().all(|(user, _)| *user == acl))
    }

    /// Our collectors without their use: those that no Sample in `used` names.
    pub(crate) fn unused_collectors<'b>(
        &'b self,
        used: &'b BTreeSet<Uuid>,
    ) -> impl Iterator<Item = &'b CollectorRow<'a>> {
        self.collectors
            .values()
            .filter(|collector| collector.is_ours && !used.contains(&collector.row.uuid()))
    }
}

impl AclRow<'_> {
    pub(crate) fn uuid(&self) -> Uuid {
        self.row.uuid()
    }

    pub(crate) fn sample(&self, column: Column) -> Option<Uuid> {
        match column {
            Column::New => self.acl.sample_new,
            Column::Est => self.acl.sample_est,
        }
    }

    pub(crate) fn kind(&self) -> &OwnerKind {
        &self.acl.acl.owner.kind
    }

    pub(crate) fn feature(&self) -> Option<Feature> {
        Feature::of(self.kind())
    }

    /// True if packets of established connections can carry this ACL's point: OVN commits it for
    /// what is allowed, and for what was allowed before and is not any more.
    pub(crate) fn has_established(&self) -> bool {
        !matches!(self.acl.acl.action, Action::Pass | Action::AllowStateless)
    }

    /// Where a point is looked for first. Of what ovn-kubernetes made, the one of new packets is
    /// that of ovn-kubernetes; of others it comes from all that the ACL says.
    pub(crate) fn first_point(&self, column: Column) -> u32 {
        let acl = &self.acl.acl;
        let point = match (self.id, column) {
            (Some(id), Column::New) => ids::sample_point(id, &acl.matches, acl.action),
            (Some(id), Column::Est) => ids::fnv32a([id, &acl.matches, acl.action.as_str(), "est"]),
            (None, column) => ids::fnv32a([
                acl.name.as_deref().unwrap_or_default(),
                "\0",
                acl.pipeline.as_str(),
                "\0",
                &format!("{}\0{}\0", acl.tier, acl.priority),
                &acl.matches,
                "\0",
                acl.action.as_str(),
                match column {
                    Column::New => "",
                    Column::Est => "est",
                },
            ]),
        };
        point.max(1)
    }

    /// True if a point is the first one, or one that was found near it because the first was
    /// taken.
    pub(crate) fn accepts(&self, column: Column, point: u32) -> bool {
        distance(self.first_point(column), point) < PROBES
    }

    /// True if the point is one that ovn-kubernetes or netverdict gives to this ACL as it is:
    /// else the ACL has changed since.
    pub(crate) fn is_fresh(&self, column: Column, point: u32) -> bool {
        self.accepts(Column::New, point) || self.accepts(column, point)
    }

    pub(crate) fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// For people: the name of its owner and which row it is.
    pub(crate) fn describe(&self) -> String {
        let acl = &self.acl.acl;
        let owner = &acl.owner;
        let name = [owner.namespace.as_deref(), owner.name.as_deref()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("/");
        let kind = match owner.kind.as_str() {
            "" => "ACL",
            kind => kind,
        };
        format!("{kind} {name} ({})", self.uuid()).replace("  ", " ")
    }

    /// What a plan about the samples of this ACL relies on.
    pub(crate) fn relied_on(&self) -> Vec<(&'static str, Datum)> {
        ["action", "match"]
            .into_iter()
            .filter_map(|column| Some((column, self.row.column(column)?.clone())))
            .collect()
    }
}

impl CollectorRow<'_> {
    /// Who made it, as far as the row says.
    pub(crate) fn owner(&self) -> String {
        let ids = &self.collector.external_ids;
        let value = |wanted: &str| {
            let found = ids.iter().find(|(key, _)| key == wanted);
            found.map(|(_, value)| value.as_str())
        };
        value(OWNER_KEY)
            .or_else(|| value("owner"))
            // Only ovn-kubernetes writes this key.
            .or_else(|| value("sample-features").map(|_| "ovn-kubernetes"))
            .unwrap_or("somebody else")
            .to_owned()
    }

    pub(crate) fn remove(&self) -> Edit {
        Edit::Delete {
            table: "Sample_Collector",
            row: self.row.uuid(),
            before: contents(
                self.row,
                &["id", "name", "probability", "set_id", "external_ids"],
            ),
        }
    }
}

/// The points that may be tried from a first one on; 0 is none.
pub(crate) fn probe(first: u32) -> impl Iterator<Item = u32> {
    (0..PROBES).map(move |step| after(first, step))
}

fn after(first: u32, step: u32) -> u32 {
    // From u32::MAX on to 1.
    let zero_based = u64::from(first.max(1) - 1) + u64::from(step);
    (zero_based % u64::from(u32::MAX)) as u32 + 1
}

fn distance(first: u32, point: u32) -> u32 {
    let ring = u64::from(u32::MAX);
    ((u64::from(point.max(1)) + ring - u64::from(first.max(1))) % ring) as u32
}

pub(crate) fn is_ours(row: &Row) -> bool {
    row.column("external_ids")
        .and_then(|ids| ids.lookup(OWNER_KEY))
        == Some(OWNER)
}

/// The columns of a row as they are, to verify it and to bring it back.
pub(crate) fn contents(row: &Row, columns: &[&'static str]) -> Vec<(&'static str, Datum)> {
    columns
        .iter()
        .filter_map(|column| Some((*column, row.column(column)?.clone())))
        .collect()
}

fn keep<'a, T>(
    row: &'a Row,
    read: Result<T, RowError>,
    unreadable: &mut Vec<RowError>,
) -> Option<(&'a Row, T)> {
    read.map_err(|error| unreadable.push(error))
        .ok()
        .map(|value| (row, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_wrap_around_and_are_never_0() {
        let points: Vec<_> = probe(u32::MAX - 1).take(4).collect();
        assert_eq!(points, [u32::MAX - 1, u32::MAX, 1, 2]);
        assert_eq!(distance(u32::MAX, 2), 2);
        assert_eq!(distance(2, 1), u32::MAX - 1);
        assert_eq!(probe(0).next(), Some(1));
    }
}
