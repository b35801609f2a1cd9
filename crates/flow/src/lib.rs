//! Decisions and counters make connections: keys, both halves, late arrivals, updates.
//!
//! Pure: time comes with the decisions and with [`Flow::advance`].
#![forbid(unsafe_code)]

use netverdict_types::{Connection, Decision, Timestamp};

/// How much is remembered, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Connections that are open at the same time. When there are more, the one that was silent
    /// longest is told as it stands, and forgotten; that is counted.
    pub connections: usize,
    /// Nanoseconds that a half waits for the other half before it is told: the greatest offset
    /// between two nodes' clocks, and twice the interval of their reports.
    pub window: i64,
    /// Nanoseconds between two updates of a connection that goes on.
    pub interval: i64,
    /// Nanoseconds of silence after which a connection has ended, by what ended it last: see
    /// `docs/connections.md`.
    pub idle: i64,
}

/// The connections that are open.
#[derive(Debug)]
pub struct Flow {
    limits: Limits,
}

impl Flow {
    /// None yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Takes a decision, from any node, in any order within the window.
    pub fn decision(&mut self, _decision: &Decision<'_>) {}

    /// Time has come to `now`: hands over the updates that are due.
    pub fn advance(&mut self, _now: Timestamp, _take: impl FnMut(Connection)) {}

    /// Hands over what is still held back, at the end.
    pub fn finish(&mut self, _take: impl FnMut(Connection)) {}

    /// Its limits.
    pub fn limits(&self) -> Limits {
        self.limits
    }
}
