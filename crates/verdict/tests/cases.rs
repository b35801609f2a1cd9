//! Decisions on single samples, case by case.
#![allow(clippy::unwrap_used)]

use netverdict_history::{History, Limits};
use netverdict_ovsdb::{Cause, Change, ChangeSet, Datum, Row};
use netverdict_types::{
    Cookie, Decision, Evidence, Headers, Input, Key, Origin, Probability, Sample, Timestamp,
    Unresolved, Verdict, ZoneId,
};
use netverdict_verdict::{Names, Resolver};
use uuid::Uuid;

const SECOND: i64 = 1_000_000_000;
const ZONE: ZoneId = ZoneId(0);
/// Numbers of the applications; others than ovn-kubernetes' 1, 2 and 3, to show that none is fixed.
const NEW: u8 = 77;
const EST: u8 = 200;

fn id(table: u8, number: u8) -> Uuid {
    Uuid::from_bytes([table, number, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

fn put(row: Row) -> Change {
    Change {
        table: row.table().into(),
        uuid: row.uuid(),
        old: None,
        new: Some(row),
    }
}

fn gone(table: &str, uuid: Uuid) -> Change {
    Change {
        table: table.into(),
        uuid,
        old: None,
        new: None,
    }
}

fn apps() -> Vec<Change> {
    let app = |number: u8, word: &str| {
        put(Row::new(
            "Sampling_App",
            id(2, number),
            [
                ("type", Datum::from(word)),
                ("id", Datum::from(i64::from(number))),
            ],
        ))
    };
    vec![app(NEW, "acl-new"), app(EST, "acl-est")]
}

/// An ACL with its Sample row in both columns: a rule of the policy `blue:<policy>`.
fn acl(
    number: u8,
    point: u32,
    policy: &str,
    protocol: &str,
    action: &str,
    tier: i64,
) -> Vec<Change> {
    vec![
        put(Row::new(
            "Sample",
            id(3, number),
            [("metadata", Datum::from(i64::from(point)))],
        )),
        put(Row::new(
            "ACL",
            id(4, number),
            [
                ("name", Datum::from("NP:blue")),
                ("direction", Datum::from("to-lport")),
                ("action", Datum::from(action)),
                ("priority", Datum::from(1001)),
                (
                    "match",
                    Datum::from(format!("{protocol} && {number} == {number}")),
                ),
                ("tier", Datum::from(tier)),
                ("label", Datum::from(i64::from(number) + 500)),
                ("sample_new", Datum::from(id(3, number))),
                ("sample_est", Datum::from(id(3, number))),
                (
                    "external_ids",
                    Datum::map_of([
                        ("k8s.ovn.org/owner-type", "NetworkPolicy"),
                        ("k8s.ovn.org/name", &format!("blue:{policy}")),
                        ("direction", "Ingress"),
                        ("port-policy-protocol", protocol),
                    ]),
                ),
            ],
        )),
    ]
}

fn history(changes: Vec<Change>) -> History {
    let mut history = History::new(Limits::default());
    assert_eq!(history.zone("w1"), ZONE);
    apply(&mut history, 0, Cause::Initial, [apps(), changes].concat());
    history
}

fn apply(history: &mut History, time: i64, cause: Cause, changes: Vec<Change>) {
    let set = ChangeSet {
        time,
        cause,
        transaction: None,
        changes,
    };
    history.apply(ZONE, &set).unwrap();
}

fn sample(app: u8, point: u32, seconds: i64, protocol: u8) -> Sample<'static> {
    Sample {
        zone: ZONE,
        origin: Origin::Psample,
        time: Timestamp(seconds * SECOND),
        key: Key::Cookie(Cookie {
            domain: u32::from(app) << 24 | 1,
            point,
        }),
        group: Some(10),
        probability: Probability::ALL,
        input: Input::Unknown,
        headers: Headers {
            src: Some([10, 0, 0, 1].into()),
            dst: Some([10, 0, 0, 2].into()),
            src_port: Some(40_000),
            dst_port: Some(80),
            protocol: Some(protocol),
            ..Headers::default()
        },
        length: 60,
        packets: 1,
        bytes: 60,
        data: &[],
    }
}

fn policy<'a>(decision: &Decision<'a>) -> &'a str {
    let row = decision.acl.unwrap();
    row.acl().owner.name.as_deref().unwrap()
}

#[test]
fn two_acls_that_share_a_point_are_named_and_not_guessed() {
    let rows = [
        acl(1, 7, "one", "tcp", "allow-related", 2),
        acl(2, 7, "two", "tcp", "drop", 1),
    ];
    let (history, names) = (history(rows.concat()), Names::default());
    let mut resolver = Resolver::default();
    let decision = resolver.resolve(&history, &names, &sample(NEW, 7, 100, 6));
    assert!(decision.is_ambiguous());
    assert_eq!(decision.candidates.total(), 2);
    // The earlier tier is named first, and the JSON says that it is a choice.
    assert_eq!(policy(&decision), "two");
    assert_eq!(resolver.counts().ambiguous, 1);
}

#[test]
fn the_protocol_rules_out_an_acl_for_another() {
    let rows = [
        acl(1, 7, "one", "tcp", "allow-related", 2),
        acl(2, 7, "two", "udp", "drop", 1),
    ];
    let (history, names) = (history(rows.concat()), Names::default());
    for (protocol, name) in [(6, "one"), (17, "two")] {
        let decision =
            Resolver::default().resolve(&history, &names, &sample(NEW, 7, 100, protocol));
        assert_eq!(
            (policy(&decision), decision.evidence),
            (name, Evidence::Match)
        );
        assert!(!decision.is_ambiguous());
    }
}

#[test]
fn a_deleted_acl_is_still_named_and_a_reused_point_does_not_fool_its_connection() {
    let mut history = history(acl(1, 7, "old", "tcp", "allow-related", 2));
    let names = Names::default();
    let mut resolver = Resolver::default();
    resolver.resolve(&history, &names, &sample(NEW, 7, 100, 6));
    let both = vec![gone("ACL", id(4, 1)), gone("Sample", id(3, 1))];
    apply(&mut history, 200 * SECOND, Cause::Transaction, both);
    let decision = resolver.resolve(&history, &names, &sample(EST, 7, 300, 6));
    assert_eq!((policy(&decision), decision.deleted), ("old", true));
    assert_eq!(decision.evidence, Evidence::Connection);

    let reused = acl(2, 7, "impostor", "tcp", "drop", 2);
    apply(&mut history, 400 * SECOND, Cause::Transaction, reused);
    let decision = resolver.resolve(&history, &names, &sample(EST, 7, 500, 6));
    assert_eq!(
        (policy(&decision), decision.verdict),
        ("old", Verdict::Allowed)
    );
    // What nobody saw begin could be of either.
    let decision = Resolver::default().resolve(&history, &names, &sample(EST, 7, 500, 6));
    assert!(decision.is_ambiguous());
    // After a restart the first run's connections are known again.
    let mut next = Resolver::default();
    assert!(next.recall(&resolver.remember()));
    let decision = next.resolve(&history, &names, &sample(EST, 7, 600, 6));
    assert_eq!(policy(&decision), "old");
    // A new connection meets the new ACL.
    let decision = next.resolve(&history, &names, &sample(NEW, 7, 600, 6));
    assert_eq!(policy(&decision), "impostor");
}

#[test]
fn a_packet_shortly_after_a_change_may_have_met_the_rows_before_it() {
    let mut history = history(acl(1, 7, "old", "tcp", "drop", 2));
    let other = acl(1, 7, "new", "tcp", "drop", 2);
    apply(&mut history, 100 * SECOND, Cause::Transaction, other);
    let names = Names::default();
    let mut resolver = Resolver::default();
    let mut at = |seconds| {
        let decision = resolver.resolve(&history, &names, &sample(NEW, 7, seconds, 6));
        (policy(&decision).to_owned(), decision.is_ambiguous())
    };
    assert_eq!(at(99), ("old".to_owned(), false));
    assert_eq!(at(101), ("new".to_owned(), true));
    assert_eq!(at(200), ("new".to_owned(), false));
}

#[test]
fn what_cannot_be_resolved_says_why() {
    let mut history = history(acl(1, 7, "one", "tcp", "drop", 2));
    let empty = history.zone("w2");
    let names = Names::default();
    let mut resolver = Resolver::default();
    let mut why = |sample: Sample<'static>| {
        let decision = resolver.resolve(&history, &names, &sample);
        assert_eq!(decision.verdict, Verdict::Unknown);
        decision.unresolved.unwrap()
    };
    let plain = sample(NEW, 7, 100, 6);
    assert_eq!(why(sample(NEW, 8, 100, 6)), Unresolved::UnknownPoint);
    assert_eq!(why(sample(3, 7, 100, 6)), Unresolved::UnknownApp);
    assert_eq!(why(sample(NEW, 8, -1, 6)), Unresolved::BeforeHistory);
    let key = Key::None;
    assert_eq!(why(Sample { key, ..plain }), Unresolved::BadCookie);
    let zone = empty;
    assert_eq!(why(Sample { zone, ..plain }), Unresolved::NoPolicies);
    let key = Key::Label(1);
    assert_eq!(why(Sample { key, ..plain }), Unresolved::UnknownLabel);
    assert_eq!(resolver.counts().unresolved_total(), 6);
}

#[test]
fn a_label_names_its_acl() {
    let history = history(acl(1, 7, "one", "tcp", "allow-related", 2));
    let key = Key::Label(501);
    let sample = Sample {
        key,
        ..sample(NEW, 0, 100, 6)
    };
    let names = Names::default();
    let decision = Resolver::default().resolve(&history, &names, &sample);
    assert_eq!(
        (policy(&decision), decision.evidence),
        ("one", Evidence::Label)
    );
}
