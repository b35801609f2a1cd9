//! From decisions to the store and the live stream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use netverdict_flow::{Flow, Limits};
use netverdict_server::{
    Arrival, Collector, Counter, Live, Metrics, Positions, SourceState, Update,
};
use netverdict_store::{Batch, Store, StoreError};
use netverdict_types::{
    Clock, Connection, Decision, End, Endpoint, EndpointKind, Input, SystemClock, ZoneId, causes,
};
use netverdict_verdict::Names;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::reports::Reports;

/// Rows of a batch at most.
const ROWS: usize = 8_192;
/// Batches that may wait for the store; beyond, the sources wait, and count what they lose.
const WAITING: usize = 16;

/// Makes connections of decisions, and hands them on.
pub(crate) struct Ingest {
    flow: Flow,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    sender: mpsc::Sender<ToKeep>,
    retries: Arc<AtomicU64>,
    rows: Vec<Connection>,
    collected: Option<Collected>,
}

/// What the store shall keep, and the reports that are complete with it.
struct ToKeep {
    rows: Vec<Connection>,
    reports: Option<Positions>,
}

/// What came of agents' reports.
struct Collected {
    collector: Collector,
    arrivals: mpsc::Receiver<Arrival>,
    /// How long rows are held, so that all of some reports go together.
    every: Duration,
    since: Instant,
    /// All that was applied.
    applied: Positions,
    /// True where some of it is not on its way to the store.
    has_news: bool,
    /// True where an agent wants to know it kept.
    is_asked: bool,
    held: Vec<Connection>,
    agents: BTreeMap<Arc<str>, Vec<SourceState>>,
    malformed: u64,
}

/// More rows than that are not held.
const HELD: usize = 65_536;
/// Arrivals that are taken at a time.
const ARRIVALS: usize = 16;

impl Ingest {
    pub(crate) fn new(
        limits: Limits,
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        writer: &Writer,
    ) -> Self {
        Self {
            flow: Flow::new(limits),
            live,
            metrics,
            sender: writer.sender.clone(),
            retries: writer.retries.clone(),
            rows: Vec::new(),
            collected: None,
        }
    }

    /// Takes the reports of agents too. What comes of them is handed on `every` so often.
    pub(crate) fn collect(
        &mut self,
        collector: Collector,
        arrivals: mpsc::Receiver<Arrival>,
        kept: Positions,
        every: Duration,
    ) {
        self.collected = Some(Collected {
            collector,
            arrivals,
            every,
            since: Instant::now(),
            applied: kept,
            has_news: false,
            is_asked: false,
            held: Vec::new(),
            agents: BTreeMap::new(),
            malformed: 0,
        });
    }

    /// Takes reports that have come; true where there may be more. An agent knows the names of its own
    /// zone at least, `names` those of others.
    pub(crate) fn arrivals(&mut self, names: &Names) -> bool {
        let Some(collected) = &mut self.collected else {
            return false;
        };
        let rows = &mut self.rows;
        for _ in 0..ARRIVALS {
            let Ok(arrival) = collected.arrivals.try_recv() else {
                return false;
            };
            let Some(report) = arrival.report else {
                collected.is_asked = true;
                continue;
            };
            let mut last = None;
            for decision in report.decisions() {
                let Some(mut decision) = decision else {
                    collected.malformed += 1;
                    continue;
                };
                let network = decision.network;
                for end in [&mut decision.src, &mut decision.dst] {
                    end.endpoint = better(end, network, names);
                }
                let spot = (decision.zone, decision.node);
                if last != Some(spot) {
                    last = Some(spot);
                    if let Some(ahead) = arrival.ahead {
                        self.flow.set_offset(decision.zone, decision.node, ahead);
                    }
                }
                self.flow.decision(&decision, |update| rows.push(update));
            }
            let (incarnation, number) = (report.incarnation, report.number);
            collected.applied.set(&arrival.node, incarnation, number);
            collected.has_news = true;
            if !report.counters.is_empty() {
                let states = states(&arrival.node, report.counters);
                collected.agents.insert(arrival.node, states);
            }
        }
        true
    }

    /// What agents count, as they told last.
    pub(crate) fn agents(&self) -> Vec<SourceState> {
        let collected = self.collected.iter();
        let all = collected.flat_map(|it| it.agents.values());
        all.flatten().cloned().collect()
    }

    /// Takes a decision.
    pub(crate) fn decision(&mut self, decision: &Decision<'_>) {
        let rows = &mut self.rows;
        self.flow.decision(decision, |update| rows.push(update));
    }

    /// What the joining of connections counts.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.flow.counts();
        let mut all = vec![
            ("remembered", self.flow.len() as u64),
            ("decisions", counts.decisions),
            ("connections", counts.connections),
            ("updates", counts.updates),
            ("joined", counts.joined),
            ("store-retries", self.retries.load(Ordering::Relaxed)),
        ];
        all.extend(counts.losses());
        if let Some(collected) = &self.collected {
            let counts = collected.collector.counts();
            all.extend([
                ("agents", counts.agents),
                ("reports", counts.reports),
                ("reports-sent-again", counts.repeated),
                ("reports-missing", counts.missing),
                ("decisions-malformed", collected.malformed),
            ]);
        }
        all
    }

    /// Hands on what is due by now.
    ///
    /// # Errors
    /// If nobody keeps rows any more.
    pub(crate) fn advance(&mut self) -> Result<()> {
        let rows = &mut self.rows;
        self.flow
            .advance(SystemClock.now(), |update| rows.push(update));
        self.metrics.set_open(self.flow.len());
        self.metrics.set_turned(self.flow.counts().turned);
        self.hand_on(false)
    }

    /// Hands on all that is held back.
    ///
    /// # Errors
    /// If nobody keeps rows any more.
    pub(crate) fn finish(mut self) -> Result<()> {
        let rows = &mut self.rows;
        self.flow.finish(|update| rows.push(update));
        self.hand_on(true)
    }

    fn hand_on(&mut self, is_last: bool) -> Result<()> {
        self.publish();
        let Some(collected) = &mut self.collected else {
            let rows = std::mem::take(&mut self.rows);
            return self.send(rows);
        };
        collected.held.append(&mut self.rows);
        let is_due = collected.since.elapsed() >= collected.every || collected.is_asked;
        if !is_last && !is_due && collected.held.len() < HELD {
            return Ok(());
        }
        collected.since = Instant::now();
        collected.is_asked = false;
        if !std::mem::take(&mut collected.has_news) {
            // Whatever is told came of reports that are complete.
            let rows = std::mem::take(&mut collected.held);
            return self.send(rows);
        }
        // All that came of the reports so far goes in one batch, so that it is kept all or not at all.
        let rows = &mut self.rows;
        self.flow.finish(|update| rows.push(update));
        self.publish();
        let Some(collected) = &mut self.collected else {
            return Ok(());
        };
        collected.held.append(&mut self.rows);
        let rows = std::mem::take(&mut collected.held);
        let reports = Some(collected.applied.clone());
        self.hand(ToKeep { rows, reports })
    }

    /// Tells of rows at once, wherever they are kept later.
    fn publish(&mut self) {
        if self.rows.is_empty() {
            return;
        }
        self.metrics.count(&self.rows);
        let flow = &mut self.flow;
        self.live.publish(self.rows.iter().map(|row| Update {
            counted: (row.seq > 0).then(|| flow.counted(row)).flatten(),
            connection: Arc::new(row.clone()),
        }));
    }

    fn send(&self, mut rows: Vec<Connection>) -> Result<()> {
        while !rows.is_empty() {
            let rest = rows.split_off(rows.len().min(ROWS));
            let reports = None;
            self.hand(ToKeep { rows, reports })?;
            rows = rest;
        }
        Ok(())
    }

    fn hand(&self, one: ToKeep) -> Result<()> {
        if self.sender.blocking_send(one).is_err() {
            bail!("connections are not kept any more: the store is closed");
        }
        Ok(())
    }
}

/// Who is at this end: as the agent says, or as is known here of an end that is outside to it.
fn better<'a>(end: &End<'a>, network: Option<&'a str>, names: &'a Names) -> Option<&'a Endpoint> {
    let told = end.endpoint;
    let ip = match (told.map(|it| it.kind), end.ip) {
        (None | Some(EndpointKind::External), Some(ip)) => ip,
        _ => return told,
    };
    let place = names.place(ZoneId(u16::MAX), Input::Unknown, None, network);
    let known = names.endpoint(place, ip);
    match known.kind {
        EndpointKind::External => told,
        _ => Some(known),
    }
}

/// What an agent counts, by its places.
fn states(node: &str, counters: Vec<netverdict_proto::v1::Counter>) -> Vec<SourceState> {
    let mut places: BTreeMap<String, Vec<Counter>> = BTreeMap::new();
    for counter in counters.into_iter().take(COUNTERS) {
        places.entry(counter.place).or_default().push(Counter {
            name: counter.name,
            value: counter.value,
        });
    }
    let named = |(place, counters)| SourceState {
        name: format!("{place} of the agent on {node}"),
        counters,
    };
    places.into_iter().map(named).collect()
}

/// Counters of one agent that are shown at most.
const COUNTERS: usize = 512;

/// The task that keeps rows.
pub(crate) struct Writer {
    sender: mpsc::Sender<ToKeep>,
    task: JoinHandle<Result<()>>,
    retries: Arc<AtomicU64>,
}

/// How long the store is waited for at the end.
const LAST: Duration = Duration::from_secs(60);
/// How long the store is left alone after a fault; each time twice as long, up to the greatest.
const PAUSE: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];

impl Writer {
    /// Goes on where this writer ended.
    ///
    /// # Errors
    /// If the store does not tell where that is.
    pub(crate) fn start(
        runtime: &Runtime,
        store: Arc<dyn Store>,
        port: u16,
        metrics: Arc<Metrics>,
        reports: Option<(Collector, Reports)>,
    ) -> Result<Self> {
        let name = writer(port);
        let number = Self::last(runtime, &*store, port)?;
        let (sender, batches) = mpsc::channel(WAITING);
        let retries = Arc::new(AtomicU64::new(0));
        let keeper = Keeper {
            store,
            name,
            number,
            retries: retries.clone(),
            metrics,
            reports,
        };
        let task = runtime.spawn(keeper.keep_all(batches));
        Ok(Self {
            sender,
            task,
            retries,
        })
    }

    /// The number of the last batch that the store keeps of this writer.
    ///
    /// # Errors
    /// If the store does not tell.
    pub(crate) fn last(runtime: &Runtime, store: &dyn Store, port: u16) -> Result<u64> {
        Ok(runtime.block_on(store.last(&writer(port)))?.unwrap_or(0))
    }

    /// Waits until all is kept. All senders must be gone.
    ///
    /// # Errors
    /// If the store has failed, or takes too long.
    pub(crate) fn end(self, runtime: &Runtime) -> Result<()> {
        drop(self.sender);
        let ended = runtime.block_on(async { tokio::time::timeout(LAST, self.task).await });
        ended
            .context("the store did not take the last connections in time; they are lost")?
            .context("the task that keeps connections has failed; please report this")?
    }
}

/// Keeps batches one after the other.
struct Keeper {
    store: Arc<dyn Store>,
    name: String,
    number: u64,
    retries: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
    reports: Option<(Collector, Reports)>,
}

impl Keeper {
    async fn keep_all(mut self, mut batches: mpsc::Receiver<ToKeep>) -> Result<()> {
        while let Some(ToKeep { rows, reports }) = batches.recv().await {
            if let (Some((_, known)), Some(positions)) = (&self.reports, &reports) {
                let mut pause = PAUSE[0];
                while let Err(error) = known.will_keep(self.number, !rows.is_empty(), positions) {
                    tracing::error!("reports are not kept yet: {error:#}; again in {pause:?}");
                    wait(&mut pause).await;
                }
            }
            if !rows.is_empty() {
                self.number += 1;
                self.keep(rows).await?;
            }
            if let (Some((collector, known)), Some(positions)) = (&mut self.reports, reports) {
                known.set_kept(positions.clone());
                collector.kept(positions);
            }
        }
        Ok(())
    }

    async fn keep(&self, rows: Vec<Connection>) -> Result<()> {
        let batch = Batch {
            writer: self.name.clone(),
            number: self.number,
            rows,
        };
        let began = Instant::now();
        let mut pause = PAUSE[0];
        loop {
            match self.store.append(batch.clone()).await {
                Ok(()) => {
                    self.metrics.appended(batch.rows.len(), began.elapsed());
                    return Ok(());
                }
                Err(StoreError::Closed) => bail!("the store is closed"),
                Err(error) => {
                    tracing::error!(
                        "{} connections are not kept yet: {}; again in {pause:?}",
                        batch.rows.len(),
                        causes(&error)
                    );
                    self.metrics.append_failed();
                    self.retries.fetch_add(1, Ordering::Relaxed);
                    wait(&mut pause).await;
                }
            }
        }
    }
}

async fn wait(pause: &mut Duration) {
    tokio::time::sleep(*pause).await;
    *pause = (2 * *pause).min(PAUSE[1]);
}

/// The name of this writer among those that share a store; the same when it is started anew.
fn writer(port: u16) -> String {
    let name = nix::unistd::gethostname().ok();
    let name = name.and_then(|name| name.into_string().ok());
    format!("server@{}:{port}", name.as_deref().unwrap_or("localhost"))
}

#[cfg(test)]
mod tests;
