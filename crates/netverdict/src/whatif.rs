//! `netverdict whatif`: recorded connections under other policies.

pub(crate) mod recorded;
mod show;

use std::io::{BufWriter, Write, stdout};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args, ValueEnum};
use netverdict_manifest::{Diagnostic, FileId, Key, Kind};
use netverdict_query::moment;
use netverdict_server::{Asker, Mistake, Refusal};
use netverdict_source::kubernetes::Cluster;
use netverdict_source::manifests::Files;
use netverdict_source::objects::{Change, Text};
use netverdict_types::{Clock, SystemClock, Timestamp};
use netverdict_verdict::Reach;
use netverdict_whatif::{Pair, Recorded, whatif};
use serde_json::{Value, json};

use crate::compile::{self, Settings};
use crate::databases::{Databases, Remote, Tls};
use crate::exit::{Done, Usage, tell};
use crate::remote::{self, Credentials};
use crate::sources::Spec;
use crate::twin::{self, Twin, missing_zones};

use show::Shown;

/// See whom a change of policies would cut off or let in, among connections that were recorded
///
/// Each recorded pair of client, server and port is judged twice by the twin of OVN's ACL stages:
/// under the policies of today, and with the change. Exit status 0 if none fares otherwise, 3 if
/// one does, 4 if nothing could be judged, 1 if a document is broken.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("today").required(true).args(["manifests", "kubeconfig", "nb"])))]
#[command(group(ArgGroup::new("recorded").required(true).multiple(true).args(["source", "data"])))]
#[command(group(ArgGroup::new("change").required(true).multiple(true).args(["policies", "remove", "changed_nb"])))]
pub(crate) struct Whatif {
    /// Objects that are new or other than today, as `kubectl apply` takes them: files,
    /// directories, or - for standard input
    #[arg(value_name = "POLICY")]
    policies: Vec<PathBuf>,

    /// An object that goes: KIND/NAMESPACE/NAME, or KIND/NAME
    #[arg(long, value_name = "OBJECT")]
    remove: Vec<Removed>,

    /// The objects of today: policies, and the pods, namespaces, nodes and services that they are
    /// about
    #[arg(long, value_name = "PATH", num_args = 1..)]
    manifests: Vec<PathBuf>,

    /// The same from the Kubernetes API server of this kubeconfig, or `in-cluster`
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<Cluster>,

    /// The rows of today, where policies are not Kubernetes' or not all of them: NB of a zone, live
    /// or a dump; once for each zone
    #[arg(long, value_name = "ENDPOINT|FILE")]
    nb: Vec<Remote>,

    /// The same rows as they would be: a copy of each NB with the change made in it
    #[arg(
        long,
        value_name = "ENDPOINT|FILE",
        conflicts_with_all = ["policies", "remove"]
    )]
    changed_nb: Vec<Remote>,

    /// Where connections were recorded: capture:FILE, bundle:FILE or server:URL
    #[arg(long, value_name = "SOURCE")]
    source: Vec<Spec>,

    /// The data directory of a server that does not run
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Only connections that went on then or later: -7d, or 2026-11-23T08:00:00Z [default: of a
    /// server -1d, else all]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,

    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    credentials: Credentials,

    #[command(flatten, next_help_heading = "Databases")]
    tls: Tls,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Output {
    /// For people: who, whom, on which port, and by which rule
    #[default]
    Text,
    /// One JSON object a line (docs/whatif.schema.json)
    Json,
}

/// An object that goes.
#[derive(Clone, Debug)]
struct Removed(Key);

impl FromStr for Removed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no object: KIND/NAMESPACE/NAME, or KIND/NAME");
        let (kind, rest) = text.split_once('/').ok_or_else(wrong)?;
        let kind = Kind::parse(kind).ok_or_else(|| format!("there is no kind {kind}"))?;
        let (namespace, name) = match (kind.is_namespaced(), rest.split_once('/')) {
            (true, Some((namespace, name))) => (namespace, name),
            (false, None) => ("", rest),
            _ => return Err(wrong()),
        };
        Ok(Self(Key::new(kind, namespace, name)))
    }
}

impl Whatif {
    /// Runs the command.
    ///
    /// # Errors
    /// If something cannot be read.
    pub(crate) fn run(&self) -> Result<Done> {
        if self.changed_nb.is_empty() && !self.nb.is_empty() {
            let message = "policies choose pods and namespaces by labels, which a NB does not have: give --manifests or \
                           --kubeconfig for today, or beside --nb the rows as they would be with --changed-nb";
            return Err(Usage(message.to_owned()).into());
        }
        if self.nb.is_empty() && !self.changed_nb.is_empty() {
            let message = "--changed-nb is held against --nb, the rows of today: give both";
            return Err(Usage(message.to_owned()).into());
        }
        let since = self.since()?;
        let server = remote::server(&self.source, &self.credentials)?;
        let strange = |source: &&Spec| server.is_none() && !source.is_recorded();
        if let Some(other) = self.source.iter().find(strange) {
            let message =
                format!("{other} brings no rows of its own: give capture:FILE or bundle:FILE");
            return Err(Usage(message).into());
        }
        let (before, after) = self.twins()?;
        let mut recorded = Recorded::default();
        match &server {
            Some(client) => recorded::of_server(client, self.since.as_deref(), &mut recorded)?,
            None if self.source.is_empty() => {}
            None => recorded::of_samples(&self.source, since, &mut recorded)?,
        }
        if let Some(directory) = &self.data {
            recorded::of_directory(directory, since, &mut recorded)?;
        }
        let pairs = recorded.pairs();
        let (old, new) = (
            Reach::new(before.northbounds()),
            Reach::new(after.northbounds()),
        );
        let report = whatif(&pairs, &old, &new);
        let mut out = BufWriter::new(stdout().lock());
        let shown = Shown {
            pairs: &pairs,
            report: &report,
            before: (&old, &before),
            after: (&new, &after),
            sees: &|_| true,
        };
        match self.output {
            Output::Text => shown.text(&mut out)?,
            Output::Json => {
                let all = shown.changes().chain(shown.unknown());
                for line in all.chain([json!({"summary": shown.totals()})]) {
                    writeln!(out, "{line}")?;
                }
            }
        }
        out.flush()?;
        shown.summary();
        Ok(match () {
            () if before.errors + after.errors > 0 => Done::Failed,
            () if !report.changes.is_empty() => Done::Changed,
            () if report.judged == 0 => Done::Unknown,
            () => Done::Ok,
        })
    }

    fn since(&self) -> Result<Timestamp> {
        let Some(text) = &self.since else {
            return Ok(Timestamp::MIN);
        };
        moment(text, SystemClock.now()).ok_or_else(|| {
            Usage(format!(
                "--since {text}: this is no time, such as -7d or 2026-11-23T08:15:30Z"
            ))
            .into()
        })
    }

    /// What is compiled today, and with the change.
    fn twins(&self) -> Result<(Twin, Twin)> {
        if !self.nb.is_empty() {
            return Ok((self.loaded(&self.nb)?, self.loaded(&self.changed_nb)?));
        }
        let settings = self.settings.clone();
        let inputs = match &self.kubeconfig {
            Some(cluster) => compile::Inputs::cluster(cluster.clone(), settings),
            None => compile::Inputs::manifests(self.manifests.clone(), settings),
        };
        let (mut world, news) = twin::world(&inputs)?;
        let before = twin::of_world(&world, &news)?;
        let mut change = over(&self.policies, world.next_file())?;
        for Removed(key) in &self.remove {
            if !world.has(key) {
                bail!("{key} is not there: it cannot be removed");
            }
            change.objects.insert(key.clone(), None);
        }
        let news = world.take(change);
        let news = twin::tell_errors(&world, news);
        let after = twin::of_world(&world, &news)?;
        Ok((before, after))
    }

    fn loaded(&self, nb: &[Remote]) -> Result<Twin> {
        let databases = Databases {
            nb: nb.to_vec(),
            tls: self.tls.clone(),
            ..Databases::default()
        };
        let mut inputs = twin::Inputs::of_databases(databases);
        inputs.stays = false;
        let twin = inputs.twin()?;
        if let Some(missing) = missing_zones(&twin.zones) {
            tell(missing);
        }
        Ok(twin)
    }
}

/// What other policies, given as a text, and those that go change for pairs: those that fare
/// otherwise and those that cannot be judged (docs/whatif.schema.json), and a summary. Who does
/// not see all gives policies of their namespaces, and is told of no others.
///
/// # Errors
/// If the text makes no sense or is about others, what goes is not there, or the objects of today
/// cannot be read.
pub(crate) fn tried(
    today: &compile::Inputs,
    policies: &str,
    remove: &[String],
    pairs: &[Pair],
    asker: &Asker,
) -> Result<Value, Refusal> {
    let mut change = Change::default();
    let removed: Vec<Removed> = remove
        .iter()
        .map(|object| object.parse())
        .collect::<Result<_, String>>()
        .map_err(|error| Refusal::Wrong(format!("remove: {error}")))?;
    let text = Text {
        name: "policies".to_owned(),
        text: policies.into(),
    };
    let fault = |error: anyhow::Error| Refusal::Fault(format!("{error:#}"));
    let (mut world, news) = twin::world(today).map_err(fault)?;
    let before = twin::of_world(&world, &news).map_err(fault)?;
    let file = FileId(world.next_file());
    put(&mut change, file, text);
    let known = removed.iter().map(|Removed(key)| key);
    for key in change
        .objects
        .keys()
        .chain(known)
        .filter(|_| !asker.sees_all())
    {
        let is_policy = key.kind.is_policy() && key.kind.is_namespaced();
        if !is_policy || !asker.sees(Some(&key.namespace)) {
            return Err(Refusal::Forbidden(format!(
                "{key}: you may ask about policies of namespaces that you may see, and of no other objects"
            )));
        }
    }
    for Removed(key) in removed {
        if !world.has(&key) {
            let message = format!("{key} is not there: it cannot be removed");
            return Err(Refusal::Unknown(message));
        }
        change.objects.insert(key, None);
    }
    let mut news = world.take(change);
    // What is said of other texts is for those who see these.
    let is_theirs = |it: &Diagnostic| it.labels.iter().all(|label| label.span.file == file);
    news.diagnostics
        .retain(|it| asker.sees_all() || (!it.labels.is_empty() && is_theirs(it)));
    if news.errors > 0 {
        let told = match news.diagnostics.is_empty() {
            true => "the policies do not fit to others".to_owned(),
            false => world.render(&news.diagnostics, false),
        };
        let mistakes = mistakes(policies, file, &news.diagnostics);
        return Err(Refusal::Mistaken(told, mistakes));
    }
    let after = twin::of_world(&world, &news).map_err(fault)?;
    let (old, new) = (
        Reach::new(before.northbounds()),
        Reach::new(after.northbounds()),
    );
    let report = whatif(pairs, &old, &new);
    let shown = Shown {
        pairs,
        report: &report,
        before: (&old, &before),
        after: (&new, &after),
        sees: &|namespace| asker.sees(namespace),
    };
    Ok(json!({
        "changes": shown.changes().collect::<Vec<_>>(),
        "unknown": shown.unknown().collect::<Vec<_>>(),
        "summary": shown.totals(),
        "mistakes": mistakes(policies, file, &news.diagnostics),
    }))
}

/// What is told of a text, with places in it.
fn mistakes(text: &str, file: FileId, diagnostics: &[Diagnostic]) -> Vec<Mistake> {
    let told = diagnostics.iter().map(|diagnostic| {
        let labels = diagnostic.labels.iter();
        let span = labels
            .map(|label| label.span)
            .find(|span| span.file == file);
        let end = span.and_then(|span| {
            let place = text.get(span.start as usize..span.end as usize)?;
            let last = place.rsplit('\n').next()?;
            let column = u32::try_from(last.chars().count()).ok()?;
            let breaks = u32::try_from(place.matches('\n').count()).ok()?;
            let first = if breaks == 0 { span.column } else { 1 };
            Some((span.line + breaks, first + column))
        });
        let help = diagnostic.help.as_ref();
        let help = help.map_or_else(String::new, |help| format!(" ({help})"));
        let labels = diagnostic.labels.iter().map(|label| label.text.as_str());
        let hint = labels.filter(|text| !text.is_empty() && *text != "here");
        let hint = hint
            .take(1)
            .map(|text| format!(": {text}"))
            .collect::<String>();
        Mistake {
            severity: diagnostic.severity.to_string(),
            code: diagnostic.code.0.to_owned(),
            message: format!("{}{hint}{help}", diagnostic.message),
            line: span.map(|span| span.line),
            column: span.map(|span| span.column),
            end_line: end.map(|(line, _)| line),
            end_column: end.map(|(_, column)| column),
        }
    });
    told.collect()
}

/// What is in files, with texts numbered from `first`: others have the numbers before.
fn over(paths: &[PathBuf], first: u32) -> Result<Change> {
    if paths.is_empty() {
        return Ok(Change::default());
    }
    let mut read = Files::new(paths).read()?;
    let mut change = Change::default();
    // What is wrong with a text is found again, with its place.
    read.diagnostics
        .retain(|diagnostic| diagnostic.labels.is_empty());
    change.diagnostics = read.diagnostics;
    for (number, text) in (first..).zip(read.texts.into_values().flatten()) {
        put(&mut change, FileId(number), text);
    }
    Ok(change)
}

fn put(change: &mut Change, file: FileId, text: Text) {
    let reading = netverdict_manifest::read(file, &text.text);
    change.diagnostics.extend(reading.diagnostics);
    let objects = reading.objects.into_iter();
    change
        .objects
        .extend(objects.map(|object| (object.key.clone(), Some(Arc::new(object)))));
    change.texts.insert(file, Some(text));
}
