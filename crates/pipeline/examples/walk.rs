//! Walks packets through the ACL stages of one switch, as `ovn-trace` has it: JSON lines on standard input, an answer to each on standard
//! output. `lab/twin/trace.py` compares with what ovn-trace says.
//!
//! `{"rows": {"ACL": [{"_uuid": ["uuid", "…"], "match": "ip4", …}], …}}` sets the northbound rows, as OVSDB has them (RFC 7047); the answer is
//! `{"left out": ["…"]}`. `{"actions": ["…"]}` are texts to parse; the answer is a list of what they print as. `{"switch": "sw", "inport": "p1", "outport": "p2", "packet": {…}, "mark": 0, "label": "0", "states": [33, 34],
//! "balanced": […]}` is a question; the answer is
//! `{"verdict": ["dropped", "ls_in_acl_action"], "events": […], "steps": [["ls_in_acl_eval", 2001, ["ip4"], null], …], "ambiguous": false}`. `states` is
//! what conntrack says each time that it is asked; `balanced`, if there is one, is what the load balancer makes of the destination.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::net::{IpAddr, Ipv6Addr};

use netverdict_ovn::expr::{Compiled, Match};
use netverdict_ovsdb::{Datum, Row};
use netverdict_pipeline::actions;
use netverdict_pipeline::conntrack::Conntrack;
use netverdict_pipeline::flow::Release;
use netverdict_pipeline::walk::Walk;
use netverdict_pipeline::{
    At, Block, CtView, Fate, L4, Logged, Northbound, Observer, Packet, Sampled, Stages, State,
    Step, SwitchId, View,
};
use netverdict_types::Action;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Rows {
        rows: BTreeMap<String, Vec<BTreeMap<String, Value>>>,
    },
    Actions {
        actions: Vec<String>,
    },
    Question(Box<Question>),
}

#[derive(Deserialize)]
struct Question {
    switch: String,
    inport: String,
    outport: String,
    packet: Headers,
    mark: u32,
    label: String,
    states: Vec<u32>,
    balanced: Option<(IpAddr, u16)>,
}

#[derive(Deserialize)]
struct Headers {
    eth: (String, String),
    eth_type: u16,
    ip: Option<(IpAddr, IpAddr)>,
    #[serde(default)]
    protocol: u8,
    #[serde(default)]
    ttl: u8,
    /// Source and destination port, or type and code.
    #[serde(default)]
    l4: (u16, u16),
    #[serde(default)]
    tcp_flags: u16,
    #[serde(default)]
    fragment: u8,
    #[serde(default)]
    target: Option<Ipv6Addr>,
}

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let mut zone = Zone::new(Northbound::default())?;
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?)? {
            Line::Rows { rows } => {
                zone = Zone::new(northbound(&rows)?)?;
                let switches: Vec<SwitchId> =
                    zone.northbound.switches().map(|(id, _)| id).collect();
                let faults = switches.into_iter().flat_map(|id| zone.walk.faults(id));
                let left_out: BTreeSet<String> =
                    faults.map(|fault| fault.text().to_owned()).collect();
                json!({"left out": left_out})
            }
            Line::Actions { actions } => json!(
                actions
                    .iter()
                    .map(|text| match actions::parse(text) {
                        Ok(parsed) => actions::print(&parsed),
                        Err(error) => error.to_string(),
                    })
                    .collect::<Vec<_>>()
            ),
            Line::Question(question) => zone.answer(&question)?,
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

struct Zone {
    northbound: Northbound,
    walk: Walk,
    /// What load balancers keep away from conntrack (northd.c, `build_pre_lb`).
    untracked: Compiled,
}

impl Zone {
    fn new(northbound: Northbound) -> Result<Self, Failure> {
        let untracked = "eth.mcast || nd || nd_rs || nd_ra || mldv1 || mldv2 || reg0[16] == 1";
        Ok(Self {
            untracked: Match::parse(untracked, &northbound)?.compile(),
            walk: Walk::new(northbound.clone(), Release::R25_03).as_traced(),
            northbound,
        })
    }

    fn answer(&mut self, question: &Question) -> Result<Value, Failure> {
        let switch = self.northbound.switch_named(&question.switch);
        let switch = switch.ok_or("no such switch")?;
        let port = |name: &str| self.northbound.port_named(name).ok_or("no such port");
        let (inport, outport) = (port(&question.inport)?, port(&question.outport)?);
        let row = self.northbound.switch(switch).ok_or("no such switch")?;
        let has_vip = self.northbound.has_vip(row);
        let kind = |port| {
            let port = self.northbound.port(port);
            port.map_or("", |port| &port.kind)
        };
        let balances_in = has_vip && kind(inport) != "router";
        let balances_out = has_vip && kind(outport) != "router";
        let mut acls = self.northbound.acls_of(row);
        let is_stateful = acls.any(|(_, row)| row.acl.action == Action::AllowRelated);
        let clears =
            !is_stateful && (kind(outport) == "router" || kind(outport) == "localnet" && !has_vip);

        let mut state = State::new(question.packet.read()?, inport);
        state.ct.mark = question.mark;
        state.ct.label = u128::from_str_radix(&question.label, 16)?;
        let mut states = question.states.iter().copied();
        let mut seen = Seen::default();
        let mut unsure = false;

        let mut way = || {
            let mut conntrack = Conntrack::default();
            let mut run = |block, state: &mut State| match self.walk.run(
                switch,
                block,
                state,
                &mut conntrack,
                &mut seen,
            ) {
                Fate::Next => Ok(()),
                Fate::Drop => Err("dropped"),
                Fate::Reject => Err("rejected"),
            };
            let track = |state: &mut State, balances: bool, said: &mut dyn Iterator<Item = u32>| {
                let view = View {
                    state,
                    names: &self.northbound,
                };
                let balances =
                    balances && state.packet.ip.is_some() && !self.untracked.matches(&view);
                if balances {
                    state.ct.state |= said.next().unwrap_or(0);
                } else if state.reg(0) & 1 == 1 {
                    state.ct.state = said.next().unwrap_or(0);
                }
            };
            run(Block::InPreAcl, &mut state)?;
            track(&mut state, balances_in, &mut states);
            run(Block::InAcl, &mut state)?;
            if let (Some((address, port)), true) = (question.balanced, state.ct.is(CtView::NEW)) {
                state.packet.balance(address, port);
                state.ct.state |= CtView::DNAT | states.next().unwrap_or(0);
            }
            run(Block::InAclAfterLb, &mut state)?;
            run(Block::InStateful, &mut state)?;
            state.forget_registers();
            state.outport = outport;
            run(Block::OutPreAcl, &mut state)?;
            if clears && state.packet.ip.is_some() {
                // Two flows of one priority: `ct_clear; next;` for the port, `next;` for what must not be tracked.
                unsure = state.reg(0) >> 16 & 1 == 1;
                state.forget_connection();
            }
            track(&mut state, balances_out, &mut states);
            run(Block::OutAcl, &mut state)?;
            run(Block::OutStateful, &mut state)
        };
        let verdict = match way() {
            Ok(()) => json!(["delivered", ""]),
            Err(word) => json!([word, seen.last]),
        };
        Ok(json!({
            "verdict": verdict, "events": seen.events, "steps": seen.steps, "ambiguous": seen.ambiguous || unsure,
        }))
    }
}

trait Balance {
    fn balance(&mut self, address: IpAddr, port: u16);
}

impl Balance for Packet {
    fn balance(&mut self, address: IpAddr, port: u16) {
        self.ip = self.ip.map(|(source, _)| (source, address));
        if let L4::Tcp { dst, .. } | L4::Udp { dst, .. } | L4::Sctp { dst, .. } = &mut self.l4 {
            *dst = port;
        }
    }
}

impl Headers {
    fn read(&self) -> Result<Packet, Failure> {
        let (a, b) = self.l4;
        let l4 = match self.protocol {
            6 => L4::Tcp {
                src: a,
                dst: b,
                flags: self.tcp_flags,
            },
            17 => L4::Udp { src: a, dst: b },
            132 => L4::Sctp {
                src: a,
                dst: b,
                chunk: 1,
            },
            1 | 58 => L4::Icmp {
                kind: a.try_into()?,
                code: b.try_into()?,
                id: 0,
                target: self.target,
                link: None,
            },
            _ => L4::Other,
        };
        Ok(Packet {
            eth_src: mac(&self.eth.0)?,
            eth_dst: mac(&self.eth.1)?,
            eth_type: self.eth_type,
            ip: self.ip,
            protocol: self.protocol,
            ttl: self.ttl,
            fragment: self.fragment,
            l4,
            ..Packet::default()
        })
    }
}

fn mac(text: &str) -> Result<[u8; 6], Failure> {
    let mut bytes = [0; 6];
    for (byte, digits) in bytes.iter_mut().zip(text.split(':')) {
        *byte = u8::from_str_radix(digits, 16)?;
    }
    Ok(bytes)
}

fn northbound(
    tables: &BTreeMap<String, Vec<BTreeMap<String, Value>>>,
) -> Result<Northbound, Failure> {
    let mut rows = Vec::new();
    for (table, of_table) in tables {
        for row in of_table {
            let uuid = row.get("_uuid").and_then(|uuid| uuid.get(1)?.as_str());
            let uuid: Uuid = uuid.ok_or("a row without _uuid")?.parse()?;
            let mut columns = Vec::new();
            for (name, value) in row.iter().filter(|(name, _)| !name.starts_with('_')) {
                columns.push((name.as_str(), Datum::from_json(&value.to_string(), None)?));
            }
            rows.push(Row::new(table, uuid, columns));
        }
    }
    Ok(Northbound::new(&rows))
}

#[derive(Default)]
struct Seen {
    events: Vec<Value>,
    steps: Vec<Value>,
    ambiguous: bool,
    last: &'static str,
}

impl Observer for Seen {
    fn step(&mut self, step: &Step<'_>) {
        let flow = step.flow;
        self.last = step.at.stage.name();
        self.ambiguous |= step.also.iter().any(|also| also.actions != flow.actions);
        let also = step.also.iter().map(|also| &*also.matches);
        let matches: Vec<&str> = std::iter::once(&*flow.matches).chain(also).collect();
        self.steps.push(json!([
            self.last,
            flow.priority,
            matches,
            flow.acl,
            step.before.ct.state & 0x3f
        ]));
    }

    fn sample(&mut self, at: At, _: &Packet, sample: Sampled) {
        self.events.push(json!([
            at.stage.name(),
            "sample",
            sample.probability,
            sample.set_id,
            sample.app_id,
            sample.point
        ]));
    }

    fn log(&mut self, at: At, _: &Packet, log: Logged<'_>) {
        let verdict = log.action.as_str();
        self.events.push(json!([
            at.stage.name(),
            "log",
            log.name,
            verdict,
            log.severity
        ]));
    }

    fn commit(&mut self, at: At, state: &State) {
        let label = format!("{:x}", state.ct.label);
        self.events
            .push(json!([at.stage.name(), "commit", state.ct.mark, label]));
    }
}
