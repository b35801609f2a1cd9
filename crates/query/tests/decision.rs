//! Queries on decisions: each key of their JSON is a field, with the same value.
#![allow(clippy::unwrap_used, clippy::panic)] // Of helpers; tests may anyway.

use netverdict_query::{Check, Field, Kind, Name, Record, Value, parse};
use netverdict_types::{
    Acl, AclRow, Action, App, Candidates, Cookie, Decision, Direction, DropFlow, End, Endpoint,
    EndpointKind, Evidence, Fact, Headers, IcmpKind, Origin, Owner, OwnerKind, Pipeline,
    Probability, Rule, Service, TcpFlags, Timestamp, Unresolved, Verdict,
};
use serde_json::Value as Json;
use uuid::Uuid;

const NOW: Timestamp = Timestamp(1_795_421_730_500_000_000);

/// What the decisions of these tests borrow from.
struct World {
    row: AclRow,
    flow: DropFlow,
    client: Endpoint,
    server: Endpoint,
    service: Service,
}

impl World {
    fn new() -> Self {
        let owner = Owner {
            kind: OwnerKind::NetworkPolicy,
            namespace: Some("blue".to_owned()),
            name: Some("allow-server".to_owned()),
            direction: Some(Direction::Ingress),
            rule: Rule {
                index: Some(2),
                protocol: Some("tcp".to_owned()),
                ip_block: Some(-1),
                kind: Some("defaultDeny".to_owned()),
            },
            network: Some("default".to_owned()),
        };
        let acl = Acl {
            name: Some("NP:blue:allow-server:Ingress:2".to_owned()),
            priority: 1001,
            matches: "outport == @a123 && tcp".to_owned(),
            action: Action::AllowRelated,
            pipeline: Pipeline::ToLport,
            tier: 2,
            label: 0,
            owner,
        };
        let endpoint = |kind, namespace: &str, name: &str, node: &str| Endpoint {
            kind,
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            node: Some(node.to_owned()),
        };
        Self {
            row: AclRow {
                uuid: Uuid::from_u128(0x1f2e_3d4c << 96),
                revision: 7,
                fact: Fact::from(acl).into(),
            },
            flow: DropFlow {
                stage: "ls_in_check_port_sec".to_owned(),
                priority: 50,
                matches: "1".to_owned(),
                message: "Dropped by port security".into(),
            },
            client: endpoint(EndpointKind::Pod, "red", "client-0", "worker-1"),
            server: endpoint(EndpointKind::Service, "blue", "server", "worker-3"),
            service: Service {
                namespace: Some("blue".to_owned()),
                name: "server".to_owned(),
                ip: "172.30.0.1".parse().unwrap(),
                port: Some(80),
                protocol: 6,
                backends: Vec::new(),
            },
        }
    }

    /// A decision that has a value for everything.
    fn full(&self) -> Decision<'_> {
        let mut candidates = Candidates::default();
        candidates.push(&self.row);
        candidates.push(&self.row);
        Decision {
            time: NOW,
            origin: Origin::Psample,
            zone: "zone-1",
            node: Some("worker-2"),
            network: Some("default"),
            datapath: Some("switch-1"),
            verdict: Verdict::Allowed,
            acl: Some(&self.row),
            deleted: true,
            candidates,
            flow: Some(&self.flow),
            unresolved: Some(Unresolved::UnknownPoint),
            evidence: Evidence::Priority,
            app: Some(App::AclNew),
            cookie: Some(Cookie {
                domain: 0x0200_0005,
                point: 0xfeed_beef,
            }),
            reply: Some(false),
            double: true,
            src: End {
                ip: Some("10.244.0.5".parse().unwrap()),
                port: Some(41_000),
                endpoint: Some(&self.client),
            },
            dst: End {
                ip: Some("fd00::7".parse().unwrap()),
                port: Some(8080),
                endpoint: Some(&self.server),
            },
            service: Some(&self.service),
            headers: Headers {
                protocol: Some(6),
                tcp_flags: Some(TcpFlags(TcpFlags::SYN | TcpFlags::ACK)),
                icmp: Some(IcmpKind { kind: 3, code: 13 }),
                ..Headers::default()
            },
            length: 74,
            packets: 3,
            bytes: 222,
            group: Some(142),
            probability: Probability::from_u16(6554),
            data: &[],
        }
    }

    /// A decision of which next to nothing is known.
    fn empty(&self) -> Decision<'_> {
        Decision {
            verdict: Verdict::Unknown,
            node: None,
            network: None,
            datapath: None,
            acl: None,
            deleted: false,
            candidates: Candidates::default(),
            flow: None,
            unresolved: None,
            evidence: Evidence::None,
            app: None,
            cookie: None,
            reply: None,
            double: false,
            src: End::default(),
            dst: End::default(),
            service: None,
            headers: Headers::default(),
            group: None,
            ..self.full()
        }
    }
}

#[test]
fn each_key_of_the_json_is_a_field_of_the_same_value() {
    let world = World::new();
    let full = world.full();
    let mut leaves = Vec::new();
    flatten("", &serde_json::to_value(full).unwrap(), &mut leaves);
    let mut met = Vec::new();
    for (path, json) in &leaves {
        let name = Name::all()
            .iter()
            .find(|info| info.name == path || info.aliases.contains(&path.as_str()))
            .unwrap_or_else(|| panic!("no field for {path}"));
        let (_, field) = name.targets[0];
        let value = full.value(field);
        let text = match (value, name.kind) {
            (Value::Text(text), _) => text.to_owned(),
            (Value::Number(nanos), Kind::Time) => Timestamp(nanos).to_string(),
            (Value::Number(micros), Kind::Fraction) => (micros as f64 / 1e6).to_string(),
            (Value::Number(6), Kind::Protocol) => "tcp".to_owned(),
            (Value::Number(number), _) => number.to_string(),
            (Value::Ip(ip), _) => ip.to_string(),
            (Value::Bool(truth), _) => truth.to_string(),
            (Value::Flags(flags), _) => flags.to_string(),
            (Value::Uuid(uuid), _) => uuid.to_string(),
            (Value::Missing, _) => panic!("{path} has no value"),
        };
        let expected = match json {
            Json::String(text) => text.clone(),
            Json::Array(list) => list.len().to_string(),
            other => other.to_string(),
        };
        assert_eq!(text, expected, "{path}");
        met.push(field);
        // What the JSON shows can be put into a query.
        if name.kind != Kind::Named {
            let query = parse(&format!("{path}=\"{text}\"")).unwrap();
            assert!(query.plan(NOW).matches(&full), "{path}");
        }
    }
    met.extend([Field::SrcName, Field::DstPod, Field::Start, Field::End]);
    let of_connections = [
        Field::Duration,
        Field::Id,
        Field::ReplyPackets,
        Field::ReplyBytes,
        Field::DroppedPackets,
        Field::DroppedBytes,
    ];
    for field in Field::all() {
        match field {
            // What its ACL's pipeline serves is the half that the decision is about.
            Field::Egress(half) => {
                assert_eq!(full.value(field), Value::Missing, "{field:?}");
                assert_eq!(full.value(Field::Ingress(half)), full.value(half.shared()));
                continue;
            }
            Field::Ingress(_) => continue,
            _ if of_connections.contains(&field) => continue,
            _ => {}
        }
        assert!(met.contains(&field), "{field:?} is not in the JSON");
    }
}

#[test]
fn what_is_not_known_is_missing() {
    let world = World::new();
    let empty = world.empty();
    let always = [
        "time",
        "start",
        "end",
        "zone",
        "verdict",
        "source",
        "evidence",
        "message",
        "length",
        "packets",
        "bytes",
        "probability",
        "double",
        "ambiguous",
        "candidates",
    ];
    for field in Field::all() {
        let missing = empty.value(field) == Value::Missing;
        assert_eq!(missing, !always.contains(&field.name()), "{field:?}");
    }
}

#[test]
fn known_answers() {
    let world = World::new();
    let (full, empty) = (world.full(), world.empty());
    for (text, of_full, of_empty) in [
        ("", true, true),
        (
            "namespace=blue and dst.port=8080 and not verdict=dropped",
            true,
            false,
        ),
        ("src.pod~client-* or ip in 10.0.0.0/8", true, false),
        ("policy=blue/allow-server", true, false),
        ("policy=allow-server and rule.index=2", true, false),
        ("policy=red/allow-server", false, false),
        ("policy~blue/*", true, false),
        ("policy.kind=networkpolicy", true, false),
        ("ingress.policy=blue/allow-server", true, false),
        ("egress.policy=blue/allow-server", false, false),
        // No end is in red: false where one is, true where none is known.
        ("namespace!=red", false, true),
        ("not namespace=red", false, true),
        ("namespace!=green", true, true),
        // Each comparison looks at both ends by itself; a pod's namespace is its own.
        ("namespace=blue and pod=client-0", true, false),
        ("pod=red/client-0", true, false),
        ("pod=blue/client-0", false, false),
        // The receiver is a service: it has a name, but no pod.
        ("pod=server", false, false),
        ("name=server and dst.kind=service", true, false),
        ("service=blue/server and service.ip=172.30.0.1", true, false),
        // The node that saw it, and the nodes that the ends live on.
        ("node=worker-2", true, false),
        ("node=worker-1", false, false),
        ("src.node=worker-1", true, false),
        ("ip=fd00::7", true, false),
        ("src.ip=fd00::7", false, false),
        ("ip in (fd00::/16, 192.0.2.1)", true, false),
        ("dst.port in 8000..8100", true, false),
        ("dst.port in (80, 443)", false, false),
        ("port<1024", false, false),
        ("not port<1024", true, true),
        ("port>=41000", true, false),
        ("tcp_flags=syn", true, false),
        ("tcp_flags=syn and not tcp_flags=ack", false, false),
        ("tcp_flags=syn+ack", true, false),
        ("tcp_flags in (fin, rst)", false, false),
        ("protocol=tcp", true, false),
        ("protocol in (udp, 6)", true, false),
        ("reply=true", false, false),
        ("reply=false", true, false),
        ("reply!=true", true, true),
        ("double=true and ambiguous=true", true, false),
        ("double=false and ambiguous=false", false, true),
        ("probability<=10.1%", true, true),
        ("probability=0.100008", true, true),
        ("time>=-5m", true, true),
        ("time<-5m", false, false),
        ("time in -1m..now", true, true),
        ("time=2026-11-23T09:15:30.5+01:00", true, true),
        ("point=0xfeedbeef", true, false),
        ("acl.uuid~1f2e3d4c-*", true, false),
        ("acl.uuid~1f2e3d4c", false, false),
        ("acl.match~\"*@a123 && *\"", true, false),
        ("rule.ip_block=-1", true, false),
        ("rule.ip_block<0", true, false),
        ("message~\"Allowed by*\"", true, false),
        ("service~*", true, false),
        ("verdict~*ed", true, false),
    ] {
        let plan = parse(text).unwrap().plan(NOW);
        assert_eq!(plan.matches(&full), of_full, "{text}");
        assert_eq!(plan.matches(&empty), of_empty, "{text}");
    }
}

#[test]
fn cheap_questions_come_first() {
    use netverdict_query::{Glob, Plan, Test};
    let plan = parse("message~*x* and zone=a and tier=2")
        .unwrap()
        .plan(NOW);
    let test = |field, check| Plan::Test(Test { field, check });
    let expected = Plan::And(vec![
        test(Field::Tier, Check::Between { min: 2, max: 2 }),
        test(Field::Zone, Check::Text("a".into())),
        test(Field::Message, Check::Glob(Glob::new("*x*"))),
    ]);
    assert_eq!(plan, expected);
}

fn flatten(path: &str, json: &Json, leaves: &mut Vec<(String, Json)>) {
    match json {
        Json::Object(map) => {
            for (key, value) in map {
                let dot = if path.is_empty() { "" } else { "." };
                flatten(&format!("{path}{dot}{key}"), value, leaves);
            }
        }
        other => leaves.push((path.to_owned(), other.clone())),
    }
}
