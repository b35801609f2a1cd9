//! The capture file: samples, revisions, zones, clocks and counters of one recording.
//!
//! `docs/capture-format.md` says every byte. A file is a short head and then [`frame`]s, each a
//! block of compressed records. Each block stands on its own: damage costs the block it hits.

use std::io;

use netverdict_types::{Timestamp, ZoneId};

pub mod frame;
mod read;
mod record;
mod write;

pub use frame::Damage;
pub use read::{Block, Reader};
pub use record::BadRecord;
pub use write::{Options, Writer};

/// The first eight bytes of a capture file.
pub const MAGIC: [u8; 8] = *b"\x89NVCAP\r\n";

/// The version of the format that is written. A reader takes files of this version and older.
pub const VERSION: u16 = 1;

/// One record of a capture.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Record<'a> {
    /// A zone's number, name and node. It comes before the zone's first use in each block, so
    /// the same definition is seen many times.
    Zone(Zone<'a>),
    /// How two clocks stood.
    Clock(Clock),
    /// Rows changed.
    Revision(Revision<'a>),
    /// A packet was seen.
    Sample(netverdict_types::Sample<'a>),
    /// How often something was lost or left out until now.
    Counter(Counter<'a>),
}

/// What a zone's number stands for in this file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Zone<'a> {
    /// The number that the file's other records use.
    pub id: ZoneId,
    /// `NB_Global.name`.
    pub name: &'a str,
    /// The node that observes the zone; empty where it is not known.
    pub node: &'a str,
}

/// The wall clock and the monotonic clock of an observer, read at the same moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Clock {
    /// The observer's zone.
    pub zone: ZoneId,
    /// Its wall clock.
    pub wall: Timestamp,
    /// Nanoseconds of its CLOCK_MONOTONIC: two such records show a wall clock that was set.
    pub monotonic: u64,
}

/// A change of rows, in the words of whoever wrote it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Revision<'a> {
    /// The zone whose rows changed.
    pub zone: ZoneId,
    /// The revision's number, rising within a zone.
    pub number: u64,
    /// When it was seen.
    pub time: Timestamp,
    /// For changes of which only the time span is known: after the first, up to the second.
    pub gap: Option<(Timestamp, Timestamp)>,
    /// The changed rows as JSON. This layer does not read it.
    pub json: &'a [u8],
}

/// A counter's state.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counter<'a> {
    /// The zone it counts for.
    pub zone: ZoneId,
    /// When it was read.
    pub time: Timestamp,
    /// Which counter, as the source names it.
    pub name: &'a str,
    /// Its value since the source started.
    pub value: u64,
}

/// Why a capture cannot be read or written on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file starts with something else.
    #[error(
        "this is not a netverdict capture: its first bytes are {0:02x?}; \
         give a file that `netverdict record` wrote"
    )]
    NotACapture(Vec<u8>),
    /// A newer netverdict wrote it.
    #[error(
        "the capture has format version {0}, and this netverdict reads up to {VERSION}: \
         use a newer netverdict"
    )]
    Newer(u16),
    /// A record is longer than a capture can hold.
    #[error("a {what} of {length} bytes is over the capture's limit of {limit}; split it")]
    TooLong {
        /// What was to be written.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Reading or writing failed.
    #[error("the capture cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

/// What a reader had to leave out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Lost {
    /// Damage between and inside blocks.
    pub frames: Damage,
    /// Blocks with whole checksums that did not decompress.
    pub blocks: u64,
    /// Records that did not decode, in blocks that did.
    pub records: u64,
    /// Records and blocks of kinds that only newer versions know.
    pub unknown: u64,
}

impl Lost {
    /// True when nothing was left out.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Kind of the frames that hold records.
const BLOCK: u8 = 1;
/// Length of the file's head: magic, version, six bytes for later use.
const HEAD: usize = 16;
/// A block is closed when its records reach this many bytes.
const BLOCK_TARGET: usize = 256 << 10;
/// The most bytes of records that a block may hold; a single long revision fills one.
const BLOCK_MAX: usize = 256 << 20;
/// The most bytes of one packet that are kept.
const DATA_MAX: usize = 256 << 10;
/// The longest name.
const NAME_MAX: usize = 4 << 10;

#[cfg(test)]
mod tests;
