use std::collections::BTreeMap;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use netverdict_query::ask::{Answer, Ask, Cell, Want};
use netverdict_query::live::Live;
use netverdict_query::{Field, Plan, Record, Value};
use netverdict_types::{Connection, Direction, Timestamp};

use super::*;
use crate::{COLUMNS, Place, State, StoreError, connection, place};

fn ready<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing waits in memory")
}

fn cells(connection: &Connection) -> Vec<Cell> {
    COLUMNS.iter().map(|it| it.read(connection)).collect()
}

#[test]
fn rows_come_back_equal() {
    let mut without_rest = 0;
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let updates = batches(&mut random, 50).into_iter().flat_map(|it| it.rows);
        for update in updates {
            let cells = cells(&update);
            let again = connection(|index| cells[index].value()).unwrap();
            assert_eq!(again, update);
            without_rest += usize::from(cells.last() == Some(&Cell::Missing));
        }
    }
    assert!(without_rest > 200, "{without_rest}");
}

#[test]
fn a_store_with_little_room_keeps_what_came_last() {
    let store = Naive::with_room(20);
    let mut random = Random::new(1);
    let all = batches(&mut random, 60);
    let rows: Vec<Connection> = all.iter().flat_map(|it| it.rows.clone()).collect();
    for batch in all {
        ready(store.append(batch)).unwrap();
    }
    let state = ready(store.state()).unwrap();
    assert_eq!((state.rows, state.removed), (20, rows.len() as u64 - 20));
    let kept = Naive::default();
    kept.keep(&Batch {
        writer: "a".to_owned(),
        number: 1,
        rows: rows[rows.len() - 20..].to_vec(),
    });
    assert_eq!(store.folded(), kept.folded());
}

#[test]
fn a_row_of_another_version_is_named() {
    let update = &connections(&mut Random::new(1), 1)[0];
    let mut row = cells(update);
    let verdict = crate::index("verdict").unwrap();
    row[verdict] = Cell::Text("quarantined".into());
    let error = connection(|index| row[index].value()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "column verdict holds \"quarantined\", which this version cannot read: the table was \
         written by another version, or it is damaged"
    );
}

#[test]
fn places_hold_the_values_of_fields() {
    let mut met = BTreeMap::new();
    for it in connections(&mut Random::new(2), 300) {
        let cells = cells(&it);
        for field in Field::all() {
            let expected = |half| Cell::from(it.value(field.at(half)));
            match place(field) {
                Place::Nowhere => assert_eq!(it.value(field), Value::Missing),
                Place::Column(column) => assert_eq!(cells[column], expected(Direction::Egress)),
                Place::Where { column, other, is } => {
                    let holds = cells[other] == Cell::Text(is.into());
                    let found = if holds {
                        cells[column].clone()
                    } else {
                        Cell::Missing
                    };
                    assert_eq!(found, expected(Direction::Egress));
                }
                Place::Difference(one, two) => {
                    let (Cell::Number(one), Cell::Number(two)) = (&cells[one], &cells[two]) else {
                        panic!("{field:?}");
                    };
                    assert_eq!(Cell::Number(one - two), expected(Direction::Egress));
                }
                Place::Either { egress, ingress } => {
                    assert_eq!(cells[egress], expected(Direction::Egress));
                    assert_eq!(cells[ingress], expected(Direction::Ingress));
                }
            }
            let known = it.value(field.at(Direction::Egress)) != Value::Missing;
            *met.entry(field).or_insert(false) |= known;
        }
    }
    for (field, met) in met {
        assert_eq!(met, place(field) != Place::Nowhere, "{field:?}");
    }
}

/// What the plan says, found among cells alone.
fn holds(plan: &Plan, cells: &[Cell]) -> bool {
    match plan {
        Plan::And(children) => children.iter().all(|it| holds(it, cells)),
        Plan::Or(children) => children.iter().any(|it| holds(it, cells)),
        Plan::Not(child) => !holds(child, cells),
        Plan::Half(_) => panic!("there are no halves any more"),
        Plan::Test(test) => match place(test.field) {
            Place::Nowhere => false,
            Place::Column(column) => match (cells[column].value(), test.field.kind()) {
                (Value::Number(flags), netverdict_query::Kind::TcpFlags) => test
                    .check
                    .holds(Value::Flags(netverdict_types::TcpFlags(flags as u8))),
                (value, _) => test.check.holds(value),
            },
            Place::Where { column, other, is } => {
                cells[other] == Cell::Text(is.into()) && test.check.holds(cells[column].value())
            }
            Place::Difference(one, two) => match (&cells[one], &cells[two]) {
                (Cell::Number(one), Cell::Number(two)) => {
                    test.check.holds(Value::Number(one - two))
                }
                _ => false,
            },
            Place::Either { .. } => panic!("{:?} names no half", test.field),
        },
    }
}

#[test]
fn plans_by_halves_mean_the_same_on_columns() {
    let (mut held, mut failed) = (0, 0);
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let known = connections(&mut random, 30);
        let rows: Vec<_> = known.iter().map(cells).collect();
        for _ in 0..20 {
            let plan = ask(&mut random, &known).filter;
            let by_halves = plan.by_halves();
            for (it, row) in known.iter().zip(&rows) {
                let expected = plan.matches(it);
                assert_eq!(by_halves.matches(it), expected, "{plan:#?}");
                assert_eq!(holds(&by_halves, row), expected, "{plan:#?}");
                *(if expected { &mut held } else { &mut failed }) += 1;
            }
        }
    }
    assert!(held > 2_000 && failed > 2_000, "{held} {failed}");
}

#[test]
fn the_naive_store_passes() {
    for seed in 0..10 {
        ready(judge(&Naive::default(), seed, 100, 20)).unwrap();
    }
}

#[test]
fn random_questions_have_answers() {
    let (mut empty, mut rows, mut groups) = (0, 0, 0);
    for seed in 0..30 {
        let mut judge = Judge::new(seed, 60);
        let store = Naive::default();
        while ready(judge.append(&store)).unwrap() {}
        let known = judge.expected();
        for _ in 0..20 {
            let ask = ask(&mut judge.random, &known);
            assert_eq!(ask.check(), Ok(()));
            let answer = store.answer(&ask);
            let count = match (answer.lines.is_empty(), &ask.want) {
                (true, _) => &mut empty,
                (false, Want::Rows { .. }) => &mut rows,
                (false, Want::Groups(_)) => &mut groups,
            };
            *count += 1;
        }
    }
    assert!(rows > 60 && groups > 150, "{empty} {rows} {groups}");
}

/// A store with a mistake.
struct Wrong {
    naive: Naive,
    mistake: Mistake,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    NotFolded,
    TwiceKept,
    UntilIncluded,
    HalvesMixed,
    TotalOfShown,
    EmptyIsMissing,
    CaseIgnored,
    OrderOfTies,
    NoNext,
}

impl Wrong {
    fn answer(&self, ask: &Ask) -> Answer {
        let mut ask = ask.clone();
        match self.mistake {
            Mistake::UntilIncluded => ask.until = ask.until.after(1),
            Mistake::HalvesMixed => ask.filter = without_halves(&ask.filter),
            _ => {}
        }
        let mut answer = self.naive.answer(&ask);
        match self.mistake {
            Mistake::TotalOfShown if answer.total > 0 => answer.total = answer.lines.len() as u64,
            Mistake::NoNext => answer.next = None,
            Mistake::OrderOfTies if answer.total > 0 => answer.lines.reverse(),
            Mistake::EmptyIsMissing => replace(&mut answer, |text| {
                (text.is_empty()).then_some(Cell::Missing)
            }),
            Mistake::CaseIgnored => replace(&mut answer, |text| {
                (text == "Blue").then(|| Cell::Text("blue".into()))
            }),
            _ => {}
        }
        answer
    }
}

fn replace(answer: &mut Answer, with: impl Fn(&str) -> Option<Cell>) {
    for cell in answer.lines.iter_mut().flatten() {
        if let Cell::Text(text) = &cell
            && let Some(other) = with(text)
        {
            *cell = other;
        }
    }
}

fn without_halves(plan: &Plan) -> Plan {
    let all = |children: &[Plan]| children.iter().map(without_halves).collect();
    match plan {
        Plan::And(children) => Plan::And(all(children)),
        Plan::Or(children) => Plan::Or(all(children)),
        Plan::Not(child) => Plan::Not(Box::new(without_halves(child))),
        Plan::Half(child) => without_halves(child),
        Plan::Test(test) => Plan::Test(test.clone()),
    }
}

impl Store for Wrong {
    fn append(&self, mut batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        match self.mistake {
            Mistake::NotFolded => batch
                .rows
                .iter_mut()
                .for_each(|row| row.id.0 += u128::from(row.seq)),
            Mistake::TwiceKept => {
                let again = batch.rows[0].clone();
                batch.rows.push(again);
            }
            _ => {}
        }
        self.naive.append(batch)
    }

    fn ask<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Answer, StoreError>> {
        async { Ok(self.answer(ask)) }.boxed()
    }

    fn connections<'a>(
        &'a self,
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Connection>, StoreError>> {
        self.naive.connections(ask)
    }

    fn last<'a>(&'a self, writer: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        self.naive.last(writer)
    }

    fn state(&self) -> BoxFuture<'_, Result<State, StoreError>> {
        self.naive.state()
    }
}

#[test]
fn mistakes_are_found() {
    use Mistake::*;
    for mistake in [
        NotFolded,
        TwiceKept,
        UntilIncluded,
        HalvesMixed,
        TotalOfShown,
        EmptyIsMissing,
        CaseIgnored,
        OrderOfTies,
        NoNext,
    ] {
        let found = (0..200).find_map(|seed| {
            let store = Wrong {
                naive: Naive::default(),
                mistake,
            };
            ready(judge(&store, seed, 60, 20)).err()
        });
        let message = found.unwrap_or_else(|| panic!("{mistake:?} is not found"));
        assert!(message.starts_with("seed "), "{message}");
    }
}

/// Each question answered by [`Live`], from connections in a random order.
struct Lively(Naive);

impl Store for Lively {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.append(batch)
    }

    fn ask<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Answer, StoreError>> {
        async {
            let mut live = Live::new(ask.clone(), 1 << 20)?;
            for connection in self.0.folded() {
                live.add(&connection);
            }
            assert_eq!(live.lost(), 0);
            Ok(live.answer())
        }
        .boxed()
    }

    fn connections<'a>(
        &'a self,
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Connection>, StoreError>> {
        self.0.connections(ask)
    }

    fn last<'a>(&'a self, writer: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        self.0.last(writer)
    }

    fn state(&self) -> BoxFuture<'_, Result<State, StoreError>> {
        self.0.state()
    }
}

#[test]
fn live_answers_are_the_same() {
    for seed in 0..20 {
        ready(judge(&Lively(Naive::default()), seed, 80, 40)).unwrap();
    }
}

#[test]
fn live_memory_has_a_limit_and_says_so() {
    let mut random = Random::new(4);
    let known = connections(&mut random, 500);
    let mut overflowed = 0;
    for _ in 0..200 {
        let ask = ask(&mut random, &known);
        let (mut all, mut some) = (
            Live::new(ask.clone(), usize::MAX).unwrap(),
            Live::new(ask.clone(), 8).unwrap(),
        );
        for it in &known {
            all.add(it);
            some.add(it);
        }
        let (all, answer) = (all.answer(), some.answer());
        match ask.want {
            Want::Groups(_) => assert!(answer.total <= 8),
            Want::Rows { .. } => assert!(answer.lines.len() <= 8),
        }
        if some.lost() == 0 && matches!(ask.want, Want::Groups(_)) {
            assert_eq!(answer, all);
        }
        overflowed += usize::from(some.lost() > 0);
    }
    assert!(overflowed > 20, "{overflowed}");
}

#[test]
fn a_state_tells_rows_and_span() {
    let store = Naive::default();
    let rows = connections(&mut Random::new(3), 5);
    let batch = Batch {
        writer: "w".to_owned(),
        number: 1,
        rows: rows.clone(),
    };
    ready(store.append(batch)).unwrap();
    let state = ready(store.state()).unwrap();
    let start = rows.iter().map(|it| it.start).min().unwrap();
    let end = rows.iter().map(|it| it.end).max().unwrap();
    assert_eq!(
        (state.rows, state.span),
        (5, Some(start..Timestamp(end.0 + 1)))
    );
}
