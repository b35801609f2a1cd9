//! Ports of policies as OVN matches them (`libovsdb/util/acl.go`, "ACL L4 Match Construct
//! Utils"): one ACL for each protocol.

use std::fmt::Write as _;
use std::net::IpAddr;

use netverdict_manifest::Protocol;

/// The protocol key of an ACL for all protocols.
pub(crate) const ALL_PROTOCOLS: &str = "None";

/// Ports by number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Ports {
    pub(crate) protocol: Protocol,
    /// First and last; `None` names just the protocol.
    pub(crate) range: Option<(u16, u16)>,
}

/// What an ACL says about ports.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct L4 {
    /// For the ids: the protocol in OVN's word, or [`ALL_PROTOCOLS`].
    pub(crate) key: &'static str,
    /// The term of the match; `None` if all protocols match.
    pub(crate) term: Option<String>,
}

impl L4 {
    /// All protocols and ports.
    pub(crate) const ANY: Self = Self {
        key: ALL_PROTOCOLS,
        term: None,
    };

    /// The terms of a rule's ports, in the order of [`Protocol::ALL`]; without ports it is
    /// [`L4::ANY`].
    ///
    /// As in ovn-kubernetes, an entry that names just the protocol says nothing beside one with a
    /// port of the same protocol: [`widen`] first for what the API says.
    pub(crate) fn of(ports: &[Ports]) -> Vec<Self> {
        if ports.is_empty() {
            return vec![Self::ANY];
        }
        let protocols = Protocol::ALL.into_iter();
        protocols
            .filter(|protocol| ports.iter().any(|entry| entry.protocol == *protocol))
            .map(|protocol| Self {
                key: protocol.ovn(),
                term: Some(term(protocol, ports)),
            })
            .collect()
    }
}

/// Leaves out what says nothing beside an entry that names just its protocol.
pub(crate) fn widen(ports: &mut Vec<Ports>) {
    let whole: Vec<Protocol> = ports
        .iter()
        .filter(|entry| entry.range.is_none())
        .map(|entry| entry.protocol)
        .collect();
    ports.retain(|entry| entry.range.is_none() || !whole.contains(&entry.protocol));
}

/// The term for ports that differ from pod to pod (`GetL3L4MatchesFromNamedPorts`), in the
/// given order.
pub(crate) fn term_by_pod(protocol: Protocol, ports: &[(IpAddr, u16)]) -> String {
    let l4 = protocol.ovn();
    let mut term = format!("{l4} && (");
    for (number, (address, port)) in ports.iter().enumerate() {
        if number > 0 {
            term.push_str(" || ");
        }
        let l3 = if address.is_ipv6() { "ip6" } else { "ip4" };
        let _ = write!(term, "({l3}.dst == {address} && {l4}.dst == {port})");
    }
    term.push(')');
    term
}

fn term(protocol: Protocol, ports: &[Ports]) -> String {
    let l4 = protocol.ovn();
    let entries = || {
        let of_protocol = ports.iter().filter(|entry| entry.protocol == protocol);
        of_protocol.filter_map(|entry| entry.range)
    };
    let mut singles = entries().filter(|(first, last)| first == last);
    let ranges = entries().filter(|(first, last)| first != last);
    let mut terms: Vec<String> = Vec::new();
    if let Some((first, _)) = singles.next() {
        let mut list = first.to_string();
        let mut count = 1;
        for (port, _) in singles {
            count += 1;
            let _ = write!(list, ",{port}");
        }
        terms.push(match count {
            1 => format!("{l4}.dst=={list}"),
            _ => format!("{l4}.dst=={{{list}}}"),
        });
    }
    terms.extend(ranges.map(|(first, last)| format!("{first}<={l4}.dst<={last}")));
    match terms.as_slice() {
        [] => l4.to_owned(),
        [one] => format!("{l4} && {one}"),
        all => format!("{l4} && ({})", all.join(" || ")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ports(protocol: Protocol, range: Option<(u16, u16)>) -> Ports {
        Ports { protocol, range }
    }

    #[test]
    fn terms_are_spelled_as_in_ovn_kubernetes() {
        use Protocol::{Sctp, Tcp, Udp};
        type Entry = (Protocol, Option<(u16, u16)>);
        let cases: [(&[Entry], &[&str]); 9] = [
            (&[(Tcp, None)], &["tcp"]),
            (&[(Tcp, Some((80, 80)))], &["tcp && tcp.dst==80"]),
            (
                &[(Tcp, Some((80, 80))), (Tcp, Some((443, 443)))],
                &["tcp && tcp.dst=={80,443}"],
            ),
            (
                &[(Udp, Some((5000, 5010)))],
                &["udp && 5000<=udp.dst<=5010"],
            ),
            (
                &[(Tcp, Some((5000, 5010))), (Tcp, Some((80, 80)))],
                &["tcp && (tcp.dst==80 || 5000<=tcp.dst<=5010)"],
            ),
            (
                &[(Tcp, Some((1, 2))), (Tcp, Some((3, 4)))],
                &["tcp && (1<=tcp.dst<=2 || 3<=tcp.dst<=4)"],
            ),
            (
                &[(Sctp, None), (Udp, Some((53, 53))), (Tcp, Some((53, 53)))],
                &["tcp && tcp.dst==53", "udp && udp.dst==53", "sctp"],
            ),
            (
                &[(Tcp, Some((80, 80))), (Tcp, Some((80, 80)))],
                &["tcp && tcp.dst=={80,80}"],
            ),
            // The entry without a port is lost.
            (
                &[(Tcp, None), (Tcp, Some((80, 80)))],
                &["tcp && tcp.dst==80"],
            ),
        ];
        for (given, expected) in cases {
            let given: Vec<_> = given.iter().map(|(p, r)| ports(*p, *r)).collect();
            let terms: Vec<_> = L4::of(&given).into_iter().map(|l4| l4.term).collect();
            let expected: Vec<_> = expected.iter().map(|t| Some((*t).to_owned())).collect();
            assert_eq!(terms, expected);
        }
        assert_eq!(L4::of(&[]), [L4::ANY]);
    }

    #[test]
    fn widened_ports_keep_what_is_beside_other_protocols() {
        let mut list = vec![
            ports(Protocol::Tcp, Some((80, 80))),
            ports(Protocol::Tcp, None),
            ports(Protocol::Udp, Some((53, 53))),
        ];
        widen(&mut list);
        let terms: Vec<_> = L4::of(&list).into_iter().flat_map(|l4| l4.term).collect();
        assert_eq!(terms, ["tcp", "udp && udp.dst==53"]);
    }

    #[test]
    fn ports_by_pod_are_spelled_as_in_ovn_kubernetes() {
        let v4 = IpAddr::from([10, 244, 0, 3]);
        let v6: IpAddr = "fd01::3".parse().expect("an address");
        assert_eq!(
            term_by_pod(Protocol::Tcp, &[(v4, 8080), (v6, 8080)]),
            "tcp && ((ip4.dst == 10.244.0.3 && tcp.dst == 8080) || \
             (ip6.dst == fd01::3 && tcp.dst == 8080))"
        );
    }

    /// What a term lets through, read the way OVN reads it.
    fn matches(term: &str, protocol: Protocol, port: u16) -> bool {
        let (l4, ports) = term.split_once(" && ").unwrap_or((term, ""));
        if l4 != protocol.ovn() {
            return false;
        }
        let ports = ports.strip_prefix('(').map_or(ports, |ports| {
            ports.strip_suffix(')').expect("as many as were opened")
        });
        let number = |text: &str| text.parse::<u16>().expect("a port");
        let field = format!("{l4}.dst");
        ports.is_empty()
            || ports.split(" || ").any(|one| match one.split_once("<=") {
                Some((first, rest)) => {
                    let (middle, last) = rest.split_once("<=").expect("a range");
                    assert_eq!(middle, field);
                    (number(first)..=number(last)).contains(&port)
                }
                None => {
                    let (name, list) = one.split_once("==").expect("a comparison");
                    assert_eq!(name, field);
                    let list = list.trim_start_matches('{').trim_end_matches('}');
                    list.split(',').any(|one| number(one) == port)
                }
            })
    }

    fn entries() -> impl Strategy<Value = Ports> {
        let protocols = prop::sample::select(Protocol::ALL.to_vec());
        let range = (1_u16..12, 0_u16..4).prop_map(|(first, more)| (first, first + more));
        (protocols, prop::option::weighted(0.9, range))
            .prop_map(|(protocol, range)| ports(protocol, range))
    }

    proptest! {
        #[test]
        fn terms_let_through_what_the_entries_name(
            given in prop::collection::vec(entries(), 1..6),
        ) {
            let mut wide = given.clone();
            widen(&mut wide);
            let terms = L4::of(&wide);
            for protocol in Protocol::ALL {
                for port in 1..20 {
                    let is_named = given.iter().any(|entry| {
                        let is_in = |(first, last)| (first..=last).contains(&port);
                        entry.protocol == protocol && entry.range.is_none_or(is_in)
                    });
                    let passes = terms.iter().any(|l4| {
                        l4.term.as_ref().is_some_and(|term| matches(term, protocol, port))
                    });
                    prop_assert_eq!(passes, is_named, "{:?} {} {:?}", protocol, port, terms);
                }
            }
        }
    }
}
