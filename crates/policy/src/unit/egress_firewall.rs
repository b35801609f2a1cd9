//! EgressFirewalls (`controller/egressfirewall`): one ACL for each rule, on the namespace's port
//! group.

use std::net::IpAddr;
use std::sync::Arc;

use netverdict_manifest::{
    Cidr, Diagnostic, EgressFirewall, EgressPort, EgressRule, EgressTo, FirewallAction, Key,
    Object, Protocol, Severity, Span, Spec, WrittenCidr,
};
use netverdict_ovn::ids::key;
use netverdict_ovsdb::Datum;
use netverdict_types::{Action, Pipeline};

use super::address::contains;
use super::admin_policy::{Family, address_set, families};
use super::{Context, Unit, namespace, node};
use crate::acl::{Acl, DEFAULT_CONTROLLER, DEFAULT_TIER, Gress, Ids, word};
use crate::row::{Origin, Row, Table};

/// The name that an EgressFirewall must have (`egressFirewallName`).
const NAME: &str = "default";
/// The priority of the first rule (`types.EgressFirewallStartPriority`).
const FIRST: u16 = 10_000;
/// The priority of the last (`types.MinimumReservedEgressFirewallPriority`).
const LAST: u16 = 2_000;

pub(super) fn compile(key: &Key, cx: &mut Context<'_>) {
    let Some((object, firewall)) = read(key, cx) else {
        return;
    };
    if let Err(refusal) = check(object, firewall) {
        return cx.tell(refusal);
    }
    let space = &key.namespace;
    let its_network = cx.network(space);
    let subnets = its_network.subnets(cx.options);
    let group = namespace::group_ids(&its_network.controller, space).hashed_name();
    let logging = namespace::logging(space, cx).0;
    let mut acls = Vec::new();
    for (index, rule) in firewall.rules.iter().enumerate() {
        let origin = Origin {
            object: key.clone(),
            rule: Some(format!("{}[{index}]", Gress::Egress.list()).into()),
            span: rule.span,
        };
        let destinations = destinations(object, rule, subnets, &origin, cx);
        if destinations.is_empty() {
            continue;
        }
        let mut matches = format!(
            "({}) && {}",
            destinations.join(" || "),
            Gress::Egress.lport(&group)
        );
        if !rule.ports.is_empty() {
            matches = format!("{matches} && {}", l4(&rule.ports));
        }
        let action = match rule.action {
            FirewallAction::Allow => Action::Allow,
            FirewallAction::Deny => Action::Drop,
        };
        let acl = Acl {
            ids: ids(space, index),
            name: Some(format!("EF:{space}:{index}")),
            pipeline: Pipeline::ToLport,
            tier: DEFAULT_TIER,
            priority: FIRST.saturating_sub(u16::try_from(index).unwrap_or(u16::MAX)),
            matches,
            action,
            severity: logging.severity(action),
            origins: vec![origin],
        };
        acls.push(acl.put(cx));
    }
    cx.demand(Unit::Namespace(space.clone()));
    cx.put(Row::new(Table::PortGroup, group).with("acls", Datum::from_iter(acls)));
}

/// The address sets of domain names, which ovn-kubernetes fills as it resolves the names: here
/// they are empty, and a warning says so.
pub(super) fn dns_names(
    object: &Object,
    names: &[(String, Span)],
    origin: &Origin,
    cx: &mut Context<'_>,
) -> Vec<(Family, Arc<str>)> {
    let mut sets = Vec::new();
    for (name, span) in names {
        let message = format!(
            "a rule of {} is about a domain name, which has no address here",
            object.key
        );
        cx.tell(
            Diagnostic::new(Severity::Warning, "domain-name", message)
                .at(*span, "its address set is empty: nothing matches")
                .help("ovn-kubernetes resolves the name while it runs, and fills the set"),
        );
        let ids =
            Ids::new(&word(DEFAULT_CONTROLLER), "EgressFirewallDNS").with(key::NAME, name.as_str());
        for family in families(cx.options) {
            let row = address_set(&ids, family, std::iter::empty()).from(origin.clone());
            sets.push((family, row.key.clone()));
            cx.put(row);
        }
    }
    sets
}

fn read<'a>(key: &Key, cx: &mut Context<'a>) -> Option<(&'a Object, &'a EgressFirewall)> {
    let object = cx.object(key)?;
    match &object.spec {
        Spec::EgressFirewall(firewall) => Some((object, firewall)),
        _ => None,
    }
}

/// ovn-kubernetes installs all rules or none.
fn check(object: &Object, firewall: &EgressFirewall) -> Result<(), Diagnostic> {
    let refuse = |why: &str, span, place: String| {
        let message = format!("{} is not installed: {why}", object.key);
        Err(Diagnostic::new(Severity::Error, "egress-firewall", message).at(span, place))
    };
    if &*object.key.name != NAME {
        let place = format!("there is one for each namespace, and it is called `{NAME}`");
        return refuse("its name is wrong", object.meta.span, place);
    }
    let most = usize::from(FIRST - LAST) + 1;
    if let Some(rule) = firewall.rules.get(most) {
        let place = format!("ovn-kubernetes takes {most}");
        return refuse("it has too many rules", rule.span, place);
    }
    for rule in &firewall.rules {
        if let EgressTo::Dns(name) = &rule.to
            && name.starts_with("*.")
        {
            let place = "not without ovn-kubernetes' DNS name resolver".to_owned();
            return refuse("a domain name is a wildcard", name.span, place);
        }
    }
    Ok(())
}

fn ids(namespace: &Arc<str>, index: usize) -> Ids {
    Ids::new(&word(DEFAULT_CONTROLLER), "EgressFirewall")
        .with(key::NAME, namespace.clone())
        .with(key::RULE_INDEX, index.to_string())
}

/// The terms for where a rule leads to.
fn destinations(
    object: &Object,
    rule: &EgressRule,
    subnets: &[Cidr],
    origin: &Origin,
    cx: &mut Context<'_>,
) -> Vec<String> {
    match &rule.to {
        EgressTo::Cidr(range) => vec![outside(range, subnets)],
        EgressTo::Dns(name) => {
            let names = [(name.value.clone(), name.span)];
            let sets = dns_names(object, &names, origin, cx).into_iter();
            sets.map(|(family, set)| format!("{}.dst == ${set}", family.ip))
                .collect()
        }
        EgressTo::Nodes(nodes) => {
            let addresses = cx.nodes(nodes).flat_map(node::host_addresses);
            let mut addresses: Vec<(String, IpAddr)> =
                addresses.map(|ip| (ip.to_string(), ip)).collect();
            addresses.sort();
            let terms = addresses.into_iter();
            terms
                .map(|(text, address)| format!("{}.dst == {text}", ip(address)))
                .collect()
        }
    }
}

/// The part of a range that is not the network's own.
fn outside(range: &WrittenCidr, subnets: &[Cidr]) -> String {
    let ip = ip(range.address);
    let own: Vec<String> = subnets
        .iter()
        .map(|subnet| subnet.network())
        .filter(|subnet| {
            contains(*subnet, range.network().address) || contains(range.cidr, subnet.address)
        })
        .map(|subnet| format!("{ip}.dst != {subnet}"))
        .collect();
    if own.is_empty() {
        return format!("{ip}.dst == {range}");
    }
    format!("{ip}.dst == {range} && {}", own.join("&&"))
}

fn ip(address: IpAddr) -> &'static str {
    if address.is_ipv6() { "ip6" } else { "ip4" }
}

/// The term for ports: by protocol, which ovn-kubernetes takes in this order.
fn l4(ports: &[EgressPort]) -> String {
    let protocols = [Protocol::Udp, Protocol::Tcp, Protocol::Sctp];
    let terms: Vec<String> = protocols
        .into_iter()
        .filter_map(|protocol| {
            let word = protocol.ovn();
            let ports = ports.iter().filter(|port| port.protocol == protocol);
            let numbers: Option<Vec<String>> = ports
                .map(|port| port.port.map(|port| format!("{word}.dst == {port}")))
                .collect();
            match numbers {
                None => Some(format!("({word})")),
                Some(numbers) if numbers.is_empty() => None,
                Some(numbers) => Some(format!("({word} && ( {} ))", numbers.join(" || "))),
            }
        })
        .collect();
    format!("({})", terms.join(" || "))
}
