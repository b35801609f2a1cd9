//! `netverdict whatif` as people and pipelines use it, on the connections of a server.
#![allow(clippy::unwrap_used, clippy::panic)] // Of helpers; tests may anyway.

mod files;
mod schema;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use serde_json::{Value, json};

use files::Files;
use schema::fits;

#[test]
fn who_is_cut_off_and_who_is_let_in() {
    let files = Files::new();
    let output = run(&files, &["wrong.yaml"], recorded());
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    let expected = "\
- red/client -> blue/server-* (2) (blue/server:80)  8080/tcp  seen 3 times, last 2026-11-23T08:15:33Z
    was  Allowed by network policy server in namespace blue, direction Ingress (NetworkPolicy blue/server ingress[0], policy.yaml:8:7)
    is   Dropped by network policies isolation in namespace blue, direction Ingress (NetworkPolicy blue/server, wrong.yaml:3:35)
+ red/client -> blue/server-0  8081/tcp  seen once, last 2026-11-23T08:15:34Z
    was  Dropped by network policies isolation in namespace blue, direction Ingress (NetworkPolicy blue/server, policy.yaml:3:35)
    is   Allowed by network policy server in namespace blue, direction Ingress (NetworkPolicy blue/server ingress[0], wrong.yaml:8:7)
? red/gone is not there: its labels are not known: 1 pair, seen once, last 2026-11-23T08:15:36Z
";
    assert_eq!(text(&output.stdout), expected);
    let expected = "\
netverdict: of 4 pairs (5 connections) that were judged, 1 pair (1 connection) would be allowed that are not, 2 pairs (3 connections) would be dropped that are allowed
netverdict: 1 pair (1 connection) could not be judged
netverdict: 1 connection was recorded with another verdict than the policies of today give: these have changed since, or not all that judged was sampled
";
    let ours: String = told
        .lines()
        .filter(|line| !line.contains("warning"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(ours, expected);
}

#[test]
fn the_same_in_json_is_as_documented() {
    let files = Files::new();
    let output = run(&files, &["wrong.yaml", "-o", "json"], recorded());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let schema = fs::read_to_string(root.join("docs/whatif.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let lines: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for line in &lines {
        if let Err(fault) = fits(&schema, &schema, line) {
            panic!("{fault}\n{line}");
        }
    }
    let mut changes: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["change"].as_str())
        .collect();
    changes.sort_unstable();
    assert_eq!(changes, ["closed", "closed", "opened", "unknown"]);
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!(summary["closed"], json!({"pairs": 2, "connections": 3}));
}

#[test]
fn what_changes_nothing_and_what_cannot_be_known() {
    let files = Files::new();
    let same = run(&files, &["policy.yaml"], recorded());
    assert_eq!(same.status.code(), Some(0), "{}", text(&same.stderr));
    let removed = run(
        &files,
        &["--remove", "NetworkPolicy/blue/server"],
        recorded(),
    );
    assert_eq!(removed.status.code(), Some(3));
    assert!(text(&removed.stdout).contains("by no policy"));
    let nothing = run(&files, &["wrong.yaml"], json!([]));
    assert_eq!(nothing.status.code(), Some(4), "{}", text(&nothing.stderr));
    let strange = run(&files, &["--remove", "NetworkPolicy/blue/none"], recorded());
    assert_eq!(strange.status.code(), Some(1));
    let broken = run(&files, &["broken.yaml"], recorded());
    assert_eq!(broken.status.code(), Some(1));
    assert!(text(&broken.stderr).contains("broken.yaml:5"));
}

#[test]
fn rows_as_they_would_be() {
    let shop = tempfile::tempdir().unwrap();
    let shop = shop.path();
    let demo = Command::new(env!("CARGO_BIN_EXE_netverdict"))
        .args(["demo", "--for", "1", "--directory"])
        .arg(shop)
        .output()
        .unwrap();
    assert!(demo.status.success(), "{}", text(&demo.stderr));
    // Rows say what policies said, search's port among it.
    let rows = fs::read_to_string(shop.join("worker-3/nb.json")).unwrap();
    let changed = rows.replace("tcp.dst==9300", "tcp.dst==9200");
    assert_ne!(rows, changed);
    fs::write(shop.join("changed.json"), changed).unwrap();

    let whatif = |arguments: &str| {
        let url = serve(json!([{
            "id": "1", "seq": 0, "verdict": "dropped", "protocol": "tcp",
            "start": "2026-11-23T08:15:30Z", "end": "2026-11-23T08:15:31Z",
            "src": {"ip": "10.244.1.5", "port": 40_000, "namespace": "shop", "pod": "catalog-0", "kind": "pod"},
            "dst": {"ip": "10.244.2.5", "port": 9200, "namespace": "data", "pod": "search-0", "kind": "pod"},
            "counts": [], "message": "",
        }]));
        let output = Command::new(env!("CARGO_BIN_EXE_netverdict"))
            .arg("whatif")
            .args(arguments.split(' '))
            .args(["--source", &format!("server:{url}")])
            .current_dir(shop)
            .output()
            .unwrap();
        let (out, told) = (text(&output.stdout), text(&output.stderr));
        (output.status.code().unwrap(), format!("{out}{told}"))
    };
    let today = "--nb worker-1/nb.json --nb worker-2/nb.json --nb worker-3/nb.json";
    let with = "--changed-nb worker-1/nb.json --changed-nb worker-2/nb.json --changed-nb";
    let (code, told) = whatif(&format!("{today} {with} changed.json"));
    assert_eq!(code, 3, "{told}");
    assert!(
        told.starts_with("+ shop/catalog-0 -> data/search-0  9200/tcp  seen once"),
        "{told}"
    );
    let (code, told) = whatif(&format!("{today} {with} worker-3/nb.json"));
    assert_eq!(code, 0, "{told}");
    // Policies cannot be compiled over rows.
    let (code, told) = whatif(&format!("manifests/4-policies.yaml {today}"));
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("labels"), "{told}");
    let (code, told) = whatif("--manifests manifests --changed-nb changed.json");
    assert_eq!(code, 2, "{told}");
}

/// What the server tells.
fn recorded() -> Value {
    let row = |second: u32, verdict: &str, from: &str, to: [&str; 2], port: u16, service: bool| {
        let mut row = json!({
            "id": second.to_string(), "seq": 0, "verdict": verdict, "protocol": "tcp",
            "start": format!("2026-11-23T08:15:{second:02}Z"),
            "end": format!("2026-11-23T08:15:{second:02}Z"),
            "src": {"ip": "10.244.1.5", "port": 40_000, "namespace": "red", "pod": from, "kind": "pod"},
            "dst": {"ip": to[1], "port": port, "namespace": "blue", "pod": to[0], "kind": "pod"},
            "counts": [], "message": "",
        });
        if service {
            row["service"] =
                json!({"namespace": "blue", "name": "server", "ip": "10.96.0.10", "port": 80});
        }
        row
    };
    let (zero, one) = (["server-0", "10.244.0.3"], ["server-1", "10.244.1.3"]);
    json!([
        row(31, "allowed", "client", zero, 8080, true),
        row(32, "allowed", "client", zero, 8080, true),
        row(33, "allowed", "client", one, 8080, true),
        row(34, "dropped", "client", zero, 8081, false),
        // It is dropped before and after.
        row(35, "allowed", "client", zero, 22, false),
        row(36, "allowed", "gone", zero, 8080, false),
    ])
}

fn run(files: &Files, arguments: &[&str], connections: Value) -> Output {
    let url = serve(connections);
    files
        .netverdict("whatif")
        .args(arguments)
        .args(["--source", &format!("server:{url}")])
        .args(["--manifests", "cluster.yaml", "policy.yaml"])
        .output()
        .unwrap()
}

/// A server that has these connections.
fn serve(connections: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap() == 0 {
                    break;
                }
                request.push(byte[0]);
            }
            assert!(request.starts_with(b"GET /api/v1/connections?"));
            let body = json!({"items": connections, "next": null}).to_string();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
        }
    });
    url
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
