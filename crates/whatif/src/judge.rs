use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use netverdict_manifest::{Cidr, Protocol};
use netverdict_types::{Action, EndpointKind, Service, Verdict};
use netverdict_verdict::{Decided, Reach, Spot, Transport, Way};

use crate::recorded::{End, Pair};

/// What other policies change for recorded connections.
#[derive(Debug, Default)]
pub struct Report {
    /// Pairs that are let through before and not after, or the other way round.
    pub changes: Vec<Change>,
    /// Pairs that cannot be judged.
    pub unjudged: Vec<Unjudged>,
    /// How many pairs were judged, before and after.
    pub judged: usize,
    /// How many connections these were.
    pub judged_connections: u64,
    /// Of these, connections that were recorded with another verdict than the ACLs of before give
    /// them: other policies were in force, or not all that judged them was sampled.
    pub not_reproduced: u64,
    /// Of these, those without a verdict.
    pub without_verdict: u64,
}

/// A pair that fares otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Which, by its place in what was asked.
    pub pair: usize,
    /// Allowed, dropped or rejected.
    pub before: Verdict,
    /// Likewise.
    pub after: Verdict,
    /// What decided in each stage before ([`Reach::along`]).
    pub decided_before: Vec<Decided>,
    /// What decides after.
    pub decided_after: Vec<Decided>,
}

/// A pair that cannot be judged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unjudged {
    /// Which, by its place in what was asked.
    pub pair: usize,
    /// Why.
    pub why: Unknown,
}

/// Why a pair cannot be judged.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Unknown {
    /// A pod that is not there, or has no address of this family; its labels are not known.
    Pod(Arc<str>),
    /// An address of the cluster that nobody has.
    Address(IpAddr),
    /// A service without backends, or unknown, where it was not seen which backend answered.
    Backend(Arc<str>),
    /// The backends of a service fare differently, and it was not seen which one answered.
    Backends(Arc<str>),
    /// Neither end is a pod, or no router joins them: no policy stands between.
    NoPolicy,
}

impl Unknown {
    /// The word used in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pod(_) => "pod",
            Self::Address(_) => "address",
            Self::Backend(_) => "backend",
            Self::Backends(_) => "backends",
            Self::NoPolicy => "no-policy",
        }
    }

    /// The sentence for people.
    pub fn message(&self) -> String {
        match self {
            Self::Pod(name) => format!("{name} is not there: its labels are not known"),
            Self::Address(address) => format!("nobody has {address} now"),
            Self::Backend(name) => format!("no backend of {name} is known"),
            Self::Backends(name) => {
                format!("it was not seen which backend of {name} answered, and they differ")
            }
            Self::NoPolicy => "no policy stands between the ends".to_owned(),
        }
    }
}

/// Judges each pair twice. Pairs of which neither end is touched by what differs are judged once.
pub fn whatif(pairs: &[Pair], before: &Reach<'_>, after: &Reach<'_>) -> Report {
    let touched = before.touched(after);
    let mut report = Report::default();
    let [mut old, mut new] = [before, after].map(Judge::new);
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    // Those that go the same way side by side.
    let ends = |pair: &Pair| [&pair.from, &pair.to].map(Arc::as_ptr);
    order.sort_by_cached_key(|number| pairs.get(*number).map(ends));
    for number in order {
        let Some(pair) = pairs.get(number) else {
            continue;
        };
        let transport = transport(pair);
        let verdicts = old.ends(pair).and_then(|ends| {
            let is_touched = match &touched {
                None => true,
                Some(touched) => old.names(&ends).any(|name| touched.contains(name)),
            };
            let was = old.verdict(pair, ends, transport)?;
            let is = match is_touched {
                false => was,
                true => {
                    let ends = new.ends(pair)?;
                    new.verdict(pair, ends, transport)?
                }
            };
            Ok((was, is))
        });
        let (was, is) = match verdicts {
            Ok(verdicts) => verdicts,
            Err(why) => {
                report.unjudged.push(Unjudged { pair: number, why });
                continue;
            }
        };
        let seen = pair.seen;
        report.judged += 1;
        report.judged_connections += seen.connections;
        report.without_verdict += seen.connections - seen.allowed - seen.denied;
        report.not_reproduced += match was {
            Verdict::Allowed => seen.denied,
            _ => seen.allowed,
        };
        if (was == Verdict::Allowed) != (is == Verdict::Allowed) {
            let decided_before = old.decided(pair, transport);
            let decided_after = new.decided(pair, transport);
            report.changes.push(Change {
                pair: number,
                before: exact(was, &decided_before),
                after: exact(is, &decided_after),
                decided_before,
                decided_after,
            });
        }
    }
    report.changes.sort_by_key(|change| change.pair);
    report.unjudged.sort_by_key(|unjudged| unjudged.pair);
    report
}

/// The ends of a pair in one cluster.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Ends {
    from: Seat,
    to: Targets,
    vip: Option<(IpAddr, u16)>,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Targets {
    One(Seat),
    /// Where it is not known which of them answered.
    Backends(Vec<Seat>),
}

impl Targets {
    fn iter(&self) -> std::slice::Iter<'_, Seat> {
        match self {
            Self::One(seat) => std::slice::from_ref(seat).iter(),
            Self::Backends(seats) => seats.iter(),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Seat {
    pod: Option<usize>,
    address: IpAddr,
    /// Of a backend, where it is not the connection's.
    port: Option<u16>,
}

struct Judge<'r, 'a> {
    reach: &'r Reach<'a>,
    own: Vec<Cidr>,
    /// By where the end is kept: pairs share ends.
    seats: HashMap<*const End, Result<Seat, Unknown>, FixedState>,
    /// The ways that were asked last.
    last: Option<(Ends, Vec<Option<Way>>)>,
}

impl<'r, 'a> Judge<'r, 'a> {
    fn new(reach: &'r Reach<'a>) -> Self {
        Self {
            own: reach.own(),
            reach,
            seats: HashMap::default(),
            last: None,
        }
    }

    /// What becomes of a connection; of equal backends one.
    fn verdict(
        &mut self,
        pair: &Pair,
        ends: Ends,
        transport: Transport,
    ) -> Result<Verdict, Unknown> {
        let last = self.last.take().filter(|(of, _)| *of == ends);
        let (ends, ways) = last.unwrap_or_else(|| {
            let ways = ends.to.iter().map(|to| self.way(&ends, to)).collect();
            (ends, ways)
        });
        let verdict = self.on_ways(pair, &ends, &ways, transport);
        self.last = Some((ends, ways));
        verdict
    }

    fn on_ways(
        &self,
        pair: &Pair,
        ends: &Ends,
        ways: &[Option<Way>],
        transport: Transport,
    ) -> Result<Verdict, Unknown> {
        let mut verdict = None;
        for (way, to) in ways.iter().zip(ends.to.iter()) {
            let transport = at_port(transport, to.port);
            let one = match way {
                // A pod reaches itself, whatever policies say.
                _ if ends.from.pod.is_some() && to.pod == ends.from.pod => Verdict::Allowed,
                None => return Err(Unknown::NoPolicy),
                Some(way) if self.reach.passes(way, transport) => Verdict::Allowed,
                Some(_) => Verdict::Dropped,
            };
            match verdict {
                None => verdict = Some(one),
                Some(other) if other == one => {}
                Some(_) => return Err(Unknown::Backends(service_name(pair))),
            }
        }
        verdict.ok_or_else(|| Unknown::Backend(service_name(pair)))
    }

    /// What decides in each stage.
    fn decided(&mut self, pair: &Pair, transport: Transport) -> Vec<Decided> {
        let decided = self.ends(pair).ok().and_then(|ends| {
            let to = ends.to.iter().next()?;
            let way = self.way(&ends, to)?;
            Some(self.reach.along(&way, at_port(transport, to.port)))
        });
        decided.unwrap_or_default()
    }

    fn way(&self, ends: &Ends, to: &Seat) -> Option<Way> {
        let way = self.reach.way(ends.from.spot(), to.spot())?;
        Some(match ends.vip {
            Some(vip) => way.through(vip),
            None => way,
        })
    }

    fn names<'s>(&'s self, ends: &'s Ends) -> impl Iterator<Item = &'s Arc<str>> {
        let pods = std::iter::once(&ends.from).chain(ends.to.iter());
        pods.filter_map(|seat| Some(&self.reach.pods().get(seat.pod?)?.name))
    }

    fn ends(&mut self, pair: &Pair) -> Result<Ends, Unknown> {
        let from = self.known(&pair.from)?;
        let Some(service) = &pair.service else {
            return Ok(Ends {
                from,
                to: Targets::One(self.known(&pair.to)?),
                vip: None,
            });
        };
        let to = match pair.has_backend {
            true => Targets::One(self.known(&pair.to)?),
            false => Targets::Backends(self.backends(service, from)),
        };
        Ok(Ends {
            from,
            to,
            vip: service.port.or(pair.port).map(|port| (service.ip, port)),
        })
    }

    fn known(&mut self, end: &Arc<End>) -> Result<Seat, Unknown> {
        let place = Arc::as_ptr(end);
        if let Some(seat) = self.seats.get(&place) {
            return seat.clone();
        }
        let seat = self.seat(end);
        self.seats.insert(place, seat.clone());
        seat
    }

    /// Who has the place of an end here.
    fn seat(&self, end: &End) -> Result<Seat, Unknown> {
        let address = end.address;
        let seat = |pod, address| Seat {
            pod,
            address,
            port: None,
        };
        let endpoint = end.endpoint.as_deref();
        let name = endpoint.and_then(|endpoint| {
            let name = endpoint.name.as_deref()?;
            match (endpoint.kind, endpoint.namespace.as_deref()) {
                (EndpointKind::Pod, Some(namespace)) => Some(format!("{namespace}/{name}")),
                (EndpointKind::Pod | EndpointKind::Port, None) => Some(name.to_owned()),
                _ => None,
            }
        });
        if let Some(name) = name {
            let is_it = |pod: usize| {
                let of = self.reach.pods().get(pod).map(|seat| &*seat.name);
                // In another network than the default one its name goes on.
                let rest = of.and_then(|of| of.strip_prefix(&*name));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
            };
            if let Some(pod) = self.reach.at(address, None).pod.filter(|pod| is_it(*pod)) {
                return Ok(seat(Some(pod), address));
            }
            let found = self.reach.pod(&name).and_then(|pod| {
                let addresses = &self.reach.pods().get(pod)?.addresses;
                let mut addresses = addresses.iter();
                let address = addresses.find(|it| it.is_ipv4() == address.is_ipv4())?;
                Some(seat(Some(pod), *address))
            });
            return found.ok_or_else(|| Unknown::Pod(name.into()));
        }
        let is_named = endpoint.is_some_and(|endpoint| endpoint.kind != EndpointKind::External);
        let pod = self.reach.at(address, None).pod;
        if pod.is_none() && !is_named && self.own.iter().any(|own| holds(*own, address)) {
            return Err(Unknown::Address(address));
        }
        Ok(seat(pod.filter(|_| !is_named), address))
    }

    fn backends(&self, service: &Service, from: Seat) -> Vec<Seat> {
        let zones = (0..self.reach.zones()).filter_map(|zone| self.reach.northbound(zone));
        let mut backends: Vec<Seat> = zones
            .flat_map(|zone| zone.load_balancers.values())
            .filter(|balancer| balancer.row.protocol == service.protocol)
            .flat_map(|balancer| &balancer.row.vips)
            .filter(|vip| (vip.ip, vip.port) == (service.ip, service.port))
            .flat_map(|vip| &vip.backends)
            .map(|(address, port)| Seat {
                pod: self.reach.at(*address, from.pod).pod,
                address: *address,
                port: *port,
            })
            .collect();
        backends.sort_unstable();
        backends.dedup();
        backends
    }
}

/// What denies first says how.
fn exact(verdict: Verdict, decided: &[Decided]) -> Verdict {
    let first = decided.iter().find(|one| one.denies());
    match (verdict, first.map(|one| one.action)) {
        (Verdict::Allowed, _) => Verdict::Allowed,
        (_, Some(Action::Reject)) => Verdict::Rejected,
        _ => Verdict::Dropped,
    }
}

impl Seat {
    fn spot(self) -> Spot {
        Spot {
            pod: self.pod,
            address: self.address,
        }
    }
}

fn service_name(pair: &Pair) -> Arc<str> {
    let name = pair.service.as_deref().map(|it| match &it.namespace {
        Some(namespace) => format!("{namespace}/{}", it.name),
        None => it.name.clone(),
    });
    name.unwrap_or_default().into()
}

fn transport(pair: &Pair) -> Transport {
    let port = pair.port.unwrap_or_default();
    match pair.protocol {
        6 => Transport::Port(Protocol::Tcp, port),
        17 => Transport::Port(Protocol::Udp, port),
        132 => Transport::Port(Protocol::Sctp, port),
        1 | 58 => Transport::Icmp,
        other => Transport::Other(other),
    }
}

fn at_port(transport: Transport, port: Option<u16>) -> Transport {
    match (transport, port) {
        (Transport::Port(protocol, _), Some(port)) => Transport::Port(protocol, port),
        _ => transport,
    }
}

fn holds(range: Cidr, address: IpAddr) -> bool {
    range.contains(&Cidr::from_address(address))
}
