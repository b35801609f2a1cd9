//! ClickHouse's engine answers random questions as plain loops do, whatever happens in between.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod bridge;

use std::error::Error;

use bridge::Bridge;
use netverdict_query::ask::{Ask, Groups, Measure, Order, Want};
use netverdict_query::{Check, Field, Glob, HalfField, Plan, Test, parse};
use netverdict_store::judge::{Judge, Random, batches, connections};
use netverdict_store::{Batch, Store};
use netverdict_store_clickhouse::{ClickHouseError, ClickHouseStore};
use netverdict_types::{Connection, Timestamp};

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
        .unwrap_or(2);
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

/// Questions that roll-ups can answer, with bounds of time within buckets and between them.
fn rolled(random: &mut Random, at: &Connection) -> Ask {
    let minute = 60_000_000_000;
    let bound = |random: &mut Random| {
        let time = at.end.0 + minute * (random.below(200) as i64 - 100);
        Timestamp(match random.one_in(2) {
            true => time.div_euclid(minute) * minute,
            false => time,
        })
    };
    let query = *random.pick(&[
        "verdict=dropped",
        "policy=blue or not src.pod~web*",
        "egress.action=drop",
        "not (protocol=tcp and namespace=blue)",
        "rule.index=0 or rule.index=1",
    ]);
    let fields = [
        Field::Verdict,
        Field::OwnerName,
        Field::Action,
        Field::SrcPod,
        Field::DstNamespace,
        Field::RuleIndex,
        Field::Egress(HalfField::OwnerKind),
    ];
    let by = (0..random.below(3)).map(|_| *random.pick(&fields));
    let by: std::collections::BTreeSet<_> = by.map(|field| field.name()).collect();
    let (one, two) = (bound(random), bound(random));
    Ask {
        since: *random.pick(&[Timestamp::MIN, one.min(two)]),
        until: *random.pick(&[Timestamp::MAX, one.max(two)]),
        filter: match random.one_in(3) {
            true => Plan::And(Vec::new()),
            false => parse(query).unwrap().plan(Timestamp(0)),
        },
        want: Want::Groups(Groups {
            by: fields
                .into_iter()
                .filter(|field| by.contains(field.name()))
                .collect(),
            every: *random.pick(&[
                None,
                Some(minute),
                Some(60 * minute),
                Some(24 * 60 * minute),
            ]),
            measures: vec![
                Measure::Count,
                Measure::Sum(Field::Packets),
                Measure::Sum(Field::DroppedBytes),
            ],
            order: Some((random.below(3), Order::Descending)),
            top: *random.pick(&[3, 1_000]),
        }),
    }
}

#[test]
fn rollups_answer_as_rows_do() {
    run(async |bridge| {
        let store = ClickHouseStore::open(bridge.options("rolled"))
            .await
            .unwrap();
        let mut judge = Judge::new(11, 300);
        let mut random = Random::new(11);
        while judge.append(&store).await.unwrap() {}
        let expected = judge.expected();
        for _ in 0..40 {
            let at = random.pick(&expected).clone();
            let ask = rolled(&mut random, &at);
            if let Err(difference) = judge.compare(&store, &ask).await {
                panic!("{difference}");
            }
            let rows = store.ask_rows(&ask).await.unwrap();
            assert_eq!(store.ask(&ask).await.unwrap(), rows);
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
        assert_eq!(bridge.answers_to_lose(), 0);
        // So it is in the roll-ups.
        let ask = Ask {
            want: Want::Groups(Groups {
                by: Vec::new(),
                every: None,
                measures: vec![Measure::Count, Measure::Sum(Field::Bytes)],
                order: None,
                top: 1,
            }),
            ..all()
        };
        let found = store.ask(&ask).await.unwrap();
        assert_eq!(found, store.ask_rows(&ask).await.unwrap());
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

/// Texts that break out of quotes that are not strict.
fn nasty(random: &mut Random) -> String {
    const PARTS: [&str; 24] = [
        "'",
        "\"",
        "\\",
        "`",
        "\0",
        "\n",
        "\r",
        "\t",
        "%",
        "_",
        "*",
        "?",
        "??",
        "{a:String}",
        "--",
        "/*",
        "; DROP TABLE connections",
        "') OR ('' = '",
        "\\'",
        "ü",
        "🦀",
        "\u{7f}",
        "\x08",
        "a",
    ];
    (0..random.below(6)).map(|_| *random.pick(&PARTS)).collect()
}

#[test]
fn texts_stand_for_themselves() {
    run(async |bridge| {
        let mut random = Random::new(5);
        let store = ClickHouseStore::open(bridge.options("it's `quoted` \\"))
            .await
            .unwrap();
        let mut rows = connections(&mut random, 120);
        for row in &mut rows {
            row.network = Some(nasty(&mut random).into());
        }
        let batch = Batch {
            writer: nasty(&mut random),
            number: u64::MAX,
            rows: rows.clone(),
        };
        store.append(batch.clone()).await.unwrap();
        assert_eq!(store.last(&batch.writer).await.unwrap(), Some(u64::MAX));
        for _ in 0..150 {
            let text = match random.one_in(2) {
                true => nasty(&mut random),
                false => random.pick(&rows).network.as_deref().unwrap().to_owned(),
            };
            let check = match random.below(3) {
                0 => Check::Text(text.into()),
                1 => Check::Glob(Glob::new(&text)),
                _ => Check::Glob(Glob::new(&format!("{text}*"))),
            };
            let ask = Ask {
                filter: Plan::Test(Test {
                    field: Field::Network,
                    check,
                }),
                ..all()
            };
            let found = store.connections(&ask).await.unwrap();
            let mut expected: Vec<_> = rows.iter().filter(|row| ask.matches(*row)).collect();
            expected.sort_by_key(|row| std::cmp::Reverse((row.end, row.id)));
            assert!(found.iter().eq(expected), "{:?}", ask.filter);
        }
    });
}

#[test]
fn old_connections_go() {
    run(async |bridge| {
        let mut options = bridge.options("kept");
        let store = ClickHouseStore::open(options.clone()).await.unwrap();
        let mut rows = connections(&mut Random::new(2), 20);
        let now = netverdict_types::Clock::now(&netverdict_types::SystemClock);
        for (number, row) in (0..).zip(&mut rows) {
            let age = if number % 2 == 0 { 100 } else { 1 };
            row.end = Timestamp(now.0 - age * 86_400_000_000_000);
            row.start = row.end;
            row.seq = number % 3;
        }
        let batch = Batch {
            writer: "w".to_owned(),
            number: 1,
            rows,
        };
        store.append(batch).await.unwrap();
        options.keep = Some(std::time::Duration::from_secs(30 * 86_400));
        for _ in 0..2 {
            let store = ClickHouseStore::open(options.clone()).await.unwrap();
            bridge.query("OPTIMIZE TABLE kept.connections FINAL");
            bridge.query("OPTIMIZE TABLE kept.updates FINAL");
            assert_eq!(store.state().await.unwrap().rows, 10);
            let since = store.state().await.unwrap().span.unwrap().start;
            assert!(since > Timestamp(now.0 - 2 * 86_400_000_000_000));
        }
        options.keep = None;
        ClickHouseStore::open(options).await.unwrap();
        let table = bridge.query("SHOW CREATE TABLE kept.connections");
        assert!(!table.contains("TTL"), "{table}");
    });
}

#[test]
fn failures_tell_the_server_s_words() {
    run(async |bridge| {
        let mut options = bridge.options("words");
        let store = ClickHouseStore::open(options.clone()).await.unwrap();
        // Why appends wait is told until they do not.
        let batch = &batches(&mut Random::new(1), 10)[0];
        bridge.query("RENAME TABLE words.batches TO words.hidden");
        store.append(batch.clone()).await.unwrap_err();
        let blocked = store.state().await.unwrap().blocked.unwrap();
        assert!(blocked.contains("batches"), "{blocked}");
        bridge.query("RENAME TABLE words.hidden TO words.batches");
        store.append(batch.clone()).await.unwrap();
        assert_eq!(store.state().await.unwrap().blocked, None);
        bridge.query("DROP TABLE words.connections");
        let error = store.connections(&all()).await.err().unwrap();
        let cause = error.source().unwrap().downcast_ref::<ClickHouseError>();
        assert!(
            matches!(cause, Some(ClickHouseError::Server { code: Some(60), message }) if message.contains("connections")),
            "{cause:?}"
        );
        bridge.query("INSERT INTO words.migrations (version) VALUES (1000)");
        let error = ClickHouseStore::open(options.clone()).await.err().unwrap();
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("version 1000"), "{cause}");
        options.url = "http://127.0.0.1:1".to_owned();
        let error = ClickHouseStore::open(options).await.err().unwrap();
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("cannot be reached"), "{cause}");
    });
}
