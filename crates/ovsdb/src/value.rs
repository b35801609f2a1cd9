//! OVSDB values (RFC 7047 section 5.1) and the rows that hold them.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// One scalar value (RFC 7047 section 5.1, `<atom>`).
#[derive(Clone, Debug, PartialEq, PartialOrd)]
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
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Datum {
    /// A set, sorted and without doubles.
    Set(Vec<Atom>),
    /// A map, sorted by key.
    Map(Vec<(Atom, Atom)>),
}

impl Atom {
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

impl From<&str> for Atom {
    fn from(text: &str) -> Self {
        Self::String(text.into())
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

impl Datum {
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
