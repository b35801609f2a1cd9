//! The flows of one ACL.

use std::fmt::Write;
use std::sync::Arc;

use netverdict_ovn::Sample;
use netverdict_types::{Action, Pipeline};
use uuid::Uuid;

use super::facts::{Nature, Settings, is_true};
use super::fixed::{established_matches, function_bit};
use super::{BLOCKS, LogicalFlow, OFFSET, Writer};
use crate::northbound::AclRow;
use crate::{Northbound, Stage};

/// What of a switch the flows of an ACL depend on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Kind {
    related: bool,
    vip: bool,
    /// Whether the ACL's block has several tiers.
    tiered: bool,
}

impl Kind {
    pub(super) fn new(nature: Nature, acl: &AclRow) -> Self {
        Self {
            related: nature.related,
            vip: nature.vip,
            tiered: nature.tiers[acl.acl.pipeline as usize] > 0,
        }
    }

    fn stateful(self) -> bool {
        self.related || self.vip
    }
}

/// What an ACL makes of a switch.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) kind: Kind,
    pub(super) flows: Vec<LogicalFlow>,
    pub(super) shared: Vec<Shared>,
}

/// Flows that several ACLs may want.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Shared {
    /// Samples of new connections by one collector.
    New {
        block: u8,
        stateful: bool,
        collector: Collector,
    },
    /// Samples of established connections by one collector.
    Established { block: u8, collector: Collector },
    /// Samples of the replies to them, which blocks share that have the same way back.
    Reply { stage: Stage, collector: Collector },
    /// The ports of a network function.
    Function(Uuid),
}

/// A row of Sample_Collector as flows show it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Collector {
    id: u8,
    probability: u16,
    set: u32,
}

impl Collector {
    fn sample(self, domain: u8, point: &str) -> String {
        let Self {
            probability, set, ..
        } = self;
        format!(
            "sample(probability={probability},collector_set={set},obs_domain={domain},obs_point={point});"
        )
    }

    fn sample_established(self, settings: &Settings) -> String {
        let sample = self.sample(settings.established, "ct_label.obs_point_id");
        format!("{}{sample} next;", sampled(settings))
    }
}

impl Shared {
    pub(super) fn write(self, settings: &Settings) -> Vec<LogicalFlow> {
        let mut out = Writer::default();
        match self {
            Self::New {
                block,
                stateful,
                collector,
            } => {
                let fresh = fresh(stateful, block);
                let id = collector.id;
                out.add(
                    BLOCKS[usize::from(block)].1,
                    if stateful { 1000 } else { 900 },
                    format!("{fresh} && reg8[0..7] == {id} && reg8[19..20] == {block}"),
                    format!(
                        "{}{} next;",
                        sampled(settings),
                        collector.sample(settings.new, "reg3")
                    ),
                );
            }
            Self::Established { block, collector } => {
                let old = established(settings);
                let id = collector.id;
                out.add(
                    BLOCKS[usize::from(block)].1,
                    1000,
                    format!(
                        "{old}ct_label.obs_unused == 0 && !ct.rpl && ct_mark.obs_collector_id == {id} \
                         && ct_mark.obs_stage == {block}"
                    ),
                    collector.sample_established(settings),
                );
            }
            Self::Reply { stage, collector } => {
                let old = established(settings);
                let id = collector.id;
                out.add(
                    stage,
                    1000,
                    format!(
                        "{old}ct_label.obs_unused == 0 && ct.rpl && ct_mark.obs_collector_id == {id}"
                    ),
                    collector.sample_established(settings),
                );
            }
            // Written with what is fixed: functions may share ports.
            Self::Function(_) => {}
        }
        out.flows
    }
}

/// Packets that open a connection.
fn fresh(stateful: bool, block: u8) -> &'static str {
    match (stateful, block) {
        (false, _) => "ip",
        // Conntrack may have been cleared on the way to the egress pipeline.
        (true, 2) => "ip && (ct.new || !ct.trk)",
        (true, _) => "ip && ct.new",
    }
}

/// Packets of connections that are there.
fn established(settings: &Settings) -> &'static str {
    match settings.is_new() {
        true => "flags.pkt_sampled == 0 && ip && ct.trk && (ct.est || ct.rel) && ",
        false => "ip && ct.trk && (ct.est || ct.rel) && ",
    }
}

fn sampled(settings: &Settings) -> &'static str {
    match settings.is_new() {
        true => "flags.pkt_sampled = 1; ",
        false => "",
    }
}

/// Where the replies to what a block lets through are sampled.
fn opposite(block: u8) -> Stage {
    match block {
        2 => Stage::InAclSample,
        _ => Stage::OutAclSample,
    }
}

/// What an ACL makes of a switch of this kind.
pub(super) fn make(
    northbound: &Northbound,
    settings: &Settings,
    kind: Kind,
    uuid: Uuid,
    row: &AclRow,
) -> Made {
    let mut acl = Acl {
        northbound,
        settings,
        kind,
        uuid,
        row,
        block: row.acl.pipeline as u8,
        new: sample(northbound, row.sample_new),
        established: sample(northbound, row.sample_est),
        out: Writer {
            flows: Vec::with_capacity(2),
            acl: Some(uuid),
        },
        shared: Vec::new(),
    };
    acl.stateless();
    acl.log_related();
    acl.evaluate();
    acl.sample();
    if settings.is_new() {
        let group = row.function_group;
        let group = group.and_then(|group| northbound.function_groups.get(&group));
        acl.shared
            .extend(group.and_then(|group| group.active).map(Shared::Function));
    }
    Made {
        kind,
        flows: acl.out.flows,
        shared: acl.shared,
    }
}

fn sample(northbound: &Northbound, sample: Option<Uuid>) -> Option<&Sample> {
    northbound.samples.get(&sample?)
}

struct Acl<'a> {
    northbound: &'a Northbound,
    settings: &'a Settings,
    kind: Kind,
    uuid: Uuid,
    row: &'a AclRow,
    block: u8,
    new: Option<&'a Sample>,
    established: Option<&'a Sample>,
    out: Writer,
    shared: Vec<Shared>,
}

impl Acl<'_> {
    /// `build_stateless_filter`: what must never be tracked.
    fn stateless(&mut self) {
        let acl = &self.row.acl;
        if acl.action == Action::AllowStateless && self.kind.stateful() {
            let stage = match acl.pipeline {
                Pipeline::ToLport => Stage::OutPreAcl,
                Pipeline::FromLport | Pipeline::FromLportAfterLb => Stage::InPreAcl,
            };
            let matches = acl.matches.as_str();
            self.out
                .add(stage, self.priority(), matches, "reg0[16] = 1; next;");
        }
    }

    fn priority(&self) -> u16 {
        self.row.acl.priority.saturating_add(OFFSET)
    }

    /// `build_acl_log_related_flows`.
    fn log_related(&mut self) {
        let AclRow {
            acl, log, options, ..
        } = self.row;
        let allows = matches!(acl.action, Action::Allow | Action::AllowRelated);
        let asked = || is_true(options, "log-related");
        if !(self.kind.stateful() && allows && *log && acl.label != 0 && asked()) {
            return;
        }
        let stage = match acl.pipeline {
            Pipeline::ToLport => Stage::InAclEval,
            Pipeline::FromLport | Pipeline::FromLportAfterLb => Stage::OutAclEval,
        };
        let mut actions = String::new();
        self.log(&mut actions);
        actions += function_bit(self.settings);
        actions += "reg8[16] = 1; next;";
        let actions: Arc<str> = actions.into();
        let (reply, related) = established_matches(self.settings);
        for matches in [reply, related] {
            let matches = format!("{matches} && ct_label.label == {}", acl.label);
            self.out.add(stage, 65533, matches, actions.clone());
        }
    }

    /// `consider_acl`.
    fn evaluate(&mut self) {
        let acl = &self.row.acl;
        let basis = self.basis();
        let refuses = self.settings.is_new() && self.row.function_group.is_some();
        match acl.action {
            action
                if !self.kind.stateful()
                    || matches!(action, Action::Pass | Action::AllowStateless) =>
            {
                if !refuses {
                    self.add("", &basis, "", None);
                }
            }
            Action::Allow | Action::AllowRelated | Action::Pass | Action::AllowStateless => {
                let commits = acl.label != 0
                    || self.established.is_some()
                    || (self.settings.is_new() && self.row.function_group.is_some());
                // From OVN 25.09 the hint stage asks for the commit.
                let mut first = String::from(if self.settings.is_new() {
                    ""
                } else {
                    "reg0[1] = 1; "
                });
                if is_true(&self.row.options, "persist-established")
                    && let Some(number) = self.northbound.acl_numbers.get(&self.uuid)
                {
                    let _ = write!(first, "reg2[16..31] = {number}; reg0[20] = 1; ");
                }
                let again = if commits { "reg0[1] = 1; " } else { "" };
                let established = self.established;
                self.add("reg0[7] == 1 && ", &basis, &first, established);
                self.add("reg0[8] == 1 && ", &basis, again, established);
            }
            Action::Drop | Action::Reject => {
                if refuses {
                    return;
                }
                self.add("reg0[9] == 1 && ", &basis, "", None);
                let point = self.established.map_or(0, |sample| sample.point);
                let mut actions = basis;
                self.observe(&mut actions, None);
                let _ = write!(
                    actions,
                    "ct_commit {{ ct_mark.blocked = 1; ct_label.obs_point_id = {point}; }}; next;"
                );
                let matches = self.matches("reg0[10] == 1 && ");
                let stage = BLOCKS[usize::from(self.block)].0;
                self.out.add(stage, self.priority(), matches, actions);
            }
        }
    }

    fn add(&mut self, hint: &str, basis: &str, first: &str, established: Option<&Sample>) {
        let mut actions = String::with_capacity(64);
        actions += basis;
        actions += first;
        self.observe(&mut actions, established);
        let allows = matches!(self.row.acl.action, Action::Allow | Action::AllowRelated);
        let group = self
            .row
            .function_group
            .filter(|_| self.settings.is_new() && allows && !hint.is_empty());
        if let Some(group) = group.and_then(|group| self.northbound.function_groups.get(&group)) {
            let id = group.id;
            let _ = write!(actions, "reg8[21] = 1; reg8[22] = 1; reg0[22..29] = {id}; ");
        }
        actions += "next;";
        let matches = self.matches(hint);
        let stage = BLOCKS[usize::from(self.block)].0;
        self.out.add(stage, self.priority(), matches, actions);
    }

    fn matches(&self, hint: &str) -> String {
        let acl = &self.row.acl;
        let mut text = String::with_capacity(acl.matches.len() + 40);
        if self.kind.tiered {
            let _ = write!(text, "reg8[30..31] == {} && ", acl.tier);
        }
        text += hint;
        text.push('(');
        text += &acl.matches;
        text.push(')');
        text
    }

    /// Log line and verdict.
    fn basis(&self) -> String {
        let mut text = String::new();
        self.log(&mut text);
        text += match self.row.acl.action {
            Action::Drop => "reg8[17] = 1; ",
            Action::Reject => "reg8[18] = 1; ",
            Action::Pass => "",
            Action::Allow | Action::AllowRelated | Action::AllowStateless => "reg8[16] = 1; ",
        };
        text
    }

    /// `build_acl_log`.
    fn log(&self, text: &mut String) {
        if !self.row.log {
            return;
        }
        *text += "log(";
        if let Some(name) = &self.row.acl.name {
            let _ = write!(text, "name=\"{name}\", ");
        }
        let verdict = match self.row.acl.action {
            Action::Drop => "drop",
            Action::Reject => "reject",
            Action::Pass => "pass",
            Action::Allow | Action::AllowRelated | Action::AllowStateless => "allow",
        };
        let severity = self.row.severity.as_deref().unwrap_or("info");
        let _ = write!(text, "severity={severity}, verdict={verdict}");
        if let Some(name) = &self.row.meter {
            let meter = self.northbound.meters.get(name);
            let _ = match meter.is_some_and(|meter| meter.fair) {
                true => write!(text, ", meter=\"{name}__{}\"", self.uuid),
                false => write!(text, ", meter=\"{name}\""),
            };
        }
        *text += "); ";
    }

    /// `build_acl_sample_label_action`.
    fn observe(&self, text: &mut String, established: Option<&Sample>) {
        let label = self.row.acl.label;
        if label == 0 && self.new.is_none() && established.is_none() {
            return;
        }
        let point = |sample: Option<&Sample>| match label {
            0 => sample.map_or(0, |sample| sample.point),
            label => label,
        };
        let collector = |sample: Option<&Sample>| match sample {
            Some(sample) if label == 0 => self.only(sample).map_or(0, |collector| collector.id),
            _ => 0,
        };
        let _ = write!(
            text,
            "reg0[13] = 1; reg3 = {}; reg9 = {}; reg8[0..7] = {}; reg8[8..15] = {}; reg8[19..20] = {}; ",
            point(self.new),
            point(established),
            collector(self.new),
            collector(established),
            self.block,
        );
    }

    /// `build_acl_sample_flows`.
    fn sample(&mut self) {
        let acl = &self.row.acl;
        let established =
            self.kind.related && self.established.is_some() && acl.action == Action::AllowRelated;
        if self.new.is_none() && !established {
            return;
        }
        let stateful = self.kind.related && acl.action != Action::AllowStateless;
        let (block, stage) = (self.block, BLOCKS[usize::from(self.block)].1);
        let point = |sample: &Sample| match acl.label {
            0 => sample.point,
            label => label,
        };
        if let Some(sample) = self.new {
            if let Some(collector) = self.only(sample) {
                self.shared.push(Shared::New {
                    block,
                    stateful,
                    collector,
                });
            } else {
                let matches = format!("{} && reg3 == {}", fresh(stateful, block), point(sample));
                let actions = self.samples(sample, self.settings.new);
                self.out.add(stage, 1100, matches, actions);
            }
        }
        let (true, Some(sample)) = (stateful, self.established) else {
            return;
        };
        if let Some(collector) = self.only(sample) {
            self.shared.push(Shared::Established { block, collector });
            let stage = opposite(block);
            self.shared.push(Shared::Reply { stage, collector });
            return;
        }
        let old = self::established(self.settings);
        let point = point(sample);
        let actions: Arc<str> = self.samples(sample, self.settings.established).into();
        for (stage, not) in [(stage, "!"), (opposite(block), "")] {
            let matches = format!(
                "{old}{not}ct.rpl && ct_label.obs_point_id == {point} && ct_label.obs_unused == 0"
            );
            self.out.add(stage, 1200, matches, actions.clone());
        }
    }

    /// `build_acl_sample_action`: one for each collector.
    fn samples(&self, sample: &Sample, app: u8) -> String {
        if app == 0 {
            return String::new();
        }
        let (domain, point) = match self.row.acl.label {
            0 => (app, sample.point),
            label => (0, label),
        };
        let mut text = String::new();
        for collector in self.collectors(sample) {
            if text.is_empty() {
                text += sampled(self.settings);
            }
            text += &collector.sample(domain, &point.to_string());
        }
        text + " next;"
    }

    fn collectors(&self, sample: &Sample) -> impl Iterator<Item = Collector> {
        let rows = sample
            .collectors
            .iter()
            .filter_map(|row| self.northbound.collectors.get(row));
        rows.map(|row| Collector {
            id: row.id,
            probability: row.probability,
            // northd printed the low eight bits before OVN 25.09.
            set: match self.settings.is_new() {
                true => row.set_id,
                false => row.set_id & 0xff,
            },
        })
    }

    /// The collector, if there is just one.
    fn only(&self, sample: &Sample) -> Option<Collector> {
        let mut collectors = self.collectors(sample);
        let first = collectors.next();
        first.filter(|_| collectors.next().is_none())
    }
}
