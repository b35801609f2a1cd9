//! What becomes of decisions, case by case: docs/flow.md in tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use netverdict_flow::{Flow, Limits};
use netverdict_types::{
    Acl, AclRow, Action, App, Candidates, Connection, Decision, Direction, DropFlow, End, Endpoint,
    EndpointKind, Evidence, Fact, Headers, IcmpKind, Origin, Owner, OwnerKind, Pipeline,
    Probability, Rule, Service, TcpFlags, Timestamp, Unresolved, Verdict,
};
use proptest::prelude::*;
use uuid::Uuid;

const SECOND: i64 = 1_000_000_000;
const SYN: u8 = TcpFlags::SYN;
const ACK: u8 = TcpFlags::ACK;
const FIN: u8 = TcpFlags::FIN;

#[test]
fn the_worst_of_both_halves_is_the_verdict() {
    use Verdict::{Allowed, Delegated, Dropped, Rejected, Unknown};
    let halves = [
        None,
        Some(Allowed),
        Some(Delegated),
        Some(Dropped),
        Some(Rejected),
        Some(Unknown),
    ];
    let word = |verdict: Option<Verdict>| verdict.map_or("-", Verdict::as_str);
    let mut table = format!("| | {} |\n", halves.map(word).join(" | "));
    for egress in halves {
        table += &format!("| {}", word(egress));
        for ingress in halves {
            let mut flow = Flow::new(Limits::default());
            for (verdict, direction, node) in [
                (egress, Direction::Egress, "n1"),
                (ingress, Direction::Ingress, "n2"),
            ] {
                let Some(verdict) = verdict else {
                    continue;
                };
                let mut seen = tcp(node, SYN);
                match verdict {
                    Unknown => {
                        seen.verdict = Unknown;
                        seen.unresolved = Some(Unresolved::UnknownPoint);
                        seen.evidence = Evidence::None;
                    }
                    verdict => seen = judged(seen, acl(direction, action(verdict), 2, "p")),
                }
                flow.decision(&seen, |_| ());
            }
            let rows = all(&mut flow);
            let verdict = rows.first().map(|row| row.verdict);
            if let Some(row) = rows.first() {
                let told = |half: &Option<netverdict_types::Half>| {
                    half.as_ref().map(|half| half.ruling.verdict)
                };
                assert_eq!((told(&row.egress), told(&row.ingress)), (egress, ingress));
                let explains = row.explaining().unwrap().1.ruling.verdict;
                assert_eq!(explains, row.verdict);
                // One packet, however many saw it.
                assert_eq!(
                    packets(row),
                    (
                        1,
                        0,
                        u64::from(row.verdict > Delegated && row.verdict != Unknown)
                    )
                );
            }
            table += &format!(" | {}", word(verdict));
        }
        table += " |\n";
    }
    let document = include_str!("../../../docs/flow.md");
    for line in table.lines() {
        assert!(document.contains(line), "docs/flow.md has not\n{table}");
    }
}

#[test]
fn halves_with_the_service_and_with_the_backend_are_one_row() {
    let service = service(1, &[5, 6]);
    for service_first in [true, false] {
        for named in [true, false] {
            let mut before = judged(
                tcp("n1", SYN),
                acl(Direction::Egress, Action::Allow, 2, "out"),
            );
            before.dst = to_service(service);
            before.headers.dst = before.dst.ip;
            before.service = Some(service);
            let mut behind = judged(
                to_backend(tcp("n2", SYN), 6),
                acl(Direction::Ingress, Action::Allow, 2, "in"),
            );
            behind.service = named.then_some(service);
            let mut flow = Flow::new(Limits::default());
            let order = match service_first {
                true => [before, behind],
                false => [behind, before],
            };
            for decision in &order {
                flow.decision(decision, |_| ());
            }
            let rows = all(&mut flow);
            let [row] = &rows[..] else {
                panic!("{rows:#?}");
            };
            assert_eq!(row.backend().unwrap().ip, pod_ip(6));
            assert_eq!(row.service.as_deref(), Some(service));
            assert_eq!(row.dst.as_ref().unwrap().name.as_deref(), Some("pod-6"));
            assert!(row.egress.is_some() && row.ingress.is_some());
            assert_eq!(packets(row), (1, 0, 0));
            let counts = flow.counts();
            assert_eq!((counts.joined, counts.joined_by_time), (1, 0));

            // A reply on its way to the client shows the service again.
            let mut reply = turned(order[usize::from(!service_first)]);
            reply.app = Some(App::AclEst);
            reply.headers.tcp_flags = Some(TcpFlags(ACK));
            flow.decision(&reply, |_| ());
            assert_eq!(flow.len(), 1);
        }
    }
}

#[test]
fn a_pod_that_reaches_itself_by_its_service_is_one_row() {
    let service = service(1, &[1, 5]);
    let mut before = judged(
        tcp("n1", SYN),
        acl(Direction::Egress, Action::Allow, 2, "out"),
    );
    before.dst = to_service(service);
    before.service = Some(service);
    // OVN sends it back to the pod from the hairpin address.
    let mut back = judged(
        to_backend(tcp("n1", SYN), 1),
        acl(Direction::Ingress, Action::Allow, 2, "in"),
    );
    back.src = End {
        ip: Some([169, 254, 0, 5].into()),
        port: before.src.port,
        endpoint: Some(Box::leak(Box::new(Endpoint {
            kind: EndpointKind::Masquerade,
            namespace: None,
            name: Some("hairpin".to_owned()),
            node: None,
        }))),
    };
    let mut reply = turned(back);
    reply.app = Some(App::AclEst);
    reply.headers.tcp_flags = Some(TcpFlags(ACK));
    for order in [[before, back, reply], [back, reply, before]] {
        let mut flow = Flow::new(Limits::default());
        for decision in &order {
            flow.decision(decision, |_| ());
        }
        let rows = folded(all(&mut flow));
        assert_eq!(rows.len(), 1, "{rows:#?}");
        let row = &rows[0];
        assert_eq!((row.client.ip, row.server.ip), (pod_ip(1), pod_ip(1)));
        assert_eq!(
            (row.client.port, row.server.port),
            (Some(40_000), Some(8080))
        );
        assert_eq!(row.src, row.dst);
        assert_eq!(row.src.as_ref().unwrap().name.as_deref(), Some("pod-1"));
        assert!(row.service.is_some() && row.egress.is_some() && row.ingress.is_some());
        assert_eq!(packets(row), (1, 1, 0));
    }
}

#[test]
fn a_load_balancer_of_whole_addresses_keeps_the_port() {
    let service = Box::leak(Box::new(Service {
        port: None,
        backends: vec![(pod_ip(5), None), (pod_ip(6), None)],
        ..service(1, &[]).clone()
    }));
    for service_first in [true, false] {
        let mut before = judged(
            tcp("n1", SYN),
            acl(Direction::Egress, Action::Allow, 2, "out"),
        );
        before.dst = End {
            port: Some(8080),
            ..to_service(service)
        };
        before.service = Some(service);
        let behind = judged(
            to_backend(tcp("n2", SYN), 6),
            acl(Direction::Ingress, Action::Allow, 2, "in"),
        );
        let mut flow = Flow::new(Limits::default());
        let order = match service_first {
            true => [before, behind],
            false => [behind, before],
        };
        for decision in order.iter().chain(&order) {
            flow.decision(decision, |_| ());
        }
        let rows = all(&mut flow);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].backend().unwrap().ip, pod_ip(6));
        assert_eq!(packets(&rows[0]), (2, 0, 0));
    }
}

#[test]
fn the_end_is_told_after_the_window() {
    let allow = acl(Direction::Egress, Action::AllowRelated, 2, "allow");
    let mut flow = Flow::new(Limits::default());
    let mut told = Vec::new();
    for (flags, at) in [(SYN, 0), (ACK, 20), (FIN | ACK, 21)] {
        let mut seen = judged(tcp("n1", flags), allow);
        seen.time = moment(at);
        told.extend(advance(&mut flow, at));
        flow.decision(&seen, |_| ());
    }
    assert_eq!((told.len(), advance(&mut flow, 34).len()), (1, 0));
    assert_eq!(advance(&mut flow, 35)[0].end, moment(21));
    advance(&mut flow, 35 + 60);
    assert!(flow.is_empty());
}

#[test]
fn a_backend_that_comes_late_is_an_update_of_the_same_row() {
    let service = service(1, &[5]);
    let mut before = judged(
        tcp("n1", SYN),
        acl(Direction::Egress, Action::Allow, 2, "out"),
    );
    before.dst = to_service(service);
    before.service = Some(service);
    let mut flow = Flow::new(Limits::default());
    flow.decision(&before, |_| ());
    let first = advance(&mut flow, 20);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].backend(), None);
    assert_eq!(first[0].dst.as_ref().unwrap().kind, EndpointKind::Service);
    let behind = judged(
        to_backend(tcp("n2", SYN), 5),
        acl(Direction::Ingress, Action::Drop, 2, "in"),
    );
    flow.decision(&behind, |_| ());
    let second = advance(&mut flow, 40);
    assert_eq!((second.len(), second[0].seq), (1, 1));
    let mut whole = second[0].clone();
    whole.fold(&first[0]);
    assert_eq!(whole.backend().unwrap().ip, pod_ip(5));
    assert_eq!(whole.dst.as_ref().unwrap().kind, EndpointKind::Pod);
    assert_eq!((whole.verdict, whole.seq), (Verdict::Dropped, 0));
    // The packet was told; that it was dropped is the news.
    assert_eq!(packets(&whole), (1, 0, 1));
}

#[test]
fn of_several_that_fit_a_service_the_one_that_began_last_is_taken() {
    let service = service(1, &[5, 6]);
    let ingress = acl(Direction::Ingress, Action::Allow, 2, "in");
    let mut flow = Flow::new(Limits::default());
    for (backend, at) in [(5, 0), (6, 10)] {
        let mut seen = judged(to_backend(tcp("n2", SYN), backend), ingress);
        seen.headers.tcp_seq = None;
        seen.time = moment(at);
        flow.decision(&seen, |_| ());
    }
    let mut before = judged(
        tcp("n1", ACK),
        acl(Direction::Egress, Action::Allow, 2, "out"),
    );
    before.dst = to_service(service);
    before.service = Some(service);
    before.headers.tcp_seq = None;
    before.time = moment(11);
    flow.decision(&before, |_| ());
    let rows = all(&mut flow);
    let of = |backend| {
        let is = |row: &&Connection| row.server.ip == pod_ip(backend);
        rows.iter().find(is).unwrap().service.is_some()
    };
    assert_eq!((rows.len(), of(5), of(6)), (2, false, true));
    assert_eq!(flow.counts().joined_by_time, 1);
}

#[test]
fn a_change_of_policies_in_mid_life_is_kept() {
    let mut flow = Flow::new(Limits::default());
    let allow = acl(Direction::Egress, Action::AllowRelated, 2, "allow");
    let deny = acl(Direction::Egress, Action::Drop, 2, "deny");
    let mut rows = Vec::new();
    for (at, acl) in [(0, allow), (100, deny), (200, allow), (260, allow)] {
        let mut seen = judged(tcp("n1", if at == 0 { SYN } else { ACK }), acl);
        seen.time = moment(at);
        rows.extend(advance(&mut flow, at));
        flow.decision(&seen, |_| ());
    }
    rows.extend(all(&mut flow));
    assert_eq!(
        rows.iter().map(|row| row.seq).collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    let whole = folded(rows).remove(0);
    assert_eq!(packets(&whole), (4, 0, 1));
    assert_eq!(whole.verdict, Verdict::Dropped);
    let told: Vec<_> = whole
        .changes
        .iter()
        .map(|change| (change.half.since, change.half.ruling.verdict))
        .collect();
    assert_eq!(
        told,
        [
            (moment(0), Verdict::Allowed),
            (moment(100), Verdict::Dropped)
        ]
    );
    let turned = flow.counts().turned;
    assert_eq!(
        turned[Verdict::Allowed as usize][Verdict::Dropped as usize],
        1
    );
    assert_eq!(turned.iter().flatten().sum::<u64>(), 1);
}

#[test]
fn what_goes_on_is_told_once_an_interval() {
    let mut flow = Flow::new(Limits::default());
    let allow = acl(Direction::Egress, Action::AllowRelated, 2, "allow");
    let mut rows = Vec::new();
    for at in 0..600 {
        let mut seen = judged(tcp("n1", if at == 0 { SYN } else { ACK }), allow);
        seen.time = moment(at);
        flow.decision(&seen, |_| ());
        rows.extend(advance(&mut flow, at));
    }
    let told = rows.len();
    assert!((9..=11).contains(&told), "{told}");
    rows.extend(all(&mut flow));
    let whole = folded(rows).remove(0);
    assert_eq!(packets(&whole), (600, 0, 0));
    assert_eq!((whole.start, whole.end), (moment(0), moment(599)));
    assert_eq!(whole.changes.len(), 1);
}

#[test]
fn who_was_silent_longest_goes_when_there_are_too_many() {
    let mut flow = Flow::new(Limits {
        connections: 3,
        ..Limits::default()
    });
    let allow = acl(Direction::Egress, Action::AllowRelated, 2, "allow");
    let mut told = Vec::new();
    let mut seen = |flow: &mut Flow, port: u16, at: i64| {
        let mut seen = judged(tcp("n1", SYN), allow);
        seen.src.port = Some(port);
        seen.headers.tcp_seq = Some(port.into());
        seen.time = moment(at);
        told.extend(advance(flow, at).into_iter().map(|row| row.client.port));
        flow.decision(&seen, |row| told.push(row.client.port));
    };
    for (port, at) in [(1, 0), (2, 20), (3, 40), (1, 60), (4, 80), (5, 81)] {
        seen(&mut flow, port, at);
    }
    // The second and the third were told: forgotten, nothing lost.
    let counts = flow.counts();
    assert_eq!((counts.told_early, counts.forgotten_early), (0, 2));
    seen(&mut flow, 6, 82);
    assert_eq!(told, [Some(1), Some(2), Some(3), Some(1)]);
    let counts = flow.counts();
    assert_eq!((counts.told_early, counts.forgotten_early), (1, 2));
    assert_eq!(flow.len(), 3);
}

#[test]
fn an_echo_and_its_answer_are_one() {
    let allow = acl(Direction::Egress, Action::AllowRelated, 2, "allow");
    let echo = |kind, id| {
        let mut echo = judged(tcp("n1", 0), allow);
        echo.headers.protocol = Some(1);
        echo.headers.tcp_flags = None;
        echo.headers.icmp = Some(IcmpKind { kind, code: 0 });
        echo.headers.icmp_id = Some(id);
        (echo.src.port, echo.dst.port) = (None, None);
        echo
    };
    let mut flow = Flow::new(Limits::default());
    let mut answer = turned(echo(0, 7));
    answer.app = Some(App::AclEst);
    for decision in [&answer, &echo(8, 7), &echo(8, 9)] {
        flow.decision(decision, |_| ());
    }
    let rows = all(&mut flow);
    assert_eq!(rows.len(), 2);
    assert_eq!(packets(&rows[0]), (1, 1, 0));
    assert_eq!(rows[0].icmp, Some(IcmpKind { kind: 8, code: 0 }));
    assert_eq!((rows[0].client.port, rows[0].server.port), (Some(7), None));
    assert_eq!(rows[0].client.ip, pod_ip(1));
}

#[test]
fn without_tcp_silence_ends_a_connection() {
    let allow = acl(Direction::Egress, Action::AllowRelated, 2, "allow");
    let mut flow = Flow::new(Limits::default());
    let mut rows = Vec::new();
    for at in [0, 200, 450, 800] {
        let mut seen = judged(tcp("n1", 0), allow);
        seen.headers.protocol = Some(17);
        seen.headers.tcp_flags = None;
        seen.time = moment(at);
        rows.extend(advance(&mut flow, at));
        flow.decision(&seen, |_| ());
    }
    rows.extend(all(&mut flow));
    let rows = folded(rows);
    let told: Vec<_> = rows.iter().map(packets).collect();
    assert_eq!(told, [(3, 0, 0), (1, 0, 0)]);
}

#[test]
fn ports_that_are_used_again_are_another_connection() {
    let allow = acl(Direction::Egress, Action::AllowRelated, 2, "allow");
    // Flags, sequence number, second; how many connections.
    type Case = (&'static [(u8, Option<u32>, i64)], usize);
    let cases: [Case; 9] = [
        (&[(SYN, Some(1), 0), (SYN, Some(1), 3)], 1),
        (&[(SYN, Some(1), 0), (SYN, Some(2), 3)], 2),
        (
            &[
                (SYN, Some(1), 0),
                (ACK, Some(9), 3),
                (FIN | ACK, Some(9), 4),
                (ACK, Some(9), 4),
            ],
            1,
        ),
        (
            &[
                (SYN, Some(1), 0),
                (FIN | ACK, Some(9), 4),
                (SYN, Some(5), 5),
            ],
            2,
        ),
        (
            &[
                (FIN | ACK, Some(9), 4),
                (ACK, Some(9), 2),
                (SYN, Some(1), 0),
            ],
            1,
        ),
        // IPFIX tells no numbers.
        (&[(SYN, None, 0), (SYN, None, 3), (SYN, None, 9)], 1),
        (&[(SYN, None, 0), (ACK, None, 20), (SYN, None, 40)], 2),
        (&[(SYN, None, 0), (FIN | ACK, None, 20), (SYN, None, 21)], 2),
        (&[(ACK, None, 20), (SYN, None, 0)], 1),
    ];
    for (packets, wanted) in cases {
        let mut flow = Flow::new(Limits::default());
        for &(flags, number, at) in packets {
            let mut seen = judged(tcp("n1", flags), allow);
            seen.headers.tcp_seq = number;
            seen.time = moment(at);
            flow.decision(&seen, |_| ());
        }
        assert_eq!(all(&mut flow).len(), wanted, "{packets:?}");
    }
}

#[test]
fn who_began_is_told_by_flags_else_by_source_else_by_ports() {
    let allow = acl(Direction::Egress, Action::AllowRelated, 2, "allow");
    let both = tcp("n1", ACK);
    let unknown = |mut seen: Decision<'static>| {
        seen.reply = None;
        seen.app = Some(App::AclEst);
        judged(seen, allow)
    };
    let cases = [
        (unknown(both), 1, 1),
        (unknown(turned(both)), 1, 1),
        (unknown(turned(tcp("n1", SYN))), 2, 0),
        (unknown(turned(tcp("n1", SYN | ACK))), 1, 0),
    ];
    for (number, (seen, client, guessed)) in cases.into_iter().enumerate() {
        let mut flow = Flow::new(Limits::default());
        flow.decision(&seen, |_| ());
        assert_eq!(flow.counts().guessed, guessed, "{number}");
        assert_eq!(all(&mut flow)[0].client.ip, pod_ip(client), "{number}");
    }
    // A guess gives way as long as nothing was told.
    for told in [false, true] {
        let mut flow = Flow::new(Limits::default());
        flow.decision(&unknown(both), |_| ());
        let mut rows = match told {
            true => advance(&mut flow, 20),
            false => Vec::new(),
        };
        flow.decision(&judged(turned(tcp("n1", SYN)), allow), |_| ());
        rows.extend(all(&mut flow));
        let rows = folded(rows);
        assert_eq!(rows.len(), 1);
        assert_eq!(flow.counts().contradicted, u64::from(told));
        let wanted = match told {
            true => (pod_ip(1), (1, 1, 0)),
            false => (pod_ip(2), (1, 1, 0)),
        };
        assert_eq!((rows[0].client.ip, packets(&rows[0])), wanted);
    }
}

#[test]
fn replies_of_stateless_acls_are_replies() {
    let out = acl(Direction::Egress, Action::AllowStateless, 2, "out");
    let back = acl(Direction::Ingress, Action::AllowStateless, 2, "back");
    let mut flow = Flow::new(Limits::default());
    let mut there = judged(tcp("n1", 0), out);
    there.headers.protocol = Some(17);
    there.headers.tcp_flags = None;
    let answer = Decision {
        acl: Some(back),
        reply: Some(false),
        ..turned(there)
    };
    for decision in [&there, &answer] {
        flow.decision(decision, |_| ());
    }
    let rows = all(&mut flow);
    assert_eq!((rows.len(), flow.counts().contradicted), (1, 0));
    assert_eq!(
        (rows[0].client.ip, packets(&rows[0])),
        (pod_ip(1), (1, 1, 0))
    );
    // With TCP, whose flags say nothing after the start.
    let mut flow = Flow::new(Limits::default());
    let answer = Decision {
        acl: Some(back),
        reply: Some(false),
        ..turned(tcp("n2", ACK))
    };
    for decision in [&judged(tcp("n1", SYN), out), &answer] {
        flow.decision(decision, |_| ());
    }
    assert_eq!(flow.counts().contradicted, 0);
    assert_eq!(packets(&all(&mut flow)[0]), (1, 1, 0));
}

#[test]
fn a_packet_is_counted_once_wherever_it_was_seen() {
    let pass = acl(Direction::Egress, Action::Pass, 1, "anp");
    let out = acl(Direction::Egress, Action::AllowRelated, 2, "out");
    let deny = acl(Direction::Ingress, Action::Drop, 2, "in");
    let firewall = firewall();
    let mut logged = judged(tcp("n1", SYN), out);
    logged.origin = Origin::AclLog;
    let mut tracked = judged(tcp("n1", SYN), out);
    tracked.origin = Origin::Conntrack;
    (tracked.packets, tracked.bytes) = (1_000, 100_000);
    let mut double = judged(tcp("n1", SYN), out);
    double.double = true;
    (double.packets, double.bytes) = (0, 0);
    let stage = DropFlow {
        stage: "ls_out_acl_action".to_owned(),
        priority: 1_000,
        matches: "reg8[17] == 1".to_owned(),
        message: "Dropped".into(),
    };
    let mut by_flow = tcp("n2", SYN);
    (by_flow.verdict, by_flow.app) = (Verdict::Dropped, Some(App::Drop));
    by_flow.flow = Some(Box::leak(Box::new(stage)));
    by_flow.evidence = Evidence::LogicalFlow;
    let mut flow = Flow::new(Limits::default());
    for decision in [
        judged(tcp("n1", SYN), pass),
        judged(tcp("n1", SYN), out),
        double,
        logged,
        tracked,
        judged(tcp("n1", SYN), firewall),
        judged(tcp("n2", SYN), deny),
        by_flow,
    ] {
        flow.decision(&decision, |_| ());
    }
    let rows = all(&mut flow);
    assert_eq!(rows.len(), 1);
    assert_eq!(packets(&rows[0]), (1, 0, 1));
    assert_eq!(rows[0].changes.len(), 5);
    let halves = |direction| {
        let changes = rows[0].changes.iter();
        changes
            .filter(|change| change.direction == direction)
            .count()
    };
    assert_eq!(
        (halves(Direction::Egress), halves(Direction::Ingress)),
        (3, 2)
    );
}

#[test]
fn where_a_share_is_sampled_the_client_s_node_counts() {
    let out = acl(Direction::Egress, Action::AllowRelated, 2, "out");
    let into = acl(Direction::Ingress, Action::AllowRelated, 2, "in");
    let share = Probability::from_ratio(100);
    // Samples at the client's node, at the server's; counted.
    for (here, there, counted) in [(3, 5, 3), (0, 5, 0), (0, 20, 20), (4, 0, 4)] {
        let mut flow = Flow::new(Limits::default());
        flow.decision(&judged(tcp("n1", SYN), out), |_| ());
        flow.decision(&judged(tcp("n2", SYN), into), |_| ());
        for (node, acl, samples) in [("n1", out, here), ("n2", into, there)] {
            let mut seen = judged(tcp(node, ACK), acl);
            (seen.app, seen.probability) = (Some(App::AclEst), share);
            for _ in 0..samples {
                flow.decision(&seen, |_| ());
            }
        }
        let rows = all(&mut flow);
        let counts = &rows[0].counts;
        assert_eq!(counts.len(), 2);
        assert_eq!(counts[0].probability, share);
        assert_eq!(counts[0].original.packets, counted, "{here} {there}");
        assert_eq!(counts[1].original.packets, 1);
    }
}

#[test]
fn what_comes_too_late_is_a_row_of_its_own_and_counted() {
    let out = acl(Direction::Egress, Action::AllowRelated, 2, "out");
    let into = acl(Direction::Ingress, Action::AllowRelated, 2, "in");
    for (at, rows) in [(100, 1), (1_000, 2)] {
        let mut flow = Flow::new(Limits::default());
        flow.decision(&judged(tcp("n1", SYN), out), |_| ());
        let mut told = advance(&mut flow, 20);
        told.extend(advance(&mut flow, at));
        flow.decision(&judged(tcp("n2", SYN), into), |_| ());
        told.extend(all(&mut flow));
        assert_eq!(folded(told).len(), rows);
        assert_eq!(flow.counts().late, rows as u64 - 1);
    }
}

#[test]
fn clocks_that_are_known_to_be_wrong_are_set_right() {
    let out = acl(Direction::Egress, Action::AllowRelated, 2, "out");
    let mut flow = Flow::new(Limits::default());
    flow.set_offset("n1", Some("n1"), 7 * SECOND);
    flow.decision(&judged(tcp("n1", SYN), out), |_| ());
    assert_eq!(all(&mut flow)[0].start, moment(-7));
}

#[test]
fn two_networks_may_use_the_same_addresses() {
    let out = acl(Direction::Egress, Action::AllowRelated, 2, "out");
    let mut flow = Flow::new(Limits::default());
    for network in [None, Some("red"), Some("blue"), Some("red")] {
        let seen = Decision {
            network,
            ..judged(tcp("n1", SYN), out)
        };
        flow.decision(&seen, |_| ());
    }
    let mut rows: Vec<_> = all(&mut flow)
        .into_iter()
        .map(|row| (row.network.as_deref().map(str::to_owned), packets(&row).0))
        .collect();
    rows.sort();
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(rows, [(None, 1), (name("blue"), 1), (name("red"), 2)]);
}

#[test]
fn first_packets_over_and_over_fill_no_memory() {
    let out = acl(Direction::Egress, Action::AllowRelated, 2, "out");
    let mut flow = Flow::new(Limits::default());
    for number in 0..1_000 {
        let mut seen = judged(tcp("n1", SYN), out);
        seen.headers.tcp_seq = Some(number);
        flow.decision(&seen, |_| ());
    }
    assert_eq!((flow.len(), flow.counts().merged), (8, 992));
    let rows = all(&mut flow);
    assert_eq!(rows.iter().map(|row| packets(row).0).sum::<u64>(), 1_000);
}

#[test]
fn what_belongs_to_no_connection_is_counted() {
    let out = acl(Direction::Egress, Action::AllowRelated, 2, "out");
    let mut flow = Flow::new(Limits::default());
    let (mut nobody, mut fragment) = (judged(tcp("n1", SYN), out), judged(tcp("n1", SYN), out));
    nobody.src.ip = None;
    fragment.headers.later_fragment = true;
    flow.decision(&nobody, |_| ());
    flow.decision(&fragment, |_| ());
    let counts = flow.counts();
    assert_eq!(
        (counts.decisions, counts.keyless, counts.fragments),
        (2, 1, 1)
    );
    assert!(flow.is_empty());
}

#[test]
fn repeated_reports_are_recognised() {
    let mut flow = Flow::new(Limits::default());
    let mut taken = |node, number| flow.report("zone", Some(node), number);
    assert!(taken("n1", 7) && taken("n1", 9) && taken("n2", 9));
    assert!(!taken("n1", 7));
    assert!(taken("n1", 8) && taken("n1", 1_000));
    assert!(!taken("n1", 10));
    let counts = flow.counts();
    assert_eq!((counts.reports_repeated, counts.reports_old), (1, 1));
}

proptest! {
    /// In whatever order decisions come within the window, and whenever time is told, or all is told
    /// before its time: the same rows.
    #[test]
    fn order_and_telling_do_not_matter(
        picks in proptest::collection::vec((0..8_usize, 0..3_usize, 0..4_i64, any::<bool>()), 1..24),
        order in Just((0..24_usize).collect::<Vec<_>>()).prop_shuffle(),
        tell in proptest::collection::vec(any::<bool>(), 24),
    ) {
        let service = service(1, &[5, 6]);
        let rulings = [
            ("n1", acl(Direction::Egress, Action::Pass, 1, "anp")),
            ("n1", acl(Direction::Egress, Action::AllowRelated, 2, "out")),
            ("n2", acl(Direction::Ingress, Action::AllowRelated, 2, "in")),
            ("n2", acl(Direction::Ingress, Action::Drop, 2, "deny")),
        ];
        let decisions: Vec<_> = picks
            .into_iter()
            .map(|(ruling, client, at, reply)| {
                let (node, acl) = rulings[ruling % 4];
                let is_first = ruling < 4;
                let mut seen = judged(tcp(node, if is_first { SYN } else { ACK }), acl);
                seen.src.port = Some(2_000 + client as u16);
                seen.headers.tcp_seq = Some(client as u32);
                seen = to_backend(seen, 5);
                seen.time = Timestamp(moment(0).0 + at * SECOND / 2);
                if client == 1 && node == "n1" {
                    seen.dst = to_service(service);
                    seen.service = Some(service);
                }
                match reply && !is_first {
                    true => turned(seen),
                    false => seen,
                }
            })
            .collect();
        let row = |row: &Connection| {
            let mut row = row.clone();
            row.id.0 = 0;
            row
        };
        let mut wanted = None;
        for (shuffled, early) in [(false, false), (true, false), (true, true)] {
            let mut flow = Flow::new(Limits::default());
            let mut rows = Vec::new();
            for (turn, &place) in order.iter().enumerate() {
                let place = if shuffled { place } else { turn };
                if let Some(decision) = decisions.get(place) {
                    flow.decision(decision, |_| ());
                }
                if shuffled && tell[place] {
                    rows.extend(match early {
                        true => all(&mut flow),
                        false => advance(&mut flow, 4 * place as i64),
                    });
                }
            }
            rows.extend(all(&mut flow));
            for whole in folded(rows.clone()) {
                prop_assert_eq!(flow.counted(&whole), Some(whole.counts));
            }
            let mut rows: Vec<_> = folded(rows).iter().map(row).collect();
            rows.sort_by_key(|row| row.client);
            match &wanted {
                None => wanted = Some(rows),
                Some(wanted) => prop_assert_eq!(wanted, &rows),
            }
        }
    }
}

fn moment(second: i64) -> Timestamp {
    Timestamp((1_800_000_000 + second) * SECOND)
}

/// Updates that are due by then.
fn advance(flow: &mut Flow, second: i64) -> Vec<Connection> {
    let mut rows = Vec::new();
    flow.advance(moment(second), |row| rows.push(row));
    rows
}

fn all(flow: &mut Flow) -> Vec<Connection> {
    let mut rows = Vec::new();
    flow.finish(|row| rows.push(row));
    rows
}

/// By their start.
fn folded(rows: Vec<Connection>) -> Vec<Connection> {
    let mut whole: BTreeMap<_, Connection> = BTreeMap::new();
    for row in rows {
        match whole.get_mut(&row.id) {
            Some(known) => known.fold(&row),
            None => drop(whole.insert(row.id, row)),
        }
    }
    let mut whole: Vec<_> = whole.into_values().collect();
    whole.sort_by_key(|row| row.start);
    whole
}

/// Packets there, back, and dropped, under all probabilities.
fn packets(row: &Connection) -> (u64, u64, u64) {
    row.counts.iter().fold((0, 0, 0), |sum, counts| {
        (
            sum.0 + counts.original.packets,
            sum.1 + counts.reply.packets,
            sum.2 + counts.dropped.packets,
        )
    })
}

fn pod_ip(pod: u8) -> IpAddr {
    [10, 244, 0, pod].into()
}

fn pod(pod: u8, port: u16) -> End<'static> {
    End {
        ip: Some(pod_ip(pod)),
        port: Some(port),
        endpoint: Some(Box::leak(Box::new(Endpoint {
            kind: EndpointKind::Pod,
            namespace: Some("blue".to_owned()),
            name: Some(format!("pod-{pod}")),
            node: Some(if pod == 1 { "n1" } else { "n2" }.to_owned()),
        }))),
    }
}

/// Pod 1 to pod 2, port 8080.
fn tcp(node: &'static str, flags: u8) -> Decision<'static> {
    Decision {
        time: moment(0),
        origin: Origin::Psample,
        zone: node,
        node: Some(node),
        network: None,
        datapath: None,
        verdict: Verdict::Unknown,
        acl: None,
        deleted: false,
        candidates: Candidates::default(),
        flow: None,
        unresolved: None,
        evidence: Evidence::Point,
        app: Some(App::AclNew),
        cookie: None,
        reply: Some(false),
        double: false,
        src: pod(1, 40_000),
        dst: pod(2, 8080),
        service: None,
        headers: Headers {
            protocol: Some(6),
            tcp_flags: Some(TcpFlags(flags)),
            tcp_seq: Some(77),
            ..Headers::default()
        },
        length: 60,
        packets: 1,
        bytes: 60,
        group: None,
        probability: Probability::ALL,
        data: &[],
    }
}

fn judged(seen: Decision<'static>, acl: &'static AclRow) -> Decision<'static> {
    Decision {
        verdict: acl.acl().action.verdict(),
        acl: Some(acl),
        ..seen
    }
}

fn to_backend(seen: Decision<'static>, backend: u8) -> Decision<'static> {
    Decision {
        dst: pod(backend, 8080),
        ..seen
    }
}

fn to_service(service: &Service) -> End<'static> {
    End {
        ip: Some(service.ip),
        port: service.port,
        endpoint: Some(Box::leak(Box::new(Endpoint {
            kind: EndpointKind::Service,
            namespace: service.namespace.clone(),
            name: Some(service.name.clone()),
            node: None,
        }))),
    }
}

fn service(number: u8, backends: &[u8]) -> &'static Service {
    Box::leak(Box::new(Service {
        namespace: Some("blue".to_owned()),
        name: format!("svc-{number}"),
        ip: [10, 96, 0, number].into(),
        port: Some(80),
        protocol: 6,
        backends: backends
            .iter()
            .map(|&pod| (pod_ip(pod), Some(8080)))
            .collect(),
    }))
}

/// The answer to a packet.
fn turned(seen: Decision<'static>) -> Decision<'static> {
    Decision {
        src: seen.dst,
        dst: seen.src,
        reply: seen.reply.map(|reply| !reply),
        ..seen
    }
}

fn acl(direction: Direction, action: Action, tier: u8, name: &str) -> &'static AclRow {
    let owner = Owner {
        kind: OwnerKind::NetworkPolicy,
        namespace: Some("blue".to_owned()),
        name: Some(name.to_owned()),
        direction: Some(direction),
        rule: Rule::default(),
        network: None,
    };
    let pipeline = match direction {
        Direction::Egress => Pipeline::FromLportAfterLb,
        Direction::Ingress => Pipeline::ToLport,
    };
    row(owner, pipeline, action, tier)
}

fn firewall() -> &'static AclRow {
    let owner = Owner {
        kind: OwnerKind::EgressFirewall,
        direction: None,
        ..acl(Direction::Egress, Action::Allow, 2, "firewall")
            .acl()
            .owner
            .clone()
    };
    row(owner, Pipeline::ToLport, Action::Allow, 2)
}

fn row(owner: Owner, pipeline: Pipeline, action: Action, tier: u8) -> &'static AclRow {
    Box::leak(Box::new(AclRow {
        uuid: Uuid::from_u128(u128::from(tier) << 8 | action as u128),
        revision: 1,
        fact: Arc::new(Fact::from(Acl {
            name: None,
            priority: 1001,
            matches: "ip4".to_owned(),
            action,
            pipeline,
            tier,
            label: 0,
            owner,
        })),
    }))
}

fn action(verdict: Verdict) -> Action {
    match verdict {
        Verdict::Delegated => Action::Pass,
        Verdict::Dropped => Action::Drop,
        Verdict::Rejected => Action::Reject,
        _ => Action::AllowRelated,
    }
}
