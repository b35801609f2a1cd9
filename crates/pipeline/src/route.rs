use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use uuid::Uuid;

use crate::balance::ports;
use crate::{Lport, Northbound, Packet, SwitchId};

pub(crate) type Mac = [u8; 6];

/// The routers of a zone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routers {
    pub(crate) list: Vec<Router>,
    /// The router's end of a switch port: router and port.
    of_switch_port: HashMap<Lport, (usize, usize)>,
    /// The MAC address of whoever has an address on a switch (`build_arp_resolve_flows_for_lsp` in northd.c).
    neighbours: HashMap<(SwitchId, IpAddr), Mac>,
}

#[derive(Clone, Debug)]
pub(crate) struct Router {
    pub(crate) uuid: Uuid,
    pub(crate) ports: Vec<RouterPort>,
    /// Its load balancers, sorted.
    pub(crate) balancers: Vec<Uuid>,
    /// Whether it is one chassis' alone.
    pub(crate) gateway: bool,
    /// Whether what its load balancers send on comes from its own address (`lb_force_snat_ip=router_ip`).
    pub(crate) forces_snat: bool,
    /// Zones of conntrack for DNAT and SNAT.
    pub(crate) zones: (u32, u32),
    /// Routes that are as long and of one kind, the first to be looked into first.
    tables: Vec<Table>,
}

#[derive(Clone, Debug)]
pub(crate) struct RouterPort {
    pub(crate) uuid: Uuid,
    pub(crate) mac: Mac,
    /// Addresses with the length of their networks; the link-local one of IPv6 is the last.
    pub(crate) addresses: Vec<(IpAddr, u8)>,
    pub(crate) peer: Peer,
}

/// What a router's port is joined with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Peer {
    Nothing,
    Switch(Lport),
    Router(usize, usize),
}

#[derive(Clone, Debug)]
struct Table {
    priority: u16,
    by_source: bool,
    v4: bool,
    length: u8,
    hops: HashMap<IpAddr, Vec<Hop>>,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Hop {
    /// The port; `None` where packets are to be thrown away.
    pub(crate) port: Option<usize>,
    /// The next router; `None` where the destination is a neighbour.
    pub(crate) gateway: Option<IpAddr>,
    /// It is for packets that came in by this very port (link-local networks).
    link_local: bool,
}

impl Routers {
    pub(crate) fn new(northbound: &Northbound) -> Self {
        let mut this = Self::default();
        let mut rows: Vec<_> = northbound.routers.iter().collect();
        rows.sort_unstable_by_key(|(uuid, _)| **uuid);
        let mut named: HashMap<&str, (usize, usize)> = HashMap::new();
        for (number, (uuid, row)) in rows.iter().enumerate() {
            let ports = row
                .ports
                .iter()
                .filter_map(|port| Some((*port, northbound.router_ports.get(port)?)));
            let mut router = Router {
                uuid: **uuid,
                ports: Vec::new(),
                balancers: row.load_balancers.clone(),
                gateway: row.options.contains_key("chassis"),
                forces_snat: row.options.contains_key("chassis")
                    && row.options.get("lb_force_snat_ip").map(String::as_str) == Some("router_ip"),
                zones: (
                    u32::MAX - 2 * number as u32,
                    u32::MAX - 2 * number as u32 - 1,
                ),
                tables: Vec::new(),
            };
            for (port, row) in ports {
                let Some(mac) = mac(&row.mac) else { continue };
                named.insert(&row.name, (number, router.ports.len()));
                let networks = row.networks.iter().filter_map(|text| network(text));
                router.ports.push(RouterPort {
                    uuid: port,
                    mac,
                    addresses: networks
                        .chain([(IpAddr::V6(link_local(mac)), 64)])
                        .collect(),
                    peer: Peer::Nothing,
                });
            }
            router.connect();
            let routes = row
                .routes
                .iter()
                .filter_map(|route| northbound.routes.get(route));
            for route in routes.filter(|route| route.table.is_empty()) {
                let output = route.output.as_deref().map(|name| named.get(name));
                let output = match output {
                    Some(Some((router, port))) if *router == number => Some(*port),
                    Some(_) => continue,
                    None => None,
                };
                router.add_static(&route.prefix, &route.nexthop, route.by_source, output);
            }
            router
                .tables
                .sort_by_key(|table| std::cmp::Reverse(table.priority));
            this.list.push(router);
        }
        this.join(northbound, &named);
        this
    }

    /// The router behind a port of a switch: router and port.
    pub(crate) fn behind(&self, port: Lport) -> Option<(usize, usize)> {
        self.of_switch_port.get(&port).copied()
    }

    /// The MAC address of who has an address on a switch.
    pub(crate) fn neighbour(&self, switch: SwitchId, address: IpAddr) -> Option<Mac> {
        self.neighbours.get(&(switch, address)).copied()
    }

    /// The MAC address of a neighbour of a router's port, if it is known.
    pub(crate) fn resolve(
        &self,
        northbound: &Northbound,
        peer: Peer,
        neighbour: IpAddr,
    ) -> Option<Mac> {
        match peer {
            Peer::Nothing => None,
            Peer::Switch(port) => {
                let switch = northbound.port(port)?.switch?;
                self.neighbour(switch, neighbour)
            }
            Peer::Router(router, port) => {
                let port = self.list.get(router)?.ports.get(port)?;
                port.owns(neighbour).then_some(port.mac)
            }
        }
    }

    /// Finds who is behind each port, and who has which address on the switches.
    fn join(&mut self, northbound: &Northbound, named: &HashMap<&str, (usize, usize)>) {
        for row in northbound.router_ports.values() {
            let ends = (
                named.get(row.name.as_str()),
                row.peer.as_deref().and_then(|peer| named.get(peer)),
            );
            if let (Some((router, port)), Some((other, far))) = ends {
                self.list[*router].ports[*port].peer = Peer::Router(*other, *far);
            }
        }
        for (number, port) in northbound.ports.iter().enumerate() {
            let (lport, Some(switch)) = (Lport(number as u32), port.switch) else {
                continue;
            };
            if port.kind != "router" {
                for (mac_text, addresses) in port.hosts() {
                    let Some(mac) = mac(mac_text) else { continue };
                    self.neighbours
                        .extend(addresses.map(|address| ((switch, address), mac)));
                }
                continue;
            }
            let far = port.options.get("router-port");
            let Some((router, far)) = far.and_then(|name| named.get(name.as_str())) else {
                continue;
            };
            self.of_switch_port.insert(lport, (*router, *far));
            let end = &mut self.list[*router].ports[*far];
            end.peer = Peer::Switch(lport);
            let addresses = end.addresses.iter();
            self.neighbours
                .extend(addresses.map(|(address, _)| ((switch, *address), end.mac)));
        }
    }
}

impl Router {
    /// Whether it has an address itself.
    pub(crate) fn owns(&self, address: IpAddr) -> bool {
        self.ports.iter().any(|port| port.owns(address))
    }

    /// Whether an address is for all hosts of one of its networks (`op_put_v4_networks`).
    pub(crate) fn broadcasts(&self, address: Ipv4Addr) -> bool {
        let networks = self.ports.iter().flat_map(|port| &port.addresses);
        networks.into_iter().any(|(own, length)| match own {
            IpAddr::V4(own) => {
                let hosts = u32::MAX.checked_shr((*length).into()).unwrap_or(0);
                u32::from(*own) | hosts == u32::from(address)
            }
            IpAddr::V6(_) => false,
        })
    }

    /// Where a packet goes that came in by this port: the longest prefix, by destination before by source, connected networks before
    /// static routes (`build_route_match`). Among equal routes the connection's ends choose.
    pub(crate) fn route(&self, inport: usize, packet: &Packet) -> Option<Hop> {
        let (from, to) = packet.ip?;
        self.tables.iter().find_map(|table| {
            let address = if table.by_source { from } else { to };
            if address.is_ipv4() != table.v4 {
                return None;
            }
            let hops = table.hops.get(&masked(address, table.length))?;
            let ours = |hop: &&Hop| !hop.link_local || hop.port == Some(inport);
            match &hops[..] {
                [hop] => Some(hop).filter(ours).copied(),
                hops => {
                    let count = hops.iter().filter(ours).count();
                    let hash = FixedState::default().hash_one((packet.ip, ports(packet)));
                    let chosen = hash.checked_rem(count as u64)?;
                    hops.iter().filter(ours).nth(chosen as usize).copied()
                }
            }
        })
    }

    fn connect(&mut self) {
        for port in 0..self.ports.len() {
            for place in 0..self.ports[port].addresses.len() {
                let (address, length) = self.ports[port].addresses[place];
                let hop = Hop {
                    port: Some(port),
                    gateway: None,
                    link_local: is_link_local(address),
                };
                self.add(address, length, false, CONNECTED, hop);
            }
        }
    }

    /// `find_static_route_outport`: a route that no port leads to is none.
    fn add_static(&mut self, prefix: &str, nexthop: &str, by_source: bool, output: Option<usize>) {
        let Some((prefix, length)) = network(prefix) else {
            return;
        };
        if by_source && length == 0 {
            return; // As low as the flow that drops what has no route: which of both comes first is chance.
        }
        let discard = nexthop == "discard";
        let gateway: Option<IpAddr> = nexthop.parse().ok();
        if !discard && gateway.is_none() && !nexthop.is_empty() {
            return;
        }
        let reaches = |port: &RouterPort| match gateway {
            Some(gateway) => port.addresses.iter().any(|(address, length)| {
                address.is_ipv4() == gateway.is_ipv4()
                    && masked(*address, *length) == masked(gateway, *length)
            }),
            None => false,
        };
        let port = output.or_else(|| self.ports.iter().position(reaches));
        if port.is_none() && !discard {
            return;
        }
        let hop = Hop {
            port: port.filter(|_| !discard),
            gateway,
            link_local: false,
        };
        let offset = if by_source { 0 } else { STATIC };
        self.add(prefix, length, by_source, offset, hop);
    }

    fn add(&mut self, address: IpAddr, length: u8, by_source: bool, offset: u16, hop: Hop) {
        let priority = u16::from(length) * 8 + offset;
        let v4 = address.is_ipv4();
        let is_it = |table: &Table| {
            (table.priority, table.by_source, table.v4) == (priority, by_source, v4)
        };
        let place = self.tables.iter().position(is_it).unwrap_or_else(|| {
            self.tables.push(Table {
                priority,
                by_source,
                v4,
                length,
                hops: HashMap::new(),
            });
            self.tables.len() - 1
        });
        let hops = self.tables[place].hops.entry(masked(address, length));
        let hops = hops.or_default();
        if !hops.contains(&hop) {
            hops.push(hop);
        }
    }
}

impl RouterPort {
    /// Its first address of the family, the one that packets of its own come from.
    pub(crate) fn first(&self, v4: bool) -> Option<IpAddr> {
        let mut addresses = self.addresses.iter().map(|(address, _)| *address);
        addresses.find(|address| address.is_ipv4() == v4 && !is_link_local(*address))
    }

    fn owns(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|(own, _)| *own == address)
    }
}

/// The offsets that tell routes with prefixes of one length apart (`ROUTE_PRIO_OFFSET_STATIC` and its neighbours).
const STATIC: u16 = 4;
const CONNECTED: u16 = 6;

/// `0a:58:0a:f4:01:0a`.
pub(crate) fn mac(text: &str) -> Option<Mac> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// `10.244.0.0/16`, or an address.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text
        .split_once('/')
        .map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(most), |length| length.parse().ok())?;
    (length <= most).then_some((address, length))
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            Ipv4Addr::from(u32::from(v4) & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Ipv6Addr::from(u128::from(v6) & mask).into()
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The address that a port gives itself (RFC 4291, appendix A).
fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let bytes = [
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ];
    Ipv6Addr::from(bytes)
}
