use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{AsyncBufRead, AsyncBufReadExt};
use kube::Client;
use kube::api::{ListParams, WatchParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use netverdict_verdict::{Endpoints, NameChange};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{Kind, Object, Table};
use crate::{Count, Counts, Stop};

/// Which Kubernetes API server, and how to reach it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Cluster {
    /// The one that this process runs in, with the service account of its pod.
    Own,
    /// That of the current context in this kubeconfig file.
    Kubeconfig(PathBuf),
}

impl FromStr for Cluster {
    type Err = std::convert::Infallible;

    /// `in-cluster`, or the path of a kubeconfig file.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "in-cluster" => Self::Own,
            path => Self::Kubeconfig(path.into()),
        })
    }
}

/// Names from the Pods, Nodes, Services and NetworkAttachmentDefinitions of a cluster.
///
/// It lists each kind, a page at a time, and watches what follows. It needs to `list` and `watch`
/// them in all namespaces; where it may not, or where a kind does not exist, it does without and
/// looks again every minute. After a lost connection it goes on where it was; where the server
/// does not remember that far (410 Gone) it lists again, and hands over only what differs.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use std::ops::ControlFlow;
/// use netverdict_source::{Stop, kubernetes::{Cluster, KubeWatch}};
/// use netverdict_verdict::{Endpoints, Names};
///
/// let mut names = Names::default();
/// let watch = KubeWatch::new(Cluster::Own, Stop::new()?).once();
/// Box::new(watch).run(&mut |changes| {
///     changes.into_iter().for_each(|change| names.learn(change));
///     ControlFlow::Continue(())
/// })?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct KubeWatch {
    cluster: Cluster,
    stop: Stop,
    counters: Arc<Counters>,
    follow: bool,
}

/// What the watch counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Objects read, each time they were sent.
    pub objects: Count,
    /// Objects, or parts of them, that make no sense: their names are missing.
    pub malformed: Count,
    /// Whole lists taken: one for each kind, and one more after each gap.
    pub lists: Count,
    /// Requests that failed or broke off. They are made again; nothing is lost but time.
    pub failures: Count,
}

impl Counts for Counters {
    fn counts(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("kubernetes_objects", self.objects.read()),
            ("kubernetes_malformed", self.malformed.read()),
            ("kubernetes_lists", self.lists.read()),
            ("kubernetes_failures", self.failures.read()),
        ]
    }
}

/// Why there are no names from Kubernetes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A kubeconfig file cannot be used.
    #[error("the kubeconfig {path} cannot be used: {error}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: Box<kube::config::KubeconfigError>,
    },
    /// This process does not run in a pod, or its pod has no service account.
    #[error("this is no pod with a service account; give a kubeconfig file instead: {0}")]
    NotInCluster(#[source] Box<kube::config::InClusterError>),
    /// The certificates or the address of the server make no sense.
    #[error("no connection to the Kubernetes API server can be made up: {0}")]
    Client(#[source] Box<kube::Error>),
    /// One list was asked for, and the server did not give it.
    #[error("the Kubernetes API server gives no list of {kind} objects: {fault}")]
    List {
        /// The kind of object.
        kind: &'static str,
        /// What the server or the connection says.
        fault: String,
    },
    /// The process is out of threads or file descriptors.
    #[error("the watch cannot start: {0}")]
    System(#[from] io::Error),
}

impl KubeWatch {
    /// A watch that goes on until `stop`.
    pub fn new(cluster: Cluster, stop: Stop) -> Self {
        Self {
            cluster,
            stop,
            counters: Arc::default(),
            follow: true,
        }
    }

    /// Takes one list of each kind only, and fails where there is none of pods or nodes.
    #[must_use]
    pub fn once(self) -> Self {
        Self {
            follow: false,
            ..self
        }
    }

    /// What it counts.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    async fn watch(
        self,
        take: &mut dyn FnMut(Vec<NameChange>) -> ControlFlow,
    ) -> Result<(), Error> {
        let client = self.cluster.client().await?;
        let stop = self.stop.as_fd().try_clone_to_owned()?;
        // It is no pipe, but becomes readable like one.
        let stop = pipe::Receiver::from_owned_fd_unchecked(stop)?;
        let (sender, mut receiver) = mpsc::channel(64);
        let mut followers = JoinSet::new();
        for kind in Kind::ALL {
            let follower = Follower {
                kind,
                client: client.clone(),
                counters: Arc::clone(&self.counters),
                sender: sender.clone(),
            };
            followers.spawn(follower.run(self.follow));
        }
        drop(sender);

        let mut names = Names {
            counters: &self.counters,
            table: Table::default(),
            listed: HashSet::new(),
        };
        loop {
            tokio::select! {
                biased;
                _ = stop.readable() => return Ok(()),
                event = receiver.recv() => match event {
                    Some(event) => names.apply(event)?,
                    None => return Ok(()),
                },
            }
            while let Ok(event) = receiver.try_recv() {
                names.apply(event)?;
            }
            let changes = names.table.changes();
            if !changes.is_empty() && take(changes).is_break() {
                return Ok(());
            }
        }
    }
}

type ControlFlow = std::ops::ControlFlow<()>;

impl Endpoints for KubeWatch {
    fn run(
        self: Box<Self>,
        take: &mut dyn FnMut(Vec<NameChange>) -> ControlFlow,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let done = runtime.block_on(self.watch(take));
        // A name look-up may still wait for its answer on a thread of its own.
        runtime.shutdown_background();
        Ok(done?)
    }
}

impl Cluster {
    async fn client(self) -> Result<Client, Error> {
        let config = match self {
            Self::Own => {
                Config::incluster().map_err(|error| Error::NotInCluster(Box::new(error)))?
            }
            Self::Kubeconfig(path) => {
                let read = async |path| {
                    let file = Kubeconfig::read_from(path)?;
                    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await
                };
                read(&path).await.map_err(|error| Error::Kubeconfig {
                    path,
                    error: Box::new(error),
                })?
            }
        };
        Client::try_from(config).map_err(|error| Error::Client(Box::new(error)))
    }
}

/// What a follower tells.
enum Event {
    /// A whole list begins.
    Listing(Kind),
    Put(Kind, Object),
    Gone(Kind, Object),
    /// An object that cannot be read, by what is known of it.
    Malformed(Kind, Box<Object>),
    /// A whole list is complete.
    Listed(Kind),
    /// Only one list was asked for, and there is none.
    Failed(Kind, String),
}

struct Names<'a> {
    counters: &'a Counters,
    table: Table,
    /// What the lists that are under way have named.
    listed: HashSet<(Kind, String)>,
}

impl Names<'_> {
    fn apply(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Listing(kind) => self.listed.retain(|(of, _)| *of != kind),
            Event::Put(kind, object) => {
                let Some(key) = object.key() else {
                    self.counters.malformed.one();
                    warn!(kind = kind.as_str(), "an object of Kubernetes has no name");
                    return Ok(());
                };
                let facts = object.facts(kind);
                for fault in &facts.faults {
                    self.counters.malformed.one();
                    warn!(
                        kind = kind.as_str(),
                        key, fault, "part of an object is left out"
                    );
                }
                self.listed.insert((kind, key.clone()));
                self.table.put(kind, key, facts);
            }
            Event::Gone(kind, object) => self.remove(kind, &object),
            Event::Malformed(kind, object) => self.remove(kind, &object),
            Event::Listed(kind) => {
                let of_kind = self.listed.extract_if(|(of, _)| *of == kind);
                let named = of_kind.map(|(_, key)| key).collect();
                self.table.keep(kind, &named);
                self.counters.lists.one();
            }
            Event::Failed(kind, fault) => match kind {
                Kind::Pod | Kind::Node => {
                    let kind = kind.as_str();
                    return Err(Error::List { kind, fault });
                }
                Kind::Service | Kind::Attachment => {}
            },
        }
        Ok(())
    }

    fn remove(&mut self, kind: Kind, object: &Object) {
        if let Some(key) = object.key() {
            self.table.remove(kind, key);
        }
    }
}

/// Lists and watches one kind of object.
struct Follower {
    kind: Kind,
    client: Client,
    counters: Arc<Counters>,
    sender: mpsc::Sender<Event>,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the server does not remember that far")]
    Gone,
    /// Not allowed, or no such kind.
    #[error("{0}")]
    Refused(Box<kube::core::Status>),
    #[error("{}", causes(.0))]
    Request(Box<kube::Error>),
    #[error("what the server sent makes no sense: {0}")]
    Answer(#[from] serde_json::Error),
    #[error("the connection broke off: {0}")]
    Read(#[from] io::Error),
    #[error("the server was silent for longer than it promised")]
    Silent,
    /// Nobody listens any more.
    #[error("the watch has ended")]
    Ended,
}

impl From<kube::Error> for Fault {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::from(status),
            error => Self::Request(Box::new(error)),
        }
    }
}

impl From<Box<kube::core::Status>> for Fault {
    fn from(status: Box<kube::core::Status>) -> Self {
        match status.code {
            410 => Self::Gone,
            403 | 404 => Self::Refused(status),
            _ => Self::Request(Box::new(kube::Error::Api(status))),
        }
    }
}

/// Objects in a page of a list.
const PAGE: u32 = 500;
/// How long the server is asked to keep a watch, in seconds.
const WATCH: u32 = 290;
const SILENCE: Duration = Duration::from_secs(WATCH as u64 + 10);
/// Objects of Kubernetes are limited to 1.5 MiB by etcd.
const LINE: usize = 16 << 20;
/// Watches in a row that bring nothing, after which the kind is listed again.
const PATIENCE: u32 = 5;

impl Follower {
    async fn run(self, follow: bool) {
        let mut pauses = Pauses::default();
        loop {
            let fault = match self.list().await {
                Ok(version) if follow => self.follow(version, &mut pauses).await,
                Ok(_) => return,
                Err(fault) => fault,
            };
            if matches!(fault, Fault::Ended) {
                return;
            }
            self.report(&fault);
            if !follow {
                let event = Event::Failed(self.kind, fault.to_string());
                let _ = self.sender.send(event).await;
                return;
            }
            pauses.pause(&fault).await;
        }
    }

    /// Hands over all objects, and gives the version of the list.
    async fn list(&self) -> Result<String, Fault> {
        self.send(Event::Listing(self.kind)).await?;
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let request = kube::core::Request::new(path(self.kind))
                .list(&params)
                .map_err(kube::Error::BuildRequest)?;
            let text = self.client.request_text(request).await?;
            let page: Page<'_> = serde_json::from_str(&text)?;
            for item in page.items.unwrap_or_default() {
                let event = match self.read(item) {
                    Ok(object) => Event::Put(self.kind, object),
                    Err(object) => Event::Malformed(self.kind, object),
                };
                self.send(event).await?;
            }
            match page.metadata.rest.filter(|rest| !rest.is_empty()) {
                Some(rest) => params = ListParams::default().limit(PAGE).continue_token(&rest),
                None => {
                    self.send(Event::Listed(self.kind)).await?;
                    return Ok(page.metadata.resource_version.unwrap_or_default());
                }
            }
        }
    }

    /// Hands over what changes after a version, until only a new list can help.
    async fn follow(&self, mut version: String, pauses: &mut Pauses) -> Fault {
        let mut idle = 0;
        loop {
            let mut progress = false;
            let done = self.watch(&mut version, &mut progress).await;
            if progress {
                *pauses = Pauses::default();
                idle = 0;
            }
            idle += 1;
            match done {
                // The server ended it in good order, as it does when the time is over.
                Ok(()) => pauses.pause_short().await,
                Err(fault @ (Fault::Gone | Fault::Refused(_) | Fault::Ended)) => return fault,
                Err(fault) if idle >= PATIENCE => return fault,
                Err(fault) => {
                    self.report(&fault);
                    pauses.pause(&fault).await;
                }
            }
        }
    }

    async fn watch(&self, version: &mut String, progress: &mut bool) -> Result<(), Fault> {
        let params = WatchParams::default().timeout(WATCH);
        let request = kube::core::Request::new(path(self.kind))
            .watch(&params, version)
            .map_err(kube::Error::BuildRequest)?;
        let mut stream = Box::pin(self.client.request_stream(request).await?);
        let mut line = Vec::new();
        loop {
            let read = tokio::time::timeout(SILENCE, read_line(&mut stream, &mut line));
            if !read.await.map_err(|_| Fault::Silent)?? {
                return Ok(());
            }
            let Ok(told) = serde_json::from_slice::<Told<'_>>(&line) else {
                self.counters.malformed.one();
                warn!(
                    kind = self.kind.as_str(),
                    "a line of the watch makes no sense"
                );
                continue;
            };
            if told.kind == "ERROR" {
                let status: kube::core::Status = serde_json::from_str(told.object.get())?;
                return Err(Fault::from(Box::new(status)));
            }
            let object = self.read(told.object);
            let seen = match &object {
                Ok(object) => object,
                Err(object) => object,
            };
            if let Some(seen) = seen.version().filter(|seen| !seen.is_empty()) {
                seen.clone_into(version);
            }
            *progress = true;
            let event = match (&*told.kind, object) {
                ("ADDED" | "MODIFIED", Ok(object)) => Event::Put(self.kind, object),
                ("ADDED" | "MODIFIED", Err(object)) => Event::Malformed(self.kind, object),
                ("DELETED", Ok(object)) => Event::Gone(self.kind, object),
                ("DELETED", Err(object)) => Event::Malformed(self.kind, object),
                // A bookmark tells the version only.
                _ => continue,
            };
            self.send(event).await?;
        }
    }

    /// Reads an object; of one that makes no sense at least its name and version, if they do.
    fn read(&self, json: &RawValue) -> Result<Object, Box<Object>> {
        self.counters.objects.one();
        serde_json::from_str(json.get()).map_err(|error| {
            self.counters.malformed.one();
            let object = Object::outline(json.get());
            let (kind, key) = (self.kind.as_str(), object.key());
            warn!(kind, key, %error, "an object of Kubernetes makes no sense and is left out");
            Box::new(object)
        })
    }

    async fn send(&self, event: Event) -> Result<(), Fault> {
        self.sender.send(event).await.map_err(|_| Fault::Ended)
    }

    fn report(&self, fault: &Fault) {
        let kind = self.kind.as_str();
        match fault {
            Fault::Ended => {}
            Fault::Gone => info!(kind, "{fault}: all objects are listed again"),
            Fault::Refused(status) if status.code == 404 => info!(kind, "the cluster has none"),
            fault => {
                self.counters.failures.one();
                warn!(kind, %fault, "a request to the Kubernetes API server failed");
            }
        }
    }
}

/// An error with what is behind it: a refused connection is three errors down.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.ends_with(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<'a> {
    metadata: PageMetadata,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    rest: Option<String>,
}

/// A line of a watch.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// Pauses between requests, each longer than the one before, up to half a minute, and never quite
/// the same.
#[derive(Default)]
struct Pauses {
    step: u32,
}

impl Pauses {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(30);
    /// Before something is asked for again that was not allowed or not there.
    const REFUSED: Duration = Duration::from_secs(60);

    async fn pause(&mut self, fault: &Fault) {
        match fault {
            Fault::Refused(_) => tokio::time::sleep(jittered(Self::REFUSED)).await,
            _ => self.pause_short().await,
        }
    }

    async fn pause_short(&mut self) {
        let pause = Self::FIRST.saturating_mul(1 << self.step.min(16));
        self.step += 1;
        tokio::time::sleep(jittered(pause.min(Self::LONGEST))).await;
    }
}

/// Between three quarters and all of it.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    pause.mul_f64(0.75 + (random % 256) as f64 / 1024.0)
}

/// Reads a whole line; false at the end, where half a line counts for nothing.
async fn read_line(
    stream: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> Result<bool, io::Error> {
    line.clear();
    loop {
        let chunk = stream.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(false);
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let part = end.map_or(chunk, |end| &chunk[..end]);
        if line.len() + part.len() > LINE {
            return Err(io::Error::other("a line of more than 16 MiB"));
        }
        line.extend_from_slice(part);
        let used = end.map_or(chunk.len(), |end| end + 1);
        stream.consume_unpin(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

fn path(kind: Kind) -> &'static str {
    match kind {
        Kind::Node => "/api/v1/nodes",
        Kind::Pod => "/api/v1/pods",
        Kind::Service => "/api/v1/services",
        Kind::Attachment => "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions",
    }
}
