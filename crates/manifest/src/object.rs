//! The objects. Only what says something about networks, policies and their ends is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use crate::{At, Span};

/// An object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Object {
    /// Which.
    pub key: Key,
    /// What all objects have.
    pub meta: Meta,
    /// What it says.
    pub spec: Spec,
}

/// What names an object.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for kinds without.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// What all objects have.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Meta {
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`, with their places.
    pub annotations: BTreeMap<String, At<String>>,
    /// `metadata.uid`.
    pub uid: Option<String>,
    /// `metadata.creationTimestamp`: RFC 3339 in UTC with whole seconds, so that text order is
    /// time order.
    pub created: Option<String>,
    /// The place of the object's name.
    pub span: Span,
}

/// The kinds that are read; all others are counted and passed over.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// v1.
    Namespace,
    /// v1.
    Node,
    /// v1.
    Pod,
    /// v1.
    Service,
    /// discovery.k8s.io/v1.
    EndpointSlice,
    /// networking.k8s.io/v1.
    NetworkPolicy,
    /// policy.networking.k8s.io/v1alpha1.
    AdminNetworkPolicy,
    /// policy.networking.k8s.io/v1alpha1.
    BaselineAdminNetworkPolicy,
    /// policy.networking.k8s.io/v1alpha2.
    ClusterNetworkPolicy,
    /// k8s.ovn.org/v1.
    EgressFirewall,
    /// k8s.ovn.org/v1.
    UserDefinedNetwork,
    /// k8s.ovn.org/v1.
    ClusterUserDefinedNetwork,
    /// k8s.cni.cncf.io/v1. It tells the network of a pod's attachment; policies do not need it.
    NetworkAttachmentDefinition,
}

/// What an object says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Spec {
    /// A Namespace says all with its labels and annotations.
    Namespace(Namespace),
    /// A Node.
    Node(Node),
    /// A Pod.
    Pod(Pod),
    /// A Service.
    Service(Service),
    /// An EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// A NetworkPolicy.
    NetworkPolicy(NetworkPolicy),
    /// An AdminNetworkPolicy, BaselineAdminNetworkPolicy or ClusterNetworkPolicy.
    AdminPolicy(AdminPolicy),
    /// An EgressFirewall.
    EgressFirewall(EgressFirewall),
    /// A UserDefinedNetwork or ClusterUserDefinedNetwork.
    UserNetwork(UserNetwork),
    /// A NetworkAttachmentDefinition.
    NetworkAttachment(NetworkAttachment),
}

/// Nothing besides labels and annotations.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Namespace {}

/// A Node.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Node {
    /// `status.addresses` of type InternalIP and ExternalIP.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`, or `spec.podCIDR`.
    pub pod_cidrs: Vec<Cidr>,
}

/// A Pod.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pod {
    /// `spec.nodeName`.
    pub node: Option<String>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// True if `status.phase` is Succeeded or Failed: its addresses belong to others now.
    pub completed: bool,
    /// `status.podIPs`, or `status.podIP`: of the default network, or of the node with
    /// `hostNetwork`.
    pub addresses: Vec<IpAddr>,
    /// `spec.containers[].ports` and those of init containers that keep running (restartPolicy
    /// Always).
    pub ports: Vec<ContainerPort>,
    /// The annotation `k8s.ovn.org/pod-networks`, by the name of the network attachment:
    /// `default`, or `namespace/name`.
    pub attachments: Vec<Attachment>,
    /// The annotation `k8s.ovn.org/open-default-ports`: what reaches the pod in the default network
    /// although another network is its first.
    pub open_ports: Vec<OpenPort>,
}

/// What reaches a pod in a network that is not its first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OpenPort {
    /// ICMP and ICMPv6.
    Icmp,
    /// One port.
    Port {
        /// The protocol.
        protocol: Protocol,
        /// The port.
        port: u16,
    },
}

/// One port that a container names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContainerPort {
    /// `name`; empty without.
    pub name: String,
    /// `protocol`, TCP by default.
    pub protocol: Protocol,
    /// `containerPort`.
    pub port: u16,
}

/// A pod in a network, as ovn-kubernetes notes it on the pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attachment {
    /// `default`, or the network attachment's `namespace/name`.
    pub network: String,
    /// Its addresses with their prefix length.
    pub addresses: Vec<Cidr>,
    /// Its MAC address, as text.
    pub mac: Option<String>,
    /// `role`: `primary`, `secondary` or `infrastructure-locked`.
    pub role: Option<String>,
}

/// A Service.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Service {
    /// `spec.type`: ClusterIP (also the default), NodePort, LoadBalancer, ExternalName.
    pub kind: String,
    /// `spec.clusterIPs`, or `spec.clusterIP`; empty for a headless one, and where the cluster
    /// has not given it any yet.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.clusterIP: None`: it never gets one.
    pub headless: bool,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress[].ip` with ipMode VIP.
    pub balancer_ips: Vec<IpAddr>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `spec.selector`; `None` without.
    pub selector: Option<BTreeMap<String, String>>,
    /// `spec.sessionAffinityConfig.clientIP.timeoutSeconds` (10800 by default) where
    /// `spec.sessionAffinity` is ClientIP.
    pub affinity_timeout: Option<u32>,
    /// `spec.internalTrafficPolicy`.
    pub internal: TrafficPolicy,
    /// `spec.externalTrafficPolicy`.
    pub external: TrafficPolicy,
    /// `spec.publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// `spec.allocateLoadBalancerNodePorts`, true by default.
    pub allocate_node_ports: bool,
}

/// Where a service's traffic may go.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TrafficPolicy {
    /// To all nodes.
    #[default]
    Cluster,
    /// To endpoints of the same node only.
    Local,
}

/// A port of a Service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServicePort {
    /// `name`; empty without.
    pub name: String,
    /// `protocol`, TCP by default.
    pub protocol: Protocol,
    /// `port`.
    pub port: u16,
    /// `targetPort`, `port` by default.
    pub target: PortRef,
    /// `nodePort`.
    pub node_port: Option<u16>,
    /// Its place.
    pub span: Span,
}

/// An EndpointSlice.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EndpointSlice {
    /// The Service, by the label `kubernetes.io/service-name`; empty without.
    pub service: String,
    /// `endpoints`.
    pub endpoints: Vec<SliceEndpoint>,
    /// `ports`.
    pub ports: Vec<SlicePort>,
}

/// An endpoint of an EndpointSlice.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SliceEndpoint {
    /// `addresses` that are IP addresses.
    pub addresses: Vec<IpAddr>,
    /// `conditions.ready`; `None` counts as true.
    pub ready: Option<bool>,
    /// `conditions.serving`; `None` counts as `ready`.
    pub serving: Option<bool>,
    /// `conditions.terminating`; `None` counts as false.
    pub terminating: Option<bool>,
    /// `nodeName`.
    pub node: Option<String>,
    /// `targetRef` where it is a Pod: `namespace/name`.
    pub pod: Option<String>,
}

/// A port of an EndpointSlice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SlicePort {
    /// `name`; empty without.
    pub name: String,
    /// `protocol`, TCP by default.
    pub protocol: Protocol,
    /// `port`; `None` is all ports.
    pub port: Option<u16>,
}

/// The protocols that policies and services know.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Protocol {
    /// TCP, the default.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port by number or by the name that containers give it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PortRef {
    /// 1 to 65535.
    Number(u16),
    /// A name.
    Name(String),
}

/// A range of addresses. The host bits are as written.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Cidr {
    /// The address, host bits included.
    pub address: IpAddr,
    /// How many bits count, 0 to 32 or 128.
    pub prefix: u8,
}

/// A range of addresses and its text: ovn-kubernetes puts that of ipBlock and cidrSelector into
/// matches letter by letter, and hashes them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WrittenCidr {
    /// The range.
    pub cidr: Cidr,
    /// As it was written.
    pub text: Box<str>,
}

/// A label selector (`LabelSelector` of meta/v1). Without terms it selects everything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selector {
    /// `matchLabels`.
    pub labels: BTreeMap<String, String>,
    /// `matchExpressions`, as written.
    pub expressions: Vec<Expression>,
    /// Its place.
    pub span: Span,
}

/// One of `matchExpressions`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Expression {
    /// The label.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what; as written.
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Operator {
    /// It is there, with one of the values.
    In,
    /// It is not there, or has none of the values.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// A NetworkPolicy.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NetworkPolicy {
    /// The pods it isolates.
    pub pods: Selector,
    /// The place of `policyTypes`, if they are given.
    pub types: Option<Span>,
    /// True if it isolates for ingress, after the defaults of `policyTypes`.
    pub isolates_ingress: bool,
    /// True if it isolates for egress, after the defaults of `policyTypes`.
    pub isolates_egress: bool,
    /// The rules; kept, and of no effect, where it does not isolate.
    pub ingress: Vec<NetworkRule>,
    /// The rules; kept, and of no effect, where it does not isolate.
    pub egress: Vec<NetworkRule>,
}

/// A rule of a NetworkPolicy.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NetworkRule {
    /// `from` or `to`: any of them; none is everybody.
    pub peers: Vec<Peer>,
    /// Any of them; none is all protocols and ports.
    pub ports: Vec<PolicyPort>,
    /// Its place.
    pub span: Span,
}

/// An end that a rule allows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Peer {
    /// Pods.
    Pods {
        /// In namespaces with these labels; `None` is the policy's own namespace.
        namespaces: Option<Selector>,
        /// With these labels; `None` is all pods.
        pods: Option<Selector>,
        /// Its place.
        span: Span,
    },
    /// Addresses.
    Block(Block),
}

/// An ipBlock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Block {
    /// The addresses.
    pub cidr: At<WrittenCidr>,
    /// Parts of it that do not count.
    pub except: Vec<At<WrittenCidr>>,
    /// Its place.
    pub span: Span,
}

/// A port of a NetworkPolicy's rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyPort {
    /// TCP by default.
    pub protocol: Protocol,
    /// `None` is all ports.
    pub port: Option<PortRef>,
    /// The last port of a range that `port` begins.
    pub end: Option<u16>,
    /// Its place.
    pub span: Span,
}

/// A policy of the cluster's administrator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdminPolicy {
    /// Before or after NetworkPolicies.
    pub tier: AdminTier,
    /// `spec.priority`: lower goes first. 0 for a baseline AdminNetworkPolicy.
    pub priority: At<u32>,
    /// Whom it is for.
    pub subject: AdminSubject,
    /// In order.
    pub ingress: Vec<AdminRule>,
    /// In order.
    pub egress: Vec<AdminRule>,
}

/// Before or after NetworkPolicies.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum AdminTier {
    /// Before.
    Admin,
    /// After.
    Baseline,
}

/// Whom an administrator's policy is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AdminSubject {
    /// All pods of these namespaces.
    Namespaces(Selector),
    /// These pods.
    Pods {
        /// In these namespaces.
        namespaces: Selector,
        /// With these labels.
        pods: Selector,
    },
}

/// A rule of an administrator's policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdminRule {
    /// `name`; empty without.
    pub name: String,
    /// What it does.
    pub action: RuleAction,
    /// `from` or `to`: any of them, at least one.
    pub peers: Vec<AdminPeer>,
    /// Any of them; none is all protocols and ports.
    pub ports: Vec<AdminPort>,
    /// Its place.
    pub span: Span,
}

/// What an administrator's rule does.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RuleAction {
    /// `Allow`, or `Accept` in v1alpha2.
    Allow,
    /// `Deny`.
    Deny,
    /// `Pass`: on to the next tier.
    Pass,
}

/// An end that an administrator's rule is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AdminPeer {
    /// All pods of these namespaces.
    Namespaces(Selector),
    /// These pods.
    Pods {
        /// In these namespaces.
        namespaces: Selector,
        /// With these labels.
        pods: Selector,
    },
    /// Nodes, egress only.
    Nodes(Selector),
    /// Addresses, egress only.
    Networks(Vec<At<Cidr>>),
    /// Domain names, egress only (v1alpha2).
    DomainNames(Vec<At<String>>),
}

/// A port of an administrator's rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AdminPort {
    /// `portNumber`, or `portRange` (then `end` is above `start`).
    Numbers {
        /// TCP by default.
        protocol: Protocol,
        /// First.
        start: u16,
        /// Last.
        end: u16,
        /// Its place.
        span: Span,
    },
    /// All ports of a protocol (v1alpha2).
    Protocol {
        /// The protocol.
        protocol: Protocol,
        /// Its place.
        span: Span,
    },
    /// `namedPort`.
    Named {
        /// The protocol, where it is told (v1alpha2); else that of the container's port.
        protocol: Option<Protocol>,
        /// The name.
        name: String,
        /// Its place.
        span: Span,
    },
}

/// An EgressFirewall.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EgressFirewall {
    /// In order.
    pub rules: Vec<EgressRule>,
}

/// A rule of an EgressFirewall.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EgressRule {
    /// What it does.
    pub action: FirewallAction,
    /// Where to.
    pub to: EgressTo,
    /// Any of them; none is everything.
    pub ports: Vec<EgressPort>,
    /// Its place.
    pub span: Span,
}

/// What an EgressFirewall's rule does.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum FirewallAction {
    /// `Allow`.
    Allow,
    /// `Deny`.
    Deny,
}

/// Where an EgressFirewall's rule leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EgressTo {
    /// `cidrSelector`.
    Cidr(At<WrittenCidr>),
    /// `dnsName`.
    Dns(At<String>),
    /// `nodeSelector`.
    Nodes(Selector),
}

/// A port of an EgressFirewall's rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EgressPort {
    /// The protocol.
    pub protocol: Protocol,
    /// `None` is all ports.
    pub port: Option<u16>,
    /// Its place.
    pub span: Span,
}

/// A UserDefinedNetwork or ClusterUserDefinedNetwork.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserNetwork {
    /// Which namespaces a ClusterUserDefinedNetwork serves; `None` for a UserDefinedNetwork,
    /// which serves its own.
    pub namespaces: Option<Selector>,
    /// The network.
    pub network: NetworkSpec,
}

/// A NetworkAttachmentDefinition.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NetworkAttachment {
    /// `name` in the JSON of `spec.config`: the network that pods attached by it are in.
    pub network: Option<String>,
}

/// What a network is like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NetworkSpec {
    /// How it is laid out.
    pub topology: NetworkTopology,
    /// True if it is the pods' first network (`role: Primary`).
    pub primary: bool,
    /// Its addresses; for Layer3 each with the prefix length that a node gets.
    pub subnets: Vec<(At<Cidr>, Option<u8>)>,
    /// Its place.
    pub span: Span,
}

/// How a network is laid out.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum NetworkTopology {
    /// One switch for all nodes.
    Layer2,
    /// A switch for each node, and a router.
    Layer3,
    /// Bridged to the world outside.
    Localnet,
}

impl Kind {
    /// All of them, in an order in which what others rest on comes first.
    pub const ALL: [Self; 13] = [
        Self::Namespace,
        Self::Node,
        Self::Pod,
        Self::Service,
        Self::EndpointSlice,
        Self::NetworkPolicy,
        Self::AdminNetworkPolicy,
        Self::BaselineAdminNetworkPolicy,
        Self::ClusterNetworkPolicy,
        Self::EgressFirewall,
        Self::UserDefinedNetwork,
        Self::ClusterUserDefinedNetwork,
        Self::NetworkAttachmentDefinition,
    ];

    /// True for what decides about packets.
    pub fn is_policy(self) -> bool {
        matches!(
            self,
            Self::NetworkPolicy
                | Self::AdminNetworkPolicy
                | Self::BaselineAdminNetworkPolicy
                | Self::ClusterNetworkPolicy
                | Self::EgressFirewall
        )
    }

    /// As it stands in an object's `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::AdminNetworkPolicy => "AdminNetworkPolicy",
            Self::BaselineAdminNetworkPolicy => "BaselineAdminNetworkPolicy",
            Self::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            Self::EgressFirewall => "EgressFirewall",
            Self::UserDefinedNetwork => "UserDefinedNetwork",
            Self::ClusterUserDefinedNetwork => "ClusterUserDefinedNetwork",
            Self::NetworkAttachmentDefinition => "NetworkAttachmentDefinition",
        }
    }

    /// Reads an object's `kind`.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// True if its objects live in a namespace.
    pub fn is_namespaced(self) -> bool {
        matches!(
            self,
            Self::Pod
                | Self::Service
                | Self::EndpointSlice
                | Self::NetworkPolicy
                | Self::EgressFirewall
                | Self::UserDefinedNetwork
                | Self::NetworkAttachmentDefinition
        )
    }
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }

    /// As OVN writes it.
    pub fn ovn(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl Key {
    /// The key of an object; `namespace` is empty for kinds without.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    /// As in `NetworkPolicy blue/allow-server`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind.as_str())?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

impl Cidr {
    /// True for IPv6.
    pub fn is_v6(&self) -> bool {
        self.address.is_ipv6()
    }

    /// The range that holds one address and nothing else.
    pub fn from_address(address: IpAddr) -> Self {
        let prefix = if address.is_ipv6() { 128 } else { 32 };
        Self { address, prefix }
    }

    /// The same range without host bits.
    #[must_use]
    pub fn network(&self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let host = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                IpAddr::V4((address.to_bits() & !host).into())
            }
            IpAddr::V6(address) => {
                let host = u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                IpAddr::V6((address.to_bits() & !host).into())
            }
        };
        Self { address, ..*self }
    }

    /// True if all of `other` lies within.
    pub fn contains(&self, other: &Self) -> bool {
        let cut = Self {
            prefix: self.prefix,
            ..*other
        };
        other.prefix >= self.prefix
            && self.is_v6() == other.is_v6()
            && self.network() == cut.network()
    }
}

impl From<Cidr> for WrittenCidr {
    fn from(cidr: Cidr) -> Self {
        let text = cidr.to_string().into();
        Self { cidr, text }
    }
}

impl Deref for WrittenCidr {
    type Target = Cidr;

    fn deref(&self) -> &Cidr {
        &self.cidr
    }
}

impl fmt::Display for WrittenCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text that is no range of addresses. The caller is at fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoCidr(String);

impl fmt::Display for NoCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is no range of addresses such as 10.244.0.0/16",
            self.0
        )
    }
}

impl std::error::Error for NoCidr {}

/// As Go's `net.ParseCIDR` takes it; no IPv4 in IPv6, which the APIs refuse or are about to.
impl FromStr for Cidr {
    type Err = NoCidr;

    fn from_str(text: &str) -> Result<Self, NoCidr> {
        let parts = text.split_once('/');
        let cidr = parts.and_then(|(address, prefix)| {
            let address: IpAddr = address.parse().ok()?;
            let is_mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
            let is_number = prefix.bytes().all(|byte| byte.is_ascii_digit());
            let prefix: u8 = prefix.parse().ok().filter(|_| is_number && !is_mapped)?;
            let longest = if address.is_ipv6() { 128 } else { 32 };
            (prefix <= longest).then_some(Self { address, prefix })
        });
        cidr.ok_or_else(|| NoCidr(text.to_owned()))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}
