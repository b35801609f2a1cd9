//! Rows.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::schema::ColumnType;
use crate::value::{Columns, Datum};

/// A row of a table as it was at one time. A clone shares the contents.
#[derive(Clone)]
pub struct Row(Arc<Inner>);

struct Inner {
    layout: Arc<Layout>,
    uuid: Uuid,
    values: Box<[Datum]>,
}

/// The columns that the rows of a table hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) table: Arc<str>,
    /// Sorted.
    pub(crate) names: Box<[Arc<str>]>,
    /// As many as names; `None` where no schema told.
    pub(crate) types: Box<[Option<ColumnType>]>,
    /// As many as names.
    pub(crate) defaults: Box<[Datum]>,
}

impl Row {
    /// A row made by hand, for tests and for rows that no server holds.
    ///
    /// ```
    /// use netverdict_ovsdb::{Columns, Datum, Row};
    ///
    /// let row = Row::new("Bridge", uuid::Uuid::nil(), [("name", Datum::from("br-int"))]);
    /// assert_eq!(row.text("name"), Some("br-int"));
    /// ```
    pub fn new<'a>(
        table: &str,
        uuid: Uuid,
        columns: impl IntoIterator<Item = (&'a str, Datum)>,
    ) -> Self {
        let mut columns: Vec<_> = columns.into_iter().collect();
        columns.sort_by(|a, b| a.0.cmp(b.0));
        columns.dedup_by(|later, first| later.0 == first.0);
        let layout = Layout::new(
            table.into(),
            columns
                .iter()
                .map(|(name, _)| (Arc::from(*name), None))
                .collect(),
        );
        let values = columns.into_iter().map(|(_, value)| value).collect();
        Self::from_parts(Arc::new(layout), uuid, values)
    }

    /// The name of the row's table.
    pub fn table(&self) -> &str {
        &self.0.layout.table
    }

    /// The row's identity (`_uuid`).
    pub fn uuid(&self) -> Uuid {
        self.0.uuid
    }

    /// The columns that are held, sorted by name.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = (&str, &Datum)> {
        let names = self.0.layout.names.iter();
        names.map(AsRef::as_ref).zip(self.0.values.iter())
    }

    pub(crate) fn from_parts(layout: Arc<Layout>, uuid: Uuid, values: Box<[Datum]>) -> Self {
        debug_assert_eq!(layout.names.len(), values.len());
        Self(Arc::new(Inner {
            layout,
            uuid,
            values,
        }))
    }

    pub(crate) fn layout(&self) -> &Arc<Layout> {
        &self.0.layout
    }

    pub(crate) fn values(&self) -> &[Datum] {
        &self.0.values
    }
}

impl Columns for Row {
    fn column(&self, name: &str) -> Option<&Datum> {
        self.0.values.get(self.0.layout.position(name)?)
    }
}

impl PartialEq for Row {
    /// The same identity, the same columns, the same values.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.uuid() == other.uuid()
                && (Arc::ptr_eq(&self.0.layout, &other.0.layout)
                    || (self.0.layout.table == other.0.layout.table
                        && self.0.layout.names == other.0.layout.names))
                && self.0.values == other.0.values)
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.table(), self.uuid())?;
        f.debug_map().entries(self.columns()).finish()
    }
}

impl Layout {
    /// `columns` must be sorted by name.
    pub(crate) fn new(table: Arc<str>, columns: Vec<(Arc<str>, Option<ColumnType>)>) -> Self {
        debug_assert!(columns.is_sorted_by(|a, b| a.0 < b.0));
        let (names, types): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let defaults = types
            .iter()
            .map(|kind: &Option<ColumnType>| match kind {
                Some(kind) => kind.default_value(),
                None => Datum::empty(),
            })
            .collect();
        Self {
            table,
            names: names.into(),
            types: types.into(),
            defaults,
        }
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.names
            .binary_search_by(|column| column.as_ref().cmp(name))
            .ok()
    }
}
