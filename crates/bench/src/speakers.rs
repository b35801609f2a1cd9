//! Decisions about connections between the pods of a cluster, as its nodes report them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use netverdict_types::{
    Acl, AclRow, Action, App, Candidates, Decision, Direction, End, Endpoint, EndpointKind,
    Evidence, Fact, Headers, Origin, Owner, OwnerKind, Pipeline, Probability, Rule, TcpFlags,
    Timestamp,
};
use uuid::Uuid;

const NODES: usize = 200;
const PODS: usize = 20_000;
const POLICIES: usize = 1_000;
/// A node reports so many decisions at once.
const REPORT: usize = 64;

/// 20,000 pods on 200 nodes, each of which 1,000 policies isolate both ways.
#[derive(Debug)]
pub struct Speakers {
    nodes: Vec<String>,
    pods: Vec<Endpoint>,
    /// The policies' ACLs, for egress and for ingress.
    acls: [Vec<AclRow>; 2],
}

impl Default for Speakers {
    fn default() -> Self {
        let nodes: Vec<String> = (0..NODES).map(|node| format!("node-{node}")).collect();
        let pods = (0..PODS).map(|pod| Endpoint {
            kind: EndpointKind::Pod,
            namespace: Some(format!("team-{}", pod % 500)),
            name: Some(format!("pod-{pod}")),
            node: Some(nodes[pod % NODES].clone()),
        });
        let acl = |direction, pipeline, number: usize| AclRow {
            uuid: Uuid::from_u64_pair(direction as u64, number as u64),
            revision: 1,
            fact: Arc::new(Fact::from(Acl {
                name: None,
                priority: 1001,
                matches: "ip4".to_owned(),
                action: Action::AllowRelated,
                pipeline,
                tier: 2,
                label: 0,
                owner: Owner {
                    kind: OwnerKind::NetworkPolicy,
                    namespace: Some(format!("team-{}", number % 500)),
                    name: Some(format!("policy-{number}")),
                    direction: Some(direction),
                    rule: Rule::default(),
                    network: None,
                },
            })),
        };
        let side = |direction, pipeline| {
            (0..POLICIES)
                .map(|number| acl(direction, pipeline, number))
                .collect()
        };
        Self {
            acls: [
                side(Direction::Egress, Pipeline::FromLportAfterLb),
                side(Direction::Ingress, Pipeline::ToLport),
            ],
            pods: pods.collect(),
            nodes,
        }
    }
}

impl Speakers {
    /// What both nodes report of the first packets of connections numbered so, a node after the
    /// other.
    pub fn new_ones(&self, connections: std::ops::Range<u64>) -> Vec<Decision<'_>> {
        self.reported(connections, App::AclNew)
    }

    /// What both nodes report of a packet of each that is established.
    pub fn established(&self, connections: std::ops::Range<u64>) -> Vec<Decision<'_>> {
        self.reported(connections, App::AclEst)
    }

    fn reported(&self, connections: std::ops::Range<u64>, app: App) -> Vec<Decision<'_>> {
        let mut by_node: Vec<Vec<Decision<'_>>> = vec![Vec::new(); NODES];
        let ends = connections.flat_map(|number| [(number, false), (number, true)]);
        for (number, of_server) in ends {
            let (node, decision) = self.decision(number, of_server, app);
            by_node[node].push(decision);
        }
        let mut reports: Vec<_> = by_node
            .iter()
            .flat_map(|all| all.chunks(REPORT).enumerate())
            .collect();
        reports.sort_by_key(|(turn, _)| *turn);
        reports
            .into_iter()
            .flat_map(|(_, report)| report)
            .copied()
            .collect()
    }

    fn decision(&self, number: u64, of_server: bool, app: App) -> (usize, Decision<'_>) {
        // All over the pods.
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (client, server) = ((mixed >> 40) as usize % PODS, (mixed >> 20) as usize % PODS);
        let end = |pod: usize, port| End {
            ip: Some(IpAddr::V4(Ipv4Addr::from_bits(0x0a80_0000 + pod as u32))),
            port: Some(port),
            endpoint: Some(&self.pods[pod]),
        };
        let (src, dst) = (
            end(client, 1024 + (number % 60_000) as u16),
            end(server, 8080),
        );
        let pod = if of_server { server } else { client };
        let node = &*self.nodes[pod % NODES];
        let acl = &self.acls[usize::from(of_server)][pod % POLICIES];
        let is_new = app == App::AclNew;
        let flags = if is_new { TcpFlags::SYN } else { TcpFlags::ACK };
        let decision = Decision {
            time: Timestamp(1_800_000_000_000_000_000 + number as i64),
            origin: Origin::Psample,
            zone: node,
            node: Some(node),
            network: Some("default"),
            datapath: None,
            verdict: acl.acl().action.verdict(),
            acl: Some(acl),
            deleted: false,
            candidates: Candidates::default(),
            flow: None,
            unresolved: None,
            evidence: Evidence::Point,
            app: Some(app),
            cookie: None,
            reply: Some(false),
            double: false,
            src,
            dst,
            service: None,
            headers: Headers {
                src: src.ip,
                dst: dst.ip,
                protocol: Some(6),
                src_port: src.port,
                dst_port: dst.port,
                tcp_flags: Some(TcpFlags(flags)),
                tcp_seq: Some(number as u32),
                ..Headers::default()
            },
            length: 100,
            packets: 1,
            bytes: 100,
            group: None,
            probability: match is_new {
                true => Probability::ALL,
                false => Probability::from_ratio(100),
            },
            data: &[],
        };
        (pod % NODES, decision)
    }
}
