//! Nodes, Pods, Services and EndpointSlices. Of their hundreds of fields those are read that say
//! something about networks; all others are none of our business.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use super::network_policy::port_ref;
use super::scope::{Fields, Scope, each, transpose};
use crate::tree::{Documents, Value, View};
use crate::{
    At, Attachment, Cidr, ContainerPort, EndpointSlice, Meta, Node, OpenPort, Pod, PortRef,
    Protocol, Service, ServicePort, SliceEndpoint, SlicePort, TrafficPolicy,
};

/// Seconds that a Service's affinity lasts by default.
const AFFINITY_TIMEOUT: u32 = 10800;
const POD_NETWORKS: &str = "k8s.ovn.org/pod-networks";
const OPEN_PORTS: &str = "k8s.ovn.org/open-default-ports";
const SERVICE_NAME: &str = "kubernetes.io/service-name";

pub(super) fn node(
    scope: &mut Scope,
    spec: Option<Value<'_>>,
    status: Option<Value<'_>>,
) -> Option<Node> {
    let mut spec = Part::new(scope, spec, "spec")?;
    let cidrs = match spec.take("podCIDRs") {
        Some(value) => each(scope, Some(value), "podCIDRs", |scope, value| {
            scope.cidr(value, "podCIDRs")
        }),
        None => one(spec.take("podCIDR"), |value| scope.cidr(value, "podCIDR")),
    };
    let mut status = Part::new(scope, status, "status")?;
    let addresses = each(
        scope,
        status.take("addresses"),
        "addresses",
        |scope, value| {
            let mut fields = scope.fields(value, "addresses")?;
            let kind = fields.require(scope, "type")?;
            let address = fields.require(scope, "address")?;
            match scope.string(kind, "type")? {
                "InternalIP" | "ExternalIP" => scope.address(address, "address").map(Some),
                _ => Some(None),
            }
        },
    );
    Some(Node {
        addresses: addresses?.into_iter().flatten().collect(),
        pod_cidrs: cidrs?.into_iter().map(|cidr| cidr.value).collect(),
    })
}

pub(super) fn pod(
    scope: &mut Scope,
    meta: &Meta,
    spec: Option<Value<'_>>,
    status: Option<Value<'_>>,
) -> Option<Pod> {
    let mut spec = Part::new(scope, spec, "spec")?;
    let node = spec.text(scope, "nodeName");
    let host_network = spec.boolean(scope, "hostNetwork");
    let containers = each(
        scope,
        spec.take("containers"),
        "containers",
        |scope, value| container(scope, value, true),
    );
    let others = each(
        scope,
        spec.take("initContainers"),
        "initContainers",
        |scope, value| container(scope, value, false),
    );
    let mut status = Part::new(scope, status, "status")?;
    let phase = status.text(scope, "phase");
    let addresses = match status.take("podIPs") {
        Some(value) => each(scope, Some(value), "podIPs", |scope, value| {
            let ip = scope.fields(value, "podIPs")?.require(scope, "ip")?;
            scope.address(ip, "ip")
        }),
        None => one(status.take("podIP"), |value| scope.address(value, "podIP")),
    };
    let attachments = meta.annotations.get(POD_NETWORKS);
    let attachments = attachments.map_or(Some(Vec::new()), |text| attachments_of(scope, text));
    let open_ports = meta.annotations.get(OPEN_PORTS);
    let open_ports = open_ports.map(|text| open_ports_of(scope, text));
    let mut ports = containers?;
    ports.extend(others?);
    let phase = phase?;
    Some(Pod {
        node: node?,
        host_network: host_network?.unwrap_or(false),
        completed: matches!(phase.as_deref(), Some("Succeeded" | "Failed")),
        addresses: addresses?,
        ports: ports.into_iter().flatten().collect(),
        attachments: attachments?,
        open_ports: open_ports.unwrap_or_default(),
    })
}

/// The ports of a container; an init container has some only if it keeps running.
fn container(scope: &mut Scope, value: Value<'_>, runs: bool) -> Option<Vec<ContainerPort>> {
    let mut fields = scope.fields(value, "containers")?;
    let runs = runs
        || match fields.take("restartPolicy") {
            Some(policy) => scope.string(policy, "restartPolicy")? == "Always",
            None => false,
        };
    let ports = fields.take("ports").filter(|_| runs);
    each(scope, ports, "ports", |scope, value| {
        let mut fields = scope.fields(value, "ports")?;
        let name = fields.take("name");
        let protocol = fields.take("protocol");
        let port = fields.require(scope, "containerPort");
        let name = transpose(name.map(|value| scope.string(value, "name")));
        let protocol = transpose(protocol.map(|value| scope.protocol(value)));
        let port = port.and_then(|value| scope.port(value, "containerPort"));
        Some(ContainerPort {
            name: name?.unwrap_or_default().to_owned(),
            protocol: protocol?.unwrap_or_default(),
            port: port?,
        })
    })
}

/// What ovn-kubernetes notes on a pod about each of its networks.
#[derive(Deserialize)]
struct PodNetwork {
    #[serde(default)]
    ip_addresses: Vec<String>,
    /// Older versions write one address only.
    ip_address: Option<String>,
    mac_address: Option<String>,
    role: Option<String>,
}

fn attachments_of(scope: &mut Scope, text: &At<String>) -> Option<Vec<Attachment>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let networks: BTreeMap<String, PodNetwork> = match serde_json::from_str(text) {
        Ok(networks) => networks,
        Err(error) => {
            let what = format_args!("the annotation {POD_NETWORKS} makes no sense: {error}");
            return scope.error("annotation", text.span, what, "not understood");
        }
    };
    let mut attachments = Vec::new();
    for (network, noted) in networks {
        let mut addresses = Vec::new();
        let only = noted.ip_address.filter(|_| noted.ip_addresses.is_empty());
        for address in noted.ip_addresses.into_iter().chain(only) {
            let Some(cidr) = address.parse::<Cidr>().ok() else {
                let what = format_args!("the annotation {POD_NETWORKS} has a wrong address");
                let label = format!("`{}`", crate::tree::shorten(&address));
                return scope.error("annotation", text.span, what, label);
            };
            addresses.push(cidr);
        }
        attachments.push(Attachment {
            network,
            addresses,
            mac: noted.mac_address,
            role: noted.role,
        });
    }
    Some(attachments)
}

/// ovn-kubernetes opens none of the ports if it does not understand one.
fn open_ports_of(scope: &mut Scope, text: &At<String>) -> Vec<OpenPort> {
    let mut documents = Documents::new(text.span.file, text, &[]);
    let read = match documents.next() {
        None => return Vec::new(),
        Some(Ok(document)) => match document.root().view() {
            View::Null => Some(Vec::new()),
            View::Sequence(ports) => ports.iter().map(open_port).collect(),
            View::Scalar { .. } | View::Mapping(_) => None,
        },
        Some(Err(_)) => None,
    };
    read.unwrap_or_else(|| {
        scope.warn(
            "annotation",
            text.span,
            format_args!("the annotation {OPEN_PORTS} makes no sense, so that it opens no port"),
            "not understood",
            "write a YAML list such as `[{protocol: tcp, port: 80}, {protocol: icmp}]`; protocols \
             are tcp, udp, sctp and icmp",
        );
        Vec::new()
    })
}

fn open_port(value: Value<'_>) -> Option<OpenPort> {
    let View::Mapping(fields) = value.view() else {
        return None;
    };
    let text = |name| match fields.find(name)?.view() {
        View::Scalar { text, .. } => Some(text),
        _ => None,
    };
    let port = text("port");
    let protocol = text("protocol")?;
    if protocol == "icmp" {
        return port.is_none().then_some(OpenPort::Icmp);
    }
    let mut protocols = Protocol::ALL.into_iter();
    Some(OpenPort::Port {
        protocol: protocols.find(|known| known.ovn() == protocol)?,
        port: port?.parse().ok()?,
    })
}

pub(super) fn service(
    scope: &mut Scope,
    spec: Option<Value<'_>>,
    status: Option<Value<'_>>,
) -> Option<Service> {
    let policies = [
        ("Cluster", TrafficPolicy::Cluster),
        ("Local", TrafficPolicy::Local),
    ];
    let mut spec = Part::new(scope, spec, "spec")?;
    let kinds = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];
    let kind = match spec.take("type") {
        Some(value) => scope.word(value, "type", &kinds.map(|kind| (kind, kind))),
        None => Some("ClusterIP"),
    };
    let cluster_ips = match spec.take("clusterIPs") {
        Some(value) => each(scope, Some(value), "clusterIPs", cluster_ip),
        None => one(spec.take("clusterIP"), |value| cluster_ip(scope, value)),
    };
    let external_ips = each(
        scope,
        spec.take("externalIPs"),
        "externalIPs",
        |scope, value| scope.address(value, "externalIPs"),
    );
    let ports = each(scope, spec.take("ports"), "ports", service_port);
    let selector = spec.take("selector");
    let selector = transpose(selector.map(|value| scope.labels(value, "selector")));
    let affinity = affinity(scope, &mut spec);
    let mut policy = |scope: &mut Scope, name| match spec.take(name) {
        Some(value) => scope.word(value, name, &policies),
        None => Some(TrafficPolicy::Cluster),
    };
    let internal = policy(scope, "internalTrafficPolicy");
    let external = policy(scope, "externalTrafficPolicy");
    let publish_not_ready = spec.boolean(scope, "publishNotReadyAddresses");
    let allocate = spec.boolean(scope, "allocateLoadBalancerNodePorts");
    let mut status = Part::new(scope, status, "status")?;
    let balancer = status.take("loadBalancer");
    let mut balancer = Part::new(scope, balancer, "loadBalancer")?;
    let balancer_ips = each(
        scope,
        balancer.take("ingress"),
        "ingress",
        |scope, value| {
            let mut fields = scope.fields(value, "ingress")?;
            let mode = fields.take("ipMode");
            let ip = fields.take("ip");
            let mode = transpose(mode.map(|value| scope.string(value, "ipMode")))?;
            let ip = transpose(ip.map(|value| scope.address(value, "ip")))?;
            Some(ip.filter(|_| mode != Some("Proxy")))
        },
    );
    let cluster_ips = cluster_ips?;
    Some(Service {
        kind: kind?.to_owned(),
        headless: cluster_ips.contains(&ClusterIp::Headless),
        cluster_ips: cluster_ips
            .into_iter()
            .filter_map(|ip| match ip {
                ClusterIp::Address(address) => Some(address),
                ClusterIp::Unset | ClusterIp::Headless => None,
            })
            .collect(),
        external_ips: external_ips?,
        balancer_ips: balancer_ips?.into_iter().flatten().collect(),
        ports: ports?,
        selector: selector?,
        affinity_timeout: affinity?,
        internal: internal?,
        external: external?,
        publish_not_ready: publish_not_ready?.unwrap_or(false),
        allocate_node_ports: allocate?.unwrap_or(true),
    })
}

/// What can stand for the address of a Service.
#[derive(Eq, PartialEq)]
enum ClusterIp {
    /// It has none yet.
    Unset,
    /// It never gets one.
    Headless,
    Address(IpAddr),
}

fn cluster_ip(scope: &mut Scope, value: Value<'_>) -> Option<ClusterIp> {
    match scope.string(value, "clusterIP")? {
        "" => Some(ClusterIp::Unset),
        "None" => Some(ClusterIp::Headless),
        _ => scope.address(value, "clusterIP").map(ClusterIp::Address),
    }
}

/// How long a client stays with its endpoint; `None` without affinity.
fn affinity(scope: &mut Scope, spec: &mut Part<'_>) -> Option<Option<u32>> {
    let words = [("None", false), ("ClientIP", true)];
    let sticks = match spec.take("sessionAffinity") {
        Some(value) => scope.word(value, "sessionAffinity", &words)?,
        None => false,
    };
    let config = spec.take("sessionAffinityConfig");
    let config = Part::new(scope, config, "sessionAffinityConfig")?.take("clientIP");
    let seconds = match Part::new(scope, config, "clientIP")?.take("timeoutSeconds") {
        Some(value) => scope.integer(value, "timeoutSeconds", "affinity", 1..=86400)?,
        None => AFFINITY_TIMEOUT.into(),
    };
    Some(if sticks {
        u32::try_from(seconds).ok()
    } else {
        None
    })
}

fn service_port(scope: &mut Scope, value: Value<'_>) -> Option<ServicePort> {
    let mut fields = scope.fields(value, "ports")?;
    let name = fields.take("name");
    let protocol = fields.take("protocol");
    let port = fields.require(scope, "port");
    let target = fields.take("targetPort");
    let node_port = fields.take("nodePort");
    let name = transpose(name.map(|value| scope.string(value, "name")));
    let protocol = transpose(protocol.map(|value| scope.protocol(value)));
    let port = port.and_then(|value| scope.port(value, "port"));
    let target = transpose(target.map(|value| port_ref(scope, value, "targetPort")));
    // 0 stands for none.
    let node_port =
        transpose(node_port.map(|value| scope.integer(value, "nodePort", "port", 0..=65535)));
    let port = port?;
    let node_port = node_port?.and_then(|port| u16::try_from(port).ok());
    Some(ServicePort {
        name: name?.unwrap_or_default().to_owned(),
        protocol: protocol?.unwrap_or_default(),
        port,
        target: target?.unwrap_or(PortRef::Number(port)),
        node_port: node_port.filter(|port| *port > 0),
        span: value.span(),
    })
}

pub(super) fn endpoint_slice(
    scope: &mut Scope,
    meta: &Meta,
    whole: Value<'_>,
    namespace: &str,
) -> Option<EndpointSlice> {
    let mut fields = Part::new(scope, Some(whole), "EndpointSlice")?;
    let kind = fields.text(scope, "addressType");
    let is_ip = kind?.as_deref() != Some("FQDN");
    let endpoints = each(
        scope,
        fields.take("endpoints"),
        "endpoints",
        |scope, value| endpoint(scope, value, namespace, is_ip),
    );
    let ports = each(scope, fields.take("ports"), "ports", |scope, value| {
        let mut fields = scope.fields(value, "ports")?;
        let name = fields.take("name");
        let protocol = fields.take("protocol");
        let port = fields.take("port");
        let name = transpose(name.map(|value| scope.string(value, "name")));
        let protocol = transpose(protocol.map(|value| scope.protocol(value)));
        let port = transpose(port.map(|value| scope.port(value, "port")));
        Some(SlicePort {
            name: name?.unwrap_or_default().to_owned(),
            protocol: protocol?.unwrap_or_default(),
            port: port?,
        })
    });
    Some(EndpointSlice {
        service: meta.labels.get(SERVICE_NAME).cloned().unwrap_or_default(),
        endpoints: endpoints?,
        ports: ports?,
    })
}

fn endpoint(
    scope: &mut Scope,
    value: Value<'_>,
    namespace: &str,
    is_ip: bool,
) -> Option<SliceEndpoint> {
    let mut fields = Part::new(scope, Some(value), "endpoints")?;
    let addresses = fields.take("addresses").filter(|_| is_ip);
    let addresses = each(scope, addresses, "addresses", |scope, value| {
        scope.address(value, "addresses")
    });
    let conditions = fields.take("conditions");
    let mut conditions = Part::new(scope, conditions, "conditions")?;
    let ready = conditions.boolean(scope, "ready");
    let serving = conditions.boolean(scope, "serving");
    let terminating = conditions.boolean(scope, "terminating");
    let node = fields.text(scope, "nodeName");
    let target = fields.take("targetRef");
    let mut target = Part::new(scope, target, "targetRef")?;
    let kind = target.text(scope, "kind")?;
    let target_namespace = target.text(scope, "namespace")?;
    let name = target.text(scope, "name")?;
    let pod = match (kind.as_deref(), name) {
        (Some("Pod"), Some(name)) => {
            let namespace = target_namespace.as_deref().unwrap_or(namespace);
            Some(format!("{namespace}/{name}"))
        }
        _ => None,
    };
    Some(SliceEndpoint {
        addresses: addresses?,
        ready: ready?,
        serving: serving?,
        terminating: terminating?,
        node: node?,
        pod,
    })
}

/// Fields of a mapping that may be missing as a whole, and of which most are of no interest.
struct Part<'d>(Option<Fields<'d>>);

impl<'d> Part<'d> {
    fn new(scope: &mut Scope, value: Option<Value<'d>>, name: &'static str) -> Option<Self> {
        match value {
            Some(value) => scope.fields(value, name).map(|fields| Self(Some(fields))),
            None => Some(Self(None)),
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Value<'d>> {
        self.0.as_mut()?.take(name)
    }

    fn text(&mut self, scope: &mut Scope, name: &'static str) -> Option<Option<String>> {
        let value = self.take(name);
        let text = transpose(value.map(|value| scope.string(value, name)))?;
        // The empty text is as good as not there.
        Some(text.filter(|text| !text.is_empty()).map(str::to_owned))
    }

    fn boolean(&mut self, scope: &mut Scope, name: &'static str) -> Option<Option<bool>> {
        let value = self.take(name);
        transpose(value.map(|value| scope.boolean(value, name)))
    }
}

/// A list of what is there at most once.
fn one<T>(value: Option<Value<'_>>, read: impl FnOnce(Value<'_>) -> Option<T>) -> Option<Vec<T>> {
    match value {
        Some(value) => Some(vec![read(value)?]),
        None => Some(Vec::new()),
    }
}
