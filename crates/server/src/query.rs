use axum::Json;
use netverdict_query::{Completion, CompletionKind, Field as Asked, Grammar, Name, complete_with};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::Scoped;
use crate::params::Params;
use crate::problem::{Problem, Problems};

/// Where the cursor stands.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Cursor {
    /// The query so far.
    #[param(max_length = 65536)]
    q: String,
    /// The place in it, in bytes; its end if it is not given.
    cursor: Option<usize>,
}

/// What could stand at the cursor.
#[derive(Serialize, ToSchema)]
pub(crate) struct Completions {
    /// The pieces of text, the likeliest first.
    items: Vec<Piece>,
}

/// A piece of text that could stand at the cursor.
#[derive(Serialize, ToSchema)]
struct Piece {
    /// The first byte of the query that it replaces.
    from: usize,
    /// Behind the last.
    to: usize,
    /// What to put there.
    text: String,
    /// `field`, `operator`, `keyword` or `value`.
    kind: &'static str,
    /// What it means, in a few words.
    #[serde(skip_serializing_if = "str::is_empty")]
    about: &'static str,
}

impl From<Completion> for Piece {
    fn from(completion: Completion) -> Self {
        Self {
            from: completion.range.start,
            to: completion.range.end,
            text: completion.text,
            kind: match completion.kind {
                CompletionKind::Field => "field",
                CompletionKind::Operator => "operator",
                CompletionKind::Keyword => "keyword",
                CompletionKind::Value => "value",
            },
            about: completion.about,
        }
    }
}

/// Completes a query
#[utoipa::path(get, path = "/complete", operation_id = "complete", tag = "queries", params(Cursor), responses((status = 200, body = Completions), Problems))]
pub(crate) async fn completions(
    app: Scoped,
    Params(cursor): Params<Cursor>,
) -> Result<Json<Completions>, Problem> {
    let place = cursor.cursor.unwrap_or(cursor.q.len());
    if !cursor.q.is_char_boundary(place) {
        return Err(Problem::parameter(
            "cursor",
            "is behind the query's end or within a character",
        ));
    }
    let known = |name: &Name, begun: &str| values(&app, name, begun);
    let items = complete_with(&cursor.q, place, Grammar::Question, known);
    Ok(Json(Completions {
        items: items.into_iter().map(Piece::from).collect(),
    }))
}

/// Names that are proposed at once.
const PROPOSED: usize = 50;

/// Names of the cluster that a field may have, those that begin so.
fn values(app: &Scoped, name: &Name, begun: &str) -> Vec<String> {
    let Some((space, field)) = name.targets.first() else {
        return Vec::new();
    };
    let field = match field {
        Asked::Egress(half) | Asked::Ingress(half) => half.shared(),
        field => *field,
    };
    let named = |namespace: Option<String>, name: Option<String>| match (space, namespace) {
        (Some(_), Some(namespace)) => name.map(|name| format!("{namespace}/{name}")),
        _ => name,
    };
    let workloads = || app.workloads().into_iter();
    let owners = || app.rules().into_iter().map(|rule| rule.owner);
    let found: Vec<Option<String>> = match field {
        Asked::SrcNamespace | Asked::DstNamespace | Asked::ServiceNamespace => {
            workloads().map(|it| it.namespace).collect()
        }
        Asked::SrcPod | Asked::DstPod => workloads()
            .filter(|it| it.kind == "pod")
            .map(|it| named(it.namespace, it.name))
            .collect(),
        Asked::ServiceName => workloads()
            .filter(|it| it.kind == "service")
            .map(|it| named(it.namespace, it.name))
            .collect(),
        Asked::SrcName | Asked::DstName => workloads().map(|it| it.name).collect(),
        Asked::SrcNode | Asked::DstNode | Asked::Node => workloads().map(|it| it.node).collect(),
        Asked::OwnerNamespace => owners().map(|owner| owner.namespace).collect(),
        Asked::OwnerName => owners()
            .map(|owner| named(owner.namespace, owner.name))
            .collect(),
        _ => Vec::new(),
    };
    let mut found: Vec<String> = found.into_iter().flatten().collect();
    found.retain(|value| value.starts_with(begun));
    found.sort_unstable();
    found.dedup();
    found.truncate(PROPOSED);
    found
}

/// What queries may ask about.
#[derive(Serialize, ToSchema)]
pub(crate) struct Fields {
    /// By alphabet.
    items: Vec<Field>,
}

/// A name that a query may use.
#[derive(Serialize, ToSchema)]
struct Field {
    /// The name.
    name: &'static str,
    /// Other spellings.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    aliases: &'static [&'static str],
    /// What it is.
    about: &'static str,
    /// What may stand behind it.
    operators: Vec<&'static str>,
    /// The values that exist, where they are a closed set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<&'static str>,
}

/// What queries may ask about
#[utoipa::path(get, path = "/fields", tag = "queries", responses((status = 200, body = Fields)))]
pub(crate) async fn fields() -> Json<Fields> {
    let field = |name: &Name| Field {
        name: name.name,
        aliases: name.aliases,
        about: name.about,
        operators: name.kind.operators().iter().map(|it| it.as_str()).collect(),
        values: name.kind.values(),
    };
    Json(Fields {
        items: Name::all().iter().map(field).collect(),
    })
}
