use std::ops::Range;

use crate::field::{Kind, Name, Operator};
use crate::lex::is_bare;
use crate::parse::{Expect, Parser};

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
    /// `and`, `or`, `not`, or a parenthesis or comma.
    Keyword,
    /// A value of a closed set.
    Value,
}

/// What could stand at the cursor, a byte offset into the text; what follows it is not read.
///
/// Each completion leaves the text up to it as right as it was. Nothing comes for a text that is
/// wrong before the cursor, and no values of open sets, such as names.
pub fn complete(text: &str, cursor: usize) -> Vec<Completion> {
    let Some(before) = text.get(..cursor) else {
        return Vec::new();
    };
    // Half an operator is a word that was begun, too.
    let start = match before.strip_suffix('!') {
        Some(rest) => rest.len(),
        None => before.trim_end_matches(is_bare).len(),
    };
    let mut found = Vec::new();
    if let Some(expect) = expectation(&before[..start]) {
        let begun = &before[start..];
        for (text, kind, about) in candidates(expect) {
            if text.starts_with(begun)
                && text != begun
                && (kind != CompletionKind::Operator || !begun.is_empty())
            {
                found.push(completion(start..cursor, text, kind, about));
            }
        }
    }
    let spaced = start == cursor;
    match expectation(before) {
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
        Some(expect @ (Expect::ListEnd | Expect::Connective { .. })) if !spaced => {
            for (text, kind, about) in candidates(expect) {
                if text.chars().next().is_some_and(|first| !is_bare(first)) {
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
fn expectation(text: &str) -> Option<Expect> {
    let mut parser = Parser::new(text).ok()?;
    match parser.query() {
        Ok(_) => Some(parser.expect),
        Err(error) if error.is_between_tokens() => Some(parser.expect),
        Err(_) => None,
    }
}

fn candidates(expect: Expect) -> Vec<(String, CompletionKind, &'static str)> {
    let keyword = |text: &str| (text.to_owned(), CompletionKind::Keyword, "");
    let values = |name: &'static Name| {
        let examples: &[&str] = match name.kind {
            Kind::Time => &["-5m", "-1h", "-1d", "now"],
            _ => &[],
        };
        let words = name.kind.values();
        let words: Vec<_> = words
            .iter()
            .chain(examples)
            .map(|word| word.to_string())
            .collect();
        words
            .into_iter()
            .map(|word| (word, CompletionKind::Value, ""))
    };
    match expect {
        Expect::Operand => Name::all()
            .iter()
            .map(|info| (info.name.to_owned(), CompletionKind::Field, info.about))
            .chain([keyword("not "), keyword("(")])
            .collect(),
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
        Expect::Value(_, Operator::Like | Operator::NotLike) => Vec::new(),
        Expect::Value(name, _) | Expect::Item(name) => values(name).collect(),
        Expect::ListEnd => vec![keyword(", "), keyword(")")],
        Expect::Connective { open } => {
            let close = open.then(|| keyword(")"));
            [keyword("and "), keyword("or ")]
                .into_iter()
                .chain(close)
                .collect()
        }
    }
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
