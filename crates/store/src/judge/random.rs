use std::net::IpAddr;
use std::sync::Arc;

use netverdict_query::ask::{Ask, Cursor, Groups, Measure, Order, Want};
use netverdict_query::{
    Check, Field, Glob, HalfField, Kind, Name, Network, Plan, Record, Test, Value,
};
use netverdict_types::{
    Acl, Action, Change, Connection, ConnectionId, Counts, Direction, DropFlow, Endpoint,
    EndpointKind, Evidence, Fact, Half, IcmpKind, Owner, OwnerKind, Pipeline, Probability, Rule,
    Ruling, Service, Socket, Tally, TcpFlags, Timestamp, Unresolved, Verdict,
};
use uuid::Uuid;

use crate::{Batch, Place, place};

/// Random numbers that are the same for the same seed (SplitMix64, Steele et al. 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `count`; 0 for 0.
    pub fn below(&mut self, count: usize) -> usize {
        (self.bits() >> 11)
            .checked_rem(count as u64)
            .unwrap_or_default() as usize
    }

    /// True once in `count` times.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn maybe<T>(&mut self, value: T) -> Option<T> {
        (!self.one_in(3)).then_some(value)
    }

    fn number(&mut self, min: i64, max: i64) -> i64 {
        let span = max.abs_diff(min);
        min.wrapping_add((self.bits() % span.saturating_add(1).max(1)) as i64)
    }
}

/// The moment that random connections begin after: 2026-11-23T08:00:00Z.
pub const BEGIN: Timestamp = Timestamp(1_795_420_800_000_000_000);
const SECOND: i64 = 1_000_000_000;
const HOURS: i64 = 3 * 3_600 * SECOND;

/// Batches of several writers, the updates of about so many connections among them: of most
/// connections one, of some several in any order, of few not the first.
pub fn batches(random: &mut Random, count: usize) -> Vec<Batch> {
    const WRITERS: [&str; 3] = ["server", "agent of node-1", "ü'\"\\%"];
    let world = World::new(random);
    let mut rows = Vec::new();
    for _ in 0..count {
        let first = world.connection(random);
        let updates = match random.below(4) {
            0 => 1 + random.below(4),
            _ => 1,
        };
        let mut all: Vec<_> = (1..updates)
            .map(|seq| world.update(random, &first, seq as u32))
            .collect();
        if all.is_empty() || !random.one_in(8) {
            all.push(first);
        }
        rows.extend(all);
    }
    for place in (1..rows.len()).rev() {
        rows.swap(place, random.below(place + 1));
    }
    let mut batches = Vec::new();
    let mut last = WRITERS.map(|_| 0);
    while !rows.is_empty() {
        let size = (1 + random.below(2 * count.div_ceil(5).max(1))).min(rows.len());
        let writer = random.below(WRITERS.len());
        last[writer] += 1 + random.below(3) as u64;
        batches.push(Batch {
            writer: WRITERS[writer].to_owned(),
            number: last[writer],
            rows: rows.split_off(rows.len() - size),
        });
    }
    batches
}

/// So many connections, each its own.
pub fn connections(random: &mut Random, count: usize) -> Vec<Connection> {
    let world = World::new(random);
    (0..count).map(|_| world.connection(random)).collect()
}

/// What many connections share.
struct World {
    endpoints: Vec<Arc<Endpoint>>,
    services: Vec<Arc<Service>>,
    rulings: Vec<Arc<Ruling>>,
    words: Vec<Arc<str>>,
    ips: Vec<IpAddr>,
}

const TEXTS: [&str; 16] = [
    "blue",
    "red",
    "web-0",
    "web-1",
    "a",
    "",
    " ",
    "Blue",
    "100%_",
    "it's \"so\" \\ ok",
    "x\ny\tz",
    "ü€🦀",
    "'; DROP TABLE connections; --",
    "NULL",
    "a/b*c?",
    "\\N",
];

impl World {
    fn new(random: &mut Random) -> Self {
        let text = |random: &mut Random| match random.one_in(3) {
            true => (*random.pick(&TEXTS)).to_owned(),
            false => (*random.pick(&TEXTS[..4])).to_owned(),
        };
        let ips: Vec<IpAddr> = [
            "10.0.0.1",
            "10.0.0.2",
            "10.128.3.4",
            "192.0.2.255",
            "0.0.0.0",
            "255.255.255.255",
            "::",
            "::1",
            "fd00::1",
            "fd00:0:0:1::2",
            "fd01:2:3::ffff",
        ]
        .into_iter()
        .filter_map(|ip| ip.parse().ok())
        .collect();
        let endpoints = (0..14)
            .map(|_| {
                let kind = match random.one_in(2) {
                    true => EndpointKind::Pod,
                    false => *random.pick(&EndpointKind::ALL),
                };
                Arc::new(Endpoint {
                    kind,
                    namespace: Some(text(random)).filter(|_| !random.one_in(4)),
                    name: Some(text(random)).filter(|_| !random.one_in(6)),
                    node: Some(text(random)).filter(|_| !random.one_in(3)),
                })
            })
            .collect();
        let services = (0..4)
            .map(|_| {
                let (name, namespace) = (text(random), text(random));
                Arc::new(Service {
                    namespace: random.maybe(namespace),
                    name,
                    ip: *random.pick(&ips),
                    port: Some(8080).filter(|_| !random.one_in(4)),
                    protocol: *random.pick(&[6, 6, 17]),
                    backends: Vec::new(),
                })
            })
            .collect();
        let words = (0..4).map(|_| text(random).into()).collect();
        let rulings = (0..16).map(|_| Arc::new(ruling(random, text))).collect();
        Self {
            endpoints,
            services,
            rulings,
            words,
            ips,
        }
    }

    fn connection(&self, random: &mut Random) -> Connection {
        let start = match random.one_in(3) {
            // Equal times and whole minutes are where order and buckets go wrong.
            true => BEGIN.0 + 60 * SECOND * random.number(0, 180),
            false => BEGIN.0 + random.number(0, HOURS),
        };
        let length = *random.pick(&[0, 0, 1, SECOND, 60 * SECOND, 3_600 * SECOND]);
        let end = start + random.number(0, length);
        let service = random
            .one_in(3)
            .then(|| random.pick(&self.services).clone());
        let socket = |random: &mut Random| Socket {
            ip: *random.pick(&self.ips),
            port: Some(*random.pick(&[53, 80, 8080, 65_535, 0])).filter(|_| !random.one_in(5)),
        };
        let client = socket(random);
        let server = match &service {
            Some(service) if random.one_in(3) => Socket {
                ip: service.ip,
                port: service.port,
            },
            _ => socket(random),
        };
        let endpoint = |random: &mut Random| {
            Some(random.pick(&self.endpoints).clone()).filter(|_| !random.one_in(6))
        };
        let half = |random: &mut Random| {
            (!random.one_in(4)).then(|| Half {
                since: Timestamp(random.number(start, end)),
                zone: random.pick(&self.words).clone(),
                node: Some(random.pick(&self.words).clone()).filter(|_| !random.one_in(3)),
                ruling: random.pick(&self.rulings).clone(),
            })
        };
        let mut connection = Connection {
            id: ConnectionId(u128::from(random.bits()) << 64 | u128::from(random.bits())),
            seq: 0,
            network: Some(random.pick(&self.words).clone()).filter(|_| !random.one_in(5)),
            protocol: *random.pick(&[6, 6, 17, 1, 58, 132, 255]),
            client,
            server,
            icmp: random.one_in(5).then(|| IcmpKind {
                kind: *random.pick(&[0, 8, 128]),
                code: random.below(3) as u8,
            }),
            src: endpoint(random),
            dst: endpoint(random),
            service,
            start: Timestamp(start),
            end: Timestamp(end),
            verdict: *random.pick(&Verdict::ALL),
            egress: half(random),
            ingress: half(random),
            tcp_flags: TcpFlags(*random.pick(&[0, 2, 0x12, 0x1b, 0xff])),
            counts: Vec::new(),
            changes: Vec::new(),
        };
        for _ in 0..*random.pick(&[0, 1, 1, 1, 1, 2, 3]) {
            connection.count(&counts(random));
        }
        let halves = [
            (Direction::Ingress, connection.ingress.clone()),
            (Direction::Egress, connection.egress.clone()),
        ];
        for (direction, its) in halves {
            let others = (0..*random.pick(&[0, 0, 0, 1, 2])).filter_map(|_| half(random));
            let others: Vec<_> = others.collect();
            for half in its.into_iter().chain(others) {
                if !random.one_in(16) {
                    connection.change(&Change { direction, half });
                }
            }
        }
        connection
    }

    /// A later update of the same connection.
    fn update(&self, random: &mut Random, first: &Connection, seq: u32) -> Connection {
        let other = self.connection(random);
        let later = i64::from(seq) * *random.pick(&[0, 1, SECOND, 700 * SECOND]);
        let backend = match (&first.service, random.one_in(2)) {
            (Some(_), true) => other.server,
            _ => first.server,
        };
        Connection {
            id: first.id,
            seq,
            network: first.network.clone().filter(|_| !random.one_in(8)),
            protocol: first.protocol,
            client: first.client,
            server: backend,
            icmp: first.icmp,
            service: first.service.clone().filter(|_| !random.one_in(4)),
            start: Timestamp(first.start.0 + later.min(SECOND)),
            end: Timestamp(first.end.0 + later),
            ..other
        }
    }
}

fn counts(random: &mut Random) -> Counts {
    let mut tally = || {
        let packets = *random.pick(&[0, 1, 1, 3, 1_000, 1 << 33]);
        Tally {
            packets,
            bytes: packets * *random.pick(&[40, 60, 1_500]),
        }
    };
    let (original, reply, dropped) = (tally(), tally(), tally());
    Counts {
        probability: *random.pick(&[
            Probability::ALL,
            Probability::ALL,
            Probability::from_u16(6_553),
            Probability::from_u16(1),
            Probability::from_ratio(1_000),
            Probability(0),
        ]),
        original,
        reply,
        dropped,
    }
}

fn ruling(random: &mut Random, text: impl Fn(&mut Random) -> String) -> Ruling {
    let fact = (!random.one_in(4)).then(|| {
        let some = |random: &mut Random| Some(text(random)).filter(|_| !random.one_in(3));
        let owner = Owner {
            kind: match random.below(4) {
                0 => OwnerKind::Unowned,
                1 => OwnerKind::Other("Later ü".to_owned()),
                _ => random.pick(&OwnerKind::KNOWN).clone(),
            },
            namespace: some(random),
            name: some(random),
            direction: Some(*random.pick(&Direction::ALL)).filter(|_| !random.one_in(4)),
            rule: Rule {
                index: Some(*random.pick(&[0, 1, u32::MAX])).filter(|_| !random.one_in(3)),
                protocol: some(random),
                ip_block: Some(*random.pick(&[-2, -1, 0, i32::MIN])).filter(|_| !random.one_in(3)),
                kind: some(random),
            },
            network: some(random),
        };
        let acl = Acl {
            name: some(random),
            priority: *random.pick(&[0, 1_001, 32_767]),
            matches: text(random),
            action: *random.pick(&Action::ALL),
            pipeline: *random.pick(&Pipeline::ALL),
            tier: random.below(4) as u8,
            label: *random.pick(&[0, 7, u32::MAX]),
            owner,
        };
        Arc::new(match random.one_in(3) {
            true => Fact {
                acl,
                message: text(random).into(),
            },
            false => Fact::from(acl),
        })
    });
    let flow = random.one_in(if fact.is_some() { 12 } else { 2 });
    let flow = flow.then(|| {
        Arc::new(DropFlow {
            stage: text(random),
            priority: *random.pick(&[0, 50, u16::MAX]),
            matches: text(random),
            message: text(random).into(),
        })
    });
    Ruling {
        verdict: *random.pick(&Verdict::ALL),
        uuid: Some(Uuid::from_u128(*random.pick(&[
            0,
            1,
            u128::MAX,
            0xfeed << 100,
        ])))
        .filter(|_| !random.one_in(3)),
        revision: Some(*random.pick(&[0, 1, 77, u64::MAX])).filter(|_| !random.one_in(3)),
        deleted: random.one_in(4),
        evidence: *random.pick(&Evidence::ALL),
        unresolved: Some(*random.pick(&Unresolved::ALL)).filter(|_| random.one_in(3)),
        fact,
        flow,
    }
}

/// A random question; what it asks for is mostly found among the connections that are known.
pub fn ask(random: &mut Random, known: &[Connection]) -> Ask {
    let moment = |random: &mut Random| match (known.is_empty(), random.below(4)) {
        (false, 0) => random.pick(known).start,
        (false, 1) => random.pick(known).end,
        _ => BEGIN.after(random.number(-SECOND, HOURS + 3_600 * SECOND)),
    };
    let (since, until) = match random.below(3) {
        0 => (Timestamp::MIN, Timestamp::MAX),
        1 => {
            let (one, other) = (moment(random), moment(random));
            (one.min(other), one.max(other))
        }
        _ => (moment(random), Timestamp::MAX),
    };
    let filter = match random.below(4) {
        0 => Plan::And(Vec::new()),
        _ => plan(random, known, 3),
    };
    let want = match random.one_in(3) {
        true => Want::Rows {
            limit: *random.pick(&[0, 1, 2, 10, 1_000_000]),
            after: (random.one_in(2) && !known.is_empty()).then(|| {
                let at = random.pick(known);
                Cursor {
                    end: at.end,
                    id: match random.one_in(3) {
                        true => u128::from(random.bits()) << 64,
                        false => at.id.0,
                    },
                }
            }),
        },
        false => Want::Groups(groups(random)),
    };
    Ask {
        since,
        until,
        filter,
        want,
    }
}

fn groups(random: &mut Random) -> Groups {
    let fields: Vec<Field> = Field::all().collect();
    let mut by = Vec::new();
    for _ in 0..random.below(4) {
        let field = match random.one_in(2) {
            true => *random.pick(&[
                Field::OwnerNamespace,
                Field::OwnerName,
                Field::Action,
                Field::SrcNamespace,
                Field::SrcPod,
                Field::Verdict,
                Field::DstPort,
            ]),
            false => *random.pick(&fields),
        };
        if !by.contains(&field) {
            by.push(field);
        }
    }
    let mut measures = Vec::new();
    while measures.len() < 3 && !random.one_in(4) {
        let field = *random.pick(&fields);
        let measure = match random.below(5) {
            0 => Measure::Count,
            1 => Measure::Sum(field),
            2 => Measure::Min(field),
            3 => Measure::Max(field),
            _ => {
                let name = random.pick(Name::all());
                match name.targets {
                    [(namespace, field)] => Measure::Distinct(*namespace, *field),
                    _ => Measure::Distinct(None, field),
                }
            }
        };
        // Sums of revisions may be beyond all numbers, and engines differ there.
        let is_huge = matches!(
            measure,
            Measure::Sum(Field::Egress(HalfField::Revision) | Field::Ingress(HalfField::Revision))
        );
        if measure.check().is_ok() && !is_huge {
            measures.push(measure);
        }
    }
    let order = match measures.len() {
        0 => None,
        count => {
            let order = *random.pick(&[Order::Ascending, Order::Descending]);
            let index = random.below(count);
            random.maybe((index, order))
        }
    };
    Groups {
        by,
        every: random
            .one_in(3)
            .then(|| *random.pick(&[60 * SECOND, 7 * SECOND, 3_600 * SECOND, 86_400 * SECOND])),
        measures,
        order,
        top: *random.pick(&[0, 1, 3, 20, 1_000_000]),
    }
}

fn plan(random: &mut Random, known: &[Connection], depth: usize) -> Plan {
    let children = |random: &mut Random| {
        let count = random.below(4);
        (0..count)
            .map(|_| plan(random, known, depth - 1))
            .collect::<Vec<_>>()
    };
    match random.below(if depth == 0 { 4 } else { 8 }) {
        0..4 => Plan::Test(test(random, known)),
        4 => Plan::And(children(random)),
        5 => Plan::Or(children(random)),
        6 => Plan::Not(Box::new(plan(random, known, depth - 1))),
        _ => Plan::Half(Box::new(plan(random, known, depth - 1))),
    }
}

fn test(random: &mut Random, known: &[Connection]) -> Test {
    let fields: Vec<Field> = Field::all()
        .filter(|field| place(*field) != Place::Nowhere)
        .collect();
    let field = match random.one_in(20) {
        true => Field::Datapath,
        false => *random.pick(&fields),
    };
    let half = *random.pick(&Direction::ALL);
    let found = (0..3).find_map(|_| match known {
        [] => None,
        known => match random.pick(known).value(field.at(half)) {
            Value::Missing => None,
            value => Some(check(random, value, field)),
        },
    });
    let check = found.unwrap_or_else(|| {
        let value = match field.kind() {
            Kind::Ip => Value::Ip(IpAddr::from([10, 0, 0, 1])),
            Kind::Bool => Value::Bool(true),
            Kind::TcpFlags => Value::Flags(TcpFlags(2)),
            Kind::Uuid => Value::Uuid(Uuid::from_u128(5)),
            Kind::Text | Kind::Named | Kind::Word(_) => {
                Value::Text(TEXTS[random.below(TEXTS.len())])
            }
            _ => Value::Number(1),
        };
        check(random, value, field)
    });
    Test { field, check }
}

/// A check that such a value may pass, or nearly.
fn check(random: &mut Random, value: Value<'_>, field: Field) -> Check {
    match value {
        Value::Text(text) => match random.below(3) {
            0 => Check::Glob(glob(random, text)),
            _ => Check::Text(text.into()),
        },
        Value::Number(number) => {
            let near = |random: &mut Random| match random.below(4) {
                0 => number,
                1 => number.saturating_add(random.number(-2, 2)),
                2 => random.number(-10, 70_000),
                _ => *random.pick(&[i64::MIN, i64::MAX, 0]),
            };
            match random.one_in(3) {
                true => Check::Between {
                    min: number,
                    max: number,
                },
                false => Check::Between {
                    min: near(random),
                    max: near(random),
                },
            }
        }
        Value::Ip(ip) => {
            let length = if ip.is_ipv4() { 32 } else { 128 };
            let prefix = *random.pick(&[0, 8, length / 2, length - 1, length, length]);
            Check::Network(Network::new(ip, prefix).unwrap_or(Network::single(ip)))
        }
        Value::Bool(truth) => Check::Bool(truth != random.one_in(4)),
        Value::Flags(_) => Check::Flags(*random.pick(&[1, 2, 0x12, 0xff])),
        Value::Uuid(uuid) => match random.one_in(2) {
            true => Check::Uuid(uuid),
            false => Check::Glob(glob(random, &uuid.to_string())),
        },
        Value::Missing => match field.kind() {
            Kind::Bool => Check::Bool(true),
            _ => Check::Glob(Glob::new("*")),
        },
    }
}

/// A pattern made from a text, with `*` and `?` for some of its characters.
fn glob(random: &mut Random, text: &str) -> Glob {
    let mut pattern = String::new();
    for c in text.chars() {
        match random.below(8) {
            0 => pattern.push('*'),
            1 => pattern.push('?'),
            2 => pattern.push_str("*?"),
            _ => {
                if matches!(c, '*' | '?' | '\\') {
                    pattern.push('\\');
                }
                pattern.push(c);
            }
        }
    }
    if random.one_in(3) {
        pattern.push('*');
    }
    Glob::new(&pattern)
}
