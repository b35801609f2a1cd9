use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use netverdict_types::{Clock as _, SystemClock};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::audit::{Audit, Line};
use crate::certified::Certified;
use crate::problem::Problem;
use crate::rate::{Key, Rate};
use crate::reviews::{Away, Counts, Kubernetes};
use crate::roles::{Roles, TextError};
use crate::subject::{Namespaces, Subject};
use crate::who::{Tokens, Who};
use crate::{collector, console};

/// Who may ask, what they see, how often, and where it is written down. By default everybody,
/// everything, as often as they like, and nowhere.
#[derive(Clone, Default)]
pub struct Access(Arc<Shared>);

#[derive(Default)]
struct Shared {
    files: AccessFiles,
    known: ArcSwap<Known>,
    kubernetes: Option<Kubernetes>,
    rate: Option<Rate>,
    audit: Option<Audit>,
    refused: Refusals,
}

/// Answers that were refused, by status.
#[derive(Clone, Debug)]
pub(crate) struct Refusals(pub(crate) Family<ByStatus, Counter>);

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct ByStatus {
    status: u16,
}

impl Default for Refusals {
    fn default() -> Self {
        let all = Family::<ByStatus, Counter>::default();
        for status in [401, 403, 429, 503] {
            drop(all.get_or_create(&ByStatus { status }));
        }
        Self(all)
    }
}

/// Files that say who may ask; docs/security.md describes them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AccessFiles {
    /// Tokens and whose they are; where it is not given, and no Kubernetes either, nobody needs one.
    pub tokens: Option<PathBuf>,
    /// Who may see which namespaces; where it is not given Kubernetes says so, and without it
    /// everybody who is known sees everything.
    pub roles: Option<PathBuf>,
    /// Where requests are written down.
    pub audit: Option<PathBuf>,
}

/// Why it is not known who may ask.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file cannot be opened.
    #[error("cannot open {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// A file makes no sense.
    #[error("{}", path.display())]
    Text {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: TextError,
    },
}

impl Access {
    /// Reads the files. `kubernetes` knows further tokens, and what their owners may see where
    /// there is no file of roles. `per_second` is how often one subject may ask, or one address
    /// without a subject; as often as they like without it.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn new(
        files: AccessFiles,
        kubernetes: Option<Kubernetes>,
        per_second: Option<u32>,
    ) -> Result<Self, AccessError> {
        let known = Known::read(&files)?;
        let open = |path: &PathBuf| {
            Audit::open(path).map_err(|cause| AccessError::File {
                path: path.clone(),
                cause,
            })
        };
        let audit = files.audit.as_ref().map(open).transpose()?;
        Ok(Self(Arc::new(Shared {
            files,
            known: ArcSwap::from_pointee(known),
            kubernetes,
            rate: per_second.map(Rate::new),
            audit,
            refused: Refusals::default(),
        })))
    }

    /// Reads tokens and roles again. What was known before stays if they make no sense.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn reload(&self) -> Result<(), AccessError> {
        let known = Known::read(&self.0.files)?;
        self.0.known.store(Arc::new(known));
        Ok(())
    }

    /// True where there are tokens that tell who asks.
    pub fn asks_tokens(&self) -> bool {
        self.0.files.tokens.is_some() || self.0.kubernetes.is_some()
    }

    /// True where not everybody who is known sees everything.
    pub(crate) fn tells_apart(&self) -> bool {
        self.0.files.roles.is_some() || self.0.kubernetes.is_some()
    }

    /// Lets only those in who may ask.
    pub(crate) fn protect(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), guard))
    }

    /// What was refused.
    pub(crate) fn refused(&self) -> &Refusals {
        &self.0.refused
    }

    /// What Kubernetes was asked.
    pub(crate) fn reviews(&self) -> Counts {
        let kubernetes = self.0.kubernetes.as_ref();
        kubernetes.map_or_else(Counts::default, |it| it.counts.clone())
    }

    /// Who asks, and what they may see now; the name of one who may not is told too.
    async fn subject(&self, shown: &Shown) -> Result<Subject, Refused> {
        let known = self.0.known.load_full();
        let Some(who) = self.who(&known, shown).await? else {
            return Ok(Subject::everyone());
        };
        let namespaces = match (&known.roles, &self.0.kubernetes) {
            (Some(roles), _) => roles.namespaces(&who),
            (None, Some(kubernetes)) => kubernetes.namespaces(&who).await?,
            (None, None) => Some(Namespaces::All),
        };
        namespaces
            .map(|namespaces| Subject::new(&who.name, namespaces))
            .ok_or_else(|| {
                let what = format!("{:?} may see no namespace", who.name);
                Refused::new(&who.name, Problem::forbidden(what))
            })
    }

    /// Who reports, as far as that needs to be known; they see nothing.
    async fn reporter(&self, shown: &Shown) -> Result<Subject, Refused> {
        let known = self.0.known.load_full();
        Ok(match self.who(&known, shown).await? {
            Some(who) => Subject::new(&who.name, Namespaces::Only(Arc::default())),
            None => Subject::everyone(),
        })
    }

    /// Who asks; `None` where nobody needs to say so.
    async fn who(&self, known: &Known, shown: &Shown) -> Result<Option<Arc<Who>>, Refused> {
        let certified = match &shown.certified {
            Some(certified) if !certified.is_valid() => {
                return Err(Refused::new("", Problem::expired()));
            }
            certified => certified.as_ref(),
        };
        let unknown = || Err(Refused::new("", Problem::unauthorized()));
        match (&shown.token, certified) {
            (Some(token), _) if self.asks_tokens() => {
                if let Some(who) = known.tokens.as_ref().and_then(|it| it.find(token)) {
                    return Ok(Some(who.clone()));
                }
                let Some(kubernetes) = &self.0.kubernetes else {
                    return unknown();
                };
                // Who guesses tokens asks the API server no more often than they may ask us.
                if !kubernetes.knows(token) && !self.may(Key::address(shown.address)) {
                    return Err(Refused::new("", Problem::too_often()));
                }
                match kubernetes.who(token).await? {
                    Some(who) => Ok(Some(who)),
                    None => unknown(),
                }
            }
            (_, Some(certified)) if self.tells_apart() || !self.asks_tokens() => {
                match certified.who() {
                    Some(who) => Ok(Some(who.clone())),
                    None if self.tells_apart() => {
                        Err(Refused::new("", Problem::nameless_certificate()))
                    }
                    None => Ok(None),
                }
            }
            _ if self.asks_tokens() || self.tells_apart() => unknown(),
            _ => Ok(None),
        }
    }

    fn may(&self, key: Key) -> bool {
        let rate = self.0.rate.as_ref();
        rate.is_none_or(|rate| rate.take(key, Instant::now()))
    }
}

/// By what one who asks shows who they are. It is asked again while an answer goes on.
#[derive(Clone)]
pub(crate) struct Shown {
    token: Option<Arc<str>>,
    certified: Option<Certified>,
    address: Option<IpAddr>,
}

impl Shown {
    fn new(request: &Request) -> Self {
        let extensions = request.extensions();
        let address = extensions.get::<ConnectInfo<SocketAddr>>();
        Self {
            token: bearer(request.headers()).map(Arc::from),
            certified: extensions.get::<Option<Certified>>().cloned().flatten(),
            address: address.map(|ConnectInfo(address)| address.ip()),
        }
    }
}

/// The right to an answer, which may end before the answer does.
#[derive(Clone)]
pub(crate) struct Ticket {
    access: Access,
    shown: Shown,
}

impl Ticket {
    /// What they may see now.
    pub(crate) async fn subject(&self) -> Result<Subject, Problem> {
        let subject = self.access.subject(&self.shown).await;
        subject.map_err(|refused| *refused.problem)
    }
}

/// Stands in requests of which nobody was asked who they are: what tells of anybody refuses them.
#[derive(Clone, Copy)]
pub(crate) struct Unasked;

/// Why somebody gets no answer, and their name where it is known.
struct Refused {
    name: String,
    problem: Box<Problem>,
}

impl Refused {
    fn new(name: &str, problem: Problem) -> Self {
        Self {
            name: name.to_owned(),
            problem: Box::new(problem),
        }
    }
}

impl From<Away> for Refused {
    fn from(_: Away) -> Self {
        Self::new("", Problem::unreviewed())
    }
}

/// What the files say.
#[derive(Default)]
struct Known {
    tokens: Option<Tokens>,
    roles: Option<Roles>,
}

impl Known {
    fn read(files: &AccessFiles) -> Result<Self, AccessError> {
        Ok(Self {
            tokens: read(files.tokens.as_deref(), Tokens::parse)?,
            roles: read(files.roles.as_deref(), Roles::parse)?,
        })
    }
}

fn read<T>(
    path: Option<&Path>,
    parse: fn(&str) -> Result<T, TextError>,
) -> Result<Option<T>, AccessError> {
    let Some(path) = path else { return Ok(None) };
    let text = std::fs::read_to_string(path).map_err(|cause| AccessError::File {
        path: path.to_owned(),
        cause,
    })?;
    let read = parse(&text).map_err(|cause| AccessError::Text {
        path: path.to_owned(),
        cause,
    });
    read.map(Some)
}

/// The token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = scheme.eq_ignore_ascii_case("bearer").then_some(token)?;
    Some(token.trim_start())
}

async fn guard(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // So are those for who looks whether the server lives.
    let reports = collector::owns(path);
    if console::owns(path) && !reports {
        request.extensions_mut().insert(Unasked);
        return next.run(request).await;
    }
    let (time, began) = (SystemClock.now(), Instant::now());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let shown = Shown::new(&request);
    let address = shown.address;
    let known = match is_rebound(&access, &request) {
        true => Err(Refused::new("", Problem::rebound())),
        // Who may report need not see anything.
        false if reports => access.reporter(&shown).await,
        false => access.subject(&shown).await,
    };
    let name = match &known {
        Ok(subject) => subject.name().to_owned(),
        Err(refused) => refused.name.clone(),
    };
    let key = match name.is_empty() {
        true => Key::address(address),
        false => Key::Subject(name.clone()),
    };
    let may = access.may(key);
    let response = match known {
        _ if !may => access.refuse(Problem::too_often()),
        Err(refused) => access.refuse(*refused.problem),
        Ok(subject) => {
            let sees_all = subject.sees_all();
            request.extensions_mut().insert(subject);
            request.extensions_mut().insert(Ticket {
                access: access.clone(),
                shown,
            });
            let response = next.run(request).await;
            // What failed may be named in words that are not for everybody; they are in the log.
            match response.status() {
                StatusCode::INTERNAL_SERVER_ERROR if !sees_all => Problem::failed().into_response(),
                _ => response,
            }
        }
    };
    if let Some(audit) = &access.0.audit {
        audit.write(&Line {
            time,
            subject: &name,
            address,
            method: method.as_str(),
            path: uri.path(),
            query: uri.query(),
            status: response.status().as_u16(),
            milliseconds: began.elapsed().as_millis(),
        });
    }
    match reports {
        true => collector::told(response),
        false => response,
    }
}

impl Access {
    fn refuse(&self, problem: Problem) -> Response {
        let response = problem.into_response();
        let status = response.status().as_u16();
        self.0.refused.0.get_or_create(&ByStatus { status }).inc();
        response
    }
}

/// True for requests by a name that is none of this machine's, where nobody needs to say who they
/// are: a page of somebody else, to whose name this address was given, sends such ones from a
/// browser here.
fn is_rebound(access: &Access, request: &Request) -> bool {
    let certified = request.extensions().get::<Option<Certified>>();
    if access.asks_tokens() || certified.is_some_and(Option::is_some) {
        return false;
    }
    let header = request.headers().get(header::HOST);
    let header = header.map(|host| host.to_str().unwrap_or_default());
    let Some(host) = header.or(request.uri().authority().map(|it| it.as_str())) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let is_here = name.eq_ignore_ascii_case("localhost") || name.ends_with(".localhost");
    !is_here && name.parse::<IpAddr>().is_err()
}
