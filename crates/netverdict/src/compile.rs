//! `netverdict compile`: what policies become in OVN.

mod table;
mod world;

use std::io::{IsTerminal, Write, stdout};

use anyhow::{Result, anyhow, bail};
use clap::{Args, ValueEnum};
use netverdict_control::{Terms, apply};
use netverdict_ovsdb::Replica;
use netverdict_policy::Row;

use crate::exit::{Done, tell};

pub(crate) use world::{Inputs, News, Settings, World};

/// See what policies become in OVN: the northbound rows that ovn-kubernetes makes of them
///
/// Reads manifests: policies, and the pods, namespaces, nodes and services that they are about.
/// What is left out and a cluster would add (nodes, addresses) is assumed, and said. Exit status 1
/// if a document is broken; the good ones are compiled all the same.
#[derive(Args, Clone, Debug)]
pub(crate) struct Compile {
    #[command(flatten)]
    inputs: Inputs,

    /// Only the rows of this zone [default: all]
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,

    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Output {
    /// For people, by policy
    #[default]
    Table,
    /// One JSON object a line, for each row of each zone (docs/row.schema.json)
    Json,
    /// A shell script of ovn-nbctl that makes the rows of one zone in an empty NB
    Nbctl,
}

impl Compile {
    /// Runs the command.
    ///
    /// # Errors
    /// If a path cannot be read, or there is no such zone.
    pub(crate) fn run(&self) -> Result<Done> {
        let mut world = World::new(&self.inputs);
        let news = world.take(self.inputs.read()?);
        tell_news(&world, &news);
        let zones = world.zones_named(self.zone.as_deref())?;
        let mut out = std::io::BufWriter::new(stdout().lock());
        match self.output {
            Output::Table => {
                let colour = colours(&stdout());
                for (number, zone) in zones.iter().enumerate() {
                    if number > 0 {
                        writeln!(out)?;
                    }
                    table::print(&mut out, zone, &world.rows(zone), &world.names(), colour)?;
                }
            }
            Output::Json => {
                let names = world.names();
                for zone in &zones {
                    for row in world.rows(zone) {
                        writeln!(out, "{}", row.json(zone, &names))?;
                    }
                }
            }
            Output::Nbctl => {
                let [zone] = &zones[..] else {
                    bail!(
                        "there are several zones, each with its own NB: name one with --zone: {}",
                        zones.join(", ")
                    );
                };
                out.write_all(script(&world, zone)?.as_bytes())?;
            }
        }
        out.flush()?;
        tell(world.summary(&news));
        Ok(if news.errors > 0 {
            Done::Failed
        } else {
            Done::Ok
        })
    }
}

/// Shows what there is to tell on standard error.
pub(crate) fn tell_news(world: &World, news: &News) {
    let told = world.render(&news.diagnostics, colours(&std::io::stderr()));
    // Where nobody reads it, nothing is lost by it.
    let _ = std::io::stderr().lock().write_all(told.as_bytes());
}

/// True where colours are welcome: on a terminal, and never with NO_COLOR.
fn colours(output: &impl IsTerminal) -> bool {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    output.is_terminal() && !no_colour
}

fn script(world: &World, zone: &str) -> Result<String> {
    let rows: Vec<&Row> = world.rows(zone);
    let terms = Terms {
        adopt: false,
        sampling: true,
    };
    let plan = apply(&Replica::default(), rows, zone, terms).map_err(|error| anyhow!(error))?;
    Ok(plan.script(&[]))
}
