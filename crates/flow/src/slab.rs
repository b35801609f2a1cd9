use std::ops::{Index, IndexMut};

/// No place.
pub(crate) const NONE: u32 = u32::MAX;

/// Values at numbered places; free places are used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    free: u32,
    len: usize,
}

#[derive(Debug)]
enum Place<T> {
    Taken(T),
    Free { next: u32 },
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: NONE,
            len: 0,
        }
    }
}

impl<T> Slab<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        match self.places.get_mut(self.free as usize) {
            Some(place) => {
                let number = self.free;
                if let Place::Free { next } = *place {
                    self.free = next;
                }
                *place = Place::Taken(value);
                number
            }
            None => {
                self.places.push(Place::Taken(value));
                (self.places.len() - 1) as u32
            }
        }
    }

    /// Takes a value out; `None` for a free place.
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let place = self.places.get_mut(number as usize)?;
        if matches!(place, Place::Free { .. }) {
            return None;
        }
        let taken = std::mem::replace(place, Place::Free { next: self.free });
        self.free = number;
        self.len -= 1;
        match taken {
            Place::Taken(value) => Some(value),
            Place::Free { .. } => None,
        }
    }
}

/// A place that is free is a fault of the caller.
impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        match &self.places[number as usize] {
            Place::Taken(value) => value,
            Place::Free { .. } => unreachable!("place {number} is free"),
        }
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        match &mut self.places[number as usize] {
            Place::Taken(value) => value,
            Place::Free { .. } => unreachable!("place {number} is free"),
        }
    }
}
