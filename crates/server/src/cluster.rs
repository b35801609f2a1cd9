use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use netverdict_types::{Action, Connection, Owner, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// (docs/explanation.schema.json).
    fn explain(
        &self,
        question: ExplainRequest,
    ) -> BoxFuture<'_, Result<serde_json::Value, Refusal>>;

    /// Which recorded connections would fare otherwise under other policies.
    fn whatif(&self, question: WhatifRequest) -> BoxFuture<'_, Result<serde_json::Value, Refusal>>;
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
