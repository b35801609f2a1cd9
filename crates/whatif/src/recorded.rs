use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use netverdict_types::{Connection, Endpoint, EndpointKind, Service, Timestamp, Verdict};

/// Connections, counted by who spoke to whom. It needs memory for each pair of addresses, service
/// and port, not for each connection.
#[derive(Debug, Default)]
pub struct Recorded {
    ends: Numbered<End>,
    services: Numbered<Arc<Service>>,
    rows: Vec<Row>,
    /// Each with its hash, so that a row is looked at only to make sure.
    numbers: HashTable<(u64, u32)>,
    /// Those that are not among the rows yet: many at once are found faster than one by one, as
    /// memory is waited for once.
    waiting: Vec<(u64, Row)>,
    connections: u64,
}

/// Connections that wait.
const WAITING: usize = 64;

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

/// Connections whose ends, service and port are the same at first sight: names are not looked at
/// yet.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))] // One line of the cache.
struct Row {
    way: Way,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Way {
    from: u32,
    to: u32,
    /// One more than its number; 0 is none.
    service: u32,
    port: Option<u16>,
    protocol: u8,
}

/// Things that are the same again and again, by number.
#[derive(Debug)]
struct Numbered<T> {
    all: Vec<T>,
    numbers: HashTable<(u64, u32)>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            numbers: HashTable::new(),
        }
    }
}

impl<T> Numbered<T> {
    fn number(&mut self, hash: u64, is_it: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> u32 {
        let all = &self.all;
        let found = self.numbers.find(hash, |(of, number)| {
            *of == hash && all.get(*number as usize).is_some_and(&is_it)
        });
        if let Some((_, number)) = found {
            return *number;
        }
        let number = self.all.len() as u32;
        self.all.push(make());
        self.numbers
            .insert_unique(hash, (hash, number), |(hash, _)| *hash);
        number
    }
}

impl Recorded {
    /// Takes a connection. Its updates must be folded before: each is one more connection here.
    pub fn take(&mut self, connection: &Connection) {
        self.connections += 1;
        let protocol = connection.protocol;
        let way = Way {
            from: self.end(connection.client.ip, &connection.src),
            to: self.end(connection.server.ip, &connection.dst),
            service: connection
                .service
                .as_ref()
                .map_or(0, |service| self.service(service) + 1),
            port: connection.server.port.filter(|_| has_ports(protocol)),
            protocol,
        };
        let seen = Seen::of(connection);
        self.waiting.push((HASHER.hash_one(way), Row { way, seen }));
        if self.waiting.len() >= WAITING {
            self.settle();
        }
    }

    /// Adds up what waits.
    fn settle(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut likely = [0; WAITING];
        for ((hash, _), likely) in waiting.iter().zip(&mut likely) {
            let found = self.numbers.find(*hash, |(of, _)| of == hash);
            *likely = found.map_or(u32::MAX, |(_, number)| *number);
        }
        for ((hash, row), likely) in waiting.drain(..).zip(likely) {
            match self.rows.get_mut(likely as usize) {
                Some(found) if found.way == row.way => found.seen.add(row.seen),
                _ => self.add(hash, row),
            }
        }
        self.waiting = waiting;
    }

    fn add(&mut self, hash: u64, row: Row) {
        let rows = &self.rows;
        let is_it = |(of, number): &(u64, u32)| {
            *of == hash
                && rows
                    .get(*number as usize)
                    .is_some_and(|it| it.way == row.way)
        };
        let found = self.numbers.find(hash, is_it).map(|(_, number)| *number);
        if let Some(found) = found.and_then(|number| self.rows.get_mut(number as usize)) {
            found.seen.add(row.seen);
            return;
        }
        let number = self.rows.len() as u32;
        self.rows.push(row);
        let entry = (hash, number);
        self.numbers.insert_unique(hash, entry, |(hash, _)| *hash);
    }

    fn end(&mut self, address: IpAddr, endpoint: &Option<Arc<Endpoint>>) -> u32 {
        let hash = HASHER.hash_one(address);
        let is_it = |end: &End| end.address == address && is_same(&end.endpoint, endpoint);
        self.ends.number(hash, is_it, || End {
            address,
            endpoint: endpoint.clone(),
        })
    }

    fn service(&mut self, service: &Arc<Service>) -> u32 {
        let hash = HASHER.hash_one((service.ip, service.port));
        let is_it = |known: &Arc<Service>| Arc::ptr_eq(known, service) || known == service;
        self.services.number(hash, is_it, || service.clone())
    }

    /// How many connections were taken.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// Who spoke to whom, in no order.
    pub fn pairs(&mut self) -> Vec<Pair> {
        self.settle();
        let ends: Vec<Arc<End>> = self.ends.all.iter().cloned().map(Arc::new).collect();
        let same_end = first_of(self.ends.all.iter().map(Who::of));
        let same_service = first_of(self.services.all.iter().map(|service| {
            let namespace = service.namespace.as_deref();
            (service.ip, service.port, &*service.name, namespace)
        }));
        let mut places: HashMap<Way, usize, FixedState> =
            HashMap::with_capacity_and_hasher(self.rows.len(), HASHER);
        let mut pairs: Vec<Pair> = Vec::with_capacity(self.rows.len());
        for Row { way, seen } in &self.rows {
            let first = |of: &[u32], number: u32| of.get(number as usize).copied();
            let [Some(from), Some(to)] = [way.from, way.to].map(|end| first(&same_end, end)) else {
                continue;
            };
            let service = way.service.checked_sub(1);
            let service = service.and_then(|service| first(&same_service, service));
            let named = Way {
                from,
                to,
                service: service.map_or(0, |service| service + 1),
                ..*way
            };
            let place = *places.entry(named).or_insert(pairs.len());
            if let Some(pair) = pairs.get_mut(place) {
                pair.seen.add(*seen);
                continue;
            }
            let [Some(from), Some(to)] = [from, to].map(|end| ends.get(end as usize)) else {
                continue;
            };
            let service = service.and_then(|service| self.services.all.get(service as usize));
            pairs.push(Pair {
                has_backend: !service.is_some_and(|service| is_at(service, to.address, way.port)),
                from: from.clone(),
                to: to.clone(),
                service: service.cloned(),
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

fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 132)
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
