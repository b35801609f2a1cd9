//! `netverdict apply`: policies into NBs.

mod watch;

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use netverdict_control::{Terms, applied, apply};
use netverdict_ovn::Database;
use netverdict_ovsdb::{Columns, Endpoints, Replica};
use netverdict_source::objects::Change;

use crate::compile::{Inputs, World, tell_news};
use crate::databases::{Databases, Remote, Tls};
use crate::exit::{Done, tell};
use crate::write::{WriteArguments, Writer};

/// Make the rows of a NB those that policies become, and keep them so
///
/// One transaction with what differs, and nothing if nothing does. Rows that are made carry a mark
/// (external_ids:netverdict.io/owner=netverdict-apply); what others made stays. Nothing is written
/// if a document is broken, or if ovn-kubernetes runs the NB.
#[derive(Args, Clone, Debug)]
pub(crate) struct Apply {
    #[command(flatten)]
    inputs: Inputs,

    /// NB of a zone; once for each zone. Which one it is for is its NB_Global.name; a NB without a
    /// name is for the only zone that there is
    #[arg(long, value_name = "ENDPOINT", required = true)]
    nb: Vec<Endpoints>,

    /// The zone that the NB is for, whatever its name
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,

    /// Take over rows of ovn-kubernetes: they are changed, marked and deleted as ours
    #[arg(long)]
    i_own_this_nb: bool,

    /// Go on: follow the manifests or the cluster, and put back what somebody changes in rows of
    /// ours, until a signal comes. A manifest that becomes broken counts as it was before
    #[arg(long, conflicts_with_all = ["dry_run", "inverse"])]
    watch: bool,

    #[command(flatten)]
    write: WriteArguments,

    #[command(flatten)]
    tls: Tls,
}

/// What else undoes what is done here.
const ADVICE: &str = "apply what was applied before";

impl Apply {
    /// Runs the command.
    ///
    /// # Errors
    /// If a path cannot be read, a NB cannot be reached, or the change is impossible or refused.
    pub(crate) fn run(&self) -> Result<Done> {
        if self.zone.is_some() && self.nb.len() > 1 {
            bail!("--zone is for one NB; several tell theirs by NB_Global.name");
        }
        let databases = self.databases();
        databases.check_tls()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            match self.watch {
                true => watch::watch(self, &databases).await,
                false => self.once(&databases).await,
            }
        })
    }

    async fn once(&self, databases: &Databases) -> Result<Done> {
        let Some(world) = self.begin(self.inputs.read()?) else {
            return Ok(Done::Failed);
        };
        let mut writer = Writer::new(&self.write, databases, ADVICE)?;
        for endpoints in &self.nb {
            let plan = |nb: &Replica| {
                let zone = zone_of(nb, self.zone.as_deref(), &world)?;
                let rows = world.rows(&zone);
                apply(nb, rows, &zone, self.terms()).map_err(|error| anyhow!(error))
            };
            writer
                .add(Database::Northbound, endpoints.clone(), applied(), plan)
                .await
                .map_err(|error| self.explain(error))?;
        }
        writer.run().await
    }

    /// Takes the first objects; `None`, and says why, if they are not to be applied.
    fn begin(&self, first: Change) -> Option<World> {
        let mut world = World::new(&self.inputs);
        let news = world.take(first);
        tell_news(&world, &news);
        let summary = world.summary(&news);
        if news.errors > 0 {
            tell(format_args!(
                "{summary}: nothing is applied while a document is broken"
            ));
            return None;
        }
        tell(summary);
        if world.is_empty() {
            // A command before a pipe that failed is no wish to delete everything.
            tell(
                "no object was read: nothing is applied. A Namespace alone is enough to take away \
                 all that apply made",
            );
            return None;
        }
        Some(world)
    }

    fn terms(&self) -> Terms {
        Terms {
            adopt: self.i_own_this_nb,
            sampling: self.inputs.sampling(),
        }
    }

    fn databases(&self) -> Databases {
        Databases {
            nb: self.nb.iter().cloned().map(Remote::Live).collect(),
            tls: self.tls.clone(),
            ..Databases::default()
        }
    }

    /// Names the flag where there is one.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        match error.downcast_ref() {
            Some(netverdict_control::ApplyError::NotOurs { .. }) => {
                error.context("refused; with --i-own-this-nb those rows are taken over")
            }
            _ => error,
        }
    }
}

/// The zone that a NB is for.
fn zone_of(nb: &Replica, given: Option<&str>, world: &World) -> Result<Arc<str>> {
    let zones = world.zones_named(given)?;
    let name = nb.rows("NB_Global").find_map(|row| row.text("name"));
    let only = match (&zones[..], given) {
        ([zone], _) => Some(zone.clone()),
        _ => None,
    };
    match (name.filter(|name| !name.is_empty()), given, only) {
        (_, Some(_), Some(zone)) | (None, _, Some(zone)) => Ok(zone),
        (None, ..) => bail!(
            "this NB has no name (NB_Global.name), and there are several zones: say which with \
             --zone: {}",
            zones.join(", ")
        ),
        (Some(name), ..) => world.zones_named(Some(name)).map(|_| name.into()).context(
            "this NB is for another zone, by its name (NB_Global.name); --zone says otherwise",
        ),
    }
}
