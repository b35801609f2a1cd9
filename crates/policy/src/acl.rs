use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use netverdict_manifest::{At, Diagnostic, Key, Severity};
use netverdict_ovn::ids::{hashed_name, key, sample_point};
use netverdict_ovsdb::Datum;
use netverdict_types::{Action, Pipeline};
use uuid::Uuid;

use crate::row::{Origin, Row, Scope, Table};
use crate::unit::Context;

/// The controller of the default network.
pub(crate) const DEFAULT_CONTROLLER: &str = "default-network-controller";
/// The key of the one Sample_Collector.
pub(crate) const COLLECTOR: &str = "1";
/// The meter of all ACLs.
pub(crate) const METER: &str = "acl-logging";
/// The annotation that turns logging on.
pub(crate) const LOGGING_ANNOTATION: &str = "k8s.ovn.org/acl-logging";

/// The tier of NetworkPolicies, EgressFirewalls and multicast (`types.DefaultACLTier`).
pub(crate) const DEFAULT_TIER: u8 = 2;
/// `types.DefaultAllowPriority`.
pub(crate) const ALLOW_PRIORITY: u16 = 1001;
/// `types.DefaultDenyPriority`.
pub(crate) const DENY_PRIORITY: u16 = 1000;

/// The direction of a policy's rule.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Gress {
    Ingress,
    Egress,
}

/// The `external_ids` of a row of ovn-kubernetes (`libovsdb/ops/db_object_ids.go`): the primary
/// id is controller, owner type and all values in their declared order, joined by colons.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    controller: Arc<str>,
    owner: &'static str,
    values: Vec<(&'static str, Arc<str>)>,
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
    /// Logs if there is one: see [`Logging::severity`].
    pub(crate) severity: Option<&'static str>,
    pub(crate) origins: Vec<Origin>,
}

/// What is logged, by the annotation `k8s.ovn.org/acl-logging`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Logging {
    pub(crate) allow: Option<&'static str>,
    pub(crate) deny: Option<&'static str>,
    /// Policies of the administrator only.
    pub(crate) pass: Option<&'static str>,
}

impl Gress {
    pub(crate) const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    /// As ids spell it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::Egress => "Egress",
        }
    }

    /// The list of rules, as manifests spell it.
    pub(crate) fn list(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    pub(crate) fn pipeline(self) -> Pipeline {
        match self {
            Self::Ingress => Pipeline::ToLport,
            Self::Egress => Pipeline::FromLportAfterLb,
        }
    }

    /// The term for the ports of a group.
    pub(crate) fn lport(self, group: &str) -> String {
        match self {
            Self::Ingress => format!("outport == @{group}"),
            Self::Egress => format!("inport == @{group}"),
        }
    }

    /// The field in which the peer's address stands.
    pub(crate) fn peer_field(self) -> &'static str {
        match self {
            Self::Ingress => "src",
            Self::Egress => "dst",
        }
    }
}

impl Ids {
    pub(crate) fn new(controller: &Arc<str>, owner: &'static str) -> Self {
        Self {
            controller: controller.clone(),
            owner,
            values: Vec::with_capacity(5),
        }
    }

    /// The next value in the declared order.
    #[must_use]
    pub(crate) fn with(mut self, key: &'static str, value: impl Into<Arc<str>>) -> Self {
        self.values.push((key, value.into()));
        self
    }

    pub(crate) fn primary(&self) -> String {
        let length: usize = self.values.iter().map(|(_, value)| 1 + value.len()).sum();
        let mut id = String::with_capacity(self.controller.len() + 1 + self.owner.len() + length);
        id.push_str(&self.controller);
        id.push(':');
        id.push_str(self.owner);
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
        self.datum_with(self.primary().into())
    }

    fn datum_with(&self, primary: Arc<str>) -> Datum {
        let mut pairs = Vec::with_capacity(3 + self.values.len());
        pairs.push((word(key::OWNER_CONTROLLER), self.controller.clone()));
        pairs.push((word(key::OWNER_TYPE), word(self.owner)));
        pairs.push((word(key::ID), primary));
        let values = self.values.iter();
        pairs.extend(values.map(|(key, value)| (word(key), value.clone())));
        Datum::map_of(pairs)
    }
}

impl Acl {
    /// Puts the ACL's row and that of its Sample; gives the ACL's identity for the port group.
    pub(crate) fn put(self, cx: &mut Context<'_>) -> Uuid {
        self.put_in(&Scope::Every, cx)
    }

    /// As [`Acl::put`], for some zones.
    pub(crate) fn put_in(self, scope: &Scope, cx: &mut Context<'_>) -> Uuid {
        let id: Arc<str> = self.ids.primary().into();
        let is_after_lb = self.pipeline == Pipeline::FromLportAfterLb;
        let direction = match self.pipeline {
            Pipeline::ToLport => "to-lport",
            Pipeline::FromLport | Pipeline::FromLportAfterLb => "from-lport",
        };
        let mut row = Row::new(Table::Acl, id.clone());
        row.columns.reserve_exact(12);
        row = row
            .with("action", word(self.action.as_str()))
            .with("direction", word(direction))
            .with("external_ids", self.ids.datum_with(id.clone()))
            .with("match", self.matches.as_str())
            .with("meter", word(METER))
            .with("priority", i64::from(self.priority));
        if is_after_lb {
            let options = Datum::map_of([(word("apply-after-lb"), word("true"))]);
            row = row.with("options", options);
        }
        if let Some(name) = &self.name {
            row = row.with("name", cut(name));
        }
        if let Some(severity) = self.severity {
            row = row.with("log", true).with("severity", word(severity));
        }
        if self.tier != 0 {
            row = row.with("tier", i64::from(self.tier));
        }
        if cx.options.sampling && is_sampled(&self.ids) {
            let point = sample_point(&id, &self.matches, self.action);
            let mut sample = Row::new(Table::Sample, point.to_string())
                .with("collectors", collector())
                .with("metadata", i64::from(point));
            row = row
                .with("sample_new", sample.uuid)
                .with("sample_est", sample.uuid);
            sample.origins.clone_from(&self.origins);
            sample.scope.clone_from(scope);
            cx.put(sample);
        }
        row.origins = self.origins;
        row.scope.clone_from(scope);
        let uuid = row.uuid;
        cx.put(row);
        uuid
    }
}

impl Logging {
    /// Reads an object's annotation, and says what is wrong with it. `words` are the keys that
    /// count.
    ///
    /// A value that is no severity turns its key off, text that is no JSON object all of them
    /// (`base_network_controller_namespace.go`, `aclLoggingUpdateNsInfo`).
    pub(crate) fn parse(
        annotation: Option<&At<String>>,
        object: &Key,
        words: &[&'static str],
    ) -> (Self, Vec<Diagnostic>) {
        let mut logging = Self::default();
        let mut diagnostics = Vec::new();
        let Some(annotation) = annotation else {
            return (logging, diagnostics);
        };
        let wrong = |message: String| {
            Diagnostic::new(
                Severity::Warning,
                "bad-annotation",
                format!("{object}: {message}"),
            )
            .at(annotation.span, "what is to be logged")
            .help(
                "write a JSON object such as {\"deny\": \"alert\", \"allow\": \"notice\"}; severities \
                 are alert, warning, notice, info and debug",
            )
        };
        if annotation.value.is_empty() {
            return (logging, diagnostics);
        }
        let values = match serde_json::from_str(&annotation.value) {
            Ok(serde_json::Value::Object(values)) => values,
            Ok(serde_json::Value::Null) => return (logging, diagnostics),
            Ok(_) | Err(_) => {
                let message = format!("annotation {LOGGING_ANNOTATION} is no JSON object: no logs");
                diagnostics.push(wrong(message));
                return (logging, diagnostics);
            }
        };
        // Go's decoder takes keys in any case, and gives up at a value that is no text.
        let known = |key: &str| {
            words
                .iter()
                .copied()
                .find(|word| word.eq_ignore_ascii_case(key))
        };
        let no_text = values
            .iter()
            .find(|(key, value)| known(key).is_some() && !value.is_string() && !value.is_null());
        if let Some((key, value)) = no_text {
            let message = format!(
                "annotation {LOGGING_ANNOTATION}: \"{key}\" is {value}, which is no text: no logs"
            );
            diagnostics.push(wrong(message));
            return (logging, diagnostics);
        }
        for (key, value) in &values {
            let (Some(word), Some(value)) = (known(key), value.as_str()) else {
                continue;
            };
            let severity = SEVERITIES.into_iter().find(|severity| *severity == value);
            match word {
                "allow" => logging.allow = severity,
                "deny" => logging.deny = severity,
                _ => logging.pass = severity,
            }
            if severity.is_none() && !value.is_empty() {
                let message = format!(
                    "annotation {LOGGING_ANNOTATION}: \"{value}\" is no severity: \"{key}\" is not \
                     logged"
                );
                diagnostics.push(wrong(message));
            }
        }
        (logging, diagnostics)
    }

    /// The severity for an ACL with this action.
    pub(crate) fn severity(&self, action: Action) -> Option<&'static str> {
        match action {
            Action::Allow | Action::AllowRelated | Action::AllowStateless => self.allow,
            Action::Drop | Action::Reject => self.deny,
            Action::Pass => self.pass,
        }
    }
}

/// A port group without its ports.
pub(crate) fn port_group(ids: &Ids, acls: Vec<Uuid>) -> Row {
    let name: Arc<str> = ids.hashed_name().into();
    Row::new(Table::PortGroup, name.clone())
        .with("acls", Datum::from_iter(acls))
        .with("external_ids", ids.datum())
        .with("name", name)
}

/// A word that many rows share.
pub(crate) fn word(text: &'static str) -> Arc<str> {
    WORDS.get(text).cloned().unwrap_or_else(|| text.into())
}

/// What the syslog severities of an ACL are (NB schema).
const SEVERITIES: [&str; 5] = ["alert", "warning", "notice", "info", "debug"];

static WORDS: LazyLock<HashMap<&'static str, Arc<str>>> = LazyLock::new(|| {
    let words = [
        key::OWNER_CONTROLLER,
        key::OWNER_TYPE,
        key::ID,
        key::NAME,
        key::DIRECTION,
        key::GRESS_INDEX,
        key::RULE_INDEX,
        key::PORT_POLICY_PROTOCOL,
        key::IP_BLOCK_INDEX,
        key::TYPE,
        key::IP,
        IP_FAMILY,
        DEFAULT_CONTROLLER,
        METER,
        "Ingress",
        "Egress",
        "None",
        "tcp",
        "udp",
        "sctp",
        "-1",
        "-2",
        "v4",
        "v6",
        "apply-after-lb",
        "true",
        "from-lport",
        "to-lport",
        "AdminNetworkPolicy",
        "BaselineAdminNetworkPolicy",
        "EgressFirewall",
        "MulticastNS",
        "Namespace",
        "NetpolNamespace",
        "NetpolNode",
        "NetworkPolicy",
        "PodSelector",
        "UDNIsolation",
    ];
    let actions = Action::ALL.map(Action::as_str);
    let all = words.into_iter().chain(SEVERITIES).chain(actions);
    all.map(|word| (word, word.into())).collect()
});

/// The key of an address set's family in its ids.
pub(crate) const IP_FAMILY: &str = "ip-family";

fn collector() -> Uuid {
    static UUID: LazyLock<Uuid> = LazyLock::new(|| Table::SampleCollector.uuid(COLLECTOR));
    *UUID
}

/// The first 63 characters.
fn cut(name: &str) -> &str {
    match name.char_indices().nth(63) {
        Some((end, _)) => name.get(..end).unwrap_or(name),
        None => name,
    }
}

/// What ovn-kubernetes samples: the ACLs of the default network's controller with an owner type
/// that belongs to a feature (`observability.go`).
fn is_sampled(ids: &Ids) -> bool {
    &*ids.controller == DEFAULT_CONTROLLER
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
