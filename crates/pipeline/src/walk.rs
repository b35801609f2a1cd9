//! Runs packets through the logical flows themselves: slow, and each step can be seen.

mod sieve;

use std::cell::OnceCell;
use std::sync::Arc;

use hashbrown::HashMap;
use netverdict_ovn::expr::{Compiled, Field, Match, MatchError};
use netverdict_types::App;

use crate::actions::{self, Action, ActionError, Assignment, Part, Pipeline, Source};
use crate::conntrack::{Commit, Conntrack, Nat};
use crate::flow::{self, LogicalFlow, Release};
use crate::northbound::Switch;
use crate::{
    At, Block, Fate, Local, Logged, Northbound, Observer, Sampled, Stage, Stages, State, Step,
    SwitchId, View,
};

use sieve::Sieve;

/// The [`Stages`] that read logical flows: what they mean is what OVN's own documents say (ovn-sb(5), Logical_Flow).
#[derive(Debug)]
pub struct Walk {
    northbound: Arc<Northbound>,
    release: Release,
    as_traced: bool,
    /// Of the switches that were asked for.
    switches: HashMap<SwitchId, Tables>,
}

/// A flow that is left out, as ovn-controller leaves out what it cannot parse.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FlowFault {
    /// Its match is none.
    #[error("the match `{}' of {}: {fault}", .flow.matches, .flow.stage.name())]
    Match {
        /// The flow.
        flow: LogicalFlow,
        /// What is wrong.
        fault: MatchError,
    },
    /// Its actions are none.
    #[error("the actions `{}' of {}: {fault}", .flow.actions, .flow.stage.name())]
    Actions {
        /// The flow.
        flow: LogicalFlow,
        /// What is wrong.
        fault: ActionError,
    },
}

impl FlowFault {
    /// The text that OVN does not take.
    pub fn text(&self) -> &str {
        match self {
            Self::Match { flow, .. } => &flow.matches,
            Self::Actions { flow, .. } => &flow.actions,
        }
    }
}

impl Walk {
    /// Through the flows that northd of that release would write.
    pub fn new(northbound: impl Into<Arc<Northbound>>, release: Release) -> Self {
        Self {
            northbound: northbound.into(),
            release,
            as_traced: false,
            switches: HashMap::new(),
        }
    }

    /// As `ovn-trace` has it, for which `ct_commit` is nothing, while Open vSwitch then takes the packet for untracked.
    #[must_use]
    pub fn as_traced(mut self) -> Self {
        self.as_traced = true;
        self
    }

    /// The flows of a switch that are left out.
    pub fn faults(&mut self, switch: SwitchId) -> Vec<FlowFault> {
        let northbound = self.northbound.clone();
        let Some(row) = northbound.switch(switch) else {
            return Vec::new();
        };
        let names = Names::new(&northbound, row);
        let entries = self.tables(switch).stages.iter().flatten();
        entries.filter_map(|entry| entry.fault(&names)).collect()
    }

    fn tables(&mut self, switch: SwitchId) -> &Tables {
        self.switches
            .entry(switch)
            .or_insert_with(|| Tables::new(&self.northbound, switch, self.release))
    }
}

/// How often a packet may enter tables of a block: more than there are tiers, and an end for flows that lead in circles.
const VISITS: usize = 64;

impl Stages for Walk {
    fn run(
        &mut self,
        switch: SwitchId,
        block: Block,
        state: &mut State,
        conntrack: &mut Conntrack,
        observer: &mut impl Observer,
    ) -> Fate {
        let northbound = self.northbound.clone();
        let Some(row) = northbound.switch(switch) else {
            return Fate::Drop;
        };
        let names = Names::new(&northbound, row);
        let (release, as_traced) = (self.release, self.as_traced);
        let tables = self.tables(switch);
        let stages = block.stages();
        let mut place = 0;
        for _ in 0..VISITS {
            let Some(stage) = stages.get(place) else {
                return Fate::Next;
            };
            let at = At {
                switch,
                stage: *stage,
            };
            let mut table = Table {
                names: &names,
                as_traced,
                at,
                state: &mut *state,
                conntrack: &mut *conntrack,
                observer: &mut *observer,
            };
            match table.step(tables.of(*stage)) {
                End::Next => place += 1,
                End::Goto(pipeline, number) => {
                    let is_target = |stage: &Stage| {
                        stage.is_ingress() == (pipeline == Pipeline::Ingress)
                            && release.table(*stage) == number
                    };
                    match stages.iter().position(is_target) {
                        Some(target) => place = target,
                        None => return Fate::Drop,
                    }
                }
                End::Drop => return Fate::Drop,
                End::Reject => return Fate::Reject,
            }
        }
        Fate::Drop
    }
}

/// The flows of a switch, by stage, the highest priority first.
#[derive(Debug)]
struct Tables {
    stages: [Vec<Entry>; Stage::ALL.len()],
}

impl Tables {
    fn new(northbound: &Northbound, switch: SwitchId, release: Release) -> Self {
        let mut stages: [Vec<Entry>; Stage::ALL.len()] = Default::default();
        for flow in flow::flows(northbound, switch, release) {
            if let Some(entries) = stages.get_mut(flow.stage as usize) {
                entries.push(Entry::new(flow));
            }
        }
        Self { stages }
    }

    fn of(&self, stage: Stage) -> &[Entry] {
        self.stages.get(stage as usize).map_or(&[], Vec::as_slice)
    }
}

/// A flow; its texts are parsed when they are first needed.
#[derive(Debug)]
struct Entry {
    flow: LogicalFlow,
    matches: OnceCell<Result<Compiled, MatchError>>,
    actions: OnceCell<Result<Box<[Action]>, ActionError>>,
}

impl Entry {
    fn new(flow: LogicalFlow) -> Self {
        Self {
            flow,
            matches: OnceCell::new(),
            actions: OnceCell::new(),
        }
    }

    fn matches(&self, names: &Names<'_>) -> &Result<Compiled, MatchError> {
        self.matches.get_or_init(|| {
            Match::parse(&self.flow.matches, names.local()).map(|found| found.compile())
        })
    }

    fn actions(&self) -> &Result<Box<[Action]>, ActionError> {
        self.actions
            .get_or_init(|| actions::parse(&self.flow.actions))
    }

    /// Its actions, if it matches, and the packet is one for them.
    fn hit(&self, view: &View<'_>, names: &Names<'_>) -> Option<&[Action]> {
        let is_new = self.matches.get().is_none();
        if is_new
            && names
                .sieve
                .rejects(&self.flow.matches, view.state, names.northbound)
        {
            return None;
        }
        let compiled = self.matches(names).as_ref().ok()?;
        if !compiled.matches(view) {
            return None;
        }
        let actions = self.actions().as_ref().ok()?;
        let is_ip = matches!(view.state.packet.eth_type, 0x0800 | 0x86dd);
        (is_ip || !actions.iter().any(Action::needs_ip)).then_some(actions)
    }

    fn fault(&self, names: &Names<'_>) -> Option<FlowFault> {
        let flow = self.flow.clone();
        match (self.matches(names), self.actions()) {
            (Err(fault), _) => Some(FlowFault::Match {
                flow,
                fault: fault.clone(),
            }),
            (_, Err(fault)) => Some(FlowFault::Actions {
                flow,
                fault: fault.clone(),
            }),
            (Ok(_), Ok(_)) => None,
        }
    }
}

/// The names of a switch, put together when the first match is parsed.
struct Names<'a> {
    northbound: &'a Northbound,
    switch: &'a Switch,
    local: OnceCell<Local<'a>>,
    sieve: Sieve<'a>,
}

impl<'a> Names<'a> {
    fn new(northbound: &'a Northbound, switch: &'a Switch) -> Self {
        Self {
            northbound,
            switch,
            local: OnceCell::new(),
            sieve: Sieve::default(),
        }
    }

    fn local(&self) -> &Local<'a> {
        self.local
            .get_or_init(|| self.northbound.local(self.switch))
    }
}

/// Where a packet goes from a table.
#[derive(Clone, Copy)]
enum End {
    Next,
    Goto(Pipeline, u8),
    Drop,
    Reject,
}

/// A table that a packet is in.
struct Table<'a, 'n, O> {
    names: &'a Names<'n>,
    as_traced: bool,
    at: At,
    state: &'a mut State,
    conntrack: &'a mut Conntrack,
    observer: &'a mut O,
}

impl<O: Observer> Table<'_, '_, O> {
    fn step(&mut self, entries: &[Entry]) -> End {
        let before = *self.state;
        let view = View {
            state: &before,
            names: self.names.northbound,
        };
        let hit = entries
            .iter()
            .enumerate()
            .find_map(|(place, entry)| Some((place, entry, entry.hit(&view, self.names)?)));
        // OVN has it so: a packet that no flow of a table matches ends there.
        let Some((place, entry, actions)) = hit else {
            return End::Drop;
        };
        let flow = &entry.flow;
        let also: Vec<&LogicalFlow> = entries
            .iter()
            .skip(place + 1)
            .take_while(|other| other.flow.priority == flow.priority)
            .filter(|other| other.hit(&view, self.names).is_some())
            .map(|other| &other.flow)
            .collect();
        if let (true, Some(acl)) = (is_eval(self.at.stage), flow.acl) {
            self.observer.matched(self.at, &before, acl);
        }
        let mut end = End::Drop;
        for action in actions {
            self.act(action, flow, &mut end);
        }
        let fate = match end {
            End::Next | End::Goto(..) => Fate::Next,
            End::Drop => Fate::Drop,
            End::Reject => Fate::Reject,
        };
        self.observer.step(&Step {
            at: self.at,
            flow,
            also: &also,
            before: &before,
            after: self.state,
            fate,
        });
        end
    }

    fn act(&mut self, action: &Action, flow: &LogicalFlow, end: &mut End) {
        match action {
            Action::Next => *end = End::Next,
            Action::Goto(pipeline, table) => *end = End::Goto(*pipeline, *table),
            Action::Reject(_) => *end = End::Reject,
            Action::Set(Assignment { to, from }) => {
                let value = read(self.state, from);
                write(self.state, to, value);
            }
            Action::Commit(assignments) => self.commit(assignments),
            Action::CommitNat => {
                *end = End::Next;
                self.observer.commit(self.at, self.state);
                let state = &mut *self.state;
                let view = self.conntrack.commit(
                    state.ct_zone,
                    &mut state.packet,
                    state.now,
                    Commit::default(),
                );
                if !self.as_traced {
                    self.state.ct = view;
                }
            }
            Action::Clear => self.state.forget_connection(),
            Action::Log(log) => {
                let log = Logged {
                    name: log.name.as_deref(),
                    action: log.verdict,
                    severity: &log.severity,
                    meter: log.meter.as_deref(),
                };
                self.observer.log(self.at, &self.state.packet, log);
            }
            Action::Sample(sample) => {
                let sampled = Sampled {
                    probability: sample.probability,
                    set_id: sample.set,
                    app: app(self.names.northbound, sample, flow),
                    app_id: sample.domain,
                    point: read(self.state, &sample.point) as u32,
                };
                self.observer.sample(self.at, &self.state.packet, sampled);
            }
            // Ports are exchanged in answers only.
            Action::Drop | Action::Exchange(..) => {}
        }
    }

    fn commit(&mut self, assignments: &[Assignment]) {
        let mut commit = Commit {
            nat: Some(Nat::Kept),
            ..Commit::default()
        };
        let mut committed = *self.state;
        for Assignment { to, from } in assignments {
            let value = read(self.state, from);
            write(&mut committed, to, value);
            let mask = ones(to.width) << to.low;
            match to.field {
                Field::CtMark => commit.mark.1 |= mask as u32,
                _ => commit.label.1 |= mask,
            }
        }
        commit.mark.0 = committed.ct.mark & commit.mark.1;
        commit.label.0 = committed.ct.label & commit.label.1;
        self.observer.commit(self.at, &committed);
        let state = &mut *self.state;
        self.conntrack
            .commit(state.ct_zone, &mut state.packet, state.now, commit);
        if !self.as_traced {
            state.forget_connection();
        }
    }
}

fn is_eval(stage: Stage) -> bool {
    matches!(
        stage,
        Stage::InAclEval | Stage::InAclAfterLbEval | Stage::OutAclEval
    )
}

/// Which application samples. The number that the action has is not enough: it is 0 where an ACL has a label (northd.c,
/// `build_acl_sample_action`).
pub(crate) fn app(northbound: &Northbound, sample: &actions::Sample, flow: &LogicalFlow) -> App {
    if sample.point == Source::Cookie {
        return App::Drop;
    }
    let known = [App::AclNew, App::AclEst]
        .into_iter()
        .find(|app| sample.domain != 0 && northbound.app_id(*app) == sample.domain);
    known.unwrap_or_else(|| match flow.matches.contains("ct_label.obs_point_id") {
        true => App::AclEst,
        false => App::AclNew,
    })
}

fn ones(width: u32) -> u128 {
    u128::MAX.checked_shr(128 - width).unwrap_or(0)
}

fn read(state: &State, source: &Source) -> u128 {
    match source {
        Source::Number(number) => *number,
        Source::Part(part) => state.number(part.field) >> part.low & ones(part.width),
        Source::Cookie => 0,
    }
}

fn write(state: &mut State, to: &Part, value: u128) {
    let mask = ones(to.width) << to.low;
    let number = state.number(to.field) & !mask | value << to.low & mask;
    match to.field {
        Field::XxReg0 => state.xxreg0 = number,
        Field::XxReg1 => state.xxreg1 = number,
        Field::XReg4 => state.xreg4 = number as u64,
        Field::Flags => state.flags = number as u32,
        Field::CtMark => state.ct.mark = number as u32,
        Field::CtLabel => state.ct.label = number,
        // The parser lets no action write anything else.
        _ => {}
    }
}
