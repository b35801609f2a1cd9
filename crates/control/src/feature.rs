use std::fmt;
use std::str::FromStr;

use netverdict_types::OwnerKind;
use serde::Serialize;

/// What is sampled or not as one: the features of ovn-kubernetes' observability manager
/// (go-controller, `pkg/observability`), and the ACLs of other makers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Feature {
    /// Admin, baseline admin and cluster network policies.
    AdminNetworkPolicy,
    /// Egress firewalls.
    EgressFirewall,
    /// Multicast, of the cluster and of namespaces.
    Multicast,
    /// Network policies, their default deny, and what a node's own address may reach.
    NetworkPolicy,
    /// Isolation of user-defined networks.
    UDNIsolation,
    /// ACLs without ovn-kubernetes' ids.
    Other,
}

/// A word that names no feature. The caller is at fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no feature '{0}'; there are {list}", list = Feature::list())]
pub struct UnknownFeature(String);

impl Feature {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::AdminNetworkPolicy,
        Self::EgressFirewall,
        Self::Multicast,
        Self::NetworkPolicy,
        Self::UDNIsolation,
        Self::Other,
    ];

    /// The feature that ACLs of this owner belong to; `None` where ovn-kubernetes keeps the
    /// sample columns empty, so that what is written there would not stay.
    pub fn of(kind: &OwnerKind) -> Option<Self> {
        match kind {
            OwnerKind::AdminNetworkPolicy
            | OwnerKind::BaselineAdminNetworkPolicy
            | OwnerKind::ClusterNetworkPolicy => Some(Self::AdminNetworkPolicy),
            OwnerKind::EgressFirewall => Some(Self::EgressFirewall),
            OwnerKind::MulticastCluster | OwnerKind::MulticastNS => Some(Self::Multicast),
            OwnerKind::NetpolNamespace | OwnerKind::NetpolNode | OwnerKind::NetworkPolicy => {
                Some(Self::NetworkPolicy)
            }
            OwnerKind::UDNIsolation => Some(Self::UDNIsolation),
            OwnerKind::Unowned => Some(Self::Other),
            OwnerKind::AdvertisedNetwork
            | OwnerKind::ClusterNetworkConnect
            | OwnerKind::NetpolDefault
            | OwnerKind::Other(_) => None,
        }
    }

    /// The name, as ovn-kubernetes writes it into `sample-features`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AdminNetworkPolicy => "AdminNetworkPolicy",
            Self::EgressFirewall => "EgressFirewall",
            Self::Multicast => "Multicast",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::UDNIsolation => "UDNIsolation",
            Self::Other => "Other",
        }
    }

    fn list() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Feature {
    type Err = UnknownFeature;

    fn from_str(text: &str) -> Result<Self, UnknownFeature> {
        Self::ALL
            .into_iter()
            .find(|feature| feature.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownFeature(text.to_owned()))
    }
}
