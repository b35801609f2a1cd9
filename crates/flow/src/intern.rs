use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::{FixedState, RandomState};
use hashbrown::{HashMap, HashTable};
use netverdict_types::{Decision, DropFlow, Endpoint, Ruling, Service, Verdict};

use crate::report::Reports;

/// One copy of each value that connections share.
///
/// A value that nobody holds any more goes when the pool has doubled since it was last looked
/// through: the pool is at most twice as large as what is in use.
#[derive(Debug)]
pub(crate) struct Pool<T: ?Sized> {
    values: HashTable<Arc<T>>,
    swept: usize,
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self {
            values: HashTable::new(),
            swept: 512,
        }
    }
}

impl<T: ?Sized> Pool<T> {
    /// The value that has this hash and is the one; made where there is none.
    fn one(
        &mut self,
        hash: u64,
        is: impl Fn(&T) -> bool,
        hash_of: impl Fn(&T) -> u64,
        make: impl FnOnce() -> Arc<T>,
    ) -> Arc<T> {
        if let Some(known) = self.values.find(hash, |known| is(known)) {
            return known.clone();
        }
        if self.values.len() >= 2 * self.swept {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.swept = self.values.len().max(512);
        }
        let made = make();
        self.values
            .insert_unique(hash, made.clone(), |value| hash_of(value));
        made
    }
}

impl Pool<Endpoint> {
    pub(crate) fn endpoint(&mut self, endpoint: &Endpoint) -> Arc<Endpoint> {
        let hash = |it: &Endpoint| hash(&(it.kind, &it.namespace, &it.name));
        self.one(
            hash(endpoint),
            |known| known == endpoint,
            hash,
            || Arc::new(endpoint.clone()),
        )
    }
}

impl Pool<Service> {
    pub(crate) fn service(&mut self, service: &Service) -> Arc<Service> {
        let hash = |it: &Service| hash(&(it.ip, it.port, it.protocol, &it.name));
        self.one(
            hash(service),
            |known| known == service,
            hash,
            || Arc::new(service.clone()),
        )
    }
}

impl Pool<DropFlow> {
    fn flow(&mut self, flow: &DropFlow) -> Arc<DropFlow> {
        let hash = |it: &DropFlow| hash(&(it.priority, &it.matches));
        self.one(
            hash(flow),
            |known| known == flow,
            hash,
            || Arc::new(flow.clone()),
        )
    }
}

/// Rulings, and the logical flows that they name.
#[derive(Debug, Default)]
pub(crate) struct Rulings {
    rulings: Pool<Ruling>,
    flows: Pool<DropFlow>,
}

impl Rulings {
    pub(crate) fn ruling(&mut self, decision: &Decision<'_>) -> Arc<Ruling> {
        let flow = decision.flow.map(|flow| self.flows.flow(flow));
        let made = Ruling {
            verdict: decision.verdict,
            fact: decision.acl.map(|acl| acl.fact.clone()),
            uuid: decision.acl.map(|acl| acl.uuid),
            revision: decision.acl.map(|acl| acl.revision),
            deleted: decision.deleted,
            evidence: decision.evidence,
            unresolved: decision.unresolved,
            flow,
        };
        let hash = |it: &Ruling| {
            let fact = it.fact.as_ref().map(Arc::as_ptr);
            let flow = it.flow.as_ref().map(Arc::as_ptr);
            let rest = (it.verdict, it.deleted, it.evidence, it.unresolved);
            hash(&(fact, it.uuid, it.revision, flow, rest))
        };
        // Facts and flows are shared: the same ones are at the same place.
        self.rulings.one(
            hash(&made),
            |known| *known == made,
            hash,
            || Arc::new(made.clone()),
        )
    }
}

/// True where a decision says what a known ruling says. What it rests on may differ.
pub(crate) fn says_the_same(ruling: &Ruling, decision: &Decision<'_>) -> bool {
    let is_acl = match (&ruling.fact, decision.acl) {
        (Some(fact), Some(acl)) => Arc::ptr_eq(fact, &acl.fact) && ruling.uuid == Some(acl.uuid),
        (None, None) => true,
        _ => false,
    };
    is_acl
        && ruling.verdict == decision.verdict
        && ruling.deleted == decision.deleted
        && ruling.unresolved == decision.unresolved
        && ruling.flow.as_deref() == decision.flow
}

/// True where a ruling lets no packet through.
pub(crate) fn stops(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Dropped | Verdict::Rejected)
}

/// Where decisions come from: zones and their nodes, by number.
#[derive(Debug, Default)]
pub(crate) struct Spots {
    spots: Vec<Spot>,
    by_name: HashTable<u32>,
    last: u32,
}

/// A node of a zone.
#[derive(Debug)]
pub(crate) struct Spot {
    pub(crate) zone: Arc<str>,
    pub(crate) node: Option<Arc<str>>,
    /// What its clock is ahead of ours.
    pub(crate) ahead: i64,
    pub(crate) reports: Reports,
}

impl Spots {
    pub(crate) fn number(&mut self, zone: &str, node: Option<&str>) -> u32 {
        let is = |spot: &Spot| *spot.zone == *zone && spot.node.as_deref() == node;
        if self.spots.get(self.last as usize).is_some_and(is) {
            return self.last;
        }
        let hashed = hash(&(zone, node));
        let known = self
            .by_name
            .find(hashed, |&number| is(&self.spots[number as usize]));
        self.last = match known {
            Some(&number) => number,
            None => {
                let number = self.spots.len() as u32;
                self.spots.push(Spot {
                    zone: zone.into(),
                    node: node.map(Into::into),
                    ahead: 0,
                    reports: Reports::default(),
                });
                let spots = &self.spots;
                self.by_name.insert_unique(hashed, number, |&number| {
                    let spot = &spots[number as usize];
                    hash(&(&*spot.zone, spot.node.as_deref()))
                });
                number
            }
        };
        self.last
    }

    pub(crate) fn spot(&mut self, number: u32) -> &mut Spot {
        &mut self.spots[number as usize]
    }

    pub(crate) fn at(&self, number: u32) -> &Spot {
        &self.spots[number as usize]
    }
}

/// Names of networks, by number; 0 where there is none.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    names: Vec<Arc<str>>,
    by_name: HashMap<Arc<str>, u32, RandomState>,
    last: u32,
}

impl Networks {
    pub(crate) fn number(&mut self, name: Option<&str>) -> u32 {
        let Some(name) = name else {
            return 0;
        };
        if self.name(self.last).is_some_and(|last| **last == *name) {
            return self.last;
        }
        self.last = match self.by_name.get(name) {
            Some(&number) => number,
            None => {
                let shared: Arc<str> = name.into();
                self.names.push(shared.clone());
                let number = self.names.len() as u32;
                self.by_name.insert(shared, number);
                number
            }
        };
        self.last
    }

    pub(crate) fn name(&self, number: u32) -> Option<&Arc<str>> {
        self.names.get((number as usize).checked_sub(1)?)
    }
}

fn hash<T: Hash + ?Sized>(value: &T) -> u64 {
    FixedState::with_seed(0x6e76).hash_one(value)
}
