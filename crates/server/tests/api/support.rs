//! A server in this process, and a client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use netverdict_query::ask::{Ask, Want};
use netverdict_server::{
    App, Asker, Cluster, Counter, ExplainRequest, Health, Isolated, Isolation, KnownPolicy,
    KnownRule, Limits, Live, Metrics, Parts, PolicyName, Refusal, Security, Server, SourceState,
    WhatifRequest, Workload, router,
};
use netverdict_store::judge::{Naive, Random, batches};
use netverdict_types::{Action, Clock, Connection, Direction, Owner, OwnerKind, Rule, Timestamp};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A server that ends with the test.
pub struct Running {
    pub store: Arc<Naive>,
    pub live: Arc<Live>,
    pub metrics: Arc<Metrics>,
    pub cluster: Arc<Told>,
    url: String,
    stop: Option<oneshot::Sender<()>>,
    runtime: Option<Runtime>,
}

/// What came back.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub kind: String,
    pub body: Vec<u8>,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

impl Running {
    /// Some hundred connections, and updates of some of them.
    pub fn random(seed: u64) -> Self {
        let running = Self::new(Limits::default(), 1_000);
        for batch in batches(&mut Random::new(seed), 300) {
            running.store.keep(&batch);
        }
        running
    }

    pub fn new(limits: Limits, ring: usize) -> Self {
        Self::secured(limits, ring, Security::default())
    }

    pub fn secured(limits: Limits, ring: usize, security: Security) -> Self {
        Self::with(limits, ring, || security)
    }

    /// What stands before the server is made where that runs.
    pub fn with(limits: Limits, ring: usize, security: impl FnOnce() -> Security) -> Self {
        let store = Arc::new(Naive::default());
        let live = Arc::new(Live::new(ring));
        let cluster = Arc::new(Told::default());
        let app = App::new(Parts {
            store: store.clone(),
            live: live.clone(),
            cluster: cluster.clone(),
            clock: Arc::new(Fixed),
            limits,
            parquet: None,
        });
        let metrics = app.metrics().clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let security = {
            let _here = runtime.enter();
            security()
        };
        metrics.watch(&security.access);
        let server = Server::listen("127.0.0.1:0".parse().unwrap(), security).unwrap();
        let url = format!("{}://{}", server.scheme(), server.address());
        let (stop, stopped) = oneshot::channel::<()>();
        runtime.spawn(server.run(router(app), async {
            let _ = stopped.await;
        }));
        Self {
            store,
            live,
            metrics,
            cluster,
            url,
            stop: Some(stop),
            runtime: Some(runtime),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub fn get(&self, path: &str) -> Got {
        let response = agent().get(self.url(path)).call();
        got(response.expect(path))
    }

    pub fn post(&self, path: &str, body: &str) -> Got {
        let request = agent()
            .post(self.url(path))
            .header("content-type", "application/json");
        got(request.send(body).expect(path))
    }

    /// All that asks for a path's JSON, and is answered.
    pub fn ok(&self, path: &str) -> Value {
        let got = self.get(path);
        assert_eq!(got.status, 200, "{path}: {}", got.text());
        assert_eq!(got.kind, "application/json");
        got.json()
    }

    /// All connections, as the store has them, newest first.
    pub fn all(&self) -> Vec<Connection> {
        let mut all = self.store.folded();
        all.sort_by_key(|it| std::cmp::Reverse((it.end, it.id)));
        all
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.live.close();
        let _ = self.stop.take().unwrap().send(());
        self.runtime.take().unwrap().shutdown_background();
    }
}

pub fn got(response: ureq::http::Response<ureq::Body>) -> Got {
    let kind = response.headers().get("content-type");
    Got {
        status: response.status().as_u16(),
        kind: kind.map_or_else(String::new, |kind| kind.to_str().unwrap().to_owned()),
        body: response
            .into_body()
            .into_with_config()
            .limit(1 << 30)
            .read_to_vec()
            .unwrap(),
    }
}

pub fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    config.build().into()
}

/// As in a query string.
pub fn escaped(text: &str) -> String {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match fine(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// A time behind all random connections.
pub const NOW: Timestamp = Timestamp(1_795_507_200_000_000_000);

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// A cluster of one rule and one pod.
pub struct Told {
    pub ready: AtomicBool,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            ready: AtomicBool::new(true),
        }
    }
}

/// A rule that nothing random uses.
pub fn unused() -> Owner {
    Owner {
        kind: OwnerKind::NetworkPolicy,
        namespace: Some("idle".to_owned()),
        name: Some("nobody".to_owned()),
        direction: Some(Direction::Ingress),
        rule: Rule::default(),
        network: None,
    }
}

impl Cluster for Told {
    fn rules(&self) -> Vec<KnownRule> {
        vec![KnownRule {
            owner: unused(),
            action: Action::AllowRelated,
            message: "Allowed by nobody".to_owned(),
            zones: vec!["a".to_owned()],
            sampled: true,
            since: Timestamp(0),
        }]
    }

    fn workloads(&self) -> Vec<Workload> {
        vec![Workload {
            namespace: Some("idle".to_owned()),
            kind: "pod".to_owned(),
            name: Some("sleeper".to_owned()),
            node: Some("a".to_owned()),
        }]
    }

    fn sources(&self) -> Vec<SourceState> {
        vec![SourceState {
            name: "psample:10".to_owned(),
            counters: vec![Counter {
                name: "psample_lost".to_owned(),
                value: 3,
            }],
        }]
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn health(&self) -> BoxFuture<'_, Result<Health, Refusal>> {
        async {
            Ok(Health {
                netverdict: "1.2.3".to_owned(),
                time: NOW,
                zones: Vec::new(),
                findings: Vec::new(),
            })
        }
        .boxed()
    }

    fn explain(&self, question: ExplainRequest, _: Asker) -> BoxFuture<'_, Result<Value, Refusal>> {
        async move {
            match question.from.as_str() {
                "nobody/known" => Err(Refusal::Unknown("cannot know: no such pod".to_owned())),
                _ => Ok(json!({ "verdict": "allowed" })),
            }
        }
        .boxed()
    }

    /// The connections that it may look at.
    fn policy(&self, name: PolicyName, _: Asker) -> BoxFuture<'_, Result<KnownPolicy, Refusal>> {
        let known = unused();
        let is_it = name.kind == known.kind.as_str()
            && name.namespace == known.namespace
            && name.name == known.name;
        async move {
            match is_it {
                true => Ok(KnownPolicy {
                    written: None,
                    unwritten: Some("only rows are known".to_owned()),
                    isolates: vec![Direction::Ingress],
                    pods: vec!["idle/sleeper".to_owned()],
                    zones: vec!["a".to_owned()],
                    acls: Vec::new(),
                }),
                false => Err(Refusal::Unknown("no such policy".to_owned())),
            }
        }
        .boxed()
    }

    fn isolation(&self, pod: String) -> BoxFuture<'_, Result<Isolation, Refusal>> {
        let admins = Owner {
            kind: OwnerKind::AdminNetworkPolicy,
            namespace: None,
            ..unused()
        };
        let ingress = Isolated {
            isolated: true,
            by: Vec::new(),
            complete: false,
            asked: vec![admins, unused()],
        };
        async move {
            match pod.as_str() {
                "idle/sleeper" | "own/pod" => Ok(Isolation {
                    pod,
                    ingress,
                    egress: Isolated::default(),
                }),
                _ => Err(Refusal::Unknown("no such pod".to_owned())),
            }
        }
        .boxed()
    }

    fn whatif(
        &self,
        question: WhatifRequest,
        asker: Asker,
    ) -> BoxFuture<'_, Result<Value, Refusal>> {
        async move {
            if question.policies == "not here" {
                return Err(Refusal::NotHere("not here".to_owned()));
            }
            let all = Ask::all(Want::Rows {
                limit: 10_000,
                after: None,
            });
            let rows = asker.connections(&all).await;
            rows.map(|rows| json!(rows))
                .map_err(|error| Refusal::Fault(error.to_string()))
        }
        .boxed()
    }
}
