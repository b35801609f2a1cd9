//! The actions of logical flows (ovn-sb(5), Logical_Flow, `actions`), as far as northd writes them in the ACL stages.

use std::fmt::{self, Display, Formatter};
use std::ops::Range;

use netverdict_ovn::expr::{self, Field};
use netverdict_types::Action as Verdict;

/// One action. It prints as northd writes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// `next;`
    Next,
    /// `next(pipeline=ingress,table=8);`
    Goto(Pipeline, u8),
    /// `/* drop */`, or `drop;`: the packet ends here. So it does where nothing says where it goes on.
    Drop,
    /// `reg0[7] = 1;`
    Set(Assignment),
    /// `outport <-> inport;`
    Exchange(Box<str>, Box<str>),
    /// `ct_commit { … };`, `ct_commit;`
    Commit(Box<[Assignment]>),
    /// `ct_commit_nat;`
    CommitNat,
    /// `ct_clear;`
    Clear,
    /// `log(…);`
    Log(Log),
    /// `sample(…);`
    Sample(Sample),
    /// `reject { … };`: what is done with the answer.
    Reject(Box<[Action]>),
}

/// One of a datapath's two pipelines.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(missing_docs)]
pub enum Pipeline {
    Ingress,
    Egress,
}

/// What is written where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Assignment {
    /// Where.
    pub to: Part,
    /// What.
    pub from: Source,
}

/// What an action reads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// A number.
    Number(u128),
    /// What stands there.
    Part(Part),
    /// `$cookie`: the first 32 bits of the logical flow's uuid, which only the southbound database knows.
    Cookie,
}

/// Bits of a field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// The field.
    pub field: Field,
    /// The lowest of the bits.
    pub low: u32,
    /// How many.
    pub width: u32,
    text: Box<str>,
}

/// A `log` action.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// The ACL's name.
    pub name: Option<Box<str>>,
    /// `alert` to `debug`.
    pub severity: Box<str>,
    /// What the ACL does; for all that allow, [`Verdict::Allow`].
    pub verdict: Verdict,
    /// The meter.
    pub meter: Option<Box<str>>,
}

/// A `sample` action.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sample {
    /// Share of packets, 65535 being all.
    pub probability: u16,
    /// `Flow_Sample_Collector_Set.id`.
    pub set: u32,
    /// The first byte of the observation domain.
    pub domain: u8,
    /// The observation point.
    pub point: Source,
}

/// Actions that we do not know, or that OVN would not take either.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{fault} at byte {} of the actions", span.start)]
pub struct ActionError {
    /// What is wrong.
    pub fault: ActionFault,
    /// Where, in bytes.
    pub span: Range<usize>,
}

/// What can be wrong with actions.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ActionFault {
    #[error("`{found}' where {expected} should be")]
    Expected {
        found: String,
        expected: &'static str,
    },
    #[error("the action `{0}', which the twin does not know,")]
    UnknownAction(String),
    #[error("`{0}', which is no field that an action can use,")]
    UnknownField(String),
    #[error("`{0}' is written, which such a flow does not,")]
    ReadOnly(String),
    #[error("bits that `{0}' does not have")]
    NoSuchBits(String),
    #[error("a number that does not fit into `{0}'")]
    TooWide(String),
    #[error("a comment or string without an end")]
    Open,
}

/// Parses the actions of a flow.
///
/// # Errors
/// The first thing that is not understood. A flow with such actions is one that ovn-controller would leave out.
pub fn parse(text: &str) -> Result<Box<[Action]>, ActionError> {
    let mut parser = Parser {
        text,
        at: 0,
        token: Token::End,
        span: 0..0,
    };
    parser.advance()?;
    parser.actions(&Token::End)
}

/// Prints actions as northd writes them, with one blank between two.
pub fn print(actions: &[Action]) -> String {
    let texts: Vec<String> = actions.iter().map(Action::to_string).collect();
    texts.join(" ")
}

impl Action {
    /// Whether OVN adds `ip` to the match of a flow that has this among its actions (actions.c, `add_prerequisite`).
    pub fn needs_ip(&self) -> bool {
        matches!(self, Self::Commit(_) | Self::CommitNat)
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Next => f.write_str("next;"),
            Self::Goto(pipeline, table) => {
                let name = match pipeline {
                    Pipeline::Ingress => "ingress",
                    Pipeline::Egress => "egress",
                };
                write!(f, "next(pipeline={name},table={table});")
            }
            Self::Drop => f.write_str("/* drop */"),
            Self::Set(assignment) => assignment.fmt(f),
            Self::Exchange(a, b) => write!(f, "{a} <-> {b};"),
            Self::Commit(assignments) if assignments.is_empty() => f.write_str("ct_commit;"),
            Self::Commit(assignments) => {
                f.write_str("ct_commit { ")?;
                for assignment in assignments {
                    write!(f, "{assignment} ")?;
                }
                f.write_str("};")
            }
            Self::CommitNat => f.write_str("ct_commit_nat;"),
            Self::Clear => f.write_str("ct_clear;"),
            Self::Log(log) => {
                let verdict = match log.verdict {
                    Verdict::Drop => "drop",
                    Verdict::Reject => "reject",
                    Verdict::Pass => "pass",
                    _ => "allow",
                };
                f.write_str("log(")?;
                if let Some(name) = &log.name {
                    write!(f, "name=\"{name}\", ")?;
                }
                write!(f, "severity={}, verdict={verdict}", log.severity)?;
                if let Some(meter) = &log.meter {
                    write!(f, ", meter=\"{meter}\"")?;
                }
                f.write_str(");")
            }
            Self::Sample(sample) => write!(
                f,
                "sample(probability={},collector_set={},obs_domain={},obs_point={});",
                sample.probability, sample.set, sample.domain, sample.point
            ),
            Self::Reject(answer) => write!(
                f,
                "reject {{ /* eth.dst <-> eth.src; ip.dst <-> ip.src; is implicit. */ {} }};",
                print(answer)
            ),
        }
    }
}

impl Display for Assignment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {};", self.to, self.from)
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Part(part) => part.fmt(f),
            Self::Cookie => f.write_str("$cookie"),
        }
    }
}

impl Display for Part {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Token {
    End,
    Id,
    Number(u128),
    String(Box<str>),
    /// `$cookie`
    Macro,
    Sign(&'static str),
    /// `/* drop */`, which northd writes where a packet ends.
    DropComment,
}

const SIGNS: [&str; 11] = ["<->", "..", "{", "}", "(", ")", "[", "]", "=", ";", ","];

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// The token in hand, and where it stands.
    token: Token,
    span: Range<usize>,
}

impl Parser<'_> {
    fn actions(&mut self, end: &Token) -> Result<Box<[Action]>, ActionError> {
        let mut actions = Vec::new();
        while self.token != *end {
            actions.push(self.action()?);
        }
        Ok(actions.into())
    }

    fn action(&mut self) -> Result<Action, ActionError> {
        match &self.token {
            Token::DropComment => {
                self.advance()?;
                return Ok(Action::Drop);
            }
            Token::Id => {}
            _ => return Err(self.expected("an action")),
        }
        let span = self.span.clone();
        let name = self.id("an action")?;
        let action = match name.as_str() {
            "next" if self.token == Token::Sign("(") => self.goto()?,
            "next" => Action::Next,
            "drop" => Action::Drop,
            "ct_commit" => Action::Commit(self.assignments()?),
            "ct_commit_nat" => Action::CommitNat,
            "ct_clear" => Action::Clear,
            "log" => Action::Log(self.log()?),
            "sample" => Action::Sample(self.sample()?),
            "reject" => {
                self.sign("{")?;
                let answer = self.actions(&Token::Sign("}"))?;
                self.advance()?;
                Action::Reject(answer)
            }
            _ if self.token == Token::Sign("<->") => {
                self.advance()?;
                Action::Exchange(name.into(), self.id("a field")?.into())
            }
            _ if matches!(self.token, Token::Sign("=" | "[")) => {
                let assignment = self.assignment(name, span.clone())?;
                let field = assignment.to.field;
                if !matches!(
                    field,
                    Field::XxReg0 | Field::XxReg1 | Field::XReg4 | Field::Flags
                ) {
                    return Err(read_only(&assignment, span));
                }
                Action::Set(assignment)
            }
            _ => return Err(fault(ActionFault::UnknownAction(name), span)),
        };
        self.sign(";")?;
        Ok(action)
    }

    fn goto(&mut self) -> Result<Action, ActionError> {
        self.sign("(")?;
        self.word("pipeline")?;
        self.sign("=")?;
        let pipeline = match self.id("a pipeline")?.as_str() {
            "ingress" => Pipeline::Ingress,
            "egress" => Pipeline::Egress,
            _ => return Err(self.expected("ingress or egress")),
        };
        self.sign(",")?;
        self.word("table")?;
        self.sign("=")?;
        let table = self.number("a table")?;
        self.sign(")")?;
        Ok(Action::Goto(pipeline, table))
    }

    fn assignments(&mut self) -> Result<Box<[Assignment]>, ActionError> {
        let mut assignments = Vec::new();
        if self.token == Token::Sign("{") {
            self.advance()?;
            while self.token != Token::Sign("}") {
                let span = self.span.clone();
                let name = self.id("a field")?;
                let assignment = self.assignment(name, span.clone())?;
                if !matches!(assignment.to.field, Field::CtMark | Field::CtLabel) {
                    return Err(read_only(&assignment, span));
                }
                assignments.push(assignment);
                self.sign(";")?;
            }
            self.advance()?;
        }
        Ok(assignments.into())
    }

    /// What follows the name of the field that is written.
    fn assignment(&mut self, name: String, span: Range<usize>) -> Result<Assignment, ActionError> {
        let to = self.part(name, span)?;
        self.sign("=")?;
        let span = self.span.clone();
        let from = self.source()?;
        let fits = match &from {
            Source::Number(number) => number.checked_shr(to.width).unwrap_or(0) == 0,
            Source::Part(part) => part.width == to.width,
            Source::Cookie => false,
        };
        if fits {
            Ok(Assignment { to, from })
        } else {
            Err(fault(ActionFault::TooWide(to.text.into()), span))
        }
    }

    fn source(&mut self) -> Result<Source, ActionError> {
        match self.token {
            Token::Number(number) => {
                self.advance()?;
                Ok(Source::Number(number))
            }
            Token::Macro => {
                self.advance()?;
                Ok(Source::Cookie)
            }
            _ => {
                let span = self.span.clone();
                let name = self.id("a number or a field")?;
                Ok(Source::Part(self.part(name, span)?))
            }
        }
    }

    /// Bits of a field, whose name was read.
    fn part(&mut self, name: String, span: Range<usize>) -> Result<Part, ActionError> {
        let Some((field, mut low, mut width)) = expr::place(&name) else {
            return Err(fault(ActionFault::UnknownField(name), span));
        };
        let mut text = name;
        if self.token == Token::Sign("[") {
            let span = self.span.clone();
            self.advance()?;
            let first: u32 = self.number("a bit")?;
            let mut last = first;
            if self.token == Token::Sign("..") {
                self.advance()?;
                last = self.number("a bit")?;
            }
            self.sign("]")?;
            if first > last || last >= width {
                return Err(fault(ActionFault::NoSuchBits(text), span));
            }
            text += &match first == last {
                true => format!("[{first}]"),
                false => format!("[{first}..{last}]"),
            };
            low += first;
            width = last - first + 1;
        }
        Ok(Part {
            field,
            low,
            width,
            text: text.into(),
        })
    }

    fn log(&mut self) -> Result<Log, ActionError> {
        let mut log = Log {
            name: None,
            severity: "info".into(),
            verdict: Verdict::Allow,
            meter: None,
        };
        self.arguments(|parser, argument| {
            match argument {
                "name" => log.name = Some(parser.string()?),
                "meter" => log.meter = Some(parser.string()?),
                "severity" => log.severity = parser.id("a severity")?.into(),
                "verdict" => {
                    log.verdict = match parser.id("a verdict")?.as_str() {
                        "allow" => Verdict::Allow,
                        "drop" => Verdict::Drop,
                        "reject" => Verdict::Reject,
                        "pass" => Verdict::Pass,
                        _ => return Err(parser.expected("allow, drop, reject or pass")),
                    }
                }
                _ => return Err(parser.expected("name, severity, verdict or meter")),
            }
            Ok(())
        })?;
        Ok(log)
    }

    fn sample(&mut self) -> Result<Sample, ActionError> {
        let mut sample = Sample {
            probability: 0,
            set: 0,
            domain: 0,
            point: Source::Number(0),
        };
        self.arguments(|parser, argument| {
            match argument {
                "probability" => sample.probability = parser.number("a probability")?,
                "collector_set" => sample.set = parser.number("a collector set")?,
                "obs_domain" => sample.domain = parser.number("a domain of 8 bits")?,
                "obs_point" => {
                    sample.point = match parser.source()? {
                        // OVN keeps 32 bits of it.
                        Source::Number(number) => Source::Number(number & u128::from(u32::MAX)),
                        Source::Part(part) if part.width != 32 => {
                            return Err(parser.expected("a field of 32 bits"));
                        }
                        other => other,
                    }
                }
                _ => {
                    return Err(
                        parser.expected("probability, collector_set, obs_domain or obs_point")
                    );
                }
            }
            Ok(())
        })?;
        match sample.probability {
            0 => Err(self.expected("a probability above 0")),
            _ => Ok(sample),
        }
    }

    /// `(a=…, b=…)`
    fn arguments(
        &mut self,
        mut each: impl FnMut(&mut Self, &str) -> Result<(), ActionError>,
    ) -> Result<(), ActionError> {
        self.sign("(")?;
        while self.token != Token::Sign(")") {
            let name = self.id("an argument")?;
            self.sign("=")?;
            each(self, &name)?;
            if self.token == Token::Sign(",") {
                self.advance()?;
            }
        }
        self.advance()
    }

    fn number<T: TryFrom<u128>>(&mut self, what: &'static str) -> Result<T, ActionError> {
        let number = match self.token {
            Token::Number(number) => T::try_from(number).ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| self.expected(what))?;
        self.advance()?;
        Ok(number)
    }

    fn string(&mut self) -> Result<Box<str>, ActionError> {
        let Token::String(text) = &self.token else {
            return Err(self.expected("a string"));
        };
        let text = text.clone();
        self.advance()?;
        Ok(text)
    }

    fn id(&mut self, what: &'static str) -> Result<String, ActionError> {
        if self.token != Token::Id {
            return Err(self.expected(what));
        }
        let text = self.here().to_owned();
        self.advance()?;
        Ok(text)
    }

    fn word(&mut self, word: &'static str) -> Result<(), ActionError> {
        if self.token != Token::Id || self.here() != word {
            return Err(self.expected(word));
        }
        self.advance()
    }

    fn sign(&mut self, sign: &'static str) -> Result<(), ActionError> {
        if self.token != Token::Sign(sign) {
            return Err(self.expected(sign));
        }
        self.advance()
    }

    fn here(&self) -> &str {
        self.text.get(self.span.clone()).unwrap_or_default()
    }

    fn expected(&self, expected: &'static str) -> ActionError {
        let found = match self.token {
            Token::End => "the end".to_owned(),
            _ => self.here().to_owned(),
        };
        fault(ActionFault::Expected { found, expected }, self.span.clone())
    }

    /// Takes the next token in hand.
    fn advance(&mut self) -> Result<(), ActionError> {
        loop {
            let rest = self.rest();
            let blanks = rest.len() - rest.trim_start().len();
            self.at += blanks;
            let Some(comment) = self.rest().strip_prefix("/*") else {
                break;
            };
            let start = self.at;
            let Some(length) = comment.find("*/") else {
                return Err(fault(ActionFault::Open, start..self.text.len()));
            };
            let is_drop = comment.get(..length).map(str::trim) == Some("drop");
            self.at += 2 + length + 2;
            if is_drop {
                (self.token, self.span) = (Token::DropComment, start..self.at);
                return Ok(());
            }
        }
        let rest = self.rest();
        let run = |such: fn(char) -> bool| rest.find(|c| !such(c)).unwrap_or(rest.len());
        let (token, length) = match rest.chars().next() {
            None => (Token::End, 0),
            Some('"') => match quoted(rest) {
                Some((text, length)) => (Token::String(text), length),
                None => return Err(fault(ActionFault::Open, self.at..self.text.len())),
            },
            Some('$') if rest.starts_with("$cookie") => (Token::Macro, "$cookie".len()),
            Some(first) if first.is_ascii_digit() => {
                let length = run(|c| c.is_ascii_alphanumeric());
                let digits = rest.get(..length).unwrap_or_default();
                let number = match digits.strip_prefix("0x") {
                    Some(hex) => u128::from_str_radix(hex, 16),
                    None => digits.parse(),
                };
                match number {
                    Ok(number) => (Token::Number(number), length),
                    Err(_) => return Err(self.strange(length)),
                }
            }
            Some(first) if first.is_ascii_alphabetic() || first == '_' => (
                Token::Id,
                run(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')),
            ),
            Some(first) => match SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
                Some(sign) => (Token::Sign(sign), sign.len()),
                None => return Err(self.strange(first.len_utf8())),
            },
        };
        (self.token, self.span) = (token, self.at..self.at + length);
        self.at += length;
        Ok(())
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn strange(&self, length: usize) -> ActionError {
        let span = self.at..self.at + length;
        let found = self.text.get(span.clone()).unwrap_or_default().to_owned();
        let expected = "a part of an action";
        fault(ActionFault::Expected { found, expected }, span)
    }
}

/// A string and its length with the quotation marks. northd writes names as they are, so one with a backslash in it is told as it stands.
fn quoted(text: &str) -> Option<(Box<str>, usize)> {
    let inside = text.get(1..)?;
    let end = inside.find('"')?;
    Some((inside.get(..end)?.into(), end + 2))
}

fn read_only(assignment: &Assignment, span: Range<usize>) -> ActionError {
    fault(ActionFault::ReadOnly(assignment.to.to_string()), span)
}

fn fault(fault: ActionFault, span: Range<usize>) -> ActionError {
    ActionError { fault, span }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parsed() {
        for text in [
            "next;",
            "reg8[30..31] = 1; next(pipeline=ingress,table=8);",
            "reg0[9] = 0; reg0[10] = 0; reg0[17] = 1; reg8[16] = 1; next;",
            "reg0[17] = 1; reg8[16] = 1; ct_commit_nat;",
            "flags.pkt_sampled = 1; sample(probability=655,collector_set=42,obs_domain=2,obs_point=reg3); next;",
            "sample(probability=65535,collector_set=7,obs_domain=3,obs_point=ct_label.obs_point_id); next;",
            "reg8[16] = 0; sample(probability=65535,collector_set=7,obs_domain=0,obs_point=$cookie); /* drop */",
            "log(name=\"a b\", severity=alert, verdict=reject, meter=\"m__1\"); reg8[18] = 1; next;",
            "ct_commit { ct_mark.blocked = 0; ct_mark.obs_stage = reg8[19..20]; ct_label.acl_id = reg2[16..31]; }; next;",
            "reg8[16] = 1; ct_commit; next;",
            "reg8[21] = ct_label.nf; reg8[16] = 1; next;",
            "ct_commit { ct_mark.blocked = 0; ct_label.nf = 1; ct_label.nf_id = reg0[22..29]; }; next;",
            "reg0 = 0; reject { /* eth.dst <-> eth.src; ip.dst <-> ip.src; is implicit. */ outport <-> inport; \
             next(pipeline=egress,table=9); };",
        ] {
            assert_eq!(print(&parse(text).unwrap()), text);
        }
    }

    #[test]
    fn tells_what_it_does_not_take_and_where() {
        for (text, told) in [
            (
                "next",
                "`the end' where ; should be at byte 4 of the actions",
            ),
            (
                "reg0[32] = 1;",
                "bits that `reg0' does not have at byte 4 of the actions",
            ),
            (
                "reg0[0] = 2;",
                "a number that does not fit into `reg0[0]' at byte 10 of the actions",
            ),
            (
                "reg0[0..1] = reg1[0];",
                "a number that does not fit into `reg0[0..1]' at byte 13 of the actions",
            ),
            (
                "nobody = 1;",
                "`nobody', which is no field that an action can use, at byte 0 of the actions",
            ),
            (
                "eth.src = 1;",
                "`eth.src' is written, which such a flow does not, at byte 0 of the actions",
            ),
            (
                "ct_mark = 1;",
                "`ct_mark' is written, which such a flow does not, at byte 0 of the actions",
            ),
            (
                "fly;",
                "the action `fly', which the twin does not know, at byte 0 of the actions",
            ),
            (
                "next; /* a",
                "a comment or string without an end at byte 6 of the actions",
            ),
            (
                "log(name=\"a);",
                "a comment or string without an end at byte 9 of the actions",
            ),
            (
                "log(name=\"a\"b\");",
                "a comment or string without an end at byte 13 of the actions",
            ),
            (
                "sample(probability=0);",
                "`;' where a probability above 0 should be at byte 21 of the actions",
            ),
            (
                "sample(obs_domain=256);",
                "`256' where a domain of 8 bits should be at byte 18 of the actions",
            ),
            (
                "reject { next;",
                "`the end' where an action should be at byte 14 of the actions",
            ),
            (
                "é",
                "`é' where a part of an action should be at byte 0 of the actions",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), told, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[a-z0-9_.(){}\\[\\]<>=;,\"$/* é-]{0,60}") {
            let _ = parse(&text);
        }
    }
}
