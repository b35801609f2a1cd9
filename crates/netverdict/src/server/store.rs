//! Where connections are kept, as the configuration says.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use netverdict_server::Encoder;
use netverdict_store::Store;
use netverdict_store_clickhouse::ClickHouseStore;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::config::Config;

/// Opens the store of a directory.
pub(crate) use embedded::open as open_directory;

/// A store, and what goes with it.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    /// Writes Parquet files for others.
    pub(crate) encoder: Option<Encoder>,
    /// A directory that goes when nobody asks the store any more.
    pub(crate) temporary: Option<TempDir>,
}

/// Opens the store; where nobody says which, one that goes at the end.
///
/// # Errors
/// If it cannot be opened, or is none that is built in.
pub(crate) fn open(config: &Config, runtime: &Runtime) -> Result<Opened> {
    let Some(line) = &config.store else {
        return embedded::open(config);
    };
    if config.data.is_some() || config.keep.days.is_some() || config.keep.gigabytes.is_some() {
        bail!("data and keep are for a store in a directory: leave them out beside store");
    }
    let url = match line.strip_prefix("clickhouse:") {
        Some(host) if host.starts_with("//") => format!("http:{host}"),
        Some(url) => url.to_owned(),
        None => bail!(
            "store: there is no such store; there is clickhouse://HOST:8123/DATABASE, or \
             clickhouse:https://HOST:8443/DATABASE"
        ),
    };
    let options = url.parse().context("store")?;
    let store = runtime.block_on(ClickHouseStore::open(options))?;
    Ok(Opened {
        store: Arc::new(store),
        encoder: embedded::ENCODER,
        temporary: None,
    })
}

#[cfg(feature = "parquet")]
mod embedded {
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    use anyhow::{Context, Result};
    use netverdict_server::{Encode, Encoder};
    use netverdict_store_parquet::{File, Options, ParquetStore};
    use netverdict_types::Connection;

    use super::{Config, Opened};

    pub(super) const ENCODER: Option<Encoder> = Some(begin);

    pub(crate) fn open(config: &Config) -> Result<Opened> {
        let (directory, temporary) = match &config.data {
            Some(directory) => (directory.clone(), None),
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("netverdict-server-")
                    .tempdir()?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let mut options = Options::new(&directory);
        let days = |days: u32| Duration::from_secs(u64::from(days) * 86_400);
        let bytes = |gigabytes: u64| gigabytes.saturating_mul(1_000_000_000);
        options.keep = config.keep.days.map(days);
        options.keep_bytes = config.keep.gigabytes.map(bytes);
        let store = ParquetStore::open(options).with_context(|| directory.display().to_string())?;
        Ok(Opened {
            store: Arc::new(store),
            encoder: ENCODER,
            temporary,
        })
    }

    fn begin() -> io::Result<Box<dyn Encode>> {
        Ok(Box::new(Exported(File::begin()?)))
    }

    struct Exported(File);

    impl Encode for Exported {
        fn rows(&mut self, rows: &[Arc<Connection>]) -> io::Result<Vec<u8>> {
            self.0.rows(rows.iter().map(|row| &**row))
        }

        fn end(self: Box<Self>) -> io::Result<Vec<u8>> {
            self.0.end()
        }
    }
}

#[cfg(not(feature = "parquet"))]
mod embedded {
    use std::sync::Arc;

    use anyhow::{Result, bail};
    use netverdict_server::Encoder;
    use netverdict_store::judge::Naive;

    use super::{Config, Opened};

    pub(super) const ENCODER: Option<Encoder> = None;
    /// Rows that are kept in memory: some 200 MB.
    const ROOM: usize = 100_000;

    pub(crate) fn open(config: &Config) -> Result<Opened> {
        let keep = &config.keep;
        if let Some(directory) = &config.data {
            bail!(
                "{}: this netverdict was built without its store; build it with --features parquet",
                directory.display()
            );
        }
        if keep.days.is_some() || keep.gigabytes.is_some() {
            bail!(
                "keep: this netverdict was built without its store; build it with --features parquet"
            );
        }
        Ok(Opened {
            store: Arc::new(Naive::with_room(ROOM)),
            encoder: ENCODER,
            temporary: None,
        })
    }
}
