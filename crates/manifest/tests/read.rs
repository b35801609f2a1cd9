//! What becomes of texts.
#![allow(clippy::unwrap_used)] // Of helpers; tests may anyway.

use std::fs;
use std::path::{Path, PathBuf};

use netverdict_manifest::{Reading, Sources};

/// Files that are right: all that is read of them.
#[test]
fn good() {
    for path in files("good") {
        let reading = Sources::default()
            .read(&name(&path), &fs::read(&path).unwrap())
            .1;
        assert_eq!(reading.diagnostics, [], "{}", path.display());
        insta::assert_snapshot!(name(&path), objects(&reading));
    }
}

/// Files with one fault after another: how they are told, and what is read nevertheless.
#[test]
fn bad() {
    for path in files("bad") {
        let mut sources = Sources::default();
        let reading = sources.read(&name(&path), &fs::read(&path).unwrap()).1;
        let keys = reading.objects.iter().map(|object| object.key.to_string());
        let told = sources.render(&reading.diagnostics, false);
        let told = format!("read: {}\n\n{told}", keys.collect::<Vec<_>>().join(", "));
        insta::assert_snapshot!(name(&path), told);
    }
}

fn files(directory: &str) -> Vec<PathBuf> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let entries = fs::read_dir(tests.join(directory)).unwrap();
    let mut paths = entries
        .map(|entry| entry.unwrap().path())
        .collect::<Vec<_>>();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Objects, places as `@line:column`.
fn objects(reading: &Reading) -> String {
    let mut text = format!(
        "passed over: {:?}\n{:#?}\n",
        reading.passed_over, reading.objects
    );
    while let Some(start) = text.find("Span {") {
        let end = start + text[start..].find('}').unwrap() + 1;
        let numbers = text[start..end].split(|other: char| !other.is_ascii_digit());
        let numbers = numbers
            .filter(|number| !number.is_empty())
            .collect::<Vec<_>>();
        let place = format!("@{}:{}", numbers[3], numbers[4]);
        text.replace_range(start..end, &place);
    }
    text
}
