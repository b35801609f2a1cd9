//! `netverdict record`: samples and revisions into one capture file.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use netverdict_ovn::{Database, revision};
use netverdict_ovsdb::{Cause, ChangeSet};
use netverdict_types::{Sample, Timestamp, ZoneId};
use netverdict_wire::capture::{Options, Revision, Writer, Zone};

use crate::databases::Databases;
use crate::engine::GLOBAL;
use crate::exit::Done;
use crate::session::{Inputs, Session};

/// Record samples and policies into one file, to be shown again by --source capture:FILE
#[derive(Args, Clone, Debug)]
pub(crate) struct Record {
    /// The file to write; it must not exist yet
    file: PathBuf,

    /// Keep whole packets instead of their headers
    #[arg(long)]
    full: bool,

    #[command(flatten)]
    inputs: Inputs,

    #[command(flatten)]
    databases: Databases,
}

impl Record {
    pub(crate) fn run(self) -> Result<Done> {
        let recorder = Recorder::create(&self.file, self.full)?;
        let recorded =
            Session::new(&self.inputs, &self.databases, Some(recorder)).and_then(|mut session| {
                match session.run(&mut |_| Ok(())) {
                    Err(error) if session.samples() == 0 => Err(error),
                    ended => Ok((session, ended)),
                }
            });
        match recorded {
            Ok((session, ended)) => {
                session.summary();
                ended.map(|()| Done::Ok)
            }
            Err(error) => {
                // Nothing is in it, and the next try would stumble over it.
                let _ = std::fs::remove_file(&self.file);
                Err(error)
            }
        }
    }
}

/// A capture file that is being written.
pub(crate) struct Recorder {
    writer: Writer<BufWriter<File>>,
    path: PathBuf,
    revisions: u64,
    zones: Vec<ZoneId>,
    unflushed: usize,
    /// Since when there is something that a crash would cost.
    since: Option<Instant>,
}

/// Samples that a crash may cost.
const FLUSH_EVERY: usize = 10_000;
/// How old what a crash may cost can become.
const FLUSH_AFTER: Duration = Duration::from_secs(1);

impl Recorder {
    /// Starts a file.
    ///
    /// # Errors
    /// If it exists or cannot be written.
    pub(crate) fn create(path: &Path, full: bool) -> Result<Self> {
        let file = File::create_new(path)
            .with_context(|| format!("cannot start the recording {}", path.display()))?;
        let options = Options {
            full,
            ..Options::default()
        };
        Ok(Self {
            writer: Writer::new(BufWriter::new(file), options)?,
            path: path.to_owned(),
            revisions: 0,
            zones: Vec::new(),
            unflushed: 0,
            since: None,
        })
    }

    /// Takes a change of rows.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn revision(
        &mut self,
        zone: ZoneId,
        name: &str,
        database: Database,
        set: &ChangeSet,
    ) -> Result<()> {
        self.zone(zone, name)?;
        self.revisions += 1;
        let gap = match set.cause {
            Cause::Gap { from, to } => Some((Timestamp(from), Timestamp(to))),
            _ => None,
        };
        let number = self.revisions;
        revision::encode(database, set, |json| {
            self.writer.revision(&Revision {
                zone,
                number,
                time: Timestamp(set.time),
                gap,
                json,
            })
        })
        .with_context(|| self.path.display().to_string())?;
        self.flush()
    }

    /// Takes a sample.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn sample(&mut self, name: &str, sample: &Sample<'_>) -> Result<()> {
        self.zone(sample.zone, name)?;
        self.writer
            .sample(sample)
            .with_context(|| self.path.display().to_string())?;
        self.unflushed += 1;
        self.since.get_or_insert_with(Instant::now);
        if self.unflushed >= FLUSH_EVERY {
            self.flush()?;
        }
        Ok(())
    }

    /// When to call [`Recorder::flush`], if there is something to put onto the disk.
    pub(crate) fn due(&self) -> Option<Instant> {
        Some(self.since? + FLUSH_AFTER)
    }

    /// Puts what was taken onto the disk.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.unflushed = 0;
        self.since = None;
        self.writer
            .flush()
            .with_context(|| self.path.display().to_string())
    }

    fn zone(&mut self, zone: ZoneId, name: &str) -> Result<()> {
        if !self.zones.contains(&zone) {
            self.zones.push(zone);
            let node = if name == GLOBAL { "" } else { name };
            let defined = Zone {
                id: zone,
                name,
                node,
            };
            self.writer
                .zone(&defined)
                .with_context(|| self.path.display().to_string())?;
        }
        Ok(())
    }
}
