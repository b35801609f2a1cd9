use std::collections::{BTreeMap, BTreeSet, HashSet};

use netverdict_ovn::Database;
use netverdict_ovsdb::{Datum, Replica};
use netverdict_types::{Action, App};
use uuid::Uuid;

use crate::feature::Feature;
use crate::northbound::{AclRow, Column, Northbound, can_sample, contents, probe};
use crate::plan::{Edit, Plan};
use crate::share::{Rates, Share};
use crate::{DEFAULT_SET, OWNER, OWNER_KEY};

/// What is to be sampled in a zone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wish {
    /// The features and how much of each; others are left as they are.
    pub features: BTreeMap<Feature, Rates>,
    /// The collector set, `Flow_Sample_Collector_Set.id` on the nodes.
    pub set: u32,
    /// Whose rows to imitate.
    pub compat: Option<Compat>,
    /// What to do with a Sample of somebody else that would need several rates: true to refuse,
    /// false to give it the highest.
    pub exact: bool,
}

/// Whose rows to imitate to the letter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compat {
    /// The observability manager of ovn-kubernetes: one Sample in both columns of each ACL,
    /// `sample-features` on the collector.
    OvnKubernetes,
}

/// Why there is no plan. Nothing was written.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EnableError {
    /// The NB's schema is too old.
    #[error(
        "this NB cannot sample: its schema{} has no Sample, Sample_Collector or ACL.sample_new, \
         which came with OVN 24.09. ACL logging (ACL.log) and labels (ACL.label) remain",
        version.as_ref().map(|version| format!(" {version}")).unwrap_or_default()
    )]
    SchemaTooOld {
        /// The schema's version, where the server told.
        version: Option<String>,
    },
    /// No collector set has number 0.
    #[error("collector set 0 does not exist: take 1 or more")]
    NoSet,
    /// One Sample for new and established packets cannot have two rates.
    #[error("{feature}: as ovn-kubernetes does it, new and established have the same rate")]
    UnequalRates {
        /// The feature with two rates.
        feature: Feature,
    },
    /// A Sample of somebody else serves new and established packets, or ACLs of different
    /// rates, alike.
    #[error(
        "the Sample with point {point} is {owner}'s and serves different rates alike ({}), {} \
         such Samples in all: ask for the same rate of new and established packets and for all \
         features, as in --feature {feature}=new:{first},est:{first}",
        rates.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "), count,
        first = rates.last().map(ToString::to_string).unwrap_or_default().trim_end_matches(" %")
    )]
    SharedSample {
        /// Its point.
        point: u32,
        /// Who made its collectors.
        owner: String,
        /// What was asked for.
        rates: Vec<Share>,
        /// The feature of an ACL that has it.
        feature: Feature,
        /// How many such Samples there are.
        count: usize,
    },
    /// All 255 numbers are in use.
    #[error("all 255 numbers of {0} are taken; remove rows that nothing uses")]
    NoNumber(&'static str),
    /// Too many ACLs of the same contents.
    #[error("no free observation point was found near {point} for {acl}")]
    NoPoint {
        /// Where it was looked for.
        point: u32,
        /// Which ACL.
        acl: String,
    },
}

impl Default for Wish {
    /// Everything that can be sampled, at [`Rates::DEFAULT`], to [`DEFAULT_SET`].
    fn default() -> Self {
        Self {
            features: Feature::ALL.map(|feature| (feature, Rates::DEFAULT)).into(),
            set: DEFAULT_SET,
            compat: None,
            exact: false,
        }
    }
}

/// Plans what makes a NB sample as wished. What is sampled already stays, and what others made
/// is added to, never replaced.
///
/// # Errors
/// If this NB cannot do it.
pub fn enable(nb: &Replica, wish: &Wish) -> Result<Plan, EnableError> {
    if !can_sample(nb) {
        return Err(EnableError::SchemaTooOld {
            version: nb.schema_version().map(str::to_owned),
        });
    }
    if wish.set == 0 {
        return Err(EnableError::NoSet);
    }
    if wish.compat.is_some()
        && let Some((feature, _)) = wish
            .features
            .iter()
            .find(|(_, rates)| rates.new != rates.est)
    {
        return Err(EnableError::UnequalRates { feature: *feature });
    }
    let nb = Northbound::read(nb);
    let mut draft = Draft::new(&nb, wish);
    let mut skipped = Skipped::default();
    for (number, acl) in nb.acls.iter().enumerate() {
        let Some(feature) = acl.feature() else {
            *skipped.unsupported.entry(acl.kind().as_str()).or_default() += 1;
            continue;
        };
        let Some(rates) = wish.features.get(&feature) else {
            continue;
        };
        if acl.acl.acl.label != 0 {
            skipped.labelled += 1;
            continue;
        }
        draft.acl(number, acl, feature, *rates)?;
    }
    draft.foreign_samples()?;
    draft.finish(skipped)
}

/// ACLs that are left out, by reason.
#[derive(Default)]
struct Skipped<'a> {
    unsupported: BTreeMap<&'a str, usize>,
    labelled: usize,
}

struct Draft<'a> {
    nb: &'a Northbound<'a>,
    wish: &'a Wish,
    /// Points of all Samples, those to come included.
    taken: HashSet<u32>,
    /// Our collectors of the set, by share.
    collectors: BTreeMap<Share, Uuid>,
    new_collectors: BTreeMap<Share, (Uuid, u8)>,
    /// Features by the share at which they are sampled, for `sample-features`.
    features: BTreeMap<Share, BTreeSet<Feature>>,
    new_samples: Vec<(Uuid, u32, BTreeSet<Uuid>)>,
    /// New collectors of Samples that are there.
    changed_samples: BTreeMap<Uuid, BTreeSet<Uuid>>,
    /// New values of both columns.
    changed_acls: Vec<(usize, [Option<Uuid>; 2])>,
    /// What is wanted of others' Samples.
    foreign: BTreeMap<Uuid, (BTreeSet<Share>, Feature)>,
    already: BTreeMap<String, usize>,
    /// Samples of others that get the highest of several rates, by rate.
    joined: BTreeMap<Share, usize>,
    moved: Vec<String>,
    stale: usize,
    by_feature: BTreeMap<Feature, usize>,
}

impl<'a> Draft<'a> {
    fn new(nb: &'a Northbound<'a>, wish: &'a Wish) -> Self {
        Self {
            nb,
            wish,
            taken: nb.samples.values().map(|sample| sample.point).collect(),
            collectors: nb
                .collectors
                .values()
                .filter(|row| row.is_ours && row.collector.set_id == wish.set)
                .map(|row| {
                    (
                        Share::of_probability(row.collector.probability),
                        row.row.uuid(),
                    )
                })
                .collect(),
            new_collectors: BTreeMap::new(),
            features: BTreeMap::new(),
            new_samples: Vec::new(),
            changed_samples: BTreeMap::new(),
            changed_acls: Vec::new(),
            foreign: BTreeMap::new(),
            already: BTreeMap::new(),
            joined: BTreeMap::new(),
            moved: Vec::new(),
            stale: 0,
            by_feature: BTreeMap::new(),
        }
    }

    fn acl(
        &mut self,
        number: usize,
        acl: &'a AclRow<'a>,
        feature: Feature,
        rates: Rates,
    ) -> Result<(), EnableError> {
        let nb = self.nb;
        let has_est = self.wish.compat.is_some() || acl.has_established();
        let est = if has_est { rates.est } else { Share::NONE };
        let wanted = [(Column::New, rates.new), (Column::Est, est)];
        let current = Column::BOTH.map(|column| nb.sample(acl, column));
        if current.iter().flatten().any(|(_, sample)| !nb.owns(sample)) {
            for ((column, share), current) in wanted.into_iter().zip(current) {
                if let Some((uuid, sample)) = current
                    && !nb.owns(sample)
                    // No packet comes by there: its rate does not count.
                    && (column == Column::New || has_est)
                {
                    let entry = self
                        .foreign
                        .entry(uuid)
                        .or_insert_with(|| (BTreeSet::new(), feature));
                    entry.0.insert(share);
                }
            }
            return Ok(());
        }
        let mut targets = [None, None];
        for (target, ((_, share), current)) in
            targets.iter_mut().zip(wanted.into_iter().zip(current))
        {
            let mut collectors = self.other_sets(current.map(|(uuid, _)| uuid));
            if !share.is_none() {
                collectors.insert(self.collector(share)?);
                self.features.entry(share).or_default().insert(feature);
            }
            *target = (!collectors.is_empty()).then_some(collectors);
        }
        let [new, est] = targets;
        let columns = if new == est {
            let sample = match new {
                Some(collectors) => {
                    let keep = current.into_iter().flatten().map(|(uuid, _)| uuid);
                    let keep: Vec<_> = keep.collect();
                    Some(self.place(number, Column::New, &keep, collectors)?)
                }
                None => None,
            };
            [sample, sample]
        } else {
            let mut columns = [None, None];
            for (column, collectors) in Column::BOTH.into_iter().zip([new, est]) {
                let Some(collectors) = collectors else {
                    continue;
                };
                let keep: Vec<_> = current
                    .into_iter()
                    .flatten()
                    .map(|(uuid, _)| uuid)
                    .filter(|uuid| !columns.contains(&Some(*uuid)))
                    .collect();
                if let Some(place) = columns.get_mut(column as usize) {
                    *place = Some(self.place(number, column, &keep, collectors)?);
                }
            }
            columns
        };
        if columns != Column::BOTH.map(|column| acl.sample(column)) {
            self.changed_acls.push((number, columns));
            *self.by_feature.entry(feature).or_default() += 1;
        }
        Ok(())
    }

    /// The collectors of a Sample that belong to other sets.
    fn other_sets(&self, sample: Option<Uuid>) -> BTreeSet<Uuid> {
        let sample = sample.and_then(|uuid| self.nb.samples.get(&uuid));
        sample
            .into_iter()
            .flat_map(|sample| &sample.collectors)
            .copied()
            .filter(|collector| self.nb.set_of(*collector) != Some(self.wish.set))
            .collect()
    }

    /// The collector of the set with this share, made if need be.
    fn collector(&mut self, share: Share) -> Result<Uuid, EnableError> {
        if let Some(uuid) = self.collectors.get(&share) {
            return Ok(*uuid);
        }
        let there = self.nb.collectors.values().map(|row| row.collector.id);
        let used: BTreeSet<u8> = there
            .chain(self.new_collectors.values().map(|(_, id)| *id))
            .collect();
        let id = lowest_free(&used).ok_or(EnableError::NoNumber("Sample_Collector"))?;
        let uuid = Uuid::new_v4();
        self.collectors.insert(share, uuid);
        self.new_collectors.insert(share, (uuid, id));
        Ok(uuid)
    }

    /// A Sample with these collectors and a point of this ACL: one of those that may be kept, or
    /// a new one.
    fn place(
        &mut self,
        number: usize,
        column: Column,
        keep: &[Uuid],
        collectors: BTreeSet<Uuid>,
    ) -> Result<Uuid, EnableError> {
        let nb = self.nb;
        let Some(acl) = nb.acls.get(number) else {
            return Ok(Uuid::nil());
        };
        let kept = keep.iter().find_map(|uuid| {
            let sample = nb.samples.get(uuid)?;
            let fits = acl.accepts(column, sample.point) && nb.is_exclusive(*uuid, number);
            fits.then_some((*uuid, sample))
        });
        if let Some((uuid, sample)) = kept {
            if sample.collectors.iter().copied().collect::<BTreeSet<_>>() != collectors {
                self.changed_samples.insert(uuid, collectors);
            }
            return Ok(uuid);
        }
        let first = acl.first_point(column);
        let point = probe(first)
            .find(|point| !self.taken.contains(point))
            .ok_or_else(|| EnableError::NoPoint {
                point: first,
                acl: acl.describe(),
            })?;
        if point != first {
            self.moved.push(format!(
                "point {first} is taken: {} gets {point} in {}",
                acl.describe(),
                column.name()
            ));
        }
        let is_stale = |uuid: &Uuid| {
            nb.samples
                .get(uuid)
                .is_some_and(|sample| !acl.is_fresh(column, sample.point))
        };
        self.stale += usize::from(keep.iter().any(is_stale));
        let uuid = Uuid::new_v4();
        self.taken.insert(point);
        self.new_samples.push((uuid, point, collectors));
        Ok(uuid)
    }

    /// Adds our collector to the Samples of others that do not send to our set yet.
    fn foreign_samples(&mut self) -> Result<(), EnableError> {
        let nb = self.nb;
        let set = self.wish.set;
        let foreign = std::mem::take(&mut self.foreign);
        let mut shared = Vec::new();
        for (uuid, (shares, feature)) in foreign {
            let Some(sample) = nb.samples.get(&uuid) else {
                continue;
            };
            let served = sample.collectors.iter().find(|collector| {
                nb.set_of(**collector) == Some(set) && !nb.is_our_collector(**collector)
            });
            if let Some(collector) = served {
                *self.already.entry(self.owner(*collector)).or_default() += 1;
                continue;
            }
            if shares.len() > 1 && self.wish.exact {
                shared.push((uuid, sample.point, shares, feature));
                continue;
            }
            let share = shares.last().copied().unwrap_or_default();
            if shares.len() > 1 {
                *self.joined.entry(share).or_default() += 1;
            }
            let mut collectors = self.other_sets(Some(uuid));
            if !share.is_none() {
                collectors.insert(self.collector(share)?);
                self.features.entry(share).or_default().insert(feature);
            }
            if collectors != sample.collectors.iter().copied().collect() {
                self.changed_samples.insert(uuid, collectors);
            }
        }
        match shared.first() {
            None => Ok(()),
            Some((uuid, point, shares, feature)) => Err(EnableError::SharedSample {
                point: *point,
                owner: nb
                    .samples
                    .get(uuid)
                    .and_then(|sample| sample.collectors.first())
                    .map_or_else(|| "somebody".to_owned(), |collector| self.owner(*collector)),
                rates: shares.iter().copied().collect(),
                feature: *feature,
                count: shared.len(),
            }),
        }
    }

    fn owner(&self, collector: Uuid) -> String {
        self.nb
            .collectors
            .get(&collector)
            .map(|row| row.owner())
            .unwrap_or_default()
    }

    fn finish(self, skipped: Skipped<'_>) -> Result<Plan, EnableError> {
        let nb = self.nb;
        let set = self.wish.set;
        let mut edits = Vec::new();
        let mut steps = Vec::new();
        self.apps(&mut edits, &mut steps)?;
        let mut new_collectors: Vec<_> = self.new_collectors.iter().collect();
        new_collectors.sort_by_key(|(_, (_, id))| *id);
        for (share, (uuid, id)) in new_collectors {
            edits.push(self.new_collector(*share, *uuid, *id));
            steps.push(format!(
                "Sample_Collector: add {id}, {share} of packets to set {set}"
            ));
        }
        for (uuid, point, collectors) in &self.new_samples {
            edits.push(Edit::Insert {
                table: "Sample",
                row: *uuid,
                columns: vec![
                    ("metadata", Datum::from(i64::from(*point))),
                    ("collectors", collectors.iter().copied().collect()),
                ],
            });
        }
        step(&mut steps, self.new_samples.len(), |count| {
            format!("Sample: add {count}")
        });
        self.compat_features(&mut edits, &mut steps);
        for (uuid, collectors) in &self.changed_samples {
            let Some(sample) = nb.samples.get(uuid) else {
                continue;
            };
            edits.push(change_collectors(*uuid, sample, collectors));
        }
        step(&mut steps, self.changed_samples.len(), |count| {
            format!("Sample: change the collectors of {count}")
        });
        for (number, columns) in &self.changed_acls {
            if let Some(acl) = nb.acls.get(*number) {
                edits.push(change_acl(acl, *columns));
            }
        }
        step(&mut steps, self.changed_acls.len(), |count| {
            let features: Vec<_> = self
                .by_feature
                .iter()
                .map(|(feature, count)| format!("{feature} {count}"))
                .collect();
            format!(
                "ACL: set sample_new and sample_est of {count} ({})",
                features.join(", ")
            )
        });
        let (removed_samples, removed_collectors) = self.leftovers();
        for uuid in &removed_samples {
            if let Some(sample) = nb.samples.get(uuid) {
                edits.push(remove_sample(*uuid, sample));
            }
        }
        step(&mut steps, removed_samples.len(), |count| {
            format!("Sample: remove {count} of ours that nothing refers to any more")
        });
        for uuid in &removed_collectors {
            if let Some(row) = nb.collectors.get(uuid) {
                edits.push(row.remove());
                steps.push(format!(
                    "Sample_Collector: remove {} of ours, which nothing uses any more",
                    row.collector.id
                ));
            }
        }
        let notes = self.notes(skipped, &removed_samples);
        Ok(Plan::new(Database::Northbound, edits, steps, notes))
    }

    fn apps(&self, edits: &mut Vec<Edit>, steps: &mut Vec<String>) -> Result<(), EnableError> {
        let mut used: BTreeSet<u8> = self.nb.apps.values().map(|app| app.id).collect();
        let is_ours = !self.collectors.is_empty();
        let is_sampling = is_ours || !self.nb.samples.is_empty();
        for (app, usual) in [(App::Drop, 1), (App::AclNew, 2), (App::AclEst, 3)] {
            let is_used = match app {
                App::Drop => is_ours,
                _ => is_sampling,
            };
            if !is_used || self.nb.apps.contains_key(&app) {
                continue;
            }
            let id = if used.contains(&usual) {
                // Keep the usual numbers of the others free as well.
                lowest_free(&used.iter().copied().chain([1, 2, 3]).collect())
                    .ok_or(EnableError::NoNumber("Sampling_App"))?
            } else {
                usual
            };
            used.insert(id);
            edits.push(Edit::Insert {
                table: "Sampling_App",
                row: Uuid::new_v4(),
                columns: vec![
                    ("type", Datum::from(app.as_str())),
                    ("id", Datum::from(i64::from(id))),
                    ("external_ids", Datum::map_of([(OWNER_KEY, OWNER)])),
                ],
            });
            steps.push(format!("Sampling_App: add {} as {id}", app.as_str()));
        }
        Ok(())
    }

    fn new_collector(&self, share: Share, uuid: Uuid, id: u8) -> Edit {
        let mut columns = vec![
            ("id", Datum::from(i64::from(id))),
            ("set_id", Datum::from(i64::from(self.wish.set))),
            ("probability", Datum::from(i64::from(share.probability()))),
        ];
        let mut external_ids = vec![(OWNER_KEY.to_owned(), OWNER.to_owned())];
        match self.wish.compat {
            Some(Compat::OvnKubernetes) => {
                let features = joined(self.features.get(&share).into_iter().flatten().copied());
                if !features.is_empty() {
                    external_ids.push((SAMPLE_FEATURES.to_owned(), features));
                }
            }
            None => columns.push(("name", Datum::from(format!("netverdict {share}")))),
        }
        columns.push(("external_ids", Datum::map_of(external_ids)));
        Edit::Insert {
            table: "Sample_Collector",
            row: uuid,
            columns,
        }
    }

    /// Brings `sample-features` of our collectors up to date.
    fn compat_features(&self, edits: &mut Vec<Edit>, steps: &mut Vec<String>) {
        if self.wish.compat.is_none() {
            return;
        }
        for (share, features) in &self.features {
            let Some(row) = self
                .collectors
                .get(share)
                .and_then(|uuid| self.nb.collectors.get(uuid))
            else {
                continue;
            };
            let ids = &row.collector.external_ids;
            let there = ids.iter().find(|(key, _)| key == SAMPLE_FEATURES);
            let known = there
                .iter()
                .flat_map(|(_, list)| list.split(','))
                .filter_map(|word| word.parse().ok());
            let list = joined(known.chain(features.iter().copied()));
            if there.map_or("", |(_, there)| there) == list {
                continue;
            }
            let others = ids
                .iter()
                .filter(|(key, _)| key != SAMPLE_FEATURES)
                .cloned();
            let after = others.chain([(SAMPLE_FEATURES.to_owned(), list.clone())]);
            edits.push(Edit::Update {
                table: "Sample_Collector",
                row: row.row.uuid(),
                before: contents(row.row, &["external_ids"]),
                after: vec![("external_ids", Datum::map_of(after))],
                relies_on: Vec::new(),
            });
            steps.push(format!(
                "Sample_Collector: {} serves {list}",
                row.collector.id
            ));
        }
    }

    /// Our Samples and collectors that nothing refers to after the changes.
    fn leftovers(&self) -> (Vec<Uuid>, Vec<Uuid>) {
        let nb = self.nb;
        let changed: BTreeMap<usize, [Option<Uuid>; 2]> =
            self.changed_acls.iter().copied().collect();
        let mut referenced = BTreeSet::new();
        for (number, acl) in nb.acls.iter().enumerate() {
            let columns = match changed.get(&number) {
                Some(columns) => *columns,
                None => Column::BOTH.map(|column| acl.sample(column)),
            };
            referenced.extend(columns.into_iter().flatten());
        }
        let removed: Vec<_> = nb
            .samples
            .iter()
            .filter(|(uuid, sample)| nb.owns(sample) && !referenced.contains(uuid))
            .map(|(uuid, _)| *uuid)
            .collect();
        let mut used = BTreeSet::new();
        for (uuid, sample) in &nb.samples {
            if removed.binary_search(uuid).is_ok() {
                continue;
            }
            match self.changed_samples.get(uuid) {
                Some(collectors) => used.extend(collectors.iter().copied()),
                None => used.extend(sample.collectors.iter().copied()),
            }
        }
        used.extend(
            self.new_samples
                .iter()
                .flat_map(|(_, _, collectors)| collectors.iter().copied()),
        );
        let unused = nb.unused_collectors(&used).map(|row| row.row.uuid());
        (removed, unused.collect())
    }

    fn notes(self, skipped: Skipped<'_>, removed: &[Uuid]) -> Vec<String> {
        let nb = self.nb;
        let mut notes = Vec::new();
        for (kind, count) in &skipped.unsupported {
            notes.push(format!(
                "{count} ACLs of {kind} are left out: ovn-kubernetes keeps their sample columns \
                 empty"
            ));
        }
        if skipped.labelled > 0 {
            notes.push(format!(
                "{} ACLs are left out: they have a label, which OVN puts in the place of the \
                 observation point",
                skipped.labelled
            ));
        }
        for (owner, count) in &self.already {
            notes.push(format!(
                "{count} Samples go to set {} already, by {owner}: left as they are",
                self.wish.set
            ));
        }
        for (share, count) in &self.joined {
            notes.push(format!(
                "{count} Samples of others serve new and established packets alike, so that both \
                 are sampled at {share}; --feature with one rate for both chooses another"
            ));
        }
        if self.stale > 0 {
            notes.push(format!(
                "{} ACLs have changed since they were sampled and get new points, so that old \
                 connections keep their reason",
                self.stale
            ));
        }
        if !nb.unreadable.is_empty() {
            notes.push(format!(
                "{} rows are left out: {}",
                nb.unreadable.len(),
                nb.unreadable
                    .first()
                    .map(ToString::to_string)
                    .unwrap_or_default()
            ));
        }
        notes.extend(self.moved.iter().cloned());
        if let Some(note) = self.lost_optimisation(removed) {
            notes.push(note);
        }
        notes
    }

    /// What a second collector costs: OVN then makes flows for each point instead of a few for
    /// all (northd.c, build_acl_sample_flows).
    fn lost_optimisation(&self, removed: &[Uuid]) -> Option<String> {
        let nb = self.nb;
        let many: BTreeSet<Uuid> = nb
            .samples
            .iter()
            .filter(|(uuid, _)| removed.binary_search(uuid).is_err())
            .filter(|(uuid, sample)| match self.changed_samples.get(uuid) {
                Some(collectors) => collectors.len() > 1,
                None => sample.collectors.len() > 1,
            })
            .map(|(uuid, _)| *uuid)
            .chain(
                self.new_samples
                    .iter()
                    .filter(|(_, _, collectors)| collectors.len() > 1)
                    .map(|(uuid, _, _)| *uuid),
            )
            .collect();
        if many.is_empty() {
            return None;
        }
        let changed: BTreeMap<usize, [Option<Uuid>; 2]> =
            self.changed_acls.iter().copied().collect();
        let columns = nb.acls.iter().enumerate().flat_map(|(number, acl)| {
            let columns = match changed.get(&number) {
                Some(columns) => *columns,
                None => Column::BOTH.map(|column| acl.sample(column)),
            };
            Column::BOTH
                .into_iter()
                .zip(columns)
                .map(move |(column, sample)| (acl, column, sample, columns[0].is_some()))
        });
        let flows: usize = columns
            .filter(|(_, _, sample, _)| sample.is_some_and(|sample| many.contains(&sample)))
            .map(|(acl, column, _, has_new)| own_flows(acl, column, has_new))
            .sum();
        Some(format!(
            "the optimised flows are lost for {} Samples, which have more than one collector: \
             OVN makes {flows} logical flows for them, where one collector each needs a few for \
             all together",
            many.len()
        ))
    }
}

const SAMPLE_FEATURES: &str = "sample-features";

/// How many logical flows an ACL's column needs where its Sample has several collectors, on a
/// switch with conntrack: one for new packets, one for each direction of established ones
/// (northd.c, build_acl_sample_flows, and seen with OVN 25.03). Without `sample_new` the latter
/// are made for allow-related only.
pub(crate) fn own_flows(acl: &AclRow<'_>, column: Column, has_new: bool) -> usize {
    match (column, acl.acl.acl.action) {
        (Column::New, _) => 1,
        (Column::Est, Action::AllowStateless) => 0,
        (Column::Est, Action::AllowRelated) => 2,
        (Column::Est, _) if has_new => 2,
        (Column::Est, _) => 0,
    }
}

pub(crate) fn change_collectors(
    uuid: Uuid,
    sample: &netverdict_ovn::Sample,
    collectors: &BTreeSet<Uuid>,
) -> Edit {
    Edit::Update {
        table: "Sample",
        row: uuid,
        before: vec![("collectors", sample.collectors.iter().copied().collect())],
        after: vec![("collectors", collectors.iter().copied().collect())],
        relies_on: Vec::new(),
    }
}

pub(crate) fn change_acl(acl: &AclRow<'_>, columns: [Option<Uuid>; 2]) -> Edit {
    let changes = Column::BOTH
        .into_iter()
        .zip(columns)
        .filter(|(column, sample)| acl.sample(*column) != *sample);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (column, sample) in changes {
        before.push((column.name(), acl.sample(column).into_iter().collect()));
        after.push((column.name(), sample.into_iter().collect()));
    }
    Edit::Update {
        table: "ACL",
        row: acl.uuid(),
        before,
        after,
        relies_on: acl.relied_on(),
    }
}

pub(crate) fn remove_sample(uuid: Uuid, sample: &netverdict_ovn::Sample) -> Edit {
    Edit::Delete {
        table: "Sample",
        row: uuid,
        before: vec![
            ("metadata", Datum::from(i64::from(sample.point))),
            ("collectors", sample.collectors.iter().copied().collect()),
        ],
    }
}

pub(crate) fn step(steps: &mut Vec<String>, count: usize, text: impl FnOnce(usize) -> String) {
    if count > 0 {
        steps.push(text(count));
    }
}

fn joined(features: impl Iterator<Item = Feature>) -> String {
    let names: BTreeSet<_> = features
        .filter(|feature| *feature != Feature::Other)
        .map(Feature::as_str)
        .collect();
    names.into_iter().collect::<Vec<_>>().join(",")
}

fn lowest_free(used: &BTreeSet<u8>) -> Option<u8> {
    (1..=u8::MAX).find(|id| !used.contains(id))
}
