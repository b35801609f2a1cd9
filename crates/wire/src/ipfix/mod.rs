//! IPFIX messages (RFC 7011) as Open vSwitch emits them (ovs ofproto/ofproto-dpif-ipfix.c).
//!
//! A [`Decoder`] keeps the templates of each exporter and turns data records into samples. An
//! [`Exporter`] writes what Open vSwitch would.

mod cache;
mod decode;
mod encode;
mod plan;
mod sequence;
mod template;

pub use cache::{CacheOptions, CachingExporter};
pub use decode::{Counters, Decoder, ExporterStats, Limits};
pub use encode::{Exporter, Interface, Record, TunnelEnds};
pub use template::{Field, Layer4, TemplateKind, VARIABLE_LENGTH, VMWARE};

/// Version number of IPFIX in the message header (RFC 7011 section 3.1).
pub const VERSION: u16 = 10;
/// The UDP port that IANA has given to IPFIX.
pub const PORT: u16 = 4739;

const MESSAGE_HEADER: usize = 16;
const SET_HEADER: usize = 4;
const SET_TEMPLATE: u16 = 2;
const SET_OPTIONS_TEMPLATE: u16 = 3;
/// The first number of a data set, and so of a template (RFC 7011 section 3.4.1).
const FIRST_TEMPLATE: u16 = 256;

fn u16_at(bytes: &[u8], place: usize) -> Option<u16> {
    bytes
        .get(place..)?
        .first_chunk()
        .copied()
        .map(u16::from_be_bytes)
}

fn u32_at(bytes: &[u8], place: usize) -> Option<u32> {
    bytes
        .get(place..)?
        .first_chunk()
        .copied()
        .map(u32::from_be_bytes)
}
