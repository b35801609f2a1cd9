//! Which connections are remembered, and when their time has come.

use netverdict_types::Connection;

use super::{ALIAS, Flow, Queues};
use crate::slab::NONE;

impl Flow {
    /// Lets go of the connection that was silent longest; false where there is none.
    pub(super) fn make_room(&mut self, take: &mut impl FnMut(Connection)) -> bool {
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

    pub(super) fn forget(&mut self, number: u32) {
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

    pub(super) fn list(&mut self, hash: u64, slot: u32) {
        let (entries, seed) = (&self.entries, self.seed);
        self.by_key.insert_unique(hash, slot, |&slot| {
            let entry = &entries[slot & !ALIAS];
            match slot & ALIAS {
                0 => entry.key.hash(seed),
                _ => entry.alias().map_or(0, |alias| alias.hash(seed)),
            }
        });
    }

    pub(super) fn unlist_asking(&mut self, number: u32) {
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
    pub(super) fn due(&self, queue: u8) -> Option<u32> {
        let first = self.queues[usize::from(queue)].first;
        (first != NONE && self.entries[first].due <= self.now).then_some(first)
    }

    pub(super) fn enqueue(&mut self, number: u32, queue: u8) {
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

    pub(super) fn dequeue(&mut self, number: u32) {
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
