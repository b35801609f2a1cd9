use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netverdict_proto::LARGEST;
use netverdict_proto::v1::collector_client::CollectorClient;
use netverdict_proto::v1::{self, FromAgent, ToAgent, from_agent, to_agent};
use netverdict_types::{Clock, SystemClock, causes};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status, Streaming};

use crate::clock::Offset;
use crate::spool::{Position, Spool, SpoolError};

/// Whom to send reports to.
#[derive(Clone, Debug, Default)]
pub struct SenderOptions {
    /// The server, as `https://verdicts:8480`.
    pub url: String,
    /// The node's name.
    pub node: String,
    /// What proves the server, and this agent to it.
    pub tls: TlsFiles,
    /// A file with a token; it is read at each connection.
    pub token_file: Option<PathBuf>,
}

/// Files in PEM; they are read at each connection.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// The CA that the server's certificate must be of.
    pub ca: Option<PathBuf>,
    /// The agent's own certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub private_key: Option<PathBuf>,
}

/// Why reports do not go to the server now.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The address is none.
    #[error("{url:?} is no address of a server: write https://HOST:PORT")]
    Url {
        /// What was given.
        url: String,
        /// Why it is none.
        #[source]
        cause: tonic::transport::Error,
    },
    /// A token would be there for all to read.
    #[error("{0} is not encrypted: a token is sent by https, or to this machine, only")]
    Plain(String),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// A file holds no token.
    #[error("{} holds no token", .0.display())]
    Token(PathBuf),
    /// Nobody answers, or with another certificate.
    #[error("cannot connect to {url}")]
    Connect {
        /// The server.
        url: String,
        /// Why not.
        #[source]
        cause: tonic::transport::Error,
    },
    /// The server refuses, or went away.
    #[error("{url} says: {}", status.message())]
    Refused {
        /// The server.
        url: String,
        /// What it says.
        status: Box<Status>,
    },
    /// The server does not answer in time.
    #[error("{0} does not answer")]
    Silent(String),
    /// The stream ended.
    #[error("{0} ended the stream")]
    Ended(String),
}

/// Sends reports from a spool to a server until they are kept.
#[derive(Clone, Debug)]
pub struct Sender {
    options: Arc<SenderOptions>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spool: Mutex<Spool>,
    /// There is more in it.
    more: Notify,
    /// Less is in it.
    less: Notify,
    ended: watch::Sender<bool>,
    connected: AtomicBool,
    ahead: AtomicI64,
    sent_reports: AtomicU64,
    sent_bytes: AtomicU64,
    kept_reports: AtomicU64,
    connections: AtomicU64,
    failures: AtomicU64,
}

/// How the sending stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct State {
    /// True while a server takes reports.
    pub connected: bool,
    /// By how many nanoseconds this clock is ahead of the server's, as measured last.
    pub ahead: i64,
    /// Reports sent, those sent again among them.
    pub sent_reports: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Reports that a server says it keeps.
    pub kept_reports: u64,
    /// Times that a server took reports from this agent.
    pub connections: u64,
    /// Times that it could not be connected to, or went away.
    pub failures: u64,
    /// Reports that wait.
    pub waiting_reports: u64,
    /// Bytes of these.
    pub waiting_bytes: u64,
}

/// How long the server is left alone after a fault; each time twice as long, up to the greatest.
const PAUSE: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often clocks are compared: at first, and later.
const PINGS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
/// Comparisons that come at the faster rate.
const FIRST_PINGS: u32 = 5;
/// Messages that may wait for the connection.
const WAITING: usize = 4;

impl Sender {
    /// Sends nothing before [`run`](Self::run) is.
    pub fn new(options: SenderOptions, spool: Spool) -> Self {
        Self {
            options: Arc::new(options),
            shared: Arc::new(Shared {
                spool: Mutex::new(spool),
                more: Notify::new(),
                less: Notify::new(),
                ended: watch::Sender::new(false),
                connected: AtomicBool::new(false),
                ahead: AtomicI64::new(0),
                sent_reports: AtomicU64::new(0),
                sent_bytes: AtomicU64::new(0),
                kept_reports: AtomicU64::new(0),
                connections: AtomicU64::new(0),
                failures: AtomicU64::new(0),
            }),
        }
    }

    /// Takes the report that `make` makes for its place, with this many decisions.
    ///
    /// # Errors
    /// If it could not be written; it is lost then, and counted.
    pub fn push(
        &self,
        decisions: u32,
        make: impl FnOnce(Position) -> Vec<u8>,
    ) -> Result<(), SpoolError> {
        let mut spool = self.spool();
        let bytes = make(spool.next());
        let pushed = spool.push(&bytes, decisions);
        drop(spool);
        self.shared.more.notify_one();
        pushed
    }

    /// How it stands.
    pub fn state(&self) -> State {
        let shared = &self.shared;
        let spool = self.spool();
        State {
            connected: shared.connected.load(Ordering::Relaxed),
            ahead: shared.ahead.load(Ordering::Relaxed),
            sent_reports: shared.sent_reports.load(Ordering::Relaxed),
            sent_bytes: shared.sent_bytes.load(Ordering::Relaxed),
            kept_reports: shared.kept_reports.load(Ordering::Relaxed),
            connections: shared.connections.load(Ordering::Relaxed),
            failures: shared.failures.load(Ordering::Relaxed),
            waiting_reports: spool.len() as u64,
            waiting_bytes: spool.bytes(),
        }
    }

    /// The spool.
    pub fn spool(&self) -> MutexGuard<'_, Spool> {
        let spool = self.shared.spool.lock();
        spool.unwrap_or_else(PoisonError::into_inner)
    }

    /// No more reports will come: the server is asked to keep what it has.
    pub fn end(&self) {
        self.shared.ended.send_replace(true);
    }

    /// Waits until nothing waits any more, as long as `patience` at most: true then.
    pub async fn drained(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        loop {
            let less = self.shared.less.notified();
            if self.spool().is_empty() {
                return true;
            }
            if timeout_at(end, less).await.is_err() {
                return false;
            }
        }
    }

    /// Sends for as long as it is polled.
    pub async fn run(self) {
        let mut pause = PAUSE[0];
        let mut told = String::new();
        loop {
            let connections = self.shared.connections.load(Ordering::Relaxed);
            let failed = self.connect_and_send().await;
            self.shared.connected.store(false, Ordering::Relaxed);
            self.shared.failures.fetch_add(1, Ordering::Relaxed);
            let text = causes(&failed);
            if self.shared.connections.load(Ordering::Relaxed) > connections {
                pause = PAUSE[0];
                told.clear();
            }
            if text != told {
                tracing::warn!("reports wait in the spool: {text}");
                told = text;
            }
            // Agents of many nodes that lost one server do not come back all at once.
            sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (2 * pause).min(PAUSE[1]);
        }
    }

    async fn connect_and_send(&self) -> SendError {
        match self.stream().await {
            Ok(mut stream) => stream.send_all().await,
            Err(error) => error,
        }
    }

    async fn stream(&self) -> Result<Stream<'_>, SendError> {
        let options = &*self.options;
        let channel = options.connect().await?;
        let url = || options.url.clone();
        let (sender, receiver) = mpsc::channel(WAITING);
        let node = options.node.clone();
        let hello = v1::Hello {
            node,
            incarnations: self.spool().incarnations(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut request = Request::new(ReceiverStream::new(receiver));
        if let Some(token) = options.token()? {
            request.metadata_mut().insert("authorization", token);
        }
        let mut client = CollectorClient::new(channel)
            .max_decoding_message_size(LARGEST)
            .max_encoding_message_size(LARGEST);
        // The channel is empty, and takes this one without waiting.
        let _ = sender.send(from(from_agent::What::Hello(hello))).await;
        let refused = |status: Status| SendError::Refused {
            url: url(),
            status: Box::new(status),
        };
        let answer = timeout(PATIENCE, client.report(request)).await;
        let answer = answer.map_err(|_| SendError::Silent(url()))?;
        let mut stream = Stream {
            of: self,
            sender,
            answers: answer.map_err(refused)?.into_inner(),
            offset: Offset::default(),
            at: Position::default(),
            taken: Vec::new(),
        };
        let first = timeout(PATIENCE, stream.answers.message()).await;
        let first = first.map_err(|_| SendError::Silent(url()))?;
        match first.map_err(refused)?.and_then(|it| it.what) {
            Some(to_agent::What::Welcome(welcome)) => {
                self.keep(&welcome.kept);
                stream.taken = welcome.taken;
            }
            _ => return Err(SendError::Ended(url())),
        }
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        self.shared.connected.store(true, Ordering::Relaxed);
        tracing::info!("{} takes reports", options.url);
        Ok(stream)
    }

    fn keep(&self, up_to: &[v1::Position]) {
        let mut spool = self.spool();
        let before = spool.len();
        for position in up_to {
            spool.kept(Position {
                incarnation: position.incarnation,
                number: position.number,
            });
        }
        let kept = before.saturating_sub(spool.len());
        drop(spool);
        let kept = u64::try_from(kept).unwrap_or(u64::MAX);
        self.shared.kept_reports.fetch_add(kept, Ordering::Relaxed);
        self.shared.less.notify_waiters();
    }
}

/// A connection to a server that takes reports.
struct Stream<'a> {
    of: &'a Sender,
    sender: mpsc::Sender<FromAgent>,
    answers: Streaming<ToAgent>,
    offset: Offset,
    /// What was sent last.
    at: Position,
    /// What the server had before.
    taken: Vec<v1::Position>,
}

impl Stream<'_> {
    /// Ends when the connection does.
    async fn send_all(&mut self) -> SendError {
        let shared = &*self.of.shared;
        let options = self.of.options.clone();
        let url = || options.url.clone();
        let mut ended = shared.ended.subscribe();
        let mut is_settled = false;
        let mut pings = 0;
        let mut next_ping = Instant::now();
        // The first decisions shall be put right by the clocks already.
        let mut is_measured = false;
        loop {
            let more = shared.more.notified();
            let report = match is_measured {
                true => self.next(),
                false => None,
            };
            let is_done = report.is_none() && is_measured && !is_settled && *ended.borrow();
            let has_message = report.is_some() || is_done;
            tokio::select! {
                biased;
                answer = self.answers.message() => {
                    let answer = match answer {
                        Ok(Some(answer)) => answer,
                        Ok(None) => return SendError::Ended(url()),
                        Err(status) => return SendError::Refused { url: url(), status: Box::new(status) },
                    };
                    match answer.what {
                        Some(to_agent::What::Kept(kept)) => self.of.keep(&kept.up_to),
                        Some(to_agent::What::Pong(pong)) => {
                            let now = SystemClock.now().0;
                            self.offset.ping(pong.sent, pong.came, pong.went, now);
                            if let Some(ahead) = self.offset.ahead() {
                                shared.ahead.store(ahead, Ordering::Relaxed);
                            }
                            // Its outcome is told before the first report.
                            if !is_measured {
                                is_measured = true;
                                next_ping = Instant::now();
                                if ping(&self.sender, self.offset.ahead()).await.is_err() {
                                    return SendError::Ended(url());
                                }
                            }
                        }
                        _ => {}
                    }
                }
                () = sleep_until(next_ping) => {
                    pings += 1;
                    next_ping = Instant::now() + PINGS[usize::from(pings > FIRST_PINGS)];
                    if ping(&self.sender, self.offset.ahead()).await.is_err() {
                        return SendError::Ended(url());
                    }
                }
                permit = self.sender.reserve(), if has_message => {
                    let Ok(permit) = permit else {
                        return SendError::Ended(url());
                    };
                    match report {
                        Some(report) => {
                            let length = report.bytes.len() as u64;
                            self.at = report.position;
                            match v1::Report::decode_bytes(&report.bytes) {
                                Some(message) => permit.send(from(from_agent::What::Report(message))),
                                None => tracing::error!("a report of the spool makes no sense; it is left out"),
                            }
                            shared.sent_reports.fetch_add(1, Ordering::Relaxed);
                            shared.sent_bytes.fetch_add(length, Ordering::Relaxed);
                        }
                        None => {
                            is_settled = true;
                            permit.send(from(from_agent::What::Settle(v1::Settle {})));
                        }
                    }
                }
                () = more, if !has_message => {}
                _ = ended.changed() => {}
            }
        }
    }

    /// The next report that the server has not got.
    fn next(&self) -> Option<crate::spool::Report> {
        let mut spool = self.of.spool();
        let mut at = self.at;
        loop {
            let report = spool.after(at)?;
            let incarnation = report.position.incarnation;
            let taken = self.taken.iter().find(|it| it.incarnation == incarnation);
            match taken {
                Some(taken) if report.position.number <= taken.number => {
                    at = Position {
                        incarnation,
                        number: taken.number,
                    };
                }
                _ => return Some(report),
            }
        }
    }
}

/// Says how late it is here, and by how much that is ahead.
async fn ping(
    sender: &mpsc::Sender<FromAgent>,
    ahead: Option<i64>,
) -> Result<(), mpsc::error::SendError<FromAgent>> {
    let sent = SystemClock.now().0;
    let ping = v1::Ping { sent, ahead };
    sender.send(from(from_agent::What::Ping(ping))).await
}

fn from(what: from_agent::What) -> FromAgent {
    FromAgent { what: Some(what) }
}

impl SenderOptions {
    async fn connect(&self) -> Result<Channel, SendError> {
        let wrong = |cause| SendError::Url {
            url: self.url.clone(),
            cause,
        };
        let mut endpoint = Endpoint::from_shared(self.url.clone())
            .map_err(wrong)?
            .connect_timeout(PATIENCE)
            .http2_keep_alive_interval(PATIENCE)
            .keep_alive_timeout(PATIENCE)
            .tcp_nodelay(true);
        if self.url.starts_with("https:") {
            let mut tls = ClientTlsConfig::new();
            tls = match &self.tls.ca {
                Some(ca) => tls.ca_certificate(Certificate::from_pem(read(ca)?)),
                None => tls.with_webpki_roots(),
            };
            if let (Some(certificate), Some(key)) = (&self.tls.certificate, &self.tls.private_key) {
                tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
            }
            endpoint = endpoint.tls_config(tls).map_err(wrong)?;
        }
        endpoint
            .connect()
            .await
            .map_err(|cause| SendError::Connect {
                url: self.url.clone(),
                cause,
            })
    }

    fn token(&self) -> Result<Option<MetadataValue<Ascii>>, SendError> {
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        if !self.url.starts_with("https:") && !is_here(&self.url) {
            return Err(SendError::Plain(self.url.clone()));
        }
        let text = String::from_utf8(read(path)?).unwrap_or_default();
        let value = format!("Bearer {}", text.trim()).parse();
        let mut value: MetadataValue<Ascii> = match value {
            Ok(value) if !text.trim().is_empty() => value,
            _ => return Err(SendError::Token(path.clone())),
        };
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// True for an address of this machine.
fn is_here(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let address = name.parse::<std::net::IpAddr>();
    name == "localhost" || address.is_ok_and(|it| it.is_loopback())
}

fn read(path: &Path) -> Result<Vec<u8>, SendError> {
    std::fs::read(path).map_err(|cause| SendError::File {
        path: path.to_owned(),
        cause,
    })
}
