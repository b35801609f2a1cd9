//! Flows that follow changes are the flows of what there is then.

use std::collections::{BTreeMap, BTreeSet};

use netverdict_ovsdb::{Atom, Cause, Change, ChangeSet, Datum, Row};
use netverdict_pipeline::flow::{Flows, LogicalFlow, Release};
use netverdict_pipeline::{Northbound, SwitchId};
use proptest::prelude::*;
use uuid::Uuid;

/// Rows by table and number; what a row says is made of a few random numbers.
type Rows = BTreeMap<(&'static str, u8), [u8; 6]>;

const TABLES: [(&str, u8); 18] = [
    ("NB_Global", 1),
    ("ACL", 8),
    ("Sample", 3),
    ("Sample_Collector", 2),
    ("Sampling_App", 3),
    ("Port_Group", 3),
    ("Logical_Switch", 3),
    ("Logical_Switch_Port", 6),
    ("Logical_Router", 2),
    ("Logical_Router_Port", 2),
    ("Load_Balancer", 2),
    ("Load_Balancer_Group", 1),
    ("Meter", 2),
    ("DNS", 1),
    ("Copp", 1),
    ("DHCP_Options", 2),
    ("Network_Function_Group", 1),
    ("Network_Function", 1),
];

fn uuid(table: &str, number: u8) -> Uuid {
    let place = TABLES.iter().position(|(name, _)| *name == table);
    Uuid::from_u128((place.unwrap_or_default() as u128 + 1) << 64 | u128::from(number))
}

/// The rows of a table whose bits are set.
fn some(table: &str, bits: u8) -> Datum {
    let rows = (0..8).filter(|number| bits >> number & 1 == 1);
    Datum::set(rows.map(|row| Atom::from(uuid(table, row))).collect())
}

fn one(table: &str, number: u8) -> Datum {
    let all = TABLES
        .iter()
        .find(|(name, _)| *name == table)
        .map_or(1, |(_, all)| *all);
    match number % (all + 2) {
        number if number <= all => Datum::from(uuid(table, number)),
        _ => Datum::empty(),
    }
}

fn row((table, number): (&'static str, u8), [a, b, c, d, e, f]: [u8; 6]) -> Row {
    let pick = |words: &[&'static str], by: u8| words[usize::from(by) % words.len()];
    let name = || Datum::from(format!("{table}{number}").as_str());
    let flags = |pairs: &[(&'static str, &'static str)], bits: u8| {
        let pairs = pairs.iter().enumerate();
        let set = pairs.filter(|(place, _)| bits >> place & 1 == 1);
        Datum::map_of(set.map(|(_, pair)| *pair))
    };
    let mut columns = match table {
        "NB_Global" => vec![(
            "options",
            flags(
                &[
                    ("default_acl_drop", "true"),
                    ("use_ct_inv_match", "false"),
                    ("debug_drop_collector_set", "7"),
                ],
                // Seldom, for then all is written anew.
                if a < 16 { b } else { 0 },
            ),
        )],
        "ACL" => vec![
            ("direction", pick(&["from-lport", "to-lport"], a).into()),
            ("priority", Datum::from(i64::from(a % 3))),
            (
                "match",
                pick(&["ip4", "ip6", "inport == @Port_Group0"], b).into(),
            ),
            (
                "action",
                pick(
                    &[
                        "allow",
                        "allow-related",
                        "allow-stateless",
                        "drop",
                        "reject",
                        "pass",
                    ],
                    c,
                )
                .into(),
            ),
            ("tier", Datum::from(i64::from(d / 4 % 4))),
            ("label", Datum::from(i64::from(d % 2))),
            (
                "options",
                flags(
                    &[("apply-after-lb", "true"), ("log-related", "true")],
                    b / 4,
                ),
            ),
            ("log", Datum::from(d & 2 == 2)),
            ("meter", pick(&["Meter0", "Meter1"], e).into()),
            ("sample_new", one("Sample", e)),
            ("sample_est", one("Sample", f)),
            (
                "network_function_group",
                one("Network_Function_Group", f / 8),
            ),
        ],
        "Sample" => vec![
            ("metadata", Datum::from(i64::from(number + 1))),
            ("collectors", some("Sample_Collector", a)),
        ],
        "Sample_Collector" => vec![
            ("id", Datum::from(i64::from(number + 1))),
            ("probability", Datum::from(i64::from(a))),
            ("set_id", Datum::from(i64::from(b) + 200)),
        ],
        "Sampling_App" => vec![
            ("type", pick(&["drop", "acl-new", "acl-est"], number).into()),
            ("id", Datum::from(i64::from(a % 4) + 1)),
        ],
        "Port_Group" => vec![
            ("ports", some("Logical_Switch_Port", a)),
            ("acls", some("ACL", b & c)),
        ],
        "Logical_Switch" => vec![
            // A port is on one switch.
            (
                "ports",
                some(
                    "Logical_Switch_Port",
                    a & [0b11, 0b1100, 0b11_0000][usize::from(number % 3)],
                ),
            ),
            ("acls", some("ACL", b & c)),
            ("load_balancer", some("Load_Balancer", d & e)),
            ("load_balancer_group", some("Load_Balancer_Group", f)),
            ("dns_records", some("DNS", d)),
            ("copp", one("Copp", e)),
            (
                "other_config",
                flags(
                    &[
                        ("enable-stateless-acl-with-lb", "true"),
                        ("dynamic-routing-vni", "5"),
                        ("dhcp_relay_port", "x"),
                    ],
                    f & c & b,
                ),
            ),
        ],
        "Logical_Switch_Port" => vec![
            (
                "type",
                pick(&["", "", "localnet", "router", "switch"], a).into(),
            ),
            ("addresses", "0a:00:00:00:00:01 10.0.0.1 fd00::1".into()),
            ("enabled", Datum::from(b & 3 != 3)),
            ("dhcpv4_options", one("DHCP_Options", c)),
            ("dhcpv6_options", one("DHCP_Options", d)),
            (
                "options",
                flags(
                    &[
                        (
                            "router-port",
                            pick(&["Logical_Router_Port0", "Logical_Router_Port1"], e),
                        ),
                        ("enable_router_port_acl", "true"),
                    ],
                    f | 1,
                ),
            ),
        ],
        "Logical_Router" => vec![
            ("ports", some("Logical_Router_Port", a & (1 << number))),
            ("enabled", Datum::from(b & 3 != 3)),
            ("options", flags(&[("chassis", "x")], c & d)),
        ],
        "Logical_Router_Port" => vec![
            (
                "mac",
                pick(&["0a:00:00:00:00:02", "0a:00:00:00:00:02", "x"], a).into(),
            ),
            ("gateway_chassis", some("ACL", b & 1)),
        ],
        "Load_Balancer" => vec![
            ("protocol", "tcp".into()),
            ("vips", flags(&[("10.1.0.1:80", "10.0.0.1:80")], a)),
        ],
        "Load_Balancer_Group" => vec![("load_balancer", some("Load_Balancer", a))],
        "Meter" => vec![("unit", "pktps".into()), ("fair", Datum::from(a & 1 == 1))],
        "DNS" => vec![("records", flags(&[("a", "10.0.0.1")], a))],
        "Copp" => vec![("meters", flags(&[("reject", "Meter0")], a))],
        "DHCP_Options" => vec![
            (
                "cidr",
                pick(&["10.0.0.0/8", "fd00::/64", "192.168.0.0/16"], a).into(),
            ),
            (
                "options",
                flags(
                    &[
                        ("server_id", "00:00:00:00:00:0a"),
                        ("server_mac", "00:00:00:00:00:0a"),
                        ("lease_time", "1"),
                    ],
                    b | 1,
                ),
            ),
        ],
        "Network_Function_Group" => vec![
            ("id", Datum::from(i64::from(a % 8))),
            ("network_function_active", one("Network_Function", b)),
        ],
        _ => vec![
            ("inport", Datum::from(uuid("Logical_Switch_Port", a % 6))),
            ("outport", Datum::from(uuid("Logical_Switch_Port", b % 6))),
        ],
    };
    if table != "ACL" && table != "Sampling_App" {
        columns.push(("name", name()));
    }
    Row::new(table, uuid(table, number), columns)
}

fn key() -> impl Strategy<Value = (&'static str, u8)> {
    // Most changes are about ACLs, groups and switches.
    let weights = TABLES.map(|(name, all)| {
        let weight = match name {
            "ACL" => 12,
            "Port_Group" | "Logical_Switch" | "Logical_Switch_Port" | "Sample" => 6,
            _ => 2,
        };
        (weight, (Just(name), 0..all).boxed())
    });
    proptest::strategy::Union::new_weighted(weights.to_vec())
}

type Edit = ((&'static str, u8), Option<[u8; 6]>);

fn edit() -> impl Strategy<Value = Edit> {
    (key(), prop::option::weighted(0.8, any::<[u8; 6]>()))
}

/// The edits as one change set.
fn change(rows: &mut Rows, edits: &[Edit]) -> ChangeSet {
    let before = rows.clone();
    for (key, new) in edits {
        match new {
            Some(new) => drop(rows.insert(*key, *new)),
            None => drop(rows.remove(key)),
        }
    }
    let touched: BTreeSet<_> = edits.iter().map(|(key, _)| *key).collect();
    let changes = touched.into_iter().map(|key| Change {
        table: key.0.into(),
        uuid: uuid(key.0, key.1),
        old: before.get(&key).map(|of| row(key, *of)),
        new: rows.get(&key).map(|of| row(key, *of)),
    });
    ChangeSet {
        time: 0,
        cause: Cause::Transaction,
        transaction: None,
        changes: changes.filter(|change| change.old != change.new).collect(),
    }
}

/// Flows by the switches' rows: numbers of switches depend on the way.
fn by_row(northbound: &Northbound, flows: &Flows) -> BTreeMap<Uuid, Vec<String>> {
    let switches = northbound.switches();
    let of = |(number, switch): (SwitchId, &netverdict_pipeline::Switch)| {
        let mut lines: Vec<String> = flows.of(number).iter().map(line).collect();
        lines.sort_unstable();
        (switch.uuid, lines)
    };
    switches.map(of).collect()
}

fn line(flow: &LogicalFlow) -> String {
    format!("{flow:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn flows_that_follow_are_those_of_what_there_is(
        first in prop::collection::vec(edit(), 20..60),
        steps in prop::collection::vec(prop::collection::vec(edit(), 1..5), 1..12),
        new in any::<bool>(),
    ) {
        let release = if new { Release::R26_03 } else { Release::R25_03 };
        let mut rows = Rows::new();
        change(&mut rows, &first);
        let all: Vec<Row> = rows.iter().map(|(key, of)| row(*key, *of)).collect();
        let mut northbound = Northbound::new(&all);
        let mut flows = Flows::new(&northbound, release);
        for edits in steps {
            let changes = change(&mut rows, &edits);
            let mut told: BTreeSet<(SwitchId, String)> = northbound
                .switches()
                .flat_map(|(number, _)| flows.of(number).into_iter().map(move |flow| (number, line(&flow))))
                .collect();
            let touched = northbound.follow(&changes);
            let delta = flows.follow(&northbound, &changes, &touched);

            let all: Vec<Row> = rows.iter().map(|(key, of)| row(*key, *of)).collect();
            let anew = Northbound::new(&all);
            let wanted = by_row(&anew, &Flows::new(&anew, release));
            prop_assert_eq!(by_row(&northbound, &flows), wanted);

            for (number, flow) in &delta.removed {
                prop_assert!(told.remove(&(*number, line(flow))), "was not there: {:?}", flow);
            }
            for (number, flow) in &delta.added {
                prop_assert!(told.insert((*number, line(flow))), "was there: {:?}", flow);
            }
            let now: BTreeSet<(SwitchId, String)> = northbound
                .switches()
                .flat_map(|(number, _)| flows.of(number).into_iter().map(move |flow| (number, line(&flow))))
                .collect();
            prop_assert_eq!(told, now);
            let count: usize = northbound.switches().map(|(number, _)| flows.of(number).len()).sum();
            prop_assert_eq!(flows.len(), count);
        }
    }
}
