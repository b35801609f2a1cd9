//! What pods are to policies: ports in groups, addresses in sets.

use std::net::IpAddr;
use std::sync::Arc;

use netverdict_manifest::{Cidr, Selector};
use uuid::Uuid;

use super::network::Network;
use crate::cluster::PodView;
use crate::options::{Compat, Options};
use crate::row::Table;
use crate::selector::{Namespaces, Selection};

/// The ports of pods by zone, in the order of the pods.
pub(crate) fn ports(network: &Network, pods: &[&PodView]) -> Vec<(Arc<str>, Uuid)> {
    pods.iter()
        .filter(|pod| network.has_port(pod))
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
    let families = Families::of(network, options);
    let mut addresses = network.addresses(pod);
    addresses.retain(|address| families.has(address.is_ipv6()));
    addresses
}

/// The address families of a network.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    /// Those of its subnets; IPv4 if it has none.
    pub(crate) fn of(network: &Network, options: &Options) -> Self {
        let subnets = network.subnets(options);
        let v6 = subnets.iter().any(Cidr::is_v6);
        Self {
            v4: !v6 || subnets.iter().any(|subnet| !subnet.is_v6()),
            v6,
        }
    }

    /// Those of the default network.
    pub(crate) fn of_cluster(options: &Options) -> Self {
        Self::of(&Network::default_network(), options)
    }

    /// True if this is one of them.
    pub(crate) fn has(self, v6: bool) -> bool {
        if v6 { self.v6 } else { self.v4 }
    }

    /// The term of each family, joined.
    pub(crate) fn join(self, v4: &str, v6: &str) -> String {
        match (self.v4, self.v6) {
            (true, true) => format!("({v4} || {v6})"),
            (false, true) => v6.to_owned(),
            _ => v4.to_owned(),
        }
    }
}

/// All pods of a namespace.
pub(crate) fn all_of(namespace: &Arc<str>) -> Selection {
    let namespaces = Namespaces::Named(namespace.clone());
    Selection::new(namespaces, Some(Selector::default()))
}
