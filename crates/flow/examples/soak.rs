//! `soak [CONNECTIONS]`: a day of a cluster of 200 nodes, 1,157 connections a second, compressed;
//! exits with 1 unless there is one right row for each.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)] // A test.

#[path = "../tests/simulator/mod.rs"]
mod simulator;

use std::process::ExitCode;
use std::time::Instant;

use netverdict_flow::Limits;
use simulator::{SECOND, Scenario, run};

fn main() -> ExitCode {
    let connections = match std::env::args().nth(1).map(|number| number.parse()) {
        None => 100_000_000,
        Some(Ok(number)) => number,
        Some(Err(error)) => {
            eprintln!("soak: how many connections? {error}");
            return ExitCode::from(2);
        }
    };
    let seed = std::env::var("SEED").map_or(Ok(1), |seed| seed.parse());
    let Ok(seed) = seed else {
        eprintln!("soak: SEED is not a number");
        return ExitCode::from(2);
    };
    // Half of them with clocks that are wrong by up to 2 s and nobody knows, half where it is known.
    let is_right = std::thread::scope(|scope| {
        [false, true]
            .map(|clocks_known| scope.spawn(move || soak(seed, connections / 2, clocks_known)))
            .map(|thread| thread.join().unwrap_or(false))
            == [true; 2]
    });
    println!(
        "peak of memory, the simulator's included: {} MiB",
        peak() >> 10
    );
    match is_right {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// True where there is one right row for each connection.
fn soak(seed: u64, connections: u64, clocks_known: bool) -> bool {
    let scenario = Scenario {
        seed: seed * 2 + u64::from(clocks_known),
        connections,
        rate: 1_157,
        clocks_known,
    };
    let limits = match clocks_known {
        false => Limits::default(),
        true => Limits {
            skew: SECOND / 5,
            ..Limits::default()
        },
    };
    let began = Instant::now();
    let outcome = run(scenario, limits);
    let took = began.elapsed().as_secs_f64();
    let losses: Vec<String> = outcome
        .counts
        .losses()
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    println!(
        "{} of {connections} connections right, clocks {}: {} decisions, {} updates in {took:.0} s; at most {} remembered; {} to \
         services, {} with a port used again, {} reports late, {} repeated; {}",
        outcome.right,
        if clocks_known { "known" } else { "not known" },
        outcome.decisions,
        outcome.updates,
        outcome.most,
        outcome.served,
        outcome.reused,
        outcome.late_reports,
        outcome.repeated_reports,
        losses.join(", "),
    );
    let is_right = outcome.right == connections && outcome.wrong.is_empty();
    if !is_right {
        println!(
            "wrong: {:?}\n{}",
            outcome.wrong,
            outcome.first.unwrap_or_default()
        );
    }
    is_right
}

/// Most memory that this process had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or_default()
}
