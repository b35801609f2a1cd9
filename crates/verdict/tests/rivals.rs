//! Samples of points that several ACLs share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod common;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use common::random::{PORTS, world};
use common::{Dice, World};
use netverdict_history::{History, Limits};
use netverdict_manifest::Spec;
use netverdict_ovn::Database;
use netverdict_ovsdb::{Cause, Change, ChangeSet, Datum, Row};
use netverdict_pipeline::flow::Release;
use netverdict_pipeline::journey::{Twin, Zone};
use netverdict_pipeline::walk::Walk;
use netverdict_pipeline::{At, Lport, Northbound, Observer, Packet, State, SwitchId};
use netverdict_types::{
    Action, Candidates, Cookie, Evidence, Headers, IcmpKind, Input, Key, Origin, Pipeline,
    Probability, Sample, TcpFlags, Timestamp, ZoneId,
};
use netverdict_verdict::{Names, Resolver};
use netverdict_wire::headers::parse_frame;
use uuid::Uuid;

const SECOND: i64 = 1_000_000_000;
const NEW: u8 = 2;
const EST: u8 = 3;
/// When everything was loaded.
const START: i64 = 1_000 * SECOND;

fn id(table: u8, number: u8) -> Uuid {
    Uuid::from_bytes([table, number, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
}

fn put(row: Row) -> Change {
    Change {
        table: row.table().into(),
        uuid: row.uuid(),
        old: None,
        new: Some(row),
    }
}

fn set(time: i64, cause: Cause, rows: Vec<Row>) -> ChangeSet {
    ChangeSet {
        time,
        cause,
        transaction: None,
        changes: rows.into_iter().map(put).collect(),
    }
}

fn row(table: &str, uuid: Uuid, columns: &[(&str, Datum)]) -> Row {
    Row::new(table, uuid, columns.iter().cloned())
}

fn apps() -> Vec<Row> {
    [(NEW, "acl-new"), (EST, "acl-est")]
        .map(|(number, word)| {
            let columns = [
                ("type", Datum::from(word)),
                ("id", Datum::from(i64::from(number))),
            ];
            row("Sampling_App", id(2, number), &columns)
        })
        .into()
}

/// What decisions are made from.
struct Bench {
    history: History,
    names: Names,
    resolver: Resolver,
}

impl Bench {
    fn new() -> Self {
        Self {
            history: History::new(Limits::default()),
            names: Names::default(),
            resolver: Resolver::default(),
        }
    }

    fn apply(&mut self, zone: ZoneId, database: Database, set: &ChangeSet) {
        self.names.apply(zone, database, set);
        if database == Database::Northbound {
            self.history.apply(zone, set).unwrap();
            if self.history.shares_points(zone) {
                self.names.keep_contents(zone, Timestamp(set.time));
            }
        }
    }
}

/// A switch with three ports, one of them a router's, two ACLs of one point, a group and an address set.
struct Small(Bench);

const ZONE: ZoneId = ZoneId(0);
const POINT: u32 = 7;
const KEY: u32 = 5;

fn port(number: u8, name: &str, kind: &str, addresses: &str) -> Row {
    let columns = [
        ("name", Datum::from(name)),
        ("type", Datum::from(kind)),
        ("addresses", Datum::from(addresses)),
    ];
    row("Logical_Switch_Port", id(5, number), &columns)
}

fn group(ports: &[u8]) -> Row {
    let ports: Vec<Uuid> = ports.iter().map(|port| id(5, *port)).collect();
    let columns = [("name", Datum::from("web")), ("ports", uuids(&ports))];
    row("Port_Group", id(6, 1), &columns)
}

fn uuids(of: &[Uuid]) -> Datum {
    Datum::set(of.iter().map(|one| (*one).into()).collect())
}

fn addresses(of: &[&str]) -> Row {
    let columns = [
        ("name", Datum::from("friends")),
        (
            "addresses",
            Datum::set(of.iter().map(|one| (*one).into()).collect()),
        ),
    ];
    row("Address_Set", id(7, 1), &columns)
}

fn acl(number: u8, matches: &str, direction: &str, priority: i64) -> Row {
    let columns = [
        ("direction", Datum::from(direction)),
        ("action", Datum::from("allow-related")),
        ("priority", Datum::from(priority)),
        ("match", Datum::from(matches)),
        ("sample_new", Datum::from(id(3, 1))),
        ("sample_est", Datum::from(id(3, 1))),
        // Otherwise two that say the same would be one.
        ("name", Datum::from(format!("acl{number}"))),
    ];
    row("ACL", id(4, number), &columns)
}

impl Small {
    fn new(acls: &[Row]) -> Self {
        let mut bench = Bench::new();
        assert_eq!(bench.history.zone("w1"), ZONE);
        let mut rows = apps();
        rows.push(row(
            "Sample",
            id(3, 1),
            &[("metadata", Datum::from(i64::from(POINT)))],
        ));
        let held: Vec<Uuid> = acls.iter().map(Row::uuid).collect();
        let ports: Vec<Uuid> = (1..=3).map(|port| id(5, port)).collect();
        let switch = [
            ("name", Datum::from("w1")),
            ("ports", uuids(&ports)),
            ("acls", uuids(&held)),
        ];
        rows.push(row("Logical_Switch", id(8, 1), &switch));
        rows.push(port(1, "a", "", "0a:00:00:00:00:01 10.0.0.1"));
        rows.push(port(2, "b", "", "0a:00:00:00:00:02 10.0.0.2"));
        rows.push(port(3, "up", "router", "router"));
        rows.push(group(&[2]));
        rows.extend(acls.iter().cloned());
        bench.apply(
            ZONE,
            Database::Northbound,
            &set(START, Cause::Initial, rows),
        );
        let binding = [
            ("tunnel_key", Datum::from(i64::from(KEY))),
            (
                "external_ids",
                Datum::map_of([("logical-switch", id(8, 1).to_string().as_str())]),
            ),
        ];
        let bindings = vec![row("Datapath_Binding", id(9, 1), &binding)];
        bench.apply(
            ZONE,
            Database::Southbound,
            &set(START, Cause::Initial, bindings),
        );
        Self(bench)
    }

    fn load_sets(&mut self, of: &[&str]) {
        let rows = vec![addresses(of)];
        self.0.apply(
            ZONE,
            Database::Sets,
            &set(START + SECOND, Cause::Initial, rows),
        );
    }

    fn change(&mut self, seconds: i64, row: Row) {
        let database = match row.table() {
            "Address_Set" => Database::Sets,
            _ => Database::Northbound,
        };
        let set = set(START + seconds * SECOND, Cause::Transaction, vec![row]);
        self.0.apply(ZONE, database, &set);
    }

    /// Which ACL is named, and on what ground.
    fn decide(&mut self, sample: &Sample<'_>) -> (String, Evidence) {
        let Bench {
            history,
            names,
            resolver,
        } = &mut self.0;
        let decision = resolver.resolve(history, names, sample);
        let name = decision.acl.unwrap().acl().name.clone().unwrap();
        (name, decision.evidence)
    }
}

fn headers(src: &str, dst: &str, dst_port: u16) -> Headers {
    let mac = |ip: &str| match ip {
        "10.0.0.1" => [10, 0, 0, 0, 0, 1],
        "10.0.0.2" => [10, 0, 0, 0, 0, 2],
        _ => [10, 0, 0, 0, 0, 99],
    };
    Headers {
        eth_src: Some(mac(src)),
        eth_dst: Some(mac(dst)),
        ethertype: Some(0x800),
        src: Some(src.parse().unwrap()),
        dst: Some(dst.parse().unwrap()),
        src_port: Some(40_000),
        dst_port: Some(dst_port),
        protocol: Some(6),
        ..Headers::default()
    }
}

fn sample(app: u8, seconds: i64, headers: Headers) -> Sample<'static> {
    Sample {
        zone: ZONE,
        origin: Origin::Ipfix,
        time: Timestamp(START + seconds * SECOND),
        key: Key::Cookie(Cookie {
            domain: u32::from(app) << 24 | KEY,
            point: POINT,
        }),
        group: None,
        probability: Probability::ALL,
        input: Input::Unknown,
        headers,
        length: 60,
        packets: 1,
        bytes: 60,
        data: &[],
    }
}

fn named(number: u8, evidence: Evidence) -> (String, Evidence) {
    (format!("acl{number}"), evidence)
}

#[test]
fn ports_of_the_transport_tell() {
    let acls = [
        acl(1, "tcp.dst == 80", "to-lport", 1001),
        acl(2, "tcp.dst == {81, 82}", "to-lport", 1001),
    ];
    let mut small = Small::new(&acls);
    for (port, number) in [(80, 1), (81, 2), (82, 2)] {
        let sample = sample(NEW, 10, headers("10.9.9.9", "10.0.0.2", port));
        assert_eq!(small.decide(&sample), named(number, Evidence::Match));
    }
    // None of them: something is not as it was taken for.
    let sample = sample(NEW, 10, headers("10.9.9.9", "10.0.0.2", 83));
    assert_eq!(small.decide(&sample).1, Evidence::Priority);
    let counts = small.0.resolver.counts();
    assert_eq!(
        (counts.by_match, counts.ambiguous, counts.contradictory),
        (3, 1, 1)
    );
}

#[test]
fn address_sets_tell_as_they_were() {
    let acls = [
        acl(1, "ip4.src == $friends", "to-lport", 1001),
        acl(2, "ip4.src == 10.8.0.0/16", "to-lport", 1000),
    ];
    let mut small = Small::new(&acls);
    let from = |src, seconds| sample(NEW, seconds, headers(src, "10.0.0.2", 80));
    // Nothing is known of the set: the second may be meant only where it matches, the first anywhere.
    let only = small.decide(&from("10.9.0.1", 10));
    assert_eq!(only, named(1, Evidence::Match));
    assert_eq!(
        small.decide(&from("10.8.0.1", 10)),
        named(1, Evidence::Priority)
    );
    assert_eq!(small.0.resolver.lacking_sets(), [ZONE]);
    assert!(small.0.resolver.lacking_sets().is_empty());

    small.load_sets(&["10.9.0.1"]);
    // Loaded a second after the start, and a packet may have met what was there five seconds before.
    let at = |small: &mut Small, seconds| small.decide(&from("10.8.0.1", seconds));
    assert_eq!(at(&mut small, 5), named(2, Evidence::MatchNow));
    assert_eq!(at(&mut small, 6), named(2, Evidence::Match));
    small.change(20, addresses(&["10.8.0.1"]));
    assert_eq!(at(&mut small, 19), named(2, Evidence::Match));
    // Both contents are possible for a while.
    assert_eq!(at(&mut small, 22), named(1, Evidence::Priority));
    // The first holds for certain, so that the second was not asked.
    assert_eq!(at(&mut small, 26), named(1, Evidence::Match));
    assert_eq!(at(&mut small, 19), named(2, Evidence::Match));
}

#[test]
fn port_groups_tell_as_they_were() {
    let acls = [
        acl(1, "outport == @web && tcp", "to-lport", 1001),
        acl(2, "outport == \"a\" && tcp", "to-lport", 1001),
    ];
    let mut small = Small::new(&acls);
    let to = |dst, seconds| sample(NEW, seconds, headers("10.9.9.9", dst, 80));
    let at = |small: &mut Small, dst, seconds| small.decide(&to(dst, seconds));
    assert_eq!(at(&mut small, "10.0.0.2", 10), named(1, Evidence::Match));
    assert_eq!(at(&mut small, "10.0.0.1", 10), named(2, Evidence::Match));
    // By the router it is none of them.
    assert_eq!(at(&mut small, "10.7.7.7", 10).1, Evidence::Priority);
    assert_eq!(small.0.resolver.counts().contradictory, 1);
    small.change(20, group(&[1, 2]));
    assert_eq!(at(&mut small, "10.0.0.1", 30).1, Evidence::Priority);
    assert_eq!(small.0.resolver.counts().contradictory, 1);
    assert_eq!(at(&mut small, "10.0.0.2", 30), named(1, Evidence::Match));
    small.change(40, group(&[]));
    assert_eq!(at(&mut small, "10.0.0.1", 50), named(2, Evidence::Match));
    assert_eq!(at(&mut small, "10.0.0.1", 30).1, Evidence::Priority);
    assert_eq!(at(&mut small, "10.0.0.1", 19), named(2, Evidence::Match));
}

#[test]
fn what_is_asked_before_and_holds_leaves_nothing_for_the_others() {
    let acls = [
        acl(1, "ip4", "to-lport", 1000),
        acl(2, "tcp.dst == 80", "to-lport", 1001),
        acl(3, "ip.ttl == 64 && tcp.dst == 80", "to-lport", 1002),
    ];
    let mut small = Small::new(&acls);
    let to = |port| sample(NEW, 10, headers("10.9.9.9", "10.0.0.2", port));
    assert_eq!(small.decide(&to(81)), named(1, Evidence::Match));
    // The third one may have held, or not.
    assert_eq!(small.decide(&to(80)), named(3, Evidence::Priority));
}

#[test]
fn an_acl_of_another_switch_is_not_meant() {
    let first = acl(1, "tcp", "to-lport", 1001);
    let second = acl(2, "ip4", "to-lport", 1001);
    let mut small = Small::new(std::slice::from_ref(&first));
    let other = [
        ("name", Datum::from("w2")),
        ("acls", uuids(&[second.uuid()])),
    ];
    small.change(5, row("Logical_Switch", id(8, 2), &other));
    small.change(5, second);
    let sample = sample(NEW, 20, headers("10.9.9.9", "10.0.0.2", 80));
    assert_eq!(small.decide(&sample), named(1, Evidence::Match));
}

#[test]
fn packets_of_a_connection_tell_what_its_first_one_met() {
    let acls = [
        acl(1, "outport == @web && tcp.dst == 80", "to-lport", 1001),
        acl(2, "outport == @web && tcp.src == 80", "to-lport", 1001),
    ];
    let mut small = Small::new(&acls);
    let mut there = headers("10.9.9.9", "10.0.0.2", 80);
    there.tcp_flags = Some(TcpFlags(TcpFlags::SYN));
    let mut back = headers("10.0.0.2", "10.9.9.9", 40_000);
    back.src_port = Some(80);
    back.tcp_flags = Some(TcpFlags(TcpFlags::SYN | TcpFlags::ACK));
    assert_eq!(
        small.decide(&sample(EST, 10, there)),
        named(1, Evidence::MatchNow)
    );
    assert_eq!(
        small.decide(&sample(EST, 10, back)),
        named(1, Evidence::MatchNow)
    );
    // Where nothing tells the direction, the group does.
    back.tcp_flags = Some(TcpFlags(TcpFlags::ACK));
    assert_eq!(
        small.decide(&sample(EST, 10, back)),
        named(1, Evidence::MatchNow)
    );
    // An error of ICMP is of another protocol than its connection.
    back.protocol = Some(1);
    back.icmp = Some(IcmpKind { kind: 3, code: 1 });
    assert_eq!(small.decide(&sample(EST, 10, back)).1, Evidence::Priority);
}

#[test]
fn before_load_balancing_the_destination_was_another() {
    let acls = [
        acl(1, "ip4.dst == 10.0.0.2", "from-lport", 1001),
        acl(2, "ip4.dst == 10.96.0.1", "from-lport", 1001),
    ];
    let mut small = Small::new(&acls);
    let seen = headers("10.0.0.1", "10.0.0.2", 80);
    assert_eq!(
        small.decide(&sample(EST, 10, seen)),
        named(1, Evidence::Match)
    );
    let balancer = [
        ("name", Datum::from("lb")),
        ("protocol", Datum::from("tcp")),
        ("vips", Datum::map_of([("10.96.0.1:8080", "10.0.0.2:80")])),
    ];
    small.change(12, row("Load_Balancer", id(10, 1), &balancer));
    assert_eq!(small.decide(&sample(EST, 20, seen)).1, Evidence::Priority);
    // The packet that is judged itself has the destination that it has.
    assert_eq!(
        small.decide(&sample(NEW, 20, seen)),
        named(1, Evidence::Match)
    );
}

/// What an ACL's flow matched: where, and the packet as it was.
struct Matched {
    zone: usize,
    at: At,
    headers: Headers,
    inport: Lport,
    acl: Uuid,
}

#[derive(Default)]
struct Watcher {
    zone: usize,
    matched: Vec<Matched>,
}

impl Observer for Watcher {
    fn enter(&mut self, zone: usize, _: SwitchId, _: Lport) {
        self.zone = zone;
    }

    fn leave(&mut self, zone: usize, _: SwitchId, _: Lport) {
        self.zone = zone;
    }

    fn matched(&mut self, at: At, state: &State, acl: Uuid) {
        let mut frame = Vec::new();
        state.packet.write(&mut frame);
        self.matched.push(Matched {
            zone: self.zone,
            at,
            headers: parse_frame(&frame),
            inport: state.inport,
            acl,
        });
    }
}

/// The compiled rows of each zone, with one point for all ACLs of a pipeline.
fn rows(world: &World) -> Vec<Vec<Row>> {
    let zones = world.compiler.zones();
    let of_zone = |zone: &str| {
        let mut rows = apps();
        for number in 0..3 {
            let point = [("metadata", Datum::from(i64::from(number) + 100))];
            rows.push(row("Sample", id(3, number), &point));
        }
        rows.push(row(
            "NB_Global",
            Uuid::nil(),
            &[("name", Datum::from(zone))],
        ));
        for given in world.compiler.rows().filter(|row| row.is_in(zone)) {
            let made = Row::new(given.table.as_str(), given.uuid, given.columns_in(zone));
            if made.table() != "ACL" {
                rows.push(made);
                continue;
            }
            let pipeline = netverdict_ovn::Acl::read(&made).unwrap().acl.pipeline;
            let sample = Datum::from(id(3, pipeline as u8));
            let others = made
                .columns()
                .filter(|(name, _)| !name.starts_with("sample_"));
            let columns = others
                .map(|(name, value)| (name, value.clone()))
                .chain([("sample_new", sample.clone()), ("sample_est", sample)]);
            rows.push(Row::new("ACL", made.uuid(), columns));
        }
        rows
    };
    zones.iter().map(|zone| of_zone(zone.as_ref())).collect()
}

/// The rows of all zones as they are loaded, and the twin of them.
fn cluster(world: &World, with_sets: bool) -> (Bench, Vec<Arc<Northbound>>) {
    let mut bench = Bench::new();
    let mut northbounds = Vec::new();
    for (number, rows) in rows(world).into_iter().enumerate() {
        let northbound = Arc::new(Northbound::new(&rows));
        let zone = bench.history.zone(&format!("zone{number}"));
        let (sets, others): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|row| row.table() == "Address_Set");
        let initial = |rows| set(START, Cause::Initial, rows);
        bench.apply(zone, Database::Northbound, &initial(others));
        if with_sets {
            bench.apply(zone, Database::Sets, &initial(sets));
        }
        let bindings = northbound.switches().map(|(number, switch)| {
            let uuid = switch.uuid.to_string();
            let columns = [
                ("tunnel_key", Datum::from(i64::from(number.0) + 1)),
                (
                    "external_ids",
                    Datum::map_of([("logical-switch", uuid.as_str())]),
                ),
            ];
            row("Datapath_Binding", switch.uuid, &columns)
        });
        bench.apply(zone, Database::Southbound, &initial(bindings.collect()));
        let interfaces = northbound.ports.iter().enumerate().skip(1);
        let interfaces = interfaces.map(|(number, port)| {
            let columns = [
                ("name", Datum::from(format!("if{number}"))),
                ("external_ids", Datum::map_of([("iface-id", &*port.name)])),
            ];
            row("Interface", port.uuid, &columns)
        });
        bench.apply(zone, Database::Vswitch, &initial(interfaces.collect()));
        northbounds.push(northbound);
    }
    (bench, northbounds)
}

fn packet(dice: &mut Dice, src: IpAddr, dst: IpAddr) -> Packet {
    let src_port = 30_000 + dice.roll(30_000) as u16;
    let ends = (
        SocketAddr::new(src, src_port),
        SocketAddr::new(dst, *dice.one(&PORTS)),
    );
    match dice.roll(5) {
        0 => Packet::udp(ends.0, ends.1),
        1 => Packet::icmp_echo(src, dst, 1),
        _ => Packet::tcp(ends.0, ends.1).with_tcp_flags(2),
    }
}

/// What a later packet of the connection shows.
fn later(dice: &mut Dice, first: Headers) -> (Headers, &'static str) {
    let mut headers = first;
    headers.tcp_flags = headers.tcp_flags.map(|_| TcpFlags(TcpFlags::ACK));
    if dice.roll(2) == 0 {
        return (headers, "established");
    }
    std::mem::swap(&mut headers.src, &mut headers.dst);
    std::mem::swap(&mut headers.src_port, &mut headers.dst_port);
    std::mem::swap(&mut headers.eth_src, &mut headers.eth_dst);
    let answer = |icmp: IcmpKind| match icmp.kind {
        8 => IcmpKind { kind: 0, code: 0 },
        _ => IcmpKind { kind: 129, code: 0 },
    };
    headers.icmp = headers.icmp.map(answer);
    (headers, "reply")
}

/// How many were decided, of how many.
type Shares = BTreeMap<(Pipeline, &'static str, &'static str), (u32, u32)>;

/// With all ACLs of a pipeline on one point, the one that is named is the one that the twin's flows found; where all is known, one is named.
#[test]
fn what_matches_tell_is_what_the_twin_walked() {
    let sets: usize = std::env::var("N").map_or(10, |n| n.parse().unwrap());
    let mut dice = Dice(5);
    let mut shares = Shares::new();
    for number in 0..sets {
        let world = world(&mut dice);
        let what_is_known = ["all", "all", "no sets", "no MACs", "no switch"][number % 5];
        judge(&mut dice, &world, what_is_known, &mut shares);
    }
    for ((pipeline, what, known), (decided, all)) in &shares {
        println!("{pipeline:?}, {what}, {known} known: {decided} of {all}");
        if (*what, *known) == ("new", "all") {
            assert_eq!(decided, all, "{pipeline:?}");
        }
    }
    for what in ["new", "established", "reply"] {
        for pipeline in [Pipeline::FromLportAfterLb, Pipeline::ToLport] {
            let (decided, _) = shares[&(pipeline, what, "all")];
            assert!(decided > 5, "{pipeline:?}, {what}: {decided}");
        }
    }
}

fn judge(dice: &mut Dice, world: &World, known: &'static str, shares: &mut Shares) {
    let (mut bench, northbounds) = cluster(world, known != "no sets");
    let walks = northbounds
        .iter()
        .map(|zone| Zone::new(zone.clone(), Walk::new(zone.clone(), Release::default())));
    let mut twin = Twin::new(walks);
    let pods: Vec<(String, IpAddr)> = world
        .objects
        .values()
        .filter_map(|object| match &object.spec {
            Spec::Pod(pod) if !pod.host_network => {
                let name = format!("{}_{}", object.key.namespace, object.key.name);
                Some((name, *dice.one(&pod.addresses)))
            }
            _ => None,
        })
        .collect();
    for round in 0..120 {
        let (from, src) = dice.one(&pods);
        let dst = match dice.roll(8) {
            0 => "203.0.113.7".parse().unwrap(),
            _ => dice.one(&pods).1,
        };
        if *src == dst || src.is_ipv4() != dst.is_ipv4() {
            continue;
        }
        let packet = packet(dice, *src, dst);
        let place = twin.place(from).unwrap();
        let packet = twin.addressed(place, packet);
        // Connections of other rounds are over.
        let time = Timestamp(START + 10 * SECOND + round * 100_000 * SECOND);
        let mut watcher = Watcher::default();
        twin.send(place, packet, time, &mut watcher);
        for matched in &watcher.matched {
            let of = |matched: &Matched| &northbounds[matched.zone].acls[&matched.acl].acl;
            let truth = of(matched);
            let pipeline = truth.pipeline;
            let passed = watcher.matched.iter().any(|other| {
                (other.zone, other.at.switch) == (matched.zone, matched.at.switch)
                    && of(other).pipeline == pipeline
                    && of(other).action == Action::Pass
            });
            let marks = matches!(truth.action, Action::Allow | Action::AllowRelated);
            let (app, (mut headers, what)) = match marks && dice.roll(2) == 0 {
                true => (EST, later(dice, matched.headers)),
                // That a `pass` was sampled as well leaves two.
                false if passed => (NEW, (matched.headers, "new and passed")),
                false => (NEW, (matched.headers, "new")),
            };
            if known == "no MACs" {
                (headers.eth_src, headers.eth_dst) = (None, None);
            }
            let key = match known {
                "no switch" => 0x00ff_ffff,
                _ => matched.at.switch.0 + 1,
            };
            let input = format!("if{}", matched.inport.0);
            let (origin, input) = match dice.roll(2) {
                0 => (Origin::Psample, Input::Name(&input)),
                _ => (Origin::Ipfix, Input::Unknown),
            };
            let sample = Sample {
                zone: ZoneId(matched.zone as u16),
                origin,
                time,
                key: Key::Cookie(Cookie {
                    domain: u32::from(app) << 24 | key,
                    point: 100 + pipeline as u32,
                }),
                input,
                ..sample(app, 0, headers)
            };
            // As if nobody had seen the connection begin.
            bench.resolver = Resolver::default();
            let decision = bench
                .resolver
                .resolve(&bench.history, &bench.names, &sample);
            let contradictory = bench.resolver.counts().contradictory;
            assert_eq!(contradictory, 0, "{truth:?}\n{decision:#?}");
            let rivals = || {
                let candidates = decision.candidates.iter().map(|row| row.acl());
                candidates.filter(|acl| *acl != truth)
            };
            let what = match what {
                // OVN takes any one of those that are asked at once.
                "new"
                    if rivals()
                        .any(|acl| (acl.tier, acl.priority) == (truth.tier, truth.priority)) =>
                {
                    "new and tied"
                }
                // That an earlier one was passed over is for ACLs to tell that have other points.
                "new" if rivals().any(|acl| acl.tier != truth.tier) => "new and in tiers",
                what => what,
            };
            let share = shares.entry((pipeline, what, known)).or_default();
            share.1 += 1;
            if decision.is_ambiguous() {
                let mut candidates = decision.candidates.iter();
                let is_told = candidates.any(|row| row.uuid == matched.acl);
                let is_beyond = decision.candidates.total() > Candidates::SHOWN;
                assert!(
                    is_told || is_beyond,
                    "{truth:?}\nis not among\n{decision:#?}"
                );
            } else {
                share.0 += 1;
                let named = decision.acl.unwrap();
                assert_eq!(
                    named.uuid,
                    matched.acl,
                    "{known} known\n{truth:?}\nnot\n{:?}\n{headers:?}",
                    named.acl()
                );
            }
        }
    }
}
