//! `netverdict whatif` as people and pipelines use it, on the connections of a server.
#![allow(clippy::unwrap_used, clippy::panic)] // Of helpers; tests may anyway.

mod schema;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use serde_json::{Value, json};

use schema::fits;

const CLUSTER: &str = "\
{apiVersion: v1, kind: Namespace, metadata: {name: blue, labels: {team: blue}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: red, labels: {team: red}}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: blue, name: server-0, labels: {app: server}}
spec: {nodeName: one, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: blue, name: server-1, labels: {app: server}}
spec: {nodeName: two, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: red, name: client, labels: {app: client}}
spec: {nodeName: two, containers: [{name: c}]}
---
apiVersion: v1
kind: Service
metadata: {namespace: blue, name: server}
spec: {selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}
";

const POLICY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: blue, name: server}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress:
    - from:
        - namespaceSelector: {matchLabels: {team: red}}
      ports:
        - port: 8080
";

#[test]
fn who_is_cut_off_and_who_is_let_in() {
    let files = Files::new();
    let output = files.run(&["wrong.yaml"], recorded());
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    let expected = "\
- red/client -> blue/server-* (2) (blue/server:80)  8080/tcp  seen 3 times, last 2026-11-23T08:15:33.000000000Z
    was  Allowed by network policy server in namespace blue, direction Ingress (NetworkPolicy blue/server ingress[0], policy.yaml:7:7)
    is   Dropped by network policies isolation in namespace blue, direction Ingress (NetworkPolicy blue/server, wrong.yaml:3:35)
+ red/client -> blue/server-0  8081/tcp  seen once, last 2026-11-23T08:15:34.000000000Z
    was  Dropped by network policies isolation in namespace blue, direction Ingress (NetworkPolicy blue/server, policy.yaml:3:35)
    is   Allowed by network policy server in namespace blue, direction Ingress (NetworkPolicy blue/server ingress[0], wrong.yaml:7:7)
? red/gone is not there: its labels are not known: 1 pair, seen once, last 2026-11-23T08:15:36.000000000Z
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
    let output = files.run(&["wrong.yaml", "-o", "json"], recorded());
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
    let same = files.run(&["policy.yaml"], recorded());
    assert_eq!(same.status.code(), Some(0), "{}", text(&same.stderr));
    let removed = files.run(&["--remove", "NetworkPolicy/blue/server"], recorded());
    assert_eq!(removed.status.code(), Some(3));
    assert!(text(&removed.stdout).contains("by no policy"));
    let nothing = files.run(&["wrong.yaml"], json!([]));
    assert_eq!(nothing.status.code(), Some(4), "{}", text(&nothing.stderr));
    let strange = files.run(&["--remove", "NetworkPolicy/blue/none"], recorded());
    assert_eq!(strange.status.code(), Some(1));
    let broken = files.run(&["broken.yaml"], recorded());
    assert_eq!(broken.status.code(), Some(1));
    assert!(text(&broken.stderr).contains("broken.yaml:5"));
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

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        let wrong = POLICY.replace("8080", "8081");
        let broken = POLICY.replace("podSelector: {", "podSelector: [");
        for (name, text) in [
            ("cluster.yaml", CLUSTER),
            ("policy.yaml", POLICY),
            ("wrong.yaml", &wrong),
            ("broken.yaml", &broken),
        ] {
            fs::write(files.0.path().join(name), text).unwrap();
        }
        files
    }

    fn run(&self, arguments: &[&str], connections: Value) -> Output {
        let url = serve(connections);
        Command::new(env!("CARGO_BIN_EXE_netverdict"))
            .current_dir(self.0.path())
            .arg("whatif")
            .args(arguments)
            .args(["--source", &format!("server:{url}")])
            .args(["--manifests", "cluster.yaml", "policy.yaml"])
            .output()
            .unwrap()
    }
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
