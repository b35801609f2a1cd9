use std::error::Error;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use netverdict_query::QueryError;
use netverdict_store::StoreError;
use netverdict_types::causes;
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::cluster::Mistake;

/// What went wrong, as RFC 9457 has it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Which kind of problem; stable.
    #[serde(rename = "type")]
    #[schema(example = "urn:netverdict:problem:wrong-query")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened this time, and what to do.
    #[schema(value_type = String)]
    detail: Box<str>,
    /// The wrong query with carets under the place, in several lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    report: Option<Box<str>>,
    /// The place in the query, in bytes: first, and behind the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<[usize; 2]>,
    /// The places in a text that was given.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<Mistake>)]
    mistakes: Box<[Mistake]>,
}

impl Problem {
    /// A parameter that makes no sense.
    pub(crate) fn parameter(name: &str, what: impl std::fmt::Display) -> Self {
        Self::new(Kind::WrongParameter, format!("{name}: {what}"))
    }

    /// A page that nobody told of.
    pub(crate) fn wrong_after() -> Self {
        Self::parameter("after", "is not what `next` of a page said")
    }

    /// A text that makes no sense.
    pub(crate) fn mistaken(what: String, mistakes: Vec<Mistake>) -> Self {
        Self {
            mistakes: mistakes.into(),
            ..Self::new(Kind::WrongParameter, what)
        }
    }

    /// There is no such thing.
    pub(crate) fn missing(what: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, what.into())
    }

    /// A question that cannot be answered from what is known.
    pub(crate) fn unknown(what: impl Into<String>) -> Self {
        Self::new(Kind::CannotKnow, what.into())
    }

    /// Nobody that is known asks.
    pub(crate) fn unauthorized() -> Self {
        Self::new(
            Kind::Unauthorized,
            "give a token that this server knows: Authorization: Bearer TOKEN".to_owned(),
        )
    }

    /// A certificate that does not say who asks.
    pub(crate) fn nameless_certificate() -> Self {
        Self::new(
            Kind::Unauthorized,
            "the client certificate has no common name, or several: it does not tell who asks"
                .to_owned(),
        )
    }

    /// A certificate that was good when the connection began.
    pub(crate) fn expired() -> Self {
        Self::new(
            Kind::Unauthorized,
            "the client certificate has expired, or its CA is not trusted any more".to_owned(),
        )
    }

    /// Nobody can tell now who asks, or what they may.
    pub(crate) fn unreviewed() -> Self {
        Self::new(
            Kind::Unreviewed,
            "the Kubernetes API server does not answer, and without it nobody gets an answer; the log of this server tells more".to_owned(),
        )
    }

    /// A request that a page of somebody else's made.
    pub(crate) fn rebound() -> Self {
        Self::new(
            Kind::Forbidden,
            "this server, where everybody may ask, answers by the names of this machine only: use its address, or localhost".to_owned(),
        )
    }

    /// One who is known may not have it.
    pub(crate) fn forbidden(what: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, what.into())
    }

    /// One asks too often.
    pub(crate) fn too_often() -> Self {
        Self::new(
            Kind::TooOften,
            "you ask more often than you may; ask again in a moment".to_owned(),
        )
    }

    /// Too many ask.
    pub(crate) fn busy() -> Self {
        Self::new(
            Kind::Busy,
            "as much is asked at the same time as may be; ask again in a moment".to_owned(),
        )
    }

    /// It took too long.
    pub(crate) fn timeout(limit: Duration) -> Self {
        let limit = limit.as_secs();
        Self::new(
            Kind::Timeout,
            format!(
                "no answer within {limit} s; ask for a shorter time, or for groups of fewer fields"
            ),
        )
    }

    /// What was asked for is not built in here.
    pub(crate) fn not_here(what: impl Into<String>) -> Self {
        Self::new(Kind::NotHere, what.into())
    }

    /// Something of ours broke; it is in the log.
    pub(crate) fn fault(error: &(dyn Error + 'static)) -> Self {
        let text = causes(error);
        tracing::error!("a question was not answered: {text}");
        Self::new(Kind::Fault, text)
    }

    /// The same, for those who may not know what broke.
    pub(crate) fn failed() -> Self {
        let what = "something broke; the log of this server tells what";
        Self::new(Kind::Fault, what.to_owned())
    }

    fn new(kind: Kind, detail: String) -> Self {
        Self {
            kind: format!("urn:netverdict:problem:{}", kind.word()),
            title: kind.title(),
            status: kind.status().as_u16(),
            detail: detail.into(),
            report: None,
            span: None,
            mistakes: Box::default(),
        }
    }

    /// The text of the problem.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    WrongQuery,
    WrongParameter,
    WrongBody,
    Unauthorized,
    Unreviewed,
    Forbidden,
    TooOften,
    NotFound,
    WrongMethod,
    TooLarge,
    CannotKnow,
    NotHere,
    Busy,
    Timeout,
    Fault,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::WrongQuery => "wrong-query",
            Self::WrongParameter => "wrong-parameter",
            Self::WrongBody => "wrong-body",
            Self::Unauthorized => "unauthorized",
            Self::Unreviewed => "unreviewed",
            Self::Forbidden => "forbidden",
            Self::TooOften => "too-often",
            Self::NotFound => "not-found",
            Self::WrongMethod => "wrong-method",
            Self::TooLarge => "too-large",
            Self::CannotKnow => "cannot-know",
            Self::NotHere => "not-here",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::Fault => "fault",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::WrongQuery => "The query is wrong",
            Self::WrongParameter => "A parameter is wrong",
            Self::WrongBody => "The request's body is wrong",
            Self::Unauthorized => "Nobody knows who asks",
            Self::Unreviewed => "What who asks may have is not known now",
            Self::Forbidden => "Who asks may not have this",
            Self::TooOften => "Asked too often",
            Self::NotFound => "There is no such thing",
            Self::WrongMethod => "There is no such method here",
            Self::TooLarge => "The request's body is too large",
            Self::CannotKnow => "What was given does not tell",
            Self::NotHere => "This server cannot do that",
            Self::Busy => "Too many ask at the same time",
            Self::Timeout => "The answer took too long",
            Self::Fault => "The server failed",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::WrongQuery | Self::WrongParameter | Self::WrongBody => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::TooOften => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::CannotKnow | Self::NotHere => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy | Self::Unreviewed => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Fault => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"netverdict\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        let later = [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        if later.contains(&status) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let span = error.span();
        Self {
            report: Some(error.report().to_string().into()),
            span: Some([span.start, span.end]),
            ..Self::new(Kind::WrongQuery, error.to_string())
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Ask(what) => Self::new(Kind::WrongQuery, what.to_string()),
            other => Self::fault(&other),
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(Kind::WrongParameter, rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(Kind::NotFound, rejection.body_text())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let kind = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Kind::TooLarge,
            _ => Kind::WrongBody,
        };
        Self::new(kind, rejection.body_text())
    }
}

/// What is told of paths that are not there.
pub(crate) async fn no_such_path() -> Problem {
    Problem::missing("there is no such path; GET /api/v1/openapi.json tells what there is")
}

/// What is told of methods that are not there.
pub(crate) async fn no_such_method() -> Problem {
    Problem::new(
        Kind::WrongMethod,
        "GET /api/v1/openapi.json tells what there is".to_owned(),
    )
}

/// The problems that any question may meet.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "for the OpenAPI file")]
pub(crate) enum Problems {
    /// What was asked makes no sense; `report` shows the place in a query.
    #[response(status = 400, content_type = "application/problem+json")]
    Wrong(#[to_schema] Problem),
    /// No token, or one that nobody knows.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] Problem),
    /// Who asks may not have this.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] Problem),
    /// Asked more often than one may.
    #[response(status = 429, content_type = "application/problem+json")]
    TooOften(#[to_schema] Problem),
    /// Too many ask at the same time, or the Kubernetes API server does not tell who may ask.
    #[response(status = 503, content_type = "application/problem+json")]
    Busy(#[to_schema] Problem),
    /// It took too long.
    #[response(status = 504, content_type = "application/problem+json")]
    Timeout(#[to_schema] Problem),
}
