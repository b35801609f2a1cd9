use hashbrown::HashTable;
use netverdict_types::Timestamp;

use crate::span::{Role, Span, Spans};

/// Which spans hold, or held, an observation point.
///
/// Nearly every point belongs to one span for ever: such a point is eight bytes in one table, so
/// that a look-up reads two cache lines before the span itself.
#[derive(Debug, Default)]
pub(crate) struct Points {
    table: HashTable<Slot>,
    lists: Vec<Vec<u32>>,
    free: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    point: u32,
    /// Number of the span; with [`LIST`] set, of the list.
    place: u32,
}

const LIST: u32 = 1 << 31;

impl Points {
    pub(crate) fn insert(&mut self, point: u32, span: u32) {
        let hash = spread(point);
        let slot = match self.table.find_mut(hash, |slot| slot.point == point) {
            Some(slot) => slot,
            None => {
                let slot = Slot { point, place: span };
                self.table
                    .insert_unique(hash, slot, |slot| spread(slot.point));
                return;
            }
        };
        if slot.place & LIST != 0 {
            let list = &mut self.lists[(slot.place & !LIST) as usize];
            if !list.contains(&span) {
                list.push(span);
            }
        } else if slot.place != span {
            let list = vec![slot.place, span];
            let number = match self.free.pop() {
                Some(number) => {
                    self.lists[number as usize] = list;
                    number
                }
                None => {
                    self.lists.push(list);
                    (self.lists.len() - 1) as u32
                }
            };
            slot.place = LIST | number;
        }
    }

    pub(crate) fn remove(&mut self, point: u32, span: u32) {
        let Ok(mut entry) = self
            .table
            .find_entry(spread(point), |slot| slot.point == point)
        else {
            return;
        };
        let place = entry.get().place;
        if place == span {
            entry.remove();
        } else if place & LIST != 0 {
            let number = place & !LIST;
            let list = &mut self.lists[number as usize];
            list.retain(|held| *held != span);
            if let [only] = list[..] {
                entry.get_mut().place = only;
                list.clear();
                self.free.push(number);
            }
        }
    }

    pub(crate) fn find<'a>(
        &'a self,
        spans: &'a Spans,
        role: Role,
        point: u32,
        from: Timestamp,
        until: Timestamp,
    ) -> Matches<'a> {
        Matches {
            spans: Some(spans),
            rest: self.places(point),
            role,
            point,
            from,
            until,
        }
    }

    pub(crate) fn touch(&self, spans: &Spans, point: u32) -> usize {
        match self.places(point) {
            Places::One(number) => spans.get(number).map_or(0, |span| span.action() as usize),
            Places::Many(list) => list.len(),
            Places::None => 0,
        }
    }

    fn places(&self, point: u32) -> Places<'_> {
        match self.table.find(spread(point), |slot| slot.point == point) {
            None => Places::None,
            Some(slot) if slot.place & LIST == 0 => Places::One(slot.place),
            Some(slot) => Places::Many(&self.lists[(slot.place & !LIST) as usize]),
        }
    }
}

/// The ACLs that held a point, in no order.
#[derive(Clone, Debug)]
pub struct Matches<'a> {
    spans: Option<&'a Spans>,
    rest: Places<'a>,
    role: Role,
    point: u32,
    from: Timestamp,
    until: Timestamp,
}

#[derive(Clone, Copy, Debug)]
enum Places<'a> {
    None,
    One(u32),
    Many(&'a [u32]),
}

impl Matches<'_> {
    pub(crate) fn none() -> Self {
        Self {
            spans: None,
            rest: Places::None,
            role: Role::New,
            point: 0,
            from: Timestamp::MIN,
            until: Timestamp::MIN,
        }
    }
}

impl<'a> Matches<'a> {
    /// True when no ACL held the point in any column at any time that is kept.
    pub fn point_is_unknown(&self) -> bool {
        matches!(self.rest, Places::None)
    }

    /// The same question for another time.
    #[must_use]
    pub fn within(self, from: Timestamp, until: Timestamp) -> Self {
        Self {
            from,
            until,
            ..self
        }
    }
}

impl<'a> Iterator for Matches<'a> {
    type Item = &'a Span;

    fn next(&mut self) -> Option<&'a Span> {
        let spans = self.spans?;
        loop {
            let number = match self.rest {
                Places::None => return None,
                Places::One(number) => {
                    self.rest = Places::None;
                    number
                }
                Places::Many([first, rest @ ..]) => {
                    self.rest = Places::Many(rest);
                    *first
                }
                Places::Many([]) => return None,
            };
            let found = spans.get(number).filter(|span| {
                span.point(self.role) == Some(self.point) && span.overlaps(self.from, self.until)
            });
            if found.is_some() {
                return found;
            }
        }
    }
}

/// Points of ovn-kubernetes are hashes already, those of others are often 1, 2, 3: a
/// multiplication spreads both over the bits that the table looks at.
fn spread(point: u32) -> u64 {
    let product = u64::from(point).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}
