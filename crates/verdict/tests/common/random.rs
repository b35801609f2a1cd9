//! Random policies for the shop.

use std::fmt::Write as _;

use netverdict_policy::{Compat, Options};

use super::{Dice, World, texts};

pub const NAMESPACES: [&str; 7] = [
    "edge",
    "shop",
    "payments",
    "data",
    "monitoring",
    "dns",
    "blue",
];
pub const APPS: [&str; 8] = [
    "gateway", "web", "cart", "redis", "search", "client", "server", "wrong",
];
pub const TEAMS: [&str; 5] = ["edge", "shop", "data", "platform", "blue"];
pub const PORTS: [u16; 7] = [8080, 7000, 7001, 6379, 53, 5432, 443];
pub const NAMES: [&str; 4] = ["http", "metrics", "dns", "none"];

/// A selector in YAML's flow style.
pub fn selector(dice: &mut Dice, key: &str, values: &[&str]) -> String {
    let value = *dice.one(values);
    match dice.roll(6) {
        0 => "{}".to_owned(),
        1 => format!(
            "{{matchExpressions: [{{key: {key}, operator: In, values: [{value}, {}]}}]}}",
            dice.one(values)
        ),
        2 => format!("{{matchExpressions: [{{key: {key}, operator: NotIn, values: [{value}]}}]}}"),
        3 => format!(
            "{{matchExpressions: [{{key: {key}, operator: {}}}]}}",
            dice.one(&["Exists", "DoesNotExist"])
        ),
        _ => format!("{{matchLabels: {{{key}: {value}}}}}"),
    }
}

pub fn peers(dice: &mut Dice) -> String {
    let mut peers = Vec::new();
    for _ in 0..dice.roll(3) {
        peers.push(match dice.roll(4) {
            0 => format!("{{podSelector: {}}}", selector(dice, "app", &APPS)),
            1 => format!("{{namespaceSelector: {}}}", selector(dice, "team", &TEAMS)),
            2 => {
                let namespaces = selector(dice, "team", &TEAMS);
                format!(
                    "{{namespaceSelector: {namespaces}, podSelector: {}}}",
                    selector(dice, "app", &APPS)
                )
            }
            _ => format!(
                "{{ipBlock: {}}}",
                dice.one(&[
                    "{cidr: 10.244.0.0/16, except: [10.244.1.0/24]}",
                    "{cidr: 10.244.2.0/24}",
                    "{cidr: 203.0.113.0/24, except: [203.0.113.128/25]}",
                    "{cidr: 0.0.0.0/0}",
                ])
            ),
        });
    }
    peers.join(", ")
}

pub fn ports(dice: &mut Dice) -> String {
    let mut ports = Vec::new();
    for _ in 0..dice.roll(3) {
        let protocol = *dice.one(&["TCP", "TCP", "UDP"]);
        let port = *dice.one(&PORTS);
        ports.push(match dice.roll(6) {
            0 => format!("{{protocol: {protocol}}}"),
            1 => format!("{{protocol: {protocol}, port: {}}}", dice.one(&NAMES)),
            2 => format!(
                "{{protocol: {protocol}, port: {port}, endPort: {}}}",
                port + 1000
            ),
            _ => format!("{{protocol: {protocol}, port: {port}}}"),
        });
    }
    ports.join(", ")
}

/// Policies of all kinds, at random.
pub fn policies(dice: &mut Dice) -> String {
    let mut text = String::new();
    for number in 0..10 {
        let namespace = *dice.one(&NAMESPACES);
        let subject = selector(dice, "app", &APPS);
        let annotation = ["", ", annotations: {k8s.ovn.org/acl-stateless: \"true\"}"]
            [usize::from(dice.roll(5) == 0)];
        let types = *dice.one(&["[Ingress]", "[Egress]", "[Ingress, Egress]"]);
        let _ = writeln!(
            text,
            "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{namespace: {namespace}, name: np{number}{annotation}}}\nspec:\n  podSelector: {subject}\n  policyTypes: {types}"
        );
        for (list, word) in [("ingress", "from"), ("egress", "to")] {
            let _ = writeln!(text, "  {list}:");
            for _ in 0..=dice.roll(3) {
                let _ = writeln!(
                    text,
                    "    - {{{word}: [{}], ports: [{}]}}",
                    peers(dice),
                    ports(dice)
                );
            }
        }
    }
    for (number, kind) in [
        "AdminNetworkPolicy",
        "AdminNetworkPolicy",
        "BaselineAdminNetworkPolicy",
    ]
    .iter()
    .enumerate()
    {
        let baseline = kind.starts_with('B');
        let (name, priority) = match baseline {
            true => ("default".to_owned(), String::new()),
            false => (format!("anp{number}"), format!("  priority: {number}\n")),
        };
        let subject = selector(dice, "team", &TEAMS);
        let _ = writeln!(
            text,
            "---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n{priority}  subject: {{namespaces: {subject}}}"
        );
        for (list, word) in [("ingress", "from"), ("egress", "to")] {
            let _ = writeln!(text, "  {list}:");
            for _ in 0..=dice.roll(3) {
                let actions: &[&str] = if baseline {
                    &["Allow", "Deny"]
                } else {
                    &["Allow", "Deny", "Pass"]
                };
                let action = *dice.one(actions);
                let peer = match dice.roll(2) {
                    0 => format!("namespaces: {}", selector(dice, "team", &TEAMS)),
                    _ => format!(
                        "pods: {{namespaceSelector: {}, podSelector: {}}}",
                        selector(dice, "team", &TEAMS),
                        selector(dice, "app", &APPS)
                    ),
                };
                let port = match dice.roll(3) {
                    0 => String::new(),
                    1 => format!(
                        ", ports: [{{portNumber: {{protocol: TCP, port: {}}}}}]",
                        dice.one(&PORTS)
                    ),
                    _ => format!(", ports: [{{namedPort: {}}}]", dice.one(&NAMES)),
                };
                let _ = writeln!(
                    text,
                    "    - {{action: {action}, {word}: [{{{peer}}}]{port}}}"
                );
            }
        }
    }
    let _ = writeln!(
        text,
        "---\napiVersion: k8s.ovn.org/v1\nkind: EgressFirewall\nmetadata: {{namespace: shop, name: default}}\nspec:\n  egress:\n    - {{type: {}, to: {{cidrSelector: 203.0.113.0/25}}}}\n    - {{type: Deny, to: {{cidrSelector: 0.0.0.0/0}}, ports: [{{protocol: TCP, port: {}}}]}}",
        dice.one(&["Allow", "Deny"]),
        dice.one(&PORTS)
    );
    text
}

pub fn world(dice: &mut Dice) -> World {
    let mut all = texts();
    all[1].1 = policies(dice);
    let options = Options {
        stateless: dice.roll(2) == 0,
        compat: *dice.one(&[Compat::OvnKubernetes, Compat::Strict]),
        ..Options::default()
    };
    World::with(&all, options).unwrap_or_else(|| panic!("these are right:\n{}", all[1].1))
}
