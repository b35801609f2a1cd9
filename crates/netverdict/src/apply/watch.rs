//! `netverdict apply --watch`: NBs in step with objects.

use std::future::{Future, poll_fn};
use std::io::{Write, stdout};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::Poll;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Error, Result, anyhow};
use netverdict_control::{ApplyError, CommitError, Plan, applied, apply, commit};
use netverdict_manifest::Severity;
use netverdict_ovn::Database;
use netverdict_ovsdb::{Client, Endpoints, Event, TransactError};
use netverdict_source::Stop;
use netverdict_source::objects::{Change, Objects};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Apply, zone_of};
use crate::compile::{World, tell_news};
use crate::databases::Databases;
use crate::exit::{Done, tell};
use crate::write::{Output, open};

/// Keeps NBs in step until a signal comes.
///
/// # Errors
/// If objects cannot be read, or a NB cannot be reached in the beginning.
pub(super) async fn watch(arguments: &Apply, databases: &Databases) -> Result<Done> {
    let (signal, mut signalled) = mpsc::channel(1);
    ctrlc::set_handler(move || {
        // A second signal finds the first one waiting.
        let _ = signal.try_send(());
    })
    .context("cannot wait for signals")?;
    let stop = Stop::new()?;
    let source = arguments.inputs.source(&stop);
    let (mut changes, source) = start(source)?;
    let done = tokio::select! {
        done = follow(arguments, databases, &mut changes) => done,
        _ = signalled.recv() => Ok(Done::Ok),
    };
    stop.stop();
    // A source that waits to hand over a change is to find nobody.
    drop(changes);
    let _ended = source.join();
    done
}

/// A NB and how it stands.
struct Keeper {
    endpoints: Endpoints,
    client: Client,
    /// Why it may not be as wanted.
    due: Option<Due>,
    is_lost: bool,
    /// How often in a row somebody else was faster.
    attempts: usize,
    /// What was told and still holds.
    told: Vec<String>,
}

/// Why a NB may not be as wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Due {
    /// Objects changed.
    Objects,
    /// Rows changed.
    Rows,
}

/// How often a plan is made anew at once because somebody else was faster.
const ATTEMPTS: usize = 10;

async fn follow(
    arguments: &Apply,
    databases: &Databases,
    changes: &mut mpsc::Receiver<Result<Change>>,
) -> Result<Done> {
    let Some(first) = changes.recv().await else {
        return Err(anyhow!("no objects came"));
    };
    let Some(mut world) = arguments.begin(first?) else {
        return Ok(Done::Failed);
    };
    let mut keepers = Vec::new();
    for endpoints in &arguments.nb {
        let client = open(databases, Database::Northbound, endpoints, applied()).await?;
        keepers.push(Keeper {
            endpoints: endpoints.clone(),
            client,
            due: Some(Due::Objects),
            is_lost: false,
            attempts: 0,
            told: Vec::new(),
        });
    }
    for keeper in &keepers {
        // What is refused now will be refused until somebody does something about it.
        keeper.plan(arguments, &world)?;
    }
    let mut has_ended = false;
    loop {
        for keeper in &mut keepers {
            keeper.keep(arguments, &world).await?;
        }
        if keepers.iter().any(Keeper::is_ready) {
            continue;
        }
        tokio::select! {
            change = changes.recv(), if !has_ended => match change {
                Some(change) => {
                    let mut news = world.follow(change?);
                    // What is assumed changes with each pod; nobody has to act on it.
                    news.diagnostics.retain(|news| news.severity > Severity::Note);
                    tell_news(&world, &news);
                    for keeper in &mut keepers {
                        keeper.due = Some(Due::Objects);
                        keeper.attempts = 0;
                    }
                }
                // Of standard input there is no more; the rows are kept all the same.
                None => has_ended = true,
            },
            (number, event) = any_event(&mut keepers) => {
                if let Some(keeper) = keepers.get_mut(number) {
                    keeper.hear(event);
                }
            }
        }
    }
}

impl Keeper {
    /// True if it is to be looked at now.
    fn is_ready(&self) -> bool {
        self.due.is_some() && self.client.is_synced()
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Connected(_) => {
                if std::mem::take(&mut self.is_lost) {
                    tell(format_args!("NB at {}: in step again", self.endpoints));
                }
                self.due.get_or_insert(Due::Rows);
            }
            Event::Changes(_) => {
                self.due.get_or_insert(Due::Rows);
            }
            Event::Disconnected(lost) => {
                if !std::mem::replace(&mut self.is_lost, true) {
                    tell(format_args!("NB at {}: {}", lost.endpoint, lost.error));
                }
            }
            Event::NotLoaded(_) | Event::NotSaved(_) => {}
        }
    }

    /// Makes it as wanted, if it is in reach and may not be.
    async fn keep(&mut self, arguments: &Apply, world: &World) -> Result<()> {
        if !self.is_ready() {
            return Ok(());
        }
        let Some(due) = self.due.take() else {
            return Ok(());
        };
        let (zone, plan) = match self.plan(arguments, world) {
            Ok(planned) => planned,
            Err(error) => {
                self.say(vec![format!("{error:#}")]);
                return Ok(());
            }
        };
        self.say(plan.notes().to_vec());
        if plan.is_empty() {
            self.attempts = 0;
            return Ok(());
        }
        match commit(&mut self.client, &plan).await {
            Ok(_inverse) => {
                self.attempts = 0;
                self.report(arguments, &zone, &plan, due)
            }
            Err(CommitError::Changed(error)) => {
                self.attempts += 1;
                if self.attempts < ATTEMPTS {
                    self.due = Some(due);
                } else {
                    tell(format_args!(
                        "NB at {}: others are faster each time; waiting for them: {error}",
                        self.endpoints
                    ));
                }
                Ok(())
            }
            // Once it is in reach again.
            Err(CommitError::Transact(TransactError::OutcomeUnknown)) => {
                self.due = Some(due);
                Ok(())
            }
            Err(CommitError::Transact(error)) => {
                tell(format_args!("NB at {}: {error}", self.endpoints));
                Ok(())
            }
        }
    }

    fn plan(&self, arguments: &Apply, world: &World) -> Result<(String, Plan)> {
        let nb = self.client.replica();
        let zone = zone_of(nb, arguments.zone.as_deref(), world)?;
        let rows = world.rows(&zone);
        let plan = apply(nb, rows, &zone, arguments.terms())
            .map_err(|error: ApplyError| arguments.explain(error.into()))?;
        Ok((zone.to_string(), plan))
    }

    /// Says what was not said the last time.
    fn say(&mut self, now: Vec<String>) {
        for line in now.iter().filter(|line| !self.told.contains(line)) {
            tell(format_args!("NB at {}: {line}", self.endpoints));
        }
        self.told = now;
    }

    fn report(&self, arguments: &Apply, zone: &str, plan: &Plan, due: Due) -> Result<()> {
        let mut out = stdout().lock();
        match arguments.write.output {
            Output::Json => {
                let line = json!({
                    "zone": zone,
                    "endpoint": self.endpoints.to_string(),
                    "put_back": due == Due::Rows,
                    "steps": plan.steps(),
                    "notes": plan.notes(),
                });
                writeln!(out, "{line}")?;
            }
            Output::Table => {
                let why = match due {
                    Due::Objects => "",
                    Due::Rows => "put back: ",
                };
                for step in plan.steps() {
                    writeln!(out, "zone {zone}: {why}{step}")?;
                }
            }
        }
        out.flush()?;
        Ok(())
    }
}

/// The next event of any of them.
async fn any_event(keepers: &mut [Keeper]) -> (usize, Event) {
    // Dropping these loses nothing (Client::next_event).
    let mut events: Vec<Pin<Box<dyn Future<Output = Event> + '_>>> = Vec::new();
    for keeper in keepers {
        events.push(Box::pin(keeper.client.next_event()));
    }
    poll_fn(|cx| {
        for (number, event) in events.iter_mut().enumerate() {
            if let Poll::Ready(event) = event.as_mut().poll(cx) {
                return Poll::Ready((number, event));
            }
        }
        Poll::Pending
    })
    .await
}

type Started = (mpsc::Receiver<Result<Change>>, JoinHandle<()>);

/// Runs a source in a thread of its own. It gathers what changes while a change waits.
fn start(source: Box<dyn Objects>) -> Result<Started> {
    let (sender, changes) = mpsc::channel(1);
    let handle = thread::Builder::new()
        .name("objects".to_owned())
        .spawn(move || {
            let ended = source.run(&mut |change| match sender.blocking_send(Ok(change)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            });
            if let Err(error) = ended {
                // Nobody hears it if the command has ended meanwhile.
                let _ = sender.blocking_send(Err(Error::from_boxed(error)));
            }
        })?;
    Ok((changes, handle))
}
