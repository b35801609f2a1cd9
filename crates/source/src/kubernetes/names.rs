use std::collections::HashSet;
use std::ops::ControlFlow;

use netverdict_manifest::{Key, Kind};
use netverdict_verdict::{Endpoints, NameChange};
use serde_json::value::RawValue;
use tracing::warn;

use super::object::{KINDS, Object};
use super::table::Table;
use super::watch::{Counters, Error, KubeWatch, Lack, Sink};

impl Endpoints for KubeWatch {
    fn run(
        self: Box<Self>,
        take: &mut dyn FnMut(Vec<NameChange>) -> ControlFlow<()>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let counters = self.counters();
        let mut sink = Names {
            is_final: self.is_once(),
            counters: &counters,
            table: Table::default(),
            take,
        };
        Ok(self.follow(&mut sink)?)
    }
}

/// Makes names of objects.
struct Names<'a> {
    /// True if a list is asked for once only.
    is_final: bool,
    counters: &'a Counters,
    table: Table,
    take: &'a mut dyn FnMut(Vec<NameChange>) -> ControlFlow<()>,
}

impl Sink for Names<'_> {
    fn kinds(&self) -> &'static [Kind] {
        &KINDS
    }

    fn put(&mut self, key: Key, json: &RawValue) {
        match serde_json::from_str::<Object>(json.get()) {
            Ok(object) => {
                let facts = object.facts(key.kind);
                for fault in &facts.faults {
                    self.counters.malformed.one();
                    warn!(%key, fault, "part of an object is left out");
                }
                self.table.put(key, facts);
            }
            Err(error) => {
                self.counters.malformed.one();
                warn!(%key, %error, "an object of Kubernetes makes no sense and is left out");
                self.table.remove(&key);
            }
        }
    }

    fn remove(&mut self, key: &Key) {
        self.table.remove(key);
    }

    fn keep(&mut self, kind: Kind, named: &HashSet<Key>) {
        self.table.keep(kind, named);
    }

    fn lack(&mut self, kind: Kind, lack: Lack) -> Result<(), Error> {
        match kind {
            Kind::Pod | Kind::Node if self.is_final => Err(lack.into_error(kind)),
            _ => Ok(()),
        }
    }

    fn tell(&mut self) -> ControlFlow<()> {
        match self.table.changes() {
            changes if changes.is_empty() => ControlFlow::Continue(()),
            changes => (self.take)(changes),
        }
    }
}
