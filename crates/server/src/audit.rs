use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use netverdict_types::Timestamp;
use serde::Serialize;

/// A file with one line of JSON for each request.
#[derive(Debug)]
pub(crate) struct Audit {
    file: Mutex<File>,
    failed: AtomicBool,
}

/// Who asked what, and what came of it. No header and no body is in it.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) time: Timestamp,
    /// Empty for somebody unknown.
    pub(crate) subject: &'a str,
    pub(crate) address: Option<IpAddr>,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) query: Option<&'a str>,
    pub(crate) status: u16,
    /// Until the answer began.
    pub(crate) milliseconds: u128,
}

impl Audit {
    /// Opens a file, and goes on behind what is in it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(path)?;
        Ok(Self {
            file: Mutex::new(file),
            failed: AtomicBool::new(false),
        })
    }

    /// Writes a line. Where that fails the log says so once.
    pub(crate) fn write(&self, line: &Line<'_>) {
        let write = || {
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(&text)
        };
        let failed = write();
        let was = self.failed.swap(failed.is_err(), Ordering::Relaxed);
        if let (Err(error), false) = (failed, was) {
            tracing::error!("the audit log cannot be written: {error}");
        }
    }
}
