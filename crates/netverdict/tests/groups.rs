//! What `netverdict observe` tells of groups, on what two nodes recorded.
#![allow(clippy::unwrap_used)] // Of helpers; tests may anyway.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn observe(arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_netverdict"));
    command.args(["observe", "--no-state"]).current_dir(root);
    for node in ["ovn-worker-1", "ovn-worker-2"] {
        command.arg(format!(
            "--source=capture:lab/captures/two-nodes/{node}.nvcap"
        ));
    }
    command.args(arguments).output().unwrap()
}

fn lines(arguments: &[&str]) -> Vec<Value> {
    let output = observe(&[arguments, &["-o", "json"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn groups_add_up_to_the_decisions() {
    let decisions = lines(&["--verdict", "dropped"]);
    let single = decisions.iter().filter(|it| it.get("double").is_none());
    let groups = lines(&["| by policy, zone top 1000", "--verdict", "dropped"]);
    let counted: u64 = groups.iter().filter_map(|it| it["count"].as_u64()).sum();
    assert_eq!(counted, single.count() as u64);
    assert!(groups.len() > 3, "{groups:?}");
    let bytes = lines(&["verdict=dropped | sum(bytes)"]);
    let expected: u64 = decisions.iter().filter_map(|it| it["bytes"].as_u64()).sum();
    assert_eq!(bytes[0]["sum(bytes)"], expected);
}

#[test]
fn columns_stand_under_a_heading_and_the_rest_is_told() {
    let output = observe(&["| count, distinct(src.ip) by zone order values top 1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0], "ZONE          COUNT  DISTINCT(SRC.IP)");
    assert!(lines[1].starts_with("ovn-worker-1  "), "{text}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("1 of 2 groups are shown; `top N` shows more"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_is_wrong_usage() {
    for arguments in [
        &["| limit 3"][..],
        &["| by policy", "--last", "3"],
        &["| by policy", "-o", "pcapng"],
        &["| by pod"],
        &["| sum(zone)"],
    ] {
        let output = observe(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}
