mod find;
mod join;
mod keep;
mod tell;

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use netverdict_types::{
    Connection, Decision, Direction, Endpoint, IcmpKind, Origin, Probability, Ruling, Service,
    Tally, TcpFlags, Timestamp, Verdict,
};

use crate::counting::{Seen, Side};
use crate::intern::{Networks, Pool, Rulings, Spots};
use crate::key::{End, Key};
use crate::packet::{Keyless, Packet};
use crate::report::Report;
use crate::slab::{NONE, Slab};

/// How much is remembered, and for how long. Times are in nanoseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Connections that are remembered at the same time. When there are more, the one that was
    /// silent longest is told as it stands, and forgotten; that is counted.
    pub connections: usize,
    /// How long a half waits for the other half before it is told: the greatest offset between
    /// two nodes' clocks, and twice the interval of their reports.
    pub window: i64,
    /// By how much the clocks of two nodes may differ, as far as [`Flow::set_offset`] does not
    /// mend it: two connections with the same addresses and ports that begin within this time of
    /// each other may get packets of each other.
    pub skew: i64,
    /// Time between two updates of a connection that goes on.
    pub interval: i64,
    /// Silence after which the same addresses and ports are another connection.
    pub idle: i64,
    /// How long a connection is remembered after its FIN or RST was told, for what comes late.
    pub linger: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1 << 20,
            window: 14 * SECOND,
            skew: 4 * SECOND,
            interval: 60 * SECOND,
            idle: 300 * SECOND,
            linger: 60 * SECOND,
        }
    }
}

const SECOND: i64 = 1_000_000_000;

/// What became of the decisions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Decisions taken.
    pub decisions: u64,
    /// Connections that began.
    pub connections: u64,
    /// Updates handed over.
    pub updates: u64,
    /// Connections that were told with one verdict and later with a worse one, by the places of both
    /// in [`Verdict::ALL`].
    pub turned: [[u64; Verdict::ALL.len()]; Verdict::ALL.len()],
    /// Decisions that belong to no connection: an address or the protocol is not known.
    pub keyless: u64,
    /// Decisions that belong to no connection: a later fragment has no ports.
    pub fragments: u64,
    /// Connections where nothing told who began: the one with the greater port was taken.
    pub guessed: u64,
    /// Packets that told another direction than their connection had told before; it stays.
    pub contradicted: u64,
    /// Connections whose service and backend were put together from two views.
    pub joined: u64,
    /// Of these, those where several fitted and the nearest in time was taken.
    pub joined_by_time: u64,
    /// Packets that seemed to begin one more connection where eight with the same addresses and
    /// ports were remembered: they were taken for the last of these.
    pub merged: u64,
    /// Connections that began with a decision older than the window: the other half may have
    /// been told and forgotten before, in a row of its own.
    pub late: u64,
    /// Connections told before their time because there were too many.
    pub told_early: u64,
    /// Connections forgotten before their time because there were too many; they were told.
    pub forgotten_early: u64,
    /// Rulings of a connection that were not kept, nor what they counted: it had too many.
    pub rulings_lost: u64,
    /// Reports that came again.
    pub reports_repeated: u64,
    /// Reports refused because they are too old to tell whether they came before.
    pub reports_old: u64,
}

impl Counts {
    /// What was lost, or told less well than it could be, by its name.
    pub fn losses(&self) -> [(&'static str, u64); 12] {
        [
            ("keyless", self.keyless),
            ("fragments", self.fragments),
            ("guessed", self.guessed),
            ("contradicted", self.contradicted),
            ("joined-by-time", self.joined_by_time),
            ("merged", self.merged),
            ("late", self.late),
            ("told-early", self.told_early),
            ("forgotten-early", self.forgotten_early),
            ("rulings-lost", self.rulings_lost),
            ("reports-repeated", self.reports_repeated),
            ("reports-old", self.reports_old),
        ]
    }
}

/// The connections that are remembered.
#[derive(Debug)]
pub struct Flow {
    limits: Limits,
    /// Of the indexes.
    seed: u64,
    now: i64,
    counts: Counts,
    entries: Slab<Entry>,
    notes: Slab<Note>,
    told: Slab<Told>,
    /// By the key, and by the key that shows the service instead of the backend ([`ALIAS`]).
    by_key: HashTable<u32>,
    /// Those whose backend is not known, by network, protocol and client.
    asking: HashTable<u32>,
    queues: [Queue; Queues::ALL],
    spots: Spots,
    networks: Networks,
    endpoints: Pool<Endpoint>,
    services: Pool<Service>,
    rulings: Rulings,
    scratch: Vec<Seen>,
}

/// A connection.
#[derive(Debug)]
struct Entry {
    key: Key,
    id: [u64; 2],
    start: i64,
    end: i64,
    /// Our time of the last decision.
    touched: i64,
    /// Our time when its queue wants it.
    due: i64,
    src: Option<Arc<Endpoint>>,
    dst: Option<Arc<Endpoint>>,
    service: Option<Arc<Service>>,
    isn: Option<u32>,
    icmp: Option<IcmpKind>,
    notes: u32,
    told: u32,
    before: u32,
    after: u32,
    seq: u32,
    queue: u8,
    /// As it was told last.
    verdict: Verdict,
    flags: TcpFlags,
    /// True where its first packet was seen, by TCP.
    is_open: bool,
    /// True where a packet or its source said who began.
    is_sure: bool,
    /// True where the server is the service's address, and the backend is not known.
    is_asking: bool,
    /// True where the service's address finds it too.
    has_alias: bool,
    /// True where there is nothing to tell.
    is_told: bool,
}

/// What one ruling at one place saw under one probability.
#[derive(Debug)]
struct Note {
    next: u32,
    spot: u32,
    probability: Probability,
    stage: u8,
    direction: Direction,
    origin: Origin,
    is_told: bool,
    since: i64,
    ruling: Arc<Ruling>,
    original: Tally,
    reply: Tally,
}

/// What was told of the counts under one probability.
#[derive(Debug)]
struct Told {
    next: u32,
    /// Whose places count where a share is sampled: chosen when it is first told.
    side: Option<Side>,
    counts: netverdict_types::Counts,
}

/// Connections in the order in which they are due.
#[derive(Clone, Copy, Debug)]
struct Queue {
    first: u32,
    last: u32,
}

/// The queues. In each, connections wait equally long, so that the first is due first.
struct Queues;

impl Queues {
    /// There is news: it is told after the window.
    const NEWS: u8 = 0;
    /// Only counts went on: told after the interval.
    const COUNTS: u8 = 1;
    /// All is told: forgotten when idle.
    const REST: u8 = 2;
    /// All is told, and it ended: forgotten after a while.
    const ENDED: u8 = 3;
    const ALL: usize = 4;
}

/// In the index: the connection is found by its service's address.
const ALIAS: u32 = 1 << 31;

/// What ends a connection of TCP.
const ENDS: u8 = TcpFlags::FIN | TcpFlags::RST;

impl Flow {
    /// None yet.
    pub fn new(limits: Limits) -> Self {
        let connections = limits.connections.clamp(1, (ALIAS - 1) as usize);
        Self {
            limits: Limits {
                connections,
                window: limits.window.max(0),
                skew: limits.skew.max(0),
                interval: limits.interval.max(0),
                idle: limits.idle.max(0),
                linger: limits.linger.max(0),
            },
            seed: RandomState::default().hash_one(()),
            now: i64::MIN,
            counts: Counts::default(),
            entries: Slab::default(),
            notes: Slab::default(),
            told: Slab::default(),
            by_key: HashTable::new(),
            asking: HashTable::new(),
            queues: [Queue {
                first: NONE,
                last: NONE,
            }; Queues::ALL],
            spots: Spots::default(),
            networks: Networks::default(),
            endpoints: Pool::default(),
            services: Pool::default(),
            rulings: Rulings::default(),
            scratch: Vec::new(),
        }
    }

    /// Its limits.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What became of the decisions so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many connections are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True where none is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// A node's clock is ahead of ours by this many nanoseconds; as good as none is known: 0.
    pub fn set_offset(&mut self, zone: &str, node: Option<&str>, ahead: i64) {
        let spot = self.spots.number(zone, node);
        self.spots.spot(spot).ahead = ahead;
    }

    /// Asks whether the decisions of a report shall be taken: false where it came already, or is
    /// more than 256 reports old. A sender counts its reports up, and gives one that it sends
    /// again the number that it had.
    pub fn report(&mut self, zone: &str, node: Option<&str>, number: u64) -> bool {
        let spot = self.spots.number(zone, node);
        match self.spots.spot(spot).reports.take(number) {
            Report::New => return true,
            Report::Repeated => self.counts.reports_repeated += 1,
            Report::Old => self.counts.reports_old += 1,
        }
        false
    }

    /// Takes a decision, from any node, in any order. Where there are too many connections the
    /// one that was silent longest is handed over.
    pub fn decision(&mut self, decision: &Decision<'_>, take: impl FnMut(Connection)) {
        self.counts.decisions += 1;
        if self.now == i64::MIN {
            self.now = decision.time.0;
        }
        let spot = self.spots.number(decision.zone, decision.node);
        let network = self.networks.number(decision.network);
        let packet = match Packet::new(decision, network, self.spots.at(spot).ahead) {
            Ok(packet) => packet,
            Err(Keyless::Unknown) => return self.counts.keyless += 1,
            Err(Keyless::Fragment) => return self.counts.fragments += 1,
        };
        let found = self.find(&packet);
        let number = match found {
            Some(number) => number,
            None => self.begin(&packet, take),
        };
        self.join(number, &packet, decision, spot);
    }

    /// Time has come to `now`: hands over the updates that are due.
    pub fn advance(&mut self, now: Timestamp, mut take: impl FnMut(Connection)) {
        self.now = self.now.max(now.0);
        for queue in [Queues::NEWS, Queues::COUNTS] {
            while let Some(number) = self.due(queue) {
                self.tell(number, &mut take);
            }
        }
        for queue in [Queues::REST, Queues::ENDED] {
            while let Some(number) = self.due(queue) {
                self.forget(number);
            }
        }
    }

    /// Hands over what is still held back: at the end, or so that all that came was told. It goes
    /// on; what was told too early for its other half is told again with it, as an update.
    pub fn finish(&mut self, mut take: impl FnMut(Connection)) {
        for queue in [Queues::NEWS, Queues::COUNTS] {
            while self.queues[usize::from(queue)].first != NONE {
                self.tell(self.queues[usize::from(queue)].first, &mut take);
            }
        }
    }
}

impl Entry {
    fn has_ended(&self) -> bool {
        self.flags.0 & ENDS != 0
    }

    /// The key with the service's own address.
    fn alias(&self) -> Option<Key> {
        let service = self.service.as_ref()?;
        // A load balancer of whole addresses keeps the port.
        let port = service.port.or(self.key.server.socket().port);
        Some(Key {
            server: End::new(service.ip, port),
            ..self.key
        })
    }
}
