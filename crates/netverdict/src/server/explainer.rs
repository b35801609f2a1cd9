//! Explanations for those who ask the server.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use netverdict_query::moment;
use netverdict_server::{Asker, ExplainRequest, Isolation, KnownPolicy, PolicyName, Refusal};
use netverdict_types::{Clock, SystemClock, Timestamp};
use serde_json::{Value, json};

use crate::compile;
use crate::exit::Done;
use crate::explain::{Asked, Untold};
use crate::twin::{Inputs, Twin};

use super::past::Past;
use super::seen::seen;
use super::written;

/// Asks the twin of the rows that are in force.
pub(crate) struct Explainer {
    inputs: Inputs,
    /// Where the rules of databases are written, if that is known.
    today: Option<compile::Inputs>,
    loaded: Mutex<Option<Loaded>>,
}

/// The rows as of a revision.
struct Loaded {
    revision: u64,
    at: Instant,
    twin: Twin,
}

/// Rows are not read more often than this: a large database is a while on its way.
const PAUSE: Duration = Duration::from_secs(5);

impl Explainer {
    /// Asks these rows. Where they are those of databases, the objects of `today` say where rules are written.
    pub(crate) fn new(inputs: Inputs, today: Option<compile::Inputs>) -> Self {
        Self {
            inputs,
            today,
            loaded: Mutex::default(),
        }
    }

    /// An explanation, as `asker` may see it. `revision` counts up as rows change; `past` tells what
    /// has changed since the time of the question.
    ///
    /// # Errors
    /// If the question makes no sense, is about others, or the rows do not tell or cannot be read.
    pub(crate) fn explain(
        &self,
        question: &ExplainRequest,
        revision: u64,
        asker: &Asker,
        past: &Past,
    ) -> Result<Value, Refusal> {
        let at = question.at.as_deref().map(time).transpose()?;
        let wrong = |name: &str| {
            let name = name.to_owned();
            move |error: String| Refusal::Wrong(format!("{name}: {error}"))
        };
        let port = question.port.as_deref().map(str::parse).transpose();
        let asked = Asked {
            from: question.from.parse().map_err(wrong("from"))?,
            to: question.to.parse().map_err(wrong("to"))?,
            port: port.map_err(wrong("port"))?,
        };
        let past = at.map(|at| (at, past));
        self.with_twin(revision, |twin| told(&asked, twin, asker, past))?
    }

    /// What is known of a policy, as `asker` may see it.
    ///
    /// # Errors
    /// As [`Explainer::explain`].
    pub(crate) fn policy(
        &self,
        name: &PolicyName,
        revision: u64,
        asker: &Asker,
    ) -> Result<KnownPolicy, Refusal> {
        self.with_twin(revision, |twin| written::policy(twin, name, asker))?
    }

    /// Who isolates a pod.
    ///
    /// # Errors
    /// As [`Explainer::explain`].
    pub(crate) fn isolation(&self, pod: &str, revision: u64) -> Result<Isolation, Refusal> {
        self.with_twin(revision, |twin| written::isolation(twin, pod))?
    }

    /// Asks the twin as of now, which is read if it is old.
    fn with_twin<T>(&self, revision: u64, ask: impl FnOnce(&mut Twin) -> T) -> Result<T, Refusal> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = |loaded: &Loaded| loaded.revision == revision || loaded.at.elapsed() < PAUSE;
        if !loaded.as_ref().is_some_and(is_good) {
            let twin = self.inputs.twin_in(self.today.as_ref());
            let twin = twin.map_err(|error| Refusal::Fault(format!("{error:#}")))?;
            *loaded = Some(Loaded {
                revision,
                at: Instant::now(),
                twin,
            });
        }
        match &mut *loaded {
            Some(Loaded { twin, .. }) => Ok(ask(twin)),
            None => Err(Refusal::Fault("the rows are gone".to_owned())),
        }
    }
}

fn time(text: &str) -> Result<Timestamp, Refusal> {
    let now = SystemClock.now();
    moment(text, now).ok_or_else(|| Refusal::Wrong(format!("at: {text:?} is no time")))
}

fn told(
    asked: &Asked,
    twin: &mut Twin,
    asker: &Asker,
    past: Option<(Timestamp, &Past)>,
) -> Result<Value, Refusal> {
    match asked.explain(twin).0 {
        Ok(explanation) => {
            let explanation = match asker.sees_all() {
                true => explanation,
                false => seen(explanation, asker).ok_or_else(of_others)?,
            };
            let fault = |error: serde_json::Error| Refusal::Fault(error.to_string());
            let mut told = serde_json::to_value(&explanation).map_err(fault)?;
            if let Some((at, past)) = past {
                let ends = [&explanation.from, &explanation.to];
                let is_theirs = |namespace: Option<&str>| {
                    let mut ends = ends.iter();
                    let is_near = namespace.is_none()
                        || ends.any(|end| end.namespace.as_deref() == namespace);
                    is_near && asker.sees(namespace)
                };
                let as_of = past.since(at, is_theirs);
                told["as_of"] = json!(as_of);
            }
            Ok(told)
        }
        // Others may be named there.
        Err(_) if !asker.sees_all() => Err(Refusal::Unknown(
            "cannot know: one of the ends is not there, has no such port or is in no such network"
                .to_owned(),
        )),
        Err(Untold { messages, done }) => {
            let message = messages.join("; ");
            Err(match done {
                Done::Usage => Refusal::Wrong(message),
                _ => Refusal::Unknown(message),
            })
        }
    }
}

fn of_others() -> Refusal {
    Refusal::Forbidden(
        "it goes to somebody, or by a rule, in no namespace that you may see".to_owned(),
    )
}
