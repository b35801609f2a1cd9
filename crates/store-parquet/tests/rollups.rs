//! Roll-ups tell what the rows tell, also when rows die behind them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers of tests.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use netverdict_query::ask::{Ask, Groups, Measure, Order, Want};
use netverdict_query::{Field, HalfField, parse};
use netverdict_store::judge::Naive;
use netverdict_store::{Batch, Store};
use netverdict_store_parquet::{Options, ParquetStore};
use netverdict_types::{
    Acl, Action, Connection, ConnectionId, Counts, Direction, Endpoint, EndpointKind, Evidence,
    Half, Owner, OwnerKind, Pipeline, Probability, Rule, Ruling, Socket, Tally, TcpFlags,
    Timestamp, Verdict,
};

/// Twenty minutes before the hour.
const BEGIN: i64 = 1_795_498_800_000_000_000;
const MINUTE: i64 = 60_000_000_000;

#[test]
fn roll_ups_tell_what_rows_tell() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path());
    options.seal_rows = 800;
    let store = ParquetStore::open(options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let naive = Naive::default();
    let rulings = rulings();
    for number in 1..=12 {
        let rows = (0..400)
            .map(|place| row(&rulings, (number - 1) * 400 + place))
            .collect();
        let batch = Batch {
            writer: "test".into(),
            number,
            rows,
        };
        naive.keep(&batch);
        runtime.block_on(store.append(batch)).unwrap();
        if number % 4 == 0 {
            runtime.block_on(store.settle()).unwrap();
        }
    }
    compare(&runtime, &store, &naive);
    for name in ["hour", "minute", "workloads", "halves"] {
        assert!(has(directory.path(), &format!("{name}.parquet")), "{name}");
    }
    assert!(has(directory.path(), "dead-"), "no row died");
}

fn compare(runtime: &tokio::runtime::Runtime, store: &ParquetStore, naive: &Naive) {
    let policy = || vec![Field::OwnerNamespace, Field::OwnerName];
    let dropped = Measure::Sum(Field::DroppedPackets);
    let bytes = Measure::Sum(Field::Bytes);
    let mut asks = 0;
    for (since, until) in [
        (i64::MIN, i64::MAX),
        (BEGIN + 20 * MINUTE, BEGIN + 80 * MINUTE),
        (BEGIN + 17 * MINUTE, BEGIN + 45 * MINUTE + 1),
    ] {
        for filter in [
            "",
            "verdict=dropped",
            "src.namespace=blue",
            "policy=blue/p1",
        ] {
            for (by, measures) in [
                (policy(), vec![dropped, Measure::Count]),
                (
                    [policy(), vec![Field::RuleIndex, Field::Verdict]].concat(),
                    vec![bytes],
                ),
                (vec![Field::Action], vec![Measure::Count]),
                (
                    [policy(), vec![Field::Egress(HalfField::Action)]].concat(),
                    vec![Measure::Sum(Field::Ingress(HalfField::RuleIndex))],
                ),
                (
                    vec![],
                    vec![Measure::Min(Field::Start), Measure::Max(Field::End)],
                ),
                (
                    vec![Field::SrcNamespace, Field::Egress(HalfField::OwnerName)],
                    vec![Measure::Count, Measure::Distinct(None, Field::DstName)],
                ),
            ] {
                for every in [None, Some(60 * MINUTE), Some(7 * MINUTE)] {
                    let ask = Ask {
                        since: Timestamp(since),
                        until: Timestamp(until),
                        filter: parse(filter).unwrap().plan(Timestamp(0)),
                        want: Want::Groups(Groups {
                            by: by.clone(),
                            every,
                            measures: measures.clone(),
                            order: Some((0, Order::Descending)),
                            top: 20,
                        }),
                    };
                    let expected = naive.answer(&ask);
                    let rolled = runtime.block_on(store.ask(&ask)).unwrap();
                    assert_eq!(rolled, expected, "{filter} {ask:?}");
                    let raw = runtime.block_on(store.ask_rows(&ask)).unwrap();
                    assert_eq!(raw, expected, "{filter} {ask:?}");
                    asks += 1;
                }
            }
        }
    }
    assert_eq!(asks, 216);
}

fn has(directory: &Path, name: &str) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => has(&path, name),
            false => path
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(name),
        }
    })
}

fn rulings() -> Vec<Arc<Ruling>> {
    let mut out = Vec::new();
    for (namespace, name, action) in [
        ("blue", "p1", Action::AllowRelated),
        ("blue", "p1", Action::Drop),
        ("blue", "p2", Action::AllowRelated),
        ("red", "p1", Action::Reject),
    ] {
        let acl = Acl {
            name: None,
            priority: 1001,
            matches: "ip4".into(),
            action,
            pipeline: Pipeline::ToLport,
            tier: 2,
            label: 0,
            owner: Owner {
                kind: OwnerKind::NetworkPolicy,
                namespace: Some(namespace.into()),
                name: Some(name.into()),
                direction: Some(Direction::Ingress),
                rule: Rule {
                    index: Some(out.len() as u32),
                    ..Rule::default()
                },
                network: None,
            },
        };
        out.push(Arc::new(Ruling {
            verdict: Verdict::Allowed,
            fact: Some(Arc::new(acl.into())),
            uuid: None,
            revision: None,
            deleted: false,
            evidence: Evidence::Point,
            unresolved: None,
            flow: None,
        }));
    }
    out.push(Arc::new(Ruling {
        verdict: Verdict::Unknown,
        fact: None,
        uuid: None,
        revision: None,
        deleted: false,
        evidence: Evidence::None,
        unresolved: None,
        flow: None,
    }));
    out
}

/// An hour of rows; some are updates of rows of long before.
fn row(rulings: &[Arc<Ruling>], number: u64) -> Connection {
    let late = number > 1200 && number.is_multiple_of(40);
    let of = if late { number - 1199 } else { number };
    let random = of.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let end = Timestamp(BEGIN + (number as i64 * 60 * MINUTE) / 4_800);
    let start = end.before((random % 5) as i64 * MINUTE / 4);
    let end_of = |place: u64| {
        Some(Arc::new(Endpoint {
            kind: EndpointKind::Pod,
            namespace: Some(["blue", "red"][place as usize % 2].into()),
            name: Some(format!("pod-{}", place % 3)),
            node: None,
        }))
    };
    let half = |pick: usize| {
        let ruling = rulings.get(pick)?;
        Some(Half {
            since: start,
            zone: "zone".into(),
            node: None,
            ruling: ruling.clone(),
        })
    };
    let tally = Tally {
        packets: 1 + random % 7,
        bytes: 60 * (1 + random % 7),
    };
    Connection {
        id: ConnectionId(u128::from(of).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
        seq: u32::from(late),
        network: None,
        protocol: 6,
        client: Socket {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: None,
        },
        server: Socket {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: Some(80),
        },
        icmp: None,
        src: end_of(random % 2),
        dst: end_of(random / 2 % 2),
        service: None,
        start,
        end,
        verdict: [Verdict::Allowed, Verdict::Dropped]
            [usize::from(late || random.is_multiple_of(9))],
        egress: half([0, 5][random as usize / 4 % 2]),
        ingress: half([1, 3, 4, 5][random as usize / 16 % 4]),
        tcp_flags: TcpFlags(0),
        counts: vec![Counts {
            probability: Probability::ALL,
            original: tally,
            reply: tally,
            dropped: tally,
        }],
        changes: Vec::new(),
    }
}
