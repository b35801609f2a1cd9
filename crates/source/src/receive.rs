//! The one loop that takes datagrams from a socket and sends what they become.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use netverdict_types::{Clock, Timestamp};

use crate::socket::Drops;
use crate::sys::{Datagram, Datagrams};
use crate::{Batch, Count, Sender, Stop};

/// A socket, and where its samples go.
pub(crate) struct Receiving {
    /// Bytes that the kernel keeps at most while nobody reads.
    pub(crate) holds: usize,
    /// Follows what the kernel drops.
    pub(crate) drops: Drops,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sender: Sender,
    /// Datagrams in one system call.
    pub(crate) at_once: usize,
    /// No datagram is longer.
    pub(crate) longest: usize,
}

/// What a datagram becomes.
pub(crate) trait Codec {
    /// Adds to `batch` what is in a datagram that was received at `now`.
    fn datagram(&mut self, datagram: &Datagram<'_>, now: Timestamp, batch: &mut Batch);

    /// Whether it can go on after receiving has failed with `error`.
    fn goes_on(&mut self, error: &io::Error) -> bool;

    /// Publishes what it has met so far.
    fn count(&mut self);

    /// Where the datagrams are counted that the kernel has dropped.
    fn dropped(&self) -> &Count;
}

/// What the loop was at when the socket failed.
pub(crate) struct Failed {
    /// What the socket was to do.
    pub(crate) what: &'static str,
    /// What the system says.
    pub(crate) error: io::Error,
}

impl Receiving {
    /// Sends samples until it is stopped or its reader is gone. While nothing arrives it sleeps.
    pub(crate) fn run(
        mut self,
        socket: BorrowedFd<'_>,
        codec: &mut impl Codec,
        stop: &Stop,
    ) -> Result<(), Failed> {
        let mut datagrams = Datagrams::new(self.at_once, self.longest);
        let Some(mut batch) = self.sender.batch() else {
            return Ok(());
        };
        // Something may have been dropped since the counter was read.
        let mut behind = false;
        let mut stopped = false;
        while !stopped {
            // What the socket holds when it is asked to end is still read: nothing is lost unseen.
            stopped = !stop
                .wait(socket)
                .map_err(|error| Failed::new("wait", error))?;
            let mut left = self.holds;
            loop {
                let count = match datagrams.receive(socket) {
                    Ok(count) => count,
                    Err(error) if codec.goes_on(&error) => {
                        self.read_drops(socket, codec)?;
                        behind = true;
                        continue;
                    }
                    Err(error) => return Err(Failed::new("receive", error)),
                };
                let now = self.clock.now();
                for datagram in datagrams.iter(count) {
                    left = left.saturating_sub(datagram.bytes.len());
                    codec.datagram(&datagram, now, &mut batch);
                    if batch.is_full() {
                        codec.count();
                        if !self.sender.exchange(&mut batch) {
                            return Ok(());
                        }
                    }
                }
                if count < datagrams.capacity() || stopped && left == 0 {
                    break;
                }
                behind = true;
            }
            if behind {
                self.read_drops(socket, codec)?;
                behind = false;
            }
            codec.count();
            if !self.sender.exchange(&mut batch) {
                return Ok(());
            }
        }
        self.read_drops(socket, codec)
    }

    fn read_drops(&mut self, socket: BorrowedFd<'_>, codec: &impl Codec) -> Result<(), Failed> {
        self.drops
            .read(socket, codec.dropped())
            .map_err(|error| Failed::new("tell what it drops", error))
    }
}

impl Failed {
    fn new(what: &'static str, error: io::Error) -> Self {
        Self { what, error }
    }
}
