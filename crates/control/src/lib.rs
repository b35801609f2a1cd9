//! Everything that writes to OVN and Open vSwitch.
//!
//! A planner is a pure function: the rows that are there and what is wanted give a [`Plan`], the
//! smallest set of changes, with its steps in words, its transaction and its inverse. Nothing is
//! written but by [`commit`].
//!
//! ```no_run
//! # async fn example(nb: &mut netverdict_ovsdb::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use netverdict_control::{Wish, commit, enable};
//!
//! let plan = enable(nb.sync().await?, &Wish::default())?;
//! for step in plan.steps() {
//!     println!("{step}");
//! }
//! let inverse = commit(nb, &plan).await?;
//! println!("{}", inverse.script(&[]));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod apply;
mod commit;
mod disable;
mod enable;
mod feature;
mod northbound;
mod plan;
mod script;
mod share;
mod status;
mod vswitch;
mod wanted;

pub use apply::{APPLY_OWNER, ApplyError, Terms, applied, apply, subject};
pub use commit::{CommitError, commit};
pub use disable::disable;
pub use enable::{Compat, EnableError, Wish, enable};
pub use feature::{Feature, UnknownFeature};
pub use plan::{Edit, Plan};
pub use share::{Rates, Share, ShareError};
pub use status::{
    Collector, CollectorSet, Flows, Node, Policy, Problem, ProblemKind, Sampled, Status, status,
};
pub use vswitch::{VswitchError, VswitchWish, disable_vswitch, enable_vswitch};
pub use wanted::wanted;

/// The key of `external_ids` that marks a row as made by netverdict, with [`OWNER`].
pub const OWNER_KEY: &str = "netverdict.io/owner";
/// The value under [`OWNER_KEY`].
pub const OWNER: &str = "netverdict";
/// The collector set that ovn-kubernetes uses (`DefaultObservabilityCollectorSetID`), and so do
/// we unless told otherwise.
pub const DEFAULT_SET: u32 = 42;
