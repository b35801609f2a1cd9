use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use crate::{
    Action, Direction, DropFlow, Endpoint, Evidence, Fact, IcmpKind, Probability, Service,
    TcpFlags, Timestamp, Unresolved, Verdict,
};

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
    /// Who answers: the backend, where the client spoke to a service.
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
    /// Where and by whom it was let out or not: the ruling that explains the verdict best.
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
    /// How many changes are kept; later ones show in `egress`, `ingress` and `verdict` only.
    pub const CHANGES: usize = 16;

    /// Takes another update of the same connection into this one.
    ///
    /// The order of updates and their grouping do not matter: times take the least and the
    /// greatest, counts add up, a half is the one with the greatest ([`Verdict::severity`],
    /// `since`), endpoints and service are those that are known, and among several known the
    /// greatest by their text. An update must be folded once: counts cannot tell a second time.
    pub fn fold(&mut self, update: &Connection) {
        debug_assert_eq!(self.id, update.id);
        self.seq = self.seq.min(update.seq);
        self.start = self.start.min(update.start);
        self.end = self.end.max(update.end);
        if update.verdict.severity() > self.verdict.severity() {
            self.verdict = update.verdict;
        }
        self.tcp_flags = TcpFlags(self.tcp_flags.0 | update.tcp_flags.0);
        greatest(&mut self.network, &update.network, |it| it.clone());
        greatest(&mut self.icmp, &update.icmp, |it| (it.kind, it.code));
        greatest(&mut self.src, &update.src, text);
        greatest(&mut self.dst, &update.dst, text);
        greatest(&mut self.service, &update.service, text);
        greatest(&mut self.egress, &update.egress, Half::rank);
        greatest(&mut self.ingress, &update.ingress, Half::rank);
        for counts in &update.counts {
            self.count(counts);
        }
        for change in &update.changes {
            self.change(change);
        }
        self.changes.truncate(Self::CHANGES);
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

    fn change(&mut self, change: &Change) {
        let same = |known: &&mut Change| {
            known.direction == change.direction
                && known.half.zone == change.half.zone
                && known.half.ruling == change.half.ruling
        };
        match self.changes.iter_mut().find(same) {
            Some(known) => known.half.since = known.half.since.min(change.half.since),
            None => self.changes.push(change.clone()),
        }
        self.changes
            .sort_by_cached_key(|change| (change.half.since, change.direction, text(&change.half)));
    }
}

impl Half {
    /// Of two halves of a connection the one with the greater rank explains it.
    fn rank(&self) -> impl Ord + use<> {
        (self.ruling.verdict.severity(), self.since, text(self))
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

fn greatest<T: Clone + PartialEq, K: Ord>(
    known: &mut Option<T>,
    other: &Option<T>,
    rank: impl Fn(&T) -> K,
) {
    match (&known, other) {
        (_, None) => {}
        (Some(one), Some(two)) if one == two || rank(one) >= rank(two) => {}
        _ => known.clone_from(other),
    }
}

fn text(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

/// Identity of a connection: a hash of its network, protocol, ends and incarnation.
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
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Which half.
    pub direction: Direction,
    /// Since when, where, and what.
    pub half: Half,
}

/// What an ACL, or a flow that drops, said of a connection; shared by all that it judged.
#[derive(Clone, Debug, PartialEq)]
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
    /// From client to server, let through.
    pub original: Tally,
    /// From server to client, let through.
    pub reply: Tally,
    /// Either way, dropped or rejected.
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
