//! A zone's northbound rows for the twin: a switch with pods, and policies of ovn-kubernetes' kind on them.

use std::net::{Ipv4Addr, SocketAddr};

use netverdict_ovsdb::{Atom, Columns, Datum, Row};
use netverdict_pipeline::{Northbound, Packet};
use uuid::Uuid;

/// ACLs of a policy, which has a port group.
pub const RULES: usize = 20;
/// Pods that a policy is for.
const PODS: usize = 10;
/// Policies that are for a pod.
const POLICIES: usize = 4;
/// Pods in an address set, of which each rule has one.
const PEERS: usize = 20;
/// Pairs of pods between which there is traffic, each with a port.
pub const PAIRS: usize = 8_192;
const FIRST_PORT: u16 = 8_000;

/// The rows, and what traffic needs to know of them.
#[derive(Debug, Default)]
pub struct Zone {
    rows: Vec<Row>,
    pods: usize,
    policies: usize,
}

/// A packet between two pods.
#[derive(Clone, Debug)]
pub struct Flight {
    /// The port that it comes in by, by number among the pods.
    pub from: usize,
    /// The port that it goes out by.
    pub to: usize,
    /// The frame.
    pub frame: Vec<u8>,
}

impl Zone {
    /// So many ACLs of policies, 20 to a port group, half of them for ingress and half for egress (`apply-after-lb`), each with an address set of
    /// its own and Samples for one collector. Groups have 10 ports of the one switch, ports are in 4 groups. Each namespace of 25 pods drops by
    /// default what comes in, and two ACLs of admins come first.
    pub fn new(acls: usize) -> Self {
        let policies = acls.div_ceil(RULES);
        let mut zone = Self {
            pods: policies * PODS / POLICIES,
            policies,
            rows: Vec::new(),
        };
        zone.globals();
        zone.namespaces();
        for policy in 0..policies {
            zone.policy(policy, RULES.min(acls - policy * RULES));
        }
        zone
    }

    /// One switch with one port group of all its pods, and so many ACLs on it that differ in address or port alone.
    pub fn of_one_group(acls: usize) -> Self {
        let mut zone = Self {
            pods: 1_250,
            policies: 1,
            rows: Vec::new(),
        };
        zone.globals();
        let mut held = Vec::new();
        for rule in 0..acls {
            let (address, port) = (zone.address(rule / 8), FIRST_PORT + (rule % 8) as u16);
            let matches =
                format!("ip4.src == {address} && outport == @pg0 && tcp && tcp.dst=={port}");
            held.push(zone.acl(matches, "to-lport", "allow-related", 1_001, rule));
        }
        zone.group("pg0", 0..zone.pods, held);
        zone
    }

    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Two pods and a port on which a rule lets the first reach the second.
    pub fn allowed(&self) -> (Ipv4Addr, Ipv4Addr, u16) {
        let (policy, rule) = (2, 3);
        let from = self.address(self.peer(policy, rule, 4));
        (
            from,
            self.address(self.member(policy, 1)),
            FIRST_PORT + rule as u16,
        )
    }

    /// As the twin reads them.
    pub fn northbound(&self) -> Northbound {
        Northbound::new(&self.rows)
    }

    /// The name of a pod's port.
    pub fn port(pod: usize) -> String {
        format!("pod-{pod}")
    }

    /// First packets of as many connections, between [`PAIRS`] pairs of pods: every second pair is allowed by a rule, the others are any.
    pub fn flights(&self, count: usize) -> impl Iterator<Item = Flight> {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = move |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 11) as usize % below
        };
        let mut pair = move |number: usize| {
            if number.is_multiple_of(2) && self.policies > 1 {
                // One of the policies for ingress.
                let policy = random(self.policies) & !1;
                let rule = random(RULES);
                let to = self.member(policy, random(PODS));
                let from = self.peer(policy, rule, random(PEERS));
                (from, to, rule)
            } else {
                (random(self.pods), random(self.pods), random(RULES))
            }
        };
        let pairs: Vec<_> = (0..PAIRS.min(count)).map(&mut pair).collect();
        (0..count).map(move |number| {
            let (from, to, port) = pairs[number % pairs.len()];
            let source = 1_024 + (number / pairs.len()) as u16;
            let address = |pod, port| SocketAddr::new(self.address(pod).into(), port);
            let mut packet =
                Packet::tcp(address(from, source), address(to, FIRST_PORT + port as u16));
            packet.eth_src = mac(from);
            packet.eth_dst = mac(to);
            let mut frame = Vec::new();
            packet.write(&mut frame);
            Flight { from, to, frame }
        })
    }

    fn address(&self, pod: usize) -> Ipv4Addr {
        Ipv4Addr::from(0x0af4_0000 + pod as u32 + 10)
    }

    fn member(&self, policy: usize, place: usize) -> usize {
        (policy * PODS + place) * 7_919 % self.pods
    }

    fn peer(&self, policy: usize, rule: usize, place: usize) -> usize {
        (policy * 7 + rule * 131 + place * 37) % self.pods
    }

    fn row(&mut self, table: &str, columns: Vec<(&str, Datum)>) -> Uuid {
        let uuid = Uuid::from_u128(self.rows.len() as u128 + 1);
        self.rows.push(Row::new(table, uuid, columns));
        uuid
    }

    fn globals(&mut self) {
        for (app, id) in [("drop", 1), ("acl-new", 2), ("acl-est", 3)] {
            let columns = vec![("type", app.into()), ("id", Datum::from(id as i64))];
            self.row("Sampling_App", columns);
        }
        let ports: Vec<Uuid> = (0..self.pods)
            .map(|pod| {
                let [a, b, c, d, e, f] = mac(pod);
                let address = self.address(pod);
                let text = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} {address}");
                let row = Row::new(
                    "Logical_Switch_Port",
                    port_row(pod),
                    [("name", Self::port(pod).into()), ("addresses", set([text]))],
                );
                self.rows.push(row);
                port_row(pod)
            })
            .collect();
        let columns = vec![("name", "node".into()), ("ports", set(ports))];
        self.row("Logical_Switch", columns);
        let columns = vec![
            ("id", 1.into()),
            ("probability", 65_535.into()),
            ("set_id", 42.into()),
        ];
        self.rows
            .push(Row::new("Sample_Collector", COLLECTOR, columns));
    }

    fn namespaces(&mut self) {
        for (namespace, first) in (0..self.pods).step_by(25).enumerate() {
            let name = format!("ns{namespace}");
            let matches = format!("outport == @{name}");
            let deny = self.acl(
                matches.clone(),
                "to-lport",
                "drop",
                1_000,
                1 << 24 | namespace,
            );
            let arp = format!("{matches} && (arp || nd)");
            let allow = self.acl(arp, "to-lport", "allow", 1_001, 2 << 24 | namespace);
            self.group(&name, first..(first + 25).min(self.pods), vec![deny, allow]);
        }
        let admin = |text: &str| format!("outport == @all && {text}");
        let pass = self.acl(
            admin("ip4.src == 10.96.0.0/16"),
            "to-lport",
            "pass",
            30_000,
            3 << 24,
        );
        let drop = self.acl(
            admin("udp && udp.dst == 111"),
            "to-lport",
            "drop",
            29_999,
            4 << 24,
        );
        self.group("all", 0..self.pods, vec![pass, drop]);
    }

    fn policy(&mut self, policy: usize, rules: usize) {
        let mut held = Vec::new();
        for rule in 0..rules {
            let name = format!("as{policy}_{rule}");
            let peers = (0..PEERS).map(|place| self.address(self.peer(policy, rule, place)));
            let addresses = set(peers.map(|peer| peer.to_string()));
            let columns = vec![("name", name.as_str().into()), ("addresses", addresses)];
            self.row("Address_Set", columns);
            let port = FIRST_PORT + rule as u16;
            let (matches, direction) = if policy.is_multiple_of(2) {
                (
                    format!("ip4.src == {{${name}}} && outport == @pg{policy}"),
                    "to-lport",
                )
            } else {
                (
                    format!("ip4.dst == {{${name}}} && inport == @pg{policy}"),
                    "from-lport",
                )
            };
            let matches = format!("{matches} && tcp && tcp.dst=={port}");
            let point = policy * RULES + rule;
            held.push(self.acl(matches, direction, "allow-related", 1_001, point));
        }
        let members: Vec<usize> = (0..PODS).map(|place| self.member(policy, place)).collect();
        self.group(&format!("pg{policy}"), members, held);
    }

    fn group(&mut self, name: &str, pods: impl IntoIterator<Item = usize>, acls: Vec<Uuid>) {
        let columns = vec![
            ("name", name.into()),
            ("ports", set(pods.into_iter().map(port_row))),
            ("acls", set(acls)),
        ];
        self.row("Port_Group", columns);
    }

    fn acl(
        &mut self,
        matches: String,
        direction: &str,
        action: &str,
        priority: i64,
        point: usize,
    ) -> Uuid {
        let columns = vec![
            ("metadata", Datum::from(point as i64 + 1)),
            ("collectors", Datum::from(COLLECTOR)),
        ];
        let sample = self.row("Sample", columns);
        let mut columns = vec![
            ("match", matches.into()),
            ("direction", direction.into()),
            ("action", action.into()),
            ("priority", priority.into()),
            ("tier", Datum::from(if priority > 20_000 { 1 } else { 2 })),
            ("sample_new", sample.into()),
            ("sample_est", sample.into()),
        ];
        if direction == "from-lport" {
            columns.push(("options", Datum::map_of([("apply-after-lb", "true")])));
        }
        self.row("ACL", columns)
    }
}

/// The rows with a second collector in each Sample.
pub fn with_two_collectors(rows: &[Row]) -> Vec<Row> {
    let second = Uuid::from_u128(u128::MAX);
    let mut two: Vec<Row> = rows
        .iter()
        .map(|row| {
            changed(row, "collectors", |old| {
                let collectors = old.atoms().iter().cloned();
                Datum::set(collectors.chain([Atom::from(second)]).collect())
            })
        })
        .collect();
    two.push(Row::new(
        "Sample_Collector",
        second,
        [
            ("id", 2.into()),
            ("probability", 655.into()),
            ("set_id", 43.into()),
        ],
    ));
    two
}

/// The rows with ACLs that are not sampled.
pub fn without_samples(rows: &[Row]) -> Vec<Row> {
    let without = |row: &Row| changed(row, "sample_new", |_| Datum::empty());
    rows.iter()
        .map(|row| changed(&without(row), "sample_est", |_| Datum::empty()))
        .collect()
}

/// The row with another value in a column, if it has the column.
pub fn changed(row: &Row, column: &str, new: impl Fn(&Datum) -> Datum) -> Row {
    if row.column(column).is_none() {
        return row.clone();
    }
    let columns = row.columns().map(|(name, value)| match name == column {
        true => (name, new(value)),
        false => (name, value.clone()),
    });
    Row::new(row.table(), row.uuid(), columns)
}

const COLLECTOR: Uuid = Uuid::from_u128(1 << 100);

fn port_row(pod: usize) -> Uuid {
    Uuid::from_u128(1 << 101 | pod as u128)
}

fn mac(pod: usize) -> [u8; 6] {
    let [a, b, c, d] = (pod as u32).to_be_bytes();
    [0x0a, 0x58, a, b, c, d]
}

fn set<T: Into<Atom>>(atoms: impl IntoIterator<Item = T>) -> Datum {
    Datum::set(atoms.into_iter().map(Into::into).collect())
}
