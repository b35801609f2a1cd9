use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use netverdict_manifest::FileId;
use netverdict_ovn::ids::key;
use netverdict_ovsdb::{Atom, Datum, Replica, Row as There};
use netverdict_policy::{Compiler, Options, Row, Table, assume, cluster_subnets};
use proptest::prelude::*;
use uuid::Uuid;

use super::tables::{REFERENCES, columns, default_of, further_columns, is_collected};
use super::{APPLY_OWNER, ApplyError, Terms, apply, uuids};
use crate::plan::{Edit, Plan};
use crate::{OWNER, OWNER_KEY};

/// A database as the server would keep it: no row without its default values, no reference to
/// nothing, nothing that is to be collected.
#[derive(Clone, Debug, Default)]
struct Database(BTreeMap<Uuid, (&'static str, BTreeMap<&'static str, Datum>)>);

impl Database {
    fn add(&mut self, table: Table, values: &[(&'static str, Datum)]) -> Uuid {
        let uuid = Uuid::new_v4();
        let all = columns(table).iter().chain(further_columns(table));
        let mut row: BTreeMap<_, _> = all
            .map(|column| (*column, default_of(table, column)))
            .collect();
        row.extend(values.iter().cloned());
        self.0.insert(uuid, (table.as_str(), row));
        uuid
    }

    fn replica(&self) -> Replica {
        let rows = self.0.iter().map(|(uuid, (table, values))| {
            let values = values
                .iter()
                .map(|(column, value)| (*column, value.clone()));
            There::new(table, *uuid, values)
        });
        Replica::from_rows("OVN_Northbound", rows)
    }

    /// Does what a plan says, as the server would, and gives what undoes it.
    fn carry_out(&mut self, plan: &Plan) -> Plan {
        let mut identity: HashMap<Uuid, Uuid> = HashMap::new();
        for edit in plan.edits() {
            match edit {
                Edit::Insert { row, .. } => {
                    identity.insert(*row, Uuid::new_v4());
                }
                Edit::Update {
                    row,
                    before,
                    relies_on,
                    ..
                } => self.verify(*row, before.iter().chain(relies_on)),
                Edit::Delete { row, before, .. } => self.verify(*row, before.iter()),
            }
        }
        let real = |value: &Datum| match value {
            Datum::Set(atoms) => atoms
                .iter()
                .map(|atom| match atom.as_uuid() {
                    Some(uuid) => identity.get(&uuid).copied().unwrap_or(uuid).into(),
                    None => atom.clone(),
                })
                .collect(),
            other => other.clone(),
        };
        let mut later: BTreeSet<Uuid> = identity.keys().copied().collect();
        for edit in plan.edits() {
            match edit {
                Edit::Insert {
                    table,
                    row,
                    columns,
                } => {
                    later.remove(row);
                    let targets = columns.iter().flat_map(|(_, value)| uuids(Some(value)));
                    for target in targets {
                        assert!(!later.contains(&target), "{table} before what it refers to");
                    }
                    let table = Table::ALL.into_iter().find(|of| of.as_str() == *table);
                    let values: Vec<_> = columns
                        .iter()
                        .map(|(column, value)| (*column, real(value)))
                        .collect();
                    let uuid = self.add(table.unwrap(), &values);
                    let values = self.0.remove(&uuid).unwrap();
                    self.0.insert(identity[row], values);
                }
                Edit::Update { row, after, .. } => {
                    let (_, values) = self.0.get_mut(row).unwrap();
                    values.extend(after.iter().map(|(column, value)| (*column, real(value))));
                }
                Edit::Delete { row, .. } => {
                    self.0.remove(row).unwrap();
                }
            }
        }
        self.check();
        plan.inverse(|row| identity.get(&row).copied().unwrap_or(row))
    }

    fn verify<'v>(&self, row: Uuid, values: impl Iterator<Item = &'v (&'static str, Datum)>) {
        for (column, value) in values {
            let there = &self.0[&row].1[column];
            assert!(
                there == value || (there.is_empty() && value.is_empty()),
                "{column}: {there:?}, not {value:?}"
            );
        }
    }

    /// What the server would refuse or change by itself.
    fn check(&self) {
        let mut referred = BTreeSet::new();
        for (table, values) in self.0.values() {
            for reference in REFERENCES.iter().filter(|of| of.table == *table) {
                for uuid in uuids(values.get(reference.column)) {
                    assert!(
                        self.0.contains_key(&uuid),
                        "{table}.{} refers to nothing",
                        reference.column
                    );
                    let is_new = !reference.strong || referred.insert(uuid);
                    assert!(
                        is_new || reference.column != "ports",
                        "a port in two places"
                    );
                }
            }
        }
        let mut names = BTreeSet::new();
        for (uuid, (table, values)) in &self.0 {
            let of = Table::ALL
                .into_iter()
                .find(|of| of.as_str() == *table)
                .unwrap();
            assert!(
                !is_collected(of) || referred.contains(uuid),
                "{table} {values:?} would be collected"
            );
            let unique = match of {
                Table::Sample => values.get("metadata"),
                Table::SampleCollector => values.get("id"),
                Table::SamplingApp => values.get("type"),
                Table::PortGroup
                | Table::AddressSet
                | Table::Meter
                | Table::LoadBalancerGroup
                | Table::LogicalSwitchPort
                | Table::LogicalRouterPort => values.get("name"),
                _ => None,
            };
            if let Some(value) = unique {
                assert!(names.insert((table, value)), "{table} {value:?} twice");
            }
        }
    }

    fn is_ours(&self, uuid: Uuid) -> bool {
        let (_, values) = &self.0[&uuid];
        let ids = values.get("external_ids");
        ids.and_then(|ids| ids.lookup(OWNER_KEY)) == Some(APPLY_OWNER)
    }

    /// A row without identities, which are new when a row comes back.
    fn label(&self, uuid: Uuid) -> String {
        let (table, values) = &self.0[&uuid];
        let own = values.iter().filter(|(column, value)| {
            !value.is_empty()
                && !matches!(**column, "peer" | "ports" | "acls")
                && uuids(Some(value)).next().is_none()
        });
        format!("{table} {:?}", own.collect::<Vec<_>>())
    }

    /// All that is in it, identities apart.
    fn contents(&self) -> Vec<String> {
        let describe = |(uuid, (_, values)): (&Uuid, &(&str, BTreeMap<&str, Datum>))| {
            let mut text = self.label(*uuid);
            for (column, value) in values {
                let mut targets: Vec<_> = uuids(Some(value)).map(|to| self.label(to)).collect();
                targets.sort();
                if !targets.is_empty() {
                    text.push_str(&format!("\n  {column} -> {targets:?}"));
                }
            }
            text
        };
        let mut all: Vec<_> = self.0.iter().map(describe).collect();
        all.sort();
        all
    }

    fn rows(&self, table: Table) -> impl Iterator<Item = (&Uuid, &BTreeMap<&'static str, Datum>)> {
        let of = self
            .0
            .iter()
            .filter(move |(_, (name, _))| *name == table.as_str());
        of.map(|(uuid, (_, values))| (uuid, values))
    }
}

/// Small numbers out of a large one.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn flip(&mut self) -> bool {
        self.roll(2) == 1
    }
}

fn ids(id: &str) -> Datum {
    Datum::map_of([
        (key::OWNER_CONTROLLER, "c"),
        (key::OWNER_TYPE, "NetworkPolicy"),
        (key::NAME, "ns:np"),
        (key::ID, id),
    ])
}

/// Rows as a compiler might want them.
fn rows(dice: &mut Dice, sampling: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut ports = Vec::new();
    let mut on_switch: [Vec<Uuid>; 2] = Default::default();
    for number in 0..4 {
        if dice.roll(3) > 0 {
            let name = format!("p{number}");
            let address = format!("0a:00:00:00:00:0{}", dice.roll(2));
            let row = Row::new(Table::LogicalSwitchPort, name.as_str())
                .with("name", name.as_str())
                .with("addresses", address.as_str());
            on_switch[number % 2].push(row.uuid);
            ports.push(row.uuid);
            rows.push(row);
        }
    }
    if sampling {
        let probability = if dice.flip() { 65_535 } else { 655 };
        rows.push(
            Row::new(Table::SampleCollector, "1")
                .with("id", 1)
                .with("set_id", 42)
                .with("probability", probability),
        );
        rows.push(
            Row::new(Table::SamplingApp, "drop")
                .with("type", "drop")
                .with("id", 1),
        );
    }
    let mut in_group: [Vec<Uuid>; 2] = Default::default();
    let mut on_node = Vec::new();
    for number in 0..5 {
        if !dice.flip() {
            continue;
        }
        let id = format!("c:NetworkPolicy:ns:np:{number}");
        let matches = ["ip4", "ip6", "tcp"][dice.roll(3) as usize];
        let mut row = Row::new(Table::Acl, id.as_str())
            .with("external_ids", ids(&id))
            .with("action", "drop")
            .with("direction", "to-lport")
            .with("priority", 1001)
            .with("tier", 2)
            .with("match", matches);
        if dice.flip() {
            row = row.with("log", true).with("severity", "info");
        }
        if sampling && dice.flip() {
            // Two ACLs may share a point.
            let point = 100 + number % 4;
            let sample = Table::Sample.uuid(&point.to_string());
            row = row.with("sample_new", sample).with("sample_est", sample);
            if rows.iter().all(|row: &Row| row.uuid != sample) {
                rows.push(
                    Row::new(Table::Sample, point.to_string())
                        .with("metadata", point)
                        .with("collectors", Table::SampleCollector.uuid("1")),
                );
            }
        }
        match dice.roll(3) {
            2 => on_node.push(row.uuid),
            group => in_group[group as usize].push(row.uuid),
        }
        rows.push(row);
    }
    for (number, acls) in in_group.into_iter().enumerate() {
        if acls.is_empty() && dice.flip() {
            continue;
        }
        let name = format!("a{number}");
        let mut row = Row::new(Table::PortGroup, name.as_str())
            .with("name", name.as_str())
            .with("external_ids", ids(&name))
            .with("acls", Datum::from_iter(acls));
        for port in &ports {
            // The other zone's ports are of no concern here.
            let zone = ["z", "z", "other"][dice.roll(3) as usize];
            row.ports.push((zone.into(), *port));
        }
        rows.push(row);
    }
    let mut balancers = Vec::new();
    for number in 0..2 {
        if dice.flip() {
            let name = format!("lb{number}");
            let row = Row::new(Table::LoadBalancer, name.as_str())
                .with("name", name.as_str())
                .with(
                    "vips",
                    Datum::map_of([("10.96.0.1:80", format!("10.0.0.{}:80", dice.roll(2)))]),
                );
            balancers.push(row.uuid);
            rows.push(row);
        }
    }
    let group = Row::new(Table::LoadBalancerGroup, "lbs")
        .with("name", "lbs")
        .with("load_balancer", Datum::from_iter(balancers));
    for (number, ports) in on_switch.into_iter().enumerate() {
        let name = format!("sw{number}");
        let mut row = Row::new(Table::LogicalSwitch, name.as_str())
            .with("name", name.as_str())
            .with("ports", Datum::from_iter(ports))
            .with("load_balancer_group", group.uuid);
        if number == 0 {
            row = row.with("acls", Datum::from_iter(std::mem::take(&mut on_node)));
        }
        rows.push(row);
    }
    rows.push(group);
    if dice.flip() {
        let band = Row::new(Table::MeterBand, "m")
            .with("action", "drop")
            .with("rate", 20 + dice.roll(2) as i64);
        rows.push(
            Row::new(Table::Meter, "m")
                .with("name", "m")
                .with("unit", "pktps")
                .with("bands", band.uuid),
        );
        rows.push(band);
    }
    if dice.flip() {
        let mut routes = Vec::new();
        for number in 0..3 {
            if dice.flip() {
                let row = Row::new(Table::LogicalRouterStaticRoute, format!("r {number}"))
                    .with("ip_prefix", format!("10.{number}.0.0/16"))
                    .with("nexthop", format!("100.64.0.{}", dice.roll(2)));
                routes.push(row.uuid);
                rows.push(row);
            }
        }
        let port = Row::new(Table::LogicalRouterPort, "rp")
            .with("name", "rp")
            .with("mac", "0a:00:00:00:00:01");
        rows.push(
            Row::new(Table::LogicalRouter, "r")
                .with("name", "r")
                .with("ports", port.uuid)
                .with("static_routes", Datum::from_iter(routes)),
        );
        rows.push(port);
    }
    for number in 0..2 {
        if dice.flip() {
            let name = format!("as{number}");
            let addresses = (0..dice.roll(3)).map(|last| format!("10.0.0.{last}"));
            rows.push(
                Row::new(Table::AddressSet, name.as_str())
                    .with("name", name.as_str())
                    .with("external_ids", ids(&name))
                    .with("addresses", addresses.collect::<Datum>()),
            );
        }
    }
    rows
}

/// Rows of somebody else, one at least in each table.
fn foreign(dice: &mut Dice) -> Database {
    let mut database = Database::default();
    let collector = database.add(
        Table::SampleCollector,
        // Sometimes the number that ours would have, sometimes the same rate.
        &[
            ("id", (1 + dice.roll(2) as i64).into()),
            ("set_id", (42 + dice.roll(2) as i64).into()),
            ("probability", 65_535.into()),
        ],
    );
    database.add(
        Table::SamplingApp,
        &[
            ("type", ["drop", "acl-new"][dice.roll(2) as usize].into()),
            ("id", 9.into()),
        ],
    );
    let point = if dice.flip() { 100 } else { 999 };
    let sample = database.add(
        Table::Sample,
        &[("metadata", point.into()), ("collectors", collector.into())],
    );
    let acl = database.add(
        Table::Acl,
        &[
            ("match", "foreign".into()),
            ("sample_new", sample.into()),
            (
                "external_ids",
                Datum::map_of([(key::ID, "c:NetworkPolicy:ns:np:0")]),
            ),
        ],
    );
    let port = database.add(
        Table::LogicalSwitchPort,
        &[("name", if dice.flip() { "p3" } else { "theirs" }.into())],
    );
    let balancer = database.add(Table::LoadBalancer, &[("name", "theirs".into())]);
    let group = database.add(
        Table::LoadBalancerGroup,
        &[
            ("name", "theirs".into()),
            ("load_balancer", balancer.into()),
        ],
    );
    database.add(
        Table::LogicalSwitch,
        &[
            (
                "name",
                if dice.roll(4) == 0 { "sw0" } else { "theirs" }.into(),
            ),
            ("acls", acl.into()),
            ("ports", port.into()),
            ("load_balancer_group", group.into()),
        ],
    );
    database.add(
        Table::PortGroup,
        &[("name", "theirs".into()), ("ports", port.into())],
    );
    database.add(Table::AddressSet, &[("name", "theirs".into())]);
    let router_port = database.add(Table::LogicalRouterPort, &[("name", "theirs".into())]);
    let route = database.add(
        Table::LogicalRouterStaticRoute,
        &[
            ("ip_prefix", "10.0.0.0/16".into()),
            ("nexthop", "100.64.0.0".into()),
        ],
    );
    database.add(
        Table::LogicalRouter,
        &[
            ("name", "theirs".into()),
            ("ports", router_port.into()),
            ("static_routes", route.into()),
        ],
    );
    let band = database.add(
        Table::MeterBand,
        &[("action", "drop".into()), ("rate", 20.into())],
    );
    database.add(
        Table::Meter,
        &[
            (
                "name",
                if dice.roll(4) == 0 { "m" } else { "theirs" }.into(),
            ),
            ("bands", band.into()),
        ],
    );
    database.check();
    database
}

/// What somebody does to a database between two runs.
fn meddle(database: &mut Database, dice: &mut Dice) {
    let all: Vec<Uuid> = database.0.keys().copied().collect();
    for uuid in all {
        if dice.roll(3) > 0 || !database.is_ours(uuid) {
            continue;
        }
        let table = database.0[&uuid].0;
        match table {
            "ACL" => {
                let values = &mut database.0.get_mut(&uuid).unwrap().1;
                values.insert("match", "meddled".into());
                values.insert("log", true.into());
            }
            "Address_Set" => {
                let values = &mut database.0.get_mut(&uuid).unwrap().1;
                values.insert("addresses", "10.9.9.9".into());
            }
            "Port_Group" => {
                let values = &mut database.0.get_mut(&uuid).unwrap().1;
                values.insert("ports", Datum::empty());
            }
            "Logical_Switch" => {
                // A port of theirs on our switch.
                let name = format!("theirs-{uuid}");
                let port =
                    database.add(Table::LogicalSwitchPort, &[("name", name.as_str().into())]);
                let values = &mut database.0.get_mut(&uuid).unwrap().1;
                let ports = values["ports"].atoms().iter().cloned();
                let ports = ports.chain([Atom::from(port)]).collect();
                values.insert("ports", Datum::set(ports));
            }
            "Logical_Switch_Port" => {
                // Our port in a group of theirs.
                let groups: Vec<Uuid> = database
                    .rows(Table::PortGroup)
                    .map(|(uuid, _)| *uuid)
                    .filter(|group| !database.is_ours(*group))
                    .collect();
                for group in groups {
                    let values = &mut database.0.get_mut(&group).unwrap().1;
                    let ports = values["ports"].atoms().iter().cloned();
                    let ports = ports.chain([Atom::from(uuid)]).collect();
                    values.insert("ports", Datum::set(ports));
                }
            }
            _ => {}
        }
    }
    database.check();
}

/// What `netverdict sampling enable` does: a Sample of its own for established packets.
fn sample_besides(database: &mut Database) {
    let acl = database
        .rows(Table::Acl)
        .map(|(uuid, _)| *uuid)
        .find(|uuid| database.is_ours(*uuid));
    let Some(acl) = acl else { return };
    let collector = database.add(
        Table::SampleCollector,
        &[
            ("id", 77.into()),
            ("set_id", 42.into()),
            ("probability", 65_535.into()),
            ("external_ids", Datum::map_of([(OWNER_KEY, OWNER)])),
        ],
    );
    let sample = database.add(
        Table::Sample,
        &[("metadata", 5555.into()), ("collectors", collector.into())],
    );
    let old: Vec<Uuid> = uuids(database.0[&acl].1.get("sample_est")).collect();
    database
        .0
        .get_mut(&acl)
        .unwrap()
        .1
        .insert("sample_est", sample.into());
    // sample_new keeps the old one, if there was one.
    drop(old);
    database.check();
}

fn terms(sampling: bool) -> Terms {
    Terms {
        adopt: false,
        sampling,
    }
}

/// Names of the rows that a column of a row leads to.
fn targets(
    database: &Database,
    values: &BTreeMap<&'static str, Datum>,
    column: &str,
) -> BTreeSet<String> {
    uuids(values.get(column))
        .map(|uuid| {
            let values = &database.0[&uuid].1;
            let id = values
                .get("external_ids")
                .and_then(|ids| ids.lookup(key::ID));
            let name = values.get("name").and_then(|name| name.scalar()?.as_str());
            let point = values.get("metadata").and_then(|point| point.scalar());
            id.or(name)
                .map(str::to_owned)
                .or_else(|| point.map(Atom::to_string))
                .unwrap_or_default()
        })
        .collect()
}

/// The policies of ours that are there are those that are wanted, to the letter.
fn holds_policies(database: &Database, rows: &[Row]) {
    let get = |row: &Row, column: &str| {
        let found = row.columns.iter().find(|(name, _)| *name == column);
        found.map(|(_, value)| value.clone())
    };
    let has_switch = database
        .rows(Table::LogicalSwitch)
        .filter(|(_, values)| values["name"] == Datum::from("sw0"))
        .any(|(uuid, _)| database.is_ours(*uuid));
    let node_acls: BTreeSet<Uuid> = rows
        .iter()
        .filter(|row| row.table == Table::LogicalSwitch)
        .flat_map(|row| uuids(get(row, "acls").as_ref()).collect::<Vec<_>>())
        .collect();
    let names: HashMap<Uuid, &str> = rows.iter().map(|row| (row.uuid, &*row.key)).collect();
    for table in [Table::Acl, Table::PortGroup, Table::AddressSet] {
        let ours: Vec<_> = database
            .rows(table)
            .filter(|(uuid, _)| database.is_ours(**uuid))
            .map(|(_, values)| values)
            .collect();
        let wanted: Vec<&Row> = rows
            .iter()
            .filter(|row| row.table == table)
            .filter(|row| has_switch || !node_acls.contains(&row.uuid))
            .collect();
        assert_eq!(ours.len(), wanted.len(), "{table:?}");
        for row in wanted {
            let there = ours
                .iter()
                .find(|values| values["external_ids"].lookup(key::ID) == Some(&*row.key))
                .unwrap();
            for column in [
                "match",
                "action",
                "priority",
                "tier",
                "addresses",
                "severity",
            ] {
                if let Some(value) = there.get(column) {
                    let wanted = get(row, column).unwrap_or_else(|| default_of(table, column));
                    assert_eq!(*value, wanted, "{}: {column}", row.key);
                }
            }
            if table == Table::PortGroup {
                let acls: BTreeSet<String> = uuids(get(row, "acls").as_ref())
                    .map(|acl| names[&acl].to_owned())
                    .collect();
                assert_eq!(targets(database, there, "acls"), acls, "{}", row.key);
                let ports: BTreeSet<String> = row
                    .ports
                    .iter()
                    .filter(|(zone, _)| &**zone == "z")
                    .map(|(_, port)| names[port].to_owned())
                    .filter(|port| has_switch || !matches!(port.as_str(), "p0" | "p2"))
                    .collect();
                let there = targets(database, there, "ports");
                assert!(there.is_superset(&ports), "{there:?}, not {ports:?}");
                assert!(has_switch || there.len() <= 4, "{there:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("N").ok().and_then(|n| n.parse().ok()).unwrap_or(512)
    ))]

    #[test]
    fn what_is_wanted_is_there_and_what_others_made_stays(
        first in 1_u64.., second in 1_u64.., others in 1_u64..,
        sampling in any::<[bool; 2]>(), besides in any::<bool>(),
    ) {
        let mut dice = Dice(others);
        let mut database = foreign(&mut dice);
        let wanted = rows(&mut Dice(first), sampling[0]);
        let before = database.contents();
        let plan = apply(&database.replica(), &wanted, "z", terms(sampling[0])).unwrap();
        let inverse = database.carry_out(&plan);
        holds_policies(&database, &wanted);
        let mut undone = database.clone();
        undone.carry_out(&inverse);
        prop_assert_eq!(undone.contents(), before);

        meddle(&mut database, &mut dice);
        if besides {
            sample_besides(&mut database);
        }
        let wanted = rows(&mut Dice(second), sampling[1]);
        let before = database.clone();
        let plan = apply(&database.replica(), &wanted, "z", terms(sampling[1])).unwrap();
        let inverse = database.carry_out(&plan);
        holds_policies(&database, &wanted);

        let again = apply(&database.replica(), &wanted, "z", terms(sampling[1])).unwrap();
        prop_assert!(again.is_empty(), "{:?}", again.edits());

        // What `sampling enable` made of an ACL stays, as long as the ACL does.
        for (uuid, values) in before.rows(Table::Acl) {
            let is_besides = targets(&before, values, "sample_est").contains("5555");
            if let Some((_, now)) = database.0.get(uuid).filter(|_| is_besides) {
                prop_assert_eq!(&now["sample_est"], &values["sample_est"]);
                prop_assert_eq!(&now["sample_new"], &values["sample_new"]);
            }
        }

        let marked = |table: &str| !matches!(table, "Sample" | "Load_Balancer_Group");
        for (uuid, (table, values)) in before.0.iter().filter(|(_, (table, _))| marked(table)) {
            if before.is_ours(*uuid) {
                continue;
            }
            let (_, now) = &database.0[uuid];
            for (column, value) in values {
                let is_same = now[column] == *value;
                // What refers weakly lets go of what goes.
                let gone = uuids(Some(value)).any(|uuid| !database.0.contains_key(&uuid));
                prop_assert!(is_same || gone, "{table}.{column}: {:?}", now[column]);
            }
        }

        let mut undone = database.clone();
        undone.carry_out(&inverse);
        prop_assert_eq!(undone.contents(), before.contents());
    }
}

#[test]
fn another_owners_database_is_refused_until_it_is_ours() {
    let mut database = Database::default();
    let acl = database.add(
        Table::Acl,
        &[
            ("external_ids", ids("c:NetworkPolicy:ns:np:0")),
            ("match", "old".into()),
        ],
    );
    let stale = database.add(
        Table::Acl,
        &[("external_ids", ids("c:NetworkPolicy:ns:gone:0"))],
    );
    database.add(
        Table::PortGroup,
        &[
            ("name", "a0".into()),
            ("external_ids", ids("a0")),
            ("acls", Datum::from_iter([acl, stale])),
        ],
    );
    let wanted = [
        Row::new(Table::Acl, "c:NetworkPolicy:ns:np:0")
            .with("external_ids", ids("c:NetworkPolicy:ns:np:0"))
            .with("match", "new"),
        Row::new(Table::PortGroup, "a0")
            .with("name", "a0")
            .with("external_ids", ids("a0"))
            .with("acls", Table::Acl.uuid("c:NetworkPolicy:ns:np:0")),
    ];
    let refused = apply(&database.replica(), &wanted, "z", terms(false)).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("3 rows have the owner-controller of ovn-kubernetes"),
        "{refused}"
    );
    let adopt = Terms {
        adopt: true,
        sampling: false,
    };
    let before = database.contents();
    let plan = apply(&database.replica(), &wanted, "z", adopt).unwrap();
    assert_eq!(
        plan.steps(),
        ["NetworkPolicy ns/np: 1 ACL changed, 1 removed; 1 port group changed"]
    );
    let inverse = database.carry_out(&plan);
    assert!(database.0[&acl].1["match"] == Datum::from("new") && database.is_ours(acl));
    let again = apply(&database.replica(), &wanted, "z", terms(false)).unwrap();
    assert!(again.is_empty());
    database.carry_out(&inverse);
    assert_eq!(database.contents(), before);
}

#[test]
fn a_name_that_decides_is_not_shared() {
    let mut database = Database::default();
    database.add(Table::AddressSet, &[("name", "as0".into())]);
    let wanted = [Row::new(Table::AddressSet, "as0").with("name", "as0")];
    let refused = apply(&database.replica(), &wanted, "z", terms(false)).unwrap_err();
    assert!(
        matches!(refused, ApplyError::NameTaken { count: 1, .. }),
        "{refused}"
    );
}

#[test]
fn only_what_differs_is_written() {
    let mut database = Database::default();
    let acl = |matches: &str| {
        [
            Row::new(Table::Acl, "c:NetworkPolicy:ns:np:0")
                .with("external_ids", ids("c:NetworkPolicy:ns:np:0"))
                .with("priority", 1001)
                .with("match", matches),
            Row::new(Table::PortGroup, "a0")
                .with("name", "a0")
                .with("external_ids", ids("a0"))
                .with("acls", Table::Acl.uuid("c:NetworkPolicy:ns:np:0")),
        ]
    };
    // The tables must be there for a replica to have them.
    let blank = apply(&Replica::default(), &acl("ip4"), "z", terms(false)).unwrap();
    database.carry_out(&blank);
    let plan = apply(&database.replica(), &acl("ip6"), "z", terms(false)).unwrap();
    let [Edit::Update { after, .. }] = plan.edits() else {
        panic!("{:?}", plan.edits());
    };
    assert_eq!(*after, [("match", Datum::from("ip6"))]);
}

#[test]
fn without_tiers_only_one_tier_can_be() {
    let acl = |id: &str, kind: &str, tier: i64| {
        Row::new(Table::Acl, id)
            .with(
                "external_ids",
                Datum::map_of([(key::ID, id), (key::OWNER_TYPE, kind), (key::NAME, "it")]),
            )
            .with("tier", tier)
    };
    let group = Row::new(Table::PortGroup, "a0").with("name", "a0").with(
        "acls",
        Datum::from_iter(["x", "y", "z"].map(|id| Table::Acl.uuid(id))),
    );
    let old = Replica::from_rows(
        "OVN_Northbound",
        [
            There::new(
                "ACL",
                Uuid::from_u128(1),
                columns(Table::Acl)
                    .iter()
                    .filter(|column| !matches!(**column, "tier" | "sample_new" | "sample_est"))
                    .map(|column| (*column, default_of(Table::Acl, column))),
            ),
            There::new(
                "Port_Group",
                Uuid::from_u128(2),
                [
                    ("name", "theirs".into()),
                    ("ports", Datum::empty()),
                    ("acls", Uuid::from_u128(1).into()),
                    ("external_ids", Datum::map_of::<&str, &str>([])),
                ],
            ),
        ],
    );
    let all = |admin| {
        vec![
            group.clone(),
            acl("x", "NetworkPolicy", 2),
            acl("y", "NetworkPolicy", 2),
            acl("z", "AdminNetworkPolicy", admin),
        ]
    };
    let refused = apply(&old, &all(1), "z", terms(false)).unwrap_err();
    assert!(
        refused.to_string().contains("AdminNetworkPolicy it"),
        "{refused}"
    );
    let plan = apply(&old, &all(2), "z", terms(false)).unwrap();
    assert!(
        plan.notes()[0].contains("no ACL.tier"),
        "{:?}",
        plan.notes()
    );
    let has_tier = plan.edits().iter().any(|edit| {
        matches!(edit, Edit::Insert { columns, .. } if columns.iter().any(|(name, _)| *name == "tier"))
    });
    assert!(!has_tier);
}

/// A column that the compiler writes and [`columns`] does not name would never be taken back.
#[test]
fn the_columns_of_the_compiler_are_known() {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy/tests/golden");
    let mut seen = BTreeSet::new();
    for directory in ["cases", "recipes"] {
        for entry in std::fs::read_dir(golden.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|of| of != "yaml") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let objects = netverdict_manifest::read(FileId(1), &text).objects;
            let objects: Vec<_> = objects.into_iter().map(Arc::new).collect();
            let options = Options {
                cluster_subnets: cluster_subnets(objects.iter().map(AsRef::as_ref)),
                ..Options::default()
            };
            let mut compiler = Compiler::new(options.clone());
            for object in assume(&objects, &options).objects {
                compiler.put(object);
            }
            compiler.compile();
            for row in compiler.rows() {
                seen.extend(row.columns.iter().map(|(column, _)| (row.table, *column)));
            }
        }
    }
    assert!(seen.len() > 50, "{seen:?}");
    let unknown: Vec<_> = seen
        .into_iter()
        .filter(|(table, column)| !columns(*table).contains(column))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
