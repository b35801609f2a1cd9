//! One packet's way: where it was judged, and by whom.

use std::cmp::Reverse;
use std::sync::Arc;

use hashbrown::HashMap;
use netverdict_ovn::expr;
use netverdict_pipeline::journey::{Lost, Outcome, Twin};
use netverdict_pipeline::{AclRow, CtView, Lport, Northbound, Packet, Stage, SwitchId};
use netverdict_types::{Action, Owner, Pipeline};
use serde::Serialize;
use uuid::Uuid;

use super::pace::{self, Pace};
use super::trace::{Event, Stepped, Trace};
use super::{Answer, Atlas, Source, Texts, packet};
use crate::reach::{Guard, guard};

/// One packet's way.
#[derive(Clone, Debug, Serialize)]
pub struct Way {
    /// The packet, as it was sent.
    pub packet: String,
    /// What became of it.
    pub verdict: Answer,
    /// The same as a sentence.
    pub message: String,
    /// Where ACLs were asked, in order.
    pub stations: Vec<Station>,
    /// Every table, in order.
    pub walk: Vec<Pace>,
}

/// A place where ACLs are asked.
#[derive(Clone, Debug, Serialize)]
pub struct Station {
    /// The zone.
    pub zone: Arc<str>,
    /// The node that the switch is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Arc<str>>,
    /// The logical switch.
    pub switch: Arc<str>,
    /// Which of its pipelines.
    pub pipeline: Pipeline,
    /// The logical port that the packet came or goes by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Arc<str>>,
    /// Who is behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party: Option<String>,
    /// The tiers that have ACLs here and were asked.
    pub tiers: Vec<Tier>,
    /// ACLs that could have been asked here before the one that decided, had OVN not refused their match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
    /// By what the packet passed or ended.
    pub by: Passing,
    /// The same as a sentence.
    pub message: String,
}

/// One tier at a station.
#[derive(Clone, Debug, Serialize)]
pub struct Tier {
    /// 0..3.
    pub tier: u8,
    /// How many ACLs it has here.
    pub acls: usize,
    /// The ACL that matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ruling: Option<Ruling>,
}

/// An ACL that matched.
#[derive(Clone, Debug, Serialize)]
pub struct Ruling {
    /// Its row.
    pub acl: Uuid,
    /// What ovn-kubernetes knows it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Box<str>>,
    /// What it does.
    pub action: Action,
    /// Its priority.
    pub priority: u16,
    /// Its match.
    #[serde(rename = "match")]
    pub matches: String,
    /// Whose it is.
    pub owner: Owner,
    /// One sentence for people.
    pub message: String,
    /// Where it is written, the most telling place first.
    pub sources: Vec<Source>,
}

/// An ACL whose match OVN refuses: it logs that, and goes on without the ACL.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    /// The ACL.
    pub ruling: Ruling,
    /// Why, as OVN says it.
    pub error: String,
}

/// By what a packet passes a station, or ends there.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Passing {
    /// An ACL decides.
    Acl,
    /// It is the answer of a connection that was let through: no ACL is asked.
    Reply,
    /// It is about a connection that was let through, as an ICMP error.
    Related,
    /// Connection tracking takes it for invalid, or its connection was cut off.
    Invalid,
    /// Its connection was let through for good (`persist-established`).
    Persistent,
    /// Neighbour discovery and the like, which no ACL can forbid.
    Neighbour,
    /// No ACL matched: OVN lets it through.
    NoAcl,
    /// No ACL matched, and `default_acl_drop` is set.
    DefaultDrop,
}

impl Way {
    /// Of a packet that somebody sends to their own address: OVN never sees it.
    pub(super) fn within(packet: &Packet) -> Self {
        Self {
            packet: packet::tell(packet),
            verdict: Answer::Allowed,
            message: "never leaves its sender, whose own address it is for".to_owned(),
            stations: Vec::new(),
            walk: Vec::new(),
        }
    }

    /// The ACL that let the packet end, if one did.
    pub fn decided_by(&self) -> Option<&Ruling> {
        if self.verdict == Answer::Allowed {
            return None;
        }
        let last = self.stations.last()?;
        let ruling = last.tiers.last()?.ruling.as_ref()?;
        matches!(ruling.action, Action::Drop | Action::Reject).then_some(ruling)
    }

    /// ACLs that OVN refused, of all stations.
    pub(super) fn refused(&self) -> impl Iterator<Item = &Refused> {
        self.stations.iter().flat_map(|station| &station.refused)
    }

    /// True if connection tracking knows the packet wherever ACLs are asked.
    pub(super) fn is_all_by(&self, by: Passing) -> bool {
        !self.stations.is_empty() && self.stations.iter().all(|station| station.by == by)
    }
}

/// Reads what was seen of a packet.
pub(super) fn read<S>(
    twin: &Twin<S>,
    atlas: &Atlas,
    texts: &dyn Texts,
    sent: &Packet,
    trace: &Trace,
    outcome: &Outcome,
) -> Way {
    let mut reading = Reading {
        twin,
        atlas,
        texts,
        stations: Vec::new(),
        visit: 0,
        zone: 0,
        inport: Lport::NONE,
        outport: Lport::NONE,
    };
    for event in &trace.events {
        reading.take(event);
    }
    reading.end(outcome);
    let stations = reading.stations.into_iter().map(|(_, station)| station);
    Way {
        packet: packet::tell(sent),
        verdict: Answer::of(outcome),
        message: ended(atlas, outcome),
        stations: stations.collect(),
        walk: pace::read(twin, atlas, sent, trace),
    }
}

/// Where a station is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Key {
    zone: usize,
    switch: SwitchId,
    pipeline: Pipeline,
    port: Lport,
}

struct Reading<'a, S> {
    twin: &'a Twin<S>,
    atlas: &'a Atlas,
    texts: &'a dyn Texts,
    stations: Vec<(Key, Station)>,
    /// The first station of the switch that the packet is in.
    visit: usize,
    zone: usize,
    inport: Lport,
    outport: Lport,
}

impl<S> Reading<'_, S> {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Enter {
                zone,
                switch,
                inport,
            } => {
                self.visit = self.stations.len();
                self.zone = *zone;
                self.inport = *inport;
                self.outport = Lport::NONE;
                self.station(*switch, Pipeline::FromLport);
            }
            Event::Leave {
                zone,
                switch,
                outport,
            } => {
                self.zone = *zone;
                self.outport = *outport;
                self.station(*switch, Pipeline::ToLport);
            }
            Event::Matched { at, acl } => self.ruling(at.switch, at.stage, *acl),
            Event::Step(step) => match step.flow.acl {
                Some(acl) => self.ruling(step.at.switch, step.at.stage, acl),
                None => self.fixed(step),
            },
            _ => {}
        }
    }

    fn northbound(&self) -> Option<&Northbound> {
        self.twin
            .zones()
            .get(self.zone)
            .map(|zone| &*zone.northbound)
    }

    /// The station where a pipeline of the switch asks ACLs, if it has any.
    fn station(&mut self, switch: SwitchId, pipeline: Pipeline) -> Option<&mut Station> {
        let lport = match pipeline {
            Pipeline::ToLport => self.outport,
            _ => self.inport,
        };
        let key = Key {
            zone: self.zone,
            switch,
            pipeline,
            port: lport,
        };
        let known = self.stations.get(self.visit..)?;
        if let Some(at) = known.iter().position(|(of, _)| *of == key) {
            let (_, station) = self.stations.get_mut(self.visit + at)?;
            return Some(station);
        }
        let northbound = self.northbound()?;
        let row = northbound.switch(switch)?;
        let mut acls = [0_usize; 4];
        for (_, acl) in northbound.acls_of(row) {
            if acl.acl.pipeline == pipeline
                && let Some(count) = acls.get_mut(usize::from(acl.acl.tier))
            {
                *count += 1;
            }
        }
        let tiers: Vec<Tier> = (0..)
            .zip(acls)
            .filter(|(_, acls)| *acls > 0)
            .map(|(tier, acls)| Tier {
                tier,
                acls,
                ruling: None,
            })
            .collect();
        if tiers.is_empty() {
            return None;
        }
        let port = northbound.port(lport).filter(|port| !port.name.is_empty());
        let place = netverdict_pipeline::journey::Place {
            zone: self.zone,
            port: lport,
        };
        let station = Station {
            zone: self.atlas.zone(self.zone),
            node: self.atlas.node(self.zone, switch),
            switch: row.name.clone(),
            pipeline,
            port: port.map(|port| port.name.clone()),
            party: self.atlas.behind(place).map(super::Party::label),
            tiers,
            refused: Vec::new(),
            by: Passing::NoAcl,
            message: String::new(),
        };
        self.stations.push((key, station));
        self.stations.last_mut().map(|(_, station)| station)
    }

    fn ruling(&mut self, switch: SwitchId, stage: Stage, acl: Uuid) {
        let Some(pipeline) = asked_in(stage) else {
            return;
        };
        let Some(row) = self.northbound().and_then(|zone| zone.acls.get(&acl)) else {
            return;
        };
        let tier = row.acl.tier;
        let ruling = self.told(self.zone, acl, row);
        let decides = ruling.action != Action::Pass;
        if let Some(station) = self.station(switch, pipeline) {
            if decides {
                station.by = Passing::Acl;
            }
            if let Some(at) = station.tiers.iter_mut().find(|at| at.tier == tier) {
                at.ruling = Some(ruling);
            }
        }
    }

    fn told(&self, zone: usize, acl: Uuid, row: &AclRow) -> Ruling {
        Ruling {
            acl,
            id: row.id.clone(),
            action: row.acl.action,
            priority: row.acl.priority,
            matches: row.acl.matches.clone(),
            owner: row.acl.owner.clone(),
            message: match row.acl.owner.rule.index {
                Some(index) => format!("{}, rule {index}", row.acl.sentence()),
                None => row.acl.sentence(),
            },
            sources: self.texts.origins(zone, acl),
        }
    }

    /// The ACLs of a station whose match OVN refuses; those of other ports, and those behind the one that decided, left out.
    fn refused(&self, at: &Key, station: &Station) -> Vec<Refused> {
        let zone = self.twin.zones().get(at.zone);
        let Some(northbound) = zone.map(|zone| &*zone.northbound) else {
            return Vec::new();
        };
        let Some(switch) = northbound.switch(at.switch) else {
            return Vec::new();
        };
        let port = northbound.port(at.port).map(|port| port.uuid);
        let groups = northbound.groups.values();
        let groups: HashMap<&str, bool> = groups
            .map(|group| {
                let has_it = port.is_some_and(|port| group.ports.contains(&port));
                (group.name.as_str(), has_it)
            })
            .collect();
        let last = station.tiers.last();
        let decided = last.and_then(|tier| Some((tier.tier, tier.ruling.as_ref()?.priority)));
        let mut refused: Vec<(u8, Refused)> = Vec::new();
        for (uuid, row) in northbound.acls_of(switch) {
            let acl = &row.acl;
            let is_behind = decided.is_some_and(|(tier, priority)| {
                (tier, Reverse(priority)) < (acl.tier, Reverse(acl.priority))
            });
            if acl.pipeline != at.pipeline || is_behind {
                continue;
            }
            let is_ours = match (guard(&acl.matches), at.pipeline) {
                (Some(Guard::To(group)), Pipeline::ToLport)
                | (Some(Guard::From(group)), Pipeline::FromLport | Pipeline::FromLportAfterLb) => {
                    groups.get(group).copied().unwrap_or(true)
                }
                _ => true,
            };
            if !is_ours {
                continue;
            }
            if let Err(error) = expr::Match::parse(&acl.matches, northbound)
                && refused.iter().all(|(_, other)| other.ruling.acl != uuid)
            {
                let ruling = self.told(at.zone, uuid, row);
                let error = error.to_string();
                refused.push((acl.tier, Refused { ruling, error }));
            }
        }
        refused.sort_by_key(|(tier, one)| (*tier, Reverse(one.ruling.priority), one.ruling.acl));
        refused.into_iter().map(|(_, refused)| refused).collect()
    }

    /// A flow that every switch has: it decides where no ACL is asked.
    fn fixed(&mut self, step: &Stepped) {
        let is_eval = matches!(
            step.at.stage,
            Stage::InAclEval | Stage::InAclAfterLbEval | Stage::OutAclEval
        );
        let verdict = |state: &netverdict_pipeline::State| (state.reg(8) >> 16) & 0b111;
        if !is_eval || verdict(&step.after) == 0 {
            return;
        }
        let Some(pipeline) = asked_in(step.at.stage) else {
            return;
        };
        let ct = step.before.ct;
        let by = if verdict(&step.after) & 0b110 != 0 {
            Passing::Invalid
        } else if ct.is(CtView::RPL | CtView::EST) {
            Passing::Reply
        } else if ct.is(CtView::REL) {
            Passing::Related
        } else if is_neighbour(&step.before.packet) {
            Passing::Neighbour
        } else {
            Passing::Persistent
        };
        if let Some(station) = self.station(step.at.switch, pipeline) {
            station.by = by;
        }
    }

    /// Leaves out the tiers that were not reached, and says by what the last station ended.
    fn end(&mut self, outcome: &Outcome) {
        let dropped = match outcome {
            Outcome::Dropped { zone, at } => Some((*zone, at.switch, asked_in(at.stage))),
            _ => None,
        };
        let count = self.stations.len();
        let mut stations = std::mem::take(&mut self.stations);
        for (number, (at, station)) in stations.iter_mut().enumerate() {
            let decided = station.tiers.iter().position(|tier| {
                let ruling = tier.ruling.as_ref();
                ruling.is_some_and(|ruling| ruling.action != Action::Pass)
            });
            match (station.by, decided) {
                (Passing::Acl, Some(last)) => station.tiers.truncate(last + 1),
                (Passing::NoAcl, _) => {
                    let ends_here = dropped == Some((at.zone, at.switch, Some(at.pipeline)));
                    if ends_here && number + 1 == count {
                        station.by = Passing::DefaultDrop;
                    }
                }
                _ => station.tiers.clear(),
            }
            if matches!(
                station.by,
                Passing::Acl | Passing::NoAcl | Passing::DefaultDrop
            ) {
                station.refused = self.refused(at, station);
            }
            station.message = told(station);
        }
        self.stations = stations;
    }
}

fn told(station: &Station) -> String {
    match station.by {
        Passing::Acl => station
            .tiers
            .last()
            .and_then(|tier| tier.ruling.as_ref())
            .map_or_else(String::new, |ruling| ruling.message.clone()),
        Passing::Reply => {
            "Allowed as the answer of a connection that was let through; no ACL is asked".to_owned()
        }
        Passing::Related => {
            "Allowed as a message about a connection that was let through; no ACL is asked"
                .to_owned()
        }
        Passing::Invalid => {
            "Dropped by connection tracking: it belongs to no connection, or to one that was cut \
             off"
            .to_owned()
        }
        Passing::Persistent => {
            "Allowed because its connection was let through for good; no ACL is asked".to_owned()
        }
        Passing::Neighbour => "Allowed as all neighbour discovery is; no ACL is asked".to_owned(),
        Passing::NoAcl => "Allowed because no ACL matches".to_owned(),
        Passing::DefaultDrop => {
            "Dropped because no ACL matches and NB_Global has default_acl_drop".to_owned()
        }
    }
}

/// In which pipeline a stage asks ACLs.
fn asked_in(stage: Stage) -> Option<Pipeline> {
    Some(match stage {
        Stage::InAclHint | Stage::InAclEval | Stage::InAclSample | Stage::InAclAction => {
            Pipeline::FromLport
        }
        Stage::InAclAfterLbEval | Stage::InAclAfterLbSample | Stage::InAclAfterLbAction => {
            Pipeline::FromLportAfterLb
        }
        Stage::OutAclHint | Stage::OutAclEval | Stage::OutAclSample | Stage::OutAclAction => {
            Pipeline::ToLport
        }
        Stage::InPreAcl | Stage::InStateful | Stage::OutPreAcl | Stage::OutStateful => {
            return None;
        }
    })
}

/// Neighbour discovery and multicast listeners, as far as packets of an explanation go.
fn is_neighbour(packet: &Packet) -> bool {
    let kind = packet.number(expr::Field::Icmp6Type);
    packet.protocol == 58 && (130..=143).contains(&kind)
}

fn ended(atlas: &Atlas, outcome: &Outcome) -> String {
    let zone_of = |zone: &usize| atlas.zone(*zone);
    match outcome {
        Outcome::Delivered(place, packet) => match atlas.behind(*place) {
            Some(party) => format!("arrives at {} as {}", party.label(), packet::tell(packet)),
            None => format!("arrives as {}", packet::tell(packet)),
        },
        Outcome::Outside(place, packet) => format!(
            "leaves the cluster from zone {} as {}",
            zone_of(&place.zone),
            packet::tell(packet)
        ),
        Outcome::Dropped { zone, at } => format!(
            "is dropped in {} of zone {}",
            at.stage.name(),
            zone_of(zone)
        ),
        Outcome::Rejected { zone, at, answer } => {
            let by = match at {
                Some(at) => format!(
                    "is rejected in {} of zone {}",
                    at.stage.name(),
                    zone_of(zone)
                ),
                None => format!(
                    "is rejected by a load balancer or router of zone {}",
                    zone_of(zone)
                ),
            };
            match answer {
                Some(answer) => format!("{by}; the sender gets {}", packet::tell(answer)),
                None => by,
            }
        }
        Outcome::Lost { zone, reason } => {
            let zone = zone_of(zone);
            match reason {
                Lost::NoSwitch => {
                    format!("cannot be sent: the port is on no switch of zone {zone}")
                }
                Lost::UnknownDestination => {
                    format!("gets lost in zone {zone}: nobody there has the destination's address")
                }
                Lost::NoRoute => {
                    format!("gets lost in zone {zone}: its router has no route to the destination")
                }
                Lost::NoSuchZone => {
                    format!("leaves zone {zone} for another zone, whose rows were not given")
                }
                Lost::NoBackends => {
                    "is dropped by the load balancer, as the service has no ready endpoint"
                        .to_owned()
                }
                Lost::NotAdmitted => {
                    format!("gets lost in zone {zone}: a switch or router takes no such packets")
                }
                Lost::SamePort => {
                    format!("gets lost in zone {zone}: it would leave by the port that it came by")
                }
                Lost::OwnAddress => format!(
                    "ends in zone {zone} at a router's own address, at which nobody listens"
                ),
                Lost::Ttl => format!("gets lost in zone {zone}: its time to live is over"),
                Lost::Loop => format!("gets lost in zone {zone}: routers send it in circles"),
            }
        }
    }
}
