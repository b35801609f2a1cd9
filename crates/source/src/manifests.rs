//! Names from manifests: what `kubectl get … -o yaml` or `-o json` wrote.

use std::fmt;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use netverdict_manifest::Kind;
use netverdict_verdict::{Endpoints, NameChange};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use crate::kubernetes::{KINDS, Object, Table};

mod files;
mod raw;
mod watch;

pub use files::{Error, Files};

/// Names from files: Pods, Nodes, Services and NetworkAttachmentDefinitions, single or in lists,
/// any number of documents in a file, YAML or JSON. Other kinds are passed over.
///
/// `kubectl get pods,nodes,services -A -o yaml` writes such a file; with
/// `network-attachment-definitions` behind it the networks of ClusterUserDefinedNetworks are
/// known, too.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use std::ops::ControlFlow;
/// use netverdict_source::manifests::Manifests;
/// use netverdict_verdict::{Endpoints, Names};
///
/// let manifests = Manifests::read(["cluster.yaml"])?;
/// for problem in manifests.problems() {
///     eprintln!("{problem}");
/// }
/// let mut names = Names::default();
/// Box::new(manifests).run(&mut |changes| {
///     changes.into_iter().for_each(|change| names.learn(change));
///     ControlFlow::Continue(())
/// })?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Manifests {
    table: Table,
    problems: Vec<Problem>,
    objects: usize,
    others: usize,
}

/// A document or object that makes no sense. Its neighbours are not harmed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The document in the file, counted from 1; `None` for the whole file.
    pub document: Option<usize>,
    /// The line in the file, counted from 1, where it is known.
    pub line: Option<u64>,
    /// What is wrong.
    pub fault: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(document) = self.document {
            write!(f, " (document {document})")?;
        }
        write!(f, ": {}", self.fault)
    }
}

impl Manifests {
    /// Reads files, and in directories, however deep, all files that end in `.yaml`, `.yml` or
    /// `.json`, in the order of their names.
    ///
    /// # Errors
    /// When a path of `paths` itself cannot be read. Everything else is a [`Problem`].
    pub fn read<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self, Error> {
        let mut manifests = Self::default();
        for path in paths {
            let path = path.as_ref();
            let fail = |error| Error::Read {
                path: path.to_owned(),
                error,
            };
            if fs::metadata(path).map_err(fail)?.is_dir() {
                manifests.directory(path).map_err(fail)?;
            } else {
                manifests.file(path, &fs::read(path).map_err(fail)?);
            }
        }
        Ok(manifests)
    }

    /// What makes no sense.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many objects can tell names.
    pub fn objects(&self) -> usize {
        self.objects
    }

    /// How many objects were passed over because of their kind.
    pub fn others(&self) -> usize {
        self.others
    }

    fn directory(&mut self, path: &Path) -> io::Result<()> {
        let mut entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            // A link to a directory could lead back to here.
            let done = if entry.file_type()?.is_dir() {
                self.directory(&path)
            } else if format_of(&path).is_some() && path.is_file() {
                fs::read(&path).map(|bytes| self.file(&path, &bytes))
            } else {
                Ok(())
            };
            if let Err(error) = done {
                self.problems.push(Problem {
                    file: path,
                    document: None,
                    line: None,
                    fault: error.to_string(),
                });
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, bytes: &[u8]) {
        let is_json = bytes.trim_ascii_start().first() == Some(&b'{');
        let format = format_of(path).unwrap_or(if is_json { Format::Json } else { Format::Yaml });
        let mut file = File {
            manifests: self,
            path,
            document: 0,
        };
        match format {
            Format::Yaml => file.yaml(bytes),
            Format::Json => file.json(bytes),
        }
    }
}

impl Endpoints for Manifests {
    fn run(
        mut self: Box<Self>,
        take: &mut dyn FnMut(Vec<NameChange>) -> ControlFlow<()>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // There is nothing more to come, whether or not the taker wants more.
        let _ = take(self.table.changes());
        Ok(())
    }
}

enum Format {
    Yaml,
    Json,
}

fn format_of(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "yaml" | "yml" => Some(Format::Yaml),
        "json" => Some(Format::Json),
        _ => None,
    }
}

/// A file as it is read.
struct File<'a> {
    manifests: &'a mut Manifests,
    path: &'a Path,
    document: usize,
}

impl File<'_> {
    fn yaml(&mut self, bytes: &[u8]) {
        for (first_line, document) in documents(bytes) {
            let text = match std::str::from_utf8(document) {
                Ok(text) => text,
                Err(error) => {
                    self.document += 1;
                    let before = &document[..error.valid_up_to()];
                    self.fault(Some(first_line + lines(before)), "no UTF-8".to_owned());
                    continue;
                }
            };
            let Some(void) = text.lines().position(|line| !is_void(line)) else {
                continue;
            };
            self.document += 1;
            match serde_saphyr::from_str_with_options(text, options(text.len())) {
                Ok(Tree::<Spanned<Item>> { head, items }) => {
                    let items = items.map(|items| {
                        let line = |item: &Spanned<Item>| first_line + item.referenced.line() - 1;
                        let items = items.into_iter();
                        items.map(|item| (line(&item), Ok(item.value))).collect()
                    });
                    self.tree(first_line + void as u64, head, items);
                }
                Err(error) => {
                    let line = error.location().map(|place| first_line + place.line() - 1);
                    self.fault(line, without_place(error.without_snippet()));
                }
            }
        }
    }

    fn json(&mut self, bytes: &[u8]) {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let line = 1 + lines(&bytes[..error.valid_up_to()]);
                self.fault(Some(line), "no UTF-8".to_owned());
                return;
            }
        };
        let mut start = 0;
        while !text[start..].trim_start().is_empty() {
            start = text.len() - text[start..].trim_start().len();
            self.document += 1;
            let mut stream = serde_json::Deserializer::from_str(&text[start..]).into_iter();
            let first_line = 1 + lines(&bytes[..start]);
            match stream.next() {
                Some(Ok(Tree::<&RawValue> { head, items })) => {
                    let items = items.map(|items| self.raw_items(text, items));
                    self.tree(first_line, head, items);
                    start += stream.byte_offset();
                }
                Some(Err(error)) => {
                    let line = first_line + (error.line() as u64).saturating_sub(1);
                    self.fault(Some(line), without_place(&error));
                    // The next document can begin on a line of its own only.
                    match text[start..].find("\n{") {
                        Some(at) => start += at + 1,
                        None => return,
                    }
                }
                None => return,
            }
        }
    }

    fn raw_items(&self, text: &str, items: Vec<&RawValue>) -> Vec<(u64, Result<Item, String>)> {
        let mut line = 1;
        let mut told = 0;
        let of_item = |item: &RawValue| {
            // The item is a part of the text.
            let at = (item.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
            line += lines(text.as_bytes().get(told..at).unwrap_or_default());
            told = at;
            let value = serde_json::from_str(item.get()).map_err(|error| error.to_string());
            (line, value)
        };
        items.into_iter().map(of_item).collect()
    }

    /// Takes a document: an object, or a list of them.
    fn tree(
        &mut self,
        line: u64,
        head: Map<String, Value>,
        items: Option<Vec<(u64, Result<Item, String>)>>,
    ) {
        let Some(items) = items else {
            return self.object(line, None, Item::of(Value::Object(head)));
        };
        // An API server leaves out the kind of the items of a PodList; kubectl does not.
        let kind = head.get("kind").and_then(Value::as_str);
        let of_items = kind.and_then(|kind| kind.strip_suffix("List"));
        for (line, item) in items {
            match item {
                Ok(item) => self.object(line, of_items, item),
                Err(fault) => self.fault(Some(line), fault),
            }
        }
    }

    fn object(&mut self, line: u64, of_list: Option<&str>, item: Item) {
        let (kind, object) = match item {
            Item::Known(kind, object) => (kind, *object),
            Item::Other => {
                self.manifests.others += 1;
                return;
            }
            Item::Bare(mut value) => {
                return match (of_list.filter(|kind| !kind.is_empty()), &mut value) {
                    (Some(kind), Value::Object(fields)) => {
                        fields.insert("kind".to_owned(), kind.into());
                        self.object(line, None, Item::of(value));
                    }
                    _ => self.fault(Some(line), "an object without a kind".to_owned()),
                };
            }
        };
        let object = match object {
            Ok(object) => object,
            Err(fault) => return self.fault(Some(line), format!("{}: {fault}", kind.as_str())),
        };
        let Some(key) = object.key(kind) else {
            return self.fault(Some(line), format!("a {} without a name", kind.as_str()));
        };
        let facts = object.facts(kind);
        for fault in &facts.faults {
            self.fault(Some(line), format!("{key}: {fault}"));
        }
        self.manifests.objects += 1;
        self.manifests.table.put(key, facts);
    }

    fn fault(&mut self, line: Option<u64>, fault: String) {
        self.manifests.problems.push(Problem {
            file: self.path.to_owned(),
            document: (self.document > 0).then_some(self.document),
            line,
            fault,
        });
    }
}

/// An object, cut down to what tells names as soon as it is read: a list may hold many.
enum Item {
    Known(Kind, Box<Result<Object, String>>),
    /// Of a kind that tells no names.
    Other,
    /// Without a kind.
    Bare(Value),
}

impl Item {
    fn of(value: Value) -> Self {
        match value.get("kind").and_then(Value::as_str).map(Kind::parse) {
            Some(Some(kind)) if KINDS.contains(&kind) => {
                let object = Object::deserialize(value).map_err(|error| error.to_string());
                Self::Known(kind, Box::new(object))
            }
            Some(_) => Self::Other,
            None => Self::Bare(value),
        }
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::of)
    }
}

/// A document: everything but `items`, and the items of a list, where it has some.
struct Tree<T> {
    head: Map<String, Value>,
    items: Option<Vec<T>>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Tree<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TreeVisitor<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for TreeVisitor<T> {
            type Value = Tree<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of Kubernetes")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree<T>, A::Error> {
                let mut tree = Tree {
                    head: Map::new(),
                    items: None,
                };
                while let Some(key) = map.next_key::<String>()? {
                    if key == "items" {
                        if tree.items.is_some() {
                            return Err(de::Error::duplicate_field("items"));
                        }
                        tree.items = map.next_value()?;
                    } else {
                        tree.head.insert(key, map.next_value()?);
                    }
                }
                Ok(tree)
            }
        }

        deserializer.deserialize_map(TreeVisitor(std::marker::PhantomData))
    }
}

/// Bounds that no honest document reaches: every event of YAML takes a byte of text at least, and
/// what aliases repeat is bounded by itself.
fn options(length: usize) -> serde_saphyr::Options {
    let budget = serde_saphyr::Budget::default();
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: budget.max_events.max(length.saturating_mul(2)),
            max_nodes: budget.max_nodes.max(length),
            max_total_scalar_bytes: budget.max_total_scalar_bytes.max(length),
        },
        // A namespace may be called `n` or `off`.
        strict_booleans: true,
    }
}

/// The documents of a YAML file, each with the number of its first line. A line that begins with
/// `---` ends a document wherever it stands (YAML 1.2.2, section 9.1.2), so that one that makes no
/// sense does not hide the next.
fn documents(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut found = Vec::new();
    let (mut start, mut first_line, mut at) = (0, 1, 0);
    for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let rest = line.strip_prefix(b"---");
        if rest
            .is_some_and(|rest| matches!(rest.first(), None | Some(b' ' | b'\t' | b'\r' | b'\n')))
        {
            found.push((first_line, &bytes[start..at]));
            (start, first_line) = (at, number);
        }
        at += line.len();
    }
    found.push((first_line, &bytes[start..]));
    found.into_iter()
}

/// True for a line of a document that says nothing.
fn is_void(line: &str) -> bool {
    let line = line.strip_prefix("---").unwrap_or(line).trim();
    line.is_empty() || line.starts_with('#') || line == "..."
}

/// What a parser says, without its line, which is counted from the document's first.
fn without_place(error: &impl ToString) -> String {
    let mut fault = error.to_string();
    if let Some(at) = fault.rfind(" at line ") {
        fault.truncate(at);
    }
    fault
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}
