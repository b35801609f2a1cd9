//! A server with a store of random connections, asked over real HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod exports;
mod metrics;
mod questions;
mod security;
mod streams;
mod support;
mod wrong;
