//! What a node is in its zone: a switch for its pods, a port of the cluster's router, and its
//! gateway to the world outside (`base_network_controller.go`, `gateway.go`, shared mode).
//!
//! Left out: NAT, Gateway_Chassis, Static_MAC_Binding, Copp, router policies, egress IP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use netverdict_manifest::{Cidr, Diagnostic, Key, Object, Severity, Spec};
use netverdict_ovsdb::Datum;
use uuid::Uuid;

use super::address::{self, link_local, mac_of, nth, parse_cidr};
use super::network::Network;
use super::{Context, Unit, cluster_wide, origin, pod, zone};
use crate::cluster::zone_of;
use crate::options::Options;
use crate::row::{Origin, Row, Table};

/// The network that all pods are in.
pub(super) const DEFAULT: &str = "default";
/// The annotation with the node's share of each network.
pub(crate) const SUBNETS: &str = "k8s.ovn.org/node-subnets";
/// The annotation with the node's number, 2 for the first.
pub(crate) const ID: &str = "k8s.ovn.org/node-id";
/// The annotation with the node's OVS system id.
pub(crate) const CHASSIS: &str = "k8s.ovn.org/node-chassis-id";
/// The annotation with the node's addresses on the switch between zones.
pub(crate) const TRANSIT: &str = "k8s.ovn.org/node-transit-switch-port-ifaddr";
/// The annotation with the node's way out.
pub(crate) const GATEWAY: &str = "k8s.ovn.org/l3-gateway-config";
/// The annotation with all addresses of the node.
pub(crate) const HOST: &str = "k8s.ovn.org/host-cidrs";
/// The annotation with the MAC addresses of the node's own port in each network.
const MANAGEMENT_MACS: &str = "k8s.ovn.org/node-mgmt-port-mac-addresses";

/// What a node's annotations tell.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) name: Arc<str>,
    pub(crate) zone: Arc<str>,
    /// Its share of the default network; empty if it has none yet.
    pub(crate) subnets: Vec<Cidr>,
    /// Its share of other networks.
    pub(crate) other_subnets: BTreeMap<String, Vec<Cidr>>,
    pub(crate) id: Option<u32>,
    pub(crate) chassis: Option<String>,
    pub(crate) transit: Vec<Cidr>,
    pub(crate) gateway: Option<Gateway>,
    /// All addresses of the node itself, in the order of their text.
    pub(crate) host_addresses: Vec<IpAddr>,
    management_mac: Option<String>,
    /// Where the Node stands.
    pub(crate) origin: Origin,
    /// Annotations that cannot be read.
    broken: Vec<&'static str>,
}

/// A node's way out.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    pub(crate) addresses: Vec<Cidr>,
    pub(crate) next_hops: Vec<IpAddr>,
    pub(crate) node_ports: bool,
    mac: String,
    interface: String,
    vlan: Option<i64>,
}

impl Facts {
    /// Reads a Node; what is broken is as if it were not there.
    pub(crate) fn read(node: &Object) -> Self {
        let mut broken = Vec::new();
        let text = |name: &str| {
            let annotation = node.meta.annotations.get(name);
            annotation.map(|annotation| annotation.value.trim())
        };
        let mut read = |name: &'static str| {
            let value = serde_json::from_str::<serde_json::Value>(text(name)?).ok();
            if value.is_none() {
                broken.push(name);
            }
            value
        };
        let mut other_subnets = read(SUBNETS)
            .map(|value| shares(&value))
            .unwrap_or_default();
        let subnets = other_subnets.remove(DEFAULT);
        let transit = read(TRANSIT).map(|transit| {
            let families = [&transit["ipv4"], &transit["ipv6"]];
            families.into_iter().flat_map(cidrs).collect()
        });
        let gateway = read(GATEWAY);
        let mut host_addresses: Vec<IpAddr> = read(HOST)
            .map(|host| cidrs(&host))
            .into_iter()
            .flatten()
            .map(|cidr| cidr.address)
            .collect();
        host_addresses.sort_by_key(IpAddr::to_string);
        let management_mac =
            read(MANAGEMENT_MACS).and_then(|macs| macs["default"].as_str().map(str::to_owned));
        let id = text(ID).map(|id| id.parse().ok());
        if id == Some(None) {
            broken.push(ID);
        }
        let gateway = gateway
            .map(|gateway| gateway["default"].clone())
            .filter(|gateway| gateway["mode"] != "disabled")
            .and_then(|gateway| {
                let read = Gateway::read(&gateway);
                if read.is_none() {
                    broken.push(GATEWAY);
                }
                read
            });
        Self {
            name: node.key.name.clone(),
            zone: zone_of(node),
            subnets: subnets.unwrap_or_else(|| pod_cidrs(node)),
            other_subnets,
            id: id.flatten(),
            chassis: text(CHASSIS).map(str::to_owned),
            transit: transit.unwrap_or_default(),
            gateway,
            host_addresses,
            management_mac,
            origin: origin(node),
            broken,
        }
    }

    /// The networks that it has a share of.
    pub(crate) fn networks(&self) -> BTreeSet<String> {
        let default = (DEFAULT, &self.subnets);
        let others = self.other_subnets.iter();
        let others = others.map(|(network, subnets)| (network.as_str(), subnets));
        std::iter::once(default)
            .chain(others)
            .filter(|(_, subnets)| !subnets.is_empty())
            .map(|(network, _)| network.to_owned())
            .collect()
    }

    /// True if it has a share of a network, and so a switch in it.
    pub(crate) fn has_share(&self, network: &str) -> bool {
        let share = match network {
            DEFAULT => Some(&self.subnets),
            _ => self.other_subnets.get(network),
        };
        share.is_some_and(|share| !share.is_empty())
    }

    /// The same node in another network; `None` if it has no share of that.
    pub(crate) fn in_network(&self, network: &str) -> Option<Self> {
        let subnets = self.other_subnets.get(network)?.clone();
        let it = Self {
            subnets,
            ..self.clone()
        };
        (!it.subnets.is_empty()).then_some(it)
    }

    /// The router's addresses on the node's switch: the first of each subnet.
    pub(crate) fn router_addresses(&self) -> Vec<Cidr> {
        let subnets = self.subnets.iter();
        subnets.filter_map(|subnet| nth(*subnet, 1)).collect()
    }

    /// The node's own addresses on its switch: the second of each subnet.
    pub(crate) fn management_addresses(&self) -> Vec<Cidr> {
        let subnets = self.subnets.iter();
        subnets.filter_map(|subnet| nth(*subnet, 2)).collect()
    }

    /// The addresses of the node's gateway router on the join switch; none without a gateway.
    pub(crate) fn join_addresses(&self, options: &Options) -> Vec<Cidr> {
        let (Some(_), Some(_), Some(id)) = (&self.gateway, &self.chassis, self.id) else {
            return Vec::new();
        };
        let subnets = zone::join_subnets(options).into_iter();
        subnets
            .filter_map(|subnet| nth(subnet, id.into()))
            .collect()
    }
}

impl Gateway {
    fn read(value: &serde_json::Value) -> Option<Self> {
        let mut addresses = cidrs(&value["ip-addresses"]);
        if addresses.is_empty() {
            addresses = cidrs(&value["ip-address"]);
        }
        let mut next_hops = strings(&value["next-hops"]);
        if next_hops.is_empty() {
            next_hops = strings(&value["next-hop"]);
        }
        let vlan = value["vlan-id"].as_str().and_then(|id| id.parse().ok());
        (!addresses.is_empty()).then_some(Self {
            addresses,
            next_hops: next_hops.iter().flat_map(|hop| hop.parse()).collect(),
            node_ports: value["node-port-enable"] == "true",
            mac: value["mac-address"].as_str()?.to_owned(),
            interface: value["interface-id"].as_str()?.to_owned(),
            vlan: vlan.filter(|vlan| *vlan != 0),
        })
    }
}

/// All addresses of a node itself, those that ovn-kubernetes found on it, else those of its status
/// (`util.GetNodeHostAddrs`).
pub fn host_addresses(node: &Object) -> Vec<IpAddr> {
    let found = node.meta.annotations.get(HOST);
    let found = found.and_then(|found| serde_json::from_str(&found.value).ok());
    match (found, &node.spec) {
        (Some(found), _) => cidrs(&found).iter().map(|own| own.address).collect(),
        (None, Spec::Node(node)) => node.addresses.clone(),
        (None, _) => Vec::new(),
    }
}

/// The name of the node's own port on its switch.
pub(crate) fn management_port(node: &str) -> String {
    format!("k8s-{node}")
}

/// The name of the switch's port towards the router.
pub(crate) fn router_port(node: &str) -> String {
    format!("stor-{node}")
}

/// The name of the node's gateway router.
pub(crate) fn gateway_router(node: &str) -> String {
    format!("GR_{node}")
}

pub(super) fn compile(key: &Key, cx: &mut Context<'_>) {
    let Some(object) = cx.object(key) else { return };
    let Some(facts) = cx.facts_of(&key.name) else {
        return;
    };
    for name in &facts.broken {
        let message = format!("annotation {name} of {key} cannot be read and counts as missing");
        let mut diagnostic = Diagnostic::new(Severity::Warning, "bad-annotation", message);
        if let Some(annotation) = object.meta.annotations.get(*name) {
            diagnostic = diagnostic.at(annotation.span, "ovn-kubernetes writes JSON here");
        }
        cx.tell(diagnostic);
    }
    if facts.subnets.is_empty() {
        let message = format!("{key} has no addresses for pods: its pods have no ports");
        let diagnostic = Diagnostic::new(Severity::Warning, "no-node-subnet", message).at(
            object.meta.span,
            "neither k8s.ovn.org/node-subnets nor podCIDRs",
        );
        cx.tell(diagnostic);
        return;
    }
    cx.demand(Unit::Switch(key.name.clone()));
    cx.demand(Unit::Zone(facts.zone.clone()));
    cx.demand(Unit::BalancerGroups);
    let mut rows = switch_ports(facts, cx.options);
    rows.extend(gateway(facts, cx.options));
    for row in rows {
        cx.put(row.from(facts.origin.clone()).in_zone(&facts.zone));
    }
}

/// The switch that holds the ports of the node's pods.
pub(super) fn compile_switch(name: &Arc<str>, cx: &mut Context<'_>) {
    let Some(facts) = cx.facts_of(name) else {
        return;
    };
    let mut ports: Vec<Uuid> = cx
        .pods_on(name)
        .into_iter()
        .filter(|view| pod::has_port(view.spec()) && view.has_share(DEFAULT))
        .map(|view| lsp(&pod::port(view.namespace(), view.name())))
        .collect();
    ports.extend([lsp(&management_port(name)), lsp(&router_port(name))]);
    let groups = [zone::CLUSTER_GROUP, zone::SWITCH_GROUP];
    let acls = cluster_wide::node_acls(&Network::default_network(), facts, &facts.origin, cx);
    let row = Row::new(Table::LogicalSwitch, name.clone())
        .with("acls", Datum::from_iter(acls))
        .with("name", &**name)
        .with("ports", Datum::from_iter(ports))
        .with("other_config", switch_config(facts, cx.options))
        .with(
            "load_balancer_group",
            Datum::from_iter(groups.map(|group| Table::LoadBalancerGroup.uuid(group))),
        )
        .from(facts.origin.clone())
        .in_zone(&facts.zone);
    cx.put(row);
}

/// What a node's switch says of its addresses, and whether it listens for multicast groups.
pub(super) fn switch_config(facts: &Facts, options: &Options) -> Datum {
    let mut config: Vec<(&str, String)> = Vec::new();
    for subnet in &facts.subnets {
        if subnet.is_v6() {
            config.push(("ipv6_prefix", subnet.address.to_string()));
        } else {
            config.push(("subnet", subnet.to_string()));
            let own = nth(*subnet, 2).map(|own| own.address.to_string());
            config.push(("exclude_ips", own.unwrap_or_default()));
        }
    }
    if options.multicast {
        let routers = facts.router_addresses();
        let mac = mac_of(&routers).unwrap_or_default();
        config.push(("mcast_snoop", "true".to_owned()));
        config.push(("mcast_querier", "true".to_owned()));
        if let Some(router) = routers.iter().find(|router| !router.is_v6()) {
            config.push(("mcast_ip4_src", router.address.to_string()));
        }
        if routers.iter().any(Cidr::is_v6)
            && let Some(local) = link_local(&mac)
        {
            config.push(("mcast_ip6_src", local.to_string()));
        }
        config.push(("mcast_eth_src", mac));
    }
    Datum::map_of(config)
}

/// The ports that join the node's switch with its own network and with the cluster's router.
fn switch_ports(facts: &Facts, options: &Options) -> Vec<Row> {
    let node = &*facts.name;
    let own: Vec<IpAddr> = facts
        .management_addresses()
        .iter()
        .map(|own| own.address)
        .collect();
    let mac = facts
        .management_mac
        .clone()
        .or_else(|| own.first().copied().map(address::mac));
    let mut line = mac.unwrap_or_default();
    for address in own {
        line.push(' ');
        line.push_str(&address.to_string());
    }
    let mut arp_proxy = "0a:58:a9:fe:01:01 169.254.1.1 fe80::1".to_owned();
    for subnet in &options.cluster_subnets {
        arp_proxy.push(' ');
        arp_proxy.push_str(&subnet.network().to_string());
    }
    let peer = zone::node_port(node);
    let routers = facts.router_addresses();
    vec![
        switch_port(&management_port(node), "", &line, &[]),
        switch_port(
            &router_port(node),
            "router",
            "router",
            &[("router-port", &peer), ("arp_proxy", &arp_proxy)],
        ),
        router_port_row(&peer, &routers),
    ]
}

/// The gateway router, its way to the cluster's router, and the switch to the world outside.
fn gateway(facts: &Facts, options: &Options) -> Vec<Row> {
    let join = facts.join_addresses(options);
    let (Some(gateway), Some(chassis)) = (&facts.gateway, &facts.chassis) else {
        return Vec::new();
    };
    if join.is_empty() {
        return Vec::new();
    }
    let router = gateway_router(&facts.name);
    let inside = format!("rtoj-{router}");
    let outside = format!("rtoe-{router}");
    let to_outside = format!("etor-{router}");

    let mut routes = Vec::new();
    for subnet in &options.cluster_subnets {
        if let Some(hop) = zone::router_join_address(options, subnet.is_v6()) {
            let subnet = subnet.network().to_string();
            routes.push(Route::new(&router, subnet, hop));
        }
    }
    for (has, subnet, hop) in [
        (options.has_v4(), "169.254.169.0/29", "169.254.169.4"),
        (options.has_v6(), "fd69::/125", "fd69::4"),
    ] {
        if has {
            let mut route = Route::new(&router, subnet, hop);
            route.output = Some(outside.clone());
            route.ids = vec![("k8s.ovn.org/node-masquerade-subnet", "".to_owned())];
            routes.push(route);
        }
    }
    for hop in &gateway.next_hops {
        let everything = if hop.is_ipv6() { "::/0" } else { "0.0.0.0/0" };
        let mut route = Route::new(&router, everything, hop.to_string());
        route.output = Some(outside.clone());
        routes.push(route);
    }

    let physical: Vec<String> = gateway
        .addresses
        .iter()
        .map(|own| own.address.to_string())
        .collect();
    let mut groups = vec![zone::CLUSTER_GROUP];
    if gateway.node_ports {
        groups.push(zone::ROUTER_GROUP);
    }
    let router_row = Row::new(Table::LogicalRouter, router.as_str())
        .with("name", router.as_str())
        .with("ports", Datum::from_iter([lrp(&inside), lrp(&outside)]))
        .with(
            "static_routes",
            routes.iter().map(Route::uuid).collect::<Datum>(),
        )
        .with(
            "load_balancer_group",
            groups
                .into_iter()
                .map(|group| Table::LoadBalancerGroup.uuid(group))
                .collect::<Datum>(),
        )
        .with(
            "options",
            Datum::map_of([
                ("always_learn_from_arp_request", "false"),
                ("chassis", chassis),
                ("dynamic_neigh_routers", "false"),
                ("lb_force_snat_ip", "router_ip"),
                ("mac_binding_age_threshold", "300"),
                ("snat-ct-zone", "0"),
            ]),
        )
        .with(
            "external_ids",
            Datum::map_of([
                ("physical_ip", physical.first().cloned().unwrap_or_default()),
                ("physical_ips", physical.join(",")),
            ]),
        );
    let outside_switch = format!("ext_{}", facts.name);
    let outside_port = Row::new(Table::LogicalRouterPort, outside.as_str())
        .with("name", outside.as_str())
        .with("mac", gateway.mac.as_str())
        .with("networks", networks(&gateway.addresses))
        .with(
            "external_ids",
            Datum::map_of([("gateway-physical-ip", "yes")]),
        );
    let mut localnet = switch_port(
        &gateway.interface,
        "localnet",
        "unknown",
        &[("network_name", "physnet")],
    );
    if let Some(vlan) = gateway.vlan {
        localnet = localnet.with("tag_request", vlan);
    }
    let mut rows = vec![
        router_row,
        router_port_row(&inside, &join),
        outside_port,
        switch_port(
            &zone::gateway_port(&router),
            "router",
            "router",
            &[("router-port", &inside)],
        ),
        Row::new(Table::LogicalSwitch, outside_switch.as_str())
            .with("name", outside_switch.as_str())
            .with(
                "ports",
                Datum::from_iter([lsp(&gateway.interface), lsp(&to_outside)]),
            ),
        localnet,
        switch_port(
            &to_outside,
            "router",
            &gateway.mac,
            &[
                ("exclude-lb-vips-from-garp", "true"),
                ("nat-addresses", "router"),
                ("router-port", &outside),
            ],
        ),
    ];
    rows.extend(routes.into_iter().map(Route::row));
    rows
}

/// A static route of a router.
#[derive(Clone, Debug)]
pub(super) struct Route {
    router: String,
    prefix: String,
    next_hop: String,
    pub(super) by_source: bool,
    pub(super) output: Option<String>,
    pub(super) ids: Vec<(&'static str, String)>,
}

impl Route {
    pub(super) fn new(
        router: &str,
        prefix: impl Into<String>,
        next_hop: impl Into<String>,
    ) -> Self {
        Self {
            router: router.to_owned(),
            prefix: prefix.into(),
            next_hop: next_hop.into(),
            by_source: false,
            output: None,
            ids: Vec::new(),
        }
    }

    /// Router, prefix, and what tells routes of one prefix apart: ovn-kubernetes finds its
    /// routes by these.
    fn key(&self) -> String {
        let mut key = format!("{} {}", self.router, self.prefix);
        if self.by_source {
            key.push_str(" src-ip");
        }
        if let Some(port) = &self.output {
            key.push(' ');
            key.push_str(port);
        }
        key
    }

    pub(super) fn uuid(&self) -> Uuid {
        Table::LogicalRouterStaticRoute.uuid(&self.key())
    }

    pub(super) fn row(self) -> Row {
        let mut row = Row::new(Table::LogicalRouterStaticRoute, self.key())
            .with("ip_prefix", self.prefix.as_str())
            .with("nexthop", self.next_hop.as_str())
            .with("external_ids", Datum::map_of(self.ids));
        if self.by_source {
            row = row.with("policy", "src-ip");
        }
        if let Some(port) = &self.output {
            row = row.with("output_port", port.as_str());
        }
        row
    }
}

/// A switch port that is no pod's.
pub(super) fn switch_port(
    name: &str,
    kind: &str,
    addresses: &str,
    options: &[(&'static str, &str)],
) -> Row {
    let mut row = Row::new(Table::LogicalSwitchPort, name)
        .with("name", name)
        .with("addresses", addresses)
        .with("options", Datum::map_of(options.iter().copied()));
    if !kind.is_empty() {
        row = row.with("type", kind);
    }
    row
}

/// A router port with the MAC address that follows from its addresses.
pub(super) fn router_port_row(name: &str, addresses: &[Cidr]) -> Row {
    Row::new(Table::LogicalRouterPort, name)
        .with("name", name)
        .with("mac", mac_of(addresses).unwrap_or_default())
        .with("networks", networks(addresses))
}

fn networks(addresses: &[Cidr]) -> Datum {
    addresses.iter().map(Cidr::to_string).collect()
}

pub(super) fn lsp(name: &str) -> Uuid {
    Table::LogicalSwitchPort.uuid(name)
}

pub(super) fn lrp(name: &str) -> Uuid {
    Table::LogicalRouterPort.uuid(name)
}

/// A node's share of each network.
fn shares(value: &serde_json::Value) -> BTreeMap<String, Vec<Cidr>> {
    let shares = value.as_object().into_iter().flatten();
    shares
        .map(|(network, subnets)| {
            let subnets = cidrs(subnets).iter().map(Cidr::network).collect();
            (network.clone(), subnets)
        })
        .collect()
}

fn pod_cidrs(node: &Object) -> Vec<Cidr> {
    match &node.spec {
        Spec::Node(spec) => spec.pod_cidrs.iter().map(Cidr::network).collect(),
        _ => Vec::new(),
    }
}

/// The ranges in a JSON string, or in a list of them.
fn cidrs(value: &serde_json::Value) -> Vec<Cidr> {
    let texts = strings(value);
    texts.iter().filter_map(|text| parse_cidr(text)).collect()
}

fn strings(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::String(text) => vec![text.clone()],
        serde_json::Value::Array(values) => values.iter().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}
