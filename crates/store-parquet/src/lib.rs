//! Connections in Parquet files of a directory, asked with DataFusion.
//!
//! What is [appended](Store::append) goes to a log first, many batches with one `fsync`, and
//! stays in memory. From there it is sealed: folded, sorted, and written as Parquet files by time,
//! which a manifest names and nothing changes. Small segments become larger ones in the
//! background. `docs/store.md` describes the files.
//!
//! ```no_run
//! use std::time::Duration;
//! use netverdict_store::Store;
//! use netverdict_store_parquet::{Options, ParquetStore};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut options = Options::new("/var/lib/netverdict/connections");
//! options.keep = Some(Duration::from_secs(30 * 86_400));
//! let store = ParquetStore::open(options)?;
//! # let _: &dyn Store = &store;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod ask;
mod compact;
mod export;
mod filter;
mod fold;
mod group;
mod live;
mod log;
mod manifest;
mod names;
mod provider;
mod rollup;
mod row;
mod scan;
mod seal;
mod segment;
mod writer;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Sender;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use netverdict_query::ask::{Answer, Ask, AskError, Want};
use netverdict_store::{Batch, State, Store, StoreError};
use netverdict_types::{Clock, Connection, SystemClock};
use tokio::sync::{Semaphore, oneshot};

pub use export::File;

use crate::live::Live;
use crate::scan::ScanError;
use crate::writer::Request;

/// How a store is kept.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// The data directory; it is made if it is not there. One process uses it at a time.
    pub directory: PathBuf,
    /// So many rows stay in memory until they are sealed. Twice as many may be there meanwhile,
    /// at about 250 bytes each.
    pub seal_rows: usize,
    /// Rows are sealed when the oldest of them is in memory for so long.
    pub seal_after: Duration,
    /// How long connections are kept, by their end; `None`: for ever.
    pub keep: Option<Duration>,
    /// How many bytes are kept; the oldest go first. `None`: all.
    pub keep_bytes: Option<u64>,
    /// Tells the time that `keep` counts back from.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// With what suits most.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            seal_rows: 1 << 20,
            seal_after: Duration::from_secs(300),
            keep: None,
            keep_bytes: None,
            clock: Arc::new(SystemClock),
        }
    }
}

/// A store in a directory of this machine.
pub struct ParquetStore {
    live: Arc<Live>,
    requests: Sender<Request>,
    asks: Option<Sender<Job>>,
    /// Rows that may be on their way to the log.
    room: Arc<Semaphore>,
    threads: Vec<JoinHandle<()>>,
}

type Job = Box<dyn FnOnce(&tokio::runtime::Runtime) + Send>;

/// Rows that are on their way to the log at most.
const ROOM: usize = 1 << 18;

impl ParquetStore {
    /// Opens a directory, and puts in order what a crash left there.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the directory cannot be used, another process uses it, or a
    /// newer version wrote it.
    pub fn open(options: Options) -> Result<Self, StoreError> {
        let (live, log) = Live::open(options)?;
        let live = Arc::new(live);
        let (requests, inbox) = crossbeam_channel::unbounded();
        let (asks, jobs) = crossbeam_channel::unbounded::<Job>();
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.into())
                .spawn(work)
                .map_err(|cause| failed("cannot start a thread of the store", cause))
        };
        let mut threads = Vec::new();
        let of_writer = live.clone();
        threads.push(spawn(
            "store-log",
            Box::new(move || writer::run(&of_writer, log, &inbox)),
        )?);
        let of_sealer = live.clone();
        threads.push(spawn(
            "store-seal",
            Box::new(move || seal::run(&of_sealer)),
        )?);
        for _ in 0..std::thread::available_parallelism().map_or(1, |it| it.get().min(4)) {
            let jobs = jobs.clone();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .map_err(|cause| failed("cannot start a thread of the store", cause))?;
            threads.push(spawn(
                "store-ask",
                Box::new(move || jobs.iter().for_each(|job| job(&runtime))),
            )?);
        }
        Ok(Self {
            live,
            requests,
            asks: Some(asks),
            room: Arc::new(Semaphore::new(ROOM)),
            threads,
        })
    }

    /// Seals what is in memory, and waits until that, and the compaction that follows, is done.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn settle(&self) -> Result<(), StoreError> {
        let (done, wait) = oneshot::channel();
        self.requests
            .send(Request::Settle(done))
            .map_err(|_| StoreError::Closed)?;
        wait.await.map_err(|_| StoreError::Closed)
    }

    /// Answers from rows alone, without roll-ups: what those are judged by.
    ///
    /// # Errors
    /// As [`Store::ask`].
    pub async fn ask_rows(&self, ask: &Ask) -> Result<Answer, StoreError> {
        self.answer(ask, false).await
    }

    async fn answer(&self, ask: &Ask, rollups: bool) -> Result<Answer, StoreError> {
        ask.check()?;
        let ask = ask.clone();
        self.run(move |snapshot, runtime| runtime.block_on(ask::answer(snapshot, &ask, rollups)))
            .await
    }

    /// Does work on a thread for questions; again where a file was damaged and is set aside now.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Fn(scan::Snapshot, &tokio::runtime::Runtime) -> Result<T, ScanError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let live = self.live.clone();
        let (done, wait) = oneshot::channel();
        let job = move |runtime: &tokio::runtime::Runtime| {
            let result = loop {
                let result = live.snapshot().and_then(|snapshot| work(snapshot, runtime));
                match result {
                    Err(error) if live.set_aside(&error) => {}
                    result => break result,
                }
            };
            live.trim();
            // Who asked may be gone.
            _ = done.send(result);
        };
        let asks = self.asks.as_ref().ok_or(StoreError::Closed)?;
        asks.send(Box::new(job)).map_err(|_| StoreError::Closed)?;
        let result = wait.await.map_err(|_| StoreError::Closed)?;
        result.map_err(|cause| failed("cannot answer the question", cause))
    }
}

impl Store for ParquetStore {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let rows = batch.rows.len().clamp(1, ROOM) as u32;
            let room = self.room.clone().acquire_many_owned(rows).await;
            let room = room.map_err(|_| StoreError::Closed)?;
            let (done, wait) = oneshot::channel();
            self.requests
                .send(Request::Append { batch, room, done })
                .map_err(|_| StoreError::Closed)?;
            wait.await.map_err(|_| StoreError::Closed)?
        }
        .boxed()
    }

    fn ask<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Answer, StoreError>> {
        self.answer(ask, true).boxed()
    }

    fn connections<'a>(
        &'a self,
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Connection>, StoreError>> {
        async move {
            let Want::Rows { limit, after } = ask.want else {
                return Err(StoreError::Ask(AskError::NotRows));
            };
            let ask = ask.clone();
            self.run(move |snapshot, _| ask::newest(&snapshot, &ask, limit, after))
                .await
        }
        .boxed()
    }

    fn last<'a>(&'a self, writer: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        std::future::ready(Ok(self.live.last(writer))).boxed()
    }

    fn state(&self) -> BoxFuture<'_, Result<State, StoreError>> {
        std::future::ready(Ok(self.live.state())).boxed()
    }
}

impl Drop for ParquetStore {
    fn drop(&mut self) {
        self.room.close();
        // They are gone already where this fails.
        _ = self.requests.send(Request::Close);
        self.live.close();
        self.asks = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store ended by a fault in this program");
            }
        }
    }
}

fn failed(what: impl Into<String>, cause: impl Error + Send + Sync + 'static) -> StoreError {
    StoreError::Engine {
        what: what.into(),
        cause: Box::new(cause),
    }
}
