//! Sample and history make a decision.
//!
//! [`Resolver::resolve`] takes a sample, the [`netverdict_history::History`] of ACLs and the
//! [`Names`] of addresses, and gives a [`netverdict_types::Decision`] without allocating.
#![forbid(unsafe_code)]

mod connections;
mod doubles;
mod names;
mod resolver;

pub use names::{Endpoints, NameChange, Names, Place};
pub use resolver::{Counts, Resolver};
