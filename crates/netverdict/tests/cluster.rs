//! Policies of a live cluster, from an API server that is as much of one as a watch can tell.
#![allow(clippy::unwrap_used)] // Of helpers; tests may anyway.

#[allow(dead_code)] // What the watch's own tests need.
#[path = "../../source/tests/kubernetes/server.rs"]
mod server;

use std::process::{Command, Output};

use serde_json::{Value, json};

use server::{Resource, Server};

#[test]
fn policies_of_a_cluster_compile() {
    let server = Server::start();
    cluster(&server);
    let output = compile(&server);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains("the cluster's subnets are assumed: 10.244.0.0/16"),
        "{told}"
    );
    assert!(!told.contains("addresses are assumed"), "{told}");
    let rows: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let acl = rows
        .iter()
        .find(|row| {
            row["key"] == "default-network-controller:NetworkPolicy:blue:np:Ingress:0:tcp:-1"
        })
        .unwrap();
    assert_eq!(acl["zone"], "z1");
    let origin = &acl["origins"][0];
    assert_eq!(origin["object"], "NetworkPolicy blue/np");
    assert_eq!(origin["file"], "cluster:networkpolicies/blue/np");
    let port = rows.iter().find(|row| row["key"] == "blue_p1").unwrap();
    assert_eq!(
        port["columns"]["addresses"],
        json!(["0a:58:0a:f4:01:05 10.244.1.5"])
    );
}

#[test]
fn what_may_not_be_read_is_an_error() {
    let server = Server::start();
    cluster(&server);
    server.refuse(Resource::Policies, 403);
    let output = compile(&server);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("error[forbidden]"), "{told}");
}

#[test]
fn a_policy_is_taken_away_from_a_cluster() {
    let server = Server::start();
    cluster(&server);
    for (namespace, name, address) in [
        ("backend", "server", "10.244.1.6"),
        ("frontend", "client", "10.244.1.7"),
    ] {
        server.put(
            Resource::Namespaces,
            json!({"metadata": {"name": namespace}}),
        );
        server.put(
            Resource::Pods,
            json!({
                "metadata": {"namespace": namespace, "name": name},
                "spec": {"nodeName": "w1", "containers": [{"name": "c", "image": "i"}]},
                "status": {"phase": "Running", "podIPs": [{"ip": address}]},
            }),
        );
    }
    server.put(
        Resource::Policies,
        json!({
            "metadata": {"namespace": "backend", "name": "nobody"},
            "spec": {"podSelector": {}, "ingress": []},
        }),
    );
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config");
    std::fs::write(&config, server.kubeconfig()).unwrap();
    let whatif = |removed: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_netverdict"))
            .args(["whatif", "--remove", removed, "--source"])
            .arg(concat!(
                "capture:",
                env!("CARGO_MANIFEST_DIR"),
                "/../../lab/captures/two-nodes/ovn-worker-1.nvcap"
            ))
            .arg("--kubeconfig")
            .arg(&config)
            .output()
            .unwrap();
        let told = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap(),
            String::from_utf8(told).unwrap(),
        )
    };
    let (code, told) = whatif("NetworkPolicy/backend/nobody");
    assert_eq!(code, 3, "{told}");
    assert!(
        told.contains("+ frontend/client -> backend/server"),
        "{told}"
    );
    // It lets nobody in whom the capture has.
    let (code, told) = whatif("NetworkPolicy/blue/np");
    assert_eq!(code, 0, "{told}");
    server.refuse(Resource::Policies, 403);
    let (code, told) = whatif("NetworkPolicy/blue/np");
    assert_eq!(code, 1, "{told}");
}

fn cluster(server: &Server) {
    server.put(
        Resource::Nodes,
        json!({
            "metadata": {"name": "w1", "annotations": {
                "k8s.ovn.org/zone-name": "z1",
                "k8s.ovn.org/node-subnets": "{\"default\":[\"10.244.1.0/24\"]}",
            }},
            "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.2"}]},
        }),
    );
    server.put(Resource::Namespaces, json!({"metadata": {"name": "blue"}}));
    server.put(
        Resource::Pods,
        json!({
            "metadata": {"namespace": "blue", "name": "p1"},
            "spec": {"nodeName": "w1", "containers": [{"name": "c", "image": "i"}]},
            "status": {"phase": "Running", "podIPs": [{"ip": "10.244.1.5"}]},
        }),
    );
    server.put(
        Resource::Policies,
        json!({
            "metadata": {"namespace": "blue", "name": "np"},
            "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]},
        }),
    );
}

fn compile(server: &Server) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config");
    std::fs::write(&config, server.kubeconfig()).unwrap();
    Command::new(env!("CARGO_BIN_EXE_netverdict"))
        .args(["compile", "-o", "json", "--kubeconfig"])
        .arg(config)
        .output()
        .unwrap()
}
