//! ClickHouse's engine answers random questions as plain loops do, whatever happens in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bridge;

use bridge::Bridge;
use netverdict_query::Plan;
use netverdict_query::ask::{Ask, Want};
use netverdict_store::judge::{Judge, Random, batches, connections};
use netverdict_store::{Batch, Store};
use netverdict_store_clickhouse::ClickHouseStore;
use netverdict_types::Timestamp;

fn run(test: impl AsyncFn(&Bridge)) {
    let Some(bridge) = Bridge::start() else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test(&bridge));
}

fn all() -> Ask {
    Ask {
        since: Timestamp::MIN,
        until: Timestamp::MAX,
        filter: Plan::And(Vec::new()),
        want: Want::Rows {
            limit: 1_000_000,
            after: None,
        },
    }
}

#[test]
fn answers_as_plain_loops_do() {
    let seeds = std::env::var("N")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(4);
    run(async |bridge| {
        for seed in 0..seeds {
            let options = bridge.options(&format!("judge_{seed}"));
            let mut store = ClickHouseStore::open(options.clone()).await.unwrap();
            let mut judge = Judge::new(seed, 200);
            let mut step = seed;
            while judge.append(&store).await.unwrap() {
                step += 1;
                if step % 4 == 1 {
                    store = ClickHouseStore::open(options.clone()).await.unwrap();
                }
                for _ in 0..4 {
                    if let Err(difference) = judge.ask(&store).await {
                        panic!("{difference}");
                    }
                }
            }
            for _ in 0..24 {
                if let Err(difference) = judge.ask(&store).await {
                    panic!("{difference}");
                }
            }
            if let Err(difference) = judge.pages(&store).await {
                panic!("{difference}");
            }
        }
    });
}

#[test]
fn a_batch_is_there_once_whatever_is_lost() {
    run(async |bridge| {
        let store = ClickHouseStore::open(bridge.options("once")).await.unwrap();
        let batches = batches(&mut Random::new(7), 300);
        let mut rows = 0;
        for batch in batches {
            rows += batch.rows.len() as u64;
            bridge.lose_answers(2);
            store.append(batch.clone()).await.unwrap();
            store.append(batch).await.unwrap();
        }
        assert_eq!(store.state().await.unwrap().rows, rows);
    });
}

#[test]
fn two_servers_share_a_database() {
    run(async |bridge| {
        let options = bridge.options("shared");
        let (one, two) = tokio::join!(
            ClickHouseStore::open(options.clone()),
            ClickHouseStore::open(options.clone())
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        let mut expected = 0;
        for number in 1..=5 {
            let rows = connections(&mut Random::new(number), 40);
            let batch = |writer: &str, half: std::ops::Range<usize>| Batch {
                writer: writer.to_owned(),
                number,
                rows: rows[half].to_vec(),
            };
            // The same batch of one writer by both servers at once, and another writer beside it.
            let (a, b, c) = tokio::join!(
                one.append(batch("a", 0..20)),
                two.append(batch("a", 0..20)),
                two.append(batch("b", 20..40))
            );
            for kept in [a, b, c] {
                kept.unwrap();
            }
            expected += 40;
        }
        for store in [&one, &two] {
            assert_eq!(store.state().await.unwrap().rows, expected);
            assert_eq!(store.connections(&all()).await.unwrap().len(), 200);
            assert_eq!(store.last("a").await.unwrap(), Some(5));
        }
        assert_eq!(one.last("nobody").await.unwrap(), None);
    });
}

#[test]
fn tables_of_each_version_become_those_of_today() {
    run(async |bridge| {
        let options = bridge.options("older");
        let rows = connections(&mut Random::new(1), 60);
        let batch = |number, rows: &[_]| Batch {
            writer: "w".to_owned(),
            number,
            rows: rows.to_vec(),
        };
        let old = ClickHouseStore::open_at(options.clone(), 1).await.unwrap();
        old.append(batch(1, &rows[..30])).await.unwrap();
        let new = ClickHouseStore::open(options.clone()).await.unwrap();
        new.append(batch(2, &rows[30..])).await.unwrap();
        assert_eq!(new.connections(&all()).await.unwrap().len(), 60);
        // Once more changes nothing.
        let again = ClickHouseStore::open(options).await.unwrap();
        assert_eq!(again.state().await.unwrap().rows, 60);
    });
}

#[test]
fn failures_tell_the_server_s_words() {
    run(async |bridge| {
        let mut options = bridge.options("words");
        let store = ClickHouseStore::open(options.clone()).await.unwrap();
        drop(store);
        options.url = "http://127.0.0.1:1".to_owned();
        let error = ClickHouseStore::open(options).await.err().unwrap();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("cannot be reached"), "{cause}");
    });
}
