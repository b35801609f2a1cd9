//! What changes in a replica.

use std::sync::Arc;

use uuid::Uuid;

use crate::row::Row;

/// One row inserted (`old` is `None`), deleted (`new` is `None`) or modified (both are there and
/// differ).
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The table's name.
    pub table: Arc<str>,
    /// The row's identity.
    pub uuid: Uuid,
    /// The row before.
    pub old: Option<Row>,
    /// The row after.
    pub new: Option<Row>,
}

/// The rows that one step of the database changed, each at most once.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeSet {
    /// When this side learned of it, in nanoseconds since 1970-01-01 UTC.
    pub time: i64,
    /// What the step was.
    pub cause: Cause,
    /// The transaction after which the database looked like this, if the server names them
    /// (`update3` and `monitor_cond_since` of ovsdb-server(7) do).
    pub transaction: Option<Uuid>,
    /// The rows; none is possible after a gap.
    pub changes: Vec<Change>,
}

/// Why a [`ChangeSet`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The contents, all of them inserted, when nothing was known before.
    Initial,
    /// The contents as a replica kept on disk holds them; they were in sync at `as_of`
    /// (nanoseconds since 1970). A gap follows once the server has been asked, unless it says
    /// that nothing happened.
    Restored {
        /// When the kept replica was last known to be in sync.
        as_of: i64,
    },
    /// One transaction. A server that cannot send as fast as transactions are committed joins
    /// several into one update; a client cannot tell.
    Transaction,
    /// Several transactions that were missed, as the difference between the contents before and
    /// after; their order, number and what they undid again is not known.
    Gap {
        /// When the replica was last known to be in sync, in nanoseconds since 1970.
        from: i64,
        /// When it was in sync again.
        to: i64,
    },
}
