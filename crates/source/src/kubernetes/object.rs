use std::collections::BTreeMap;
use std::net::IpAddr;

use netverdict_manifest::{Kind, Node, Object, Pod, Service, Spec};
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

impl Facts {
    /// What an object says about addresses; nothing where its kind says nothing.
    pub(crate) fn of(object: &Object) -> Self {
        let mut reader = Reader {
            object,
            facts: Self {
                born: object.meta.created.clone().unwrap_or_default(),
                ..Self::default()
            },
        };
        match &object.spec {
            Spec::Pod(pod) => reader.pod(pod),
            Spec::Node(node) => reader.node(node),
            Spec::Service(service) => reader.service(service),
            Spec::NetworkAttachment(attachment) => {
                reader.facts.network.clone_from(&attachment.network);
            }
            _ => {}
        }
        reader.facts
    }
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
struct Reader<'a> {
    object: &'a Object,
    facts: Facts,
}

impl Reader<'_> {
    fn pod(&mut self, pod: &Pod) {
        if pod.completed || pod.host_network {
            return;
        }
        let endpoint = Endpoint {
            node: pod.node.clone().filter(|node| !node.is_empty()),
            ..self.in_namespace(EndpointKind::Pod)
        };
        for ip in &pod.addresses {
            self.push(default_network(), *ip, &endpoint);
        }
        for attachment in &pod.attachments {
            let place = match attachment.network.as_str() {
                Names::DEFAULT => default_network(),
                // A pod may be attached twice to one definition: `namespace/name/1`.
                network => {
                    let parts: Vec<&str> = network.splitn(3, '/').take(2).collect();
                    Place::Attachment(parts.join("/"))
                }
            };
            for cidr in &attachment.addresses {
                self.push(place.clone(), cidr.address, &endpoint);
            }
        }
    }

    /// Annotations: ovn-kubernetes, go-controller/pkg/util/node_annotations.go and
    /// subnet_annotations.go.
    fn node(&mut self, node: &Node) {
        let own = self.of_node(EndpointKind::Node);
        for ip in &node.addresses {
            self.push(default_network(), *ip, &own);
        }
        let cidrs: Vec<String> = self.annotation("k8s.ovn.org/host-cidrs");
        for cidr in cidrs {
            self.claim(default_network(), &cidr, &own);
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

    fn service(&mut self, service: &Service) {
        let endpoint = self.in_namespace(EndpointKind::Service);
        let outside = service.external_ips.iter().chain(&service.balancer_ips);
        for ip in service.cluster_ips.iter().chain(outside) {
            self.push(default_network(), *ip, &endpoint);
        }
    }

    fn in_namespace(&self, kind: EndpointKind) -> Endpoint {
        Endpoint {
            kind,
            namespace: Some(self.object.key.namespace.to_string()),
            name: Some(self.object.key.name.to_string()),
            node: None,
        }
    }

    fn of_node(&self, kind: EndpointKind) -> Endpoint {
        let name = self.object.key.name.to_string();
        Endpoint {
            kind,
            namespace: None,
            name: Some(name.clone()),
            node: Some(name),
        }
    }

    fn annotation<T: serde::de::DeserializeOwned + Default>(&mut self, key: &str) -> T {
        let Some(text) = self.object.meta.annotations.get(key) else {
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
    use netverdict_manifest::FileId;

    use super::*;

    fn facts(kind: Kind, json: serde_json::Value) -> Facts {
        let reading = netverdict_manifest::read_value(FileId(1), &json.to_string(), kind);
        assert!(reading.diagnostics.is_empty(), "{:?}", reading.diagnostics);
        Facts::of(&reading.objects[0])
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
            Kind::Node,
            serde_json::json!({
                "metadata": {"name": "w1", "annotations": {
                    "k8s.ovn.org/node-subnets": r#"{"default":["10.0.0.0/40","10.1.0.0/24"]}"#,
                    "k8s.ovn.org/host-cidrs": "{",
                }},
                "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.3"}]},
            }),
        );
        let all = [
            "default 172.18.0.3 node w1",
            "default 10.1.0.1 gateway w1",
            "default 10.1.0.2 management w1",
        ];
        assert_eq!(told(&facts), all);
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
