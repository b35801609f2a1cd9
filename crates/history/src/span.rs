use std::sync::Arc;

use netverdict_types::{Acl, AclRow, Action, Direction, Fact, Owner, Pipeline, Timestamp};

/// Which of an ACL's two columns a point stands in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// `sample_new`.
    New,
    /// `sample_est`.
    Est,
}

/// One ACL as one zone held it, unchanged, from one time to another.
///
/// As large as a cache line: a sample that meets one of a hundred thousand waits for one line.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct Span {
    row: AclRow,
    from: Timestamp,
    until: Timestamp,
    /// Points in `sample_new` and `sample_est`, and which of them are there: a point may be any
    /// number.
    points: [u32; 2],
    pointed: [bool; 2],
    action: Action,
    pipeline: Pipeline,
    direction: Option<Direction>,
    tier: u8,
}

const _: () = assert!(size_of::<Option<Span>>() == 64);

impl Span {
    pub(crate) fn new(row: AclRow, from: Timestamp, new: Option<u32>, est: Option<u32>) -> Self {
        let Acl {
            action,
            pipeline,
            tier,
            owner: Owner { direction, .. },
            ..
        } = *row.acl();
        Self {
            row,
            from,
            until: Timestamp::MAX,
            points: [new, est].map(Option::unwrap_or_default),
            pointed: [new, est].map(|point| point.is_some()),
            action,
            pipeline,
            direction,
            tier,
        }
    }

    /// The row.
    pub fn row(&self) -> &AclRow {
        &self.row
    }

    /// What the ACL does; kept here so that judging a sample need not read the ACL itself.
    pub fn action(&self) -> Action {
        self.action
    }

    /// Which pipeline evaluates it; kept here for the same reason.
    pub fn pipeline(&self) -> Pipeline {
        self.pipeline
    }

    /// The policy's own direction; kept here for the same reason.
    pub fn direction(&self) -> Option<Direction> {
        self.direction
    }

    /// In which tier it is evaluated; kept here for the same reason.
    pub fn tier(&self) -> u8 {
        self.tier
    }

    /// The earliest time that it can have been there.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// The latest time that it can have been there; [`Timestamp::MAX`] while it is.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// True while the row is there.
    pub fn is_alive(&self) -> bool {
        self.until == Timestamp::MAX
    }

    /// The point in a column.
    pub fn point(&self, role: Role) -> Option<u32> {
        let column = role as usize;
        self.pointed[column].then_some(self.points[column])
    }

    /// True when it was there at some time between `from` and `until`.
    pub fn overlaps(&self, from: Timestamp, until: Timestamp) -> bool {
        self.from <= until && from <= self.until
    }

    pub(crate) fn fact(&mut self) -> &mut Arc<Fact> {
        &mut self.row.fact
    }

    pub(crate) fn end(&mut self, until: Timestamp) {
        self.until = until.max(self.from);
    }
}

/// The spans of one zone, by number. Numbers of forgotten spans are used again.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    slots: Vec<Option<Span>>,
    free: Vec<u32>,
    alive: usize,
}

impl Spans {
    pub(crate) fn insert(&mut self, span: Span) -> u32 {
        self.alive += usize::from(span.is_alive());
        match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = Some(span);
                number
            }
            None => {
                self.slots.push(Some(span));
                (self.slots.len() - 1) as u32
            }
        }
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Span> {
        self.slots.get(number as usize)?.as_ref()
    }

    pub(crate) fn end(&mut self, number: u32, until: Timestamp) {
        if let Some(Some(span)) = self.slots.get_mut(number as usize) {
            self.alive -= usize::from(span.is_alive());
            span.end(until);
        }
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<Span> {
        let span = self.slots.get_mut(number as usize)?.take()?;
        self.alive -= usize::from(span.is_alive());
        self.free.push(number);
        Some(span)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Span> {
        self.slots.iter().flatten()
    }

    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u32, &Span)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(number, slot)| Some((number as u32, slot.as_ref()?)))
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive
    }

    pub(crate) fn past(&self) -> usize {
        self.slots.len() - self.free.len() - self.alive
    }
}
