use std::sync::Arc;

use hashbrown::HashTable;
use netverdict_types::{Acl, Fact};
use std::hash::BuildHasher;

/// Every distinct ACL once, however many zones and times hold it.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    table: HashTable<Arc<Fact>>,
    hasher: foldhash::fast::RandomState,
}

impl Facts {
    pub(crate) fn intern(&mut self, acl: Acl) -> Arc<Fact> {
        let hash = self.hasher.hash_one(&acl);
        if let Some(known) = self.table.find(hash, |fact| fact.acl == acl) {
            return known.clone();
        }
        let mut fact = Arc::new(Fact::from(acl));
        self.adopt(&mut fact);
        fact
    }

    /// Makes `fact` the one that is held, or replaces it by the one that is held already.
    pub(crate) fn adopt(&mut self, fact: &mut Arc<Fact>) {
        let hash = self.hasher.hash_one(&fact.acl);
        match self.table.find(hash, |known| known.acl == fact.acl) {
            Some(known) => *fact = known.clone(),
            None => {
                let hasher = &self.hasher;
                self.table
                    .insert_unique(hash, fact.clone(), |fact| hasher.hash_one(&fact.acl));
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Lets go of those that nobody else holds.
    pub(crate) fn sweep(&mut self) {
        self.table.retain(|fact| Arc::strong_count(fact) > 1);
    }
}
