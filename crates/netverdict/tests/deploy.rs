//! The manifests in deploy/ are objects that Kubernetes has, without a field that it has not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::path::{Path, PathBuf};

use granit_parser::{Event, Parser, ScalarStyle, StrInput};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut parser = Parser::new_from_str(&text);
    let mut all = Vec::new();
    loop {
        match event(&mut parser) {
            Event::StreamEnd => return all,
            Event::DocumentStart(..) => all.push(value(&mut parser).unwrap()),
            _ => {}
        }
    }
}

fn event<'t>(parser: &mut Parser<'t, StrInput<'t>>) -> Event<'t> {
    parser.next().unwrap().unwrap().0
}

/// The next value; `None` at the end of a collection.
fn value<'t>(parser: &mut Parser<'t, StrInput<'t>>) -> Option<Value> {
    Some(match event(parser) {
        Event::Scalar(text, ScalarStyle::Plain, ..) => match &*text {
            "true" => json!(true),
            "false" => json!(false),
            "" | "null" | "~" => Value::Null,
            text => text
                .parse::<i64>()
                .map_or_else(|_| json!(text), |it| json!(it)),
        },
        Event::Scalar(text, ..) => json!(text),
        Event::SequenceStart(..) => Value::Array(std::iter::from_fn(|| value(parser)).collect()),
        Event::MappingStart(..) => {
            let mut map = Map::new();
            while let Some(key) = value(parser) {
                let old = map.insert(key.as_str().unwrap().to_owned(), value(parser).unwrap());
                assert!(old.is_none(), "{key} is there twice");
            }
            Value::Object(map)
        }
        Event::SequenceEnd | Event::MappingEnd => return None,
        // Comments.
        _ => return value(parser),
    })
}

/// A field that Kubernetes does not have is not there any more when it is written again.
fn check<T: DeserializeOwned + Serialize>(object: &Value) {
    let typed: T = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(&serde_json::to_value(typed).unwrap(), object);
}

fn find<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |it: &&Value| it["kind"] == kind && it["metadata"]["name"] == name;
    all.iter().find(is_it).unwrap()
}

#[test]
fn manifests_are_what_kubernetes_has() {
    let mut files = 0;
    for entry in std::fs::read_dir(deploy().join("kubernetes")).unwrap() {
        let path = entry.unwrap().path();
        files += 1;
        for object in documents(&path) {
            match object["kind"].as_str().unwrap() {
                "ClusterRole" => check::<ClusterRole>(&object),
                "ClusterRoleBinding" => check::<ClusterRoleBinding>(&object),
                "ConfigMap" => check::<ConfigMap>(&object),
                "DaemonSet" => check::<DaemonSet>(&object),
                "Namespace" => check::<Namespace>(&object),
                "ServiceAccount" => check::<ServiceAccount>(&object),
                other => panic!("{}: {other} is not checked", path.display()),
            }
        }
    }
    assert!(files >= 2);
}

#[test]
fn the_agents_parts_fit_together() {
    let all = documents(&deploy().join("kubernetes/agent.yaml"));
    let set = find(&all, "DaemonSet", "netverdict-agent");
    let pod = &set["spec"]["template"]["spec"];
    find(
        &all,
        "ServiceAccount",
        pod["serviceAccountName"].as_str().unwrap(),
    );
    let binding = find(&all, "ClusterRoleBinding", "netverdict-agent");
    find(
        &all,
        "ClusterRole",
        binding["roleRef"]["name"].as_str().unwrap(),
    );
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&set["spec"]["selector"]["matchLabels"], labels);
    let volumes: Vec<_> = pod["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    for mount in mounts {
        assert!(volumes.contains(&&mount["name"]), "{mount}");
    }
    assert_eq!(volumes.len(), mounts.len());
    // Its file is one that the program takes, and lies where it looks for it.
    let file = find(&all, "ConfigMap", "netverdict-agent")["data"]["agent.toml"]
        .as_str()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.toml");
    std::fs::write(&path, file).unwrap();
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_netverdict"))
        .args(["agent", "--check-config", "--config"])
        .arg(&path)
        .env("NETVERDICT_AGENT_NODE", "node")
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    for wanted in [
        "/run/ovn/",
        "/run/openvswitch/",
        "/etc/netverdict-secret/",
        "\"/var/lib/netverdict\"",
    ] {
        assert!(file.contains(wanted), "{wanted}");
        let place = wanted.trim_matches(['"', '/']);
        let is_there =
            |mount: &Value| mount["mountPath"].as_str().unwrap().trim_matches('/') == place;
        assert!(mounts.iter().any(is_there), "{wanted}");
    }
}
