//! Kubernetes objects to the northbound rows that ovn-kubernetes makes of them, with the way back
//! from each row to file, line and rule.
//!
//! A [`Compiler`] is told which objects are there and which change. It compiles in *units*: a
//! policy, the isolation of a namespace, the addresses behind a selector, a node, a pod. A unit
//! tells what it read, so that a change compiles again just those that read what changed.
#![forbid(unsafe_code)]

mod acl;
mod assume;
mod cluster;
mod compiler;
mod cover;
mod options;
mod ports;
mod row;
mod row_json;
mod selector;
mod unit;

pub use assume::{Assumed, assume, cluster_subnets};
pub use compiler::{Compiler, Delta, RowChange};
pub use options::{Compat, Options};
pub use row::{Origin, Row, Scope, Table};
pub use row_json::Names;
pub use unit::node::host_addresses;
