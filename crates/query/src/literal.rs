use std::fmt;
use std::net::IpAddr;

use netverdict_types::{TcpFlags, Timestamp, protocol_name};
use uuid::Uuid;

use crate::error::{ErrorKind, nearest, shortened};
use crate::field::{Field, Kind, Name, Operator, TCP_FLAGS};
use crate::glob::Glob;
use crate::lex::quote;
use crate::net::Network;
use crate::plan::{Check, Plan, Test};

/// A value of a query, read as its field's type wants it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Literal {
    Text(String),
    Glob(Glob),
    Named(Option<String>, String),
    NamedGlob(Option<Glob>, Glob),
    Number(Quantity),
    Range(Quantity, Quantity),
    Ip(IpAddr),
    Network(Network),
    Bool(bool),
    Flags(u8),
    Uuid(Uuid),
}

/// A number, or a time before the moment at which the query is planned, in nanoseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Quantity {
    Fixed(i64),
    Ago(i64),
}

impl Literal {
    /// Reads one value behind an operator that the field knows.
    pub(crate) fn parse(name: &Name, operator: Operator, text: &str) -> Result<Self, ErrorKind> {
        let bad = |wanted: String| ErrorKind::BadValue {
            field: name.name,
            value: shortened(text),
            wanted,
        };
        if matches!(operator, Operator::Like | Operator::NotLike) {
            return match name.kind {
                Kind::Named => {
                    let (namespace, name) = split_name(text).map_err(bad)?;
                    Ok(Self::NamedGlob(namespace.map(Glob::new), Glob::new(name)))
                }
                _ => Ok(Self::Glob(Glob::new(text))),
            };
        }
        match name.kind {
            Kind::Text => Ok(Self::Text(text.to_owned())),
            Kind::Named => {
                let (namespace, name) = split_name(text).map_err(bad)?;
                Ok(Self::Named(namespace.map(str::to_owned), name.to_owned()))
            }
            Kind::Word(words) => match words
                .all()
                .into_iter()
                .find(|word| word.eq_ignore_ascii_case(text))
            {
                Some(word) => Ok(Self::Text(word.to_owned())),
                None => Err(unknown(name, text)),
            },
            Kind::Protocol => Quantity::parse(name.kind, text)
                .map(Self::Number)
                .map_err(|_| unknown(name, text)),
            Kind::Number { .. } | Kind::Time | Kind::Duration | Kind::Fraction => {
                match text.split_once("..") {
                    Some((from, to)) if operator == Operator::In => {
                        let from = Quantity::parse(name.kind, from).map_err(bad)?;
                        let to = Quantity::parse(name.kind, to).map_err(bad)?;
                        match (from, to) {
                            (Quantity::Fixed(min), Quantity::Fixed(max))
                            | (Quantity::Ago(max), Quantity::Ago(min))
                                if min > max =>
                            {
                                Err(bad("the range ends before it begins".to_owned()))
                            }
                            _ => Ok(Self::Range(from, to)),
                        }
                    }
                    Some(_) => Err(bad("a range stands behind `in`".to_owned())),
                    None => Quantity::parse(name.kind, text)
                        .map(Self::Number)
                        .map_err(bad),
                }
            }
            Kind::Ip => match (text.parse(), Network::parse(text)) {
                (Ok(ip), _) => Ok(Self::Ip(ip)),
                (_, Some(network)) if operator == Operator::In => Ok(Self::Network(network)),
                (_, Some(_)) => Err(bad("an address block stands behind `in`".to_owned())),
                _ if operator == Operator::In => Err(bad(
                    "it is an address or a block, such as 10.0.0.1, 10.0.0.0/8 or fd00::/64"
                        .to_owned(),
                )),
                _ => Err(bad(
                    "it is an address, such as 10.0.0.1 or fd00::1".to_owned()
                )),
            },
            Kind::Bool => match text {
                "true" => Ok(Self::Bool(true)),
                "false" => Ok(Self::Bool(false)),
                _ => Err(unknown(name, text)),
            },
            Kind::TcpFlags => text
                .split(['+', ','])
                .try_fold(0, |mask, word| {
                    let bit = TCP_FLAGS
                        .iter()
                        .position(|flag| flag.eq_ignore_ascii_case(word))?;
                    Some(mask | 1 << bit)
                })
                .map(Self::Flags)
                .ok_or_else(|| unknown(name, text)),
            Kind::Uuid => match Uuid::try_parse(text) {
                Ok(uuid) => Ok(Self::Uuid(uuid)),
                Err(_) => Err(bad(
                    "it is a UUID; for its start use `~` and `*`, as in acl.uuid~1f2e3d4c*"
                        .to_owned(),
                )),
            },
        }
    }

    /// The value as the query language writes it.
    pub(crate) fn print(&self, kind: Kind) -> String {
        match self {
            Self::Text(text) => quote(text).into_owned(),
            Self::Glob(glob) => quote(&glob.to_string()).into_owned(),
            Self::Named(None, name) => quote(name).into_owned(),
            Self::Named(Some(namespace), name) => {
                quote(&format!("{namespace}/{name}")).into_owned()
            }
            Self::NamedGlob(None, name) => quote(&name.to_string()).into_owned(),
            Self::NamedGlob(Some(namespace), name) => {
                quote(&format!("{namespace}/{name}")).into_owned()
            }
            Self::Number(number) => number.print(kind),
            Self::Range(from, to) => format!("{}..{}", from.print(kind), to.print(kind)),
            Self::Ip(ip) => ip.to_string(),
            Self::Network(network) => network.to_string(),
            Self::Bool(truth) => truth.to_string(),
            Self::Flags(mask) => print_flags(*mask),
            Self::Uuid(uuid) => uuid.to_string(),
        }
    }

    /// The test of one place that the name stands for.
    pub(crate) fn plan(
        &self,
        operator: Operator,
        (namespace, field): (Option<Field>, Field),
        now: Timestamp,
    ) -> Plan {
        let check = match self {
            Self::Text(text) => Check::Text(text.as_str().into()),
            Self::Glob(glob) => like(glob, field.kind()),
            Self::Named(wanted, name) => {
                let wanted = wanted.as_deref().map(|text| Check::Text(text.into()));
                return named(
                    namespace.zip(wanted),
                    field,
                    Check::Text(name.as_str().into()),
                );
            }
            Self::NamedGlob(wanted, name) => {
                let wanted = wanted.as_ref().map(|glob| like(glob, Kind::Text));
                return named(namespace.zip(wanted), field, like(name, Kind::Text));
            }
            Self::Number(number) => {
                let at = number.at(now);
                let bounds = match operator {
                    Operator::Less => at.checked_sub(1).map(|max| (i64::MIN, max)),
                    Operator::LessEqual => Some((i64::MIN, at)),
                    Operator::Greater => at.checked_add(1).map(|min| (min, i64::MAX)),
                    Operator::GreaterEqual => Some((at, i64::MAX)),
                    _ => Some((at, at)),
                };
                let (min, max) = bounds.unwrap_or((1, 0));
                Check::Between { min, max }
            }
            Self::Range(from, to) => Check::Between {
                min: from.at(now),
                max: to.at(now),
            },
            Self::Ip(ip) => Check::Network(Network::single(*ip)),
            Self::Network(network) => Check::Network(*network),
            Self::Bool(truth) => Check::Bool(*truth),
            Self::Flags(mask) => Check::Flags(*mask),
            Self::Uuid(uuid) => Check::Uuid(*uuid),
        };
        Plan::Test(Test { field, check })
    }
}

impl Quantity {
    fn parse(kind: Kind, text: &str) -> Result<Self, String> {
        match kind {
            Kind::Time => parse_time(text).ok_or_else(|| {
                "it is a time, such as 2026-11-23T08:15:30Z, -5m, -1h30m or now".to_owned()
            }),
            Kind::Duration => parse_duration(text)
                .map(Self::Fixed)
                .ok_or_else(|| "it is a length of time, such as 500ms, 5s or 1m30s".to_owned()),
            Kind::Fraction => text
                .strip_suffix('%')
                .map_or_else(
                    || text.parse(),
                    |part| part.parse().map(|it: f64| it / 100.0),
                )
                .ok()
                .filter(|share| (0.0..=1.0).contains(share))
                .map(|share: f64| Self::Fixed((share * MILLION).round() as i64))
                .ok_or_else(|| "it is a share from 0 to 1, such as 0.01 or 1%".to_owned()),
            Kind::Protocol => (0..=u8::MAX)
                .find(|number| {
                    protocol_name(*number).is_some_and(|it| it.eq_ignore_ascii_case(text))
                })
                .or_else(|| text.parse().ok())
                .map(|number| Self::Fixed(number.into()))
                .ok_or_else(String::new),
            Kind::Number { min, max } => text
                .strip_prefix("0x")
                .map_or_else(|| text.parse(), |digits| i64::from_str_radix(digits, 16))
                .ok()
                .filter(|number| (min..=max).contains(number))
                .map(Self::Fixed)
                .ok_or_else(|| {
                    if max == i64::MAX {
                        "it is a whole number, 0 or more".to_owned()
                    } else {
                        format!("it is a whole number from {min} to {max}")
                    }
                }),
            _ => Err(String::new()),
        }
    }

    fn print(self, kind: Kind) -> String {
        match (self, kind) {
            (Self::Fixed(nanos), Kind::Time) => Timestamp(nanos).to_string(),
            (Self::Fixed(nanos), Kind::Duration) => print_duration(nanos),
            (Self::Fixed(micros), Kind::Fraction) => (micros as f64 / MILLION).to_string(),
            (Self::Fixed(number), Kind::Protocol) => u8::try_from(number)
                .ok()
                .and_then(protocol_name)
                .map_or_else(|| number.to_string(), str::to_owned),
            (Self::Fixed(number), _) => number.to_string(),
            (Self::Ago(0), _) => "now".to_owned(),
            (Self::Ago(nanos), _) => format!("-{}", print_duration(nanos)),
        }
    }

    fn at(self, now: Timestamp) -> i64 {
        match self {
            Self::Fixed(number) => number,
            Self::Ago(nanos) => now.before(nanos).0,
        }
    }
}

/// Writes a number of a record as a query would.
pub(crate) fn print_number(number: i64, kind: Kind) -> String {
    match kind {
        Kind::TcpFlags => print_flags(number as u8),
        kind => Quantity::Fixed(number).print(kind),
    }
}

fn print_flags(mask: u8) -> String {
    let words = TcpFlags(mask).to_string();
    words.to_ascii_lowercase().replace(',', "+")
}

const MILLION: f64 = 1e6;

/// The units of relative times, the longest first.
const UNITS: [(&str, i64); 8] = [
    ("w", 604_800_000_000_000),
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads a moment as queries write it: RFC 3339, `now`, or a time before `now` such as `-5m`.
pub fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    parse_time(text).map(|time| Timestamp(time.at(now)))
}

fn parse_time(text: &str) -> Option<Quantity> {
    if text == "now" {
        return Some(Quantity::Ago(0));
    }
    match text.strip_prefix('-') {
        Some(ago) => parse_duration(ago).map(Quantity::Ago),
        None => {
            let moment: jiff::Timestamp = text.parse().ok()?;
            let nanos = i64::try_from(moment.as_nanosecond()).ok()?;
            Some(Quantity::Fixed(nanos))
        }
    }
}

/// Reads a length of time such as `1h30m`, in nanoseconds; never negative.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0_i64;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| !c.is_ascii_lowercase())
            .unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..letters])?;
        total = total.checked_add(count.checked_mul(*unit)?)?;
        rest = &rest[letters..];
        if rest.is_empty() {
            return Some(total);
        }
    }
}

/// Writes a length of time in the greatest unit that it is whole in.
pub(crate) fn print_duration(nanos: i64) -> String {
    match UNITS
        .iter()
        .find(|(_, unit)| nanos != 0 && nanos % unit == 0)
    {
        Some((name, unit)) => format!("{}{name}", nanos / unit),
        None => "0s".to_owned(),
    }
}

fn split_name(text: &str) -> Result<(Option<&str>, &str), String> {
    match text.split_once('/') {
        None if text.is_empty() => {}
        None => return Ok((None, text)),
        Some((namespace, name)) if namespace.is_empty() || name.is_empty() => {}
        Some((namespace, name)) => return Ok((Some(namespace), name)),
    }
    Err("it is a name, or a namespace and a name with / between them".to_owned())
}

fn named(namespace: Option<(Field, Check)>, field: Field, check: Check) -> Plan {
    let name = Plan::Test(Test { field, check });
    match namespace {
        Some((space, check)) => {
            let space = Plan::Test(Test {
                field: space,
                check,
            });
            let both = Plan::and(vec![space, name]);
            match field.either_half() {
                Some(_) => Plan::Half(Box::new(both)),
                None => both,
            }
        }
        None => name,
    }
}

/// Text is compared faster than a pattern; a UUID has no text to compare.
fn like(glob: &Glob, kind: Kind) -> Check {
    match glob.as_text() {
        Some(text) if kind != Kind::Uuid => Check::Text(text.into()),
        _ => Check::Glob(glob.clone()),
    }
}

fn unknown(name: &Name, text: &str) -> ErrorKind {
    ErrorKind::UnknownValue {
        field: name.name,
        value: shortened(text),
        near: nearest(text, name.kind.values()),
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
