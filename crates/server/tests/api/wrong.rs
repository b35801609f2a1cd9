//! Questions that have none.

use netverdict_server::{Limits, Security, ServeError, Server};

use crate::support::{Running, escaped};

#[test]
fn a_wrong_query_is_shown_with_its_place() {
    let server = Running::new(Limits::default(), 10);
    for path in [
        "connections",
        "aggregates",
        "live",
        "topology",
        "policies",
        "export",
    ] {
        let got = server.get(&format!(
            "/api/v1/{path}?format=csv&q={}",
            escaped("nmespace=blue")
        ));
        assert_eq!(got.status, 400, "{path}");
        assert_eq!(got.kind, "application/problem+json");
        let problem = got.json();
        assert_eq!(problem["type"], "urn:netverdict:problem:wrong-query");
        assert_eq!(problem["span"], serde_json::json!([0, 8]));
        let report = problem["report"].as_str().unwrap();
        assert!(report.contains("^^^^^^^^"), "{report}");
        assert!(report.contains("did you mean `namespace`?"), "{report}");
    }
}

#[test]
fn wrong_parameters_are_named() {
    let limits = Limits {
        page: 50,
        groups: 20,
        range: 3_600_000_000_000,
        ..Limits::default()
    };
    let server = Running::new(limits, 10);
    for (path, name) in [
        ("connections?limit=0", "limit"),
        ("connections?limit=51", "limit"),
        ("connections?limit=x", "limit"),
        ("connections?since=yesterday", "since"),
        ("connections?since=now&until=-5m", "since"),
        ("connections?since=-2h", "since"),
        ("connections?after=zzz", "after"),
        ("aggregates?q=verdict%3Ddropped", "q"),
        ("aggregates?q=%7C+count+by+verdict+top+21", "q"),
        ("aggregates?q=%7C+count+every+1ns", "q"),
        ("live?after=1", "Last-Event-ID"),
        ("topology?by=colour", "by"),
        ("export?format=xlsx", "format"),
        ("export", "format"),
        ("complete?q=abc&cursor=4", "cursor"),
        ("complete?q=%C3%A4&cursor=1", "cursor"),
    ] {
        let got = server.get(&format!("/api/v1/{path}"));
        assert_eq!(got.status, 400, "{path}: {}", got.text());
        assert_eq!(got.kind, "application/problem+json", "{path}");
        let problem = got.json();
        assert_eq!(problem["status"], 400);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(name), "{path}: {detail}");
    }
}

#[test]
fn what_is_not_there_is_a_problem_too() {
    let server = Running::new(Limits::default(), 10);
    let got = server.get("/api/v1/nothing");
    assert_eq!((got.status, &*got.kind), (404, "application/problem+json"));
    let got = server.post("/api/v1/connections", "{}");
    assert_eq!((got.status, &*got.kind), (405, "application/problem+json"));
}

#[test]
fn bodies_are_checked() {
    let limits = Limits {
        body: 1_000,
        ..Limits::default()
    };
    let server = Running::new(limits, 10);
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        (r#"{"from":"a/b"}"#, 400),
        (r#"{"from":"a/b","to":"c/d","colour":"red"}"#, 400),
        (&format!("{{\"from\":\"{}\"}}", "a".repeat(2_000)), 413),
    ] {
        let got = server.post("/api/v1/explain", body);
        assert_eq!(got.status, status, "{body}: {}", got.text());
        assert_eq!(got.kind, "application/problem+json");
    }
    let got = server.post("/api/v1/whatif", r#"{"policies":"not here"}"#);
    assert_eq!(got.status, 422);
}

#[test]
fn other_machines_stay_outside_without_tls() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let listening = Server::listen(address.parse().unwrap(), Security::default());
        assert!(
            matches!(listening, Err(ServeError::Exposed(_))),
            "{address}"
        );
    }
}
