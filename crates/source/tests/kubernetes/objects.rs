//! Objects for the policy compiler.

use std::collections::BTreeSet;
use std::time::Duration;

use netverdict_manifest::{Key, Kind};
use netverdict_source::kubernetes::{Cluster, KubeWatch};
use netverdict_source::objects::Objects;
use netverdict_source::{Counts, Stop};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::server::{Resource, Server};
use crate::taker::{Running, State};
use crate::{node, pod};

/// A kubeconfig file for a server. It is read when the watch begins.
struct Config(tempfile::TempDir);

impl Config {
    fn of(server: &Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config"), server.kubeconfig()).unwrap();
        Self(directory)
    }

    fn watch(&self, stop: Stop) -> KubeWatch {
        let cluster = Cluster::Kubeconfig(self.0.path().join("config"));
        KubeWatch::new(cluster, stop).look_again(Duration::from_millis(20))
    }

    fn follow(&self) -> Running {
        let stop = Stop::new().unwrap();
        Running::start(stop.clone(), self.watch(stop))
    }
}

/// What one list of each kind says.
fn list(config: &Config) -> Result<State, String> {
    let mut state = State::default();
    let watch = config.watch(Stop::new().unwrap()).once();
    let taken = Objects::run(Box::new(watch), &mut |change| {
        state.take(change);
        std::ops::ControlFlow::Continue(())
    });
    taken.map_err(|error| error.to_string())?;
    assert_eq!(state.changes, 1);
    Ok(state)
}

fn key(kind: Kind, name: &str) -> Key {
    Key::new(kind, if kind.is_namespaced() { "blue" } else { "" }, name)
}

fn namespace(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"a": "b"}}})
}

fn policy(name: &str, port: u16) -> Value {
    json!({
        "metadata": {"namespace": "blue", "name": name, "managedFields": [{"manager": "kubectl"}]},
        "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": port}]}]},
    })
}

fn firewall(name: &str) -> Value {
    json!({
        "metadata": {"namespace": "blue", "name": name},
        "spec": {"egress": [{"type": "Deny", "to": {"cidrSelector": "0.0.0.0/0"}}]},
        "status": {"status": "applied"},
    })
}

#[test]
fn the_first_change_is_all_there_is() {
    let server = Server::start();
    for number in 0..7 {
        server.put(
            Resource::Pods,
            pod(
                "blue",
                &format!("p{number}"),
                &[&format!("10.0.0.{number}")],
            ),
        );
    }
    server.page(3);
    server.cut_in_next_page();
    server.fail(Resource::Nodes, 2);
    server.put(Resource::Nodes, node("w1", "172.18.0.3"));
    server.put(Resource::Namespaces, namespace("blue"));
    server.put(Resource::Policies, policy("allow", 80));
    server.put(Resource::Firewalls, firewall("default"));
    let config = Config::of(&server);
    let watch = config.follow();
    watch.until("something", |state| state.changes > 0);
    assert!(!server.is_to_cut_a_page());
    let state = watch.end();
    assert_eq!((state.changes, state.objects.len()), (1, 11));
    assert_eq!(state.said, [""; 0]);
    let names: Vec<&str> = state
        .texts
        .values()
        .map(|(name, _)| name.as_str())
        .collect();
    for name in [
        "cluster:networkpolicies/blue/allow",
        "cluster:nodes/w1",
        "cluster:pods/blue/p6",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    let (_, text) = state
        .texts
        .values()
        .find(|(name, _)| name.ends_with("/allow"))
        .unwrap();
    let expected = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "allow", "namespace": "blue"},
        "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]},
    });
    assert_eq!(**text, serde_json::to_string_pretty(&expected).unwrap());
}

#[test]
fn changes_are_followed_and_what_says_nothing_new_is_not_told() {
    let server = Server::start();
    server.put(Resource::Pods, pod("blue", "a", &["10.0.0.1"]));
    server.put(Resource::Policies, policy("allow", 80));
    let config = Config::of(&server);
    let watch = config.follow();
    watch.until("the policy", |state| state.objects.len() == 2);
    let mut busy = pod("blue", "a", &["10.0.0.1"]);
    busy["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    busy["spec"]["containers"][0]["env"] = json!([{"name": "a", "value": "b"}]);
    busy["metadata"]["annotations"] = json!({"k8s.v1.cni.cncf.io/network-status": "[]"});
    server.put(Resource::Pods, busy);
    server.bookmark(Resource::Pods);
    server.put(Resource::Pods, pod("blue", "b", &["10.0.0.2"]));
    let b = key(Kind::Pod, "b");
    watch.until("b", |state| state.objects.contains_key(&b));
    server.delete(Resource::Policies, "blue/allow");
    server.put(Resource::Policies, policy("other", 81));
    let other = key(Kind::NetworkPolicy, "other");
    watch.until("other", |state| {
        state.objects.contains_key(&other) && state.objects.len() == 3
    });
    let state = watch.end();
    assert_eq!(state.texts.len(), 3);
    let told = [
        "Pod blue/a",
        "NetworkPolicy blue/allow",
        "Pod blue/b",
        "NetworkPolicy blue/allow",
        "NetworkPolicy blue/other",
    ];
    assert_eq!(state.told, told);
}

#[test]
fn an_object_that_goes_while_a_list_breaks_off_is_gone() {
    let server = Server::start();
    server.page(1);
    server.put(Resource::Policies, policy("a", 80));
    server.put(Resource::Policies, policy("b", 80));
    server.delete_and_cut_in_next_page(Resource::Policies, "blue/a");
    let config = Config::of(&server);
    let watch = config.follow();
    watch.until("the first state", |state| state.changes > 0);
    let state = watch.end();
    assert_eq!(
        state.objects.into_keys().collect::<Vec<_>>(),
        [key(Kind::NetworkPolicy, "b")]
    );
}

#[test]
fn what_went_while_the_watch_was_blind_is_told_as_gone() {
    for as_status in [false, true] {
        let server = Server::start();
        server.answer_gone_by_status(as_status);
        for name in ["stays", "goes", "moves"] {
            server.put(Resource::Policies, policy(name, 80));
        }
        let config = Config::of(&server);
        let watch = config.follow();
        watch.until("three", |state| state.objects.len() == 3);
        server.paused(|server| {
            server.cut();
            server.delete(Resource::Policies, "blue/goes");
            server.put(Resource::Policies, policy("moves", 81));
            server.put(Resource::Policies, policy("comes", 80));
            server.forget_past(Resource::Policies);
        });
        let listed = list(&config).unwrap().objects();
        watch.until("what a list says", |state| state.objects() == listed);
        watch.end();
    }
}

#[test]
fn a_kind_that_is_not_there_is_named_and_looked_for_again() {
    let server = Server::start();
    server.refuse(Resource::Firewalls, 404);
    server.put(Resource::Firewalls, firewall("default"));
    server.put(Resource::Policies, policy("allow", 80));
    let config = Config::of(&server);
    let watch = config.follow();
    watch.until("the others", |state| state.objects.len() == 1);
    let note = "note no-such-kind: the cluster has no egressfirewalls.k8s.ovn.org";
    watch.until("a note", |state| state.said == [note]);
    server.allow(Resource::Firewalls);
    let default = key(Kind::EgressFirewall, "default");
    watch.until("the firewall", |state| state.objects.contains_key(&default));
    // With its kind all objects of it go.
    server.refuse(Resource::Firewalls, 404);
    server.cut();
    watch.until("no firewall", |state| !state.objects.contains_key(&default));
    watch.until("the note again", |state| state.said == [note, note]);
    assert_eq!(list(&config).unwrap().said, [note]);
    watch.end();
}

#[test]
fn a_kind_that_is_forbidden_is_named_and_costs_no_other() {
    let server = Server::start();
    server.refuse(Resource::Policies, 403);
    server.put(Resource::Policies, policy("allow", 80));
    server.put(Resource::Namespaces, namespace("blue"));
    let config = Config::of(&server);
    let watch = config.follow();
    watch.until("the others", |state| state.objects.len() == 1);
    watch.said("error forbidden: the server does not let us see NetworkPolicy objects: policies is forbidden");
    server.allow(Resource::Policies);
    watch.until("both", |state| state.objects.len() == 2);
    // What is known stays while nobody may look.
    server.refuse(Resource::Policies, 403);
    server.cut();
    watch.until("named again", |state| state.said.len() == 2);
    server.put(Resource::Namespaces, namespace("red"));
    watch.until("red", |state| state.objects.len() == 3);
    server.delete(Resource::Policies, "blue/allow");
    server.allow(Resource::Policies);
    watch.until("the policy gone", |state| state.objects.len() == 2);
    watch.end();
}

#[test]
fn a_kind_that_every_cluster_has_is_waited_for() {
    let server = Server::start();
    server.put(Resource::Policies, policy("allow", 80));
    // As from a server that is none of Kubernetes.
    server.refuse(Resource::Policies, 404);
    let config = Config::of(&server);
    let error = list(&config).unwrap_err();
    assert!(
        error.contains("no list of NetworkPolicy objects"),
        "{error}"
    );
    let watch = config.follow();
    watch.until("nothing", |state| state.changes == 0);
    server.allow(Resource::Policies);
    watch.until("the policy", |state| state.objects.len() == 1);
    assert_eq!(watch.end().changes, 1);
}

#[test]
fn an_object_that_becomes_broken_stays_as_it_was() {
    let broken = |name: &str| {
        json!({"metadata": {"namespace": "blue", "name": name},
            "spec": {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}})
    };
    let server = Server::start();
    server.put(Resource::Policies, policy("allow", 80));
    server.put(Resource::Policies, broken("never"));
    let config = Config::of(&server);
    let stop = Stop::new().unwrap();
    let source = config.watch(stop.clone());
    let counters = source.counters();
    let watch = Running::start(stop, source);
    watch.said("NetworkPolicy blue/never");
    watch.until("the good one", |state| state.objects.len() == 1);
    let allow = key(Kind::NetworkPolicy, "allow");
    let port = |state: &State| {
        let (_, text) = &state.texts[&state.objects[&allow].meta.span.file];
        (80..90).find(|port| text.contains(&format!("\"port\": {port}")))
    };

    server.put(Resource::Policies, broken("allow"));
    watch.said("cluster:networkpolicies/blue/allow has become broken and stays as it was");
    watch.until("as it was", |state| port(state) == Some(80));
    let malformed = counters
        .counts()
        .into_iter()
        .find(|(name, _)| *name == "kubernetes_malformed");
    assert_eq!(malformed, Some(("kubernetes_malformed", 2)));
    server.put(Resource::Policies, policy("allow", 81));
    watch.until("mended", |state| port(state) == Some(81));
    server.put(Resource::Policies, broken("allow"));
    server.delete(Resource::Policies, "blue/allow");
    watch.until("gone", |state| state.objects.is_empty());
    watch.end();
}

#[derive(Clone, Debug)]
enum Step {
    Pod { name: u8, ip: u8, phase: bool },
    Policy { name: u8, port: u16 },
    BadPolicy(u8),
    Firewall(u8),
    Namespace(u8),
    Delete(u8, u8),
    Cut,
    CutInLine,
    CutInPage,
    Forget(u8),
    Bookmark(u8),
    Fail(u8),
    Refuse(u8, bool),
    Allow(u8),
    Line(u8),
}

const RESOURCES: [Resource; 4] = [
    Resource::Pods,
    Resource::Policies,
    Resource::Firewalls,
    Resource::Namespaces,
];

fn step() -> impl Strategy<Value = Step> {
    let (name, of) = (0..6_u8, 0..4_u8);
    prop_oneof![
        6 => (name.clone(), 1..9_u8, prop::bool::weighted(0.8))
            .prop_map(|(name, ip, phase)| Step::Pod { name, ip, phase }),
        6 => (name.clone(), 1..4_u16).prop_map(|(name, port)| Step::Policy { name, port }),
        1 => name.clone().prop_map(Step::BadPolicy),
        3 => name.clone().prop_map(Step::Firewall),
        2 => name.clone().prop_map(Step::Namespace),
        6 => (of.clone(), name).prop_map(|(of, name)| Step::Delete(of, name)),
        1 => Just(Step::Cut),
        1 => Just(Step::CutInLine),
        1 => Just(Step::CutInPage),
        2 => of.clone().prop_map(Step::Forget),
        1 => of.clone().prop_map(Step::Bookmark),
        1 => of.clone().prop_map(Step::Fail),
        1 => (of.clone(), any::<bool>()).prop_map(|(of, gone)| Step::Refuse(of, gone)),
        2 => of.clone().prop_map(Step::Allow),
        1 => of.prop_map(Step::Line),
    ]
}

fn play(server: &Server, step: &Step) {
    let of = |of: &u8| RESOURCES[usize::from(*of)];
    match step {
        Step::Pod { name, ip, phase } => {
            let mut pod = pod("blue", &format!("n{name}"), &[&format!("10.0.0.{ip}")]);
            pod["status"]["phase"] = json!(if *phase { "Running" } else { "Failed" });
            server.put(Resource::Pods, pod);
        }
        Step::Policy { name, port } => {
            server.put(Resource::Policies, policy(&format!("n{name}"), *port));
        }
        Step::BadPolicy(name) => server.put(
            Resource::Policies,
            json!({"metadata": {"namespace": "blue", "name": format!("n{name}")}, "spec": 1}),
        ),
        Step::Firewall(name) => server.put(Resource::Firewalls, firewall(&format!("n{name}"))),
        Step::Namespace(name) => server.put(Resource::Namespaces, namespace(&format!("n{name}"))),
        Step::Delete(resource, name) => match of(resource) {
            Resource::Namespaces => server.delete(Resource::Namespaces, &format!("n{name}")),
            resource => server.delete(resource, &format!("blue/n{name}")),
        },
        Step::Cut => server.cut(),
        Step::CutInLine => server.cut_in_next_line(),
        Step::CutInPage => server.cut_in_next_page(),
        Step::Forget(resource) => server.forget_past(of(resource)),
        Step::Bookmark(resource) => server.bookmark(of(resource)),
        Step::Fail(resource) => server.fail(of(resource), 1),
        Step::Refuse(resource, is_gone) => {
            server.refuse(of(resource), if *is_gone { 404 } else { 403 })
        }
        Step::Allow(resource) => server.allow(of(resource)),
        Step::Line(resource) => server.line(of(resource), "]"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever happens on the way, in the end the watch says what one list says.
    #[test]
    fn a_watch_of_objects_ends_where_a_list_begins(
        page in 1..5_usize,
        before in prop::collection::vec(step(), 0..20),
        after in prop::collection::vec(step(), 1..40),
    ) {
        let server = Server::start();
        server.page(page);
        before.iter().for_each(|step| play(&server, step));
        let config = Config::of(&server);
        let watch = config.follow();
        after.iter().for_each(|step| play(&server, step));
        server.heal();
        RESOURCES.into_iter().for_each(|resource| server.allow(resource));
        // What is broken is mended, so that nothing stays as it was.
        for name in server.named(Resource::Policies, |object| !object["spec"].is_object()) {
            server.put(Resource::Policies, policy(&name, 9));
        }
        // The last word of each kind, so that its arrival tells that all before it arrived.
        server.put(Resource::Pods, pod("blue", "end", &["10.0.0.10"]));
        server.put(Resource::Policies, policy("end", 1));
        server.put(Resource::Firewalls, firewall("end"));
        server.put(Resource::Namespaces, namespace("end"));
        let listed = list(&config).unwrap();
        let told = |state: &State| -> Vec<(Key, String)> {
            let text = |key: &Key| state.texts[&state.objects[key].meta.span.file].1.to_string();
            state.objects.keys().map(|key| (key.clone(), text(key))).collect()
        };
        watch.until("what a list says", |state| told(state) == told(&listed));
        let state = watch.end();
        prop_assert_eq!(told(&state), told(&listed));
        let texts: BTreeSet<&String> = state.texts.values().map(|(name, _)| name).collect();
        prop_assert!(texts.len() >= state.objects.len());
    }
}
