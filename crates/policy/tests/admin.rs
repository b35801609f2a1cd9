//! Policies of the administrator, EgressFirewalls and networks: what the golden cases cannot say,
//! because ovn-kubernetes has no rows for it, refuses it, or departs from the API.

#![allow(clippy::expect_used, clippy::panic)] // Of helpers; tests may anyway.

use std::collections::BTreeMap;

use netverdict_manifest::*;
use netverdict_ovsdb::{Atom, Datum};
use netverdict_policy::{Compat, Compiler, Options, Row, Table};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

fn options() -> Options {
    Options {
        cluster_subnets: vec![Cidr {
            address: "10.244.0.0".parse().expect("an address"),
            prefix: 16,
        }],
        sampling: false,
        multicast: false,
        ..Options::default()
    }
}

fn strict() -> Options {
    Options {
        compat: Compat::Strict,
        ..options()
    }
}

fn compiled(options: Options, text: &str) -> Compiler {
    let reading = read(FileId(0), text);
    assert!(reading.passed_over.is_empty(), "{:?}", reading.passed_over);
    let mut told = reading.diagnostics.iter();
    assert_eq!(told.find(|it| it.severity == Severity::Error), None);
    let mut compiler = Compiler::new(options);
    for object in reading.objects {
        compiler.put(object);
    }
    compiler.compile();
    compiler
}

fn put(objects: Vec<Object>) -> Compiler {
    let mut compiler = Compiler::new(options());
    for object in objects {
        compiler.put(object);
    }
    compiler.compile();
    compiler
}

/// A row of a zone.
fn row<'a>(compiler: &'a Compiler, zone: &str, table: Table, key: &str) -> &'a Row {
    let mut rows = compiler.rows();
    rows.find(|row| row.table == table && &*row.key == key && row.is_in(zone))
        .unwrap_or_else(|| panic!("no {} {key} in zone {zone}", table.as_str()))
}

fn has(compiler: &Compiler, zone: &str, key: &str) -> bool {
    compiler
        .rows()
        .any(|row| &*row.key == key && row.is_in(zone))
}

fn column(row: &Row, name: &str) -> Datum {
    let found = row.columns.iter().find(|(column, _)| *column == name);
    found
        .map(|(_, value)| value.clone())
        .unwrap_or_else(Datum::empty)
}

fn text(row: &Row, name: &str) -> String {
    match column(row, name).atoms().first() {
        Some(Atom::String(text)) => text.to_string(),
        other => panic!("{name} is {other:?}"),
    }
}

fn number(row: &Row, name: &str) -> i64 {
    match column(row, name).atoms().first() {
        Some(Atom::Integer(number)) => *number,
        None => 0,
        other => panic!("{name} is {other:?}"),
    }
}

fn words(row: &Row, name: &str) -> Vec<String> {
    let words = column(row, name);
    let words = words.atoms().iter().map(|atom| match atom {
        Atom::String(text) => text.to_string(),
        other => other.to_string(),
    });
    words.collect()
}

/// ACLs of an owner type: match, action, tier and priority by what is behind the owner type in
/// the primary id.
fn acls(
    compiler: &Compiler,
    zone: &str,
    owner: &str,
) -> BTreeMap<String, (String, String, i64, i64)> {
    let head = format!("default-network-controller:{owner}:");
    compiler
        .rows()
        .filter(|row| row.table == Table::Acl && row.is_in(zone))
        .filter_map(|row| {
            let tail = row.key.strip_prefix(&head)?;
            let what = (
                text(row, "match"),
                text(row, "action"),
                number(row, "tier"),
                number(row, "priority"),
            );
            Some((tail.to_owned(), what))
        })
        .collect()
}

fn codes(compiler: &Compiler) -> Vec<(Severity, &'static str, String)> {
    let mut codes: Vec<_> = compiler
        .diagnostics()
        .map(|it| (it.severity, it.code.0, it.message.clone()))
        .collect();
    codes.sort();
    codes
}

const CLUSTER: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: n1, annotations: {k8s.ovn.org/zone-name: east, k8s.ovn.org/node-subnets: '{"default":"10.244.1.0/24"}', k8s.ovn.org/host-cidrs: '["172.18.0.2/16","192.168.7.2/24"]'}}
status: {addresses: [{type: InternalIP, address: 172.18.0.2}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2, annotations: {k8s.ovn.org/zone-name: west, k8s.ovn.org/node-subnets: '{"default":"10.244.2.0/24"}', k8s.ovn.org/host-cidrs: '["172.18.0.3/16"]'}}
status: {addresses: [{type: InternalIP, address: 172.18.0.3}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: web, labels: {team: web}}
---
apiVersion: v1
kind: Namespace
metadata: {name: db, labels: {team: db}}
---
apiVersion: v1
kind: Pod
metadata: {name: front, namespace: web}
spec: {nodeName: n1, containers: [{name: c, ports: [{name: http, containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}, {name: dns, containerPort: 5353}]}]}
status: {podIPs: [{ip: 10.244.1.5}]}
---
apiVersion: v1
kind: Pod
metadata: {name: store, namespace: db}
spec: {nodeName: n2, containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}
status: {podIPs: [{ip: 10.244.2.5}]}
---
"#;

const ADMIN_NAMED: &str = "
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: names}
spec:
  priority: 7
  subject: {namespaces: {matchLabels: {team: web}}}
  ingress:
    - action: Allow
      from: [{namespaces: {}}]
      ports: [{namedPort: http}]
";

#[test]
fn a_named_port_of_ingress_is_each_zones_own_and_also_the_peers() {
    let manifests = format!("{CLUSTER}{ADMIN_NAMED}");
    let compiler = compiled(options(), &manifests);

    let id = "names:Ingress:0:tcp-namedPort";
    let east = &acls(&compiler, "east", "AdminNetworkPolicy")[id].0;
    let west = &acls(&compiler, "west", "AdminNetworkPolicy")[id].0;
    let set = east
        .strip_prefix("((ip4.src == $")
        .and_then(|rest| rest.split_once("))"))
        .map_or("", |(set, _)| set);
    // The subject's pod is a peer as well: twice.
    assert_eq!(
        *east,
        format!(
            "((ip4.src == ${set})) && tcp && ((ip4.dst == 10.244.1.5 && tcp.dst == 8080) || \
             (ip4.dst == 10.244.1.5 && tcp.dst == 8080) || \
             (ip4.dst == 10.244.2.5 && tcp.dst == 80))"
        )
    );
    assert_eq!(
        *west,
        format!(
            "((ip4.src == ${set})) && tcp && ((ip4.dst == 10.244.1.5 && tcp.dst == 8080) || \
             (ip4.dst == 10.244.2.5 && tcp.dst == 80))"
        )
    );
    let told = codes(&compiler);
    let (severity, code, _) = &told[0];
    assert_eq!(
        (told.len(), *severity, *code),
        (1, Severity::Warning, "named-port-of-peer")
    );
    let place = compiler.diagnostics().next().expect("it").labels[0].span;
    let line = manifests.lines().nth(place.line as usize - 1);
    assert_eq!(line, Some("      ports: [{namedPort: http}]"));

    let compiler = compiled(strict(), &manifests);
    for zone in ["east", "west"] {
        let acls = acls(&compiler, zone, "AdminNetworkPolicy");
        let (matches, ..) = &acls[id];
        let (lport, rest) = matches.split_once(" && ").expect("terms");
        assert!(lport.starts_with("outport == @a"), "{matches}");
        assert_eq!(
            rest,
            format!("((ip4.src == ${set})) && tcp && ((ip4.dst == 10.244.1.5 && tcp.dst == 8080))")
        );
    }
    assert_eq!(codes(&compiler), []);
}

#[test]
fn a_zone_without_the_named_port_has_no_acl_for_it() {
    let policy = ADMIN_NAMED.replace("namespaces: {}", "namespaces: {matchLabels: {team: none}}");
    let compiler = compiled(options(), &format!("{CLUSTER}{policy}"));
    let acl = "default-network-controller:AdminNetworkPolicy:names:Ingress:0:tcp-namedPort";
    let group = |zone: &str| {
        let mut rows = compiler.rows().filter(|row| row.is_in(zone));
        let is =
            |row: &&Row| text(row, "name").len() > 1 && ids(row, "k8s.ovn.org/name") == "names";
        let group = rows.find(|row| row.table == Table::PortGroup && is(row));
        group.expect("a group").clone()
    };
    assert!(has(&compiler, "east", acl) && !has(&compiler, "west", acl));
    assert_eq!(
        words(&group("east"), "acls"),
        [Table::Acl.uuid(acl).to_string()]
    );
    assert_eq!(words(&group("west"), "acls"), [""; 0]);
    assert_eq!(group("east").columns_in("east").len(), 4);
    assert_eq!(group("west").columns_in("west").len(), 2);
}

fn ids(row: &Row, key: &str) -> String {
    let ids = column(row, "external_ids");
    ids.lookup(key).unwrap_or_default().to_owned()
}

#[test]
fn nodes_are_their_host_addresses_or_those_of_their_status() {
    let policy = "
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: nodes}
spec:
  priority: 0
  subject: {namespaces: {}}
  egress: [{action: Deny, to: [{nodes: {}}, {networks: [10.1.2.3/8, 'fd00::/8']}]}]
";
    let addresses = |options| {
        let compiler = compiled(options, &format!("{CLUSTER}{policy}"));
        let id = "default-network-controller:AdminNetworkPolicy:nodes:Egress:0:v4";
        let mut rows = compiler.rows();
        let set = rows.find(|row| ids(row, "k8s.ovn.org/id") == id);
        words(set.expect("the set"), "addresses")
    };
    assert_eq!(
        addresses(options()),
        ["10.0.0.0/8", "172.18.0.2", "172.18.0.3", "192.168.7.2"]
    );
    assert_eq!(
        addresses(strict()),
        ["10.0.0.0/8", "172.18.0.2", "172.18.0.3"]
    );
}

#[test]
fn a_cluster_network_policy_has_the_rows_of_its_decision() {
    let policy = "
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: c, annotations: {k8s.ovn.org/acl-logging: '{\"allow\":\"info\",\"pass\":\"debug\"}'}}
spec:
  tier: Admin
  priority: 3
  subject: {pods: {namespaceSelector: {matchLabels: {team: web}}, podSelector: {}}}
  ingress:
    - action: Pass
      from: [{namespaces: {matchLabels: {team: db}}}]
      protocols: [{tcp: {destinationPort: null}}, {tcp: {destinationPort: {number: 80}}}, {udp: {destinationPort: {range: {start: 5000, end: 5010}}}}]
    - action: Accept
      from: [{namespaces: {}}]
      protocols: [{destinationNamedPort: dns}]
  egress:
    - action: Accept
      to: [{networks: [203.0.113.0/24]}, {domainNames: ['*.example.com', example.org]}]
    - action: Deny
      to: [{nodes: {}}]
";
    let manifests = format!("{CLUSTER}{policy}");
    let compiler = compiled(options(), &manifests);
    let acls = acls(&compiler, "east", "ClusterNetworkPolicy");
    let name = |id: &str| {
        let id = format!("default-network-controller:{id}");
        let mut rows = compiler.rows();
        let row = rows.find(|row| ids(row, "k8s.ovn.org/id") == id);
        text(row.unwrap_or_else(|| panic!("no {id}")), "name")
    };
    let group = name("ClusterNetworkPolicy:c");
    let set = |rule: &str| name(&format!("ClusterNetworkPolicy:c:{rule}:v4"));
    let wild = name("EgressFirewallDNS:*.example.com:v4");
    let org = name("EgressFirewallDNS:example.org:v4");
    let l3 = |rule: &str| format!("((ip4.src == ${}))", set(rule));
    let lport = format!("outport == @{group}");
    let wanted = [
        (
            "c:Ingress:0:tcp",
            format!("{lport} && {} && tcp", l3("Ingress:0")),
            "pass",
            29_700,
        ),
        (
            "c:Ingress:0:udp",
            format!(
                "{lport} && {} && udp && 5000<=udp.dst<=5010",
                l3("Ingress:0")
            ),
            "pass",
            29_700,
        ),
        (
            "c:Ingress:1:tcp-namedPort",
            format!(
                "{lport} && {} && tcp && ((ip4.dst == 10.244.1.5 && tcp.dst == 5353))",
                l3("Ingress:1")
            ),
            "allow-related",
            29_699,
        ),
        (
            "c:Ingress:1:udp-namedPort",
            format!(
                "{lport} && {} && udp && ((ip4.dst == 10.244.1.5 && udp.dst == 53))",
                l3("Ingress:1")
            ),
            "allow-related",
            29_699,
        ),
        (
            "c:Egress:0:None",
            format!(
                "inport == @{group} && ((ip4.dst == ${} || ip4.dst == ${wild} || ip4.dst == ${org}))",
                set("Egress:0")
            ),
            "allow-related",
            29_700,
        ),
        (
            "c:Egress:1:None",
            format!("inport == @{group} && ((ip4.dst == ${}))", set("Egress:1")),
            "drop",
            29_699,
        ),
    ];
    let wanted: BTreeMap<_, _> = wanted
        .into_iter()
        .map(|(id, matches, action, priority)| {
            (id.to_owned(), (matches, action.to_owned(), 1, priority))
        })
        .collect();
    assert_eq!(acls, wanted);

    let rule = row(
        &compiler,
        "east",
        Table::Acl,
        "default-network-controller:ClusterNetworkPolicy:c:Ingress:0:tcp",
    );
    assert_eq!(text(rule, "name"), "CNP:c:Ingress:0");
    assert_eq!(text(rule, "severity"), "debug");
    let origin = &rule.origins[0];
    assert_eq!(origin.object.to_string(), "ClusterNetworkPolicy c");
    assert_eq!(origin.rule.as_deref(), Some("ingress[0]"));
    let line = manifests.lines().nth(origin.span.line as usize - 1);
    assert_eq!(line, Some("    - action: Pass"));

    let empty = row(&compiler, "west", Table::AddressSet, &wild);
    assert_eq!(column(empty, "addresses"), Datum::empty());
    let told: Vec<_> = codes(&compiler).iter().map(|(_, code, _)| *code).collect();
    assert_eq!(told, ["domain-name", "domain-name"]);
}

#[test]
fn what_does_not_fit_is_refused_with_an_error_at_its_place() {
    let refused = |object: Object| {
        let owner = object.key.kind.as_str();
        let compiler = put(vec![object]);
        assert!(acls(&compiler, "global", owner).is_empty());
        let groups = compiler.rows().filter(|row| row.table == Table::PortGroup);
        assert!(
            groups
                .into_iter()
                .all(|row| ids(row, "k8s.ovn.org/owner-type") != owner)
        );
        let told: Vec<_> = compiler
            .diagnostics()
            .filter(|it| it.severity == Severity::Error)
            .map(|it| (it.message.clone(), it.labels[0].span.line))
            .collect();
        told
    };
    let rule = |line| AdminRule {
        name: String::new(),
        action: RuleAction::Deny,
        peers: vec![AdminPeer::Namespaces(Selector::default())],
        ports: Vec::new(),
        span: Span {
            line,
            ..Span::default()
        },
    };
    let mut high = admin(Kind::AdminNetworkPolicy, "a", AdminTier::Admin, 100, 1);
    if let Spec::AdminPolicy(policy) = &mut high.spec {
        policy.priority.span.line = 42;
    }
    assert_eq!(
        refused(high),
        [(
            "AdminNetworkPolicy a is not installed: its priority is 100".to_owned(),
            42
        )]
    );
    for (kind, most) in [
        (Kind::AdminNetworkPolicy, 100),
        (Kind::BaselineAdminNetworkPolicy, 100),
        (Kind::ClusterNetworkPolicy, 25),
    ] {
        let mut many = admin(kind, "many", AdminTier::Baseline, 0, 0);
        if let Spec::AdminPolicy(policy) = &mut many.spec {
            policy.egress = (0..=most).map(rule).collect();
        }
        assert_eq!(
            refused(many),
            [(
                format!(
                    "{} many is not installed: it has too many rules",
                    kind.as_str()
                ),
                most
            )]
        );
    }

    let firewall = |name: &str, to: &[(EgressTo, u32)]| Object {
        key: Key::new(Kind::EgressFirewall, "web", name),
        meta: Meta::default(),
        spec: Spec::EgressFirewall(EgressFirewall {
            rules: to
                .iter()
                .map(|(to, line)| EgressRule {
                    action: FirewallAction::Deny,
                    to: to.clone(),
                    ports: Vec::new(),
                    span: rule(*line).span,
                })
                .collect(),
        }),
    };
    let everywhere = EgressTo::Cidr(At::new(
        Cidr {
            address: "0.0.0.0".parse().expect("an address"),
            prefix: 0,
        }
        .into(),
        Span::default(),
    ));
    let wildcard = EgressTo::Dns(At::new("*.example.com".to_owned(), rule(7).span));
    let many: Vec<_> = (0..8002).map(|line| (everywhere.clone(), line)).collect();
    assert_eq!(refused(firewall("default", &many))[0].1, 8001);
    assert_eq!(
        refused(firewall(
            "default",
            &[(everywhere.clone(), 3), (wildcard, 7)]
        ))[0]
            .1,
        7
    );
    assert_eq!(
        refused(firewall("other", &[(everywhere.clone(), 3)])).len(),
        1
    );

    let most = put(vec![firewall("default", &many[..8001])]);
    let acls = acls(&most, "global", "EgressFirewall");
    assert_eq!(acls.len(), 8001);
    assert_eq!((acls["web:0"].3, acls["web:8000"].3), (10_000, 2_000));
}

#[test]
fn there_is_room_for_800_priorities_behind_those_of_ovn_kubernetes() {
    let policies = |priorities: std::ops::Range<u32>| {
        let policy = |priority| {
            let name = format!("p{priority}");
            let rules = if priority < 899 { 1 } else { 25 };
            admin(
                Kind::ClusterNetworkPolicy,
                &name,
                AdminTier::Admin,
                priority,
                rules,
            )
        };
        put(priorities.map(policy).collect())
    };
    let fit = policies(100..900);
    let lowest = acls(&fit, "global", "ClusterNetworkPolicy")["p899:Ingress:24:None"].3;
    assert_eq!(
        (
            lowest,
            codes(&fit)
                .into_iter()
                .filter(|it| it.0 == Severity::Error)
                .count()
        ),
        (1, 0)
    );
    let over = policies(100..901);
    let errors: Vec<_> = codes(&over)
        .into_iter()
        .filter(|(severity, ..)| *severity == Severity::Error)
        .collect();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].2.contains("p900"), "{errors:?}");
}

#[test]
fn names_and_samples_are_the_known_ones() {
    // docs/features/network-security-controls/admin-network-policy.md, and FNV-1a by hand.
    let manifests = "
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: cluster-control}
spec:
  priority: 34
  subject: {namespaces: {}}
  ingress:
    - {action: Allow, from: [{namespaces: {}}]}
    - {action: Deny, from: [{namespaces: {}}]}
---
apiVersion: policy.networking.k8s.io/v1alpha1
kind: BaselineAdminNetworkPolicy
metadata: {name: default}
spec: {subject: {namespaces: {}}}
---
apiVersion: k8s.ovn.org/v1
kind: EgressFirewall
metadata: {name: default, namespace: ns1}
spec: {egress: [{type: Allow, to: {cidrSelector: 1.2.3.0/24}}]}
";
    let sampling = Options {
        sampling: true,
        ..options()
    };
    let compiler = compiled(sampling, manifests);
    for (table, key) in [
        (Table::PortGroup, "a14645450421485494999"),
        (Table::AddressSet, "a14545668191619617708"),
        (Table::AddressSet, "a6786643370959569281"),
        (Table::PortGroup, "a9550609891683691927"),
        (Table::PortGroup, "a9633447981174624809"),
        (Table::Sample, "1727794866"),
    ] {
        row(&compiler, "global", table, key);
    }
}

fn network_set(label: &str, networks: &str) -> String {
    format!(
        "{CLUSTER}
apiVersion: v1
kind: Namespace
metadata: {{name: blue, labels: {{team: web{label}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: p, namespace: blue}}
spec: {{nodeName: n1, containers: [{{name: c}}]}}
status: {{podIPs: [{{ip: 10.244.1.9}}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: np, namespace: blue}}
spec: {{podSelector: {{}}, ingress: [{{}}]}}
---
{networks}"
    )
}

const LABEL: &str = ", k8s.ovn.org/primary-user-defined-network: ''";
const TWO_NETWORKS: &str = "
apiVersion: k8s.ovn.org/v1
kind: ClusterUserDefinedNetwork
metadata: {name: shared, creationTimestamp: '2026-01-02T00:00:00Z'}
spec:
  namespaceSelector: {matchLabels: {team: web}}
  network: {topology: Layer2, layer2: {role: Primary, subnets: [10.10.0.0/16]}}
---
apiVersion: k8s.ovn.org/v1
kind: UserDefinedNetwork
metadata: {name: own, namespace: blue, creationTimestamp: '2026-01-03T00:00:00Z'}
spec: {topology: Layer2, layer2: {role: Primary, subnets: [10.10.0.0/16]}}
";

#[test]
fn a_namespace_has_the_oldest_network_if_it_has_the_label() {
    let controller = |compiler: &Compiler| {
        let mut rows = compiler.rows();
        let deny = rows.find(|row| {
            row.key
                .ends_with(":NetpolNamespace:blue:Ingress:defaultDeny")
        });
        let id = deny.expect("the default deny").key.to_string();
        id.split(':').next().expect("a part").to_owned()
    };
    let told = |compiler: &Compiler| -> Vec<String> {
        let told = codes(compiler).into_iter();
        told.filter(|(_, code, _)| code.contains("network"))
            .map(|it| it.2)
            .collect()
    };
    let with = compiled(options(), &network_set(LABEL, TWO_NETWORKS));
    assert_eq!(controller(&with), "cluster_udn_shared-network-controller");
    assert_eq!(
        told(&with),
        [
            "ClusterUserDefinedNetwork shared is not the network of namespace web",
            "UserDefinedNetwork blue/own is not the network of namespace blue",
        ]
    );
    let turned = TWO_NETWORKS.replace("01-03", "01-01");
    let turned = compiled(options(), &network_set(LABEL, &turned));
    assert_eq!(controller(&turned), "blue_own-network-controller");

    let without = compiled(options(), &network_set("", TWO_NETWORKS));
    assert_eq!(controller(&without), "default-network-controller");
    assert_eq!(
        told(&without),
        [
            "ClusterUserDefinedNetwork shared is not the network of namespace blue and 1 more",
            "UserDefinedNetwork blue/own is not the network of namespace blue",
        ]
    );
    let waits = compiled(options(), &network_set(LABEL, ""));
    assert_eq!(
        told(&waits),
        ["Namespace blue has no network: no pod of it starts"]
    );
}

#[test]
fn a_policy_for_pods_of_another_network_is_told_to_miss_them() {
    let policy = "
---
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: a}
spec: {priority: 0, subject: {namespaces: {matchLabels: {team: web}}}}
";
    let networks = format!("{TWO_NETWORKS}{policy}");
    let compiler = compiled(options(), &network_set(LABEL, &networks));
    let told = codes(&compiler);
    let (_, _, message) = told.iter().find(|it| it.1 == "other-network").expect("it");
    assert_eq!(
        message,
        "AdminNetworkPolicy a does not hold in the user-defined network of namespace blue"
    );
    let compiler = compiled(
        options(),
        &network_set("", policy.trim_start_matches("\n---")),
    );
    assert!(codes(&compiler).iter().all(|it| it.1 != "other-network"));
}

fn admin(kind: Kind, name: &str, tier: AdminTier, priority: u32, rules: usize) -> Object {
    let rule = AdminRule {
        name: String::new(),
        action: RuleAction::Allow,
        peers: vec![AdminPeer::Namespaces(Selector::default())],
        ports: Vec::new(),
        span: Span::default(),
    };
    Object {
        key: Key::new(kind, "", name),
        meta: Meta::default(),
        spec: Spec::AdminPolicy(AdminPolicy {
            tier: match kind {
                Kind::AdminNetworkPolicy => AdminTier::Admin,
                Kind::BaselineAdminNetworkPolicy => AdminTier::Baseline,
                _ => tier,
            },
            priority: At::new(priority, Span::default()),
            subject: AdminSubject::Namespaces(Selector::default()),
            ingress: vec![rule.clone(); rules],
            egress: vec![rule; rules],
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What goes first by the API has the higher priority in OVN: by tier, then by the policies'
    /// numbers whatever their kind, the BaselineAdminNetworkPolicy last, then by the rules' order.
    #[test]
    fn the_order_of_policies_is_the_order_of_priorities(
        admins in btree_set(0_u32..100, 0..4),
        clusters in btree_set(prop_oneof![0_u32..100, 0_u32..=1000, 980_u32..=1000], 0..12),
        baselines in btree_set(0_u32..=1000, 0..4),
        rules in vec(prop_oneof![1_usize..4, Just(25)], 16),
        admin_rules in prop_oneof![Just(1_usize), Just(100)],
        has_baseline: bool,
    ) {
        let mut policies = Vec::new();
        for priority in &admins {
            policies.push((0, *priority, admin(
                Kind::AdminNetworkPolicy, &format!("a{priority}"), AdminTier::Admin, *priority,
                admin_rules,
            )));
        }
        let clusters = clusters.difference(&admins).map(|number| (AdminTier::Admin, *number));
        let all = clusters.chain(baselines.iter().map(|number| (AdminTier::Baseline, *number)));
        for ((tier, priority), rules) in all.zip(rules) {
            let (number, word) = match tier {
                AdminTier::Admin => (0, "c"),
                AdminTier::Baseline => (1, "b"),
            };
            policies.push((number, priority, admin(
                Kind::ClusterNetworkPolicy, &format!("{word}{priority}"), tier, priority, rules,
            )));
        }
        if has_baseline {
            let kind = Kind::BaselineAdminNetworkPolicy;
            policies.push((1, 5000, admin(kind, "default", AdminTier::Baseline, 0, 100)));
        }
        policies.sort_by_key(|(tier, priority, _)| (*tier, *priority));
        let compiler = put(policies.iter().map(|(_, _, object)| object.clone()).collect());
        prop_assert!(codes(&compiler).iter().all(|(severity, ..)| *severity < Severity::Error));

        let rows: BTreeMap<Kind, _> = [
            Kind::AdminNetworkPolicy,
            Kind::BaselineAdminNetworkPolicy,
            Kind::ClusterNetworkPolicy,
        ]
        .map(|kind| (kind, acls(&compiler, "global", kind.as_str())))
        .into();
        for direction in ["Ingress", "Egress"] {
            let mut last: Option<(i64, i64)> = None;
            for (tier, _, object) in &policies {
                let Spec::AdminPolicy(policy) = &object.spec else { continue };
                let acls = &rows[&object.key.kind];
                for index in 0..policy.ingress.len() {
                    let id = format!("{}:{direction}:{index}:None", object.key.name);
                    let (_, _, ovn_tier, priority) = acls[&id];
                    prop_assert_eq!(ovn_tier, if *tier == 0 { 1 } else { 3 });
                    prop_assert!((0..=32_767).contains(&priority));
                    if let Some((last_tier, last)) = last {
                        prop_assert!(
                            last_tier < ovn_tier || last > priority,
                            "{id}: {priority} behind {last}"
                        );
                    }
                    last = Some((ovn_tier, priority));
                }
            }
        }
    }
}
