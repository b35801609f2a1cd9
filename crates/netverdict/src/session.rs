//! One run over live and recorded samples: what `observe` and `record` share.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use crossbeam_channel::{Receiver, Select, Sender, bounded};
use netverdict_history::{History, Limits};
use netverdict_ovn::revision::Assembler;
use netverdict_source::kubernetes::{self, Cluster, KubeWatch};
use netverdict_source::manifests::Manifests;
use netverdict_source::{Batch, Counts, Stop};
use netverdict_types::{Decision, Sample, Timestamp, Unresolved, ZoneId};
use netverdict_verdict::Resolver;
use netverdict_verdict::{Endpoints, NameChange};
use netverdict_wire::capture::{self, Record};
use netverdict_wire::pcap;

use crate::databases::Databases;
use crate::engine::{Engine, GLOBAL};
use crate::exit::tell;
use crate::feed::Feed;
use crate::packets::Packets;
use crate::record::Recorder;
use crate::sources::{self, Kind, Spec};

/// Where samples come from, and what is remembered between runs.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Inputs")]
pub(crate) struct Inputs {
    /// psample[:GROUP,…], ebpf[:GROUP,…], psample-unix:PATH, ipfix:ADDRESS:PORT, acl-log:FILE, capture:FILE,
    /// bundle:FILE, pcap:FILE, or server:URL for what a netverdict server has; with @ZONE behind it where several zones are read
    /// [default: psample]
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Vec<Spec>,

    /// Names of pods, nodes and services from YAML or JSON files or directories, beside those that
    /// the NB tells
    #[arg(long, value_name = "PATH")]
    pub(crate) manifests: Vec<PathBuf>,

    /// Names from the Kubernetes API server of this kubeconfig, or `in-cluster`
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<Cluster>,

    /// Go on reading at the end of a log (psample, ebpf, psample-unix and ipfix are always followed)
    #[arg(long, short)]
    pub(crate) follow: bool,

    /// Replay a capture at the pace it was recorded
    #[arg(long)]
    pub(crate) pace: bool,

    /// Where the past is kept between runs [default: /var/lib/netverdict for root, else
    /// $XDG_STATE_HOME/netverdict]
    #[arg(long, value_name = "DIR", conflicts_with = "no_state")]
    pub(crate) state: Option<PathBuf>,

    /// Keep nothing between runs
    #[arg(long)]
    pub(crate) no_state: bool,

    /// Without a source, read none: others tell what they saw
    #[arg(skip)]
    pub(crate) may_be_none: bool,
}

/// What a caller does with each decision.
pub(crate) type Take<'f> = dyn FnMut(Step<'_, '_>) -> Result<()> + 'f;

/// What happens in a run.
pub(crate) enum Step<'s, 'a> {
    /// A decision was made.
    Decision(&'s Decision<'a>),
    /// Nothing more is at hand right now: what was written may be shown.
    Pause,
    /// Some time has gone by, where that was asked for ([`Session::tick`]).
    Tick(Glance<'s>),
    /// Somebody rang, where that was asked for ([`Session::listen`]).
    Bell(Glance<'s>),
}

/// What a run knows.
#[derive(Clone, Copy)]
pub(crate) struct Glance<'s> {
    /// What decisions are made from.
    pub(crate) engine: &'s Engine,
    /// The sources and what they count.
    pub(crate) sources: &'s [(String, Arc<dyn Counts>)],
}

/// One run.
pub(crate) struct Session {
    engine: Engine,
    feed: Feed,
    sources: Vec<Spec>,
    follow: bool,
    pace: Option<Pace>,
    counts: Vec<(String, Arc<dyn Counts>)>,
    tick: Receiver<Instant>,
    bell: Option<Receiver<()>>,
    records: Records,
    interrupt: Receiver<()>,
    interrupter: Sender<()>,
    /// True once the run was interrupted.
    interrupted: bool,
    names: Receiver<Vec<NameChange>>,
    watch: Option<Watch>,
    /// The file that keeps what is known of connections.
    connections: Option<PathBuf>,
}

/// What was read from captures and could not be used.
#[derive(Clone, Copy, Debug, Default)]
struct Records {
    lost: capture::Lost,
    bad_rows: u64,
}

impl Session {
    pub(crate) fn new(
        inputs: &Inputs,
        databases: &Databases,
        recorder: Option<Recorder>,
    ) -> Result<Self> {
        let sources = if inputs.source.is_empty() && !inputs.may_be_none {
            vec![Spec::psample()]
        } else {
            inputs.source.clone()
        };
        // A capture brings its own rows; those of this machine say nothing about it.
        let only_recorded = sources.iter().all(Spec::is_recorded);
        let asked = !(databases.nb.is_empty() && databases.sb.is_empty());
        let state = (!only_recorded || asked)
            .then(|| state_directory(inputs.state.as_deref()))
            .flatten()
            .filter(|_| !inputs.no_state);
        let history = open_history(state.as_deref(), inputs.state.is_some())?;
        let mut engine = Engine::new(history);
        let connections = state.as_deref().map(|state| state.join("connections"));
        if let Some(known) = connections.as_deref().and_then(|path| fs::read(path).ok())
            && !engine.recall(&known)
        {
            tracing::warn!("what was known of connections is damaged; starting anew");
        }
        if let Some(recorder) = recorder {
            engine.record(recorder);
        }
        let (interrupter, interrupt) = bounded(1);
        let stop = interrupter.clone();
        ctrlc::set_handler(move || {
            // A second signal finds the first one waiting.
            let _ = stop.try_send(());
        })
        .context("cannot wait for signals")?;
        let mut feed = if only_recorded && !asked {
            Feed::empty()
        } else {
            Feed::start(databases, state.as_deref(), &mut engine)?
        };
        let silent = feed.wait_for_rows(&mut engine, &interrupt)?;
        if !silent.is_empty() && interrupt.is_empty() {
            tracing::warn!("no answer from {}: going on without", silent.join(", "));
        }
        learn_from_manifests(&inputs.manifests, &mut engine)?;
        let (names, watch) = match &inputs.kubeconfig {
            Some(cluster) => {
                let (watch, names) = Watch::start(cluster.clone())?;
                (names, Some(watch))
            }
            None => (crossbeam_channel::never(), None),
        };
        Ok(Self {
            engine,
            feed,
            sources,
            follow: inputs.follow,
            pace: inputs.pace.then(Pace::default),
            counts: watch
                .iter()
                .map(|watch| ("kubernetes".to_owned(), watch.counts()))
                .collect(),
            tick: crossbeam_channel::never(),
            bell: None,
            records: Records::default(),
            interrupt,
            interrupter,
            interrupted: false,
            names,
            watch,
            connections,
        })
    }

    /// Ends the run when something is sent, as a signal does.
    pub(crate) fn interrupter(&self) -> Sender<()> {
        self.interrupter.clone()
    }

    /// Tells the taker every so often that time has gone by.
    pub(crate) fn tick(&mut self, every: Duration) {
        self.tick = crossbeam_channel::tick(every);
    }

    /// Tells the taker when somebody rings, and goes on until an interrupt though all sources have
    /// ended.
    pub(crate) fn listen(&mut self, bell: Receiver<()>) {
        self.bell = Some(bell);
    }

    /// What is known now.
    pub(crate) fn glance(&self) -> Glance<'_> {
        Glance {
            engine: &self.engine,
            sources: &self.counts,
        }
    }

    /// Waits for a signal, unless one ended the run already.
    pub(crate) fn wait(&self) {
        if !self.interrupted {
            let _ = self.interrupt.recv();
        }
    }

    /// How many samples there were so far.
    pub(crate) fn samples(&self) -> u64 {
        self.engine.counts().samples
    }

    /// Judges all samples until the sources end or somebody interrupts.
    ///
    /// # Errors
    /// If a source, the history or what `take` writes fails.
    pub(crate) fn run(&mut self, take: &mut Take<'_>) -> Result<()> {
        let (sender, batches) = netverdict_source::channel(4 * self.sources.len().max(1));
        let stop = Stop::new()?;
        let mut threads = Vec::new();
        let captures: Vec<PathBuf> = self
            .sources
            .iter()
            .filter_map(|spec| match &spec.kind {
                Kind::Capture(path) => Some(path.clone()),
                _ => None,
            })
            .collect();
        if captures.len() > 1 {
            self.replay_together(&captures, take)?;
        }
        for spec in self.sources.clone() {
            let named = |path: &Path| path.display().to_string();
            match &spec.kind {
                Kind::Capture(_) if captures.len() > 1 => {}
                Kind::Capture(path) => File::open(path)
                    .map_err(Into::into)
                    .and_then(|file| self.replay(path, file, take))
                    .with_context(|| named(path))?,
                Kind::Bundle(path) => {
                    crate::bundle::read_capture(path, |capture| self.replay(path, capture, take))
                        .with_context(|| named(path))?
                }
                Kind::Server(_) => bail!("{spec}: a server tells of connections, not of samples"),
                Kind::Pcap(path) => {
                    let zone = self.zone_of(&spec)?;
                    self.read_packets(path, zone, take)
                        .with_context(|| named(path))?;
                }
                Kind::Live(live) => {
                    let zone = self.zone_of(&spec)?;
                    let (sender, stop) = (sender.clone(), stop.clone());
                    let (counts, thread) =
                        sources::start(live.clone(), zone, self.follow, sender, stop)?;
                    self.counts.push((spec.to_string(), counts));
                    threads.push(thread);
                }
            }
        }
        drop(sender);
        let ended = self.watch(&batches, &stop, take);
        stop.stop();
        if let Some(watch) = &self.watch {
            watch.stop.stop();
        }
        drop(batches);
        for thread in threads {
            match thread.join() {
                Ok(result) => result?,
                Err(_) => bail!("a source has failed; please report this"),
            }
        }
        take(Step::Pause)?;
        if let Some(recorder) = self.engine.recorder() {
            recorder.flush()?;
        }
        self.engine.history_mut().flush()?;
        if let Some(path) = &self.connections {
            let whole = path.with_extension("new");
            fs::write(&whole, self.engine.connections())
                .and_then(|()| fs::rename(&whole, path))
                .with_context(|| path.display().to_string())?;
        }
        ended
    }

    /// Judges what comes. An interrupt ends the sources; what they hand over then is judged still,
    /// and a second interrupt ends that.
    fn watch(
        &mut self,
        batches: &netverdict_source::Receiver,
        stop: &Stop,
        take: &mut Take<'_>,
    ) -> Result<()> {
        let mut queue = batches.queue().clone();
        let mut sources_are_there = true;
        let bell = self.bell.clone().unwrap_or_else(crossbeam_channel::never);
        let news = self.feed.news().clone();
        let mut names = self.names.clone();
        let interrupt = self.interrupt.clone();
        let tick = self.tick.clone();
        let mut feed_is_there = true;
        loop {
            let mut select = Select::new_biased();
            let on_interrupt = select.recv(&interrupt);
            let on_batch = select.recv(&queue);
            select.recv(&names);
            select.recv(&tick);
            select.recv(&bell);
            if feed_is_there {
                select.recv(&news);
            }
            if queue.is_empty() {
                take(Step::Pause)?;
            }
            let due = self.engine.recorder().and_then(|recorder| recorder.due());
            let ready = match due {
                Some(due) => select.ready_deadline(due).ok(),
                None => Some(select.ready()),
            };
            if let Some(recorder) = self.engine.recorder()
                && due.is_some_and(|due| due <= Instant::now())
            {
                recorder.flush()?;
            }
            let Some(ready) = ready else {
                continue;
            };
            if ready == on_interrupt && interrupt.try_recv().is_ok() {
                if self.interrupted {
                    return Ok(());
                }
                self.interrupted = true;
                stop.stop();
                if !sources_are_there {
                    return Ok(());
                }
            }
            // Rows first: they were there before the packets that they judge.
            while feed_is_there {
                match news.try_recv() {
                    Ok(one) => self.feed.take(one, &mut self.engine)?,
                    Err(error) => {
                        feed_is_there = !error.is_disconnected();
                        break;
                    }
                }
            }
            loop {
                match names.try_recv() {
                    Ok(changes) => self.engine.learn(changes),
                    Err(error) => {
                        if error.is_disconnected() {
                            names = crossbeam_channel::never();
                        }
                        break;
                    }
                }
            }
            if tick.try_recv().is_ok() {
                take(Step::Tick(self.glance()))?;
            }
            if bell.try_recv().is_ok() {
                take(Step::Bell(self.glance()))?;
            }
            if ready != on_batch {
                continue;
            }
            match queue.try_recv() {
                Ok(batch) => {
                    let mut ahead = Vec::with_capacity(Resolver::AHEAD);
                    for sample in batch.samples() {
                        ahead.push(sample);
                        if ahead.len() == Resolver::AHEAD {
                            self.judge(&mut ahead, take)?;
                        }
                    }
                    self.judge(&mut ahead, take)?;
                    batches.give_back(batch);
                }
                Err(error) if error.is_disconnected() => {
                    if self.bell.is_none() || self.interrupted {
                        return Ok(());
                    }
                    sources_are_there = false;
                    queue = crossbeam_channel::never();
                }
                Err(_) => {}
            }
        }
    }

    /// Judges samples in their order, and forgets them.
    fn judge(&mut self, samples: &mut Vec<Sample<'_>>, take: &mut Take<'_>) -> Result<()> {
        self.engine
            .judge(samples, |decision| take(Step::Decision(decision)))?;
        samples.clear();
        self.feed.ask_for_sets(&mut self.engine)
    }

    fn replay(&mut self, path: &Path, input: impl Read, take: &mut Take<'_>) -> Result<()> {
        let mut reader = capture::Reader::new(BufReader::new(input))?;
        let mut context = Recording::default();
        while let Some(block) = reader.next_block()? {
            let mut ahead = Vec::with_capacity(Resolver::AHEAD);
            for record in block {
                match record {
                    Ok(Record::Sample(sample)) => {
                        self.keep_pace(sample.time, take)?;
                        ahead.push(context.sample(sample));
                        if ahead.len() == Resolver::AHEAD || self.pace.is_some() {
                            self.judge(&mut ahead, take)?;
                        }
                    }
                    Ok(other) => {
                        self.judge(&mut ahead, take)?;
                        self.take_rows(&mut context, other, take)?;
                    }
                    Err(bad) => tracing::warn!("{}: {bad}", path.display()),
                }
            }
            self.judge(&mut ahead, take)?;
            if !self.interrupt.is_empty() {
                break;
            }
        }
        self.records.lost = reader.lost();
        Ok(())
    }

    /// Replays several captures as one, by the time of their records.
    fn replay_together(&mut self, paths: &[PathBuf], take: &mut Take<'_>) -> Result<()> {
        let open = |path: &PathBuf| -> Result<Cursor> {
            let reader = capture::Reader::new(BufReader::new(File::open(path)?))?;
            Ok(Cursor::new(reader))
        };
        let mut cursors = Vec::new();
        for path in paths {
            cursors.push(open(path).with_context(|| path.display().to_string())?);
        }
        loop {
            for cursor in &mut cursors {
                cursor.fill()?;
            }
            let next = cursors
                .iter_mut()
                .filter_map(|cursor| Some((cursor.time()?, cursor)))
                .min_by_key(|(time, _)| *time);
            let Some((time, cursor)) = next else {
                break;
            };
            if time != Timestamp::MIN {
                self.keep_pace(time, take)?;
            }
            match cursor.batch.record(cursor.at) {
                Some(Record::Sample(sample)) => {
                    self.judge(&mut vec![cursor.recording.sample(sample)], take)?;
                }
                Some(other) => self.take_rows(&mut cursor.recording, other, take)?,
                None => {}
            }
            cursor.at += 1;
            if !self.interrupt.is_empty() {
                break;
            }
        }
        for cursor in cursors {
            let lost = cursor.reader.lost();
            let sum = &mut self.records.lost;
            sum.frames.corrupt += lost.frames.corrupt;
            sum.frames.corrupt_bytes += lost.frames.corrupt_bytes;
            sum.frames.torn_bytes += lost.frames.torn_bytes;
            sum.blocks += lost.blocks;
            sum.records += lost.records;
            sum.unknown += lost.unknown;
        }
        Ok(())
    }

    /// Takes a record of a capture that is no sample.
    fn take_rows(
        &mut self,
        context: &mut Recording,
        record: Record<'_>,
        take: &mut Take<'_>,
    ) -> Result<()> {
        match record {
            Record::Zone(zone) => {
                let place = usize::from(zone.id.0);
                if context.zones.len() <= place {
                    context.zones.resize(place + 1, None);
                }
                if context.zones[place].is_none() {
                    context.zones[place] = Some(self.engine.zone(zone.name));
                }
            }
            Record::Revision(revision) => {
                self.keep_pace(revision.time, take)?;
                let (set, bad) = context.assembler.take(revision.json, revision.time.0)?;
                self.records.bad_rows += bad;
                let zone = context.zone(revision.zone);
                if let (Some((database, set)), Some(zone)) = (set, zone) {
                    self.engine.apply(zone, database, &set)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn keep_pace(&mut self, time: Timestamp, take: &mut Take<'_>) -> Result<()> {
        match &mut self.pace {
            Some(pace) => pace.wait(time, &self.interrupt, take),
            None => Ok(()),
        }
    }

    /// Reads a packet capture of IPFIX datagrams, or of an nlmon interface with psample messages.
    fn read_packets(&mut self, path: &Path, zone: ZoneId, take: &mut Take<'_>) -> Result<()> {
        let mut reader = pcap::Reader::new(BufReader::new(File::open(path)?))?;
        let mut packets = Packets::default();
        while let Some(packet) = reader.next_packet()? {
            let mut result = Ok(());
            packets.decode(&packet, zone, &mut |sample: &Sample<'_>| {
                if result.is_ok() {
                    result = self.judge(&mut vec![*sample], take);
                }
            });
            result?;
            if !self.interrupt.is_empty() {
                break;
            }
        }
        self.counts
            .push((path.display().to_string(), Arc::new(packets)));
        Ok(())
    }

    /// The zone that a source observes: the one it names, else the only one there is.
    fn zone_of(&mut self, spec: &Spec) -> Result<ZoneId> {
        let known: Vec<ZoneId> = self.feed.zones().iter().copied().flatten().collect();
        if let Some(name) = &spec.zone {
            let names: Vec<&str> = known
                .iter()
                .map(|zone| self.engine.history().zone_name(*zone))
                .collect();
            let all_known = known.len() == self.feed.zones().len();
            if all_known && !known.is_empty() && !names.contains(&name.as_str()) {
                bail!("there is no zone {name}; there are {}", names.join(", "));
            }
            return Ok(self.engine.zone(name));
        }
        match known[..] {
            [one] => Ok(one),
            // The policies may arrive later; until then samples say that they are not there.
            [] => Ok(self.engine.zone(GLOBAL)),
            _ => bail!(
                "several zones are read: say which one the source observes, as in \
                 --source ipfix:127.0.0.1:4739@{}",
                self.engine.history().zone_name(known[0])
            ),
        }
    }

    /// Says on standard error what became of all samples, and what was lost where.
    pub(crate) fn summary(&self) {
        let counts = self.engine.counts();
        let mut lines = vec![format!(
            "{} samples: {} resolved, {} unresolved, {} ambiguous, {} doubles of packets seen before",
            counts.samples,
            counts.resolved,
            counts.unresolved_total(),
            counts.ambiguous,
            counts.doubles,
        )];
        for (reason, count) in Unresolved::ALL.iter().zip(counts.unresolved) {
            if count > 0 {
                lines.push(format!("unresolved, {reason}: {count}"));
            }
        }
        for (name, count) in self.counts.iter().flat_map(|(_, counts)| counts.counts()) {
            if count > 0 {
                lines.push(format!("{name}: {count}"));
            }
        }
        let history = self.engine.history().counts();
        let lost = self.records.lost;
        for (name, count) in [
            ("decided_by_match", counts.by_match),
            (
                "decided_by_match_with_sets_as_they_stand",
                counts.by_match_now,
            ),
            ("ambiguous_and_no_match_fits", counts.contradictory),
            ("connections_displaced", counts.connections_displaced),
            ("history_gaps", history.gaps),
            ("history_forgotten", history.forgotten),
            ("history_damaged", history.damaged),
            (
                "rows_without_meaning",
                history.bad_rows + self.engine.names().bad_rows() + self.records.bad_rows,
            ),
            ("capture_corrupt_stretches", lost.frames.corrupt),
            ("capture_torn_bytes", lost.frames.torn_bytes),
            ("capture_bad_blocks", lost.blocks),
            ("capture_bad_records", lost.records),
            ("capture_unknown_records", lost.unknown),
        ] {
            if count > 0 {
                lines.push(format!("{name}: {count}"));
            }
        }
        for line in lines {
            tell(line);
        }
    }
}

/// The thread that watches Kubernetes for names.
struct Watch {
    stop: Stop,
    counters: Arc<kubernetes::Counters>,
}

/// Batches of names that may wait to be taken; beyond, the watch waits.
const NAMES: usize = 16;

impl Watch {
    fn start(cluster: Cluster) -> Result<(Self, Receiver<Vec<NameChange>>)> {
        let (sender, names) = bounded(NAMES);
        let stop = Stop::new()?;
        let watch = KubeWatch::new(cluster, stop.clone());
        let counters = watch.counters();
        thread::Builder::new()
            .name("kubernetes".to_owned())
            .spawn(move || {
                let result = Box::new(watch).run(&mut |changes| match sender.send(changes) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                });
                if let Err(error) = result {
                    tracing::warn!("no more names from Kubernetes: {error}");
                }
            })?;
        Ok((Self { stop, counters }, names))
    }

    fn counts(&self) -> Arc<dyn Counts> {
        self.counters.clone()
    }
}

fn learn_from_manifests(paths: &[PathBuf], engine: &mut Engine) -> Result<()> {
    let manifests = Manifests::read(paths)?;
    for problem in manifests.problems() {
        tracing::warn!("{problem}");
    }
    let taken = Box::new(manifests).run(&mut |changes| {
        engine.learn(changes);
        ControlFlow::Continue(())
    });
    taken.map_err(|error| anyhow::anyhow!(error))
}

/// What the records of one capture refer to.
#[derive(Default)]
struct Recording {
    /// Our zone of each zone of the file.
    zones: Vec<Option<ZoneId>>,
    assembler: Assembler,
}

impl Recording {
    fn zone(&self, zone: ZoneId) -> Option<ZoneId> {
        self.zones.get(usize::from(zone.0)).copied().flatten()
    }

    fn sample<'a>(&self, sample: Sample<'a>) -> Sample<'a> {
        Sample {
            zone: self.zone(sample.zone).unwrap_or(sample.zone),
            ..sample
        }
    }
}

/// A place in a capture that is replayed together with others.
struct Cursor {
    reader: capture::Reader<BufReader<File>>,
    recording: Recording,
    batch: Batch,
    at: usize,
}

impl Cursor {
    fn new(reader: capture::Reader<BufReader<File>>) -> Self {
        Self {
            reader,
            recording: Recording::default(),
            batch: Batch::default(),
            at: 0,
        }
    }

    /// Reads on when the records at hand are used up.
    fn fill(&mut self) -> Result<()> {
        while self.at >= self.batch.len() {
            self.batch.clear();
            self.at = 0;
            let Some(block) = self.reader.next_block()? else {
                return Ok(());
            };
            // Those that cannot be read are counted by the reader.
            for record in block.flatten() {
                self.batch.push_record(&record);
            }
        }
        Ok(())
    }

    /// When the next record was made; what has no time comes at once. `None` at the end.
    fn time(&self) -> Option<Timestamp> {
        Some(match self.batch.record(self.at)? {
            Record::Sample(sample) => sample.time,
            Record::Revision(revision) => revision.time,
            _ => Timestamp::MIN,
        })
    }
}

/// Waits as long as there was between two records.
#[derive(Default)]
struct Pace(Option<(Timestamp, Instant)>);

impl Pace {
    fn wait(
        &mut self,
        time: Timestamp,
        interrupt: &Receiver<()>,
        take: &mut Take<'_>,
    ) -> Result<()> {
        let (first, started) = *self.0.get_or_insert_with(|| (time, Instant::now()));
        let since = Duration::from_nanos(u64::try_from(time.0 - first.0).unwrap_or(0));
        let left = since.saturating_sub(started.elapsed());
        if !left.is_zero() && interrupt.is_empty() {
            take(Step::Pause)?;
            let mut select = Select::new();
            select.recv(interrupt);
            let _ = select.ready_timeout(left);
        }
        Ok(())
    }
}

/// The rows of one zone as they are now, with the past that the state directory holds (though
/// another netverdict may be writing it): for a command that judges once and writes nothing.
///
/// # Errors
/// If the history or the databases cannot be read.
pub(crate) fn look(databases: &Databases, state: Option<&Path>) -> Result<(Engine, ZoneId)> {
    let history = match state_directory(state) {
        Some(directory) => match History::look(&directory.join("history"), Limits::default()) {
            Err(error) if state.is_none() => {
                tracing::warn!("going on without the past: {error}");
                History::new(Limits::default())
            }
            looked => looked?,
        },
        None => History::new(Limits::default()),
    };
    let mut engine = Engine::new(history);
    let mut feed = Feed::start(databases, None, &mut engine)?;
    let silent = feed.wait_for_rows(&mut engine, &crossbeam_channel::never())?;
    if !silent.is_empty() {
        bail!("no answer from {}", silent.join(", "));
    }
    let zone = match feed.zones() {
        [Some(only)] => *only,
        [] | [None] => engine.zone(GLOBAL),
        _ => bail!(
            "several NBs are given; this command looks at the zone of one node: give its NB alone"
        ),
    };
    Ok((engine, zone))
}

/// Where the past is kept between runs; `None` for somebody without a home.
pub(crate) fn state_directory(given: Option<&Path>) -> Option<PathBuf> {
    if let Some(given) = given {
        return Some(given.to_owned());
    }
    if nix::unistd::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/netverdict"));
    }
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
    std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .map(|base| base.join("netverdict"))
}

/// The history of the state directory; where nobody asked for that directory, a fault of it
/// costs the memory of earlier runs and not this one.
fn open_history(state: Option<&Path>, asked: bool) -> Result<History> {
    let Some(state) = state else {
        return Ok(History::new(Limits::default()));
    };
    let open = || -> Result<History> {
        std::fs::create_dir_all(state).with_context(|| state.display().to_string())?;
        Ok(History::open(&state.join("history"), Limits::default())?)
    };
    match open() {
        Err(error) if !asked => {
            tracing::warn!("nothing is kept between runs: {error:#}");
            Ok(History::new(Limits::default()))
        }
        other => other,
    }
}
