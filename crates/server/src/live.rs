use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use netverdict_types::{Clock, Connection, Counts, SystemClock};
use tokio::sync::watch;

/// Updates of connections as they come, the newest of them kept for those who read behind.
///
/// Each update has a number, counting up from 0. Readers share one ring: who is slower than the
/// ring is long loses the oldest, and is told how many. Writers never wait.
#[derive(Debug)]
pub struct Live {
    run: u64,
    capacity: usize,
    ring: Mutex<Ring>,
    news: watch::Sender<News>,
}

/// An update, and what filters are asked of.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// What became known since the update before.
    pub connection: Arc<Connection>,
    /// What was counted of the connection up to this update: its sum, where that is more than the
    /// update itself counts, and known.
    pub counted: Option<Vec<Counts>>,
}

impl From<Arc<Connection>> for Update {
    fn from(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            counted: None,
        }
    }
}

#[derive(Debug, Default)]
struct Ring {
    updates: VecDeque<Update>,
    next: u64,
}

/// What wakes readers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct News {
    next: u64,
    closed: bool,
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// How many updates were gone before they could be read.
    pub lost: u64,
    /// Updates with their numbers.
    pub updates: Vec<(u64, Update)>,
    /// The number to go on with.
    pub next: u64,
}

impl Live {
    /// Keeps the last `capacity` updates.
    pub fn new(capacity: usize) -> Self {
        Self {
            run: SystemClock.now().0.unsigned_abs(),
            capacity: capacity.max(1),
            ring: Mutex::default(),
            news: watch::Sender::default(),
        }
    }

    /// Tells these updates to all readers.
    pub fn publish(&self, updates: impl IntoIterator<Item = impl Into<Update>>) {
        let mut ring = self.ring();
        for update in updates {
            let update = update.into();
            if ring.updates.len() == self.capacity {
                ring.updates.pop_front();
            }
            ring.updates.push_back(update);
            ring.next += 1;
        }
        let next = ring.next;
        drop(ring);
        self.news.send_modify(|news| news.next = next);
    }

    /// Says that nothing more will come.
    pub fn close(&self) {
        self.news.send_modify(|news| news.closed = true);
    }

    /// The number of the update that comes next.
    pub fn next(&self) -> u64 {
        self.ring().next
    }

    /// Identity of this run of the program: numbers of another run mean nothing here.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// How many read.
    pub fn readers(&self) -> usize {
        self.news.receiver_count()
    }

    /// At most `count` updates from number `from` on.
    pub fn read(&self, from: u64, count: usize) -> Read {
        let ring = self.ring();
        let oldest = ring.next - ring.updates.len() as u64;
        let from = from.min(ring.next);
        let start = from.max(oldest);
        let skip = usize::try_from(start - oldest).unwrap_or(usize::MAX);
        let updates: Vec<_> = (start..)
            .zip(ring.updates.iter().skip(skip).take(count).cloned())
            .collect();
        Read {
            lost: start - from,
            next: start + updates.len() as u64,
            updates,
        }
    }

    /// Somebody who waits for updates.
    pub(crate) fn waiter(&self) -> Waiter {
        Waiter(self.news.subscribe())
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for updates.
#[derive(Debug)]
pub(crate) struct Waiter(watch::Receiver<News>);

impl Waiter {
    /// Waits until there is an update of number `next`; false when none will come.
    pub(crate) async fn wait(&mut self, next: u64) -> bool {
        match self
            .0
            .wait_for(|news| news.next > next || news.closed)
            .await
        {
            Ok(news) => news.next > next,
            Err(_) => false,
        }
    }
}
