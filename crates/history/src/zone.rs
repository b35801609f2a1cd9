use std::sync::Arc;

use netverdict_ovn::{Acl, LogicalSwitch, NbGlobal, PortGroup, RowError, SamplingApp, Version};
use netverdict_ovsdb::{Cause, Change, ChangeSet, Row};
use netverdict_types::{AclRow, Action, App, Fact, Pipeline, Timestamp};
use uuid::Uuid;

use crate::facts::Facts;
use crate::log::StoredRevision;
use crate::points::Points;
use crate::span::{Role, Span, Spans};
use crate::tiers::Tiers;
use crate::{Moment, UuidMap};

/// One zone: what its NB holds now, and the spans of what it held.
#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) name: String,
    pub(crate) spans: Spans,
    pub(crate) points: Points,
    pub(crate) apps: Box<[Option<App>; 256]>,
    pub(crate) version: Option<Version>,
    /// When the NB was last known to be in sync.
    pub(crate) seen: Timestamp,
    /// The past is whole from here on.
    pub(crate) horizon: Timestamp,
    /// True once rows have arrived.
    pub(crate) known: bool,
    /// The number of the span in force, by ACL.
    current: UuidMap<u32>,
    acls: UuidMap<Held>,
    samples: UuidMap<u32>,
    /// The ACLs that name a Sample row.
    users: UuidMap<Vec<Uuid>>,
    app_rows: UuidMap<SamplingApp>,
    names: Lists<String>,
    labels: Lists<u32>,
    tiers: Tiers,
    /// ACLs in force that make ovn-northd build reply flows in the egress pipeline.
    reply_flows: usize,
    /// True once two ACLs in force held one point.
    pub(crate) shares_points: bool,
    /// Where an ACL with the action `pass` ever stood, by pipeline and tier.
    pub(crate) passes: [[bool; 4]; 3],
}

/// What a zone did with a change set.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    /// Numbers of the spans that began.
    pub(crate) opened: Vec<u32>,
    /// ACLs whose span ended.
    pub(crate) closed: Vec<Uuid>,
    /// True where the Sampling_App rows changed.
    pub(crate) apps: bool,
    /// Rows that make no sense.
    pub(crate) bad_rows: u64,
}

impl Delta {
    pub(crate) fn is_empty(&self) -> bool {
        self.opened.is_empty() && self.closed.is_empty()
    }
}

#[derive(Clone, Debug)]
struct Held {
    fact: Arc<Fact>,
    sample_new: Option<Uuid>,
    sample_est: Option<Uuid>,
}

impl Zone {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            spans: Spans::default(),
            points: Points::default(),
            apps: Box::new([None; 256]),
            version: None,
            seen: Timestamp::MIN,
            horizon: Timestamp::MAX,
            known: false,
            current: UuidMap::default(),
            acls: UuidMap::default(),
            samples: UuidMap::default(),
            users: UuidMap::default(),
            app_rows: UuidMap::default(),
            names: Default::default(),
            labels: Default::default(),
            tiers: Tiers::default(),
            reply_flows: 0,
            shares_points: false,
            passes: Default::default(),
        }
    }

    /// When a change set happened, as far as this zone can tell.
    pub(crate) fn moment(&self, set: &ChangeSet) -> Moment {
        let time = Timestamp(set.time);
        let since_seen = |to: Timestamp| match self.known {
            true => Moment {
                from: self.seen.min(to),
                to,
                gap: self.seen < to,
            },
            false => Moment {
                from: Timestamp::MIN,
                to,
                gap: false,
            },
        };
        match set.cause {
            Cause::Transaction => Moment {
                from: time,
                to: time,
                gap: false,
            },
            Cause::Gap { from, to } => Moment {
                from: Timestamp(from),
                to: Timestamp(to),
                gap: true,
            },
            Cause::Initial => since_seen(time),
            Cause::Restored { as_of } => since_seen(Timestamp(as_of)),
        }
    }

    /// Takes changes; with `whole`, they are all rows that there are, and rows that they do not
    /// name are gone.
    pub(crate) fn apply(
        &mut self,
        changes: &[Change],
        whole: bool,
        moment: Moment,
        revision: u64,
        facts: &mut Facts,
    ) -> Delta {
        let mut delta = Delta::default();
        let mut touched = Vec::new();
        if whole {
            touched.extend(self.current.keys().copied());
            self.acls.clear();
            self.samples.clear();
            self.users.clear();
            self.app_rows.clear();
            self.tiers = Tiers::default();
            delta.apps = true;
        }
        if !self.known {
            self.known = true;
            self.horizon = moment.to;
        }
        for change in changes {
            if self.take(change, &mut touched, &mut delta, facts).is_err() {
                delta.bad_rows += 1;
            }
        }
        if delta.apps {
            self.apps.fill(None);
            for row in self.app_rows.values() {
                self.apps[usize::from(row.id)] = Some(row.app);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for uuid in touched {
            self.settle(uuid, moment, revision, &mut delta);
        }
        self.seen = self.seen.max(moment.to);
        self.shares_points = self.shares_points || self.share_points(&delta.opened);
        delta
    }

    /// Takes what a log kept of a revision.
    pub(crate) fn restore(&mut self, revision: StoredRevision) {
        if !self.known {
            self.known = true;
            self.horizon = revision.to;
        }
        for uuid in revision.closed {
            self.close(uuid, revision.to);
        }
        let mut opened = Vec::new();
        for (span, uuid) in revision.opened {
            let alive = span.is_alive();
            let number = self.open(span);
            if alive {
                self.set_current(uuid, number);
                opened.push(number);
            }
        }
        self.seen = self.seen.max(revision.to);
        self.shares_points = self.shares_points || self.share_points(&opened);
    }

    /// Whether another ACL in force holds a point of one of these.
    fn share_points(&self, spans: &[u32]) -> bool {
        let spans = spans.iter().filter_map(|number| self.spans.get(*number));
        let mut held = spans.flat_map(|span| {
            [Role::New, Role::Est].map(|role| (role, span.row().uuid, span.point(role)))
        });
        held.any(|(role, uuid, point)| {
            point.is_some_and(|point| {
                let ever = (Timestamp::MIN, Timestamp::MAX);
                self.points
                    .find(&self.spans, role, point, ever.0, ever.1)
                    .any(|span| span.is_alive() && span.row().uuid != uuid)
            })
        })
    }

    pub(crate) fn copies(&self, span: &Span) -> u8 {
        match self.version {
            version if version >= Some(Version::SAMPLED_ONCE) => 1,
            _ if span.is_alive() => span.tier() + 1,
            _ => self.tiers.highest(span.pipeline()).max(span.tier()) + 1,
        }
    }

    pub(crate) fn reply_copies(&self, span: &Span) -> u8 {
        let once = self.version >= Some(Version::SAMPLED_ONCE);
        let again = span.pipeline() == Pipeline::ToLport && self.reply_flows > 0;
        if again && !once { 2 } else { 1 }
    }

    pub(crate) fn pass_copies(&self, span: &Span) -> u8 {
        self.tiers.highest(span.pipeline()).max(span.tier()) - span.tier() + 1
    }

    pub(crate) fn named<'a>(
        &'a self,
        name: &str,
    ) -> impl Iterator<Item = &'a Span> + Clone + use<'a> {
        let numbers = self.names.get(name).map_or(&[][..], Vec::as_slice);
        numbers.iter().filter_map(|number| self.spans.get(*number))
    }

    pub(crate) fn labelled(&self, label: u32) -> impl Iterator<Item = &Span> + Clone {
        let numbers = self.labels.get(&label).map_or(&[][..], Vec::as_slice);
        numbers.iter().filter_map(|number| self.spans.get(*number))
    }

    /// Forgets what ended before a time; says how much.
    pub(crate) fn forget(&mut self, before: Timestamp) -> u64 {
        if self.spans.past() == 0 {
            return 0;
        }
        let old: Vec<u32> = self
            .spans
            .numbered()
            .filter(|(_, span)| span.until() < before)
            .map(|(number, _)| number)
            .collect();
        self.forget_these(&old)
    }

    pub(crate) fn forget_older_half(&mut self) -> u64 {
        let mut past: Vec<(Timestamp, u32)> = self
            .spans
            .numbered()
            .filter(|(_, span)| !span.is_alive())
            .map(|(number, span)| (span.until(), number))
            .collect();
        past.sort_unstable();
        past.truncate(past.len().div_ceil(2));
        let numbers: Vec<u32> = past.into_iter().map(|(_, number)| number).collect();
        self.forget_these(&numbers)
    }

    fn forget_these(&mut self, numbers: &[u32]) -> u64 {
        for number in numbers {
            let Some(span) = self.spans.remove(*number) else {
                continue;
            };
            if self.horizon < span.until() {
                self.horizon = span.until();
            }
            for role in [Role::New, Role::Est] {
                if let Some(point) = span.point(role) {
                    self.points.remove(point, *number);
                }
            }
            let acl = span.row().acl();
            if let Some(name) = acl.name.as_deref() {
                forget_in(&mut self.names, name, *number);
            }
            forget_in(&mut self.labels, &acl.label, *number);
        }
        numbers.len() as u64
    }

    fn take(
        &mut self,
        change: &Change,
        touched: &mut Vec<Uuid>,
        delta: &mut Delta,
        facts: &mut Facts,
    ) -> Result<(), RowError> {
        let (uuid, new) = (change.uuid, change.new.as_ref());
        match &*change.table {
            "ACL" => {
                touched.push(uuid);
                self.drop_acl(uuid);
                if let Some(row) = new {
                    self.take_acl(uuid, row, facts)?;
                }
            }
            "Sample" => {
                touched.extend(self.users.get(&uuid).into_iter().flatten());
                self.samples.remove(&uuid);
                if let Some(row) = new {
                    let sample = netverdict_ovn::Sample::read(row)?;
                    self.samples.insert(uuid, sample.point);
                }
            }
            "Sampling_App" => {
                delta.apps = true;
                self.app_rows.remove(&uuid);
                if let Some(row) = new {
                    self.app_rows.insert(uuid, SamplingApp::read(row)?);
                }
            }
            "NB_Global" => {
                if let Some(row) = new {
                    let northd = NbGlobal::read(row)?.northd;
                    self.version = northd
                        .and_then(|text| Version::parse(&text))
                        .or(self.version);
                }
            }
            "Port_Group" => match new {
                Some(row) => {
                    let group = PortGroup::read(row)?;
                    self.tiers.hold(uuid, group.acls, !group.ports.is_empty());
                }
                None => self.tiers.release(uuid),
            },
            "Logical_Switch" => match new {
                Some(row) => self.tiers.hold(uuid, LogicalSwitch::read(row)?.acls, true),
                None => self.tiers.release(uuid),
            },
            _ => {}
        }
        Ok(())
    }

    fn take_acl(&mut self, uuid: Uuid, row: &Row, facts: &mut Facts) -> Result<(), RowError> {
        let Acl {
            acl,
            sample_new,
            sample_est,
            ..
        } = Acl::read(row)?;
        self.tiers.place(uuid, Some((acl.pipeline, acl.tier)));
        let other = sample_est.filter(|est| sample_new != Some(*est));
        for sample in sample_new.into_iter().chain(other) {
            self.users.entry(sample).or_default().push(uuid);
        }
        let held = Held {
            fact: facts.intern(acl),
            sample_new,
            sample_est,
        };
        self.acls.insert(uuid, held);
        Ok(())
    }

    fn drop_acl(&mut self, uuid: Uuid) {
        let Some(old) = self.acls.remove(&uuid) else {
            return;
        };
        self.tiers.place(uuid, None);
        for sample in [old.sample_new, old.sample_est].into_iter().flatten() {
            if let Some(users) = self.users.get_mut(&sample) {
                users.retain(|user| *user != uuid);
                if users.is_empty() {
                    self.users.remove(&sample);
                }
            }
        }
    }

    /// Makes the span in force say what the ACL's rows say now.
    fn settle(&mut self, uuid: Uuid, moment: Moment, revision: u64, delta: &mut Delta) {
        let wanted = self.acls.get(&uuid).map(|held| {
            let point = |sample: Option<Uuid>| self.samples.get(&sample?).copied();
            (
                held.fact.clone(),
                point(held.sample_new),
                point(held.sample_est),
            )
        });
        let there = self
            .current
            .get(&uuid)
            .and_then(|number| self.spans.get(*number));
        match (&wanted, there) {
            (None, None) => return,
            (Some((fact, new, est)), Some(span)) => {
                let same = (Arc::ptr_eq(fact, &span.row().fact) || **fact == *span.row().fact)
                    && *new == span.point(Role::New)
                    && *est == span.point(Role::Est);
                if same {
                    return;
                }
            }
            _ => {}
        }
        if there.is_some() {
            self.close(uuid, moment.to);
            delta.closed.push(uuid);
        }
        if let Some((fact, new, est)) = wanted {
            let row = AclRow {
                uuid,
                revision,
                fact,
            };
            let number = self.open(Span::new(row, moment.from, new, est));
            self.set_current(uuid, number);
            delta.opened.push(number);
        }
    }

    fn open(&mut self, span: Span) -> u32 {
        let points = [Role::New, Role::Est].map(|role| span.point(role));
        let fact = span.row().fact.clone();
        if span.action() == Action::Pass
            && let Some(passes) =
                self.passes[span.pipeline() as usize].get_mut(usize::from(span.tier()))
        {
            *passes = true;
        }
        let number = self.spans.insert(span);
        for point in points.into_iter().flatten() {
            self.points.insert(point, number);
        }
        if let Some(name) = fact.acl.name.as_deref() {
            self.names.entry_ref(name).or_default().push(number);
        }
        if fact.acl.label != 0 {
            self.labels.entry(fact.acl.label).or_default().push(number);
        }
        number
    }

    fn set_current(&mut self, uuid: Uuid, number: u32) {
        self.reply_flows += usize::from(self.spans.get(number).is_some_and(makes_reply_flow));
        self.current.insert(uuid, number);
    }

    fn close(&mut self, uuid: Uuid, until: Timestamp) {
        if let Some(number) = self.current.remove(&uuid) {
            self.reply_flows -= usize::from(self.spans.get(number).is_some_and(makes_reply_flow));
            self.spans.end(number, until);
        }
    }
}

/// An established connection that such an ACL admitted has its replies sampled in the egress
/// pipeline (ovn-northd, build_acl_sample_flows).
fn makes_reply_flow(span: &Span) -> bool {
    span.pipeline() != Pipeline::ToLport
        && span.action() == Action::AllowRelated
        && span.point(Role::Est).is_some()
}

/// Numbers of spans by what they share.
type Lists<K> = hashbrown::HashMap<K, Vec<u32>, foldhash::fast::RandomState>;

fn forget_in<K, Q>(lists: &mut Lists<K>, key: &Q, number: u32)
where
    K: std::borrow::Borrow<Q> + std::hash::Hash + Eq,
    Q: std::hash::Hash + Eq + ?Sized,
{
    if let Some(list) = lists.get_mut(key) {
        list.retain(|held| *held != number);
        if list.is_empty() {
            lists.remove(key);
        }
    }
}
