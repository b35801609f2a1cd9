//! Step by step: each table with its flow, and what the flow changed.

use std::sync::Arc;

use netverdict_pipeline::journey::Twin;
use netverdict_pipeline::{CtView, Lport, Northbound, Packet, State};
use serde::Serialize;
use uuid::Uuid;

use super::trace::{Event, Stepped, Trace};
use super::{Atlas, packet};

/// One step of a packet.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Pace {
    /// It comes into a switch.
    Enter {
        /// The zone.
        zone: Arc<str>,
        /// The logical switch.
        switch: Arc<str>,
        /// The logical port.
        port: Arc<str>,
        /// The packet.
        packet: String,
    },
    /// The egress pipeline begins.
    Leave {
        /// The zone.
        zone: Arc<str>,
        /// The logical switch.
        switch: Arc<str>,
        /// The logical port.
        port: Arc<str>,
    },
    /// A load balancer chooses a backend.
    Balance {
        /// The Load_Balancer row.
        balancer: String,
        /// The packet with its new destination.
        packet: String,
    },
    /// A flow matches.
    Table {
        /// The stage: `ls_in_acl_eval`.
        table: &'static str,
        /// The flow's priority.
        priority: u16,
        /// Its match.
        #[serde(rename = "match")]
        matches: Arc<str>,
        /// Its actions.
        actions: Arc<str>,
        /// The ACL that the flow stands for.
        #[serde(skip_serializing_if = "Option::is_none")]
        acl: Option<Acl>,
        /// What the actions changed.
        changes: Vec<Change>,
        /// The zone of conntrack; none if the port has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        ct_zone: Option<u32>,
        /// What conntrack knows before the flow.
        ct: String,
    },
    /// A router sends the packet on.
    Route {
        /// Its name.
        router: String,
        /// The port that the packet leaves by.
        port: String,
    },
    /// Conntrack is asked.
    Track {
        /// Its zone.
        ct_zone: u32,
        /// What it knows.
        ct: String,
        /// The packet after it.
        packet: String,
    },
    /// The connection is committed.
    Commit {
        /// The zone of conntrack.
        ct_zone: u32,
        /// Its mark.
        mark: u32,
        /// Its label, in hexadecimal.
        label: String,
    },
    /// A sample is taken.
    Sample {
        /// Which application's: `acl-new`, `acl-est`.
        app: &'static str,
        /// The observation point.
        point: u32,
        /// `Flow_Sample_Collector_Set.id`.
        set: u32,
        /// Share of packets, 65535 being all.
        probability: u16,
    },
}

/// An ACL behind a flow.
#[derive(Clone, Debug, Serialize)]
pub struct Acl {
    /// Its row.
    pub uuid: Uuid,
    /// What it does: `drop`.
    pub action: &'static str,
    /// One sentence for people.
    pub message: String,
}

/// A field that an action changed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Change {
    /// `reg8[17]`, `ct_state`.
    pub field: String,
    /// What it is for, where that is known: `verdict drop`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub meaning: &'static str,
    /// Its value before.
    pub before: String,
    /// Its value after.
    pub after: String,
}

pub(super) fn read<S>(twin: &Twin<S>, atlas: &Atlas, sent: &Packet, trace: &Trace) -> Vec<Pace> {
    let mut zone = 0;
    let mut current = *sent;
    let mut paces = Vec::new();
    let northbound = |zone: usize| twin.zones().get(zone).map(|zone| &*zone.northbound);
    let port = |zone: usize, port: Lport| -> Arc<str> {
        let known = northbound(zone).and_then(|northbound| northbound.port(port));
        known.map_or_else(|| "".into(), |port| port.name.clone())
    };
    let switch = |zone: usize, switch| -> Arc<str> {
        let known = northbound(zone).and_then(|northbound| northbound.switch(switch));
        known.map_or_else(|| "".into(), |switch| switch.name.clone())
    };
    for event in &trace.events {
        paces.push(match event {
            Event::Enter {
                zone: into,
                switch: of,
                inport,
            } => {
                zone = *into;
                Pace::Enter {
                    zone: atlas.zone(zone),
                    switch: switch(zone, *of),
                    port: port(zone, *inport),
                    packet: packet::tell(&current),
                }
            }
            Event::Leave {
                zone: of_zone,
                switch: of,
                outport,
            } => {
                zone = *of_zone;
                Pace::Leave {
                    zone: atlas.zone(zone),
                    switch: switch(zone, *of),
                    port: port(zone, *outport),
                }
            }
            Event::Balanced { balancer, packet } => {
                current = *packet;
                let row = northbound(zone).and_then(|zone| zone.load_balancers.get(balancer));
                Pace::Balance {
                    balancer: row.map_or_else(
                        || balancer.to_string(),
                        |balancer| balancer.row.name.clone(),
                    ),
                    packet: packet::tell(packet),
                }
            }
            Event::Routed { router, port, .. } => {
                let rows = northbound(zone);
                let router_row = rows.and_then(|rows| rows.routers.get(router));
                let port_row = rows.and_then(|rows| rows.router_ports.get(port));
                Pace::Route {
                    router: router_row.map_or_else(|| router.to_string(), |row| row.name.clone()),
                    port: port_row.map_or_else(|| port.to_string(), |row| row.name.clone()),
                }
            }
            Event::Tracked { ct_zone, after } => {
                current = after.packet;
                Pace::Track {
                    ct_zone: *ct_zone,
                    ct: conntrack(after.ct),
                    packet: packet::tell(&current),
                }
            }
            Event::Step(step) => {
                current = step.after.packet;
                table(northbound(zone), step)
            }
            Event::Commit { state, .. } => Pace::Commit {
                ct_zone: state.ct_zone,
                mark: state.ct.mark,
                label: format!("{:#x}", state.ct.label),
            },
            Event::Sample { sample, .. } => Pace::Sample {
                app: sample.app.as_str(),
                point: sample.point,
                set: sample.set_id,
                probability: sample.probability,
            },
            // Its flow tells the same.
            Event::Matched { .. } => continue,
        });
    }
    paces
}

fn table(northbound: Option<&Northbound>, step: &Stepped) -> Pace {
    let acl = step.flow.acl.and_then(|uuid| {
        let acl = &northbound?.acls.get(&uuid)?.acl;
        Some(Acl {
            uuid,
            action: acl.action.as_str(),
            message: acl.sentence(),
        })
    });
    Pace::Table {
        table: step.at.stage.name(),
        priority: step.flow.priority,
        matches: step.flow.matches.clone(),
        actions: step.flow.actions.clone(),
        acl,
        changes: changes(&step.before, &step.after),
        ct_zone: (step.before.ct_zone != 0).then_some(step.before.ct_zone),
        ct: conntrack(step.before.ct),
    }
}

/// What conntrack knows of a packet: `new trk`, `est rpl trk mark=0x1 label=0x2a`.
fn conntrack(ct: CtView) -> String {
    const BITS: [(u32, &str); 8] = [
        (CtView::NEW, "new"),
        (CtView::EST, "est"),
        (CtView::REL, "rel"),
        (CtView::RPL, "rpl"),
        (CtView::INV, "inv"),
        (CtView::SNAT, "snat"),
        (CtView::DNAT, "dnat"),
        (CtView::TRK, "trk"),
    ];
    let set = BITS.into_iter().filter(|(bit, _)| ct.is(*bit));
    let mut words: Vec<String> = set.map(|(_, word)| word.to_owned()).collect();
    if words.is_empty() {
        words.push("untracked".to_owned());
    }
    if ct.mark != 0 {
        words.push(format!("mark={:#x}", ct.mark));
    }
    if ct.label != 0 {
        words.push(format!("label={:#x}", ct.label));
    }
    words.join(" ")
}

/// Parts of registers with a meaning of their own: register, lowest bit, width (OVN northd.c and lib/logical-fields.c of 25.03).
const PARTS: &[(u32, u32, u32, &str)] = &[
    (0, 0, 1, "track"),
    (0, 1, 1, "commit"),
    (0, 2, 1, "translate"),
    (0, 7, 1, "hint allow new"),
    (0, 8, 1, "hint allow"),
    (0, 9, 1, "hint drop"),
    (0, 10, 1, "hint block"),
    (0, 13, 1, "commit what observes"),
    (0, 16, 1, "stateless"),
    (0, 17, 1, "hint allow related"),
    (0, 20, 1, "commit as persistent"),
    (0, 21, 1, "hint allow persisted"),
    (3, 0, 32, "observation point, new"),
    (8, 0, 8, "collector, new"),
    (8, 8, 8, "collector, established"),
    (8, 16, 1, "verdict allow"),
    (8, 17, 1, "verdict drop"),
    (8, 18, 1, "verdict reject"),
    (8, 19, 2, "observed stage"),
    (8, 30, 2, "tier"),
    (9, 0, 32, "observation point, established"),
];

fn changes(before: &State, after: &State) -> Vec<Change> {
    let mut changes = Vec::new();
    for register in 0..10 {
        let (old, new) = (before.reg(register), after.reg(register));
        let mut seen = 0;
        for (of, low, width, meaning) in PARTS {
            if *of != register {
                continue;
            }
            let mask = u32::MAX >> (32 - width);
            seen |= mask << low;
            let (a, b) = ((old >> low) & mask, (new >> low) & mask);
            if a != b {
                changes.push(Change {
                    field: match width {
                        32 => format!("reg{register}"),
                        1 => format!("reg{register}[{low}]"),
                        _ => format!("reg{register}[{low}..{}]", low + width - 1),
                    },
                    meaning,
                    before: a.to_string(),
                    after: b.to_string(),
                });
            }
        }
        if old & !seen != new & !seen {
            changes.push(plain(format!("reg{register}"), old.into(), new.into()));
        }
    }
    if before.flags != after.flags {
        changes.push(plain(
            "flags".to_owned(),
            before.flags.into(),
            after.flags.into(),
        ));
    }
    let mut text = |field: &str, before: String, after: String| {
        if before != after {
            changes.push(Change {
                field: field.to_owned(),
                meaning: "",
                before,
                after,
            });
        }
    };
    text("ct", conntrack(before.ct), conntrack(after.ct));
    text(
        "packet",
        packet::tell(&before.packet),
        packet::tell(&after.packet),
    );
    changes
}

fn plain(field: String, before: u128, after: u128) -> Change {
    Change {
        field,
        meaning: "",
        before: format!("{before:#x}"),
        after: format!("{after:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_have_their_meaning() {
        let before = State::new(Packet::default(), Lport::NONE);
        let mut after = before;
        after.set_reg(8, 1 << 17 | 1 << 30);
        after.set_reg(3, 42);
        after.set_reg(5, 7);
        after.ct.state = CtView::NEW | CtView::TRK;
        let told: Vec<String> = changes(&before, &after)
            .into_iter()
            .map(|change| {
                let Change {
                    field,
                    meaning,
                    before,
                    after,
                } = change;
                format!("{field} ({meaning}) {before} -> {after}")
            })
            .collect();
        assert_eq!(
            told,
            [
                "reg3 (observation point, new) 0 -> 42",
                "reg5 () 0x0 -> 0x7",
                "reg8[17] (verdict drop) 0 -> 1",
                "reg8[30..31] (tier) 0 -> 1",
                "ct () untracked -> new trk",
            ]
        );
    }
}
