//! What becomes of texts.
#![allow(clippy::unwrap_used)] // Of helpers; tests may anyway.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use netverdict_manifest::{FileId, Key, Kind, Peer, Reading, Sources, Spec, read, read_value};

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

/// All that JSON allows in a string and in a number is read.
#[test]
fn json_is_yaml() {
    let key = "k".repeat(1500);
    let text = format!(
        "{{\"apiVersion\"\n:\t\"v1\",\"kind\" :\"Namespace\",\"metadata\":{{\"name\":\"x\",\"annotations\":\
         {{\"{key}\":\"\\u0000\\b\\f\\n\\r\\t\\/\\\\\\\"\\ud834\\udd1e\u{2028}\u{85}\"}}}},\
         \"n\":[1,-1,1.5,1e5,-0.0,1E+2,true,false,null,\"\",{{}},[]]}}"
    );
    let reading = read(FileId(1), &text);
    assert_eq!(reading.diagnostics, []);
    let annotation = &reading.objects[0].meta.annotations[&key];
    assert_eq!(
        annotation.value,
        "\0\u{8}\u{c}\n\r\t/\\\"\u{1d11e}\u{2028}\u{85}"
    );
}

/// Anchors, aliases and merge keys, whose values do not replace those that stand there.
#[test]
fn aliases_and_merges() {
    let text = "kind: NetworkPolicy\napiVersion: networking.k8s.io/v1\n\
                metadata: {name: x, labels: &base {app: web, tier: &tier front}}\n\
                spec:\n  podSelector: &all {}\n  ingress:\n  - from:\n    - podSelector: *all\n    \
                - namespaceSelector: {matchLabels: {<<: [{tier: *tier, x: z}, *base], app: other}}\n";
    let reading = read(FileId(1), text);
    assert_eq!(reading.diagnostics, []);
    let labels = |labels: &BTreeMap<String, String>| format!("{labels:?}");
    let object = &reading.objects[0];
    assert_eq!(
        labels(&object.meta.labels),
        "{\"app\": \"web\", \"tier\": \"front\"}"
    );
    let Spec::NetworkPolicy(policy) = &object.spec else {
        panic!("{object:?}");
    };
    let [
        Peer::Pods {
            pods: Some(pods), ..
        },
        Peer::Pods {
            namespaces: Some(namespaces),
            ..
        },
    ] = &policy.ingress[0].peers[..]
    else {
        panic!("{policy:?}");
    };
    assert_eq!(
        labels(&namespaces.labels),
        "{\"app\": \"other\", \"tier\": \"front\", \"x\": \"z\"}"
    );
    // An alias stands where it stands, not where it leads.
    assert_eq!(
        &text[pods.span.start as usize..pods.span.end as usize],
        "*all"
    );
}

/// One object of the API server does not say its kind in a list.
#[test]
fn values_of_a_known_kind() {
    let reading = read_value(
        FileId(1),
        "{\"metadata\":{\"name\":\"a\"},\"spec\":{}}",
        Kind::Pod,
    );
    assert_eq!(reading.objects[0].key, Key::new(Kind::Pod, "default", "a"));
    let reading = read_value(FileId(1), "{\"metadata\":{}}", Kind::Pod);
    assert_eq!(
        reading.diagnostics[0].message,
        "Pod: `metadata` must have `name`"
    );
}
