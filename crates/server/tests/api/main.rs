//! A server with a store of random connections, asked over real HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "../../../source/tests/kubernetes/server.rs"]
mod api_server;
mod exports;
mod kubernetes;
mod metrics;
mod questions;
mod security;
mod streams;
mod support;
mod wrong;
