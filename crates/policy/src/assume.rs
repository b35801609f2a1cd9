//! What manifests leave out and a cluster would add: nodes, addresses, endpoints. Not for a live
//! cluster, which has them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use netverdict_manifest::{
    AdminPeer, At, Attachment, Cidr, Diagnostic, EgressTo, EndpointSlice, Key, Kind, Meta,
    NetworkSpec, NetworkTopology, Node, Object, Peer, Pod, PortRef, Selector, Service, Severity,
    SliceEndpoint, SlicePort, Spec,
};
use netverdict_ovn::ids::fnv64a;
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::options::Options;
use crate::selector::selects;
use crate::unit::Context;
use crate::unit::address::{contains, mac, nth, nth_subnet, parse_cidr};
use crate::unit::network::Network;
use crate::unit::node::{CHASSIS, Facts, GATEWAY, HOST, ID, SUBNETS, TRANSIT};
use crate::unit::pod;

/// The addresses of services (`--service-cluster-ip-range`).
const SERVICES_V4: &str = "10.96.0.0/16";
const SERVICES_V6: &str = "fd00:10:96::/112";

/// The objects with what was left out, and notes that tell what that is.
#[derive(Clone, Debug, Default)]
pub struct Assumed {
    /// All objects: those given, filled in where something was missing, and the new ones.
    pub objects: Vec<Arc<Object>>,
    /// One note for each kind of thing that was assumed; warnings where something did not fit.
    pub diagnostics: Vec<Diagnostic>,
}

/// The addresses of pods where the options name none: 10.244.0.0/16, also fd00:10:244::/48 if
/// any address in the objects is of IPv6, and that alone if all addresses of pods, nodes and
/// services are.
pub fn cluster_subnets<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Vec<Cidr> {
    let mut ends = [false; 2];
    let mut mentioned_v6 = false;
    for object in objects {
        for address in addresses_of(object) {
            ends[usize::from(address.is_ipv6())] = true;
        }
        mentioned_v6 |= mentions_v6(&object.spec);
    }
    let [v4, v6] = ends;
    let v4 = (v4 || !v6).then(|| parse_cidr("10.244.0.0/16"));
    let v6 = (v6 || mentioned_v6).then(|| parse_cidr("fd00:10:244::/48"));
    v4.into_iter().chain(v6).flatten().collect()
}

/// Fills in what the objects leave out. The same objects give the same result in any order, and
/// a small change of them a small change of it:
///
/// - a node for each name that pods give, `node-1` if there is none at all;
/// - nodes: number, chassis, share of the cluster's subnets in the order of their names, address
///   and gateway;
/// - pods: a node, chosen by the pod's name; addresses of its node's subnets, by the pod's name;
/// - pods with a primary user-defined network: addresses in it, nodes a share of it;
/// - services: cluster addresses out of 10.96.0.0/16 and fd00:10:96::/112 and node ports, by the
///   service's name;
/// - the EndpointSlices of services that have a selector and no slice.
pub fn assume(objects: &[Arc<Object>], options: &Options) -> Assumed {
    let mut world = World {
        options,
        objects: objects
            .iter()
            .map(|object| (object.key.clone(), object.clone()))
            .collect(),
        diagnostics: Vec::new(),
    };
    world.nodes();
    world.pods();
    world.networks();
    world.services();
    world.endpoints();
    world.strangers();
    Assumed {
        objects: world.objects.into_values().collect(),
        diagnostics: world.diagnostics,
    }
}

struct World<'a> {
    options: &'a Options,
    objects: BTreeMap<Key, Arc<Object>>,
    diagnostics: Vec<Diagnostic>,
}

impl World<'_> {
    fn of(&self, kind: Kind) -> Vec<Arc<Object>> {
        let objects = self.objects.values();
        objects
            .filter(|object| object.key.kind == kind)
            .cloned()
            .collect()
    }

    fn put(&mut self, object: Object) {
        self.objects.insert(object.key.clone(), Arc::new(object));
    }

    fn families(&self) -> Vec<bool> {
        let has = [
            (false, self.options.has_v4()),
            (true, self.options.has_v6()),
        ];
        has.into_iter()
            .filter_map(|(v6, has)| has.then_some(v6))
            .collect()
    }

    fn note(&mut self, what: Vec<String>, text: impl FnOnce(&str) -> String, help: &str) {
        if what.is_empty() {
            return;
        }
        let note = Diagnostic::new(Severity::Note, "assumed", text(&listed(&what)));
        self.diagnostics.push(note.help(help));
    }

    fn nodes(&mut self) {
        let mut missing: BTreeSet<String> = self
            .of(Kind::Pod)
            .iter()
            .filter_map(|pod| pod_of(pod)?.node.clone())
            .filter(|node| !self.objects.contains_key(&Key::new(Kind::Node, "", node)))
            .collect();
        if missing.is_empty() && self.of(Kind::Node).is_empty() {
            missing.insert("node-1".to_owned());
        }
        for node in &missing {
            self.put(Object {
                key: Key::new(Kind::Node, "", node),
                meta: Meta::default(),
                spec: Spec::Node(Node::default()),
            });
        }
        self.note(
            missing.into_iter().collect(),
            |nodes| format!("nodes are assumed: {nodes}"),
            "add Node objects (`kubectl get nodes -o yaml`) to compile for nodes as they are",
        );

        let nodes: Vec<(Arc<Object>, Facts)> = self
            .of(Kind::Node)
            .into_iter()
            .map(|node| {
                let facts = Facts::read(&node);
                (node, facts)
            })
            .collect();
        let mut ids: HashSet<u32> = nodes.iter().filter_map(|(_, facts)| facts.id).collect();
        let shares = nodes.iter().flat_map(|(_, facts)| &facts.subnets);
        let mut taken = Taken::of(shares.copied());
        let mut subnetted = Vec::new();
        for (node, facts) in nodes {
            let id = facts.id.unwrap_or_else(|| {
                let id = (2..).find(|id| !ids.contains(id)).unwrap_or(u32::MAX);
                ids.insert(id);
                id
            });
            let mut subnets = facts.subnets.clone();
            for v6 in self.families() {
                if !subnets.iter().any(|subnet| subnet.is_v6() == v6) {
                    subnets.extend(self.cluster_share(v6, &mut taken));
                }
            }
            subnets.sort_by_key(Cidr::is_v6);
            if subnets.len() > facts.subnets.len() {
                subnetted.push(facts.name.to_string());
            }
            let node = self.filled(&node, &facts, id, &subnets);
            self.put(node);
        }
        self.note(
            subnetted,
            |nodes| format!("addresses for pods are assumed on nodes: {nodes}"),
            "the annotation k8s.ovn.org/node-subnets, or podCIDRs, tell them",
        );
    }

    /// The next share of the cluster's subnets that nobody has.
    fn cluster_share(&self, v6: bool, taken: &mut Taken) -> Option<Cidr> {
        let ranges = self.options.cluster_subnets.iter();
        ranges
            .filter(|range| range.is_v6() == v6)
            .find_map(|range| {
                let prefix = if v6 { 64 } else { 24 }.max(range.prefix);
                taken.take(*range, prefix)
            })
    }

    /// The node with the annotations that ovn-kubernetes would have written.
    fn filled(&self, node: &Object, facts: &Facts, id: u32, subnets: &[Cidr]) -> Object {
        let mut node = node.clone();
        let name = facts.name.clone();
        let span = node.meta.span;
        let mut annotate = |key: &str, value: String| {
            let annotations = &mut node.meta.annotations;
            annotations
                .entry(key.to_owned())
                .or_insert_with(|| At::new(value, span));
        };
        annotate(ID, id.to_string());
        let chassis = Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes());
        annotate(CHASSIS, chassis.to_string());
        let texts: Vec<String> = subnets.iter().map(Cidr::to_string).collect();
        annotate(SUBNETS, serde_json::json!({ "default": texts }).to_string());
        let mut transit = serde_json::Map::new();
        let mut own = Vec::new();
        let mut hops = Vec::new();
        for v6 in self.families() {
            let (family, switch, outside) = if v6 {
                ("ipv6", "fd97::/64", "fc00:f853:ccd:e793::/64")
            } else {
                ("ipv4", "100.88.0.0/16", "172.18.0.0/16")
            };
            let address = |range| nth(parse_cidr(range)?, id.into());
            if let Some(address) = address(switch) {
                transit.insert(family.to_owned(), address.to_string().into());
            }
            let given = match &node.spec {
                Spec::Node(node) => node.addresses.iter().find(|own| own.is_ipv6() == v6),
                _ => None,
            };
            let given = given.map(|own| Cidr {
                address: *own,
                prefix: if v6 { 64 } else { 24 },
            });
            if let Some(address) = given.or_else(|| address(outside)) {
                // The first address of the network, or the second for the one who has the first.
                let first = nth(address, 1).filter(|first| first.address != address.address);
                hops.extend(first.or_else(|| nth(address, 2)));
                own.push(address);
            }
        }
        annotate(TRANSIT, serde_json::Value::from(transit).to_string());
        if let Some(first) = own.first() {
            let strings = |list: &[Cidr]| list.iter().map(Cidr::to_string).collect::<Vec<_>>();
            annotate(HOST, serde_json::json!(strings(&own)).to_string());
            let hops: Vec<String> = hops.iter().map(|hop| hop.address.to_string()).collect();
            let gateway = serde_json::json!({ "default": {
                "mode": "shared",
                "interface-id": format!("breth0_{name}"),
                "mac-address": mac(first.address),
                "ip-addresses": strings(&own),
                "next-hops": hops,
                "node-port-enable": "true",
            }});
            annotate(GATEWAY, gateway.to_string());
        }
        if let Spec::Node(node) = &mut node.spec {
            for address in own {
                if !node.addresses.contains(&address.address) {
                    node.addresses.push(address.address);
                }
            }
        }
        node
    }

    fn pods(&mut self) {
        let nodes: BTreeMap<Arc<str>, (Facts, Vec<IpAddr>)> = self
            .of(Kind::Node)
            .iter()
            .map(|node| {
                let own = match &node.spec {
                    Spec::Node(spec) => spec.addresses.clone(),
                    _ => Vec::new(),
                };
                (node.key.name.clone(), (Facts::read(node), own))
            })
            .collect();
        let pods = self.of(Kind::Pod);
        let mut taken: HashSet<IpAddr> = pods
            .iter()
            .filter_map(|pod| pod_of(pod))
            .flat_map(|pod| {
                let attached = pod.attachments.iter().flat_map(|of| &of.addresses);
                let attached = attached.map(|cidr| cidr.address);
                pod.addresses.iter().copied().chain(attached)
            })
            .collect();
        let (mut placed, mut addressed, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for object in pods {
            let Some(pod) = pod_of(&object) else { continue };
            let name = format!("{}/{}", object.key.namespace, object.key.name);
            let has_address = !pod.addresses.is_empty() || !pod.attachments.is_empty();
            if pod.completed || (pod.node.is_some() && has_address) {
                continue;
            }
            let mut pod = pod.clone();
            if pod.node.is_none() {
                pod.node = chosen(&name, nodes.keys()).map(|node| node.to_string());
                placed.push(name.clone());
            }
            let node = pod.node.as_deref().and_then(|node| nodes.get(node));
            if let Some((facts, own)) = node
                && !has_address
            {
                if pod.host_network {
                    pod.addresses.clone_from(own);
                } else {
                    let found = free_addresses(&name, &facts.subnets, &mut taken);
                    if found.len() < facts.subnets.len() {
                        left_out.push(name);
                    } else {
                        pod.addresses = found;
                        addressed.push(name);
                    }
                }
            }
            let mut object = Object::clone(&object);
            object.spec = Spec::Pod(pod);
            self.put(object);
        }
        if nodes.len() > 1 {
            self.note(
                placed,
                |pods| format!("nodes are assumed for pods: {pods}"),
                "`nodeName` tells the node",
            );
        }
        self.note(
            addressed,
            |pods| format!("addresses are assumed for pods: {pods}"),
            "`status.podIPs` tells the addresses (`kubectl get pods -A -o yaml`)",
        );
        if !left_out.is_empty() {
            let message = format!("no address is left for pods: {}", listed(&left_out));
            let warning = Diagnostic::new(Severity::Warning, "no-address", message);
            let help = "give the cluster more addresses (`--cluster-subnet`), or add nodes";
            self.diagnostics.push(warning.help(help));
        }
    }

    /// Gives nodes and pods their part of primary user-defined networks.
    fn networks(&mut self) {
        let mut cluster = Cluster::default();
        let kinds = [
            Kind::Namespace,
            Kind::UserDefinedNetwork,
            Kind::ClusterUserDefinedNetwork,
        ];
        for object in kinds.into_iter().flat_map(|kind| self.of(kind)) {
            let key = object.key.clone();
            cluster.put(&key, Some(object), &mut Vec::new());
        }
        let mut shares: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Vec<Cidr>>> = BTreeMap::new();
        let mut taken: HashMap<Arc<str>, HashSet<IpAddr>> = HashMap::new();
        let mut attached = Vec::new();
        let pods = self.of(Kind::Pod);
        let given = pods.iter().filter_map(|pod| pod_of(pod));
        let given = given.flat_map(|pod| &pod.attachments);
        let given = given.flat_map(|of| of.addresses.iter().map(|cidr| cidr.address));
        let given: HashSet<IpAddr> = given.collect();
        for object in pods {
            let Some(pod) = pod_of(&object) else { continue };
            if pod.host_network || pod.completed {
                continue;
            }
            let mut cx = Context::new(self.options, &cluster, None);
            let Some((network, spec)) = cx.primary(&object.key.namespace) else {
                continue;
            };
            let network = Network::of(network, spec);
            let attachment = network.attachment_in(&object.key.namespace);
            if pod.attachments.iter().any(|of| of.network == attachment) {
                continue;
            }
            let subnets = match (spec.topology, &pod.node) {
                (NetworkTopology::Layer2, _) => spec.subnets.iter().map(|(at, _)| **at).collect(),
                (NetworkTopology::Layer3, Some(node)) => {
                    let shares = shares
                        .entry(network.name.clone())
                        .or_insert_with(|| self.shares(&network, spec));
                    shares.get(node.as_str()).cloned().unwrap_or_default()
                }
                _ => continue,
            };
            let name = format!("{}/{}", object.key.namespace, object.key.name);
            let taken = taken
                .entry(network.name.clone())
                .or_insert_with(|| given.clone());
            let found = free_addresses(&name, &subnets, taken);
            let in_subnets = |address: &IpAddr| {
                let mut subnets = subnets.iter();
                let subnet = subnets.find(|subnet| contains(**subnet, *address));
                Cidr {
                    address: *address,
                    prefix: subnet.map_or(if address.is_ipv6() { 128 } else { 32 }, |of| of.prefix),
                }
            };
            let mut pod = pod.clone();
            if !pod.attachments.iter().any(|of| of.network == "default") {
                let alone = |address: &IpAddr| Cidr {
                    address: *address,
                    prefix: if address.is_ipv6() { 128 } else { 32 },
                };
                pod.attachments.push(Attachment {
                    network: "default".to_owned(),
                    addresses: pod.addresses.iter().map(alone).collect(),
                    mac: None,
                    role: Some("infrastructure-locked".to_owned()),
                });
            }
            pod.attachments.push(Attachment {
                network: attachment,
                addresses: found.iter().map(in_subnets).collect(),
                mac: None,
                role: Some("primary".to_owned()),
            });
            let mut object = Object::clone(&object);
            object.spec = Spec::Pod(pod);
            self.put(object);
            attached.push(name);
        }
        for (network, shares) in shares {
            for (node, subnets) in shares {
                self.share(&node, &network, &subnets);
            }
        }
        self.note(
            attached,
            |pods| format!("addresses in user-defined networks are assumed for pods: {pods}"),
            "the annotation k8s.ovn.org/pod-networks tells them",
        );
    }

    /// The share of each node of a Layer3 network.
    fn shares(&self, network: &Network, spec: &NetworkSpec) -> BTreeMap<Arc<str>, Vec<Cidr>> {
        let nodes = self.of(Kind::Node);
        let given = |node: &Object| {
            let facts = Facts::read(node).in_network(&network.name);
            facts.map(|facts| facts.subnets).unwrap_or_default()
        };
        let mut taken = Taken::of(nodes.iter().flat_map(|node| given(node)));
        let mut shares = BTreeMap::new();
        for node in &nodes {
            let mut subnets = given(node);
            if subnets.is_empty() {
                for (range, prefix) in &spec.subnets {
                    let default = if range.is_v6() { 64 } else { 24 };
                    let prefix = prefix.unwrap_or(default).max(range.prefix);
                    subnets.extend(taken.take(**range, prefix));
                }
            }
            shares.insert(node.key.name.clone(), subnets);
        }
        shares
    }

    /// Notes a node's share of a network on the node.
    fn share(&mut self, node: &str, network: &str, subnets: &[Cidr]) {
        let Some(node) = self.objects.get(&Key::new(Kind::Node, "", node)) else {
            return;
        };
        let mut node = Object::clone(node);
        let Some(annotation) = node.meta.annotations.get_mut(SUBNETS) else {
            return;
        };
        if let Ok(serde_json::Value::Object(mut shares)) = serde_json::from_str(&annotation.value) {
            let texts: Vec<String> = subnets.iter().map(Cidr::to_string).collect();
            shares.entry(network).or_insert_with(|| texts.into());
            annotation.value = serde_json::Value::from(shares).to_string();
            self.put(node);
        }
    }

    fn services(&mut self) {
        let services = self.of(Kind::Service);
        let given = || services.iter().filter_map(|service| service_of(service));
        let addresses = given().flat_map(|service| service.cluster_ips.iter().copied());
        let mut taken: HashSet<IpAddr> = addresses.collect();
        let ports = given().flat_map(|service| &service.ports);
        let mut taken_ports: HashSet<u16> = ports.filter_map(|port| port.node_port).collect();
        let families = self.families().into_iter();
        let ranges: Vec<Cidr> = families
            .filter_map(|v6| parse_cidr(if v6 { SERVICES_V6 } else { SERVICES_V4 }))
            .collect();
        let (mut addressed, mut ported) = (Vec::new(), Vec::new());
        for object in &services {
            let Some(service) = service_of(object) else {
                continue;
            };
            if service.headless || service.kind == "ExternalName" {
                continue;
            }
            let name = format!("{}/{}", object.key.namespace, object.key.name);
            let mut filled = service.clone();
            if service.cluster_ips.is_empty() {
                filled.cluster_ips = free_addresses(&name, &ranges, &mut taken);
                addressed.push(name.clone());
            }
            let has_node_ports = service.kind == "NodePort"
                || (service.kind == "LoadBalancer" && service.allocate_node_ports);
            if has_node_ports {
                for port in &mut filled.ports {
                    if port.node_port.is_none() {
                        let wanted = format!("{name} {}", port.port);
                        port.node_port = free_node_port(&wanted, &mut taken_ports);
                    }
                }
                if filled.ports != service.ports {
                    ported.push(name);
                }
            }
            if filled != *service {
                let mut object = Object::clone(object);
                object.spec = Spec::Service(filled);
                self.put(object);
            }
        }
        self.note(
            addressed,
            |services| format!("cluster addresses are assumed for services: {services}"),
            "`clusterIPs` tells the addresses",
        );
        self.note(
            ported,
            |services| format!("node ports are assumed for services: {services}"),
            "`nodePort` tells a port's",
        );
    }

    fn endpoints(&mut self) {
        let sliced: HashSet<(Arc<str>, String)> = self
            .of(Kind::EndpointSlice)
            .iter()
            .filter_map(|slice| match &slice.spec {
                Spec::EndpointSlice(spec) => {
                    Some((slice.key.namespace.clone(), spec.service.clone()))
                }
                _ => None,
            })
            .collect();
        let pods = self.of(Kind::Pod);
        let mut made = Vec::new();
        for object in self.of(Kind::Service) {
            let Some(service) = service_of(&object) else {
                continue;
            };
            let name = (object.key.namespace.clone(), object.key.name.to_string());
            let Some(selector) = &service.selector else {
                continue;
            };
            if service.headless || service.kind == "ExternalName" {
                continue;
            }
            if sliced.contains(&name) || selector.is_empty() {
                continue;
            }
            let selector = Selector {
                labels: selector.clone(),
                ..Selector::default()
            };
            let selected: Vec<&Arc<Object>> = pods
                .iter()
                .filter(|pod| {
                    pod.key.namespace == object.key.namespace
                        && selects(&selector, &pod.meta.labels)
                })
                .collect();
            for v6 in self.families() {
                for slice in slices(&object, service, &selected, v6) {
                    self.put(slice);
                }
            }
            made.push(format!("{}/{}", name.0, name.1));
        }
        self.note(
            made,
            |services| format!("endpoints are assumed for services: {services}"),
            "they are the pods that the selector selects, all ready; EndpointSlice objects tell \
             them as they are",
        );
    }

    /// Tells of pods whose addresses are not of the cluster: their rules would not hold.
    fn strangers(&mut self) {
        let mut strangers = Vec::new();
        let mut span = None;
        for object in self.of(Kind::Pod) {
            let Some(pod) = pod_of(&object) else { continue };
            let is_strange = |address: &IpAddr| {
                let mut subnets = self.options.cluster_subnets.iter();
                !subnets.any(|subnet| contains(*subnet, *address))
            };
            let addresses = pod::addresses(pod);
            if !pod.host_network && !pod.completed && addresses.iter().any(is_strange) {
                strangers.push(format!("{}/{}", object.key.namespace, object.key.name));
                span.get_or_insert(object.meta.span);
            }
        }
        if let Some(span) = span {
            let subnets: Vec<String> = self
                .options
                .cluster_subnets
                .iter()
                .map(Cidr::to_string)
                .collect();
            let message = format!(
                "pods have addresses outside of the cluster's subnets {}: {}",
                subnets.join(", "),
                listed(&strangers)
            );
            let warning = Diagnostic::new(Severity::Warning, "strange-address", message)
                .at(span, "this pod")
                .help("name the cluster's subnets with `--cluster-subnet`");
            self.diagnostics.push(warning);
        }
    }
}

/// The EndpointSlices that the EndpointSlice controller would make of these pods, one for each
/// set of ports.
fn slices(object: &Object, service: &Service, pods: &[&Arc<Object>], v6: bool) -> Vec<Object> {
    let mut by_ports: BTreeMap<Vec<(String, usize, u16)>, Vec<SliceEndpoint>> = BTreeMap::new();
    for object in pods {
        let Some(pod) = pod_of(object) else { continue };
        let addresses = pod::addresses(pod);
        let address = addresses.into_iter().find(|own| own.is_ipv6() == v6);
        let Some(address) = address.filter(|_| !pod.completed) else {
            continue;
        };
        let ports = service
            .ports
            .iter()
            .enumerate()
            .filter_map(|(index, port)| {
                let number = match &port.target {
                    PortRef::Number(number) => Some(*number),
                    PortRef::Name(name) => {
                        let mut ports = pod.ports.iter();
                        let named =
                            ports.find(|of| of.name == *name && of.protocol == port.protocol);
                        named.map(|of| of.port)
                    }
                };
                Some((port.name.clone(), index, number?))
            });
        by_ports
            .entry(ports.collect())
            .or_default()
            .push(SliceEndpoint {
                addresses: vec![address],
                ready: Some(true),
                serving: Some(true),
                terminating: Some(false),
                node: pod.node.clone(),
                pod: Some(format!("{}/{}", object.key.namespace, object.key.name)),
            });
    }
    let family = if v6 { "v6" } else { "v4" };
    by_ports
        .into_iter()
        .enumerate()
        .map(|(number, (ports, endpoints))| {
            let name = format!("{}-{family}-{number}", object.key.name);
            let ports = ports.into_iter().map(|(name, index, port)| SlicePort {
                name,
                protocol: service
                    .ports
                    .get(index)
                    .map(|of| of.protocol)
                    .unwrap_or_default(),
                port: Some(port),
            });
            Object {
                key: Key::new(Kind::EndpointSlice, &object.key.namespace, &name),
                meta: Meta {
                    span: object.meta.span,
                    ..Meta::default()
                },
                spec: Spec::EndpointSlice(EndpointSlice {
                    service: object.key.name.to_string(),
                    endpoints,
                    ports: ports.collect(),
                }),
            }
        })
        .collect()
}

/// The node for a pod: another node, or one less, moves only the pods that must (rendezvous
/// hashing).
fn chosen<'a>(pod: &str, nodes: impl Iterator<Item = &'a Arc<str>>) -> Option<&'a Arc<str>> {
    nodes.max_by_key(|node| fnv64a([pod, " ", &***node]).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Ranges that somebody has.
#[derive(Default)]
struct Taken {
    ranges: Vec<Cidr>,
    /// From which part of a range on there may be a free one.
    next: HashMap<Cidr, u128>,
}

impl Taken {
    fn of(ranges: impl Iterator<Item = Cidr>) -> Self {
        Self {
            ranges: ranges.collect(),
            next: HashMap::new(),
        }
    }

    /// The next part of a range that nobody has.
    fn take(&mut self, range: Cidr, prefix: u8) -> Option<Cidr> {
        let next = self.next.entry(range).or_default();
        while let Some(subnet) = nth_subnet(range, prefix, *next) {
            *next += 1;
            let mut ranges = self.ranges.iter();
            if !ranges.any(|other| other.contains(&subnet) || subnet.contains(other)) {
                self.ranges.push(subnet);
                return Some(subnet);
            }
        }
        None
    }
}

/// One free address of each range, the same number in each where that is free.
fn free_addresses(name: &str, ranges: &[Cidr], taken: &mut HashSet<IpAddr>) -> Vec<IpAddr> {
    // The network, its router, the node itself, and a few to spare.
    const FIRST: u128 = 4;
    let hash = u128::from(fnv64a([name]));
    let mut found = Vec::new();
    for range in ranges {
        let bits = if range.is_v6() { 128 } else { 32 } - u32::from(range.prefix);
        // The last one is IPv4's broadcast address; more than 16 bits would only be hard to read.
        let size = (1_u128 << bits.min(16)).saturating_sub(FIRST + 1);
        let free = (0..size).find_map(|step| {
            let address = nth(*range, FIRST + (hash + step) % size)?.address;
            taken.insert(address).then_some(address)
        });
        found.extend(free);
    }
    found
}

/// A free one of the ports that a cluster gives to services (`--service-node-port-range`).
fn free_node_port(name: &str, taken: &mut HashSet<u16>) -> Option<u16> {
    const FIRST: u16 = 30000;
    const COUNT: u16 = 2768;
    let hash = u16::try_from(fnv64a([name]) % u64::from(COUNT)).unwrap_or_default();
    (0..COUNT).find_map(|step| {
        let port = FIRST + (hash + step) % COUNT;
        taken.insert(port).then_some(port)
    })
}

fn pod_of(object: &Object) -> Option<&Pod> {
    match &object.spec {
        Spec::Pod(pod) => Some(pod),
        _ => None,
    }
}

fn service_of(object: &Object) -> Option<&Service> {
    match &object.spec {
        Spec::Service(service) => Some(service),
        _ => None,
    }
}

/// The addresses of the object itself.
fn addresses_of(object: &Object) -> Vec<IpAddr> {
    match &object.spec {
        Spec::Node(node) => {
            let subnets = Facts::read(object).subnets;
            let subnets = subnets.iter().map(|subnet| subnet.address);
            node.addresses.iter().copied().chain(subnets).collect()
        }
        Spec::Pod(pod) => {
            let attached = pod.attachments.iter().filter(|of| of.network == "default");
            let attached = attached.flat_map(|of| &of.addresses);
            let attached = attached.map(|cidr| cidr.address);
            pod.addresses.iter().copied().chain(attached).collect()
        }
        Spec::Service(service) => service.cluster_ips.clone(),
        Spec::EndpointSlice(slice) => {
            let endpoints = slice.endpoints.iter();
            endpoints
                .flat_map(|endpoint| endpoint.addresses.iter().copied())
                .collect()
        }
        _ => Vec::new(),
    }
}

/// True if a policy speaks of IPv6 addresses.
fn mentions_v6(spec: &Spec) -> bool {
    match spec {
        Spec::NetworkPolicy(policy) => policy
            .ingress
            .iter()
            .chain(&policy.egress)
            .flat_map(|rule| &rule.peers)
            .any(|peer| matches!(peer, Peer::Block(block) if block.cidr.is_v6())),
        Spec::AdminPolicy(policy) => {
            policy
                .egress
                .iter()
                .flat_map(|rule| &rule.peers)
                .any(|peer| match peer {
                    AdminPeer::Networks(networks) => networks.iter().any(|network| network.is_v6()),
                    _ => false,
                })
        }
        Spec::EgressFirewall(firewall) => firewall
            .rules
            .iter()
            .any(|rule| matches!(&rule.to, EgressTo::Cidr(cidr) if cidr.is_v6())),
        _ => false,
    }
}

/// A few names, and how many more there are.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    let more = names.len() - shown.len();
    let mut text = shown.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
