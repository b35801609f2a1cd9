//! `netverdict matrix` as people and scripts use it.
#![allow(clippy::unwrap_used)] // Of helpers; tests may anyway.

mod files;

use std::process::Output;

use files::Files;

#[test]
fn pairs_by_the_one_who_connects() {
    let files = Files::new();
    let output = run(&files, &["--manifests", "cluster.yaml", "policy.yaml"]);
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
    let output = run(
        &files,
        &["--manifests", "cluster.yaml", "policy.yaml", "-o", "json"],
    );
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
    let output = run(&files, &both);
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
    let output = run(&files, &same);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "");

    let graph = run(&files, &[&both[..], &["-o", "dot"]].concat());
    let graph = text(&graph.stdout);
    assert!(
        graph.contains(r#""red/client" -> "blue/server-*" [label="8081/tcp", color=green];"#),
        "{graph}"
    );
}

fn run(files: &Files, arguments: &[&str]) -> Output {
    files.netverdict("matrix").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
