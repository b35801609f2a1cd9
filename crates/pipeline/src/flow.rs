//! The logical flows of the ACL stages, as ovn-northd writes them (northd.c of OVN 25.03).

use std::fmt::Write;
use std::sync::Arc;

use netverdict_ovn::Sample;
use netverdict_types::{Action, App, Pipeline};
use uuid::Uuid;

use crate::northbound::{AclRow, Switch};
use crate::{Northbound, Stage, SwitchId};

/// A logical flow.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LogicalFlow {
    /// The table.
    pub stage: Stage,
    /// 0..65535; the highest that matches wins.
    pub priority: u16,
    /// The match (ovn-sb(5), Logical_Flow).
    pub matches: Arc<str>,
    /// The actions.
    pub actions: Arc<str>,
    /// The ACL that it comes from; `None` for what every switch has, and for the flows that many ACLs share.
    pub acl: Option<Uuid>,
}

/// Which OVN's flows to write.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Release {
    /// 25.03.
    #[default]
    R25_03,
    /// 26.03.
    R26_03,
}

impl Release {
    /// The number of a table (northd.h, `PIPELINE_STAGES`).
    pub fn table(self, stage: Stage) -> u8 {
        let (old, new) = match stage {
            Stage::InPreAcl => (4, 5),
            Stage::InAclHint => (7, 8),
            Stage::InAclEval => (8, 9),
            Stage::InAclSample => (9, 10),
            Stage::InAclAction => (10, 11),
            Stage::InAclAfterLbEval => (18, 20),
            Stage::InAclAfterLbSample => (19, 21),
            Stage::InAclAfterLbAction => (20, 22),
            Stage::InStateful => (21, 24),
            Stage::OutPreAcl => (2, 2),
            Stage::OutAclHint => (5, 5),
            Stage::OutAclEval => (6, 6),
            Stage::OutAclSample => (7, 7),
            Stage::OutAclAction => (8, 8),
            Stage::OutStateful => (10, 12),
        };
        match self {
            Self::R25_03 => old,
            Self::R26_03 => new,
        }
    }
}

/// The flows of one switch, as northd would write them: by stage, the highest priority first, each once.
pub fn flows(northbound: &Northbound, switch: SwitchId, release: Release) -> Vec<LogicalFlow> {
    let Some(row) = northbound.switch(switch) else {
        return Vec::new();
    };
    let mut writer = Writer::new(northbound, row, release);
    writer.pre_acl();
    writer.hints();
    writer.fixed();
    for (uuid, acl) in northbound.acls_of(row) {
        writer.acl(uuid, acl);
    }
    writer.verdicts();
    writer.commits();
    let mut flows = writer.flows;
    flows.sort_by(|a, b| {
        let key = |flow: &LogicalFlow| (flow.stage, u16::MAX - flow.priority);
        let text = |flow: &LogicalFlow| (flow.matches.clone(), flow.actions.clone());
        key(a)
            .cmp(&key(b))
            .then_with(|| text(a).cmp(&text(b)))
            .then(a.acl.cmp(&b.acl))
    });
    flows.dedup_by(|later, first| {
        (later.stage, later.priority) == (first.stage, first.priority)
            && (&later.matches, &later.actions) == (&first.matches, &first.actions)
    });
    flows
}

/// The three blocks in which ACLs are evaluated; the number is `ct_mark.obs_stage` (northd.h, `acl_observation_stage`).
const BLOCKS: [(Pipeline, Stage, Stage, Stage); 3] = [
    (
        Pipeline::FromLport,
        Stage::InAclEval,
        Stage::InAclSample,
        Stage::InAclAction,
    ),
    (
        Pipeline::FromLportAfterLb,
        Stage::InAclAfterLbEval,
        Stage::InAclAfterLbSample,
        Stage::InAclAfterLbAction,
    ),
    (
        Pipeline::ToLport,
        Stage::OutAclEval,
        Stage::OutAclSample,
        Stage::OutAclAction,
    ),
];

/// Service protocols of IPv6, which go past conntrack and ACLs.
const IPV6_SERVICE: &str = "nd || nd_ra || nd_rs || mldv1 || mldv2";
/// Above all ACLs.
const ABOVE: u16 = 65532;
/// What northd adds to an ACL's priority.
const OFFSET: u16 = 1000;

struct Writer<'a> {
    northbound: &'a Northbound,
    switch: &'a Switch,
    release: Release,
    has_acls: bool,
    stateful_acl: bool,
    lb_vip: bool,
    /// The highest tier of each block.
    tiers: [u8; 3],
    /// `ct.inv` where northd is told to use it (`use_ct_inv_match`).
    inv: bool,
    flows: Vec<LogicalFlow>,
}

impl<'a> Writer<'a> {
    fn new(northbound: &'a Northbound, switch: &'a Switch, release: Release) -> Self {
        let mut writer = Self {
            northbound,
            switch,
            release,
            has_acls: false,
            stateful_acl: false,
            lb_vip: northbound.has_vip(switch),
            tiers: [0; 3],
            inv: northbound
                .options
                .get("use_ct_inv_match")
                .is_none_or(|value| value != "false"),
            flows: Vec::new(),
        };
        for (_, row) in northbound.acls_of(switch) {
            writer.has_acls = true;
            writer.stateful_acl |= row.acl.action == Action::AllowRelated;
            let tier = &mut writer.tiers[row.acl.pipeline as usize];
            *tier = row.acl.tier.max(*tier);
        }
        writer
    }

    /// Whether ACLs are evaluated with conntrack.
    fn stateful(&self) -> bool {
        self.stateful_acl || self.lb_vip
    }

    fn add(&mut self, stage: Stage, priority: u16, matches: &str, actions: &str) {
        self.add_of(None, stage, priority, matches, actions);
    }

    fn add_of(
        &mut self,
        acl: Option<Uuid>,
        stage: Stage,
        priority: u16,
        matches: &str,
        actions: &str,
    ) {
        self.flows.push(LogicalFlow {
            stage,
            priority,
            matches: matches.into(),
            actions: actions.into(),
            acl,
        });
    }

    /// The same flow in several stages.
    fn each<const N: usize>(
        &mut self,
        stages: [Stage; N],
        priority: u16,
        matches: &str,
        actions: &str,
    ) {
        for stage in stages {
            self.add(stage, priority, matches, actions);
        }
    }

    /// `build_pre_acls`, `build_ls_stateful_rec_pre_acls`.
    fn pre_acl(&mut self) {
        let both = [Stage::InPreAcl, Stage::OutPreAcl];
        self.each(both, 0, "1", "next;");
        self.add(Stage::InPreAcl, 110, "eth.dst == $svc_monitor_mac", "next;");
        self.add(
            Stage::OutPreAcl,
            110,
            "eth.src == $svc_monitor_mac",
            "next;",
        );
        if self.stateful() {
            self.stateless();
        }
        if !self.stateful_acl {
            return;
        }
        for number in &self.switch.ports {
            let Some(port) = self.northbound.port(*number) else {
                continue;
            };
            let skips = match port.kind.as_str() {
                "router" => port
                    .options
                    .get("enable_router_port_acl")
                    .is_none_or(|value| value != "true"),
                "localnet" => true,
                _ => false,
            };
            if skips {
                let name = quoted(&port.name);
                self.add(
                    Stage::InPreAcl,
                    110,
                    &format!("ip && inport == {name}"),
                    "next;",
                );
                self.add(
                    Stage::OutPreAcl,
                    110,
                    &format!("ip && outport == {name}"),
                    "next;",
                );
            }
        }
        self.each(
            both,
            110,
            "nd || nd_rs || nd_ra || mldv1 || mldv2 || (udp && udp.src == 546 && udp.dst == 547)",
            "next;",
        );
        self.each(both, 110, "eth.mcast", "next;");
        self.add(
            Stage::InPreAcl,
            110,
            "((ip4 && icmp4.type == 3 && icmp4.code == 4) || (ip6 && icmp6.type == 2 && icmp6.code == 0)) \
             && flags.tunnel_rx == 1",
            "next;",
        );
        self.each(both, 100, "ip", "reg0[0] = 1; next;");
    }

    /// `build_stateless_filters`: what must never be tracked.
    fn stateless(&mut self) {
        let northbound = self.northbound;
        for (uuid, row) in northbound.acls_of(self.switch) {
            if row.acl.action == Action::AllowStateless {
                let stage = match row.acl.pipeline {
                    Pipeline::ToLport => Stage::OutPreAcl,
                    Pipeline::FromLport | Pipeline::FromLportAfterLb => Stage::InPreAcl,
                };
                let priority = row.acl.priority + OFFSET;
                self.add_of(
                    Some(uuid),
                    stage,
                    priority,
                    &row.acl.matches,
                    "reg0[16] = 1; next;",
                );
            }
        }
    }

    /// `build_acl_hints`.
    fn hints(&mut self) {
        let both = [Stage::InAclHint, Stage::OutAclHint];
        if !self.has_acls && !self.lb_vip {
            self.each(both, 65535, "1", "next;");
        } else {
            self.each(both, 0, "1", "next;");
        }
        if !self.stateful() {
            return;
        }
        for (priority, matches, actions) in [
            (7, "ct.new && !ct.est", "reg0[7] = 1; reg0[9] = 1; next;"),
            (
                6,
                "!ct.new && ct.est && !ct.rpl && ct_mark.blocked == 1",
                "reg0[7] = 1; reg0[9] = 1; next;",
            ),
            (5, "!ct.trk", "reg0[8] = 1; reg0[9] = 1; next;"),
            (
                4,
                "!ct.new && ct.est && !ct.rpl && ct_mark.blocked == 0",
                "reg0[8] = 1; reg0[10] = 1; next;",
            ),
            (3, "!ct.est", "reg0[9] = 1; next;"),
            (2, "ct.est && ct_mark.blocked == 1", "reg0[9] = 1; next;"),
            (1, "ct.est && ct_mark.blocked == 0", "reg0[10] = 1; next;"),
        ] {
            self.each(both, priority, matches, actions);
        }
    }

    /// What `build_acls` writes of each switch.
    fn fixed(&mut self) {
        let outer = [Stage::InAclEval, Stage::OutAclEval];
        let default = if self.has_acls || self.lb_vip {
            0
        } else {
            65535
        };
        self.each(outer, default, "1", "next;");
        self.add(Stage::InAclAfterLbEval, 0, "1", "next;");
        if self.stateful() {
            self.established();
        }
        self.each(
            [Stage::InAclEval, Stage::OutAclEval, Stage::InAclAfterLbEval],
            ABOVE,
            IPV6_SERVICE,
            "reg8[16] = 1; next;",
        );
        self.each(
            [
                Stage::InAclSample,
                Stage::OutAclSample,
                Stage::InAclAfterLbSample,
            ],
            0,
            "1",
            "next;",
        );
        if self.has_acls || self.lb_vip {
            let allow = "reg8[16] = 1; next;";
            self.add(
                Stage::InAclEval,
                34000,
                "eth.dst == $svc_monitor_mac",
                allow,
            );
            self.add(
                Stage::OutAclEval,
                34000,
                "eth.src == $svc_monitor_mac",
                allow,
            );
        }
    }

    /// What conntrack alone decides.
    fn established(&mut self) {
        let outer = [Stage::InAclEval, Stage::OutAclEval];
        let (is_inv, not_inv) = if self.inv {
            ("ct.inv || ", " && !ct.inv")
        } else {
            ("", "")
        };
        self.each(
            outer,
            1,
            "ip && ct.est && ct_mark.blocked == 1",
            "reg0[1] = 1; reg8[16] = 1; next;",
        );
        let new = if self.drops_by_default() {
            "next;"
        } else {
            "reg0[1] = 1; next;"
        };
        self.each(outer, 1, "ip && !ct.est", new);
        self.each(
            outer,
            ABOVE,
            &format!("{is_inv}(ct.est && ct.rpl && ct_mark.blocked == 1)"),
            "reg8[17] = 1; next;",
        );
        let reply =
            format!("ct.est && !ct.rel && !ct.new{not_inv} && ct.rpl && ct_mark.blocked == 0");
        self.add(
            Stage::InAclEval,
            ABOVE,
            &reply,
            "reg0[9] = 0; reg0[10] = 0; reg0[17] = 1; reg8[16] = 1; next;",
        );
        self.add(Stage::OutAclEval, ABOVE, &reply, "reg8[16] = 1; next;");
        let related = format!("!ct.est && ct.rel && !ct.new{not_inv} && ct_mark.blocked == 0");
        self.add(
            Stage::InAclEval,
            ABOVE,
            &related,
            "reg0[17] = 1; reg8[16] = 1; ct_commit_nat;",
        );
        self.add(
            Stage::OutAclEval,
            ABOVE,
            &related,
            "reg8[16] = 1; ct_commit_nat;",
        );
        let after_lb = Stage::InAclAfterLbEval;
        self.add(after_lb, ABOVE, "reg0[17] == 1", "reg8[16] = 1; next;");
        let persisted = "ct.est && ct_mark.allow_established == 1";
        self.add(
            Stage::InAclEval,
            ABOVE,
            persisted,
            "reg0[21] = 1; reg8[16] = 1; next;",
        );
        self.add(Stage::OutAclEval, ABOVE, persisted, "reg8[16] = 1; next;");
        self.add(after_lb, ABOVE, "reg0[21] == 1", "reg8[16] = 1; next;");
    }

    fn acl(&mut self, uuid: Uuid, row: &AclRow) {
        self.log_related(uuid, row);
        self.evaluate(uuid, row);
        self.sample(row);
    }

    /// `build_acl_log_related_flows`.
    fn log_related(&mut self, uuid: Uuid, row: &AclRow) {
        let allows = matches!(row.acl.action, Action::Allow | Action::AllowRelated);
        let asked = row
            .options
            .get("log-related")
            .is_some_and(|value| value == "true");
        if !(self.stateful() && allows && row.log && row.acl.label != 0 && asked) {
            return;
        }
        let stage = match row.acl.pipeline {
            Pipeline::ToLport => Stage::InAclEval,
            Pipeline::FromLport | Pipeline::FromLportAfterLb => Stage::OutAclEval,
        };
        let not_inv = if self.inv { " && !ct.inv" } else { "" };
        let actions = format!("{}reg8[16] = 1; next;", self.log(uuid, row));
        let label = row.acl.label;
        for matches in [
            format!(
                "ct.est && !ct.rel && !ct.new{not_inv} && ct.rpl && ct_mark.blocked == 0 \
                 && ct_label.label == {label}"
            ),
            format!(
                "!ct.est && ct.rel && !ct.new{not_inv} && ct_mark.blocked == 0 && ct_label.label == {label}"
            ),
        ] {
            self.add_of(Some(uuid), stage, 65533, &matches, &actions);
        }
    }

    /// `consider_acl`.
    fn evaluate(&mut self, uuid: Uuid, row: &AclRow) {
        let acl = &row.acl;
        let block = acl.pipeline as usize;
        let stage = BLOCKS[block].1;
        let priority = acl.priority + OFFSET;
        let tier = match self.tiers[block] {
            0 => String::new(),
            _ => format!("reg8[30..31] == {} && ", acl.tier),
        };
        let verdict = match acl.action {
            Action::Drop => "reg8[17] = 1; ",
            Action::Reject => "reg8[18] = 1; ",
            Action::Pass => "",
            Action::Allow | Action::AllowRelated | Action::AllowStateless => "reg8[16] = 1; ",
        };
        let basis = self.log(uuid, row) + verdict;
        let observe_new = self.observe(row, row.sample_new, None, block);
        let flows = match acl.action {
            _ if !self.stateful() => vec![("", format!("{basis}{observe_new}next;"))],
            Action::Pass | Action::AllowStateless => {
                vec![("", format!("{basis}{observe_new}next;"))]
            }
            Action::Allow | Action::AllowRelated => {
                let observe = self.observe(row, row.sample_new, row.sample_est, block);
                let again = match acl.label != 0 || row.sample_est.is_some() {
                    true => "reg0[1] = 1; ",
                    false => "",
                };
                vec![
                    (
                        "reg0[7] == 1 && ",
                        format!("{basis}reg0[1] = 1; {observe}next;"),
                    ),
                    ("reg0[8] == 1 && ", format!("{basis}{again}{observe}next;")),
                ]
            }
            Action::Drop | Action::Reject => {
                let point = self.point(row.sample_est).map_or(0, |sample| sample.point);
                let block = format!(
                    "ct_commit {{ ct_mark.blocked = 1; ct_label.obs_point_id = {point}; }}; "
                );
                vec![
                    ("reg0[9] == 1 && ", format!("{basis}{observe_new}next;")),
                    (
                        "reg0[10] == 1 && ",
                        format!("{basis}{observe_new}{block}next;"),
                    ),
                ]
            }
        };
        for (hint, actions) in flows {
            let matches = format!("{tier}{hint}({})", acl.matches);
            self.add_of(Some(uuid), stage, priority, &matches, &actions);
        }
    }

    /// `build_acl_log`.
    fn log(&self, uuid: Uuid, row: &AclRow) -> String {
        if !row.log {
            return String::new();
        }
        let mut text = String::from("log(");
        if let Some(name) = &row.acl.name {
            let _ = write!(text, "name=\"{name}\", ");
        }
        let verdict = match row.acl.action {
            Action::Drop => "drop",
            Action::Reject => "reject",
            Action::Pass => "pass",
            Action::Allow | Action::AllowRelated | Action::AllowStateless => "allow",
        };
        let _ = write!(
            text,
            "severity={}, verdict={verdict}",
            row.severity.as_deref().unwrap_or("info")
        );
        if let Some(meter) = &row.meter {
            let fair = self
                .northbound
                .meters
                .get(meter)
                .is_some_and(|meter| meter.fair);
            match fair {
                true => drop(write!(text, ", meter=\"{meter}__{uuid}\"")),
                false => drop(write!(text, ", meter=\"{meter}\"")),
            }
        }
        text + "); "
    }

    fn point(&self, sample: Option<Uuid>) -> Option<&'a Sample> {
        self.northbound.samples.get(&sample?)
    }

    /// `build_acl_sample_label_action`.
    fn observe(&self, row: &AclRow, new: Option<Uuid>, est: Option<Uuid>, block: usize) -> String {
        let (new, est) = (self.point(new), self.point(est));
        let label = row.acl.label;
        if label == 0 && new.is_none() && est.is_none() {
            return String::new();
        }
        let point = |sample: Option<&Sample>| match label {
            0 => sample.map_or(0, |sample| sample.point),
            label => label,
        };
        let collector = |sample: Option<&Sample>| match sample.map(|sample| &sample.collectors[..])
        {
            Some([only]) if label == 0 => {
                self.northbound.collectors.get(only).map_or(0, |it| it.id)
            }
            _ => 0,
        };
        format!(
            "reg0[13] = 1; reg3 = {}; reg9 = {}; reg8[0..7] = {}; reg8[8..15] = {}; reg8[19..20] = {block}; ",
            point(new),
            point(est),
            collector(new),
            collector(est),
        )
    }

    /// `build_acl_sample_flows`.
    fn sample(&mut self, row: &AclRow) {
        let acl = &row.acl;
        let (new, est) = (self.point(row.sample_new), self.point(row.sample_est));
        let established = self.stateful_acl && est.is_some() && acl.action == Action::AllowRelated;
        if new.is_none() && !established {
            return;
        }
        let stateful = self.stateful_acl && acl.action != Action::AllowStateless;
        let block = acl.pipeline as usize;
        let stage = BLOCKS[block].2;
        let opposite = match acl.pipeline {
            Pipeline::ToLport => Stage::InAclSample,
            Pipeline::FromLport | Pipeline::FromLportAfterLb => Stage::OutAclSample,
        };
        let is_new = match (stateful, acl.pipeline) {
            (false, _) => "ip",
            (true, Pipeline::ToLport) => "ip && (ct.new || !ct.trk)",
            (true, _) => "ip && ct.new",
        };
        let sampled = match self.release {
            Release::R25_03 => "",
            Release::R26_03 => "flags.pkt_sampled = 1; ",
        };
        let unsampled = match self.release {
            Release::R25_03 => "",
            Release::R26_03 => "flags.pkt_sampled == 0 && ",
        };
        if let Some(sample) = new {
            let app = self.northbound.app_id(App::AclNew);
            if let [only] = &self.collectors(sample)[..] {
                let (id, set) = only;
                self.add(
                    stage,
                    if stateful { 1000 } else { 900 },
                    &format!("{is_new} && reg8[0..7] == {id} && reg8[19..20] == {block}"),
                    &format!("{sampled}sample({set},obs_domain={app},obs_point=reg3); next;"),
                );
            } else {
                let point = if acl.label == 0 {
                    sample.point
                } else {
                    acl.label
                };
                let actions = self.samples(sample, acl.label, app, sampled);
                self.add(
                    stage,
                    1100,
                    &format!("{is_new} && reg3 == {point}"),
                    &actions,
                );
            }
        }
        let (true, Some(sample)) = (stateful, est) else {
            return;
        };
        let app = self.northbound.app_id(App::AclEst);
        let old = format!("{unsampled}ip && ct.trk && (ct.est || ct.rel) && ");
        if let [only] = &self.collectors(sample)[..] {
            let (id, set) = only;
            let old = format!("{old}ct_label.obs_unused == 0 && ");
            let actions = format!(
                "{sampled}sample({set},obs_domain={app},obs_point=ct_label.obs_point_id); next;"
            );
            let original = format!(
                "{old}!ct.rpl && ct_mark.obs_collector_id == {id} && ct_mark.obs_stage == {block}"
            );
            self.add(stage, 1000, &original, &actions);
            let reply = format!("{old}ct.rpl && ct_mark.obs_collector_id == {id}");
            self.add(opposite, 1000, &reply, &actions);
        } else {
            let point = if acl.label == 0 {
                sample.point
            } else {
                acl.label
            };
            let actions = self.samples(sample, acl.label, app, sampled);
            for (stage, not) in [(stage, "!"), (opposite, "")] {
                let matches = format!(
                    "{old}{not}ct.rpl && ct_label.obs_point_id == {point} && ct_label.obs_unused == 0"
                );
                self.add(stage, 1200, &matches, &actions);
            }
        }
    }

    /// Id of each collector of a sample, and how a `sample` action names it.
    fn collectors(&self, sample: &Sample) -> Vec<(u8, String)> {
        let rows = sample
            .collectors
            .iter()
            .filter_map(|id| self.northbound.collectors.get(id));
        rows.map(|row| {
            // northd prints eight bits of the set's id before OVN 25.09.
            let set = match self.release {
                Release::R25_03 => row.set_id & 0xff,
                Release::R26_03 => row.set_id,
            };
            (
                row.id,
                format!("probability={},collector_set={set}", row.probability),
            )
        })
        .collect()
    }

    /// `build_acl_sample_action`: one for each collector.
    fn samples(&self, sample: &Sample, label: u32, app: u8, sampled: &str) -> String {
        if app == 0 {
            return String::new();
        }
        let (domain, point) = match label {
            0 => (app, sample.point),
            label => (0, label),
        };
        let mut text = sampled.to_owned();
        for (_, set) in self.collectors(sample) {
            let _ = write!(text, "sample({set},obs_domain={domain},obs_point={point});");
        }
        text + " next;"
    }

    /// `build_acl_action_lflows`.
    fn verdicts(&mut self) {
        let tables = match self.release {
            Release::R25_03 => [8, 18, 6],
            Release::R26_03 => [9, 20, 6],
        };
        // Where the answer to who is rejected enters the other pipeline: ls_out_qos, ls_in_l2_lkup.
        let answers = match self.release {
            Release::R25_03 => (9, 28),
            Release::R26_03 => (10, 32),
        };
        for (block, (_, eval, _, stage)) in BLOCKS.into_iter().enumerate() {
            if !self.has_acls {
                self.add(stage, 0, "1", "next;");
                continue;
            }
            let most = self.tiers[block];
            let mut reset = String::from("reg8[16] = 0; reg8[17] = 0; reg8[18] = 0; ");
            if most > 0 {
                reset += "reg8[30..31] = 0; ";
            }
            let (other, table, own) = match eval.is_ingress() {
                true => ("egress", answers.0, "ingress"),
                false => ("ingress", answers.1, "egress"),
            };
            let drop = self.drop();
            self.add(stage, 1000, "reg8[16] == 1", &format!("{reset}next;"));
            self.add(stage, 1000, "reg8[17] == 1", &format!("{reset}{drop}"));
            self.add(
                stage,
                1000,
                "reg8[18] == 1",
                &format!(
                    "{reset}reg0 = 0; reject {{ /* eth.dst <-> eth.src; ip.dst <-> ip.src; is implicit. */ \
                     outport <-> inport; next(pipeline={other},table={table}); }};"
                ),
            );
            let default = if self.drops_by_default() {
                &drop
            } else {
                "next;"
            };
            self.add(stage, 0, "1", &format!("{reset}{default}"));
            for tier in 0..most {
                let next = tier + 1;
                let eval = tables[block];
                self.add(
                    stage,
                    500,
                    &format!("reg8[30..31] == {tier}"),
                    &format!("reg8[30..31] = {next}; next(pipeline={own},table={eval});"),
                );
            }
        }
    }

    /// `build_stateful`.
    fn commits(&mut self) {
        let both = [Stage::InStateful, Stage::OutStateful];
        self.each(both, 0, "1", "next;");
        self.each(
            both,
            100,
            "reg0[1] == 1 && reg0[13] == 1",
            "ct_commit { ct_mark.blocked = 0; ct_mark.allow_established = reg0[20]; \
             ct_mark.obs_stage = reg8[19..20]; ct_mark.obs_collector_id = reg8[8..15]; \
             ct_label.obs_point_id = reg9; ct_label.acl_id = reg2[16..31]; }; next;",
        );
        self.each(
            both,
            100,
            "reg0[1] == 1 && reg0[13] == 0",
            "ct_commit { ct_mark.blocked = 0; ct_mark.allow_established = reg0[20]; \
             ct_label.acl_id = reg2[16..31]; }; next;",
        );
    }

    /// `NB_Global.options:default_acl_drop`.
    fn drops_by_default(&self) -> bool {
        self.northbound
            .options
            .get("default_acl_drop")
            .is_some_and(|value| value == "true")
    }

    /// `debug_implicit_drop_action`: a sample of its own where drops are to be debugged.
    fn drop(&self) -> String {
        let option = |name: &str| {
            let value = self.northbound.options.get(name)?;
            value.parse::<u32>().ok().filter(|number| *number != 0)
        };
        let Some(set) = option("debug_drop_collector_set") else {
            return "/* drop */".to_owned();
        };
        let domain = match self.northbound.app_id(App::Drop) {
            0 => option("debug_drop_domain_id").unwrap_or(0),
            app => app.into(),
        };
        format!(
            "sample(probability=65535,collector_set={set},obs_domain={domain},obs_point=$cookie); /* drop */"
        )
    }
}

/// A name as northd quotes it.
fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    text.push('"');
    for letter in name.chars() {
        if matches!(letter, '"' | '\\') {
            text.push('\\');
        }
        text.push(letter);
    }
    text.push('"');
    text
}
