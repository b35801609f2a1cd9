use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use netverdict_types::{Decision, Fact, Headers, TcpFlags, Unresolved, Verdict};
use serde::Serialize;

/// Puts flow counters and decisions about the same packets into one record, whichever came first, with any number of
/// each; those that find no partner are records as well.
///
/// Pure: time is what it is told. When there is no room the record that began first is handed over
/// before its time, and counted: nothing is lost, what comes later is a record of its own.
#[derive(Debug)]
pub struct Join {
    limits: JoinLimits,
    records: HashMap<FlowKey, Record>,
    /// In the order in which they began.
    order: VecDeque<(FlowKey, i64)>,
    parts: usize,
    counts: JoinCounts,
}

/// How much is held, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JoinLimits {
    /// Flow counters and decisions that are held, all records together.
    pub parts: usize,
    /// How long a record waits for more, in nanoseconds.
    pub hold: i64,
}

impl Default for JoinLimits {
    fn default() -> Self {
        Self {
            parts: 1 << 17,
            hold: 5_000_000_000,
        }
    }
}

/// What became of flow counters and decisions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct JoinCounts {
    /// Flow counters taken.
    pub flows: u64,
    /// Decisions taken.
    pub decisions: u64,
    /// Of either, those without addresses and a protocol: they are in no record.
    pub keyless: u64,
    /// Records handed over.
    pub records: u64,
    /// Of these, those with flow counters and decisions.
    pub joined: u64,
    /// Of these, those handed over before their time because there was no room.
    pub told_early: u64,
}

/// Which packets: those of one direction between two ends.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct FlowKey {
    /// IP protocol number.
    pub protocol: u8,
    /// Sender.
    pub src: IpAddr,
    /// Receiver.
    pub dst: IpAddr,
    /// Sender's port, or the identifier of an ICMP echo.
    pub src_port: u16,
    /// Receiver's port, or the identifier of an ICMP echo.
    pub dst_port: u16,
}

impl FlowKey {
    /// That of a packet; `None` without addresses or protocol.
    pub fn of(headers: &Headers) -> Option<Self> {
        let port = |port: Option<u16>| port.or(headers.icmp_id).unwrap_or(0);
        Some(Self {
            protocol: headers.protocol?,
            src: headers.src?,
            dst: headers.dst?,
            src_port: port(headers.src_port),
            dst_port: port(headers.dst_port),
        })
    }
}

/// Packets of one flow that went through an interface.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// The interface.
    pub interface: &'a str,
    /// True for packets that came out of the interface into this machine's network stack.
    pub inwards: bool,
    /// What they have in common.
    pub headers: &'a Headers,
    /// How many.
    pub packets: u64,
    /// Their bytes from layer 2 on.
    pub bytes: u64,
    /// When the first was seen, in nanoseconds since the epoch.
    pub first: i64,
    /// When the last was seen.
    pub last: i64,
}

/// What is known of some packets.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Which packets.
    #[serde(flatten)]
    pub key: FlowKey,
    /// When the first was seen, in nanoseconds since the epoch.
    pub first: i64,
    /// When the last was seen.
    pub last: i64,
    /// What interfaces counted: one for each interface and direction.
    pub flows: Vec<FlowPart>,
    /// What was decided: one for each ACL, verdict and reason.
    pub decisions: Vec<DecisionPart>,
}

/// What went through one interface in one direction.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct FlowPart {
    /// The interface.
    pub interface: String,
    /// As [`Counted::inwards`].
    pub inwards: bool,
    /// How many packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// TCP flags of all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_flags: Option<TcpFlags>,
}

/// What one ACL, or nobody known, decided.
#[derive(Clone, Debug, Serialize)]
pub struct DecisionPart {
    /// The verdict.
    pub verdict: Verdict,
    /// The sentence for people.
    pub message: String,
    /// Why nobody is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unresolved: Option<Unresolved>,
    /// The share of packets that is sampled, in millionths.
    pub probability_millionths: i64,
    /// How many packets were sampled, each once.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Further samples of the same packets.
    pub doubles: u64,
    #[serde(skip)]
    fact: Option<Arc<Fact>>,
}

impl Join {
    /// Nothing yet.
    pub fn new(limits: JoinLimits) -> Self {
        Self {
            limits,
            records: HashMap::new(),
            order: VecDeque::new(),
            parts: 0,
            counts: JoinCounts::default(),
        }
    }

    /// What became of all so far.
    pub fn counts(&self) -> JoinCounts {
        self.counts
    }

    /// Flow counters and decisions that are held.
    pub fn held(&self) -> usize {
        self.parts
    }

    /// Takes a flow counter at `now`; hands over what there is no room for.
    pub fn flow(&mut self, counted: &Counted<'_>, now: i64, mut take: impl FnMut(Record)) {
        self.counts.flows += 1;
        let Some(key) = FlowKey::of(counted.headers) else {
            self.counts.keyless += 1;
            return;
        };
        let record = self.record(key, counted.first, counted.last, now);
        let flags = counted.headers.tcp_flags;
        let known = record
            .flows
            .iter_mut()
            .find(|it| it.interface == counted.interface && it.inwards == counted.inwards);
        match known {
            Some(part) => {
                part.packets += counted.packets;
                part.bytes += counted.bytes;
                part.tcp_flags = match (part.tcp_flags, flags) {
                    (Some(one), Some(other)) => Some(TcpFlags(one.0 | other.0)),
                    (one, other) => one.or(other),
                };
            }
            None => {
                record.flows.push(FlowPart {
                    interface: counted.interface.to_owned(),
                    inwards: counted.inwards,
                    packets: counted.packets,
                    bytes: counted.bytes,
                    tcp_flags: flags,
                });
                self.parts += 1;
            }
        }
        self.make_room(&mut take);
    }

    /// Takes a decision at `now`; hands over what there is no room for.
    pub fn decision(&mut self, decision: &Decision<'_>, now: i64, mut take: impl FnMut(Record)) {
        self.counts.decisions += 1;
        let Some(key) = FlowKey::of(&decision.headers) else {
            self.counts.keyless += 1;
            return;
        };
        let time = decision.time.0;
        let record = self.record(key, time, time, now);
        let fact = decision.acl.map(|row| &row.fact);
        let probability = decision.probability.millionths();
        let known = record.decisions.iter_mut().find(|it| {
            it.verdict == decision.verdict
                && it.unresolved == decision.unresolved
                && it.probability_millionths == probability
                && it.fact.as_ref() == fact
                && it.message == decision.message()
        });
        let doubles = u64::from(decision.double);
        match known {
            Some(part) => {
                part.packets += decision.packets;
                part.bytes += decision.bytes;
                part.doubles += doubles;
            }
            None => {
                record.decisions.push(DecisionPart {
                    verdict: decision.verdict,
                    message: decision.message().to_owned(),
                    unresolved: decision.unresolved,
                    probability_millionths: probability,
                    packets: decision.packets,
                    bytes: decision.bytes,
                    doubles,
                    fact: fact.cloned(),
                });
                self.parts += 1;
            }
        }
        self.make_room(&mut take);
    }

    /// Time has come to `now`: hands over what waited long enough.
    pub fn advance(&mut self, now: i64, mut take: impl FnMut(Record)) {
        let hold = self.limits.hold;
        while let Some((_, began)) = self.order.front()
            && now.saturating_sub(*began) >= hold
        {
            self.tell_first(&mut take);
        }
    }

    /// Hands over all that is held.
    pub fn finish(&mut self, mut take: impl FnMut(Record)) {
        while !self.order.is_empty() {
            self.tell_first(&mut take);
        }
    }

    fn record(&mut self, key: FlowKey, first: i64, last: i64, now: i64) -> &mut Record {
        let order = &mut self.order;
        let record = self.records.entry(key).or_insert_with(|| {
            order.push_back((key, now));
            Record {
                key,
                first,
                last,
                flows: Vec::new(),
                decisions: Vec::new(),
            }
        });
        record.first = record.first.min(first);
        record.last = record.last.max(last);
        record
    }

    fn make_room(&mut self, take: &mut impl FnMut(Record)) {
        while self.parts > self.limits.parts && !self.order.is_empty() {
            self.counts.told_early += 1;
            self.tell_first(take);
        }
    }

    fn tell_first(&mut self, take: &mut impl FnMut(Record)) {
        let first = self.order.pop_front();
        let Some(record) = first.and_then(|(key, _)| self.records.remove(&key)) else {
            return;
        };
        self.parts -= record.flows.len() + record.decisions.len();
        self.counts.records += 1;
        self.counts.joined += u64::from(!record.flows.is_empty() && !record.decisions.is_empty());
        take(record);
    }
}

#[cfg(test)]
mod tests;
