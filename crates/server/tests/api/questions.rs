//! Questions that have answers.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use netverdict_types::Verdict;
use serde_json::Value;

use crate::support::{Running, escaped};

fn wide() -> Running {
    Running::random(7)
}

#[test]
fn pages_are_all_rows_once_in_their_order() {
    let server = wide();
    let expected: Vec<Value> = server
        .all()
        .iter()
        .map(|it| serde_json::to_value(it).unwrap())
        .collect();
    assert!(expected.len() > 100);
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = server.ok(&format!("/api/v1/connections?since=-390d&limit=37{after}"));
        let items = page["items"].as_array().unwrap();
        found.extend(items.iter().cloned());
        let Some(next) = page["next"].as_str() else {
            assert!(items.len() <= 37);
            break;
        };
        assert_eq!(items.len(), 37);
        after = format!("&after={next}");
    }
    assert_eq!(found, expected);
}

#[test]
fn one_connection_is_found_by_its_id() {
    let server = wide();
    for connection in server.all().iter().take(5) {
        let expected = serde_json::to_value(connection).unwrap();
        let id = expected["id"].as_str().unwrap();
        assert_eq!(server.ok(&format!("/api/v1/connections/{id}")), expected);
    }
    let missing = server.get("/api/v1/connections/00000000000000000000000000000001");
    assert_eq!(missing.status, 404);
    assert_eq!(missing.kind, "application/problem+json");
    assert_eq!(server.get("/api/v1/connections/x").status, 404);
}

#[test]
fn a_query_filters() {
    let server = wide();
    let expected = server.all();
    let dropped = expected.iter().filter(|it| it.verdict == Verdict::Dropped);
    let page = server.ok("/api/v1/connections?since=-390d&limit=1000&q=verdict%3Ddropped");
    assert_eq!(page["items"].as_array().unwrap().len(), dropped.count());
}

#[test]
fn groups_add_up() {
    let server = wide();
    let question = escaped("| count by verdict");
    let answer = server.ok(&format!("/api/v1/aggregates?since=-390d&q={question}"));
    assert_eq!(answer["columns"], serde_json::json!(["verdict", "count"]));
    let lines = answer["lines"].as_array().unwrap();
    let sum: u64 = lines.iter().map(|line| line[1].as_u64().unwrap()).sum();
    assert_eq!(sum, server.all().len() as u64);
    assert_eq!(answer["total"], lines.len());
    let question = escaped("| count, max(end) by protocol every 1h");
    let answer = server.ok(&format!("/api/v1/aggregates?since=-390d&q={question}"));
    assert_eq!(answer["columns"][0], "time");
    let line = &answer["lines"][0];
    assert!(line[0].as_str().unwrap().ends_with('Z'), "{line}");
    assert!(line[3].as_str().unwrap().ends_with('Z'), "{line}");
}

#[test]
fn rules_are_known_or_used() {
    let server = wide();
    let rules = server.ok("/api/v1/rules?since=-390d");
    let items = rules["items"].as_array().unwrap();
    assert!(items.len() > 1);
    let names: HashSet<String> = items
        .iter()
        .map(|it| format!("{} {}", it["owner"], it["action"]))
        .collect();
    assert_eq!(names.len(), items.len(), "each once");
    let unused = server.ok("/api/v1/rules?since=-390d&unused=true");
    let [only] = &unused["items"].as_array().unwrap()[..] else {
        panic!("{unused}");
    };
    assert_eq!(only["owner"]["name"], "nobody");
    assert_eq!(only["zones"], serde_json::json!(["a"]));
    assert!(only.get("last").is_none());
    let used = server.ok("/api/v1/rules?since=-390d&unused=false");
    assert_eq!(used["items"].as_array().unwrap().len() + 1, items.len());
    let policies = server.ok("/api/v1/policies?since=-390d");
    let all = policies["items"].as_array().unwrap();
    let hits = |items: &[Value]| -> u64 {
        let counts = items.iter().map(|it| it["connections"].as_u64().unwrap());
        counts.sum()
    };
    assert_eq!(hits(all), hits(items));
    assert!(hits(all) > 0);
}

/// The items of all pages.
fn pages(server: &Running, path: &str, limit: usize) -> Vec<Value> {
    let mut items = Vec::new();
    let mut after = String::new();
    let total = server.ok(path)["items"].as_array().unwrap().len();
    loop {
        let page = server.ok(&format!("{path}&limit={limit}{after}"));
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        assert_eq!(page["more"], total - items.len(), "{path}");
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return items,
        }
    }
}

#[test]
fn lists_come_in_pages() {
    let server = wide();
    for list in ["namespaces", "workloads", "policies", "rules"] {
        let path = format!("/api/v1/{list}?since=-390d");
        let whole = server.ok(&path);
        assert_eq!(whole["more"], 0);
        for limit in [1, 3, 1000] {
            assert_eq!(
                whole["items"].as_array().unwrap(),
                &pages(&server, &path, limit)
            );
        }
        for wrong in ["limit=0", "limit=1001", "after=00", "after=zz", "after="] {
            assert_eq!(
                server.get(&format!("{path}&{wrong}")).status,
                400,
                "{wrong}"
            );
        }
        // A page of another list is none of this one, and nobody may ask about all of time so.
        let forged = format!("{:016x}{:016x}{:016x}22", i64::MIN, i64::MAX, 0);
        assert_eq!(server.get(&format!("{path}&after={forged}")).status, 400);
    }
    let whole = server.ok("/api/v1/topology?since=-390d");
    let some = server.ok("/api/v1/topology?since=-390d&limit=2");
    let edges = whole["edges"].as_array().unwrap();
    assert_eq!(some["edges"].as_array().unwrap()[..], edges[..2]);
    assert_eq!(some["more"], edges.len() - 2);
}

#[test]
fn places_are_known_or_seen() {
    let server = wide();
    let connections = server.all();
    let namespaces = server.ok("/api/v1/namespaces?since=-390d");
    let items = namespaces["items"].as_array().unwrap();
    let idle = items.iter().find(|it| it["name"] == "idle").unwrap();
    assert_eq!(idle["workloads"], 1);
    assert_eq!(idle["out"]["connections"], 0);
    let out: u64 = items
        .iter()
        .map(|it| it["out"]["connections"].as_u64().unwrap())
        .sum();
    let begun = connections
        .iter()
        .filter(|it| it.src.as_ref().is_some_and(|src| src.namespace.is_some()));
    assert_eq!(out, begun.count() as u64);
    let workloads = server.ok("/api/v1/workloads?since=-390d&namespace=idle");
    assert_eq!(workloads["items"][0]["name"], "sleeper");
    assert_eq!(workloads["items"].as_array().unwrap().len(), 1);
    for by in ["", "&by=namespace", "&by=workload"] {
        let topology = server.ok(&format!("/api/v1/topology?since=-390d{by}"));
        let edges = topology["edges"].as_array().unwrap();
        let sum: u64 = edges
            .iter()
            .map(|it| it["connections"].as_u64().unwrap())
            .sum();
        assert_eq!(sum, connections.len() as u64, "{by}");
        assert_eq!(topology["more"], 0);
    }
}

#[test]
fn queries_are_completed() {
    let server = wide();
    let texts = |q: &str| -> Vec<String> {
        let found = server.ok(&format!("/api/v1/complete?q={}", escaped(q)));
        let items = found["items"].as_array().unwrap().iter();
        items
            .map(|it| it["text"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(texts("verd").contains(&"verdict".to_owned()));
    assert!(texts("verdict=").contains(&"dropped".to_owned()));
    assert!(texts("namespace=id").contains(&"idle".to_owned()));
    assert!(texts("pod=idle/").contains(&"idle/sleeper".to_owned()));
    let fields = server.ok("/api/v1/fields");
    let fields = fields["items"].as_array().unwrap();
    assert!(fields.iter().any(|field| field["name"] == "verdict"));
}

#[test]
fn it_says_how_it_stands() {
    let server = wide();
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/readyz").status, 200);
    server.cluster.ready.store(false, Ordering::Relaxed);
    assert_eq!(server.get("/readyz").status, 503);
    let sources = server.ok("/api/v1/sources");
    assert_eq!(sources["sources"][0]["counters"][0]["value"], 3);
    assert!(sources["store"]["rows"].as_u64().unwrap() > 0);
    let health = server.ok("/api/v1/health");
    assert_eq!(health["netverdict"], "1.2.3");
}

#[test]
fn it_explains() {
    let server = wide();
    let asked = r#"{"from":"a/b","to":"svc/c/d","port":"80/tcp"}"#;
    let got = server.post("/api/v1/explain", asked);
    assert_eq!(
        (got.status, &got.json()["verdict"]),
        (200, &"allowed".into())
    );
    let got = server.post("/api/v1/explain", r#"{"from":"nobody/known","to":"a/b"}"#);
    assert_eq!(got.status, 422);
    assert_eq!(got.json()["type"], "urn:netverdict:problem:cannot-know");
}

#[test]
fn a_policy_and_a_pod_are_looked_at() {
    let server = Running::random(5);
    let path = "/api/v1/policy?kind=NetworkPolicy&namespace=idle&name=nobody";
    let policy = server.ok(path);
    assert_eq!(policy["pods"][0], "idle/sleeper");
    assert_eq!(policy["unwritten"], "only rows are known");
    assert_eq!(
        server
            .get("/api/v1/policy?kind=NetworkPolicy&namespace=&name=nobody")
            .status,
        422
    );
    assert_eq!(server.get("/api/v1/policy?name=nobody").status, 400);
    let isolation = server.ok("/api/v1/isolation?pod=idle/sleeper");
    assert_eq!(isolation["ingress"]["isolated"], true);
    assert_eq!(isolation["egress"]["isolated"], false);
    assert_eq!(server.get("/api/v1/isolation?pod=idle/no").status, 422);
}
