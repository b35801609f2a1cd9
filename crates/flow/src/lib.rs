//! Decisions and counters make connections: keys, both halves, late arrivals, updates.
//!
//! Pure: time comes with the decisions and with [`Flow::advance`]. `docs/flow.md` says how halves
//! find each other, what is counted, and what happens when memory is short.
#![forbid(unsafe_code)]

mod counting;
mod flow;
mod intern;
mod key;
mod packet;
mod report;
mod slab;

pub use flow::{Counts, Flow, Limits};
