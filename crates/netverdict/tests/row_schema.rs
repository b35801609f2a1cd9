//! What `compile -o json` prints is what `docs/row.schema.json` documents: no key, column or word
//! that is not in it.
#![allow(clippy::unwrap_used, clippy::panic)] // Of helpers; tests may anyway.

mod schema;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use netverdict_policy::Table;
use serde_json::Value;

use schema::fits;

#[test]
fn real_output_is_as_documented() {
    let schema = documented();
    let mut tables = BTreeSet::new();
    let mut columns = BTreeSet::new();
    let golden = root().join("crates/policy/tests/golden");
    for directory in ["cases", "recipes"] {
        let output = Command::new(env!("CARGO_BIN_EXE_netverdict"))
            .args(["compile", "-o", "json"])
            .arg(golden.join(directory))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.lines().count() > 100, "{directory}");
        for line in text.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            if let Err(fault) = fits(&schema, &schema, &row) {
                panic!("{fault}\n{line}");
            }
            tables.insert(row["table"].as_str().unwrap().to_owned());
            columns.extend(row["columns"].as_object().unwrap().keys().cloned());
        }
    }
    let all: BTreeSet<String> = Table::ALL.map(|table| table.as_str().to_owned()).into();
    assert_eq!(tables, all);
    let documented = &schema["properties"]["columns"]["properties"];
    let documented: BTreeSet<String> = documented.as_object().unwrap().keys().cloned().collect();
    let unseen: Vec<_> = documented.difference(&columns).collect();
    assert_eq!(unseen, ["tag_request"], "only a gateway with a VLAN has it");
}

#[test]
fn all_tables_are_documented() {
    let documented = documented();
    let words = documented["properties"]["table"]["enum"]
        .as_array()
        .unwrap();
    let words: BTreeSet<&str> = words.iter().filter_map(Value::as_str).collect();
    assert_eq!(words, Table::ALL.map(Table::as_str).into());
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn documented() -> Value {
    serde_json::from_str(&fs::read_to_string(root().join("docs/row.schema.json")).unwrap()).unwrap()
}
