//! The groups of all switches of a network, and the ACLs of its nodes, in a user-defined network
//! as in the default one (`setupClusterPortGroups`, `syncDefaultMulticastPolicies`,
//! `addHairpinAllowACL` and `addAllowACLFromNode` of `base_network_controller*.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use netverdict_manifest::Sources;
use netverdict_policy::{Compiler, Options, Row};
use uuid::Uuid;

const CLUSTER: &str = r#"
apiVersion: v1
kind: Node
metadata:
  name: node-1
  annotations:
    k8s.ovn.org/node-subnets: '{"default": "10.244.0.0/24", "blue_net": "10.100.3.0/24"}'
---
apiVersion: v1
kind: Node
metadata:
  name: node-2
  annotations:
    k8s.ovn.org/node-subnets: '{"default": "10.244.1.0/24"}'
---
apiVersion: v1
kind: Namespace
metadata:
  name: blue
  labels: {k8s.ovn.org/primary-user-defined-network: ""}
  annotations: {k8s.ovn.org/multicast-enabled: "true"}
---
apiVersion: k8s.ovn.org/v1
kind: UserDefinedNetwork
metadata: {name: net, namespace: blue}
spec:
  topology: Layer3
  layer3:
    role: Primary
    subnets: [{cidr: 10.100.0.0/16, hostSubnet: 24}]
"#;

const OWNERS: [&str; 5] = [
    "Cluster",
    "MulticastCluster",
    "MulticastNS",
    "NetpolDefault",
    "NetpolNode",
];

/// ACLs by priority and match, groups by their ACLs and ports; without the names of groups, which
/// are hashes.
fn lines(compiler: &Compiler, controller: &str) -> Option<String> {
    let names: BTreeMap<Uuid, Arc<str>> = compiler
        .rows()
        .map(|row| (row.uuid, row.key.clone()))
        .collect();
    let value = |row: &Row, column: &str| {
        let (_, datum) = row.columns.iter().find(|(name, _)| *name == column)?;
        let atoms = datum.atoms().iter();
        let words = atoms.map(|atom| match atom.as_uuid() {
            Some(uuid) => names.get(&uuid).map_or_else(String::new, |name| {
                name.replace(&format!("{controller}:"), "")
            }),
            None => atom.to_string(),
        });
        Some(words.collect::<Vec<_>>().join(" "))
    };
    let mut lines = Vec::new();
    for row in compiler.rows() {
        let ids = row.columns.iter().find(|(name, _)| *name == "external_ids");
        let Some(id) = ids.and_then(|(_, ids)| ids.lookup("k8s.ovn.org/id")) else {
            continue;
        };
        let Some(rest) = id.strip_prefix(&format!("{controller}:")) else {
            continue;
        };
        if !OWNERS.contains(&rest.split(':').next()?) {
            continue;
        }
        lines.push(match row.table.as_str() {
            "ACL" => format!(
                "ACL {rest}  {} {} {} {}",
                value(row, "direction")?,
                value(row, "priority")?,
                value(row, "match")?,
                value(row, "action")?
            ),
            _ => {
                let ports = row.ports.iter().filter_map(|(_, port)| names.get(port));
                let ports: Vec<&str> = ports.map(|name| &**name).collect();
                format!("{rest}  {}  {}", value(row, "acls")?, ports.join(" "))
            }
        });
    }
    lines.sort();
    Some(lines.join("\n"))
}

#[test]
fn each_network_has_groups_of_its_own() {
    let mut sources = Sources::default();
    let (_, reading) = sources.read("cluster.yaml", CLUSTER.as_bytes());
    assert_eq!(reading.diagnostics, []);
    let mut compiler = Compiler::new(Options {
        multicast: true,
        ..Options::default()
    });
    for object in reading.objects {
        compiler.put(object);
    }
    compiler.compile();
    let default = lines(&compiler, "default-network-controller").unwrap_or_default();
    let own = lines(&compiler, "blue_net-network-controller").unwrap_or_default();
    insta::assert_snapshot!(format!("{default}\n\n{own}"));
}
