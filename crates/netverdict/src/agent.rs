//! `netverdict agent`: judges what a node's datapath samples, and reports it.

mod choice;
mod config;

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Stdout, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use netverdict_agent::{Page, Sender, Spool, Status};
use netverdict_proto::Writer;
use netverdict_types::{Clock, Decision, SystemClock, Unresolved};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::databases::Databases;
use crate::exit::{Done, tell};
use crate::session::{Glance, Inputs, Session, Step};

use config::Config;

/// Judge what this node's datapath samples, and report it to a server
///
/// Runs on each node (docs/agent.md). While the server is away, reports wait in a directory. SIGTERM
/// ends it once all is reported, or waits there.
#[derive(Args, Clone, Debug)]
pub(crate) struct Agent {
    /// A file with what else would be options, and more (docs/agent.md). The environment goes before it
    /// (NETVERDICT_AGENT_NODE, NETVERDICT_AGENT_SERVER_URL …), and options before both
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Say whether the configuration makes sense, and end
    #[arg(long)]
    check_config: bool,

    /// Whom to report to, as https://verdicts:8480
    #[arg(long, value_name = "URL")]
    server: Option<String>,

    /// This node's name [default: the machine's]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,

    /// Where reports wait while the server is away [default: spool in the --state directory]
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,

    /// Where /metrics, /healthz and /readyz are [default: 127.0.0.1:8481]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// Print decisions as JSON, one a line
    #[arg(long)]
    stdout: bool,

    #[command(flatten)]
    inputs: Inputs,

    #[command(flatten)]
    databases: Databases,
}

/// A report has so many decisions at most.
const DECISIONS: usize = 4_096;
/// How often a report tells what is counted, and the page of metrics is made.
const COUNTING: Duration = Duration::from_secs(5);
/// How long the server is waited for at the end; what it does not keep by then waits in the spool.
const LAST: Duration = Duration::from_secs(10);

impl Agent {
    /// Runs the command.
    ///
    /// # Errors
    /// If the configuration makes no sense, or a source, a database, the spool or an output
    /// cannot be opened.
    pub(crate) fn run(self) -> Result<Done> {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let config = Config::read(self.config.as_deref(), environment, &self)?;
        if self.check_config {
            tell("the configuration makes sense");
            return Ok(Done::Ok);
        }
        run(config)
    }
}

fn run(config: Config) -> Result<Done> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("reports")
        .enable_all()
        .build()?;
    let status = Status::default();
    if let Some(address) = config.listen {
        let listener = runtime.block_on(TcpListener::bind(address));
        let listener = listener.with_context(|| format!("listen: {address}"))?;
        runtime.spawn(status.clone().serve(listener));
    }
    let mut outputs = Outputs::open(&config, &runtime)?;
    let mut inputs = config.inputs.clone();
    inputs.source = match config.source.is_empty() {
        true => vec![choice::choose(config.ipfix)],
        false => config.source.clone(),
    };
    let named: Vec<_> = inputs.source.iter().map(ToString::to_string).collect();
    let mut session = Session::new(&inputs, &config.databases, None)?;
    session.tick(config.interval);
    tell(format_args!(
        "node {}: reading {}",
        config.node,
        named.join(", ")
    ));
    let ended = session.run(&mut |step| {
        match step {
            Step::Decision(decision) => outputs.decision(decision)?,
            Step::Tick(glance) => outputs.tick(glance, &status)?,
            Step::Pause | Step::Bell(_) => {}
        }
        Ok(())
    });
    status.set_ready(false);
    let drained = outputs.finish(session.glance(), &runtime);
    session.summary();
    ended?;
    drained?;
    Ok(Done::Ok)
}

/// Whom decisions are told to.
struct Outputs {
    node: String,
    writer: Writer,
    sender: Option<Sender>,
    file: Option<(PathBuf, BufWriter<File>)>,
    stdout: Option<BufWriter<Stdout>>,
    counted: Option<Instant>,
    limit: u64,
    decisions: u64,
}

impl Outputs {
    fn open(config: &Config, runtime: &Runtime) -> Result<Self> {
        let sender = match &config.server {
            Some(options) => {
                let now = u64::try_from(SystemClock.now().0).unwrap_or(1);
                let spool = Spool::open(&config.spool, config.spool_bytes, now)?;
                let sender = Sender::new(options.clone(), spool);
                runtime.spawn(sender.clone().run());
                Some(sender)
            }
            None => None,
        };
        let open = |path: &PathBuf| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let file = file.with_context(|| path.display().to_string())?;
            anyhow::Ok((path.clone(), BufWriter::new(file)))
        };
        Ok(Self {
            node: config.node.clone(),
            writer: Writer::default(),
            sender,
            file: config.file.as_ref().map(open).transpose()?,
            stdout: config.stdout.then(|| BufWriter::new(std::io::stdout())),
            counted: None,
            limit: config.spool_bytes,
            decisions: 0,
        })
    }

    fn decision(&mut self, decision: &Decision<'_>) -> Result<()> {
        self.decisions += 1;
        if let Some((path, file)) = &mut self.file {
            line(file, decision).with_context(|| path.display().to_string())?;
        }
        if let Some(stdout) = &mut self.stdout {
            line(stdout, decision)?;
        }
        if self.sender.is_some() {
            self.writer.decision(decision, &self.node);
            if self.writer.len() >= DECISIONS {
                self.report();
            }
        }
        Ok(())
    }

    fn tick(&mut self, glance: Glance<'_>, status: &Status) -> Result<()> {
        self.flush()?;
        let is_due = self.counted.is_none_or(|last| last.elapsed() >= COUNTING);
        if is_due {
            self.counted = Some(Instant::now());
            let counts = self.counts(glance);
            if self.sender.is_some() {
                for (place, name, value) in &counts {
                    self.writer.counter(place, name, *value);
                }
            }
            status.show(self.page(&counts));
            status.set_ready(true);
        }
        self.report();
        Ok(())
    }

    /// Tells all that is left, and waits until it is kept.
    fn finish(mut self, glance: Glance<'_>, runtime: &Runtime) -> Result<()> {
        self.flush()?;
        for (place, name, value) in self.counts(glance) {
            self.writer.counter(&place, name, value);
        }
        self.report();
        let Some(sender) = &self.sender else {
            return Ok(());
        };
        sender.end();
        if !runtime.block_on(sender.drained(LAST)) {
            tell(format_args!(
                "{} reports wait in the spool; they are sent when the agent runs again",
                sender.state().waiting_reports
            ));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if let Some((path, file)) = &mut self.file {
            file.flush().with_context(|| path.display().to_string())?;
        }
        if let Some(stdout) = &mut self.stdout {
            stdout.flush()?;
        }
        Ok(())
    }

    /// Puts what there is to report into the spool.
    fn report(&mut self) {
        let Some(sender) = &self.sender else {
            return;
        };
        if self.writer.is_empty() {
            return;
        }
        let writer = &mut self.writer;
        let decisions = u32::try_from(writer.len()).unwrap_or(u32::MAX);
        let pushed = sender.push(decisions, |place| {
            writer.finish(place.incarnation, place.number)
        });
        if let Err(error) = pushed {
            let error = netverdict_types::causes(&error);
            tracing::error!("{decisions} decisions are lost: {error}");
        }
    }

    /// All that is counted: place, name, value.
    fn counts(&self, glance: Glance<'_>) -> Vec<(String, &'static str, u64)> {
        let mut all = Vec::new();
        let mut add = |place: &str, counts: Vec<(&'static str, u64)>| {
            let counts = counts.into_iter();
            all.extend(counts.map(|(name, value)| (place.to_owned(), name, value)));
        };
        for (source, counts) in glance.sources {
            add(source, counts.counts());
        }
        let counts = glance.engine.counts();
        add(
            "decisions",
            vec![
                ("samples", counts.samples),
                ("resolved", counts.resolved),
                ("unresolved", counts.unresolved_total()),
                ("ambiguous", counts.ambiguous),
                ("doubles", counts.doubles),
                ("connections_displaced", counts.connections_displaced),
                ("told", self.decisions),
            ],
        );
        let reasons = Unresolved::ALL.iter().zip(counts.unresolved);
        let reasons = reasons.map(|(reason, count)| (reason.as_str(), count));
        add("unresolved", reasons.collect());
        let history = glance.engine.history().counts();
        add(
            "history",
            vec![
                ("gaps", history.gaps),
                ("forgotten", history.forgotten),
                ("damaged", history.damaged),
            ],
        );
        if let Some(sender) = &self.sender {
            let counts = sender.spool().counts();
            add(
                "spool",
                vec![
                    ("reports", counts.reports),
                    ("dropped_reports", counts.dropped_reports),
                    ("dropped_decisions", counts.dropped_decisions),
                    ("unwritten_reports", counts.unwritten_reports),
                    ("unwritten_decisions", counts.unwritten_decisions),
                    ("unread_reports", counts.unread_reports),
                    ("torn_bytes", counts.torn_bytes),
                ],
            );
        }
        all
    }

    fn page(&self, counts: &[(String, &'static str, u64)]) -> Page {
        let mut page = Page::default();
        let labels = ["version", "node"];
        let values = vec![env!("CARGO_PKG_VERSION"), &self.node];
        page.info("netverdict_agent_build_info", "Always 1.", &labels, values);
        let series = counts.iter();
        let series = series.map(|(place, name, value)| (vec![place.as_str(), *name], *value));
        let help = "All that places count, by the names that reports have.";
        page.counter(
            "netverdict_agent_events_total",
            help,
            &["place", "event"],
            series,
        );
        let Some(sender) = &self.sender else {
            return page;
        };
        let state = sender.state();
        for (name, help, value) in [
            (
                "connected",
                "1 while a server takes reports.",
                u64::from(state.connected),
            ),
            (
                "spool_reports",
                "Reports that no server is known to keep.",
                state.waiting_reports,
            ),
            ("spool_bytes", "Their bytes.", state.waiting_bytes),
            (
                "spool_limit_bytes",
                "Bytes beyond which the oldest reports are dropped.",
                self.limit,
            ),
        ] {
            page.gauge(&format!("netverdict_agent_{name}"), help, value);
        }
        page.gauge(
            "netverdict_agent_clock_ahead_seconds",
            "By how much this node's clock is ahead of the server's.",
            state.ahead as f64 / 1e9,
        );
        for (name, help, value) in [
            (
                "sent_reports",
                "Reports sent, those sent again among them.",
                state.sent_reports,
            ),
            ("sent_bytes", "Their bytes.", state.sent_bytes),
            (
                "kept_reports",
                "Reports that the server says it keeps.",
                state.kept_reports,
            ),
            (
                "connections",
                "Times that a server took reports.",
                state.connections,
            ),
            (
                "failures",
                "Times that it could not be reached, or went away.",
                state.failures,
            ),
        ] {
            let name = format!("netverdict_agent_{name}_total");
            page.counter(&name, help, &[], [(Vec::new(), value)]);
        }
        page
    }
}

fn line(to: &mut impl Write, decision: &Decision<'_>) -> Result<()> {
    serde_json::to_writer(&mut *to, decision)?;
    to.write_all(b"\n")?;
    Ok(())
}
