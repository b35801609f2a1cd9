//! Samples and flow counters out of the kernel, by eBPF.
//!
//! Programs in the kernel add up what `psample` samples, for each flow and cookie, and what goes
//! through chosen interfaces, for each flow; [`Probe::drain`] takes the sums. No packet is copied.
//!
//! Everything here compiles without the feature `load`; then [`Probe::attach`] answers
//! [`Error::NotBuilt`].

mod counts;
mod error;
mod event;
mod options;
mod probe;

pub use counts::{Counts, Drained};
pub use error::{Capability, Error};
pub use event::{Conntrack, Event, FlowCount, Heading, Sink, Tuple};
pub use options::{Interfaces, Options, Watched, WatchedError};
pub use probe::Probe;
