//! Connections of a plausible cluster: 20,000 pods in 400 namespaces on 200 nodes, 2,000 policies.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use netverdict_types::{
    Acl, Action, Change, Connection, ConnectionId, Counts, Direction, Endpoint, EndpointKind,
    Evidence, Half, Owner, OwnerKind, Pipeline, Probability, Rule, Ruling, Service, Socket, Tally,
    TcpFlags, Timestamp, Verdict,
};
use uuid::Uuid;

const NAMESPACES: u64 = 400;
const PODS: u64 = 20_000;
const NODES: u64 = 200;
/// Of each namespace.
const POLICIES: u64 = 5;
/// Combinations of client, server and port that speak.
const KEYS: u64 = 200_000;
/// One in so many rows is an update of a connection that was told before.
const UPDATES: u64 = 50;

/// A cluster that speaks, the same each time.
#[derive(Debug)]
pub struct Speakers {
    pods: Vec<Arc<Endpoint>>,
    nodes: Vec<Arc<str>>,
    services: Vec<Arc<Service>>,
    /// Of each namespace and policy: let out, let in, kept in, kept out.
    rulings: Vec<[Arc<Ruling>; 4]>,
    network: Arc<str>,
}

impl Default for Speakers {
    fn default() -> Self {
        Self {
            pods: (0..PODS)
                .map(|pod| {
                    Arc::new(Endpoint {
                        kind: EndpointKind::Pod,
                        namespace: Some(namespace(pod % NAMESPACES)),
                        name: Some(format!(
                            "app-{}-7d4b9c6f5-{:05x}",
                            pod % 37,
                            mix(pod) & 0xf_ffff
                        )),
                        node: Some(format!("node-{:03}", pod % NODES)),
                    })
                })
                .collect(),
            nodes: (0..NODES)
                .map(|node| format!("node-{node:03}").into())
                .collect(),
            services: (0..NAMESPACES * 4)
                .map(|service| {
                    Arc::new(Service {
                        namespace: Some(namespace(service % NAMESPACES)),
                        name: format!("svc-{}", service / NAMESPACES),
                        ip: IpAddr::V4(Ipv4Addr::from(0x0a60_0000 + service as u32)),
                        port: Some(80),
                        protocol: 6,
                        backends: Vec::new(),
                    })
                })
                .collect(),
            rulings: (0..NAMESPACES * POLICIES)
                .map(|policy| {
                    [
                        ruling(policy, Direction::Egress, Action::AllowRelated),
                        ruling(policy, Direction::Ingress, Action::AllowRelated),
                        ruling(policy, Direction::Egress, Action::Drop),
                        ruling(policy, Direction::Ingress, Action::Drop),
                    ]
                })
                .collect(),
            network: "default".into(),
        }
    }
}

impl Speakers {
    /// The row of this number, which ended at this time; rows are to be made in order.
    pub fn row(&self, number: u64, end: Timestamp) -> Connection {
        let seq = u32::from(number.is_multiple_of(UPDATES) && number > 100_000);
        let of = match seq {
            0 => number,
            // Half a minute before, at the rate of the cluster; itself no update.
            _ => number - 34_999,
        };
        let random = mix(of);
        // Some keys speak more than others.
        let (a, b) = (random & 0xffff, random >> 16 & 0xffff);
        let key = mix((a * b * KEYS) >> 32);
        let (client, server) = (key % PODS, (key >> 20) % PODS);
        let policy = |pod: u64| (pod % NAMESPACES * POLICIES + (key >> 40) % POLICIES) as usize;
        let dropped = (key >> 44).is_multiple_of(20);
        let start = end.before((random >> 34 & 0xfff) as i64 * 10_000_000);
        let half = |pod: u64, ruling: &Arc<Ruling>| Half {
            since: start,
            zone: self.nodes[(pod % NODES) as usize].clone(),
            node: Some(self.nodes[(pod % NODES) as usize].clone()),
            ruling: ruling.clone(),
        };
        let egress = (!(key >> 50).is_multiple_of(3))
            .then(|| half(client, &self.rulings[policy(client)][0]));
        let ingress = Some(half(
            server,
            &self.rulings[policy(server)][if dropped { 3 } else { 1 }],
        ));
        let change = |direction| {
            move |half: &Half| Change {
                direction,
                half: half.clone(),
            }
        };
        let changes = egress
            .iter()
            .map(change(Direction::Egress))
            .chain(ingress.iter().map(change(Direction::Ingress)))
            .collect();
        let packets = 1 + (random >> 46 & 0x3f);
        let tally = |packets: u64| Tally {
            packets,
            bytes: packets * (60 + (random >> 52 & 0x3ff)),
        };
        let none = Tally::default();
        Connection {
            id: ConnectionId(u128::from(mix(of)) << 64 | u128::from(mix(!of))),
            seq,
            network: Some(self.network.clone()),
            protocol: 6,
            client: Socket {
                ip: pod_ip(client),
                port: Some(32_768 + (random >> 40 & 0x6fff) as u16),
            },
            server: Socket {
                ip: pod_ip(server),
                port: Some([80, 443, 8080, 5432, 9090][(key >> 54) as usize % 5]),
            },
            icmp: None,
            src: Some(self.pods[client as usize].clone()),
            dst: Some(self.pods[server as usize].clone()),
            service: (key >> 58)
                .is_multiple_of(2)
                .then(|| self.services[(server % (NAMESPACES * 4)) as usize].clone()),
            start,
            end,
            verdict: if dropped {
                Verdict::Dropped
            } else {
                Verdict::Allowed
            },
            egress,
            ingress,
            tcp_flags: TcpFlags(if dropped { TcpFlags::SYN } else { 0x1b }),
            counts: vec![Counts {
                probability: Probability::ALL,
                original: if dropped { none } else { tally(packets) },
                reply: if dropped { none } else { tally(packets * 2) },
                dropped: if dropped {
                    tally(1 + packets % 4)
                } else {
                    none
                },
            }],
            changes,
        }
    }
}

/// The name of a namespace.
pub fn namespace(number: u64) -> String {
    format!(
        "team-{:02}-{}",
        number / 10,
        ["prod", "test", "infra", "data", "web"][number as usize % 5]
    )
}

fn pod_ip(pod: u64) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(
        0x0a80_0000 + (((pod % NODES) << 8) | (pod / NODES)) as u32,
    ))
}

fn ruling(policy: u64, direction: Direction, action: Action) -> Arc<Ruling> {
    let acl = Acl {
        name: Some(format!(
            "NP:{}:policy-{policy}",
            namespace(policy / POLICIES)
        )),
        priority: if action == Action::Drop { 1000 } else { 1001 },
        matches: format!(
            "outport == @a{policy}_ingressDefaultDeny && ip4.src == {{$a{}}} && tcp.dst == 8080",
            mix(policy)
        ),
        action,
        pipeline: match direction {
            Direction::Egress => Pipeline::FromLport,
            Direction::Ingress => Pipeline::ToLport,
        },
        tier: 2,
        label: 0,
        owner: Owner {
            kind: OwnerKind::NetworkPolicy,
            namespace: Some(namespace(policy / POLICIES)),
            name: Some(format!("policy-{}", policy % POLICIES)),
            direction: Some(direction),
            rule: Rule {
                index: (action != Action::Drop).then_some(0),
                ..Rule::default()
            },
            network: None,
        },
    };
    Arc::new(Ruling {
        verdict: match action {
            Action::Drop => Verdict::Dropped,
            _ => Verdict::Allowed,
        },
        uuid: Some(Uuid::from_u64_pair(mix(policy), mix(action as u64 + 7))),
        revision: Some(policy),
        fact: Some(Arc::new(acl.into())),
        deleted: false,
        evidence: Evidence::Point,
        unresolved: None,
        flow: None,
    })
}

fn mix(number: u64) -> u64 {
    let mut it = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    it = (it ^ it >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    it = (it ^ it >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    it ^ it >> 31
}
