//! Entries for the fuzz targets in `fuzz/`: each takes any bytes, must not panic, and checks what
//! must hold whatever they are.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::change::Change;
use crate::frame::{DecodeError, Decoder, Expect, Frame};
use crate::replica::{Layout, Replica};
use crate::row::Row;
use crate::schema::Schema;
use crate::update::Stage;
use crate::value::Datum;
use crate::wanted::Wanted;

/// Bytes as a server might send them: however they are cut into pieces, the same messages and
/// rows come out.
pub fn frames(data: &[u8]) {
    let whole = decode(data, data.len().max(1));
    // A fault may be seen later, as the end of a value that arrives in pieces is looked for
    // before the value itself.
    for piece in [1, 3, 7] {
        let pieces = decode(data, piece);
        assert_eq!(pieces.0, whole.0, "other messages in pieces of {piece}");
        assert_eq!(pieces.1, whole.1, "other rows in pieces of {piece}");
    }
}

/// Table updates on a replica that is not empty: they are refused and change nothing, or lead
/// from the contents before to those after.
pub fn updates(data: &[u8]) {
    for full in [false, true] {
        let mut replica = contents();
        let before = replica.clone();
        let mut stage = Stage::default();
        stage.prepare(layouts(), &replica);
        let mut frame = br#"{"id":null,"method":"update3","params":["m","t",{"Animal":"#.to_vec();
        frame.extend_from_slice(data);
        frame.extend_from_slice(b"}]}");
        let decoded = decode_into(&frame, frame.len(), &mut stage, &replica);
        if decoded.1.is_some() || decoded.0.len() != 1 {
            continue;
        }
        match stage.apply(&mut replica, full, &Wanted::everything()) {
            Err(_) => assert_eq!(replica, before, "a refused update left traces"),
            Ok(changes) => {
                let mut led = before;
                for Change {
                    table, uuid, new, ..
                } in changes
                {
                    led.put(&table, uuid, new);
                }
                assert_eq!(led, replica, "the changes do not lead to the contents");
            }
        }
    }
}

/// A dump: what could be read of it is written and read again.
pub fn dump(data: &[u8]) {
    let Ok(dump) = Replica::from_dump(data) else {
        return;
    };
    for table in dump.replica.tables() {
        for row in table.rows() {
            for (_, value) in row.columns() {
                let again = Datum::from_json(&value.to_json().to_string(), None);
                assert_eq!(again.as_ref(), Ok(value));
            }
        }
    }
    kept(&dump.replica);
}

/// A kept replica. The checksum, which bytes at random never meet, is mended first.
pub fn replica_file(data: &[u8]) {
    let wanted = Wanted::everything();
    let _ = Replica::read_from(data, "Zoo", &wanted);
    let mut mended = data.to_vec();
    mended.extend_from_slice(&crc32fast::hash(data).to_le_bytes());
    if let Ok(replica) = Replica::read_from(mended.as_slice(), "Zoo", &wanted) {
        kept(&replica);
    }
}

fn kept(replica: &Replica) {
    let wanted = Wanted::everything();
    let mut bytes = Vec::new();
    let written = replica.write_to(&mut bytes, &wanted);
    assert!(written.is_ok());
    match Replica::read_from(bytes.as_slice(), replica.database(), &wanted) {
        Ok(read) => assert_eq!(read, *replica),
        Err(error) => assert_eq!(error.to_string(), "", "what was written is not read"),
    }
}

type Rows = Vec<Option<Vec<Change>>>;

fn decode(data: &[u8], piece: usize) -> (Vec<Frame>, Rows) {
    let mut stage = Stage::default();
    let mut replica = Replica::default();
    stage.prepare(layouts(), &replica);
    let monitor = json!("m");
    let mut decoder = Decoder::new();
    let (mut frames, mut rows) = (Vec::new(), Vec::new());
    for bytes in data.chunks(piece) {
        feed(&mut decoder, bytes);
        loop {
            // As in a session: first the answer to the monitor request, then its updates.
            let expect = Expect {
                monitor: Some(&monitor),
                initial: frames.is_empty(),
            };
            match decoder.poll(expect, &mut stage, &replica) {
                Ok(Some(frame)) => {
                    let full = frames.is_empty();
                    frames.push(frame);
                    let changes = stage.apply(&mut replica, full, &Wanted::new());
                    rows.push(changes.ok().map(|mut changes| {
                        changes.sort_by_key(|change| (change.table.clone(), change.uuid));
                        changes
                    }));
                }
                Ok(None) => break,
                Err(_) => return (frames, rows),
            }
        }
    }
    (frames, rows)
}

fn decode_into(
    data: &[u8],
    piece: usize,
    stage: &mut Stage,
    replica: &Replica,
) -> (Vec<Frame>, Option<DecodeError>) {
    let monitor: Value = json!("m");
    let expect = Expect {
        monitor: Some(&monitor),
        initial: false,
    };
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    for bytes in data.chunks(piece) {
        feed(&mut decoder, bytes);
        match decoder.poll(expect, stage, replica) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => {}
            Err(error) => return (frames, Some(error)),
        }
    }
    (frames, None)
}

fn feed(decoder: &mut Decoder, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let space = decoder.space();
        let count = space.len().min(bytes.len());
        let (now, later) = bytes.split_at(count);
        if let Some(space) = space.get_mut(..count) {
            space.copy_from_slice(now);
        }
        decoder.filled(count);
        bytes = later;
    }
}

fn layouts() -> Vec<Arc<Layout>> {
    let schema = json!({"name": "Zoo", "version": "1.0.0", "tables": {"Animal": {"columns": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "weight": {"type": {"key": "real", "min": 0, "max": 1}},
        "tame": {"type": "boolean"},
        "names": {"type": {"key": "string", "min": 0, "max": "unlimited"}},
        "notes": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
        "friends": {"type": {"key": "uuid", "min": 0, "max": "unlimited"}},
    }}}});
    Schema::from_json(&schema)
        .map(|schema| Wanted::everything().layouts(&schema))
        .unwrap_or_default()
}

fn contents() -> Replica {
    let rows = (0..3).map(|id| {
        Row::new(
            "Animal",
            Uuid::from_u128(id),
            [
                ("name", Datum::from("rex")),
                ("age", Datum::from(3)),
                ("weight", Datum::empty()),
                ("tame", Datum::from(true)),
                ("names", ["a", "b"].into_iter().collect()),
                ("notes", Datum::map_of([("k", "v"), ("l", "w")])),
                ("friends", Datum::from(Uuid::from_u128(1))),
            ],
        )
    });
    let made = Replica::from_rows("Zoo", rows);
    let mut replica = Replica::new("Zoo");
    for layout in layouts() {
        let mut table = crate::replica::Table::new(layout);
        for row in made.rows("Animal") {
            table.insert(row.clone());
        }
        replica.add_table(table);
    }
    replica
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use proptest::prelude::*;

    /// Each seed as it is, cut short at places, and with bits flipped.
    fn corpus(name: &str, entry: fn(&[u8])) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(name);
        let mut seeds = 0;
        for file in fs::read_dir(&directory).unwrap() {
            let seed = fs::read(file.unwrap().path()).unwrap();
            seeds += 1;
            entry(&seed);
            let step = seed.len() / 40 + 1;
            for at in (0..seed.len()).step_by(step) {
                entry(&seed[..at]);
                for bit in [0, 3, 6] {
                    let mut flipped = seed.clone();
                    flipped[at] ^= 1 << bit;
                    entry(&flipped);
                }
            }
        }
        assert!(seeds > 0, "no seed in {}", directory.display());
    }

    #[test]
    fn corpus_of_frames() {
        corpus("frames", frames);
    }

    #[test]
    fn corpus_of_updates() {
        corpus("updates", updates);
    }

    #[test]
    fn corpus_of_dumps() {
        corpus("dump", dump);
    }

    #[test]
    fn corpus_of_replica_files() {
        corpus("replica_file", replica_file);
    }

    /// Updates of three rows, some of which are there, in every form.
    fn any_updates() -> impl Strategy<Value = Value> {
        let name = "[a-c]{0,2}".prop_map(Value::from);
        let names =
            prop::collection::btree_set("[a-d]", 0..4).prop_map(|names| json!(["set", names]));
        let notes = prop::collection::btree_map("[j-m]", "[v-x]", 0..4)
            .prop_map(|notes| json!(["map", notes.into_iter().collect::<Vec<_>>()]));
        let row = prop_oneof![
            name.prop_map(|name| json!({"name": name})),
            names.prop_map(|names| json!({"names": names})),
            notes.prop_map(|notes| json!({"notes": notes})),
            Just(json!({"weight": 1.5, "age": 7, "tame": false})),
        ];
        let update = ("initial|insert|modify|new|delete|old", row)
            .prop_map(|(kind, row)| json!({kind: row}));
        prop::collection::btree_map(0u128..5, update, 0..4).prop_map(|rows| {
            let rows = rows.into_iter();
            let rows: serde_json::Map<_, _> = rows
                .map(|(id, update)| (Uuid::from_u128(id).to_string(), update))
                .collect();
            Value::Object(rows)
        })
    }

    proptest! {
        #[test]
        fn any_updates_hold(rows in any_updates()) {
            updates(rows.to_string().as_bytes());
        }

        #[test]
        fn any_messages_hold(
            first in any_updates(),
            then in prop::collection::vec((any_updates(), any::<bool>()), 0..4),
            since in any::<bool>(),
        ) {
            let result = if since {
                json!([false, "t", {"Animal": first, "Stone": {"x": {"new": {}}}}])
            } else {
                json!({"Animal": first})
            };
            let mut text = json!({"id": 1, "result": result, "error": null}).to_string();
            for (rows, ours) in then {
                let monitor = if ours { "m" } else { "n" };
                let params = json!([monitor, {"Animal": rows}]);
                text += &json!({"params": params, "method": "update2", "id": null}).to_string();
            }
            frames(text.as_bytes());
        }
    }
}
