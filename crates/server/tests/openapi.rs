//! docs/openapi.json says what the server does.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

#[test]
fn the_file_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let document = serde_json::to_string_pretty(&netverdict_server::openapi()).unwrap() + "\n";
    if std::env::var_os("NETVERDICT_UPDATE").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let file = std::fs::read_to_string(&path).unwrap();
    assert!(
        file == document,
        "docs/openapi.json is old: NETVERDICT_UPDATE=1 cargo test -p netverdict-server --test openapi"
    );
}

#[test]
fn each_reference_leads_somewhere() {
    let document = netverdict_server::openapi();
    assert_eq!(document["openapi"], "3.1.0");
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    assert!(references.len() > 10);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn each_operation_is_described() {
    let document = netverdict_server::openapi();
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let place = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{place}");
            assert!(operation["tags"][0].is_string(), "{place}");
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} is there twice");
        }
    }
}

fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(reference) if key == "$ref" => {
                        references.insert(reference.clone());
                    }
                    value => collect(value, references),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}
