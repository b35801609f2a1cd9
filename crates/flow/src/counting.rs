//! Each packet of a connection once, however many ACLs, nodes and sources saw it.

use crate::packet;
use netverdict_types::{Counts, Direction, Origin, Probability, Tally};

/// What one place saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) probability: Probability,
    pub(crate) place: Place,
    pub(crate) original: Tally,
    pub(crate) reply: Tally,
    pub(crate) dropped: Tally,
}

impl Seen {
    /// What tells the same drops once more than others do: a kind of source, and the application.
    fn view(&self) -> (Origin, bool) {
        (self.place.origin, self.place.stage == packet::DROP_APP)
    }
}

/// Where each packet is seen once. The order is from the client to the server.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    pub(crate) side: Side,
    pub(crate) stage: u8,
    pub(crate) spot: u32,
    pub(crate) origin: Origin,
}

/// Which half: the client's comes first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Side {
    Client,
    Server,
}

impl From<Direction> for Side {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Egress => Self::Client,
            Direction::Ingress => Self::Server,
        }
    }
}

/// A client's place that saw nothing of this many is not sampled.
const SURELY: u64 = 16;

/// Counts of one probability from what its places saw.
///
/// Where all packets are sampled, the place that saw most has it: others can only have lost some.
/// Where a share is sampled, each place draws its own: the greatest would be too great, so the
/// place nearest to the client has it, whatever it saw. `side` says where that is: a place may be known by
/// its rulings and have seen nothing.
pub(crate) fn count(probability: Probability, seen: &[Seen], side: Side) -> Counts {
    let mut counts = Counts {
        probability,
        original: Tally::default(),
        reply: Tally::default(),
        dropped: Tally::default(),
    };
    for one in seen {
        let mut view = Tally::default();
        let alike = seen.iter().filter(|other| other.view() == one.view());
        for other in alike {
            view.add(other.dropped);
        }
        counts.dropped = greater(counts.dropped, view);
    }
    if probability == Probability::ALL {
        for one in seen {
            counts.original = greater(counts.original, one.original);
            counts.reply = greater(counts.reply, one.reply);
        }
        let mut all = counts.original;
        all.add(counts.reply);
        counts.dropped = Tally {
            packets: counts.dropped.packets.min(all.packets),
            bytes: counts.dropped.bytes.min(all.bytes),
        };
        return counts;
    }
    let nearest = |side| {
        seen.iter()
            .filter(move |one| one.place.side == side)
            .min_by_key(|one| one.place)
    };
    let total = |one: &Seen| one.original.packets + one.reply.packets;
    let others = || seen.iter().map(total).sum::<u64>();
    let chosen = match (nearest(side), side) {
        (None, Side::Client) if others() >= SURELY => nearest(Side::Server),
        (nearest, _) => nearest,
    };
    if let Some(chosen) = chosen {
        counts.original = chosen.original;
        counts.reply = chosen.reply;
    }
    counts
}

/// The counts that were not told yet.
pub(crate) fn beyond(counts: &Counts, told: &Counts) -> Counts {
    let less = |one: Tally, other: Tally| Tally {
        packets: one.packets.saturating_sub(other.packets),
        bytes: one.bytes.saturating_sub(other.bytes),
    };
    Counts {
        probability: counts.probability,
        original: less(counts.original, told.original),
        reply: less(counts.reply, told.reply),
        dropped: less(counts.dropped, told.dropped),
    }
}

fn greater(one: Tally, other: Tally) -> Tally {
    Tally {
        packets: one.packets.max(other.packets),
        bytes: one.bytes.max(other.bytes),
    }
}
