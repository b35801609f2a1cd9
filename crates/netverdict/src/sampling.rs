//! `netverdict sampling`: what OVN samples, on and off.

use std::fs::File;
use std::io::{BufReader, Write, stdout};
use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use netverdict_control::{
    Compat, DEFAULT_SET, Feature, Plan, Rates, Sampled, Status, VswitchWish, Wish, disable,
    disable_vswitch, enable, enable_vswitch, status, wanted,
};
use netverdict_ovn::Database;
use netverdict_ovsdb::Replica;

use crate::databases::{Databases, Remote};
use crate::exit::Done;
use crate::output::print_columns;
use crate::write::{Output, WriteArguments, Writer, open};

/// See what OVN samples, turn it on, turn it off
#[derive(Args, Clone, Debug)]
pub(crate) struct Sampling {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    Status(StatusArguments),
    Enable(EnableArguments),
    Disable(DisableArguments),
}

/// What is sampled, at which rate, by whom, and what is wrong with it
#[derive(Args, Clone, Debug)]
struct StatusArguments {
    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    databases: Databases,
}

/// Sample the ACLs of a zone, and send the samples of a node
///
/// Changes one NB and, with --group or --ipfix, one Open vSwitch, in one transaction each. What is
/// as wanted already is left alone; what others made is added to, never replaced.
#[derive(Args, Clone, Debug)]
struct EnableArguments {
    /// What to sample and how much of it, in percent of the packets of new and of established
    /// connections; repeatable. Features: AdminNetworkPolicy, EgressFirewall, Multicast,
    /// NetworkPolicy, UDNIsolation, Other (ACLs of other makers), all [default: all=new:100,est:1]
    #[arg(long = "feature", value_name = "NAME[=new:P,est:P]")]
    features: Vec<FeatureRates>,

    /// Collector set of the samples
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SET, value_parser = clap::value_parser!(u32).range(1..))]
    set: u32,

    /// Make the very rows that another maker would make: one Sample in both columns, all packets
    #[arg(long, value_enum)]
    compat: Option<CompatWith>,

    /// Send the set's samples of this node to this group of psample
    #[arg(long, value_name = "N")]
    group: Option<u32>,

    /// Send the set's samples of this node as IPFIX to this UDP socket
    #[arg(long, value_name = "ADDR:PORT")]
    ipfix: Option<SocketAddr>,

    /// Change a collector set of this node that somebody else made
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    write: WriteArguments,

    #[command(flatten)]
    databases: Databases,
}

/// Remove what netverdict made, and only that
#[derive(Args, Clone, Debug)]
struct DisableArguments {
    /// Only what was made for this collector set
    #[arg(long, value_name = "N")]
    set: Option<u32>,

    #[command(flatten)]
    write: WriteArguments,

    #[command(flatten)]
    databases: Databases,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CompatWith {
    /// The observability manager of ovn-kubernetes
    OvnKubernetes,
}

/// `NAME`, or `NAME=new:P,est:P`.
#[derive(Clone, Debug)]
struct FeatureRates {
    features: Vec<Feature>,
    rates: Option<Rates>,
}

impl FromStr for FeatureRates {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, rates) = match text.split_once('=') {
            Some((name, rates)) => (name, Some(rates.parse()?)),
            None => (text, None),
        };
        let features = match name {
            "all" => Feature::ALL.to_vec(),
            name => vec![name.parse()?],
        };
        Ok(Self { features, rates })
    }
}

impl Sampling {
    /// Runs the command.
    ///
    /// # Errors
    /// If a database cannot be reached, or the change is impossible or refused.
    pub(crate) fn run(&self) -> Result<Done> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            match &self.command {
                Command::Status(arguments) => arguments.run().await,
                Command::Enable(arguments) => arguments.run().await,
                Command::Disable(arguments) => arguments.run().await,
            }
        })
    }
}

impl StatusArguments {
    async fn run(&self) -> Result<Done> {
        let nbs = self.databases.remotes(Database::Northbound)?;
        let sbs = self.databases.remotes(Database::Southbound)?;
        let switches = self.databases.remotes(Database::Vswitch)?;
        if nbs.is_empty() {
            bail!("no NB is known; name one with --nb");
        }
        let mut out = stdout().lock();
        for (number, remote) in nbs.iter().enumerate() {
            let nb = self.load(Database::Northbound, remote).await?;
            let sb = match sbs.get(number) {
                Some(remote) => Some(self.load(Database::Southbound, remote).await?),
                None => None,
            };
            let ovs = match switches.get(number) {
                Some(remote) => Some(self.load(Database::Vswitch, remote).await?),
                None => None,
            };
            let status = status(&nb, sb.as_ref(), ovs.as_ref());
            match self.output {
                Output::Json => writeln!(out, "{}", serde_json::to_string(&status)?)?,
                Output::Table => {
                    if number > 0 {
                        writeln!(out)?;
                    }
                    print_status(&mut out, &status)?;
                }
            }
        }
        out.flush()?;
        Ok(Done::Ok)
    }

    async fn load(&self, database: Database, remote: &Remote) -> Result<Replica> {
        match remote {
            Remote::Live(endpoints) => {
                let client = open(&self.databases, database, endpoints, wanted(database)).await?;
                Ok(client.replica().clone())
            }
            Remote::Dump(path) => {
                let file = File::open(path).with_context(|| path.display().to_string())?;
                let dump = Replica::from_dump(BufReader::new(file))
                    .with_context(|| path.display().to_string())?;
                for problem in &dump.problems {
                    tracing::warn!("{}: {problem}", path.display());
                }
                Ok(dump.replica.restrict(&wanted(database)))
            }
        }
    }
}

impl EnableArguments {
    async fn run(&self) -> Result<Done> {
        let wish = self.wish();
        let sends = self.group.is_some() || self.ipfix.is_some();
        let mut writer = Writer::new(&self.write, &self.databases, ADVICE)?;
        // First somebody to hear, then somebody to speak.
        if sends {
            let wish = VswitchWish {
                set: self.set,
                group: self.group,
                ipfix: self.ipfix,
                force: self.force,
            };
            add(
                &mut writer,
                &self.databases,
                Database::Vswitch,
                true,
                move |ovs| enable_vswitch(ovs, &wish).map_err(Into::into),
            )
            .await?;
        }
        let is_node_only = sends && self.databases.nb.is_empty() && self.features.is_empty();
        add(
            &mut writer,
            &self.databases,
            Database::Northbound,
            !is_node_only,
            move |nb| enable(nb, &wish).map_err(Into::into),
        )
        .await?;
        writer.run().await
    }

    fn wish(&self) -> Wish {
        let default = match self.compat {
            Some(_) => Rates::ALL,
            None => Rates::DEFAULT,
        };
        let all = FeatureRates {
            features: Feature::ALL.to_vec(),
            rates: None,
        };
        let wanted = match &self.features[..] {
            [] => std::slice::from_ref(&all),
            given => given,
        };
        let features = wanted.iter().flat_map(|wanted| {
            let rates = wanted.rates.unwrap_or(default);
            wanted.features.iter().map(move |feature| (*feature, rates))
        });
        Wish {
            features: features.collect(),
            set: self.set,
            exact: self.features.iter().any(|wanted| wanted.rates.is_some()),
            compat: self
                .compat
                .map(|CompatWith::OvnKubernetes| Compat::OvnKubernetes),
        }
    }
}

impl DisableArguments {
    async fn run(&self) -> Result<Done> {
        let set = self.set;
        let has = |database| Ok::<_, anyhow::Error>(!self.databases.remotes(database)?.is_empty());
        let (nb, ovs) = (has(Database::Northbound)?, has(Database::Vswitch)?);
        let mut writer = Writer::new(&self.write, &self.databases, ADVICE)?;
        let asked = nb || !ovs;
        add(
            &mut writer,
            &self.databases,
            Database::Northbound,
            asked,
            move |nb| Ok(disable(nb, set)),
        )
        .await?;
        add(
            &mut writer,
            &self.databases,
            Database::Vswitch,
            ovs,
            move |ovs| Ok(disable_vswitch(ovs, set)),
        )
        .await?;
        writer.run().await
    }
}

/// What else undoes what is done here.
const ADVICE: &str = "netverdict sampling disable removes all that is netverdict's";

/// Plans a change of the one database of its kind, if it is asked for.
async fn add<'a>(
    writer: &mut Writer<'a>,
    databases: &Databases,
    database: Database,
    is_asked_for: bool,
    planner: impl Fn(&Replica) -> Result<Plan> + 'a,
) -> Result<()> {
    let remotes = databases.remotes(database)?;
    if !is_asked_for && remotes.is_empty() {
        return Ok(());
    }
    let flag = match database {
        Database::Northbound | Database::Sets => "--nb",
        Database::Southbound => "--sb",
        Database::Vswitch => "--ovs",
    };
    let endpoints = match &remotes[..] {
        [Remote::Live(endpoints)] => endpoints.clone(),
        [Remote::Dump(path)] => bail!(
            "{} is a dump; sampling is changed in a live {}",
            path.display(),
            database.name()
        ),
        [] => bail!("no {} is known; name one with {flag}", database.name()),
        _ => bail!("give {flag} once: one zone is changed at a time"),
    };
    writer
        .add(database, endpoints, wanted(database), planner)
        .await
}

fn print_status(out: &mut impl Write, status: &Status) -> Result<()> {
    let zone = match status.zone.as_str() {
        "" => "without a name",
        zone => zone,
    };
    match &status.ovn {
        Some(version) => writeln!(out, "Zone {zone}, OVN {version}")?,
        None => writeln!(out, "Zone {zone}")?,
    }
    writeln!(out)?;
    let mut rows = vec![["POLICIES", "ACLS", "NEW", "ESTABLISHED", "BY"].map(str::to_owned)];
    for policy in &status.policies {
        let kind = match policy.owner.as_str() {
            "" => "(other makers)",
            kind => kind,
        };
        let mut makers: Vec<_> = policy
            .new
            .iter()
            .chain(&policy.est)
            .map(|sampled| sampled.by.as_str())
            .collect();
        makers.sort_unstable();
        makers.dedup();
        let by = match policy.reason {
            Some(reason) if makers.is_empty() => format!("- ({reason})"),
            _ => makers.join(", "),
        };
        rows.push([
            kind.to_owned(),
            policy.acls.to_string(),
            rates(&policy.new, policy.acls),
            rates(&policy.est, policy.acls),
            by,
        ]);
    }
    print_columns(out, &rows)?;
    if !status.collectors.is_empty() {
        writeln!(out)?;
        let mut rows = vec![["COLLECTOR", "SET", "PACKETS", "SAMPLES", "BY"].map(str::to_owned)];
        rows.extend(status.collectors.iter().map(|collector| {
            [
                collector.id.to_string(),
                collector.set.to_string(),
                collector.probability.to_string(),
                collector.samples.to_string(),
                collector.by.clone(),
            ]
        }));
        print_columns(out, &rows)?;
        writeln!(out)?;
        print_flows(out, status)?;
    }
    if let Some(node) = &status.node {
        let psample = match node.psample {
            Some(true) => "",
            Some(false) => ", its datapath has no psample",
            None => ", unknown whether its datapath has psample",
        };
        writeln!(out, "\nNode: bridge {}{psample}", node.bridge)?;
        for set in &node.sets {
            let group = set.group.map(|group| format!("psample group {group}"));
            let ipfix = (!set.ipfix.is_empty()).then(|| format!("IPFIX {}", set.ipfix.join(" ")));
            let targets: Vec<_> = group.into_iter().chain(ipfix).collect();
            let targets = match &targets[..] {
                [] => "nowhere".to_owned(),
                targets => targets.join(" and "),
            };
            writeln!(out, "  set {} to {targets}, by {}", set.set, set.by)?;
        }
        if node.sets.is_empty() {
            writeln!(out, "  no collector set")?;
        }
    }
    if status.problems.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nProblems")?;
    for problem in &status.problems {
        writeln!(out, "  {}", problem.text)?;
        if let Some(mend) = &problem.mend {
            writeln!(out, "    {mend}")?;
        }
    }
    Ok(())
}

fn print_flows(out: &mut impl Write, status: &Status) -> std::io::Result<()> {
    let flows = &status.flows;
    if flows.single == 0 {
        return writeln!(
            out,
            "Flows: optimised, a few for all {} samples",
            flows.optimised
        );
    }
    let why = if flows.old_chassis.is_empty() {
        "they have more than one collector".to_owned()
    } else {
        format!(
            "{} does not say that it can take a point from a register, as OVN 24.09 and Open \
             vSwitch 3.4 can",
            flows.old_chassis.join(", ")
        )
    };
    writeln!(
        out,
        "Flows: about {} for {} samples, as {why}; a few for the other {}",
        flows.single_flows, flows.single, flows.optimised
    )
}

/// `100 %`, or `1 % of 12, 100 % set 43 of 3` where not all ACLs are sampled alike.
fn rates(sampled: &[Sampled], acls: usize) -> String {
    if sampled.is_empty() {
        return "-".to_owned();
    }
    let rate = |sampled: &Sampled| {
        let all = if sampled.acls == acls {
            String::new()
        } else {
            format!(" of {}", sampled.acls)
        };
        format!("{} to {}{all}", sampled.probability, sampled.set)
    };
    sampled.iter().map(rate).collect::<Vec<_>>().join(", ")
}
