//! OVN northbound and southbound rows, identifiers, names and owners.
//!
//! Rows are the only input about policy. They come from a live database, a dump or a compiler,
//! and the code after them never asks which.
#![forbid(unsafe_code)]

pub mod expr;
pub mod ids;
mod owner;
pub mod revision;
mod rows;
mod version;
mod wanted;

pub use owner::owner;
pub use rows::{
    Acl, DatapathBinding, Interface, LoadBalancer, LogicalFlow, LogicalRouter, LogicalRouterPort,
    LogicalSwitch, LogicalSwitchPort, NbGlobal, PortGroup, RowError, Sample, SampleCollector,
    SamplingApp, Vip,
};
pub use version::Version;
pub use wanted::{Database, sampling};
