use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{AsyncBufRead, AsyncBufReadExt};
use kube::Client;
use kube::api::{ListParams, WatchParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use netverdict_manifest::{Key, Kind};
use netverdict_types::causes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

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

/// The objects of a cluster: as names ([`Endpoints`](netverdict_verdict::Endpoints)), from its
/// Pods, Nodes, Services and NetworkAttachmentDefinitions, or for the policy compiler
/// ([`Objects`](crate::objects::Objects)), all kinds that it knows.
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
    again: Duration,
}

/// What the watch counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Objects read, each time they were sent.
    pub objects: Count,
    /// Objects, or parts of them, that make no sense and are missing.
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

/// Why there is nothing to be had from Kubernetes.
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
            again: Duration::from_secs(60),
        }
    }

    /// Takes one list of each kind only. It fails where one cannot be had, other than for want of
    /// permission or because there is no such kind; for names it fails where there is none of pods
    /// or nodes, whatever the reason.
    #[must_use]
    pub fn once(self) -> Self {
        Self {
            follow: false,
            ..self
        }
    }

    /// How often to look again for kinds that were refused or not there; a minute without this.
    #[must_use]
    pub fn look_again(self, again: Duration) -> Self {
        Self { again, ..self }
    }

    /// What it counts.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    pub(super) fn is_once(&self) -> bool {
        !self.follow
    }

    /// Hands objects to a sink until there is no more or the sink wants no more.
    pub(super) fn follow(self, sink: &mut impl Sink) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let done = runtime.block_on(self.watch(sink));
        // A name look-up may still wait for its answer on a thread of its own.
        runtime.shutdown_background();
        done
    }

    async fn watch(self, sink: &mut impl Sink) -> Result<(), Error> {
        let client = self.cluster.client().await?;
        let stop = self.stop.as_fd().try_clone_to_owned()?;
        // It is no pipe, but becomes readable like one.
        let stop = pipe::Receiver::from_owned_fd_unchecked(stop)?;
        let (sender, mut receiver) = mpsc::channel(64);
        let mut followers = JoinSet::new();
        for kind in sink.kinds() {
            let follower = Follower {
                kind: *kind,
                client: client.clone(),
                counters: Arc::clone(&self.counters),
                sender: sender.clone(),
                again: self.again,
            };
            followers.spawn(follower.run(self.follow));
        }
        drop(sender);

        let mut listed = HashSet::new();
        let mut apply = |event, sink: &mut _| apply(event, sink, &mut listed, &self.counters);
        loop {
            tokio::select! {
                biased;
                _ = stop.readable() => return Ok(()),
                event = receiver.recv() => match event {
                    Some(event) => apply(event, sink)?,
                    None => return Ok(()),
                },
            }
            while let Ok(event) = receiver.try_recv() {
                apply(event, sink)?;
            }
            if sink.tell().is_break() {
                return Ok(());
            }
        }
    }
}

/// What becomes of the objects of a cluster.
pub(super) trait Sink {
    /// The kinds that it wants.
    fn kinds(&self) -> &'static [Kind];

    /// Takes an object as it is now, as the server wrote it.
    fn put(&mut self, key: Key, json: &RawValue);

    /// An object is gone.
    fn remove(&mut self, key: &Key);

    /// A kind was listed in whole: all objects that are not named are gone.
    fn keep(&mut self, kind: Kind, named: &HashSet<Key>);

    /// There is no list of a kind, for now or, if only one was asked for, at all.
    fn lack(&mut self, kind: Kind, lack: Lack) -> Result<(), Error>;

    /// Hands over what has come of all that; it is called when nothing more waits.
    fn tell(&mut self) -> ControlFlow<()>;
}

/// Why there is no list of a kind.
pub(super) enum Lack {
    /// The server knows no such kind, so that there are no objects of it.
    NoSuchKind,
    /// It is not allowed, in the server's words.
    Forbidden(String),
    /// Only one list was asked for, and this came instead.
    Failed(String),
}

impl Cluster {
    /// A client of it. It must be made where it is used: in the same runtime.
    ///
    /// # Errors
    /// [`Error`] where it is not told how to reach it.
    pub async fn client(self) -> Result<Client, Error> {
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

impl Lack {
    pub(super) fn into_error(self, kind: Kind) -> Error {
        let fault = match self {
            Self::NoSuchKind => "it knows no such kind".to_owned(),
            Self::Forbidden(fault) | Self::Failed(fault) => fault,
        };
        let kind = kind.as_str();
        Error::List { kind, fault }
    }
}

/// What a follower tells.
enum Event {
    /// A whole list begins.
    Listing(Kind),
    Put(Key, Box<RawValue>),
    Gone(Key),
    /// A whole list is complete.
    Listed(Kind),
    Lack(Kind, Lack),
}

/// `listed` is what the lists that are under way have named.
fn apply(
    event: Event,
    sink: &mut impl Sink,
    listed: &mut HashSet<Key>,
    counters: &Counters,
) -> Result<(), Error> {
    match event {
        Event::Listing(kind) => listed.retain(|key| key.kind != kind),
        Event::Put(key, json) => {
            sink.put(key.clone(), &json);
            listed.insert(key);
        }
        Event::Gone(key) => sink.remove(&key),
        Event::Listed(kind) => {
            let named = listed.extract_if(|key| key.kind == kind).collect();
            sink.keep(kind, &named);
            counters.lists.one();
        }
        Event::Lack(kind, lack) => sink.lack(kind, lack)?,
    }
    Ok(())
}

/// Lists and watches one kind of object.
struct Follower {
    kind: Kind,
    client: Client,
    counters: Arc<Counters>,
    sender: mpsc::Sender<Event>,
    again: Duration,
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
            let lack = match &fault {
                Fault::Refused(status) if status.code == 403 => {
                    Some(Lack::Forbidden(status.message.clone()))
                }
                Fault::Refused(_) if !is_built_in(self.kind) => Some(Lack::NoSuchKind),
                fault if !follow => Some(Lack::Failed(fault.to_string())),
                _ => None,
            };
            if let Some(lack) = lack
                && self.send(Event::Lack(self.kind, lack)).await.is_err()
            {
                return;
            }
            if !follow {
                return;
            }
            self.pause(&mut pauses, &fault).await;
        }
    }

    async fn pause(&self, pauses: &mut Pauses, fault: &Fault) {
        match fault {
            Fault::Refused(_) => tokio::time::sleep(jittered(self.again)).await,
            _ => pauses.pause().await,
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
                if let Some(key) = self.key(&Outline::of(item)) {
                    self.send(Event::Put(key, item.to_owned())).await?;
                }
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
                Ok(()) => pauses.pause().await,
                Err(fault @ (Fault::Gone | Fault::Refused(_) | Fault::Ended)) => return fault,
                Err(fault) if idle >= PATIENCE => return fault,
                Err(fault) => {
                    self.report(&fault);
                    pauses.pause().await;
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
            let outline = Outline::of(told.object);
            if let Some(seen) = outline.version().filter(|seen| !seen.is_empty()) {
                seen.clone_into(version);
            }
            *progress = true;
            let is_there = match &*told.kind {
                "ADDED" | "MODIFIED" => true,
                "DELETED" => false,
                // A bookmark tells the version only.
                _ => continue,
            };
            match self.key(&outline) {
                Some(key) if is_there => {
                    self.send(Event::Put(key, told.object.to_owned())).await?;
                }
                Some(key) => self.send(Event::Gone(key)).await?,
                None => {}
            }
        }
    }

    /// The name of an object; one without is left out.
    fn key(&self, outline: &Outline) -> Option<Key> {
        self.counters.objects.one();
        let key = outline.key(self.kind);
        if key.is_none() {
            self.counters.malformed.one();
            let kind = self.kind.as_str();
            warn!(kind, "an object of Kubernetes has no name");
        }
        key
    }

    async fn send(&self, event: Event) -> Result<(), Fault> {
        self.sender.send(event).await.map_err(|_| Fault::Ended)
    }

    fn report(&self, fault: &Fault) {
        let kind = self.kind.as_str();
        match fault {
            Fault::Ended => {}
            Fault::Gone => info!(kind, "{fault}: all objects are listed again"),
            Fault::Refused(status) if status.code == 404 && !is_built_in(self.kind) => {
                info!(kind, "the cluster has no such kind");
            }
            fault => {
                self.counters.failures.one();
                warn!(kind, %fault, "a request to the Kubernetes API server failed");
            }
        }
    }
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

/// What tells which object it is, and which version.
struct Outline(serde_json::Value);

impl Outline {
    fn of(json: &RawValue) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Object {
            metadata: serde_json::Value,
        }
        Self(
            serde_json::from_str(json.get())
                .unwrap_or_else(|_| Object::default())
                .metadata,
        )
    }

    fn version(&self) -> Option<&str> {
        self.0.get("resourceVersion")?.as_str()
    }

    fn key(&self, kind: Kind) -> Option<Key> {
        let text = |key| self.0.get(key).and_then(|value| value.as_str());
        let name = text("name").filter(|name| !name.is_empty())?;
        let namespace = match text("namespace").filter(|namespace| !namespace.is_empty()) {
            Some(namespace) if kind.is_namespaced() => namespace,
            // As the reader of manifests takes it; no server leaves it out.
            None if kind.is_namespaced() => "default",
            _ => "",
        };
        Some(Key::new(kind, namespace, name))
    }
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

    async fn pause(&mut self) {
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

/// Where the objects of a kind are, in all namespaces.
pub(super) fn path(kind: Kind) -> &'static str {
    match kind {
        Kind::Namespace => "/api/v1/namespaces",
        Kind::Node => "/api/v1/nodes",
        Kind::Pod => "/api/v1/pods",
        Kind::Service => "/api/v1/services",
        Kind::EndpointSlice => "/apis/discovery.k8s.io/v1/endpointslices",
        Kind::NetworkPolicy => "/apis/networking.k8s.io/v1/networkpolicies",
        Kind::AdminNetworkPolicy => "/apis/policy.networking.k8s.io/v1alpha1/adminnetworkpolicies",
        Kind::BaselineAdminNetworkPolicy => {
            "/apis/policy.networking.k8s.io/v1alpha1/baselineadminnetworkpolicies"
        }
        Kind::ClusterNetworkPolicy => {
            "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies"
        }
        Kind::EgressFirewall => "/apis/k8s.ovn.org/v1/egressfirewalls",
        Kind::UserDefinedNetwork => "/apis/k8s.ovn.org/v1/userdefinednetworks",
        Kind::ClusterUserDefinedNetwork => "/apis/k8s.ovn.org/v1/clusteruserdefinednetworks",
        Kind::NetworkAttachmentDefinition => {
            "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions"
        }
    }
}

/// True for kinds that every cluster has.
fn is_built_in(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Namespace
            | Kind::Node
            | Kind::Pod
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::NetworkPolicy
    )
}
