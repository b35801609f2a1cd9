use netverdict_manifest::Cidr;

/// How to compile: what ovn-kubernetes takes from its own configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// Whom to follow where ovn-kubernetes departs from the Kubernetes API.
    pub compat: Compat,
    /// The addresses of all pods of the default network (`--cluster-subnets`); their families
    /// are the cluster's.
    pub cluster_subnets: Vec<Cidr>,
    /// Write Sample rows and what they need (`--enable-observability`).
    pub sampling: bool,
    /// Multicast policies (`--enable-multicast`).
    pub multicast: bool,
    /// Allow ICMP to isolated pods (`--allow-icmp-network-policy`).
    pub allow_icmp: bool,
    /// Heed the annotation `k8s.ovn.org/acl-stateless` (`--enable-stateless-netpol`).
    pub stateless: bool,
    /// `--acl-logging-rate-limit`, in packets a second.
    pub log_rate: u32,
    /// The namespace that stands for pods of the host network (`--host-network-namespace`).
    pub host_network_namespace: String,
}

/// Whom to follow where ovn-kubernetes departs from the Kubernetes API.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Compat {
    /// ovn-kubernetes, with a warning.
    #[default]
    OvnKubernetes,
    /// The API.
    Strict,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            compat: Compat::OvnKubernetes,
            cluster_subnets: Vec::new(),
            sampling: true,
            multicast: false,
            allow_icmp: false,
            stateless: false,
            log_rate: 20,
            host_network_namespace: "ovn-host-network".to_owned(),
        }
    }
}

impl Options {
    /// True if the cluster has IPv4 addresses.
    pub fn has_v4(&self) -> bool {
        self.cluster_subnets.iter().any(|subnet| !subnet.is_v6())
    }

    /// True if the cluster has IPv6 addresses.
    pub fn has_v6(&self) -> bool {
        self.cluster_subnets.iter().any(Cidr::is_v6)
    }
}
