//! What is asked of many records: which rows, or which groups, in which order.
//!
//! Each engine gives the same answer. Where records are connections they are whole: updates are
//! folded before anything is asked of them.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use netverdict_types::{Connection, Timestamp};
use uuid::Uuid;

use crate::field::{Field, Kind, Name};
use crate::literal::print_number;
use crate::plan::Plan;
use crate::record::{Record, Value};

/// A question to a store, or to a live record: the same answer everywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Records that overlap this time: they ended at or after `since` ([`Field::End`]) and began
    /// before `until` ([`Field::Start`]).
    pub since: Timestamp,
    /// See `since`.
    pub until: Timestamp,
    /// Which of them.
    pub filter: Plan,
    /// What to tell of them.
    pub want: Want,
}

/// What to tell of the records that match.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// The records themselves, newest end first (ties: greater id first).
    Rows {
        /// At most this many.
        limit: usize,
        /// Those behind this one in that order.
        after: Option<Cursor>,
    },
    /// One line for each combination of values.
    Groups(Groups),
}

/// Groups of records. No records give no groups, also where `by` is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// Fields whose values make a group; a missing value is a value of its own. Empty: all
    /// records are one group.
    ///
    /// With a field that names no half ([`Field::either_half`]) a connection counts in the group
    /// of each half that it has, all such fields being read from the same half: once where both
    /// are the same group, and with missing values where it has no half.
    pub by: Vec<Field>,
    /// Groups by time too: buckets of this many nanoseconds since the epoch, by the record's
    /// end, rounded down.
    pub every: Option<i64>,
    /// What is told of each group.
    pub measures: Vec<Measure>,
    /// Order: by this measure (index), else by the group's values. Equal measures stand by the
    /// group's values, least first; a missing measure is the least. Buckets stand by time before
    /// all else.
    pub order: Option<(usize, Order)>,
    /// At most this many groups; with `every`, this many for each bucket.
    pub top: usize,
}

/// A number for a group. Fields name a half where they are of one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Measure {
    /// How many records.
    Count,
    /// The sum of a field of numbers or durations, those that are there; missing where none is.
    /// It stays at the greatest number that there is.
    Sum(Field),
    /// The least of a field of numbers, durations, shares or times; missing where none is there.
    Min(Field),
    /// The greatest.
    Max(Field),
    /// How many different values of the second field are there. With the first, a namespace, how
    /// many different pairs; a missing namespace is one.
    Distinct(Option<Field>, Field),
}

/// A direction of order.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Order {
    /// Least first.
    Ascending,
    /// Greatest first.
    Descending,
}

/// A place in the order of rows, opaque to those who carry it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Cursor {
    /// The row's end.
    pub end: Timestamp,
    /// The row's id.
    pub id: u128,
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// What stands in each column of [`lines`](Self::lines): the names of fields, of measures as
    /// the query language writes them, `time` for a bucket's start, `id` for an identity.
    pub columns: Vec<String>,
    /// The lines, in the order asked for. Of groups: the bucket's start if there are buckets, the
    /// values, the measures. Of rows: the identity and [`row_fields`].
    pub lines: Vec<Vec<Cell>>,
    /// Where to go on, if rows were asked for and there are more.
    pub next: Option<Cursor>,
    /// How many groups there were, those beyond `top` among them; of each bucket by itself. 0 for
    /// rows.
    pub total: u64,
}

/// A value that outlives its record.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Cell {
    /// See [`Value::Missing`]. It is less than everything.
    Missing,
    /// See [`Value::Bool`].
    Bool(bool),
    /// See [`Value::Number`]; of TCP flags their bits.
    Number(i64),
    /// See [`Value::Text`]; by its bytes.
    Text(Box<str>),
    /// See [`Value::Ip`]; IPv4 before IPv6.
    Ip(std::net::IpAddr),
    /// See [`Value::Uuid`].
    Uuid(Uuid),
}

/// Why an [`Ask`] has no answer; the asker is at fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// A measure of a field whose values are none to measure.
    #[error("`{0}` cannot be told: {why}", why = .0.wanted())]
    Measure(Measure),
    /// A measure of a field that either half may have.
    #[error("`{0}` could be of either half: write egress. or ingress. before the field")]
    Half(Measure),
    /// An order by a measure that is not told.
    #[error("the order is by measure {0}, and there are {1}")]
    Order(usize, usize),
    /// Buckets without length.
    #[error("a bucket of time must be longer than nothing")]
    Every,
    /// Whole records of a question for groups.
    #[error("whole records are told to a question for rows only")]
    NotRows,
}

impl Ask {
    /// About all records of all times.
    pub fn all(want: Want) -> Self {
        Self {
            since: Timestamp::MIN,
            until: Timestamp::MAX,
            filter: Plan::And(Vec::new()),
            want,
        }
    }

    /// Makes sure that it has an answer; every engine asks this first.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn check(&self) -> Result<(), AskError> {
        let Want::Groups(groups) = &self.want else {
            return Ok(());
        };
        for measure in &groups.measures {
            measure.check()?;
        }
        match groups.order {
            Some((index, _)) if index >= groups.measures.len() => {
                return Err(AskError::Order(index, groups.measures.len()));
            }
            _ => {}
        }
        match groups.every {
            Some(length) if length <= 0 => Err(AskError::Every),
            _ => Ok(()),
        }
    }

    /// True where a record overlaps the time that is asked for, and passes the filter. It
    /// allocates nothing.
    pub fn matches<R: Record + ?Sized>(&self, record: &R) -> bool {
        let overlaps = match (record.value(Field::Start), record.value(Field::End)) {
            (Value::Number(start), Value::Number(end)) => {
                end >= self.since.0 && start < self.until.0
            }
            _ => true,
        };
        overlaps && self.filter.matches(record)
    }
}

impl Order {
    /// Turns what stands in ascending order around where that is wanted.
    pub fn of(self, ascending: Ordering) -> Ordering {
        match self {
            Self::Ascending => ascending,
            Self::Descending => ascending.reverse(),
        }
    }
}

impl Groups {
    /// The names of an answer's columns.
    pub fn columns(&self) -> Vec<String> {
        let bucket = self.every.map(|_| "time".to_owned());
        let values = self.by.iter().map(|field| field.name().to_owned());
        let measures = self.measures.iter().map(Measure::to_string);
        bucket.into_iter().chain(values).chain(measures).collect()
    }

    /// The types of an answer's columns.
    pub fn kinds(&self) -> Vec<Kind> {
        let bucket = self.every.map(|_| Kind::Time);
        let values = self.by.iter().map(|field| field.kind());
        let measures = self.measures.iter().map(|measure| measure.kind());
        bucket.into_iter().chain(values).chain(measures).collect()
    }

    /// True where a connection counts for each of its halves.
    pub fn has_halves(&self) -> bool {
        self.by.iter().any(|field| field.either_half().is_some())
    }
}

impl Measure {
    /// Makes sure that its field can be measured so.
    ///
    /// # Errors
    /// [`AskError::Measure`], [`AskError::Half`].
    pub fn check(self) -> Result<(), AskError> {
        let (field, fits) = match self {
            Self::Count => return Ok(()),
            Self::Sum(field) => (
                field,
                matches!(field.kind(), Kind::Number { .. } | Kind::Duration),
            ),
            Self::Min(field) | Self::Max(field) => (
                field,
                matches!(
                    field.kind(),
                    Kind::Number { .. } | Kind::Duration | Kind::Fraction | Kind::Time
                ),
            ),
            Self::Distinct(_, field) => (field, true),
        };
        match (fits, field.either_half()) {
            (false, _) => Err(AskError::Measure(self)),
            (true, Some(_)) => Err(AskError::Half(self)),
            (true, None) => Ok(()),
        }
    }

    /// The type of what it tells.
    pub fn kind(self) -> Kind {
        match self {
            Self::Count | Self::Distinct(..) => Kind::Number {
                min: 0,
                max: i64::MAX,
            },
            Self::Sum(field) | Self::Min(field) | Self::Max(field) => field.kind(),
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Sum(_) => "only numbers and durations add up",
            _ => "only numbers, durations, shares and times have an order",
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count => f.write_str("count"),
            Self::Sum(field) => write!(f, "sum({})", field.name()),
            Self::Min(field) => write!(f, "min({})", field.name()),
            Self::Max(field) => write!(f, "max({})", field.name()),
            Self::Distinct(None, field) => write!(f, "distinct({})", field.name()),
            Self::Distinct(namespace, field) => {
                let name = Name::all()
                    .iter()
                    .find(|name| matches!(name.targets, [one] if *one == (*namespace, *field)));
                write!(f, "distinct({})", name.map_or(field.name(), |it| it.name))
            }
        }
    }
}

impl Answer {
    /// The answer to [`Want::Rows`]: of the connections that match, in their order, at most
    /// `limit`. One more than that among them says that there are more.
    pub fn of_rows(connections: &[Connection], limit: usize) -> Self {
        let shown = &connections[..connections.len().min(limit)];
        let next = (connections.len() > limit).then(|| shown.last()).flatten();
        Self {
            columns: row_columns(),
            lines: shown.iter().map(row).collect(),
            next: next.map(|last| Cursor {
                end: last.end,
                id: last.id.0,
            }),
            total: 0,
        }
    }
}

impl fmt::Display for Cursor {
    /// 32 letters, digits, `-` and `_` (base64url, RFC 4648 section 5).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut end, mut id) = (self.end.0 as u64, self.id);
        for _ in 0..32 {
            write!(f, "{}", char::from(BASE64URL[(end >> 58) as usize]))?;
            end = end << 6 | (id >> 122) as u64;
            id <<= 6;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        if text.len() != 32 {
            return Err(CursorError);
        }
        let (mut end, mut id) = (0_u64, 0_u128);
        for byte in text.bytes() {
            let six = BASE64URL.iter().position(|it| *it == byte);
            let six = six.ok_or(CursorError)? as u64;
            end = end << 6 | (id >> 122) as u64;
            id = id << 6 | u128::from(six);
        }
        Ok(Self {
            end: Timestamp(end as i64),
            id,
        })
    }
}

/// A text that no answer gave as its cursor.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this is no cursor: give what an earlier answer gave, whole")]
pub struct CursorError;

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The fields of a connection as rows show them, in their order.
pub fn row_fields() -> impl Iterator<Item = Field> {
    ROW_FIELDS.iter().copied()
}

static ROW_FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| {
    // What decided stands before the details of it, as in a decision.
    let mut halves: Vec<Field> = Field::all()
        .filter(|field| matches!(field, Field::Egress(_) | Field::Ingress(_)))
        .collect();
    halves.sort_unstable();
    ROW.into_iter().chain(halves).collect()
});

/// The names of the columns of rows.
pub fn row_columns() -> Vec<String> {
    let fields = row_fields().map(|field| field.name().to_owned());
    std::iter::once("id".to_owned()).chain(fields).collect()
}

/// One line of an answer of rows.
pub fn row<R: Record + ?Sized>(record: &R) -> Vec<Cell> {
    let id = Cell::Uuid(Uuid::from_u128(record.id()));
    let cells = row_fields().map(|field| Cell::from(record.value(field)));
    std::iter::once(id).chain(cells).collect()
}

const ROW: [Field; 31] = [
    Field::Start,
    Field::End,
    Field::Network,
    Field::Protocol,
    Field::Verdict,
    Field::SrcIp,
    Field::SrcPort,
    Field::SrcNamespace,
    Field::SrcName,
    Field::SrcKind,
    Field::SrcNode,
    Field::DstIp,
    Field::DstPort,
    Field::DstNamespace,
    Field::DstName,
    Field::DstKind,
    Field::DstNode,
    Field::ServiceNamespace,
    Field::ServiceName,
    Field::ServiceIp,
    Field::ServicePort,
    Field::IcmpType,
    Field::IcmpCode,
    Field::TcpFlags,
    Field::Probability,
    Field::Packets,
    Field::Bytes,
    Field::ReplyPackets,
    Field::ReplyBytes,
    Field::DroppedPackets,
    Field::DroppedBytes,
];

impl From<Value<'_>> for Cell {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Missing => Self::Missing,
            Value::Text(text) => Self::Text(text.into()),
            Value::Number(number) => Self::Number(number),
            Value::Ip(ip) => Self::Ip(ip),
            Value::Bool(truth) => Self::Bool(truth),
            Value::Flags(flags) => Self::Number(flags.0.into()),
            Value::Uuid(uuid) => Self::Uuid(uuid),
        }
    }
}

impl Cell {
    /// The value; TCP flags as the number of their bits.
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Missing => Value::Missing,
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Number(number) => Value::Number(*number),
            Self::Text(text) => Value::Text(text),
            Self::Ip(ip) => Value::Ip(*ip),
            Self::Uuid(uuid) => Value::Uuid(*uuid),
        }
    }

    /// Its text as queries write it, without quotes, in a column of this type; empty where it is
    /// missing.
    pub fn text(&self, kind: Kind) -> Cow<'_, str> {
        match self {
            Self::Missing => Cow::Borrowed(""),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Bool(truth) => Cow::Borrowed(if *truth { "true" } else { "false" }),
            Self::Number(number) => Cow::Owned(print_number(*number, kind)),
            Self::Ip(ip) => Cow::Owned(ip.to_string()),
            Self::Uuid(uuid) => Cow::Owned(uuid.to_string()),
        }
    }

    /// True where it holds this value.
    pub fn is(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Missing, Value::Missing) => true,
            (Self::Text(one), Value::Text(other)) => **one == *other,
            (Self::Number(one), Value::Number(other)) => *one == other,
            (Self::Number(one), Value::Flags(other)) => *one == i64::from(other.0),
            (Self::Ip(one), Value::Ip(other)) => *one == other,
            (Self::Bool(one), Value::Bool(other)) => *one == other,
            (Self::Uuid(one), Value::Uuid(other)) => *one == other,
            _ => false,
        }
    }
}
