//! User-defined networks: which network a namespace's policies are about, and the isolation of
//! its pods in the default network.

use std::net::IpAddr;
use std::sync::Arc;

use netverdict_manifest::{Cidr, Key, Kind, NetworkSpec, NetworkTopology, Object, Spec};

use super::{Context, pod};
use crate::cluster::PodView;
use crate::options::Options;
use crate::selector::selects;

/// The label without which a namespace never gets a primary network of its own
/// (`types.RequiredUDNNamespaceLabel`).
pub(crate) const LABEL: &str = "k8s.ovn.org/primary-user-defined-network";
const DEFAULT: &str = "default";
const DEFAULT_CONTROLLER: &str = "default-network-controller";

/// A network that pods are in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Network {
    /// `default`, `<namespace>_<UserDefinedNetwork>` or `cluster_udn_<ClusterUserDefinedNetwork>`.
    pub(crate) name: Arc<str>,
    /// `<name>-network-controller`: the owner of its rows.
    pub(crate) controller: Arc<str>,
    /// The name of the network attachment in the namespaces it serves; empty for the default
    /// network.
    attachment: Arc<str>,
    /// `None` for the default network.
    pub(crate) topology: Option<NetworkTopology>,
    /// Its addresses; empty for the default network, whose are [`Options::cluster_subnets`].
    subnets: Vec<Cidr>,
}

impl Network {
    /// The network that all pods are in.
    pub(crate) fn default_network() -> Self {
        Self {
            name: DEFAULT.into(),
            controller: DEFAULT_CONTROLLER.into(),
            attachment: "".into(),
            topology: None,
            subnets: Vec::new(),
        }
    }

    fn of(object: &Object, spec: &NetworkSpec) -> Self {
        let name = match object.key.kind {
            Kind::ClusterUserDefinedNetwork => format!("cluster_udn_{}", object.key.name),
            _ => format!("{}_{}", object.key.namespace, object.key.name),
        };
        Self {
            controller: format!("{name}-network-controller").into(),
            name: name.into(),
            attachment: object.key.name.clone(),
            topology: Some(spec.topology),
            subnets: spec
                .subnets
                .iter()
                .map(|(subnet, _)| subnet.value)
                .collect(),
        }
    }

    /// True for the network that all pods are in.
    pub(crate) fn is_default(&self) -> bool {
        self.topology.is_none()
    }

    /// The addresses of all its pods.
    pub(crate) fn subnets(&self, options: &Options) -> Vec<Cidr> {
        if self.is_default() {
            return options.cluster_subnets.clone();
        }
        self.subnets.clone()
    }

    /// The name of the port of a pod in this network.
    pub(crate) fn port(&self, namespace: &str, pod: &str) -> String {
        if self.is_default() {
            return pod::port(namespace, pod);
        }
        pod::port_in(&self.attachment_in(namespace), namespace, pod)
    }

    /// The pod's addresses in this network, as far as they are known.
    pub(crate) fn addresses(&self, pod: &PodView) -> Vec<IpAddr> {
        if self.is_default() {
            return pod::addresses(pod.spec());
        }
        let attachment = self.attachment_in(pod.namespace());
        let attachments = pod.spec().attachments.iter();
        attachments
            .filter(|of| of.network == attachment)
            .flat_map(|of| of.addresses.iter().map(|cidr| cidr.address))
            .collect()
    }

    /// True if the pod has a port in this network.
    pub(crate) fn has_port(&self, pod: &PodView) -> bool {
        let spec = pod.spec();
        !spec.host_network && !spec.completed && !self.addresses(pod).is_empty()
    }

    /// `namespace/name` of the network attachment in this namespace.
    fn attachment_in(&self, namespace: &str) -> String {
        format!("{namespace}/{}", self.attachment)
    }
}

impl Context<'_> {
    /// The network that a namespace's policies are about: its primary user-defined network, else
    /// the default network (`networkmanager`, `GetActiveNetworkForNamespace`).
    ///
    /// Of several the oldest counts, and of those of the same age the first by kind and name.
    pub(crate) fn network(&mut self, namespace: &Arc<str>) -> Network {
        match self.primary(namespace) {
            Some((object, spec)) => Network::of(object, spec),
            None => Network::default_network(),
        }
    }
}

impl<'a> Context<'a> {
    fn primary(&mut self, namespace: &Arc<str>) -> Option<(&'a Object, &'a NetworkSpec)> {
        let space = self.object(&Key::new(Kind::Namespace, "", namespace))?;
        if !space.meta.labels.contains_key(LABEL) {
            return None;
        }
        let own = self.objects_in(Kind::UserDefinedNetwork, namespace);
        let shared = self.objects(Kind::ClusterUserDefinedNetwork);
        own.chain(shared)
            .filter_map(|object| match &object.spec {
                Spec::UserNetwork(network) if network.network.primary => Some((object, network)),
                _ => None,
            })
            .filter(|(_, network)| match &network.namespaces {
                Some(selector) => selects(selector, &space.meta.labels),
                None => true,
            })
            .map(|(object, network)| (object, &network.network))
            .min_by_key(|(object, _)| {
                let created = &object.meta.created;
                (created.is_none(), created, &object.key)
            })
    }
}
