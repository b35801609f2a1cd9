//! The demo, as somebody who tries it: nothing but the program.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// Who is dropped in the shop: the three mistakes, and what is meant to be dropped.
const MISTAKES: [(&str, &str, &str); 3] = [
    ("shop/catalog-0", "data/search-0", "data"),
    ("inventory/stock-0", "kube-system/coredns", "inventory"),
    (
        "refunds/refund-worker-0",
        "payments/payment-api-0",
        "payments",
    ),
];
const MEANT: [(&str, &str); 4] = [
    ("blue/iperf-client-0", "blue/iperf-server-0"),
    ("blue/iperf-client-0", "data/redis-0"),
    ("blue/iperf-client-0", "payments/ledger-0"),
    ("shop/checkout-0", "198.51.100.7"),
];

#[test]
fn the_shop_drops_what_its_mistakes_drop_and_nothing_else() {
    let run = Command::new(env!("CARGO_BIN_EXE_netverdict"))
        .args(["demo", "--for", "6", "--rate", "2", "-o", "json"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{told}");
    assert!(told.contains(" 0 unresolved"), "{told}");
    assert!(told.contains("answering at http://127.0.0.1:"), "{told}");
    let mut dropped = BTreeSet::new();
    let mut allowed = BTreeSet::new();
    for line in String::from_utf8(run.stdout).unwrap().lines() {
        let decision: Value = serde_json::from_str(line).unwrap();
        let [from, to] = ["src", "dst"].map(|end| {
            let end = &decision[end];
            match (end["namespace"].as_str(), end["pod"].as_str()) {
                (Some(namespace), Some(pod)) => format!("{namespace}/{pod}"),
                _ => end["ip"].as_str().unwrap().to_owned(),
            }
        });
        let namespace = decision["owner"]["namespace"].as_str().unwrap_or_default();
        match decision["verdict"].as_str().unwrap() {
            "dropped" => drop(dropped.insert((from, to, namespace.to_owned()))),
            "allowed" => drop(allowed.insert((from, to))),
            _ => {}
        }
    }
    for (from, to, namespace) in MISTAKES {
        let seen =
            |(f, t, n): &(String, String, String)| f == from && t.starts_with(to) && n == namespace;
        assert!(
            dropped.iter().any(seen),
            "{from} to {to} was not dropped: {dropped:?}"
        );
    }
    for (from, to, _) in &dropped {
        let mistake = MISTAKES
            .iter()
            .any(|(f, t, _)| f == from && to.starts_with(t));
        let meant = MEANT.contains(&(from.as_str(), to.as_str()));
        assert!(mistake || meant, "{from} to {to} was dropped");
    }
    for (from, to) in [
        ("edge/gateway-0", "shop/web-0"),
        ("shop/web-0", "shop/catalog-0"),
    ] {
        assert!(
            allowed.contains(&(from.to_owned(), to.to_owned())),
            "{from} to {to}"
        );
    }
}

#[test]
fn a_scenario_that_is_not_there_is_named() {
    let run = Command::new(env!("CARGO_BIN_EXE_netverdict"))
        .args(["demo", "--scenario", "/nowhere"])
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&run.stderr).contains("/nowhere"));
}
