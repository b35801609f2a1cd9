//! Names of addresses: what rows of all zones say, in any order.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::IpAddr;

use netverdict_ovn::Database;
use netverdict_ovsdb::{Atom, Cause, Change, ChangeSet, Datum, Row};
use netverdict_types::{Endpoint, EndpointKind, Input, ZoneId};
use netverdict_verdict::{NameChange, Names, Place};
use proptest::prelude::*;
use uuid::Uuid;

const WEST: ZoneId = ZoneId(0);
const EAST: ZoneId = ZoneId(1);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn id(table: u8, number: u8, life: u8) -> Uuid {
    let mut bytes = [0x5a; 16];
    bytes[..3].copy_from_slice(&[table, number, life]);
    Uuid::from_bytes(bytes)
}

fn map(pairs: &[(&str, &str)]) -> Datum {
    Datum::map_of(pairs.iter().copied())
}

fn set(cause: Cause, changes: Vec<Change>) -> ChangeSet {
    ChangeSet {
        time: 0,
        cause,
        transaction: None,
        changes,
    }
}

fn inserted(row: &Row) -> Change {
    Change {
        table: row.table().into(),
        uuid: row.uuid(),
        old: None,
        new: Some(row.clone()),
    }
}

fn deleted(row: &Row) -> Change {
    Change {
        new: None,
        old: Some(row.clone()),
        ..inserted(row)
    }
}

fn initial<'a>(rows: impl IntoIterator<Item = &'a Row>) -> ChangeSet {
    set(Cause::Initial, rows.into_iter().map(inserted).collect())
}

fn switch(number: u8, name: &str, network: Option<&str>, ports: &[&Row]) -> Row {
    Row::new(
        "Logical_Switch",
        id(1, number, 0),
        [
            ("name", Datum::from(name)),
            ("ports", ports.iter().map(|port| port.uuid()).collect()),
            (
                "external_ids",
                map(&network
                    .map(|network| ("k8s.ovn.org/network", network))
                    .into_iter()
                    .collect::<Vec<_>>()),
            ),
        ],
    )
}

fn router(number: u8, network: Option<&str>, ports: &[&Row]) -> Row {
    let switch = switch(number, "router", network, ports);
    let column = |name| {
        switch
            .columns()
            .find(|(of, _)| *of == name)
            .unwrap()
            .1
            .clone()
    };
    Row::new(
        "Logical_Router",
        id(2, number, 0),
        ["name", "ports", "external_ids"].map(|name| (name, column(name))),
    )
}

fn pod(number: u8, namespace: &str, name: &str, addresses: &str) -> Row {
    port(
        number,
        &format!("{namespace}_{name}"),
        "",
        addresses,
        &[("pod", "true"), ("namespace", namespace)],
    )
}

fn port(number: u8, name: &str, kind: &str, addresses: &str, ids: &[(&str, &str)]) -> Row {
    Row::new(
        "Logical_Switch_Port",
        id(3, number, 0),
        [
            ("name", Datum::from(name)),
            ("type", Datum::from(kind)),
            ("addresses", Datum::from(addresses)),
            ("external_ids", map(ids)),
        ],
    )
}

fn router_port(number: u8, name: &str, networks: &[&str]) -> Row {
    Row::new(
        "Logical_Router_Port",
        id(4, number, 0),
        [
            ("name", Datum::from(name)),
            ("networks", networks.iter().copied().collect()),
        ],
    )
}

fn balancer(number: u8, protocol: &str, vips: &[(&str, &str)], ids: &[(&str, &str)]) -> Row {
    Row::new(
        "Load_Balancer",
        id(5, number, 0),
        [
            ("name", Datum::from(format!("lb{number}"))),
            ("protocol", Datum::from(protocol)),
            ("vips", map(vips)),
            ("external_ids", map(ids)),
        ],
    )
}

fn binding(number: u8, key: i64, name: &str, of: &Row) -> Row {
    let kind = match of.table() {
        "Logical_Switch" => "logical-switch",
        _ => "logical-router",
    };
    Row::new(
        "Datapath_Binding",
        id(6, number, 0),
        [
            ("tunnel_key", Datum::from(key)),
            (
                "external_ids",
                map(&[("name", name), (kind, &of.uuid().to_string())]),
            ),
        ],
    )
}

fn interface(number: u8, name: &str, index: i64, port: Option<&str>) -> Row {
    Row::new(
        "Interface",
        id(7, number, 0),
        [
            ("name", Datum::from(name)),
            ("ifindex", Datum::from(index)),
            (
                "external_ids",
                map(&port
                    .map(|port| ("iface-id", port))
                    .into_iter()
                    .collect::<Vec<_>>()),
            ),
        ],
    )
}

fn anywhere(names: &Names) -> Place<'_> {
    names.place(WEST, Input::Unknown, None, None)
}

/// Kind, namespace and name, node.
fn told(endpoint: &Endpoint) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "-".to_owned());
    let of = endpoint
        .namespace
        .as_ref()
        .map_or(String::new(), |of| format!("{of}/"));
    format!(
        "{} {of}{} on {}",
        endpoint.kind.as_str(),
        part(&endpoint.name),
        part(&endpoint.node)
    )
}

fn who(names: &Names, text: &str) -> String {
    told(names.endpoint(anywhere(names), ip(text)))
}

#[test]
fn a_pod_of_another_zone_is_found() {
    let mut names = Names::default();
    for (zone, name, address) in [(WEST, "w1", "10.244.1.5"), (EAST, "w2", "10.244.2.5")] {
        let port = pod(
            1,
            "blue",
            &format!("on-{name}"),
            &format!("0a:58:0a:f4:01:05 {address}"),
        );
        let switch = switch(1, name, None, &[&port]);
        names.apply(zone, Database::Northbound, &initial([&port, &switch]));
        names.set_zone(zone, name);
    }
    for zone in [WEST, EAST] {
        let place = names.place(zone, Input::Unknown, None, None);
        assert_eq!(
            told(names.endpoint(place, ip("10.244.1.5"))),
            "pod blue/on-w1 on w1"
        );
        assert_eq!(
            told(names.endpoint(place, ip("10.244.2.5"))),
            "pod blue/on-w2 on w2"
        );
    }
    assert_eq!(who(&names, "10.244.3.5"), "external - on -");
    // The rows of one zone may be the very rows of another, and one of them may go.
    let port = pod(1, "blue", "on-w1", "0a:58:0a:f4:01:05 10.244.1.5");
    names.apply(
        EAST,
        Database::Northbound,
        &set(Cause::Transaction, vec![deleted(&port)]),
    );
    assert_eq!(who(&names, "10.244.1.5"), "pod blue/on-w1 on w1");
    assert_eq!(who(&names, "10.244.2.5"), "external - on -");
}

#[test]
fn two_networks_with_the_same_addresses_are_kept_apart() {
    let ports = [
        pod(1, "blue", "a", "0a:58:0a:01:00:04 10.1.0.4 fd01::4"),
        port(
            2,
            "red_tenant_red_b",
            "",
            "0a:58:0a:01:00:04 10.1.0.4 fd01::4",
            &[("pod", "true"), ("namespace", "red")],
        ),
        pod(3, "green", "c", "0a:58:0a:01:00:04 10.1.0.4 fd01::4"),
    ];
    let switches = [
        switch(1, "w1", None, &[&ports[0]]),
        switch(2, "red.tenant_w1", Some("red_tenant"), &[&ports[1]]),
        switch(
            3,
            "cluster.udn.green_w1",
            Some("cluster_udn_green"),
            &[&ports[2]],
        ),
    ];
    let bindings = [
        binding(1, 7, "w1", &switches[0]),
        binding(2, 8, "red.tenant_w1", &switches[1]),
        binding(3, 9, "cluster.udn.green_w1", &switches[2]),
    ];
    let interfaces = [
        interface(1, "veth1", 0x1_0011, Some("blue_a")),
        interface(2, "veth2", 0x12, Some("red_tenant_red_b")),
        interface(3, "veth3", 0x13, Some("green_c")),
        interface(4, "br-ex", 0x14, None),
    ];
    let mut names = Names::default();
    // In the worst order: interfaces and keys before the rows that give them a meaning.
    names.apply(WEST, Database::Vswitch, &initial(&interfaces));
    names.apply(WEST, Database::Southbound, &initial(&bindings));
    names.apply(
        WEST,
        Database::Northbound,
        &initial(ports.iter().chain(&switches)),
    );

    let pods = [
        "pod blue/a on w1",
        "pod red/b on red.tenant_w1",
        "pod green/c on cluster.udn.green_w1",
    ];
    let networks = ["default", "red_tenant", "cluster_udn_green"];
    for (number, (pod, network)) in pods.into_iter().zip(networks).enumerate() {
        let device = format!("veth{}", number + 1);
        for place in [
            names.place(WEST, Input::Unknown, Some(7 + number as u32), None),
            names.place(WEST, Input::Unknown, None, Some(network)),
            names.place(WEST, Input::Name(&device), None, None),
            // psample cuts the index to 16 bits; the interface goes before the key.
            names.place(WEST, Input::Index(0x11 + number as u32), Some(7), None),
            names.place(
                WEST,
                Input::Index(0x14),
                Some(7 + number as u32),
                Some("default"),
            ),
        ] {
            assert_eq!(place.network, Some(network), "{place:?}");
            for address in ["10.1.0.4", "fd01::4"] {
                assert_eq!(told(names.endpoint(place, ip(address))), pod, "{place:?}");
            }
        }
    }
    // A network that nobody knows is not the default one.
    let nowhere = names.place(WEST, Input::Unknown, None, Some("by-hand"));
    assert_eq!(nowhere.network, Some("by-hand"));
    assert_eq!(
        told(names.endpoint(nowhere, ip("10.1.0.4"))),
        "external - on -"
    );
    // Nor is a pod of the default network to be met on another one, while a node is.
    let endpoint = |kind, name: &str| {
        Some(Endpoint {
            kind,
            namespace: None,
            name: Some(name.to_owned()),
            node: None,
        })
    };
    for (address, kind) in [
        ("172.18.0.3", EndpointKind::Node),
        ("10.1.0.5", EndpointKind::Pod),
    ] {
        let network = Names::DEFAULT.to_owned();
        names.learn(NameChange {
            network,
            ip: ip(address),
            endpoint: endpoint(kind, "x"),
        });
    }
    let red = names.place(WEST, Input::Unknown, Some(8), None);
    assert_eq!(told(names.endpoint(red, ip("172.18.0.3"))), "node x on -");
    assert_eq!(told(names.endpoint(red, ip("10.1.0.5"))), "external - on -");
}

#[test]
fn an_index_of_two_interfaces_tells_nothing() {
    let mut names = Names::default();
    let (low, high) = (
        interface(1, "a", 5, Some("pa")),
        interface(2, "b", 0x1_0005, Some("pb")),
    );
    names.apply(WEST, Database::Vswitch, &initial([&low, &high]));
    assert_eq!(names.port(WEST, Input::Index(5)), None);
    assert_eq!(names.port(WEST, Input::Name("b")), Some("pb"));
    names.apply(
        WEST,
        Database::Vswitch,
        &set(Cause::Transaction, vec![deleted(&high)]),
    );
    assert_eq!(names.port(WEST, Input::Index(5)), Some("pa"));
    // Made anew under the same name and index, told before the old one's end.
    let again = interface(3, "a", 5, Some("pa2"));
    names.apply(
        WEST,
        Database::Vswitch,
        &set(Cause::Transaction, vec![inserted(&again), deleted(&low)]),
    );
    assert_eq!(names.port(WEST, Input::Index(5)), Some("pa2"));
    assert_eq!(names.port(WEST, Input::Name("a")), Some("pa2"));
}

#[test]
fn services_with_and_without_a_port() {
    let owner = [
        ("k8s.ovn.org/kind", "Service"),
        ("k8s.ovn.org/owner", "blue/web"),
    ];
    let rows = [
        balancer(
            1,
            "tcp",
            &[
                ("10.96.0.7:80", "10.244.1.5:8080,10.244.2.5:8080"),
                ("[fd01::7]:80", "[fd00::5]:8080"),
            ],
            &owner,
        ),
        balancer(2, "udp", &[("10.96.0.7:53", "10.244.1.5:5353")], &owner),
        balancer(
            3,
            "tcp",
            &[("192.0.2.9", "10.0.0.1,10.0.0.2"), ("fd01::9", "fd00::1")],
            &[],
        ),
        balancer(
            4,
            "tcp",
            &[("10.96.0.7:80", "10.1.0.4:1")],
            &[
                ("k8s.ovn.org/network", "red"),
                owner[0],
                ("k8s.ovn.org/owner", "red/own"),
            ],
        ),
    ];
    let mut names = Names::default();
    assert!(names.has_no_service());
    names.apply(WEST, Database::Northbound, &initial(&rows));
    let at = |network: &'static str, address: &str, port, protocol| {
        let place = names.place(WEST, Input::Unknown, None, Some(network));
        let (number, service) = names.service(place, ip(address), port, protocol)?;
        assert_eq!(names.numbered_service(number), Some(service));
        Some((
            service.namespace.clone(),
            service.name.clone(),
            service.backends.len(),
        ))
    };
    let service = |of: &str, name: &str, backends| {
        Some((
            Some(of.to_owned()).filter(|of| !of.is_empty()),
            name.to_owned(),
            backends,
        ))
    };
    assert_eq!(
        at("default", "10.96.0.7", Some(80), 6),
        service("blue", "web", 2)
    );
    assert_eq!(
        at("default", "fd01::7", Some(80), 6),
        service("blue", "web", 1)
    );
    assert_eq!(
        at("default", "10.96.0.7", Some(53), 17),
        service("blue", "web", 1)
    );
    assert_eq!(at("default", "10.96.0.7", Some(53), 6), None);
    assert_eq!(at("default", "10.96.0.7", None, 6), None);
    assert_eq!(at("default", "192.0.2.9", None, 6), service("", "lb3", 2));
    assert_eq!(at("default", "fd01::9", None, 6), service("", "lb3", 1));
    assert_eq!(
        at("red", "10.96.0.7", Some(80), 6),
        service("red", "own", 1)
    );
    assert_eq!(who(&names, "fd01::7"), "service blue/web on -");

    // One of two rows with the address goes, then the other.
    for (row, name) in [
        (&rows[0], "service blue/web on -"),
        (&rows[1], "external - on -"),
    ] {
        names.apply(
            WEST,
            Database::Northbound,
            &set(Cause::Transaction, vec![deleted(row)]),
        );
        assert_eq!(who(&names, "10.96.0.7"), name);
    }
    names.apply(WEST, Database::Northbound, &initial([]));
    assert!(names.has_no_service() && names.is_empty());
}

#[test]
fn addresses_that_are_no_pods_have_names() {
    let ports = [
        port(1, "k8s-w1", "", "0a:58:0a:f4:01:02 10.244.1.2", &[]),
        port(
            2,
            "k8s-red.tenant_w1",
            "",
            "0a:58:0a:01:01:02 10.1.1.2",
            &[],
        ),
        port(3, "vm-7", "", "0a:58:0a:f4:01:63 10.244.1.99", &[]),
        port(
            4,
            "tstor-w2",
            "remote",
            "0a:58:64:58:00:03 100.88.0.3/16",
            &[("node", "w2")],
        ),
        port(5, "stor-w1", "router", "router", &[]),
    ];
    let router_ports = [
        router_port(1, "rtoe-GR_w1", &["172.18.0.3/16", "fc00::3/64"]),
        router_port(2, "rtoj-GR_w1", &["100.64.0.3/16"]),
        router_port(3, "rtos-w1", &["10.244.1.1/24"]),
        router_port(4, "rtoj-ovn_cluster_router", &["100.64.0.1/16"]),
        router_port(5, "rtots-w1", &["100.88.0.2/16"]),
        router_port(6, "rtoe-GR_red.tenant_w1", &["172.18.0.9/16"]),
        router_port(7, "lrp", &["10.9.0.1/24"]),
    ];
    let [all, red] =
        [&router_ports[..5], &router_ports[5..6]].map(|ports| ports.iter().collect::<Vec<_>>());
    let rows = [
        switch(1, "w1", None, &[&ports[0], &ports[2], &ports[3], &ports[4]]),
        switch(2, "red.tenant_w1", Some("red_tenant"), &[&ports[1]]),
        router(1, None, &all),
        router(2, Some("red_tenant"), &red),
        router(3, None, &[&router_ports[6]]),
    ];
    let mut names = Names::default();
    let rows = rows.iter().chain(&ports).chain(&router_ports);
    names.apply(WEST, Database::Northbound, &initial(rows));
    for (address, name) in [
        ("10.244.1.2", "management w1 on w1"),
        ("10.244.1.99", "port vm-7 on -"),
        ("100.88.0.3", "join tstor-w2 on w2"),
        ("172.18.0.3", "node w1 on w1"),
        ("fc00::3", "node w1 on w1"),
        ("100.64.0.3", "join w1 on w1"),
        ("10.244.1.1", "gateway w1 on w1"),
        ("100.64.0.1", "join rtoj-ovn_cluster_router on -"),
        ("100.88.0.2", "join w1 on w1"),
        ("10.9.0.1", "gateway lrp on -"),
        ("169.254.0.1", "masquerade ovn on -"),
        ("169.254.169.2", "masquerade host on -"),
        ("fd69::5", "masquerade hairpin on -"),
        ("169.254.169.254", "external - on -"),
        ("169.254.0.0", "external - on -"),
        ("198.51.100.1", "external - on -"),
    ] {
        assert_eq!(who(&names, address), name, "{address}");
    }
    let red = names.place(WEST, Input::Unknown, None, Some("red_tenant"));
    for (address, name) in [
        ("10.1.1.2", "management w1 on w1"),
        ("172.18.0.9", "node w1 on w1"),
        ("172.18.0.3", "node w1 on w1"),
        ("10.244.1.99", "external - on -"),
    ] {
        assert_eq!(told(names.endpoint(red, ip(address))), name, "{address}");
    }
}

#[test]
fn a_logical_port_is_believed_before_a_router_before_the_outside() {
    let (port, gateway) = (
        pod(1, "blue", "a", "0a:58:0a:f4:01:05 10.0.0.1"),
        router_port(1, "lrp", &["10.0.0.1/24"]),
    );
    let outside = |name: Option<&str>| NameChange {
        network: Names::DEFAULT.to_owned(),
        ip: ip("10.0.0.1"),
        endpoint: name.map(|name| Endpoint {
            kind: EndpointKind::Pod,
            namespace: Some("far".to_owned()),
            name: Some(name.to_owned()),
            node: None,
        }),
    };
    let mut names = Names::default();
    let mut step = |change: Option<Change>, learned: Option<NameChange>, expected: &str| {
        names.apply(
            WEST,
            Database::Northbound,
            &set(Cause::Transaction, change.into_iter().collect()),
        );
        learned.into_iter().for_each(|change| names.learn(change));
        assert_eq!(who(&names, "10.0.0.1"), expected);
        assert_eq!(names.len(), usize::from(!expected.starts_with("external")));
    };
    step(None, Some(outside(Some("x"))), "pod far/x on -");
    step(Some(inserted(&gateway)), None, "gateway lrp on -");
    step(Some(inserted(&port)), None, "pod blue/a on -");
    step(None, Some(outside(Some("y"))), "pod blue/a on -");
    step(Some(deleted(&gateway)), None, "pod blue/a on -");
    step(Some(deleted(&port)), None, "pod far/y on -");
    step(None, Some(outside(None)), "external - on -");
}

#[test]
fn an_address_moves_between_pods() {
    let mac = "0a:58:0a:f4:01:05";
    let [a, b] = [(1, "a", "10.0.0.1"), (2, "b", "10.0.0.2")]
        .map(|(number, name, address)| pod(number, "blue", name, &format!("{mac} {address}")));
    let [a_then, b_then] = [(1, "a", "10.0.0.2"), (2, "b", "10.0.0.1")]
        .map(|(number, name, address)| pod(number, "blue", name, &format!("{mac} {address}")));
    let node = switch(1, "w1", None, &[&a, &b]);
    let mut names = Names::default();
    names.apply(WEST, Database::Northbound, &initial([&a, &b, &node]));
    let both = |names: &Names| [who(names, "10.0.0.1"), who(names, "10.0.0.2")];
    assert_eq!(both(&names), ["pod blue/a on w1", "pod blue/b on w1"]);
    names.apply(
        WEST,
        Database::Northbound,
        &set(
            Cause::Transaction,
            vec![inserted(&a_then), inserted(&b_then)],
        ),
    );
    assert_eq!(both(&names), ["pod blue/b on w1", "pod blue/a on w1"]);
    // A whole new copy that does not name one of them, nor the switch.
    names.apply(WEST, Database::Northbound, &initial([&a_then]));
    assert_eq!(both(&names), ["external - on -", "pod blue/a on -"]);
}

#[test]
fn a_pod_that_another_zone_holds_as_remote_is_on_its_own_node() {
    let ids = [("pod", "true"), ("namespace", "blue")];
    let address = "0a:58:0a:01:00:05 10.1.0.5";
    let local = port(1, "blue_a", "", address, &ids);
    let remote = port(2, "blue_a", "remote", address, &ids);
    for local_zone in [WEST, EAST] {
        let mut names = Names::default();
        for (zone, name) in [(WEST, "w1"), (EAST, "w2")] {
            names.set_zone(zone, name);
            let port = if zone == local_zone { &local } else { &remote };
            names.apply(zone, Database::Northbound, &initial([port]));
        }
        let node = if local_zone == WEST { "w1" } else { "w2" };
        assert_eq!(who(&names, "10.1.0.5"), format!("pod blue/a on {node}"));
        names.apply(local_zone, Database::Northbound, &initial([]));
        assert_eq!(who(&names, "10.1.0.5"), "pod blue/a on -");
    }
}

#[test]
fn a_row_that_stops_making_sense_says_nothing_any_more() {
    let port = pod(1, "blue", "a", "0a:58:0a:f4:01:05 10.0.0.1");
    let bad = Row::new(
        "Logical_Switch_Port",
        port.uuid(),
        [("addresses", Datum::from("x 10.0.0.9"))],
    );
    let service = balancer(1, "tcp", &[("10.96.0.7:80", "")], &[]);
    let bad_service = balancer(1, "carrier-pigeon", &[("10.96.0.7:80", "")], &[]);
    let mut names = Names::default();
    names.apply(WEST, Database::Northbound, &initial([&port, &service]));
    assert_eq!(names.len(), 2);
    names.apply(
        WEST,
        Database::Northbound,
        &set(
            Cause::Transaction,
            vec![inserted(&bad), inserted(&bad_service)],
        ),
    );
    assert_eq!(
        (names.len(), names.bad_rows(), names.has_no_service()),
        (0, 2, true)
    );
}

// Random rows. The state of a zone is turned into rows, and two states into the changes between.

const IPS: [&str; 5] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "172.18.0.3"];
const NETWORKS: [Option<&str>; 3] = [None, Some("red"), Some("blue")];

#[derive(Clone, Debug, Default)]
struct World {
    zones: [Zone; 2],
    outside: BTreeMap<(usize, usize), usize>,
}

#[derive(Clone, Debug, Default)]
struct Zone {
    name: usize,
    switches: [Option<(usize, usize)>; 2],
    router: Option<usize>,
    ports: [Option<Port>; 4],
    router_ports: [Option<(usize, u8)>; 2],
    balancers: [Option<Balancer>; 2],
    bindings: [Option<(u8, usize, u8)>; 2],
    interfaces: [Option<(usize, usize, u8)>; 3],
}

#[derive(Clone, Debug)]
struct Port {
    kind: usize,
    ips: u8,
    parent: usize,
    network: usize,
    life: u8,
}

#[derive(Clone, Debug)]
struct Balancer {
    vips: u8,
    network: usize,
    kind: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Name(usize, usize),
    Switch(usize, usize, Option<(usize, usize)>),
    Router(usize, Option<usize>),
    Port(usize, usize, Option<Port>),
    RouterPort(usize, usize, Option<(usize, u8)>),
    Balancer(usize, usize, Option<Balancer>),
    Binding(usize, usize, Option<(u8, usize, u8)>),
    Interface(usize, usize, Option<(usize, usize, u8)>),
    Outside(usize, usize, Option<usize>),
    /// The whole of a zone's database again, as after a reconnect.
    Resync(usize, usize),
    /// All that happened so far is told as one transaction, in this or the other order.
    Commit(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let zone = 0..2_usize;
    let network = 0..NETWORKS.len();
    let port = (
        0..6_usize,
        any::<u8>(),
        0..3_usize,
        0..NETWORKS.len() + 2,
        0..2_u8,
    )
        .prop_map(|(kind, ips, parent, network, life)| Port {
            kind,
            ips,
            parent,
            network,
            life,
        });
    let balancer =
        (any::<u8>(), network.clone(), 0..4_usize).prop_map(|(vips, network, kind)| Balancer {
            vips,
            network,
            kind,
        });
    let maybe = prop::option::weighted::<std::ops::Range<usize>>;
    prop_oneof![
        1 => (zone.clone(), 0..3_usize).prop_map(|(zone, name)| Step::Name(zone, name)),
        3 => (zone.clone(), 0..2_usize, prop::option::weighted(0.8, (network.clone(), 0..2_usize)))
            .prop_map(|(zone, number, switch)| Step::Switch(zone, number, switch)),
        2 => (zone.clone(), maybe(0.8, network)).prop_map(|(zone, router)| Step::Router(zone, router)),
        6 => (zone.clone(), 0..4_usize, prop::option::weighted(0.7, port))
            .prop_map(|(zone, number, port)| Step::Port(zone, number, port)),
        3 => (zone.clone(), 0..2_usize, prop::option::weighted(0.7, (0..5_usize, any::<u8>())))
            .prop_map(|(zone, number, port)| Step::RouterPort(zone, number, port)),
        3 => (zone.clone(), 0..2_usize, prop::option::weighted(0.7, balancer))
            .prop_map(|(zone, number, balancer)| Step::Balancer(zone, number, balancer)),
        3 => (zone.clone(), 0..2_usize, prop::option::weighted(0.8, (1..4_u8, 0..3_usize, 0..2_u8)))
            .prop_map(|(zone, number, binding)| Step::Binding(zone, number, binding)),
        3 => (zone.clone(), 0..3_usize, prop::option::weighted(0.8, (0..3_usize, 0..5_usize, 0..2_u8)))
            .prop_map(|(zone, number, interface)| Step::Interface(zone, number, interface)),
        2 => (0..NETWORKS.len(), 0..IPS.len(), maybe(0.7, 0..3))
            .prop_map(|(network, ip, name)| Step::Outside(network, ip, name)),
        2 => (zone, 0..3_usize).prop_map(|(zone, database)| Step::Resync(zone, database)),
        6 => any::<bool>().prop_map(Step::Commit),
    ]
}

const DATABASES: [Database; 3] = [
    Database::Northbound,
    Database::Southbound,
    Database::Vswitch,
];
const ZONE_NAMES: [&str; 3] = ["", "w1", "w2"];

impl World {
    fn take(&mut self, step: &Step) {
        match step.clone() {
            Step::Name(zone, name) => self.zones[zone].name = name,
            Step::Switch(zone, number, switch) => self.zones[zone].switches[number] = switch,
            Step::Router(zone, router) => self.zones[zone].router = router,
            Step::Port(zone, number, port) => self.zones[zone].ports[number] = port,
            Step::RouterPort(zone, number, port) => self.zones[zone].router_ports[number] = port,
            Step::Balancer(zone, number, balancer) => self.zones[zone].balancers[number] = balancer,
            Step::Binding(zone, number, binding) => self.zones[zone].bindings[number] = binding,
            Step::Interface(zone, number, interface) => {
                self.zones[zone].interfaces[number] = interface;
            }
            Step::Outside(network, ip, Some(name)) => {
                self.outside.insert((network, ip), name);
            }
            Step::Outside(network, ip, None) => {
                self.outside.remove(&(network, ip));
            }
            Step::Resync(..) | Step::Commit(_) => {}
        }
    }
}

fn chosen(bits: u8) -> impl Iterator<Item = &'static str> {
    IPS.into_iter()
        .enumerate()
        .filter(move |(number, _)| bits >> number & 1 != 0)
        .map(|(_, ip)| ip)
}

impl Zone {
    fn rows(&self, database: Database) -> BTreeMap<Uuid, Row> {
        let rows = match database {
            Database::Northbound => self.northbound(),
            Database::Southbound => self.southbound(),
            Database::Vswitch => self.vswitch(),
            Database::Sets => Vec::new(),
        };
        rows.into_iter().map(|row| (row.uuid(), row)).collect()
    }

    fn port_name(number: usize) -> String {
        ["blue_p0", "k8s-w1", "red_p2", "vm3"][number].to_owned()
    }

    fn northbound(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let network = |network: usize| {
            NETWORKS[network]
                .map(|network| (Atom::from("k8s.ovn.org/network"), Atom::from(network)))
        };
        let ids = |number| Datum::map(network(number).into_iter().collect());
        for (number, switch) in self.switches.iter().enumerate() {
            let Some((network, name)) = *switch else {
                continue;
            };
            let ports = self.ports.iter().enumerate().filter_map(|(at, port)| {
                let port = port.as_ref().filter(|port| port.parent == number)?;
                Some(id(3, at as u8, port.life))
            });
            rows.push(Row::new(
                "Logical_Switch",
                id(1, number as u8, 0),
                [
                    ("name", Datum::from(format!("switch{number}{name}"))),
                    ("ports", ports.collect()),
                    ("external_ids", ids(network)),
                ],
            ));
        }
        if let Some(network) = self.router {
            let ports = self.router_ports.iter().enumerate();
            let ports = ports.filter_map(|(at, port)| port.map(|_| id(4, at as u8, 0)));
            rows.push(Row::new(
                "Logical_Router",
                id(2, 0, 0),
                [
                    ("name", Datum::from("GR_w1")),
                    ("ports", ports.collect()),
                    ("external_ids", ids(network)),
                ],
            ));
        }
        for (number, port) in self.ports.iter().enumerate() {
            let Some(port) = port else { continue };
            let mut external = vec![];
            if matches!(port.kind, 0 | 3) {
                external.extend(
                    [("pod", "true"), ("namespace", "blue")]
                        .map(|(k, v)| (Atom::from(k), Atom::from(v))),
                );
            }
            if port.network < NETWORKS.len() {
                external.extend(network(port.network));
            }
            let mut columns = vec![
                (
                    "type",
                    Datum::from(["", "", "router", "remote", "", ""][port.kind]),
                ),
                (
                    "addresses",
                    [format!(
                        "0a:00:00:00:00:01 {}",
                        chosen(port.ips).collect::<Vec<_>>().join(" ")
                    )]
                    .into_iter()
                    .collect(),
                ),
                ("external_ids", Datum::map(external)),
            ];
            // A row without a name makes no sense.
            if port.kind != 5 {
                columns.push(("name", Datum::from(Self::port_name(number))));
            }
            rows.push(Row::new(
                "Logical_Switch_Port",
                id(3, number as u8, port.life),
                columns,
            ));
        }
        for (number, port) in self.router_ports.iter().enumerate() {
            let Some((name, ips)) = *port else { continue };
            let name = ["rtoe-GR_w1", "rtos-w1", "rtoj-GR_w1", "rtots-w1", "lrp"][name];
            rows.push(Row::new(
                "Logical_Router_Port",
                id(4, number as u8, 0),
                [
                    ("name", Datum::from(name)),
                    (
                        "networks",
                        chosen(ips).map(|ip| format!("{ip}/24")).collect(),
                    ),
                ],
            ));
        }
        for (number, balancer) in self.balancers.iter().enumerate() {
            let Some(balancer) = balancer else { continue };
            let vips = chosen(balancer.vips).flat_map(|ip| {
                let whole = if ip.contains(':') {
                    format!("[{ip}]")
                } else {
                    ip.to_owned()
                };
                let backend = format!("10.0.9.{number}:1");
                match balancer.kind {
                    0 => vec![(ip.to_owned(), backend)],
                    1 => vec![
                        (format!("{whole}:80"), backend.clone()),
                        (format!("{whole}:81"), backend),
                    ],
                    _ => vec![(format!("{whole}:80"), backend)],
                }
            });
            rows.push(Row::new(
                "Load_Balancer",
                id(5, number as u8, 0),
                [
                    ("name", Datum::from(format!("lb{number}"))),
                    (
                        "protocol",
                        Datum::from(["tcp", "tcp", "udp", "nonsense"][balancer.kind]),
                    ),
                    ("vips", Datum::map_of(vips)),
                    ("external_ids", ids(balancer.network)),
                ],
            ));
        }
        rows
    }

    fn southbound(&self) -> Vec<Row> {
        let mut keys = Vec::new();
        let mut rows = Vec::new();
        for (number, binding) in self.bindings.iter().enumerate() {
            let Some((key, of, life)) = *binding else {
                continue;
            };
            // A key belongs to one datapath at a time.
            if keys.contains(&key) {
                continue;
            }
            keys.push(key);
            let (kind, of) = match of {
                2 => ("logical-router", id(2, 0, 0)),
                number => ("logical-switch", id(1, number as u8, 0)),
            };
            rows.push(Row::new(
                "Datapath_Binding",
                id(6, number as u8, life),
                [
                    ("tunnel_key", Datum::from(i64::from(key))),
                    (
                        "external_ids",
                        map(&[
                            ("name", &format!("datapath{number}")),
                            (kind, &of.to_string()),
                        ]),
                    ),
                ],
            ));
        }
        rows
    }

    fn vswitch(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (number, interface) in self.interfaces.iter().enumerate() {
            let Some((index, port, life)) = *interface else {
                continue;
            };
            let port = (port < 4).then(|| Self::port_name(port));
            let ids: Vec<_> = port
                .as_deref()
                .map(|port| ("iface-id", port))
                .into_iter()
                .collect();
            rows.push(Row::new(
                "Interface",
                id(7, number as u8, life),
                [
                    ("name", Datum::from(format!("veth{number}"))),
                    ("ifindex", Datum::from([1, 2, 0x1_0001][index])),
                    ("external_ids", map(&ids)),
                ],
            ));
        }
        rows
    }
}

fn outsider(name: usize) -> Endpoint {
    Endpoint {
        kind: [EndpointKind::Pod, EndpointKind::Node, EndpointKind::Service][name],
        namespace: None,
        name: Some(format!("outside{name}")),
        node: None,
    }
}

fn learn(names: &mut Names, (network, at): (usize, usize), name: Option<usize>) {
    names.learn(NameChange {
        network: NETWORKS[network].unwrap_or(Names::DEFAULT).to_owned(),
        ip: ip(IPS[at]),
        endpoint: name.map(outsider),
    });
}

/// Tells `names` what lies between two states.
fn tell(names: &mut Names, before: &World, after: &World, backwards: bool) {
    for (number, (old, new)) in before.zones.iter().zip(&after.zones).enumerate() {
        let zone = ZoneId(number as u16);
        if old.name != new.name {
            names.set_zone(zone, ZONE_NAMES[new.name]);
        }
        for database in DATABASES {
            let (old, new) = (old.rows(database), new.rows(database));
            let gone = old
                .values()
                .filter(|row| !new.contains_key(&row.uuid()))
                .map(deleted);
            let come = new
                .values()
                .filter(|row| old.get(&row.uuid()) != Some(row))
                .map(|row| Change {
                    old: old.get(&row.uuid()).cloned(),
                    ..inserted(row)
                });
            let mut changes: Vec<_> = gone.chain(come).collect();
            if backwards {
                changes.reverse();
            }
            if !changes.is_empty() {
                names.apply(zone, database, &set(Cause::Transaction, changes));
            }
        }
    }
    for key in before
        .outside
        .keys()
        .filter(|key| !after.outside.contains_key(key))
    {
        learn(names, *key, None);
    }
    for (key, name) in &after.outside {
        if before.outside.get(key) != Some(name) {
            learn(names, *key, Some(*name));
        }
    }
}

/// Every answer that the small world allows to ask for.
fn answers(names: &Names) -> Vec<String> {
    let mut answers = vec![
        format!("{} addresses", names.len()),
        format!("{}", names.has_no_service()),
    ];
    let inputs = [
        Input::Unknown,
        Input::Name("veth0"),
        Input::Name("veth1"),
        Input::Name("veth2"),
        Input::Index(1),
        Input::Index(2),
    ];
    for zone in [WEST, EAST, ZoneId(9)] {
        for input in inputs {
            answers.push(format!("{zone:?} {input:?}: {:?}", names.port(zone, input)));
            for (key, owner) in [
                (None, None),
                (None, Some("default")),
                (None, Some("red")),
                (None, Some("nowhere")),
                (Some(1), None),
                (Some(2), Some("blue")),
                (Some(3), None),
            ] {
                let place = names.place(zone, input, key, owner);
                let asked = format!(
                    "{zone:?} {input:?} {key:?} {owner:?} is {:?} {:?}",
                    place.datapath, place.network
                );
                for address in IPS.map(ip) {
                    let endpoint = told(names.endpoint(place, address));
                    answers.push(format!("{asked}: {address} is {endpoint}"));
                    for (port, protocol) in
                        [(None, 6), (Some(80), 6), (Some(81), 6), (Some(80), 17)]
                    {
                        if let Some((number, service)) =
                            names.service(place, address, port, protocol)
                        {
                            assert_eq!(names.numbered_service(number), Some(service));
                            answers.push(format!("{asked}: {service:?}"));
                        }
                    }
                }
            }
        }
    }
    answers
}

fn differences(names: &Names, others: &Names) -> Vec<String> {
    let (names, others) = (answers(names), answers(others));
    assert_eq!(names.is_empty(), others.is_empty());
    let only = |a: &[String], b: &[String], sign: &str| {
        let missing = a.iter().filter(|answer| !b.contains(answer));
        missing
            .map(|answer| format!("{sign} {answer}"))
            .collect::<Vec<_>>()
    };
    if names == others {
        return Vec::new();
    }
    [only(&others, &names, "-"), only(&names, &others, "+")].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// However the rows came to be what they are, the answers are those of a fresh table.
    #[test]
    fn the_way_to_the_rows_does_not_matter(steps in prop::collection::vec(step(), 1..60)) {
        let mut names = Names::default();
        let mut told = World::default();
        let mut now = World::default();
        for step in &steps {
            now.take(step);
            match *step {
                Step::Commit(backwards) => {
                    tell(&mut names, &told, &now, backwards);
                    told = now.clone();
                }
                Step::Resync(zone, database) => {
                    // The others are told of what came before.
                    let rows = now.zones[zone].rows(DATABASES[database]);
                    tell(&mut names, &told, &now, false);
                    told = now.clone();
                    names.apply(ZoneId(zone as u16), DATABASES[database], &initial(rows.values()));
                }
                _ => {}
            }
        }
        tell(&mut names, &told, &now, true);

        let mut fresh = Names::default();
        for (number, zone) in now.zones.iter().enumerate() {
            fresh.set_zone(ZoneId(number as u16), ZONE_NAMES[zone.name]);
            for database in DATABASES {
                let rows = zone.rows(database);
                fresh.apply(ZoneId(number as u16), database, &initial(rows.values()));
            }
        }
        for (key, name) in &now.outside {
            learn(&mut fresh, *key, Some(*name));
        }
        prop_assert_eq!(differences(&names, &fresh), [""; 0]);
    }

    /// A whole new copy may come instead of the changes that led to it.
    #[test]
    fn a_whole_copy_stands_for_the_changes_that_were_missed(
        before in prop::collection::vec(step(), 1..40),
        missed in prop::collection::vec(step(), 1..40),
    ) {
        let mut world = World::default();
        before.iter().for_each(|step| world.take(step));
        let mut names = Names::default();
        tell(&mut names, &World::default(), &world, false);
        let old = world.clone();
        missed.iter().for_each(|step| world.take(step));

        let mut followed = Names::default();
        tell(&mut followed, &World::default(), &old, false);
        tell(&mut followed, &old, &world, false);

        for (number, zone) in world.zones.iter().enumerate() {
            names.set_zone(ZoneId(number as u16), ZONE_NAMES[zone.name]);
            for database in DATABASES {
                names.apply(ZoneId(number as u16), database, &initial(zone.rows(database).values()));
            }
        }
        for (network, at) in (0..NETWORKS.len()).flat_map(|n| (0..IPS.len()).map(move |at| (n, at))) {
            learn(&mut names, (network, at), world.outside.get(&(network, at)).copied());
        }
        prop_assert_eq!(differences(&names, &followed), [""; 0]);
    }
}
