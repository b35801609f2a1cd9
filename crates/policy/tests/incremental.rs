//! The law of the compiler: whatever was edited in whatever order, the rows and what there is to
//! tell are those of a fresh compile of what is there now.
#![allow(clippy::unwrap_used)] // Of helpers; tests may anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netverdict_manifest::*;
use netverdict_ovsdb::Atom;
use netverdict_policy::{Compat, Compiler, Options, Row};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

#[derive(Clone, Debug)]
enum Edit {
    Put(Box<Object>),
    Remove(Key),
    Compile,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn edits_end_where_a_fresh_compile_does(edits in vec(edits(), 1..60), strict: bool) {
        let options = Options {
            compat: if strict { Compat::Strict } else { Compat::OvnKubernetes },
            cluster_subnets: vec![cidr("10.244.0.0", 16), cidr("fd00:10:244::", 48)],
            allow_icmp: true,
            stateless: true,
            ..Options::default()
        };
        let mut compiler = Compiler::new(options.clone());
        let mut objects = BTreeMap::new();
        for edit in edits {
            match edit {
                Edit::Put(object) => {
                    objects.insert(object.key.clone(), object.clone());
                    compiler.put(*object);
                }
                Edit::Remove(key) => {
                    objects.remove(&key);
                    compiler.remove(&key);
                }
                Edit::Compile => {
                    compiler.compile();
                }
            }
        }
        compiler.compile();
        prop_assert_eq!(compiler.compile().compiled, 0);

        let mut fresh = Compiler::new(options);
        for object in objects.into_values().rev() {
            fresh.put(*object);
        }
        fresh.compile();
        prop_assert_eq!(compiler.zones(), fresh.zones());
        let (rows, wanted) = (sorted(&compiler), sorted(&fresh));
        prop_assert_eq!(rows.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
        for (id, row) in &rows {
            prop_assert_eq!(row, &wanted[id]);
        }
        prop_assert_eq!(told(&compiler), told(&fresh));
        for zone in compiler.zones() {
            prop_assert_eq!(dangling(&compiler, &zone), Vec::<String>::new());
        }
    }
}

/// The references of a zone's rows that lead to no row of that zone.
fn dangling(compiler: &Compiler, zone: &str) -> Vec<String> {
    let rows: Vec<&Row> = compiler.rows().filter(|row| row.is_in(zone)).collect();
    let there: BTreeSet<Uuid> = rows.iter().map(|row| row.uuid).collect();
    let mut dangling = Vec::new();
    for row in rows {
        for (column, value) in row.columns_in(zone) {
            for uuid in value.atoms().iter().filter_map(Atom::as_uuid) {
                if !there.contains(&uuid) {
                    dangling.push(format!("{} {}: {column}", row.table.as_str(), row.key));
                }
            }
        }
    }
    dangling
}

/// Every row by what names it: no two rows have one name.
fn sorted(compiler: &Compiler) -> BTreeMap<String, &Row> {
    let mut rows = BTreeMap::new();
    for row in compiler.rows() {
        let id = format!("{:?} {} {}", row.scope, row.table.as_str(), row.key);
        assert!(rows.insert(id.clone(), row).is_none(), "twice: {id}");
    }
    rows
}

fn told(compiler: &Compiler) -> BTreeSet<String> {
    compiler.diagnostics().map(|it| format!("{it:?}")).collect()
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        8 => objects().prop_map(|object| Edit::Put(Box::new(object))),
        2 => objects().prop_map(|object| Edit::Remove(object.key)),
        1 => Just(Edit::Compile),
    ]
}

fn objects() -> BoxedStrategy<Object> {
    prop_oneof![
        2 => namespaces(),
        2 => nodes(),
        6 => pods(),
        2 => services(),
        2 => slices(),
        5 => network_policies(),
        4 => admin_policies(),
        2 => firewalls(),
        1 => networks(),
    ]
    .boxed()
}

fn object(
    kind: Kind,
    namespace: &str,
    name: &str,
    labels: BTreeMap<String, String>,
    spec: Spec,
) -> Object {
    Object {
        key: Key::new(kind, namespace, name),
        meta: Meta {
            labels,
            ..Meta::default()
        },
        spec,
    }
}

fn annotated(mut object: Object, annotations: &[(&str, String)]) -> Object {
    for (key, value) in annotations {
        let value = At::new(value.clone(), Span::default());
        object.meta.annotations.insert((*key).to_owned(), value);
    }
    object
}

fn namespaces() -> BoxedStrategy<Object> {
    let annotation = option::of(select(vec![
        (
            "k8s.ovn.org/acl-logging",
            r#"{"deny":"info","allow":"notice"}"#,
        ),
        ("k8s.ovn.org/acl-logging", "{"),
        ("k8s.ovn.org/multicast-enabled", "true"),
    ]));
    (spaces(), labels(), annotation, any::<bool>())
        .prop_map(|(name, mut labels, annotation, has_network)| {
            if has_network {
                let label = "k8s.ovn.org/primary-user-defined-network";
                labels.insert(label.to_owned(), String::new());
            }
            let spec = Spec::Namespace(Namespace {});
            let it = object(Kind::Namespace, "", name, labels, spec);
            match annotation {
                Some((key, value)) => annotated(it, &[(key, value.to_owned())]),
                None => it,
            }
        })
        .boxed()
}

fn nodes() -> BoxedStrategy<Object> {
    (
        0_u8..3,
        labels(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(number, labels, has_zone, has_gateway, has_shares)| {
            let spec = Spec::Node(Node {
                addresses: vec![IpAddr::from([172, 18, 0, number + 2])],
                pod_cidrs: vec![
                    cidr(&format!("10.244.{number}.0"), 24),
                    cidr(&format!("fd00:10:244:{number}::"), 64),
                ],
            });
            let name = format!("n{number}");
            let mut it = object(Kind::Node, "", &name, labels, spec);
            if has_zone {
                it = annotated(it, &[("k8s.ovn.org/zone-name", name)]);
            }
            if has_shares {
                it = annotated(it, &[("k8s.ovn.org/node-subnets", shares(number))]);
            }
            if has_gateway {
                it = annotated(it, &gateway(number + 2));
            }
            it
        })
        .boxed()
}

/// A node's part of the default network and of networks of users.
fn shares(node: u8) -> String {
    format!(
        r#"{{"default": ["10.244.{node}.0/24", "fd00:10:244:{node}::/64"], "blue_net": ["10.20.{node}.0/24"], "cluster_udn_net": ["10.20.{node}.0/24"]}}"#
    )
}

/// What a node needs for a gateway and for the way to other zones.
fn gateway(id: u8) -> [(&'static str, String); 5] {
    let gateway = format!(
        r#"{{"default": {{"mode": "shared", "interface-id": "breth0_{id}", "mac-address": "02:00:00:00:00:{id:02x}", "ip-addresses": ["172.18.0.{id}/24"], "next-hops": ["172.18.0.1"], "node-port-enable": "true"}}}}"#
    );
    let transit = format!(r#"{{"ipv4": "100.88.0.{id}/16", "ipv6": "fd97::{id}/64"}}"#);
    [
        ("k8s.ovn.org/node-id", id.to_string()),
        ("k8s.ovn.org/node-chassis-id", format!("chassis-{id}")),
        ("k8s.ovn.org/host-cidrs", format!(r#"["172.18.0.{id}/24"]"#)),
        ("k8s.ovn.org/l3-gateway-config", gateway),
        ("k8s.ovn.org/node-transit-switch-port-ifaddr", transit),
    ]
}

fn pods() -> BoxedStrategy<Object> {
    let shape = (
        option::weighted(0.8, 0_u8..3),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
        any::<bool>(),
        any::<bool>(),
    );
    (
        spaces(),
        0_u8..5,
        labels(),
        shape,
        vec(container_ports(), 0..3),
    )
        .prop_map(
            |(space, number, labels, (node, host, completed, has_v6, is_attached), ports)| {
                let place = node.unwrap_or(0);
                let open = vec![
                    OpenPort::Icmp,
                    OpenPort::Port {
                        protocol: Protocol::Tcp,
                        port: 80,
                    },
                ];
                let mut addresses = vec![IpAddr::from([10, 244, place, number + 10])];
                if has_v6 {
                    addresses.push(format!("fd00:10:244:{place}::{number}a").parse().unwrap());
                }
                let mut attachments = Vec::new();
                if is_attached {
                    attachments.push(Attachment {
                        network: format!("{space}/net"),
                        addresses: vec![cidr(&format!("10.20.{place}.{}", number + 10), 24)],
                        mac: None,
                        role: Some("primary".to_owned()),
                    });
                }
                let spec = Spec::Pod(Pod {
                    node: node.map(|number| format!("n{number}")),
                    host_network: host,
                    completed,
                    addresses: if node.is_some() {
                        addresses
                    } else {
                        Vec::new()
                    },
                    ports,
                    attachments,
                    open_ports: if has_v6 { open } else { Vec::new() },
                });
                object(Kind::Pod, space, &format!("p{number}"), labels, spec)
            },
        )
        .boxed()
}

fn container_ports() -> impl Strategy<Value = ContainerPort> {
    let name = select(vec!["", "http", "dns"]);
    (name, protocols(), select(vec![80_u16, 53, 8080])).prop_map(|(name, protocol, port)| {
        ContainerPort {
            name: name.to_owned(),
            protocol,
            port,
        }
    })
}

fn services() -> BoxedStrategy<Object> {
    let kind = select(vec!["ClusterIP", "NodePort", "LoadBalancer"]);
    (
        spaces(),
        0_u8..2,
        kind,
        vec(service_ports(), 0..3),
        any::<bool>(),
    )
        .prop_map(|(space, number, kind, ports, is_local)| {
            let policy = if is_local {
                TrafficPolicy::Local
            } else {
                TrafficPolicy::Cluster
            };
            let spec = Spec::Service(Service {
                kind: kind.to_owned(),
                cluster_ips: vec![IpAddr::from([10, 96, 0, number + 1])],
                ports,
                external: policy,
                internal: policy,
                ..Service::default()
            });
            let name = format!("s{number}");
            object(Kind::Service, space, &name, BTreeMap::new(), spec)
        })
        .boxed()
}

fn service_ports() -> impl Strategy<Value = ServicePort> {
    let name = select(vec!["", "http"]);
    (name, protocols(), select(vec![80_u16, 53]), any::<bool>()).prop_map(
        |(name, protocol, port, has_node_port)| ServicePort {
            name: name.to_owned(),
            protocol,
            port,
            target: PortRef::Number(port),
            node_port: has_node_port.then_some(30_000 + port),
            span: Span::default(),
        },
    )
}

fn slices() -> BoxedStrategy<Object> {
    let endpoint = (
        0_u8..3,
        0_u8..5,
        option::of(any::<bool>()),
        prop::bool::weighted(0.1),
    );
    (spaces(), 0_u8..2, 0_u8..2, vec(endpoint, 0..4))
        .prop_map(|(space, service, number, endpoints)| {
            let endpoints =
                endpoints
                    .into_iter()
                    .map(|(node, pod, ready, is_host)| SliceEndpoint {
                        addresses: vec![match is_host {
                            true => IpAddr::from([172, 18, 0, node + 2]),
                            false => IpAddr::from([10, 244, node, pod + 10]),
                        }],
                        ready,
                        node: Some(format!("n{node}")),
                        pod: Some(format!("{space}/p{pod}")),
                        ..SliceEndpoint::default()
                    });
            let spec = Spec::EndpointSlice(EndpointSlice {
                service: format!("s{service}"),
                endpoints: endpoints.collect(),
                ports: vec![SlicePort {
                    name: String::new(),
                    protocol: Protocol::Tcp,
                    port: Some(8080),
                }],
            });
            let name = format!("s{service}-{number}");
            object(Kind::EndpointSlice, space, &name, BTreeMap::new(), spec)
        })
        .boxed()
}

fn network_policies() -> BoxedStrategy<Object> {
    let rule = || {
        (vec(peers(), 0..3), vec(policy_ports(), 0..3)).prop_map(|(peers, ports)| NetworkRule {
            peers,
            ports,
            span: Span::default(),
        })
    };
    let isolates = select(vec![(true, false), (false, true), (true, true)]);
    let stateless = prop::bool::weighted(0.2);
    let rules = (vec(rule(), 0..3), vec(rule(), 0..3));
    (spaces(), 0_u8..3, selectors(), isolates, rules, stateless)
        .prop_map(
            |(space, number, pods, isolates, (ingress, egress), stateless)| {
                let spec = Spec::NetworkPolicy(NetworkPolicy {
                    pods,
                    types: None,
                    isolates_ingress: isolates.0,
                    isolates_egress: isolates.1,
                    ingress,
                    egress,
                });
                let name = format!("np{number}");
                let it = object(Kind::NetworkPolicy, space, &name, BTreeMap::new(), spec);
                if stateless {
                    annotated(it, &[("k8s.ovn.org/acl-stateless", "true".to_owned())])
                } else {
                    it
                }
            },
        )
        .boxed()
}

fn peers() -> impl Strategy<Value = Peer> {
    let block = (0_u8..3, any::<bool>()).prop_map(|(number, has_hole)| {
        let at = |cidr: Cidr| At::new(cidr.into(), Span::default());
        let hole = at(cidr(&format!("10.244.{number}.10"), 32));
        Peer::Block(Block {
            cidr: at(cidr(&format!("10.244.{number}.0"), 24)),
            except: has_hole.then_some(hole).into_iter().collect(),
            span: Span::default(),
        })
    });
    let pods = (option::of(selectors()), option::of(selectors())).prop_map(|(namespaces, pods)| {
        Peer::Pods {
            // One of the two is always there.
            pods: pods.or_else(|| namespaces.is_none().then(Selector::default)),
            namespaces,
            span: Span::default(),
        }
    });
    prop_oneof![1 => block, 3 => pods]
}

fn policy_ports() -> impl Strategy<Value = PolicyPort> {
    let port = option::of(prop_oneof![
        select(vec![80_u16, 53, 8080]).prop_map(PortRef::Number),
        Just(PortRef::Name("http".to_owned())),
    ]);
    (protocols(), port, any::<bool>()).prop_map(|(protocol, port, is_range)| PolicyPort {
        protocol,
        end: match port {
            Some(PortRef::Number(port)) if is_range => Some(port + 10),
            _ => None,
        },
        port,
        span: Span::default(),
    })
}

fn admin_policies() -> BoxedStrategy<Object> {
    let kind = select(vec![
        Kind::AdminNetworkPolicy,
        Kind::BaselineAdminNetworkPolicy,
        Kind::ClusterNetworkPolicy,
    ]);
    let subject = prop_oneof![
        selectors().prop_map(AdminSubject::Namespaces),
        (selectors(), selectors())
            .prop_map(|(namespaces, pods)| AdminSubject::Pods { namespaces, pods }),
    ];
    let rules = (vec(admin_rules(false), 0..3), vec(admin_rules(true), 0..3));
    // Those above 99 are numbered by what else there is.
    let priorities = select(vec![0_u32, 1, 2, 100, 150, 151]);
    (kind, 0_u8..3, priorities, subject, rules, any::<bool>())
        .prop_map(
            |(kind, number, priority, subject, (ingress, egress), is_baseline)| {
                let tier = match kind {
                    Kind::AdminNetworkPolicy => AdminTier::Admin,
                    Kind::ClusterNetworkPolicy if !is_baseline => AdminTier::Admin,
                    _ => AdminTier::Baseline,
                };
                let name = match kind {
                    Kind::BaselineAdminNetworkPolicy => "default".to_owned(),
                    _ => format!("a{number}"),
                };
                let spec = Spec::AdminPolicy(AdminPolicy {
                    tier,
                    priority: At::new(priority, Span::default()),
                    subject,
                    ingress,
                    egress,
                });
                object(kind, "", &name, BTreeMap::new(), spec)
            },
        )
        .boxed()
}

fn admin_rules(is_egress: bool) -> impl Strategy<Value = AdminRule> {
    let at = |cidr| At::new(cidr, Span::default());
    let pods = prop_oneof![
        selectors().prop_map(AdminPeer::Namespaces),
        (selectors(), selectors())
            .prop_map(|(namespaces, pods)| AdminPeer::Pods { namespaces, pods }),
    ];
    let outside = prop_oneof![
        selectors().prop_map(AdminPeer::Nodes),
        Just(AdminPeer::Networks(vec![at(cidr("203.0.113.0", 24))])),
        Just(AdminPeer::DomainNames(vec![At::new(
            "example.org".to_owned(),
            Span::default()
        )])),
    ];
    let peer = prop_oneof![3 => pods, u32::from(is_egress) * 2 => outside];
    let port = prop_oneof![
        (protocols(), select(vec![80_u16, 53]), 0_u16..2).prop_map(|(protocol, start, more)| {
            AdminPort::Numbers {
                protocol,
                start,
                end: start + more,
                span: Span::default(),
            }
        }),
        Just(AdminPort::Named {
            protocol: None,
            name: "http".to_owned(),
            span: Span::default(),
        }),
    ];
    let action = select(vec![RuleAction::Allow, RuleAction::Deny]);
    (action, vec(peer, 1..3), vec(port, 0..3)).prop_map(|(action, peers, ports)| AdminRule {
        name: String::new(),
        action,
        peers,
        ports,
        span: Span::default(),
    })
}

fn firewalls() -> BoxedStrategy<Object> {
    let at = |cidr| At::new(cidr, Span::default());
    let to = prop_oneof![
        Just(EgressTo::Cidr(at(cidr("0.0.0.0", 0).into()))),
        Just(EgressTo::Cidr(at(cidr("203.0.113.0", 24).into()))),
        Just(EgressTo::Dns(At::new(
            "example.org".to_owned(),
            Span::default()
        ))),
        selectors().prop_map(EgressTo::Nodes),
    ];
    let port = (protocols(), option::of(Just(53_u16))).prop_map(|(protocol, port)| EgressPort {
        protocol,
        port,
        span: Span::default(),
    });
    let action = select(vec![FirewallAction::Allow, FirewallAction::Deny]);
    let rule = (action, to, vec(port, 0..2)).prop_map(|(action, to, ports)| EgressRule {
        action,
        to,
        ports,
        span: Span::default(),
    });
    (spaces(), vec(rule, 0..4))
        .prop_map(|(space, rules)| {
            let spec = Spec::EgressFirewall(EgressFirewall { rules });
            object(
                Kind::EgressFirewall,
                space,
                "default",
                BTreeMap::new(),
                spec,
            )
        })
        .boxed()
}

fn networks() -> BoxedStrategy<Object> {
    let topology = select(vec![NetworkTopology::Layer2, NetworkTopology::Layer3]);
    (option::of(selectors()), spaces(), topology)
        .prop_map(|(namespaces, space, topology)| {
            let host = match topology {
                NetworkTopology::Layer3 => Some(24),
                _ => None,
            };
            let network = NetworkSpec {
                topology,
                primary: true,
                subnets: vec![(At::new(cidr("10.20.0.0", 16), Span::default()), host)],
                span: Span::default(),
            };
            let (kind, space) = match namespaces {
                Some(_) => (Kind::ClusterUserDefinedNetwork, ""),
                None => (Kind::UserDefinedNetwork, space),
            };
            let spec = Spec::UserNetwork(UserNetwork {
                namespaces,
                network,
            });
            object(kind, space, "net", BTreeMap::new(), spec)
        })
        .boxed()
}

fn spaces() -> impl Strategy<Value = &'static str> + Clone {
    select(vec!["blue", "green", "red"])
}

fn protocols() -> impl Strategy<Value = Protocol> + Clone {
    select(Protocol::ALL.to_vec())
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> + Clone {
    let word = || select(vec!["a", "b"]).prop_map(str::to_owned);
    prop::collection::btree_map(word(), word(), 0..3)
}

fn selectors() -> impl Strategy<Value = Selector> + Clone {
    let word = || select(vec!["a", "b"]).prop_map(str::to_owned);
    let operator = select(vec![
        Operator::In,
        Operator::NotIn,
        Operator::Exists,
        Operator::DoesNotExist,
    ]);
    let term = (word(), operator, word()).prop_map(|(key, operator, value)| Expression {
        key,
        operator,
        values: match operator {
            Operator::In | Operator::NotIn => vec![value],
            _ => Vec::new(),
        },
    });
    let word = select(vec!["a", "b"]).prop_map(str::to_owned);
    let labels = prop::collection::btree_map(word.clone(), word, 0..2);
    (labels, vec(term, 0..2)).prop_map(|(labels, expressions)| Selector {
        labels,
        expressions,
        span: Span::default(),
    })
}

fn cidr(address: &str, prefix: u8) -> Cidr {
    Cidr {
        address: address.parse().unwrap(),
        prefix,
    }
}
