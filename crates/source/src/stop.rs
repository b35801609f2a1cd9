use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Asks the sources that hold a copy of it to end.
///
/// A source waits for its input and for this at once, so that it neither polls nor stays behind.
#[derive(Clone, Debug)]
pub struct Stop(Arc<EventFd>);

impl Stop {
    /// One that has not been asked for.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(Arc::new(EventFd::from_flags(flags)?)))
    }

    /// Asks. It cannot be taken back.
    pub fn stop(&self) {
        // Fails only when the count is at its end, and then it was asked already.
        let _ = self.0.write(1);
    }

    /// Waits until `input` can be read (or has failed, which a read tells). False when this was
    /// asked for before.
    ///
    /// # Errors
    /// What poll(2) says.
    pub fn wait(&self, input: BorrowedFd<'_>) -> io::Result<bool> {
        Ok(self.poll(input, PollTimeout::NONE)? != Waited::Stopped)
    }

    /// The same, for `timeout` milliseconds at most.
    pub(crate) fn wait_at_most(&self, input: BorrowedFd<'_>, timeout: u16) -> io::Result<Waited> {
        self.poll(input, PollTimeout::from(timeout))
    }

    /// Waits for `timeout` milliseconds at most. True when this was asked for.
    ///
    /// # Errors
    /// What poll(2) says.
    pub fn wait_timeout(&self, timeout: u16) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(timeout)) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(fds[0].any().unwrap_or_default()),
            Err(error) => Err(error.into()),
        }
    }

    /// An interrupted wait begins anew.
    fn poll(&self, input: BorrowedFd<'_>, timeout: PollTimeout) -> io::Result<Waited> {
        let mut fds = [
            PollFd::new(self.0.as_fd(), PollFlags::POLLIN),
            PollFd::new(input, PollFlags::POLLIN),
        ];
        loop {
            match poll(&mut fds, timeout) {
                Ok(0) => return Ok(Waited::Late),
                Ok(_) if fds[0].any().unwrap_or_default() => return Ok(Waited::Stopped),
                Ok(_) => return Ok(Waited::Ready),
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Waited {
    /// An end was asked for.
    Stopped,
    /// The input can be read.
    Ready,
    /// The time is over.
    Late,
}

impl AsFd for Stop {
    /// Becomes readable, and stays so, once this was asked for. Nobody may read or write it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
