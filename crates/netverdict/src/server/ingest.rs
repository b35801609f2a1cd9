//! From decisions to the store and the live stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use netverdict_flow::{Flow, Limits};
use netverdict_server::{Live, Metrics, Update};
use netverdict_store::{Batch, Store, StoreError};
use netverdict_types::{Clock, Connection, Decision, SystemClock, causes};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Rows of a batch at most.
const ROWS: usize = 8_192;
/// Batches that may wait for the store; beyond, the sources wait, and count what they lose.
const WAITING: usize = 16;

/// Makes connections of decisions, and hands them on.
pub(crate) struct Ingest {
    flow: Flow,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    sender: mpsc::Sender<Vec<Connection>>,
    retries: Arc<AtomicU64>,
    rows: Vec<Connection>,
}

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
        }
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
        self.hand_on()
    }

    /// Hands on all that is held back.
    ///
    /// # Errors
    /// If nobody keeps rows any more.
    pub(crate) fn finish(mut self) -> Result<()> {
        let rows = &mut self.rows;
        self.flow.finish(|update| rows.push(update));
        self.hand_on()
    }

    fn hand_on(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.metrics.count(&self.rows);
        let flow = &mut self.flow;
        self.live.publish(self.rows.iter().map(|row| Update {
            counted: (row.seq > 0).then(|| flow.counted(row)).flatten(),
            connection: Arc::new(row.clone()),
        }));
        let mut rows = std::mem::take(&mut self.rows);
        while !rows.is_empty() {
            let rest = rows.split_off(rows.len().min(ROWS));
            if self.sender.blocking_send(rows).is_err() {
                bail!("connections are not kept any more: the store is closed");
            }
            rows = rest;
        }
        Ok(())
    }
}

/// The task that keeps rows.
pub(crate) struct Writer {
    sender: mpsc::Sender<Vec<Connection>>,
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
    ) -> Result<Self> {
        let name = writer(port);
        let last = runtime.block_on(store.last(&name))?.unwrap_or(0);
        let (sender, batches) = mpsc::channel(WAITING);
        let retries = Arc::new(AtomicU64::new(0));
        let task = runtime.spawn(keep(store, name, last, batches, retries.clone(), metrics));
        Ok(Self {
            sender,
            task,
            retries,
        })
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

async fn keep(
    store: Arc<dyn Store>,
    writer: String,
    mut number: u64,
    mut batches: mpsc::Receiver<Vec<Connection>>,
    retries: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
) -> Result<()> {
    while let Some(rows) = batches.recv().await {
        number += 1;
        let batch = Batch {
            writer: writer.clone(),
            number,
            rows,
        };
        let began = Instant::now();
        let mut pause = PAUSE[0];
        loop {
            match store.append(batch.clone()).await {
                Ok(()) => {
                    metrics.appended(batch.rows.len(), began.elapsed());
                    break;
                }
                Err(StoreError::Closed) => bail!("the store is closed"),
                Err(error) => {
                    tracing::error!(
                        "{} connections are not kept yet: {}; again in {pause:?}",
                        batch.rows.len(),
                        causes(&error)
                    );
                    metrics.append_failed();
                    retries.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(PAUSE[1]);
                }
            }
        }
    }
    Ok(())
}

/// The name of this writer among those that share a store; the same when it is started anew.
fn writer(port: u16) -> String {
    let name = nix::unistd::gethostname().ok();
    let name = name.and_then(|name| name.into_string().ok());
    format!("server@{}:{port}", name.as_deref().unwrap_or("localhost"))
}
