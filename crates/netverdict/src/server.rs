//! `netverdict server`: collects, keeps and answers.

mod checkup;
mod config;
mod explainer;
mod ingest;
mod known;
mod past;
mod reports;
mod seen;
mod store;
mod tried;
mod written;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use netverdict_server::{
    App, Collector, Live, Parts, Router, Security, ServeError, Server as Listening, router,
};
use netverdict_types::SystemClock;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::compile::{self, Settings};
use crate::databases::Databases;
use crate::demo::{Stage, Staged};
use crate::exit::{Done, tell};
use crate::session::{Inputs, Session, Step, Take};
use crate::twin;

use checkup::Checkup;
use config::Config;
use explainer::Explainer;
use ingest::{Ingest, Writer};
use known::Known;
use reports::Reports;
pub(crate) use store::Opened;
use tried::Tries;

/// Keep connections, and answer questions about them over HTTP
///
/// Reads samples as `observe` does, makes connections of them, keeps them, and answers under
/// /api/v1 (docs/server.md). SIGTERM ends it once all that was taken in is kept.
#[derive(Args, Clone, Debug)]
pub(crate) struct Server {
    /// A file with what else would be options, and more (docs/server.md); options come first
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where to answer [default: 127.0.0.1:8480]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// Where connections are kept [default: a temporary directory, gone at the end]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Take what agents report too (docs/agent.md); without --source, nothing else
    #[arg(long, conflicts_with = "demo")]
    collect: bool,

    /// Instead of sources and databases, the cluster of `netverdict demo`
    #[arg(long, conflicts_with_all = ["source", "nb", "sb", "ovs"])]
    demo: bool,

    #[command(flatten, next_help_heading = "Demo")]
    stage: Stage,

    #[command(flatten)]
    inputs: Inputs,

    #[command(flatten)]
    databases: Databases,
}

/// Where a server answers if nobody says otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8480);
/// How often time is said to have gone by: what is seen shows so late at most.
const TICK: Duration = Duration::from_millis(250);

impl Server {
    /// Runs the command.
    ///
    /// # Errors
    /// If the configuration makes no sense, the address is taken, or a source, a database or the
    /// store cannot be opened.
    pub(crate) fn run(self) -> Result<Done> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        let staged = self.demo.then(|| self.stage.set()).transpose()?;
        config.options(self);
        if let Some(staged) = &staged {
            config.inputs = staged.inputs.clone();
            config.databases = staged.databases.clone();
        }
        let address = config.listen.unwrap_or(LISTEN);
        let listen = |security| Listening::listen(address, security);
        serve(config, staged, &listen, &|_| (), &mut |_| Ok(()))
    }
}

/// Serves a demo at the usual place, or elsewhere if that is taken, until it is over or a signal
/// comes. `greet` is told the address, `watch` all that happens.
///
/// # Errors
/// As [`Server::run`], and if `watch` fails.
pub(crate) fn serve_demo(
    staged: Staged,
    greet: &dyn Fn(&str),
    watch: &mut Take<'_>,
) -> Result<Done> {
    let config = Config {
        inputs: staged.inputs.clone(),
        databases: staged.databases.clone(),
        ..Config::default()
    };
    serve(config, Some(staged), &listen_somewhere, greet, watch)
}

/// Listens at the usual place, or at another port where somebody else does already.
fn listen_somewhere(security: Security) -> Result<Listening, ServeError> {
    match Listening::listen(LISTEN, security.clone()) {
        Err(ServeError::Listen { cause, .. }) if cause.kind() == ErrorKind::AddrInUse => {
            Listening::listen(SocketAddr::new(LISTEN.ip(), 0), security)
        }
        listening => listening,
    }
}

/// The store in a data directory.
///
/// # Errors
/// If it cannot be opened, or another process uses it.
pub(crate) fn open_directory(directory: &Path) -> Result<Opened> {
    store::open_directory(&Config {
        data: Some(directory.to_owned()),
        ..Config::default()
    })
}

/// Serves until a signal. A demo begins once its sources are open.
///
/// # Errors
/// As [`Server::run`], and if `watch` fails.
fn serve(
    config: Config,
    mut demo: Option<Staged>,
    listen: &dyn Fn(Security) -> Result<Listening, ServeError>,
    greet: &dyn Fn(&str),
    watch: &mut Take<'_>,
) -> Result<Done> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("server")
        .enable_all()
        .build()?;
    let security = config.security(&runtime)?;
    let access = security.access.clone();
    let listening = listen(security)?;
    let Opened {
        store,
        encoder,
        temporary: _temporary,
    } = store::open(&config, &runtime)?;
    let live = Arc::new(Live::new(config.limits.live));
    let twin = match &demo {
        Some(staged) => twin::Inputs::of_manifests(&staged.manifests),
        None => twin::Inputs::of_databases(config.databases.clone()),
    };
    let today = today(&config, demo.as_ref());
    let tries = Tries::new(today.clone());
    let known = Arc::new(Known::new(
        Explainer::new(twin, today),
        tries,
        Checkup::new(config.databases.clone()),
    ));
    let app = App::new(Parts {
        store: store.clone(),
        live: live.clone(),
        cluster: known.clone(),
        clock: Arc::new(SystemClock),
        limits: config.limits.server(),
        parquet: encoder,
    });
    let port = listening.address().port();
    let address = format!("{}://{}", listening.scheme(), listening.address());
    let metrics = app.metrics().clone();
    metrics.watch(&access);
    let mut router = router(app);
    let mut collecting = None;
    if let Some(collect) = &config.collect {
        let directory = config.state_directory();
        if directory.is_none() && (config.data.is_some() || config.store.is_some()) {
            tracing::warn!(
                "without a state directory, what agents send again after a restart is counted twice"
            );
        }
        let last = Writer::last(&runtime, &*store, port)?;
        let reports = Reports::open(directory.as_deref(), port, last)?;
        let (ring, bell) = crossbeam_channel::bounded(1);
        let again = ring.clone();
        let kept = reports.kept().clone();
        let (collector, arrivals) = Collector::new(kept, collect.agents.clone(), move || {
            // One who rang before was not heard yet.
            let _ = ring.try_send(());
        });
        router = router.merge(collector.router());
        collecting = Some((collector, reports, arrivals, bell, again));
    }
    let http = Http::start(&runtime, listening, router);
    let mut session = Session::new(&config.inputs, &config.databases, None)?;
    session.tick(TICK);
    let mut collector = None;
    let mut to_collect = None;
    let mut again = None;
    let keeping = collecting.map(|(it, reports, arrivals, bell, ring)| {
        session.listen(bell);
        collector = Some(it.clone());
        to_collect = Some((it.clone(), arrivals, reports.kept().clone()));
        again = Some(ring);
        (it, reports)
    });
    let writer = Writer::start(&runtime, store, port, metrics.clone(), keeping)?;
    let mut ingest = Ingest::new(config.flow.limits(), live.clone(), metrics, &writer);
    if let (Some((collector, arrivals, kept)), Some(collect)) = (to_collect, &config.collect) {
        ingest.collect(collector, arrivals, kept, collect.every());
    }
    tell(format_args!("answering at {address}/api/v1"));
    greet(&address);
    let interrupter = session.interrupter();
    let mut running = None;
    let ended = session.run(&mut |step| {
        match &step {
            Step::Decision(decision) => ingest.decision(decision),
            Step::Pause => {
                // Only now somebody listens.
                if let Some(staged) = demo.take() {
                    running = Some(staged.start(interrupter.clone())?);
                }
            }
            Step::Tick(glance) => {
                known.look(*glance, ingest.counts(), ingest.agents());
                ingest.advance()?;
            }
            Step::Bell(glance) => {
                let more = ingest.arrivals(glance.engine.names());
                if let (true, Some(again)) = (more, &again) {
                    let _ = again.try_send(());
                }
            }
        }
        watch(step)
    });
    if let Some(running) = running {
        running.end();
    }
    if let Some(collector) = &collector {
        collector.close();
    }
    known.look(session.glance(), ingest.counts(), ingest.agents());
    let drained = ended.and_then(|()| ingest.finish());
    // What was recorded is read; questions about it go on.
    if drained.is_ok() {
        session.wait();
    }
    let kept = writer.end(&runtime);
    live.close();
    let served = http.end(&runtime);
    session.summary();
    drained?;
    kept?;
    served?;
    Ok(Done::Ok)
}

/// Where the objects are that policies are about, if that is known.
fn today(config: &Config, demo: Option<&Staged>) -> Option<compile::Inputs> {
    let manifests = |paths| compile::Inputs::manifests(paths, Settings::default());
    if let Some(staged) = demo {
        return Some(manifests(vec![staged.manifests.clone()]));
    }
    let Inputs {
        manifests: paths,
        kubeconfig,
        ..
    } = &config.inputs;
    match kubeconfig {
        Some(cluster) => Some(compile::Inputs::cluster(
            cluster.clone(),
            Settings::default(),
        )),
        None => (!paths.is_empty()).then(|| manifests(paths.clone())),
    }
}

/// The tasks that answer.
struct Http {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<(), netverdict_server::ServeError>>,
}

impl Http {
    fn start(runtime: &Runtime, listening: Listening, router: Router) -> Self {
        let (stop, stopped) = oneshot::channel();
        let serving = listening.run(router, async {
            // It ends when the other side says so, or is gone.
            let _ = stopped.await;
        });
        Self {
            stop,
            task: runtime.spawn(serving),
        }
    }

    fn end(self, runtime: &Runtime) -> Result<()> {
        let _ = self.stop.send(());
        runtime
            .block_on(self.task)
            .context("the server's task has failed; please report this")??;
        Ok(())
    }
}
