//! A cluster of any size, as ovn-kubernetes would write its rows.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use netverdict_ovn::{Database, ids};
use netverdict_ovsdb::{Cause, Change, ChangeSet, Datum, Row};
use netverdict_types::Action;
use uuid::Uuid;

/// A row that is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The table.
    pub table: &'static str,
    /// Its identity here; a server gives it another.
    pub uuid: Uuid,
    /// The columns that do not have their default.
    pub columns: Vec<(&'static str, Datum)>,
}

/// A pod.
#[derive(Clone, Copy, Debug)]
pub struct Pod {
    /// Its address.
    pub ip: Ipv4Addr,
    /// The datapath key of its node's switch.
    pub datapath: u32,
    /// The index of its interface, for pods of the node that samples.
    pub index: Option<u16>,
}

/// The rows of a cluster, and what traffic needs to know of them.
#[derive(Debug, Default)]
pub struct Cluster {
    /// NB. A row stands behind those that it names, and at most [`GROUP`] ACLs before the port
    /// group that holds them.
    pub northbound: Vec<Wanted>,
    /// SB.
    pub southbound: Vec<Wanted>,
    /// Open vSwitch.
    pub vswitch: Vec<Wanted>,
    /// All pods.
    pub pods: Vec<Pod>,
    /// Observation point of each ACL.
    pub points: Vec<u32>,
    /// Virtual addresses of the services, on port 80.
    pub services: Vec<Ipv4Addr>,
    acls: Vec<(usize, usize)>,
    taken: HashSet<u32>,
}

/// ACLs in a port group.
pub const GROUP: usize = 20;
const PODS: usize = 5_000;
const PODS_ON_NODE: usize = 250;
const SERVICES: usize = 1_000;

/// Number of the application acl-new, as ovn-kubernetes gives it.
pub const ACL_NEW: u32 = 2;
/// Number of the application acl-est.
pub const ACL_EST: u32 = 3;

impl Cluster {
    /// A zone for all nodes with `acls` ACLs, 5,000 pods on 20 nodes and 1,000 services.
    pub fn new(acls: usize) -> Self {
        let mut cluster = Self::default();
        cluster.globals();
        let nodes = cluster.nodes();
        cluster.services();
        let collector = cluster.row(
            "Sample_Collector",
            vec![
                ("id", 1.into()),
                ("name", "acls".into()),
                ("probability", 65_535.into()),
                ("set_id", 42.into()),
            ],
        );
        while cluster.points.len() < acls {
            let count = GROUP.min(acls - cluster.points.len());
            cluster.policy(count, collector, &nodes);
        }
        cluster
    }

    /// The rows of a database as its first change set.
    pub fn initial(&self, database: Database) -> ChangeSet {
        let rows = match database {
            Database::Northbound | Database::Sets => &self.northbound,
            Database::Southbound => &self.southbound,
            Database::Vswitch => &self.vswitch,
        };
        ChangeSet {
            time: START,
            cause: Cause::Initial,
            transaction: None,
            changes: rows.iter().map(Wanted::inserted).collect(),
        }
    }

    /// `count` revisions of NB: each gives one ACL another match and so another point.
    pub fn revisions(&mut self, count: usize) -> Vec<ChangeSet> {
        (0..count)
            .map(|number| {
                let which = number * 7_919 % self.acls.len();
                let (sample, acl) = self.acls[which];
                let point = ids::fnv32a(["revision", &number.to_string()]);
                self.points[which] = point;
                let changed = [
                    (sample, "metadata", Datum::from(i64::from(point))),
                    (acl, "match", format!("ip4 && tcp.dst == {number}").into()),
                ];
                let changes = changed.map(|(row, column, value)| {
                    let row = &mut self.northbound[row];
                    row.columns.retain(|(name, _)| *name != column);
                    row.columns.push((column, value));
                    row.inserted()
                });
                ChangeSet {
                    time: START + (number as i64 + 1) * 1_000_000_000,
                    cause: Cause::Transaction,
                    transaction: None,
                    changes: changes.into(),
                }
            })
            .collect()
    }

    fn globals(&mut self) {
        self.row(
            "NB_Global",
            vec![(
                "options",
                Datum::map_of([("northd_internal_version", "25.03.0-20.39.0-78.8")]),
            )],
        );
        for (app, id) in [("drop", 1), ("acl-new", ACL_NEW), ("acl-est", ACL_EST)] {
            self.row(
                "Sampling_App",
                vec![("type", app.into()), ("id", i64::from(id).into())],
            );
        }
    }

    /// Switches of the nodes with their pods; gives the ports of each.
    fn nodes(&mut self) -> Vec<Vec<Uuid>> {
        let mut nodes = Vec::new();
        for node in 0..PODS / PODS_ON_NODE {
            let mut ports = Vec::new();
            let datapath = node as u32 + 1;
            for place in 0..PODS_ON_NODE {
                let number = node * PODS_ON_NODE + place;
                let ip = Ipv4Addr::new(10, 244, node as u8, place as u8 + 3);
                let namespace = format!("team-{}", number % 100);
                let name = format!("{namespace}_server-{:08x}-{number:05}", number * 2_654_435);
                ports.push(self.row(
                    "Logical_Switch_Port",
                    vec![
                        ("name", name.as_str().into()),
                        (
                            "addresses",
                            Datum::set(vec![
                                format!("0a:58:0a:f4:{node:02x}:{:02x} {ip}", place + 3)
                                    .as_str()
                                    .into(),
                            ]),
                        ),
                        (
                            "external_ids",
                            Datum::map_of([("namespace", namespace.as_str()), ("pod", "true")]),
                        ),
                    ],
                ));
                let index = (node == 0).then_some(place as u16 + 10);
                if let Some(index) = index {
                    self.vswitch.push(Wanted {
                        table: "Interface",
                        uuid: identity("Interface", place),
                        columns: vec![
                            ("name", format!("{place:015x}").into()),
                            ("ifindex", i64::from(index).into()),
                            ("external_ids", Datum::map_of([("iface-id", name.as_str())])),
                        ],
                    });
                }
                self.pods.push(Pod {
                    ip,
                    datapath,
                    index,
                });
            }
            let name = format!("ovn-worker-{node}");
            let switch = self.row(
                "Logical_Switch",
                vec![
                    ("name", name.as_str().into()),
                    ("ports", ports.iter().copied().collect()),
                ],
            );
            self.southbound.push(Wanted {
                table: "Datapath_Binding",
                uuid: identity("Datapath_Binding", node),
                columns: vec![
                    ("tunnel_key", i64::from(datapath).into()),
                    (
                        "external_ids",
                        Datum::map_of([
                            ("logical-switch", switch.to_string().as_str()),
                            ("name", name.as_str()),
                        ]),
                    ),
                ],
            });
            nodes.push(ports);
        }
        nodes
    }

    fn services(&mut self) {
        for number in 0..SERVICES {
            let ip = Ipv4Addr::new(10, 96, (number / 250) as u8, (number % 250) as u8 + 1);
            let backends: Vec<String> = (0..5)
                .map(|backend| format!("{}:8080", self.pods[(number * 5 + backend) % PODS].ip))
                .collect();
            let owner = format!("team-{}/service-{number}", number % 100);
            self.row(
                "Load_Balancer",
                vec![
                    ("name", format!("Service_{owner}_TCP_cluster").into()),
                    ("protocol", "tcp".into()),
                    (
                        "vips",
                        Datum::map_of([(format!("{ip}:80").as_str(), backends.join(",").as_str())]),
                    ),
                    (
                        "external_ids",
                        Datum::map_of([
                            (ids::key::SERVICE_KIND, "Service"),
                            (ids::key::SERVICE_OWNER, owner.as_str()),
                        ]),
                    ),
                ],
            );
            self.services.push(ip);
        }
    }

    /// One direction of a NetworkPolicy: a rule, a Sample and an ACL for each port, and the port
    /// group that holds them.
    fn policy(&mut self, count: usize, collector: Uuid, nodes: &[Vec<Uuid>]) {
        let policy = self.points.len() / GROUP;
        let namespace = format!("team-{}", policy % 100);
        let name = format!("allow-{}", policy / 2);
        let ingress = policy.is_multiple_of(2);
        let gress = if ingress { "Ingress" } else { "Egress" };
        let owner = "default-network-controller";
        let group = ids::hashed_name(&format!("{owner}:NetworkPolicy:{namespace}:{name}:{gress}"));
        let mut held = Vec::new();
        for rule in 0..count {
            let port = 8_000 + rule;
            let peers = ids::hashed_name(&format!("{owner}:PodSelector:{policy}:{rule}:v4"));
            let id = format!("{owner}:NetworkPolicy:{namespace}:{name}:{gress}:{rule}:tcp:-1");
            let (matches, direction) = if ingress {
                let peers = format!("ip4.src == {{${peers}}}");
                (
                    format!("{peers} && outport == @{group} && tcp && tcp.dst=={port}"),
                    "to-lport",
                )
            } else {
                let peers = format!("ip4.dst == {{${peers}}}");
                (
                    format!("{peers} && inport == @{group} && tcp && tcp.dst=={port}"),
                    "from-lport",
                )
            };
            let mut point = ids::sample_point(&id, &matches, Action::AllowRelated);
            // A NB holds a point once; of 100,000 hashes, one or two are alike.
            while !self.taken.insert(point) {
                point += 1;
            }
            let sample = self.row(
                "Sample",
                vec![
                    ("collectors", Datum::from(collector)),
                    ("metadata", i64::from(point).into()),
                ],
            );
            let mut columns = vec![
                (
                    "name",
                    Datum::set(vec![
                        format!("NP:{namespace}:{name}:{gress}:{rule}")
                            .as_str()
                            .into(),
                    ]),
                ),
                ("priority", 1_001.into()),
                ("direction", direction.into()),
                ("match", matches.into()),
                ("action", "allow-related".into()),
                ("tier", 2.into()),
                ("meter", Datum::set(vec!["acl-logging".into()])),
                (
                    "external_ids",
                    Datum::map_of([
                        ("direction", gress),
                        ("gress-index", rule.to_string().as_str()),
                        ("ip-block-index", "-1"),
                        (ids::key::ID, id.as_str()),
                        (ids::key::NAME, format!("{namespace}:{name}").as_str()),
                        (ids::key::OWNER_CONTROLLER, owner),
                        (ids::key::OWNER_TYPE, "NetworkPolicy"),
                        ("port-policy-protocol", "tcp"),
                    ]),
                ),
                ("sample_new", Datum::from(sample)),
                ("sample_est", Datum::from(sample)),
            ];
            if !ingress {
                columns.push(("options", Datum::map_of([("apply-after-lb", "true")])));
            }
            held.push(self.row("ACL", columns));
            let last = self.northbound.len() - 1;
            self.acls.push((last - 1, last));
            self.points.push(point);
        }
        let ports = (0..10).map(|n| nodes[n % nodes.len()][(policy + n * 13) % PODS_ON_NODE]);
        self.row(
            "Port_Group",
            vec![
                ("name", group.into()),
                ("ports", ports.collect()),
                ("acls", held.into_iter().collect()),
            ],
        );
    }

    fn row(&mut self, table: &'static str, columns: Vec<(&'static str, Datum)>) -> Uuid {
        let uuid = identity(table, self.northbound.len());
        self.northbound.push(Wanted {
            table,
            uuid,
            columns,
        });
        uuid
    }
}

impl Wanted {
    fn inserted(&self) -> Change {
        Change {
            table: self.table.into(),
            uuid: self.uuid,
            old: None,
            new: Some(Row::new(self.table, self.uuid, self.columns.clone())),
        }
    }
}

/// When the first rows were there: 2026-11-23.
pub const START: i64 = 1_795_392_000_000_000_000;

/// Like a random uuid, and the same each time.
fn identity(table: &str, number: usize) -> Uuid {
    let number = number.to_string();
    let [high, low] = ["a", "b"].map(|half| ids::fnv64a([half, table, &number]));
    uuid::Builder::from_random_bytes(
        (u128::from(spread(high)) << 64 | u128::from(spread(low))).to_be_bytes(),
    )
    .into_uuid()
}

/// The finalizer of splitmix64.
pub fn spread(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
