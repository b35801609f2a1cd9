//! What `observe -o json` prints is what `docs/decision.schema.json` documents: no key, word or
//! number that is not in it.
#![allow(clippy::unwrap_used, clippy::panic)] // Of helpers; tests may anyway.

mod schema;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use netverdict_types::{
    Acl, AclRow, Action, App, Candidates, Cookie, Decision, Direction, DropFlow, End, Endpoint,
    EndpointKind, Evidence, Fact, Headers, IcmpKind, Origin, Owner, OwnerKind, Pipeline,
    Probability, Rule, Service, TcpFlags, Timestamp, Unresolved, Verdict,
};
use serde_json::{Value, json};
use uuid::Uuid;

use schema::{fits, target};

#[test]
fn real_output_is_as_documented() {
    let schema = documented();
    let captures = root().join("lab/captures/native");
    let directory = tempfile::tempdir().unwrap();
    let sb = directory.path().join("sb.json");
    let packed = File::open(captures.join("sb1.json.gz")).unwrap();
    let mut unpacked = flate2::read::GzDecoder::new(packed);
    std::io::copy(&mut unpacked, &mut File::create_new(&sb).unwrap()).unwrap();

    let file = |name: &str| captures.join(name).display().to_string();
    let (nb, ovs, sb) = (
        file("nb1.json"),
        file("ovs1.json"),
        sb.display().to_string(),
    );
    let packets = format!("pcap:{}", file("ipfix1.pcap"));
    let log = format!("acl-log:{}", file("acl-log1.txt"));
    let everything = [
        "--nb", &nb, "--sb", &sb, "--ovs", &ovs, "--source", &packets,
    ];
    let logged = ["--nb", &nb, "--source", &log];
    for arguments in [&everything[..], &logged[..]] {
        let output = Command::new(env!("CARGO_BIN_EXE_netverdict"))
            .args(["observe", "--no-state", "-o", "json"])
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.lines().count() > 100, "{arguments:?}");
        for line in text.lines() {
            let decision = serde_json::from_str(line).unwrap();
            if let Err(fault) = fits(&schema, &schema, &decision) {
                panic!("{fault}\n{line}");
            }
        }
    }
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let schema = documented();
    let mut documented = BTreeSet::new();
    keys_of_schema(&schema, &schema, "", &mut documented);
    let mut there = BTreeSet::new();
    for decision in decisions() {
        if let Err(fault) = fits(&schema, &schema, &decision) {
            panic!("{fault}\n{decision}");
        }
        keys_of_value(&decision, "", &mut there);
    }
    assert_eq!(documented, there);
}

#[test]
fn closed_sets_are_whole() {
    let schema = documented();
    let words = |pointer: &str| -> BTreeSet<String> {
        let words = schema.pointer(pointer).and_then(Value::as_array);
        let words = words.unwrap_or_else(|| panic!("{pointer}"));
        words
            .iter()
            .map(|word| word.as_str().unwrap().to_owned())
            .collect()
    };
    let set = |words: &[&str]| -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    };
    for (name, all) in [
        ("verdict", set(&Verdict::ALL.map(Verdict::as_str))),
        ("action", set(&Action::ALL.map(Action::as_str))),
        ("pipeline", set(&Pipeline::ALL.map(Pipeline::as_str))),
        ("app", set(&App::ALL.map(App::as_str))),
        ("source", set(&Origin::ALL.map(Origin::as_str))),
        ("unresolved", set(&Unresolved::ALL.map(Unresolved::as_str))),
        ("evidence", set(&Evidence::ALL.map(Evidence::as_str))),
    ] {
        assert_eq!(words(&format!("/properties/{name}/enum")), all, "{name}");
    }
    let directions = set(&Direction::ALL.map(Direction::as_str));
    assert_eq!(words("/$defs/direction/enum"), directions);
    let kinds = set(&EndpointKind::ALL.map(EndpointKind::as_str));
    assert_eq!(words("/$defs/end/properties/kind/enum"), kinds);
    let protocols: Vec<_> = (0..=255)
        .filter_map(netverdict_types::protocol_name)
        .collect();
    assert_eq!(words("/properties/protocol/anyOf/0/enum"), set(&protocols));
    let owners = schema.pointer("/$defs/owner/properties/kind/description");
    for kind in OwnerKind::KNOWN {
        assert!(owners.unwrap().as_str().unwrap().contains(kind.as_str()));
    }
}

#[test]
fn the_checker_finds_what_does_not_fit() {
    type Change = fn(&mut Value);
    let schema = documented();
    let good = decisions().remove(0);
    for (fault, change) in [
        (
            "no such key",
            (|value| value["surprise"] = json!(1)) as Change,
        ),
        ("no such key", |value| {
            value["owner"]["rule"]["surprise"] = json!(1);
        }),
        ("is missing", |value| {
            value.as_object_mut().unwrap().remove("message");
        }),
        ("not one of", |value| value["verdict"] = json!("perhaps")),
        ("not of type", |value| value["length"] = json!("long")),
        ("is below", |value| value["tier"] = json!(-1)),
        ("is above", |value| value["src"]["port"] = json!(70_000)),
        ("fits none", |value| value["protocol"] = json!("pigeon")),
        ("is not true", |value| value["double"] = json!(false)),
    ] {
        let mut bad = good.clone();
        change(&mut bad);
        let told = fits(&schema, &schema, &bad).unwrap_err();
        assert!(told.contains(fault), "{told}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn documented() -> Value {
    let text = fs::read(root().join("docs/decision.schema.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Decisions that together have every key.
fn decisions() -> Vec<Value> {
    let row = |name: &str| AclRow {
        uuid: Uuid::nil(),
        revision: 7,
        fact: Arc::new(Fact::from(Acl {
            name: Some(name.to_owned()),
            priority: 1001,
            matches: "ip4".to_owned(),
            action: Action::AllowRelated,
            pipeline: Pipeline::FromLportAfterLb,
            tier: 2,
            label: 0,
            owner: Owner {
                kind: OwnerKind::NetworkPolicy,
                namespace: Some("blue".to_owned()),
                name: Some(name.to_owned()),
                direction: Some(Direction::Egress),
                rule: Rule {
                    index: Some(0),
                    protocol: Some("tcp".to_owned()),
                    ip_block: Some(-2),
                    kind: Some("defaultDeny".to_owned()),
                },
                network: Some("default".to_owned()),
            },
        })),
    };
    let (one, other) = (row("one"), row("other"));
    let mut candidates = Candidates::default();
    candidates.push(&one);
    candidates.push(&other);
    let endpoint = |kind| Endpoint {
        kind,
        namespace: Some("blue".to_owned()),
        name: Some("web".to_owned()),
        node: Some("worker".to_owned()),
    };
    let (pod, virtual_address) = (endpoint(EndpointKind::Pod), endpoint(EndpointKind::Service));
    let service = Service {
        namespace: Some("blue".to_owned()),
        name: "web".to_owned(),
        ip: [10, 96, 0, 10].into(),
        port: Some(80),
        protocol: 6,
        backends: Vec::new(),
    };
    let flow = DropFlow {
        stage: "ls_in_check_port_sec".to_owned(),
        priority: 100,
        matches: "eth.src[40]".to_owned(),
        message: "Dropped".into(),
    };
    let (from, to) = (end(&pod), end(&virtual_address));
    let resolved = Decision {
        time: Timestamp(1_795_421_730_123_456_789),
        origin: Origin::Psample,
        zone: "global",
        node: Some("worker"),
        network: Some("default"),
        datapath: Some("worker"),
        verdict: Verdict::Allowed,
        acl: Some(&one),
        deleted: true,
        candidates,
        flow: None,
        unresolved: None,
        evidence: Evidence::Priority,
        app: Some(App::AclEst),
        cookie: Some(Cookie {
            domain: 0x0300_0001,
            point: u32::MAX,
        }),
        reply: None,
        double: true,
        src: from,
        dst: to,
        service: Some(&service),
        headers: Headers {
            protocol: Some(6),
            tcp_flags: Some(TcpFlags(TcpFlags::SYN | TcpFlags::ACK)),
            icmp: Some(IcmpKind { kind: 8, code: 0 }),
            ..Headers::default()
        },
        length: 60,
        packets: 0,
        bytes: 0,
        group: Some(10),
        probability: Probability::from_u16(655),
        data: &[],
    };
    let dropped = Decision {
        verdict: Verdict::Dropped,
        acl: None,
        candidates: Candidates::default(),
        flow: Some(&flow),
        evidence: Evidence::LogicalFlow,
        reply: Some(false),
        src: to,
        dst: from,
        headers: Headers {
            protocol: Some(89),
            ..Headers::default()
        },
        ..resolved
    };
    let unresolved = Decision {
        verdict: Verdict::Unknown,
        flow: None,
        unresolved: Some(Unresolved::UnknownPoint),
        evidence: Evidence::None,
        src: End::default(),
        ..dropped
    };
    [resolved, dropped, unresolved]
        .iter()
        .map(|decision| serde_json::to_value(decision).unwrap())
        .collect()
}

fn end(endpoint: &Endpoint) -> End<'_> {
    End {
        ip: Some([10, 244, 1, 5].into()),
        port: Some(80),
        endpoint: Some(endpoint),
    }
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
