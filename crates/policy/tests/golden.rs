//! Golden cases: manifests, and the rows that ovn-kubernetes makes of them.
//!
//! The expected rows are facts, not output of the compiler: `golden/generate.py` computes names
//! and ids by itself and has the matches written out by hand. Each case names the fact it stands
//! for in its head. A new one is a call of `case` in one of `golden/cases_*.py`; the generator then
//! writes its two files. Where a case fails, first ask which of the two is wrong.

#![allow(clippy::expect_used, clippy::panic)] // Of helpers; tests may anyway.

#[path = "golden/harness.rs"]
mod harness;
#[path = "golden/recipes.rs"]
mod recipes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

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

/// The files are what the generator writes, so that nobody mends an expectation by hand alone.
#[test]
fn the_generator_writes_the_cases() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/generate.py");
    let check = Command::new("python3")
        .args(["-B", script, "--check"])
        .output();
    match check {
        Ok(check) => assert!(
            check.status.success(),
            "{}",
            String::from_utf8_lossy(&check.stderr)
        ),
        Err(error) if std::env::var_os("CI").is_none() => {
            println!("not checked: no python3: {error}");
        }
        Err(error) => panic!("no python3: {error}"),
    }
}

/// Names and numbers that were published with ovn-kubernetes, or computed from its hash by hand:
/// each is expected by a case, so that the generator is held to them as well.
#[test]
fn the_cases_hold_the_known_vectors() {
    const VECTORS: [(&str, &str); 19] = [
        (
            "AdminNetworkPolicy:cluster-control",
            "a14645450421485494999",
        ),
        (
            "AdminNetworkPolicy:cluster-control:Ingress:0:v4",
            "a14545668191619617708",
        ),
        (
            "AdminNetworkPolicy:cluster-control:Ingress:1:v4",
            "a6786643370959569281",
        ),
        ("BaselineAdminNetworkPolicy:default", "a9550609891683691927"),
        ("NetpolNamespace:ns1:Ingress", "a8603207690598013362"),
        ("NetpolNamespace:ns1:Egress", "a2984687968609141792"),
        ("NetworkPolicy:ns1:np1", "a3128740908762970825"),
        ("Namespace:ns1", "a9633447981174624809"),
        ("Cluster:clusterPortGroup", "a13298398610555951118"),
        ("Cluster:clusterRtrPortGroup", "a4743249366342378346"),
        ("UDNIsolation:SecondaryPods", "a8747502060113802905"),
        ("PodSelector:ns1_LS{}:v4", "a12730942273510902140"),
        (
            "PodSelector:ns1_LS{ML:{app: web,},}:v4",
            "a6680671121466927706",
        ),
        ("PodSelector:LS{}_LS{}_LNM:v4", "a727259303241632365"),
        ("NetpolNamespace:ns1:Ingress:defaultDeny", "2001666736"),
        ("NetpolNode:node1:10.244.0.2", "1178310523"),
        ("EgressFirewall:ns1:0", "1727794866"),
        (
            "MulticastCluster:AllowInterNode:Ingress",
            "a4743249366342378346",
        ),
        ("NetpolDefault:allow-hairpinning:Egress", "169.254.169.5"),
    ];
    let rows: Vec<Value> = Fixture::all("cases").iter().flat_map(expected).collect();
    for (id, known) in VECTORS {
        let id = format!("default-network-controller:{id}");
        let column = |row: &Value, name: &str| row["columns"][name].as_str().map(str::to_owned);
        let is_there = rows.iter().any(|row| {
            row["columns"]["external_ids"]["k8s.ovn.org/id"] == id.as_str()
                && (column(row, "name").as_deref() == Some(known)
                    || column(row, "sample_new").as_deref() == Some(known)
                    || column(row, "match").is_some_and(|text| text.contains(known)))
        });
        assert!(is_there, "no case expects {known} of {id}");
    }
}

/// An EgressFirewall has at most 8001 rules; with one more there is none at all.
///
/// Fact: ovn-kubernetes, `egressfirewall.go` `buildEgressFirewallConstruct`.
#[test]
fn an_egress_firewall_ends_at_priority_2000() {
    for (rules, error) in [(8001, false), (8002, true)] {
        let mut text = String::from(
            "# options: cluster-subnet=10.244.0.0/16\n---\n\
             apiVersion: k8s.ovn.org/v1\nkind: EgressFirewall\n\
             metadata: {name: default, namespace: ns1}\nspec:\n  egress:\n",
        );
        for rule in 0..rules {
            let (high, low) = (rule / 256, rule % 256);
            writeln!(
                text,
                "    - {{type: Deny, to: {{cidrSelector: 192.0.{high}.{low}/32}}}}"
            )
            .expect("memory");
        }
        let compiled = Fixture::of("many", text).compile_as_told();
        let mut priorities: Vec<i64> = compiled
            .rows
            .iter()
            .filter(|row| {
                row["columns"]["external_ids"]["k8s.ovn.org/owner-type"] == "EgressFirewall"
            })
            .filter_map(|row| row["columns"]["priority"].as_i64())
            .collect();
        priorities.sort_unstable();
        let said = compiled
            .diagnostics
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error);
        assert_eq!(said, error, "{rules} rules");
        if error {
            assert_eq!(priorities, Vec::<i64>::new(), "{rules} rules");
        } else {
            assert_eq!(
                priorities,
                (2000..=10_000).collect::<Vec<_>>(),
                "{rules} rules"
            );
        }
    }
}

/// What is wrong with a case, empty if nothing.
fn run(fixture: &Fixture) -> String {
    let compiled = fixture.compile_as_told();
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
