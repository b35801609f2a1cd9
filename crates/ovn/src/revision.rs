//! Change sets as JSON, for capture files.
//!
//! One object: `database`, `cause`, `more` and `changes`; each change is `[table, uuid, row]`
//! with the row as RFC 7047 writes it, or null where it went. A large set is cut into several
//! objects; all but the last say `more`.

use netverdict_ovsdb::{Cause, Change, ChangeSet, Datum, Row};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::Database;

/// Why JSON is not a piece of a change set.
#[derive(Debug, thiserror::Error)]
#[error("a revision in the capture cannot be read: {0}")]
pub struct RevisionError(String);

/// Puts the pieces of change sets together again.
#[derive(Debug, Default)]
pub struct Assembler {
    pending: Vec<Change>,
}

/// Writes a change set as pieces, each handed to `take`.
///
/// # Errors
/// What `take` says.
pub fn encode<E>(
    database: Database,
    set: &ChangeSet,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut rest = &set.changes[..];
    loop {
        let (now, later) = rest.split_at(rest.len().min(PIECE));
        let piece = Value::Object(Map::from_iter([
            ("database".to_owned(), database.word().into()),
            (
                "cause".to_owned(),
                serde_json::to_value(Why::from(set.cause)).unwrap_or_default(),
            ),
            ("more".to_owned(), (!later.is_empty()).into()),
            (
                "changes".to_owned(),
                now.iter().map(change_to_json).collect(),
            ),
        ]));
        take(piece.to_string().as_bytes())?;
        if later.is_empty() {
            return Ok(());
        }
        rest = later;
    }
}

impl Assembler {
    /// Takes a piece; gives the whole with its last.
    ///
    /// # Errors
    /// If the JSON is not one of ours. A row that cannot be read is left out, and counted in the
    /// second number.
    pub fn take(
        &mut self,
        json: &[u8],
        time: i64,
    ) -> Result<(Option<(Database, ChangeSet)>, u64), RevisionError> {
        let piece: Piece<'_> =
            serde_json::from_slice(json).map_err(|error| RevisionError(error.to_string()))?;
        let database = [
            Database::Northbound,
            Database::Southbound,
            Database::Vswitch,
            Database::Sets,
        ]
        .into_iter()
        .find(|database| database.word() == piece.database)
        .ok_or_else(|| RevisionError(format!("there is no database {}", piece.database)))?;
        let before = self.pending.len();
        let told = piece.changes.len();
        self.pending
            .extend(piece.changes.into_iter().filter_map(change_from_json));
        let bad = (before + told - self.pending.len()) as u64;
        if piece.more {
            return Ok((None, bad));
        }
        let set = ChangeSet {
            time,
            cause: piece.cause.into(),
            transaction: None,
            changes: std::mem::take(&mut self.pending),
        };
        Ok((Some((database, set)), bad))
    }
}

/// Changes in one piece.
const PIECE: usize = 2_000;

#[derive(Deserialize)]
struct Piece<'a> {
    database: String,
    cause: Why,
    #[serde(default)]
    more: bool,
    #[serde(borrow)]
    changes: Vec<RawChange<'a>>,
}

type RawChange<'a> = (
    String,
    Uuid,
    Option<std::collections::BTreeMap<String, &'a RawValue>>,
);

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Why {
    Initial,
    Restored(i64),
    Transaction,
    Gap(i64, i64),
}

impl From<Cause> for Why {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Initial => Self::Initial,
            Cause::Restored { as_of } => Self::Restored(as_of),
            Cause::Transaction => Self::Transaction,
            Cause::Gap { from, to } => Self::Gap(from, to),
        }
    }
}

impl From<Why> for Cause {
    fn from(why: Why) -> Self {
        match why {
            Why::Initial => Self::Initial,
            Why::Restored(as_of) => Self::Restored { as_of },
            Why::Transaction => Self::Transaction,
            Why::Gap(from, to) => Self::Gap { from, to },
        }
    }
}

fn change_to_json(change: &Change) -> Value {
    let row = change.new.as_ref().map(|row| {
        row.columns()
            .map(|(name, value)| (name.to_owned(), value.to_json()))
            .collect::<Map<_, _>>()
    });
    Value::Array(vec![
        (*change.table).into(),
        change.uuid.to_string().into(),
        row.map_or(Value::Null, Value::Object),
    ])
}

fn change_from_json((table, uuid, row): RawChange<'_>) -> Option<Change> {
    let new = match row {
        None => None,
        Some(columns) => {
            let columns: Option<Vec<(&str, Datum)>> = columns
                .iter()
                .map(|(name, json)| Some((name.as_str(), Datum::from_json(json.get(), None).ok()?)))
                .collect();
            Some(Row::new(&table, uuid, columns?))
        }
    };
    Some(Change {
        table: table.into(),
        uuid,
        old: None,
        new,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_set_comes_back_whole_and_a_bad_row_costs_only_itself() {
        let row = |number: u128| Change {
            table: "ACL".into(),
            uuid: Uuid::from_u128(number),
            old: None,
            new: (!number.is_multiple_of(7)).then(|| {
                Row::new(
                    "ACL",
                    Uuid::from_u128(number),
                    [
                        ("match", Datum::from("ip4 && \"quoted\"")),
                        ("priority", Datum::from(number as i64)),
                        ("external_ids", Datum::map_of([("a", "b"), ("c", "d")])),
                        ("sample_new", Datum::set(vec![Uuid::from_u128(9).into()])),
                        ("severity", Datum::set(Vec::new())),
                    ],
                )
            }),
        };
        let set = ChangeSet {
            time: 5,
            cause: Cause::Gap { from: 1, to: 5 },
            transaction: None,
            changes: (0..5_000).map(row).collect(),
        };
        let mut pieces = Vec::new();
        encode(Database::Northbound, &set, |piece| {
            pieces.push(piece.to_vec());
            Ok::<_, ()>(())
        })
        .unwrap();
        assert_eq!(pieces.len(), 3);
        let mut assembler = Assembler::default();
        let mut whole = None;
        for piece in &pieces {
            let (set, bad) = assembler.take(piece, 5).unwrap();
            assert_eq!(bad, 0);
            whole = set;
        }
        assert_eq!(whole, Some((Database::Northbound, set)));

        let one = br#"{"database":"OVN_Northbound","cause":"initial","changes":[
            ["ACL","00000000-0000-0000-0000-000000000001",{"match":["what"]}],
            ["ACL","00000000-0000-0000-0000-000000000002",null]]}"#;
        let (set, bad) = assembler.take(one, 1).unwrap();
        assert_eq!((bad, set.unwrap().1.changes.len()), (1, 1));
        assert!(assembler.take(b"{", 1).is_err());
    }
}
