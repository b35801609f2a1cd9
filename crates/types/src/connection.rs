use std::cmp::{Ordering, Reverse};
use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use crate::{
    Action, Direction, DropFlow, Endpoint, EndpointKind, Evidence, Fact, IcmpKind, Probability,
    Service, TcpFlags, Timestamp, Unresolved, Verdict,
};

mod json;
#[cfg(test)]
mod tests;

/// Both directions of a conversation, both verdicts, both nodes: one row for people.
///
/// An *update* has the same shape: what became known since the update before. Updates of one
/// connection share its [`id`](Self::id), differ in [`seq`](Self::seq), and
/// [fold](Self::fold) into one connection in any order; so that stores only append.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// The same for all its updates, and for no other connection.
    pub id: ConnectionId,
    /// 0 for the first update, and for a connection whose updates were folded; later ones count up.
    pub seq: u32,
    /// The network that the addresses belong to.
    pub network: Option<Arc<str>>,
    /// IP protocol number.
    pub protocol: u8,
    /// Who began it.
    pub client: Socket,
    /// Who answers: the backend, where the client spoke to a service. Where the backend is not
    /// known ([`Connection::backend`]), the service's own address.
    pub server: Socket,
    /// Type and code of the first message, for ICMP.
    pub icmp: Option<IcmpKind>,
    /// What is known of the client.
    pub src: Option<Arc<Endpoint>>,
    /// What is known of the server.
    pub dst: Option<Arc<Endpoint>>,
    /// The service that the client spoke to.
    pub service: Option<Arc<Service>>,
    /// First seen.
    pub start: Timestamp,
    /// Last seen.
    pub end: Timestamp,
    /// The worst of all rulings ([`Verdict::severity`]).
    pub verdict: Verdict,
    /// Where and by whom it was let out or not: the worst ruling, of equally bad ones the first.
    pub egress: Option<Half>,
    /// Where and by whom it was let in or not.
    pub ingress: Option<Half>,
    /// All TCP flags that were seen of either side.
    pub tcp_flags: TcpFlags,
    /// What was counted, one entry for each probability of sampling, by ascending probability.
    pub counts: Vec<Counts>,
    /// All rulings in the order of [`Half::since`], at most [`Connection::CHANGES`]: those of every
    /// tier and node, and what a change of policies brought in mid-life.
    pub changes: Vec<Change>,
}

impl Connection {
    /// How many changes are kept: the earliest. Later ones show in `egress`, `ingress` and
    /// `verdict` only.
    pub const CHANGES: usize = 16;

    /// Takes another update of the same connection into this one.
    ///
    /// The order of updates and their grouping do not matter: times take the least and the
    /// greatest, counts add up, a half is the one with the greatest [`Verdict::severity`], of equal
    /// ones the earliest, a server that is a backend goes before the service's own address, of endpoints
    /// those that say more than `external` or `service`, and among several known the greatest in
    /// their order. An update must be folded once: counts cannot tell a second time.
    ///
    /// All updates of a connection name the same client, and the same service or none.
    pub fn fold(&mut self, update: &Connection) {
        debug_assert_eq!(self.id, update.id);
        self.seq = self.seq.min(update.seq);
        self.start = self.start.min(update.start);
        self.end = self.end.max(update.end);
        if update.verdict.severity() > self.verdict.severity() {
            self.verdict = update.verdict;
        }
        self.tcp_flags = TcpFlags(self.tcp_flags.0 | update.tcp_flags.0);
        let known = |it: &Self| (it.backend().is_some(), it.server);
        if known(update) > known(self) {
            self.server = update.server;
        }
        greatest(&mut self.network, &update.network, Ord::cmp);
        greatest(&mut self.icmp, &update.icmp, Ord::cmp);
        greatest(&mut self.src, &update.src, more_known);
        greatest(&mut self.dst, &update.dst, more_known);
        greatest(&mut self.service, &update.service, Ord::cmp);
        greatest(&mut self.egress, &update.egress, Half::explains);
        greatest(&mut self.ingress, &update.ingress, Half::explains);
        for counts in &update.counts {
            self.count(counts);
        }
        for change in &update.changes {
            self.change(change);
        }
    }

    /// Who answers, unless only the service that was asked is known.
    pub fn backend(&self) -> Option<Socket> {
        let Socket { ip, port } = self.server;
        let is_service = self.service.as_ref().is_some_and(|service| {
            service.ip == ip && service.port.is_none_or(|own| Some(own) == port)
        });
        (!is_service).then_some(self.server)
    }

    /// The half that explains the verdict, and its direction: the worse, then the earlier, then
    /// egress.
    pub fn explaining(&self) -> Option<(Direction, &Half)> {
        match (&self.egress, &self.ingress) {
            (Some(egress), Some(ingress)) if egress.rank() >= ingress.rank() => {
                Some((Direction::Egress, egress))
            }
            (_, Some(ingress)) => Some((Direction::Ingress, ingress)),
            (Some(egress), None) => Some((Direction::Egress, egress)),
            (None, None) => None,
        }
    }

    /// Adds what was counted under one probability.
    pub fn count(&mut self, more: &Counts) {
        let place = self
            .counts
            .binary_search_by_key(&more.probability, |counts| counts.probability);
        match place {
            Ok(found) => self.counts[found].add(more),
            Err(place) => self.counts.insert(place, *more),
        }
    }

    /// Adds a ruling to the changes; of equal ones, the earliest.
    pub fn change(&mut self, change: &Change) {
        let known = self.changes.iter().position(|known| known.is_same(change));
        match known {
            Some(known) if self.changes[known].half.since <= change.half.since => return,
            Some(known) => drop(self.changes.remove(known)),
            None => {}
        }
        let place = self.changes.partition_point(|known| known < change);
        if place < Self::CHANGES {
            self.changes.truncate(Self::CHANGES - 1);
            self.changes.insert(place, change.clone());
        }
    }
}

impl Half {
    /// Of two rulings of one half the greater one explains it: the worse, then the earlier.
    pub fn explains(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank()).then_with(|| {
            match Arc::ptr_eq(&self.ruling, &other.ruling) {
                true => (&self.zone, &self.node).cmp(&(&other.zone, &other.node)),
                false => self.cmp(other),
            }
        })
    }

    fn rank(&self) -> (u8, Reverse<Timestamp>) {
        (self.ruling.verdict.severity(), Reverse(self.since))
    }
}

impl Change {
    /// True for the same ruling of the same place, at whatever time.
    fn is_same(&self, other: &Self) -> bool {
        let (one, two) = (&self.half, &other.half);
        self.direction == other.direction
            && one.ruling == two.ruling
            && one.zone == two.zone
            && one.node == two.node
    }
}

impl Ord for Change {
    fn cmp(&self, other: &Self) -> Ordering {
        let first = |it: &Self| (it.half.since, it.direction);
        first(self)
            .cmp(&first(other))
            .then_with(|| self.half.cmp(&other.half))
    }
}

impl PartialOrd for Change {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Counts {
    fn add(&mut self, more: &Self) {
        self.original.add(more.original);
        self.reply.add(more.reply);
        self.dropped.add(more.dropped);
    }
}

impl Tally {
    /// Adds, and stays at the greatest number that there is.
    pub fn add(&mut self, more: Self) {
        self.packets = self.packets.saturating_add(more.packets);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

/// How many there were, as far as samples tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The likeliest number of packets.
    pub packets: f64,
    /// The least number of packets that fits what was seen, with 95 % confidence.
    pub low: f64,
    /// The greatest that does.
    pub high: f64,
    /// The likeliest number of bytes. Its error cannot be told from packets.
    pub bytes: f64,
}

impl Tally {
    /// How many packets and bytes there were if this was seen of them under a probability of
    /// sampling; `None` where that is 0.
    ///
    /// Each packet is sampled by itself, so that of `n` packets `k` are seen with the binomial
    /// distribution. The likeliest is `k / p`. The interval has all `n` for which `k` is within
    /// `z` standard deviations of what is expected, `|k - n p| <= z sqrt(n p (1 - p))` with
    /// `z = 1.96` (Wilson, 1927, solved for `n`), and not less than `k`:
    /// `(2 k + z² q ± z sqrt(q (4 k + z² q))) / (2 p)` with `q = 1 - p`.
    pub fn estimate(self, probability: Probability) -> Option<Estimate> {
        if probability.0 == 0 {
            return None;
        }
        let (p, k) = (probability.fraction(), self.packets as f64);
        let spread = Z * Z * (1.0 - p);
        let root = (spread * (4.0 * k + spread)).sqrt();
        Some(Estimate {
            packets: k / p,
            low: ((2.0 * k + spread - root) / (2.0 * p)).max(k),
            high: (2.0 * k + spread + root) / (2.0 * p),
            bytes: self.bytes as f64 / p,
        })
    }
}

/// Of the normal distribution, 95 % is within this many standard deviations.
const Z: f64 = 1.959_964;

fn greatest<T: Clone + PartialEq>(
    known: &mut Option<T>,
    other: &Option<T>,
    order: impl Fn(&T, &T) -> Ordering,
) {
    let is_greater = match (&known, other) {
        (_, None) => false,
        (None, _) => true,
        // Most updates share what they point to, and equality sees that at once.
        (Some(one), Some(two)) => one != two && order(one, two).is_lt(),
    };
    if is_greater {
        known.clone_from(other);
    }
}

fn more_known(one: &Arc<Endpoint>, other: &Arc<Endpoint>) -> Ordering {
    let rank = |it: &Endpoint| match it.kind {
        EndpointKind::Service => 0,
        EndpointKind::External => 1,
        _ => 2,
    };
    rank(one).cmp(&rank(other)).then_with(|| one.cmp(other))
}

/// Identity of a connection: in the upper half about when it began, in nanoseconds since the Unix
/// epoch, so that ids of one time lie side by side; in the lower half a hash of its network,
/// protocol and ends.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(pub u128);

/// An address and a port.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Socket {
    /// The address.
    pub ip: IpAddr,
    /// The port; the identifier for ICMP echo; `None` where the protocol has none.
    pub port: Option<u16>,
}

/// One half of a connection: where a direction's policies were asked, and what they said.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Half {
    /// When this ruling was first seen here.
    pub since: Timestamp,
    /// The zone that saw it.
    pub zone: Arc<str>,
    /// The node, where it is known.
    pub node: Option<Arc<str>>,
    /// What was said.
    pub ruling: Arc<Ruling>,
}

/// A ruling of one direction, in the order they came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Which half.
    pub direction: Direction,
    /// Since when, where, and what.
    pub half: Half,
}

/// What an ACL, or a flow that drops, said of a connection; shared by all that it judged.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Ruling {
    /// What became of the packets.
    pub verdict: Verdict,
    /// The ACL, if it could be found.
    pub fact: Option<Arc<Fact>>,
    /// Identity of the ACL's row in its zone.
    pub uuid: Option<Uuid>,
    /// The revision that brought the row.
    pub revision: Option<u64>,
    /// True where the row was gone when the packet was seen.
    pub deleted: bool,
    /// What the choice of the ACL rests on.
    pub evidence: Evidence,
    /// Why no ACL was found.
    pub unresolved: Option<Unresolved>,
    /// The logical flow that dropped it, where no ACL did.
    pub flow: Option<Arc<DropFlow>>,
}

/// Packets and bytes as seen under one probability of sampling.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counts {
    /// The share of packets that was sampled.
    pub probability: Probability,
    /// From client to server, whatever became of them. A packet that several ACLs and nodes judged
    /// is one packet.
    pub original: Tally,
    /// From server to client, whatever became of them.
    pub reply: Tally,
    /// Of both, those that were dropped or rejected.
    pub dropped: Tally,
}

/// Packets and their bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Ruling {
    /// The ACL's action.
    pub fn action(&self) -> Option<Action> {
        self.fact.as_ref().map(|fact| fact.acl.action)
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        match (&self.fact, &self.flow, self.unresolved) {
            (Some(fact), ..) => &fact.message,
            (None, Some(flow), _) => &flow.message,
            (None, None, Some(reason)) => reason.sentence(),
            (None, None, None) => "",
        }
    }
}
