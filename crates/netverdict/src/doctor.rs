//! `netverdict doctor`: what works here, what does not, and the command that mends it.
//!
//! Facts are collected at the edge ([`collect`]); what they mean is decided without touching
//! anything ([`checks`]). `docs/doctor.md` documents the findings.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stdout};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use netverdict_types::Timestamp;
use serde::Serialize;

use crate::databases::Databases;
use crate::exit::Done;

mod checks;
mod collect;
mod facts;
#[cfg(test)]
mod tests;

/// Check kernel, Open vSwitch, OVN and sampling: what works, what does not, and how to mend it
///
/// Looks at this machine and at the databases that it finds or is given. It changes nothing, and
/// needs neither root nor a database for what it can see without. Exit status 1 if a check fails.
#[derive(Args, Clone, Debug)]
pub(crate) struct Doctor {
    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,

    /// The directory that observe is told to keep its state in [default: as for observe]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    #[command(flatten)]
    databases: Databases,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object (docs/doctor.md)
    Json,
}

impl Doctor {
    /// Runs the command.
    ///
    /// # Errors
    /// If the environment names no endpoint, or standard output cannot be written.
    pub(crate) fn run(&self) -> Result<Done> {
        let report = examine(&self.databases, self.state.clone())?.report;
        let mut out = stdout().lock();
        match self.output {
            Format::Json => writeln!(out, "{}", serde_json::to_string(&report)?)?,
            Format::Text => {
                let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                let text = report.text(out.is_terminal() && !no_colour);
                out.write_all(text.as_bytes())?;
            }
        }
        out.flush()?;
        Ok(if report.fail == 0 {
            Done::Ok
        } else {
            Done::Failed
        })
    }
}

/// Examines this machine and the databases.
///
/// # Errors
/// If the environment names something that is no endpoint.
pub(crate) fn examine(databases: &Databases, state: Option<PathBuf>) -> Result<Examination> {
    let facts = collect::facts(databases, state)?;
    Ok(Examination {
        report: Report::new(facts.time, checks::findings(&facts)),
        source: checks::source(&facts),
        zones: facts.zones.into_iter().filter_map(Zone::of).collect(),
    })
}

/// What came of an examination.
#[derive(Clone, Debug)]
pub(crate) struct Examination {
    pub(crate) report: Report,
    /// The source that this node's samples can be read from, as `--source` takes it; or why
    /// there is none.
    pub(crate) source: Result<String, String>,
    /// The zones whose NB was read.
    pub(crate) zones: Vec<Zone>,
}

/// How a zone stands.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    /// By its databases.
    pub(crate) status: netverdict_control::Status,
    /// The release of its node's Open vSwitch.
    pub(crate) ovs: Option<String>,
}

impl Zone {
    fn of(zone: facts::Zone) -> Option<Self> {
        Some(Self {
            status: zone.status?,
            ovs: zone.node.and_then(|node| node.version),
        })
    }
}

/// All findings of one examination.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// The version that looked.
    pub(crate) netverdict: &'static str,
    /// When.
    pub(crate) time: Timestamp,
    pub(crate) ok: usize,
    pub(crate) warn: usize,
    pub(crate) fail: usize,
    pub(crate) skip: usize,
    pub(crate) unknown: usize,
    pub(crate) findings: Vec<Finding>,
}

/// The result of one check.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Finding {
    pub(crate) area: Area,
    pub(crate) check: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<String>,
    pub(crate) state: State,
    /// What was seen.
    pub(crate) seen: String,
    /// Why it matters; only where it is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mend: Option<String>,
}

/// What is examined.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Area {
    Machine,
    Vswitch,
    Ovn,
    Sampling,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It is as it should be.
    Ok,
    /// Something works less well than it could, or cannot be relied on.
    Warn,
    /// Something does not work.
    Fail,
    /// It was not looked at, for the reason that is given.
    Skip,
    /// It was looked at, and cannot be told.
    Unknown,
}

impl Report {
    fn new(time: Timestamp, findings: Vec<Finding>) -> Self {
        let count = |state| {
            findings
                .iter()
                .filter(|finding| finding.state == state)
                .count()
        };
        Self {
            netverdict: env!("CARGO_PKG_VERSION"),
            time,
            ok: count(State::Ok),
            warn: count(State::Warn),
            fail: count(State::Fail),
            skip: count(State::Skip),
            unknown: count(State::Unknown),
            findings,
        }
    }

    /// The report for people.
    pub(crate) fn text(&self, colour: bool) -> String {
        let mut text = String::new();
        let width = self.findings.iter().map(|finding| finding.check.len());
        let width = width.max().unwrap_or(0);
        let mut heading = None;
        for finding in &self.findings {
            let this = (finding.area, finding.zone.as_deref());
            if heading != Some(this) {
                let gap = if heading.is_some() { "\n" } else { "" };
                heading = Some(this);
                let zone = match this.1 {
                    Some(zone) => format!(", zone {zone}"),
                    None => String::new(),
                };
                let _ = writeln!(text, "{gap}{}{zone}", this.0.title());
            }
            let (on, off) = finding.state.paint(colour);
            let state = finding.state.as_str();
            let pad = " ".repeat(7 - state.len());
            let (check, seen) = (finding.check, &finding.seen);
            let _ = writeln!(text, "  {on}{state}{off}{pad}  {check:<width$}  {seen}");
            let margin = " ".repeat(2 + 7 + 2 + width + 2);
            if let Some(why) = &finding.why {
                let _ = writeln!(text, "{margin}{why}");
            }
            if let Some(mend) = &finding.mend {
                let _ = writeln!(text, "{margin}-> {mend}");
            }
        }
        let _ = writeln!(text, "\n{}", self.counts());
        text
    }

    /// How many checks ended how, in words.
    pub(crate) fn counts(&self) -> String {
        let mut counts = vec![format!("{} ok", self.ok)];
        for (count, one, many) in [
            (self.warn, "warning", "warnings"),
            (self.fail, "failure", "failures"),
            (self.unknown, "unknown", "unknown"),
            (self.skip, "skipped", "skipped"),
        ] {
            match count {
                0 => {}
                1 => counts.push(format!("1 {one}")),
                count => counts.push(format!("{count} {many}")),
            }
        }
        counts.join(", ")
    }
}

impl Area {
    fn title(self) -> &'static str {
        match self {
            Self::Machine => "This machine",
            Self::Vswitch => "Open vSwitch",
            Self::Ovn => "OVN",
            Self::Sampling => "Sampling",
        }
    }
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
            Self::Skip => "skip",
            Self::Unknown => "unknown",
        }
    }

    fn paint(self, colour: bool) -> (&'static str, &'static str) {
        if !colour {
            return ("", "");
        }
        let on = match self {
            Self::Ok => "\x1b[32m",
            Self::Warn | Self::Unknown => "\x1b[33m",
            Self::Fail => "\x1b[1;31m",
            Self::Skip => "\x1b[2m",
        };
        (on, "\x1b[0m")
    }
}
