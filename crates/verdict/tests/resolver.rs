//! Laws that hold for the decisions on any samples.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use netverdict_history::{History, Limits};
use netverdict_ovn::Database;
use netverdict_ovsdb::{Cause, Change, ChangeSet, Datum, Row};
use netverdict_types::{
    App, Cookie, Decision, Evidence, Headers, Input, Key, LogDirection, LogVerdict, Origin,
    Probability, Sample, TcpFlags, Timestamp, Unresolved, Verdict, ZoneId,
};
use netverdict_verdict::{Names, Resolver};
use proptest::prelude::*;
use uuid::Uuid;

const SECOND: i64 = 1_000_000_000;
/// How long alike samples can be those of one packet.
const WINDOW: i64 = 20_000_000;

/// A zone's NB: applications 1 drop, 2 acl-new, 3 acl-est, and ACLs of each tier and pipeline that
/// hold the points 1 to 8; 8 is held by two.
fn northbound(version: &str) -> Vec<Row> {
    let id = |table: u8, number: u8| {
        Uuid::from_bytes([table, number, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    };
    let mut rows = vec![Row::new(
        "NB_Global",
        id(1, 0),
        [
            ("name", Datum::from("w1")),
            (
                "options",
                Datum::map_of([("northd_internal_version", version)]),
            ),
        ],
    )];
    for (number, app) in App::ALL.into_iter().enumerate() {
        rows.push(Row::new(
            "Sampling_App",
            id(2, number as u8),
            [
                ("type", Datum::from(app.as_str())),
                ("id", Datum::from(1 + number as i64)),
            ],
        ));
    }
    for number in 0..9_u8 {
        let point = i64::from(1 + number.min(7));
        rows.push(Row::new(
            "Sample",
            id(3, number),
            [("metadata", Datum::from(point))],
        ));
        rows.push(Row::new(
            "ACL",
            id(4, number),
            [
                ("name", Datum::from(format!("acl{}", number % 3))),
                (
                    "direction",
                    Datum::from(["to-lport", "from-lport"][usize::from(number / 4 % 2)]),
                ),
                (
                    "action",
                    Datum::from(["allow-related", "drop", "reject"][usize::from(number % 3)]),
                ),
                ("priority", Datum::from(1000 + i64::from(number))),
                ("match", Datum::from(format!("ip4 && tcp.dst == {number}"))),
                ("tier", Datum::from(i64::from(number % 4))),
                ("label", Datum::from(i64::from(number % 2) * 77)),
                ("sample_new", Datum::from(id(3, number))),
                // The fifth is sampled when new only.
                (
                    "sample_est",
                    [id(3, number)]
                        .into_iter()
                        .filter(|_| number != 4)
                        .collect(),
                ),
            ],
        ));
    }
    rows
}

fn change_set(time: i64, cause: Cause, changes: Vec<Change>) -> ChangeSet {
    ChangeSet {
        time,
        cause,
        transaction: None,
        changes,
    }
}

/// Its own copy of a sample, without what it borrows.
#[derive(Clone, Debug)]
struct Seen {
    zone: u8,
    origin: usize,
    /// Since the sample before, in nanoseconds; a clock may go back a little.
    after: i64,
    key: SeenKey,
    packets: u64,
    headers: Headers,
    /// How often it is seen again at once.
    copies: u8,
}

#[derive(Clone, Debug)]
enum SeenKey {
    Cookie { app: u8, point: u32 },
    Point(u32),
    Label(u32),
    Log(usize, bool, bool),
    None,
}

const ORIGINS: [Origin; 5] = [
    Origin::Psample,
    Origin::Ipfix,
    Origin::Conntrack,
    Origin::Datapath,
    Origin::AclLog,
];
const LOGGED: [&str; 4] = ["acl0", "acl1", "", "nobody"];

fn headers() -> impl Strategy<Value = Headers> {
    let end = || {
        (
            prop::option::weighted(0.95, 1..4_u8),
            prop::option::weighted(0.9, 1..4_u16),
        )
    };
    let protocol = prop::option::weighted(0.95, prop_oneof![Just(6_u8), Just(17), Just(1)]);
    let flags = prop::option::of(prop_oneof![Just(2_u8), Just(0x12), Just(0x10), Just(4)]);
    (end(), end(), protocol, flags, 0..3_u16).prop_map(|(src, dst, protocol, flags, ip_id)| {
        let ip = |last: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        Headers {
            src: src.0.map(ip),
            dst: dst.0.map(ip),
            src_port: src.1,
            dst_port: dst.1,
            protocol,
            tcp_flags: flags.filter(|_| protocol == Some(6)).map(TcpFlags),
            ip_id: Some(ip_id),
            ..Headers::default()
        }
    })
}

fn seen() -> impl Strategy<Value = Seen> {
    let key = prop_oneof![
        12 => (0..5_u8, 0..10_u32).prop_map(|(app, point)| SeenKey::Cookie { app, point }),
        2 => (0..10_u32).prop_map(SeenKey::Point),
        1 => prop_oneof![Just(0_u32), Just(77), Just(78)].prop_map(SeenKey::Label),
        1 => (0..LOGGED.len(), any::<bool>(), any::<bool>())
            .prop_map(|(name, drop, to)| SeenKey::Log(name, drop, to)),
        1 => Just(SeenKey::None),
    ];
    let after = prop_oneof![
        6 => 0..1_000_000_i64,
        2 => -1_000_000..50_000_000_i64,
        1 => 0..30 * SECOND,
    ];
    let packets = prop_oneof![8 => Just(1_u64), 1 => 0..9_u64];
    (
        0..3_u8,
        0..ORIGINS.len(),
        after,
        key,
        packets,
        headers(),
        0..5_u8,
    )
        .prop_map(
            |(zone, origin, after, key, packets, headers, copies)| Seen {
                // Mostly the zone with policies.
                zone: zone / 2,
                origin,
                after,
                key,
                packets,
                headers,
                copies,
            },
        )
}

impl Seen {
    fn sample(&self, time: i64) -> Sample<'static> {
        Sample {
            zone: ZoneId(self.zone.into()),
            origin: ORIGINS[self.origin],
            time: Timestamp(time),
            key: match self.key {
                SeenKey::Cookie { app, point } => Key::Cookie(Cookie {
                    domain: u32::from(app) << 24 | 3,
                    point,
                }),
                SeenKey::Point(point) => Key::ConntrackPoint(point),
                SeenKey::Label(label) => Key::Label(label),
                SeenKey::Log(name, drop, to) => Key::Log {
                    name: LOGGED[name],
                    verdict: if drop {
                        LogVerdict::Drop
                    } else {
                        LogVerdict::Allow
                    },
                    direction: if to {
                        LogDirection::ToLport
                    } else {
                        LogDirection::FromLport
                    },
                },
                SeenKey::None => Key::None,
            },
            group: None,
            probability: Probability::ALL,
            input: Input::Unknown,
            headers: self.headers,
            length: 100,
            packets: self.packets,
            bytes: self.packets * 100,
            data: &[],
        }
    }
}

/// What the laws need of a decision.
fn laws(sample: &Sample<'_>, decision: &Decision<'_>) {
    // Either there is a reason to show, or a reason why there is none.
    let found = decision.acl.is_some() || decision.flow.is_some();
    assert_eq!(found, decision.unresolved.is_none(), "{decision:?}");
    assert!(!decision.message().is_empty(), "{decision:?}");
    assert_eq!(found, decision.evidence != Evidence::None, "{decision:?}");
    if decision.acl.is_none() {
        assert!(matches!(
            decision.verdict,
            Verdict::Unknown | Verdict::Dropped
        ));
    }
    // Several candidates, or none: the word is ambiguous for nothing else.
    assert_eq!(decision.is_ambiguous(), !decision.candidates.is_empty());
    assert_ne!(decision.candidates.total(), 1);
    // A new connection is sampled once, and so is what no packet stands behind.
    let of_packet = matches!(sample.key, Key::Cookie(_))
        && matches!(sample.origin, Origin::Psample | Origin::Ipfix)
        && sample.packets == 1;
    if decision.double {
        assert_eq!(decision.app, Some(App::AclEst), "{decision:?}");
        assert!(of_packet, "{decision:?}");
    }
    // Doubles add nothing.
    let counted = (decision.packets, decision.bytes);
    let expected = if decision.double {
        (0, 0)
    } else {
        (sample.packets, sample.bytes)
    };
    assert_eq!(counted, expected);
    // A packet of a new connection goes the way of the connection.
    if decision.app == Some(App::AclNew) {
        assert_eq!(decision.reply, Some(false));
    }
    // What the sample says is handed on.
    assert_eq!(
        (decision.time, decision.headers),
        (sample.time, sample.headers)
    );
    assert_eq!(
        (decision.src.ip, decision.dst.ip),
        (sample.headers.src, sample.headers.dst)
    );
    for end in [decision.src, decision.dst] {
        assert_eq!(end.ip.is_some(), end.endpoint.is_some());
    }
}

fn zone_of(rows: &[Row]) -> (History, ChangeSet) {
    let mut history = History::new(Limits::default());
    history.zone("w1");
    history.zone("w2");
    let put = |row: &Row| Change {
        table: row.table().into(),
        uuid: row.uuid(),
        old: None,
        new: Some(row.clone()),
    };
    let all = change_set(0, Cause::Initial, rows.iter().map(put).collect());
    history.apply(ZoneId(0), &all).unwrap();
    (history, all)
}

#[test]
fn an_established_packet_counts_once_in_each_tier_and_the_next_one_again() {
    for (version, once) in [("25.03.0-20.41.0-78.8", false), ("26.03.0", true)] {
        let (history, _) = zone_of(&northbound(version));
        let names = Names::default();
        for point in 1..8_u32 {
            let tier = (point as u8 - 1) % 4;
            let mut resolver = Resolver::default();
            let mut seen = Seen {
                zone: 0,
                origin: 0,
                after: 0,
                key: SeenKey::Cookie { app: 3, point },
                packets: 1,
                headers: Headers::default(),
                copies: 0,
            };
            let mut look = |seen: &Seen, time| {
                resolver
                    .resolve(&history, &names, &seen.sample(100 * SECOND + time))
                    .double
            };
            if point == 5 {
                // It has no point for established packets.
                assert!(!look(&seen, 0) && !look(&seen, 0));
                continue;
            }
            for packet in 0..3 {
                seen.headers.ip_id = Some(packet / 2);
                let doubles = (0..=tier).map(|copy| look(&seen, i64::from(copy)));
                let expected = (0..=tier).map(|copy| copy > 0 && !once);
                assert!(doubles.eq(expected), "point {point}, packet {packet}");
            }
            // Long after, it is another packet that looks alike.
            assert!(!look(&seen, 2 * WINDOW) && !look(&seen, 4 * WINDOW));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn counts_add_up_and_doubles_count_nothing(
        seen in prop::collection::vec(seen(), 1..80),
        once in any::<bool>(),
        deleted in prop::collection::vec(0..9_usize, 0..3),
    ) {
        let (west, east) = (ZoneId(0), ZoneId(1));
        let rows = northbound(if once { "26.03.0" } else { "25.03.0-20.41.0-78.8" });
        let (mut history, all) = zone_of(&rows);
        let acls: Vec<_> = rows.iter().filter(|row| row.table() == "ACL").collect();
        for number in deleted {
            let row = acls[number];
            let gone = Change {
                table: row.table().into(),
                uuid: row.uuid(),
                old: Some(row.clone()),
                new: None,
            };
            history.apply(west, &change_set(SECOND, Cause::Transaction, vec![gone])).unwrap();
        }
        let mut names = Names::default();
        names.apply(west, Database::Northbound, &all);

        let mut resolver = Resolver::default();
        let mut time = 100 * SECOND;
        let (mut samples, mut resolved, mut ambiguous, mut doubles) = (0, 0, 0, 0);
        let mut unresolved = [0; Unresolved::ALL.len()];
        let mut packets = 0;
        // Of each packet's looks: how many counted, how many did not, and when the last did.
        let mut looks: HashMap<_, (u64, u64, i64)> = HashMap::new();
        for seen in &seen {
            time += seen.after;
            for copy in 0..=i64::from(seen.copies) {
                let sample = seen.sample(time + copy * 1_000);
                let decision = resolver.resolve(&history, &names, &sample);
                laws(&sample, &decision);
                samples += 1;
                ambiguous += u64::from(decision.is_ambiguous());
                doubles += u64::from(decision.double);
                packets += decision.packets;
                match decision.unresolved {
                    Some(reason) => unresolved[reason as usize] += 1,
                    None => resolved += 1,
                }
                if sample.zone == east && !matches!(sample.key, Key::None) {
                    prop_assert_eq!(decision.unresolved, Some(Unresolved::NoPolicies));
                }
                let look = (sample.zone, decision.cookie, sample.headers);
                let (counted, more, last) = looks.entry(look).or_default();
                if decision.double {
                    *more += 1;
                    prop_assert!(*counted > 0, "a double of nothing: {:?}", decision);
                    prop_assert!(sample.time.0 - *last <= WINDOW, "a double of long ago: {:?}", decision);
                    // Three tiers above the first, or the second look at a reply.
                    prop_assert!(*more <= *counted * 3, "{} doubles of {}", more, counted);
                } else {
                    *counted += 1;
                    *last = sample.time.0;
                }
            }
        }
        let counts = resolver.counts();
        prop_assert_eq!(counts.samples, samples);
        prop_assert_eq!(counts.samples, counts.resolved + counts.unresolved_total());
        prop_assert_eq!(counts.resolved, resolved);
        prop_assert_eq!(counts.unresolved, unresolved);
        prop_assert_eq!(counts.ambiguous, ambiguous);
        prop_assert_eq!(counts.doubles, doubles);
        if once {
            prop_assert_eq!(doubles, 0);
        }
        let sent: u64 = seen.iter().map(|seen| seen.packets * (1 + u64::from(seen.copies))).sum();
        prop_assert_eq!(packets, sent - doubles);
    }

    /// Time that goes on makes no difference: the same samples, later, give the same decisions.
    #[test]
    fn only_the_distance_in_time_matters(seen in prop::collection::vec(seen(), 1..30), later in 1..1_000_i64) {
        let decide = |start: i64| {
            let (history, _) = zone_of(&northbound("25.03.0"));
            let names = Names::default();
            let mut resolver = Resolver::default();
            let mut time = start;
            let mut decisions = Vec::new();
            for seen in &seen {
                time += seen.after;
                for _ in 0..=seen.copies {
                    let sample = seen.sample(time);
                    let decision = resolver.resolve(&history, &names, &sample);
                    decisions.push((
                        decision.acl.map(|row| row.uuid),
                        decision.unresolved,
                        decision.double,
                        decision.reply,
                        decision.evidence,
                    ));
                }
            }
            decisions
        };
        prop_assert_eq!(decide(100 * SECOND), decide((100 + later) * SECOND));
    }
}
