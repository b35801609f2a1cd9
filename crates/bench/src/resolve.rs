//! From a psample message to a decision.

use std::convert::Infallible;
use std::hint::black_box;

use anyhow::{Result, ensure};
use arrayvec::ArrayVec;
use netverdict_bench::alloc::allocations;
use netverdict_bench::cluster::Cluster;
use netverdict_bench::traffic::{FAMILY, Messages, Traffic};
use netverdict_history::{History, Limits};
use netverdict_ovn::Database;
use netverdict_types::{Sample, Timestamp, ZoneId};
use netverdict_verdict::{Names, Resolver};
use netverdict_wire::psample::Decoder;

use crate::figure;
use crate::machine::{median, thread_time};

/// Messages that come together, as source psample reads them.
const RECEIVED: usize = 32;
/// Distinct messages in a round: more than the caches next to a core hold.
const MESSAGES: usize = 1 << 17;

/// Rows in memory, as a session holds them.
pub(crate) struct State {
    pub(crate) history: History,
    pub(crate) names: Names,
    pub(crate) zone: ZoneId,
}

impl State {
    pub(crate) fn new(cluster: &mut Cluster) -> Result<Self> {
        let mut history = History::new(Limits::default());
        let mut names = Names::default();
        let zone = history.zone("global");
        names.set_zone(zone, "global");
        for database in [
            Database::Northbound,
            Database::Southbound,
            Database::Vswitch,
        ] {
            let set = cluster.initial(database);
            names.apply(zone, database, &set);
            if database == Database::Northbound {
                history.apply(zone, &set)?;
            }
        }
        for set in cluster.revisions(1_000) {
            history.apply(zone, &set)?;
        }
        Ok(Self {
            history,
            names,
            zone,
        })
    }
}

pub(crate) fn run(name: &str, acls: usize) -> Result<()> {
    let mut cluster = Cluster::new(acls);
    let state = State::new(&mut cluster)?;
    let mut traffic = Traffic::new(&cluster);
    let mut messages = Messages::default();
    let mut received = Messages::default();
    let mut decoder = Decoder {
        family: Some(FAMILY),
        groups: vec![10],
        ..Decoder::default()
    };
    let mut resolver = Resolver::default();
    let mut figures = Vec::new();
    let mut copies = Vec::new();
    let mut allocated = 0;
    let rounds = rounds();
    for round in 0..=rounds {
        messages.fill(traffic.by_ref().take(MESSAGES));
        let before = allocations();
        let start = thread_time();
        for first in (0..MESSAGES).step_by(RECEIVED) {
            received.copy(&messages, first, RECEIVED);
            black_box(&received);
        }
        let copied = thread_time();
        for first in (0..MESSAGES).step_by(RECEIVED) {
            // The kernel copies messages to the reader, and so into the caches: not our time.
            received.copy(&messages, first, RECEIVED);
            let mut samples = ArrayVec::<Sample<'_>, RECEIVED>::new();
            for message in received.iter() {
                decoder.decode(message, Timestamp(0), state.zone, |sample| {
                    samples.push(sample)
                });
            }
            resolve(&mut resolver, &state, &samples);
        }
        let took = (thread_time() - copied).saturating_sub(copied - start);
        let now = allocations();
        // The first round fills the memory of connections.
        if round > 0 {
            figures.push(took.as_nanos() as f64 / MESSAGES as f64);
            copies.push((copied - start).as_nanos() as f64 / MESSAGES as f64);
            allocated += now - before;
        }
    }
    let counts = resolver.counts();
    let share = |part: u64| part as f64 * 100.0 / counts.samples as f64;
    ensure!(
        decoder.counters.samples == counts.samples && counts.samples > 0,
        "not all messages were resolved: {:?}",
        decoder.counters
    );
    ensure!(
        allocated == 0,
        "{allocated} allocations in {rounds} rounds of {MESSAGES} samples"
    );
    let middle = median(&mut figures).unwrap_or_default();
    eprintln!(
        "{name}: {acls} ACLs, {} in the past, {} names; {rounds} rounds of {MESSAGES} messages \
         ({} MiB), {:.1} % unresolved, {:.2} % ambiguous, {:.1} % doubles; best {:.1} ns, worst {:.1} ns; \
         no allocation; without the kernel's copy of messages to the reader, which was {:.1} ns",
        state.history.counts().past,
        state.names.len(),
        messages.bytes() >> 20,
        share(counts.unresolved_total()),
        share(counts.ambiguous),
        share(counts.doubles),
        figures.first().copied().unwrap_or_default(),
        figures.last().copied().unwrap_or_default(),
        median(&mut copies).unwrap_or_default(),
    );
    figure(name, format_args!("{middle:.1}"), "ns");
    Ok(())
}

fn resolve(resolver: &mut Resolver, state: &State, samples: &[Sample<'_>]) {
    let Ok(()) = resolver.resolve_all(&state.history, &state.names, samples, |_, decision| {
        black_box(decision);
        Ok::<_, Infallible>(())
    });
}

/// How often each is measured; `N` sets it, as for work with an instruction counter.
fn rounds() -> usize {
    let given = std::env::var("N").ok().and_then(|count| count.parse().ok());
    given.unwrap_or(15)
}
