//! Where samples come from, as the user names it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use netverdict_source::{Counts, Sender, Stop, acl_log, ipfix, psample, psample_unix};
use netverdict_types::{SystemClock, ZoneId};

use crate::ebpf::{self, Ebpf};
use crate::remote::Url;

/// One source, as the user names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Spec {
    pub(crate) kind: Kind,
    /// The zone that it observes, where the user says so.
    pub(crate) zone: Option<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Live(Live),
    Capture(PathBuf),
    Bundle(PathBuf),
    Pcap(PathBuf),
    /// A netverdict server, which tells of connections; not of samples.
    Server(Url),
}

/// A source that goes on by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Live {
    Psample(Vec<u32>),
    Ebpf(Vec<u32>),
    PsampleUnix(PathBuf),
    Ipfix(SocketAddr),
    AclLog(PathBuf),
}

impl FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(url) = text.strip_prefix("server:") {
            return Ok(Self {
                kind: Kind::Server(url.parse()?),
                zone: None,
            });
        }
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        // A file name may hold an @; a zone's name holds no slash.
        let (rest, zone) = match rest.rsplit_once('@') {
            Some((rest, zone)) if !zone.contains('/') => (rest, Some(zone.to_owned())),
            _ => (rest, None),
        };
        let (kind, zone) = match kind.split_once('@') {
            Some((kind, zone)) => (kind, Some(zone.to_owned())),
            None => (kind, zone),
        };
        let file = || match rest {
            "" => Err(format!("{kind} needs a file: {kind}:FILE")),
            path => Ok(PathBuf::from(path)),
        };
        let kind = match kind {
            "psample" => Kind::Live(Live::Psample(groups(rest)?)),
            "ebpf" => Kind::Live(Live::Ebpf(groups(rest)?)),
            "psample-unix" => Kind::Live(Live::PsampleUnix(file()?)),
            "ipfix" => Kind::Live(Live::Ipfix(rest.parse().map_err(|_| {
                format!("{rest:?} is not an address and port, as in ipfix:0.0.0.0:4739")
            })?)),
            "acl-log" => Kind::Live(Live::AclLog(file()?)),
            "capture" => Kind::Capture(file()?),
            "bundle" => Kind::Bundle(file()?),
            "pcap" => Kind::Pcap(file()?),
            other => {
                return Err(format!(
                    "there is no source {other:?}; there are psample, ebpf, psample-unix, ipfix, \
                     acl-log, capture, bundle, pcap, server"
                ));
            }
        };
        Ok(Self { kind, zone })
    }
}

fn groups(list: &str) -> Result<Vec<u32>, String> {
    list.split(',')
        .filter(|group| !group.is_empty())
        .map(|group| {
            group
                .parse()
                .map_err(|_| format!("{group:?} is not a psample group (a number)"))
        })
        .collect()
}

impl std::fmt::Display for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Kind::Live(live @ (Live::Psample(groups) | Live::Ebpf(groups))) => {
                f.write_str(match live {
                    Live::Ebpf(_) => "ebpf",
                    _ => "psample",
                })?;
                for (place, group) in groups.iter().enumerate() {
                    let before = if place == 0 { ":" } else { "," };
                    write!(f, "{before}{group}")?;
                }
            }
            Kind::Live(Live::PsampleUnix(path)) => write!(f, "psample-unix:{}", path.display())?,
            Kind::Live(Live::Ipfix(address)) => write!(f, "ipfix:{address}")?,
            Kind::Live(Live::AclLog(path)) => write!(f, "acl-log:{}", path.display())?,
            Kind::Capture(path) => write!(f, "capture:{}", path.display())?,
            Kind::Bundle(path) => write!(f, "bundle:{}", path.display())?,
            Kind::Pcap(path) => write!(f, "pcap:{}", path.display())?,
            Kind::Server(url) => write!(f, "server:{url}")?,
        }
        match &self.zone {
            Some(zone) => write!(f, "@{zone}"),
            None => Ok(()),
        }
    }
}

impl Spec {
    /// What is read where nothing was named.
    pub(crate) fn psample() -> Self {
        Self {
            kind: Kind::Live(Live::Psample(Vec::new())),
            zone: None,
        }
    }

    /// True for a source that brings its own rows.
    pub(crate) fn is_recorded(&self) -> bool {
        matches!(self.kind, Kind::Capture(_) | Kind::Bundle(_))
    }
}

/// What a source counts, and the thread that it runs on.
pub(crate) type Running = (Arc<dyn Counts>, JoinHandle<Result<()>>);

/// Starts a live source on a thread of its own; its counters are there at once.
///
/// # Errors
/// If it cannot be opened.
pub(crate) fn start(
    kind: Live,
    zone: ZoneId,
    follow: bool,
    sender: Sender,
    stop: Stop,
) -> Result<Running> {
    let clock = Arc::new(SystemClock);
    match kind {
        Live::Psample(groups) => {
            let counters = Arc::new(psample::Counters::default());
            let options = psample::Options {
                zone,
                groups,
                ..psample::Options::default()
            };
            let source = psample::Psample::open(&options, clock, sender, counters.clone())?;
            let thread = spawn("psample", move || Ok(source.run(&stop)?))?;
            Ok((counters, thread))
        }
        Live::Ebpf(groups) => {
            let counters = Arc::new(ebpf::Counters::default());
            let options = netverdict_ebpf::Options {
                zone,
                groups,
                ..netverdict_ebpf::Options::default()
            };
            let source = Ebpf::attach(&options, sender, counters.clone())?;
            let thread = spawn("ebpf", move || source.run(&stop))?;
            Ok((counters, thread))
        }
        Live::PsampleUnix(path) => {
            let counters = Arc::new(psample_unix::Counters::default());
            let options = psample_unix::Options {
                zone,
                ..psample_unix::Options::new(path)
            };
            let source =
                psample_unix::PsampleUnix::bind(&options, clock, sender, counters.clone())?;
            let thread = spawn("psample-unix", move || Ok(source.run(&stop)?))?;
            Ok((counters, thread))
        }
        Live::Ipfix(address) => {
            let counters = Arc::new(ipfix::Counters::default());
            let options = ipfix::Options {
                zone,
                ..ipfix::Options::new(address)
            };
            let source = ipfix::Ipfix::bind(&options, clock, sender, counters.clone())?;
            let thread = spawn("ipfix", move || Ok(source.run(&stop)?))?;
            Ok((counters, thread))
        }
        Live::AclLog(path) => {
            let counters = Arc::new(acl_log::Counters::default());
            let source = acl_log::AclLog::new(zone, clock, sender, counters.clone());
            let thread = spawn("acl-log", move || {
                if path == Path::new("-") {
                    source.read(std::io::stdin().lock())?;
                } else if follow {
                    source.follow(&path, acl_log::Start::Beginning, &stop)?;
                } else {
                    let file = File::open(&path).with_context(|| path.display().to_string())?;
                    source.read(file)?;
                }
                Ok(())
            })?;
            Ok((counters, thread))
        }
    }
}

fn spawn(
    name: &str,
    body: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<JoinHandle<Result<()>>> {
    Ok(thread::Builder::new().name(name.to_owned()).spawn(body)?)
}
