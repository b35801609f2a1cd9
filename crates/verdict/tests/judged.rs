//! Two things that are worked out by themselves, judged: what passes by the twin, and what nearly passes by the ACLs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod common;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use common::random::{PORTS, world};
use common::{Dice, World};
use netverdict_manifest::{Kind, Protocol};
use netverdict_ovn::expr::{Field, Fields, Match};
use netverdict_pipeline::decide::Decide;
use netverdict_pipeline::flow::Release;
use netverdict_pipeline::journey::{Outcome, Twin, Zone};
use netverdict_pipeline::{Ignore, L4, Northbound, Packet};
use netverdict_types::{Direction, OwnerKind, Timestamp};
use netverdict_verdict::{Ask, Decided, Denial, End, Near, Reach, RuleId, Transport};

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
