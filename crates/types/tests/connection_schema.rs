//! A connection as JSON is what `docs/connection.schema.json` documents: no key, word or number
//! that is not in it.
#![allow(clippy::unwrap_used, clippy::panic)] // Of helpers; tests may anyway.

#[path = "../../netverdict/tests/schema/mod.rs"]
mod schema;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use netverdict_types::{
    Acl, Action, Change, Connection, ConnectionId, Counts, Direction, DropFlow, Endpoint,
    EndpointKind, Evidence, Fact, Half, IcmpKind, Owner, OwnerKind, Pipeline, Probability, Rule,
    Ruling, Service, Socket, Tally, TcpFlags, Timestamp, Unresolved, Verdict,
};
use serde_json::Value;
use uuid::Uuid;

use schema::{fits, target};

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let schema = documented();
    let mut documented = BTreeSet::new();
    keys_of_schema(&schema, &schema, "", &mut documented);
    let mut there = BTreeSet::new();
    for connection in connections() {
        let connection = serde_json::to_value(connection).unwrap();
        if let Err(fault) = fits(&schema, &schema, &connection) {
            panic!("{fault}\n{connection}");
        }
        keys_of_value(&connection, "", &mut there);
    }
    assert_eq!(documented, there);
}

#[test]
fn words_are_those_of_a_decision() {
    let schema = documented();
    let text = fs::read_to_string(root().join("docs/decision.schema.json")).unwrap();
    let decision: Value = serde_json::from_str(&text).unwrap();
    let half = &schema["$defs"]["half"]["properties"];
    for name in ["action", "pipeline", "evidence", "unresolved"] {
        assert_eq!(half[name], decision["properties"][name], "{name}");
    }
    for (name, words) in [
        ("protocol", "/properties/protocol/anyOf"),
        ("service", "/properties/service/properties"),
        ("owner", "/$defs/owner"),
        ("kind", "/$defs/end/properties/kind"),
    ] {
        assert!(schema.pointer(words).is_some(), "{name}");
        assert_eq!(schema.pointer(words), decision.pointer(words), "{name}");
    }
    assert_eq!(
        schema["$defs"]["verdict"]["enum"],
        decision["properties"]["verdict"]["enum"]
    );
}

#[test]
fn changes_are_told_where_they_are_more_than_the_halves() {
    let connection = connections().remove(0);
    let mut plain = connection.clone();
    let halves = [
        (Direction::Egress, plain.egress.clone()),
        (Direction::Ingress, plain.ingress.clone()),
    ];
    plain.changes.clear();
    for (direction, half) in halves {
        let half = half.unwrap();
        plain.change(&Change { direction, half });
    }
    let json = |it: &Connection| serde_json::to_value(it).unwrap();
    assert_eq!(json(&plain).get("changes"), None);
    assert_eq!(json(&connection)["changes"].as_array().unwrap().len(), 3);
    assert_eq!(json(&connection)["message"], "Dropped by the port");
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn documented() -> Value {
    let text = fs::read_to_string(root().join("docs/connection.schema.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Connections that together have every key.
fn connections() -> Vec<Connection> {
    let fact = Fact::from(Acl {
        name: Some("NP:blue:web:Egress:0".to_owned()),
        priority: 1001,
        matches: "ip4".to_owned(),
        action: Action::AllowRelated,
        pipeline: Pipeline::FromLportAfterLb,
        tier: 2,
        label: 0,
        owner: Owner {
            kind: OwnerKind::NetworkPolicy,
            namespace: Some("blue".to_owned()),
            name: Some("web".to_owned()),
            direction: Some(Direction::Egress),
            rule: Rule {
                index: Some(0),
                protocol: Some("tcp".to_owned()),
                ip_block: Some(-2),
                kind: Some("defaultDeny".to_owned()),
            },
            network: Some("default".to_owned()),
        },
    });
    let by_acl = Ruling {
        verdict: Verdict::Allowed,
        fact: Some(Arc::new(fact)),
        uuid: Some(Uuid::from_u128(7)),
        revision: Some(7),
        deleted: true,
        evidence: Evidence::Point,
        unresolved: None,
        flow: None,
    };
    let by_flow = Ruling {
        verdict: Verdict::Dropped,
        fact: None,
        uuid: None,
        revision: None,
        deleted: false,
        evidence: Evidence::LogicalFlow,
        unresolved: None,
        flow: Some(Arc::new(DropFlow {
            stage: "ls_out_check_port_sec".to_owned(),
            priority: 100,
            matches: "eth.src[40]".to_owned(),
            message: "Dropped by the port".into(),
        })),
    };
    let by_nobody = Ruling {
        verdict: Verdict::Unknown,
        fact: None,
        evidence: Evidence::None,
        unresolved: Some(Unresolved::UnknownPoint),
        flow: None,
        ..by_flow.clone()
    };
    let half = |since, ruling| Half {
        since: Timestamp(since),
        zone: "zone-1".into(),
        node: Some("worker-1".into()),
        ruling: Arc::new(ruling),
    };
    let endpoint = |kind| Endpoint {
        kind,
        namespace: Some("blue".to_owned()),
        name: Some("web-0".to_owned()),
        node: Some("worker-1".to_owned()),
    };
    let socket = |last, port| Socket {
        ip: [10, 244, 0, last].into(),
        port,
    };
    let mut whole = Connection {
        id: ConnectionId(0x18ea_c1a2_3456_789a_0000_0000_0000_0001),
        seq: 0,
        network: Some("default".into()),
        protocol: 6,
        client: socket(5, Some(40_000)),
        server: socket(6, Some(8080)),
        icmp: None,
        src: Some(Arc::new(endpoint(EndpointKind::Pod))),
        dst: Some(Arc::new(endpoint(EndpointKind::Port))),
        service: Some(Arc::new(Service {
            namespace: Some("blue".to_owned()),
            name: "web".to_owned(),
            ip: [10, 96, 0, 10].into(),
            port: Some(80),
            protocol: 6,
            backends: Vec::new(),
        })),
        start: Timestamp(1_795_421_730_123_456_789),
        end: Timestamp(1_795_421_731_000_000_000),
        verdict: Verdict::Dropped,
        egress: Some(half(1, by_acl.clone())),
        ingress: Some(half(3, by_flow)),
        tcp_flags: TcpFlags(TcpFlags::SYN | TcpFlags::ACK),
        counts: Vec::new(),
        changes: Vec::new(),
    };
    for probability in [Probability::ALL, Probability::from_ratio(100)] {
        let tally = Tally {
            packets: 3,
            bytes: 300,
        };
        whole.count(&Counts {
            probability,
            original: tally,
            reply: tally,
            dropped: tally,
        });
    }
    for (direction, half) in [
        (Direction::Egress, whole.egress.clone().unwrap()),
        (Direction::Ingress, half(2, by_nobody.clone())),
        (Direction::Ingress, whole.ingress.clone().unwrap()),
    ] {
        whole.change(&Change { direction, half });
    }
    let bare = Connection {
        network: None,
        protocol: 89,
        server: socket(6, None),
        icmp: Some(IcmpKind { kind: 8, code: 0 }),
        src: None,
        dst: None,
        service: None,
        verdict: Verdict::Unknown,
        egress: None,
        ingress: None,
        tcp_flags: TcpFlags(0),
        counts: Vec::new(),
        changes: Vec::new(),
        ..whole.clone()
    };
    let turned = Connection {
        src: whole.dst.clone(),
        dst: whole.src.clone(),
        egress: whole.ingress.clone(),
        ingress: whole.egress.clone(),
        ..whole.clone()
    };
    let nobody = Connection {
        egress: Some(half(1, by_nobody.clone())),
        ingress: Some(half(1, by_nobody)),
        ..whole.clone()
    };
    vec![whole, bare, turned, nobody]
}

fn keys_of_schema(root: &Value, schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    if let Some(reference) = schema.get("$ref") {
        return keys_of_schema(root, target(root, reference), path, keys);
    }
    if let Some(items) = schema.get("items") {
        keys_of_schema(root, items, path, keys);
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        keys_of_schema(root, member, &path, keys);
        keys.insert(path);
    }
}

fn keys_of_value(value: &Value, path: &str, keys: &mut BTreeSet<String>) {
    for item in value.as_array().into_iter().flatten() {
        keys_of_value(item, path, keys);
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        keys_of_value(member, &path, keys);
        keys.insert(path);
    }
}
