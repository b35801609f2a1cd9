//! Where facts come from: the kernel, the databases, the daemons. Nothing is changed.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use netverdict_control::wanted;
use netverdict_ovn::Database;
use netverdict_ovsdb::{Client, Endpoint, Error, Replica, Wanted};
use netverdict_source::{conntrack, psample};
use netverdict_types::{Clock, SystemClock};

use super::facts::{Conntrack, Daemon, Facts, Fault, Machine, NamedFile, Psample, Reach, Zone};
use crate::databases::{Databases, Remote};
use crate::session::state_directory;

/// Looks at this machine and at all databases.
///
/// # Errors
/// If the environment names something that is no endpoint.
pub(super) fn facts(databases: &Databases, state: Option<PathBuf>) -> Result<Facts> {
    let nbs = databases.remotes(Database::Northbound)?;
    let sbs = databases.remotes(Database::Southbound)?;
    let switches = databases.remotes(Database::Vswitch)?;
    let all = || nbs.iter().chain(&sbs).chain(&switches);
    let only_dumps =
        all().next().is_some() && all().all(|remote| matches!(remote, Remote::Dump(_)));
    let count = nbs.len().max(sbs.len()).max(switches.len()).max(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut zones = Vec::new();
    for number in 0..count {
        let (nb, sb, ovs) = (nbs.get(number), sbs.get(number), switches.get(number));
        let mut zone = Zone::default();
        let nb_rows;
        let sb_rows;
        let ovs_rows;
        (zone.nb, nb_rows) = reach(&runtime, databases, Database::Northbound, nb);
        (zone.sb, sb_rows) = reach(&runtime, databases, Database::Southbound, sb);
        (zone.ovs, ovs_rows) = reach(&runtime, databases, Database::Vswitch, ovs);
        zone.read(nb_rows.as_ref(), sb_rows.as_ref(), ovs_rows.as_ref());
        zone.name = match (&zone.status, count) {
            (_, 1) => None,
            (Some(status), _) if !status.zone.is_empty() => Some(status.zone.clone()),
            _ => Some((number + 1).to_string()),
        };
        let no_dump = ![nb, sb, ovs]
            .into_iter()
            .flatten()
            .any(|remote| matches!(remote, Remote::Dump(_)));
        if no_dump {
            zone.vswitchd = directory(&[ovs], "/run/openvswitch")
                .map(|directory| daemon(&directory, "ovs-vswitchd"));
            zone.controller = directory(&[nb, sb], "/run/ovn")
                .map(|directory| daemon(&directory, "ovn-controller"));
        }
        zones.push(zone);
    }
    let tls = [
        ("--private-key", &databases.tls.private_key),
        ("--certificate", &databases.tls.certificate),
        ("--ca-cert", &databases.tls.ca_cert),
    ];
    Ok(Facts {
        time: SystemClock.now(),
        machine: (!only_dumps).then(|| machine(state)),
        tls: tls
            .into_iter()
            .filter_map(|(flag, path)| {
                let path = path.clone()?;
                let fault = fs::File::open(&path).err().map(|error| error.to_string());
                Some(NamedFile { flag, path, fault })
            })
            .collect(),
        zones,
    })
}

/// A server that says nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

fn reach(
    runtime: &tokio::runtime::Runtime,
    databases: &Databases,
    database: Database,
    remote: Option<&Remote>,
) -> (Reach, Option<Replica>) {
    let Some(remote) = remote else {
        return (Reach::Absent, None);
    };
    let at = remote.to_string();
    let read = match remote {
        Remote::Live(endpoints) => {
            let mut config = databases.config(database, endpoints);
            config.wanted = wanted_here(database);
            let mut client = Client::new(config);
            let synced = runtime.block_on(async {
                match tokio::time::timeout(PATIENCE, client.sync()).await {
                    Ok(synced) => synced.cloned(),
                    Err(_) => Err(Error::Silent(PATIENCE)),
                }
            });
            synced.map_err(|error| (fault(&error), error.to_string()))
        }
        Remote::Dump(path) => fs::File::open(path)
            .map_err(|error| error.to_string())
            .and_then(|file| {
                Replica::from_dump(io::BufReader::new(file)).map_err(|error| error.to_string())
            })
            .map(|dump| dump.replica.restrict(&wanted_here(database)))
            .map_err(|error| (Fault::Other, error)),
    };
    match read {
        Ok(replica) => {
            let schema = replica.schema_version().map(str::to_owned);
            (Reach::There { at, schema }, Some(replica))
        }
        Err((fault, error)) => (Reach::Failed { at, error, fault }, None),
    }
}

/// The tables and columns that the facts come from.
pub(super) fn wanted_here(database: Database) -> Wanted {
    let wanted = wanted(database);
    match database {
        Database::Vswitch => wanted.table(
            "Open_vSwitch",
            ["ovs_version", "other_config", "cur_cfg", "next_cfg"],
        ),
        _ => wanted,
    }
}

fn fault(error: &Error) -> Fault {
    match error {
        Error::Connect(error) => match error.kind() {
            ErrorKind::PermissionDenied => Fault::NoPermission,
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => Fault::NoServer,
            _ => Fault::Other,
        },
        _ => Fault::Other,
    }
}

fn machine(state: Option<PathBuf>) -> Machine {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.trim().to_owned();
    let switch = |name: &str| {
        let value = sysctl(&format!("net/netfilter/{name}"))?;
        Some(value != 0)
    };
    Machine {
        psample: try_psample(),
        has_psample_module: has_module(&kernel, "psample"),
        datapath: Path::new("/sys/module/openvswitch").exists(),
        net_admin: has_net_admin(),
        rmem_max: sysctl("net/core/rmem_max"),
        conntrack: try_conntrack(),
        conntrack_counts: switch("nf_conntrack_acct"),
        conntrack_times: switch("nf_conntrack_timestamp"),
        state: state_directory(state.as_deref()).map(|path| NamedFile {
            flag: "--state",
            fault: unwritable(&path),
            path,
        }),
        program: std::env::current_exe().unwrap_or_else(|_| "netverdict".into()),
        kernel,
    }
}

fn try_psample() -> Psample {
    let (sender, _receiver) = netverdict_source::channel(1);
    let opened = psample::Psample::open(
        &psample::Options::default(),
        Arc::new(SystemClock),
        sender,
        Arc::default(),
    );
    match opened {
        Ok(_) => Psample::Opened,
        Err(psample::Error::NoFamily) => Psample::NoFamily,
        Err(psample::Error::NoPermission) => Psample::NoPermission,
        Err(error) => Psample::Failed(error.to_string()),
    }
}

/// A larger table is not read only to see whether it could be.
const LARGE_TABLE: u64 = 100_000;

fn try_conntrack() -> Conntrack {
    let Some(count) = sysctl("net/netfilter/nf_conntrack_count") else {
        return Conntrack::NotLoaded;
    };
    if count > LARGE_TABLE && has_net_admin() {
        return Conntrack::Read(count);
    }
    match conntrack::read() {
        Ok(table) => Conntrack::Read(table.entries.len() as u64),
        Err(error) => Conntrack::Failed(error.to_string()),
    }
}

fn sysctl(name: &str) -> Option<u64> {
    let text = fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
    text.trim().parse().ok()
}

/// CAP_NET_ADMIN is bit 12 (linux/capability.h).
fn has_net_admin() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << 12) != 0)
}

fn has_module(kernel: &str, name: &str) -> bool {
    let file = format!("/{name}.ko");
    let names = |list: &str| {
        ["/lib/modules", "/usr/lib/modules"].iter().any(|root| {
            let path = Path::new(root).join(kernel).join(list);
            let text = fs::read_to_string(path).unwrap_or_default();
            text.lines().any(|line| {
                line.split(':')
                    .next()
                    .is_some_and(|path| path.contains(&file))
            })
        })
    };
    names("modules.dep") || names("modules.builtin")
}

/// What stands against writing into a directory, or making it.
fn unwritable(directory: &Path) -> Option<String> {
    let there = directory.ancestors().find(|path| path.exists())?;
    if !there.is_dir() {
        return Some(format!("{} is not a directory", there.display()));
    }
    nix::unistd::access(there, nix::unistd::AccessFlags::W_OK)
        .err()
        .map(|error| format!("{}: {}", there.display(), error.desc()))
}

/// The directory of the control sockets: beside the sockets of the databases. `None` where those
/// are on another machine.
fn directory(remotes: &[Option<&Remote>], default: &str) -> Option<PathBuf> {
    let mut given = remotes.iter().copied().flatten().peekable();
    if given.peek().is_none() {
        return Path::new(default).exists().then(|| default.into());
    }
    given.find_map(|remote| match remote {
        Remote::Live(endpoints) => {
            endpoints
                .as_slice()
                .iter()
                .find_map(|endpoint| match endpoint {
                    Endpoint::Unix(path) => path.parent().map(Path::to_owned),
                    _ => None,
                })
        }
        Remote::Dump(_) => None,
    })
}

/// Asks a daemon for its version by its control socket (ovs-appctl(8)): `NAME.PID.ctl`.
fn daemon(directory: &Path, name: &str) -> Daemon {
    let prefix = format!("{name}.");
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    let sockets = files.map(|file| file.path()).filter(|path| {
        let file = path.file_name().and_then(|name| name.to_str());
        file.is_some_and(|file| file.starts_with(&prefix) && file.ends_with(".ctl"))
    });
    let mut end = Daemon::Absent(directory.to_owned());
    for socket in sockets {
        match version(&socket) {
            Ok(version) => return Daemon::Answers(version),
            Err(error) => end = Daemon::Silent(format!("{}: {error}", socket.display())),
        }
    }
    end
}

/// A daemon at work may be busy for a moment.
const ANSWER: Duration = Duration::from_secs(5);

fn version(socket: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    stream.write_all(br#"{"id":0,"method":"version","params":[]}"#)?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        let count = stream.read(&mut part).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => io::Error::new(ErrorKind::TimedOut, "no answer"),
            _ => error,
        })?;
        answer.extend_from_slice(&part[..count]);
        if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&answer) {
            let text = value["result"].as_str().unwrap_or_default();
            return Ok(text.lines().next().unwrap_or_default().to_owned());
        }
        if count == 0 || answer.len() > 1 << 16 {
            return Err(io::Error::new(ErrorKind::InvalidData, "no answer"));
        }
    }
}
