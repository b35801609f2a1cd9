//! Attaches to interfaces as they come, on a thread of its own in their network namespace.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use libbpf_rs::{TC_EGRESS, TC_INGRESS, TcHook, TcHookBuilder};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::link::{Links, News};
use super::sys;
use crate::{Error, Heading, Watched};

/// The programs of both directions.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) incoming: OwnedFd,
    pub(crate) outgoing: OwnedFd,
}

/// What the threads know together.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By namespace and index.
    names: Mutex<HashMap<(u32, u32), Name>>,
    attached: AtomicU64,
    failed: AtomicU64,
}

#[derive(Clone, Debug)]
struct Name {
    name: Arc<str>,
    is_gone: bool,
}

/// Names of interfaces at one time.
pub(crate) struct Names(HashMap<(u32, u32), Name>);

impl Names {
    pub(crate) fn of(&self, namespace: u32, index: u32) -> &str {
        self.0
            .get(&(namespace, index))
            .map_or("", |name| &name.name)
    }
}

impl State {
    pub(crate) fn names(&self) -> Names {
        Names(self.lock().clone())
    }

    /// Forgets the interfaces that were gone when `names` was taken.
    pub(crate) fn forget(&self, names: &Names) {
        let mut now = self.lock();
        for (key, _) in names.0.iter().filter(|(_, name)| name.is_gone) {
            if now.get(key).is_some_and(|name| name.is_gone) {
                now.remove(key);
            }
        }
    }

    /// How many interfaces are watched, and how many could not be.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (
            self.attached.load(Ordering::Relaxed),
            self.failed.load(Ordering::Relaxed),
        )
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(u32, u32), Name>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that watches one network namespace until this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Returns when all interfaces that there are have been attached to. All of `names` are of
    /// one namespace.
    pub(crate) fn start(
        names: Vec<Watched>,
        programs: Programs,
        state: Arc<State>,
    ) -> Result<Self, Error> {
        let system = |what: &str, error| Error::System {
            what: what.to_owned(),
            error,
        };
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|error| system("watch interfaces", error.into()))?;
        let stop = Arc::new(stop);
        let (ready, started) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("interfaces".to_owned())
            .spawn({
                let stop = Arc::clone(&stop);
                move || match Watching::begin(names, programs, state) {
                    Ok(watching) => watching.run(&stop, &ready),
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            })
            .map_err(|error| system("watch interfaces", error))?;
        let watch = Self {
            stop,
            thread: Some(thread),
        };
        match started.recv() {
            Ok(Ok(())) => Ok(watch),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(system("watch interfaces", io::ErrorKind::Other.into())),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Fails only when it was asked already.
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Watching {
    names: Vec<Watched>,
    programs: Programs,
    state: Arc<State>,
    namespace: u32,
    links: Links,
    attached: HashMap<u32, Attached>,
}

struct Attached {
    name: String,
    /// Told of in the list that is under way.
    is_told: bool,
    _hooks: Option<[Hook; 2]>,
}

impl Watching {
    fn begin(names: Vec<Watched>, programs: Programs, state: Arc<State>) -> Result<Self, Error> {
        if let Some(path) = names.iter().find_map(|names| names.namespace.as_ref()) {
            File::open(path)
                .and_then(|file| Ok(setns(file, CloneFlags::CLONE_NEWNET)?))
                .map_err(|error| Error::Namespace {
                    path: path.clone(),
                    error,
                })?;
        }
        let system = |error| Error::System {
            what: "hear of interfaces".to_owned(),
            error,
        };
        let namespace = fs::metadata("/proc/thread-self/ns/net").map_err(system)?;
        let links = Links::open().map_err(system)?;
        links.ask().map_err(system)?;
        Ok(Self {
            names,
            programs,
            state,
            namespace: namespace.ino() as u32,
            links,
            attached: HashMap::new(),
        })
    }

    fn run(mut self, stop: &EventFd, ready: &SyncSender<Result<(), Error>>) {
        loop {
            match self.receive(ready) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!("interfaces are not watched any more: {error}");
                    let _ = ready.try_send(Err(Error::System {
                        what: "hear of interfaces".to_owned(),
                        error,
                    }));
                    return;
                }
            }
            let mut waits = [
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.links.as_fd(), PollFlags::POLLIN),
            ];
            // An error shows at the next turn.
            let _ = poll(&mut waits, PollTimeout::NONE);
            if waits[0].any().unwrap_or_default() {
                return;
            }
        }
    }

    /// True when there may be more.
    fn receive(&mut self, ready: &SyncSender<Result<(), Error>>) -> io::Result<bool> {
        let mut news = Vec::new();
        let more = self.links.receive(|one| {
            news.push(match one {
                News::There(index, name) => Told::There(index, name.to_owned()),
                News::Gone(index) => Told::Gone(index),
                News::All => Told::All,
                News::Lost => Told::Lost,
            });
        })?;
        for one in news {
            match one {
                Told::There(index, name) => self.there(index, name),
                Told::Gone(index) => self.gone(index),
                Told::All => {
                    let gone: Vec<u32> = self
                        .attached
                        .iter_mut()
                        .filter_map(|(index, attached)| {
                            (!std::mem::take(&mut attached.is_told)).then_some(*index)
                        })
                        .collect();
                    gone.into_iter().for_each(|index| self.gone(index));
                    let _ = ready.try_send(Ok(()));
                }
                Told::Lost => {
                    for attached in self.attached.values_mut() {
                        attached.is_told = false;
                    }
                    self.links.ask()?;
                }
            }
        }
        Ok(more)
    }

    fn there(&mut self, index: u32, name: String) {
        if let Some(attached) = self.attached.get_mut(&index) {
            attached.is_told = true;
            if attached.name == name {
                return;
            }
            self.gone(index);
        }
        if !self.names.iter().any(|names| names.matches(&name)) {
            return;
        }
        let hooks = Hook::attach(&self.programs.incoming, index, Heading::In).and_then(|one| {
            Ok([
                one,
                Hook::attach(&self.programs.outgoing, index, Heading::Out)?,
            ])
        });
        let hooks = match hooks {
            Ok(hooks) => {
                self.state.attached.fetch_add(1, Ordering::Relaxed);
                Some(hooks)
            }
            // Gone again already: that is told next.
            Err(error) if error.raw_os_error() == Some(NO_DEVICE) => None,
            Err(error) => {
                tracing::warn!("flows of {name} are not counted: {error}");
                self.state.failed.fetch_add(1, Ordering::Relaxed);
                None
            }
        };
        self.state.lock().insert(
            (self.namespace, index),
            Name {
                name: name.as_str().into(),
                is_gone: false,
            },
        );
        let attached = Attached {
            name,
            is_told: true,
            _hooks: hooks,
        };
        self.attached.insert(index, attached);
    }

    fn gone(&mut self, index: u32) {
        let Some(attached) = self.attached.remove(&index) else {
            return;
        };
        if attached._hooks.is_some() {
            self.state.attached.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(name) = self.state.lock().get_mut(&(self.namespace, index)) {
            name.is_gone = true;
        }
    }
}

/// [`News`] that owns its names.
enum Told {
    There(u32, String),
    Gone(u32),
    All,
    Lost,
}

/// A program at an interface in one direction, until this is dropped.
#[derive(Debug)]
pub(crate) enum Hook {
    Tcx(#[expect(dead_code, reason = "closing it detaches")] OwnedFd),
    Tc(TcHook),
}

impl Hook {
    fn attach(program: &OwnedFd, index: u32, heading: Heading) -> io::Result<Self> {
        match sys::attach_tcx(program.as_fd(), index, heading) {
            Ok(link) => Ok(Self::Tcx(link)),
            // Before Linux 6.6, or without CONFIG_NET_XGRESS.
            Err(error) if error.raw_os_error() == Some(INVALID) => {
                Self::attach_tc(program, index, heading)
            }
            Err(error) => Err(error),
        }
    }

    /// By a filter of clsact, which other filters may stand beside.
    pub(crate) fn attach_tc(program: &OwnedFd, index: u32, heading: Heading) -> io::Result<Self> {
        let other = |error: libbpf_rs::Error| io::Error::other(format!("{error:#}"));
        let mut hook = TcHookBuilder::new(program.as_fd())
            .ifindex(index as i32)
            .priority(TC_PRIORITY)
            .handle(TC_HANDLE)
            .replace(true)
            .hook(match heading {
                Heading::In => TC_INGRESS,
                Heading::Out => TC_EGRESS,
            });
        hook.create().map_err(other)?;
        hook.attach().map(Self::Tc).map_err(other)
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        if let Self::Tc(hook) = self {
            // It is gone with its interface.
            let _ = hook.detach();
        }
    }
}

/// EINVAL
const INVALID: i32 = 22;
/// ENODEV
const NO_DEVICE: i32 = 19;
/// Of our filter: by these it is found again.
const TC_PRIORITY: u32 = 49_152;
const TC_HANDLE: u32 = 0x6e76;
