//! What is asked of many records: which rows, or which groups, in which order.

use netverdict_types::Timestamp;

use crate::field::Field;
use crate::plan::Plan;

/// A question to a store, or to a live record: the same answer everywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Records that overlap this time: they ended at or after `since` and began before `until`.
    pub since: Timestamp,
    /// See `since`.
    pub until: Timestamp,
    /// Which of them.
    pub filter: Plan,
    /// What to tell of them.
    pub want: Want,
}

/// What to tell of the records that match.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// The records themselves, newest end first (ties: greater id first).
    Rows {
        /// At most this many.
        limit: usize,
        /// Those behind this one in that order.
        after: Option<Cursor>,
    },
    /// One line for each combination of values.
    Groups(Groups),
}

/// Groups of records.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// Fields whose values make a group; a missing value is a value of its own. Policy fields
    /// without a direction give one group for each half that has a ruling.
    pub by: Vec<Field>,
    /// Groups by time too: buckets of this many nanoseconds since the epoch, by the record's end.
    pub every: Option<i64>,
    /// What is told of each group.
    pub measures: Vec<Measure>,
    /// Order: by this measure (index), else by the group's values.
    pub order: Option<(usize, Order)>,
    /// At most this many groups; with `every`, this many for each bucket.
    pub top: usize,
}

/// A number for a group.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Measure {
    /// How many records.
    Count,
    /// The sum of a field of numbers.
    Sum(Field),
    /// The least of a field of numbers or times.
    Min(Field),
    /// The greatest.
    Max(Field),
    /// How many different values.
    Distinct(Field),
}

/// A direction of order.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Order {
    /// Least first.
    Ascending,
    /// Greatest first.
    Descending,
}

/// A place in the order of rows, opaque to those who carry it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Cursor {
    /// The row's end.
    pub end: Timestamp,
    /// The row's id.
    pub id: u128,
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What stands in each column of [`lines`](Self::lines).
    pub columns: Vec<String>,
    /// The lines, in the order asked for. Of groups: the bucket's start if there are buckets, the
    /// values, the measures. Of rows: the fields of a connection.
    pub lines: Vec<Vec<Cell>>,
    /// Where to go on, if rows were asked for and there are more.
    pub next: Option<Cursor>,
    /// How many groups there were, those beyond `top` among them.
    pub total: u64,
}

/// A value that outlives its record.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Cell {
    /// See [`Value::Missing`](crate::Value::Missing).
    Missing,
    /// See [`Value::Bool`](crate::Value::Bool).
    Bool(bool),
    /// See [`Value::Number`](crate::Value::Number).
    Number(i64),
    /// See [`Value::Text`](crate::Value::Text).
    Text(Box<str>),
    /// See [`Value::Ip`](crate::Value::Ip); IPv4 before IPv6.
    Ip(std::net::IpAddr),
    /// See [`Value::Uuid`](crate::Value::Uuid).
    Uuid(uuid::Uuid),
}
