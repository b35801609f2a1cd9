//! How samples and log lines leave the twin: as psample messages, as IPFIX, as lines of ovn-controller's log, and as [`Sample`]s.
//!
//! An [`Emitter`] observes packets. It rolls the dice of `sample` actions, one roll an action as the datapath does it, and knows what the
//! northbound does not say ([`Node`]): datapath keys, interfaces, collector sets. What is taken goes to a [`Sink`]; several are a tuple.
//!
//! ```
//! use netverdict_pipeline::emit::{Emitter, Node, Psample};
//! use netverdict_pipeline::{At, Lport, Northbound, Observer, Packet, Sampled, Stage, SwitchId};
//! use netverdict_types::{App, Timestamp, ZoneId};
//!
//! let mut node = Node::new(ZoneId(0), &Northbound::default());
//! node.set_group(100, 10);
//! let mut messages = Vec::new();
//! let psample = Psample::new(34, |message: &mut Vec<u8>| messages.push(message.clone()));
//! let mut emitter = Emitter::new(vec![node], 7, psample);
//!
//! emitter.begin(Timestamp(1_795_400_180_000_000_000));
//! emitter.enter(0, SwitchId(0), Lport(1));
//! let at = At { switch: SwitchId(0), stage: Stage::InAclSample };
//! let sampled = Sampled { probability: 65_535, set_id: 100, app: App::AclNew, app_id: 2, point: 7 };
//! emitter.sample(at, &Packet::default(), sampled);
//! emitter.end(true);
//! assert_eq!(messages.len(), 1);
//! ```
//!
//! [`Sample`]: netverdict_types::Sample

mod acl_log;
mod dice;
mod ipfix;
mod node;
mod psample;
mod samples;
#[cfg(test)]
mod tests;

use netverdict_types::{Cookie, Probability, Timestamp};

use crate::journey::{Outcome, Place};
use crate::{At, Logged, Lport, Observer, Packet, Sampled, Stages, SwitchId, journey};

pub use acl_log::{AclLog, FlowText};
pub use ipfix::Ipfix;
pub use node::{Interface, Node};
pub use psample::Psample;
pub use samples::Samples;

use dice::Dice;

/// Observes packets, and hands on what is sampled and logged.
///
/// Samples of a packet are held until its end is known ([`Emitter::end`]), for IPFIX says whether a packet was dropped. Open vSwitch itself knows that
/// only of the packet for which a flow of the datapath was made, and takes it for dropped if conntrack is asked between the sample and the output.
#[derive(Clone, Debug)]
pub struct Emitter<S> {
    nodes: Vec<Node>,
    dice: Dice,
    sink: S,
    now: Timestamp,
    place: usize,
    inport: Option<Lport>,
    held: Vec<Held>,
    frame: Vec<u8>,
    /// `sample` actions that were met.
    pub met: u64,
    /// Those whose dice fell so that the packet is sampled.
    pub taken: u64,
    /// Those of zones for which there is no [`Node`]: lost.
    pub homeless: u64,
}

/// A packet that was sampled.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// When.
    pub time: Timestamp,
    /// Where.
    pub node: &'a Node,
    /// The port by which the packet came into the node; none if that was through a tunnel, or if ovn-controller made it.
    pub inport: Lport,
    /// Domain and point.
    pub cookie: Cookie,
    /// `Flow_Sample_Collector_Set.id`.
    pub set_id: u32,
    /// Share of packets, 65535 being all.
    pub probability: u16,
    /// The packet's headers when it was sampled.
    pub packet: &'a Packet,
    /// Its bytes, from layer 2.
    pub frame: &'a [u8],
    /// It did not come out in the end: the packet that was sent, if this is the answer of a reject.
    pub dropped: bool,
}

/// A packet that was logged.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// When.
    pub time: Timestamp,
    /// The number of the zone in the twin.
    pub zone: usize,
    /// By which table.
    pub at: At,
    /// The packet's headers.
    pub packet: &'a Packet,
    /// What is to be written.
    pub log: Logged<'a>,
}

/// Takes what an [`Emitter`] hands on. Each method does nothing by default.
pub trait Sink {
    /// A packet was sampled.
    fn sample(&mut self, taken: &Taken<'_>) {
        let _ = taken;
    }

    /// A packet is to be logged.
    fn log(&mut self, line: &Line<'_>) {
        let _ = line;
    }

    /// Time has come so far: what was kept until now is to be sent.
    fn pass(&mut self, now: Timestamp) {
        let _ = now;
    }
}

impl<S: Sink> Emitter<S> {
    /// An emitter for the zones of a twin, by their numbers. The same seed gives the same dice.
    pub fn new(nodes: Vec<Node>, seed: u64, sink: S) -> Self {
        Self {
            nodes,
            dice: Dice::new(seed),
            sink,
            now: Timestamp(0),
            place: 0,
            inport: None,
            held: Vec::new(),
            frame: Vec::new(),
            met: 0,
            taken: 0,
            homeless: 0,
        }
    }

    /// Sends a packet through the twin and hands on what is sampled and logged on its way.
    pub fn send<T: Stages>(
        &mut self,
        twin: &mut journey::Twin<T>,
        from: Place,
        packet: Packet,
        now: Timestamp,
    ) -> Outcome {
        self.begin(now);
        let outcome = twin.send(from, packet, now, self);
        self.end(matches!(
            outcome,
            Outcome::Delivered(..) | Outcome::Outside(..)
        ));
        outcome
    }

    /// A packet begins, at this time. What was to be sent before is sent.
    pub fn begin(&mut self, now: Timestamp) {
        self.now = now;
        self.inport = None;
        self.sink.pass(now);
    }

    /// The packet's end is known: whether it came out. Its samples are handed on.
    pub fn end(&mut self, came_out: bool) {
        for held in self.held.drain(..) {
            let Some(node) = self.nodes.get(held.zone) else {
                self.homeless += 1;
                continue;
            };
            self.frame.clear();
            held.packet.write(&mut self.frame);
            self.sink.sample(&Taken {
                time: self.now,
                node,
                inport: held.inport,
                cookie: Cookie {
                    domain: u32::from(held.sampled.app_id) << 24 | node.key(held.switch),
                    point: held.sampled.point,
                },
                set_id: held.sampled.set_id,
                probability: held.sampled.probability,
                packet: &held.packet,
                frame: &self.frame,
                dropped: !came_out,
            });
        }
    }

    /// Where the samples go.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// What is known of a zone's node.
    pub fn node(&mut self, zone: usize) -> Option<&mut Node> {
        self.nodes.get_mut(zone)
    }
}

impl<S: Sink> Observer for Emitter<S> {
    fn enter(&mut self, zone: usize, _: SwitchId, inport: Lport) {
        self.inport = Some(match self.inport {
            None => inport,
            Some(first) if self.place == zone => first,
            Some(_) => Lport::NONE,
        });
        self.place = zone;
    }

    fn leave(&mut self, zone: usize, _: SwitchId, _: Lport) {
        if self.place != zone {
            self.inport = Some(Lport::NONE);
            self.place = zone;
        }
    }

    fn answered(&mut self) {
        self.inport = Some(Lport::NONE);
    }

    fn sample(&mut self, at: At, packet: &Packet, sampled: Sampled) {
        self.met += 1;
        if !self.dice.falls(Probability::from_u16(sampled.probability)) {
            return;
        }
        self.taken += 1;
        self.held.push(Held {
            zone: self.place,
            switch: at.switch,
            inport: self.inport.unwrap_or(Lport::NONE),
            packet: *packet,
            sampled,
        });
    }

    fn log(&mut self, at: At, packet: &Packet, log: Logged<'_>) {
        self.sink.log(&Line {
            time: self.now,
            zone: self.place,
            at,
            packet,
            log,
        });
    }
}

/// A sink that takes nothing.
impl Sink for () {}

impl<S: Sink> Sink for Option<S> {
    fn sample(&mut self, taken: &Taken<'_>) {
        if let Some(sink) = self {
            sink.sample(taken);
        }
    }

    fn log(&mut self, line: &Line<'_>) {
        if let Some(sink) = self {
            sink.log(line);
        }
    }

    fn pass(&mut self, now: Timestamp) {
        if let Some(sink) = self {
            sink.pass(now);
        }
    }
}

impl<A: Sink, B: Sink> Sink for (A, B) {
    fn sample(&mut self, taken: &Taken<'_>) {
        self.0.sample(taken);
        self.1.sample(taken);
    }

    fn log(&mut self, line: &Line<'_>) {
        self.0.log(line);
        self.1.log(line);
    }

    fn pass(&mut self, now: Timestamp) {
        self.0.pass(now);
        self.1.pass(now);
    }
}

#[derive(Clone, Copy, Debug)]
struct Held {
    zone: usize,
    switch: SwitchId,
    inport: Lport,
    packet: Packet,
    sampled: Sampled,
}
