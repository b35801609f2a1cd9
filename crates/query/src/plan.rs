use netverdict_types::Direction;
use uuid::Uuid;

use crate::field::{Field, HalfField};
use crate::glob::Glob;
use crate::net::Network;
use crate::record::{Record, Value};

/// What a query asks of a record: a plain tree for evaluation here and for translation elsewhere.
///
/// Logic has two values. A [`Test`] of a field that the record lacks is false, and `Not` of it is
/// true; in SQL every test is therefore `COALESCE(test, FALSE)`. The order of children carries no
/// meaning: they stand cheapest first.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Plan {
    /// All children hold; holds without children.
    And(Vec<Plan>),
    /// One child holds at least; fails without children.
    Or(Vec<Plan>),
    /// The child does not hold.
    Not(Box<Plan>),
    /// One and the same half of the record passes the child: fields that name no half
    /// ([`Field::either_half`]) are those of that half. A record without halves is asked itself.
    Half(Box<Plan>),
    /// One field passes a check.
    Test(Test),
}

/// A check of one field.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Test {
    /// The field.
    pub field: Field,
    /// What its value must be.
    pub check: Check,
}

/// What a value must be.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Check {
    /// This text, letter by letter.
    Text(Box<str>),
    /// A text that the pattern covers; of a uuid its hyphenated text in lower case.
    Glob(Glob),
    /// A number from `min` to `max`, both included, in the unit of [`Value::Number`]; none when
    /// `max` is less than `min`.
    Between {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// An address of the block; a single address is a block of full length.
    Network(Network),
    /// This truth.
    Bool(bool),
    /// TCP flags with all these bits set, whatever the others are.
    Flags(u8),
    /// This row.
    Uuid(Uuid),
}

impl Plan {
    /// True when the record is what was asked for. It allocates nothing.
    pub fn matches<R: Record + ?Sized>(&self, record: &R) -> bool {
        match self {
            Self::And(children) => children.iter().all(|child| child.matches(record)),
            Self::Or(children) => children.iter().any(|child| child.matches(record)),
            Self::Not(child) => !child.matches(record),
            Self::Half(child) if record.has_halves() => child.matches_half(record),
            Self::Half(child) => child.matches(record),
            Self::Test(test) if record.has_halves() => match test.field.either_half() {
                Some(field) => HALVES
                    .into_iter()
                    .any(|half| test.check.holds(record.value(field.of(half)))),
                None => test.check.holds(record.value(test.field)),
            },
            Self::Test(test) => test.check.holds(record.value(test.field)),
        }
    }

    /// The same for records with halves, said without [`Plan::Half`] and without fields that name
    /// no half, so that each field is one column: `policy` becomes `egress.policy or
    /// ingress.policy`.
    #[must_use]
    pub fn by_halves(&self) -> Self {
        match self {
            Self::And(children) => Self::And(children.iter().map(Self::by_halves).collect()),
            Self::Or(children) => Self::Or(children.iter().map(Self::by_halves).collect()),
            Self::Not(child) => Self::Not(Box::new(child.by_halves())),
            Self::Half(child) => Self::either(child),
            Self::Test(test) if test.field.either_half().is_some() => Self::either(self),
            Self::Test(_) => self.clone(),
        }
    }

    fn either(plan: &Plan) -> Self {
        Self::Or(HALVES.map(|half| plan.of_half(half)).to_vec())
    }

    /// The plan with one half put in where none is named.
    fn of_half(&self, half: Direction) -> Self {
        let all = |children: &[Plan]| children.iter().map(|child| child.of_half(half)).collect();
        match self {
            Self::And(children) => Self::And(all(children)),
            Self::Or(children) => Self::Or(all(children)),
            Self::Not(child) => Self::Not(Box::new(child.of_half(half))),
            Self::Half(child) => child.of_half(half),
            Self::Test(test) => Self::Test(Test {
                field: test.field.at(half),
                check: test.check.clone(),
            }),
        }
    }

    fn matches_half<R: Record + ?Sized>(&self, record: &R) -> bool {
        HALVES.into_iter().any(|half| self.matches_at(record, half))
    }

    fn matches_at<R: Record + ?Sized>(&self, record: &R, half: Direction) -> bool {
        match self {
            Self::And(children) => children.iter().all(|child| child.matches_at(record, half)),
            Self::Or(children) => children.iter().any(|child| child.matches_at(record, half)),
            Self::Not(child) => !child.matches_at(record, half),
            Self::Half(child) => child.matches_at(record, half),
            Self::Test(test) => test.check.holds(record.value(test.field.at(half))),
        }
    }

    /// True when it asks nothing: every record matches.
    pub fn is_all(&self) -> bool {
        matches!(self, Self::And(children) if children.is_empty())
    }

    pub(crate) fn and(children: Vec<Plan>) -> Self {
        Self::joined(children, Self::And)
    }

    pub(crate) fn or(children: Vec<Plan>) -> Self {
        Self::joined(children, Self::Or)
    }

    fn joined(mut children: Vec<Plan>, join: fn(Vec<Plan>) -> Plan) -> Self {
        if children.len() == 1
            && let Some(only) = children.pop()
        {
            return only;
        }
        children.sort_by_cached_key(Self::cost);
        join(children)
    }

    /// Roughly nanoseconds; only the order counts.
    fn cost(&self) -> u32 {
        match self {
            Self::And(children) | Self::Or(children) => children
                .iter()
                .fold(1, |sum, child| sum.saturating_add(child.cost())),
            Self::Not(child) | Self::Half(child) => child.cost(),
            Self::Test(test) => match test.check {
                Check::Between { .. } | Check::Bool(_) | Check::Flags(_) => 1,
                Check::Network(_) | Check::Uuid(_) => 2,
                Check::Text(_) => 3,
                Check::Glob(_) if is_long(test.field) => 100,
                Check::Glob(_) => 20,
            },
        }
    }
}

/// Both halves, in the order in which a packet comes to them.
pub(crate) const HALVES: [Direction; 2] = [Direction::Egress, Direction::Ingress];

fn is_long(field: Field) -> bool {
    use HalfField::{AclMatch, Message};
    matches!(
        field,
        Field::Message
            | Field::AclMatch
            | Field::Egress(Message | AclMatch)
            | Field::Ingress(Message | AclMatch)
    )
}

impl Check {
    /// True when the value passes; a missing one and one of another type never do.
    #[inline]
    pub fn holds(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Text(wanted), Value::Text(text)) => **wanted == *text,
            (Self::Between { min, max }, Value::Number(number)) => (*min..=*max).contains(&number),
            (Self::Network(block), Value::Ip(address)) => block.contains(address),
            (Self::Bool(wanted), Value::Bool(truth)) => *wanted == truth,
            (Self::Flags(mask), Value::Flags(flags)) => flags.has(*mask),
            (Self::Glob(glob), Value::Text(text)) => glob.matches(text),
            (Self::Glob(glob), Value::Uuid(uuid)) => {
                let mut buffer = Uuid::encode_buffer();
                glob.matches(uuid.hyphenated().encode_lower(&mut buffer))
            }
            (Self::Uuid(wanted), Value::Uuid(uuid)) => *wanted == uuid,
            _ => false,
        }
    }
}
