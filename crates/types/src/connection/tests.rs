use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::{Acl, Fact, Owner, Pipeline};

proptest! {
    #[test]
    fn updates_fold_in_any_order_and_grouping(
        updates in vec(update(), 1..12),
        order in vec(any::<Index>(), 12),
        cuts in vec(any::<bool>(), 12),
    ) {
        let whole = fold(&updates);
        let mut left = updates;
        let mut shuffled = Vec::new();
        for index in order {
            if !left.is_empty() {
                shuffled.push(left.remove(index.index(left.len())));
            }
        }
        prop_assert_eq!(&fold(&shuffled), &whole);
        let mut groups: Vec<Vec<Connection>> = vec![Vec::new()];
        for (update, cut) in shuffled.into_iter().zip(cuts) {
            if cut && groups.last().is_some_and(|group| !group.is_empty()) {
                groups.push(Vec::new());
            }
            groups.last_mut().unwrap().push(update);
        }
        let groups: Vec<_> = groups.iter().map(|group| fold(group)).collect();
        prop_assert_eq!(&fold(&groups), &whole);
    }

    #[test]
    fn changes_are_the_earliest_of_each_ruling_in_their_order(updates in vec(update(), 1..12)) {
        let mut all: Vec<Change> = Vec::new();
        for change in updates.iter().flat_map(|update| &update.changes) {
            match all.iter_mut().find(|known| known.is_same(change)) {
                Some(known) => known.half.since = known.half.since.min(change.half.since),
                None => all.push(change.clone()),
            }
        }
        all.sort();
        all.truncate(Connection::CHANGES);
        prop_assert_eq!(fold(&updates).changes, all);
    }
}

proptest! {
    #[test]
    fn an_interval_holds_what_is_likeliest(packets in 0..1_000_000_u64, share in 1..=u32::MAX) {
        let tally = Tally { packets, bytes: 0 };
        let estimate = tally.estimate(Probability(share)).unwrap();
        prop_assert!(packets as f64 <= estimate.low + 1e-6);
        prop_assert!(estimate.low <= estimate.packets * (1.0 + 1e-9));
        prop_assert!(estimate.packets <= estimate.high * (1.0 + 1e-9));
        // The ends are those where what was seen is just within what chance allows.
        let (p, seen) = (Probability(share).fraction(), packets as f64);
        for end in [estimate.low, estimate.high] {
            if end > seen + 1e-6 {
                let deviation = Z * (end * p * (1.0 - p)).sqrt();
                prop_assert!(((seen - end * p).abs() - deviation).abs() <= 1e-3 * (1.0 + seen));
            }
        }
    }
}

#[test]
fn an_estimate_of_all_packets_is_exact() {
    let tally = Tally {
        packets: 12,
        bytes: 1_200,
    };
    let exactly = Estimate {
        packets: 12.0,
        low: 12.0,
        high: 12.0,
        bytes: 1_200.0,
    };
    assert_eq!(tally.estimate(Probability::ALL), Some(exactly));
    assert_eq!(tally.estimate(Probability(0)), None);
}

/// Of many runs, 95 in a hundred hold the truth within their interval: no less than 93, and few of
/// them miss it for being narrow.
#[test]
fn an_interval_holds_the_truth_as_often_as_it_says() {
    const RUNS: u32 = 2_000;
    let mut random = 88_172_645_463_325_252_u64;
    for (truth, one_in) in [(300, 10), (1_000, 100), (5_000, 100), (20_000, 1_000)] {
        let probability = Probability::from_ratio(one_in);
        let mut held = 0;
        for _ in 0..RUNS {
            let mut packets = 0;
            for _ in 0..truth {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                packets += u64::from((random >> 32) as u32 <= probability.0);
            }
            let seen = Tally { packets, bytes: 0 };
            let estimate = seen.estimate(probability).unwrap();
            held += u32::from((estimate.low..=estimate.high).contains(&f64::from(truth)));
        }
        let share = f64::from(held) / f64::from(RUNS);
        assert!((0.93..0.98).contains(&share), "{truth} {one_in}: {share}");
    }
}

fn fold(updates: &[Connection]) -> Connection {
    let mut whole = updates[0].clone();
    for update in &updates[1..] {
        whole.fold(update);
    }
    whole
}

fn update() -> impl Strategy<Value = Connection> {
    let facts = (
        any::<u32>(),
        select(vec![None, Some(Arc::from("blue")), Some("red".into())]),
        any::<bool>(),
        proptest::option::of((0..3_u8, 0..3_u8).prop_map(|(kind, code)| IcmpKind { kind, code })),
        endpoint(),
        endpoint(),
        any::<bool>(),
        (-50..50_i64, -50..50_i64),
        select(Verdict::ALL.to_vec()),
        any::<u8>(),
    );
    let halves = (proptest::option::of(half()), proptest::option::of(half()));
    let counts = vec((0..4_u32, tally(), tally(), tally()), 0..3);
    let changes = vec((select(Direction::ALL.to_vec()), half()), 0..20);
    (facts, halves, counts, changes).prop_map(|(facts, (egress, ingress), counts, changes)| {
        let (seq, network, backend, icmp, src, dst, named, (start, end), verdict, flags) = facts;
        let socket = |last, port| Socket {
            ip: IpAddr::from([10, 0, 0, last]),
            port: Some(port),
        };
        let server = match backend {
            true => socket(flags % 2, 8080),
            false => socket(96, 80),
        };
        let service = Arc::new(Service {
            namespace: None,
            name: "web".to_owned(),
            ip: IpAddr::from([10, 0, 0, 96]),
            port: Some(80),
            protocol: 6,
            backends: Vec::new(),
        });
        let mut made = Connection {
            id: ConnectionId(7),
            seq,
            network,
            protocol: 6,
            client: socket(9, 40_000),
            server,
            icmp,
            src,
            dst,
            service: (named || !backend).then_some(service),
            start: Timestamp(start),
            end: Timestamp(end),
            verdict,
            egress,
            ingress,
            tcp_flags: TcpFlags(flags),
            counts: Vec::new(),
            changes: Vec::new(),
        };
        for (probability, original, reply, dropped) in counts {
            made.count(&Counts {
                probability: Probability(probability),
                original,
                reply,
                dropped,
            });
        }
        for (direction, half) in changes {
            made.change(&Change { direction, half });
        }
        made
    })
}

fn endpoint() -> impl Strategy<Value = Option<Arc<Endpoint>>> {
    let name = select(vec![None, Some("a".to_owned()), Some("b".to_owned())]);
    let kind = select(EndpointKind::ALL.to_vec());
    proptest::option::of((kind, name).prop_map(|(kind, name)| {
        Arc::new(Endpoint {
            kind,
            namespace: None,
            name,
            node: None,
        })
    }))
}

fn tally() -> impl Strategy<Value = Tally> {
    let number = || prop_oneof![4 => 0..100_u64, 1 => Just(u64::MAX / 2)];
    (number(), number()).prop_map(|(packets, bytes)| Tally { packets, bytes })
}

fn half() -> impl Strategy<Value = Half> {
    let node = select(vec![None, Some("n1".into()), Some("n2".into())]);
    let ruling = (
        select(Verdict::ALL.to_vec()),
        proptest::option::of(0..3_u16),
        proptest::option::of(0..3_u64),
        any::<bool>(),
    );
    (0..20_i64, select(vec!["z1", "z2"]), node, ruling).prop_map(
        |(since, zone, node, (verdict, priority, revision, deleted))| Half {
            since: Timestamp(since),
            zone: zone.into(),
            node,
            ruling: Arc::new(Ruling {
                verdict,
                fact: priority.map(|priority| Arc::new(fact(priority))),
                uuid: None,
                revision,
                deleted,
                evidence: Evidence::Point,
                unresolved: None,
                flow: None,
            }),
        },
    )
}

fn fact(priority: u16) -> Fact {
    Fact::from(Acl {
        name: None,
        priority,
        matches: "ip".to_owned(),
        action: Action::Allow,
        pipeline: Pipeline::ToLport,
        tier: 2,
        label: 0,
        owner: Owner::unowned(None),
    })
}
