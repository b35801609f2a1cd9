use std::sync::Arc;

use axum::Json;
use axum::extract::Path;
use netverdict_query::ask::{Cursor, Want};
use netverdict_query::parse;
use netverdict_types::{Connection, Timestamp};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::app::Scoped;
use crate::params::{Paging, Params, Place, Range, Which};
use crate::problem::{Problem, Problems};

/// A connection; docs/connection.schema.json describes its parts.
#[derive(ToSchema)]
#[schema(as = Connection, value_type = Object)]
pub(crate) struct Row(pub(crate) Arc<Connection>);

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Some connections, and where to go on.
#[derive(Serialize, ToSchema)]
pub(crate) struct Page {
    /// The connections, those that ended last first.
    items: Vec<Row>,
    /// Give this as `after` for the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// The time that was asked about.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// Its end.
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
}

/// Connections
///
/// Those that match and went on within the time, both directions and both verdicts in one row, the one that ended last first.
#[utoipa::path(
    get, path = "/connections", operation_id = "connections", tag = "connections",
    params(Which, Paging),
    responses((status = 200, body = Page), Problems)
)]
pub(crate) async fn list(
    app: Scoped,
    Params(which): Params<Which>,
    Params(paging): Params<Paging>,
) -> Result<Json<Page>, Problem> {
    let limit = paging.limit(&app, 100)?;
    let query = which.query()?;
    let (range, after) = match &paging.after {
        None => (which.range(&app)?, None),
        Some(text) => {
            let place = Place::parse(text)?;
            (place.range.checked(&app)?, Some(place.cursor))
        }
    };
    // One more tells whether there is a next page.
    let want = Want::Rows {
        limit: limit + 1,
        after,
    };
    let mut rows = app.connections(range.ask(&query, want)).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| more).map(|row| place(row, range));
    Ok(Json(Page {
        next: last.map(|place| place.text()),
        items: rows.into_iter().map(Row).collect(),
        since: range.since,
        until: range.until,
    }))
}

/// Where a row stands in the order.
pub(crate) fn place(row: &Connection, range: Range) -> Place {
    Place {
        cursor: Cursor {
            end: row.end,
            id: row.id.0,
        },
        range,
    }
}

/// One connection
#[utoipa::path(
    get, path = "/connections/{id}", operation_id = "connection", tag = "connections",
    params(("id" = String, Path, description = "The connection's `id`")),
    responses(
        (status = 200, body = Row),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is no such connection"),
        Problems
    )
)]
pub(crate) async fn one(
    app: Scoped,
    path: Result<Path<uuid::Uuid>, axum::extract::rejection::PathRejection>,
) -> Result<Json<Row>, Problem> {
    let Path(id) = path?;
    let all = Range {
        since: Timestamp::MIN,
        until: Timestamp::MAX,
        now: app.clock().now(),
    };
    let want = Want::Rows {
        limit: 1,
        after: None,
    };
    let query = parse(&format!("id={id}"))?;
    let found = app.connections(all.ask(&query, want)).await?;
    match found.into_iter().next() {
        Some(row) => Ok(Json(Row(row))),
        None => Err(Problem::missing(format!("there is no connection {id}"))),
    }
}
