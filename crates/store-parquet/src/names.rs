//! What many rows share, kept once and named by a number.
//!
//! Rows hold *codes*: places in these tables; code 0 is nothing. So a row costs four bytes for
//! the two dozen columns of a ruling, and a question about them is asked once for each ruling.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, FixedSizeBinaryBuilder, Int64Array, StringArray,
};
use netverdict_query::Value;
use netverdict_store::{COLUMNS, From, HalfJson, RulingJson, Type};
use netverdict_types::{Direction, Endpoint, Half, Ruling, Service};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Tables of shared things; entry `n` has code `n + 1`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) words: Vec<Arc<str>>,
    pub(crate) ends: Vec<Arc<Endpoint>>,
    pub(crate) services: Vec<Arc<Service>>,
    pub(crate) rulings: Vec<Arc<Ruling>>,
    columns: OnceLock<Vec<OnceLock<ArrayRef>>>,
}

/// Which table a code belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Table {
    Words,
    Ends,
    Services,
    Rulings,
}

impl Names {
    pub(crate) fn word(&self, code: u32) -> Option<&Arc<str>> {
        entry(&self.words, code)
    }

    pub(crate) fn end(&self, code: u32) -> Option<&Arc<Endpoint>> {
        entry(&self.ends, code)
    }

    pub(crate) fn service(&self, code: u32) -> Option<&Arc<Service>> {
        entry(&self.services, code)
    }

    pub(crate) fn ruling(&self, code: u32) -> Option<&Arc<Ruling>> {
        entry(&self.rulings, code)
    }

    /// How many codes a table has, 0 among them.
    pub(crate) fn codes(&self, table: Table) -> usize {
        1 + match table {
            Table::Words => self.words.len(),
            Table::Ends => self.ends.len(),
            Table::Services => self.services.len(),
            Table::Rulings => self.rulings.len(),
        }
    }

    /// The values of a column of the store's table for each code.
    pub(crate) fn column(&self, column: usize) -> ArrayRef {
        let columns = self
            .columns
            .get_or_init(|| COLUMNS.iter().map(|_| OnceLock::new()).collect());
        columns[column]
            .get_or_init(|| {
                let kind = COLUMNS[column].kind;
                match COLUMNS[column].from {
                    From::Src(value) | From::Dst(value) => array(kind, &self.ends, |it| value(it)),
                    From::Service(value) => array(kind, &self.services, |it| value(it)),
                    From::Egress(value) | From::Ingress(value) => {
                        array(kind, &self.rulings, |it| value(it))
                    }
                    From::Row(_) | From::Rest => array(kind, &self.words, |it| Value::Text(it)),
                }
            })
            .clone()
    }

    /// Adds what was written by [`Interner::added`].
    pub(crate) fn add(&mut self, line: &[u8]) -> Result<(), serde_json::Error> {
        self.push(serde_json::from_slice::<Entry>(line)?.into());
        self.columns = OnceLock::new();
        Ok(())
    }

    /// All entries, one a line.
    pub(crate) fn lines(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut out = Vec::new();
        let mut line = |entry: &EntryRef<'_>| -> Result<(), serde_json::Error> {
            serde_json::to_writer(&mut out, entry)?;
            out.push(b'\n');
            Ok(())
        };
        for it in &self.words {
            line(&EntryRef::Word(it))?;
        }
        for it in &self.ends {
            line(&EntryRef::End(it))?;
        }
        for it in &self.services {
            line(&EntryRef::Service(it))?;
        }
        for it in &self.rulings {
            line(&EntryRef::Ruling(Box::new((&**it).into())))?;
        }
        Ok(out)
    }

    /// The reverse of [`lines`](Self::lines); what was read before is shared.
    pub(crate) fn of_lines(lines: &[u8], pool: &Pool) -> Result<Self, serde_json::Error> {
        let mut names = Self::default();
        let mut pool = pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        for line in split(lines) {
            let entry = match pool.entries.get(line) {
                Some(entry) => entry.clone(),
                None => {
                    let entry = Shared::from(serde_json::from_slice::<Entry>(line)?);
                    pool.entries.insert(line.into(), entry.clone());
                    entry
                }
            };
            names.push(entry);
        }
        pool.trim();
        Ok(names)
    }

    fn push(&mut self, entry: Shared) {
        match entry {
            Shared::Word(it) => self.words.push(it),
            Shared::End(it) => self.ends.push(it),
            Shared::Service(it) => self.services.push(it),
            Shared::Ruling(it) => self.rulings.push(it),
        }
    }

    /// The reverse of [`lines`](Self::lines), and of what was [added](Interner::added).
    pub(crate) fn read(&mut self, lines: &[u8]) -> Result<(), serde_json::Error> {
        split(lines).try_for_each(|line| self.add(line))
    }
}

fn split(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
}

/// Entries by how they are written. Segments have most of theirs in common: they are read once, and
/// are in memory once.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    entries: HashMap<Box<[u8]>, Shared, foldhash::fast::RandomState>,
    /// How many were in use when those that nobody uses were forgotten.
    used: usize,
}

impl Entries {
    fn trim(&mut self) {
        if self.entries.len() > 2 * self.used + POOLED {
            self.entries.retain(|_, entry| entry.is_used());
            self.entries.shrink_to_fit();
            self.used = self.entries.len();
        }
    }
}

/// So many entries are kept without asking who uses them.
const POOLED: usize = 1 << 16;

#[derive(Clone, Debug)]
enum Shared {
    Word(Arc<str>),
    End(Arc<Endpoint>),
    Service(Arc<Service>),
    Ruling(Arc<Ruling>),
}

impl Shared {
    /// True where somebody else holds it.
    fn is_used(&self) -> bool {
        let holders = match self {
            Self::Word(it) => Arc::strong_count(it),
            Self::End(it) => Arc::strong_count(it),
            Self::Service(it) => Arc::strong_count(it),
            Self::Ruling(it) => Arc::strong_count(it),
        };
        holders > 1
    }
}

impl std::convert::From<Entry> for Shared {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Word(it) => Self::Word(it.into()),
            Entry::End(it) => Self::End(Arc::new(it)),
            Entry::Service(it) => Self::Service(Arc::new(it)),
            Entry::Ruling(it) => Self::Ruling(Arc::new((*it).into())),
        }
    }
}

fn entry<T>(table: &[T], code: u32) -> Option<&T> {
    (code as usize)
        .checked_sub(1)
        .and_then(|place| table.get(place))
}

fn array<T>(kind: Type, entries: &[T], value: impl Fn(&T) -> Value<'_>) -> ArrayRef {
    let values = std::iter::once(Value::Missing).chain(entries.iter().map(value));
    values_array(kind, values)
}

/// An array of the values of a column.
pub(crate) fn values_array<'a>(kind: Type, values: impl Iterator<Item = Value<'a>>) -> ArrayRef {
    match kind {
        Type::Word | Type::Text => Arc::new(
            values
                .map(|value| match value {
                    Value::Text(text) => Some(text),
                    _ => None,
                })
                .collect::<StringArray>(),
        ),
        Type::Number | Type::Time => Arc::new(
            values
                .map(|value| match value {
                    Value::Number(number) => Some(number),
                    Value::Flags(flags) => Some(flags.0.into()),
                    _ => None,
                })
                .collect::<Int64Array>(),
        ),
        Type::Bool => Arc::new(
            values
                .map(|value| match value {
                    Value::Bool(truth) => Some(truth),
                    _ => None,
                })
                .collect::<BooleanArray>(),
        ),
        Type::Ip | Type::Uuid | Type::Id => {
            let mut out = FixedSizeBinaryBuilder::new(16);
            for value in values {
                let bytes = match value {
                    Value::Ip(ip) => Some(crate::row::ip_bytes(ip)),
                    Value::Uuid(uuid) => Some(*uuid.as_bytes()),
                    _ => None,
                };
                match bytes {
                    // The width is right: there is nothing to fail.
                    Some(bytes) => drop(out.append_value(bytes)),
                    None => out.append_null(),
                }
            }
            Arc::new(out.finish())
        }
    }
}

/// Gives codes to what it sees, by pointer first and by content where the pointer is new.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    pub(crate) names: Names,
    words: ByPointer<str>,
    ends: ByPointer<Endpoint>,
    services: ByPointer<Service>,
    rulings: ByPointer<Ruling>,
    by_word: HashMap<Arc<str>, u32, foldhash::fast::RandomState>,
    by_end: HashMap<Arc<Endpoint>, u32, foldhash::fast::RandomState>,
    by_service: HashMap<Arc<Service>, u32, foldhash::fast::RandomState>,
    by_ruling: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
    added: Vec<u8>,
    failed: Option<serde_json::Error>,
}

/// Pointers that were seen. They are held, so that none is given to another thing.
type ByPointer<T> = HashMap<usize, (Arc<T>, u32), foldhash::fast::RandomState>;

/// So many pointers are remembered; then they are forgotten and learnt again.
const POINTERS: usize = 1 << 20;

impl Interner {
    pub(crate) fn word(&mut self, word: Option<&Arc<str>>) -> u32 {
        let Some(word) = word else { return 0 };
        let at = Arc::as_ptr(word).cast::<u8>() as usize;
        if let Some((_, code)) = self.words.get(&at) {
            return *code;
        }
        let code = by_content(&mut self.by_word, &mut self.names.words, word, || {
            note(&mut self.added, &mut self.failed, &EntryRef::Word(word));
        });
        remember(&mut self.words, at, word, code);
        code
    }

    pub(crate) fn end(&mut self, end: Option<&Arc<Endpoint>>) -> u32 {
        let Some(end) = end else { return 0 };
        let at = Arc::as_ptr(end) as usize;
        if let Some((_, code)) = self.ends.get(&at) {
            return *code;
        }
        let code = by_content(&mut self.by_end, &mut self.names.ends, end, || {
            note(&mut self.added, &mut self.failed, &EntryRef::End(end));
        });
        remember(&mut self.ends, at, end, code);
        code
    }

    pub(crate) fn service(&mut self, service: Option<&Arc<Service>>) -> u32 {
        let Some(service) = service else { return 0 };
        let at = Arc::as_ptr(service) as usize;
        if let Some((_, code)) = self.services.get(&at) {
            return *code;
        }
        let code = by_content(
            &mut self.by_service,
            &mut self.names.services,
            service,
            || {
                note(
                    &mut self.added,
                    &mut self.failed,
                    &EntryRef::Service(service),
                );
            },
        );
        remember(&mut self.services, at, service, code);
        code
    }

    pub(crate) fn ruling(&mut self, ruling: Option<&Arc<Ruling>>) -> u32 {
        let Some(ruling) = ruling else { return 0 };
        let at = Arc::as_ptr(ruling) as usize;
        if let Some((_, code)) = self.rulings.get(&at) {
            return *code;
        }
        let shared = shared(ruling);
        let said = RulingJson::from(&shared);
        let text = match serde_json::to_vec(&said) {
            Ok(text) => text,
            Err(error) => {
                self.failed = Some(error);
                return 0;
            }
        };
        let code = match self.by_ruling.get(&text[..]) {
            Some(code) => *code,
            None => {
                note(
                    &mut self.added,
                    &mut self.failed,
                    &EntryRef::Ruling(Box::new(said)),
                );
                self.names.rulings.push(Arc::new(shared));
                let code = self.names.rulings.len() as u32;
                self.by_ruling.insert(text.into(), code);
                code
            }
        };
        remember(&mut self.rulings, at, ruling, code);
        code
    }

    /// The entries that are new since this was last called, one a line.
    pub(crate) fn added(&mut self) -> Result<Vec<u8>, serde_json::Error> {
        if !self.added.is_empty() {
            self.names.columns = OnceLock::new();
        }
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut self.added)),
        }
    }
}

/// What zones have in common of a ruling: the row's own identity and revision stand in the columns
/// of each connection. That there is an identity is kept, as the nil one.
fn shared(ruling: &Ruling) -> Ruling {
    Ruling {
        uuid: ruling.uuid.map(|_| Uuid::nil()),
        revision: None,
        ..ruling.clone()
    }
}

fn by_content<T: ?Sized + Eq + Hash>(
    codes: &mut HashMap<Arc<T>, u32, foldhash::fast::RandomState>,
    table: &mut Vec<Arc<T>>,
    thing: &Arc<T>,
    note: impl FnOnce(),
) -> u32 {
    if let Some(code) = codes.get(thing) {
        return *code;
    }
    note();
    table.push(thing.clone());
    let code = table.len() as u32;
    codes.insert(thing.clone(), code);
    code
}

fn remember<T: ?Sized>(seen: &mut ByPointer<T>, at: usize, thing: &Arc<T>, code: u32) {
    if seen.len() >= POINTERS {
        seen.clear();
    }
    seen.insert(at, (thing.clone(), code));
}

fn note(added: &mut Vec<u8>, failed: &mut Option<serde_json::Error>, entry: &EntryRef<'_>) {
    match serde_json::to_writer(&mut *added, entry) {
        Ok(()) => added.push(b'\n'),
        Err(error) => *failed = Some(error),
    }
}

#[derive(Serialize)]
enum EntryRef<'a> {
    #[serde(rename = "w")]
    Word(&'a str),
    #[serde(rename = "e")]
    End(&'a Endpoint),
    #[serde(rename = "s")]
    Service(&'a Service),
    #[serde(rename = "r")]
    Ruling(Box<RulingJson>),
}

#[derive(Deserialize)]
enum Entry {
    #[serde(rename = "w")]
    Word(String),
    #[serde(rename = "e")]
    End(Endpoint),
    #[serde(rename = "s")]
    Service(Service),
    #[serde(rename = "r")]
    Ruling(Box<RulingJson>),
}

/// A half as it is written where columns cannot hold it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Told {
    direction: Direction,
    #[serde(flatten)]
    half: HalfJson,
}

impl Told {
    pub(crate) fn of(direction: Direction, half: &Half) -> Self {
        Self {
            direction,
            half: half.into(),
        }
    }

    pub(crate) fn half(self) -> (Direction, Half) {
        (self.direction, self.half.into())
    }
}
