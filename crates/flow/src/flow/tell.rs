//! What is handed over of a connection.

use netverdict_types::{
    Change, Connection, ConnectionId, Counts, Direction, Half, Probability, Tally, Timestamp,
    Verdict,
};

use super::{ALIAS, Flow, Note, Queues, Told};
use crate::counting::{self, Place, Seen, Side};
use crate::intern::stops;
use crate::key::{End, Key};
use crate::packet::{ICMP, ICMP6};
use crate::slab::{NONE, Slab};

impl Flow {
    /// All that was counted of a connection up to its last update, while it is remembered: what
    /// the counts of its updates add up to.
    pub fn counted(&mut self, update: &Connection) -> Option<Vec<Counts>> {
        let network = self.networks.number(update.network.as_deref());
        let id = [(update.id.0 >> 64) as u64, update.id.0 as u64];
        let (client, server) = (update.client, update.server);
        // Of ICMP, the server is shown without the identifier.
        let number = [server.port, client.port].into_iter().find_map(|port| {
            let key = Key {
                client: End::new(client.ip, client.port),
                server: End::new(server.ip, port),
                network,
                protocol: update.protocol,
            };
            let mut slots = self.by_key.iter_hash(key.hash(self.seed));
            slots.find_map(|&slot| {
                let number = slot & !ALIAS;
                (self.entries[number].id == id).then_some(number)
            })
        })?;
        let mut counts = Vec::new();
        let mut at = self.entries[number].told;
        while at != NONE {
            counts.push(self.told[at].counts);
            at = self.told[at].next;
        }
        counts.sort_unstable_by_key(|counts| counts.probability);
        Some(counts)
    }

    /// Hands over what was not told yet.
    pub(super) fn tell(&mut self, number: u32, take: &mut impl FnMut(Connection)) {
        let update = self.update(number);
        self.dequeue(number);
        let entry = &mut self.entries[number];
        entry.is_told = true;
        let was = std::mem::replace(&mut entry.verdict, update.verdict);
        if update.seq > 0 && was != update.verdict {
            self.counts.turned[was as usize][update.verdict as usize] += 1;
        }
        let queue = match entry.has_ended() {
            true => Queues::ENDED,
            false => Queues::REST,
        };
        self.enqueue(number, queue);
        self.counts.updates += 1;
        take(update);
    }

    /// What was not told yet.
    fn update(&mut self, number: u32) -> Connection {
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
        update
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
