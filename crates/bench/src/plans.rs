//! A query on decisions.

use std::hint::black_box;

use anyhow::{Result, ensure};
use netverdict_bench::cluster::Cluster;
use netverdict_bench::traffic::{Messages, Traffic};
use netverdict_query::parse;
use netverdict_types::{Decision, Timestamp};
use netverdict_verdict::Resolver;
use netverdict_wire::psample::Decoder;

use crate::figure;
use crate::machine::{median, thread_time};
use crate::resolve::State;

const QUERY: &str = "namespace=team-7 and dst.port in 8000..8010 and not verdict=dropped";
const DECISIONS: usize = 1 << 14;
const ROUNDS: usize = 15;

pub(crate) fn run() -> Result<()> {
    let mut cluster = Cluster::new(10_000);
    let state = State::new(&mut cluster)?;
    let mut messages = Messages::default();
    messages.fill(Traffic::new(&cluster).take(DECISIONS));
    let (mut decoder, mut resolver) = (Decoder::default(), Resolver::default());
    let mut decisions: Vec<Decision<'_>> = Vec::new();
    for message in messages.iter() {
        decoder.decode(message, Timestamp(0), state.zone, |sample| {
            decisions.push(resolver.resolve(&state.history, &state.names, &sample));
        });
    }
    let Ok(query) = parse(QUERY) else {
        anyhow::bail!("the query is wrong: {QUERY}");
    };
    let plan = query.plan(Timestamp(0));
    let mut figures = Vec::new();
    let mut matched = 0;
    for _ in 0..ROUNDS {
        let start = thread_time();
        matched = decisions
            .iter()
            .filter(|decision| plan.matches(black_box(*decision)))
            .count();
        figures.push((thread_time() - start).as_nanos() as f64 / decisions.len() as f64);
    }
    ensure!(matched > 0, "the query matches nothing");
    eprintln!("query_match: {QUERY}; {matched} of {DECISIONS} decisions match");
    let middle = median(&mut figures).unwrap_or_default();
    figure("query_match", format_args!("{middle:.1}"), "ns");
    Ok(())
}
