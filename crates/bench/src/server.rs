//! A real `ovsdb-server`, and a large NB for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use netverdict_bench::cluster::{Cluster, Wanted};
use netverdict_ovn::Database;
use netverdict_ovsdb::{Client, Config, Operation, Transaction};
use tempfile::TempDir;
use uuid::Uuid;

/// A server process, ended when dropped.
pub(crate) struct Server {
    process: Child,
    directory: TempDir,
}

impl Server {
    /// Serves a copy of a database file.
    pub(crate) fn of(file: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        fs::copy(file, directory.path().join("db")).with_context(|| file.display().to_string())?;
        Self::start(directory)
    }

    /// Serves an empty database.
    pub(crate) fn empty(schema: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        create(&directory.path().join("db"), schema)?;
        Self::start(directory)
    }

    fn start(directory: TempDir) -> Result<Self> {
        let path = |name: &str| directory.path().join(name);
        let process = Command::new(find("ovsdb-server")?)
            .arg(format!("--remote=punix:{}", path("socket").display()))
            .arg(format!("--unixctl={}", path("control").display()))
            .arg("-vconsole:off")
            .arg(path("db"))
            .stdin(Stdio::null())
            .spawn()?;
        let mut server = Self { process, directory };
        // A socket is there before a large database is read: the first answer is waited for.
        wait_for("ovsdb-server", || {
            if let Some(status) = server.process.try_wait()? {
                bail!("ovsdb-server has ended: {status}");
            }
            Ok(server.socket().exists())
        })?;
        let list = Command::new(find("ovsdb-client")?)
            .args(["list-dbs", &server.endpoint()])
            .stdout(Stdio::null())
            .status()?;
        ensure!(list.success(), "ovsdb-server does not answer");
        Ok(server)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    pub(crate) fn client(&self, database: Database) -> Result<Client> {
        let endpoint = self.endpoint().parse()?;
        Ok(Client::new(Config::new(
            endpoint,
            database.name(),
            database.wanted(),
        )))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The file of a NB with so many ACLs and Samples; made when it is not there.
pub(crate) fn northbound(acls: usize) -> Result<PathBuf> {
    let directory = cache()?.join("bench");
    // The number goes up with each change of the rows.
    let file = directory.join(format!("nb-{acls}-1.db"));
    if file.exists() {
        return Ok(file);
    }
    eprintln!("making {} (once)", file.display());
    fs::create_dir_all(&directory)?;
    let server = Server::empty(&schema("ovn", "ovn-nb.ovsschema")?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(fill(&server, &Cluster::new(acls)))?;
    let half = directory.join(format!("nb-{acls}.{}", std::process::id()));
    fs::copy(server.directory.path().join("db"), &half)?;
    fs::rename(half, &file)?;
    Ok(file)
}

/// Rows that a transaction holds at most; a group is never cut.
const ROWS: usize = 1_000;

async fn fill(server: &Server, cluster: &Cluster) -> Result<()> {
    let endpoint = server.endpoint().parse()?;
    let only = netverdict_ovsdb::Wanted::new().table("Sampling_App", ["id"]);
    let mut client = Client::new(Config::new(endpoint, Database::Northbound.name(), only));
    let mut known: Vec<(Uuid, Uuid)> = Vec::new();
    let mut transaction = Transaction::new();
    let last = cluster.northbound.len() - 1;
    for (
        number,
        Wanted {
            table,
            uuid,
            columns,
        },
    ) in cluster.northbound.iter().enumerate()
    {
        let columns = columns.iter().map(|(name, value)| {
            let mut value = value.clone();
            for (here, there) in &known {
                if value == (*here).into() {
                    value = (*there).into();
                }
            }
            ((*name).to_owned(), value)
        });
        let columns = match *table {
            // The ports are those of switches, which the server knows by other names.
            "Port_Group" => columns.filter(|(name, _)| name != "ports").collect(),
            _ => columns.collect(),
        };
        transaction.push(Operation::Insert {
            table: (*table).to_owned(),
            row: *uuid,
            columns,
        });
        let whole = !matches!(*table, "Sample" | "ACL" | "Logical_Switch_Port");
        if number == last || whole && transaction.operations().len() >= ROWS {
            let reply = client.transact(std::mem::take(&mut transaction)).await?;
            // Of the rows of other transactions, only the collector is named.
            let rows = cluster.northbound[..=number].iter();
            known.extend(
                rows.filter(|row| row.table == "Sample_Collector")
                    .filter_map(|row| Some((row.uuid, reply.uuid(row.uuid)?))),
            );
        }
    }
    Ok(())
}

/// The schema file of OVN or Open vSwitch: of this machine, else of the lab's tree.
pub(crate) fn schema(package: &str, name: &str) -> Result<PathBuf> {
    let here = Path::new("/usr/share").join(package).join(name);
    if here.exists() {
        return Ok(here);
    }
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/tree");
    let output = Command::new(&tree)
        .arg("trixie")
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| tree.display().to_string())?;
    ensure!(
        output.status.success(),
        "no {} on this machine, and lab/tree cannot make a tree that has it",
        here.display()
    );
    let root = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    Ok(root.join("usr/share").join(package).join(name))
}

fn create(file: &Path, schema: &Path) -> Result<()> {
    let status = Command::new(find("ovsdb-tool")?)
        .arg("create")
        .arg(file)
        .arg(schema)
        .status()?;
    ensure!(
        status.success(),
        "ovsdb-tool create {} {}: {status}",
        file.display(),
        schema.display()
    );
    Ok(())
}

/// Where all that is made once is kept.
fn cache() -> Result<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .map(|base| base.join("netverdict"))
        .context("neither XDG_CACHE_HOME nor HOME is set")
}

fn find(name: &str) -> Result<PathBuf> {
    let given = std::env::var_os("OVSDB_BINDIR").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    given
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(["/usr/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .with_context(|| {
            format!("no {name} in OVSDB_BINDIR or on PATH; on Debian: apt-get install openvswitch-common")
        })
}

/// Waits until something is there that tells nobody.
pub(crate) fn wait_for(what: &str, mut there: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    while !there()? {
        ensure!(Instant::now() < end, "{what}: not ready within a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
