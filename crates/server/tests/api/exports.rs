//! Files of connections.

use std::io::Read;

use netverdict_server::Limits;
use netverdict_store::Batch;
use netverdict_store::judge::{Random, batches, connections};
use netverdict_types::TcpFlags;

use crate::support::{NOW, Running, agent};

#[test]
fn lines_of_json_are_all_connections() {
    let server = Running::random(11);
    let got = server.get("/api/v1/export?format=jsonl&since=-390d");
    assert_eq!((got.status, &*got.kind), (200, "application/jsonl"));
    let expected: Vec<String> = server
        .all()
        .iter()
        .map(|it| serde_json::to_string(it).unwrap())
        .collect();
    let found: Vec<&str> = got.text().lines().collect();
    assert_eq!(found, expected);
}

#[test]
fn csv_has_a_heading_and_quotes_what_needs_it() {
    let limits = Limits {
        page: 13,
        ..Limits::default()
    };
    let server = Running::new(limits, 10);
    for batch in batches(&mut Random::new(5), 60) {
        server.store.keep(&batch);
    }
    let got = server.get("/api/v1/export?format=csv&since=-390d");
    assert!(got.kind.starts_with("text/csv"), "{}", got.kind);
    let rows = read_csv(got.text());
    let heading = &rows[0];
    assert_eq!(heading[0], "id");
    assert_eq!(rows.len(), server.all().len() + 1);
    let place = |name: &str| heading.iter().position(|it| it == name).unwrap();
    let (end, message) = (place("end"), place("egress.message"));
    for (row, connection) in rows[1..].iter().zip(server.all()) {
        assert_eq!(row.len(), heading.len());
        assert_eq!(row[end], connection.end.to_string());
        let egress = connection.egress.as_ref();
        let said = egress.map_or("", |half| half.ruling.message());
        assert_eq!(row[message], said);
    }
}

#[test]
fn an_export_of_too_much_breaks_off() {
    let all = Running::new(Limits::default(), 10);
    for batch in batches(&mut Random::new(5), 60) {
        all.store.keep(&batch);
    }
    let count = all.all().len() as u64;
    for (export, is_whole) in [(count, true), (count - 1, false), (3, false)] {
        let limits = Limits {
            page: 7,
            export,
            ..Limits::default()
        };
        let server = Running::new(limits, 10);
        for batch in batches(&mut Random::new(5), 60) {
            server.store.keep(&batch);
        }
        let url = server.url("/api/v1/export?format=jsonl&since=-390d");
        let mut body = agent().get(url).call().unwrap().into_body().into_reader();
        let mut text = String::new();
        let ended = body.read_to_string(&mut text);
        assert_eq!(ended.is_ok(), is_whole, "{export} of {count}");
        assert!(text.lines().count() as u64 <= export);
    }
}

#[test]
fn csv_is_for_people_and_spreadsheets() {
    let server = Running::new(Limits::default(), 10);
    let mut connection = connections(&mut Random::new(3), 1).remove(0);
    connection.end = NOW;
    connection.protocol = 6;
    connection.tcp_flags = TcpFlags(TcpFlags::SYN | TcpFlags::ACK);
    connection.network = Some("=1+1, \"quoted\"".into());
    let id = connection.id.to_string();
    server.store.keep(&Batch {
        writer: "w".to_owned(),
        number: 1,
        rows: vec![connection],
    });
    let rows = read_csv(server.get("/api/v1/export?format=csv").text());
    let value = |name: &str| {
        let place = rows[0].iter().position(|it| it == name).unwrap();
        rows[1][place].as_str()
    };
    assert_eq!(value("id"), id);
    assert_eq!(value("protocol"), "tcp");
    assert_eq!(value("tcp_flags"), "syn+ack");
    assert_eq!(value("network"), "'=1+1, \"quoted\"");
    assert_eq!(value("end"), NOW.to_string());
    let verdict = rows[0].iter().position(|it| it == "egress.verdict");
    let details = rows[0].iter().position(|it| it == "egress.acl.match");
    assert!(verdict < details);
}

#[test]
fn parquet_without_a_writer_is_refused() {
    let server = Running::random(1);
    assert_eq!(server.get("/api/v1/export?format=parquet").status, 422);
}

/// RFC 4180, read strictly.
fn read_csv(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    let mut letters = text.chars().peekable();
    let mut quoted = false;
    while let Some(letter) = letters.next() {
        let row = rows.last_mut().unwrap();
        let cell = row.last_mut().unwrap();
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => cell.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(String::new()),
            '\r' if !quoted => {
                assert_eq!(letters.next(), Some('\n'));
                rows.push(vec![String::new()]);
            }
            letter => cell.push(letter),
        }
    }
    assert_eq!(rows.pop(), Some(vec![String::new()]));
    rows
}
