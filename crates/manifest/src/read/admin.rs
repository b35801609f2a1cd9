//! AdminNetworkPolicies and BaselineAdminNetworkPolicies of policy.networking.k8s.io/v1alpha1,
//! ClusterNetworkPolicies of v1alpha2.

use super::names::{is_domain_name, is_port_name};
use super::network_policy::refuse_other_way;
use super::scope::{Fields, Scope, each};
use crate::tree::{Value, shorten};
use crate::{
    AdminPeer, AdminPolicy, AdminPort, AdminRule, AdminSubject, AdminTier, At, Kind, Protocol,
    RuleAction, Selector, Span,
};

/// The highest priority that ovn-kubernetes takes for an AdminNetworkPolicy; the API's is 1000.
const MAX_ADMIN_PRIORITY: i64 = 99;
const MAX_PRIORITY: i64 = 1000;
/// Addresses or names in one peer.
const MAX_NETWORKS: usize = 25;
/// Characters of a rule's name.
const MAX_RULE_NAME: usize = 100;

/// What the three kinds differ in.
#[derive(Clone, Copy)]
struct Dialect {
    kind: Kind,
    /// Rules a direction, and peers and ports a rule.
    most: usize,
    actions: &'static [(&'static str, RuleAction)],
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Way {
    Ingress,
    Egress,
}

pub(super) fn admin_policy(
    scope: &mut Scope,
    kind: Kind,
    name: &At<String>,
    spec: Option<Value<'_>>,
) -> Option<AdminPolicy> {
    let dialect = match kind {
        Kind::ClusterNetworkPolicy => Dialect {
            kind,
            most: 25,
            actions: &[
                ("Accept", RuleAction::Allow),
                ("Deny", RuleAction::Deny),
                ("Pass", RuleAction::Pass),
            ],
        },
        Kind::BaselineAdminNetworkPolicy => Dialect {
            kind,
            most: 100,
            actions: &[("Allow", RuleAction::Allow), ("Deny", RuleAction::Deny)],
        },
        _ => Dialect {
            kind,
            most: 100,
            actions: &[
                ("Allow", RuleAction::Allow),
                ("Deny", RuleAction::Deny),
                ("Pass", RuleAction::Pass),
            ],
        },
    };
    if kind == Kind::BaselineAdminNetworkPolicy && name.value != "default" {
        scope.error::<()>(
            "name",
            name.span,
            "a BaselineAdminNetworkPolicy must be called `default`",
            "not `default`",
        );
    }
    let Some(spec) = spec else {
        return scope.error("missing-field", name.span, "must have `spec`", "no `spec`");
    };
    let mut fields = scope.fields(spec, "spec")?;
    let tier = match kind {
        Kind::ClusterNetworkPolicy => {
            let words = [
                ("Admin", AdminTier::Admin),
                ("Baseline", AdminTier::Baseline),
            ];
            let value = fields.require(scope, "tier");
            value.and_then(|value| scope.word(value, "tier", &words))
        }
        Kind::BaselineAdminNetworkPolicy => Some(AdminTier::Baseline),
        _ => Some(AdminTier::Admin),
    };
    let priority = priority(scope, &mut fields, dialect);
    let subject = fields.require(scope, "subject");
    let ingress = fields.take("ingress");
    let egress = fields.take("egress");
    fields.refuse_others(scope);

    let subject = subject.and_then(|value| subject_of(scope, value, dialect));
    let ingress = rules(scope, ingress, Way::Ingress, dialect);
    let egress = rules(scope, egress, Way::Egress, dialect);
    Some(AdminPolicy {
        tier: tier?,
        priority: priority?,
        subject: subject?,
        ingress: ingress?,
        egress: egress?,
    })
}

fn priority(scope: &mut Scope, fields: &mut Fields<'_>, dialect: Dialect) -> Option<At<u32>> {
    if dialect.kind == Kind::BaselineAdminNetworkPolicy {
        return Some(At::new(0, fields.span));
    }
    let value = fields.require(scope, "priority")?;
    let priority = scope.integer(value, "priority", "priority", 0..=MAX_PRIORITY)?;
    if dialect.kind == Kind::AdminNetworkPolicy && priority > MAX_ADMIN_PRIORITY {
        return scope.error_help(
            "priority",
            value.span(),
            format_args!("ovn-kubernetes takes no `priority` above {MAX_ADMIN_PRIORITY}"),
            "too high",
            "the API would allow 1000, but ovn-kubernetes does not install such a policy",
        );
    }
    Some(At::new(u32::try_from(priority).ok()?, value.span()))
}

fn subject_of(scope: &mut Scope, value: Value<'_>, dialect: Dialect) -> Option<AdminSubject> {
    let mut fields = scope.fields(value, "subject")?;
    let namespaces = fields.take("namespaces");
    let pods = fields.take("pods");
    let span = fields.span;
    if fields.refuse_others(scope) {
        return None;
    }
    match (namespaces, pods) {
        (Some(value), None) => {
            let selector = scope.selector(value, "namespaces")?;
            Some(AdminSubject::Namespaces(selector))
        }
        (None, Some(value)) => {
            let (namespaces, pods) = namespaced_pods(scope, value, dialect)?;
            Some(AdminSubject::Pods { namespaces, pods })
        }
        (Some(_), Some(pods)) => {
            let what = "`subject` has either `namespaces` or `pods`";
            scope.error("subject", pods.span(), what, "besides `namespaces`")
        }
        (None, None) => {
            let what = "`subject` must have `namespaces` or `pods`";
            scope.error("subject", span, what, "nobody")
        }
    }
}

fn namespaced_pods(
    scope: &mut Scope,
    value: Value<'_>,
    dialect: Dialect,
) -> Option<(Selector, Selector)> {
    let mut fields = scope.fields(value, "pods")?;
    let namespaces = match dialect.kind {
        // Not there, it is the selector that selects all.
        Kind::ClusterNetworkPolicy => fields.take("namespaceSelector"),
        _ => Some(fields.require(scope, "namespaceSelector")?),
    };
    let pods = fields.require(scope, "podSelector");
    let span = fields.span;
    fields.refuse_others(scope);
    let namespaces = match namespaces {
        Some(value) => scope.selector(value, "namespaceSelector"),
        None => Some(Selector {
            span,
            ..Selector::default()
        }),
    };
    let pods = pods.and_then(|value| scope.selector(value, "podSelector"));
    Some((namespaces?, pods?))
}

fn rules(
    scope: &mut Scope,
    value: Option<Value<'_>>,
    way: Way,
    dialect: Dialect,
) -> Option<Vec<AdminRule>> {
    let name = match way {
        Way::Ingress => "ingress",
        Way::Egress => "egress",
    };
    if let Some(value) = value {
        scope.bounded(value, name, dialect.most)?;
    }
    each(scope, value, name, |scope, value| {
        rule(scope, value, way, dialect, name)
    })
}

fn rule(
    scope: &mut Scope,
    value: Value<'_>,
    way: Way,
    dialect: Dialect,
    direction: &'static str,
) -> Option<AdminRule> {
    let is_cluster = dialect.kind == Kind::ClusterNetworkPolicy;
    let (own, other) = match way {
        Way::Ingress => ("from", "to"),
        Way::Egress => ("to", "from"),
    };
    let ports_name = if is_cluster { "protocols" } else { "ports" };
    let mut fields = scope.fields(value, direction)?;
    let span = fields.span;
    let name = fields.take("name");
    let action = fields.require(scope, "action");
    let peers = fields.require(scope, own);
    let ports = fields.take(ports_name);
    refuse_other_way(scope, value, own, other);
    fields.ignore(&[other]);
    fields.refuse_others(scope);

    let name = name.map_or(Some(String::new()), |value| rule_name(scope, value));
    let action = action.and_then(|value| scope.word(value, "action", dialect.actions));
    let peers = peers.and_then(|value| {
        if scope.bounded(value, own, dialect.most)?.len() == 0 {
            let what = format_args!("`{own}` must have at least one peer");
            return scope.error("peer", value.span(), what, "nobody");
        }
        each(scope, Some(value), own, |scope, value| {
            peer(scope, value, way, dialect)
        })
    });
    let ports = match ports {
        None => Some(Vec::new()),
        Some(value) => {
            let length = scope.bounded(value, ports_name, dialect.most)?.len();
            if is_cluster && length == 0 {
                let what = "`protocols` must have at least one element, or not be there";
                scope.error("missing-field", value.span(), what, "empty")
            } else {
                each(
                    scope,
                    Some(value),
                    ports_name,
                    |scope, value| match is_cluster {
                        true => protocol_port(scope, value),
                        false => admin_port(scope, value),
                    },
                )
            }
        }
    };
    let (peers, ports, action) = (peers?, ports?, action?);
    check_peers(scope, &peers, &ports, action)?;
    Some(AdminRule {
        name: name?,
        action,
        peers,
        ports,
        span,
    })
}

fn rule_name(scope: &mut Scope, value: Value<'_>) -> Option<String> {
    let name = scope.string(value, "name")?;
    if name.chars().count() > MAX_RULE_NAME {
        let what = format_args!("a rule's `name` may have at most {MAX_RULE_NAME} characters");
        return scope.error("name", value.span(), what, "too long");
    }
    Some(name.to_owned())
}

/// What peers and the rest of the rule demand of each other.
fn check_peers(
    scope: &mut Scope,
    peers: &[AdminPeer],
    ports: &[AdminPort],
    action: RuleAction,
) -> Option<()> {
    let named = ports.iter().find_map(|port| match port {
        AdminPort::Named { span, .. } => Some(*span),
        _ => None,
    });
    for peer in peers {
        let (what, span) = match peer {
            AdminPeer::Nodes(selector) => ("nodes", selector.span),
            AdminPeer::Networks(networks) => (
                "networks",
                networks.first().map_or(Span::default(), |first| first.span),
            ),
            AdminPeer::DomainNames(names) => {
                let span = names.first().map_or(Span::default(), |first| first.span);
                if action != RuleAction::Allow {
                    let what = "`domainNames` are for rules that allow only";
                    return scope.error("peer", span, what, "not allowed here");
                }
                ("domainNames", span)
            }
            AdminPeer::Namespaces(_) | AdminPeer::Pods { .. } => continue,
        };
        if let Some(named) = named {
            let message = format_args!("`{what}` have no named ports");
            scope.error::<()>("named-port", named, message, "a named port");
            scope.point(span, "for these peers");
            return None;
        }
    }
    Some(())
}

fn peer(scope: &mut Scope, value: Value<'_>, way: Way, dialect: Dialect) -> Option<AdminPeer> {
    let mut fields = scope.fields(value, "peer")?;
    let span = fields.span;
    let names: &[&'static str] = match way {
        Way::Ingress => &["namespaces", "pods"],
        Way::Egress => &["namespaces", "pods", "nodes", "networks", "domainNames"],
    };
    let taken = names.iter().map(|name| (*name, fields.take(name)));
    let found = taken.filter_map(|(name, value)| Some((name, value?)));
    let found = found.collect::<Vec<_>>();
    if fields.is_empty() {
        return scope.error("peer", span, "a peer must say who it is", "nobody");
    }
    if fields.refuse_others(scope) {
        return None;
    }
    let &[(name, value)] = found.as_slice() else {
        return match found.as_slice() {
            [] => scope.error("peer", span, "a peer must say who it is", "nobody"),
            [(first, _), (second, value), ..] => {
                let what = format_args!("a peer has either `{first}` or `{second}`");
                let label = format!("besides `{first}`");
                scope.error_help("peer", value.span(), what, label, "make two peers of it")
            }
            [_] => None,
        };
    };
    match name {
        "namespaces" => scope
            .selector(value, "namespaces")
            .map(AdminPeer::Namespaces),
        "pods" => {
            let (namespaces, pods) = namespaced_pods(scope, value, dialect)?;
            Some(AdminPeer::Pods { namespaces, pods })
        }
        "nodes" => scope.selector(value, "nodes").map(AdminPeer::Nodes),
        "networks" => networks(scope, value),
        _ => domain_names(scope, value),
    }
}

fn networks(scope: &mut Scope, value: Value<'_>) -> Option<AdminPeer> {
    if scope.bounded(value, "networks", MAX_NETWORKS)?.len() == 0 {
        let what = "`networks` must have at least one element";
        return scope.error("peer", value.span(), what, "nobody");
    }
    let networks = each(scope, Some(value), "networks", |scope, value| {
        scope.cidr(value, "networks")
    });
    let networks = networks?;
    for (index, network) in networks.iter().enumerate() {
        if let Some(first) = networks
            .iter()
            .take(index)
            .find(|other| other.value == network.value)
        {
            scope.error::<()>(
                "duplicate-value",
                network.span,
                "`networks` has the same twice",
                "again",
            );
            scope.point(first.span, "first here");
            return None;
        }
    }
    Some(AdminPeer::Networks(networks))
}

fn domain_names(scope: &mut Scope, value: Value<'_>) -> Option<AdminPeer> {
    if scope.bounded(value, "domainNames", MAX_NETWORKS)?.len() == 0 {
        let what = "`domainNames` must have at least one element";
        return scope.error("peer", value.span(), what, "nobody");
    }
    let names = each(scope, Some(value), "domainNames", |scope, value| {
        let name = scope.located(value, "domainNames")?;
        if !is_domain_name(&name, true) {
            let what = format_args!("`{}` is no domain name", shorten(&name));
            let label = "not a domain name";
            return scope.error("dns-name", value.span(), what, label);
        }
        Some(name)
    });
    Some(AdminPeer::DomainNames(names?))
}

/// Of v1alpha1.
fn admin_port(scope: &mut Scope, value: Value<'_>) -> Option<AdminPort> {
    let mut fields = scope.fields(value, "ports")?;
    let span = fields.span;
    let number = fields.take("portNumber");
    let range = fields.take("portRange");
    let named = fields.take("namedPort");
    if fields.refuse_others(scope) {
        return None;
    }
    match (number, range, named) {
        (Some(value), None, None) => {
            let mut fields = scope.fields(value, "portNumber")?;
            let protocol = fields.take("protocol");
            let port = fields.require(scope, "port");
            fields.refuse_others(scope);
            let protocol = protocol_or_tcp(scope, protocol);
            let port = port.and_then(|value| scope.port(value, "port"))?;
            Some(AdminPort::Numbers {
                protocol: protocol?,
                start: port,
                end: port,
                span,
            })
        }
        (None, Some(value), None) => {
            let mut fields = scope.fields(value, "portRange")?;
            let protocol = fields.take("protocol");
            let bounds = range_bounds(scope, fields);
            let protocol = protocol_or_tcp(scope, protocol);
            let (start, end) = bounds?;
            Some(AdminPort::Numbers {
                protocol: protocol?,
                start,
                end,
                span,
            })
        }
        (None, None, Some(value)) => Some(AdminPort::Named {
            protocol: None,
            name: port_name(scope, value, "namedPort")?,
            span,
        }),
        _ => {
            let what = "a port has either `portNumber`, `portRange` or `namedPort`";
            scope.error("port", span, what, "needs one of them")
        }
    }
}

fn protocol_or_tcp(scope: &mut Scope, value: Option<Value<'_>>) -> Option<Protocol> {
    value.map_or(Some(Protocol::Tcp), |value| scope.protocol(value))
}

/// `start` and `end`; that is all of the fields.
fn range_bounds(scope: &mut Scope, mut fields: Fields<'_>) -> Option<(u16, u16)> {
    let start = fields.require(scope, "start");
    let end = fields.require(scope, "end");
    fields.refuse_others(scope);
    let first = start.and_then(|value| scope.port(value, "start"));
    let last = end.and_then(|value| scope.port(value, "end"));
    let (first, last) = (first?, last?);
    if first >= last {
        let what = format_args!("`end` {last} must be above `start` {first}");
        scope.error::<()>("end-port", end?.span(), what, "not above `start`");
        scope.point(start?.span(), "the first port");
        return None;
    }
    Some((first, last))
}

fn port_name(scope: &mut Scope, value: Value<'_>, name: &str) -> Option<String> {
    let text = scope.string(value, name)?;
    if !is_port_name(text) {
        return scope.error_help(
            "port-name",
            value.span(),
            format_args!("`{}` is no port's name", shorten(text)),
            "not a port's name",
            "lower case letters, digits and single dashes, a letter among them, 15 at most",
        );
    }
    Some(text.to_owned())
}

/// Of v1alpha2.
fn protocol_port(scope: &mut Scope, value: Value<'_>) -> Option<AdminPort> {
    let mut fields = scope.fields(value, "protocols")?;
    let span = fields.span;
    let protocols = [
        ("tcp", Protocol::Tcp),
        ("udp", Protocol::Udp),
        ("sctp", Protocol::Sctp),
    ];
    let taken = protocols.map(|(name, protocol)| (name, protocol, fields.take(name)));
    let named = fields.take("destinationNamedPort");
    if fields.refuse_others(scope) {
        return None;
    }
    let found = taken
        .into_iter()
        .filter_map(|(name, protocol, value)| Some((name, protocol, value?)));
    let found = found.collect::<Vec<_>>();
    match (found.as_slice(), named) {
        (&[(name, protocol, value)], None) => {
            let mut fields = scope.fields(value, name)?;
            let port = fields.take("destinationPort");
            let inner = fields.span;
            if fields.is_empty() {
                let what = format_args!("`{name}` must have `destinationPort`");
                return scope.error("missing-field", inner, what, "no `destinationPort`");
            }
            if fields.refuse_others(scope) {
                return None;
            }
            let Some(port) = port else {
                return Some(AdminPort::Protocol { protocol, span });
            };
            let (start, end) = destination_port(scope, port)?;
            Some(AdminPort::Numbers {
                protocol,
                start,
                end,
                span,
            })
        }
        ([], Some(value)) => Some(AdminPort::Named {
            protocol: None,
            name: port_name(scope, value, "destinationNamedPort")?,
            span,
        }),
        _ => {
            let what = "an element of `protocols` has one of `tcp`, `udp`, `sctp` and \
                        `destinationNamedPort`";
            scope.error("port", span, what, "needs one of them")
        }
    }
}

fn destination_port(scope: &mut Scope, value: Value<'_>) -> Option<(u16, u16)> {
    let mut fields = scope.fields(value, "destinationPort")?;
    let number = fields.take("number");
    let range = fields.take("range");
    let span = fields.span;
    if fields.refuse_others(scope) {
        return None;
    }
    match (number, range) {
        (Some(value), None) => scope.port(value, "number").map(|port| (port, port)),
        (None, Some(value)) => {
            let fields = scope.fields(value, "range")?;
            range_bounds(scope, fields)
        }
        _ => {
            let what = "`destinationPort` has either `number` or `range`";
            scope.error("port", span, what, "needs one of them")
        }
    }
}
