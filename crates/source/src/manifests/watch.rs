use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::Error;
use crate::Stop;
use crate::stop::Waited;

/// Tells when something happens in directories. What happened is looked up there.
pub(super) struct Watch {
    inotify: Inotify,
    watched: HashSet<WatchDescriptor>,
    /// Those of the look that is under way.
    wanted: HashSet<WatchDescriptor>,
}

/// Changes that come together end with so many milliseconds of quiet.
const QUIET: u16 = 100;
/// Nobody waits longer than this for the quiet.
const LONGEST: Duration = Duration::from_secs(2);
/// Links on the way to a file; as many as the system follows.
const LINKS: usize = 40;

impl Watch {
    pub(super) fn new() -> Result<Self, Error> {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        Ok(Self {
            inotify: Inotify::init(flags).map_err(|error| failed(Path::new("/"), error.into()))?,
            watched: HashSet::new(),
            wanted: HashSet::new(),
        })
    }

    /// Watches what happens to the entries of a directory, or of the next one above where it is
    /// not there. One that may not be read is left to whoever reads it.
    pub(super) fn directory(&mut self, path: &Path) -> Result<(), Error> {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        match self.inotify.add_watch(path, flags) {
            Ok(descriptor) => {
                self.wanted.insert(descriptor);
                Ok(())
            }
            Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => match holder(path) {
                Some(holder) => self.directory(&holder),
                None => Ok(()),
            },
            Err(nix::Error::EACCES) => Ok(()),
            Err(error) => Err(failed(path, error.into())),
        }
    }

    /// Watches what stands at a path: the directory that holds it and, for a link, those on the
    /// way to where it leads.
    pub(super) fn place(&mut self, path: &Path) -> Result<(), Error> {
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            let Some(holder) = holder(&path) else {
                return Ok(());
            };
            self.directory(&holder)?;
            match path.read_link() {
                Ok(target) => path = holder.join(target),
                Err(_) => break,
            }
        }
        match path.canonicalize().ok().as_deref().and_then(Path::parent) {
            Some(parent) => self.directory(parent),
            None => Ok(()),
        }
    }

    /// Ends the watch on what was not named since this was last called.
    pub(super) fn forget_others(&mut self) {
        let wanted = std::mem::take(&mut self.wanted);
        for descriptor in self.watched.difference(&wanted) {
            // The watch is gone with the directory where that was removed.
            let _ = self.inotify.rm_watch(*descriptor);
        }
        self.watched = wanted;
    }

    /// Waits until something has happened and it is quiet again. False when `stop` asks for an end.
    pub(super) fn wait(&self, stop: &Stop) -> io::Result<bool> {
        if !stop.wait(self.inotify.as_fd())? {
            return Ok(false);
        }
        let begin = Instant::now();
        loop {
            self.clear()?;
            if begin.elapsed() > LONGEST {
                return Ok(true);
            }
            match stop.wait_at_most(self.inotify.as_fd(), QUIET)? {
                Waited::Stopped => return Ok(false),
                Waited::Ready => {}
                Waited::Late => return Ok(true),
            }
        }
    }

    fn clear(&self) -> io::Result<()> {
        loop {
            match self.inotify.read_events() {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The directory that a path stands in.
fn holder(path: &Path) -> Option<PathBuf> {
    match path.parent()? {
        parent if !parent.as_os_str().is_empty() => Some(parent.to_owned()),
        _ if path.as_os_str() == "." => None,
        _ => Some(PathBuf::from(".")),
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::Watch {
        path: path.to_owned(),
        error,
    }
}
