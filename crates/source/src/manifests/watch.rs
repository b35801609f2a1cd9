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

    /// Watches what happens to the entries of a directory. One that is not there, or may not be
    /// read, is left to whoever reads it.
    pub(super) fn directory(&mut self, path: &Path) -> Result<(), Error> {
        let path = match path.as_os_str().is_empty() {
            true => Path::new("."),
            false => path,
        };
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
            Err(nix::Error::ENOENT | nix::Error::ENOTDIR | nix::Error::EACCES) => Ok(()),
            Err(error) => Err(failed(path, error.into())),
        }
    }

    /// Watches what stands at a path: the directory that holds it and, where links are on the way
    /// to it, those that hold them.
    pub(super) fn place(&mut self, path: &Path) -> Result<(), Error> {
        // A directory without a link on the way, so that `..` behind it means its parent.
        let mut here = PathBuf::new();
        let mut rest: Vec<PathBuf> = steps(path);
        let mut links = 0;
        while let Some(step) = rest.pop() {
            let next = here.join(&step);
            match next.read_link() {
                Ok(target) if links < LINKS => {
                    self.directory(&here)?;
                    links += 1;
                    rest.extend(steps(&target));
                }
                Err(_) if !rest.is_empty() && next.is_dir() => here = next,
                _ => return self.directory(&here),
            }
        }
        Ok(())
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

/// The parts of a path, the last one first.
fn steps(path: &Path) -> Vec<PathBuf> {
    let steps = path.components().map(|step| Path::new(&step).to_owned());
    steps.rev().collect()
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::Watch {
        path: path.to_owned(),
        error,
    }
}
