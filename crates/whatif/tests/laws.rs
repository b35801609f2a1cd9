//! What must hold for any policies and any recorded connections.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../verdict/tests/common/mod.rs"]
mod common;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use common::{Dice, World, random, texts};
use netverdict_manifest::Protocol;
use netverdict_policy::Options;
use netverdict_types::{
    Connection, ConnectionId, Endpoint, EndpointKind, Service, Socket, TcpFlags, Timestamp, Verdict,
};
use netverdict_verdict::{Matrix, Reach, Slot, Space, Transport};
use netverdict_whatif::{Recorded, Report, Unknown, whatif};
use proptest::collection::vec;
use proptest::prelude::*;

/// The shop with random policies: of those that the seed makes, those whose bit is set.
fn world(seed: u64, mask: u64) -> World {
    let [cluster, (name, _)]: [(String, String); 2] = texts().try_into().unwrap();
    let policies = random::policies(&mut Dice(seed));
    let documents = policies.split("---\n").skip(1).enumerate();
    let kept: Vec<&str> = documents
        .filter(|(number, _)| mask >> (number % 64) & 1 == 1)
        .map(|(_, document)| document)
        .collect();
    let mut all = vec![cluster];
    if !kept.is_empty() {
        all.push((name, kept.join("---\n")));
    }
    let options = Options {
        stateless: seed.is_multiple_of(2),
        ..Options::default()
    };
    World::with(&all, options).unwrap_or_else(|| panic!("these are right:\n{}", all[1].1))
}

/// Somebody who speaks, as it was recorded.
fn pod(name: &str, address: IpAddr) -> (IpAddr, Option<Arc<Endpoint>>) {
    let (namespace, name) = name.split_once('/').unwrap();
    let endpoint = Endpoint {
        kind: EndpointKind::Pod,
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        node: None,
    };
    (address, Some(Arc::new(endpoint)))
}

type Who = (IpAddr, Option<Arc<Endpoint>>);

fn connection(from: &Who, to: &Who, protocol: u8, port: Option<u16>) -> Connection {
    Connection {
        id: ConnectionId(0),
        seq: 0,
        network: None,
        protocol,
        client: Socket {
            ip: from.0,
            port: port.map(|_| 40_000),
        },
        server: Socket { ip: to.0, port },
        icmp: None,
        src: from.1.clone(),
        dst: to.1.clone(),
        service: None,
        start: Timestamp(10),
        end: Timestamp(20),
        verdict: Verdict::Allowed,
        egress: None,
        ingress: None,
        tcp_flags: TcpFlags::default(),
        counts: Vec::new(),
        changes: Vec::new(),
    }
}

fn of(transport: Transport) -> (u8, Option<u16>) {
    match transport {
        Transport::Port(Protocol::Tcp, port) => (6, Some(port)),
        Transport::Port(Protocol::Udp, port) => (17, Some(port)),
        Transport::Port(Protocol::Sctp, port) => (132, Some(port)),
        Transport::Icmp => (1, None),
        Transport::Other(number) => (number, None),
    }
}

/// Connections between random members of random classes, on random slots.
fn record(space: &Space, reach: &Reach<'_>, rolls: &[(usize, usize, usize)]) -> Vec<Asked> {
    let ends: Vec<(usize, usize)> = space
        .classes()
        .iter()
        .enumerate()
        .flat_map(|(class, of)| (0..of.members.len()).map(move |member| (class, member)))
        .collect();
    let who = |(class, member): (usize, usize)| {
        let class = &space.classes()[class];
        match class.outside {
            Some(address) => (address, None),
            None => {
                let name = &class.members[member];
                let seat = &reach.pods()[reach.pod(name).unwrap()];
                pod(name, seat.addresses[0])
            }
        }
    };
    let asked = rolls.iter().map(|(from, to, slot)| {
        let (from, to) = (ends[from % ends.len()], ends[to % ends.len()]);
        let slot = slot % space.slots().len();
        let Slot { transport, .. } = space.slots()[slot];
        let (protocol, port) = of(transport);
        Asked {
            cell: (from.0, to.0, slot),
            is_self: from == to,
            connection: connection(&who(from), &who(to), protocol, port),
        }
    });
    // Pods in the tests have one family.
    asked
        .filter(|asked| {
            asked.connection.client.ip.is_ipv4() && asked.connection.server.ip.is_ipv4()
        })
        .collect()
}

struct Asked {
    cell: (usize, usize, usize),
    is_self: bool,
    connection: Connection,
}

fn ask(connections: &[Asked], before: &Reach<'_>, after: &Reach<'_>) -> (Vec<String>, Report) {
    let mut recorded = Recorded::default();
    recorded.take(connections.iter().map(|asked| &asked.connection));
    let pairs = recorded.pairs();
    assert_eq!(recorded.connections(), connections.len() as u64);
    let report = whatif(&pairs, before, after);
    let lines = report.changes.iter().map(|change| {
        let pair = &pairs[change.pair];
        let (from, to) = (pair.from.address, pair.to.address);
        let is_open = change.after == Verdict::Allowed;
        let seen = pair.seen.connections;
        format!(
            "{from} {to} {} {:?} {is_open} {seen}",
            pair.protocol, pair.port
        )
    });
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    (lines, report)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn other_policies_change_what_the_matrix_says(
        (seed, masks) in (any::<u64>(), (any::<u64>(), any::<u64>())),
        rolls in vec((0..10_000_usize, 0..10_000_usize, 0..10_000_usize), 1..200),
    ) {
        let worlds = (world(seed, masks.0), world(seed, masks.1));
        let rows = (worlds.0.rows(), worlds.1.rows());
        let (before, after) = (Reach::new(&rows.0), Reach::new(&rows.1));
        let space = Space::new(&[&before, &after], []);
        let recorded = record(&space, &before, &rolls);
        let (changes, report) = ask(&recorded, &before, &after);
        let cells = (Matrix::new(&before, &space), Matrix::new(&after, &space));
        let mut expected: Vec<String> = Vec::new();
        let mut unjudged = 0;
        for asked in &recorded {
            let (from, to, slot) = asked.cell;
            let outside = |class: usize| space.classes()[class].outside.is_some();
            if outside(from) && outside(to) {
                unjudged += 1;
                continue;
            }
            let is_open = cells.1.is_open(from, to, slot);
            if asked.is_self || cells.0.is_open(from, to, slot) == is_open {
                continue;
            }
            let connection = &asked.connection;
            let (client, server) = (connection.client.ip, connection.server.ip);
            let (protocol, port) = (connection.protocol, connection.server.port);
            let line = format!("{client} {server} {protocol} {port:?} {is_open}");
            expected.push(line);
        }
        expected.sort();
        let counts = |line: &String| expected.iter().filter(|other| *other == line).count();
        let expected: BTreeSet<String> =
            expected.iter().map(|line| format!("{line} {}", counts(line))).collect();
        prop_assert_eq!(changes, expected.into_iter().collect::<Vec<_>>());
        let told = report.judged_connections;
        prop_assert_eq!(told + unjudged, recorded.len() as u64);
    }

    #[test]
    fn the_same_policies_change_nothing(
        (seed, mask) in (any::<u64>(), any::<u64>()),
        rolls in vec((0..10_000_usize, 0..10_000_usize, 0..10_000_usize), 1..100),
    ) {
        let worlds = (world(seed, mask), world(seed, mask));
        let rows = (worlds.0.rows(), worlds.1.rows());
        let (before, after) = (Reach::new(&rows.0), Reach::new(&rows.1));
        let space = Space::new(&[&before, &after], []);
        let recorded = record(&space, &before, &rolls);
        let (changes, _) = ask(&recorded, &before, &after);
        prop_assert!(changes.is_empty(), "{changes:?}");
    }

    /// However often and in which order they are seen.
    #[test]
    fn pairs_do_not_depend_on_the_order(
        rolls in vec((0..30_usize, 0..30_usize, 0..5_usize), 1..100),
        turn in 0..100_usize,
    ) {
        let world = world(1, u64::MAX);
        let rows = world.rows();
        let reach = Reach::new(&rows);
        let space = Space::new(&[&reach], []);
        let mut all = record(&space, &reach, &rolls);
        let told = |all: &[Asked]| {
            let mut recorded = Recorded::default();
            for asked in all {
                recorded.take([&asked.connection]);
            }
            let mut pairs: Vec<String> =
                recorded.pairs().iter().map(|pair| format!("{pair:?}")).collect();
            pairs.sort();
            pairs
        };
        let before = told(&all);
        let turn = turn % all.len().max(1);
        all.rotate_left(turn);
        prop_assert_eq!(told(&all), before);
    }
}

#[test]
fn what_cannot_be_judged_is_named() {
    let world = world(1, u64::MAX);
    let rows = world.rows();
    let reach = Reach::new(&rows);
    let seat = &reach.pods()[0];
    let here = pod(&seat.name, seat.addresses[0]);
    let gone = pod("shop/long-gone", "10.244.0.250".parse().unwrap());
    let nobody: Who = ("10.244.0.251".parse().unwrap(), None);
    let outside: Who = ("198.51.100.9".parse().unwrap(), None);
    let mut asked_service = connection(
        &here,
        &("10.96.255.254".parse().unwrap(), None),
        6,
        Some(80),
    );
    asked_service.service = Some(Arc::new(Service {
        namespace: Some("shop".into()),
        name: "lost".into(),
        ip: "10.96.255.254".parse().unwrap(),
        port: Some(80),
        protocol: 6,
        backends: Vec::new(),
    }));
    let mut recorded = Recorded::default();
    for connection in [
        connection(&gone, &here, 6, Some(80)),
        connection(&nobody, &here, 6, Some(80)),
        connection(&outside, &outside, 6, Some(80)),
        asked_service,
    ] {
        recorded.take([&connection]);
    }
    let pairs = recorded.pairs();
    let report = whatif(&pairs, &reach, &reach);
    assert_eq!(report.judged, 0);
    let mut why: Vec<Unknown> = report.unjudged.into_iter().map(|it| it.why).collect();
    why.sort();
    assert_eq!(
        why,
        [
            Unknown::Pod("shop/long-gone".into()),
            Unknown::Address("10.244.0.251".parse().unwrap()),
            Unknown::Backend("shop/lost".into()),
            Unknown::NoPolicy,
        ]
    );
}
