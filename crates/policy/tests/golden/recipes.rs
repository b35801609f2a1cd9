//! Policies as many people use them compile without a complaint, and to a sane number of rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use netverdict_manifest::Severity;
use netverdict_policy::{Compat, Options};

use crate::harness::Fixture;

fn options(compat: Compat) -> Options {
    Options {
        compat,
        cluster_subnets: vec![netverdict_manifest::Cidr {
            address: [10, 244, 0, 0].into(),
            prefix: 16,
        }],
        sampling: false,
        ..Options::default()
    }
}

/// With the pods they are for, and alone, as a chart has them.
#[test]
fn recipes_are_clean() {
    let mut complaints = String::new();
    for recipe in Fixture::all("recipes") {
        let allowed: BTreeSet<&str> = recipe.words("allow").into_iter().collect();
        let alone = policies_of(&recipe);
        for (compat, recipe) in [
            (Compat::OvnKubernetes, &recipe),
            (Compat::OvnKubernetes, &alone),
            (Compat::Strict, &recipe),
            (Compat::Strict, &alone),
        ] {
            let name = &recipe.name;
            let mut told = BTreeSet::new();
            for diagnostic in &recipe.compile(options(compat)).diagnostics {
                if diagnostic.severity == Severity::Note {
                    continue;
                }
                told.insert(diagnostic.code.0);
                if !allowed.contains(diagnostic.code.0) {
                    let code = diagnostic.code.0;
                    let place = diagnostic.labels.first().map_or(0, |label| label.span.line);
                    writeln!(complaints, "{name}:{place}: {code}: {}", diagnostic.message)
                        .expect("memory");
                }
            }
            if compat == Compat::OvnKubernetes && told != allowed {
                writeln!(complaints, "{name}: allows {allowed:?}, told {told:?}").expect("memory");
            }
        }
    }
    assert!(complaints.is_empty(), "\n{complaints}");
}

fn policies_of(recipe: &Fixture) -> Fixture {
    let is_policy = |document: &&str| document.contains("\nkind: NetworkPolicy\n");
    let policies: Vec<&str> = recipe.text.split("---\n").filter(is_policy).collect();
    assert!(!policies.is_empty(), "{}: no policy", recipe.name);
    Fixture::of(format!("{} alone", recipe.name), policies.join("---\n"))
}

#[test]
fn recipes_make_so_many_rows() {
    let mut lines = String::new();
    for recipe in Fixture::all("recipes") {
        let compiled = recipe.compile(options(Compat::OvnKubernetes));
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for row in &compiled.rows {
            let owner = row["columns"]["external_ids"]["k8s.ovn.org/owner-type"].as_str();
            let table = row["table"].as_str().expect("a table");
            if let Some(owner @ ("NetworkPolicy" | "NetpolNamespace" | "PodSelector")) = owner {
                *counts.entry(format!("{owner} {table}")).or_default() += 1;
            }
        }
        write!(lines, "{}:", recipe.name).expect("memory");
        for (what, count) in counts {
            write!(lines, " {count} {what},").expect("memory");
        }
        lines.truncate(lines.trim_end_matches(',').len());
        lines.push('\n');
    }
    insta::assert_snapshot!(lines);
}
