//! What is too old, or too much, goes with its files and roll-ups; the rest is answered as before.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // Helpers of tests.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use netverdict_query::ask::{Ask, Groups, Measure, Order, Want};
use netverdict_query::{Field, parse};
use netverdict_store::judge::Naive;
use netverdict_store::{Batch, Store};
use netverdict_store_parquet::{Options, ParquetStore};
use netverdict_types::{
    Clock, Connection, ConnectionId, Counts, Endpoint, EndpointKind, Probability, Socket, Tally,
    TcpFlags, Timestamp, Verdict,
};

const BEGIN: i64 = 1_795_428_000_000_000_000;
const HOUR: i64 = 3_600_000_000_000;
const HOURS: u64 = 5;
/// Of an hour.
const ROWS: u64 = 600;

#[test]
fn what_is_too_old_goes() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(SetClock(AtomicI64::new(BEGIN)));
    let options = || {
        let mut options = Options::new(directory.path());
        options.keep = Some(Duration::from_secs(2 * 3600));
        options.clock = clock.clone();
        options
    };
    let store = ParquetStore::open(options()).unwrap();
    fill(&store);
    assert_eq!(wait(store.state()).unwrap().removed, 0);
    agree(&store, 0);

    // The last of the second hour is kept for one more nanosecond.
    clock.0.store(BEGIN + 4 * HOUR - 1, Ordering::Relaxed);
    wait(store.settle()).unwrap();
    agree(&store, 1);
    clock.0.store(BEGIN + 4 * HOUR, Ordering::Relaxed);
    wait(store.settle()).unwrap();
    agree(&store, 2);
    assert_eq!(segments(directory.path()).len(), HOURS as usize - 2);

    // An update of a connection that is gone stands for itself, and goes at once: it is as old.
    let update = Connection {
        seq: 1,
        ..row(0, 7)
    };
    wait(store.append(batch(HOURS + 1, vec![update]))).unwrap();
    wait(store.settle()).unwrap();
    agree(&store, 2);
    let state = wait(store.state()).unwrap();
    assert_eq!(state.removed, 2 * ROWS + 1);
    assert_eq!(state.losses, []);
    drop(store);

    let store = ParquetStore::open(options()).unwrap();
    agree(&store, 2);
    assert_eq!(wait(store.state()).unwrap(), state);
}

#[test]
fn what_is_too_much_goes_the_oldest_first() {
    let directory = tempfile::tempdir().unwrap();
    let store = ParquetStore::open(Options::new(directory.path())).unwrap();
    fill(&store);
    let all = wait(store.state()).unwrap();
    assert_eq!((all.rows, all.removed), (HOURS * ROWS, 0));
    drop(store);

    let mut options = Options::new(directory.path());
    options.keep_bytes = Some(all.bytes * 7 / 10);
    let store = ParquetStore::open(options).unwrap();
    wait(store.settle()).unwrap();
    let state = wait(store.state()).unwrap();
    assert!(state.bytes <= all.bytes * 7 / 10, "{state:?}");
    assert_eq!(state.rows + state.removed, all.rows);
    agree(&store, 2);
    assert_eq!(segments(directory.path()).len(), HOURS as usize - 2);
}

/// Fills so many hours, one segment each.
fn fill(store: &ParquetStore) {
    for hour in 0..HOURS {
        let rows = (0..ROWS).map(|place| row(hour, place)).collect();
        wait(store.append(batch(hour + 1, rows))).unwrap();
        wait(store.settle()).unwrap();
    }
}

/// The store answers as if there had never been anything before this hour.
fn agree(store: &ParquetStore, first: u64) {
    let naive = Naive::default();
    for hour in first..HOURS {
        let rows = (0..ROWS).map(|place| row(hour, place)).collect();
        naive.keep(&batch(hour + 1, rows));
    }
    let groups = Want::Groups(Groups {
        by: vec![Field::SrcNamespace, Field::Verdict],
        every: None,
        measures: vec![
            Measure::Count,
            Measure::Sum(Field::DroppedPackets),
            Measure::Min(Field::Start),
        ],
        order: Some((0, Order::Descending)),
        top: 20,
    });
    let rows = Want::Rows {
        limit: usize::MAX,
        after: None,
    };
    for (want, filter) in [
        (groups.clone(), ""),
        (groups, "verdict=dropped"),
        (rows, "src.namespace=team-1"),
    ] {
        for since in [i64::MIN, BEGIN + HOUR / 2, BEGIN + 3 * HOUR] {
            let ask = Ask {
                since: Timestamp(since),
                until: Timestamp(i64::MAX),
                filter: parse(filter).unwrap().plan(Timestamp(0)),
                want: want.clone(),
            };
            let expected = naive.answer(&ask);
            assert_eq!(wait(store.ask(&ask)).unwrap(), expected, "{ask:?}");
            assert_eq!(wait(store.ask_rows(&ask)).unwrap(), expected, "{ask:?}");
        }
    }
    let state = wait(store.state()).unwrap();
    assert_eq!(state.rows, (HOURS - first) * ROWS);
    let span = state.span.unwrap();
    assert_eq!(span.start, row(first, 0).start);
}

fn batch(number: u64, rows: Vec<Connection>) -> Batch {
    Batch {
        writer: "test".into(),
        number,
        rows,
    }
}

/// One of an hour; they end evenly over it, the last just before its end.
fn row(hour: u64, place: u64) -> Connection {
    let end =
        BEGIN + (hour as i64 + 1) * HOUR - 1 - (ROWS - 1 - place) as i64 * (HOUR / ROWS as i64);
    let dropped = place.is_multiple_of(3);
    let tally = |packets| Tally {
        packets,
        bytes: packets * 60,
    };
    Connection {
        id: ConnectionId(u128::from(hour * ROWS + place + 1).wrapping_mul(u128::MAX / 0x1_0001)),
        seq: 0,
        network: None,
        protocol: 6,
        client: Socket {
            ip: IpAddr::V4(Ipv4Addr::from(place as u32)),
            port: Some(1024 + place as u16),
        },
        server: Socket {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: Some(80),
        },
        icmp: None,
        src: Some(Arc::new(Endpoint {
            kind: EndpointKind::Pod,
            namespace: Some(format!("team-{}", place % 4)),
            name: Some("pod".into()),
            node: None,
        })),
        dst: None,
        service: None,
        start: Timestamp(end - 1000),
        end: Timestamp(end),
        verdict: if dropped {
            Verdict::Dropped
        } else {
            Verdict::Allowed
        },
        egress: None,
        ingress: None,
        tcp_flags: TcpFlags(TcpFlags::SYN),
        counts: vec![Counts {
            probability: Probability::ALL,
            original: tally(3),
            reply: tally(0),
            dropped: tally(u64::from(dropped)),
        }],
        changes: Vec::new(),
    }
}

/// Directories of segments.
fn segments(root: &Path) -> Vec<std::path::PathBuf> {
    let list = |directory: &Path| {
        let entries = std::fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().path())
    };
    list(&root.join("segments"))
        .flat_map(|partition| list(&partition))
        .collect()
}

struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}
