use axum::Json;
use netverdict_query::ask::{Cell, Groups, Measure, Want};
use netverdict_query::{Kind, Question};
use netverdict_types::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::Scoped;
use crate::params::{Params, Which};
use crate::places::protocol;
use crate::problem::{Problem, Problems};

/// A line for each group.
#[derive(Serialize, ToSchema)]
pub(crate) struct Aggregates {
    /// What stands in each column: `time` for a bucket's start, names of fields, measures as the query has them.
    columns: Vec<String>,
    /// The lines, in the order asked for. Times are RFC 3339 text, protocols names where they have one, shares numbers from 0 to 1, durations nanoseconds; null where there is nothing.
    #[schema(value_type = Vec<Vec<Object>>)]
    lines: Vec<Vec<Value>>,
    /// How many groups there were, those beyond `top` among them.
    total: u64,
    /// The time that was asked about.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// Its end.
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
}

/// Buckets of time that an answer may have.
const BUCKETS: i64 = 20_000;

/// Aggregates
///
/// `q` says behind `|` what to tell: `verdict=dropped | count, sum(dropped.packets) by policy every 1m top 5` (docs/query-language.md).
#[utoipa::path(get, path = "/aggregates", tag = "connections", params(Which), responses((status = 200, body = Aggregates), Problems))]
pub(crate) async fn aggregates(
    app: Scoped,
    Params(which): Params<Which>,
) -> Result<Json<Aggregates>, Problem> {
    let question = Question::parse(which.q.as_deref().unwrap_or_default())?;
    let range = which.range(&app)?;
    let ask = question.ask(range.now, range.since, range.until);
    let Want::Groups(groups) = ask.want.clone() else {
        return Err(Problem::parameter(
            "q",
            "asks for rows; say behind | what to tell, as in `verdict=dropped | count by policy`",
        ));
    };
    let most = app.limits().groups;
    if groups.top > most {
        return Err(Problem::parameter(
            "q",
            format_args!("asks for more than {most} groups: write a smaller `top`"),
        ));
    }
    let length = range.until.0.saturating_sub(range.since.0);
    if groups.every.is_some_and(|every| every <= length / BUCKETS) {
        return Err(Problem::parameter(
            "q",
            format_args!("makes more than {BUCKETS} pieces of the time: write a longer `every`"),
        ));
    }
    let answer = app.ask(ask).await?;
    let kinds = kinds(&groups);
    let lines = answer.lines.iter();
    let lines = lines.map(|line| {
        line.iter()
            .zip(&kinds)
            .map(|(cell, kind)| json(cell, *kind))
    });
    Ok(Json(Aggregates {
        columns: answer.columns,
        lines: lines.map(Iterator::collect).collect(),
        total: answer.total,
        since: range.since,
        until: range.until,
    }))
}

/// The type of each column.
fn kinds(groups: &Groups) -> Vec<Option<Kind>> {
    let bucket = groups.every.map(|_| Some(Kind::Time));
    let values = groups.by.iter().map(|field| Some(field.kind()));
    let measures = groups.measures.iter().map(|measure| match measure {
        Measure::Min(field) | Measure::Max(field) => Some(field.kind()),
        Measure::Count | Measure::Sum(_) | Measure::Distinct(..) => None,
    });
    bucket.into_iter().chain(values).chain(measures).collect()
}

/// A value as people expect it, by its type.
fn json(cell: &Cell, kind: Option<Kind>) -> Value {
    match (cell, kind) {
        (Cell::Missing, _) => Value::Null,
        (Cell::Bool(truth), _) => (*truth).into(),
        (Cell::Number(nanos), Some(Kind::Time)) => Timestamp(*nanos).to_string().into(),
        (Cell::Number(millionths), Some(Kind::Fraction)) => (*millionths as f64 / 1e6).into(),
        (Cell::Number(number), Some(Kind::Protocol)) => protocol(*number).into(),
        (Cell::Number(number), _) => (*number).into(),
        (Cell::Text(text), _) => (**text).into(),
        (Cell::Ip(ip), _) => ip.to_string().into(),
        (Cell::Uuid(uuid), _) => uuid.to_string().into(),
    }
}
