//! The contents of a database, as far as they are wanted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use uuid::Uuid;

pub(crate) use crate::row::Layout;

use crate::change::Change;
use crate::row::Row;
use crate::value::{Atom, Datum};
use crate::wanted::{Missing, Wanted};

/// Tables with their rows, wherever they came from: a server, a dump, a file, or made by hand.
///
/// A clone shares the rows.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    pub(crate) database: String,
    pub(crate) schema_version: Option<String>,
    pub(crate) tables: BTreeMap<Arc<str>, Table>,
    pub(crate) missing: Missing,
    pub(crate) transaction: Option<Uuid>,
    pub(crate) synced_at: Option<i64>,
}

/// One table of a [`Replica`].
#[derive(Clone, Debug)]
pub struct Table {
    pub(crate) layout: Arc<Layout>,
    rows: HashMap<Uuid, Row, RandomState>,
    indexes: Vec<Index>,
}

#[derive(Clone, Debug)]
struct Index {
    position: usize,
    rows: HashMap<Atom, Vec<Uuid>, RandomState>,
}

impl Replica {
    /// A replica without tables.
    pub(crate) fn new(database: &str) -> Self {
        Self {
            database: database.to_owned(),
            ..Self::default()
        }
    }

    /// A replica of rows made by hand. A column that one row of a table has and another has not
    /// is empty in the latter; of two rows with one identity the last is kept.
    pub fn from_rows(database: &str, rows: impl IntoIterator<Item = Row>) -> Self {
        let mut by_table: BTreeMap<Arc<str>, Vec<Row>> = BTreeMap::new();
        for row in rows {
            let table = row.layout().table.clone();
            by_table.entry(table).or_default().push(row);
        }
        let mut replica = Self::new(database);
        for (name, rows) in by_table {
            let mut columns = BTreeMap::new();
            for row in &rows {
                let layout = row.layout();
                columns.extend(
                    layout
                        .names
                        .iter()
                        .cloned()
                        .zip(layout.types.iter().copied()),
                );
            }
            let layout = Arc::new(Layout::new(name, columns.into_iter().collect()));
            let mut table = Table::new(layout);
            for row in rows {
                table.insert(row);
            }
            replica.add_table(table);
        }
        replica
    }

    /// The database's name; empty for a dump, which does not tell it.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The version of the server's schema; a dump does not tell it.
    pub fn schema_version(&self) -> Option<&str> {
        self.schema_version.as_deref()
    }

    /// What was wanted and is not there.
    pub fn missing(&self) -> &Missing {
        &self.missing
    }

    /// The transaction after which the database looked like this, if the server names them.
    pub fn last_transaction(&self) -> Option<Uuid> {
        self.transaction
    }

    /// When the contents were last known to be the server's, in nanoseconds since 1970; `None`
    /// if they do not come from a server.
    pub fn synced_at(&self) -> Option<i64> {
        self.synced_at
    }

    /// The tables, sorted by name.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.values()
    }

    /// The table called `name`.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    /// The rows of a table in no order; none if there is no such table.
    pub fn rows(&self, table: &str) -> impl Iterator<Item = &Row> {
        self.tables.get(table).into_iter().flat_map(Table::rows)
    }

    /// The row of a table with this identity.
    pub fn row(&self, table: &str, uuid: Uuid) -> Option<&Row> {
        self.tables.get(table)?.row(uuid)
    }

    /// How many rows there are in all tables.
    pub fn len(&self) -> usize {
        self.tables.values().map(Table::len).sum()
    }

    /// True if there is no row.
    pub fn is_empty(&self) -> bool {
        self.tables.values().all(Table::is_empty)
    }

    /// Keeps only what is wanted, with the indexes that are wanted, and notes what is missing.
    #[must_use]
    pub fn restrict(mut self, wanted: &Wanted) -> Self {
        let missing = wanted.missing(
            |table| self.tables.contains_key(table),
            |table, column| {
                self.table(table)
                    .is_some_and(|table| table.layout.position(column).is_some())
            },
        );
        let tables = std::mem::take(&mut self.tables);
        for (name, table) in tables {
            if !wanted.names(&name) {
                continue;
            }
            let columns = wanted.columns(&name, table.layout.names.iter());
            let kept = if columns.len() == table.layout.names.len() {
                table
            } else {
                table.project(&columns)
            };
            self.add_table(kept.indexed(wanted.indexes(&name)));
        }
        self.missing = missing;
        self
    }

    pub(crate) fn add_table(&mut self, table: Table) {
        self.tables.insert(table.layout.table.clone(), table);
    }

    /// Takes over one change and tells what was there before.
    pub(crate) fn put(&mut self, table: &str, uuid: Uuid, new: Option<Row>) -> Option<Row> {
        let table = self.tables.get_mut(table)?;
        match new {
            Some(row) => table.insert(row),
            None => table.remove(uuid),
        }
    }

    /// All rows as inserted.
    pub(crate) fn as_inserted(&self) -> Vec<Change> {
        let rows = self.tables.values().flat_map(Table::rows);
        rows.map(|row| Change {
            table: row.layout().table.clone(),
            uuid: row.uuid(),
            old: None,
            new: Some(row.clone()),
        })
        .collect()
    }
}

impl PartialEq for Replica {
    /// The same rows in the same tables; where they came from and when does not count.
    fn eq(&self, other: &Self) -> bool {
        self.tables.len() == other.tables.len()
            && self
                .tables
                .iter()
                .zip(&other.tables)
                .all(|(a, b)| a.0 == b.0 && a.1 == b.1)
    }
}

impl Table {
    pub(crate) fn new(layout: Arc<Layout>) -> Self {
        Self {
            layout,
            rows: HashMap::default(),
            indexes: Vec::new(),
        }
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.layout.table
    }

    /// The columns that the rows hold, sorted.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &str> {
        self.layout.names.iter().map(AsRef::as_ref)
    }

    /// True if the rows hold the column `name`.
    pub fn has_column(&self, name: &str) -> bool {
        self.layout.position(name).is_some()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True if there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows in no order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.rows.values()
    }

    /// The row with this identity.
    pub fn row(&self, uuid: Uuid) -> Option<&Row> {
        self.rows.get(&uuid)
    }

    /// The rows whose `column` is, or has among the atoms of its set, or has as a key of its map,
    /// `atom`. With an index ([`Wanted::index`]) this is one look-up, without one each row is
    /// looked at.
    pub fn find<'a>(
        &'a self,
        column: &str,
        atom: &'a Atom,
    ) -> Box<dyn Iterator<Item = &'a Row> + 'a> {
        let Some(position) = self.layout.position(column) else {
            return Box::new(std::iter::empty());
        };
        match self.indexes.iter().find(|index| index.position == position) {
            Some(index) => {
                let uuids = index.rows.get(atom).into_iter().flatten();
                Box::new(uuids.filter_map(|uuid| self.rows.get(uuid)))
            }
            None => Box::new(
                self.rows
                    .values()
                    .filter(move |row| row.values().get(position).is_some_and(|v| has(v, atom))),
            ),
        }
    }

    /// Puts a row in the place of the one with its identity, which is returned.
    pub(crate) fn insert(&mut self, row: Row) -> Option<Row> {
        let row = if Arc::ptr_eq(row.layout(), &self.layout) {
            row
        } else {
            fit(&row, &self.layout)
        };
        let uuid = row.uuid();
        if self.indexes.is_empty() {
            return self.rows.insert(uuid, row);
        }
        let old = self.remove(uuid);
        for index in &mut self.indexes {
            index.add(&row);
        }
        self.rows.insert(uuid, row);
        old
    }

    pub(crate) fn remove(&mut self, uuid: Uuid) -> Option<Row> {
        let old = self.rows.remove(&uuid)?;
        for index in &mut self.indexes {
            index.remove(&old);
        }
        Some(old)
    }

    pub(crate) fn reserve(&mut self, rows: usize) {
        self.rows.reserve(rows);
    }

    #[must_use]
    pub(crate) fn indexed<'a>(mut self, columns: impl Iterator<Item = &'a str>) -> Self {
        self.indexes = columns
            .filter_map(|column| self.layout.position(column))
            .map(|position| {
                let mut index = Index {
                    position,
                    rows: HashMap::default(),
                };
                for row in self.rows.values() {
                    index.add(row);
                }
                index
            })
            .collect();
        self
    }

    /// The same rows with only these columns.
    fn project(&self, columns: &[Arc<str>]) -> Self {
        let columns = columns
            .iter()
            .filter_map(|name| {
                let kind = self.layout.types.get(self.layout.position(name)?)?;
                Some((name.clone(), *kind))
            })
            .collect();
        let layout = Arc::new(Layout::new(self.layout.table.clone(), columns));
        let mut table = Self::new(layout);
        table.reserve(self.rows.len());
        for row in self.rows.values() {
            table.insert(row.clone());
        }
        table
    }
}

impl PartialEq for Table {
    /// The same rows.
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

impl Index {
    fn add(&mut self, row: &Row) {
        for atom in row
            .values()
            .get(self.position)
            .map_or(&[][..], Datum::atoms)
        {
            self.add_atom(atom, row.uuid());
        }
        for (key, _) in row
            .values()
            .get(self.position)
            .map_or(&[][..], Datum::pairs)
        {
            self.add_atom(key, row.uuid());
        }
    }

    fn add_atom(&mut self, atom: &Atom, uuid: Uuid) {
        // Most keys name one row.
        self.rows
            .entry(atom.clone())
            .or_insert_with(|| Vec::with_capacity(1))
            .push(uuid);
    }

    fn remove(&mut self, row: &Row) {
        let Some(value) = row.values().get(self.position) else {
            return;
        };
        let keys = value.pairs().iter().map(|(key, _)| key);
        for atom in value.atoms().iter().chain(keys) {
            if let Some(uuids) = self.rows.get_mut(atom) {
                uuids.retain(|uuid| *uuid != row.uuid());
                if uuids.is_empty() {
                    self.rows.remove(atom);
                }
            }
        }
    }
}

fn has(value: &Datum, atom: &Atom) -> bool {
    match value {
        Datum::Set(atoms) => atoms.binary_search(atom).is_ok(),
        Datum::Map(pairs) => pairs.binary_search_by(|pair| pair.0.cmp(atom)).is_ok(),
    }
}

/// The row with the columns of `layout`, empty where it has none.
fn fit(row: &Row, layout: &Arc<Layout>) -> Row {
    let values = layout
        .names
        .iter()
        .zip(&layout.defaults)
        .map(|(name, default)| {
            let value = row
                .layout()
                .position(name)
                .and_then(|position| row.values().get(position));
            value.unwrap_or(default).clone()
        })
        .collect();
    Row::from_parts(layout.clone(), row.uuid(), values)
}
