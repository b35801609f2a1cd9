//! Switches, ports and routers, against facts of ovn-kubernetes' own unit tests
//! (`master_test.go`, `gateway_test.go`, `pods_test.go`, `zone_ic_handler_test.go`).
#![allow(clippy::unwrap_used, clippy::panic)] // Of helpers; tests may anyway.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use netverdict_manifest::{
    At, Cidr, EndpointSlice, Key, Kind, Meta, Node, Object, Pod, PortRef, Protocol, Service,
    ServicePort, SliceEndpoint, SlicePort, Span, Spec, TrafficPolicy,
};
use netverdict_ovsdb::{Atom, Datum};
use netverdict_policy::{Compiler, Options, Row};
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
    insta::assert_snapshot!(text(&compiler, "global", &TOPOLOGY));
}

const TOPOLOGY: [&str; 5] = [
    "Logical_Switch",
    "Logical_Switch_Port",
    "Logical_Router",
    "Logical_Router_Port",
    "Logical_Router_Static_Route",
];

fn from_text(text: &str) -> Vec<Object> {
    let reading = netverdict_manifest::read(netverdict_manifest::FileId(0), text);
    assert!(reading.diagnostics.is_empty(), "{:?}", reading.diagnostics);
    reading
        .objects
        .into_iter()
        .map(|object| Object::clone(&object))
        .collect()
}

/// The rows of the transit switch are those of `zone_ic_handler_test.go`.
#[test]
fn another_zone_is_behind_a_remote_port() {
    let node = |name, zone, id: u8| {
        let subnets = format!(r#"{{"default":["10.244.{id}.0/24","fd00:10:244:{id}::/64"]}}"#);
        let transit = format!(r#"{{"ipv4":"100.88.0.{id}/16","ipv6":"fd97::{id}/64"}}"#);
        node(
            name,
            &[
                ("node-subnets", &subnets),
                ("node-id", &id.to_string()),
                ("zone-name", zone),
                (
                    "node-chassis-id",
                    &format!("cb9ec8fa-b409-4ef3-9f42-d9283c47aac{id}"),
                ),
                ("node-transit-switch-port-ifaddr", &transit),
                ("l3-gateway-config", GATEWAY),
            ],
        )
    };
    let mut options = options(&["10.244.0.0/16", "fd00:10:244::/48"]);
    options.multicast = false;
    let compiler = compiled(options, [node("node1", "za", 2), node("node2", "zb", 3)]);
    let zone = text(&compiler, "za", &TOPOLOGY);
    // The node's own part is pinned above.
    let between: Vec<&str> = zone
        .split("\nLogical_")
        .filter(|row| {
            let row = row.lines().next().unwrap_or_default();
            row.contains("ts-")
                || row.contains("tstor")
                || row.contains("cluster_router")
                || row.contains("transit")
        })
        .collect();
    insta::assert_snapshot!(between.join("\n"));
    assert!(!zone.contains("GR_node2") && !zone.contains("rtos-node2"));
}

#[test]
fn user_defined_networks_have_switches_of_their_own() {
    let network = |namespace: &str, spec: &str| {
        format!(
            "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}, labels: {{k8s.ovn.org/primary-user-defined-network: ''}}}}\n---\napiVersion: k8s.ovn.org/v1\nkind: UserDefinedNetwork\nmetadata: {{name: my-net, namespace: {namespace}}}\nspec: {spec}\n---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  namespace: {namespace}\n  annotations:\n    k8s.ovn.org/pod-networks: '{{\"{namespace}/my-net\": {{\"ip_addresses\": [\"10.100.3.5/24\"], \"mac_address\": \"0a:58:0a:64:03:05\", \"role\": \"primary\"}}}}'\nspec: {{nodeName: node1}}\nstatus: {{podIPs: [{{ip: 10.244.3.5}}]}}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: {namespace}}}\nspec: {{clusterIP: 10.96.0.7, ports: [{{port: 80}}]}}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-1, namespace: {namespace}, labels: {{kubernetes.io/service-name: web}}}}\naddressType: IPv4\nports: [{{port: 8080, protocol: TCP}}]\nendpoints: [{{addresses: [10.244.3.5], nodeName: node1, targetRef: {{kind: Pod, namespace: {namespace}, name: a}}}}]\n"
        )
    };
    let manifests = network(
        "flat",
        "{topology: Layer2, layer2: {role: Primary, subnets: [10.100.0.0/16]}}",
    ) + &network(
        "routed",
        "{topology: Layer3, layer3: {role: Primary, subnets: [{cidr: 10.100.0.0/16}]}}",
    );
    let shares = r#"{"default":["10.244.3.0/24"],"routed_my-net":["10.100.3.0/24"]}"#;
    let node = node("node1", &[("node-subnets", shares)]);
    let mut options = options(&["10.244.0.0/16"]);
    options.multicast = false;
    let objects = from_text(&manifests).into_iter().chain([node]);
    let compiler = compiled(options, objects);
    let mut rows = text(&compiler, "global", &TOPOLOGY);
    rows.push_str(&text(
        &compiler,
        "global",
        &["Load_Balancer", "Load_Balancer_Group"],
    ));
    let own: Vec<&str> = rows
        .split("\nLo")
        .filter(|row| row.lines().next().unwrap_or_default().contains("my"))
        .collect();
    insta::assert_snapshot!(own.join("\nLo"));
}

/// 500 pods on a node: a pod that changes costs its own port and its switch's list of ports.
#[test]
fn a_changed_pod_is_cheap() {
    let nodes = two_nodes();
    let names: Vec<String> = (0..500).map(|number| format!("p{number}")).collect();
    let pods = names.iter().enumerate().map(|(number, name)| {
        let address = format!("10.128.{}.{}", number / 250, number % 250 + 3);
        pod("testns", name, Some("nodeA"), &[&address])
    });
    let service = service(
        "foo",
        Service {
            cluster_ips: ips(&["192.168.1.1"]),
            ports: http(8080, Some(30080)),
            ..Service::default()
        },
    );
    let objects = nodes.into_iter().chain(pods).chain([service]);
    let mut compiler = compiled(options(&["10.128.0.0/16"]), objects);

    let mut labelled = pod("testns", "p7", Some("nodeA"), &["10.128.0.10"]);
    labelled.meta.labels.insert("a".to_owned(), "b".to_owned());
    compiler.put(labelled);
    let delta = compiler.compile();
    assert_eq!((delta.compiled, delta.changed), (1, 0), "a label");

    compiler.put(pod("testns", "p7", Some("nodeA"), &["10.128.0.254"]));
    let delta = compiler.compile();
    assert!(delta.compiled <= 3, "an address: {delta:?}");
    assert_eq!((delta.added, delta.removed, delta.changed), (0, 0, 1));

    compiler.remove(&Key::new(Kind::Pod, "testns", "p7"));
    let delta = compiler.compile();
    assert!(delta.compiled <= 2, "a pod that is gone: {delta:?}");
    // Its port; the switch's list of ports.
    assert_eq!((delta.removed, delta.changed), (1, 1), "{delta:?}");
}

fn service(name: &str, spec: Service) -> Object {
    let spec = Spec::Service(Service {
        kind: if spec.kind.is_empty() {
            "ClusterIP".to_owned()
        } else {
            spec.kind
        },
        ..spec
    });
    object(Kind::Service, "testns", name, spec)
}

fn http(target: u16, node_port: Option<u16>) -> Vec<ServicePort> {
    vec![ServicePort {
        name: "http".to_owned(),
        protocol: Protocol::Tcp,
        port: 80,
        target: PortRef::Number(target),
        node_port,
        span: Span::default(),
    }]
}

fn slice(name: &str, of: &str, port: u16, endpoints: Vec<SliceEndpoint>) -> Object {
    let spec = Spec::EndpointSlice(EndpointSlice {
        service: of.to_owned(),
        endpoints,
        ports: vec![SlicePort {
            name: "http".to_owned(),
            protocol: Protocol::Tcp,
            port: Some(port),
        }],
    });
    object(Kind::EndpointSlice, "testns", name, spec)
}

fn endpoint(address: &str, node: &str) -> SliceEndpoint {
    SliceEndpoint {
        addresses: vec![address.parse().unwrap()],
        node: Some(node.to_owned()),
        ..SliceEndpoint::default()
    }
}

fn ips(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|text| text.parse().unwrap()).collect()
}

/// Two nodes of one zone, whose addresses are those of `lb_config_test.go`.
fn two_nodes() -> Vec<Object> {
    let gateway = GATEWAY.replace("169.254.33.2/24", "10.0.0.1/24");
    [
        ("nodeA", "10.128.0.0/24", "2", "10.0.0.1"),
        ("nodeB", "10.128.1.0/24", "3", "10.0.0.2"),
    ]
    .map(|(name, subnet, id, address)| {
        node(
            name,
            &[
                ("node-subnets", &format!(r#"{{"default":["{subnet}"]}}"#)),
                ("node-id", id),
                ("node-chassis-id", name),
                ("l3-gateway-config", &gateway.replace("10.0.0.1", address)),
                ("host-cidrs", &format!(r#"["{address}/24"]"#)),
            ],
        )
    })
    .into()
}

/// Load balancers and who has them.
fn balancers(objects: Vec<Object>) -> String {
    let mut options = options(&["10.128.0.0/16", "fe00::/64"]);
    options.multicast = false;
    let compiler = compiled(options, two_nodes().into_iter().chain(objects));
    let mut text = text(&compiler, "global", &["Load_Balancer"]);
    text = text
        .replace(" | hairpin_snat_ip=169.254.169.5 fd69::5", "")
        .replace(" | neighbor_responder=none", "");
    for row in compiler.rows() {
        let Some((_, members)) = row
            .columns
            .iter()
            .find(|(name, _)| *name == "load_balancer")
        else {
            continue;
        };
        let mut names: Vec<String> = compiler
            .rows()
            .filter(|row| members.atoms().contains(&Atom::Uuid(row.uuid)))
            .map(|row| row.key.to_string())
            .collect();
        names.sort();
        let _ = writeln!(
            text,
            "{} {}: {}",
            row.table.as_str(),
            row.key,
            names.join(" | ")
        );
    }
    let (rows, mut members): (Vec<&str>, Vec<&str>) = text
        .lines()
        .partition(|line| line.starts_with("  ") || line.starts_with("Load_Balancer S"));
    members.sort_unstable();
    [rows, members].concat().join("\n")
}

#[test]
fn a_cluster_address_of_two_families() {
    let mut ready = endpoint("10.128.0.2", "nodeA");
    ready.addresses.push("fe00::1:1".parse().unwrap());
    let mut not_ready = endpoint("10.128.1.9", "nodeB");
    not_ready.ready = Some(false);
    insta::assert_snapshot!(balancers(vec![
        service(
            "foo",
            Service {
                cluster_ips: ips(&["192.168.1.1", "2002::1"]),
                external_ips: ips(&["4.2.2.2"]),
                affinity_timeout: Some(10800),
                ports: http(3456, None),
                ..Service::default()
            }
        ),
        slice("foo-1", "foo", 3456, vec![ready, not_ready]),
        slice("foo-2", "foo", 3457, vec![endpoint("10.128.1.3", "nodeB")]),
    ]));
}

#[test]
fn endpoints_that_end_serve_until_another_is_ready() {
    let mut ending = endpoint("10.128.0.2", "nodeA");
    ending.ready = Some(false);
    ending.serving = Some(true);
    ending.terminating = Some(true);
    let foo = || {
        service(
            "foo",
            Service {
                cluster_ips: ips(&["192.168.1.1"]),
                ports: http(3456, None),
                ..Service::default()
            },
        )
    };
    let alone = balancers(vec![foo(), slice("s", "foo", 3456, vec![ending.clone()])]);
    assert!(
        alone.contains("vips: 192.168.1.1:80=10.128.0.2:3456\n"),
        "{alone}"
    );
    let endpoints = vec![ending, endpoint("10.128.1.3", "nodeB")];
    let both = balancers(vec![foo(), slice("s", "foo", 3456, endpoints)]);
    assert!(
        both.contains("vips: 192.168.1.1:80=10.128.1.3:3456\n"),
        "{both}"
    );
    let none = balancers(vec![foo()]);
    assert!(none.contains("vips: 192.168.1.1:80=\n"), "{none}");
}

#[test]
fn node_ports_are_written_for_each_node() {
    let service = |external| {
        service(
            "foo",
            Service {
                kind: "NodePort".to_owned(),
                cluster_ips: ips(&["192.168.1.1"]),
                ports: http(8080, Some(30080)),
                external,
                ..Service::default()
            },
        )
    };
    let endpoints = || slice("s", "foo", 8080, vec![endpoint("10.128.0.2", "nodeA")]);
    insta::assert_snapshot!(
        "node_ports",
        balancers(vec![service(TrafficPolicy::Cluster), endpoints()])
    );
    insta::assert_snapshot!(
        "node_ports_with_local_endpoints",
        balancers(vec![service(TrafficPolicy::Local), endpoints()])
    );
}

#[test]
fn host_endpoints_and_local_traffic_are_written_for_each_node() {
    let host = vec![
        service(
            "foo",
            Service {
                cluster_ips: ips(&["192.168.1.1"]),
                ports: http(8080, None),
                ..Service::default()
            },
        ),
        slice("s", "foo", 8080, vec![endpoint("10.0.0.1", "nodeA")]),
    ];
    insta::assert_snapshot!("host_endpoints", balancers(host));
    let local = vec![
        service(
            "foo",
            Service {
                kind: "LoadBalancer".to_owned(),
                cluster_ips: ips(&["192.168.1.1"]),
                external_ips: ips(&["1.2.3.4"]),
                balancer_ips: ips(&["5.5.5.5"]),
                internal: TrafficPolicy::Local,
                external: TrafficPolicy::Local,
                ports: http(8080, None),
                ..Service::default()
            },
        ),
        slice("s", "foo", 8080, vec![endpoint("10.128.0.2", "nodeA")]),
    ];
    insta::assert_snapshot!("local_traffic", balancers(local));
}
