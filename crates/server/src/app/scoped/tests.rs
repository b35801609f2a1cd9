#![allow(clippy::unwrap_used, reason = "tests")]

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use netverdict_query::Record as _;
use netverdict_store::Batch;
use netverdict_store::judge::{Naive, Random, ask, batches};
use netverdict_types::SystemClock;
use proptest::prelude::*;

use super::*;
use crate::app::Parts;
use crate::cluster::{Cluster, Health, Refusal, SourceState};
use crate::subject::Namespaces;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Answers are those of a store that has nothing but what the tenant may see.
    #[test]
    fn a_tenant_asks_a_store_of_what_is_theirs(seed: u64) {
        let mut random = Random::new(seed);
        let whole = Arc::new(Naive::default());
        for batch in batches(&mut random, 60) {
            whole.keep(&batch);
        }
        let known = whole.folded();
        let subject = tenant(&mut random, &known);
        let theirs = Naive::default();
        let shown = known.iter().filter_map(|it| subject.shows(Arc::new(it.clone())));
        theirs.keep(&Batch {
            writer: "x".to_owned(),
            number: 1,
            rows: shown.map(Arc::unwrap_or_clone).collect(),
        });
        let scoped = scoped(whole, subject);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for _ in 0..10 {
            let ask = ask(&mut random, &known);
            if ask.check().is_err() {
                continue;
            }
            let answer = runtime.block_on(scoped.ask(ask.clone())).unwrap();
            prop_assert_eq!(answer, theirs.answer(&ask), "{:?}", ask);
            if let Want::Rows { .. } = ask.want {
                let rows = runtime.block_on(scoped.connections(ask.clone())).unwrap();
                let rows: Vec<Connection> = rows.into_iter().map(Arc::unwrap_or_clone).collect();
                prop_assert_eq!(rows, theirs.rows(&ask));
                // What other policies would change is asked of the same.
                let rows = runtime.block_on(scoped.asker().connections(&ask)).unwrap();
                prop_assert_eq!(rows, theirs.rows(&ask));
            }
        }
    }

    /// Of what is another's nothing is left, and of what is theirs, and of the rest, everything.
    #[test]
    fn a_tenant_sees_no_foreign_value(seed: u64) {
        let mut random = Random::new(seed);
        let whole = Naive::default();
        for batch in batches(&mut random, 40) {
            whole.keep(&batch);
        }
        let known = whole.folded();
        let subject = tenant(&mut random, &known);
        for connection in known {
            let is_own = |field| match connection.value(field) {
                netverdict_query::Value::Text(namespace) => subject.shows_namespace(Some(namespace)),
                _ => false,
            };
            let own = [Field::SrcNamespace, Field::DstNamespace, Field::ServiceNamespace].map(is_own);
            let shown = subject.shows(Arc::new(connection.clone()));
            prop_assert_eq!(shown.is_some(), own[0] || own[1]);
            let Some(shown) = shown else { continue };
            for field in Field::all() {
                let side = Side::of(field).and_then(|side| Side::ALL.iter().position(|it| *it == side));
                let expected = match side.is_none_or(|side| own[side]) {
                    true => connection.value(field),
                    false => netverdict_query::Value::Missing,
                };
                prop_assert_eq!(shown.value(field), expected, "{}", field.name());
            }
            for change in &shown.changes {
                prop_assert!(own[usize::from(change.direction == Direction::Ingress)]);
            }
        }
    }
}

#[test]
fn ends_of_explanations_have_namespaces() {
    for (end, expected) in [
        ("shop/catalog-0", Some("shop")),
        ("svc/data/search", Some("data")),
        ("shop/catalog-0@blue/net", Some("shop")),
        ("node/a", None),
        ("10.0.0.1", None),
        ("svc/data", Some("svc")),
        ("a/b/c", None),
        ("", None),
    ] {
        assert_eq!(namespace(end), expected, "{end}");
    }
}

/// Somebody with none, one or two namespaces, of which mostly some are there.
fn tenant(random: &mut Random, known: &[Connection]) -> Subject {
    let mut own = BTreeSet::new();
    for _ in 0..random.below(4) {
        let connection = random.pick(known);
        let of = |end: &Option<Arc<netverdict_types::Endpoint>>| end.as_ref()?.namespace.clone();
        own.extend(match random.below(3) {
            0 => of(&connection.src),
            1 => of(&connection.dst),
            _ => connection
                .service
                .as_ref()
                .and_then(|it| it.namespace.clone()),
        });
    }
    Subject::new("tenant", Namespaces::Only(Arc::new(own)))
}

fn scoped(store: Arc<Naive>, subject: Subject) -> Scoped {
    let app = App::new(Parts {
        store,
        live: Arc::new(Live::new(1)),
        cluster: Arc::new(Nothing),
        clock: Arc::new(SystemClock),
        limits: Limits::default(),
        parquet: None,
    });
    Scoped {
        app,
        subject,
        ticket: None,
    }
}

struct Nothing;

impl Cluster for Nothing {
    fn rules(&self) -> Vec<KnownRule> {
        Vec::new()
    }

    fn workloads(&self) -> Vec<Workload> {
        Vec::new()
    }

    fn sources(&self) -> Vec<SourceState> {
        Vec::new()
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn health(&self) -> BoxFuture<'_, Result<Health, Refusal>> {
        async { Err(Refusal::NotHere(String::new())) }.boxed()
    }

    fn explain(&self, _: ExplainRequest, _: Asker) -> BoxFuture<'_, Result<Value, Refusal>> {
        async { Ok(Value::Null) }.boxed()
    }

    fn policy(&self, _: PolicyName, _: Asker) -> BoxFuture<'_, Result<KnownPolicy, Refusal>> {
        async { Err(Refusal::Unknown(String::new())) }.boxed()
    }

    fn isolation(&self, _: String) -> BoxFuture<'_, Result<Isolation, Refusal>> {
        async { Err(Refusal::Unknown(String::new())) }.boxed()
    }

    fn whatif(&self, _: WhatifRequest, _: Asker) -> BoxFuture<'_, Result<Value, Refusal>> {
        async { Ok(Value::Null) }.boxed()
    }
}
