//! All that is known, written down.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName};
use netverdict_query::owner_kind_word;
use netverdict_store::State as StoreState;
use netverdict_types::{Direction, Rule, Ruling, Verdict};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::timeout;

use super::series::{PairSeries, Place, RuleSeries, Series, Sums};
use super::text::classic;
use crate::access::Access;
use crate::app::{App, Scoped};
use crate::problem::Problem;

/// How long the store may take to say how it stands: scrapers wait for ten seconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// What stands for all that found no room.
const OVERFLOW: &str = "overflow";
/// The longest value of a label, in bytes.
const LONGEST: usize = 253;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics, as OpenMetrics where that is asked for.
pub(crate) async fn scrape(
    State(app): State<App>,
    scoped: Scoped,
    headers: HeaderMap,
) -> Result<([(HeaderName, &'static str); 1], String), Problem> {
    scoped.whole()?;
    let store = timeout(PATIENCE, app.unscoped().store.state()).await;
    let store = store.ok().and_then(Result::ok);
    let mut page = String::new();
    text::encode(&mut page, &registry(&app, store)).map_err(|error| Problem::fault(&error))?;
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    Ok(
        match accepted.is_some_and(|it| it.contains("application/openmetrics-text")) {
            true => ([(CONTENT_TYPE, OPENMETRICS)], page),
            false => ([(CONTENT_TYPE, CLASSIC)], classic(&page)),
        },
    )
}

fn registry(app: &App, store: Option<StoreState>) -> Registry {
    let mut registry = Registry::with_prefix("netverdict");
    let metrics = app.metrics();
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The program that answers", build);
    // The lock is held no longer than it takes to copy.
    let series = metrics.series().clone();
    connections(&mut registry, &series);
    turned(&mut registry, &series);
    rules(&mut registry, &series);
    pairs(&mut registry, &series);
    bounds(&mut registry, &series);
    places(&mut registry, app, store.as_ref());
    stored(&mut registry, store.as_ref());
    known(&mut registry, app);
    own(&mut registry, app);
    if let Some(access) = metrics.access.get() {
        asked(&mut registry, access);
    }
    registry
}

type Number = Counter<f64, AtomicU64>;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByVerdict {
    verdict: &'static str,
}

fn connections(registry: &mut Registry, series: &Series) {
    let by = |(verdict, sums): (&Verdict, &Sums)| {
        let verdict = verdict.as_str();
        (ByVerdict { verdict }, *sums)
    };
    let all = Verdict::ALL.iter().zip(&series.verdicts).map(by);
    summed(
        registry,
        all,
        [
            (
                "connections",
                "Connections, by their verdict when they were first told",
            ),
            (
                "packets",
                "Packets of both directions, by the connection's verdict, estimated from samples",
            ),
            (
                "bytes",
                "Bytes of both directions, by the connection's verdict, estimated from samples",
            ),
        ],
    );
    for (name, help, value) in [
        (
            "dropped_packets",
            "Packets that were dropped or rejected, estimated from samples",
            series.dropped.packets,
        ),
        (
            "dropped_bytes",
            "Bytes that were dropped or rejected, estimated from samples",
            series.dropped.bytes,
        ),
        (
            "sampled_packets",
            "Packets as they were sampled, nothing estimated",
            series.sampled.packets,
        ),
        (
            "sampled_bytes",
            "Bytes as they were sampled, nothing estimated",
            series.sampled.bytes,
        ),
    ] {
        let counter = Number::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct FromTo {
    from: &'static str,
    to: &'static str,
}

fn turned(registry: &mut Registry, series: &Series) {
    let changes = Family::<FromTo, Counter>::default();
    for (from, turned) in Verdict::ALL.iter().zip(&series.turned) {
        for (to, count) in Verdict::ALL.iter().zip(turned) {
            // A verdict only ever becomes worse.
            if to.severity() > from.severity() {
                let labels = FromTo {
                    from: from.as_str(),
                    to: to.as_str(),
                };
                changes.get_or_create(&labels).inc_by(*count);
            }
        }
    }
    registry.register(
        "verdict_changes",
        "Connections whose verdict became worse after they were first told",
        changes,
    );
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct ByRule {
    direction: &'static str,
    verdict: &'static str,
    kind: String,
    network: String,
    namespace: String,
    name: String,
    rule: String,
}

fn rules(registry: &mut Registry, series: &Series) {
    // Rulings that differ only in what labels do not tell are one series.
    let mut all: BTreeMap<ByRule, Sums> = BTreeMap::new();
    for RuleSeries {
        direction,
        ruling,
        sums,
    } in &series.rules
    {
        let labels = ByRule::new(*direction, ruling);
        all.entry(labels).or_default().add(*sums);
    }
    let directions = [Direction::Egress, Direction::Ingress];
    for (direction, verdicts) in directions.iter().zip(&series.rules_overflow) {
        for (verdict, sums) in Verdict::ALL.iter().zip(verdicts) {
            if *sums != Sums::default() {
                all.insert(ByRule::overflow(*direction, *verdict), *sums);
            }
        }
    }
    summed(
        registry,
        all,
        [
            (
                "rule_connections",
                "Connections that a rule judged, in each direction by the rule that decided there",
            ),
            (
                "rule_packets",
                "Packets of connections that a rule judged, estimated from samples",
            ),
            (
                "rule_bytes",
                "Bytes of connections that a rule judged, estimated from samples",
            ),
        ],
    );
}

impl ByRule {
    fn new(direction: Direction, ruling: &Ruling) -> Self {
        let text = |text: &Option<String>| cut(text.as_deref().unwrap_or_default());
        let labels = Self {
            direction: direction.as_str(),
            verdict: ruling.verdict.as_str(),
            kind: String::new(),
            network: String::new(),
            namespace: String::new(),
            name: String::new(),
            rule: String::new(),
        };
        match (&ruling.fact, &ruling.flow, ruling.unresolved) {
            (Some(fact), ..) => {
                let owner = &fact.acl.owner;
                Self {
                    kind: cut(owner_kind_word(&owner.kind)),
                    network: text(&owner.network),
                    namespace: text(&owner.namespace),
                    name: text(&owner.name),
                    rule: cut(&rule_word(&owner.rule)),
                    ..labels
                }
            }
            (None, Some(flow), _) => Self {
                kind: "logical-flow".to_owned(),
                name: cut(&flow.stage),
                ..labels
            },
            (None, None, Some(reason)) => Self {
                kind: "unresolved".to_owned(),
                name: reason.as_str().to_owned(),
                ..labels
            },
            (None, None, None) => labels,
        }
    }

    fn overflow(direction: Direction, verdict: Verdict) -> Self {
        let overflow = || OVERFLOW.to_owned();
        Self {
            direction: direction.as_str(),
            verdict: verdict.as_str(),
            kind: overflow(),
            network: overflow(),
            namespace: overflow(),
            name: overflow(),
            rule: overflow(),
        }
    }
}

/// A rule within its policy: `2`, `2/tcp`, `2/tcp/block-0`, `defaultDeny`.
fn rule_word(rule: &Rule) -> String {
    let block = match rule.ip_block {
        None | Some(-1) => None,
        Some(-2) => Some("blocks".to_owned()),
        Some(block) => Some(format!("block-{block}")),
    };
    let index = rule.index.map(|index| index.to_string());
    // ovn-kubernetes writes `None` for a rule without ports.
    let protocol = rule.protocol.clone().filter(|protocol| protocol != "None");
    let parts = [index, protocol, block, rule.kind.clone()];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    parts.join("/")
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByPair {
    src_kind: &'static str,
    src_namespace: String,
    dst_kind: &'static str,
    dst_namespace: String,
}

fn pairs(registry: &mut Registry, series: &Series) {
    let family = Family::<ByPair, Counter>::default();
    for PairSeries { ends, connections } in &series.pairs {
        let [src, dst] = ends;
        let labels = ByPair {
            src_kind: src.word(),
            src_namespace: src.namespace(),
            dst_kind: dst.word(),
            dst_namespace: dst.namespace(),
        };
        family.get_or_create(&labels).inc_by(*connections);
    }
    if series.pairs_overflow > 0 {
        let labels = ByPair {
            src_kind: OVERFLOW,
            src_namespace: OVERFLOW.to_owned(),
            dst_kind: OVERFLOW,
            dst_namespace: OVERFLOW.to_owned(),
        };
        family.get_or_create(&labels).inc_by(series.pairs_overflow);
    }
    registry.register(
        "denied_connections",
        "Connections that were dropped or rejected, by the namespaces of both ends",
        family,
    );
}

impl Place {
    fn word(&self) -> &'static str {
        self.kind.map_or("unknown", |kind| kind.as_str())
    }

    fn namespace(&self) -> String {
        cut(self.namespace.as_deref().unwrap_or_default())
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByTable {
    table: &'static str,
}

fn bounds(registry: &mut Registry, series: &Series) {
    let used = Family::<ByTable, Gauge>::default();
    let limit = Family::<ByTable, Gauge>::default();
    let bounds = series.bounds();
    for (table, count, most) in [
        ("rules", series.rules.len(), bounds.rules),
        ("pairs", series.pairs.len(), bounds.pairs),
    ] {
        let labels = ByTable { table };
        used.get_or_create(&labels).set(signed(count as u64));
        limit.get_or_create(&labels).set(signed(most as u64));
    }
    registry.register("series", "Rules and pairs that have series", used);
    registry.register(
        "series_limit",
        "How many may have; further ones are counted as overflow",
        limit,
    );
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Event {
    place: &'static str,
    source: String,
    event: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Loss {
    place: &'static str,
    source: String,
    reason: String,
}

/// What each place counts, and of that what is a loss.
fn places(registry: &mut Registry, app: &App, store: Option<&StoreState>) {
    let events = Family::<Event, Counter>::default();
    let losses = Family::<Loss, Counter>::default();
    let lost = |place, source: &str, reason: &str, count| {
        let labels = Loss {
            place,
            source: cut(source),
            reason: cut(reason),
        };
        losses.get_or_create(&labels).inc_by(count);
    };
    for state in app.unscoped().cluster.sources() {
        let (place, source) = match &*state.name {
            "connections" => ("flow", ""),
            "decisions" => ("decisions", ""),
            "history" => ("history", ""),
            name => ("sources", name),
        };
        for counter in state.counters {
            // A number that goes down too; it is `netverdict_open_connections`.
            if counter.name == "remembered" {
                continue;
            }
            if is_loss(place, &counter.name) {
                lost(place, source, &counter.name, counter.value);
            }
            let labels = Event {
                place,
                source: cut(source),
                event: cut(&counter.name),
            };
            events.get_or_create(&labels).inc_by(counter.value);
        }
    }
    for (reason, count) in store.iter().flat_map(|state| &state.losses) {
        lost("store", "", reason, *count);
    }
    lost("live", "", "slow-reader", app.metrics().live_lost.get());
    registry.register("events", "What each place counts, by its own names", events);
    registry.register(
        "lost",
        "What was lost, set aside or could not be used, by place",
        losses,
    );
}

/// Ends of the names of sources' counters that count losses.
const LOSSES: [&str; 14] = [
    "_dropped",
    "_overruns",
    "_lost",
    "_malformed",
    "_unreadable",
    "_too_long",
    "_truncated",
    "_not_sent",
    "_sets_expired",
    "_sets_overflowed",
    "_corrupt",
    "_torn_bytes",
    "_bad_blocks",
    "_bad_records",
];

fn is_loss(place: &str, counter: &str) -> bool {
    match place {
        "flow" => matches!(
            counter,
            "keyless" | "fragments" | "rulings-lost" | "reports-old"
        ),
        "history" => matches!(counter, "gaps" | "damaged" | "bad_rows"),
        _ => LOSSES.iter().any(|end| counter.ends_with(end)),
    }
}

fn stored(registry: &mut Registry, store: Option<&StoreState>) {
    let gauge = |value: u64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(signed(value));
        gauge
    };
    let up = u64::from(store.is_some());
    registry.register(
        "store_up",
        "1 while the store says how it stands",
        gauge(up),
    );
    let Some(store) = store else { return };
    registry.register(
        "store_rows",
        "Rows that are kept, updates one by one",
        gauge(store.rows),
    );
    registry.register_with_unit("store", "Size on disk", Unit::Bytes, gauge(store.bytes));
    let removed: Counter = Counter::default();
    removed.inc_by(store.removed);
    registry.register("store_removed_rows", "Rows that retention removed", removed);
    registry.register(
        "store_blocked",
        "1 while the store takes nothing, as when its disk is full",
        gauge(u64::from(store.blocked.is_some())),
    );
    if let Some(span) = &store.span {
        for (name, help, time) in [
            ("store_oldest_timestamp", "Oldest connection", span.start),
            ("store_newest_timestamp", "Newest connection", span.end),
        ] {
            let gauge: Gauge<f64, AtomicU64> = Gauge::default();
            gauge.set(time.0 as f64 / 1e9);
            registry.register_with_unit(name, help, Unit::Seconds, gauge);
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct BySampling {
    sampled: &'static str,
}

fn known(registry: &mut Registry, app: &App) {
    let rules = Family::<BySampling, Gauge>::default();
    let sampled = rules.get_or_create_owned(&BySampling { sampled: "true" });
    let silent = rules.get_or_create_owned(&BySampling { sampled: "false" });
    for rule in app.unscoped().cluster.rules() {
        match rule.sampled {
            true => sampled.inc(),
            false => silent.inc(),
        };
    }
    let help = "Rules in force, by whether their packets are sampled in all zones";
    registry.register("rules", help, rules);
    let ready: Gauge = Gauge::default();
    ready.set(i64::from(app.unscoped().cluster.is_ready()));
    registry.register("ready", "1 once policies and sources are there", ready);
}

fn own(registry: &mut Registry, app: &App) {
    let metrics = app.metrics();
    registry.register(
        "open_connections",
        "Connections that are remembered, for what comes of them",
        metrics.open.clone(),
    );
    registry.register(
        "store_appended_rows",
        "Rows that the store has acknowledged",
        metrics.appended.clone(),
    );
    registry.register_with_unit(
        "store_append_duration",
        "Time until the store acknowledged a batch, all tries",
        Unit::Seconds,
        metrics.append.clone(),
    );
    registry.register(
        "store_append_failures",
        "Batches that the store did not take, to be tried again",
        metrics.append_failures.clone(),
    );
    let updates: Counter = Counter::default();
    updates.inc_by(app.unscoped().live.next());
    let help = "Updates of connections that were told to the live stream";
    registry.register("live_updates", help, updates);
    let readers: Gauge = Gauge::default();
    readers.set(signed(app.unscoped().live.readers() as u64));
    registry.register("live_readers", "Readers of the live stream", readers);
    registry.register(
        "http_requests",
        "Requests, by path, method and answer",
        metrics.requests.answers.clone(),
    );
    registry.register_with_unit(
        "http_request_duration",
        "Time until an answer begins",
        Unit::Seconds,
        metrics.requests.durations.clone(),
    );
}

fn asked(registry: &mut Registry, access: &Access) {
    registry.register(
        "access_refused",
        "Requests of those who may not ask, or not so often, by status",
        access.refused().0.clone(),
    );
    let counts = access.reviews();
    registry.register(
        "access_reviews",
        "Questions to the Kubernetes API server, by what came of them",
        counts.reviews,
    );
    registry.register(
        "access_namespaces_beyond",
        "Namespaces that were not reviewed because there are too many",
        counts.beyond,
    );
}

/// Three families with the same labels.
fn summed<L>(
    registry: &mut Registry,
    all: impl IntoIterator<Item = (L, Sums)>,
    names: [(&str, &str); 3],
) where
    L: EncodeLabelSet + Clone + Eq + std::fmt::Debug + std::hash::Hash + Send + Sync + 'static,
{
    let connections = Family::<L, Counter>::default();
    let packets = Family::<L, Number>::default();
    let bytes = Family::<L, Number>::default();
    for (labels, sums) in all {
        connections.get_or_create(&labels).inc_by(sums.connections);
        packets.get_or_create(&labels).inc_by(sums.packets);
        bytes.get_or_create(&labels).inc_by(sums.bytes);
    }
    let [of_connections, of_packets, of_bytes] = names;
    registry.register(of_connections.0, of_connections.1, connections);
    registry.register(of_packets.0, of_packets.1, packets);
    registry.register(of_bytes.0, of_bytes.1, bytes);
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST)].to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netverdict_store::judge::{Random, batches};

    use super::super::series::Bounds;
    use super::*;

    #[test]
    fn what_finds_no_room_is_named_so() {
        let mut series = Series::new(Bounds { rules: 0, pairs: 0 });
        for batch in batches(&mut Random::new(3), 300) {
            batch.rows.iter().for_each(|row| series.count(row));
        }
        let mut registry = Registry::default();
        rules(&mut registry, &series);
        pairs(&mut registry, &series);
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        for told in [
            "rule_connections_total{direction=\"Egress\",verdict=\"dropped\",kind=\"overflow\",network=\"overflow\",namespace=\"overflow\",name=\"overflow\",rule=\"overflow\"} ",
            "denied_connections_total{src_kind=\"overflow\",src_namespace=\"overflow\",dst_kind=\"overflow\",dst_namespace=\"overflow\"} ",
        ] {
            assert!(page.contains(told), "{page}");
        }
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        assert!(lines.into_iter().all(|line| line.contains("overflow")));
    }
}
