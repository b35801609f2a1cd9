use std::time::Duration;

use netverdict_store::{RowError, StoreError};

/// Why ClickHouse did not do as it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClickHouseError {
    /// The address of the store is none.
    #[error(
        "`{url}` is no address of a ClickHouse: {why}; write \
         http://USER:PASSWORD@HOST:8123/DATABASE?keep=30d"
    )]
    Url {
        /// What was given, without its password.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server refused; its own words say why.
    #[error("ClickHouse refused: {message}")]
    Server {
        /// Its number for this error (system table `errors`), if it told one.
        code: Option<u32>,
        /// Its own words.
        message: String,
    },
    /// It cannot be reached, also not again and again.
    #[error("ClickHouse cannot be reached: see whether it runs, and its address")]
    Unreachable(#[source] clickhouse::error::Error),
    /// It did not answer in time.
    #[error("ClickHouse did not answer within {0:?}")]
    Late(Duration),
    /// What it answered is not what was asked for.
    #[error("the answer of ClickHouse ends within a value: is there a proxy in between?")]
    Cut,
    /// Something else wrote into the tables.
    #[error("a text of the tables is no UTF-8: something else wrote into them")]
    Text,
    /// A row is no connection.
    #[error("a row of the tables is no connection")]
    Row(#[from] RowError),
    /// A later version of this program has changed the tables.
    #[error(
        "the tables are of version {found}, and this program knows those up to {known}: use the \
         program that changed them, or a later one"
    )]
    Newer {
        /// The version of the tables.
        found: u64,
        /// The newest that this program knows.
        known: u64,
    },
    /// Another failure of the client.
    #[error("the request to ClickHouse failed")]
    Client(#[source] clickhouse::error::Error),
}

impl ClickHouseError {
    pub(crate) fn at(self, what: impl Into<String>) -> StoreError {
        StoreError::Engine {
            what: what.into(),
            cause: Box::new(self),
        }
    }
}

impl From<clickhouse::error::Error> for ClickHouseError {
    fn from(error: clickhouse::error::Error) -> Self {
        use clickhouse::error::Error;
        match error {
            Error::BadResponse(message) => Self::Server {
                code: code(&message),
                message,
            },
            error @ Error::Network(_) => Self::Unreachable(error),
            error => Self::Client(error),
        }
    }
}

/// The number in `Code: 60. DB::Exception: …`.
fn code(message: &str) -> Option<u32> {
    let (_, rest) = message.split_once("Code: ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
