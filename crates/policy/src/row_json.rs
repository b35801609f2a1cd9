//! Rows as JSON, by docs/row.schema.json.

use std::sync::Arc;

use hashbrown::HashMap;
use netverdict_manifest::FileId;
use netverdict_ovsdb::{Atom, Datum};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::row::{Origin, Row};

/// What rows and texts are called.
#[derive(Clone, Debug, Default)]
pub struct Names {
    rows: HashMap<Uuid, Arc<str>>,
    files: HashMap<FileId, Arc<str>>,
}

impl Names {
    /// The names of rows, and of the texts that they come from.
    pub fn new<'a>(
        rows: impl IntoIterator<Item = &'a Row>,
        files: impl IntoIterator<Item = (FileId, Arc<str>)>,
    ) -> Self {
        Self {
            rows: rows
                .into_iter()
                .map(|row| (row.uuid, row.key.clone()))
                .collect(),
            files: files.into_iter().collect(),
        }
    }

    /// What a text is called.
    pub fn file(&self, file: FileId) -> Option<&str> {
        self.files.get(&file).map(AsRef::as_ref)
    }

    /// The key of the row with this identity.
    pub fn row(&self, uuid: Uuid) -> Option<&str> {
        self.rows.get(&uuid).map(AsRef::as_ref)
    }
}

impl Row {
    /// The row as one zone has it, in JSON: scalar and optional columns as scalars, sets as sorted
    /// arrays, maps as objects, references as the keys of the rows they lead to.
    pub fn json(&self, zone: &str, names: &Names) -> Value {
        let columns: Map<String, Value> = self
            .columns_in(zone)
            .into_iter()
            .map(|(column, value)| (column.to_owned(), value_json(column, &value, names)))
            .collect();
        let origins: Vec<Value> = self.origins.iter().map(|from| from.json(names)).collect();
        json!({
            "zone": zone,
            "table": self.table.as_str(),
            "key": &*self.key,
            "columns": columns,
            "origins": origins,
        })
    }
}

impl Origin {
    /// Object, rule and place, in JSON.
    pub fn json(&self, names: &Names) -> Value {
        let mut origin = json!({"object": self.object.to_string()});
        if let Some(rule) = &self.rule {
            origin["rule"] = json!(rule);
        }
        if let Some(file) = names.file(self.span.file) {
            origin["file"] = json!(file);
            origin["line"] = json!(self.span.line);
            origin["column"] = json!(self.span.column);
        }
        origin
    }
}

fn value_json(column: &str, value: &Datum, names: &Names) -> Value {
    if let Datum::Map(pairs) = value {
        let pairs = pairs
            .iter()
            .map(|(key, value)| (key.to_string(), atom_json(value, names)));
        return Value::Object(pairs.collect());
    }
    let mut atoms: Vec<Value> = value
        .atoms()
        .iter()
        .map(|atom| atom_json(atom, names))
        .collect();
    if !is_set(column) && atoms.len() == 1 {
        return atoms.remove(0);
    }
    // By the keys, as the identities say nothing to anybody.
    atoms.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    Value::Array(atoms)
}

fn atom_json(atom: &Atom, names: &Names) -> Value {
    match atom {
        Atom::Integer(number) => json!(number),
        Atom::Real(number) => json!(number),
        Atom::Boolean(value) => json!(value),
        Atom::Uuid(uuid) => match names.row(*uuid) {
            Some(key) => json!(key),
            None => json!(uuid.to_string()),
        },
        other => json!(other.to_string()),
    }
}

/// The columns that may hold more than one value (ovn-nb.ovsschema).
fn is_set(column: &str) -> bool {
    matches!(
        column,
        "acls"
            | "addresses"
            | "bands"
            | "collectors"
            | "load_balancer"
            | "load_balancer_group"
            | "networks"
            | "port_security"
            | "ports"
            | "selection_fields"
            | "static_routes"
    )
}

#[cfg(test)]
mod tests {
    use netverdict_manifest::{Key, Kind, Span};

    use super::*;
    use crate::row::Table;

    #[test]
    fn a_row_in_json() {
        let span = |file| Span {
            file: FileId(file),
            start: 0,
            end: 1,
            line: 12,
            column: 5,
        };
        let origin = |file| Origin {
            object: Key::new(Kind::NetworkPolicy, "blue", "np"),
            rule: Some("ingress[0]".into()),
            span: span(file),
        };
        let acl = Row::new(Table::Acl, "c:NetworkPolicy:blue:np")
            .with("priority", 1001)
            .with("external_ids", Datum::map_of([("a", "b")]))
            .with("sample_new", Table::Sample.uuid("7"));
        let mut group = Row::new(Table::PortGroup, "a1")
            .with("acls", acl.uuid)
            .from(origin(1))
            .from(origin(2));
        for (zone, port) in [("z1", "p2"), ("z2", "p3"), ("z1", "p1")] {
            let port = Table::LogicalSwitchPort.uuid(port);
            group.ports.push((zone.into(), port));
        }
        let sample = Row::new(Table::Sample, "7");
        let ports = ["p1", "p2"].map(|port| Row::new(Table::LogicalSwitchPort, port));
        let names = Names::new(
            [&acl, &group, &sample].into_iter().chain(&ports),
            [(FileId(1), "x.yaml".into())],
        );
        assert_eq!(
            group.json("z1", &names),
            json!({
                "zone": "z1", "table": "Port_Group", "key": "a1",
                "columns": {"acls": ["c:NetworkPolicy:blue:np"], "ports": ["p1", "p2"]},
                "origins": [
                    {"object": "NetworkPolicy blue/np", "rule": "ingress[0]",
                     "file": "x.yaml", "line": 12, "column": 5},
                    {"object": "NetworkPolicy blue/np", "rule": "ingress[0]"},
                ],
            })
        );
        assert_eq!(
            acl.json("z1", &names)["columns"],
            json!({"priority": 1001, "external_ids": {"a": "b"}, "sample_new": "7"})
        );
    }
}
