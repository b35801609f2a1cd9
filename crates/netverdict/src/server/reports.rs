//! Up to where the reports of agents are kept, over restarts of the server.
//!
//! What came of reports stands in batches of rows. A batch is kept whole or not at all, and the store
//! tells the number of the last one that it keeps. The file says what the batch before the
//! next one made complete, and what the next one will: so one of both is true whenever the server
//! ends, and the store tells which. `docs/agent.md` has the argument.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use netverdict_server::Positions;
use serde::{Deserialize, Serialize};

/// The file.
pub(crate) struct Reports {
    path: Option<PathBuf>,
    kept: Positions,
}

/// What stands in it.
#[derive(Default, Deserialize, Serialize)]
struct Contents {
    /// What is complete once the batch of this number is kept.
    slots: Vec<Slot>,
}

#[derive(Clone, Deserialize, Serialize)]
struct Slot {
    number: u64,
    positions: Positions,
}

impl Reports {
    /// Reads the file in `directory`, where there is one, of the writer whose last batch that is kept
    /// has the number `last`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn open(directory: Option<&Path>, port: u16, last: u64) -> Result<Self> {
        let Some(directory) = directory else {
            return Ok(Self {
                path: None,
                kept: Positions::default(),
            });
        };
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let path = directory.join(format!("reports-{port}.json"));
        let contents = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| {
                format!(
                    "{}: it is damaged; without it, what agents send again is counted twice: remove it to go on",
                    path.display()
                )
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Contents::default(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let slots = contents.slots.into_iter();
        // The others are about batches that this store has not, or about another store.
        let true_now = slots.filter(|slot| slot.number <= last);
        let kept = true_now.max_by_key(|slot| slot.number);
        Ok(Self {
            path: Some(path),
            kept: kept.map(|slot| slot.positions).unwrap_or_default(),
        })
    }

    /// What is kept.
    pub(crate) fn kept(&self) -> &Positions {
        &self.kept
    }

    /// The batch that comes after number `last`, where there is one, makes these complete.
    ///
    /// # Errors
    /// If the file cannot be written: the batch must not be kept then.
    pub(crate) fn will_keep(&self, last: u64, comes: bool, positions: &Positions) -> Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let slot = |number, positions: &Positions| Slot {
            number,
            positions: positions.clone(),
        };
        let slots = match comes {
            true => vec![slot(last, &self.kept), slot(last + 1, positions)],
            // No row came of them.
            false => vec![slot(last, positions)],
        };
        let text = serde_json::to_vec(&Contents { slots })?;
        let whole = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&whole)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&whole, path)?;
            match path.parent() {
                Some(directory) => File::open(directory)?.sync_all(),
                None => Ok(()),
            }
        };
        write().with_context(|| path.display().to_string())
    }

    /// These are kept now.
    pub(crate) fn set_kept(&mut self, positions: Positions) {
        self.kept = positions;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(number: u64) -> Positions {
        let mut positions = Positions::default();
        positions.set("node", 7, number);
        positions
    }

    #[test]
    fn whenever_it_ends_what_is_kept_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let open = |last| Reports::open(Some(directory.path()), 1, last).unwrap();
        let mut reports = open(0);
        assert!(reports.kept().is_empty());
        reports.will_keep(0, true, &positions(3)).unwrap();
        // The batch was not kept, or was.
        assert!(open(0).kept().is_empty());
        assert_eq!(open(1).kept(), &positions(3));
        reports.set_kept(positions(3));
        reports.will_keep(1, false, &positions(4)).unwrap();
        assert_eq!(open(1).kept(), &positions(4));
        reports.set_kept(positions(4));
        reports.will_keep(1, true, &positions(9)).unwrap();
        assert_eq!(open(1).kept(), &positions(4));
        assert_eq!(open(2).kept(), &positions(9));
        // Batches without reports follow.
        assert_eq!(open(5).kept(), &positions(9));
        // Another store.
        assert!(open(0).kept().is_empty());
    }
}
