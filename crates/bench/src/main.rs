//! `netverdict-bench [NAME]`: prints the figures, or those whose name begins with NAME.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // What it is for.
#![allow(clippy::disallowed_methods)] // Rates and idling are measured over a time.

mod binary;
#[cfg(feature = "store")]
mod chdb;
mod decide;
mod explain;
mod flow;
mod inputs;
mod ipfix;
mod lflow;
mod machine;
mod northbound;
mod plans;
mod policies;
mod replay;
mod resolve;
mod server;
#[cfg(feature = "store")]
mod store;
mod whatif;

use std::process::ExitCode;

use anyhow::{Result, bail};

#[global_allocator]
static COUNTING: netverdict_bench::alloc::Counting = netverdict_bench::alloc::Counting;

/// A benchmark: its name, and what measures it.
type Bench = (&'static str, fn() -> Result<()>);

const ALL: &[Bench] = &[
    ("resolve_100", || resolve::run("resolve_100", 100)),
    ("resolve_10000", || resolve::run("resolve_10000", 10_000)),
    ("resolve_100000", || resolve::run("resolve_100000", 100_000)),
    ("query_match", plans::run),
    ("capture_decode", replay::decode),
    ("e2e_replay", replay::run),
    ("e2e_ipfix", ipfix::run),
    ("nb_load_100000", northbound::load),
    ("nb_change", northbound::change),
    ("idle_wakeups", binary::idle),
    ("compile_10000", policies::compile),
    ("compile_incremental", policies::incremental),
    ("explain_cold_10000", explain::allowed),
    ("explain_cold_dropped_10000", explain::dropped),
    ("northd_same_nb", policies::northd),
    ("lflow_10000", lflow::from_scratch),
    ("lflow_incremental", lflow::incremental),
    ("lflow_northd_10000", lflow::northd),
    ("decide_new_10000", || {
        decide::new("decide_new_10000", 10_000)
    }),
    ("decide_new_100000", || {
        decide::new("decide_new_100000", 100_000)
    }),
    ("decide_cached_10000", || {
        decide::cached("decide_cached_10000", 10_000)
    }),
    ("flow_decisions", flow::run),
    ("whatif_10m", whatif::run),
    ("decide_one_group", || {
        decide::one_group("decide_one_group", 10_000)
    }),
    #[cfg(feature = "store")]
    ("ingest_append", store::append),
    #[cfg(feature = "store")]
    ("ingest_sustained", store::sustained),
    #[cfg(feature = "store")]
    ("bytes_per_row", || store::question("bytes_per_row")),
    #[cfg(feature = "store")]
    ("query_filter", || store::question("query_filter")),
    #[cfg(feature = "store")]
    ("query_top_rollup", || store::question("query_top_rollup")),
    #[cfg(feature = "store")]
    ("query_top_raw", || store::question("query_top_raw")),
    #[cfg(feature = "store")]
    ("chdb_ingest", || store::chdb_question("chdb_ingest")),
    #[cfg(feature = "store")]
    ("chdb_bytes_per_row", || {
        store::chdb_question("chdb_bytes_per_row")
    }),
    #[cfg(feature = "store")]
    ("chdb_query_filter", || {
        store::chdb_question("chdb_query_filter")
    }),
    #[cfg(feature = "store")]
    ("chdb_query_top_rollup", || {
        store::chdb_question("chdb_query_top_rollup")
    }),
    #[cfg(feature = "store")]
    ("chdb_query_top_raw", || {
        store::chdb_question("chdb_query_top_raw")
    }),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netverdict-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let only = arguments.next().unwrap_or_default();
    if only == northbound::CHILD {
        return northbound::child(arguments);
    }
    if only == policies::CHILD {
        return policies::child();
    }
    let chosen: Vec<&Bench> = match ALL.iter().find(|(name, _)| *name == only) {
        Some(exactly) => vec![exactly],
        None => ALL
            .iter()
            .filter(|(name, _)| name.starts_with(&only))
            .collect(),
    };
    if chosen.is_empty() {
        let names: Vec<_> = ALL.iter().map(|(name, _)| *name).collect();
        bail!("there is no {only}; there are {}", names.join(", "));
    }
    eprintln!("{}", machine::line());
    let mut failed = Vec::new();
    for (name, measure) in chosen {
        if let Err(error) = measure() {
            eprintln!("{name}: {error:#}");
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        bail!("without a figure: {}", failed.join(", "));
    }
    Ok(())
}

/// Prints one figure.
fn figure(name: &str, value: impl std::fmt::Display, unit: &str) {
    println!("bench {name} {value} {unit}");
}
