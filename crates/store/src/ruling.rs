use std::sync::Arc;

use netverdict_types::{
    Acl, DropFlow, Evidence, Fact, Half, Ruling, Timestamp, Unresolved, Verdict,
};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

/// A ruling as engines write it where columns cannot hold it. Unknown words are errors.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RulingJson {
    verdict: Verdict,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acl: Option<Acl>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uuid: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    #[serde(deserialize_with = "evidence")]
    evidence: Evidence,
    #[serde(
        default,
        deserialize_with = "unresolved",
        skip_serializing_if = "Option::is_none"
    )]
    unresolved: Option<Unresolved>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flow: Option<FlowJson>,
}

/// A half as engines write it where columns cannot hold it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HalfJson {
    since: i64,
    zone: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<Box<str>>,
    ruling: RulingJson,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct FlowJson {
    stage: String,
    priority: u16,
    #[serde(rename = "match")]
    matches: String,
    message: Box<str>,
}

impl From<&Ruling> for RulingJson {
    fn from(ruling: &Ruling) -> Self {
        Self {
            verdict: ruling.verdict,
            acl: ruling.fact.as_ref().map(|fact| fact.acl.clone()),
            message: ruling.fact.as_ref().map(|fact| fact.message.clone()),
            uuid: ruling.uuid,
            revision: ruling.revision,
            deleted: ruling.deleted,
            evidence: ruling.evidence,
            unresolved: ruling.unresolved,
            flow: ruling.flow.as_ref().map(|flow| FlowJson {
                stage: flow.stage.clone(),
                priority: flow.priority,
                matches: flow.matches.clone(),
                message: flow.message.clone(),
            }),
        }
    }
}

impl From<RulingJson> for Ruling {
    fn from(json: RulingJson) -> Self {
        let message = json.message;
        let fact = |acl: Acl| {
            let message = message.unwrap_or_else(|| acl.sentence().into());
            Arc::new(Fact { acl, message })
        };
        Self {
            verdict: json.verdict,
            fact: json.acl.map(fact),
            uuid: json.uuid,
            revision: json.revision,
            deleted: json.deleted,
            evidence: json.evidence,
            unresolved: json.unresolved,
            flow: json.flow.map(|flow| {
                Arc::new(DropFlow {
                    stage: flow.stage,
                    priority: flow.priority,
                    matches: flow.matches,
                    message: flow.message,
                })
            }),
        }
    }
}

impl From<&Half> for HalfJson {
    fn from(half: &Half) -> Self {
        Self {
            since: half.since.0,
            zone: (*half.zone).into(),
            node: half.node.as_deref().map(Box::from),
            ruling: (&*half.ruling).into(),
        }
    }
}

impl From<HalfJson> for Half {
    fn from(json: HalfJson) -> Self {
        Self {
            since: Timestamp(json.since),
            zone: json.zone.into(),
            node: json.node.map(Arc::from),
            ruling: Arc::new(json.ruling.into()),
        }
    }
}

fn evidence<'de, D: Deserializer<'de>>(from: D) -> Result<Evidence, D::Error> {
    let word = String::deserialize(from)?;
    Evidence::parse(&word).ok_or_else(|| unknown("evidence", &word))
}

fn unresolved<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Unresolved>, D::Error> {
    let Some(word) = Option::<String>::deserialize(from)? else {
        return Ok(None);
    };
    match Unresolved::parse(&word) {
        Some(reason) => Ok(Some(reason)),
        None => Err(unknown("reason", &word)),
    }
}

fn unknown<E: Error>(what: &str, word: &str) -> E {
    E::custom(format_args!("there is no {what} {word:?}"))
}
