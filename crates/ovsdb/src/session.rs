//! One connection: from the first request to its end.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::change::{Cause, ChangeSet};
use crate::client::{Command, Config, Connected, Error, Method};
use crate::endpoint::Endpoint;
use crate::frame::{Decoder, Expect, Frame};
use crate::replica::Replica;
use crate::schema::Schema;
use crate::transact::{Refusal, Reply, TransactError, Transaction};
use crate::transport::Stream;
use crate::update::Stage;

/// What outlives a connection.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) replica: Replica,
    stage: Stage,
    /// The newest log entry that any member of the cluster has shown, and the cluster.
    seen: Option<(Value, i64)>,
}

pub(crate) struct Session {
    endpoint: Endpoint,
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    decoder: Decoder,
    /// What is to be written, from `written` on.
    output: Vec<u8>,
    written: usize,
    flushed: bool,
    phase: Phase,
    /// The request that the phase waits for.
    awaited: Option<u64>,
    next_id: u64,
    method: Method,
    monitor: Value,
    monitors: u64,
    /// The rows of `_Server.Database` by uuid.
    databases: Map<String, Value>,
    /// What the monitor that is being set up will bring.
    pending: Pending,
    transactions: HashMap<u64, (Transaction, oneshot::Sender<Result<Reply, TransactError>>)>,
    probe: Option<Probe>,
    /// When the server was last heard.
    heard: i64,
}

/// What the server has been asked for last. One after the other, so that the answer to a monitor
/// request is known as such from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Databases,
    ServerSchema,
    ServerMonitor,
    Schema,
    Monitor,
    Live,
}

#[derive(Default)]
struct Pending {
    schema_version: String,
    missing: crate::wanted::Missing,
    since: Option<Uuid>,
}

struct Probe {
    interval: Duration,
    heard: Instant,
    asked: bool,
}

/// What a step has brought.
pub(crate) enum Happening {
    Nothing,
    Synced(Connected, Option<ChangeSet>),
    Changes(ChangeSet),
}

const SERVER_MONITOR: &str = "servers";
const SERVER_DATABASE: &str = "_Server";
/// The columns of `_Server.Database` that are of use (ovsdb-server(5)).
const SERVER_COLUMNS: [&str; 6] = ["name", "model", "connected", "leader", "cid", "index"];

impl Context {
    pub(crate) fn new(config: Config, replica: Replica) -> Self {
        Self {
            config,
            replica,
            stage: Stage::default(),
            seen: None,
        }
    }
}

impl Session {
    pub(crate) fn new(endpoint: Endpoint, stream: Box<dyn Stream>, context: &mut Context) -> Self {
        let (reader, writer) = split(stream);
        let interval = match endpoint {
            Endpoint::Unix(_) => None,
            Endpoint::Tcp(_) | Endpoint::Ssl(_) => context.config.probe_interval,
        };
        context.stage.clear();
        let mut session = Self {
            endpoint,
            reader,
            writer,
            decoder: Decoder::new(),
            output: Vec::new(),
            written: 0,
            flushed: true,
            phase: Phase::Databases,
            awaited: None,
            next_id: 0,
            method: context.config.method,
            monitor: Value::Null,
            monitors: 0,
            databases: Map::new(),
            pending: Pending::default(),
            transactions: HashMap::new(),
            probe: interval.map(|interval| Probe {
                interval,
                heard: Instant::now(),
                asked: false,
            }),
            heard: context.config.clock.now(),
        };
        session.ask(Phase::Databases, "list_dbs", json!([]));
        session
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Ends the connection.
    pub(crate) fn close(&mut self, context: &mut Context, error: &Error) {
        for (_, (_, answer)) in self.transactions.drain() {
            let _ = answer.send(Err(TransactError::OutcomeUnknown));
        }
        if matches!(error, Error::Inconsistent(_)) {
            context.replica.transaction = None;
        }
        if self.is_live() {
            // A server that closes has sent all that it meant to; one that vanished has not.
            let orderly = matches!(error, Error::Closed { in_message: false });
            let unix = matches!(self.endpoint, Endpoint::Unix(_));
            context.replica.synced_at = Some(if orderly || unix {
                context.config.clock.now()
            } else {
                self.heard
            });
        }
    }

    /// Waits for one thing and does what follows from it.
    pub(crate) async fn step(
        &mut self,
        context: &mut Context,
        own: &mut VecDeque<Command>,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<Happening, Error> {
        if self.is_live() {
            while let Some(command) = own.pop_front() {
                self.transact(command, context);
            }
        }
        if let Some(happening) = self.read_frames(context)? {
            return Ok(happening);
        }
        let live = self.is_live();
        let output = self.output.get(self.written..).unwrap_or_default();
        let output_len = output.len();
        let busy = output_len > 0 || !self.flushed;
        let probe_at = self.probe.as_ref().map(Probe::deadline);
        tokio::select! {
            read = self.reader.read(self.decoder.space()) => {
                let bytes = read.map_err(Error::Broken)?;
                if bytes == 0 {
                    return Err(Error::Closed { in_message: self.decoder.in_frame() });
                }
                self.decoder.filled(bytes);
                if let Some(probe) = &mut self.probe {
                    probe.heard = Instant::now();
                    probe.asked = false;
                    self.heard = context.config.clock.now();
                }
            }
            written = write(&mut self.writer, output), if busy => {
                self.written += written.map_err(Error::Broken)?;
                self.flushed = output_len == 0;
                if self.written >= self.output.len() {
                    self.output = Vec::new();
                    self.written = 0;
                }
            }
            Some(command) = commands.recv(), if live => self.transact(command, context),
            () = until(probe_at) => self.tick()?,
        }
        Ok(Happening::Nothing)
    }

    fn tick(&mut self) -> Result<(), Error> {
        let Some(probe) = &mut self.probe else {
            return Ok(());
        };
        if Instant::now() < probe.deadline() {
            return Ok(());
        }
        if probe.asked {
            return Err(Error::Silent(probe.heard.elapsed()));
        }
        probe.asked = true;
        self.send(&json!({"id": "echo", "method": "echo", "params": []}));
        Ok(())
    }

    fn transact(&mut self, command: Command, context: &Context) {
        let params = command.transaction.to_json(&context.config.database);
        let id = self.request("transact", params);
        self.transactions
            .insert(id, (command.transaction, command.answer));
    }

    fn read_frames(&mut self, context: &mut Context) -> Result<Option<Happening>, Error> {
        loop {
            let expect = Expect {
                monitor: (!self.monitor.is_null()).then_some(&self.monitor),
                initial: self.phase == Phase::Monitor,
            };
            let frame = self
                .decoder
                .poll(expect, &mut context.stage, &context.replica)?;
            let Some(frame) = frame else {
                return Ok(None);
            };
            if let Some(happening) = self.frame(frame, context)? {
                return Ok(Some(happening));
            }
        }
    }

    fn frame(&mut self, frame: Frame, context: &mut Context) -> Result<Option<Happening>, Error> {
        match frame.method.as_deref() {
            Some("echo") => {
                let params = Value::Array(frame.head);
                self.send(&json!({"id": frame.id, "result": params, "error": null}));
                Ok(None)
            }
            Some("update" | "update2" | "update3") => self.update(&frame, context),
            Some("monitor_canceled") => {
                if frame.head.first() == Some(&self.monitor) {
                    // The database was converted to another schema, or goes away.
                    self.monitor = Value::Null;
                    self.ask_schema(context);
                }
                Ok(None)
            }
            Some(_) if frame.id.is_null() => Ok(None),
            Some(_) => {
                self.send(&json!({"id": frame.id, "result": null, "error": "unknown method"}));
                Ok(None)
            }
            None => self.response(frame, context),
        }
    }

    fn update(&mut self, frame: &Frame, context: &mut Context) -> Result<Option<Happening>, Error> {
        match frame.head.first() {
            Some(id) if *id == json!(SERVER_MONITOR) => {
                if let Some(updates) = frame.head.get(1) {
                    self.server_rows(updates);
                    self.check_server(context)?;
                }
                Ok(None)
            }
            Some(id) if *id == self.monitor && frame.tables && self.is_live() => {
                let replica = &mut context.replica;
                let changes = context
                    .stage
                    .apply(replica, false, &context.config.wanted)?;
                replica.transaction = frame.head.get(1).and_then(as_uuid);
                let time = context.config.clock.now();
                replica.synced_at = Some(time);
                // A transaction may change nothing that is wanted.
                if changes.is_empty() {
                    return Ok(None);
                }
                Ok(Some(Happening::Changes(ChangeSet {
                    time,
                    cause: Cause::Transaction,
                    transaction: replica.transaction,
                    changes,
                })))
            }
            _ => Ok(None),
        }
    }

    fn response(
        &mut self,
        frame: Frame,
        context: &mut Context,
    ) -> Result<Option<Happening>, Error> {
        let id = frame.id.as_u64();
        if let Some((transaction, answer)) = id.and_then(|id| self.transactions.remove(&id)) {
            let result = if frame.error.is_null() {
                transaction.reply(&frame.result)
            } else {
                Err(TransactError::Refused(Refusal::from_json(&frame.error)))
            };
            // Whoever asked may have gone, or may be the one that waits for this step.
            let _ = answer.send(result);
            return Ok(Some(Happening::Nothing));
        }
        if id.is_none() || id != self.awaited {
            return Ok(None);
        }
        self.awaited = None;
        let method = self.phase.method(self.method);
        if !frame.error.is_null() {
            return self.refused(method, &frame, context);
        }
        match self.phase {
            Phase::Databases => self.databases(&frame, context),
            Phase::ServerSchema => {
                let there = frame.result.pointer("/tables/Database/columns");
                let columns: Vec<_> = SERVER_COLUMNS
                    .into_iter()
                    .filter(|column| there.is_some_and(|there| there.get(column).is_some()))
                    .collect();
                // So that a change of schema cancels the monitor and not the connection.
                self.request("set_db_change_aware", json!([true]));
                let tables = json!({"Database": [{"columns": columns}]});
                let params = json!([SERVER_DATABASE, SERVER_MONITOR, tables]);
                self.ask(Phase::ServerMonitor, "monitor", params);
                Ok(None)
            }
            Phase::ServerMonitor => {
                self.server_rows(&frame.result);
                self.check_server(context)?;
                self.ask_schema(context);
                Ok(None)
            }
            Phase::Schema => {
                let schema = Schema::from_json(&frame.result)?;
                self.follow(&schema, context);
                Ok(None)
            }
            Phase::Monitor if frame.tables => self.synced(&frame, context).map(Some),
            Phase::Monitor | Phase::Live => Err(Error::Malformed { method }),
        }
    }

    fn refused(
        &mut self,
        method: &'static str,
        frame: &Frame,
        context: &mut Context,
    ) -> Result<Option<Happening>, Error> {
        let refusal = Refusal::from_json(&frame.error);
        let unknown = refusal.kind.to_string() == "unknown method";
        match (self.phase, self.method) {
            (Phase::Monitor, Method::MonitorCondSince) if unknown => {
                self.method = Method::MonitorCond;
                self.ask_monitor(context);
            }
            (Phase::Monitor, Method::MonitorCond) if unknown => {
                self.method = Method::Monitor;
                self.ask_monitor(context);
            }
            _ => return Err(Error::Refused { method, refusal }),
        }
        Ok(None)
    }

    fn databases(
        &mut self,
        frame: &Frame,
        context: &mut Context,
    ) -> Result<Option<Happening>, Error> {
        let names = frame
            .result
            .as_array()
            .ok_or(Error::Malformed { method: "list_dbs" })?;
        let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
        if !names.contains(&context.config.database.as_str()) {
            return Err(Error::NoDatabase {
                name: context.config.database.clone(),
                there: names
                    .into_iter()
                    .filter(|name| *name != SERVER_DATABASE)
                    .map(str::to_owned)
                    .collect(),
            });
        }
        if names.contains(&SERVER_DATABASE) && context.config.database != SERVER_DATABASE {
            self.ask(Phase::ServerSchema, "get_schema", json!([SERVER_DATABASE]));
        } else {
            self.ask_schema(context);
        }
        Ok(None)
    }

    /// Takes over `<table-updates>` of `_Server`.
    fn server_rows(&mut self, updates: &Value) {
        let rows = updates.get("Database").and_then(Value::as_object);
        for (uuid, update) in rows.into_iter().flatten() {
            match update.get("new") {
                Some(new) => self.databases.insert(uuid.clone(), new.clone()),
                None => self.databases.remove(uuid),
            };
        }
    }

    /// Whether this server will do (ovsdb(7), "Clustered Database Service Model").
    fn check_server(&self, context: &mut Context) -> Result<(), Error> {
        let config = &context.config;
        let row = self
            .databases
            .values()
            .find(|row| row.get("name").and_then(Value::as_str) == Some(&config.database));
        let Some(row) = row else {
            return Err(Error::NoDatabase {
                name: config.database.clone(),
                there: Vec::new(),
            });
        };
        let is = |column: &str| row.get(column).and_then(Value::as_bool) == Some(true);
        let model = row.get("model").and_then(Value::as_str).unwrap_or_default();
        if matches!(model, "clustered" | "relay") && !is("connected") {
            return Err(Error::Cut);
        }
        if model == "clustered" {
            let cluster = row.get("cid").cloned().unwrap_or_default();
            if let Some(index) = row.get("index").and_then(Value::as_i64) {
                match &context.seen {
                    Some((known, seen)) if *known == cluster && index < *seen => {
                        return Err(Error::Behind { index, seen: *seen });
                    }
                    _ => context.seen = Some((cluster, index)),
                }
            }
            if config.leader_only && !is("leader") {
                return Err(Error::NotLeader);
            }
        }
        Ok(())
    }

    fn ask_schema(&mut self, context: &Context) {
        let params = json!([context.config.database]);
        self.ask(Phase::Schema, "get_schema", params);
    }

    /// Asks for what is wanted and there.
    fn follow(&mut self, schema: &Schema, context: &mut Context) {
        let wanted = &context.config.wanted;
        let same = context
            .stage
            .prepare(wanted.layouts(schema), &context.replica);
        self.pending = Pending {
            schema_version: schema.version.clone(),
            missing: wanted.missing_from(schema),
            since: context.replica.transaction.filter(|_| same),
        };
        self.ask_monitor(context);
    }

    fn ask_monitor(&mut self, context: &Context) {
        self.monitors += 1;
        self.monitor = json!(format!("monitor-{}", self.monitors));
        let tables: Map<_, _> = context
            .stage
            .layouts()
            .map(|layout| {
                let columns: Vec<_> = layout.names.iter().map(AsRef::as_ref).collect();
                (layout.table.to_string(), json!([{"columns": columns}]))
            })
            .collect();
        let mut params = vec![
            json!(context.config.database),
            self.monitor.clone(),
            Value::Object(tables),
        ];
        if self.method == Method::MonitorCondSince {
            params.push(json!(self.pending.since.unwrap_or_default().to_string()));
        }
        let method = self.phase_method();
        self.ask(Phase::Monitor, method, Value::Array(params));
    }

    fn phase_method(&self) -> &'static str {
        Phase::Monitor.method(self.method)
    }

    /// Takes over the first contents of a monitor.
    fn synced(&mut self, frame: &Frame, context: &mut Context) -> Result<Happening, Error> {
        let since = self.method == Method::MonitorCondSince;
        let found = match frame.head.first() {
            Some(Value::Bool(found)) if since => *found,
            None if !since => false,
            _ => {
                return Err(Error::Malformed {
                    method: self.phase_method(),
                });
            }
        };
        let transaction = frame.head.get(1).and_then(as_uuid);
        let replica = &mut context.replica;
        let changes = context
            .stage
            .apply(replica, !found, &context.config.wanted)?;
        let time = context.config.clock.now();
        let cause = match replica.synced_at {
            None => Some(Cause::Initial),
            Some(_) if found && transaction == replica.transaction && changes.is_empty() => None,
            Some(from) => Some(Cause::Gap { from, to: time }),
        };
        replica.transaction = transaction;
        replica.synced_at = Some(time);
        replica.schema_version = Some(self.pending.schema_version.clone());
        replica.missing = self.pending.missing.clone();
        self.phase = Phase::Live;
        let connected = Connected {
            time,
            endpoint: self.endpoint.clone(),
            method: self.method,
            schema_version: self.pending.schema_version.clone(),
            missing: self.pending.missing.clone(),
        };
        let changes = cause.map(|cause| ChangeSet {
            time,
            cause,
            transaction,
            changes,
        });
        Ok(Happening::Synced(connected, changes))
    }

    /// Sends the request that the next phase waits for.
    fn ask(&mut self, phase: Phase, method: &'static str, params: Value) {
        self.phase = phase;
        self.awaited = Some(self.request(method, params));
    }

    fn request(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"id": id, "method": method, "params": params}));
        id
    }

    fn send(&mut self, message: &Value) {
        self.output
            .extend_from_slice(message.to_string().as_bytes());
    }
}

impl Phase {
    fn method(self, monitor: Method) -> &'static str {
        match self {
            Self::Databases => "list_dbs",
            Self::ServerSchema | Self::Schema => "get_schema",
            Self::ServerMonitor => "monitor",
            Self::Monitor | Self::Live => match monitor {
                Method::Monitor => "monitor",
                Method::MonitorCond => "monitor_cond",
                Method::MonitorCondSince => "monitor_cond_since",
            },
        }
    }
}

impl Probe {
    fn deadline(&self) -> Instant {
        self.heard + self.interval * if self.asked { 3 } else { 2 }
    }
}

/// Writes some of what is there, or flushes what was written.
async fn write(writer: &mut WriteHalf<Box<dyn Stream>>, output: &[u8]) -> std::io::Result<usize> {
    if output.is_empty() {
        writer.flush().await?;
        return Ok(0);
    }
    writer.write(output).await
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn as_uuid(value: &Value) -> Option<Uuid> {
    let uuid = Uuid::try_parse(value.as_str()?).ok()?;
    (!uuid.is_nil()).then_some(uuid)
}
