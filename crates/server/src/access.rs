use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use netverdict_types::{Clock as _, SystemClock};

use crate::audit::{Audit, Line};
use crate::console;
use crate::problem::Problem;
use crate::rate::{Key, Rate};
use crate::roles::{Roles, TextError};
use crate::subject::Subject;
use crate::who::Tokens;

/// Who may ask, what they see, how often, and where it is written down. By default everybody,
/// everything, as often as they like, and nowhere.
#[derive(Clone, Default)]
pub struct Access(Arc<Shared>);

#[derive(Default)]
struct Shared {
    files: AccessFiles,
    known: ArcSwap<Known>,
    rate: Option<Rate>,
    audit: Option<Audit>,
}

/// Files that say who may ask; docs/security.md describes them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AccessFiles {
    /// Tokens and whose they are; where it is not given nobody needs one.
    pub tokens: Option<PathBuf>,
    /// Who may see which namespaces; where it is not given everybody with a token sees everything.
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
    /// Nobody could have a role.
    #[error("roles say what those may see whom tokens tell apart: give a file of tokens too")]
    NoTokens,
}

impl Access {
    /// Reads the files. `per_second` is how often one subject may ask, or one address without a
    /// subject; as often as they like without it.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn new(files: AccessFiles, per_second: Option<u32>) -> Result<Self, AccessError> {
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
            rate: per_second.map(Rate::new),
            audit,
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

    /// True where who asks must have a token.
    pub fn asks_tokens(&self) -> bool {
        self.0.files.tokens.is_some()
    }

    /// Lets only those in who may ask.
    pub(crate) fn protect(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), guard))
    }

    /// Who asks; the name of one who may not is told too.
    fn subject(&self, headers: &HeaderMap) -> Result<Subject, Box<(String, Problem)>> {
        let known = self.0.known.load();
        let Some(tokens) = &known.tokens else {
            return Ok(Subject::everyone());
        };
        let unknown = || Box::new((String::new(), Problem::unauthorized()));
        let token = bearer(headers).ok_or_else(unknown)?;
        let who = tokens.find(token).ok_or_else(unknown)?;
        let subject = match &known.roles {
            None => Some(Subject::new(&who.name, crate::Namespaces::All)),
            Some(roles) => roles.subject(who),
        };
        subject.ok_or_else(|| {
            let name = &who.name;
            let what = format!("no role names {name:?} or a group of theirs");
            Box::new((name.clone(), Problem::forbidden(what)))
        })
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
        if files.roles.is_some() && files.tokens.is_none() {
            return Err(AccessError::NoTokens);
        }
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

/// Tells of all namespaces in one text.
const METRICS: &str = "/metrics";

async fn guard(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // So are those for who looks whether the server lives.
    if console::owns(path) {
        return next.run(request).await;
    }
    let (time, began) = (SystemClock.now(), Instant::now());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let address: Option<IpAddr> = address.map(|ConnectInfo(address)| address.ip());
    let known = access.subject(request.headers());
    let name = match &known {
        Ok(subject) => subject.name().to_owned(),
        Err(refused) => refused.0.clone(),
    };
    let key = match name.is_empty() {
        true => Key::Address(address),
        false => Key::Subject(name.clone()),
    };
    let rate = access.0.rate.as_ref();
    let may = rate.is_none_or(|rate| rate.take(key, began));
    let response = match known {
        _ if !may => Problem::too_often().into_response(),
        Err(refused) => refused.1.into_response(),
        Ok(subject) if path == METRICS && !subject.sees_all() => Problem::forbidden(
            "metrics tell of the whole cluster: they need a role with the namespaces \"*\"",
        )
        .into_response(),
        Ok(subject) => {
            request.extensions_mut().insert(subject);
            next.run(request).await
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
    response
}
