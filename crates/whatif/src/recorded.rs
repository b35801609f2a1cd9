use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use netverdict_types::{Connection, Endpoint, EndpointKind, Service, Timestamp, Verdict};

/// Connections, counted by who spoke to whom. It needs memory for each pair of addresses, service
/// and port, not for each connection.
#[derive(Debug, Default)]
pub struct Recorded {
    rows: HashTable<Row>,
    connections: u64,
}

/// Who spoke to whom, as far as policies tell them apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pair {
    /// Who began.
    pub from: End,
    /// Who answered; the service's own address where the backend is not known.
    pub to: End,
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

/// What of connections makes them alike at first sight.
#[derive(Debug)]
struct Row {
    hash: u64,
    client: IpAddr,
    server: IpAddr,
    port: Option<u16>,
    protocol: u8,
    src: Option<Arc<Endpoint>>,
    dst: Option<Arc<Endpoint>>,
    service: Option<Arc<Service>>,
    seen: Seen,
}

impl Recorded {
    /// Takes a connection. Its updates must be folded before: each is one more connection here.
    pub fn take(&mut self, connection: &Connection) {
        self.connections += 1;
        let protocol = connection.protocol;
        let port = connection.server.port.filter(|_| has_ports(protocol));
        let (client, server) = (connection.client.ip, connection.server.ip);
        let hash = HASHER.hash_one((client, server, port, protocol));
        let is_it = |row: &Row| {
            row.hash == hash
                && row.client == client
                && row.server == server
                && row.port == port
                && row.protocol == protocol
                && is_same(&row.src, &connection.src)
                && is_same(&row.dst, &connection.dst)
                && is_same(&row.service, &connection.service)
        };
        let seen = Seen::of(connection);
        match self.rows.find_mut(hash, is_it) {
            Some(row) => row.seen.add(seen),
            None => {
                let row = Row {
                    hash,
                    client,
                    server,
                    port,
                    protocol,
                    src: connection.src.clone(),
                    dst: connection.dst.clone(),
                    service: connection.service.clone(),
                    seen,
                };
                self.rows.insert_unique(hash, row, |row| row.hash);
            }
        }
    }

    /// How many connections were taken.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// Who spoke to whom, in no order.
    pub fn pairs(&self) -> Vec<Pair> {
        let mut places: HashMap<Name<'_>, usize, FixedState> =
            HashMap::with_capacity_and_hasher(self.rows.len(), HASHER);
        let mut pairs: Vec<Pair> = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let place = *places.entry(Name::of(row)).or_insert(pairs.len());
            match pairs.get_mut(place) {
                Some(pair) => pair.seen.add(row.seen),
                None => pairs.push(row.pair()),
            }
        }
        pairs
    }
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

impl Row {
    fn pair(&self) -> Pair {
        let end = |address, endpoint: &Option<Arc<Endpoint>>| End {
            address,
            endpoint: endpoint.clone(),
        };
        Pair {
            from: end(self.client, &self.src),
            to: end(self.server, &self.dst),
            has_backend: self.has_backend(),
            service: self.service.clone(),
            protocol: self.protocol,
            port: self.port,
            seen: self.seen,
        }
    }

    /// As [`Connection::backend`] tells it.
    fn has_backend(&self) -> bool {
        !self.service.as_ref().is_some_and(|service| {
            service.ip == self.server && service.port.is_none_or(|own| Some(own) == self.port)
        })
    }
}

/// What makes a pair.
#[derive(Eq, Hash, PartialEq)]
struct Name<'a> {
    from: Who<'a>,
    to: Who<'a>,
    service: Option<(IpAddr, Option<u16>, &'a str, Option<&'a str>)>,
    protocol: u8,
    port: Option<u16>,
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

impl<'a> Name<'a> {
    fn of(row: &'a Row) -> Self {
        let service = row.service.as_deref().map(|service| {
            let namespace = service.namespace.as_deref();
            (service.ip, service.port, &*service.name, namespace)
        });
        Self {
            from: Who::of(row.client, row.src.as_deref()),
            to: Who::of(row.server, row.dst.as_deref()),
            service,
            protocol: row.protocol,
            port: row.port,
        }
    }
}

impl<'a> Who<'a> {
    fn of(address: IpAddr, endpoint: Option<&'a Endpoint>) -> Self {
        match endpoint {
            Some(Endpoint {
                kind: kind @ (EndpointKind::Pod | EndpointKind::Port),
                namespace,
                name: Some(name),
                ..
            }) => Self::Named {
                kind: *kind,
                namespace: namespace.as_deref(),
                name,
                v6: address.is_ipv6(),
            },
            _ => Self::Address(address),
        }
    }
}
