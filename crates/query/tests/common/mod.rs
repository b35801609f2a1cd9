//! Random queries and records, and what the obvious evaluation says of them.
#![allow(dead_code)]

use std::collections::HashMap;
use std::net::IpAddr;

use netverdict_query::{Field, Kind, Name, Operator, Record, Value};
use netverdict_types::{TcpFlags, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

/// The moment at which the tests plan: 2026-11-23T08:15:30.5Z.
pub const NOW: Timestamp = Timestamp(1_795_421_730_500_000_000);

/// A record that owns its values.
#[derive(Clone, Debug)]
pub struct Owned(pub HashMap<Field, One>);

impl Record for Owned {
    fn value(&self, field: Field) -> Value<'_> {
        match self.0.get(&field) {
            None => Value::Missing,
            Some(One::Text(text)) => Value::Text(text),
            Some(One::Number(number)) => Value::Number(*number),
            Some(One::Ip(ip)) => Value::Ip(*ip),
            Some(One::Bool(truth)) => Value::Bool(*truth),
            Some(One::Flags(flags)) => Value::Flags(TcpFlags(*flags)),
            Some(One::Uuid(uuid)) => Value::Uuid(*uuid),
        }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum One {
    Text(String),
    Number(i64),
    Ip(IpAddr),
    Bool(bool),
    Flags(u8),
    Uuid(Uuid),
}

/// A value as a query compares with it.
#[derive(Clone, Debug)]
pub enum Wanted {
    Exactly(One),
    Glob(String),
    Name(Option<String>, String),
    NameGlob(Option<String>, String),
    Range(i64, i64),
    Block(IpAddr, u8),
}

/// A query that is not text yet.
#[derive(Clone, Debug)]
pub enum Model {
    And(Vec<Model>),
    Or(Vec<Model>),
    Not(Box<Model>),
    Term(&'static Name, Operator, Vec<Wanted>),
}

/// Picks how to write what can be written in several ways.
pub struct Style(pub u64);

impl Style {
    fn one_in(&mut self, count: u64) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.is_multiple_of(count)
    }

    fn space(&mut self) -> &'static str {
        match (self.one_in(3), self.one_in(3)) {
            (true, true) => "\n\t ",
            (true, false) => " ",
            _ => "",
        }
    }
}

impl Model {
    pub fn text(&self, style: &mut Style) -> String {
        let parentheses = style.one_in(8);
        let text = match self {
            Self::And(parts) => Self::joined(parts, " and ", style),
            Self::Or(parts) => Self::joined(parts, " or ", style),
            Self::Not(part) => format!("not ({})", part.text(style)),
            Self::Term(name, operator, values) => {
                let spelling = match name.aliases.first() {
                    Some(alias) if style.one_in(3) => alias,
                    _ => name.name,
                };
                let mut text = match operator {
                    Operator::In => format!("{spelling} in "),
                    other => format!("{spelling}{}{other}{}", style.space(), style.space()),
                };
                let list = values.len() > 1 || *operator == Operator::In && style.one_in(3);
                text.push_str(if list { "( " } else { "" });
                for (index, value) in values.iter().enumerate() {
                    text.push_str(if index > 0 { "," } else { "" });
                    text.push_str(style.space());
                    text.push_str(&quoted(&value.text(name.kind, style), style));
                    text.push_str(style.space());
                }
                text.push_str(if list { ")" } else { "" });
                text
            }
        };
        if parentheses {
            format!("({}{text})", style.space())
        } else {
            text
        }
    }

    fn joined(parts: &[Model], word: &str, style: &mut Style) -> String {
        let parts: Vec<_> = parts
            .iter()
            .map(|part| format!("({})", part.text(style)))
            .collect();
        parts.join(word)
    }

    /// The obvious evaluation.
    pub fn holds(&self, record: &Owned) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|part| part.holds(record)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(record)),
            Self::Not(part) => !part.holds(record),
            Self::Term(name, operator, values) => {
                let any = values.iter().any(|wanted| {
                    name.targets.iter().any(|(namespace, field)| {
                        let namespace = namespace.and_then(|field| record.0.get(&field));
                        match record.0.get(field) {
                            Some(value) => wanted.holds(*operator, namespace, value),
                            None => false,
                        }
                    })
                });
                any != matches!(operator, Operator::NotEqual | Operator::NotLike)
            }
        }
    }
}

impl Wanted {
    fn holds(&self, operator: Operator, namespace: Option<&One>, value: &One) -> bool {
        match self {
            Self::Exactly(One::Number(wanted)) => {
                let One::Number(number) = value else {
                    return false;
                };
                match operator {
                    Operator::Less => number < wanted,
                    Operator::LessEqual => number <= wanted,
                    Operator::Greater => number > wanted,
                    Operator::GreaterEqual => number >= wanted,
                    _ => number == wanted,
                }
            }
            Self::Exactly(One::Flags(wanted)) => {
                matches!(value, One::Flags(flags) if flags & wanted == *wanted)
            }
            Self::Exactly(wanted) => wanted == value,
            Self::Glob(pattern) => match value {
                One::Text(text) => glob(pattern, text),
                One::Uuid(uuid) => glob(pattern, &uuid.to_string()),
                _ => false,
            },
            Self::Name(wanted, name) => {
                let fits = |space: &String| namespace == Some(&One::Text(space.clone()));
                wanted.as_ref().is_none_or(fits) && *value == One::Text(name.clone())
            }
            Self::NameGlob(wanted, name) => {
                let fits = |pattern: &String, value: Option<&One>| match value {
                    Some(One::Text(text)) => glob(pattern, text),
                    _ => false,
                };
                wanted.as_ref().is_none_or(|it| fits(it, namespace)) && fits(name, Some(value))
            }
            Self::Range(min, max) => {
                matches!(value, One::Number(number) if min <= number && number <= max)
            }
            Self::Block(address, prefix) => match value {
                One::Ip(ip) if ip.is_ipv4() == address.is_ipv4() => {
                    let length = usize::from(*prefix);
                    bits(*ip)[..length] == bits(*address)[..length]
                }
                _ => false,
            },
        }
    }

    fn text(&self, kind: Kind, style: &mut Style) -> String {
        match self {
            Self::Exactly(One::Text(text)) => match kind {
                Kind::Word(_) if style.one_in(3) => text.to_uppercase(),
                _ => text.clone(),
            },
            Self::Exactly(One::Number(number)) => number_text(*number, kind, style),
            Self::Exactly(One::Ip(ip)) => ip.to_string(),
            Self::Exactly(One::Bool(truth)) => truth.to_string(),
            Self::Exactly(One::Flags(flags)) => {
                let printed = TcpFlags(*flags).to_string();
                if style.one_in(2) {
                    printed
                } else {
                    printed.to_lowercase().replace(',', "+")
                }
            }
            Self::Exactly(One::Uuid(uuid)) => uuid.to_string(),
            Self::Glob(pattern) => pattern.clone(),
            Self::Name(None, name) | Self::NameGlob(None, name) => name.clone(),
            Self::Name(Some(space), name) | Self::NameGlob(Some(space), name) => {
                format!("{space}/{name}")
            }
            Self::Range(min, max) => format!(
                "{}..{}",
                number_text(*min, kind, style),
                number_text(*max, kind, style)
            ),
            Self::Block(address, prefix) => format!("{address}/{prefix}"),
        }
    }
}

fn number_text(number: i64, kind: Kind, style: &mut Style) -> String {
    match kind {
        Kind::Time => match NOW.0 - number {
            0 => "now".to_owned(),
            ago if ago > 0 && style.one_in(2) => {
                let (seconds, nanos) = (ago / 1_000_000_000, ago % 1_000_000_000);
                format!("-{}m{}s{nanos}ns", seconds / 60, seconds % 60)
            }
            _ => Timestamp(number).to_string(),
        },
        Kind::Duration => format!("{}s{}ns", number / 1_000_000_000, number % 1_000_000_000),
        Kind::Fraction if style.one_in(2) => format!("{}%", number as f64 / 1e4),
        Kind::Fraction => (number as f64 / 1e6).to_string(),
        Kind::Protocol => match number {
            6 if style.one_in(2) => "TCP".to_owned(),
            17 if style.one_in(2) => "udp".to_owned(),
            _ => number.to_string(),
        },
        _ if number >= 0 && style.one_in(3) => format!("0x{number:x}"),
        _ => number.to_string(),
    }
}

fn quoted(text: &str, style: &mut Style) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:*?+%\\".contains(c);
    let keyword = ["and", "or", "not", "in", ""].contains(&text);
    if !keyword && text.chars().all(plain) && !style.one_in(4) {
        return text.to_owned();
    }
    let mark = if style.one_in(2) { '"' } else { '\'' };
    let mut quoted = String::from(mark);
    for c in text.chars() {
        if c == mark || c == '\\' {
            quoted.push('\\');
        }
        match c {
            '\n' => quoted.push_str("\\n"),
            other => quoted.push(other),
        }
    }
    quoted.push(mark);
    quoted
}

fn glob(pattern: &str, text: &str) -> bool {
    fn go(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => {
                go(rest, text) || (!text.is_empty() && go(pattern, &text[1..]))
            }
            (['?', rest @ ..], [_, after @ ..]) => go(rest, after),
            (['\\', c, rest @ ..], [d, after @ ..]) if c == d => go(rest, after),
            ([c, rest @ ..], [d, after @ ..]) if c == d && *c != '\\' => go(rest, after),
            _ => false,
        }
    }
    let pattern: Vec<_> = pattern.chars().collect();
    let text: Vec<_> = text.chars().collect();
    go(&pattern, &text)
}

fn bits(ip: IpAddr) -> Vec<bool> {
    let octets = match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let bit = |octet: u8| (0..8).rev().map(move |place| octet >> place & 1 == 1);
    octets.into_iter().flat_map(bit).collect()
}

const TEXTS: [&str; 10] = [
    "a", "web-0", "web-1", "a b", "and", "in", "q\"\\'", "ü=*", "x\ny", "",
];
const NAMES: [&str; 4] = ["a", "blue", "web-0", "not"];
const PATTERNS: [&str; 8] = ["*", "web-*", "?eb-0", "a", "* *", r"ü=\*", "*\n?", ""];
const NAME_PATTERNS: [&str; 4] = ["*", "b*", "we?-0", "a"];
const MINUTE: i64 = 60_000_000_000;

fn numbers(kind: Kind) -> Vec<i64> {
    match kind {
        Kind::Number { min, max } => [-2, -1, 0, 1, 2, 3, min, max]
            .into_iter()
            .filter(|number| (min..=max).contains(number))
            .collect(),
        Kind::Time => [0, 1, 5 * MINUTE, 90 * MINUTE, -MINUTE]
            .map(|ago| NOW.0 - ago)
            .to_vec(),
        Kind::Duration => vec![0, 1, 1_500_000_000, 90 * MINUTE],
        Kind::Fraction => vec![0, 1, 10_000, 100_008, 1_000_000],
        _ => vec![1, 6, 17, 200],
    }
}

fn ips() -> Vec<IpAddr> {
    [
        "10.0.0.1",
        "10.0.0.2",
        "10.128.0.1",
        "192.0.2.1",
        "fd00::1",
        "fd00:0:0:1::1",
    ]
    .map(|text| text.parse().unwrap())
    .to_vec()
}

fn uuids() -> Vec<Uuid> {
    vec![Uuid::from_u128(0xa), Uuid::from_u128(0xb << 124 | 0xa)]
}

/// A value that a record may have in a field of this type.
pub fn one(kind: Kind) -> BoxedStrategy<One> {
    match kind {
        Kind::Text => select(&TEXTS[..])
            .prop_map(|text| One::Text(text.into()))
            .boxed(),
        Kind::Named => select(&NAMES[..])
            .prop_map(|text| One::Text(text.into()))
            .boxed(),
        Kind::Word(words) => {
            let few: Vec<_> = words.all().into_iter().take(3).collect();
            select(few).prop_map(|text| One::Text(text.into())).boxed()
        }
        Kind::Ip => select(ips()).prop_map(One::Ip).boxed(),
        Kind::Bool => any::<bool>().prop_map(One::Bool).boxed(),
        Kind::TcpFlags => select(vec![1_u8, 2, 0x10, 0x12, 0xff])
            .prop_map(One::Flags)
            .boxed(),
        Kind::Uuid => select(uuids()).prop_map(One::Uuid).boxed(),
        _ => select(numbers(kind)).prop_map(One::Number).boxed(),
    }
}

fn wanted(kind: Kind, operator: Operator) -> BoxedStrategy<Wanted> {
    let like = matches!(operator, Operator::Like | Operator::NotLike);
    let exactly = one(kind).prop_map(Wanted::Exactly).boxed();
    match kind {
        Kind::Named if like => (
            proptest::option::of(select(&NAME_PATTERNS[..])),
            select(&NAME_PATTERNS[..]),
        )
            .prop_map(|(space, name)| Wanted::NameGlob(space.map(str::to_owned), name.to_owned()))
            .boxed(),
        Kind::Named => (proptest::option::of(select(&NAMES[..])), select(&NAMES[..]))
            .prop_map(|(space, name)| Wanted::Name(space.map(str::to_owned), name.to_owned()))
            .boxed(),
        Kind::Uuid if like => select(vec!["0*", "b*a", "?0*", "a"])
            .prop_map(|pattern| Wanted::Glob(pattern.to_owned()))
            .boxed(),
        Kind::Word(words) if like => {
            let first = words.all()[0];
            select(vec![
                "*".to_owned(),
                format!("{}*", &first[..1]),
                first.to_owned(),
            ])
            .prop_map(Wanted::Glob)
            .boxed()
        }
        _ if like => select(&PATTERNS[..])
            .prop_map(|pattern| Wanted::Glob(pattern.to_owned()))
            .boxed(),
        Kind::Number { .. } | Kind::Time | Kind::Duration | Kind::Fraction
            if operator == Operator::In =>
        {
            let pair = (select(numbers(kind)), select(numbers(kind)));
            let range = pair.prop_map(|(a, b)| Wanted::Range(a.min(b), a.max(b)));
            prop_oneof![exactly, range].boxed()
        }
        Kind::Ip if operator == Operator::In => {
            let v4 = select(vec![0_u8, 8, 9, 31, 32]).prop_flat_map(|prefix| {
                select(ips()).prop_map(move |ip| match ip {
                    IpAddr::V4(_) => Wanted::Block(ip, prefix),
                    IpAddr::V6(_) => Wanted::Block(ip, prefix * 4),
                })
            });
            prop_oneof![exactly, v4].boxed()
        }
        _ => exactly,
    }
}

/// One comparison.
pub fn term() -> impl Strategy<Value = Model> {
    select(Name::all().iter().collect::<Vec<_>>())
        .prop_flat_map(|name| (Just(name), select(name.kind.operators())))
        .prop_flat_map(|(name, operator)| {
            let count = if operator == Operator::In {
                1..4_usize
            } else {
                1..2
            };
            (
                Just(name),
                Just(operator),
                proptest::collection::vec(wanted(name.kind, operator), count),
            )
        })
        .prop_map(|(name, operator, values)| Model::Term(name, operator, values))
}

/// A query of several levels.
pub fn model() -> impl Strategy<Value = Model> {
    term().prop_recursive(4, 16, 4, |inner| {
        let several = proptest::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            several.clone().prop_map(Model::And),
            several.prop_map(Model::Or),
            inner.prop_map(|part| Model::Not(Box::new(part))),
        ]
    })
}

/// A record with about two thirds of its fields known.
pub fn record() -> impl Strategy<Value = Owned> {
    let fields: Vec<_> = Field::all()
        .map(|field| {
            // Names that a policy or pod may have, so that both kinds of names meet them.
            let kind = match field {
                Field::SrcPod | Field::DstPod | Field::OwnerName | Field::ServiceName => {
                    Kind::Named
                }
                Field::SrcNamespace | Field::DstNamespace => Kind::Named,
                Field::OwnerNamespace | Field::ServiceNamespace => Kind::Named,
                other => other.kind(),
            };
            let value = proptest::option::weighted(0.7, one(kind));
            value.prop_map(move |value| value.map(|value| (field, value)))
        })
        .collect();
    fields.prop_map(|values| Owned(values.into_iter().flatten().collect()))
}
