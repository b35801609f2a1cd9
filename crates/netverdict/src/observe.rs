//! `netverdict observe`: verdicts as they happen, or recorded.

use std::collections::VecDeque;

use anyhow::Result;
use clap::Args;
use netverdict_query::{Query, QueryError, parse};
use netverdict_types::{Clock, SystemClock};

use crate::databases::Databases;
use crate::exit::Done;
use crate::filters::Filters;
use crate::output::{Format, Output};
use crate::session::{Inputs, Session, Step};

/// Show who allowed or dropped each packet, and why
#[derive(Args, Clone, Debug)]
pub(crate) struct Observe {
    #[command(flatten)]
    filters: Filters,

    /// How to show it
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,

    /// Show only the last N, once the recorded samples are read
    #[arg(long, value_name = "N", conflicts_with = "follow")]
    last: Option<usize>,

    /// Show what happened since then: -5m, or 2026-11-23T08:00:00Z
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = moment)]
    since: Option<String>,

    /// Show what happened until then
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = moment)]
    until: Option<String>,

    #[command(flatten)]
    inputs: Inputs,

    #[command(flatten)]
    databases: Databases,
}

impl Observe {
    pub(crate) fn run(self) -> Result<Done> {
        let query = self
            .filters
            .query()
            .clone()
            .and(time(">=", self.since.as_deref())?)
            .and(time("<=", self.until.as_deref())?);
        let plan = query.plan(SystemClock.now());
        let mut output = Output::new(self.output)?;
        let mut last = self.last.map(|count| (count, VecDeque::new()));
        let mut session = Session::new(&self.inputs, &self.databases, None)?;
        session.run(&mut |step| match step {
            Step::Decision(decision) => {
                if decision.double && output.hides_doubles() || !plan.matches(decision) {
                    return Ok(());
                }
                let Some((count, kept)) = &mut last else {
                    return output.show(decision);
                };
                let shown = output.render(decision)?.to_vec();
                if kept.len() >= *count {
                    kept.pop_front();
                }
                if *count > 0 {
                    kept.push_back(shown);
                }
                Ok(())
            }
            Step::Pause if last.is_some() => Ok(()),
            Step::Tick(_) => Ok(()),
            Step::Pause => output.flush(),
        })?;
        for shown in last.into_iter().flat_map(|(_, kept)| kept) {
            output.write(&shown)?;
        }
        output.flush()?;
        session.summary();
        Ok(Done::Ok)
    }
}

/// Lets through what the query language takes for a time.
fn moment(text: &str) -> std::result::Result<String, String> {
    match time("<=", Some(text)) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("give an age as -5m, or a time as 2026-11-23T08:00:00Z".to_owned()),
    }
}

fn time(operator: &str, value: Option<&str>) -> std::result::Result<Query, QueryError> {
    match value {
        None => Ok(Query::all()),
        Some(value) => parse(&format!("time{operator}{value}")),
    }
}
