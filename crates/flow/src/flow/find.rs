//! Which connection a packet belongs to.

use std::net::IpAddr;

use netverdict_types::TcpFlags;

use super::{ALIAS, Entry, Flow};
use crate::key::{End, Key};
use crate::packet::Packet;
use crate::slab::NONE;

impl Flow {
    /// The connection that a packet belongs to, if it is known.
    pub(super) fn find(&mut self, packet: &Packet<'_>) -> Option<u32> {
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
                    let serves = |(ip, port): &(IpAddr, Option<u16>)| {
                        *ip == server.ip && port.is_none_or(|port| Some(port) == server.port)
                    };
                    service.backends.iter().any(serves)
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
        let (client, asked) = packet.ends_by_service();
        let mut fitting = Fitting::default();
        for &(ip, port) in &service.backends {
            let key = Key {
                client,
                server: End::new(ip, port.or(asked.socket().port)),
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
        let most = match (packet.opens, packet.isn, entry.isn) {
            // Sent again it has the same number; another has another.
            (true, Some(one), Some(other)) => return (one == other).then_some(-1),
            // Without numbers, the start of one that goes on or has ended is another's, unless that
            // one's own start is still to come.
            (true, ..) if entry.has_ended() || entry.flags.has(TcpFlags::ACK) => {
                let window = self.limits.window;
                let is_early = packet.time <= entry.start.saturating_add(window);
                let is_near = packet.time >= entry.start.saturating_sub(window);
                match is_early && (is_near || !entry.is_open) {
                    true => self.limits.idle,
                    false => -1,
                }
            }
            _ if entry.has_ended() => self.limits.linger.max(self.limits.window),
            _ => self.limits.idle,
        };
        let since = packet.time.saturating_sub(entry.start);
        let distance = match since >= -self.limits.skew {
            true => since.max(0),
            false => FAR.saturating_sub(since),
        };
        (span <= most).then_some(distance)
    }
}

/// How many connections that are remembered may have the same ends: who sends first packets over and
/// over must not make searches long.
const ALIKE: usize = 8;

/// The distance of what began after the packet, and more.
const FAR: i64 = i64::MAX / 2;

/// So many backends are asked after for each packet that shows their service; of more only those
/// that begin a connection.
const FEW: usize = 64;

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
