//! User-defined networks: which network a namespace's policies are about, and the isolation of
//! its pods in the default network (`udn_isolation.go`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use netverdict_manifest::{
    Cidr, Diagnostic, Key, Kind, NetworkSpec, NetworkTopology, Object, OpenPort, Pod, Severity,
    Spec,
};
use netverdict_ovn::ids::key as id;
use netverdict_ovsdb::Datum;
use netverdict_types::{Action, Pipeline};
use uuid::Uuid;

use super::{Context, Unit, members, origin, pod};
use crate::acl::{
    ALLOW_PRIORITY, Acl, DEFAULT_CONTROLLER, DENY_PRIORITY, Gress, Ids, port_group, word,
};
use crate::cluster::{PodView, ZoneName};
use crate::options::Options;
use crate::row::{Origin, Row, Scope, Table};
use crate::selector::selects;

/// The label without which a namespace never gets a primary network of its own
/// (`types.RequiredUDNNamespaceLabel`).
pub(crate) const LABEL: &str = "k8s.ovn.org/primary-user-defined-network";
const DEFAULT: &str = "default";

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
        // Most policies are about it: its words are held once.
        static NETWORK: LazyLock<Network> = LazyLock::new(|| Network {
            name: DEFAULT.into(),
            controller: word(DEFAULT_CONTROLLER),
            attachment: "".into(),
            topology: None,
            subnets: Vec::new(),
        });
        NETWORK.clone()
    }

    pub(crate) fn of(object: &Object, spec: &NetworkSpec) -> Self {
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
    pub(crate) fn subnets<'a>(&'a self, options: &'a Options) -> &'a [Cidr] {
        if self.is_default() {
            return &options.cluster_subnets;
        }
        &self.subnets
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
        self.addresses_in(pod.namespace(), pod.spec())
    }

    /// The same for a pod by its namespace and what it says.
    pub(crate) fn addresses_in(&self, namespace: &str, pod: &Pod) -> Vec<IpAddr> {
        if self.is_default() {
            return pod::addresses(pod);
        }
        let attachment = self.attachment_in(namespace);
        let attachments = pod.attachments.iter();
        attachments
            .filter(|of| of.network == attachment)
            .flat_map(|of| of.addresses.iter().map(|cidr| cidr.address))
            .collect()
    }

    /// True if the pod has a port in this network.
    pub(crate) fn has_port(&self, pod: &PodView) -> bool {
        let spec = pod.spec();
        let has_switch = match self.topology {
            Some(NetworkTopology::Layer2) => pod.has_node(),
            Some(NetworkTopology::Localnet) => false,
            Some(NetworkTopology::Layer3) | None => pod.has_share(&self.name),
        };
        has_switch && !spec.host_network && !spec.completed && !self.addresses(pod).is_empty()
    }

    /// A name of a switch, a router or a port with the prefix of this network
    /// (`GetNetworkScopedName`).
    pub(crate) fn scoped(&self, name: &str) -> String {
        if self.is_default() {
            return name.to_owned();
        }
        format!("{}_{name}", self.name.replace(['-', '/'], "."))
    }

    /// `namespace/name` of the network attachment in this namespace.
    pub(crate) fn attachment_in(&self, namespace: &str) -> String {
        format!("{namespace}/{}", self.attachment)
    }
}

/// The tier of the isolation (`types.PrimaryACLTier`).
const ISOLATION_TIER: u8 = 0;
const ISOLATION: &str = "UDNIsolation";

/// The group of ports in the default network of pods that have another network first, and the
/// ACLs that let only the node's own addresses reach them. In each zone it is about its nodes.
pub(super) fn compile_isolation(cx: &mut Context<'_>) {
    let mut hosts: BTreeMap<ZoneName, Vec<IpAddr>> = BTreeMap::new();
    for facts in cx.facts() {
        let own = facts.management_addresses().into_iter();
        let of_zone = hosts.entry(facts.zone.clone()).or_default();
        of_zone.extend(own.map(|own| own.address));
    }
    let networks = [Kind::ClusterUserDefinedNetwork, Kind::UserDefinedNetwork];
    let origins: Vec<Origin> = networks
        .into_iter()
        .flat_map(|kind| cx.objects(kind))
        .filter(|object| matches!(&object.spec, Spec::UserNetwork(it) if it.network.primary))
        .map(origin)
        .collect();
    for zone in cx.zones() {
        let hosts = hosts.remove(&zone).unwrap_or_default();
        let scope = Scope::Zone(zone.clone());
        let mut acls = Vec::new();
        for gress in [Gress::Egress, Gress::Ingress] {
            let lport = gress.lport(&isolated().hashed_name());
            let mut put = |name: &str, term: Option<String>, action| {
                let matches = match term {
                    Some(term) => format!("{lport} && ({term})"),
                    None => lport.clone(),
                };
                let mut acl = isolation(name, gress, matches, action);
                acl.origins.clone_from(&origins);
                acls.push(acl.put_in(&scope, cx));
            };
            put("DenyPrimaryUDN", None, Action::Drop);
            if hosts.is_empty() {
                continue;
            }
            let term = alternatives(&hosts, |host| neighbour(gress, host));
            put("AllowHostARPPrimaryUDN", Some(term), Action::Allow);
            if gress == Gress::Ingress {
                let term = alternatives(&hosts, |host| match host {
                    IpAddr::V4(host) => format!("ip4.src=={host}"),
                    IpAddr::V6(host) => format!("ip6.src=={host}"),
                });
                put("AllowHostPrimaryUDN", Some(term), Action::AllowRelated);
            }
        }
        cx.put(port_group(&isolated(), acls).in_zone(&zone));
    }
}

/// What there is to tell of a network that is not the one of all the namespaces it is meant for.
pub(super) fn check(key: &Key, cx: &mut Context<'_>) {
    let Some(object) = cx.object(key) else { return };
    let Spec::UserNetwork(network) = &object.spec else {
        return;
    };
    if !network.network.primary {
        return;
    }
    let namespaces: Vec<Arc<str>> = match &network.namespaces {
        None => vec![key.namespace.clone()],
        Some(selector) => cx
            .objects(Kind::Namespace)
            .filter(|space| selects(selector, &space.meta.labels))
            .map(|space| space.key.name.clone())
            .collect(),
    };
    let mut plain = Vec::new();
    let mut others = Vec::new();
    for namespace in namespaces {
        match cx.primary(&namespace) {
            None => plain.push(namespace),
            Some((other, _)) if other.key != *key => others.push((namespace, other)),
            Some(_) => {}
        }
    }
    let span = network.network.span;
    if let Some(first) = plain.first() {
        let message = format!("{key} is not the network of {}", spaces(first, plain.len()));
        cx.tell(
            Diagnostic::new(Severity::Warning, "network-label", message)
                .at(span, "meant to be the first network of its pods")
                .help(format!(
                    "a namespace must have the label {LABEL} from its beginning; without it its \
                     pods and policies are in the default network"
                )),
        );
    }
    if let Some((first, other)) = others.first() {
        let message = format!(
            "{key} is not the network of {}",
            spaces(first, others.len())
        );
        cx.tell(
            Diagnostic::new(Severity::Warning, "second-network", message)
                .at(span, "meant to be the first network of its pods")
                .at(other.meta.span, "the namespace has this one already")
                .help("a namespace has one primary network, the oldest that is for it"),
        );
    }
}

/// What there is to tell of a namespace that waits for a network.
pub(super) fn check_namespace(key: &Key, cx: &mut Context<'_>) {
    let Some(object) = cx.object(key) else { return };
    if object.meta.labels.contains_key(LABEL) && cx.primary(&key.name).is_none() {
        let message = format!("{key} has no network: no pod of it starts");
        cx.tell(
            Diagnostic::new(Severity::Warning, "no-network", message)
                .at(object.meta.span, format!("it has the label {LABEL}"))
                .help(
                    "a UserDefinedNetwork or ClusterUserDefinedNetwork with role Primary is \
                     missing; until then its policies are compiled for the default network",
                ),
        );
    }
}

fn spaces(first: &str, count: usize) -> String {
    match count {
        0 | 1 => format!("namespace {first}"),
        count => format!("namespace {first} and {} more", count - 1),
    }
}

/// Isolates the pods of a namespace in the default network, if another network is their first.
pub(super) fn isolate(namespace: &Arc<str>, cx: &mut Context<'_>) {
    let Some((network, _)) = cx.primary(namespace) else {
        return;
    };
    cx.demand(Unit::NetworkIsolation);
    let group: Arc<str> = isolated().hashed_name().into();
    let mut parts: BTreeMap<ZoneName, (Vec<&PodView>, Vec<Uuid>)> = BTreeMap::new();
    for pod in cx.pods(&members::all_of(namespace)) {
        let (pods, acls) = parts.entry(pod.zone().clone()).or_default();
        pods.push(pod);
        acls.extend(open_ports(pod, cx));
    }
    for (zone, (pods, acls)) in parts {
        let mut row = Row::new(Table::PortGroup, group.clone())
            .with("acls", Datum::from_iter(acls))
            .from(origin(network))
            .in_zone(&zone);
        row.ports = members::ports(&Network::default_network(), &pods);
        cx.put(row);
    }
}

/// What reaches a pod in the default network although another one is its first.
fn open_ports(pod: &PodView, cx: &mut Context<'_>) -> Vec<Uuid> {
    let ports = &pod.spec().open_ports;
    let default = Network::default_network();
    if ports.is_empty() || pod.spec().node.is_none() || !default.has_port(pod) {
        return Vec::new();
    }
    let key = Key {
        kind: Kind::Pod,
        namespace: pod.namespace().clone(),
        name: pod.name().clone(),
    };
    let origins: Vec<Origin> = cx.object(&key).map(origin).into_iter().collect();
    let name = format!("OpenPort-{}/{}", pod.namespace(), pod.name());
    let port = default.port(pod.namespace(), pod.name());
    let terms: Vec<String> = ports
        .iter()
        .map(|port| match port {
            OpenPort::Icmp => "icmp".to_owned(),
            OpenPort::Port { protocol, port } => format!("{}.dst == {port}", protocol.ovn()),
        })
        .collect();
    let terms = terms.join(" || ");
    let ingress = format!("outport == \"{port}\" && (arp || nd || ({terms}))");
    let egress = format!("inport == \"{port}\" && (arp || nd)");
    [
        isolation(&name, Gress::Ingress, ingress, Action::AllowRelated),
        isolation(&name, Gress::Egress, egress, Action::Allow),
    ]
    .map(|mut acl| {
        acl.origins.clone_from(&origins);
        acl.put_in(&Scope::Zone(pod.zone().clone()), cx)
    })
    .to_vec()
}

fn isolation(name: &str, gress: Gress, matches: String, action: Action) -> Acl {
    Acl {
        ids: Ids::new(&word(DEFAULT_CONTROLLER), ISOLATION)
            .with(id::NAME, name)
            .with(id::DIRECTION, word(gress.as_str())),
        name: None,
        // Before load balancing: a service must not lead around it.
        pipeline: match gress {
            Gress::Ingress => Pipeline::ToLport,
            Gress::Egress => Pipeline::FromLport,
        },
        tier: ISOLATION_TIER,
        priority: match action {
            Action::Drop => DENY_PRIORITY,
            _ => ALLOW_PRIORITY,
        },
        matches,
        action,
        severity: None,
        origins: Vec::new(),
    }
}

/// What names the group of ports that are isolated; ovn-kubernetes keeps an old word.
fn isolated() -> Ids {
    Ids::new(&word(DEFAULT_CONTROLLER), ISOLATION).with(id::NAME, "SecondaryPods")
}

/// The term for finding a host's MAC address.
fn neighbour(gress: Gress, host: IpAddr) -> String {
    match (host, gress) {
        (IpAddr::V4(host), Gress::Egress) => format!("( arp && arp.tpa == {host} )"),
        (IpAddr::V4(host), Gress::Ingress) => format!("( arp && arp.spa == {host} )"),
        (IpAddr::V6(host), _) => format!("( nd && nd.target == {host} )"),
    }
}

fn alternatives(hosts: &[IpAddr], term: impl Fn(IpAddr) -> String) -> String {
    let terms: Vec<String> = hosts.iter().map(|host| term(*host)).collect();
    terms.join(" || ")
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
    /// The object and what it says of the primary user-defined network of a namespace.
    pub(crate) fn primary(
        &mut self,
        namespace: &Arc<str>,
    ) -> Option<(&'a Object, &'a NetworkSpec)> {
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
