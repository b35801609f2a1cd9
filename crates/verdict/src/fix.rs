//! The smallest change that lets a connection through, found by trying.

mod candidate;
mod diff;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use netverdict_manifest::{Key, Kind, Object, Protocol, Severity, Sources, Spec, edit, read};
use netverdict_ovsdb::{Datum, Row};
use netverdict_pipeline::Northbound;
use netverdict_policy::{Compiler, Options};
use netverdict_types::Direction;
use uuid::Uuid;

use self::candidate::{Candidate, Step, candidates};
use crate::matrix::{Space, both};
use crate::near::{Ask, Denial, Near, Objects, Transport};
use crate::reach::{Decided, Reach};

/// A change of objects that was tried: with it the connection is let through.
#[derive(Clone, Debug, PartialEq)]
pub struct Fix {
    /// What is changed, in order: usually one object, more where the connection was denied in several places.
    pub parts: Vec<Part>,
    /// What else it opens, beside the connection that was asked about; by ends and ports.
    pub opens: Vec<Opened>,
    /// What it closes.
    pub closes: Vec<Opened>,
    /// Pairs of ends and ports that it opens beside the connection, counted by what ACLs can tell apart. The fewer the better.
    pub opened: usize,
    /// Whether all pairs were looked at; else just those with one of the two ends.
    pub complete: bool,
}

/// A change of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The direction that was denied without it.
    pub direction: Direction,
    /// The object; one that is not there yet if `is_new`.
    pub object: Key,
    /// Whether the object is a new one.
    pub is_new: bool,
    /// What is done, as a command: `add port 8080/tcp to ingress[0] of NetworkPolicy shop/web`.
    pub what: String,
    /// The change of the text that the object stands in, as `diff -u` shows it; for a new object its text.
    pub diff: String,
    /// The change as a JSON patch (RFC 6902) of the object, for `kubectl patch --type=json`; for a new object the object.
    pub patch: serde_json::Value,
}

/// Ends and ports that a change opens or closes.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Opened {
    /// Who.
    pub from: String,
    /// Whom.
    pub to: String,
    /// On which ports: `8080/tcp`, `other udp`.
    pub ports: Vec<String>,
}

/// How many places of one connection are mended at most.
const MOST_PARTS: usize = 6;
/// Pairs of classes times ports that are looked at for each change; with more, only the pairs around the two ends are.
const MOST_CELLS: usize = 4_000_000;

/// The rows of each zone, as a compiler has them.
pub fn northbounds(compiler: &Compiler) -> Vec<Northbound> {
    let zones = compiler.zones();
    zones
        .iter()
        .map(|zone| {
            let name = Row::new(
                "NB_Global",
                Uuid::nil(),
                [("name", Datum::from(zone.as_ref()))],
            );
            let rows = compiler.rows().filter(|row| row.is_in(zone));
            let rows = rows.map(|row| Row::new(row.table.as_str(), row.uuid, row.columns_in(zone)));
            let rows: Vec<Row> = std::iter::once(name).chain(rows).collect();
            Northbound::new(&rows)
        })
        .collect()
}

/// The changes that let a connection through, the best first; none if it is not denied, or nothing that was tried helps.
///
/// The compiler holds the objects, compiled, and does so again at the end. Each change is made in the text of its object, read back, compiled and
/// asked: whether the connection and its answer pass, and what else is open then that was not before.
pub fn fixes(
    objects: Objects<'_>,
    sources: &Sources,
    compiler: &mut Compiler,
    ask: &Ask,
) -> Vec<Fix> {
    let mut bench = Bench {
        options: objects.options,
        objects: objects.objects.clone(),
        sources: sources.clone(),
        compiler,
        changed: BTreeSet::new(),
    };
    let fixes = bench.fixes(ask);
    bench.restore(objects.objects);
    fixes
}

/// The ports that containers name.
pub fn container_ports(objects: Objects<'_>) -> BTreeSet<(Protocol, u16)> {
    let pods = objects
        .all(Kind::Pod)
        .filter_map(|object| match &object.spec {
            Spec::Pod(pod) => Some(pod),
            _ => None,
        });
    pods.flat_map(|pod| pod.ports.iter().map(|port| (port.protocol, port.port)))
        .collect()
}

/// Objects that are changed and compiled again.
struct Bench<'a> {
    options: &'a Options,
    objects: BTreeMap<Key, Arc<Object>>,
    sources: Sources,
    compiler: &'a mut Compiler,
    /// Objects that the compiler has otherwise than it had them.
    changed: BTreeSet<Key>,
}

/// A candidate with which the connection passes one place more.
struct Tried {
    steps: Vec<Done>,
    opened: usize,
    closes: Vec<Opened>,
    opens: Vec<Opened>,
    hurts: bool,
    complete: bool,
    size: u32,
}

/// A change that was made in a text.
#[derive(Clone)]
struct Done {
    part: Part,
    /// The object, and then others of the same text: their places move.
    objects: Vec<Arc<Object>>,
    file: Option<(netverdict_manifest::FileId, String)>,
}

impl Bench<'_> {
    fn fixes(&mut self, ask: &Ask) -> Vec<Fix> {
        let before = northbounds(self.compiler);
        let base = Reach::new(&before);
        let Some(denied) = denials(&base, ask) else {
            return Vec::new();
        };
        match denied.as_slice() {
            [] => Vec::new(),
            [_] => {
                let tried = self.try_all(&base, ask, &denied);
                tried.into_iter().map(Tried::fix).collect()
            }
            _ => self.several(&base, ask, denied).into_iter().collect(),
        }
    }

    /// Mends one place after another.
    fn several(&mut self, base: &Reach<'_>, ask: &Ask, mut denied: Vec<Decided>) -> Option<Fix> {
        let mut parts = Vec::new();
        for _ in 0..MOST_PARTS {
            let before = northbounds(self.compiler);
            let reach = Reach::new(&before);
            let best = self.try_all(&reach, ask, &denied).into_iter().next()?;
            for done in best.steps {
                parts.push(done.part.clone());
                self.keep(done);
            }
            let after = northbounds(self.compiler);
            let reach = Reach::new(&after);
            denied = denials(&reach, ask)?;
            if denied.is_empty() {
                let mut measured = self.measure(base, &reach, ask, None);
                measured.steps = Vec::new();
                return Some(Fix {
                    parts,
                    ..measured.fix()
                });
            }
        }
        None
    }

    /// Tries what could mend the first of these places.
    fn try_all(&mut self, base: &Reach<'_>, ask: &Ask, denied: &[Decided]) -> Vec<Tried> {
        let Some(first) = denied.first() else {
            return Vec::new();
        };
        let Some(acl) = base.acl(first) else {
            return Vec::new();
        };
        let Some(denial) = Denial::of(&acl.acl.owner) else {
            return Vec::new();
        };
        let direction = acl.acl.owner.direction.unwrap_or(first.side);
        let objects = Objects {
            objects: &self.objects,
            options: self.options,
        };
        let near = Near::find(objects, ask, direction, &denial);
        let mut candidates = candidates(objects, ask, direction, &denial, &near);
        candidates.sort_by_key(|candidate| candidate.size);
        let mut tried: Vec<Tried> = Vec::new();
        for candidate in candidates {
            tried.extend(self.try_one(base, ask, denied, direction, &candidate));
            // None that is left is smaller, and none can do less.
            if tried
                .last()
                .is_some_and(|last| last.opened == 0 && last.closes.is_empty())
            {
                break;
            }
        }
        tried.sort_by_key(|tried| (!tried.closes.is_empty(), tried.opened, tried.size));
        tried
    }

    fn try_one(
        &mut self,
        base: &Reach<'_>,
        ask: &Ask,
        denied: &[Decided],
        direction: Direction,
        candidate: &Candidate,
    ) -> Option<Tried> {
        let mut steps = Vec::new();
        for step in &candidate.steps {
            steps.push(self.make(step, direction)?);
        }
        for object in steps.iter().filter_map(|done| done.objects.first()) {
            self.compiler.put(object.clone());
        }
        self.compiler.compile();
        let after = northbounds(self.compiler);
        let reach = Reach::new(&after);
        let left = denials(&reach, ask);
        let helps = match (left, denied) {
            (None, _) | (_, []) => false,
            (Some(left), [first, rest @ ..]) => {
                let same = |one: &Decided| {
                    (one.pipeline, one.side, one.reply) == (first.pipeline, first.side, first.reply)
                };
                match rest.is_empty() {
                    true => left.is_empty(),
                    false => !left.iter().any(same) && left.len() < denied.len(),
                }
            }
        };
        let tried = helps.then(|| {
            let side = (denied.len() > 1).then_some(direction);
            let mut tried = self.measure(base, &reach, ask, side);
            tried.size = candidate.size;
            tried
        });
        for object in steps.iter().filter_map(|done| done.objects.first()) {
            match self.objects.get(&object.key) {
                Some(old) => self.compiler.put(old.clone()),
                None => self.compiler.remove(&object.key),
            }
        }
        self.compiler.compile();
        let mut tried = tried?;
        tried.steps = steps;
        Some(tried)
    }

    /// What is open otherwise than before.
    fn measure(
        &self,
        base: &Reach<'_>,
        after: &Reach<'_>,
        ask: &Ask,
        side: Option<Direction>,
    ) -> Tried {
        let objects = Objects {
            objects: &self.objects,
            options: self.options,
        };
        let space = Space::new(&[base, after], container_ports(objects));
        let name = |end: &crate::near::End| {
            let pod = end.pod.as_ref();
            pod.map(|pod| format!("{}/{}", pod.namespace, pod.name))
        };
        let [from, to] = [&ask.from, &ask.to].map(|end| space.class_of(name(end).as_deref()));
        let classes = space.classes().len();
        let complete = classes * classes * space.slots().len() <= MOST_CELLS;
        let (old, new) = both(base, after, &space, side, |one, other| {
            complete || Some(one) == from || Some(other) == to
        });
        let mut tried = Tried {
            steps: Vec::new(),
            opened: 0,
            opens: Vec::new(),
            closes: Vec::new(),
            hurts: false,
            complete,
            size: 0,
        };
        for one in 0..classes {
            for other in 0..classes {
                let (mut opened, closed) = old.difference(&new, one, other);
                let is_it = from.is_none_or(|from| from == one) && to.is_none_or(|to| to == other);
                opened.retain(|slot| {
                    let slot = space.slots().get(*slot);
                    !(is_it && slot.is_some_and(|slot| belongs(ask.transport, slot.transport)))
                });
                tried.opened += opened.len() * space.pairs(one, other);
                tried.hurts |= closed.iter().any(|slot| self.is_used(&space, other, *slot));
                for (slots, list) in [(opened, &mut tried.opens), (closed, &mut tried.closes)] {
                    let names = [one, other].map(|class| space.classes().get(class));
                    if let ([Some(from), Some(to)], false) = (names, slots.is_empty()) {
                        list.push(Opened {
                            from: from.name.clone(),
                            to: to.name.clone(),
                            ports: space.ports(&slots),
                        });
                    }
                }
            }
        }
        tried
    }

    /// Whether somebody may listen there: a container names the port, or nobody knows.
    fn is_used(&self, space: &Space, class: usize, slot: usize) -> bool {
        let (Some(class), Some(slot)) = (space.classes().get(class), space.slots().get(slot))
        else {
            return false;
        };
        let Transport::Port(protocol, port) = slot.transport else {
            return false;
        };
        class.outside.is_some()
            || class.members.iter().any(|member| {
                let Some((namespace, name)) = member.split_once('/') else {
                    return true;
                };
                let object = self.objects.get(&Key::new(Kind::Pod, namespace, name));
                match object.map(|object| &object.spec) {
                    Some(Spec::Pod(pod)) => pod
                        .ports
                        .iter()
                        .any(|own| (own.protocol, own.port) == (protocol, port)),
                    _ => true,
                }
            })
    }

    /// Makes a change in the text of its object, and reads it back.
    fn make(&self, step: &Step, direction: Direction) -> Option<Done> {
        let part = |diff, patch, is_new| Part {
            direction,
            object: step.object.clone(),
            is_new,
            what: step.what.clone(),
            diff,
            patch,
        };
        if let Some(data) = &step.new {
            let text = data.document();
            let object = only(&text, &step.object)?;
            let patch = serde_json::from_str(&data.json()).ok()?;
            return Some(Done {
                part: part(text, patch, true),
                objects: vec![Arc::new(object)],
                file: None,
            });
        }
        let object = self.objects.get(&step.object)?;
        let span = object.meta.span;
        let text = self.sources.text(span.file)?;
        let edited = edit(text, span, &step.edits)?;
        let name = self.sources.name(span.file)?;
        let reading = read(span.file, &edited.text);
        let errors = reading.diagnostics.iter();
        if errors.filter(|one| one.severity == Severity::Error).count() > 0 {
            return None;
        }
        let read: Vec<Object> = reading.objects;
        let mut objects = Vec::new();
        for new in read {
            // What was assumed stays; places move.
            let Some(old) = self.objects.get(&new.key) else {
                continue;
            };
            if old.meta.span.file != span.file {
                continue;
            }
            let mut merged = new;
            if merged.key.kind == Kind::Pod {
                merged = Object {
                    meta: merged.meta,
                    ..(**old).clone()
                };
                merged.meta.annotations.clone_from(&old.meta.annotations);
            } else if merged.key != step.object {
                merged = Object {
                    meta: netverdict_manifest::Meta {
                        span: merged.meta.span,
                        ..old.meta.clone()
                    },
                    spec: if is_policy(merged.key.kind) {
                        merged.spec
                    } else {
                        old.spec.clone()
                    },
                    key: merged.key,
                };
            }
            objects.push(Arc::new(merged));
        }
        objects.sort_by_key(|object| object.key != step.object);
        if objects
            .first()
            .is_none_or(|object| object.key != step.object)
        {
            return None;
        }
        let operations = edited.patch.iter().map(|(op, path, value)| {
            let value: serde_json::Value = serde_json::from_str(&value.json()).ok()?;
            Some(serde_json::json!({"op": op, "path": path, "value": value}))
        });
        let patch: Option<Vec<_>> = operations.collect();
        let diff = diff::unified(name, text, &edited.text);
        Some(Done {
            part: part(diff, patch?.into(), false),
            objects,
            file: Some((span.file, edited.text)),
        })
    }

    /// Goes on from a change.
    fn keep(&mut self, done: Done) {
        for object in done.objects {
            self.changed.insert(object.key.clone());
            self.compiler.put(object.clone());
            self.objects.insert(object.key.clone(), object);
        }
        self.compiler.compile();
        if let Some((file, text)) = done.file {
            let name = self.sources.name(file).unwrap_or_default().to_owned();
            self.sources.put(file, &name, text.into());
        }
    }

    fn restore(&mut self, objects: &BTreeMap<Key, Arc<Object>>) {
        for key in std::mem::take(&mut self.changed) {
            match objects.get(&key) {
                Some(object) => self.compiler.put(object.clone()),
                None => self.compiler.remove(&key),
            }
        }
        self.compiler.compile();
    }
}

impl Tried {
    fn fix(self) -> Fix {
        Fix {
            parts: self.steps.into_iter().map(|done| done.part).collect(),
            opens: self.opens,
            closes: self.closes,
            opened: self.opened,
            complete: self.complete,
        }
    }
}

/// What denies a connection, in order; `None` if there is no way between its ends.
fn denials(reach: &Reach<'_>, ask: &Ask) -> Option<Vec<Decided>> {
    let mut decided = reach.ask(ask)?;
    decided.retain(Decided::denies);
    Some(decided)
}

/// Whether a port is the one asked about, or what goes with it: DNS is UDP and TCP.
fn belongs(asked: Transport, other: Transport) -> bool {
    let is_dns = |transport| {
        matches!(
            transport,
            Transport::Port(Protocol::Tcp | Protocol::Udp, 53)
        )
    };
    asked == other || (is_dns(asked) && is_dns(other))
}

fn is_policy(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::NetworkPolicy
            | Kind::AdminNetworkPolicy
            | Kind::BaselineAdminNetworkPolicy
            | Kind::ClusterNetworkPolicy
            | Kind::EgressFirewall
    )
}

/// The one object of a text.
fn only(text: &str, key: &Key) -> Option<Object> {
    let mut objects = read(netverdict_manifest::FileId::default(), text).objects;
    let object = objects.pop()?;
    (objects.is_empty() && object.key == *key).then_some(object)
}
