use std::time::Duration;

use bytes::Bytes;
use clickhouse::Compression;
use netverdict_types::causes;

use crate::Options;
use crate::error::ClickHouseError;

/// How often a request is made whose connection failed.
const TRIES: u32 = 4;
/// How long to wait after the first failure; four times as long after each later one.
const WAIT: Duration = Duration::from_millis(100);

/// Requests, each with a time limit, and again where the connection failed: all that is asked
/// here may be asked twice.
pub(crate) struct Client {
    inner: clickhouse::Client,
    timeout: Duration,
}

impl Client {
    pub(crate) fn new(options: &Options) -> Self {
        let mut inner = clickhouse::Client::default()
            .with_url(&options.url)
            .with_compression(Compression::Lz4);
        if let Some(user) = &options.user {
            inner = inner.with_user(user);
        }
        if let Some(password) = &options.password {
            inner = inner.with_password(password);
        }
        Self {
            inner,
            timeout: options.timeout,
        }
    }

    /// The same in a database.
    pub(crate) fn within(&self, database: &str) -> Self {
        Self {
            inner: self.inner.clone().with_database(database),
            timeout: self.timeout,
        }
    }

    /// Does it.
    pub(crate) async fn execute(&self, sql: &str) -> Result<(), ClickHouseError> {
        self.again(|| self.inner.query_raw(sql).execute()).await
    }

    /// The answer in `RowBinary`.
    pub(crate) async fn fetch(&self, sql: &str) -> Result<Bytes, ClickHouseError> {
        self.again(|| async {
            let mut answer = self.inner.query_raw(sql).fetch_bytes("RowBinary")?;
            answer.collect().await
        })
        .await
    }

    /// Gives data to an `INSERT`.
    pub(crate) async fn insert(&self, sql: &str, data: &Bytes) -> Result<(), ClickHouseError> {
        self.again(|| async {
            let mut insert = self.inner.insert_formatted_with(sql);
            let mut sent = 0;
            while sent < data.len() {
                let next = data.len().min(sent + BLOCK);
                insert.send(data.slice(sent..next)).await?;
                sent = next;
            }
            insert.end().await
        })
        .await
    }

    async fn again<T, F>(&self, request: impl Fn() -> F) -> Result<T, ClickHouseError>
    where
        F: Future<Output = Result<T, clickhouse::error::Error>>,
    {
        let mut wait = WAIT;
        let mut tries = 1;
        loop {
            let answer = tokio::time::timeout(self.timeout, request()).await;
            let answer = answer.map_err(|_| ClickHouseError::Late(self.timeout))?;
            match answer.map_err(ClickHouseError::from) {
                Err(ClickHouseError::Unreachable(cause)) if tries < TRIES => {
                    tracing::warn!(
                        cause = %causes(&cause),
                        tries,
                        "ClickHouse cannot be reached, trying again"
                    );
                    tokio::time::sleep(wait).await;
                    wait *= 4;
                    tries += 1;
                }
                answer => return answer,
            }
        }
    }
}

/// Bytes that are compressed at once.
const BLOCK: usize = 1 << 20;
