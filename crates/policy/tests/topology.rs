//! Switches, ports and routers, against facts of ovn-kubernetes' own unit tests
//! (`master_test.go`, `gateway_test.go`, `pods_test.go`, `zone_ic_handler_test.go`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use netverdict_manifest::{At, Cidr, Key, Kind, Meta, Node, Object, Pod, Span, Spec};
use netverdict_ovsdb::{Atom, Datum};
use netverdict_policy::{Compiler, Options, Row, assume, cluster_subnets};
use uuid::Uuid;

fn object(kind: Kind, namespace: &str, name: &str, spec: Spec) -> Object {
    Object {
        key: Key::new(kind, namespace, name),
        meta: Meta::default(),
        spec,
    }
}

fn node(name: &str, annotations: &[(&str, &str)]) -> Object {
    let mut node = object(Kind::Node, "", name, Spec::Node(Node::default()));
    for (key, value) in annotations {
        let value = At::new((*value).to_owned(), Span::default());
        node.meta
            .annotations
            .insert(format!("k8s.ovn.org/{key}"), value);
    }
    node
}

fn pod(namespace: &str, name: &str, node: Option<&str>, addresses: &[&str]) -> Object {
    let spec = Spec::Pod(Pod {
        node: node.map(str::to_owned),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        ..Pod::default()
    });
    object(Kind::Pod, namespace, name, spec)
}

fn options(subnets: &[&str]) -> Options {
    let cidr = |text: &&str| {
        let (address, prefix) = text.split_once('/').unwrap();
        Cidr {
            address: address.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
        }
    };
    Options {
        cluster_subnets: subnets.iter().map(cidr).collect(),
        ..Options::default()
    }
}

fn compiled(options: Options, objects: impl IntoIterator<Item = Object>) -> Compiler {
    let mut compiler = Compiler::new(options);
    for object in objects {
        compiler.put(object);
    }
    compiler.compile();
    compiler
}

/// The rows of a zone in these tables, one a line; a reference is the key of its row.
fn text(compiler: &Compiler, zone: &str, tables: &[&str]) -> String {
    let names: BTreeMap<Uuid, Arc<str>> = compiler
        .rows()
        .map(|row| (row.uuid, row.key.clone()))
        .collect();
    let mut rows: Vec<&Row> = compiler
        .rows()
        .filter(|row| row.is_in(zone) && tables.contains(&row.table.as_str()))
        .collect();
    rows.sort_by(|a, b| (a.table, &a.key).cmp(&(b.table, &b.key)));
    let atom = |atom: &Atom| match atom {
        Atom::Uuid(uuid) => format!("<{}>", names[uuid]),
        Atom::String(text) => text.to_string(),
        other => other.to_string(),
    };
    let mut text = String::new();
    for row in rows {
        let _ = writeln!(text, "{} {}", row.table.as_str(), row.key);
        for (column, value) in row.columns_in(zone) {
            let mut values: Vec<String> = match &value {
                Datum::Set(atoms) => atoms.iter().map(atom).collect(),
                Datum::Map(pairs) => pairs
                    .iter()
                    .map(|(key, value)| format!("{}={}", atom(key), atom(value)))
                    .collect(),
                other => panic!("{other:?}"),
            };
            values.sort();
            if column != "name" {
                let _ = writeln!(text, "  {column}: {}", values.join(" | "));
            }
        }
    }
    text
}

const GATEWAY: &str = r#"{"default":{"mode":"shared","interface-id":"breth0_node1","mac-address":"7e:57:f8:f0:3c:49","ip-addresses":["169.254.33.2/24"],"next-hops":["169.254.33.1"],"node-port-enable":"true","vlan-id":"1024"}}"#;

#[test]
fn a_node_as_ovn_kubernetes_tests_it() {
    let node = node(
        "node1",
        &[
            ("node-subnets", r#"{"default":["10.1.1.0/24"]}"#),
            ("node-id", "3"),
            ("node-chassis-id", "79fdcfc4-6fe6-4cd3-8242-c0f85a4668ec"),
            ("l3-gateway-config", GATEWAY),
        ],
    );
    let pod = pod("namespace1", "myPod", Some("node1"), &["10.1.1.3"]);
    let mut options = options(&["10.1.0.0/16"]);
    options.multicast = false;
    let compiler = compiled(options, [pod, node]);
    insta::assert_snapshot!(text(
        &compiler,
        "global",
        &[
            "Logical_Switch",
            "Logical_Switch_Port",
            "Logical_Router",
            "Logical_Router_Port",
            "Logical_Router_Static_Route",
        ]
    ));
}

/// A row as words for `ovn-nbctl`, which creates all rows of a script in one transaction.
fn command(row: &Row, zone: &str) -> String {
    let atom = |atom: &Atom| match atom {
        Atom::Uuid(uuid) => format!("@u{}", uuid.simple()),
        Atom::String(text) => format!("\"{text}\""),
        other => other.to_string(),
    };
    let mut words = format!("--id=@u{} create {}", row.uuid.simple(), row.table.as_str());
    for (column, value) in row.columns_in(zone) {
        let value = match &value {
            Datum::Set(atoms) if atoms.len() == 1 => atoms.iter().map(atom).collect(),
            Datum::Set(atoms) => {
                format!("[{}]", atoms.iter().map(atom).collect::<Vec<_>>().join(","))
            }
            Datum::Map(pairs) => {
                let pairs = pairs.iter();
                let pairs = pairs.map(|(key, value)| format!("{}={}", atom(key), atom(value)));
                pairs.collect::<Vec<_>>().join(",")
            }
            other => panic!("{other:?}"),
        };
        let _ = write!(words, " '{column}={value}'");
    }
    words
}

#[test]
#[ignore = "writes scripts for lab/tests/native-policy-topology.sh into $TOPOLOGY_OUT"]
fn scripts() {
    let out = std::path::PathBuf::from(std::env::var("TOPOLOGY_OUT").unwrap());
    for (name, zones) in [("one", [None, None]), ("two", [Some("za"), Some("zb")])] {
        let nodes = ["node-1", "node-2"]
            .into_iter()
            .zip(zones)
            .map(|(name, zone)| {
                node(
                    name,
                    &zone
                        .map(|zone| ("zone-name", zone))
                        .into_iter()
                        .collect::<Vec<_>>(),
                )
            });
        let pods = [
            pod(
                "blue",
                "a",
                Some("node-1"),
                &["10.244.0.11", "fd00:10:244::b"],
            ),
            pod(
                "blue",
                "b",
                Some("node-1"),
                &["10.244.0.12", "fd00:10:244::c"],
            ),
            pod(
                "blue",
                "c",
                Some("node-2"),
                &["10.244.1.13", "fd00:10:244:1::d"],
            ),
        ];
        let objects: Vec<Arc<Object>> = nodes.chain(pods).map(Arc::new).collect();
        let mut options = options(&[]);
        options.cluster_subnets = cluster_subnets(objects.iter().map(|object| &**object));
        let assumed = assume(&objects, &options);
        let compiler = compiled(
            options,
            assumed.objects.iter().map(|object| Object::clone(object)),
        );
        for zone in compiler.zones() {
            let mut script = "ovn-nbctl --db=\"$NB\" --no-leader-only".to_owned();
            for row in compiler.rows().filter(|row| row.is_in(&zone)) {
                let _ = write!(script, " \\\n -- {}", command(row, &zone));
            }
            std::fs::write(out.join(format!("{name}-{zone}.sh")), script + "\n").unwrap();
        }
    }
}
