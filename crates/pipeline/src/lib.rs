//! The twin: OVN's ACL pipeline in the process.
//!
//! [`Northbound`] is what the rows of one zone say. From it come the [`flow`]s of the ACL stages, as ovn-northd writes them, and two ways to run
//! packets through those stages: [`walk`] reads the flows themselves and shows each step, [`decide`] has them compiled, with a [`cache`] before it. Both are a [`Stages`],
//! and [`journey`] takes a packet through them: over load balancers, switches, routers and zones, with a conntrack for each port.
//!
//! The judge is OVN: northd for the flows, `ovn-trace` for the verdicts, Open vSwitch for the samples.
#![forbid(unsafe_code)]

pub mod actions;
mod balance;
pub mod cache;
mod classifier;
pub mod conntrack;
pub mod decide;
pub mod emit;
mod event;
pub mod flow;
pub mod journey;
mod northbound;
pub mod openflow;
mod packet;
mod route;
mod stage;
mod state;
pub mod walk;

pub use event::{At, Ignore, Logged, Observer, Sampled, Step};
pub use northbound::{AclRow, Local, Lport, Meter, Northbound, Port, Switch, SwitchId, Touched};
pub use packet::{L4, Packet, PacketError, Tuple};
pub use stage::{Block, Fate, Stage, Stages};
pub use state::{CtView, State, View};
