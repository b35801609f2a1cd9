//! ClickHouse's own engine behind a small HTTP bridge, for as long as a test lasts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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
        let mut options = Options::new(format!("http://127.0.0.1:{}", self.port));
        options.database = database.to_owned();
        options.timeout = Duration::from_secs(300);
        options
    }

    /// What it answers to a statement.
    pub fn query(&self, sql: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: bridge\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{sql}",
            sql.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{sql}: {body}");
        body.to_owned()
    }

    /// The next inserts are made, and nobody is told.
    pub fn lose_answers(&self, count: u32) {
        std::fs::write(self.directory.path().join("fail"), count.to_string()).unwrap();
    }

    /// How many of these are still to come.
    pub fn answers_to_lose(&self) -> u32 {
        let left = std::fs::read_to_string(self.directory.path().join("fail")).unwrap();
        left.parse().unwrap()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
