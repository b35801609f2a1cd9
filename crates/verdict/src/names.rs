use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;
use std::sync::LazyLock;

use foldhash::fast::RandomState;
use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashTable, hash_table};
use netverdict_ovn::{
    Database, DatapathBinding, Interface, LoadBalancer, LogicalFlow, LogicalRouter,
    LogicalRouterPort, LogicalSwitch, LogicalSwitchPort, RowError,
};
use netverdict_ovsdb::{Atom, Cause, Change, ChangeSet, Columns, Datum, Row};
use netverdict_types::{
    Cookie, DropFlow, Endpoint, EndpointKind, Input, Service, Timestamp, ZoneId,
};
use uuid::Uuid;

use crate::connections::mix;
use crate::contents::{Contents, Kind, Moment};

/// A source of names beside the rows of OVN: a watch on Kubernetes, or manifests.
pub trait Endpoints {
    /// Hands over what becomes known, until there is no more or `take` breaks.
    ///
    /// # Errors
    /// Whatever makes the source useless; it is shown to people.
    fn run(
        self: Box<Self>,
        take: &mut dyn FnMut(Vec<NameChange>) -> ControlFlow<()>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// An address that got, changed or lost its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NameChange {
    /// The network; [`Names::DEFAULT`] for the cluster's default network.
    pub network: String,
    /// The address.
    pub ip: IpAddr,
    /// Who has it now.
    pub endpoint: Option<Endpoint>,
}

/// Where an address was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    /// Name of the logical datapath.
    pub datapath: Option<&'a str>,
    /// The network.
    pub network: Option<&'a str>,
    number: u32,
}

/// Who has which address: a table of all zones, kept in step with their databases.
///
/// An address is looked up by zone, network and address, never by the address alone.
#[derive(Debug)]
pub struct Names {
    zones: Vec<ZoneNames>,
    networks: Vec<String>,
    addresses: HashMap<(u32, IpAddr), Vec<Claim>, RandomState>,
    /// What [`Names::addresses`] comes to, for one look into memory a sample and address.
    found: HashTable<Found>,
    endpoints: Arena<Endpoint>,
    services: Arena<Option<Service>>,
    vips: HashMap<VipKey, Vec<(Claimant, u32)>, RandomState>,
    bad_rows: u64,
}

/// Network, virtual address and port, IP protocol number.
type VipKey = (u32, IpAddr, Option<u16>, u8);

/// A row of a zone; zones may be copies of one database.
type Claimant = (ZoneId, Uuid);

/// What is not from a row.
const OUTSIDE: Claimant = (ZoneId(u16::MAX), Uuid::nil());

/// Who says that an address is whose. The first of an address's claims, by rank and claimant, is
/// believed, so that the order in which rows came does not matter.
#[derive(Clone, Copy, Debug)]
struct Claim {
    by: Claimant,
    rank: Rank,
    endpoint: u32,
}

/// An address whose claims are decided.
#[derive(Clone, Copy, Debug)]
struct Found {
    network: u32,
    endpoint: u32,
    ip: IpAddr,
    /// True where a load balancer claims the address too.
    serves: bool,
}

/// How far a claim is believed: the lower, the more.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    Port,
    /// A port that lives in another zone.
    Remote,
    Router,
    Outside,
}

#[derive(Debug, Default)]
struct ZoneNames {
    name: String,
    switches: HashMap<Uuid, LogicalSwitch, RandomState>,
    routers: HashMap<Uuid, LogicalRouter, RandomState>,
    /// The switch or router of a port.
    parents: HashMap<Uuid, Uuid, RandomState>,
    ports: HashMap<Uuid, LogicalSwitchPort, RandomState>,
    router_ports: HashMap<Uuid, LogicalRouterPort, RandomState>,
    balancers: HashMap<Uuid, (LoadBalancer, u32), RandomState>,
    /// What a row claimed, to take it back.
    claimed: HashMap<Uuid, Vec<(u32, IpAddr)>, RandomState>,
    datapaths: HashMap<u32, Datapath, RandomState>,
    datapath_rows: HashMap<Uuid, u32, RandomState>,
    flows: HashMap<u32, DropFlow, RandomState>,
    has_flows: bool,
    interfaces: HashMap<Uuid, Interface, RandomState>,
    /// The low 16 bits of the index, which is all that psample tells, may be those of several.
    by_index: HashMap<u16, Vec<Uuid>, RandomState>,
    by_name: HashMap<String, Uuid, RandomState>,
    port_networks: HashMap<String, (Uuid, u32), RandomState>,
    /// The network of an interface's port, by index and by name: all of the above for one look.
    index_networks: HashMap<u16, u32, RandomState>,
    name_networks: HashMap<String, u32, RandomState>,
    contents: Contents,
    /// Counts changes of ports.
    ports_changed: u64,
}

#[derive(Clone, Debug)]
struct Datapath {
    row: Uuid,
    name: String,
    nb_uuid: Option<Uuid>,
    network: u32,
}

/// Things by number. The numbers of those that went are used again; until then something blank
/// stands there, so that a reference to a thing is had without reading it.
#[derive(Debug)]
struct Arena<T> {
    items: Vec<T>,
    free: Vec<u32>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            zones: Vec::new(),
            networks: vec![Self::DEFAULT.to_owned()],
            addresses: HashMap::default(),
            found: HashTable::new(),
            endpoints: Arena::default(),
            services: Arena::default(),
            vips: HashMap::default(),
            bad_rows: 0,
        }
    }
}

impl Names {
    /// The name of the cluster's default network.
    pub const DEFAULT: &'static str = "default";

    /// Tells the name of a zone, which is its node's under interconnect.
    pub fn set_zone(&mut self, zone: ZoneId, name: &str) {
        let names = self.zone(zone);
        if names.name == name {
            return;
        }
        names.name = name.to_owned();
        let ports: Vec<Uuid> = names.ports.keys().copied().collect();
        for port in ports {
            self.settle(zone, port);
        }
    }

    /// Takes what changed in a zone's NB, SB or Open vSwitch. Tables without names are passed
    /// over, so that every change set can be handed in.
    pub fn apply(&mut self, zone: ZoneId, database: Database, set: &ChangeSet) {
        let whole = matches!(set.cause, Cause::Initial | Cause::Restored { .. });
        if whole {
            self.forget_missing(zone, database, set);
        }
        self.zone(zone).take_contents(database, set, whole);
        // Switches and routers first: their ports take the network from them.
        let (parents, others): (Vec<_>, Vec<_>) = set
            .changes
            .iter()
            .partition(|change| matches!(&*change.table, "Logical_Switch" | "Logical_Router"));
        let places = |change: &&Change| {
            matches!(
                &*change.table,
                "Logical_Switch" | "Logical_Router" | "Datapath_Binding"
            )
        };
        let moved = whole || set.changes.iter().any(|change| places(&change));
        for change in parents.into_iter().chain(others) {
            if self.take(zone, change).is_err() {
                self.bad_rows += 1;
                // What the row said before is true no more.
                self.forget(zone, &change.table, change.uuid);
            }
        }
        if moved {
            self.refresh_datapaths(zone);
        }
        let wires = |change: &Change| {
            matches!(
                &*change.table,
                "Logical_Switch" | "Logical_Router" | "Logical_Switch_Port" | "Interface"
            )
        };
        if whole || set.changes.iter().any(wires) {
            self.zone(zone).refresh_inputs();
        }
    }

    /// Takes a name from beside the databases. A logical port's own name goes before it; of
    /// several such sources the last word on an address counts.
    pub fn learn(&mut self, change: NameChange) {
        let NameChange {
            network,
            ip,
            endpoint,
        } = change;
        let network = self.network(&network);
        self.unclaim(OUTSIDE, (network, ip));
        if let Some(endpoint) = endpoint {
            self.claim(OUTSIDE, Rank::Outside, (network, ip), endpoint);
        }
    }

    /// Says that samples of the drop application can be looked up in a zone.
    pub fn expect_flows(&mut self, zone: ZoneId) {
        self.zone(zone).has_flows = true;
    }

    /// Says that several ACLs of a zone share a sample's point: from now on it is kept what port groups and address sets were.
    pub fn keep_contents(&mut self, zone: ZoneId, now: Timestamp) {
        self.zone(zone).contents.keep_past(now);
    }

    /// Where a sample was taken: by the input interface, then the datapath key, then the network
    /// of the ACL's owner, then the default network.
    pub fn place<'a>(
        &'a self,
        zone: ZoneId,
        input: Input<'_>,
        datapath: Option<u32>,
        owner: Option<&'a str>,
    ) -> Place<'a> {
        self.place_by(zone, input, datapath, || owner)
    }

    /// [`Names::place`], which seldom asks for the owner.
    pub(crate) fn place_by<'a>(
        &'a self,
        zone: ZoneId,
        input: Input<'_>,
        datapath: Option<u32>,
        owner: impl Fn() -> Option<&'a str>,
    ) -> Place<'a> {
        let names = self.zones.get(usize::from(zone.0));
        let datapath = datapath.and_then(|key| names?.datapaths.get(&key));
        let number = names
            .and_then(|names| names.input_network(input))
            .or(datapath.map(|datapath| datapath.network))
            .or_else(|| {
                let owner = owner()?;
                let known = self.networks.iter().position(|name| name == owner);
                // A network of which nothing is known is not the default one.
                Some(known.map_or(u32::MAX, |known| known as u32))
            })
            .unwrap_or(0);
        Place {
            datapath: datapath.map(|datapath| datapath.name.as_str()),
            network: match self.networks.get(number as usize) {
                Some(network) => Some(network),
                None => owner(),
            },
            number,
        }
    }

    /// Who has an address.
    pub fn endpoint(&self, place: Place<'_>, ip: IpAddr) -> &Endpoint {
        self.look(place, ip).0
    }

    /// Loads what [`Names::look`] needs of the default network, where most addresses are.
    pub(crate) fn touch(&self, ip: IpAddr) -> usize {
        self.found(0, ip).map_or(0, |found| found.endpoint as usize)
    }

    /// Who has an address, and whether [`Names::service`] may know it.
    pub(crate) fn look(&self, place: Place<'_>, ip: IpAddr) -> (&Endpoint, bool) {
        let found = self.found(place.number, ip);
        let serves = found.is_some_and(|found| found.serves);
        let endpoint = found
            .and_then(|found| self.endpoints.item(found.endpoint))
            .or_else(|| {
                // Nodes, gateways and what lies outside belong to no user-defined network.
                let found = self.found(0, ip).filter(|_| place.number != 0)?;
                let endpoint = self.endpoints.item(found.endpoint)?;
                let local = matches!(endpoint.kind, EndpointKind::Pod | EndpointKind::Port);
                (!local).then_some(endpoint)
            })
            .unwrap_or_else(|| masquerade(ip).unwrap_or(&EXTERNAL));
        (endpoint, serves)
    }

    /// The service with a virtual address and port, and its number.
    pub fn service(
        &self,
        place: Place<'_>,
        ip: IpAddr,
        port: Option<u16>,
        protocol: u8,
    ) -> Option<(u32, &Service)> {
        let held = self.vips.get(&(place.number, ip, port, protocol))?;
        let (_, number) = held.first()?;
        Some((*number, self.numbered_service(*number)?))
    }

    /// The service with a number that [`Names::service`] gave.
    pub fn numbered_service(&self, number: u32) -> Option<&Service> {
        self.services.item(number)?.as_ref()
    }

    /// True when there is no service at all.
    pub fn has_no_service(&self) -> bool {
        self.vips.is_empty()
    }

    /// What a sample of the drop application points at: a logical flow that drops, or a table of
    /// ovn-controller's own; `None` where it is a logical flow and no SB was given for the zone.
    pub fn drop_flow(&self, zone: ZoneId, cookie: Cookie) -> Option<Option<&DropFlow>> {
        if cookie.datapath() == 0
            && let Some(table) = CONTROLLER_DROPS.get(cookie.point as usize)
        {
            return Some(Some(table));
        }
        let names = self.zones.get(usize::from(zone.0))?;
        names.has_flows.then(|| names.flows.get(&cookie.point))
    }

    /// Each address that has a name, with its network.
    pub fn all(&self) -> impl Iterator<Item = (&str, IpAddr, &Endpoint)> {
        self.found.iter().filter_map(|found| {
            let network = self.networks.get(found.network as usize)?;
            let endpoint = self.endpoints.item(found.endpoint)?;
            Some((network.as_str(), found.ip, endpoint))
        })
    }

    /// How many addresses have a name.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// True when no address has a name.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Rows that make no sense and were left out.
    pub fn bad_rows(&self) -> u64 {
        self.bad_rows
    }

    /// The logical port of an input interface.
    pub fn port(&self, zone: ZoneId, input: Input<'_>) -> Option<&str> {
        self.zones.get(usize::from(zone.0))?.port(input)
    }

    fn found(&self, network: u32, ip: IpAddr) -> Option<&Found> {
        self.found.find(spot(network, ip), |found| {
            found.network == network && found.ip == ip
        })
    }

    fn zone(&mut self, zone: ZoneId) -> &mut ZoneNames {
        let number = usize::from(zone.0);
        if self.zones.len() <= number {
            self.zones.resize_with(number + 1, ZoneNames::default);
        }
        &mut self.zones[number]
    }

    fn network(&mut self, name: &str) -> u32 {
        if let Some(known) = self.networks.iter().position(|network| network == name) {
            return known as u32;
        }
        self.networks.push(name.to_owned());
        (self.networks.len() - 1) as u32
    }

    /// Deletes what a whole new copy of a database does not name any more.
    fn forget_missing(&mut self, zone: ZoneId, database: Database, set: &ChangeSet) {
        let named: hashbrown::HashSet<Uuid, RandomState> =
            set.changes.iter().map(|change| change.uuid).collect();
        let names = self.zone(zone);
        let mut gone: Vec<(&str, Uuid)> = Vec::new();
        let mut note = |table: &'static str, keys: &mut dyn Iterator<Item = &Uuid>| {
            gone.extend(
                keys.filter(|key| !named.contains(*key))
                    .map(|key| (table, *key)),
            );
        };
        match database {
            Database::Northbound => {
                note("Logical_Switch_Port", &mut names.ports.keys());
                note("Logical_Router_Port", &mut names.router_ports.keys());
                note("Load_Balancer", &mut names.balancers.keys());
                note("Logical_Switch", &mut names.switches.keys());
                note("Logical_Router", &mut names.routers.keys());
            }
            Database::Southbound => note("Datapath_Binding", &mut names.datapath_rows.keys()),
            Database::Vswitch => note("Interface", &mut names.interfaces.keys()),
            Database::Sets => {}
        }
        for (table, uuid) in gone {
            self.forget(zone, table, uuid);
        }
    }

    fn forget(&mut self, zone: ZoneId, table: &str, uuid: Uuid) {
        let change = Change {
            table: table.into(),
            uuid,
            old: None,
            new: None,
        };
        // There is no row that could make no sense.
        let _ = self.take(zone, &change);
    }

    fn take(&mut self, zone: ZoneId, change: &Change) -> Result<(), RowError> {
        let (uuid, new) = (change.uuid, change.new.as_ref());
        match &*change.table {
            "Logical_Switch" => {
                let switch = new.map(LogicalSwitch::read).transpose()?;
                let naming = |of: &LogicalSwitch| (of.network.clone(), of.name.clone());
                let names = self.zone(zone);
                let before = match &switch {
                    Some(switch) => names.switches.insert(uuid, switch.clone()),
                    None => names.switches.remove(&uuid),
                };
                let moved = moved_ports(
                    before.as_ref().map(|old| (&old.ports[..], naming(old))),
                    switch.as_ref().map(|new| (&new.ports[..], naming(new))),
                );
                self.adopt(zone, uuid, switch.map(|new| new.ports), &moved);
            }
            "Logical_Router" => {
                let router = new.map(LogicalRouter::read).transpose()?;
                let naming = |of: &LogicalRouter| of.network.clone();
                let names = self.zone(zone);
                let before = match &router {
                    Some(router) => names.routers.insert(uuid, router.clone()),
                    None => names.routers.remove(&uuid),
                };
                let moved = moved_ports(
                    before.as_ref().map(|old| (&old.ports[..], naming(old))),
                    router.as_ref().map(|new| (&new.ports[..], naming(new))),
                );
                self.adopt(zone, uuid, router.map(|new| new.ports), &moved);
            }
            "Logical_Switch_Port" => {
                let port = new.map(LogicalSwitchPort::read).transpose()?;
                let names = self.zone(zone);
                let before = match port {
                    Some(port) => names.ports.insert(uuid, port),
                    None => names.ports.remove(&uuid),
                };
                if let Some(before) = before
                    && let Entry::Occupied(known) = names.port_networks.entry(before.name)
                    && known.get().0 == uuid
                {
                    known.remove();
                }
                self.settle(zone, uuid);
            }
            "Logical_Router_Port" => {
                let port = new.map(LogicalRouterPort::read).transpose()?;
                let names = self.zone(zone);
                match port {
                    Some(port) => names.router_ports.insert(uuid, port),
                    None => names.router_ports.remove(&uuid),
                };
                self.settle(zone, uuid);
            }
            "Load_Balancer" => self.take_balancer(zone, uuid, new)?,
            "Datapath_Binding" => {
                let binding = new.map(DatapathBinding::read).transpose()?;
                let names = self.zone(zone);
                if let Some(key) = names.datapath_rows.remove(&uuid)
                    && let Entry::Occupied(known) = names.datapaths.entry(key)
                    && known.get().row == uuid
                {
                    known.remove();
                }
                if let Some(binding) = binding {
                    // Samples carry the low 24 bits only.
                    let key = binding.tunnel_key & 0x00ff_ffff;
                    names.datapath_rows.insert(uuid, key);
                    let datapath = Datapath {
                        row: uuid,
                        name: binding.name,
                        nb_uuid: binding.nb_uuid,
                        network: 0,
                    };
                    names.datapaths.insert(key, datapath);
                }
            }
            "Logical_Flow" => {
                // A flow that went may have been sampled a moment ago: it stays known.
                if let Some(row) = new {
                    let flow = LogicalFlow::read(row)?;
                    if drops(&flow.actions) {
                        let start = uuid.as_fields().0;
                        self.zone(zone).flows.insert(start, drop_flow(flow));
                    }
                }
            }
            "Interface" => {
                let interface = new.map(Interface::read).transpose()?;
                self.zone(zone).take_interface(uuid, interface);
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes which ports a switch or router has, and settles those that came, went or changed
    /// their network.
    fn adopt(&mut self, zone: ZoneId, parent: Uuid, ports: Option<Vec<Uuid>>, moved: &[Uuid]) {
        let names = self.zone(zone);
        for port in moved {
            if names.parents.get(port) == Some(&parent) {
                names.parents.remove(port);
            }
        }
        for port in ports.into_iter().flatten() {
            names.parents.insert(port, parent);
        }
        for port in moved {
            self.settle(zone, *port);
        }
    }

    /// Makes the addresses of a port say what its row says now.
    fn settle(&mut self, zone: ZoneId, uuid: Uuid) {
        let claimed = self.zone(zone).claimed.remove(&uuid);
        for key in claimed.into_iter().flatten() {
            self.unclaim((zone, uuid), key);
        }
        let Some(Naming {
            endpoint,
            addresses,
            network,
            rank,
        }) = self.zone(zone).naming(uuid)
        else {
            return;
        };
        let network = self.network(network.as_deref().unwrap_or(Self::DEFAULT));
        let names = self.zone(zone);
        if let Some(port) = names.ports.get(&uuid) {
            names
                .port_networks
                .insert(port.name.clone(), (uuid, network));
        }
        let Some(endpoint) = endpoint else {
            return;
        };
        let keys: Vec<(u32, IpAddr)> = addresses.into_iter().map(|ip| (network, ip)).collect();
        for key in &keys {
            self.claim((zone, uuid), rank, *key, endpoint.clone());
        }
        self.zone(zone).claimed.insert(uuid, keys);
    }

    fn claim(&mut self, by: Claimant, rank: Rank, key: (u32, IpAddr), endpoint: Endpoint) {
        let endpoint = self.endpoints.insert(endpoint);
        let claims = self.addresses.entry(key).or_default();
        let at = claims.partition_point(|claim| (claim.rank, claim.by) < (rank, by));
        claims.insert(at, Claim { by, rank, endpoint });
        self.decide(key);
    }

    fn unclaim(&mut self, by: Claimant, key: (u32, IpAddr)) {
        let Some(claims) = self.addresses.get_mut(&key) else {
            return;
        };
        if let Some(at) = claims.iter().position(|claim| claim.by == by) {
            self.endpoints.remove(claims.remove(at).endpoint, EXTERNAL);
        }
        if claims.is_empty() {
            self.addresses.remove(&key);
        }
        self.decide(key);
    }

    /// Makes [`Names::found`] say what an address's claims come to.
    fn decide(&mut self, (network, ip): (u32, IpAddr)) {
        let claims = self
            .addresses
            .get(&(network, ip))
            .map_or(&[][..], Vec::as_slice);
        let entry = self.found.entry(
            spot(network, ip),
            |found| found.network == network && found.ip == ip,
            |found| spot(found.network, found.ip),
        );
        let Some(first) = claims.first() else {
            if let hash_table::Entry::Occupied(entry) = entry {
                entry.remove();
            }
            return;
        };
        let is_service = |claim: &Claim| {
            let endpoint = self.endpoints.item(claim.endpoint);
            endpoint.is_some_and(|endpoint| endpoint.kind == EndpointKind::Service)
        };
        let found = Found {
            network,
            endpoint: first.endpoint,
            ip,
            serves: claims.iter().any(is_service),
        };
        match entry {
            hash_table::Entry::Occupied(mut entry) => *entry.get_mut() = found,
            hash_table::Entry::Vacant(entry) => {
                entry.insert(found);
            }
        }
    }

    fn take_balancer(
        &mut self,
        zone: ZoneId,
        uuid: Uuid,
        new: Option<&Row>,
    ) -> Result<(), RowError> {
        let balancer = new.map(LoadBalancer::read).transpose()?;
        if let Some((old, network)) = self.zone(zone).balancers.remove(&uuid) {
            for vip in &old.vips {
                self.unserve((zone, uuid), (network, vip.ip, vip.port, old.protocol));
            }
        }
        let Some(balancer) = balancer else {
            return Ok(());
        };
        let network = self.network(balancer.network.as_deref().unwrap_or(Self::DEFAULT));
        for vip in &balancer.vips {
            let (namespace, name) = match balancer.service.clone() {
                Some((namespace, name)) => (Some(namespace), name),
                None => (None, balancer.name.clone()),
            };
            let endpoint = Endpoint {
                kind: EndpointKind::Service,
                namespace: namespace.clone(),
                name: Some(name.clone()),
                node: None,
            };
            let service = self.services.insert(Some(Service {
                namespace,
                name,
                ip: vip.ip,
                port: vip.port,
                protocol: balancer.protocol,
                backends: vip.backends.clone(),
            }));
            let key = (network, vip.ip, vip.port, balancer.protocol);
            let held = self.vips.entry(key).or_default();
            let at = held.partition_point(|(by, _)| *by < (zone, uuid));
            held.insert(at, ((zone, uuid), service));
            self.claim((zone, uuid), Rank::Router, (network, vip.ip), endpoint);
        }
        self.zone(zone).balancers.insert(uuid, (balancer, network));
        Ok(())
    }

    fn unserve(&mut self, by: Claimant, key: VipKey) {
        if let Some(held) = self.vips.get_mut(&key) {
            if let Some(at) = held.iter().position(|(owner, _)| *owner == by) {
                self.services.remove(held.remove(at).1, None);
            }
            if held.is_empty() {
                self.vips.remove(&key);
            }
        }
        self.unclaim(by, (key.0, key.1));
    }

    /// Gives each datapath the network of the switch or router behind it.
    fn refresh_datapaths(&mut self, zone: ZoneId) {
        let names = self.zone(zone);
        let mut networks = BTreeMap::new();
        for (key, datapath) in &names.datapaths {
            networks.insert(*key, names.network_of(datapath.nb_uuid).map(str::to_owned));
        }
        for (key, network) in networks {
            let number = self.network(network.as_deref().unwrap_or(Self::DEFAULT));
            if let Some(datapath) = self.zone(zone).datapaths.get_mut(&key) {
                datapath.network = number;
            }
        }
    }
}

/// A few ports of which one is meant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ports<'a> {
    names: [&'a str; 4],
    count: usize,
}

impl<'a> Ports<'a> {
    pub(crate) fn one(name: &'a str) -> Self {
        let mut ports = Self::default();
        ports.push(name);
        ports
    }

    /// False if there is no room.
    fn push(&mut self, name: &'a str) -> bool {
        let slot = self.names.get_mut(self.count);
        let fits = slot.map(|slot| *slot = name).is_some();
        self.count += usize::from(fits);
        fits
    }

    pub(crate) fn names(&self) -> &[&'a str] {
        self.names.get(..self.count).unwrap_or_default()
    }
}

/// What the rows of a zone say to somebody who judges matches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grounds<'a> {
    names: &'a Names,
    zone: ZoneId,
    rows: &'a ZoneNames,
    /// The switch that a sample was taken at.
    switch: Option<Uuid>,
    network: u32,
}

impl Names {
    /// What is known where a sample was taken; nothing of a zone without rows.
    pub(crate) fn grounds(&self, zone: ZoneId, datapath: Option<u32>) -> Option<Grounds<'_>> {
        let rows = self.zones.get(usize::from(zone.0))?;
        let datapath = datapath.and_then(|key| rows.datapaths.get(&key));
        Some(Grounds {
            names: self,
            zone,
            rows,
            switch: datapath.and_then(|datapath| datapath.nb_uuid),
            network: datapath.map_or(0, |datapath| datapath.network),
        })
    }
}

impl<'a> Grounds<'a> {
    /// Port groups and address sets.
    pub(crate) fn contents(&self) -> &'a Contents {
        &self.rows.contents
    }

    /// Another number whenever ports have changed.
    pub(crate) fn ports_changed(&self) -> u64 {
        self.rows.ports_changed
    }

    /// The name of a port.
    pub(crate) fn port(&self, uuid: Uuid) -> Option<&'a LogicalSwitchPort> {
        self.rows.ports.get(&uuid)
    }

    /// The port of the switch behind an input interface.
    pub(crate) fn port_of_input(&self, input: Input<'_>) -> Option<&'a str> {
        let name = self.rows.port(input)?;
        let (port, _) = self.rows.port_networks.get(name)?;
        (self.switch.is_some() && self.rows.parents.get(port) == self.switch.as_ref())
            .then_some(name)
    }

    /// The one port of the switch that has an address.
    pub(crate) fn port_of(&self, ip: IpAddr) -> Option<&'a LogicalSwitchPort> {
        let mut ports = self.ports_with(ip);
        let only = ports.next()?;
        ports.next().is_none().then_some(only)
    }

    /// Whether a port of the switch has an address.
    pub(crate) fn has_address(&self, ip: IpAddr) -> bool {
        self.ports_with(ip).next().is_some()
    }

    fn ports_with(&self, ip: IpAddr) -> impl Iterator<Item = &'a LogicalSwitchPort> {
        let claims = self.names.addresses.get(&(self.network, ip));
        let (zone, rows, switch) = (self.zone, self.rows, self.switch);
        claims.into_iter().flatten().filter_map(move |claim| {
            let (by, port) = claim.by;
            let is_here =
                by == zone && switch.is_some() && rows.parents.get(&port).copied() == switch;
            is_here.then(|| rows.ports.get(&port))?
        })
    }

    /// The ports of the switch by which packets of others may come and go, those of routers and the like; none if there are more than a few.
    /// A port with addresses is for its own packets: one that passes them on for others has its MAC address in them.
    pub(crate) fn ports_of_others(&self, mac: Option<[u8; 6]>) -> Option<Ports<'a>> {
        // To a group of receivers a packet goes by all of their ports.
        let (switch, mac) = (self.switch?, mac.filter(|mac| mac[0] & 1 == 0)?);
        let mut ports = Ports::default();
        for port in &self.rows.switches.get(&switch)?.ports {
            let port = self.rows.ports.get(port)?;
            if port.macs.contains(&mac) {
                return None;
            }
            let is_shared = !matches!(port.kind.as_str(), "" | "remote");
            if (is_shared || port.addresses.is_empty()) && !ports.push(&port.name) {
                return None;
            }
        }
        Some(ports)
    }

    /// Whether the switch has an ACL, of its own or by a port group; `None` where that is not known.
    pub(crate) fn has(&self, acl: Uuid) -> Option<bool> {
        let switch = self.switch?;
        let own = &self.rows.switches.get(&switch)?.acls;
        if own.contains(&acl) {
            return Some(true);
        }
        let elsewhere =
            |(uuid, other): (&Uuid, &LogicalSwitch)| *uuid != switch && other.acls.contains(&acl);
        let mut held = self.rows.switches.iter().any(elsewhere);
        for group in self.contents().groups.rows() {
            let members = |column| group.column(column).map_or(&[][..], Datum::atoms);
            if members("acls").binary_search(&acl.into()).is_err() {
                continue;
            }
            let mut ports = members("ports").iter().filter_map(Atom::as_uuid);
            if ports.any(|port| self.rows.parents.get(&port) == Some(&switch)) {
                return Some(true);
            }
            held = true;
        }
        held.then_some(false)
    }

    /// True where a service may have another address for this end.
    pub(crate) fn is_behind_service(&self, ip: IpAddr, port: Option<u16>, protocol: u8) -> bool {
        let services = self.names.services.items.iter().flatten();
        let mut of_protocol = services.filter(|service| service.protocol == protocol);
        of_protocol.any(|service| {
            let is_its_own = service.ip == ip && (service.port.is_none() || service.port == port);
            is_its_own || service.backends.contains(&(ip, port))
        })
    }
}

/// What a port's addresses are called.
struct Naming {
    endpoint: Option<Endpoint>,
    addresses: Vec<IpAddr>,
    network: Option<String>,
    rank: Rank,
}

impl ZoneNames {
    /// Takes what changed of what matches name.
    fn take_contents(&mut self, database: Database, set: &ChangeSet, whole: bool) {
        let moment = Moment::of(set);
        if whole {
            match database {
                Database::Northbound => self.contents.begin(Kind::Group, moment),
                Database::Sets => self.contents.begin(Kind::Set, moment),
                Database::Southbound | Database::Vswitch => {}
            }
        }
        for change in &set.changes {
            if let Some(kind) = Kind::of(&change.table) {
                let (uuid, new) = (change.uuid, change.new.as_ref());
                self.contents.take(kind, uuid, new, moment);
            }
            self.ports_changed += u64::from(&*change.table == "Logical_Switch_Port");
        }
    }

    fn port(&self, input: Input<'_>) -> Option<&str> {
        let row = match input {
            Input::Index(index) => match self.by_index.get(&(index as u16))?[..] {
                [only] => only,
                _ => return None,
            },
            Input::Name(name) => *self.by_name.get(name)?,
            _ => return None,
        };
        self.interfaces.get(&row)?.logical_port.as_deref()
    }

    fn input_network(&self, input: Input<'_>) -> Option<u32> {
        match input {
            Input::Index(index) => self.index_networks.get(&(index as u16)).copied(),
            Input::Name(name) => self.name_networks.get(name).copied(),
            _ => None,
        }
    }

    fn refresh_inputs(&mut self) {
        let network = |input| Some(self.port_networks.get(self.port(input)?)?.1);
        let by_index = self
            .by_index
            .keys()
            .filter_map(|index| Some((*index, network(Input::Index(u32::from(*index)))?)))
            .collect();
        let by_name = self
            .by_name
            .keys()
            .filter_map(|name| Some((name.clone(), network(Input::Name(name))?)))
            .collect();
        self.index_networks = by_index;
        self.name_networks = by_name;
    }

    fn network_of(&self, parent: Option<Uuid>) -> Option<&str> {
        let parent = parent?;
        let switch = self.switches.get(&parent).map(|switch| &switch.network);
        let router = self.routers.get(&parent).map(|router| &router.network);
        switch.or(router)?.as_deref()
    }

    fn naming(&self, uuid: Uuid) -> Option<Naming> {
        let parent = self.parents.get(&uuid).copied();
        let network = self.network_of(parent).map(str::to_owned);
        if let Some(port) = self.ports.get(&uuid) {
            let switch = parent.and_then(|parent| self.switches.get(&parent));
            return Some(Naming {
                endpoint: port_endpoint(port, switch, &self.name),
                addresses: port.addresses.clone(),
                network: port.network.clone().or(network),
                rank: match port.kind.as_str() {
                    "remote" => Rank::Remote,
                    _ => Rank::Port,
                },
            });
        }
        let port = self.router_ports.get(&uuid)?;
        Some(Naming {
            endpoint: Some(router_port_endpoint(port)),
            addresses: port.addresses.clone(),
            network,
            rank: Rank::Router,
        })
    }

    fn take_interface(&mut self, uuid: Uuid, interface: Option<Interface>) {
        let before = match &interface {
            Some(interface) => self.interfaces.insert(uuid, interface.clone()),
            None => self.interfaces.remove(&uuid),
        };
        if let Some(before) = before {
            if let Entry::Occupied(known) = self.by_name.entry(before.name)
                && *known.get() == uuid
            {
                known.remove();
            }
            if let Some(index) = before.index
                && let Entry::Occupied(mut rows) = self.by_index.entry(index as u16)
            {
                rows.get_mut().retain(|row| *row != uuid);
                if rows.get().is_empty() {
                    rows.remove();
                }
            }
        }
        if let Some(Interface { name, index, .. }) = interface {
            if let Some(index) = index {
                self.by_index.entry(index as u16).or_default().push(uuid);
            }
            self.by_name.insert(name, uuid);
        }
    }
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Arena<T> {
    fn insert(&mut self, item: T) -> u32 {
        match self.free.pop() {
            Some(number) => {
                self.items[number as usize] = item;
                number
            }
            None => {
                self.items.push(item);
                (self.items.len() - 1) as u32
            }
        }
    }

    fn remove(&mut self, number: u32, blank: T) {
        if let Some(slot) = self.items.get_mut(number as usize) {
            *slot = blank;
            self.free.push(number);
        }
    }

    fn item(&self, number: u32) -> Option<&T> {
        self.items.get(number as usize)
    }
}

/// The ports whose name depends on a switch or router that changed, by its ports and by what of
/// it their names depend on.
fn moved_ports<T: PartialEq>(old: Option<(&[Uuid], T)>, new: Option<(&[Uuid], T)>) -> Vec<Uuid> {
    let same = matches!((&old, &new), (Some((_, a)), Some((_, b))) if a == b);
    let old = old.map_or(&[][..], |(ports, _)| ports);
    let new = new.map_or(&[][..], |(ports, _)| ports);
    if !same {
        return old.iter().chain(new).copied().collect();
    }
    let before: hashbrown::HashSet<Uuid, RandomState> = old.iter().copied().collect();
    let after: hashbrown::HashSet<Uuid, RandomState> = new.iter().copied().collect();
    before.symmetric_difference(&after).copied().collect()
}

/// The end of a name that may begin with the prefix of a network, in ovn-kubernetes `NETWORK_`:
/// names of pods and nodes have no underscore.
fn unprefixed(name: &str) -> &str {
    name.rsplit('_').next().unwrap_or(name)
}

/// Names of ports as ovn-kubernetes gives them (go-controller/pkg/types/const.go).
fn port_endpoint(
    port: &LogicalSwitchPort,
    switch: Option<&LogicalSwitch>,
    zone: &str,
) -> Option<Endpoint> {
    let node = |name: &str| Endpoint {
        kind: EndpointKind::Management,
        namespace: None,
        name: Some(name.to_owned()),
        node: Some(name.to_owned()),
    };
    if port.pod {
        return Some(Endpoint {
            kind: EndpointKind::Pod,
            namespace: port.namespace.clone(),
            name: Some(unprefixed(&port.name).to_owned()),
            node: match port.kind.as_str() {
                // On a network of layer 2 that spans zones.
                "remote" => port.node.clone(),
                _ if !zone.is_empty() && zone != "global" => Some(zone.to_owned()),
                _ => switch.map(|switch| switch.name.clone()),
            },
        });
    }
    if let Some(name) = port.name.strip_prefix("k8s-") {
        return Some(node(unprefixed(name)));
    }
    match port.kind.as_str() {
        "" => Some(Endpoint {
            kind: EndpointKind::Port,
            namespace: None,
            name: Some(port.name.clone()),
            node: None,
        }),
        "remote" => Some(Endpoint {
            kind: EndpointKind::Join,
            namespace: None,
            name: Some(port.name.clone()),
            node: port.node.clone(),
        }),
        _ => None,
    }
}

fn router_port_endpoint(port: &LogicalRouterPort) -> Endpoint {
    let named = |kind, node: Option<&str>| Endpoint {
        kind,
        namespace: None,
        name: Some(node.unwrap_or(&port.name).to_owned()),
        node: node.map(str::to_owned),
    };
    let after = |prefix| port.name.strip_prefix(prefix).map(unprefixed);
    if let Some(node) = after("rtoe-GR_") {
        named(EndpointKind::Node, Some(node))
    } else if let Some(node) = after("rtoj-GR_").or_else(|| after("rtots-")) {
        named(EndpointKind::Join, Some(node))
    } else if after("rtoj-").is_some() {
        named(EndpointKind::Join, None)
    } else if let Some(node) = after("rtos-") {
        named(EndpointKind::Gateway, Some(node))
    } else {
        named(EndpointKind::Gateway, None)
    }
}

/// True for the actions of a flow that ends a packet, sampled or not (ovn northd/debug.c).
fn drops(actions: &str) -> bool {
    actions.is_empty() || actions == "drop;" || actions.contains("/* drop */")
}

fn drop_flow(flow: LogicalFlow) -> DropFlow {
    let LogicalFlow {
        stage,
        pipeline,
        priority,
        matches,
        ..
    } = flow;
    let stage = if stage.is_empty() { pipeline } else { stage };
    DropFlow {
        message: format!("Dropped by logical flow {stage}, priority {priority}, match {matches}")
            .into(),
        stage,
        priority,
        matches,
    }
}

/// Where an address stands in [`Names::found`].
fn spot(network: u32, ip: IpAddr) -> u64 {
    let bits = match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    };
    mix(bits as u64, (bits >> 64) as u64 ^ u64::from(network))
}

/// What ovn-controller drops by itself, by the number of the OpenFlow table: such samples carry
/// no datapath and the table as their point (ovn controller/physical.c, put_drop).
static CONTROLLER_DROPS: LazyLock<Vec<DropFlow>> = LazyLock::new(|| {
    let table = |number: u8| DropFlow {
        stage: format!("OpenFlow table {number}"),
        priority: 0,
        matches: String::new(),
        message: format!("Dropped by ovn-controller in OpenFlow table {number}").into(),
    };
    (0..=u8::MAX).map(table).collect()
});

const EXTERNAL: Endpoint = Endpoint {
    kind: EndpointKind::External,
    namespace: None,
    name: None,
    node: None,
};

/// The addresses at the start of ovn-kubernetes' masquerade subnet, which are the same on every
/// node (go-controller/pkg/config, MasqueradeIPs): 169.254.0.0/17 now, 169.254.169.0/29 before
/// 1.1, fd69::/112.
fn masquerade(ip: IpAddr) -> Option<&'static Endpoint> {
    let last = match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, last] = ip.octets();
            (Ipv4Addr::new(a, b, 0, 0) == Ipv4Addr::new(169, 254, 0, 0) && (c == 0 || c == 169))
                .then_some(last)
        }
        IpAddr::V6(ip) => {
            let [.., last] = ip.octets();
            let base = Ipv6Addr::from(u128::from(ip) & !0xff);
            (base == Ipv6Addr::new(0xfd69, 0, 0, 0, 0, 0, 0, 0)).then_some(last)
        }
    }?;
    static NAMES: LazyLock<[Endpoint; 5]> = LazyLock::new(|| {
        ["ovn", "host", "host-etp-local", "next-hop", "hairpin"].map(|name| Endpoint {
            kind: EndpointKind::Masquerade,
            namespace: None,
            name: Some(name.to_owned()),
            node: None,
        })
    });
    NAMES.get(usize::from(last).checked_sub(1)?)
}
