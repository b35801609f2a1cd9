use std::ops::Range;
use std::sync::Arc;

use super::constant::{AddressSet, Constant, Format, PortGroup, ones};
use super::error::{Fault, MatchError};
use super::lex::{Kind, Lexer, Token};
use super::names::Names;
use super::symbols::{Base, Level, Symbol, symbol};

/// A match with its negations carried down to the terms, as OVN has it from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Constant(bool),
    /// By its number.
    Term(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Compare(Comparison),
    /// Of `is_chassis_resident("port")`: whether it holds.
    Resident {
        port: String,
        negated: bool,
        holds: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    pub subfield: Subfield,
    /// Negations around it are in it.
    pub relation: Relation,
    /// Whether it must hold with each of the constants: else with one of them.
    pub every: bool,
    pub constants: Constants,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subfield {
    pub symbol: &'static Symbol,
    /// The first bit, and how many: of a name none.
    pub low: u32,
    pub count: u32,
}

impl Subfield {
    /// The bits of the symbol that a constant stands for: (mask, value). Bits of the constant that the subfield has not are lost, as in OVN.
    pub fn bits(&self, constant: &Constant) -> (u128, u128) {
        let all = ones(self.count);
        let mask = constant.mask.unwrap_or(all) & all;
        (mask << self.low, (constant.value & mask) << self.low)
    }
}

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Relation {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Relation {
    fn of(kind: &Kind) -> Option<Self> {
        Some(match kind {
            Kind::Eq => Self::Eq,
            Kind::Ne => Self::Ne,
            Kind::Lt => Self::Lt,
            Kind::Le => Self::Le,
            Kind::Gt => Self::Gt,
            Kind::Ge => Self::Ge,
            _ => return None,
        })
    }

    /// With its sides exchanged.
    fn turned(self) -> Self {
        match self {
            Self::Eq | Self::Ne => self,
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
        }
    }

    /// What holds where it does not.
    pub fn negated(self) -> Self {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Lt => Self::Ge,
            Self::Ge => Self::Lt,
            Self::Le => Self::Gt,
            Self::Gt => Self::Le,
        }
    }

    fn is_equality(self) -> bool {
        matches!(self, Self::Eq | Self::Ne)
    }

    fn is_less(self) -> bool {
        matches!(self, Self::Lt | Self::Le)
    }

    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }

    /// Whether it holds between two numbers.
    pub fn holds(self, left: u128, right: u128) -> bool {
        match self {
            Self::Eq => left == right,
            Self::Ne => left != right,
            Self::Lt => left < right,
            Self::Le => left <= right,
            Self::Gt => left > right,
            Self::Ge => left >= right,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Constants {
    Numbers(Vec<Numbers>),
    Names(Vec<Name>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    One(Constant),
    Set(Arc<AddressSet>),
}

impl Numbers {
    pub fn constants(&self) -> &[Constant] {
        match self {
            Self::One(constant) => std::slice::from_ref(constant),
            Self::Set(set) => &set.members,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    One(String),
    Group(Arc<PortGroup>),
}

impl Name {
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Group(group) => &group.members,
        }
    }
}

/// A comparison in a match, or a question of another kind (`is_chassis_resident`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    pub(super) span: Range<usize>,
    pub(super) condition: Condition,
}

impl Term {
    /// Its place in the text, in bytes; a `!` before it is outside.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Its piece of the text that the match was parsed from.
    pub fn text<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.span()).unwrap_or_default()
    }

    /// The symbol that it compares, such as `tcp.dst`; `None` if it compares nothing.
    pub fn symbol(&self) -> Option<&'static str> {
        match &self.condition {
            Condition::Compare(comparison) => Some(comparison.subfield.symbol.name),
            Condition::Resident { .. } => None,
        }
    }
}

pub(super) fn parse(text: &str, names: &impl Names) -> Result<(Node, Vec<Term>), MatchError> {
    let mut lexer = Lexer::new(text);
    let token = lexer.token();
    let mut parser = Parser {
        text,
        lexer,
        token,
        end: 0,
        names,
        negated: false,
        depth: 0,
        terms: Vec::new(),
    };
    let node = parser.expression()?;
    if parser.token.kind != Kind::End {
        return Err(parser.expecting("end of input"));
    }
    Ok((node, parser.terms))
}

/// How deep OVN lets parentheses nest.
const DEPTH: u32 = 100;

struct Parser<'a, N> {
    text: &'a str,
    lexer: Lexer<'a>,
    token: Token,
    /// Where the token before this one ends.
    end: usize,
    names: &'a N,
    /// Inside an odd number of `!`.
    negated: bool,
    depth: u32,
    terms: Vec<Term>,
}

/// One side of a comparison.
struct Side {
    constants: Constants,
    in_curlies: bool,
    /// As they stand there, sets counted by their members.
    count: usize,
}

type Parsed<T> = Result<T, MatchError>;

impl<N: Names> Parser<'_, N> {
    fn expression(&mut self) -> Parsed<Node> {
        let first = self.negation()?;
        let operator = self.token.kind.clone();
        if !matches!(operator, Kind::And | Kind::Or) {
            return Ok(first);
        }
        let all = (operator == Kind::And) != self.negated;
        let mut operands = Vec::new();
        join(&mut operands, first, all);
        while self.accept(&operator) {
            let operand = self.negation()?;
            join(&mut operands, operand, all);
        }
        if matches!(self.token.kind, Kind::And | Kind::Or) {
            return Err(self.fault(Fault::Mixed, self.token.span.clone()));
        }
        Ok(if all {
            Node::All(operands)
        } else {
            Node::Any(operands)
        })
    }

    fn negation(&mut self) -> Parsed<Node> {
        let start = self.token.span.start;
        if !self.accept(&Kind::Not) {
            return Ok(self.primary()?.0);
        }
        self.negated = !self.negated;
        let operand = self.primary();
        self.negated = !self.negated;
        let (node, atomic) = operand?;
        if atomic {
            Ok(node)
        } else {
            Err(self.fault(Fault::Not, start..self.end))
        }
    }

    /// And whether `!` may stand before it.
    fn primary(&mut self) -> Parsed<(Node, bool)> {
        match self.token.kind {
            Kind::OpenParen => Ok((self.parenthesized()?, true)),
            Kind::Template => Err(self.fault(Fault::Template, self.token.span.clone())),
            Kind::Id if self.lexer.peek() == Kind::OpenParen => Ok((self.function()?, true)),
            Kind::Id => self.field_first(),
            _ => self.constant_first(),
        }
    }

    fn parenthesized(&mut self) -> Parsed<Node> {
        let open = self.token.span.clone();
        self.advance();
        if self.depth >= DEPTH {
            return Err(self.fault(Fault::Depth, open));
        }
        self.depth += 1;
        let node = self.expression()?;
        self.depth -= 1;
        if !self.accept(&Kind::CloseParen) {
            return Err(self.expecting("`)'"));
        }
        Ok(node)
    }

    fn function(&mut self) -> Parsed<Node> {
        let start = self.token.span.start;
        if self.word() != "is_chassis_resident" {
            return Err(self.fault(Fault::Function, self.token.span.clone()));
        }
        self.advance();
        self.advance();
        let Kind::String(port) = self.token.kind.clone() else {
            return Err(self.expecting("string"));
        };
        self.advance();
        if !self.accept(&Kind::CloseParen) {
            return Err(self.expecting("`)'"));
        }
        let condition = Condition::Resident {
            holds: self.names.is_resident(&port) != self.negated,
            negated: self.negated,
            port,
        };
        Ok(self.term(start, condition))
    }

    fn field_first(&mut self) -> Parsed<(Node, bool)> {
        let start = self.token.span.start;
        let subfield = self.subfield()?;
        let Some(relation) = Relation::of(&self.token.kind) else {
            if subfield.count == 0 || self.token.kind == Kind::Equals {
                return Err(self.expecting("relational operator"));
            }
            if subfield.count > 1 && !self.negated {
                return Err(self.fault(Fault::Bare, start..self.end));
            }
            let zero = Side {
                constants: Constants::Numbers(vec![Numbers::One(Constant::new(
                    0,
                    Format::Hexadecimal,
                ))]),
                in_curlies: false,
                count: 1,
            };
            let node = self.comparison(start, subfield, Relation::Ne, zero)?;
            return Ok((node, true));
        };
        self.advance();
        let side = self.side()?;
        Ok((self.comparison(start, subfield, relation, side)?, false))
    }

    fn constant_first(&mut self) -> Parsed<(Node, bool)> {
        let start = self.token.span.start;
        let left = self.side()?;
        let Some(first) = Relation::of(&self.token.kind) else {
            if let (false, Constants::Numbers(numbers), 1) =
                (left.in_curlies, &left.constants, left.count)
                && let Some(Constant {
                    value: value @ (0 | 1),
                    mask: None,
                    format: Format::Decimal,
                    ..
                }) = numbers.iter().flat_map(Numbers::constants).next()
            {
                return Ok((Node::Constant((*value == 1) != self.negated), true));
            }
            return Err(self.expecting("relational operator"));
        };
        self.advance();
        let subfield = self.subfield()?;
        let Some(second) = Relation::of(&self.token.kind) else {
            let node = self.comparison(start, subfield, first.turned(), left)?;
            return Ok((node, false));
        };
        self.advance();
        let right = self.side()?;
        if first.is_equality() || second.is_equality() || first.is_less() != second.is_less() {
            return Err(self.fault(Fault::Range, start..self.end));
        }
        let low = self.comparison(start, subfield, first.turned(), left)?;
        let high = self.comparison(start, subfield, second, right)?;
        let both = vec![low, high];
        let node = if self.negated {
            Node::Any(both)
        } else {
            Node::All(both)
        };
        Ok((node, false))
    }

    fn subfield(&mut self) -> Parsed<Subfield> {
        let start = self.token.span.start;
        let known = (self.token.kind == Kind::Id)
            .then(|| symbol(self.word()))
            .flatten();
        let Some(symbol) = known else {
            return Err(self.expecting("field name"));
        };
        self.advance();
        if !self.accept(&Kind::OpenSquare) {
            return Ok(Subfield {
                symbol,
                low: 0,
                count: symbol.width,
            });
        }
        let field = symbol.name;
        if symbol.width == 0 {
            return Err(self.fault(Fault::SubfieldOfString(field), start..self.end));
        }
        let low = self.small_integer()?;
        let high = if self.accept(&Kind::Ellipsis) {
            self.small_integer()?
        } else {
            low
        };
        if !self.accept(&Kind::CloseSquare) {
            return Err(self.expecting("`]'"));
        }
        let width = symbol.width;
        let fault = if low > high {
            Fault::BitRange { low, high }
        } else if high >= width {
            Fault::Bits {
                low,
                high,
                width,
                field,
            }
        } else if symbol.level == Level::Nominal && (low, high) != (0, width - 1) {
            Fault::SubfieldOfNominal(field)
        } else {
            return Ok(Subfield {
                symbol,
                low,
                count: high - low + 1,
            });
        };
        Err(self.fault(fault, start..self.end))
    }

    fn small_integer(&mut self) -> Parsed<u32> {
        if let Kind::Integer(Constant {
            value,
            mask: None,
            format: Format::Decimal,
            ..
        }) = self.token.kind
            && let Some(small) = i32::try_from(value)
                .ok()
                .and_then(|n| u32::try_from(n).ok())
        {
            self.advance();
            return Ok(small);
        }
        Err(self.expecting("small integer"))
    }

    /// A constant, or several in curly brackets.
    fn side(&mut self) -> Parsed<Side> {
        let mut side = Side {
            constants: Constants::Numbers(Vec::new()),
            in_curlies: self.accept(&Kind::OpenCurly),
            count: 0,
        };
        self.constant(&mut side)?;
        if side.in_curlies {
            self.accept(&Kind::Comma);
            while !self.accept(&Kind::CloseCurly) {
                self.constant(&mut side)?;
                self.accept(&Kind::Comma);
            }
        }
        Ok(side)
    }

    fn constant(&mut self, side: &mut Side) -> Parsed<()> {
        match self.token.kind.clone() {
            Kind::Template => {
                return Err(self.fault(Fault::Template, self.token.span.clone()));
            }
            Kind::String(name) => {
                self.names_of(side)?.push(Name::One(name));
                side.count += 1;
            }
            Kind::Integer(constant) => {
                self.numbers_of(side)?.push(Numbers::One(constant));
                side.count += 1;
            }
            Kind::AddressSet => {
                let Some(set) = self.names.address_set(self.reference()) else {
                    return Err(self.expecting("address set name"));
                };
                let members = set.len();
                self.numbers_of(side)?.push(Numbers::Set(set));
                side.count += members;
            }
            Kind::PortGroup => {
                let Some(group) = self.names.port_group(self.reference()) else {
                    return Err(self.expecting("port group name"));
                };
                let members = group.members.len();
                self.names_of(side)?.push(Name::Group(group));
                side.count += members;
            }
            _ => return Err(self.expecting("constant")),
        }
        self.advance();
        Ok(())
    }

    /// What is empty so far has no type yet.
    fn numbers_of<'s>(&self, side: &'s mut Side) -> Parsed<&'s mut Vec<Numbers>> {
        if side.count == 0 && matches!(side.constants, Constants::Names(_)) {
            side.constants = Constants::Numbers(Vec::new());
        }
        match &mut side.constants {
            Constants::Numbers(numbers) => Ok(numbers),
            Constants::Names(_) => Err(self.expecting("string")),
        }
    }

    fn names_of<'s>(&self, side: &'s mut Side) -> Parsed<&'s mut Vec<Name>> {
        if side.count == 0 && matches!(side.constants, Constants::Numbers(_)) {
            side.constants = Constants::Names(Vec::new());
        }
        match &mut side.constants {
            Constants::Names(names) => Ok(names),
            Constants::Numbers(_) => Err(self.expecting("integer")),
        }
    }

    fn comparison(
        &mut self,
        start: usize,
        subfield: Subfield,
        relation: Relation,
        side: Side,
    ) -> Parsed<Node> {
        if let Some(fault) = self.mistake(&subfield, relation, &side) {
            return Err(self.fault(fault, start..self.end));
        }
        let condition = Condition::Compare(Comparison {
            subfield,
            relation: if self.negated {
                relation.negated()
            } else {
                relation
            },
            every: (relation != Relation::Eq) != self.negated,
            constants: side.constants,
        });
        Ok(self.term(start, condition))
    }

    /// What OVN has against a comparison, in the order in which it looks.
    fn mistake(&self, subfield: &Subfield, relation: Relation, side: &Side) -> Option<Fault> {
        let symbol = subfield.symbol;
        let field = symbol.name;
        let numbers = match &side.constants {
            Constants::Numbers(_) if symbol.width == 0 => return Some(Fault::NotAnInteger(field)),
            Constants::Names(_) if symbol.width > 0 => return Some(Fault::NotAString(field)),
            Constants::Numbers(numbers) => numbers.as_slice(),
            Constants::Names(_) => &[],
        };
        let mut constants = numbers.iter().flat_map(Numbers::constants);
        if let Some(wide) = constants
            .clone()
            .find(|constant| constant.width > symbol.width)
        {
            return Some(Fault::Width {
                constant: wide.width,
                width: symbol.width,
                field,
            });
        }
        if !relation.is_equality() {
            if side.in_curlies {
                return Some(Fault::OrderOfSet);
            }
            if symbol.level != Level::Ordinal {
                let level = symbol.level.name();
                return Some(Fault::OrderOf { level, field });
            }
            let Some(first) = constants.clone().next() else {
                return Some(Fault::OrderOfEmpty);
            };
            if first.mask.is_some() {
                return Some(Fault::OrderOfMasked);
            }
        }
        if symbol.level != Level::Nominal {
            return None;
        }
        if let Base::Predicate(_) = symbol.base {
            let turned = (relation == Relation::Ne) != self.negated;
            return constants
                .any(|constant| (constant.value & 1 == 1) == turned)
                .then_some(Fault::NegatedPredicate(field));
        }
        ((relation == Relation::Eq) == self.negated).then_some(Fault::NegatedNominal(field))
    }

    fn term(&mut self, start: usize, condition: Condition) -> Node {
        self.terms.push(Term {
            span: start..self.end,
            condition,
        });
        Node::Term(self.terms.len() - 1)
    }

    fn advance(&mut self) {
        self.end = self.token.span.end;
        self.token = self.lexer.token();
    }

    fn accept(&mut self, kind: &Kind) -> bool {
        let there = self.token.kind == *kind;
        if there {
            self.advance();
        }
        there
    }

    fn word(&self) -> &str {
        self.text.get(self.token.span.clone()).unwrap_or_default()
    }

    /// The name after `$` or `@`.
    fn reference(&self) -> &str {
        self.word().get(1..).unwrap_or_default()
    }

    fn expecting(&self, expecting: &'static str) -> MatchError {
        let found = (self.token.kind != Kind::End).then(|| self.word().into());
        self.fault(Fault::Syntax { found, expecting }, self.token.span.clone())
    }

    /// A fault of the text comes before all that the grammar has to say from there on.
    fn fault(&self, fault: Fault, span: Range<usize>) -> MatchError {
        match &self.token.kind {
            Kind::Fault(fault) => MatchError::new(fault.clone(), self.token.span.clone()),
            _ => MatchError::new(fault, span),
        }
    }
}

/// Adds an operand to those of `&&` or `||`; one of the same kind gives its own.
fn join(operands: &mut Vec<Node>, operand: Node, all: bool) {
    match operand {
        Node::All(inner) if all => operands.extend(inner),
        Node::Any(inner) if !all => operands.extend(inner),
        other => operands.push(other),
    }
}
