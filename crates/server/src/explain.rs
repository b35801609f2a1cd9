use axum::Json;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::Scoped;
use crate::cluster::{ExplainRequest, Refusal, WhatifRequest};
use crate::params::Body;
use crate::problem::{Problem, Problems};

/// An explanation; docs/explanation.schema.json describes its parts.
#[derive(ToSchema)]
#[schema(value_type = Object)]
#[allow(dead_code, reason = "for the OpenAPI file")]
pub(crate) struct Explanation(Value);

/// Why a connection would be let through or not
///
/// Every ACL on the way in both directions, what came closest, and the smallest fix: docs/explanation.schema.json. Tenants ask between their namespaces, and are
/// told of their policies and those without a namespace (docs/security.md).
#[utoipa::path(
    post, path = "/explain", tag = "policies",
    request_body = ExplainRequest,
    responses(
        (status = 200, body = Explanation, description = "The explanation"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "The body is too large"),
        (status = 415, body = Problem, content_type = "application/problem+json", description = "The body is no JSON"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "What was given does not tell"),
        Problems
    )
)]
pub(crate) async fn explain(
    app: Scoped,
    Body(question): Body<ExplainRequest>,
) -> Result<Json<Value>, Problem> {
    app.explain(question).await.map(Json)
}

/// What other policies would change
///
/// Recorded connections that would be dropped or allowed under other policies. Tenants give policies of their namespaces, and are told of their connections
/// (docs/security.md).
#[utoipa::path(
    post, path = "/whatif", tag = "policies",
    request_body = WhatifRequest,
    responses(
        (status = 200, body = Object, description = "What changes"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "The body is too large"),
        (status = 415, body = Problem, content_type = "application/problem+json", description = "The body is no JSON"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "What was given does not tell"),
        Problems
    )
)]
pub(crate) async fn whatif(
    app: Scoped,
    Body(question): Body<WhatifRequest>,
) -> Result<Json<Value>, Problem> {
    app.whatif(question).await.map(Json)
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown(what) => Self::unknown(what),
            Refusal::Wrong(what) => Self::parameter("question", what),
            Refusal::Forbidden(what) => Self::forbidden(what),
            Refusal::Mistaken(what, mistakes) => Self::mistaken(what, mistakes),
            Refusal::NotHere(what) => Self::not_here(what),
            Refusal::Fault(what) => Self::fault(&std::io::Error::other(what)),
        }
    }
}
