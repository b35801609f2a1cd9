//! What the twin is made of: the northbound rows of each zone, live, dumped, or compiled from manifests.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::Args;
use netverdict_manifest::{Diagnostic, Kind, Object, Severity, Spec};
use netverdict_ovn::{Database, DatapathBinding};
use netverdict_ovsdb::{Columns, Replica, Row, Wanted};
use netverdict_pipeline::Northbound;
use netverdict_pipeline::flow::Release;
use netverdict_pipeline::journey::Zone;
use netverdict_pipeline::openflow::CollectorSet;
use netverdict_pipeline::walk::Walk;
use netverdict_policy::{Names, Origin, Table};
use netverdict_types::{Direction, Owner, OwnerKind};
use netverdict_verdict::RuleId;
use serde_json::Value;
use uuid::Uuid;

use crate::compile::{self, News, Settings, World, tell_news};
use crate::databases::{Databases, Remote};
use crate::exit::{Usage, tell};

/// Where the rows come from.
#[derive(Args, Clone, Debug)]
pub(crate) struct Inputs {
    /// Instead of databases, what these manifests compile to: files, directories, or - for
    /// standard input. With --nb the databases' rows are asked, and these say where rules are
    /// written
    #[arg(long, value_name = "PATH", num_args = 1..)]
    manifests: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) databases: Databases,

    #[command(flatten)]
    settings: Settings,

    /// True for a program that goes on afterwards.
    #[arg(skip)]
    pub(crate) stays: bool,
}

/// The rows of all zones, and where they come from.
pub(crate) struct Twin {
    /// One for each NB, or each zone of the manifests.
    pub(crate) zones: Vec<Arc<Northbound>>,
    /// The manifests, if there are any.
    pub(crate) world: Option<World>,
    /// Whether the rows were compiled from these.
    pub(crate) is_compiled: bool,
    /// How many documents could not be read or compiled; the others were.
    pub(crate) errors: usize,
    /// The policies among them, in order.
    pub(crate) left_out: Vec<String>,
    /// What rows and texts are called.
    pub(crate) names: Names,
    /// By the ACL's row.
    origins: HashMap<Uuid, Vec<Origin>>,
}

/// What lies below the rows of a zone.
#[derive(Default)]
pub(crate) struct Below {
    /// Keys of datapaths, by the switch's row in NB.
    pub(crate) keys: HashMap<Uuid, u32>,
    /// The collector sets of the node's Open vSwitch, if that was read.
    pub(crate) sets: Option<Vec<CollectorSet>>,
}

impl Inputs {
    /// These manifests, with the usual settings.
    pub(crate) fn of_manifests(path: &Path) -> Self {
        Self {
            manifests: vec![path.to_owned()],
            databases: Databases::default(),
            settings: Settings::default(),
            stays: false,
        }
    }

    /// These databases, for a program that goes on afterwards.
    pub(crate) fn of_databases(databases: Databases) -> Self {
        Self {
            manifests: Vec::new(),
            databases,
            settings: Settings::default(),
            stays: true,
        }
    }

    /// The rows as they are now, and the objects that they are made of where these are known. What is wrong with some of it is told on standard error.
    ///
    /// # Errors
    /// As [`Inputs::twin`].
    pub(crate) fn twin_in(&self, today: Option<&compile::Inputs>) -> Result<Twin> {
        let mut twin = self.twin()?;
        if let Some(today) = today.filter(|_| twin.world.is_none()) {
            twin.place(world(today)?.0);
        }
        Ok(twin)
    }

    /// The same of others: manifests, if these are manifests, else databases.
    ///
    /// # Errors
    /// If one of them is no endpoint and no file.
    pub(crate) fn other(&self, others: &[String]) -> Result<Self> {
        let mut other = self.clone();
        match self.has_databases() {
            true => {
                let remotes = others.iter().map(|other| Ok(other.parse()?));
                other.databases.nb = remotes.collect::<Result<_>>()?;
                other.databases.sb = Vec::new();
            }
            false => other.manifests = others.iter().map(PathBuf::from).collect(),
        }
        Ok(other)
    }

    /// The rows as they are now. What is wrong with some of them is told on standard error.
    ///
    /// # Errors
    /// If there is nothing to read, a database cannot be reached, or a path cannot be read.
    pub(crate) fn twin(&self) -> Result<Twin> {
        let twin = match (self.has_databases(), self.manifests.is_empty()) {
            (false, _) => compiled(&self.manifests, &self.settings)?,
            (true, true) => self.loaded()?,
            (true, false) => {
                let mut twin = self.loaded()?;
                let inputs =
                    compile::Inputs::manifests(self.manifests.clone(), self.settings.clone());
                let (world, _) = world(&inputs)?;
                twin.place(world);
                twin
            }
        };
        for zone in &twin.zones {
            for error in &zone.bad_rows {
                tell(format_args!("left out: {error}"));
            }
        }
        Ok(twin)
    }

    /// Whether rows of databases are asked.
    fn has_databases(&self) -> bool {
        let Databases { nb, sb, ovs, .. } = &self.databases;
        self.manifests.is_empty() || !(nb.is_empty() && sb.is_empty() && ovs.is_empty())
    }

    fn loaded(&self) -> Result<Twin> {
        self.databases.check_tls()?;
        let nbs = self.databases.remotes(Database::Northbound)?;
        if nbs.is_empty() {
            return Err(self.databases.no_northbound().into());
        }
        let sbs = self.databases.remotes(Database::Southbound)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let zones = runtime.block_on(async {
            let mut zones = Vec::new();
            let mut known: HashMap<(Uuid, String), &Remote> = HashMap::new();
            for (number, nb) in nbs.iter().enumerate() {
                let (database, zone) = self.zone(nb, sbs.get(number)).await?;
                // Each pod would be there twice.
                let database = database.map(|database| (database, zone.name.clone()));
                if let Some(other) = database.and_then(|database| known.insert(database, nb)) {
                    let message =
                        format!("{other} and {nb} are the same NB: give each zone's once");
                    return Err(Usage(message).into());
                }
                zones.push(Arc::new(zone));
            }
            Ok::<_, anyhow::Error>(zones)
        })?;
        Ok(Twin {
            zones,
            world: None,
            is_compiled: false,
            errors: 0,
            left_out: Vec::new(),
            names: Names::new([], []),
            origins: HashMap::new(),
        })
    }

    /// What lies below the rows of each zone, as far as it is known: SB has the keys of datapaths, Open vSwitch where samples go.
    ///
    /// # Errors
    /// If a database cannot be reached.
    pub(crate) fn below(&self) -> Result<Vec<Below>> {
        if !self.has_databases() {
            return Ok(Vec::new());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let sbs = self.databases.remotes(Database::Southbound)?;
        let switches = self.databases.remotes(Database::Vswitch)?;
        runtime.block_on(async {
            let mut all = Vec::new();
            for number in 0..sbs.len().max(switches.len()) {
                let mut below = Below::default();
                if let Some(sb) = sbs.get(number) {
                    let wanted =
                        Wanted::new().table("Datapath_Binding", ["tunnel_key", "external_ids"]);
                    let sb = self
                        .databases
                        .load_these(Database::Southbound, sb, wanted)
                        .await?;
                    let rows = sb.rows("Datapath_Binding").filter_map(|row| {
                        let binding = DatapathBinding::read(row).ok()?;
                        Some((binding.nb_uuid?, binding.tunnel_key))
                    });
                    below.keys = rows.collect();
                }
                if let Some(ovs) = switches.get(number) {
                    let columns = ["id", "local_group_id", "ipfix"];
                    let wanted = Wanted::new()
                        .table("Flow_Sample_Collector_Set", columns)
                        .table("Bridge", ["ipfix"]);
                    let ovs = self
                        .databases
                        .load_these(Database::Vswitch, ovs, wanted)
                        .await?;
                    below.sets = Some(sets(&ovs));
                }
                all.push(below);
            }
            Ok(all)
        })
    }

    /// The rows of a zone, and by which row its database is known.
    async fn zone(&self, nb: &Remote, sb: Option<&Remote>) -> Result<(Option<Uuid>, Northbound)> {
        let wanted = Northbound::wanted();
        let nb = self
            .databases
            .load_these(Database::Northbound, nb, wanted)
            .await?;
        // Numbers of such ACLs are the only thing about ACLs that northd keeps in SB.
        let sb = match sb.filter(|_| has_persistent(&nb)) {
            Some(sb) => {
                let wanted = Wanted::new().table("ACL_ID", ["id"]);
                self.databases
                    .load_these(Database::Southbound, sb, wanted)
                    .await?
            }
            None => Replica::default(),
        };
        let database = nb.rows("NB_Global").next().map(|row| row.uuid());
        let tables = nb.tables().chain(sb.tables());
        let northbound = Northbound::new(tables.flat_map(|table| table.rows()));
        if !self.stays {
            // To take thousands of rows apart would keep people waiting, and the program ends soon.
            std::mem::forget((nb, sb));
        }
        Ok((database, northbound))
    }
}

fn sets(ovs: &Replica) -> Vec<CollectorSet> {
    let number = |row: &Row, column| {
        let number = row.column(column)?.scalar()?.as_integer()?;
        u32::try_from(number).ok()
    };
    let is_set = |row: &Row, column| row.column(column).is_some_and(|value| !value.is_empty());
    // One exporter is for all sets of a bridge.
    let ipfix = ["Flow_Sample_Collector_Set", "Bridge"]
        .iter()
        .any(|table| ovs.rows(table).any(|row| is_set(row, "ipfix")));
    ovs.rows("Flow_Sample_Collector_Set")
        .filter_map(|row| {
            Some(CollectorSet {
                id: number(row, "id")?,
                group: number(row, "local_group_id"),
                ipfix,
            })
        })
        .collect()
}

/// What is in manifests, or a cluster. What is wrong with some of it is told on standard error.
///
/// # Errors
/// If a path cannot be read, or the cluster not be asked.
pub(crate) fn world(inputs: &compile::Inputs) -> Result<(World, News)> {
    let mut world = World::new(inputs);
    let news = world.take(inputs.read()?);
    let news = tell_errors(&world, news);
    Ok((world, news))
}

/// Tells errors, and how many warnings there are.
pub(crate) fn tell_errors(world: &World, mut news: News) -> News {
    // What was assumed and what is doubtful is for `compile` to tell: here it is the answer that matters.
    let warnings = news.diagnostics.iter();
    let warnings = warnings
        .filter(|it| it.severity == Severity::Warning)
        .count();
    news.diagnostics
        .retain(|diagnostic| diagnostic.severity == Severity::Error);
    let warnings = match warnings {
        0 => None,
        1 => Some("1 warning".to_owned()),
        more => Some(format!("{more} warnings")),
    };
    if let Some(warnings) = warnings {
        tell(format_args!(
            "{warnings} about the manifests: `netverdict compile` shows them"
        ));
    }
    tell_news(world, &news);
    news
}

/// What manifests compile to. What is wrong with some of them is told on standard error.
///
/// # Errors
/// If a path cannot be read, or there is neither pod nor node.
pub(crate) fn compiled(manifests: &[PathBuf], settings: &Settings) -> Result<Twin> {
    let inputs = compile::Inputs::manifests(manifests.to_vec(), settings.clone());
    let (world, news) = world(&inputs)?;
    let mut twin = of_world(&world, &news)?;
    twin.world = Some(world);
    Ok(twin)
}

/// What a world compiles to now.
///
/// # Errors
/// If there is neither pod nor node.
pub(crate) fn of_world(world: &World, news: &News) -> Result<Twin> {
    let mut origins = HashMap::new();
    let mut zones = Vec::new();
    for zone in world.zones() {
        zones.push(Arc::new(Northbound::new(&world.zone_rows(&zone))));
        for row in world
            .rows(&zone)
            .iter()
            .filter(|row| row.table == Table::Acl)
        {
            origins
                .entry(row.uuid)
                .or_insert_with(|| row.origins.clone());
        }
    }
    if zones.is_empty() {
        bail!("the manifests tell no cluster: there is no pod and no node");
    }
    Ok(Twin {
        zones,
        names: world.names(),
        world: None,
        is_compiled: true,
        errors: news.errors,
        left_out: left_out(&news.diagnostics),
        origins,
    })
}

/// The policies that errors are about: each message begins with the object that it is about.
fn left_out(errors: &[Diagnostic]) -> Vec<String> {
    let about = errors.iter().filter_map(|error| {
        let (kind, rest) = error.message.split_once(' ')?;
        let policies = Kind::ALL.into_iter().filter(|kind| kind.is_policy());
        let kind = policies.into_iter().find(|known| known.as_str() == kind)?;
        let name = rest.split(' ').next()?.trim_end_matches(':');
        Some(format!("{} {name}", kind.as_str()))
    });
    let about: BTreeSet<String> = about.collect();
    about.into_iter().collect()
}

/// The twin of these zones, with every step to be seen.
pub(crate) fn run(zones: Vec<Arc<Northbound>>) -> netverdict_pipeline::journey::Twin<Walk> {
    let zones = zones
        .into_iter()
        .map(|zone| Zone::new(zone.clone(), Walk::new(zone, Release::default())));
    netverdict_pipeline::journey::Twin::new(zones)
}

/// What is said where zones are missing: remote ports (OVN interconnect) that are at home in none of these.
pub(crate) fn missing_zones(zones: &[Arc<Northbound>]) -> Option<String> {
    let is_home = |name: &str| {
        let mut all = zones.iter().flat_map(|zone| &zone.ports);
        all.any(|port| &*port.name == name && port.kind != "remote")
    };
    let mut missing: Vec<&str> = zones
        .iter()
        .flat_map(|zone| &zone.ports)
        .filter(|port| port.kind == "remote" && !is_home(&port.name))
        .map(|port| &*port.name)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    (!missing.is_empty()).then(|| {
        format!(
            "zones are missing, those of the remote ports {}: their pods and policies are not known; \
             give --nb for them as well",
            missing.join(", ")
        )
    })
}

impl Twin {
    /// The rows of each zone.
    pub(crate) fn northbounds(&self) -> impl Iterator<Item = &Northbound> {
        self.zones.iter().map(|zone| &**zone)
    }

    /// Finds the rules of manifests that the rows were made from, by what ACLs say of their owners.
    fn place(&mut self, world: World) {
        let objects = world.objects();
        let isolating = |namespace: &str, direction| -> Vec<Origin> {
            let isolates = |object: &&Object| match &object.spec {
                Spec::NetworkPolicy(policy) => match direction {
                    Direction::Ingress => policy.isolates_ingress,
                    Direction::Egress => policy.isolates_egress,
                },
                _ => false,
            };
            let policies = objects.all(Kind::NetworkPolicy);
            let policies = policies.filter(|object| *object.key.namespace == *namespace);
            let origin = |object: &Object| Origin {
                object: object.key.clone(),
                rule: None,
                span: object.meta.span,
            };
            policies.filter(isolates).map(origin).collect()
        };
        let mut known: HashMap<&Owner, Vec<Origin>> = HashMap::new();
        for (uuid, row) in self.zones.iter().flat_map(|zone| &zone.acls) {
            let owner = &row.acl.owner;
            let origins = known.entry(owner).or_insert_with(|| {
                if let (OwnerKind::NetpolNamespace, Some(namespace), Some(direction)) =
                    (&owner.kind, &owner.namespace, owner.direction)
                {
                    return isolating(namespace, direction);
                }
                let origin = RuleId::of(owner).and_then(|rule| {
                    Some(Origin {
                        span: objects.rule(&rule)?,
                        rule: Some(rule.place().into()),
                        object: rule.policy,
                    })
                });
                origin.into_iter().collect()
            });
            self.origins.insert(*uuid, origins.clone());
        }
        self.names = world.names();
        self.world = Some(world);
    }

    /// Where an ACL comes from, the most telling place first; nothing if it was not compiled.
    pub(crate) fn origins(&self, acl: Uuid) -> &[Origin] {
        self.origins.get(&acl).map_or(&[], Vec::as_slice)
    }

    /// The same in JSON, as `netverdict compile -o json` has it.
    pub(crate) fn origins_json(&self, acl: Uuid) -> Vec<Value> {
        let origins = self.origins(acl).iter();
        origins.map(|origin| origin.json(&self.names)).collect()
    }
}

fn has_persistent(nb: &Replica) -> bool {
    nb.rows("ACL").any(|row| {
        let option = row.column("options");
        option.is_some_and(|options| options.lookup("persist-established").is_some())
    })
}
