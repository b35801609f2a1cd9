//! What queries and questions say of connections.
#![allow(clippy::unwrap_used, clippy::panic)] // Of helpers; tests may anyway.

#[path = "common/connection.rs"]
mod connection;

use connection::connection;
use netverdict_query::ask::{Answer, Cell, Want};
use netverdict_query::live::Live;
use netverdict_query::{Field, Kind, Name, Question, Record, Value, parse};
use netverdict_types::{Connection, ConnectionId, Timestamp};
use serde_json::Value as Json;

const NOW: Timestamp = Timestamp(1_795_421_730_500_000_000);

#[test]
fn known_answers() {
    let it = connection(NOW.before(1_000));
    for (text, expected) in [
        ("", true),
        ("namespace=blue and dst.port=8080", true),
        ("src.pod=red/client and service=blue/web", true),
        ("ip=172.30.0.1", false),
        ("verdict=dropped", true),
        ("verdict=allowed", false),
        ("egress.verdict=allowed and ingress.verdict=dropped", true),
        // Either half.
        ("action=drop and action=allow-related", true),
        ("policy=red/out", true),
        ("policy=blue/guard", true),
        ("policy=guard", true),
        // One and the same half has both.
        ("policy=red/guard", false),
        ("policy~r*/g*", false),
        ("policy!=red/guard", true),
        ("owner.namespace=red and owner.name=guard", true),
        // No half, some half.
        ("policy!=blue/guard", false),
        ("not action=reject", true),
        ("egress.policy=blue/guard", false),
        ("egress.policy=red/out and ingress.policy~blue/*", true),
        ("zone=node-of-blue and zone=node-of-red", true),
        ("egress.zone=node-of-blue", false),
        ("message~Dropped*blue*", true),
        ("rule.index=0 and tier=2", true),
        ("time>=-1s and end<-1s", false),
        ("duration=1m30s", true),
        ("duration>89s", true),
        ("duration in 1m..2m", true),
        ("start<-80s", true),
        ("egress.since>=-1ms", true),
        ("tcp_flags=syn+ack", true),
        // Sums over all probabilities; there is not one that all was sampled with.
        ("packets=6 and reply.packets=4 and dropped.bytes=200", true),
        ("probability>=0", false),
        // What only a packet has.
        ("datapath~*", false),
        ("reply=false", false),
    ] {
        let plan = parse(text).unwrap().plan(NOW);
        assert_eq!(plan.matches(&it), expected, "{text}");
        assert_eq!(plan.by_halves().matches(&it), expected, "{text}");
    }
}

#[test]
fn each_key_of_the_json_is_a_field_of_the_same_value() {
    let it = connection(NOW);
    let mut leaves = Vec::new();
    flatten("", &serde_json::to_value(&it).unwrap(), &mut leaves);
    let mut met = 0;
    for (path, json) in leaves {
        if ["id", "seq", "counts", "message"].contains(&path.as_str()) {
            continue;
        }
        let path = path.replace("egress.owner.rule.", "egress.rule.");
        let path = path.replace("ingress.owner.rule.", "ingress.rule.");
        let path = path.replace("gress.owner.direction", "gress.direction");
        let name = Name::all().iter().find(|name| name.name == path);
        let name = name.unwrap_or_else(|| panic!("no field {path}"));
        let [(_, field)] = name.targets else {
            panic!("{path} is several fields");
        };
        let text = match (it.value(*field), field.kind()) {
            (Value::Number(number), Kind::Time) => Timestamp(number).to_string(),
            (Value::Number(number), Kind::Protocol) => {
                netverdict_types::protocol_name(number as u8)
                    .unwrap()
                    .to_owned()
            }
            (Value::Number(number), _) => number.to_string(),
            (Value::Text(text), _) => text.to_owned(),
            (Value::Ip(ip), _) => ip.to_string(),
            (Value::Bool(truth), _) => truth.to_string(),
            (Value::Flags(flags), _) => flags.to_string(),
            (Value::Uuid(uuid), _) => uuid.to_string(),
            (Value::Missing, _) => panic!("{path} is missing"),
        };
        let expected = match json {
            Json::String(text) => text,
            other => other.to_string(),
        };
        assert_eq!(text, expected, "{path}");
        met += 1;
    }
    assert!(met > 40, "{met}");
}

fn flatten(path: &str, json: &Json, leaves: &mut Vec<(String, Json)>) {
    match json {
        Json::Object(map) => {
            for (key, value) in map {
                let dot = if path.is_empty() { "" } else { "." };
                flatten(&format!("{path}{dot}{key}"), value, leaves);
            }
        }
        other => leaves.push((path.to_owned(), other.clone())),
    }
}

fn answer(text: &str, connections: &[Connection]) -> Answer {
    let ask = Question::parse(text).unwrap().ask(NOW, Timestamp::MIN, NOW);
    let mut live = Live::new(ask, 1_000).unwrap();
    connections.iter().for_each(|it| live.add(it));
    live.answer()
}

fn shown(answer: &Answer) -> Vec<String> {
    let cell = |cell: &Cell| match cell {
        Cell::Missing => "-".to_owned(),
        Cell::Number(number) => number.to_string(),
        Cell::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    };
    let line = |cells: &Vec<Cell>| cells.iter().map(cell).collect::<Vec<_>>().join(" ");
    answer.lines.iter().map(line).collect()
}

#[test]
fn groups_of_halves() {
    let whole = connection(NOW.before(1));
    let mut let_out = connection(NOW.before(2));
    let_out.ingress = None;
    let mut unknown = connection(NOW.before(3));
    (unknown.egress, unknown.ingress) = (None, None);
    let mut same = connection(NOW.before(4));
    same.ingress = same.egress.clone();
    let all = [whole, let_out, unknown, same];
    let by_policy = answer("| by policy", &all);
    assert_eq!(
        by_policy.columns,
        ["owner.namespace", "owner.name", "count"]
    );
    assert_eq!(shown(&by_policy), ["red out 3", "- - 1", "blue guard 1"]);
    assert_eq!(
        shown(&answer("| by ingress.policy order values", &all)),
        ["- - 2", "blue guard 1", "red out 1"]
    );
    assert_eq!(
        shown(&answer("| sum(dropped.packets) by verdict", &all)),
        ["dropped 8"]
    );
    let top = answer("| count by policy top 1", &all);
    assert_eq!((shown(&top), top.total), (vec!["red out 3".to_owned()], 3));
}

#[test]
fn rows_and_pages() {
    let all: Vec<_> = (0..5)
        .map(|place| Connection {
            id: ConnectionId(place),
            ..connection(NOW.before(10 + place as i64 / 2))
        })
        .collect();
    let mut text = "| limit 2".to_owned();
    let mut ids = Vec::new();
    loop {
        let page = answer(&text, &all);
        ids.extend(page.lines.iter().map(|line| line[0].clone()));
        match page.next {
            Some(next) => text = format!("| limit 2 after {next}"),
            None => break,
        }
    }
    let ids: Vec<_> = ids
        .into_iter()
        .map(|id| match id {
            Cell::Uuid(uuid) => uuid.as_u128(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, [1, 0, 3, 2, 4]);
    let page = answer("| limit 1", &all);
    assert_eq!(page.columns[..3], ["id", "start", "end"]);
    assert_eq!(page.columns.len(), page.lines[0].len());
}

#[test]
fn time_overlaps() {
    let it = connection(NOW);
    let start = it.start;
    let matches = |since, until| {
        let question = Question::default();
        question.ask(NOW, since, until).matches(&it)
    };
    assert!(matches(NOW, NOW.after(1)));
    assert!(!matches(NOW.after(1), NOW.after(2)));
    assert!(matches(start.before(1), start.after(1)));
    assert!(!matches(start.before(1), start));
    let Want::Rows { limit, .. } = Question::default().ask(NOW, NOW, NOW).want else {
        panic!("rows are the default");
    };
    assert_eq!(limit, netverdict_query::DEFAULT_LINES);
    assert_eq!(it.value(Field::Time), Value::Number(NOW.0));
}

#[test]
fn cells_are_written_as_queries_write_them() {
    let ask = Question::parse("| by protocol, tcp_flags, src.ip, max(duration), min(start), count");
    assert!(ask.is_err(), "measures are no fields");
    let question =
        Question::parse("| max(duration), min(start), count by protocol, tcp_flags, src.ip")
            .unwrap();
    let Want::Groups(groups) = question.ask(NOW, Timestamp::MIN, NOW.after(1)).want else {
        panic!("these are groups");
    };
    let asked = "| max(duration), min(start), count by protocol, tcp_flags, src.ip";
    let answer = answer(asked, &[connection(NOW.before(500_000_000))]);
    let texts: Vec<_> = answer.lines[0]
        .iter()
        .zip(groups.kinds())
        .map(|(cell, kind)| cell.text(kind).into_owned())
        .collect();
    assert_eq!(
        texts,
        [
            "tcp",
            "syn+ack",
            "10.0.0.1",
            "90s",
            "2026-11-23T08:14:00.000000000Z",
            "1"
        ]
    );
}
