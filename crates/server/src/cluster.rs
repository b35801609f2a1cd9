use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use netverdict_query::ask::Ask;
use netverdict_store::{Store, StoreError};
use netverdict_types::{Action, Connection, Direction, Owner, Pipeline, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

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

    /// How each zone is sampled, and what doctor finds. Databases are asked for it, so that it is
    /// as of a short while ago at times.
    fn health(&self) -> BoxFuture<'_, Result<Health, Refusal>>;

    /// True once policies and sources are there.
    fn is_ready(&self) -> bool;

    /// Why a connection would be let through or not: an explanation
    /// (docs/explanation.schema.json), without what is not for who asks.
    fn explain(
        &self,
        question: ExplainRequest,
        asker: Asker,
    ) -> BoxFuture<'_, Result<serde_json::Value, Refusal>>;

    /// What is known of a policy now: where it is written, and its ACLs. Of a text with objects of
    /// others nothing is told to who does not see all.
    fn policy(&self, name: PolicyName, asker: Asker)
    -> BoxFuture<'_, Result<KnownPolicy, Refusal>>;

    /// Which policies isolate a pod, given as `namespace/name`.
    fn isolation(&self, pod: String) -> BoxFuture<'_, Result<Isolation, Refusal>>;

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

/// How each zone is sampled, and what doctor finds.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Health {
    /// The version of netverdict that answers.
    pub netverdict: String,
    /// When it was looked at.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// The zones, in the order in which their databases are named.
    pub zones: Vec<ZoneHealth>,
    /// What doctor finds (docs/doctor.md).
    pub findings: Vec<HealthFinding>,
}

/// How a zone is sampled.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ZoneHealth {
    /// `NB_Global.name`, empty where OVN has only one.
    pub name: String,
    /// The release of OVN, by what northd wrote or by the schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ovn: Option<String>,
    /// The release of the node's Open vSwitch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ovs: Option<String>,
    /// How many ACLs there are.
    pub acls: u64,
    /// How many of them are not sampled at all.
    pub unsampled: u64,
    /// New connections: how many ACLs are sampled at which rate.
    pub new: Vec<SampledAcls>,
    /// The same for established ones.
    pub est: Vec<SampledAcls>,
}

/// ACLs that are sampled at one rate.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SampledAcls {
    /// The share of packets, 1 for all.
    pub share: f64,
    /// How many ACLs.
    pub acls: u64,
}

/// The result of one of doctor's checks.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct HealthFinding {
    /// `machine` (the server's own), `vswitch`, `ovn` or `sampling`.
    pub area: String,
    /// Which check, as docs/doctor.md names it.
    pub check: String,
    /// The zone, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// `ok`, `warn`, `fail`, `skip` (not looked at) or `unknown`.
    pub state: String,
    /// What was seen.
    pub seen: String,
    /// Why it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
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
    /// A time, such as when the connection was seen. The answer, which is of now, tells under `as_of` which policies are others since then.
    #[schema(example = "2026-11-23T08:00:00Z", max_length = 100)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// A question for [`Cluster::whatif`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhatifRequest {
    /// The changed policies: YAML or JSON documents, as `kubectl apply` takes them.
    #[serde(default)]
    pub policies: String,
    /// Objects that go: `KIND/NAMESPACE/NAME`, or `KIND/NAME`. What is given as changed and goes, goes.
    #[schema(example = json!(["NetworkPolicy/data/allow-catalog"]), max_items = 1000)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
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

/// A policy, or whatever else makes ACLs, as their owner names it.
#[derive(Clone, Debug, Deserialize, Eq, IntoParams, PartialEq)]
#[into_params(parameter_in = Query)]
pub struct PolicyName {
    /// `NetworkPolicy`, `AdminNetworkPolicy`, `NetpolNamespace` (default deny) and so on: as in `owner.kind`.
    #[param(example = "NetworkPolicy", max_length = 100)]
    pub kind: String,
    /// The namespace; none or an empty one for what is in none.
    #[param(example = "data", max_length = 253)]
    pub namespace: Option<String>,
    /// The name; none or an empty one where the owner has none, such as an EgressFirewall.
    #[param(example = "allow-catalog", max_length = 253)]
    pub name: Option<String>,
}

/// A policy as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct KnownPolicy {
    /// Where and how it is written; missing where only rows of OVN are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<Written>,
    /// Why it is not known how it is written, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwritten: Option<String>,
    /// Directions in which it isolates the pods that it selects, so that what no policy allows is dropped.
    #[schema(value_type = Vec<String>)]
    pub isolates: Vec<Direction>,
    /// The pods that it is about, as `namespace/name`, as far as they are known.
    pub pods: Vec<String>,
    /// All zones that are known. An ACL that not all of them have is a difference between them.
    pub zones: Vec<String>,
    /// What it was compiled to, by tier and priority.
    pub acls: Vec<KnownAcl>,
}

/// The text of a policy.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
pub struct Written {
    /// The object, as in `NetworkPolicy shop/web`.
    pub object: String,
    /// What the text is called that it is in, mostly a path.
    pub file: String,
    /// Which line of that is the first of `text`.
    pub first_line: u32,
    /// Its document: YAML or JSON.
    pub text: String,
    /// Where its rules stand.
    pub rules: Vec<WrittenRule>,
}

/// Where a rule stands.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
pub struct WrittenRule {
    /// The direction: with `index` as in the owner of its ACLs.
    #[schema(value_type = String)]
    pub direction: Direction,
    /// Its number, from 0.
    pub index: u32,
    /// Its first line in the file.
    pub line: u32,
    /// Its last line.
    pub end_line: u32,
}

/// An ACL, as one or several zones have it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct KnownAcl {
    /// Whose it is, and of which rule.
    #[schema(value_type = Object)]
    pub owner: Owner,
    /// What ovn-kubernetes knows it by (`k8s.ovn.org/id`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it does, in OVN's words.
    #[schema(value_type = String)]
    pub action: Action,
    /// `from-lport`, `from-lport-after-lb` or `to-lport`.
    #[schema(value_type = String)]
    pub pipeline: Pipeline,
    /// 0 to 3; asked in this order.
    pub tier: u8,
    /// Within the tier the highest decides.
    pub priority: u16,
    /// Its match.
    #[serde(rename = "match")]
    pub matches: String,
    /// The zones that have it so.
    pub zones: Vec<String>,
    /// Share of the packets of new connections that are sampled, from 0 to 1; the least of all zones.
    pub sampled_new: f64,
    /// The same of established connections.
    pub sampled_est: f64,
    /// Where it is written, the most telling place first; for a default deny the policies that isolate.
    pub sources: Vec<WrittenAt>,
}

/// An object, a rule in it, and the line where that is written.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
pub struct WrittenAt {
    /// The object, as in `NetworkPolicy shop/web`.
    pub object: String,
    /// The rule in it, as in `ingress[0]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The text's name, mostly a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// In characters, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

/// Who decides about a pod.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Isolation {
    /// The pod, as `namespace/name`.
    pub pod: String,
    /// About what others send to it.
    pub ingress: Isolated,
    /// About what it sends.
    pub egress: Isolated,
}

/// Who decides about a pod in one direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Isolated {
    /// Whether what no policy allows is dropped.
    pub isolated: bool,
    /// The policies that isolate it.
    pub by: Vec<WrittenAt>,
    /// False where there may be more of them: a policy without rules has no ACL that would tell.
    pub complete: bool,
    /// All whose ACLs are asked about its packets, by tier: owners without direction and rule.
    #[schema(value_type = Vec<Object>)]
    pub asked: Vec<Owner>,
}

/// Something wrong in a text that was given.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
pub struct Mistake {
    /// `error`, `warning` or `note`.
    pub severity: String,
    /// Which check speaks; stable.
    pub code: String,
    /// What is wrong, and what to do about it.
    pub message: String,
    /// Counted from 1; missing for the text as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// In characters, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The line where it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_line: Option<u32>,
    /// The column behind its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_column: Option<u32>,
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
    /// A text that was given makes no sense: what is told of it, and the places.
    Mistaken(String, Vec<Mistake>),
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
