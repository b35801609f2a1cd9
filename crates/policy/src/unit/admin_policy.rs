//! AdminNetworkPolicies, BaselineAdminNetworkPolicies and ClusterNetworkPolicies
//! (`controller/admin_network_policy`; ADR 5 for the last, which ovn-kubernetes does not have).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use netverdict_manifest::{
    AdminPeer, AdminPolicy, AdminPort, AdminRule, AdminSubject, AdminTier, Diagnostic, Key, Kind,
    Node, Object, Protocol, RuleAction, Selector, Severity, Span, Spec,
};
use netverdict_ovn::ids::key;
use netverdict_ovsdb::Datum;
use netverdict_types::Action;
use uuid::Uuid;

use super::egress_firewall::dns_names;
use super::network::Network;
use super::{Context, members, node, origin};
use crate::acl::{
    Acl, DEFAULT_CONTROLLER, Gress, IP_FAMILY, Ids, LOGGING_ANNOTATION, Logging, port_group, word,
};
use crate::cluster::{PodView, ZoneName};
use crate::options::{Compat, Options};
use crate::ports::{L4, Ports, term_by_pod, widen};
use crate::row::{Origin, Row, Scope, Table};
use crate::selector::{Namespaces, Selection};

/// The tier of AdminNetworkPolicies (`types.DefaultANPACLTier`).
const ADMIN_TIER: u8 = 1;
/// The tier of BaselineAdminNetworkPolicies (`types.DefaultBANPACLTier`).
const BASELINE_TIER: u8 = 3;
/// The priority of the first rule of the first policy (`ANPFlowStartPriority`).
const FIRST: u16 = 30_000;
/// Rules that a policy of v1alpha1 may have a direction (`ANPMaxRulesPerObject`), and the share
/// that each priority gets.
const MOST_ADMIN_RULES: u16 = 100;
/// The last priority that ovn-kubernetes takes for AdminNetworkPolicies
/// (`ovnkSupportedPriorityUpperBound`).
const LAST_ADMIN: u32 = 99;
/// The priority of the first rule of a BaselineAdminNetworkPolicy (`BANPFlowPriority`).
const FIRST_BASELINE: u16 = 1750;
/// Rules that a ClusterNetworkPolicy may have a direction (v1alpha2).
const MOST_CLUSTER_RULES: u16 = 25;
/// The last priority of a ClusterNetworkPolicy (v1alpha2).
const LAST_CLUSTER: u32 = 1000;
/// The priority of the first rule of the ClusterNetworkPolicies behind [`LAST_ADMIN`].
const FIRST_BEHIND: u16 = 20_000;

pub(super) fn compile(key: &Key, cx: &mut Context<'_>) {
    let Some(object) = cx.object(key) else { return };
    let Spec::AdminPolicy(policy) = &object.spec else {
        return;
    };
    let first = match first_priority(object, policy, cx) {
        Ok(first) => first,
        Err(refusal) => return cx.tell(refusal),
    };
    let controller = word(DEFAULT_CONTROLLER);
    // There is nobody to follow in rows of ClusterNetworkPolicies.
    let strict = cx.options.compat == Compat::Strict || key.kind == Kind::ClusterNetworkPolicy;
    let annotation = object.meta.annotations.get(LOGGING_ANNOTATION);
    let (logging, wrong) = Logging::parse(annotation, key, &["allow", "deny", "pass"]);
    let refusal = match annotation {
        // `getACLLoggingLevelsForANP` fails, and with it the whole policy.
        Some(annotation) if !wrong.is_empty() && !strict => {
            let message = format!("{key} is not installed: its levels for the log are wrong");
            let refusal = Diagnostic::new(Severity::Error, "admin-policy", message);
            Some(refusal.at(
                annotation.span,
                "ovn-kubernetes takes all of it or no policy",
            ))
        }
        _ => None,
    };
    wrong.into_iter().for_each(|wrong| cx.tell(wrong));
    if let Some(refusal) = refusal {
        return cx.tell(refusal);
    }
    let subject = subject(policy, cx);
    tell_of_other_networks(object, policy, &subject, cx);

    let ids = Ids::new(&controller, key.kind.as_str()).with(key::NAME, key.name.clone());
    let maker = Maker {
        object,
        group: ids.hashed_name(),
        ids,
        tier: match policy.tier {
            AdminTier::Admin => ADMIN_TIER,
            AdminTier::Baseline => BASELINE_TIER,
        },
        logging,
        strict,
        subject,
    };
    let mut acls = Acls::default();
    for gress in Gress::BOTH {
        let rules = match gress {
            Gress::Ingress => &policy.ingress,
            Gress::Egress => &policy.egress,
        };
        for ((index, rule), priority) in rules.iter().enumerate().zip((0..=first).rev()) {
            maker.rule(Place { gress, index }, rule, priority, &mut acls, cx);
        }
    }
    maker.port_group(acls, cx);
}

/// Makes the rows of one policy.
struct Maker<'a> {
    object: &'a Object,
    ids: Ids,
    /// The name of the port group.
    group: String,
    tier: u8,
    logging: Logging,
    /// As the API says, not as ovn-kubernetes does.
    strict: bool,
    subject: Vec<&'a PodView>,
}

/// Which rule.
#[derive(Clone, Copy)]
struct Place {
    gress: Gress,
    index: usize,
}

/// The ACLs of a policy.
#[derive(Default)]
struct Acls {
    /// In all zones.
    everywhere: Vec<Uuid>,
    /// Those that are different from zone to zone.
    by_zone: BTreeMap<ZoneName, Vec<Uuid>>,
    /// True if there may be such, so that a zone may be without.
    differ: bool,
}

/// A port that a rule names, of one pod.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Named {
    name: String,
    protocol: Protocol,
    address: IpAddr,
    port: u16,
}

impl Maker<'_> {
    fn rule(
        &self,
        place: Place,
        rule: &AdminRule,
        priority: u16,
        acls: &mut Acls,
        cx: &mut Context<'_>,
    ) {
        let gress = place.gress;
        let origin = self.origin(place, rule.span);
        let peers = Peers::read(rule, self, cx);
        let l3 = self.addresses(place, &peers, &origin, cx);
        let lport = gress.lport(&self.group);
        let put = |protocol: String, matches: String, scope: Scope, cx: &mut Context<'_>| {
            let action = match rule.action {
                RuleAction::Allow => Action::AllowRelated,
                RuleAction::Deny => Action::Drop,
                RuleAction::Pass => Action::Pass,
            };
            let acl = Acl {
                ids: self.ids_of(place).with(key::PORT_POLICY_PROTOCOL, protocol),
                name: Some(self.acl_name(place)),
                pipeline: gress.pipeline(),
                tier: self.tier,
                priority,
                matches,
                action,
                severity: self.logging.severity(action),
                origins: vec![origin.clone()],
            };
            acl.put_in(&scope, cx)
        };

        let (numbers, names) = ports(rule);
        if !numbers.is_empty() || names.is_empty() {
            for l4 in L4::of(&numbers) {
                let mut matches = format!("{lport} && {l3}");
                if let Some(term) = l4.term {
                    matches = format!("{matches} && {term}");
                }
                let acl = put(l4.key.to_owned(), matches, Scope::Every, cx);
                acls.everywhere.push(acl);
            }
        }
        if names.is_empty() {
            return;
        }
        let peers_named = named_ports(&names, &peers.pods);
        match (gress, self.strict) {
            (Gress::Egress, _) => {
                for (protocol, term) in self.by_protocol(peers_named) {
                    let matches = format!("{lport} && {term}");
                    let acl = put(named_key(protocol), matches, Scope::Every, cx);
                    acls.everywhere.push(acl);
                }
            }
            (Gress::Ingress, true) => {
                let named = named_ports(&names, &self.subject);
                for (protocol, term) in self.by_protocol(named) {
                    let matches = format!("{lport} && {l3} && {term}");
                    let acl = put(named_key(protocol), matches, Scope::Every, cx);
                    acls.everywhere.push(acl);
                }
            }
            (Gress::Ingress, false) => {
                // A zone names its own subject pods, and also the peers.
                self.tell_of_peers_ports(rule, &names, &peers, cx);
                acls.differ = true;
                for zone in cx.zones() {
                    let own = self.subject.iter().filter(|pod| *pod.zone() == zone);
                    let own: Vec<&PodView> = own.copied().collect();
                    let mut named = named_ports(&names, &own);
                    named.extend(peers_named.iter().cloned());
                    for (protocol, term) in self.by_protocol(named) {
                        let matches = format!("{l3} && {term}");
                        let scope = Scope::Zone(zone.clone());
                        let acl = put(named_key(protocol), matches, scope, cx);
                        acls.by_zone.entry(zone.clone()).or_default().push(acl);
                    }
                }
            }
        }
    }

    /// The terms of named ports, for each protocol that has any.
    fn by_protocol(&self, mut named: Vec<Named>) -> Vec<(Protocol, String)> {
        // ovn-kubernetes sorts addresses as text, and says twice what it finds twice.
        named.sort_by_cached_key(|port| (port.name.clone(), port.address.to_string()));
        if self.strict {
            named.dedup();
        }
        Protocol::ALL
            .into_iter()
            .filter_map(|protocol| {
                let ends: Vec<(IpAddr, u16)> = named
                    .iter()
                    .filter(|port| port.protocol == protocol)
                    .map(|port| (port.address, port.port))
                    .collect();
                (!ends.is_empty()).then(|| (protocol, term_by_pod(protocol, &ends)))
            })
            .collect()
    }

    /// Puts the address sets of a rule; gives the term for them.
    fn addresses(
        &self,
        place: Place,
        peers: &Peers<'_>,
        origin: &Origin,
        cx: &mut Context<'_>,
    ) -> String {
        let ids = self.ids_of(place);
        let field = place.gress.peer_field();
        let mut terms = Vec::new();
        for family in families(cx.options) {
            let addresses = peers.addresses.iter();
            let addresses = addresses
                .filter(|(_, is_v6)| *is_v6 == family.is_v6)
                .map(|(address, _)| address.as_str());
            let row = address_set(&ids, family, addresses).from(origin.clone());
            terms.push(format!("{}.{field} == ${}", family.ip, row.key));
            cx.put(row);
        }
        for (family, set) in dns_names(self.object, &peers.names, origin, cx) {
            terms.push(format!("{}.{field} == ${set}", family.ip));
        }
        format!("(({}))", terms.join(" || "))
    }

    fn port_group(&self, acls: Acls, cx: &mut Context<'_>) {
        let network = Network::default_network();
        let ports = members::ports(&network, &self.subject);
        let group = |acls: Vec<Uuid>, scope: Scope| {
            let mut row = port_group(&self.ids, acls).from(origin(self.object));
            row.ports.clone_from(&ports);
            row.scope = scope;
            row
        };
        if !acls.differ {
            return cx.put(group(acls.everywhere, Scope::Every));
        }
        for zone in cx.zones() {
            let mut all = acls.everywhere.clone();
            all.extend(acls.by_zone.get(&zone).into_iter().flatten());
            cx.put(group(all, Scope::Zone(zone)));
        }
    }

    fn ids_of(&self, place: Place) -> Ids {
        let ids = self.ids.clone();
        ids.with(key::DIRECTION, word(place.gress.as_str()))
            .with(key::GRESS_INDEX, place.index.to_string())
    }

    fn acl_name(&self, Place { gress, index }: Place) -> String {
        let word = match self.object.key.kind {
            Kind::AdminNetworkPolicy => "ANP",
            Kind::BaselineAdminNetworkPolicy => "BANP",
            _ => "CNP",
        };
        let name = &self.object.key.name;
        format!("{word}:{name}:{}:{index}", gress.as_str())
    }

    fn origin(&self, Place { gress, index }: Place, span: Span) -> Origin {
        Origin {
            object: self.object.key.clone(),
            rule: Some(format!("{}[{index}]", gress.list()).into()),
            span,
        }
    }

    fn tell_of_peers_ports(
        &self,
        rule: &AdminRule,
        names: &[(String, Option<Protocol>)],
        peers: &Peers<'_>,
        cx: &mut Context<'_>,
    ) {
        let is_subject: BTreeSet<(&Arc<str>, &Arc<str>)> = self.subject.iter().map(name).collect();
        let other = peers
            .pods
            .iter()
            .filter(|pod| !is_subject.contains(&name(pod)))
            .find(|pod| !named_ports(names, &[**pod]).is_empty());
        let Some(other) = other else { return };
        let span = rule.ports.iter().find_map(|port| match port {
            AdminPort::Named { span, .. } => Some(*span),
            _ => None,
        });
        let object = &self.object.key;
        let message =
            format!("a rule of {object} is also about pods that it is not for, in ovn-kubernetes");
        let place = format!(
            "pod {}/{} has a port of that name, and is a peer",
            other.namespace(),
            other.name()
        );
        let diagnostic = Diagnostic::new(Severity::Warning, "named-port-of-peer", message)
            .at(span.unwrap_or(rule.span), place)
            .help(
                "ovn-kubernetes decides what peers send to a peer's port of that name wherever \
                 the peer shares a node with a subject pod; `--compat strict` does not, and a \
                 port number avoids it",
            );
        cx.tell(diagnostic);
    }
}

/// Whom a rule is about.
#[derive(Default)]
struct Peers<'a> {
    /// Addresses and ranges as text, and whether they are of IPv6.
    addresses: BTreeSet<(String, bool)>,
    /// Pods, as often as peers select them.
    pods: Vec<&'a PodView>,
    names: Vec<(String, Span)>,
}

impl<'a> Peers<'a> {
    fn read(rule: &AdminRule, maker: &Maker<'_>, cx: &mut Context<'a>) -> Self {
        let mut all = Self::default();
        for peer in &rule.peers {
            match peer {
                AdminPeer::Namespaces(namespaces) => all.add_pods(namespaces, None, cx),
                AdminPeer::Pods { namespaces, pods } => all.add_pods(namespaces, Some(pods), cx),
                AdminPeer::Nodes(selector) => {
                    for node in cx.nodes(selector) {
                        let mut addresses = node::host_addresses(node);
                        // The API speaks of the addresses in the node's status.
                        if maker.strict
                            && let Spec::Node(Node { addresses: own, .. }) = &node.spec
                            && !own.is_empty()
                        {
                            addresses.clone_from(own);
                        }
                        all.add(addresses);
                    }
                }
                AdminPeer::Networks(ranges) => {
                    for range in ranges {
                        let range = range.value.network();
                        all.addresses.insert((range.to_string(), range.is_v6()));
                    }
                }
                AdminPeer::DomainNames(names) => {
                    let names = names.iter().map(|name| (name.value.clone(), name.span));
                    all.names.extend(names);
                }
            }
        }
        all
    }

    fn add_pods(&mut self, namespaces: &Selector, pods: Option<&Selector>, cx: &mut Context<'a>) {
        let namespaces = Namespaces::Selected(namespaces.clone());
        let network = Network::default_network();
        for pod in cx.pods(&Selection::new(namespaces, pods.cloned())) {
            if pod.spec().node.is_some() && network.has_port(pod) {
                self.add(network.addresses(pod));
                self.pods.push(pod);
            }
        }
    }

    fn add(&mut self, addresses: Vec<IpAddr>) {
        let addresses = addresses.into_iter();
        self.addresses
            .extend(addresses.map(|address| (address.to_string(), address.is_ipv6())));
    }
}

/// An address family of the cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Family {
    pub(super) is_v6: bool,
    /// `v4` or `v6`.
    pub(super) word: &'static str,
    /// `ip4` or `ip6`.
    pub(super) ip: &'static str,
}

/// The address families of the cluster.
pub(super) fn families(options: &Options) -> impl Iterator<Item = Family> + use<> {
    let families = members::Families::of_cluster(options);
    let v4 = families.has(false).then_some(Family {
        is_v6: false,
        word: "v4",
        ip: "ip4",
    });
    let v6 = families.has(true).then_some(Family {
        is_v6: true,
        word: "v6",
        ip: "ip6",
    });
    v4.into_iter().chain(v6)
}

/// An address set; `ids` are those of both families.
pub(super) fn address_set<'s>(
    ids: &Ids,
    family: Family,
    addresses: impl Iterator<Item = &'s str>,
) -> Row {
    let ids = ids.clone().with(IP_FAMILY, word(family.word));
    let name: Arc<str> = ids.hashed_name().into();
    Row::new(Table::AddressSet, name.clone())
        .with("addresses", addresses.collect::<Datum>())
        .with("external_ids", ids.datum())
        .with("name", name)
}

/// The OVN priority of a policy's first rules, or why it has none.
fn first_priority(
    object: &Object,
    policy: &AdminPolicy,
    cx: &mut Context<'_>,
) -> Result<u16, Diagnostic> {
    let priority = policy.priority.value;
    let (last, most, from) = match object.key.kind {
        Kind::AdminNetworkPolicy => (LAST_ADMIN, MOST_ADMIN_RULES, "ovn-kubernetes"),
        Kind::BaselineAdminNetworkPolicy => (0, MOST_ADMIN_RULES, "the API"),
        _ => (LAST_CLUSTER, MOST_CLUSTER_RULES, "the API"),
    };
    let refuse = |message: String, span, place: String| {
        Err(Diagnostic::new(Severity::Error, "admin-policy", message).at(span, place))
    };
    if priority > last {
        return refuse(
            format!(
                "{} is not installed: its priority is {priority}",
                object.key
            ),
            policy.priority.span,
            format!("{from} takes none above {last}"),
        );
    }
    for rules in [&policy.ingress, &policy.egress] {
        if let Some(rule) = rules.get(usize::from(most)) {
            return refuse(
                format!("{} is not installed: it has too many rules", object.key),
                rule.span,
                format!("{from} takes {most} a direction"),
            );
        }
    }
    let within = |start: u16, share: u16, number: u32| {
        let number = u16::try_from(number).ok()?;
        start.checked_sub(share.checked_mul(number)?)
    };
    let first = match (object.key.kind, policy.tier) {
        (Kind::BaselineAdminNetworkPolicy, _) => Some(FIRST_BASELINE),
        (Kind::ClusterNetworkPolicy, AdminTier::Baseline) => {
            within(FIRST, MOST_CLUSTER_RULES, priority)
        }
        _ if priority <= LAST_ADMIN => within(FIRST, MOST_ADMIN_RULES, priority),
        _ => {
            let number = number_behind(priority, cx);
            within(FIRST_BEHIND, MOST_CLUSTER_RULES, number)
                .filter(|first| *first >= MOST_CLUSTER_RULES)
        }
    };
    match first {
        Some(first) => Ok(first),
        None => refuse(
            format!(
                "{} is not installed: there are too many priorities before it",
                object.key
            ),
            policy.priority.span,
            format!("above {LAST_ADMIN} there is room for 800 different ones"),
        ),
    }
}

/// How many different priorities of ClusterNetworkPolicies in the Admin tier there are between
/// [`LAST_ADMIN`] and this one.
fn number_behind(priority: u32, cx: &mut Context<'_>) -> u32 {
    let before: BTreeSet<u32> = cx
        .objects(Kind::ClusterNetworkPolicy)
        .filter_map(|object| match &object.spec {
            Spec::AdminPolicy(policy) if policy.tier == AdminTier::Admin => {
                Some(policy.priority.value)
            }
            _ => None,
        })
        .filter(|other| (LAST_ADMIN + 1..priority).contains(other))
        .collect();
    u32::try_from(before.len()).unwrap_or(u32::MAX)
}

/// The pods of a policy that have a port.
fn subject<'a>(policy: &AdminPolicy, cx: &mut Context<'a>) -> Vec<&'a PodView> {
    let (namespaces, pods) = match &policy.subject {
        AdminSubject::Namespaces(namespaces) => (namespaces, None),
        AdminSubject::Pods { namespaces, pods } => (namespaces, Some(pods.clone())),
    };
    let selection = Selection::new(Namespaces::Selected(namespaces.clone()), pods);
    let network = Network::default_network();
    let mut pods = cx.pods(&selection);
    pods.retain(|pod| pod.spec().node.is_some() && network.has_port(pod));
    pods
}

fn tell_of_other_networks(
    object: &Object,
    policy: &AdminPolicy,
    subject: &[&PodView],
    cx: &mut Context<'_>,
) {
    let kinds = [Kind::UserDefinedNetwork, Kind::ClusterUserDefinedNetwork];
    if !kinds
        .map(|kind| cx.objects(kind).next().is_some())
        .contains(&true)
    {
        return;
    }
    let namespaces: BTreeSet<&Arc<str>> = subject.iter().map(|pod| pod.namespace()).collect();
    let mut others = namespaces
        .into_iter()
        .filter(|namespace| !cx.network(namespace).is_default());
    let Some(namespace) = others.next() else {
        return;
    };
    let more = match others.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (AdminSubject::Namespaces(selector)
    | AdminSubject::Pods {
        namespaces: selector,
        ..
    }) = &policy.subject;
    let message = format!(
        "{} does not hold in the user-defined network of namespace {namespace}{more}",
        object.key
    );
    cx.tell(
        Diagnostic::new(Severity::Warning, "other-network", message)
            .at(selector.span, "its pods are selected")
            .help("such policies hold in the default network only, as in ovn-kubernetes"),
    );
}

/// The ports of a rule by number, and those by name.
fn ports(rule: &AdminRule) -> (Vec<Ports>, Vec<(String, Option<Protocol>)>) {
    let mut numbers = Vec::new();
    let mut names = BTreeSet::new();
    for port in &rule.ports {
        match port {
            AdminPort::Numbers {
                protocol,
                start,
                end,
                ..
            } => numbers.push(Ports {
                protocol: *protocol,
                range: Some((*start, *end)),
            }),
            AdminPort::Protocol { protocol, .. } => numbers.push(Ports {
                protocol: *protocol,
                range: None,
            }),
            AdminPort::Named { protocol, name, .. } => {
                names.insert((name.clone(), *protocol));
            }
        }
    }
    widen(&mut numbers);
    (numbers, names.into_iter().collect())
}

/// The ports of pods that have one of these names, and where it is told its protocol.
fn named_ports(names: &[(String, Option<Protocol>)], pods: &[&PodView]) -> Vec<Named> {
    let network = Network::default_network();
    let mut named = Vec::new();
    for pod in pods {
        let ports = pod.spec().ports.iter();
        let ports = ports.filter(|port| !port.name.is_empty()).filter(|port| {
            names.iter().any(|(name, protocol)| {
                *name == port.name && protocol.is_none_or(|protocol| protocol == port.protocol)
            })
        });
        for port in ports {
            let addresses = network.addresses(pod).into_iter();
            named.extend(addresses.map(|address| Named {
                name: port.name.clone(),
                protocol: port.protocol,
                address,
                port: port.port,
            }));
        }
    }
    named
}

fn named_key(protocol: Protocol) -> String {
    format!("{}-namedPort", protocol.ovn())
}

fn name<'a>(pod: &&'a PodView) -> (&'a Arc<str>, &'a Arc<str>) {
    (pod.namespace(), pod.name())
}
