use std::collections::BTreeMap;
use std::net::IpAddr;

use netverdict_manifest::{Key, Kind};
use netverdict_types::{Endpoint, EndpointKind};
use netverdict_verdict::Names;
use serde::Deserialize;

/// The kinds of object that tell names.
pub(crate) const KINDS: [Kind; 4] = [
    Kind::Node,
    Kind::Pod,
    Kind::Service,
    Kind::NetworkAttachmentDefinition,
];

/// The parts of an object that tell names; all else is skipped as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Object {
    metadata: Option<Metadata>,
    spec: Option<Spec>,
    status: Option<Status>,
}

/// What an object says about addresses.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Facts {
    pub(crate) claims: Vec<Claim>,
    /// `creationTimestamp`: RFC 3339 in UTC with whole seconds, so that text order is time order.
    pub(crate) born: String,
    /// The network of an attachment.
    pub(crate) network: Option<String>,
    /// Annotations and addresses that make no sense and were left out.
    pub(crate) faults: Vec<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Claim {
    pub(crate) place: Place,
    pub(crate) ip: IpAddr,
    pub(crate) endpoint: Endpoint,
}

/// Where an address lives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Network(String),
    /// The network of an attachment, `namespace/name`.
    Attachment(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    creation_timestamp: Option<String>,
    annotations: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    host_network: Option<bool>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs")]
    external_ips: Option<Vec<String>>,
    config: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<Address>>,
    addresses: Option<Vec<NodeAddress>>,
    load_balancer: Option<Balancer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Balancer {
    ingress: Option<Vec<Address>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    ip: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NodeAddress {
    address: String,
}

impl Object {
    /// `None` for an object without a name.
    pub(crate) fn key(&self, kind: Kind) -> Option<Key> {
        let metadata = self.metadata.as_ref()?;
        let name = metadata.name.as_deref().filter(|name| !name.is_empty())?;
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        Some(Key::new(kind, namespace, name))
    }

    /// What it says.
    pub(crate) fn facts(self, kind: Kind) -> Facts {
        let mut reader = Reader {
            name: String::new(),
            namespace: None,
            annotations: BTreeMap::new(),
            facts: Facts::default(),
        };
        if let Some(metadata) = self.metadata {
            reader.name = metadata.name.unwrap_or_default();
            reader.namespace = metadata.namespace;
            reader.facts.born = metadata.creation_timestamp.unwrap_or_default();
            reader.annotations = metadata.annotations.unwrap_or_default();
        }
        let (spec, status) = (
            self.spec.unwrap_or_default(),
            self.status.unwrap_or_default(),
        );
        match kind {
            Kind::Pod => reader.pod(spec, status),
            Kind::Node => reader.node(status),
            Kind::Service => reader.service(spec, status),
            Kind::NetworkAttachmentDefinition => reader.attachment(spec),
            _ => {}
        }
        reader.facts
    }
}

/// Addresses of a pod on one network, in `k8s.ovn.org/pod-networks` (ovn-kubernetes,
/// go-controller/pkg/util/pod_annotation.go).
#[derive(Deserialize)]
struct PodNetwork {
    #[serde(default)]
    ip_addresses: Option<Vec<String>>,
    #[serde(default)]
    ip_address: Option<String>,
}

/// An address of each family with its prefix length, as ovn-kubernetes annotates them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Families {
    Both {
        #[serde(default)]
        ipv4: Option<String>,
        #[serde(default)]
        ipv6: Option<String>,
    },
    One(String),
    Many(Vec<String>),
}

impl Families {
    fn into_texts(self) -> Vec<String> {
        let texts = match self {
            Self::Both { ipv4, ipv6 } => ipv4.into_iter().chain(ipv6).collect(),
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        };
        texts.into_iter().filter(|text| !text.is_empty()).collect()
    }
}

/// Collects the facts of one object.
struct Reader {
    name: String,
    namespace: Option<String>,
    annotations: BTreeMap<String, Option<String>>,
    facts: Facts,
}

impl Reader {
    fn pod(&mut self, spec: Spec, status: Status) {
        let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        if ended || spec.host_network == Some(true) {
            return;
        }
        let endpoint = Endpoint {
            kind: EndpointKind::Pod,
            namespace: self.namespace.clone(),
            name: Some(self.name.clone()),
            node: spec.node_name.filter(|node| !node.is_empty()),
        };
        let of_status = status.pod_ips.into_iter().flatten().filter_map(|ip| ip.ip);
        for ip in of_status.chain(status.pod_ip) {
            self.claim(default_network(), &ip, &endpoint);
        }
        let networks: BTreeMap<String, PodNetwork> = self.annotation("k8s.ovn.org/pod-networks");
        for (attachment, network) in networks {
            let place = match attachment.as_str() {
                Names::DEFAULT => default_network(),
                // A pod may be attached twice to one definition: `namespace/name/1`.
                _ => Place::Attachment(
                    attachment
                        .splitn(3, '/')
                        .take(2)
                        .collect::<Vec<_>>()
                        .join("/"),
                ),
            };
            let ips = network.ip_addresses.into_iter().flatten();
            for ip in ips.chain(network.ip_address) {
                self.claim(place.clone(), &ip, &endpoint);
            }
        }
    }

    /// Annotations: ovn-kubernetes, go-controller/pkg/util/node_annotations.go and
    /// subnet_annotations.go.
    fn node(&mut self, status: Status) {
        let node = self.of_node(EndpointKind::Node);
        for address in status.addresses.into_iter().flatten() {
            // A host name or DNS name is an address, too, to Kubernetes.
            if address.address.parse::<IpAddr>().is_ok() {
                self.claim(default_network(), &address.address, &node);
            }
        }
        let own: Vec<String> = self.annotation("k8s.ovn.org/host-cidrs");
        for cidr in own {
            self.claim(default_network(), &cidr, &node);
        }

        let join = self.of_node(EndpointKind::Join);
        let transit: Option<Families> =
            self.annotation("k8s.ovn.org/node-transit-switch-port-ifaddr");
        for cidr in transit.into_iter().flat_map(Families::into_texts) {
            self.claim(default_network(), &cidr, &join);
        }
        let joins: BTreeMap<String, Families> =
            self.annotation("k8s.ovn.org/node-gateway-router-lrp-ifaddrs");
        for (network, addresses) in joins {
            for cidr in addresses.into_texts() {
                self.claim(Place::Network(network.clone()), &cidr, &join);
            }
        }

        // The first address of a node's subnet is its gateway's, the second its management port's.
        let subnets: BTreeMap<String, Families> = self.annotation("k8s.ovn.org/node-subnets");
        let gateway = self.of_node(EndpointKind::Gateway);
        let management = self.of_node(EndpointKind::Management);
        for (network, cidrs) in subnets {
            for cidr in cidrs.into_texts() {
                let Some([first, second]) = first_two(&cidr) else {
                    self.facts.faults.push(format!("no subnet: {cidr}"));
                    continue;
                };
                self.push(Place::Network(network.clone()), first, &gateway);
                self.push(Place::Network(network.clone()), second, &management);
            }
        }
    }

    fn service(&mut self, spec: Spec, status: Status) {
        let endpoint = Endpoint {
            kind: EndpointKind::Service,
            namespace: self.namespace.clone(),
            name: Some(self.name.clone()),
            node: None,
        };
        let cluster = spec
            .cluster_ips
            .into_iter()
            .flatten()
            .chain(spec.cluster_ip);
        let balancer = status.load_balancer.and_then(|balancer| balancer.ingress);
        let balancer = balancer.into_iter().flatten().filter_map(|ip| ip.ip);
        let outside = spec.external_ips.into_iter().flatten().chain(balancer);
        for ip in cluster.chain(outside) {
            if !matches!(ip.as_str(), "" | "None") {
                self.claim(default_network(), &ip, &endpoint);
            }
        }
    }

    fn attachment(&mut self, spec: Spec) {
        #[derive(Deserialize)]
        struct Config {
            name: Option<String>,
        }
        let Some(config) = spec.config.filter(|config| !config.is_empty()) else {
            return;
        };
        match serde_json::from_str::<Config>(&config) {
            Ok(Config { name }) => self.facts.network = name,
            Err(error) => self.facts.faults.push(format!("spec.config: {error}")),
        }
    }

    fn of_node(&self, kind: EndpointKind) -> Endpoint {
        Endpoint {
            kind,
            namespace: None,
            name: Some(self.name.clone()),
            node: Some(self.name.clone()),
        }
    }

    fn annotation<T: serde::de::DeserializeOwned + Default>(&mut self, key: &str) -> T {
        let Some(Some(text)) = self.annotations.get(key) else {
            return T::default();
        };
        serde_json::from_str(text).unwrap_or_else(|error| {
            self.facts.faults.push(format!("annotation {key}: {error}"));
            T::default()
        })
    }

    /// Claims an address that may have a prefix length.
    fn claim(&mut self, place: Place, text: &str, endpoint: &Endpoint) {
        match text.split('/').next().unwrap_or(text).parse() {
            Ok(ip) => self.push(place, ip, endpoint),
            Err(_) => self.facts.faults.push(format!("no address: {text}")),
        }
    }

    fn push(&mut self, place: Place, ip: IpAddr, endpoint: &Endpoint) {
        let known = |claim: &Claim| claim.place == place && claim.ip == ip;
        if !self.facts.claims.iter().any(known) {
            self.facts.claims.push(Claim {
                place,
                ip,
                endpoint: endpoint.clone(),
            });
        }
    }
}

fn default_network() -> Place {
    Place::Network(Names::DEFAULT.to_owned())
}

/// The first two addresses after that of the subnet itself.
fn first_two(cidr: &str) -> Option<[IpAddr; 2]> {
    let (ip, length) = cidr.split_once('/')?;
    let length: u8 = length.parse().ok()?;
    match ip.parse().ok()? {
        IpAddr::V4(ip) => {
            let mask = u32::MAX
                .checked_shl(32_u32.checked_sub(length.into())?)
                .unwrap_or(0);
            let base = u32::from(ip) & mask;
            let next = |offset| Some(IpAddr::V4(base.checked_add(offset)?.into()));
            Some([next(1)?, next(2)?])
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX
                .checked_shl(128_u32.checked_sub(length.into())?)
                .unwrap_or(0);
            let base = u128::from(ip) & mask;
            let next = |offset| Some(IpAddr::V6(base.checked_add(offset)?.into()));
            Some([next(1)?, next(2)?])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(kind: Kind, json: serde_json::Value) -> Facts {
        serde_json::from_value::<Object>(json).unwrap().facts(kind)
    }

    fn told(facts: &Facts) -> Vec<String> {
        let tell = |claim: &Claim| {
            let (Place::Network(place) | Place::Attachment(place)) = &claim.place;
            let endpoint = &claim.endpoint;
            format!(
                "{place} {} {} {}",
                claim.ip,
                endpoint.kind.as_str(),
                endpoint.name.as_deref().unwrap_or("-")
            )
        };
        facts.claims.iter().map(tell).collect()
    }

    #[test]
    fn a_pod_has_addresses_on_each_of_its_networks() {
        let networks = r#"{"default":{"ip_addresses":["10.244.1.5/24","fd00:1::5/64"],"role":"infrastructure-locked"},
            "blue/tenant":{"ip_addresses":["10.1.0.4/16"],"ip_address":"10.1.0.4/16","role":"primary"},
            "blue/tenant/1":{"ip_address":"10.1.0.9/16"}}"#;
        let facts = facts(
            Kind::Pod,
            serde_json::json!({
                "metadata": {"name": "web", "namespace": "blue", "annotations": {"k8s.ovn.org/pod-networks": networks}},
                "spec": {"nodeName": "w1"},
                "status": {"phase": "Running", "podIP": "10.244.1.5", "podIPs": [{"ip": "10.244.1.5"}, {"ip": "fd00:1::5"}]},
            }),
        );
        assert_eq!(
            told(&facts),
            [
                "default 10.244.1.5 pod web",
                "default fd00:1::5 pod web",
                "blue/tenant 10.1.0.4 pod web",
                "blue/tenant 10.1.0.9 pod web",
            ]
        );
        assert_eq!(facts.claims[0].endpoint.node.as_deref(), Some("w1"));
        assert!(facts.faults.is_empty());
    }

    #[test]
    fn pods_of_the_host_network_and_pods_that_ended_have_no_address() {
        for (spec, phase) in [
            (serde_json::json!({"hostNetwork": true}), "Running"),
            (serde_json::json!({}), "Succeeded"),
            (serde_json::json!({}), "Failed"),
        ] {
            let pod = serde_json::json!({
                "metadata": {"name": "a", "namespace": "b"},
                "spec": spec,
                "status": {"phase": phase, "podIPs": [{"ip": "172.18.0.2"}]},
            });
            assert_eq!(facts(Kind::Pod, pod).claims, []);
        }
    }

    #[test]
    fn a_node_names_its_gateway_management_join_and_transit_addresses() {
        let facts = facts(
            Kind::Node,
            serde_json::json!({
                "metadata": {"name": "w1", "annotations": {
                    "k8s.ovn.org/node-subnets": r#"{"default":["10.244.1.0/24","fd00:1::/64"],"cluster_udn_red":"10.1.2.0/24"}"#,
                    "k8s.ovn.org/node-gateway-router-lrp-ifaddrs": r#"{"default":{"ipv4":"100.64.0.3/16","ipv6":"fd98::3/64"}}"#,
                    "k8s.ovn.org/node-transit-switch-port-ifaddr": r#"{"ipv4":"100.88.0.3/16"}"#,
                    "k8s.ovn.org/host-cidrs": r#"["172.18.0.3/16"]"#,
                }},
                "status": {"addresses": [
                    {"type": "InternalIP", "address": "172.18.0.3"},
                    {"type": "Hostname", "address": "w1"},
                ]},
            }),
        );
        assert_eq!(
            told(&facts),
            [
                "default 172.18.0.3 node w1",
                "default 100.88.0.3 join w1",
                "default 100.64.0.3 join w1",
                "default fd98::3 join w1",
                "cluster_udn_red 10.1.2.1 gateway w1",
                "cluster_udn_red 10.1.2.2 management w1",
                "default 10.244.1.1 gateway w1",
                "default 10.244.1.2 management w1",
                "default fd00:1::1 gateway w1",
                "default fd00:1::2 management w1",
            ]
        );
        assert!(facts.faults.is_empty(), "{:?}", facts.faults);
    }

    #[test]
    fn a_service_without_an_address_has_no_name() {
        let service = |spec| {
            told(&facts(
                Kind::Service,
                serde_json::json!({"metadata": {"name": "web", "namespace": "blue"}, "spec": spec,
                    "status": {"loadBalancer": {"ingress": [{"hostname": "lb"}]}}}),
            ))
        };
        assert_eq!(
            service(
                serde_json::json!({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd01::7"],
                "externalIPs": ["192.0.2.7"]})
            ),
            [
                "default 10.96.0.7 service web",
                "default fd01::7 service web",
                "default 192.0.2.7 service web"
            ]
        );
        let none = service(serde_json::json!({"clusterIP": "None", "clusterIPs": ["None"]}));
        assert!(none.is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_told_and_costs_nothing_else() {
        let facts = facts(
            Kind::Pod,
            serde_json::json!({
                "metadata": {"name": "a", "annotations": {"k8s.ovn.org/pod-networks": "{"}},
                "status": {"podIPs": [{"ip": "ten"}, {"ip": "10.0.0.1"}]},
            }),
        );
        assert_eq!(told(&facts), ["default 10.0.0.1 pod a"]);
        assert_eq!(facts.faults.len(), 2);
    }

    #[test]
    fn subnets_at_the_edges() {
        let two = |text: &str| first_two(text).map(|[a, b]| format!("{a} {b}"));
        assert_eq!(two("10.0.0.77/24").as_deref(), Some("10.0.0.1 10.0.0.2"));
        assert_eq!(two("10.0.0.0/0").as_deref(), Some("0.0.0.1 0.0.0.2"));
        assert_eq!(two("fd00::/128").as_deref(), Some("fd00::1 fd00::2"));
        for bad in [
            "255.255.255.255/32",
            "10.0.0.0/33",
            "10.0.0.0",
            "::/129",
            "x/8",
            "",
        ] {
            assert_eq!(two(bad), None, "{bad}");
        }
    }
}
