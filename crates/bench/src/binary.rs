//! The program itself, as people run it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netverdict_ovn::Database;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::server::{Server, schema, wait_for};
use crate::{figure, server};

/// `netverdict observe --no-state`, its output thrown away.
pub(crate) fn observe(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(program()?);
    command
        .args(["observe", "--no-state"])
        .args(arguments)
        .env_remove("OVN_NB_DB")
        .env_remove("OVN_SB_DB")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Ok(command)
}

/// `$NETVERDICT`, else what was built beside this program.
pub(crate) fn program() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("NETVERDICT") {
        return Ok(given.into());
    }
    let here = std::env::current_exe()?.with_file_name("netverdict");
    ensure!(
        here.exists(),
        "{} is not there: build it, or name another with NETVERDICT",
        here.display()
    );
    Ok(here)
}

/// How many samples there were, by the summary.
pub(crate) fn samples(summary: &str) -> Result<u64> {
    let count = summary
        .lines()
        .find_map(|line| line.strip_prefix("netverdict: ")?.split_once(" samples: "));
    let (count, _) = count.with_context(|| format!("no samples in the summary: {summary}"))?;
    Ok(count.parse()?)
}

/// A counter of the summary, which leaves out those that are 0.
pub(crate) fn counter(summary: &str, name: &str) -> u64 {
    let line = |line: &str| -> Option<u64> {
        let (found, count) = line.strip_prefix("netverdict: ")?.split_once(": ")?;
        (found == name).then(|| count.parse().ok())?
    };
    summary.lines().find_map(line).unwrap_or(0)
}

/// Ends it as Ctrl-C does, and gives what it wrote to standard error.
pub(crate) fn interrupt(child: Child) -> Result<String> {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT)?;
    let output = child.wait_with_output()?;
    let summary = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "netverdict failed: {summary}");
    Ok(summary)
}

/// A UDP port that is free now.
pub(crate) fn free_port() -> Result<u16> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    Ok(socket.local_addr()?.port())
}

/// Waits until somebody listens.
pub(crate) fn wait_for_port(port: u16) -> Result<()> {
    let local = format!(":{port:04X} ");
    wait_for("the IPFIX port", || {
        Ok(fs::read_to_string("/proc/net/udp")?.contains(&local))
    })
}

pub(crate) fn idle() -> Result<()> {
    const SECONDS: u64 = 60;
    let northbound = Server::empty(&schema("ovn", "ovn-nb.ovsschema")?)?;
    let southbound = Server::empty(&schema("ovn", "ovn-sb.ovsschema")?)?;
    let vswitch = Server::empty(&schema("openvswitch", "vswitch.ovsschema")?)?;
    let port = free_port()?;
    let source = format!("ipfix:127.0.0.1:{port}");
    let [nb, sb, ovs] = [&northbound, &southbound, &vswitch].map(server::Server::endpoint);
    let child = observe(&[
        "-f", "--nb", &nb, "--sb", &sb, "--ovs", &ovs, "--source", &source,
    ])?
    .stderr(Stdio::piped())
    .spawn()?;
    wait_for_port(port)?;
    // All databases have been read when nothing has happened for a while.
    let mut before = wakeups(child.id())?;
    loop {
        thread::sleep(Duration::from_secs(2));
        let now = wakeups(child.id())?;
        if now == before {
            break;
        }
        before = now;
    }
    thread::sleep(Duration::from_secs(SECONDS));
    let woken = wakeups(child.id())? - before;
    interrupt(child)?;
    eprintln!(
        "idle_wakeups: netverdict observe -f on {} and one more for SB and Open vSwitch each, {SECONDS} s \
         without traffic; voluntary context switches of all threads",
        Database::Northbound.name()
    );
    figure("idle_wakeups", woken, "wakeups/min");
    Ok(())
}

/// How often threads of a process went to sleep, which is how often they had been woken.
fn wakeups(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let count = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
            .context("the kernel does not count context switches")?;
        sum += count.trim().parse::<u64>()?;
    }
    Ok(sum)
}
