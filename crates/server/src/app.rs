mod scoped;

use std::sync::Arc;

use netverdict_store::Store;
use netverdict_types::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::cluster::{Cluster, Encoder};
use crate::limits::Limits;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::problem::Problem;

pub(crate) use scoped::Scoped;

/// What a server answers from.
pub struct Parts {
    /// The connections of the past.
    pub store: Arc<dyn Store>,
    /// Those that come.
    pub live: Arc<Live>,
    /// What is known of the cluster.
    pub cluster: Arc<dyn Cluster>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// How much may be asked.
    pub limits: Limits,
    /// Writes Parquet, where that is built in.
    pub parquet: Option<Encoder>,
}

/// All that handlers share. They ask through a `Scoped` of it, which knows who asks.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    parts: Parts,
    queries: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl App {
    /// A server's state.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Shared {
            queries: Arc::new(Semaphore::new(parts.limits.queries)),
            streams: Arc::new(Semaphore::new(parts.limits.streams)),
            metrics: Arc::new(Metrics::new()),
            parts,
        }))
    }

    /// What it counts.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// All that it answers from, whoever asks: for what tells nothing of connections, such as health.
    pub(crate) fn unscoped(&self) -> &Parts {
        &self.0.parts
    }

    fn live(&self) -> &Arc<Live> {
        &self.0.parts.live
    }

    fn cluster(&self) -> &dyn Cluster {
        &*self.0.parts.cluster
    }

    fn store(&self) -> &dyn Store {
        &*self.0.parts.store
    }

    fn clock(&self) -> &dyn Clock {
        &*self.0.parts.clock
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.parts.limits
    }

    fn parquet(&self) -> Option<Encoder> {
        self.0.parts.parquet
    }

    /// Takes a turn, and not too long.
    pub(crate) async fn work<T>(
        &self,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let limits = self.limits();
        let turn = timeout(limits.patience, self.0.queries.acquire());
        let Ok(Ok(_turn)) = turn.await else {
            return Err(Problem::busy());
        };
        match timeout(limits.timeout, work).await {
            Ok(done) => done,
            Err(_) => Err(Problem::timeout(limits.timeout)),
        }
    }

    /// The right to stream; it ends with what is returned.
    fn stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let streams = self.0.streams.clone();
        streams.try_acquire_owned().map_err(|_| Problem::busy())
    }
}
