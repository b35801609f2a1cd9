//! Who is where: pods, nodes, services and their addresses, as the rows of all zones tell it.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use netverdict_pipeline::journey::Place;
use netverdict_pipeline::{Northbound, Port, SwitchId};
use netverdict_types::EndpointKind;
use serde::Serialize;

use crate::names::Names;

/// One end of a connection.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Party {
    /// What it is.
    pub kind: EndpointKind,
    /// Namespace of a pod or service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Arc<str>>,
    /// Its name; an address outside has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The network that these are of.
    pub network: Arc<str>,
    /// The zone that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    /// The node that it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Arc<str>>,
    /// The logical switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switch: Option<Arc<str>>,
    /// The logical port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Arc<str>>,
    /// Where the twin has it.
    #[serde(skip)]
    pub place: Option<Place>,
}

/// A service, as its load balancers tell it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Serving {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The network.
    pub network: Arc<str>,
    /// Virtual addresses with port and protocol (IANA), each once.
    pub vips: Vec<(IpAddr, Option<u16>, u8)>,
}

/// Who is where.
#[derive(Clone, Debug, Default)]
pub struct Atlas {
    parties: Vec<Party>,
    services: Vec<Serving>,
    by_address: HashMap<IpAddr, Vec<usize>>,
    switches: HashMap<(usize, SwitchId), Arc<str>>,
    /// Networks that pods have first, instead of the default one.
    primary: HashSet<Arc<str>>,
    /// Ports to the world, with the node.
    ways_in: Vec<(Option<Arc<str>>, Place)>,
    zones: Vec<Arc<str>>,
}

impl Party {
    /// An address of which nothing is known.
    pub fn outside(address: IpAddr) -> Self {
        Self {
            kind: EndpointKind::External,
            namespace: None,
            name: None,
            addresses: vec![address],
            network: Names::DEFAULT.into(),
            zone: None,
            node: None,
            switch: None,
            port: None,
            place: None,
        }
    }

    /// As a person would name it: `shop/web-1`, `svc/shop/web`, `node/n1`, `10.0.0.1`.
    pub fn label(&self) -> String {
        match (self.kind, self.namespace.as_deref(), self.name.as_deref()) {
            (EndpointKind::Service, Some(namespace), Some(name)) => {
                format!("svc/{namespace}/{name}")
            }
            (EndpointKind::Node | EndpointKind::Management, _, Some(name)) => {
                format!("node/{name}")
            }
            (_, Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            (_, None, Some(name)) => name.to_owned(),
            _ => match self.addresses.first() {
                Some(address) => address.to_string(),
                None => "somebody".to_owned(),
            },
        }
    }

    /// Its first address of the family of another.
    pub fn address_like(&self, other: IpAddr) -> Option<IpAddr> {
        let mut addresses = self.addresses.iter().copied();
        addresses.find(|address| address.is_ipv4() == other.is_ipv4())
    }
}

impl Atlas {
    /// Who is in these zones, which are numbered in their order.
    pub fn new<'a>(zones: impl IntoIterator<Item = &'a Northbound>) -> Self {
        let mut this = Self::default();
        for (number, zone) in zones.into_iter().enumerate() {
            this.take(number, zone);
        }
        for (index, party) in this.parties.iter().enumerate() {
            for address in &party.addresses {
                this.by_address.entry(*address).or_default().push(index);
            }
        }
        this
    }

    /// All but services.
    pub fn parties(&self) -> &[Party] {
        &self.parties
    }

    /// The services.
    pub fn services(&self) -> &[Serving] {
        &self.services
    }

    /// What a zone is called.
    pub fn zone(&self, number: usize) -> Arc<str> {
        self.zones
            .get(number)
            .cloned()
            .unwrap_or_else(|| "?".into())
    }

    /// The node that a switch is for, if it is for one.
    pub fn node(&self, zone: usize, switch: SwitchId) -> Option<Arc<str>> {
        self.switches.get(&(zone, switch)).cloned()
    }

    /// Who has an address of a network: where several claim it, whoever has a port that is there.
    pub fn at(&self, network: &str, address: IpAddr) -> Option<&Party> {
        let known = self.by_address.get(&address)?;
        let parties = known.iter().filter_map(|index| self.parties.get(*index));
        parties
            .filter(|party| &*party.network == network)
            .max_by_key(|party| party.place.is_some())
    }

    /// All who have an address, in whatever network.
    pub fn having(&self, address: IpAddr) -> impl Iterator<Item = &Party> {
        let known = self.by_address.get(&address).into_iter().flatten();
        known.filter_map(|index| self.parties.get(*index))
    }

    /// Who is behind a port.
    pub fn behind(&self, place: Place) -> Option<&Party> {
        self.parties.iter().find(|party| party.place == Some(place))
    }

    /// Whether pods have a network first: their traffic is in it, and in the default one only that of the kubelet.
    pub fn is_primary(&self, network: &str) -> bool {
        self.primary.contains(network)
    }

    /// Where packets from outside come in for somebody, and at which node: at his own, else at any.
    pub fn way_in(&self, to: &Party) -> Option<(Option<Arc<str>>, Place)> {
        let own = self
            .ways_in
            .iter()
            .find(|(node, _)| node.is_some() && *node == to.node);
        own.or_else(|| self.ways_in.first()).cloned()
    }

    /// Who has an address, or the address itself.
    pub fn who(&self, network: &str, address: IpAddr) -> Party {
        match self.at(network, address) {
            Some(party) => party.clone(),
            None => {
                let services = self.services.iter();
                let serving = services
                    .filter(|service| &*service.network == network)
                    .find(|service| service.vips.iter().any(|(ip, ..)| *ip == address));
                match serving {
                    Some(service) => service.party(),
                    None => Party::outside(address),
                }
            }
        }
    }

    fn take(&mut self, number: usize, zone: &Northbound) {
        let zone_name: Arc<str> = match zone.name.as_str() {
            "" => "global".into(),
            name => name.into(),
        };
        self.zones.push(zone_name.clone());
        let mut names: HashMap<&str, Arc<str>> = HashMap::new();
        for (id, switch) in zone.switches() {
            let network: Arc<str> = match switch.ids.get(NETWORK) {
                Some(network) => names
                    .entry(network)
                    .or_insert_with(|| network.as_str().into())
                    .clone(),
                None => names
                    .entry(Names::DEFAULT)
                    .or_insert_with(|| Names::DEFAULT.into())
                    .clone(),
            };
            if switch.ids.get(ROLE).is_some_and(|role| role == "primary") {
                self.primary.insert(network.clone());
            }
            let ports = || {
                switch
                    .ports
                    .iter()
                    .filter_map(|port| Some((*port, zone.port(*port)?)))
            };
            let node: Option<Arc<str>> = ports()
                .find_map(|(_, port)| port.name.rsplit_once("k8s-").map(|(_, node)| node.into()))
                .or_else(|| switch.name.strip_prefix("ext_").map(Arc::from));
            if let Some(node) = &node {
                self.switches.insert((number, id), node.clone());
            }
            for (lport, port) in ports() {
                let addresses: Vec<IpAddr> = port.hosts().flat_map(|(_, hosts)| hosts).collect();
                if port.kind == "localnet" {
                    let place = Place {
                        zone: number,
                        port: lport,
                    };
                    self.ways_in.push((node.clone(), place));
                }
                let Some((kind, namespace, name)) = owner(port) else {
                    continue;
                };
                let is_remote = port.kind == "remote";
                let of_port = || port.ids.get("node").map(|node| node.as_str().into());
                self.parties.push(Party {
                    kind,
                    namespace,
                    name: Some(name),
                    addresses,
                    network: network.clone(),
                    zone: (!is_remote).then(|| zone_name.clone()),
                    node: if is_remote {
                        of_port()
                    } else {
                        node.clone().or_else(of_port)
                    },
                    switch: Some(switch.name.clone()),
                    port: Some(port.name.clone()),
                    place: (!is_remote).then_some(Place {
                        zone: number,
                        port: lport,
                    }),
                });
            }
        }
        self.take_routers(&zone_name, zone);
        self.take_services(zone);
    }

    /// The addresses of routers: they answer, though no ACL speaks of them.
    fn take_routers(&mut self, zone_name: &Arc<str>, zone: &Northbound) {
        for port in zone.router_ports.values() {
            let own = |prefix| port.name.rsplit_once(prefix).map(|(_, node)| node);
            let (kind, name) = match own("rtoe-GR_") {
                Some(node) => (EndpointKind::Node, node),
                None => (EndpointKind::Gateway, port.name.as_str()),
            };
            let addresses = port.networks.iter();
            self.parties.push(Party {
                kind,
                namespace: None,
                name: Some(name.into()),
                addresses: addresses
                    .filter_map(|network| network.split('/').next()?.parse().ok())
                    .collect(),
                network: Names::DEFAULT.into(),
                zone: Some(zone_name.clone()),
                node: (kind == EndpointKind::Node).then(|| name.into()),
                switch: None,
                port: Some(port.name.as_str().into()),
                place: None,
            });
        }
    }

    fn take_services(&mut self, zone: &Northbound) {
        let mut known: HashMap<_, usize> = self
            .services
            .iter()
            .enumerate()
            .map(|(index, service)| (service.key(), index))
            .collect();
        for balancer in zone.load_balancers.values() {
            let row = &balancer.row;
            let Some((namespace, name)) = &row.service else {
                continue;
            };
            let network: Arc<str> = row.network.as_deref().unwrap_or(Names::DEFAULT).into();
            let key = (
                network.clone(),
                namespace.as_str().into(),
                name.as_str().into(),
            );
            let index = *known.entry(key).or_insert_with(|| {
                self.services.push(Serving {
                    namespace: namespace.as_str().into(),
                    name: name.as_str().into(),
                    network: network.clone(),
                    vips: Vec::new(),
                });
                self.services.len() - 1
            });
            let Some(service) = self.services.get_mut(index) else {
                continue;
            };
            // Those of nodes have node ports and the like beside; a cluster's own names have them all.
            for vip in &row.vips {
                let vip = (vip.ip, vip.port, row.protocol);
                if !service.vips.contains(&vip) {
                    service.vips.push(vip);
                }
            }
            service.vips.sort_unstable();
        }
    }
}

impl Serving {
    fn key(&self) -> (Arc<str>, Arc<str>, Arc<str>) {
        (
            self.network.clone(),
            self.namespace.clone(),
            self.name.clone(),
        )
    }

    /// The service as an end of a connection.
    pub fn party(&self) -> Party {
        let mut addresses: Vec<IpAddr> = self.vips.iter().map(|(ip, ..)| *ip).collect();
        addresses.dedup();
        Party {
            kind: EndpointKind::Service,
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            addresses,
            network: self.network.clone(),
            zone: None,
            node: None,
            switch: None,
            port: None,
            place: None,
        }
    }
}

/// What ovn-kubernetes calls a network in `external_ids` (go-controller/pkg/types).
const NETWORK: &str = "k8s.ovn.org/network";
/// And whether it is the pods' first one.
const ROLE: &str = "k8s.ovn.org/role";

/// Whose port it is: what, namespace and name. `None` for ports between switches and routers.
fn owner(port: &Port) -> Option<(EndpointKind, Option<Arc<str>>, Arc<str>)> {
    // ovn-kubernetes puts a network's prefix before names, which have no underscore themselves.
    let last = |name: &str| -> Arc<str> { name.rsplit('_').next().unwrap_or(name).into() };
    if port.ids.get("pod").is_some_and(|pod| pod == "true") {
        let namespace = port
            .ids
            .get("namespace")
            .map(|namespace| namespace.as_str().into());
        return Some((EndpointKind::Pod, namespace, last(&port.name)));
    }
    if let Some((before, node)) = port.name.rsplit_once("k8s-")
        && (before.is_empty() || before.ends_with('_'))
    {
        return Some((EndpointKind::Management, None, node.into()));
    }
    match port.kind.as_str() {
        "" => Some((EndpointKind::Port, None, port.name.clone())),
        _ => None,
    }
}
