use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Who has an address.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Endpoint {
    /// What it is.
    pub kind: EndpointKind,
    /// Namespace of a pod or service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the pod, node, service or port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The node it lives on, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// What an endpoint is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EndpointKind {
    /// An address outside everything that is known.
    External,
    /// The gateway address of a logical router port.
    Gateway,
    /// An address of the join or transit network between routers.
    Join,
    /// A node's management port (`k8s-NODE`).
    Management,
    /// An address that ovn-kubernetes masquerades host or hairpin traffic with.
    Masquerade,
    /// A node's own address.
    Node,
    /// A pod.
    Pod,
    /// A logical port that is none of the others, such as a virtual machine.
    Port,
    /// A virtual address of a load balancer.
    Service,
}

impl EndpointKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::External,
        Self::Gateway,
        Self::Join,
        Self::Management,
        Self::Masquerade,
        Self::Node,
        Self::Pod,
        Self::Port,
        Self::Service,
    ];

    /// The word used in JSON and queries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Gateway => "gateway",
            Self::Join => "join",
            Self::Management => "management",
            Self::Masquerade => "masquerade",
            Self::Node => "node",
            Self::Pod => "pod",
            Self::Port => "port",
            Self::Service => "service",
        }
    }
}

/// One virtual address and port of a load balancer, with its backends.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Service {
    /// Namespace of the Kubernetes service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name, or the load balancer's where no service stands behind it.
    pub name: String,
    /// The virtual address.
    pub ip: IpAddr,
    /// The virtual port; `None` for a load balancer of whole addresses.
    pub port: Option<u16>,
    /// IP protocol number.
    pub protocol: u8,
    /// Backend addresses and ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<(IpAddr, Option<u16>)>,
}
