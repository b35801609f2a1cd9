//! What came closest, by the rows alone: ACLs that would have let a connection through, and the terms of their matches that fail.

use std::collections::BTreeSet;

use netverdict_pipeline::Northbound;
use netverdict_types::Direction;

use super::way::Ruling;
use super::{Close, Failed, Miss, Source, Texts};
use crate::near::{Ask, RuleId, Transport};
use crate::reach::Reach;

/// The rules whose ACLs came closest where another denies.
pub(super) fn near(
    texts: &dyn Texts,
    reach: &Reach<'_>,
    ask: &Ask,
    ruling: &Ruling,
) -> Option<Close> {
    let decided = reach.ask(ask)?;
    let denied = decided
        .iter()
        .find(|decided| decided.acl == Some(ruling.acl))?;
    let mut known: BTreeSet<RuleId> = BTreeSet::new();
    let mut misses = Vec::new();
    for miss in reach.near(ask, denied) {
        let Some(northbound) = reach.northbound(miss.zone) else {
            continue;
        };
        let acl = northbound.acls.get(&miss.acl);
        let Some(rule) = acl.and_then(|row| RuleId::of(&row.acl.owner)) else {
            continue;
        };
        let is_other = ruling
            .owner
            .direction
            .is_some_and(|of| of != rule.direction);
        // Of the ACLs of a rule the one that came closest comes first.
        if is_other || !known.insert(rule.clone()) {
            continue;
        }
        let written = texts.origins(miss.zone, miss.acl).into_iter().next();
        let failing = miss.failing.iter();
        let away: usize = failing.clone().map(|term| away(term)).sum();
        let miss = Miss {
            source: written.unwrap_or_else(|| Source {
                object: rule.policy.to_string(),
                rule: Some(rule.place().into()),
                spot: None,
            }),
            failing: failing
                .map(|term| Failed {
                    message: told(northbound, ask, term),
                    spot: None,
                })
                .collect(),
        };
        misses.push((miss.failing.len(), away, miss));
    }
    misses.sort_by_key(|(count, away, _)| (*count, *away));
    let direction = ruling.owner.direction;
    Some(Close {
        direction: direction.unwrap_or(Direction::Egress),
        isolating: Vec::new(),
        misses: misses.into_iter().map(|(.., miss)| miss).collect(),
    })
}

/// Why a term of a match fails, as a clause.
fn told(northbound: &Northbound, ask: &Ask, term: &str) -> String {
    let address = match (term.contains(".src"), term.contains(".dst")) {
        (true, false) => Some(ask.from.address),
        (false, true) => Some(ask.to.address),
        _ => None,
    };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let sets = term.split('$').skip(1);
    let sets = sets.map(|rest| rest.split(|c| !word(c)).next().unwrap_or_default());
    let selected: Vec<String> = sets
        .filter_map(|set| northbound.selectors.get(set))
        .map(|selector| selection(selector))
        .collect();
    match (address, selected.is_empty()) {
        _ if is_about_port(term) => format!("its ACL is for {term}, and this is {}", ask.transport),
        (Some(address), false) => {
            format!("{address} is none of {}: {term}", selected.join(" or "))
        }
        (Some(address), true) if term.contains('$') => {
            format!("{address} is none of the rule's peers: {term}")
        }
        (Some(address), true) => format!("its ACL is for {term}, and this is {address}"),
        (None, _) if matches!(ask.transport, Transport::Port(..)) => {
            format!("its ACL is for {term}")
        }
        (None, _) => format!("its ACL is for {term}, and this is {}", ask.transport),
    }
}

/// How far off a connection is with a term: a wrong port is closer than somebody else.
fn away(term: &str) -> usize {
    if is_about_port(term) { 1 } else { 2 }
}

fn is_about_port(term: &str) -> bool {
    let mut protocols = ["tcp", "udp", "sctp"].iter();
    protocols.any(|protocol| term.starts_with(protocol))
}

/// A selector as ovn-kubernetes writes it into names: `LS{ML:{team: shop,},}_LS{ML:{app: web,},}`, or with the namespace's name before the `_`
/// (go-controller/pkg/ovn/pod_selector_address_set.go).
fn selection(name: &str) -> String {
    let name = name.strip_suffix("_LNM").unwrap_or(name);
    let Some((namespaces, pods)) = name.rsplit_once("_LS{") else {
        return format!("pods {name}");
    };
    let pods = match labels(pods) {
        Some(labels) if labels.is_empty() => "pods".to_owned(),
        Some(labels) => format!("pods {labels}"),
        None => format!("pods LS{{{pods}"),
    };
    match namespaces.strip_prefix("LS{") {
        None => format!("{pods} of namespace {namespaces}"),
        Some(selector) => match labels(selector) {
            Some(labels) if labels.is_empty() => format!("{pods} of all namespaces"),
            Some(labels) => format!("{pods} of namespaces {labels}"),
            None => format!("{pods} of namespaces {namespaces}"),
        },
    }
}

/// `ML:{a: b,c: d,},}` as `a=b,c=d`; nothing for what selects all; `None` for expressions.
fn labels(selector: &str) -> Option<String> {
    if selector == "}" {
        return Some(String::new());
    }
    let labels = selector.strip_prefix("ML:{")?.strip_suffix(",},}")?;
    let labels = labels.split(',').map(|label| label.replacen(": ", "=", 1));
    Some(labels.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_as_people_write_them() {
        for (name, told) in [
            (
                "LS{ML:{team: shop,},}_LS{}_LNM",
                "pods of namespaces team=shop",
            ),
            (
                "inventory_LS{ML:{app: warehouse,tier: db,},}",
                "pods app=warehouse,tier=db of namespace inventory",
            ),
            ("LS{}_LS{}", "pods of all namespaces"),
            (
                "blue_LS{ME:{LSR{Key:app,Operator:In,Values:[a b],},},}",
                "pods LS{ME:{LSR{Key:app,Operator:In,Values:[a b],},},} of namespace blue",
            ),
        ] {
            assert_eq!(selection(name), told);
        }
    }
}
