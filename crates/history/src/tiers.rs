use netverdict_types::Pipeline;
use uuid::Uuid;

use crate::UuidMap;

/// Which tiers are in use in each pipeline of a zone's switches.
///
/// An ACL counts while a switch, or a port group that has a port, holds it. ovn-northd counts for
/// each switch alone; here a zone is taken as one, which it is in ovn-kubernetes: its node switch
/// holds all ACLs of the default network.
#[derive(Debug, Default)]
pub(crate) struct Tiers {
    holders: UuidMap<Holder>,
    acls: UuidMap<Held>,
    used: [[u32; 4]; 3],
}

#[derive(Debug, Default)]
struct Holder {
    acls: Vec<Uuid>,
    active: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    holders: u32,
    place: Option<(Pipeline, u8)>,
}

impl Tiers {
    /// The highest tier of a pipeline; 0 without any.
    pub(crate) fn highest(&self, pipeline: Pipeline) -> u8 {
        let used = &self.used[pipeline as usize];
        used.iter().rposition(|count| *count > 0).unwrap_or(0) as u8
    }

    /// A port group or a switch, with its ACLs; `active` where it has ports.
    pub(crate) fn hold(&mut self, holder: Uuid, acls: Vec<Uuid>, active: bool) {
        self.release(holder);
        if active {
            for acl in &acls {
                self.adjust(*acl, |held| held.holders += 1);
            }
        }
        self.holders.insert(holder, Holder { acls, active });
    }

    /// A port group or a switch that is gone.
    pub(crate) fn release(&mut self, holder: Uuid) {
        let Some(old) = self.holders.remove(&holder) else {
            return;
        };
        if old.active {
            for acl in old.acls {
                self.adjust(acl, |held| held.holders = held.holders.saturating_sub(1));
            }
        }
    }

    /// Where an ACL stands; `None` for one that is gone.
    pub(crate) fn place(&mut self, acl: Uuid, place: Option<(Pipeline, u8)>) {
        self.adjust(acl, |held| held.place = place);
    }

    fn adjust(&mut self, acl: Uuid, change: impl FnOnce(&mut Held)) {
        let held = self.acls.entry(acl).or_default();
        let before = *held;
        change(held);
        let after = *held;
        if after.holders == 0 && after.place.is_none() {
            self.acls.remove(&acl);
        }
        self.count(before, u32::wrapping_sub);
        self.count(after, u32::wrapping_add);
    }

    fn count(&mut self, held: Held, change: impl Fn(u32, u32) -> u32) {
        let Some((pipeline, tier)) = held.place.filter(|_| held.holders > 0) else {
            return;
        };
        if let Some(count) = self.used[pipeline as usize].get_mut(usize::from(tier)) {
            *count = change(*count, 1);
        }
    }
}
