use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response as AxumResponse;
use futures_util::Stream;
use netverdict_proto::v1::collector_server::{Collector as Service, CollectorServer};
use netverdict_proto::v1::{self, FromAgent, ToAgent, from_agent, to_agent};
use netverdict_proto::{Facts, LARGEST, Received};
use netverdict_types::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::subject::Subject;

/// Takes reports of agents, and tells them what is kept.
#[derive(Clone)]
pub struct Collector(Arc<Shared>);

struct Shared {
    may: Vec<String>,
    inbox: mpsc::Sender<Arrival>,
    ring: Box<dyn Fn() + Send + Sync>,
    known: Mutex<Known>,
    facts: Mutex<Facts>,
    /// Counts how often something was kept; the agents' streams wait for it.
    kept: watch::Sender<u64>,
    closed: watch::Sender<bool>,
}

/// A report of an agent, once.
#[derive(Debug)]
pub struct Arrival {
    /// The agent's node.
    pub node: Arc<str>,
    /// By how many nanoseconds the node's clock is ahead of ours, if that is known.
    pub ahead: Option<i64>,
    /// The report; without one, the agent asks to keep what came.
    pub report: Option<Received>,
}

/// The last report of each incarnation of each node: all up to it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Positions(BTreeMap<String, Vec<(u64, u64)>>);

/// Incarnations of a node that are remembered: those that were heard of last.
const INCARNATIONS: usize = 16;
/// A name of a node has so many bytes at most.
const NAME: usize = 253;
/// Nodes that are known at most.
const NODES: usize = 65_536;

impl Positions {
    /// The last report of an incarnation; 0 for none.
    pub fn last(&self, node: &str, incarnation: u64) -> u64 {
        let of = self.0.get(node).and_then(|all| {
            let found = all.iter().find(|(known, _)| *known == incarnation);
            found.map(|(_, number)| *number)
        });
        of.unwrap_or(0)
    }

    /// All up to this report are there.
    pub fn set(&mut self, node: &str, incarnation: u64, number: u64) {
        let all = match self.0.get_mut(node) {
            Some(all) => all,
            None => self.0.entry(node.to_owned()).or_default(),
        };
        all.retain(|(known, _)| *known != incarnation);
        if all.len() >= INCARNATIONS {
            all.remove(0);
        }
        all.push((incarnation, number));
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Default)]
struct Known {
    /// What came, and need not come again while this process lives.
    taken: Positions,
    /// What will never need to come again.
    kept: Positions,
    /// Who is connected, and how often.
    connected: HashMap<Arc<str>, usize>,
    counts: CollectorCounts,
}

/// What became of reports.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CollectorCounts {
    /// Reports taken.
    pub reports: u64,
    /// Reports that came again; they were left out.
    pub repeated: u64,
    /// Reports that never came: the agent had no room for them, or could not write them.
    pub missing: u64,
    /// Agents that are connected now.
    pub agents: u64,
}

/// How long an agent may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(10);
/// Reports that may wait to be taken; beyond, the agents wait.
const INBOX: usize = 16;
/// Messages to an agent that may wait for its connection.
const WAITING: usize = 16;

impl Collector {
    /// Goes on behind what is `kept`. Reports come out of what is given back; `ring` is called
    /// when there is one. `may` are the names of those who may report, where it is known who
    /// asks.
    pub fn new(
        kept: Positions,
        may: Vec<String>,
        ring: impl Fn() + Send + Sync + 'static,
    ) -> (Self, mpsc::Receiver<Arrival>) {
        let (inbox, arrivals) = mpsc::channel(INBOX);
        let known = Known {
            taken: kept.clone(),
            kept,
            ..Known::default()
        };
        let shared = Shared {
            may,
            inbox,
            ring: Box::new(ring),
            known: Mutex::new(known),
            facts: Mutex::default(),
            kept: watch::Sender::new(0),
            closed: watch::Sender::new(false),
        };
        (Self(Arc::new(shared)), arrivals)
    }

    /// What answers agents, beside [`router`](crate::router).
    pub fn router(&self) -> Router {
        let service = CollectorServer::new(self.clone())
            .max_decoding_message_size(LARGEST)
            .max_encoding_message_size(LARGEST);
        Router::new().route_service(PATH, service)
    }

    /// All reports up to these are kept: tells the agents.
    pub fn kept(&self, positions: Positions) {
        self.known().kept = positions;
        self.0.kept.send_modify(|count| *count += 1);
    }

    /// What became of reports so far.
    pub fn counts(&self) -> CollectorCounts {
        let known = self.known();
        CollectorCounts {
            agents: known.connected.len() as u64,
            ..known.counts
        }
    }

    /// Ends all streams.
    pub fn close(&self) {
        self.0.closed.send_replace(true);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether this one may report.
    fn check(&self, subject: Option<&Subject>) -> Result<(), Status> {
        // Whoever was not asked who they are came by another way.
        let Some(name) = subject.map(Subject::name) else {
            return Err(Status::unauthenticated("nobody asked who reports"));
        };
        if name.is_empty() || self.0.may.iter().any(|may| may == name) {
            return Ok(());
        }
        Err(Status::permission_denied(format!(
            "{name:?} may not report: name it in collect.agents of the server's file"
        )))
    }

    /// Hands a report on, unless it came before.
    async fn take(
        &self,
        node: &Arc<str>,
        ahead: Option<i64>,
        report: v1::Report,
    ) -> Result<(), Status> {
        let closed = || Status::unavailable("the server ends");
        let (incarnation, number) = (report.incarnation, report.number);
        // Another stream of this agent may have brought it. First there is room, so that what
        // is noted as taken is taken.
        let permit = self.0.inbox.reserve().await.map_err(|_| closed())?;
        let mut known = self.known();
        let last = known.taken.last(node, incarnation);
        if number <= last {
            known.counts.repeated += 1;
            return Ok(());
        }
        let facts = self.0.facts.lock();
        let received = Received::new(report, &mut facts.unwrap_or_else(PoisonError::into_inner));
        known.counts.reports += 1;
        // Of one that is not known, those before it may be kept by another server.
        if last > 0 {
            known.counts.missing += number - last - 1;
        }
        known.taken.set(node, incarnation, number);
        permit.send(Arrival {
            node: node.clone(),
            ahead,
            report: Some(received),
        });
        drop(known);
        (self.0.ring)();
        Ok(())
    }

    async fn settle(&self, node: &Arc<str>) -> Result<(), Status> {
        let arrival = Arrival {
            node: node.clone(),
            ahead: None,
            report: None,
        };
        let sent = self.0.inbox.send(arrival).await;
        (self.0.ring)();
        sent.map_err(|_| Status::unavailable("the server ends"))
    }

    fn positions(of: &Positions, node: &str, incarnations: &[u64]) -> Vec<v1::Position> {
        let position = |incarnation: &u64| v1::Position {
            incarnation: *incarnation,
            number: of.last(node, *incarnation),
        };
        incarnations.iter().map(position).collect()
    }

    /// Answers one agent until one of both ends it.
    async fn talk(
        self,
        mut messages: Streaming<FromAgent>,
        answers: mpsc::Sender<Result<ToAgent, Status>>,
    ) -> Result<(), Status> {
        let first = timeout(PATIENCE, messages.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no hello came"))??;
        let Some(from_agent::What::Hello(hello)) = first.and_then(|it| it.what) else {
            return Err(Status::invalid_argument("the first message is a hello"));
        };
        if hello.node.is_empty() || hello.node.len() > NAME {
            return Err(Status::invalid_argument(
                "the node's name has 1 to 253 bytes",
            ));
        }
        let node: Arc<str> = hello.node.as_str().into();
        let mut kept = self.0.kept.subscribe();
        let mut closed = self.0.closed.subscribe();
        if *closed.borrow() {
            return Err(Status::unavailable("the server ends"));
        }
        let welcome = {
            let known = self.known();
            if known.taken.0.len() >= NODES && !known.taken.0.contains_key(&*node) {
                return Err(Status::resource_exhausted("there are too many nodes"));
            }
            v1::Welcome {
                taken: Self::positions(&known.taken, &node, &hello.incarnations),
                kept: Self::positions(&known.kept, &node, &hello.incarnations),
            }
        };
        let _connected = Connected::new(&self, &node);
        tracing::info!("the agent of {node} reports, netverdict {}", hello.version);
        let gone = |_| Status::cancelled("the agent is gone");
        let send = |what| answers.send(Ok(ToAgent { what: Some(what) }));
        send(to_agent::What::Welcome(welcome)).await.map_err(gone)?;
        let mut ahead = None;
        loop {
            tokio::select! {
                message = messages.message() => match message?.map(|it| it.what) {
                    None => return Ok(()),
                    Some(Some(from_agent::What::Report(report))) => {
                        self.take(&node, ahead, report).await?;
                    }
                    Some(Some(from_agent::What::Ping(ping))) => {
                        let came = SystemClock.now().0;
                        ahead = ping.ahead.or(ahead);
                        let went = SystemClock.now().0;
                        let pong = v1::Pong { sent: ping.sent, came, went };
                        send(to_agent::What::Pong(pong)).await.map_err(gone)?;
                    }
                    Some(Some(from_agent::What::Settle(_))) => self.settle(&node).await?,
                    Some(_) => return Err(Status::invalid_argument("there is no such message")),
                },
                changed = kept.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let up_to = Self::positions(&self.known().kept, &node, &hello.incarnations);
                    send(to_agent::What::Kept(v1::Kept { up_to })).await.map_err(gone)?;
                }
                _ = closed.changed() => {
                    return Err(Status::unavailable("the server ends"));
                }
            }
        }
    }
}

/// Where tonic's service answers.
const PATH: &str = "/netverdict.v1.Collector/{*method}";

/// True for what agents ask.
pub(crate) fn owns(path: &str) -> bool {
    path.starts_with("/netverdict.v1.Collector/")
}

/// A refusal, in the words that an agent understands.
pub(crate) fn told(response: AxumResponse) -> AxumResponse {
    let status = match response.status() {
        status if status.is_success() => return response,
        StatusCode::UNAUTHORIZED => Status::unauthenticated(
            "who reports is not known here: set server.token_file, or a certificate",
        ),
        StatusCode::FORBIDDEN => Status::permission_denied("this one may not report"),
        StatusCode::TOO_MANY_REQUESTS => Status::resource_exhausted("it was asked too often"),
        status => Status::unavailable(format!("the server answers {status}")),
    };
    status.into_http()
}

/// An agent that is connected, until it is dropped.
struct Connected<'a>(&'a Collector, Arc<str>);

impl<'a> Connected<'a> {
    fn new(collector: &'a Collector, node: &Arc<str>) -> Self {
        *collector.known().connected.entry(node.clone()).or_default() += 1;
        Self(collector, node.clone())
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        let mut known = self.0.known();
        if let Some(count) = known.connected.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                known.connected.remove(&self.1);
            }
        }
    }
}

#[tonic::async_trait]
impl Service for Collector {
    type ReportStream = Pin<Box<dyn Stream<Item = Result<ToAgent, Status>> + Send>>;

    async fn report(
        &self,
        request: Request<Streaming<FromAgent>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        self.check(request.extensions().get::<Subject>())?;
        let (sender, answers) = mpsc::channel(WAITING);
        let collector = self.clone();
        tokio::spawn(async move {
            let said = sender.clone();
            if let Err(status) = collector.talk(request.into_inner(), sender).await {
                // An agent that is gone hears nothing.
                let _ = said.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}
