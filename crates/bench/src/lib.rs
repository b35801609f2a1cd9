//! The figures of netverdict, and what they are measured on.
//!
//! `make bench [ONLY=NAME]` prints them, one `bench NAME VALUE UNIT` a line.

pub mod alloc;
pub mod cluster;
pub mod connections;
pub mod speakers;
pub mod traffic;
pub mod zone;
