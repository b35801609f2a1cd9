use axum::Json;
use netverdict_types::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::Scoped;
use crate::cluster::{Counter, SourceState};
use crate::problem::{Problem, Problems};

/// Where connections come from, and what was lost on the way.
#[derive(Serialize, ToSchema)]
pub(crate) struct Sources {
    /// Each source and each further place that counts.
    sources: Vec<SourceState>,
    /// The store.
    store: StoreState,
    /// The live stream.
    live: LiveState,
}

/// How the store stands.
#[derive(Serialize, ToSchema)]
struct StoreState {
    /// Rows kept, updates counted one by one.
    rows: u64,
    /// Bytes on disk.
    bytes: u64,
    /// The oldest connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// The newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// What was lost or set aside.
    losses: Vec<Counter>,
}

/// How the live stream stands.
#[derive(Serialize, ToSchema)]
struct LiveState {
    /// Updates since the start.
    updates: u64,
    /// Who reads them now.
    readers: usize,
}

/// Sources and their losses
#[utoipa::path(get, path = "/sources", operation_id = "sources", tag = "server", responses((status = 200, body = Sources), Problems))]
pub(crate) async fn list(app: Scoped) -> Result<Json<Sources>, Problem> {
    let app = app.whole()?;
    let parts = app.unscoped();
    let state = app.work(async { Ok(parts.store.state().await?) }).await?;
    let losses = state.losses.into_iter().map(|(name, value)| Counter {
        name: name.to_owned(),
        value,
    });
    Ok(Json(Sources {
        sources: parts.cluster.sources(),
        store: StoreState {
            rows: state.rows,
            bytes: state.bytes,
            since: state.span.as_ref().map(|span| span.start),
            until: state.span.as_ref().map(|span| span.end),
            losses: losses.collect(),
        },
        live: LiveState {
            updates: parts.live.next(),
            readers: parts.live.readers(),
        },
    }))
}
