use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use netverdict_manifest::{Diagnostic, FileId, Key, Kind, Severity, read_value};
use serde_json::value::RawValue;

use super::text;
use super::watch::{Counters, Error, KubeWatch, Lack, Sink, path};
use crate::objects::{Change, Gathered, Objects, stays};

impl Objects for KubeWatch {
    /// The first change comes when each kind was listed or is known to be missing or forbidden. A
    /// forbidden kind is an error among the diagnostics (`forbidden`): what is known of its objects
    /// stays, at first nothing. A kind that the server does not have is a note (`no-such-kind`).
    fn run(
        self: Box<Self>,
        take: &mut dyn FnMut(Change) -> ControlFlow<()>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let counters = self.counters();
        let mut sink = Gatherer {
            counters: &counters,
            gathered: Gathered::default(),
            known: HashMap::new(),
            awaited: KINDS.into(),
            lacking: HashMap::new(),
            begun: false,
            take,
        };
        Ok(self.follow(&mut sink)?)
    }
}

/// All but the NetworkAttachmentDefinitions, of which policies know nothing.
const KINDS: [Kind; 12] = [
    Kind::Namespace,
    Kind::Node,
    Kind::Pod,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::NetworkPolicy,
    Kind::AdminNetworkPolicy,
    Kind::BaselineAdminNetworkPolicy,
    Kind::ClusterNetworkPolicy,
    Kind::EgressFirewall,
    Kind::UserDefinedNetwork,
    Kind::ClusterUserDefinedNetwork,
];

/// Makes changes of objects.
struct Gatherer<'a> {
    counters: &'a Counters,
    gathered: Gathered,
    known: HashMap<Key, Known>,
    /// Kinds of which nothing is known yet.
    awaited: BTreeSet<Kind>,
    /// What was said about the kinds that cannot be had.
    lacking: HashMap<Kind, Diagnostic>,
    /// True once the first complete state was told.
    begun: bool,
    take: &'a mut dyn FnMut(Change) -> ControlFlow<()>,
}

/// What is known of an object.
#[derive(Default)]
struct Known {
    /// The text it was read from, unless it never made sense.
    told: Option<(FileId, Arc<str>)>,
    /// Its text now, where that makes no sense and was not taken.
    broken: Option<Arc<str>>,
}

impl Sink for Gatherer<'_> {
    fn kinds(&self) -> &'static [Kind] {
        &KINDS
    }

    fn put(&mut self, key: Key, json: &RawValue) {
        let text: Arc<str> = match text::of(key.kind, json) {
            Ok(text) => text.into(),
            Err(_) => json.get().into(),
        };
        let known = self.known.entry(key.clone()).or_default();
        let file = match &known.told {
            Some((_, told)) if *told == text => {
                known.broken = None;
                return;
            }
            _ if known.broken.as_ref() == Some(&text) => return,
            Some((file, _)) => *file,
            None => self.gathered.file(),
        };
        let name = name(&key);
        let mut reading = read_value(file, &text, key.kind);
        if let Some(object) = reading.objects.pop() {
            self.gathered.text(file, &name, Arc::clone(&text));
            let change = &mut self.gathered.change;
            change.diagnostics.extend(reading.diagnostics);
            change.objects.insert(key, Some(Arc::new(object)));
            *known = Known {
                told: Some((file, text)),
                broken: None,
            };
            return;
        }
        self.counters.malformed.one();
        let passing = match known.told {
            Some(_) => self.gathered.file(),
            None => file,
        };
        let reading = read_value(passing, &text, key.kind);
        self.gathered.passing(passing, &name, Arc::clone(&text));
        let diagnostics = &mut self.gathered.change.diagnostics;
        diagnostics.extend(reading.diagnostics);
        if known.told.is_some() {
            diagnostics.push(stays(&name));
        }
        known.broken = Some(text);
    }

    fn remove(&mut self, key: &Key) {
        let known = self.known.remove(key).and_then(|known| known.told);
        if let Some((file, _)) = known {
            self.gathered.forget(file);
            self.gathered.change.objects.insert(key.clone(), None);
        }
    }

    fn keep(&mut self, kind: Kind, named: &HashSet<Key>) {
        let is_gone = |key: &&Key| key.kind == kind && !named.contains(key);
        let gone: Vec<Key> = self.known.keys().filter(is_gone).cloned().collect();
        for key in gone {
            self.remove(&key);
        }
        self.awaited.remove(&kind);
        self.lacking.remove(&kind);
    }

    fn lack(&mut self, kind: Kind, lack: Lack) -> Result<(), Error> {
        let diagnostic = match lack {
            Lack::NoSuchKind => {
                self.keep(kind, &HashSet::new());
                no_such_kind(kind)
            }
            Lack::Forbidden(fault) => forbidden(kind, &fault),
            Lack::Failed(_) => return Err(lack.into_error(kind)),
        };
        self.awaited.remove(&kind);
        if self.lacking.get(&kind) != Some(&diagnostic) {
            self.lacking.insert(kind, diagnostic.clone());
            self.gathered.change.diagnostics.push(diagnostic);
        }
        Ok(())
    }

    fn tell(&mut self) -> ControlFlow<()> {
        if !self.awaited.is_empty() || (self.begun && self.gathered.change.is_empty()) {
            return ControlFlow::Continue(());
        }
        self.begun = true;
        self.gathered.tell(self.take)
    }
}

/// `cluster:networkpolicies/blue/allow`.
fn name(key: &Key) -> String {
    let (_, resource) = resource(key.kind);
    match &*key.namespace {
        "" => format!("cluster:{resource}/{}", key.name),
        namespace => format!("cluster:{resource}/{namespace}/{}", key.name),
    }
}

/// The API group, empty for the oldest, and the name of a kind's objects there.
fn resource(kind: Kind) -> (&'static str, &'static str) {
    let mut parts = path(kind).split('/').skip(2);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(group), Some(_), Some(resource)) => (group, resource),
        (_, resource, _) => ("", resource.unwrap_or_default()),
    }
}

fn forbidden(kind: Kind, fault: &str) -> Diagnostic {
    let (group, resource) = resource(kind);
    let message = format!(
        "the server does not let us see {} objects: {fault}",
        kind.as_str()
    );
    Diagnostic::new(Severity::Error, "forbidden", message).help(format!(
        "a ClusterRole needs the rule {{apiGroups: [\"{group}\"], resources: [{resource}], verbs: \
         [list, watch]}}; it is looked for again"
    ))
}

fn no_such_kind(kind: Kind) -> Diagnostic {
    let (group, resource) = resource(kind);
    let message = format!("the cluster has no {resource}.{group}");
    Diagnostic::new(Severity::Note, "no-such-kind", message).help("it is looked for again")
}
