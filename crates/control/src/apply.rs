//! The rows of compiled policies into a NB.

mod report;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use netverdict_ovn::{Database, ids::key};
use netverdict_ovsdb::{Atom, Columns, Datum, Replica, Row as There};
use netverdict_policy::{Row, Table};
use uuid::Uuid;

use self::report::Report;
use self::tables::{
    ORDER, columns, default_of, further_columns, holding_columns, is_collected, is_marked,
    is_policy, is_shared, references,
};
use crate::northbound::contents;
use crate::plan::{Edit, Plan, Values};
use crate::{OWNER, OWNER_KEY};

pub use report::subject;
pub use tables::applied;

/// The value under [`OWNER_KEY`] of rows that [`apply`] makes. It is not [`OWNER`], the mark of
/// what is sampled beside the policies: `sampling disable` removes all that carries that one.
pub const APPLY_OWNER: &str = "netverdict-apply";

/// How to treat what is there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Terms {
    /// Rows that a controller of ovn-kubernetes owns are ours from now on.
    pub adopt: bool,
    /// The rows say what is sampled; else that is left as it is.
    pub sampling: bool,
}

/// Why there is no plan. Nothing was written.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ApplyError {
    /// ovn-kubernetes runs this NB.
    #[error(
        "this NB is another's: {count} rows have the owner-controller of ovn-kubernetes, such as \
         {}. Take another NB, or say that this one is yours and its rows are to be replaced",
        examples.join(" and ")
    )]
    NotOurs {
        /// How many rows.
        count: usize,
        /// Some of them.
        examples: Vec<String>,
    },
    /// Somebody else's row has the name of a row that decides.
    #[error(
        "{count} rows of somebody else have names of ours, such as {}: policies would not hold. \
         Remove or rename them",
        examples.join(" and ")
    )]
    NameTaken {
        /// How many rows.
        count: usize,
        /// Some of them.
        examples: Vec<String>,
    },
    /// The NB's schema is too old for these policies.
    #[error(
        "this NB's schema{} has no ACL.tier, which came with OVN 23.06: it cannot put {} before or \
         behind other policies. Take those away, or a newer OVN",
        version.as_ref().map(|version| format!(" {version}")).unwrap_or_default(),
        policies.join(" and ")
    )]
    NoTiers {
        /// The schema's version, where the server told.
        version: Option<String>,
        /// Some policies that need other tiers than the rest.
        policies: Vec<String>,
    },
    /// A table is not there.
    #[error("this NB has no table {0}, which policies need")]
    NoTable(&'static str),
    /// No number is left for a collector.
    #[error("all 255 numbers of Sample_Collector are taken; remove rows that nothing uses")]
    NoNumber,
}

/// Plans what makes the rows of ours in a NB those that are wanted in this zone, and no others.
///
/// What others made stays. A switch, router or port of theirs with a wanted name is used as it
/// is. A replica without tables stands for an empty NB with a schema that has all of them.
///
/// # Errors
/// If this is not ours to change, or cannot be done.
pub fn apply<'a>(
    nb: &'a Replica,
    rows: impl IntoIterator<Item = &'a Row>,
    zone: &str,
    terms: Terms,
) -> Result<Plan, ApplyError> {
    let mut rows: Vec<&Row> = rows.into_iter().filter(|row| row.is_in(zone)).collect();
    rows.sort_by(|a, b| (a.table, &a.key).cmp(&(b.table, &b.key)));
    let mut planner = Planner::new(nb, zone, terms)?;
    planner.check_schema(&mut rows)?;
    let wanted = planner.find(rows)?;
    let wanted = planner.keep_what_can_be(wanted);
    planner.compare(&wanted)?;
    planner.remove(&wanted);
    Ok(planner.plan(&wanted))
}

/// How many examples a message gives.
const EXAMPLES: usize = 3;

/// A row that is there.
#[derive(Debug)]
struct Present<'a> {
    table: Table,
    row: &'a There,
    is_ours: bool,
}

/// A row that is wanted, and the one that is there for it.
#[derive(Debug)]
struct Wanted<'a> {
    row: &'a Row,
    there: Found,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Found {
    /// None.
    Nothing,
    /// One of ours, by its place in [`Planner::present`].
    Ours(usize),
    /// One of somebody else, that is used as it is.
    Foreign(usize),
}

#[derive(Debug)]
struct Planner<'a> {
    nb: &'a Replica,
    zone: &'a str,
    terms: Terms,
    present: Vec<Present<'a>>,
    by_uuid: HashMap<Uuid, usize>,
    /// Which rows refer strongly to a row.
    referrers: HashMap<Uuid, Vec<Uuid>>,
    /// ACLs whose samples `netverdict sampling` has in hand.
    sampled_elsewhere: HashSet<usize>,
    /// What a wanted row is called in the database, or by the plan.
    identity: HashMap<Uuid, Uuid>,
    inserts: Vec<(Table, Uuid, Values)>,
    updates: BTreeMap<usize, Values>,
    deletes: BTreeSet<usize>,
    notes: Vec<String>,
}

impl<'a> Planner<'a> {
    fn new(nb: &'a Replica, zone: &'a str, terms: Terms) -> Result<Self, ApplyError> {
        let mut present = Vec::new();
        let mut foreign = Vec::new();
        for table in ORDER {
            let mut rows: Vec<_> = nb.rows(table.as_str()).collect();
            rows.sort_by_key(|row| row.uuid());
            for row in rows {
                let is_marked = mark(row) == Some(APPLY_OWNER);
                let is_controlled = !is_marked && is_controlled(row);
                if is_controlled && !terms.adopt {
                    foreign.push((table, row));
                }
                present.push(Present {
                    table,
                    row,
                    is_ours: is_marked || is_controlled,
                });
            }
        }
        if !foreign.is_empty() {
            return Err(ApplyError::NotOurs {
                count: foreign.len(),
                examples: examples(foreign.into_iter()),
            });
        }
        let by_uuid = present
            .iter()
            .enumerate()
            .map(|(number, present)| (present.row.uuid(), number))
            .collect();
        let mut planner = Self {
            nb,
            zone,
            terms,
            present,
            by_uuid,
            referrers: HashMap::new(),
            sampled_elsewhere: HashSet::new(),
            identity: HashMap::new(),
            inserts: Vec::new(),
            updates: BTreeMap::new(),
            deletes: BTreeSet::new(),
            notes: Vec::new(),
        };
        planner.read_references();
        planner.judge_unmarked();
        Ok(planner)
    }

    fn read_references(&mut self) {
        for reference in tables::REFERENCES
            .iter()
            .filter(|reference| reference.strong)
        {
            for row in self.nb.rows(reference.table) {
                for target in uuids(row.column(reference.column)) {
                    self.referrers.entry(target).or_default().push(row.uuid());
                }
            }
        }
    }

    /// Rows of tables without `external_ids` are ours if all that they hang together with is.
    fn judge_unmarked(&mut self) {
        let is_ours = |uuid: &Uuid| {
            let number = self.by_uuid.get(uuid);
            number
                .and_then(|number| self.present.get(*number))
                .is_some_and(|present| present.is_ours)
        };
        let is_samplings = |collector: Uuid| {
            let row = self.nb.row("Sample_Collector", collector);
            row.and_then(mark) == Some(OWNER)
        };
        let mut ours = Vec::new();
        let mut samplings = HashSet::new();
        for (number, present) in self.present.iter().enumerate() {
            let referrers = self.referrers.get(&present.row.uuid());
            let mut ties: Vec<Uuid> = referrers.cloned().unwrap_or_default();
            match present.table {
                Table::Sample => {
                    let mut collectors = uuids(present.row.column("collectors"));
                    if collectors.any(is_samplings) {
                        samplings.insert(present.row.uuid());
                        continue;
                    }
                }
                Table::LoadBalancerGroup => {
                    ties.extend(uuids(present.row.column("load_balancer")));
                }
                _ => continue,
            }
            if !ties.is_empty() && ties.iter().all(is_ours) {
                ours.push(number);
            }
        }
        let elsewhere = self.present.iter().enumerate().filter(|(_, present)| {
            let samples = ["sample_new", "sample_est"].map(|column| present.row.reference(column));
            let mut samples = samples.into_iter().flatten();
            present.table == Table::Acl && samples.any(|sample| samplings.contains(&sample))
        });
        self.sampled_elsewhere = elsewhere.map(|(number, _)| number).collect();
        for number in ours {
            if let Some(present) = self.present.get_mut(number) {
                present.is_ours = true;
            }
        }
    }

    /// Leaves out what this NB cannot hold, where the policies mean the same without.
    fn check_schema(&mut self, rows: &mut Vec<&'a Row>) -> Result<(), ApplyError> {
        let version = self.nb.schema_version();
        if !self.has("ACL", "tier") {
            let tiers = rows.iter().filter(|row| row.table == Table::Acl);
            let mut by_tier: BTreeMap<i64, Vec<&Row>> = BTreeMap::new();
            for row in tiers {
                let tier = value(&row.columns, "tier").and_then(|tier| tier.scalar()?.as_integer());
                by_tier
                    .entry(tier.unwrap_or_default())
                    .or_default()
                    .push(row);
            }
            let most = by_tier.values().map(Vec::len).max().unwrap_or_default();
            if by_tier.len() > 1 {
                let others = by_tier.into_values().filter(|rows| rows.len() < most);
                let policies: BTreeSet<String> = others
                    .flatten()
                    .map(|row| report::subject(row.table, value(&row.columns, "external_ids")))
                    .collect();
                return Err(ApplyError::NoTiers {
                    version: version.map(str::to_owned),
                    policies: policies.into_iter().take(EXAMPLES).collect(),
                });
            }
            if most > 0 {
                self.notes.push(
                    "this NB has no ACL.tier: left out, as all ACLs are of the same tier"
                        .to_owned(),
                );
            }
        }
        let is_sampling = |row: &&Row| {
            matches!(
                row.table,
                Table::Sample | Table::SampleCollector | Table::SamplingApp
            )
        };
        if self.terms.sampling && !crate::northbound::can_sample(self.nb) {
            self.terms.sampling = false;
            if rows.iter().any(is_sampling) {
                self.notes.push(
                    "this NB has no Sample, which came with OVN 24.09: nothing is sampled"
                        .to_owned(),
                );
            }
        }
        if !self.terms.sampling {
            rows.retain(|row| !is_sampling(row));
        }
        let has = |row: &&&Row| self.is_blank() || self.nb.table(row.table.as_str()).is_some();
        let lost = rows.iter().find(|row| !has(row));
        match lost {
            Some(row) => Err(ApplyError::NoTable(row.table.as_str())),
            None => Ok(()),
        }
    }

    fn has(&self, table: &str, column: &str) -> bool {
        let has = |table: &netverdict_ovsdb::Table| table.has_column(column);
        self.is_blank() || self.nb.table(table).is_some_and(has)
    }

    fn is_blank(&self) -> bool {
        self.nb.tables().next().is_none()
    }

    /// Finds for each row that is wanted the one that is there.
    fn find(&self, rows: Vec<&'a Row>) -> Result<Vec<Wanted<'a>>, ApplyError> {
        let mut by_key: HashMap<(Table, Key), Vec<usize>> = HashMap::new();
        for (number, present) in self.present.iter().enumerate() {
            if let Some(key) = self.key_of(present) {
                by_key.entry((present.table, key)).or_default().push(number);
            }
        }
        let mut holders: HashMap<Uuid, Vec<Atom>> = HashMap::new();
        for row in &rows {
            let name = value(&row.columns, "name").and_then(Datum::scalar);
            for reference in references(row.table.as_str()).filter(|column| column.strong) {
                for held in uuids(value(&row.columns, reference.column)) {
                    let names = holders.entry(held).or_default();
                    names.extend(name.cloned());
                }
            }
        }
        let mut taken: HashSet<usize> = HashSet::new();
        let mut wanted = Vec::with_capacity(rows.len());
        let mut conflicts = Vec::new();
        for row in rows {
            let candidates = match self.wanted_key(row, holders.remove(&row.uuid)) {
                Some(key) => by_key.get(&(row.table, key)),
                None => None,
            };
            let mut candidates = candidates.into_iter().flatten().copied();
            let ours = |number: &usize| self.is_ours(*number) && !taken.contains(number);
            let there = match row.table {
                Table::SampleCollector => self.find_collector(row, &taken),
                _ => match candidates.clone().find(ours) {
                    Some(number) => Found::Ours(number),
                    // These may be there twice: the name of another's is no hindrance.
                    None if matches!(
                        row.table,
                        Table::Acl | Table::MeterBand | Table::LogicalRouterStaticRoute
                    ) =>
                    {
                        Found::Nothing
                    }
                    None => candidates.next().map_or(Found::Nothing, Found::Foreign),
                },
            };
            match there {
                Found::Ours(number) => {
                    taken.insert(number);
                }
                Found::Foreign(number) if is_policy(row.table) => {
                    conflicts.extend(self.present.get(number).map(|there| (row.table, there.row)));
                }
                _ => {}
            }
            wanted.push(Wanted { row, there });
        }
        if conflicts.is_empty() {
            return Ok(wanted);
        }
        Err(ApplyError::NameTaken {
            count: conflicts.len(),
            examples: examples(conflicts.into_iter()),
        })
    }

    fn is_ours(&self, number: usize) -> bool {
        self.present
            .get(number)
            .is_some_and(|present| present.is_ours)
    }

    /// What names a row in its table: what is unique, the primary id of an ACL, else all it says
    /// and who refers to it.
    fn key_of(&self, present: &Present<'_>) -> Option<Key> {
        let Present { table, row, .. } = present;
        match key_column(*table) {
            Some("external_ids") => {
                let ids = row.column("external_ids")?;
                Some(Key::Value(ids.lookup(key::ID)?.into()))
            }
            Some(column) => row.column(column)?.scalar().cloned().map(Key::Value),
            None => {
                let present = columns(*table)
                    .iter()
                    .filter(|column| **column != "external_ids");
                // An empty set and an empty map are both nothing.
                let values = present.map(|column| match row.column(column) {
                    Some(value) if !value.is_empty() => value.clone(),
                    _ => EMPTY,
                });
                let referrers = self.referrers.get(&row.uuid()).into_iter().flatten();
                let names = referrers
                    .filter_map(|referrer| self.present.get(*self.by_uuid.get(referrer)?))
                    .filter_map(|holder| holder.row.column("name")?.scalar().cloned());
                let holders = std::iter::once(Datum::set(names.collect()));
                Some(Key::Contents(values.chain(holders).collect()))
            }
        }
    }

    fn wanted_key(&self, row: &Row, holders: Option<Vec<Atom>>) -> Option<Key> {
        match key_column(row.table) {
            Some("external_ids") => {
                let ids = value(&row.columns, "external_ids")?;
                Some(Key::Value(ids.lookup(key::ID)?.into()))
            }
            Some(column) => value(&row.columns, column)?
                .scalar()
                .cloned()
                .map(Key::Value),
            None => {
                let table = row.table;
                let wanted = columns(table)
                    .iter()
                    .filter(|column| **column != "external_ids");
                let values = wanted.map(|column| match value(&row.columns, column) {
                    _ if !self.has(table.as_str(), column) => EMPTY,
                    Some(value) => value.clone(),
                    None => default_of(table, column),
                });
                let holders = std::iter::once(Datum::set(holders.unwrap_or_default()));
                Some(Key::Contents(values.chain(holders).collect()))
            }
        }
    }

    /// A collector is the one with the same rate to the same set, as ovn-kubernetes does it, but
    /// for those that `sampling disable` takes away.
    fn find_collector(&self, wanted: &Row, taken: &HashSet<usize>) -> Found {
        let equals = |row: &There, column| row.column(column) == value(&wanted.columns, column);
        let is_same = |row: &There| equals(row, "set_id") && equals(row, "probability");
        let collectors = || {
            self.present.iter().enumerate().filter(|(number, present)| {
                present.table == Table::SampleCollector && !taken.contains(number)
            })
        };
        let mut ours = collectors().filter(|(_, present)| present.is_ours);
        if let Some((number, _)) = ours.clone().find(|(_, present)| is_same(present.row)) {
            return Found::Ours(number);
        }
        if let Some((number, _)) = ours.find(|(_, present)| equals(present.row, "id")) {
            return Found::Ours(number);
        }
        let mut foreign = collectors().filter(|(_, present)| {
            !present.is_ours && is_same(present.row) && mark(present.row) != Some(OWNER)
        });
        match foreign.next() {
            Some((number, _)) => Found::Foreign(number),
            None => Found::Nothing,
        }
    }

    /// Leaves out rows that the server would collect at once, because all that refers to them is
    /// somebody else's and used as it is.
    fn keep_what_can_be(&mut self, wanted: Vec<Wanted<'a>>) -> Vec<Wanted<'a>> {
        let mut by_table: BTreeMap<Table, Vec<Wanted<'a>>> = BTreeMap::new();
        for wanted in wanted {
            by_table.entry(wanted.row.table).or_default().push(wanted);
        }
        let mut referred: HashSet<Uuid> = HashSet::new();
        let mut kept = Vec::new();
        let mut left: BTreeMap<Table, Vec<String>> = BTreeMap::new();
        let mut foreign: BTreeMap<Table, Vec<String>> = BTreeMap::new();
        // ACLs of ours that keep their samples.
        let mut as_they_are: HashSet<usize> = HashSet::new();
        let mut elsewhere = 0;
        for table in ORDER.into_iter().rev() {
            for wanted in by_table.remove(&table).unwrap_or_default() {
                let row = wanted.row;
                let is_held = match wanted.there {
                    Found::Nothing => false,
                    Found::Ours(number) => self.is_held(number, &as_they_are),
                    Found::Foreign(_) => true,
                };
                let uuid = match wanted.there {
                    _ if is_collected(table) && !is_held && !referred.contains(&row.uuid) => {
                        // That it is not needed is said with the ACL.
                        if table != Table::Sample {
                            left.entry(table).or_default().push(row.key.to_string());
                        }
                        continue;
                    }
                    Found::Nothing => row.uuid,
                    Found::Ours(number) | Found::Foreign(number) => self
                        .present
                        .get(number)
                        .map_or(row.uuid, |there| there.row.uuid()),
                };
                self.identity.insert(row.uuid, uuid);
                if let Found::Foreign(_) = wanted.there {
                    foreign.entry(table).or_default().push(row.key.to_string());
                } else {
                    let skips = self.skips_samples(&wanted);
                    elsewhere += usize::from(skips && self.terms.sampling);
                    if let Found::Ours(number) = wanted.there
                        && skips
                    {
                        as_they_are.insert(number);
                    }
                    for reference in references(table.as_str()).filter(|column| column.strong) {
                        if !(skips && is_sample_column(reference.column)) {
                            referred.extend(uuids(value(&row.columns, reference.column)));
                        }
                    }
                }
                kept.push(wanted);
            }
        }
        kept.sort_by(|a, b| (a.row.table, &a.row.key).cmp(&(b.row.table, &b.row.key)));
        for (table, keys) in foreign {
            self.notes.push(format!(
                "{}: used as made by somebody else: {}",
                table.as_str(),
                some_of(&keys)
            ));
        }
        for (table, keys) in left {
            self.notes.push(format!(
                "{}: left out, as what they belong to is somebody else's: {}",
                table.as_str(),
                some_of(&keys)
            ));
        }
        if elsewhere > 0 {
            self.notes.push(format!(
                "{elsewhere} ACLs stay sampled as netverdict sampling made them; after \
                 netverdict sampling disable they are sampled as here"
            ));
        }
        kept
    }

    /// True if a row refers strongly to this one of ours that stays as it is.
    fn is_held(&self, number: usize, as_they_are: &HashSet<usize>) -> bool {
        let present = self.present.get(number);
        let referrers = present.and_then(|present| self.referrers.get(&present.row.uuid()));
        referrers.into_iter().flatten().any(|referrer| {
            let referrer = self.by_uuid.get(referrer);
            referrer.is_none_or(|number| !self.is_ours(*number) || as_they_are.contains(number))
        })
    }

    /// True if the columns that say what is sampled are not ours to set.
    fn skips_samples(&self, wanted: &Wanted<'_>) -> bool {
        let elsewhere = match wanted.there {
            Found::Ours(number) => self.sampled_elsewhere.contains(&number),
            _ => false,
        };
        wanted.row.table == Table::Acl && (elsewhere || !self.terms.sampling)
    }

    /// Finds what is to be inserted and updated.
    fn compare(&mut self, wanted: &[Wanted<'a>]) -> Result<(), ApplyError> {
        let mut dangling = 0;
        let mut lost: BTreeSet<String> = BTreeSet::new();
        for wanted in wanted {
            let row = wanted.row;
            let there = match wanted.there {
                Found::Foreign(_) => continue,
                Found::Nothing => None,
                Found::Ours(number) => self.present.get(number).map(|there| (number, there.row)),
            };
            let mut values: Values = Vec::new();
            for (column, value) in row.columns_in(self.zone) {
                if !self.has(row.table.as_str(), column) {
                    lost.insert(format!("{}.{column}", row.table.as_str()));
                } else if !(self.skips_samples(wanted) && is_sample_column(column)) {
                    let mut value = self.real(&value, &mut dangling);
                    if is_shared(row.table, column) {
                        value = self.without_placed(&value);
                    }
                    values.push((column, value));
                }
            }
            self.mark_ours(row.table, &mut values);
            match there {
                None => {
                    self.number_collector(row.table, &mut values)?;
                    values.retain(|(_, value)| !value.is_empty());
                    self.inserts.push((row.table, row.uuid, values));
                }
                Some((number, there)) => {
                    let skips = self.skips_samples(wanted);
                    let changed = self.changed(row.table, there, values, skips);
                    if !changed.is_empty() {
                        self.updates.insert(number, changed);
                    }
                }
            }
        }
        lost.remove("ACL.tier");
        if !lost.is_empty() {
            let lost: Vec<_> = lost.into_iter().collect();
            self.notes
                .push(format!("this NB has no {}: left out", lost.join(", ")));
        }
        if dangling > 0 {
            self.notes.push(format!(
                "{dangling} references to rows that were left out are left out as well"
            ));
        }
        Ok(())
    }

    /// The value with the identities that rows have in the database; what is not there is left
    /// out.
    fn real(&self, value: &Datum, dangling: &mut usize) -> Datum {
        match value {
            Datum::Set(atoms) if atoms.iter().any(|atom| atom.as_uuid().is_some()) => {
                let atoms = atoms.iter().filter_map(|atom| match atom.as_uuid() {
                    Some(uuid) => {
                        let real = self.identity.get(&uuid).map(|uuid| Atom::from(*uuid));
                        *dangling += usize::from(real.is_none());
                        real
                    }
                    None => Some(atom.clone()),
                });
                Datum::set(atoms.collect())
            }
            other => other.clone(),
        }
    }

    /// Without ports, ACLs and routes of somebody else: they have their place, and no second one.
    fn without_placed(&self, value: &Datum) -> Datum {
        let is_placed = |uuid: Uuid| {
            let number = self.by_uuid.get(&uuid);
            let present = number.and_then(|number| self.present.get(*number));
            present.is_some_and(|present| !present.is_ours && is_collected(present.table))
        };
        let atoms = value.atoms().iter();
        atoms
            .filter(|atom| !atom.as_uuid().is_some_and(is_placed))
            .cloned()
            .collect()
    }

    fn mark_ours(&self, table: Table, values: &mut Values) {
        if !is_marked(table) || !self.has(table.as_str(), "external_ids") {
            return;
        }
        let mark = (Atom::from(OWNER_KEY), Atom::from(APPLY_OWNER));
        match values
            .iter_mut()
            .find(|(column, _)| *column == "external_ids")
        {
            Some((_, ids)) => {
                let mut pairs = ids.pairs().to_vec();
                pairs.push(mark);
                *ids = Datum::map(pairs);
            }
            None => values.push(("external_ids", Datum::map(vec![mark]))),
        }
    }

    /// Gives a new collector another number if its own is taken.
    fn number_collector(&self, table: Table, values: &mut Values) -> Result<(), ApplyError> {
        if table != Table::SampleCollector {
            return Ok(());
        }
        let there = self.nb.rows("Sample_Collector");
        let new = self.inserts.iter().filter(|(of, ..)| *of == table);
        let used: BTreeSet<i64> = there
            .filter_map(|row| row.integer("id"))
            .chain(new.filter_map(|(_, _, values)| {
                value(values, "id").and_then(|id| id.scalar()?.as_integer())
            }))
            .collect();
        if let Some((_, id)) = values.iter_mut().find(|(column, _)| *column == "id")
            && id
                .scalar()
                .and_then(Atom::as_integer)
                .is_some_and(|id| used.contains(&id))
        {
            let free = (1..=255).find(|id| !used.contains(id));
            *id = free.ok_or(ApplyError::NoNumber)?.into();
        }
        Ok(())
    }

    /// The columns of a row of ours that are not as wanted.
    fn changed(&self, table: Table, there: &There, mut values: Values, skips: bool) -> Values {
        for column in columns(table) {
            if values.iter().all(|(given, _)| given != column)
                && !(skips && is_sample_column(column))
            {
                values.push((column, default_of(table, column)));
            }
        }
        // It keeps the number under which it was made.
        values.retain(|(column, _)| table != Table::SampleCollector || *column != "id");
        values.retain_mut(|(column, value)| {
            let Some(current) = there.column(column) else {
                return false;
            };
            if is_shared(table, column) {
                let foreign = uuids(Some(current)).filter(|uuid| self.is_foreign(*uuid));
                let all = foreign.map(Atom::from).chain(value.atoms().iter().cloned());
                *value = Datum::set(all.collect());
            }
            // An empty map is not written as such.
            value != current && !(value.is_empty() && current.is_empty())
        });
        values.sort_by_key(|(column, _)| *column);
        values
    }

    fn is_foreign(&self, uuid: Uuid) -> bool {
        self.by_uuid
            .get(&uuid)
            .is_none_or(|number| !self.is_ours(*number))
    }

    /// Finds what is to be deleted.
    fn remove(&mut self, wanted: &[Wanted<'a>]) {
        let used: HashSet<usize> = wanted
            .iter()
            .filter_map(|wanted| match wanted.there {
                Found::Ours(number) | Found::Foreign(number) => Some(number),
                Found::Nothing => None,
            })
            .collect();
        let is_managed = |present: &Present<'_>| match present.table {
            Table::Sample | Table::SampleCollector | Table::SamplingApp => self.terms.sampling,
            _ => true,
        };
        let unwanted = self.present.iter().enumerate().filter(|(number, present)| {
            present.is_ours && is_managed(present) && !used.contains(number)
        });
        self.deletes = unwanted.map(|(number, _)| number).collect();
        self.keep_what_others_use();
        self.collect_garbage(&used);
        self.let_go();
    }

    /// A row of ours stays while others refer to it, or it holds rows of theirs.
    fn keep_what_others_use(&mut self) {
        let mut stay: Vec<usize> = Vec::new();
        let holds = |number: &usize| {
            self.present.get(*number).is_some_and(|present| {
                let row = present.row;
                let mut held = holding_columns(present.table)
                    .iter()
                    .flat_map(|column| uuids(row.column(column)));
                let mut shared = references(present.table.as_str())
                    .filter(|reference| reference.strong)
                    .filter(|reference| is_shared(present.table, reference.column))
                    .flat_map(|reference| uuids(row.column(reference.column)));
                held.next().is_some() || shared.any(|uuid| self.is_foreign(uuid))
            })
        };
        stay.extend(self.deletes.iter().copied().filter(holds));
        let mut kept: BTreeMap<Table, Vec<String>> = BTreeMap::new();
        loop {
            for number in stay.drain(..) {
                self.deletes.remove(&number);
                // Of Samples that is said with their ACLs.
                if let Some(present) = self.present.get(number)
                    && present.table != Table::Sample
                {
                    kept.entry(present.table)
                        .or_default()
                        .push(name_of(present.row));
                }
            }
            stay = self
                .deletes
                .iter()
                .copied()
                .filter(|number| self.is_referred_to(*number))
                .collect();
            if stay.is_empty() {
                break;
            }
        }
        for (table, names) in kept {
            self.notes.push(format!(
                "{}: no longer wanted, but still in use by others: {}",
                table.as_str(),
                some_of(&names)
            ));
        }
    }

    /// True if a row refers strongly to this one once all is done.
    fn is_referred_to(&self, number: usize) -> bool {
        let Some(present) = self.present.get(number) else {
            return false;
        };
        let uuid = present.row.uuid();
        let referrers = self.referrers.get(&uuid).into_iter().flatten();
        referrers.into_iter().any(|referrer| {
            let Some(number) = self.by_uuid.get(referrer) else {
                // Of a table that is not applied.
                return true;
            };
            !self.deletes.contains(number) && self.still_refers(*number, uuid)
        })
    }

    fn still_refers(&self, number: usize, to: Uuid) -> bool {
        let Some(present) = self.present.get(number) else {
            return false;
        };
        references(present.table.as_str())
            .filter(|reference| reference.strong)
            .any(|reference| {
                uuids(self.value_after(number, reference.column)).any(|uuid| uuid == to)
            })
    }

    /// A column of a row that is there, once all is done.
    fn value_after(&self, number: usize, column: &str) -> Option<&Datum> {
        let changed = self.updates.get(&number);
        changed
            .and_then(|values| value(values, column))
            .or_else(|| self.present.get(number)?.row.column(column))
    }

    /// What the server would collect once nothing refers to it is deleted in so many words, so
    /// that it can come back.
    fn collect_garbage(&mut self, used: &HashSet<usize>) {
        let new = self.inserts.iter().map(|(_, _, values)| values);
        let anew: HashSet<Uuid> = new
            .chain(self.updates.values())
            .flatten()
            .flat_map(|(_, value)| uuids(Some(value)))
            .collect();
        loop {
            let garbage: Vec<usize> = self
                .present
                .iter()
                .enumerate()
                .filter(|(number, present)| {
                    is_collected(present.table)
                        && !self.deletes.contains(number)
                        && !used.contains(number)
                        && self.referrers.contains_key(&present.row.uuid())
                        && !self.is_referred_to(*number)
                        && !anew.contains(&present.row.uuid())
                })
                .map(|(number, _)| number)
                .collect();
            if garbage.is_empty() {
                return;
            }
            self.deletes.extend(garbage);
        }
    }

    /// The server takes rows that go out of others' columns; this says so, so that it can be
    /// undone.
    fn let_go(&mut self) {
        let gone: HashSet<Uuid> = self
            .deletes
            .iter()
            .filter_map(|number| Some(self.present.get(*number)?.row.uuid()))
            .collect();
        if gone.is_empty() {
            return;
        }
        let mut changes = Vec::new();
        for (number, present) in self.present.iter().enumerate() {
            if self.deletes.contains(&number) {
                continue;
            }
            for reference in references(present.table.as_str()).filter(|column| !column.strong) {
                let Some(value) = self.value_after(number, reference.column) else {
                    continue;
                };
                if uuids(Some(value)).any(|uuid| gone.contains(&uuid)) {
                    let stay = value
                        .atoms()
                        .iter()
                        .filter(|atom| atom.as_uuid().is_none_or(|uuid| !gone.contains(&uuid)));
                    let stay = Datum::set(stay.cloned().collect());
                    changes.push((number, reference.column, stay));
                }
            }
        }
        for (number, column, value) in changes {
            let values = self.updates.entry(number).or_default();
            values.retain(|(other, _)| *other != column);
            values.push((column, value));
        }
    }

    fn plan(mut self, wanted: &[Wanted<'a>]) -> Plan {
        let mut report = Report::new(self.nb, wanted.iter().map(|wanted| wanted.row));
        let mut edits = Vec::new();
        let mut inserts = std::mem::take(&mut self.inserts);
        inserts.sort_by_key(|(table, ..)| ORDER.iter().position(|other| other == table));
        for (table, row, columns) in inserts {
            report.inserted(table, row, &columns);
            edits.push(Edit::Insert {
                table: table.as_str(),
                row,
                columns,
            });
        }
        for (number, after) in std::mem::take(&mut self.updates) {
            let Some(present) = self.present.get(number) else {
                continue;
            };
            let names: Vec<&'static str> = after.iter().map(|(column, _)| *column).collect();
            let before = contents(present.row, &names);
            // Another mark meanwhile would mean that the row is no longer ours.
            let relies_on = match names.contains(&"external_ids") || !is_marked(present.table) {
                true => Vec::new(),
                false => contents(present.row, &["external_ids"]),
            };
            report.updated(present.table, present.row, &after);
            edits.push(Edit::Update {
                table: present.table.as_str(),
                row: present.row.uuid(),
                before,
                after,
                relies_on,
            });
        }
        for number in self.deletes.iter().rev() {
            let Some(present) = self.present.get(*number) else {
                continue;
            };
            let mut before = contents(present.row, columns(present.table));
            before.extend(contents(present.row, further_columns(present.table)));
            report.deleted(present.table, present.row);
            edits.push(Edit::Delete {
                table: present.table.as_str(),
                row: present.row.uuid(),
                before,
            });
        }
        Plan::new(Database::Northbound, edits, report.lines(), self.notes)
    }
}

/// What a row is found by.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Key {
    Value(Atom),
    Contents(Vec<Datum>),
}

const EMPTY: Datum = Datum::empty();

fn key_column(table: Table) -> Option<&'static str> {
    match table {
        Table::Acl => Some("external_ids"),
        Table::Sample => Some("metadata"),
        Table::SampleCollector => Some("id"),
        Table::SamplingApp => Some("type"),
        Table::MeterBand | Table::LogicalRouterStaticRoute => None,
        _ => Some("name"),
    }
}

fn is_sample_column(column: &str) -> bool {
    matches!(column, "sample_new" | "sample_est")
}

fn mark(row: &There) -> Option<&str> {
    row.column("external_ids")?.lookup(OWNER_KEY)
}

fn is_controlled(row: &There) -> bool {
    row.column("external_ids")
        .is_some_and(|ids| ids.lookup(key::OWNER_CONTROLLER).is_some())
}

fn value<'v>(values: &'v [(&'static str, Datum)], column: &str) -> Option<&'v Datum> {
    values
        .iter()
        .find(|(other, _)| *other == column)
        .map(|(_, value)| value)
}

fn uuids(value: Option<&Datum>) -> impl Iterator<Item = Uuid> {
    value
        .map_or(&[][..], Datum::atoms)
        .iter()
        .filter_map(Atom::as_uuid)
}

/// What people know a row by.
fn name_of(row: &There) -> String {
    let ids = row.column("external_ids");
    ids.and_then(|ids| ids.lookup(key::ID))
        .or_else(|| row.text("name"))
        .map_or_else(|| row.uuid().to_string(), str::to_owned)
}

fn examples<'r>(rows: impl Iterator<Item = (Table, &'r There)>) -> Vec<String> {
    let mut seen = HashSet::new();
    // Of different tables, if there are.
    let (first, more): (Vec<_>, Vec<_>) = rows.partition(|(table, _)| seen.insert(*table));
    first
        .into_iter()
        .rev()
        .chain(more)
        .take(EXAMPLES)
        .map(|(table, row)| format!("{} {}", table.as_str(), name_of(row)))
        .collect()
}

fn some_of(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(EXAMPLES).map(String::as_str).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
