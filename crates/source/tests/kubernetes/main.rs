//! The watch on Kubernetes against a small API server of our own, over plain HTTP on loopback.
#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used)]

mod objects;
#[expect(
    dead_code,
    reason = "the tests of the server script it, and look at what was posted"
)]
mod server;
#[path = "../taker/mod.rs"]
mod taker;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use netverdict_source::kubernetes::{Cluster, Counters, KubeWatch};
use netverdict_source::{Counts, Stop};
use netverdict_types::{Endpoint, EndpointKind};
use netverdict_verdict::{Endpoints, NameChange};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::server::{Resource, Server};

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;
type Table = BTreeMap<(String, IpAddr), Endpoint>;

/// A running watch and what it has told so far.
struct Running {
    told: Arc<(Mutex<Told>, Condvar)>,
    stop: Stop,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<Outcome>>,
    _directory: tempfile::TempDir,
}

#[derive(Debug, Default)]
struct Told {
    table: Table,
    changes: Vec<NameChange>,
}

impl Running {
    fn start(server: &Server) -> Self {
        Self::start_with(server, |watch| watch, usize::MAX)
    }

    /// Breaks off after so many batches.
    fn start_with(
        server: &Server,
        with: impl FnOnce(KubeWatch) -> KubeWatch,
        batches: usize,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        std::fs::write(&path, server.kubeconfig()).unwrap();
        let stop = Stop::new().unwrap();
        let cluster: Cluster = path.to_str().unwrap().parse().unwrap();
        let watch = with(KubeWatch::new(cluster, stop.clone()));
        let counters = watch.counters();
        let told = Arc::<(Mutex<Told>, Condvar)>::default();
        let thread = std::thread::spawn({
            let told = Arc::clone(&told);
            let mut left = batches;
            move || {
                Box::new(watch).run(&mut |changes| {
                    let mut now = told.0.lock().unwrap();
                    for change in changes {
                        let key = (change.network.clone(), change.ip);
                        let before = now.table.get(&key);
                        assert_ne!(before, change.endpoint.as_ref(), "no change: {change:?}");
                        match change.endpoint.clone() {
                            Some(endpoint) => now.table.insert(key, endpoint),
                            None => now.table.remove(&key),
                        };
                        now.changes.push(change);
                    }
                    told.1.notify_all();
                    left -= 1;
                    if left == 0 {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })
            }
        });
        Self {
            told,
            stop,
            counters,
            thread: Some(thread),
            _directory: directory,
        }
    }

    /// Waits until `is` holds.
    fn until(&self, what: &str, is: impl Fn(&Table) -> bool) -> Table {
        let (told, changed) = &*self.told;
        let (told, late) = changed
            .wait_timeout_while(told.lock().unwrap(), Duration::from_secs(60), |told| {
                !is(&told.table)
            })
            .unwrap();
        assert!(
            !late.timed_out(),
            "never: {what}; counted {:?}; told {told:#?}",
            self.counters.counts()
        );
        told.table.clone()
    }

    /// Waits until an address has this name, or none.
    fn named(&self, network: &str, ip: &str, name: Option<&str>) {
        let key = (network.to_owned(), ip.parse().unwrap());
        self.until(&format!("{ip} is {name:?}"), |table| {
            table
                .get(&key)
                .and_then(|endpoint| endpoint.name.as_deref())
                == name
        });
    }

    fn forget_changes(&self) {
        self.told.0.lock().unwrap().changes.clear();
    }

    fn changes(&self) -> Vec<(String, Option<String>)> {
        let told = self.told.0.lock().unwrap();
        let tell = |change: &NameChange| {
            let name = change
                .endpoint
                .as_ref()
                .and_then(|endpoint| endpoint.name.clone());
            (change.ip.to_string(), name)
        };
        told.changes.iter().map(tell).collect()
    }

    fn finish(mut self) -> Outcome {
        self.stop.stop();
        self.thread.take().unwrap().join().unwrap()
    }

    fn wait(mut self) -> (Outcome, Table) {
        let outcome = self.thread.take().unwrap().join().unwrap();
        let table = self.told.0.lock().unwrap().table.clone();
        (outcome, table)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

fn pod(namespace: &str, name: &str, ips: &[&str]) -> Value {
    let ips: Vec<_> = ips.iter().map(|ip| json!({"ip": ip})).collect();
    json!({
        "metadata": {"namespace": namespace, "name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": "w1", "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running", "podIPs": ips},
    })
}

fn node(name: &str, ip: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "status": {"addresses": [{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": name}]},
    })
}

#[test]
fn lists_in_pages_and_follows() {
    let server = Server::start();
    for number in 0..1201 {
        let (name, ip) = (
            format!("p{number}"),
            format!("10.1.{}.{}", number / 250, number % 250),
        );
        server.put(Resource::Pods, pod("blue", &name, &[&ip]));
    }
    server.put(Resource::Nodes, node("w1", "172.18.0.3"));
    server.put(
        Resource::Services,
        json!({"metadata": {"namespace": "blue", "name": "web"}, "spec": {"clusterIPs": ["10.96.0.9", "fd01::9"]}}),
    );
    let watch = Running::start(&server);
    let table = watch.until("all names", |table| table.len() == 1204);
    let at = |ip: &str| &table[&("default".to_owned(), ip.parse::<IpAddr>().unwrap())];
    assert_eq!(
        at("10.1.4.200"),
        &Endpoint {
            kind: EndpointKind::Pod,
            namespace: Some("blue".to_owned()),
            name: Some("p1200".to_owned()),
            node: Some("w1".to_owned()),
        }
    );
    assert_eq!(at("172.18.0.3").kind, EndpointKind::Node);
    assert_eq!(at("fd01::9").kind, EndpointKind::Service);
    assert!(server.requests(Resource::Pods, "continue=") >= 2);

    // An address moves from one pod to another, whichever is told first.
    server.put(Resource::Pods, pod("blue", "new", &["10.9.9.9"]));
    watch.named("default", "10.9.9.9", Some("new"));
    let mut younger = pod("blue", "younger", &["10.9.9.9"]);
    younger["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:01Z");
    server.put(Resource::Pods, younger);
    watch.named("default", "10.9.9.9", Some("younger"));
    server.delete(Resource::Pods, "blue/new");
    server.delete(Resource::Pods, "blue/younger");
    watch.named("default", "10.9.9.9", None);

    // A pod that has ended gives its address back.
    let mut ended = pod("blue", "p0", &["10.1.0.0"]);
    ended["status"]["phase"] = json!("Succeeded");
    server.put(Resource::Pods, ended);
    watch.named("default", "10.1.0.0", None);
    assert_eq!(watch.counters.lists.read(), 4);
    watch.finish().unwrap();
}

#[test]
fn a_version_that_is_gone_costs_a_list_and_tells_the_differences_only() {
    for as_status in [false, true] {
        let server = Server::start();
        server.answer_gone_by_status(as_status);
        for name in ["stays", "moves", "goes"] {
            let ip = match name {
                "stays" => "10.0.0.1",
                "moves" => "10.0.0.2",
                _ => "10.0.0.3",
            };
            server.put(Resource::Pods, pod("blue", name, &[ip]));
        }
        let watch = Running::start(&server);
        watch.until("all names", |table| table.len() == 3);
        watch.forget_changes();

        server.paused(|server| {
            server.cut();
            server.delete(Resource::Pods, "blue/goes");
            server.put(Resource::Pods, pod("blue", "moves", &["10.0.0.4"]));
            server.put(Resource::Pods, pod("blue", "comes", &["10.0.0.5"]));
            server.forget_past(Resource::Pods);
        });
        watch.named("default", "10.0.0.3", None);
        watch.named("default", "10.0.0.5", Some("comes"));
        let changes: BTreeSet<_> = watch.changes().into_iter().collect();
        let name = |name: &str| Some(name.to_owned());
        let expected = [
            ("10.0.0.2", None),
            ("10.0.0.3", None),
            ("10.0.0.4", name("moves")),
            ("10.0.0.5", name("comes")),
        ];
        let expected = expected.map(|(ip, name)| (ip.to_owned(), name));
        assert_eq!(changes, BTreeSet::from(expected));
        assert_eq!(watch.changes().len(), 4);
        // Each of the four watches broke off once; to be told "gone" is no failure.
        assert!(watch.counters.failures.read() <= 4);
        watch.finish().unwrap();
    }
}

#[test]
fn a_bookmark_keeps_the_version_young() {
    let server = Server::start();
    server.put(Resource::Pods, pod("blue", "a", &["10.0.0.1"]));
    let watch = Running::start(&server);
    watch.named("default", "10.0.0.1", Some("a"));
    // Changes of nodes raise the version; only a bookmark tells the watch on pods.
    for number in 0..50 {
        server.put(Resource::Nodes, node("w1", &format!("172.18.0.{number}")));
    }
    watch.named("default", "172.18.0.49", Some("w1"));
    server.bookmark(Resource::Pods);
    server.put(Resource::Pods, pod("blue", "b", &["10.0.0.2"]));
    watch.named("default", "10.0.0.2", Some("b"));
    server.forget_past(Resource::Pods);
    server.cut();
    server.put(Resource::Pods, pod("blue", "c", &["10.0.0.3"]));
    watch.named("default", "10.0.0.3", Some("c"));
    assert_eq!(watch.counters.lists.read(), 4);
    watch.finish().unwrap();
}

#[test]
fn half_a_line_at_a_cut_connection_is_sent_again() {
    let server = Server::start();
    server.put(Resource::Pods, pod("blue", "a", &["10.0.0.1"]));
    let watch = Running::start(&server);
    watch.named("default", "10.0.0.1", Some("a"));
    for number in 2..8 {
        server.cut_in_next_line();
        let (name, ip) = (format!("p{number}"), format!("10.0.0.{number}"));
        server.put(Resource::Pods, pod("blue", &name, &[&ip]));
        watch.named("default", &ip, Some(&name));
    }
    assert!(watch.counters.failures.read() >= 1);
    assert_eq!(watch.counters.malformed.read(), 0);
    assert_eq!(watch.counters.lists.read(), 4);
    watch.finish().unwrap();
}

#[test]
fn an_object_that_makes_no_sense_costs_no_other() {
    let bad = |name: &str| {
        [
            json!({"metadata": {"namespace": "blue", "name": name}, "status": {"podIPs": 7}}),
            json!({"metadata": {"namespace": "blue", "name": name, "annotations": [1]}}),
            json!({"metadata": {"namespace": "blue", "name": name}, "spec": {"hostNetwork": "yes"}}),
            json!({"metadata": {"namespace": "blue", "name": name}, "spec": [], "status": "none"}),
        ]
    };
    let server = Server::start();
    server.put(Resource::Pods, pod("blue", "a", &["10.0.0.1"]));
    for (number, object) in bad("bad").into_iter().enumerate() {
        server.put_as(Resource::Pods, &format!("blue/bad{number}"), object);
    }
    server.put_as(Resource::Pods, "blue/five", json!(5));
    server.put(Resource::Pods, pod("blue", "y", &["10.0.0.25", "nonsense"]));
    server.put(Resource::Pods, pod("blue", "z", &["10.0.0.26"]));
    let watch = Running::start(&server);
    watch.until("the good names", |table| table.len() == 2);
    assert_eq!(watch.counters.malformed.read(), 6);

    server.put(Resource::Pods, pod("blue", "later", &["10.0.0.30"]));
    watch.named("default", "10.0.0.30", Some("later"));
    for object in bad("later") {
        server.put(Resource::Pods, object);
    }
    server.line(Resource::Pods, "what?");
    server.line(Resource::Pods, r#"{"type":"MODIFIED"}"#);
    server.line(Resource::Pods, r#"{"type":"RENAMED","object":{}}"#);
    server.put(Resource::Pods, pod("blue", "last", &["10.0.0.31"]));
    watch.named("default", "10.0.0.31", Some("last"));
    // Nobody knows what the pod has now.
    watch.named("default", "10.0.0.30", None);
    assert_eq!(watch.counters.malformed.read(), 12);
    assert_eq!(watch.counters.lists.read(), 4);
    watch.finish().unwrap();
}

#[test]
fn kinds_that_are_refused_cost_no_others() {
    let server = Server::start();
    server.refuse(Resource::Services, 403);
    server.refuse(Resource::Attachments, 404);
    server.put(Resource::Pods, pod("blue", "a", &["10.0.0.1"]));
    let watch = Running::start(&server);
    watch.named("default", "10.0.0.1", Some("a"));
    watch.finish().unwrap();

    let (outcome, table) = Running::start_with(&server, KubeWatch::once, usize::MAX).wait();
    outcome.unwrap();
    assert_eq!(table.len(), 1);

    server.refuse(Resource::Nodes, 403);
    let (outcome, _) = Running::start_with(&server, KubeWatch::once, usize::MAX).wait();
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("no list of Node objects"), "{error}");
    assert!(error.contains("nodes is forbidden"), "{error}");
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let server = Server::start();
    server.put(Resource::Pods, pod("blue", "a", &["10.0.0.1"]));
    server.fail(Resource::Pods, 3);
    let watch = Running::start(&server);
    watch.named("default", "10.0.0.1", Some("a"));
    assert_eq!(watch.counters.failures.read(), 3);
    watch.finish().unwrap();
}

#[test]
fn ends_when_told_and_when_nobody_listens() {
    let server = Server::start();
    let idle = Running::start(&server);
    idle.finish().unwrap();

    server.put(Resource::Pods, pod("blue", "a", &["10.0.0.1"]));
    let (outcome, table) = Running::start_with(&server, |watch| watch, 1).wait();
    outcome.unwrap();
    assert_eq!(table.len(), 1);
}

#[test]
fn without_a_server_or_a_file_the_error_says_what_is_wrong() {
    let stop = Stop::new().unwrap();
    let watch = KubeWatch::new(Cluster::Kubeconfig("/does/not/exist".into()), stop.clone());
    let error = Box::new(watch)
        .run(&mut |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert!(error.to_string().contains("/does/not/exist"), "{error}");
    assert_eq!("in-cluster".parse(), Ok(Cluster::Own));

    // A server that is not there: the cause is told.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let directory = tempfile::tempdir().unwrap();
    for scheme in ["http", "https"] {
        let path = directory.path().join(scheme);
        let config = server::kubeconfig(&format!("{scheme}://127.0.0.1:{port}"));
        std::fs::write(&path, config).unwrap();
        let watch = KubeWatch::new(Cluster::Kubeconfig(path), stop.clone()).once();
        let error = Box::new(watch)
            .run(&mut |_| ControlFlow::Continue(()))
            .unwrap_err()
            .to_string();
        assert!(error.contains("Connection refused"), "{error}");
    }

    // Stopped before it began: a server that is not there is no reason to stay.
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    std::fs::write(&path, server.kubeconfig()).unwrap();
    drop(server);
    stop.stop();
    let watch = KubeWatch::new(Cluster::Kubeconfig(path), stop);
    Box::new(watch)
        .run(&mut |_| ControlFlow::Continue(()))
        .unwrap();
}

#[test]
fn an_attachment_tells_the_network_before_or_after_the_pod() {
    let attachment = |namespace: &str, name: &str, network: &str| {
        json!({"metadata": {"namespace": namespace, "name": name},
            "spec": {"config": format!(r#"{{"cniVersion":"1.0.0","name":"{network}","type":"ovn-k8s-cni-overlay"}}"#)}})
    };
    let attached = |namespace: &str, name: &str, to: &str| {
        let mut pod = pod(namespace, name, &[]);
        let networks =
            format!(r#"{{"{to}":{{"ip_addresses":["10.200.0.5/16"],"role":"primary"}}}}"#);
        pod["metadata"]["annotations"] = json!({"k8s.ovn.org/pod-networks": networks});
        pod
    };
    let server = Server::start();
    server.put(
        Resource::Attachments,
        attachment("red", "tenant", "cluster_udn_tenant"),
    );
    server.put(Resource::Pods, attached("red", "a", "red/tenant"));
    server.put(Resource::Pods, attached("blue", "b", "blue/own"));
    let watch = Running::start(&server);
    watch.named("cluster_udn_tenant", "10.200.0.5", Some("a"));
    watch.named("blue_own", "10.200.0.5", Some("b"));
    watch.until("two networks with the same address", |table| {
        table.len() == 2
    });

    server.put(Resource::Pods, attached("green", "c", "green/tenant"));
    watch.named("green_tenant", "10.200.0.5", Some("c"));
    server.put(
        Resource::Attachments,
        attachment("green", "tenant", "by-hand"),
    );
    watch.named("by-hand", "10.200.0.5", Some("c"));
    watch.named("green_tenant", "10.200.0.5", None);
    server.delete(Resource::Attachments, "green/tenant");
    watch.named("green_tenant", "10.200.0.5", Some("c"));
    watch.named("by-hand", "10.200.0.5", None);
    watch.finish().unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Pod {
        name: u8,
        ip: u8,
        age: u8,
        phase: u8,
        host: bool,
    },
    BadPod {
        name: u8,
    },
    DeletePod {
        name: u8,
    },
    Node {
        name: u8,
        ip: u8,
    },
    DeleteNode {
        name: u8,
    },
    Service {
        name: u8,
        ip: u8,
    },
    DeleteService {
        name: u8,
    },
    Cut,
    CutInLine,
    Forget(u8),
    Bookmark(u8),
    Fail(u8),
    Line,
}

fn step() -> impl Strategy<Value = Step> {
    let (name, ip) = (0..5_u8, 0..6_u8);
    prop_oneof![
        8 => (name.clone(), ip.clone(), 0..3_u8, 0..6_u8, prop::bool::weighted(0.1))
            .prop_map(|(name, ip, age, phase, host)| Step::Pod { name, ip, age, phase, host }),
        1 => name.clone().prop_map(|name| Step::BadPod { name }),
        3 => name.clone().prop_map(|name| Step::DeletePod { name }),
        2 => (name.clone(), ip.clone()).prop_map(|(name, ip)| Step::Node { name, ip }),
        1 => name.clone().prop_map(|name| Step::DeleteNode { name }),
        2 => (name.clone(), ip).prop_map(|(name, ip)| Step::Service { name, ip }),
        1 => name.prop_map(|name| Step::DeleteService { name }),
        1 => Just(Step::Cut),
        1 => Just(Step::CutInLine),
        1 => (0..3_u8).prop_map(Step::Forget),
        1 => (0..3_u8).prop_map(Step::Bookmark),
        1 => (0..3_u8).prop_map(Step::Fail),
        1 => Just(Step::Line),
    ]
}

fn take(server: &Server, step: &Step) {
    let kinds = [Resource::Pods, Resource::Nodes, Resource::Services];
    let ip = |ip: &u8| format!("10.0.0.{ip}");
    match step {
        Step::Pod { name, ip: number, age, phase, host } => {
            let mut pod = pod("blue", &format!("p{name}"), &[&ip(number)]);
            pod["metadata"]["creationTimestamp"] = json!(format!("2026-01-01T00:00:0{age}Z"));
            pod["spec"]["hostNetwork"] = json!(host);
            let phases = ["Pending", "Running", "Running", "Running", "Succeeded", "Failed"];
            pod["status"]["phase"] = json!(phases[usize::from(*phase)]);
            server.put(Resource::Pods, pod);
        }
        Step::BadPod { name } => server.put(
            Resource::Pods,
            json!({"metadata": {"namespace": "blue", "name": format!("p{name}")}, "status": 1}),
        ),
        Step::DeletePod { name } => server.delete(Resource::Pods, &format!("blue/p{name}")),
        Step::Node { name, ip: number } => {
            server.put(Resource::Nodes, node(&format!("n{name}"), &ip(number)));
        }
        Step::DeleteNode { name } => server.delete(Resource::Nodes, &format!("n{name}")),
        Step::Service { name, ip: number } => server.put(
            Resource::Services,
            json!({"metadata": {"namespace": "blue", "name": format!("s{name}")}, "spec": {"clusterIPs": [ip(number)]}}),
        ),
        Step::DeleteService { name } => server.delete(Resource::Services, &format!("blue/s{name}")),
        Step::Cut => server.cut(),
        Step::CutInLine => server.cut_in_next_line(),
        Step::Forget(kind) => server.forget_past(kinds[usize::from(*kind)]),
        Step::Bookmark(kind) => server.bookmark(kinds[usize::from(*kind)]),
        Step::Fail(kind) => server.fail(kinds[usize::from(*kind)], 1),
        Step::Line => server.line(Resource::Pods, "]"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever happens on the way, in the end the watch says what one list says.
    #[test]
    fn a_watch_ends_where_a_list_begins(
        before in prop::collection::vec(step(), 0..20),
        after in prop::collection::vec(step(), 1..40),
    ) {
        let server = Server::start();
        before.iter().for_each(|step| take(&server, step));
        let watch = Running::start(&server);
        after.iter().for_each(|step| take(&server, step));
        server.heal();
        // The last word of each kind, so that its arrival tells that all before it arrived.
        server.put(Resource::Pods, pod("end", "pod", &["192.0.2.1"]));
        server.put(Resource::Nodes, node("end", "192.0.2.2"));
        server.put(
            Resource::Services,
            json!({"metadata": {"name": "end"}, "spec": {"clusterIP": "192.0.2.3"}}),
        );
        let (outcome, listed) = Running::start_with(&server, KubeWatch::once, usize::MAX).wait();
        outcome.unwrap();
        let told = watch.until("what a list says", |table| *table == listed);
        prop_assert_eq!(told, listed);
        watch.finish().unwrap();
    }
}
