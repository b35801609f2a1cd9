//! Changes of policies for those who ask the server.

use netverdict_query::ask::{Ask, Want};
use netverdict_query::{moment, parse};
use netverdict_server::{Asker, Refusal, WhatifRequest};
use netverdict_types::{Clock, SystemClock, Timestamp};
use netverdict_whatif::{Pair, Recorded};
use serde_json::Value;

use crate::compile;
use crate::whatif::recorded::Pages;
use crate::whatif::tried;

/// Judges what was recorded under other policies.
pub(super) struct Tries {
    /// Where the objects of today are, if that is known.
    today: Option<compile::Inputs>,
}

impl Tries {
    pub(super) fn new(today: Option<compile::Inputs>) -> Self {
        Self { today }
    }

    /// Whose connections are asked about.
    ///
    /// # Errors
    /// If the question makes no sense, or the store fails.
    pub(super) async fn pairs(
        &self,
        question: &WhatifRequest,
        asker: &Asker,
    ) -> Result<Vec<Pair>, Refusal> {
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
        let mut pages = Pages::new(ask);
        while let Some(ask) = pages.next() {
            let page = asker.connections(ask).await;
            let page = page.map_err(|error| Refusal::Fault(error.to_string()))?;
            pages.take(&page, &mut recorded);
        }
        Ok(recorded.pairs())
    }

    /// What changes for them.
    ///
    /// # Errors
    /// If the policies make no sense or are others', or those of today cannot be read.
    pub(super) fn judge(
        &self,
        policies: &str,
        remove: &[String],
        pairs: &[Pair],
        asker: &Asker,
    ) -> Result<Value, Refusal> {
        match &self.today {
            Some(today) => tried(today, policies, remove, pairs, asker),
            None => Ok(Value::Null),
        }
    }
}

/// In nanoseconds.
const DAY: i64 = 86_400 * 1_000_000_000;
