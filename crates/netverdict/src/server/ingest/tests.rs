//! Agents report over a real connection to a server that dies again and again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle as Thread};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use netverdict_agent::{Sender, SenderOptions, Spool};
use netverdict_proto::Writer as Reporter;
use netverdict_query::Query;
use netverdict_query::ask::{Answer, Ask, Want};
use netverdict_server::{Access, AccessFiles, Security, Server};
use netverdict_store::State;
use netverdict_store::judge::Naive;
use netverdict_types::{
    Candidates, Evidence, Headers, Origin, Probability, TcpFlags, Timestamp, Unresolved, Verdict,
};

use super::*;

/// A store whose answers get lost, and that fails.
struct Flaky(Arc<Naive>, Mutex<fastrand::Rng>);

impl Store for Flaky {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        let luck = self.1.lock().unwrap().u8(..8);
        let failed = || StoreError::Engine {
            what: "bad luck".to_owned(),
            cause: "in a test".into(),
        };
        async move {
            match luck {
                0 => Err(failed()),
                1 => {
                    self.0.append(batch).await?;
                    Err(failed())
                }
                // Whoever waits dies waiting.
                2 => {
                    self.0.append(batch).await?;
                    std::future::pending().await
                }
                _ => self.0.append(batch).await,
            }
        }
        .boxed()
    }

    fn ask<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Answer, StoreError>> {
        self.0.ask(ask)
    }

    fn connections<'a>(
        &'a self,
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Connection>, StoreError>> {
        self.0.connections(ask)
    }

    fn last<'a>(&'a self, writer: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        self.0.last(writer)
    }

    fn state(&self) -> BoxFuture<'_, Result<State, StoreError>> {
        self.0.state()
    }
}

/// What a server with agents is made of.
struct Life {
    runtime: Runtime,
    is_over: Arc<AtomicBool>,
    thread: Thread<()>,
}

impl Life {
    fn begin(address: SocketAddr, store: Arc<dyn Store>, state: &Path) -> Self {
        Self::secured(address, store, state, Security::default())
    }

    /// One where the agent called `agent` may report.
    fn secured(
        address: SocketAddr,
        store: Arc<dyn Store>,
        state: &Path,
        security: Security,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let port = address.port();
        let listening = Server::listen(address, security).unwrap();
        let last = Writer::last(&runtime, &*store, port).unwrap();
        let reports = Reports::open(Some(state), port, last).unwrap();
        let (ring, bell) = crossbeam_channel::bounded(1);
        let kept = reports.kept().clone();
        let (collector, arrivals) =
            Collector::new(kept.clone(), vec!["agent".to_owned()], move || {
                let _ = ring.try_send(());
            });
        runtime.spawn(listening.run(collector.router(), std::future::pending()));
        let metrics = Arc::new(Metrics::new());
        let keeping = Some((collector.clone(), reports));
        let writer = Writer::start(&runtime, store, port, metrics.clone(), keeping).unwrap();
        let live = Arc::new(Live::new(16));
        let limits = Limits {
            window: 20_000_000,
            interval: 40_000_000,
            ..Limits::default()
        };
        let mut ingest = Ingest::new(limits, live, metrics, &writer);
        ingest.collect(collector, arrivals, kept, Duration::from_millis(15));
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let thread = thread::spawn(move || {
            // Its end is not awaited: nobody ends it in order.
            let _writer = writer;
            while !over.load(Ordering::Relaxed) {
                let _ = bell.recv_timeout(Duration::from_millis(3));
                while ingest.arrivals(&Names::default()) {}
                if ingest.advance().is_err() {
                    break;
                }
            }
        });
        Self {
            runtime,
            is_over,
            thread,
        }
    }

    /// As by kill -9: nothing is finished.
    fn kill(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.runtime.shutdown_timeout(Duration::from_secs(10));
        self.thread.join().unwrap();
    }
}

fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// One packet of the connection from this port.
fn packet(port: u16, time: i64) -> Decision<'static> {
    let end = |last, port| End {
        ip: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))),
        port: Some(port),
        endpoint: None,
    };
    Decision {
        time: Timestamp(time),
        origin: Origin::Psample,
        zone: "zone",
        node: None,
        network: None,
        datapath: None,
        verdict: Verdict::Unknown,
        acl: None,
        deleted: false,
        candidates: Candidates::default(),
        flow: None,
        unresolved: Some(Unresolved::NoPolicies),
        evidence: Evidence::None,
        app: None,
        cookie: None,
        reply: Some(false),
        double: false,
        src: end(1, port),
        dst: end(2, 80),
        service: None,
        headers: Headers {
            protocol: Some(6),
            tcp_flags: Some(TcpFlags(TcpFlags::ACK)),
            ..Headers::default()
        },
        length: 100,
        packets: 1,
        bytes: 100,
        group: None,
        probability: Probability::ALL,
        data: &[],
    }
}

struct Agent {
    runtime: Runtime,
    sender: Sender,
    /// Packets of each connection that were reported.
    told: BTreeMap<u16, u64>,
}

impl Agent {
    fn begin(node: &str, address: SocketAddr, spool: &Path, limit: u64) -> Self {
        Self::with_token(node, address, spool, limit, None)
    }

    fn with_token(
        node: &str,
        address: SocketAddr,
        spool: &Path,
        limit: u64,
        token_file: Option<PathBuf>,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let options = SenderOptions {
            url: format!("http://{address}"),
            node: node.to_owned(),
            token_file,
            ..SenderOptions::default()
        };
        let spool = Spool::open(spool, limit, 1).unwrap();
        let sender = Sender::new(options, spool);
        runtime.spawn(sender.clone().run());
        Self {
            runtime,
            sender,
            told: BTreeMap::new(),
        }
    }

    /// Reports a packet of each of these connections.
    fn report(&mut self, ports: impl Iterator<Item = u16>) {
        let mut reporter = Reporter::default();
        for port in ports {
            let now = SystemClock.now().0;
            reporter.decision(&packet(port, now), "node");
            *self.told.entry(port).or_default() += 1;
        }
        let decisions = u32::try_from(reporter.len()).unwrap();
        let pushed = self.sender.push(decisions, |place| {
            reporter.finish(place.incarnation, place.number)
        });
        pushed.unwrap();
    }

    fn drain(&self) {
        self.sender.end();
        let drained = self.sender.drained(Duration::from_secs(60));
        assert!(self.runtime.block_on(drained), "{:?}", self.sender.state());
    }
}

/// Packets of each connection that the store has.
fn kept(store: &Naive) -> BTreeMap<u16, u64> {
    let ask = Ask {
        since: Timestamp::MIN,
        until: Timestamp::MAX,
        filter: Query::all().plan(SystemClock.now()),
        want: Want::Rows {
            limit: usize::MAX,
            after: None,
        },
    };
    let rows = store.connections(&ask).now_or_never().unwrap().unwrap();
    let mut all = BTreeMap::new();
    for row in rows {
        let packets = row
            .counts
            .iter()
            .map(|it| it.original.packets + it.reply.packets);
        *all.entry(row.client.port.unwrap()).or_default() += packets.sum::<u64>();
    }
    all
}

#[test]
#[allow(clippy::disallowed_methods, reason = "reports come over time")]
fn a_server_that_dies_loses_nothing_and_doubles_nothing() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (state, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let naive = Arc::new(Naive::default());
    let store: Arc<dyn Store> = Arc::new(Flaky(naive.clone(), Mutex::new(random.fork())));
    let address = free_address();
    let mut agent = Agent::begin("a", address, spool.path(), 64 << 20);
    for _ in 0..12 {
        let life = Life::begin(address, store.clone(), state.path());
        let end = Instant::now() + Duration::from_millis(random.u64(50..600));
        while Instant::now() < end {
            // Some connections go on over several lives.
            let first = random.u16(1_000..1_200);
            agent.report(first..first + random.u16(1..50));
            thread::sleep(Duration::from_millis(random.u64(0..5)));
        }
        life.kill();
    }
    // This one answers for good, though its store may still be slow.
    let store = naive.clone();
    let life = Life::begin(address, store, state.path());
    agent.drain();
    assert!(agent.sender.state().sent_reports > 0);
    assert_eq!(kept(&naive), agent.told, "seed {seed}");
    life.kill();
}

#[test]
fn a_full_spool_drops_the_oldest_and_counts_them() {
    let (state, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Arc::new(Naive::default());
    let address = free_address();
    let mut agent = Agent::begin("a", address, spool.path(), 100_000);
    for port in 1_000..1_400 {
        agent.report(port..port + 20);
    }
    let dropped = agent.sender.spool().counts().dropped_decisions;
    assert!(dropped > 0);
    let life = Life::begin(address, store.clone(), state.path());
    agent.drain();
    let there = kept(&store);
    assert_eq!(there.values().sum::<u64>() + dropped, 400 * 20);
    // The newest are there.
    assert_eq!(there.get(&1_418), agent.told.get(&1_418));
    assert!(!there.contains_key(&1_000));
    life.kill();
}

#[test]
fn an_agent_that_begins_anew_sends_what_was_left() {
    let (state, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Arc::new(Naive::default());
    let address = free_address();
    let mut told = BTreeMap::new();
    for _ in 0..3 {
        let mut agent = Agent::begin("a", address, spool.path(), 64 << 20);
        agent.report(1_000..1_050);
        for (port, packets) in agent.told {
            *told.entry(port).or_default() += packets;
        }
        // The tasks hold the spool.
        agent.runtime.shutdown_timeout(Duration::from_secs(10));
    }
    let life = Life::begin(address, store.clone(), state.path());
    let agent = Agent::begin("a", address, spool.path(), 64 << 20);
    agent.drain();
    assert_eq!(kept(&store), told);
    life.kill();
}

#[test]
fn only_those_report_who_may() {
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let agents = write("agent", &"a".repeat(24));
    let annas = write("anna", &"b".repeat(24));
    let tokens = format!(
        "[[token]]\ntoken = \"{}\"\nsubject = \"agent\"\n[[token]]\ntoken = \"{}\"\nsubject = \"anna\"\n",
        "a".repeat(24),
        "b".repeat(24)
    );
    // Anna sees everything, and may report nothing; the agent has no role.
    let roles = "[[role]]\nsubjects = [\"anna\"]\nnamespaces = [\"*\"]\n";
    let access = AccessFiles {
        tokens: Some(write("tokens", &tokens)),
        roles: Some(write("roles", roles)),
        audit: None,
    };
    let security = Security {
        tls: None,
        access: Access::new(access, None, None).unwrap(),
    };
    let state = tempfile::tempdir().unwrap();
    let store = Arc::new(Naive::default());
    let address = free_address();
    let life = Life::secured(address, store.clone(), state.path(), security);
    for (token, may) in [(None, false), (Some(annas), false), (Some(agents), true)] {
        let spool = tempfile::tempdir().unwrap();
        let mut agent = Agent::with_token("a", address, spool.path(), 64 << 20, token);
        agent.report(1_000..1_050);
        if may {
            agent.drain();
            assert_eq!(kept(&store), agent.told);
            continue;
        }
        let end = Instant::now() + Duration::from_secs(30);
        while agent.sender.state().failures == 0 && Instant::now() < end {
            agent.runtime.block_on(tokio::task::yield_now());
        }
        let state = agent.sender.state();
        assert!(state.failures > 0, "{state:?}");
        assert_eq!((state.connections, state.waiting_reports), (0, 1));
        assert!(kept(&store).is_empty());
    }
    life.kill();
}
