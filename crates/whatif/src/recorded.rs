use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use netverdict_types::{Connection, Endpoint, EndpointKind, Service, Timestamp, Verdict};

/// Connections, counted by who spoke to whom. It needs memory for each pair of addresses, service
/// and port, not for each connection.
#[derive(Debug, Default)]
pub struct Recorded {
    rows: Vec<Row>,
    /// Each with a part of its hash, so that a row is looked at only to make sure.
    numbers: HashTable<(u32, u32)>,
    connections: u64,
}

/// Connections that are looked for at once: memory is waited for once for all of them.
const AT_ONCE: usize = 64;

/// Who spoke to whom, as far as policies tell them apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pair {
    /// Who began. Pairs of one end share it.
    pub from: Arc<End>,
    /// Who answered; the service's own address where the backend is not known.
    pub to: Arc<End>,
    /// The service that was asked.
    pub service: Option<Arc<Service>>,
    /// False where a service was asked and it is not known which of its backends answered.
    pub has_backend: bool,
    /// IP protocol (IANA).
    pub protocol: u8,
    /// The server's port, of protocols with ports.
    pub port: Option<u16>,
    /// How often, and when.
    pub seen: Seen,
}

/// One end of a pair: a pod or other port by its name, whatever address it had; else an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct End {
    /// Its address when it was seen; of a pod one of those.
    pub address: IpAddr,
    /// What was known of it.
    pub endpoint: Option<Arc<Endpoint>>,
}

/// How often connections were seen, and when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Connections.
    pub connections: u64,
    /// Of them, those that were allowed.
    pub allowed: u64,
    /// Of them, those that were dropped or rejected. What is neither has no verdict.
    pub denied: u64,
    /// When the first began.
    pub first: Timestamp,
    /// When the last ended.
    pub last: Timestamp,
}

/// Connections with the same ends, service and port.
#[derive(Debug)]
#[repr(align(128))] // Two lines of the cache that come together.
struct Row {
    seen: Seen,
    way: Way,
}

#[derive(Clone, Debug)]
struct Way {
    addresses: [IpAddr; 2],
    ends: [Option<Arc<Endpoint>>; 2],
    service: Option<Arc<Service>>,
    port: Option<u16>,
    protocol: u8,
}

impl Way {
    fn of(connection: &Connection) -> Self {
        Self {
            addresses: [connection.client.ip, connection.server.ip],
            ends: [connection.src.clone(), connection.dst.clone()],
            service: connection.service.clone(),
            port: port(connection),
            protocol: connection.protocol,
        }
    }

    fn hash(&self) -> u64 {
        hash(self.addresses, self.port, self.protocol)
    }

    fn is_of(&self, connection: &Connection) -> bool {
        self.addresses == [connection.client.ip, connection.server.ip]
            && self.port == port(connection)
            && self.protocol == connection.protocol
            && is_same(&self.ends[0], &connection.src)
            && is_same(&self.ends[1], &connection.dst)
            && is_same(&self.service, &connection.service)
    }
}

impl Recorded {
    /// Takes connections, faster if there are many. Updates of one must be folded before: each is one
    /// more connection here.
    pub fn take<'a>(&mut self, connections: impl IntoIterator<Item = &'a Connection>) {
        let mut connections = connections.into_iter();
        loop {
            let mut some = [None; AT_ONCE];
            let mut count = 0;
            for (place, connection) in some.iter_mut().zip(&mut connections) {
                let hash = hash(
                    [connection.client.ip, connection.server.ip],
                    port(connection),
                    connection.protocol,
                );
                let found = self.numbers.find(hash, |(of, _)| *of == part(hash));
                let likely = found.map_or(u32::MAX, |(_, number)| *number);
                *place = Some((hash, likely, connection));
                count += 1;
            }
            // So little is done about each here that the memory of many is waited for at once.
            let rows = &self.rows;
            let touched = some.iter().flatten().fold(0, |sum: u64, (_, likely, _)| {
                let row = rows.get(*likely as usize);
                sum.wrapping_add(
                    row.map_or(0, |row| row.seen.connections ^ u64::from(row.way.protocol)),
                )
            });
            std::hint::black_box(touched);
            for (hash, likely, connection) in some.into_iter().flatten() {
                match self.rows.get_mut(likely as usize) {
                    Some(row) if row.way.is_of(connection) => row.seen.add(Seen::of(connection)),
                    _ => self.add(hash, connection),
                }
            }
            self.connections += count;
            if count < AT_ONCE as u64 {
                return;
            }
        }
    }

    fn add(&mut self, hash: u64, connection: &Connection) {
        let rows = &mut self.rows;
        let is_it = |(of, number): &(u32, u32)| {
            *of == part(hash)
                && rows
                    .get(*number as usize)
                    .is_some_and(|row| row.way.is_of(connection))
        };
        let found = self.numbers.find(hash, is_it).map(|(_, number)| *number);
        let seen = Seen::of(connection);
        if let Some(found) = found.and_then(|number| rows.get_mut(number as usize)) {
            return found.seen.add(seen);
        }
        let number = rows.len() as u32;
        rows.push(Row {
            seen,
            way: Way::of(connection),
        });
        self.numbers
            .insert_unique(hash, (part(hash), number), |(_, number)| {
                rows.get(*number as usize).map_or(0, |row| row.way.hash())
            });
    }

    /// How many connections were taken.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// Who spoke to whom, in no order.
    pub fn pairs(&self) -> Vec<Pair> {
        let mut ends: Vec<Arc<End>> = Vec::new();
        let mut numbers: HashMap<(IpAddr, Option<*const Endpoint>), usize, FixedState> =
            HashMap::with_hasher(HASHER);
        let mut number = |address: IpAddr, endpoint: &Option<Arc<Endpoint>>| {
            let place = (address, endpoint.as_ref().map(Arc::as_ptr));
            *numbers.entry(place).or_insert_with(|| {
                ends.push(Arc::new(End {
                    address,
                    endpoint: endpoint.clone(),
                }));
                ends.len() - 1
            })
        };
        let numbered: Vec<[usize; 2]> = self
            .rows
            .iter()
            .map(|Row { way, .. }| [0, 1].map(|end| number(way.addresses[end], &way.ends[end])))
            .collect();
        let same_end = first_of(ends.iter().map(|end| Who::of(end)));
        let same_service = first_of(self.rows.iter().map(|row| {
            let service = row.way.service.as_deref()?;
            let namespace = service.namespace.as_deref();
            Some((service.ip, service.port, &*service.name, namespace))
        }));
        let mut places: HashMap<_, usize, FixedState> =
            HashMap::with_capacity_and_hasher(self.rows.len(), HASHER);
        let mut pairs: Vec<Pair> = Vec::with_capacity(self.rows.len());
        for ((Row { way, seen }, numbers), service) in
            self.rows.iter().zip(numbered).zip(same_service)
        {
            let [Some(from), Some(to)] = numbers.map(|end| same_end.get(end).copied()) else {
                continue;
            };
            let named = (from, to, service, way.port, way.protocol);
            let place = *places.entry(named).or_insert(pairs.len());
            if let Some(pair) = pairs.get_mut(place) {
                pair.seen.add(*seen);
                continue;
            }
            let [Some(from), Some(to)] = [from, to].map(|end| ends.get(end as usize)) else {
                continue;
            };
            let service = &way.service;
            let shows_service = |service: &Arc<Service>| is_at(service, to.address, way.port);
            pairs.push(Pair {
                has_backend: !service.as_ref().is_some_and(shows_service),
                from: from.clone(),
                to: to.clone(),
                service: service.clone(),
                protocol: way.protocol,
                port: way.port,
                seen: *seen,
            });
        }
        pairs
    }
}

/// For each thing the number of the first that is the same.
fn first_of<T: Eq + Hash>(all: impl Iterator<Item = T>) -> Vec<u32> {
    let mut firsts: HashMap<T, u32, FixedState> = HashMap::with_hasher(HASHER);
    let numbered = all.zip(0..);
    numbered
        .map(|(one, number)| *firsts.entry(one).or_insert(number))
        .collect()
}

/// As [`Connection::backend`] tells it.
fn is_at(service: &Service, address: IpAddr, port: Option<u16>) -> bool {
    service.ip == address && service.port.is_none_or(|own| Some(own) == port)
}

const HASHER: FixedState = FixedState::with_seed(0);

/// Of what tells connections apart without a look at names.
fn hash(addresses: [IpAddr; 2], port: Option<u16>, protocol: u8) -> u64 {
    let mut hasher = HASHER.build_hasher();
    for address in addresses {
        match address {
            IpAddr::V4(address) => hasher.write_u32(address.to_bits()),
            IpAddr::V6(address) => hasher.write_u128(address.to_bits()),
        }
    }
    hasher.write_u32(u32::from(port.unwrap_or_default()) << 8 | u32::from(protocol));
    hasher.finish()
}

/// The part of a hash that is kept: neither what tells the place in the table, nor the tag there.
fn part(hash: u64) -> u32 {
    (hash >> 24) as u32
}

/// The server's port, of protocols with ports.
fn port(connection: &Connection) -> Option<u16> {
    let has_ports = matches!(connection.protocol, 6 | 17 | 132);
    connection.server.port.filter(|_| has_ports)
}

/// Most connections share what they point to.
fn is_same<T: PartialEq>(one: &Option<Arc<T>>, other: &Option<Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
        (None, None) => true,
        _ => false,
    }
}

impl Seen {
    fn of(connection: &Connection) -> Self {
        Self {
            connections: 1,
            allowed: u64::from(connection.verdict == Verdict::Allowed),
            denied: u64::from(matches!(
                connection.verdict,
                Verdict::Dropped | Verdict::Rejected
            )),
            first: connection.start,
            last: connection.end,
        }
    }

    /// Adds what else was seen.
    pub fn add(&mut self, more: Self) {
        self.connections += more.connections;
        self.allowed += more.allowed;
        self.denied += more.denied;
        self.first = self.first.min(more.first);
        self.last = self.last.max(more.last);
    }
}

#[derive(Eq, Hash, PartialEq)]
enum Who<'a> {
    Named {
        kind: EndpointKind,
        namespace: Option<&'a str>,
        name: &'a str,
        v6: bool,
    },
    Address(IpAddr),
}

impl<'a> Who<'a> {
    fn of(end: &'a End) -> Self {
        match end.endpoint.as_deref() {
            Some(Endpoint {
                kind: kind @ (EndpointKind::Pod | EndpointKind::Port),
                namespace,
                name: Some(name),
                ..
            }) => Self::Named {
                kind: *kind,
                namespace: namespace.as_deref(),
                name,
                v6: end.address.is_ipv6(),
            },
            _ => Self::Address(end.address),
        }
    }
}
