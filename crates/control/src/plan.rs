use netverdict_ovn::Database;
use netverdict_ovsdb::{Datum, Transaction};
use uuid::Uuid;

/// Columns by name.
pub(crate) type Values = Vec<(&'static str, Datum)>;

/// A change of one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// A new row.
    Insert {
        /// The table.
        table: &'static str,
        /// What the plan calls it; the server gives it another identity.
        row: Uuid,
        /// The columns that do not have their default value.
        columns: Vec<(&'static str, Datum)>,
    },
    /// Another value for some columns.
    Update {
        /// The table.
        table: &'static str,
        /// The row.
        row: Uuid,
        /// What is there. The transaction is refused if it is no longer.
        before: Vec<(&'static str, Datum)>,
        /// What is to be there, of the same columns.
        after: Vec<(&'static str, Datum)>,
        /// Other columns that the plan relies on, and their values.
        relies_on: Vec<(&'static str, Datum)>,
    },
    /// A row goes. Rows that the server would collect as garbage are deleted as well: it counts
    /// references before it collects (ovsdb/transaction.c), so that else what they refer to
    /// could not go in the same transaction.
    Delete {
        /// The table.
        table: &'static str,
        /// The row.
        row: Uuid,
        /// What is there. The transaction is refused if it is no longer.
        before: Vec<(&'static str, Datum)>,
    },
}

/// What is to be changed in one database: one transaction, or nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    database: Database,
    edits: Vec<Edit>,
    steps: Vec<String>,
    notes: Vec<String>,
}

impl Plan {
    pub(crate) fn new(
        database: Database,
        edits: Vec<Edit>,
        steps: Vec<String>,
        notes: Vec<String>,
    ) -> Self {
        Self {
            database,
            edits,
            steps,
            notes,
        }
    }

    /// Which database it is for.
    pub fn database(&self) -> Database {
        self.database
    }

    /// True if all is as wanted.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The changes, inserts first, so that each refers only to rows before it.
    pub fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// The changes in words, many alike as one.
    pub fn steps(&self) -> &[String] {
        &self.steps
    }

    /// What one should know before: costs, what is left alone and why.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// All changes as one transaction, which is refused if what the plan was made from has
    /// changed since.
    pub fn transaction(&self) -> Transaction {
        let mut transaction = Transaction::new();
        for edit in &self.edits {
            let (table, row, before, relies_on) = match edit {
                Edit::Insert { .. } => continue,
                Edit::Update {
                    table,
                    row,
                    before,
                    relies_on,
                    ..
                } => (table, row, before, relies_on.as_slice()),
                Edit::Delete { table, row, before } => (table, row, before, &[][..]),
            };
            transaction.verify(table, *row, before.iter().chain(relies_on).cloned());
        }
        for edit in &self.edits {
            transaction.push(edit.operation());
        }
        if !self.edits.is_empty() {
            transaction.comment("netverdict");
        }
        transaction
    }

    /// What undoes exactly this, once it is done. `identity` tells what the server calls a row
    /// that the plan inserts.
    ///
    /// Deleted rows come back with their contents, but with another identity.
    #[must_use]
    pub fn inverse(&self, identity: impl Fn(Uuid) -> Uuid) -> Self {
        let real = |values: &Values| -> Values {
            values
                .iter()
                .map(|(column, value)| (*column, renamed(value, &identity)))
                .collect()
        };
        let edits = self.edits.iter().rev().map(|edit| match edit {
            Edit::Insert {
                table,
                row,
                columns,
            } => Edit::Delete {
                table,
                row: identity(*row),
                before: real(columns),
            },
            Edit::Update {
                table,
                row,
                before,
                after,
                ..
            } => Edit::Update {
                table,
                row: *row,
                before: real(after),
                after: before.clone(),
                relies_on: Vec::new(),
            },
            Edit::Delete { table, row, before } => Edit::Insert {
                table,
                row: *row,
                columns: before
                    .iter()
                    .filter(|(_, value)| !value.is_empty())
                    .cloned()
                    .collect(),
            },
        });
        let mut inverse = Self::new(self.database, edits.collect(), Vec::new(), Vec::new());
        inverse.edits.sort_by_key(|edit| match edit {
            Edit::Insert { .. } => 0,
            Edit::Update { .. } => 1,
            Edit::Delete { .. } => 2,
        });
        inverse.steps = self
            .steps
            .iter()
            .map(|step| format!("undo: {step}"))
            .collect();
        inverse
    }
}

impl Edit {
    fn operation(&self) -> netverdict_ovsdb::Operation {
        use netverdict_ovsdb::{Condition, Operation};
        let owned = |values: &Values| {
            values
                .iter()
                .map(|(column, value)| ((*column).to_owned(), value.clone()))
                .collect()
        };
        match self {
            Self::Insert {
                table,
                row,
                columns,
            } => Operation::Insert {
                table: (*table).to_owned(),
                row: *row,
                columns: owned(columns),
            },
            Self::Update {
                table, row, after, ..
            } => Operation::Update {
                table: (*table).to_owned(),
                conditions: vec![Condition::row(*row)],
                columns: owned(after),
            },
            Self::Delete { table, row, .. } => Operation::Delete {
                table: (*table).to_owned(),
                conditions: vec![Condition::row(*row)],
            },
        }
    }
}

/// The value with other identities of rows.
fn renamed(value: &Datum, identity: &impl Fn(Uuid) -> Uuid) -> Datum {
    match value {
        Datum::Set(atoms) if atoms.iter().any(|atom| atom.as_uuid().is_some()) => atoms
            .iter()
            .map(|atom| match atom.as_uuid() {
                Some(uuid) => identity(uuid).into(),
                None => atom.clone(),
            })
            .collect(),
        other => other.clone(),
    }
}
