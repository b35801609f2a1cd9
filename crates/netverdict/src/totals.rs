//! `netverdict totals`: exact packets and bytes per ACL, from the counters of datapath flows.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use netverdict_source::datapath::{self, Vswitchd};
use netverdict_types::{
    App, Clock, Headers, Input, Key, Origin, Owner, Probability, Sample, SystemClock,
};
use netverdict_wire::dpflows::{self, Total};
use serde::Serialize;
use uuid::Uuid;

use crate::connections::Form;
use crate::databases::Databases;
use crate::exit::{Done, tell};
use crate::output::{Lines, sentence};
use crate::session::look;

/// Show exact packets and bytes per ACL, from the counters of the datapath's flows
///
/// No packet is copied for it. The datapath counts a flow while it is cached, from the packet
/// after the one that made it: these are the flows of the last moments, not of all time.
#[derive(Args, Clone, Debug)]
pub(crate) struct Totals {
    /// How to show it
    #[arg(long, short, value_enum, default_value_t)]
    output: Form,

    /// Read the output of `ovs-appctl dpctl/dump-flows -m` from a file, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "vswitchd")]
    dump: Option<PathBuf>,

    /// Where ovs-vswitchd has its control socket
    #[arg(long, value_name = "RUNDIR", default_value = datapath::RUN_DIRECTORY)]
    vswitchd: PathBuf,

    /// Where `netverdict observe` keeps the past [default: as there]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    #[command(flatten)]
    databases: Databases,
}

/// What one ACL, or one cookie that leads to none, comes to.
#[derive(Clone, Debug, Default, Serialize)]
struct Row {
    zone: String,
    verdict: &'static str,
    message: String,
    /// The message with the number of the rule, for people.
    #[serde(skip)]
    sentence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acl: Option<Uuid>,
    points: Vec<u32>,
    new_packets: u64,
    established_packets: u64,
    packets: u64,
    bytes: u64,
    flows: u64,
    doubles: u64,
}

impl Totals {
    pub(crate) fn run(self) -> Result<Done> {
        let (mut engine, zone) = look(&self.databases, self.state.as_deref())?;
        let text = match &self.dump {
            Some(path) if path.as_os_str() == "-" => std::io::read_to_string(std::io::stdin())?,
            Some(path) => {
                std::fs::read_to_string(path).with_context(|| path.display().to_string())?
            }
            None => Vswitchd::find(&self.vswitchd)?.dump_flows(None)?,
        };
        let counters = datapath::Counters::default();
        let mut totals = dpflows::Totals::default();
        for flow in datapath::flows(&text, &counters) {
            if totals.add(&flow).is_err() {
                counters.malformed.one();
            }
        }
        let now = SystemClock.now();
        let mut rows: BTreeMap<(Option<Uuid>, String), Row> = BTreeMap::new();
        for (cookie, total) in &totals.by_cookie {
            let Total {
                packets,
                bytes,
                flows,
                doubles,
            } = *total;
            let decision = engine.resolve(&Sample {
                zone,
                origin: Origin::Datapath,
                time: now,
                key: Key::Cookie(*cookie),
                group: None,
                probability: Probability::ALL,
                input: Input::Unknown,
                headers: Headers::default(),
                length: 0,
                packets,
                bytes,
                data: &[],
            });
            let acl = decision.acl.map(|row| row.uuid);
            let row = rows
                .entry((acl, decision.message().to_owned()))
                .or_default();
            row.verdict = decision.verdict.as_str();
            row.message = decision.message().to_owned();
            row.sentence = sentence(&decision);
            row.zone = decision.zone.to_owned();
            row.owner = decision.acl.map(|row| row.acl().owner.clone());
            row.acl = acl;
            row.packets += packets;
            row.bytes += bytes;
            row.flows += flows;
            row.doubles += doubles;
            match decision.app {
                Some(App::AclNew) => row.new_packets += packets,
                Some(App::AclEst) => row.established_packets += packets,
                _ => {}
            }
            if !row.points.contains(&cookie.point) {
                row.points.push(cookie.point);
            }
        }
        let mut rows: Vec<Row> = rows.into_values().collect();
        rows.sort_by(|a, b| b.packets.cmp(&a.packets).then(a.message.cmp(&b.message)));
        let mut lines = Lines::new();
        if self.output == Form::Table {
            lines.write(&[
                ("PACKETS", 12),
                ("BYTES", 14),
                ("NEW", 10),
                ("VERDICT", 10),
                ("POLICY", 0),
            ])?;
        }
        for row in &rows {
            match self.output {
                Form::Json => lines.json(row)?,
                Form::Table => lines.write(&[
                    (&row.packets.to_string(), 12),
                    (&row.bytes.to_string(), 14),
                    (&row.new_packets.to_string(), 10),
                    (&row.verdict.to_uppercase(), 10),
                    (&row.sentence, 0),
                ])?,
            }
        }
        lines.flush()?;
        tell(format_args!(
            "{} datapath flows, {} without a sample",
            totals.flows, totals.unsampled
        ));
        let malformed = counters.malformed.read();
        if malformed > 0 {
            tell(format_args!(
                "{malformed} flows could not be read and are missing"
            ));
        }
        Ok(Done::Ok)
    }
}
