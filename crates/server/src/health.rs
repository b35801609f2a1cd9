use axum::extract::State;
use axum::http::StatusCode;
use netverdict_types::causes;

use crate::app::App;

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
