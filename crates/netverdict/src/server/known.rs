//! What the server's API tells beside connections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use netverdict_history::Role;
use netverdict_server::{
    Asker, Cluster, Counter, ExplainRequest, Health, Isolation, KnownPolicy, KnownRule, PolicyName,
    Refusal, SourceState, WhatifRequest, Workload,
};
use netverdict_source::Counts;
use netverdict_types::{EndpointKind, Unresolved};
use serde_json::Value;

use crate::engine::Engine;
use crate::session::Glance;

use super::checkup::Checkup;
use super::explainer::Explainer;
use super::past::Past;
use super::tried::Tries;

/// What is known now, as of the last look.
pub(crate) struct Known {
    seen: Mutex<Seen>,
    explainer: Arc<Explainer>,
    tries: Arc<Tries>,
    checkup: Arc<Checkup>,
    /// Explanations come one by one: each may take a whole core for a while.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Seen {
    ready: bool,
    /// What the rules were read from, and how many names there were.
    version: Option<(u64, usize, usize)>,
    rules: Vec<KnownRule>,
    past: Arc<Past>,
    workloads: Vec<Workload>,
    sources: Vec<(String, Arc<dyn Counts>)>,
    counts: Vec<(&'static str, Vec<(&'static str, u64)>)>,
    agents: Vec<SourceState>,
}

impl Known {
    /// Nothing yet; questions are for the others.
    pub(super) fn new(explainer: Explainer, tries: Tries, checkup: Checkup) -> Self {
        Self {
            seen: Mutex::default(),
            explainer: Arc::new(explainer),
            tries: Arc::new(tries),
            checkup: Arc::new(checkup),
            turn: Arc::default(),
        }
    }

    /// Looks at what a run knows.
    pub(crate) fn look(
        &self,
        glance: Glance<'_>,
        flow: Vec<(&'static str, u64)>,
        agents: Vec<SourceState>,
    ) {
        let engine = glance.engine;
        let history = engine.history().counts();
        let version = (history.revisions, history.alive, engine.names().len());
        let is_new = self.seen().version != Some(version);
        let news = is_new.then(|| {
            let past = Past::of(engine.history());
            (rules(engine), Arc::new(past), workloads(engine))
        });
        let counts = vec![
            ("decisions", decisions(engine)),
            ("connections", flow),
            (
                "history",
                vec![
                    ("gaps", history.gaps),
                    ("forgotten", history.forgotten),
                    ("damaged", history.damaged),
                    ("bad_rows", history.bad_rows + engine.names().bad_rows()),
                ],
            ),
        ];
        let mut seen = self.seen();
        if let Some((rules, past, workloads)) = news {
            seen.rules = rules;
            seen.past = past;
            seen.workloads = workloads;
            seen.version = Some(version);
        }
        seen.sources = glance.sources.to_vec();
        seen.counts = counts;
        seen.agents = agents;
        seen.ready = true;
    }

    /// Asks about the rows as they are now.
    fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Explainer, u64) -> Result<T, Refusal> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Refusal>> {
        async move {
            let turn = self.turn.clone().lock_owned().await;
            let explainer = self.explainer.clone();
            let revision = self.seen().version.map_or(0, |(revision, ..)| revision);
            let asking = tokio::task::spawn_blocking(move || {
                // Who asked may have gone meanwhile; the turn ends with the work.
                let _turn = turn;
                ask(&explainer, revision)
            });
            let fault = |error: tokio::task::JoinError| Err(Refusal::Fault(error.to_string()));
            asking.await.unwrap_or_else(fault)
        }
        .boxed()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster for Known {
    fn rules(&self) -> Vec<KnownRule> {
        self.seen().rules.clone()
    }

    fn workloads(&self) -> Vec<Workload> {
        self.seen().workloads.clone()
    }

    fn sources(&self) -> Vec<SourceState> {
        let seen = self.seen();
        let sources = seen.sources.iter();
        let sources = sources.map(|(name, counts)| state(name, counts.counts()));
        let others = seen.counts.iter();
        let others = others.map(|(name, counts)| state(name, counts.clone()));
        let agents = seen.agents.iter().cloned();
        sources.chain(others).chain(agents).collect()
    }

    fn health(&self) -> BoxFuture<'_, Result<Health, Refusal>> {
        self.checkup.clone().health().boxed()
    }

    fn is_ready(&self) -> bool {
        self.seen().ready
    }

    fn explain(
        &self,
        question: ExplainRequest,
        asker: Asker,
    ) -> BoxFuture<'_, Result<Value, Refusal>> {
        let past = self.seen().past.clone();
        self.ask(move |explainer, revision| explainer.explain(&question, revision, &asker, &past))
    }

    fn policy(
        &self,
        name: PolicyName,
        asker: Asker,
    ) -> BoxFuture<'_, Result<KnownPolicy, Refusal>> {
        self.ask(move |explainer, revision| explainer.policy(&name, revision, &asker))
    }

    fn isolation(&self, pod: String) -> BoxFuture<'_, Result<Isolation, Refusal>> {
        self.ask(move |explainer, revision| explainer.isolation(&pod, revision))
    }

    fn whatif(
        &self,
        question: WhatifRequest,
        asker: Asker,
    ) -> BoxFuture<'_, Result<Value, Refusal>> {
        async move {
            let pairs = self.tries.pairs(&question, &asker).await?;
            let turn = self.turn.clone().lock_owned().await;
            let tries = self.tries.clone();
            let judging = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                tries.judge(&question.policies, &question.remove, &pairs, &asker)
            });
            let fault = |error: tokio::task::JoinError| Err(Refusal::Fault(error.to_string()));
            judging.await.unwrap_or_else(fault)
        }
        .boxed()
    }
}

fn state(name: &str, counts: Vec<(&'static str, u64)>) -> SourceState {
    let counters = counts.into_iter().map(|(name, value)| Counter {
        name: name.to_owned(),
        value,
    });
    SourceState {
        name: name.to_owned(),
        counters: counters.collect(),
    }
}

fn decisions(engine: &Engine) -> Vec<(&'static str, u64)> {
    let counts = engine.counts();
    let mut all = vec![
        ("samples", counts.samples),
        ("resolved", counts.resolved),
        ("unresolved", counts.unresolved_total()),
        ("ambiguous", counts.ambiguous),
        ("doubles", counts.doubles),
        ("connections_displaced", counts.connections_displaced),
    ];
    let reasons = Unresolved::ALL.iter().zip(counts.unresolved);
    all.extend(reasons.map(|(reason, count)| (reason.as_str(), count)));
    all
}

/// ACLs in force; those of one rule as one.
fn rules(engine: &Engine) -> Vec<KnownRule> {
    let history = engine.history();
    let mut rules: BTreeMap<String, KnownRule> = BTreeMap::new();
    for (zone, name) in history.zones() {
        for span in history.alive(zone) {
            let row = span.row();
            let owner = &row.acl().owner;
            let sampled = span.point(Role::New).is_some() || span.point(Role::Est).is_some();
            let rule = rules
                .entry(format!("{owner:?} {:?}", span.action()))
                .or_insert_with(|| KnownRule {
                    owner: owner.clone(),
                    action: span.action(),
                    message: row.message().to_owned(),
                    zones: Vec::new(),
                    sampled: true,
                    since: span.from(),
                });
            if rule.zones.last().is_none_or(|last| last != name) {
                rule.zones.push(name.to_owned());
            }
            rule.sampled &= sampled;
            rule.since = rule.since.min(span.from());
        }
    }
    rules.into_values().collect()
}

/// Everybody with a name.
fn workloads(engine: &Engine) -> Vec<Workload> {
    let named = engine.names().all().filter(|(_, _, endpoint)| {
        matches!(
            endpoint.kind,
            EndpointKind::Pod | EndpointKind::Port | EndpointKind::Node | EndpointKind::Service
        )
    });
    let all: BTreeSet<Workload> = named
        .map(|(_, _, endpoint)| Workload {
            namespace: endpoint.namespace.clone(),
            kind: endpoint.kind.as_str().to_owned(),
            name: endpoint.name.clone(),
            node: endpoint.node.clone(),
        })
        .collect();
    all.into_iter().collect()
}
