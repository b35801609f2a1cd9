//! Recorded connections judged again under other policies.
//!
//! Connections are [taken](Recorded::take) one by one and counted by who spoke to whom. Then each
//! such pair is judged once by the ACLs of before and once by those of after:
//!
//! ```
//! # use netverdict_verdict::Reach;
//! use netverdict_whatif::{Recorded, whatif};
//!
//! # let (zones, connections) = (Vec::new(), Vec::<netverdict_types::Connection>::new());
//! let mut recorded = Recorded::default();
//! recorded.take(&connections);
//! let (before, after) = (Reach::new(&zones), Reach::new(&zones));
//! let report = whatif(&recorded.pairs(), &before, &after);
//! assert!(report.changes.is_empty());
//! ```
#![forbid(unsafe_code)]

mod judge;
mod recorded;

pub use judge::{Change, Report, Unjudged, Unknown, whatif};
pub use recorded::{End, Pair, Recorded, Seen};
