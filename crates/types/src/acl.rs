use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// What an ACL does, as resolved from its rows: the same in every zone that holds the policy.
///
/// The identity of the row differs by zone and stands beside it ([`AclRow`]).
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Acl {
    /// The ACL's name, at most 63 characters. Not unique: default deny and ARP allow share one.
    pub name: Option<String>,
    /// 0..32767; higher wins within a tier.
    pub priority: u16,
    /// The match expression.
    #[serde(rename = "match")]
    pub matches: String,
    /// What is done with a packet that matches.
    pub action: Action,
    /// Which pipeline evaluates it.
    pub pipeline: Pipeline,
    /// 0..3, evaluated in this order.
    pub tier: u8,
    /// `ACL.label`; 0 means none.
    pub label: u32,
    /// The policy it was made from.
    pub owner: Owner,
}

/// The last tier, behind which nothing decides: all is allowed.
const LAST_TIER: u8 = 3;

impl Acl {
    /// The sentence for people, as in `Dropped by network policies isolation in namespace blue,
    /// direction Egress`. The words are those of ovn-kubernetes' own observability library, so
    /// that people recognise them; what that library has no words for is said in its manner.
    pub fn sentence(&self) -> String {
        let verb = match self.action {
            Action::Allow | Action::AllowRelated | Action::AllowStateless => "Allowed",
            Action::Drop => "Dropped",
            Action::Pass if self.tier >= LAST_TIER => "Delegated to the cluster's default",
            Action::Pass => "Delegated to network policy",
            Action::Reject => "Action reject",
        };
        format!("{verb} by {}", self.subject())
    }

    fn subject(&self) -> String {
        let Owner {
            kind,
            namespace,
            name,
            direction,
            rule,
            ..
        } = &self.owner;
        let name = name.as_deref().unwrap_or_default();
        let namespace = namespace.as_deref().unwrap_or_default();
        let direction = direction.map_or("", Direction::as_str);
        match kind {
            OwnerKind::AdminNetworkPolicy => {
                format!("admin network policy {name}, direction {direction}")
            }
            OwnerKind::BaselineAdminNetworkPolicy => {
                format!("baseline admin network policy {name}, direction {direction}")
            }
            OwnerKind::MulticastNS => {
                format!("multicast in namespace {namespace}, direction {direction}")
            }
            OwnerKind::MulticastCluster => {
                format!("cluster multicast policy, direction {direction}")
            }
            OwnerKind::NetpolNode => {
                format!("default allow from local node policy, direction {direction}")
            }
            OwnerKind::NetworkPolicy if namespace.is_empty() => {
                format!("network policy {name}, direction {direction}")
            }
            OwnerKind::NetworkPolicy => {
                format!("network policy {name} in namespace {namespace}, direction {direction}")
            }
            OwnerKind::NetpolNamespace => {
                let what = match rule.kind.as_deref() {
                    Some("arpAllow") => "ARP and neighbour discovery exception of network policies",
                    Some("icmpAllow") => "ICMP exception of network policies",
                    _ => "network policies isolation",
                };
                format!("{what} in namespace {namespace}, direction {direction}")
            }
            OwnerKind::NetpolDefault => {
                format!("default rule {name} of network policies, direction {direction}")
            }
            OwnerKind::EgressFirewall => format!("egress firewall in namespace {namespace}"),
            OwnerKind::UDNIsolation => format!("UDN isolation of type {name}"),
            OwnerKind::AdvertisedNetwork => format!("advertised network isolation of {name}"),
            OwnerKind::ClusterNetworkConnect => format!("cluster network connect {name}"),
            OwnerKind::ClusterNetworkPolicy => {
                format!("cluster network policy {name}, direction {direction}")
            }
            OwnerKind::Other(word) => format!("{word} {name}").trim_end().to_owned(),
            OwnerKind::Unowned => match &self.name {
                Some(name) => format!("ACL {name}"),
                None => format!("an ACL without a name, match {}", self.matches),
            },
        }
    }
}

/// An ACL and its sentence: one copy for all zones and all times that hold it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Fact {
    /// The ACL.
    pub acl: Acl,
    /// [`Acl::sentence`], made once.
    pub message: Box<str>,
}

impl From<Acl> for Fact {
    fn from(acl: Acl) -> Self {
        Self {
            message: acl.sentence().into(),
            acl,
        }
    }
}

/// One ACL as one zone holds, or held, it.
#[derive(Clone, Debug)]
pub struct AclRow {
    /// Identity of the row in this zone's NB.
    pub uuid: Uuid,
    /// The revision that brought it.
    pub revision: u64,
    /// What it does.
    pub fact: Arc<Fact>,
}

impl AclRow {
    /// What it does.
    pub fn acl(&self) -> &Acl {
        &self.fact.acl
    }

    /// Its sentence.
    pub fn message(&self) -> &str {
        &self.fact.message
    }
}

/// OVN's ACL actions (ovn-nb(5), table ACL, column action).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Forward the packet; on a stateful switch the same as allow-related.
    Allow,
    /// Forward the packet and what belongs to its connection.
    AllowRelated,
    /// Forward the packet without conntrack.
    AllowStateless,
    /// Drop silently.
    Drop,
    /// Let the next tier decide.
    Pass,
    /// Drop and answer with TCP RST or ICMP unreachable.
    Reject,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 6] = [
        Self::Allow,
        Self::AllowRelated,
        Self::AllowStateless,
        Self::Drop,
        Self::Pass,
        Self::Reject,
    ];

    /// OVN's own word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::AllowRelated => "allow-related",
            Self::AllowStateless => "allow-stateless",
            Self::Drop => "drop",
            Self::Pass => "pass",
            Self::Reject => "reject",
        }
    }

    /// Reads OVN's own word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }

    /// What the action means for the packet.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Allow | Self::AllowRelated | Self::AllowStateless => Verdict::Allowed,
            Self::Drop => Verdict::Dropped,
            Self::Pass => Verdict::Delegated,
            Self::Reject => Verdict::Rejected,
        }
    }
}

/// What became of a packet at one ACL.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It went on.
    Allowed,
    /// A later tier decides (action pass).
    Delegated,
    /// It was dropped.
    Dropped,
    /// It was dropped and the sender told.
    Rejected,
    /// Nobody can say; the decision carries the reason.
    Unknown,
}

impl Verdict {
    /// All verdicts.
    pub const ALL: [Self; 5] = [
        Self::Allowed,
        Self::Delegated,
        Self::Dropped,
        Self::Rejected,
        Self::Unknown,
    ];

    /// The word used in JSON and queries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Delegated => "delegated",
            Self::Dropped => "dropped",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown",
        }
    }
}

impl Verdict {
    /// How bad it is for a connection, from 0: unknown, delegated, allowed, rejected, dropped. The
    /// worst that was said of any of its packets is the connection's verdict.
    pub fn severity(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Delegated => 1,
            Self::Allowed => 2,
            Self::Rejected => 3,
            Self::Dropped => 4,
        }
    }
}

/// Which pipeline of the logical switch evaluates an ACL.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pipeline {
    /// From the port, before load balancing.
    FromLport,
    /// From the port, after load balancing (options:apply-after-lb).
    FromLportAfterLb,
    /// Towards the port.
    ToLport,
}

impl Pipeline {
    /// All pipelines.
    pub const ALL: [Self; 3] = [Self::FromLport, Self::FromLportAfterLb, Self::ToLport];

    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FromLport => "from-lport",
            Self::FromLportAfterLb => "from-lport-after-lb",
            Self::ToLport => "to-lport",
        }
    }
}

/// The policy's own direction, seen from the pod.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Direction {
    /// Towards the pod.
    Ingress,
    /// From the pod.
    Egress,
}

impl Direction {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    /// Kubernetes' own word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::Egress => "Egress",
        }
    }

    /// Reads Kubernetes' own word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|direction| direction.as_str() == word)
    }
}

/// Who made an ACL, from its `external_ids` (ovn-kubernetes, libovsdb/ops/db_object_types.go).
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Owner {
    /// `k8s.ovn.org/owner-type`.
    pub kind: OwnerKind,
    /// Namespace of the policy, or the one that is isolated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the policy, node or isolation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The policy's direction, where the owner has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Which of the policy's rules.
    #[serde(default, skip_serializing_if = "Rule::is_empty")]
    pub rule: Rule,
    /// The network whose controller made it, from `k8s.ovn.org/owner-controller`; `default` for
    /// the cluster's default network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

impl Owner {
    /// Nobody that netverdict knows; `name` is the ACL's own.
    pub fn unowned(name: Option<&str>) -> Self {
        Self {
            kind: OwnerKind::Unowned,
            namespace: None,
            name: name.map(str::to_owned),
            direction: None,
            rule: Rule::default(),
            network: None,
        }
    }
}

/// The kind of owner, as `k8s.ovn.org/owner-type` spells it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum OwnerKind {
    /// A rule of an AdminNetworkPolicy.
    AdminNetworkPolicy,
    /// Isolation of networks that are advertised by BGP.
    AdvertisedNetwork,
    /// A rule of the BaselineAdminNetworkPolicy.
    BaselineAdminNetworkPolicy,
    /// A ClusterNetworkConnect.
    ClusterNetworkConnect,
    /// A rule of a ClusterNetworkPolicy; netverdict's own, ovn-kubernetes has none yet.
    ClusterNetworkPolicy,
    /// A rule of an EgressFirewall.
    EgressFirewall,
    /// Default multicast rules of the cluster.
    MulticastCluster,
    /// Multicast opt-in of a namespace.
    MulticastNS,
    /// Rules for every network policy, such as hairpin traffic.
    NetpolDefault,
    /// Default deny, and its ARP and ICMP exceptions, of a namespace with policies.
    NetpolNamespace,
    /// What a node's own address may reach.
    NetpolNode,
    /// A rule of a NetworkPolicy.
    NetworkPolicy,
    /// Isolation of user-defined networks.
    UDNIsolation,
    /// An owner type that netverdict does not know, as it is spelled.
    Other(String),
    /// An ACL without ovn-kubernetes' ids: somebody else's.
    Unowned,
}

impl OwnerKind {
    /// All kinds but [`OwnerKind::Other`].
    pub const KNOWN: [Self; 14] = [
        Self::AdminNetworkPolicy,
        Self::AdvertisedNetwork,
        Self::BaselineAdminNetworkPolicy,
        Self::ClusterNetworkConnect,
        Self::ClusterNetworkPolicy,
        Self::EgressFirewall,
        Self::MulticastCluster,
        Self::MulticastNS,
        Self::NetpolDefault,
        Self::NetpolNamespace,
        Self::NetpolNode,
        Self::NetworkPolicy,
        Self::UDNIsolation,
        Self::Unowned,
    ];

    /// The spelling in `k8s.ovn.org/owner-type`; empty for [`OwnerKind::Unowned`].
    pub fn as_str(&self) -> &str {
        match self {
            Self::AdminNetworkPolicy => "AdminNetworkPolicy",
            Self::AdvertisedNetwork => "AdvertisedNetwork",
            Self::BaselineAdminNetworkPolicy => "BaselineAdminNetworkPolicy",
            Self::ClusterNetworkConnect => "ClusterNetworkConnect",
            Self::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            Self::EgressFirewall => "EgressFirewall",
            Self::MulticastCluster => "MulticastCluster",
            Self::MulticastNS => "MulticastNS",
            Self::NetpolDefault => "NetpolDefault",
            Self::NetpolNamespace => "NetpolNamespace",
            Self::NetpolNode => "NetpolNode",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::UDNIsolation => "UDNIsolation",
            Self::Other(word) => word,
            Self::Unowned => "",
        }
    }

    /// Reads the spelling in `k8s.ovn.org/owner-type`.
    pub fn parse(word: &str) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .unwrap_or_else(|| Self::Other(word.to_owned()))
    }
}

impl Serialize for OwnerKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for OwnerKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self::parse(&word))
    }
}

impl fmt::Display for OwnerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which rule of its owner an ACL stands for.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Rule {
    /// Index in the policy's list of ingress or egress rules, from 0 (`gress-index`,
    /// `rule-index`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Protocol that the ACL stands for: `tcp`, `udp`, `sctp`, `None` for a rule without ports,
    /// `tcp-namedPort` and the like (`port-policy-protocol`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// -2 for all IP blocks together, -1 for selectors or no peers, else the block's index
    /// (`ip-block-index`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_block: Option<i32>,
    /// `defaultDeny`, `arpAllow`, `icmpAllow` and the like (`type`).
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

impl Rule {
    /// True when nothing is known of the rule.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_says_who_decides_next() {
        let sentence = |tier| {
            let owner = Owner {
                kind: OwnerKind::ClusterNetworkPolicy,
                namespace: None,
                name: Some("n".to_owned()),
                direction: Some(Direction::Ingress),
                rule: Rule::default(),
                network: None,
            };
            let acl = Acl {
                name: None,
                priority: 0,
                matches: String::new(),
                action: Action::Pass,
                pipeline: Pipeline::ToLport,
                tier,
                label: 0,
                owner,
            };
            acl.sentence()
        };
        let by = "by cluster network policy n, direction Ingress";
        assert_eq!(sentence(1), format!("Delegated to network policy {by}"));
        assert_eq!(
            sentence(3),
            format!("Delegated to the cluster's default {by}")
        );
    }
}
