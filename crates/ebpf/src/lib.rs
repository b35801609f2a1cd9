//! Samples and flow counters out of the kernel, by eBPF.
//!
//! Programs in the kernel add up what `psample` samples, for each flow and cookie, and what goes
//! through chosen interfaces, for each flow; [`Probe::drain`] takes the sums. No packet is copied.
//!
//! Everything here compiles without the feature `load`; then [`Probe::attach`] answers
//! [`Error::NotBuilt`].
#![cfg_attr(not(feature = "load"), forbid(unsafe_code))]

mod counts;
mod error;
mod event;
#[cfg(feature = "load")]
mod kernel;
mod options;
#[cfg_attr(not(feature = "load"), path = "without.rs")]
mod probe;

pub use counts::{Counts, Drained};
pub use error::{Capability, Error};
pub use event::{Conntrack, Event, FlowCount, Heading, Sink, Tuple};
pub use options::{Interfaces, Options, Watched, WatchedError};
pub use probe::Probe;
