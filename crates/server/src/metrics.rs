//! What `/metrics` tells; docs/metrics.md lists it.

mod requests;
mod scrape;
mod series;
mod text;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use netverdict_types::{Connection, Verdict};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

pub(crate) use requests::timed;
pub(crate) use scrape::scrape;

use crate::access::Access;
use requests::Requests;
use series::{BOUNDS, Series};

/// What a server counts of connections, and of itself.
pub struct Metrics {
    series: Mutex<Series>,
    open: Gauge,
    appended: Counter,
    append: Histogram,
    append_failures: Counter,
    live_lost: Counter,
    requests: Requests,
    access: OnceLock<Access>,
}

impl Metrics {
    /// Nothing yet.
    #[allow(clippy::new_without_default, reason = "an App makes its own")]
    pub fn new() -> Self {
        Self {
            series: Mutex::new(Series::new(BOUNDS)),
            open: Gauge::default(),
            appended: Counter::default(),
            // 1 ms to 33 s.
            append: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            append_failures: Counter::default(),
            live_lost: Counter::default(),
            requests: Requests::default(),
            access: OnceLock::new(),
        }
    }

    /// Counts updates on their way to the store. Many at once are better than one by one: they
    /// share a lock, which nobody else takes for long.
    pub fn count<'a>(&self, updates: impl IntoIterator<Item = &'a Connection>) {
        let mut series = self.series();
        for update in updates {
            series.count(update);
        }
    }

    /// So many connections are remembered now.
    pub fn set_open(&self, connections: usize) {
        self.open
            .set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    /// So many connections were told with one verdict and later with a worse one, by the places of both
    /// in [`Verdict::ALL`].
    pub fn set_turned(&self, turned: [[u64; Verdict::ALL.len()]; Verdict::ALL.len()]) {
        self.series().turned = turned;
    }

    /// The store kept so many rows, and it took so long.
    pub fn appended(&self, rows: usize, took: Duration) {
        self.appended.inc_by(rows as u64);
        self.append.observe(took.as_secs_f64());
    }

    /// The store did not keep what it was given, which will be given to it again.
    pub fn append_failed(&self) {
        self.append_failures.inc();
    }

    /// Tells what `access` counts too; of the first that is given.
    pub fn watch(&self, access: &Access) {
        let _ = self.access.set(access.clone());
    }

    /// A reader of the live stream has missed so many updates.
    pub(crate) fn live_lost(&self, updates: u64) {
        self.live_lost.inc_by(updates);
    }

    fn series(&self) -> MutexGuard<'_, Series> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
