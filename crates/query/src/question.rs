use std::fmt;
use std::str::FromStr;

use netverdict_types::Timestamp;

use crate::ask::{Ask, Cursor, Groups, Measure, Order, Want};
use crate::error::{ErrorKind, QueryError, shortened};
use crate::field::Name;
use crate::lex::Token;
use crate::literal::{parse_duration, print_duration};
use crate::parse::{Expect, Parser};
use crate::query::Query;

/// How many rows or groups are told where the text does not say.
pub const DEFAULT_LINES: usize = 100;

/// How many rows or groups a text may ask for.
pub const MAX_LINES: usize = 1_000_000;

/// How many fields or measures a text may name.
pub const MAX_ITEMS: usize = 16;

/// A query, and what to tell of what matches: `verdict=dropped | count by policy top 5`.
///
/// Without the second part it asks for the newest rows. It displays as text that reads back to an
/// equal question.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Question {
    filter: Query,
    shape: Shape,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Shape {
    Rows {
        limit: Option<usize>,
        after: Option<Cursor>,
    },
    Groups(Grouping),
}

/// At least one of them is there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Grouping {
    measures: Vec<Measure>,
    by: Vec<&'static Name>,
    every: Option<i64>,
    order: Option<By>,
    top: Option<usize>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum By {
    Values,
    Measure(Measure, Order),
}

impl Question {
    /// Reads a question; an empty text asks for the newest of all rows.
    ///
    /// # Errors
    /// [`QueryError`] with the place.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        Parser::new(text)?.question()
    }

    /// Which records.
    pub fn filter(&self) -> &Query {
        &self.filter
    }

    /// True where nothing is said but which records.
    pub fn is_filter(&self) -> bool {
        self.shape == Shape::default()
    }

    /// The same of those records only that `filter` asks for too.
    #[must_use]
    pub fn and(self, filter: Query) -> Self {
        Self {
            filter: self.filter.and(filter),
            ..self
        }
    }

    /// What to ask of records of a time; moments in the filter such as `-5m` are counted from
    /// `now`.
    pub fn ask(&self, now: Timestamp, since: Timestamp, until: Timestamp) -> Ask {
        Ask {
            since,
            until,
            filter: self.filter.plan(now),
            want: match &self.shape {
                Shape::Rows { limit, after } => Want::Rows {
                    limit: limit.unwrap_or(DEFAULT_LINES),
                    after: *after,
                },
                Shape::Groups(grouping) => Want::Groups(grouping.groups()),
            },
        }
    }
}

impl From<Query> for Question {
    /// The newest of those records.
    fn from(filter: Query) -> Self {
        Self {
            filter,
            shape: Shape::default(),
        }
    }
}

impl Default for Shape {
    fn default() -> Self {
        Self::Rows {
            limit: None,
            after: None,
        }
    }
}

impl Grouping {
    /// Without measures it counts; what orders is told, too; without an order, the greatest first
    /// measure comes first.
    fn groups(&self) -> Groups {
        let mut by = Vec::new();
        for name in &self.by {
            let fields = name
                .targets
                .iter()
                .flat_map(|(space, it)| [*space, Some(*it)]);
            for field in fields.flatten() {
                if !by.contains(&field) {
                    by.push(field);
                }
            }
        }
        let mut measures = match &self.measures[..] {
            [] => vec![Measure::Count],
            measures => measures.to_vec(),
        };
        let order = match self.order {
            None => Some((0, Order::Descending)),
            Some(By::Values) => None,
            Some(By::Measure(measure, order)) => {
                let told = measures.iter().position(|it| *it == measure);
                let place = told.unwrap_or(measures.len());
                if told.is_none() {
                    measures.push(measure);
                }
                Some((place, order))
            }
        };
        Groups {
            by,
            every: self.every,
            measures,
            order,
            top: self.top.unwrap_or(DEFAULT_LINES),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.filter)?;
        if self.shape == Shape::default() {
            return Ok(());
        }
        f.write_str(if self.filter.is_all() { "|" } else { " |" })?;
        match &self.shape {
            Shape::Rows { limit, after } => {
                clause(f, " limit ", limit.as_ref())?;
                clause(f, " after ", after.as_ref())
            }
            Shape::Groups(grouping) => {
                list(f, " ", &grouping.measures)?;
                list(f, " by ", &grouping.by)?;
                clause(f, " every ", grouping.every.map(print_duration).as_ref())?;
                match grouping.order {
                    None => {}
                    Some(By::Values) => f.write_str(" order values")?,
                    Some(By::Measure(measure, Order::Ascending)) => {
                        write!(f, " order {measure} asc")?;
                    }
                    Some(By::Measure(measure, Order::Descending)) => {
                        write!(f, " order {measure} desc")?;
                    }
                }
                clause(f, " top ", grouping.top.as_ref())
            }
        }
    }
}

fn clause(
    f: &mut fmt::Formatter<'_>,
    word: &str,
    value: Option<&impl fmt::Display>,
) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, "{word}{value}"))
}

fn list(f: &mut fmt::Formatter<'_>, word: &str, items: &[impl fmt::Display]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if index == 0 { word } else { ", " })?;
    }
    Ok(())
}

impl FromStr for Question {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        Self::parse(text)
    }
}

/// What may stand behind `|`, in any order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Clause {
    Measures,
    By,
    Every,
    Order,
    Top,
    Limit,
    After,
}

impl Clause {
    const ALL: [Self; 7] = [
        Self::Measures,
        Self::By,
        Self::Every,
        Self::Order,
        Self::Top,
        Self::Limit,
        Self::After,
    ];

    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "by" => Self::By,
            "every" => Self::Every,
            "order" => Self::Order,
            "top" => Self::Top,
            "limit" => Self::Limit,
            "after" => Self::After,
            word if Function::of(word).is_some() => Self::Measures,
            _ => return None,
        })
    }

    /// Its words, as completion offers them.
    pub(crate) fn words(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Measures => Function::OFFERED,
            Self::By => &[("by ", "one line for each value of a field")],
            Self::Every => &[("every ", "one line for each length of time")],
            Self::Order => &[("order ", "by which measure; the first one, greatest first")],
            Self::Top => &[("top ", "at most so many groups")],
            Self::Limit => &[("limit ", "at most so many rows")],
            Self::After => &[("after ", "rows behind an earlier answer")],
        }
    }

    fn is_of_rows(self) -> bool {
        matches!(self, Self::Limit | Self::After)
    }
}

/// Which clauses were there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Used(u8);

impl Used {
    fn with(self, clause: Clause) -> Self {
        Self(self.0 | 1 << clause as u8)
    }

    /// Those that may still come.
    pub(crate) fn left(self) -> impl Iterator<Item = Clause> {
        let has = move |clause: &Clause| self.0 & (1 << *clause as u8) != 0;
        let is_rows = Clause::ALL
            .iter()
            .find(|it| has(it))
            .map(|it| it.is_of_rows());
        Clause::ALL
            .into_iter()
            .filter(move |it| !has(it) && is_rows.is_none_or(|rows| rows == it.is_of_rows()))
    }
}

/// What measures something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Function {
    Count,
    Sum,
    Min,
    Max,
    Distinct,
}

impl Function {
    /// As completion offers them.
    pub(crate) const OFFERED: &[(&'static str, &'static str)] = &[
        ("count", "how many"),
        ("sum(", "the sum of a field"),
        ("min(", "the least value of a field"),
        ("max(", "the greatest value of a field"),
        ("distinct(", "how many different values a field has"),
    ];

    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "count" => Self::Count,
            "sum" => Self::Sum,
            "min" => Self::Min,
            "max" => Self::Max,
            "distinct" => Self::Distinct,
            _ => return None,
        })
    }

    /// The measure of a field; `None` where it is of either end.
    pub(crate) fn measure(self, name: &Name) -> Option<Measure> {
        let [(space, field)] = name.targets else {
            return None;
        };
        Some(match self {
            Self::Count => Measure::Count,
            Self::Sum => Measure::Sum(*field),
            Self::Min => Measure::Min(*field),
            Self::Max => Measure::Max(*field),
            Self::Distinct => Measure::Distinct(*space, *field),
        })
    }
}

impl Parser<'_> {
    pub(crate) fn question(&mut self) -> Result<Question, QueryError> {
        self.piped = true;
        self.expect = Expect::Start;
        let filter = self.query()?;
        if self.token == Token::End {
            let shape = Shape::default();
            return Ok(Question { filter, shape });
        }
        let mut used = Used::default();
        self.step(Expect::Clauses(used))?;
        let (mut limit, mut after, mut grouping) = (None, None, Grouping::default());
        loop {
            let clause = match self.token {
                Token::Word(word) => {
                    Clause::of(word).filter(|it| used.left().any(|one| one == *it))
                }
                _ => None,
            };
            let Some(clause) = clause else {
                return Err(self.expected(&wanted(used)));
            };
            used = used.with(clause);
            match clause {
                Clause::Measures => grouping.measures = self.measures(used)?,
                Clause::By => grouping.by = self.by(used)?,
                Clause::Every => grouping.every = Some(self.every(used)?),
                Clause::Order => grouping.order = Some(self.order(used)?),
                Clause::Top => grouping.top = Some(self.lines("top", used)?),
                Clause::Limit => limit = Some(self.lines("limit", used)?),
                Clause::After => after = Some(self.cursor(used)?),
            }
            if self.token == Token::End {
                break;
            }
        }
        let is_rows = limit.is_some() || after.is_some();
        Ok(Question {
            filter,
            shape: match is_rows {
                true => Shape::Rows { limit, after },
                false => Shape::Groups(grouping),
            },
        })
    }

    fn measures(&mut self, used: Used) -> Result<Vec<Measure>, QueryError> {
        let mut measures = Vec::new();
        loop {
            measures.push(self.measure(Expect::More(used))?);
            self.few(measures.len())?;
            if self.token != Token::Comma {
                return Ok(measures);
            }
            self.step(Expect::Measure)?;
        }
    }

    /// Reads a measure; `after` is what may follow it.
    fn measure(&mut self, after: Expect) -> Result<Measure, QueryError> {
        let function = match self.token {
            Token::Word(word) => Function::of(word),
            _ => None,
        };
        let measure = match function {
            None => {
                let names = Function::OFFERED
                    .iter()
                    .map(|(word, _)| format!("`{word}`"));
                let names: Vec<_> = names.collect();
                return Err(self.expected(&names.join(" ")));
            }
            Some(Function::Count) => Measure::Count,
            Some(function) => {
                self.step(Expect::Open)?;
                if self.token != Token::Open {
                    return Err(self.expected("`(` and a field"));
                }
                self.step(Expect::MeasureOf(function))?;
                let name = self.single()?;
                let Some(measure) = function.measure(name) else {
                    return Err(self.either_end(name));
                };
                measure
                    .check()
                    .map_err(|error| self.fail(ErrorKind::Measure(error)))?;
                self.step(Expect::Close)?;
                if self.token != Token::Close {
                    return Err(self.expected("`)`"));
                }
                measure
            }
        };
        self.step(after)?;
        Ok(measure)
    }

    fn by(&mut self, used: Used) -> Result<Vec<&'static Name>, QueryError> {
        let mut names = Vec::new();
        loop {
            self.step(Expect::By)?;
            names.push(self.single()?);
            self.few(names.len())?;
            self.step(Expect::More(used))?;
            if self.token != Token::Comma {
                return Ok(names);
            }
        }
    }

    fn every(&mut self, used: Used) -> Result<i64, QueryError> {
        let text = self.argument("every", "a length of time", Expect::Every)?;
        let length = parse_duration(&text).filter(|length| *length > 0);
        let length = length.ok_or_else(|| {
            self.bad_argument(
                "every",
                &text,
                "it is a length of time, such as 1m, 5m or 1h30m",
            )
        })?;
        self.step(Expect::Clauses(used))?;
        Ok(length)
    }

    fn order(&mut self, used: Used) -> Result<By, QueryError> {
        self.step(Expect::OrderBy)?;
        if self.token == Token::Word("values") {
            self.step(Expect::Clauses(used))?;
            return Ok(By::Values);
        }
        let measure = self.measure(Expect::Direction(used))?;
        let order = match self.token {
            Token::Word("asc") => Order::Ascending,
            Token::Word("desc") => Order::Descending,
            _ => return Ok(By::Measure(measure, Order::Descending)),
        };
        self.step(Expect::Clauses(used))?;
        Ok(By::Measure(measure, order))
    }

    fn lines(&mut self, word: &'static str, used: Used) -> Result<usize, QueryError> {
        let text = self.argument(word, "a number", Expect::Lines)?;
        let number = text.parse().ok();
        let number = number.filter(|number| (1..=MAX_LINES).contains(number));
        let number = number.ok_or_else(|| {
            let wanted = format!("it is a whole number from 1 to {MAX_LINES}");
            self.bad_argument(word, &text, &wanted)
        })?;
        self.step(Expect::Clauses(used))?;
        Ok(number)
    }

    fn cursor(&mut self, used: Used) -> Result<Cursor, QueryError> {
        let text = self.argument("after", "what an earlier answer gave", Expect::Cursor)?;
        let cursor = text.parse().map_err(|_| {
            self.bad_argument("after", &text, "it is what an earlier answer gave, whole")
        })?;
        self.step(Expect::Clauses(used))?;
        Ok(cursor)
    }

    /// Steps over a word to its argument.
    fn argument(&mut self, word: &str, wanted: &str, expect: Expect) -> Result<String, QueryError> {
        self.step(expect)?;
        match &self.token {
            Token::Word(text) => Ok((*text).to_owned()),
            _ => Err(self.expected(&format!("{wanted} after `{word}`"))),
        }
    }

    /// The field that stands here, which must not be of either end.
    fn single(&self) -> Result<&'static Name, QueryError> {
        let Token::Word(word) = self.token else {
            return Err(self.expected("a field"));
        };
        match Name::find(word) {
            None => Err(self.unknown_field(word)),
            Some(name) if name.targets.len() > 1 => Err(self.either_end(name)),
            Some(name) => Ok(name),
        }
    }

    fn either_end(&self, name: &Name) -> QueryError {
        self.fail(ErrorKind::EitherEnd { name: name.name })
    }

    fn few(&self, count: usize) -> Result<(), QueryError> {
        match count > MAX_ITEMS {
            true => Err(self.fail(ErrorKind::TooMany { limit: MAX_ITEMS })),
            false => Ok(()),
        }
    }

    fn bad_argument(&self, word: &'static str, text: &str, wanted: &str) -> QueryError {
        self.fail(ErrorKind::BadValue {
            field: word,
            value: shortened(text),
            wanted: wanted.to_owned(),
        })
    }
}

fn wanted(used: Used) -> String {
    let words: Vec<_> = used
        .left()
        .flat_map(Clause::words)
        .map(|(word, _)| format!("`{}`", word.trim_end()))
        .collect();
    match (&words[..], used == Used::default()) {
        ([], _) => "the end".to_owned(),
        (words, true) => words.join(" "),
        (words, false) => format!("{} or the end", words.join(" ")),
    }
}
