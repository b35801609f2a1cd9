//! What happened to a packet, in order.

use netverdict_pipeline::flow::LogicalFlow;
use netverdict_pipeline::{At, Lport, Observer, Packet, Sampled, State, Step, SwitchId};
use uuid::Uuid;

/// Keeps all that an [`Observer`] is told of one packet.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// In the order in which it happened.
    pub events: Vec<Event>,
}

/// Something that happened to a packet.
#[derive(Clone, Debug)]
pub enum Event {
    /// It came into a switch.
    Enter {
        /// The zone, by its number in the twin.
        zone: usize,
        /// The switch.
        switch: SwitchId,
        /// By which port.
        inport: Lport,
    },
    /// It is about to leave a switch: the egress pipeline begins.
    Leave {
        /// The zone, by its number in the twin.
        zone: usize,
        /// The switch.
        switch: SwitchId,
        /// By which port.
        outport: Lport,
    },
    /// A router found the way.
    Routed {
        /// The router's row.
        router: Uuid,
        /// The row of the port that it leaves by.
        port: Uuid,
    },
    /// Conntrack was asked.
    Tracked {
        /// Its zone.
        ct_zone: u32,
        /// The packet and what is known of it then.
        after: State,
    },
    /// A load balancer chose a backend.
    Balanced {
        /// The row.
        balancer: Uuid,
        /// The packet after it.
        packet: Packet,
    },
    /// An ACL matched.
    Matched {
        /// Where.
        at: At,
        /// The ACL.
        acl: Uuid,
    },
    /// The connection was committed.
    Commit {
        /// Where.
        at: At,
        /// As it was after it.
        state: State,
    },
    /// A sample was taken.
    Sample {
        /// Where.
        at: At,
        /// What it says.
        sample: Sampled,
    },
    /// A flow matched.
    Step(Box<Stepped>),
}

/// A flow, and what its actions changed.
#[derive(Clone, Debug)]
pub struct Stepped {
    /// Where.
    pub at: At,
    /// The flow.
    pub flow: LogicalFlow,
    /// Before its actions.
    pub before: State,
    /// After them.
    pub after: State,
}

impl Observer for Trace {
    fn enter(&mut self, zone: usize, switch: SwitchId, inport: Lport) {
        self.events.push(Event::Enter {
            zone,
            switch,
            inport,
        });
    }

    fn leave(&mut self, zone: usize, switch: SwitchId, outport: Lport) {
        self.events.push(Event::Leave {
            zone,
            switch,
            outport,
        });
    }

    fn step(&mut self, step: &Step<'_>) {
        self.events.push(Event::Step(Box::new(Stepped {
            at: step.at,
            flow: step.flow.clone(),
            before: *step.before,
            after: *step.after,
        })));
    }

    fn routed(&mut self, _zone: usize, router: Uuid, port: Uuid, _packet: &Packet) {
        self.events.push(Event::Routed { router, port });
    }

    fn tracked(&mut self, ct_zone: u32, _before: &Packet, after: &State) {
        self.events.push(Event::Tracked {
            ct_zone,
            after: *after,
        });
    }

    fn balanced(&mut self, balancer: Uuid, packet: &Packet) {
        self.events.push(Event::Balanced {
            balancer,
            packet: *packet,
        });
    }

    fn sample(&mut self, at: At, _packet: &Packet, sample: Sampled) {
        self.events.push(Event::Sample { at, sample });
    }

    fn matched(&mut self, at: At, _state: &State, acl: Uuid) {
        self.events.push(Event::Matched { at, acl });
    }

    fn commit(&mut self, at: At, state: &State) {
        self.events.push(Event::Commit { at, state: *state });
    }
}
