use std::sync::Arc;

use netverdict_ovn::ids::{hashed_name, key, sample_point};
use netverdict_ovsdb::Datum;
use netverdict_types::{Action, Pipeline};
use uuid::Uuid;

use crate::row::{Origin, Row, Table};
use crate::unit::Context;

/// The key of the one Sample_Collector.
pub(crate) const COLLECTOR: &str = "1";
/// The meter of all ACLs.
pub(crate) const METER: &str = "acl-logging";

/// The `external_ids` of a row of ovn-kubernetes (`libovsdb/ops/db_object_ids.go`): the primary
/// id is controller, owner type and all values in their declared order, joined by colons.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    controller: Arc<str>,
    owner: &'static str,
    values: Vec<(&'static str, String)>,
}

impl Ids {
    pub(crate) fn new(controller: &Arc<str>, owner: &'static str) -> Self {
        Self {
            controller: controller.clone(),
            owner,
            values: Vec::new(),
        }
    }

    /// The next value in the declared order.
    #[must_use]
    pub(crate) fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.values.push((key, value.into()));
        self
    }

    pub(crate) fn primary(&self) -> String {
        let mut id = format!("{}:{}", self.controller, self.owner);
        for (_, value) in &self.values {
            id.push(':');
            id.push_str(value);
        }
        id
    }

    /// Name of the port group or address set with these ids.
    pub(crate) fn hashed_name(&self) -> String {
        hashed_name(&self.primary())
    }

    pub(crate) fn datum(&self) -> Datum {
        let head = [
            (key::OWNER_CONTROLLER, self.controller.to_string()),
            (key::OWNER_TYPE, self.owner.to_owned()),
            (key::ID, self.primary()),
        ];
        let values = self.values.iter().cloned();
        Datum::map_of(head.into_iter().chain(values))
    }
}

/// An ACL to be.
#[derive(Clone, Debug)]
pub(crate) struct Acl {
    pub(crate) ids: Ids,
    /// The column `name`; cut to 63 characters.
    pub(crate) name: Option<String>,
    pub(crate) pipeline: Pipeline,
    pub(crate) tier: u8,
    pub(crate) priority: u16,
    pub(crate) matches: String,
    pub(crate) action: Action,
    /// Logs if there is one.
    pub(crate) severity: Option<String>,
    pub(crate) origins: Vec<Origin>,
}

impl Acl {
    /// Puts the ACL's row and that of its Sample; gives the ACL's identity for the port group.
    pub(crate) fn put(self, cx: &mut Context<'_>) -> Uuid {
        let id = self.ids.primary();
        let (direction, options) = match self.pipeline {
            Pipeline::ToLport => ("to-lport", Datum::empty()),
            Pipeline::FromLport => ("from-lport", Datum::empty()),
            Pipeline::FromLportAfterLb => {
                ("from-lport", Datum::map_of([("apply-after-lb", "true")]))
            }
        };
        let mut row = Row::new(Table::Acl, id.as_str())
            .with("action", self.action.as_str())
            .with("direction", direction)
            .with("external_ids", self.ids.datum())
            .with("match", self.matches.as_str())
            .with("meter", METER)
            .with("options", options)
            .with("priority", i64::from(self.priority));
        if let Some(name) = &self.name {
            row = row.with("name", name.chars().take(63).collect::<String>().as_str());
        }
        if let Some(severity) = &self.severity {
            row = row.with("log", true).with("severity", severity.as_str());
        }
        if self.tier != 0 {
            row = row.with("tier", i64::from(self.tier));
        }
        if cx.options.sampling && is_sampled(&self.ids) {
            let point = sample_point(&id, &self.matches, self.action);
            let mut sample = Row::new(Table::Sample, point.to_string())
                .with("collectors", Table::SampleCollector.uuid(COLLECTOR))
                .with("metadata", i64::from(point));
            row = row
                .with("sample_new", sample.uuid)
                .with("sample_est", sample.uuid);
            sample.origins.clone_from(&self.origins);
            cx.put(sample);
        }
        row.origins = self.origins;
        let uuid = row.uuid;
        cx.put(row);
        uuid
    }
}

/// What ovn-kubernetes samples: the ACLs of the default network's controller with an owner type
/// that belongs to a feature (`observability.go`).
fn is_sampled(ids: &Ids) -> bool {
    &*ids.controller == "default-network-controller"
        && matches!(
            ids.owner,
            "AdminNetworkPolicy"
                | "BaselineAdminNetworkPolicy"
                | "ClusterNetworkPolicy"
                | "EgressFirewall"
                | "MulticastCluster"
                | "MulticastNS"
                | "NetpolNamespace"
                | "NetpolNode"
                | "NetworkPolicy"
                | "UDNIsolation"
        )
}
