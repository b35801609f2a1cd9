//! A cluster that knows the truth: what each connection did, and what its nodes report of it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use fastrand::Rng;
use netverdict_flow::{Counts, Flow, Limits};
use netverdict_types::{
    Acl, AclRow, Action, App, Candidates, Connection, Decision, Direction, End, Endpoint,
    EndpointKind, Evidence, Fact, Headers, Origin, Owner, OwnerKind, Pipeline, Probability, Rule,
    Service, Tally, TcpFlags, Timestamp, Verdict,
};
use uuid::Uuid;

pub const SECOND: i64 = 1_000_000_000;
const NODES: usize = 200;
const PODS: u32 = 20_000;
const SERVICES: u32 = 2_000;
const BACKENDS: u32 = 5;
const POLICIES: usize = 500;
/// Seconds between two reports of a node.
const REPORTS: i64 = 5;
/// A report comes at most so many seconds late.
const LATEST: i64 = 50;

/// What is asked of the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub seed: u64,
    /// How many connections.
    pub connections: u64,
    /// How many a second.
    pub rate: u32,
    /// True where the offsets of the nodes' clocks are known but for 50 ms.
    pub clocks_known: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Connections whose folded row is the truth.
    pub right: u64,
    /// What was wrong, by its name.
    pub wrong: BTreeMap<&'static str, u64>,
    /// The first of what was wrong.
    pub first: Option<String>,
    pub decisions: u64,
    pub updates: u64,
    /// By the places of verdicts in [`Verdict::ALL`]: how many more connections have one at the end than
    /// had when they were first told.
    pub came_to: [i64; Verdict::ALL.len()],
    pub counts: Counts,
    /// Most connections that were remembered at a time.
    pub most: usize,
    pub late_reports: u64,
    pub repeated_reports: u64,
    pub reused: u64,
    pub served: u64,
}

/// Runs a scenario.
pub fn run(scenario: Scenario, limits: Limits) -> Outcome {
    let cluster = Cluster::new();
    let mut rng = Rng::with_seed(scenario.seed);
    let mut flow = Flow::new(limits);
    // To either side by up to 2 s.
    let clocks: Vec<i64> = (0..NODES)
        .map(|_| rng.i64(-2 * SECOND..=2 * SECOND))
        .collect();
    if scenario.clocks_known {
        for (node, ahead) in cluster.nodes.iter().zip(&clocks) {
            let error = rng.i64(-SECOND / 20..=SECOND / 20);
            flow.set_offset(node, Some(node), ahead + error);
        }
    }
    let mut state = State {
        outcome: Outcome::default(),
        truths: HashMap::new(),
        order: VecDeque::new(),
        reuse: VecDeque::new(),
        began: 0,
        slots: VecDeque::new(),
        first_slot: 0,
        due: BTreeMap::new(),
        sent: vec![0; NODES],
        scenario,
    };
    let began = 1_800_000_000;
    state.first_slot = began / REPORTS;
    let mut second = began;
    let life = (limits.window + limits.linger) / SECOND + LATEST + 60;
    loop {
        let left = scenario.connections - state.began;
        for _ in 0..left.min(u64::from(scenario.rate)) {
            state.begin(&cluster, second, &mut rng);
        }
        second += 1;
        state.report(second, &mut rng);
        let due: Vec<Sent> = state.due.remove(&second).unwrap_or_default();
        for sent in due {
            let name = &cluster.nodes[sent.node];
            if !flow.report(name, Some(name), sent.number) {
                continue;
            }
            for sighting in &sent.sightings {
                let decision = cluster.decision(sent.node, clocks[sent.node], sighting);
                state.outcome.decisions += 1;
                flow.decision(&decision, |row| state.check_in(row));
            }
        }
        flow.advance(Timestamp(second * SECOND), |row| state.check_in(row));
        state.outcome.most = state.outcome.most.max(flow.len());
        state.expire(Some((second - life) * SECOND));
        if left == 0 && state.due.is_empty() && state.slots.is_empty() {
            break;
        }
    }
    flow.finish(|row| state.check_in(row));
    state.expire(None);
    state.outcome.counts = flow.counts();
    state.outcome
}

struct State {
    scenario: Scenario,
    outcome: Outcome,
    truths: HashMap<(u32, u16), Vec<Truth>>,
    order: VecDeque<(i64, (u32, u16))>,
    /// Ended connections whose ports may be used again, from when on.
    reuse: VecDeque<(i64, Plan)>,
    began: u64,
    slots: VecDeque<Vec<Vec<Sighting>>>,
    first_slot: i64,
    due: BTreeMap<i64, Vec<Sent>>,
    /// When each node's last report was sent.
    sent: Vec<i64>,
}

#[derive(Clone)]
struct Sent {
    node: usize,
    number: u64,
    sightings: Vec<Sighting>,
}

/// Who speaks to whom.
#[derive(Clone, Copy, Debug)]
struct Plan {
    client: u32,
    port: u16,
    server: u32,
    service: Option<u32>,
    protocol: u8,
}

/// One sample of one packet.
#[derive(Clone, Copy, Debug)]
struct Sighting {
    time: i64,
    plan: Plan,
    isn: u32,
    flags: u8,
    app: App,
    reply: bool,
    /// Shows the service's address.
    virtual_side: bool,
    /// Names the service.
    named: bool,
    double: bool,
    acl: u16,
}

#[derive(Debug)]
struct Truth {
    plan: Plan,
    start: i64,
    verdict: Verdict,
    egress: Option<u16>,
    ingress: Option<u16>,
    new: Seen,
    /// Of established packets, what the client's node drew, or the only one that could.
    est: Seen,
    /// What the server's node drew: it counts where it was told before the client's reported.
    other: Option<Seen>,
    row: Option<Row>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Seen {
    original: u64,
    reply: u64,
    dropped: u64,
}

/// Updates of one id, folded as far as they are looked at.
#[derive(Debug)]
struct Row {
    /// As it was first told.
    first: Verdict,
    whole: Connection,
    updates: u32,
}

const EST: u32 = u32::MAX / 100;
const PACKET: u64 = 100;

impl State {
    fn begin(&mut self, cluster: &Cluster, second: i64, rng: &mut Rng) {
        self.began += 1;
        let start = second * SECOND + rng.i64(0..SECOND);
        let again = self.reuse.front().is_some_and(|(from, _)| *from <= start);
        let plan = match again && rng.f64() < 0.5 {
            true => {
                self.outcome.reused += 1;
                self.reuse.pop_front().unwrap().1
            }
            false => {
                let service = (rng.u8(..) < 64).then(|| rng.u32(..SERVICES));
                Plan {
                    // Each has a port of its own until it is used again on purpose.
                    client: (self.began % u64::from(PODS)) as u32,
                    port: 1024 + (self.began / u64::from(PODS) % 60_000) as u16,
                    server: match service {
                        Some(service) => service * BACKENDS + rng.u32(..BACKENDS),
                        None => rng.u32(..PODS),
                    },
                    service,
                    protocol: if rng.u8(..) < 26 { 17 } else { 6 },
                }
            }
        };
        self.outcome.served += u64::from(plan.service.is_some());
        let truth = self.live(cluster, plan, start, rng);
        let who = (plan.client, plan.port);
        self.truths.entry(who).or_default().push(truth);
        self.order.push_back((start, who));
    }

    /// What a connection does, and who sees what of it.
    fn live(&mut self, cluster: &Cluster, plan: Plan, start: i64, rng: &mut Rng) -> Truth {
        let (here, there) = (cluster.node_of(plan.client), cluster.node_of(plan.server));
        let isn = rng.u32(..);
        let tcp = plan.protocol == 6;
        let kind = rng.u8(..100);
        let policy = |direction: usize, action: usize, rng: &mut Rng| {
            Some(((direction * 4 + action) * POLICIES + rng.usize(..POLICIES)) as u16)
        };
        let (egress, ingress) = match kind {
            0..60 => (policy(0, ALLOW, rng), policy(1, ALLOW, rng)),
            60..68 => (policy(0, ALLOW, rng), policy(1, DROP, rng)),
            68..70 => (policy(0, ALLOW, rng), policy(1, REJECT, rng)),
            70..80 => (policy(0, DROP, rng), None),
            80..90 => (policy(0, ALLOW, rng), None),
            _ => (None, policy(1, ALLOW, rng)),
        };
        let verdict = match kind {
            60..68 | 70..80 => Verdict::Dropped,
            68..70 => Verdict::Rejected,
            _ => Verdict::Allowed,
        };
        let stopped = verdict != Verdict::Allowed;
        let mut truth = Truth {
            plan,
            start,
            verdict,
            egress,
            ingress,
            new: Seen::default(),
            est: Seen::default(),
            other: None,
            row: None,
        };
        // A rule before load balancing sees the service's address.
        let before_lb = plan.service.is_some() && egress.is_some() && rng.bool();
        let seen = |time, acl, app, flags, reply, virtual_side, named| Sighting {
            time,
            plan,
            isn,
            flags,
            app,
            reply,
            virtual_side,
            named,
            double: false,
            acl,
        };
        let syn = if tcp { TcpFlags::SYN } else { 0 };
        let ack = if tcp { TcpFlags::ACK } else { 0 };
        let firsts = if stopped { rng.i64(1..=3) } else { 1 };
        truth.new.original = firsts as u64;
        truth.new.dropped = if stopped { firsts as u64 } else { 0 };
        for sent in 0..firsts {
            let time = start + sent * SECOND;
            if let Some(acl) = egress {
                if kind % 10 == 3 {
                    let pass = (PASS * POLICIES + acl as usize % POLICIES) as u16;
                    self.sees(
                        here,
                        seen(time, pass, App::AclNew, syn, false, before_lb, true),
                    );
                }
                let first = seen(time, acl, App::AclNew, syn, false, before_lb, true);
                self.sees(here, first);
            }
            if let Some(acl) = ingress {
                let arrives = time + rng.i64(100_000..2_000_000);
                // Another zone's node has not seen the service.
                let first = seen(arrives, acl, App::AclNew, syn, false, false, here == there);
                self.sees(there, first);
            }
        }
        let mut end = start + firsts * SECOND;
        if !stopped {
            // Of the packets that follow each node draws its own hundredth.
            end = start + rng.i64(SECOND / 10..15 * SECOND);
            let draw = |rng: &mut Rng| [0, 0, 0, 1, 1, 2, 5][rng.usize(..7)];
            let est = |node, acl, virtual_side, rng: &mut Rng, state: &mut Self| {
                let mut total = Seen::default();
                for (reply, count) in [(false, draw(rng)), (true, draw(rng))] {
                    for _ in 0..count {
                        let time = rng.i64(start + SECOND / 20..end);
                        let shows = virtual_side && reply;
                        let mut one = seen(time, acl, App::AclEst, ack, reply, shows, shows);
                        state.sees(node, one);
                        if !reply && rng.u8(..) < 40 {
                            one.double = true;
                            state.sees(node, one);
                        }
                    }
                    match reply {
                        true => total.reply = count,
                        false => total.original = count,
                    }
                }
                total
            };
            let of_client = egress.map(|acl| est(here, acl, plan.service.is_some(), rng, self));
            let of_server = ingress.map(|acl| est(there, acl, false, rng, self));
            truth.other = of_server;
            truth.est = of_client.or(of_server).unwrap_or_default();
            if tcp && let (Some(acl), Some(counted)) = (egress, egress.map(|_| &mut truth.est)) {
                // The sample happens to hit the end.
                if rng.bool() {
                    counted.original += 1;
                    let fin = ack | TcpFlags::FIN;
                    self.sees(here, seen(end, acl, App::AclEst, fin, false, false, false));
                }
            }
        }
        if rng.u8(..) < 8 && tcp {
            let gap = match self.scenario.clocks_known {
                true => rng.i64(SECOND..10 * SECOND),
                false => rng.i64(10 * SECOND..40 * SECOND),
            };
            self.reuse.push_back((end + gap, plan));
        }
        truth
    }

    fn sees(&mut self, node: usize, sighting: Sighting) {
        let slot = (sighting.time / SECOND / REPORTS - self.first_slot) as usize;
        while self.slots.len() <= slot {
            self.slots.push_back(vec![Vec::new(); NODES]);
        }
        self.slots[slot][node].push(sighting);
    }

    /// Sends the reports of a span of time that is over: some late, some twice.
    fn report(&mut self, second: i64, rng: &mut Rng) {
        if second < (self.first_slot + 1) * REPORTS {
            return;
        }
        let number = self.first_slot as u64;
        self.first_slot += 1;
        let Some(slot) = self.slots.pop_front() else {
            return;
        };
        for (node, mut sightings) in slot.into_iter().enumerate() {
            if sightings.is_empty() {
                continue;
            }
            sightings.sort_by_key(|sighting| sighting.time);
            let sent = Sent {
                node,
                number,
                sightings,
            };
            let mut at = second + rng.i64(0..2);
            if rng.u8(..100) < 2 {
                self.outcome.late_reports += 1;
                at += rng.i64(10..LATEST - 2);
            }
            // A node sends its reports in their order.
            at = at.max(self.sent[node]);
            self.sent[node] = at;
            if rng.u8(..100) < 5 {
                self.outcome.repeated_reports += 1;
                let again = at + rng.i64(0..40);
                self.due.entry(again).or_default().push(sent.clone());
            }
            self.due.entry(at).or_default().push(sent);
        }
    }

    fn check_in(&mut self, row: Connection) {
        self.outcome.updates += 1;
        let IpAddr::V4(client) = row.client.ip else {
            return self.is_wrong("an address that nobody has", || format!("{row:?}"));
        };
        let who = (
            client.to_bits().wrapping_sub(CLIENTS),
            row.client.port.unwrap_or_default(),
        );
        let nearest = self.truths.get_mut(&who).and_then(|truths| {
            let known = truths.iter().position(|truth| {
                truth
                    .row
                    .as_ref()
                    .is_some_and(|known| known.whole.id == row.id)
            });
            match known {
                Some(known) => truths.get_mut(known),
                None => truths
                    .iter_mut()
                    .min_by_key(|truth| truth.start.abs_diff(row.start.0)),
            }
        });
        let Some(truth) = nearest else {
            return self.is_wrong("a row of nobody", || format!("{row:?}"));
        };
        match &mut truth.row {
            None => {
                truth.row = Some(Row {
                    first: row.verdict,
                    whole: row,
                    updates: 1,
                });
            }
            Some(known) if known.whole.id == row.id => {
                known.whole.fold(&row);
                known.updates += 1;
            }
            Some(known) => {
                let told = format!("{:?}\n{:?}\n{row:?}", truth.plan, known.whole);
                self.is_wrong("several rows", || told);
            }
        }
    }

    /// Looks at the rows of connections that nobody will tell of any more.
    fn expire(&mut self, until: Option<i64>) {
        while let Some(&(start, who)) = self.order.front()
            && until.is_none_or(|until| start < until)
        {
            self.order.pop_front();
            let Some(truths) = self.truths.get_mut(&who) else {
                continue;
            };
            let truth = truths.remove(0);
            if truths.is_empty() {
                self.truths.remove(&who);
            }
            if let Some(row) = &truth.row {
                self.outcome.came_to[row.first as usize] -= 1;
                self.outcome.came_to[row.whole.verdict as usize] += 1;
            }
            match fault(&truth) {
                None => self.outcome.right += 1,
                Some(fault) => self.is_wrong(fault, || format!("{truth:#?}")),
            }
        }
    }

    fn is_wrong(&mut self, fault: &'static str, what: impl FnOnce() -> String) {
        *self.outcome.wrong.entry(fault).or_default() += 1;
        if self.outcome.first.is_none() {
            self.outcome.first = Some(format!("{fault}: {}", what()));
        }
    }
}

fn fault(truth: &Truth) -> Option<&'static str> {
    let Some(row) = &truth.row else {
        return Some("no row");
    };
    let (row, updates) = (&row.whole, row.updates);
    let seen = |probability: u32| {
        let counts = row
            .counts
            .iter()
            .find(|counts| counts.probability.0 == probability);
        let packets =
            |tally: Tally| (tally.bytes == tally.packets * PACKET).then_some(tally.packets);
        match counts {
            None => Some(Seen::default()),
            Some(counts) => Some(Seen {
                original: packets(counts.original)?,
                reply: packets(counts.reply)?,
                dropped: packets(counts.dropped)?,
            }),
        }
    };
    let acl = |half: &Option<netverdict_types::Half>| {
        half.as_ref()
            .and_then(|half| Some(half.ruling.fact.as_ref()?.acl.priority))
    };
    let backend = Ipv4Addr::from_bits(CLIENTS + truth.plan.server);
    // A connection that only a rule before load balancing saw has no backend.
    let has_backend = row.backend().is_some();
    if seen(u32::MAX) != Some(truth.new) {
        return Some("counts of new packets");
    }
    let other = truth.other.filter(|_| updates > 1);
    if seen(EST) != Some(truth.est) && (other.is_none() || seen(EST) != other) {
        return Some("counts of established packets");
    }
    if row.verdict != truth.verdict {
        return Some("verdict");
    }
    if acl(&row.egress) != truth.egress || acl(&row.ingress) != truth.ingress {
        return Some("a half");
    }
    if has_backend && row.server.ip != IpAddr::V4(backend) {
        return Some("server");
    }
    if !has_backend && (truth.ingress.is_some() || truth.plan.service.is_none()) {
        return Some("no backend");
    }
    if row.seq != 0 {
        return Some("no first update");
    }
    None
}

struct Cluster {
    nodes: Vec<String>,
    pods: Vec<Endpoint>,
    services: Vec<Service>,
    virtual_ends: Vec<Endpoint>,
    acls: Vec<AclRow>,
}

const CLIENTS: u32 = 0x0a80_0000;
const ALLOW: usize = 0;
const DROP: usize = 1;
const REJECT: usize = 2;
const PASS: usize = 3;

impl Cluster {
    fn new() -> Self {
        let nodes: Vec<String> = (0..NODES).map(|node| format!("node-{node}")).collect();
        let pods = (0..PODS).map(|pod| Endpoint {
            kind: EndpointKind::Pod,
            namespace: Some(format!("ns-{}", pod % 500)),
            name: Some(format!("pod-{pod}")),
            node: Some(nodes[pod as usize % NODES].clone()),
        });
        let address = |pod| IpAddr::V4(Ipv4Addr::from_bits(CLIENTS + pod));
        let services = (0..SERVICES).map(|service| Service {
            namespace: Some(format!("ns-{}", service % 500)),
            name: format!("svc-{service}"),
            ip: IpAddr::V4(Ipv4Addr::from_bits(0xac1e_0000 + service)),
            port: Some(80),
            protocol: 6,
            backends: (0..BACKENDS)
                .map(|backend| (address(service * BACKENDS + backend), Some(8080)))
                .collect(),
        });
        let virtual_ends = (0..SERVICES).map(|service| Endpoint {
            kind: EndpointKind::Service,
            namespace: Some(format!("ns-{}", service % 500)),
            name: Some(format!("svc-{service}")),
            node: None,
        });
        let acls = (0..8 * POLICIES).map(|number| {
            let (direction, action) = (number / POLICIES / 4, number / POLICIES % 4);
            AclRow {
                uuid: Uuid::from_u128(number as u128),
                revision: 1,
                fact: Arc::new(Fact::from(Acl {
                    name: None,
                    priority: number as u16,
                    matches: "ip4".to_owned(),
                    action: [
                        Action::AllowRelated,
                        Action::Drop,
                        Action::Reject,
                        Action::Pass,
                    ][action],
                    pipeline: [Pipeline::FromLportAfterLb, Pipeline::ToLport][direction],
                    tier: if action == PASS { 1 } else { 2 },
                    label: 0,
                    owner: Owner {
                        kind: OwnerKind::NetworkPolicy,
                        namespace: Some(format!("ns-{}", number % POLICIES)),
                        name: Some(format!("policy-{number}")),
                        direction: Some([Direction::Egress, Direction::Ingress][direction]),
                        rule: Rule::default(),
                        network: None,
                    },
                })),
            }
        });
        Self {
            acls: acls.collect(),
            services: services.collect(),
            virtual_ends: virtual_ends.collect(),
            pods: pods.collect(),
            nodes,
        }
    }

    fn node_of(&self, pod: u32) -> usize {
        pod as usize % NODES
    }

    fn decision<'a>(&'a self, node: usize, ahead: i64, seen: &Sighting) -> Decision<'a> {
        let plan = seen.plan;
        let client = End {
            ip: Some(Ipv4Addr::from_bits(CLIENTS + plan.client).into()),
            port: Some(plan.port),
            endpoint: Some(&self.pods[plan.client as usize]),
        };
        let service = plan.service.map(|service| service as usize);
        let server = match service {
            Some(number) if seen.virtual_side => End {
                ip: Some(self.services[number].ip),
                port: Some(80),
                endpoint: Some(&self.virtual_ends[number]),
            },
            _ => End {
                ip: Some(Ipv4Addr::from_bits(CLIENTS + plan.server).into()),
                port: Some(8080),
                endpoint: Some(&self.pods[plan.server as usize]),
            },
        };
        let (src, dst) = match seen.reply {
            true => (server, client),
            false => (client, server),
        };
        let acl = &self.acls[usize::from(seen.acl)];
        let is_new = seen.app == App::AclNew;
        let tcp = plan.protocol == 6;
        let node = &*self.nodes[node];
        Decision {
            time: Timestamp(seen.time + ahead),
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
            app: Some(seen.app),
            cookie: None,
            reply: Some(seen.reply),
            double: seen.double,
            src,
            dst,
            service: service
                .filter(|_| seen.named)
                .map(|number| &self.services[number]),
            headers: Headers {
                src: src.ip,
                dst: dst.ip,
                protocol: Some(plan.protocol),
                src_port: src.port,
                dst_port: dst.port,
                tcp_flags: tcp.then_some(TcpFlags(seen.flags)),
                tcp_seq: tcp.then_some(if is_new { seen.isn } else { !seen.isn }),
                ..Headers::default()
            },
            length: PACKET as u32,
            packets: if seen.double { 0 } else { 1 },
            bytes: if seen.double { 0 } else { PACKET },
            group: None,
            probability: if is_new {
                Probability::ALL
            } else {
                Probability(EST)
            },
            data: &[],
        }
    }
}
