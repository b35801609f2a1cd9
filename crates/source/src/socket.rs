use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use crate::{Count, sys};

/// The receive buffer that the kernel gave to a socket. What does not fit into it while nobody
/// reads is lost, and counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReceiveBuffer {
    /// Its size in bytes, bookkeeping of the kernel included (socket(7), SO_RCVBUF).
    pub bytes: usize,
    /// The size was set past `net.core.rmem_max`, which takes CAP_NET_ADMIN. Where it could not
    /// be, [`ReceiveBuffer::bytes`] may be much less than was wanted.
    pub forced: bool,
}

impl ReceiveBuffer {
    /// Sets it to `wanted` bytes, or as near as the kernel lets this process.
    pub(crate) fn set(socket: &impl AsFd, wanted: usize) -> io::Result<Self> {
        let forced = setsockopt(socket, sockopt::RcvBufForce, &wanted).is_ok();
        if !forced {
            setsockopt(socket, sockopt::RcvBuf, &wanted)?;
        }
        Ok(Self {
            bytes: getsockopt(socket, sockopt::RcvBuf)?,
            forced,
        })
    }
}

/// Follows the kernel's drop counter of one socket, which wraps at 2^32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drops(u32);

impl Drops {
    pub(crate) fn new(socket: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self(sys::drops(socket)?))
    }

    /// Adds to `count` what was dropped since the last call.
    pub(crate) fn read(&mut self, socket: BorrowedFd<'_>, count: &Count) -> io::Result<()> {
        let now = sys::drops(socket)?;
        count.add(u64::from(now.wrapping_sub(self.0)));
        self.0 = now;
        Ok(())
    }
}
