use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use netverdict_query::ask::Ask;
use netverdict_store::{Store, StoreError};
use netverdict_types::{Action, Connection, Owner, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::subject::Subject;

/// What is known of the cluster beside its connections. The program that has the sources and the
/// policies implements it.
pub trait Cluster: Send + Sync {
    /// The rules that are in force now.
    fn rules(&self) -> Vec<KnownRule>;

    /// Pods and other ends that have names now.
    fn workloads(&self) -> Vec<Workload>;

    /// The sources of samples, and what else counts losses.
    fn sources(&self) -> Vec<SourceState>;

    /// True once policies and sources are there.
    fn is_ready(&self) -> bool;

    /// Why a connection would be let through or not: an explanation
    /// (docs/explanation.schema.json), without what is not for who asks.
    fn explain(
        &self,
        question: ExplainRequest,
        asker: Asker,
    ) -> BoxFuture<'_, Result<serde_json::Value, Refusal>>;

    /// Which recorded connections would fare otherwise under other policies, of those that who
    /// asks may see.
    fn whatif(
        &self,
        question: WhatifRequest,
        asker: Asker,
    ) -> BoxFuture<'_, Result<serde_json::Value, Refusal>>;
}

/// Who asks, and what they may see.
#[derive(Clone)]
pub struct Asker {
    store: Arc<dyn Store>,
    subject: Subject,
}

impl Asker {
    /// Somebody who asks about what `store` has.
    pub fn new(store: Arc<dyn Store>, subject: Subject) -> Self {
        Self { store, subject }
    }

    /// True for those who see everything.
    pub fn sees_all(&self) -> bool {
        self.subject.sees_all()
    }

    /// True where they may know of a namespace; of what has none where that is `None`.
    pub fn sees(&self, namespace: Option<&str>) -> bool {
        self.subject.shows_namespace(namespace)
    }

    /// Whole connections, as they may see them: [`Store::connections`].
    ///
    /// # Errors
    /// As the store's.
    pub async fn connections(&self, ask: &Ask) -> Result<Vec<Connection>, StoreError> {
        if self.sees_all() {
            return self.store.connections(ask).await;
        }
        let mut ask = ask.clone();
        ask.filter = self.subject.restrict(ask.filter);
        let rows = self.store.connections(&ask).await?.into_iter();
        let shown = rows.filter_map(|row| self.subject.shows(Arc::new(row)));
        Ok(shown.map(Arc::unwrap_or_clone).collect())
    }
}

/// A rule of a policy, as ACLs stand for it in one or several zones.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownRule {
    /// Whose it is, and which of the rules.
    pub owner: Owner,
    /// What it does.
    pub action: Action,
    /// The sentence for people.
    pub message: String,
    /// The zones that have it, by name.
    pub zones: Vec<String>,
    /// True where its packets are sampled in all those zones: only then silence means that nobody uses it.
    pub sampled: bool,
    /// Since when the oldest of its ACLs is there, as far as that is known.
    pub since: Timestamp,
}

/// Somebody with an address and a name.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
pub struct Workload {
    /// The namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `pod`, `node`, `service` and the like, as `src.kind` in queries.
    pub kind: String,
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// A source of samples, or another place that counts.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SourceState {
    /// Its name, as `--source` takes it.
    pub name: String,
    /// What it counts.
    pub counters: Vec<Counter>,
}

/// A number that only goes up.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Counter {
    /// Its name, the same in every version.
    pub name: String,
    /// How often.
    pub value: u64,
}

/// A question for [`Cluster::explain`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// Who opens the connection: `namespace/pod`, `node/name`, or an address; `@network` behind it where there are several.
    #[schema(example = "shop/catalog-0", max_length = 600)]
    pub from: String,
    /// To whom: as `from`, or `svc/namespace/name`.
    #[schema(example = "svc/data/search", max_length = 600)]
    pub to: String,
    /// `8080/tcp`, `53/udp`, `icmp`, or a port's name; all ports of a service if it is not given.
    #[schema(example = "9200/tcp", max_length = 100)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
}

/// A question for [`Cluster::whatif`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhatifRequest {
    /// The changed policies: YAML or JSON documents, as `kubectl apply` takes them.
    pub policies: String,
    /// Which connections: a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    /// Connections since then; a day ago if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Connections until then; now if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// Why a question got no answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// What was given does not tell, such as a pod that nobody knows.
    Unknown(String),
    /// The question makes no sense.
    Wrong(String),
    /// It is about others than who asks may know of.
    Forbidden(String),
    /// This server cannot answer such questions.
    NotHere(String),
    /// It failed.
    Fault(String),
}

/// Makes bytes of rows.
pub trait Encode: Send {
    /// Takes rows, and gives the bytes that are ready.
    ///
    /// # Errors
    /// If the rows cannot be written.
    fn rows(&mut self, rows: &[Arc<Connection>]) -> io::Result<Vec<u8>>;

    /// The last bytes.
    ///
    /// # Errors
    /// If the end cannot be written.
    fn end(self: Box<Self>) -> io::Result<Vec<u8>>;
}

/// Begins a file.
pub type Encoder = fn() -> io::Result<Box<dyn Encode>>;
