use axum::Json;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::Scoped;
use crate::cluster::{Isolation, KnownPolicy, PolicyName};
use crate::params::Params;
use crate::problem::{Problem, Problems};

/// One policy
///
/// Its text with the places of its rules, the pods that it is about, and the ACLs that it was compiled to in each zone. `rules` tells how often each rule decided.
#[utoipa::path(
    get, path = "/policy", tag = "policies", params(PolicyName),
    responses(
        (status = 200, body = KnownPolicy),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "There is no such policy now, or what is known does not tell"),
        Problems
    )
)]
pub(crate) async fn policy(
    app: Scoped,
    Params(name): Params<PolicyName>,
) -> Result<Json<KnownPolicy>, Problem> {
    app.policy(name).await.map(Json)
}

/// Which pod.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Pod {
    /// `namespace/name`.
    #[param(example = "data/search-0", max_length = 600)]
    pod: String,
}

/// What isolates a pod
///
/// The policies that isolate it in each direction, and all that are asked about its packets.
#[utoipa::path(
    get, path = "/isolation", tag = "policies", params(Pod),
    responses(
        (status = 200, body = Isolation),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "There is no such pod in what is known"),
        Problems
    )
)]
pub(crate) async fn isolation(
    app: Scoped,
    Params(Pod { pod }): Params<Pod>,
) -> Result<Json<Isolation>, Problem> {
    app.isolation(pod).await.map(Json)
}
