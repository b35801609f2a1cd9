//! Services: their load balancers, and the groups by which switches and routers have them.

use super::Context;
use super::zone::{CLUSTER_GROUP, ROUTER_GROUP, SWITCH_GROUP};
use crate::row::{Row, Table};

/// The groups by which switches and gateway routers have load balancers.
pub(super) fn compile_groups(cx: &mut Context<'_>) {
    for group in [CLUSTER_GROUP, SWITCH_GROUP, ROUTER_GROUP] {
        cx.put(Row::new(Table::LoadBalancerGroup, group).with("name", group));
    }
}
