//! From decisions to connections.

use anyhow::{Result, ensure};
use netverdict_bench::alloc::allocations;
use netverdict_bench::speakers::Speakers;
use netverdict_flow::{Flow, Limits};
use netverdict_types::Timestamp;

use crate::figure;
use crate::machine::{median, peak, thread_time};

/// Connections that are open, each seen by two nodes.
const OPEN: u64 = 300_000;
/// Of these, so many begin in a round.
const ROUND: u64 = 50_000;
const ROUNDS: usize = 15;

pub(crate) fn run() -> Result<()> {
    let speakers = Speakers::default();
    let before = peak()?;
    let mut flow = Flow::new(Limits::default());
    let mut now = Timestamp(1_800_000_000_000_000_000);
    let (mut began, mut told) = (Vec::new(), Vec::new());
    for round in 0..OPEN / ROUND {
        let decisions = speakers.new_ones(round * ROUND..(round + 1) * ROUND);
        let start = thread_time();
        for decision in &decisions {
            flow.decision(decision, |_| ());
        }
        began.push((thread_time() - start).as_nanos() as f64 / ROUND as f64);
        now = now.after(flow.limits().window);
        let start = thread_time();
        let mut updates = 0;
        flow.advance(now, |update| {
            updates += 1;
            drop(update);
        });
        told.push((thread_time() - start).as_nanos() as f64 / ROUND as f64);
        ensure!(updates == ROUND, "{updates} updates");
    }
    let bytes = (peak()? - before) * 1024.0 * 1024.0 / OPEN as f64;
    let decisions = speakers.established(0..OPEN);
    let mut known = Vec::new();
    let mut allocated = 0;
    for round in 0..=ROUNDS {
        let before = allocations();
        let start = thread_time();
        for decision in &decisions {
            flow.decision(decision, |_| ());
        }
        let took = (thread_time() - start).as_nanos() as f64 / decisions.len() as f64;
        // The first round brings what was counted under another probability.
        if round > 0 {
            allocated += allocations() - before;
            known.push(took);
        }
    }
    ensure!(flow.counts().connections == OPEN, "{:?}", flow.counts());
    ensure!(allocated == 0, "{allocated} allocations");
    let middle = |figures: &mut Vec<f64>| median(figures).unwrap_or_default();
    let known_middle = middle(&mut known);
    eprintln!(
        "flow_decisions: {OPEN} connections of two nodes each; known best {:.0} ns, worst {:.0} ns, no allocation; at most {bytes:.0} bytes \
         a connection, its decisions included",
        known.first().copied().unwrap_or_default(),
        known.last().copied().unwrap_or_default(),
    );
    figure("flow_decisions", format_args!("{known_middle:.0}"), "ns");
    let rate = 1e3 / known_middle;
    figure(
        "flow_decisions_rate",
        format_args!("{rate:.2}"),
        "million/s",
    );
    figure(
        "flow_decisions_new",
        format_args!("{:.0}", middle(&mut began) / 2.0),
        "ns",
    );
    figure("flow_tell", format_args!("{:.0}", middle(&mut told)), "ns");
    Ok(())
}
