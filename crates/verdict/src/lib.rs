//! Sample and history make a decision.
//!
//! [`Resolver::resolve`] takes a sample, the [`netverdict_history::History`] of ACLs and the
//! [`Names`] of addresses, and gives a [`netverdict_types::Decision`] without allocating.
#![forbid(unsafe_code)]

mod connections;
mod contents;
mod doubles;
pub mod explain;
mod fix;
mod matrix;
mod names;
mod near;
mod reach;
mod resolver;
mod rivals;

pub use fix::{Fix, Opened, Part, best_fix, container_ports, document, northbounds, zone_rows};
pub use matrix::{Change, Class, Matrix, Service, Share, Slot, Space, changes};
pub use names::{Endpoints, NameChange, Names, Place};
pub use near::{
    Ask, Denial, End, Failing, Isolating, LabelTerm, Near, NearMiss, Objects, RuleId, Term,
    Transport,
};
pub use reach::{Decided, Reach, RowMiss, Seat, Spot, Way};
pub use resolver::{Counts, Resolver};
