//! Laws of the planners, on rows made by hand.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use netverdict_control::{
    Compat, Edit, EnableError, Feature, OWNER, OWNER_KEY, Plan, ProblemKind, Rates, Share,
    VswitchError, VswitchWish, Wish, disable, disable_vswitch, enable, enable_vswitch, status,
    wanted,
};
use netverdict_ovn::{Database, ids};
use netverdict_ovsdb::{Atom, Columns, Datum, Operation, Replica, Row};
use netverdict_types::Action;
use proptest::prelude::*;
use uuid::Uuid;

// --- a database by hand

/// Rows, with what an OVSDB server does when a transaction is committed.
#[derive(Clone, Debug, Default)]
struct Rows(BTreeMap<(String, Uuid), BTreeMap<String, Datum>>);

/// Tables whose rows go when nothing refers to them, and by which columns they are referred to.
const GARBAGE: [(&str, &[(&str, &str)]); 2] = [
    ("Sample", &[("ACL", "sample_new"), ("ACL", "sample_est")]),
    (
        "IPFIX",
        &[("Flow_Sample_Collector_Set", "ipfix"), ("Bridge", "ipfix")],
    ),
];
const UNIQUE: [(&str, &[&str]); 4] = [
    ("Sample", &["metadata"]),
    ("Sample_Collector", &["id"]),
    ("Sampling_App", &["type"]),
    ("Flow_Sample_Collector_Set", &["id", "bridge"]),
];
const OPTIONAL: [(&str, &[&str]); 4] = [
    ("ACL", &["sample_new", "sample_est"]),
    ("Sample_Collector", &["name", "external_ids"]),
    ("Sampling_App", &["external_ids"]),
    (
        "Flow_Sample_Collector_Set",
        &["ipfix", "local_group_id", "external_ids"],
    ),
];

impl Rows {
    fn add<'a>(
        &mut self,
        table: &str,
        uuid: Uuid,
        columns: impl IntoIterator<Item = (&'a str, Datum)>,
    ) -> Uuid {
        let mut row: BTreeMap<_, _> = columns
            .into_iter()
            .map(|(column, value)| (column.to_owned(), value))
            .collect();
        let optional = OPTIONAL.iter().filter(|(name, _)| *name == table);
        for column in optional.flat_map(|(_, columns)| *columns) {
            let default = match *column {
                "external_ids" => Datum::map(Vec::new()),
                "name" => Datum::from(""),
                _ => Datum::empty(),
            };
            row.entry((*column).to_owned()).or_insert(default);
        }
        self.0.insert((table.to_owned(), uuid), row);
        uuid
    }

    fn replica(&self, database: Database) -> Replica {
        let rows = self.0.iter().map(|((table, uuid), columns)| {
            let columns = columns.iter().map(|(k, v)| (k.as_str(), v.clone()));
            Row::new(table, *uuid, columns)
        });
        Replica::from_rows(database.name(), rows)
    }

    /// Carries out a plan as the server would; whatever the server would refuse fails the test.
    fn commit(&self, plan: &Plan) -> (Self, Plan) {
        let mut rows = self.clone();
        let mut names = BTreeMap::new();
        let operations = plan.transaction();
        for operation in operations.operations() {
            match operation {
                Operation::Wait {
                    table,
                    conditions,
                    rows: expected,
                    ..
                } => {
                    let row = &rows.0[&(table.clone(), row_of(conditions))];
                    for (column, value) in &expected[0] {
                        assert_eq!(&row[column], value, "{table}.{column}");
                    }
                }
                Operation::Insert {
                    table,
                    row,
                    columns,
                } => {
                    let uuid = Uuid::new_v4();
                    names.insert(*row, uuid);
                    let columns = columns.iter().map(|(k, v)| (k.as_str(), v.clone()));
                    rows.add(table, uuid, columns);
                }
                Operation::Update {
                    table,
                    conditions,
                    columns,
                } => {
                    let key = (table.clone(), row_of(conditions));
                    rows.0
                        .get_mut(&key)
                        .unwrap()
                        .extend(columns.iter().cloned());
                }
                Operation::Delete { table, conditions } => {
                    let key = (table.clone(), row_of(conditions));
                    assert!(rows.0.remove(&key).is_some(), "{table} row deleted twice");
                }
                Operation::Comment(_) => {}
                other => panic!("a planner made {other}"),
            }
        }
        let real = |uuid: Uuid| names.get(&uuid).copied().unwrap_or(uuid);
        for columns in rows.0.values_mut() {
            for value in columns.values_mut() {
                *value = match &*value {
                    Datum::Set(atoms) => atoms
                        .iter()
                        .map(|atom| match atom {
                            Atom::Uuid(uuid) => Atom::Uuid(real(*uuid)),
                            other => other.clone(),
                        })
                        .collect(),
                    other => other.clone(),
                };
            }
        }
        rows.check();
        (rows, plan.inverse(real))
    }

    /// What the server checks: references, garbage, indexes.
    fn check(&self) {
        for ((table, uuid), columns) in &self.0 {
            for (column, to) in [
                ("sample_new", "Sample"),
                ("sample_est", "Sample"),
                ("collectors", "Sample_Collector"),
                ("ipfix", "IPFIX"),
            ] {
                for atom in columns.get(column).map_or(&[][..], Datum::atoms) {
                    let to = (to.to_owned(), atom.as_uuid().unwrap());
                    assert!(self.0.contains_key(&to), "{table} {uuid}: {column} dangles");
                }
            }
            if let Some(metadata) = columns.get("metadata") {
                let point = metadata.scalar().unwrap().as_integer().unwrap();
                assert!((1..=i64::from(u32::MAX)).contains(&point));
            }
        }
        for (table, by) in GARBAGE {
            let referred: BTreeSet<_> = self
                .0
                .iter()
                .flat_map(|((from, _), columns)| {
                    by.iter()
                        .filter(move |(wanted, _)| wanted == from)
                        .filter_map(|(_, column)| columns.get(*column))
                })
                .flat_map(Datum::atoms)
                .filter_map(Atom::as_uuid)
                .collect();
            for (_, uuid) in self.0.keys().filter(|(name, _)| name == table) {
                assert!(referred.contains(uuid), "{table} {uuid} would be collected");
            }
        }
        for (table, columns) in UNIQUE {
            let mut seen = BTreeSet::new();
            for (key, row) in self.0.iter().filter(|((name, _), _)| name == table) {
                let value: Vec<_> = columns.iter().map(|column| row[*column].clone()).collect();
                assert!(seen.insert(value), "{key:?}: its index is taken");
            }
        }
    }

    /// The contents without the identities of rows that come and go.
    fn contents(&self) -> BTreeSet<String> {
        self.0
            .iter()
            .map(|((table, uuid), columns)| {
                let identity = match table.as_str() {
                    "ACL" | "Bridge" => uuid.to_string(),
                    _ => String::new(),
                };
                format!("{table} {identity} {:?}", self.resolved(columns))
            })
            .collect()
    }

    fn resolved(&self, columns: &BTreeMap<String, Datum>) -> BTreeMap<String, BTreeSet<String>> {
        columns
            .iter()
            .map(|(column, value)| {
                let atoms = value.atoms().iter().map(|atom| match atom {
                    Atom::Uuid(uuid) => {
                        let row = self.0.iter().find(|((_, row), _)| row == uuid);
                        format!("{:?}", row.map(|(_, columns)| self.resolved(columns)))
                    }
                    other => other.to_string(),
                });
                let pairs = value.pairs().iter().map(|(k, v)| format!("{k}={v}"));
                (column.clone(), atoms.chain(pairs).collect())
            })
            .collect()
    }

    fn of(&self, table: &str) -> Vec<(Uuid, &BTreeMap<String, Datum>)> {
        let rows = self.0.iter().filter(|((name, _), _)| name == table);
        rows.map(|((_, uuid), columns)| (*uuid, columns)).collect()
    }
}

fn row_of(conditions: &[netverdict_ovsdb::Condition]) -> Uuid {
    conditions[0].value.scalar().unwrap().as_uuid().unwrap()
}

// --- what is in a NB

#[derive(Clone, Debug)]
struct AnAcl {
    owner: Option<&'static str>,
    id: u8,
    matches: u8,
    action: Action,
    label: i64,
}

fn acl() -> impl Strategy<Value = AnAcl> {
    let owners = prop_oneof![
        Just(None),
        Just(Some("NetworkPolicy")),
        Just(Some("NetpolNamespace")),
        Just(Some("AdminNetworkPolicy")),
        Just(Some("EgressFirewall")),
        Just(Some("NetpolDefault")),
    ];
    let action = proptest::sample::select(Action::ALL.to_vec());
    let label = prop_oneof![9 => Just(0), 1 => Just(7)];
    (owners, 0..40u8, 0..3u8, action, label).prop_map(|(owner, id, matches, action, label)| AnAcl {
        owner,
        id,
        matches,
        action,
        label,
    })
}

fn add_acl(rows: &mut Rows, number: u128, acl: &AnAcl) -> Uuid {
    let ids = match acl.owner {
        Some(owner) => vec![
            (ids::key::OWNER_TYPE, owner.to_owned()),
            (ids::key::ID, format!("c:{owner}:{}", acl.id)),
        ],
        None => Vec::new(),
    };
    rows.add(
        "ACL",
        Uuid::from_u128(number + 1),
        [
            ("direction", Datum::from("to-lport")),
            ("priority", Datum::from(1000)),
            ("match", Datum::from(format!("ip4.src == {}", acl.matches))),
            ("action", Datum::from(acl.action.as_str())),
            ("label", Datum::from(acl.label)),
            ("tier", Datum::from(2)),
            ("external_ids", Datum::map_of(ids)),
        ],
    )
}

fn zone(acls: &[AnAcl]) -> Rows {
    let mut rows = Rows::default();
    for (number, acl) in acls.iter().enumerate() {
        add_acl(&mut rows, number as u128, acl);
    }
    rows
}

/// Samples of ovn-kubernetes for some of the ACLs, sharing a row where two hash alike.
fn sample_by_others(rows: &mut Rows, which: impl Fn(usize) -> bool) {
    let collector = rows.add(
        "Sample_Collector",
        Uuid::new_v4(),
        [
            ("id", Datum::from(1)),
            ("set_id", Datum::from(42)),
            ("probability", Datum::from(65535)),
            ("external_ids", Datum::map_of([("sample-features", "x")])),
        ],
    );
    for (id, app) in [(5, "acl-new"), (2, "acl-est")] {
        rows.add(
            "Sampling_App",
            Uuid::new_v4(),
            [("id", Datum::from(id)), ("type", Datum::from(app))],
        );
    }
    let acls: Vec<_> = rows.of("ACL").iter().map(|(uuid, _)| *uuid).collect();
    let mut points = BTreeMap::new();
    for (number, acl) in acls.into_iter().enumerate() {
        let key = ("ACL".to_owned(), acl);
        let text = |column: &str| rows.0[&key][column].clone();
        let id = text("external_ids").lookup(ids::key::ID).map(str::to_owned);
        let (Some(id), true) = (id, which(number)) else {
            continue;
        };
        let string = |datum: Datum| datum.scalar().unwrap().as_str().unwrap().to_owned();
        let point = ids::fnv32a([
            id.as_str(),
            string(text("match")).as_str(),
            string(text("action")).as_str(),
        ]);
        let sample = *points.entry(point).or_insert_with(|| {
            rows.add(
                "Sample",
                Uuid::new_v4(),
                [
                    ("metadata", Datum::from(i64::from(point))),
                    ("collectors", Datum::from(collector)),
                ],
            )
        });
        let row = rows.0.get_mut(&key).unwrap();
        row.insert("sample_new".to_owned(), Datum::from(sample));
        row.insert("sample_est".to_owned(), Datum::from(sample));
    }
    rows.check();
}

fn wish() -> impl Strategy<Value = Wish> {
    let rate = proptest::sample::select(vec!["new:100,est:1", "new:50,est:50", "new:10", "est:1"]);
    let features = proptest::collection::btree_map(
        proptest::sample::select(Feature::ALL.to_vec()),
        rate.prop_map(|text| text.parse::<Rates>().unwrap()),
        1..6,
    );
    (features, 42..44u32).prop_map(|(features, set)| Wish {
        features,
        set,
        compat: None,
        exact: true,
    })
}

fn same_rates() -> Wish {
    Wish {
        features: Feature::ALL
            .map(|f| (f, "new:10,est:10".parse().unwrap()))
            .into(),
        set: 43,
        compat: None,
        exact: true,
    }
}

fn nb(rows: &Rows) -> Replica {
    rows.replica(Database::Northbound)
}

/// Rows that netverdict did not make, without the columns that it may add to.
fn foreign(rows: &Rows) -> BTreeSet<String> {
    let owner = |columns: &BTreeMap<String, Datum>| {
        columns
            .get("external_ids")
            .and_then(|ids| ids.lookup(OWNER_KEY).map(str::to_owned))
    };
    let ours: BTreeSet<_> = rows
        .of("Sample_Collector")
        .into_iter()
        .filter(|(_, columns)| owner(columns).as_deref() == Some(OWNER))
        .map(|(uuid, _)| uuid)
        .collect();
    rows.0
        .iter()
        .filter(|(_, columns)| owner(columns).is_none())
        .filter_map(|((table, uuid), columns)| {
            let mut columns = columns.clone();
            if table == "Sample" {
                let others = columns["collectors"].atoms().iter();
                let others: Vec<_> = others
                    .filter_map(Atom::as_uuid)
                    .filter(|collector| !ours.contains(collector))
                    .collect();
                if others.is_empty() {
                    return None;
                }
                columns.insert("collectors".to_owned(), others.into_iter().collect());
            }
            if table == "ACL" {
                for column in ["sample_new", "sample_est"] {
                    let sample = columns[column].scalar().and_then(Atom::as_uuid);
                    let is_ours = sample.is_some_and(|sample| {
                        let collectors = &rows.0[&("Sample".to_owned(), sample)]["collectors"];
                        let mut collectors = collectors.atoms().iter().filter_map(Atom::as_uuid);
                        collectors.all(|collector| ours.contains(&collector))
                    });
                    if is_ours {
                        columns.insert(column.to_owned(), Datum::empty());
                    }
                }
            }
            Some(format!("{table} {uuid} {columns:?}"))
        })
        .collect()
}

// --- laws

proptest! {
    // A regression becomes a case of its own below.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn enabling_twice_changes_nothing(
        acls in proptest::collection::vec(acl(), 0..30),
        wishes in proptest::collection::vec(wish(), 1..4),
    ) {
        let mut rows = zone(&acls);
        for wish in wishes {
            let plan = enable(&nb(&rows), &wish).unwrap();
            rows = rows.commit(&plan).0;
            let again = enable(&nb(&rows), &wish).unwrap();
            prop_assert!(again.is_empty(), "{:#?}", again);
            prop_assert!(again.steps().is_empty());
        }
    }

    #[test]
    fn the_inverse_undoes_it(
        acls in proptest::collection::vec(acl(), 0..30),
        wishes in proptest::collection::vec(wish(), 1..4),
    ) {
        let mut rows = zone(&acls);
        for wish in wishes {
            let before = rows.contents();
            let (after, inverse) = rows.commit(&enable(&nb(&rows), &wish).unwrap());
            prop_assert_eq!(&after.commit(&inverse).0.contents(), &before);
            rows = after;
        }
        let before = rows.contents();
        let (after, inverse) = rows.commit(&disable(&nb(&rows), None));
        prop_assert_eq!(after.commit(&inverse).0.contents(), before);
    }

    #[test]
    fn disabling_leaves_what_was_there_before(
        acls in proptest::collection::vec(acl(), 0..30),
        sampled in proptest::collection::vec(any::<bool>(), 30),
        wishes in proptest::collection::vec(wish(), 1..4),
    ) {
        let mut rows = zone(&acls);
        if sampled[0] {
            sample_by_others(&mut rows, |number| sampled[number]);
        }
        let before = rows.contents();
        for wish in wishes {
            match enable(&nb(&rows), &wish) {
                Ok(plan) => rows = rows.commit(&plan).0,
                Err(EnableError::SharedSample { .. }) => {}
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
        rows = rows.commit(&disable(&nb(&rows), None)).0;
        prop_assert_eq!(rows.contents(), before);
        prop_assert!(disable(&nb(&rows), None).is_empty());
    }

    #[test]
    fn what_others_made_is_never_touched(
        acls in proptest::collection::vec(acl(), 1..30),
        sampled in proptest::collection::vec(any::<bool>(), 30),
        wish in wish(),
    ) {
        let mut rows = zone(&acls);
        sample_by_others(&mut rows, |number| sampled[number]);
        let before = foreign(&rows);
        for wish in [wish, same_rates()] {
            let Ok(plan) = enable(&nb(&rows), &wish) else { continue };
            rows = rows.commit(&plan).0;
            prop_assert_eq!(&foreign(&rows), &before);
        }
        rows = rows.commit(&disable(&nb(&rows), Some(43))).0;
        prop_assert_eq!(&foreign(&rows), &before);
    }

    #[test]
    fn each_acl_has_its_own_points_and_rates(
        acls in proptest::collection::vec(acl(), 1..30),
        wish in wish(),
    ) {
        let rows = zone(&acls);
        let rows = rows.commit(&enable(&nb(&rows), &wish).unwrap()).0;
        let mut owners = BTreeMap::new();
        for (uuid, columns) in rows.of("ACL") {
            let acl = &acls[uuid.as_u128() as usize - 1];
            let feature = match acl.owner {
                None => Some(Feature::Other),
                Some("NetpolDefault") => None,
                Some("NetpolNamespace") => Some(Feature::NetworkPolicy),
                Some(name) => Some(name.parse().unwrap()),
            };
            let rates = feature
                .and_then(|feature| wish.features.get(&feature))
                .filter(|_| acl.label == 0);
            let has_est = !matches!(acl.action, Action::Pass | Action::AllowStateless);
            for (column, share) in [
                ("sample_new", rates.map(|rates| rates.new)),
                ("sample_est", rates.map(|rates| rates.est).filter(|_| has_est)),
            ] {
                let share = share.filter(|share| !share.is_none());
                let sample = columns[column].scalar().and_then(Atom::as_uuid);
                prop_assert_eq!(sample.is_some(), share.is_some());
                let Some(sample) = sample else { continue };
                prop_assert_eq!(*owners.entry(sample).or_insert(uuid), uuid);
                let sample = &rows.0[&("Sample".to_owned(), sample)];
                let collector = sample["collectors"].scalar().unwrap().as_uuid().unwrap();
                let collector = &rows.0[&("Sample_Collector".to_owned(), collector)];
                let number = |column: &str| collector[column].scalar().unwrap().as_integer();
                prop_assert_eq!(number("set_id"), Some(wish.set.into()));
                prop_assert_eq!(number("probability"), share.map(|s| s.probability().into()));
            }
        }
        let status = status(&nb(&rows), None, None);
        prop_assert_eq!(status.flows.single, 0, "optimised flows stay");
        prop_assert!(status.problems.is_empty(), "{:#?}", status.problems);
    }
}

// --- cases

fn policy(id: u8) -> AnAcl {
    AnAcl {
        owner: Some("NetworkPolicy"),
        id,
        matches: 0,
        action: Action::AllowRelated,
        label: 0,
    }
}

fn point(rows: &Rows, acl: u128, column: &str) -> u32 {
    let acl = &rows.0[&("ACL".to_owned(), Uuid::from_u128(acl + 1))];
    let sample = acl[column].scalar().unwrap().as_uuid().unwrap();
    let metadata = &rows.0[&("Sample".to_owned(), sample)]["metadata"];
    u32::try_from(metadata.scalar().unwrap().as_integer().unwrap()).unwrap()
}

#[test]
fn compat_makes_what_ovn_kubernetes_makes() {
    let rows = zone(&[
        policy(1),
        AnAcl {
            action: Action::Pass,
            ..policy(2)
        },
    ]);
    let wish = Wish {
        features: BTreeMap::from([
            (Feature::NetworkPolicy, Rates::ALL),
            (Feature::Multicast, Rates::ALL),
        ]),
        compat: Some(Compat::OvnKubernetes),
        ..Wish::default()
    };
    let (rows, _) = rows.commit(&enable(&nb(&rows), &wish).unwrap());
    for (number, action) in [(0, Action::AllowRelated), (1, Action::Pass)] {
        let id = format!("c:NetworkPolicy:{}", number + 1);
        let expected = ids::sample_point(&id, "ip4.src == 0", action);
        assert_eq!(point(&rows, number, "sample_new"), expected);
        assert_eq!(point(&rows, number, "sample_est"), expected);
    }
    let collectors = rows.of("Sample_Collector");
    let [(_, collector)] = &collectors[..] else {
        panic!("{collectors:?}");
    };
    assert_eq!(collector["name"], Datum::from(""));
    let ids = &collector["external_ids"];
    assert_eq!(ids.lookup("sample-features"), Some("NetworkPolicy"));
    let unequal = Wish {
        compat: Some(Compat::OvnKubernetes),
        ..Wish::default()
    };
    assert!(matches!(
        enable(&nb(&rows), &unequal),
        Err(EnableError::UnequalRates { .. })
    ));
}

#[test]
fn a_taken_point_is_passed_over_and_kept() {
    // Two ACLs that nothing tells apart but their identity.
    let twin = AnAcl {
        owner: None,
        ..policy(0)
    };
    let rows = zone(&[twin.clone(), twin]);
    let plan = enable(&nb(&rows), &Wish::default()).unwrap();
    let moved: Vec<_> = plan
        .notes()
        .iter()
        .filter(|note| note.contains("is taken"))
        .collect();
    assert_eq!(moved.len(), 2, "{:?}", plan.notes());
    let (mut rows, _) = rows.commit(&plan);
    assert_eq!(
        point(&rows, 0, "sample_new") + 1,
        point(&rows, 1, "sample_new")
    );
    // The other goes: the point stays, so that old samples keep their reason.
    let first = ("ACL".to_owned(), Uuid::from_u128(1));
    let gone = rows.0.remove(&first).unwrap();
    for column in ["sample_new", "sample_est"] {
        let sample = gone[column].scalar().unwrap().as_uuid().unwrap();
        rows.0.remove(&("Sample".to_owned(), sample));
    }
    assert!(enable(&nb(&rows), &Wish::default()).unwrap().is_empty());
}

#[test]
fn a_changed_acl_gets_another_point() {
    let rows = zone(&[policy(1)]);
    let (mut rows, _) = rows.commit(&enable(&nb(&rows), &Wish::default()).unwrap());
    let before = point(&rows, 0, "sample_new");
    let acl = ("ACL".to_owned(), Uuid::from_u128(1));
    let row = rows.0.get_mut(&acl).unwrap();
    row.insert("match".to_owned(), Datum::from("ip6"));
    let found: Vec<_> = status(&nb(&rows), None, None).problems;
    assert_eq!(
        found.iter().map(|p| p.kind).collect::<Vec<_>>(),
        [ProblemKind::Stale]
    );
    let plan = enable(&nb(&rows), &Wish::default()).unwrap();
    let (rows, _) = rows.commit(&plan);
    assert_ne!(point(&rows, 0, "sample_new"), before);
    assert_eq!(rows.of("Sample").len(), 2);
    assert!(status(&nb(&rows), None, None).problems.is_empty());
}

#[test]
fn a_second_set_beside_anothers_loses_the_optimised_flows() {
    let mut rows = zone(&[policy(1), policy(2), policy(3)]);
    sample_by_others(&mut rows, |_| true);
    let mut different = Wish {
        set: 43,
        exact: true,
        ..Wish::default()
    };
    let error = enable(&nb(&rows), &different).unwrap_err();
    let EnableError::SharedSample {
        count: 3, owner, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(owner, "ovn-kubernetes");
    different.exact = false;
    let plan = enable(&nb(&rows), &different).unwrap();
    assert!(
        plan.notes()
            .iter()
            .any(|note| note.starts_with("3 Samples of others serve")),
        "{:?}",
        plan.notes()
    );
    let (joined, _) = rows.commit(&plan);
    assert!(enable(&nb(&joined), &different).unwrap().is_empty());
    let status_then = status(&nb(&joined), None, None);
    assert!(status_then.policies.iter().all(|policy| {
        let mut both = policy.new.iter().chain(&policy.est);
        both.all(|sampled| sampled.probability == Share::ALL)
    }));
    let plan = enable(&nb(&rows), &same_rates()).unwrap();
    assert!(
        plan.notes().iter().any(
            |note| note.contains("optimised flows are lost for 3 Samples")
                && note.contains("makes 9 logical flows")
        ),
        "{:?}",
        plan.notes()
    );
    let (rows, _) = rows.commit(&plan);
    let flows = status(&nb(&rows), None, None).flows;
    assert_eq!(
        (flows.optimised, flows.single, flows.single_flows),
        (0, 3, 9)
    );
    // To their own set nothing is added.
    let plan = enable(&nb(&rows), &Wish::default()).unwrap();
    assert!(plan.is_empty());
    assert!(
        plan.notes()
            .iter()
            .any(|note| note.contains("by ovn-kubernetes: left"))
    );
}

#[test]
fn numbers_of_apps_that_are_there_are_kept() {
    let mut rows = zone(&[policy(1)]);
    rows.add(
        "Sampling_App",
        Uuid::from_u128(99),
        [("type", Datum::from("acl-new")), ("id", Datum::from(3))],
    );
    let (rows, _) = rows.commit(&enable(&nb(&rows), &Wish::default()).unwrap());
    let apps: BTreeMap<_, _> = rows
        .of("Sampling_App")
        .into_iter()
        .map(|(_, row)| {
            let text = row["type"].scalar().unwrap().to_string();
            (text, row["id"].scalar().unwrap().as_integer().unwrap())
        })
        .collect();
    assert_eq!(apps["acl-new"], 3);
    assert_eq!(apps.values().collect::<BTreeSet<_>>().len(), 3);
    let (rows, _) = rows.commit(&disable(&nb(&rows), None));
    assert_eq!(rows.of("Sampling_App").len(), 1);
}

#[test]
fn apps_stay_while_another_set_of_ours_does() {
    let to = |set| Wish {
        set,
        ..Wish::default()
    };
    let rows = zone(&[policy(1)]);
    let (rows, _) = rows.commit(&enable(&nb(&rows), &to(42)).unwrap());
    let (rows, _) = rows.commit(&enable(&nb(&rows), &to(43)).unwrap());
    let plan = disable(&nb(&rows), Some(43));
    for app in ["drop", "acl-new", "acl-est"] {
        let note = format!("Sampling_App {app} of ours stays: we still sample to set 42");
        assert!(plan.notes().contains(&note), "{:?}", plan.notes());
    }
    let (rows, _) = rows.commit(&plan);
    assert_eq!(rows.of("Sample_Collector").len(), 2);
    assert_eq!(rows.of("Sampling_App").len(), 3);
    let (rows, _) = rows.commit(&disable(&nb(&rows), Some(42)));
    assert!(rows.of("Sampling_App").is_empty());
}

#[test]
fn a_transaction_is_guarded_by_what_the_plan_was_made_from() {
    let rows = zone(&[policy(1)]);
    let plan = enable(&nb(&rows), &Wish::default()).unwrap();
    let guarded: BTreeSet<_> = plan
        .transaction()
        .operations()
        .iter()
        .filter_map(|operation| match operation {
            Operation::Wait { columns, .. } => Some(columns.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    let expected = ["sample_new", "sample_est", "match", "action"];
    assert_eq!(guarded, expected.map(str::to_owned).into());
    // Nothing is verified or written where nothing is to be done.
    let (rows, _) = rows.commit(&plan);
    let plan = enable(&nb(&rows), &Wish::default()).unwrap();
    assert!(plan.transaction().is_empty());
}

#[test]
fn an_old_schema_is_told() {
    let rows = zone(&[policy(1)]);
    let mut old = rows.clone();
    for row in old.0.values_mut() {
        row.remove("sample_new");
        row.remove("sample_est");
    }
    let replica = nb(&old).restrict(&wanted(Database::Northbound));
    assert!(matches!(
        enable(&replica, &Wish::default()),
        Err(EnableError::SchemaTooOld { .. })
    ));
    let status = status(&replica, None, None);
    assert!(!status.can_sample);
    assert_eq!(status.problems[0].kind, ProblemKind::SchemaTooOld);
    assert!(disable(&replica, None).is_empty());
}

#[test]
fn status_finds_what_is_wrong() {
    let mut rows = zone(&[policy(1), policy(2), policy(3)]);
    sample_by_others(&mut rows, |number| number < 2);
    // Two ACLs with one point, one without, a missing app, a collector without use.
    let first = rows.0[&("ACL".to_owned(), Uuid::from_u128(1))]["sample_new"].clone();
    let second = rows
        .0
        .get_mut(&("ACL".to_owned(), Uuid::from_u128(2)))
        .unwrap();
    for column in ["sample_new", "sample_est"] {
        second.insert(column.to_owned(), first.clone());
    }
    rows.0.retain(|(table, uuid), _| {
        table != "Sample" || Some(*uuid) == first.scalar().and_then(Atom::as_uuid)
    });
    rows.0
        .retain(|(table, _), row| table != "Sampling_App" || row["type"] != Datum::from("acl-est"));
    rows.add(
        "Sample_Collector",
        Uuid::new_v4(),
        [
            ("id", Datum::from(9)),
            ("set_id", Datum::from(77)),
            ("probability", Datum::from(1)),
        ],
    );
    rows.check();
    let mut ovs = node();
    set(&mut ovs, 77, Some(10), Some("ovnk-debug"));
    let status = status(&nb(&rows), None, Some(&ovs.replica(Database::Vswitch)));
    let kinds: BTreeSet<_> = status.problems.iter().map(|problem| problem.kind).collect();
    let expected = [
        ProblemKind::MissingApp,
        ProblemKind::Unsampled,
        ProblemKind::Stale,
        ProblemKind::Collision,
        ProblemKind::UnusedCollector,
        ProblemKind::MissingSet,
        ProblemKind::NoPsample,
    ];
    assert_eq!(kinds, expected.into());
    let collision = status
        .problems
        .iter()
        .find(|p| p.kind == ProblemKind::Collision);
    assert_eq!(collision.map(|problem| problem.acls.len()), Some(2));
}

// --- a node

fn node() -> Rows {
    let mut rows = Rows::default();
    let bridge = rows.add(
        "Bridge",
        Uuid::from_u128(500),
        [
            ("name", Datum::from("br-ovn")),
            ("datapath_type", Datum::from("netdev")),
            ("ipfix", Datum::empty()),
        ],
    );
    let datapath = rows.add(
        "Datapath",
        Uuid::from_u128(501),
        [("capabilities", Datum::map_of([("psample", "false")]))],
    );
    rows.add(
        "Open_vSwitch",
        Uuid::from_u128(502),
        [
            ("bridges", Datum::from(bridge)),
            (
                "datapaths",
                Datum::map_of([("netdev", Atom::from(datapath))]),
            ),
            ("external_ids", Datum::map_of([("ovn-bridge", "br-ovn")])),
        ],
    );
    rows
}

fn set(rows: &mut Rows, id: i64, group: Option<i64>, owner: Option<&str>) {
    rows.add(
        "Flow_Sample_Collector_Set",
        Uuid::new_v4(),
        [
            ("id", Datum::from(id)),
            ("bridge", Datum::from(Uuid::from_u128(500))),
            ("local_group_id", group.into_iter().collect()),
            (
                "external_ids",
                Datum::map_of(owner.map(|owner| ("owner", owner))),
            ),
        ],
    );
}

fn to(set: u32, group: Option<u32>, ipfix: Option<&str>) -> VswitchWish {
    VswitchWish {
        set,
        group,
        ipfix: ipfix.map(|text| text.parse().unwrap()),
        force: false,
    }
}

fn ovs(rows: &Rows) -> Replica {
    rows.replica(Database::Vswitch)
}

#[test]
fn a_node_is_set_up_changed_and_cleared() {
    let start = node();
    let mut rows = start.clone();
    for wish in [
        to(42, None, Some("127.0.0.1:4739")),
        to(42, Some(10), None),
        to(42, Some(11), Some("[::1]:4739")),
        to(43, Some(12), None),
    ] {
        let before = rows.contents();
        let (after, inverse) = rows.commit(&enable_vswitch(&ovs(&rows), &wish).unwrap());
        assert_eq!(after.commit(&inverse).0.contents(), before);
        assert!(enable_vswitch(&ovs(&after), &wish).unwrap().is_empty());
        rows = after;
    }
    let sets = rows.of("Flow_Sample_Collector_Set");
    let row = sets
        .iter()
        .find(|(_, row)| row["id"] == Datum::from(42))
        .unwrap();
    assert_eq!(row.1["local_group_id"], Datum::from(11));
    assert_eq!(rows.of("IPFIX")[0].1["targets"], Datum::from("[::1]:4739"));
    let rows = rows.commit(&disable_vswitch(&ovs(&rows), Some(43))).0;
    assert_eq!(rows.of("Flow_Sample_Collector_Set").len(), 1);
    let rows = rows.commit(&disable_vswitch(&ovs(&rows), None)).0;
    assert_eq!(rows.contents(), start.contents());
}

#[test]
fn a_set_of_somebody_else_is_taken_by_force_only() {
    let mut rows = node();
    set(&mut rows, 42, Some(10), Some("netobservAgent"));
    assert!(
        enable_vswitch(&ovs(&rows), &to(42, Some(10), None))
            .unwrap()
            .is_empty()
    );
    let wish = to(42, Some(20), None);
    let error = enable_vswitch(&ovs(&rows), &wish).unwrap_err();
    assert!(matches!(&error, VswitchError::Foreign { owner, .. } if owner == "netobservAgent"));
    assert!(error.to_string().contains("psample group 10"), "{error}");
    assert!(disable_vswitch(&ovs(&rows), None).is_empty());
    let forced = VswitchWish {
        force: true,
        ..wish
    };
    let before = rows.contents();
    let (after, inverse) = rows.commit(&enable_vswitch(&ovs(&rows), &forced).unwrap());
    assert_ne!(after.contents(), before);
    assert_eq!(after.commit(&inverse).0.contents(), before);
}

#[test]
fn a_node_without_the_bridge_is_told() {
    let error = enable_vswitch(&ovs(&Rows::default()), &to(42, Some(1), None)).unwrap_err();
    assert_eq!(error, VswitchError::NoBridge("br-int".to_owned()));
}

#[test]
fn inserts_come_before_what_refers_to_them() {
    let rows = zone(&[policy(1), policy(2)]);
    let plan = enable(&nb(&rows), &Wish::default()).unwrap();
    let first_update = plan
        .edits()
        .iter()
        .position(|edit| matches!(edit, Edit::Update { .. }));
    let last_insert = plan
        .edits()
        .iter()
        .rposition(|edit| matches!(edit, Edit::Insert { .. }));
    assert!(last_insert < first_update);
    let row = nb(&rows);
    assert!(row.rows("ACL").all(|row| row.text("action").is_some()));
}
