//! What the nodes of a zone share: the cluster's router, the join switch, and the switch that
//! leads to other zones (`base_network_controller.go`, `topology/`, `zone_interconnect/`).

use std::sync::Arc;

use netverdict_manifest::Cidr;
use netverdict_ovsdb::Datum;

use super::Context;
use super::address::{mac_of, nth, parse_cidr};
use super::node::{Facts, Route, gateway_router, lrp, lsp, router_port_row, switch_port};
use crate::options::Options;
use crate::row::{Row, Table};

/// The cluster's router, in each zone its part.
pub(crate) const ROUTER: &str = "ovn_cluster_router";
/// The switch between the cluster's router and the gateway routers.
pub(crate) const JOIN: &str = "join";
/// The switch between zones.
pub(crate) const TRANSIT: &str = "transit_switch";
/// The group of load balancers that are on all switches and gateway routers.
pub(crate) const CLUSTER_GROUP: &str = "clusterLBGroup";
/// The group of load balancers that are on all switches.
pub(crate) const SWITCH_GROUP: &str = "clusterSwitchLBGroup";
/// The group of load balancers that are on all gateway routers.
pub(crate) const ROUTER_GROUP: &str = "clusterRouterLBGroup";
/// The tunnel key of the default network's transit switch (`BaseTransitSwitchTunnelKey`).
const TRANSIT_KEY: &str = "16711683";

/// The name of the cluster router's port on a node's switch.
pub(crate) fn node_port(node: &str) -> String {
    format!("rtos-{node}")
}

/// The name of the join switch's port towards a router.
pub(crate) fn gateway_port(router: &str) -> String {
    format!("jtor-{router}")
}

/// The ranges of the join switch, in the cluster's families (`--gateway-v4-join-subnet`).
pub(crate) fn join_subnets(options: &Options) -> Vec<Cidr> {
    let v4 = options.has_v4().then(|| parse_cidr("100.64.0.0/16"));
    let v6 = options.has_v6().then(|| parse_cidr("fd98::/64"));
    v4.into_iter().chain(v6).flatten().collect()
}

/// The cluster router's address on the join switch.
pub(crate) fn router_join_address(options: &Options, v6: bool) -> Option<String> {
    let mut subnets = join_subnets(options).into_iter();
    let subnet = subnets.find(|subnet| subnet.is_v6() == v6)?;
    Some(nth(subnet, 1)?.address.to_string())
}

pub(super) fn compile(zone: &Arc<str>, cx: &mut Context<'_>) {
    let nodes: Vec<&Facts> = cx
        .facts()
        .filter(|facts| !facts.subnets.is_empty())
        .collect();
    let is_alone = nodes.iter().all(|facts| facts.zone == *zone);
    let mut made = Made::default();
    for facts in nodes {
        let before = made.rows.len();
        if facts.zone == *zone {
            made.router_ports.push(node_port(&facts.name));
            made.local_gateway(facts, cx.options);
            if !is_alone {
                made.local_transit(facts);
            }
        } else {
            made.remote_transit(facts, cx.options);
        }
        for row in made.rows.iter_mut().skip(before) {
            row.origins.push(facts.origin.clone());
        }
    }
    made.router(cx.options);
    if !is_alone {
        made.transit_switch();
    }
    for row in made.rows {
        cx.put(row.in_zone(zone));
    }
}

#[derive(Debug, Default)]
struct Made {
    rows: Vec<Row>,
    router_ports: Vec<String>,
    join_ports: Vec<String>,
    transit_ports: Vec<String>,
    routes: Vec<Route>,
}

impl Made {
    /// The way from the cluster's router to the node's gateway.
    fn local_gateway(&mut self, facts: &Facts, options: &Options) {
        let join = facts.join_addresses(options);
        if join.is_empty() {
            return;
        }
        let router = gateway_router(&facts.name);
        self.join_ports.push(gateway_port(&router));
        for gateway in &join {
            let gateway = gateway.address.to_string();
            self.route(Route::new(ROUTER, gateway.clone(), gateway));
        }
        for subnet in &facts.subnets {
            let gateway = join
                .iter()
                .find(|gateway| gateway.is_v6() == subnet.is_v6());
            if let Some(gateway) = gateway {
                let gateway = gateway.address.to_string();
                let mut route = Route::new(ROUTER, subnet.to_string(), gateway);
                route.by_source = true;
                self.route(route);
            }
        }
    }

    /// The port of a node of this zone on the switch between zones.
    fn local_transit(&mut self, facts: &Facts) {
        let Some(id) = facts.id.filter(|_| !facts.transit.is_empty()) else {
            return;
        };
        let router_port = format!("rtots-{}", facts.name);
        let port = format!("tstor-{}", facts.name);
        let options = [
            ("requested-tnl-key", &*id.to_string()),
            ("router-port", &router_port),
        ];
        let node = [("node", facts.name.clone())];
        self.rows.push(
            switch_port(&port, "router", "router", &options)
                .with("external_ids", Datum::map_of(node)),
        );
        self.rows.push(
            router_port_row(&router_port, &facts.transit)
                .with("options", Datum::map_of([("mcast_flood", "true")])),
        );
        self.router_ports.push(router_port);
        self.transit_ports.push(port);
    }

    /// A node of another zone, and the ways to its pods and its gateway.
    fn remote_transit(&mut self, facts: &Facts, options: &Options) {
        let Some(id) = facts.id.filter(|_| !facts.transit.is_empty()) else {
            return;
        };
        let port = format!("tstor-{}", facts.name);
        let mut line = mac_of(&facts.transit).unwrap_or_default();
        for address in &facts.transit {
            line.push(' ');
            line.push_str(&address.to_string());
        }
        let id = id.to_string();
        let mut port_options = vec![("requested-tnl-key", &*id)];
        if let Some(chassis) = &facts.chassis {
            port_options.push(("requested-chassis", chassis));
        }
        let node = [("node", facts.name.clone())];
        self.rows.push(
            switch_port(&port, "remote", &line, &port_options)
                .with("external_ids", Datum::map_of(node)),
        );
        self.transit_ports.push(port);
        let gateways = facts
            .join_addresses(options)
            .into_iter()
            .map(|mut gateway| {
                gateway.prefix = if gateway.is_v6() { 128 } else { 32 };
                gateway
            });
        for prefix in facts.subnets.iter().copied().chain(gateways) {
            let mut hops = facts.transit.iter();
            if let Some(hop) = hops.find(|hop| hop.is_v6() == prefix.is_v6()) {
                let hop = hop.address.to_string();
                let mut route = Route::new(ROUTER, prefix.to_string(), hop);
                route.ids = vec![
                    ("ic-node", facts.name.to_string()),
                    ("k8s.ovn.org/network", "default".to_owned()),
                ];
                self.route(route);
            }
        }
    }

    fn route(&mut self, route: Route) {
        self.rows.push(route.clone().row());
        self.routes.push(route);
    }

    /// The cluster's router and the join switch.
    fn router(&mut self, options: &Options) {
        let to_join = format!("rtoj-{ROUTER}");
        let from_join = gateway_port(ROUTER);
        self.router_ports.push(to_join.clone());
        self.join_ports.push(from_join.clone());
        let mut router_options = vec![("always_learn_from_arp_request", "false")];
        if options.multicast {
            router_options.push(("mcast_relay", "true"));
        }
        let addresses: Vec<Cidr> = join_subnets(options)
            .into_iter()
            .filter_map(|subnet| nth(subnet, 1))
            .collect();
        let router_ports = self.router_ports.iter().map(|port| lrp(port));
        let join_ports = self.join_ports.iter().map(|port| lsp(port));
        let routes = self.routes.iter().map(Route::uuid);
        self.rows.extend([
            Row::new(Table::LogicalRouter, ROUTER)
                .with("name", ROUTER)
                .with("ports", router_ports.collect::<Datum>())
                .with("static_routes", routes.collect::<Datum>())
                .with("options", Datum::map_of(router_options))
                .with(
                    "external_ids",
                    Datum::map_of([("k8s-cluster-router", "yes")]),
                ),
            Row::new(Table::LogicalSwitch, JOIN)
                .with("name", JOIN)
                .with("ports", join_ports.collect::<Datum>()),
            router_port_row(&to_join, &addresses),
            switch_port(&from_join, "router", "router", &[("router-port", &to_join)]),
        ]);
    }

    fn transit_switch(&mut self) {
        let ports = self.transit_ports.iter().map(|port| lsp(port));
        let config = [
            ("interconn-ts", TRANSIT),
            ("mcast_flood_unregistered", "true"),
            ("mcast_querier", "false"),
            ("mcast_snoop", "true"),
            ("requested-tnl-key", TRANSIT_KEY),
        ];
        let row = Row::new(Table::LogicalSwitch, TRANSIT)
            .with("name", TRANSIT)
            .with("ports", ports.collect::<Datum>())
            .with("other_config", Datum::map_of(config));
        self.rows.push(row);
    }
}
