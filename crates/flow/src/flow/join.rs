//! A packet and its connection.

use std::sync::Arc;

use netverdict_types::{
    Connection, Decision, Direction, Endpoint, EndpointKind, Tally, TcpFlags, Verdict,
};

use super::{ENDS, Entry, Flow, Note, Queues};
use crate::intern::says_the_same;
use crate::key::mix;
use crate::packet::{self, Packet};
use crate::slab::NONE;

impl Flow {
    pub(super) fn begin(&mut self, packet: &Packet<'_>, mut take: impl FnMut(Connection)) -> u32 {
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
            verdict: Verdict::Unknown,
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

    pub(super) fn join(
        &mut self,
        number: u32,
        packet: &Packet<'_>,
        decision: &Decision<'_>,
        spot: u32,
    ) {
        let now = self.now;
        let is_reply = self.direction(number, packet);
        let entry = &mut self.entries[number];
        let mut is_news = false;
        entry.touched = now;
        entry.start = entry.start.min(packet.time);
        entry.end = entry.end.max(packet.time);
        is_news |= !entry.has_ended() && packet.flags.0 & ENDS != 0;
        entry.flags.0 |= packet.flags.0;
        if packet.opens && entry.isn.is_none() {
            entry.isn = packet.isn;
        }
        entry.is_open |= packet.opens;
        if !is_reply && entry.icmp.is_none() && packet.icmp.is_some() {
            entry.icmp = packet.icmp;
        }
        let [one, other] = match [&decision.src, &decision.dst] {
            [src, dst] if packet::is_hairpin(src) => [dst, dst],
            [src, dst] if packet::is_hairpin(dst) => [src, src],
            ends => ends,
        };
        let (src, dst) = match is_reply {
            true => (other.endpoint, one.endpoint),
            false => (one.endpoint, other.endpoint),
        };
        // Another node may know who it is.
        let is_better = |known: &Option<Arc<Endpoint>>, new: &Endpoint| {
            let known = known.as_ref().map(|known| known.kind);
            known.is_none()
                || known == Some(EndpointKind::External) && new.kind != EndpointKind::External
        };
        if let Some(src) = src
            && is_better(&entry.src, src)
        {
            is_news |= entry.is_told;
            entry.src = Some(self.endpoints.endpoint(src));
        }
        if let Some(dst) = dst
            && (is_better(&entry.dst, dst) || {
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
        entry.is_sure |= said == is_reply;
        if said == is_reply {
            return is_reply;
        }
        if entry.is_sure || entry.seq > 0 || entry.is_asking || entry.has_alias {
            // Replies that a stateless ACL lets pass look to their source as if they began something.
            self.counts.contradicted += u64::from(packet.says_itself);
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
}

/// How many notes a connection may have.
const NOTES: usize = 32;
