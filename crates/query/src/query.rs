use std::fmt;
use std::str::FromStr;

use netverdict_types::Timestamp;

use crate::error::QueryError;
use crate::field::{Name, Operator};
use crate::literal::Literal;
use crate::plan::Plan;

/// A query that was read: typed, not yet bound to a moment.
///
/// It displays as text that reads back to an equal query.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Query {
    root: Option<Expr>,
}

impl Query {
    /// The query that asks nothing; its text is empty.
    pub fn all() -> Self {
        Self::default()
    }

    /// True when it asks nothing.
    pub fn is_all(&self) -> bool {
        self.root.is_none()
    }

    /// What both ask.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let parts = self.root.into_iter().chain(other.root).collect();
        Self {
            root: Expr::and(parts),
        }
    }

    /// What to ask of a record; times such as `-5m` are counted from `now`.
    pub fn plan(&self, now: Timestamp) -> Plan {
        match &self.root {
            Some(root) => root.plan(now),
            None => Plan::And(Vec::new()),
        }
    }

    pub(crate) fn new(root: Option<Expr>) -> Self {
        Self { root }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.root {
            Some(root) => write!(f, "{root}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        crate::parse(text)
    }
}

/// `And` and `Or` have two children at least, none of their own kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Term(Term),
}

/// One comparison; several values only behind `in`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Term {
    pub(crate) name: &'static Name,
    pub(crate) operator: Operator,
    pub(crate) values: Vec<Literal>,
}

impl Expr {
    /// All of the parts; `None` without parts.
    pub(crate) fn and(parts: Vec<Expr>) -> Option<Expr> {
        let flatten = |part| match part {
            Self::And(inner) => inner,
            other => vec![other],
        };
        Self::joined(parts.into_iter().flat_map(flatten).collect(), Self::And)
    }

    /// One of the parts; `None` without parts.
    pub(crate) fn or(parts: Vec<Expr>) -> Option<Expr> {
        let flatten = |part| match part {
            Self::Or(inner) => inner,
            other => vec![other],
        };
        Self::joined(parts.into_iter().flat_map(flatten).collect(), Self::Or)
    }

    fn joined(mut parts: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Option<Expr> {
        match parts.len() {
            0 | 1 => parts.pop(),
            _ => Some(join(parts)),
        }
    }

    fn plan(&self, now: Timestamp) -> Plan {
        match self {
            Self::And(parts) => Plan::and(parts.iter().map(|part| part.plan(now)).collect()),
            Self::Or(parts) => Plan::or(parts.iter().map(|part| part.plan(now)).collect()),
            Self::Not(part) => Plan::Not(Box::new(part.plan(now))),
            Self::Term(term) => term.plan(now),
        }
    }

    /// Writes a part of `self`, in parentheses where it binds less than `and`.
    fn write_part(&self, f: &mut fmt::Formatter<'_>, part: &Expr) -> fmt::Result {
        match (self, part) {
            (Self::And(_), Self::Or(_)) | (Self::Not(_), Self::And(_) | Self::Or(_)) => {
                write!(f, "({part})")
            }
            _ => write!(f, "{part}"),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, word) = match self {
            Self::And(parts) => (parts, " and "),
            Self::Or(parts) => (parts, " or "),
            Self::Not(part) => {
                f.write_str("not ")?;
                return self.write_part(f, part);
            }
            Self::Term(term) => return write!(f, "{term}"),
        };
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                f.write_str(word)?;
            }
            self.write_part(f, part)?;
        }
        Ok(())
    }
}

impl Term {
    fn plan(&self, now: Timestamp) -> Plan {
        let tests = self.values.iter().flat_map(|value| {
            let places = self.name.targets.iter();
            places.map(|place| value.plan(self.operator, *place, now))
        });
        let any = Plan::or(tests.collect());
        match self.operator {
            Operator::NotEqual | Operator::NotLike => Plan::Not(Box::new(any)),
            _ => any,
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            operator,
            values,
        } = self;
        match operator {
            Operator::In => write!(f, "{name} in ")?,
            operator => write!(f, "{name}{operator}")?,
        }
        let list = values.len() > 1;
        if list {
            f.write_str("(")?;
        }
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(&value.print(name.kind))?;
        }
        if list {
            f.write_str(")")?;
        }
        Ok(())
    }
}
