//! The time line against a plain list of all states, through restarts and damage.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use netverdict_history::{History, Limits, Role};
use netverdict_ovsdb::{Cause, Change, ChangeSet, Datum, Row};
use netverdict_types::{Timestamp, ZoneId};
use proptest::prelude::*;
use uuid::Uuid;

#[derive(Clone, Debug)]
enum Step {
    /// ACL, its priority (which makes it another ACL) and the Sample rows it names.
    Put(u8, u16, Option<u8>, Option<u8>),
    Delete(u8),
    /// Sample row and its point.
    Sample(u8, u32),
    Unsample(u8),
    Restart,
    /// Missed transactions: the same as the steps, but told as a gap.
    Gap,
}

fn step() -> impl Strategy<Value = Step> {
    let sample = || proptest::option::of(0..4_u8);
    prop_oneof![
        4 => (0..6_u8, 0..3_u16, sample(), sample()).prop_map(|(a, p, n, e)| Step::Put(a, p, n, e)),
        1 => (0..6_u8).prop_map(Step::Delete),
        3 => (0..4_u8, 1..5_u32).prop_map(|(s, p)| Step::Sample(s, p)),
        1 => (0..4_u8).prop_map(Step::Unsample),
        1 => Just(Step::Restart),
        1 => Just(Step::Gap),
    ]
}

type AclState = (u16, Option<u8>, Option<u8>);

#[derive(Clone, Default)]
struct State {
    acls: BTreeMap<u8, AclState>,
    samples: BTreeMap<u8, u32>,
}

impl State {
    fn holders(&self, role: Role, point: u32) -> BTreeSet<(Uuid, u16)> {
        let sample = |(_, new, est): &AclState| match role {
            Role::New => *new,
            Role::Est => *est,
        };
        self.acls
            .iter()
            .filter(|(_, acl)| {
                sample(acl).and_then(|sample| self.samples.get(&sample)) == Some(&point)
            })
            .map(|(number, acl)| (acl_uuid(*number), acl.0))
            .collect()
    }

    fn rows(&self) -> BTreeMap<(&'static str, Uuid), Row> {
        let acls = self
            .acls
            .iter()
            .map(|(number, acl)| (("ACL", acl_uuid(*number)), acl_row(*number, *acl)));
        let samples = self.samples.iter().map(|(number, point)| {
            (
                ("Sample", sample_uuid(*number)),
                sample_row(*number, *point),
            )
        });
        acls.chain(samples).collect()
    }
}

fn acl_uuid(number: u8) -> Uuid {
    Uuid::from_u128(0xac1_0000 + u128::from(number))
}

fn sample_uuid(number: u8) -> Uuid {
    Uuid::from_u128(0x5a_0000 + u128::from(number))
}

fn reference(sample: Option<u8>) -> Datum {
    Datum::Set(
        sample
            .map(sample_uuid)
            .map(Into::into)
            .into_iter()
            .collect(),
    )
}

fn acl_row(number: u8, (priority, new, est): AclState) -> Row {
    Row::new(
        "ACL",
        acl_uuid(number),
        [
            ("name", Datum::from(format!("acl{number}").as_str())),
            ("priority", Datum::from(i64::from(priority))),
            ("direction", Datum::from("to-lport")),
            ("match", Datum::from("ip4")),
            ("action", Datum::from("drop")),
            ("tier", Datum::from(2)),
            ("sample_new", reference(new)),
            ("sample_est", reference(est)),
        ],
    )
}

fn sample_row(number: u8, point: u32) -> Row {
    Row::new(
        "Sample",
        sample_uuid(number),
        [("metadata", Datum::from(i64::from(point)))],
    )
}

fn difference(old: &State, new: &State) -> Vec<Change> {
    let (old, new) = (old.rows(), new.rows());
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).copied().collect();
    keys.into_iter()
        .filter(|key| old.get(key) != new.get(key))
        .map(|key| Change {
            table: Arc::from(key.0),
            uuid: key.1,
            old: old.get(&key).cloned(),
            new: new.get(&key).cloned(),
        })
        .collect()
}

fn set(time: i64, cause: Cause, changes: Vec<Change>) -> ChangeSet {
    ChangeSet {
        time,
        cause,
        transaction: None,
        changes,
    }
}

fn found(
    history: &History,
    zone: ZoneId,
    role: Role,
    point: u32,
    at: i64,
) -> BTreeSet<(Uuid, u16)> {
    history
        .holders(zone, role, point, Timestamp(at), Timestamp(at))
        .map(|span| (span.row().uuid, span.row().acl().priority))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn answers_as_a_list_of_all_states(steps in proptest::collection::vec(step(), 1..40)) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("history");
        let mut history = History::open(&path, Limits::default()).unwrap();
        let zone = history.zone("worker");
        let mut state = State::default();
        history.apply(zone, &set(0, Cause::Initial, Vec::new())).unwrap();
        // (from, state): each holds until the next.
        let mut states = vec![(0_i64, state.clone())];
        let mut told = state.clone();
        let mut missed = false;
        for (number, step) in steps.iter().enumerate() {
            let time = (number as i64 + 1) * 10;
            match *step {
                Step::Put(acl, priority, new, est) => {
                    state.acls.insert(acl, (priority, new, est));
                }
                Step::Delete(acl) => {
                    state.acls.remove(&acl);
                }
                Step::Sample(sample, point) => {
                    state.samples.insert(sample, point);
                }
                Step::Unsample(sample) => {
                    state.samples.remove(&sample);
                }
                Step::Restart => {
                    drop(history);
                    history = History::open(&path, Limits::default()).unwrap();
                    prop_assert_eq!(history.zone("worker"), zone);
                    prop_assert_eq!(history.counts().damaged, 0);
                    let all = difference(&State::default(), &state);
                    history.apply(zone, &set(time, Cause::Initial, all)).unwrap();
                    told = state.clone();
                    missed = false;
                }
                Step::Gap => missed = true,
            }
            if !missed {
                let changes = difference(&told, &state);
                history.apply(zone, &set(time, Cause::Transaction, changes)).unwrap();
                told = state.clone();
            } else if !matches!(step, Step::Gap) {
                let from = states.last().unwrap().0;
                let changes = difference(&told, &state);
                history.apply(zone, &set(time, Cause::Gap { from, to: time }, changes)).unwrap();
                told = state.clone();
                missed = false;
            }
            states.push((time, state.clone()));
        }
        for (number, (from, state)) in states.iter().enumerate() {
            let next = states.get(number + 1).map_or(from + 10, |(next, _)| *next);
            for at in [from + 1, next - 1] {
                for point in 1..5 {
                    for role in [Role::New, Role::Est] {
                        let expected = state.holders(role, point);
                        let found = found(&history, zone, role, point, at);
                        // A gap and a restart widen: what was there is always found.
                        prop_assert!(found.is_superset(&expected), "{found:?} {expected:?} at {at}");
                        let plain = !steps.iter().any(|step| matches!(step, Step::Gap | Step::Restart));
                        if plain {
                            prop_assert_eq!(found, expected);
                        }
                    }
                }
            }
        }
        // Now is exact, whatever was missed.
        if !missed {
            let now = states.last().unwrap().0 + 1;
            for point in 1..5 {
                prop_assert_eq!(found(&history, zone, Role::New, point, now), state.holders(Role::New, point));
            }
        }
    }
}

fn one_acl(priority: u16, point: u32) -> State {
    State {
        acls: BTreeMap::from([(1, (priority, Some(1), Some(1)))]),
        samples: BTreeMap::from([(1, point)]),
    }
}

#[test]
fn a_deleted_acl_is_found_after_a_restart_and_a_torn_end_costs_only_itself() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("history");
    let mut history = History::open(&path, Limits::default()).unwrap();
    let zone = history.zone("worker");
    let all = difference(&State::default(), &one_acl(1000, 7));
    history
        .apply(zone, &set(100, Cause::Initial, all.clone()))
        .unwrap();
    let gone = difference(&one_acl(1000, 7), &State::default());
    history
        .apply(zone, &set(200, Cause::Transaction, gone))
        .unwrap();
    history.flush().unwrap();
    let whole = fs::metadata(&path).unwrap().len();
    let again = difference(&State::default(), &one_acl(2000, 7));
    history
        .apply(zone, &set(300, Cause::Transaction, again))
        .unwrap();
    drop(history);

    let bytes = fs::read(&path).unwrap();
    for cut in whole as usize..bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        let history = History::open(&path, Limits::default()).unwrap();
        assert_eq!(
            found(&history, zone, Role::Est, 7, 150),
            BTreeSet::from([(acl_uuid(1), 1000)])
        );
        assert!(
            found(&history, zone, Role::Est, 7, 250).is_empty(),
            "cut at {cut}"
        );
    }
    for cut in 0..21 {
        fs::write(&path, &bytes[..cut]).unwrap();
        assert_eq!(
            History::open(&path, Limits::default())
                .unwrap()
                .counts()
                .alive,
            0
        );
    }
    let foreign = place.path().join("foreign");
    fs::write(&foreign, b"not a history").unwrap();
    let error = History::open(&foreign, Limits::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("move it away"), "{error}");
}

#[test]
fn a_second_process_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("history");
    let _first = History::open(&path, Limits::default()).unwrap();
    let error = History::open(&path, Limits::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("another netverdict"), "{error}");
    assert_eq!(
        History::look(&path, Limits::default())
            .unwrap()
            .counts()
            .alive,
        0
    );
}

#[test]
fn bounded_by_age_and_size_but_never_at_the_cost_of_the_present() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("history");
    let limits = Limits {
        age: 1_000,
        bytes: 40_000,
    };
    let mut history = History::open(&path, limits).unwrap();
    let zone = history.zone("worker");
    history
        .apply(zone, &set(0, Cause::Initial, Vec::new()))
        .unwrap();
    let mut last = State::default();
    for number in 1..2_000_u16 {
        let next = one_acl(number, u32::from(number));
        let changes = difference(&last, &next);
        history
            .apply(
                zone,
                &set(i64::from(number) * 10, Cause::Transaction, changes),
            )
            .unwrap();
        last = next;
        assert!(fs::metadata(&path).unwrap().len() <= limits.bytes + 4_000);
    }
    let counts = history.counts();
    assert_eq!(counts.alive, 1);
    assert!(counts.past <= 101, "{counts:?}");
    assert!(counts.forgotten > 1_800, "{counts:?}");
    assert!(history.horizon(zone) > Timestamp(18_000));
    let before = counts;
    drop(history);
    let history = History::open(&path, limits).unwrap();
    assert_eq!(history.counts().alive, 1);
    assert_eq!(found(&history, zone, Role::New, 1_999, 19_991).len(), 1);
    assert!(history.counts().past >= before.past);
}

#[test]
fn zones_share_an_acl() {
    let mut history = History::new(Limits::default());
    let all = difference(&State::default(), &one_acl(1000, 7));
    for number in 0..500 {
        let zone = history.zone(&format!("worker-{number}"));
        history
            .apply(zone, &set(1, Cause::Initial, all.clone()))
            .unwrap();
    }
    let counts = history.counts();
    assert_eq!((counts.alive, counts.facts), (500, 1));
}

#[test]
fn copies_follow_the_tier_that_decides() {
    let mut history = History::new(Limits::default());
    let zone = history.zone("worker");
    let (group, port) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let put = |ports: &[Uuid]| Change {
        table: Arc::from("Port_Group"),
        uuid: group,
        old: None,
        new: Some(Row::new(
            "Port_Group",
            group,
            [
                ("name", Datum::from("pg")),
                (
                    "ports",
                    Datum::Set(ports.iter().copied().map(Into::into).collect()),
                ),
                ("acls", Datum::Set(vec![acl_uuid(9).into()])),
            ],
        )),
    };
    let baseline = Row::new(
        "ACL",
        acl_uuid(9),
        [
            ("priority", Datum::from(1)),
            ("direction", Datum::from("to-lport")),
            ("match", Datum::from("ip4")),
            ("action", Datum::from("drop")),
            ("tier", Datum::from(3)),
        ],
    );
    let mut changes = difference(&State::default(), &one_acl(1000, 7));
    changes.push(put(&[]));
    changes.push(Change {
        table: Arc::from("ACL"),
        uuid: acl_uuid(9),
        old: None,
        new: Some(baseline),
    });
    history
        .apply(zone, &set(1, Cause::Initial, changes))
        .unwrap();
    let copies = |history: &History| {
        let mut held = history.holders(zone, Role::Est, 7, Timestamp::MIN, Timestamp::MAX);
        history.copies(zone, held.next().unwrap())
    };
    assert_eq!(copies(&history), 3, "its own tier is 2");
    let passed = |history: &History| {
        let mut held = history.holders(zone, Role::Est, 7, Timestamp::MIN, Timestamp::MAX);
        history.pass_copies(zone, held.next().unwrap())
    };
    assert_eq!(passed(&history), 1, "no tier behind it is in use");
    let gone = difference(&one_acl(1000, 7), &State::default());
    history
        .apply(zone, &set(2, Cause::Transaction, gone))
        .unwrap();
    assert_eq!(copies(&history), 3, "the baseline's group has no port");
    history
        .apply(zone, &set(3, Cause::Transaction, vec![put(&[port])]))
        .unwrap();
    assert_eq!(
        copies(&history),
        4,
        "nothing decides before the baseline's tier"
    );
    assert_eq!(passed(&history), 2, "the baseline's tier comes behind it");
    history.set_schema(zone, "7.18.0");
    assert_eq!(copies(&history), 1, "26.03 samples once");
}
