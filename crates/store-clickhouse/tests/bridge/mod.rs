//! ClickHouse's own engine behind a small HTTP bridge, for as long as a test lasts.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use netverdict_store_clickhouse::Options;

pub struct Bridge {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Bridge {
    /// `None` where chdb is not there, said aloud; with `NETVERDICT_REQUIRE_CHDB` that is a failure.
    pub fn start() -> Option<Self> {
        let home = std::env::var_os("HOME").map_or_else(PathBuf::new, PathBuf::from);
        let python = home.join(".cache/netverdict/chdb/bin/python");
        if !python.exists() {
            let missing = "chdb is missing: scripts/setup makes its environment";
            assert!(
                std::env::var_os("NETVERDICT_REQUIRE_CHDB").is_none(),
                "{missing}"
            );
            eprintln!("cannot run here: {missing}");
            return None;
        }
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../lab/clickhouse/bridge.py"
        );
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(python)
            .arg(script)
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line.trim().parse().expect("the bridge tells its port");
        Some(Self {
            child,
            port,
            directory,
        })
    }

    pub fn options(&self, database: &str) -> Options {
        let line = format!("http://127.0.0.1:{}/{database}?timeout=5m", self.port);
        line.parse().unwrap()
    }

    /// The next inserts are made, and nobody is told.
    #[allow(dead_code)]
    pub fn lose_answers(&self, count: u32) {
        std::fs::write(self.directory.path().join("fail"), count.to_string()).unwrap();
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
