//! The flows of a northbound, and how they follow it.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use netverdict_ovsdb::ChangeSet;
use netverdict_types::Action;
use uuid::Uuid;

use super::acl::{Kind, Made, Shared, make};
use super::facts::{Facts, Nature, Peers, Settings, peers};
use super::{LogicalFlow, Release, fixed};
use crate::northbound::{AclRow, Switch, Touched};
use crate::{Northbound, Stage, SwitchId};

/// The flows of all switches. It follows changes: what is written anew is what depends on them.
#[derive(Debug)]
pub struct Flows {
    settings: Settings,
    switches: HashMap<SwitchId, Own>,
    /// ACLs of port groups, sorted.
    groups: HashMap<Uuid, Vec<Uuid>>,
    /// What was made of each ACL, by what the switches are like that have it.
    made: HashMap<Uuid, Vec<Arc<Made>>>,
    /// ACLs by their samples, and samples by ACL.
    sampled: HashMap<Uuid, Vec<Uuid>>,
    samples: HashMap<Uuid, [Option<Uuid>; 2]>,
}

/// What a change did to the flows.
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// Flows that are new, or from another ACL than before.
    pub added: Vec<(SwitchId, LogicalFlow)>,
    /// Flows that are gone, or from another ACL now.
    pub removed: Vec<(SwitchId, LogicalFlow)>,
}

impl Flows {
    /// What a northbound makes.
    pub fn new(northbound: &Northbound, release: Release) -> Self {
        let mut flows = Self::empty(northbound, release);
        flows.made.reserve(northbound.acls.len());
        let peers = peers(northbound);
        for (uuid, group) in &northbound.groups {
            flows.groups.insert(*uuid, sorted(&group.acls));
        }
        for (uuid, row) in &northbound.acls {
            flows.note_samples(*uuid, Some(row));
        }
        for (number, switch) in northbound.switches() {
            flows.add_switch(northbound, &peers, number, switch, &mut None);
        }
        flows
    }

    /// Those of one switch alone, as [`Flows::of`] gives them.
    pub(super) fn only(
        northbound: &Northbound,
        switch: SwitchId,
        release: Release,
    ) -> Vec<LogicalFlow> {
        let mut flows = Self::empty(northbound, release);
        let Some(row) = northbound.switch(switch) else {
            return Vec::new();
        };
        for group in &row.groups {
            if let Some(found) = northbound.groups.get(group) {
                flows.groups.insert(*group, sorted(&found.acls));
            }
        }
        flows.add_switch(northbound, &peers(northbound), switch, row, &mut None);
        let own = flows.switches.remove(&switch);
        let mut flows: Vec<LogicalFlow> = own.into_iter().flat_map(Own::into_flows).collect();
        sort(&mut flows);
        flows
    }

    fn empty(northbound: &Northbound, release: Release) -> Self {
        Self {
            settings: Settings::new(northbound, release),
            switches: HashMap::new(),
            groups: HashMap::new(),
            made: HashMap::new(),
            sampled: HashMap::new(),
            samples: HashMap::new(),
        }
    }

    /// The release whose flows they are.
    pub fn release(&self) -> Release {
        self.settings.release
    }

    /// The flows of a switch: by table, the highest priority first, then by match and actions.
    pub fn of(&self, switch: SwitchId) -> Vec<LogicalFlow> {
        let mut flows: Vec<LogicalFlow> = self.each(switch).collect();
        sort(&mut flows);
        flows
    }

    /// The flows of a switch, in no order.
    pub fn each(&self, switch: SwitchId) -> impl Iterator<Item = LogicalFlow> {
        let own = self.switches.get(&switch).into_iter();
        own.flat_map(|own| {
            let fixed = own
                .fixed
                .iter()
                .chain(own.shared.values().flat_map(|(_, it)| it));
            fixed.cloned().chain(own.texts.iter().map(Text::flow))
        })
    }

    /// How many flows there are.
    pub fn len(&self) -> usize {
        let shared = |own: &Own| {
            own.shared
                .values()
                .map(|(_, flows)| flows.len())
                .sum::<usize>()
        };
        self.switches
            .values()
            .map(|own| own.fixed.len() + own.texts.len() + shared(own))
            .sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Follows a change that `northbound` has followed already; `touched` is what it said.
    pub fn follow(
        &mut self,
        northbound: &Northbound,
        changes: &ChangeSet,
        touched: &Touched,
    ) -> Delta {
        if self.concerns_all(northbound, changes) {
            let new = Self::new(northbound, self.settings.release);
            return std::mem::replace(self, new).difference(self);
        }
        let mut net = Some(Net::default());
        let acls = self.changed_acls(northbound, changes);
        for change in &changes.changes {
            if &*change.table == "Port_Group" {
                self.follow_group(northbound, change.uuid);
            }
        }
        let all_facts = changes
            .changes
            .iter()
            .any(|change| says_of_many(&change.table));
        let mut peers = None;
        let numbers = touched.switches.iter().copied();
        let numbers: Vec<SwitchId> = match all_facts {
            true => numbers.chain(self.switches.keys().copied()).collect(),
            false => numbers.collect(),
        };
        for number in numbers.into_iter().collect::<HashSet<_>>() {
            let peers = peers.get_or_insert_with(|| self::peers(northbound));
            match (northbound.switch(number), self.switches.get_mut(&number)) {
                (None, None) => {}
                (None, Some(_)) => {
                    let gone = self.each(number).collect::<Vec<_>>();
                    self.switches.remove(&number);
                    note(&mut net, number, -1, gone);
                }
                (Some(row), None) => {
                    let mut none = None;
                    self.add_switch(northbound, peers, number, row, &mut none);
                    note(&mut net, number, 1, self.each(number));
                }
                (Some(row), Some(own)) => {
                    let facts = Facts::new(northbound, peers, row, self.settings.release);
                    own.facts_changed |= own.facts != facts;
                    own.facts = facts;
                    let groups = &self.groups;
                    own.hold(&sorted(&row.acls));
                    own.join(&row.groups, groups);
                }
            }
        }
        for uuid in &acls {
            for own in self.switches.values_mut() {
                if own.acls.contains_key(uuid) {
                    own.pending.push(*uuid);
                }
            }
        }
        let context = Context {
            northbound,
            settings: &self.settings,
        };
        for (number, own) in &mut self.switches {
            own.settle(*number, &context, &mut self.made, &mut net);
        }
        net.unwrap_or_default().delta()
    }

    /// Whether a change is about what all flows depend on, or many do: then all are written anew.
    fn concerns_all(&self, northbound: &Northbound, changes: &ChangeSet) -> bool {
        let mut tables = changes.changes.iter().map(|change| &*change.table);
        let wide = [
            "Sample_Collector",
            "Meter",
            "Network_Function",
            "Network_Function_Group",
            "Mirror",
        ];
        tables.any(|table| wide.contains(&table))
            || Settings::new(northbound, self.settings.release) != self.settings
    }

    /// The ACLs whose own rows, samples or numbers changed.
    fn changed_acls(&mut self, northbound: &Northbound, changes: &ChangeSet) -> HashSet<Uuid> {
        let mut acls = HashSet::new();
        for change in &changes.changes {
            match &*change.table {
                "ACL" => {
                    self.note_samples(change.uuid, northbound.acls.get(&change.uuid));
                    acls.insert(change.uuid);
                }
                "ACL_ID" => drop(acls.insert(change.uuid)),
                _ => {}
            }
        }
        for change in &changes.changes {
            if &*change.table == "Sample" {
                acls.extend(self.sampled.get(&change.uuid).into_iter().flatten());
            }
        }
        for uuid in &acls {
            self.made.remove(uuid);
        }
        acls
    }

    /// Remembers which samples an ACL has.
    fn note_samples(&mut self, uuid: Uuid, row: Option<&AclRow>) {
        let new = row.map_or([None; 2], |row| [row.sample_new, row.sample_est]);
        let old = match new {
            [None, None] => self.samples.remove(&uuid),
            new => self.samples.insert(uuid, new),
        };
        for sample in old.into_iter().flatten().flatten() {
            if let Some(acls) = self.sampled.get_mut(&sample) {
                acls.retain(|acl| *acl != uuid);
                if acls.is_empty() {
                    self.sampled.remove(&sample);
                }
            }
        }
        for sample in new.into_iter().flatten() {
            self.sampled.entry(sample).or_default().push(uuid);
        }
    }

    /// The ACLs of a port group may be others now.
    fn follow_group(&mut self, northbound: &Northbound, uuid: Uuid) {
        let group = northbound.groups.get(&uuid);
        let new = group.map(|group| sorted(&group.acls)).unwrap_or_default();
        let old = self.groups.get(&uuid).map_or(&[][..], Vec::as_slice);
        if *old == *new {
            return;
        }
        for own in self.switches.values_mut() {
            if own.groups.binary_search(&uuid).is_ok() {
                own.exchange(old, &new);
            }
        }
        match group {
            Some(_) => drop(self.groups.insert(uuid, new)),
            // Switches that still have it leave it now: they hold none of its ACLs.
            None => drop(self.groups.remove(&uuid)),
        }
    }

    fn add_switch(
        &mut self,
        northbound: &Northbound,
        peers: &Peers<'_>,
        number: SwitchId,
        row: &Switch,
        net: &mut Option<Net>,
    ) {
        let mut own = Own {
            facts: Facts::new(northbound, peers, row, self.settings.release),
            facts_changed: true,
            ..Own::default()
        };
        own.hold(&sorted(&row.acls));
        own.join(&row.groups, &self.groups);
        let context = Context {
            northbound,
            settings: &self.settings,
        };
        own.settle(number, &context, &mut self.made, net);
        self.switches.insert(number, own);
    }

    fn difference(&self, new: &Self) -> Delta {
        let mut net = Some(Net::default());
        for (flows, sign) in [(self, -1), (new, 1)] {
            for number in flows.switches.keys() {
                note(&mut net, *number, sign, flows.each(*number));
            }
        }
        net.unwrap_or_default().delta()
    }
}

/// Tables whose rows switches do not name one by one.
fn says_of_many(table: &str) -> bool {
    matches!(
        table,
        "Logical_Router" | "Logical_Router_Port" | "DHCP_Options" | "DNS" | "Copp"
    )
}

fn sorted(rows: &[Uuid]) -> Vec<Uuid> {
    let mut rows = rows.to_vec();
    rows.sort_unstable();
    rows.dedup();
    rows
}

struct Context<'a> {
    northbound: &'a Northbound,
    settings: &'a Settings,
}

/// The flows of one switch.
#[derive(Debug, Default)]
struct Own {
    facts: Facts,
    facts_changed: bool,
    nature: Nature,
    /// ACLs of its own, sorted.
    held: Vec<Uuid>,
    /// Its port groups, sorted.
    groups: Vec<Uuid>,
    acls: HashMap<Uuid, Placed>,
    counts: Counts,
    /// ACLs to look at again.
    pending: Vec<Uuid>,
    fixed: Vec<LogicalFlow>,
    shared: HashMap<Shared, (usize, Vec<LogicalFlow>)>,
    texts: hashbrown::HashTable<Text>,
}

/// An ACL at work on a switch.
#[derive(Debug, Default)]
struct Placed {
    /// How many name it: the switch itself and port groups.
    holders: usize,
    /// As it was counted; `None` if there is no such row.
    counted: Option<(bool, u8, u8)>,
    made: Option<Arc<Made>>,
}

/// ACLs that there are, stateful ones, and how many of each block and tier.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    all: usize,
    related: usize,
    tiers: [[usize; 4]; 3],
}

impl Counts {
    fn nature(&self, facts: &Facts) -> Nature {
        let highest = |tiers: [usize; 4]| tiers.iter().rposition(|count| *count > 0).unwrap_or(0);
        Nature {
            has_acls: self.all > 0,
            related: self.related > 0,
            vip: facts.vip,
            tiers: self.tiers.map(|tiers| highest(tiers) as u8),
        }
    }

    fn place(&mut self, block: u8, tier: u8) -> Option<&mut usize> {
        self.tiers
            .get_mut(usize::from(block))?
            .get_mut(usize::from(tier))
    }
}

impl Own {
    fn into_flows(self) -> impl Iterator<Item = LogicalFlow> {
        let shared = self.shared.into_values().flat_map(|(_, flows)| flows);
        let texts = self.texts.into_iter().map(|text| text.flow);
        self.fixed.into_iter().chain(shared).chain(texts)
    }

    /// The ACLs of the switch itself.
    fn hold(&mut self, acls: &[Uuid]) {
        if self.held != acls {
            let old = std::mem::replace(&mut self.held, acls.to_vec());
            self.exchange(&old, acls);
        }
    }

    /// The port groups that have ports of the switch.
    fn join(&mut self, groups: &[Uuid], acls: &HashMap<Uuid, Vec<Uuid>>) {
        if self.groups == groups {
            return;
        }
        let old = std::mem::replace(&mut self.groups, groups.to_vec());
        let of = |group: &Uuid| acls.get(group).map_or(&[][..], Vec::as_slice);
        for group in old
            .iter()
            .filter(|group| groups.binary_search(group).is_err())
        {
            self.exchange(of(group), &[]);
        }
        for group in groups
            .iter()
            .filter(|group| old.binary_search(group).is_err())
        {
            self.exchange(&[], of(group));
        }
    }

    /// One of those who name ACLs names others now.
    fn exchange(&mut self, old: &[Uuid], new: &[Uuid]) {
        for uuid in new.iter().filter(|uuid| old.binary_search(uuid).is_err()) {
            let placed = self.acls.entry(*uuid).or_default();
            placed.holders += 1;
            if placed.holders == 1 {
                self.pending.push(*uuid);
            }
        }
        for uuid in old.iter().filter(|uuid| new.binary_search(uuid).is_err()) {
            if let Some(placed) = self.acls.get_mut(uuid) {
                placed.holders -= 1;
                if placed.holders == 0 {
                    self.pending.push(*uuid);
                }
            }
        }
    }

    /// Writes what is to be written.
    fn settle(
        &mut self,
        number: SwitchId,
        context: &Context<'_>,
        cache: &mut HashMap<Uuid, Vec<Arc<Made>>>,
        net: &mut Option<Net>,
    ) {
        if self.pending.is_empty() && !self.facts_changed {
            return;
        }
        let mut pending = std::mem::take(&mut self.pending);
        for uuid in &pending {
            self.count(*uuid, context.northbound);
        }
        let nature = self.counts.nature(&self.facts);
        let changed = nature != self.nature || self.facts_changed;
        if nature != self.nature {
            self.nature = nature;
            pending.extend(self.acls.keys());
        }
        let mut wanted: Vec<(Shared, bool)> = Vec::new();
        for uuid in pending {
            self.write(number, uuid, context, cache, &mut wanted, net);
        }
        self.facts_changed = false;
        let is_function = |(shared, _): &(Shared, bool)| matches!(shared, Shared::Function(_));
        let changed = changed || wanted.iter().any(is_function);
        self.share(number, wanted, context, net);
        if changed {
            let functions = self.shared.keys().filter_map(|shared| match shared {
                Shared::Function(function) => Some(*function),
                _ => None,
            });
            let functions: Vec<Uuid> = functions.collect();
            let new = fixed::write(context.settings, self.nature, &self.facts, &functions);
            let new = unique(new);
            note(net, number, 1, new.iter().cloned());
            note(net, number, -1, std::mem::replace(&mut self.fixed, new));
        }
    }

    fn count(&mut self, uuid: Uuid, northbound: &Northbound) {
        let Some(placed) = self.acls.get_mut(&uuid) else {
            return;
        };
        let row = northbound.acls.get(&uuid).filter(|_| placed.holders > 0);
        let new = row.map(|row| {
            let related = row.acl.action == Action::AllowRelated;
            (related, row.acl.pipeline as u8, row.acl.tier)
        });
        let old = std::mem::replace(&mut placed.counted, new);
        if let Some((related, block, tier)) = old {
            self.counts.all -= 1;
            self.counts.related -= usize::from(related);
            if let Some(count) = self.counts.place(block, tier) {
                *count -= 1;
            }
        }
        if let Some((related, block, tier)) = new {
            self.counts.all += 1;
            self.counts.related += usize::from(related);
            if let Some(count) = self.counts.place(block, tier) {
                *count += 1;
            }
        }
    }

    /// Writes the flows of an ACL in the place of those that it had.
    fn write(
        &mut self,
        number: SwitchId,
        uuid: Uuid,
        context: &Context<'_>,
        cache: &mut HashMap<Uuid, Vec<Arc<Made>>>,
        wanted: &mut Vec<(Shared, bool)>,
        net: &mut Option<Net>,
    ) {
        let Some(placed) = self.acls.get_mut(&uuid) else {
            return;
        };
        let row = context
            .northbound
            .acls
            .get(&uuid)
            .filter(|_| placed.holders > 0);
        let new = row.map(|row| {
            let kind = Kind::new(self.nature, row);
            let made = cache.entry(uuid).or_default();
            match made.iter().find(|made| made.kind == kind) {
                Some(made) => made.clone(),
                None => {
                    let new = Arc::new(make(context.northbound, context.settings, kind, uuid, row));
                    made.push(new.clone());
                    new
                }
            }
        });
        let is_same = match (&new, &placed.made) {
            (Some(new), Some(old)) => Arc::ptr_eq(new, old),
            (None, None) => true,
            _ => false,
        };
        let old = match is_same {
            true => None,
            false => std::mem::replace(&mut placed.made, new.clone()),
        };
        if placed.holders == 0 {
            self.acls.remove(&uuid);
        }
        if is_same {
            return;
        }
        if let Some(new) = new {
            for flow in &new.flows {
                self.put(number, uuid, flow, net);
            }
            wanted.extend(new.shared.iter().map(|shared| (*shared, true)));
        }
        if let Some(old) = old {
            for flow in &old.flows {
                self.take(number, uuid, flow, net);
            }
            wanted.extend(old.shared.iter().map(|shared| (*shared, false)));
        }
    }

    /// Counts who wants what is shared.
    fn share(
        &mut self,
        number: SwitchId,
        wanted: Vec<(Shared, bool)>,
        context: &Context<'_>,
        net: &mut Option<Net>,
    ) {
        for (shared, is_new) in wanted {
            let (count, _) = self.shared.entry(shared).or_insert_with(|| {
                let flows = shared.write(context.settings);
                note(net, number, 1, flows.iter().cloned());
                (0, flows)
            });
            match is_new {
                true => *count += 1,
                false => *count -= 1,
            }
            if *count == 0
                && let Some((_, flows)) = self.shared.remove(&shared)
            {
                note(net, number, -1, flows);
            }
        }
    }

    fn put(&mut self, number: SwitchId, uuid: Uuid, flow: &LogicalFlow, net: &mut Option<Net>) {
        let hash = Text::hash(flow);
        match self.texts.find_mut(hash, |text| text.is(flow)) {
            Some(text) => {
                let before = text.flow();
                text.owners.push(uuid);
                text.settle();
                let after = text.flow();
                note(net, number, -1, [before]);
                note(net, number, 1, [after]);
            }
            None => {
                let text = Text {
                    flow: flow.clone(),
                    owners: Vec::new(),
                };
                self.texts
                    .insert_unique(hash, text, |text| Text::hash(&text.flow));
                note(net, number, 1, std::iter::once_with(|| flow.clone()));
            }
        }
    }

    fn take(&mut self, number: SwitchId, uuid: Uuid, flow: &LogicalFlow, net: &mut Option<Net>) {
        let hash = Text::hash(flow);
        let Ok(mut entry) = self.texts.find_entry(hash, |text| text.is(flow)) else {
            return;
        };
        let text = entry.get_mut();
        let before = text.flow();
        if text.owners.is_empty() {
            entry.remove();
        } else {
            text.lose(uuid);
            note(net, number, 1, [text.flow()]);
        }
        note(net, number, -1, [before]);
    }
}

/// A flow of ACLs.
#[derive(Debug)]
struct Text {
    /// The flow, with the first ACL that says it.
    flow: LogicalFlow,
    /// Others that say the same.
    owners: Vec<Uuid>,
}

impl Text {
    fn flow(&self) -> LogicalFlow {
        self.flow.clone()
    }

    fn hash(flow: &LogicalFlow) -> u64 {
        use std::hash::BuildHasher;
        foldhash::fast::FixedState::default().hash_one((
            flow.stage,
            flow.priority,
            &flow.matches,
            &flow.actions,
        ))
    }

    fn is(&self, flow: &LogicalFlow) -> bool {
        let key = |flow: &LogicalFlow| -> (Stage, u16) { (flow.stage, flow.priority) };
        key(&self.flow) == key(flow)
            && self.flow.matches == flow.matches
            && self.flow.actions == flow.actions
    }

    /// The first by UUID is named.
    fn settle(&mut self) {
        if let Some(least) = self.owners.iter_mut().min()
            && let Some(named) = &mut self.flow.acl
            && *least < *named
        {
            std::mem::swap(least, named);
        }
    }

    /// One of several says it no more.
    fn lose(&mut self, uuid: Uuid) {
        if self.flow.acl == Some(uuid) {
            self.flow.acl = self.owners.pop();
        } else if let Some(place) = self.owners.iter().position(|owner| *owner == uuid) {
            self.owners.swap_remove(place);
        }
        self.settle();
    }
}

/// By table, the highest priority first, then by match and actions.
fn sort(flows: &mut [LogicalFlow]) {
    flows.sort_unstable_by(|a, b| {
        let key = |flow: &LogicalFlow| (flow.stage, u16::MAX - flow.priority);
        key(a)
            .cmp(&key(b))
            .then_with(|| (&a.matches, &a.actions).cmp(&(&b.matches, &b.actions)))
    });
}

/// Changes of flows, with those left out that are undone.
#[derive(Debug, Default)]
struct Net(HashMap<(SwitchId, LogicalFlow), i32>);

fn note(
    net: &mut Option<Net>,
    number: SwitchId,
    sign: i32,
    flows: impl IntoIterator<Item = LogicalFlow>,
) {
    let Some(Net(net)) = net else { return };
    for flow in flows {
        *net.entry((number, flow)).or_default() += sign;
    }
}

impl Net {
    fn delta(self) -> Delta {
        let mut delta = Delta::default();
        for (flow, count) in self.0 {
            match count {
                0 => {}
                1.. => delta.added.push(flow),
                _ => delta.removed.push(flow),
            }
        }
        delta
    }
}

/// Without those that are there already: ports may have the same DHCP server.
fn unique(flows: Vec<LogicalFlow>) -> Vec<LogicalFlow> {
    let mut seen = HashSet::with_capacity(flows.len());
    flows
        .into_iter()
        .filter(|flow| seen.insert(flow.clone()))
        .collect()
}
