//! Transactions (RFC 7047 sections 4.1.3 and 5.2).

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::codec::{datum_to_json, uuid_to_json};
use crate::row::Row;
use crate::value::{Columns, Datum};

/// Operations that the server does all or not at all.
///
/// ```
/// use netverdict_ovsdb::{Condition, Datum, Mutator, Transaction};
///
/// let mut transaction = Transaction::new();
/// let port = transaction.insert("Port", [("name", Datum::from("p1"))]);
/// transaction.mutate(
///     "Bridge",
///     [Condition::equal("name", "br-int")],
///     [("ports", Mutator::Insert, Datum::from(port))],
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transaction {
    operations: Vec<Operation>,
}

/// One operation (RFC 7047 section 5.2).
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Adds a row (5.2.1).
    Insert {
        /// The table.
        table: String,
        /// The identity by which this transaction calls the row; the server gives it another,
        /// see [`Reply::uuid`].
        row: Uuid,
        /// The columns that do not have their default value.
        columns: Vec<(String, Datum)>,
    },
    /// Reads rows (5.2.2).
    Select {
        /// The table.
        table: String,
        /// Which rows.
        conditions: Vec<Condition>,
        /// Which columns; `None` for all of them, `_uuid` and `_version` too.
        columns: Option<Vec<String>>,
    },
    /// Sets columns of rows (5.2.3).
    Update {
        /// The table.
        table: String,
        /// Which rows.
        conditions: Vec<Condition>,
        /// The new values.
        columns: Vec<(String, Datum)>,
    },
    /// Changes columns of rows relative to what they are (5.2.4).
    Mutate {
        /// The table.
        table: String,
        /// Which rows.
        conditions: Vec<Condition>,
        /// Column, change and its operand.
        mutations: Vec<(String, Mutator, Datum)>,
    },
    /// Removes rows (5.2.5).
    Delete {
        /// The table.
        table: String,
        /// Which rows.
        conditions: Vec<Condition>,
    },
    /// Waits until the rows that meet the conditions are those given, or are not (5.2.6).
    Wait {
        /// The table.
        table: String,
        /// Which rows.
        conditions: Vec<Condition>,
        /// Which columns are compared.
        columns: Vec<String>,
        /// True to wait until they are equal, false until they are not.
        until_equal: bool,
        /// The rows to compare with.
        rows: Vec<Vec<(String, Datum)>>,
        /// How long to wait, in milliseconds; 0 refuses at once.
        timeout_ms: u64,
    },
    /// Makes the transaction fail (5.2.8).
    Abort,
    /// A remark for the server's log of transactions (5.2.9).
    Comment(String),
}

/// Which rows an operation is about (RFC 7047 section 5.1, `<condition>`).
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The column.
    pub column: String,
    /// How it is compared.
    pub function: Function,
    /// With what.
    pub value: Datum,
}

/// How a column is compared (RFC 7047 section 5.1, `<function>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Function {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Includes,
    Excludes,
}

/// How a column is changed (RFC 7047 section 5.1, `<mutator>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Mutator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Insert,
    Delete,
}

/// What the server answers to a transaction that it did.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// One for each operation, in their order.
    pub results: Vec<OperationResult>,
    uuids: HashMap<Uuid, Uuid>,
}

/// What one operation did.
#[derive(Clone, Debug, PartialEq)]
pub enum OperationResult {
    /// The identity of the row that was inserted.
    Inserted(Uuid),
    /// The rows that were selected.
    Rows(Vec<Row>),
    /// How many rows were updated, mutated or deleted.
    Count(u64),
    /// It succeeded and has nothing to tell.
    Done,
}

/// Why a transaction did not take place, or may not have.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TransactError {
    /// The server refused it; nothing was changed.
    #[error("{0}")]
    Refused(Refusal),
    /// The connection ended before the answer came: whether it took place is not known. Look at
    /// the rows after the next synchronisation.
    #[error("the connection ended before the server answered; the transaction may have happened")]
    OutcomeUnknown,
    /// The client that would have sent it has ended.
    #[error("the OVSDB client has ended")]
    ClientGone,
    /// The answer is not what RFC 7047 section 4.1.3 says; the server is at fault.
    #[error("the server's answer to the transaction is malformed: {0}")]
    Malformed(&'static str),
}

/// The server's reason against a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The number of the operation that failed, from 0; `None` if it was the whole.
    pub operation: Option<usize>,
    /// What the operation was, in words; empty for the whole.
    pub what: String,
    /// Which kind of fault it is.
    pub kind: RefusalKind,
    /// The server's own explanation, if it gave one.
    pub details: Option<String>,
}

/// The errors of RFC 7047 section 5.2 and those that ovsdb-server(7) adds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RefusalKind {
    Aborted,
    ConstraintViolation,
    DomainError,
    DuplicateUuid,
    DuplicateUuidName,
    IoError,
    NotOwner,
    NotSupported,
    RangeError,
    ReferentialIntegrityViolation,
    ResourcesExhausted,
    SyntaxError,
    TimedOut,
    UnknownDatabase,
    /// The database is read only for this client, or its role does not permit it.
    PermissionError,
    /// Any other word.
    Other(String),
}

impl Transaction {
    /// A transaction without operations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Its operations.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// True if it has no operation.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Adds an operation made elsewhere.
    pub fn push(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// Inserts a row. The uuid returned stands for it in this transaction's other operations;
    /// the server chooses another, which [`Reply::uuid`] tells.
    pub fn insert<'a>(
        &mut self,
        table: &str,
        columns: impl IntoIterator<Item = (&'a str, Datum)>,
    ) -> Uuid {
        let row = Uuid::new_v4();
        self.push(Operation::Insert {
            table: table.to_owned(),
            row,
            columns: owned(columns),
        });
        row
    }

    /// Reads rows as they are at this place of the transaction.
    pub fn select<'a>(
        &mut self,
        table: &str,
        conditions: impl IntoIterator<Item = Condition>,
        columns: impl IntoIterator<Item = &'a str>,
    ) {
        self.push(Operation::Select {
            table: table.to_owned(),
            conditions: conditions.into_iter().collect(),
            columns: Some(columns.into_iter().map(str::to_owned).collect()),
        });
    }

    /// Sets columns of the rows that meet all conditions.
    pub fn update<'a>(
        &mut self,
        table: &str,
        conditions: impl IntoIterator<Item = Condition>,
        columns: impl IntoIterator<Item = (&'a str, Datum)>,
    ) {
        self.push(Operation::Update {
            table: table.to_owned(),
            conditions: conditions.into_iter().collect(),
            columns: owned(columns),
        });
    }

    /// Changes columns of the rows that meet all conditions.
    pub fn mutate<'a>(
        &mut self,
        table: &str,
        conditions: impl IntoIterator<Item = Condition>,
        mutations: impl IntoIterator<Item = (&'a str, Mutator, Datum)>,
    ) {
        self.push(Operation::Mutate {
            table: table.to_owned(),
            conditions: conditions.into_iter().collect(),
            mutations: mutations
                .into_iter()
                .map(|(column, mutator, value)| (column.to_owned(), mutator, value))
                .collect(),
        });
    }

    /// Removes the rows that meet all conditions.
    pub fn delete(&mut self, table: &str, conditions: impl IntoIterator<Item = Condition>) {
        self.push(Operation::Delete {
            table: table.to_owned(),
            conditions: conditions.into_iter().collect(),
        });
    }

    /// Refuses the transaction unless these columns of the row are as given: a guard against
    /// a change by somebody else since the row was read.
    pub fn verify<'a>(
        &mut self,
        table: &str,
        row: Uuid,
        columns: impl IntoIterator<Item = (&'a str, Datum)>,
    ) {
        let columns = owned(columns);
        self.push(Operation::Wait {
            table: table.to_owned(),
            conditions: vec![Condition::row(row)],
            columns: columns.iter().map(|(column, _)| column.clone()).collect(),
            until_equal: true,
            rows: vec![columns],
            timeout_ms: 0,
        });
    }

    /// Adds a remark to the server's log.
    pub fn comment(&mut self, text: &str) {
        self.push(Operation::Comment(text.to_owned()));
    }

    /// The parameters of the `transact` request (RFC 7047 section 4.1.3).
    pub fn to_json(&self, database: &str) -> Value {
        let names = self
            .operations
            .iter()
            .filter_map(|operation| match operation {
                Operation::Insert { row, .. } => Some(*row),
                _ => None,
            });
        let names = Names(names.collect());
        let mut params = vec![json!(database)];
        params.extend(
            self.operations
                .iter()
                .map(|operation| names.operation(operation)),
        );
        Value::Array(params)
    }

    /// Reads the `result` of a `transact` response.
    pub(crate) fn reply(&self, result: &Value) -> Result<Reply, TransactError> {
        let results = result
            .as_array()
            .ok_or(TransactError::Malformed("the result is not an array"))?;
        for (number, result) in results.iter().enumerate() {
            if result.get("error").is_some_and(|error| !error.is_null()) {
                let operation = self.operations.get(number);
                return Err(TransactError::Refused(Refusal {
                    operation: operation.map(|_| number),
                    what: operation.map(ToString::to_string).unwrap_or_default(),
                    ..Refusal::from_json(result)
                }));
            }
        }
        if results.len() < self.operations.len() {
            return Err(TransactError::Malformed("fewer results than operations"));
        }
        let mut reply = Reply {
            results: Vec::new(),
            uuids: HashMap::new(),
        };
        for (operation, result) in self.operations.iter().zip(results) {
            let result = operation_result(operation, result)?;
            if let (Operation::Insert { row, .. }, OperationResult::Inserted(uuid)) =
                (operation, &result)
            {
                reply.uuids.insert(*row, *uuid);
            }
            reply.results.push(result);
        }
        Ok(reply)
    }
}

impl Condition {
    /// A comparison.
    pub fn new(column: &str, function: Function, value: impl Into<Datum>) -> Self {
        Self {
            column: column.to_owned(),
            function,
            value: value.into(),
        }
    }

    /// The column has exactly this value.
    pub fn equal(column: &str, value: impl Into<Datum>) -> Self {
        Self::new(column, Function::Equal, value)
    }

    /// The row with this identity.
    pub fn row(uuid: Uuid) -> Self {
        Self::equal("_uuid", uuid)
    }
}

impl Reply {
    /// The identity that the server gave to the row that [`Transaction::insert`] called so.
    pub fn uuid(&self, inserted: Uuid) -> Option<Uuid> {
        self.uuids.get(&inserted).copied()
    }

    /// The rows of all selects, in their order.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.results.iter().flat_map(|result| match result {
            OperationResult::Rows(rows) => rows.as_slice(),
            _ => &[],
        })
    }

    /// How many rows were updated, mutated and deleted.
    pub fn count(&self) -> u64 {
        let counts = self.results.iter().map(|result| match result {
            OperationResult::Count(count) => *count,
            _ => 0,
        });
        counts.sum()
    }
}

impl Refusal {
    /// Reads `{"error": …, "details": …}`, or a bare word.
    pub(crate) fn from_json(error: &Value) -> Self {
        let text = |key| error.get(key).and_then(Value::as_str).map(str::to_owned);
        let word = text("error").or_else(|| error.as_str().map(str::to_owned));
        Self {
            operation: None,
            what: String::new(),
            kind: RefusalKind::from_word(&word.unwrap_or_else(|| error.to_string())),
            details: text("details"),
        }
    }
}

impl RefusalKind {
    const WORDS: [(&str, Self); 15] = [
        ("aborted", Self::Aborted),
        ("constraint violation", Self::ConstraintViolation),
        ("domain error", Self::DomainError),
        ("duplicate uuid", Self::DuplicateUuid),
        ("duplicate uuid-name", Self::DuplicateUuidName),
        ("I/O error", Self::IoError),
        ("not owner", Self::NotOwner),
        ("not supported", Self::NotSupported),
        ("range error", Self::RangeError),
        (
            "referential integrity violation",
            Self::ReferentialIntegrityViolation,
        ),
        ("resources exhausted", Self::ResourcesExhausted),
        ("syntax error", Self::SyntaxError),
        ("timed out", Self::TimedOut),
        ("unknown database", Self::UnknownDatabase),
        ("permission error", Self::PermissionError),
    ];

    fn from_word(word: &str) -> Self {
        Self::WORDS
            .into_iter()
            .find(|(known, _)| *known == word)
            .map_or_else(|| Self::Other(word.to_owned()), |(_, kind)| kind)
    }
}

impl fmt::Display for RefusalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Other(word) = self {
            return f.write_str(word);
        }
        let known = Self::WORDS.into_iter().find(|(_, kind)| kind == self);
        f.write_str(known.map_or("", |(word, _)| word))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operation {
            Some(number) => write!(
                f,
                "the server refused operation {number} ({}): {}",
                self.what, self.kind
            )?,
            None => write!(f, "the server refused the transaction: {}", self.kind)?,
        }
        match &self.details {
            Some(details) => write!(f, ": {details}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Operation {
    /// What it does and to which table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insert { table, .. } => write!(f, "insert into {table}"),
            Self::Select { table, .. } => write!(f, "select from {table}"),
            Self::Update { table, .. } => write!(f, "update {table}"),
            Self::Mutate { table, .. } => write!(f, "mutate {table}"),
            Self::Delete { table, .. } => write!(f, "delete from {table}"),
            Self::Wait { table, .. } => write!(f, "wait for {table}"),
            Self::Abort => f.write_str("abort"),
            Self::Comment(_) => f.write_str("comment"),
        }
    }
}

impl Function {
    fn word(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Includes => "includes",
            Self::Excludes => "excludes",
        }
    }
}

impl Mutator {
    fn word(self) -> &'static str {
        match self {
            Self::Add => "+=",
            Self::Subtract => "-=",
            Self::Multiply => "*=",
            Self::Divide => "/=",
            Self::Remainder => "%=",
            Self::Insert => "insert",
            Self::Delete => "delete",
        }
    }
}

/// The rows that the transaction inserts.
struct Names(HashSet<Uuid>);

impl Names {
    fn operation(&self, operation: &Operation) -> Value {
        match operation {
            Operation::Insert {
                table,
                row,
                columns,
            } => json!({
                "op": "insert", "table": table, "uuid-name": name(*row), "row": self.row(columns),
            }),
            Operation::Select {
                table,
                conditions,
                columns,
            } => {
                let mut select = json!({
                    "op": "select", "table": table, "where": self.conditions(conditions),
                });
                if let (Some(columns), Some(select)) = (columns, select.as_object_mut()) {
                    select.insert("columns".to_owned(), json!(columns));
                }
                select
            }
            Operation::Update {
                table,
                conditions,
                columns,
            } => json!({
                "op": "update", "table": table, "where": self.conditions(conditions),
                "row": self.row(columns),
            }),
            Operation::Mutate {
                table,
                conditions,
                mutations,
            } => {
                let mutations: Vec<_> = mutations
                    .iter()
                    .map(|(column, mutator, value)| {
                        json!([column, mutator.word(), self.datum(value)])
                    })
                    .collect();
                json!({
                    "op": "mutate", "table": table, "where": self.conditions(conditions),
                    "mutations": mutations,
                })
            }
            Operation::Delete { table, conditions } => json!({
                "op": "delete", "table": table, "where": self.conditions(conditions),
            }),
            Operation::Wait {
                table,
                conditions,
                columns,
                until_equal,
                rows,
                timeout_ms,
            } => json!({
                "op": "wait", "table": table, "where": self.conditions(conditions),
                "columns": columns, "until": if *until_equal { "==" } else { "!=" },
                "rows": rows.iter().map(|row| self.row(row)).collect::<Vec<_>>(),
                "timeout": timeout_ms,
            }),
            Operation::Abort => json!({"op": "abort"}),
            Operation::Comment(comment) => json!({"op": "comment", "comment": comment}),
        }
    }

    fn conditions(&self, conditions: &[Condition]) -> Value {
        conditions
            .iter()
            .map(|condition| {
                json!([
                    condition.column,
                    condition.function.word(),
                    self.datum(&condition.value)
                ])
            })
            .collect()
    }

    fn row(&self, columns: &[(String, Datum)]) -> Value {
        let columns: Map<_, _> = columns
            .iter()
            .map(|(column, value)| (column.clone(), self.datum(value)))
            .collect();
        Value::Object(columns)
    }

    fn datum(&self, value: &Datum) -> Value {
        datum_to_json(value, &|uuid| {
            if self.0.contains(&uuid) {
                json!(["named-uuid", name(uuid)])
            } else {
                uuid_to_json(uuid)
            }
        })
    }
}

/// The name under which a transaction knows a new row: an `<id>` of RFC 7047 section 3.1.
fn name(row: Uuid) -> String {
    format!("row{}", row.simple())
}

fn owned<'a>(columns: impl IntoIterator<Item = (&'a str, Datum)>) -> Vec<(String, Datum)> {
    columns
        .into_iter()
        .map(|(column, value)| (column.to_owned(), value))
        .collect()
}

fn operation_result(
    operation: &Operation,
    result: &Value,
) -> Result<OperationResult, TransactError> {
    let malformed = TransactError::Malformed;
    Ok(match operation {
        Operation::Insert { .. } => OperationResult::Inserted(
            result
                .pointer("/uuid/1")
                .and_then(Value::as_str)
                .and_then(|text| Uuid::try_parse(text).ok())
                .ok_or(malformed("an insert without a uuid"))?,
        ),
        Operation::Select { table, .. } => OperationResult::Rows(
            result
                .get("rows")
                .and_then(Value::as_array)
                .ok_or(malformed("a select without rows"))?
                .iter()
                .map(|row| selected(table, row))
                .collect::<Option<_>>()
                .ok_or(malformed("a selected row that is none"))?,
        ),
        Operation::Update { .. } | Operation::Mutate { .. } | Operation::Delete { .. } => {
            OperationResult::Count(
                result
                    .get("count")
                    .and_then(Value::as_u64)
                    .ok_or(malformed("an operation without a count"))?,
            )
        }
        Operation::Wait { .. } | Operation::Abort | Operation::Comment(_) => OperationResult::Done,
    })
}

/// A selected row; its identity is nil unless `_uuid` was selected.
fn selected(table: &str, row: &Value) -> Option<Row> {
    let columns = row
        .as_object()?
        .iter()
        .map(|(column, value)| {
            let value = Datum::from_json(&value.to_string(), None).ok()?;
            Some((column.as_str(), value))
        })
        .collect::<Option<Vec<_>>>()?;
    let row = Row::new(table, Uuid::nil(), columns.clone());
    match row.reference("_uuid") {
        Some(uuid) => Some(Row::new(table, uuid, columns)),
        None => Some(row),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Atom;

    #[test]
    fn a_new_row_is_called_by_name() {
        let mut transaction = Transaction::new();
        let port = transaction.insert("Port", [("name", Datum::from("p1"))]);
        let other = Uuid::from_u128(7);
        transaction.mutate(
            "Bridge",
            [Condition::row(other)],
            [(
                "ports",
                Mutator::Insert,
                [port, other].into_iter().collect(),
            )],
        );
        let name = format!("row{}", port.simple());
        let json = transaction.to_json("db");
        assert_eq!(
            json[1],
            json!({"op": "insert", "table": "Port", "uuid-name": name, "row": {"name": "p1"}})
        );
        assert_eq!(
            json[2]["where"],
            json!([["_uuid", "==", ["uuid", other.to_string()]]])
        );
        let mut refs = json[2]["mutations"][0][2][1].as_array().unwrap().clone();
        refs.sort_by_key(ToString::to_string);
        assert_eq!(refs[0], json!(["named-uuid", name]));
        assert_eq!(refs[1], json!(["uuid", other.to_string()]));

        let real = Uuid::from_u128(9);
        let reply = transaction
            .reply(&json!([{"uuid": ["uuid", real.to_string()]}, {"count": 1}]))
            .unwrap();
        assert_eq!(reply.uuid(port), Some(real));
        assert_eq!(reply.count(), 1);
    }

    #[test]
    fn a_refusal_names_the_operation() {
        let mut transaction = Transaction::new();
        transaction.comment("hello");
        transaction.delete("Bridge", []);
        let failed = json!([{}, {"error": "domain error", "details": "why not"}]);
        let error = transaction.reply(&failed).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the server refused operation 1 (delete from Bridge): domain error: why not"
        );
        // The commit itself fails: one more result than operations.
        let failed = json!([{}, {"count": 1}, {"error": "referential integrity violation"}]);
        let TransactError::Refused(refusal) = transaction.reply(&failed).unwrap_err() else {
            panic!("not refused");
        };
        assert_eq!(refusal.operation, None);
        assert_eq!(refusal.kind, RefusalKind::ReferentialIntegrityViolation);
        for malformed in [json!(null), json!([{}]), json!([{}, {}])] {
            let error = transaction.reply(&malformed).unwrap_err();
            assert!(matches!(error, TransactError::Malformed(_)), "{error}");
        }
    }

    #[test]
    fn selected_rows_are_rows() {
        let mut transaction = Transaction::new();
        transaction.select("T", [], ["_uuid", "name"]);
        let uuid = Uuid::from_u128(3);
        let result = json!([{"rows": [{"_uuid": ["uuid", uuid.to_string()], "name": "x"}]}]);
        let reply = transaction.reply(&result).unwrap();
        let row = reply.rows().next().unwrap();
        assert_eq!((row.uuid(), row.text("name")), (uuid, Some("x")));
        assert_eq!(
            row.column("_uuid").and_then(Datum::scalar),
            Some(&Atom::Uuid(uuid))
        );
    }
}
