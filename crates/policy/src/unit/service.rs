//! Services: their load balancers, and the groups by which switches and routers have them
//! (`controller/services/`).
//!
//! Node ports are written as load balancers of each node, as ovn-kubernetes does with an OVN
//! without Chassis_Template_Var; with such a table it writes templates, which only ovn-controller
//! can resolve. Left out: idling, the gateway routers of user-defined networks.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use netverdict_manifest::{
    Cidr, EndpointSlice, Key, Kind, NetworkTopology, Object, Protocol, Service, ServicePort,
    SliceEndpoint, Spec, TrafficPolicy,
};
use netverdict_ovn::ids::key as id;
use netverdict_ovsdb::Datum;
use uuid::Uuid;

use super::address::contains;
use super::network::Network;
use super::node::{Facts, gateway_router};
use super::user_switch::LAYER2_SWITCH;
use super::zone::{CLUSTER_GROUP, ROUTER_GROUP, SWITCH_GROUP};
use super::{Context, Unit, origin};
use crate::options::Options;
use crate::row::{Row, Scope, Table};

/// The longest affinity there is; ovn-kubernetes lets OVN choose by addresses instead
/// (`core.MaxClientIPServiceAffinitySeconds`).
const LONGEST_AFFINITY: u32 = 86400;
/// What a host's own endpoint is to its gateway router (`V4HostMasqueradeIP`).
const HOST_MASQUERADE: [&str; 2] = ["169.254.169.2", "fd69::2"];
/// Where a host's traffic for a node port with local endpoints goes
/// (`V4HostETPLocalMasqueradeIP`).
const LOCAL_MASQUERADE: [&str; 2] = ["169.254.169.3", "fd69::3"];

/// The groups by which switches and gateway routers of a network have load balancers.
pub(super) fn compile_groups(network: &Network, cx: &mut Context<'_>) {
    // Only the default network has gateway routers here.
    let router = network.is_default().then_some(ROUTER_GROUP);
    for group in [CLUSTER_GROUP, SWITCH_GROUP].into_iter().chain(router) {
        let group = network.scoped(group);
        cx.put(Row::new(Table::LoadBalancerGroup, group.as_str()).with("name", group.as_str()));
    }
}

pub(super) fn compile(key: &Key, cx: &mut Context<'_>) {
    let Some(object) = cx.object(key) else { return };
    let Spec::Service(service) = &object.spec else {
        return;
    };
    if service.cluster_ips.is_empty() || service.kind == "ExternalName" {
        return;
    }
    let network = cx.network(&key.namespace);
    if network.is_default() {
        cx.demand(Unit::BalancerGroups);
    }
    let slices: Vec<&EndpointSlice> = cx
        .objects_in(Kind::EndpointSlice, &key.namespace)
        .filter_map(|slice| match &slice.spec {
            Spec::EndpointSlice(slice) if *slice.service == *key.name => Some(slice),
            _ => None,
        })
        .collect();
    let slices: Vec<Cow<'_, EndpointSlice>> = slices
        .into_iter()
        .map(|slice| in_network(slice, &network, cx))
        .collect();
    let subnets = network.subnets(cx.options);
    let configs: Vec<Config> = service
        .ports
        .iter()
        .flat_map(|port| Config::of(service, port, &slices, subnets))
        .collect();
    let owner = Owner {
        key,
        service,
        network: &network,
    };
    let mut members = Members::default();

    for protocol in Protocol::ALL {
        let shared: Vec<&Config> = configs
            .iter()
            .filter(|config| config.protocol == protocol && !config.by_node)
            .collect();
        if shared.is_empty() {
            continue;
        }
        let rules = shared.iter().flat_map(|config| {
            let rules = config.virtuals.iter().map(|address| Rule {
                source: SocketAddr::new(*address, config.port),
                targets: config.all(address.is_ipv6()),
            });
            rules.collect::<Vec<_>>()
        });
        let balancer = Balancer::new(protocol, "cluster", rules.collect());
        let row = owner.row(balancer, object, Scope::Every);
        let group = network.scoped(CLUSTER_GROUP);
        members.add(&row.scope, Table::LoadBalancerGroup, &group, row.uuid);
        cx.put(row);
    }
    if configs.iter().any(|config| config.by_node) {
        by_node(&owner, object, &configs, &mut members, cx);
    }
    members.put(cx);
}

fn by_node(
    owner: &Owner<'_>,
    object: &Object,
    configs: &[Config],
    members: &mut Members,
    cx: &mut Context<'_>,
) {
    let network = owner.network;
    let is_flat = network.topology == Some(NetworkTopology::Layer2);
    let nodes: Vec<&Facts> = cx
        .facts()
        .filter(|facts| is_flat || facts.has_share(&network.name))
        .collect();
    for zone in cx.zones() {
        let local = nodes.iter().filter(|facts| facts.zone == zone);
        let balancers: Vec<Balancer> = local
            .flat_map(|facts| balancers_of_node(facts, configs, network, cx.options))
            .collect();
        for balancer in merged(balancers) {
            let (switches, routers) = (balancer.switches.clone(), balancer.routers.clone());
            let row = owner.row(balancer, object, Scope::Zone(zone.clone()));
            for switch in switches {
                members.add(&row.scope, Table::LogicalSwitch, &switch, row.uuid);
            }
            // Those of networks of users are left out.
            for router in routers.iter().filter(|_| network.is_default()) {
                members.add(&row.scope, Table::LogicalRouter, router, row.uuid);
            }
            cx.put(row);
        }
    }
}

/// A slice with the addresses that its pods have in a network, as ovn-kubernetes mirrors slices
/// for networks of users.
fn in_network<'a>(
    slice: &'a EndpointSlice,
    network: &Network,
    cx: &mut Context<'a>,
) -> Cow<'a, EndpointSlice> {
    if network.is_default() {
        return Cow::Borrowed(slice);
    }
    let mut slice = slice.clone();
    for endpoint in &mut slice.endpoints {
        let pod = endpoint.pod.as_deref().and_then(|pod| pod.split_once('/'));
        let pod = pod.map(|(namespace, name)| Key::new(Kind::Pod, namespace, name));
        let spec = pod.as_ref().and_then(|pod| match &cx.object(pod)?.spec {
            Spec::Pod(spec) => Some((pod, spec)),
            _ => None,
        });
        let v6 = endpoint.addresses.iter().any(IpAddr::is_ipv6);
        endpoint.addresses = match spec {
            Some((pod, spec)) => network.addresses_in(&pod.namespace, spec),
            None => Vec::new(),
        };
        endpoint.addresses.retain(|own| own.is_ipv6() == v6);
    }
    Cow::Owned(slice)
}

/// What a service adds to switches, routers and groups.
#[derive(Default)]
struct Members(BTreeMap<(Scope, Table, String), Vec<Uuid>>);

impl Members {
    fn add(&mut self, scope: &Scope, table: Table, name: &str, balancer: Uuid) {
        let place = (scope.clone(), table, name.to_owned());
        self.0.entry(place).or_default().push(balancer);
    }

    fn put(self, cx: &mut Context<'_>) {
        for ((scope, table, name), balancers) in self.0 {
            let balancers: Datum = balancers.into_iter().collect();
            let mut row = Row::new(table, name).with("load_balancer", balancers);
            row.scope = scope;
            cx.put(row);
        }
    }
}

struct Owner<'a> {
    key: &'a Key,
    service: &'a Service,
    network: &'a Network,
}

impl Owner<'_> {
    fn name(&self, balancer: &Balancer) -> String {
        let Key {
            namespace, name, ..
        } = self.key;
        let protocol = balancer.protocol.as_str();
        let name = format!("Service_{namespace}/{name}_{protocol}_{}", balancer.name);
        self.network.scoped(&name)
    }

    fn row(&self, balancer: Balancer, object: &Object, scope: Scope) -> Row {
        let name = self.name(&balancer);
        let mut options = vec![
            ("event", "false".to_owned()),
            ("hairpin_snat_ip", "169.254.169.5 fd69::5".to_owned()),
            ("neighbor_responder", "none".to_owned()),
            ("reject", "true".to_owned()),
            ("skip_snat", balancer.skip_snat.to_string()),
        ];
        let mut fields = Datum::empty();
        match self.service.affinity_timeout {
            Some(LONGEST_AFFINITY) => fields = Datum::from_iter(["ip_dst", "ip_src"]),
            Some(timeout) => options.push(("affinity_timeout", timeout.to_string())),
            None => {}
        }
        let Key {
            namespace,
            name: service,
            ..
        } = self.key;
        let mut ids = vec![
            (id::SERVICE_KIND, "Service".to_owned()),
            (id::SERVICE_OWNER, format!("{namespace}/{service}")),
        ];
        if !self.network.is_default() {
            ids.push((id::NETWORK, self.network.name.to_string()));
            ids.push(("k8s.ovn.org/role", "primary".to_owned()));
        }
        let mut row = Row::new(Table::LoadBalancer, name.as_str())
            .with("name", name.as_str())
            .with("protocol", balancer.protocol.ovn())
            .with("vips", vips(&balancer.rules))
            .with("options", Datum::map_of(options))
            .with("selection_fields", fields)
            .with("external_ids", Datum::map_of(ids))
            .from(origin(object));
        row.scope = scope;
        row
    }
}

fn vips(rules: &[Rule]) -> Datum {
    let mut vips: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for rule in rules {
        let targets = vips.entry(rule.source.to_string()).or_default();
        targets.extend(rule.targets.iter().map(SocketAddr::to_string));
    }
    Datum::map_of(
        vips.into_iter()
            .map(|(source, targets)| (source, targets.join(","))),
    )
}

/// One port of a service at some of its addresses.
#[derive(Debug)]
struct Config {
    protocol: Protocol,
    /// Where traffic comes to.
    port: u16,
    virtuals: Vec<IpAddr>,
    /// The virtual addresses that are of the cluster.
    cluster_ips: Vec<IpAddr>,
    /// True if the nodes' own addresses are the virtual ones (a node port).
    at_nodes: bool,
    /// True if it is written for each node.
    by_node: bool,
    internal_local: bool,
    external_local: bool,
    endpoints: Vec<Entry>,
}

/// The endpoints that listen on one port.
#[derive(Debug)]
struct Entry {
    port: u16,
    all: Vec<IpAddr>,
    /// Those of each node.
    local: BTreeMap<String, Vec<IpAddr>>,
}

impl Config {
    fn of(
        service: &Service,
        port: &ServicePort,
        slices: &[Cow<'_, EndpointSlice>],
        subnets: &[Cidr],
    ) -> Vec<Self> {
        let external_local = service.external == TrafficPolicy::Local;
        let internal_local = service.internal == TrafficPolicy::Local;
        let config = |virtuals: Vec<IpAddr>, number: u16| Self {
            protocol: port.protocol,
            port: number,
            virtuals,
            cluster_ips: service.cluster_ips.clone(),
            at_nodes: false,
            by_node: true,
            internal_local: false,
            external_local: false,
            endpoints: entries(service, port, slices),
        };
        let mut configs = Vec::new();
        if let Some(number) = port.node_port {
            configs.push(Self {
                at_nodes: true,
                external_local,
                ..config(Vec::new(), number)
            });
        }
        let mut virtuals = service.cluster_ips.clone();
        let mut outside = service.external_ips.clone();
        if service.kind == "LoadBalancer" {
            outside.extend(&service.balancer_ips);
        }
        if external_local && !outside.is_empty() {
            configs.push(Self {
                external_local,
                ..config(outside, port.port)
            });
        } else {
            virtuals.extend(outside);
        }
        let mut shared = config(virtuals, port.port);
        shared.internal_local = internal_local;
        shared.by_node = internal_local || shared.has_host_endpoints(subnets);
        configs.push(shared);
        configs
    }

    /// True if an endpoint is not of the network.
    fn has_host_endpoints(&self, subnets: &[Cidr]) -> bool {
        let mut all = self.endpoints.iter().flat_map(|entry| &entry.all);
        all.any(|address| !subnets.iter().any(|subnet| contains(*subnet, *address)))
    }

    /// All endpoints of a family.
    fn all(&self, v6: bool) -> Vec<SocketAddr> {
        let entries = self.endpoints.iter();
        entries
            .flat_map(|entry| on_port(&entry.all, entry.port, v6))
            .collect()
    }

    /// The endpoints of a family on a node.
    fn local(&self, node: &str, v6: bool) -> Vec<SocketAddr> {
        let entries = self.endpoints.iter();
        entries
            .flat_map(|entry| match entry.local.get(node) {
                Some(local) => on_port(local, entry.port, v6),
                None => Vec::new(),
            })
            .collect()
    }
}

fn on_port(addresses: &[IpAddr], port: u16, v6: bool) -> Vec<SocketAddr> {
    let of_family = addresses.iter().filter(|address| address.is_ipv6() == v6);
    of_family
        .map(|address| SocketAddr::new(*address, port))
        .collect()
}

/// The endpoints of a service's port, by the number they listen on.
fn entries(service: &Service, port: &ServicePort, slices: &[Cow<'_, EndpointSlice>]) -> Vec<Entry> {
    let mut by_number: BTreeMap<u16, Vec<&SliceEndpoint>> = BTreeMap::new();
    for slice in slices {
        for of in &slice.ports {
            if of.name == port.name
                && of.protocol == port.protocol
                && let Some(number) = of.port
            {
                let endpoints = by_number.entry(number).or_default();
                endpoints.extend(&slice.endpoints);
            }
        }
    }
    by_number
        .into_iter()
        .map(|(number, endpoints)| {
            let nodes: BTreeSet<&str> = endpoints
                .iter()
                .filter_map(|endpoint| endpoint.node.as_deref())
                .collect();
            let local = nodes.into_iter().map(|node| {
                let here: Vec<&SliceEndpoint> = endpoints
                    .iter()
                    .copied()
                    .filter(|endpoint| endpoint.node.as_deref() == Some(node))
                    .collect();
                (node.to_owned(), eligible(service, &here))
            });
            Entry {
                port: number,
                all: eligible(service, &endpoints),
                local: local.collect(),
            }
        })
        .filter(|entry| !entry.all.is_empty())
        .collect()
}

/// The addresses that are ready; if there are none, those that still serve while they end
/// (KEP 1669). In the order of their text, as ovn-kubernetes writes them.
fn eligible(service: &Service, endpoints: &[&SliceEndpoint]) -> Vec<IpAddr> {
    let is_ready =
        |endpoint: &&&SliceEndpoint| service.publish_not_ready || endpoint.ready.unwrap_or(true);
    let is_ending = |endpoint: &&&SliceEndpoint| {
        let ready = endpoint.ready.unwrap_or(true);
        endpoint.serving.unwrap_or(ready) && endpoint.terminating.unwrap_or(false)
    };
    let mut chosen: Vec<&&SliceEndpoint> = endpoints.iter().filter(is_ready).collect();
    if chosen.is_empty() {
        chosen = endpoints.iter().filter(is_ending).collect();
    }
    let by_text: BTreeMap<String, IpAddr> = chosen
        .into_iter()
        .flat_map(|endpoint| &endpoint.addresses)
        .map(|address| (address.to_string(), *address))
        .collect();
    by_text.into_values().collect()
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Rule {
    source: SocketAddr,
    targets: Vec<SocketAddr>,
}

#[derive(Clone, Debug)]
struct Balancer {
    protocol: Protocol,
    name: String,
    rules: Vec<Rule>,
    skip_snat: bool,
    switches: Vec<String>,
    routers: Vec<String>,
}

impl Balancer {
    fn new(protocol: Protocol, name: impl Into<String>, rules: Vec<Rule>) -> Self {
        Self {
            protocol,
            name: name.into(),
            rules,
            skip_snat: false,
            switches: Vec::new(),
            routers: Vec::new(),
        }
    }
}

/// The load balancers of a node's switch and gateway router.
fn balancers_of_node(
    facts: &Facts,
    configs: &[Config],
    network: &Network,
    options: &Options,
) -> Vec<Balancer> {
    let node = &*facts.name;
    let routers = match facts.join_addresses(options).is_empty() {
        true => Vec::new(),
        false => vec![gateway_router(&network.scoped(node))],
    };
    let switches = vec![match network.topology {
        Some(NetworkTopology::Layer2) => network.scoped(LAYER2_SWITCH),
        _ => network.scoped(node),
    }];
    let mut balancers = Vec::new();
    for protocol in Protocol::ALL {
        let mut at_switch = Vec::new();
        let mut at_router = Vec::new();
        let mut at_router_locally = Vec::new();
        for config in configs {
            if config.protocol != protocol || !config.by_node {
                continue;
            }
            let virtuals = match config.at_nodes {
                true => facts.node_port_addresses(),
                false => config.virtuals.clone(),
            };
            for address in virtuals {
                let v6 = address.is_ipv6();
                let source = SocketAddr::new(address, config.port);
                if config.external_local
                    && config.at_nodes
                    && let Ok(masquerade) = LOCAL_MASQUERADE[usize::from(v6)].parse()
                {
                    at_switch.push(Rule {
                        source: SocketAddr::new(masquerade, config.port),
                        targets: config.local(node, v6),
                    });
                }
                let is_internal = config.internal_local && config.cluster_ips.contains(&address);
                at_switch.push(Rule {
                    source,
                    targets: match is_internal {
                        true => config.local(node, v6),
                        false => config.all(v6),
                    },
                });
                let targets = match config.external_local {
                    true => config.local(node, v6),
                    false => config.all(v6),
                };
                let rule = Rule {
                    source,
                    targets: facts.masqueraded(targets),
                };
                if config.external_local && !rule.targets.is_empty() {
                    at_router_locally.push(rule);
                } else {
                    at_router.push(rule);
                }
            }
        }
        let balancer = |scope: &str, rules, switches: &[String], routers: &[String]| Balancer {
            switches: switches.to_vec(),
            routers: routers.to_vec(),
            ..Balancer::new(protocol, format!("{scope}_{node}"), rules)
        };
        if at_switch == at_router && !at_switch.is_empty() && !routers.is_empty() {
            balancers.push(balancer(
                "node_router+switch",
                at_router,
                &switches,
                &routers,
            ));
            continue;
        }
        if !at_router.is_empty() && !routers.is_empty() {
            balancers.push(balancer("node_router", at_router, &[], &routers));
        }
        if !at_router_locally.is_empty() && !routers.is_empty() {
            let mut local = balancer("node_local_router", at_router_locally, &[], &routers);
            local.skip_snat = true;
            balancers.push(local);
        }
        if !at_switch.is_empty() {
            balancers.push(balancer("node_switch", at_switch, &switches, &[]));
        }
    }
    balancers
}

impl Facts {
    /// The addresses on which the node has node ports.
    fn node_port_addresses(&self) -> Vec<IpAddr> {
        match &self.gateway {
            Some(gateway) if gateway.node_ports => self.host_addresses.clone(),
            _ => Vec::new(),
        }
    }

    /// With the node's own addresses replaced, as its gateway router needs it.
    fn masqueraded(&self, mut targets: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let own = self.gateway.iter().flat_map(|gateway| &gateway.addresses);
        let own: Vec<IpAddr> = own.map(|cidr| cidr.address).collect();
        for target in &mut targets {
            let v6 = target.is_ipv6();
            if own.contains(&target.ip())
                && let Ok(masquerade) = HOST_MASQUERADE[usize::from(v6)].parse()
            {
                target.set_ip(masquerade);
            }
        }
        targets
    }
}

/// One load balancer for all that are alike but for where they are (`mergeLBs`).
fn merged(balancers: Vec<Balancer>) -> Vec<Balancer> {
    let mut merged: Vec<Balancer> = Vec::new();
    for balancer in balancers {
        let alike = merged.iter_mut().find(|of| {
            of.protocol == balancer.protocol
                && of.skip_snat == balancer.skip_snat
                && of.rules == balancer.rules
        });
        match alike {
            Some(of) => {
                of.switches.extend(balancer.switches);
                of.routers.extend(balancer.routers);
                if !of.name.ends_with("_merged") {
                    of.name.push_str("_merged");
                }
            }
            None => merged.push(balancer),
        }
    }
    merged
}
