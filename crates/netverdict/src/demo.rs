//! `netverdict demo`: the product on an embedded cluster.

mod cluster;
mod traffic;

use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use crossbeam_channel::{Receiver, Sender, bounded};
use netverdict_pipeline::decide::Decide;
use netverdict_pipeline::emit::{Emitter, Node, Psample, Sink, Taken};
use netverdict_pipeline::flow::Release;
use netverdict_pipeline::journey::{Twin, Zone};
use netverdict_source::psample_unix::Output as Socket;
use netverdict_types::{Clock, SystemClock, ZoneId};
use tempfile::TempDir;

use crate::databases::Databases;
use crate::exit::{Done, Usage, tell};
use crate::filters::Filters;
use crate::output::{Format, Output};
use crate::server;
use crate::session::{Inputs, Step};
use crate::sources::{Kind, Live, Spec};
use crate::twin;

use traffic::Traffic;

/// See it at work on a cluster inside this program: no root, no OVN, no Kubernetes
///
/// A shop of a dozen services on three nodes, with policies and three mistakes in them. Its packets go through the twin of OVN's ACL stages; what
/// that samples is read, resolved and shown as on a real node: here, and in the console that this serves on 127.0.0.1:8480 (or another port if that
/// is taken). Ctrl-C ends it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Demo {
    #[command(flatten)]
    filters: Filters,

    #[command(flatten)]
    stage: Stage,

    /// How to show it
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,

    /// Do not open the console in a browser
    #[arg(long)]
    no_open: bool,
}

/// The cluster that is played.
#[derive(Args, Clone, Debug)]
pub(crate) struct Stage {
    /// Your own manifests instead of the shop. Pods call whom their annotation demo.netverdict.io/calls names
    /// (svc/NAMESPACE/NAME:PORT*CONNECTIONS_A_SECOND …); without any, each calls a few services
    #[arg(long, value_name = "DIR")]
    scenario: Option<PathBuf>,

    /// How much traffic: 1 is what the annotations say
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    rate: f64,

    /// What happens by chance follows from this number
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// End after so many seconds
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,

    /// Keep the cluster's files here: manifests, dumps of the databases [default: a directory that goes with the demo]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// The group that the demo's collector sets send to.
const GROUP: u32 = 10;
/// The number that psample's netlink family gets in the demo; a kernel gives them out from 16 on.
const FAMILY: u16 = 16;

/// Packets go out in batches, at most so often in nanoseconds: few and full datagrams do not overrun their reader.
const TICK: i64 = 10_000_000;

impl Demo {
    /// Runs the command.
    ///
    /// # Errors
    /// If the scenario cannot be read, or the demo's files not be written.
    pub(crate) fn run(self) -> Result<Done> {
        let staged = self.stage.set()?;
        self.greet(&staged);
        let plan = self.filters.query().plan(SystemClock.now());
        let mut output = Output::new(self.output)?;
        let done = server::serve_demo(
            staged,
            &|address| self.show(address),
            &mut |step| match step {
                Step::Decision(decision) => {
                    if decision.double && output.hides_doubles() || !plan.matches(decision) {
                        return Ok(());
                    }
                    output.show(decision)
                }
                Step::Tick(_) | Step::Bell(_) => Ok(()),
                Step::Pause => output.flush(),
            },
        )?;
        output.flush()?;
        Ok(done)
    }

    /// Says where the console is; in a graphical session it opens there.
    fn show(&self, address: &str) {
        if !netverdict_server::has_console() {
            tell("there is no console in this binary: build web/ first, as `make demo` does");
            return;
        }
        tell(format_args!("the console is at {address}"));
        let graphical = ["WAYLAND_DISPLAY", "DISPLAY"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        if !self.no_open && graphical && std::io::stderr().is_terminal() {
            let nothing = std::process::Stdio::null;
            let opening = std::process::Command::new("xdg-open")
                .arg(address)
                .stdin(nothing())
                .stdout(nothing())
                .stderr(nothing())
                .spawn();
            // Where nothing opens it, the address is on the terminal.
            drop(opening);
        }
    }

    fn greet(&self, staged: &Staged) {
        if !std::io::stderr().is_terminal() && self.stage.directory.is_none() {
            return;
        }
        let (manifests, directory) = (
            staged.manifests.display(),
            staged.directory.path().display(),
        );
        tell(format_args!(
            "the cluster is in {directory}; Ctrl-C ends the demo. In another terminal, try"
        ));
        let tries: &[&str] = match self.stage.scenario {
            Some(_) => &["matrix --manifests {}"],
            None => &[
                "explain --manifests {} --from shop/catalog-0 --to svc/data/search --port 9200",
                "explain --manifests {} --from inventory/stock-0 --to svc/kube-system/kube-dns --port 53/udp",
                "explain --manifests {} --from refunds/refund-worker-0 --to svc/payments/payment-api --port 8443",
                "matrix --manifests {}",
            ],
        };
        for command in tries {
            tell(format_args!(
                "  netverdict {}",
                command.replace("{}", &manifests.to_string())
            ));
        }
        if self.stage.scenario.is_none() {
            tell("or start it as `netverdict demo 'verdict=dropped'`: three of those are mistakes");
        }
    }
}

impl Stage {
    /// Writes the cluster's files and makes its nodes; nothing happens there yet.
    ///
    /// # Errors
    /// If the scenario cannot be read, or its files not be written.
    pub(crate) fn set(&self) -> Result<Staged> {
        if !(self.rate > 0.0 && self.rate <= 1e4) {
            let message = format!(
                "--rate {}: take a number above 0 and at most 10000",
                self.rate
            );
            return Err(Usage(message).into());
        }
        let directory = match &self.directory {
            Some(directory) => Directory::Kept(directory.clone()),
            None => Directory::Temporary(
                tempfile::Builder::new()
                    .prefix("netverdict-demo-")
                    .tempdir()?,
            ),
        };
        let manifests = match &self.scenario {
            Some(scenario) => scenario.clone(),
            None => {
                let manifests = directory.path().join("manifests");
                cluster::write_shop(&manifests)?;
                manifests
            }
        };
        let twin::Twin { zones, world, .. } = twin::Inputs::of_manifests(&manifests).twin()?;
        let world = world.context("manifests make a world")?;

        let mut databases = Databases::default();
        let mut inputs = Inputs {
            manifests: vec![manifests.clone()],
            no_state: true,
            ..Inputs::default()
        };
        let mut nodes = Vec::new();
        let mut sockets = Vec::new();
        for (number, northbound) in zones.iter().enumerate() {
            let mut node = Node::new(ZoneId(number as u16), northbound);
            for collector in northbound.collectors.values() {
                node.set_group(collector.set_id, GROUP);
            }
            let place = directory.path().join(&northbound.name);
            let rows = world.zone_rows(&northbound.name);
            cluster::write_dumps(&rows, northbound, &node, &place, &mut databases)?;
            let socket = place.join("psample.sock");
            inputs.source.push(Spec {
                kind: Kind::Live(Live::PsampleUnix(socket.clone())),
                zone: Some(northbound.name.clone()),
            });
            nodes.push(node);
            sockets.push(socket);
        }
        let twin = Twin::new(zones.into_iter().map(|northbound| {
            let stages = Decide::new(&northbound, Release::default());
            Zone::new(northbound, stages)
        }));
        let mut traffic = Traffic::new(self.seed);
        let now = SystemClock.now();
        let wishes = cluster::wishes(&world, self.seed)?;
        for (from, call) in &wishes {
            let starts = cluster::starts(&world, &twin, from, call);
            if starts.is_empty() {
                tell(format_args!(
                    "{from} cannot call {:?}: there is no such address",
                    call.target
                ));
            }
            for start in starts {
                traffic.add(start, call.rate * self.rate, now);
            }
        }
        if wishes.is_empty() {
            bail!(
                "{}: no pod calls anybody, and there is no service to call",
                manifests.display()
            );
        }
        Ok(Staged {
            inputs,
            databases,
            manifests,
            directory,
            seconds: self.seconds,
            datapath: Datapath {
                twin,
                traffic,
                nodes,
                sockets,
                seed: self.seed,
            },
        })
    }
}

/// A cluster that waits for somebody to watch it.
pub(crate) struct Staged {
    /// How its samples are read.
    pub(crate) inputs: Inputs,
    /// Its databases, as dumps.
    pub(crate) databases: Databases,
    /// What it was made of.
    pub(crate) manifests: PathBuf,
    directory: Directory,
    seconds: Option<u64>,
    datapath: Datapath,
}

/// Where a cluster's files are.
enum Directory {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Directory {
    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(directory) => directory.path(),
        }
    }
}

impl Staged {
    /// Begins; sources must be open. `interrupter` is told when it is over.
    ///
    /// # Errors
    /// If a source cannot be reached.
    pub(crate) fn start(self, interrupter: Sender<()>) -> Result<Running> {
        let mut running = self.datapath.start(self.seconds, interrupter)?;
        running.directory = Some(self.directory);
        Ok(running)
    }
}

/// The cluster's nodes and what goes on between them.
struct Datapath {
    twin: Twin<Decide>,
    traffic: Traffic,
    nodes: Vec<Node>,
    sockets: Vec<PathBuf>,
    seed: u64,
}

/// The thread that sends packets.
pub(crate) struct Running {
    stop: Sender<()>,
    thread: JoinHandle<Sent>,
    /// It goes when the demo is over.
    directory: Option<Directory>,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    packets: u64,
    connections: u64,
    samples: u64,
    lost: u64,
}

impl Datapath {
    fn start(self, seconds: Option<u64>, interrupter: Sender<()>) -> Result<Running> {
        let (stop, stopped) = bounded(1);
        let mut outputs = Vec::new();
        for socket in &self.sockets {
            outputs.push(Socket::new(socket).with_context(|| socket.display().to_string())?);
        }
        let thread = thread::Builder::new()
            .name("datapath".to_owned())
            .spawn(move || {
                let sent = self.run(outputs, seconds, &stopped);
                // Whoever waits for samples need not wait any longer; a signal may have been faster.
                let _ = interrupter.try_send(());
                sent
            })?;
        Ok(Running {
            stop,
            thread,
            directory: None,
        })
    }

    fn run(mut self, sockets: Vec<Socket>, seconds: Option<u64>, stopped: &Receiver<()>) -> Sent {
        let begin = SystemClock.now();
        let end = seconds.map(|seconds| {
            begin
                .0
                .saturating_add_unsigned(seconds.saturating_mul(1_000_000_000))
        });
        let sockets: Vec<RefCell<Socket>> = sockets.into_iter().map(RefCell::new).collect();
        let each = sockets.iter().map(|socket| {
            Psample::new(FAMILY, |message: &mut Vec<u8>| {
                socket.borrow_mut().push(message)
            })
        });
        let mut emitter = Emitter::new(
            std::mem::take(&mut self.nodes),
            self.seed,
            ByNode(each.collect()),
        );
        loop {
            let now = SystemClock.now();
            if end.is_some_and(|end| now.0 >= end) {
                break;
            }
            self.traffic.run(now, |place, packet, time| {
                let packet = self.twin.addressed(place, packet);
                emitter.send(&mut self.twin, place, packet, time)
            });
            for socket in &sockets {
                socket.borrow_mut().flush();
            }
            let next = self
                .traffic
                .due()
                .map_or(i64::MAX, |due| due.0)
                .min(end.unwrap_or(i64::MAX));
            let wait = next.saturating_sub(SystemClock.now().0).max(TICK);
            if stopped
                .recv_timeout(Duration::from_nanos(wait.unsigned_abs()))
                .is_ok()
            {
                break;
            }
        }
        let sockets = || sockets.iter().map(RefCell::borrow);
        Sent {
            packets: self.traffic.packets,
            connections: self.traffic.connections,
            samples: sockets().map(|socket| socket.sent).sum(),
            lost: sockets().map(|socket| socket.lost + socket.unheard).sum(),
        }
    }
}

/// To each node's reader what that node samples.
struct ByNode<F>(Vec<Psample<F>>);

impl<F: FnMut(&mut Vec<u8>)> Sink for ByNode<F> {
    fn sample(&mut self, taken: &Taken<'_>) {
        if let Some(psample) = self.0.get_mut(usize::from(taken.node.zone.0)) {
            psample.sample(taken);
        }
    }
}

impl Running {
    /// Ends it, and says what it sent.
    pub(crate) fn end(self) {
        let _ = self.stop.try_send(());
        if let Ok(sent) = self.thread.join() {
            let Sent {
                packets,
                connections,
                samples,
                lost,
            } = sent;
            tell(format_args!(
                "the demo sent {packets} packets of {connections} connections; {samples} samples left it, {lost} got lost"
            ));
        }
    }
}
