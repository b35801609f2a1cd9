use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};

use netverdict_types::{Timestamp, ZoneId};

/// What one source received at one time: messages, one after the other, as they came.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Which of the sources given by the user, from 0.
    pub source: u16,
    /// The zone that the source observes.
    pub zone: ZoneId,
    /// What the messages are.
    pub content: Content,
    /// When they were taken from the kernel.
    pub received: Timestamp,
    /// The messages.
    pub bytes: Vec<u8>,
    /// Where each message ends in `bytes`.
    pub ends: Vec<usize>,
    /// Who sent each message, where it came over a network.
    pub peers: Vec<SocketAddr>,
}

/// What the messages of a batch are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Content {
    /// Datagrams of a netlink socket with psample messages.
    #[default]
    Psample,
    /// IPFIX messages.
    Ipfix,
    /// Lines of a log, without their ends.
    AclLog,
}

/// The receiver is gone: the source ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Closed;

/// Where a source puts its batches.
pub struct Outlet {
    send: Box<dyn Fn(Batch) -> Result<(), Closed> + Send>,
    spare: Receiver<Batch>,
}

/// What a source lost, or let pass, before anybody could look at it. Shared with the source.
#[derive(Debug, Default)]
pub struct Losses {
    received: AtomicU64,
    kernel: AtomicU64,
    overruns: AtomicU64,
    truncated: AtomicU64,
}

/// Ends a source from another thread.
pub struct Stop(Box<dyn Fn() + Send>);

impl Batch {
    /// The messages.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .filter_map(|(start, end)| self.bytes.get(start..*end))
    }

    /// Empties it, and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.peers.clear();
    }
}

impl Outlet {
    /// An outlet that hands batches to `send` and takes emptied ones from `spare`.
    pub fn new(
        send: impl Fn(Batch) -> Result<(), Closed> + Send + 'static,
        spare: Receiver<Batch>,
    ) -> Self {
        Self {
            send: Box::new(send),
            spare,
        }
    }

    /// An outlet into a channel, for a program with nothing else to wait for.
    pub fn to_channel(sender: SyncSender<Batch>, spare: Receiver<Batch>) -> Self {
        Self::new(move |batch| sender.send(batch).map_err(|_| Closed), spare)
    }

    /// An empty batch: one that came back, or a new one.
    pub fn empty(&self) -> Batch {
        match self.spare.try_recv() {
            Ok(mut batch) => {
                batch.clear();
                batch
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Batch::default(),
        }
    }

    /// Hands a batch over; waits while the receiver is behind, so that the loss happens, and is
    /// counted, in the kernel's buffer.
    ///
    /// # Errors
    /// [`Closed`] once nobody listens any more.
    pub fn put(&self, batch: Batch) -> Result<(), Closed> {
        (self.send)(batch)
    }
}

impl Losses {
    /// New ones, all zero.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Messages taken from the kernel.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Messages that the kernel dropped at the socket, by its own counter.
    pub fn kernel(&self) -> u64 {
        self.kernel.load(Ordering::Relaxed)
    }

    /// Times that the kernel told of a loss (ENOBUFS).
    pub fn overruns(&self) -> u64 {
        self.overruns.load(Ordering::Relaxed)
    }

    /// Messages longer than the buffer, cut by the kernel.
    pub fn truncated(&self) -> u64 {
        self.truncated.load(Ordering::Relaxed)
    }

    /// Counts messages taken.
    pub fn add_received(&self, count: u64) {
        self.received.fetch_add(count, Ordering::Relaxed);
    }

    /// Sets what the kernel's counter says since the source began.
    pub fn set_kernel(&self, count: u64) {
        self.kernel.store(count, Ordering::Relaxed);
    }

    /// Counts one ENOBUFS.
    pub fn add_overrun(&self) {
        self.overruns.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts messages that were cut.
    pub fn add_truncated(&self, count: u64) {
        self.truncated.fetch_add(count, Ordering::Relaxed);
    }
}

impl Stop {
    /// What ends the source.
    pub fn new(stop: impl Fn() + Send + 'static) -> Self {
        Self(Box::new(stop))
    }

    /// Ends the source. It hands over what it has received first.
    pub fn stop(&self) {
        (self.0)();
    }
}
