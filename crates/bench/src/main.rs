//! `netverdict-bench [NAME]`: prints the figures, or those whose name begins with NAME.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // What it is for.

mod machine;
mod resolve;

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
    let only = std::env::args().nth(1).unwrap_or_default();
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
