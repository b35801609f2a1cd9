use netverdict_types::{Action, App};
use uuid::Uuid;

use crate::flow::LogicalFlow;
use crate::{Fate, Lport, Packet, Stage, State, SwitchId};

/// Where in a zone something happens.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct At {
    /// The switch.
    pub switch: SwitchId,
    /// The table.
    pub stage: Stage,
}

/// What a `sample` action that is executed would send, if its dice fall so. Rolling them is for the observer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Sampled {
    /// Share of packets, 65535 being all.
    pub probability: u16,
    /// `Flow_Sample_Collector_Set.id`.
    pub set_id: u32,
    /// Which application; its number is in `app_id`.
    pub app: App,
    /// The application's number, the first byte of the domain; 0 if the application has no row.
    pub app_id: u8,
    /// The observation point.
    pub point: u32,
}

/// What a `log` action writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Logged<'a> {
    /// The ACL's name, if it has one.
    pub name: Option<&'a str>,
    /// `allow`, `drop`, `reject` or `pass`, as the ACL's action has it.
    pub action: Action,
    /// `alert` to `debug`.
    pub severity: &'a str,
    /// The meter, with the ACL's uuid in its name if it is a fair one.
    pub meter: Option<&'a str>,
}

/// A table that a packet went through.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The table.
    pub at: At,
    /// The flow that matched.
    pub flow: &'a LogicalFlow,
    /// Others of its priority that match too: OVN takes any one of them.
    pub also: &'a [&'a LogicalFlow],
    /// The packet before the flow's actions.
    pub before: &'a State,
    /// The packet after them.
    pub after: &'a State,
    /// Whether it goes on.
    pub fate: Fate,
}

/// Is told what happens to a packet. Each method does nothing by default.
pub trait Observer {
    /// From here on everything happens in this zone (its number in the twin), in a switch that the packet enters by a port.
    fn enter(&mut self, zone: usize, switch: SwitchId, inport: Lport) {
        let _ = (zone, switch, inport);
    }

    /// The packet is to leave the switch by a port: the egress pipeline begins.
    fn leave(&mut self, zone: usize, switch: SwitchId, outport: Lport) {
        let _ = (zone, switch, outport);
    }

    /// A flow is the one that matched in its table, and its actions are done: what they sample, log and commit was told before. Told by
    /// [`crate::walk`] only, which sees flows.
    fn step(&mut self, step: &Step<'_>) {
        let _ = step;
    }

    /// The packet leaves the switch by a port: no stage has stopped it.
    fn output(&mut self, zone: usize, switch: SwitchId, outport: Lport, packet: &Packet) {
        let _ = (zone, switch, outport, packet);
    }

    /// A router has found the way: by its row and that of the port that the packet leaves by, with new MAC addresses.
    fn routed(&mut self, zone: usize, router: Uuid, port: Uuid, packet: &Packet) {
        let _ = (zone, router, port, packet);
    }

    /// Conntrack was asked in one of its zones, or a translation committed there: the packet before, and what is known of it after.
    fn tracked(&mut self, ct_zone: u32, before: &Packet, after: &State) {
        let _ = (ct_zone, before, after);
    }

    /// A load balancer has chosen a backend: the packet is that after the translation.
    fn balanced(&mut self, balancer: Uuid, packet: &Packet) {
        let _ = (balancer, packet);
    }

    /// The packet was rejected, and from here on everything is of the answer that ovn-controller made: told only if
    /// [`Twin::answers`](crate::journey::Twin::answers) says so.
    fn answered(&mut self) {}

    /// The packet, as it is now, is sampled.
    fn sample(&mut self, at: At, packet: &Packet, sample: Sampled) {
        let _ = (at, packet, sample);
    }

    /// The packet is logged.
    fn log(&mut self, at: At, packet: &Packet, log: Logged<'_>) {
        let _ = (at, packet, log);
    }

    /// An ACL's flow is the one that matched in an eval stage; the state is that before its actions.
    fn matched(&mut self, at: At, state: &State, acl: Uuid) {
        let _ = (at, state, acl);
    }

    /// The packet's connection is committed, with mark and label as given after it.
    fn commit(&mut self, at: At, state: &State) {
        let _ = (at, state);
    }
}

/// An observer whom nothing interests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ignore;

impl Observer for Ignore {}
