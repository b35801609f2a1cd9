//! When one part of a rule covers another: everything that the second is about, the first is
//! about as well. Decided by the text alone, so that the answer does not hang on which pods are
//! there; it errs to `false`.

use netverdict_manifest::{
    AdminPeer, AdminPort, Block, Cidr, EgressPort, EgressTo, Expression, Operator, Peer,
    PolicyPort, PortRef, Protocol, Selector,
};

/// Every object that `b` selects, `a` selects.
pub(crate) fn selector(a: &Selector, b: &Selector) -> bool {
    let label = |(key, value): (&String, &String)| {
        b.labels.get(key) == Some(value)
            || b.expressions.iter().any(|term| {
                term.operator == Operator::In
                    && term.key == *key
                    && !term.values.is_empty()
                    && term.values.iter().all(|other| other == value)
            })
    };
    a.labels.iter().all(label) && a.expressions.iter().all(|term| implied(term, b))
}

fn implied(term: &Expression, by: &Selector) -> bool {
    let value = by.labels.get(&term.key);
    let others = || by.expressions.iter().filter(|other| other.key == term.key);
    match term.operator {
        Operator::Exists => {
            value.is_some()
                || others().any(|other| matches!(other.operator, Operator::In | Operator::Exists))
        }
        Operator::DoesNotExist => others().any(|other| other.operator == Operator::DoesNotExist),
        Operator::In => {
            let among = |word: &String| term.values.contains(word);
            value.is_some_and(among)
                || others()
                    .any(|other| other.operator == Operator::In && other.values.iter().all(among))
        }
        Operator::NotIn => {
            let apart = |word: &String| !term.values.contains(word);
            value.is_some_and(apart)
                || others().any(|other| match other.operator {
                    Operator::In => other.values.iter().all(apart),
                    Operator::DoesNotExist => true,
                    Operator::NotIn => term.values.iter().all(|word| other.values.contains(word)),
                    Operator::Exists => false,
                })
        }
    }
}

/// Every peer of the list `b` is one of the list `a`; an empty list is everybody.
pub(crate) fn peers(a: &[Peer], b: &[Peer]) -> bool {
    a.is_empty() || (!b.is_empty() && b.iter().all(|b| a.iter().any(|a| peer(a, b))))
}

fn peer(a: &Peer, b: &Peer) -> bool {
    match (a, b) {
        (
            Peer::Pods {
                namespaces, pods, ..
            },
            Peer::Pods {
                namespaces: b_namespaces,
                pods: b_pods,
                ..
            },
        ) => {
            let spaces = match (namespaces, b_namespaces) {
                (Some(a), Some(b)) => selector(a, b),
                (Some(a), None) => is_everything(a),
                (None, None) => true,
                (None, Some(_)) => false,
            };
            spaces && optional(pods.as_ref(), b_pods.as_ref())
        }
        (Peer::Block(a), Peer::Block(b)) => block(a, b),
        _ => false,
    }
}

fn block(a: &Block, b: &Block) -> bool {
    let is_left = |hole: &Cidr| {
        !overlap(hole, &b.cidr) || b.except.iter().any(|except| except.contains(hole))
    };
    a.cidr.contains(&b.cidr) && a.except.iter().all(|hole| is_left(hole))
}

fn optional(a: Option<&Selector>, b: Option<&Selector>) -> bool {
    match (a, b) {
        (None, _) => true,
        (Some(a), None) => is_everything(a),
        (Some(a), Some(b)) => selector(a, b),
    }
}

fn is_everything(selector: &Selector) -> bool {
    selector.labels.is_empty() && selector.expressions.is_empty()
}

/// Every port of the list `b` is one of the list `a`; an empty list is all ports of all
/// protocols.
pub(crate) fn ports(a: &[PolicyPort], b: &[PolicyPort]) -> bool {
    a.is_empty() || (!b.is_empty() && b.iter().all(|b| a.iter().any(|a| port(a, b))))
}

fn port(a: &PolicyPort, b: &PolicyPort) -> bool {
    a.protocol == b.protocol
        && match (&a.port, &b.port) {
            (None, _) => true,
            (Some(PortRef::Number(a_first)), Some(PortRef::Number(b_first))) => {
                a_first <= b_first && b.end.unwrap_or(*b_first) <= a.end.unwrap_or(*a_first)
            }
            (Some(PortRef::Name(a)), Some(PortRef::Name(b))) => a == b,
            _ => false,
        }
}

/// Every peer of the list `b` is one of the list `a`.
pub(crate) fn admin_peers(a: &[AdminPeer], b: &[AdminPeer]) -> bool {
    !b.is_empty() && b.iter().all(|b| a.iter().any(|a| admin_peer(a, b)))
}

fn admin_peer(a: &AdminPeer, b: &AdminPeer) -> bool {
    match (a, b) {
        (AdminPeer::Namespaces(a), AdminPeer::Namespaces(b))
        | (AdminPeer::Namespaces(a), AdminPeer::Pods { namespaces: b, .. })
        | (AdminPeer::Nodes(a), AdminPeer::Nodes(b)) => selector(a, b),
        (
            AdminPeer::Pods { namespaces, pods },
            AdminPeer::Pods {
                namespaces: b_namespaces,
                pods: b_pods,
            },
        ) => selector(namespaces, b_namespaces) && selector(pods, b_pods),
        (AdminPeer::Pods { namespaces, pods }, AdminPeer::Namespaces(b)) => {
            is_everything(pods) && selector(namespaces, b)
        }
        (AdminPeer::Networks(a), AdminPeer::Networks(b)) => {
            b.iter().all(|b| a.iter().any(|a| a.contains(b)))
        }
        (AdminPeer::DomainNames(a), AdminPeer::DomainNames(b)) => {
            b.iter().all(|b| a.iter().any(|a| a.value == b.value))
        }
        _ => false,
    }
}

/// Every port of the list `b` is one of the list `a`; an empty list is all ports of all
/// protocols.
pub(crate) fn admin_ports(a: &[AdminPort], b: &[AdminPort]) -> bool {
    a.is_empty() || (!b.is_empty() && b.iter().all(|b| a.iter().any(|a| admin_port(a, b))))
}

fn admin_port(a: &AdminPort, b: &AdminPort) -> bool {
    if let (Some((a_protocol, a_first, a_last)), Some((b_protocol, b_first, b_last))) =
        (numbers(a), numbers(b))
    {
        return a_protocol == b_protocol && a_first <= b_first && b_last <= a_last;
    }
    match (a, b) {
        (
            AdminPort::Named { protocol, name, .. },
            AdminPort::Named {
                protocol: b_protocol,
                name: b_name,
                ..
            },
        ) => name == b_name && (protocol.is_none() || protocol == b_protocol),
        (
            AdminPort::Protocol { protocol, .. },
            AdminPort::Named {
                protocol: Some(b_protocol),
                ..
            },
        ) => protocol == b_protocol,
        _ => false,
    }
}

fn numbers(port: &AdminPort) -> Option<(Protocol, u16, u16)> {
    match *port {
        AdminPort::Numbers {
            protocol,
            start,
            end,
            ..
        } => Some((protocol, start, end)),
        AdminPort::Protocol { protocol, .. } => Some((protocol, 0, u16::MAX)),
        AdminPort::Named { .. } => None,
    }
}

/// Every destination of `b` is one of `a`.
pub(crate) fn egress_to(a: &EgressTo, b: &EgressTo) -> bool {
    match (a, b) {
        (EgressTo::Cidr(a), EgressTo::Cidr(b)) => a.contains(b),
        (EgressTo::Dns(a), EgressTo::Dns(b)) => a.value == b.value,
        (EgressTo::Nodes(a), EgressTo::Nodes(b)) => selector(a, b),
        _ => false,
    }
}

/// Every port of the list `b` is one of the list `a`; an empty list is everything.
pub(crate) fn egress_ports(a: &[EgressPort], b: &[EgressPort]) -> bool {
    let port = |a: &EgressPort, b: &EgressPort| {
        a.protocol == b.protocol && (a.port.is_none() || a.port == b.port)
    };
    a.is_empty() || (!b.is_empty() && b.iter().all(|b| a.iter().any(|a| port(a, b))))
}

/// Some address is in both: then the longer one is in the shorter one.
fn overlap(a: &Cidr, b: &Cidr) -> bool {
    a.contains(b) || b.contains(a)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    use netverdict_manifest::{At, Span};
    use proptest::prelude::*;

    use super::*;
    use crate::selector::selects;

    fn words() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned)
    }

    fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
        prop::collection::btree_map(words(), words(), 0..3)
    }

    fn selectors() -> impl Strategy<Value = Selector> {
        let operator = prop::sample::select(vec![
            Operator::In,
            Operator::NotIn,
            Operator::Exists,
            Operator::DoesNotExist,
        ]);
        let term = (words(), operator, prop::collection::vec(words(), 1..3));
        let terms = prop::collection::vec(term, 0..3);
        (labels(), terms).prop_map(|(labels, terms)| Selector {
            labels,
            expressions: terms
                .into_iter()
                .map(|(key, operator, values)| Expression {
                    key,
                    operator,
                    values: match operator {
                        Operator::In | Operator::NotIn => values,
                        _ => Vec::new(),
                    },
                })
                .collect(),
            span: Span::default(),
        })
    }

    fn cidrs() -> impl Strategy<Value = Cidr> {
        (0_u32..8, 28_u8..=32).prop_map(|(address, prefix)| Cidr {
            address: IpAddr::V4((0x0a00_0000 + address * 2).into()),
            prefix,
        })
    }

    fn blocks() -> impl Strategy<Value = Block> {
        (cidrs(), prop::collection::vec(cidrs(), 0..3)).prop_map(|(cidr, except)| Block {
            cidr: At::new(cidr.into(), Span::default()),
            except: except
                .into_iter()
                .map(|cidr| At::new(cidr.into(), Span::default()))
                .collect(),
            span: Span::default(),
        })
    }

    fn has(cidr: &Cidr, address: IpAddr) -> bool {
        cidr.contains(&Cidr {
            address,
            prefix: 32,
        })
    }

    fn policy_ports() -> impl Strategy<Value = PolicyPort> {
        let protocol = prop::sample::select(Protocol::ALL.to_vec());
        (protocol, prop::option::of(1_u16..6), 0_u16..4).prop_map(|(protocol, port, more)| {
            PolicyPort {
                protocol,
                port: port.map(PortRef::Number),
                end: port.filter(|_| more > 0).map(|port| port + more),
                span: Span::default(),
            }
        })
    }

    fn takes(list: &[PolicyPort], protocol: Protocol, number: u16) -> bool {
        list.is_empty()
            || list.iter().any(|port| {
                port.protocol == protocol
                    && match port.port {
                        Some(PortRef::Number(first)) => {
                            (first..=port.end.unwrap_or(first)).contains(&number)
                        }
                        _ => true,
                    }
            })
    }

    proptest! {
        #[test]
        fn what_a_covered_selector_selects_the_other_selects(a in selectors(), b in selectors(), labels in labels()) {
            if selector(&a, &b) && selects(&b, &labels) {
                prop_assert!(selects(&a, &labels));
            }
        }

        #[test]
        fn a_selector_covers_itself_and_the_empty_one_covers_all(a in selectors()) {
            prop_assert!(selector(&a, &a));
            prop_assert!(selector(&Selector::default(), &a));
        }

        #[test]
        fn addresses_of_a_covered_block_are_in_the_other(a in blocks(), b in blocks(), last in 0_u8..32) {
            let address = IpAddr::from([10, 0, 0, last]);
            let is_in = |block: &Block| {
                has(&block.cidr, address) && !block.except.iter().any(|except| has(except, address))
            };
            if block(&a, &b) && is_in(&b) {
                prop_assert!(is_in(&a));
            }
        }

        #[test]
        fn covered_ports_are_taken(
            a in prop::collection::vec(policy_ports(), 0..3),
            b in prop::collection::vec(policy_ports(), 0..3),
            protocol in prop::sample::select(Protocol::ALL.to_vec()),
            number in 0_u16..12,
        ) {
            if ports(&a, &b) && takes(&b, protocol, number) {
                prop_assert!(takes(&a, protocol, number));
            }
        }
    }

    #[test]
    fn wider_is_not_covered_by_narrower() {
        let narrow = Selector {
            labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            ..Selector::default()
        };
        assert!(!selector(&narrow, &Selector::default()));
        let cidr = |text: &str, prefix| Cidr {
            address: text.parse().unwrap(),
            prefix,
        };
        assert!(cidr("0.0.0.0", 0).contains(&cidr("10.0.0.0", 8)));
        assert!(!cidr("10.0.0.0", 8).contains(&cidr("0.0.0.0", 0)));
        assert!(!cidr("::", 0).contains(&cidr("10.0.0.0", 8)));
    }
}
