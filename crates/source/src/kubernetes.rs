//! Names from Kubernetes: what objects say about addresses, and a watch on an API server.
//!
//! | object | names |
//! |---|---|
//! | Pod | `status.podIPs` on the default network; the addresses of the annotation `k8s.ovn.org/pod-networks` on the network of each attachment. Pods on the host network and pods that have ended have none |
//! | Node | its addresses and, from ovn-kubernetes' annotations, those of its gateway, its management port, its join and transit ports |
//! | Service | cluster, external and load balancer addresses |
//! | NetworkAttachmentDefinition | none; tells the network that an attachment belongs to |
//!
//! An attachment (`namespace/name`, with `/index` for a second one of the same definition) has the
//! network that `spec.config` of its NetworkAttachmentDefinition names: `cluster_udn_NAME` for a
//! ClusterUserDefinedNetwork, `NAMESPACE_NAME` for a UserDefinedNetwork, anything for one made by
//! hand (ovn-kubernetes, go-controller/pkg/util/multi_network.go). Where the definition is not
//! known, a UserDefinedNetwork is taken for granted.

#[cfg(feature = "kubernetes")]
mod names;
mod object;
#[cfg(feature = "kubernetes")]
mod objects;
mod table;
#[cfg(feature = "kubernetes")]
mod text;
#[cfg(feature = "kubernetes")]
mod watch;

#[cfg(feature = "kubernetes")]
pub use watch::{Cluster, Counters, Error, KubeWatch};

pub(crate) use object::{Facts, KINDS};
pub(crate) use table::Table;
