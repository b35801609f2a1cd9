//! A packet's way: over load balancers, switches, routers and zones (ovn-northd's northd.c and ovn-controller's physical.c of OVN 25.03).
//!
//! What is not modelled: port security, NAT and policies of routers, distributed gateway ports, who has joined a multicast group (all get its
//! packets), answers to ARP and neighbour discovery, QoS, DHCP and DNS.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;

use hashbrown::HashMap;
use netverdict_types::{Action, Timestamp};

use crate::balance::{Balance, Virtual};
use crate::conntrack::{Commit, Conntrack, Nat};
use crate::route::{Mac, Peer, Router, Routers, mac};
use crate::{
    At, Block, CtView, Fate, L4, Lport, Northbound, Observer, Packet, Stage, Stages, State,
    SwitchId,
};

/// One node's part of the twin: the rows of its zone, what runs the ACL stages, and its conntrack.
#[derive(Debug)]
pub struct Zone<S> {
    /// Its rows.
    pub northbound: Arc<Northbound>,
    /// What runs the ACL stages of its switches.
    pub stages: S,
    /// Its connections.
    pub conntrack: Conntrack,
    balance: Balance,
    routers: Routers,
    switches: Vec<SwitchFacts>,
    macs: HashMap<(SwitchId, Mac), Lport>,
    kinds: Vec<Kind>,
}

/// The twin of a cluster.
#[derive(Debug)]
pub struct Twin<S> {
    /// The backend that load balancers take if they have it: for a test, or for who asks what would become of a packet.
    pub backend: Option<IpAddr>,
    /// Whether the answers of rejects are sent on their way too, as ovn-controller does: the observer is told of them after the packet itself.
    pub answers: bool,
    zones: Vec<Zone<S>>,
    /// Where a remote port of a zone is at home.
    homes: HashMap<Place, Place>,
}

/// A logical port of a zone.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Place {
    /// The zone, by its number in [`Twin::zones`].
    pub zone: usize,
    /// The port.
    pub port: Lport,
}

/// What becomes of a packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It comes out at a port, with these headers. A packet to many comes out at the first of them; the observer is told of all.
    Delivered(Place, Packet),
    /// It leaves the cluster's networks, by this port of a switch (`localnet`).
    Outside(Place, Packet),
    /// An ACL stage of a zone drops it.
    Dropped {
        /// The zone.
        zone: usize,
        /// The table.
        at: At,
    },
    /// An ACL, a load balancer without backends or a router whose own address it is for rejects it; the answer goes back to the sender.
    Rejected {
        /// The zone.
        zone: usize,
        /// The table; `None` for a load balancer or a router.
        at: Option<At>,
        /// The TCP reset or ICMP error; there is none to resets and errors.
        answer: Option<Packet>,
    },
    /// It gets lost for another reason.
    Lost {
        /// The zone.
        zone: usize,
        /// The reason.
        reason: Lost,
    },
}

/// Why a packet gets lost though no ACL drops it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Lost {
    /// No switch of the zone has the port.
    NoSwitch,
    /// A switch or a router takes no such packets: a group as the source, a VLAN tag, the router's own address or a broadcast as the source, an
    /// address that is nobody's.
    NotAdmitted,
    /// The switch has no port for the destination, and no router.
    UnknownDestination,
    /// It would leave by the port that it came in by.
    SamePort,
    /// A router has no route to the destination.
    NoRoute,
    /// A router's address, at which nobody listens.
    OwnAddress,
    /// The next zone is not known.
    NoSuchZone,
    /// A service has no endpoints, and does not reject.
    NoBackends,
    /// The time to live is over.
    Ttl,
    /// Routers send it in circles.
    Loop,
}

impl<S> Zone<S> {
    /// A zone without connections.
    pub fn new(northbound: impl Into<Arc<Northbound>>, stages: S) -> Self {
        let northbound = northbound.into();
        let routers = Routers::new(&northbound);
        let mut zone_of_switch = u32::MAX - 2 * routers.list.len() as u32;
        let mut switches = Vec::new();
        for switch in &northbound.switches {
            zone_of_switch -= 1;
            let Some(switch) = switch else {
                switches.push(SwitchFacts::default());
                continue;
            };
            let unknown = |port: &&Lport| {
                let port = northbound.port(**port);
                port.is_some_and(|port| port.addresses.iter().any(|entry| entry == "unknown"))
            };
            let mut acls = northbound.acls_of(switch);
            switches.push(SwitchFacts {
                stateful_acl: acls.any(|(_, row)| row.acl.action == Action::AllowRelated),
                has_vip: northbound.has_vip(switch),
                takes_vlans: switch.config.get("vlan-passthru").map(String::as_str) == Some("true"),
                snat_zone: zone_of_switch,
                unknown: switch.ports.iter().filter(unknown).copied().collect(),
            });
        }
        let mut macs = HashMap::new();
        let mut kinds = Vec::new();
        for (number, port) in northbound.ports.iter().enumerate() {
            let lport = Lport(number as u32);
            let behind = routers.behind(lport);
            kinds.push(match (port.kind.as_str(), behind) {
                ("router", Some((router, port))) => Kind::Router(router, port),
                ("localnet", _) => Kind::Localnet,
                ("remote", _) => Kind::Remote,
                ("router", None) => Kind::Nowhere,
                _ => Kind::Host,
            });
            let Some(switch) = port.switch else { continue };
            match behind {
                Some((router, port)) => {
                    macs.insert((switch, routers.list[router].ports[port].mac), lport);
                }
                None => macs.extend(
                    port.hosts()
                        .filter_map(|(text, _)| Some(((switch, mac(text)?), lport))),
                ),
            }
        }
        Self {
            balance: Balance::new(&northbound),
            conntrack: Conntrack::default(),
            routers,
            switches,
            macs,
            kinds,
            northbound,
            stages,
        }
    }
}

impl<S> Twin<S> {
    /// A twin of these zones, whose ports know each other by name.
    pub fn new(zones: impl IntoIterator<Item = Zone<S>>) -> Self {
        let zones: Vec<_> = zones.into_iter().collect();
        let mut own = HashMap::new();
        for (zone, Zone { northbound, .. }) in zones.iter().enumerate() {
            for (number, port) in northbound.ports.iter().enumerate().skip(1) {
                let port_number = Lport(number as u32);
                if port.kind != "remote" {
                    own.entry((switch_name(northbound, port_number), &*port.name))
                        .or_insert(Place {
                            zone,
                            port: port_number,
                        });
                }
            }
        }
        let mut homes = HashMap::new();
        for (zone, Zone { northbound, .. }) in zones.iter().enumerate() {
            for (number, port) in northbound.ports.iter().enumerate() {
                let here = Place {
                    zone,
                    port: Lport(number as u32),
                };
                let name = (switch_name(northbound, here.port), &*port.name);
                let home = own.get(&name).filter(|_| port.kind == "remote");
                homes.extend(home.map(|home| (here, *home)));
            }
        }
        drop(own);
        Self {
            backend: None,
            answers: false,
            zones,
            homes,
        }
    }

    /// The zones, by their numbers.
    pub fn zones(&self) -> &[Zone<S>] {
        &self.zones
    }

    /// The zones, for who puts connections into their conntrack.
    pub fn zones_mut(&mut self) -> &mut [Zone<S>] {
        &mut self.zones
    }

    /// The port of that name, in whichever zone it is at home.
    pub fn place(&self, name: &str) -> Option<Place> {
        self.zones.iter().enumerate().find_map(|(zone, found)| {
            let port = found.northbound.port_named(name)?;
            let here = found.northbound.port(port)?;
            (here.kind != "remote").then_some(Place { zone, port })
        })
    }

    /// A packet with the MAC addresses that the host at a port gives it: its own, if the port names it, and that of the destination if it is on the switch, else
    /// that of the switch's router.
    pub fn addressed(&self, from: Place, packet: Packet) -> Packet {
        let macs = || {
            let zone = self.zones.get(from.zone)?;
            let port = zone.northbound.port(from.port)?;
            let switch = port.switch?;
            let own = port.hosts().next().and_then(|(own, _)| mac(own));
            let (_, to) = packet.ip?;
            let next = zone.routers.neighbour(switch, to).or_else(|| {
                let ports = &zone.northbound.switch(switch)?.ports;
                let (router, port) = ports.iter().find_map(|port| zone.routers.behind(*port))?;
                Some(zone.routers.list.get(router)?.ports.get(port)?.mac)
            });
            Some((own.unwrap_or(packet.eth_src), next?))
        };
        match macs() {
            Some((own, next)) => packet.between(own, next),
            None => packet,
        }
    }
}

impl<S: Stages> Twin<S> {
    /// Sends a packet into a port and takes it to its end. The answer of a reject is sent back only if [`Twin::answers`] says so; the outcome is that
    /// of the packet in any case.
    pub fn send(
        &mut self,
        from: Place,
        packet: Packet,
        now: Timestamp,
        observer: &mut impl Observer,
    ) -> Outcome {
        let with = &mut With {
            now,
            backend: self.backend,
            observer,
            steps: MOST_STEPS,
            answers: self.answers.then(Vec::new),
        };
        let outcome = self.drive(Next::In(from, packet), with);
        while let Some(answer) = with.answers.as_mut().and_then(Vec::pop) {
            with.observer.answered();
            self.drive(answer, with);
        }
        outcome
    }

    fn drive(&mut self, mut next: Next, with: &mut With<'_, impl Observer>) -> Outcome {
        loop {
            let number = next.zone();
            if with.steps == 0 {
                return lost(number, Lost::Loop);
            }
            with.steps -= 1;
            let step = match next {
                Next::Out(place, state) if self.is_remote(place) => self.cross(place, &state),
                Next::Flood {
                    zone,
                    switch,
                    state,
                    all,
                } => return self.flood(zone, switch, &state, all, with),
                next => match self.zones.get_mut(number) {
                    Some(zone) => zone.step(next, with),
                    None => Break(lost(number, Lost::NoSuchZone)),
                },
            };
            match step {
                Continue(onward) => next = onward,
                Break(outcome) => return outcome,
            }
        }
    }

    fn is_remote(&self, place: Place) -> bool {
        let zone = self.zones.get(place.zone);
        zone.is_some_and(|zone| zone.kind(place.port) == Kind::Remote)
    }

    /// Through a tunnel: the egress pipeline of the same switch in the zone that the port is at home in. Only the two ports go along.
    fn cross(&self, place: Place, state: &State) -> ControlFlow<Outcome, Next> {
        let Some(home) = self.homes.get(&place) else {
            return Break(lost(place.zone, Lost::NoSuchZone));
        };
        let here = self.zones[place.zone].northbound.port_name(state.inport);
        let inport = self.zones[home.zone].northbound.port_named(here);
        let mut there = State::new(state.packet, inport.unwrap_or(Lport::NONE));
        there.now = state.now;
        Continue(Next::Out(*home, there))
    }

    /// Sends a copy to each port of a switch, but the one that it came in by: all of them, or those behind which strangers may be.
    fn flood(
        &mut self,
        zone: usize,
        switch: SwitchId,
        state: &State,
        all: bool,
        with: &mut With<'_, impl Observer>,
    ) -> Outcome {
        let count = self.zones[zone].ports(switch, all).len();
        let mut found: Option<Outcome> = None;
        for number in 0..count {
            let Some(port) = self.zones[zone].ports(switch, all).get(number).copied() else {
                break;
            };
            // Routers do not pass groups' packets on (`build_misc_local_traffic_drop_flows_for_lrouter`).
            let is_router = matches!(self.zones[zone].kind(port), Kind::Router(..));
            if port == state.inport || (all && is_router) {
                continue;
            }
            let outcome = self.drive(Next::Out(Place { zone, port }, *state), with);
            let arrives = |outcome: &Outcome| {
                matches!(outcome, Outcome::Delivered(..) | Outcome::Outside(..))
            };
            if found
                .as_ref()
                .is_none_or(|found| !arrives(found) && arrives(&outcome))
            {
                found = Some(outcome);
            }
        }
        found.unwrap_or_else(|| lost(zone, Lost::UnknownDestination))
    }
}

/// More pipelines than any packet goes through that does not go in circles.
const MOST_STEPS: usize = 256;

/// Bits and registers that the stages between the ACLs use (northd.c, `REGBIT_CONNTRACK_NAT` and its neighbours; logical-fields.h).
const DEFRAG: u32 = 1 << 0;
const NAT: u32 = 1 << 2;
const HAIRPIN: u32 = 1 << 6;
const HAIRPIN_REPLY: u32 = 1 << 12;
const STATELESS: u32 = 1 << 16;
const FRAGMENT: u32 = 1 << 19;
const LOOPBACK: u32 = 1 << 0;
const FORCE_SNAT: u32 = 1 << 3;
const SKIP_SNAT: u32 = 1 << 9;
const MARK_NATTED: u32 = 1 << 1;
const MARK_SKIP_SNAT: u32 = 1 << 2;
const MARK_FORCE_SNAT: u32 = 1 << 3;

/// What is the same all the way.
struct With<'a, O> {
    now: Timestamp,
    backend: Option<IpAddr>,
    observer: &'a mut O,
    steps: usize,
    /// Answers of rejects that are still to be sent; `None` if they are not to be.
    answers: Option<Vec<Next>>,
}

impl<O> With<'_, O> {
    /// Keeps the answer of a reject, to send it later.
    fn answer(&mut self, outcome: &Outcome, way: impl FnOnce(Packet) -> Option<Next>) {
        if let (Some(answers), Outcome::Rejected { answer, .. }) = (&mut self.answers, outcome) {
            answers.extend(answer.and_then(way));
        }
    }
}

/// Where a packet is to go on.
enum Next {
    /// Into a switch, by this port.
    In(Place, Packet),
    /// Out of a switch, by this port.
    Out(Place, State),
    /// Out of a switch by this port, past the ACLs: an answer that ovn-controller made.
    Answer(Place, Packet),
    /// To ports of a switch.
    Flood {
        zone: usize,
        switch: SwitchId,
        state: State,
        all: bool,
    },
    /// Into a router, by this port.
    Route {
        zone: usize,
        router: usize,
        port: usize,
        packet: Packet,
    },
    /// Into a router that has taken it, or has made it as an answer.
    Onward {
        zone: usize,
        router: usize,
        port: usize,
        packet: Packet,
    },
}

impl Next {
    fn zone(&self) -> usize {
        match self {
            Self::In(place, _) | Self::Out(place, _) | Self::Answer(place, _) => place.zone,
            Self::Flood { zone, .. } | Self::Route { zone, .. } | Self::Onward { zone, .. } => {
                *zone
            }
        }
    }
}

/// What a switch's rows say of the stages between the ACLs.
#[derive(Clone, Debug, Default)]
struct SwitchFacts {
    stateful_acl: bool,
    has_vip: bool,
    takes_vlans: bool,
    /// Zone of conntrack for backends that reach themselves.
    snat_zone: u32,
    /// Ports behind which strangers may be.
    unknown: Vec<Lport>,
}

/// What is behind a port of a switch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Host,
    Router(usize, usize),
    Localnet,
    Remote,
    /// A router that is not there.
    Nowhere,
}

impl<S> Zone<S> {
    fn kind(&self, port: Lport) -> Kind {
        let kind = self.kinds.get(port.0 as usize);
        kind.copied().unwrap_or(Kind::Nowhere)
    }

    fn ports(&self, switch: SwitchId, all: bool) -> &[Lport] {
        if all {
            let switch = self.northbound.switch(switch);
            switch.map_or(&[], |switch| &switch.ports)
        } else {
            let facts = self.switches.get(switch.0 as usize);
            facts.map_or(&[], |facts| &facts.unknown)
        }
    }
}

impl<S: Stages> Zone<S> {
    fn step(
        &mut self,
        next: Next,
        with: &mut With<'_, impl Observer>,
    ) -> ControlFlow<Outcome, Next> {
        match next {
            Next::In(place, packet) => {
                let step = self.ingress(place, packet, with);
                if let Break(outcome) = &step {
                    with.answer(outcome, |answer| Some(Next::Answer(place, answer)));
                }
                step
            }
            Next::Out(place, state) => {
                let step = self.egress(place, state, with);
                if let Break(outcome) = &step {
                    with.answer(outcome, |answer| self.turn_round(place, &state, answer));
                }
                step
            }
            Next::Answer(place, packet) => self.leave(place, packet, with),
            Next::Route {
                zone,
                router,
                port,
                packet,
            } => {
                let admitted = match self.routers.list.get(router) {
                    Some(router) => router.admit(zone, packet, &self.balance),
                    None => Break(lost(zone, Lost::NoRoute)),
                };
                let onward = |packet| Next::Onward {
                    zone,
                    router,
                    port,
                    packet,
                };
                if let Break(outcome) = &admitted {
                    with.answer(outcome, |answer| Some(onward(answer)));
                }
                Continue(onward(admitted?))
            }
            Next::Onward {
                zone,
                router,
                port,
                packet,
            } => {
                let step = self.route(zone, router, port, packet, with);
                if let Break(outcome) = &step {
                    with.answer(outcome, |answer| self.behind(zone, router, port, answer));
                }
                step
            }
            Next::Flood { zone, .. } => Break(lost(zone, Lost::Loop)),
        }
    }

    /// The answer to a packet that was rejected on its way out by a port: it goes on from `ls_in_l2_lkup`, as if it came in there
    /// (`build_acl_reject_action`).
    fn turn_round(&self, place: Place, state: &State, answer: Packet) -> Option<Next> {
        let port = self.northbound.port(place.port)?;
        let mut back = State::new(answer, place.port);
        back.now = state.now;
        back.ct_zone = match port.ct_zone {
            0 => state.ct_zone,
            zone => zone,
        };
        Some(self.look_up(place.zone, port.switch?, back))
    }

    /// Out of a router by one of its ports.
    fn behind(&self, zone: usize, router: usize, port: usize, packet: Packet) -> Option<Next> {
        match self.routers.list.get(router)?.ports.get(port)?.peer {
            Peer::Nothing => None,
            Peer::Switch(port) => Some(Next::In(Place { zone, port }, packet)),
            Peer::Router(router, port) => Some(Next::Route {
                zone,
                router,
                port,
                packet,
            }),
        }
    }

    /// `ls_in_l2_lkup`: by which ports the packet is to leave the switch.
    fn look_up(&self, zone: usize, switch: SwitchId, state: State) -> Next {
        let all = is_group(state.packet.eth_dst);
        match self.macs.get(&(switch, state.packet.eth_dst)) {
            Some(port) if !all => Next::Out(Place { zone, port: *port }, state),
            _ => Next::Flood {
                zone,
                switch,
                state,
                all,
            },
        }
    }

    /// The ingress pipeline of a switch.
    fn ingress(
        &mut self,
        place: Place,
        packet: Packet,
        with: &mut With<'_, impl Observer>,
    ) -> ControlFlow<Outcome, Next> {
        let zone = place.zone;
        let Some((switch, ct_zone)) = self
            .northbound
            .port(place.port)
            .and_then(|port| Some((port.switch?, port.ct_zone)))
        else {
            return Break(lost(zone, Lost::NoSwitch));
        };
        let here = Here { zone, switch };
        let Some(facts) = self.switches.get(switch.0 as usize) else {
            return Break(lost(zone, Lost::NoSwitch));
        };
        let (has_vip, takes_vlans, snat_zone) = (facts.has_vip, facts.takes_vlans, facts.snat_zone);
        with.observer.enter(zone, switch, place.port);
        if is_group(packet.eth_src) || (packet.vlan_tci != 0 && !takes_vlans) {
            return Break(lost(zone, Lost::NotAdmitted));
        }
        let mut state = State::new(packet, place.port);
        state.now = with.now;
        state.ct_zone = ct_zone;

        self.block(here, Block::InPreAcl, &mut state, with)?;
        let skips = match self.kind(place.port) {
            Kind::Router(..) => true,
            Kind::Localnet => !has_vip,
            _ => false,
        };
        if has_vip && !skips && is_balanced(&state) {
            set(&mut state, NAT);
            if let Some(vip) = self.vip(switch, &state.packet) {
                let (ip, port) = (vip.ip, vip.port);
                remember(&mut state, ip, port);
            } else if state.packet.fragment != 0 {
                set(&mut state, FRAGMENT);
            }
        }
        self.pre_stateful(&mut state, with);
        self.block(here, Block::InAcl, &mut state, with)?;
        if has_vip {
            self.balance(here, &mut state, with)?;
            if self.turn_back(switch, snat_zone, &mut state, with) {
                std::mem::swap(&mut state.packet.eth_src, &mut state.packet.eth_dst);
                state.outport = state.inport;
                state.flags |= LOOPBACK;
                return Continue(Next::Out(place, state));
            }
        }
        self.block(here, Block::InAclAfterLb, &mut state, with)?;
        self.block(here, Block::InStateful, &mut state, with)?;
        Continue(self.look_up(zone, switch, state))
    }

    /// The egress pipeline of a switch, and out of it.
    fn egress(
        &mut self,
        place: Place,
        mut state: State,
        with: &mut With<'_, impl Observer>,
    ) -> ControlFlow<Outcome, Next> {
        let zone = place.zone;
        let Some((switch, ct_zone)) = self
            .northbound
            .port(place.port)
            .and_then(|port| Some((port.switch?, port.ct_zone)))
        else {
            return Break(lost(zone, Lost::NoSwitch));
        };
        if state.inport == place.port && state.flags & LOOPBACK == 0 {
            return Break(lost(zone, Lost::SamePort));
        }
        let here = Here { zone, switch };
        let Some(facts) = self.switches.get(switch.0 as usize) else {
            return Break(lost(zone, Lost::NoSwitch));
        };
        let (has_vip, stateful_acl) = (facts.has_vip, facts.stateful_acl);
        with.observer.leave(zone, switch, place.port);
        state.outport = place.port;
        state.forget_registers();
        if ct_zone != 0 {
            state.ct_zone = ct_zone;
        }

        self.block(here, Block::OutPreAcl, &mut state, with)?;
        let kind = self.kind(place.port);
        let skips = match kind {
            Kind::Router(..) | Kind::Nowhere => true,
            Kind::Localnet => !has_vip,
            _ => false,
        };
        if skips && !stateful_acl && state.packet.ip.is_some() {
            // Where nothing is known, Open vSwitch has nothing to clear.
            if state.ct.is(CtView::TRK) {
                self.conntrack.clear(state.ct_zone, &state.packet, with.now);
            }
            state.ct = CtView::default();
        } else if has_vip && !skips && is_balanced(&state) {
            set(&mut state, NAT);
        }
        self.pre_stateful(&mut state, with);
        self.block(here, Block::OutAcl, &mut state, with)?;
        self.block(here, Block::OutStateful, &mut state, with)?;

        self.leave(place, state.packet, with)
    }

    /// Out of a switch by a port.
    fn leave(
        &self,
        place: Place,
        packet: Packet,
        with: &mut With<'_, impl Observer>,
    ) -> ControlFlow<Outcome, Next> {
        let zone = place.zone;
        if let Some(switch) = self
            .northbound
            .port(place.port)
            .and_then(|port| port.switch)
        {
            with.observer.output(zone, switch, place.port, &packet);
        }
        match self.kind(place.port) {
            Kind::Router(router, port) => Continue(Next::Route {
                zone,
                router,
                port,
                packet,
            }),
            Kind::Localnet => Break(Outcome::Outside(place, packet)),
            Kind::Nowhere => Break(lost(zone, Lost::NoRoute)),
            Kind::Host | Kind::Remote => Break(Outcome::Delivered(place, packet)),
        }
    }

    fn block(
        &mut self,
        here: Here,
        block: Block,
        state: &mut State,
        with: &mut With<'_, impl Observer>,
    ) -> ControlFlow<Outcome> {
        let conntrack = &mut self.conntrack;
        let fate = self
            .stages
            .run(here.switch, block, state, conntrack, with.observer);
        let at = At {
            switch: here.switch,
            stage: last_stage(block),
        };
        match fate {
            Fate::Next => Continue(()),
            Fate::Drop => Break(Outcome::Dropped {
                zone: here.zone,
                at,
            }),
            Fate::Reject => Break(Outcome::Rejected {
                zone: here.zone,
                at: Some(at),
                answer: state.packet.reset_or_unreachable(),
            }),
        }
    }

    /// `ls_in_pre_stateful`, `ls_out_pre_stateful`: asks conntrack.
    fn pre_stateful(&mut self, state: &mut State, with: &mut With<'_, impl Observer>) {
        if state.reg(0) & (DEFRAG | NAT) != 0 {
            track(&mut self.conntrack, state.ct_zone, state, with);
        }
    }

    /// `ls_in_lb`: gives a new connection to a virtual address its backend.
    fn balance(
        &mut self,
        here: Here,
        state: &mut State,
        with: &mut With<'_, impl Observer>,
    ) -> ControlFlow<Outcome> {
        if !state.ct.is(CtView::NEW) {
            return Continue(());
        }
        let balancers = self.northbound.switch(here.switch);
        let balancers = balancers.map_or(&[][..], |switch| &switch.load_balancers);
        let Some(number) = self.balance.find(balancers, &state.packet) else {
            return Continue(());
        };
        if let Some(vip) = self.balance.vip(number) {
            remember(state, vip.ip, vip.port);
        }
        let zone = state.ct_zone;
        self.translate(here.zone, number, zone, MARK_NATTED, state, with)
    }

    /// `ct_lb_mark` of a virtual address: the connection is committed with its new destination.
    fn translate(
        &mut self,
        zone: usize,
        number: u32,
        ct_zone: u32,
        mark: u32,
        state: &mut State,
        with: &mut With<'_, impl Observer>,
    ) -> ControlFlow<Outcome> {
        let Some(vip) = self.balance.vip(number) else {
            return Continue(());
        };
        if vip.is_empty() {
            return Break(match vip.rejects {
                true => Outcome::Rejected {
                    zone,
                    at: None,
                    answer: state.packet.reset_or_unreachable(),
                },
                false => lost(zone, Lost::NoBackends),
            });
        }
        let balancer = vip.balancer;
        let backend = self
            .balance
            .choose(number, &state.packet, with.backend, with.now);
        let Some((ip, port)) = backend else {
            return Continue(());
        };
        let commit = Commit {
            mark: (mark, mark),
            nat: Some(Nat::Destination(ip, port)),
            ..Commit::default()
        };
        let before = state.packet;
        state.ct = self
            .conntrack
            .commit(ct_zone, &mut state.packet, with.now, commit);
        with.observer.tracked(ct_zone, &before, state);
        with.observer.balanced(balancer, &state.packet);
        Continue(())
    }

    /// `ls_in_pre_hairpin` and `ls_in_nat_hairpin`: whether the packet goes back to where it came from, after the translation that hides
    /// it from itself.
    fn turn_back(
        &mut self,
        switch: SwitchId,
        snat_zone: u32,
        state: &mut State,
        with: &mut With<'_, impl Observer>,
    ) -> bool {
        if !state.ct.is(CtView::TRK) {
            return false;
        }
        let remembered = self.remembered(switch, state);
        let natted = state.ct.mark & MARK_NATTED != 0;
        let hairpin = remembered.filter(|vip| natted && vip.turns_back(&state.packet));
        if let Some(vip) = hairpin {
            let source = vip.hairpin;
            set(state, HAIRPIN);
            if state.ct.is(CtView::NEW) {
                let commit = Commit {
                    nat: Some(Nat::Source(source)),
                    ..Commit::default()
                };
                let before = state.packet;
                let conntrack = &mut self.conntrack;
                conntrack.track(snat_zone, &mut state.packet, with.now);
                conntrack.commit(snat_zone, &mut state.packet, with.now, commit);
                state.forget_connection();
                with.observer.tracked(snat_zone, &before, state);
            } else {
                track(&mut self.conntrack, snat_zone, state, with);
            }
            return true;
        }
        let balancers = self.northbound.switch(switch);
        let balancers = balancers.map_or(&[][..], |switch| &switch.load_balancers);
        if self.balance.answers_itself(balancers, &state.packet) {
            let mut packet = state.packet;
            let view = self.conntrack.track(snat_zone, &mut packet, with.now);
            if view.is(CtView::RPL) {
                set(state, HAIRPIN_REPLY);
                let before = std::mem::replace(&mut state.packet, packet);
                state.ct = view;
                with.observer.tracked(snat_zone, &before, state);
                return true;
            }
        }
        false
    }

    /// A router, from in to out, after `lr_in_ip_input`.
    fn route(
        &mut self,
        zone: usize,
        number: usize,
        inport: usize,
        packet: Packet,
        with: &mut With<'_, impl Observer>,
    ) -> ControlFlow<Outcome, Next> {
        let mut state = State::new(packet, Lport::NONE);
        state.now = with.now;
        let balanced = self.balance_in_router(zone, number, inport, &mut state, with)?;

        let router = &self.routers.list[number];
        let (Some(hop), Some((_, to))) = (router.route(inport, &state.packet), state.packet.ip)
        else {
            return Break(lost(zone, Lost::NoRoute));
        };
        let Some(out) = hop.port.and_then(|port| router.ports.get(port)) else {
            return Break(lost(zone, Lost::NoRoute));
        };
        if router.owns(to) {
            return Break(lost(zone, Lost::OwnAddress));
        }
        let nexthop = hop.gateway.unwrap_or(to);
        let neighbour = self.routers.resolve(&self.northbound, out.peer, nexthop);
        state.packet.ttl = state.packet.ttl.saturating_sub(1);
        state.packet.eth_src = out.mac;
        state.packet.eth_dst = neighbour.unwrap_or_default();
        with.observer
            .routed(zone, router.uuid, out.uuid, &state.packet);

        let (out_number, source) = (hop.port.unwrap_or_default(), out.first(nexthop.is_ipv4()));
        self.source_back(number, source, balanced, &mut state, with);
        match self.behind(zone, number, out_number, state.packet) {
            Some(next) => Continue(next),
            None => Break(lost(zone, Lost::NoRoute)),
        }
    }

    /// `lr_in_unsnat`, `lr_in_defrag` and `lr_in_dnat`: a router's load balancers. Whether the packet went through conntrack for them.
    fn balance_in_router(
        &mut self,
        zone: usize,
        number: usize,
        inport: usize,
        state: &mut State,
        with: &mut With<'_, impl Observer>,
    ) -> ControlFlow<Outcome, bool> {
        let router = &self.routers.list[number];
        let (dnat, snat) = router.zones;
        let own = |to: IpAddr| router.ports[inport].first(to.is_ipv4()) == Some(to);
        if router.forces_snat && state.packet.ip.is_some_and(|(_, to)| own(to)) {
            track(&mut self.conntrack, snat, state, with);
        }
        let Some((_, to)) = state.packet.ip else {
            return Continue(false);
        };
        if !self.balance.has_address(&router.balancers, to) {
            return Continue(false);
        }
        track(&mut self.conntrack, dnat, state, with);
        if state.ct.is(CtView::NEW) && !state.ct.is(CtView::REL) {
            let found = self.balance.find(&router.balancers, &state.packet);
            if let Some((vip, row)) = found.and_then(|vip| Some((vip, self.balance.vip(vip)?))) {
                let more = match (row.skips_snat, router.forces_snat) {
                    (true, _) => MARK_SKIP_SNAT,
                    (false, true) => MARK_FORCE_SNAT,
                    (false, false) => 0,
                };
                self.translate(zone, vip, dnat, MARK_NATTED | more, state, with)?;
            }
        }
        if !state.ct.is(CtView::RPL) && state.ct.mark & MARK_NATTED != 0 {
            for (mark, flag) in [(MARK_FORCE_SNAT, FORCE_SNAT), (MARK_SKIP_SNAT, SKIP_SNAT)] {
                if state.ct.mark & mark != 0 {
                    state.flags |= flag;
                }
            }
        }
        Continue(true)
    }

    /// `lr_out_undnat` and `lr_out_snat` of a router with load balancers. Asked a second time in the same zone, conntrack says the same again.
    fn source_back(
        &mut self,
        number: usize,
        source: Option<IpAddr>,
        balanced: bool,
        state: &mut State,
        with: &mut With<'_, impl Observer>,
    ) {
        let router = &self.routers.list[number];
        let (dnat, snat) = router.zones;
        if router.gateway && !router.balancers.is_empty() && !balanced {
            track(&mut self.conntrack, dnat, state, with);
            if state.ct.is(CtView::NEW) {
                self.conntrack
                    .commit(dnat, &mut state.packet, with.now, Commit::default());
            }
        }
        if let (true, Some(source)) = (state.flags & FORCE_SNAT != 0, source) {
            track(&mut self.conntrack, snat, state, with);
            if state.ct.is(CtView::NEW) {
                let commit = Commit {
                    nat: Some(Nat::Source(source)),
                    ..Commit::default()
                };
                let before = state.packet;
                state.ct = self
                    .conntrack
                    .commit(snat, &mut state.packet, with.now, commit);
                with.observer.tracked(snat, &before, state);
            }
        }
    }

    /// The virtual address that a packet to a switch goes to.
    fn vip(&self, switch: SwitchId, packet: &Packet) -> Option<&Virtual> {
        let switch = self.northbound.switch(switch)?;
        let number = self.balance.find(&switch.load_balancers, packet)?;
        self.balance.vip(number)
    }

    /// The virtual address in the registers, to which the packet went before its translation.
    fn remembered(&self, switch: SwitchId, state: &State) -> Option<&Virtual> {
        let mut packet = state.packet;
        let (from, to) = packet.ip?;
        let ip = match to {
            IpAddr::V4(_) => IpAddr::V4(state.reg(4).into()),
            IpAddr::V6(_) => IpAddr::V6(state.xxreg1.into()),
        };
        packet.ip = Some((from, ip));
        let port = state.reg(2) as u16;
        match &mut packet.l4 {
            L4::Tcp { dst, .. } | L4::Udp { dst, .. } | L4::Sctp { dst, .. } => *dst = port,
            _ => {}
        }
        self.vip(switch, &packet)
    }
}

impl Router {
    /// `lr_in_ip_input`: what a router takes, and its answer to an echo request in the request's place.
    fn admit(
        &self,
        zone: usize,
        packet: Packet,
        balance: &Balance,
    ) -> ControlFlow<Outcome, Packet> {
        let odd = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_multicast() || v4.octets()[0] == 0,
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_multicast(),
        };
        let forged = |from: IpAddr| match from {
            IpAddr::V4(v4) => v4.is_broadcast() || self.owns(from) || self.broadcasts(v4),
            IpAddr::V6(_) => false,
        };
        let to = match packet.ip {
            Some((from, to)) if !(odd(from) || odd(to) || forged(from)) => to,
            _ => return Break(lost(zone, Lost::NotAdmitted)),
        };
        if self.owns(to) {
            if let Some(echo) = echo(&packet) {
                return Continue(echo);
            }
            if !self.gateway {
                let code = if to.is_ipv4() { 2 } else { 3 };
                let whole = Some(packet).filter(|packet| !packet.is_later_fragment());
                return Break(Outcome::Rejected {
                    zone,
                    at: None,
                    answer: whole.and_then(|packet| packet.refusal(code)),
                });
            }
            if !self.forces_snat && !balance.has_address(&self.balancers, to) {
                return Break(lost(zone, Lost::OwnAddress));
            }
        }
        match packet.ttl {
            0 | 1 => Break(lost(zone, Lost::Ttl)),
            _ => Continue(packet),
        }
    }
}

/// A switch that a packet is in.
#[derive(Clone, Copy)]
struct Here {
    zone: usize,
    switch: SwitchId,
}

fn lost(zone: usize, reason: Lost) -> Outcome {
    Outcome::Lost { zone, reason }
}

fn track(
    conntrack: &mut Conntrack,
    zone: u32,
    state: &mut State,
    with: &mut With<'_, impl Observer>,
) {
    let before = state.packet;
    state.ct = conntrack.track(zone, &mut state.packet, with.now);
    with.observer.tracked(zone, &before, state);
}

fn set(state: &mut State, bit: u32) {
    state.set_reg(0, state.reg(0) | bit);
}

/// Keeps the virtual address that a packet goes to, in the registers that hairpinning looks into (`REG_LB_IPV4`, `REG_LB_IPV6`,
/// `REG_LB_PORT`).
fn remember(state: &mut State, ip: IpAddr, port: Option<u16>) {
    match ip {
        IpAddr::V4(v4) => state.set_reg(4, v4.into()),
        IpAddr::V6(v6) => state.xxreg1 = v6.into(),
    }
    if let Some(port) = port {
        state.set_reg(2, state.reg(2) & 0xffff_0000 | u32::from(port));
    }
}

/// Whether load balancing may be about this packet (`build_pre_lb`).
fn is_balanced(state: &State) -> bool {
    let packet = &state.packet;
    packet.ip.is_some()
        && state.reg(0) & STATELESS == 0
        && !is_group(packet.eth_dst)
        && !is_discovery(packet)
}

/// `nd || nd_rs || nd_ra || mldv1 || mldv2`.
fn is_discovery(packet: &Packet) -> bool {
    let v6 = packet.ip.is_some_and(|(_, to)| to.is_ipv6());
    match packet.l4 {
        L4::Icmp { kind, code, .. } if v6 => match kind {
            133..=136 => code == 0 && packet.ttl == 255,
            130..=132 | 143 => packet.ttl == 1,
            _ => false,
        },
        _ => false,
    }
}

fn is_group(mac: Mac) -> bool {
    mac[0] & 1 != 0
}

/// A router's answer to an echo request to its own address.
fn echo(packet: &Packet) -> Option<Packet> {
    let (from, to) = packet.ip?;
    let mut answer = *packet;
    answer.ip = Some((to, from));
    answer.ttl = 255;
    let L4::Icmp { kind, code: 0, .. } = &mut answer.l4 else {
        return None;
    };
    *kind = match (*kind, to) {
        (8, IpAddr::V4(_)) => 0,
        (128, IpAddr::V6(_)) => 129,
        _ => return None,
    };
    Some(answer)
}

/// The table in which a block decides.
fn last_stage(block: Block) -> Stage {
    match block {
        Block::InPreAcl => Stage::InPreAcl,
        Block::InAcl => Stage::InAclAction,
        Block::InAclAfterLb => Stage::InAclAfterLbAction,
        Block::InStateful => Stage::InStateful,
        Block::OutPreAcl => Stage::OutPreAcl,
        Block::OutAcl => Stage::OutAclAction,
        Block::OutStateful => Stage::OutStateful,
    }
}

fn switch_name(northbound: &Northbound, port: Lport) -> &str {
    let switch = northbound.port(port).and_then(|port| port.switch);
    let switch = switch.and_then(|switch| northbound.switch(switch));
    switch.map_or("", |switch| &switch.name)
}

#[cfg(test)]
mod tests;
