use std::fmt;
use std::ops::Range;

use crate::ask::AskError;
use crate::field::{Kind, Name, Operator};

/// What is wrong with a query, and where.
///
/// It displays as one line; [`QueryError::report`] shows the place and what could be there.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", .0.kind)]
pub struct QueryError(Box<Mistake>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Mistake {
    kind: ErrorKind,
    span: Range<usize>,
    at_end: bool,
    excerpt: Excerpt,
}

/// The kinds of mistakes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A name that no field has.
    #[error("there is no field `{name}`{}", did_you_mean(near))]
    UnknownField {
        /// The name, cut to a readable length.
        name: String,
        /// Fields with a similar name, the nearest first.
        near: Vec<&'static str>,
    },
    /// A word outside a closed set.
    #[error("`{field}` is never `{value}`{}", did_you_mean(near))]
    UnknownValue {
        /// The field.
        field: &'static str,
        /// The word, cut to a readable length.
        value: String,
        /// Words that exist and are similar, the nearest first.
        near: Vec<&'static str>,
    },
    /// A value of the wrong type or outside what can be.
    #[error("`{field}` cannot be `{value}`: {wanted}")]
    BadValue {
        /// The field.
        field: &'static str,
        /// The value, cut to a readable length.
        value: String,
        /// What a value must look like.
        wanted: String,
    },
    /// An operator that the field's type does not know.
    #[error(
        "`{field}` cannot be compared with `{operator}`; it knows {}",
        listed(allowed)
    )]
    BadOperator {
        /// The field.
        field: &'static str,
        /// The operator.
        operator: Operator,
        /// Those that it knows.
        allowed: &'static [Operator],
    },
    /// Something else should stand here.
    #[error("expected {wanted}, found {found}")]
    Expected {
        /// What should stand here.
        wanted: String,
        /// What does.
        found: String,
    },
    /// A quoted text without its end.
    #[error("the quoted text has no end: add {0}")]
    UnclosedQuote(char),
    /// A parenthesis without its partner.
    #[error("the parenthesis is not closed: add )")]
    UnclosedParenthesis,
    /// An escape that does not exist.
    #[error("there is no escape `\\{0}`; write \\\\ for a backslash, or \\\" \\' \\n \\r \\t")]
    BadEscape(char),
    /// A field of either end where one end must be named.
    #[error("`{name}` is of either end: write `src.{name}` or `dst.{name}`")]
    EitherEnd {
        /// The field.
        name: &'static str,
    },
    /// A measure that does not exist.
    #[error("{0}")]
    Measure(AskError),
    /// Too many fields or measures.
    #[error("at most {limit} may stand here")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// Parentheses and `not` nested too deeply.
    #[error("nested more than {limit} levels deep: write it flatter")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// A text that is too long.
    #[error("the query has {bytes} bytes, at most {limit} are read: make it shorter")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

impl QueryError {
    /// What is wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The place in the text, in bytes; empty at the end of the text.
    pub fn span(&self) -> Range<usize> {
        self.0.span.clone()
    }

    /// True when the text only ends too early: more of it could make it right.
    pub fn is_incomplete(&self) -> bool {
        self.0.at_end
    }

    /// Several lines for people: what is wrong, the text with carets under the place, and what
    /// exists.
    pub fn report(&self) -> Report<'_> {
        Report(self)
    }

    pub(crate) fn new(kind: ErrorKind, span: Range<usize>, text: &str) -> Self {
        Self(Box::new(Mistake {
            at_end: false,
            excerpt: Excerpt::around(&span, text),
            kind,
            span,
        }))
    }

    /// True when the text ends too early, and not in the middle of a token.
    pub(crate) fn is_between_tokens(&self) -> bool {
        self.0.at_end && (self.0.span.is_empty() || self.0.kind == ErrorKind::UnclosedParenthesis)
    }

    pub(crate) fn at_end(mut self) -> Self {
        self.0.at_end = true;
        self
    }
}

/// Displays a [`QueryError`] with its place.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a>(&'a QueryError);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mistake { kind, excerpt, .. } = &*self.0.0;
        writeln!(f, "{kind}")?;
        writeln!(f, "  {}", excerpt.text)?;
        write!(
            f,
            "  {:indent$}{:^<carets$}",
            "",
            "",
            indent = excerpt.indent,
            carets = excerpt.carets
        )?;
        match kind {
            ErrorKind::UnknownField { .. } => {
                let mut names = Vec::new();
                let mut of_half = Vec::new();
                for info in Name::all() {
                    match info.name.strip_prefix("egress.") {
                        _ if info.half().is_none() => names.push(info.name),
                        Some(name) => of_half.push(name),
                        None => {}
                    }
                }
                write_list(f, "fields", &names)?;
                write_list(f, "behind egress. or ingress.", &of_half)
            }
            ErrorKind::UnknownValue { field, .. } => {
                let kind = Name::find(field).map_or(Kind::Text, |info| info.kind);
                write_list(f, "values", &kind.values())
            }
            _ => Ok(()),
        }
    }
}

/// The part of the text around a mistake: the text itself may have a megabyte.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Excerpt {
    text: String,
    indent: usize,
    carets: usize,
}

impl Excerpt {
    fn around(span: &Range<usize>, text: &str) -> Self {
        let (before, rest) = text.split_at_checked(span.start).unwrap_or((text, ""));
        let (place, after) = rest
            .split_at_checked(span.end.saturating_sub(span.start))
            .unwrap_or((rest, ""));
        let visible = |c: char| if c.is_control() { ' ' } else { c };
        let start = before
            .char_indices()
            .rev()
            .take(Self::BEFORE)
            .last()
            .map_or(before.len(), |(index, _)| index);
        let mut shown = String::new();
        if start > 0 {
            shown.push('…');
        }
        shown.extend(before[start..].chars().map(visible));
        let indent = shown.chars().count();
        shown.extend(place.chars().take(Self::PLACE).map(visible));
        let carets = (shown.chars().count() - indent).max(1);
        if place.chars().nth(Self::PLACE).is_some() {
            shown.push('…');
        } else {
            shown.extend(after.chars().take(Self::AFTER).map(visible));
            if after.chars().nth(Self::AFTER).is_some() {
                shown.push('…');
            }
        }
        Self {
            text: shown.trim_end().to_owned(),
            indent,
            carets,
        }
    }

    const BEFORE: usize = 60;
    const PLACE: usize = 40;
    const AFTER: usize = 40;
}

/// The words that are most like `word`, the nearest first.
pub(crate) fn nearest(
    word: &str,
    known: impl IntoIterator<Item = &'static str>,
) -> Vec<&'static str> {
    const SHOWN: usize = 3;
    if word.len() > 64 {
        return Vec::new();
    }
    let word = word.to_lowercase();
    let mut near: Vec<(usize, &'static str)> = known
        .into_iter()
        .filter_map(|known| {
            let lower = known.to_lowercase();
            let distance = strsim::damerau_levenshtein(&word, &lower);
            if distance <= 1 + word.chars().count() / 4 {
                return Some((distance, known));
            }
            let last = word.rsplit('.').next().unwrap_or_default();
            let part = last.len() > 1 && lower.rsplit('.').next() == Some(last);
            part.then_some((usize::MAX, known))
        })
        .collect();
    near.sort();
    let best = near.first().map_or(0, |(distance, _)| *distance);
    near.retain(|(distance, _)| *distance <= best.saturating_add(1));
    near.truncate(SHOWN);
    near.into_iter().map(|(_, known)| known).collect()
}

/// A piece of the text as an error repeats it.
pub(crate) fn shortened(text: &str) -> String {
    const LENGTH: usize = 40;
    let mut short: String = text.chars().take(LENGTH).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn did_you_mean(near: &[&str]) -> String {
    match near {
        [] => String::new(),
        [only] => format!("; did you mean `{only}`?"),
        [first @ .., last] => {
            format!("; did you mean `{}` or `{last}`?", first.join("`, `"))
        }
    }
}

fn listed(operators: &[Operator]) -> String {
    let words: Vec<_> = operators.iter().map(|one| one.as_str()).collect();
    words.join(" ")
}

fn write_list(f: &mut fmt::Formatter<'_>, what: &str, words: &[&str]) -> fmt::Result {
    const WIDTH: usize = 96;
    write!(f, "\n  {what}:")?;
    let mut column = what.len() + 3;
    for word in words {
        if column + 1 + word.len() > WIDTH {
            f.write_str("\n   ")?;
            column = 3;
        }
        write!(f, " {word}")?;
        column += 1 + word.len();
    }
    Ok(())
}
