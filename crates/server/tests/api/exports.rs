//! Files of connections.

use netverdict_server::Limits;
use netverdict_store::judge::{Random, batches};

use crate::support::Running;

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
fn an_export_ends_at_its_limit() {
    let limits = Limits {
        page: 7,
        export: 20,
        ..Limits::default()
    };
    let server = Running::new(limits, 10);
    for batch in batches(&mut Random::new(5), 60) {
        server.store.keep(&batch);
    }
    let got = server.get("/api/v1/export?format=jsonl&since=-390d");
    assert_eq!(got.text().lines().count(), 20);
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
