//! `netverdict observe`: verdicts as they happen, or recorded.

use std::collections::VecDeque;

use anyhow::Result;
use clap::Args;
use netverdict_query::ask::{Ask, Groups, Want};
use netverdict_query::live::Live;
use netverdict_query::{Query, QueryError, parse};
use netverdict_types::{Clock, SystemClock, Timestamp};

use crate::databases::Databases;
use crate::exit::{Done, Usage, tell};
use crate::filters::Filters;
use crate::output::{self, Format, Output};
use crate::remote::{self, Client, Credentials, Wanted};
use crate::session::{Inputs, Session, Step};

/// Show who allowed or dropped each packet, and why
#[derive(Args, Clone, Debug)]
pub(crate) struct Observe {
    #[command(flatten)]
    filters: Filters<true>,

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

    #[command(flatten)]
    credentials: Credentials,
}

impl Observe {
    pub(crate) fn run(self) -> Result<Done> {
        if let Some(client) = remote::server(&self.inputs.source, &self.credentials)? {
            return self.ask(&client);
        }
        let question = self
            .filters
            .question()
            .clone()
            .and(time(">=", self.since.as_deref())?)
            .and(time("<=", self.until.as_deref())?);
        let ask = question.ask(SystemClock.now(), Timestamp::MIN, Timestamp::MAX);
        if let Want::Groups(groups) = &ask.want {
            return self.groups(&ask, groups);
        }
        if !question.is_filter() {
            let text = "limit and after are for what is kept; for the last decisions use --last";
            return Err(Usage(text.to_owned()).into());
        }
        let plan = ask.filter;
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
            Step::Tick(_) | Step::Bell(_) => Ok(()),
            Step::Pause => output.flush(),
        })?;
        for shown in last.into_iter().flat_map(|(_, kept)| kept) {
            output.write(&shown)?;
        }
        output.flush()?;
        session.summary();
        Ok(Done::Ok)
    }

    /// What the decisions come to, when there are no more.
    fn groups(&self, ask: &Ask, groups: &Groups) -> Result<Done> {
        if self.last.is_some() || self.output == Format::Pcapng {
            let text = "--last and -o pcapng show decisions, and by and count tell what they \
                        come to: leave one of them out";
            return Err(Usage(text.to_owned()).into());
        }
        let mut live = Live::new(ask.clone(), GROUPS)?;
        let mut session = Session::new(&self.inputs, &self.databases, None)?;
        session.run(&mut |step| {
            match step {
                // The same packet once more says nothing new.
                Step::Decision(decision) if decision.double => {}
                Step::Decision(decision) => live.add(decision),
                Step::Pause | Step::Tick(_) | Step::Bell(_) => {}
            }
            Ok(())
        })?;
        let answer = live.answer();
        output::groups(groups, &answer, self.output == Format::Json)?;
        session.summary();
        let shown = answer.lines.len();
        if (shown as u64) < answer.total {
            tell(format_args!(
                "{shown} of {} groups are shown; `top N` shows more",
                answer.total
            ));
        }
        if live.lost() > 0 {
            tell(format_args!(
                "{} times there was no room for another group or value: there is for {GROUPS}; ask \
                 for fewer fields, or filter",
                live.lost()
            ));
        }
        Ok(Done::Ok)
    }

    /// Shows what a server has.
    fn ask(&self, client: &Client) -> Result<Done> {
        let form = match self.output {
            Format::Compact => remote::Form::Compact,
            Format::Table => remote::Form::Table,
            Format::Json => remote::Form::Json,
            Format::Dict | Format::Pcapng => {
                let text = "a server tells of connections: -o is compact, table or json there";
                return Err(Usage(text.to_owned()).into());
            }
        };
        let question = self.filters.question();
        let wanted = Wanted {
            query: question.to_string(),
            since: self.since.clone(),
            until: self.until.clone(),
        };
        let ask = question.ask(SystemClock.now(), Timestamp::MIN, Timestamp::MAX);
        if matches!(ask.want, Want::Groups(_)) {
            return remote::groups(client, &wanted, form);
        }
        if !question.is_filter() {
            let text = "limit and after are for pages; for the last connections use --last";
            return Err(Usage(text.to_owned()).into());
        }
        remote::show(client, &wanted, self.last, self.inputs.follow, form)
    }
}

/// Groups and different values that are kept at a time.
const GROUPS: usize = 1 << 18;

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
