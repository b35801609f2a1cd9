//! Carries out plans: one transaction for each database, what undoes it, and the report.

use std::fs::{File, OpenOptions};
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use netverdict_control::{CommitError, Plan, commit};
use netverdict_ovn::Database;
use netverdict_ovsdb::{Client, Endpoints, Replica, Wanted};
use serde_json::json;

use crate::databases::Databases;
use crate::exit::Done;

/// How to write.
#[derive(Args, Clone, Debug)]
pub(crate) struct WriteArguments {
    /// Show what would be done, and do not do it
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Write the commands that undo exactly this to a new file, a shell script
    #[arg(long, value_name = "FILE")]
    pub(crate) inverse: Option<PathBuf>,

    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// How to print it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    #[default]
    Table,
    /// One JSON object a line, for each zone or database
    Json,
}

type Planner<'a> = Box<dyn Fn(&Replica) -> Result<Plan> + 'a>;

/// Carries out plans for several databases, each in one transaction, and keeps what undoes them.
pub(crate) struct Writer<'a> {
    arguments: &'a WriteArguments,
    databases: &'a Databases,
    /// What to do, other than this, to undo it.
    advice: &'static str,
    jobs: Vec<Job<'a>>,
}

struct Job<'a> {
    endpoints: Endpoints,
    client: Client,
    planner: Planner<'a>,
    plan: Plan,
}

/// How often a plan is made anew because somebody else was faster.
const ATTEMPTS: usize = 200;
/// Up to so many lines of commands are shown.
const SHOWN: usize = 16;

impl<'a> Writer<'a> {
    /// Nothing to do yet. `advice` says what else undoes it, for inverses too long to show.
    ///
    /// # Errors
    /// If the file for the inverse is there already.
    pub(crate) fn new(
        arguments: &'a WriteArguments,
        databases: &'a Databases,
        advice: &'static str,
    ) -> Result<Self> {
        if let Some(path) = &arguments.inverse
            && path.exists()
        {
            bail!("--inverse: {} exists already", path.display());
        }
        Ok(Self {
            arguments,
            databases,
            advice,
            jobs: Vec::new(),
        })
    }

    /// Plans a change; nothing is written yet.
    ///
    /// # Errors
    /// If the database cannot be reached, or there is no plan.
    pub(crate) async fn add(
        &mut self,
        database: Database,
        endpoints: Endpoints,
        wanted: Wanted,
        planner: impl Fn(&Replica) -> Result<Plan> + 'a,
    ) -> Result<()> {
        let client = open(self.databases, database, &endpoints, wanted).await?;
        let plan = planner(client.replica())
            .with_context(|| format!("{} at {endpoints}", database.name()))?;
        self.jobs.push(Job {
            endpoints,
            client,
            planner: Box::new(planner),
            plan,
        });
        Ok(())
    }

    /// Does what was planned, and reports it.
    ///
    /// # Errors
    /// If a server refuses, or the report cannot be written; what was done before stays done.
    pub(crate) async fn run(mut self) -> Result<Done> {
        let something = self.jobs.iter().any(|job| !job.plan.is_empty());
        let mut inverse = match &self.arguments.inverse {
            Some(path) if something && !self.arguments.dry_run => Some(Inverse::create(path)?),
            _ => None,
        };
        // Told when all is done: a reader that has gone must not stop the work half-way.
        let mut report = Vec::new();
        let mut done = Ok(());
        for job in &mut self.jobs {
            done = job
                .run(
                    self.arguments,
                    self.databases,
                    self.advice,
                    inverse.as_mut(),
                    &mut report,
                )
                .await;
            if done.is_err() {
                break;
            }
        }
        let mut out = stdout().lock();
        let told = out.write_all(&report).and_then(|()| out.flush());
        done?;
        told.context("the report")?;
        Ok(Done::Ok)
    }
}

/// The file of what undoes the work.
struct Inverse<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> Inverse<'a> {
    fn create(path: &'a Path) -> Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path);
        let file = file.with_context(|| format!("--inverse: {}", path.display()))?;
        Ok(Self { path, file })
    }

    fn append(&mut self, script: &str) -> Result<()> {
        self.file
            .write_all(script.as_bytes())
            .and_then(|()| self.file.sync_all())
            .with_context(|| format!("--inverse: {}", self.path.display()))
    }
}

impl Job<'_> {
    /// Does it, keeps what undoes it, and only then writes the report.
    async fn run(
        &mut self,
        arguments: &WriteArguments,
        databases: &Databases,
        advice: &str,
        inverse: Option<&mut Inverse<'_>>,
        report: &mut Vec<u8>,
    ) -> Result<()> {
        let mut connect = vec![format!("--db={}", self.endpoints)];
        connect.extend(databases.tls.options());
        let is_done = !arguments.dry_run && !self.plan.is_empty();
        let undo = if self.plan.is_empty() {
            None
        } else if arguments.dry_run {
            Some(self.plan.inverse(|row| row))
        } else {
            Some(self.commit().await.with_context(|| self.place())?)
        };
        let script = undo.map(|undo| undo.script(&connect));
        let (file, kept) = match (inverse, &script) {
            (Some(inverse), Some(script)) if is_done => match inverse.append(script) {
                Ok(()) => (Some(inverse.path), Ok(())),
                Err(error) => (None, Err(error)),
            },
            _ => (None, Ok(())),
        };
        match arguments.output {
            Output::Json => {
                let line = json!({
                    "database": self.plan.database().name(),
                    "endpoint": self.endpoints.to_string(),
                    "steps": self.plan.steps(),
                    "notes": self.plan.notes(),
                    "transaction": self.plan.transaction().to_json(self.plan.database().name()),
                    "done": is_done,
                    "inverse": script,
                });
                writeln!(report, "{line}")?;
            }
            Output::Table => {
                writeln!(report, "{}", self.place())?;
                for step in self.plan.steps() {
                    writeln!(report, "  {step}")?;
                }
                for note in self.plan.notes() {
                    writeln!(report, "  note: {note}")?;
                }
                let end = match (is_done, self.plan.is_empty()) {
                    (_, true) => "nothing to do",
                    (false, false) => "not done: --dry-run",
                    (true, false) => "done",
                };
                writeln!(report, "  {end}")?;
                if let Some(script) = script {
                    print_inverse(report, &script, file, is_done, advice)?;
                }
            }
        }
        kept
    }

    fn place(&self) -> String {
        format!("{} at {}", self.plan.database().name(), self.endpoints)
    }

    /// Commits the plan; if rows changed meanwhile, a new one.
    async fn commit(&mut self) -> Result<Plan> {
        let mut attempt = 1;
        loop {
            match commit(&mut self.client, &self.plan).await {
                Ok(inverse) => return Ok(inverse),
                Err(CommitError::Changed(error)) if attempt < ATTEMPTS => {
                    tracing::info!("planning again: {error}");
                    attempt += 1;
                    let replica = self.client.sync().await.map_err(failed)?;
                    self.plan = (self.planner)(replica)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A client with the rows that the planners read, in step with its server.
///
/// # Errors
/// If the server cannot be reached.
pub(crate) async fn open(
    databases: &Databases,
    database: Database,
    endpoints: &Endpoints,
    wanted: Wanted,
) -> Result<Client> {
    let mut config = databases.config(database, endpoints);
    config.wanted = wanted;
    // Another member of a cluster may be a moment behind: a plan would start from old rows.
    config.leader_only = true;
    let mut client = Client::new(config);
    client
        .sync()
        .await
        .map_err(failed)
        .with_context(|| format!("{} at {endpoints}", database.name()))?;
    Ok(client)
}

/// Only what is printed may end quietly at a broken pipe, never the work on a database.
fn failed(error: impl Into<Error>) -> Error {
    anyhow!("{:#}", error.into())
}

fn print_inverse(
    out: &mut impl Write,
    script: &str,
    file: Option<&Path>,
    is_done: bool,
    advice: &str,
) -> std::io::Result<()> {
    let commands: Vec<_> = script
        .lines()
        .filter(|line| !line.starts_with('#') && *line != "set -e")
        .collect();
    match file {
        Some(path) => writeln!(out, "  undo: sh {}", path.display()),
        None if commands.len() <= SHOWN => {
            let remark = match is_done {
                true => "",
                false => " (other rows, as new ones have no identity yet)",
            };
            writeln!(out, "  undo:{remark}")?;
            commands
                .iter()
                .try_for_each(|line| writeln!(out, "    {line}"))
        }
        None => writeln!(
            out,
            "  undo: {advice}. What undoes exactly this are {} commands; --inverse FILE writes them",
            commands.len() - 1
        ),
    }
}
