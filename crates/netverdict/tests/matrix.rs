//! `netverdict matrix` as people and scripts use it.
#![allow(clippy::unwrap_used)] // Of helpers; tests may anyway.

use std::path::PathBuf;
use std::process::{Command, Output};

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
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - namespaceSelector: {matchLabels: {team: red}}
      ports:
        - port: 8080
";

#[test]
fn pairs_by_the_one_who_connects() {
    let files = Files::new();
    let output = files.run(&["--manifests", "cluster.yaml", "policy.yaml"]);
    assert_eq!(output.status.code(), Some(0));
    let expected = "\
red/client
  all             outside
  8080/tcp        blue/server-* (2)
  services        blue/server:80/tcp
outside
  all             red/client
";
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn pairs_in_json() {
    let files = Files::new();
    let output = files.run(&["--manifests", "cluster.yaml", "policy.yaml", "-o", "json"]);
    let lines: Vec<serde_json::Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let client = serde_json::json!({"name": "red/client", "pods": ["red/client"]});
    let servers =
        serde_json::json!({"name": "blue/server-*", "pods": ["blue/server-0", "blue/server-1"]});
    assert!(
        lines.contains(&serde_json::json!({"from": client, "to": servers, "ports": ["8080/tcp"]}))
    );
    let service = lines
        .iter()
        .find(|line| line["from"] == client && line["service"].is_object())
        .unwrap();
    assert_eq!(service["service"]["name"], "blue/server");
    assert_eq!(
        (&service["reached"], &service["of"]),
        (&2.into(), &2.into())
    );
}

#[test]
fn a_difference_names_the_rules_and_is_an_exit_status() {
    let files = Files::new();
    let both = [
        "--manifests",
        "cluster.yaml",
        "wrong.yaml",
        "--against",
        "cluster.yaml",
        "policy.yaml",
    ];
    let output = files.run(&both);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let expected = "\
+ red/client -> blue/server-* (2)  8081/tcp
- red/client -> blue/server-* (2)  8080/tcp
    was  Dropped by network policies isolation in namespace blue, direction Ingress (NetworkPolicy blue/server, policy.yaml:3:35)
    is   Allowed by network policy server in namespace blue, direction Ingress (NetworkPolicy blue/server ingress[0], wrong.yaml:8:7)
";
    assert_eq!(text(&output.stdout), expected);
    let told = text(&output.stderr);
    assert!(
        told.contains("2 pairs reach each other on more ports, 2 on fewer"),
        "{told}"
    );

    let same = [
        "--manifests",
        "cluster.yaml",
        "policy.yaml",
        "--against",
        "cluster.yaml",
        "policy.yaml",
    ];
    let output = files.run(&same);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "");

    let graph = files.run(&[&both[..], &["-o", "dot"]].concat());
    let graph = text(&graph.stdout);
    assert!(
        graph.contains(r#""red/client" -> "blue/server-*" [label="8081/tcp", color=green];"#),
        "{graph}"
    );
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        let wrong = POLICY.replace("8080", "8081");
        for (name, text) in [
            ("cluster.yaml", CLUSTER),
            ("policy.yaml", POLICY),
            ("wrong.yaml", &wrong),
        ] {
            std::fs::write(files.path(name), text).unwrap();
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_netverdict"))
            .arg("matrix")
            .args(arguments)
            .current_dir(self.0.path())
            .env("COLUMNS", "100")
            .output()
            .unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
