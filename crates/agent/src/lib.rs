//! What runs on each node beside the judging of samples: reports, kept on disk until a server has
//! them.
#![forbid(unsafe_code)]

mod clock;
mod drain;
mod join;
mod sender;
mod spool;
mod status;

pub use clock::Offset;
pub use drain::Interval;
pub use join::{Counted, DecisionPart, FlowKey, FlowPart, Join, JoinCounts, JoinLimits, Record};
pub use sender::{SendError, Sender, SenderOptions, State, TlsFiles};
pub use spool::{Position, Report, Spool, SpoolCounts, SpoolError};
pub use status::{Page, Status};
