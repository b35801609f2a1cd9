//! What `netverdict why` says of recorded samples.
#![allow(clippy::unwrap_used, clippy::panic)] // Of helpers; tests may anyway.

mod schema;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use schema::fits;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn why(arguments: &[&str]) -> Output {
    let captures = ["ovn-worker-1", "ovn-worker-2"]
        .map(|node| format!("capture:lab/captures/two-nodes/{node}.nvcap"));
    Command::new(env!("CARGO_BIN_EXE_netverdict"))
        .args(["why", "--no-state"])
        .args(arguments)
        .args(captures.iter().flat_map(|capture| ["--source", capture]))
        .current_dir(root())
        .env("COLUMNS", "100")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn each_kind_of_drop_is_told_once() {
    let output = why(&["backend/server", "--from", "tools/probe2"]);
    assert_eq!(output.status.code(), Some(3));
    insta::assert_snapshot!(text(&output.stdout));
}

#[test]
fn the_json_is_as_documented() {
    let schema = fs::read_to_string(root().join("docs/drop.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let output = why(&["backend/server", "-o", "json"]);
    let lines = text(&output.stdout);
    assert!(lines.lines().count() > 3, "{lines}");
    for line in lines.lines() {
        let drop: Value = serde_json::from_str(line).unwrap();
        if let Err(fault) = fits(&schema, &schema, &drop) {
            panic!("{fault}\n{line}");
        }
    }
}

#[test]
fn who_was_not_seen_is_not_known() {
    let output = why(&["backend/nobody"]);
    assert_eq!(output.status.code(), Some(4));
    let told = text(&output.stderr);
    assert!(
        told.contains("samples is of traffic of backend/nobody"),
        "{told}"
    );
}
