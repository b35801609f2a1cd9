use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use netverdict_query::ask::{Cell, Want, row, row_columns, row_fields};
use netverdict_query::{Kind, Query};
use netverdict_types::Connection;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::app::Scoped;
use crate::cluster::Encode;
use crate::connections::place;
use crate::params::{Params, Place, Range, Which};
use crate::problem::{Problem, Problems};

/// In which form.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct As {
    /// `csv`: a heading and a line for each connection. `jsonl`: one JSON object a line. `parquet`.
    #[param(inline)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Csv,
    Jsonl,
    Parquet,
}

/// Export
///
/// All connections that match, as a file. It is a broken transfer, without its end, where the store fails underway or more match than may be exported at once.
#[utoipa::path(
    get, path = "/export", tag = "connections",
    params(Which, As),
    responses(
        (status = 200, description = "The file", content(
            (String = "text/csv"),
            (String = "application/jsonl"),
            (Vec<u8> = "application/vnd.apache.parquet")
        )),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "This form is not built in"),
        Problems
    )
)]
pub(crate) async fn export(
    app: Scoped,
    Params(which): Params<Which>,
    Params(wanted): Params<As>,
) -> Result<Response, Problem> {
    let (encoder, kind): (Box<dyn Encode>, _) = match wanted.format {
        Format::Csv => (
            Box::new(Csv::default()),
            "text/csv; charset=utf-8; header=present",
        ),
        Format::Jsonl => (Box::new(Lines), "application/jsonl"),
        Format::Parquet => {
            let begin = app
                .parquet()
                .ok_or_else(|| Problem::not_here("Parquet is not built into this server"))?;
            let encoder = begin().map_err(|error| Problem::fault(&error))?;
            (encoder, "application/vnd.apache.parquet")
        }
    };
    let mut file = File {
        query: which.query()?,
        range: which.range(&app)?,
        left: app.limits().export,
        app,
        after: None,
        encoder: Some(encoder),
    };
    // The first page tells whether the question can be answered at all.
    let first = file.page().await?;
    let rest = stream::unfold(file, async |mut file| {
        let page = match file.page().await {
            Ok(page) => Ok(page?),
            Err(problem) => {
                tracing::error!("an export broke off: {}", problem.detail());
                // What is there so far goes out first.
                tokio::task::yield_now().await;
                Err(io::Error::other(problem.detail().to_owned()))
            }
        };
        Some((page, file))
    });
    let first = stream::iter(first.map(Ok));
    let body = Body::from_stream(futures_util::StreamExt::chain(first, rest));
    let extension = match wanted.format {
        Format::Csv => "csv",
        Format::Jsonl => "jsonl",
        Format::Parquet => "parquet",
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let name = format!("attachment; filename=\"connections.{extension}\"");
    if let Ok(name) = HeaderValue::try_from(name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// A file under way.
struct File {
    app: Scoped,
    query: Query,
    range: Range,
    after: Option<Place>,
    /// How many rows may still come.
    left: u64,
    /// `None` where all is told.
    encoder: Option<Box<dyn Encode>>,
}

impl File {
    /// The next bytes; `None` at the end.
    async fn page(&mut self) -> Result<Option<Vec<u8>>, Problem> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(None);
        };
        let limit = self.app.limits().page;
        let want = Want::Rows {
            limit,
            after: self.after.map(|place| place.cursor),
        };
        let ask = self.range.ask(&self.query, want);
        self.app.renew().await?;
        let mut rows = self.app.connections(ask).await?;
        let is_last = rows.len() < limit;
        if self.left == 0 && !rows.is_empty() {
            return Err(Problem::parameter(
                "q",
                format_args!(
                    "lets through more than {} connections: ask for a shorter time",
                    self.app.limits().export
                ),
            ));
        }
        let is_whole = rows.len() as u64 <= self.left;
        rows.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= rows.len() as u64;
        self.after = rows.last().map(|last| place(last, self.range));
        let fault = |error: io::Error| Problem::fault(&error);
        let mut bytes = encoder.rows(&rows).map_err(fault)?;
        if is_last
            && is_whole
            && let Some(encoder) = self.encoder.take()
        {
            bytes.extend(encoder.end().map_err(fault)?);
        }
        Ok(Some(bytes))
    }
}

/// One JSON object a line.
struct Lines;

impl Encode for Lines {
    fn rows(&mut self, rows: &[Arc<Connection>]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut bytes, &**row)?;
            bytes.push(b'\n');
        }
        Ok(bytes)
    }

    fn end(self: Box<Self>) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

/// RFC 4180, with the fields of the query language for columns, in the order of [`row_columns`].
#[derive(Default)]
struct Csv {
    begun: bool,
}

impl Encode for Csv {
    fn rows(&mut self, rows: &[Arc<Connection>]) -> io::Result<Vec<u8>> {
        let mut text = String::new();
        let columns = row_columns();
        if !std::mem::replace(&mut self.begun, true) {
            text.push_str(&columns.join(","));
            text.push_str("\r\n");
        }
        for connection in rows {
            text.push_str(&connection.id.to_string());
            let cells = row(&**connection).into_iter().skip(1);
            for (cell, field) in cells.zip(row_fields()) {
                text.push(',');
                write_cell(&mut text, &cell, field.kind());
            }
            text.push_str("\r\n");
        }
        Ok(text.into_bytes())
    }

    fn end(self: Box<Self>) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

/// A value as queries write it. A text that a spreadsheet would take for a formula gets `'` before it.
fn write_cell(out: &mut String, cell: &Cell, kind: Kind) {
    let value = cell.text(kind);
    let is_text = matches!(cell, Cell::Text(_));
    let is_formula = is_text && value.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let mark = if is_formula { "'" } else { "" };
    match value.contains(['"', ',', '\r', '\n']) {
        true => {
            out.push('"');
            out.push_str(mark);
            out.push_str(&value.replace('"', "\"\""));
            out.push('"');
        }
        false => {
            out.push_str(mark);
            out.push_str(&value);
        }
    }
}
