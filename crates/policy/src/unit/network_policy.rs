//! NetworkPolicy (`base_network_controller_policy.go`, `gress_policy.go`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use netverdict_manifest::{
    Block, Diagnostic, Key, NetworkPolicy, NetworkRule, Object, Peer, PolicyPort, PortRef,
    Protocol, Selector, Severity, Span, Spec,
};
use netverdict_ovn::ids::key as id;
use netverdict_types::Action;
use uuid::Uuid;

use super::members::Families;
use super::network::Network;
use super::{AddressesOf, Context, Unit, address, addresses, members, namespace, origin};
use crate::acl::{ALLOW_PRIORITY, Acl, DEFAULT_TIER, Gress, Ids, Logging, port_group, word};
use crate::cluster::PodView;
use crate::options::Compat;
use crate::ports::{L4, Ports, term_by_pod, widen};
use crate::row::Origin;
use crate::selector::{Namespaces, Selection};

/// The annotation that makes a policy's ACLs stateless (`--enable-stateless-netpol`).
const STATELESS_ANNOTATION: &str = "k8s.ovn.org/acl-stateless";

pub(super) fn compile(key: &Key, cx: &mut Context<'_>) {
    let Some(object) = cx.object(key) else { return };
    let Spec::NetworkPolicy(policy) = &object.spec else {
        return;
    };
    cx.demand(Unit::Isolation(key.namespace.clone()));
    let network = cx.network(&key.namespace);
    let subjects = cx.pods(&subjects(object, policy));
    let name: Arc<str> = format!("{}:{}", key.namespace, key.name).into();
    let ids = Ids::new(&network.controller, "NetworkPolicy").with(id::NAME, name.clone());
    let mut compiler = PolicyCompiler {
        object,
        network: &network,
        families: Families::of(&network, cx.options),
        subjects: &subjects,
        group: ids.hashed_name(),
        name,
        logging: namespace::logging(&key.namespace, cx).0,
        action: action(object, cx),
        acls: Vec::new(),
    };
    for (gress, isolates, rules) in [
        (Gress::Ingress, policy.isolates_ingress, &policy.ingress),
        (Gress::Egress, policy.isolates_egress, &policy.egress),
    ] {
        // ovn-kubernetes makes the ACLs all the same: they count for pods that other policies
        // isolate, and before a baseline policy.
        if !isolates && cx.options.compat == Compat::Strict {
            continue;
        }
        for (index, rule) in rules.iter().enumerate() {
            compiler.rule(gress, index, rule, cx);
        }
    }
    let mut row = port_group(&ids, compiler.acls).from(origin(object));
    row.ports = members::ports(&network, &subjects);
    cx.put(row);
}

/// The pods that a policy is for.
pub(super) fn subjects(object: &Object, policy: &NetworkPolicy) -> Selection {
    let own = Namespaces::Named(object.key.namespace.clone());
    Selection::new(own, Some(policy.pods.clone()))
}

fn action(object: &Object, cx: &mut Context<'_>) -> Action {
    let Some(annotation) = object.meta.annotations.get(STATELESS_ANNOTATION) else {
        return Action::AllowRelated;
    };
    if annotation.value != "true" {
        return Action::AllowRelated;
    }
    if cx.options.stateless {
        let message = format!("{}: replies need rules of their own", object.key);
        cx.tell(
            Diagnostic::new(Severity::Warning, "departs-from-api", message)
                .at(annotation.span, "makes the policy's ACLs stateless")
                .help(
                    "the API lets replies through; without the annotation so does ovn-kubernetes",
                ),
        );
        return Action::AllowStateless;
    }
    let message = format!("{}: {STATELESS_ANNOTATION} has no effect", object.key);
    cx.tell(
        Diagnostic::new(Severity::Note, "stateless-off", message).at(
            annotation.span,
            "ovn-kubernetes heeds it only with --enable-stateless-netpol",
        ),
    );
    Action::AllowRelated
}

struct PolicyCompiler<'a> {
    object: &'a Object,
    network: &'a Network,
    families: Families,
    subjects: &'a [&'a PodView],
    /// The name of the policy's port group.
    group: String,
    /// `namespace:name`.
    name: Arc<str>,
    logging: Logging,
    action: Action,
    acls: Vec<Uuid>,
}

/// The pods of a peer.
struct Peers {
    selection: Selection,
    /// See [`AddressesOf::legacy`].
    legacy: bool,
    origin: Origin,
}

impl PolicyCompiler<'_> {
    fn rule(&mut self, gress: Gress, index: usize, rule: &NetworkRule, cx: &mut Context<'_>) {
        let place = format!("{}[{index}]", gress.list());
        let mut selections = Vec::new();
        let mut blocks = Vec::new();
        for peer in &rule.peers {
            match peer {
                Peer::Pods {
                    namespaces,
                    pods,
                    span,
                } => {
                    let origin = self.origin(&place, *span);
                    selections.push(self.peers(namespaces.as_ref(), pods.as_ref(), origin));
                }
                Peer::Block(block) => blocks.push(block),
            }
        }
        let mut l3 = Vec::new();
        if !blocks.is_empty() {
            l3.push(("-2", blocks_term(gress, &blocks)));
        }
        if !selections.is_empty() {
            l3.push(("-1", self.selections_term(gress, &selections, cx)));
        }
        if rule.peers.is_empty() {
            l3.push(("-1", self.families.join("ip4", "ip6")));
        }
        let by_number = self.ports_by_number(&place, rule, cx);
        for (block_index, l3) in l3 {
            let mut l4 = by_number.clone();
            if cx.options.compat == Compat::Strict {
                let blocks = (block_index == "-2").then_some(blocks.as_slice());
                l4.extend(self.ports_by_name(gress, rule, blocks, &selections, cx));
            }
            for l4 in l4 {
                let lport = gress.lport(&self.group);
                let matches = match &l4.term {
                    Some(l4) => format!("{l3} && {l4} && {lport}"),
                    None => format!("{l3} && {lport}"),
                };
                let acl = Acl {
                    ids: Ids::new(&self.network.controller, "NetworkPolicy")
                        .with(id::NAME, self.name.clone())
                        .with(id::DIRECTION, word(gress.as_str()))
                        .with(id::GRESS_INDEX, index.to_string())
                        .with(id::PORT_POLICY_PROTOCOL, word(l4.key))
                        .with(id::IP_BLOCK_INDEX, word(block_index)),
                    name: Some(format!("NP:{}:{}:{index}", self.name, gress.as_str())),
                    pipeline: gress.pipeline(),
                    tier: DEFAULT_TIER,
                    priority: ALLOW_PRIORITY,
                    matches,
                    action: self.action,
                    severity: self.logging.severity(self.action),
                    origins: vec![self.origin(&place, rule.span)],
                };
                self.acls.push(acl.put(cx));
            }
        }
    }

    fn origin(&self, place: &str, span: Span) -> Origin {
        Origin {
            object: self.object.key.clone(),
            rule: Some(place.into()),
            span,
        }
    }

    fn peers(
        &self,
        namespaces: Option<&Selector>,
        pods: Option<&Selector>,
        origin: Origin,
    ) -> Peers {
        let legacy = namespaces.is_some() && pods.is_none();
        let namespaces = match namespaces {
            Some(selector) => Namespaces::Selected(selector.clone()),
            None => Namespaces::Named(self.object.key.namespace.clone()),
        };
        let pods = pods.cloned().unwrap_or_default();
        Peers {
            selection: Selection::new(namespaces, Some(pods)),
            legacy,
            origin,
        }
    }

    fn selections_term(&self, gress: Gress, selections: &[Peers], cx: &mut Context<'_>) -> String {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for peers in selections {
            let of = AddressesOf {
                controller: self.network.controller.clone(),
                families: self.families,
                selection: peers.selection.key().clone(),
                legacy: peers.legacy,
            };
            v4.push(format!("${}", addresses::ids(&of, false).hashed_name()));
            v6.push(format!("${}", addresses::ids(&of, true).hashed_name()));
            cx.demand_addresses(of, &peers.selection, peers.origin.clone());
        }
        let field = gress.peer_field();
        let term = |family: &str, mut names: Vec<String>| {
            names.sort();
            names.dedup();
            format!("{family}.{field} == {{{}}}", names.join(", "))
        };
        self.families.join(&term("ip4", v4), &term("ip6", v6))
    }

    /// The terms of the ports that are numbers, or none at all.
    fn ports_by_number(&self, place: &str, rule: &NetworkRule, cx: &mut Context<'_>) -> Vec<L4> {
        if rule.ports.is_empty() {
            return vec![L4::ANY];
        }
        let is_strict = cx.options.compat == Compat::Strict;
        if !is_strict {
            self.tell_departures(place, rule, cx);
        }
        let mut ports: Vec<Ports> = rule
            .ports
            .iter()
            .filter(|port| !is_strict || name(port).is_none())
            .map(by_number)
            .collect();
        if ports.is_empty() {
            return Vec::new();
        }
        if is_strict {
            widen(&mut ports);
        }
        L4::of(&ports)
    }

    /// ovn-kubernetes reads a port that is a name as number 0, which is no port.
    fn tell_departures(&self, place: &str, rule: &NetworkRule, cx: &mut Context<'_>) {
        for port in &rule.ports {
            let protocol = port.protocol.as_str();
            let of_protocol = || {
                let ports = rule.ports.iter();
                ports.filter(|other| other.protocol == port.protocol)
            };
            let has_numbers = of_protocol().any(|other| by_number(other).range.is_some());
            let has_all = of_protocol().any(|other| other.port.is_none());
            let (message, text) = match (name(port), has_numbers) {
                // What else there is says it.
                (Some(_), _) if has_all => continue,
                (Some(name), false) => (
                    format!(
                        "{}: {place} allows more than port \"{name}\"",
                        self.object.key
                    ),
                    format!("ovn-kubernetes takes this for all {protocol} ports"),
                ),
                (Some(name), true) => (
                    format!("{}: {place} leaves out port \"{name}\"", self.object.key),
                    format!("ovn-kubernetes passes this over beside {protocol} ports by number"),
                ),
                (None, true) if port.port.is_none() => (
                    format!(
                        "{}: {place} is not for all {protocol} ports",
                        self.object.key
                    ),
                    format!("ovn-kubernetes passes this over beside {protocol} ports by number"),
                ),
                _ => continue,
            };
            cx.tell(
                Diagnostic::new(Severity::Warning, "departs-from-api", message)
                    .at(port.span, text)
                    .help("write port numbers; `--compat strict` does what the API says"),
            );
        }
    }

    /// The terms of the ports that are names, by what the containers of the pods call so: those
    /// of the policy's own pods on ingress, of the peers on egress.
    fn ports_by_name(
        &self,
        gress: Gress,
        rule: &NetworkRule,
        blocks: Option<&[&Block]>,
        selections: &[Peers],
        cx: &mut Context<'_>,
    ) -> Vec<L4> {
        let whole = |protocol| {
            let mut ports = rule.ports.iter();
            ports.any(|port| port.protocol == protocol && port.port.is_none())
        };
        let names: Vec<(Protocol, &str)> = rule
            .ports
            .iter()
            .filter(|port| !whole(port.protocol))
            .filter_map(|port| Some((port.protocol, name(port)?)))
            .collect();
        if names.is_empty() {
            return Vec::new();
        }
        let pods = match gress {
            Gress::Ingress => self.subjects.to_vec(),
            Gress::Egress if selections.is_empty() || blocks.is_some() => {
                let everywhere = Namespaces::Selected(Selector::default());
                cx.pods(&Selection::new(everywhere, Some(Selector::default())))
            }
            Gress::Egress => {
                let selections = selections.iter();
                selections
                    .flat_map(|peers| cx.pods(&peers.selection))
                    .collect()
            }
        };
        let mut ends: BTreeMap<Protocol, Vec<(IpAddr, u16)>> = BTreeMap::new();
        for pod in pods {
            let mut addresses = members::addresses(self.network, pod, true, cx.options);
            if let (Gress::Egress, Some(blocks)) = (gress, blocks) {
                addresses.retain(|address| blocks.iter().any(|block| holds(block, *address)));
            }
            for port in &pod.spec().ports {
                if !port.name.is_empty() && names.contains(&(port.protocol, port.name.as_str())) {
                    let of_protocol = ends.entry(port.protocol).or_default();
                    of_protocol.extend(addresses.iter().map(|address| (*address, port.port)));
                }
            }
        }
        ends.into_iter()
            .filter(|(_, ends)| !ends.is_empty())
            .map(|(protocol, mut ends)| {
                ends.sort_unstable();
                ends.dedup();
                L4 {
                    key: named_key(protocol),
                    term: Some(term_by_pod(protocol, &ends)),
                }
            })
            .collect()
    }
}

fn name(port: &PolicyPort) -> Option<&str> {
    match &port.port {
        Some(PortRef::Name(name)) => Some(name),
        _ => None,
    }
}

fn by_number(port: &PolicyPort) -> Ports {
    let range = match port.port {
        Some(PortRef::Number(first)) => Some((first, port.end.unwrap_or(first))),
        Some(PortRef::Name(_)) | None => None,
    };
    Ports {
        protocol: port.protocol,
        range,
    }
}

fn named_key(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp-namedPort",
        Protocol::Udp => "udp-namedPort",
        Protocol::Sctp => "sctp-namedPort",
    }
}

fn holds(block: &Block, address: IpAddr) -> bool {
    let mut except = block.except.iter();
    address::contains(block.cidr.value.cidr, address)
        && !except.any(|part| address::contains(part.value.cidr, address))
}

fn blocks_term(gress: Gress, blocks: &[&Block]) -> String {
    let field = gress.peer_field();
    let mut terms = blocks.iter().map(|block| {
        let family = if block.cidr.is_v6() { "ip6" } else { "ip4" };
        let cidr = &block.cidr.value;
        // A part of the other family would make a match that OVN refuses.
        let except: Vec<String> = block
            .except
            .iter()
            .filter(|part| part.is_v6() == cidr.is_v6())
            .map(|part| part.value.to_string())
            .collect();
        if except.is_empty() {
            format!("{family}.{field} == {cidr}")
        } else {
            let except = except.join(", ");
            format!("({family}.{field} == {cidr} && {family}.{field} != {{{except}}})")
        }
    });
    match (terms.next(), terms.len()) {
        (Some(only), 0) => only,
        (first, _) => {
            let all: Vec<String> = first.into_iter().chain(terms).collect();
            format!("({})", all.join(" || "))
        }
    }
}
