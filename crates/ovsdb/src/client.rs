//! The client: keeps a replica in step with a server, through all that can befall a connection.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use crate::change::{Cause, ChangeSet};
use crate::clock::{Clock, SystemClock};
use crate::disk::LoadError;
use crate::endpoint::{Endpoint, Endpoints};
use crate::frame::DecodeError;
use crate::replica::Replica;
use crate::schema::SchemaError;
use crate::session::{Context, Happening, Session};
use crate::transact::{Refusal, Reply, TransactError, Transaction};
use crate::transport::{Connect, Stream, SystemConnect, TlsFiles};
use crate::update::Inconsistency;
use crate::wanted::{Missing, Wanted};

/// What a [`Client`] is to do.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// Where the database is served, tried in turn.
    pub endpoints: Endpoints,
    /// The database's name.
    pub database: String,
    /// What to keep in step with.
    pub wanted: Wanted,
    /// Of a clustered database, stay with its leader only (as `--leader-only` of the OVS tools).
    /// Others may be a moment behind. Default: any member that is in touch with its cluster.
    pub leader_only: bool,
    /// On tcp and ssl: after two such intervals of silence the server is asked whether it is
    /// there, after a third one it is given up. So an idle connection wakes the process once an
    /// interval: once to ask and once for the answer in two. `None` never asks; unix sockets
    /// never need it. Default: 30 seconds, as a server that serialises a large database does
    /// nothing else for several.
    pub probe_interval: Option<Duration>,
    /// How long a connection may take to come about. Default: 10 seconds.
    pub connect_timeout: Duration,
    /// The first wait after all endpoints failed; it doubles from time to time, each made up to
    /// a half longer or shorter at random. Default: 1 second.
    pub backoff: Duration,
    /// The longest wait. Default: 8 seconds.
    pub backoff_limit: Duration,
    /// The newest method to try. Default: the newest there is.
    pub method: Method,
    /// A file to keep the replica in between runs, so that a restart tells what has changed
    /// meanwhile, and a server that knows its history (a clustered one) need not send all again.
    pub replica_file: Option<PathBuf>,
    /// How long changes may be in the replica and not in its file. It is written at once after
    /// each connection. Default: 5 minutes.
    pub save_interval: Duration,
    /// How endpoints are reached.
    pub connect: Arc<dyn Connect>,
    /// Where the times in events come from.
    pub clock: Arc<dyn Clock>,
}

/// The way a database is followed (ovsdb-server(7)). Older servers do not know the newer ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// `monitor` and `update` (RFC 7047).
    Monitor,
    /// `monitor_cond` and `update2` (Open vSwitch 2.6).
    MonitorCond,
    /// `monitor_cond_since` and `update3` (Open vSwitch 2.12): only what was missed is sent
    /// after a reconnection, if the server still knows it.
    MonitorCondSince,
}

/// What a [`Client`] has to tell.
#[derive(Debug)]
pub enum Event {
    /// The replica is in step with a server. What that changed, if anything, follows.
    Connected(Connected),
    /// Rows changed.
    Changes(ChangeSet),
    /// The replica is no longer kept in step, or an attempt to connect failed. The client goes
    /// on trying.
    Disconnected(Disconnected),
    /// The replica that was kept in a file is not used; all is asked for from the server.
    NotLoaded(LoadError),
    /// The replica could not be written to its file. It is tried again after the next change.
    NotSaved(io::Error),
}

/// The server that the replica is in step with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// Nanoseconds since 1970.
    pub time: i64,
    /// Where it is.
    pub endpoint: Endpoint,
    /// How the database is followed.
    pub method: Method,
    /// The version of its schema.
    pub schema_version: String,
    /// What was wanted and it does not have.
    pub missing: Missing,
}

/// The loss of a connection, or that none came about.
#[derive(Debug)]
pub struct Disconnected {
    /// Nanoseconds since 1970.
    pub time: i64,
    /// Where.
    pub endpoint: Endpoint,
    /// Why.
    pub error: Error,
    /// How long until the next attempt.
    pub retry_in: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It did not come about.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// It did not come about in time.
    #[error("cannot connect: no answer within {0:?}")]
    ConnectTimeout(Duration),
    /// The server, or something between, closed it.
    #[error("the server closed the connection{}", if *.in_message { " within a message" } else { "" })]
    Closed {
        /// True if a message was not complete.
        in_message: bool,
    },
    /// It broke.
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    /// The server has not said a word for too long, though it was asked.
    #[error("the server has been silent for {0:?}")]
    Silent(Duration),
    /// The server sent what cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The server's updates do not fit the replica; the whole is asked for again.
    #[error(transparent)]
    Inconsistent(#[from] Inconsistency),
    /// The server's schema cannot be read.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The server does not serve the database.
    #[error("the server has no database {name}; it has {}", list(.there))]
    NoDatabase {
        /// What was asked for.
        name: String,
        /// What it has.
        there: Vec<String>,
    },
    /// This member of the cluster is not its leader, and no other will do.
    #[error("the server is not the leader of its cluster")]
    NotLeader,
    /// This member has lost touch with its cluster, or this relay with its source.
    #[error("the server is not in touch with its cluster")]
    Cut,
    /// This member is behind what another one has shown already.
    #[error("the server is behind: it is at log entry {index}, entry {seen} was seen elsewhere")]
    Behind {
        /// Where it is.
        index: i64,
        /// Where another one was.
        seen: i64,
    },
    /// The server refused a request.
    #[error("the server refused {method}: {refusal}")]
    Refused {
        /// The request.
        method: &'static str,
        /// Its reason.
        refusal: Refusal,
    },
    /// The server answered a request with what is no answer to it.
    #[error("the server's answer to {method} is malformed")]
    Malformed {
        /// The request.
        method: &'static str,
    },
}

/// Keeps a [`Replica`] in step with a server. It does its work, also answering the server's
/// probes, while [`next_event`](Self::next_event) is awaited; [`spawn`](Self::spawn) hands that
/// to a task.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use netverdict_ovsdb::{Client, Config, Event, Wanted};
///
/// let wanted = Wanted::new().table("Bridge", ["name"]);
/// let endpoints = "unix:/run/openvswitch/db.sock".parse()?;
/// let mut client = Client::new(Config::new(endpoints, "Open_vSwitch", wanted));
/// loop {
///     match client.next_event().await {
///         Event::Changes(set) => println!("{} rows changed", set.changes.len()),
///         Event::Connected(to) => println!("connected to {}", to.endpoint),
///         Event::Disconnected(from) => println!("{}: {}", from.endpoint, from.error),
///         Event::NotLoaded(error) => println!("{error}"),
///         Event::NotSaved(error) => println!("{error}"),
///     }
/// }
/// # }
/// ```
pub struct Client {
    context: Context,
    connection: Connection,
    /// Which endpoint is next.
    next: usize,
    /// Attempts since the replica was last in step.
    failures: u32,
    retry_at: Option<Instant>,
    events: VecDeque<Event>,
    /// Transactions of this client's owner.
    own: VecDeque<Command>,
    commands: mpsc::Receiver<Command>,
    sender: mpsc::Sender<Command>,
    save: Save,
}

/// The state of the replica's file.
#[derive(Default)]
struct Save {
    /// When it is to be written; `None` if it holds what the replica holds.
    due: Option<Instant>,
    /// It is being written.
    running: Option<oneshot::Receiver<io::Result<()>>>,
}

enum Connection {
    None,
    Coming(Endpoint, crate::transport::Connecting, Instant),
    Up(Box<Session>),
}

/// Sends transactions through a [`Client`] that something else drives.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
}

pub(crate) struct Command {
    pub(crate) transaction: Transaction,
    pub(crate) answer: oneshot::Sender<Result<Reply, TransactError>>,
}

/// Transactions that wait to be sent.
const COMMANDS: usize = 16;

impl Config {
    /// The defaults for a database.
    pub fn new(endpoints: Endpoints, database: &str, wanted: Wanted) -> Self {
        Self {
            endpoints,
            database: database.to_owned(),
            wanted,
            leader_only: false,
            probe_interval: Some(Duration::from_secs(30)),
            connect_timeout: Duration::from_secs(10),
            backoff: Duration::from_secs(1),
            backoff_limit: Duration::from_secs(8),
            method: Method::MonitorCondSince,
            replica_file: None,
            save_interval: Duration::from_secs(300),
            connect: Arc::new(SystemConnect::default()),
            clock: Arc::new(SystemClock),
        }
    }

    /// Uses these files for `ssl:` endpoints.
    #[must_use]
    pub fn tls(mut self, files: TlsFiles) -> Self {
        self.connect = Arc::new(SystemConnect { tls: Some(files) });
        self
    }
}

impl Client {
    /// A client that knows what [`Config::replica_file`] holds, or nothing: with a file that is
    /// of use, its first event is a [`Cause::Restored`] with those rows. It connects when it is
    /// awaited.
    pub fn new(config: Config) -> Self {
        let (sender, commands) = mpsc::channel(COMMANDS);
        let mut events = VecDeque::new();
        let kept = config
            .replica_file
            .as_ref()
            .map(|path| Replica::load(path, &config.database, &config.wanted));
        let replica = match kept {
            Some(Ok(replica)) => {
                events.push_back(Event::Changes(ChangeSet {
                    time: config.clock.now(),
                    cause: Cause::Restored {
                        as_of: replica.synced_at.unwrap_or_default(),
                    },
                    transaction: replica.transaction,
                    changes: replica.as_inserted(),
                }));
                replica
            }
            Some(Err(LoadError::Absent)) | None => Replica::new(&config.database),
            Some(Err(error)) => {
                events.push_back(Event::NotLoaded(error));
                Replica::new(&config.database)
            }
        };
        Self {
            context: Context::new(config, replica),
            connection: Connection::None,
            next: 0,
            failures: 0,
            retry_at: None,
            events,
            own: VecDeque::new(),
            commands,
            sender,
            save: Save::default(),
        }
    }

    /// What happens next. Cancelling it loses nothing.
    pub async fn next_event(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            self.step().await;
        }
    }

    /// The contents as of the events so far, and perhaps those of events that are not taken yet.
    pub fn replica(&self) -> &Replica {
        &self.context.replica
    }

    /// True while the replica is kept in step.
    pub fn is_synced(&self) -> bool {
        matches!(&self.connection, Connection::Up(session) if session.is_live())
    }

    /// Waits until the replica is in step. Events are kept for [`next_event`](Self::next_event).
    ///
    /// # Errors
    /// The last failure, once each endpoint has failed since the replica was in step.
    pub async fn sync(&mut self) -> Result<&Replica, Error> {
        while !self.is_synced() {
            let known = self.events.len();
            self.step().await;
            let tried = self.failures as usize >= self.context.config.endpoints.as_slice().len();
            let failed = self.events.len() > known
                && matches!(self.events.back(), Some(Event::Disconnected(_)));
            if tried
                && failed
                && let Some(Event::Disconnected(lost)) = self.events.pop_back()
            {
                return Err(lost.error);
            }
        }
        Ok(&self.context.replica)
    }

    /// Sends a transaction once the replica is in step, and waits for its answer. Events are
    /// kept for [`next_event`](Self::next_event).
    ///
    /// # Errors
    /// Why it did not take place, or that this is not known.
    pub async fn transact(&mut self, transaction: Transaction) -> Result<Reply, TransactError> {
        let (answer, mut answered) = oneshot::channel();
        self.own.push_back(Command {
            transaction,
            answer,
        });
        loop {
            match answered.try_recv() {
                Ok(result) => return result,
                Err(oneshot::error::TryRecvError::Empty) => self.step().await,
                Err(oneshot::error::TryRecvError::Closed) => {
                    return Err(TransactError::OutcomeUnknown);
                }
            }
        }
    }

    /// Writes the replica to its file now, if there is one: before the process ends.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&mut self) -> io::Result<()> {
        let config = &self.context.config;
        let Some(path) = &config.replica_file else {
            return Ok(());
        };
        if self.context.replica.synced_at.is_none() {
            return Ok(());
        }
        if self.is_synced() {
            self.context.replica.synced_at = Some(config.clock.now());
        }
        self.context.replica.save(path, &config.wanted)
    }

    /// A way to send transactions while something else awaits the events.
    pub fn handle(&self) -> Handle {
        Handle {
            commands: self.sender.clone(),
        }
    }

    /// Runs the client in a task of its own until the receiver is dropped. While `events` of
    /// them wait to be received, the server waits as well.
    pub fn spawn(mut self, events: usize) -> (Handle, mpsc::Receiver<Event>) {
        let handle = self.handle();
        let (sender, receiver) = mpsc::channel(events);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = self.next_event() => {
                        if sender.send(event).await.is_err() {
                            return;
                        }
                    }
                    () = sender.closed() => return,
                }
            }
        });
        (handle, receiver)
    }

    /// Waits for one thing and does what follows from it.
    async fn step(&mut self) {
        match &mut self.connection {
            Connection::None => {
                if let Some(at) = self.retry_at {
                    sleep_until(at).await;
                    self.retry_at = None;
                }
                let endpoints = self.context.config.endpoints.as_slice();
                let Some(endpoint) = endpoints.get(self.next % endpoints.len().max(1)) else {
                    return std::future::pending().await;
                };
                let connecting = self.context.config.connect.connect(endpoint);
                let limit = Instant::now() + self.context.config.connect_timeout;
                self.connection = Connection::Coming(endpoint.clone(), connecting, limit);
            }
            Connection::Coming(endpoint, connecting, limit) => {
                let endpoint = endpoint.clone();
                let left = limit.saturating_duration_since(Instant::now());
                match timeout(left, connecting).await {
                    Ok(Ok(stream)) => self.connected(endpoint, stream),
                    Ok(Err(error)) => self.disconnected(endpoint, Error::Connect(error)),
                    Err(_) => {
                        let limit = self.context.config.connect_timeout;
                        self.disconnected(endpoint, Error::ConnectTimeout(limit));
                    }
                }
            }
            Connection::Up(session) => {
                let step = session.step(&mut self.context, &mut self.own, &mut self.commands);
                let step = tokio::select! {
                    step = step => step,
                    saved = self.save.next() => {
                        match saved {
                            Saving::Due => self.start_saving(),
                            Saving::Done(Ok(())) => {}
                            Saving::Done(Err(error)) => {
                                self.events.push_back(Event::NotSaved(error));
                            }
                        }
                        return;
                    }
                };
                match step {
                    Ok(Happening::Nothing) => {}
                    Ok(Happening::Synced(connected, changes)) => {
                        self.failures = 0;
                        self.save_within(Duration::ZERO);
                        self.events.push_back(Event::Connected(connected));
                        self.events.extend(changes.map(Event::Changes));
                    }
                    Ok(Happening::Changes(changes)) => {
                        self.save_within(self.context.config.save_interval);
                        self.events.push_back(Event::Changes(changes));
                    }
                    Err(error) => {
                        let endpoint = session.endpoint().clone();
                        session.close(&mut self.context, &error);
                        self.disconnected(endpoint, error);
                    }
                }
            }
        }
    }

    fn save_within(&mut self, wait: Duration) {
        if self.context.config.replica_file.is_some() {
            let due = Instant::now() + wait;
            self.save.due = Some(self.save.due.map_or(due, |before| before.min(due)));
        }
    }

    /// Writes the file beside the work: a large one takes a while.
    fn start_saving(&mut self) {
        self.save.due = None;
        let config = &self.context.config;
        let Some(path) = config.replica_file.clone() else {
            return;
        };
        let replica = self.context.replica.clone();
        let wanted = config.wanted.clone();
        let (done, running) = oneshot::channel();
        self.save.running = Some(running);
        // A thread and not a runtime's pool: the pool would wake once more to end its own.
        std::thread::spawn(move || {
            // The client may be gone.
            let _ = done.send(replica.save(&path, &wanted));
        });
    }

    fn connected(&mut self, endpoint: Endpoint, stream: Box<dyn Stream>) {
        let session = Session::new(endpoint, stream, &mut self.context);
        self.connection = Connection::Up(Box::new(session));
    }

    fn disconnected(&mut self, endpoint: Endpoint, error: Error) {
        self.connection = Connection::None;
        self.failures = self.failures.saturating_add(1);
        let count = self.context.config.endpoints.as_slice().len();
        self.next = (self.next + 1) % count.max(1);
        let retry_in = self.retry_in();
        self.retry_at = Some(Instant::now() + retry_in);
        tracing::debug!(%endpoint, %error, ?retry_in, "OVSDB connection lost");
        self.events.push_back(Event::Disconnected(Disconnected {
            time: self.context.config.clock.now(),
            endpoint,
            error,
            retry_in,
        }));
    }

    /// Other endpoints are tried at once; after all of them, later and later.
    fn retry_in(&self) -> Duration {
        let config = &self.context.config;
        let count = u32::try_from(config.endpoints.as_slice().len()).unwrap_or(u32::MAX);
        if !self.failures.is_multiple_of(count.max(1)) {
            return Duration::ZERO;
        }
        let rounds = (self.failures / count.max(1)).saturating_sub(1);
        let wait = config
            .backoff
            .saturating_mul(1 << rounds.min(16))
            .min(config.backoff_limit);
        // Many clients that lose one server should not come back at one moment.
        let random = (Uuid::new_v4().as_u128() & 0xffff) as u32;
        wait / 2 + wait * random / 0xffff
    }
}

enum Saving {
    Due,
    Done(io::Result<()>),
}

impl Save {
    /// Waits until the file is to be written, or has been.
    async fn next(&mut self) -> Saving {
        match (&mut self.running, self.due) {
            (Some(running), _) => {
                let done = running.await.unwrap_or(Ok(()));
                self.running = None;
                Saving::Done(done)
            }
            (None, Some(due)) => {
                sleep_until(due).await;
                Saving::Due
            }
            (None, None) => std::future::pending().await,
        }
    }
}

impl Handle {
    /// Sends a transaction once the replica is in step, and waits for its answer.
    ///
    /// # Errors
    /// Why it did not take place, or that this is not known.
    pub async fn transact(&self, transaction: Transaction) -> Result<Reply, TransactError> {
        let (answer, answered) = oneshot::channel();
        let command = Command {
            transaction,
            answer,
        };
        if self.commands.send(command).await.is_err() {
            return Err(TransactError::ClientGone);
        }
        answered.await.unwrap_or(Err(TransactError::OutcomeUnknown))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Monitor => "monitor",
            Self::MonitorCond => "monitor_cond",
            Self::MonitorCondSince => "monitor_cond_since",
        })
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}
