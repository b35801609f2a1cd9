use std::ops::Range;

use crate::field::{Kind, Name, Operator};
use crate::lex::{is_bare, quote};
use crate::literal::Literal;
use crate::parse::{Expect, Parser};
use crate::question::{Function, Used};

/// A piece of text that could stand at the cursor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Completion {
    /// The bytes of the text that it replaces: the word that was begun, or nothing.
    pub range: Range<usize>,
    /// What to put there.
    pub text: String,
    /// What it is.
    pub kind: CompletionKind,
    /// What it means, in a few words; may be empty.
    pub about: &'static str,
}

/// What a completion is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CompletionKind {
    /// A field.
    Field,
    /// An operator.
    Operator,
    /// `and`, `or`, `not`, a parenthesis or comma, or a word behind `|`.
    Keyword,
    /// A value.
    Value,
}

/// Which texts are completed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Grammar {
    /// A [`Query`](crate::Query).
    Query,
    /// A [`Question`](crate::Question).
    Question,
}

/// What could stand at the cursor of a query, without values of open sets such as names: see
/// [`complete_with`].
pub fn complete(text: &str, cursor: usize) -> Vec<Completion> {
    complete_with(text, cursor, Grammar::Query, |_, _| Vec::new())
}

/// What could stand at the cursor, a byte offset into the text; what follows it is not read.
///
/// Each completion leaves the text up to it as right as it was. Nothing comes for a text that is
/// wrong before the cursor. `known` is asked for values of a field that begin with a text, where
/// they are no closed set: names of pods, of namespaces. Those that do not begin so, or that the
/// field cannot have, are left out.
pub fn complete_with(
    text: &str,
    cursor: usize,
    grammar: Grammar,
    mut known: impl FnMut(&Name, &str) -> Vec<String>,
) -> Vec<Completion> {
    let Some(before) = text.get(..cursor) else {
        return Vec::new();
    };
    // Half an operator is a word that was begun, too.
    let start = match before.strip_suffix('!') {
        Some(rest) => rest.len(),
        None => before.trim_end_matches(is_bare).len(),
    };
    let mut found = Vec::new();
    if let Some(expect) = expectation(&before[..start], grammar) {
        let begun = &before[start..];
        for (text, kind, about) in candidates(expect) {
            if text.starts_with(begun)
                && text != begun
                && (kind != CompletionKind::Operator || !begun.is_empty())
            {
                found.push(completion(start..cursor, text, kind, about));
            }
        }
        if let Some((name, operator)) = open_value(expect) {
            for value in known(name, begun) {
                if value.starts_with(begun)
                    && value != begun
                    && Literal::parse(name, operator, &value).is_ok()
                {
                    let text = quote(&value).into_owned();
                    found.push(completion(start..cursor, text, CompletionKind::Value, ""));
                }
            }
        }
    }
    let spaced = start == cursor;
    match expectation(before, grammar) {
        Some(expect @ Expect::Operator(_)) => {
            for (text, kind, about) in candidates(expect) {
                let text = match text.as_str() {
                    "in" if spaced => "in ".to_owned(),
                    "in" => " in ".to_owned(),
                    _ => text,
                };
                found.push(completion(cursor..cursor, text, kind, about));
            }
        }
        // Behind a whole word a bracket or comma may follow without a space.
        Some(
            expect @ (Expect::ListEnd
            | Expect::Connective { .. }
            | Expect::More(_)
            | Expect::Open
            | Expect::Close),
        ) if !spaced => {
            for (text, kind, about) in candidates(expect) {
                if text.starts_with([',', '(', ')']) {
                    found.push(completion(cursor..cursor, text, kind, about));
                }
            }
        }
        _ => {}
    }
    found
}

/// What may follow the text; `None` where it is wrong, and in the middle of a quoted
/// text or an operator.
fn expectation(text: &str, grammar: Grammar) -> Option<Expect> {
    let mut parser = Parser::new(text).ok()?;
    let error = match grammar {
        Grammar::Query => parser.query().err(),
        Grammar::Question => parser.question().err(),
    };
    match error {
        None => Some(parser.expect),
        Some(error) if error.is_between_tokens() => Some(parser.expect),
        Some(_) => None,
    }
}

/// The field whose value is wanted, where that may be any.
fn open_value(expect: Expect) -> Option<(&'static Name, Operator)> {
    let (name, operator) = match expect {
        Expect::Value(_, Operator::Like | Operator::NotLike) => return None,
        Expect::Value(name, operator) => (name, operator),
        Expect::Item(name) => (name, Operator::In),
        _ => return None,
    };
    name.kind.values().is_empty().then_some((name, operator))
}

type Candidate = (String, CompletionKind, &'static str);

fn candidates(expect: Expect) -> Vec<Candidate> {
    match expect {
        Expect::Operand => operands().collect(),
        Expect::Start => operands().chain([pipe()]).collect(),
        Expect::Operator(name) => name
            .kind
            .operators()
            .iter()
            .map(|operator| {
                let text = operator.as_str().to_owned();
                (text, CompletionKind::Operator, about_operator(*operator))
            })
            .collect(),
        Expect::Value(name, Operator::In) => values(name).chain([keyword("(")]).collect(),
        Expect::Value(_, Operator::Like | Operator::NotLike) | Expect::Cursor => Vec::new(),
        Expect::Value(name, _) | Expect::Item(name) => values(name).collect(),
        Expect::ListEnd => vec![keyword(", "), keyword(")")],
        Expect::Connective { open, pipe: piped } => {
            let close = open.then(|| keyword(")"));
            [keyword("and "), keyword("or ")]
                .into_iter()
                .chain(close)
                .chain(piped.then(pipe))
                .collect()
        }
        Expect::Clauses(used) => clauses(used).collect(),
        Expect::More(used) => [keyword(", ")].into_iter().chain(clauses(used)).collect(),
        Expect::By => fields(|name| name.targets.len() == 1).collect(),
        Expect::Measure => words(Function::OFFERED).collect(),
        Expect::Open => vec![keyword("(")],
        Expect::MeasureOf(function) => fields(|name| {
            let measure = function.measure(name);
            measure.is_some_and(|measure| measure.check().is_ok())
        })
        .collect(),
        Expect::Close => vec![keyword(")")],
        Expect::Every => examples(&["1m", "5m", "1h", "1d"]).collect(),
        Expect::OrderBy => words(Function::OFFERED)
            .chain(words(&[("values", "by the values of the fields")]))
            .collect(),
        Expect::Direction(used) => {
            words(&[("asc", "the least first"), ("desc", "the greatest first")])
                .chain(clauses(used))
                .collect()
        }
        Expect::Lines => examples(&["5", "10", "20", "100"]).collect(),
    }
}

fn operands() -> impl Iterator<Item = Candidate> {
    fields(|_| true).chain([keyword("not "), keyword("(")])
}

fn fields(fits: impl Fn(&Name) -> bool) -> impl Iterator<Item = Candidate> {
    Name::all()
        .iter()
        .filter(move |info| fits(info))
        .map(|info| (info.name.to_owned(), CompletionKind::Field, info.about))
}

fn values(name: &Name) -> impl Iterator<Item = Candidate> {
    let more: &[&str] = match name.kind {
        Kind::Time => &["-5m", "-1h", "-1d", "now"],
        Kind::Duration => &["1s", "1m", "1h"],
        _ => &[],
    };
    let words = name.kind.values().into_iter();
    words
        .map(|word| (word.to_owned(), CompletionKind::Value, ""))
        .chain(examples(more))
}

fn examples(words: &'static [&'static str]) -> impl Iterator<Item = Candidate> {
    let value = |word: &&str| ((*word).to_owned(), CompletionKind::Value, "");
    words.iter().map(value)
}

fn clauses(used: Used) -> impl Iterator<Item = Candidate> {
    used.left().flat_map(|clause| words(clause.words()))
}

fn words(words: &'static [(&'static str, &'static str)]) -> impl Iterator<Item = Candidate> {
    let word = |(text, about): &(&str, &'static str)| {
        ((*text).to_owned(), CompletionKind::Keyword, *about)
    };
    words.iter().map(word)
}

fn keyword(text: &str) -> Candidate {
    (text.to_owned(), CompletionKind::Keyword, "")
}

fn pipe() -> Candidate {
    let about = "what to tell of those that match";
    ("| ".to_owned(), CompletionKind::Keyword, about)
}

fn about_operator(operator: Operator) -> &'static str {
    match operator {
        Operator::Equal => "is",
        Operator::NotEqual => "is not",
        Operator::Like => "is like, with * and ?",
        Operator::NotLike => "is not like, with * and ?",
        Operator::Less => "is less than",
        Operator::LessEqual => "is at most",
        Operator::Greater => "is more than",
        Operator::GreaterEqual => "is at least",
        Operator::In => "is one of a list, in a range or in a block",
    }
}

fn completion(
    range: Range<usize>,
    text: String,
    kind: CompletionKind,
    about: &'static str,
) -> Completion {
    Completion {
        range,
        text,
        kind,
        about,
    }
}
