//! The live stream: what comes, from where on, and what is lost.

use std::io::{BufRead, BufReader};
use std::sync::Arc;

use netverdict_server::{Limits, Update};
use netverdict_store::judge::{Random, connections};
use netverdict_types::{Connection, Counts, Probability, Tally};
use serde_json::Value;

use crate::support::{Running, agent, escaped};

#[derive(Debug, PartialEq)]
struct Event {
    id: Option<String>,
    kind: String,
    data: Value,
}

struct Stream(Box<dyn BufRead>);

impl Stream {
    fn open(server: &Running, path: &str, last: Option<&str>) -> Self {
        let mut request = agent().get(server.url(path));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.call().unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(Box::new(BufReader::new(response.into_body().into_reader())))
    }

    /// The next event that has data; `None` at the end.
    fn next(&mut self) -> Option<Event> {
        let mut event = Event {
            id: None,
            kind: "message".to_owned(),
            data: Value::Null,
        };
        let mut line = String::new();
        loop {
            line.clear();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("event", kind)) => kind.clone_into(&mut event.kind),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                _ if line.trim_end().is_empty() && !event.data.is_null() => return Some(event),
                _ => {}
            }
        }
    }
}

fn some(count: usize) -> Vec<Arc<Connection>> {
    let all = connections(&mut Random::new(3), count);
    all.into_iter().map(Arc::new).collect()
}

fn json(connection: &Connection) -> Value {
    serde_json::to_value(connection).unwrap()
}

#[test]
fn what_comes_is_streamed_in_order() {
    let server = Running::new(Limits::default(), 100);
    let all = some(40);
    let mut stream = Stream::open(&server, "/api/v1/live", None);
    for part in all.chunks(7) {
        server.live.publish(part.iter().cloned());
    }
    let mut ids = Vec::new();
    for expected in &all {
        let event = stream.next().unwrap();
        assert_eq!(event.kind, "connection");
        assert_eq!(event.data, json(expected));
        ids.push(event.id.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), all.len());
    server.live.close();
    assert_eq!(stream.next(), None);
}

#[test]
fn a_stream_goes_on_behind_the_last_id() {
    let server = Running::new(Limits::default(), 100);
    let all = some(30);
    let mut stream = Stream::open(&server, "/api/v1/live", None);
    server.live.publish(all[..10].iter().cloned());
    let mut last = String::new();
    for _ in 0..4 {
        last = stream.next().unwrap().id.unwrap();
    }
    drop(stream);
    server.live.publish(all[10..].iter().cloned());
    for path in [
        "/api/v1/live".to_owned(),
        format!("/api/v1/live?after={last}"),
    ] {
        let header = (!path.contains("after")).then_some(&*last);
        let mut stream = Stream::open(&server, &path, header);
        for expected in &all[4..] {
            assert_eq!(stream.next().unwrap().data, json(expected));
        }
    }
}

#[test]
fn what_fell_out_of_the_ring_is_told() {
    let server = Running::new(Limits::default(), 8);
    let all = some(30);
    let mut stream = Stream::open(&server, "/api/v1/live", None);
    server.live.publish(all[..1].iter().cloned());
    let first = stream.next().unwrap().id.unwrap();
    drop(stream);
    server.live.publish(all[1..].iter().cloned());
    let mut stream = Stream::open(&server, "/api/v1/live", Some(&first));
    let lost = stream.next().unwrap();
    assert_eq!(lost.kind, "lost");
    assert_eq!(lost.data["updates"], 21);
    for expected in &all[22..] {
        assert_eq!(stream.next().unwrap().data, json(expected));
    }
}

#[test]
fn an_id_of_another_run_tells_of_an_unknown_loss() {
    let server = Running::new(Limits::default(), 8);
    let mut stream = Stream::open(&server, "/api/v1/live", Some("12ab-7"));
    let all = some(1);
    server.live.publish(all.iter().cloned());
    let lost = stream.next().unwrap();
    assert_eq!((&*lost.kind, &lost.data["updates"]), ("lost", &Value::Null));
    assert_eq!(stream.next().unwrap().data, json(&all[0]));
}

#[test]
fn a_stream_shows_what_matches() {
    let server = Running::new(Limits::default(), 1_000);
    let all = some(300);
    let path = format!("/api/v1/live?q={}", escaped("verdict=dropped"));
    let mut stream = Stream::open(&server, &path, None);
    server.live.publish(all.iter().cloned());
    server.live.close();
    let dropped = all.iter().filter(|it| it.verdict.as_str() == "dropped");
    let expected: Vec<Value> = dropped.map(|it| json(it)).collect();
    assert!(!expected.is_empty());
    let found: Vec<Value> = std::iter::from_fn(|| stream.next())
        .map(|event| event.data)
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_filter_sees_what_was_counted_before() {
    let server = Running::new(Limits::default(), 10);
    let path = format!("/api/v1/live?q={}", escaped("packets>=100"));
    let mut stream = Stream::open(&server, &path, None);
    let counted = |packets| Counts {
        probability: Probability::ALL,
        original: Tally { packets, bytes: 0 },
        reply: Tally::default(),
        dropped: Tally::default(),
    };
    let update = |seq, packets, all: Option<u64>| Update {
        connection: Arc::new(Connection {
            seq,
            counts: vec![counted(packets)],
            ..(*some(1)[0]).clone()
        }),
        counted: all.map(|all| vec![counted(all)]),
    };
    let updates = [
        update(0, 60, None),
        update(1, 60, Some(120)),
        update(2, 1, Some(121)),
        update(3, 99, None),
    ];
    server.live.publish(updates);
    server.live.close();
    let shown: Vec<_> = std::iter::from_fn(|| stream.next())
        .map(|event| {
            (
                event.data["seq"].clone(),
                event.data["counts"][0]["original"]["packets"].clone(),
            )
        })
        .collect();
    assert_eq!(shown, [(1.into(), 60.into()), (2.into(), 1.into())]);
}

#[test]
fn streams_are_counted() {
    let limits = Limits {
        streams: 1,
        ..Limits::default()
    };
    let server = Running::new(limits, 8);
    let _first = Stream::open(&server, "/api/v1/live", None);
    let refused = server.get("/api/v1/live");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.kind, "application/problem+json");
}
