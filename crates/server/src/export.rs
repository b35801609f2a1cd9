use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use netverdict_query::ask::{Cell, Want, row, row_columns};
use netverdict_query::{Field, Kind, Query};
use netverdict_types::{Connection, Timestamp};
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
/// All connections that match, as a file. It ends early, as a broken transfer, where the store fails underway.
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
        let page = file.page().await.transpose()?;
        let page = page.map_err(|problem| io::Error::other(problem.detail().to_owned()));
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
    left: u64,
    encoder: Option<Box<dyn Encode>>,
}

impl File {
    /// The next bytes; `None` at the end.
    async fn page(&mut self) -> Result<Option<Vec<u8>>, Problem> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(None);
        };
        let limit = self
            .app
            .limits()
            .page
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let want = Want::Rows {
            limit,
            after: self.after.map(|place| place.cursor),
        };
        let ask = self.range.ask(&self.query, want);
        let rows = self.app.connections(ask).await?;
        self.left -= rows.len() as u64;
        self.after = rows.last().map(|last| place(last, self.range));
        let fault = |error: io::Error| Problem::fault(&error);
        let mut bytes = encoder.rows(&rows).map_err(fault)?;
        if (rows.len() < limit || self.left == 0)
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

/// RFC 4180, with the fields of the query language for columns.
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
        let kinds: Vec<Option<Kind>> = std::iter::once(None)
            .chain(netverdict_query::ask::row_fields().map(|field: Field| Some(field.kind())))
            .collect();
        for connection in rows {
            for (number, (cell, kind)) in row(&**connection).iter().zip(&kinds).enumerate() {
                if number > 0 {
                    text.push(',');
                }
                write_cell(&mut text, cell, *kind);
            }
            text.push_str("\r\n");
        }
        Ok(text.into_bytes())
    }

    fn end(self: Box<Self>) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

fn write_cell(out: &mut String, cell: &Cell, kind: Option<Kind>) {
    use std::fmt::Write as _;
    // A String takes everything.
    let _ = match cell {
        Cell::Missing => Ok(()),
        Cell::Bool(truth) => write!(out, "{truth}"),
        Cell::Number(nanos) if kind == Some(Kind::Time) => write!(out, "{}", Timestamp(*nanos)),
        Cell::Number(number) => write!(out, "{number}"),
        Cell::Ip(ip) => write!(out, "{ip}"),
        Cell::Uuid(uuid) => write!(out, "{uuid}"),
        Cell::Text(text) if text.contains(['"', ',', '\r', '\n']) => {
            write!(out, "\"{}\"", text.replace('"', "\"\""))
        }
        Cell::Text(text) => write!(out, "{text}"),
    };
}
