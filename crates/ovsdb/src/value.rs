//! OVSDB values (RFC 7047 section 5.1) and the rows that hold them.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use uuid::Uuid;

/// One scalar value (RFC 7047 section 5.1, `<atom>`).
///
/// Atoms have a total order, so that sets can be kept sorted: numbers by value, text by bytes,
/// uuids by bytes; atoms of different kinds, which no column mixes, in the order below. Reals
/// are compared as [`f64::total_cmp`] does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Atom {
    /// A 64-bit signed integer.
    Integer(i64),
    /// A double.
    Real(f64),
    /// A truth value.
    Boolean(bool),
    /// UTF-8 text without NUL. Shared, so that equal map keys of many rows are held once.
    String(Arc<str>),
    /// A reference to, or the identity of, a row.
    Uuid(Uuid),
}

/// The value of one column (RFC 7047 section 5.1, `<value>`).
///
/// A scalar column is a set of one; an optional column is a set of none or one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Datum {
    /// A set, sorted and without doubles.
    Set(Vec<Atom>),
    /// A map, sorted by key.
    Map(Vec<(Atom, Atom)>),
}

impl Atom {
    fn kind(&self) -> u8 {
        match self {
            Self::Integer(_) => 0,
            Self::Real(_) => 1,
            Self::Boolean(_) => 2,
            Self::String(_) => 3,
            Self::Uuid(_) => 4,
        }
    }

    /// The text of a string atom.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number of an integer atom.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth value of a boolean atom.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The identity in a uuid atom.
    pub fn as_uuid(&self) -> Option<Uuid> {
        match self {
            Self::Uuid(uuid) => Some(*uuid),
            _ => None,
        }
    }
}

impl Ord for Atom {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Real(a), Self::Real(b)) => a.total_cmp(b),
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::String(a), Self::String(b)) => a.cmp(b),
            (Self::Uuid(a), Self::Uuid(b)) => a.cmp(b),
            _ => self.kind().cmp(&other.kind()),
        }
    }
}

impl PartialOrd for Atom {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Atom {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            // Interned text is often the very same allocation.
            (Self::String(a), Self::String(b)) => Arc::ptr_eq(a, b) || a == b,
            _ => self.cmp(other) == Ordering::Equal,
        }
    }
}

impl Eq for Atom {}

impl Hash for Atom {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.kind());
        match self {
            Self::Integer(number) => number.hash(state),
            Self::Real(number) => number.to_bits().hash(state),
            Self::Boolean(value) => value.hash(state),
            Self::String(text) => text.hash(state),
            Self::Uuid(uuid) => uuid.hash(state),
        }
    }
}

impl From<&str> for Atom {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Atom {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<Arc<str>> for Atom {
    fn from(text: Arc<str>) -> Self {
        Self::String(text)
    }
}

impl From<f64> for Atom {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<i64> for Atom {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Atom {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<Uuid> for Atom {
    fn from(uuid: Uuid) -> Self {
        Self::Uuid(uuid)
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Real(number) => number.fmt(f),
            Self::Boolean(value) => value.fmt(f),
            Self::String(text) => text.fmt(f),
            Self::Uuid(uuid) => uuid.fmt(f),
        }
    }
}

impl<T: Into<Atom>> From<T> for Datum {
    fn from(atom: T) -> Self {
        Self::Set(vec![atom.into()])
    }
}

impl<T: Into<Atom>> FromIterator<T> for Datum {
    /// A set of the given atoms, in any order.
    fn from_iter<I: IntoIterator<Item = T>>(atoms: I) -> Self {
        Self::set(atoms.into_iter().map(Into::into).collect())
    }
}

impl Datum {
    /// The set of `atoms`, given in any order.
    pub fn set(mut atoms: Vec<Atom>) -> Self {
        if !atoms.is_sorted_by(|a, b| a < b) {
            atoms.sort_unstable();
            atoms.dedup();
        }
        Self::Set(atoms)
    }

    /// The map of `pairs`, given in any order; of two pairs with one key the first is kept.
    pub fn map(mut pairs: Vec<(Atom, Atom)>) -> Self {
        if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            pairs.dedup_by(|later, first| later.0 == first.0);
        }
        Self::Map(pairs)
    }

    /// The map of `pairs` of anything that is an atom, given in any order.
    pub fn map_of<K: Into<Atom>, V: Into<Atom>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::map(
            pairs
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }

    /// The empty set: an optional column without a value.
    pub const fn empty() -> Self {
        Self::Set(Vec::new())
    }

    /// True for a set or map without elements.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Set(atoms) => atoms.is_empty(),
            Self::Map(pairs) => pairs.is_empty(),
        }
    }

    /// The atoms of a set; a map has none.
    pub fn atoms(&self) -> &[Atom] {
        match self {
            Self::Set(atoms) => atoms,
            Self::Map(_) => &[],
        }
    }

    /// The pairs of a map; a set has none.
    pub fn pairs(&self) -> &[(Atom, Atom)] {
        match self {
            Self::Map(pairs) => pairs,
            Self::Set(_) => &[],
        }
    }

    /// The only atom of a scalar or optional column, if it is there.
    pub fn scalar(&self) -> Option<&Atom> {
        match self {
            Self::Set(atoms) if atoms.len() == 1 => atoms.first(),
            _ => None,
        }
    }

    /// What a string map holds under `key`.
    pub fn lookup(&self, key: &str) -> Option<&str> {
        self.pairs()
            .iter()
            .find(|(k, _)| k.as_str() == Some(key))
            .and_then(|(_, value)| value.as_str())
    }
}

/// Read access to the columns of one row, wherever it is held.
///
/// A column that the server does not have, or that was not asked for, is `None`: a reader says
/// what it then cannot know instead of inventing a default.
pub trait Columns {
    /// The value of the column called `name`.
    fn column(&self, name: &str) -> Option<&Datum>;

    /// The only string of a scalar or optional column.
    fn text(&self, name: &str) -> Option<&str> {
        self.column(name)?.scalar()?.as_str()
    }

    /// The only integer of a scalar or optional column.
    fn integer(&self, name: &str) -> Option<i64> {
        self.column(name)?.scalar()?.as_integer()
    }

    /// The only truth value of a scalar or optional column.
    fn boolean(&self, name: &str) -> Option<bool> {
        self.column(name)?.scalar()?.as_bool()
    }

    /// The only reference of a scalar or optional column.
    fn reference(&self, name: &str) -> Option<Uuid> {
        self.column(name)?.scalar()?.as_uuid()
    }
}
