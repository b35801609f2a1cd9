use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use netverdict_types::{
    Change, Connection, ConnectionId, Decision, Direction, Endpoint, EndpointKind, Half, IcmpKind,
    Origin, Probability, Ruling, Service, Tally, TcpFlags, Timestamp, Verdict,
};

use crate::counting::{self, Place, Seen, Side};
use crate::intern::{Networks, Pool, Rulings, Spots, says_the_same, stops};
use crate::key::{End, Key, mix};
use crate::packet::{self, ICMP, ICMP6, Keyless, Packet};
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

/// How many connections that are remembered may have the same ends: who sends first packets over and
/// over must not make searches long.
const ALIKE: usize = 8;

/// The distance of what began after the packet, and more.
const FAR: i64 = i64::MAX / 2;

/// So many backends are asked after for each packet that shows their service; of more only those
/// that begin a connection.
const FEW: usize = 64;

/// How many notes a connection may have.
const NOTES: usize = 32;

impl Flow {
    /// None yet.
    pub fn new(limits: Limits) -> Self {
        let connections = limits.connections.clamp(1, (ALIAS - 1) as usize);
        Self {
            limits: Limits {
                connections,
                ..limits
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

    /// Hands over what is still held back, at the end.
    pub fn finish(&mut self, mut take: impl FnMut(Connection)) {
        for queue in [Queues::NEWS, Queues::COUNTS] {
            while self.queues[usize::from(queue)].first != NONE {
                self.tell(self.queues[usize::from(queue)].first, &mut take);
            }
        }
    }

    /// The connection that a packet belongs to, if it is known.
    fn find(&mut self, packet: &Packet<'_>) -> Option<u32> {
        let hash = packet.key.hash(self.seed);
        let mut fitting = Fitting::default();
        let (mut alike, mut last) = (0, NONE);
        for &slot in self.by_key.iter_hash(hash) {
            let number = slot & !ALIAS;
            let entry = &self.entries[number];
            let key = match slot & ALIAS {
                0 => Some(entry.key),
                _ => entry.alias(),
            };
            if key.is_some_and(|key| key == packet.key || key == packet.key.reversed()) {
                fitting.add(self.distance(entry, packet), number);
                alike += 1;
                if last == NONE || entry.start > self.entries[last].start {
                    last = number;
                }
            }
        }
        let mut direct = fitting.nearest;
        if direct.is_none() && alike >= ALIKE {
            self.counts.merged += 1;
            direct = Some((-1, last));
        }
        let distance = direct.map_or(i64::MAX, |(distance, _)| distance);
        // The one that shows what the packet shows may be an earlier one.
        let has_few = packet.service.is_some_and(|it| it.backends.len() <= FEW);
        let other = match packet.shows_service {
            true if distance >= 0 && (has_few || distance >= FAR) => {
                self.find_backend(packet, distance)
            }
            false if distance >= 0 => self.find_asking(packet, distance),
            _ => None,
        };
        other.or(direct.map(|(_, number)| number))
    }

    /// A packet that shows the backend: a connection to the service, of the same client.
    fn find_asking(&mut self, packet: &Packet<'_>, nearer: i64) -> Option<u32> {
        if self.asking.is_empty() {
            return None;
        }
        let mut fitting = Fitting::default();
        for key in [packet.key, packet.key.reversed()] {
            let server = key.server.socket();
            for &number in self.asking.iter_hash(key.client_hash(self.seed)) {
                let entry = &self.entries[number];
                let has_client = entry.key.client == key.client
                    && (entry.key.network, entry.key.protocol) == (key.network, key.protocol);
                let is_backend = entry.service.as_ref().is_some_and(|service| {
                    service.backends.contains(&(server.ip, server.port))
                        && packet.service.is_none_or(|named| {
                            (named.ip, named.port) == (service.ip, service.port)
                        })
                });
                if has_client && is_backend {
                    fitting.add(self.distance(entry, packet), number);
                }
            }
        }
        let number = self.joined(fitting, nearer)?;
        let reversed = self.entries[number].key.client == packet.key.server;
        let key = match reversed {
            true => packet.key.reversed(),
            false => packet.key,
        };
        self.unlist_asking(number);
        let entry = &mut self.entries[number];
        entry.key = key;
        entry.is_asking = false;
        entry.has_alias = true;
        // What was the key finds it still, as an alias.
        let seed = self.seed;
        let alias = entry.alias().map(|alias| alias.hash(seed));
        if let Some(hash) = alias {
            if let Ok(slot) = self.by_key.find_entry(hash, |&slot| slot == number) {
                slot.remove();
            }
            self.list(hash, number | ALIAS);
        }
        self.list(key.hash(self.seed), number);
        Some(number)
    }

    /// A packet that shows the service: a connection of the same client to one of its backends
    /// for which no service is known.
    fn find_backend(&mut self, packet: &Packet<'_>, nearer: i64) -> Option<u32> {
        let service = packet.service?;
        let (client, _) = packet.ends_by_service();
        let mut fitting = Fitting::default();
        for &(ip, port) in &service.backends {
            let key = Key {
                client,
                server: End::new(ip, port),
                ..packet.key
            };
            for &slot in self.by_key.iter_hash(key.hash(self.seed)) {
                let entry = &self.entries[slot & !ALIAS];
                let is_free = entry.service.as_ref().is_none_or(|known| {
                    !entry.has_alias && (known.ip, known.port) == (service.ip, service.port)
                });
                if slot & ALIAS == 0 && entry.key == key && is_free {
                    fitting.add(self.distance(entry, packet), slot);
                }
            }
        }
        let number = self.joined(fitting, nearer)?;
        let shared = self.services.service(service);
        let entry = &mut self.entries[number];
        entry.service = Some(shared);
        entry.has_alias = true;
        if let Some(alias) = entry.alias() {
            self.list(alias.hash(self.seed), number | ALIAS);
        }
        Some(number)
    }

    fn joined(&mut self, fitting: Fitting, nearer: i64) -> Option<u32> {
        let (_, number) = fitting.nearest.filter(|(distance, _)| *distance < nearer)?;
        self.counts.joined += 1;
        self.counts.joined_by_time += u64::from(fitting.several);
        Some(number)
    }

    /// How far a packet is from the start of a connection with its ends, in nanoseconds; `None`
    /// where it belongs to another incarnation. Those that began after it come last.
    fn distance(&self, entry: &Entry, packet: &Packet<'_>) -> Option<i64> {
        let span = match packet.time {
            time if time < entry.start => entry.start.saturating_sub(time),
            time => time.saturating_sub(entry.end).max(0),
        };
        let ended = entry.flags.0 & (TcpFlags::FIN | TcpFlags::RST) != 0;
        let most = match (packet.opens, packet.isn, entry.isn) {
            // Sent again it has the same number; another has another.
            (true, Some(one), Some(other)) => return (one == other).then_some(-1),
            // Without numbers, the start of one that goes on or has ended is another's, unless that
            // one's own start is still to come.
            (true, ..) if ended || entry.flags.has(TcpFlags::ACK) => {
                let window = self.limits.window;
                let is_early = packet.time <= entry.start.saturating_add(window);
                let is_near = packet.time >= entry.start.saturating_sub(window);
                match is_early && (is_near || !entry.is_open) {
                    true => self.limits.idle,
                    false => -1,
                }
            }
            _ if ended => self.limits.linger.max(self.limits.window),
            _ => self.limits.idle,
        };
        let since = packet.time.saturating_sub(entry.start);
        let distance = match since >= -self.limits.skew {
            true => since.max(0),
            false => FAR.saturating_sub(since),
        };
        (span <= most).then_some(distance)
    }

    fn begin(&mut self, packet: &Packet<'_>, mut take: impl FnMut(Connection)) -> u32 {
        while self.entries.len() >= self.limits.connections
            || self.notes.len() >= self.limits.connections.saturating_mul(4).max(64)
        {
            if !self.make_room(&mut take) {
                break;
            }
        }
        let is_reply = packet.reply.unwrap_or_else(|| packet.guess_reply());
        self.counts.guessed += u64::from(packet.reply.is_none());
        self.counts.connections += 1;
        self.counts.late += u64::from(packet.time < self.now.saturating_sub(self.limits.window));
        let key = match is_reply {
            true => packet.key.reversed(),
            false => packet.key,
        };
        let hash = key.hash(0);
        let id = [packet.time as u64, mix(hash, self.counts.connections)];
        let service = packet.service.map(|service| self.services.service(service));
        let number = self.entries.insert(Entry {
            key,
            id,
            start: packet.time,
            end: packet.time,
            touched: self.now,
            due: i64::MAX,
            src: None,
            dst: None,
            service,
            isn: None,
            icmp: None,
            notes: NONE,
            told: NONE,
            before: NONE,
            after: NONE,
            seq: 0,
            queue: Queues::NEWS,
            flags: TcpFlags(0),
            is_open: false,
            is_sure: packet.reply.is_some(),
            is_asking: packet.shows_service,
            has_alias: false,
            is_told: true,
        });
        self.list(key.hash(self.seed), number);
        if packet.shows_service {
            let (entries, seed) = (&self.entries, self.seed);
            self.asking
                .insert_unique(key.client_hash(seed), number, |&number| {
                    entries[number].key.client_hash(seed)
                });
        }
        self.enqueue(number, Queues::NEWS);
        number
    }

    fn join(&mut self, number: u32, packet: &Packet<'_>, decision: &Decision<'_>, spot: u32) {
        let now = self.now;
        let is_reply = self.direction(number, packet);
        let entry = &mut self.entries[number];
        let mut is_news = false;
        entry.touched = now;
        entry.start = entry.start.min(packet.time);
        entry.end = entry.end.max(packet.time);
        entry.flags.0 |= packet.flags.0;
        if packet.opens && entry.isn.is_none() {
            entry.isn = packet.isn;
        }
        entry.is_open |= packet.opens;
        if !is_reply && entry.icmp.is_none() && packet.icmp.is_some() {
            entry.icmp = packet.icmp;
        }
        let (src, dst) = match is_reply {
            true => (decision.dst.endpoint, decision.src.endpoint),
            false => (decision.src.endpoint, decision.dst.endpoint),
        };
        if let (None, Some(src)) = (&entry.src, src) {
            entry.src = Some(self.endpoints.endpoint(src));
        }
        if let Some(dst) = dst
            && (entry.dst.is_none() || {
                // The name of the service's own address gives way to the backend's.
                let known = entry.dst.as_ref().map(|known| known.kind);
                known == Some(EndpointKind::Service) && dst.kind != EndpointKind::Service
            })
        {
            entry.dst = Some(self.endpoints.endpoint(dst));
            is_news = true;
        }
        if let (None, Some(service)) = (&entry.service, packet.service) {
            entry.service = Some(self.services.service(service));
            is_news = true;
        }
        let direction = packet::half(decision, is_reply);
        is_news |= self.note(number, decision, spot, direction, is_reply, packet.time);
        self.plan(number, is_news);
    }

    /// Which way a packet goes in its connection.
    fn direction(&mut self, number: u32, packet: &Packet<'_>) -> bool {
        let entry = &mut self.entries[number];
        let client = entry.key.client;
        let is_reply = client != packet.key.client && client == packet.key.server;
        let Some(said) = packet.reply else {
            return is_reply;
        };
        // Replies that a stateless ACL lets pass look as if they began something.
        if said == is_reply || (entry.is_sure && !packet.opens && packet.flags.0 == 0) {
            entry.is_sure |= said == is_reply;
            return is_reply;
        }
        if entry.is_sure || entry.seq > 0 || entry.has_alias || entry.is_asking {
            self.counts.contradicted += 1;
            return is_reply;
        }
        entry.key = entry.key.reversed();
        entry.is_sure = true;
        std::mem::swap(&mut entry.src, &mut entry.dst);
        let mut note = entry.notes;
        while note != NONE {
            let turned = &mut self.notes[note];
            std::mem::swap(&mut turned.original, &mut turned.reply);
            note = turned.next;
        }
        said
    }

    /// Counts a packet at its ruling; true where the ruling was not known.
    fn note(
        &mut self,
        number: u32,
        decision: &Decision<'_>,
        spot: u32,
        direction: Direction,
        is_reply: bool,
        time: i64,
    ) -> bool {
        let tally = match packet::counts(decision.origin) {
            true => Tally {
                packets: decision.packets,
                bytes: decision.bytes,
            },
            false => Tally::default(),
        };
        let (mut at, mut length) = (self.entries[number].notes, 0);
        while at != NONE {
            let note = &mut self.notes[at];
            if note.spot == spot
                && note.probability == decision.probability
                && note.direction == direction
                && note.origin == decision.origin
                && says_the_same(&note.ruling, decision)
            {
                match is_reply {
                    true => note.reply.add(tally),
                    false => note.original.add(tally),
                }
                let is_earlier = time < note.since;
                if is_earlier {
                    note.since = time;
                    note.is_told = false;
                }
                return false;
            }
            length += 1;
            at = note.next;
        }
        if length >= NOTES {
            self.counts.rulings_lost += 1;
            return false;
        }
        let (original, reply) = match is_reply {
            true => (Tally::default(), tally),
            false => (tally, Tally::default()),
        };
        let ruling = self.rulings.ruling(decision);
        let entry = &mut self.entries[number];
        entry.notes = self.notes.insert(Note {
            next: entry.notes,
            spot,
            probability: decision.probability,
            stage: packet::stage(decision),
            direction,
            origin: decision.origin,
            is_told: false,
            since: time,
            ruling,
            original,
            reply,
        });
        true
    }

    /// Puts a connection to which something was added where it will be told in time.
    fn plan(&mut self, number: u32, is_news: bool) {
        let entry = &mut self.entries[number];
        entry.is_told = false;
        let wanted = match is_news {
            true => Queues::NEWS,
            false => Queues::COUNTS,
        };
        if entry.queue > wanted {
            self.dequeue(number);
            self.enqueue(number, wanted);
        }
    }

    /// Hands over what was not told yet.
    fn tell(&mut self, number: u32, take: &mut impl FnMut(Connection)) {
        let update = self.update(number);
        self.dequeue(number);
        let entry = &mut self.entries[number];
        entry.is_told = true;
        let ended = entry.flags.0 & (TcpFlags::FIN | TcpFlags::RST) != 0;
        self.enqueue(
            number,
            match ended {
                true => Queues::ENDED,
                false => Queues::REST,
            },
        );
        if let Some(update) = update {
            self.counts.updates += 1;
            take(update);
        }
    }

    /// What was not told yet; `None` where that is nothing.
    fn update(&mut self, number: u32) -> Option<Connection> {
        let entry = &mut self.entries[number];
        let is_icmp = matches!(entry.key.protocol, ICMP | ICMP6);
        let mut server = entry.key.server.socket();
        if is_icmp {
            server.port = None;
        }
        let mut update = Connection {
            id: ConnectionId(u128::from(entry.id[0]) << 64 | u128::from(entry.id[1])),
            seq: entry.seq,
            network: self.networks.name(entry.key.network).cloned(),
            protocol: entry.key.protocol,
            client: entry.key.client.socket(),
            server,
            icmp: entry.icmp,
            src: entry.src.clone(),
            dst: entry.dst.clone(),
            service: entry.service.clone(),
            start: Timestamp(entry.start),
            end: Timestamp(entry.end),
            verdict: Verdict::Unknown,
            egress: None,
            ingress: None,
            tcp_flags: entry.flags,
            counts: Vec::new(),
            changes: Vec::new(),
        };
        self.scratch.clear();
        let mut client_judges = false;
        let mut at = entry.notes;
        while at != NONE {
            let note = &mut self.notes[at];
            at = note.next;
            let verdict = note.ruling.verdict;
            client_judges |= note.direction == Direction::Egress && verdict == Verdict::Allowed;
            if verdict.severity() > update.verdict.severity() {
                update.verdict = verdict;
            }
            let spot = self.spots.at(note.spot);
            let half = Half {
                since: Timestamp(note.since),
                zone: spot.zone.clone(),
                node: spot.node.clone(),
                ruling: note.ruling.clone(),
            };
            let known = match note.direction {
                Direction::Egress => &mut update.egress,
                Direction::Ingress => &mut update.ingress,
            };
            if known
                .as_ref()
                .is_none_or(|known| half.explains(known).is_gt())
            {
                *known = Some(half.clone());
            }
            if !note.is_told {
                note.is_told = true;
                update.change(&Change {
                    direction: note.direction,
                    half,
                });
            }
            add_seen(&mut self.scratch, note);
        }
        // Those of one probability side by side.
        self.scratch.sort_unstable_by_key(|seen| seen.probability);
        for seen in self
            .scratch
            .chunk_by(|one, other| one.probability == other.probability)
        {
            let Some(first) = seen.first() else {
                continue;
            };
            let told = told_under(&mut self.told, &mut entry.told, first.probability);
            let side = *told.side.get_or_insert(match client_judges {
                true => Side::Client,
                false => Side::Server,
            });
            let counts = counting::count(first.probability, seen, side);
            let beyond = counting::beyond(&counts, &told.counts);
            told.counts.original.add(beyond.original);
            told.counts.reply.add(beyond.reply);
            told.counts.dropped.add(beyond.dropped);
            let is_something = beyond.original != Tally::default()
                || beyond.reply != Tally::default()
                || beyond.dropped != Tally::default();
            if is_something || entry.seq == 0 {
                update.counts.push(beyond);
            }
        }
        entry.seq += 1;
        Some(update)
    }

    /// Lets go of the connection that was silent longest; false where there is none.
    fn make_room(&mut self, take: &mut impl FnMut(Connection)) -> bool {
        let silent = self
            .queues
            .iter()
            .map(|queue| queue.first)
            .filter(|&first| first != NONE)
            .min_by_key(|&first| (self.entries[first].touched, !self.entries[first].is_told));
        let Some(number) = silent else {
            return false;
        };
        if self.entries[number].is_told {
            self.counts.forgotten_early += 1;
        } else {
            self.counts.told_early += 1;
            self.tell(number, take);
        }
        self.forget(number);
        true
    }

    fn forget(&mut self, number: u32) {
        self.dequeue(number);
        self.unlist_asking(number);
        let entry = &self.entries[number];
        let alias = entry.alias().filter(|_| entry.has_alias);
        let places = [
            Some((entry.key.hash(self.seed), number)),
            alias.map(|alias| (alias.hash(self.seed), number | ALIAS)),
        ];
        for (hash, slot) in places.into_iter().flatten() {
            if let Ok(found) = self.by_key.find_entry(hash, |&known| known == slot) {
                found.remove();
            }
        }
        let Some(entry) = self.entries.remove(number) else {
            return;
        };
        let mut at = entry.notes;
        while let Some(note) = self.notes.remove(at) {
            at = note.next;
        }
        let mut at = entry.told;
        while let Some(told) = self.told.remove(at) {
            at = told.next;
        }
    }

    fn list(&mut self, hash: u64, slot: u32) {
        let (entries, seed) = (&self.entries, self.seed);
        self.by_key.insert_unique(hash, slot, |&slot| {
            let entry = &entries[slot & !ALIAS];
            match slot & ALIAS {
                0 => entry.key.hash(seed),
                _ => entry.alias().map_or(0, |alias| alias.hash(seed)),
            }
        });
    }

    fn unlist_asking(&mut self, number: u32) {
        let entry = &self.entries[number];
        if entry.is_asking
            && let Ok(found) = self
                .asking
                .find_entry(entry.key.client_hash(self.seed), |&known| known == number)
        {
            found.remove();
        }
    }

    /// The first of a queue, if its time has come.
    fn due(&self, queue: u8) -> Option<u32> {
        let first = self.queues[usize::from(queue)].first;
        (first != NONE && self.entries[first].due <= self.now).then_some(first)
    }

    fn enqueue(&mut self, number: u32, queue: u8) {
        let wait = match queue {
            Queues::NEWS => self.limits.window,
            Queues::COUNTS => self.limits.interval,
            Queues::REST => self.limits.idle,
            _ => self.limits.linger,
        };
        let ends = &mut self.queues[usize::from(queue)];
        let last = ends.last;
        ends.last = number;
        if last == NONE {
            ends.first = number;
        } else {
            self.entries[last].after = number;
        }
        let entry = &mut self.entries[number];
        entry.queue = queue;
        entry.before = last;
        entry.after = NONE;
        entry.due = self.now.saturating_add(wait);
    }

    fn dequeue(&mut self, number: u32) {
        let entry = &self.entries[number];
        let (before, after, queue) = (entry.before, entry.after, usize::from(entry.queue));
        match before {
            NONE => self.queues[queue].first = after,
            _ => self.entries[before].after = after,
        }
        match after {
            NONE => self.queues[queue].last = before,
            _ => self.entries[after].before = before,
        }
    }
}

impl Entry {
    /// The key with the service's own address.
    fn alias(&self) -> Option<Key> {
        let service = self.service.as_ref()?;
        Some(Key {
            server: End::new(service.ip, service.port),
            ..self.key
        })
    }
}

/// The nearest of those that fit.
#[derive(Clone, Copy, Debug, Default)]
struct Fitting {
    nearest: Option<(i64, u32)>,
    several: bool,
}

impl Fitting {
    fn add(&mut self, distance: Option<i64>, number: u32) {
        let Some(distance) = distance else {
            return;
        };
        let known = self.nearest.map(|(least, _)| least);
        // Who has the same first packet is no matter of time.
        self.several |= distance >= 0 && known.is_some_and(|least| least >= 0);
        if known.is_none_or(|least| distance < least) {
            self.nearest = Some((distance, number));
        }
    }
}

/// Adds what a note saw to its place.
fn add_seen(seen: &mut Vec<Seen>, note: &Note) {
    let place = Place {
        side: note.direction.into(),
        stage: note.stage,
        spot: note.spot,
        origin: note.origin,
    };
    let known = seen
        .iter_mut()
        .find(|seen| seen.place == place && seen.probability == note.probability);
    let index = match known {
        Some(known) => known,
        None => {
            seen.push(Seen {
                probability: note.probability,
                place,
                original: Tally::default(),
                reply: Tally::default(),
                dropped: Tally::default(),
            });
            let last = seen.len() - 1;
            &mut seen[last]
        }
    };
    index.original.add(note.original);
    index.reply.add(note.reply);
    if stops(note.ruling.verdict) {
        index.dropped.add(note.original);
        index.dropped.add(note.reply);
    }
}

fn told_under<'a>(
    told: &'a mut Slab<Told>,
    first: &mut u32,
    probability: Probability,
) -> &'a mut Told {
    let mut at = *first;
    while at != NONE && told[at].counts.probability != probability {
        at = told[at].next;
    }
    if at == NONE {
        at = told.insert(Told {
            next: *first,
            side: None,
            counts: netverdict_types::Counts {
                probability,
                original: Tally::default(),
                reply: Tally::default(),
                dropped: Tally::default(),
            },
        });
        *first = at;
    }
    &mut told[at]
}
