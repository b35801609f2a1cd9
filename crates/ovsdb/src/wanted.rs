//! What a reader wants of a database, and what of it a server does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::replica::Layout;
use crate::schema::Schema;

/// The tables and columns to ask for. Only those of them that the server's schema has are asked
/// for; the rest is told in [`Missing`].
///
/// ```
/// use netverdict_ovsdb::Wanted;
///
/// let wanted = Wanted::new()
///     .table("Bridge", ["name", "ports"])
///     .table("Port", ["name"])
///     .index("Port", "name");
/// # assert!(wanted.names("Port"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    tables: BTreeMap<String, Table>,
    everything: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    /// `None` for all that there are.
    columns: Option<BTreeSet<String>>,
    indexes: BTreeSet<String>,
}

/// What was wanted and the server, or the dump, does not have: with it a caller can say what it
/// cannot know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// The tables.
    pub tables: BTreeSet<String>,
    /// The columns of tables that are there, as (table, column).
    pub columns: BTreeSet<(String, String)>,
}

impl Wanted {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every column of every table.
    pub fn everything() -> Self {
        Self {
            everything: true,
            ..Self::default()
        }
    }

    /// Adds columns of a table.
    #[must_use]
    pub fn table<'a>(mut self, table: &str, columns: impl IntoIterator<Item = &'a str>) -> Self {
        self.tables
            .entry(table.to_owned())
            .or_insert_with(|| Table {
                columns: Some(BTreeSet::new()),
                ..Table::default()
            })
            .columns
            .get_or_insert_default()
            .extend(columns.into_iter().map(str::to_owned));
        self
    }

    /// Adds every column of a table.
    #[must_use]
    pub fn whole_table(mut self, table: &str) -> Self {
        self.tables.entry(table.to_owned()).or_default().columns = None;
        self
    }

    /// Keeps an index on a column, so that [`Table::find`](crate::Table::find) need not look at
    /// each row. The column is asked for as well.
    #[must_use]
    pub fn index(self, table: &str, column: &str) -> Self {
        let whole = self.everything
            || self
                .tables
                .get(table)
                .is_some_and(|table| table.columns.is_none());
        let mut wanted = if whole {
            self
        } else {
            self.table(table, [column])
        };
        wanted
            .tables
            .entry(table.to_owned())
            .or_default()
            .indexes
            .insert(column.to_owned());
        wanted
    }

    /// Everything that either of two wants.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.everything |= other.everything;
        for (name, theirs) in &other.tables {
            let Some(ours) = self.tables.get_mut(name) else {
                self.tables.insert(name.clone(), theirs.clone());
                continue;
            };
            ours.indexes.extend(theirs.indexes.iter().cloned());
            match (&mut ours.columns, &theirs.columns) {
                (Some(ours), Some(theirs)) => ours.extend(theirs.iter().cloned()),
                (ours, _) => *ours = None,
            }
        }
        self
    }

    /// True if anything of `table` is wanted.
    pub fn names(&self, table: &str) -> bool {
        self.everything || self.tables.contains_key(table)
    }

    /// The same for equal wants and for no others, from run to run.
    pub(crate) fn fingerprint(&self) -> String {
        let mut text = String::from(if self.everything { "all" } else { "" });
        for (name, table) in &self.tables {
            text.push_str(&format!("\n{name}"));
            match &table.columns {
                Some(columns) => columns.iter().for_each(|column| {
                    text.push('.');
                    text.push_str(column);
                }),
                None => text.push('*'),
            }
        }
        text
    }

    pub(crate) fn indexes(&self, table: &str) -> impl Iterator<Item = &str> {
        self.tables
            .get(table)
            .into_iter()
            .flat_map(|table| table.indexes.iter().map(String::as_str))
    }

    /// The columns of `table` that are wanted, of those that there are.
    pub(crate) fn columns<'a>(
        &self,
        table: &str,
        there: impl Iterator<Item = &'a Arc<str>>,
    ) -> Vec<Arc<str>> {
        let wanted = self.tables.get(table);
        there
            .filter(|column| {
                self.everything
                    || wanted.is_some_and(|table| match &table.columns {
                        Some(columns) => columns.contains(column.as_ref()),
                        None => true,
                    })
            })
            .cloned()
            .collect()
    }

    /// What of this is not there, told of the tables and columns that are.
    pub(crate) fn missing(
        &self,
        has_table: impl Fn(&str) -> bool,
        has_column: impl Fn(&str, &str) -> bool,
    ) -> Missing {
        let mut missing = Missing::default();
        for (name, table) in &self.tables {
            if !has_table(name) {
                missing.tables.insert(name.clone());
                continue;
            }
            let columns = table.columns.iter().flatten().chain(&table.indexes);
            for column in columns.filter(|column| !has_column(name, column)) {
                missing.columns.insert((name.clone(), column.clone()));
            }
        }
        missing
    }

    /// The tables to ask a server with this schema for.
    pub(crate) fn layouts(&self, schema: &Schema) -> Vec<Arc<Layout>> {
        schema
            .tables
            .iter()
            .filter(|(name, _)| self.names(name))
            .map(|(name, table)| {
                let columns = self
                    .columns(name, table.columns.keys())
                    .into_iter()
                    .filter_map(|column| {
                        let kind = *table.columns.get(&column)?;
                        Some((column, Some(kind)))
                    })
                    .collect();
                Arc::new(Layout::new(name.clone(), columns))
            })
            .collect()
    }

    pub(crate) fn missing_from(&self, schema: &Schema) -> Missing {
        self.missing(
            |table| schema.tables.contains_key(table),
            |table, column| {
                schema
                    .tables
                    .get(table)
                    .is_some_and(|table| table.columns.contains_key(column))
            },
        )
    }
}

impl Missing {
    /// True if nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.columns.is_empty()
    }

    /// True if the table, or this column of it, is missing.
    pub fn has(&self, table: &str, column: &str) -> bool {
        self.tables.contains(table)
            || self
                .columns
                .contains(&(table.to_owned(), column.to_owned()))
    }
}

impl fmt::Display for Missing {
    /// `table A, column B.c`, or `nothing`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        let tables = self.tables.iter().map(|table| format!("table {table}"));
        let columns = self
            .columns
            .iter()
            .map(|(table, column)| format!("column {table}.{column}"));
        f.write_str(&tables.chain(columns).collect::<Vec<_>>().join(", "))
    }
}
