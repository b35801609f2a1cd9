use std::sync::Arc;

use hashbrown::HashTable;
use netverdict_types::{Acl, Fact};
use std::hash::BuildHasher;

/// Every distinct ACL once, however many zones and times hold it.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// With its hash: a table that grows must not read every ACL again.
    table: HashTable<(u64, Arc<Fact>)>,
    hasher: foldhash::fast::RandomState,
}

impl Facts {
    pub(crate) fn intern(&mut self, acl: Acl) -> Arc<Fact> {
        let hash = self.hasher.hash_one(&acl);
        if let Some((_, known)) = self.find(hash, &acl) {
            return known.clone();
        }
        let fact = Arc::new(Fact::from(acl));
        self.insert(hash, fact.clone());
        fact
    }

    /// Makes `fact` the one that is held, or replaces it by the one that is held already.
    pub(crate) fn adopt(&mut self, fact: &mut Arc<Fact>) {
        let hash = self.hasher.hash_one(&fact.acl);
        match self.find(hash, &fact.acl) {
            Some((_, known)) => *fact = known.clone(),
            None => self.insert(hash, fact.clone()),
        }
    }

    fn find(&self, hash: u64, acl: &Acl) -> Option<&(u64, Arc<Fact>)> {
        self.table
            .find(hash, |(known, fact)| *known == hash && fact.acl == *acl)
    }

    fn insert(&mut self, hash: u64, fact: Arc<Fact>) {
        self.table
            .insert_unique(hash, (hash, fact), |(hash, _)| *hash);
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Lets go of those that nobody else holds.
    pub(crate) fn sweep(&mut self) {
        self.table.retain(|(_, fact)| Arc::strong_count(fact) > 1);
    }
}
