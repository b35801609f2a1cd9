//! `netverdict lflow`: the logical flows of the ACL stages.

use std::io::{Write, stdout};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use netverdict_pipeline::flow::{LogicalFlow, Release, flows};
use netverdict_pipeline::openflow;
use netverdict_pipeline::{Northbound, SwitchId};
use netverdict_types::App;
use serde_json::{Value, json};

use crate::exit::Done;
use crate::twin::{Below, Inputs, Twin};

/// See the logical flows that OVN makes of ACLs, as ovn-northd would write them
///
/// All flows of the ACL stages of logical switches, computed from the northbound rows alone, or
/// from the policies. For what OVN runs with now, see `ovn-sbctl lflow-list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Lflow {
    #[command(flatten)]
    inputs: Inputs,

    /// Only this switch, by name or UUID [default: all]
    #[arg(long, value_name = "SWITCH")]
    datapath: Option<String>,

    /// Only this zone [default: all]
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,

    /// Whose flows
    #[arg(long, value_enum, default_value_t)]
    ovn_version: OvnVersion,

    /// Instead, the way of each sampled ACL down: its Samples, the logical flows that sample for it, their
    /// OpenFlow actions, and the actions of the datapath. SB tells the keys of datapaths, Open vSwitch
    /// the collector sets
    #[arg(long)]
    openflow: bool,

    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum OvnVersion {
    /// OVN 25.03
    #[default]
    #[value(name = "25.03")]
    R25_03,
    /// OVN 26.03
    #[value(name = "26.03")]
    R26_03,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Output {
    /// As ovn-sbctl lflow-list prints them
    #[default]
    Text,
    /// One JSON object a line for each flow of each switch (docs/lflow.schema.json)
    Json,
}

impl Lflow {
    /// Runs the command.
    ///
    /// # Errors
    /// If the rows cannot be read, or there is no such zone or switch.
    pub(crate) fn run(&self) -> Result<Done> {
        let twin = self.inputs.twin()?;
        let release = match self.ovn_version {
            OvnVersion::R25_03 => Release::R25_03,
            OvnVersion::R26_03 => Release::R26_03,
        };
        let mut out = std::io::BufWriter::new(stdout().lock());
        let below = if self.openflow {
            self.inputs.below()?
        } else {
            Vec::new()
        };
        for (zone, switch) in self.chosen(&twin)? {
            let flows = flows(zone, switch, release);
            if self.openflow {
                let number = twin.zones.iter().position(|other| other.name == zone.name);
                let below = number.and_then(|number| below.get(number));
                self.down(&mut out, &twin, (zone, switch, release), &flows, below)?;
                continue;
            }
            match self.output {
                Output::Text => print(&mut out, zone, switch, release, &flows)?,
                Output::Json => {
                    for flow in &flows {
                        let value = json(&twin, zone, switch, release, flow);
                        writeln!(out, "{value}")?;
                    }
                }
            }
        }
        out.flush()?;
        Ok(match twin.errors {
            0 => Done::Ok,
            _ => Done::Failed,
        })
    }

    /// The way of each sampled ACL of a switch down to the datapath.
    fn down(
        &self,
        out: &mut impl Write,
        twin: &Twin,
        (zone, switch, release): (&Northbound, SwitchId, Release),
        flows: &[LogicalFlow],
        below: Option<&Below>,
    ) -> Result<()> {
        let Some(row) = zone.switch(switch) else {
            return Ok(());
        };
        let mut acls: Vec<_> = zone.acls_of(row).collect();
        acls.sort_by_key(|(uuid, acl)| (acl.acl.tier, std::cmp::Reverse(acl.acl.priority), *uuid));
        acls.dedup_by_key(|(uuid, _)| *uuid);
        for (uuid, acl) in acls {
            let links = openflow::chain(zone, release, flows, uuid);
            if links.is_empty() {
                continue;
            }
            let key = below.and_then(|below| below.keys.get(&row.uuid).copied());
            let Some(key) = key.or(row.requested_key) else {
                bail!(
                    "the key of datapath {} is only in SB: --sb names it",
                    row.name
                );
            };
            if self.output == Output::Text {
                let name = acl.acl.name.as_deref().unwrap_or_default();
                writeln!(out, "ACL {uuid} {name:?} on {} (key {key})", row.name)?;
            }
            for link in links {
                let sets = below.and_then(|below| below.sets.as_ref());
                let set = sets.map(|sets| sets.iter().find(|set| set.id == link.sample.set));
                let table = openflow::table(release, link.flow.stage);
                let action = match set {
                    Some(None) => None,
                    _ => Some(openflow::action(&link.sample, key)),
                };
                let datapath = set
                    .flatten()
                    .and_then(|set| openflow::datapath(&link.sample, key, link.point, set, 0));
                match self.output {
                    Output::Text => {
                        let of = match (link.app, link.reply) {
                            (App::AclNew, _) => "sample_new",
                            (_, false) => "sample_est",
                            (_, true) => "sample_est, replies",
                        };
                        let LogicalFlow {
                            stage,
                            priority,
                            matches,
                            actions,
                            ..
                        } = link.flow;
                        writeln!(
                            out,
                            "  {of}: point {}\n    logical flow: table={}({}), priority={priority}, match=({matches}), action=({actions})\n",
                            link.point,
                            release.table(*stage),
                            stage.name(),
                        )?;
                        let none = format!(
                            "none: Open vSwitch has no collector set {}",
                            link.sample.set
                        );
                        let openflow = match &action {
                            Some(action) => format!("table={table}, actions={action}"),
                            None => none.clone(),
                        };
                        let datapath = match (&datapath, set) {
                            (Some(actions), _) => actions,
                            (None, None) => "unknown: --ovs names the node's Open vSwitch",
                            (None, Some(None)) => &none,
                            (None, Some(Some(_))) => {
                                "none: the collector set has neither a group nor an exporter"
                            }
                        };
                        writeln!(out, "    OpenFlow:     {openflow}")?;
                        writeln!(out, "    datapath:     {datapath}")?;
                    }
                    Output::Json => {
                        let mut value = json(twin, zone, switch, release, link.flow);
                        value["acl"] = json!({"uuid": uuid.to_string(), "name": acl.acl.name, "owner": acl.acl.owner});
                        value["app"] = json!(link.app);
                        value["point"] = json!(link.point);
                        value["reply"] = json!(link.reply);
                        value["openflow"] =
                            json!(action.map(|action| json!({"table": table, "action": action})));
                        value["datapath_actions"] = json!(datapath);
                        writeln!(out, "{value}")?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The switches asked for, in the order of zones and names.
    fn chosen<'a>(&self, twin: &'a Twin) -> Result<Vec<(&'a Northbound, SwitchId)>> {
        let all = || twin.northbounds();
        let zones: Vec<&Northbound> = all()
            .filter(|zone| self.zone.as_ref().is_none_or(|name| *name == zone.name))
            .collect();
        if let (Some(name), true) = (&self.zone, zones.is_empty()) {
            let names: Vec<&str> = all().map(|zone| zone.name.as_str()).collect();
            bail!("there is no zone {name}; there are {}", names.join(", "));
        }
        let mut chosen = Vec::new();
        for zone in &zones {
            let mut switches: Vec<_> = zone
                .switches()
                .filter(|(_, switch)| {
                    self.datapath.as_ref().is_none_or(|wanted| {
                        *wanted == *switch.name || *wanted == switch.uuid.to_string()
                    })
                })
                .collect();
            switches.sort_by_key(|(_, switch)| (switch.name.clone(), switch.uuid));
            chosen.extend(switches.into_iter().map(|(id, _)| (*zone, id)));
        }
        if let (Some(wanted), true) = (&self.datapath, chosen.is_empty()) {
            let mut names: Vec<&str> = zones
                .iter()
                .flat_map(|zone| zone.switches().map(|(_, switch)| &*switch.name))
                .collect();
            names.sort_unstable();
            bail!(
                "there is no logical switch {wanted}; there are {}",
                names.join(", ")
            );
        }
        Ok(chosen)
    }
}

/// ovn-sbctl.c, `cmd_lflow_list`; the UUID is that of the switch's row in NB.
fn print(
    out: &mut impl Write,
    zone: &Northbound,
    switch: SwitchId,
    release: Release,
    flows: &[LogicalFlow],
) -> Result<()> {
    let Some(row) = zone.switch(switch) else {
        return Ok(());
    };
    let mut last = None;
    for flow in flows {
        let pipeline = pipeline(flow);
        if last.replace(pipeline) != Some(pipeline) {
            writeln!(
                out,
                "Datapath: \"{}\" ({})  Pipeline: {pipeline}",
                row.name, row.uuid
            )?;
        }
        writeln!(
            out,
            "  table={:<2}({:<19}), priority={:<5}, match=({}), action=({})",
            release.table(flow.stage),
            flow.stage.name(),
            flow.priority,
            flow.matches,
            flow.actions
        )?;
    }
    Ok(())
}

fn json(
    twin: &Twin,
    zone: &Northbound,
    switch: SwitchId,
    release: Release,
    flow: &LogicalFlow,
) -> Value {
    let mut value = json!({
        "zone": zone.name,
        "pipeline": pipeline(flow),
        "table": release.table(flow.stage),
        "stage": flow.stage.name(),
        "priority": flow.priority,
        "match": &*flow.matches,
        "actions": &*flow.actions,
    });
    if let Some(row) = zone.switch(switch) {
        value["datapath"] = json!(&*row.name);
        value["datapath_uuid"] = json!(row.uuid.to_string());
    }
    if let Some(meter) = &flow.controller_meter {
        value["controller_meter"] = json!(&**meter);
    }
    if let Some(uuid) = flow.acl {
        let mut acl = json!({"uuid": uuid.to_string()});
        if let Some(row) = zone.acls.get(&uuid) {
            acl["owner"] = json!(row.acl.owner);
            if let Some(name) = &row.acl.name {
                acl["name"] = json!(name);
            }
            if let Some(id) = &row.id {
                acl["id"] = json!(&**id);
            }
        }
        let origins = twin.origins_json(uuid);
        if !origins.is_empty() {
            acl["origins"] = json!(origins);
        }
        value["acl"] = acl;
    }
    value
}

fn pipeline(flow: &LogicalFlow) -> &'static str {
    match flow.stage.is_ingress() {
        true => "ingress",
        false => "egress",
    }
}
