use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::constant::{PortGroup, Values};
use super::names::Sets;
use super::packet::{Field, Glimpse, Packet};
use super::parse::{Comparison, Condition, Constants, Name, Node, Numbers, Relation, Term, parse};
use super::symbols::{Base, SYMBOLS};

/// A match made ready to be asked of many packets: no name is looked up and nothing allocated any more.
#[derive(Clone, Debug)]
pub struct Compiled(Op);

/// A match taken apart, with all that OVN adds to its comparisons.
#[derive(Clone, Debug)]
pub enum Part<'a> {
    /// All of these must hold.
    All(Vec<Part<'a>>),
    /// One of these must hold.
    Any(Vec<Part<'a>>),
    /// This must not hold.
    Not(Box<Part<'a>>),
    /// Holds always, or never.
    Constant(bool),
    /// The field's bits under the mask, compared with a value.
    Number {
        /// The field.
        field: Field,
        /// Its bits that count.
        mask: u128,
        /// How they are compared.
        relation: Relation,
        /// With what.
        value: u128,
    },
    /// The field's value is among these, or is not. Matches that name one address set share the values.
    Among {
        /// The field.
        field: Field,
        /// The values.
        values: &'a Arc<Values>,
        /// Whether it must be among them.
        sought: bool,
    },
    /// The port is one of these. The empty name is that of no port.
    Port {
        /// Whether the port by which the packet came in is meant; else that by which it goes out.
        inport: bool,
        /// By name.
        names: &'a [String],
        /// By group.
        groups: &'a [Arc<PortGroup>],
    },
}

/// A term that kept a match from holding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The term's place in [`super::Match::terms`].
    pub term: usize,
    /// Why it fails.
    pub reason: Reason,
}

/// Why a term fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The packet has another value than the term asks for.
    Value,
    /// The packet is not of the kind that has the field: this, which OVN adds to the comparison, does not hold. `tcp` for `tcp.dst == 80`.
    Prerequisite(&'static str),
}

impl Compiled {
    pub(super) fn new(node: &Node, terms: &[Term]) -> Self {
        Self(lower(node, terms, &EXPANSIONS))
    }

    /// Whether the match holds for a packet.
    pub fn matches(&self, packet: &impl Packet) -> bool {
        self.0.holds(packet)
    }

    /// Whether the match holds for a packet of which not everything is known, or with sets of which not everything is known
    /// ([`super::AddressSet::unknown`], [`PortGroup::unknown`]); `None` where that leaves it open. A yes or no is one whatever the rest is;
    /// `None` may be said of what could be told with more thought (`tcp.src == 1 || tcp.src != 1`).
    pub fn judge(&self, glimpse: &impl Glimpse) -> Option<bool> {
        self.0.judge(glimpse)
    }

    /// What is asked, taken apart: for those who want to ask it of many matches at once.
    pub fn parts(&self) -> Part<'_> {
        self.0.parts()
    }

    /// The terms that kept the match from holding: of terms joined by `&&` those that fail, of terms joined by `||` all. Empty if it holds,
    /// or if nothing could make it hold (`0`).
    pub fn failures(&self, packet: &impl Packet) -> Vec<Failure> {
        let mut failures = Vec::new();
        self.0.collect(packet, &mut failures);
        failures
    }
}

#[derive(Clone, Debug)]
enum Op {
    All(Box<[Op]>),
    Any(Box<[Op]>),
    Constant(bool),
    Leaf(Box<Leaf>),
}

#[derive(Clone, Debug)]
struct Leaf {
    term: usize,
    prerequisite: Option<(&'static str, Arc<Op>)>,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Constant(bool),
    Predicate {
        expansion: Arc<Op>,
        positive: bool,
    },
    One {
        field: Field,
        mask: u128,
        relation: Relation,
        value: u128,
    },
    /// Whether the field's value is among these, or is not.
    Among {
        field: Field,
        values: Arc<Values>,
        sought: bool,
    },
    /// An order with each member of an address set, or with one of them.
    Several {
        field: Field,
        relation: Relation,
        every: bool,
        values: Box<[(u128, u128)]>,
    },
    Port {
        of: Direction,
        names: Box<[String]>,
        groups: Box<[Arc<PortGroup>]>,
    },
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    In,
    Out,
}

impl Op {
    fn holds(&self, packet: &impl Packet) -> bool {
        match self {
            Self::All(operands) => operands.iter().all(|op| op.holds(packet)),
            Self::Any(operands) => operands.iter().any(|op| op.holds(packet)),
            Self::Constant(value) => *value,
            Self::Leaf(leaf) => {
                leaf.prerequisite
                    .as_ref()
                    .is_none_or(|(_, needed)| needed.holds(packet))
                    && leaf.test.holds(packet)
            }
        }
    }

    fn judge(&self, glimpse: &impl Glimpse) -> Option<bool> {
        match self {
            Self::All(operands) => all(operands.iter().map(|op| op.judge(glimpse))),
            Self::Any(operands) => any(operands.iter().map(|op| op.judge(glimpse))),
            Self::Constant(value) => Some(*value),
            Self::Leaf(leaf) => {
                let needed = leaf.prerequisite.as_ref();
                let needed = needed.map_or(Some(true), |(_, needed)| needed.judge(glimpse));
                match needed {
                    Some(false) => needed,
                    _ => all([needed, leaf.test.judge(glimpse)]),
                }
            }
        }
    }

    fn parts(&self) -> Part<'_> {
        match self {
            Self::All(operands) => Part::All(operands.iter().map(Op::parts).collect()),
            Self::Any(operands) => Part::Any(operands.iter().map(Op::parts).collect()),
            Self::Constant(value) => Part::Constant(*value),
            Self::Leaf(leaf) => match &leaf.prerequisite {
                Some((_, needed)) => Part::All(vec![needed.parts(), leaf.test.parts()]),
                None => leaf.test.parts(),
            },
        }
    }

    fn collect(&self, packet: &impl Packet, failures: &mut Vec<Failure>) {
        match self {
            Self::All(operands) => operands
                .iter()
                .for_each(|operand| operand.collect(packet, failures)),
            Self::Any(operands) if !self.holds(packet) => operands
                .iter()
                .for_each(|operand| operand.collect(packet, failures)),
            Self::Leaf(leaf) => {
                let reason = match &leaf.prerequisite {
                    Some((text, needed)) if !needed.holds(packet) => Reason::Prerequisite(text),
                    _ if !leaf.test.holds(packet) => Reason::Value,
                    _ => return,
                };
                let term = leaf.term;
                failures.push(Failure { term, reason });
            }
            Self::Any(_) | Self::Constant(_) => {}
        }
    }
}

impl Test {
    fn parts(&self) -> Part<'_> {
        match self {
            Self::Constant(value) => Part::Constant(*value),
            Self::Predicate {
                expansion,
                positive,
            } => match positive {
                true => expansion.parts(),
                false => Part::Not(Box::new(expansion.parts())),
            },
            Self::One {
                field,
                mask,
                relation,
                value,
            } => Part::Number {
                field: *field,
                mask: *mask,
                relation: *relation,
                value: *value,
            },
            Self::Among {
                field,
                values,
                sought,
            } => Part::Among {
                field: *field,
                values,
                sought: *sought,
            },
            Self::Several {
                field,
                relation,
                every,
                values,
            } => {
                let each = values.iter().map(|(mask, value)| Part::Number {
                    field: *field,
                    mask: *mask,
                    relation: *relation,
                    value: *value,
                });
                match every {
                    true => Part::All(each.collect()),
                    false => Part::Any(each.collect()),
                }
            }
            Self::Port { of, names, groups } => Part::Port {
                inport: matches!(of, Direction::In),
                names,
                groups,
            },
        }
    }

    fn holds(&self, packet: &impl Packet) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::Predicate {
                expansion,
                positive,
            } => expansion.holds(packet) == *positive,
            Self::One {
                field,
                mask,
                relation,
                value,
            } => relation.holds(packet.number(*field) & mask, *value),
            Self::Among {
                field,
                values,
                sought,
            } => values.contains(packet.number(*field)) == *sought,
            Self::Several {
                field,
                relation,
                every,
                values,
            } => {
                let number = packet.number(*field);
                let holds = |(mask, value): &(u128, u128)| relation.holds(number & mask, *value);
                if *every {
                    values.iter().all(holds)
                } else {
                    values.iter().any(holds)
                }
            }
            Self::Port { of, names, groups } => {
                let port = match of {
                    Direction::In => packet.inport(),
                    Direction::Out => packet.outport(),
                };
                names.iter().any(|name| name == port)
                    || groups.iter().any(|group| group.contains(port))
            }
        }
    }
}

impl Test {
    fn judge(&self, glimpse: &impl Glimpse) -> Option<bool> {
        match self {
            Self::Constant(value) => Some(*value),
            Self::Predicate {
                expansion,
                positive,
            } => Some(expansion.judge(glimpse)? == *positive),
            Self::One {
                field,
                mask,
                relation,
                value,
            } => compared(glimpse.bits(*field), *mask, *relation, *value),
            Self::Among {
                field,
                values,
                sought,
            } => {
                let (number, known) = glimpse.bits(*field);
                Some(values.may_contain(number, known, field.width())? == *sought)
            }
            Self::Several {
                field,
                relation,
                every,
                values,
            } => {
                let bits = glimpse.bits(*field);
                let each = values
                    .iter()
                    .map(|(mask, value)| compared(bits, *mask, *relation, *value));
                if *every { all(each) } else { any(each) }
            }
            Self::Port { of, names, groups } => {
                let ports = match of {
                    Direction::In => glimpse.inports(),
                    Direction::Out => glimpse.outports(),
                };
                let Some(ports) = ports else {
                    let mut groups = groups.iter();
                    let nobody = names.is_empty() && groups.all(|group| group.is_surely_empty());
                    return nobody.then_some(false);
                };
                let among = |port: &str| {
                    any([
                        Some(names.iter().any(|name| name == port)),
                        any(groups.iter().map(|group| group.may_contain(port))),
                    ])
                };
                let (first, rest) = ports.split_first()?;
                let found = among(first);
                let alike = rest.iter().all(|port| among(port) == found);
                found.filter(|_| alike)
            }
        }
    }
}

/// Compares bits of a field of which some are known.
fn compared(
    (number, known): (u128, u128),
    mask: u128,
    relation: Relation,
    value: u128,
) -> Option<bool> {
    if mask & !known == 0 {
        return Some(relation.holds(number & mask, value));
    }
    let differs = (number ^ value) & mask & known != 0;
    match relation {
        Relation::Eq if differs => Some(false),
        Relation::Ne if differs => Some(true),
        _ => None,
    }
}

fn all(operands: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut whole = Some(true);
    for operand in operands {
        match operand {
            Some(false) => return operand,
            Some(true) => {}
            None => whole = None,
        }
    }
    whole
}

fn any(operands: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    Some(!all(operands.into_iter().map(|operand| Some(!operand?)))?)
}

/// What predicates and prerequisites mean, by their text.
type Expansions = HashMap<&'static str, Arc<Op>>;

static EXPANSIONS: LazyLock<Expansions> = LazyLock::new(|| {
    let mut expansions = Expansions::new();
    // Each symbol uses only those before it. That all of them parse is for a test to see.
    for symbol in SYMBOLS {
        let predicate = match symbol.base {
            Base::Predicate(expansion) => expansion,
            _ => "",
        };
        for text in [symbol.prerequisite, predicate] {
            if let Ok((node, terms)) = parse(text, &Sets::default()) {
                let op = Arc::new(lower(&node, &terms, &expansions));
                expansions.entry(text).or_insert(op);
            }
        }
    }
    expansions
});

fn lower(node: &Node, terms: &[Term], expansions: &Expansions) -> Op {
    let several = |operands: &[Node]| {
        operands
            .iter()
            .map(|node| lower(node, terms, expansions))
            .collect()
    };
    match node {
        Node::All(operands) => Op::All(several(operands)),
        Node::Any(operands) => Op::Any(several(operands)),
        Node::Constant(value) => Op::Constant(*value),
        Node::Term(term) => {
            let (prerequisite, test) = match terms.get(*term).map(|term| &term.condition) {
                Some(Condition::Compare(comparison)) => compare(comparison, expansions),
                Some(Condition::Resident { holds, .. }) => (None, Test::Constant(*holds)),
                None => (None, Test::Constant(false)),
            };
            Op::Leaf(Box::new(Leaf {
                term: *term,
                prerequisite,
                test,
            }))
        }
    }
}

fn compare(
    comparison: &Comparison,
    expansions: &Expansions,
) -> (Option<(&'static str, Arc<Op>)>, Test) {
    let symbol = comparison.subfield.symbol;
    let test = match &comparison.constants {
        Constants::Names(names) => port(names, matches!(symbol.base, Base::Inport)),
        Constants::Numbers(numbers) => {
            // Nothing to compare with: OVN forgets the field, and what it asks for.
            let nothing = numbers.iter().all(|numbers| numbers.constants().is_empty());
            match symbol.base {
                // So it does not matter of what kind the packet is, if there is nothing.
                Base::Bits(field, _) if nothing && others(numbers) && comparison.every => {
                    let test = Test::Among {
                        field,
                        values: Arc::new(Values::default().and_others(true)),
                        sought: false,
                    };
                    return (None, test);
                }
                _ if nothing && !others(numbers) => {
                    return (None, Test::Constant(comparison.every));
                }
                _ => {}
            }
            match symbol.base {
                Base::Bits(field, low) => bits(comparison, numbers, field, low),
                Base::Predicate(text) => predicate(comparison, numbers, expansions.get(text)),
                Base::Inport | Base::Outport => Test::Constant(false),
            }
        }
    };
    let prerequisite = expansions
        .get(symbol.prerequisite)
        .map(|needed| (symbol.prerequisite, needed.clone()));
    (prerequisite, test)
}

fn bits(comparison: &Comparison, numbers: &[Numbers], field: Field, low: u32) -> Test {
    let relation = comparison.relation;
    let equality = matches!(relation, Relation::Eq | Relation::Ne);
    // The bits that a subfield has are those of the field that lie where it does.
    let whole = comparison.subfield.count == field.width();
    if let ([Numbers::Set(set)], true, true) = (numbers, equality, whole) {
        return Test::Among {
            field,
            values: set.values.clone(),
            sought: relation == Relation::Eq,
        };
    }
    let values: Box<[_]> = numbers
        .iter()
        .flat_map(Numbers::constants)
        .map(|constant| comparison.subfield.bits(constant))
        .map(|(mask, value)| (mask << low, value << low))
        .collect();
    match *values {
        [(mask, value)] if !others(numbers) => Test::One {
            field,
            mask,
            relation,
            value,
        },
        _ if equality => Test::Among {
            field,
            values: Arc::new(Values::new(values).and_others(others(numbers))),
            sought: relation == Relation::Eq,
        },
        _ => Test::Several {
            field,
            relation,
            every: comparison.every,
            values,
        },
    }
}

/// Whether there may be numbers that are not known.
fn others(numbers: &[Numbers]) -> bool {
    numbers
        .iter()
        .any(|numbers| matches!(numbers, Numbers::Set(set) if set.values.has_others()))
}

/// A predicate compared with numbers is the predicate, or what contradicts it.
fn predicate(comparison: &Comparison, numbers: &[Numbers], expansion: Option<&Arc<Op>>) -> Test {
    let asked: Vec<_> = numbers
        .iter()
        .flat_map(Numbers::constants)
        .map(|constant| (constant.value & 1 == 1) == (comparison.relation == Relation::Eq))
        .collect();
    let both = asked.contains(&true) && asked.contains(&false);
    match expansion {
        Some(expansion) if !both => Test::Predicate {
            expansion: expansion.clone(),
            positive: asked.contains(&true),
        },
        _ => Test::Constant(!comparison.every),
    }
}

fn port(names: &[Name], inport: bool) -> Test {
    let mut ports = Vec::new();
    let mut groups = Vec::new();
    for name in names {
        match name {
            // The port that is none.
            Name::One(name) if name == "none" => ports.push(String::new()),
            Name::One(name) => ports.push(name.clone()),
            Name::Group(group) => groups.push(group.clone()),
        }
    }
    Test::Port {
        of: if inport {
            Direction::In
        } else {
            Direction::Out
        },
        names: ports.into(),
        groups: groups.into(),
    }
}

/// Whether all that the symbols are made of could be understood.
#[cfg(test)]
pub(super) fn expands(text: &str) -> bool {
    EXPANSIONS.contains_key(text)
}
