//! The shared words of netverdict: zones, samples, decisions, owners, and their JSON.
//!
//! Two seams carry the whole: *rows* are the only input about policy, and a [`Sample`] is the
//! only input about packets. A [`Decision`] is a sample that was resolved against the rows of
//! its time.
#![forbid(unsafe_code)]

mod acl;
mod causes;
mod connection;
mod decision;
mod endpoint;
mod json;
mod packet;
mod sample;
mod time;

pub use acl::{Acl, AclRow, Action, Direction, Fact, Owner, OwnerKind, Pipeline, Rule, Verdict};
pub use causes::causes;
pub use connection::{
    Change, Connection, ConnectionId, Counts, Estimate, Half, Ruling, Socket, Tally,
};
pub use decision::{Candidates, Decision, DropFlow, End, Evidence, Unresolved};
pub use endpoint::{Endpoint, EndpointKind, Service};
pub use packet::{Headers, IcmpKind, TcpFlags, protocol_name};
pub use sample::{
    App, Cookie, Input, Key, LogDirection, LogVerdict, Origin, Probability, Sample, ZoneId,
};
pub use time::{Clock, SystemClock, Timestamp};
