//! Connections over time: what every engine keeps, and in which shape.
//!
//! A [`Store`] takes batches of updates and answers [`Ask`]s. Engines differ in scale, never in
//! answers.
#![forbid(unsafe_code)]

mod columns;
#[cfg(any(test, feature = "judge"))]
pub mod judge;
mod row;
mod ruling;
mod schema;

pub use columns::{Place, index, ip_from_bytes, ip_ranges, ip_to_bytes, place};
pub use row::{RowError, connection, rest};
pub use ruling::{HalfJson, RulingJson};
pub use schema::{COLUMNS, Column, From, Type};

use std::ops::Range;

use futures_util::future::BoxFuture;
use netverdict_query::ask::{Answer, Ask, AskError};
use netverdict_types::{Connection, Timestamp};

/// Updates that are kept all or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Who wrote it: an agent, or the server itself. Not empty.
    pub writer: String,
    /// Counts up for each writer. A batch whose number is not greater than the last that was
    /// kept of that writer is acknowledged and not kept again.
    pub number: u64,
    /// The updates.
    pub rows: Vec<Connection>,
}

/// Where connections are kept.
pub trait Store: Send + Sync {
    /// Keeps a batch. When the future is done without an error the batch is there after any
    /// crash, once. While the engine cannot keep up, or its disk is full, the future waits.
    ///
    /// # Errors
    /// [`StoreError`]: nothing of the batch was kept, or it is not known whether; sending it
    /// again is safe.
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Answers a question over all that was acknowledged.
    ///
    /// # Errors
    /// [`StoreError`].
    fn ask<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Answer, StoreError>>;

    /// Whole connections, updates folded, newest first as [`Want::Rows`] orders them: `ask.want`
    /// must be rows.
    ///
    /// [`Want::Rows`]: netverdict_query::ask::Want::Rows
    ///
    /// # Errors
    /// [`StoreError`].
    fn connections<'a>(
        &'a self,
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Connection>, StoreError>>;

    /// The number of the last batch that was kept of a writer: where it goes on.
    ///
    /// # Errors
    /// [`StoreError`].
    fn last<'a>(&'a self, writer: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>>;

    /// How it stands.
    fn state(&self) -> BoxFuture<'_, Result<State, StoreError>>;
}

/// How a store stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Rows kept, updates counted one by one.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// The time that its connections span.
    pub span: Option<Range<Timestamp>>,
    /// Rows that retention removed ever, where the engine counts them.
    pub removed: u64,
    /// What was lost or set aside, by its name.
    pub losses: Vec<(&'static str, u64)>,
    /// Why appends wait, while they do.
    pub blocked: Option<String>,
}

/// Why a store did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The question is not one that can be answered; the asker is at fault.
    #[error("the question cannot be answered: {0}")]
    Ask(#[from] AskError),
    /// The engine failed; `what` says at what and where.
    #[error("{what}")]
    Engine {
        /// What it did, to which object.
        what: String,
        /// Why it failed.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It was closed.
    #[error("the store is closed")]
    Closed,
}
