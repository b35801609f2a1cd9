//! Two things that are worked out by themselves, judged: what passes by the twin, and what nearly passes by the ACLs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod common;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use common::{Dice, World, texts};
use netverdict_manifest::{Kind, Protocol};
use netverdict_ovn::expr::{Field, Fields, Match};
use netverdict_pipeline::decide::Decide;
use netverdict_pipeline::flow::Release;
use netverdict_pipeline::journey::{Outcome, Twin, Zone};
use netverdict_pipeline::{Ignore, L4, Northbound, Packet};
use netverdict_policy::{Compat, Options};
use netverdict_types::{Direction, OwnerKind, Timestamp};
use netverdict_verdict::{Ask, Decided, Denial, End, Near, Reach, RuleId, Transport};

const NAMESPACES: [&str; 7] = [
    "edge",
    "shop",
    "payments",
    "data",
    "monitoring",
    "dns",
    "blue",
];
const APPS: [&str; 8] = [
    "gateway", "web", "cart", "redis", "search", "client", "server", "wrong",
];
const TEAMS: [&str; 5] = ["edge", "shop", "data", "platform", "blue"];
const PORTS: [u16; 7] = [8080, 7000, 7001, 6379, 53, 5432, 443];
const NAMES: [&str; 4] = ["http", "metrics", "dns", "none"];

/// A selector in YAML's flow style.
fn selector(dice: &mut Dice, key: &str, values: &[&str]) -> String {
    let value = *dice.one(values);
    match dice.roll(6) {
        0 => "{}".to_owned(),
        1 => format!(
            "{{matchExpressions: [{{key: {key}, operator: In, values: [{value}, {}]}}]}}",
            dice.one(values)
        ),
        2 => format!("{{matchExpressions: [{{key: {key}, operator: NotIn, values: [{value}]}}]}}"),
        3 => format!(
            "{{matchExpressions: [{{key: {key}, operator: {}}}]}}",
            dice.one(&["Exists", "DoesNotExist"])
        ),
        _ => format!("{{matchLabels: {{{key}: {value}}}}}"),
    }
}

fn peers(dice: &mut Dice) -> String {
    let mut peers = Vec::new();
    for _ in 0..dice.roll(3) {
        peers.push(match dice.roll(4) {
            0 => format!("{{podSelector: {}}}", selector(dice, "app", &APPS)),
            1 => format!("{{namespaceSelector: {}}}", selector(dice, "team", &TEAMS)),
            2 => {
                let namespaces = selector(dice, "team", &TEAMS);
                format!(
                    "{{namespaceSelector: {namespaces}, podSelector: {}}}",
                    selector(dice, "app", &APPS)
                )
            }
            _ => format!(
                "{{ipBlock: {}}}",
                dice.one(&[
                    "{cidr: 10.244.0.0/16, except: [10.244.1.0/24]}",
                    "{cidr: 10.244.2.0/24}",
                    "{cidr: 203.0.113.0/24, except: [203.0.113.128/25]}",
                    "{cidr: 0.0.0.0/0}",
                ])
            ),
        });
    }
    peers.join(", ")
}

fn ports(dice: &mut Dice) -> String {
    let mut ports = Vec::new();
    for _ in 0..dice.roll(3) {
        let protocol = *dice.one(&["TCP", "TCP", "UDP"]);
        let port = *dice.one(&PORTS);
        ports.push(match dice.roll(6) {
            0 => format!("{{protocol: {protocol}}}"),
            1 => format!("{{protocol: {protocol}, port: {}}}", dice.one(&NAMES)),
            2 => format!(
                "{{protocol: {protocol}, port: {port}, endPort: {}}}",
                port + 1000
            ),
            _ => format!("{{protocol: {protocol}, port: {port}}}"),
        });
    }
    ports.join(", ")
}

/// Policies of all kinds, at random.
fn policies(dice: &mut Dice) -> String {
    let mut text = String::new();
    for number in 0..10 {
        let namespace = *dice.one(&NAMESPACES);
        let subject = selector(dice, "app", &APPS);
        let annotation = ["", ", annotations: {k8s.ovn.org/acl-stateless: \"true\"}"]
            [usize::from(dice.roll(5) == 0)];
        let types = *dice.one(&["[Ingress]", "[Egress]", "[Ingress, Egress]"]);
        let _ = writeln!(
            text,
            "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{namespace: {namespace}, name: np{number}{annotation}}}\nspec:\n  podSelector: {subject}\n  policyTypes: {types}"
        );
        for (list, word) in [("ingress", "from"), ("egress", "to")] {
            let _ = writeln!(text, "  {list}:");
            for _ in 0..=dice.roll(3) {
                let _ = writeln!(
                    text,
                    "    - {{{word}: [{}], ports: [{}]}}",
                    peers(dice),
                    ports(dice)
                );
            }
        }
    }
    for (number, kind) in [
        "AdminNetworkPolicy",
        "AdminNetworkPolicy",
        "BaselineAdminNetworkPolicy",
    ]
    .iter()
    .enumerate()
    {
        let baseline = kind.starts_with('B');
        let (name, priority) = match baseline {
            true => ("default".to_owned(), String::new()),
            false => (format!("anp{number}"), format!("  priority: {number}\n")),
        };
        let subject = selector(dice, "team", &TEAMS);
        let _ = writeln!(
            text,
            "---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n{priority}  subject: {{namespaces: {subject}}}"
        );
        for (list, word) in [("ingress", "from"), ("egress", "to")] {
            let _ = writeln!(text, "  {list}:");
            for _ in 0..=dice.roll(3) {
                let actions: &[&str] = if baseline {
                    &["Allow", "Deny"]
                } else {
                    &["Allow", "Deny", "Pass"]
                };
                let action = *dice.one(actions);
                let peer = match dice.roll(2) {
                    0 => format!("namespaces: {}", selector(dice, "team", &TEAMS)),
                    _ => format!(
                        "pods: {{namespaceSelector: {}, podSelector: {}}}",
                        selector(dice, "team", &TEAMS),
                        selector(dice, "app", &APPS)
                    ),
                };
                let port = match dice.roll(3) {
                    0 => String::new(),
                    1 => format!(
                        ", ports: [{{portNumber: {{protocol: TCP, port: {}}}}}]",
                        dice.one(&PORTS)
                    ),
                    _ => format!(", ports: [{{namedPort: {}}}]", dice.one(&NAMES)),
                };
                let _ = writeln!(
                    text,
                    "    - {{action: {action}, {word}: [{{{peer}}}]{port}}}"
                );
            }
        }
    }
    let _ = writeln!(
        text,
        "---\napiVersion: k8s.ovn.org/v1\nkind: EgressFirewall\nmetadata: {{namespace: shop, name: default}}\nspec:\n  egress:\n    - {{type: {}, to: {{cidrSelector: 203.0.113.0/25}}}}\n    - {{type: Deny, to: {{cidrSelector: 0.0.0.0/0}}, ports: [{{protocol: TCP, port: {}}}]}}",
        dice.one(&["Allow", "Deny"]),
        dice.one(&PORTS)
    );
    text
}

fn world(dice: &mut Dice) -> World {
    let mut all = texts();
    all[1].1 = policies(dice);
    let options = Options {
        stateless: dice.roll(2) == 0,
        compat: *dice.one(&[Compat::OvnKubernetes, Compat::Strict]),
        ..Options::default()
    };
    World::with(&all, options).unwrap_or_else(|| panic!("these are right:\n{}", all[1].1))
}

/// A question of two pods, or of one and an address outside.
fn ask(dice: &mut Dice, world: &World, reach: &Reach<'_>) -> Ask {
    let pod = |dice: &mut Dice| world.objects().end(dice.one(reach.pods()).addresses[0]);
    let from = pod(dice);
    let to = match dice.roll(5) {
        0 => End {
            address: dice
                .one(&["203.0.113.7", "203.0.113.200", "192.0.2.1"])
                .parse()
                .unwrap(),
            pod: None,
        },
        _ => pod(dice),
    };
    let transport = match dice.roll(8) {
        0 => Transport::Icmp,
        1 => Transport::Port(Protocol::Udp, 53),
        2 => Transport::Port(Protocol::Sctp, *dice.one(&PORTS)),
        _ => Transport::Port(Protocol::Tcp, *dice.one(&PORTS)),
    };
    Ask {
        from,
        to,
        transport,
    }
}

fn first(ask: &Ask) -> Packet {
    let (src, dst) = (ask.from.address, ask.to.address);
    match ask.transport {
        Transport::Port(protocol, port) => {
            let (src, dst) = (SocketAddr::new(src, 40_000), SocketAddr::new(dst, port));
            match protocol {
                Protocol::Tcp => Packet::tcp(src, dst).with_tcp_flags(2),
                Protocol::Udp => Packet::udp(src, dst),
                Protocol::Sctp => Packet::sctp(src, dst),
            }
        }
        Transport::Icmp => Packet::icmp_echo(src, dst, 1),
        Transport::Other(number) => Packet::ip(src, dst, number, L4::Other),
    }
}

/// Whether the twin lets a connection and its answer through.
fn passes(twin: &mut Twin<Decide>, ask: &Ask, clock: &mut i64) -> bool {
    let name = |end: &End| {
        end.pod
            .as_ref()
            .map(|pod| format!("{}_{}", pod.namespace, pod.name))
    };
    let from = twin.place(&name(&ask.from).unwrap()).unwrap();
    // Nothing of an older connection is left.
    *clock += 1_000_000;
    let mut now = Timestamp(*clock * 1_000_000_000);
    let packet = twin.addressed(from, first(ask));
    match twin.send(from, packet, now, &mut Ignore) {
        Outcome::Delivered(place, packet) if name(&ask.to).is_some() => {
            now.0 += 1_000_000;
            let answer = twin.addressed(place, packet.reply());
            matches!(twin.send(place, answer, now, &mut Ignore), Outcome::Delivered(back, _) if back == from)
        }
        Outcome::Delivered(..) => panic!("nobody is at {}", ask.to.address),
        Outcome::Outside(..) => true,
        Outcome::Lost { reason, .. } if ask.to.pod.is_none() => panic!("{reason:?}"),
        _ => false,
    }
}

#[test]
fn what_passes_is_what_the_twin_lets_through() {
    let sets: usize = std::env::var("N").map_or(40, |n| n.parse().unwrap());
    let mut dice = Dice(11);
    let (mut passed, mut all) = (0, 0);
    for number in 0..sets {
        let world = world(&mut dice);
        let rows = world.rows();
        let reach = Reach::new(&rows);
        let zones = rows.iter().map(|zone| {
            let zone = Arc::new(zone.clone());
            Zone::new(zone.clone(), Decide::new(&zone, Release::default()))
        });
        let mut twin = Twin::new(zones);
        let mut clock = 0;
        for _ in 0..60 {
            let ask = ask(&mut dice, &world, &reach);
            if ask.from == ask.to {
                continue;
            }
            let decided = reach.ask(&ask).unwrap();
            // Nobody outside answers in the twin, and its conntrack does not know which packet of SCTP is an answer.
            let answers = ask.to.pod.is_some();
            let is_sctp = matches!(ask.transport, Transport::Port(Protocol::Sctp, _));
            if is_sctp && decided.iter().any(|one| one.reply) {
                continue;
            }
            let mut asked = decided.iter().filter(|one| answers || !one.reply);
            let by_rules = !asked.any(Decided::denies);
            let by_twin = passes(&mut twin, &ask, &mut clock);
            assert_eq!(
                by_rules, by_twin,
                "set {number}: {ask:?}
{decided:#?}"
            );
            passed += usize::from(by_rules);
            all += 1;
        }
    }
    println!("{all} connections of {sets} sets, {passed} pass");
    assert!(passed > all / 20 && passed < all * 19 / 20);
}

/// Whether one of a rule's ACLs matches.
fn matches(zone: &Northbound, rule: &RuleId, ask: &Ask) -> bool {
    let kind = match rule.policy.kind {
        Kind::NetworkPolicy => OwnerKind::NetworkPolicy,
        _ => OwnerKind::AdminNetworkPolicy,
    };
    zone.acls.values().any(|row| {
        let owner = &row.acl.owner;
        let is_its = owner.kind == kind
            && owner.name.as_deref() == Some(&*rule.policy.name)
            && owner.namespace.as_deref().unwrap_or_default() == &*rule.policy.namespace
            && owner.direction == Some(rule.direction)
            && owner.rule.index == Some(rule.index as u32);
        is_its && {
            let found = Match::parse(&row.acl.matches, zone).unwrap();
            let compiled = found.compile();
            let packet = fields(ask);
            let matches = compiled.matches(&packet);
            assert_eq!(matches, compiled.failures(&packet).is_empty());
            matches
        }
    })
}

fn fields(ask: &Ask) -> Fields<'static> {
    let name = |end: &End| -> &'static str {
        match &end.pod {
            Some(pod) => format!("{}_{}", pod.namespace, pod.name).leak(),
            None => "stor",
        }
    };
    let number = |address: IpAddr| match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => u128::from(address),
    };
    let mut fields = Fields::new(name(&ask.from), name(&ask.to))
        .with(Field::EthType, 0x800)
        .with(Field::Ip4Src, number(ask.from.address))
        .with(Field::Ip4Dst, number(ask.to.address));
    match ask.transport {
        Transport::Port(protocol, port) => {
            let (number, field) = match protocol {
                Protocol::Tcp => (6, Field::TcpDst),
                Protocol::Udp => (17, Field::UdpDst),
                Protocol::Sctp => (132, Field::SctpDst),
            };
            fields.set(Field::IpProto, number);
            fields.set(field, port.into());
        }
        _ => fields.set(Field::IpProto, 1),
    }
    fields
}

#[test]
fn a_rule_is_a_near_miss_where_its_acls_do_not_match() {
    let sets: usize = std::env::var("N").map_or(60, |n| n.parse().unwrap());
    let mut dice = Dice(12);
    let (mut missed, mut hit, mut kinds) = (0, 0, BTreeSet::new());
    for number in 0..sets {
        let world = world(&mut dice);
        let rows = world.rows();
        let reach = Reach::new(&rows);
        for _ in 0..40 {
            let ask = ask(&mut dice, &world, &reach);
            for direction in Direction::ALL {
                let subject = match direction {
                    Direction::Ingress => &ask.to,
                    Direction::Egress => &ask.from,
                };
                let Some(pod) = &subject.pod else { continue };
                if ask.from == ask.to {
                    continue;
                }
                let seat = &reach.pods()[reach
                    .pod(&format!("{}/{}", pod.namespace, pod.name))
                    .unwrap()];
                let zone = reach.northbound(seat.zone).unwrap();
                let near = Near::find(world.objects(), &ask, direction, &Denial::Isolation);
                let text = || world.sources.text(netverdict_manifest::FileId(2)).unwrap();
                for miss in &near.misses {
                    assert!(
                        !matches(zone, &miss.rule, &ask),
                        "set {number}: {ask:?} {miss:#?}\n{}",
                        text()
                    );
                    kinds.extend(miss.failing.iter().map(|failing| {
                        format!("{:?}", failing.term)
                            .split([' ', '('])
                            .next()
                            .unwrap()
                            .to_owned()
                    }));
                    missed += 1;
                }
                for isolating in &near.isolating {
                    let rules = (0..isolating.rules).map(|index| RuleId {
                        policy: isolating.policy.clone(),
                        direction,
                        index,
                    });
                    for rule in
                        rules.filter(|rule| near.misses.iter().all(|miss| miss.rule != *rule))
                    {
                        assert!(
                            matches(zone, &rule, &ask),
                            "set {number}: {ask:?} {rule:?}\n{}",
                            text()
                        );
                        hit += 1;
                    }
                }
            }
        }
    }
    println!("{missed} rules miss, {hit} hit; terms that fail: {kinds:?}");
    assert!(missed > 1000 && hit > 300);
    for kind in [
        "Port",
        "Protocol",
        "NamedPort",
        "PassedOver",
        "PodLabel",
        "NamespaceLabel",
        "Namespace",
        "Block",
        "Except",
        "NoPod",
    ] {
        assert!(kinds.contains(kind), "{kind}: {kinds:?}");
    }
}
