//! Live inputs: psample netlink, IPFIX, ACL log, conntrack, datapath flows, captures.
//!
//! Each source runs on a thread of its own, waits for its input without polling, and sends
//! batches of samples through one bounded [`channel`] to the one reader. What is lost or left
//! out is counted by name ([`Counts`]).

pub mod acl_log;
mod batch;
pub mod capture;
pub mod conntrack;
mod count;
pub mod datapath;
pub mod ipfix;
pub mod kubernetes;
pub mod manifests;
pub mod objects;
pub mod psample;
pub mod psample_unix;
mod receive;
mod socket;
mod stop;
mod sys;

pub use batch::{Batch, Receiver, Sender, channel};
pub use count::{Count, Counts};
pub use socket::ReceiveBuffer;
pub use stop::Stop;
