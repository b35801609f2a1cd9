use axum::Json;
use netverdict_store::State;
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
#[derive(Default, Serialize, ToSchema)]
struct StoreState {
    /// Rows kept, updates counted one by one; missing where the store does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    /// Bytes on disk; missing where the store does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// The oldest connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// The newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Rows that retention removed ever; missing where the store does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<u64>,
    /// What was lost or set aside.
    losses: Vec<Counter>,
    /// Why connections wait to be kept, or why the store does not tell how it stands; missing while all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked: Option<String>,
}

impl From<State> for StoreState {
    fn from(state: State) -> Self {
        let losses = state.losses.into_iter().map(|(name, value)| Counter {
            name: name.to_owned(),
            value,
        });
        Self {
            rows: Some(state.rows),
            bytes: Some(state.bytes),
            since: state.span.as_ref().map(|span| span.start),
            until: state.span.as_ref().map(|span| span.end),
            removed: Some(state.removed),
            losses: losses.collect(),
            blocked: state.blocked,
        }
    }
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
    let store = match app.work(async { Ok(parts.store.state().await?) }).await {
        Ok(state) => state.into(),
        // What is known of the sources is told all the same.
        Err(problem) => StoreState {
            blocked: Some(problem.detail().to_owned()),
            ..StoreState::default()
        },
    };
    Ok(Json(Sources {
        sources: parts.cluster.sources(),
        store,
        live: LiveState {
            updates: parts.live.next(),
            readers: parts.live.readers(),
        },
    }))
}
