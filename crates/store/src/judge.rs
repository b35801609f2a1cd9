//! Random connections and questions, and a store that answers them by plain loops: what an
//! engine's answers are judged by.
//!
//! ```
//! # use netverdict_store::judge::{Naive, judge};
//! # futures_util::FutureExt::now_or_never(async {
//! let store = Naive::default(); // An empty store of any engine.
//! judge(&store, 1, 200, 20).await.unwrap();
//! # }).unwrap();
//! ```

mod naive;
mod random;
#[cfg(test)]
mod tests;

pub use naive::Naive;
pub use random::{Random, ask, batches, connections};

use std::fmt::Write;

use netverdict_query::ask::{Answer, Ask, Cell, Cursor, Want};
use netverdict_types::Connection;

use crate::{Batch, Store};

/// Gives an empty store about `connections` random connections in several batches, with
/// questions in between and behind, and compares each answer with that of [`Naive`].
///
/// # Errors
/// The first difference, for people.
pub async fn judge(
    store: &impl Store,
    seed: u64,
    connections: usize,
    questions: usize,
) -> Result<(), String> {
    let mut judge = Judge::new(seed, connections);
    let between = judge.left().max(1);
    while judge.append(store).await? {
        for _ in 0..(questions / 2).div_ceil(between) {
            judge.ask(store).await?;
        }
    }
    for _ in 0..questions / 2 {
        judge.ask(store).await?;
    }
    judge.pages(store).await
}

/// The same step by step, so that an engine may be closed and opened, or made to compact, in
/// between.
#[derive(Debug)]
pub struct Judge {
    seed: u64,
    random: Random,
    naive: Naive,
    batches: Vec<Batch>,
}

impl Judge {
    /// With about so many connections to come.
    pub fn new(seed: u64, connections: usize) -> Self {
        let mut random = Random::new(seed);
        let mut batches = batches(&mut random, connections);
        batches.reverse();
        Self {
            seed,
            random,
            naive: Naive::default(),
            batches,
        }
    }

    /// How many batches are left.
    pub fn left(&self) -> usize {
        self.batches.len()
    }

    /// Appends the next batch, sometimes again, as one does whose acknowledgement was lost; false
    /// when there was none.
    ///
    /// # Errors
    /// What went wrong, for people.
    pub async fn append(&mut self, store: &impl Store) -> Result<bool, String> {
        let Some(batch) = self.batches.pop() else {
            return Ok(false);
        };
        for _ in 0..if self.random.one_in(4) { 2 } else { 1 } {
            let kept = store.append(batch.clone()).await;
            kept.map_err(|error| self.message(&format!("append: {error}")))?;
        }
        let last = store.last(&batch.writer).await;
        let last = last.map_err(|error| self.message(&format!("last: {error}")))?;
        if last != Some(batch.number) {
            return Err(self.message(&format!(
                "the last batch of {} is {last:?}, not {}",
                batch.writer, batch.number
            )));
        }
        self.naive.keep(&batch);
        Ok(true)
    }

    /// Asks one random question.
    ///
    /// # Errors
    /// The difference, for people.
    pub async fn ask(&mut self, store: &impl Store) -> Result<(), String> {
        let known = self.naive.folded();
        let ask = ask(&mut self.random, &known);
        self.compare(store, &ask).await
    }

    /// Asks this question.
    ///
    /// # Errors
    /// The difference, for people.
    pub async fn compare(&self, store: &impl Store, ask: &Ask) -> Result<(), String> {
        let expected = self.naive.answer(ask);
        let found = store.ask(ask).await;
        let found = found.map_err(|error| self.message(&format!("{error}\n{ask:#?}")))?;
        if found != expected {
            let difference = difference(&found, &expected);
            return Err(self.message(&format!("{difference}\n{ask:#?}")));
        }
        if let Want::Rows { .. } = ask.want {
            let expected = self.naive.rows(ask);
            let found = store.connections(ask).await;
            let found = found.map_err(|error| self.message(&format!("{error}\n{ask:#?}")))?;
            if found != expected {
                let difference = of_connections(&found, &expected);
                return Err(self.message(&format!("{difference}\n{ask:#?}")));
            }
        }
        Ok(())
    }

    /// Goes through all rows page by page.
    ///
    /// # Errors
    /// The difference, for people.
    pub async fn pages(&mut self, store: &impl Store) -> Result<(), String> {
        let limit = 1 + self.naive.folded().len() / 5;
        let mut ask = Ask::all(Want::Rows { limit, after: None });
        loop {
            self.compare(store, &ask).await?;
            let Some(next) = self.naive.answer(&ask).next else {
                return Ok(());
            };
            ask.want = Want::Rows {
                limit,
                after: Some(next),
            };
        }
    }

    /// What the store should hold: connections, updates folded.
    pub fn expected(&self) -> Vec<Connection> {
        self.naive.folded()
    }

    fn message(&self, text: &str) -> String {
        format!("seed {}: {text}", self.seed)
    }
}

/// Where an answer differs from the expected one, for people.
pub fn difference(found: &Answer, expected: &Answer) -> String {
    let mut text = String::new();
    if found.columns != expected.columns {
        _ = writeln!(
            text,
            "columns {:?}\nexpected {:?}",
            found.columns, expected.columns
        );
    }
    if found.total != expected.total {
        _ = writeln!(text, "groups {}, expected {}", found.total, expected.total);
    }
    if found.next != expected.next {
        let (found, expected): (Option<Cursor>, _) = (found.next, expected.next);
        _ = writeln!(text, "next {found:?}, expected {expected:?}");
    }
    if found.lines.len() != expected.lines.len() {
        _ = writeln!(
            text,
            "{} lines, expected {}",
            found.lines.len(),
            expected.lines.len()
        );
    }
    let lines = found.lines.iter().zip(&expected.lines).enumerate();
    let differing = lines.filter(|(_, (found, expected))| found != expected);
    for (line, (found, cells)) in differing.take(4) {
        _ = writeln!(text, "line {line}:");
        for (column, cell) in cells.iter().enumerate() {
            let name = expected.columns.get(column).map_or("?", String::as_str);
            match found.get(column) {
                Some(found) if found == cell && column > 3 => {}
                found => {
                    let found = found.unwrap_or(&Cell::Missing);
                    _ = writeln!(text, "  {name}: {found:?}, expected {cell:?}");
                }
            }
        }
    }
    text
}

fn of_connections(found: &[Connection], expected: &[Connection]) -> String {
    if found.len() != expected.len() {
        return format!("{} connections, expected {}", found.len(), expected.len());
    }
    let differs = found.iter().zip(expected).find(|(one, two)| one != two);
    differs.map_or_else(String::new, |(found, expected)| {
        let (found, expected) = (format!("{found:#?}"), format!("{expected:#?}"));
        let lines = found.lines().zip(expected.lines());
        let place = lines.filter(|(one, two)| one != two).take(8);
        place.fold("a connection differs:".to_owned(), |text, (one, two)| {
            format!("{text}\n{one}\n expected {two}")
        })
    })
}
