//! Follows the databases of all zones, and hands their changes to the one thread that judges.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;
use crossbeam_channel::{Receiver, Select, Sender, bounded};
use netverdict_ovn::Database;
use netverdict_ovsdb::{Cause, ChangeSet, Client, Config, Endpoints, Event, Replica};
use netverdict_types::ZoneId;
use tokio::sync::{mpsc, watch};

use crate::databases::{Databases, Remote};
use crate::engine::{Engine, GLOBAL, zone_name};

/// Which database of which zone, counted in the order given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Slot {
    pub(crate) zone: usize,
    pub(crate) database: Database,
}

/// What a followed database tells.
pub(crate) struct News {
    pub(crate) slot: Slot,
    pub(crate) event: Event,
}

/// All databases of all zones.
pub(crate) struct Feed {
    news: Receiver<News>,
    /// Name of each zone, once its NB told it.
    zones: Vec<Option<ZoneId>>,
    /// Changes of a zone whose name is not known yet.
    early: Vec<(Slot, ChangeSet)>,
    /// Schema versions of NBs whose zone's name is not known yet.
    schemas: Vec<(usize, String)>,
    /// Live databases that have told neither their rows nor why not.
    waiting: Vec<Slot>,
    following: Option<Following>,
    /// The NB of each zone whose address sets nobody asked for yet.
    unasked: Vec<Option<Remote>>,
    databases: Databases,
}

/// The thread that follows live databases; it ends, and keeps its copies, when this goes.
struct Following {
    stop: Option<watch::Sender<()>>,
    /// More to follow.
    more: mpsc::UnboundedSender<(Slot, Endpoints)>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::warn!("the thread that follows the databases has failed");
        }
    }
}

/// How long a database may take before that is said.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long it may take before we go on without it: a large one is a while on its way.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Events that may wait for the judging thread; beyond, the servers wait.
const QUEUE: usize = 256;

impl Feed {
    /// Reads dumps at once, and follows live databases on a thread of their own. With `state`,
    /// copies of them are kept there.
    ///
    /// # Errors
    /// If a dump cannot be read or an endpoint makes no sense.
    pub(crate) fn start(
        databases: &Databases,
        state: Option<&Path>,
        engine: &mut Engine,
    ) -> Result<Self> {
        databases.check_tls()?;
        let mut live = Vec::new();
        let mut dumps = Vec::new();
        let mut count = 0;
        let mut unasked = Vec::new();
        for database in [
            Database::Northbound,
            Database::Southbound,
            Database::Vswitch,
        ] {
            for (zone, remote) in databases.remotes(database)?.into_iter().enumerate() {
                count = count.max(zone + 1);
                if database == Database::Northbound {
                    unasked.push(Some(remote.clone()));
                }
                let slot = Slot { zone, database };
                match remote {
                    Remote::Live(endpoints) => live.push((slot, endpoints)),
                    dump @ Remote::Dump(_) => dumps.push((slot, dump)),
                }
            }
        }
        let (sender, news) = bounded(QUEUE);
        let mut feed = Self {
            news,
            zones: vec![None; count],
            early: Vec::new(),
            schemas: Vec::new(),
            waiting: live.iter().map(|(slot, _)| *slot).collect(),
            following: None,
            unasked,
            databases: databases.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        for (slot, remote) in dumps {
            let replica = runtime.block_on(databases.load(slot.database, &remote))?;
            feed.take_rows(slot, &replica, engine)?;
        }
        if !live.is_empty() {
            let databases = databases.clone();
            let state = state.map(Path::to_owned);
            let (stop, stopped) = watch::channel(());
            let (more, asked) = mpsc::unbounded_channel();
            for (slot, endpoints) in live {
                // The other side is not there yet, so it cannot be gone.
                let _ = more.send((slot, endpoints));
            }
            let thread = thread::Builder::new()
                .name("databases".to_owned())
                .spawn(move || {
                    runtime.block_on(follow(databases, state, asked, sender, stopped));
                })?;
            feed.following = Some(Following {
                stop: Some(stop),
                more,
                thread: Some(thread),
            });
        }
        Ok(feed)
    }

    /// No database at all.
    pub(crate) fn empty() -> Self {
        Self {
            news: crossbeam_channel::never(),
            zones: Vec::new(),
            early: Vec::new(),
            schemas: Vec::new(),
            waiting: Vec::new(),
            following: None,
            unasked: Vec::new(),
            databases: Databases::default(),
        }
    }

    /// What happens in the databases, to wait for beside other things.
    pub(crate) fn news(&self) -> &Receiver<News> {
        &self.news
    }

    /// Waits until each live database has given its rows or failed once, for half a minute at
    /// most, or until there is something in `interrupt`, which stays there. Gives the databases
    /// that have not answered.
    ///
    /// # Errors
    /// If the history cannot be written.
    pub(crate) fn wait_for_rows(
        &mut self,
        engine: &mut Engine,
        interrupt: &Receiver<()>,
    ) -> Result<Vec<&'static str>> {
        let began = Instant::now();
        let mut limit = PATIENCE;
        while !self.waiting.is_empty() {
            let mut select = Select::new();
            let on_interrupt = select.recv(interrupt);
            select.recv(&self.news);
            match select.ready_deadline(began + limit) {
                Ok(ready) if ready == on_interrupt => break,
                Ok(_) => match self.news.try_recv() {
                    Ok(news) => self.take(news, engine)?,
                    Err(error) if error.is_disconnected() => break,
                    Err(_) => {}
                },
                Err(_) if limit == PATIENCE => {
                    tracing::warn!("waiting for {}", self.silent().join(", "));
                    limit = LONGEST_WAIT;
                }
                Err(_) => break,
            }
        }
        Ok(self.silent())
    }

    fn silent(&self) -> Vec<&'static str> {
        let names = self.waiting.iter().map(|slot| slot.database.name());
        names.collect()
    }

    /// Takes one event.
    ///
    /// # Errors
    /// If the history, or a recording, cannot be written.
    pub(crate) fn take(&mut self, News { slot, event }: News, engine: &mut Engine) -> Result<()> {
        match event {
            Event::Changes(set) => {
                self.waiting.retain(|waiting| *waiting != slot);
                self.apply(slot, set, engine)
            }
            Event::Connected(connected) => {
                tracing::info!(
                    "{} at {}: in step by {:?}, schema {}",
                    slot.database.name(),
                    connected.endpoint,
                    connected.method,
                    connected.schema_version
                );
                if !connected.missing.is_empty() {
                    tracing::info!(
                        "{} at {}: schema {} lacks {}",
                        slot.database.name(),
                        connected.endpoint,
                        connected.schema_version,
                        connected.missing
                    );
                }
                if slot.database == Database::Northbound {
                    match self.zones.get(slot.zone) {
                        Some(Some(zone)) => {
                            let schema = &connected.schema_version;
                            engine.history_mut().set_schema(*zone, schema);
                        }
                        // The rows follow, and tell the zone's name.
                        _ => self.schemas.push((slot.zone, connected.schema_version)),
                    }
                    if connected.missing.tables.contains("Sample") {
                        tracing::warn!(
                            "{}: OVN before 24.09 cannot sample ACLs; use --source acl-log:FILE",
                            connected.endpoint
                        );
                    }
                }
                Ok(())
            }
            Event::Disconnected(lost) => {
                tracing::warn!(
                    "{} at {}: {}; next attempt in {:?}",
                    slot.database.name(),
                    lost.endpoint,
                    lost.error,
                    lost.retry_in
                );
                self.waiting.retain(|waiting| *waiting != slot);
                Ok(())
            }
            Event::NotLoaded(error) => {
                tracing::warn!("{}: {error}; asking the server", slot.database.name());
                Ok(())
            }
            Event::NotSaved(error) => {
                tracing::warn!("the copy of {} is not kept: {error}", slot.database.name());
                Ok(())
            }
        }
    }

    /// Asks for the address sets of zones where they are needed and not yet there.
    ///
    /// # Errors
    /// If the history, or a recording, cannot be written.
    pub(crate) fn ask_for_sets(&mut self, engine: &mut Engine) -> Result<()> {
        for zone in engine.lacking_sets() {
            for place in 0..self.zones.len() {
                if self.zones[place] == Some(zone) {
                    self.ask_for_sets_of(place, engine)?;
                }
            }
        }
        Ok(())
    }

    fn ask_for_sets_of(&mut self, zone: usize, engine: &mut Engine) -> Result<()> {
        let slot = Slot {
            zone,
            database: Database::Sets,
        };
        match self.unasked.get_mut(zone).and_then(Option::take) {
            Some(Remote::Live(endpoints)) => {
                if let Some(following) = &self.following
                    && following.more.send((slot, endpoints)).is_ok()
                {
                    tracing::info!("several ACLs share a point: asking for address sets");
                    self.waiting.push(slot);
                }
                Ok(())
            }
            Some(dump) => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                let replica = runtime.block_on(self.databases.load(slot.database, &dump))?;
                self.take_rows(slot, &replica, engine)
            }
            None => Ok(()),
        }
    }

    /// The zones by the order in which they were given.
    pub(crate) fn zones(&self) -> &[Option<ZoneId>] {
        &self.zones
    }

    fn take_rows(&mut self, slot: Slot, replica: &Replica, engine: &mut Engine) -> Result<()> {
        let changes = replica
            .tables()
            .flat_map(netverdict_ovsdb::Table::rows)
            .map(|row| netverdict_ovsdb::Change {
                table: row.table().into(),
                uuid: row.uuid(),
                old: None,
                new: Some(row.clone()),
            })
            .collect();
        let set = ChangeSet {
            time: 0,
            cause: Cause::Initial,
            transaction: None,
            changes,
        };
        self.apply(slot, set, engine)
    }

    fn apply(&mut self, slot: Slot, set: ChangeSet, engine: &mut Engine) -> Result<()> {
        let known = self.zones.get(slot.zone).copied().flatten();
        let zone = match known {
            Some(zone) => zone,
            None if slot.database == Database::Northbound => {
                let name = zone_name(&set).unwrap_or_else(|| GLOBAL.to_owned());
                let zone = engine.zone(&name);
                if let Some(place) = self.zones.get_mut(slot.zone) {
                    *place = Some(zone);
                }
                for (_, schema) in self.schemas.extract_if(.., |(of, _)| *of == slot.zone) {
                    engine.history_mut().set_schema(zone, &schema);
                }
                zone
            }
            None => {
                self.early.push((slot, set));
                return Ok(());
            }
        };
        engine.apply(zone, slot.database, &set)?;
        if known.is_none() {
            let early = std::mem::take(&mut self.early);
            for (early_slot, set) in early {
                if early_slot.zone == slot.zone {
                    engine.apply(zone, early_slot.database, &set)?;
                } else {
                    self.early.push((early_slot, set));
                }
            }
        }
        self.ask_for_sets(engine)
    }
}

async fn follow(
    databases: Databases,
    state: Option<PathBuf>,
    mut asked: mpsc::UnboundedReceiver<(Slot, Endpoints)>,
    sender: Sender<News>,
    mut stop: watch::Receiver<()>,
) {
    let local = tokio::task::LocalSet::new();
    let stopped = stop.clone();
    let spawner = async {
        loop {
            let (slot, endpoints) = tokio::select! {
                asked = asked.recv() => match asked {
                    Some(asked) => asked,
                    None => break,
                },
                // Nobody sends: it ends when the other side is gone.
                _ = stop.changed() => break,
            };
            let mut config = databases.config(slot.database, &endpoints);
            // Address sets are asked for seldom, and of a copy it would not be known how old it is.
            let state = state.as_ref().filter(|_| slot.database != Database::Sets);
            config.replica_file =
                state.map(|state| state.join(file_name(slot.database, &endpoints)));
            let (sender, stopped) = (sender.clone(), stopped.clone());
            tokio::task::spawn_local(follow_one(slot, config, sender, stopped));
        }
    };
    local.run_until(spawner).await;
    drop(sender);
    local.await;
}

async fn follow_one(
    slot: Slot,
    config: Config,
    sender: Sender<News>,
    mut stop: watch::Receiver<()>,
) {
    let mut client = Client::new(config);
    loop {
        let event = tokio::select! {
            event = client.next_event() => event,
            _ = stop.changed() => break,
        };
        // A full queue stops this thread, and so the servers, until the judge is ready.
        if sender.send(News { slot, event }).is_err() {
            break;
        }
    }
    if let Err(error) = client.save() {
        tracing::warn!("the copy of {} is not kept: {error}", slot.database.name());
    }
}

/// A name of its own for the copy of each database: a copy is kept between runs, so that a start
/// need not make a production server serialise everything again.
fn file_name(database: Database, endpoints: &Endpoints) -> String {
    let mut hasher = DefaultHasher::new();
    endpoints.hash(&mut hasher);
    format!("{}-{:016x}", database.name(), hasher.finish())
}
