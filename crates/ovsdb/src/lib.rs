//! An OVSDB client (RFC 7047 and the monitor extensions of Open vSwitch) with a replica.
#![forbid(unsafe_code)]

mod value;

pub use value::{Atom, Columns, Datum};
