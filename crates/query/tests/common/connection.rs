use std::sync::Arc;

use netverdict_types::{
    Acl, Action, Change, Connection, ConnectionId, Counts, Direction, Endpoint, EndpointKind,
    Evidence, Fact, Half, Owner, OwnerKind, Pipeline, Probability, Rule, Ruling, Service, Socket,
    Tally, TcpFlags, Timestamp, Verdict,
};
use uuid::Uuid;

/// From red/client to the service blue/web: let out by red/out, dropped on the way in by blue/guard.
pub fn connection(end: Timestamp) -> Connection {
    let half = |direction: Direction, namespace: &str, name: &str, action: Action| {
        let acl = Acl {
            name: Some(format!("NP:{namespace}:{name}")),
            priority: 1_001,
            matches: "ip4".to_owned(),
            action,
            pipeline: match direction {
                Direction::Egress => Pipeline::FromLport,
                Direction::Ingress => Pipeline::ToLport,
            },
            tier: 2,
            label: 0,
            owner: Owner {
                kind: OwnerKind::NetworkPolicy,
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                direction: Some(direction),
                rule: Rule {
                    index: Some(0),
                    ..Rule::default()
                },
                network: Some("default".to_owned()),
            },
        };
        Half {
            since: end.before(500),
            zone: format!("node-of-{namespace}").into(),
            node: None,
            ruling: Arc::new(Ruling {
                verdict: action.verdict(),
                fact: Some(Arc::new(Fact::from(acl))),
                uuid: Some(Uuid::from_u128(0xa)),
                revision: Some(3),
                deleted: false,
                evidence: Evidence::Point,
                unresolved: None,
                flow: None,
            }),
        }
    };
    let egress = half(Direction::Egress, "red", "out", Action::AllowRelated);
    let ingress = half(Direction::Ingress, "blue", "guard", Action::Drop);
    let endpoint = |namespace: &str, name: &str| {
        Some(Arc::new(Endpoint {
            kind: EndpointKind::Pod,
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            node: Some(format!("node-of-{namespace}")),
        }))
    };
    let tally = |packets| Tally {
        packets,
        bytes: packets * 100,
    };
    let counts = |probability| Counts {
        probability,
        original: tally(3),
        reply: tally(2),
        dropped: tally(1),
    };
    let changes = [
        (Direction::Egress, egress.clone()),
        (Direction::Ingress, ingress.clone()),
    ];
    Connection {
        id: ConnectionId(7),
        seq: 0,
        network: Some("default".into()),
        protocol: 6,
        client: Socket {
            ip: [10, 0, 0, 1].into(),
            port: Some(40_000),
        },
        server: Socket {
            ip: [10, 0, 1, 2].into(),
            port: Some(8080),
        },
        icmp: None,
        src: endpoint("red", "client"),
        dst: endpoint("blue", "web-0"),
        service: Some(Arc::new(Service {
            namespace: Some("blue".to_owned()),
            name: "web".to_owned(),
            ip: [172, 30, 0, 1].into(),
            port: Some(80),
            protocol: 6,
            backends: Vec::new(),
        })),
        start: end.before(90_000_000_000),
        end,
        verdict: Verdict::Dropped,
        egress: Some(egress),
        ingress: Some(ingress),
        tcp_flags: TcpFlags(TcpFlags::SYN | TcpFlags::ACK),
        counts: vec![
            counts(Probability::from_ratio(10)),
            counts(Probability::ALL),
        ],
        changes: changes
            .map(|(direction, half)| Change { direction, half })
            .to_vec(),
    }
}
