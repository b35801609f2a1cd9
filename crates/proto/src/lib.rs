//! What agents and servers say to each other: `proto/netverdict/v1/collector.proto`, and how a
//! decision stands in it.
//!
//! A report stands for itself: what its decisions refer to is in it once, and they name it by
//! number. So a report can be kept as it is, and sent to another server than the last one.
#![forbid(unsafe_code)]

mod read;
mod words;
mod write;

pub use read::{Facts, Received};
pub use write::Writer;

/// The messages, and both ends of the service, as made from the .proto file.
#[allow(
    missing_docs,
    clippy::all,
    clippy::unwrap_used,
    reason = "the .proto file documents them"
)]
pub mod v1 {
    include!("generated.rs");
}

/// The largest message that is taken, in bytes. A report is cut long before.
pub const LARGEST: usize = 16 << 20;

impl v1::Report {
    /// Reads a report's bytes; `None` for what is none.
    pub fn decode_bytes(bytes: &[u8]) -> Option<Self> {
        prost::Message::decode(bytes).ok()
    }
}
