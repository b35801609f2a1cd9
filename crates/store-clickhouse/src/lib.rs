//! Connections in ClickHouse, for more than one machine.
//!
//! Several servers may share one database. A batch is inserted under a token of its writer and
//! number, by which ClickHouse knows inserts that are made again; what was kept of each writer
//! stands in a table of its own. First updates go to the table `connections`, later ones, which
//! are few, to `updates`: a question is answered by ClickHouse over all connections that have
//! none of these, the others are folded here and added. `docs/clickhouse.md` describes the tables.
//!
//! ```no_run
//! use netverdict_store::Store;
//! use netverdict_store_clickhouse::ClickHouseStore;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let line = "http://netverdict:secret@clickhouse:8123/netverdict?keep=30d";
//! let store = ClickHouseStore::open(line.parse()?).await?;
//! # let _: &dyn Store = &store;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod binary;
mod client;
mod ddl;
mod error;
mod groups;
mod options;
mod sql;

pub use error::ClickHouseError;
pub use options::{Layout, Options};

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use netverdict_query::ask::{Answer, Ask, AskError, Cell, Cursor, Groups, Want};
use netverdict_store::{Batch, COLUMNS, State, Store, StoreError, connection};
use netverdict_types::{Connection, ConnectionId, Timestamp, causes};
use tokio::sync::Mutex;

use crate::binary::{Reader, is_there, write_row};
use crate::client::Client;
use crate::ddl::Tables;
use crate::groups::Table;
use crate::sql::{Source, literal};

/// A store in a database of ClickHouse.
pub struct ClickHouseStore {
    client: Client,
    options: Options,
    /// Batches of one writer go one after the other.
    writers: [Mutex<()>; 16],
    hash: RandomState,
    /// Why the last append failed; `None` where it did not.
    blocked: std::sync::Mutex<Option<String>>,
}

impl ClickHouseStore {
    /// Opens a database: makes it and its tables, or brings tables of an earlier version to that
    /// of today. Several servers may do so at once.
    ///
    /// # Errors
    /// [`StoreError::Engine`] with a [`ClickHouseError`] as its cause.
    pub async fn open(options: Options) -> Result<Self, StoreError> {
        Self::open_at(options, ddl::NEWEST).await
    }

    /// Opens a database whose tables are of this version at most: for tests of migrations.
    #[doc(hidden)]
    pub async fn open_at(options: Options, version: u64) -> Result<Self, StoreError> {
        let server = Client::new(&options);
        let store = Self {
            client: server.within(&options.database),
            options,
            writers: std::array::from_fn(|_| Mutex::new(())),
            hash: RandomState::new(),
            blocked: std::sync::Mutex::default(),
        };
        let database = &store.options.database;
        store
            .prepare(&server, version)
            .await
            .map_err(|error| error.at(format!("cannot prepare the database {database}")))?;
        Ok(store)
    }

    /// Answers from rows alone, without roll-ups: what those are judged by.
    ///
    /// # Errors
    /// As [`Store::ask`].
    pub async fn ask_rows(&self, ask: &Ask) -> Result<Answer, StoreError> {
        self.answer(ask, false).await
    }

    async fn answer(&self, ask: &Ask, rollups: bool) -> Result<Answer, StoreError> {
        ask.check()?;
        let answer = match &ask.want {
            Want::Groups(groups) => self.groups(ask, groups, rollups).await,
            Want::Rows { limit, after } => self
                .rows(ask, limit.saturating_add(1), *after)
                .await
                .map(|rows| Answer::of_rows(&rows, *limit)),
        };
        answer.map_err(|error| error.at("cannot answer the question"))
    }

    async fn prepare(&self, server: &Client, version: u64) -> Result<(), ClickHouseError> {
        let tables = Tables {
            database: &self.options.database,
            layout: &self.options.layout,
        };
        let (database, everywhere) = (sql::name(tables.database), tables.everywhere());
        server
            .execute(&format!(
                "CREATE DATABASE IF NOT EXISTS {database}{everywhere}"
            ))
            .await?;
        for statement in tables.versions() {
            self.client.execute(&statement).await?;
        }
        let found = self
            .number("SELECT toInt64(max(version)) FROM migrations")
            .await? as u64;
        if found > ddl::NEWEST {
            return Err(ClickHouseError::Newer {
                found,
                known: ddl::NEWEST,
            });
        }
        let steps = (1..).zip(ddl::MIGRATIONS);
        for (number, migration) in steps.skip(found as usize) {
            if number > version {
                break;
            }
            tracing::info!(number, "changing the tables of ClickHouse");
            for statement in migration(&tables) {
                self.client.execute(&statement).await?;
            }
            self.client
                .execute(&format!(
                    "INSERT INTO migrations (version) VALUES ({number})"
                ))
                .await?;
        }
        let known = self
            .texts(&format!(
                "SELECT name FROM system.columns WHERE database = {} AND table = {}",
                literal(tables.database),
                literal(&tables.local("updates"))
            ))
            .await?;
        for statement in ddl::added(&tables, &known) {
            self.client.execute(&statement).await?;
        }
        self.retain(&tables).await
    }

    /// Changes the retention where it is another.
    async fn retain(&self, tables: &Tables<'_>) -> Result<(), ClickHouseError> {
        let found = self
            .texts(&format!(
                "SELECT engine_full FROM system.tables WHERE database = {} AND name = {}",
                literal(tables.database),
                literal(&tables.local("connections"))
            ))
            .await?;
        let has = |text: &str| found.iter().any(|engine| engine.contains(text));
        let is_same = match self.options.keep {
            None => !has(" TTL "),
            Some(keep) => has(&format!("toIntervalSecond({})", keep.as_secs())),
        };
        if !is_same {
            for statement in tables.retention(self.options.keep) {
                self.client.execute(&statement).await?;
            }
        }
        Ok(())
    }

    async fn keep(&self, batch: &Batch) -> Result<(), ClickHouseError> {
        let writer = self.hash.hash_one(&batch.writer) as usize % self.writers.len();
        let _turn = self.writers[writer].lock().await;
        let last = self.last_of(&batch.writer).await?;
        if last.is_some_and(|last| last >= batch.number) {
            return Ok(());
        }
        let (mut first, mut later) = (Vec::new(), Vec::new());
        for row in &batch.rows {
            let bytes = if row.seq == 0 { &mut first } else { &mut later };
            write_row(bytes, row);
        }
        let rows = batch.rows.len();
        let token = literal(&format!("{}:{}", batch.number, batch.writer));
        for (table, bytes) in [("connections", first), ("updates", later)] {
            if bytes.is_empty() {
                continue;
            }
            let sql = format!(
                "INSERT INTO {table} ({}) SETTINGS insert_deduplication_token = {token}, \
                 insert_deduplicate = 1, \
                 deduplicate_blocks_in_dependent_materialized_views = 1, async_insert = 0, max_insert_block_size = {}, \
                 min_insert_block_size_rows = {}, min_insert_block_size_bytes = 0, \
                 max_partitions_per_insert_block = 0{} FORMAT RowBinary",
                sql::columns(),
                rows.max(1),
                rows.max(1),
                self.now_on_shards(),
            );
            self.client.insert(&sql, &Bytes::from(bytes)).await?;
        }
        let writer = literal(&batch.writer);
        self.client
            .execute(&format!(
                "INSERT INTO batches (writer, number) SETTINGS async_insert = 0{} VALUES ({writer}, {})",
                self.now_on_shards(),
                batch.number
            ))
            .await
    }

    /// Inserts above all shards end when each shard has its part.
    fn now_on_shards(&self) -> &'static str {
        match self.options.layout {
            Layout::Sharded { .. } => ", distributed_foreground_insert = 1",
            _ => "",
        }
    }

    /// All rows of a connection are on one shard.
    fn settings(&self) -> &'static str {
        match self.options.layout {
            Layout::Sharded { .. } => " SETTINGS distributed_product_mode = 'local'",
            _ => "",
        }
    }

    async fn last_of(&self, writer: &str) -> Result<Option<u64>, ClickHouseError> {
        let sql = format!(
            "SELECT reinterpretAsInt64(max(number)) FROM batches WHERE writer = {} HAVING count() > 0",
            literal(writer)
        );
        let answer = self.client.fetch(&sql).await?;
        match answer.is_empty() {
            true => Ok(None),
            false => Ok(Some(Reader::new(&answer).number()? as u64)),
        }
    }

    async fn groups(
        &self,
        ask: &Ask,
        groups: &Groups,
        rollups: bool,
    ) -> Result<Answer, ClickHouseError> {
        let mut turn = self.turn().await?;
        loop {
            let folded = self.folded(ask, &turn).await?;
            let rollup = match rollups {
                true => Source::rollup(ask, groups, folded.others()),
                false => None,
            };
            let source = rollup.unwrap_or_else(|| Source::rows(ask, folded.others()));
            let sql = sql::groups(groups, &source, !folded.rows.is_empty());
            let asked = format!("{}{}", sql.sql, self.settings());
            let answer = self.client.fetch(&asked).await?;
            if self.is_over(&mut turn).await? {
                let mut table = Table::new(groups);
                table.read(&sql, &answer)?;
                folded.rows.iter().for_each(|row| table.add(row));
                return Ok(table.answer());
            }
        }
    }

    /// At most `limit` connections that match.
    async fn rows(
        &self,
        ask: &Ask,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Vec<Connection>, ClickHouseError> {
        let mut turn = self.turn().await?;
        loop {
            let folded = self.folded(ask, &turn).await?;
            let asked = format!(
                "SELECT {} FROM connections WHERE {}{}{} ORDER BY end DESC, id DESC LIMIT {limit}{}",
                sql::columns(),
                sql::condition(ask),
                sql::behind(after),
                folded.others(),
                self.settings(),
            );
            let answer = self.client.fetch(&asked).await?;
            if self.is_over(&mut turn).await? {
                let mut rows = read_rows(&answer)?;
                let behind = folded.rows.into_iter().filter(|row| {
                    after.is_none_or(|after| (row.end, row.id.0) < (after.end, after.id))
                });
                rows.extend(behind);
                rows.sort_by_key(|row| std::cmp::Reverse((row.end, row.id)));
                rows.truncate(limit);
                return Ok(rows);
            }
        }
    }

    /// A question is asked in two parts, and again where updates came in between.
    async fn turn(&self) -> Result<Turn, ClickHouseError> {
        let updates = self.number(COUNT_UPDATES).await?;
        Ok(Turn { updates, tries: 1 })
    }

    async fn is_over(&self, turn: &mut Turn) -> Result<bool, ClickHouseError> {
        let now = self.number(COUNT_UPDATES).await?;
        let is_over = now == turn.updates || turn.tries == TURNS;
        *turn = Turn {
            updates: now,
            tries: turn.tries + 1,
        };
        Ok(is_over)
    }

    /// The connections that have later updates, folded, those that match.
    async fn folded(&self, ask: &Ask, turn: &Turn) -> Result<Folded, ClickHouseError> {
        if turn.updates == 0 {
            return Ok(Folded::default());
        }
        let (columns, ids) = (sql::columns(), sql::updated(ask));
        let sql = format!(
            "SELECT {columns} FROM (SELECT {columns} FROM connections WHERE id IN ({ids}) UNION ALL \
             SELECT {columns} FROM updates WHERE id IN ({ids})){}",
            self.settings()
        );
        let mut connections: HashMap<ConnectionId, Connection> = HashMap::new();
        for row in read_rows(&self.client.fetch(&sql).await?)? {
            match connections.get_mut(&row.id) {
                Some(known) => known.fold(&row),
                None => drop(connections.insert(row.id, row)),
            }
        }
        let rows = connections.into_values().filter(|it| ask.matches(it));
        Ok(Folded {
            rows: rows.collect(),
            is_some: true,
        })
    }

    async fn how_it_stands(&self) -> Result<State, ClickHouseError> {
        let tables = ["connections", "updates"];
        let all = tables.map(|table| {
            format!("SELECT count() AS rows, min(start) AS since, max(end) AS until FROM {table}")
        });
        let sql = format!(
            "SELECT toInt64(sum(rows)), toInt64(minIf(since, rows > 0)), toInt64(maxIf(until, rows > 0)) \
             FROM ({})",
            all.join(" UNION ALL ")
        );
        let answer = self.client.fetch(&sql).await?;
        let mut reader = Reader::new(&answer);
        let (rows, start, end) = (reader.number()?, reader.number()?, reader.number()?);
        let bytes = self
            .number(&format!(
                "SELECT toInt64(sum(bytes_on_disk)) FROM system.parts WHERE active AND database = {}",
                literal(&self.options.database)
            ))
            .await?;
        let broken = self
            .number(&format!(
                "SELECT toInt64(count()) FROM system.detached_parts WHERE database = {} AND startsWith(reason, 'broken')",
                literal(&self.options.database)
            ))
            .await?;
        Ok(State {
            rows: rows as u64,
            bytes: bytes as u64,
            span: (rows > 0).then(|| Timestamp(start)..Timestamp(end.saturating_add(1))),
            losses: vec![("broken_parts", broken as u64)],
            blocked: self.blocked().clone(),
            // A TTL does not count what it removes.
            ..State::default()
        })
    }

    fn blocked(&self) -> MutexGuard<'_, Option<String>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn number(&self, sql: &str) -> Result<i64, ClickHouseError> {
        Reader::new(&self.client.fetch(sql).await?).number()
    }

    async fn texts(&self, sql: &str) -> Result<Vec<String>, ClickHouseError> {
        let answer = self.client.fetch(sql).await?;
        let mut reader = Reader::new(&answer);
        let mut texts = Vec::new();
        while !reader.is_done() {
            if let Cell::Text(text) = reader.cell(netverdict_store::Type::Text)? {
                texts.push(text.into());
            }
        }
        Ok(texts)
    }
}

const COUNT_UPDATES: &str = "SELECT toInt64(count()) FROM updates";
/// How often a question is asked at most while updates come.
const TURNS: u32 = 4;

struct Turn {
    /// How many updates there were before.
    updates: i64,
    tries: u32,
}

/// Connections with later updates, those that match.
#[derive(Default)]
struct Folded {
    rows: Vec<Connection>,
    is_some: bool,
}

impl Folded {
    /// What tells the other connections.
    fn others(&self) -> &'static str {
        match self.is_some {
            true => " AND id NOT IN (SELECT id FROM updates)",
            false => "",
        }
    }
}

fn read_rows(bytes: &[u8]) -> Result<Vec<Connection>, ClickHouseError> {
    let mut reader = Reader::new(bytes);
    let mut rows = Vec::new();
    let mut cells = Vec::with_capacity(COLUMNS.len());
    while !reader.is_done() {
        cells.clear();
        for column in COLUMNS {
            cells.push(match is_there(column) {
                true => reader.cell(column.kind)?,
                false => reader.nullable(column.kind)?,
            });
        }
        rows.push(connection(|column| cells[column].value())?);
    }
    Ok(rows)
}

impl Store for ClickHouseStore {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let kept = self.keep(&batch).await;
            *self.blocked() = kept.as_ref().err().map(|error| causes(error));
            kept.map_err(|error| {
                let (number, writer) = (batch.number, &batch.writer);
                error.at(format!("cannot keep batch {number} of {writer}"))
            })
        }
        .boxed()
    }

    fn ask<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Answer, StoreError>> {
        self.answer(ask, true).boxed()
    }

    fn connections<'a>(
        &'a self,
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Connection>, StoreError>> {
        async move {
            let Want::Rows { limit, after } = ask.want else {
                return Err(StoreError::Ask(AskError::NotRows));
            };
            let rows = self.rows(ask, limit, after).await;
            rows.map_err(|error| error.at("cannot answer the question"))
        }
        .boxed()
    }

    fn last<'a>(&'a self, writer: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        async move {
            let last = self.last_of(writer).await;
            last.map_err(|error| error.at(format!("cannot tell the last batch of {writer}")))
        }
        .boxed()
    }

    fn state(&self) -> BoxFuture<'_, Result<State, StoreError>> {
        async move {
            let state = self.how_it_stands().await;
            state.map_err(|error| error.at("cannot tell how the store stands"))
        }
        .boxed()
    }
}
