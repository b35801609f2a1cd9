//! Which files count: one small file that is replaced as a whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::log::sync_directory;
use crate::segment::Facts;

/// What a data directory holds.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Manifest {
    /// Of the layout; a greater one is of a newer version.
    pub(crate) format: u32,
    /// No segment, log or list has a number that is not below this one.
    pub(crate) next: u64,
    /// Logs with smaller numbers are in segments.
    pub(crate) log: u64,
    pub(crate) segments: Vec<Facts>,
    /// The last batch of each writer that is in segments.
    pub(crate) writers: BTreeMap<String, u64>,
    /// Rows that retention removed, ever.
    #[serde(default)]
    pub(crate) removed: u64,
    /// What was lost or set aside, ever.
    #[serde(default)]
    pub(crate) losses: BTreeMap<String, u64>,
}

const FORMAT: u32 = 1;
const NAME: &str = "manifest.json";

impl Manifest {
    pub(crate) fn new() -> Self {
        Self {
            format: FORMAT,
            ..Self::default()
        }
    }

    /// A number that nothing else has.
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    pub(crate) fn lose(&mut self, what: &str, count: u64) {
        *self.losses.entry(what.to_owned()).or_default() += count;
    }

    /// The one of a directory; `None` where there is none yet.
    pub(crate) fn read(root: &Path) -> io::Result<Option<Self>> {
        let path = path(root);
        let content = match std::fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let manifest: Self = serde_json::from_slice(&content)?;
        if manifest.format > FORMAT {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("{} was written by a newer version", path.display()),
            ));
        }
        Ok(Some(manifest))
    }

    /// Puts it in the place of the one that is there: a crash leaves the one or the other.
    pub(crate) fn write(&self, root: &Path) -> io::Result<()> {
        let path = path(root);
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        sync_directory(root)
    }
}

pub(crate) fn path(root: &Path) -> PathBuf {
    root.join(NAME)
}
