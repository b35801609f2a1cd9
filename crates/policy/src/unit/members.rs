//! What pods are to policies: ports in groups, addresses in sets.

use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use super::Context;
use super::network::Network;
use crate::cluster::PodView;
use crate::options::{Compat, Options};
use crate::row::Table;
use crate::selector::{Namespaces, Selection};

/// The ports of pods by zone, in the order of the pods.
pub(crate) fn ports(network: &Network, pods: &[&PodView]) -> Vec<(Arc<str>, Uuid)> {
    pods.iter()
        .filter(|pod| pod.has_switch() && network.has_port(pod))
        .map(|pod| {
            let port = network.port(pod.namespace(), pod.name());
            (pod.zone().clone(), Table::LogicalSwitchPort.uuid(&port))
        })
        .collect()
}

/// The addresses at which a pod is a peer, of the families that the cluster has.
///
/// The API leaves open what a selector means for pods of the host's network. ovn-kubernetes takes
/// them as peers unless in legacy mode; in strict mode they never are, since their address is
/// that of everything on their node.
pub(crate) fn addresses(
    network: &Network,
    pod: &PodView,
    legacy: bool,
    options: &Options,
) -> Vec<IpAddr> {
    let spec = pod.spec();
    let without_hosts = legacy || options.compat == Compat::Strict;
    if spec.completed || (spec.host_network && without_hosts) {
        return Vec::new();
    }
    let mut addresses = network.addresses(pod);
    addresses.retain(|address| has_family(options, address.is_ipv6()));
    addresses
}

/// True if the cluster has addresses of this family; IPv4 if it tells of none.
pub(crate) fn has_family(options: &Options, v6: bool) -> bool {
    if v6 {
        options.has_v6()
    } else {
        options.has_v4() || !options.has_v6()
    }
}

/// All pods of a namespace.
pub(crate) fn all_of(namespace: &Arc<str>) -> Selection {
    let namespaces = Namespaces::Named(namespace.clone());
    Selection::new(namespaces, Some(netverdict_manifest::Selector::default()))
}

impl Context<'_> {
    /// The terms for the cluster's families, joined.
    pub(crate) fn by_family(&self, v4: &str, v6: &str) -> String {
        let families = (
            has_family(self.options, false),
            has_family(self.options, true),
        );
        match families {
            (true, true) => format!("({v4} || {v6})"),
            (false, true) => v6.to_owned(),
            _ => v4.to_owned(),
        }
    }
}
