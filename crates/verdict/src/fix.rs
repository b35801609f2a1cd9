//! The smallest change that lets a connection through, found by trying.

mod candidate;
mod diff;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use netverdict_manifest::{Key, Kind, Object, Protocol, Severity, Sources, Span, Spec, edit, read};
use netverdict_ovsdb::{Cause, Change, ChangeSet, Datum, Row};
use netverdict_pipeline::Northbound;
use netverdict_policy::{Compiler, Options};
use netverdict_types::Direction;
use uuid::Uuid;

use self::candidate::{Candidate, Step, candidates};
use crate::matrix::{Space, differences};
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
    /// The object with the change, as a document of YAML (or JSON, if it stands in JSON).
    pub text: String,
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
    let zones = zones.iter();
    zones
        .map(|zone| Northbound::new(&zone_rows(compiler, zone)))
        .collect()
}

/// The rows of a zone, as a compiler has them: its own name, then all others by table and key.
pub fn zone_rows(compiler: &Compiler, zone: &str) -> Vec<Row> {
    let mut rows: Vec<_> = compiler.rows().filter(|row| row.is_in(zone)).collect();
    rows.sort_by(|a, b| (a.table, &a.key).cmp(&(b.table, &b.key)));
    let global = Row::new("NB_Global", Uuid::nil(), [("name", Datum::from(zone))]);
    let rows = rows.into_iter().map(|row| in_zone(row, zone));
    std::iter::once(global).chain(rows).collect()
}

fn in_zone(row: &netverdict_policy::Row, zone: &str) -> Row {
    Row::new(row.table.as_str(), row.uuid, row.columns_in(zone))
}

/// The best change that lets a connection through: one that closes nothing, opens the least beside it, and is the smallest. `None` if it is not
/// denied, or nothing that was tried helps.
///
/// The compiler holds the objects, compiled, and does so again at the end. Each change is made in the text of its object, read back, compiled and
/// asked: whether the connection and its answer pass, and what else is open then that was not before.
pub fn best_fix(
    objects: Objects<'_>,
    sources: &Sources,
    compiler: &mut Compiler,
    ask: &Ask,
) -> Option<Fix> {
    let mut bench = Bench {
        options: objects.options,
        objects: objects.objects.clone(),
        sources: sources.clone(),
        names: compiler.zones(),
        zones: northbounds(compiler),
        compiler,
        changed: BTreeSet::new(),
    };
    let fix = bench.fix(ask);
    bench.restore(objects.objects);
    fix
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
    names: Vec<Arc<str>>,
    /// The rows of each zone, as the compiler has them now.
    zones: Vec<Northbound>,
    /// Objects that the compiler has otherwise than it had them.
    changed: BTreeSet<Key>,
}

/// A candidate with which the connection passes one place more.
struct Tried {
    made: Vec<Made>,
    effect: Effect,
    /// Whether it closes something, or could where nobody looked.
    may_close: bool,
}

impl Tried {
    fn is_harmless(&self) -> bool {
        self.effect.is_none() && !self.may_close
    }
}

/// How far to look for what a change does beside.
#[derive(Clone, Copy)]
enum Look {
    /// To the first such thing.
    First,
    /// At everything.
    All,
}

/// What changes do beside what they are for.
struct Effect {
    opened: usize,
    opens: Vec<Opened>,
    closes: Vec<Opened>,
    complete: bool,
}

/// A change that is to be judged.
struct Made {
    object: Arc<Object>,
    patch: serde_json::Value,
    /// The whole text with it.
    text: String,
    /// The object's document alone.
    document: String,
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
    fn fix(&mut self, ask: &Ask) -> Option<Fix> {
        let before = self.zones.clone();
        let base = Reach::new(&before);
        let denied = denials(&base, ask)?;
        match denied.as_slice() {
            [] => None,
            [_] => {
                let (done, effect) = self.best(&base, ask, &denied)?;
                let parts = done.into_iter().map(|done| done.part).collect();
                Some(effect.of(parts))
            }
            _ => self.several(&base, ask, denied),
        }
    }

    /// Mends one place after another.
    fn several(&mut self, base: &Reach<'_>, ask: &Ask, mut denied: Vec<Decided>) -> Option<Fix> {
        let mut parts = Vec::new();
        for _ in 0..MOST_PARTS {
            let before = self.zones.clone();
            let reach = Reach::new(&before);
            for done in self.best(&reach, ask, &denied)?.0 {
                parts.push(done.part.clone());
                self.keep(done);
            }
            let reach = Reach::new(&self.zones);
            denied = denials(&reach, ask)?;
            if denied.is_empty() {
                return Some(self.measure(base, &reach, ask, None, Look::All).of(parts));
            }
        }
        None
    }

    /// The best of what could mend the first of these places, and what it does beside.
    fn best(
        &mut self,
        base: &Reach<'_>,
        ask: &Ask,
        denied: &[Decided],
    ) -> Option<(Vec<Done>, Effect)> {
        let first = denied.first()?;
        let owner = &base.acl(first)?.acl.owner;
        let denial = Denial::of(owner)?;
        let direction = owner.direction.unwrap_or(first.side);
        let objects = Objects {
            objects: &self.objects,
            options: self.options,
        };
        let near = Near::find(objects, ask, direction, &denial);
        let mut candidates = candidates(objects, ask, direction, &denial, &near);
        candidates.sort_by_key(|candidate| candidate.size);
        let mut helping = Vec::new();
        // None that comes later is smaller, and none can do less than nothing.
        for candidate in &candidates {
            let Some(tried) = self.try_one(base, ask, denied, direction, candidate, Look::First)
            else {
                continue;
            };
            if !tried.is_harmless() {
                helping.push(candidate);
            } else if let Some(done) = self.finished(tried.made, candidate, direction) {
                return Some((done, tried.effect));
            }
        }
        let mut tried: Vec<(&Candidate, Tried)> = Vec::new();
        for candidate in helping {
            let one = self.try_one(base, ask, denied, direction, candidate, Look::All);
            tried.extend(one.map(|one| (candidate, one)));
        }
        tried.sort_by_key(|(candidate, tried)| {
            (tried.may_close, tried.effect.opened, candidate.size)
        });
        tried.into_iter().find_map(|(candidate, tried)| {
            let done = self.finished(tried.made, candidate, direction)?;
            Some((done, tried.effect))
        })
    }

    fn try_one(
        &mut self,
        base: &Reach<'_>,
        ask: &Ask,
        denied: &[Decided],
        direction: Direction,
        candidate: &Candidate,
        look: Look,
    ) -> Option<Tried> {
        let steps = candidate.steps.iter();
        let made: Vec<Made> = steps.map(|step| self.make(step)).collect::<Option<_>>()?;
        for made in &made {
            self.compiler.put(made.object.clone());
        }
        self.compile();
        let effect = self.judge(base, ask, denied, direction, look);
        for made in &made {
            let key = &made.object.key;
            match self.objects.get(key) {
                Some(old) => self.compiler.put(old.clone()),
                None => self.compiler.remove(key),
            }
        }
        self.compile();
        let effect = effect?;
        let adds = |step: &Step| step.edits.iter().all(|edit| !edit.replace);
        let may = !effect.complete && !candidate.steps.iter().all(adds);
        Some(Tried {
            made,
            may_close: may || !effect.closes.is_empty(),
            effect,
        })
    }

    /// What the rows as they are now do beside, if they help.
    fn judge(
        &self,
        base: &Reach<'_>,
        ask: &Ask,
        denied: &[Decided],
        direction: Direction,
        look: Look,
    ) -> Option<Effect> {
        let reach = Reach::new(&self.zones);
        let left = denials(&reach, ask)?;
        let (first, rest) = denied.split_first()?;
        let same = |one: &Decided| {
            (one.pipeline, one.side, one.reply) == (first.pipeline, first.side, first.reply)
        };
        let helps = match rest.is_empty() {
            true => left.is_empty(),
            false => !left.iter().any(same) && left.len() < denied.len(),
        };
        let side = (!rest.is_empty()).then_some(direction);
        helps.then(|| self.measure(base, &reach, ask, side, look))
    }

    /// Compiles what was changed; the rows of the zones follow.
    fn compile(&mut self) {
        let delta = self.compiler.compile();
        for (name, zone) in self.names.iter().zip(&mut self.zones) {
            let of = |row: &Option<Arc<netverdict_policy::Row>>| {
                let row = row.as_ref().filter(|row| row.is_in(name))?;
                Some(in_zone(row, name))
            };
            let changes = delta.rows.iter().filter_map(|(old, new)| {
                let (old, new) = (of(old), of(new));
                let row = new.as_ref().or(old.as_ref()).filter(|_| old != new)?;
                Some(Change {
                    table: row.table().into(),
                    uuid: row.uuid(),
                    old,
                    new,
                })
            });
            zone.follow(&ChangeSet {
                time: 0,
                cause: Cause::Transaction,
                transaction: None,
                changes: changes.collect(),
            });
        }
    }

    /// What is open otherwise than before.
    fn measure(
        &self,
        base: &Reach<'_>,
        after: &Reach<'_>,
        ask: &Ask,
        side: Option<Direction>,
        look: Look,
    ) -> Effect {
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
        let touched = space.touched(base, after);
        let is_touched = |class: usize| touched.get(class) == Some(&true);
        let many = touched.iter().filter(|touched| **touched).count();
        let complete = 2 * many * classes * space.slots().len() <= MOST_CELLS;
        let is_asked = |one, other| {
            let is_end = Some(one) == from || Some(other) == to;
            (complete || is_end) && (is_touched(one) || is_touched(other))
        };
        let mut effect = Effect {
            opened: 0,
            opens: Vec::new(),
            closes: Vec::new(),
            complete,
        };
        differences(base, after, &space, side, is_asked, &mut |mut differs| {
            let (one, other) = (differs.from, differs.to);
            let is_it = from.is_none_or(|from| from == one) && to.is_none_or(|to| to == other);
            differs.opened.retain(|slot| {
                let slot = space.slots().get(*slot);
                !(is_it && slot.is_some_and(|slot| belongs(ask.transport, slot.transport)))
            });
            effect.opened += differs.opened.len() * space.pairs(one, other);
            for (slots, list) in [
                (differs.opened, &mut effect.opens),
                (differs.closed, &mut effect.closes),
            ] {
                let names = [one, other].map(|class| space.classes().get(class));
                if let ([Some(from), Some(to)], false) = (names, slots.is_empty()) {
                    list.push(Opened {
                        from: from.name.clone(),
                        to: to.name.clone(),
                        ports: space.ports(&slots),
                    });
                }
            }
            match look {
                Look::First if !effect.is_none() => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
        effect
    }

    /// Makes a change in the text of its object, and reads the document back.
    fn make(&self, step: &Step) -> Option<Made> {
        if let Some(data) = &step.new {
            let text = data.document();
            return Some(Made {
                object: Arc::new(only(&text, &step.object)?),
                patch: serde_json::from_str(&data.json()).ok()?,
                document: text.clone(),
                text,
            });
        }
        let object = self.objects.get(&step.object)?;
        let span = object.meta.span;
        let text = self.sources.text(span.file)?;
        // Other documents of a long text do not change.
        let document = document(text, span.start as usize);
        let (before, after) = (text.get(..document.start)?, text.get(document.end..)?);
        let shift = u32::try_from(document.start).ok()?;
        let place = Span {
            start: span.start.checked_sub(shift)?,
            end: span.end.checked_sub(shift)?,
            ..span
        };
        let edited = edit(text.get(document)?, place, &step.edits)?;
        let reading = read(span.file, &edited.text);
        let mut errors = reading.diagnostics.iter();
        if errors.any(|one| one.severity == Severity::Error) {
            return None;
        }
        let mut objects = reading.objects.into_iter();
        let new = objects.find(|new| new.key == step.object)?;
        let operations = edited.patch.iter().map(|(op, path, value)| {
            let value: serde_json::Value = serde_json::from_str(&value.json()).ok()?;
            Some(serde_json::json!({"op": op, "path": path, "value": value}))
        });
        let patch: Option<Vec<_>> = operations.collect();
        Some(Made {
            object: self.merged(new, &step.object)?,
            patch: patch?.into(),
            text: [before, &edited.text, after].concat(),
            document: edited.text,
        })
    }

    /// The steps of a candidate that helps.
    fn finished(
        &self,
        made: Vec<Made>,
        candidate: &Candidate,
        direction: Direction,
    ) -> Option<Vec<Done>> {
        let steps = candidate.steps.iter().zip(made);
        steps
            .map(|(step, made)| self.finish(step, made, direction))
            .collect()
    }

    /// Reads all of the text of a change that helps.
    fn finish(&self, step: &Step, made: Made, direction: Direction) -> Option<Done> {
        let part = |diff, is_new| Part {
            direction,
            object: step.object.clone(),
            is_new,
            what: step.what.clone(),
            diff,
            text: made.document,
            patch: made.patch,
        };
        if step.new.is_some() {
            return Some(Done {
                part: part(made.text, true),
                objects: vec![made.object],
                file: None,
            });
        }
        let file = self.objects.get(&step.object)?.meta.span.file;
        let (name, old) = (self.sources.name(file)?, self.sources.text(file)?);
        let objects = read(file, &made.text).objects.into_iter();
        let objects = objects.filter_map(|new| self.merged(new, &step.object));
        let mut objects: Vec<Arc<Object>> = objects.collect();
        objects.sort_by_key(|object| object.key != step.object);
        if objects
            .first()
            .is_none_or(|object| object.key != step.object)
        {
            return None;
        }
        Some(Done {
            part: part(diff::unified(name, old, &made.text), false),
            objects,
            file: Some((file, made.text)),
        })
    }

    /// An object as it was read back, with what was assumed of it; `changed` is the one that was changed.
    fn merged(&self, new: Object, changed: &Key) -> Option<Arc<Object>> {
        let old = self.objects.get(&new.key)?;
        if old.meta.span.file != new.meta.span.file {
            return None;
        }
        let mut merged = new;
        if merged.key.kind == Kind::Pod {
            merged = Object {
                meta: merged.meta,
                ..(**old).clone()
            };
            merged.meta.annotations.clone_from(&old.meta.annotations);
        } else if merged.key != *changed {
            merged = Object {
                meta: netverdict_manifest::Meta {
                    span: merged.meta.span,
                    ..old.meta.clone()
                },
                spec: if merged.key.kind.is_policy() {
                    merged.spec
                } else {
                    old.spec.clone()
                },
                key: merged.key,
            };
        }
        Some(Arc::new(merged))
    }

    /// Goes on from a change.
    fn keep(&mut self, done: Done) {
        for object in done.objects {
            self.changed.insert(object.key.clone());
            self.compiler.put(object.clone());
            self.objects.insert(object.key.clone(), object);
        }
        self.compile();
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
        self.compile();
    }
}

impl Effect {
    /// Whether there is none, as far as was looked.
    fn is_none(&self) -> bool {
        self.opened == 0 && self.closes.is_empty()
    }

    fn of(self, parts: Vec<Part>) -> Fix {
        Fix {
            parts,
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

/// The document that a place is in, as YAML parts documents; where that is not so, it does not read as its object.
pub fn document(text: &str, place: usize) -> Range<usize> {
    const MARK: &str = "\n---";
    let (before, after) = text.split_at_checked(place).unwrap_or((text, ""));
    let start = before.rfind(MARK).map_or(0, |mark| mark + 1);
    let end = after.find(MARK).map_or(text.len(), |mark| place + mark + 1);
    start..end
}

/// The one object of a text.
fn only(text: &str, key: &Key) -> Option<Object> {
    let mut objects = read(netverdict_manifest::FileId::default(), text).objects;
    let object = objects.pop()?;
    (objects.is_empty() && object.key == *key).then_some(object)
}
