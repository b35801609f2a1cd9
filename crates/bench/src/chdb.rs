//! ClickHouse's engine, chdb, behind the bridge of the lab.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use netverdict_store_clickhouse::Options;

/// The engine, as long as it is needed.
pub struct Chdb {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Chdb {
    /// `None` where it is not there.
    pub fn start() -> Result<Option<Self>> {
        let home = std::env::var_os("HOME").map_or_else(PathBuf::new, PathBuf::from);
        let python = home.join(".cache/netverdict/chdb/bin/python");
        if !python.exists() {
            return Ok(None);
        }
        let bridge = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/clickhouse/bridge.py");
        let directory = tempfile::tempdir()?;
        let mut child = Command::new(python)
            .arg(bridge)
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().context("the bridge has no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let port = line.trim().parse().context("the bridge tells no port")?;
        Ok(Some(Self {
            child,
            port,
            _directory: directory,
        }))
    }

    /// What opens a store in it.
    pub fn options(&self) -> Options {
        let mut options = Options::new(format!("http://127.0.0.1:{}", self.port));
        options.timeout = Duration::from_secs(600);
        options
    }

    /// Waits until nothing is joined any more.
    pub fn settle(&self) -> Result<()> {
        while self.query("SELECT count() FROM system.merges")?.trim() != "0" {
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }

    fn query(&self, sql: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: bridge\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{sql}",
            sql.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
            _ => bail!("{sql}: {answer}"),
        }
    }
}

impl Drop for Chdb {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
