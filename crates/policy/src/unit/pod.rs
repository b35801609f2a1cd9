//! The switch ports of pods.

use std::net::IpAddr;

use netverdict_manifest::{Key, Kind, Pod, Spec};
use netverdict_ovsdb::Datum;

use super::Context;
use super::address::mac;
use super::node::Facts;
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
    let noted = pod.attachments.iter().find(|of| of.network == "default");
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
    let Some(node) = pod.node.as_deref() else {
        return;
    };
    if !has_port(pod) {
        return;
    }
    let Some(node) = cx.object(&Key::new(Kind::Node, "", node)) else {
        return;
    };
    let facts = Facts::read(node);
    if facts.subnets.is_empty() {
        return;
    }
    let addresses = addresses(pod);
    let noted = pod.attachments.iter().find(|of| of.network == "default");
    let Some(mac) = noted
        .and_then(|noted| noted.mac.clone())
        .or_else(|| addresses.first().copied().map(mac))
    else {
        return;
    };
    let mut line = mac;
    for address in &addresses {
        line.push(' ');
        line.push_str(&address.to_string());
    }
    let options = [
        ("iface-id-ver", object.meta.uid.as_deref()),
        ("requested-chassis", facts.chassis.as_deref()),
    ];
    let row = Row::new(Table::LogicalSwitchPort, port(&key.namespace, &key.name))
        .with("name", port(&key.namespace, &key.name).as_str())
        .with("addresses", line.as_str())
        .with("port_security", line.as_str())
        .with(
            "options",
            Datum::map_of(options.into_iter().filter_map(|(k, v)| Some((k, v?)))),
        )
        .with(
            "external_ids",
            Datum::map_of([("namespace", &*key.namespace), ("pod", "true")]),
        )
        .from(super::origin(object))
        .in_zone(&facts.zone);
    cx.put(row);
}
