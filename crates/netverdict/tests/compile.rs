//! `netverdict compile` as people and scripts use it.
#![allow(clippy::unwrap_used)] // Of helpers; tests may anyway.

use std::io::Write;
use std::process::{Command, Output, Stdio};

const POLICY: &str = "\
kind: Pod
apiVersion: v1
metadata: {name: server, namespace: blue, labels: {app: server}}
spec: {containers: [{name: c}]}
---
kind: NetworkPolicy
apiVersion: networking.k8s.io/v1
metadata: {name: allow-office, namespace: blue}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress:
  - from: [{ipBlock: {cidr: 192.0.2.0/24}}]
    ports: [{port: 8080}]
";

#[test]
fn a_policy_from_standard_input() {
    let output = compile(&["-"], POLICY);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains('\x1b'), "no colours but on a terminal");
    let heading = text
        .lines()
        .position(|line| line == "NetworkPolicy blue/allow-office")
        .unwrap();
    let acl = text.lines().nth(heading + 2).unwrap();
    let cells: Vec<&str> = acl.split_whitespace().collect();
    assert_eq!(
        cells[..6],
        [
            "ingress[0]",
            "Ingress:0:tcp:-2",
            "2",
            "1001",
            "to-lport",
            "allow-related"
        ]
    );
    assert_eq!(cells[7], "<stdin>:12:5");
    assert!(acl.contains("ip4.src == 192.0.2.0/24 && tcp && tcp.dst==8080 && outport == @a"));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("nodes are assumed: node-1"), "{told}");
    assert!(
        told.contains("0 errors, 0 warnings; 2 objects and "),
        "{told}"
    );
}

#[test]
fn a_broken_document_costs_no_good_one() {
    let broken = format!("kind: Pod\napiVersion: v1\nmetadata: [\n---\n{POLICY}");
    let output = compile(&["-"], &broken);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("NetworkPolicy blue/allow-office"), "{text}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("<stdin>:"), "{told}");
    assert!(told.contains("1 error, "), "{told}");
}

#[test]
fn without_samples_none_are_made() {
    for (sampling, has) in [("on", true), ("off", false)] {
        let output = compile(&["-", "-o", "json", "--sampling", sampling], POLICY);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.contains("sample_new"), has);
        assert_eq!(text.contains("\"table\":\"Sample_Collector\""), has);
    }
}

#[test]
fn what_is_wrong_is_told_by_the_exit_status() {
    for (arguments, status) in [
        (&["-", "--zone", "nowhere"][..], 1),
        (&["/nowhere.yaml"], 1),
        (&[], 2),
        (&["-", "--cluster-subnet", "10.0.0.0"], 2),
        (&["-", "--compat", "somebody"], 2),
    ] {
        let output = compile(arguments, POLICY);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        assert!(output.stdout.is_empty());
        assert!(!output.stderr.is_empty());
    }
}

fn compile(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netverdict"))
        .arg("compile")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading.
    let _ = command.stdin.take().unwrap().write_all(input.as_bytes());
    command.wait_with_output().unwrap()
}
