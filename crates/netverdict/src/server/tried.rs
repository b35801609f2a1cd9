//! Changes of policies for those who ask the server.

use std::sync::Arc;

use netverdict_query::ask::{Ask, Want};
use netverdict_query::{moment, parse};
use netverdict_server::{Refusal, WhatifRequest};
use netverdict_store::Store;
use netverdict_types::{Clock, SystemClock, Timestamp};
use netverdict_whatif::{Pair, Recorded};
use serde_json::Value;

use crate::compile;
use crate::whatif::{recorded, tried};

/// Judges what the store has under other policies.
pub(super) struct Tries {
    store: Arc<dyn Store>,
    /// Where the objects of today are, if that is known.
    today: Option<compile::Inputs>,
}

impl Tries {
    pub(super) fn new(store: Arc<dyn Store>, today: Option<compile::Inputs>) -> Self {
        Self { store, today }
    }

    /// Whose connections are asked about.
    ///
    /// # Errors
    /// If the question makes no sense, or the store fails.
    pub(super) async fn pairs(&self, question: &WhatifRequest) -> Result<Vec<Pair>, Refusal> {
        if self.today.is_none() {
            let what = "the labels of pods are not known: start the server with --manifests or --kubeconfig";
            return Err(Refusal::NotHere(what.to_owned()));
        }
        let now = SystemClock.now();
        let time = |name: &str, text: &Option<String>, default: Timestamp| match text {
            None => Ok(default),
            Some(text) => moment(text, now)
                .ok_or_else(|| Refusal::Wrong(format!("{name}: {text:?} is no time"))),
        };
        let query = parse(question.q.as_deref().unwrap_or_default());
        let query = query.map_err(|error| Refusal::Wrong(error.report().to_string()))?;
        let until = time("until", &question.until, now.after(1))?;
        let ask = Ask {
            since: time("since", &question.since, until.min(now).before(DAY))?,
            until,
            filter: query.plan(now),
            want: Want::Rows {
                limit: 0,
                after: None,
            },
        };
        let mut recorded = Recorded::default();
        recorded::of_store(&*self.store, ask, &mut recorded)
            .await
            .map_err(|error| Refusal::Fault(error.to_string()))?;
        Ok(recorded.pairs())
    }

    /// What changes for them.
    ///
    /// # Errors
    /// If the policies make no sense, or those of today cannot be read.
    pub(super) fn judge(&self, policies: &str, pairs: &[Pair]) -> Result<Value, Refusal> {
        match &self.today {
            Some(today) => tried(today, policies, pairs),
            None => Ok(Value::Null),
        }
    }
}

/// In nanoseconds.
const DAY: i64 = 86_400 * 1_000_000_000;
