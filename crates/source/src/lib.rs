//! Live inputs: psample netlink, IPFIX, ACL log, conntrack, datapath flows, captures.
//!
//! A source runs on a thread of its own, waits for the kernel and never polls, so that it costs
//! nothing while nothing happens. It does not decode: it puts what it received into [`Batch`]es
//! of raw bytes, and the one thread that resolves turns them into samples with the codecs of
//! `netverdict-wire`. Batches are used again, so that a busy source allocates nothing.

mod batch;

pub use batch::{Batch, Closed, Content, Losses, Outlet, Stop};
