//! What a plan changes, by policy.

use std::collections::{BTreeMap, HashMap};

use netverdict_ovn::{ids::key, owner};
use netverdict_ovsdb::{Columns, Datum, Replica, Row as There};
use netverdict_policy::{Row, Table};
use netverdict_types::OwnerKind;
use uuid::Uuid;

use super::value;

/// Counts of changes, by what people know and then by table.
#[derive(Debug, Default)]
pub(super) struct Report {
    subjects: BTreeMap<(u8, String), BTreeMap<Table, Counts>>,
    /// Whose the Samples are: those of the ACLs that refer to them.
    samples: HashMap<Uuid, String>,
}

#[derive(Debug, Default)]
struct Counts {
    added: usize,
    changed: usize,
    removed: usize,
}

impl Report {
    pub(super) fn new<'a>(nb: &Replica, wanted: impl Iterator<Item = &'a Row>) -> Self {
        let mut samples = HashMap::new();
        for row in wanted.filter(|row| row.table == Table::Acl) {
            let name = subject(row.table, value(&row.columns, "external_ids"));
            let sample = value(&row.columns, "sample_new").and_then(|value| value.scalar());
            if let Some(sample) = sample.and_then(|sample| sample.as_uuid()) {
                samples.insert(sample, name);
            }
        }
        for row in nb.rows("ACL") {
            let name = subject(Table::Acl, row.column("external_ids"));
            for sample in ["sample_new", "sample_est"].map(|column| row.reference(column)) {
                samples.extend(sample.map(|sample| (sample, name.clone())));
            }
        }
        Self {
            subjects: BTreeMap::new(),
            samples,
        }
    }

    pub(super) fn inserted(&mut self, table: Table, row: Uuid, values: &[(&'static str, Datum)]) {
        self.counts(table, row, value(values, "external_ids")).added += 1;
    }

    pub(super) fn updated(&mut self, table: Table, row: &There, after: &[(&'static str, Datum)]) {
        let ids = value(after, "external_ids").or_else(|| row.column("external_ids"));
        self.counts(table, row.uuid(), ids).changed += 1;
    }

    pub(super) fn deleted(&mut self, table: Table, row: &There) {
        self.counts(table, row.uuid(), row.column("external_ids"))
            .removed += 1;
    }

    fn counts(&mut self, table: Table, row: Uuid, ids: Option<&Datum>) -> &mut Counts {
        let subject = match self.samples.get(&row) {
            Some(subject) => subject.clone(),
            None => subject(table, ids),
        };
        let tables = self.subjects.entry((rank(&subject), subject)).or_default();
        tables.entry(table).or_default()
    }

    /// One line for each subject.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |((_, subject), tables): (&(u8, String), &BTreeMap<Table, Counts>)| {
            let parts: Vec<_> = tables
                .iter()
                .map(|(table, counts)| counts.words(*table))
                .collect();
            format!("{subject}: {}", parts.join("; "))
        };
        self.subjects.iter().map(line).collect()
    }
}

impl Counts {
    /// As in `2 ACLs added, 1 changed`.
    fn words(&self, table: Table) -> String {
        let parts = [
            (self.added, "added"),
            (self.changed, "changed"),
            (self.removed, "removed"),
        ];
        let mut text = String::new();
        for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
            if text.is_empty() {
                text = format!("{count} {} {what}", noun(table, count));
            } else {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text
    }
}

const TOPOLOGY: &str = "switches, routers and ports";
const OTHER: &str = "what all policies share";
const PODS: &str = "addresses of selected pods";

fn rank(subject: &str) -> u8 {
    match subject {
        OTHER => 1,
        PODS => 2,
        TOPOLOGY => 4,
        subject if subject.starts_with("Service ") => 3,
        _ => 0,
    }
}

/// What people know a row by: the policy, or what it belongs to, told by the row's `external_ids`.
pub fn subject(table: Table, ids: Option<&Datum>) -> String {
    match table {
        Table::LoadBalancer => {
            let service = ids.and_then(|ids| ids.lookup(key::SERVICE_OWNER));
            return service.map_or(OTHER.to_owned(), |service| format!("Service {service}"));
        }
        Table::LogicalSwitch
        | Table::LogicalSwitchPort
        | Table::LogicalRouter
        | Table::LogicalRouterPort
        | Table::LogicalRouterStaticRoute => return TOPOLOGY.to_owned(),
        _ => {}
    }
    let Some(ids) = ids else {
        return OTHER.to_owned();
    };
    let text = |key| ids.lookup(key).unwrap_or_default();
    match ids.lookup(key::OWNER_TYPE) {
        Some("Namespace") => return format!("namespace {}", text(key::NAME)),
        Some("PodSelector") => return PODS.to_owned(),
        Some("Cluster") | None => return OTHER.to_owned(),
        Some("EgressFirewallDNS") => {
            return format!("addresses of the domain {}", text(key::NAME));
        }
        Some(_) => {}
    }
    let owner = owner(ids, None);
    let name = owner.name.unwrap_or_default();
    let namespace = owner.namespace.unwrap_or_default();
    match owner.kind {
        OwnerKind::NetworkPolicy => format!("NetworkPolicy {namespace}/{name}"),
        OwnerKind::NetpolNamespace => format!("default deny of namespace {namespace}"),
        OwnerKind::MulticastNS => format!("multicast of namespace {namespace}"),
        OwnerKind::EgressFirewall => format!("EgressFirewall of namespace {namespace}"),
        OwnerKind::NetpolNode => format!("what node {name} may reach"),
        OwnerKind::MulticastCluster | OwnerKind::NetpolDefault => OTHER.to_owned(),
        OwnerKind::UDNIsolation => "isolation of user-defined networks".to_owned(),
        kind => format!("{} {name}", kind.as_str()),
    }
}

fn noun(table: Table, count: usize) -> String {
    let one = match table {
        Table::Acl => "ACL",
        Table::AddressSet => "address set",
        Table::LoadBalancer => "load balancer",
        Table::LoadBalancerGroup => "load balancer group",
        Table::LogicalRouter => "router",
        Table::LogicalRouterPort => "router port",
        Table::LogicalRouterStaticRoute => "route",
        Table::LogicalSwitch => return (if count == 1 { "switch" } else { "switches" }).to_owned(),
        Table::LogicalSwitchPort => "switch port",
        Table::Meter => "meter",
        Table::MeterBand => "meter band",
        Table::PortGroup => "port group",
        Table::Sample => "sample",
        Table::SampleCollector => "collector",
        Table::SamplingApp => "sampling app",
    };
    match count {
        1 => one.to_owned(),
        _ => format!("{one}s"),
    }
}
