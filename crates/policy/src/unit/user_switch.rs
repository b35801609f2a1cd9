//! The switches of primary user-defined networks, so that their policies stand on real ports
//! (`layer3_user_defined_network_controller.go`, `base_secondary_layer2_network_controller.go`).
//!
//! A Layer3 network has a switch for each node and a router; a Layer2 network has one switch in
//! each zone. Left out: gateways, the way to other zones with the remote ports of their pods,
//! tunnel keys, Localnet and secondary networks.

use std::sync::Arc;

use netverdict_manifest::{Cidr, Key, NetworkSpec, NetworkTopology, Object, Spec};
use netverdict_ovsdb::Datum;
use uuid::Uuid;

use super::address::mac;
use super::network::Network;
use super::node::{Facts, lrp, lsp, router_port_row, switch_config, switch_port};
use super::{Context, Unit, cluster_wide, origin, service, zone};
use crate::row::{Row, Table};

/// The name of a Layer2 network's switch.
pub(super) const LAYER2_SWITCH: &str = "ovn_layer2_switch";

/// What there is because the network is: its groups of load balancers, its routers, and the wish for its switches.
pub(super) fn compile_network(key: &Key, cx: &mut Context<'_>) {
    let Some((object, spec)) = network_of(key, cx) else {
        return;
    };
    let network = Network::of(object, spec);
    service::compile_groups(&network, cx);
    let origins = [origin(object)];
    match spec.topology {
        NetworkTopology::Layer2 => {
            // The nodes' own ports are left out.
            cluster_wide::groups(&network, &[], &origins, cx);
            for zone in cx.zones() {
                cx.demand(Unit::UserSwitch(key.clone(), zone));
            }
        }
        NetworkTopology::Layer3 => {
            let nodes = nodes_of(&network, cx);
            let shares: Vec<&Facts> = nodes.iter().collect();
            cluster_wide::groups(&network, &shares, &origins, cx);
            for facts in &nodes {
                cx.demand(Unit::UserSwitch(key.clone(), facts.name.clone()));
            }
            for zone in cx.zones() {
                let local = nodes.iter().filter(|facts| facts.zone == zone);
                let ports =
                    local.map(|facts| lrp(&format!("rtos-{}", network.scoped(&facts.name))));
                let name = network.scoped("ovn_cluster_router");
                let mut ids = vec![("k8s-cluster-router", "yes".into())];
                ids.extend(ids_of(&network, false));
                let row = Row::new(Table::LogicalRouter, name.as_str())
                    .with("name", name.as_str())
                    .with("ports", ports.collect::<Datum>())
                    .with("options", router_options(cx))
                    .with("external_ids", Datum::map_of(ids))
                    .from(origin(object))
                    .in_zone(&zone);
                cx.put(row);
            }
        }
        NetworkTopology::Localnet => {}
    }
}

/// A switch of a network: that of a node in Layer3, that of a zone in Layer2.
pub(super) fn compile(key: &Key, place: &Arc<str>, cx: &mut Context<'_>) {
    let Some((object, spec)) = network_of(key, cx) else {
        return;
    };
    let network = Network::of(object, spec);
    match spec.topology {
        NetworkTopology::Layer2 => {
            let local: Vec<&Facts> = cx.facts().filter(|facts| facts.zone == *place).collect();
            let ports = local
                .into_iter()
                .flat_map(|facts| pod_ports(&network, &facts.name, cx))
                .collect();
            let name = network.scoped(LAYER2_SWITCH);
            let subnets: Vec<Cidr> = spec.subnets.iter().map(|(subnet, _)| **subnet).collect();
            let config = layer2_config(&name, &subnets);
            let row = switch(&network, &name, config, ports).from(origin(object));
            cx.put(row.in_zone(place));
        }
        NetworkTopology::Layer3 => {
            let facts = cx.facts_of(place);
            let Some(facts) = facts.and_then(|facts| facts.in_network(&network.name)) else {
                return;
            };
            let name = network.scoped(place);
            let mut ports = pod_ports(&network, place, cx);
            let (own, to_router, of_router) = (
                format!("k8s-{name}"),
                format!("stor-{name}"),
                format!("rtos-{name}"),
            );
            ports.extend([lsp(&own), lsp(&to_router)]);
            let mut line = String::new();
            for address in facts.management_addresses() {
                if line.is_empty() {
                    line = mac(address.address);
                }
                line.push(' ');
                line.push_str(&address.address.to_string());
            }
            let acls = cluster_wide::node_acls(&network, &facts, &origin(object), cx);
            let rows = [
                switch(&network, &name, switch_config(&facts, cx.options), ports)
                    .with("acls", Datum::from_iter(acls)),
                switch_port(&own, "", &line, &[]),
                switch_port(
                    &to_router,
                    "router",
                    "router",
                    &[("router-port", &of_router)],
                ),
                router_port_row(&of_router, &facts.router_addresses()),
            ];
            for row in rows {
                cx.put(row.from(origin(object)).in_zone(&facts.zone));
            }
        }
        NetworkTopology::Localnet => {}
    }
}

/// The primary network that this object is.
fn network_of<'a>(key: &Key, cx: &mut Context<'a>) -> Option<(&'a Object, &'a NetworkSpec)> {
    let object = cx.object(key)?;
    match &object.spec {
        Spec::UserNetwork(network) if network.network.primary => Some((object, &network.network)),
        _ => None,
    }
}

/// The nodes that have a share of a network, with their share.
fn nodes_of(network: &Network, cx: &mut Context<'_>) -> Vec<Facts> {
    cx.facts()
        .filter_map(|facts| facts.in_network(&network.name))
        .collect()
}

/// The ports of the pods of a node that are in a network.
fn pod_ports(network: &Network, node: &Arc<str>, cx: &mut Context<'_>) -> Vec<Uuid> {
    let mut ports = Vec::new();
    for view in cx.pods_on(node) {
        if cx.network(view.namespace()) == *network && network.has_port(view) {
            ports.push(lsp(&network.port(view.namespace(), view.name())));
        }
    }
    ports
}

fn layer2_config(switch: &str, subnets: &[Cidr]) -> Datum {
    let subnets = subnets.iter().map(|subnet| {
        let subnet = subnet.network();
        match subnet.is_v6() {
            true => ("ipv6_prefix", subnet.address.to_string()),
            false => ("subnet", subnet.to_string()),
        }
    });
    let between_zones = [
        ("interconn-ts", switch.to_owned()),
        ("mcast_flood_unregistered", "true".to_owned()),
        ("mcast_querier", "false".to_owned()),
        ("mcast_snoop", "true".to_owned()),
    ];
    Datum::map_of(subnets.chain(between_zones))
}

fn switch(network: &Network, name: &str, config: Datum, ports: Vec<Uuid>) -> Row {
    Row::new(Table::LogicalSwitch, name)
        .with("name", name)
        .with("ports", ports.into_iter().collect::<Datum>())
        .with("other_config", config)
        .with(
            "load_balancer_group",
            Datum::from_iter([zone::CLUSTER_GROUP, zone::SWITCH_GROUP].map(|group| {
                let group = network.scoped(group);
                Table::LoadBalancerGroup.uuid(&group)
            })),
        )
        .with("external_ids", Datum::map_of(ids_of(network, true)))
}

/// What the rows of a network say about it.
pub(super) fn ids_of(network: &Network, with_role: bool) -> Vec<(&'static str, Arc<str>)> {
    let topology = match network.topology {
        Some(NetworkTopology::Layer2) => "layer2",
        Some(NetworkTopology::Localnet) => "localnet",
        _ => "layer3",
    };
    let mut ids = vec![
        ("k8s.ovn.org/network", network.name.clone()),
        ("k8s.ovn.org/topology", topology.into()),
    ];
    if with_role {
        ids.push(("k8s.ovn.org/role", "primary".into()));
    }
    ids
}

fn router_options(cx: &Context<'_>) -> Datum {
    let mut options = vec![("always_learn_from_arp_request", "false")];
    if cx.options.multicast {
        options.push(("mcast_relay", "true"));
    }
    Datum::map_of(options)
}
