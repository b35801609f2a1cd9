//! The flows that a switch has whatever its ACLs say.

use std::sync::Arc;

use uuid::Uuid;

use super::facts::{Facts, Nature, Settings};
use super::{BLOCKS, LogicalFlow, Writer};
use crate::Stage;

/// Service protocols of IPv6, which go past conntrack and ACLs.
const IPV6_SERVICE: &str = "nd || nd_ra || nd_rs || mldv1 || mldv2";
/// Above all ACLs.
const ABOVE: u16 = 65532;

/// The flows of a switch that is like this, and whose ACLs lead through these network functions.
pub(super) fn write(
    settings: &Settings,
    nature: Nature,
    facts: &Facts,
    functions: &[Uuid],
) -> Vec<LogicalFlow> {
    let mut fixed = Fixed {
        settings,
        nature,
        facts,
        out: Writer::default(),
    };
    fixed.pre_acl();
    fixed.hints();
    fixed.evaluation();
    fixed.verdicts();
    fixed.commits();
    let here = facts.functions.iter();
    for (_, ports) in here.filter(|(function, _)| functions.contains(function)) {
        function_ports(&mut fixed.out, ports);
    }
    fixed.out.flows
}

struct Fixed<'a> {
    settings: &'a Settings,
    nature: Nature,
    facts: &'a Facts,
    out: Writer,
}

impl Fixed<'_> {
    /// `build_pre_acls`, `build_ls_stateful_rec_pre_acls`.
    fn pre_acl(&mut self) {
        let both = [Stage::InPreAcl, Stage::OutPreAcl];
        let out = &mut self.out;
        out.each(both, 0, "1", "next;");
        out.add(Stage::InPreAcl, 110, "eth.dst == $svc_monitor_mac", "next;");
        out.add(
            Stage::OutPreAcl,
            110,
            "eth.src == $svc_monitor_mac",
            "next;",
        );
        let new = self.settings.is_new();
        if new {
            for port in &self.facts.mirrors {
                let matches = format!("outport == {port}");
                out.add(
                    Stage::OutPreAcl,
                    u16::MAX,
                    matches,
                    "next(pipeline=egress, table=15);",
                );
            }
        }
        if !self.nature.related {
            return;
        }
        for port in &self.facts.untracked {
            for (stage, field) in both.into_iter().zip(["inport", "outport"]) {
                out.add(stage, 110, format!("ip && {field} == {port}"), "next;");
            }
        }
        if self.facts.evpn {
            out.add(Stage::InPreAcl, 110, "from_evpn_vtep", "next;");
            out.add(Stage::OutPreAcl, 110, "to_evpn_vtep", "next;");
        }
        out.each(
            both,
            110,
            "nd || nd_rs || nd_ra || mldv1 || mldv2 || (udp && udp.src == 546 && udp.dst == 547)",
            "next;",
        );
        if !self.settings.translates {
            out.each(both, 110, "eth.mcast", "next;");
        }
        out.add(
            Stage::InPreAcl,
            110,
            "((ip4 && icmp4.type == 3 && icmp4.code == 4) || (ip6 && icmp6.type == 2 && icmp6.code == 0)) \
             && flags.tunnel_rx == 1",
            "next;",
        );
        out.each(both, 100, "ip", "reg0[0] = 1; next;");
    }

    /// `build_acl_hints`.
    fn hints(&mut self) {
        let both = [Stage::InAclHint, Stage::OutAclHint];
        let Nature { has_acls, vip, .. } = self.nature;
        let default = if has_acls || vip { 0 } else { u16::MAX };
        self.out.each(both, default, "1", "next;");
        if !self.nature.stateful() {
            return;
        }
        let fresh = match self.settings.is_new() {
            true => "reg0[7] = 1; reg0[9] = 1; reg0[1] = 1; next;",
            false => "reg0[7] = 1; reg0[9] = 1; next;",
        };
        for (priority, matches, actions) in [
            (7, "ct.new && !ct.est", fresh),
            (
                6,
                "!ct.new && ct.est && !ct.rpl && ct_mark.blocked == 1",
                fresh,
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
            self.out.each(both, priority, matches, actions);
        }
    }

    /// What `build_acls` writes of each switch.
    fn evaluation(&mut self) {
        let outer = [Stage::InAclEval, Stage::OutAclEval];
        let Nature { has_acls, vip, .. } = self.nature;
        let allow = "reg8[16] = 1; next;";
        let default = if has_acls || vip { 0 } else { u16::MAX };
        self.out.each(outer, default, "1", "next;");
        self.out.add(Stage::InAclAfterLbEval, 0, "1", "next;");
        if self.nature.stateful() {
            self.established();
        }
        let out = &mut self.out;
        out.each(
            [Stage::InAclEval, Stage::OutAclEval, Stage::InAclAfterLbEval],
            ABOVE,
            IPV6_SERVICE,
            allow,
        );
        out.each(
            [
                Stage::InAclSample,
                Stage::OutAclSample,
                Stage::InAclAfterLbSample,
            ],
            0,
            "1",
            "next;",
        );
        if self.facts.has_dns {
            let actions = match self.nature.stateful() {
                true => "reg8[16] = 1; ct_commit; next;",
                false => allow,
            };
            out.add(
                Stage::OutAclEval,
                34000,
                "flags.from_ctrl && udp.src == 53",
                actions,
            );
        }
        for matches in &self.facts.dhcp {
            out.add(Stage::OutAclEval, 34000, matches.as_str(), allow);
        }
        if has_acls || vip {
            for (stage, matches) in [
                (Stage::InAclEval, "eth.dst == $svc_monitor_mac"),
                (Stage::OutAclEval, "eth.src == $svc_monitor_mac"),
            ] {
                out.add(stage, 34000, matches, allow);
            }
        }
    }

    /// What conntrack alone decides.
    fn established(&mut self) {
        let outer = [Stage::InAclEval, Stage::OutAclEval];
        let new = self.settings.is_new();
        let out = &mut self.out;
        // From OVN 25.09 the hint stage asks for the commit.
        let commit = if new { "" } else { "reg0[1] = 1; " };
        out.each(
            outer,
            1,
            "ip && ct.est && ct_mark.blocked == 1",
            &format!("{commit}reg8[16] = 1; next;"),
        );
        let untracked = match self.settings.drops_by_default {
            true => "next;".to_owned(),
            false => format!("{commit}next;"),
        };
        out.each(outer, 1, "ip && !ct.est", &untracked);
        let is_inv = match self.settings.inv && !self.facts.stateless_with_lb {
            true => "ct.inv || ",
            false => "",
        };
        out.each(
            outer,
            ABOVE,
            &format!("{is_inv}(ct.est && ct.rpl && ct_mark.blocked == 1)"),
            "reg8[17] = 1; next;",
        );
        let (reply, related) = established_matches(self.settings);
        let function = function_bit(self.settings);
        for (stage, first) in [
            (
                Stage::InAclEval,
                "reg0[9] = 0; reg0[10] = 0; reg0[17] = 1; ",
            ),
            (Stage::OutAclEval, ""),
        ] {
            let actions = format!("{first}{function}reg8[16] = 1; next;");
            out.add(stage, ABOVE, reply.as_str(), actions);
        }
        for (stage, first) in [
            (Stage::InAclEval, "reg0[17] = 1; "),
            (Stage::OutAclEval, ""),
        ] {
            let actions = format!("{first}{function}reg8[16] = 1; ct_commit_nat;");
            out.add(stage, ABOVE, related.as_str(), actions);
        }
        let persisted = "ct.est && ct_mark.allow_established == 1";
        for (stage, first) in [
            (Stage::InAclEval, "reg0[21] = 1; "),
            (Stage::OutAclEval, ""),
        ] {
            let actions = format!("{first}{function}reg8[16] = 1; next;");
            out.add(stage, ABOVE, persisted, actions);
        }
        for matches in ["reg0[17] == 1", "reg0[21] == 1"] {
            out.add(
                Stage::InAclAfterLbEval,
                ABOVE,
                matches,
                "reg8[16] = 1; next;",
            );
        }
    }

    /// `build_acl_action_lflows`.
    fn verdicts(&mut self) {
        let settings = self.settings;
        let drop = &settings.drop;
        for (block, (eval, _, stage)) in BLOCKS.into_iter().enumerate() {
            let out = &mut self.out;
            if !self.nature.has_acls {
                out.add(stage, 0, "1", "next;");
                continue;
            }
            let last = self.nature.tiers[block];
            let mut reset = String::from("reg8[16] = 0; reg8[17] = 0; reg8[18] = 0; ");
            if last > 0 {
                reset += "reg8[30..31] = 0; ";
            }
            let (egress, ingress) = settings.release.answers();
            let (other, answer, own) = match eval.is_ingress() {
                true => ("egress", egress, "ingress"),
                false => ("ingress", ingress, "egress"),
            };
            out.add(stage, 1000, "reg8[16] == 1", format!("{reset}next;"));
            out.add(stage, 1000, "reg8[17] == 1", format!("{reset}{drop}"));
            out.flows.push(LogicalFlow {
                stage,
                priority: 1000,
                matches: Arc::from("reg8[18] == 1"),
                actions: Arc::from(format!(
                    "{reset}reg0 = 0; reject {{ /* eth.dst <-> eth.src; ip.dst <-> ip.src; is implicit. */ \
                     outport <-> inport; next(pipeline={other},table={answer}); }};"
                )),
                acl: None,
                controller_meter: self.facts.reject_meter.clone(),
            });
            let default = match settings.drops_by_default {
                true => drop,
                false => "next;",
            };
            out.add(stage, 0, "1", format!("{reset}{default}"));
            let table = settings.release.table(eval);
            for tier in 0..last {
                let next = tier + 1;
                out.add(
                    stage,
                    500,
                    format!("reg8[30..31] == {tier}"),
                    format!("reg8[30..31] = {next}; next(pipeline={own},table={table});"),
                );
            }
        }
    }

    /// `build_stateful`.
    fn commits(&mut self) {
        let both = [Stage::InStateful, Stage::OutStateful];
        let out = &mut self.out;
        out.each(both, 0, "1", "next;");
        let observed = "ct_mark.obs_stage = reg8[19..20]; ct_mark.obs_collector_id = reg8[8..15]; \
                        ct_label.obs_point_id = reg9; ";
        let commit = |observed: &str, function: &str| {
            format!(
                "ct_commit {{ ct_mark.blocked = 0; ct_mark.allow_established = reg0[20]; {observed}\
                 ct_label.acl_id = reg2[16..31]; {function}}}; next;"
            )
        };
        let new = self.settings.is_new();
        let none = if new {
            "ct_label.nf = 0; ct_label.nf_id = 0; "
        } else {
            ""
        };
        let function = "ct_label.nf = 1; ct_label.nf_id = reg0[22..29]; ";
        for (label, observed) in [(1, observed), (0, "")] {
            let matches = format!("reg0[1] == 1 && reg0[13] == {label}");
            out.each(both, 100, &matches, &commit(observed, none));
            if new {
                let matches = format!("{matches} && reg8[21] == 1");
                out.each(both, 110, &matches, &commit(observed, function));
            }
        }
        if self.facts.stateless_with_lb && self.facts.has_balancers {
            out.add(Stage::OutStateful, 110, "reg0[16] == 1 && ct.new", "next;");
        }
    }
}

/// `consider_network_function`, `build_lswitch_stateful_nf`.
fn function_ports(out: &mut Writer, ports: &[String; 2]) {
    let [input, _] = ports;
    out.add(
        Stage::OutPreAcl,
        110,
        format!("inport == {input}"),
        "next(pipeline=egress, table=14);",
    );
    for port in ports {
        for (label, observed) in [
            (0, ""),
            (
                1,
                "ct_mark.obs_stage = reg8[19..20]; ct_mark.obs_collector_id = reg8[8..15]; \
                 ct_label.obs_point_id = reg9; ",
            ),
        ] {
            out.add(
                Stage::OutStateful,
                120,
                format!("outport == {port} && reg0[13] == {label}"),
                format!(
                    "ct_commit {{ ct_mark.blocked = 0; ct_mark.allow_established = reg0[20]; \
                     ct_label.acl_id = reg2[16..31]; {observed}ct_label.tun_if_id = reg5[16..31]; }}; next;"
                ),
            );
        }
    }
}

/// Replies, and what is related, to connections that are not blocked.
pub(super) fn established_matches(settings: &Settings) -> (String, String) {
    if settings.is_new() {
        return (
            "ct.est && !ct.rel && ct.rpl && ct_mark.blocked == 0".to_owned(),
            "!ct.est && ct.rel && !ct.new && ct_mark.blocked == 0".to_owned(),
        );
    }
    let inv = if settings.inv { " && !ct.inv" } else { "" };
    (
        format!("ct.est && !ct.rel && !ct.new{inv} && ct.rpl && ct_mark.blocked == 0"),
        format!("!ct.est && ct.rel && !ct.new{inv} && ct_mark.blocked == 0"),
    )
}

/// Whether a connection goes through a network function.
pub(super) fn function_bit(settings: &Settings) -> &'static str {
    match settings.is_new() {
        true => "reg8[21] = ct_label.nf; ",
        false => "",
    }
}
