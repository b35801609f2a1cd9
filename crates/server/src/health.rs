use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use netverdict_types::causes;

use crate::app::{App, Scoped};
use crate::cluster::Health;
use crate::problem::{Problem, Problems};

/// How each zone is sampled, and what doctor finds
#[utoipa::path(get, path = "/health", operation_id = "health", tag = "server", responses((status = 200, body = Health), Problems))]
pub(crate) async fn health(app: Scoped) -> Result<Json<Health>, Problem> {
    let app = app.whole()?;
    let cluster = &app.unscoped().cluster;
    let health = app.work(async { Ok(cluster.health().await?) }).await?;
    Ok(Json(health))
}

/// Whether the process lives
#[utoipa::path(get, path = "/healthz", operation_id = "healthz", tag = "server", responses((status = 200, body = String, content_type = "text/plain", description = "It lives")))]
pub(crate) async fn lives() -> &'static str {
    "ok\n"
}

/// Whether questions are answered
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz", tag = "server",
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "Policies, sources and the store are there"),
        (status = 503, body = String, content_type = "text/plain", description = "What is missing")
    )
)]
pub(crate) async fn ready(State(app): State<App>) -> (StatusCode, String) {
    if !app.unscoped().cluster.is_ready() {
        let waiting = "waiting for policies and sources\n".to_owned();
        return (StatusCode::SERVICE_UNAVAILABLE, waiting);
    }
    match app.unscoped().store.state().await {
        Ok(_) => (StatusCode::OK, "ok\n".to_owned()),
        Err(error) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the store: {}\n", causes(&error)),
        ),
    }
}
