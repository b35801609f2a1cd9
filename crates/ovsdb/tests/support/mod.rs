//! A real `ovsdb-server` for tests.
//!
//! Its programs are looked for in `OVSDB_BINDIR`, on `PATH` and in `/usr/sbin`. Where they are
//! not, a test says so and passes, unless `NETVERDICT_REQUIRE_OVSDB=1`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use netverdict_ovsdb::Replica;
use tempfile::TempDir;

/// Returns from the test if there is no `ovsdb-server`.
#[macro_export]
macro_rules! need_ovsdb {
    () => {
        if let Err(reason) = support::there() {
            assert!(
                std::env::var("NETVERDICT_REQUIRE_OVSDB").as_deref() != Ok("1"),
                "{reason}"
            );
            eprintln!("SKIPPED: {reason}");
            return;
        }
    };
}

/// How a database is kept (ovsdb(7), "Service Models").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    Standalone,
    Clustered,
}

/// A server process, ended when dropped.
pub struct Server {
    directory: PathBuf,
    database: String,
    remotes: Vec<String>,
    more: Vec<String>,
    _owned: Option<TempDir>,
}

/// Whether the programs are there.
pub fn there() -> Result<(), String> {
    for name in ["ovsdb-server", "ovsdb-tool", "ovsdb-client"] {
        if find(name).is_none() {
            return Err(format!(
                "no {name} in OVSDB_BINDIR, on PATH or in /usr/sbin; \
                 on Debian: apt-get install openvswitch-common"
            ));
        }
    }
    Ok(())
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

impl Server {
    /// Starts a server of an empty database.
    pub fn start(model: Model, schema: &Path) -> Self {
        Self::start_with(model, schema, &[], &[])
    }

    pub fn start_with(model: Model, schema: &Path, remotes: &[&str], more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("db");
        match model {
            Model::Standalone => run("ovsdb-tool", &["create", text(&file), text(schema)]),
            Model::Clustered => {
                let raft = format!("unix:{}", directory.path().join("raft").display());
                let create = ["create-cluster", text(&file), text(schema), &raft];
                run("ovsdb-tool", &create)
            }
        };
        let mut server = Self::at(directory.path(), schema);
        server
            .remotes
            .extend(remotes.iter().map(|&remote| remote.to_owned()));
        server
            .more
            .extend(more.iter().map(|&option| option.to_owned()));
        server._owned = Some(directory);
        server.run();
        server
    }

    /// A member of a cluster of `of` in a directory of its own below `base`.
    pub fn member(base: &Path, schema: &Path, number: usize) -> Self {
        let directory = base.join(number.to_string());
        fs::create_dir(&directory).unwrap();
        let file = directory.join("db");
        let raft = |number: usize| format!("unix:{}", base.join(format!("raft{number}")).display());
        let mut server = Self::at(&directory, schema);
        if number == 0 {
            let create = ["create-cluster", text(&file), text(schema), &raft(0)];
            run("ovsdb-tool", &create);
        } else {
            let join = [
                "join-cluster",
                text(&file),
                &server.database,
                &raft(number),
                &raft(0),
            ];
            run("ovsdb-tool", &join);
        }
        server.run();
        let joined = [&server.endpoint(), &server.database, "connected"];
        server.client("wait", &joined);
        server.remotes.sort();
        server
    }

    fn at(directory: &Path, schema: &Path) -> Self {
        let schema: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
        Self {
            directory: directory.to_owned(),
            database: schema["name"].as_str().unwrap().to_owned(),
            remotes: vec![format!("punix:{}", directory.join("socket").display())],
            more: Vec::new(),
            _owned: None,
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    pub fn endpoint(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// Starts the process; returns when it serves.
    pub fn run(&self) {
        let path = |name: &str| self.directory.join(name).display().to_string();
        let mut arguments = vec![
            "--detach".to_owned(),
            "--no-chdir".to_owned(),
            format!("--pidfile={}", path("pid")),
            format!("--log-file={}", path("log")),
            format!("--unixctl={}", path("control")),
            "-vconsole:off".to_owned(),
        ];
        arguments.extend(
            self.remotes
                .iter()
                .map(|remote| format!("--remote={remote}")),
        );
        arguments.extend(self.more.iter().cloned());
        arguments.push(path("db"));
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        run("ovsdb-server", &arguments);
    }

    /// Ends the process without warning; returns when it has ended.
    pub fn kill(&self) {
        let pid = fs::read_to_string(self.directory.join("pid")).unwrap();
        run("kill", &["-9", pid.trim()]);
        // The lock of the database is free once the process is gone.
        while Path::new("/proc")
            .join(pid.trim())
            .join("exe")
            .read_link()
            .is_ok()
        {
            std::thread::yield_now();
        }
        let _ = fs::remove_file(self.directory.join("pid"));
        let _ = fs::remove_file(self.socket());
    }

    /// What the server has, as its own client tells.
    pub fn dump(&self) -> Replica {
        let dump = self.client("dump", &["-f", "json", &self.endpoint(), &self.database]);
        let dump = Replica::from_dump(dump.as_slice()).unwrap();
        assert_eq!(dump.problems, []);
        dump.replica
    }

    /// The port that the server chose at an address.
    pub fn port(&self, address: &str) -> Option<u16> {
        let log = fs::read_to_string(self.directory.join("log")).unwrap();
        log.lines().find_map(|line| {
            let (before, port) = line.split_once(": listening on port ")?;
            before
                .ends_with(address)
                .then(|| port.trim().parse().ok())?
        })
    }

    /// Runs `ovsdb-client`.
    pub fn client(&self, command: &str, arguments: &[&str]) -> Vec<u8> {
        let arguments: Vec<_> = [command].iter().chain(arguments).copied().collect();
        run("ovsdb-client", &arguments).stdout
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.directory.join("pid").exists() {
            self.kill();
        }
    }
}

/// Runs a program to its end, which must be a good one.
pub fn run(name: &str, arguments: &[&str]) -> Output {
    let program = find(name).unwrap_or_else(|| name.into());
    let output = Command::new(&program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{name} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn find(name: &str) -> Option<PathBuf> {
    let given = std::env::var_os("OVSDB_BINDIR").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    given
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
