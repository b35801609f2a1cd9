use std::fmt::Write;

use super::parse::{Comparison, Condition, Constants, Name, Node, Numbers, Relation, Term};

/// As OVN prints a match that it has parsed: sets written out, numbers in hexadecimal, parentheses only where they must be.
pub(super) fn print(node: &Node, terms: &[Term]) -> String {
    let mut text = String::new();
    flat(node, terms).write(&mut text);
    text
}

enum Flat {
    /// `&&` if true, else `||`.
    Several(bool, Vec<Flat>),
    One(String),
}

impl Flat {
    /// A comparison with each of several constants, or of several operands: those of the same kind within it become its own.
    fn several(all: bool, operands: impl IntoIterator<Item = Flat>) -> Self {
        let mut inner = Vec::new();
        for operand in operands {
            match operand {
                Self::Several(kind, operands) if kind == all => inner.extend(operands),
                other => inner.push(other),
            }
        }
        match <[Self; 1]>::try_from(inner) {
            Ok([only]) => only,
            Err(inner) => Self::Several(all, inner),
        }
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::One(one) => text.push_str(one),
            Self::Several(all, operands) => {
                for (place, operand) in operands.iter().enumerate() {
                    if place > 0 {
                        text.push_str(if *all { " && " } else { " || " });
                    }
                    let parenthesized = matches!(operand, Self::Several(..));
                    text.push_str(if parenthesized { "(" } else { "" });
                    operand.write(text);
                    text.push_str(if parenthesized { ")" } else { "" });
                }
            }
        }
    }
}

fn flat(node: &Node, terms: &[Term]) -> Flat {
    match node {
        Node::All(operands) => Flat::several(true, operands.iter().map(|node| flat(node, terms))),
        Node::Any(operands) => Flat::several(false, operands.iter().map(|node| flat(node, terms))),
        Node::Constant(value) => Flat::One(u8::from(*value).to_string()),
        Node::Term(number) => match terms.get(*number).map(|term| &term.condition) {
            Some(Condition::Compare(comparison)) => flat_comparison(comparison),
            Some(Condition::Resident { port, negated, .. }) => Flat::One(format!(
                "{}is_chassis_resident({})",
                if *negated { "!" } else { "" },
                quoted(port)
            )),
            None => Flat::One(String::new()),
        },
    }
}

fn flat_comparison(comparison: &Comparison) -> Flat {
    let texts: Vec<_> = match &comparison.constants {
        Constants::Numbers(numbers) => numbers
            .iter()
            .flat_map(Numbers::constants)
            .map(|constant| {
                let (mask, value) = comparison.subfield.bits(constant);
                Flat::One(number(comparison, mask, value))
            })
            .collect(),
        Constants::Names(names) => names
            .iter()
            .flat_map(Name::names)
            .map(|name| {
                let symbol = comparison.subfield.symbol.name;
                let sign = comparison.relation.sign();
                Flat::One(format!("{symbol} {sign} {}", quoted(name)))
            })
            .collect(),
    };
    if texts.is_empty() {
        return Flat::One(u8::from(comparison.every).to_string());
    }
    Flat::several(comparison.every, texts)
}

fn number(comparison: &Comparison, mask: u128, value: u128) -> String {
    let relation = comparison.relation;
    let symbol = comparison.subfield.symbol;
    let (low, count) = run_of_ones(mask);
    if count == 1 && matches!(relation, Relation::Eq | Relation::Ne) {
        let positive = (value != 0) == (relation == Relation::Eq);
        let bit = if symbol.width > 1 {
            format!("[{low}]")
        } else {
            String::new()
        };
        return format!("{}{}{bit}", if positive { "" } else { "!" }, symbol.name);
    }
    let mut text = symbol.name.to_owned();
    // Writing to a string cannot fail.
    let _ = match count {
        0 => Ok(()),
        1 if symbol.width > 1 => write!(text, "[{low}]"),
        count if count < symbol.width => write!(text, "[{low}..{}]", low + count - 1),
        _ => Ok(()),
    };
    let _ = write!(text, " {} ", relation.sign());
    if count > 0 {
        text += &hex(value >> low);
    } else {
        text += &format!("{}/{}", hex(value), hex(mask));
    }
    text
}

/// Where the ones begin and how many there are, if they are one run: else nothing.
fn run_of_ones(mask: u128) -> (u32, u32) {
    let low = mask.trailing_zeros();
    let count = mask.checked_shr(low).unwrap_or(0).trailing_ones();
    if count == mask.count_ones() && count > 0 {
        (low, count)
    } else {
        (0, 0)
    }
}

fn hex(value: u128) -> String {
    if value == 0 {
        "0".into()
    } else {
        format!("{value:#x}")
    }
}

/// A string of JSON, escaped where Open vSwitch does.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '.. => out.push(character),
            _ => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
        }
    }
    out.push('"');
    out
}
