//! What `netverdict explain` says, of a small cluster.
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

/// Runs it where the manifests have short names.
fn netverdict(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_netverdict"))
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain"))
        .env_remove("OVN_NB_DB")
        .env("COLUMNS", "100")
        .output()
        .unwrap()
}

const MANIFESTS: [&str; 3] = ["--manifests", "1-cluster.yaml", "2-policies.yaml"];

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A question as people write it, and what comes: the exit status, and both outputs.
fn asked(question: &str) -> String {
    asked_of(question, &MANIFESTS)
}

fn asked_of(question: &str, manifests: &[&str]) -> String {
    let words: Vec<&str> = question.split(' ').collect();
    let output = netverdict(&[&["explain"], &words[..], manifests].concat());
    let told: Vec<String> = [&output.stdout, &output.stderr]
        .into_iter()
        .map(|bytes| text(bytes))
        .filter(|text| !text.is_empty())
        .collect();
    let code = output.status.code().unwrap();
    // Which fix is the best is for other tests to say.
    let mut told = told.join("\n");
    if let Some(fix) = told.find("\nFix, ") {
        told.truncate(fix);
        told.push_str("\n(a fix)\n");
    }
    format!("explain {question}\nexit status {code}\n\n{told}")
}

macro_rules! questions {
    ($($name:ident: $question:literal,)*) => {
        $(
            #[test]
            fn $name() {
                insta::assert_snapshot!(stringify!($name), asked($question));
            }
        )*

        /// All questions that have an answer.
        const QUESTIONS: &[&str] = &[$($question),*];
    };
}

questions! {
    allowed_by_a_rule_after_a_pass: "--from shop/web-0 --to svc/data/db",
    default_deny: "--from shop/web-0 --to data/db-0 --port metrics",
    denied_by_the_baseline: "--from guest/visitor --to svc/shop/web",
    isolated_from_guests: "--from guest/visitor --to data/db-0 --port 5432/tcp",
    egress_firewall_denies: "--from shop/web-1 --to 198.51.100.7 --port 443",
    egress_firewall_allows: "--from shop/web-1 --to 203.0.113.7 --port 443",
    no_ready_endpoint: "--from shop/web-0 --to svc/data/cache",
    a_pod_that_reaches_itself: "--from shop/web-0 --to svc/shop/web --port http",
    both_families: "--from shop/web-0 --to shop/web-1 --port icmp",
    ipv6_alone: "--from shop/web-0 --to fd00:10:244:1::11 --port 8080",
    from_outside: "--from 192.0.2.1 --to data/db-0 --port 5432",
    from_a_node: "--from node/n2 --to data/db-0 --port sql",
    no_family_in_common: "--from guest/visitor --to fd00:10:244:1::11 --port 80",
    nobody_has_the_address: "--from shop/web-0 --to 10.244.0.99 --port 80",
    an_unknown_pod: "--from shop/wep-0 --to data/db-0 --port 80",
    an_unknown_service: "--from shop/web-0 --to svc/data/dbs",
    an_unknown_port: "--from shop/web-0 --to data/db-0 --port https",
    no_port: "--from shop/web-0 --to guest/visitor",
    a_service_opens_nothing: "--from svc/shop/web --to data/db-0 --port 80",
    step_by_step: "--from shop/web-0 --to data/db-0 --port 5432 --walk",
}

#[test]
fn a_pod_is_asked_about_in_its_first_network() {
    let manifests = [&MANIFESTS[..], &["3-networks.yaml"]].concat();
    let told = [
        "--from blue/p --to blue/q --port 80",
        "--from blue/p --to 8.8.8.8 --port 53/udp",
        "--from shop/web-0 --to blue/q --port 80",
        "--from shop/web-0 --to blue/q@default --port 80",
    ]
    .map(|question| asked_of(question, &manifests));
    insta::assert_snapshot!(told.join("\n\n"));
}

#[test]
fn services_without_an_address_say_so() {
    let manifests = [&MANIFESTS[..], &["3-networks.yaml"]].concat();
    let told = ["svc/data/db-pods", "svc/data/billing"]
        .map(|to| asked_of(&format!("--from shop/web-0 --to {to}"), &manifests));
    insta::assert_snapshot!(told.join("\n\n"));
}

#[test]
fn a_policy_with_an_error_is_told_beside_the_verdict() {
    let manifests = [&MANIFESTS[..], &["4-broken.yaml"]].concat();
    let question = "--from shop/web-0 --to guest/visitor --port 80";
    insta::assert_snapshot!(asked_of(question, &manifests));
    let json = [&["matrix", "-o", "json"], &manifests[..]].concat();
    let first = text(&netverdict(&json).stdout);
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!(first["left_out"][0], "NetworkPolicy guest/broken");
}

#[test]
fn wrong_usage_that_shows_late_is_wrong_usage() {
    let dump = root().join("lab/captures/native/nb1.json");
    let dump = dump.to_str().unwrap();
    let ends = ["--from", "a/b", "--to", "c/d"];
    let twice = [&["explain", "--nb", dump, "--nb", dump], &ends[..]].concat();
    for (arguments, reason) in [
        (&twice[..], "are the same NB"),
        (&["demo", "--rate", "0"], "--rate 0"),
        (&["lflow", "--sb", dump], "--sb or --ovs is given"),
    ] {
        let output = netverdict(arguments);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(reason), "{told}");
    }
}

#[test]
fn lines_are_as_wide_as_the_terminal() {
    let question = [
        "--from",
        "shop/web-0",
        "--to",
        "data/db-0",
        "--port",
        "sql",
        "--walk",
    ];
    for (columns, most) in [("60", 60), ("", 80), ("120", 120)] {
        let output = Command::new(env!("CARGO_BIN_EXE_netverdict"))
            .arg("explain")
            .args(question)
            .args(MANIFESTS)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain"))
            .env("COLUMNS", columns)
            .output()
            .unwrap();
        let told = text(&output.stdout);
        // Words are not cut, and lines of other texts are as they are.
        let is_long = |line: &&str| {
            let words = line.split_whitespace().count();
            line.chars().count() > most && words > 2 && !line.contains(" | ")
        };
        let long: Vec<&str> = told.lines().filter(is_long).collect();
        assert_eq!(long, Vec::<&str>::new(), "{columns}");
    }
}

#[test]
fn the_json_is_as_documented() {
    let text = fs::read_to_string(root().join("docs/explanation.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let mut answered = 0;
    for question in QUESTIONS {
        let words: Vec<&str> = question.split(' ').collect();
        let output = netverdict(&[&["explain", "-o", "json"], &words[..], &MANIFESTS[..]].concat());
        if output.stdout.is_empty() {
            continue;
        }
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        if let Err(fault) = fits(&schema, &schema, &value) {
            panic!("{question}: {fault}");
        }
        answered += 1;
    }
    assert!(answered >= 13, "{answered}");
}

#[test]
fn the_fix_is_shown() {
    let question = [
        "--from",
        "shop/web-0",
        "--to",
        "data/db-0",
        "--port",
        "metrics",
    ];
    let output = netverdict(&[&["explain"], &question[..], &MANIFESTS[..]].concat());
    let told = String::from_utf8(output.stdout).unwrap();
    let (_, fix) = told.split_once("\nFix, ").unwrap();
    assert!(fix.contains("add port 9187/tcp to ingress[0] of NetworkPolicy data/allow-web"));
    assert!(fix.contains("\n    +++ b/2-policies.yaml\n"), "{fix}");
}

#[test]
fn a_wrong_reference_is_wrong_usage() {
    let output = netverdict(&["explain", "--from", "web", "--to", "10.0.0.1"]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("NAMESPACE/POD"), "{told}");
}
