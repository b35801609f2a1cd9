//! What the figures were measured on, and with which clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use netverdict_types::Timestamp;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

/// Processor, its cores, and the date.
pub(crate) fn line() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let date = Timestamp(now.as_nanos() as i64).to_string();
    format!(
        "{}, {} MHz, {cores} cores, {}{}",
        value("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        value("cpu MHz").unwrap_or_else(|| "?".to_owned()),
        &date[..10],
        if cfg!(debug_assertions) {
            "; a debug build: these figures say nothing"
        } else {
            ""
        }
    )
}

/// Time that this thread has had on a processor.
pub(crate) fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Time that this process has had on a processor.
pub(crate) fn process_time() -> Result<Duration> {
    usage(UsageWho::RUSAGE_SELF)
}

/// Time that processes which this one has waited for have had.
pub(crate) fn children_time() -> Result<Duration> {
    usage(UsageWho::RUSAGE_CHILDREN)
}

fn usage(who: UsageWho) -> Result<Duration> {
    let usage = getrusage(who)?;
    let micros = [usage.user_time(), usage.system_time()].map(|time| time.num_microseconds());
    Ok(Duration::from_micros(u64::try_from(micros[0] + micros[1])?))
}

/// The most memory that this process has had so far, in MiB (proc(5), `VmHWM`).
pub(crate) fn peak() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"))
        .context("the kernel does not tell the peak")?;
    Ok(peak.trim().parse::<f64>()? / 1024.0)
}

/// The middle one.
pub(crate) fn median<T: Copy + PartialOrd>(values: &mut [T]) -> Option<T> {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    values.get(values.len() / 2).copied()
}
