//! Golden cases: manifests, and the rows that ovn-kubernetes makes of them.
//!
//! The expected rows are facts, not output of the compiler: `golden/generate.py` computes names
//! and ids by itself and has the matches written out by hand. Each case names the fact it stands
//! for in its head.

#![allow(clippy::expect_used, clippy::panic)] // Of helpers; tests may anyway.

#[path = "golden/harness.rs"]
mod harness;
#[path = "golden/recipes.rs"]
mod recipes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use harness::Fixture;
use netverdict_manifest::Severity;
use serde_json::Value;

/// Every case in `golden/cases`; `CASE=name` runs just those whose name begins so.
#[test]
fn every_case_has_the_rows_of_ovn_kubernetes() {
    let only = std::env::var("CASE").unwrap_or_default();
    let mut failed = String::new();
    let mut cases = 0;
    for fixture in Fixture::all("cases") {
        if !fixture.name.starts_with(&only) {
            continue;
        }
        cases += 1;
        let problems = run(&fixture);
        if !problems.is_empty() {
            write!(failed, "\n== {}\n{problems}", fixture.name).expect("memory");
        }
    }
    assert!(cases > 0, "no case is named {only}");
    assert!(failed.is_empty(), "{failed}");
}

/// A case cannot be forgotten: there is no manifest without rows, and no rows without manifest.
#[test]
fn every_case_is_whole() {
    let names = |extension: &str| -> BTreeSet<String> {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/cases");
        fs::read_dir(directory)
            .expect("the cases")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|is| is == extension))
            .map(|path| path.file_stem().expect("a name").to_string_lossy().into())
            .collect()
    };
    let run: BTreeSet<String> = Fixture::all("cases")
        .into_iter()
        .map(|fixture| fixture.name)
        .collect();
    assert_eq!(names("yaml"), names("rows"));
    assert_eq!(names("yaml"), run);
    for fixture in Fixture::all("cases") {
        assert!(
            !fixture.words("fact").is_empty(),
            "{}: no fact",
            fixture.name
        );
        assert!(!expected(&fixture).is_empty(), "{}: no rows", fixture.name);
    }
}

/// What is wrong with a case, empty if nothing.
fn run(fixture: &Fixture) -> String {
    let compiled = fixture.compile(fixture.options());
    let mut problems = String::new();
    let mut note = |line: String| writeln!(problems, "{line}").expect("memory");
    let said: BTreeSet<&str> = compiled
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity > Severity::Note)
        .map(|diagnostic| diagnostic.code.0)
        .collect();
    let must = fixture.words("says");
    for code in &must {
        if !said.contains(code) {
            note(format!("not said: {code}; only {said:?}"));
        }
    }
    for diagnostic in &compiled.diagnostics {
        if diagnostic.severity == Severity::Error && !must.contains(&diagnostic.code.0) {
            note(format!(
                "error: {} ({})",
                diagnostic.message, diagnostic.code.0
            ));
        }
    }
    let want = index(expected(fixture));
    let have = index(
        compiled
            .rows
            .into_iter()
            .filter(|row| fixture.is_about(row))
            .collect(),
    );
    for (name, row) in &want {
        match have.get(name) {
            None => note(format!("missing: {name}\n    {}", row["columns"])),
            Some(other) => difference(name, row, other, &mut note),
        }
    }
    for (name, row) in &have {
        if !want.contains_key(name) {
            note(format!("extra: {name}\n    {}", row["columns"]));
        }
    }
    problems
}

fn expected(fixture: &Fixture) -> Vec<Value> {
    let path = fixture.path.with_extension("rows");
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a row"))
        .collect()
}

/// By zone, table and key.
fn index(rows: Vec<Value>) -> BTreeMap<String, Value> {
    let mut index = BTreeMap::new();
    for row in rows {
        let part = |name: &str| row[name].as_str().expect("a name").to_owned();
        let name = format!("{} {} {}", part("zone"), part("table"), part("key"));
        let twice = index.insert(name.clone(), row);
        assert!(twice.is_none(), "two rows: {name}");
    }
    index
}

fn difference(name: &str, want: &Value, have: &Value, note: &mut impl FnMut(String)) {
    let columns = |row: &Value| row["columns"].as_object().cloned().unwrap_or_default();
    let (wanted, had) = (columns(want), columns(have));
    let names: BTreeSet<&String> = wanted.keys().chain(had.keys()).collect();
    let mut lines = String::new();
    for column in names {
        let (wanted, had) = (wanted.get(column), had.get(column));
        if wanted != had {
            let text = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
            write!(
                lines,
                "\n    {column}\n      want {}\n      have {}",
                text(wanted),
                text(had)
            )
            .expect("memory");
        }
    }
    // Only the cases about it say where rows come from.
    if let Some(origins) = want.get("origins")
        && have["origins"] != *origins
    {
        write!(
            lines,
            "\n    origins\n      want {origins}\n      have {}",
            have["origins"]
        )
        .expect("memory");
    }
    if !lines.is_empty() {
        note(format!("different: {name}{lines}"));
    }
}
