//! Connections in ClickHouse, for more than one machine.
#![forbid(unsafe_code)]
