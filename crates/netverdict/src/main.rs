//! netverdict: for every connection in an OVN network, who allowed or dropped it, and why.
#![forbid(unsafe_code)]

mod agent;
mod apply;
mod bundle;
mod compile;
mod connections;
mod databases;
mod demo;
mod doctor;
mod ebpf;
mod engine;
mod exit;
mod explain;
mod feed;
mod filters;
mod lflow;
mod matrix;
mod observe;
mod output;
mod packets;
mod record;
mod refs;
mod remote;
mod sampling;
mod server;
mod session;
mod sources;
mod totals;
mod twin;
mod whatif;
mod why;
mod write;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// For every connection in an OVN network: who allowed or dropped it, and why.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    Agent(agent::Agent),
    Apply(apply::Apply),
    Bundle(bundle::Bundle),
    Compile(compile::Compile),
    Demo(demo::Demo),
    Doctor(doctor::Doctor),
    Connections(connections::Connections),
    Explain(explain::Explain),
    Lflow(lflow::Lflow),
    Matrix(matrix::Matrix),
    Observe(observe::Observe),
    Record(record::Record),
    Sampling(sampling::Sampling),
    Server(server::Server),
    Totals(totals::Totals),
    Whatif(whatif::Whatif),
    Why(why::Why),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("NETVERDICT_LOG")
                .unwrap_or_else(|_| "warn".into()),
        )
        .init();
    let Arguments { command } = Arguments::parse();
    exit::code(match command {
        Command::Agent(agent) => agent.run(),
        Command::Apply(apply) => apply.run(),
        Command::Bundle(bundle) => bundle.run(),
        Command::Compile(compile) => compile.run(),
        Command::Demo(demo) => demo.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Connections(connections) => connections.run(),
        Command::Lflow(lflow) => lflow.run(),
        Command::Explain(explain) => explain.run(),
        Command::Matrix(matrix) => matrix.run(),
        Command::Observe(observe) => observe.run(),
        Command::Record(record) => record.run(),
        Command::Sampling(sampling) => sampling.run(),
        Command::Server(server) => server.run(),
        Command::Totals(totals) => totals.run(),
        Command::Whatif(whatif) => whatif.run(),
        Command::Why(why) => why.run(),
    })
}
