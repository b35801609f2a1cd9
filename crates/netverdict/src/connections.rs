//! `netverdict connections`: the conntrack table now, each entry with the policy that admitted it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use netverdict_ovn::Database;
use netverdict_ovsdb::{Columns, Datum, Wanted};
use netverdict_source::{conntrack, datapath};
use netverdict_types::{Clock, Decision, Key, SystemClock, Unresolved, ZoneId};
use netverdict_wire::conntrack::{Entry, ZoneNames, ZoneOwner, parse_line};
use serde::Serialize;

use crate::databases::Databases;
use crate::engine::Engine;
use crate::exit::{Done, Usage, tell};
use crate::filters::Filters;
use crate::output::{Lines, Name, Protocol, sentence};
use crate::remote::{self, Credentials};
use crate::session::look;
use crate::sources::Spec;

/// Show the connections of this node, each with the policy that admitted it
///
/// Reads the kernel's conntrack table, or what `ovs-appctl dpctl/dump-conntrack -m` printed. An
/// entry shows a policy when the connection began while its ACL was sampled or had a label.
#[derive(Args, Clone, Debug)]
pub(crate) struct Connections {
    #[command(flatten)]
    filters: Filters,

    /// How to show it
    #[arg(long, short, value_enum, default_value_t)]
    output: Form,

    /// Read the output of `ovs-appctl dpctl/dump-conntrack -m` from a file, or - for standard
    /// input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all_namespaces", "vswitchd"])]
    dump: Option<PathBuf>,

    /// Ask ovs-vswitchd, which alone knows the connections of a userspace datapath
    #[arg(long, value_name = "RUNDIR", num_args = 0..=1, default_missing_value = datapath::RUN_DIRECTORY,
          require_equals = true, conflicts_with = "all_namespaces")]
    vswitchd: Option<PathBuf>,

    /// Read the tables of all network namespaces
    #[arg(long)]
    all_namespaces: bool,

    /// Instead of this node's, those of the last hour that a netverdict server has
    #[arg(long, value_name = "server:URL", conflicts_with_all = ["dump", "vswitchd", "all_namespaces"])]
    source: Option<Spec>,

    /// Where `netverdict observe` keeps the past [default: as there]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    #[command(flatten)]
    databases: Databases,

    #[command(flatten)]
    credentials: Credentials,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Form {
    /// Columns under a heading
    #[default]
    Table,
    /// One JSON object a line
    Json,
}

/// One entry as JSON: a decision, and what conntrack knows.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    decision: &'a Decision<'a>,
    conntrack: Tracked<'a>,
}

#[derive(Serialize)]
struct Tracked<'a> {
    zone: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    blocked: bool,
    natted: bool,
    point: u32,
    collector: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_src: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
}

/// What was read, with the place it came from.
struct Table {
    namespace: Option<String>,
    entries: Vec<Entry>,
}

impl Connections {
    pub(crate) fn run(self) -> Result<Done> {
        if let Some(source) = &self.source {
            return self.ask(source);
        }
        let (mut engine, zone) = look(&self.databases, self.state.as_deref())?;
        let names = self.zone_names()?;
        let mut malformed = 0;
        let tables = self.tables(&mut malformed)?;
        let plan = self.filters.query().plan(SystemClock.now());
        let mut lines = Lines::new();
        if self.output == Form::Table {
            lines.write(&[
                ("PORT", 26),
                ("SOURCE", 30),
                ("DESTINATION", 30),
                ("PROTOCOL", 9),
                ("STATE", 12),
                ("PACKETS", 9),
                ("POLICY", 0),
            ])?;
        }
        let (mut shown, mut others) = (0_u64, 0_u64);
        let now = SystemClock.now();
        for table in &tables {
            for entry in &table.entries {
                let owner = names.owner(entry.zone);
                if entry.obs_point_id() == 0 && !matches!(owner, Some(ZoneOwner::Port(_))) {
                    others += 1;
                    continue;
                }
                let key = key(&engine, zone, entry);
                let sample = entry.sample(zone, now, key);
                let mut decision = engine.resolve(&sample);
                if entry.obs_point_id() == 0 {
                    decision.unresolved = Some(Unresolved::Unsampled);
                }
                if !plan.matches(&decision) {
                    continue;
                }
                shown += 1;
                match self.output {
                    Form::Json => lines.json(&Row {
                        conntrack: tracked(entry, owner, table.namespace.as_deref()),
                        decision: &decision,
                    })?,
                    Form::Table => lines.write(&[
                        (owner.map_or("-", ZoneOwner::name), 26),
                        (&Name(&decision.src).to_string(), 30),
                        (&Name(&decision.dst).to_string(), 30),
                        (&Protocol(&decision).to_string(), 9),
                        (entry.tcp_state.map_or("-", |state| state.as_str()), 12),
                        (&packets(entry), 9),
                        (&sentence(&decision), 0),
                    ])?,
                }
            }
        }
        lines.flush()?;
        tell(format_args!(
            "{shown} connections; {others} entries of others than OVN's ports"
        ));
        if malformed > 0 {
            tell(format_args!(
                "{malformed} entries could not be read and are missing"
            ));
        }
        Ok(Done::Ok)
    }

    /// Shows what a server has.
    fn ask(&self, source: &Spec) -> Result<Done> {
        let sources = std::slice::from_ref(source);
        let Some(client) = remote::server(sources, &self.credentials)? else {
            let text = format!("{source} has no connections; a server has: --source server:URL");
            return Err(Usage(text).into());
        };
        let wanted = remote::Wanted {
            query: self.filters.query().to_string(),
            ..remote::Wanted::default()
        };
        let form = match self.output {
            Form::Table => remote::Form::Table,
            Form::Json => remote::Form::Json,
        };
        remote::show(&client, &wanted, Some(usize::MAX), false, form)
    }

    fn tables(&self, malformed: &mut u64) -> Result<Vec<Table>> {
        let text = |reader: &mut dyn BufRead, malformed: &mut u64| -> Result<Vec<Table>> {
            let mut entries = Vec::new();
            for line in reader.lines() {
                match parse_line(&line?) {
                    Ok(Some(entry)) => entries.push(entry),
                    Ok(None) => {}
                    Err(_) => *malformed += 1,
                }
            }
            Ok(vec![Table {
                namespace: None,
                entries,
            }])
        };
        if let Some(path) = &self.dump {
            if path.as_os_str() == "-" {
                return text(&mut std::io::stdin().lock(), malformed);
            }
            let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
            return text(&mut BufReader::new(file), malformed);
        }
        if let Some(directory) = &self.vswitchd {
            let dump = datapath::Vswitchd::find(directory)?.dump_conntrack(None)?;
            return text(&mut dump.as_bytes(), malformed);
        }
        let read = if self.all_namespaces {
            conntrack::read_all()?
        } else {
            vec![conntrack::read()]
        };
        let mut tables = Vec::new();
        for table in read {
            match table {
                Ok(table) => {
                    *malformed += table.malformed;
                    if table.interrupted {
                        tracing::warn!(
                            "the conntrack table changed while it was read: entries may be missing or doubled"
                        );
                    }
                    tables.push(Table {
                        namespace: table
                            .namespace
                            .map(|namespace| namespace.path.display().to_string()),
                        entries: table.entries,
                    });
                }
                Err(error) if self.all_namespaces => tracing::warn!("{error}"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(tables)
    }

    /// Whose each conntrack zone is, as ovn-controller notes on the integration bridge.
    fn zone_names(&self) -> Result<ZoneNames> {
        let remotes = self.databases.remotes(Database::Vswitch)?;
        let Some(remote) = remotes.first() else {
            return Ok(ZoneNames::default());
        };
        let wanted = Wanted::new().table("Bridge", ["name", "external_ids"]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let rows =
            runtime.block_on(self.databases.load_these(Database::Vswitch, remote, wanted))?;
        let ids: Vec<(String, String)> = rows
            .rows("Bridge")
            .filter_map(|row| row.column("external_ids"))
            .flat_map(Datum::pairs)
            .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value.as_str()?.to_owned())))
            .collect();
        let ids = ids
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        Ok(ZoneNames::from_external_ids(ids))
    }
}

/// Packets of both directions; `-` where conntrack does not count them.
fn packets(entry: &Entry) -> String {
    match (entry.orig_count, entry.reply_count) {
        (None, None) => "-".to_owned(),
        (orig, reply) => {
            let counts = [orig, reply].into_iter().flatten();
            counts.map(|count| count.packets).sum::<u64>().to_string()
        }
    }
}

/// The same bits are a point, or a label where ACLs have labels and are not sampled.
fn key(engine: &Engine, zone: ZoneId, entry: &Entry) -> Key<'static> {
    let number = entry.obs_point_id();
    let is_label = || engine.history().labelled(zone, number).next().is_some();
    if !entry.is_sampled() && is_label() {
        Key::Label(number)
    } else {
        Key::ConntrackPoint(number)
    }
}

fn tracked<'a>(
    entry: &Entry,
    owner: Option<&'a ZoneOwner>,
    namespace: Option<&'a str>,
) -> Tracked<'a> {
    let counts = entry.orig_count.zip(entry.reply_count);
    Tracked {
        zone: entry.zone,
        port: owner.map(ZoneOwner::name),
        state: entry.tcp_state.map(|state| state.as_str()),
        blocked: entry.blocked(),
        natted: entry.natted(),
        point: entry.obs_point_id(),
        collector: entry.obs_collector_id(),
        reply_src: entry.reply.src,
        packets: counts.map(|(orig, reply)| [orig.packets, reply.packets]),
        bytes: counts.map(|(orig, reply)| [orig.bytes, reply.bytes]),
        timeout: entry.timeout,
        namespace,
    }
}
