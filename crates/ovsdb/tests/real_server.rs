//! The client against a real `ovsdb-server`, with `ovsdb-client` as the judge of what is right.
//!
//! `N` is the number of transactions of each random run (default 150), `SEED` repeats one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use netverdict_ovsdb::{
    Atom, Cause, ChangeSet, Client, Columns, Condition, Config, Connected, Datum, Error, Event,
    Handle, Method, Mutator, Replica, Row, TlsFiles, TransactError, Transaction, Wanted,
};
use support::{Model, Server, fixture};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use uuid::Uuid;

const METHODS: [Method; 3] = [
    Method::MonitorCondSince,
    Method::MonitorCond,
    Method::Monitor,
];

/// A random number generator whose seed tells the whole run (xorshift64*).
struct Random(u64);

impl Random {
    fn new(name: &str) -> Self {
        let seed = std::env::var("SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0 | 1);
        eprintln!("{name}: SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn word(&mut self) -> Datum {
        self.pick(&["", "a", "b", "c", "d", "\"\\\n\u{1f418}", "e"])
            .into()
    }

    fn words(&mut self) -> Datum {
        (0..self.below(4))
            .flat_map(|_| self.word().atoms().to_vec())
            .collect()
    }

    fn notes(&mut self) -> Datum {
        let pairs = (0..self.below(4)).map(|_| {
            (
                self.word().atoms()[0].clone(),
                self.word().atoms()[0].clone(),
            )
        });
        Datum::map(pairs.collect())
    }

    fn references(&mut self, to: &[Uuid]) -> Datum {
        if to.is_empty() {
            return Datum::empty();
        }
        (0..self.below(3)).map(|_| self.pick(to)).collect()
    }
}

fn count() -> usize {
    let given = std::env::var("N").ok().and_then(|count| count.parse().ok());
    given.unwrap_or(150)
}

/// Some columns of an animal.
fn columns(random: &mut Random, animals: &[Uuid]) -> Vec<(&'static str, Datum)> {
    let mut columns = vec![("name", random.word())];
    for column in [
        "kind", "age", "weight", "tame", "names", "numbers", "notes", "votes", "only", "friends",
    ] {
        if random.below(3) > 0 {
            continue;
        }
        let value = match column {
            "kind" => match random.below(3) {
                0 => Datum::empty(),
                n => ["bird", "fish"][n - 1].into(),
            },
            "age" => Datum::from(random.pick(&[0, 1, -7, i64::MAX, i64::MIN])),
            "weight" => match random.below(3) {
                0 => Datum::empty(),
                n => Datum::from(n as f64 + 0.125),
            },
            "tame" => Datum::from(random.below(2) == 1),
            "names" => random.words(),
            "numbers" => (0..random.below(4)).map(|n| n as i64).collect(),
            "notes" => random.notes(),
            "votes" => {
                Datum::map_of((0..random.below(4)).map(|n| (n as i64, random.below(2) == 0)))
            }
            "only" => match random.below(3) {
                0 => Datum::map(Vec::new()),
                n => Datum::map_of([(["x", "y"][n - 1], random.below(2) as i64)]),
            },
            _ => random.references(animals),
        };
        columns.push((column, value));
    }
    columns
}

/// One to four random operations; `animals` are rows that were once there.
fn transaction(random: &mut Random, animals: &[Uuid]) -> (Transaction, Vec<Uuid>) {
    let mut transaction = Transaction::new();
    let mut new = Vec::new();
    for _ in 0..=random.below(4) {
        let which = if animals.is_empty() {
            0
        } else {
            random.below(8)
        };
        let victim = if animals.is_empty() {
            Uuid::nil()
        } else {
            random.pick(animals)
        };
        let one = [Condition::row(victim)];
        match which {
            0 | 1 => {
                let mut columns = columns(random, animals);
                if random.below(2) == 0 {
                    let label = random.word();
                    let sizes = (0..random.below(3)).map(|n| n as f64 + 0.5).collect();
                    let cage = transaction.insert("Cage", [("label", label), ("sizes", sizes)]);
                    columns.push(("cage", cage.into()));
                }
                new.push(transaction.insert("Animal", columns));
            }
            2 | 3 => transaction.update("Animal", one, columns(random, animals)),
            4 => transaction.delete("Animal", one),
            5 => {
                let column = random.pick(&["names", "friends"]);
                let value = match column {
                    "names" => random.words(),
                    _ => random.references(animals),
                };
                let mutator = random.pick(&[Mutator::Insert, Mutator::Delete]);
                transaction.mutate("Animal", one, [(column, mutator, value)]);
            }
            6 => {
                let notes = ("notes", Mutator::Insert, random.notes());
                let gone = ("notes", Mutator::Delete, random.words());
                transaction.mutate("Animal", one, [notes, gone]);
            }
            _ => {
                // All rows with that name at once.
                let name = Condition::equal("name", random.word());
                transaction.update("Animal", [name], [("cage", Datum::empty())]);
            }
        }
    }
    (transaction, new)
}

/// Sends random transactions; those that the server refuses or whose outcome is not known are
/// part of the game.
async fn write(handle: &Handle, random: &mut Random, animals: &mut Vec<Uuid>, count: usize) {
    for _ in 0..count {
        let (transaction, new) = transaction(random, animals);
        match handle.transact(transaction).await {
            Ok(reply) => animals.extend(new.into_iter().filter_map(|row| reply.uuid(row))),
            Err(TransactError::Refused(_) | TransactError::OutcomeUnknown) => {}
            Err(error) => panic!("{error}"),
        }
        if animals.len() > 40 {
            animals.remove(0);
        }
    }
}

/// Inserts a row with a name that no other has, and sees to it that it is there.
async fn mark(handle: &Handle, name: &str) {
    loop {
        let mut transaction = Transaction::new();
        transaction.insert("Animal", [("name", name.into())]);
        if handle.transact(transaction).await.is_ok() {
            return;
        }
    }
}

fn client(endpoint: &str, database: &str, wanted: Wanted, method: Method) -> Client {
    Client::new(config(endpoint, database, wanted, method))
}

fn config(endpoint: &str, database: &str, wanted: Wanted, method: Method) -> Config {
    let mut config = Config::new(endpoint.parse().unwrap(), database, wanted);
    config.method = method;
    config.backoff = Duration::from_millis(5);
    config.backoff_limit = Duration::from_millis(20);
    config
}

/// A client that sends transactions and looks at nothing.
fn writer(endpoint: &str) -> Handle {
    let (handle, mut events) = client(endpoint, "Zoo", Wanted::new(), Method::Monitor).spawn(1);
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    handle
}

/// A model of the database that is built from events alone, and checks them.
#[derive(Default)]
struct Shadow {
    rows: BTreeMap<(String, Uuid), Row>,
    connections: Vec<Connected>,
    gaps: usize,
    losses: usize,
    begun: bool,
    /// Rows inserted, modified and deleted by transactions, and by gaps.
    live: [usize; 3],
    missed: [usize; 3],
}

impl Shadow {
    fn take(&mut self, event: Event) {
        match event {
            Event::Changes(set) => self.change(&set),
            Event::Connected(connected) => self.connections.push(connected),
            Event::Disconnected(_) => self.losses += 1,
            other => panic!("{other:?}"),
        }
    }

    fn change(&mut self, set: &ChangeSet) {
        match set.cause {
            Cause::Initial => assert!(!self.begun, "the beginning came twice"),
            Cause::Gap { from, to } => {
                assert!(from <= to);
                self.gaps += 1;
            }
            _ => assert!(!set.changes.is_empty()),
        }
        self.begun = true;
        let mut seen = BTreeSet::new();
        for change in &set.changes {
            let key = (change.table.to_string(), change.uuid);
            assert!(
                seen.insert(key.clone()),
                "a row twice in one step: {change:?}"
            );
            assert_ne!(change.old, change.new);
            let kind = match (&change.old, &change.new) {
                (None, _) => 0,
                (Some(_), Some(_)) => 1,
                (Some(_), None) => 2,
            };
            match set.cause {
                Cause::Transaction => self.live[kind] += 1,
                Cause::Gap { .. } => self.missed[kind] += 1,
                _ => {}
            }
            assert_eq!(self.rows.get(&key), change.old.as_ref(), "{change:?}");
            match &change.new {
                Some(row) => self.rows.insert(key, row.clone()),
                None => self.rows.remove(&key),
            };
        }
    }

    fn replica(&self) -> Replica {
        Replica::from_rows("", self.rows.values().cloned())
    }

    /// Takes events until the row that [`mark`] made is there.
    async fn until_marked(&mut self, client: &mut Client, name: &str) {
        let marked = |row: &Row| row.text("name") == Some(name);
        while !client.replica().rows("Animal").any(marked) || !client.is_synced() {
            let event = client.next_event().await;
            self.take(event);
        }
        // Of the events that led there, none is left.
        while self.replica() != only_with_rows(client.replica()) {
            let event = client.next_event().await;
            self.take(event);
        }
    }
}

fn only_with_rows(replica: &Replica) -> Replica {
    let rows = replica.tables().flat_map(|table| table.rows().cloned());
    Replica::from_rows("", rows)
}

#[track_caller]
fn assert_same(client: &Client, shadow: &Shadow, server: &Server) {
    let truth = server.dump();
    let ours = client.replica();
    if *ours != truth {
        for table in truth.tables() {
            for row in table.rows() {
                let mine = ours.row(table.name(), row.uuid());
                if mine != Some(row) {
                    eprintln!("server {row:?}\nclient {mine:?}");
                }
            }
        }
        panic!("{} rows, the server has {}", ours.len(), truth.len());
    }
    assert_eq!(shadow.replica(), only_with_rows(&truth));
}

fn zoo() -> PathBuf {
    fixture("fixtures/zoo.ovsschema")
}

#[tokio::test]
async fn random_transactions_equal_the_replica() {
    need_ovsdb!();
    for model in [Model::Standalone, Model::Clustered] {
        for method in METHODS {
            let mut random = Random::new(&format!("{model:?} {method}"));
            let server = Server::start(model, &zoo());
            let handle = writer(&server.endpoint());
            let mut animals = Vec::new();
            write(&handle, &mut random, &mut animals, count() / 5).await;
            let wanted = Wanted::everything().index("Animal", "name");
            let mut client = client(&server.endpoint(), "Zoo", wanted, method);
            let mut shadow = Shadow::default();
            let work = async {
                write(&handle, &mut random, &mut animals, count()).await;
                mark(&handle, "the end").await;
            };
            tokio::join!(work, shadow.until_marked(&mut client, "the end"));
            assert_eq!(shadow.connections[0].method, method);
            assert_eq!((shadow.gaps, shadow.losses), (0, 0));
            eprintln!("inserted, modified, deleted: {:?}", shadow.live);
            assert!(!shadow.live.contains(&0));
            assert_same(&client, &shadow, &server);
            // The index finds what looking at each row finds.
            let table = client.replica().table("Animal").unwrap();
            for name in ["", "a", "b", "nobody", "the end"] {
                let atom = Atom::from(name);
                let mut found: Vec<_> = table.find("name", &atom).map(Row::uuid).collect();
                let all = table.rows().filter(|row| row.text("name") == Some(name));
                let mut all: Vec<_> = all.map(Row::uuid).collect();
                found.sort();
                all.sort();
                assert_eq!(found, all);
            }
        }
    }
}

#[tokio::test]
async fn a_server_killed_under_load_is_caught_up_with() {
    need_ovsdb!();
    for model in [Model::Standalone, Model::Clustered] {
        for method in METHODS {
            let mut random = Random::new(&format!("{model:?} {method}"));
            let server = Server::start(model, &zoo());
            let handle = writer(&server.endpoint());
            let mut client = client(&server.endpoint(), "Zoo", Wanted::everything(), method);
            let mut shadow = Shadow::default();
            let mut animals = Vec::new();
            let stop = AtomicBool::new(false);
            for round in 0..3 {
                let before = format!("before {round}");
                mark(&handle, &before).await;
                shadow.until_marked(&mut client, &before).await;
                stop.store(false, Ordering::Relaxed);
                let load = async {
                    while !stop.load(Ordering::Relaxed) {
                        write(&handle, &mut random, &mut animals, 1).await;
                    }
                };
                let after = format!("after {round}");
                let losses = shadow.losses;
                let follow = async {
                    // Some of the load is seen, then the server is gone in the middle of it.
                    for _ in 0..5 {
                        let event = client.next_event().await;
                        shadow.take(event);
                    }
                    server.kill();
                    while shadow.losses == losses {
                        let event = client.next_event().await;
                        shadow.take(event);
                    }
                    server.run();
                    while shadow.connections.len() < 2 + round {
                        let event = client.next_event().await;
                        shadow.take(event);
                    }
                    stop.store(true, Ordering::Relaxed);
                };
                tokio::join!(load, follow);
                mark(&handle, &after).await;
                shadow.until_marked(&mut client, &after).await;
                assert_same(&client, &shadow, &server);
            }
            if model == Model::Standalone || method != Method::MonitorCondSince {
                assert_eq!(shadow.gaps, 3);
            }
        }
    }
}

/// Passes bytes on. While `cutting`, each connection ends after a random number of bytes from the
/// server.
async fn proxy(listener: UnixListener, to: PathBuf, cutting: Arc<AtomicBool>, mut random: Random) {
    while let Ok((mut client, _)) = listener.accept().await {
        let Ok(mut server) = UnixStream::connect(&to).await else {
            continue;
        };
        let mut left = None;
        let (mut up, mut down) = (vec![0; 4096], vec![0; 4096]);
        while left != Some(0) {
            tokio::select! {
                read = client.read(&mut up) => match read {
                    Ok(bytes @ 1..) if server.write_all(&up[..bytes]).await.is_ok() => {}
                    _ => break,
                },
                read = server.read(&mut down) => {
                    let Ok(mut bytes @ 1..) = read else {
                        break;
                    };
                    left = cutting.load(Ordering::Relaxed).then(|| {
                        let limit = left.unwrap_or_else(|| random.below(12_000) + 1);
                        bytes = bytes.min(limit);
                        limit - bytes
                    });
                    if client.write_all(&down[..bytes]).await.is_err() {
                        break;
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn connections_cut_anywhere_are_caught_up_with() {
    need_ovsdb!();
    for model in [Model::Standalone, Model::Clustered] {
        for method in METHODS {
            let mut random = Random::new(&format!("{model:?} {method}"));
            let server = Server::start(model, &zoo());
            let handle = writer(&server.endpoint());
            let directory = tempfile::tempdir().unwrap();
            let through = directory.path().join("proxy");
            let cutting = Arc::new(AtomicBool::new(false));
            let listener = UnixListener::bind(&through).unwrap();
            let cuts = Random(random.0);
            let proxy = tokio::spawn(proxy(listener, server.socket(), cutting.clone(), cuts));
            let endpoint = format!("unix:{}", through.display());
            let mut client = client(&endpoint, "Zoo", Wanted::everything(), method);
            let mut shadow = Shadow::default();
            let mut animals = Vec::new();
            for round in 0..4 {
                cutting.store(true, Ordering::Relaxed);
                let load = async {
                    while cutting.load(Ordering::Relaxed) {
                        write(&handle, &mut random, &mut animals, 1).await;
                    }
                };
                let losses = shadow.losses;
                let follow = async {
                    while shadow.losses < losses + 4 {
                        let event = client.next_event().await;
                        shadow.take(event);
                    }
                    cutting.store(false, Ordering::Relaxed);
                };
                tokio::join!(load, follow);
                let name = format!("round {round}");
                mark(&handle, &name).await;
                shadow.until_marked(&mut client, &name).await;
                assert_same(&client, &shadow, &server);
            }
            let Shadow {
                losses,
                gaps,
                missed,
                ..
            } = &shadow;
            eprintln!("{losses} cuts, {gaps} gaps with {missed:?}");
            assert!(*gaps > 0 && missed.iter().sum::<usize>() > 0);
            proxy.abort();
        }
    }
}

#[tokio::test]
async fn the_history_of_a_cluster_is_resumed_and_its_loss_survived() {
    need_ovsdb!();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("replica");
    for model in [Model::Clustered, Model::Standalone] {
        let server = Server::start(model, &zoo());
        let handle = writer(&server.endpoint());
        mark(&handle, "first").await;
        let mut config = config(
            &server.endpoint(),
            "Zoo",
            Wanted::everything(),
            Method::MonitorCondSince,
        );
        config.replica_file = Some(file.clone());
        let mut client = Client::new(config.clone());
        client.sync().await.unwrap();
        client.save().unwrap();
        drop(client);

        // Restarted with nothing missed: no gap on a cluster, which can tell.
        let mut client = Client::new(config.clone());
        let mut shadow = Shadow::default();
        shadow.take(client.next_event().await);
        assert_eq!(shadow.replica().len(), 1);
        client.sync().await.unwrap();
        mark(&handle, "live").await;
        shadow.until_marked(&mut client, "live").await;
        assert_eq!(shadow.gaps, usize::from(model == Model::Standalone));
        client.save().unwrap();
        drop(client);

        // Restarted with something missed.
        mark(&handle, "second").await;
        let mut client = Client::new(config.clone());
        let mut shadow = Shadow::default();
        shadow.until_marked(&mut client, "second").await;
        assert_eq!(shadow.gaps, 1);
        assert_eq!(shadow.rows.len(), 3);
        assert_same(&client, &shadow, &server);
        std::fs::remove_file(&file).unwrap();
    }
}

#[tokio::test]
async fn a_converted_schema_is_followed() {
    need_ovsdb!();
    for model in [Model::Standalone, Model::Clustered] {
        for method in METHODS {
            let server = Server::start(model, &zoo());
            let handle = writer(&server.endpoint());
            mark(&handle, "old").await;
            let wanted = Wanted::new()
                .table("Animal", ["name", "age", "colour"])
                .table("Keeper", ["name"]);
            let mut client = client(&server.endpoint(), "Zoo", wanted, method);
            let missing = client.sync().await.unwrap().missing().to_string();
            assert_eq!(missing, "table Keeper, column Animal.colour");

            let mut schema: serde_json::Value =
                serde_json::from_str(&std::fs::read_to_string(zoo()).unwrap()).unwrap();
            schema["version"] = "1.1.0".into();
            let columns = &mut schema["tables"]["Animal"]["columns"];
            columns["colour"] = serde_json::json!({"type": "string"});
            columns.as_object_mut().unwrap().remove("age");
            let directory = tempfile::tempdir().unwrap();
            let new = directory.path().join("new.ovsschema");
            std::fs::write(&new, schema.to_string()).unwrap();
            server.client("convert", &[&server.endpoint(), new.to_str().unwrap()]);

            while client.replica().schema_version() != Some("1.1.0") {
                client.next_event().await;
            }
            let missing = client.replica().missing().to_string();
            assert_eq!(missing, "table Keeper, column Animal.age");
            let row = client.replica().rows("Animal").next().unwrap();
            assert_eq!((row.text("colour"), row.integer("age")), (Some(""), None));
            // And it goes on.
            while !client
                .replica()
                .rows("Animal")
                .any(|row| row.text("name") == Some("new"))
            {
                tokio::select! {
                    _ = client.next_event() => {}
                    () = mark(&handle, "new") => {}
                }
            }
        }
    }
}

#[tokio::test]
async fn schemas_old_and_new_are_lived_with() {
    need_ovsdb!();
    // More of them, for example those of OVN releases, may be given in NETVERDICT_NB_SCHEMAS,
    // separated by colons.
    let given = std::env::var_os("NETVERDICT_NB_SCHEMAS").unwrap_or_default();
    let given = std::env::split_paths(&given).filter(|path| !path.as_os_str().is_empty());
    for schema in [fixture("fixtures/nb-22.03-like.ovsschema")]
        .into_iter()
        .chain(given)
    {
        let server = Server::start(Model::Standalone, &schema);
        let wanted = Wanted::new()
            .table(
                "ACL",
                ["action", "match", "tier", "sample_new", "sample_est"],
            )
            .table("Logical_Switch", ["name", "acls"])
            .table("Sample", ["metadata", "collectors"]);
        let mut client = client(
            &server.endpoint(),
            "OVN_Northbound",
            wanted,
            Method::MonitorCondSince,
        );
        client.sync().await.unwrap();
        let mut transaction = Transaction::new();
        let acl = transaction.insert(
            "ACL",
            [
                ("action", "drop".into()),
                ("direction", "to-lport".into()),
                ("priority", 7.into()),
                ("match", "ip4".into()),
            ],
        );
        transaction.insert(
            "Logical_Switch",
            [("name", "s".into()), ("acls", acl.into())],
        );
        let reply = client.transact(transaction).await.unwrap();
        let acl = reply.uuid(acl).unwrap();
        while client.replica().row("ACL", acl).is_none() {
            client.next_event().await;
        }
        let version = client.replica().schema_version().unwrap();
        let missing = client.replica().missing();
        eprintln!("schema {version}: missing {missing}");
        let row = client.replica().row("ACL", acl).unwrap();
        assert_eq!(row.text("action"), Some("drop"));
        assert_eq!(row.column("priority"), None);
        assert_eq!(row.column("tier").is_none(), missing.has("ACL", "tier"));
        assert_eq!(
            row.column("sample_new").is_none(),
            missing.has("ACL", "sample_new")
        );
        assert_eq!(
            client.replica().table("Sample").is_none(),
            missing.has("Sample", "metadata")
        );
        if schema.ends_with("nb-22.03-like.ovsschema") {
            assert_eq!(
                missing.to_string(),
                "table Sample, column ACL.sample_est, column ACL.sample_new, column ACL.tier"
            );
        }
    }
}

#[tokio::test]
async fn refusals_of_a_real_server_are_typed() {
    need_ovsdb!();
    use netverdict_ovsdb::RefusalKind;
    let server = Server::start(Model::Standalone, &zoo());
    let mut client = client(
        &server.endpoint(),
        "Zoo",
        Wanted::new(),
        Method::MonitorCondSince,
    );
    let mut cases: Vec<(Transaction, RefusalKind, Option<usize>)> = Vec::new();
    let mut case = |kind, operation, build: &dyn Fn(&mut Transaction)| {
        let mut transaction = Transaction::new();
        build(&mut transaction);
        cases.push((transaction, kind, operation));
    };
    case(RefusalKind::Aborted, Some(0), &|t| {
        t.push(netverdict_ovsdb::Operation::Abort);
    });
    case(RefusalKind::ConstraintViolation, Some(1), &|t| {
        t.comment("a kind that is none");
        t.insert("Animal", [("kind", "stone".into())]);
    });
    case(RefusalKind::SyntaxError, Some(0), &|t| {
        t.insert("Stone", []);
    });
    case(RefusalKind::TimedOut, Some(0), &|t| {
        t.verify("Animal", Uuid::from_u128(1), [("name", "x".into())]);
    });
    case(RefusalKind::ReferentialIntegrityViolation, None, &|t| {
        t.insert("Animal", [("cage", Uuid::from_u128(1).into())]);
    });
    case(RefusalKind::DomainError, Some(1), &|t| {
        t.insert("Animal", []);
        t.mutate("Animal", [], [("age", Mutator::Divide, 0.into())]);
    });
    for (transaction, kind, operation) in cases {
        let Err(TransactError::Refused(refusal)) = client.transact(transaction).await else {
            panic!("not refused: {kind}");
        };
        assert_eq!(
            (refusal.kind.clone(), refusal.operation),
            (kind, operation),
            "{refusal}"
        );
    }
    // What was inserted before an operation failed is not there; a select sees the truth.
    let mut transaction = Transaction::new();
    transaction.insert("Animal", [("name", "rex".into()), ("age", 3.into())]);
    transaction.mutate("Animal", [], [("age", Mutator::Multiply, 4.into())]);
    transaction.select("Animal", [], ["_uuid", "name", "age", "notes"]);
    transaction.delete("Animal", [Condition::equal("name", "rex")]);
    let reply = client.transact(transaction).await.unwrap();
    let rows: Vec<_> = reply.rows().collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].text("name"), rows[0].integer("age")),
        (Some("rex"), Some(12))
    );
    assert_eq!(reply.count(), 2);
}

#[tokio::test]
async fn a_cluster_loses_its_leader() {
    need_ovsdb!();
    let directory = tempfile::tempdir().unwrap();
    let members: Vec<_> = (0..3)
        .map(|number| Server::member(directory.path(), &zoo(), number))
        .collect();
    let endpoints: Vec<_> = members.iter().map(Server::endpoint).collect();
    let mut config = config(
        &endpoints.join(","),
        "Zoo",
        Wanted::everything(),
        Method::MonitorCondSince,
    );
    config.leader_only = true;
    let mut client = Client::new(config);
    let handle = writer(&endpoints.join(","));
    let mut shadow = Shadow::default();
    tokio::join!(
        mark(&handle, "before"),
        shadow.until_marked(&mut client, "before")
    );
    let leader = shadow.connections.last().unwrap().endpoint.to_string();
    let leader = members
        .iter()
        .position(|member| member.endpoint() == leader)
        .unwrap();
    members[leader].kill();
    tokio::join!(
        mark(&handle, "after"),
        shadow.until_marked(&mut client, "after")
    );
    let last = shadow.connections.last().unwrap();
    assert_ne!(last.endpoint.to_string(), members[leader].endpoint());
    let other = members
        .iter()
        .find(|member| member.endpoint() == last.endpoint.to_string());
    assert_same(&client, &shadow, other.unwrap());
}

#[tokio::test]
async fn tcp_and_ssl_work_and_a_stranger_is_not_trusted() {
    need_ovsdb!();
    let file = |name: &str| fixture("pki").join(name);
    let options = [
        format!("--private-key={}", file("server.key").display()),
        format!("--certificate={}", file("server.pem").display()),
        format!("--ca-cert={}", file("ca.pem").display()),
    ];
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let remotes = ["ptcp:0:127.0.0.2", "pssl:0:127.0.0.1", "pssl:0:[::1]"];
    let server = Server::start_with(Model::Standalone, &zoo(), &remotes, &options);
    let tcp = server.port("127.0.0.2").unwrap();
    let ssl = server.port("127.0.0.1").unwrap();
    let mut endpoints = vec![
        format!("tcp:127.0.0.2:{tcp}"),
        format!("ssl:127.0.0.1:{ssl}"),
    ];
    match server.port("[::1]") {
        Some(port) => endpoints.push(format!("ssl:[::1]:{port}")),
        None => eprintln!("SKIPPED: no IPv6 here"),
    }
    let files = TlsFiles {
        ca: file("ca.pem"),
        certificate: file("client.pem"),
        key: file("client.key"),
    };
    for endpoint in endpoints {
        let config = config(
            &endpoint,
            "Zoo",
            Wanted::everything(),
            Method::MonitorCondSince,
        );
        let mut client = Client::new(config.tls(files.clone()));
        client.sync().await.unwrap();
        let mut transaction = Transaction::new();
        transaction.insert("Animal", [("name", endpoint.as_str().into())]);
        client.transact(transaction).await.unwrap();
        let here = |row: &Row| row.text("name") == Some(&endpoint);
        while !client.replica().rows("Animal").any(here) {
            client.next_event().await;
        }
    }
    let endpoint = format!("ssl:127.0.0.1:{ssl}");
    let config = config(
        &endpoint,
        "Zoo",
        Wanted::everything(),
        Method::MonitorCondSince,
    );
    let refused = async |files: Option<TlsFiles>| {
        let config = config.clone();
        let mut client = Client::new(match files {
            Some(files) => config.tls(files),
            None => config,
        });
        let error = client.sync().await.err().unwrap();
        assert!(matches!(error, Error::Connect(_)), "{error}");
        error.to_string()
    };
    let stranger = TlsFiles {
        ca: file("other-ca.pem"),
        ..files.clone()
    };
    assert!(refused(Some(stranger)).await.contains("UnknownIssuer"));
    let absent = TlsFiles {
        key: file("none.key"),
        ..files
    };
    assert!(refused(Some(absent)).await.contains("none.key"));
    assert!(refused(None).await.contains("needs a CA certificate"));
}
