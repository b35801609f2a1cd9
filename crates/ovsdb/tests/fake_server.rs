//! The client against a scripted server, over streams in memory and with time that is not real.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use netverdict_ovsdb::{
    Cause, ChangeSet, Client, Clock, Columns, Config, Connect, Connecting, Disconnected, Endpoint,
    Error, Event, Method, RefusalKind, Replica, Row, TransactError, Transaction, Wanted,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

const RED: &str = "00000000-0000-0000-0000-00000000000a";
const BLUE: &str = "00000000-0000-0000-0000-00000000000b";
const TXN_1: &str = "00000000-0000-0000-0000-000000000001";
const TXN_2: &str = "00000000-0000-0000-0000-000000000002";

/// Hands each connection to the test.
struct ToTest(Mutex<mpsc::UnboundedSender<(Endpoint, DuplexStream)>>);

impl Connect for ToTest {
    fn connect(&self, endpoint: &Endpoint) -> Connecting {
        let (ours, theirs) = duplex(1 << 20);
        let sent = self.0.lock().unwrap().send((endpoint.clone(), theirs));
        Box::pin(async move {
            sent.map_err(io::Error::other)?;
            Ok(Box::new(ours) as _)
        })
    }
}

/// A second later each time it is looked at.
#[derive(Default)]
struct Ticks(AtomicI64);

impl Clock for Ticks {
    fn now(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

struct Test {
    events: mpsc::Receiver<Event>,
    handle: netverdict_ovsdb::Handle,
    connections: mpsc::UnboundedReceiver<(Endpoint, DuplexStream)>,
}

fn config(endpoints: &str) -> Config {
    let wanted = Wanted::new()
        .table("Paint", ["name", "shades", "since"])
        .table("Brush", ["name"]);
    Config::new(endpoints.parse().unwrap(), "Shop", wanted)
}

fn start(mut config: Config) -> Test {
    let (sender, connections) = mpsc::unbounded_channel();
    config.connect = Arc::new(ToTest(Mutex::new(sender)));
    config.clock = Arc::new(Ticks::default());
    let (handle, events) = Client::new(config).spawn(100);
    Test {
        events,
        handle,
        connections,
    }
}

impl Test {
    async fn accept(&mut self) -> Server {
        self.accept_at().await.1
    }

    async fn accept_at(&mut self) -> (String, Server) {
        let (endpoint, stream) = self.connections.recv().await.unwrap();
        let server = Server {
            stream,
            input: Vec::new(),
            monitor: Value::Null,
        };
        (endpoint.to_string(), server)
    }

    async fn connected(&mut self) -> netverdict_ovsdb::Connected {
        match self.events.recv().await.unwrap() {
            Event::Connected(connected) => connected,
            other => panic!("not connected: {other:?}"),
        }
    }

    async fn changes(&mut self) -> ChangeSet {
        match self.events.recv().await.unwrap() {
            Event::Changes(set) => set,
            other => panic!("no changes: {other:?}"),
        }
    }

    async fn disconnected(&mut self) -> Disconnected {
        match self.events.recv().await.unwrap() {
            Event::Disconnected(lost) => lost,
            other => panic!("not disconnected: {other:?}"),
        }
    }
}

struct Server {
    stream: DuplexStream,
    input: Vec<u8>,
    monitor: Value,
}

impl Server {
    async fn receive(&mut self) -> Value {
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.input).into_iter();
            if let Some(Ok(value)) = values.next() {
                let used = values.byte_offset();
                self.input.drain(..used);
                return value;
            }
            let mut chunk = [0; 4096];
            let read = self.stream.read(&mut chunk).await.unwrap();
            assert!(read > 0, "the client closed the connection");
            self.input.extend_from_slice(&chunk[..read]);
        }
    }

    async fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string()).await;
    }

    async fn send_text(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Receives the request and returns its id and parameters.
    async fn expect(&mut self, method: &str) -> (Value, Value) {
        let request = self.receive().await;
        assert_eq!(request["method"], method, "{request}");
        (request["id"].clone(), request["params"].clone())
    }

    async fn answer(&mut self, method: &str, result: Value) -> Value {
        let (id, params) = self.expect(method).await;
        let answer = json!({"id": id, "result": result, "error": null});
        self.send(&answer).await;
        params
    }

    async fn refuse(&mut self, method: &str, error: &str) {
        let (id, _) = self.expect(method).await;
        let answer = json!({"id": id, "result": null, "error": error});
        self.send(&answer).await;
    }

    /// Up to the monitor request of a server without `_Server`.
    async fn begin(&mut self) {
        self.answer("list_dbs", json!(["Shop"])).await;
        self.answer("get_schema", schema("1.0.0", &[])).await;
    }

    /// Answers `monitor_cond_since` and returns the transaction from which it was asked.
    async fn follow(&mut self, found: bool, transaction: &str, updates: Value) -> String {
        let result = json!([found, transaction, updates]);
        let params = self.answer("monitor_cond_since", result).await;
        self.monitor = params[1].clone();
        params[3].as_str().unwrap().to_owned()
    }

    async fn update3(&mut self, transaction: &str, updates: Value) {
        let params = json!([self.monitor, transaction, updates]);
        let update = json!({"id": null, "method": "update3", "params": params});
        self.send(&update).await;
    }
}

fn schema(version: &str, more: &[&str]) -> Value {
    let mut columns = json!({
        "name": {"type": "string"},
        "shades": {"type": {"key": "string", "min": 0, "max": "unlimited"}},
    });
    for column in more {
        columns[*column] = json!({"type": "integer"});
    }
    json!({"name": "Shop", "version": version, "tables": {"Paint": {"columns": columns}}})
}

fn paint(name: &str, shades: &[&str]) -> Value {
    json!({"name": name, "shades": ["set", shades]})
}

/// The names of rows before and after, by identity.
fn named(set: &ChangeSet) -> BTreeMap<String, (Option<String>, Option<String>)> {
    let name = |row: &Option<Row>| {
        row.as_ref()
            .and_then(|row| row.text("name"))
            .map(str::to_owned)
    };
    set.changes
        .iter()
        .map(|change| {
            (
                change.uuid.to_string(),
                (name(&change.old), name(&change.new)),
            )
        })
        .collect()
}

fn change(
    uuid: &str,
    old: Option<&str>,
    new: Option<&str>,
) -> (String, (Option<String>, Option<String>)) {
    let own = |name: Option<&str>| name.map(str::to_owned);
    (uuid.to_owned(), (own(old), own(new)))
}

#[tokio::test(start_paused = true)]
async fn only_what_is_there_is_asked_for_and_the_rest_is_told() {
    let mut test = start(config("unix:/s"));
    let mut server = test.accept().await;
    server.answer("list_dbs", json!(["Shop"])).await;
    server.answer("get_schema", schema("1.2.3", &[])).await;
    let (id, params) = server.expect("monitor_cond_since").await;
    assert_eq!(params[0], "Shop");
    assert_eq!(
        params[2],
        json!({"Paint": [{"columns": ["name", "shades"]}]})
    );
    assert_eq!(params[3], "00000000-0000-0000-0000-000000000000");
    // The members of a message come in any order.
    let rows = json!({"Paint": {RED: {"initial": {"name": "red"}}}});
    server
        .send_text(&format!(
            r#"{{"result":[false,"{TXN_1}",{rows}],"id":{id},"error":null}}"#
        ))
        .await;
    let connected = test.connected().await;
    assert_eq!(connected.schema_version, "1.2.3");
    assert_eq!(
        connected.missing.to_string(),
        "table Brush, column Paint.since"
    );
    let set = test.changes().await;
    assert_eq!(set.cause, Cause::Initial);
    assert_eq!(set.transaction.unwrap().to_string(), TXN_1);
    let row = set.changes[0].new.as_ref().unwrap();
    assert_eq!(row.text("name"), Some("red"));
    assert!(row.column("shades").unwrap().is_empty());
    assert_eq!(row.column("since"), None);
}

#[tokio::test(start_paused = true)]
async fn a_connection_cut_within_a_message_leaves_no_trace_of_it() {
    let mut test = start(config("unix:/s"));
    let mut server = test.accept().await;
    server.begin().await;
    let (id, _) = server.expect("monitor_cond_since").await;
    let rows = json!({"Paint": {
        RED: {"initial": paint("red", &["dark"])},
        BLUE: {"initial": paint("blue", &[])},
    }});
    let whole = json!({"id": id, "result": [false, TXN_1, rows], "error": null}).to_string();
    server.send_text(&whole[..whole.len() - 30]).await;
    drop(server);
    let lost = test.disconnected().await;
    assert!(
        matches!(lost.error, Error::Closed { in_message: true }),
        "{}",
        lost.error
    );

    let mut server = test.accept().await;
    server.begin().await;
    server.follow(false, TXN_1, rows).await;
    test.connected().await;
    let set = test.changes().await;
    assert_eq!(set.cause, Cause::Initial);
    assert_eq!(
        named(&set),
        BTreeMap::from([
            change(RED, None, Some("red")),
            change(BLUE, None, Some("blue"))
        ])
    );

    // The same within an update: it comes again, once.
    let update = json!({"id": null, "method": "update3", "params": [
        server.monitor, TXN_2, {"Paint": {RED: {"delete": null}}}]})
    .to_string();
    server.send_text(&update[..update.len() - 3]).await;
    drop(server);
    test.disconnected().await;
    let mut server = test.accept().await;
    server.begin().await;
    let since = server
        .follow(true, TXN_2, json!({"Paint": {RED: {"delete": null}}}))
        .await;
    assert_eq!(since, TXN_1);
    test.connected().await;
    let set = test.changes().await;
    assert!(matches!(set.cause, Cause::Gap { from, to } if from < to));
    assert_eq!(
        named(&set),
        BTreeMap::from([change(RED, Some("red"), None)])
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_forgot_gives_a_difference() {
    let mut test = start(config("unix:/s"));
    let mut server = test.accept().await;
    server.begin().await;
    let rows = json!({"Paint": {
        RED: {"initial": paint("red", &[])},
        BLUE: {"initial": paint("blue", &["light"])},
    }});
    server.follow(false, TXN_1, rows.clone()).await;
    test.connected().await;
    test.changes().await;
    drop(server);
    test.disconnected().await;

    let mut server = test.accept().await;
    server.begin().await;
    let green = "00000000-0000-0000-0000-00000000000c";
    let now = json!({"Paint": {
        BLUE: {"initial": paint("navy", &["light"])},
        green: {"initial": paint("green", &[])},
    }});
    assert_eq!(server.follow(false, TXN_2, now.clone()).await, TXN_1);
    test.connected().await;
    let set = test.changes().await;
    assert!(matches!(set.cause, Cause::Gap { .. }));
    assert_eq!(
        named(&set),
        BTreeMap::from([
            change(RED, Some("red"), None),
            change(BLUE, Some("blue"), Some("navy")),
            change(green, None, Some("green")),
        ])
    );
    drop(server);
    test.disconnected().await;

    // Nothing is different now, but something may have been: the gap is told, without rows.
    let mut server = test.accept().await;
    server.begin().await;
    server.follow(false, TXN_1, now).await;
    test.connected().await;
    let set = test.changes().await;
    assert!(matches!(set.cause, Cause::Gap { .. }));
    assert!(set.changes.is_empty());
    drop(server);
    test.disconnected().await;

    // The same transaction is still the last: nothing happened, and nothing is told.
    let mut server = test.accept().await;
    server.begin().await;
    assert_eq!(server.follow(true, TXN_1, json!({})).await, TXN_1);
    test.connected().await;
    server
        .update3(
            TXN_2,
            json!({"Paint": {BLUE: {"modify": {"shades": ["set", ["light", "pale"]]}}}}),
        )
        .await;
    let set = test.changes().await;
    assert_eq!(set.cause, Cause::Transaction);
    let new = set.changes[0].new.as_ref().unwrap();
    assert_eq!(new.text("shades"), Some("pale"));
    drop(server);
    test.disconnected().await;

    // An update, too, is a transaction to go on from.
    let mut server = test.accept().await;
    server.begin().await;
    assert_eq!(server.follow(true, TXN_2, json!({})).await, TXN_2);
    test.connected().await;
}

#[tokio::test(start_paused = true)]
async fn older_servers_are_asked_in_older_ways() {
    for oldest in [Method::MonitorCond, Method::Monitor] {
        let mut test = start(config("unix:/s"));
        let mut server = test.accept().await;
        server.begin().await;
        server.refuse("monitor_cond_since", "unknown method").await;
        let rows = if oldest == Method::Monitor {
            server.refuse("monitor_cond", "unknown method").await;
            json!({"Paint": {RED: {"new": paint("red", &[])}}})
        } else {
            json!({"Paint": {RED: {"initial": paint("red", &[])}}})
        };
        let params = server.answer(&oldest.to_string(), rows).await;
        assert_eq!(params.as_array().unwrap().len(), 3);
        assert_eq!(test.connected().await.method, oldest);
        let set = test.changes().await;
        assert_eq!((set.cause, set.transaction), (Cause::Initial, None));
        let (method, update) = match oldest {
            Method::Monitor => (
                "update",
                json!({RED: {"old": {"name": "red"}, "new": paint("rose", &[])}}),
            ),
            _ => ("update2", json!({RED: {"modify": {"name": "rose"}}})),
        };
        server
            .send(&json!({"id": null, "method": method, "params": [params[1], {"Paint": update}]}))
            .await;
        let set = test.changes().await;
        assert_eq!(
            named(&set),
            BTreeMap::from([change(RED, Some("red"), Some("rose"))])
        );
    }
}

#[tokio::test(start_paused = true)]
async fn probes_of_the_server_are_answered() {
    let mut test = start(config("unix:/s"));
    let mut server = test.accept().await;
    // Even before anything else.
    server.expect("list_dbs").await;
    for params in [json!([]), json!(["abc", {"d": 1}])] {
        let echo = json!({"id": "echo", "method": "echo", "params": params});
        server.send(&echo).await;
        let answer = server.receive().await;
        assert_eq!(
            answer,
            json!({"id": "echo", "result": params, "error": null})
        );
    }
    let strange = json!({"id": 7, "method": "dance", "params": []});
    server.send(&strange).await;
    assert_eq!(server.receive().await["error"], "unknown method");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_asked_and_then_given_up() {
    let mut test = start(config("tcp:example:6640"));
    let mut server = test.accept().await;
    server.begin().await;
    server.follow(false, TXN_1, json!({})).await;
    test.connected().await;
    test.changes().await;
    let quiet = Instant::now();
    for _ in 0..3 {
        let asked = server.answer("echo", json!([])).await;
        assert_eq!(asked, json!([]));
    }
    // Two intervals of silence each.
    assert_eq!(quiet.elapsed().as_secs(), 180);
    server.expect("echo").await;
    let lost = test.disconnected().await;
    assert!(matches!(lost.error, Error::Silent(_)), "{}", lost.error);
    assert_eq!(quiet.elapsed().as_secs(), 270);
}

#[tokio::test(start_paused = true)]
async fn on_a_unix_socket_nobody_is_asked() {
    let mut test = start(config("unix:/s"));
    let mut server = test.accept().await;
    server.begin().await;
    server.follow(false, TXN_1, json!({})).await;
    let hour = Duration::from_secs(3600);
    assert!(timeout(hour, server.receive()).await.is_err());
}

fn member(leader: bool, connected: bool, index: i64) -> Value {
    json!({"name": "Shop", "model": "clustered", "connected": connected, "leader": leader,
        "cid": ["uuid", TXN_1], "index": index})
}

impl Server {
    async fn cluster(&mut self, row: Value) {
        self.answer("list_dbs", json!(["_Server", "Shop"])).await;
        let columns = json!({"name": {"type": "string"}, "model": {"type": "string"},
            "connected": {"type": "boolean"}, "leader": {"type": "boolean"},
            "cid": {"type": "string"}, "index": {"type": "integer"}});
        let schema = json!({"name": "_Server", "tables": {"Database": {"columns": columns}}});
        self.answer("get_schema", schema).await;
        self.answer("set_db_change_aware", json!({})).await;
        let rows = json!({"Database": {RED: {"new": row}}});
        self.answer("monitor", rows).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_steps_down_is_left_for_the_next() {
    let mut config = config("ssl:a:1,ssl:b:1,ssl:c:1");
    config.leader_only = true;
    let mut test = start(config);
    let begun = Instant::now();
    let (at, mut server) = test.accept_at().await;
    assert_eq!(at, "ssl:a:1");
    server.cluster(member(false, true, 9)).await;
    assert!(matches!(test.disconnected().await.error, Error::NotLeader));

    let (at, mut server) = test.accept_at().await;
    assert_eq!(at, "ssl:b:1");
    server.cluster(member(true, true, 9)).await;
    server.answer("get_schema", schema("1.0.0", &[])).await;
    server.follow(false, TXN_1, json!({})).await;
    test.connected().await;
    test.changes().await;
    let rows =
        json!({"Database": {RED: {"old": {"leader": true}, "new": member(false, true, 10)}}});
    let update = json!({"id": null, "method": "update", "params": ["servers", rows]});
    server.send(&update).await;
    assert!(matches!(test.disconnected().await.error, Error::NotLeader));

    // One that is behind, or cut off, would tell old news.
    let (at, mut server) = test.accept_at().await;
    assert_eq!(at, "ssl:c:1");
    server.cluster(member(true, true, 8)).await;
    let error = test.disconnected().await.error;
    assert!(
        matches!(error, Error::Behind { index: 8, seen: 10 }),
        "{error}"
    );
    let (at, mut server) = test.accept_at().await;
    assert_eq!(at, "ssl:a:1");
    server.cluster(member(true, false, 10)).await;
    assert!(matches!(test.disconnected().await.error, Error::Cut));
    // The others were tried without a wait.
    assert!(begun.elapsed() < Duration::from_secs(2));
    let (at, mut server) = test.accept_at().await;
    assert_eq!(at, "ssl:b:1");
    server.cluster(member(true, true, 10)).await;
    server.answer("get_schema", schema("1.0.0", &[])).await;
    assert_eq!(server.follow(true, TXN_1, json!({})).await, TXN_1);
    test.connected().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_schema_is_read_and_the_rows_asked_for_again() {
    let mut test = start(config("unix:/s"));
    let mut server = test.accept().await;
    server.begin().await;
    let rows = json!({"Paint": {RED: {"initial": paint("red", &[])}}});
    server.follow(false, TXN_1, rows).await;
    test.connected().await;
    test.changes().await;
    let canceled = json!({"id": null, "method": "monitor_canceled", "params": [server.monitor]});
    server.send(&canceled).await;
    server
        .answer("get_schema", schema("2.0.0", &["since"]))
        .await;
    let rows = json!({"Paint": {RED: {"initial": {"name": "red", "since": 1999}}}});
    // What the server said of the old columns is nothing to build on.
    let nothing = "00000000-0000-0000-0000-000000000000";
    assert_eq!(server.follow(false, TXN_2, rows).await, nothing);
    let connected = test.connected().await;
    assert_eq!(connected.schema_version, "2.0.0");
    assert_eq!(connected.missing.to_string(), "table Brush");
    let set = test.changes().await;
    assert!(matches!(set.cause, Cause::Gap { .. }));
    let change = &set.changes[0];
    assert_eq!(change.old.as_ref().unwrap().integer("since"), None);
    assert_eq!(change.new.as_ref().unwrap().integer("since"), Some(1999));
}

#[tokio::test(start_paused = true)]
async fn updates_that_do_not_fit_are_mended_by_all_rows() {
    let mut test = start(config("unix:/s"));
    let mut server = test.accept().await;
    server.begin().await;
    let rows = json!({"Paint": {RED: {"initial": paint("red", &[])}}});
    server.follow(false, TXN_1, rows.clone()).await;
    test.connected().await;
    test.changes().await;
    let updates = json!({"Paint": {RED: {"delete": null}, BLUE: {"modify": {"name": "x"}}}});
    server.update3(TXN_2, updates).await;
    let lost = test.disconnected().await;
    assert!(
        matches!(lost.error, Error::Inconsistent(_)),
        "{}",
        lost.error
    );
    let mut server = test.accept().await;
    server.begin().await;
    let nothing = "00000000-0000-0000-0000-000000000000";
    assert_eq!(server.follow(false, TXN_2, rows).await, nothing);
    test.connected().await;
    // Nothing of the bad update was taken over.
    assert!(test.changes().await.changes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_answered_refused_or_of_unknown_outcome() {
    let mut test = start(config("unix:/s"));
    let mut server = test.accept().await;
    let mut transaction = Transaction::new();
    transaction.delete("Paint", []);
    // Sent before the replica is in step, it waits.
    let send = |transaction: &Transaction| {
        let (handle, transaction) = (test.handle.clone(), transaction.clone());
        tokio::spawn(async move { handle.transact(transaction).await })
    };
    let first = send(&transaction);
    server.begin().await;
    server.follow(false, TXN_1, json!({})).await;
    let params = server.answer("transact", json!([{"count": 3}])).await;
    assert_eq!(
        params,
        json!(["Shop", {"op": "delete", "table": "Paint", "where": []}])
    );
    assert_eq!(first.await.unwrap().unwrap().count(), 3);

    let second = send(&transaction);
    server.refuse("transact", "unknown database").await;
    let Err(TransactError::Refused(refusal)) = second.await.unwrap() else {
        panic!("not refused");
    };
    assert_eq!(refusal.kind, RefusalKind::UnknownDatabase);

    let third = send(&transaction);
    server.expect("transact").await;
    drop(server);
    assert_eq!(third.await.unwrap(), Err(TransactError::OutcomeUnknown));
    test.connected().await;
    test.changes().await;
    test.disconnected().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_database_is_told_with_those_that_are_there() {
    let mut test = start(config("unix:/s"));
    let mut server = test.accept().await;
    server
        .answer("list_dbs", json!(["Garage", "_Server"]))
        .await;
    assert_eq!(
        test.disconnected().await.error.to_string(),
        "the server has no database Shop; it has Garage"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hostile_server_is_refused_with_a_reason() {
    let deep = format!(r#"{{"id":0,"result":{}"#, "[".repeat(100));
    for (bytes, what) in [
        (deep, "nested too deeply"),
        (r#"{"id":0,"result":"\ud800x"}"#.to_owned(), "surrogate"),
        ("[]".to_owned(), "expected a message"),
        (r#"{"id":0,"result":[1 2]}"#.to_owned(), "comma"),
        (
            format!(r#"{{"{}"#, "x".repeat(70_000)),
            "a key beyond the limit",
        ),
    ] {
        let mut test = start(config("unix:/s"));
        let mut server = test.accept().await;
        server.expect("list_dbs").await;
        server.send_text(&bytes).await;
        let error = test.disconnected().await.error;
        assert!(matches!(error, Error::Decode(_)), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_replica_is_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("replica");
    let config = || {
        let mut config = config("unix:/s");
        config.replica_file = Some(path.clone());
        config
    };
    let rows = json!({"Paint": {RED: {"initial": paint("red", &["dark"])}}});
    {
        let (sender, mut connections) = mpsc::unbounded_channel();
        let mut config = config();
        config.connect = Arc::new(ToTest(Mutex::new(sender)));
        let mut client = Client::new(config);
        let server = async {
            let stream = connections.recv().await.unwrap().1;
            let mut server = Server {
                stream,
                input: Vec::new(),
                monitor: Value::Null,
            };
            server.begin().await;
            server.follow(false, TXN_1, rows).await;
            server
        };
        let (synced, _server) = tokio::join!(client.sync(), server);
        assert_eq!(synced.unwrap().len(), 1);
        client.save().unwrap();
    }
    let mut test = start(config());
    let set = test.changes().await;
    assert!(matches!(set.cause, Cause::Restored { .. }));
    assert_eq!(
        named(&set),
        BTreeMap::from([change(RED, None, Some("red"))])
    );
    let mut server = test.accept().await;
    server.begin().await;
    let updates = json!({"Paint": {RED: {"modify": {"name": "rose"}}}});
    assert_eq!(server.follow(true, TXN_2, updates).await, TXN_1);
    test.connected().await;
    let set = test.changes().await;
    assert!(matches!(set.cause, Cause::Gap { .. }));
    assert_eq!(
        named(&set),
        BTreeMap::from([change(RED, Some("red"), Some("rose"))])
    );

    std::fs::write(&path, b"something else").unwrap();
    let mut test = start(config());
    let event = test.events.recv().await.unwrap();
    assert!(matches!(event, Event::NotLoaded(_)), "{event:?}");
    let mut server = test.accept().await;
    server.begin().await;
    server.follow(false, TXN_2, json!({})).await;
    test.connected().await;
    assert_eq!(test.changes().await.cause, Cause::Initial);
}

#[tokio::test(start_paused = true)]
async fn changes_reach_the_file_within_an_interval() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("replica");
    let mut config = config("unix:/s");
    config.replica_file = Some(path.clone());
    let wanted = config.wanted.clone();
    let mut test = start(config);
    let mut server = test.accept().await;
    server.begin().await;
    server
        .follow(
            false,
            TXN_1,
            json!({"Paint": {RED: {"initial": paint("red", &[])}}}),
        )
        .await;
    test.connected().await;
    test.changes().await;
    // The file is written by a thread, whose time is real: look until it is there.
    let kept = async |name: &str| {
        loop {
            let kept = Replica::load(&path, "Shop", &wanted);
            let named = |row: &Row| row.text("name") == Some(name);
            if kept.is_ok_and(|kept| kept.rows("Paint").any(named)) {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    kept("red").await;
    let begun = Instant::now();
    server
        .update3(TXN_2, json!({"Paint": {RED: {"modify": {"name": "rose"}}}}))
        .await;
    test.changes().await;
    kept("rose").await;
    assert!(begun.elapsed() >= Duration::from_secs(300));
}

#[tokio::test(start_paused = true)]
async fn waits_grow_up_to_their_limit() {
    let mut test = start(config("unix:/s"));
    let mut waits = Vec::new();
    for _ in 0..8 {
        drop(test.accept().await);
        waits.push(test.disconnected().await.retry_in.as_millis());
    }
    for (wait, base) in waits.iter().zip([1, 2, 4, 8, 8, 8, 8, 8]) {
        assert!((base * 500..=base * 1500).contains(wait), "{waits:?}");
    }
}
