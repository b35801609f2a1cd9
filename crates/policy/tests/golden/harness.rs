//! Reads a fixture, compiles it, and gives its rows as JSON.
//!
//! A fixture is a YAML file whose head is comments: `# word: values`, continued by lines that
//! begin with `#   `. What the words mean is said at [`Fixture`].

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use netverdict_manifest::{Cidr, Diagnostic, FileId, read};
use netverdict_ovsdb::{Atom, Datum};
use netverdict_policy::{Compat, Compiler, Options, Row};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// A file with manifests and how to compile them.
pub struct Fixture {
    pub name: String,
    pub path: PathBuf,
    pub text: String,
    /// Words before the manifests: `options` are those of the compiler; `tables`, `owners`
    /// (owner types), `zones` and `keys` (how keys begin) narrow what is compared; `says` are codes
    /// of warnings and errors that must be told, `allow` of those that may be.
    head: BTreeMap<String, String>,
}

/// What became of a fixture.
pub struct Compiled {
    /// What is told, of reading and of compiling.
    pub diagnostics: Vec<Diagnostic>,
    /// All rows of all zones, ordered by zone, table and key.
    pub rows: Vec<Value>,
}

impl Fixture {
    /// All fixtures of a directory beside the tests, by name.
    pub fn all(directory: &str) -> Vec<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(directory);
        let mut paths: Vec<PathBuf> = fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
            .map(|entry| entry.expect("a directory entry").path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "yaml")
            })
            .collect();
        paths.sort();
        paths.into_iter().map(Self::read).collect()
    }

    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).expect("a fixture");
        Self::of(path, text)
    }

    /// A fixture of this text.
    pub fn of(path: impl Into<PathBuf>, text: String) -> Self {
        let path = path.into();
        let mut head: BTreeMap<String, String> = BTreeMap::new();
        let mut last = String::new();
        for line in text.lines().take_while(|line| line.starts_with('#')) {
            if let Some(more) = line.strip_prefix("#   ") {
                let value = head.get_mut(&last).expect("a word before its continuation");
                value.push(' ');
                value.push_str(more);
            } else if let Some((word, value)) = line[1..].split_once(": ") {
                last = word.trim().to_owned();
                head.insert(last.clone(), value.trim().to_owned());
            }
        }
        Self {
            name: path.file_stem().expect("a name").to_string_lossy().into(),
            path,
            text,
            head,
        }
    }

    /// The values of a word, none if it is not there.
    pub fn words(&self, word: &str) -> Vec<&str> {
        let line = self.head.get(word).map(String::as_str);
        line.unwrap_or_default().split_whitespace().collect()
    }

    fn options(&self) -> Options {
        let mut options = Options {
            sampling: false,
            multicast: false,
            host_network_namespace: String::new(),
            ..Options::default()
        };
        for word in self.words("options") {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "cluster-subnet" => options.cluster_subnets = value.split(',').map(cidr).collect(),
                "compat" if value == "strict" => options.compat = Compat::Strict,
                "sampling" => options.sampling = value == "on",
                "multicast" => options.multicast = true,
                "icmp" => options.allow_icmp = true,
                "stateless" => options.stateless = true,
                "host-network-namespace" => options.host_network_namespace = value.to_owned(),
                _ => panic!("{}: unknown option {word}", self.path.display()),
            }
        }
        options
    }

    /// Compiles it with the options of its head.
    pub fn compile_as_told(&self) -> Compiled {
        self.compile(self.options())
    }

    pub fn compile(&self, options: Options) -> Compiled {
        let reading = read(FileId(0), &self.text);
        assert!(
            reading.passed_over.is_empty(),
            "{}: passed over {:?}",
            self.name,
            reading.passed_over
        );
        let mut diagnostics = reading.diagnostics;
        let mut compiler = Compiler::new(options);
        for object in reading.objects {
            compiler.put(object);
        }
        compiler.compile();
        diagnostics.extend(compiler.diagnostics().cloned());
        Compiled {
            diagnostics,
            rows: rows(&compiler, &self.name),
        }
    }

    /// True if the fixture is about this row.
    pub fn is_about(&self, row: &Value) -> bool {
        let column = |name: &str| row["columns"]["external_ids"][name].as_str().unwrap_or("");
        let text = |name: &str| row[name].as_str().unwrap_or("");
        let among = |word: &str, value: &str| {
            let words = self.words(word);
            words.is_empty() || words.contains(&value)
        };
        let keys = self.words("keys");
        let owner = column("k8s.ovn.org/owner-type");
        among("tables", text("table"))
            && (owner.is_empty() || among("owners", owner))
            && among("zones", text("zone"))
            && (keys.is_empty() || keys.iter().any(|key| text("key").starts_with(key)))
    }
}

fn cidr(text: &str) -> Cidr {
    let (address, prefix) = text.split_once('/').expect("a CIDR");
    Cidr {
        address: address.parse().expect("an address"),
        prefix: prefix.parse().expect("a prefix length"),
    }
}

fn rows(compiler: &Compiler, name: &str) -> Vec<Value> {
    let names: HashMap<Uuid, Arc<str>> = compiler
        .rows()
        .map(|row| (row.uuid, row.key.clone()))
        .collect();
    let mut rows: Vec<(Arc<str>, &Row)> = compiler
        .zones()
        .into_iter()
        .flat_map(|zone| {
            let there = compiler.rows().filter(|row| row.is_in(&zone));
            there.map(|row| (zone.clone(), row)).collect::<Vec<_>>()
        })
        .collect();
    rows.sort_by_key(|(zone, row)| (zone.clone(), row.table.as_str(), row.key.clone()));
    rows.into_iter()
        .map(|(zone, row)| {
            let columns: Map<String, Value> = row
                .columns_in(&zone)
                .into_iter()
                .map(|(column, datum)| {
                    let value = value(column, &datum, &names).unwrap_or_else(|uuid| {
                        panic!("{name}: {column} of {} refers to no row: {uuid}", row.key)
                    });
                    (column.to_owned(), value)
                })
                .collect();
            let origins: Vec<Value> = row.origins.iter().map(origin).collect();
            json!({
                "zone": &*zone,
                "table": row.table.as_str(),
                "key": &*row.key,
                "columns": columns,
                "origins": origins,
            })
        })
        .collect()
}

fn origin(origin: &netverdict_policy::Origin) -> Value {
    json!({
        "object": origin.object.to_string(),
        "rule": origin.rule.as_deref(),
        "line": origin.span.line,
        "column": origin.span.column,
    })
}

/// Columns that hold sets in the schema; all others are single values or maps.
const SETS: [&str; 12] = [
    "acls",
    "addresses",
    "bands",
    "collectors",
    "load_balancer",
    "load_balancer_group",
    "nat",
    "networks",
    "port_security",
    "ports",
    "selection_fields",
    "static_routes",
];

/// A column's value, references by the key of their row; else the reference that leads nowhere.
fn value(column: &str, datum: &Datum, names: &HashMap<Uuid, Arc<str>>) -> Result<Value, Uuid> {
    let one = |atom: &Atom| -> Result<Value, Uuid> {
        Ok(match atom {
            Atom::Integer(number) => json!(number),
            Atom::Real(number) => json!(number),
            Atom::Boolean(is) => json!(is),
            Atom::String(text) => json!(&**text),
            Atom::Uuid(uuid) => json!(&**names.get(uuid).ok_or(*uuid)?),
            _ => panic!("{column} holds what no column of these tables does: {atom:?}"),
        })
    };
    if let Datum::Map(pairs) = datum {
        let entry = |(key, value): &(Atom, Atom)| -> Result<(String, Value), Uuid> {
            let key = one(key)?;
            let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            Ok((key, one(value)?))
        };
        return Ok(Value::Object(
            pairs.iter().map(entry).collect::<Result<_, _>>()?,
        ));
    }
    let mut values = datum
        .atoms()
        .iter()
        .map(one)
        .collect::<Result<Vec<_>, _>>()?;
    if SETS.contains(&column) {
        values.sort_by_key(Value::to_string);
        return Ok(Value::Array(values));
    }
    assert_eq!(values.len(), 1, "{column} has several values: {values:?}");
    Ok(values.remove(0))
}
