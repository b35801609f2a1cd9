//! Who calls whom in the demo, and what goes over the wire for it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::str::FromStr;

use netverdict_pipeline::journey::{Outcome, Place};
use netverdict_pipeline::{L4, Packet};
use netverdict_types::Timestamp;

/// The annotation of a pod that says whom it calls: [`Call`]s, separated by spaces.
pub(crate) const CALLS: &str = "demo.netverdict.io/calls";

/// Whom a pod calls, and how often: `svc/shop/web:8080*30`, `shop/web-0:8080`, `1.1.1.1:53/udp*0.5`, `blue/server/icmp`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) target: Target,
    pub(crate) protocol: u8,
    pub(crate) port: u16,
    /// Connections a second.
    pub(crate) rate: f64,
}

/// Who is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    Service { namespace: String, name: String },
    Pod { namespace: String, name: String },
    Address(IpAddr),
}

/// A connection that somebody makes: from where, and its first packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) place: Place,
    pub(crate) packet: Packet,
    /// How much is said: a long transfer, or a question and its answer.
    pub(crate) bulk: bool,
}

/// Connections as they go on, in the order of time.
#[derive(Debug)]
pub(crate) struct Traffic {
    due: BinaryHeap<Reverse<(Timestamp, Event)>>,
    callers: Vec<Caller>,
    talks: Vec<Option<Talk>>,
    free: Vec<usize>,
    random: fastrand::Rng,
    /// Packets that were sent.
    pub(crate) packets: u64,
    /// Connections that were begun.
    pub(crate) connections: u64,
}

/// What is due: somebody begins a connection, or a connection goes on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    Begin { caller: usize },
    GoOn { talk: usize },
}

#[derive(Debug)]
struct Caller {
    start: Start,
    /// Connections a second.
    rate: f64,
}

/// A connection.
#[derive(Clone, Copy, Debug)]
struct Talk {
    start: Start,
    /// Where the other end is, and the packet as it came there: what it answers.
    far: Option<(Place, Packet)>,
    line: usize,
    tries: u32,
}

/// Who says the next line of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Caller,
    Called,
}

/// TCP flags of a packet and how long it is.
type Line = (Side, u16, u32);

const SYN: u16 = 0x02;
const ACK: u16 = 0x10;
const PSH: u16 = 0x08;
const FIN: u16 = 0x01;

const TCP: [Line; 9] = [
    (Side::Caller, SYN, 74),
    (Side::Called, SYN | ACK, 74),
    (Side::Caller, ACK, 66),
    (Side::Caller, PSH | ACK, 412),
    (Side::Called, PSH | ACK, 1434),
    (Side::Caller, ACK, 66),
    (Side::Caller, FIN | ACK, 66),
    (Side::Called, FIN | ACK, 66),
    (Side::Caller, ACK, 66),
];
/// Lines 3 to 5 of a long transfer come that often.
const BULK: usize = 8;
const DATAGRAM: [Line; 2] = [(Side::Caller, 0, 86), (Side::Called, 0, 142)];

/// Between two packets of a connection.
const PACE: i64 = 2_000_000;
/// Before a packet without an answer is sent again, the first time; then twice as long each time.
const RETRY: i64 = 1_000_000_000;
/// How often it is sent.
const TRIES: u32 = 3;

impl Traffic {
    /// Nobody calls anybody yet. What happens by chance follows from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            due: BinaryHeap::new(),
            callers: Vec::new(),
            talks: Vec::new(),
            free: Vec::new(),
            random: fastrand::Rng::with_seed(seed),
            packets: 0,
            connections: 0,
        }
    }

    /// From now on somebody makes such connections, so many a second.
    pub(crate) fn add(&mut self, start: Start, rate: f64, now: Timestamp) {
        let caller = self.callers.len();
        self.callers.push(Caller { start, rate });
        let first = self.wait(rate);
        let first = Timestamp(now.0 + first);
        self.due.push(Reverse((first, Event::Begin { caller })));
    }

    /// When the next packet is due.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.due.peek().map(|Reverse((time, _))| *time)
    }

    /// Sends all packets that are due by `now`; `send` says what becomes of each.
    pub(crate) fn run(
        &mut self,
        now: Timestamp,
        mut send: impl FnMut(Place, Packet, Timestamp) -> Outcome,
    ) {
        while let Some(Reverse((time, event))) = self.due.peek().copied() {
            if time > now {
                break;
            }
            self.due.pop();
            match event {
                Event::Begin { caller } => self.begin(caller, time),
                Event::GoOn { talk } => self.go_on(talk, time, &mut send),
            }
        }
    }

    fn begin(&mut self, caller: usize, time: Timestamp) {
        let Some(Caller { start, rate }) = self.callers.get(caller) else {
            return;
        };
        let (mut start, rate) = (*start, *rate);
        let port = self.random.u16(32_768..61_000);
        match &mut start.packet.l4 {
            L4::Tcp { src, .. } | L4::Udp { src, .. } | L4::Sctp { src, .. } => *src = port,
            L4::Icmp { id, .. } => *id = port,
            _ => {}
        }
        let talk = Talk {
            start,
            far: None,
            line: 0,
            tries: 0,
        };
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                self.talks.push(None);
                self.talks.len() - 1
            }
        };
        self.talks[number] = Some(talk);
        self.connections += 1;
        self.due.push(Reverse((time, Event::GoOn { talk: number })));
        let next = Timestamp(time.0 + self.wait(rate));
        self.due.push(Reverse((next, Event::Begin { caller })));
    }

    fn go_on(
        &mut self,
        number: usize,
        time: Timestamp,
        send: &mut impl FnMut(Place, Packet, Timestamp) -> Outcome,
    ) {
        let Some(mut talk) = self.talks.get_mut(number).and_then(Option::take) else {
            return;
        };
        let next = talk.speak(&mut self.packets, time, send);
        match next {
            Some(pause) => {
                self.talks[number] = Some(talk);
                let when = Timestamp(time.0 + pause);
                self.due.push(Reverse((when, Event::GoOn { talk: number })));
            }
            None => self.free.push(number),
        }
    }

    /// How long until the next of several independent events, so many a second.
    fn wait(&mut self, rate: f64) -> i64 {
        let chance = 1.0 - self.random.f64();
        (-chance.ln() / rate * 1e9) as i64
    }
}

impl Talk {
    /// Says the next line; gives how long it is until the one after it, if there is one.
    fn speak(
        &mut self,
        packets: &mut u64,
        time: Timestamp,
        send: &mut impl FnMut(Place, Packet, Timestamp) -> Outcome,
    ) -> Option<i64> {
        let (side, flags, length) = self.line()?;
        let (place, mut packet) = match (side, self.far) {
            (Side::Caller, _) => (self.start.place, self.start.packet),
            (Side::Called, Some((place, came))) => (place, came.reply()),
            (Side::Called, None) => return None,
        };
        packet.length = length;
        if let L4::Tcp { flags: own, .. } = &mut packet.l4 {
            *own = flags;
        }
        *packets += 1;
        match (side, send(place, packet, time)) {
            (Side::Caller, Outcome::Delivered(there, came) | Outcome::Outside(there, came)) => {
                self.far = Some((there, came));
            }
            (Side::Called, Outcome::Delivered(..) | Outcome::Outside(..)) => {}
            (_, Outcome::Rejected { .. }) => return None,
            (_, Outcome::Dropped { .. } | Outcome::Lost { .. }) => {
                self.tries += 1;
                return (self.tries < TRIES).then(|| RETRY << (self.tries - 1));
            }
        }
        self.line += 1;
        self.line().map(|_| PACE)
    }

    fn line(&self) -> Option<Line> {
        if !matches!(self.start.packet.l4, L4::Tcp { .. }) {
            return DATAGRAM.get(self.line).copied();
        }
        let repeated = 3 * if self.start.bulk { BULK - 1 } else { 0 };
        let line = match self.line {
            early @ 0..=2 => early,
            bulk if bulk < 6 + repeated => 3 + (bulk - 3) % 3,
            late => late - repeated,
        };
        TCP.get(line).copied()
    }
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("{text}: {why}; write svc/NAMESPACE/NAME:PORT*RATE");
        let (rest, rate) = text.rsplit_once('*').unwrap_or((text, "1"));
        let rate: f64 = rate.parse().map_err(|_| bad("the rate is no number"))?;
        if !(rate > 0.0 && rate <= 1e6) {
            return Err(bad("the rate is not above 0 and at most 1000000"));
        }
        let (rest, protocol) = match rest.rsplit_once('/') {
            Some((rest, "tcp")) => (rest, 6),
            Some((rest, "udp")) => (rest, 17),
            Some((rest, "sctp")) => (rest, 132),
            Some((rest, "icmp")) => (rest, 1),
            _ => (rest, 6),
        };
        let (whom, port) = match (protocol, rest.rsplit_once(':')) {
            (1, _) => (rest, 0),
            (_, Some((whom, port))) => (whom, port.parse().map_err(|_| bad("what is the port?"))?),
            (_, None) => return Err(bad("there is no port")),
        };
        let target = match whom.split('/').collect::<Vec<_>>()[..] {
            ["svc", namespace, name] => Target::Service {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
            [address] => {
                let bare = address.trim_start_matches('[').trim_end_matches(']');
                Target::Address(bare.parse().map_err(|_| bad("that is no address"))?)
            }
            [namespace, name] => Target::Pod {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
            _ => return Err(bad("who is that?")),
        };
        Ok(Self {
            target,
            protocol,
            port,
            rate,
        })
    }
}

#[cfg(test)]
mod tests {
    use netverdict_pipeline::Lport;

    use super::*;

    fn start(bulk: bool) -> Start {
        let ends = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        Start {
            place: Place {
                zone: 0,
                port: Lport(1),
            },
            packet: Packet {
                eth_type: 0x800,
                ip: Some(ends),
                protocol: 6,
                l4: L4::Tcp {
                    src: 0,
                    dst: 80,
                    flags: 0,
                },
                ..Packet::default()
            },
            bulk,
        }
    }

    fn flags(packet: &Packet) -> u16 {
        match packet.l4 {
            L4::Tcp { flags, .. } => flags,
            _ => 0,
        }
    }

    #[test]
    fn calls_are_read() {
        let call: Call = "svc/shop/web:8080*30".parse().unwrap();
        assert_eq!((call.protocol, call.port, call.rate), (6, 8080, 30.0));
        let call: Call = "1.1.1.1:53/udp".parse().unwrap();
        assert_eq!(call.target, Target::Address("1.1.1.1".parse().unwrap()));
        assert_eq!((call.protocol, call.rate), (17, 1.0));
        let call: Call = "[fd00::1]:53*2".parse().unwrap();
        assert_eq!(call.target, Target::Address("fd00::1".parse().unwrap()));
        assert_eq!("blue/server/icmp".parse::<Call>().unwrap().protocol, 1);
        for wrong in ["web", "a/b/c/d:1", "x:1", "a/b:1*0", "a/b:1*x", "a/b:99999"] {
            assert!(wrong.parse::<Call>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_connection_opens_talks_and_closes() {
        let mut traffic = Traffic::new(1);
        traffic.add(start(false), 1.0, Timestamp(0));
        let mut seen = Vec::new();
        // One connection a second: by half a minute some are over.
        traffic.run(Timestamp(30_000_000_000), |place, packet, _| {
            seen.push((place.zone, flags(&packet)));
            let far = Place {
                zone: 1 - place.zone,
                port: Lport(1),
            };
            Outcome::Delivered(far, packet)
        });
        let expected: Vec<_> = TCP
            .iter()
            .map(|(side, flags, _)| (usize::from(*side == Side::Called), *flags))
            .collect();
        assert_eq!(seen[..TCP.len()], expected);
        assert!(traffic.connections > 10);
        let bulk = Talk {
            start: start(true),
            far: None,
            line: 0,
            tries: 0,
        };
        let lines = (0..).map_while(|line| Talk { line, ..bulk }.line());
        assert_eq!(lines.count(), TCP.len() + 3 * (BULK - 1));
    }

    #[test]
    fn who_gets_no_answer_tries_three_times() {
        let mut traffic = Traffic::new(7);
        traffic.add(start(false), 0.001, Timestamp(0));
        let first = traffic.due().unwrap();
        let mut times = Vec::new();
        traffic.run(
            Timestamp(first.0 + 10_000_000_000),
            |place, packet, time| {
                assert_eq!(flags(&packet), SYN);
                times.push(time.0 - first.0);
                Outcome::Lost {
                    zone: place.zone,
                    reason: netverdict_pipeline::journey::Lost::NoRoute,
                }
            },
        );
        assert_eq!(times, [0, 1_000_000_000, 3_000_000_000]);
    }
}
