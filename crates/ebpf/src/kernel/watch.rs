//! Attaches to interfaces as they come, on a thread of its own in their network namespace.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
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
                move || {
                    if let Err(error) = watch(&names, &programs, &state, &stop, &ready) {
                        tracing::error!("interfaces are not watched any more: {error}");
                        // Nobody waits for it any more where it came later.
                        let _ = ready.try_send(Err(error));
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

/// Watches until it is asked to stop. A namespace that is deleted is left, since to stay in it
/// would keep it and its interfaces alive; one that comes back at the same path is watched again.
fn watch(
    names: &[Watched],
    programs: &Programs,
    state: &State,
    stop: &EventFd,
    ready: &SyncSender<Result<(), Error>>,
) -> Result<(), Error> {
    let path = names.iter().find_map(|names| names.namespace.as_deref());
    let home = File::open(NAMESPACE).map_err(hear)?;
    let mut entered = enter(path)?;
    loop {
        let ended = Watching::begin(names, programs, state, entered)?
            .run(path, stop, ready)
            .map_err(hear)?;
        let (Ended::Deleted, Some(path)) = (ended, path) else {
            return Ok(());
        };
        setns(&home, CloneFlags::CLONE_NEWNET).map_err(|error| hear(error.into()))?;
        entered = loop {
            if wait(stop, None, PollTimeout::from(LOOK)) {
                return Ok(());
            }
            if let Ok(entered) = enter(Some(path)) {
                break entered;
            }
        };
    }
}

/// Goes to a network namespace and says its inode.
fn enter(path: Option<&Path>) -> Result<u32, Error> {
    if let Some(path) = path {
        File::open(path)
            .and_then(|file| Ok(setns(file, CloneFlags::CLONE_NEWNET)?))
            .map_err(|error| Error::Namespace {
                path: path.to_owned(),
                error,
            })?;
    }
    inode(Path::new(NAMESPACE)).map_err(hear)
}

fn inode(namespace: &Path) -> io::Result<u32> {
    Ok(fs::metadata(namespace)?.ino() as u32)
}

/// True when an end was asked for. Returns too when there is news, or the time is over.
fn wait(stop: &EventFd, links: Option<&Links>, timeout: PollTimeout) -> bool {
    let mut waits = vec![PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    waits.extend(links.map(|links| PollFd::new(links.as_fd(), PollFlags::POLLIN)));
    // An error shows when it is read.
    let _ = poll(&mut waits, timeout);
    waits[0].any().unwrap_or_default()
}

fn hear(error: io::Error) -> Error {
    Error::System {
        what: "hear of interfaces".to_owned(),
        error,
    }
}

struct Watching<'a> {
    names: &'a [Watched],
    programs: &'a Programs,
    state: &'a State,
    namespace: u32,
    links: Links,
    attached: HashMap<u32, Attached>,
}

struct Attached {
    name: String,
    /// Told of in the list that is under way.
    is_told: bool,
    hooks: Option<[Hook; 2]>,
}

/// Why watching ended.
enum Ended {
    Asked,
    Deleted,
}

impl<'a> Watching<'a> {
    fn begin(
        names: &'a [Watched],
        programs: &'a Programs,
        state: &'a State,
        namespace: u32,
    ) -> Result<Self, Error> {
        let links = Links::open().map_err(hear)?;
        links.ask().map_err(hear)?;
        Ok(Self {
            names,
            programs,
            state,
            namespace,
            links,
            attached: HashMap::new(),
        })
    }

    fn run(
        mut self,
        path: Option<&Path>,
        stop: &EventFd,
        ready: &SyncSender<Result<(), Error>>,
    ) -> io::Result<Ended> {
        // Nothing tells that a namespace is deleted.
        let timeout = match path {
            Some(_) => PollTimeout::from(LOOK),
            None => PollTimeout::NONE,
        };
        let ended = loop {
            while self.receive(ready)? {}
            if wait(stop, Some(&self.links), timeout) {
                break Ended::Asked;
            }
            if path.is_some_and(|path| inode(path).ok() != Some(self.namespace)) {
                break Ended::Deleted;
            }
        };
        let all: Vec<u32> = self.attached.keys().copied().collect();
        all.into_iter().for_each(|index| self.gone(index));
        Ok(ended)
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
            hooks,
        };
        self.attached.insert(index, attached);
    }

    fn gone(&mut self, index: u32) {
        let Some(attached) = self.attached.remove(&index) else {
            return;
        };
        if attached.hooks.is_some() {
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

/// The network namespace that this thread is in.
const NAMESPACE: &str = "/proc/thread-self/ns/net";
/// Milliseconds after which a namespace's file is looked at again.
const LOOK: u16 = 1_000;
/// EINVAL
const INVALID: i32 = 22;
/// ENODEV
const NO_DEVICE: i32 = 19;
/// Of our filter: by these it is found again.
const TC_PRIORITY: u32 = 49_152;
const TC_HANDLE: u32 = 0x6e76;
