use std::collections::HashSet;
use std::ops::ControlFlow;

use netverdict_manifest::{FileId, Key, Kind, Reading, read_value};
use netverdict_verdict::{Endpoints, NameChange};
use serde_json::value::RawValue;
use tracing::warn;

use super::object::{Facts, KINDS};
use super::table::Table;
use super::text;
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
        // Nobody sees the text, so that its number does not matter.
        let reading = match text::of(key.kind, json) {
            Ok(text) => read_value(FileId::default(), &text, key.kind),
            Err(_) => Reading::default(),
        };
        for diagnostic in &reading.diagnostics {
            let fault = &diagnostic.message;
            warn!(%key, fault, "an object of Kubernetes makes no sense");
        }
        let Some(object) = reading.objects.first() else {
            self.counters.malformed.one();
            self.table.remove(&key);
            return;
        };
        let facts = Facts::of(object);
        for fault in &facts.faults {
            self.counters.malformed.one();
            warn!(%key, fault, "part of an object is left out");
        }
        self.table.put(key, facts);
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
