//! The switch ports of pods.

use std::net::IpAddr;
use std::sync::Arc;

use netverdict_manifest::{Key, NetworkTopology, Object, Pod, Spec};
use netverdict_ovsdb::Datum;

use super::address::mac;
use super::node::{DEFAULT, Facts};
use super::{Context, user_switch};
use crate::row::{Row, Table};

/// The name of a pod's port in the default network.
pub(crate) fn port(namespace: &str, pod: &str) -> String {
    format!("{namespace}_{pod}")
}

/// The name of a pod's port in another network: `attachment` is the `namespace/name` of the
/// network attachment by which the pod is in it.
pub(crate) fn port_in(attachment: &str, namespace: &str, pod: &str) -> String {
    let prefix = attachment.replace(['-', '/'], ".");
    format!("{prefix}_{namespace}_{pod}")
}

/// True if the pod has a port in the default network.
pub(crate) fn has_port(pod: &Pod) -> bool {
    !pod.host_network && !pod.completed && !addresses(pod).is_empty()
}

/// The pod's addresses in the default network: what ovn-kubernetes notes on it, else its status.
pub(crate) fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let noted = pod.attachments.iter().find(|of| of.network == DEFAULT);
    match noted {
        Some(noted) if !noted.addresses.is_empty() => {
            noted.addresses.iter().map(|cidr| cidr.address).collect()
        }
        _ => pod.addresses.clone(),
    }
}

pub(super) fn compile(key: &Key, cx: &mut Context<'_>) {
    let Some(object) = cx.object(key) else { return };
    let Spec::Pod(pod) = &object.spec else { return };
    let Some(node) = &pod.node else { return };
    if pod.host_network || pod.completed {
        return;
    }
    let Some(node) = cx.facts_of(node) else {
        return;
    };
    if has_port(pod) && node.has_share(DEFAULT) {
        let name = port(&key.namespace, &key.name);
        if let Some(row) = row(
            &name,
            DEFAULT,
            addresses(pod),
            object,
            pod,
            node,
            Vec::new(),
        ) {
            cx.put(row);
        }
    }
    let network = cx.network(&key.namespace);
    let has_switch = match network.topology {
        Some(NetworkTopology::Layer2) => true,
        Some(NetworkTopology::Layer3) => node.has_share(&network.name),
        _ => false,
    };
    if has_switch {
        let attachment = network.attachment_in(&key.namespace);
        let attached = pod.attachments.iter().find(|of| of.network == attachment);
        let addresses = attached.iter().flat_map(|of| &of.addresses);
        let addresses = addresses.map(|cidr| cidr.address).collect();
        let mut ids = user_switch::ids_of(&network, false);
        ids.push(("k8s.ovn.org/nad", attachment.as_str().into()));
        let name = port_in(&attachment, &key.namespace, &key.name);
        if let Some(row) = row(&name, &attachment, addresses, object, pod, node, ids) {
            cx.put(row);
        }
    }
}

/// The port of a pod in one network; `None` without addresses.
fn row(
    name: &str,
    attachment: &str,
    addresses: Vec<IpAddr>,
    object: &Object,
    pod: &Pod,
    node: &Facts,
    ids: Vec<(&'static str, Arc<str>)>,
) -> Option<Row> {
    let noted = pod.attachments.iter().find(|of| of.network == attachment);
    let mut line = match noted.and_then(|noted| noted.mac.clone()) {
        Some(mac) if !addresses.is_empty() => mac,
        _ => mac(*addresses.first()?),
    };
    for address in &addresses {
        line.push(' ');
        line.push_str(&address.to_string());
    }
    let options = [
        ("iface-id-ver", object.meta.uid.as_deref()),
        ("requested-chassis", node.chassis.as_deref()),
    ];
    let options = options.into_iter().filter_map(|(k, v)| Some((k, v?)));
    let of_pod = [
        ("namespace", object.key.namespace.clone()),
        ("pod", "true".into()),
    ];
    Some(
        Row::new(Table::LogicalSwitchPort, name)
            .with("name", name)
            .with("addresses", line.as_str())
            .with("port_security", line.as_str())
            .with("options", Datum::map_of(options))
            .with("external_ids", Datum::map_of(of_pod.into_iter().chain(ids)))
            .from(super::origin(object))
            .in_zone(&node.zone),
    )
}
