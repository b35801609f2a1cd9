use axum::Json;
use netverdict_query::ask::{Cell, Groups, Measure, Want};
use netverdict_query::{Field, Kind, Question};
use netverdict_types::{ConnectionId, TcpFlags, Timestamp};
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
    /// The lines, in the order asked for. Times are RFC 3339 text, protocols names where they have one, TCP flags words, shares numbers from 0 to 1, durations nanoseconds; null where there is nothing.
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
    let fields = fields(&groups);
    let lines = answer.lines.iter();
    let lines = lines.map(|line| {
        line.iter()
            .zip(&fields)
            .map(|(cell, field)| json(cell, *field))
    });
    Ok(Json(Aggregates {
        columns: answer.columns,
        lines: lines.map(Iterator::collect).collect(),
        total: answer.total,
        since: range.since,
        until: range.until,
    }))
}

/// Of which field each column has values; `None` for counts and sums.
fn fields(groups: &Groups) -> Vec<Option<Field>> {
    let bucket = groups.every.map(|_| Some(Field::Time));
    let values = groups.by.iter().copied().map(Some);
    let measures = groups.measures.iter().map(|measure| match measure {
        Measure::Min(field) | Measure::Max(field) => Some(*field),
        Measure::Count | Measure::Sum(_) | Measure::Distinct(..) => None,
    });
    bucket.into_iter().chain(values).chain(measures).collect()
}

/// A value as a connection's JSON has it, by its field.
fn json(cell: &Cell, field: Option<Field>) -> Value {
    match (cell, field.map(Field::kind)) {
        (Cell::Missing, _) => Value::Null,
        (Cell::Bool(truth), _) => (*truth).into(),
        (Cell::Number(nanos), Some(Kind::Time)) => Timestamp(*nanos).to_string().into(),
        (Cell::Number(millionths), Some(Kind::Fraction)) => (*millionths as f64 / 1e6).into(),
        (Cell::Number(number), Some(Kind::Protocol)) => protocol(*number).into(),
        (Cell::Number(bits), Some(Kind::TcpFlags)) => TcpFlags(*bits as u8).to_string().into(),
        (Cell::Number(number), _) => (*number).into(),
        (Cell::Text(text), _) => (**text).into(),
        (Cell::Ip(ip), _) => ip.to_string().into(),
        (Cell::Uuid(id), _) if field == Some(Field::Id) => {
            ConnectionId(id.as_u128()).to_string().into()
        }
        (Cell::Uuid(uuid), _) => uuid.to_string().into(),
    }
}
